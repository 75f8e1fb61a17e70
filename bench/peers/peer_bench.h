/* What the task benchmarks in C and C++ share: `PROGRAM BENCH --workers N [--quick]`, a warm-up,
 * the clocks, and the result lines. */
#ifndef PEER_BENCH_H
#define PEER_BENCH_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    PEER_TASKS = 1000000,
    PEER_ONE_BY_ONE = 300000,
    PEER_MESSAGES = 5000000,
    PEER_CAPACITY = 128,
    PEER_BLOCKING = 100000,
    PEER_CHURNS = 1000000,
    PEER_BACKGROUND = 100000,
    PEER_WAKES = 200,
    PEER_QUICK_WAKES = 40,
    PEER_QUICK_BLOCKING = 20000,
    PEER_QUICK_SLEEPERS = 200000,
    PEER_PARKED = 10000,
    PEER_FIGURES = 4,
};

struct peer_figure {
    const char *metric; /* NULL: the one and only */
    const char *unit;
    double value;
};

struct peer_result {
    bool ok;
    int count;
    struct peer_figure figures[PEER_FIGURES];
};

struct peer_bench {
    const char *name;
    struct peer_result (*run)(void);
    bool cold; /* no warm-up */
};

static unsigned peer_workers;
static bool peer_quick;

static inline uint64_t peer_clock_ns(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline uint64_t peer_now_ns(void)
{
    return peer_clock_ns(CLOCK_MONOTONIC);
}

static inline uint64_t peer_cpu_ns(void)
{
    return peer_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static inline void peer_add(struct peer_result *result, const char *metric, const char *unit,
                            double value)
{
    struct peer_figure *figure = &result->figures[result->count++];
    figure->metric = metric;
    figure->unit = unit;
    figure->value = value;
}

static inline struct peer_result peer_begin(bool ok)
{
    struct peer_result result;
    memset(&result, 0, sizeof result);
    result.ok = ok;
    return result;
}

static inline struct peer_result peer_one(double value, const char *unit, bool ok)
{
    struct peer_result result = peer_begin(ok);
    peer_add(&result, NULL, unit, value);
    return result;
}

/* Sizes that --quick makes smaller. */
static inline int peer_wakes(void)
{
    return peer_quick ? PEER_QUICK_WAKES : PEER_WAKES;
}

static inline int peer_sleepers(void)
{
    return peer_quick ? PEER_QUICK_SLEEPERS : PEER_TASKS;
}

static inline int peer_blocking(void)
{
    return peer_quick ? PEER_QUICK_BLOCKING : PEER_BLOCKING;
}

/* ns per operation since @start. */
static inline struct peer_result peer_since(uint64_t start, double ops, bool ok)
{
    return peer_one((double)(peer_now_ns() - start) / ops, "ns/op", ok);
}

static inline int peer_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static inline struct peer_result peer_percentiles(uint64_t *samples_ns, size_t n, bool ok)
{
    struct peer_result result = peer_begin(ok);
    qsort(samples_ns, n, sizeof *samples_ns, peer_compare);
    peer_add(&result, "p50_us", "us", (double)samples_ns[n / 2] / 1e3);
    peer_add(&result, "p99_us", "us", (double)samples_ns[n * 99 / 100] / 1e3);
    return result;
}

/* The waits of `timers`: the same in every program. */
static inline uint64_t peer_random(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

#define PEER_RANDOM_SEED UINT64_C(0x9E3779B97F4A7C15)

static inline int peer_main(int argc, char **argv, const struct peer_bench *benches, int n)
{
    const struct peer_bench *bench = NULL;
    peer_workers = 2;
    for (int i = 0; argc > 1 && i < n; i++)
        if (strcmp(benches[i].name, argv[1]) == 0)
            bench = &benches[i];
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0)
            peer_quick = true;
        else if (strcmp(argv[i], "--workers") == 0 && i + 1 < argc)
            peer_workers = (unsigned)atoi(argv[++i]);
    }
    if (!bench || peer_workers == 0) {
        fprintf(stderr, "usage: %s BENCH [--workers N] [--quick]\n", argv[0]);
        return 2;
    }
    if (!bench->cold)
        bench->run();
    struct peer_result result = bench->run();
    for (int i = 0; i < result.count; i++) {
        const struct peer_figure *figure = &result.figures[i];
        printf("result name=%s%s%s value=%.2f unit=%s check=%s\n", bench->name,
               figure->metric ? " metric=" : "", figure->metric ? figure->metric : "",
               figure->value, figure->unit, result.ok ? "ok" : "FAILED");
    }
    fflush(stdout);
    _Exit(result.ok ? 0 : 1); /* at once: what a benchmark left pending need not be taken down */
}

#endif
