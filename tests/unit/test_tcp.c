/* Description: what <filch/tcp.h> promises while all goes well: bytes arrive, sides end one by one,
 * addresses are text. */
#include <pthread.h>

#include <criterion/criterion.h>

#include "tests/runner/tcp_pair.h"

TestSuite(tcp, .timeout = 60);

static unsigned char pattern(size_t i)
{
    return (unsigned char)((i * 2654435761u) >> 13);
}

/* Echoes with a buffer of an odd size until the peer ends its side, then ends its own. */
static int echo(void *arg)
{
    filch_tcp *conn = arg;
    unsigned char buffer[1237];
    ssize_t n;

    while ((n = filch_tcp_read(conn, buffer, sizeof(buffer), T_LIMIT)) > 0)
        T_OK(filch_tcp_write_all(conn, buffer, (size_t)n, NULL, T_LIMIT));
    T_IS(n, 0);
    T_OK(filch_tcp_close(conn));
    return 0;
}

struct bulk {
    filch_tcp *conn;
    size_t bytes;
    atomic_int finished;
};

static int write_pattern(void *arg)
{
    struct bulk *bulk = arg;
    unsigned char *data = malloc(bulk->bytes);
    size_t done = 0;

    T_CHECK(data);
    for (size_t i = 0; i < bulk->bytes; i++)
        data[i] = pattern(i);
    T_OK(filch_tcp_write_all(bulk->conn, data, bulk->bytes, &done, T_LIMIT));
    T_IS(done, bulk->bytes);
    T_OK(filch_tcp_shutdown_write(bulk->conn));
    free(data);
    atomic_store(&bulk->finished, 1);
    return 0;
}

/* Short reads of all sizes. Return: bytes until the end of stream. */
static size_t read_pattern(filch_tcp *conn)
{
    unsigned char buffer[4096];
    size_t total = 0;
    ssize_t n;

    while ((n = filch_tcp_read(conn, buffer, 1 + total * 7 % sizeof(buffer), T_LIMIT)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            T_IS(buffer[i], pattern(total + (size_t)i));
        total += (size_t)n;
    }
    T_IS(n, 0);
    return total;
}

static int echo_mib_body(void *arg)
{
    struct bulk bulk = {.bytes = 1 << 20};
    struct tcp_pair pair;
    filch_task *server;
    filch_task *writer;

    (void)arg;
    connect_pair(&pair);
    bulk.conn = pair.client;
    server = spawn(echo, pair.server);
    writer = spawn(write_pattern, &bulk);
    T_IS(read_pattern(pair.client), bulk.bytes);
    T_OK(join(writer));
    T_OK(join(server));
    T_OK(filch_tcp_close(pair.client));
    T_OK(filch_listener_close(pair.listener));
    return 0;
}

Test(tcp, one_mib_is_echoed_byte_for_byte)
{
    cr_assert_eq(run_in_runtime(0, echo_mib_body, NULL), 0);
}

static void *echo_thread(void *arg)
{
    T_OK(echo(arg));
    return NULL;
}

static void *write_thread(void *arg)
{
    T_OK(write_pattern(arg));
    return NULL;
}

Test(tcp, plain_threads_do_without_a_runtime)
{
    struct bulk bulk = {.bytes = 1 << 20};
    struct tcp_pair pair;
    pthread_t server;
    pthread_t writer;

    connect_pair(&pair);
    bulk.conn = pair.client;
    T_OK(pthread_create(&server, NULL, echo_thread, pair.server));
    T_OK(pthread_create(&writer, NULL, write_thread, &bulk));
    cr_assert_eq(read_pattern(pair.client), bulk.bytes);
    T_OK(pthread_join(writer, NULL));
    T_OK(pthread_join(server, NULL));
    T_OK(filch_tcp_close(pair.client));
    T_OK(filch_listener_close(pair.listener));
}

static int half_close_body(void *arg)
{
    struct tcp_pair pair;
    char buffer[16];

    (void)arg;
    connect_pair(&pair);
    T_OK(filch_tcp_write_all(pair.client, "ask", 3, NULL, T_LIMIT));
    T_OK(filch_tcp_shutdown_write(pair.client));
    T_OK(filch_tcp_read_exact(pair.server, buffer, 3, NULL, T_LIMIT));
    for (int i = 0; i < 3; i++)
        T_IS(filch_tcp_read(pair.server, buffer, sizeof(buffer), T_LIMIT), 0);
    T_IS(filch_tcp_read(pair.server, buffer, sizeof(buffer), FILCH_NOW), 0);
    /* The other way is open. */
    T_OK(filch_tcp_write_all(pair.server, "tell", 4, NULL, T_LIMIT));
    T_OK(filch_tcp_read_exact(pair.client, buffer, 4, NULL, T_LIMIT));
    T_OK(memcmp(buffer, "tell", 4));
    T_IS(filch_tcp_write(pair.client, "x", 1, T_LIMIT), -EPIPE);
    T_IS(filch_tcp_write_all(pair.client, "x", 1, NULL, T_LIMIT), -EPIPE);
    close_pair(&pair);
    return 0;
}

Test(tcp, each_side_ends_by_itself)
{
    cr_assert_eq(run_in_runtime(0, half_close_body, NULL), 0);
}

static int read_exact_body(void *arg)
{
    struct tcp_pair pair;
    char buffer[16] = {0};
    size_t done = 99;

    (void)arg;
    connect_pair(&pair);
    T_OK(filch_tcp_write_all(pair.client, "12345", 5, &done, T_LIMIT));
    T_IS(done, 5);
    T_IS(filch_tcp_read_exact(pair.server, buffer, 8, &done, filch_after(5 * FILCH_MILLISECOND)),
         -ETIMEDOUT);
    T_IS(done, 5);
    T_OK(memcmp(buffer, "12345", 5));
    T_OK(filch_tcp_write_all(pair.client, "67", 2, NULL, T_LIMIT));
    T_OK(filch_tcp_shutdown_write(pair.client));
    T_IS(filch_tcp_read_exact(pair.server, buffer, 8, &done, T_LIMIT), -EPIPE);
    T_IS(done, 2);
    T_OK(memcmp(buffer, "67", 2));
    T_IS(filch_tcp_read_exact(pair.server, buffer, 1, &done, T_LIMIT), -EPIPE);
    T_IS(done, 0);
    T_OK(filch_tcp_read_exact(pair.server, buffer, 0, &done, FILCH_NOW));
    close_pair(&pair);
    return 0;
}

Test(tcp, read_exact_tells_how_far_it_came)
{
    cr_assert_eq(run_in_runtime(0, read_exact_body, NULL), 0);
}

static int now_body(void *arg)
{
    struct tcp_pair pair;
    filch_tcp *none = NULL;
    char buffer[4];

    (void)arg;
    listen_any(&pair);
    T_IS(filch_listener_accept(pair.listener, &none, FILCH_NOW), -ETIMEDOUT);
    T_CHECK(none == NULL);
    T_OK(filch_tcp_connect(pair.addr, &pair.client, T_LIMIT));
    T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
    T_IS(filch_tcp_read(pair.server, buffer, 4, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_tcp_read(pair.server, buffer, 4, 1), -ETIMEDOUT);
    T_IS(filch_tcp_read(pair.server, buffer, 0, FILCH_NEVER), 0);
    T_IS(filch_tcp_write(pair.client, "abcd", 4, FILCH_NOW), 4);
    /* On the loopback it is there when the write returns. */
    T_IS(filch_tcp_read(pair.server, buffer, 4, FILCH_NOW), 4);
    close_pair(&pair);
    return 0;
}

Test(tcp, now_tries_once)
{
    cr_assert_eq(run_in_runtime(0, now_body, NULL), 0);
}

static int accept_now_body(void *arg)
{
    struct tcp_pair pair;

    (void)arg;
    listen_any(&pair);
    T_OK(filch_tcp_connect(pair.addr, &pair.client, T_LIMIT));
    T_OK(filch_listener_accept(pair.listener, &pair.server, FILCH_NOW));
    close_pair(&pair);
    return 0;
}

Test(tcp, accept_now_takes_a_connection_that_is_there)
{
    cr_assert_eq(run_in_runtime(0, accept_now_body, NULL), 0);
}

static int accept_deadline_body(void *arg)
{
    struct tcp_pair pair;
    filch_time until = filch_after(4 * FILCH_MILLISECOND);

    (void)arg;
    listen_any(&pair);
    T_IS(filch_listener_accept(pair.listener, &pair.server, until), -ETIMEDOUT);
    T_CHECK(filch_now() >= until);
    /* A connection that comes after the time-out is for the next accept. */
    T_OK(filch_tcp_connect(pair.addr, &pair.client, T_LIMIT));
    T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
    close_pair(&pair);
    return 0;
}

Test(tcp, accept_and_its_deadline)
{
    cr_assert_eq(run_in_runtime(0, accept_deadline_body, NULL), 0);
}

static int read_deadline_body(void *arg)
{
    struct tcp_pair pair;
    char buffer[4] = "....";

    (void)arg;
    connect_pair(&pair);
    for (int i = 0; i < 10; i++) {
        filch_time until = filch_after(FILCH_MILLISECOND);

        T_IS(filch_tcp_read(pair.server, buffer, 4, until), -ETIMEDOUT);
        T_CHECK(filch_now() >= until);
    }
    T_OK(filch_tcp_write_all(pair.client, "late", 4, NULL, T_LIMIT));
    T_OK(memcmp(buffer, "....", 4)); /* not touched after the call */
    T_OK(filch_tcp_read_exact(pair.server, buffer, 4, NULL, T_LIMIT));
    T_OK(memcmp(buffer, "late", 4));
    close_pair(&pair);
    return 0;
}

Test(tcp, read_that_timed_out_consumes_nothing)
{
    cr_assert_eq(run_in_runtime(0, read_deadline_body, NULL), 0);
}

static int slow_reader_body(void *arg)
{
    /* More than the kernel's buffers of both ends hold (4 + 6 MiB by default). */
    struct bulk bulk = {.bytes = 24 << 20};
    struct tcp_pair pair;
    filch_task *writer;

    (void)arg;
    connect_pair(&pair);
    bulk.conn = pair.client;
    writer = spawn(write_pattern, &bulk);
    T_IS(filch_task_join(writer, NULL, filch_after(100 * FILCH_MILLISECOND)), -ETIMEDOUT);
    T_CHECK(!atomic_load(&bulk.finished));
    T_IS(read_pattern(pair.server), bulk.bytes);
    T_OK(join(writer));
    close_pair(&pair);
    return 0;
}

Test(tcp, write_all_waits_for_a_slow_reader)
{
    cr_assert_eq(run_in_runtime(0, slow_reader_body, NULL), 0);
}

static int full_pipe_body(void *arg)
{
    static char block[65536];
    struct tcp_pair pair;
    size_t done = 0;
    ssize_t n;

    (void)arg;
    connect_pair(&pair);
    while ((n = filch_tcp_write(pair.client, block, sizeof(block), FILCH_NOW)) > 0)
        ;
    T_IS(n, -ETIMEDOUT);
    T_IS(filch_tcp_write(pair.client, block, 1 << 16, filch_after(3 * FILCH_MILLISECOND)),
         -ETIMEDOUT);
    T_IS(
        filch_tcp_write_all(pair.client, block, 1 << 16, &done, filch_after(3 * FILCH_MILLISECOND)),
        -ETIMEDOUT);
    T_CHECK(done < 1 << 16);
    close_pair(&pair);
    return 0;
}

Test(tcp, write_to_a_full_connection_times_out)
{
    cr_assert_eq(run_in_runtime(0, full_pipe_body, NULL), 0);
}

/* Many connections. */

struct server {
    filch_listener *listener;
    int connections;
};

static int serve(void *arg)
{
    struct server *server = arg;
    FILCH_SCOPE(conns);

    for (int i = 0; i < server->connections; i++) {
        filch_tcp *conn;

        T_OK(filch_listener_accept(server->listener, &conn, T_LIMIT));
        T_OK(filch_scope_spawn(&conns, echo, conn));
    }
    return filch_scope_join(&conns, T_LIMIT);
}

struct clients {
    char addr[FILCH_ADDR_BYTES];
    atomic_int connected;
    int expected;
};

static int talk(void *arg)
{
    struct clients *clients = arg;
    char out[32];
    char in[32];
    filch_tcp *conn;

    T_OK(filch_tcp_connect(clients->addr, &conn, T_LIMIT));
    memset(out, atomic_fetch_add(&clients->connected, 1), sizeof(out));
    /* All at once: nobody talks before everybody is connected. */
    T_WAIT_UNTIL(atomic_load(&clients->connected) == clients->expected);
    for (int i = 0; i < 20; i++) {
        T_OK(filch_tcp_write_all(conn, out, sizeof(out), NULL, T_LIMIT));
        T_OK(filch_tcp_read_exact(conn, in, sizeof(in), NULL, T_LIMIT));
        T_OK(memcmp(in, out, sizeof(out)));
        out[0]++;
    }
    T_OK(filch_tcp_close(conn));
    return 0;
}

static int many_connections_body(void *arg)
{
    struct tcp_pair pair;
    struct clients clients = {.expected = 200};
    struct server server = {.connections = 200};
    FILCH_SCOPE(scope);

    (void)arg;
    listen_any(&pair);
    server.listener = pair.listener;
    memcpy(clients.addr, pair.addr, sizeof(clients.addr));
    T_OK(filch_scope_spawn(&scope, serve, &server));
    for (int i = 0; i < 200; i++)
        T_OK(filch_scope_spawn(&scope, talk, &clients));
    T_OK(filch_scope_join(&scope, T_LIMIT));
    T_OK(filch_listener_close(pair.listener));
    return 0;
}

Test(tcp, two_hundred_connections_talk_at_once)
{
    cr_assert_eq(run_in_runtime(0, many_connections_body, NULL), 0);
}

static int write_much(void *arg)
{
    static const char bytes[1 << 16];
    size_t done;

    for (int i = 0; i < 128; i++)
        T_OK(filch_tcp_write_all(arg, bytes, sizeof bytes, &done, T_LIMIT));
    return 0;
}

static int read_one(void *arg)
{
    char byte;

    return (int)filch_tcp_read(arg, &byte, 1, T_LIMIT);
}

/* The epoll engine asks for events of writing alone then, and must not take a read that got less
 * than it had room for as a promise of an event. */
static int reads_after_writes_body(void *arg)
{
    static char room[1 << 16];
    struct tcp_pair pair;
    filch_task *writer, *reader;
    ssize_t n;

    (void)arg;
    connect_pair(&pair);
    writer = spawn(write_much, pair.client);
    let_others_run();
    for (size_t all = 0; all < 128 * sizeof room; all += (size_t)n) {
        n = filch_tcp_read(pair.server, room, sizeof room, T_LIMIT);
        T_CHECK(n > 0);
    }
    T_OK(join(writer));
    T_IS(filch_tcp_write(pair.server, "ab", 2, T_LIMIT), 2);
    T_IS(filch_tcp_read(pair.client, room, sizeof room, T_LIMIT), 2);
    reader = spawn(read_one, pair.client);
    let_others_run();
    T_IS(filch_tcp_write(pair.server, "c", 1, T_LIMIT), 1);
    T_IS(join(reader), 1);
    close_pair(&pair);
    return 0;
}

Test(tcp, reads_go_on_after_a_write_that_waited)
{
    cr_assert_eq(run_in_runtime(0, reads_after_writes_body, NULL), 0);
}

static int addresses_body(void *arg)
{
    struct tcp_pair pair;
    char local[FILCH_ADDR_BYTES];
    char peer[FILCH_ADDR_BYTES];

    (void)arg;
    connect_pair(&pair);
    T_OK(filch_tcp_peer_addr(pair.client, peer));
    T_OK(strcmp(peer, pair.addr));
    T_OK(filch_tcp_local_addr(pair.client, local));
    T_OK(filch_tcp_peer_addr(pair.server, peer));
    T_OK(strcmp(local, peer));
    T_OK(strncmp(peer, "127.0.0.1:", 10));
    T_OK(filch_tcp_set(pair.client, FILCH_TCP_NODELAY, false));
    T_OK(filch_tcp_set(pair.client, FILCH_TCP_NODELAY, true));
    close_pair(&pair);
    return 0;
}

Test(tcp, addresses_of_both_ends_agree)
{
    cr_assert_eq(run_in_runtime(0, addresses_body, NULL), 0);
}

static int all_addresses_body(void *arg)
{
    struct tcp_pair pair = {0};
    char text[2 * FILCH_ADDR_BYTES];

    (void)arg;
    T_OK(filch_listener_open(":0", NULL, &pair.listener));
    T_OK(filch_listener_addr(pair.listener, pair.addr));
    T_OK(strncmp(pair.addr, "[::]:", 5));
    snprintf(text, sizeof(text), "[::1]:%s", pair.addr + 5);
    T_OK(filch_tcp_connect(text, &pair.client, T_LIMIT));
    T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
    T_OK(filch_tcp_close(pair.client));
    T_OK(filch_tcp_close(pair.server));
    snprintf(text, sizeof(text), "127.0.0.1:%s", pair.addr + 5);
    T_OK(filch_tcp_connect(text, &pair.client, T_LIMIT));
    T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
    close_pair(&pair);
    return 0;
}

Test(tcp, address_without_host_means_ipv6_and_ipv4)
{
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 addr = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int r = fd < 0 ? -1 : bind(fd, (struct sockaddr *)&addr, sizeof(addr));

    if (r < 0)
        cr_skip_test("this machine has no IPv6");
    close(fd);
    cr_assert_eq(run_in_runtime(0, all_addresses_body, NULL), 0);
}
