/* Who has which lock, and who waits for which: found out in builds with asserts=full, so that wrong
 * use is reported instead of hanging. Elsewhere all of it is nothing.
 *
 * An owner is a task, or a thread that runs none. The records lie outside of the locks, in a table
 * of fixed size: what does not fit is not known, and never reported.
 */
#ifndef FILCH_SYNC_OWNER_H
#define FILCH_SYNC_OWNER_H

#include <errno.h>

#include <filch/base.h>

#include "runtime/base/list.h"

/* The running task, or the thread: a number that no other one has at the same time. */
uint64_t filch__owner_self(void);

#if FILCH_ASSERTS >= 2

#define FILCH__OWNER_CIRCLE 8

/* One edge of a circle: who waits, for what, where. */
struct filch__owner_edge {
    uint64_t owner;
    const char *name;
    const void *lock;
    const void *place;
    const void *held_place; /* where the lock was taken by the next one */
};

/* A wait without a limit, in the frame of the waiter. */
struct filch__owner_wait {
    struct filch__list link; /* in the table of waits, or in none */
    struct filch__owner_edge self;
    struct filch__owner_edge circle[FILCH__OWNER_CIRCLE];
    unsigned count; /* of circle */
};

/* The caller has @lock now. */
void filch__owner_took(const void *lock, const void *place);
/* The caller is about to give it up: aborts if others have it, and the caller has not. */
void filch__owner_leaves(const void *lock);
bool filch__owner_has(const void *lock);
/* The caller is about to wait. Return: 0; -EDEADLK: it would wait for itself, at last: nothing was
 * noted, and filch__owner_report() tells, when no lock is held. */
int filch__owner_waits(struct filch__owner_wait *wait, const void *lock, const void *place);
/* Somebody hands the lock over to the one who waits, under the lock's lock. */
void filch__owner_granted(struct filch__owner_wait *wait);
/* The wait is over; also after granted(). */
void filch__owner_stops(struct filch__owner_wait *wait);
void filch__owner_report(struct filch__owner_wait *wait, const char *what);

#else

struct filch__owner_wait {
    char nothing[0];
};

static inline void filch__owner_took(const void *lock, const void *place)
{
    (void)lock;
    (void)place;
}
static inline void filch__owner_leaves(const void *lock)
{
    (void)lock;
}
static inline bool filch__owner_has(const void *lock)
{
    (void)lock;
    return false;
}
static inline int filch__owner_waits(struct filch__owner_wait *wait, const void *lock,
                                     const void *place)
{
    (void)wait;
    (void)lock;
    (void)place;
    return 0;
}
static inline void filch__owner_granted(struct filch__owner_wait *wait)
{
    (void)wait;
}
static inline void filch__owner_stops(struct filch__owner_wait *wait)
{
    (void)wait;
}
static inline void filch__owner_report(struct filch__owner_wait *wait, const char *what)
{
    (void)wait;
    (void)what;
}

#endif
#endif
