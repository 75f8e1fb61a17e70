/* The runtime around the sources that model_end.c is about: two workers, whose queues are words
 * with a bit for each task, and what the sources ask of others. The steps are those of worker.c,
 * worker_idle.c, runtime.c and mailbox.c. */
#ifndef FILCH_TESTS_MODEL_END_H
#define FILCH_TESTS_MODEL_END_H

#define FILCH_BASE_FUTEX_H /* the model's own */
#include "runtime/base/atomic.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <filch/base.h>

#include "io/unpark.h"
#include "runtime/sched/duty.h"
#include "runtime/sched/worker.h"

static int joins(pthread_t thread);
static struct filch__task *takes_own(struct filch__run_queue *queue);
static int filch__futex_wait(filch_atomic_u32 *word, uint32_t value, filch_time until);
static void filch__futex_wake(filch_atomic_u32 *word, int threads);

#define sched_yield() filch_cpu_relax()
#define pthread_join(thread, result) joins(thread)
#define pthread_getcpuclockid(thread, clock) ((void)(thread), (void)(clock), ENOENT)
#define filch__run_queue_pop(queue) takes_own(queue)

#include "runtime/sched/shutdown.c"

#include "runtime/sched/watch.c"

#include "runtime/sched/reserve.c"

#include "runtime/sched/idle.c"

#include "tests/model/explore.h"
#include "tests/model/model_end_others.h"

enum { SHUTDOWN, WATCH, FIRST, SECOND, WORKERS = 2 }; /* threads */
enum { STUCK, OTHER, PINNED, TASKS };                 /* STUCK ends when OTHER has run */

static struct filch_runtime rt;
static struct filch__worker workers[WORKERS];
static struct filch__task tasks[TASKS];
static struct {
    filch_atomic_u32 unparked; /* io/unpark.h */
    bool event;                /* the eventfd; model_unpark.c is about when it is written */
    filch_atomic_u32 own, mail, posted; /* a bit for each task; `posted` by the kernel */
    filch_spinlock reap;
} lane[WORKERS];
static filch_atomic_u32 injected;
static filch_atomic_u32 finished;    /* tasks; of all workers together */
static filch_atomic_u32 parked_task; /* 1: the pinned one waits, to be woken by the shutdown */
static filch_atomic_u32 gone[XP_THREADS], created;
static int memory;         /* what is freed at the end */
static int effects[TASKS]; /* of those that ran */
static int visited;        /* by the monitor; guarded by its duty */
static unsigned expected, ran;
static bool has_stuck, over;

static void uses_memory(void)
{
    filch_plain_read(&memory);
}

static unsigned index_of(const struct filch__worker *worker)
{
    return (unsigned)(worker - workers);
}

/* ---- words of tasks ---- */

/* Return: was it empty? */
static bool put(filch_atomic_u32 *word, unsigned task)
{
    return filch_fetch_add_relaxed(word, (uint32_t)1 << task) == 0;
}

/* Whether there is any is a look that costs no step: who must not miss it looks in another way. */
static struct filch__task *take(filch_atomic_u32 *word)
{
    uint32_t there = (uint32_t)xp_peek(&word->location);

    while (there)
        if (filch_cas_weak_relaxed(word, &there, there & (there - 1)))
            return &tasks[__builtin_ctz(there)];
    return NULL;
}

static void move_all(filch_atomic_u32 *from, filch_atomic_u32 *to)
{
    uint32_t there = (uint32_t)xp_peek(&from->location);

    while (there && !filch_cas_weak_relaxed(from, &there, 0))
        ;
    if (there)
        filch_fetch_add_relaxed(to, there);
}

static struct filch__task *takes_own(struct filch__run_queue *queue)
{
    return take(&lane[filch_container_of(queue, struct filch__worker, queue) - workers].own);
}

struct filch__task *filch__mailbox_take(struct filch__mailbox *mailbox)
{
    return take(&lane[filch_container_of(mailbox, struct filch__worker, mailbox) - workers].mail);
}

bool filch__mailbox_is_empty(struct filch__mailbox *mailbox)
{
    return !filch_load_relaxed(
        &lane[filch_container_of(mailbox, struct filch__worker, mailbox) - workers].mail);
}

bool filch__inject_push(struct filch__inject *inject, struct filch__task *task)
{
    (void)inject;
    return put(&injected, (unsigned)(task - tasks));
}

/* ---- futexes: the kernel's lock makes the comparison and the sleep one ---- */

static filch_spinlock bucket;
static bool sleeps_on_end, sleeps_on_word;

static bool all_have_run(void *arg)
{
    (void)arg;
    return ran == expected;
}

/* An end may have missed that there is a shutdown, which then looks again by itself. */
static bool end_comes(void *arg)
{
    return !sleeps_on_end || all_have_run(arg);
}

static bool poke_comes(void *arg)
{
    (void)arg;
    return !sleeps_on_word;
}

static int filch__futex_wait(filch_atomic_u32 *word, uint32_t value, filch_time until)
{
    bool *sleeps = word == &rt.finish_seen ? &sleeps_on_end : &sleeps_on_word;

    (void)until;
    filch_spinlock_lock(&bucket);
    *sleeps = xp_peek(&word->location) == value;
    filch_spinlock_unlock(&bucket);
    if (!*sleeps)
        return 0;
    xp_block_until(word == &rt.finish_seen ? end_comes : poke_comes, NULL);
    if (word == &rt.finish_seen) /* what was written that long ago is visible */
        (void)filch_fetch_add_relaxed(&finished, 0);
    return 0;
}

static void filch__futex_wake(filch_atomic_u32 *word, int threads)
{
    (void)threads;
    filch_spinlock_lock(&bucket);
    *(word == &rt.finish_seen ? &sleeps_on_end : &sleeps_on_word) = false;
    filch_spinlock_unlock(&bucket);
}

uint64_t filch__runtime_live(struct filch_runtime *runtime)
{
    (void)runtime;
    return expected - filch_load_acquire(&finished);
}

void filch__runtime_free(struct filch_runtime *runtime)
{
    (void)runtime;
    filch_plain_write(&memory);
}

/* ---- threads ---- */

static bool has_gone(void *thread)
{
    return xp_peek(&gone[(uintptr_t)thread].location) != 0;
}

static int joins(pthread_t thread)
{
    xp_block_until(has_gone, (void *)(uintptr_t)thread);
    (void)filch_exchange_acquire(&gone[thread], 2);
    return 0;
}

static void goes(void)
{
    filch_store_release(&gone[xp_thread()], 1);
}

static void unparks(struct filch__lane *of)
{
    unsigned i = (unsigned)((uintptr_t)of - 1);

    uses_memory();
    if (filch__unpark_begin(&lane[i].unparked))
        lane[i].event = true;
}

const struct filch__driver_ops filch__io_driver = {.unpark = unparks};

/* runtime.c. */
void filch__runtime_end_workers(struct filch_runtime *runtime)
{
    unsigned n = filch__runtime_seats(runtime);

    filch_store_release(&runtime->exiting, 1);
    for (unsigned i = 0; i < n; i++)
        unparks(runtime->worker[i].lane);
    for (unsigned i = 0; i < n; i++)
        if (runtime->worker[i].has_thread)
            pthread_join(runtime->worker[i].thread, NULL);
}

/* runtime.c. */
int filch__runtime_fill_seat(struct filch_runtime *runtime, unsigned index)
{
    struct filch__worker *worker = &runtime->worker[index];

    filch__idle_grow(&runtime->idle);
    filch_store_release(&runtime->seats, index + 1); /* [seat-new] */
    filch__idle_join(&runtime->idle);
    filch_store_relaxed(&worker->parked, 0);
    (void)filch__seat_call(&worker->seat);
    worker->has_thread = true;
    filch_store_release(&created, 1); /* pthread_create() */
    return 0;
}

/* ---- workers: worker.c, worker_idle.c ---- */

void filch__runtime_notify(struct filch_runtime *runtime)
{
    int index = filch__idle_pick(&runtime->idle);

    if (index >= 0)
        unparks(runtime->worker[index].lane);
}

bool filch__worker_sees_work(struct filch__worker *worker)
{
    return filch_load_relaxed(&injected) || xp_peek(&lane[index_of(worker)].own.location) ||
           filch_load_relaxed(&rt.exiting);
}

/* Whoever goes to work calls somebody who watches each time: fewer calls change nothing that is
 * looked at here, as the watch makes up for them (model_monitor.c). */
bool filch__monitor_is_missing(struct filch_runtime *runtime)
{
    return filch__runtime_seats(runtime) > 1 && filch__duty_is_free(&runtime->monitor);
}

static bool other_has_run(void *arg)
{
    (void)arg;
    return effects[OTHER] != 0;
}

/* The end of a body, and count_finished() in end.c. */
static void finish(unsigned task)
{
    filch_plain_write(&effects[task]);
    xp_assert(!effects[task]);
    effects[task] = 1;
    filch_fetch_add_release(&finished, 1);
    ran++;
    if (filch_load_relaxed(&rt.stopping))
        filch__runtime_finished(&rt);
}

void filch__worker_run(struct filch__worker *worker, struct filch__task *task)
{
    if (worker->searching) { /* found_work() */
        worker->searching = false;
        if (filch__idle_end_search(&rt.idle) &&
            (filch__worker_sees_work(worker) || filch__monitor_is_missing(&rt)))
            filch__runtime_notify(&rt);
    }
    if (task == &tasks[STUCK])
        xp_block_until(other_has_run, NULL);
    uses_memory();
    finish((unsigned)(task - tasks));
}

/* ---- parking, and the monitor ---- */

static bool event_or_help_is_due(void *arg)
{
    struct filch__worker *worker = arg;
    unsigned self = index_of(worker);

    return lane[self].event || (worker->monitor_ns && (xp_peek(&lane[!self].own.location) ||
                                                       xp_peek(&lane[!self].posted.location)));
}

/* Only who has the duty comes back before it is woken, once, to make the visit that is needed. */
void filch__worker_sleep(struct filch__worker *worker, filch_time limit)
{
    unsigned self = index_of(worker);

    worker->monitor_ns = limit != FILCH_NEVER;
    xp_block_until(event_or_help_is_due, worker);
    worker->monitor_ns = 0;
    if (!lane[self].event)
        return;
    lane[self].event = false;
    filch__unpark_end(&lane[self].unparked);
}

/* filch__lane_rescue(): what completes wakes its task here. */
static void rescue(unsigned victim, unsigned self)
{
    uses_memory();
    if (!xp_peek(&lane[victim].posted.location) || !filch_spinlock_try(&lane[victim].reap))
        return;
    move_all(&lane[victim].posted, &lane[self].own);
    filch_spinlock_unlock(&lane[victim].reap);
}

static bool monitor_visit(struct filch__worker *worker)
{
    unsigned self = index_of(worker);

    filch_plain_write(&visited);
    if (xp_peek(&workers[!self].parked.location))
        return false;
    move_all(&lane[!self].own, &lane[self].own);
    rescue(!self, self);
    return xp_peek(&lane[self].own.location) != 0;
}

/* Return: does it park again at once? */
static bool monitor_do_duty(struct filch__worker *worker)
{
    bool found = monitor_visit(worker);

    filch__duty_give(&rt.monitor);
    return !found;
}

static void park(struct filch__worker *worker)
{
    bool duty = filch__runtime_seats(&rt) > 1 && filch__duty_take(&rt.monitor);

    filch_store_relaxed(&worker->parked, 1);
    filch__worker_sleep(worker, duty ? filch_now() : FILCH_NEVER);
    filch_store_relaxed(&worker->parked, 0);
    worker->searching = filch__idle_unpark(&rt.idle, worker->index);
    filch__watch_wake(&rt);
    if (duty && monitor_do_duty(worker))
        return;
    if (!worker->searching && filch__monitor_is_missing(&rt))
        filch__runtime_notify(&rt);
}

static void idles(struct filch__worker *worker)
{
    if (!worker->searching)
        worker->searching = filch__idle_begin_search(&rt.idle);
    filch__idle_park(&rt.idle, worker->index, worker->searching);
    worker->searching = false;
    if (filch__worker_sees_work(worker) || !filch__mailbox_is_empty(&worker->mailbox)) {
        worker->searching = filch__idle_unpark(&rt.idle, worker->index);
        return;
    }
    park(worker);
}

/* filch__worker_main(). */
static void works(struct filch__worker *worker)
{
    while (!filch_load_acquire(&rt.exiting)) {
        struct filch__task *task;

        uses_memory();
        if (!filch__seat_is_active(&worker->seat))
            filch__worker_sit_out(worker);
        if ((task = filch__mailbox_take(&worker->mailbox)) || (task = takes_own(&worker->queue)) ||
            (task = take(&injected)))
            filch__worker_run(worker, task);
        else
            idles(worker);
    }
    uses_memory();
    goes();
}

#endif
