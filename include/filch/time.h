/* The clock, sleeping, and periodic ticks. No timer fires early. Its time is rounded up to a grain
 * of 16 us for the nearest ones, 1/64 of the span for others, and at most 1 ms: a sleep of 200 us
 * is over some tens of microseconds late on an idle worker, one of an hour up to a millisecond. A
 * worker that runs another task adds the time until that task suspends or the monitor comes by. */
#ifndef FILCH_TIME_H
#define FILCH_TIME_H

#include <filch/base.h>

FILCH_BEGIN_DECLS

/**
 * filch_now() - the present time
 *
 * Thread-safety: any thread. Suspends: no. Return: nanoseconds on CLOCK_MONOTONIC.
 */
FILCH_API filch_time filch_now(void);

/**
 * filch_after() - the time that is @span_ns from now, for use as `until`
 * @span_ns: nanoseconds; a span too long to be represented gives FILCH_NEVER
 *
 * Thread-safety: any thread. Suspends: no.
 */
FILCH_API filch_time filch_after(filch_time span_ns);

/**
 * filch_sleep() - suspend the caller until @until
 * @until: when to go on; FILCH_NOW or the past returns at once; FILCH_NEVER sleeps until cancelled
 *
 * Thread-safety: any task; a plain thread blocks. Suspends: yes. Cancellation point: yes.
 * Return: 0 when the time has come; -ECANCELED.
 */
FILCH_API int filch_sleep(filch_time until);

/* What becomes of ticks that were missed: when one is taken more than 5 ms after it was due. */
enum filch_missed {
    /* They come at once, one after the other, until the interval has caught up: the count is right.
     */
    FILCH_MISSED_BURST = 0,
    /* The next one comes a period after this one was taken: the distance is right. */
    FILCH_MISSED_DELAY,
    /* They are left out; the next one comes at the next multiple of the period since the start: the
     * phase is right. */
    FILCH_MISSED_SKIP,
};

/* A periodic tick. The fields are private. */
typedef struct filch_interval {
    filch_time next;
    filch_time period_ns;
    uint32_t missed; /* enum filch_missed */
} filch_interval;

/**
 * filch_interval_init() - start a periodic tick, the first one period from now
 * @interval:  caller's memory; needs no clean-up
 * @period_ns: at least 1
 *
 * Missed ticks come in a burst; see filch_interval_set_missed().
 * Thread-safety: any thread. Suspends: no. Return: 0; -EINVAL (NULL, or a period of 0).
 */
FILCH_API int filch_interval_init(filch_interval *interval, filch_time period_ns);

/**
 * filch_interval_set_missed() - choose what becomes of missed ticks
 *
 * Thread-safety: the task that uses the interval. Suspends: no. Return: 0; -EINVAL (NULL, or no
 * such policy).
 */
FILCH_API int filch_interval_set_missed(filch_interval *interval, enum filch_missed missed);

/**
 * filch_interval_reset() - say when the next tick comes
 * @next: FILCH_NOW: at once; FILCH_NEVER: not until the next reset. Later ones follow it by the
 *        period.
 *
 * Thread-safety: the task that uses the interval. Suspends: no. Return: 0; -EINVAL (NULL).
 */
FILCH_API int filch_interval_reset(filch_interval *interval, filch_time next);

/**
 * filch_interval_tick() - wait for the next tick
 * @interval: used by one task at a time
 * @until:    stop waiting at this time; the tick is not consumed then
 *
 * Suspends: yes. Cancellation point: yes; the tick is not consumed.
 * Return: 0; -ETIMEDOUT; -ECANCELED; -EINVAL (NULL, or never initialised).
 */
FILCH_API int filch_interval_tick(filch_interval *interval, filch_time until);

FILCH_END_DECLS

#endif
