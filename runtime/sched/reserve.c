/* The life of a worker that sits out (seat.h): it waits in its lane as a parked one does, but is
 * counted nowhere, and what its timers and completions wake goes to the inject queue, for those who
 * work. Its pinned tasks have nobody else, so it runs them itself.
 *
 * It looks idle to the monitor, so nobody helps it out; only while it runs a pinned task it does
 * not.
 */
#include "runtime/sched/seat.h"
#include "runtime/sched/worker.h"

static void hand_over_one(struct filch__worker *worker, struct filch__task *task)
{
    if (filch__inject_push(&worker->rt->inject, task))
        filch__runtime_notify(worker->rt);
}

/* All that is queued here. */
static void hand_over(struct filch__worker *worker)
{
    struct filch__task *task = worker->handoff;

    worker->handoff = NULL;
    if (task)
        hand_over_one(worker, task);
    if ((task = filch__lifo_take(&worker->lifo)))
        hand_over_one(worker, task);
    while ((task = filch__run_queue_pop(&worker->queue)))
        hand_over_one(worker, task);
    filch__group_hand_over(worker);
}

static void run_pinned(struct filch__worker *worker, struct filch__task *task)
{
    if (task->kind == FILCH_KIND_PLACED)
        task->kind = FILCH_KIND_STACKFUL;
    filch_store_relaxed(&worker->parked, 0);
    filch__worker_run(worker, task);
    filch_store_relaxed(&worker->parked, 1);
}

static void sit(struct filch__worker *worker)
{
    struct filch__task *task;

    hand_over(worker);
    task = filch__mailbox_take(&worker->mailbox);
    if (!task)
        task = filch__group_next_bound(worker);
    if (task) {
        run_pinned(worker, task);
        return;
    }
    /* Perhaps a sender is in the middle of it. One that comes later unparks us. [seat-mail] */
    if (!filch__mailbox_is_empty(&worker->mailbox))
        return;
    filch__worker_sleep(worker, FILCH_NEVER);
    worker->now = filch_now();
    filch__worker_run_timers(worker);
}

void filch__worker_sit_out(struct filch__worker *worker)
{
    struct filch_runtime *rt = worker->rt;

    if (!filch__seat_leave(&worker->seat))
        return;
    if (worker->searching)
        (void)filch__idle_end_search(&rt->idle);
    worker->searching = worker->woken = false;
    hand_over(worker);
    filch__idle_leave(&rt->idle); /* [seat-leave] */
    /* Who leaves may have had monitor duty: a sleeper that finds nothing takes it as it parks. */
    if (filch__worker_sees_work(worker) || filch__monitor_is_missing(rt))
        filch__runtime_notify(rt);
    filch_store_relaxed(&worker->parked, 1);
    while (filch__seat_is_out(&worker->seat) && !filch_load_acquire(&rt->exiting))
        sit(worker);
    filch_store_relaxed(&worker->parked, 0);
    filch__idle_join(&rt->idle);
    /* It may have called us in because all was quiet, and sleep by now. [watch-sleep] */
    filch__watch_wake(rt);
}
