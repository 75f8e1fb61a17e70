/* limits - what the machine allows: the costs that every runtime is made of, measured bare.
 *
 * Each figure is the median of several short runs, in ns for one operation. They stand beside the
 * benchmarks so that a figure can be read as "so many switches" or "two wake-ups", and so that a
 * slow machine is seen for what it is. What needs io_uring or a second core is left out, aloud,
 * where there is none. */
#include "bench/limits/limits.h"

#include <errno.h>
#include <liburing.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "runtime/task/switch.h"

enum {
    RUNS = 9,
    PAGES = 4096,
    NOPS = 64,
};

uint64_t limits_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void limits_fail(const char *what, int error)
{
    fprintf(stderr, "limits: %s: %s\n", what, strerror(error));
    exit(1);
}

void limits_print(const char *metric, const char *unit, double value)
{
    printf("result name=limits metric=%s value=%.2f unit=%s check=ok\n", metric, value, unit);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double limits_median(double *values, unsigned n)
{
    qsort(values, n, sizeof *values, compare_doubles);
    return values[n / 2];
}

/* Prints the median time of one of the @n operations that run(@n) does. */
static void measure(const char *metric, void (*run)(unsigned n), unsigned n)
{
    double ns[RUNS];

    run(n); /* warm-up */
    for (int i = 0; i < RUNS; i++) {
        uint64_t start = limits_now_ns();
        run(n);
        ns[i] = (double)(limits_now_ns() - start) / n;
    }
    limits_print(metric, "ns", limits_median(ns, RUNS));
}

/* Switching stacks, as tasks do: both sides switch at the same place, so that the processor
 * predicts the return, as it does for tasks that wait in the same call. */
static void *sps[2];
static uint64_t switches_done;

__attribute__((noinline)) static void switch_loop(unsigned side, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        switches_done++;
        filch__switch(&sps[side], sps[!side]);
    }
}

static void other_side(void)
{
    for (;;)
        switch_loop(1, UINT32_MAX);
}

/* What filch__switch() finds on a stack, as filch__switch_prepare() makes it, but for a function of
 * C that is entered as if it were called. */
static void *first_frame(char *top, void (*entry)(void))
{
    uintptr_t *sp = (uintptr_t *)(void *)top;

#if defined(__x86_64__)
    *--sp = 0; /* where it would return to */
    *--sp = (uintptr_t)entry;
    for (int i = 0; i < 6; i++)
        *--sp = 0;
#elif defined(__aarch64__)
    for (int i = 0; i < 20; i++)
        *--sp = 0;
    sp[11] = (uintptr_t)entry;
#endif
    return sp;
}

static void switches(unsigned n)
{
    switch_loop(0, n / 2);
}

static void measure_switch(void)
{
    static char stack[65536] __attribute__((aligned(64)));
    unsigned n = 2000000;

    sps[1] = first_frame(stack + sizeof stack, other_side);
    measure("switch", switches, n);
    if (switches_done != (uint64_t)(RUNS + 1) * n)
        limits_fail("switches were lost", EPROTO);
}

static _Atomic uint64_t word;

static void cas(unsigned n)
{
    uint64_t seen = atomic_load(&word);

    for (unsigned i = 0; i < n; i++)
        if (atomic_compare_exchange_strong(&word, &seen, seen + 1))
            seen++;
}

static void locked_add(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        atomic_fetch_add(&word, 1);
}

static void measure_atomics(void)
{
    unsigned n = 5000000;

    measure("cas", cas, n);
    measure("locked_add", locked_add, n);
    if (atomic_load(&word) != (uint64_t)2 * (RUNS + 1) * n)
        limits_fail("additions were lost", EPROTO);
}

static void clock_reads(unsigned n)
{
    uint64_t last = 0;

    for (unsigned i = 0; i < n; i++) {
        uint64_t now = limits_now_ns();
        if (now < last)
            limits_fail("the clock went back", EPROTO);
        last = now;
    }
}

static void system_calls(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        syscall(SYS_getppid);
}

/* First touch of small pages, as a new stack does. */
static void page_faults(unsigned n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *memory = mmap(NULL, n * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        limits_fail("mmap", errno);
    madvise(memory, n * page, MADV_NOHUGEPAGE);
    for (unsigned i = 0; i < n; i++)
        *(volatile char *)(memory + i * page) = 1;
    munmap(memory, n * page);
}

static struct io_uring ring;

/* @n nops, @batch at a time. */
static void submit_nops(unsigned n, unsigned batch)
{
    struct io_uring_cqe *cqe;

    for (unsigned done = 0; done < n; done += batch) {
        for (unsigned i = 0; i < batch; i++)
            io_uring_prep_nop(io_uring_get_sqe(&ring));
        int r = io_uring_submit_and_wait(&ring, batch);
        if (r < 0)
            limits_fail("io_uring_submit_and_wait", -r);
        for (unsigned i = 0; i < batch; i++) {
            r = io_uring_peek_cqe(&ring, &cqe);
            if (r < 0)
                limits_fail("a nop did not complete", -r);
            io_uring_cqe_seen(&ring, cqe);
        }
    }
}

static void nops_alone(unsigned n)
{
    submit_nops(n, 1);
}

static void nops_batched(unsigned n)
{
    submit_nops(n, NOPS);
}

static void measure_ring(void)
{
    struct io_uring_params params = {.flags =
                                         IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG};
    int r = io_uring_queue_init_params(256, &ring, &params);

    if (r < 0) {
        fprintf(stderr, "limits: left out: ring nops: io_uring: %s\n", strerror(-r));
        return;
    }
    measure("ring_nop", nops_alone, 100000);
    measure("ring_nop_64", nops_batched, 64 * 4000);
    io_uring_queue_exit(&ring);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "limits")) {
        fprintf(stderr, "usage: %s [limits]\n", argv[0]);
        return 2;
    }
    measure_switch();
    measure_atomics();
    limits_of_wakes();
    measure_ring();
    measure("page_fault", page_faults, PAGES);
    measure("system_call", system_calls, 1000000);
    measure("clock_read", clock_reads, 1000000);
    return 0;
}
