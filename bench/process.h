/* What the kernel says of this process: CPU time, memory, context switches. */
#ifndef BENCH_PROCESS_H
#define BENCH_PROCESS_H

#include <stdint.h>

/* CPU time of all threads in ns. */
uint64_t process_cpu_ns(void);

struct process_memory {
    uint64_t rss;         /* bytes */
    uint64_t page_tables; /* bytes */
};

struct process_memory process_memory(void);

/* Context switches, voluntary or not, of all threads that are alive: each wake-up of an idle thread
 * ends in one. */
uint64_t process_switches(void);

#endif
