/* Blocking in place: the task stays on its worker, and the others are told at once that the worker
 * will not come round to what waits for it. What is queued is offered to thieves; its timers and
 * I/O are served by the monitor (sched/worker_idle.c), and the watch makes up for the worker itself
 * (sched/watch.c), now if nobody is parked who could go on, else at its next look.
 *
 *   [in-place] The watch only reads the flag, as a hint that saves it from finding out; relaxed:
 * it carries nothing.
 */
#include <filch/blocking.h>

#include <errno.h>

#include "runtime/fork/fork.h"
#include "runtime/sched/worker.h"

static void offer_queue(struct filch__worker *worker)
{
    struct filch__task *lifo = filch__lifo_take(&worker->lifo);

    if (lifo)
        filch__run_queue_push(&worker->queue, lifo);
    if (!filch__worker_queued(worker))
        return;
    filch_store_relaxed(&worker->behind, 1); /* [idle-park]: then the idle word, in notify */
    filch__runtime_notify(worker->rt);
}

int filch_block_in_place(filch_fn fn, void *arg, int *ret_result)
{
    struct filch__worker *worker = filch__worker_self();
    int result;

    if (!fn)
        return -EINVAL;
    if (!worker || !worker->current || worker->rt->opts.current_thread ||
        filch_load_relaxed(&worker->in_place)) {
        result = fn(arg);
    } else {
        filch__rcu_sleep();
        filch_store_relaxed(&worker->in_place, 1); /* [in-place] */
        filch__fork_share_all();
        offer_queue(worker);
        if (!filch__idle_sleeps(&worker->rt->idle))
            filch__watch_poke(worker->rt);
        result = fn(arg);
        filch_store_relaxed(&worker->in_place, 0);
        filch__rcu_awake();
    }
    if (ret_result)
        *ret_result = result;
    return 0;
}
