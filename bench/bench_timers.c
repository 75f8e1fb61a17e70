/* A million sleepers: the CPU time that one timer costs, from spawn to the end of its task. */
#include "bench/bench.h"

#include <stdatomic.h>
#include <stdlib.h>

#define SLEEPERS 1000000u

struct sleeper {
    struct bench_latch *latch;
    filch_time until;
};

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static int sleep_in_task(void *arg)
{
    struct sleeper *sleeper = arg;

    BENCH_OK(filch_sleep(sleeper->until));
    bench_latch_down(sleeper->latch);
    return 0;
}

static bool timers_tasks(filch_runtime *rt, double *ret_value)
{
    struct sleeper *sleepers = malloc(SLEEPERS * sizeof *sleepers);
    uint64_t cpu = bench_cpu_ns();
    uint32_t random = 1;
    struct bench_latch latch;

    (void)rt;
    bench_latch_init(&latch, SLEEPERS);
    for (unsigned i = 0; i < SLEEPERS; i++) {
        sleepers[i].latch = &latch;
        sleepers[i].until = filch_after(next_random(&random) % 1000 * FILCH_MILLISECOND);
        BENCH_OK(filch_spawn(sleep_in_task, &sleepers[i]));
    }
    bench_latch_wait(&latch);
    *ret_value = (double)(bench_cpu_ns() - cpu) / SLEEPERS;
    free(sleepers);
    return atomic_load(&latch.left) == 0;
}

struct sleeping_future {
    filch_sleep_future sleep;
    struct bench_latch *latch;
};

static void count_and_free(filch_future *self)
{
    struct sleeping_future *future = (struct sleeping_future *)self;

    bench_latch_down(future->latch);
    free(future);
}

static bool timers(filch_runtime *rt, double *ret_value)
{
    uint64_t cpu = bench_cpu_ns();
    uint32_t random = 1;
    struct bench_latch latch;

    (void)rt;
    bench_latch_init(&latch, SLEEPERS);
    for (unsigned i = 0; i < SLEEPERS; i++) {
        struct sleeping_future *future = malloc(sizeof *future);

        filch_sleep_future_init(&future->sleep,
                                filch_after(next_random(&random) % 1000 * FILCH_MILLISECOND));
        future->sleep.base.drop = count_and_free; /* it was ready: no timer is armed */
        future->latch = &latch;
        BENCH_OK(filch_future_spawn(&future->sleep.base, NULL, NULL));
    }
    bench_latch_wait(&latch);
    *ret_value = (double)(bench_cpu_ns() - cpu) / SLEEPERS;
    return atomic_load(&latch.left) == 0;
}

int main(int argc, char **argv)
{
    static const struct bench benches[] = {
        {"timers", "CPU-ns/timer", timers, false},
        {"timers_tasks", "CPU-ns/timer", timers_tasks, false},
    };

    return bench_main(argc, argv, benches, (int)(sizeof benches / sizeof benches[0]));
}
