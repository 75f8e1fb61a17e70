/* Channels: a queue of messages under one small lock, and lists of those who wait.
 *
 *     senders (waiting) -> [ newest ........ oldest ] -> receivers (waiting)
 *
 * Room is more than slots without a message (sync/chan_store.h): a permit (sync/chan_permit.c) is a
 * promise of room for a message to come.
 *
 * Invariants, true whenever the lock is free:
 *   [only-when-full]   a sender, or who wants permits, waits only while the channel is open, and
 * there is less room than the first in their line asks for, or somebody is just letting it go on; a
 * batch asks for half of the channel, unless it is empty;
 *   [only-when-empty]  a receiver waits only while there is no message for it, and one may come:
 * the channel is open, or there are permits;
 *   [in-order]         so whoever frees a slot moves the oldest waiting sender's message in at
 * once, and whoever brings a message gives it to the oldest waiting receiver. Newcomers stand
 * behind those who wait, and a wake is never for nothing;
 *   [quick]            messages are quick only while nobody waits, neither to send nor to receive,
 * none is kept for a future, and, to be put, while it is open: sending and receiving one then
 * concerns nobody else. Who puts a waiter into a list, keeps a message, promises room, or closes,
 * ends that.
 *
 * What a message makes possible for one other is done in the same section. What may let several go
 * (a close, a permit given back, a waiter that leaves the front of the line) ends in
 * filch__chan_advance_unlock(). Wakes may enter the kernel, and happen outside of the lock; if
 * there are many to be woken, the lock is given up in between. Who comes then stands in line, and
 * the last round sees him.
 *
 * A waiter may belong to a select (sync/select.c): whoever takes it out must claim it, and passes
 * it over if it has lost to another case. So a list may hold waiters that are no longer there for
 * anything, and a select that finds the channel ready claims itself before it takes anything. Who
 * is taken out of the line, for whatever reason, lets those behind it go on if they can.
 *
 * A receiving future has no buffer while it waits (sync/chan.h): its message stays in the queue,
 * kept for it. So "full" counts the kept ones, "empty" does not.
 *
 * Rejected: a lock-free ring. The waiter lists need the lock in any case, and one uncontended
 * exchange per message is less than the two read-modify-writes per message of a bounded
 * many-to-many ring. A lock that is biased to a worker, and taken back by membarrier: without any
 * locked instruction a message still costs 5.1 ns of 5.9 (sent and received, one worker); what
 * remains is that each call continues from what the last one has stored.
 *
 * Read first: runtime/task/waiter.h, sync/chan.h.
 */
#include "sync/chan.h"

#include <errno.h>
#include <stdlib.h>

#define CHAN_ELEM_BYTES_MAX 65536
/* So many are let go in one section. */
#define ADVANCE_MOST 32

/* ---- going on ---- */

/* The first in line gets what it waits for; there is room for it. */
static bool grant_locked(filch_chan *chan, struct filch__waiter *first)
{
    struct filch__batch *batch;
    size_t n;

    switch (first->reason) {
    case FILCH_WAIT_CHAN_RESERVE:
        n = *(const size_t *)first->data;
        filch__chan_promise_locked(chan, n);
        return true;
    case FILCH_WAIT_CHAN_SEND_MANY: /* stays in line until its last message is in */
        batch = first->data;
        n = filch__store_room(&chan->store);
        n = filch__store_put_run(&chan->store, batch->next, n < batch->left ? n : batch->left);
        batch->next += n * chan->store.elem_bytes;
        batch->left -= n;
        return batch->left == 0;
    default:
        filch__store_put(&chan->store, first->data);
        return true;
    }
}

/* How much room there must be for the first in line. A batch waits until half of the channel is
 * free, as long as receivers have something to do: it goes on in runs then. */
static size_t wanted(const filch_chan *chan, const struct filch__waiter *first)
{
    size_t half = (chan->capacity + 1) / 2;

    if (first->reason == FILCH_WAIT_CHAN_RESERVE)
        return *(const size_t *)first->data;
    if (first->reason == FILCH_WAIT_CHAN_SEND_MANY &&
        filch__store_count(&chan->store) > chan->kept) {
        const struct filch__batch *batch = first->data;

        return batch->left < half ? batch->left : half;
    }
    return 1;
}

bool filch__chan_can_admit(filch_chan *chan)
{
    struct filch__waiter *first = filch__wait_list_first(&chan->senders);

    return first && (filch__store_room(&chan->store) >= wanted(chan, first) ||
                     filch__waiter_has_lost(first));
}

bool filch__chan_admit_locked(filch_chan *chan, struct filch__waiter **ret_wake)
{
    struct filch__waiter *first;

    while (filch__chan_can_admit(chan)) {
        first = filch__wait_list_first(&chan->senders);
        if (!filch__waiter_claim(first)) {
            filch__list_remove(&first->link);
            continue;
        }
        if (grant_locked(chan, first)) {
            filch__list_remove(&first->link);
            *ret_wake = first;
        }
        return true;
    }
    return false;
}

/* Those who have lost stand in nobody's way: whoever is behind them goes on when they are taken out
 * by their owner, which is about to happen. */
bool filch__chan_line_is_free(filch_chan *chan)
{
    struct filch__waiter *first;

    while ((first = filch__wait_list_first(&chan->senders)) && filch__waiter_has_lost(first))
        filch__list_remove(&first->link);
    return !first;
}

/* Those that were taken out, to be woken after the unlock. */
struct gone {
    struct filch__woken granted;
    struct filch__woken dismissed;
    struct filch__segment *garbage;
};

/* It is closed: nobody waits any more for what will not come. Return: was there anybody? */
static bool dismiss_one_locked(filch_chan *chan, struct gone *gone)
{
    struct filch__waiter *waiter = filch__wait_list_pop(&chan->senders);

    if (!waiter)
        waiter = filch__wait_list_pop(&chan->watchers);
    if (!waiter && filch__chan_has_ended(chan))
        waiter = filch__wait_list_pop(&chan->receivers);
    if (waiter)
        filch__woken_add(&gone->dismissed, waiter);
    return waiter;
}

/* One of the things that have become possible. Return: was there any? */
static bool advance_one_locked(filch_chan *chan, struct gone *gone)
{
    struct filch__segment *left = NULL;
    struct filch__waiter *waiter = NULL;

    if (filch__store_count(&chan->store) > chan->kept &&
        (waiter = filch__wait_list_pop(&chan->receivers))) {
        if (waiter->data)
            left = filch__store_take(&chan->store, waiter->data);
        else
            filch__chan_keep_locked(chan, waiter);
        if (left) {
            left->next = gone->garbage;
            gone->garbage = left;
        }
    } else if (chan->is_closed) {
        return dismiss_one_locked(chan, gone);
    } else if (!filch__chan_admit_locked(chan, &waiter)) {
        return false;
    }
    if (waiter)
        filch__woken_add(&gone->granted, waiter);
    return true;
}

void filch__chan_advance_unlock(filch_chan *chan)
{
    bool more;

    do {
        struct gone gone = {0};
        unsigned left = ADVANCE_MOST;

        while (left > 0 && advance_one_locked(chan, &gone))
            left--;
        filch__chan_unlock(chan);
        filch__woken_wake(&gone.granted, 1);
        filch__woken_wake(&gone.dismissed, 0);
        filch__segments_free(gone.garbage);
        more = left == 0;
        if (more)
            filch__chan_lock(chan);
    } while (more);
}

int filch__chan_grow_relock(filch_chan *chan, size_t n)
{
    struct filch__segment *fresh;

    filch__chan_unlock(chan);
    fresh = filch__store_segment_new(&chan->store, n);
    filch__chan_lock(chan);
    if (!fresh)
        return -ENOMEM;
    if (filch__store_room(&chan->store) < n) {
        filch__store_append(&chan->store, fresh);
        return 0;
    }
    /* Another sender, or the reader, has made room meanwhile. */
    filch__chan_unlock(chan);
    filch__segments_free(fresh);
    filch__chan_lock(chan);
    return 0;
}

void filch__chan_close_unlock(filch_chan *chan)
{
    chan->is_closed = true;
    filch__store_slow_down(&chan->store);
    filch__chan_advance_unlock(chan);
}

/* ---- waiting ---- */

bool filch__chan_leave(filch_chan *chan, struct filch__waiter *waiter)
{
    bool waited;

    filch__chan_lock(chan);
    waited = !filch__waiter_was_taken(waiter);
    if (waited)
        filch__list_remove(&waiter->link);
    filch__chan_advance_unlock(chan);
    return waited;
}

int filch__chan_wait_unlock(filch_chan *chan, struct filch__list *list, enum filch__wait reason,
                            void *data, filch_time until)
{
    struct filch__worker *worker = filch__worker_self();
    struct filch__task *task = worker ? worker->current : NULL;
    struct filch__waiter waiter;
    int r;

    filch__waiter_init_for(&waiter, reason, task,
                           task ? (uint32_t)filch__task_generation(task) : 0);
    waiter.data = data;
    filch__chan_enlist_locked(chan, list, &waiter);
    filch__chan_unlock(chan);

    r = filch__waiter_wait(&waiter, until);
    if (r < 0) {
        if (filch__chan_leave(chan, &waiter))
            return r;
        filch__waiter_wait_shielded(&waiter);
    }
    return waiter.data ? 0 : -EPIPE;
}

/* ---- public ---- */

static bool are_valid(const filch_chan_opts *opts, size_t capacity)
{
    return (unsigned)opts->overflow <= FILCH_CHAN_FAIL &&
           (opts->overflow == FILCH_CHAN_WAIT || capacity != FILCH_CHAN_UNBOUNDED);
}

int filch_chan_new_opts(size_t elem_bytes, size_t capacity, const filch_chan_opts *opts,
                        filch_chan **ret_chan)
{
    filch_chan_opts none = {0};
    filch_chan *chan;

    if (!opts)
        opts = &none;
    if (!ret_chan || elem_bytes == 0 || elem_bytes > CHAN_ELEM_BYTES_MAX || capacity == 0 ||
        !are_valid(opts, capacity))
        return -EINVAL;
    chan = aligned_alloc(FILCH_CACHELINE,
                         (sizeof(*chan) + FILCH_CACHELINE - 1) & ~(size_t)(FILCH_CACHELINE - 1));
    if (!chan)
        return -ENOMEM;
    *chan = (filch_chan){
        .capacity = capacity,
        .overflow = opts->overflow,
        .drop = opts->drop,
        .drop_context = opts->drop_context,
    };
    if (filch__store_init(&chan->store, elem_bytes, capacity, capacity == FILCH_CHAN_UNBOUNDED) <
        0) {
        free(chan);
        return -ENOMEM;
    }
    filch_atomic_init(&chan->refs, 1);
    filch_spinlock_init(&chan->lock);
    filch__list_init(&chan->senders);
    filch__list_init(&chan->receivers);
    filch__list_init(&chan->watchers);
    *ret_chan = chan;
    return 0;
}

int filch_chan_new(size_t elem_bytes, size_t capacity, filch_chan **ret_chan)
{
    return filch_chan_new_opts(elem_bytes, capacity, NULL, ret_chan);
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
    if (!chan || filch_fetch_sub_acq_rel(&chan->refs, 1) != 1) /* [chan-refs] */
        return;
    filch_plain_write(&chan->capacity); /* of all that there is */
    filch_assert(filch__list_is_empty(&chan->senders) && filch__list_is_empty(&chan->receivers) &&
                 filch__list_is_empty(&chan->watchers));
    filch__store_fini(&chan->store, chan->drop, chan->drop_context);
    free(chan);
}

/* No room. */
static int send_full_unlock(filch_chan *chan, const void *msg, filch_time until)
{
    int result;

    if (chan->overflow != FILCH_CHAN_WAIT) {
        filch__chan_unlock(chan);
        (void)filch__chan_overflow(chan, msg, NULL, &result);
        filch__coop_inline();
        return result;
    }
    /* The message is only read; `data` is not const because receivers share it. */
    if (until != FILCH_NOW)
        return filch__chan_wait_unlock(chan, &chan->senders, FILCH_WAIT_CHAN_SEND,
                                       (void *)(uintptr_t)msg, until);
    filch__chan_unlock(chan);
    return filch__wait_give_up();
}

__attribute__((noinline)) static int yield_done(struct filch__worker *worker)
{
    filch__coop_yield(worker);
    return 0;
}

/* As filch__coop_inline(), after an operation that was done. */
static inline int done(void)
{
    struct filch__worker *worker = filch__worker_self();

    if (worker) {
        uint32_t left = filch_load_relaxed(&worker->budget);

        if (left <= 1)
            return yield_done(worker);
        filch_store_relaxed(&worker->budget, left - 1);
    }
    return 0;
}

__attribute__((noinline)) static int send_unlock(filch_chan *chan, const void *msg,
                                                 filch_time until)
{
    struct filch__chan_after after = {0};
    int result;

    if (filch__chan_send_locked(chan, msg, NULL, &after, &result) == FILCH__ATTEMPT_WAIT)
        return send_full_unlock(chan, msg, until);
    if (!after.wake)
        filch__chan_quicken_put(chan);
    filch__chan_unlock(chan);
    filch__chan_settle(chan, &after);
    filch__coop_inline();
    return result;
}

__attribute__((noinline)) static int recv_unlock(filch_chan *chan, void *msg, filch_time until)
{
    struct filch__chan_after after = {0};
    enum filch__attempt attempt;
    int result;

    attempt = filch__chan_recv_locked(chan, msg, NULL, &after, &result);
    if (attempt == FILCH__ATTEMPT_WAIT && until != FILCH_NOW)
        return filch__chan_wait_unlock(chan, &chan->receivers, FILCH_WAIT_CHAN_RECV, msg, until);
    if (attempt == FILCH__ATTEMPT_DONE)
        filch__chan_quicken_take(chan);
    filch__chan_unlock(chan);
    if (attempt == FILCH__ATTEMPT_WAIT)
        return filch__wait_give_up();
    filch__chan_settle(chan, &after);
    filch__coop_inline();
    return result;
}

/* To a receiver that waits, and is not in a select, nor a future: what goes on between two who take
 * turns. Nobody else is concerned: all room is free. */
__attribute__((noinline)) static int hand_over_unlock(filch_chan *chan, const void *msg,
                                                      filch_time until)
{
    struct filch__waiter *first = filch__wait_list_first(&chan->receivers);

    if (!first->data || first->group || chan->is_closed || chan->kept || chan->store.promised ||
        !filch__list_is_empty(&chan->senders))
        return send_unlock(chan, msg, until);
    filch__list_remove(&first->link);
    filch__store_copy(&chan->store, first->data, msg);
    filch__chan_unlock(chan);
    filch__waiter_wake(first);
    return done();
}

/* With the lock held on entry and free on return. */
static inline int send_any_unlock(filch_chan *chan, const void *msg, filch_time until)
{
    if (filch__store_put_quickly(&chan->store, msg)) {
        filch__chan_unlock(chan);
        return done();
    }
    if (!filch__list_is_empty(&chan->receivers))
        return hand_over_unlock(chan, msg, until);
    return send_unlock(chan, msg, until);
}

static inline int recv_any_unlock(filch_chan *chan, void *msg, filch_time until)
{
    if (filch__store_take_quickly(&chan->store, msg)) {
        filch__chan_unlock(chan);
        return done();
    }
    if (filch__store_count(&chan->store) == chan->kept && !chan->is_closed && until != FILCH_NOW)
        return filch__chan_wait_unlock(chan, &chan->receivers, FILCH_WAIT_CHAN_RECV, msg, until);
    return recv_unlock(chan, msg, until);
}

/* Waiting for the lock is apart, and all calls are last ones: so what is usual needs no frame. */
__attribute__((noinline)) static int send_contended(filch_chan *chan, const void *msg,
                                                    filch_time until)
{
    filch__chan_lock(chan);
    return send_any_unlock(chan, msg, until);
}

__attribute__((noinline)) static int recv_contended(filch_chan *chan, void *msg, filch_time until)
{
    filch__chan_lock(chan);
    return recv_any_unlock(chan, msg, until);
}

int filch_chan_send(filch_chan *chan, const void *msg, filch_time until)
{
    if (!chan || !msg)
        return -EINVAL;
    if (!filch__chan_try_lock(chan))
        return send_contended(chan, msg, until);
    return send_any_unlock(chan, msg, until);
}

int filch_chan_recv(filch_chan *chan, void *msg, filch_time until)
{
    if (!chan || !msg)
        return -EINVAL;
    if (!filch__chan_try_lock(chan))
        return recv_contended(chan, msg, until);
    return recv_any_unlock(chan, msg, until);
}

int filch_chan_close(filch_chan *chan)
{
    if (!chan)
        return -EINVAL;
    filch__chan_lock(chan);
    filch__chan_close_unlock(chan);
    return 0;
}

size_t filch_chan_len(filch_chan *chan)
{
    size_t count;

    if (!chan)
        return 0;
    filch__chan_lock(chan);
    count = filch__store_count(&chan->store);
    filch__chan_unlock(chan);
    return count;
}

size_t filch_chan_capacity(const filch_chan *chan)
{
    return chan ? chan->capacity : 0;
}

size_t filch_chan_room(filch_chan *chan)
{
    size_t room;

    if (!chan)
        return 0;
    filch__chan_lock(chan);
    if (chan->is_closed)
        room = 0;
    else if (chan->store.is_chain)
        room = FILCH_CHAN_UNBOUNDED;
    else
        room = filch__store_room(&chan->store);
    filch__chan_unlock(chan);
    return room;
}
