/* How long a group has a worker, and who asks it to make room. See group_room.c. */
#ifndef FILCH_SCHED_GROUP_ROOM_H
#define FILCH_SCHED_GROUP_ROOM_H

#include "runtime/sched/worker.h"

#define FILCH__SLICE_NS (200 * FILCH_MICROSECOND)
#define FILCH__SLICE_LATENCY_NS (100 * FILCH_MICROSECOND) /* with a group of kind LATENCY */

static inline filch_time filch__group_slice(struct filch_runtime *rt)
{
    return filch_load_relaxed(&rt->groups.latency) ? FILCH__SLICE_LATENCY_NS : FILCH__SLICE_NS;
}

/* One that is with a group of kind BATCH is to choose anew; @bound_to: that one, or 0. Any thread.
 */
void filch__group_ask_batch(struct filch_runtime *rt, uint32_t bound_to);

#endif
