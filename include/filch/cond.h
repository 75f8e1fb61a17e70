/* Condition variables: waiting for what a mutex guards.
 *
 *     FILCH_LOCKED(&lock) {
 *         while (queue_is_empty(&queue))
 *             if (filch_cond_wait(&not_empty, &lock, until) < 0)
 *                 break;
 *         ...                        -- the mutex is held here, whatever the wait has said
 *     }
 *
 * Each signal wakes the one that has waited longest, and nothing else does: there are no wake-ups
 * for nothing. Still, what was signalled may be gone when the waiter has the mutex again, as others
 * may have had it in between: hence the loop.
 *
 * A condition of zeros is as good as FILCH_COND_INIT.
 */
#ifndef FILCH_COND_H
#define FILCH_COND_H

#include <filch/base.h>
#include <filch/mutex.h>

FILCH_BEGIN_DECLS

/* Lives in the caller's memory and must stay where it is. The fields are private. */
typedef struct filch_cond {
    uint64_t private_words[3];
} filch_cond;

#define FILCH_COND_INIT                                                                            \
    {                                                                                              \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

/**
 * filch_cond_init() - the same as FILCH_COND_INIT, at run time
 * @cond: filled; NULL is ignored
 *
 * Thread-safety: nobody uses it yet. Suspends: no.
 */
FILCH_API void filch_cond_init(filch_cond *cond);

/**
 * filch_cond_fini() - end a condition, before its memory goes
 * @cond: nobody waits for it: else the process aborts, unless built with -Dasserts=off; NULL is
 * ignored
 *
 * Waits for a signal that is about to return on another thread. Thread-safety: the last user.
 * Suspends: no.
 */
FILCH_API void filch_cond_fini(filch_cond *cond);

/**
 * filch_cond_wait() - give the mutex up, wait for a signal, take the mutex again
 * @mutex: the caller's; it is the caller's again when this returns, also with -ETIMEDOUT and
 * -ECANCELED. Taking it again has no limit and is not cancelled.
 * @until: for the signal
 *
 * The caller waits from before the mutex is free: who takes it after this caller, changes what it
 * guards and signals, wakes it. Thread-safety: any task or plain thread. Suspends: yes.
 * Cancellation point: yes; a signal that had chosen the caller is reported as 0 all the same, so it
 * is not lost. With FILCH_NOW or in a cancelled task the mutex is not given up. Return: 0;
 * -ETIMEDOUT; -ECANCELED; -EINVAL (NULL; the mutex is as it was); -EPERM (the mutex is not locked).
 */
FILCH_API FILCH_MUST_CHECK int filch_cond_wait(filch_cond *cond, filch_mutex *mutex,
                                               filch_time until);

/**
 * filch_cond_signal() - wake the one that has waited longest
 *
 * Nobody waits: nothing happens. With the mutex held or not. Thread-safety: any thread. Suspends:
 * no. Return: how many were woken, 0 or 1; -EINVAL (NULL).
 */
FILCH_API int filch_cond_signal(filch_cond *cond);

/**
 * filch_cond_broadcast() - wake everybody that waits now
 *
 * Thread-safety: any thread. Suspends: no. Return: how many were woken; -EINVAL (NULL).
 */
FILCH_API int filch_cond_broadcast(filch_cond *cond);

FILCH_END_DECLS

#endif
