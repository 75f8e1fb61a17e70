/* What the locks share: lists that are ready when they are zero, waiters, and giving up. */
#ifndef FILCH_SYNC_LOCK_WAIT_H
#define FILCH_SYNC_LOCK_WAIT_H

#include <errno.h>

#include "runtime/sched/worker.h"
#include "runtime/task/task.h"
#include "runtime/task/waiter.h"
#include "sync/owner.h"

/* A waiter that is not in a select, with what builds that look for deadlocks note of it. */
struct filch__lock_waiter {
    struct filch__waiter waiter; /* with group NULL */
    struct filch__owner_wait owner_wait;
    bool is_noted;
};

#define FILCH__LOOK_MISSES_MAX 6

/* Is it worth while to look at a taken lock for some microseconds before waiting for it? If its
 * holder runs, on another worker. Nobody knows: one that waits for I/O with the lock would be
 * looked for by each who comes (3.3 us a time, measured), so the more looks in a row were for
 * nothing the fewer are taken, down to one in 64. */
static inline bool filch__lock_look_pays(void)
{
    struct filch__worker *worker = filch__worker_self();

    if (!worker)
        return true;
    if (worker->looks.skip) {
        worker->looks.skip--;
        return false;
    }
    return filch__idle_running(&worker->rt->idle) > 1;
}

/* What it came to. */
static inline bool filch__lock_looked(bool taken)
{
    struct filch__worker *worker = filch__worker_self();

    if (!worker)
        return taken;
    if (taken)
        worker->looks.misses = 0;
    else if (worker->looks.misses < FILCH__LOOK_MISSES_MAX)
        worker->looks.misses++;
    worker->looks.skip = (uint8_t)((1u << worker->looks.misses) - 1);
    return taken;
}

/* Static locks are zero at first. Under the object's lock, before the list is used. */
static inline void filch__lock_list_ready(struct filch__list *list)
{
    if (!list->next)
        filch__list_init(list);
}

static inline struct filch__waiter *filch__lock_front(struct filch__list *list)
{
    return filch__list_is_empty(list) ? NULL
                                      : filch_container_of(list->next, struct filch__waiter, link);
}

/* @waiter is handed the lock, under the lock's lock. */
static inline void filch__lock_granted(struct filch__waiter *waiter)
{
    struct filch__lock_waiter *self;

    if (waiter->group)
        return; /* its delist notes it */
    self = filch_container_of(waiter, struct filch__lock_waiter, waiter);
    if (self->is_noted)
        filch__owner_granted(&self->owner_wait);
}

/* @waiter, alone, is taken out of the list to try: it waits for nobody. */
static inline void filch__lock_dismissed(struct filch__waiter *waiter)
{
    struct filch__lock_waiter *self = filch_container_of(waiter, struct filch__lock_waiter, waiter);

    if (self->is_noted)
        filch__owner_stops(&self->owner_wait);
}

/* Waiters that were taken out and claimed, to be woken after the unlock; linked by their `data`, as
 * a link that is in no list is what tells their owners that they were taken out. */
struct filch__lock_woken {
    struct filch__waiter *first;
    struct filch__waiter *last;
};

static inline void filch__lock_woken_add(struct filch__lock_woken *woken,
                                         struct filch__waiter *waiter)
{
    waiter->data = NULL;
    if (woken->last)
        woken->last->data = waiter;
    else
        woken->first = waiter;
    woken->last = waiter;
}

/* @told: what they find in `data`. */
static inline void filch__lock_wake_all(struct filch__lock_woken *woken, void *told)
{
    struct filch__waiter *waiter = woken->first;

    while (waiter) {
        struct filch__waiter *next = waiter->data;

        waiter->data = told;
        filch__waiter_wake(waiter);
        waiter = next;
    }
}

/* Nothing could be done and the caller does not wait. */
static inline int filch__lock_give_up(void)
{
    struct filch__task *task = filch__task_current();

    return task && filch__task_cancelled(task) ? -ECANCELED : -ETIMEDOUT;
}

#endif
