/* Where ready tasks of groups wait: a queue for each group, all of them under one small lock. Each
 * worker has a set, and the runtime has one for what other threads make ready.
 *
 *     set   ready  |.|.|1|.|1|        a bit for each queue that is not empty
 *                       |   |
 *                       v   v
 *               queue  [a] [d]        first in, first out
 *                      [b]
 *
 * Tasks of no group (index 0 here) are never in a set: they are in the run queue. Only taken where
 * groups are in use, and by others only to steal, so the lock is mostly its owner's.
 *
 *   [group-ready] `ready` and `length` are written with the lock and read without: they are hints,
 * and the lock hands the tasks over. That no worker sleeps while there is a bit is the idle
 * protocol's business (idle.h): who pushes notifies afterwards, and who parks looks after it has
 * said so. For a set that one worker alone takes from: group_bound.c.
 */
#ifndef FILCH_SCHED_GROUP_SET_H
#define FILCH_SCHED_GROUP_SET_H

#include <stdalign.h>

#include "runtime/base/atomic.h"
#include "runtime/base/spinlock.h"

#define FILCH__GROUPS_MAX 32 /* with that of the tasks in no group, which is the first */

struct filch__task;

struct filch__group_set {
    alignas(FILCH_CACHELINE) filch_spinlock lock; /* guards the queues */
    filch_atomic_u32 ready;                       /* [group-ready] */
    filch_atomic_u32 length;                      /* of all; [group-ready] */
    struct filch__group_queue {
        struct filch__task *first, *last;
        uint32_t length;
    } queue[FILCH__GROUPS_MAX];
};

/* Any thread. @front: it was asked to make room, and goes on before the others. */
void filch__group_set_push(struct filch__group_set *set, unsigned group, struct filch__task *task,
                           bool front);

/* The oldest of @group; NULL: none. */
struct filch__task *filch__group_set_take(struct filch__group_set *set, unsigned group);

/* Moves the older half of @group, at least one and at most 32, to the end of @own's. Return: how
 * many. */
unsigned filch__group_set_move(struct filch__group_set *set, unsigned group,
                               struct filch__group_set *own);

/* A hint. */
static inline uint32_t filch__group_set_ready(struct filch__group_set *set)
{
    return filch_load_relaxed(&set->ready);
}

static inline uint32_t filch__group_set_length(struct filch__group_set *set)
{
    return filch_load_relaxed(&set->length);
}

#endif
