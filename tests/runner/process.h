/* What a process holds, asked of the kernel: compared before and after, it shows what was left
 * behind. */
#ifndef FILCH_TESTS_RUNNER_PROCESS_H
#define FILCH_TESTS_RUNNER_PROCESS_H

#include <dirent.h>

#include "tests/runner/memory.h"

static inline unsigned process_entries(const char *folder)
{
    DIR *dir = opendir(folder);
    unsigned n = 0;

    T_CHECK(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static inline unsigned process_descriptors(void)
{
    return process_entries("/proc/self/fd");
}

static inline unsigned process_threads(void)
{
    return process_entries("/proc/self/task");
}

#endif
