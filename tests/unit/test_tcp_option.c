/* Description: options of sockets (<filch/tcp.h>): each is set and read back in its own unit,
 * before connect and listen too, and what cannot be set is refused. */
#include <fcntl.h>
#include <sys/prctl.h>

#include <criterion/criterion.h>

#include "tests/runner/process.h"
#include "tests/runner/tcp_pair.h"

TestSuite(tcp_option, .timeout = 60);

struct sample {
    enum filch_tcp_option option;
    int64_t set;
    int64_t got;
};

static const struct sample samples[] = {
    {FILCH_TCP_NODELAY, 0, 0},
    {FILCH_TCP_NODELAY, 1, 1},
    {FILCH_TCP_CORK, 1, 1},
    {FILCH_TCP_CORK, 0, 0},
    {FILCH_TCP_QUICKACK, 0, 0},
    {FILCH_TCP_KEEPALIVE, 1, 1},
    {FILCH_TCP_KEEPALIVE_IDLE, 5 * FILCH_SECOND, 5 * FILCH_SECOND},
    {FILCH_TCP_KEEPALIVE_IDLE, FILCH_SECOND + 1, 2 * FILCH_SECOND}, /* never shorter than asked */
    {FILCH_TCP_KEEPALIVE_INTERVAL, 3 * FILCH_SECOND, 3 * FILCH_SECOND},
    {FILCH_TCP_KEEPALIVE_COUNT, 4, 4},
    {FILCH_TCP_USER_TIMEOUT, 1500 * FILCH_MILLISECOND, 1500 * FILCH_MILLISECOND},
    {FILCH_TCP_USER_TIMEOUT, FILCH_MILLISECOND + 1, 2 * FILCH_MILLISECOND},
    {FILCH_TCP_USER_TIMEOUT, 0, 0},
    {FILCH_TCP_LINGER, 2 * FILCH_SECOND, 2 * FILCH_SECOND},
    {FILCH_TCP_LINGER, 0, 0},
    {FILCH_TCP_LINGER, -1, -1},
    {FILCH_TCP_SEND_BUFFER, 20000, 40000},
    {FILCH_TCP_RECV_BUFFER, 20000, 40000},
    {FILCH_TCP_UNSENT_LOW, 16384, 16384},
    {FILCH_TCP_SYN_COUNT, 3, 3},
    {FILCH_TCP_REUSE_ADDR, 0, 0},
    {FILCH_TCP_TOS, 0x10, 0x10},
    {FILCH_TCP_PRIORITY, 5, 5},
};

static const enum filch_tcp_option all[] = {
    FILCH_TCP_NODELAY,
    FILCH_TCP_CORK,
    FILCH_TCP_QUICKACK,
    FILCH_TCP_KEEPALIVE,
    FILCH_TCP_KEEPALIVE_IDLE,
    FILCH_TCP_KEEPALIVE_INTERVAL,
    FILCH_TCP_KEEPALIVE_COUNT,
    FILCH_TCP_USER_TIMEOUT,
    FILCH_TCP_LINGER,
    FILCH_TCP_SEND_BUFFER,
    FILCH_TCP_RECV_BUFFER,
    FILCH_TCP_UNSENT_LOW,
    FILCH_TCP_MAX_SEGMENT,
    FILCH_TCP_SYN_COUNT,
    FILCH_TCP_REUSE_ADDR,
    FILCH_TCP_REUSE_PORT,
    FILCH_TCP_DEFER_ACCEPT,
    FILCH_TCP_FAST_OPEN,
    FILCH_TCP_FAST_OPEN_CONNECT,
    FILCH_TCP_TOS,
    FILCH_TCP_PRIORITY,
    FILCH_TCP_MARK,
    FILCH_TCP_INCOMING_CPU,
    FILCH_TCP_ERROR,
};

static int each_body(void *arg)
{
    struct tcp_pair pair;
    int64_t value;

    (void)arg;
    connect_pair(&pair);
    for (size_t i = 0; i < sizeof(samples) / sizeof(*samples); i++) {
        const struct sample *s = &samples[i];

        T_OK(filch_tcp_set(pair.client, s->option, s->set));
        T_OK(filch_tcp_get(pair.client, s->option, &value));
        T_IS(value, s->got);
        T_OK(filch_listener_set(pair.listener, s->option, s->set));
        T_OK(filch_listener_get(pair.listener, s->option, &value));
        T_IS(value, s->got);
    }
    T_OK(filch_tcp_get(pair.client, FILCH_TCP_MAX_SEGMENT, &value));
    T_CHECK(value > 500);
    T_OK(filch_tcp_get(pair.client, FILCH_TCP_INCOMING_CPU, &value));
    T_CHECK(value >= 0);
    T_OK(filch_tcp_get(pair.client, FILCH_TCP_ERROR, &value));
    T_IS(value, 0);
    T_OK(filch_listener_set(pair.listener, FILCH_TCP_DEFER_ACCEPT, FILCH_SECOND));
    T_OK(filch_listener_get(pair.listener, FILCH_TCP_DEFER_ACCEPT, &value));
    T_CHECK(value >= (int64_t)FILCH_SECOND);
    T_OK(filch_listener_set(pair.listener, FILCH_TCP_FAST_OPEN, 7));
    T_OK(filch_listener_get(pair.listener, FILCH_TCP_FAST_OPEN, &value));
    T_IS(value, 7);
    T_OK(filch_listener_set(pair.listener, FILCH_TCP_INCOMING_CPU, 0));
    close_pair(&pair);
    return 0;
}

Test(tcp_option, each_is_read_back_as_it_was_set)
{
    cr_assert_eq(run_in_runtime(0, each_body, NULL), 0);
}

static int refused_body(void *arg)
{
    static const struct sample bad[] = {
        {(enum filch_tcp_option)0, 1, 0},
        {(enum filch_tcp_option)1000, 1, 0},
        {(enum filch_tcp_option) - 1, 1, 0},
        {FILCH_TCP_NODELAY, 2, 0},
        {FILCH_TCP_NODELAY, -1, 0},
        {FILCH_TCP_KEEPALIVE_COUNT, 0, 0},
        {FILCH_TCP_KEEPALIVE_COUNT, 1 << 20, 0},
        {FILCH_TCP_KEEPALIVE_IDLE, 0, 0},
        {FILCH_TCP_KEEPALIVE_IDLE, INT64_MAX, 0},
        {FILCH_TCP_USER_TIMEOUT, -1000000, 0},
        {FILCH_TCP_USER_TIMEOUT, INT64_MAX, 0},
        {FILCH_TCP_SEND_BUFFER, -1, 0},
        {FILCH_TCP_SEND_BUFFER, (int64_t)1 << 40, 0},
        {FILCH_TCP_LINGER, -2, 0},
        {FILCH_TCP_LINGER, INT64_MAX, 0},
        {FILCH_TCP_TOS, 256, 0},
        {FILCH_TCP_ERROR, 1, 0},
    };
    struct tcp_pair pair;
    int64_t value = 77;

    (void)arg;
    connect_pair(&pair);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        T_IS(filch_tcp_set(pair.client, bad[i].option, bad[i].set), -EINVAL);
    T_IS(filch_tcp_get(pair.client, (enum filch_tcp_option)0, &value), -EINVAL);
    T_IS(filch_tcp_get(pair.client, (enum filch_tcp_option)1000, &value), -EINVAL);
    T_IS(filch_tcp_get(pair.client, FILCH_TCP_NODELAY, NULL), -EINVAL);
    T_IS(filch_tcp_set(NULL, FILCH_TCP_NODELAY, 1), -EINVAL);
    T_IS(filch_tcp_get(NULL, FILCH_TCP_NODELAY, &value), -EINVAL);
    T_IS(filch_listener_set(NULL, FILCH_TCP_NODELAY, 1), -EINVAL);
    T_IS(filch_listener_get(NULL, FILCH_TCP_NODELAY, &value), -EINVAL);
    close_pair(&pair);
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        T_IS(filch_tcp_set(pair.client, all[i], 1), -EBADF);
        T_IS(filch_tcp_get(pair.client, all[i], &value), -EBADF);
        T_IS(filch_listener_set(pair.listener, all[i], 1), -EBADF);
        T_IS(filch_listener_get(pair.listener, all[i], &value), -EBADF);
    }
    T_IS(value, 77); /* not touched by failures */
    return 0;
}

Test(tcp_option, bad_values_and_stale_handles_are_refused)
{
    cr_assert_eq(run_in_runtime(0, refused_body, NULL), 0);
}

static int settings_body(void *arg)
{
    filch_tcp_setting at_listen[] = {
        {FILCH_TCP_RECV_BUFFER, 30000},
        {FILCH_TCP_KEEPALIVE, 1},
        {FILCH_TCP_USER_TIMEOUT, 4 * FILCH_SECOND},
    };
    filch_tcp_setting at_connect[] = {
        {FILCH_TCP_SEND_BUFFER, 25000}, {FILCH_TCP_NODELAY, 0}, {FILCH_TCP_TOS, 0x08}};
    filch_listener_opts listen_opts = {.settings = at_listen, .setting_count = 3, .delay = true};
    filch_tcp_opts connect_opts = {.settings = at_connect, .setting_count = 3};
    struct tcp_pair pair = {0};
    int64_t value;

    (void)arg;
    T_OK(filch_listener_open("127.0.0.1:0", &listen_opts, &pair.listener));
    T_OK(filch_listener_addr(pair.listener, pair.addr));
    T_OK(filch_tcp_connect_opts(pair.addr, &connect_opts, &pair.client, T_LIMIT));
    T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
    /* What was set on the listener holds for what it accepts. */
    T_OK(filch_tcp_get(pair.server, FILCH_TCP_KEEPALIVE, &value));
    T_IS(value, 1);
    T_OK(filch_tcp_get(pair.server, FILCH_TCP_USER_TIMEOUT, &value));
    T_IS(value, 4 * FILCH_SECOND);
    T_OK(filch_tcp_get(pair.server, FILCH_TCP_NODELAY, &value));
    T_IS(value, 0);
    T_OK(filch_tcp_get(pair.client, FILCH_TCP_SEND_BUFFER, &value));
    T_IS(value, 50000);
    T_OK(filch_tcp_get(pair.client, FILCH_TCP_NODELAY, &value));
    T_IS(value, 0);
    T_OK(filch_tcp_get(pair.client, FILCH_TCP_TOS, &value));
    T_IS(value, 8);
    close_pair(&pair);
    /* By default neither side waits to fill packets. */
    connect_pair(&pair);
    T_OK(filch_tcp_get(pair.client, FILCH_TCP_NODELAY, &value));
    T_IS(value, 1);
    T_OK(filch_tcp_get(pair.server, FILCH_TCP_NODELAY, &value));
    T_IS(value, 1);
    close_pair(&pair);
    return 0;
}

Test(tcp_option, settings_are_made_before_listen_and_connect)
{
    cr_assert_eq(run_in_runtime(0, settings_body, NULL), 0);
    cr_assert_eq(settings_body(NULL), 0);
}

static int bad_settings_body(void *arg)
{
    filch_tcp_setting bad = {FILCH_TCP_NODELAY, 5};
    filch_tcp_setting local_error = {FILCH_TCP_ERROR, 0};
    filch_listener_opts listen_opts = {.settings = &bad, .setting_count = 1};
    filch_tcp_opts connect_opts = {.settings = &bad, .setting_count = 1};
    filch_tcp *conn = NULL;
    filch_listener *listener = NULL;
    struct tcp_pair pair;
    int before;

    (void)arg;
    listen_any(&pair);
    before = (int)process_files();
    T_IS(filch_listener_open("127.0.0.1:0", &listen_opts, &listener), -EINVAL);
    T_IS(filch_tcp_connect_opts(pair.addr, &connect_opts, &conn, T_LIMIT), -EINVAL);
    connect_opts.settings = &local_error;
    T_IS(filch_tcp_connect_opts(pair.addr, &connect_opts, &conn, T_LIMIT), -EINVAL);
    connect_opts = (filch_tcp_opts){.setting_count = 1};
    T_IS(filch_tcp_connect_opts(pair.addr, &connect_opts, &conn, T_LIMIT), -EINVAL);
    connect_opts = (filch_tcp_opts){.local_addr = "nonsense"};
    T_IS(filch_tcp_connect_opts(pair.addr, &connect_opts, &conn, T_LIMIT), -EINVAL);
    connect_opts = (filch_tcp_opts){.local_addr = "[::1]:0"}; /* the other family */
    T_IS(filch_tcp_connect_opts(pair.addr, &connect_opts, &conn, T_LIMIT), -EINVAL);
    connect_opts = (filch_tcp_opts){.local_addr = "192.0.2.1:0"};
    T_IS(filch_tcp_connect_opts(pair.addr, &connect_opts, &conn, T_LIMIT), -EADDRNOTAVAIL);
    connect_opts = (filch_tcp_opts){.device = "no-such-device"};
    T_IS(filch_tcp_connect_opts(pair.addr, &connect_opts, &conn, T_LIMIT), -ENODEV);
    listen_opts = (filch_listener_opts){.device = "no-such-device"};
    T_IS(filch_listener_open("127.0.0.1:0", &listen_opts, &listener), -ENODEV);
    T_CHECK(!conn && !listener);
    T_IS((int)process_files(), before);
    T_OK(filch_listener_close(pair.listener));
    return 0;
}

Test(tcp_option, what_cannot_be_set_leaves_nothing_open)
{
    cr_assert_eq(run_in_runtime(0, bad_settings_body, NULL), 0);
}

static int bind_body(void *arg)
{
    filch_tcp_opts opts = {.local_addr = "127.0.0.2:0", .device = "lo"};
    filch_listener_opts listen_opts = {.device = "lo", .backlog = 3};
    struct tcp_pair pair = {0};
    char text[FILCH_ADDR_BYTES];

    (void)arg;
    T_OK(filch_listener_open("127.0.0.1:0", &listen_opts, &pair.listener));
    T_OK(filch_listener_addr(pair.listener, pair.addr));
    T_OK(filch_tcp_connect_opts(pair.addr, &opts, &pair.client, T_LIMIT));
    T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
    T_OK(filch_tcp_peer_addr(pair.server, text));
    T_OK(strncmp(text, "127.0.0.2:", 10));
    close_pair(&pair);
    return 0;
}

Test(tcp_option, local_address_and_device_are_used)
{
    cr_assert_eq(run_in_runtime(0, bind_body, NULL), 0);
    cr_assert_eq(bind_body(NULL), 0);
}

static int v6only_body(void *arg)
{
    filch_tcp_setting only = {FILCH_TCP_V6ONLY, 1};
    filch_listener_opts opts = {.settings = &only, .setting_count = 1};
    struct tcp_pair pair = {0};
    char text[2 * FILCH_ADDR_BYTES];
    int64_t value;

    (void)arg;
    T_OK(filch_listener_open("[::]:0", &opts, &pair.listener));
    T_OK(filch_listener_addr(pair.listener, pair.addr));
    T_OK(filch_listener_get(pair.listener, FILCH_TCP_V6ONLY, &value));
    T_IS(value, 1);
    T_IS(filch_listener_set(pair.listener, FILCH_TCP_V6ONLY, 0), -EINVAL); /* too late */
    snprintf(text, sizeof(text), "127.0.0.1:%s", pair.addr + 5);
    T_IS(filch_tcp_connect(text, &pair.client, T_LIMIT), -ECONNREFUSED);
    snprintf(text, sizeof(text), "[::1]:%s", pair.addr + 5);
    T_OK(filch_tcp_connect(text, &pair.client, T_LIMIT));
    T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
    T_OK(filch_tcp_set(pair.client, FILCH_TCP_TOS, 0x20));
    T_OK(filch_tcp_get(pair.client, FILCH_TCP_TOS, &value));
    T_IS(value, 0x20);
    close_pair(&pair);
    return 0;
}

Test(tcp_option, a_listener_may_be_for_ipv6_only)
{
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 addr = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int r = fd < 0 ? -1 : bind(fd, (struct sockaddr *)&addr, sizeof(addr));

    if (r < 0)
        cr_skip_test("this machine has no IPv6");
    close(fd);
    cr_assert_eq(run_in_runtime(0, v6only_body, NULL), 0);
}

static int share_body(void *arg)
{
    filch_tcp_setting share = {FILCH_TCP_REUSE_PORT, 1};
    filch_listener_opts opts = {.settings = &share, .setting_count = 1};
    filch_listener *a, *b;
    char addr[FILCH_ADDR_BYTES];

    (void)arg;
    T_OK(filch_listener_open("127.0.0.1:0", &opts, &a));
    T_OK(filch_listener_addr(a, addr));
    T_OK(filch_listener_open(addr, &opts, &b));
    T_OK(filch_listener_close(a));
    T_OK(filch_listener_close(b));
    return 0;
}

Test(tcp_option, listeners_may_share_a_port)
{
    cr_assert_eq(run_in_runtime(0, share_body, NULL), 0);
}

static int defer_body(void *arg)
{
    struct tcp_pair pair;
    char byte;

    (void)arg;
    listen_any(&pair);
    T_OK(filch_listener_set(pair.listener, FILCH_TCP_DEFER_ACCEPT, 10 * FILCH_SECOND));
    T_OK(filch_tcp_connect(pair.addr, &pair.client, T_LIMIT));
    T_IS(filch_listener_accept(pair.listener, &pair.server, filch_after(20 * FILCH_MILLISECOND)),
         -ETIMEDOUT);
    T_OK(filch_tcp_write_all(pair.client, "!", 1, NULL, T_LIMIT));
    T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
    T_IS(filch_tcp_read(pair.server, &byte, 1, FILCH_NOW), 1);
    close_pair(&pair);
    return 0;
}

Test(tcp_option, accept_may_wait_for_the_first_byte)
{
    cr_assert_eq(run_in_runtime(0, defer_body, NULL), 0);
}

/* Twice: the first connection brings the cookie if the kernel's settings allow it; the bytes arrive
 * either way. */
static int fast_open_body(void *arg)
{
    filch_tcp_setting at_listen = {FILCH_TCP_FAST_OPEN, 16};
    filch_tcp_setting at_connect = {FILCH_TCP_FAST_OPEN_CONNECT, 1};
    filch_listener_opts listen_opts = {.settings = &at_listen, .setting_count = 1};
    filch_tcp_opts connect_opts = {.settings = &at_connect, .setting_count = 1};
    struct tcp_pair pair = {0};
    char buffer[5];

    (void)arg;
    T_OK(filch_listener_open("127.0.0.1:0", &listen_opts, &pair.listener));
    T_OK(filch_listener_addr(pair.listener, pair.addr));
    for (int i = 0; i < 2; i++) {
        T_OK(filch_tcp_connect_opts(pair.addr, &connect_opts, &pair.client, T_LIMIT));
        T_OK(filch_tcp_write_all(pair.client, "early", 5, NULL, T_LIMIT));
        T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
        T_OK(filch_tcp_read_exact(pair.server, buffer, 5, NULL, T_LIMIT));
        T_OK(memcmp(buffer, "early", 5));
        T_OK(filch_tcp_close(pair.client));
        T_OK(filch_tcp_close(pair.server));
    }
    T_OK(filch_listener_close(pair.listener));
    return 0;
}

Test(tcp_option, fast_open_loses_no_byte)
{
    cr_assert_eq(run_in_runtime(0, fast_open_body, NULL), 0);
}

static int error_body(void *arg)
{
    struct tcp_pair pair;
    int64_t value = 0;
    int fd = raw_socket();

    (void)arg;
    listen_any(&pair);
    raw_connect(fd, pair.addr);
    T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
    raw_reset(fd);
    T_OK(filch_tcp_get(pair.server, FILCH_TCP_ERROR, &value)); /* the loopback is synchronous */
    T_IS(value, -ECONNRESET);
    T_OK(filch_tcp_get(pair.server, FILCH_TCP_ERROR, &value));
    T_IS(value, 0);
    T_OK(filch_tcp_close(pair.server));
    T_OK(filch_listener_close(pair.listener));
    return 0;
}

Test(tcp_option, pending_error_is_told_once)
{
    cr_assert_eq(run_in_runtime(0, error_body, NULL), 0);
}

static int linger_reset_body(void *arg)
{
    struct tcp_pair pair;
    char byte;

    (void)arg;
    connect_pair(&pair);
    T_OK(filch_tcp_set(pair.client, FILCH_TCP_LINGER, 0));
    T_OK(filch_tcp_close(pair.client));
    T_IS(filch_tcp_read(pair.server, &byte, 1, T_LIMIT), -ECONNRESET);
    T_OK(filch_tcp_close(pair.server));
    T_OK(filch_listener_close(pair.listener));
    return 0;
}

Test(tcp_option, linger_of_nothing_resets)
{
    cr_assert_eq(run_in_runtime(0, linger_reset_body, NULL), 0);
}

struct lingering {
    filch_tcp *conn;
    atomic_int begun;
    atomic_int closed;
};

static int close_lingering(void *arg)
{
    struct lingering *lingering = arg;

    atomic_store(&lingering->begun, 1);
    T_OK(filch_tcp_close(lingering->conn));
    atomic_store(&lingering->closed, 1);
    return 0;
}

/* The peer reads nothing, so the close waits; the one worker must not. */
static int linger_waits_body(void *arg)
{
    static char block[1 << 16];
    struct lingering lingering = {0};
    struct tcp_pair pair;
    filch_task *task;
    size_t sent = 0, got = 0;
    ssize_t n;

    (void)arg;
    connect_pair(&pair);
    T_OK(filch_tcp_set(pair.client, FILCH_TCP_LINGER, 60 * FILCH_SECOND));
    while ((n = filch_tcp_write(pair.client, block, sizeof(block), FILCH_NOW)) > 0)
        sent += (size_t)n;
    lingering.conn = pair.client;
    task = spawn(close_lingering, &lingering);
    T_WAIT_UNTIL(atomic_load(&lingering.begun));
    let_others_run();
    T_CHECK(!atomic_load(&lingering.closed));
    while ((n = filch_tcp_read(pair.server, block, sizeof(block), T_LIMIT)) > 0)
        got += (size_t)n;
    T_IS(n, 0);
    T_IS(got, sent);
    T_OK(join(task));
    T_OK(filch_tcp_close(pair.server));
    T_OK(filch_listener_close(pair.listener));
    return 0;
}

Test(tcp_option, a_close_that_lingers_holds_up_no_worker)
{
    cr_assert_eq(run_in_runtime(1, linger_waits_body, NULL), 0);
}

static int unprivileged_body(void *arg)
{
    struct tcp_pair pair;
    int64_t value;

    (void)arg;
    connect_pair(&pair);
    T_IS(filch_tcp_set(pair.client, FILCH_TCP_MARK, 9), -EPERM);
    T_IS(filch_tcp_set(pair.client, FILCH_TCP_PRIORITY, 7), -EPERM);
    T_OK(filch_tcp_get(pair.client, FILCH_TCP_MARK, &value));
    T_IS(value, 0);
    close_pair(&pair);
    return 0;
}

static int privileged_body(void *arg)
{
    struct tcp_pair pair;
    int64_t value;

    (void)arg;
    connect_pair(&pair);
    T_OK(filch_tcp_set(pair.client, FILCH_TCP_MARK, 9));
    T_OK(filch_tcp_get(pair.client, FILCH_TCP_MARK, &value));
    T_IS(value, 9);
    close_pair(&pair);
    return 0;
}

/* The process is this test. What looks for leaks when it ends has to be root again. */
Test(tcp_option, marks_need_a_capability)
{
    bool root = geteuid() == 0;

    if (root) {
        cr_assert_eq(run_in_runtime(0, privileged_body, NULL), 0);
        T_OK(seteuid(65534));
    }
    cr_assert_eq(unprivileged_body(NULL), 0);
    if (root) {
        T_OK(seteuid(0));
        T_OK(prctl(PR_SET_DUMPABLE, 1));
    }
}
