/* Periodic ticks. An interval is two times in the caller's memory: when the next tick is due, and
 * the period. Taking a tick moves the due time on; by how much, when ticks were missed, is the
 * policy's matter (Tokio's three, with its tolerance). */
#include "runtime/time/interval.h"

#include <errno.h>

/* Less than this is lateness of timers and workers, not a tick that was missed. */
#define TOLERANCE_NS (5 * FILCH_MILLISECOND)

static filch_time add(filch_time a, filch_time b)
{
    return b < FILCH_NEVER - a ? a + b : FILCH_NEVER;
}

filch_time filch__interval_next(enum filch_missed missed, filch_time due, filch_time now,
                                filch_time period_ns)
{
    if (now > add(due, TOLERANCE_NS)) {
        switch (missed) {
        case FILCH_MISSED_BURST:
            break;
        case FILCH_MISSED_DELAY:
            return add(now, period_ns);
        case FILCH_MISSED_SKIP:
            return add(now, period_ns - (now - due) % period_ns);
        }
    }
    return add(due, period_ns);
}

int filch_interval_init(filch_interval *interval, filch_time period_ns)
{
    if (!interval || !period_ns)
        return -EINVAL;
    *interval = (filch_interval){
        .next = filch_after(period_ns),
        .period_ns = period_ns,
        .missed = FILCH_MISSED_BURST,
    };
    return 0;
}

int filch_interval_set_missed(filch_interval *interval, enum filch_missed missed)
{
    if (!interval || (unsigned)missed > FILCH_MISSED_SKIP)
        return -EINVAL;
    interval->missed = missed;
    return 0;
}

int filch_interval_reset(filch_interval *interval, filch_time next)
{
    if (!interval)
        return -EINVAL;
    interval->next = next;
    return 0;
}

int filch_interval_tick(filch_interval *interval, filch_time until)
{
    filch_time now;
    int r;

    if (!interval || !interval->period_ns)
        return -EINVAL;
    now = filch_now();
    if (now < interval->next || interval->next == FILCH_NEVER) {
        r = filch_sleep(until < interval->next ? until : interval->next);
        if (r < 0)
            return r;
        if (until < interval->next)
            return -ETIMEDOUT;
        now = filch_now();
    }
    /* FILCH_NOW stands for the time at which it is taken. */
    interval->next =
        filch__interval_next((enum filch_missed)interval->missed,
                             interval->next ? interval->next : now, now, interval->period_ns);
    return 0;
}
