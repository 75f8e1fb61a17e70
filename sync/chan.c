/* Channels: a queue of messages under one small lock, and two lists of those who wait.
 *
 *     senders (waiting) -> [ newest ........ oldest ] -> receivers (waiting)
 *                            ^ write         ^ read
 *
 * Messages lie in segments. A bounded channel has one segment of `capacity` slots that is its own
 * successor, so the same two positions make it a ring. An unbounded channel has a chain of segments
 * of 64 slots; the reader retires those it has emptied, one of them is kept as a spare, and a
 * sender that finds neither room nor spare allocates one outside the lock and looks again. A
 * channel that was drained starts again at the front of its segment, where the cache is warm.
 *
 * Invariants, true whenever the lock is free:
 *   [only-when-full]   a sender waits only while the channel is full and open;
 *   [only-when-empty]  a receiver waits only while the channel is empty and open;
 *   [in-order]         so whoever frees a slot moves the oldest waiting sender's message in at
 * once, and whoever brings a message gives it to the oldest waiting receiver. Nobody overtakes, and
 * a wake is never for nothing.
 *
 * A waiter's `data` is its message buffer. Whoever takes a waiter out has copied the message, or,
 * closing, has set `data` to NULL; either way before the wake, which happens after the lock was
 * released.
 *
 * A waiter may belong to a select (sync/select.c): whoever takes it out must claim it, and passes
 * it over if it has lost to another case. So a list may hold waiters that are no longer there for
 * anything, and a select that finds the channel ready claims itself before it takes anything.
 *
 * A receiving future (sync/chan.h) has no buffer while it waits: `data` is NULL, and then the
 * channel. Its message stays in the queue, reserved. So the invariants say: full with the reserved
 * ones, empty without them. What a future collects or gives back may let several others go, one
 * after the other, each with the lock taken anew: a newcomer may get in between.
 *
 * Rejected: a lock-free ring. The waiter lists need the lock in any case, and one uncontended
 * exchange per message is less than the two read-modify-writes per message of a bounded
 * many-to-many ring.
 *
 * Read first: runtime/task/waiter.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <filch/chan.h>

#include "runtime/base/assert.h"
#include "runtime/base/spinlock.h"
#include "runtime/sched/worker.h"
#include "runtime/task/task.h"
#include "runtime/task/waiter.h"
#include "sync/case.h"
#include "sync/chan.h"

#define CHAN_ELEM_BYTES_MAX 65536
#define CHAN_SEGMENT_SLOTS 64

struct segment {
    struct segment
        *next; /* itself in a bounded channel; NULL in the last one of an unbounded channel */
    size_t slots;
    unsigned char messages[];
};

/* Where the next message is read or written. `slot` may be `slots` for the writer of an unbounded
 * channel: no room yet. */
struct position {
    struct segment *segment;
    size_t slot;
};

struct filch_chan {
    /* Immutable. */
    size_t elem_bytes;
    size_t capacity;
    /* [chan-refs] acq_rel in unref(): whoever drops the last one sees all that was done with the
     * others. */
    filch_atomic_u32 refs;

    filch_spinlock lock; /* guards the rest */
    bool closed;
    size_t count;    /* messages queued, at most capacity */
    size_t reserved; /* of these, for futures that were woken: sync/chan.h */
    struct position read;
    struct position write;
    struct segment *spare;
    struct filch__list senders;
    struct filch__list receivers;
};

/* Most messages are a pointer or an index: a copy of constant size is one load and one store. */
static void message_copy(const filch_chan *chan, void *to, const void *from)
{
    if (chan->elem_bytes == 8)
        memcpy(to, from, 8);
    else
        memcpy(to, from, chan->elem_bytes);
}

static bool chan_is_unbounded(const filch_chan *chan)
{
    return chan->capacity == FILCH_CHAN_UNBOUNDED;
}

static struct segment *segment_new(size_t elem_bytes, size_t slots)
{
    struct segment *segment;

    if (slots > (SIZE_MAX / 2 - sizeof(*segment)) / elem_bytes)
        return NULL;
    segment = malloc(sizeof(*segment) + slots * elem_bytes);
    if (!segment)
        return NULL;
    segment->next = NULL;
    segment->slots = slots;
    return segment;
}

/* Takes out the waiter that is to be handed something. NULL: nobody waits. */
static struct filch__waiter *waiter_pop(struct filch__list *list)
{
    struct filch__list *link;

    while ((link = filch__list_pop_front(list))) {
        struct filch__waiter *waiter = filch_container_of(link, struct filch__waiter, link);

        if (filch__waiter_claim(waiter))
            return waiter;
    }
    return NULL;
}

/* Queues a message; there is room for it. */
static void push_locked(filch_chan *chan, const void *msg)
{
    struct position *at = &chan->write;

    filch_assert_state(at->slot < at->segment->slots && chan->count < chan->capacity);
    message_copy(chan, at->segment->messages + at->slot * chan->elem_bytes, msg);
    chan->count++;
    if (++at->slot == at->segment->slots && at->segment->next) {
        at->segment = at->segment->next;
        at->slot = 0;
    }
}

/* The reader has left @segment for its successor. Return: what must be freed after the unlock; may
 * be NULL. */
static struct segment *retire_locked(filch_chan *chan, struct segment *segment)
{
    if (!chan_is_unbounded(chan))
        return NULL;
    if (chan->spare)
        return segment;
    segment->next = NULL;
    chan->spare = segment;
    return NULL;
}

/* Takes the oldest message; there is one. Return: a segment to be freed after the unlock, or NULL.
 */
static struct segment *pop_locked(filch_chan *chan, void *msg)
{
    struct position *at = &chan->read;
    struct segment *left = at->segment;

    filch_assert_state(chan->count > 0 && at->slot < left->slots);
    message_copy(chan, msg, left->messages + at->slot * chan->elem_bytes);
    at->slot++;
    if (--chan->count == 0) {
        /* Both are in the same segment now, as the writer enters a segment only to put a message
         * in. */
        filch_assert_state(left == chan->write.segment);
        at->slot = chan->write.slot = 0;
    } else if (at->slot == left->slots) {
        at->segment = left->next;
        at->slot = 0;
    }
    return at->segment == left ? NULL : retire_locked(chan, left);
}

/* Gives the writer of an unbounded channel a slot, if it can without memory. */
static bool make_room_locked(filch_chan *chan)
{
    struct position *at = &chan->write;

    if (at->slot < at->segment->slots)
        return true;
    if (!chan->spare)
        return false;
    at->segment->next = chan->spare;
    at->segment = chan->spare;
    at->slot = 0;
    chan->spare = NULL;
    return true;
}

/* With the lock held, which it gives up and takes again. Return: 0 (look again); -ENOMEM. */
static int add_spare_relock(filch_chan *chan)
{
    struct segment *fresh;

    filch_spinlock_unlock(&chan->lock);
    fresh = segment_new(chan->elem_bytes, CHAN_SEGMENT_SLOTS);
    filch_spinlock_lock(&chan->lock);
    if (!fresh)
        return -ENOMEM;
    if (!chan->spare) {
        chan->spare = fresh;
        return 0;
    }
    /* Another sender, or the reader, brought a spare meanwhile. */
    filch_spinlock_unlock(&chan->lock);
    free(fresh);
    filch_spinlock_lock(&chan->lock);
    return 0;
}

/* Nothing could be done and the caller does not wait. */
static int give_up(void)
{
    struct filch__task *task = filch__task_current();

    filch__coop_inline();
    return task && filch__task_cancelled(task) ? -ECANCELED : -ETIMEDOUT;
}

/* Waits in @list, with the lock held on entry and free on return. Return: 0 when the message was
 * handed over. */
static int wait_unlock(filch_chan *chan, struct filch__list *list, enum filch__wait reason,
                       void *msg, filch_time until)
{
    struct filch__waiter waiter;
    int r;

    filch__waiter_init(&waiter, reason);
    waiter.data = msg;
    filch__list_push_back(list, &waiter.link);
    filch_spinlock_unlock(&chan->lock);

    r = filch__waiter_wait(&waiter, until);
    if (r < 0) {
        filch_spinlock_lock(&chan->lock);
        if (!filch__waiter_was_taken(&waiter)) {
            filch__list_remove(&waiter.link);
            filch_spinlock_unlock(&chan->lock);
            return r;
        }
        filch_spinlock_unlock(&chan->lock);
        filch__waiter_wait_shielded(&waiter);
    }
    return waiter.data ? 0 : -EPIPE;
}

/* @receiver, a future's, gets one of the messages. */
static void reserve_locked(filch_chan *chan, struct filch__waiter *receiver)
{
    filch_assert_state(!receiver->data && chan->reserved < chan->count);
    chan->reserved++;
    receiver->data = chan;
}

enum attempt {
    ATTEMPT_DONE, /* *ret_result is the result */
    ATTEMPT_WAIT, /* no room, or no message */
    ATTEMPT_LOST, /* it could be done, but the caller's select has been decided */
};

/* The caller finds that it can do what it came for. @self: its waiter, if it is in a select. */
static inline bool claim_self(struct filch__waiter *self)
{
    return !self || filch__waiter_claim(self);
}

/* What send() can do without waiting. *ret_wake is to be woken after the unlock. */
static inline enum attempt send_locked(filch_chan *chan, const void *msg,
                                       struct filch__waiter *self, struct filch__waiter **ret_wake,
                                       int *ret_result)
{
    *ret_result = 0;
    while (!chan->closed) {
        /* An empty channel has room: a waiting receiver whose claim fails is no reason to wait. */
        if (chan->count >= chan->capacity)
            return ATTEMPT_WAIT;
        if (!make_room_locked(chan)) {
            *ret_result = add_spare_relock(chan);
            if (*ret_result == 0)
                continue;
            return claim_self(self) ? ATTEMPT_DONE : ATTEMPT_LOST;
        }
        if (!claim_self(self))
            return ATTEMPT_LOST;
        *ret_wake = waiter_pop(&chan->receivers);
        if (*ret_wake && (*ret_wake)->data) {
            message_copy(chan, (*ret_wake)->data, msg);
        } else {
            push_locked(chan, msg);
            if (*ret_wake)
                reserve_locked(chan, *ret_wake);
        }
        return ATTEMPT_DONE;
    }
    *ret_result = -EPIPE;
    return claim_self(self) ? ATTEMPT_DONE : ATTEMPT_LOST;
}

/* What recv() can do without waiting. *ret_wake is to be woken, and *ret_garbage freed, after the
 * unlock. */
static inline enum attempt recv_locked(filch_chan *chan, void *msg, struct filch__waiter *self,
                                       struct filch__waiter **ret_wake,
                                       struct segment **ret_garbage, int *ret_result)
{
    if (chan->count == chan->reserved) {
        *ret_result = -EPIPE;
        if (!chan->closed)
            return ATTEMPT_WAIT;
        return claim_self(self) ? ATTEMPT_DONE : ATTEMPT_LOST;
    }
    if (!claim_self(self))
        return ATTEMPT_LOST;
    *ret_garbage = pop_locked(chan, msg);
    *ret_wake = waiter_pop(&chan->senders);
    if (*ret_wake)
        push_locked(chan, (*ret_wake)->data); /* [in-order] */
    *ret_result = 0;
    return ATTEMPT_DONE;
}

int filch_chan_new(size_t elem_bytes, size_t capacity, filch_chan **ret_chan)
{
    bool unbounded = capacity == FILCH_CHAN_UNBOUNDED;
    struct segment *segment;
    filch_chan *chan;

    if (!ret_chan || elem_bytes == 0 || elem_bytes > CHAN_ELEM_BYTES_MAX || capacity == 0)
        return -EINVAL;
    chan = aligned_alloc(FILCH_CACHELINE,
                         (sizeof(*chan) + FILCH_CACHELINE - 1) & ~(size_t)(FILCH_CACHELINE - 1));
    if (!chan)
        return -ENOMEM;
    segment = segment_new(elem_bytes, unbounded ? CHAN_SEGMENT_SLOTS : capacity);
    if (!segment)
        goto fail_segment;
    segment->next = unbounded ? NULL : segment;

    *chan = (filch_chan){
        .elem_bytes = elem_bytes,
        .capacity = capacity,
        .read = {.segment = segment},
        .write = {.segment = segment},
    };
    filch_atomic_init(&chan->refs, 1);
    filch_spinlock_init(&chan->lock);
    filch__list_init(&chan->senders);
    filch__list_init(&chan->receivers);
    *ret_chan = chan;
    return 0;

fail_segment:
    free(chan);
    return -ENOMEM;
}

filch_chan *filch_chan_ref(filch_chan *chan)
{
    /* Relaxed: the caller has a reference, so nothing can be freed, and nothing is published. */
    if (chan)
        filch_fetch_add_relaxed(&chan->refs, 1);
    return chan;
}

void filch_chan_unref(filch_chan *chan)
{
    struct segment *segment;
    struct segment *last;

    if (!chan || filch_fetch_sub_acq_rel(&chan->refs, 1) != 1) /* [chan-refs] */
        return;
    filch_assert(filch__list_is_empty(&chan->senders) && filch__list_is_empty(&chan->receivers));
    last = chan->write.segment;
    for (segment = chan->read.segment; segment != last;) {
        struct segment *next = segment->next;

        free(segment);
        segment = next;
    }
    free(last);
    free(chan->spare);
    free(chan);
}

int filch_chan_send(filch_chan *chan, const void *msg, filch_time until)
{
    struct filch__waiter *wake = NULL;
    enum attempt attempt;
    int result;

    if (!chan || !msg)
        return -EINVAL;
    filch_spinlock_lock(&chan->lock);
    attempt = send_locked(chan, msg, NULL, &wake, &result);
    /* The message is only read; `data` is not const because receivers share it. */
    if (attempt == ATTEMPT_WAIT && until != FILCH_NOW)
        return wait_unlock(chan, &chan->senders, FILCH_WAIT_CHAN_SEND, (void *)(uintptr_t)msg,
                           until);
    filch_spinlock_unlock(&chan->lock);
    if (attempt == ATTEMPT_WAIT)
        return give_up();
    if (wake)
        filch__waiter_wake(wake);
    filch__coop_inline();
    return result;
}

int filch_chan_recv(filch_chan *chan, void *msg, filch_time until)
{
    struct filch__waiter *wake = NULL;
    struct segment *garbage = NULL;
    enum attempt attempt;
    int result;

    if (!chan || !msg)
        return -EINVAL;
    filch_spinlock_lock(&chan->lock);
    attempt = recv_locked(chan, msg, NULL, &wake, &garbage, &result);
    if (attempt == ATTEMPT_WAIT && until != FILCH_NOW)
        return wait_unlock(chan, &chan->receivers, FILCH_WAIT_CHAN_RECV, msg, until);
    filch_spinlock_unlock(&chan->lock);
    if (attempt == ATTEMPT_WAIT)
        return give_up();
    if (wake)
        filch__waiter_wake(wake);
    if (garbage)
        free(garbage);
    filch__coop_inline();
    return result;
}

int filch_chan_close(filch_chan *chan)
{
    struct filch__waiter *waiter;

    if (!chan)
        return -EINVAL;
    filch_spinlock_lock(&chan->lock);
    chan->closed = true;
    /* Nobody new waits from here on. One at a time, so that wakes, which may enter the kernel,
     * happen outside the lock. */
    for (;;) {
        waiter = waiter_pop(&chan->senders);
        if (!waiter)
            waiter = waiter_pop(&chan->receivers);
        if (!waiter)
            break;
        waiter->data = NULL;
        filch_spinlock_unlock(&chan->lock);
        filch__waiter_wake(waiter);
        filch_spinlock_lock(&chan->lock);
    }
    filch_spinlock_unlock(&chan->lock);
    return 0;
}

size_t filch_chan_len(filch_chan *chan)
{
    size_t count;

    if (!chan)
        return 0;
    filch_spinlock_lock(&chan->lock);
    count = chan->count;
    filch_spinlock_unlock(&chan->lock);
    return count;
}

/* ---- in a select ---- */

/* Done, or not: what is left after the unlock. */
static void settle(struct filch__waiter *wake, struct segment *garbage)
{
    if (wake)
        filch__waiter_wake(wake);
    if (garbage)
        free(garbage);
}

static enum filch__enlist enlisted(enum attempt attempt)
{
    switch (attempt) {
    case ATTEMPT_DONE:
        return FILCH__ENLIST_TAKEN;
    case ATTEMPT_WAIT:
        return FILCH__ENLIST_WAITS;
    case ATTEMPT_LOST:
        break;
    }
    return FILCH__ENLIST_LOST;
}

static enum filch__enlist send_case(filch_case *c, struct filch__waiter *self)
{
    filch_chan *chan = c->object;
    struct filch__waiter *wake = NULL;
    enum attempt attempt;
    int result;

    filch_spinlock_lock(&chan->lock);
    attempt = send_locked(chan, c->data, self, &wake, &result);
    if (attempt == ATTEMPT_WAIT && self) {
        self->data = c->data;
        filch__list_push_back(&chan->senders, &self->link);
    }
    filch_spinlock_unlock(&chan->lock);
    settle(wake, NULL);
    if (attempt == ATTEMPT_DONE)
        c->result = result;
    return enlisted(attempt);
}

static bool send_try(filch_case *c)
{
    return send_case(c, NULL) == FILCH__ENLIST_TAKEN;
}

/* In line, for a select whose first look finds something. */
__attribute__((always_inline)) static inline enum filch__enlist
recv_case(filch_case *c, struct filch__waiter *self)
{
    filch_chan *chan = c->object;
    struct filch__waiter *wake = NULL;
    struct segment *garbage = NULL;
    enum attempt attempt;
    int result;

    filch_spinlock_lock(&chan->lock);
    attempt = recv_locked(chan, c->data, self, &wake, &garbage, &result);
    if (attempt == ATTEMPT_WAIT && self) {
        self->data = c->data;
        filch__list_push_back(&chan->receivers, &self->link);
    }
    filch_spinlock_unlock(&chan->lock);
    settle(wake, garbage);
    if (attempt == ATTEMPT_DONE)
        c->result = result;
    return enlisted(attempt);
}

static enum filch__enlist recv_enlist(filch_case *c, struct filch__waiter *self)
{
    return recv_case(c, self);
}

static bool recv_try(filch_case *c)
{
    return recv_case(c, NULL) == FILCH__ENLIST_TAKEN;
}

static void chan_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    filch_chan *chan = c->object;

    if (won) {
        c->result = waiter->data ? 0 : -EPIPE;
        return;
    }
    filch_spinlock_lock(&chan->lock);
    if (!filch__waiter_was_taken(waiter))
        filch__list_remove(&waiter->link);
    filch_spinlock_unlock(&chan->lock);
}

/* ---- in a future ---- */

int filch__chan_send_enlist(filch_chan *chan, const void *msg, struct filch__waiter *waiter)
{
    filch_case c = {.object = chan, .data = (void *)(uintptr_t)msg};

    return send_case(&c, waiter) == FILCH__ENLIST_WAITS ? -EAGAIN : c.result;
}

int filch__chan_recv_enlist(filch_chan *chan, void *msg, struct filch__waiter *waiter)
{
    struct filch__waiter *wake = NULL;
    struct segment *garbage = NULL;
    enum attempt attempt;
    int result;

    filch_spinlock_lock(&chan->lock);
    attempt = recv_locked(chan, msg, NULL, &wake, &garbage, &result);
    if (attempt == ATTEMPT_WAIT)
        filch__list_push_back(&chan->receivers, &waiter->link);
    filch_spinlock_unlock(&chan->lock);
    settle(wake, garbage);
    return attempt == ATTEMPT_WAIT ? -EAGAIN : result;
}

bool filch__chan_listen(filch_chan *chan, struct filch__future_waiter *waiter,
                        const filch_waker *waker)
{
    filch_waker old = {0};
    bool waits;

    filch_spinlock_lock(&chan->lock);
    waits = !filch__waiter_was_taken(&waiter->waiter);
    if (waits)
        old = filch__future_waiter_listen(waiter, waker);
    filch_spinlock_unlock(&chan->lock);
    filch_waker_drop(old);
    return waits;
}

bool filch__chan_leave(filch_chan *chan, struct filch__future_waiter *waiter)
{
    bool waits;

    filch_spinlock_lock(&chan->lock);
    waits = !filch__waiter_was_taken(&waiter->waiter);
    if (waits)
        filch__list_remove(&waiter->waiter.link);
    filch_spinlock_unlock(&chan->lock);
    if (waits)
        filch_waker_drop(waiter->waker);
    return waits;
}

/* One of the things that have become possible, if any. Return: whom to wake. */
static struct filch__waiter *advance_locked(filch_chan *chan, struct segment **ret_garbage)
{
    struct filch__waiter *waiter;

    if (chan->count > chan->reserved && (waiter = waiter_pop(&chan->receivers))) {
        if (waiter->data)
            *ret_garbage = pop_locked(chan, waiter->data);
        else
            reserve_locked(chan, waiter);
        return waiter;
    }
    if (chan->count < chan->capacity && !chan->closed && (waiter = waiter_pop(&chan->senders))) {
        push_locked(chan, waiter->data);
        return waiter;
    }
    return NULL;
}

void filch__chan_collect(filch_chan *chan, void *msg)
{
    struct filch__waiter *wake = NULL;
    struct segment *garbage = NULL;

    filch_spinlock_lock(&chan->lock);
    chan->reserved--;
    if (msg)
        garbage = pop_locked(chan, msg);
    do {
        /* Outside of the lock, as on close. */
        filch_spinlock_unlock(&chan->lock);
        settle(wake, garbage);
        garbage = NULL;
        filch_spinlock_lock(&chan->lock);
        wake = advance_locked(chan, &garbage);
    } while (wake);
    filch_spinlock_unlock(&chan->lock);
}

static const struct filch__case_ops send_ops = {
    .try_now = send_try,
    .enlist = send_case,
    .delist = chan_delist,
    .reason = FILCH_WAIT_CHAN_SEND,
};

static const struct filch__case_ops recv_ops = {
    .try_now = recv_try,
    .enlist = recv_enlist,
    .delist = chan_delist,
    .reason = FILCH_WAIT_CHAN_RECV,
};

filch_case filch_case_send(filch_chan *chan, const void *msg)
{
    return (filch_case){
        .ops = chan && msg ? &send_ops : NULL, .object = chan, .data = (void *)(uintptr_t)msg};
}

filch_case filch_case_recv(filch_chan *chan, void *msg)
{
    return (filch_case){.ops = chan && msg ? &recv_ops : NULL, .object = chan, .data = msg};
}
