/* Calls of the kernel and the C library that are refused, with any error, while a test says so. The
 * test names what can be refused, from 1 on, and wraps it (--wrap, in tests/meson.build):
 *
 *     enum { SYNC = 1 };
 *
 *     WRAPPED(int, fsync, (int fd))
 *     {
 *         return refuses(SYNC) ? -1 : __real_fsync(fd);
 *     }
 *     ...
 *     SAYS(SYNC, filch_file_sync(file, T_LIMIT), -EIO, -ENOSPC);
 */
#ifndef FILCH_TESTS_RUNNER_REFUSALS_H
#define FILCH_TESTS_RUNNER_REFUSALS_H

#include <errno.h>
#include <stdatomic.h>

#include "tests/runner/check.h"

static atomic_int refused, refusal; /* which call, 0: none; with which errno */

static inline bool refuses(int what)
{
    if (atomic_load(&refused) != what)
        return false;
    errno = atomic_load(&refusal);
    return true;
}

/* While @what is refused with an error, the call says it; for each of the errors. */
#define SAYS(what, call, ...)                                                                      \
    do {                                                                                           \
        static const int t_errors[] = {__VA_ARGS__};                                               \
        for (size_t t_i = 0; t_i < sizeof(t_errors) / sizeof(*t_errors); t_i++) {                  \
            long long t_said;                                                                      \
            atomic_store(&refusal, -t_errors[t_i]);                                                \
            atomic_store(&refused, what);                                                          \
            t_said = (call);                                                                       \
            atomic_store(&refused, 0);                                                             \
            T_IS(t_said, t_errors[t_i]);                                                           \
        }                                                                                          \
    } while (0)

#define WRAPPED(result, name, parameters)                                                          \
    result __real_##name parameters;                                                               \
    result __wrap_##name parameters;                                                               \
    result __wrap_##name parameters

#endif
