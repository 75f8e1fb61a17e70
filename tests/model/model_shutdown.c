/* Description: the end of a runtime (runtime/sched/shutdown.c with live.c and gate.h): shutdown
 * against a worker that runs, spawns and parks tasks, against a thread that spawns from outside,
 * against a job that ends elsewhere, and against a shutdown that gives up. When shutdown returns,
 * all that was let in has run to its end, what it wrote is visible, and nobody uses the runtime's
 * memory after it was freed. The steps of tasks around that are those of runtime/task (spawn.c,
 * wake.c, end.c); the worker has a queue of a few slots.
 *
 * The end of a task and the beginning of a shutdown do not order each other: counting an end would
 * need a fence for it. The first may miss that there is a shutdown, and not wake it; it finds out
 * by itself, since it looks again after a while. That this is needed is modelled, too. */
#define FILCH_BASE_FUTEX_H /* the model's own */
#include "runtime/base/atomic.h"

#include <sched.h>
#include <stdlib.h>

#include <filch/base.h>

#define sched_yield() filch_cpu_relax()

static int filch__futex_wait(filch_atomic_u32 *word, uint32_t value, filch_time until);
static void filch__futex_wake(filch_atomic_u32 *word, int threads);

#include "runtime/sched/shutdown.c"

#include "runtime/sched/live.c"

#include "tests/model/explore.h"

enum { SLOTS = 4 };

static struct filch_runtime rt;
static struct filch__worker worker;
static struct filch__task parked; /* one task, and its word */

static filch_atomic_u32 queue[SLOTS]; /* 1: a task to be run; carries it */
static filch_atomic_u32 worker_done;
static int memory;         /* what is freed at the end */
static int effects[SLOTS]; /* of the tasks that ran */
static int expected;       /* tasks that were let in */
static int ran;
static bool worker_rests; /* it waits, and found nothing */
static bool outside_done;
static bool parks;    /* the first task waits for the shutdown */
static bool no_looks; /* shutdown does not look by itself */
static filch_time now;

/* ---- futex: the kernel's lock makes the comparison and the sleep one ---- */

static filch_spinlock bucket;
static bool sleeping;

static bool wakes_up(void *arg)
{
    (void)arg;
    for (int i = 0; i < SLOTS; i++)
        if (xp_peek(&queue[i].location))
            return true;
    return xp_peek(&rt.exiting.location) != 0;
}

static bool may_go_on(void *until)
{
    bool nothing_moves = worker_rests && !wakes_up(NULL) && outside_done;

    return !sleeping || (!no_looks && until && nothing_moves);
}

static int filch__futex_wait(filch_atomic_u32 *word, uint32_t value, filch_time until)
{
    filch_spinlock_lock(&bucket);
    if (xp_peek(&word->location) != value) {
        filch_spinlock_unlock(&bucket);
        return 0;
    }
    sleeping = true;
    filch_spinlock_unlock(&bucket);
    xp_block_until(may_go_on, until == FILCH_NEVER ? NULL : &now);
    if (!sleeping)
        return 0;
    sleeping = false;
    now = until;
    /* What was written that long ago is visible. */
    (void)filch_fetch_add_relaxed(&worker.stats.finished, 0);
    (void)filch_fetch_add_relaxed(&rt.outside_finished, 0);
    return -ETIMEDOUT;
}

static void filch__futex_wake(filch_atomic_u32 *word, int threads)
{
    (void)word;
    (void)threads;
    filch_spinlock_lock(&bucket);
    sleeping = false;
    filch_spinlock_unlock(&bucket);
}

/* ---- what shutdown.c asks of the others ---- */

filch_time filch_now(void)
{
    return now;
}

filch_time filch_after(filch_time span)
{
    return now + span;
}

void filch__throw(const char *what)
{
    xp_fail(what);
    abort();
}

void filch__log(const struct filch__log *log, filch_log_level level, const char *format, ...)
{
    (void)log;
    (void)level;
    (void)format;
}

const char *filch__wait_name(enum filch__wait reason)
{
    (void)reason;
    return "";
}

static struct filch__worker *self(void)
{
    return xp_thread() == 1 ? &worker : NULL;
}

filch_task *filch_task_self(void)
{
    return NULL;
}

filch_runtime *filch_runtime_self(void)
{
    return self() ? &rt : NULL;
}

struct filch__pool filch__task_pool;

void filch__pool_each(struct filch__pool *pool, void (*fn)(void *object, void *arg), void *arg)
{
    (void)pool;
    if (parks)
        fn(&parked, arg);
}

static int pool_is_ended; /* by one at a time, in turn */
static bool hook_hangs;   /* for who comes first */

int filch__blocking_pool_fini(struct filch__blocking_pool *pool, filch_time until)
{
    bool hung = hook_hangs;

    (void)pool;
    (void)until;
    filch_plain_write(&pool_is_ended);
    hook_hangs = false;
    return hung ? -ETIMEDOUT : 0;
}

void filch__watch_stop(struct filch_runtime *runtime)
{
    (void)runtime;
}

void filch__drive_out(struct filch_runtime *runtime, filch_time until)
{
    (void)runtime;
    (void)until;
}

void filch__drive_end(struct filch_runtime *runtime)
{
    (void)runtime;
}

const struct filch__driver_ops filch__io_driver;

static bool worker_has_left(void *arg)
{
    (void)arg;
    return xp_peek(&worker_done.location) != 0;
}

/* filch__runtime_end_workers(): unparks and joins. */
void filch__runtime_end_workers(struct filch_runtime *runtime)
{
    filch_store_release(&runtime->exiting, 1);
    xp_block_until(worker_has_left, NULL);
    (void)filch_exchange_acquire(&worker_done, 2);
}

void filch__registry_delist(struct filch_runtime *runtime)
{
    (void)runtime;
}

void filch__registry_give(struct filch_runtime *runtime)
{
    (void)runtime;
}

void filch__runtime_free(struct filch_runtime *runtime)
{
    (void)runtime;
    filch_plain_write(&memory);
}

void filch__depot_empty(void)
{
}

/* ---- tasks: runtime/task ---- */

static void uses_memory(void)
{
    filch_plain_read(&memory);
}

static void put(void)
{
    for (int i = 0; i < SLOTS; i++) {
        uint32_t empty = 0;

        if (filch_cas_acq_rel(&queue[i], &empty, 1))
            return;
    }
    xp_fail("the queue is too small");
}

static bool take(void)
{
    for (int i = 0; i < SLOTS; i++)
        if (xp_peek(&queue[i].location) && filch_exchange_acq_rel(&queue[i], 0))
            return true;
    return false;
}

/* filch__task_new() and filch__task_start(). */
static bool spawn(void)
{
    if (filch_load_relaxed(&rt.stopping))
        return false;
    uses_memory();
    expected++;
    if (self())
        filch_counter_add(&worker.stats.spawned, 1);
    else
        filch_fetch_add_acq_rel(&rt.outside_spawned, 1);
    put();
    return true;
}

/* The end of a body, and count_finished(). */
static void finish(void)
{
    filch_plain_write(&effects[ran]);
    effects[ran++] = 1;
    if (self())
        filch_store_release(&worker.stats.finished, filch_load_relaxed(&worker.stats.finished) + 1);
    else
        filch_fetch_add_acq_rel(&rt.outside_finished, 1);
    if (filch_load_relaxed(&rt.stopping))
        filch__runtime_finished(&rt);
}

/* By a thread that is no worker, so it counts as one inside [foreign-wake]. */
void filch__task_wake(struct filch__task *task, uint64_t generation)
{
    filch_fetch_add_seq_cst(&rt.wakers, 1);
    if (filch__state_wake(&task->state, generation) == FILCH_WAKE_QUEUE) {
        uses_memory();
        put();
        uses_memory(); /* wakes a worker */
    }
    filch_fetch_sub_seq_cst(&rt.wakers, 1);
}

/* A task that waits for its cancel. Return: has it seen it? Else it is parked. */
static bool waits_for_the_end(void)
{
    while (!filch_load_relaxed(&rt.stopping))
        if (filch__state_park(&parked.state) == FILCH_PARK_PARKED)
            return false;
    return true;
}

/* Whatever comes, until the runtime exits. */
static void works(bool is_parked)
{
    for (;;) {
        uses_memory();
        if (take()) {
            if (is_parked) {
                filch__state_pick(&parked.state);
                is_parked = !waits_for_the_end();
            }
            if (!is_parked)
                finish();
            continue;
        }
        if (filch_load_acquire(&rt.exiting))
            break;
        worker_rests = true;
        xp_block_until(wakes_up, NULL);
        worker_rests = false;
    }
    worker_rests = true;
    filch_store_release(&worker_done, 1);
}

/* ---- threads ---- */

static void shuts_down(void)
{
    xp_assert(filch_runtime_shutdown(&rt, FILCH_NEVER) == 0);
    xp_assert(ran == expected);
    for (int i = 0; i < expected; i++)
        filch_plain_read(&effects[i]);
}

static bool nobody_shuts_down(void *arg)
{
    (void)arg;
    return xp_peek(&rt.closing.location) != FILCH__CLOSE_BUSY;
}

/* And again, if that was too early. Who is told that it is over may take down what the runtime's
 * end has used: the data of a hook, say. */
static void shuts_down_again(void)
{
    int r;

    while ((r = filch_runtime_shutdown(&rt, FILCH_NEVER)) == -EBUSY)
        xp_block_until(nobody_shuts_down, NULL);
    xp_assert(r == 0 || r == -ETIMEDOUT || r == -ESHUTDOWN);
    if (r == -ETIMEDOUT)
        (void)!filch_runtime_shutdown(&rt, FILCH_NEVER);
    if (r == -ESHUTDOWN)
        filch_plain_write(&pool_is_ended);
}

static void runs_what_comes(void)
{
    works(false);
}

static void runs_one(void)
{
    finish();
    works(false);
}

static void runs_one_that_spawns(void)
{
    (void)spawn();
    finish();
    works(false);
}

static void runs_one_that_parks(void)
{
    bool is_parked = !waits_for_the_end();

    if (!is_parked)
        finish();
    works(is_parked);
}

static void spawns_from_outside(void)
{
    if (filch__gate_enter(&rt.callers, &rt.stopping)) {
        (void)spawn();
        filch__gate_leave(&rt.callers);
    }
    outside_done = true;
}

/* A blocking job: it ends on a thread of its own. */
static void ends_a_job(void)
{
    finish();
    outside_done = true;
}

/* Somebody else's thread, late or early. */
static void wakes_from_outside(void)
{
    if (!(filch_load_relaxed(&parked.state) & FILCH_TASK_DONE))
        filch__task_wake(&parked, 0);
    outside_done = true;
}

static void reset_n(int tasks_of_worker, int jobs)
{
    struct filch__worker *array = &worker;

    memset(&rt, 0, sizeof rt);
    memset(&worker, 0, sizeof worker);
    rt.workers = 1;
    rt.worker = array;
    filch_atomic_init(&rt.wakers, 0);
    filch_atomic_init(&rt.callers, 0);
    filch_atomic_init(&rt.seats, 1);
    filch_atomic_init(&rt.stopping, 0);
    filch_atomic_init(&rt.exiting, 0);
    filch_atomic_init(&rt.finish_seen, 0);
    filch_atomic_init(&rt.closing, 0);
    filch_atomic_init(&rt.outside_spawned, (uint64_t)jobs);
    filch_atomic_init(&rt.outside_finished, 0);
    filch_atomic_init(&worker.stats.spawned, (uint64_t)tasks_of_worker);
    filch_atomic_init(&worker.stats.finished, 0);
    filch_atomic_init(&worker_done, 0);
    filch_atomic_init(&parked.state, 0);
    filch_atomic_init(&parked.rt, &rt);
    for (int i = 0; i < SLOTS; i++)
        filch_atomic_init(&queue[i], 0);
    expected = tasks_of_worker + jobs;
    ran = 0;
    now = 1;
    sleeping = worker_rests = parks = no_looks = hook_hangs = false;
    outside_done = true;
    filch_spinlock_init(&bucket);
}

static void reset_one(void)
{
    reset_n(1, 0);
}

static void reset_outside(void)
{
    reset_n(0, 0);
    outside_done = false;
}

static void reset_job(void)
{
    reset_n(0, 1);
    outside_done = false;
}

static void reset_parked(void)
{
    reset_n(1, 0);
    parks = true;
}

static void reset_wake(void)
{
    reset_parked();
    outside_done = false;
}

static void reset_hook(void)
{
    reset_n(0, 0);
    hook_hangs = true;
}

static void reset_no_looks(void)
{
    reset_n(1, 0);
    no_looks = true;
}

static void all_is_over(void)
{
    xp_assert(ran == expected);
    xp_assert(xp_peek(&rt.closing.location) == FILCH__CLOSE_OVER);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"a task that spawns",
         2,
         {shuts_down, runs_one_that_spawns},
         reset_one,
         all_is_over,
         2,
         false},
        {"a spawn from outside",
         3,
         {shuts_down, runs_what_comes, spawns_from_outside},
         reset_outside,
         all_is_over,
         2,
         false},
        {"a job that ends elsewhere",
         3,
         {shuts_down, runs_what_comes, ends_a_job},
         reset_job,
         all_is_over,
         2,
         false},
        {"a task that parks",
         2,
         {shuts_down, runs_one_that_parks},
         reset_parked,
         all_is_over,
         2,
         false},
        {"a wake from outside",
         3,
         {shuts_down, runs_one_that_parks, wakes_from_outside},
         reset_wake,
         all_is_over,
         1,
         false},
        {"a shutdown that gives up, and another",
         3,
         {shuts_down_again, runs_what_comes, shuts_down_again},
         reset_hook,
         all_is_over,
         2,
         false},
        {"a shutdown that does not look again",
         2,
         {shuts_down, runs_one},
         reset_no_looks,
         all_is_over,
         2,
         true},
    };
    static const struct xp_excuse excuses[] = {
        {"put cas_acq_rel -> acquire", "the model's own: a task's effects are of its end"},
        {"put cas_acq_rel -> release", "the model's own"},
        {"take exchange_acq_rel -> acquire", "the model's own"},
        {"take exchange_acq_rel -> release", "the model's own"},
        {"filch__runtime_end_workers store_release -> relaxed", "the model's own"},
        {"spawn fetch_add_acq_rel -> acquire", "the gate publishes it, or the parent's end"},
        {"spawn fetch_add_acq_rel -> release", "it takes nothing over"},
        {"finish fetch_add_acq_rel -> release", "it takes nothing over but other ends, whose chain "
                                                "goes on"},
        {"filch__task_wake fetch_add_seq_cst -> acq_rel",
         "the end of the task that was woken carries it"},
        {"filch__task_wake fetch_sub_seq_cst -> acq_rel", "a release is all that it is"},
        {"stop_all load_seq_cst -> acquire", "the end of the task that was woken carries the add"},
        {"works load_acquire -> relaxed", "the model's own: the worker takes nothing over"},
        {"filch__runtime_finished exchange_seq_cst -> acq_rel",
         "two read-modify-writes of one word: acq_rel would do"},
        {"end_tasks exchange_seq_cst -> acq_rel",
         "two read-modify-writes of one word: acq_rel would do"},
        {"spawned_so_far load_acquire -> relaxed", "old numbers are those of tasks whose end was "
                                                   "not counted either: the end, the gate or the "
                                                   "parent carries them"},
        {"filch__runtime_seats load_acquire -> relaxed", "no worker comes: see model_seat"},
        {"filch__gate_leave fetch_sub_acq_rel -> release", "see model_gate"},
        {"filch_runtime_shutdown cas_acq_rel -> acquire",
         "that somebody is at it hands nothing over"},
        {"wake_if_ours load_acquire -> relaxed",
         "whose the block is: it changes hands with its generation, which is not modelled"},
        {"filch__state_pick load_acquire -> relaxed", "see model_state"},
        {"filch__state_park cas_weak_acq_rel -> acquire", "see model_state"},
        {"filch__state_park cas_weak_acq_rel -> release", "see model_state"},
        {"filch__state_wake cas_weak_acq_rel -> acquire", "see model_state"},
        {"filch__state_wake cas_weak_acq_rel -> release", "see model_state"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
