/* See overrun.h.
 *
 * Slices: a worker whose tasks ran for more than 30 us each, at most of its last looks at the
 * clock, calls another one for what it queues, at once, as that would wait for longer than the call
 * takes. (250 us for who serves I/O: a burst of connections is slow for once, as each has its
 * system calls and a stack to be touched for the first time, and half of them, taken over then,
 * would stay with a second worker for good.) Otherwise it is called by the queue's delay, which is
 * only seen between two tasks.
 *
 * Delay: who serves I/O calls nobody while no CPU is idle, unless the same tasks have waited for
 * LATE_CROWDED looks, and else not before it was late LATE_WITH_ROOM times in a row: tasks that are
 * taken over stay where they are, as their operations complete there, so a call lasts. A look costs
 * 5 us, so there is a longer pause after one that found no CPU idle, or has called.
 *
 * Yields: four tasks that compute and yield each 5 us are never late, and would share one CPU for
 * ever. Who yields says that it has more to do, so where such tasks fill a worker for 200 us, and
 * it serves no I/O, another one is called. (Yields that an operation makes because the budget is
 * used up do not count: tasks that lock, send and receive wake each other, and are faster on one.)
 */
#include "runtime/sched/overrun.h"

#include <sys/resource.h>
#include <sys/time.h>

#include "runtime/base/proc.h"
#include "runtime/sched/worker.h"

#define PATIENCE_NS (50 * FILCH_MICROSECOND)
#define PATIENCE_SERVING_NS (250 * FILCH_MICROSECOND)
#define PATIENCE_CROWDED_NS (2 * FILCH_MILLISECOND)
#define PATIENCE_YIELDERS_NS (200 * FILCH_MICROSECOND)
#define SERVES_TICKS 256 /* after a look that found completions, or operations staged */
#define SLICE_LONG_NS (30 * FILCH_MICROSECOND)
#define SLICE_LONG_SERVING_NS PATIENCE_SERVING_NS
/* One long look may be an accident. */
#define SLOW_LOOKS 3
#define SLOW_LOOKS_MAX 6
/* Late so many times in a row, and each time a CPU was idle: then there is somebody to run a second
 * worker. A client that keeps a CPU half busy is asleep now and then, but not so many times. */
#define LATE_WITH_ROOM 16
/* The same tasks late so many times without a CPU that was idle: a second worker may bring a larger
 * share of them, at least. */
#define LATE_CROWDED 16
#define LATE_FORGOTTEN_NS (50 * FILCH_MILLISECOND)

static filch_time ns_of(struct timeval time)
{
    return (filch_time)time.tv_sec * FILCH_SECOND + (filch_time)time.tv_usec * FILCH_MICROSECOND;
}

struct filch__use filch__use_now(void)
{
    struct rusage usage = {0};

    (void)getrusage(RUSAGE_THREAD, &usage);
    return (struct filch__use){.cpu_ns = ns_of(usage.ru_utime) + ns_of(usage.ru_stime),
                               .preempted = (uint64_t)usage.ru_nivcsw};
}

/* They are, by the clock. Not if the thread lost its CPU meanwhile, and used little of it since it
 * was last asked. */
static bool are_long(struct filch__slices *slices, uint64_t tick, filch_time long_ns,
                     struct filch__use now)
{
    bool preempted = now.preempted != slices->use.preempted;
    filch_time used = now.cpu_ns - slices->use.cpu_ns;
    uint64_t ran = tick - slices->use_tick;

    slices->use = now;
    slices->use_tick = tick;
    return !preempted || used > ran * long_ns;
}

bool filch__slices_note(struct filch__slices *slices, uint64_t tick, filch_time now,
                        filch_time long_ns, struct filch__use (*use)(void))
{
    uint64_t ran = tick - slices->tick;
    bool long_ones = ran && now - slices->since > ran * long_ns;

    if (long_ones)
        long_ones = are_long(slices, tick, long_ns, use());
    if (long_ones && slices->long_looks < SLOW_LOOKS_MAX)
        slices->long_looks++;
    else if (ran && !long_ones && slices->long_looks > 0)
        slices->long_looks--;
    slices->tick = tick;
    slices->since = now;
    return slices->long_looks >= SLOW_LOOKS;
}

filch_time filch__lateness_patience(const struct filch__lateness *lateness, filch_time now)
{
    return now < lateness->rest_until ? PATIENCE_CROWDED_NS : PATIENCE_SERVING_NS;
}

bool filch__lateness_note(struct filch__lateness *lateness, filch_time now, bool crowded)
{
    bool call;

    if (now - lateness->noted_at > LATE_FORGOTTEN_NS)
        lateness->with_room = lateness->crowded = 0;
    lateness->noted_at = now;
    if (crowded) {
        lateness->with_room = 0;
        call = ++lateness->crowded >= LATE_CROWDED;
    } else {
        call = ++lateness->with_room >= LATE_WITH_ROOM;
    }
    if (call)
        lateness->crowded = 0;
    if (call || crowded)
        lateness->rest_until = now + PATIENCE_CROWDED_NS;
    return call;
}

bool filch__yielders_note(struct filch__yielders *yielders, uint64_t tick, filch_time now,
                          bool queued)
{
    uint64_t ran = tick - yielders->tick;
    bool call;

    if (ran == 0)
        return false;
    yielders->many = queued && 2 * (yielders->yields - yielders->counted) > ran;
    yielders->counted = yielders->yields;
    yielders->tick = tick;
    call = yielders->many && now - yielders->since > PATIENCE_YIELDERS_NS;
    if (call || !yielders->many)
        yielders->since = now;
    return call;
}

bool filch__cpus_are_busy(unsigned cpus)
{
    return filch__proc_running() >= (int)cpus;
}

/* Does it serve I/O, or has it lately? */
static bool serves(struct filch__worker *worker)
{
    uint64_t tick = filch_load_relaxed(&worker->tick);

    if (worker->completions != worker->behind_completions ||
        filch__io_driver.staged(worker->lane)) {
        worker->behind_completions = worker->completions;
        worker->serves_until = tick + SERVES_TICKS;
    }
    return tick < worker->serves_until;
}

/* How long the queue's head may wait. Tasks that keep each other busy, or one that spawns and does
 * not suspend, should be helped at once: another core doubles their pace. For a worker that serves
 * I/O a second one costs more than it brings until the first is really overrun: measured on two
 * cores shared with the client, 50 connections of 64 B: 94k messages/s with a p99 of 4.3 ms when
 * helped after 50 us, 157k and 0.6 ms when helped after milliseconds. */
static bool is_late(struct filch__worker *worker)
{
    filch_time waited = worker->now - worker->behind_since;

    if (!serves(worker))
        return waited > PATIENCE_NS;
    if (waited <= filch__lateness_patience(&worker->lateness, worker->now))
        return false;
    worker->behind_since = worker->now;
    return filch__lateness_note(&worker->lateness, worker->now,
                                filch__cpus_are_busy(worker->rt->cpus));
}

static void call_help(struct filch__worker *worker)
{
    filch_store_relaxed(&worker->behind, 1); /* [idle-park]: then the idle word, in notify */
    worker->behind_since = worker->now;
    filch__runtime_notify(worker->rt);
}

/* The queue is measured by its delay, not its length: what was queued at behind_since must have
 * been run when patience ends. */
void filch__worker_check_behind(struct filch__worker *worker)
{
    uint64_t length = filch__worker_queued(worker);
    uint64_t tick = filch_load_relaxed(&worker->tick);

    worker->now = filch_now();
    if (filch__runtime_seats(worker->rt) == 1)
        return;
    if (filch__yielders_note(&worker->yielders, tick, worker->now, length > 0) && !serves(worker)) {
        call_help(worker);
    } else if (length == 0 || tick >= worker->behind_mark) {
        if (filch_load_relaxed(&worker->behind) && !worker->yielders.many)
            filch_store_relaxed(&worker->behind, 0);
        worker->behind_mark = length ? tick + length : 0;
        worker->behind_since = worker->now;
        worker->lateness.crowded = 0;
    } else if (is_late(worker)) {
        call_help(worker);
    }
}

void filch__worker_note_slices(struct filch__worker *worker)
{
    if (filch__runtime_seats(worker->rt) == 1)
        return;
    worker->slow = filch__slices_note(
                       &worker->slices, filch_load_relaxed(&worker->tick), worker->now,
                       serves(worker) ? SLICE_LONG_SERVING_NS : SLICE_LONG_NS, filch__use_now) ||
                   worker->rt->chaos;
}
