/* Permits: places in a channel for messages to come.
 *
 *     room --reserve--> promised --permit_send--> a message, or straight to a receiver (room again)
 *                            --release------> room again
 *
 * Whoever wants permits stands in the line of senders, and the first of that line holds up the
 * others until there is room for all that it asks for: so a large request is not starved.
 *
 * In an unbounded channel room is memory: a permit there is always granted, and has its slots.
 *
 * A permit outlives a close: receivers that have drained the channel wait for those that are held,
 * and the last one that is given back sends them away.
 */
#include "sync/chan.h"

#include <errno.h>

static bool is_valid(const filch_chan *chan, size_t n, const filch_chan_permit *permit)
{
    return chan && permit && n > 0 && n <= chan->capacity;
}

/* What reserve() can do without waiting. @self: as for filch__chan_send_locked(). */
static enum filch__attempt reserve_locked(filch_chan *chan, size_t n, struct filch__waiter *self,
                                          int *ret_result)
{
    *ret_result = 0;
    while (*ret_result == 0 && !chan->is_closed) {
        if (filch__store_room(&chan->store) < n && chan->store.is_chain) {
            *ret_result = filch__chan_grow_relock(chan, n);
            continue;
        }
        if (filch__store_room(&chan->store) < n ||
            (!filch__list_is_empty(&chan->senders) && !filch__chan_line_is_free(chan)))
            return FILCH__ATTEMPT_WAIT;
        if (!filch__wait_claim_self(self))
            return FILCH__ATTEMPT_LOST;
        filch__chan_promise_locked(chan, n);
        return FILCH__ATTEMPT_DONE;
    }
    if (*ret_result == 0)
        *ret_result = -EPIPE;
    return filch__wait_claim_self(self) ? FILCH__ATTEMPT_DONE : FILCH__ATTEMPT_LOST;
}

int filch_chan_reserve_many(filch_chan *chan, size_t n, filch_chan_permit *ret_permit,
                            filch_time until)
{
    enum filch__attempt attempt;
    int r;

    if (!is_valid(chan, n, ret_permit))
        return -EINVAL;
    filch__coop_inline(); /* not while it holds what others wait for */
    filch__chan_lock(chan);
    attempt = reserve_locked(chan, n, NULL, &r);
    if (attempt == FILCH__ATTEMPT_WAIT && until != FILCH_NOW) {
        r = filch__chan_wait_unlock(chan, &chan->senders, FILCH_WAIT_CHAN_RESERVE, &n, until);
    } else {
        filch__chan_unlock(chan);
        if (attempt == FILCH__ATTEMPT_WAIT)
            r = filch__wait_give_up();
    }
    if (r == 0)
        *ret_permit = (filch_chan_permit){.chan = chan, .n = n};
    return r;
}

int filch_chan_reserve(filch_chan *chan, filch_chan_permit *ret_permit, filch_time until)
{
    return filch_chan_reserve_many(chan, 1, ret_permit, until);
}

/* Uses up a held place. Without waiting: a permit is used by one at a time. */
int filch_chan_permit_send(filch_chan_permit *permit, const void *msg)
{
    struct filch__chan_after after = {0};
    filch_chan *chan;

    if (!permit || !permit->chan || !permit->n || !msg)
        return -EINVAL;
    chan = permit->chan;
    filch__chan_lock(chan);
    if (chan->is_deserted) {
        filch__chan_unlock(chan);
        return -EPIPE;
    }
    chan->store.promised--;
    permit->n--;
    filch__chan_deliver_locked(chan, msg, &after);
    /* Handed over it has left its room to others, and it may have been the last one of a closed
     * channel. */
    after.advance = (after.wake && !filch__list_is_empty(&chan->senders)) ||
                    (chan->is_closed && !filch__list_is_empty(&chan->receivers));
    filch__chan_unlock(chan);
    filch__chan_settle(chan, &after);
    return 0;
}

void filch_chan_permit_release(filch_chan_permit *permit)
{
    struct filch__segment *garbage = NULL;
    filch_chan *chan;

    if (!permit || !permit->chan || !permit->n)
        return;
    chan = permit->chan;
    filch__chan_lock(chan);
    chan->store.promised -= permit->n;
    permit->n = 0;
    if (chan->store.is_chain && !chan->is_deserted)
        garbage = filch__store_trim(&chan->store);
    filch__chan_advance_unlock(chan);
    filch__segments_free(garbage);
}

/* ---- in a select ---- */

static enum filch__enlist reserve_case(filch_case *c, struct filch__waiter *self)
{
    filch_chan *chan = c->object;
    size_t *n = (size_t *)(void *)&c->number;
    enum filch__attempt attempt;

    filch__chan_lock(chan);
    attempt = reserve_locked(chan, *n, self, &c->result);
    if (attempt == FILCH__ATTEMPT_WAIT && self) {
        self->data = n;
        filch__chan_enlist_locked(chan, &chan->senders, self);
    }
    filch__chan_unlock(chan);
    if (attempt == FILCH__ATTEMPT_DONE && c->result == 0)
        *(filch_chan_permit *)c->data = (filch_chan_permit){.chan = chan, .n = *n};
    return filch__chan_enlisted(attempt);
}

static bool reserve_try(filch_case *c)
{
    return reserve_case(c, NULL) == FILCH__ENLIST_TAKEN;
}

static void reserve_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    if (!won) {
        (void)filch__chan_leave(c->object, waiter);
        return;
    }
    c->result = waiter->data ? 0 : -EPIPE;
    if (c->result == 0)
        *(filch_chan_permit *)c->data =
            (filch_chan_permit){.chan = c->object, .n = (size_t)c->number};
}

static const struct filch__case_ops reserve_ops = {
    .try_now = reserve_try,
    .enlist = reserve_case,
    .delist = reserve_delist,
    .reason = FILCH_WAIT_CHAN_RESERVE,
};

_Static_assert(sizeof(size_t) == sizeof(uint64_t), "how many is kept in the case's number");

filch_case filch_case_reserve(filch_chan *chan, size_t n, filch_chan_permit *ret_permit)
{
    return (filch_case){.ops = is_valid(chan, n, ret_permit) ? &reserve_ops : NULL,
                        .object = chan,
                        .data = ret_permit,
                        .number = n};
}
