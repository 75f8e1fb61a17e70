/* Sending to and receiving from channels as futures: sync/chan.h says what is different. A sending
 * future is like a sending task: its message is copied out when there is room.
 *
 * Phases: NEW, before the first poll; WAITS, the waiter is in the channel's list or was taken out
 * of it; OVER. */
#include <filch/chan.h>

#include <errno.h>

#include "runtime/base/assert.h"
#include "sync/chan.h"

enum phase { PHASE_NEW, PHASE_WAITS, PHASE_OVER };

_Static_assert(sizeof(struct filch__future_waiter) <=
                   sizeof(((filch_recv_future *)0)->private_words),
               "it lives in the private words");
_Static_assert(sizeof(struct filch__future_waiter) <=
                   sizeof(((filch_send_future *)0)->private_words),
               "it lives in the private words");

/* Has @waker woken from now on. Return: false: @waiter was taken out. */
static bool listen(filch_chan *chan, struct filch__future_waiter *waiter, const filch_waker *waker)
{
    filch_waker old = {0};
    bool waits;

    filch__chan_lock(chan);
    waits = !filch__waiter_was_taken(&waiter->waiter);
    if (waits)
        old = filch__future_waiter_listen(waiter, waker);
    filch__chan_unlock(chan);
    filch_waker_drop(old);
    return waits;
}

/* Takes @waiter out and drops its waker. Return: false: it was taken out. */
static bool leave(filch_chan *chan, struct filch__future_waiter *waiter)
{
    if (!filch__chan_leave(chan, &waiter->waiter))
        return false;
    filch_waker_drop(waiter->waker);
    return true;
}

static filch_poll is_ready(filch_future *self, uint32_t *phase, int result)
{
    *phase = PHASE_OVER;
    self->result = result;
    return FILCH_READY;
}

/* ---- receiving ---- */

/* Uses up the right to a message: it goes to @msg, or, NULL, to the other receivers. */
static void collect(filch_chan *chan, void *msg)
{
    struct filch__segment *garbage = NULL;

    filch__chan_lock(chan);
    chan->kept--;
    if (msg)
        garbage = filch__store_take(&chan->store, msg);
    filch__chan_advance_unlock(chan);
    filch__segments_free(garbage);
}

static struct filch__future_waiter *recv_waiter(filch_recv_future *recv)
{
    return (struct filch__future_waiter *)(void *)recv->private_words;
}

static filch_poll recv_begin(filch_recv_future *recv, filch_cx *cx)
{
    struct filch__future_waiter *waiter = recv_waiter(recv);
    int r;

    filch__future_waiter_init(waiter, FILCH_WAIT_CHAN_RECV, cx->waker);
    recv->phase = PHASE_WAITS; /* before it can be taken out */
    r = filch__chan_recv_enlist(recv->chan, recv->msg, &waiter->waiter);
    if (r == -EAGAIN)
        return FILCH_PENDING;
    filch_waker_drop(waiter->waker);
    return is_ready(&recv->base, &recv->phase, r);
}

static filch_poll recv_poll(filch_future *self, filch_cx *cx)
{
    filch_recv_future *recv = (filch_recv_future *)self;
    struct filch__future_waiter *waiter = recv_waiter(recv);

    filch_assert(recv->phase != PHASE_OVER);
    if (recv->phase == PHASE_NEW)
        return recv_begin(recv, cx);
    if (listen(recv->chan, waiter, cx->waker))
        return FILCH_PENDING;
    filch__future_waiter_release(waiter);
    if (!waiter->waiter.data)
        return is_ready(self, &recv->phase, -EPIPE);
    collect(recv->chan, recv->msg);
    return is_ready(self, &recv->phase, 0);
}

static void recv_drop(filch_future *self)
{
    filch_recv_future *recv = (filch_recv_future *)self;
    struct filch__future_waiter *waiter = recv_waiter(recv);
    bool waits = recv->phase == PHASE_WAITS;

    recv->phase = PHASE_OVER;
    if (!waits || leave(recv->chan, waiter))
        return;
    filch__future_waiter_release(waiter);
    if (waiter->waiter.data)
        collect(recv->chan, NULL);
}

int filch_recv_future_init(filch_recv_future *recv, filch_chan *chan, void *msg)
{
    if (!recv || !chan || !msg)
        return -EINVAL;
    *recv = (filch_recv_future){
        .base = {.poll = recv_poll, .drop = recv_drop}, .chan = chan, .msg = msg};
    return 0;
}

/* ---- sending ---- */

static struct filch__future_waiter *send_waiter(filch_send_future *send)
{
    return (struct filch__future_waiter *)(void *)send->private_words;
}

static filch_poll send_begin(filch_send_future *send, filch_cx *cx)
{
    struct filch__future_waiter *waiter = send_waiter(send);
    int r;

    filch__future_waiter_init(waiter, FILCH_WAIT_CHAN_SEND, cx->waker);
    send->phase = PHASE_WAITS;
    r = filch__chan_send_enlist(send->chan, send->msg, &waiter->waiter);
    if (r == -EAGAIN)
        return FILCH_PENDING;
    filch_waker_drop(waiter->waker);
    return is_ready(&send->base, &send->phase, r);
}

static filch_poll send_poll(filch_future *self, filch_cx *cx)
{
    filch_send_future *send = (filch_send_future *)self;
    struct filch__future_waiter *waiter = send_waiter(send);

    filch_assert(send->phase != PHASE_OVER);
    if (send->phase == PHASE_NEW)
        return send_begin(send, cx);
    if (listen(send->chan, waiter, cx->waker))
        return FILCH_PENDING;
    filch__future_waiter_release(waiter);
    return is_ready(self, &send->phase, waiter->waiter.data ? 0 : -EPIPE);
}

static void send_drop(filch_future *self)
{
    filch_send_future *send = (filch_send_future *)self;
    struct filch__future_waiter *waiter = send_waiter(send);
    uint32_t phase = send->phase;

    send->phase = PHASE_OVER;
    if (phase == PHASE_OVER)
        return;
    self->result = -ECANCELED;
    if (phase == PHASE_NEW || leave(send->chan, waiter))
        return;
    filch__future_waiter_release(waiter);
    self->result = waiter->waiter.data ? 0 : -EPIPE;
}

int filch_send_future_init(filch_send_future *send, filch_chan *chan, const void *msg)
{
    if (!send || !chan || !msg)
        return -EINVAL;
    *send = (filch_send_future){
        .base = {.poll = send_poll, .drop = send_drop}, .chan = chan, .msg = msg};
    return 0;
}
