/* Description: streams of connections: every byte once and in order, whatever gives up, moves or
 * runs short in between; the end and errors behind the bytes; and the same by single requests. */
#include <errno.h>
#include <linux/io_uring.h>

#include <criterion/criterion.h>

#include "tests/runner/script.h"
#include "tests/runner/tcp_pair.h"
#include "tests/runner/wrapped_syscall.h"

TestSuite(tcp_stream, .timeout = 120);

/* For what does not come. */
#define SHORT_WAIT filch_after(FILCH_MILLISECOND / 4)

/* Is the ring to refuse its buffers, as an older kernel or a filter does? */
static _Atomic bool refused;
static _Atomic unsigned buffer_rings;
/* Where the buffers of the latest rings lie: behind the ring itself. */
static _Atomic uint64_t ring_at[64];
static bool by_uring; /* the last runtime with buffers */

static bool refuses_syscall(long number, const long *arg)
{
    if (number != SYS_io_uring_register || arg[1] != IORING_REGISTER_PBUF_RING)
        return false;
    if (refused)
        errno = EINVAL;
    else
        ring_at[buffer_rings++ % 64] = ((struct io_uring_buf_reg *)arg[2])->ring_addr;
    return refused;
}

/* A runtime with few and small buffers. Return: what @fn returned. */
static int run_with_buffers(unsigned workers, unsigned count, size_t bytes, filch_fn fn, void *arg)
{
    filch_runtime_opts opts = {.workers = workers ? workers : test_workers(),
                               .recv_buffers = count,
                               .recv_buffer_bytes = bytes};
    const char *reason;
    filch_runtime *rt;
    int result = -1;

    opts.current_thread = test_without_threads() && opts.workers == 1;
    rt = test_start(&opts);
    by_uring = strcmp(filch_engine(rt, &reason), "io_uring") == 0;
    T_OK(filch_runtime_block_on(rt, fn, arg, &result, FILCH_NEVER));
    stop_runtime(rt);
    return result;
}

/* What a connection carries: the byte at a place follows from its number and the place. */
static char byte_at(unsigned number, size_t at)
{
    return (char)(at * 31 + at / 251 + number * 7);
}

struct flow {
    struct tcp_pair pair;
    filch_tcp_stream *in;
    unsigned number;
    size_t bytes; /* to come in all */
    size_t at;    /* read so far */
    uint64_t seed;
};

static int send_flow(void *arg)
{
    struct flow *flow = arg;
    uint64_t seed = flow->number + 1;
    char buf[3000];
    size_t n;

    for (size_t at = 0; at < flow->bytes; at += n) {
        n = 1 + test_random(&seed) % (test_random(&seed) % 4 ? 60 : sizeof buf);
        n = n < flow->bytes - at ? n : flow->bytes - at;
        for (size_t i = 0; i < n; i++)
            buf[i] = byte_at(flow->number, at + i);
        T_OK(filch_tcp_write_all(flow->pair.client, buf, n, NULL, T_LIMIT));
        if (test_random(&seed) % 8 == 0)
            filch_task_yield();
    }
    T_OK(filch_tcp_shutdown_write(flow->pair.client));
    return 0;
}

static void check_bytes(struct flow *flow, const char *data, size_t bytes)
{
    T_CHECK(flow->at + bytes <= flow->bytes);
    for (size_t i = 0; i < bytes; i++)
        T_CHECK(data[i] == byte_at(flow->number, flow->at + i));
    flow->at += bytes;
}

/* One call of some sort. Return: what it returned, when it took nothing. */
static ssize_t read_some(struct flow *flow)
{
    unsigned dice = test_random(&flow->seed);
    filch_time until = dice % 5 == 0   ? FILCH_NOW
                       : dice % 5 == 1 ? filch_after(dice % 50 * FILCH_MICROSECOND)
                                       : T_LIMIT;
    filch_view view;
    char buf[700];
    ssize_t n;

    if (dice % 2) {
        n = filch_tcp_stream_read(flow->in, buf, 1 + dice % sizeof buf, until);
        if (n > 0)
            check_bytes(flow, buf, (size_t)n);
        return n;
    }
    n = filch_tcp_stream_fill(flow->in, &view, until);
    if (n <= 0)
        return n;
    T_IS(view.bytes, n);
    T_IS(filch_tcp_stream_consume(flow->in, view.bytes + 1), -EINVAL);
    if (dice % 3 == 0)
        view.bytes = 1 + dice % view.bytes;
    check_bytes(flow, view.data, view.bytes);
    T_OK(filch_tcp_stream_consume(flow->in, view.bytes));
    return n;
}

static int read_flow(void *arg)
{
    struct flow *flow = arg;
    ssize_t n;

    while ((n = read_some(flow)) != 0) {
        if (n == -ECANCELED)
            return -ECANCELED;
        T_CHECK(n > 0 || n == -ETIMEDOUT);
    }
    T_IS(flow->at, flow->bytes);
    return 0;
}

static void open_flow(struct flow *flow, unsigned number, size_t bytes,
                      const filch_tcp_stream_opts *opts)
{
    *flow = (struct flow){.number = number, .bytes = bytes, .seed = number + 1};
    connect_pair(&flow->pair);
    T_OK(filch_tcp_stream_open(flow->pair.server, opts, &flow->in));
}

static void close_flow(struct flow *flow)
{
    T_OK(filch_tcp_stream_close(flow->in));
    close_pair(&flow->pair);
}

/* ---- many at once ---- */

#define FLOWS 24
#define FLOW_BYTES 30000

static int many_flows(void *arg)
{
    static struct flow flow[FLOWS];
    filch_task *task[2 * FLOWS];

    (void)arg;
    for (unsigned i = 0; i < FLOWS; i++) {
        open_flow(&flow[i], i, FLOW_BYTES, &(filch_tcp_stream_opts){.ahead = i % 4});
        task[2 * i] = spawn(send_flow, &flow[i]);
        task[2 * i + 1] = spawn(read_flow, &flow[i]);
    }
    for (unsigned i = 0; i < 2 * FLOWS; i++)
        T_OK(join(task[i]));
    for (unsigned i = 0; i < FLOWS; i++)
        close_flow(&flow[i]);
    return 0;
}

Test(tcp_stream, every_byte_comes_once_and_in_order)
{
    T_OK(run_with_buffers(0, 0, 0, many_flows, NULL));
    T_CHECK(buffer_rings > 0 || !by_uring);
}

Test(tcp_stream, with_far_too_few_buffers_as_well)
{
    T_OK(run_with_buffers(0, 2, 256, many_flows, NULL));
    T_OK(run_with_buffers(0, 8, 64, many_flows, NULL));
}

Test(tcp_stream, and_with_none)
{
    refused = true;
    T_OK(run_in_runtime(0, many_flows, NULL));
    T_IS(buffer_rings, 0);
    refused = false;
}

/* ---- giving up ---- */

static int cancelled_again_and_again(void *arg)
{
    struct flow flow;
    filch_task *sender;
    int cancels = 0, r;

    (void)arg;
    open_flow(&flow, 1, 200000, NULL);
    sender = spawn(send_flow, &flow);
    do {
        filch_task *reader = spawn(read_flow, &flow);

        for (int i = cancels++ % 20; i > 0; i--)
            filch_task_yield();
        T_OK(filch_task_cancel(reader));
        r = join(reader);
        T_CHECK(r == 0 || r == -ECANCELED);
    } while (r != 0);
    T_OK(join(sender));
    close_flow(&flow);
    return 0;
}

Test(tcp_stream, readers_that_are_cancelled_lose_nothing)
{
    T_OK(run_in_runtime(0, cancelled_again_and_again, NULL));
    T_OK(run_with_buffers(0, 4, 128, cancelled_again_and_again, NULL));
    refused = true;
    T_OK(run_in_runtime(0, cancelled_again_and_again, NULL));
    refused = false;
}

/* ---- moving ---- */

static int read_a_little(void *arg)
{
    struct flow *flow = arg;

    for (int i = 0; i < 30; i++) {
        ssize_t n = read_some(flow);

        if (n == 0)
            return 0;
        T_CHECK(n > 0 || n == -ETIMEDOUT);
    }
    return 1;
}

/* One worker after the other, of a pinned task each; and plain threads between. */
static int from_worker_to_worker(void *arg)
{
    struct flow flow;
    filch_task *sender, *reader;
    int r = 1;

    (void)arg;
    open_flow(&flow, 2, 300000, NULL);
    sender = spawn(send_flow, &flow);
    for (unsigned i = 0; r; i++) {
        filch_task_opts opts = {.pinned = true, .worker = 1 + i / 3 % test_workers()};

        T_OK(filch_task_spawn(read_a_little, &flow, &opts, &reader));
        r = join(reader);
    }
    T_IS(flow.at, flow.bytes);
    T_OK(join(sender));
    close_flow(&flow);
    return 0;
}

Test(tcp_stream, the_reader_may_move)
{
    T_OK(run_in_runtime(0, from_worker_to_worker, NULL));
}

/* Whose buffer is this? Return: the address of a ring; 0: of none, so it was a single request. */
static uint64_t ring_of(const void *data, size_t rings_bytes)
{
    uint64_t at = (uint64_t)(uintptr_t)data, nearest = 0;

    for (unsigned i = 0; i < 64; i++)
        if (ring_at[i] <= at && at - ring_at[i] < rings_bytes && ring_at[i] > nearest)
            nearest = ring_at[i];
    return nearest;
}

#define FEW 4
#define FEW_BYTES 256
/* A page of the ring's, and its buffers; less than a second ring is away. */
#define FEW_RING_BYTES ((size_t)8192)

/* Return: the ring whose buffer the next byte came in; 0: none. */
static uint64_t ring_of_next(struct flow *flow)
{
    filch_view view;
    uint64_t ring;

    T_OK(filch_tcp_write_all(flow->pair.client, "x", 1, NULL, T_LIMIT));
    T_IS(filch_tcp_stream_fill(flow->in, &view, T_LIMIT), 1);
    ring = ring_of(view.data, FEW_RING_BYTES);
    T_OK(filch_tcp_stream_consume(flow->in, 1));
    return ring;
}

struct home {
    struct flow flow;
    uint64_t first; /* ring */
};

static int makes_home(void *arg)
{
    struct home *home = arg;
    filch_view view;

    open_flow(&home->flow, 0, 0, NULL);
    T_IS(filch_tcp_stream_fill(home->flow.in, &view, SHORT_WAIT), -ETIMEDOUT);
    home->first = ring_of_next(&home->flow);
    return 0;
}

/* So many waits for nothing are more than enough, and a handful of bytes that come on the way. */
static int moves_home(void *arg)
{
    struct home *home = arg;
    uint64_t ring = home->first;
    filch_view view;

    for (int i = 0; i < 10 && (ring == home->first || !ring); i++) {
        for (int j = 0; j < 20; j++)
            T_IS(filch_tcp_stream_fill(home->flow.in, &view, SHORT_WAIT), -ETIMEDOUT);
        ring = ring_of_next(&home->flow);
    }
    T_CHECK(ring && ring != home->first);
    /* And there it stays. */
    for (int i = 0; i < 20; i++) {
        T_IS(filch_tcp_stream_fill(home->flow.in, &view, SHORT_WAIT), -ETIMEDOUT);
        T_IS(ring_of_next(&home->flow), ring);
    }
    return 0;
}

static int from_home_to_home(void *arg)
{
    filch_fn fns[] = {makes_home, moves_home};
    struct home home;

    (void)arg;
    if (!by_uring)
        return 0;
    for (unsigned i = 0; i < 2; i++) {
        filch_task_opts opts = {.pinned = true, .worker = 1 + i};
        filch_task *task;

        T_OK(filch_task_spawn(fns[i], &home, &opts, &task));
        T_OK(join(task));
    }
    close_flow(&home.flow);
    return 0;
}

Test(tcp_stream, its_home_follows_a_reader_that_has_moved)
{
    T_OK(run_with_buffers(2, FEW, FEW_BYTES, from_home_to_home, NULL));
    if (!by_uring)
        cr_skip_test("there are no buffers on this engine");
}

static int reads_in_turn(void *arg)
{
    struct flow flow;
    filch_task *sender;
    int r;

    (void)arg;
    open_flow(&flow, 3, 60000, NULL);
    sender = spawn(send_flow, &flow);
    do {
        r = join(spawn(read_a_little, &flow));
        if (r)
            T_OK(filch_blocking_run(read_a_little, &flow, NULL, &r, T_LIMIT));
    } while (r);
    T_OK(join(sender));
    T_IS(flow.at, flow.bytes);
    close_flow(&flow);
    return 0;
}

Test(tcp_stream, plain_threads_and_tasks_in_turn)
{
    T_OK(run_in_runtime(0, reads_in_turn, NULL));
}

/* ---- too much ---- */

#define PIECES 8

/* A peer that sends while nobody reads is paused: the others have buffers left. */
static int slow_reader(void *arg)
{
    static char much[1 << 20];
    struct flow slow, other;
    filch_view view;
    size_t done = 0, got = 0;
    ssize_t n;

    (void)arg;
    open_flow(&slow, 0, 0, &(filch_tcp_stream_opts){.ahead = PIECES / 2});
    open_flow(&other, 0, 0, NULL);
    memset(much, 'm', sizeof much);
    T_IS(filch_tcp_stream_fill(slow.in, &view, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_tcp_stream_fill(slow.in, &view, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    /* As much as the sockets take, so that bytes wait in the kernel. */
    while ((n = filch_tcp_write(slow.pair.client, much, sizeof much,
                                filch_after(20 * FILCH_MILLISECOND))) > 0)
        done += (size_t)n;
    T_IS(n, -ETIMEDOUT);
    T_OK(filch_tcp_shutdown_write(slow.pair.client));
    for (int i = 0; i < 100; i++) {
        T_OK(filch_tcp_write_all(other.pair.client, "ping", 4, NULL, T_LIMIT));
        T_IS(filch_tcp_stream_fill(other.in, &view, T_LIMIT), 4);
        T_OK(filch_tcp_stream_consume(other.in, 4));
    }
    while ((n = filch_tcp_stream_fill(slow.in, &view, T_LIMIT)) > 0) {
        T_CHECK(view.data[0] == 'm' && memcmp(view.data, view.data + 1, view.bytes - 1) == 0);
        got += view.bytes;
        T_OK(filch_tcp_stream_consume(slow.in, view.bytes));
    }
    T_OK(n);
    T_IS(got, done);
    close_flow(&slow);
    close_flow(&other);
    return 0;
}

Test(tcp_stream, a_fast_peer_does_not_take_all_buffers)
{
    T_OK(run_with_buffers(0, PIECES, 1024, slow_reader, NULL));
    T_OK(run_in_runtime(0, slow_reader, NULL));
}

/* Streams that wait have no buffer, however many they are: the one that gets bytes finds some. */
static int idle_streams(void *arg)
{
    struct flow flow[4 * FEW];
    filch_view view;

    (void)arg;
    if (!by_uring)
        return 0;
    for (unsigned i = 0; i < 4 * FEW; i++) {
        open_flow(&flow[i], 0, 0, NULL);
        T_IS(filch_tcp_stream_fill(flow[i].in, &view, SHORT_WAIT), -ETIMEDOUT);
    }
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < 4 * FEW; i++)
            T_CHECK(ring_of_next(&flow[i]) != 0);
    for (unsigned i = 0; i < 4 * FEW; i++)
        close_flow(&flow[i]);
    return 0;
}

Test(tcp_stream, buffers_are_held_only_while_there_are_bytes)
{
    T_OK(run_with_buffers(1, FEW, FEW_BYTES, idle_streams, NULL));
    if (!by_uring)
        cr_skip_test("there are no buffers on this engine");
}

/* ---- ends ---- */

static int ends(void *arg)
{
    struct flow flow;
    struct linger linger = {.l_onoff = 1};
    filch_view view;
    char addr[FILCH_ADDR_BYTES];
    filch_listener *listener;
    filch_tcp *conn;
    int fd = raw_socket();

    (void)arg;
    open_flow(&flow, 0, 0, NULL);
    T_OK(filch_tcp_write_all(flow.pair.client, "last", 4, NULL, T_LIMIT));
    T_OK(filch_tcp_shutdown_write(flow.pair.client));
    T_IS(filch_tcp_stream_fill(flow.in, &view, T_LIMIT), 4);
    T_IS(filch_tcp_stream_fill(flow.in, &view, FILCH_NOW), 4);
    T_OK(filch_tcp_stream_consume(flow.in, 1));
    T_IS(filch_tcp_stream_fill(flow.in, &view, FILCH_NOW), 3);
    T_CHECK(memcmp(view.data, "ast", 3) == 0);
    T_OK(filch_tcp_stream_consume(flow.in, 3));
    T_IS(filch_tcp_stream_fill(flow.in, &view, T_LIMIT), 0);
    T_IS(filch_tcp_stream_fill(flow.in, &view, FILCH_NOW), 0);
    T_OK(filch_tcp_write_all(flow.pair.server, "on", 2, NULL, T_LIMIT)); /* the other way goes on */
    close_flow(&flow);

    /* A reset, behind what had come. */
    T_OK(filch_listener_open("127.0.0.1:0", NULL, &listener));
    T_OK(filch_listener_addr(listener, addr));
    raw_connect(fd, addr);
    T_OK(filch_listener_accept(listener, &conn, T_LIMIT));
    T_OK(filch_tcp_stream_open(conn, NULL, &flow.in));
    T_IS(send(fd, "last", 4, 0), 4);
    T_IS(filch_tcp_stream_fill(flow.in, &view, T_LIMIT), 4);
    T_OK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    T_OK(close(fd));
    T_IS(filch_tcp_stream_fill(flow.in, &view, T_LIMIT), 4);
    T_OK(filch_tcp_stream_consume(flow.in, 4));
    T_IS(filch_tcp_stream_fill(flow.in, &view, T_LIMIT), -ECONNRESET);
    T_IS(filch_tcp_stream_fill(flow.in, &view, T_LIMIT), 0);
    T_OK(filch_tcp_stream_close(flow.in));
    T_OK(filch_tcp_close(conn));
    T_OK(filch_listener_close(listener));
    return 0;
}

Test(tcp_stream, the_end_and_errors_come_behind_the_bytes)
{
    T_OK(run_in_runtime(0, ends, NULL));
    refused = true;
    T_OK(run_in_runtime(0, ends, NULL));
    refused = false;
}

static int fill_once(void *arg)
{
    struct flow *flow = arg;
    filch_view view;

    return (int)filch_tcp_stream_fill(flow->in, &view, T_LIMIT);
}

static int closes(void *arg)
{
    struct flow flow;
    filch_view view;
    filch_task *reader;
    char byte;
    int r;

    (void)arg;
    /* The connection, while the reader waits. */
    open_flow(&flow, 0, 0, NULL);
    reader = spawn(fill_once, &flow);
    let_others_run();
    T_OK(filch_tcp_close(flow.pair.server));
    r = join(reader); /* -EBADF: it had not begun to wait */
    T_CHECK(r == -ECANCELED || r == -EBADF);
    T_IS(filch_tcp_stream_fill(flow.in, &view, T_LIMIT), -EBADF);
    T_OK(filch_tcp_stream_close(flow.in));
    T_IS(filch_tcp_stream_close(flow.in), -EBADF);
    T_IS(filch_tcp_stream_fill(flow.in, &view, T_LIMIT), -EBADF);
    T_OK(filch_tcp_close(flow.pair.client));
    T_OK(filch_listener_close(flow.pair.listener));

    /* The connection, with bytes in the stream. */
    open_flow(&flow, 0, 0, NULL);
    T_OK(filch_tcp_write_all(flow.pair.client, "left", 4, NULL, T_LIMIT));
    T_IS(filch_tcp_stream_fill(flow.in, &view, T_LIMIT), 4);
    T_OK(filch_tcp_close(flow.pair.server));
    T_IS(filch_tcp_stream_fill(flow.in, &view, T_LIMIT), 4);
    T_OK(filch_tcp_stream_consume(flow.in, 4));
    T_IS(filch_tcp_stream_fill(flow.in, &view, T_LIMIT), -EBADF);
    T_OK(filch_tcp_stream_close(flow.in));
    T_OK(filch_tcp_close(flow.pair.client));
    T_OK(filch_listener_close(flow.pair.listener));

    /* The stream, while the request is in flight; the connection goes on. */
    open_flow(&flow, 0, 0, NULL);
    T_IS(filch_tcp_stream_fill(flow.in, &view, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_OK(filch_tcp_stream_close(flow.in));
    T_OK(filch_tcp_write_all(flow.pair.client, "x", 1, NULL, T_LIMIT));
    T_IS(filch_tcp_read(flow.pair.server, &byte, 1, T_LIMIT), 1);
    close_pair(&flow.pair);

    /* The stream, while somebody is in it. */
    open_flow(&flow, 0, 0, NULL);
    reader = spawn(fill_once, &flow);
    let_others_run();
    if (filch_tcp_stream_fill(flow.in, &view, FILCH_NOW) == -EBUSY) {
        T_IS(filch_tcp_stream_close(flow.in), -EBUSY);
        T_IS(filch_tcp_stream_consume(flow.in, 0), -EBUSY);
    }
    T_OK(filch_tcp_write_all(flow.pair.client, "x", 1, NULL, T_LIMIT));
    T_IS(join(reader), 1);
    close_flow(&flow);
    return 0;
}

Test(tcp_stream, either_may_be_closed_first)
{
    T_OK(run_in_runtime(0, closes, NULL));
    refused = true;
    T_OK(run_in_runtime(0, closes, NULL));
    refused = false;
}

/* ---- longer than the runtime ---- */

static int open_and_leave(void *arg)
{
    struct flow *flow = arg;
    filch_view view;

    open_flow(flow, 0, 0, NULL);
    T_OK(filch_tcp_write_all(flow->pair.client, "left", 4, NULL, T_LIMIT));
    T_IS(filch_tcp_stream_fill(flow->in, &view, T_LIMIT), 4);
    return 0;
}

Test(tcp_stream, a_stream_may_outlive_the_runtime)
{
    struct flow flow;
    char buf[8];
    size_t done = 0;

    T_OK(run_in_runtime(0, open_and_leave, &flow));
    T_OK(filch_tcp_write_all(flow.pair.client, "over", 4, NULL, T_LIMIT));
    T_OK(filch_read_exact(filch_tcp_stream_reader(flow.in), buf, 8, &done, T_LIMIT));
    T_CHECK(memcmp(buf, "leftover", 8) == 0);
    close_flow(&flow);
}

/* ---- as a reader ---- */

static int lines_through_it(void *arg)
{
    struct flow flow;
    filch_buf_reader in;
    filch_line line;

    (void)arg;
    open_flow(&flow, 0, 0, NULL);
    T_OK(filch_tcp_write_all(flow.pair.client, "one\ntwo\n", 8, NULL, T_LIMIT));
    T_OK(filch_tcp_shutdown_write(flow.pair.client));
    T_OK(filch_buf_reader_init(&in, filch_tcp_stream_reader(flow.in), NULL));
    T_IS(filch_buf_reader_line(&in, &line, T_LIMIT), 1);
    T_CHECK(strcmp(line.text, "one") == 0);
    T_IS(filch_buf_reader_line(&in, &line, T_LIMIT), 1);
    T_CHECK(strcmp(line.text, "two") == 0);
    T_IS(filch_buf_reader_line(&in, &line, T_LIMIT), 0);
    filch_buf_reader_fini(&in);
    close_flow(&flow);
    return 0;
}

Test(tcp_stream, buffers_and_frames_lie_on_top_of_it)
{
    T_OK(run_in_runtime(0, lines_through_it, NULL));
}

Test(tcp_stream, buffers_out_of_range_are_refused)
{
    filch_runtime *rt;

    T_IS(filch_runtime_start(&(filch_runtime_opts){.recv_buffers = 32769}, &rt), -EINVAL);
    T_IS(filch_runtime_start(&(filch_runtime_opts){.recv_buffer_bytes = 63}, &rt), -EINVAL);
    T_IS(filch_runtime_start(&(filch_runtime_opts){.recv_buffer_bytes = (1 << 20) + 1}, &rt),
         -EINVAL);
}
