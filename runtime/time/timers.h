/* The timers of one worker: a wheel under a small lock, so that any worker can disarm a timer and a
 * busy worker's timers can be fired by another. */
#ifndef FILCH_TIME_TIMERS_H
#define FILCH_TIME_TIMERS_H

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

/* Arms a timer that is not armed: @task is woken at @when. By the timer's owner. */
void filch__timer_arm(struct filch__timers *timers, struct filch__timer *timer, filch_time when,
                      struct filch__task *task);

/* Takes a timer out. By its owner; afterwards nobody touches it. Return: false when it had fired,
 * or was never armed. */
bool filch__timer_disarm(struct filch__timer *timer);

/* Fires what is due: wakes tasks into the caller's queue. Any worker. Return: how many. */
unsigned filch__timers_run(struct filch__timers *timers, filch_time now);

#endif
