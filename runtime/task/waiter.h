/* Waiting, for everything that is built on the runtime: one way for tasks and plain threads.
 *
 * A waiter lives in the frame of the caller that waits. An object keeps waiters in a list under its
 * lock:
 *
 *     waiting side                              waking side
 *     ------------                              -----------
 *     filch__waiter_init(&w, reason)
 *     lock; list_push_back(&list, &w.link);     lock; link = list_pop_front(&list);
 *     unlock                                    hand over what was waited for; unlock
 *     r = filch__waiter_wait(&w, until)         filch__waiter_wake(w)      -- the last access to w
 *     if (r < 0) { lock;
 *         if (!filch__waiter_was_taken(&w)) { list_remove(&w.link); unlock; return r; }
 *         unlock; filch__waiter_wait_shielded(&w); }          -- somebody handed it over: take it
 *
 * Whoever takes a waiter out of its list must wake it, soon and exactly once, and touches it no
 * more afterwards. It may do so under or after the lock. A waiter that was taken out is never
 * abandoned: that is how nothing gets lost on cancel.
 */
#ifndef FILCH_TASK_WAITER_H
#define FILCH_TASK_WAITER_H

#include <filch/base.h>

#include "runtime/base/atomic.h"
#include "runtime/base/list.h"

/* Why a caller waits; the dump prints it. */
enum filch__wait {
    FILCH_WAIT_NONE = 0,
    FILCH_WAIT_SLEEP,
    FILCH_WAIT_JOIN,
    FILCH_WAIT_SCOPE,
    FILCH_WAIT_FUTURE,
    FILCH_WAIT_CHAN_SEND,
    FILCH_WAIT_CHAN_RECV,
    FILCH_WAIT_IO,
    FILCH_WAIT_ACCEPT,
    FILCH_WAIT_CLOSE,
    FILCH_WAIT_RUNNING, /* of a job: none, it is on a thread */
};

/* For people: "sleep", "channel receive", ... */
const char *filch__wait_name(enum filch__wait reason);

struct filch__task;

struct filch__waiter {
    struct filch__list link;  /* guarded by the object's lock */
    struct filch__task *task; /* NULL: a plain thread, on the futex in `woken` */
    void *data;               /* for the object: where to put what is handed over */
    uint32_t generation;      /* of task */
    uint32_t reason;
    /* 0 waiting, 1 woken. [waiter-wake] release in wake() -> acquire in wait(): what was handed
     * over is visible. */
    filch_atomic_u32 woken;
};

void filch__waiter_init(struct filch__waiter *waiter, enum filch__wait reason);

/* Suspends until woken. Return: 0; -ETIMEDOUT; -ECANCELED (the caller must then look under its
 * lock, see above). A cancelled task or a time in the past gives its error at once, without
 * suspending, unless it was woken already. */
int filch__waiter_wait(struct filch__waiter *waiter, filch_time until);

/* Suspends until woken, whatever happens. */
void filch__waiter_wait_shielded(struct filch__waiter *waiter);

/* Any thread. The waiter's memory may be gone when this returns. */
void filch__waiter_wake(struct filch__waiter *waiter);

/* Has somebody taken it out of its list? Under the object's lock. */
static inline bool filch__waiter_was_taken(const struct filch__waiter *waiter)
{
    return filch__list_is_empty(&waiter->link);
}

#endif
