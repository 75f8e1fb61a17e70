/* Description: what <filch/tcp.h> promises when things go wrong: resets, refusals, cancels, closes
 * under way, no descriptors left. */
#include <fcntl.h>
#include <sys/resource.h>

#include <criterion/criterion.h>

#include "tests/runner/tcp_pair.h"

TestSuite(tcp_faults, .timeout = 60);

Test(tcp_faults, address_text_that_is_none_is_refused)
{
    static const char *const bad[] = {
        "",
        ":",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:12x",
        "127.0.0.1: 80",
        "127.0.0.1:80 ",
        " 127.0.0.1:80",
        "256.0.0.1:80",
        "1.2.3:80",
        "localhost:80",
        "::1:80",
        "[::1]",
        "[::1]80",
        "[::1]:",
        "[::1:80",
        "[127.0.0.1]:80",
        "[]:80",
        "127.0.0.1:99999999999",
        "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:80",
    };
    filch_listener *listener = NULL;
    filch_tcp *conn = NULL;

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        cr_assert_eq(filch_listener_open(bad[i], NULL, &listener), -EINVAL, "listen %s", bad[i]);
        cr_assert_eq(filch_tcp_connect(bad[i], &conn, T_LIMIT), -EINVAL, "connect %s", bad[i]);
    }
    cr_assert_null(listener);
    cr_assert_null(conn);
}

static int null_body(void *arg)
{
    struct tcp_pair pair;
    char text[FILCH_ADDR_BYTES];
    size_t done;
    filch_tcp *conn;

    (void)arg;
    connect_pair(&pair);
    T_IS(filch_listener_open(NULL, NULL, &pair.listener), -EINVAL);
    T_IS(filch_listener_open("127.0.0.1:0", NULL, NULL), -EINVAL);
    T_IS(filch_listener_accept(NULL, &conn, FILCH_NOW), -EINVAL);
    T_IS(filch_listener_accept(pair.listener, NULL, FILCH_NOW), -EINVAL);
    T_IS(filch_listener_addr(NULL, text), -EINVAL);
    T_IS(filch_listener_addr(pair.listener, NULL), -EINVAL);
    T_OK(filch_listener_close(NULL));
    T_IS(filch_tcp_connect(NULL, &conn, FILCH_NOW), -EINVAL);
    T_IS(filch_tcp_connect(pair.addr, NULL, FILCH_NOW), -EINVAL);
    T_IS(filch_tcp_read(NULL, text, 1, FILCH_NOW), -EINVAL);
    T_IS(filch_tcp_read(pair.client, NULL, 1, FILCH_NOW), -EINVAL);
    T_IS(filch_tcp_read_exact(NULL, text, 1, &done, FILCH_NOW), -EINVAL);
    T_IS(filch_tcp_write(NULL, text, 1, FILCH_NOW), -EINVAL);
    T_IS(filch_tcp_write(pair.client, NULL, 1, FILCH_NOW), -EINVAL);
    T_IS(filch_tcp_write_all(NULL, text, 1, &done, FILCH_NOW), -EINVAL);
    T_IS(filch_tcp_shutdown_write(NULL), -EINVAL);
    T_IS(filch_tcp_set(NULL, FILCH_TCP_NODELAY, true), -EINVAL);
    T_IS(filch_tcp_local_addr(NULL, text), -EINVAL);
    T_IS(filch_tcp_local_addr(pair.client, NULL), -EINVAL);
    T_IS(filch_tcp_peer_addr(NULL, text), -EINVAL);
    T_OK(filch_tcp_close(NULL));
    close_pair(&pair);
    return 0;
}

Test(tcp_faults, null_is_refused)
{
    cr_assert_eq(run_in_runtime(0, null_body, NULL), 0);
}

static int stale_body(void *arg)
{
    struct tcp_pair pair;
    char text[FILCH_ADDR_BYTES];
    filch_tcp *conn;

    (void)arg;
    connect_pair(&pair);
    close_pair(&pair);
    T_IS(filch_listener_accept(pair.listener, &conn, FILCH_NEVER), -EBADF);
    T_IS(filch_listener_addr(pair.listener, text), -EBADF);
    T_IS(filch_listener_close(pair.listener), -EBADF);
    T_IS(filch_tcp_read(pair.client, text, 1, FILCH_NEVER), -EBADF);
    T_IS(filch_tcp_read_exact(pair.client, text, 1, NULL, FILCH_NEVER), -EBADF);
    T_IS(filch_tcp_write(pair.client, text, 1, FILCH_NEVER), -EBADF);
    T_IS(filch_tcp_write_all(pair.client, text, 1, NULL, FILCH_NEVER), -EBADF);
    T_IS(filch_tcp_shutdown_write(pair.client), -EBADF);
    T_IS(filch_tcp_set(pair.client, FILCH_TCP_NODELAY, true), -EBADF);
    T_IS(filch_tcp_local_addr(pair.client, text), -EBADF);
    T_IS(filch_tcp_peer_addr(pair.client, text), -EBADF);
    T_IS(filch_tcp_close(pair.client), -EBADF);
    return 0;
}

Test(tcp_faults, closed_handles_are_refused)
{
    cr_assert_eq(run_in_runtime(0, stale_body, NULL), 0);
}

static int bind_errors_body(void *arg)
{
    filch_listener_opts share = {.reuse_port = true, .backlog = 5};
    filch_listener *second = NULL;
    struct tcp_pair pair;

    (void)arg;
    listen_any(&pair);
    T_IS(filch_listener_open(pair.addr, NULL, &second), -EADDRINUSE);
    T_CHECK(second == NULL);
    T_IS(filch_listener_open("192.0.2.1:0", NULL, &second), -EADDRNOTAVAIL);
    T_OK(filch_listener_close(pair.listener));
    /* The port is free again at once. */
    T_OK(filch_listener_open(pair.addr, &share, &pair.listener));
    T_OK(filch_listener_open(pair.addr, &share, &second));
    T_OK(filch_listener_close(second));
    T_OK(filch_listener_close(pair.listener));
    return 0;
}

Test(tcp_faults, listener_says_why_it_cannot_bind)
{
    cr_assert_eq(run_in_runtime(0, bind_errors_body, NULL), 0);
}

static int refused_body(void *arg)
{
    char addr[FILCH_ADDR_BYTES];
    int fd = raw_bind(addr); /* the port is taken, and nobody listens */
    filch_tcp *conn = NULL;

    (void)arg;
    for (int i = 0; i < 20; i++)
        T_IS(filch_tcp_connect(addr, &conn, T_LIMIT), -ECONNREFUSED);
    T_CHECK(conn == NULL);
    close(fd);
    return 0;
}

Test(tcp_faults, connect_to_a_closed_port_is_refused)
{
    cr_assert_eq(run_in_runtime(0, refused_body, NULL), 0);
    cr_assert_eq(refused_body(NULL), 0);
}

/* A listener whose queue is full: the kernel drops what comes, so a connect hangs until its sender
 * gives up. */
struct full {
    char addr[FILCH_ADDR_BYTES];
    int listener;
    int client[4];
    atomic_int arrived;
};

static void full_open(struct full *full)
{
    struct sockaddr_in addr;

    memset(full, 0, sizeof(*full));
    full->listener = raw_bind(full->addr);
    T_OK(listen(full->listener, 0));
    addr = raw_addr(full->addr);
    for (int i = 0; i < 4; i++) {
        full->client[i] = raw_socket();
        T_OK(fcntl(full->client[i], F_SETFL, O_NONBLOCK));
        if (connect(full->client[i], (struct sockaddr *)&addr, sizeof(addr)) < 0)
            T_IS(errno, EINPROGRESS);
    }
}

static void full_close(struct full *full)
{
    for (int i = 0; i < 4; i++)
        close(full->client[i]);
    close(full->listener);
}

static int connect_full(void *arg)
{
    struct full *full = arg;
    filch_tcp *conn;

    atomic_store(&full->arrived, 1);
    T_IS(filch_tcp_connect(full->addr, &conn, FILCH_NEVER), -ECANCELED);
    T_IS(filch_tcp_connect_opts(full->addr, NULL, &conn, FILCH_NEVER), -ECANCELED);
    return 0;
}

static int connect_hangs_body(void *arg)
{
    struct full full;
    filch_tcp *conn;
    filch_task *task;
    filch_time until;

    (void)arg;
    full_open(&full);
    until = filch_after(10 * FILCH_MILLISECOND);
    T_IS(filch_tcp_connect(full.addr, &conn, until), -ETIMEDOUT);
    T_CHECK(filch_now() >= until);
    task = spawn(connect_full, &full);
    T_WAIT_UNTIL(atomic_load(&full.arrived));
    let_others_run();
    T_OK(filch_task_cancel(task));
    T_OK(join(task));
    full_close(&full);
    return 0;
}

Test(tcp_faults, connect_that_hangs_ends_by_deadline_or_cancel)
{
    cr_assert_eq(run_in_runtime(0, connect_hangs_body, NULL), 0);
}

static int reset_body(void *arg)
{
    struct tcp_pair pair;
    char buffer[8];
    int fd = raw_socket();
    ssize_t n;

    (void)arg;
    listen_any(&pair);
    raw_connect(fd, pair.addr);
    T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
    raw_reset(fd);
    T_IS(filch_tcp_read(pair.server, buffer, 8, T_LIMIT), -ECONNRESET);
    n = filch_tcp_write(pair.server, buffer, 8, T_LIMIT);
    T_IS(n, -EPIPE);
    T_OK(filch_tcp_close(pair.server));
    T_OK(filch_listener_close(pair.listener));
    return 0;
}

Test(tcp_faults, reset_by_the_peer_is_reported_and_no_signal_is_raised)
{
    cr_assert_eq(run_in_runtime(0, reset_body, NULL), 0);
    cr_assert_eq(reset_body(NULL), 0);
}

/* Whoever waits in a connection, and what the wait must say. */
struct waiting {
    struct tcp_pair pair;
    atomic_int arrived;
    bool strict; /* one worker: the waiter is certainly in */
};

static void check_ended(const struct waiting *waiting, ssize_t r)
{
    if (r != -ECANCELED && (waiting->strict || r != -EBADF))
        cr_assert_fail("%s: the call says %zd", waiting->strict ? "strict" : "not strict", r);
}

static int read_forever(void *arg)
{
    struct waiting *waiting = arg;
    char buffer[8];

    atomic_fetch_add(&waiting->arrived, 1);
    check_ended(waiting, filch_tcp_read(waiting->pair.server, buffer, 8, FILCH_NEVER));
    return 0;
}

static int write_forever(void *arg)
{
    static char block[65536];
    struct waiting *waiting = arg;
    ssize_t n;

    atomic_fetch_add(&waiting->arrived, 1);
    while ((n = filch_tcp_write(waiting->pair.server, block, sizeof(block), FILCH_NEVER)) > 0)
        ;
    check_ended(waiting, n);
    return 0;
}

static int accept_forever(void *arg)
{
    struct waiting *waiting = arg;
    filch_tcp *conn;

    atomic_fetch_add(&waiting->arrived, 1);
    check_ended(waiting, filch_listener_accept(waiting->pair.listener, &conn, FILCH_NEVER));
    return 0;
}

static int close_under_way_body(void *arg)
{
    for (int round = 0; round < 20; round++) {
        struct waiting waiting = {.strict = arg != NULL};
        filch_task *task[6];

        connect_pair(&waiting.pair);
        task[0] = spawn(read_forever, &waiting);
        task[1] = spawn(write_forever, &waiting);
        for (int i = 2; i < 6; i++)
            task[i] = spawn(accept_forever, &waiting);
        T_WAIT_UNTIL(atomic_load(&waiting.arrived) == 6);
        if (waiting.strict)
            let_others_run();
        /* Its peer later: that end would be seen as well. */
        T_OK(filch_tcp_close(waiting.pair.server));
        T_OK(filch_listener_close(waiting.pair.listener));
        T_OK(filch_tcp_close(waiting.pair.client));
        for (int i = 0; i < 6; i++)
            T_OK(join(task[i]));
    }
    return 0;
}

Test(tcp_faults, close_ends_the_calls_that_wait)
{
    int strict = 1;

    cr_assert_eq(run_in_runtime(1, close_under_way_body, &strict), 0);
    cr_assert_eq(run_in_runtime(0, close_under_way_body, NULL), 0);
}

static int cancel_under_way_body(void *arg)
{
    (void)arg;
    for (int round = 0; round < 20; round++) {
        struct waiting waiting = {.strict = true};
        filch_task *task[3];

        connect_pair(&waiting.pair);
        task[0] = spawn(read_forever, &waiting);
        task[1] = spawn(write_forever, &waiting);
        task[2] = spawn(accept_forever, &waiting);
        T_WAIT_UNTIL(atomic_load(&waiting.arrived) == 3);
        if (round % 2)
            let_others_run();
        for (int i = 0; i < 3; i++)
            T_OK(filch_task_cancel(task[i]));
        for (int i = 0; i < 3; i++)
            T_OK(join(task[i]));
        close_pair(&waiting.pair);
    }
    return 0;
}

Test(tcp_faults, cancel_ends_the_calls_that_wait)
{
    cr_assert_eq(run_in_runtime(0, cancel_under_way_body, NULL), 0);
}

/* Readers are cancelled while bytes arrive: each byte comes out once, in order. */
struct relay {
    filch_tcp *conn;
    unsigned next;
};

static int read_some(void *arg)
{
    struct relay *relay = arg;
    unsigned char buffer[5];
    ssize_t n;

    while ((n = filch_tcp_read(relay->conn, buffer, sizeof(buffer), FILCH_NEVER)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            T_IS(buffer[i], (unsigned char)relay->next++);
        if (filch_task_is_cancelled())
            return 0;
    }
    T_IS(n, -ECANCELED);
    return 0;
}

static int cancel_storm_body(void *arg)
{
    struct tcp_pair pair;
    struct relay relay;
    unsigned sent = 0;

    (void)arg;
    connect_pair(&pair);
    relay = (struct relay){pair.server, 0};
    for (int round = 0; round < 500; round++) {
        filch_task *reader = spawn(read_some, &relay);

        for (int i = 0; i < round % 5; i++) {
            unsigned char byte = (unsigned char)sent++;

            T_OK(filch_tcp_write_all(pair.client, &byte, 1, NULL, T_LIMIT));
        }
        for (int i = 0; i < round % 3; i++)
            filch_task_yield();
        T_OK(filch_task_cancel(reader));
        T_OK(join(reader));
    }
    while (relay.next < sent) {
        unsigned char byte;

        T_OK(filch_tcp_read_exact(pair.server, &byte, 1, NULL, T_LIMIT));
        T_IS(byte, (unsigned char)relay.next++);
    }
    close_pair(&pair);
    return 0;
}

Test(tcp_faults, cancelled_reads_lose_no_byte)
{
    cr_assert_eq(run_in_runtime(0, cancel_storm_body, NULL), 0);
}

struct taker {
    filch_listener *listener;
    atomic_int taken;
};

static int take(void *arg)
{
    struct taker *taker = arg;
    filch_tcp *conn;
    int r = filch_listener_accept(taker->listener, &conn, FILCH_NEVER);

    if (r == 0) {
        atomic_fetch_add(&taker->taken, 1);
        T_OK(filch_tcp_close(conn));
        return 0;
    }
    T_IS(r, -ECANCELED);
    return 0;
}

static int accept_storm_body(void *arg)
{
    enum { N = 200 };
    struct tcp_pair pair;
    struct taker taker = {NULL, 0};
    filch_tcp *client[N];
    filch_tcp *conn;

    (void)arg;
    listen_any(&pair);
    taker.listener = pair.listener;
    for (int i = 0; i < N; i++) {
        filch_task *task = spawn(take, &taker);

        if (i % 2)
            filch_task_yield();
        T_OK(filch_tcp_connect(pair.addr, &client[i], T_LIMIT));
        T_OK(filch_task_cancel(task));
        T_OK(join(task));
    }
    while (atomic_load(&taker.taken) < N) {
        T_OK(filch_listener_accept(pair.listener, &conn, T_LIMIT));
        T_OK(filch_tcp_close(conn));
        atomic_fetch_add(&taker.taken, 1);
    }
    T_IS(filch_listener_accept(pair.listener, &conn, FILCH_NOW), -ETIMEDOUT);
    for (int i = 0; i < N; i++)
        T_OK(filch_tcp_close(client[i]));
    T_OK(filch_listener_close(pair.listener));
    return 0;
}

Test(tcp_faults, cancelled_accepts_lose_no_connection)
{
    cr_assert_eq(run_in_runtime(0, accept_storm_body, NULL), 0);
}

/* The limit is this process's, and this process is this test. */
static int set_limit(rlim_t fds)
{
    struct rlimit limit;

    T_OK(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = fds;
    return setrlimit(RLIMIT_NOFILE, &limit);
}

static int emfile_body(void *arg)
{
    struct rlimit before;
    struct tcp_pair pair;
    filch_stats stats, later;
    filch_time begun;
    int hog[64];
    int hogs = 0;
    int client = raw_socket();
    char byte = 0;

    (void)arg;
    T_OK(getrlimit(RLIMIT_NOFILE, &before));
    listen_any(&pair);
    T_OK(set_limit((rlim_t)client + 32));
    while (hogs < 64 && (hog[hogs] = dup(client)) >= 0)
        hogs++;
    T_CHECK(hogs < 64);

    raw_connect(client, pair.addr);
    T_OK(filch_runtime_stats(filch_runtime_self(), &stats));
    begun = filch_now();
    T_IS(filch_listener_accept(pair.listener, &pair.server, filch_after(50 * FILCH_MILLISECOND)),
         -ETIMEDOUT);
    T_OK(filch_runtime_stats(filch_runtime_self(), &later));
    T_CHECK(later.accept_backoffs >= 1);
    /* Nobody spins: pauses of 5 ms and more, and hardly anything done in between. */
    T_CHECK(later.accept_backoffs <= 1 + (filch_now() - begun) / (5 * FILCH_MILLISECOND));
    T_CHECK(later.ops_submitted + later.ops_direct - stats.ops_submitted - stats.ops_direct <
            20 * later.accept_backoffs + 50);
    T_IS(filch_tcp_connect(pair.addr, &pair.client, T_LIMIT), -EMFILE);
    T_IS(filch_listener_open("127.0.0.1:0", NULL, &(filch_listener *){NULL}), -EMFILE);

    /* One is enough: the connection that waited is served. */
    T_OK(close(hog[--hogs]));
    T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
    T_OK(filch_tcp_write_all(pair.server, "!", 1, NULL, T_LIMIT));
    T_IS(read(client, &byte, 1), 1);
    T_IS(byte, '!');
    while (hogs > 0)
        close(hog[--hogs]);
    close(client);
    T_OK(setrlimit(RLIMIT_NOFILE, &before));
    T_OK(filch_tcp_close(pair.server));
    T_OK(filch_listener_close(pair.listener));
    return 0;
}

Test(tcp_faults, listener_without_descriptors_backs_off_and_recovers)
{
    if (RUNNING_ON_VALGRIND)
        cr_skip_test("Valgrind only pretends to a limit of descriptors: the ring has more");
    cr_assert_eq(run_in_runtime(0, emfile_body, NULL), 0);
}

static int read_until_shutdown(void *arg)
{
    struct waiting waiting = {.strict = true};

    connect_pair(&waiting.pair);
    atomic_fetch_add((atomic_int *)arg, 1);
    T_OK(read_forever(&waiting));
    close_pair(&waiting.pair);
    return 0;
}

Test(tcp_faults, shutdown_ends_reads_that_wait)
{
    filch_runtime *rt = start_runtime(0);
    atomic_int connected = 0;

    for (int i = 0; i < 20; i++)
        T_OK(filch_runtime_spawn(rt, read_until_shutdown, &connected, NULL, NULL));
    T_WAIT_UNTIL(atomic_load(&connected) == 20);
    stop_runtime(rt);
}
