/* Mutexes for tasks and plain threads: a task that waits suspends, its worker goes on.
 *
 *     static filch_mutex lock = FILCH_MUTEX_INIT;
 *
 *     FILCH_LOCKED(&lock) {
 *         ...                        -- left in any way (return, break, goto), it is unlocked
 *     }
 *
 * A mutex belongs to the task that has it, not to a thread: it may be held across suspending calls,
 * and unlocked on another thread than it was locked on. There is no poisoning.
 *
 * Order: who waits is served first in, first out, but a caller that runs may overtake: an unlock
 * makes the mutex free and wakes the oldest waiter, and whoever comes first has it. That is what
 * makes a contended mutex fast, as nobody waits for a wake-up while it is free. The overtaking is
 * bounded: a waiter that has waited for 1 ms or more when it is woken and finds the mutex taken
 * again is given it by the next unlock, before anybody else. A select is always given it.
 *
 * A build with -Dasserts=full keeps who has which lock, and who waits for which. There, locking a
 * mutex that the caller has, or that closes a circle of callers who wait for each other without
 * limit, reports who waits for what and where through the log, and returns -EDEADLK. Unlocking what
 * somebody else has aborts, and a task that ends with a lock is reported. Other builds check
 * nothing of this, and such callers wait.
 *
 * A mutex of zeros is as good as FILCH_MUTEX_INIT.
 */
#ifndef FILCH_MUTEX_H
#define FILCH_MUTEX_H

#include <filch/base.h>
#include <filch/select.h>

FILCH_BEGIN_DECLS

/* Lives in the caller's memory and must stay where it is. The fields are private. */
typedef struct filch_mutex {
    uint64_t private_words[3];
} filch_mutex;

#define FILCH_MUTEX_INIT                                                                           \
    {                                                                                              \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

/**
 * filch_mutex_init() - the same as FILCH_MUTEX_INIT, at run time
 * @mutex: filled; NULL is ignored
 *
 * Thread-safety: nobody uses it yet. Suspends: no.
 */
FILCH_API void filch_mutex_init(filch_mutex *mutex);

/**
 * filch_mutex_fini() - end a mutex, before its memory goes
 * @mutex: unlocked, and nobody waits for it: else the process aborts, unless built with
 * -Dasserts=off; NULL is ignored
 *
 * Waits for an unlock that is about to return on another thread: who has locked it last may end it
 * at once. A mutex in static memory needs no end. Thread-safety: the last user. Suspends: no.
 */
FILCH_API void filch_mutex_fini(filch_mutex *mutex);

/**
 * filch_mutex_lock() - take the mutex, waiting while somebody has it
 * @mutex: borrowed until it is unlocked
 * @until: FILCH_NOW tries once
 *
 * Thread-safety: any task or plain thread. Suspends: yes; and it lets others run now and then.
 * Cancellation point: yes, if it would have to wait; it does not have the mutex then, and has lost
 * its place. Return: 0; -ETIMEDOUT; -ECANCELED; -EINVAL (NULL); -EDEADLK (builds with asserts=full
 * only, see above).
 */
FILCH_API FILCH_MUST_CHECK int filch_mutex_lock(filch_mutex *mutex, filch_time until);

/**
 * filch_mutex_lock_shielded() - the same without a limit, also in a cancelled task
 *
 * For what must be done whatever happens. Thread-safety: any task or plain thread. Suspends: yes.
 * Cancellation point: no. Return: 0; -EINVAL (NULL); -EDEADLK (asserts=full only).
 */
FILCH_API FILCH_MUST_CHECK int filch_mutex_lock_shielded(filch_mutex *mutex);

/**
 * filch_mutex_try_lock() - take the mutex if it is free
 *
 * Thread-safety: any task or thread. Suspends: no. Return: 0; -EBUSY (somebody has it, perhaps the
 * caller); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_mutex_try_lock(filch_mutex *mutex);

/**
 * filch_mutex_unlock() - give the mutex up
 * @mutex: the caller's. A build with asserts=full aborts if somebody else has it
 *
 * Thread-safety: the task or thread that has locked it. Suspends: no. Return: 0; -EPERM (it is not
 * locked); -EINVAL (NULL).
 */
FILCH_API int filch_mutex_unlock(filch_mutex *mutex);

/**
 * filch_case_lock() - in a select: take the mutex
 *
 * A select that is ended by another case does not have it.
 */
FILCH_API filch_case filch_case_lock(filch_mutex *mutex);

/* For FILCH_LOCKED(). Aborts for NULL. */
FILCH_API filch_mutex *filch_mutex_guard(filch_mutex *mutex);

static inline void filch__mutex_leave(filch_mutex **guard)
{
    if (*guard)
        (void)filch_mutex_unlock(*guard);
    *guard = NULL;
}

#define FILCH__LOCKED_NAME2(line) filch__locked_##line
#define FILCH__LOCKED_NAME(line) FILCH__LOCKED_NAME2(line)

/* The block after it has the mutex: waits as filch_mutex_lock_shielded() does. Aborts for NULL, and
 * for what that one refuses. One per line. */
#define FILCH_LOCKED(mutex)                                                                        \
    for (filch_mutex * FILCH__LOCKED_NAME(__LINE__) __attribute__((cleanup(filch__mutex_leave))) = \
             filch_mutex_guard(mutex);                                                             \
         FILCH__LOCKED_NAME(__LINE__); filch__mutex_leave(&FILCH__LOCKED_NAME(__LINE__)))

FILCH_END_DECLS

#endif
