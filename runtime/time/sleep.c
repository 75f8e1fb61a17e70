/* Sleeping, and the sleep future. A sleep is a wait that nobody ends early: only its
 * time-out counts. */
#include <filch/future.h>
#include <filch/time.h>

#include <errno.h>

#include "runtime/sched/worker.h"
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

struct sleep_private {
    struct filch__timer timer;
};

_Static_assert(sizeof(struct sleep_private) <= sizeof(((filch_sleep_future *)0)->private_words),
               "the timer fits the room that the header reserves");

static struct sleep_private *sleep_private(filch_sleep_future *future)
{
    return (struct sleep_private *)(void *)future->private_words;
}

static void sleep_drop(filch_future *self)
{
    filch__timer_disarm(&sleep_private((filch_sleep_future *)self)->timer);
}

static filch_poll sleep_poll(filch_future *self, filch_cx *cx)
{
    filch_sleep_future *future = (filch_sleep_future *)self;
    struct sleep_private *priv = sleep_private(future);
    struct filch__worker *worker = filch__worker_self();

    (void)cx;
    sleep_drop(self);
    if (future->until != FILCH_NEVER && filch_now() >= future->until) {
        self->result = 0;
        return FILCH_READY;
    }
    if (!worker) {
        self->result = -EPERM;
        return FILCH_READY;
    }
    if (future->until != FILCH_NEVER)
        filch__timer_arm(&worker->timers, &priv->timer, future->until, worker->now,
                         filch__task_current());
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
    filch__timer_init(&sleep_private(future)->timer);
}
