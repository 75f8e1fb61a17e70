/* Timers: what a sleep costs from spawn to end, what arming and cancelling costs, and how late a
 * short sleep is. */
#include "bench/bench.h"
#include "bench/process.h"

#include <stdatomic.h>
#include <stdlib.h>

#define SLEEPERS 1000000u
#define QUICK_SLEEPERS 200000u
#define CHURNS 1000000u
#define BACKGROUND 100000u

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
    unsigned n = bench_quick ? QUICK_SLEEPERS : SLEEPERS;
    struct sleeper *sleepers = bench_alloc(n * sizeof *sleepers);
    uint64_t cpu = process_cpu_ns();
    uint32_t random = 1;
    struct bench_latch latch;

    (void)rt;
    bench_latch_init(&latch, n);
    for (unsigned i = 0; i < n; i++) {
        sleepers[i].latch = &latch;
        sleepers[i].until = filch_after(next_random(&random) % 1000 * FILCH_MILLISECOND);
        BENCH_OK(filch_spawn(sleep_in_task, &sleepers[i]));
    }
    bench_latch_wait(&latch);
    *ret_value = (double)(process_cpu_ns() - cpu) / n;
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
    unsigned n = bench_quick ? QUICK_SLEEPERS : SLEEPERS;
    uint64_t cpu = process_cpu_ns();
    uint32_t random = 1;
    struct bench_latch latch;

    (void)rt;
    bench_latch_init(&latch, n);
    for (unsigned i = 0; i < n; i++) {
        struct sleeping_future *future = bench_alloc(sizeof *future);

        filch_sleep_future_init(&future->sleep,
                                filch_after(next_random(&random) % 1000 * FILCH_MILLISECOND));
        future->sleep.base.drop = count_and_free; /* it was ready: no timer is armed */
        future->latch = &latch;
        BENCH_OK(filch_future_spawn(&future->sleep.base, NULL, NULL));
    }
    bench_latch_wait(&latch);
    *ret_value = (double)(process_cpu_ns() - cpu) / n;
    return atomic_load(&latch.left) == 0;
}

/* A sleep that is polled once arms its timer, and one that is dropped cancels it: what a future
 * with a deadline does for each of its answers. The deadline is read from the clock once for all.
 */
struct churner {
    filch_future base;
    filch_time until;
    unsigned armed;
};

static filch_poll churn_poll(filch_future *self, filch_cx *cx)
{
    struct churner *churner = (struct churner *)self;

    for (unsigned i = 0; i < CHURNS; i++) {
        filch_sleep_future sleep;

        filch_sleep_future_init(&sleep, churner->until);
        churner->armed += sleep.base.poll(&sleep.base, cx) == FILCH_PENDING;
        sleep.base.drop(&sleep.base);
    }
    self->result = 0;
    return FILCH_READY;
}

static bool churn(filch_runtime *rt, double *ret_value)
{
    struct churner churner = {.base.poll = churn_poll, .until = filch_after(10 * FILCH_SECOND)};
    filch_time start = filch_now();

    (void)rt;
    BENCH_OK(filch_await(&churner.base, FILCH_NEVER));
    *ret_value = (double)(filch_now() - start) / CHURNS;
    return churner.armed == CHURNS;
}

/* 100k futures that sleep for a minute, so that the wheel is not empty. */
struct background {
    filch_sleep_future *sleeps;
    filch_task **tasks;
};

static void background_start(struct background *others)
{
    filch_stats stats;
    uint64_t polls;

    BENCH_OK(filch_runtime_stats(filch_runtime_self(), &stats));
    polls = stats.polls + BACKGROUND;
    others->sleeps = bench_alloc(BACKGROUND * sizeof *others->sleeps);
    others->tasks = bench_alloc(BACKGROUND * sizeof(filch_task *));
    for (unsigned i = 0; i < BACKGROUND; i++) {
        filch_sleep_future_init(&others->sleeps[i],
                                filch_after((60000 + i % 1000) * FILCH_MILLISECOND));
        BENCH_OK(filch_future_spawn(&others->sleeps[i].base, NULL, &others->tasks[i]));
    }
    do { /* each has armed its timer when it was polled */
        BENCH_OK(filch_sleep(filch_after(10 * FILCH_MILLISECOND)));
        BENCH_OK(filch_runtime_stats(filch_runtime_self(), &stats));
    } while (stats.polls < polls);
}

/* Return: were all of them still asleep? */
static bool background_end(struct background *others)
{
    bool asleep = true;

    for (unsigned i = 0; i < BACKGROUND; i++) {
        int result;

        BENCH_OK(filch_task_cancel(others->tasks[i]));
        BENCH_OK(filch_task_join(others->tasks[i], &result, FILCH_NEVER));
        asleep = asleep && result < 0;
    }
    free(others->tasks);
    free(others->sleeps);
    return asleep;
}

static bool churn_bg(filch_runtime *rt, double *ret_value)
{
    struct background others;
    bool ok;

    background_start(&others);
    ok = churn(rt, ret_value);
    return background_end(&others) && ok;
}

/* One short sleep after the other. */
static bool timer_error(filch_runtime *rt, double *ret_value)
{
    unsigned n = bench_quick ? 500 : 10000;
    uint64_t *late = bench_alloc(n * sizeof *late);
    bool ok = true;

    (void)rt;
    for (unsigned i = 0; i < n; i++) {
        filch_time until = filch_after(200 * FILCH_MICROSECOND), now;

        BENCH_OK(filch_sleep(until));
        now = filch_now();
        ok = ok && now >= until;
        late[i] = now - until;
    }
    bench_percentiles(late, n, ret_value);
    free(late);
    return ok;
}

int main(int argc, char **argv)
{
    static const struct bench benches[] = {
        {"timers", "CPU-ns/timer", timers, 0, NULL},
        {"timers_tasks", "CPU-ns/timer", timers_tasks, 0, NULL},
        {"churn", "ns/op", churn, 0, NULL},
        {"churn_bg", "ns/op", churn_bg, 0, NULL},
        {"timer_error", "us", timer_error, BENCH_COLD, "p50_us"},
    };

    return bench_main(argc, argv, benches, (int)(sizeof benches / sizeof benches[0]));
}
