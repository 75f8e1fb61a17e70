/* What a test asks the kernel about its own memory. */
#ifndef FILCH_TESTS_RUNNER_MEMORY_H
#define FILCH_TESTS_RUNNER_MEMORY_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/runner/check.h"

/* Is an access refused? Asked of the kernel, which says so without a signal. */
static inline bool memory_is_forbidden(const void *address)
{
    int ends[2];
    bool forbidden;

    T_OK(pipe(ends));
    forbidden = write(ends[1], address, 1) < 0;
    T_CHECK(!forbidden || errno == EFAULT);
    close(ends[0]);
    close(ends[1]);
    return forbidden;
}

/* Has the page memory of its own? */
static inline bool memory_is_resident(const void *address)
{
    uintptr_t page = (uintptr_t)address & ~(uintptr_t)(sysconf(_SC_PAGESIZE) - 1);
    unsigned char there = 0;

    T_OK(mincore((void *)page, 1, &there));
    return there & 1;
}

/* A line of /proc/self/status in kB: "VmRSS", "VmPTE", "VmLck", "VmSize". */
static inline size_t memory_kb(const char *what)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];
    unsigned long kb = 0;

    T_CHECK(file);
    while (fgets(line, sizeof line, file))
        if (strncmp(line, what, strlen(what)) == 0)
            T_IS(sscanf(line + strlen(what), ": %lu", &kb), 1);
    fclose(file);
    return kb;
}

#endif
