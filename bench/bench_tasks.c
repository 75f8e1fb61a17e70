/* Spawning, joining, yielding, blocking jobs: the workloads of the "Tasks" table in the benchmark
 * specification. */
#include "bench/bench.h"

#include <stdatomic.h>
#include <stdlib.h>

#define MILLION 1000000u
#define ONE_BY_ONE 300000u
#define JOBS 100000u

static double per(filch_time start, double n)
{
    return (double)(filch_now() - start) / n;
}

static int answer_one(void *arg)
{
    (void)arg;
    return 1;
}

static bool spawn_join(filch_runtime *rt, double *ret_value)
{
    filch_task **tasks = malloc(MILLION * sizeof *tasks);
    filch_time start = filch_now();
    uint64_t sum = 0;

    (void)rt;
    for (unsigned i = 0; i < MILLION; i++)
        BENCH_OK(filch_task_spawn(answer_one, NULL, NULL, &tasks[i]));
    for (unsigned i = 0; i < MILLION; i++) {
        int result;

        BENCH_OK(filch_task_join(tasks[i], &result, FILCH_NEVER));
        sum += (uint64_t)result;
    }
    *ret_value = per(start, MILLION);
    free(tasks);
    return sum == MILLION;
}

static bool spawn_join1(filch_runtime *rt, double *ret_value)
{
    filch_time start = filch_now();
    uint64_t sum = 0;

    (void)rt;
    for (unsigned i = 0; i < ONE_BY_ONE; i++) {
        filch_task *task;
        int result;

        BENCH_OK(filch_task_spawn(answer_one, NULL, NULL, &task));
        BENCH_OK(filch_task_join(task, &result, FILCH_NEVER));
        sum += (uint64_t)result;
    }
    *ret_value = per(start, ONE_BY_ONE);
    return sum == ONE_BY_ONE;
}

static int count_down(void *arg)
{
    bench_latch_down(arg);
    return 0;
}

static bool spawn_detached(filch_runtime *rt, double *ret_value)
{
    struct bench_latch latch;
    filch_time start;

    (void)rt;
    bench_latch_init(&latch, MILLION);
    start = filch_now();
    for (unsigned i = 0; i < MILLION; i++)
        BENCH_OK(filch_spawn(count_down, &latch));
    bench_latch_wait(&latch);
    *ret_value = per(start, MILLION);
    return atomic_load(&latch.left) == 0;
}

static bool spawn_outside(filch_runtime *rt, double *ret_value)
{
    struct bench_latch latch;
    filch_time start;

    bench_latch_init(&latch, MILLION);
    start = filch_now();
    for (unsigned i = 0; i < MILLION; i++)
        BENCH_OK(filch_runtime_spawn(rt, count_down, &latch, NULL, NULL));
    bench_latch_wait(&latch);
    *ret_value = per(start, MILLION);
    return atomic_load(&latch.left) == 0;
}

static int yield_often(void *arg)
{
    for (unsigned i = 0; i < 1000; i++)
        filch_task_yield();
    bench_latch_down(arg);
    return 0;
}

static bool yield(filch_runtime *rt, double *ret_value)
{
    struct bench_latch latch;
    filch_time start;

    (void)rt;
    bench_latch_init(&latch, 1000);
    start = filch_now();
    for (unsigned i = 0; i < 1000; i++)
        BENCH_OK(filch_spawn(yield_often, &latch));
    bench_latch_wait(&latch);
    *ret_value = per(start, 1e6);
    return atomic_load(&latch.left) == 0;
}

static int chain_link(void *arg)
{
    struct bench_latch *latch = arg;

    if (atomic_fetch_sub_explicit(&latch->left, 1, memory_order_relaxed) == 1)
        BENCH_OK(filch_chan_send(latch->done, "", FILCH_NEVER));
    else
        BENCH_OK(filch_spawn(chain_link, latch));
    return 0;
}

static bool chain(filch_runtime *rt, double *ret_value)
{
    struct bench_latch latch;
    filch_time start;

    (void)rt;
    bench_latch_init(&latch, MILLION);
    start = filch_now();
    BENCH_OK(filch_spawn(chain_link, &latch));
    bench_latch_wait(&latch);
    *ret_value = per(start, MILLION);
    return atomic_load(&latch.left) == 0;
}

static bool blocking(filch_runtime *rt, double *ret_value)
{
    filch_time start = filch_now();
    uint64_t sum = 0;

    (void)rt;
    for (unsigned i = 0; i < JOBS; i++) {
        filch_task *job;
        int result;

        BENCH_OK(filch_blocking_spawn(answer_one, NULL, NULL, &job));
        BENCH_OK(filch_task_join(job, &result, FILCH_NEVER));
        sum += (uint64_t)result;
    }
    *ret_value = per(start, JOBS);
    return sum == JOBS;
}

static bool blocking_batch(filch_runtime *rt, double *ret_value)
{
    filch_task **jobs = malloc(JOBS * sizeof *jobs);
    filch_time start = filch_now();
    uint64_t sum = 0;

    (void)rt;
    for (unsigned i = 0; i < JOBS; i++)
        BENCH_OK(filch_blocking_spawn(answer_one, NULL, NULL, &jobs[i]));
    for (unsigned i = 0; i < JOBS; i++) {
        int result;

        BENCH_OK(filch_task_join(jobs[i], &result, FILCH_NEVER));
        sum += (uint64_t)result;
    }
    *ret_value = per(start, JOBS);
    free(jobs);
    return sum == JOBS;
}

int main(int argc, char **argv)
{
    static const struct bench benches[] = {
        {"spawn_join", "ns/task", spawn_join, false},
        {"spawn_join1", "ns/task", spawn_join1, false},
        {"spawn_detached", "ns/task", spawn_detached, false},
        {"spawn_outside", "ns/task", spawn_outside, true},
        {"yield", "ns/yield", yield, false},
        {"chain", "ns/task", chain, false},
        {"blocking", "ns/op", blocking, false},
        {"blocking_batch", "ns/op", blocking_batch, false},
    };

    return bench_main(argc, argv, benches, (int)(sizeof benches / sizeof benches[0]));
}
