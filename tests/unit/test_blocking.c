/* Description: what <filch/blocking.h> promises: jobs run on plain threads, are joined like tasks,
 * queue beyond the cap, always run. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/gate.h"

TestSuite(blocking, .timeout = 60);

static int return_arg(void *arg)
{
    return (int)(intptr_t)arg;
}

static int join_job_body(void *arg)
{
    filch_task *job;

    (void)arg;
    T_OK(filch_blocking_spawn(return_arg, (void *)9, NULL, &job));
    T_IS(join(job), 9);
    T_IS(filch_task_join(job, NULL, FILCH_NOW), -ESRCH);
    T_OK(filch_blocking_spawn(return_arg, (void *)-3, NULL, &job));
    T_WAIT_UNTIL(filch_task_is_finished(job));
    T_IS(join(job), -3);
    T_OK(filch_blocking_spawn(return_arg, NULL, NULL, &job));
    T_OK(filch_task_detach(job));
    T_OK(filch_blocking_spawn(return_arg, NULL, NULL, NULL));
    T_IS(filch_blocking_spawn(NULL, NULL, NULL, &job), -EINVAL);
    return 0;
}

Test(blocking, job_is_joined_like_a_task)
{
    cr_assert_eq(run_in_runtime(0, join_job_body, NULL), 0);
}

Test(blocking, plain_thread_names_the_runtime)
{
    filch_runtime *rt = start_runtime(0);
    filch_task *job = NULL;

    cr_assert_eq(filch_blocking_spawn(return_arg, NULL, NULL, &job), -EPERM);
    cr_assert_null(job);
    T_OK(filch_runtime_blocking_spawn(rt, return_arg, (void *)5, NULL, &job));
    cr_assert_eq(join(job), 5);
    cr_assert_eq(filch_runtime_blocking_spawn(NULL, return_arg, NULL, NULL, &job), -EINVAL);
    stop_runtime(rt);
}

/* A pipe blocks the thread for real; the worker must stay free to run the task that writes. */
static int read_a_byte(void *arg)
{
    char byte = 0;

    T_IS(read(((int *)arg)[0], &byte, 1), 1);
    return byte;
}

static int write_a_byte(void *arg)
{
    T_IS(write(((int *)arg)[1], "x", 1), 1);
    return 0;
}

static int blocks_body(void *arg)
{
    int fds[2];
    filch_task *reader;
    filch_task *writer;

    (void)arg;
    T_OK(pipe(fds));
    T_OK(filch_blocking_spawn(read_a_byte, fds, NULL, &reader));
    T_IS(filch_task_join(reader, NULL, filch_after(3 * FILCH_MILLISECOND)), -ETIMEDOUT);
    writer = spawn(write_a_byte, fds);
    T_IS(join(reader), 'x');
    T_OK(join(writer));
    close(fds[0]);
    close(fds[1]);
    return 0;
}

Test(blocking, blocked_job_holds_no_worker_up)
{
    cr_assert_eq(run_in_runtime(1, blocks_body, NULL), 0);
}

Test(blocking, pool_grows_to_its_cap_and_queues_the_rest)
{
    filch_runtime_opts opts = {.workers = 1, .blocking_threads = 4};
    struct gate gate = GATE_INIT;
    filch_task *job[20];
    filch_runtime *rt;
    filch_stats stats;

    T_OK(filch_runtime_start(&opts, &rt));
    for (int i = 0; i < 20; i++)
        T_OK(filch_runtime_blocking_spawn(rt, pass_gate, &gate, NULL, &job[i]));
    /* All four are in at once: none waits for another. */
    T_WAIT_UNTIL(atomic_load(&gate.inside) == 4);
    T_OK(filch_runtime_stats(rt, &stats));
    cr_assert_eq(stats.blocking_threads, 4);
    open_gate(&gate);
    for (int i = 0; i < 20; i++)
        T_OK(join(job[i]));
    cr_assert_eq(gate.most_inside, 4);
    cr_assert_eq(gate.done, 20);
    stop_runtime(rt);
}

struct order {
    atomic_int next;
    int seen[50];
};

struct ordered_job {
    struct order *order;
    int index;
};

static int note_order(void *arg)
{
    struct ordered_job *job = arg;

    job->order->seen[atomic_fetch_add(&job->order->next, 1)] = job->index;
    return 0;
}

Test(blocking, queued_jobs_run_in_order)
{
    filch_runtime_opts opts = {.workers = 1, .blocking_threads = 1};
    struct order order = {0};
    filch_task *job[50];
    filch_runtime *rt;

    T_OK(filch_runtime_start(&opts, &rt));
    for (int i = 0; i < 50; i++) {
        struct ordered_job one = {&order, i};
        filch_task_opts by_copy = {.copy_bytes = sizeof(one)};

        T_OK(filch_runtime_blocking_spawn(rt, note_order, &one, &by_copy, &job[i]));
    }
    for (int i = 0; i < 50; i++)
        T_OK(join(job[i]));
    for (int i = 0; i < 50; i++)
        cr_assert_eq(order.seen[i], i);
    stop_runtime(rt);
}

static int see_cancel(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    while (!filch_task_is_cancelled())
        sched_yield();
    return 12;
}

Test(blocking, cancelled_job_still_runs_and_sees_it)
{
    filch_runtime_opts opts = {.workers = 1, .blocking_threads = 1};
    struct gate gate = GATE_INIT;
    atomic_int ran = 0;
    filch_task *first;
    filch_task *second;
    filch_runtime *rt;

    T_OK(filch_runtime_start(&opts, &rt));
    T_OK(filch_runtime_blocking_spawn(rt, pass_gate, &gate, NULL, &first));
    T_OK(filch_runtime_blocking_spawn(rt, see_cancel, &ran, NULL, &second));
    T_OK(filch_task_cancel(second)); /* it waits behind the first */
    cr_assert_eq(ran, 0);
    open_gate(&gate);
    T_OK(join(first));
    cr_assert_eq(join(second), 12);
    cr_assert_eq(ran, 1);

    T_OK(filch_runtime_blocking_spawn(rt, see_cancel, &ran, NULL, &second));
    T_WAIT_UNTIL(atomic_load(&ran) == 2);
    T_OK(filch_task_cancel(second));
    cr_assert_eq(join(second), 12);
    stop_runtime(rt);
}

static int job_spawns(void *arg)
{
    atomic_int *runs = arg;
    filch_task *task;

    T_CHECK(filch_runtime_self() != NULL);
    if (atomic_fetch_add(runs, 1) == 0) {
        /* A job is no task, but may spawn both kinds and wait for them. */
        T_OK(filch_task_spawn(return_arg, (void *)21, NULL, &task));
        T_IS(join(task), 21);
        T_OK(filch_blocking_spawn(job_spawns, runs, NULL, &task));
        T_OK(join(task));
    }
    return 0;
}

static int jobs_spawn_body(void *arg)
{
    atomic_int runs = 0;
    filch_task *job;

    (void)arg;
    T_OK(filch_blocking_spawn(job_spawns, &runs, NULL, &job));
    T_OK(join(job));
    T_IS(runs, 2);
    return 0;
}

Test(blocking, jobs_may_spawn_and_join)
{
    cr_assert_eq(run_in_runtime(0, jobs_spawn_body, NULL), 0);
}

static int shut_down(void *rt)
{
    return filch_runtime_shutdown(rt, FILCH_NEVER);
}

Test(blocking, job_cannot_shut_its_runtime_down)
{
    filch_runtime *rt = start_runtime(0);
    filch_task *job;

    T_OK(filch_runtime_blocking_spawn(rt, shut_down, rt, NULL, &job));
    cr_assert_eq(join(job), -EDEADLK);
    stop_runtime(rt);
}

static int many_jobs_body(void *arg)
{
    filch_task **job = malloc(5000 * sizeof(*job));

    (void)arg;
    T_CHECK(job);
    for (intptr_t i = 0; i < 5000; i++)
        T_OK(filch_blocking_spawn(return_arg, (void *)i, NULL, &job[i]));
    for (int i = 0; i < 5000; i++)
        T_IS(join(job[i]), i);
    free(job);
    return 0;
}

Test(blocking, five_thousand_jobs_all_run)
{
    cr_assert_eq(run_in_runtime(0, many_jobs_body, NULL), 0);
}

Test(blocking, shutdown_runs_the_jobs_that_wait)
{
    filch_runtime_opts opts = {.workers = 1, .blocking_threads = 1};
    struct gate gate = GATE_INIT;
    filch_runtime *rt;

    T_OK(filch_runtime_start(&opts, &rt));
    for (int i = 0; i < 100; i++)
        T_OK(filch_runtime_blocking_spawn(rt, pass_gate, &gate, NULL, NULL));
    cr_assert_eq(filch_runtime_shutdown(rt, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    cr_assert_eq(filch_runtime_blocking_spawn(rt, return_arg, NULL, NULL, NULL), -ESHUTDOWN);
    open_gate(&gate);
    stop_runtime(rt);
    cr_assert_eq(gate.done, 100);
}
