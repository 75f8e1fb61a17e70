/* The inside of a channel, for the files that make it up: sync/chan.c says how it works.
 *
 *     chan.c           making, sending, receiving, closing; who waits goes on
 *     chan_store.h     where the messages lie
 *     chan_permit.c    places that are reserved for messages to come
 *     chan_batch.c     several messages at once
 *     chan_end.c       counted ends, waiting for the close
 *     chan_overflow.c  what a full channel does that makes nobody wait
 *     chan_case.c      cases of a select
 *     chan_future.c    futures
 *
 * A future that waits to receive cannot be handed a message as a task is, into its own memory: it
 * may be dropped before it is polled again, and the message would be lost, or would have to be put
 * back in front of a queue that is full by then. So it is handed the right to one: the message
 * stays in the queue, counts for its capacity, and is `kept`, that is, not there for other
 * receivers. The future's next poll collects the oldest message; its drop gives the right back, and
 * the oldest waiting receiver gets it, or whoever comes. Nothing leaves the queue's order.
 */
#ifndef FILCH_SYNC_CHAN_H
#define FILCH_SYNC_CHAN_H

#include <filch/chan.h>

#include "runtime/base/assert.h"
#include "runtime/base/spinlock.h"
#include "sync/chan_store.h"
#include "sync/wait_list.h"

struct filch_chan {
    filch_spinlock lock; /* guards all but what is immutable, and the references */
    bool is_closed;
    bool is_deserted;          /* the last counted receiver has gone */
    struct filch__store store; /* what quick messages use is in the lock's cache line */
    size_t kept;               /* messages in the queue, for futures that were woken */
    struct filch__list senders;
    struct filch__list receivers;
    struct filch__list watchers; /* they wait for the close */
    size_t sender_ends;
    size_t receiver_ends;
    uint64_t dropped; /* messages, by an overflow */

    /* Immutable, as store.elem_bytes. */
    size_t capacity;
    enum filch_chan_overflow overflow;
    void (*drop)(void *context, const void *msg);
    void *drop_context;
    /* [chan-refs] acq_rel in unref(): whoever drops the last one sees all that was done with the
     * others. */
    filch_atomic_u32 refs;
};

/* Who waits in `senders`, by the waiter's reason; a waiter's `data`:
 *     FILCH_WAIT_CHAN_SEND        the message
 *     FILCH_WAIT_CHAN_SEND_MANY   struct filch__batch
 *     FILCH_WAIT_CHAN_RESERVE     size_t, how many places
 * In `receivers`: where the message goes, or NULL for a future. Whoever takes a waiter out has done
 * what it waits for, and for a future has set `data`; or, because of the close, has set it to NULL.
 */
struct filch__batch {
    const unsigned char *next;
    size_t left;
};

/* What is left to do after the unlock. */
struct filch__chan_after {
    struct filch__waiter *wake;
    struct filch__segment *garbage;
    bool advance; /* others may be able to go */
};

enum filch__attempt {
    FILCH__ATTEMPT_DONE, /* *ret_result is the result */
    FILCH__ATTEMPT_WAIT, /* no room, or no message */
    FILCH__ATTEMPT_LOST, /* it could be done, but the caller's select has been decided */
};

static inline void filch__chan_lock(filch_chan *chan)
{
    filch_spinlock_lock(&chan->lock);
}

static inline bool filch__chan_try_lock(filch_chan *chan)
{
    return filch_spinlock_try_free(&chan->lock);
}

static inline void filch__chan_unlock(filch_chan *chan)
{
    filch_spinlock_unlock(&chan->lock);
}

/* ---- chan.c ---- */

/* Lets all go on who can. With the lock held on entry and free on return. A waiter that was given
 * what it waits for finds `data` set, one that was sent away finds NULL. */
void filch__chan_advance_unlock(filch_chan *chan);

/* The same, and nothing new is sent from here on. */
void filch__chan_close_unlock(filch_chan *chan);

/* Is there somebody in the line of senders who has only to be let go? */
bool filch__chan_can_admit(filch_chan *chan);

/* Gives the first in the line of senders what it waits for, if that is possible. Return: was
 * anything done? *ret_wake: the waiter that has got all that it waits for; NULL: none. */
bool filch__chan_admit_locked(filch_chan *chan, struct filch__waiter **ret_wake);

/* There is room: may a newcomer have it, as nobody waits for it? */
bool filch__chan_line_is_free(filch_chan *chan);

/* More room for a chain. Gives the lock up and takes it again. Return: 0 (look again); -ENOMEM. */
int filch__chan_grow_relock(filch_chan *chan, size_t n);

/* Waits in @list, with the lock held on entry and free on return. Return: 0; -EPIPE; -ETIMEDOUT;
 * -ECANCELED. */
int filch__chan_wait_unlock(filch_chan *chan, struct filch__list *list, enum filch__wait reason,
                            void *data, filch_time until);

/* Takes a waiter that gives up out of its list. Return: false: it was taken out. */
bool filch__chan_leave(filch_chan *chan, struct filch__waiter *waiter);

/* ---- chan_overflow.c ---- */

/* Sends into a channel that had no room, and whose senders do not wait. @self: the waiter of a
 * select; or NULL. Return: DONE, or LOST. */
enum filch__attempt filch__chan_overflow(filch_chan *chan, const void *msg,
                                         struct filch__waiter *self, int *ret_result);

/* ---- chan_case.c: for futures ---- */

/* Sends or receives at once, or puts @waiter into the list. A sender's `data` is set. Return: the
 * result; -EAGAIN: it waits. */
int filch__chan_send_enlist(filch_chan *chan, const void *msg, struct filch__waiter *waiter);
int filch__chan_recv_enlist(filch_chan *chan, void *msg, struct filch__waiter *waiter);

/* ---- in line ---- */

static inline enum filch__enlist filch__chan_enlisted(enum filch__attempt attempt)
{
    switch (attempt) {
    case FILCH__ATTEMPT_DONE:
        return FILCH__ENLIST_TAKEN;
    case FILCH__ATTEMPT_WAIT:
        return FILCH__ENLIST_WAITS;
    case FILCH__ATTEMPT_LOST:
        break;
    }
    return FILCH__ENLIST_LOST;
}

static inline void filch__chan_settle(filch_chan *chan, const struct filch__chan_after *after)
{
    if (after->wake)
        filch__waiter_wake(after->wake);
    if (after->garbage)
        filch__segments_free(after->garbage);
    if (after->advance) {
        filch__chan_lock(chan);
        filch__chan_advance_unlock(chan);
    }
}

/* From here on there is somebody whom others must think of [quick]. */
static inline void filch__chan_enlist_locked(filch_chan *chan, struct filch__list *list,
                                             struct filch__waiter *waiter)
{
    filch__list_push_back(list, &waiter->link);
    filch__store_slow_down(&chan->store);
}

/* For a permit. */
static inline void filch__chan_promise_locked(filch_chan *chan, size_t n)
{
    chan->store.promised += n;
    filch__store_slow_down(&chan->store);
}

/* After a put, or a take: the next ones may be quick, if they concern nobody else [quick]. */
static inline void filch__chan_quicken_put(filch_chan *chan)
{
    if (!chan->is_closed && filch__list_is_empty(&chan->senders) &&
        filch__list_is_empty(&chan->receivers))
        filch__store_quicken_put(&chan->store);
}

static inline void filch__chan_quicken_take(filch_chan *chan)
{
    if (chan->kept == 0 && filch__list_is_empty(&chan->senders) &&
        filch__list_is_empty(&chan->receivers))
        filch__store_quicken_take(&chan->store);
}

/* Can a message still come? No: those who wait for one are sent away. */
static inline bool filch__chan_has_ended(const filch_chan *chan)
{
    return chan->is_closed && (chan->store.promised == 0 || chan->is_deserted);
}

/* @receiver, a future's, gets one of the messages. */
static inline void filch__chan_keep_locked(filch_chan *chan, struct filch__waiter *receiver)
{
    filch_assert_state(!receiver->data && chan->kept < filch__store_count(&chan->store));
    chan->kept++;
    filch__store_slow_down(&chan->store);
    receiver->data = chan;
}

/* A message for which there is room: to the oldest waiting receiver, or into the
 * queue. */
static inline void filch__chan_deliver_locked(filch_chan *chan, const void *msg,
                                              struct filch__chan_after *after)
{
    struct filch__waiter *receiver;

    if (filch__list_is_empty(&chan->receivers)) {
        filch__store_put(&chan->store, msg);
        return;
    }
    receiver = filch__wait_list_pop(&chan->receivers);
    after->wake = receiver;
    if (receiver && receiver->data) {
        filch__store_copy(&chan->store, receiver->data, msg);
        return;
    }
    filch__store_put(&chan->store, msg);
    if (receiver)
        filch__chan_keep_locked(chan, receiver);
}

/* What send() can do without waiting. @self: the caller's waiter, if it is in a select. */
static inline enum filch__attempt filch__chan_send_locked(filch_chan *chan, const void *msg,
                                                          struct filch__waiter *self,
                                                          struct filch__chan_after *after,
                                                          int *ret_result)
{
    *ret_result = -EPIPE;
    while (!chan->is_closed) {
        *ret_result = 0;
        if (filch__store_room(&chan->store) == 0) {
            if (!chan->store.is_chain)
                return FILCH__ATTEMPT_WAIT;
            *ret_result = filch__chan_grow_relock(chan, 1);
            if (*ret_result < 0)
                break;
            *ret_result = -EPIPE;
            continue;
        }
        if (!filch__list_is_empty(&chan->senders) && !filch__chan_line_is_free(chan))
            return FILCH__ATTEMPT_WAIT;
        if (!filch__wait_claim_self(self))
            return FILCH__ATTEMPT_LOST;
        filch__chan_deliver_locked(chan, msg, after);
        return FILCH__ATTEMPT_DONE;
    }
    return filch__wait_claim_self(self) ? FILCH__ATTEMPT_DONE : FILCH__ATTEMPT_LOST;
}

/* Somebody has made room. */
static inline void filch__chan_admit_one_locked(filch_chan *chan, struct filch__chan_after *after)
{
    if (filch__list_is_empty(&chan->senders))
        return;
    (void)filch__chan_admit_locked(chan, &after->wake); /* [in-order] */
    after->advance = filch__chan_can_admit(chan);
}

/* What recv() can do without waiting. */
static inline enum filch__attempt filch__chan_recv_locked(filch_chan *chan, void *msg,
                                                          struct filch__waiter *self,
                                                          struct filch__chan_after *after,
                                                          int *ret_result)
{
    if (filch__store_count(&chan->store) == chan->kept) {
        *ret_result = -EPIPE;
        if (!filch__chan_has_ended(chan))
            return FILCH__ATTEMPT_WAIT;
        return filch__wait_claim_self(self) ? FILCH__ATTEMPT_DONE : FILCH__ATTEMPT_LOST;
    }
    if (!filch__wait_claim_self(self))
        return FILCH__ATTEMPT_LOST;
    after->garbage = filch__store_take(&chan->store, msg);
    filch__chan_admit_one_locked(chan, after);
    *ret_result = 0;
    return FILCH__ATTEMPT_DONE;
}

#endif
