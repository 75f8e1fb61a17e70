/* A token's cancel as a future: a waiter in the token's list. See token.c, waiter.h. */
#include <errno.h>

#include <filch/cancel.h>

#include "runtime/base/assert.h"
#include "runtime/task/token.h"

enum phase {
    NEW,
    WAITS, /* in the token's list, or taken out of it */
    OVER,
};

_Static_assert(sizeof(struct filch__future_waiter) <=
                   sizeof(((filch_token_future *)0)->private_words),
               "it lives in the private words");

static struct filch__future_waiter *waiter_of(filch_token_future *future)
{
    return (struct filch__future_waiter *)(void *)future->private_words;
}

/* Return: it waits, and @waker is woken. */
static bool waits(filch_token_future *future, const filch_waker *waker)
{
    struct filch__future_waiter *waiter = waiter_of(future);

    if (future->phase == WAITS) {
        if (filch__token_listen(future->token, waiter, waker))
            return true;
        filch__future_waiter_release(waiter);
        return false;
    }
    filch__future_waiter_init(waiter, FILCH_WAIT_TOKEN, waker);
    if (filch__token_enlist(future->token, &waiter->waiter)) {
        future->phase = WAITS;
        return true;
    }
    filch_waker_drop(waiter->waker);
    return false;
}

static filch_poll token_poll(filch_future *self, filch_cx *cx)
{
    filch_token_future *future = (filch_token_future *)self;

    filch_assert(future->phase != OVER);
    if (waits(future, cx->waker))
        return FILCH_PENDING;
    future->phase = OVER;
    self->result = 0;
    return FILCH_READY;
}

static void token_drop(filch_future *self)
{
    filch_token_future *future = (filch_token_future *)self;
    struct filch__future_waiter *waiter = waiter_of(future);

    if (future->phase == WAITS && filch__token_delist(future->token, &waiter->waiter))
        filch_waker_drop(waiter->waker);
    else if (future->phase == WAITS)
        filch__future_waiter_release(waiter);
    future->phase = OVER;
}

int filch_token_future_init(filch_token_future *future, filch_token *token)
{
    if (!future || !token)
        return -EINVAL;
    *future =
        (filch_token_future){.base = {.poll = token_poll, .drop = token_drop}, .token = token};
    return 0;
}
