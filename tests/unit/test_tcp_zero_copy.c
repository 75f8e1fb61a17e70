/* Description: zero-copy writes: every byte arrives once, whatever gives up in between, and the
 * buffer is the caller's again at the return; where the kernel copies, they are withdrawn. */
#include <errno.h>

#include <criterion/criterion.h>

#include "io/fd.h"
#include "tests/runner/script.h"
#include "tests/runner/tcp_pair.h"

TestSuite(tcp_zero_copy, .timeout = 120);

#define BYTES (8 << 20)

struct flow {
    struct tcp_pair pair;
    size_t sent;
    size_t got;
};

static char byte_at(size_t at)
{
    return (char)(at * 7 + at / 253);
}

static unsigned copied(filch_tcp *conn)
{
    struct filch__fd *object = filch__handle_object(conn);

    return filch_load_relaxed(&object->copied);
}

static int receive(void *arg)
{
    static char buf[50000];
    struct flow *flow = arg;
    ssize_t n;

    while ((n = filch_tcp_read(flow->pair.server, buf, sizeof buf, T_LIMIT)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            T_CHECK(buf[i] == byte_at(flow->got + (size_t)i));
        flow->got += (size_t)n;
    }
    T_OK(n);
    return 0;
}

/* Writes until the end, or until it is cancelled; the buffer is used anew at once. */
static int send_until_cancelled(void *arg)
{
    static char buf[200000];
    struct flow *flow = arg;
    uint64_t seed = flow->sent + 1;

    while (flow->sent < BYTES) {
        size_t bytes = 1 + test_random(&seed) % sizeof buf;
        unsigned dice = test_random(&seed) % 8;
        ssize_t n;

        for (size_t i = 0; i < bytes; i++)
            buf[i] = byte_at(flow->sent + i);
        n = filch_tcp_write_zero_copy(flow->pair.client, buf, bytes,
                                      dice == 0   ? FILCH_NOW
                                      : dice == 1 ? filch_after(50 * FILCH_MICROSECOND)
                                                  : T_LIMIT);
        memset(buf, 0, bytes);
        if (n == -ECANCELED)
            return -ECANCELED;
        T_CHECK(n > 0 || n == -ETIMEDOUT);
        if (n > 0)
            flow->sent += (size_t)n;
        if (dice == 2) { /* as if it went to a network: it is tried again */
            struct filch__fd *object = filch__handle_object(flow->pair.client);

            filch_store_relaxed(&object->copied, 0);
        }
    }
    return 0;
}

static int cancelled_again_and_again(void *arg)
{
    struct flow flow = {.sent = 0};
    filch_task *receiver;
    int cancels = 0, r;

    (void)arg;
    connect_pair(&flow.pair);
    receiver = spawn(receive, &flow);
    do {
        filch_task *sender = spawn(send_until_cancelled, &flow);

        for (int i = cancels++ % 30; i > 0; i--)
            filch_task_yield();
        T_OK(filch_task_cancel(sender));
        r = join(sender);
        T_CHECK(r == 0 || r == -ECANCELED);
    } while (r != 0);
    T_OK(filch_tcp_shutdown_write(flow.pair.client));
    T_OK(join(receiver));
    T_IS(flow.got, flow.sent);
    close_pair(&flow.pair);
    return 0;
}

Test(tcp_zero_copy, every_byte_arrives_once_whatever_gives_up)
{
    T_OK(run_in_runtime(0, cancelled_again_and_again, NULL));
}

static int send_on_the_loopback(void *arg)
{
    static char buf[65536];
    struct tcp_pair pair;
    size_t done;

    (void)arg;
    connect_pair(&pair);
    T_IS(filch_tcp_write_zero_copy(pair.client, buf, 1000, T_LIMIT), 1000);
    T_IS(copied(pair.client), 0); /* small: ordinary */
    T_OK(filch_tcp_read_exact(pair.server, buf, 1000, NULL, T_LIMIT));
    for (int i = 0; i < 8; i++) {
        ssize_t n = filch_tcp_write_zero_copy(pair.client, buf, sizeof buf, T_LIMIT);

        T_CHECK(n > 0);
        T_OK(filch_tcp_read_exact(pair.server, buf, (size_t)n, &done, T_LIMIT));
        T_CHECK(copied(pair.client) <= 4);
    }
    T_IS(copied(pair.client), 4); /* the kernel copies there, or knows no such thing */
    close_pair(&pair);
    return 0;
}

Test(tcp_zero_copy, it_is_withdrawn_where_the_kernel_copies)
{
    T_OK(run_in_runtime(0, send_on_the_loopback, NULL));
}

/* Fills what the sockets take; nobody reads. */
static int send_too_much(void *arg)
{
    static char buf[1 << 20];
    filch_tcp *conn = arg;
    ssize_t n;

    while ((n = filch_tcp_write_zero_copy(conn, buf, sizeof buf, FILCH_NEVER)) > 0) {
        struct filch__fd *object = filch__handle_object(conn);

        filch_store_relaxed(&object->copied, 0);
    }
    return (int)n;
}

static int close_while_it_waits(void *arg)
{
    struct tcp_pair pair;
    filch_task *sender;

    (void)arg;
    connect_pair(&pair);
    sender = spawn(send_too_much, pair.client);
    let_others_run();
    T_OK(filch_tcp_close(pair.server)); /* a reset: what is on its way is given up */
    T_CHECK(join(sender) < 0);
    T_OK(filch_tcp_close(pair.client));
    T_IS(filch_tcp_write_zero_copy(pair.client, arg, 65536, T_LIMIT), -EBADF);
    T_OK(filch_listener_close(pair.listener));
    return 0;
}

Test(tcp_zero_copy, it_ends_with_the_connection)
{
    static char buf[65536];

    T_OK(run_in_runtime(0, close_while_it_waits, buf));
}

Test(tcp_zero_copy, plain_threads_write_in_the_ordinary_way)
{
    static char buf[65536];
    struct tcp_pair pair;
    ssize_t n;

    connect_pair(&pair);
    n = filch_tcp_write_zero_copy(pair.client, buf, sizeof buf, T_LIMIT);
    T_CHECK(n > 0);
    T_OK(filch_tcp_read_exact(pair.server, buf, (size_t)n, NULL, T_LIMIT));
    T_IS(copied(pair.client), 0);
    close_pair(&pair);
}
