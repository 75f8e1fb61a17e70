/* A worker without work: spin, park, and watch over the others.
 *
 * Parking and being woken costs 25-30 us, so a worker polls its ring, the inject queue and the
 * others' calls for help for a while first, one worker of the runtime at a time, and only while
 * that pays: a score goes up with each spin that found something and down with each that did not,
 * and a gap in the clock (somebody else had the core) turns spinning off for a while, as does a CPU
 * quota that is used up early (throttle.h).
 *
 * Monitor duty: one parked worker at most, while any other runs, wakes up by itself every 500 us,
 * backing off to 10 ms while it finds nothing, and helps workers that have not switched tasks since
 * its last visit (a task that computes, or is stuck in a system call): takes over their queue and
 * LIFO slot, has the kernel post their completions and reaps them, fires their timers. It retires
 * when all have been parked for 100 ms; the next worker that is unparked appoints another by waking
 * it. Two workers that both park thousands of times a second would do so each time: so 5 ms must
 * lie between two such calls, and the watch calls one, should it find the duty free. While none is
 * parked, those that run do the duty as they pass, each visit by whoever comes first when it is
 * due: so one of them that is stuck is helped by the others.
 *
 *     duty   0 --enlist(), before the park----> 1 --monitor_do_duty(), after the park---> 0
 *            0 --filch__monitor_pass(), busy--> 1 --at the end of its visit-------------> 0
 *
 * Who gives the duty up and goes on working sees to it that a sleeper takes it: sched/duty.h.
 *
 * When one that works calls another for help is in overrun.c.
 */
#include "runtime/fork/fork.h"
#include "runtime/sched/duty.h"
#include "runtime/sched/seat.h"
#include "runtime/sched/worker.h"

#define SPIN_DEFAULT_NS (30 * FILCH_MICROSECOND)
#define SPIN_GAP_NS (20 * FILCH_MICROSECOND)
#define SPIN_OFF_NS (10 * FILCH_MILLISECOND)
#define SPIN_SCORE_MAX 16
#define SPIN_RETRY 32 /* parks, after which a worker that gave spinning up tries again */
#define HELP_TASKS 64 /* taken over at a time */
#define MONITOR_MIN_NS (500 * FILCH_MICROSECOND)
#define MONITOR_MAX_NS (10 * FILCH_MILLISECOND)
#define MONITOR_CALL_NS (5 * FILCH_MILLISECOND)
#define MONITOR_RETIRE_NS (100 * FILCH_MILLISECOND)

void filch__runtime_notify(struct filch_runtime *rt)
{
    int index = filch__idle_pick(&rt->idle);
    struct filch__worker *self;

    if (index < 0)
        return;
    self = filch__worker_self();
    if (self && self->rt == rt)
        filch_counter_add(&self->stats.wakes_sent, 1);
    else
        filch_fetch_add_relaxed(&rt->outside_wakes_sent, 1);
    filch__io_driver.unpark(rt->worker[index].lane);
}

void filch__runtime_inject(struct filch_runtime *rt, struct filch__task *task)
{
    if (task->kind != FILCH_KIND_STACKFUL && filch__worker_push_apart(NULL, task))
        return;
    filch_fetch_add_relaxed(&rt->outside_inject_wakes, 1);
    if (filch__inject_push(&rt->inject, task))
        filch__runtime_notify(rt);
}

uint32_t filch__worker_random(struct filch__worker *worker)
{
    worker->random ^= worker->random << 13;
    worker->random ^= worker->random >> 17;
    worker->random ^= worker->random << 5;
    return worker->random;
}

/* Chaos: what was queued goes anywhere. */
static void scatter(struct filch__worker *worker)
{
    struct filch__task *task =
        filch__worker_random(worker) % 2 ? filch__run_queue_pop(&worker->queue) : NULL;

    if (task)
        filch__runtime_inject(worker->rt, task);
}

/* Once for each time that the queue grows beyond what the worker does by itself: the loop takes one
 * as soon as it can, a task keeps all of them waiting. */
void filch__worker_call_help(struct filch__worker *worker)
{
    if (worker->rt->chaos)
        scatter(worker);
    else if (filch__worker_queued(worker) != (worker->current ? 1 : 2))
        return;
    filch_store_relaxed(&worker->behind, 1); /* [idle-park]: then the idle word, in notify */
    filch__runtime_notify(worker->rt);
}

static struct filch__task *steal_from(struct filch__worker *worker, struct filch__worker *victim)
{
    unsigned moved = 0;
    struct filch__task *task = filch__run_queue_steal(&victim->queue, &worker->queue, &moved);

    if (task) {
        filch_counter_add(&worker->stats.steals, 1);
        filch_counter_add(&worker->stats.stolen, moved);
    }
    return task;
}

struct filch__task *filch__worker_steal(struct filch__worker *worker)
{
    struct filch_runtime *rt = worker->rt;
    unsigned n = filch__runtime_seats(rt);
    unsigned start = filch__worker_random(worker) % n;

    for (unsigned i = 0; i < n; i++) {
        struct filch__worker *victim = filch__worker_victim(worker, i, start, n);
        struct filch__task *task;

        if (victim == worker || !filch_load_relaxed(&victim->behind))
            continue;
        task = steal_from(worker, victim);
        if (task)
            return task;
    }
    return NULL;
}

static bool others_are_behind(struct filch__worker *worker)
{
    struct filch_runtime *rt = worker->rt;
    unsigned n = filch__runtime_seats(rt);

    for (unsigned i = 0; i < n; i++) {
        struct filch__worker *victim = &rt->worker[i];

        if (victim != worker && filch_load_relaxed(&victim->behind) && /* [idle-park] */
            filch__worker_queued(victim))
            return true;
    }
    return false;
}

bool filch__worker_sees_work(struct filch__worker *worker)
{
    return !filch__inject_is_empty(&worker->rt->inject) || !filch__lifo_is_empty(&worker->lifo) ||
           filch__worker_queued(worker) || filch__group_set_length(&worker->rt->groups.outside) ||
           others_are_behind(worker) || filch_load_relaxed(&worker->rt->exiting);
}

bool filch__worker_sees_any_work(struct filch__worker *worker)
{
    return filch__worker_sees_work(worker) || !filch__mailbox_is_empty(&worker->mailbox) ||
           filch__group_set_length(&worker->bound); /* [bound-park] */
}

/* Helps one worker that is stuck in a task. Its pinned tasks are beyond help. Return: was there
 * anything to do? */
static bool help(struct filch__worker *worker, struct filch__worker *victim)
{
    uint64_t before = filch__worker_queued(worker);
    struct filch__task *lifo = filch__lifo_steal(&victim->lifo);
    unsigned moved = filch__run_queue_move(&victim->queue, &worker->queue, HELP_TASKS);

    if (moved) {
        filch_counter_add(&worker->stats.steals, 1);
        filch_counter_add(&worker->stats.stolen, moved);
    }
    if (lifo)
        filch__run_queue_push(&worker->queue, lifo);
    if (filch__group_set_length(&victim->set))
        filch__group_help(worker, victim);
    if (!worker->rt->opts.no_rescue)
        filch__io_driver.rescue(victim->lane);
    filch__timers_run(&victim->timers, worker->now);
    return filch__worker_queued(worker) > before;
}

/* With the duty. Return: was there anybody to help? What was found is in the own queue. */
static bool monitor_visit(struct filch__worker *worker)
{
    struct filch_runtime *rt = worker->rt;
    unsigned n = filch__runtime_seats(rt);
    bool found = false;

    for (unsigned i = 0; i < n && !found; i++) {
        struct filch__worker *victim = &rt->worker[i];
        uint64_t tick = filch_load_relaxed(&victim->tick);
        bool stuck = tick == victim->tick_seen && !filch_load_relaxed(&victim->parked);

        victim->tick_seen = tick;
        if (victim != worker && stuck)
            found = help(worker, victim);
    }
    worker->monitor_ns = found ? MONITOR_MIN_NS : worker->monitor_ns * 2;
    if (worker->monitor_ns < MONITOR_MIN_NS)
        worker->monitor_ns = MONITOR_MIN_NS;
    if (worker->monitor_ns > MONITOR_MAX_NS)
        worker->monitor_ns = MONITOR_MAX_NS;
    return found;
}

void filch__monitor_pass(struct filch__worker *worker)
{
    struct filch_runtime *rt = worker->rt;

    /* Relaxed: an old time only makes a visit early or late. */
    if (!filch__monitor_is_missing(rt) || worker->now < filch_load_relaxed(&rt->monitor_due) ||
        filch__idle_sleeps(&rt->idle) || !filch__duty_take(&rt->monitor))
        return;
    (void)monitor_visit(worker);
    filch_store_relaxed(&rt->monitor_due, worker->now + worker->monitor_ns);
    filch__duty_give(&rt->monitor);
    filch__runtime_notify(rt);
}

static bool spin_is_worth_it(struct filch__worker *worker)
{
    if (worker->rt->opts.spin_ns == FILCH_NEVER || worker->now < worker->spin_off_until ||
        filch__throttle_is_on(&worker->rt->watch.throttle, worker->now))
        return false;
    if (worker->spin_score > 0)
        return true;
    worker->spin_score--;
    if (worker->spin_score > -SPIN_RETRY)
        return false;
    worker->spin_score = 1;
    return true;
}

/* Polls until something turns up or the time is over. Return: did something? */
static bool spin_until(struct filch__worker *worker, filch_time end)
{
    filch_time last = filch_now();

    while (last < end) {
        filch_time now;

        for (int i = 0; i < 16; i++) {
            if (filch__io_driver.is_ready(worker->lane) || filch__worker_sees_any_work(worker))
                return true;
            filch_cpu_relax();
        }
        now = filch_now();
        if (now - last > SPIN_GAP_NS) {
            worker->spin_off_until = now + SPIN_OFF_NS;
            return false;
        }
        last = now;
        if (now >= filch_load_relaxed(&worker->timers.next))
            return true;
    }
    return false;
}

static bool spin(struct filch__worker *worker)
{
    filch_atomic_u32 *spinner = &worker->rt->spinner;
    filch_time span = worker->rt->opts.spin_ns ? worker->rt->opts.spin_ns : SPIN_DEFAULT_NS;
    uint32_t nobody = 0;
    bool found;

    if (!spin_is_worth_it(worker) || filch_load_relaxed(spinner) ||
        !filch_cas_weak_relaxed(spinner, &nobody, 1))
        return false;
    filch_counter_add(&worker->stats.spins, 1);
    found = spin_until(worker, worker->now + span);
    filch_store_relaxed(spinner, 0);
    if (found) {
        filch_counter_add(&worker->stats.spins_useful, 1);
        if (worker->spin_score < SPIN_SCORE_MAX)
            worker->spin_score += 2;
    } else {
        worker->spin_score--;
    }
    return found;
}

/* Takes monitor duty if it is free and of use. Return: until when to park at most. */
static filch_time monitor_enlist(struct filch__worker *worker, bool *ret_duty)
{
    struct filch_runtime *rt = worker->rt;
    bool others_run = filch__idle_running(&rt->idle) > 0;

    *ret_duty = false;
    if (others_run)
        worker->all_parked_since = 0;
    else if (!worker->all_parked_since)
        worker->all_parked_since = worker->now;
    if (filch__runtime_seats(rt) == 1 ||
        (!others_run && worker->now - worker->all_parked_since > MONITOR_RETIRE_NS) ||
        !filch__duty_take(&rt->monitor))
        return FILCH_NEVER;
    *ret_duty = true;
    if (worker->monitor_ns < MONITOR_MIN_NS)
        worker->monitor_ns = MONITOR_MIN_NS;
    return worker->now + worker->monitor_ns;
}

bool filch__monitor_is_missing(struct filch_runtime *rt)
{
    return filch__runtime_seats(rt) > 1 && filch__duty_is_free(&rt->monitor);
}

void filch__monitor_call(struct filch_runtime *rt, filch_time now)
{
    /* relaxed: an old time only makes a call more. */
    if (!filch__monitor_is_missing(rt) ||
        now < filch_load_relaxed(&rt->monitor_called) + MONITOR_CALL_NS)
        return;
    filch_store_relaxed(&rt->monitor_called, now);
    filch__runtime_notify(rt);
}

/* The holder of the duty has woken up. Return: did it find nothing to do, so that it will park
 * again at once? */
static bool monitor_do_duty(struct filch__worker *worker, filch_time due)
{
    bool in_time, found = false;

    worker->now = filch_now();
    in_time = worker->now >= due && !filch__worker_queued(worker);
    if (in_time)
        found = monitor_visit(worker);
    filch__duty_give(&worker->rt->monitor);
    return in_time && !found;
}

/* Before a park: once a second gives the memory of stacks that nobody used meanwhile back, and of
 * those that this worker keeps if it ran nothing meanwhile. Stops when there is something else to
 * do, and asks for no visit when there is nothing to give. Return: when to come again. */
filch_time filch__worker_trim(struct filch__worker *worker)
{
    uint64_t tick = filch_load_relaxed(&worker->tick);

    if (worker->trim_at == FILCH_NEVER) {
        if (filch__stack_is_worth_trimming(worker->stacks)) {
            worker->trim_at = worker->now + FILCH__STACK_REST_NS;
            worker->trim_tick = tick;
        }
    } else if (worker->now >= worker->trim_at) {
        filch_time next;

        for (unsigned i = 0; i < FILCH__STACK_CLASSES && tick == worker->trim_tick; i++)
            filch__stack_cache_rest(&worker->stacks[i]);
        worker->trim_tick = tick;
        do
            next = filch__stack_trim(worker->now);
        while (next == worker->now && !filch__worker_sees_any_work(worker) &&
               !filch__io_driver.is_ready(worker->lane));
        worker->trim_at = next;
    }
    return worker->trim_at;
}

static filch_time earlier(filch_time a, filch_time b)
{
    return a < b ? a : b;
}

/* After a park that was to end with a visit to the stacks: was it that, and nothing else? The one
 * wake-up of a waker that took us out of the sleepers may just have been used up, though what it
 * was for has gone elsewhere: then we are counted as searching, and must say that we do not. */
static bool may_sleep_on(struct filch__worker *worker, filch_time trim_at)
{
    worker->now = filch_now();
    return worker->now >= trim_at && filch__idle_is_sleeper(&worker->rt->idle, worker->index) &&
           filch__seat_is_active(&worker->seat) && !filch__worker_sees_any_work(worker) &&
           !filch__io_driver.is_ready(worker->lane);
}

/* A visit to the stacks is no reason to say
 * that one is awake: a wake that comes meanwhile ends the next sleep at once. */
void filch__worker_sleep(struct filch__worker *worker, filch_time limit)
{
    for (;;) {
        filch_time trim_at = filch__worker_trim(worker);
        filch_time until = earlier(limit, filch_load_relaxed(&worker->timers.next));

        filch__rcu_sleep();
        filch__io_driver.park(worker->lane, earlier(trim_at, until));
        filch__rcu_awake();
        if (trim_at >= until || !may_sleep_on(worker, trim_at))
            return;
    }
}

static void park(struct filch__worker *worker, filch_time until)
{
    struct filch_runtime *rt = worker->rt;
    bool duty;
    filch_time due = monitor_enlist(worker, &duty);

    filch_counter_add(&worker->stats.parks, 1);
    filch_store_relaxed(&worker->parked, 1);
    if (rt->opts.on_park)
        rt->opts.on_park(rt->opts.hook_arg);
    /* What the hook has made runnable is here, and has woken nobody. */
    if (!rt->opts.on_park || !filch__worker_sees_any_work(worker))
        filch__worker_sleep(worker, earlier(due, until));
    if (rt->opts.on_unpark)
        rt->opts.on_unpark(rt->opts.hook_arg);
    filch_store_relaxed(&worker->parked, 0);
    worker->slices.since = filch_now(); /* no task ran meanwhile */
    worker->searching = filch__idle_unpark(&rt->idle, worker->index);
    worker->woken = worker->searching;
    filch__watch_wake(rt);
    if (duty && monitor_do_duty(worker, due))
        return;
    /* About to work: somebody must watch over us. A searcher sees to that when it has found
     * something. */
    if (!worker->searching)
        filch__monitor_call(rt, worker->slices.since);
}

void filch__worker_idle(struct filch__worker *worker, filch_time until)
{
    struct filch_runtime *rt = worker->rt;

    if (!worker->searching)
        worker->searching = filch__idle_begin_search(&rt->idle);
    if (filch__runtime_seats(rt) > 1 && filch__fork_ask(worker))
        return;
    if (worker->searching && spin(worker))
        return;
    if (worker->woken) {
        worker->woken = false;
        filch_counter_add(&worker->stats.wakes_useless, 1);
    }
    filch__idle_park(&rt->idle, worker->index, worker->searching);
    worker->searching = false;
    if (filch__worker_sees_any_work(worker)) { /* [idle-park] [mailbox-park] [bound-park] */
        worker->searching = filch__idle_unpark(&rt->idle, worker->index);
        return;
    }
    park(worker, until);
}
