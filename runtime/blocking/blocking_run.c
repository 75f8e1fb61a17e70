/* A blocking job is a task whose body runs on a thread of the blocking pool: same control block,
 * handle, join and cancel. */
#include "runtime/sched/worker.h"

static __thread struct filch__task *self_job __attribute__((tls_model("initial-exec")));

__attribute__((noinline)) struct filch__task *filch__blocking_self(void)
{
    return self_job;
}

void filch__blocking_run(struct filch__task *job)
{
    int result;

    filch__state_pick(&job->state);
    self_job = job;
    result = job->fn(job->arg);
    self_job = NULL;
    filch__task_finish(job, result);
}
