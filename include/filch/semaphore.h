/* Semaphores: a number of permits that tasks and threads take and give back.
 *
 *     static filch_semaphore connections = FILCH_SEMAPHORE_INIT(100);
 *
 *     r = filch_semaphore_acquire(&connections, 1, FILCH_NEVER);
 *     if (r < 0)
 *         return r;
 *     ...
 *     filch_semaphore_release(&connections, 1);
 *
 * First come, first served, whatever the size: a large request at the head holds smaller ones back
 * until it is fulfilled, so it is never starved. A semaphore is also what limits how many do a
 * thing at a time; limiter.h limits how often.
 */
#ifndef FILCH_SEMAPHORE_H
#define FILCH_SEMAPHORE_H

#include <filch/base.h>
#include <filch/select.h>

FILCH_BEGIN_DECLS

/* Most permits of a semaphore, and of a request. */
#define FILCH_SEMAPHORE_MAX (UINT64_MAX >> 2)

/* Lives in the caller's memory and must stay where it is. The fields are private. */
typedef struct filch_semaphore {
    uint64_t private_words[4];
} filch_semaphore;

/* A semaphore with this many permits, at most FILCH_SEMAPHORE_MAX, at compile time. */
#define FILCH_SEMAPHORE_INIT(permits)                                                              \
    {                                                                                              \
        {                                                                                          \
            (uint64_t)(permits) << 2, 0, 0, 0                                                      \
        }                                                                                          \
    }

/**
 * filch_semaphore_init() - prepare a semaphore in the caller's memory
 * @permits: 0 to FILCH_SEMAPHORE_MAX
 *
 * Suspends: no. Return: 0; -EINVAL (NULL, or too many permits).
 */
FILCH_API int filch_semaphore_init(filch_semaphore *semaphore, uint64_t permits);

/** filch_semaphore_fini() - the end of a semaphore. Nobody may be waiting in it; checked. NULL is
 * allowed. Suspends: no. */
FILCH_API void filch_semaphore_fini(filch_semaphore *semaphore);

/**
 * filch_semaphore_acquire() - take permits, waiting until there are enough
 * @n:     1 to FILCH_SEMAPHORE_MAX; more than there will ever be waits for ever
 * @until: FILCH_NOW tries once
 *
 * What was done before a permit was released is visible to who acquires it. Thread-safety: any task
 * or plain thread, any number at once; served in order. Suspends: yes. Cancellation point: yes;
 * after an error no permit was taken, and those behind the caller go on if they can.
 * Return: 0; -EPIPE (closed); -ETIMEDOUT; -ECANCELED; -EINVAL (NULL, or @n out of range).
 */
FILCH_API FILCH_MUST_CHECK int filch_semaphore_acquire(filch_semaphore *semaphore, uint64_t n,
                                                       filch_time until);

/**
 * filch_semaphore_try_acquire() - take permits if they are there and nobody waits
 *
 * Thread-safety: any thread. Suspends: no. Return: 0; -EAGAIN (too few, or others wait); -EPIPE
 * (closed); -EINVAL (NULL, or @n out of range).
 */
FILCH_API FILCH_MUST_CHECK int filch_semaphore_try_acquire(filch_semaphore *semaphore, uint64_t n);

/**
 * filch_semaphore_release() - give permits back, or add new ones
 * @n: 0 to FILCH_SEMAPHORE_MAX
 *
 * Also after a close. Thread-safety: any thread, also one that has acquired nothing. Suspends: no.
 * Return: 0; -EOVERFLOW (more than FILCH_SEMAPHORE_MAX: nothing was released); -EINVAL (NULL, or
 * @n out of range).
 */
FILCH_API int filch_semaphore_release(filch_semaphore *semaphore, uint64_t n);

/**
 * filch_semaphore_forget() - take permits out of circulation, as many as are there, up to @n
 *
 * Does not wait, and does not mind those who do. Thread-safety: any thread. Suspends: no.
 * Return: how many, 0 to @n; 0 for NULL.
 */
FILCH_API uint64_t filch_semaphore_forget(filch_semaphore *semaphore, uint64_t n);

/** filch_semaphore_available() - permits that nobody has, at some moment of the call.
 * Thread-safety: any thread. Suspends: no. Return: the number; 0 for NULL. */
FILCH_API uint64_t filch_semaphore_available(filch_semaphore *semaphore);

/** filch_semaphore_close() - no more permits: who waits, and who comes, gets -EPIPE. For good.
 * Closing twice is allowed. Thread-safety: any thread. Suspends: no. Return: 0; -EINVAL (NULL). */
FILCH_API int filch_semaphore_close(filch_semaphore *semaphore);

/** filch_semaphore_is_closed() - was it closed? Thread-safety: any thread. Suspends: no. Return:
 * false for NULL, too. */
FILCH_API bool filch_semaphore_is_closed(filch_semaphore *semaphore);

/**
 * filch_case_acquire() - a case of a select: filch_semaphore_acquire()
 *
 * The case's result is 0 or -EPIPE (closed). NULL, or @n out of range, makes a case that
 * filch_select() refuses.
 */
FILCH_API filch_case filch_case_acquire(filch_semaphore *semaphore, uint64_t n);

/* Permits that are released by themselves; see FILCH_PERMIT(). */
typedef struct filch_permit {
    int result; /* of the acquire: 0, or its error */
    /* Private. */
    filch_semaphore *semaphore;
    uint64_t n;
} filch_permit;

/** filch_permit_acquire() - filch_semaphore_acquire() with the permits as a value. Suspends: yes.
 * Return: `result` says what filch_semaphore_acquire() would have. */
FILCH_API filch_permit filch_permit_acquire(filch_semaphore *semaphore, uint64_t n,
                                            filch_time until);

/** filch_permit_release() - release what @permit holds; once, further calls do nothing. NULL, and
 * one whose acquire has failed, are allowed. Suspends: no. */
FILCH_API void filch_permit_release(filch_permit *permit);

/* Acquires, and releases when the block is left, by whatever way:
 *
 *     FILCH_PERMIT(permit, &connections, 1, FILCH_NEVER);
 *     if (permit.result < 0)
 *         return permit.result;
 */
#define FILCH_PERMIT(name, semaphore, n, until)                                                    \
    filch_permit name __attribute__((cleanup(filch_permit_release))) =                             \
        filch_permit_acquire((semaphore), (n), (until))

FILCH_END_DECLS

#endif
