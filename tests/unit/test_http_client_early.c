/* Description: the HTTP client where an answer begins, or is there as a whole, before the body of
 * its request was sent: bodies that go both ways at once, servers that read on or do not, refusals
 * while the sending is paused; by HTTP/1.1, with trailers and without, and by HTTP/2. */
#include <stdatomic.h>

#include <criterion/criterion.h>

#include <filch/http_client.h>
#include <filch/http_server.h>

#include "tests/runner/http_site.h"
#include "tests/runner/tcp_pair.h"

TestSuite(http_client_early, .timeout = 120);

static char letter(size_t at)
{
    return (char)('a' + at % 26);
}

/* ---- a server ---- */

static atomic_long
    read_behind; /* what a handler has read behind its answer; -1: it has not ended */
static atomic_bool had_trailer;

static int write_count(filch_exchange *x, size_t bytes)
{
    char text[32];

    snprintf(text, sizeof(text), "%zu", bytes);
    return filch_exchange_trailer(x, "X-Check") ? filch_exchange_set_trailer(x, "X-Sum", text) : 0;
}

/* Gives back what comes, as it comes. */
static int echo(filch_exchange *x, void *context)
{
    char buf[10000];
    size_t bytes = 0;
    ssize_t n = filch_exchange_read(x, buf, sizeof(buf), FILCH_NEVER);
    int r;

    (void)context;
    T_OK(filch_exchange_set(x, "Trailer", "X-Sum"));
    r = filch_exchange_begin(x, 200, NULL, -1, FILCH_NEVER);
    while (r == 0 && n > 0) {
        bytes += (size_t)n;
        r = filch_exchange_write_all(x, buf, (size_t)n, NULL, FILCH_NEVER);
        if (r == 0)
            n = filch_exchange_read(x, buf, sizeof(buf), FILCH_NEVER);
    }
    if (r == 0)
        r = n < 0 ? (int)n : write_count(x, bytes);
    return r;
}

/* Answers when some of the body has come, and reads the rest then. */
static int answer_first(filch_exchange *x, void *context)
{
    char buf[10000];
    long bytes = 0;
    ssize_t n = filch_exchange_read(x, buf, 1, FILCH_NEVER);
    int r;

    (void)context;
    if (n < 0)
        return (int)n;
    r = filch_exchange_reply(x, 200, NULL, "hello", 5, FILCH_NEVER);
    while (r == 0 && (n = filch_exchange_read(x, buf, sizeof(buf), FILCH_NEVER)) > 0)
        bytes += n;
    atomic_store(&had_trailer, filch_exchange_trailer(x, "X-Check"));
    atomic_store(&read_behind, n < 0 ? n : bytes + 1);
    return 0;
}

/* Answers when some of the body has come, and does not read the rest. */
static int answer_only(filch_exchange *x, void *context)
{
    char buf[1];
    ssize_t n = filch_exchange_read(x, buf, 1, FILCH_NEVER);

    (void)context;
    return n < 0 ? (int)n : filch_exchange_reply(x, 200, NULL, "hello", 5, FILCH_NEVER);
}

static int answer_at_once(filch_exchange *x, void *context)
{
    return filch_exchange_reply(x, *(int *)context, NULL, "hello", 5, FILCH_NEVER);
}

static int ok = 200, refused = 403;

static void site_open(struct http_site *site)
{
    const filch_http_server_opts opts = {.body_bytes_max = 1 << 26};

    http_site_new(site, &opts);
    T_OK(filch_http_route(site->server, "POST", "/echo", echo, NULL));
    T_OK(filch_http_route(site->server, "POST", "/first", answer_first, NULL));
    T_OK(filch_http_route(site->server, "POST", "/only", answer_only, NULL));
    T_OK(filch_http_route(site->server, NULL, "/at-once", answer_at_once, &ok));
    T_OK(filch_http_route(site->server, NULL, "/refused", answer_at_once, &refused));
    http_site_open(site);
}

/* ---- requests ---- */

struct source {
    filch_http_request *request;
    filch_http_client *client;
    const char *url; /* to be fetched before the second piece */
    size_t at, bytes;
    enum { HTTP1, TRAILERS, HTTP2 } way;
};

static void fetch(filch_http_client *client, const char *url)
{
    filch_http_response *response;

    T_OK(filch_http_get(client, url, &response, NULL, T_LIMIT));
    filch_http_response_free(response);
}

static ssize_t give(void *context, void *buf, size_t bytes, filch_time until)
{
    struct source *source = context;
    size_t n = source->bytes - source->at;

    (void)until;
    if (source->at && source->url)
        fetch(source->client, source->url);
    n = n < bytes ? n : bytes;
    n = n < 5000 ? n : 5000;
    for (size_t i = 0; i < n; i++)
        ((char *)buf)[i] = letter(source->at++);
    if (!n && source->way == TRAILERS)
        T_OK(filch_http_request_set_trailer(source->request, "X-Check", "all of it"));
    return (ssize_t)n;
}

/* Return: NULL: the answer is lost: by HTTP/2 an old libcurl does that where a stream ends with it.
 */
static filch_http_response *send_source(filch_http_client *client, const char *addr,
                                        const char *path, struct source *source)
{
    filch_http_request *request;
    filch_http_response *response = NULL;
    filch_error error = {0};
    char url[128];
    int r;

    snprintf(url, sizeof(url), "http://%s%s", addr, path);
    T_OK(filch_http_request_new(client, "POST", url, &request));
    source->client = client;
    source->request = request;
    if (source->way == TRAILERS) {
        T_OK(filch_http_request_set(request, "TE", "trailers"));
        T_OK(filch_http_request_set(request, "Trailer", "X-Check"));
    }
    T_OK(filch_http_request_reader(request, (filch_reader){.read = give, .context = source}, -1));
    r = filch_http_send(request, &response, &error, T_LIMIT);
    if (r < 0 && (source->way != HTTP2 || (r != -EPIPE && r != -ECONNRESET))) {
        fprintf(stderr, "%s\n", error.text);
        T_OK(r);
    }
    filch_http_request_free(request);
    return response;
}

static void read_all(filch_http_response *response)
{
    filch_error error = {0};
    int r = filch_http_response_read_all(response, &error, T_LIMIT);

    if (r < 0)
        fprintf(stderr, "%s\n", error.text);
    T_OK(r);
}

static void check_hello(filch_http_response *response, int status)
{
    if (!response)
        return;
    T_IS(filch_http_response_status(response), status);
    read_all(response);
    T_CHECK(strcmp(filch_http_response_body(response, NULL), "hello") == 0);
    filch_http_response_free(response);
}

/* By each version, and with trailers by the one that can. */
static void each_way(void (*visit)(const struct http_site *site, filch_http_client *client,
                                   int way))
{
    struct http_site site;

    site_open(&site);
    for (int http2 = 0; http2 < 2; http2++) {
        const filch_http_client_opts opts = {.http1 = !http2, .http2 = http2, .proxy = ""};
        filch_http_client *client;

        T_OK(filch_http_client_new(&opts, &client));
        visit(&site, client, http2 ? HTTP2 : HTTP1);
        if (!http2)
            visit(&site, client, TRAILERS);
        filch_http_client_close(client);
    }
    http_site_close(&site);
}

/* ---- both ways at once ---- */

/* More than all that is buffered on the way there and back. */
#define LARGE ((size_t)32 << 20)

static void check_letters(filch_http_response *response, size_t want)
{
    static const char *const found = "abcdefghijklmnopqrstuvwxyz";
    filch_error error = {0};
    char buf[26 * 100];
    size_t at = 0;
    ssize_t n;

    while ((n = filch_http_response_read(response, buf, sizeof(buf), &error, T_LIMIT)) > 0)
        for (ssize_t i = 0; i < n; i++, at++)
            if (buf[i] != found[at % 26])
                T_IS(at, SIZE_MAX);
    if (n < 0)
        fprintf(stderr, "after %zu bytes: %s\n", at, error.text);
    T_OK((int)n);
    T_IS(at, want);
}

static void send_both_ways(const struct http_site *site, filch_http_client *client, int way)
{
    static const size_t sizes[] = {0, 1, 40000, 300000, LARGE};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        struct source source = {.bytes = sizes[i], .way = way};
        filch_http_response *response = send_source(client, site->addr, "/echo", &source);
        char text[32];

        T_IS(filch_http_response_status(response), 200);
        check_letters(response, sizes[i]);
        snprintf(text, sizeof(text), "%zu", sizes[i]);
        T_CHECK(way != TRAILERS ||
                strcmp(filch_http_response_trailer(response, "X-Sum") ?: "none", text) == 0);
        filch_http_response_free(response);
    }
}

static int both_ways(void *arg)
{
    (void)arg;
    each_way(send_both_ways);
    return 0;
}

Test(http_client_early, bodies_go_both_ways_at_once)
{
    T_OK(run_in_runtime(0, both_ways, NULL));
}

/* ---- whole answers ---- */

static void send_to_who_reads_on(const struct http_site *site, filch_http_client *client, int way)
{
    struct source source = {.bytes = 3 << 20, .way = way};

    atomic_store(&read_behind, -1);
    check_hello(send_source(client, site->addr, "/first", &source), 200);
    T_WAIT_UNTIL(atomic_load(&read_behind) != -1);
    T_IS(atomic_load(&had_trailer), way == TRAILERS);
    if (way == HTTP2 && atomic_load(&read_behind) < 0)
        return; /* what is answered is not sent on */
    T_IS(atomic_load(&read_behind), source.bytes);
}

static int read_on(void *arg)
{
    (void)arg;
    each_way(send_to_who_reads_on);
    return 0;
}

Test(http_client_early, a_server_that_has_answered_gets_the_rest)
{
    T_OK(run_in_runtime(0, read_on, NULL));
}

static void send_to_who_does_not_read(const struct http_site *site, filch_http_client *client,
                                      int way)
{
    static const size_t sizes[] = {6000, 100000, LARGE};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        struct source source = {.bytes = sizes[i], .way = way};

        check_hello(send_source(client, site->addr, "/only", &source), 200);
        source = (struct source){.bytes = sizes[i], .way = way};
        check_hello(send_source(client, site->addr, "/at-once", &source), 200);
        source = (struct source){.bytes = sizes[i], .way = way};
        check_hello(send_source(client, site->addr, "/refused", &source), 403);
    }
}

static int do_not_read(void *arg)
{
    (void)arg;
    each_way(send_to_who_does_not_read);
    return 0;
}

Test(http_client_early, a_whole_answer_is_one_though_the_body_is_not_read)
{
    T_OK(run_in_runtime(0, do_not_read, NULL));
}

/* ---- while the sending is paused ---- */

/* The reader waits until the client has the answer: what it fetches comes behind that. */
static void send_slowly(const struct http_site *site, filch_http_client *client, int way)
{
    static const char *const paths[] = {"/refused", "/only", "/first", "/echo"};
    char url[128];

    snprintf(url, sizeof(url), "http://%s/at-once", site->addr);
    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
        struct source source = {.bytes = 20000, .way = way, .url = url};
        filch_http_response *response = send_source(client, site->addr, paths[i], &source);

        if (i < 3)
            check_hello(response, i ? 200 : 403);
        else
            check_letters(response, source.bytes);
        if (i == 3)
            filch_http_response_free(response);
    }
}

static int slowly(void *arg)
{
    (void)arg;
    each_way(send_slowly);
    return 0;
}

Test(http_client_early, answers_come_while_the_sending_waits)
{
    T_OK(run_in_runtime(0, slowly, NULL));
}

/* Has the body begin, then answers with bytes, and reads nothing more. */
static int answer_raw(void *arg)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    const char *text = ((void **)arg)[0];
    filch_listener *listener = ((void **)arg)[1];
    char buf[4096] = "";
    size_t bytes = 0;
    filch_tcp *conn;

    T_OK(filch_listener_accept(listener, &conn, T_LIMIT));
    while (!strstr(buf, "\r\n\r\n")) {
        ssize_t n = filch_tcp_read(conn, buf + bytes, sizeof(buf) - 1 - bytes, T_LIMIT);

        T_CHECK(n > 0);
        bytes += (size_t)n;
    }
    T_OK(filch_tcp_write_all(conn, go_on, sizeof(go_on) - 1, NULL, T_LIMIT));
    T_IS(filch_tcp_read(conn, buf, 1, T_LIMIT), 1);
    T_OK(filch_tcp_write_all(conn, text, strlen(text), NULL, T_LIMIT));
    while (filch_tcp_read(conn, buf, 1, T_LIMIT) > 0) /* until the client closes it */
        ;
    T_OK(filch_tcp_close(conn));
    return 0;
}

static void ask_raw(const struct http_site *site, const char *text, int status, size_t body_bytes,
                    bool is_slow)
{
    const filch_http_client_opts opts = {.http1 = true, .proxy = ""};
    filch_listener *listener;
    filch_http_client *client;
    char addr[FILCH_ADDR_BYTES], url[128];
    struct source source = {.bytes = body_bytes, .url = is_slow ? url : NULL};
    filch_task *task;

    snprintf(url, sizeof(url), "http://%s/at-once", site->addr);
    T_OK(filch_listener_open("127.0.0.1:0", NULL, &listener));
    T_OK(filch_listener_addr(listener, addr));
    task = spawn(answer_raw, (void *[]){(void *)text, listener});
    T_OK(filch_http_client_new(&opts, &client));
    check_hello(send_source(client, addr, "/", &source), status);
    filch_http_client_close(client);
    T_OK(join(task));
    T_OK(filch_listener_close(listener));
}

static int close_after(void *arg)
{
    struct http_site site;

    (void)arg;
    site_open(&site);
    for (int slow = 0; slow < 2; slow++) {
        ask_raw(&site, "HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nhello", 403, 20000, slow);
        ask_raw(&site, "HTTP/1.1 403 No\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
                403, 20000, slow);
        ask_raw(&site, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
                200, 20000, slow);
        ask_raw(&site,
                "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
                "5\r\nhello\r\n0\r\n\r\n",
                200, 20000, slow);
    }
    http_site_close(&site);
    return 0;
}

Test(http_client_early, a_server_that_closes_then_need_not_read)
{
    T_OK(run_in_runtime(0, close_after, NULL));
}
