/* Fences that cost one side nothing, for words that one thread writes all the time and another one
 * looks at now and then.
 *
 *     the one that runs often              the other one
 *     -----------------------              -------------
 *     filch_store_light(&mine, 1)          filch_exchange_seq_cst(&yours, 1)
 *     filch_load_light(&yours)             if (filch_fence_heavy())
 *                                              filch_load_seq_cst(&mine)
 *
 * At least one of the two sees the other's store, as with four seq_cst operations. But a light
 * store is a plain one, where a seq_cst store is a locked instruction (6 ns here): the heavy side
 * has the kernel make each thread of the process that runs at this moment execute a full barrier,
 * membarrier(2), which takes some microseconds. Where the kernel refuses that, the light side pays.
 *
 * A light load is also an acquire load.
 */
#ifndef FILCH_BASE_FENCE_H
#define FILCH_BASE_FENCE_H

#include "runtime/base/atomic.h"

#ifdef FILCH_MODEL
/* Who does it, and the heavy fence, come from the explorer. */
#else

/* 1: the kernel does it. Goes from 0 to 1 as the first runtime starts, before its workers do. */
extern filch_atomic_u32 filch__fence_by_kernel;

#define filch__fence_is_by_kernel() __builtin_expect(filch_load_relaxed(&filch__fence_by_kernel), 1)

/* Before the first use in a process, and in the child of a fork. Any thread, any number of times.
 */
void filch__fence_init(void);

/* Return: false: the kernel refused what it has promised (a filter of system calls that was put in
 * since): the other side's store may be out of sight. */
bool filch_fence_heavy(void);

#endif

/* A compiler keeps the two in their order; the kernel's barrier does the rest. */
#define filch_store_light(p, v)                                                                    \
    do {                                                                                           \
        if (filch__fence_is_by_kernel()) {                                                         \
            filch_store_relaxed((p), (v));                                                         \
            __asm__ volatile("" ::: "memory");                                                     \
        } else {                                                                                   \
            filch_store_seq_cst((p), (v));                                                         \
        }                                                                                          \
    } while (0)

#define filch_load_light(p) filch_load_seq_cst(p)

#endif
