/* What a process holds, asked of the kernel: compared before and after, it shows what was left
 * behind. */
#ifndef FILCH_TESTS_RUNNER_PROCESS_H
#define FILCH_TESTS_RUNNER_PROCESS_H

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

/* Those but what the runtime's watch opens at a time of its own: rings and events, when it calls a
 * worker in, and the files that tell it about threads and CPUs. */
static inline unsigned process_files(void)
{
    char link[32], to[32];
    unsigned n = 0;

    for (int fd = 0; fd < 1024; fd++) {
        ssize_t bytes;

        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        bytes = readlink(link, to, sizeof to - 1);
        if (bytes <= 0)
            continue;
        to[bytes] = '\0';
        if (strncmp(to, "anon_inode:[pidfd]", 18) == 0)
            n++;
        else
            n += strncmp(to, "anon_inode", 10) && strncmp(to, "/proc/", 6) &&
                 strncmp(to, "/sys/", 5);
    }
    return n;
}

static inline unsigned process_threads(void)
{
    return process_entries("/proc/self/task");
}

#endif
