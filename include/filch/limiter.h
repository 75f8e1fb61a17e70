/* Rate limiters: so many permits per time, with a burst; a token bucket.
 *
 *     filch_limiter requests;
 *
 *     r = filch_limiter_init(&requests, 100, FILCH_SECOND, 10);      100 a second, 10 at once
 *     ...
 *     r = filch_limiter_acquire(&requests, 1, FILCH_NEVER);
 *
 * The bucket is full at first, and fills up again when it is idle, never beyond the burst. No
 * permit is early, and nothing is rounded: after n permits at a rate the time is right to the
 * nanosecond, however large n is. Who is woken late does not make those behind it late, too. First
 * come, first served, whatever the size.
 *
 * How many do a thing at a time is limited by a semaphore.
 *
 * For a select, take filch_case_at(filch_after(filch_limiter_delay(...))) and acquire then.
 */
#ifndef FILCH_LIMITER_H
#define FILCH_LIMITER_H

#include <filch/base.h>

FILCH_BEGIN_DECLS

/* Lives in the caller's memory and must stay where it is. The fields are private. */
typedef struct filch_limiter {
    uint64_t private_words[10];
} filch_limiter;

/**
 * filch_limiter_init() - prepare a limiter in the caller's memory, with a full bucket
 * @permits:   at least 1, in each ...
 * @period_ns: at least 1 ns
 * @burst:     most permits at once, at least 1
 *
 * Suspends: no. Return: 0; -EINVAL (NULL, or a 0).
 */
FILCH_API int filch_limiter_init(filch_limiter *limiter, uint64_t permits, filch_time period_ns,
                                 uint32_t burst);

/** filch_limiter_fini() - the end of a limiter. Nobody may be waiting in it; checked. NULL is
 * allowed. Suspends: no. */
FILCH_API void filch_limiter_fini(filch_limiter *limiter);

/**
 * filch_limiter_acquire() - take permits, waiting until their time has come
 * @n:     1 to the burst
 * @until: FILCH_NOW takes them only if they are there and nobody waits
 *
 * Thread-safety: any task or plain thread, any number at once; served in order. Suspends: yes.
 * Cancellation point: yes; after an error no permit was taken, and those behind the caller come
 * earlier by as much.
 * Return: 0; -ETIMEDOUT; -ECANCELED; -EINVAL (NULL, or @n out of range).
 */
FILCH_API FILCH_MUST_CHECK int filch_limiter_acquire(filch_limiter *limiter, uint32_t n,
                                                     filch_time until);

/** filch_limiter_try_acquire() - take permits if they are there and nobody waits. Thread-safety:
 * any thread. Suspends: no. Return: 0; -EAGAIN; -EINVAL (NULL, or @n out of range). */
FILCH_API FILCH_MUST_CHECK int filch_limiter_try_acquire(filch_limiter *limiter, uint32_t n);

/**
 * filch_limiter_delay() - how long it would take to acquire permits now, behind those that wait
 * @n: 1 to the burst
 *
 * Thread-safety: any thread. Suspends: no. Return: nanoseconds, 0: at once; FILCH_NEVER: for NULL,
 * for @n out of range, and for longer than 584 years.
 */
FILCH_API filch_time filch_limiter_delay(filch_limiter *limiter, uint32_t n);

/**
 * filch_limiter_set_rate() - another rate from now on, also for those that wait
 *
 * What is in the bucket stays there; so does the burst. Thread-safety: any thread. Suspends: no.
 * Return: 0; -EINVAL (NULL, or a 0).
 */
FILCH_API int filch_limiter_set_rate(filch_limiter *limiter, uint64_t permits,
                                     filch_time period_ns);

FILCH_END_DECLS

#endif
