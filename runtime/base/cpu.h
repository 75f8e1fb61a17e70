/* What the machine gives us: how many CPUs we may use. */
#ifndef FILCH_BASE_CPU_H
#define FILCH_BASE_CPU_H

#include <stdint.h>

struct filch__cpu_limits {
    /* CPUs that this process may use: the least of the affinity mask and of the CPU quotas (rounded
     * up) of its cgroup and all of its ancestors, v1 and v2. At least 1. */
    unsigned cpus;
    /* Periods, since the groups were made, in which a quota was used up early and whoever was under
     * it had to wait: those of all these groups together. What it was before says nothing, as other
     * processes count; that it grows does. */
    uint64_t throttled;
};

void filch__cpu_limits(struct filch__cpu_limits *ret_limits);

/* The same with the file system mounted elsewhere and the affinity given, for tests: @root is put
 * before /proc/self/cgroup, /proc/self/mountinfo. */
void filch__cpu_limits_at(const char *root, unsigned affinity,
                          struct filch__cpu_limits *ret_limits);

/* Their number alone. */
unsigned filch__cpu_count(void);

/* CPUs in the affinity mask of the calling thread, whatever the quotas are; at least 1. Reads no
 * files. */
unsigned filch__cpu_affinity(void);

#endif
