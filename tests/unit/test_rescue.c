/* Description: what lies with a worker that is stuck in a task, and that only another worker can
 * get out of there: completions in its lane, rescued unless that is turned off, and the task in its
 * LIFO slot. The stuck task ends only when the others have got on, so they are counted, not timed.
 */
#include <poll.h>
#include <semaphore.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "runtime/sched/worker.h"
#include "tests/runner/run.h"
#include "tests/runner/tcp_pair.h"

TestSuite(rescue, .timeout = 120);

static struct {
    filch_listener *listener;
    filch_tcp *server;
    int client; /* a plain socket, for the test's own thread */
    char addr[FILCH_ADDR_BYTES];
} line;

static atomic_uint home;     /* the worker with the reader's operation in its lane */
static atomic_bool held;     /* it is stuck */
static atomic_bool over;     /* it need not be any more */
static atomic_bool is_begun; /* the read */
static atomic_bool is_read;
static int pipe_fds[2];
static sem_t sem;
static filch_notify bell;
static atomic_uint asked, rung, heard; /* the bell is to be rung; was; and somebody woke of it */

/* ---- the two that wait ---- */

static int reads_the_line(void *arg)
{
    char byte = 0;

    (void)arg;
    atomic_store(&home, filch__worker_self()->index);
    atomic_store(&is_begun, true);
    T_IS((int)filch_tcp_read(line.server, &byte, 1, T_LIMIT), 1);
    T_CHECK(byte == 'x');
    atomic_store(&is_read, true);
    return 0;
}

static int hears_the_bell(void *arg)
{
    unsigned times = *(unsigned *)arg;

    while (atomic_load(&heard) < times) {
        T_OK(filch_notify_wait(&bell, T_LIMIT));
        T_CHECK(filch__worker_self()->index != atomic_load(&home));
        atomic_fetch_add(&heard, 1);
    }
    return 0;
}

struct waiter {
    const char *name;
    const char *doing;
    bool found;
};

static void find_waiter(void *arg, const filch_live *live)
{
    struct waiter *waiter = arg;

    waiter->found |=
        strcmp(live->name, waiter->name) == 0 && strcmp(live->doing, waiter->doing) == 0;
}

static bool waits(filch_runtime *rt, const char *name, const char *doing)
{
    struct waiter waiter = {.name = name, .doing = doing};

    T_CHECK(filch_runtime_visit(rt, find_waiter, &waiter) >= 0);
    return waiter.found;
}

/* ---- ways to be stuck ---- */

static int computes(void *arg)
{
    filch_time limit = T_LIMIT;

    (void)arg;
    T_CHECK(filch__worker_self()->index == atomic_load(&home));
    atomic_store(&held, true);
    while (!atomic_load(&over)) {
        T_CHECK(filch_now() < limit);
        if (atomic_load(&rung) == atomic_load(&asked))
            continue;
        atomic_fetch_add(&rung, 1);
        T_OK(filch_notify_one(&bell)); /* a wake goes into the slot; a spawn would not */
    }
    return 0;
}

/* The read has been staged, and its worker does not come to submit it. */
static int stages_and_computes(void *arg)
{
    filch_task_opts opts = {.worker = filch__worker_self()->index + 1};

    T_OK(filch_task_spawn(reads_the_line, NULL, &opts, NULL));
    while (!atomic_load(&is_begun))
        filch_task_yield();
    return computes(arg);
}

static int sits_in_read(void *arg)
{
    char byte;

    (void)arg;
    T_CHECK(filch__worker_self()->index == atomic_load(&home));
    atomic_store(&held, true);
    T_IS((int)read(pipe_fds[0], &byte, 1), 1);
    return 0;
}

static int sits_in_poll(void *arg)
{
    struct pollfd poll_fd = {.fd = pipe_fds[0], .events = POLLIN};

    (void)arg;
    atomic_store(&held, true);
    T_IS(poll(&poll_fd, 1, -1), 1);
    return 0;
}

static int sits_in_select(void *arg)
{
    struct timeval limit = {.tv_sec = 1000};
    fd_set set;

    (void)arg;
    FD_ZERO(&set);
    FD_SET(pipe_fds[0], &set);
    atomic_store(&held, true);
    T_IS(select(pipe_fds[0] + 1, &set, NULL, NULL, &limit), 1);
    return 0;
}

static int sits_in_a_semaphore(void *arg)
{
    struct timespec limit;

    (void)arg;
    T_OK(clock_gettime(CLOCK_REALTIME, &limit));
    limit.tv_sec += 1000;
    atomic_store(&held, true);
    T_OK(sem_timedwait(&sem, &limit));
    return 0;
}

/* ---- the stage ---- */

static int opens_the_line(void *arg)
{
    (void)arg;
    T_OK(filch_listener_open("127.0.0.1:0", NULL, &line.listener));
    T_OK(filch_listener_addr(line.listener, line.addr));
    raw_connect(line.client, line.addr);
    return filch_listener_accept(line.listener, &line.server, T_LIMIT);
}

static int closes_the_line(void *arg)
{
    (void)arg;
    T_OK(filch_tcp_close(line.server));
    return filch_listener_close(line.listener);
}

/* Two workers. Nobody is called in for one that is stuck. */
static filch_runtime *start(bool no_rescue)
{
    filch_runtime *rt = test_start(&(filch_runtime_opts){
        .workers = 2, .spare_workers = FILCH_NO_SPARES, .no_rescue = no_rescue});

    T_OK(pipe(pipe_fds));
    T_OK(sem_init(&sem, 0, 0));
    filch_notify_init(&bell);
    line.client = raw_socket();
    T_OK(filch_runtime_block_on(rt, opens_the_line, NULL, NULL, FILCH_NEVER));
    return rt;
}

static void get_stuck(filch_runtime *rt, filch_fn how, unsigned worker)
{
    filch_task_opts opts = {.pinned = true, .worker = worker + 1};

    T_OK(filch_runtime_spawn(rt, how, NULL, &opts, NULL));
    T_WAIT_UNTIL(atomic_load(&held));
}

/* One of them has a read in its lane, and is stuck. */
static filch_runtime *start_stuck(filch_fn how, bool no_rescue)
{
    filch_runtime *rt = start(no_rescue);

    T_OK(filch_runtime_spawn(rt, reads_the_line, NULL, &(filch_task_opts){.name = "reader"}, NULL));
    T_WAIT_UNTIL(waits(rt, "reader", "I/O"));
    get_stuck(rt, how, atomic_load(&home));
    return rt;
}

static void send_a_byte(void)
{
    T_IS((int)write(line.client, "x", 1), 1);
}

static void release(void)
{
    atomic_store(&over, true);
    T_OK(sem_post(&sem));
    T_IS((int)write(pipe_fds[1], "x", 1), 1);
}

static void stop_all(filch_runtime *rt)
{
    T_OK(filch_runtime_block_on(rt, closes_the_line, NULL, NULL, FILCH_NEVER));
    stop_runtime(rt);
    filch_notify_fini(&bell);
    close(line.client);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static filch_stats stats_of(filch_runtime *rt)
{
    filch_stats stats;

    T_OK(filch_runtime_stats(rt, &stats));
    return stats;
}

/* ---- completions ---- */

static void byte_arrives(filch_runtime *rt)
{
    T_CHECK(!atomic_load(&is_read));
    send_a_byte();
    T_WAIT_UNTIL(atomic_load(&is_read));
    T_CHECK(stats_of(rt).completions_reaped_by_others >= 1);
    T_CHECK(stats_of(rt).workers_called_in == 0);
    release();
    stop_all(rt);
}

Test(rescue, a_read_ends_though_its_worker_computes)
{
    byte_arrives(start_stuck(computes, false));
}

Test(rescue, a_read_ends_though_its_worker_is_in_read)
{
    byte_arrives(start_stuck(sits_in_read, false));
}

/* The kernel interrupts a thread when an operation that it has begun ends, but for these to go on
 * by themselves: neither has another result. */
Test(rescue, system_calls_of_tasks_are_restarted)
{
    static const filch_fn ways[] = {sits_in_poll, sits_in_select, sits_in_a_semaphore};

    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        atomic_store(&held, false);
        atomic_store(&is_read, false);
        byte_arrives(start_stuck(ways[i], false));
    }
}

Test(rescue, a_read_is_begun_though_its_worker_computes)
{
    filch_runtime *rt = start(false);

    get_stuck(rt, stages_and_computes, 0);
    byte_arrives(rt);
}

/* ---- the slot ---- */

/* @times: each time that somebody waits for the bell, it is rung by the task that is stuck. */
static void ring(filch_runtime *rt, unsigned times)
{
    for (unsigned i = 1; i <= times; i++) {
        T_WAIT_UNTIL(waits(rt, "listener", "notification"));
        atomic_store(&asked, i);
        T_WAIT_UNTIL(atomic_load(&heard) == i);
    }
}

static void spawn_listener(filch_runtime *rt, unsigned *times)
{
    T_OK(filch_runtime_spawn(rt, hears_the_bell, times, &(filch_task_opts){.name = "listener"},
                             NULL));
}

Test(rescue, what_a_stuck_task_has_woken_is_taken_out_of_the_slot)
{
    filch_runtime *rt = start_stuck(computes, false);
    unsigned times = 20;

    spawn_listener(rt, &times);
    ring(rt, times);
    byte_arrives(rt);
}

/* That the slot was emptied three times says that the worker was helped twice at least after the
 * byte had come, with all but its lane. */
Test(rescue, without_it_a_read_waits_for_its_worker)
{
    filch_runtime *rt = start_stuck(computes, true);
    unsigned times = 3;

    spawn_listener(rt, &times);
    send_a_byte();
    ring(rt, times);
    T_CHECK(!atomic_load(&is_read));
    T_CHECK(stats_of(rt).completions_reaped_by_others == 0);
    release();
    T_WAIT_UNTIL(atomic_load(&is_read));
    stop_all(rt);
}
