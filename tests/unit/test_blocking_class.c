/* Description: classes of blocking jobs (one does not starve another, full queues refuse), and
 * filch_blocking_run(): what has not started is taken back, what has is waited for. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/runner/gate.h"

TestSuite(blocking_class, .timeout = 60);

static filch_blocking_class *new_class(filch_runtime *rt, filch_blocking_class_opts opts)
{
    filch_blocking_class *class = NULL;

    T_OK(filch_blocking_class_new(rt, &opts, &class));
    T_CHECK(class);
    return class;
}

static int return_arg(void *arg)
{
    return (int)(intptr_t)arg;
}

Test(blocking_class, hung_jobs_of_one_class_do_not_hold_another_up)
{
    filch_runtime_opts opts = {.workers = 1, .blocking_threads = 8};
    struct gate gate = GATE_INIT;
    filch_blocking_class *names;
    filch_task_opts of_names = {0};
    filch_task *hung[200];
    filch_task *job;
    filch_blocking_stats stats;
    filch_runtime *rt;

    T_OK(filch_runtime_start(&opts, &rt));
    names = new_class(rt, (filch_blocking_class_opts){.name = "names", .threads_max = 3});
    of_names.blocking_class = names;
    for (int i = 0; i < 200; i++)
        T_OK(filch_runtime_blocking_spawn(rt, pass_gate, &gate, &of_names, &hung[i]));
    T_WAIT_UNTIL(atomic_load(&gate.inside) == 3);
    for (intptr_t i = 0; i < 50; i++) {
        T_OK(filch_runtime_blocking_spawn(rt, return_arg, (void *)i, NULL, &job));
        T_IS(join(job), i);
    }
    T_OK(filch_blocking_class_stats(rt, names, &stats));
    T_OK(strcmp(stats.name, "names"));
    T_IS(stats.running, 3);
    T_IS(stats.queued, 197);
    T_IS(stats.jobs, 200);
    open_gate(&gate);
    for (int i = 0; i < 200; i++)
        T_OK(join(hung[i]));
    T_IS(gate.most_inside, 3);
    stop_runtime(rt);
}

Test(blocking_class, the_default_class_leaves_what_others_reserve)
{
    filch_runtime_opts opts = {.workers = 1, .blocking_threads = 3};
    struct gate gate = GATE_INIT;
    filch_task_opts of_files = {0};
    filch_task *hung[10];
    filch_task *job;
    filch_runtime *rt;
    filch_stats stats;

    T_OK(filch_runtime_start(&opts, &rt));
    of_files.blocking_class = new_class(rt, (filch_blocking_class_opts){.name = "files"});
    for (int i = 0; i < 10; i++)
        T_OK(filch_runtime_blocking_spawn(rt, pass_gate, &gate, NULL, &hung[i]));
    T_WAIT_UNTIL(atomic_load(&gate.inside) == 2);
    for (intptr_t i = 0; i < 50; i++) {
        T_OK(filch_runtime_blocking_spawn(rt, return_arg, (void *)i, &of_files, &job));
        T_IS(join(job), i);
    }
    T_OK(filch_runtime_stats(rt, &stats));
    T_IS(stats.blocking_running, 2);
    T_IS(stats.blocking_queued, 8);
    open_gate(&gate);
    for (int i = 0; i < 10; i++)
        T_OK(join(hung[i]));
    T_IS(gate.most_inside, 2);
    stop_runtime(rt);
}

Test(blocking_class, a_full_queue_refuses_and_consumes_nothing)
{
    filch_runtime_opts opts = {.workers = 1, .blocking_threads = 4};
    struct gate gate = GATE_INIT;
    filch_task_opts of_class = {0};
    filch_task *job[4];
    filch_task *refused = NULL;
    char bytes[100] = "";
    filch_runtime *rt;

    T_OK(filch_runtime_start(&opts, &rt));
    of_class.blocking_class = new_class(
        rt, (filch_blocking_class_opts){.name = "short", .threads_max = 1, .queued_max = 3});
    T_OK(filch_runtime_blocking_spawn(rt, pass_gate, &gate, &of_class, &job[0]));
    T_WAIT_UNTIL(atomic_load(&gate.inside) == 1);
    for (int i = 1; i < 4; i++)
        T_OK(filch_runtime_blocking_spawn(rt, pass_gate, &gate, &of_class, &job[i]));
    of_class.copy_bytes = sizeof bytes; /* a copy that is to be freed again */
    T_IS(filch_runtime_blocking_spawn(rt, return_arg, bytes, &of_class, &refused), -EAGAIN);
    T_CHECK(!refused);
    T_IS(filch_runtime_blocking_spawn(rt, return_arg, bytes, &of_class, NULL), -EAGAIN);
    of_class.copy_bytes = 0;
    open_gate(&gate);
    for (int i = 0; i < 4; i++)
        T_OK(join(job[i]));
    T_IS(gate.done, 4);
    T_OK(filch_runtime_blocking_spawn(rt, return_arg, (void *)7, &of_class, &refused));
    T_IS(join(refused), 7);
    stop_runtime(rt);
}

Test(blocking_class, bad_input_is_refused)
{
    filch_runtime_opts opts = {.workers = 1, .blocking_threads = 3};
    filch_blocking_class_opts good = {.name = "good"};
    filch_blocking_class_opts greedy = {.name = "greedy", .threads_reserved = 3};
    filch_blocking_class *class = NULL;
    filch_task_opts with = {0};
    filch_task *job = NULL;
    filch_blocking_stats stats;
    filch_runtime *rt, *other;

    T_OK(filch_runtime_start(&opts, &rt));
    other = start_runtime(1);
    T_IS(filch_blocking_class_new(NULL, &good, &class), -EINVAL);
    T_IS(filch_blocking_class_new(rt, NULL, &class), -EINVAL);
    T_IS(filch_blocking_class_new(rt, &good, NULL), -EINVAL);
    T_IS(filch_blocking_class_new(rt, &(filch_blocking_class_opts){0}, &class), -EINVAL);
    T_IS(filch_blocking_class_new(
             rt, &(filch_blocking_class_opts){.name = "a name that is longer than it may be"},
             &class),
         -EINVAL);
    T_IS(filch_blocking_class_new(rt, &greedy, &class), -ENOSPC);
    T_CHECK(!class);
    class = new_class(rt, good);
    with.blocking_class = class;
    T_IS(filch_runtime_blocking_spawn(other, return_arg, NULL, &with, &job), -EINVAL);
    with.blocking_class = (filch_blocking_class *)((char *)class + 1);
    T_IS(filch_runtime_blocking_spawn(rt, return_arg, NULL, &with, &job), -EINVAL);
    T_IS(filch_blocking_class_stats(rt, with.blocking_class, &stats), -EINVAL);
    T_IS(filch_blocking_class_stats(other, class, &stats), -EINVAL);
    T_IS(filch_blocking_class_stats(rt, class, NULL), -EINVAL);
    T_IS(filch_blocking_class_stats(NULL, class, &stats), -EINVAL);
    T_CHECK(!job);
    T_OK(filch_blocking_class_stats(rt, NULL, &stats));
    T_OK(strcmp(stats.name, "default"));
    stop_runtime(other);
    stop_runtime(rt);
    opts.blocking_stack_bytes = 1;
    T_IS(filch_runtime_start(&opts, &rt), -EINVAL);
}

static int see_stack(void *arg)
{
    pthread_attr_t attr;
    void *low;
    size_t bytes = 0;

    (void)arg;
    T_OK(pthread_getattr_np(pthread_self(), &attr));
    T_OK(pthread_attr_getstack(&attr, &low, &bytes));
    pthread_attr_destroy(&attr);
    return (int)(bytes >> 10);
}

Test(blocking_class, threads_have_the_stack_that_was_asked_for)
{
    filch_runtime_opts opts = {.workers = 1, .blocking_stack_bytes = 5 << 20};
    filch_runtime *rt = start_runtime(1);
    filch_task *job;

    T_OK(filch_runtime_blocking_spawn(rt, see_stack, NULL, NULL, &job));
    T_IS(join(job), 2 << 10);
    stop_runtime(rt);
    T_OK(filch_runtime_start(&opts, &rt));
    T_OK(filch_runtime_blocking_spawn(rt, see_stack, NULL, NULL, &job));
    T_IS(join(job), 5 << 10);
    stop_runtime(rt);
}

static int add_one(void *arg)
{
    return ++*(int *)arg;
}

static int run_body(void *arg)
{
    int number = 41; /* on this task's stack */
    int result = -1;

    (void)arg;
    T_OK(filch_blocking_run(add_one, &number, NULL, &result, FILCH_NEVER));
    T_IS(number, 42);
    T_IS(result, 42);
    T_OK(filch_blocking_run(add_one, &number, NULL, NULL, FILCH_NEVER));
    T_IS(number, 43);
    T_IS(filch_blocking_run(NULL, &number, NULL, &result, FILCH_NEVER), -EINVAL);
    return 0;
}

static int run_in_job(void *arg)
{
    int number = 0;
    int result;

    (void)arg;
    T_OK(filch_blocking_run(add_one, &number, NULL, &result, FILCH_NEVER));
    return result;
}

Test(blocking_class, run_waits_and_gives_the_result)
{
    filch_runtime *rt = start_runtime(0);
    filch_task *job;
    int number = 0;

    T_IS(filch_blocking_run(add_one, &number, NULL, NULL, FILCH_NEVER), -EPERM);
    T_OK(filch_runtime_block_on(rt, run_body, NULL, NULL, FILCH_NEVER));
    T_OK(filch_runtime_blocking_spawn(rt, run_in_job, NULL, NULL, &job));
    T_IS(join(job), 1);
    stop_runtime(rt);
}

/* One thread, which a job holds: what runs next waits in the queue. */
struct full {
    struct gate gate;
    filch_runtime *rt;
    filch_task *holder;
};

static void fill(struct full *full)
{
    filch_runtime_opts opts = {.workers = test_workers(), .blocking_threads = 1};

    full->gate = (struct gate)GATE_INIT;
    T_OK(filch_runtime_start(&opts, &full->rt));
    T_OK(filch_runtime_blocking_spawn(full->rt, pass_gate, &full->gate, NULL, &full->holder));
    T_WAIT_UNTIL(atomic_load(&full->gate.inside) == 1);
}

static void unfill(struct full *full)
{
    open_gate(&full->gate);
    T_OK(join(full->holder));
    stop_runtime(full->rt);
}

static int must_not_run(void *arg)
{
    (void)arg;
    T_CHECK(!"a job runs that was taken back");
    return 0;
}

static int run_in_time(void *arg)
{
    int result = 77;

    (void)arg;
    T_IS(filch_blocking_run(must_not_run, NULL, NULL, &result, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_blocking_run(must_not_run, NULL, NULL, &result, filch_after(FILCH_MILLISECOND)),
         -ETIMEDOUT);
    T_IS(result, 77);
    return 0;
}

Test(blocking_class, a_queued_run_is_taken_back_when_its_time_is_up)
{
    struct full full;
    filch_stats stats;

    fill(&full);
    T_OK(filch_runtime_block_on(full.rt, run_in_time, NULL, NULL, FILCH_NEVER));
    T_OK(filch_runtime_stats(full.rt, &stats));
    T_IS(stats.blocking_queued, 0);
    unfill(&full);
}

static int run_until_cancelled(void *arg)
{
    (void)arg;
    return filch_blocking_run(must_not_run, NULL, NULL, NULL, FILCH_NEVER);
}

static uint64_t queued(filch_runtime *rt)
{
    filch_stats stats;

    T_OK(filch_runtime_stats(rt, &stats));
    return stats.blocking_queued;
}

Test(blocking_class, cancel_takes_a_queued_run_back)
{
    struct full full;
    filch_task *task;

    fill(&full);
    T_OK(filch_runtime_spawn(full.rt, run_until_cancelled, NULL, NULL, &task));
    T_WAIT_UNTIL(queued(full.rt) == 1);
    T_OK(filch_task_cancel(task));
    T_IS(join(task), -ECANCELED);
    T_IS(queued(full.rt), 0);
    unfill(&full);
}

static bool all_finished(filch_runtime *rt)
{
    filch_stats stats;

    T_OK(filch_runtime_stats(rt, &stats));
    return stats.tasks_spawned == stats.tasks_finished;
}

struct seen {
    atomic_int started;
    int on_stack;
};

static int wait_for_cancel(void *arg)
{
    struct seen *seen = arg;

    atomic_store(&seen->started, 1);
    while (!filch_task_is_cancelled())
        sched_yield();
    seen->on_stack = 5;
    return 6;
}

static atomic_int run_started;

static int tell_started(void *arg)
{
    struct seen *seen = arg;

    atomic_store(&run_started, 1);
    return wait_for_cancel(seen);
}

static int run_with_frame(void *arg)
{
    struct seen seen = {0};
    int result = 0;

    (void)arg;
    T_OK(filch_blocking_run(tell_started, &seen, NULL, &result, FILCH_NEVER));
    T_IS(result, 6);
    T_IS(seen.on_stack, 5);
    T_CHECK(filch_task_is_cancelled());
    return 0;
}

Test(blocking_class, cancel_waits_for_a_run_that_has_started)
{
    filch_runtime *rt = start_runtime(0);
    filch_task *task;

    T_OK(filch_runtime_spawn(rt, run_with_frame, NULL, NULL, &task));
    T_WAIT_UNTIL(atomic_load(&run_started));
    T_OK(filch_task_cancel(task));
    T_OK(join(task));
    stop_runtime(rt);
}

/* Runs with hardly any time: some start, some are taken back, and each of the two is told. */
static atomic_int runs_started;

static int count_start(void *arg)
{
    *(int *)arg = 1;
    atomic_fetch_add(&runs_started, 1);
    return 1;
}

static int run_many(void *arg)
{
    intptr_t seed = (intptr_t)arg;
    int started = 0;

    for (int i = 0; i < 500; i++) {
        int ran = 0;
        filch_time until = filch_after((filch_time)((seed + i) % 8) * 5 * FILCH_MICROSECOND);
        int r = filch_blocking_run(count_start, &ran, NULL, NULL, until);

        T_CHECK(r == 0 || r == -ETIMEDOUT);
        T_IS(ran, r == 0);
        started += ran;
    }
    return started;
}

Test(blocking_class, taking_back_races_with_starting_and_one_wins)
{
    filch_runtime_opts opts = {.workers = test_workers(), .blocking_threads = 3};
    filch_task *task[8];
    filch_runtime *rt;
    int started = 0;

    T_OK(filch_runtime_start(&opts, &rt));
    for (intptr_t i = 0; i < 8; i++)
        T_OK(filch_runtime_spawn(rt, run_many, (void *)i, NULL, &task[i]));
    for (int i = 0; i < 8; i++)
        started += join(task[i]);
    T_IS(runs_started, started);
    T_IS(queued(rt), 0);
    T_WAIT_UNTIL(all_finished(rt)); /* a joiner is woken before its task is counted */
    stop_runtime(rt);
}

static int run_at_shutdown(void *arg)
{
    int r = filch_blocking_run(return_arg, (void *)3, NULL, NULL, FILCH_NEVER);

    T_CHECK(r == 0 || r == -ECANCELED || r == -ESHUTDOWN);
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

Test(blocking_class, shutdown_takes_queued_runs_back)
{
    struct full full;
    atomic_int ended = 0;

    fill(&full);
    for (int i = 0; i < 20; i++)
        T_OK(filch_runtime_spawn(full.rt, run_at_shutdown, &ended, NULL, NULL));
    T_WAIT_UNTIL(queued(full.rt) == 20);
    T_IS(filch_runtime_shutdown(full.rt, filch_after(50 * FILCH_MILLISECOND)), -ETIMEDOUT);
    T_WAIT_UNTIL(ended == 20); /* though the thread is still held */
    unfill(&full);
}
