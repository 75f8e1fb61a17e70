/* Description: connections and listeners in a select: ready now or later, losing, closed meanwhile,
 * cancelled; nothing is read or accepted by it. */
#include <errno.h>

#include <criterion/criterion.h>

#include "tests/runner/tcp_pair.h"

TestSuite(select_io, .timeout = 120);

static int writes_later(void *conn)
{
    let_others_run();
    return filch_tcp_write(conn, "x", 1, T_LIMIT) == 1 ? 0 : -EIO;
}

static int readable(void *arg)
{
    struct tcp_pair pair;
    filch_task *writer;
    char byte = 0;
    int r;

    (void)arg;
    connect_pair(&pair);
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_readable(pair.server)), -ETIMEDOUT);
    T_IS(FILCH_SELECT(filch_after(FILCH_MILLISECOND), filch_case_readable(pair.server)),
         -ETIMEDOUT);
    T_IS(FILCH_SELECT_RESULT(&r, FILCH_NEVER, filch_case_readable(pair.server),
                             filch_case_writable(pair.server)),
         1);
    T_OK(r);
    writer = spawn(writes_later, pair.client);
    T_IS(FILCH_SELECT_RESULT(&r, T_LIMIT, filch_case_readable(pair.client),
                             filch_case_readable(pair.server)),
         1);
    T_OK(r);
    T_OK(join(writer));
    /* Nothing was read. */
    T_IS(filch_tcp_read(pair.server, &byte, 1, FILCH_NOW), 1);
    T_IS(byte, 'x');
    T_OK(filch_tcp_shutdown_write(pair.client));
    T_IS(FILCH_SELECT(T_LIMIT, filch_case_readable(pair.server)), 0);
    T_IS(filch_tcp_read(pair.server, &byte, 1, FILCH_NOW), 0);
    close_pair(&pair);
    T_IS(FILCH_SELECT_RESULT(&r, FILCH_NEVER, filch_case_readable(pair.server)), 0);
    T_IS(r, -EBADF);
    T_IS(FILCH_SELECT_RESULT(&r, FILCH_NEVER, filch_case_acceptable(pair.listener)), 0);
    T_IS(r, -EBADF);
    return 0;
}

Test(select_io, a_connection_is_ready_now_or_later)
{
    T_OK(run_in_runtime(0, readable, NULL));
}

static int reads_all(void *conn)
{
    static char room[1 << 16];
    ssize_t n;

    let_others_run();
    while ((n = filch_tcp_read(conn, room, sizeof room, T_LIMIT)) > 0)
        ;
    return (int)n;
}

/* Full, and with room again once the peer reads. */
static int writable(void *arg)
{
    static const char bytes[1 << 16];
    struct tcp_pair pair;
    filch_task *reader;
    int r;

    (void)arg;
    connect_pair(&pair);
    while (filch_tcp_write(pair.client, bytes, sizeof bytes, FILCH_NOW) > 0)
        ;
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_writable(pair.client)), -ETIMEDOUT);
    T_IS(FILCH_SELECT(filch_after(FILCH_MILLISECOND), filch_case_writable(pair.client)),
         -ETIMEDOUT);
    reader = spawn(reads_all, pair.server);
    T_IS(FILCH_SELECT_RESULT(&r, T_LIMIT, filch_case_readable(pair.client),
                             filch_case_writable(pair.client)),
         1);
    T_OK(r);
    T_IS(filch_tcp_write(pair.client, bytes, 1, T_LIMIT), 1);
    T_OK(filch_tcp_shutdown_write(pair.client));
    T_OK(join(reader));
    close_pair(&pair);
    return 0;
}

Test(select_io, a_full_connection_is_writable_later)
{
    T_OK(run_in_runtime(0, writable, NULL));
}

struct closing {
    struct tcp_pair pair;
    atomic_int waits;
};

static int waits_for_both(void *arg)
{
    struct closing *closing = arg;
    int r = 0;

    atomic_store(&closing->waits, 1);
    T_CHECK(FILCH_SELECT_RESULT(&r, T_LIMIT, filch_case_readable(closing->pair.server),
                                filch_case_acceptable(closing->pair.listener)) >= 0);
    return r;
}

static int closes_meanwhile(void *arg)
{
    for (int i = 0; i < 50; i++) {
        struct closing closing = {.waits = 0};
        filch_task *task;
        int r;

        connect_pair(&closing.pair);
        task = spawn(waits_for_both, &closing);
        T_WAIT_UNTIL(atomic_load(&closing.waits));
        if (i % 2)
            let_others_run();
        T_OK(arg ? filch_listener_close(closing.pair.listener)
                 : filch_tcp_close(closing.pair.server));
        r = join(task);
        T_CHECK(r == -ECANCELED || r == -EBADF);
        T_OK(arg ? filch_tcp_close(closing.pair.server)
                 : filch_listener_close(closing.pair.listener));
        T_OK(filch_tcp_close(closing.pair.client));
    }
    return 0;
}

Test(select_io, closing_sends_a_select_away)
{
    char listener = 0;

    T_OK(run_in_runtime(0, closes_meanwhile, NULL));
    T_OK(run_in_runtime(0, closes_meanwhile, &listener));
}

static int connects_later(void *arg)
{
    struct tcp_pair *pair = arg;

    let_others_run();
    return filch_tcp_connect(pair->addr, &pair->client, T_LIMIT);
}

static int acceptable(void *arg)
{
    struct tcp_pair pair;
    filch_chan *chan;
    int x = 1;

    (void)arg;
    listen_any(&pair);
    T_OK(filch_chan_new(sizeof(int), 1, &chan));
    for (int i = 0; i < 50; i++) {
        filch_task *task = spawn(connects_later, &pair);
        int r = -EIO;

        if (i % 3 == 0)
            (void)!filch_chan_send(chan, &x, FILCH_NOW);
        T_IS(FILCH_SELECT(FILCH_NOW, filch_case_acceptable(NULL)), -EINVAL);
        if (FILCH_SELECT_RESULT(&r, T_LIMIT, filch_case_acceptable(pair.listener),
                                filch_case_recv(chan, &x)) == 1)
            T_IS(FILCH_SELECT_RESULT(&r, T_LIMIT, filch_case_acceptable(pair.listener)), 0);
        T_OK(r);
        T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
        T_OK(join(task));
        T_OK(filch_tcp_close(pair.client));
        T_OK(filch_tcp_close(pair.server));
        (void)!filch_chan_recv(chan, &x, FILCH_NOW);
    }
    filch_chan_unref(chan);
    T_OK(filch_listener_close(pair.listener));
    return 0;
}

Test(select_io, a_listener_with_a_connection)
{
    T_OK(run_in_runtime(0, acceptable, NULL));
}

static int cancelled(void *arg)
{
    struct closing closing = {.waits = 0};
    filch_task *task;
    char byte;

    (void)arg;
    connect_pair(&closing.pair);
    for (int i = 0; i < 50; i++) {
        task = spawn(waits_for_both, &closing);
        if (i % 2)
            let_others_run();
        T_IS(filch_tcp_write(closing.pair.client, "y", 1, T_LIMIT), 1);
        T_OK(join(task));
        T_IS(filch_tcp_read(closing.pair.server, &byte, 1, T_LIMIT), 1);
        FILCH_DEADLINE(filch_after(50 * FILCH_MICROSECOND))
        {
            T_IS(FILCH_SELECT(FILCH_NEVER, filch_case_readable(closing.pair.server),
                              filch_case_acceptable(closing.pair.listener)),
                 -ECANCELED);
        }
    }
    close_pair(&closing.pair);
    return 0;
}

Test(select_io, a_cancelled_select_leaves_nothing_in_flight)
{
    T_OK(run_in_runtime(0, cancelled, NULL));
}

Test(select_io, a_plain_thread_can_look)
{
    struct tcp_pair pair;
    filch_tcp *conn;
    char byte;
    int r, fd;

    listen_any(&pair);
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_acceptable(pair.listener)), -ETIMEDOUT);
    T_IS(FILCH_SELECT_RESULT(&r, FILCH_NEVER, filch_case_acceptable(pair.listener)), 0);
    T_IS(r, -EPERM);
    fd = raw_socket();
    raw_connect(fd, pair.addr);
    T_IS(FILCH_SELECT_RESULT(&r, FILCH_NEVER, filch_case_acceptable(pair.listener)), 0);
    T_OK(r);
    T_OK(filch_listener_accept(pair.listener, &conn, T_LIMIT));
    T_IS(FILCH_SELECT_RESULT(&r, FILCH_NEVER, filch_case_readable(conn)), 0);
    T_IS(r, -EPERM);
    T_IS(write(fd, "z", 1), 1);
    T_OK(filch_tcp_read(conn, &byte, 1, T_LIMIT) == 1 ? 0 : -1);
    T_OK(close(fd));
    T_OK(filch_tcp_close(conn));
    T_OK(filch_listener_close(pair.listener));
}
