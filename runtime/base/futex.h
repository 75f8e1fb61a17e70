/* Futex waits for plain threads, with the absolute times that the rest of filch uses. */
#ifndef FILCH_BASE_FUTEX_H
#define FILCH_BASE_FUTEX_H

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <filch/base.h>

#include "runtime/base/atomic.h"

#if defined(__SANITIZE_THREAD__)
#define FILCH__FUTEX_SLICES 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FILCH__FUTEX_SLICES 1
#endif
#endif

static inline int filch__futex_wait_once(filch_atomic_u32 *word, uint32_t value, filch_time until)
{
    struct timespec ts = {
        .tv_sec = (time_t)(until / FILCH_SECOND),
        .tv_nsec = (long)(until % FILCH_SECOND),
    };
    int saved = errno;
    long r = syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value,
                     until == FILCH_NEVER ? NULL : &ts, NULL, FUTEX_BITSET_MATCH_ANY);
    int error = r < 0 ? errno : 0;

    errno = saved;
    return error == ETIMEDOUT ? -ETIMEDOUT : 0;
}

/* Blocks while *word is @value, until @until. Return: 0 (look again); -ETIMEDOUT. */
static inline int filch__futex_wait(filch_atomic_u32 *word, uint32_t value, filch_time until)
{
#ifdef FILCH__FUTEX_SLICES
    /* ThreadSanitizer puts signals off to the next call that it knows: so there is one now and
     * then.
     */
    const filch_time slice = 10 * FILCH_MILLISECOND;
    struct timespec now;
    filch_time until_now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    until_now = (filch_time)now.tv_sec * FILCH_SECOND + (filch_time)now.tv_nsec + slice;
    if (until_now < until) {
        usleep(0);
        (void)filch__futex_wait_once(word, value, until_now);
        return 0;
    }
#endif
    return filch__futex_wait_once(word, value, until);
}

static inline void filch__futex_wake(filch_atomic_u32 *word, int threads)
{
    int saved = errno;

    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, threads, NULL, NULL, 0);
    errno = saved;
}

#endif
