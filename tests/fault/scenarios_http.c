/* Scenarios of HTTP and TLS: requests that are served, by the socket and by our client, and a
 * handshake with bytes both ways. Whatever fails, an answer that came whole is the right one. */
#include "tests/fault/scenarios.h"

#include <errno.h>
#include <stdlib.h>

#include <filch/http_client.h>
#include <filch/http_server.h>

#include "tests/fault/wrap.h"
#include "tests/runner/tls_pair.h"

static struct identity identity;

void scenarios_prepare(void)
{
    make_identity(&identity, "DNS:localhost", -3600, 3600);
}

/* ---- a site ---- */

struct site {
    filch_http_server *server;
    filch_listener *listener;
    char addr[FILCH_ADDR_BYTES];
};

static int hello(filch_exchange *x, void *context)
{
    (void)context;
    return filch_exchange_reply(x, 200, "text/plain", "hello", 5, scenario_limit());
}

static int turn(filch_exchange *x, void *context)
{
    size_t bytes;
    void *data;
    int r = filch_exchange_read_all(x, 0, &data, &bytes, scenario_limit());

    (void)context;
    if (r < 0)
        return r;
    r = filch_exchange_reply(x, 200, NULL, data, bytes, scenario_limit());
    free(data);
    return r;
}

#define CHECK_TEXT "all of it"

/* Says how much came, and what behind it: in the answer and behind it. */
static int sum(filch_exchange *x, void *context)
{
    char text[64], count[16];
    size_t bytes;
    void *data;
    int r = filch_exchange_read_all(x, 0, &data, &bytes, scenario_limit());

    (void)context;
    if (r < 0)
        return r;
    free(data);
    snprintf(count, sizeof count, "%zu", bytes);
    snprintf(text, sizeof text, "%zu %s", bytes, filch_exchange_trailer(x, "X-Check") ?: "nothing");
    r = filch_exchange_set(x, "Trailer", "X-Sum");
    if (r == 0)
        r = filch_exchange_begin(x, 200, NULL, -1, scenario_limit());
    if (r == 0)
        r = filch_exchange_write_all(x, text, strlen(text), NULL, scenario_limit());
    return r == 0 ? filch_exchange_set_trailer(x, "X-Sum", count) : r;
}

static int serve(void *arg)
{
    struct site *site = arg;
    int r = filch_http_serve(site->server, site->listener, FILCH_NEVER);

    /* with_site() drains it and then cancels it, in case that had failed. */
    ok(r == -ECANCELED ? 0 : r);
    return 0;
}

/* Has @visit ask the site. */
static void with_site(void (*visit)(const struct site *site))
{
    struct site site = {0};
    filch_task *task;

    if (!ok(filch_http_server_new(NULL, &site.server)))
        return;
    if (ok(filch_http_route(site.server, "GET", "/", hello, NULL)) &&
        ok(filch_http_route(site.server, "GET", "/of/{name}", hello, NULL)) &&
        ok(filch_http_route(site.server, "POST", "/turn", turn, NULL)) &&
        ok(filch_http_route(site.server, NULL, "/sum", sum, NULL)) &&
        ok(filch_listener_open("127.0.0.1:0", NULL, &site.listener))) {
        if (ok(filch_listener_addr(site.listener, site.addr)) &&
            ok(filch_task_spawn(serve, &site, NULL, &task))) {
            visit(&site);
            ok(filch_http_drain(site.server, scenario_limit()));
            (void)filch_task_cancel(task);
            ok(filch_task_join(task, NULL, FILCH_NEVER));
        }
        ok(filch_listener_close(site.listener));
    }
    filch_http_server_free(site.server);
}

/* ---- by the socket ---- */

#define ASK                                                                                        \
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n"                                                            \
    "POST /turn HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"

static void ask_by_socket(const struct site *site)
{
    char text[4096] = "";
    size_t bytes = 0;
    filch_tcp *conn;
    ssize_t n = 1;

    if (!ok(filch_tcp_connect(site->addr, &conn, scenario_limit())))
        return;
    if (ok(filch_tcp_write_all(conn, ASK, sizeof ASK - 1, NULL, scenario_limit())))
        while (bytes < sizeof text - 1 &&
               (n = filch_tcp_read(conn, text + bytes, sizeof text - 1 - bytes, scenario_limit())) >
                   0)
            bytes += (size_t)n;
    ok((int)n);
    for (const char *at = text; (at = strstr(at, "HTTP/1.1 200 OK\r\n")); at++) {
        const char *body = strstr(at, "\r\n\r\n");

        if (body && strlen(body) >= 9 && memcmp(body + 4, "hello", 5) != 0)
            abort();
    }
    ok(filch_tcp_close(conn));
}

static int http_server(void *arg)
{
    (void)arg;
    with_site(ask_by_socket);
    return 0;
}

/* ---- by our client ---- */

static void get(filch_http_client *client, const struct site *site)
{
    filch_http_response *response;
    const char *body;
    char url[128];
    size_t bytes;

    snprintf(url, sizeof url, "http://%s/", site->addr);
    if (!ok(filch_http_get(client, url, &response, NULL, scenario_limit())))
        return;
    body = filch_http_response_body(response, &bytes);
    if (filch_http_response_status(response) == 200 && (bytes != 5 || memcmp(body, "hello", 5)))
        abort();
    filch_http_response_free(response);
}

static void ask_by_client(const struct site *site)
{
    for (int version = 1; version <= 2; version++) {
        filch_http_client_opts opts = {
            .http1 = version == 1, .http2 = version == 2, .no_retries = true, .proxy = ""};
        filch_http_client *client;

        if (!ok(filch_http_client_new(&opts, &client)))
            continue;
        get(client, site);
        if (version == 1) /* libcurl 7.88 cannot use the other one again */
            get(client, site);
        filch_http_client_close(client);
    }
}

static int http_client(void *arg)
{
    (void)arg;
    with_site(ask_by_client);
    return 0;
}

/* ---- trailers ---- */

struct source {
    filch_http_request *request;
    size_t left;
};

static ssize_t give(void *context, void *buf, size_t bytes, filch_time until)
{
    struct source *source = context;
    size_t n = bytes < source->left ? bytes : source->left;

    (void)until;
    if (!n) {
        int r = filch_http_request_set_trailer(source->request, "X-Check", CHECK_TEXT);

        return r < 0 ? r : 0;
    }
    memset(buf, 'b', n);
    source->left -= n;
    return (ssize_t)n;
}

/* Return: was nothing wrong? */
static bool describe(filch_http_request *request, struct source *source)
{
    source->request = request;
    return ok(filch_http_request_set(request, "TE", "trailers")) &&
           (!source->left || (ok(filch_http_request_set(request, "Trailer", "X-Check")) &&
                              ok(filch_http_request_reader(
                                  request, (filch_reader){.read = give, .context = source}, -1))));
}

static void check_sum(filch_http_response *response, size_t bytes)
{
    const char *told = filch_http_response_trailer(response, "X-Sum");
    char text[64], count[16];

    snprintf(text, sizeof text, "%zu %s", bytes, bytes ? CHECK_TEXT : "nothing");
    snprintf(count, sizeof count, "%zu", bytes);
    if (filch_http_response_status(response) == 200 &&
        (strcmp(filch_http_response_body(response, NULL), text) != 0 || !told ||
         strcmp(told, count) != 0))
        abort();
}

/* @bytes: with a body, and trailers behind it; 0: without. */
static void ask_sum(filch_http_client *client, const struct site *site, size_t bytes)
{
    struct source source = {.left = bytes};
    filch_http_request *request;
    filch_http_response *response;
    char url[128];

    snprintf(url, sizeof url, "http://%s/sum", site->addr);
    if (!ok(filch_http_request_new(client, bytes ? "POST" : "GET", url, &request)))
        return;
    if (describe(request, &source) &&
        ok(filch_http_send(request, &response, NULL, scenario_limit()))) {
        if (ok(filch_http_response_read_all(response, NULL, scenario_limit())))
            check_sum(response, bytes);
        filch_http_response_free(response);
    }
    filch_http_request_free(request);
}

/* "POST /sum" with "hello" and trailers, by HTTP/2: our client sends them by HTTP/1.1 only. */
static const char ask_h2[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                             "\0\0\0\x04\0\0\0\0\0"
                             "\0\0\x29\x01\x04\0\0\0\x01"
                             "\x83\x86\x04\x04/sum\x01\x01"
                             "a"
                             "\0\x02te\x08trailers\0\x07trailer\x07x-check"
                             "\0\0\x05\0\0\0\0\0\x01hello"
                             "\0\0\x13\x01\x05\0\0\0\x01"
                             "\0\x07x-check\x09" CHECK_TEXT;

/* Frames, until the stream or the connection ends. Return: how many bytes of them. */
static size_t read_frames(filch_tcp *conn, unsigned char *frames, size_t room, bool *ret_ended)
{
    size_t come = 0, at = 0;
    ssize_t n;

    *ret_ended = false;
    while (!*ret_ended) {
        size_t bytes = come - at < 9 ? 0 : (size_t)frames[at + 1] << 8 | frames[at + 2];
        unsigned type, flags;

        if (come - at < 9 || come - at < 9 + bytes) {
            n = filch_tcp_read(conn, frames + come, room - come, scenario_limit());
            if (n <= 0) {
                ok(n < 0 ? (int)n : -EPIPE);
                return at;
            }
            come += (size_t)n;
            continue;
        }
        type = frames[at + 3];
        flags = frames[at + 4];
        *ret_ended = type == 3 || type == 7 || (type <= 1 && flags & 1); /* reset, leaving, last */
        at += 9 + bytes;
    }
    return at;
}

/* Data that are right have trailers behind them. */
static void ask_sum_by_frames(const struct site *site)
{
    static const char want[] = "5 " CHECK_TEXT;
    unsigned char frames[4096];
    const unsigned char *last = NULL;
    bool ended, right = false;
    filch_tcp *conn;
    size_t bytes;

    if (!ok(filch_tcp_connect(site->addr, &conn, scenario_limit())))
        return;
    if (ok(filch_tcp_write_all(conn, ask_h2, sizeof ask_h2 - 1, NULL, scenario_limit()))) {
        bytes = read_frames(conn, frames, sizeof frames, &ended);
        for (size_t at = 0; at < bytes;) {
            size_t length = (size_t)frames[at + 1] << 8 | frames[at + 2];

            last = frames + at;
            right |= last[3] == 0 && length == sizeof want - 1 &&
                     memcmp(last + 9, want, sizeof want - 1) == 0;
            at += 9 + length;
        }
        if (ended && ((right && last[3] == 0) || (!right && !fault_is_armed())))
            abort();
    }
    ok(filch_tcp_close(conn));
}

static void ask_sums(const struct site *site)
{
    for (int version = 1; version <= 2; version++) {
        filch_http_client_opts opts = {
            .http1 = version == 1, .http2 = version == 2, .no_retries = true, .proxy = ""};
        filch_http_client *client;

        if (!ok(filch_http_client_new(&opts, &client)))
            continue;
        ask_sum(client, site, version == 1 ? 100000 : 0);
        ask_sum(client, site, version == 1 ? 0 : 10);
        filch_http_client_close(client);
    }
    ask_sum_by_frames(site);
}

static int http_trailers(void *arg)
{
    (void)arg;
    with_site(ask_sums);
    return 0;
}

/* ---- TLS ---- */

#define BYTES ((size_t)100000)

struct peers {
    filch_tls_context *client, *server;
    filch_listener *listener;
    char addr[FILCH_ADDR_BYTES];
};

static unsigned char pattern(size_t i)
{
    return (unsigned char)(i * 7 + i / 256);
}

/* Gives back what comes, to its end, and ends its side. */
static void give_back(filch_tls *tls)
{
    char buf[8192];
    ssize_t n;

    while ((n = filch_tls_read(tls, buf, sizeof buf, scenario_limit())) > 0)
        if (!ok(filch_tls_write_all(tls, buf, (size_t)n, NULL, scenario_limit())))
            return;
    if (ok((int)n))
        ok(filch_tls_finish(tls, scenario_limit()));
}

static int accept_one(void *arg)
{
    struct peers *peers = arg;
    filch_tls *tls;
    filch_tcp *conn;

    if (!ok(filch_listener_accept(peers->listener, &conn, scenario_limit())))
        return 0;
    if (ok(filch_tls_accept(peers->server, filch_tcp_io(conn), &tls, NULL, scenario_limit()))) {
        give_back(tls);
        filch_tls_free(tls);
    }
    ok(filch_tcp_close(conn));
    return 0;
}

static int send_all(void *tls)
{
    unsigned char *data = malloc(BYTES);

    if (!data)
        return ok(-ENOMEM);
    for (size_t i = 0; i < BYTES; i++)
        data[i] = pattern(i);
    if (ok(filch_tls_write_all(tls, data, BYTES, NULL, scenario_limit())))
        ok(filch_tls_finish(tls, scenario_limit()));
    free(data);
    return 0;
}

/* Up to a proper end nothing is missing, and up to any other all is right. */
static void receive_all(filch_tls *tls)
{
    unsigned char buf[8192];
    size_t bytes = 0;
    ssize_t n;

    while ((n = filch_tls_read(tls, buf, sizeof buf, scenario_limit())) > 0)
        for (ssize_t i = 0; i < n; i++)
            if (buf[i] != pattern(bytes++))
                abort();
    ok((int)n);
    if (n == 0 && bytes != BYTES && !scenario_error())
        abort();
}

static void talk(const struct peers *peers)
{
    filch_task *task;
    filch_tcp *conn;
    filch_tls *tls;

    if (!ok(filch_tcp_connect(peers->addr, &conn, scenario_limit())))
        return;
    if (ok(filch_tls_connect(peers->client, filch_tcp_io(conn), "localhost", &tls, NULL,
                             scenario_limit()))) {
        if (ok(filch_task_spawn(send_all, tls, NULL, &task))) {
            receive_all(tls);
            ok(filch_task_join(task, NULL, FILCH_NEVER));
        }
        filch_tls_free(tls);
    }
    ok(filch_tcp_close(conn));
}

static void meet(struct peers *peers)
{
    filch_task *task;

    if (!ok(filch_listener_open("127.0.0.1:0", NULL, &peers->listener)))
        return;
    if (ok(filch_listener_addr(peers->listener, peers->addr)) &&
        ok(filch_task_spawn(accept_one, peers, NULL, &task))) {
        talk(peers);
        ok(filch_task_join(task, NULL, FILCH_NEVER));
    }
    ok(filch_listener_close(peers->listener));
}

static int tls(void *arg)
{
    filch_tls_opts opts = {.cert = {.text = identity.cert}, .key = {.text = identity.key}};
    struct peers peers = {0};

    (void)arg;
    if (!ok(filch_tls_server_new(&opts, &peers.server, NULL)))
        return 0;
    opts = (filch_tls_opts){.ca = {.text = identity.cert}};
    if (ok(filch_tls_client_new(&opts, &peers.client, NULL))) {
        meet(&peers);
        filch_tls_context_unref(peers.client);
    }
    filch_tls_context_unref(peers.server);
    return 0;
}

const struct scenario scenarios[] = {
    {"http", http_server, life, .start_too = true},
    {"http client", http_client, life},
    {"http trailers", http_trailers, life},
    {"tls", tls, life},
};
const unsigned scenarios_count = sizeof scenarios / sizeof scenarios[0];
