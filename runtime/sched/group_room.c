/* Asking a task to make room for another group.
 *
 * Nothing interrupts a task. One that is asked finds its budget used up, and the limit of its fork
 * stack taken away, which makes its next fork look (fork.c). Tasks that fork see by themselves that
 * their slice is over (fork/pace.h). The watch asks the others, and those that do not come to it
 * (filch__group_tick()): a wake-up on the CPU of who is asked costs 5 us, in a virtual machine 40,
 * and is late while the kernel keeps that busy. And whoever makes a task of a LATENCY group ready,
 * while he has something else to do, asks a worker that is with a BATCH group. Who was asked too
 * late, or for nothing, has lost a fraction of a microsecond.
 */
#include "runtime/sched/group_room.h"

#include "runtime/fork/ask.h"
#include "runtime/fork/fork.h"
#include "runtime/sched/group.h"
#include "runtime/sched/worker.h"

#define TICK_MAX_NS (2 * FILCH_MILLISECOND)

filch_time filch__group_slice_end(struct filch__worker *worker)
{
    return filch_load_relaxed(&worker->stay.run_since) + filch__group_slice(worker->rt);
}

void filch__group_ask(struct filch__worker *worker)
{
    struct filch__fork_stack *forks = filch_load_acquire(&worker->forks); /* [fork-stack] */

    filch_store_relaxed(&worker->stay.hurry, 1);
    filch_store_relaxed(&worker->budget, 0);
    if (forks)
        filch__ask(filch__fork_limit(forks));
}

static bool is_with_batch(struct filch__worker *worker)
{
    uint32_t with = filch_load_relaxed(&worker->stay.with);

    return with &&
           filch_load_relaxed(&worker->rt->groups.group[with - 1].kind) == FILCH_GROUP_BATCH;
}

void filch__group_ask_batch(struct filch_runtime *rt, uint32_t bound_to)
{
    unsigned n = filch__runtime_seats(rt);

    for (unsigned i = 0; i < n; i++) {
        struct filch__worker *worker = &rt->worker[i];

        if ((bound_to && i != bound_to - 1) || !is_with_batch(worker) ||
            filch_load_relaxed(&worker->parked) || filch_load_relaxed(&worker->stay.hurry))
            continue;
        filch__group_ask(worker);
        return;
    }
}

bool filch__group_must_make_room(struct filch__worker *worker)
{
    struct filch__task *task = worker->current;

    if (!task || task->kind != FILCH_KIND_GROUPED || filch_load_relaxed(&worker->budget) ||
        filch_load_relaxed(&worker->in_place) || filch__rcu_nesting())
        return false;
    worker->stay.yields++;
    return true;
}

/* From when on the watch asks: a task that forks looks at the clock itself (fork/pace.h), so the
 * watch is there for the one that does not come to it. */
static filch_time patience(struct filch__worker *worker, filch_time slice)
{
    return filch_load_relaxed(&worker->forks) ? slice + slice / 2 : slice - slice / 4;
}

filch_time filch__group_tick(struct filch_runtime *rt, filch_time now)
{
    unsigned n = filch__runtime_seats(rt);
    filch_time slice = filch__group_slice(rt);
    bool any = false;

    if (!filch_load_relaxed(&rt->grouped) || !filch__idle_running(&rt->idle))
        return FILCH_NEVER;
    for (unsigned i = 0; i < n; i++) {
        struct filch__worker *worker = &rt->worker[i];
        filch_time since = filch_load_relaxed(&worker->stay.run_since);

        if (filch_load_relaxed(&worker->parked) || now < since + patience(worker, slice))
            continue;
        filch__group_ask(worker);
        any = true;
    }
    rt->watch.tick_ns = any || rt->watch.tick_ns < slice ? slice : rt->watch.tick_ns * 2;
    if (rt->watch.tick_ns > TICK_MAX_NS)
        rt->watch.tick_ns = TICK_MAX_NS;
    return now + rt->watch.tick_ns;
}
