/* Description: peers that misbehave (<filch/tcp.h>): resets under way, ends that are half closed,
 * signals that a write to a dead connection would raise, and buffers larger than the kernel takes.
 */
#include <signal.h>
#include <sys/mman.h>

#include <criterion/criterion.h>

#include "tests/runner/tcp_pair.h"

TestSuite(tcp_peer, .timeout = 60);

/* A connection whose other end is a plain socket. */
struct line {
    filch_listener *listener;
    filch_tcp *conn;
    int fd;
    atomic_int arrived;
};

static void open_line(struct line *line)
{
    char addr[FILCH_ADDR_BYTES];

    memset(line, 0, sizeof(*line));
    T_OK(filch_listener_open("127.0.0.1:0", NULL, &line->listener));
    T_OK(filch_listener_addr(line->listener, addr));
    line->fd = raw_socket();
    raw_connect(line->fd, addr);
    T_OK(filch_listener_accept(line->listener, &line->conn, T_LIMIT));
}

static void close_line(struct line *line)
{
    T_OK(filch_tcp_close(line->conn));
    T_OK(filch_listener_close(line->listener));
}

static int read_until_reset(void *arg)
{
    struct line *line = arg;
    char byte;

    atomic_fetch_add(&line->arrived, 1);
    T_IS(filch_tcp_read(line->conn, &byte, 1, FILCH_NEVER), -ECONNRESET);
    T_IS(filch_tcp_read(line->conn, &byte, 1, FILCH_NEVER), 0); /* told once, as recv(2) does */
    return 0;
}

static int write_until_reset(void *arg)
{
    static char block[1 << 16];
    struct line *line = arg;
    ssize_t n;

    atomic_fetch_add(&line->arrived, 1);
    while ((n = filch_tcp_write(line->conn, block, sizeof(block), FILCH_NEVER)) > 0)
        ;
    T_CHECK(n == -ECONNRESET || n == -EPIPE);
    T_IS(filch_tcp_write(line->conn, block, 1, FILCH_NEVER), -EPIPE);
    return 0;
}

static int resets_body(void *arg)
{
    filch_fn fns[] = {read_until_reset, write_until_reset};

    (void)arg;
    for (int round = 0; round < 40; round++) {
        struct line hit, other;
        filch_task *task;
        char byte = 0;

        open_line(&hit);
        open_line(&other);
        task = spawn(fns[round % 2], &hit);
        T_WAIT_UNTIL(atomic_load(&hit.arrived));
        if (round % 4 < 2)
            let_others_run(); /* it waits in the kernel now */
        raw_reset(hit.fd);
        T_OK(join(task));
        /* It is nobody else's reset. */
        T_IS(write(other.fd, "!", 1), 1);
        T_IS(filch_tcp_read(other.conn, &byte, 1, T_LIMIT), 1);
        T_IS(byte, '!');
        close(other.fd);
        close_line(&hit);
        close_line(&other);
    }
    return 0;
}

Test(tcp_peer, a_reset_under_way_ends_the_call_it_hits)
{
    cr_assert_eq(run_in_runtime(0, resets_body, NULL), 0);
}

static int keep_busy(void *arg)
{
    while (!atomic_load((atomic_int *)arg))
        filch_task_yield();
    return 0;
}

/* Each way of writing to a connection that is dead. */
static void write_to_the_dead(void)
{
    struct iovec iov[] = {{"abc", 3}, {"d", 1}};
    struct line line;
    size_t done = 9;

    open_line(&line);
    raw_reset(line.fd);
    T_IS(filch_tcp_get(line.conn, FILCH_TCP_ERROR, &(int64_t){0}), 0); /* the reset itself */
    for (int i = 0; i < 3; i++) {
        T_IS(filch_tcp_write(line.conn, "abc", 3, T_LIMIT), -EPIPE);
        T_IS(filch_tcp_write(line.conn, "abc", 3, FILCH_NOW), -EPIPE);
        T_IS(filch_tcp_write_all(line.conn, "abc", 3, &done, T_LIMIT), -EPIPE);
        T_IS(done, 0);
        T_IS(filch_tcp_writev(line.conn, iov, 2, T_LIMIT), -EPIPE);
        T_IS(filch_tcp_writev(line.conn, iov, 2, FILCH_NOW), -EPIPE);
        T_IS(filch_tcp_writev_all(line.conn, iov, 2, &done, T_LIMIT), -EPIPE);
        T_IS(done, 0);
    }
    close_line(&line);
}

static int dead_body(void *arg)
{
    atomic_int finished = 0;
    FILCH_SCOPE(busy);

    (void)arg;
    write_to_the_dead();
    for (int i = 0; i < 8; i++)
        T_OK(filch_scope_spawn(&busy, keep_busy, &finished));
    write_to_the_dead(); /* the queue is long: through the ring */
    atomic_store(&finished, 1);
    return filch_scope_join(&busy, T_LIMIT);
}

static atomic_int signals;

static void count_signal(int number)
{
    (void)number;
    atomic_fetch_add(&signals, 1);
}

Test(tcp_peer, no_write_raises_a_signal)
{
    struct sigaction action = {.sa_handler = count_signal};

    cr_assert_eq(sigaction(SIGPIPE, &action, NULL), 0);
    cr_assert_eq(run_in_runtime(1, dead_body, NULL), 0);
    write_to_the_dead();
    cr_assert_eq(atomic_load(&signals), 0);
    raise(SIGPIPE);
    cr_assert_eq(atomic_load(&signals), 1); /* it would have been seen */
}

static int half_closed_body(void *arg)
{
    struct line line;
    char byte = 0;

    (void)arg;
    open_line(&line);
    /* Our end is over: the peer sees that, and its bytes still arrive. */
    T_OK(filch_tcp_shutdown_write(line.conn));
    T_OK(filch_tcp_shutdown_write(line.conn));
    T_IS(read(line.fd, &byte, 1), 0);
    T_IS(write(line.fd, "x", 1), 1);
    T_IS(filch_tcp_read(line.conn, &byte, 1, T_LIMIT), 1);
    T_IS(byte, 'x');
    /* The peer's end is over too: an end, as often as one asks. */
    T_OK(shutdown(line.fd, SHUT_WR));
    for (int i = 0; i < 5; i++) {
        struct iovec iov = {&byte, 1};

        T_IS(filch_tcp_read(line.conn, &byte, 1, T_LIMIT), 0);
        T_IS(filch_tcp_readv(line.conn, &iov, 1, T_LIMIT), 0);
        T_IS(filch_tcp_read_exact(line.conn, &byte, 1, NULL, FILCH_NOW), -EPIPE);
    }
    close(line.fd);
    close_line(&line);

    /* A peer that reads no more by its own decision: Linux takes the bytes all the same. */
    open_line(&line);
    T_OK(shutdown(line.fd, SHUT_RD));
    T_IS(filch_tcp_write(line.conn, "abc", 3, T_LIMIT), 3);
    T_OK(filch_tcp_shutdown_write(line.conn));
    close(line.fd);
    close_line(&line);
    return 0;
}

Test(tcp_peer, ends_are_half_closed_from_both_sides)
{
    cr_assert_eq(run_in_runtime(0, half_closed_body, NULL), 0);
    cr_assert_eq(half_closed_body(NULL), 0);
}

/* Three gigabytes of address space, of which next to nothing is touched. */
#define HUGE_BYTES ((size_t)3 << 30)

static int huge_body(void *arg)
{
    char *huge = arg;
    struct iovec iov[] = {{huge, HUGE_BYTES}, {huge, HUGE_BYTES}};
    struct line line;
    char byte;
    ssize_t n;

    open_line(&line);
    T_IS(write(line.fd, "abc", 3), 3);
    T_IS(filch_tcp_read(line.conn, huge, HUGE_BYTES, FILCH_NOW), 3);
    T_OK(memcmp(huge, "abc", 3));
    T_IS(write(line.fd, "def", 3), 3);
    T_IS(filch_tcp_readv(line.conn, iov, 2, FILCH_NOW), 3);
    T_OK(memcmp(huge, "def", 3));
    n = filch_tcp_write(line.conn, huge, HUGE_BYTES, FILCH_NOW);
    T_CHECK(n > 0 && n <= 0x7ffff000);
    T_IS(read(line.fd, &byte, 1), 1);
    T_IS(byte, 'd');
    n = filch_tcp_writev(line.conn, iov, 2, FILCH_NOW);
    T_CHECK(n == -ETIMEDOUT || (n > 0 && n <= 0x7ffff000));
    raw_reset(line.fd);
    close_line(&line);
    return 0;
}

Test(tcp_peer, buffers_larger_than_the_kernel_takes)
{
    void *huge = mmap(NULL, HUGE_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (huge == MAP_FAILED)
        cr_skip_test("no address space for three gigabytes");
    cr_assert_eq(run_in_runtime(0, huge_body, huge), 0);
    cr_assert_eq(huge_body(huge), 0);
    munmap(huge, HUGE_BYTES);
}

/* The same through the ring. */
static int huge_ring_body(void *arg)
{
    char *huge = arg;
    struct line line;

    open_line(&line);
    T_IS(write(line.fd, "abc", 3), 3);
    T_IS(filch_tcp_read(line.conn, huge, HUGE_BYTES, T_LIMIT), 3);
    T_OK(memcmp(huge, "abc", 3));
    close(line.fd);
    close_line(&line);
    return 0;
}

Test(tcp_peer, large_buffers_go_through_the_ring)
{
    void *huge = mmap(NULL, HUGE_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (huge == MAP_FAILED)
        cr_skip_test("no address space for three gigabytes");
    cr_assert_eq(run_in_runtime(0, huge_ring_body, huge), 0);
    munmap(huge, HUGE_BYTES);
}
