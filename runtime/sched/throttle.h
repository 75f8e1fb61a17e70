/* Is the process throttled: has it, in some period of a CPU quota that it is under, used that up
 * before the end? Then the time that a worker spins is time that a task will not have, and workers
 * should park at once. The kernel counts such periods (base/cpu.h); the watch reads the count every
 * second, and while it grows, and for a while after, nobody spins.
 */
#ifndef FILCH_SCHED_THROTTLE_H
#define FILCH_SCHED_THROTTLE_H

#include <stdbool.h>

#include <filch/time.h>

#include "runtime/base/atomic.h"

#define FILCH__THROTTLE_NS (5 * FILCH_SECOND) /* from a look that found more */

struct filch__throttle {
    bool known; /* `count` is of an earlier look */
    uint64_t count;
    /* Written by the watch; read by workers, as a hint. */
    filch_atomic_u64 until;
};

/* The watch: @count so far, at @now. */
static inline void filch__throttle_note(struct filch__throttle *throttle, uint64_t count,
                                        filch_time now)
{
    if (throttle->known && count > throttle->count)
        filch_store_relaxed(&throttle->until, now + FILCH__THROTTLE_NS);
    throttle->known = true;
    throttle->count = count;
}

static inline bool filch__throttle_is_on(struct filch__throttle *throttle, filch_time now)
{
    return now < filch_load_relaxed(&throttle->until);
}

#endif
