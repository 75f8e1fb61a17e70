/* The runtime around the sources that model_bound.c is about: two workers whose only queues are
 * their sets, with lanes, clocks and stacks that are the model's own. The loop is that of worker.c,
 * as it is while there are groups. */
#ifndef FILCH_TESTS_MODEL_BOUND_H
#define FILCH_TESTS_MODEL_BOUND_H

#include <string.h>
#include <time.h>

#include "runtime/base/atomic.h"

#include "io/unpark.h"
#include "runtime/fork/fork.h"
#include "runtime/sched/duty.h"
#include "runtime/sched/group.h"
#include "runtime/sched/group_room.h"
#include "runtime/sched/seat.h"
#include "runtime/sched/share.h"
#include "runtime/sched/worker.h"
#include "tests/model/explore.h"

enum { TARGET, OTHER, WORKERS };
enum { FIRST, SECOND, FREE, STUCK, TASKS }; /* STUCK ends when FREE has run */

static struct filch_runtime rt;
static struct filch__worker workers[WORKERS];
static struct filch__task tasks[TASKS];
static struct {
    filch_atomic_u32 unparked; /* io/unpark.h */
    bool event;                /* the eventfd; model_unpark.c is about when it is written */
    bool posted;               /* a completion, which wakes FIRST */
    int ends;                  /* parks that may still end because it is time to */
} lane[WORKERS];
static unsigned seats, expected, ran;
static int content[TASKS]; /* of a task, before it was made ready */
static bool is_ready[TASKS], is_stuck, is_blind, is_behind;
static unsigned runs[TASKS], left[TASKS]; /* how often it has run; and is to be made ready again */
static int stale_looks[XP_THREADS][3];
static filch_time model_time;

/* ---- what is not looked at here: other queues, counters, stacks, forks ---- */

static bool is_bound_set(const struct filch__group_set *set)
{
    return set == &workers[TARGET].bound;
}

/* A worker that is blind forgets to look at what is bound to it. */
static uint32_t length_of(struct filch__group_set *set)
{
    return is_blind && is_bound_set(set) ? 0 : filch__group_set_length(set);
}

/* The explorer knows that a loop of one load sees a store in the end; this is a loop of many. */
static uint32_t ready_of(struct filch__group_set *set)
{
    unsigned which = set == &rt.groups.outside ? 0 : is_bound_set(set) ? 1 : 2;
    int *stale = &stale_looks[xp_thread()][which];
    uint32_t ready = filch__group_set_ready(set);

    *stale = ready == xp_peek(&set->ready.location) ? 0 : *stale + 1;
    return *stale > 1 ? filch_fetch_add_relaxed(&set->ready, 0) : ready;
}

#include "runtime/sched/idle.c"

#include "runtime/sched/group_set.c"

#undef filch_counter_add
#define filch_counter_add(counter, n) ((void)(counter), (void)(n))
#define filch__runtime_seats(runtime) ((void)(runtime), seats)
#define filch__group_set_length(set) length_of(set)
#define filch__group_set_ready(set) ready_of(set)
#define filch__worker_queued(worker) ((uint64_t)filch__group_set_length(&(worker)->set))
#define filch__lifo_is_empty(lifo) ((void)(lifo), true)
#define filch__lifo_take(lifo) ((void)(lifo), (struct filch__task *)NULL)
#define filch__lifo_steal(lifo) ((void)(lifo), (struct filch__task *)NULL)
#define filch__run_queue_is_empty(queue) ((void)(queue), true)
#define filch__run_queue_pop(queue) ((void)(queue), (struct filch__task *)NULL)
#define filch__run_queue_steal(queue, own, moved)                                                  \
    ((void)(queue), *(moved) = 0, (struct filch__task *)NULL)
#define filch__run_queue_move(queue, own, most) ((void)(own), 0u)
#define filch__run_queue_push(queue, task) ((void)(queue), (void)(task))
#define filch__inject_is_empty(inject) ((void)(inject), true)
#define filch__inject_push(inject, task) ((void)(inject), (void)(task), false)
#define filch__mailbox_is_empty(mailbox) ((void)(mailbox), true)
#define filch__mailbox_take(mailbox) ((void)(mailbox), (struct filch__task *)NULL)
#define filch__worker_has_plain(worker) ((void)(worker), false)
#define filch__worker_next_plain(worker) ((void)(worker), (struct filch__task *)NULL)
#define filch__worker_push_apart(worker, task) ((void)(task), false)
#define filch__worker_run_timers(worker) ((void)(worker))
#define filch__timers_run(timers, at) ((void)(timers))
#define filch__stack_is_worth_trimming(caches) ((void)(caches), false)
#define filch__stack_cache_rest(cache) ((void)(cache))
#define filch__stack_trim(at) FILCH_NEVER
#define filch__rcu_sleep() ((void)0)
#define filch__rcu_awake() ((void)0)
#define filch__watch_wake(runtime) ((void)(runtime))
#define filch__fork_ask(worker) ((void)(worker), false)
#define filch__group_ask_batch(runtime, bound_to) ((void)(runtime))
#define filch_now() model_time
#define clock_gettime(clock, ts) ((void)((ts)->tv_sec = 0, (ts)->tv_nsec = 0))

/* Elsewhere nobody is called for help but by the monitor's visit. */
void filch__worker_pushed(struct filch__worker *worker)
{
    if (is_behind)
        filch__worker_call_help(worker);
}

#include "runtime/sched/group_turn.c"

#include "runtime/sched/group_bound.c"

#include "runtime/sched/worker_idle.c"

#include "runtime/sched/reserve.c"

/* ---- tasks ---- */

static bool all_have_run(void)
{
    return ran == expected;
}

/* Its content is what its runner must see. */
static struct filch__task *ready(unsigned task)
{
    filch_plain_write(&content[task]);
    xp_assert(!is_ready[task]);
    is_ready[task] = true;
    return &tasks[task];
}

static bool free_has_run(void *arg)
{
    (void)arg;
    return runs[FREE] > 0;
}

void filch__worker_run(struct filch__worker *worker, struct filch__task *task)
{
    unsigned i = (unsigned)(task - tasks);

    if (worker->searching) { /* found_work() */
        worker->searching = false;
        if (filch__idle_end_search(&rt.idle) && filch__worker_sees_work(worker))
            filch__runtime_notify(&rt);
    }
    filch_store_relaxed(&worker->tick, filch_load_relaxed(&worker->tick) + 1);
    xp_assert(!(xp_peek(&rt.idle.sleepers[0].location) >> worker->index & 1)); /* awake */
    xp_assert(is_ready[i]);
    is_ready[i] = false;
    filch_plain_read(&content[i]);
    xp_assert(!(task->flags & FILCH_TASK_BOUND) || worker == &workers[TARGET]);
    /* It begins there; later, the target being out, it goes on elsewhere. */
    xp_assert(i != SECOND || worker == &workers[runs[SECOND] ? OTHER : TARGET]);
    if (i == STUCK) {
        is_stuck = true;
        xp_block_until(free_has_run, NULL);
        is_stuck = false;
    }
    runs[i]++;
    ran++;
    if (left[i]) { /* a yield, on the side of the switch where nobody is on its stack */
        left[i]--;
        filch__group_push(worker, ready(i), false);
    }
}

/* ---- lanes ---- */

static unsigned index_of(const struct filch__lane *of)
{
    return (unsigned)((uintptr_t)of - 1);
}

static void unparks(struct filch__lane *of)
{
    unsigned i = index_of(of);

    if (filch__unpark_begin(&lane[i].unparked))
        lane[i].event = true;
}

static bool lane_is_ready(const struct filch__lane *of)
{
    return lane[index_of(of)].posted;
}

struct wait {
    unsigned lane;
    filch_time until;
};

static bool park_ends(void *arg)
{
    const struct wait *wait = arg;

    return lane[wait->lane].event || lane[wait->lane].posted || all_have_run() ||
           (wait->until != FILCH_NEVER && lane[wait->lane].ends);
}

/* What the kernel has completed wakes its task as from this worker, which still counts as parked.
 */
static void reap(unsigned i)
{
    if (!lane[i].posted)
        return;
    lane[i].posted = false;
    filch__group_push(&workers[i], ready(FIRST), false);
}

static void parks(struct filch__lane *of, filch_time until)
{
    struct wait wait = {index_of(of), until};
    unsigned i = wait.lane;

    xp_block_until(park_ends, &wait);
    if (all_have_run() && !lane[i].event && !lane[i].posted)
        filch_store_relaxed(&rt.exiting, 1); /* the model is over */
    if (until != FILCH_NEVER && lane[i].ends) {
        model_time = model_time < until ? until : model_time;
        lane[i].ends--; /* whatever else has ended it */
    }
    if (lane[i].event) {
        lane[i].event = false;
        filch__unpark_end(&lane[i].unparked);
    }
    reap(i);
}

static unsigned rescues(struct filch__lane *of)
{
    (void)of;
    return 0;
}

const struct filch__driver_ops filch__io_driver = {
    .unpark = unparks, .park = parks, .is_ready = lane_is_ready, .rescue = rescues};

/* ---- workers ---- */

/* filch__group_next() without the virtual times, which say only which group is first. */
static struct filch__task *next(struct filch__worker *worker)
{
    uint32_t ready = ready_here(worker) | filch__group_set_ready(&rt.groups.outside);

    return ready ? take_here(worker, (unsigned)__builtin_ctz(ready)) : NULL;
}

/* filch__worker_main(). */
static void works(struct filch__worker *worker)
{
    while (!all_have_run()) {
        struct filch__task *task;

        if (!filch__seat_is_active(&worker->seat))
            filch__worker_sit_out(worker);
        if (lane[worker->index].posted)
            reap(worker->index);
        task = next(worker);
        if (!task && is_behind)
            task = steal(worker, 1, true);
        if (task)
            filch__worker_run(worker, task);
        else
            filch__worker_idle(worker, FILCH_NEVER);
    }
}

/* ---- where it begins ---- */

static void reset_set(struct filch__group_set *set)
{
    memset(set, 0, sizeof *set);
}

static void reset_worker(unsigned i)
{
    struct filch__worker *worker = &workers[i];

    worker->rt = &rt;
    worker->index = i;
    worker->lane = (struct filch__lane *)(uintptr_t)(i + 1);
    worker->random = i + 1;
    worker->searching = worker->woken = false;
    worker->now = worker->monitor_ns = worker->all_parked_since = 0;
    worker->tick_seen = 0;
    worker->trim_at = FILCH_NEVER;
    worker->trim_tick = 0;
    filch_atomic_init(&worker->parked, 0);
    filch_atomic_init(&worker->seat, FILCH_SEAT_ACTIVE);
    filch_atomic_init(&worker->tick, 0);
    filch_atomic_init(&worker->behind, 0);
    filch_atomic_init(&worker->timers.next, FILCH_NEVER);
    memset(&worker->stay, 0, sizeof worker->stay);
    reset_set(&worker->set);
    reset_set(&worker->bound);
    filch_atomic_init(&lane[i].unparked, 0);
    lane[i].event = lane[i].posted = false;
    lane[i].ends = 0;
}

/* FIRST is pinned to the target; SECOND, of another group, only begins there. */
static void reset_task(unsigned i)
{
    struct filch__task *task = &tasks[i];

    filch_atomic_init(&task->rt, &rt);
    task->kind = FILCH_KIND_GROUPED;
    task->flags = FILCH_TASK_GROUPED;
    task->group = i == SECOND ? 2 : 1;
    task->bound_to = i <= SECOND ? 1 + TARGET : 0;
    if (i == FIRST)
        task->flags |= FILCH_TASK_BOUND;
    is_ready[i] = false;
    runs[i] = left[i] = 0;
}

static void reset_groups(void)
{
    struct filch__groups *groups = &rt.groups;

    filch_atomic_init(&groups->era, 0);
    filch_atomic_init(&groups->clock, 0);
    filch_atomic_init(&groups->latency, 0);
    for (unsigned i = 0; i <= 2; i++) {
        memset(&groups->group[i], 0, sizeof groups->group[i]);
        groups->group[i].index = i;
        filch_atomic_init(&groups->group[i].weight, 100);
    }
    reset_set(&groups->outside);
}

static void reset_all(unsigned of_seats, unsigned of_runs)
{
    rt.worker = workers;
    rt.opts.spin_ns = FILCH_NEVER;
    rt.opts.on_park = NULL;
    filch_atomic_init(&rt.exiting, 0);
    filch_atomic_init(&rt.monitor, 0);
    filch_atomic_init(&rt.monitor_due, 0);
    filch_atomic_init(&rt.monitor_called, 0);
    filch__idle_init(&rt.idle, of_seats);
    reset_groups();
    for (unsigned i = 0; i < WORKERS; i++)
        reset_worker(i);
    for (unsigned i = 0; i < TASKS; i++)
        reset_task(i);
    seats = of_seats;
    expected = of_runs;
    ran = 0;
    model_time = 0;
    memset(stale_looks, 0, sizeof stale_looks);
    is_stuck = is_blind = is_behind = false;
}

#endif
