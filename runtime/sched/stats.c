/* The numbers. Each is written by its owner without a lock, and summed here. */
#include <errno.h>

#include "runtime/sched/worker.h"

static void add_worker_stats(const struct filch__worker *worker, filch_stats *to)
{
    const struct filch__worker_stats *from = &worker->stats;

    to->polls += filch_load_relaxed(&worker->tick);
    to->tasks_spawned += filch_load_relaxed(&from->spawned);
    to->tasks_finished += filch_load_relaxed(&from->finished);
    to->local_wakes += filch_load_relaxed(&from->local_wakes);
    to->inject_wakes += filch_load_relaxed(&from->inject_wakes);
    to->steals += filch_load_relaxed(&from->steals);
    to->stolen_tasks += filch_load_relaxed(&from->stolen);
    to->parks += filch_load_relaxed(&from->parks);
    to->worker_wakes += filch_load_relaxed(&from->wakes_sent);
    to->worker_wakes_useful += filch_load_relaxed(&from->wakes_useful);
    to->worker_wakes_useless += filch_load_relaxed(&from->wakes_useless);
    to->spins += filch_load_relaxed(&from->spins);
    to->spins_useful += filch_load_relaxed(&from->spins_useful);
    to->forks_shared += filch_load_relaxed(&from->forks_shared);
    to->forks_moved += filch_load_relaxed(&from->forks_moved);
    to->timers_fired += filch_load_relaxed(&from->timers_fired);
}

int filch_runtime_stats(filch_runtime *rt, filch_stats *ret_stats)
{
    filch_stats stats = {0};
    struct filch__driver_stats driver = {0};
    struct filch__blocking_numbers blocking;
    struct filch__stack_numbers stacks;
    unsigned seats;

    if (!rt || !ret_stats)
        return -EINVAL;
    if (filch__runtime_was_forked(rt))
        return -ECHILD;
    seats = filch__runtime_seats(rt);
    for (unsigned i = 0; i < seats; i++)
        add_worker_stats(&rt->worker[i], &stats);
    stats.workers = rt->workers;
    stats.workers_active = rt->opts.current_thread ? 1 : filch_load_relaxed(&rt->watch.active);
    stats.workers_blocked = filch_load_relaxed(&rt->watch.blocked);
    stats.workers_hogged = filch_load_relaxed(&rt->watch.hogs);
    stats.workers_called_in = filch_load_relaxed(&rt->watch.spares);
    filch__blocking_pool_numbers(&rt->blocking, &blocking);
    stats.blocking_threads = blocking.threads;
    stats.blocking_running = blocking.running;
    stats.blocking_queued = blocking.queued;
    stats.tasks_spawned += filch_load_relaxed(&rt->outside_spawned);
    stats.tasks_finished += filch_load_relaxed(&rt->outside_finished);
    stats.inject_wakes += filch_load_relaxed(&rt->outside_inject_wakes);
    stats.worker_wakes += filch_load_relaxed(&rt->outside_wakes_sent);
    filch__io_driver.stats(rt->driver, &driver);
    stats.ops_submitted = driver.ops_submitted;
    stats.ops_direct = driver.ops_direct;
    stats.ring_enters = driver.enters;
    stats.completions = driver.completions;
    stats.completions_reaped_by_others = driver.reaped_by_others;
    stats.accept_backoffs = driver.accept_backoffs;
    filch__stack_numbers(&stacks);
    stats.stacks_mapped = stacks.mapped;
    stats.stacks_promised = stacks.promised;
    stats.stack_map_bytes = stacks.map_bytes;
    *ret_stats = stats;
    return 0;
}
