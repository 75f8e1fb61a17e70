/* The gate of a runtime: threads that are no workers of it pass it to spawn, until shutdown closes
 * it. What was let in is seen by shutdown; what comes later is turned away.
 *
 *     spawner                                  shutdown
 *     1 callers + 1                            1 shut = reason
 *     2 shut? then callers - 1, turn back      2 callers 0? then everything that was let in has
 *     3 spawn; callers - 1                       been spawned, and nothing comes any more
 *
 *   [outside-spawn] Each side writes, then reads what the other wrote, all seq_cst: either 2 left
 * sees 1 right, or 2 right sees 1 left, and waits until 3, whose release it acquires. Modelled:
 * tests/model/model_gate.c.
 *
 * The two words belong to the caller, because they live differently: counts come and go in a
 * runtime's block also after its end (sched/registry.c), and `shut` is read by much else.
 */
#ifndef FILCH_SCHED_GATE_H
#define FILCH_SCHED_GATE_H

#include "runtime/base/atomic.h"

static inline void filch__gate_leave(filch_atomic_u32 *callers)
{
    filch_fetch_sub_acq_rel(callers, 1); /* [outside-spawn] */
}

/* Return: false when it is shut; then nothing is to be left. */
static inline bool filch__gate_enter(filch_atomic_u32 *callers, filch_atomic_u32 *shut)
{
    /* relaxed: a hint. Those who come late are not counted, and do not hold shutdown up. */
    if (filch_load_relaxed(shut))
        return false;
    filch_fetch_add_seq_cst(callers, 1); /* [outside-spawn] */
    if (!filch_load_seq_cst(shut))       /* [outside-spawn] */
        return true;
    filch__gate_leave(callers);
    return false;
}

/* @reason: not 0. */
static inline void filch__gate_shut(filch_atomic_u32 *shut, uint32_t reason)
{
    filch_store_seq_cst(shut, reason); /* [outside-spawn] */
}

/* After shutting it: true once, true for ever, but for those that turn back. */
static inline bool filch__gate_is_empty(filch_atomic_u32 *callers)
{
    return filch_load_seq_cst(callers) == 0; /* [outside-spawn] */
}

#endif
