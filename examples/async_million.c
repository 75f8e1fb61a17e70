/* A million tasks without a stack. Each awaits a channel and then a sleep: 1M messages, one
 * join of all of them. */
#include <filch/filch.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define TASKS 1000000u

struct worker {
    filch_async async;
    union { /* one at a time */
        filch_recv_future recv;
        filch_sleep_future nap;
    } wait;
    filch_chan *jobs;
    unsigned job;
};

static filch_poll worker_poll(filch_future *self, filch_cx *cx)
{
    struct worker *worker = (struct worker *)self;
    int r = 0;

    FILCH_ASYNC_BEGIN(&worker->async, cx);
    r = filch_recv_future_init(&worker->wait.recv, worker->jobs, &worker->job);
    if (r < 0)
        FILCH_ASYNC_RETURN(r);
    FILCH_AWAIT_RESULT(r, &worker->wait.recv.base);
    if (r < 0)
        FILCH_ASYNC_RETURN(r);
    filch_sleep_future_init(&worker->wait.nap, filch_after(FILCH_MILLISECOND));
    FILCH_AWAIT_RESULT(r, &worker->wait.nap.base);
    FILCH_ASYNC_RETURN(r);
    FILCH_ASYNC_END;
}

static unsigned spawn_all(struct worker *workers, filch_chan *jobs, filch_task **tasks)
{
    unsigned n;

    for (n = 0; n < TASKS; n++) {
        workers[n].jobs = jobs;
        filch_async_init(&workers[n].async, worker_poll);
        if (filch_future_spawn(&workers[n].async.base, NULL, &tasks[n]) < 0)
            break;
    }
    return n;
}

/* Return: how many have done their job; -errno. */
static int run(struct worker *workers, filch_chan *jobs, filch_task **tasks)
{
    unsigned spawned = spawn_all(workers, jobs, tasks);
    unsigned long long sum = 0;
    unsigned done = 0;
    int result = 0, r = 0;

    for (unsigned job = 0; job < spawned && r == 0; job++)
        r = filch_chan_send(jobs, &job, FILCH_NEVER);
    filch_chan_close(jobs);
    for (unsigned i = 0; i < spawned; i++) {
        /* Its memory is ours again only when it has ended. */
        if (filch_task_join(tasks[i], &result, FILCH_NEVER) < 0)
            abort();
        if (result == 0) {
            sum += workers[i].job;
            done++;
        }
    }
    printf("%u tasks, sum of jobs %llu\n", done, sum);
    return done == TASKS ? 0 : -ENOMEM;
}

static int million_main(void *arg)
{
    struct worker *workers = malloc(TASKS * sizeof(*workers));
    filch_task **tasks = malloc(TASKS * sizeof(*tasks));
    filch_chan *jobs = NULL;
    int r = -ENOMEM;

    (void)arg;
    if (workers && tasks)
        r = filch_chan_new(sizeof(unsigned), 1024, &jobs);
    if (r == 0)
        r = run(workers, jobs, tasks);
    filch_chan_unref(jobs);
    free(tasks);
    free(workers);
    return r;
}

int main(void)
{
    int r = filch_main(million_main, NULL, NULL);

    if (r < 0)
        fprintf(stderr, "%s\n", filch_strerror(r));
    return r < 0;
}
