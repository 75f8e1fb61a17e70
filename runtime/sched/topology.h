/* Where the CPUs of workers are, and from whom a worker takes first: whoever shares its core, then
 * its last cache, its memory, its package, then anybody. What a task has touched comes over faster
 * the nearer it was.
 *
 * Only for workers that are bound to CPUs (filch_runtime_opts.bind_workers): elsewhere the kernel
 * moves threads about, and any order is as good as a random one. Read once, at the start. */
#ifndef FILCH_SCHED_TOPOLOGY_H
#define FILCH_SCHED_TOPOLOGY_H

#include <stdint.h>

/* Two CPUs that have an id in common share the thing. What the system does not tell is -1, and
 * shared by all of which it does not tell it. */
struct filch__cpu_place {
    int cpu;
    int core;
    int cache; /* the last level */
    int node;
    int package;
};

/* What @root (/sys/devices/system) says of a CPU. */
struct filch__cpu_place filch__topology_read(const char *root, int cpu);

/* 0: one core; 1: one cache; 2: one node; 3: one package; 4. */
unsigned filch__topology_distance(const struct filch__cpu_place *a,
                                  const struct filch__cpu_place *b);

/* The order in which @self, of @n, takes from the @n - 1 others: nearest first, and among equals
 * the next one after itself, so that neighbours do not all begin with the same. */
void filch__topology_victims(const struct filch__cpu_place *places, unsigned n, unsigned self,
                             uint16_t *ret_order);

/* Sorts @places so that the first ones have a core each, before any core has a second one. */
void filch__topology_spread(struct filch__cpu_place *places, unsigned n);

#endif
