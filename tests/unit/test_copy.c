/* Description: copies: all bytes in order, over connections, pipes and memory; half-close passed on
 * in both directions; failures of each side, time and cancel; a copier that goes on without loss or
 * doubling; pipes of the kernel. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/runner/tcp_pair.h"

TestSuite(copy, .timeout = 120);

static char byte_at(uint64_t index)
{
    return (char)(index * 31 + index / 251);
}

/* ---- one direction ---- */

struct feed {
    filch_writer writer;
    uint64_t bytes;
};

static int feeds(void *arg)
{
    struct feed *feed = arg;
    char bytes[1000];

    for (uint64_t done = 0; done < feed->bytes;) {
        size_t n = feed->bytes - done < sizeof bytes ? (size_t)(feed->bytes - done) : sizeof bytes;

        for (size_t i = 0; i < n; i++)
            bytes[i] = byte_at(done + i);
        T_OK(filch_write_all(feed->writer, bytes, n, NULL, T_LIMIT));
        done += n;
    }
    return feed->writer.finish ? feed->writer.finish(feed->writer.context, T_LIMIT) : 0;
}

/* Return: bytes until the end; -1: a wrong one. */
static int64_t eats(filch_reader reader)
{
    char bytes[777];
    int64_t done = 0;
    ssize_t n;

    while ((n = reader.read(reader.context, bytes, sizeof bytes, T_LIMIT)) > 0)
        for (ssize_t i = 0; i < n; i++, done++)
            if (bytes[i] != byte_at((uint64_t)done))
                return -1;
    return n == 0 ? done : n;
}

static int eats_all(void *arg)
{
    filch_reader *reader = arg;

    return (int)eats(*reader);
}

enum { SOME = 200000 };

/* Small rings at both sides and a clock that interrupts again and again. */
static int goes_on(void *arg)
{
    filch_duplex *a, *b, *c, *d;
    char buffer[100];
    filch_copier copier = {.buffer = buffer, .room = sizeof buffer};
    struct feed feed;
    filch_reader out;
    filch_task *feeder, *eater;
    uint64_t bytes = 0;
    int r, interrupted = 0;

    (void)arg;
    T_OK(filch_duplex_new(64, &a, &b));
    T_OK(filch_duplex_new(64, &c, &d));
    feed = (struct feed){filch_duplex_io(a).writer, SOME};
    out = filch_duplex_io(d).reader;
    feeder = spawn(feeds, &feed);
    eater = spawn(eats_all, &out);
    while ((r = filch_copy(filch_duplex_io(b).reader, filch_duplex_io(c).writer, &copier, &bytes,
                           interrupted % 2 ? FILCH_NOW : filch_after(20 * FILCH_MICROSECOND))) ==
           -ETIMEDOUT) {
        interrupted++;
        filch_task_yield();
    }
    T_OK(r);
    T_IS(bytes, SOME);
    T_OK(filch_duplex_shutdown_write(c));
    T_OK(join(feeder));
    T_IS(join(eater), SOME);
    filch_duplex_free(a);
    filch_duplex_free(b);
    filch_duplex_free(c);
    filch_duplex_free(d);
    return 0;
}

Test(copy, a_copy_that_is_interrupted_goes_on)
{
    T_OK(run_in_runtime(0, goes_on, NULL));
}

static int through_pipes(void *arg)
{
    filch_file *in, *out, *in2, *out2;
    struct feed feed;
    filch_reader reader;
    filch_task *feeder, *eater;
    char byte, buffer[5000];
    filch_copier copier = {.buffer = buffer, .room = sizeof buffer};
    uint64_t bytes = 0;

    (void)arg;
    T_OK(filch_pipe(0, &in, &out));
    T_OK(filch_pipe(4096, &in2, &out2));
    T_IS(filch_file_read(in, &byte, 1, FILCH_NOW), -ETIMEDOUT);
    feed = (struct feed){filch_file_writer(out), SOME};
    reader = filch_file_reader(in2);
    feeder = spawn(feeds, &feed);
    eater = spawn(eats_all, &reader);
    while (bytes < SOME) /* nobody has closed it */
        T_IS(filch_copy(filch_file_reader(in), filch_file_writer(out2), &copier, &bytes,
                        filch_after(FILCH_MILLISECOND)),
             -ETIMEDOUT);
    T_OK(join(feeder));
    T_OK(filch_file_close(out));
    T_OK(filch_copy(filch_file_reader(in), filch_file_writer(out2), NULL, NULL, T_LIMIT));
    T_IS(bytes, SOME);
    T_OK(filch_file_close(out2));
    T_IS(join(eater), SOME);
    T_OK(filch_file_close(in));
    T_OK(filch_file_close(in2));
    /* Nobody reads. */
    T_OK(filch_pipe(0, &in, &out));
    T_OK(filch_file_close(in));
    T_IS(filch_file_write(out, "x", 1, T_LIMIT), -EPIPE);
    T_OK(filch_file_close(out));
    return 0;
}

Test(copy, through_pipes)
{
    T_OK(run_in_runtime(0, through_pipes, NULL));
}

static ssize_t lies(void *context, void *buf, size_t bytes, filch_time until)
{
    (void)context;
    (void)buf;
    (void)until;
    return (ssize_t)bytes + 1;
}

static ssize_t takes_nothing(void *context, const void *buf, size_t bytes, filch_time until)
{
    (void)context;
    (void)buf;
    (void)bytes;
    (void)until;
    return 0;
}

Test(copy, readers_and_writers_that_lie_are_found_out)
{
    filch_duplex *a, *b;
    filch_writer nothing = {.write = takes_nothing};
    filch_reader liar = {.read = lies};
    uint64_t bytes = 7;

    T_OK(filch_duplex_new(8, &a, &b));
    T_IS(filch_copy(liar, filch_duplex_io(a).writer, NULL, &bytes, FILCH_NEVER), -EIO);
    T_IS(bytes, 0);
    T_IS(filch_duplex_write(b, "x", 1, FILCH_NEVER), 1);
    T_IS(filch_copy(filch_duplex_io(a).reader, nothing, NULL, NULL, FILCH_NEVER), -EIO);
    filch_duplex_free(a);
    filch_duplex_free(b);
}

/* ---- both directions ---- */

struct proxy {
    struct tcp_pair left, right; /* client <-> left.server = right.client <-> server */
    filch_copy_opts opts;
    filch_copy_result result;
    filch_time until;
};

static int proxies(void *arg)
{
    struct proxy *proxy = arg;

    return filch_copy_both(filch_tcp_io(proxy->left.server), filch_tcp_io(proxy->right.client),
                           &proxy->opts, &proxy->result, proxy->until);
}

static void open_proxy(struct proxy *proxy)
{
    memset(proxy, 0, sizeof *proxy);
    connect_pair(&proxy->left);
    connect_pair(&proxy->right);
    proxy->until = T_LIMIT;
}

static void close_proxy(struct proxy *proxy)
{
    close_pair(&proxy->left);
    close_pair(&proxy->right);
}

static int half_closes(void *arg)
{
    struct proxy proxy;
    struct feed up, down;
    filch_reader at_server, at_client;
    filch_task *task, *feeder, *eater;

    open_proxy(&proxy);
    proxy.opts.buffer_bytes = arg ? 1000 : 0;
    up = (struct feed){filch_tcp_writer(proxy.left.client), SOME};
    down = (struct feed){filch_tcp_writer(proxy.right.server), 3 * SOME};
    at_server = filch_tcp_reader(proxy.right.server);
    at_client = filch_tcp_reader(proxy.left.client);
    task = spawn(proxies, &proxy);
    feeder = spawn(feeds, &up);
    T_IS(eats(at_server), SOME); /* and its end, which came through */
    T_OK(join(feeder));
    eater = spawn(eats_all, &at_client);
    T_OK(feeds(&down));
    T_IS(join(eater), 3 * SOME);
    T_OK(join(task));
    T_IS(proxy.result.a_to_b.bytes, SOME);
    T_IS(proxy.result.b_to_a.bytes, 3 * SOME);
    T_IS(proxy.result.a_to_b.error, 0);
    T_IS(proxy.result.b_to_a.error, 0);
    close_proxy(&proxy);
    return 0;
}

Test(copy, both_directions_end_by_themselves)
{
    char small;

    T_OK(run_in_runtime(0, half_closes, NULL));
    T_OK(run_in_runtime(0, half_closes, &small));
}

static int resets(void *arg)
{
    struct proxy proxy;
    filch_task *task;
    char byte;
    int fd, r;

    (void)arg;
    open_proxy(&proxy);
    task = spawn(proxies, &proxy);
    T_IS(filch_tcp_write(proxy.left.client, "x", 1, T_LIMIT), 1);
    T_IS(filch_tcp_read(proxy.right.server, &byte, 1, T_LIMIT), 1);
    T_OK(filch_tcp_release(proxy.left.client, &fd));
    proxy.left.client = NULL;
    raw_reset(fd);
    r = join(task);
    T_IS(r, -ECONNRESET);
    T_IS(proxy.result.a_to_b.error, -ECONNRESET);
    T_CHECK(!proxy.result.a_to_b.writing);
    T_IS(proxy.result.a_to_b.bytes, 1);
    T_IS(proxy.result.b_to_a.error, -ECANCELED);
    close_proxy(&proxy);
    return 0;
}

Test(copy, a_reset_of_one_side_ends_both)
{
    T_OK(run_in_runtime(0, resets, NULL));
}

static int time_and_cancel(void *arg)
{
    struct proxy proxy;
    filch_task *task;
    char byte;

    (void)arg;
    open_proxy(&proxy);
    proxy.until = filch_after(FILCH_MILLISECOND);
    T_IS(proxies(&proxy), -ETIMEDOUT);
    proxy.until = FILCH_NEVER;
    task = spawn(proxies, &proxy);
    T_IS(filch_tcp_write(proxy.left.client, "x", 1, T_LIMIT), 1);
    T_IS(filch_tcp_read(proxy.right.server, &byte, 1, T_LIMIT), 1);
    T_OK(filch_task_cancel(task));
    T_IS(join(task), -ECANCELED);
    T_IS(proxy.result.a_to_b.bytes, 1);
    T_IS(proxy.result.a_to_b.error, -ECANCELED);
    T_IS(proxy.result.b_to_a.error, -ECANCELED);
    /* The connections are the caller's, and work. */
    T_IS(filch_tcp_write(proxy.left.client, "y", 1, T_LIMIT), 1);
    T_IS(filch_tcp_read(proxy.left.server, &byte, 1, T_LIMIT), 1);
    close_proxy(&proxy);
    return 0;
}

Test(copy, time_and_a_cancel_stop_both_directions)
{
    T_OK(run_in_runtime(0, time_and_cancel, NULL));
}

static int gone_while_writing(void *arg)
{
    struct proxy proxy;
    struct feed up;
    filch_task *task, *feeder;
    int fd, r;

    (void)arg;
    open_proxy(&proxy);
    up = (struct feed){filch_tcp_writer(proxy.left.client), 0};
    task = spawn(proxies, &proxy);
    feeder = spawn(feeds, &up);
    T_OK(join(feeder)); /* its end has come through */
    T_OK(filch_tcp_release(proxy.right.server, &fd));
    proxy.right.server = NULL;
    raw_reset(fd);
    r = join(task);
    T_CHECK(r == 0 || r == -ECONNRESET || r == -ENOTCONN || r == -EPIPE);
    T_IS(r, proxy.result.b_to_a.error ? proxy.result.b_to_a.error : proxy.result.a_to_b.error);
    close_proxy(&proxy);
    return 0;
}

Test(copy, a_side_that_has_gone_altogether)
{
    T_OK(run_in_runtime(0, gone_while_writing, NULL));
}

static ssize_t fails_at_once(void *context, void *buf, size_t bytes, filch_time until)
{
    (void)context, (void)buf, (void)bytes, (void)until;
    return -EFBIG;
}

static ssize_t swallows(void *context, const void *buf, size_t bytes, filch_time until)
{
    (void)context, (void)buf, (void)until;
    return (ssize_t)bytes;
}

static int copies_from_what_fails(void *arg)
{
#ifdef T_SANITIZED
    int copies = 1000;
#else
    int copies = 20000;
#endif
    filch_io end = {.reader = {.read = fails_at_once}, .writer = {.write = swallows}};

    (void)arg;
    for (int i = 0; i < copies; i++)
        T_IS(filch_copy_both(end, end, NULL, NULL, T_LIMIT), -EFBIG);
    return 0;
}

/* One direction may have failed before the other begins: on another worker, so in chaos. */
Test(copy, a_failure_at_once_is_told_as_it_is)
{
    T_OK(run_in_runtime(2, copies_from_what_fails, NULL));
}
