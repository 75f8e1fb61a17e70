/* Broadcasts: a ring of slots that all receivers read, each at its own pace.
 *
 *     [ slot ] x capacity       message n is in slot n % capacity
 *
 * Senders write under the lock. A receiver reads its next message without it, if that is small:
 * sync/broadcast_slot.h says how a slot is read while it may be overwritten.
 *
 * Whatever else there is, is done under the lock: a large message, which could not be copied aside;
 * a message that is not there yet; one that is gone; the end. So there is nothing to lose between
 * the look and the wait.
 *
 * With FILCH_BROADCAST_KEEP senders must know the slowest receiver. Receivers step under the lock
 * then, and are counted where they stand:
 *
 *     head <= next of each receiver <= tail        at[slot of n] = receivers whose next is n < tail
 *                                                  at_tail       = those who have got all
 *
 * Invariants, true whenever the lock is free, with KEEP:
 *   [head]            head is tail, or somebody stands there: at[slot of head] > 0;
 *   [only-when-full]  a sender waits only while tail - head == capacity and it is open.
 * So whoever makes room puts the oldest waiting sender's message in at once (a waiter's `data` is
 * its message, then its result), and nobody overtakes. A step moves head by one at most; a receiver
 * that goes walks to the end in small steps first, so no section is long.
 *
 * Rejected: counting in each slot who has still to read it. Each receiver would write each slot.
 *
 * Read first: sync/wave.h, sync/broadcast_slot.h. Counts, weak references and the wait for the last
 * receiver to go are in sync/broadcast_end.c.
 */
#include <filch/broadcast.h>

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/assert.h"
#include "sync/broadcast.h"
#include "sync/broadcast_slot.h"
#include "sync/wave.h"

#define BYTES_MAX 65536
#define WALK 64 /* steps in one section */

static struct filch__slot *slot_at(const struct filch_broadcast *b, size_t index)
{
    return (struct filch__slot *)(void *)(b->slots + index * b->stride);
}

static size_t next_slot(const struct filch_broadcast *b, size_t index)
{
    return index + 1 < b->capacity ? index + 1 : 0;
}

/* ---- the lifetime ---- */

static void broadcast_free(struct filch_broadcast *b)
{
    filch_assert_state(filch__wave_is_empty(&b->arrivals) && filch__list_is_empty(&b->waiting) &&
                       filch__wave_is_empty(&b->departures));
    free(b->at);
    free(b->slots);
    free(b);
}

int filch_broadcast_new(size_t bytes, size_t capacity, unsigned flags,
                        filch_broadcast **ret_broadcast)
{
    size_t words = (bytes + 7) / 8;
    size_t stride = sizeof(struct filch__slot) + words * sizeof(filch_atomic_u64);
    struct filch_broadcast *b;

    if (bytes == 0 || bytes > BYTES_MAX || capacity == 0 || !ret_broadcast ||
        flags & ~(unsigned)FILCH_BROADCAST_KEEP)
        return -EINVAL;
    if (capacity > SIZE_MAX / 2 / stride)
        return -ENOMEM;
    b = aligned_alloc(FILCH_CACHELINE, sizeof(*b));
    if (!b)
        return -ENOMEM;
    *b = (struct filch_broadcast){
        .bytes = bytes,
        .words = words,
        .stride = stride,
        .capacity = capacity,
        .keeps = flags & FILCH_BROADCAST_KEEP,
        .is_small = !(flags & FILCH_BROADCAST_KEEP) && words <= FILCH__SLOT_SMALL_WORDS,
        .senders = 1,
    };
    filch_spinlock_init(&b->lock);
    filch__wave_init(&b->arrivals);
    filch__wave_init(&b->departures);
    filch__list_init(&b->waiting);
    b->slots = calloc(capacity, stride); /* sequence 0: nothing was written */
    if (!b->slots)
        goto fail;
    b->at = b->keeps ? calloc(capacity, sizeof(*b->at)) : NULL;
    if (b->keeps && !b->at)
        goto fail;
    *ret_broadcast = b;
    return 0;

fail:
    free(b->slots);
    free(b);
    return -ENOMEM;
}

filch_broadcast *filch_broadcast_ref(filch_broadcast *broadcast)
{
    if (!broadcast)
        return NULL;
    filch_spinlock_lock(&broadcast->lock);
    broadcast->senders++;
    filch_spinlock_unlock(&broadcast->lock);
    return broadcast;
}

/* ---- sending ---- */

/* Room, or nobody who would need it. */
static bool can_send_locked(const struct filch_broadcast *b)
{
    return b->closed || !b->receivers || !b->keeps || b->tail - b->head < b->capacity;
}

/* Return: the sender's result. */
static int send_locked(struct filch_broadcast *b, const void *msg)
{
    if (b->closed)
        return -EPIPE;
    if (!b->receivers)
        return 0;
    filch__slot_write(slot_at(b, b->tail_slot), msg, b->bytes, b->tail);
    if (b->keeps) {
        filch_assert_state(!b->at[b->tail_slot]);
        b->at[b->tail_slot] = b->at_tail;
        b->at_tail = 0;
    }
    b->tail++;
    b->tail_slot = next_slot(b, b->tail_slot);
    filch__wave_rise(&b->arrivals);
    return b->receivers < INT_MAX ? (int)b->receivers : INT_MAX;
}

/* Gives up the lock, after a change: waiting senders go as far as they can, in batches, and those
 * who wait to receive are woken. The object must live as long. */
static void settle_slowly(struct filch_broadcast *b)
{
    for (;;) {
        struct filch__woken served = {0};
        struct filch__waiter *waiter;
        int result = 0; /* the same for all of a batch */
        bool more;

        for (int n = 0; n < FILCH__WAVE_BATCH && can_send_locked(b); n++) {
            waiter = filch__wait_list_pop(&b->waiting);
            if (!waiter)
                break;
            result = send_locked(b, waiter->data);
            filch__woken_add(&served, waiter);
        }
        more = can_send_locked(b) && !filch__list_is_empty(&b->waiting);
        filch__wave_unlock(&b->arrivals, &b->lock);
        filch__woken_wake(&served, result);
        if (!more)
            return;
        filch_spinlock_lock(&b->lock);
    }
}

static inline void settle_unlock(struct filch_broadcast *b)
{
    if (filch__list_is_empty(&b->waiting) && filch__list_is_empty(&b->arrivals.rising))
        filch_spinlock_unlock(&b->lock);
    else
        settle_slowly(b);
}

enum filch__enlist filch__broadcast_send_enlist(filch_broadcast *b, const void *msg,
                                                struct filch__waiter *waiter,
                                                struct filch__waiter *self, int *ret_result)
{
    enum filch__enlist done = FILCH__ENLIST_WAITS;

    filch_spinlock_lock(&b->lock);
    if (!can_send_locked(b)) {
        if (waiter) {
            waiter->data = (void *)(uintptr_t)msg; /* only read */
            filch__list_push_back(&b->waiting, &waiter->link);
        }
    } else if (filch__wait_claim_self(self)) {
        *ret_result = send_locked(b, msg);
        done = FILCH__ENLIST_TAKEN;
    } else {
        done = FILCH__ENLIST_LOST;
    }
    filch__wave_unlock(&b->arrivals, &b->lock);
    return done;
}

/* There was no room. */
static int send_slowly(struct filch_broadcast *b, const void *msg, filch_time until)
{
    struct filch__waiter waiter;
    int r;

    filch__waiter_init(&waiter, FILCH_WAIT_BROADCAST);
    if (filch__broadcast_send_enlist(b, msg, &waiter, NULL, &r) == FILCH__ENLIST_TAKEN)
        return r;
    r = filch__wave_wait(&b->lock, &waiter, until);
    return r < 0 ? r : filch__waiter_outcome(&waiter);
}

int filch_broadcast_send(filch_broadcast *broadcast, const void *msg, filch_time until)
{
    int r;

    if (!broadcast || !msg)
        return -EINVAL;
    if (filch__broadcast_send_enlist(broadcast, msg, NULL, NULL, &r) == FILCH__ENLIST_WAITS)
        return until == FILCH_NOW ? filch__wait_give_up() : send_slowly(broadcast, msg, until);
    filch__coop_inline();
    return r;
}

void filch__broadcast_go_unlock(struct filch_broadcast *b)
{
    bool over;

    b->pins++;
    settle_unlock(b);
    filch_spinlock_lock(&b->lock);
    if (!filch__list_is_empty(&b->departures.rising)) {
        filch__wave_unlock(&b->departures, &b->lock);
        filch_spinlock_lock(&b->lock);
    }
    b->pins--;
    over = !b->senders && !b->receivers && !b->weaks && !b->pins;
    filch_spinlock_unlock(&b->lock);
    if (over)
        broadcast_free(b);
}

static void close_locked(struct filch_broadcast *b)
{
    b->closed = true;
    filch__wave_rise(&b->arrivals);
}

int filch_broadcast_close(filch_broadcast *broadcast)
{
    if (!broadcast)
        return -EINVAL;
    filch_spinlock_lock(&broadcast->lock);
    close_locked(broadcast);
    settle_unlock(broadcast);
    return 0;
}

void filch_broadcast_unref(filch_broadcast *broadcast)
{
    if (!broadcast)
        return;
    filch_spinlock_lock(&broadcast->lock);
    if (--broadcast->senders == 0)
        close_locked(broadcast);
    filch__broadcast_go_unlock(broadcast);
}

/* ---- receiving ---- */

/* Under the lock. The oldest message that is kept. */
static uint64_t oldest_locked(const struct filch_broadcast *b)
{
    if (b->keeps)
        return b->head;
    return b->tail > b->capacity ? b->tail - b->capacity : 0;
}

/* @receiver, which stands before the end, has got one more. */
static void step(filch_broadcast_receiver *receiver)
{
    receiver->next++;
    receiver->slot = next_slot(receiver->broadcast, receiver->slot);
}

/* With KEEP: somebody comes to stand where @receiver is, or leaves from there. */
static size_t *place_locked(struct filch_broadcast *b, const filch_broadcast_receiver *receiver)
{
    return receiver->next == b->tail ? &b->at_tail : &b->at[receiver->slot];
}

/* [head] */
static void advance_head_locked(struct filch_broadcast *b)
{
    while (b->head < b->tail && !b->at[b->head_slot]) {
        b->head++;
        b->head_slot = next_slot(b, b->head_slot);
    }
}

static void step_locked(struct filch_broadcast *b, filch_broadcast_receiver *receiver)
{
    if (!b->keeps) {
        step(receiver);
        return;
    }
    --*place_locked(b, receiver);
    step(receiver);
    ++*place_locked(b, receiver);
    advance_head_locked(b);
}

/* Return: 0; -EOVERFLOW; -EPIPE; -EAGAIN: there is nothing. */
static int recv_locked(struct filch_broadcast *b, filch_broadcast_receiver *receiver, void *msg,
                       uint64_t *ret_lost)
{
    uint64_t oldest = oldest_locked(b);

    if (receiver->next < oldest) {
        if (ret_lost)
            *ret_lost = oldest - receiver->next;
        receiver->next = oldest;
        receiver->slot = (size_t)(oldest % b->capacity);
        return -EOVERFLOW;
    }
    if (receiver->next == b->tail)
        return b->closed ? -EPIPE : -EAGAIN;
    filch__slot_copy(slot_at(b, receiver->slot), msg, b->bytes);
    step_locked(b, receiver);
    return 0;
}

/* Without the lock. Return: false: by the lock, then. */
static inline bool recv_small(filch_broadcast_receiver *receiver, void *msg)
{
    struct filch_broadcast *b = receiver->broadcast;
    struct filch__slot *slot = slot_at(b, receiver->slot);

    if (!b->is_small ||
        !(b->bytes == sizeof(uint64_t) ? filch__slot_read_word(slot, msg, receiver->next)
                                       : filch__slot_read(slot, msg, b->bytes, receiver->next)))
        return false;
    step(receiver);
    return true;
}

/* What recv_small() could not do. */
static int recv_by_lock(filch_broadcast_receiver *receiver, void *msg, uint64_t *ret_lost)
{
    struct filch_broadcast *b = receiver->broadcast;
    int r;

    filch_spinlock_lock(&b->lock);
    r = recv_locked(b, receiver, msg, ret_lost);
    settle_unlock(b);
    return r;
}

int filch__broadcast_recv_now(filch_broadcast_receiver *receiver, void *msg, uint64_t *ret_lost)
{
    return recv_small(receiver, msg) ? 0 : recv_by_lock(receiver, msg, ret_lost);
}

enum filch__enlist filch__broadcast_enlist(filch_broadcast_receiver *receiver, void *msg,
                                           uint64_t *ret_lost, struct filch__waiter *waiter,
                                           struct filch__waiter *self, int *ret_result)
{
    struct filch_broadcast *b = receiver->broadcast;
    bool waits;

    filch_spinlock_lock(&b->lock);
    waits = receiver->next == b->tail && !b->closed;
    if (!waits && !filch__wait_claim_self(self)) {
        filch_spinlock_unlock(&b->lock);
        return FILCH__ENLIST_LOST;
    }
    *ret_result = recv_locked(b, receiver, msg, ret_lost);
    if (waits)
        filch__list_push_back(&b->arrivals.waiting, &waiter->link);
    settle_unlock(b);
    return waits ? FILCH__ENLIST_WAITS : FILCH__ENLIST_TAKEN;
}

/* Apart, so that what is quick saves no registers for it. */
__attribute__((noinline)) static int recv_slowly(filch_broadcast_receiver *receiver, void *msg,
                                                 uint64_t *ret_lost, filch_time until)
{
    struct filch__waiter waiter;
    int r = recv_by_lock(receiver, msg, ret_lost);

    while (r == -EAGAIN) {
        if (until == FILCH_NOW)
            return filch__wait_give_up();
        filch__waiter_init(&waiter, FILCH_WAIT_BROADCAST);
        if (filch__broadcast_enlist(receiver, msg, ret_lost, &waiter, NULL, &r) ==
            FILCH__ENLIST_TAKEN)
            break;
        r = filch__wave_wait(&receiver->broadcast->lock, &waiter, until);
        if (r < 0)
            return r;
        r = filch__broadcast_recv_now(receiver, msg, ret_lost);
    }
    filch__coop_inline();
    return r;
}

int filch_broadcast_recv(filch_broadcast_receiver *receiver, void *msg, uint64_t *ret_lost,
                         filch_time until)
{
    if (!receiver || !receiver->broadcast || !msg)
        return -EINVAL;
    if (!recv_small(receiver, msg))
        return recv_slowly(receiver, msg, ret_lost, until);
    filch__coop_inline();
    return 0;
}

size_t filch_broadcast_len(const filch_broadcast_receiver *receiver)
{
    struct filch_broadcast *b = receiver ? receiver->broadcast : NULL;
    uint64_t count;

    if (!b)
        return 0;
    filch_spinlock_lock(&b->lock);
    count = b->tail - receiver->next;
    filch_spinlock_unlock(&b->lock);
    return count < b->capacity ? (size_t)count : b->capacity;
}

/* ---- coming and going ---- */

int filch_broadcast_subscribe(filch_broadcast *broadcast, filch_broadcast_receiver *receiver)
{
    if (!broadcast || !receiver)
        return -EINVAL;
    filch_spinlock_lock(&broadcast->lock);
    *receiver = (filch_broadcast_receiver){
        .broadcast = broadcast, .next = broadcast->tail, .slot = broadcast->tail_slot};
    broadcast->receivers++;
    if (broadcast->keeps)
        broadcast->at_tail++;
    filch_spinlock_unlock(&broadcast->lock);
    return 0;
}

int filch_broadcast_resubscribe(const filch_broadcast_receiver *from,
                                filch_broadcast_receiver *receiver)
{
    if (!from || !from->broadcast || !receiver)
        return -EINVAL;
    return filch_broadcast_subscribe(from->broadcast, receiver);
}

int filch_broadcast_receiver_dup(const filch_broadcast_receiver *from,
                                 filch_broadcast_receiver *receiver)
{
    struct filch_broadcast *b = from ? from->broadcast : NULL;

    if (!b || !receiver)
        return -EINVAL;
    filch_spinlock_lock(&b->lock);
    b->receivers++;
    if (b->keeps)
        ++*place_locked(b, from);
    filch_spinlock_unlock(&b->lock);
    *receiver = *from;
    return 0;
}

/* With KEEP, under the lock, which it may give up and take again: up to what was the end at first;
 * what is sent meanwhile is let go at once. */
static void walk_to_the_end(struct filch_broadcast *b, filch_broadcast_receiver *receiver)
{
    uint64_t end = b->tail;

    for (int n = 0; receiver->next < end; n++) {
        if (n == WALK) {
            n = 0;
            settle_unlock(b);
            filch_spinlock_lock(&b->lock);
        }
        step_locked(b, receiver);
    }
    --*place_locked(b, receiver);
    advance_head_locked(b);
}

void filch_broadcast_unsubscribe(filch_broadcast_receiver *receiver)
{
    struct filch_broadcast *b = receiver ? receiver->broadcast : NULL;

    if (!b)
        return;
    filch_spinlock_lock(&b->lock);
    if (b->keeps)
        walk_to_the_end(b, receiver);
    receiver->broadcast = NULL;
    if (--b->receivers == 0)
        filch__wave_rise(&b->departures);
    filch__broadcast_go_unlock(b);
}

filch_spinlock *filch__broadcast_lock(filch_broadcast *broadcast)
{
    return &broadcast->lock;
}

size_t filch__broadcast_bytes(const filch_broadcast_receiver *receiver)
{
    return receiver->broadcast->bytes;
}
