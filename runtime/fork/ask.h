/* How a worker without work asks a task that forks for some of it: one word in the task's fork
 * stack, which each fork compares with.
 *
 *     the owner forks                          a worker without work
 *     1 reads the word: NULL? else it is done  1 puts NULL, unless it is there [fork-ask]
 *     2 puts its room there [fork-ask]         2 says that it goes to sleep, looks at all queues,
 *     3 shares its oldest fork: run queue, and   and sleeps [idle-park]
 *       who sleeps is woken [idle-park]
 *
 * Relaxed here: the word only says that somebody wants something, and what the owner does in 3 is
 * ordered like any push to a run queue. A request that comes between 1 and 3 left is overwritten by
 * 2, but it is answered by 3 as well: who asked sees the fork in the queue before it sleeps, or is
 * woken. One that comes later stays for the owner's next fork. A request is for anybody: who gets
 * the fork need not have asked, and then asks again for the others.
 *
 *   [fork-postpone] An owner who takes a request away without an answer, since it is to let others
 * run first, asks itself again afterwards if anybody may still want some (filch__idle_wants()). Who
 * asks is counted as searching, or has found others that are, before it asks, and as a sleeper
 * before it stops to search: so the owner, who acquires the request, sees one or the other.
 * Modelled: tests/model/model_fork.c.
 */
#ifndef FILCH_FORK_ASK_H
#define FILCH_FORK_ASK_H

#include <stddef.h>

#include "runtime/base/atomic.h"

/* Any thread. */
static inline void filch__ask(filch_atomic_ptr *limit)
{
    if (filch_load_relaxed(limit))
        filch_store_release(limit, NULL); /* [fork-ask], [fork-postpone] */
}

/* Owner. */
static inline bool filch__ask_is_open(filch_atomic_ptr *limit)
{
    return !filch_load_relaxed(limit);
}

/* Owner: is about to answer. */
static inline void filch__ask_take(filch_atomic_ptr *limit, void *room)
{
    filch_store_relaxed(limit, room); /* [fork-ask] */
}

/* Owner: lets others run first. */
static inline void filch__ask_postpone(filch_atomic_ptr *limit, void *room)
{
    (void)filch_exchange_acquire(limit, room); /* [fork-postpone] */
}

/* Owner: there is another room; a request stays. */
static inline void filch__ask_set_room(filch_atomic_ptr *limit, void *room)
{
    void *old = filch_load_relaxed(limit);

    while (old && old != room && !filch_cas_weak_relaxed(limit, &old, room))
        ;
}

#endif
