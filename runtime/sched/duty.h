/* Monitor duty: a word that says whether somebody watches over the workers. A parked worker that
 * has it wakes up by itself now and then; while nobody is parked, a busy one takes it for the time
 * of a visit, in passing. It is a lock, too: who has it writes what the last visit saw.
 * [monitor-duty] release of the last holder -> acquire of the next.
 *
 * A worker that goes to park may find the duty taken by one that has it only for a moment, and then
 * nobody would have it. So it says that it sleeps before it tries, and whoever gives the duty up
 * and goes on working looks for sleepers afterwards:
 *
 *     goes to park                         gives it up                          [monitor-left]
 *     1 idle: sleeps, runs no more         1 duty = 0
 *     2 duty: 0 -> 1? no: park             2 does one sleep, and nobody search? wake it
 *
 * Both go through the idle word by read-modify-writes, in some order: either the second one sees
 * that the first sleeps, or the first, coming later, finds the duty free. Whoever is woken for
 * nothing takes the duty as it parks again. */
#ifndef FILCH_SCHED_DUTY_H
#define FILCH_SCHED_DUTY_H

#include "runtime/base/atomic.h"

static inline bool filch__duty_is_free(filch_atomic_u32 *duty)
{
    return !filch_load_relaxed(duty); /* a hint: what follows is ordered by itself */
}

static inline bool filch__duty_take(filch_atomic_u32 *duty)
{
    uint32_t free_word = 0;

    return filch_cas_acquire(duty, &free_word, 1); /* [monitor-duty] */
}

/* The caller parks again, or else looks for a sleeper, if the duty is still free. */
static inline void filch__duty_give(filch_atomic_u32 *duty)
{
    filch_store_release(duty, 0); /* [monitor-duty] [monitor-left] */
}

#endif
