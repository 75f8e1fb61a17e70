/* Oneshots as futures: a waiter without a buffer, so that what is sent stays in the oneshot until a
 * poll takes it (sync/oneshot.c).
 *
 * Phases: NEW, before the first poll, and again when the waiter was taken out; WAITS, the waiter is
 * in its place or was taken out of it; OVER. */
#include <filch/oneshot.h>

#include <errno.h>

#include "runtime/base/assert.h"
#include "sync/oneshot.h"

enum phase { PHASE_NEW, PHASE_WAITS, PHASE_OVER };

_Static_assert(sizeof(struct filch__future_waiter) <=
                   sizeof(((filch_oneshot_future *)0)->private_words),
               "it lives in the private words");
_Static_assert(sizeof(struct filch__future_waiter) <=
                   sizeof(((filch_oneshot_closed_future *)0)->private_words),
               "it lives in the private words");

/* Return: false: it waits, and is in good hands. */
static bool was_woken(const void *handle, struct filch__future_waiter *waiter, uint32_t *phase,
                      const filch_waker *waker)
{
    if (*phase == PHASE_WAITS) {
        if (filch__oneshot_listen(handle, waiter, waker))
            return false;
        filch__future_waiter_release(waiter);
    }
    filch__future_waiter_init(waiter, FILCH_WAIT_ONESHOT, waker);
    *phase = PHASE_WAITS; /* before it can be taken out */
    return true;
}

static filch_poll settle(filch_future *self, struct filch__future_waiter *waiter, uint32_t *phase,
                         int r)
{
    if (r == -EAGAIN)
        return FILCH_PENDING;
    filch_waker_drop(waiter->waker);
    *phase = PHASE_OVER;
    self->result = r;
    return FILCH_READY;
}

static void abandon(const void *handle, struct filch__future_waiter *waiter, uint32_t *phase)
{
    if (*phase == PHASE_WAITS && !filch__oneshot_leave(handle, waiter))
        filch__future_waiter_release(waiter);
    *phase = PHASE_OVER;
}

/* ---- receiving ---- */

static struct filch__future_waiter *recv_waiter(filch_oneshot_future *future)
{
    return (struct filch__future_waiter *)(void *)future->private_words;
}

static filch_poll recv_poll(filch_future *self, filch_cx *cx)
{
    filch_oneshot_future *future = (filch_oneshot_future *)self;
    struct filch__future_waiter *waiter = recv_waiter(future);

    filch_assert(future->phase != PHASE_OVER);
    if (!was_woken(future->rx, waiter, &future->phase, cx->waker))
        return FILCH_PENDING;
    return settle(self, waiter, &future->phase,
                  filch__oneshot_recv_enlist(future->rx, future->value, &waiter->waiter));
}

static void recv_drop(filch_future *self)
{
    filch_oneshot_future *future = (filch_oneshot_future *)self;

    abandon(future->rx, recv_waiter(future), &future->phase);
}

int filch_oneshot_future_init(filch_oneshot_future *future, filch_oneshot_rx *rx, void *value)
{
    if (!future || !rx || !value)
        return -EINVAL;
    *future = (filch_oneshot_future){
        .base = {.poll = recv_poll, .drop = recv_drop}, .rx = rx, .value = value};
    return 0;
}

/* ---- waiting for the receiver to go ---- */

static struct filch__future_waiter *closed_waiter(filch_oneshot_closed_future *future)
{
    return (struct filch__future_waiter *)(void *)future->private_words;
}

static filch_poll closed_poll(filch_future *self, filch_cx *cx)
{
    filch_oneshot_closed_future *future = (filch_oneshot_closed_future *)self;
    struct filch__future_waiter *waiter = closed_waiter(future);

    filch_assert(future->phase != PHASE_OVER);
    if (!was_woken(future->tx, waiter, &future->phase, cx->waker))
        return FILCH_PENDING;
    return settle(self, waiter, &future->phase,
                  filch__oneshot_closed_enlist(future->tx, &waiter->waiter));
}

static void closed_drop(filch_future *self)
{
    filch_oneshot_closed_future *future = (filch_oneshot_closed_future *)self;

    abandon(future->tx, closed_waiter(future), &future->phase);
}

int filch_oneshot_closed_future_init(filch_oneshot_closed_future *future, filch_oneshot_tx *tx)
{
    if (!future || !tx)
        return -EINVAL;
    *future =
        (filch_oneshot_closed_future){.base = {.poll = closed_poll, .drop = closed_drop}, .tx = tx};
    return 0;
}
