/* What the machine gives us: how many CPUs we may use. */
#ifndef FILCH_BASE_CPU_H
#define FILCH_BASE_CPU_H

/* CPUs that this process may use: the least of the affinity mask and of the CPU quotas (rounded up)
 * of its cgroup and all of its ancestors, v1 and v2. At least 1. */
unsigned filch__cpu_count(void);

/* The same with the file system mounted elsewhere and the affinity given, for tests: @root is put
 * before /proc/self/cgroup, /proc/self/mountinfo. */
unsigned filch__cpu_count_at(const char *root, unsigned affinity);

#endif
