/* Checks that work anywhere: in tasks, in jobs, in threads. cr_assert leaves a test by a jump and
 * so belongs to the test's own thread; these print where and why, and abort the process, which is
 * one test. */
#ifndef FILCH_TESTS_RUNNER_CHECK_H
#define FILCH_TESTS_RUNNER_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_THREAD__)
#define T_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define T_THREAD_SANITIZER 1
#endif
#endif
#ifndef T_THREAD_SANITIZER
#define T_THREAD_SANITIZER 0
#endif

/* Everything is several times slower, and so large numbers are smaller. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define T_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define T_SANITIZED
#endif
#endif

/* The condition must hold. */
#define T_CHECK(cond)                                                                              \
    do {                                                                                           \
        if (!(cond))                                                                               \
            t_check_failed(__FILE__, __LINE__, #cond);                                             \
    } while (0)

/* The call must return @want, an integer. */
#define T_IS(expr, want)                                                                           \
    do {                                                                                           \
        long long t_got = (long long)(expr);                                                       \
        long long t_want = (long long)(want);                                                      \
        if (t_got != t_want)                                                                       \
            t_is_failed(__FILE__, __LINE__, #expr, t_got, t_want);                                 \
    } while (0)

/* The call must return 0. */
#define T_OK(expr) T_IS(expr, 0)

__attribute__((noreturn, unused)) static void t_check_failed(const char *file, int line,
                                                             const char *expression)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, expression);
    abort();
}

__attribute__((noreturn, unused)) static void
t_is_failed(const char *file, int line, const char *expression, long long got, long long want)
{
    fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", file, line, expression, got, want);
    abort();
}

#endif
