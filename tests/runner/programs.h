/* For tests that start programs. */
#ifndef FILCH_TESTS_RUNNER_PROGRAMS_H
#define FILCH_TESTS_RUNNER_PROGRAMS_H

#include <criterion/criterion.h>

#include "runtime/base/valgrind.h"

/* Their init. */
static inline void test_starts_programs(void)
{
    if (RUNNING_ON_VALGRIND)
        cr_skip_test("Valgrind 3.19 does not know pidfd_open(2)");
}

#endif
