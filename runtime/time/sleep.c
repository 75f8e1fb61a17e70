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

/* A poll does not read the clock: a sleep whose timer has left the wheel is over.
 *
 * base.private_word is the mark of the time that the timer was armed for, 0 when it is not armed: a
 * million sleepers are not to carry that time twice. */
struct sleep_private {
    struct filch__timer timer;
};

static uint32_t mark_of(filch_time until)
{
    return (uint32_t)until | 1;
}

_Static_assert(sizeof(struct sleep_private) <= sizeof(((filch_sleep_future *)0)->private_words),
               "the timer fits the room that the header reserves");

static struct sleep_private *sleep_private(filch_sleep_future *future)
{
    return (struct sleep_private *)(void *)future->private_words;
}

static bool sleep_disarm(filch_sleep_future *future)
{
    future->base.private_word = 0;
    return filch__timer_disarm(&sleep_private(future)->timer);
}

static void sleep_drop(filch_future *self)
{
    (void)sleep_disarm((filch_sleep_future *)self);
}

/* The user may have set another time since: one with the same mark is some seconds away, and a
 * timer is armed for at most a millisecond later than asked. */
static bool is_armed_for(filch_sleep_future *future, filch_time until)
{
    filch_time when = sleep_private(future)->timer.when;

    return future->base.private_word == mark_of(until) && until <= when &&
           when - until < FILCH_SECOND;
}

/* Is it over? It is out of the wheel afterwards. */
static bool sleep_is_over(filch_sleep_future *future, const struct filch__worker *worker)
{
    bool was_armed = future->base.private_word != 0;
    bool armed_for_this = was_armed && is_armed_for(future, future->until);
    bool fired = was_armed && !sleep_disarm(future);

    if (armed_for_this)
        return fired;
    return future->until != FILCH_NEVER && (future->until <= (worker ? worker->now : FILCH_NOW) ||
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
        self->private_word = mark_of(future->until);
        filch__timer_arm_waker(&worker->timers, &sleep_private(future)->timer, future->until,
                               worker->now, cx->waker);
    }
    return FILCH_PENDING;
}

void filch_sleep_future_init(filch_sleep_future *future, filch_time until)
{
    if (!future)
        return;
    future->base = (filch_future){.poll = sleep_poll, .drop = sleep_drop};
    future->until = until;
    filch__timer_init(&sleep_private(future)->timer);
}
