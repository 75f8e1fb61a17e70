/* The watch. Parked workers and those that pass help one that is stuck in a task within
 * milliseconds (worker_idle.c), as long as there is one of them. This thread is for when there is
 * none, and for what they cannot do: to have another worker. It belongs to no worker, so nothing
 * that tasks do can hold it up.
 *
 * Every 10 ms it compares each worker's tick with that of the look before. One that runs and has
 * not switched tasks since is
 *
 *     blocked   if its thread sleeps: in a system call, on a lock, on a page from the disk
 *     a hog     if its thread has used 5 ms of the CPU since then
 *     neither   if it had no CPU
 *
 * A blocked one uses no CPU, so another worker should have that: one is called in at once. From a
 * hog another worker would only take the CPU: one is called in if otherwise nobody were left to
 * serve the rest. One without CPU gets on as soon as it is its turn. Whoever announces that it will
 * block (filch_block_in_place) is blocked from that moment. A task that goes on like that for long
 * is named in the log (hog.c).
 *
 *     workers that should be at work = blocked + max(target - away, hogs + 1)
 *
 * target: as many as the runtime was started with; or fewer while the CPU quota, which is read
 * anew every second, allows fewer, unless the user has said how many. (While a quota is used up
 * before its period ends, workers do not spin either: throttle.h.) away: those that would only take
 * the CPU from the others (crowd.h); they go at once. The first ones stay, the last
 * ones go, after 100 ms in which they were too many, so that a task that blocks again and again
 * costs no change of seats (seat.h) each time. Spare workers stay for ever once they were needed:
 * their operations may be in flight, and a thread that waits costs next to nothing.
 *
 *   [watch-sleep] While all workers are parked it sleeps without a limit, after a while: an idle
 * runtime costs nothing. The first worker that goes to work wakes it.
 *
 *     the watch                               a worker that goes to work
 *     1 word = ASLEEP                         1 running + 1 (filch__idle_unpark, or its waker)
 *     2 is anybody running? word = AWAKE      2 is the word ASLEEP? word = POKED, wake
 *     3 futex wait while ASLEEP
 *
 * Both go through the idle word by read-modify-writes, in some order: whoever comes second sees
 * what the first one wrote before. Modelled: tests/model/model_seat.c.
 *   [watch-stop] Whoever ends it says so, then pokes it, with release; it takes each poke away with
 * acquire, and never overwrites one unread. Else it might sleep on, and be waited for, for ever.
 * Modelled: tests/model/model_end.c.
 *
 * Costs: a wake-up of some 5 us every 10 ms while anything runs (0.05 % of a CPU), two system
 * calls more for each worker that looks stuck, and for each worker one every 50 ms, and three more
 * while it may be in the way of another (every 200 ms while one is away).
 *
 * Rejected: signals to the worker (they interrupt system calls of the user's); a timer per worker;
 * letting parked workers do this (there may be none); handing the stuck worker's lane and queue to
 * another thread, as Go does with its P: the task holds pointers into them, and may come back any
 * time.
 */
#include "runtime/sched/watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "runtime/base/cpu.h"
#include "runtime/base/futex.h"
#include "runtime/base/proc.h"
#include "runtime/fork/fork.h"
#include "runtime/sched/hog.h"
#include "runtime/sched/seat.h"
#include "runtime/sched/thread.h"
#include "runtime/sched/worker.h"

#define LOOK_NS (10 * FILCH_MILLISECOND)
#define HOG_CPU_NS (5 * FILCH_MILLISECOND)
#define QUIET_NS (100 * FILCH_MILLISECOND) /* nobody runs: sleep */
#define SLACK_NS 5000L /* a slice is short (group_room.h), and the default is 50 us */
/* Whoever looks whether others compute too long must not wait until the kernel's own time slice is
 * over, 4 ms and more, on the CPU of just those. */
#define SLICE_NS (100 * FILCH_MICROSECOND)
#define QUOTA_NS FILCH_SECOND
#define SURPLUS_LOOKS 10 /* before a worker is sent away */

enum { WATCH_AWAKE, WATCH_POKED, WATCH_ASLEEP };

void filch__watch_poke(struct filch_runtime *rt)
{
    /* Release: who is poked to stop must see that it is to. [watch-stop] */
    if (filch_exchange_acq_rel(&rt->watch.word, WATCH_POKED) != WATCH_POKED)
        filch__futex_wake(&rt->watch.word, 1);
}

void filch__watch_wake(struct filch_runtime *rt)
{
    if (filch_load_relaxed(&rt->watch.word) == WATCH_ASLEEP) /* [watch-sleep] */
        filch__watch_poke(rt);
}

static uint64_t cpu_time(struct filch__worker *worker)
{
    struct timespec ts;
    clockid_t clock;

    if (pthread_getcpuclockid(worker->thread, &clock) || clock_gettime(clock, &ts))
        return 0;
    return (uint64_t)ts.tv_sec * FILCH_SECOND + (uint64_t)ts.tv_nsec;
}

/* Does the worker's thread wait for something but a CPU? Where /proc says nothing: no. */
static bool is_asleep(struct filch__worker *worker)
{
    char path[64], text[128];
    const char *end;

    snprintf(path, sizeof path, "/proc/self/task/%u/stat", filch_load_relaxed(&worker->thread_id));
    (void)filch__proc_read(path, text, sizeof text);
    end = strrchr(text, ')'); /* the name may hold anything */
    return end && (end[2] == 'S' || end[2] == 'D');
}

/* It has not switched tasks since the last look. */
static enum filch__stuck judge(struct filch__worker *worker)
{
    struct filch__watched *watched = &worker->watched;
    uint64_t cpu_ns = cpu_time(worker);

    if (is_asleep(worker))
        return FILCH_STUCK_BLOCKED;
    if (!watched->cpu_ns)
        watched->cpu_ns = cpu_ns;
    return cpu_ns - watched->cpu_ns >= HOG_CPU_NS ? FILCH_STUCK_HOG : FILCH_STUCK_NOT;
}

static enum filch__stuck look_at(struct filch__worker *worker, filch_time now)
{
    struct filch__watched *watched = &worker->watched;
    uint64_t tick = filch_load_relaxed(&worker->tick);
    bool runs = !filch_load_relaxed(&worker->parked);
    bool same = runs && watched->ran && tick == watched->tick;
    bool blocks = filch_load_relaxed(&worker->in_place); /* [in-place] */

    watched->tick = tick;
    watched->ran = runs;
    filch__hog_look(worker, same && !blocks, now);
    if (blocks)
        return FILCH_STUCK_BLOCKED;
    if (same) {
        filch_store_relaxed(&worker->budget, 0); /* it yields at its next operation */
        filch__fork_nudge(worker);               /* or join */
        return judge(worker);
    }
    watched->cpu_ns = 0;
    return FILCH_STUCK_NOT;
}

static void count(struct filch_runtime *rt, enum filch__stuck was, enum filch__stuck is)
{
    if (is == was)
        return;
    if (is == FILCH_STUCK_BLOCKED)
        filch_counter_add(&rt->watch.blocked, 1);
    else if (is == FILCH_STUCK_HOG)
        filch_counter_add(&rt->watch.hogs, 1);
}

/* A worker that was never there. */
static bool add_worker(struct filch_runtime *rt, unsigned index)
{
    int r = filch__runtime_fill_seat(rt, index);

    if (r == 0)
        return true;
    if (!rt->watch.has_complained)
        filch__log(&rt->log, FILCH_LOG_WARNING, "no spare worker for one that is stuck: %s",
                   filch_strerror(r));
    rt->watch.has_complained = true;
    return false;
}

static bool call_one(struct filch_runtime *rt)
{
    unsigned n = filch__runtime_seats(rt);

    for (unsigned i = 0; i < n; i++) {
        struct filch__worker *worker = &rt->worker[i];

        if (filch__seat_is_active(&worker->seat))
            continue;
        if (!worker->has_thread)
            return add_worker(rt, i);
        if (filch__seat_call(&worker->seat))
            filch__io_driver.unpark(worker->lane);
        return true;
    }
    if (n < rt->seats_max)
        return add_worker(rt, n);
    if (rt->seats_max > rt->workers && !rt->watch.has_complained) {
        rt->watch.has_complained = true;
        filch__log(
            &rt->log, FILCH_LOG_WARNING,
            "%u workers are stuck in tasks that block or compute, and all %u spare workers are "
            "in use: filch_blocking_spawn() has threads of its own",
            n, rt->seats_max - rt->workers);
    }
    return false;
}

static void dismiss_one(struct filch_runtime *rt)
{
    struct filch__watch *watch = &rt->watch;

    for (unsigned i = filch__runtime_seats(rt); i-- > 0;) {
        struct filch__worker *worker = &rt->worker[i];

        if (filch__seat_dismiss(&worker->seat)) {
            filch__io_driver.unpark(worker->lane);
            filch_counter_add(&watch->active, -1u);
            return;
        }
    }
}

/* Workers that should be at work while none is stuck. */
static unsigned free_target(const struct filch__watch *watch)
{
    return watch->target > watch->crowd.away ? watch->target - watch->crowd.away : 1;
}

/* As many workers as there should be. */
static void fill_seats(struct filch_runtime *rt, unsigned blocked, unsigned hogs)
{
    struct filch__watch *watch = &rt->watch;
    unsigned target = free_target(watch);
    unsigned free_ones = target > hogs ? target : hogs + 1;
    unsigned wanted = blocked + free_ones;
    unsigned active = filch_load_relaxed(&watch->active);

    if (active >= wanted) {
        watch->surplus_looks = active == wanted ? 0 : watch->surplus_looks + 1;
        if (watch->surplus_looks > SURPLUS_LOOKS)
            dismiss_one(rt);
        return;
    }
    watch->surplus_looks = 0;
    while (active < wanted && call_one(rt)) {
        active++;
        filch_counter_add(&watch->spares, blocked || hogs);
    }
    filch_store_relaxed(&watch->active, active);
}

/* A process that may not use all CPUs does not know whether one of its own is idle. */
static void note_cpus(struct filch_runtime *rt, unsigned allowed, filch_time now)
{
    struct filch__watch *watch = &rt->watch;

    watch->crowd_matters =
        rt->workers > 1 && !rt->opts.keep_workers && !rt->opts.bind_workers && allowed >= rt->cpus;
    if (!watch->crowd_matters)
        filch__crowd_end(&watch->crowd, now);
}

static void look_at_quota(struct filch_runtime *rt, filch_time now)
{
    struct filch__watch *watch = &rt->watch;
    struct filch__cpu_limits limits;

    if (now < watch->quota_at)
        return;
    watch->quota_at = now + QUOTA_NS;
    filch__cpu_limits(&limits);
    filch__throttle_note(&watch->throttle, limits.throttled, now);
    if (!rt->opts.workers)
        watch->target = limits.cpus < rt->workers ? limits.cpus : rt->workers;
    if (watch->crowd.away >= watch->target)
        watch->crowd.away = watch->target - 1;
    note_cpus(rt, limits.cpus, now);
}

/* Fewer threads than there are CPUs want to run, but us. */
static bool is_roomy(struct filch_runtime *rt)
{
    int running = filch__proc_running();

    return running >= 0 && running - 1 < (int)rt->cpus;
}

static struct filch__crowd_use use_of_all(struct filch_runtime *rt)
{
    struct filch__crowd_use use = {0};
    struct filch__driver_stats stats = {0};

    for (unsigned i = 0; i < filch__runtime_seats(rt); i++)
        if (rt->worker[i].has_thread)
            use.ran_ns += cpu_time(&rt->worker[i]);
    filch__io_driver.stats(rt->driver, &stats);
    use.served = stats.completions + stats.ops_direct;
    return use;
}

static void add_waits(struct filch_runtime *rt, struct filch__crowd_use *use)
{
    use->waits_known = true;
    for (unsigned i = 0; i < filch__runtime_seats(rt); i++)
        if (rt->worker[i].has_thread)
            use->waits_known &=
                filch__crowd_add_waits(use, filch_load_relaxed(&rt->worker[i].thread_id));
}

/* Do they take the CPU from each other? Groups have a use for each share of a CPU that there is.
 * @stuck: some do not get on, and that comes first. */
static void look_at_crowd(struct filch_runtime *rt, bool stuck, filch_time now)
{
    struct filch__crowd *crowd = &rt->watch.crowd;
    unsigned active = filch_load_relaxed(&rt->watch.active);
    struct filch__crowd_use use;

    if (!rt->watch.crowd_matters)
        return;
    if (stuck || filch_load_relaxed(&rt->grouped)) {
        filch__crowd_end(crowd, now);
        return;
    }
    /* Those that were called in for others are sent away first. */
    if (!filch__crowd_is_over(crowd, now) || active != free_target(&rt->watch))
        return;
    use = use_of_all(rt);
    use.roomy = crowd->away && is_roomy(rt);
    if (filch__crowd_wants_waits(crowd, now, &use, active))
        add_waits(rt, &use);
    if (filch__crowd_judge(crowd, now, &use, active))
        dismiss_one(rt);
}

static void look(struct filch_runtime *rt, filch_time now)
{
    unsigned blocked = 0, hogs = 0;

    look_at_quota(rt, now);
    for (unsigned i = 0; i < filch__runtime_seats(rt); i++) {
        struct filch__worker *worker = &rt->worker[i];
        enum filch__stuck stuck = look_at(worker, now);

        count(rt, worker->watched.stuck, stuck);
        worker->watched.stuck = stuck;
        /* One that was sent away holds no seat that another could have. */
        if (!filch__seat_is_active(&worker->seat))
            continue;
        blocked += stuck == FILCH_STUCK_BLOCKED;
        hogs += stuck == FILCH_STUCK_HOG;
    }
    look_at_crowd(rt, blocked || hogs, now);
    fill_seats(rt, blocked, hogs);
    /* Who goes to work does not call one each time. [monitor-left] */
    if (filch__idle_running(&rt->idle) && filch__monitor_is_missing(rt))
        filch__runtime_notify(rt);
}

/* Until when to wait for the next look. */
static filch_time next_look(struct filch_runtime *rt, filch_time now)
{
    struct filch__watch *watch = &rt->watch;

    if (filch__idle_running(&rt->idle)) {
        watch->quiet_since = 0;
        return now + LOOK_NS;
    }
    if (!watch->quiet_since)
        watch->quiet_since = now;
    /* Not before those that are too many have been sent away, or called back. */
    if (now - watch->quiet_since < QUIET_NS || watch->surplus_looks)
        return now + LOOK_NS;
    if (!watch->crowd.away)
        return FILCH_NEVER;
    filch__crowd_end(&watch->crowd, now);
    return now;
}

/* Return: was it poked? */
static bool wait_for_look(struct filch_runtime *rt, filch_time until)
{
    struct filch__watch *watch = &rt->watch;
    uint32_t state = WATCH_AWAKE;

    if (until == FILCH_NEVER) {
        state = WATCH_ASLEEP;
        /* [watch-sleep]: a poke that came before is answered by the look that follows. */
        if (filch_exchange_acquire(&watch->word, WATCH_ASLEEP) == WATCH_POKED ||
            filch__idle_running_now(&rt->idle)) {
            (void)filch_exchange_acquire(&watch->word, WATCH_AWAKE); /* [watch-stop] */
            return true;
        }
    }
    (void)filch__futex_wait(&watch->word, state, until);
    return filch_exchange_acquire(&watch->word, WATCH_AWAKE) == WATCH_POKED; /* [watch-stop] */
}

static void *watch_main(void *arg)
{
    struct filch_runtime *rt = arg;
    filch_time look_at = FILCH_NOW;

    filch__thread_name(rt, 'm', 0);
    (void)prctl(PR_SET_TIMERSLACK, SLACK_NS, 0, 0, 0);
    filch__thread_slice(SLICE_NS);
    while (!filch_load_acquire(&rt->watch.stop)) {
        filch_time now = filch_now(), tick_at = filch__group_tick(rt, now);

        if (now >= look_at) {
            look(rt, now);
            look_at = next_look(rt, now);
        }
        if (wait_for_look(rt, tick_at < look_at ? tick_at : look_at))
            look_at = FILCH_NOW;
    }
    return NULL;
}

int filch__watch_start(struct filch_runtime *rt)
{
    struct filch__watch *watch = &rt->watch;
    int r;

    watch->target = rt->workers;
    note_cpus(rt, filch__cpu_affinity(), FILCH_NOW); /* quotas are files: later */
    watch->quota_at = filch_after(QUOTA_NS);
    filch_atomic_init(&watch->active, rt->workers);
    r = filch__thread_create(&watch->thread, NULL, watch_main, rt);
    watch->has_thread = r == 0;
    return r;
}

void filch__watch_stop(struct filch_runtime *rt)
{
    if (!rt->watch.has_thread)
        return;
    filch_store_release(&rt->watch.stop, 1);
    filch__watch_poke(rt);
    pthread_join(rt->watch.thread, NULL);
    rt->watch.has_thread = false;
}
