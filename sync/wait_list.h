/* What objects that count have in common: lists of waiters of which several go at once.
 *
 * Those who may go are taken out and claimed under the object's lock, each in a few instructions,
 * and woken after the unlock. In between they hang together by their `data`: their links say
 * already that they were taken, and their owners read `data` only after the wake, when it is the
 * outcome: 0 or an error.
 *
 * A list is zero at first and made ready under the lock, so that an object can be initialised
 * statically. Read first: runtime/task/waiter.h.
 */
#ifndef FILCH_SYNC_WAIT_LIST_H
#define FILCH_SYNC_WAIT_LIST_H

#include <errno.h>

#include "runtime/base/spinlock.h"
#include "runtime/sched/worker.h"
#include "runtime/task/task.h"
#include "runtime/task/waiter.h"
#include "sync/case.h"

/* Those that were taken out, in the order in which they are to be woken. */
struct filch__woken {
    struct filch__waiter *first;
    struct filch__waiter *last;
};

/* Under the lock, before the first use of the list in a section. */
static inline void filch__wait_list_ready(struct filch__list *list)
{
    if (!list->next)
        filch__list_init(list);
}

/* The one that waits longest, still in the list; NULL: nobody. */
static inline struct filch__waiter *filch__wait_list_first(struct filch__list *list)
{
    if (filch__list_is_empty(list))
        return NULL;
    return filch_container_of(list->next, struct filch__waiter, link);
}

/* Takes out the oldest one that may be handed something; NULL: nobody. */
static inline struct filch__waiter *filch__wait_list_pop(struct filch__list *list)
{
    struct filch__list *link;

    while ((link = filch__list_pop_front(list))) {
        struct filch__waiter *waiter = filch_container_of(link, struct filch__waiter, link);

        if (filch__waiter_claim(waiter))
            return waiter;
    }
    return NULL;
}

/* @waiter was taken out and claimed. */
static inline void filch__woken_add(struct filch__woken *woken, struct filch__waiter *waiter)
{
    waiter->data = NULL;
    if (woken->first)
        woken->last->data = waiter;
    else
        woken->first = waiter;
    woken->last = waiter;
}

/* All of them. */
static inline void filch__woken_add_all(struct filch__woken *woken, struct filch__list *list)
{
    struct filch__waiter *waiter;

    while ((waiter = filch__wait_list_pop(list)))
        filch__woken_add(woken, waiter);
}

static inline void filch__waiter_wake_with(struct filch__waiter *waiter, int outcome)
{
    waiter->data = (void *)(intptr_t)outcome;
    filch__waiter_wake(waiter);
}

/* After the unlock; the object may be gone. One alone runs next on its waker's worker; of several
 * none would, as each would drive the one before away from there. */
static inline void filch__woken_wake(struct filch__woken *woken, int outcome)
{
    struct filch__waiter *waiter = woken->first;

    if (waiter && waiter == woken->last) {
        filch__waiter_wake_with(waiter, outcome);
        return;
    }
    while (waiter) {
        struct filch__waiter *next = waiter->data;

        waiter->data = (void *)(intptr_t)outcome;
        filch__waiter_wake_back(waiter);
        waiter = next;
    }
}

/* Of a waiter that was woken. */
static inline int filch__waiter_outcome(const struct filch__waiter *waiter)
{
    return (int)(intptr_t)waiter->data;
}

/* Nothing could be done and the caller does not wait. */
static inline int filch__wait_give_up(void)
{
    struct filch__task *task = filch__task_current();

    filch__coop_inline();
    return task && filch__task_cancelled(task) ? -ECANCELED : -ETIMEDOUT;
}

/* The operation can be done: may the caller do it? @self: its waiter, if it is in a select. */
static inline bool filch__wait_claim_self(struct filch__waiter *self)
{
    return !self || filch__waiter_claim(self);
}

#endif
