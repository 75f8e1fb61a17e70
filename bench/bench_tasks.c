/* Spawning, joining, yielding, blocking jobs: the workloads of the "Tasks" table in the benchmark
 * specification. */
#include "bench/bench.h"

#include <stdatomic.h>
#include <stdlib.h>

#define MILLION 1000000u
#define ONE_BY_ONE 300000u
#define JOBS 100000u
#define WAKES 200u
#define QUICK_JOBS 20000u
#define QUICK_WAKES 40u

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
    filch_task **tasks = bench_alloc(MILLION * sizeof *tasks);
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

struct question {
    filch_oneshot_tx *answer;
    uint64_t value;
};

static int answer_question(void *arg)
{
    struct question *question = arg;
    uint64_t value = question->value;

    BENCH_OK(filch_oneshot_send(question->answer, &value));
    return 0;
}

static bool oneshot(filch_runtime *rt, double *ret_value)
{
    filch_time start = filch_now();
    uint64_t sum = 0;

    (void)rt;
    for (uint64_t i = 0; i < ONE_BY_ONE; i++) {
        struct question question = {NULL, i};
        filch_oneshot_rx *answered;
        uint64_t value;

        BENCH_OK(filch_oneshot_new(sizeof value, &question.answer, &answered));
        /* It stays in this frame: the answer comes after the last look at it. */
        BENCH_OK(filch_spawn(answer_question, &question));
        BENCH_OK(filch_oneshot_recv(answered, &value, FILCH_NEVER));
        sum += value;
    }
    *ret_value = per(start, ONE_BY_ONE);
    return sum == (uint64_t)ONE_BY_ONE * (ONE_BY_ONE - 1) / 2;
}

static int note_start(void *arg)
{
    *(filch_time *)arg = filch_now();
    return 1;
}

/* A parent that computes for 5 ms after a spawn, with another worker asleep: how long until the
 * child runs? With one worker it is 5 ms. */
static bool spawn_wake(filch_runtime *rt, double *ret_value)
{
    uint64_t delays[WAKES];
    unsigned n = bench_quick ? QUICK_WAKES : WAKES;
    bool ok = true;

    (void)rt;
    for (unsigned i = 0; i < n; i++) {
        filch_time spawned, started = 0;
        filch_task *child;
        int result;

        BENCH_OK(filch_sleep(filch_after(2 * FILCH_MILLISECOND))); /* let the others park */
        spawned = filch_now();
        BENCH_OK(filch_task_spawn(note_start, &started, NULL, &child));
        while (filch_now() < spawned + 5 * FILCH_MILLISECOND)
            ;
        BENCH_OK(filch_task_join(child, &result, FILCH_NEVER));
        ok = ok && result == 1 && started >= spawned;
        delays[i] = started - spawned;
    }
    bench_percentiles(delays, n, ret_value);
    return ok;
}

static bool blocking(filch_runtime *rt, double *ret_value)
{
    unsigned jobs = bench_quick ? QUICK_JOBS : JOBS;
    filch_time start = filch_now();
    uint64_t sum = 0;

    (void)rt;
    for (unsigned i = 0; i < jobs; i++) {
        filch_task *job;
        int result;

        BENCH_OK(filch_blocking_spawn(answer_one, NULL, NULL, &job));
        BENCH_OK(filch_task_join(job, &result, FILCH_NEVER));
        sum += (uint64_t)result;
    }
    *ret_value = per(start, jobs);
    return sum == jobs;
}

static bool blocking_batch(filch_runtime *rt, double *ret_value)
{
    filch_task **jobs = bench_alloc(JOBS * sizeof *jobs);
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
        {"spawn_join", "ns/task", spawn_join, 0, NULL},
        {"spawn_join1", "ns/task", spawn_join1, 0, NULL},
        {"spawn_detached", "ns/task", spawn_detached, 0, NULL},
        {"spawn_outside", "ns/task", spawn_outside, BENCH_OUTSIDE, NULL},
        {"yield", "ns/yield", yield, 0, NULL},
        {"chain", "ns/task", chain, 0, NULL},
        {"oneshot", "ns/op", oneshot, 0, NULL},
        {"spawn_wake", "us", spawn_wake, BENCH_COLD, "p50_us"},
        {"blocking", "ns/op", blocking, 0, NULL},
        {"blocking_batch", "ns/op", blocking_batch, 0, NULL},
    };

    return bench_main(argc, argv, benches, (int)(sizeof benches / sizeof benches[0]));
}
