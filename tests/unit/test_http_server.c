/* Description: the HTTP server on real connections: peers that are slow or take nothing, limits of
 * connections, draining under load, cancelling, connections in disguise; and wrk as a peer. */
#include <stdatomic.h>
#include <stdio.h>

#include <criterion/criterion.h>

#include <filch/http_server.h>

#include "tests/runner/http_site.h"
#include "tests/runner/process.h"
#include "tests/runner/programs.h"
#include "tests/runner/tcp_pair.h"

TestSuite(http_server, .timeout = 120);

#define GET "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

static int hello(filch_exchange *x, void *context)
{
    (void)context;
    return filch_exchange_reply(x, 200, NULL, "hello", 5, FILCH_NEVER);
}

static int take_all(filch_exchange *x, void *context)
{
    void *data;
    size_t bytes;
    int r = filch_exchange_read_all(x, 0, &data, &bytes, FILCH_NEVER);

    (void)context;
    if (r < 0)
        return r;
    free(data);
    return 0;
}

/* Writes for ever. @context: where the error goes. */
static int pour(filch_exchange *x, void *context)
{
    static const char block[65536];
    int r = filch_exchange_begin(x, 200, NULL, -1, FILCH_NEVER);

    while (r == 0)
        r = filch_exchange_write_all(x, block, sizeof(block), NULL, FILCH_NEVER);
    atomic_store((atomic_int *)context, r);
    return r;
}

static atomic_int poured;

static void site_open(struct http_site *site, const filch_http_server_opts *opts)
{
    http_site_new(site, opts);
    T_OK(filch_http_route(site->server, "GET", "/", hello, NULL));
    T_OK(filch_http_route(site->server, "POST", "/", take_all, NULL));
    T_OK(filch_http_route(site->server, "GET", "/pour", pour, &poured));
    http_site_open(site);
}

static filch_tcp *dial(const struct http_site *site)
{
    filch_tcp *conn;

    T_OK(filch_tcp_connect(site->addr, &conn, T_LIMIT));
    return conn;
}

static void send_text(filch_tcp *conn, const char *text)
{
    T_OK(filch_tcp_write_all(conn, text, strlen(text), NULL, T_LIMIT));
}

/* All that comes until the end. */
static size_t read_to_end(filch_tcp *conn, char *to, size_t room)
{
    size_t bytes = 0;
    ssize_t n;

    while ((n = filch_tcp_read(conn, to + bytes, room - 1 - bytes, T_LIMIT)) > 0)
        bytes += (size_t)n;
    T_CHECK(n == 0 || n == -ECONNRESET);
    to[bytes] = '\0';
    return bytes;
}

/* One answer with the body "hello". */
static void read_hello(filch_tcp *conn)
{
    char text[512];
    size_t bytes = 0;

    while (bytes < 9 || memcmp(text + bytes - 9, "\r\n\r\nhello", 9) != 0)
        T_OK(filch_tcp_read_exact(conn, text + bytes++, 1, NULL, T_LIMIT));
    T_CHECK(strncmp(text, "HTTP/1.1 200 OK\r\n", 17) == 0);
}

/* ---- slow peers ---- */

/* Sends @begin and then a byte now and then, which must not help it. */
static void drip(const struct http_site *site, const char *begin, const char *want)
{
    char text[512];
    filch_tcp *conn = dial(site);

    send_text(conn, begin);
    for (int i = 0; i < 10000; i++) {
        ssize_t n;

        if (filch_tcp_write(conn, "a", 1, T_LIMIT) < 0)
            break;
        n = filch_tcp_read(conn, text, sizeof(text) - 1, filch_after(2 * FILCH_MILLISECOND));
        if (n >= 0) {
            text[n] = '\0';
            T_CHECK(strncmp(text, want, strlen(want)) == 0);
            T_OK(filch_tcp_close(conn));
            return;
        }
        T_IS(n, -ETIMEDOUT);
    }
    T_CHECK(!"the peer was let go on");
}

static int be_slow(void *arg)
{
    /* Long enough for a peer that is not slow. */
    const filch_time ms = (RUNNING_ON_VALGRIND ? 20 : 4) * FILCH_MILLISECOND;
    const filch_http_server_opts opts = {
        .head_ns = 100 * ms, .idle_ns = 60 * ms, .stall_ns = 50 * ms, .body_rate_min = 100000};
    struct http_site site;
    filch_tcp *conn;
    char text[512];

    (void)arg;
    site_open(&site, &opts);
    drip(&site, "GET / HTTP/1.1\r\nHost: x\r\nA: ", "HTTP/1.1 408 Request Timeout\r\n");
    drip(&site, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n",
         "HTTP/1.1 408 Request Timeout\r\n");
    drip(&site, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n",
         "HTTP/1.1 408 Request Timeout\r\n");
    conn = dial(&site); /* says nothing */
    T_IS(read_to_end(conn, text, sizeof(text)), 0);
    T_OK(filch_tcp_close(conn));
    conn = dial(&site); /* says nothing more */
    send_text(conn, GET);
    read_hello(conn);
    T_IS(read_to_end(conn, text, sizeof(text)), 0);
    T_OK(filch_tcp_close(conn));
    T_IS(http_site_stats(&site).timeouts, 5);

    conn = dial(&site); /* takes nothing */
    send_text(conn, "GET /pour HTTP/1.1\r\nHost: x\r\n\r\n");
    T_WAIT_UNTIL(atomic_load(&poured));
    T_IS(atomic_load(&poured), -ETIMEDOUT);
    T_OK(filch_tcp_close(conn));
    http_site_close(&site);
    return 0;
}

Test(http_server, slow_peers_hold_nothing_for_long)
{
    T_OK(run_in_runtime(0, be_slow, NULL));
}

/* ---- connections at a time ---- */

static int be_many(void *arg)
{
    const filch_http_server_opts opts = {.connections_max = 2};
    struct http_site site;
    filch_tcp *conns[2], *third;
    char text[512];

    (void)arg;
    site_open(&site, &opts);
    for (int i = 0; i < 2; i++) {
        conns[i] = dial(&site);
        send_text(conns[i], GET);
        read_hello(conns[i]);
    }
    for (int i = 0; i < 5; i++) {
        third = dial(&site);
        read_to_end(third, text, sizeof(text));
        T_CHECK(strncmp(text, "HTTP/1.1 503 Service Unavailable\r\n", 34) == 0);
        T_CHECK(strstr(text, "\r\nRetry-After: 1\r\n") &&
                strstr(text, "\r\nConnection: close\r\n"));
        T_OK(filch_tcp_close(third));
    }
    T_IS(http_site_stats(&site).refused, 5);
    T_OK(filch_tcp_close(conns[0]));
    T_WAIT_UNTIL(http_site_stats(&site).open < 2);
    third = dial(&site);
    send_text(third, GET);
    read_hello(third);
    T_OK(filch_tcp_close(third));
    T_OK(filch_tcp_close(conns[1]));
    http_site_close(&site);
    return 0;
}

Test(http_server, connections_beyond_the_limit_are_told_so)
{
    T_OK(run_in_runtime(0, be_many, NULL));
}

/* ---- draining ---- */

struct client {
    const struct http_site *site;
    atomic_bool *stop;
    unsigned answered;
    bool refused;
};

/* Asks until the server ends. Every request of which a byte was answered is answered whole; one
 * that got nothing came too late. */
static int ask_on(void *arg)
{
    struct client *client = arg;

    while (!client->refused) {
        filch_tcp *conn;

        if (filch_tcp_connect(client->site->addr, &conn, T_LIMIT) < 0)
            return 0;
        for (int i = 0; i < 20; i++) {
            char text[512];
            size_t bytes = 0;
            ssize_t n = 1;

            if (filch_tcp_write_all(conn, GET, sizeof(GET) - 1, NULL, T_LIMIT) < 0)
                break;
            while (n > 0 && (bytes < 5 || memcmp(text + bytes - 5, "hello", 5) != 0)) {
                n = filch_tcp_read(conn, text + bytes, sizeof(text) - bytes, T_LIMIT);
                bytes += n > 0 ? (size_t)n : 0;
            }
            if (n <= 0) {
                T_IS(bytes, 0);
                T_CHECK(atomic_load(client->stop));
                client->refused = true;
                break;
            }
            client->answered++;
        }
        T_OK(filch_tcp_close(conn));
    }
    return 0;
}

#define CLIENTS 16

static int drain_under_load(void *arg)
{
    struct client clients[CLIENTS] = {0};
    filch_task *tasks[CLIENTS];
    atomic_bool stop = false;
    struct http_site site;
    filch_tcp *idle;
    unsigned answered = 0;

    (void)arg;
    site_open(&site, NULL);
    idle = dial(&site);
    send_text(idle, GET);
    read_hello(idle);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.site = &site, .stop = &stop};
        tasks[i] = spawn(ask_on, &clients[i]);
    }
    T_WAIT_UNTIL(http_site_stats(&site).requests > 200);
    atomic_store(&stop, true);
    T_OK(filch_http_drain(site.server, T_LIMIT));
    T_OK(join(site.task));
    T_IS(http_site_stats(&site).open, 0);
    T_IS(filch_tcp_read(idle, &(char){0}, 1, T_LIMIT), 0);
    T_OK(filch_tcp_close(idle));
    T_OK(filch_listener_close(site.listener));
    for (int i = 0; i < CLIENTS; i++) {
        T_OK(join(tasks[i]));
        answered += clients[i].answered;
    }
    T_IS(http_site_stats(&site).requests, answered + 1);
    filch_http_server_free(site.server);
    return 0;
}

Test(http_server, a_drain_under_load_loses_no_answer)
{
    T_OK(run_in_runtime(0, drain_under_load, NULL));
}

static int drain_in_time(void *arg)
{
    struct http_site site;
    filch_tcp *conn;
    char byte;

    (void)arg;
    atomic_store(&poured, 0);
    site_open(&site, NULL);
    conn = dial(&site);
    send_text(conn, "GET /pour HTTP/1.1\r\nHost: x\r\n\r\n");
    T_OK(filch_tcp_read_exact(conn, &byte, 1, NULL, T_LIMIT));
    T_IS(filch_http_drain(site.server, filch_after(20 * FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(atomic_load(&poured), -ECANCELED);
    T_OK(join(site.task));
    T_OK(filch_tcp_close(conn));
    http_site_free(&site);
    return 0;
}

Test(http_server, a_drain_cancels_what_takes_too_long)
{
    T_OK(run_in_runtime(0, drain_in_time, NULL));
}

static int cancel_serving(void *arg)
{
    unsigned descriptors;
    struct http_site site;
    filch_tcp *conn;

    (void)arg;
    site_open(&site, NULL);
    conn = dial(&site);
    send_text(conn, GET "GET / HTTP/1.1\r\n");
    read_hello(conn);
    descriptors = process_descriptors();
    T_OK(filch_task_cancel(site.task));
    T_IS(join(site.task), -ECANCELED);
    T_CHECK(process_descriptors() < descriptors);
    T_IS(http_site_stats(&site).open, 0);
    T_OK(filch_tcp_close(conn));
    T_IS(filch_http_serve(site.server, site.listener, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    http_site_free(&site);
    return 0;
}

Test(http_server, cancelling_it_ends_all_connections)
{
    T_OK(run_in_runtime(0, cancel_serving, NULL));
}

/* ---- in disguise ---- */

/* Every byte is turned over. */
struct disguise {
    filch_tcp *conn;
};

static atomic_int disguises;

static ssize_t read_disguised(void *context, void *buf, size_t bytes, filch_time until)
{
    ssize_t n = filch_tcp_read(((struct disguise *)context)->conn, buf, bytes, until);

    for (ssize_t i = 0; i < n; i++)
        ((char *)buf)[i] ^= 0x55;
    return n;
}

static ssize_t write_disguised(void *context, const void *buf, size_t bytes, filch_time until)
{
    char turned[1000];
    size_t n = bytes < sizeof(turned) ? bytes : sizeof(turned);

    for (size_t i = 0; i < n; i++)
        turned[i] = (char)(((const char *)buf)[i] ^ 0x55);
    return filch_tcp_write(((struct disguise *)context)->conn, turned, n, until);
}

static int finish_disguised(void *context, filch_time until)
{
    (void)until;
    return filch_tcp_shutdown_write(((struct disguise *)context)->conn);
}

static int begin_disguise(void *context, filch_tcp *conn, filch_http_wrapped *ret_wrapped,
                          filch_time until)
{
    struct disguise *disguise;
    char greeting;
    ssize_t n = filch_tcp_read(conn, &greeting, 1, until);

    (void)context;
    if (n <= 0)
        return n < 0 ? (int)n : -EPIPE;
    if (greeting != '!')
        return -EPROTO;
    disguise = malloc(sizeof(*disguise));
    T_CHECK(disguise);
    disguise->conn = conn;
    atomic_fetch_add(&disguises, 1);
    *ret_wrapped = (filch_http_wrapped){
        .io = {.reader = {.read = read_disguised, .context = disguise},
               .writer = {.write = write_disguised,
                          .finish = finish_disguised,
                          .context = disguise}},
        .state = disguise,
    };
    return 0;
}

static void end_disguise(void *context, void *state)
{
    (void)context;
    free(state);
    atomic_fetch_sub(&disguises, 1);
}

static int be_disguised(void *arg)
{
    static const filch_http_wrap wrap = {.begin = begin_disguise, .end = end_disguise};
    const filch_http_server_opts opts = {
        .wrap = &wrap, .head_ns = (RUNNING_ON_VALGRIND ? 2000 : 100) * FILCH_MILLISECOND};
    char request[] = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", text[512];
    struct http_site site;
    filch_tcp *conn;
    size_t bytes;

    (void)arg;
    site_open(&site, &opts);
    conn = dial(&site);
    for (size_t i = 0; i < sizeof(request) - 1; i++)
        request[i] ^= 0x55;
    send_text(conn, "!");
    T_OK(filch_tcp_write_all(conn, request, sizeof(request) - 1, NULL, T_LIMIT));
    bytes = read_to_end(conn, text, sizeof(text));
    for (size_t i = 0; i < bytes; i++)
        text[i] ^= 0x55;
    T_CHECK(strncmp(text, "HTTP/1.1 200 OK\r\n", 17) == 0);
    T_CHECK(strcmp(text + bytes - 5, "hello") == 0);
    T_OK(filch_tcp_close(conn));
    conn = dial(&site); /* the wrong greeting; and none at all */
    send_text(conn, "?");
    T_IS(read_to_end(conn, text, sizeof(text)), 0);
    T_OK(filch_tcp_close(conn));
    conn = dial(&site);
    T_IS(read_to_end(conn, text, sizeof(text)), 0);
    T_OK(filch_tcp_close(conn));
    T_IS(http_site_stats(&site).timeouts, 1);
    http_site_close(&site);
    T_IS(atomic_load(&disguises), 0);
    return 0;
}

Test(http_server, connections_in_disguise)
{
    T_OK(run_in_runtime(0, be_disguised, NULL));
}

/* ---- wrk ---- */

static int be_loaded(void *arg)
{
    struct http_site site;
    filch_process_output output;
    const char *requests;
    char url[FILCH_ADDR_BYTES + 16];

    (void)arg;
    site_open(&site, NULL);
    snprintf(url, sizeof(url), "http://%s/", site.addr);
    T_OK(filch_process_run(
        (const char *const[]){"wrk", "-t1", "-c16", "-d1s", "--timeout", "30s", url, NULL}, NULL,
        &output, T_LIMIT));
    T_IS(output.status.code, 0);
    if (strstr(output.out, "Socket errors") || strstr(output.out, "Non-2xx"))
        fprintf(stderr, "%s\n", output.out);
    T_CHECK(!strstr(output.out, "Socket errors") && !strstr(output.out, "Non-2xx"));
    requests = strstr(output.out, " requests in ");
    T_CHECK(requests);
    while (requests[-1] >= '0' && requests[-1] <= '9')
        requests--;
    T_CHECK(atoi(requests) > 16);
    T_CHECK(http_site_stats(&site).requests >= (uint64_t)atoi(requests));
    free(output.out);
    free(output.err);
    http_site_close(&site);
    return 0;
}

Test(http_server, wrk_gets_all_its_answers, .init = test_starts_programs)
{
    T_NEEDS_PROGRAM("wrk");
    T_OK(run_in_runtime(0, be_loaded, NULL));
}
