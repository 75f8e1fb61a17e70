/* Whose turn it is on a worker, while its runtime has groups.
 *
 * A worker stays with one group for a slice (group_room.h), or until that has nothing to run here.
 * Then it charges the group for what it has used, and chooses anew: of all groups that have
 * something to run, the one with the least virtual time, which is shared by all workers (share.h).
 * So the shares hold over the whole runtime, not on each worker by itself.
 *
 *     loop:  stay with the group?  --yes-->  next task of its queue here
 *              | no: slice over, queue empty, or a LATENCY group has something
 *            charge, choose: what waits here and what came from outside,
 *                            or a group that waits elsewhere and lags behind by more than LAG
 *
 * Stealing costs cache misses and pulls a server's tasks apart, so a group's tasks are fetched from
 * another worker only when they are owed more than LAG in comparison with what could run here, or,
 * by a worker that has nothing else, when that worker is behind: the rule for all stealing. Tasks
 * of no group take part as one more group, whose queues are the run queues, LIFO slots, mailboxes
 * and the inject queue.
 *
 * A group that had nothing to run keeps its old virtual time and would be owed all that it did not
 * ask for. So whoever finds it ready again lifts it to the common clock less a credit: 1 ms, or 5
 * for LATENCY, which is how far ahead of its share such a group may run when it wakes up. One that
 * is active on other workers has a claim to what it is owed; but it, too, is owed 20 ms at most, as
 * it may have had too few tasks to use what it was offered.
 *
 * The clock: a stretch of less than SHORT is charged by the wall clock, a longer one by the CPU
 * clock, since the thread may have been off the CPU.
 */
#include <time.h>

#include "runtime/sched/group.h"
#include "runtime/sched/group_room.h"
#include "runtime/sched/share.h"
#include "runtime/sched/worker.h"

#define LAG_NS (500 * FILCH_MICROSECOND)
#define CREDIT_NS FILCH_MILLISECOND
#define CREDIT_LATENCY_NS (5 * FILCH_MILLISECOND)
#define CREDIT_ACTIVE_NS (20 * FILCH_MILLISECOND)
#define SHORT_NS (30 * FILCH_MICROSECOND)

#define NO_GROUP 1u /* the bit of the tasks in none */

static uint32_t bit(unsigned group)
{
    return (uint32_t)1 << group;
}

static uint32_t weight_of(struct filch__group *group)
{
    return filch_load_relaxed(&group->weight);
}

static uint64_t cpu_clock(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * FILCH_SECOND + (uint64_t)ts.tv_nsec;
}

/* ---- ready ---- */

void filch__group_push(struct filch__worker *worker, struct filch__task *task, bool front)
{
    struct filch_runtime *rt = filch_load_relaxed(&task->rt);
    struct filch__group *group = filch__task_group(task);
    bool hurry = filch_load_relaxed(&group->kind) == FILCH_GROUP_LATENCY;
    uint32_t bound_to = task->bound_to;

    task->ready_at = filch_now();
    if (bound_to) {
        filch__group_push_bound(worker, task, front);
        if (hurry && (worker != &rt->worker[bound_to - 1] || worker->current))
            filch__group_ask_batch(rt, bound_to);
        return;
    }
    filch__group_set_push(worker ? &worker->set : &rt->groups.outside, group->index, task, front);
    /* It may have run and ended by now. */
    if (worker) {
        filch_counter_add(&worker->stats.local_wakes, 1);
        filch__worker_pushed(worker);
    } else {
        filch_fetch_add_relaxed(&rt->outside_inject_wakes, 1);
        filch__runtime_notify(rt);
    }
    if (hurry && (!worker || worker->current))
        filch__group_ask_batch(rt, 0);
}

static uint32_t ready_here(struct filch__worker *worker)
{
    return filch__group_set_ready(&worker->set) | filch__group_set_ready(&worker->bound) |
           (filch__worker_has_plain(worker) ? NO_GROUP : 0);
}

static uint32_t ready_at(struct filch__worker *victim)
{
    return filch__group_set_ready(&victim->set) |
           (filch__run_queue_is_empty(&victim->queue) ? 0 : NO_GROUP);
}

/* ---- charging ---- */

static void raise_to(filch_atomic_u64 *most, uint64_t value)
{
    uint64_t old = filch_load_relaxed(most);

    while (old < value && !filch_cas_weak_relaxed(most, &old, value))
        ;
}

static uint64_t used_since(struct filch__worker *worker)
{
    struct filch__stay *stay = &worker->stay;
    uint64_t wall = worker->now - stay->since;
    uint64_t cpu, used;

    if (wall < SHORT_NS) {
        stay->counted_ns += wall;
        return wall;
    }
    cpu = cpu_clock();
    used = filch__share_used(wall, cpu - stay->cpu_seen, stay->counted_ns);
    stay->cpu_seen = cpu;
    stay->counted_ns = 0;
    return used;
}

static void charge(struct filch__worker *worker)
{
    struct filch__stay *stay = &worker->stay;
    struct filch__group *group = &worker->rt->groups.group[stay->group];
    uint64_t used;

    if (!stay->open)
        return;
    used = used_since(worker);
    filch_fetch_add_relaxed(&group->at, filch__share_of(used, weight_of(group)));
    filch_fetch_add_relaxed(&group->cpu_ns, used);
    filch_fetch_add_relaxed(&group->runs, stay->runs);
    if (stay->yields)
        filch_fetch_add_relaxed(&group->yields, stay->yields);
    if (stay->delay_ns) {
        filch_fetch_add_relaxed(&group->delay_ns, stay->delay_ns);
        raise_to(&group->delay_max_ns, stay->delay_max_ns);
    }
    stay->runs = stay->yields = stay->delay_ns = stay->delay_max_ns = 0;
    stay->since = worker->now;
}

void filch__group_rest(struct filch__worker *worker)
{
    charge(worker);
    worker->stay.open = false;
    worker->stay.seen = 0;
    filch_store_relaxed(&worker->stay.with, 0);
}

/* There were no groups for a while: what the stay says is of before. */
static void begin_era(struct filch__worker *worker)
{
    uint32_t era = filch_load_relaxed(&worker->rt->groups.era);
    struct filch__stay *stay = &worker->stay;

    if (stay->era == era)
        return;
    stay->era = era;
    stay->open = false;
    stay->seen = 0;
    stay->counted_ns = 0;
    stay->cpu_seen = cpu_clock();
}

/* @group has the worker from now on, or still. */
static void turn_to(struct filch__worker *worker, unsigned group)
{
    struct filch__groups *groups = &worker->rt->groups;
    struct filch__stay *stay = &worker->stay;
    uint64_t at;

    if (stay->open && stay->group == group &&
        worker->now - stay->since < filch__group_slice(worker->rt))
        return;
    charge(worker);
    stay->open = true;
    stay->group = group;
    stay->since = worker->now;
    filch_store_relaxed(&stay->with, group + 1);
    at = filch_load_relaxed(&groups->group[group].at);
    if (filch__share_is_before(filch_load_relaxed(&groups->clock), at))
        filch_store_relaxed(&groups->clock, at);
}

/* ---- choosing ---- */

/* Does another worker run tasks of it, or have some waiting? */
static bool is_active_elsewhere(struct filch__worker *worker, unsigned group)
{
    struct filch_runtime *rt = worker->rt;
    unsigned n = filch__runtime_seats(rt);

    for (unsigned i = 0; i < n; i++)
        if (i != worker->index &&
            (filch_load_relaxed(&rt->worker[i].stay.with) == group + 1 ||
             (ready_at(&rt->worker[i]) | filch__group_set_ready(&rt->worker[i].bound)) &
                 bit(group)))
            return true;
    return false;
}

static uint64_t credit_of(struct filch__worker *worker, struct filch__group *group)
{
    if (is_active_elsewhere(worker, group->index))
        return CREDIT_ACTIVE_NS;
    return filch_load_relaxed(&group->kind) == FILCH_GROUP_LATENCY ? CREDIT_LATENCY_NS : CREDIT_NS;
}

/* Groups that have something to run here, and had not when this worker looked last. */
static void lift(struct filch__worker *worker, uint32_t fresh)
{
    struct filch__groups *groups = &worker->rt->groups;
    uint64_t clock = filch_load_relaxed(&groups->clock);

    for (; fresh; fresh &= fresh - 1) {
        struct filch__group *group = &groups->group[__builtin_ctz(fresh)];
        uint64_t at = filch_load_relaxed(&group->at), credit;

        if (!filch__share_is_before(at, clock))
            continue;
        credit = filch__share_of(credit_of(worker, group), weight_of(group));
        while (!filch_cas_weak_relaxed(&group->at, &at, filch__share_enter(at, clock, credit)))
            ;
    }
}

/* Virtual times of @groups, with what the stay has used so far. */
static void read_times(struct filch__worker *worker, uint32_t which, uint64_t *at)
{
    struct filch__group *group = worker->rt->groups.group;
    struct filch__stay *stay = &worker->stay;

    for (; which; which &= which - 1) {
        unsigned i = (unsigned)__builtin_ctz(which);

        at[i] = filch_load_relaxed(&group[i].at);
        if (stay->open && stay->group == i)
            at[i] += filch__share_of(worker->now - stay->since, weight_of(&group[i]));
    }
}

/* What waits on other workers, and may be fetched from there. */
static uint32_t ready_elsewhere(struct filch__worker *worker, bool only_behind)
{
    struct filch_runtime *rt = worker->rt;
    unsigned n = filch__runtime_seats(rt);
    uint32_t ready = 0;

    for (unsigned i = 0; i < n; i++)
        if (i != worker->index && (!only_behind || filch_load_relaxed(&rt->worker[i].behind)))
            ready |= ready_at(&rt->worker[i]);
    return ready;
}

static struct filch__task *steal(struct filch__worker *worker, unsigned group, bool only_behind)
{
    struct filch_runtime *rt = worker->rt;
    unsigned n = filch__runtime_seats(rt);
    unsigned start = filch__worker_random(worker) % n;

    for (unsigned i = 0; i < n; i++) {
        struct filch__worker *victim = filch__worker_victim(worker, i, start, n);
        struct filch__task *task = NULL;
        unsigned moved = 0;

        if (victim == worker || (only_behind && !filch_load_relaxed(&victim->behind)))
            continue;
        if (group && (moved = filch__group_set_move(&victim->set, group, &worker->set)))
            task = filch__group_set_take(&worker->set, group);
        else if (!group && filch__run_queue_is_empty(&worker->queue))
            task = filch__run_queue_steal(&victim->queue, &worker->queue, &moved);
        if (task) {
            filch_counter_add(&worker->stats.steals, 1);
            filch_counter_add(&worker->stats.stolen, moved);
            return task;
        }
    }
    return NULL;
}

static struct filch__task *take_here(struct filch__worker *worker, unsigned group)
{
    struct filch__stay *stay = &worker->stay;
    struct filch__task *task;

    if (!group)
        return filch__worker_next_plain(worker);
    /* Those that are bound to this worker and the others take turns. */
    if (!stay->bound_had_turn && (task = filch__group_take_bound(worker, group))) {
        stay->bound_had_turn = true;
        return task;
    }
    stay->bound_had_turn = false;
    /* Behind what is here: neither keeps the other waiting. */
    (void)filch__group_set_move(&worker->rt->groups.outside, group, &worker->set);
    task = filch__group_set_take(&worker->set, group);
    return task ? task : filch__group_take_bound(worker, group);
}

/* What is owed to a group elsewhere must be more than LAG, in the time of @best, which could run
 * here. */
static bool lags(struct filch__worker *worker, const uint64_t *at, unsigned group, unsigned best)
{
    struct filch__group *other = &worker->rt->groups.group[best];

    return filch__share_is_before(at[group] + filch__share_of(LAG_NS, weight_of(other)), at[best]);
}

/* One look at all. Return: NULL: nothing, or what was seen is gone; then *@gone has more bits. */
static struct filch__task *choose(struct filch__worker *worker, uint32_t *gone, unsigned *ret_group)
{
    uint32_t here =
        (ready_here(worker) | filch__group_set_ready(&worker->rt->groups.outside)) & ~*gone;
    uint32_t there = ready_elsewhere(worker, !here) & ~here & ~*gone;
    uint64_t at[FILCH__GROUPS_MAX];
    unsigned best = 0, other;
    struct filch__task *task;

    lift(worker, here & ~worker->stay.seen);
    worker->stay.seen = here;
    if (!(here | there))
        return NULL;
    read_times(worker, here | there, at);
    if (here)
        best = filch__share_least(at, here);
    other = there ? filch__share_least(at, there) : best;
    if (there && (!here || lags(worker, at, other, best))) {
        task = steal(worker, other, !here);
        best = other;
    } else {
        task = take_here(worker, best);
    }
    if (!task)
        *gone |= bit(best);
    *ret_group = best;
    return task;
}

/* @task, which is of @group, runs now. */
static struct filch__task *picked(struct filch__worker *worker, struct filch__task *task)
{
    struct filch__stay *stay = &worker->stay;

    stay->runs++;
    filch_store_relaxed(&stay->run_since, worker->now);
    if (task->flags & FILCH_TASK_GROUPED && task->ready_at < worker->now) {
        uint64_t delay = worker->now - task->ready_at;

        stay->delay_ns += delay;
        if (delay > stay->delay_max_ns)
            stay->delay_max_ns = delay;
    }
    return task;
}

struct filch__task *filch__group_stay(struct filch__worker *worker)
{
    struct filch__stay *stay = &worker->stay;
    struct filch__groups *groups = &worker->rt->groups;
    struct filch__task *task;
    uint32_t ready;

    begin_era(worker);
    if (!stay->open || worker->now - stay->since >= filch__group_slice(worker->rt) ||
        filch_load_relaxed(&stay->hurry))
        return NULL;
    ready = filch__group_set_ready(&worker->set) | filch__group_set_ready(&worker->bound);
    if ((ready | filch__group_set_ready(&groups->outside)) & filch_load_relaxed(&groups->latency) &
        ~bit(stay->group))
        return NULL;
    if (stay->group && !(ready & bit(stay->group)))
        return NULL;
    task = take_here(worker, stay->group);
    return task ? picked(worker, task) : NULL;
}

struct filch__task *filch__group_next(struct filch__worker *worker)
{
    struct filch__task *task;
    uint32_t gone = 0, before;
    unsigned group = 0;

    begin_era(worker);
    filch_store_relaxed(&worker->stay.hurry, 0);
    do {
        before = gone;
        task = choose(worker, &gone, &group);
    } while (!task && gone != before);
    if (!task)
        return NULL;
    turn_to(worker, group);
    return picked(worker, task);
}

/* ---- other workers ---- */

void filch__group_help(struct filch__worker *worker, struct filch__worker *victim)
{
    for (uint32_t ready = filch__group_set_ready(&victim->set); ready; ready &= ready - 1) {
        unsigned group = (unsigned)__builtin_ctz(ready);
        unsigned moved;

        while ((moved = filch__group_set_move(&victim->set, group, &worker->set))) {
            filch_counter_add(&worker->stats.steals, 1);
            filch_counter_add(&worker->stats.stolen, moved);
        }
    }
}

void filch__group_hand_over(struct filch__worker *worker)
{
    for (uint32_t ready = filch__group_set_ready(&worker->set); ready; ready &= ready - 1) {
        struct filch__task *task;

        while ((task = filch__group_set_take(&worker->set, (unsigned)__builtin_ctz(ready))))
            filch__group_push(NULL, task, false);
    }
}

struct filch__task *filch__group_next_bound(struct filch__worker *worker)
{
    uint32_t ready = filch__group_set_ready(&worker->bound);
    uint64_t at[FILCH__GROUPS_MAX];
    struct filch__task *task;
    unsigned group;

    worker->now = filch_now();
    if (!ready) {
        filch__group_rest(worker);
        return NULL;
    }
    begin_era(worker);
    read_times(worker, ready, at);
    group = filch__share_least(at, ready);
    task = filch__group_take_bound(worker, group);
    if (!task)
        return NULL;
    turn_to(worker, group);
    return picked(worker, task);
}
