/* Start and end of a runtime, spawning from outside, and the numbers.
 *
 * Shutdown: (1) stopping is set: spawns are refused, and every task is cancelled, because each look
 * at its own cancellation looks at stopping too; (2) all parked tasks are woken so that they look:
 * control blocks live in a pool of the process, which can be walked; again and again until none is
 * left, for a task may park after the walk has passed it; (3) the blocking pool drains; (4) workers
 * leave their loops; (5) memory is freed. Nothing is freed before (4) is complete, so a straggler
 * costs its memory, never a crash.
 */
#include "runtime/sched/worker.h"
#include "runtime/task/overflow.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/cpu.h"
#include "runtime/base/futex.h"

#define BLOCKING_THREADS_DEFAULT 512
#define BLOCKING_KEEP_ALIVE_DEFAULT (10 * FILCH_SECOND)
#define STOP_LOOK_NS (5 * FILCH_MILLISECOND)

const char *filch_version(void)
{
    return FILCH_VERSION;
}

static void worker_init(struct filch_runtime *rt, unsigned index)
{
    struct filch__worker *worker = &rt->worker[index];

    worker->rt = rt;
    worker->index = index;
    worker->random = index * 2654435761u + 1;
    worker->spin_score = 1;
    worker->now = filch_now();
    worker->lane = filch__uring_driver.lane(rt->driver, index);
    filch__run_queue_init(&worker->queue);
    filch__mailbox_init(&worker->mailbox);
    filch__timers_init(&worker->timers, worker->now);
}

/* Ends the first @n workers' threads. */
static void stop_workers(struct filch_runtime *rt, unsigned n)
{
    filch_store_release(&rt->exiting, 1);
    for (unsigned i = 0; i < n; i++)
        filch__uring_driver.unpark(rt->worker[i].lane);
    for (unsigned i = 0; i < n; i++)
        pthread_join(rt->worker[i].thread, NULL);
}

static int start_workers(struct filch_runtime *rt)
{
    sigset_t all, old;
    int r = 0;

    /* Signals go to the host's threads; faults stay where they happen. */
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGTRAP);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    for (unsigned i = 0; i < rt->workers; i++) {
        r = -pthread_create(&rt->worker[i].thread, NULL, filch__worker_main, &rt->worker[i]);
        if (r < 0) {
            stop_workers(rt, i);
            break;
        }
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return r;
}

static struct filch_runtime *runtime_new(const filch_runtime_opts *opts)
{
    unsigned workers = opts && opts->workers ? opts->workers : filch__cpu_count();
    struct filch_runtime *rt;

    if (workers > FILCH__WORKERS_MAX)
        workers = FILCH__WORKERS_MAX;
    rt = aligned_alloc(FILCH_CACHELINE, sizeof *rt);
    if (!rt)
        return NULL;
    memset(rt, 0, sizeof *rt);
    rt->workers = workers;
    rt->fp_control = filch__fp_control();
    if (opts)
        rt->opts = *opts;
    rt->worker = aligned_alloc(FILCH_CACHELINE, workers * sizeof *rt->worker);
    if (!rt->worker) {
        free(rt);
        return NULL;
    }
    memset(rt->worker, 0, workers * sizeof *rt->worker);
    filch__overflow_begin();
    filch__inject_init(&rt->inject);
    filch__idle_init(&rt->idle, workers);
    return rt;
}

static void runtime_free(struct filch_runtime *rt)
{
    filch__inject_fini(&rt->inject);
    filch__overflow_end();
    free(rt->worker);
    free(rt);
}

static int blocking_init(struct filch_runtime *rt)
{
    const filch_runtime_opts *opts = &rt->opts;
    struct filch__blocking_opts pool = {
        .threads_max = opts->blocking_threads ? opts->blocking_threads : BLOCKING_THREADS_DEFAULT,
        .cpus = rt->workers,
        .stack_bytes = opts->blocking_stack_bytes,
        .keep_alive_ns = opts->blocking_keep_alive_ns ? opts->blocking_keep_alive_ns
                                                      : BLOCKING_KEEP_ALIVE_DEFAULT,
        .run = filch__blocking_body,
        .finish = filch__blocking_finish,
    };

    return filch__blocking_pool_init(&rt->blocking, &pool);
}

int filch_runtime_start(const filch_runtime_opts *opts, filch_runtime **ret_rt)
{
    struct filch_runtime *rt;
    int r;

    if (!ret_rt || (opts && opts->workers > FILCH__WORKERS_MAX))
        return -EINVAL;
    rt = runtime_new(opts);
    if (!rt)
        return -ENOMEM;
    r = filch__uring_driver.open(&rt->opts, rt->workers, &rt->driver);
    if (r < 0)
        goto fail_driver;
    r = blocking_init(rt);
    if (r < 0)
        goto fail_blocking;
    for (unsigned i = 0; i < rt->workers; i++)
        worker_init(rt, i);
    r = start_workers(rt);
    if (r < 0)
        goto fail_workers;
    *ret_rt = rt;
    return 0;
fail_workers:
    (void)filch__blocking_pool_fini(&rt->blocking, FILCH_NEVER);
fail_blocking:
    filch__uring_driver.close(rt->driver);
fail_driver:
    runtime_free(rt);
    return r;
}

const char *filch_runtime_strerror(int error)
{
    const char *text;

    switch (error) {
    case -ENOSYS:
        return "io_uring is missing or too old: filch needs Linux 6.1 or newer";
    case -EPERM:
    case -EACCES:
        return "io_uring is refused, by a seccomp filter (the default of container engines) or by "
               "sysctl "
               "kernel.io_uring_disabled: allow io_uring_setup, io_uring_enter and "
               "io_uring_register";
    case -ENOMEM:
        return "no memory for the runtime or its rings: is RLIMIT_MEMLOCK very low?";
    case -EMFILE:
    case -ENFILE:
        return "no file descriptors left: two are needed for each worker (see RLIMIT_NOFILE)";
    case -EAGAIN:
        return "threads cannot be created: see RLIMIT_NPROC and the cgroup's pids.max";
    case -EINVAL:
        return "an option is out of range";
    default:
        /* strerror() would answer from a buffer of the thread. */
        text = strerrordesc_np(error < 0 && error != INT_MIN ? -error : error);
        return text ? text : "unknown error";
    }
}

uint64_t filch__runtime_live(struct filch_runtime *rt)
{
    /* Finished first: what is spawned in between only makes the difference larger, so 0 is never a
     * lie. */
    uint64_t finished = filch_load_acquire(&rt->outside_finished);
    uint64_t spawned = 0;

    for (unsigned i = 0; i < rt->workers; i++)
        finished += filch_load_acquire(&rt->worker[i].stats.finished);
    for (unsigned i = 0; i < rt->workers; i++)
        spawned += filch_load_acquire(&rt->worker[i].stats.spawned);
    spawned += filch_load_acquire(&rt->outside_spawned);
    return spawned - finished;
}

static void wake_if_ours(void *object, void *rt)
{
    struct filch__task *task = object;

    if (filch_load_acquire(&task->rt) == rt)
        filch__task_wake(task, filch__task_generation(task));
}

/* Waits until no task lives. */
static int drain(struct filch_runtime *rt, filch_time until)
{
    while (filch__runtime_live(rt)) {
        uint32_t seq = filch_load_acquire(&rt->finish_seq);
        filch_time look = filch_after(STOP_LOOK_NS);

        filch__pool_each(&filch__task_pool, wake_if_ours, rt);
        if (!filch__runtime_live(rt))
            break;
        if (filch_now() >= until)
            return -ETIMEDOUT;
        filch__futex_wait(&rt->finish_seq, seq, look < until ? look : until);
    }
    return 0;
}

int filch_runtime_shutdown(filch_runtime *rt, filch_time until)
{
    int r;

    if (!rt)
        return -EINVAL;
    if (filch_runtime_self() == rt)
        return -EDEADLK;
    filch_store_seq_cst(&rt->stopping, 1);
    r = drain(rt, until);
    if (r < 0)
        return r;
    r = filch__blocking_pool_fini(&rt->blocking, until);
    if (r < 0)
        return r;
    stop_workers(rt, rt->workers);
    filch__task_wait_for_foreign_wakers();
    filch__uring_driver.close(rt->driver);
    runtime_free(rt);
    return 0;
}

int filch_runtime_block_on(filch_runtime *rt, filch_fn fn, void *arg, int *ret_result,
                           filch_time until)
{
    filch_task *task;
    int result = 0;
    int r;

    if (!rt || !fn)
        return -EINVAL;
    if (filch_task_self())
        return -EDEADLK;
    r = filch_runtime_spawn(rt, fn, arg, &(filch_task_opts){.name = "block_on"}, &task);
    if (r < 0)
        return r;
    r = filch_task_join(task, &result, until);
    if (r < 0) {
        /* The argument is the caller's: nothing may go on with it. */
        filch_task_cancel(task);
        (void)!filch_task_join(task, &result, FILCH_NEVER);
    }
    if (ret_result)
        *ret_result = result;
    return r;
}

int filch_main(filch_fn fn, void *arg, const filch_runtime_opts *opts)
{
    filch_runtime *rt;
    int result = 0;
    int r = filch_runtime_start(opts, &rt);

    if (r < 0) {
        fprintf(stderr, "filch: cannot start: %s\n", filch_runtime_strerror(r));
        return r;
    }
    r = filch_runtime_block_on(rt, fn, arg, &result, FILCH_NEVER);
    filch_runtime_shutdown(rt, FILCH_NEVER);
    return r < 0 ? r : result;
}

filch_runtime *filch_runtime_self(void)
{
    struct filch__worker *worker = filch__worker_self();
    struct filch__task *job = filch__blocking_self();

    if (worker)
        return worker->rt;
    return job ? filch_load_relaxed(&job->rt) : NULL;
}

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
    to->timers_fired += filch_load_relaxed(&from->timers_fired);
}

int filch_runtime_stats(filch_runtime *rt, filch_stats *ret_stats)
{
    filch_stats stats = {0};
    struct filch__driver_stats driver = {0};
    struct filch__blocking_numbers blocking;

    if (!rt || !ret_stats)
        return -EINVAL;
    for (unsigned i = 0; i < rt->workers; i++)
        add_worker_stats(&rt->worker[i], &stats);
    stats.workers = rt->workers;
    filch__blocking_pool_numbers(&rt->blocking, &blocking);
    stats.blocking_threads = blocking.threads;
    stats.blocking_running = blocking.running;
    stats.blocking_queued = blocking.queued;
    stats.tasks_spawned += filch_load_relaxed(&rt->outside_spawned);
    stats.tasks_finished += filch_load_relaxed(&rt->outside_finished);
    stats.inject_wakes += filch_load_relaxed(&rt->outside_inject_wakes);
    stats.worker_wakes += filch_load_relaxed(&rt->outside_wakes_sent);
    filch__uring_driver.stats(rt->driver, &driver);
    stats.ops_submitted = driver.ops_submitted;
    stats.ops_direct = driver.ops_direct;
    stats.ring_enters = driver.enters;
    stats.completions = driver.completions;
    stats.completions_reaped_by_others = driver.reaped_by_others;
    stats.accept_backoffs = driver.accept_backoffs;
    *ret_stats = stats;
    return 0;
}
