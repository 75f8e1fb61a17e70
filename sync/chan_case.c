/* Sending and receiving as cases of a select, and putting the waiters of futures into line. */
#include "sync/chan.h"

#include <errno.h>

static void chan_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    if (won)
        c->result = waiter->data ? 0 : -EPIPE;
    else
        (void)filch__chan_leave(c->object, waiter);
}

/* ---- sending ---- */

static enum filch__enlist send_case(filch_case *c, struct filch__waiter *self)
{
    filch_chan *chan = c->object;
    struct filch__chan_after after = {0};
    enum filch__attempt attempt;
    int result;

    filch__chan_lock(chan);
    attempt = filch__chan_send_locked(chan, c->data, self, &after, &result);
    if (attempt == FILCH__ATTEMPT_WAIT && self && chan->overflow == FILCH_CHAN_WAIT) {
        self->data = c->data;
        filch__chan_enlist_locked(chan, &chan->senders, self);
    }
    filch__chan_unlock(chan);
    filch__chan_settle(chan, &after);
    if (attempt == FILCH__ATTEMPT_WAIT && chan->overflow != FILCH_CHAN_WAIT)
        attempt = filch__chan_overflow(chan, c->data, self, &result);
    if (attempt == FILCH__ATTEMPT_DONE)
        c->result = result;
    return filch__chan_enlisted(attempt);
}

static bool send_try(filch_case *c)
{
    return send_case(c, NULL) == FILCH__ENLIST_TAKEN;
}

static const struct filch__case_ops send_ops = {
    .try_now = send_try,
    .enlist = send_case,
    .delist = chan_delist,
    .reason = FILCH_WAIT_CHAN_SEND,
};

filch_case filch_case_send(filch_chan *chan, const void *msg)
{
    return (filch_case){
        .ops = chan && msg ? &send_ops : NULL, .object = chan, .data = (void *)(uintptr_t)msg};
}

/* ---- receiving ---- */

/* In line, for a select whose first look finds something. */
__attribute__((always_inline)) static inline enum filch__enlist
recv_case(filch_case *c, struct filch__waiter *self)
{
    filch_chan *chan = c->object;
    struct filch__chan_after after = {0};
    enum filch__attempt attempt;
    int result;

    filch__chan_lock(chan);
    attempt = filch__chan_recv_locked(chan, c->data, self, &after, &result);
    if (attempt == FILCH__ATTEMPT_WAIT && self) {
        self->data = c->data;
        filch__chan_enlist_locked(chan, &chan->receivers, self);
    }
    filch__chan_unlock(chan);
    filch__chan_settle(chan, &after);
    if (attempt == FILCH__ATTEMPT_DONE)
        c->result = result;
    return filch__chan_enlisted(attempt);
}

static enum filch__enlist recv_enlist(filch_case *c, struct filch__waiter *self)
{
    return recv_case(c, self);
}

static bool recv_try(filch_case *c)
{
    return recv_case(c, NULL) == FILCH__ENLIST_TAKEN;
}

static const struct filch__case_ops recv_ops = {
    .try_now = recv_try,
    .enlist = recv_enlist,
    .delist = chan_delist,
    .reason = FILCH_WAIT_CHAN_RECV,
};

filch_case filch_case_recv(filch_chan *chan, void *msg)
{
    return (filch_case){.ops = chan && msg ? &recv_ops : NULL, .object = chan, .data = msg};
}

/* ---- for futures ---- */

int filch__chan_send_enlist(filch_chan *chan, const void *msg, struct filch__waiter *waiter)
{
    filch_case c = {.object = chan, .data = (void *)(uintptr_t)msg};

    return send_case(&c, waiter) == FILCH__ENLIST_WAITS ? -EAGAIN : c.result;
}

int filch__chan_recv_enlist(filch_chan *chan, void *msg, struct filch__waiter *waiter)
{
    struct filch__chan_after after = {0};
    enum filch__attempt attempt;
    int result;

    filch__chan_lock(chan);
    attempt = filch__chan_recv_locked(chan, msg, NULL, &after, &result);
    if (attempt == FILCH__ATTEMPT_WAIT) /* with no place to put it: `data` stays NULL */
        filch__chan_enlist_locked(chan, &chan->receivers, waiter);
    filch__chan_unlock(chan);
    filch__chan_settle(chan, &after);
    return attempt == FILCH__ATTEMPT_WAIT ? -EAGAIN : result;
}
