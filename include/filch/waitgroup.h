/* Wait groups count work that is under way; gates let work in until they are closed.
 *
 *     filch_waitgroup_add(&group, 1);             before the task is spawned
 *     ... the task, at its end:  filch_waitgroup_done(&group);
 *     r = filch_waitgroup_wait(&group, FILCH_NEVER);
 *
 *     r = filch_gate_enter(&gate);                -EPIPE: it is being closed
 *     ...
 *     filch_gate_leave(&gate);
 *     r = filch_gate_close(&gate, FILCH_NEVER);   nobody is inside then, nor ever will be
 *
 * For tasks alone a scope is simpler: it joins them, and knows their results.
 */
#ifndef FILCH_WAITGROUP_H
#define FILCH_WAITGROUP_H

#include <filch/base.h>
#include <filch/select.h>

FILCH_BEGIN_DECLS

/* Most that a group counts. */
#define FILCH_WAITGROUP_MAX (UINT64_MAX >> 3)

enum filch_waitgroup_flags {
    /* A wait ends when the count is zero and the group was closed; otherwise when it is zero. */
    FILCH_WAITGROUP_UNTIL_CLOSED = 1,
};

/* Lives in the caller's memory and must stay where it is. It may go as soon as the last wait has
 * returned 0, even if the last filch_waitgroup_done() has not returned yet. The fields are private.
 */
typedef struct filch_waitgroup {
    uint64_t private_words[4];
} filch_waitgroup;

/* With these flags, or 0, at compile time. */
#define FILCH_WAITGROUP_INIT(flags)                                                                \
    {                                                                                              \
        {                                                                                          \
            (uint64_t)(flags) << 2, 0, 0, 0                                                        \
        }                                                                                          \
    }

/** filch_waitgroup_init() - prepare a group in the caller's memory, of nothing. @flags: enum
 * filch_waitgroup_flags, or 0. Suspends: no. Return: 0; -EINVAL (NULL, or unknown flags). */
FILCH_API int filch_waitgroup_init(filch_waitgroup *group, unsigned flags);

/** filch_waitgroup_fini() - the end of a group. Nobody may be waiting in it; checked. NULL is
 * allowed. Suspends: no. */
FILCH_API void filch_waitgroup_fini(filch_waitgroup *group);

/**
 * filch_waitgroup_add() - count more work
 * @n: 0 to FILCH_WAITGROUP_MAX
 *
 * Also while others wait, and again after the count was zero. Thread-safety: any thread. Suspends:
 * no. Return: 0; -EPIPE (closed); -EOVERFLOW (more than FILCH_WAITGROUP_MAX); -EINVAL (NULL). After
 * an error nothing was counted.
 */
FILCH_API FILCH_MUST_CHECK int filch_waitgroup_add(filch_waitgroup *group, uint64_t n);

/**
 * filch_waitgroup_done() - one less; the last one lets all go that wait
 *
 * What was done before is visible to who waited. Thread-safety: any thread. Suspends: no.
 * Return: 0; -EINVAL (NULL, or more are done than were added, which is also logged: nothing was
 * counted).
 */
FILCH_API int filch_waitgroup_done(filch_waitgroup *group);

/**
 * filch_waitgroup_close() - nothing can be added from now on; for good
 *
 * Closing twice is allowed. Thread-safety: any thread. Suspends: no. Return: 0; -EINVAL (NULL).
 */
FILCH_API int filch_waitgroup_close(filch_waitgroup *group);

/**
 * filch_waitgroup_wait() - wait until the count is zero, see enum filch_waitgroup_flags
 *
 * A wait that saw zero ends, whatever is added then. Thread-safety: any task or plain thread, any
 * number at once. Suspends: yes. Cancellation point: yes. Return: 0; -ETIMEDOUT; -ECANCELED;
 * -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_waitgroup_wait(filch_waitgroup *group, filch_time until);

/** filch_waitgroup_count() - work under way, at some moment of the call. Thread-safety: any thread.
 * Suspends: no. Return: the number; 0 for NULL. */
FILCH_API uint64_t filch_waitgroup_count(filch_waitgroup *group);

/** filch_case_waitgroup() - a case of a select: filch_waitgroup_wait(). The case's result is 0.
 * NULL makes a case that filch_select() refuses. */
FILCH_API filch_case filch_case_waitgroup(filch_waitgroup *group);

/* Lives in the caller's memory and must stay where it is. The fields are private. */
typedef struct filch_gate {
    filch_waitgroup group;
} filch_gate;

/* An open gate, at compile time. */
#define FILCH_GATE_INIT                                                                            \
    {                                                                                              \
        FILCH_WAITGROUP_INIT(FILCH_WAITGROUP_UNTIL_CLOSED)                                         \
    }

/** filch_gate_init() - prepare an open gate in the caller's memory. NULL is allowed. Suspends: no.
 */
FILCH_API void filch_gate_init(filch_gate *gate);

/** filch_gate_fini() - the end of a gate. Nobody may be waiting for it; checked. NULL is allowed.
 * Suspends: no. */
FILCH_API void filch_gate_fini(filch_gate *gate);

/** filch_gate_enter() - go in, any number of times. Thread-safety: any thread. Suspends: no.
 * Return: 0; -EPIPE (closed: the caller is not inside); -EINVAL (NULL). */
FILCH_API FILCH_MUST_CHECK int filch_gate_enter(filch_gate *gate);

/** filch_gate_leave() - go out, once for each time that the caller went in. Thread-safety: any
 * thread. Suspends: no. Return: 0; -EINVAL (NULL, or nobody is inside, which is also logged). */
FILCH_API int filch_gate_leave(filch_gate *gate);

/**
 * filch_gate_close() - let nobody in any more, and wait until nobody is inside
 * @until: FILCH_NOW closes, and looks once
 *
 * The gate is closed from the beginning of the call on, whatever it returns; further calls wait on.
 * Thread-safety: any task or plain thread, any number at once, but not from inside. Suspends: yes.
 * Cancellation point: yes. Return: 0: nobody is inside; -ETIMEDOUT; -ECANCELED; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_gate_close(filch_gate *gate, filch_time until);

/** filch_gate_is_closed() - was it closed? For those inside, as a sign to come to an end.
 * Thread-safety: any thread. Suspends: no. Return: false for NULL, too. */
FILCH_API bool filch_gate_is_closed(filch_gate *gate);

FILCH_END_DECLS

#endif
