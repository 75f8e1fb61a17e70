/* A token bucket: arithmetic only; whoever calls brings the time.
 *
 * A rate is `permits` in `period_ns`. The bucket counts in parts of a token, period_ns of them to
 * one: a nanosecond brings `permits` parts, whatever the rate, so nothing is ever rounded and there
 * is no drift. Times are rounded up, so no token is early.
 *
 * With burst below 2^32 and all others below 2^64, what is counted stays below 2^128:
 *   [capped]  level <= burst * period_ns, but for what a time that was rounded up has brought: less
 *             than a nanosecond brings.
 */
#ifndef FILCH_SYNC_BUCKET_H
#define FILCH_SYNC_BUCKET_H

#include <filch/base.h>

__extension__ typedef unsigned __int128 filch__parts;

struct filch__bucket {
    uint64_t level[2]; /* of parts, low half first: the struct need not be aligned to 16 */
    uint64_t permits;
    filch_time period_ns;
    filch_time last; /* when level was right */
    uint64_t burst;
};

static inline filch__parts filch__bucket_level(const struct filch__bucket *bucket)
{
    return (filch__parts)bucket->level[1] << 64 | bucket->level[0];
}

static inline void filch__bucket_set_level(struct filch__bucket *bucket, filch__parts level)
{
    bucket->level[0] = (uint64_t)level;
    bucket->level[1] = (uint64_t)(level >> 64);
}

/* Full. All but @now are at least 1. */
static inline void filch__bucket_init(struct filch__bucket *bucket, uint64_t permits,
                                      filch_time period_ns, uint32_t burst, filch_time now)
{
    bucket->permits = permits;
    bucket->period_ns = period_ns;
    bucket->burst = burst;
    bucket->last = now;
    filch__bucket_set_level(bucket, (filch__parts)burst * period_ns);
}

/* Adds what has come since the last time. A @now before that changes nothing. */
static inline void filch__bucket_advance(struct filch__bucket *bucket, filch_time now)
{
    filch__parts level = filch__bucket_level(bucket);
    filch__parts cap = (filch__parts)bucket->burst * bucket->period_ns;
    filch__parts more;

    if (now <= bucket->last)
        return;
    more = (filch__parts)(now - bucket->last) * bucket->permits;
    if (level < cap) /* [capped] */
        filch__bucket_set_level(bucket, more < cap - level ? level + more : cap);
    bucket->last = now;
}

/* Takes @n tokens if they are there. */
static inline bool filch__bucket_take(struct filch__bucket *bucket, uint64_t n)
{
    filch__parts level = filch__bucket_level(bucket);
    filch__parts wanted = (filch__parts)n * bucket->period_ns;

    if (wanted > level)
        return false;
    filch__bucket_set_level(bucket, level - wanted);
    return true;
}

/* How long after `last` @n tokens are there, if nobody takes any meanwhile; @n may be more than the
 * burst, as if there were no cap. FILCH_NEVER: longer than can be said. */
static inline filch_time filch__bucket_delay(const struct filch__bucket *bucket, uint64_t n)
{
    filch__parts level = filch__bucket_level(bucket);
    filch__parts wanted = (filch__parts)n * bucket->period_ns;
    filch__parts delay;

    if (wanted <= level)
        return 0;
    delay = (wanted - level - 1) / bucket->permits + 1;
    return delay < FILCH_NEVER ? (filch_time)delay : FILCH_NEVER;
}

/* When that is. */
static inline filch_time filch__bucket_when(const struct filch__bucket *bucket, uint64_t n)
{
    filch_time delay = filch__bucket_delay(bucket, n);

    return delay < FILCH_NEVER - bucket->last ? bucket->last + delay : FILCH_NEVER;
}

/* Takes @n tokens, at most the burst, if they are there by @now: at the time when they came, not
 * now. For those that wait, so that who is woken late does not make those behind it late, too. */
static inline bool filch__bucket_take_due(struct filch__bucket *bucket, uint64_t n, filch_time now)
{
    filch_time when = filch__bucket_when(bucket, n);
    filch__parts level = filch__bucket_level(bucket);

    if (when > now && when > bucket->last)
        return false;
    level +=
        (filch__parts)(when - bucket->last) * bucket->permits; /* [capped] less than @n, till now */
    filch__bucket_set_level(bucket, level - (filch__parts)n * bucket->period_ns);
    bucket->last = when;
    return true;
}

/* Another rate from `last` on. The tokens that are there stay, and the part of the next one. */
static inline void filch__bucket_set_rate(struct filch__bucket *bucket, uint64_t permits,
                                          filch_time period_ns)
{
    filch__parts level = filch__bucket_level(bucket);
    uint64_t tokens = (uint64_t)(level / bucket->period_ns); /* at most the burst */
    uint64_t part = (uint64_t)(level % bucket->period_ns);

    level = (filch__parts)tokens * period_ns + (filch__parts)part * period_ns / bucket->period_ns;
    filch__bucket_set_level(bucket, level);
    bucket->permits = permits;
    bucket->period_ns = period_ns;
}

#endif
