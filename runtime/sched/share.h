/* Weighted shares of time: arithmetic only; whoever calls brings the clocks.
 *
 * Each group has a virtual time: what it has used, divided by its weight. The one that is least
 * goes next, so those that always have something to run keep the same virtual time, and what they
 * have used is as their weights. Stride scheduling, or fair queueing, by measured time.
 *
 * A group without anything to run falls behind, and must not be paid for that when it comes back:
 * it begins at the common clock (the virtual time of who was picked last), but for a small credit.
 * Only differences of virtual times mean anything: they wrap around.
 *
 *   [share-range] At weight 1 a nanosecond is FILCH__SHARE_ONE, so two virtual times are less than
 * 2^63 apart as long as no group is ahead by more than four years of CPU time. At the largest
 * weight a microsecond is still 64.
 */
#ifndef FILCH_SCHED_SHARE_H
#define FILCH_SCHED_SHARE_H

#include <stdbool.h>
#include <stdint.h>

#define FILCH__SHARE_ONE 64
#define FILCH__SHARE_WEIGHT_MAX 1000

/* What @ns are in the virtual time of a group with @weight. */
static inline uint64_t filch__share_of(uint64_t ns, uint32_t weight)
{
    return ns * FILCH__SHARE_ONE / weight;
}

/* Does the group at @a go before the one at @b? */
static inline bool filch__share_is_before(uint64_t a, uint64_t b)
{
    return (int64_t)(a - b) < 0;
}

/* Where a group that was at @at begins when it has something to run again. */
static inline uint64_t filch__share_enter(uint64_t at, uint64_t clock, uint64_t credit)
{
    uint64_t least = clock - credit;

    return filch__share_is_before(at, least) ? least : at;
}

/* How much of a stretch of @wall_ns was spent on the CPU. Reading a thread's CPU clock is a system
 * call, so short stretches, in which nobody took the CPU away, are charged by the wall clock and
 * leave it alone: since it was last read it has gone on by @cpu_ns, of which @counted_ns have been
 * charged already. */
static inline uint64_t filch__share_used(uint64_t wall_ns, uint64_t cpu_ns, uint64_t counted_ns)
{
    uint64_t rest = cpu_ns > counted_ns ? cpu_ns - counted_ns : 0;

    return wall_ns < rest ? wall_ns : rest;
}

/* The one of @candidates (a bit each) that goes first; of equals the lowest. @candidates is not 0.
 */
static inline unsigned filch__share_least(const uint64_t *at, uint32_t candidates)
{
    unsigned least = (unsigned)__builtin_ctz(candidates);

    for (candidates &= candidates - 1; candidates; candidates &= candidates - 1) {
        unsigned i = (unsigned)__builtin_ctz(candidates);

        if (filch__share_is_before(at[i], at[least]))
            least = i;
    }
    return least;
}

#endif
