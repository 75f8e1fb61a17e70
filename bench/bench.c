/* See bench.h. */
#include "bench/bench.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIGURES 8

struct figure {
    const char *metric;
    const char *unit;
    double value;
};

/* The further figures of the last run. Written by the workload, read after it. */
static struct figure figures[FIGURES];
static unsigned figure_count;

bool bench_quick;

struct job {
    const struct bench *bench;
    filch_runtime *rt;
    double value;
    bool ok;
};

void bench_fail(const char *what, int error)
{
    fprintf(stderr, "bench: %s: %s\n", what, strerror(-error));
    exit(1);
}

void bench_latch_init(struct bench_latch *latch, uint64_t count)
{
    atomic_init(&latch->left, count);
    BENCH_OK(filch_chan_new(1, 1, &latch->done));
}

void bench_latch_down(struct bench_latch *latch)
{
    if (atomic_fetch_sub_explicit(&latch->left, 1, memory_order_acq_rel) == 1)
        BENCH_OK(filch_chan_send(latch->done, "", FILCH_NEVER));
}

void bench_latch_wait(struct bench_latch *latch)
{
    char byte;

    BENCH_OK(filch_chan_recv(latch->done, &byte, FILCH_NEVER));
    filch_chan_unref(latch->done);
}

void *bench_alloc(size_t bytes)
{
    void *memory = malloc(bytes);

    if (!memory)
        bench_fail("malloc", -ENOMEM);
    return memory;
}

void bench_also(const char *metric, const char *unit, double value)
{
    if (figure_count == FIGURES)
        bench_fail("too many figures", -ENOSPC);
    figures[figure_count++] = (struct figure){metric, unit, value};
}

static int compare_samples(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

void bench_percentiles(uint64_t *samples_ns, unsigned n, double *ret_value)
{
    qsort(samples_ns, n, sizeof *samples_ns, compare_samples);
    *ret_value = (double)samples_ns[n / 2] / 1e3;
    bench_also("p99_us", "us", (double)samples_ns[n * 99 / 100] / 1e3);
}

static int run_job(void *arg)
{
    struct job *job = arg;

    job->ok = job->bench->run(job->rt, &job->value);
    return 0;
}

static void run_once(struct job *job)
{
    figure_count = 0;
    if (job->bench->flags & BENCH_OUTSIDE)
        run_job(job);
    else
        BENCH_OK(filch_runtime_block_on(job->rt, run_job, job, NULL, FILCH_NEVER));
}

static void print_stats(filch_runtime *rt)
{
    filch_stats s;

    BENCH_OK(filch_runtime_stats(rt, &s));
    fprintf(stderr,
            "polls %lu local %lu inject %lu steals %lu stolen %lu parks %lu wakes %lu useful %lu "
            "useless %lu "
            "spins %lu useful %lu ops %lu direct %lu enters %lu completions %lu rescued %lu timers "
            "%lu forks shared %lu moved %lu\n",
            s.polls, s.local_wakes, s.inject_wakes, s.steals, s.stolen_tasks, s.parks,
            s.worker_wakes, s.worker_wakes_useful, s.worker_wakes_useless, s.spins, s.spins_useful,
            s.ops_submitted, s.ops_direct, s.ring_enters, s.completions,
            s.completions_reaped_by_others, s.timers_fired, s.forks_shared, s.forks_moved);
}

static const struct bench *find(const struct bench *benches, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(benches[i].name, name))
            return &benches[i];
    return NULL;
}

static void print_result(const struct job *job, const struct figure *figure)
{
    printf("result name=%s%s%s value=%.2f unit=%s check=%s\n", job->bench->name,
           figure->metric ? " metric=" : "", figure->metric ? figure->metric : "", figure->value,
           figure->unit, job->ok ? "ok" : "WRONG");
}

static void print_results(const struct job *job)
{
    struct figure first = {job->bench->metric, job->bench->unit, job->value};

    print_result(job, &first);
    for (unsigned i = 0; i < figure_count; i++)
        print_result(job, &figures[i]);
}

int bench_main(int argc, char **argv, const struct bench *benches, int n)
{
    struct job job = {.bench = argc > 1 ? find(benches, n, argv[1]) : NULL};
    filch_runtime_opts opts = {0};
    bool stats = false;

    for (int i = 2; i < argc; i++) {
        if (!strcmp(argv[i], "--workers") && i + 1 < argc)
            opts.workers = (unsigned)atoi(argv[++i]);
        else if (!strcmp(argv[i], "--stats"))
            stats = true;
        else if (!strcmp(argv[i], "--quick"))
            bench_quick = true;
    }
    if (!job.bench) {
        fprintf(stderr, "usage: %s NAME [--workers N] [--quick] [--stats]; names:", argv[0]);
        for (int i = 0; i < n; i++)
            fprintf(stderr, " %s", benches[i].name);
        fprintf(stderr, "\n");
        return 2;
    }
    BENCH_OK(filch_runtime_start(&opts, &job.rt));
    job.ok = true;
    if (!(job.bench->flags & BENCH_COLD))
        run_once(&job); /* warm-up */
    if (job.ok)
        run_once(&job);
    if (stats)
        print_stats(job.rt);
    BENCH_OK(filch_runtime_shutdown(job.rt, FILCH_NEVER));
    print_results(&job);
    return job.ok ? 0 : 1;
}
