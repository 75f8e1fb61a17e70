/* Blocking jobs and their classes, as the public functions see them. A job is a task whose body
 * runs on a thread of the blocking pool: same control block, handle, join and cancel.
 *
 * filch_blocking_run() lends its frame to the job. So when its time is up or its task is cancelled,
 * the job is taken out of the queue, and then it never ran; or a thread has it, and is waited for.
 * Who wins is decided under the queue's lock (job_queue.h). */
#include <errno.h>
#include <string.h>

#include "runtime/sched/worker.h"

static __thread struct filch__task *self_job __attribute__((tls_model("initial-exec")));
/* Of self_job, between its body and its end: the block keeps it from its end on. */
static __thread int self_result __attribute__((tls_model("initial-exec")));

__attribute__((noinline)) struct filch__task *filch__blocking_self(void)
{
    return self_job;
}

/* Of self_job, while others are told of its end: what it had is gone. */
static __thread bool self_is_over __attribute__((tls_model("initial-exec")));

__attribute__((noinline)) struct filch__task *filch__blocking_owner(void)
{
    return self_is_over ? NULL : self_job;
}

__attribute__((noinline)) void filch__blocking_set_over(bool over)
{
    self_is_over = over;
}

void filch__blocking_forked(void)
{
    if (self_job)
        filch__task_forked(self_job);
    self_job = NULL;
}

void filch__blocking_body(struct filch__task *job)
{
    filch__state_pick(&job->state);
    job->waiting = FILCH_WAIT_RUNNING;
    self_job = job;
    self_result = job->fn(job->arg);
}

void filch__blocking_finish(struct filch__task *job)
{
    filch__task_finish(job, self_result);
    self_job = NULL; /* what ends with the job is still of the job */
}

/* Return: the index of the class that @opts name; -EINVAL (it is none of @rt's). */
static int class_of(filch_runtime *rt, const filch_blocking_class *class)
{
    const struct filch_blocking_class *classes = rt->blocking.jobs.class;
    uintptr_t offset = (uintptr_t) class - (uintptr_t)classes;
    uint32_t count = filch_load_acquire(&rt->blocking.jobs.classes); /* [job-class] */

    if (!class)
        return 0;
    if (offset >= count * sizeof *classes || offset % sizeof *classes)
        return -EINVAL;
    return (int)(offset / sizeof *classes);
}

int filch__blocking_new(filch_runtime *rt, filch_fn fn, void *arg, const filch_task_opts *opts,
                        bool with_handle, unsigned *ret_class, struct filch__task **ret_job)
{
    int class = class_of(rt, opts ? opts->blocking_class : NULL);

    if (class < 0)
        return class;
    *ret_class = (unsigned)class;
    return filch__task_new(rt, FILCH_KIND_BLOCKING, fn, arg, opts, with_handle, NULL, ret_job);
}

int filch__blocking_start(filch_runtime *rt, unsigned class, struct filch__task *job)
{
    int r = filch__blocking_pool_submit(&rt->blocking, class, job);

    if (r < 0)
        filch__task_abort(job);
    return r;
}

static int spawn_job(filch_runtime *rt, filch_fn fn, void *arg, const filch_task_opts *opts,
                     filch_task **ret_task)
{
    struct filch__task *job;
    filch_task *handle;
    unsigned class;
    int r;

    if (!fn)
        return -EINVAL;
    r = filch__blocking_new(rt, fn, arg, opts, ret_task != NULL, &class, &job);
    if (r < 0)
        return r;
    handle = filch__task_handle(job);
    r = filch__blocking_start(rt, class, job);
    if (r == 0 && ret_task)
        *ret_task = handle;
    return r;
}

int filch_blocking_spawn(filch_fn fn, void *arg, const filch_task_opts *opts, filch_task **ret_task)
{
    filch_runtime *rt = filch_runtime_self();

    if (!fn)
        return -EINVAL;
    return rt ? spawn_job(rt, fn, arg, opts, ret_task) : -EPERM;
}

int filch_runtime_blocking_spawn(filch_runtime *rt, filch_fn fn, void *arg,
                                 const filch_task_opts *opts, filch_task **ret_task)
{
    int r;

    if (!rt || !fn)
        return -EINVAL;
    r = filch__spawn_begin(rt);
    if (r < 0)
        return r;
    r = spawn_job(rt, fn, arg, opts, ret_task);
    filch__spawn_end(rt);
    return r;
}

int filch_blocking_run(filch_fn fn, void *arg, const filch_task_opts *opts, int *ret_result,
                       filch_time until)
{
    filch_runtime *rt = filch_runtime_self();
    filch_task *handle;
    int result;
    int r;

    if (!fn)
        return -EINVAL;
    if (!rt)
        return -EPERM;
    r = spawn_job(rt, fn, arg, opts, &handle);
    if (r < 0)
        return r;
    r = filch_task_join(handle, &result, until);
    if (r < 0) {
        struct filch__task *job = filch__handle_object(handle);

        if (filch__job_withdraw(&rt->blocking.jobs, job)) {
            filch__task_abort(job);
            return r;
        }
        filch_task_cancel(handle);
        result = filch__task_join_shielded(handle);
    }
    if (ret_result)
        *ret_result = result;
    return 0;
}

static int
class_by(int (*add_or_get)(struct filch__job_queue *, const char *, unsigned, unsigned, uint32_t),
         filch_runtime *rt, const filch_blocking_class_opts *opts, filch_blocking_class **ret_class)
{
    struct filch__job_queue *jobs;
    int index;

    if (!rt || !opts || !opts->name || !ret_class ||
        strnlen(opts->name, FILCH__JOB_CLASS_NAME) == FILCH__JOB_CLASS_NAME)
        return -EINVAL;
    if (filch__runtime_was_forked(rt))
        return -ECHILD;
    jobs = &rt->blocking.jobs;
    index = add_or_get(jobs, opts->name, opts->threads_max,
                       opts->threads_reserved ? opts->threads_reserved : 1, opts->queued_max);
    if (index < 0)
        return index;
    *ret_class = &jobs->class[index];
    return 0;
}

int filch_blocking_class_new(filch_runtime *rt, const filch_blocking_class_opts *opts,
                             filch_blocking_class **ret_class)
{
    return class_by(filch__job_class_add, rt, opts, ret_class);
}

int filch__blocking_class_get(filch_runtime *rt, const filch_blocking_class_opts *opts,
                              filch_blocking_class **ret_class)
{
    return class_by(filch__job_class_get, rt, opts, ret_class);
}

int filch_blocking_class_stats(filch_runtime *rt, const filch_blocking_class *class,
                               filch_blocking_stats *ret_stats)
{
    struct filch__job_queue *jobs;
    const struct filch_blocking_class *found;
    int index;

    if (!rt || !ret_stats)
        return -EINVAL;
    if (filch__runtime_was_forked(rt))
        return -ECHILD;
    jobs = &rt->blocking.jobs;
    index = class_of(rt, class);
    if (index < 0)
        return index;
    found = &jobs->class[index];
    filch_spinlock_lock(&jobs->lock);
    ret_stats->running = found->running;
    filch_spinlock_unlock(&jobs->lock);
    ret_stats->name = found->name;
    ret_stats->queued = filch__job_class_queued(found);
    ret_stats->jobs = filch_load_relaxed(&found->pushed);
    return 0;
}
