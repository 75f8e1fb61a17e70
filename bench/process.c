/* See process.h. */
#include "bench/process.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t process_cpu_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* The number after @key in a status file of /proc; 0 when there is none (a thread that ended). */
static uint64_t status_number(const char *path, const char *key)
{
    char line[256];
    uint64_t value = 0;
    FILE *file = fopen(path, "r");

    if (!file)
        return 0;
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, key, strlen(key)))
            value = strtoull(line + strlen(key), NULL, 10);
    fclose(file);
    return value;
}

struct process_memory process_memory(void)
{
    return (struct process_memory){
        .rss = status_number("/proc/self/status", "VmRSS:") * 1024,
        .page_tables = status_number("/proc/self/status", "VmPTE:") * 1024,
    };
}

uint64_t process_switches(void)
{
    DIR *dir = opendir("/proc/self/task");
    struct dirent *entry;
    uint64_t sum = 0;
    char path[320];

    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        sum += status_number(path, "voluntary_ctxt_switches:");
        sum += status_number(path, "nonvoluntary_ctxt_switches:");
    }
    if (dir)
        closedir(dir);
    return sum;
}
