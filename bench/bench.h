/* What the benchmark programs share: one runs a named workload inside a runtime, once to warm up
 * and once for the figure, checks its own answer, and prints one line: result name=spawn_join
 * value=41.2 unit=ns/task check=ok */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <filch/filch.h>

#include <stdint.h>

struct bench {
    const char *name;
    const char *unit;
    /* Runs the workload once, in a task or, with `outside`, on the main thread. Returns the figure
     * in *ret_value; false: wrong answer. */
    bool (*run)(filch_runtime *rt, double *ret_value);
    bool outside;
};

/* The main function of a program with these workloads. Arguments: NAME [--workers N] [--stats] */
int bench_main(int argc, char **argv, const struct bench *benches, int n);

/* Ends the program with a message: for errors that leave no figure. */
__attribute__((noreturn)) void bench_fail(const char *what, int error);

/* Checks a call that must return 0 or more. */
#define BENCH_OK(call)                                                                             \
    do {                                                                                           \
        int bench_r_ = (int)(call);                                                                \
        if (bench_r_ < 0)                                                                          \
            bench_fail(#call, bench_r_);                                                           \
    } while (0)

/* A count that tasks bring down to zero, and one waiter. */
struct bench_latch {
    _Atomic(uint64_t) left;
    filch_chan *done;
};

void bench_latch_init(struct bench_latch *latch, uint64_t count);
void bench_latch_down(struct bench_latch *latch);
void bench_latch_wait(struct bench_latch *latch);

/* CPU time of the process in ns. */
uint64_t bench_cpu_ns(void);

#endif
