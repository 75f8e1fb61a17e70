/* Notifications: "look again", without a value.
 *
 * A notification holds at most one permit. filch_notify_one() wakes the one that waits longest, or
 * leaves the permit for the next one that comes, so it is not lost if it comes before the wait; two
 * of them may become one. filch_notify_last() is the same for the one that came last.
 * filch_notify_all() wakes those that wait at that time, and leaves nothing.
 *
 * Waiting for a condition that others change and then notify:
 *
 *     FILCH_NOTIFIED(notified);
 *     for (;;) {
 *         filch_notify_prepare(&changed, &notified);        from here on no notification is missed
 *         if (condition())
 *             break;                                        what came meanwhile is passed on
 *         r = filch_notified_wait(&notified, FILCH_NEVER);
 *         if (r < 0)
 *             return r;
 *     }
 */
#ifndef FILCH_NOTIFY_H
#define FILCH_NOTIFY_H

#include <filch/base.h>
#include <filch/select.h>

FILCH_BEGIN_DECLS

/* Lives in the caller's memory and must stay where it is. The fields are private. */
typedef struct filch_notify {
    uint64_t private_words[3];
} filch_notify;

/* One without a permit, at compile time. */
#define FILCH_NOTIFY_INIT                                                                          \
    {                                                                                              \
        {                                                                                          \
            0, 0, 0                                                                                \
        }                                                                                          \
    }

/** filch_notify_init() - prepare one in the caller's memory, without a permit. NULL is allowed.
 * Suspends: no. */
FILCH_API void filch_notify_init(filch_notify *notify);

/** filch_notify_fini() - its end. Nobody may be waiting in it; checked. NULL is allowed. Suspends:
 * no. */
FILCH_API void filch_notify_fini(filch_notify *notify);

/**
 * filch_notify_one() - wake the one that waits longest, or the next one that comes
 *
 * What was done before is visible to who is woken. Thread-safety: any thread. Suspends: no.
 * Return: 0; -EINVAL (NULL).
 */
FILCH_API int filch_notify_one(filch_notify *notify);

/**
 * filch_notify_last() - wake the one that came last, or the next one that comes
 *
 * For pools of workers that wait: the last one's cache is the warmest, and those that wait longest
 * may find that they are not needed. Who comes first may wait for ever. Else as
 * filch_notify_one(): there is one permit for both. Thread-safety: any thread. Suspends: no.
 * Return: 0; -EINVAL (NULL).
 */
FILCH_API int filch_notify_last(filch_notify *notify);

/**
 * filch_notify_all() - wake all that wait now, also those that have prepared
 *
 * The stored permit, if there is one, stays. Takes time with their number. Thread-safety: any
 * thread. Suspends: no. Return: how many, at most INT_MAX; -EINVAL (NULL).
 */
FILCH_API int filch_notify_all(filch_notify *notify);

/**
 * filch_notify_wait() - wait for a notification
 * @until: FILCH_NOW takes the permit if it is there
 *
 * Thread-safety: any task or plain thread, any number at once; woken in order. Suspends: yes.
 * Cancellation point: yes; no notification was taken then.
 * Return: 0; -ETIMEDOUT; -ECANCELED; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_notify_wait(filch_notify *notify, filch_time until);

/* A wait in two steps. In the frame of the caller, who alone uses it. The fields are private. To
 * wait for something else at the same time: filch_case_prepared(). */
typedef struct filch_notified {
    uint64_t private_words[10];
} filch_notified;

/* None yet. */
#define FILCH_NOTIFIED_INIT                                                                        \
    {                                                                                              \
        {                                                                                          \
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0                                                           \
        }                                                                                          \
    }

/**
 * filch_notify_prepare() - begin to wait, and go on
 * @notified: FILCH_NOTIFIED_INIT, or after its last use; one that is prepared already for @notify
 *            stays as it is
 *
 * From here on every notification counts: the permit is taken if there is one, otherwise the caller
 * stands in the line of those who wait. filch_notified_wait() or filch_notified_abandon() must
 * follow, by the same task or thread, before the memory goes.
 * Thread-safety: as filch_notify_wait(). Suspends: no. Return: 0; -EINVAL (NULL, or prepared for
 * another one).
 */
FILCH_API int filch_notify_prepare(filch_notify *notify, filch_notified *notified);

/**
 * filch_notified_wait() - wait for what was prepared
 *
 * After any result it is over: a new wait is prepared anew. Suspends: yes. Cancellation point: yes;
 * no notification was taken then. Return: 0; -ETIMEDOUT; -ECANCELED; -EINVAL (NULL, or nothing
 * prepared).
 */
FILCH_API FILCH_MUST_CHECK int filch_notified_wait(filch_notified *notified, filch_time until);

/** filch_notified_abandon() - do not wait after all. A filch_notify_one() that was given to it goes
 * on to the one that waits longest, a filch_notify_last() to the one that came last. NULL, and one
 * that is not prepared, are allowed. Suspends: no. */
FILCH_API void filch_notified_abandon(filch_notified *notified);

/* Abandoned by itself when the block is left. */
#define FILCH_NOTIFIED(name)                                                                       \
    filch_notified name __attribute__((cleanup(filch_notified_abandon))) = FILCH_NOTIFIED_INIT

/** filch_case_notified() - a case of a select: filch_notify_wait(). The case's result is 0. NULL
 * makes a case that filch_select() refuses. A filch_notify_all() that comes before the select, or
 * while it polls futures, is missed: for that there is filch_case_prepared(). */
FILCH_API filch_case filch_case_notified(filch_notify *notify);

/**
 * filch_case_prepared() - a case of a select: filch_notified_wait()
 * @notified: prepared, by who selects; borrowed until the select returns
 *
 * If it wins, the wait is over. If another case does, it is still prepared, in its place in the
 * line, and has missed nothing: it may be waited for, selected again, or abandoned. The case's
 * result is 0, or -EINVAL: it is not prepared. NULL makes a case that filch_select() refuses.
 */
FILCH_API filch_case filch_case_prepared(filch_notified *notified);

FILCH_END_DECLS

#endif
