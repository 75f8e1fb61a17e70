/* Watches in selects and as futures: a waiter in a wave, and another look when it was woken. */
#include <filch/watch.h>

#include "runtime/base/assert.h"
#include "sync/watch.h"

/* ---- in a select ---- */

static bool changed_try(filch_case *c)
{
    int r = filch__watch_changed_now(c->object);

    if (r == -EAGAIN)
        return false;
    c->result = r;
    return true;
}

static enum filch__enlist changed_enlist(filch_case *c, struct filch__waiter *waiter)
{
    int r;
    enum filch__enlist done = filch__watch_enlist(c->object, waiter, waiter, &r);

    if (done == FILCH__ENLIST_TAKEN)
        c->result = r;
    return done;
}

static void changed_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    filch_watch_reader *reader = c->object;

    if (won)
        c->result = filch__watch_changed_now(reader);
    else
        (void)filch__wave_leave(&reader->watch->lock, waiter);
}

static const struct filch__case_ops changed_ops = {
    .try_now = changed_try,
    .enlist = changed_enlist,
    .delist = changed_delist,
    .reason = FILCH_WAIT_WATCH,
};

filch_case filch_case_watch_changed(filch_watch_reader *reader)
{
    return (filch_case){.ops = reader && reader->watch ? &changed_ops : NULL, .object = reader};
}

static enum filch__enlist abandoned_enlist(filch_case *c, struct filch__waiter *waiter)
{
    c->result = 0;
    return filch__watch_enlist_abandoned(c->object, waiter, waiter);
}

static bool abandoned_try(filch_case *c)
{
    c->result = 0;
    return filch__watch_enlist_abandoned(c->object, NULL, NULL) == FILCH__ENLIST_TAKEN;
}

static void abandoned_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    if (!won)
        (void)filch__wave_leave(&((struct filch_watch *)c->object)->lock, waiter);
}

static const struct filch__case_ops abandoned_ops = {
    .try_now = abandoned_try,
    .enlist = abandoned_enlist,
    .delist = abandoned_delist,
    .reason = FILCH_WAIT_WATCH,
};

filch_case filch_case_watch_abandoned(filch_watch *watch)
{
    return (filch_case){.ops = watch ? &abandoned_ops : NULL, .object = watch};
}

/* ---- in a future ---- */

_Static_assert(sizeof(struct filch__future_waiter) <=
                   sizeof(((filch_watch_future *)0)->private_words),
               "it lives in the private words");

static struct filch__future_waiter *waiter_of(filch_watch_future *future)
{
    return (struct filch__future_waiter *)(void *)future->private_words;
}

static filch_poll changed_poll(filch_future *self, filch_cx *cx)
{
    filch_watch_future *future = (filch_watch_future *)self;
    struct filch__future_waiter *waiter = waiter_of(future);
    int r;

    filch_assert(future->phase != FILCH__WAVE_OVER);
    if (!filch__wave_poll(&future->reader->watch->lock, waiter, &future->phase, FILCH_WAIT_WATCH,
                          cx->waker))
        return FILCH_PENDING;
    (void)filch__watch_enlist(future->reader, &waiter->waiter, NULL, &r);
    return filch__wave_settle(self, waiter, &future->phase, r);
}

static void changed_drop(filch_future *self)
{
    filch_watch_future *future = (filch_watch_future *)self;

    if (future->phase == FILCH__WAVE_WAITS)
        filch__wave_drop(&future->reader->watch->lock, waiter_of(future));
    future->phase = FILCH__WAVE_OVER;
}

int filch_watch_future_init(filch_watch_future *future, filch_watch_reader *reader)
{
    if (!future || !reader || !reader->watch)
        return -EINVAL;
    *future = (filch_watch_future){.base = {.poll = changed_poll, .drop = changed_drop},
                                   .reader = reader};
    return 0;
}
