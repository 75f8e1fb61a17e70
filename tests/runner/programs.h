/* For tests that start programs. */
#ifndef FILCH_TESTS_RUNNER_PROGRAMS_H
#define FILCH_TESTS_RUNNER_PROGRAMS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "runtime/base/valgrind.h"

/* Their init. */
static inline void test_starts_programs(void)
{
    if (RUNNING_ON_VALGRIND)
        cr_skip_test("Valgrind 3.19 does not know pidfd_open(2)");
}

/* Would a shell find it? */
static inline bool program_is_there(const char *name)
{
    const char *at = getenv("PATH") ?: "/usr/bin:/bin";
    char path[4096];

    for (;; at++) {
        int bytes = (int)strcspn(at, ":");

        snprintf(path, sizeof path, "%.*s/%s", bytes, at, name);
        if (access(path, X_OK) == 0)
            return true;
        at += bytes;
        if (!*at)
            return false;
    }
}

/* Of a test that is about this program. */
#define T_NEEDS_PROGRAM(name)                                                                      \
    do {                                                                                           \
        if (!program_is_there(name))                                                               \
            cr_skip_test("%s is not installed", (name));                                           \
    } while (0)

#endif
