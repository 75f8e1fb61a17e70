/* Read/write locks for tasks and plain threads: any number of readers, or one writer.
 *
 * First in, first out: once somebody waits, newcomers wait behind, so that neither side starves.
 * Neighbours in the queue that want to read get it together. Whoever is woken has the lock already,
 * but for readers with nobody else waiting: they take it when they run, and may be overtaken until
 * then, for at most a millisecond and one holder more.
 *
 * A reader that takes the lock a second time gets it while nobody waits; but with a writer waiting
 * in between it waits for that writer, which waits for the reader's first lock: a deadlock. So do
 * not read recursively. A build with -Dasserts=full finds it when it happens (-EDEADLK), and the
 * other misuses that <filch/mutex.h> names.
 *
 * A lock of zeros is as good as FILCH_RWLOCK_INIT. It may be held across suspending calls, and
 * belongs to the task, not to a thread.
 */
#ifndef FILCH_RWLOCK_H
#define FILCH_RWLOCK_H

#include <filch/base.h>
#include <filch/select.h>

FILCH_BEGIN_DECLS

/* Lives in the caller's memory and must stay where it is. The fields are private. */
typedef struct filch_rwlock {
    uint64_t private_words[3];
} filch_rwlock;

#define FILCH_RWLOCK_INIT                                                                          \
    {                                                                                              \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

/* Most readers at a time. */
#define FILCH_RWLOCK_READERS_MAX ((1u << 30) - 1)

/**
 * filch_rwlock_init() - the same as FILCH_RWLOCK_INIT, at run time
 * @lock: filled; NULL is ignored
 *
 * Thread-safety: nobody uses it yet. Suspends: no.
 */
FILCH_API void filch_rwlock_init(filch_rwlock *lock);

/**
 * filch_rwlock_fini() - end a lock, before its memory goes
 * @lock: free, and nobody waits for it: else the process aborts, unless built with -Dasserts=off;
 * NULL is ignored
 *
 * Waits for an unlock that is about to return on another thread. Thread-safety: the last user.
 * Suspends: no.
 */
FILCH_API void filch_rwlock_fini(filch_rwlock *lock);

/**
 * filch_rwlock_read() - lock to read, together with other readers
 * @until: FILCH_NOW tries once
 *
 * Thread-safety: any task or plain thread. Suspends: yes; and it lets others run now and then.
 * Cancellation point: yes, if it would have to wait; the lock is not held then. Return: 0;
 * -ETIMEDOUT; -ECANCELED; -EINVAL (NULL); -EDEADLK (builds with asserts=full only).
 */
FILCH_API FILCH_MUST_CHECK int filch_rwlock_read(filch_rwlock *lock, filch_time until);

/**
 * filch_rwlock_write() - lock to write, alone
 *
 * All else as filch_rwlock_read().
 */
FILCH_API FILCH_MUST_CHECK int filch_rwlock_write(filch_rwlock *lock, filch_time until);

/**
 * filch_rwlock_try_read() - lock to read, if that can be done at once
 *
 * Thread-safety: any task or thread. Suspends: no. Return: 0; -EBUSY (somebody writes, or somebody
 * waits); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_rwlock_try_read(filch_rwlock *lock);

/**
 * filch_rwlock_try_write() - lock to write, if nobody has it
 *
 * Thread-safety: any task or thread. Suspends: no. Return: 0; -EBUSY; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_rwlock_try_write(filch_rwlock *lock);

/**
 * filch_rwlock_unlock() - give it up, what it was locked for
 *
 * Thread-safety: the task or thread that has locked it. Suspends: no. Return: 0; -EPERM (it is not
 * locked); -EINVAL (NULL).
 */
FILCH_API int filch_rwlock_unlock(filch_rwlock *lock);

/**
 * filch_rwlock_downgrade() - go on reading what was just written
 *
 * Nobody writes in between; those who wait to read, before the next writer in the queue, go on as
 * well. Thread-safety: the writer. Suspends: no. Return: 0; -EPERM (nobody writes); -EINVAL (NULL).
 */
FILCH_API int filch_rwlock_downgrade(filch_rwlock *lock);

/**
 * filch_case_read_lock() - in a select: lock to read
 */
FILCH_API filch_case filch_case_read_lock(filch_rwlock *lock);

/**
 * filch_case_write_lock() - in a select: lock to write
 */
FILCH_API filch_case filch_case_write_lock(filch_rwlock *lock);

FILCH_END_DECLS

#endif
