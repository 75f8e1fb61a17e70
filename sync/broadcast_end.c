/* Who has a broadcast: counts, references that keep the memory only, and waiting until there is no
 * receiver. See sync/broadcast.c.
 *
 * A weak reference is counted as senders and receivers are, and goes as they do; it closes nothing.
 */
#include <filch/broadcast.h>

#include "sync/broadcast.h"

static size_t count_of(filch_broadcast *b, const size_t *count)
{
    size_t value;

    filch_spinlock_lock(&b->lock);
    value = *count;
    filch_spinlock_unlock(&b->lock);
    return value;
}

size_t filch_broadcast_receivers(filch_broadcast *broadcast)
{
    return broadcast ? count_of(broadcast, &broadcast->receivers) : 0;
}

size_t filch_broadcast_senders(filch_broadcast *broadcast)
{
    return broadcast ? count_of(broadcast, &broadcast->senders) : 0;
}

bool filch_broadcast_is_closed(filch_broadcast *broadcast)
{
    bool closed;

    if (!broadcast)
        return false;
    filch_spinlock_lock(&broadcast->lock);
    closed = broadcast->closed;
    filch_spinlock_unlock(&broadcast->lock);
    return closed;
}

filch_broadcast *filch_broadcast_of(const filch_broadcast_receiver *receiver)
{
    return receiver ? receiver->broadcast : NULL;
}

/* ---- weak references ---- */

filch_broadcast *filch_broadcast_weak_ref(filch_broadcast *broadcast)
{
    if (!broadcast)
        return NULL;
    filch_spinlock_lock(&broadcast->lock);
    broadcast->weaks++;
    filch_spinlock_unlock(&broadcast->lock);
    return broadcast;
}

void filch_broadcast_weak_unref(filch_broadcast *broadcast)
{
    if (!broadcast)
        return;
    filch_spinlock_lock(&broadcast->lock);
    filch_assert(broadcast->weaks > 0);
    broadcast->weaks--;
    filch__broadcast_go_unlock(broadcast);
}

filch_broadcast *filch_broadcast_sender_ref(filch_broadcast *broadcast)
{
    bool open;

    if (!broadcast)
        return NULL;
    filch_spinlock_lock(&broadcast->lock);
    open = !broadcast->closed;
    broadcast->senders += open;
    filch_spinlock_unlock(&broadcast->lock);
    return open ? broadcast : NULL;
}

/* ---- no receiver ---- */

/* There is none; or puts @waiter, which may be NULL, down. @self: @waiter, if it is in a select. */
static enum filch__enlist enlist_abandoned(filch_broadcast *b, struct filch__waiter *waiter,
                                           struct filch__waiter *self)
{
    enum filch__enlist done = FILCH__ENLIST_WAITS;

    filch_spinlock_lock(&b->lock);
    if (!b->receivers)
        done = filch__wait_claim_self(self) ? FILCH__ENLIST_TAKEN : FILCH__ENLIST_LOST;
    else if (waiter)
        filch__list_push_back(&b->departures.waiting, &waiter->link);
    filch_spinlock_unlock(&b->lock);
    return done;
}

int filch_broadcast_abandoned(filch_broadcast *broadcast, filch_time until)
{
    struct filch__waiter waiter, *me = until == FILCH_NOW ? NULL : &waiter;

    if (!broadcast)
        return -EINVAL;
    filch__waiter_init(&waiter, FILCH_WAIT_BROADCAST);
    if (enlist_abandoned(broadcast, me, NULL) == FILCH__ENLIST_TAKEN) {
        filch__coop_inline();
        return 0;
    }
    return me ? filch__wave_wait(&broadcast->lock, me, until) : filch__wait_give_up();
}

static bool abandoned_try(filch_case *c)
{
    c->result = 0;
    return enlist_abandoned(c->object, NULL, NULL) == FILCH__ENLIST_TAKEN;
}

static enum filch__enlist abandoned_enlist(filch_case *c, struct filch__waiter *waiter)
{
    c->result = 0;
    return enlist_abandoned(c->object, waiter, waiter);
}

static void abandoned_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    if (!won)
        (void)filch__wave_leave(&((filch_broadcast *)c->object)->lock, waiter);
}

static const struct filch__case_ops abandoned_ops = {
    .try_now = abandoned_try,
    .enlist = abandoned_enlist,
    .delist = abandoned_delist,
    .reason = FILCH_WAIT_BROADCAST,
};

filch_case filch_case_broadcast_abandoned(filch_broadcast *broadcast)
{
    return (filch_case){.ops = broadcast ? &abandoned_ops : NULL, .object = broadcast};
}
