/* What the benchmark programs share: one runs a named workload inside a runtime, once to warm up
 * and once for the figure, checks its own answer, and prints a line for each figure: result
 * name=spawn_join value=41.2 unit=ns/task check=ok */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <filch/filch.h>

#include <stdint.h>

enum bench_flags {
    BENCH_OUTSIDE = 1, /* run on the main thread, not in a task */
    BENCH_COLD = 2, /* no warm-up: it would change what is measured, or takes its time by itself */
};

struct bench {
    const char *name;
    const char *unit;
    /* Runs the workload once. Returns the figure in *ret_value; false: wrong answer. */
    bool (*run)(filch_runtime *rt, double *ret_value);
    unsigned flags;
    const char *metric; /* what the figure is, where there are several; NULL: the one and only */
};

/* Was --quick given? For workloads whose size is time or memory; counts of operations stay. */
extern bool bench_quick;

/* The main function of a program with these workloads. Arguments: NAME [--workers N] [--quick]
 * [--stats] */
int bench_main(int argc, char **argv, const struct bench *benches, int n);

/* Adds a further figure of the running workload. The texts are literals. */
void bench_also(const char *metric, const char *unit, double value);

/* Sorts @samples_ns; p50 in us goes to *ret_value, p99 to bench_also(). */
void bench_percentiles(uint64_t *samples_ns, unsigned n, double *ret_value);

/* Ends the program with a message: for errors that leave no figure. */
__attribute__((noreturn)) void bench_fail(const char *what, int error);

/* Checks a call that must return 0 or more. */
#define BENCH_OK(call)                                                                             \
    do {                                                                                           \
        int bench_r_ = (int)(call);                                                                \
        if (bench_r_ < 0)                                                                          \
            bench_fail(#call, bench_r_);                                                           \
    } while (0)

/* malloc() that ends the program when it fails. */
void *bench_alloc(size_t bytes);

/* A count that tasks bring down to zero, and one waiter. */
struct bench_latch {
    _Atomic(uint64_t) left;
    filch_chan *done;
};

void bench_latch_init(struct bench_latch *latch, uint64_t count);
void bench_latch_down(struct bench_latch *latch);
void bench_latch_wait(struct bench_latch *latch);

#endif
