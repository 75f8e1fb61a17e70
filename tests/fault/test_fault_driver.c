/* Description: the driver under faults made to order (runtime/base/fault.h): each kind of operation
 * with each result that it may be given, and each system call of io_uring and epoll failing at each
 * of its uses. What the header promises holds, nothing is lost, nothing left open, and the object
 * is usable afterwards. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/uio.h>

#include <criterion/criterion.h>

#include "runtime/base/fault.h"
#include "tests/runner/process.h"
#include "tests/runner/tcp_pair.h"

TestSuite(fault_driver, .timeout = 120);

/* What an operation may be given instead of its result. */
static const int results[] = {-EINTR, -EAGAIN, -ECANCELED, -ENOBUFS, -ENOMEM, -ETIME};
#define RESULTS (sizeof(results) / sizeof(*results))
#define LAST 3 /* each fault is made at the first to this use */

static unsigned pairs; /* (operation, result, use) that were really made */

static void arm(enum filch__fault point, unsigned nth, int value)
{
    filch__fault_arm(point, nth, 1, value);
}

static void expect_fired(enum filch__fault point)
{
    T_IS(filch__fault_fired(point), 1);
    filch__fault_disarm();
    pairs++;
}

/* One byte there and back, without a limit that a fault could be mistaken for. */
static void check_usable(struct tcp_pair *pair)
{
    char byte = 0;

    T_OK(filch_tcp_write_all(pair->client, "?", 1, NULL, T_LIMIT));
    T_OK(filch_tcp_read_exact(pair->server, &byte, 1, NULL, T_LIMIT));
    T_IS(byte, '?');
    T_OK(filch_tcp_write_all(pair->server, "!", 1, NULL, T_LIMIT));
    T_OK(filch_tcp_read_exact(pair->client, &byte, 1, NULL, T_LIMIT));
    T_IS(byte, '!');
}

/* These say that nothing was done and that trying again helps: no caller sees them. */
static bool is_silent(int result)
{
    return result == -EINTR || result == -ECANCELED;
}

/* Reads. */

static ssize_t read_one(struct tcp_pair *pair, char *buf, size_t bytes)
{
    return filch_tcp_read(pair->server, buf, bytes, T_LIMIT);
}

static ssize_t read_two(struct tcp_pair *pair, char *buf, size_t bytes)
{
    struct iovec iov[] = {{buf, 1}, {buf + 1, bytes - 1}};

    return filch_tcp_readv(pair->server, iov, 2, T_LIMIT);
}

static void read_with(ssize_t (*read_some)(struct tcp_pair *, char *, size_t), int result,
                      unsigned nth)
{
    struct tcp_pair pair;
    char buf[8] = "";
    unsigned errors = 0;

    connect_pair(&pair);
    arm(FILCH_FAULT_OP_RECV, nth, result);
    for (char sent = 'a'; sent < 'a' + LAST; sent++) {
        ssize_t n;

        T_OK(filch_tcp_write_all(pair.client, &sent, 1, NULL, T_LIMIT));
        while ((n = read_some(&pair, buf, sizeof(buf))) == result)
            errors++;
        T_IS(n, 1);
        T_IS(buf[0], sent); /* none was lost with the fault */
    }
    T_IS(errors, !is_silent(result) && result != -EAGAIN);
    expect_fired(FILCH_FAULT_OP_RECV);
    check_usable(&pair);
    close_pair(&pair);
}

static int reads_body(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < RESULTS; i++)
        for (unsigned nth = 1; nth <= LAST; nth++) {
            read_with(read_one, results[i], nth);
            read_with(read_two, results[i], nth);
        }
    return 0;
}

/* Writes, through the ring: that takes a worker with a long queue. */

static int keep_busy(void *arg)
{
    while (!atomic_load((atomic_int *)arg))
        filch_task_yield();
    return 0;
}

static ssize_t write_one(struct tcp_pair *pair, const char *buf, size_t bytes)
{
    return filch_tcp_write(pair->client, buf, bytes, T_LIMIT);
}

static ssize_t write_two(struct tcp_pair *pair, const char *buf, size_t bytes)
{
    struct iovec iov[] = {{(char *)buf, 1}, {(char *)buf + 1, bytes - 1}};

    return filch_tcp_writev(pair->client, iov, 2, T_LIMIT);
}

static void write_with(ssize_t (*write_some)(struct tcp_pair *, const char *, size_t), int result,
                       unsigned nth)
{
    struct tcp_pair pair;
    char got[4 * LAST + 1] = "";
    unsigned errors = 0;

    connect_pair(&pair);
    arm(FILCH_FAULT_OP_SEND, nth, result);
    for (int i = 0; i < LAST; i++) {
        ssize_t n;

        while ((n = write_some(&pair, "abcd", 4)) == result)
            errors++;
        T_IS(n, 4);
    }
    T_IS(errors, !is_silent(result) && result != -EAGAIN);
    expect_fired(FILCH_FAULT_OP_SEND);
    T_OK(filch_tcp_read_exact(pair.server, got, 4 * LAST, NULL, T_LIMIT));
    T_OK(strcmp(got, "abcdabcdabcd")); /* none was written twice */
    check_usable(&pair);
    close_pair(&pair);
}

static int writes_body(void *arg)
{
    atomic_int finished = 0;
    FILCH_SCOPE(busy);

    (void)arg;
    for (int i = 0; i < 8; i++)
        T_OK(filch_scope_spawn(&busy, keep_busy, &finished));
    for (size_t i = 0; i < RESULTS; i++)
        for (unsigned nth = 1; nth <= LAST; nth++) {
            write_with(write_one, results[i], nth);
            write_with(write_two, results[i], nth);
        }
    atomic_store(&finished, 1);
    return filch_scope_join(&busy, T_LIMIT);
}

/* Fewer bytes than asked for, in and out. */
static int short_body(void *arg)
{
    static char out[4096], in[4096];
    atomic_int finished = 0;
    struct tcp_pair pair;
    FILCH_SCOPE(busy);

    (void)arg;
    for (size_t i = 0; i < sizeof(out); i++)
        out[i] = (char)(i * 7);
    for (int i = 0; i < 8; i++)
        T_OK(filch_scope_spawn(&busy, keep_busy, &finished));
    connect_pair(&pair);
    for (int most = 1; most <= 1000; most *= 10) {
        struct iovec iov[] = {{out, 100}, {out + 100, 200}, {out + 300, sizeof(out) - 300}};

        filch__fault_arm(FILCH_FAULT_OP_SEND, 2, 5, most);
        filch__fault_arm(FILCH_FAULT_OP_RECV, 1, 7, most);
        memset(in, 0, sizeof(in));
        T_OK(filch_tcp_write_all(pair.client, out, sizeof(out), NULL, T_LIMIT));
        T_OK(filch_tcp_writev_all(pair.client, iov, 3, NULL, T_LIMIT));
        T_OK(filch_tcp_writev_all(pair.client, iov, 3, NULL, T_LIMIT));
        for (int i = 0; i < 3; i++) {
            T_OK(filch_tcp_read_exact(pair.server, in, sizeof(in), NULL, T_LIMIT));
            T_OK(memcmp(in, out, sizeof(in)));
        }
        T_CHECK(filch__fault_fired(FILCH_FAULT_OP_SEND) > 1);
        T_IS(filch__fault_fired(FILCH_FAULT_OP_RECV), 7);
        pairs += 2;
    }
    filch__fault_disarm();
    check_usable(&pair);
    close_pair(&pair);
    atomic_store(&finished, 1);
    return filch_scope_join(&busy, T_LIMIT);
}

/* The poll for a socket that gives EAGAIN: somebody else has made it non-blocking. */
static void poll_with(int result, unsigned nth)
{
    struct tcp_pair pair;
    unsigned errors = 0;
    char byte;

    connect_pair(&pair);
    filch__fault_arm(FILCH_FAULT_OP_RECV, 1, LAST, -EAGAIN);
    arm(FILCH_FAULT_OP_POLL, nth, result);
    for (char sent = 'a'; sent < 'a' + LAST; sent++) {
        ssize_t n;

        T_OK(filch_tcp_write_all(pair.client, &sent, 1, NULL, T_LIMIT));
        while ((n = filch_tcp_read(pair.server, &byte, 1, T_LIMIT)) == result)
            errors++;
        T_IS(n, 1);
        T_IS(byte, sent);
    }
    T_IS(errors, !is_silent(result));
    expect_fired(FILCH_FAULT_OP_POLL);
    check_usable(&pair);
    close_pair(&pair);
}

static int polls_body(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < RESULTS; i++)
        for (unsigned nth = 1; nth <= LAST; nth++)
            poll_with(results[i], nth);
    return 0;
}

/* Connects. */

static void connect_with(int result, unsigned nth)
{
    int before = (int)process_files();
    struct tcp_pair pair;
    unsigned errors = 0;

    listen_any(&pair);
    arm(FILCH_FAULT_OP_CONNECT, nth, result);
    for (int i = 0; i < LAST; i++) {
        int r;

        while ((r = filch_tcp_connect(pair.addr, &pair.client, T_LIMIT)) == result)
            errors++;
        T_OK(r);
        T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
        check_usable(&pair);
        T_OK(filch_tcp_close(pair.client));
        T_OK(filch_tcp_close(pair.server));
    }
    T_IS(errors, !is_silent(result));
    expect_fired(FILCH_FAULT_OP_CONNECT);
    T_IS(filch_listener_accept(pair.listener, &pair.server, FILCH_NOW), -ETIMEDOUT);
    T_OK(filch_listener_close(pair.listener));
    T_IS((int)process_files(), before);
}

static int connects_body(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < RESULTS; i++)
        for (unsigned nth = 1; nth <= LAST; nth++)
            connect_with(results[i], nth);
    return 0;
}

/* Accepts: the listener sees to everything by itself. */

static int accept_one(void *arg)
{
    struct tcp_pair *pair = arg;

    T_OK(filch_listener_accept(pair->listener, &pair->server, T_LIMIT));
    return 0;
}

static bool is_lack(int result)
{
    return result == -ENOBUFS || result == -ENOMEM || result == -EMFILE || result == -ENFILE ||
           result == -ENOSPC;
}

/* The fault hits an accept that waits already, @times in a row. */
static void accept_with(int result, unsigned times)
{
    filch_stats stats;
    uint64_t backoffs;
    struct tcp_pair pair;
    filch_task *task;

    T_OK(filch_runtime_stats(filch_runtime_self(), &stats));
    backoffs = stats.accept_backoffs;
    listen_any(&pair);
    filch__fault_arm(FILCH_FAULT_OP_ACCEPT, 1, times, result);
    task = spawn(accept_one, &pair);
    T_WAIT_UNTIL(filch__fault_fired(FILCH_FAULT_OP_ACCEPT) == times);
    T_OK(filch_tcp_connect(pair.addr, &pair.client, T_LIMIT));
    T_OK(join(task));
    filch__fault_disarm();
    pairs++;
    T_OK(filch_runtime_stats(filch_runtime_self(), &stats));
    /* It pauses when the kernel has nothing left, and only then. */
    T_IS(stats.accept_backoffs - backoffs, is_lack(result) ? times : 0);
    check_usable(&pair);
    close_pair(&pair);
}

static int accepts_body(void *arg)
{
    static const int more[] = {-ECONNABORTED, -EPROTO, -EMFILE, -ENFILE, -ENOSPC};

    (void)arg;
    for (unsigned times = 1; times <= LAST; times++) {
        for (size_t i = 0; i < RESULTS; i++)
            accept_with(results[i], times);
        for (size_t i = 0; i < sizeof(more) / sizeof(*more); i++)
            accept_with(more[i], times);
    }
    return 0;
}

/* A listener that can never accept again says so, to each of those who wait, and does not spin. */
static int accept_broken(void *arg)
{
    struct tcp_pair *pair = arg;
    filch_tcp *conn;

    T_IS(filch_listener_accept(pair->listener, &conn, T_LIMIT), -EBADF);
    return 0;
}

static int broken_accepts_body(void *arg)
{
    struct tcp_pair pair;
    FILCH_SCOPE(scope);

    (void)arg;
    listen_any(&pair);
    filch__fault_arm(FILCH_FAULT_OP_ACCEPT, 1, 10, -EBADF);
    for (int i = 0; i < 10; i++)
        T_OK(filch_scope_spawn(&scope, accept_broken, &pair));
    T_OK(filch_scope_join(&scope, T_LIMIT));
    T_IS(filch__fault_fired(FILCH_FAULT_OP_ACCEPT), 10);
    filch__fault_disarm();
    /* It was not, after all. */
    T_OK(filch_tcp_connect(pair.addr, &pair.client, T_LIMIT));
    T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
    close_pair(&pair);
    return 0;
}

/* An old kernel knows no accept of several: one at a time. */
static int single_accepts_body(void *arg)
{
    struct tcp_pair pair;

    (void)arg;
    listen_any(&pair);
    arm(FILCH_FAULT_OP_ACCEPT, 1, -EINVAL);
    for (int i = 0; i < 5; i++) {
        T_OK(filch_tcp_connect(pair.addr, &pair.client, T_LIMIT));
        T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
        check_usable(&pair);
        T_OK(filch_tcp_close(pair.client));
        T_OK(filch_tcp_close(pair.server));
    }
    expect_fired(FILCH_FAULT_OP_ACCEPT);
    T_OK(filch_listener_close(pair.listener));
    return 0;
}

static int operations_body(void *arg)
{
    int (*const *bodies)(void *) = arg;

    for (; *bodies; bodies++) {
        int before = (int)process_files();

        T_OK((*bodies)(NULL));
        T_IS((int)process_files(), before);
    }
    return 0;
}

Test(fault_driver, every_operation_with_every_result)
{
    int (*bodies[])(void *) = {
        reads_body,   writes_body,         short_body,          polls_body, connects_body,
        accepts_body, broken_accepts_body, single_accepts_body, NULL,
    };

    cr_assert_eq(run_in_runtime(1, operations_body, bodies), 0);
    printf("%u faults made\n", pairs);
    cr_assert(pairs >= 100);
}

/* What wakes a parked worker. */
static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

Test(fault_driver, a_wake_up_that_fails_is_armed_again)
{
    filch_runtime_opts opts = {.workers = 1, .spin_ns = FILCH_NEVER};
    filch_runtime *rt;

    cr_assert_eq(filch_runtime_start(&opts, &rt), 0);
    for (size_t i = 0; i < RESULTS; i++)
        for (unsigned nth = 1; nth <= LAST; nth++) {
            arm(FILCH_FAULT_OP_EVENT, nth, results[i]);
            while (!filch__fault_fired(FILCH_FAULT_OP_EVENT))
                T_OK(filch_runtime_block_on(rt, nothing, NULL, NULL, FILCH_NEVER));
            expect_fired(FILCH_FAULT_OP_EVENT);
            T_OK(filch_runtime_block_on(rt, nothing, NULL, NULL, FILCH_NEVER));
        }
    cr_assert_eq(pairs, RESULTS * LAST);
    stop_runtime(rt);
}

/* Cancels are system calls of their own. */

static int read_until_cancelled(void *arg)
{
    char byte;

    T_IS(filch_tcp_read(arg, &byte, 1, FILCH_NEVER), -ECANCELED);
    return 0;
}

static int cancels_body(void *arg)
{
    static const int errors[] = {-EINTR, -EAGAIN, -EBUSY, -ENOMEM, -ENOENT, -EALREADY};
    struct tcp_pair pair;

    (void)arg;
    connect_pair(&pair);
    for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
        for (unsigned times = 1; times <= LAST; times++) {
            filch_task *task = spawn(read_until_cancelled, pair.server);
            char byte;

            let_others_run();
            filch__fault_arm(FILCH_FAULT_URING_REGISTER, 1, times, errors[i]);
            T_OK(filch_task_cancel(task));
            T_OK(join(task));
            T_IS(filch__fault_fired(FILCH_FAULT_URING_REGISTER), times);
            filch__fault_arm(FILCH_FAULT_URING_REGISTER, 1, times, errors[i]);
            T_IS(filch_tcp_read(pair.server, &byte, 1, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
            T_IS(filch__fault_fired(FILCH_FAULT_URING_REGISTER), times);
            pairs += 2;
            filch__fault_disarm();
            check_usable(&pair);
        }
    close_pair(&pair);
    return 0;
}

Test(fault_driver, a_cancel_that_fails_is_repeated)
{
    cr_assert_eq(run_in_runtime(1, cancels_body, NULL), 0);
}

/* Submitting and waiting. */

static int echo(void *arg)
{
    filch_tcp *conn = arg;
    char buffer[64];
    ssize_t n;

    while ((n = filch_tcp_read(conn, buffer, sizeof(buffer), T_LIMIT)) > 0)
        T_OK(filch_tcp_write_all(conn, buffer, (size_t)n, NULL, T_LIMIT));
    T_IS(n, 0);
    return filch_tcp_close(conn);
}

/* Everything that enters a ring: accept, connect, read, time-outs, cancels, sleeping workers. */
static int round_trip(void *arg)
{
    struct tcp_pair pair;
    filch_task *task;
    char byte = 0;

    (void)arg;
    connect_pair(&pair);
    T_IS(filch_tcp_read(pair.client, &byte, 1, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    task = spawn(echo, pair.server);
    for (int i = 0; i < 5; i++) {
        T_OK(filch_tcp_write_all(pair.client, "x", 1, NULL, T_LIMIT));
        T_OK(filch_tcp_read_exact(pair.client, &byte, 1, NULL, T_LIMIT));
        T_IS(byte, 'x');
        T_OK(filch_sleep(filch_after(100 * FILCH_MICROSECOND)));
    }
    T_OK(filch_tcp_close(pair.client));
    T_OK(join(task));
    T_OK(filch_listener_close(pair.listener));
    return 0;
}

static void enters_fail(unsigned workers)
{
    static const int errors[] = {-EINTR, -EAGAIN, -EBUSY, -ENOMEM, -ETIME};
    static const unsigned in_a_row[] = {1, 2, 20};
    filch_runtime *rt = start_runtime(workers);
    int before = (int)process_files();

    for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
        for (size_t k = 0; k < sizeof(in_a_row) / sizeof(*in_a_row); k++)
            for (unsigned nth = 1; nth <= 12; nth++) {
                filch__fault_arm(FILCH_FAULT_URING_ENTER, nth, in_a_row[k], errors[i]);
                T_OK(filch_runtime_block_on(rt, round_trip, NULL, NULL, FILCH_NEVER));
                T_CHECK(filch__fault_fired(FILCH_FAULT_URING_ENTER) > 0);
                filch__fault_disarm();
                pairs++;
            }
    T_IS((int)process_files(), before);
    stop_runtime(rt);
}

Test(fault_driver, an_enter_that_fails_loses_nothing)
{
    enters_fail(1);
    enters_fail(2);
    cr_assert_eq(pairs, 2 * 5 * 3 * 12);
}

/* For a long time the kernel takes nothing: workers wait outside of their rings, and notice who
 * wakes them. */
Test(fault_driver, a_worker_that_may_not_enter_is_woken_all_the_same)
{
    filch_runtime_opts opts = {.workers = 1, .spin_ns = FILCH_NEVER};
    filch_runtime *rt;

    cr_assert_eq(filch_runtime_start(&opts, &rt), 0);
    filch__fault_arm(FILCH_FAULT_URING_ENTER, 1, 1 << 30, -EAGAIN);
    /* On a busy machine the next one may always come before the worker parks. */
    for (int i = 0; i < 100 || !filch__fault_fired(FILCH_FAULT_URING_ENTER); i++)
        T_OK(filch_runtime_block_on(rt, nothing, NULL, NULL, FILCH_NEVER));
    filch__fault_disarm();
    T_OK(filch_runtime_block_on(rt, round_trip, NULL, NULL, FILCH_NEVER));
    stop_runtime(rt);
}

/* The queue is full with a read, and the kernel takes nothing for a while: the worker cannot arm
 * its wake-up, and must not wait without one when the kernel takes the read at last. */
struct sleeper {
    struct tcp_pair pair;
    filch_task *reader;
};

static int prepare_sleeper(void *arg)
{
    connect_pair(&((struct sleeper *)arg)->pair);
    return 0;
}

static int begin_sleeping(void *arg)
{
    struct sleeper *sleeper = arg;

    sleeper->reader = spawn(read_until_cancelled, sleeper->pair.server);
    return 0;
}

static int end_sleeping(void *arg)
{
    struct sleeper *sleeper = arg;

    T_OK(filch_task_cancel(sleeper->reader));
    return join(sleeper->reader);
}

static int end_sleeper(void *arg)
{
    struct sleeper *sleeper = arg;

    check_usable(&sleeper->pair);
    close_pair(&sleeper->pair);
    return 0;
}

Test(fault_driver, a_wake_up_that_cannot_be_armed_is_not_relied_upon)
{
    filch_runtime_opts opts = {.workers = 1, .spin_ns = FILCH_NEVER, .ring_entries = 1};
    struct sleeper sleeper;
    filch_runtime *rt;
    int result;

    cr_assert_eq(filch_runtime_start(&opts, &rt), 0);
    T_OK(filch_runtime_block_on(rt, prepare_sleeper, &sleeper, NULL, FILCH_NEVER));
    for (unsigned nth = 1; nth <= 8; nth++)
        for (unsigned times = 1; times <= 8; times++) {
            filch__fault_arm(FILCH_FAULT_URING_ENTER, nth, times, -EAGAIN);
            T_OK(filch_runtime_block_on(rt, begin_sleeping, &sleeper, NULL, FILCH_NEVER));
            let_others_run(); /* chances are that it sleeps now */
            T_OK(filch_runtime_block_on(rt, end_sleeping, &sleeper, &result, FILCH_NEVER));
            T_OK(result);
            filch__fault_disarm();
        }
    T_OK(filch_runtime_block_on(rt, end_sleeper, &sleeper, NULL, FILCH_NEVER));
    stop_runtime(rt);
}

/* Tasks that find the queue full, and the kernel not taking it, wait for their turn. */
static int read_letter(void *arg)
{
    char byte = 0;

    T_IS(filch_tcp_read(arg, &byte, 1, T_LIMIT), 1);
    T_IS(byte, 'x');
    return 0;
}

static int full_queue_body(void *arg)
{
    static char letters[100];
    struct tcp_pair pair;
    FILCH_SCOPE(scope);

    (void)arg;
    connect_pair(&pair);
    filch__fault_arm(FILCH_FAULT_URING_ENTER, 1, 300, -EBUSY);
    for (int i = 0; i < 100; i++)
        T_OK(filch_scope_spawn(&scope, read_letter, pair.server));
    let_others_run();
    memset(letters, 'x', sizeof(letters));
    T_OK(filch_tcp_write_all(pair.client, letters, sizeof(letters), NULL, T_LIMIT));
    T_OK(filch_scope_join(&scope, T_LIMIT));
    T_IS(filch__fault_fired(FILCH_FAULT_URING_ENTER), 300);
    filch__fault_disarm();
    check_usable(&pair);
    close_pair(&pair);
    return 0;
}

Test(fault_driver, a_full_queue_that_is_not_taken_loses_no_operation)
{
    filch_runtime_opts opts = {.workers = 1, .ring_entries = 1};
    filch_runtime *rt;
    int result = -1;

    cr_assert_eq(filch_runtime_start(&opts, &rt), 0);
    T_OK(filch_runtime_block_on(rt, full_queue_body, NULL, &result, FILCH_NEVER));
    cr_assert_eq(result, 0);
    stop_runtime(rt);
}

/* Starting. */

static void start_with(enum filch__fault point, unsigned nth, int error, bool *ret_fired)
{
    filch_runtime_opts opts = {.workers = 3};
    filch_runtime *rt = NULL;
    int before = (int)process_descriptors();
    int r;

    filch__fault_arm(point, nth, 1, error);
    r = filch_runtime_start(&opts, &rt);
    *ret_fired = filch__fault_fired(point) > 0;
    filch__fault_disarm();
    if (r < 0) {
        T_CHECK(r == error || r == -ENOSYS);
        T_CHECK(rt == NULL);
        T_CHECK(*ret_fired);
    } else {
        /* Done without, or with less: then it works. */
        T_OK(filch_runtime_block_on(rt, round_trip, NULL, NULL, FILCH_NEVER));
        stop_runtime(rt);
    }
    T_IS((int)process_descriptors(), before);
}

static void starts_fail(enum filch__fault point, unsigned least)
{
    static const int errors[] = {-ENOMEM, -EPERM, -ENOSYS, -EMFILE, -ENFILE, -EINVAL, -EAGAIN};

    for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
        bool fired = true;
        unsigned nth;

        for (nth = 1; fired && nth < 50; nth++) {
            start_with(point, nth, errors[i], &fired);
            pairs += fired;
        }
        T_CHECK(nth > least);
    }
}

Test(fault_driver, a_start_that_fails_leaves_nothing_behind)
{
    starts_fail(FILCH_FAULT_URING_SETUP, 3);
    starts_fail(FILCH_FAULT_URING_REGISTER, 4);
    cr_assert(pairs >= 49);
}

Test(fault_driver, where_memory_is_short_rings_are_smaller)
{
    filch_runtime_opts opts = {.workers = 1};
    filch_runtime *rt = NULL;

    filch__fault_arm(FILCH_FAULT_URING_SETUP, 1, 3, -ENOMEM);
    cr_assert_eq(filch_runtime_start(&opts, &rt), 0);
    cr_assert_eq(filch__fault_fired(FILCH_FAULT_URING_SETUP), 3);
    T_OK(filch_runtime_block_on(rt, round_trip, NULL, NULL, FILCH_NEVER));
    stop_runtime(rt);
    filch__fault_arm(FILCH_FAULT_URING_SETUP, 1, 1000, -ENOMEM);
    opts.engine = FILCH_ENGINE_URING;
    cr_assert_eq(filch_runtime_start(&opts, &rt), -ENOMEM);
    filch__fault_disarm();
}

/* The other engine. */

static filch_runtime *start_epoll(unsigned workers)
{
    filch_runtime_opts opts = {.workers = workers, .engine = FILCH_ENGINE_EPOLL};
    filch_runtime *rt;

    T_OK(filch_runtime_start(&opts, &rt));
    return rt;
}

static void epoll_waits_fail(unsigned workers)
{
    static const int errors[] = {-EINTR, -EAGAIN, -ENOMEM};
    static const unsigned in_a_row[] = {1, 2, 20};
    filch_runtime *rt = start_epoll(workers);
    int before = (int)process_files();

    for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
        for (size_t k = 0; k < sizeof(in_a_row) / sizeof(*in_a_row); k++)
            for (unsigned nth = 1; nth <= 12; nth++) {
                filch__fault_arm(FILCH_FAULT_EPOLL_WAIT, nth, in_a_row[k], errors[i]);
                T_OK(filch_runtime_block_on(rt, round_trip, NULL, NULL, FILCH_NEVER));
                T_CHECK(filch__fault_fired(FILCH_FAULT_EPOLL_WAIT) > 0);
                filch__fault_disarm();
                pairs++;
            }
    T_IS((int)process_files(), before);
    stop_runtime(rt);
}

Test(fault_driver, an_epoll_wait_that_fails_loses_nothing)
{
    epoll_waits_fail(1);
    epoll_waits_fail(2);
    cr_assert_eq(pairs, 2 * 3 * 3 * 12);
}

struct ctl_fault {
    int error;
    unsigned nth;
    unsigned seen; /* calls that gave it */
};

static int read_in_spite(void *arg)
{
    struct tcp_pair *pair = arg;
    unsigned errors = 0;
    char byte = 0;
    ssize_t n;

    while ((n = filch_tcp_read(pair->server, &byte, 1, T_LIMIT)) < 0)
        errors++;
    T_IS(n, 1);
    T_IS(byte, '!');
    return (int)errors;
}

/* Registering fails for one of what waits: a connect, an accept, a read, a poll. Its call says so,
 * and has done nothing; a listener goes on by itself where that helps. */
static int ctl_body(void *arg)
{
    struct ctl_fault *fault = arg;
    struct tcp_pair pair;
    filch_task *task;
    char byte;
    int r;

    listen_any(&pair);
    arm(FILCH_FAULT_EPOLL_CTL, fault->nth, fault->error);
    T_IS(filch_listener_accept(pair.listener, &pair.server, FILCH_NOW), -ETIMEDOUT);
    while ((r = filch_tcp_connect(pair.addr, &pair.client, T_LIMIT)) == fault->error)
        fault->seen++;
    T_OK(r);
    /* One that failed had begun for the kernel, and was closed: it comes first. */
    for (unsigned left = 1 + fault->seen; left; left -= r == 0) {
        r = filch_listener_accept(pair.listener, &pair.server, T_LIMIT);
        T_CHECK(r == 0 || r == fault->error);
        fault->seen += r != 0;
        if (r == 0 && left > 1)
            T_OK(filch_tcp_close(pair.server));
    }
    task = spawn(read_in_spite, &pair);
    let_others_run();
    T_OK(filch_tcp_write_all(pair.client, "!", 1, NULL, T_LIMIT));
    fault->seen += (unsigned)join(task);
    while (filch__fault_fired(FILCH_FAULT_EPOLL_CTL) == 0) {
        filch_case readable = filch_case_readable(pair.server);

        r = filch_select(&readable, 1, 0, filch_after(FILCH_MILLISECOND));
        T_CHECK(r == -ETIMEDOUT || r == 0);
        /* A socket that cannot be watched counts as ready: the next read tells. */
        if (r == 0)
            T_IS(filch_tcp_read(pair.server, &byte, 1, FILCH_NOW), -ETIMEDOUT);
    }
    expect_fired(FILCH_FAULT_EPOLL_CTL);
    check_usable(&pair);
    close_pair(&pair);
    return 0;
}

Test(fault_driver, what_cannot_be_registered_says_so_and_loses_nothing)
{
    static const int errors[] = {-ENOMEM, -ENOSPC};
    filch_runtime *rt = start_epoll(1);
    int before = (int)process_files();
    unsigned seen = 0;

    for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
        for (unsigned nth = 1; nth <= 8; nth++) {
            struct ctl_fault fault = {errors[i], nth, 0};

            T_OK(filch_runtime_block_on(rt, ctl_body, &fault, NULL, FILCH_NEVER));
            T_CHECK(fault.seen <= 1);
            seen += fault.seen;
            T_IS((int)process_files(), before);
        }
    cr_assert_eq(pairs, 16);
    cr_assert(seen > 0);
    stop_runtime(rt);
}

Test(fault_driver, an_epoll_that_cannot_be_made_is_no_start)
{
    filch_runtime_opts opts = {.workers = 3, .engine = FILCH_ENGINE_EPOLL};
    filch_runtime *rt = NULL;
    int before = (int)process_files();

    for (unsigned nth = 1; nth <= 3; nth++) {
        arm(FILCH_FAULT_EPOLL_CTL, nth, -ENOMEM);
        cr_assert_eq(filch_runtime_start(&opts, &rt), -ENOMEM);
        expect_fired(FILCH_FAULT_EPOLL_CTL);
        cr_assert_eq((int)process_files(), before);
    }
}
