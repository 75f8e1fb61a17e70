/* A worker's seat: does it take part in the work, or sit out? Workers sit out that were called in
 * for others that were stuck, when those are back (sched/watch.c), and those that the CPU quota
 * has no room for any more. One that sits out keeps its thread, lane and timers, hands over what
 * these wake, runs its pinned tasks, and is picked for nothing.
 *
 *     ACTIVE --dismiss (watch)--> LEAVING --leave (owner, in its loop)--> RESERVE
 *       ^                            |                                       |
 *       +--------call (watch)--------+--------------call (watch)-------------+
 *
 * Only the watch thread calls and dismisses, so there are two parties. Whoever calls one that has
 * left unparks its lane, which lets the next park return at once; the owner looks at its seat after
 * each park.
 *   [seat-leave] A worker that searched when it left may have been counted on by a producer, who
 * woke nobody: it ends its search as any other does [idle-last], looks at all work again and
 * notifies a sleeper if there is any. Modelled: tests/model/model_seat.c. [seat-mail] Leaving and
 * sending to the owner's mailbox, or its set of bound tasks (group_bound.c): each side writes, then
 * reads what the other wrote: the owner its seat, then the mailbox; a sender the mailbox, then the
 * seat. Both go through the seat by read-modify-writes, in some order. Modelled there, and for the
 * set in tests/model/model_bound.c. */
#ifndef FILCH_SCHED_SEAT_H
#define FILCH_SCHED_SEAT_H

#include "runtime/base/atomic.h"

enum filch__seat {
    FILCH_SEAT_ACTIVE = 0,
    FILCH_SEAT_LEAVING, /* told to leave */
    FILCH_SEAT_RESERVE,
};

static inline bool filch__seat_is_active(filch_atomic_u32 *seat)
{
    return filch_load_relaxed(seat) == FILCH_SEAT_ACTIVE; /* a hint: seen again at the next look */
}

/* Owner. */
static inline bool filch__seat_is_out(filch_atomic_u32 *seat)
{
    return filch_load_relaxed(seat) == FILCH_SEAT_RESERVE; /* the unpark orders what follows */
}

/* By a sender, after it has put something into the mailbox or the set. A read-modify-write that
 * changes nothing: with a load the owner, which only loads after it has left, might miss what was
 * put. */
static inline bool filch__seat_has_left(filch_atomic_u32 *seat)
{
    return filch_fetch_add_release(seat, 0) == FILCH_SEAT_RESERVE; /* [seat-mail] */
}

/* Watch. Return: was it active? */
static inline bool filch__seat_dismiss(filch_atomic_u32 *seat)
{
    uint32_t active = FILCH_SEAT_ACTIVE;

    return filch_cas_relaxed(seat, &active, FILCH_SEAT_LEAVING);
}

/* Watch. Return: had it left? Then its lane must be unparked. */
static inline bool filch__seat_call(filch_atomic_u32 *seat)
{
    return filch_exchange_acquire(seat, FILCH_SEAT_ACTIVE) == FILCH_SEAT_RESERVE;
}

/* Owner. Return: was it told to? */
static inline bool filch__seat_leave(filch_atomic_u32 *seat)
{
    uint32_t leaving = FILCH_SEAT_LEAVING;

    return filch_cas_acquire(seat, &leaving, FILCH_SEAT_RESERVE); /* [seat-mail] */
}

#endif
