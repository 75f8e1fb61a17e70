/* The ends of a channel: how many send, how many receive, and waiting until it is closed.
 *
 * Counted ends are references that are counted a second time. The last sender's closes the channel;
 * the last receiver's deserts it: it is closed, what is queued is dropped, as nobody is there to
 * take it, and permits cannot be used any more.
 *
 * Plain references are the weak ones: they keep the memory, not the channel open.
 */
#include "sync/chan.h"

#include <errno.h>

filch_chan *filch_chan_sender_ref(filch_chan *chan)
{
    bool is_open;

    if (!chan)
        return NULL;
    filch__chan_lock(chan);
    is_open = !chan->is_closed;
    if (is_open)
        chan->sender_ends++;
    filch__chan_unlock(chan);
    return is_open ? filch_chan_ref(chan) : NULL;
}

void filch_chan_sender_unref(filch_chan *chan)
{
    if (!chan)
        return;
    filch__chan_lock(chan);
    filch_assert(chan->sender_ends > 0);
    if (--chan->sender_ends == 0)
        filch__chan_close_unlock(chan);
    else
        filch__chan_unlock(chan);
    filch_chan_unref(chan);
}

filch_chan *filch_chan_receiver_ref(filch_chan *chan)
{
    bool is_inhabited;

    if (!chan)
        return NULL;
    filch__chan_lock(chan);
    is_inhabited = !chan->is_deserted;
    if (is_inhabited)
        chan->receiver_ends++;
    filch__chan_unlock(chan);
    return is_inhabited ? filch_chan_ref(chan) : NULL;
}

/* With the lock held on entry and free on return. Messages that are kept for futures stay: those
 * may still collect them. Others are taken out at once, so that nobody receives them any more. */
static void desert_unlock(filch_chan *chan)
{
    size_t left = chan->kept ? 0 : filch__store_count(&chan->store);

    chan->is_deserted = true;
    chan->store.taken += left;
    filch__chan_close_unlock(chan);
    /* From here to its end nobody uses the segments: there is nothing to take, nothing can be put,
     * and permits that are given back leave them alone. */
    if (left)
        filch__store_clear(&chan->store, left, chan->drop, chan->drop_context);
}

void filch_chan_receiver_unref(filch_chan *chan)
{
    if (!chan)
        return;
    filch__chan_lock(chan);
    filch_assert(chan->receiver_ends > 0);
    if (--chan->receiver_ends == 0)
        desert_unlock(chan);
    else
        filch__chan_unlock(chan);
    filch_chan_unref(chan);
}

static size_t count_of(filch_chan *chan, const size_t *count)
{
    size_t value;

    filch__chan_lock(chan);
    value = *count;
    filch__chan_unlock(chan);
    return value;
}

size_t filch_chan_senders(filch_chan *chan)
{
    return chan ? count_of(chan, &chan->sender_ends) : 0;
}

size_t filch_chan_receivers(filch_chan *chan)
{
    return chan ? count_of(chan, &chan->receiver_ends) : 0;
}

/* ---- the close ---- */

bool filch_chan_is_closed(filch_chan *chan)
{
    bool is_closed;

    if (!chan)
        return false;
    filch__chan_lock(chan);
    is_closed = chan->is_closed;
    filch__chan_unlock(chan);
    return is_closed;
}

int filch_chan_closed(filch_chan *chan, filch_time until)
{
    int r;

    if (!chan)
        return -EINVAL;
    filch__chan_lock(chan);
    if (chan->is_closed || until == FILCH_NOW) {
        r = chan->is_closed ? 0 : -ETIMEDOUT;
        filch__chan_unlock(chan);
        return r < 0 ? filch__wait_give_up() : 0;
    }
    r = filch__chan_wait_unlock(chan, &chan->watchers, FILCH_WAIT_CHAN_CLOSED, NULL, until);
    return r == -EPIPE ? 0 : r; /* sent away is what it waits for */
}

static enum filch__enlist closed_case(filch_case *c, struct filch__waiter *self)
{
    filch_chan *chan = c->object;
    enum filch__enlist done = FILCH__ENLIST_WAITS;

    filch__chan_lock(chan);
    if (chan->is_closed)
        done = filch__wait_claim_self(self) ? FILCH__ENLIST_TAKEN : FILCH__ENLIST_LOST;
    else if (self)
        filch__chan_enlist_locked(chan, &chan->watchers, self);
    filch__chan_unlock(chan);
    if (done == FILCH__ENLIST_TAKEN)
        c->result = 0;
    return done;
}

static bool closed_try(filch_case *c)
{
    return closed_case(c, NULL) == FILCH__ENLIST_TAKEN;
}

static void closed_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    if (won)
        c->result = 0;
    else
        (void)filch__chan_leave(c->object, waiter);
}

static const struct filch__case_ops closed_ops = {
    .try_now = closed_try,
    .enlist = closed_case,
    .delist = closed_delist,
    .reason = FILCH_WAIT_CHAN_CLOSED,
};

filch_case filch_case_closed(filch_chan *chan)
{
    return (filch_case){.ops = chan ? &closed_ops : NULL, .object = chan};
}
