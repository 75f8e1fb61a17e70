/* Oneshots: a block of two cache lines that both ends name by handles, under a lock of its own.
 *
 *              send, nobody waits          recv, close
 *     OPEN ----------------------> SENT ---------------------> over
 *     OPEN --drop, nobody waits--> DROPPED --recv, close-----> over
 *     OPEN --close---------------> CLOSED --send, drop-------> over
 *     OPEN --send or drop, a receiver with a buffer waits----> over
 *
 * Over: the generation grows, so that both handles are stale, and the block goes back to its pool.
 * Whoever ends the second end does that, in the section in which he does it: afterwards neither
 * side touches the block. It is type-stable (base/pool.h): a stale handle locks it and sees another
 * generation.
 *
 * Each side's way is one section of the lock, that is one exchange and one store. A receiver that
 * waits in a call or a select is given the value in its own buffer, its waiter's `data` (NULL when
 * the sender has dropped), and finds both ends over. A future has no buffer while it waits, since
 * it may be dropped: its value stays in the block, SENT, and its next poll takes it, or the next
 * recv if it was dropped. So does the value of a receiver whose select was decided otherwise.
 *
 * Invariants, true whenever the lock is free:
 *   [only-when-open]  there is a receiver or a watcher only in the state OPEN;
 *   [one-each]        at most one of each: a second one is refused (-EBUSY).
 *
 * Blocks come from one of a few pools, that of the worker's number: so a worker that asks and is
 * answered goes through a lock that nobody else wants.
 *
 * Rejected: a struct in the receiver's frame. A receiver that gives up would have to wait for the
 * sender, or leave it with a pointer into a frame that is gone; and what it would save is the
 * pool's two exchanges.
 *
 * Read first: runtime/task/waiter.h.
 */
#include <filch/oneshot.h>

#include <string.h>

#include "runtime/base/assert.h"
#include "runtime/base/handle.h"
#include "runtime/base/pool.h"
#include "sync/oneshot.h"
#include "sync/wait_list.h"

enum state { OPEN, SENT, DROPPED, CLOSED };

struct oneshot {
    filch_spinlock lock; /* guards the rest */
    uint16_t generation;
    uint8_t state;
    uint8_t bytes;
    struct filch__waiter *receiver; /* waits for the value, or for the sender to go */
    struct filch__waiter *watcher;  /* waits for the receiver to go */
    struct oneshot *pool_link;
    unsigned char value[FILCH_ONESHOT_BYTES_MAX];
};

#ifndef FILCH_MODEL
_Static_assert(sizeof(struct oneshot) == 2 * FILCH_CACHELINE, "a pool's objects are whole lines");
_Static_assert(FILCH_ONESHOT_BYTES_MAX <= UINT8_MAX, "`bytes` holds it");
#endif

static void forked(void *object)
{
    filch_spinlock_init(&((struct oneshot *)object)->lock);
}

#define POOLS 8
#define POOL                                                                                       \
    {                                                                                              \
        .object_bytes = sizeof(struct oneshot),                                                    \
        .link_offset = offsetof(struct oneshot, pool_link), .forked = forked                       \
    }

static struct {
    _Alignas(2 * FILCH_CACHELINE) struct filch__pool pool;
} pools[POOLS] = {{POOL}, {POOL}, {POOL}, {POOL}, {POOL}, {POOL}, {POOL}, {POOL}};

static struct filch__pool *pool_here(void)
{
    struct filch__worker *worker = filch__worker_self();

    return &pools[worker ? worker->index % POOLS : POOLS - 1].pool;
}

/* Most values are a pointer or a number: a copy of constant size is one load and one store. */
static void value_copy(const struct oneshot *o, void *to, const void *from)
{
    if (o->bytes == 8)
        memcpy(to, from, 8);
    else
        memcpy(to, from, o->bytes);
}

/* Locks, if the handle is not stale. */
static struct oneshot *lock_handle(const void *handle)
{
    struct oneshot *o = filch__handle_object(handle);

    filch_spinlock_lock(&o->lock);
    if (o->generation == filch__handle_generation(handle))
        return o;
    filch_spinlock_unlock(&o->lock);
    return NULL;
}

/* The same, and the sender has not ended its end. */
static struct oneshot *lock_tx(const filch_oneshot_tx *tx)
{
    struct oneshot *o = lock_handle(tx);

    if (!o || o->state == OPEN || o->state == CLOSED)
        return o;
    filch_spinlock_unlock(&o->lock);
    return NULL;
}

static struct oneshot *lock_rx(const filch_oneshot_rx *rx)
{
    struct oneshot *o = lock_handle(rx);

    if (!o || o->state != CLOSED)
        return o;
    filch_spinlock_unlock(&o->lock);
    return NULL;
}

/* Both ends are over. */
static void end_unlock(struct oneshot *o)
{
    filch_assert_state(!o->receiver && !o->watcher);
    o->generation++;
    filch_spinlock_unlock(&o->lock);
    filch__pool_give(pool_here(), o);
}

int filch_oneshot_new(size_t bytes, filch_oneshot_tx **ret_tx, filch_oneshot_rx **ret_rx)
{
    struct oneshot *o;

    if (bytes == 0 || bytes > FILCH_ONESHOT_BYTES_MAX || !ret_tx || !ret_rx)
        return -EINVAL;
    o = filch__pool_take(pool_here());
    if (!o)
        return -ENOMEM;
    /* The lock and the generation are as they were left, and nobody waits: those who come late,
     * with a handle or from a wait that they gave up, look at them. */
    o->state = OPEN;
    o->bytes = (uint8_t)bytes;
    *ret_tx = filch__handle_make(o, o->generation);
    *ret_rx = filch__handle_make(o, o->generation);
    return 0;
}

/* ---- the sender ---- */

/* The sender goes, with a value or without (NULL), and the receiver is there. */
static void deliver_unlock(struct oneshot *o, const void *value)
{
    struct filch__waiter *receiver = o->receiver;

    o->receiver = NULL;
    if (receiver && !filch__waiter_claim(receiver))
        receiver = NULL; /* it has lost, and takes no part any more */
    if (receiver && receiver->data) {
        if (value)
            value_copy(o, receiver->data, value);
        else
            receiver->data = NULL;
        end_unlock(o);
    } else {
        if (value)
            value_copy(o, o->value, value);
        o->state = value ? SENT : DROPPED;
        filch_spinlock_unlock(&o->lock);
    }
    if (receiver)
        filch__waiter_wake(receiver);
}

static int end_tx(filch_oneshot_tx *tx, const void *value)
{
    struct oneshot *o = lock_tx(tx);

    if (!o)
        return -EBADF;
    if (o->watcher) {
        filch_spinlock_unlock(&o->lock);
        return -EBUSY;
    }
    if (o->state == CLOSED) {
        end_unlock(o);
        return -EPIPE;
    }
    deliver_unlock(o, value);
    return 0;
}

int filch_oneshot_send(filch_oneshot_tx *tx, const void *value)
{
    return tx && value ? end_tx(tx, value) : -EINVAL;
}

int filch_oneshot_drop(filch_oneshot_tx *tx)
{
    int r = tx ? end_tx(tx, NULL) : 0;

    return r == -EPIPE ? 0 : r;
}

/* ---- the receiver ---- */

/* What recv() would return at this moment; -EAGAIN: it would wait. */
static int look_locked(const struct oneshot *o)
{
    if (o->receiver)
        return -EBUSY;
    switch ((enum state)o->state) {
    case SENT:
        return 0;
    case DROPPED:
        return -EPIPE;
    case OPEN:
    case CLOSED:
        break;
    }
    return -EAGAIN;
}

/* Does it: @r is what look_locked() has said. */
static int take_unlock(struct oneshot *o, int r, void *value)
{
    if (r == 0 && value)
        value_copy(o, value, o->value);
    if (r == 0 || r == -EPIPE)
        end_unlock(o);
    else
        filch_spinlock_unlock(&o->lock);
    return r;
}

/* Where @waiter waits; NULL: it was taken out. The block may be another's by now. */
static struct filch__waiter **place_of(struct oneshot *o, const struct filch__waiter *waiter)
{
    if (o->receiver == waiter)
        return &o->receiver;
    return o->watcher == waiter ? &o->watcher : NULL;
}

/* Return: false: somebody else has taken it out. */
static bool leave(struct oneshot *o, const struct filch__waiter *waiter)
{
    struct filch__waiter **place;

    filch_spinlock_lock(&o->lock);
    place = place_of(o, waiter);
    if (place)
        *place = NULL;
    filch_spinlock_unlock(&o->lock);
    return place;
}

/* @waiter has been put in its place. Return: 0: it was taken out, and woken. */
static int wait_unlock(struct oneshot *o, struct filch__waiter *waiter, filch_time until)
{
    int r;

    filch_spinlock_unlock(&o->lock);
    r = filch__waiter_wait(waiter, until);
    if (r < 0) {
        if (leave(o, waiter))
            return r;
        filch__waiter_wait_shielded(waiter);
    }
    return 0;
}

int filch_oneshot_recv(filch_oneshot_rx *rx, void *value, filch_time until)
{
    struct filch__waiter waiter;
    struct oneshot *o;
    int r;

    if (!rx || !value)
        return -EINVAL;
    o = lock_rx(rx);
    if (!o)
        return -EBADF;
    r = look_locked(o);
    if (r == -EAGAIN && until != FILCH_NOW) {
        filch__waiter_init(&waiter, FILCH_WAIT_ONESHOT);
        waiter.data = value;
        o->receiver = &waiter;
        r = wait_unlock(o, &waiter, until);
        return r < 0 || waiter.data ? r : -EPIPE;
    }
    r = take_unlock(o, r, value);
    if (r == -EAGAIN)
        return filch__wait_give_up();
    filch__coop_inline();
    return r;
}

int filch_oneshot_close(filch_oneshot_rx *rx, void *value)
{
    struct filch__waiter *watcher;
    struct oneshot *o;
    int r;

    if (!rx)
        return -EINVAL;
    o = lock_rx(rx);
    if (!o)
        return -EBADF;
    r = look_locked(o);
    if (r != -EAGAIN)
        return take_unlock(o, r, value);
    o->state = CLOSED;
    watcher = o->watcher;
    o->watcher = NULL;
    if (watcher && !filch__waiter_claim(watcher))
        watcher = NULL;
    filch_spinlock_unlock(&o->lock);
    if (watcher)
        filch__waiter_wake(watcher);
    return -EPIPE;
}

/* ---- the sender, who waits for the receiver to go ---- */

/* What closed() would return at this moment; -EAGAIN: it would wait. */
static int look_closed_locked(const struct oneshot *o)
{
    if (o->watcher)
        return -EBUSY;
    return o->state == CLOSED ? 0 : -EAGAIN;
}

int filch_oneshot_closed(filch_oneshot_tx *tx, filch_time until)
{
    struct filch__waiter waiter;
    struct oneshot *o;
    int r;

    if (!tx)
        return -EINVAL;
    o = lock_tx(tx);
    if (!o)
        return -EBADF;
    r = look_closed_locked(o);
    if (r == -EAGAIN && until != FILCH_NOW) {
        filch__waiter_init(&waiter, FILCH_WAIT_ONESHOT);
        o->watcher = &waiter;
        return wait_unlock(o, &waiter, until);
    }
    filch_spinlock_unlock(&o->lock);
    if (r == -EAGAIN)
        return filch__wait_give_up();
    filch__coop_inline();
    return r;
}

/* ---- in a select ---- */

static enum filch__enlist refused(filch_case *c, struct filch__waiter *self, int error)
{
    if (!filch__wait_claim_self(self))
        return FILCH__ENLIST_LOST;
    c->result = error;
    return FILCH__ENLIST_TAKEN;
}

static enum filch__enlist recv_enlist(filch_case *c, struct filch__waiter *self)
{
    struct oneshot *o = lock_rx(c->object);
    int r;

    if (!o)
        return refused(c, self, -EBADF);
    r = look_locked(o);
    if (r != -EAGAIN && filch__wait_claim_self(self)) {
        c->result = take_unlock(o, r, c->data);
        return FILCH__ENLIST_TAKEN;
    }
    if (r == -EAGAIN && self) {
        self->data = c->data;
        o->receiver = self;
    }
    filch_spinlock_unlock(&o->lock);
    return r == -EAGAIN ? FILCH__ENLIST_WAITS : FILCH__ENLIST_LOST;
}

static bool recv_try(filch_case *c)
{
    return recv_enlist(c, NULL) == FILCH__ENLIST_TAKEN;
}

static void recv_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    if (won)
        c->result = waiter->data ? 0 : -EPIPE;
    else
        (void)leave(filch__handle_object(c->object), waiter);
}

static const struct filch__case_ops recv_ops = {
    .try_now = recv_try,
    .enlist = recv_enlist,
    .delist = recv_delist,
    .reason = FILCH_WAIT_ONESHOT,
};

filch_case filch_case_oneshot(filch_oneshot_rx *rx, void *value)
{
    return (filch_case){.ops = rx && value ? &recv_ops : NULL, .object = rx, .data = value};
}

static enum filch__enlist closed_enlist(filch_case *c, struct filch__waiter *self)
{
    struct oneshot *o = lock_tx(c->object);
    enum filch__enlist done = FILCH__ENLIST_WAITS;
    int r;

    if (!o)
        return refused(c, self, -EBADF);
    r = look_closed_locked(o);
    if (r != -EAGAIN)
        done = refused(c, self, r);
    else if (self)
        o->watcher = self;
    filch_spinlock_unlock(&o->lock);
    return done;
}

static bool closed_try(filch_case *c)
{
    return closed_enlist(c, NULL) == FILCH__ENLIST_TAKEN;
}

static void closed_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    if (won)
        c->result = 0;
    else
        (void)leave(filch__handle_object(c->object), waiter);
}

static const struct filch__case_ops closed_ops = {
    .try_now = closed_try,
    .enlist = closed_enlist,
    .delist = closed_delist,
    .reason = FILCH_WAIT_ONESHOT,
};

filch_case filch_case_oneshot_closed(filch_oneshot_tx *tx)
{
    return (filch_case){.ops = tx ? &closed_ops : NULL, .object = tx};
}

/* ---- in a future ---- */

int filch__oneshot_recv_enlist(filch_oneshot_rx *rx, void *value, struct filch__waiter *waiter)
{
    struct oneshot *o = lock_rx(rx);
    int r;

    if (!o)
        return -EBADF;
    r = look_locked(o);
    if (r == -EAGAIN)
        o->receiver = waiter;
    return take_unlock(o, r, value);
}

int filch__oneshot_closed_enlist(filch_oneshot_tx *tx, struct filch__waiter *waiter)
{
    struct oneshot *o = lock_tx(tx);
    int r;

    if (!o)
        return -EBADF;
    r = look_closed_locked(o);
    if (r == -EAGAIN)
        o->watcher = waiter;
    filch_spinlock_unlock(&o->lock);
    return r;
}

bool filch__oneshot_listen(const void *handle, struct filch__future_waiter *waiter,
                           const filch_waker *waker)
{
    struct oneshot *o = filch__handle_object(handle);
    filch_waker old = {0};
    bool waits;

    filch_spinlock_lock(&o->lock);
    waits = place_of(o, &waiter->waiter);
    if (waits)
        old = filch__future_waiter_listen(waiter, waker);
    filch_spinlock_unlock(&o->lock);
    filch_waker_drop(old);
    return waits;
}

bool filch__oneshot_leave(const void *handle, struct filch__future_waiter *waiter)
{
    bool waited = leave(filch__handle_object(handle), &waiter->waiter);

    if (waited)
        filch_waker_drop(waiter->waker);
    return waited;
}
