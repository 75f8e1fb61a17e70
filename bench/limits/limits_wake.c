/* What it takes to reach another core: a cache line that goes to and fro, and a sleeping thread
 * that is woken by a futex or through a ring.
 *
 * Waker and sleeper are pinned to two cores. The waker waits until the sleeper sleeps (its state in
 * /proc would be exact, but costs more than what is measured: a pause that is long against the way
 * into the kernel does), takes the time, wakes, takes the time again; the sleeper takes the time
 * when it runs. */
#include "bench/limits/limits.h"

#include <errno.h>
#include <liburing.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    RUNS = 9,
    ROUNDS = 100000,
    WAKES = 300,
    PAUSE_NS = 300000,
};

static int cores[2];

/* Return: false when there is but one core to run on. */
static bool find_cores(void)
{
    cpu_set_t set;
    int n = 0;

    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return false;
    for (int cpu = 0; cpu < CPU_SETSIZE && n < 2; cpu++)
        if (CPU_ISSET(cpu, &set))
            cores[n++] = cpu;
    return n == 2;
}

static void pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static pthread_t start_thread(void *(*body)(void *))
{
    pthread_t thread;
    int r = pthread_create(&thread, NULL, body, NULL);

    if (r)
        limits_fail("pthread_create", r);
    return thread;
}

/* Odd: the other thread's turn. */
static _Atomic uint32_t ball;

static void *return_ball(void *arg)
{
    (void)arg;
    pin(cores[1]);
    for (uint32_t i = 0; i < (RUNS + 1) * ROUNDS; i++) {
        while (atomic_load_explicit(&ball, memory_order_acquire) != 2 * i + 1)
            ;
        atomic_store_explicit(&ball, 2 * i + 2, memory_order_release);
    }
    return NULL;
}

static void play(uint32_t from)
{
    for (uint32_t i = from; i < from + ROUNDS; i++) {
        atomic_store_explicit(&ball, 2 * i + 1, memory_order_release);
        while (atomic_load_explicit(&ball, memory_order_acquire) != 2 * i + 2)
            ;
    }
}

static void measure_line(void)
{
    pthread_t other = start_thread(return_ball);
    double ns[RUNS];

    play(0); /* warm-up */
    for (uint32_t i = 0; i < RUNS; i++) {
        uint64_t start = limits_now_ns();
        play((i + 1) * ROUNDS);
        ns[i] = (double)(limits_now_ns() - start) / ROUNDS;
    }
    pthread_join(other, NULL);
    limits_print("cache_line_round_trip", "ns", limits_median(ns, RUNS));
}

/* A way to sleep and to be woken; `wakes` is the futex, and counts for both. */
struct sleeper {
    void (*sleep)(uint32_t seen);
    void (*wake)(void);
};

static _Atomic uint32_t wakes, woken;
static _Atomic uint64_t ran_at_ns;
static struct io_uring ring;
static int event_fd;

static void futex_sleep(uint32_t seen)
{
    while (atomic_load(&wakes) == seen)
        syscall(SYS_futex, &wakes, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake(void)
{
    atomic_fetch_add(&wakes, 1);
    syscall(SYS_futex, &wakes, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void ring_sleep(uint32_t seen)
{
    static uint64_t events;
    struct io_uring_cqe *cqe;
    int r;

    io_uring_prep_read(io_uring_get_sqe(&ring), event_fd, &events, sizeof events, 0);
    r = io_uring_submit_and_wait(&ring, 1);
    if (r >= 0)
        r = io_uring_wait_cqe(&ring, &cqe);
    if (r < 0)
        limits_fail("waiting in a ring", -r);
    if (cqe->res != sizeof events || atomic_load(&wakes) != seen + 1)
        limits_fail("an eventfd came at the wrong time", EPROTO);
    io_uring_cqe_seen(&ring, cqe);
}

static void ring_wake(void)
{
    uint64_t one = 1;

    atomic_fetch_add(&wakes, 1);
    if (write(event_fd, &one, sizeof one) != sizeof one)
        limits_fail("write to an eventfd", errno);
}

static const struct sleeper by_futex = {futex_sleep, futex_wake};
static const struct sleeper by_ring = {ring_sleep, ring_wake};
static const struct sleeper *sleeper;

static void *sleep_often(void *arg)
{
    (void)arg;
    pin(cores[1]);
    for (uint32_t i = 0; i < WAKES; i++) {
        sleeper->sleep(i);
        atomic_store(&ran_at_ns, limits_now_ns());
        atomic_store(&woken, i + 1);
    }
    return NULL;
}

static void wake_often(const struct sleeper *how, double *to_run, double *call)
{
    double to_run_ns[WAKES], call_ns[WAKES];
    pthread_t other;

    sleeper = how;
    atomic_store(&wakes, 0);
    atomic_store(&woken, 0);
    other = start_thread(sleep_often);
    for (uint32_t i = 0; i < WAKES; i++) {
        uint64_t start = limits_now_ns() + PAUSE_NS, end;

        while (limits_now_ns() < start)
            ;
        start = limits_now_ns();
        how->wake();
        end = limits_now_ns();
        while (atomic_load(&woken) != i + 1)
            ;
        to_run_ns[i] = (double)atomic_load(&ran_at_ns) - (double)start;
        call_ns[i] = (double)(end - start);
    }
    pthread_join(other, NULL);
    *to_run = limits_median(to_run_ns, WAKES);
    *call = limits_median(call_ns, WAKES);
}

static void measure_futex(void)
{
    double to_run, call;

    wake_often(&by_futex, &to_run, &call);
    limits_print("futex_wake_to_run", "ns", to_run);
    limits_print("futex_wake_call", "ns", call);
}

static void measure_eventfd(void)
{
    double to_run, call;
    int r = io_uring_queue_init(8, &ring, 0);

    if (r < 0) {
        fprintf(stderr, "limits: left out: eventfd through a ring: %s\n", strerror(-r));
        return;
    }
    event_fd = eventfd(0, EFD_CLOEXEC);
    if (event_fd < 0)
        limits_fail("eventfd", errno);
    wake_often(&by_ring, &to_run, &call);
    limits_print("eventfd_ring_to_run", "ns", to_run);
    limits_print("eventfd_ring_call", "ns", call);
    close(event_fd);
    io_uring_queue_exit(&ring);
}

void limits_of_wakes(void)
{
    cpu_set_t before;

    if (!find_cores()) {
        fprintf(stderr, "limits: left out: wakes across cores: there is one core\n");
        return;
    }
    sched_getaffinity(0, sizeof before, &before);
    pin(cores[0]);
    measure_line();
    measure_futex();
    measure_eventfd();
    sched_setaffinity(0, sizeof before, &before);
}
