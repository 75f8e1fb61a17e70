/* Description: reads and writes of several buffers (<filch/tcp.h>): any number of them, empty ones
 * among them, short results, and how far a write came that failed. */
#include <limits.h>
#include <pthread.h>

#include <criterion/criterion.h>

#include "tests/runner/tcp_pair.h"

TestSuite(tcp_vector, .timeout = 60);

static unsigned char pattern(size_t i)
{
    return (unsigned char)((i * 2654435761u) >> 13);
}

static int scatter_body(void *arg)
{
    char a[4] = "", b[8] = "", c[16] = "";
    struct iovec in[] = {{a, 3}, {NULL, 0}, {b, 5}, {b, 0}, {c, sizeof(c)}};
    struct iovec out[] = {{"", 0}, {"one", 3}, {NULL, 0}, {"two", 3}, {"three", 5}};
    struct tcp_pair pair;

    (void)arg;
    connect_pair(&pair);
    T_IS(filch_tcp_writev(pair.client, out, 5, T_LIMIT), 11);
    /* On the loopback it is there when the write returns. */
    T_IS(filch_tcp_readv(pair.server, in, 5, T_LIMIT), 11);
    T_OK(memcmp(a, "one", 3));
    T_OK(memcmp(b, "twoth", 5));
    T_OK(memcmp(c, "ree", 3));
    T_IS(c[3], 0);
    /* A short one: what is there. */
    T_OK(filch_tcp_write_all(pair.client, "xyz!", 4, NULL, T_LIMIT));
    T_IS(filch_tcp_readv(pair.server, in, 5, FILCH_NOW), 4);
    T_OK(memcmp(a, "xyz", 3));
    T_IS(b[0], '!');
    T_IS(filch_tcp_readv(pair.server, in, 5, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_tcp_readv(pair.server, in, 5, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_OK(filch_tcp_shutdown_write(pair.client));
    T_IS(filch_tcp_readv(pair.server, in, 5, T_LIMIT), 0);
    T_IS(filch_tcp_writev(pair.client, out, 5, T_LIMIT), -EPIPE);
    close_pair(&pair);
    return 0;
}

Test(tcp_vector, buffers_are_filled_and_written_in_their_order)
{
    cr_assert_eq(run_in_runtime(0, scatter_body, NULL), 0);
    cr_assert_eq(scatter_body(NULL), 0);
}

static int nothing_body(void *arg)
{
    char byte = 'x';
    struct iovec empty[] = {{NULL, 0}, {&byte, 0}};
    struct iovec null[] = {{&byte, 1}, {NULL, 1}};
    struct tcp_pair pair;
    size_t done = 99;

    (void)arg;
    connect_pair(&pair);
    T_IS(filch_tcp_readv(pair.server, NULL, 0, FILCH_NEVER), 0);
    T_IS(filch_tcp_readv(pair.server, empty, 2, FILCH_NEVER), 0);
    T_IS(filch_tcp_writev(pair.client, NULL, 0, FILCH_NEVER), 0);
    T_IS(filch_tcp_writev(pair.client, empty, 2, FILCH_NEVER), 0);
    T_OK(filch_tcp_writev_all(pair.client, empty, 2, &done, FILCH_NEVER));
    T_IS(done, 0);
    T_OK(filch_tcp_writev_all(pair.client, NULL, 0, NULL, FILCH_NEVER));

    T_IS(filch_tcp_readv(pair.server, NULL, 1, FILCH_NOW), -EINVAL);
    T_IS(filch_tcp_readv(pair.server, null, 2, FILCH_NOW), -EINVAL);
    T_IS(filch_tcp_readv(NULL, empty, 1, FILCH_NOW), -EINVAL);
    T_IS(filch_tcp_writev(pair.client, NULL, 1, FILCH_NOW), -EINVAL);
    T_IS(filch_tcp_writev(pair.client, null, 2, FILCH_NOW), -EINVAL);
    T_IS(filch_tcp_writev(NULL, empty, 1, FILCH_NOW), -EINVAL);
    done = 99;
    T_IS(filch_tcp_writev_all(pair.client, null, 2, &done, FILCH_NOW), -EINVAL);
    T_IS(done, 0);
    T_IS(filch_tcp_writev_all(pair.client, NULL, 1, NULL, FILCH_NOW), -EINVAL);
    T_IS(filch_tcp_writev_all(NULL, null, 1, NULL, FILCH_NOW), -EINVAL);
    T_IS(filch_tcp_read(pair.server, &byte, 1, FILCH_NOW), -ETIMEDOUT); /* nothing was written */
    close_pair(&pair);
    T_IS(filch_tcp_readv(pair.server, null, 1, FILCH_NOW), -EBADF);
    T_IS(filch_tcp_writev(pair.client, null, 1, FILCH_NOW), -EBADF);
    T_IS(filch_tcp_writev_all(pair.client, null, 1, NULL, FILCH_NOW), -EBADF);
    return 0;
}

Test(tcp_vector, nothing_and_null)
{
    cr_assert_eq(run_in_runtime(0, nothing_body, NULL), 0);
    cr_assert_eq(nothing_body(NULL), 0);
}

/* More buffers than the kernel takes at a time, of sizes from 0 to 6. */
#define BUFFERS (3 * IOV_MAX + 17)

struct pieces {
    struct iovec iov[BUFFERS];
    unsigned char data[BUFFERS * 6];
    size_t bytes;
};

static void cut(struct pieces *pieces)
{
    pieces->bytes = 0;
    for (size_t i = 0; i < BUFFERS; i++) {
        size_t bytes = i * 5 % 7;

        pieces->iov[i] = (struct iovec){bytes ? pieces->data + pieces->bytes : NULL, bytes};
        pieces->bytes += bytes;
    }
}

static int many_body(void *arg)
{
    struct pieces *out = calloc(1, sizeof(*out));
    struct pieces *in = calloc(1, sizeof(*in));
    struct tcp_pair pair;
    struct iovec *before = malloc(sizeof(out->iov));
    size_t done = 0, got = 0, left = BUFFERS;
    ssize_t n;

    (void)arg;
    T_CHECK(out && in && before);
    cut(out);
    cut(in);
    for (size_t i = 0; i < out->bytes; i++)
        out->data[i] = pattern(i);
    memcpy(before, out->iov, sizeof(out->iov));
    connect_pair(&pair);
    T_OK(filch_tcp_writev_all(pair.client, out->iov, BUFFERS, &done, T_LIMIT));
    T_IS(done, out->bytes);
    T_OK(memcmp(before, out->iov, sizeof(out->iov)));
    /* One read uses IOV_MAX of them at most. */
    n = filch_tcp_readv(pair.server, in->iov, left, T_LIMIT);
    T_CHECK(n > 0 && n <= IOV_MAX * 6);
    got = (size_t)n;
    T_OK(filch_tcp_read_exact(pair.server, in->data + got, in->bytes - got, NULL, T_LIMIT));
    T_OK(memcmp(in->data, out->data, out->bytes));
    /* One write as well. */
    n = filch_tcp_writev(pair.client, out->iov, BUFFERS, T_LIMIT);
    T_CHECK(n > 0 && n <= IOV_MAX * 6);
    T_OK(filch_tcp_read_exact(pair.server, in->data, (size_t)n, NULL, T_LIMIT));
    T_OK(memcmp(in->data, out->data, (size_t)n));
    /* The first that is not empty comes after more empty ones than the kernel takes. */
    for (size_t i = 0; i < BUFFERS; i++)
        out->iov[i].iov_len = 0;
    out->iov[2 * IOV_MAX] = (struct iovec){out->data, 5};
    T_IS(filch_tcp_writev(pair.client, out->iov, BUFFERS, T_LIMIT), 5);
    T_IS(filch_tcp_readv(pair.server, out->iov, BUFFERS, T_LIMIT), 5);
    close_pair(&pair);
    free(before);
    free(in);
    free(out);
    return 0;
}

Test(tcp_vector, more_buffers_than_the_kernel_takes)
{
    cr_assert_eq(run_in_runtime(0, many_body, NULL), 0);
    cr_assert_eq(many_body(NULL), 0);
}

struct bulk {
    filch_tcp *conn;
    unsigned char *data;
    size_t bytes;
};

/* Pieces of all sizes, to a reader who is slower than the writer. */
static int write_pieces(void *arg)
{
    struct bulk *bulk = arg;
    struct iovec iov[100];
    size_t done, at = 0;

    for (int i = 0; i < 99; i++) {
        size_t bytes = bulk->bytes / 200 + (size_t)i * 37;

        iov[i] = (struct iovec){bulk->data + at, bytes};
        at += bytes;
    }
    iov[99] = (struct iovec){bulk->data + at, bulk->bytes - at};
    T_OK(filch_tcp_writev_all(bulk->conn, iov, 100, &done, T_LIMIT));
    T_IS(done, bulk->bytes);
    T_OK(filch_tcp_shutdown_write(bulk->conn));
    return 0;
}

static int keep_busy(void *arg)
{
    while (!atomic_load((atomic_int *)arg))
        filch_task_yield();
    return 0;
}

/* @arg: other tasks keep the worker's queue long, so that writes go through the ring. */
static int bulk_body(void *arg)
{
    struct bulk bulk = {.bytes = 12 << 20};
    unsigned char a[1000], b[3000];
    struct iovec in[] = {{a, sizeof(a)}, {b, sizeof(b)}};
    atomic_int finished = 0;
    struct tcp_pair pair;
    filch_task *writer;
    size_t total = 0;
    ssize_t n;
    FILCH_SCOPE(busy);

    bulk.data = malloc(bulk.bytes);
    T_CHECK(bulk.data);
    for (size_t i = 0; i < bulk.bytes; i++)
        bulk.data[i] = pattern(i);
    connect_pair(&pair);
    bulk.conn = pair.client;
    for (int i = 0; arg && i < 8; i++)
        T_OK(filch_scope_spawn(&busy, keep_busy, &finished));
    writer = spawn(write_pieces, &bulk);
    while ((n = filch_tcp_readv(pair.server, in, 2, T_LIMIT)) > 0) {
        size_t first = (size_t)n < sizeof(a) ? (size_t)n : sizeof(a);

        T_OK(memcmp(a, bulk.data + total, first));
        T_OK(memcmp(b, bulk.data + total + first, (size_t)n - first));
        total += (size_t)n;
    }
    T_IS(n, 0);
    T_IS(total, bulk.bytes);
    atomic_store(&finished, 1);
    T_OK(join(writer));
    T_OK(filch_scope_join(&busy, T_LIMIT));
    close_pair(&pair);
    free(bulk.data);
    return 0;
}

Test(tcp_vector, write_all_goes_on_after_short_writes)
{
    int deep = 1;

    cr_assert_eq(run_in_runtime(0, bulk_body, NULL), 0);
    cr_assert_eq(run_in_runtime(1, bulk_body, &deep), 0);
}

static int failed_body(void *arg)
{
    static char block[1 << 16];
    struct iovec iov[300], before[300];
    struct tcp_pair pair;
    size_t done = 0, got = 0;
    ssize_t n;

    (void)arg;
    for (int i = 0; i < 300; i++)
        iov[i] = (struct iovec){block, sizeof(block)};
    memcpy(before, iov, sizeof(iov));
    connect_pair(&pair);
    /* 19 MiB are more than the kernel holds (4 + 6 MiB by default). */
    T_IS(filch_tcp_writev_all(pair.client, iov, 300, &done, filch_after(20 * FILCH_MILLISECOND)),
         -ETIMEDOUT);
    T_CHECK(done > 0 && done < sizeof(block) * 300);
    T_OK(memcmp(before, iov, sizeof(iov)));
    /* Under load the kernel finds room a little later. */
    while ((n = filch_tcp_writev(pair.client, iov, 300, FILCH_NOW)) > 0)
        done += (size_t)n;
    T_IS(n, -ETIMEDOUT);
    T_OK(filch_tcp_shutdown_write(pair.client));
    while ((n = filch_tcp_read(pair.server, block, sizeof(block), T_LIMIT)) > 0)
        got += (size_t)n;
    T_IS(n, 0);
    T_IS(got, done); /* exactly what it said */
    close_pair(&pair);
    return 0;
}

Test(tcp_vector, write_all_that_failed_tells_how_far_it_came)
{
    cr_assert_eq(run_in_runtime(0, failed_body, NULL), 0);
    cr_assert_eq(failed_body(NULL), 0);
}

struct waiting {
    struct tcp_pair pair;
    atomic_int arrived;
};

static int readv_forever(void *arg)
{
    struct waiting *waiting = arg;
    char a[3], b[5];
    struct iovec iov[] = {{a, 3}, {b, 5}};

    atomic_fetch_add(&waiting->arrived, 1);
    T_IS(filch_tcp_readv(waiting->pair.server, iov, 2, FILCH_NEVER), -ECANCELED);
    return 0;
}

static int writev_forever(void *arg)
{
    static char block[65536];
    struct waiting *waiting = arg;
    struct iovec iov[200];
    size_t done = 0;

    for (int i = 0; i < 200; i++)
        iov[i] = (struct iovec){block, sizeof(block)};
    atomic_fetch_add(&waiting->arrived, 1);
    T_IS(filch_tcp_writev_all(waiting->pair.server, iov, 200, &done, FILCH_NEVER), -ECANCELED);
    T_CHECK(done < sizeof(block) * 200);
    return 0;
}

static int cancel_body(void *arg)
{
    (void)arg;
    for (int round = 0; round < 20; round++) {
        struct waiting waiting = {0};
        filch_task *reader, *writer;

        connect_pair(&waiting.pair);
        reader = spawn(readv_forever, &waiting);
        writer = spawn(writev_forever, &waiting);
        T_WAIT_UNTIL(atomic_load(&waiting.arrived) == 2);
        if (round % 2)
            let_others_run();
        T_OK(filch_task_cancel(reader));
        T_OK(filch_task_cancel(writer));
        T_OK(join(reader));
        T_OK(join(writer));
        close_pair(&waiting.pair);
    }
    return 0;
}

Test(tcp_vector, cancel_ends_the_calls_that_wait)
{
    cr_assert_eq(run_in_runtime(0, cancel_body, NULL), 0);
}
