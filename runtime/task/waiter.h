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
 *
 * Groups. A select waits in several objects at once, with one waiter in each, of which at most one
 * may be handed something. Those waiters are a group, and the first to claim the group has won:
 *
 *     while ((w = pop(&list)))
 *         if (filch__waiter_claim(w)) { hand over; break; }      -- under the object's lock
 *
 * A waiter whose claim fails has lost. It was taken out of the list and is not woken; nobody but
 * its owner touches it from then on. A waiter that waits alone can always be claimed. The owner
 * takes the lock of each object once more before the group's frame goes, so a claim never meets a
 * group that is gone; and it claims the group itself to give up, or to take what it finds ready.
 *
 * Futures. A future's waiter lies in the future and ends in a call of its waker, which it owns: it
 * has no task, and FILCH__WAITER_FUTURE for a generation. Its owner's poll exchanges the waker, and
 * its drop takes it out, under the object's lock while it is in the list. Once it was taken out,
 * the waker is the taker's; the future cannot suspend, so it waits for the taker to be done with it
 * (filch__future_waiter_release()), some tens of instructions later.
 */
#ifndef FILCH_TASK_WAITER_H
#define FILCH_TASK_WAITER_H

#include <filch/base.h>
#include <filch/future.h>

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
    FILCH_WAIT_CHAN_SEND_MANY,
    FILCH_WAIT_CHAN_RESERVE,
    FILCH_WAIT_CHAN_RECV,
    FILCH_WAIT_CHAN_CLOSED,
    FILCH_WAIT_IO,
    FILCH_WAIT_ACCEPT,
    FILCH_WAIT_CLOSE,
    FILCH_WAIT_SELECT,
    FILCH_WAIT_SEMAPHORE,
    FILCH_WAIT_NOTIFY,
    FILCH_WAIT_BARRIER,
    FILCH_WAIT_WAITGROUP,
    FILCH_WAIT_LIMITER,
    FILCH_WAIT_DELAY_QUEUE,
    FILCH_WAIT_MUTEX,
    FILCH_WAIT_RWLOCK,
    FILCH_WAIT_COND,
    FILCH_WAIT_ONCE,
    FILCH_WAIT_TOKEN,
    FILCH_WAIT_RCU,
    FILCH_WAIT_ONESHOT,
    FILCH_WAIT_WATCH,
    FILCH_WAIT_BROADCAST,
    FILCH_WAIT_RUNNING, /* of a job: none, it is on a thread */
};

/* For people: "sleep", "channel receive", ... */
const char *filch__wait_name(enum filch__wait reason);

struct filch__task;

/* Waiters of which one may win, in the frame of their owner. */
struct filch__waiter_group {
    /* 0 nobody, else 1 + the index of the waiter that won, or FILCH__GROUP_OWNER. Also the futex of
     * an owner that is a plain thread. [group-claim] relaxed: the word only says who; what is
     * handed over becomes visible by the waiter's `woken`, or by the object's lock. */
    filch_atomic_u32 winner;
};

#define FILCH__GROUP_OWNER UINT32_MAX
/* A future of an owner that is a plain thread is to be polled again: nobody has won. */
#define FILCH__GROUP_POLL (UINT32_MAX - 1)

struct filch__waiter {
    struct filch__list link;  /* guarded by the object's lock */
    struct filch__task *task; /* NULL: a plain thread, on the futex in `woken` */
    void *data;               /* for the object: where to put what is handed over */
    uint32_t generation;      /* of task */
    uint16_t reason;
    uint16_t index;                    /* in the group */
    struct filch__waiter_group *group; /* NULL: it waits alone */
    /* 0 waiting, 1 woken. [waiter-wake] release in wake() -> acquire in wait(): what was handed
     * over is visible. */
    filch_atomic_u32 woken;
};

void filch__waiter_init(struct filch__waiter *waiter, enum filch__wait reason);

/* The same for a caller that knows its task, and its generation; NULL and 0: a plain thread. */
static inline void filch__waiter_init_for(struct filch__waiter *waiter, enum filch__wait reason,
                                          struct filch__task *task, uint32_t generation)
{
    filch__list_init(&waiter->link);
    waiter->task = task;
    waiter->data = NULL;
    waiter->generation = generation;
    waiter->reason = (uint16_t)reason;
    waiter->group = NULL;
    filch_atomic_init(&waiter->woken, 0);
}

/* Suspends until woken. Return: 0; -ETIMEDOUT; -ECANCELED (the caller must then look under its
 * lock, see above). A cancelled task or a time in the past gives its error at once, without
 * suspending, unless it was woken already. */
int filch__waiter_wait(struct filch__waiter *waiter, filch_time until);

/* Suspends until woken, whatever happens. */
void filch__waiter_wait_shielded(struct filch__waiter *waiter);

/* Any thread. The waiter's memory may be gone when this returns. */
void filch__waiter_wake(struct filch__waiter *waiter);

/* The same for who wakes many in a row, and runs none of them next: they come in their order. */
void filch__waiter_wake_back(struct filch__waiter *waiter);

bool filch__waiter_group_claim(struct filch__waiter_group *group, uint32_t winner);

/* May @waiter, just taken out of its list, be handed something? Under the object's lock. */
static inline bool filch__waiter_claim(struct filch__waiter *waiter)
{
    return !waiter->group || filch__waiter_group_claim(waiter->group, 1 + (uint32_t)waiter->index);
}

/* Is @waiter still in its list, although another one of its group has won? Under the object's lock.
 */
static inline bool filch__waiter_has_lost(const struct filch__waiter *waiter)
{
    return waiter->group && filch_load_relaxed(&waiter->group->winner); /* [group-claim] */
}

void filch__waiter_group_init(struct filch__waiter_group *group);

/* @waiter, initialised and not yet in a list, is the one with this index of @group. */
void filch__waiter_join_group(struct filch__waiter *waiter, struct filch__waiter_group *group,
                              unsigned index);

/* The owner waits until somebody has won; that waiter's own wake comes with filch__waiter_wait_
 * shielded(). With @once, any wake of the task is enough. Return: 0; -ETIMEDOUT; -ECANCELED: with
 * nobody having won at that moment, so the owner must then claim the group, which may fail. */
int filch__waiter_group_wait(struct filch__waiter_group *group, bool once, filch_time until);

/* In generation, without a task: the waiter is that of a future. */
#define FILCH__WAITER_FUTURE UINT32_MAX

struct filch__future_waiter {
    struct filch__waiter waiter;
    filch_waker waker; /* owned, until it is taken out */
};

void filch__future_waiter_init(struct filch__future_waiter *waiter, enum filch__wait reason,
                               const filch_waker *waker);

/* Has another waker woken, from now on. Under the object's lock, and not taken out. Return: what
 * the caller must drop after the unlock. */
filch_waker filch__future_waiter_listen(struct filch__future_waiter *waiter,
                                        const filch_waker *waker);

/* It was taken out: waits until the taker has done with it. Without the object's lock. What was
 * handed over is visible then. */
void filch__future_waiter_release(struct filch__future_waiter *waiter);

/* Has somebody taken it out of its list? Under the object's lock. */
static inline bool filch__waiter_was_taken(const struct filch__waiter *waiter)
{
    return filch__list_is_empty(&waiter->link);
}

#endif
