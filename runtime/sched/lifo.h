/* The slot for the task that runs next on a worker, before its queue: what it needs is still in the
 * cache.
 *
 * The owner puts and takes all the time; another worker takes only when the owner is stuck in a
 * task. So the owner pays nothing for being watched, no locked instruction (one was a tenth of a
 * wake and a switch), and the thief pays for both (runtime/base/fence.h):
 *
 *     owner, taking                          thief
 *     taking := 1             light          thief := 1           exchange: one thief at a time
 *     thief?                  light          kernel's fence
 *       1: waits until it is 0               taking?
 *     takes the task, task := NULL             1: the owner is not stuck: leaves it
 *     taking := 0                              0: takes the task, task := NULL
 *                                            thief := 0
 *
 * Invariants:
 *   [lifo-one]   between its look at the other's flag and its own flag's end, one of the two alone
 *                is at the slot, but that the owner may put into an empty slot at any time: the
 *                thief takes that task or leaves it, and never clears what it has not read;
 *   [lifo-slot]  release as the slot is filled -> acquire in the thief's look at it: the task's
 *                fields; release as `taking` or `thief` ends -> acquire in the other's look at it:
 *                the slot as it was left.
 */
#ifndef FILCH_SCHED_LIFO_H
#define FILCH_SCHED_LIFO_H

#include <stddef.h>

#include "runtime/base/fence.h"

struct filch__task;

struct filch__lifo {
    filch_atomic_ptr task;   /* filled by the owner, emptied by both */
    filch_atomic_u32 taking; /* 1: the owner is at it */
    filch_atomic_u32 thief;  /* 1: somebody else is */
};

static inline void filch__lifo_init(struct filch__lifo *lifo)
{
    filch_atomic_init(&lifo->task, NULL);
    filch_atomic_init(&lifo->taking, 0);
    filch_atomic_init(&lifo->thief, 0);
}

/* Any thread; a hint for all but the owner, whose "empty" is certain. */
static inline bool filch__lifo_is_empty(struct filch__lifo *lifo)
{
    return !filch_load_relaxed(&lifo->task);
}

/* Out of line: until the thief is gone. */
void filch__lifo_wait(struct filch__lifo *lifo);

/* Owner. NULL: it is empty. */
static inline struct filch__task *filch__lifo_take(struct filch__lifo *lifo)
{
    struct filch__task *task;

    if (filch__lifo_is_empty(lifo))
        return NULL;
    filch_store_light(&lifo->taking, 1);
    if (__builtin_expect(filch_load_light(&lifo->thief), 0))
        filch__lifo_wait(lifo);
    task = filch_load_relaxed(&lifo->task); /* the owner's own, or the thief's NULL [lifo-slot] */
    filch_store_relaxed(&lifo->task, NULL);
    filch_store_release(&lifo->taking, 0); /* [lifo-slot] */
    return task;
}

/* Owner; it is empty. */
static inline void filch__lifo_put(struct filch__lifo *lifo, struct filch__task *task)
{
    filch_store_release(&lifo->task, task); /* [lifo-slot] */
}

/* Any other thread. NULL: it is empty, or not to be had now: its owner is at it, or another thief.
 */
struct filch__task *filch__lifo_steal(struct filch__lifo *lifo);

#endif
