/* Sleeping, and the sleep future. A sleep is a wait that nobody ends early: only its
 * time-out counts. */
#include <filch/future.h>
#include <filch/time.h>

#include <errno.h>

#include "runtime/sched/worker.h"
#include "runtime/task/relay.h"
#include "runtime/task/task.h"
#include "runtime/time/timers.h"

int filch_sleep(filch_time until)
{
    struct filch__waiter waiter;
    int r;

    if (until != FILCH_NEVER && until <= filch_now())
        return 0;
    filch__waiter_init(&waiter, FILCH_WAIT_SLEEP);
    r = filch__waiter_wait(&waiter, until);
    return r == -ETIMEDOUT ? 0 : r;
}

/* A poll does not read the clock: a sleep whose timer has left the wheel is over. */
struct sleep_private {
    struct filch__timer timer;
    filch_time armed_for; /* the time that the timer was armed for; FILCH_NOW: it was not */
};

_Static_assert(sizeof(struct sleep_private) <= sizeof(((filch_sleep_future *)0)->private_words),
               "the timer fits the room that the header reserves");

static struct sleep_private *sleep_private(filch_sleep_future *future)
{
    return (struct sleep_private *)(void *)future->private_words;
}

static bool sleep_disarm(struct sleep_private *priv)
{
    priv->armed_for = FILCH_NOW;
    return filch__timer_disarm(&priv->timer);
}

static void sleep_drop(filch_future *self)
{
    (void)sleep_disarm(sleep_private((filch_sleep_future *)self));
}

/* Is it over? It is out of the wheel afterwards. */
static bool sleep_is_over(filch_sleep_future *future, const struct filch__worker *worker)
{
    struct sleep_private *priv = sleep_private(future);
    bool was_armed = priv->armed_for != FILCH_NOW;
    bool armed_for_this = was_armed && priv->armed_for == future->until;
    bool fired = was_armed && !sleep_disarm(priv);

    /* The user may have set another time since. */
    if (armed_for_this)
        return fired;
    return future->until != FILCH_NEVER &&
           (future->until <= (worker ? worker->now : FILCH_NOW) ||
            (!worker && future->until <= filch_now()));
}

/* A timer keeps the waker's words, so it must be one that need not be counted. */
static bool can_wait(const filch_waker *waker)
{
    return waker && waker->target && !(waker->key & FILCH__WAKER_THREAD);
}

static filch_poll sleep_poll(filch_future *self, filch_cx *cx)
{
    filch_sleep_future *future = (filch_sleep_future *)self;
    struct sleep_private *priv = sleep_private(future);
    struct filch__worker *worker = filch__worker_self();

    if (sleep_is_over(future, worker)) {
        self->result = 0;
        return FILCH_READY;
    }
    if (!worker || !can_wait(cx->waker)) {
        self->result = -EPERM;
        return FILCH_READY;
    }
    if (future->until != FILCH_NEVER) {
        priv->armed_for = future->until;
        filch__timer_arm_waker(&worker->timers, &priv->timer, future->until, worker->now,
                               cx->waker);
    }
    return FILCH_PENDING;
}

void filch_sleep_future_init(filch_sleep_future *future, filch_time until)
{
    if (!future)
        return;
    future->base.poll = sleep_poll;
    future->base.drop = sleep_drop;
    future->base.result = 0;
    future->until = until;
    sleep_private(future)->armed_for = FILCH_NOW;
    filch__timer_init(&sleep_private(future)->timer);
}
