/* The start of a runtime, running something in it, and its threads' end. Its own end is in
 * shutdown.c, its numbers in stats.c.
 */
#include "runtime/sched/worker.h"
#include "runtime/task/overflow.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/cpu.h"
#include "runtime/sched/registry.h"
#include "runtime/sched/seat.h"
#include "runtime/sched/thread.h"
#include "runtime/sched/topology.h"

#define BLOCKING_THREADS_DEFAULT 512
#define BLOCKING_KEEP_ALIVE_DEFAULT (10 * FILCH_SECOND)

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
    worker->slow = rt->chaos;
    worker->now = filch_now();
    worker->trim_at = FILCH_NEVER;
    worker->cpu = -1;
    worker->lane = filch__io_driver.lane(rt->driver, index);
    filch__run_queue_init(&worker->queue);
    filch_spinlock_init(&worker->set.lock);
    filch_spinlock_init(&worker->bound.lock);
    filch__lifo_init(&worker->lifo);
    filch__mailbox_init(&worker->mailbox);
    filch__timers_init(&worker->timers, worker->now);
}

void filch__runtime_end_workers(struct filch_runtime *rt)
{
    unsigned n = filch__runtime_seats(rt);

    filch_store_release(&rt->exiting, 1);
    for (unsigned i = 0; i < n; i++)
        filch__io_driver.unpark(rt->worker[i].lane);
    for (unsigned i = 0; i < n; i++)
        if (rt->worker[i].has_thread)
            pthread_join(rt->worker[i].thread, NULL);
}

/* The CPUs that the caller may use. Return: how many; 0: the system does not say. */
static unsigned allowed_cpus(struct filch__cpu_place *places, unsigned max)
{
    cpu_set_t set;
    unsigned n = 0;

    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return 0;
    for (int cpu = 0; cpu < CPU_SETSIZE && n < max; cpu++)
        if (CPU_ISSET(cpu, &set))
            places[n++] = filch__topology_read("/sys/devices/system", cpu);
    filch__topology_spread(places, n);
    return n;
}

/* Says where each worker belongs, and whom it takes from. Return: 0; -ENOMEM. */
static int place_workers(struct filch_runtime *rt)
{
    struct filch__cpu_place *places = calloc(CPU_SETSIZE + rt->workers, sizeof *places);
    struct filch__cpu_place *own;
    unsigned cpus;

    rt->victims = calloc((size_t)rt->workers * rt->workers, sizeof *rt->victims);
    if (!places || !rt->victims) {
        free(places);
        return -ENOMEM;
    }
    own = places + CPU_SETSIZE;
    cpus = allowed_cpus(places, CPU_SETSIZE);
    for (unsigned i = 0; i < rt->workers && cpus; i++)
        own[i] = places[i % cpus];
    for (unsigned i = 0; i < rt->workers && cpus; i++) {
        rt->worker[i].cpu = own[i].cpu;
        rt->worker[i].victims = rt->victims + (size_t)i * rt->workers;
        filch__topology_victims(own, rt->workers, i, rt->worker[i].victims);
    }
    free(places);
    return 0;
}

/* A CPU that was taken away meanwhile binds nobody. */
static void bind(const struct filch__worker *worker)
{
    cpu_set_t set;

    if (worker->cpu < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((unsigned)worker->cpu, &set);
    (void)pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

static void *worker_thread(void *arg)
{
    struct filch__worker *worker = arg;
    struct filch_runtime *rt = worker->rt;

    bind(worker);
    filch__thread_begin(rt, 'w', worker->index);
    filch__worker_main(worker);
    filch__thread_end(rt);
    return NULL;
}

static int start_worker(struct filch__worker *worker)
{
    int r = filch__thread_create(&worker->thread, NULL, worker_thread, worker);

    worker->has_thread = r == 0;
    return r;
}

static int start_workers(struct filch_runtime *rt)
{
    int r = rt->opts.bind_workers ? place_workers(rt) : 0;

    for (unsigned i = 0; i < rt->workers && r == 0; i++)
        r = start_worker(&rt->worker[i]);
    if (r == 0)
        r = filch__watch_start(rt);
    if (r < 0)
        filch__runtime_end_workers(rt);
    return r;
}

/* A seat without a thread, which nobody takes for one that works. */
static int add_seat(struct filch_runtime *rt, unsigned index)
{
    struct filch__worker *worker = &rt->worker[index];
    int r = filch__io_driver.grow(rt->driver, &rt->opts);

    if (r < 0)
        return r;
    memset(worker, 0, sizeof *worker);
    worker_init(rt, index);
    filch_atomic_init(&worker->seat, FILCH_SEAT_RESERVE);
    filch_atomic_init(&worker->parked, 1);
    filch__idle_grow(&rt->idle);
    filch_store_release(&rt->seats, index + 1); /* [seat-new] */
    return 0;
}

int filch__runtime_fill_seat(struct filch_runtime *rt, unsigned index)
{
    struct filch__worker *worker = &rt->worker[index];
    int r = index < filch__runtime_seats(rt) ? 0 : add_seat(rt, index);

    if (r < 0)
        return r;
    filch__idle_join(&rt->idle);
    filch_store_relaxed(&worker->parked, 0);
    (void)filch__seat_call(&worker->seat);
    r = start_worker(worker);
    if (r < 0) {
        filch_store_relaxed(&worker->seat, FILCH_SEAT_RESERVE);
        filch_store_relaxed(&worker->parked, 1);
        filch__idle_leave(&rt->idle);
    }
    return r;
}

static void take_opts(struct filch_runtime *rt, const filch_runtime_opts *opts)
{
    rt->opts = *opts;
    rt->log = (struct filch__log){opts->log, opts->log_arg};
    if (opts->thread_name)
        strncpy(rt->thread_name, opts->thread_name, sizeof rt->thread_name - 1);
    rt->opts.thread_name = NULL; /* it is the caller's */
}

static struct filch_runtime *runtime_new(const filch_runtime_opts *opts)
{
    bool hosted = opts && opts->current_thread;
    unsigned workers = hosted ? 1 : opts && opts->workers ? opts->workers : filch__cpu_count();
    unsigned spares = opts ? opts->spare_workers : 0;
    struct filch_runtime *rt;

    if (workers > FILCH__WORKERS_MAX)
        workers = FILCH__WORKERS_MAX;
    if (hosted || spares == FILCH_NO_SPARES)
        spares = 0;
    else if (!spares && workers > 1)
        spares = workers;
    if (spares > FILCH__WORKERS_MAX - workers)
        spares = FILCH__WORKERS_MAX - workers;
    rt = filch__registry_take();
    if (!rt)
        return NULL;
    rt->workers = workers;
    rt->seats_max = workers + spares;
    rt->cpus = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    filch_atomic_init(&rt->seats, workers);
    rt->fp_control = filch__fp_control();
    pthread_sigmask(SIG_SETMASK, NULL, &rt->host_mask);
    if (opts)
        take_opts(rt, opts);
    rt->chaos = secure_getenv("FILCH_CHAOS") != NULL;
    rt->opts.chaos_forks = rt->opts.chaos_forks || rt->chaos;
    rt->worker = aligned_alloc(FILCH_CACHELINE, rt->seats_max * sizeof *rt->worker);
    if (!rt->worker) {
        filch__registry_give(rt);
        return NULL;
    }
    memset(rt->worker, 0, workers * sizeof *rt->worker);
    if (!rt->opts.no_overflow_handler)
        filch__overflow_begin();
    filch__inject_init(&rt->inject);
    filch__idle_init(&rt->idle, workers);
    filch__groups_init(rt);
    return rt;
}

/* What runtime_new() made, but for the block. */
static void runtime_undo(struct filch_runtime *rt)
{
    filch__inject_fini(&rt->inject);
    if (!rt->opts.no_overflow_handler)
        filch__overflow_end();
    free(rt->victims);
    free(rt->worker);
}

void filch__runtime_free(struct filch_runtime *rt)
{
    filch__io_driver.close(rt->driver);
    filch__groups_end(rt);
    runtime_undo(rt);
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
        .rt = rt,
    };

    return filch__blocking_pool_init(&rt->blocking, &pool);
}

int filch_runtime_start(const filch_runtime_opts *opts, filch_runtime **ret_rt)
{
    struct filch_runtime *rt;
    int r;

    if (!ret_rt || (opts && (opts->workers > FILCH__WORKERS_MAX ||
                             (opts->current_thread && opts->workers > 1))))
        return -EINVAL;
    filch__fence_init();
    rt = runtime_new(opts);
    if (!rt)
        return -ENOMEM;
    r = filch__io_driver.open(&rt->opts, rt->workers, rt->seats_max, &rt->driver);
    if (r < 0)
        goto fail_driver;
    r = blocking_init(rt);
    if (r < 0)
        goto fail_blocking;
    r = filch__registry_enlist(rt);
    if (r < 0)
        goto fail_enlist;
    for (unsigned i = 0; i < rt->workers; i++)
        worker_init(rt, i);
    if (rt->opts.current_thread)
        filch__drive_init(rt);
    else
        r = start_workers(rt);
    if (r < 0)
        goto fail_workers;
    *ret_rt = rt;
    return 0;
fail_workers:
    filch__registry_delist(rt);
fail_enlist:
    (void)filch__blocking_pool_fini(&rt->blocking, FILCH_NEVER);
fail_blocking:
    filch__io_driver.close(rt->driver);
fail_driver:
    runtime_undo(rt);
    filch__registry_give(rt);
    return r;
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
    if (rt->opts.current_thread)
        return filch__drive_block_on(rt, fn, arg, ret_result, until);
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
        struct filch__log log = {opts ? opts->log : NULL, opts ? opts->log_arg : NULL};

        filch__log(&log, FILCH_LOG_ERROR, "cannot start: %s", filch_strerror(r));
        return r;
    }
    r = filch_runtime_block_on(rt, fn, arg, &result, FILCH_NEVER);
    filch_runtime_shutdown(rt, FILCH_NEVER);
    return r < 0 ? r : result;
}

const char *filch_engine(filch_runtime *rt, const char **ret_reason)
{
    const char *name, *reason;

    if (!rt || filch__runtime_was_forked(rt))
        return NULL;
    name = filch__io_driver.name(rt->driver, &reason);
    if (ret_reason)
        *ret_reason = reason;
    return name;
}

filch_runtime *filch_runtime_self(void)
{
    struct filch__worker *worker = filch__worker_self();
    struct filch__task *job = filch__blocking_self();

    if (worker)
        return worker->rt;
    return job ? filch_load_relaxed(&job->rt) : NULL;
}
