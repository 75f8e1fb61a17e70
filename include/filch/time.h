/* The clock, sleeping, and periodic ticks. Timers have a resolution of 1 ms (they fire up to 1 ms
 * late, never early). */
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

/* A periodic tick. The fields are private. Ticks that were missed come at once, one after the other
 * (as in Tokio's Burst), so that their count is right. */
typedef struct filch_interval {
    filch_time next;
    filch_time period_ns;
} filch_interval;

/**
 * filch_interval_init() - start a periodic tick, the first one period from now
 * @interval:  caller's memory; needs no clean-up
 * @period_ns: at least 1
 *
 * Return: 0; -EINVAL (NULL, or a period of 0).
 */
FILCH_API int filch_interval_init(filch_interval *interval, filch_time period_ns);

/**
 * filch_interval_tick() - wait for the next tick
 * @interval: used by one task at a time
 * @until:    stop waiting at this time; the tick is not consumed then
 *
 * Suspends: yes. Cancellation point: yes; the tick is not consumed.
 * Return: 0; -ETIMEDOUT; -ECANCELED; -EINVAL (NULL).
 */
FILCH_API int filch_interval_tick(filch_interval *interval, filch_time until);

FILCH_END_DECLS

#endif
