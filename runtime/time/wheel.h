/* Timer wheel: 7 levels of 64 slots, 16 us (2^14 ns) ticks, after Varghese and Lauck's hierarchical
 * wheels.
 *
 * Pure data structure: time is an argument, so tests need no clock. Not locked: its owner (struct
 * filch__timers) locks. Timers fire at the first advance at or after their time, rounded up to the
 * next tick: up to a tick late, never early.
 */
#ifndef FILCH_TIME_WHEEL_H
#define FILCH_TIME_WHEEL_H

#include <filch/base.h>

#include "runtime/base/atomic.h"
#include "runtime/base/list.h"

#define FILCH__WHEEL_LEVELS 7
#define FILCH__WHEEL_SLOTS 64
#define FILCH__WHEEL_TICK_SHIFT 14

/* Embedded in its owner. Armed when link points elsewhere than to itself. */
struct filch__timer {
    struct filch__list link;
    filch_time when; /* absolute ns */
    /* For timers.h: where it is armed, NULL: nowhere; and whom to wake: a waker's two words. */
    filch_atomic_ptr home;
    void *target;
    uint64_t key;
};

struct filch__wheel {
    uint64_t tick;                          /* everything up to here has fired */
    uint64_t occupied[FILCH__WHEEL_LEVELS]; /* bit s: slot s has timers */
    uint64_t mixed[FILCH__WHEEL_LEVELS];    /* and some may be due later than it begins */
    struct filch__list slot[FILCH__WHEEL_LEVELS][FILCH__WHEEL_SLOTS];
};

void filch__wheel_init(struct filch__wheel *wheel, filch_time now);

/* Puts @timer in; it must not be armed. A time in the past fires at the next advance. Times beyond
 * the horizon (2^42 ticks) wait in the last level and are put again. */
void filch__wheel_insert(struct filch__wheel *wheel, struct filch__timer *timer, filch_time when);

/* Takes an armed timer out. */
void filch__wheel_remove(struct filch__wheel *wheel, struct filch__timer *timer);

/* Moves the wheel to @now and appends the timers that are due to @expired, earliest tick first. */
void filch__wheel_advance(struct filch__wheel *wheel, filch_time now, struct filch__list *expired);

/* A time not later than the earliest timer's: when to advance next. FILCH_NEVER when empty. */
filch_time filch__wheel_next(const struct filch__wheel *wheel);

/* Every invariant, for tests. */
bool filch__wheel_is_valid(const struct filch__wheel *wheel);

#endif
