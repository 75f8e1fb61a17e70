/* Sending into a channel that is full and whose senders do not wait: somebody's message is dropped,
 * or the send fails.
 *
 * The user's drop function is called without the lock. So the oldest message is copied out before
 * the slot is used again, to the stack, or, if it is too large for a small one, to memory that is
 * allocated before anything is decided.
 */
#include "sync/chan.h"

#include <errno.h>
#include <stdlib.h>

#define ON_STACK_BYTES 256

/* What is to be dropped after the unlock; NULL: nothing. */
static const void *overflow_locked(filch_chan *chan, const void *msg, void *scrap,
                                   struct filch__chan_after *after, int *ret_result)
{
    if (chan->overflow == FILCH_CHAN_FAIL) {
        *ret_result = -ENOBUFS;
        return NULL;
    }
    *ret_result = 1;
    chan->dropped++;
    /* Full of permits there is no oldest one. */
    if (chan->overflow == FILCH_CHAN_DROP_NEWEST || filch__store_count(&chan->store) == 0)
        return msg;
    after->garbage = filch__store_take(&chan->store, scrap);
    filch__store_put(&chan->store, msg);
    return scrap;
}

static enum filch__attempt overflow(filch_chan *chan, const void *msg, struct filch__waiter *self,
                                    void *scrap, int *ret_result)
{
    struct filch__chan_after after = {0};
    const void *dropped = NULL;
    enum filch__attempt attempt;

    filch__chan_lock(chan);
    attempt = filch__chan_send_locked(chan, msg, self, &after, ret_result);
    if (attempt == FILCH__ATTEMPT_WAIT) {
        attempt = filch__wait_claim_self(self) ? FILCH__ATTEMPT_DONE : FILCH__ATTEMPT_LOST;
        if (attempt == FILCH__ATTEMPT_DONE)
            dropped = overflow_locked(chan, msg, scrap, &after, ret_result);
    }
    filch__chan_unlock(chan);
    filch__chan_settle(chan, &after);
    if (dropped && chan->drop)
        chan->drop(chan->drop_context, dropped);
    return attempt;
}

enum filch__attempt filch__chan_overflow(filch_chan *chan, const void *msg,
                                         struct filch__waiter *self, int *ret_result)
{
    _Alignas(max_align_t) unsigned char on_stack[ON_STACK_BYTES];
    enum filch__attempt attempt;
    void *scrap = on_stack;

    if (chan->overflow == FILCH_CHAN_DROP_OLDEST && chan->store.elem_bytes > ON_STACK_BYTES) {
        scrap = malloc(chan->store.elem_bytes);
        if (!scrap) {
            *ret_result = -ENOMEM;
            return filch__wait_claim_self(self) ? FILCH__ATTEMPT_DONE : FILCH__ATTEMPT_LOST;
        }
    }
    attempt = overflow(chan, msg, self, scrap, ret_result);
    if (scrap != on_stack)
        free(scrap);
    return attempt;
}

uint64_t filch_chan_dropped(filch_chan *chan)
{
    uint64_t dropped;

    if (!chan)
        return 0;
    filch__chan_lock(chan);
    dropped = chan->dropped;
    filch__chan_unlock(chan);
    return dropped;
}
