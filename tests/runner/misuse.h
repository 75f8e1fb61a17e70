/* Rows of the tables of wrong calls (unit/test_misuse*.c): a call, and what it must return. A test
 * ends with cr_assert_eq(misuse_wrong, 0). */
#ifndef TESTS_RUNNER_MISUSE_H
#define TESTS_RUNNER_MISUSE_H

#include <stdatomic.h>
#include <stdio.h>

static atomic_int misuse_wrong;

static inline void misuse_check_row(const char *file, int line, const char *call, long long got,
                                    long long want)
{
    if (got == want)
        return;
    fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", file, line, call, got, want);
    atomic_fetch_add(&misuse_wrong, 1);
}

/* The call, and what it must return. */
#define ROW(call, want)                                                                            \
    misuse_check_row(__FILE__, __LINE__, #call, (long long)(call), (long long)(want))
/* A call without a result: it must come back. */
#define ROW_VOID(call) (call)

#endif
