/* Broadcasts in selects and as futures: a waiter in a wave, and another look when it was woken.
 * What a receiver finds then nobody else can take from it. */
#include <filch/broadcast.h>

#include "runtime/base/assert.h"
#include "sync/broadcast.h"
#include "sync/wave.h"

/* ---- in a select ---- */

static uint64_t *lost_of(const filch_case *c)
{
    return (uint64_t *)(uintptr_t)c->number;
}

static bool recv_try(filch_case *c)
{
    int r = filch__broadcast_recv_now(c->object, c->data, lost_of(c));

    if (r == -EAGAIN)
        return false;
    c->result = r;
    return true;
}

static enum filch__enlist recv_enlist(filch_case *c, struct filch__waiter *waiter)
{
    int r;
    enum filch__enlist done =
        filch__broadcast_enlist(c->object, c->data, lost_of(c), waiter, waiter, &r);

    if (done == FILCH__ENLIST_TAKEN)
        c->result = r;
    return done;
}

static void recv_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    filch_broadcast_receiver *receiver = c->object;

    if (won)
        c->result = filch__broadcast_recv_now(receiver, c->data, lost_of(c));
    else
        (void)filch__wave_leave(filch__broadcast_lock(receiver->broadcast), waiter);
}

static const struct filch__case_ops recv_ops = {
    .try_now = recv_try,
    .enlist = recv_enlist,
    .delist = recv_delist,
    .reason = FILCH_WAIT_BROADCAST,
};

filch_case filch_case_broadcast(filch_broadcast_receiver *receiver, void *msg, uint64_t *ret_lost)
{
    return (filch_case){.ops = receiver && receiver->broadcast && msg ? &recv_ops : NULL,
                        .object = receiver,
                        .data = msg,
                        .number = (uintptr_t)ret_lost};
}

static bool send_try(filch_case *c)
{
    return filch__broadcast_send_enlist(c->object, c->data, NULL, NULL, &c->result) ==
           FILCH__ENLIST_TAKEN;
}

static enum filch__enlist send_enlist(filch_case *c, struct filch__waiter *waiter)
{
    return filch__broadcast_send_enlist(c->object, c->data, waiter, waiter, &c->result);
}

static void send_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    if (won)
        c->result = filch__waiter_outcome(waiter);
    else
        (void)filch__wave_leave(filch__broadcast_lock(c->object), waiter);
}

static const struct filch__case_ops send_ops = {
    .try_now = send_try,
    .enlist = send_enlist,
    .delist = send_delist,
    .reason = FILCH_WAIT_BROADCAST,
};

filch_case filch_case_broadcast_send(filch_broadcast *broadcast, const void *msg)
{
    return (filch_case){.ops = broadcast && msg ? &send_ops : NULL,
                        .object = broadcast,
                        .data = (void *)(uintptr_t)msg};
}

/* ---- in a future ---- */

_Static_assert(sizeof(struct filch__future_waiter) <=
                   sizeof(((filch_broadcast_future *)0)->private_words),
               "it lives in the private words");

static struct filch__future_waiter *waiter_of(filch_broadcast_future *future)
{
    return (struct filch__future_waiter *)(void *)future->private_words;
}

static filch_poll recv_poll(filch_future *self, filch_cx *cx)
{
    filch_broadcast_future *future = (filch_broadcast_future *)self;
    struct filch__future_waiter *waiter = waiter_of(future);
    int r;

    filch_assert(future->phase != FILCH__WAVE_OVER);
    if (!filch__wave_poll(filch__broadcast_lock(future->receiver->broadcast), waiter,
                          &future->phase, FILCH_WAIT_BROADCAST, cx->waker))
        return FILCH_PENDING;
    (void)filch__broadcast_enlist(future->receiver, future->msg, future->ret_lost, &waiter->waiter,
                                  NULL, &r);
    return filch__wave_settle(self, waiter, &future->phase, r);
}

static void recv_drop(filch_future *self)
{
    filch_broadcast_future *future = (filch_broadcast_future *)self;

    if (future->phase == FILCH__WAVE_WAITS)
        filch__wave_drop(filch__broadcast_lock(future->receiver->broadcast), waiter_of(future));
    future->phase = FILCH__WAVE_OVER;
}

int filch_broadcast_future_init(filch_broadcast_future *future, filch_broadcast_receiver *receiver,
                                void *msg, uint64_t *ret_lost)
{
    if (!future || !receiver || !receiver->broadcast || !msg)
        return -EINVAL;
    *future = (filch_broadcast_future){.base = {.poll = recv_poll, .drop = recv_drop},
                                       .receiver = receiver,
                                       .msg = msg,
                                       .ret_lost = ret_lost};
    return 0;
}
