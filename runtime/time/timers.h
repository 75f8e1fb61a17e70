/* The timers of one worker: a wheel under a small lock, so that any worker can disarm a timer and a
 * busy worker's timers can be fired by another.
 *
 * How late: a timer's time is rounded up to 1/64 of its distance, at least 16 us and at most 1 ms
 * (powers of two). So short sleeps are as exact as parking is, and thousands of long ones share the
 * wake-ups of their worker. */
#ifndef FILCH_TIME_TIMERS_H
#define FILCH_TIME_TIMERS_H

#include <filch/future.h>

#include "runtime/base/spinlock.h"
#include "runtime/time/wheel.h"

struct filch__task;

struct filch__timers {
    filch_spinlock lock; /* guards wheel, and link and when of the timers in it */
    /* When to look next. Written under the lock; read by the owner before parking, and by the
     * monitor. A reader that misses an earlier time is the owner's own earlier self or a monitor
     * that comes again, so relaxed will do. */
    filch_atomic_u64 next;
    struct filch__wheel wheel;
};

void filch__timers_init(struct filch__timers *timers, filch_time now);

/* A timer that is in no wheel. */
void filch__timer_init(struct filch__timer *timer);

/* Arms a timer that is not armed: @task is woken at @when, rounded up. By the timer's owner. @now
 * may be a little out of date: it is used to round only. */
void filch__timer_arm(struct filch__timers *timers, struct filch__timer *timer, filch_time when,
                      filch_time now, struct filch__task *task);

/* The same with a waker, of a task or of a relay: a copy of it is woken. */
void filch__timer_arm_waker(struct filch__timers *timers, struct filch__timer *timer,
                            filch_time when, filch_time now, const filch_waker *waker);
/* The same, and what happens at @when is filch__block_fire(@timer), under the wheel's lock. */
void filch__timer_arm_block(struct filch__timers *timers, struct filch__timer *timer,
                            filch_time when, filch_time now, struct filch__task *task);

/* Takes a timer out. By its owner; afterwards nobody touches it. Return: false when it had fired,
 * or was never armed. */
bool filch__timer_disarm(struct filch__timer *timer);

/* Fires what is due: wakes tasks into the caller's queue. Any worker. Return: how many. */
unsigned filch__timers_run(struct filch__timers *timers, filch_time now);

#endif
