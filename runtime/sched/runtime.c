/* The start of a runtime, running something in it, and its threads' end. Its own end is in
 * shutdown.c, its numbers in stats.c.
 */
#include "runtime/sched/worker.h"
#include "runtime/task/overflow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/cpu.h"
#include "runtime/sched/registry.h"
#include "runtime/sched/thread.h"

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
    worker->now = filch_now();
    worker->trim_at = FILCH_NEVER;
    worker->lane = filch__uring_driver.lane(rt->driver, index);
    filch__run_queue_init(&worker->queue);
    filch__mailbox_init(&worker->mailbox);
    filch__timers_init(&worker->timers, worker->now);
}

void filch__runtime_end_workers(struct filch_runtime *rt, unsigned n)
{
    filch_store_release(&rt->exiting, 1);
    for (unsigned i = 0; i < n; i++)
        filch__uring_driver.unpark(rt->worker[i].lane);
    for (unsigned i = 0; i < n; i++)
        pthread_join(rt->worker[i].thread, NULL);
}

static void *worker_thread(void *arg)
{
    struct filch__worker *worker = arg;
    struct filch_runtime *rt = worker->rt;

    filch__thread_begin(rt, 'w', worker->index);
    filch__worker_main(worker);
    filch__thread_end(rt);
    return NULL;
}

static int start_workers(struct filch_runtime *rt)
{
    for (unsigned i = 0; i < rt->workers; i++) {
        int r = filch__thread_create(&rt->worker[i].thread, NULL, worker_thread, &rt->worker[i]);

        if (r < 0) {
            filch__runtime_end_workers(rt, i);
            return r;
        }
    }
    return 0;
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
    struct filch_runtime *rt;

    if (workers > FILCH__WORKERS_MAX)
        workers = FILCH__WORKERS_MAX;
    rt = filch__registry_take();
    if (!rt)
        return NULL;
    rt->workers = workers;
    rt->fp_control = filch__fp_control();
    pthread_sigmask(SIG_SETMASK, NULL, &rt->host_mask);
    if (opts)
        take_opts(rt, opts);
    rt->worker = aligned_alloc(FILCH_CACHELINE, workers * sizeof *rt->worker);
    if (!rt->worker) {
        filch__registry_give(rt);
        return NULL;
    }
    memset(rt->worker, 0, workers * sizeof *rt->worker);
    if (!rt->opts.no_overflow_handler)
        filch__overflow_begin();
    filch__inject_init(&rt->inject);
    filch__idle_init(&rt->idle, workers);
    return rt;
}

/* What runtime_new() made, but for the block. */
static void runtime_undo(struct filch_runtime *rt)
{
    filch__inject_fini(&rt->inject);
    if (!rt->opts.no_overflow_handler)
        filch__overflow_end();
    free(rt->worker);
}

void filch__runtime_free(struct filch_runtime *rt)
{
    filch__uring_driver.close(rt->driver);
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
    rt = runtime_new(opts);
    if (!rt)
        return -ENOMEM;
    r = filch__uring_driver.open(&rt->opts, rt->workers, &rt->driver);
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
    filch__uring_driver.close(rt->driver);
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

filch_runtime *filch_runtime_self(void)
{
    struct filch__worker *worker = filch__worker_self();
    struct filch__task *job = filch__blocking_self();

    if (worker)
        return worker->rt;
    return job ? filch_load_relaxed(&job->rt) : NULL;
}
