/* Joining a task as a future.
 *
 * The joiner is a future's waiter (task/waiter.h), put down in the task by the state word's edges
 * (task/state.h): there is no lock, so the waker is exchanged by giving up and beginning anew. Once
 * the task is done the waiter counts as taken out. */
#include <filch/future.h>

#include <errno.h>

#include "runtime/base/assert.h"
#include "runtime/task/task.h"

enum phase { PHASE_NEW, PHASE_WAITS, PHASE_OVER };

_Static_assert(sizeof(struct filch__future_waiter) <=
                   sizeof(((filch_join_task_future *)0)->private_words),
               "it lives in the private words");

static struct filch__future_waiter *waiter_of(filch_join_task_future *join)
{
    return (struct filch__future_waiter *)(void *)join->private_words;
}

static filch_poll is_ready(filch_join_task_future *join, int result)
{
    join->phase = PHASE_OVER;
    join->base.result = result;
    return FILCH_READY;
}

static filch_poll join_begin(filch_join_task_future *join, filch_cx *cx)
{
    struct filch__task *task = filch__handle_object(join->task);
    struct filch__future_waiter *waiter = waiter_of(join);
    enum filch__join_result r;

    if (filch__task_generation(task) != filch__handle_generation(join->task))
        return is_ready(join, -ESRCH);
    if (filch__task_was_forked(task))
        return is_ready(join, -ECHILD);
    filch__future_waiter_init(waiter, FILCH_WAIT_JOIN, cx->waker);
    join->phase = PHASE_WAITS;
    r = filch__state_join_begin(&task->state, filch__handle_generation(join->task), &task->joiner,
                                &waiter->waiter);
    if (r == FILCH_JOIN_WAIT)
        return FILCH_PENDING;
    filch_waker_drop(waiter->waker);
    if (r == FILCH_JOIN_STALE)
        return is_ready(join, -ESRCH);
    if (r == FILCH_JOIN_BUSY)
        return is_ready(join, -EBUSY);
    return is_ready(join, filch__task_collect(task));
}

static filch_poll join_poll(filch_future *self, filch_cx *cx)
{
    filch_join_task_future *join = (filch_join_task_future *)self;
    struct filch__task *task = filch__handle_object(join->task);
    struct filch__future_waiter *waiter = waiter_of(join);

    filch_assert(join->phase != PHASE_OVER);
    if (join->task == filch_task_self())
        return is_ready(join, -EDEADLK);
    if (join->phase == PHASE_NEW)
        return join_begin(join, cx);
    if (!filch_task_is_finished(join->task) && filch_waker_will_wake(&waiter->waker, cx->waker))
        return FILCH_PENDING;
    if (filch__state_join_abandon(&task->state)) {
        filch_waker_drop(waiter->waker);
        return join_begin(join, cx);
    }
    filch__future_waiter_release(waiter);
    return is_ready(join, filch__task_collect(task));
}

static void join_drop(filch_future *self)
{
    filch_join_task_future *join = (filch_join_task_future *)self;
    struct filch__task *task = filch__handle_object(join->task);
    struct filch__future_waiter *waiter = waiter_of(join);
    bool waits = join->phase == PHASE_WAITS;

    join->phase = PHASE_OVER;
    if (!waits)
        return;
    if (filch__state_join_abandon(&task->state)) {
        filch_waker_drop(waiter->waker);
        return;
    }
    filch__future_waiter_release(waiter);
    filch__state_join_undo(&task->state);
}

int filch_join_task_future_init(filch_join_task_future *join, filch_task *task)
{
    if (!join || !task)
        return -EINVAL;
    *join = (filch_join_task_future){.base = {.poll = join_poll, .drop = join_drop}, .task = task};
    return 0;
}
