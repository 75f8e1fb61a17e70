/* Description: fields behind bodies, of requests and of answers, by HTTP/1.1 and HTTP/2: byte for
 * byte in memory, between our client and our server, and with curl and nghttp. */
#include <criterion/criterion.h>

#include <filch/http_client.h>
#include <filch/notify.h>

#include "tests/runner/http_memory.h"
#include "tests/runner/http_site.h"
#include "tests/runner/programs.h"
#include "tests/runner/tcp_pair.h"
#include "tests/runner/temp_dir.h"

TestSuite(http_trailers, .timeout = 120);

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})
#define BODY ((size_t)100000)

/* ---- a server that says in trailers how much came, and what came behind it ---- */

static atomic_int expected_result; /* of setting one */

static int sum(filch_exchange *x, void *context)
{
    char text[32];
    size_t bytes;
    void *body;
    int r;

    (void)context;
    T_CHECK(!filch_exchange_trailer(x, "X-Check"));
    r = filch_exchange_read_all(x, 0, &body, &bytes, FILCH_NEVER);
    if (r < 0)
        return r;
    T_OK(filch_exchange_set(x, "Trailer", "X-Sum"));
    T_OK(filch_exchange_set(x, "Trailer", " a ,\tX-Check "));
    T_OK(filch_exchange_begin(x, 200, NULL, -1, FILCH_NEVER));
    r = filch_exchange_write_all(x, body, bytes, NULL, FILCH_NEVER);
    free(body);
    snprintf(text, sizeof(text), "%zu", bytes);
    T_IS(filch_exchange_set_trailer(x, "X-Sum", text), expected_result);
    T_IS(filch_exchange_set_trailer(x, "x-check", filch_exchange_trailer(x, "x-CHECK") ?: ""),
         expected_result);
    return r;
}

/* What may not be done. */
static int wrong(filch_exchange *x, void *context)
{
    static const char *const bad_names[] = {
        "Content-Length", "transfer-encoding", "Host", "Trailer",
        "Set-Cookie",     "Authorization",     "a b",  ""};
    static char large[5000];

    (void)context;
    memset(large, 'v', sizeof(large) - 1);
    T_OK(filch_exchange_set(x, "Trailer", "Host, Set-Cookie, Good"));
    T_IS(filch_exchange_set_trailer(x, "Good", "a"), -EPROTO); /* it has not begun */
    T_OK(filch_exchange_begin(x, 200, NULL, -1, FILCH_NEVER));
    for (size_t i = 0; i < sizeof(bad_names) / sizeof(*bad_names); i++)
        T_IS(filch_exchange_set_trailer(x, bad_names[i], "a"), -EINVAL);
    T_IS(filch_exchange_set_trailer(x, "Good", "a\r\nB: c"), -EINVAL);
    T_IS(filch_exchange_set_trailer(x, "Goo", "a"), -ENOENT);
    T_IS(filch_exchange_set_trailer(x, "Good", large), -ENOBUFS);
    T_OK(filch_exchange_set_trailer(x, "Good", "b"));
    return 0;
}

static int known_length(filch_exchange *x, void *context)
{
    (void)context;
    T_OK(filch_exchange_set(x, "Trailer", "A"));
    T_OK(filch_exchange_begin(x, 200, NULL, 1, FILCH_NEVER));
    T_IS(filch_exchange_write(x, "b", 1, FILCH_NEVER), 1);
    T_IS(filch_exchange_set_trailer(x, "A", "b"), -EPROTO);
    return 0;
}

static filch_http_server *make_server(void)
{
    filch_http_server *server;

    T_OK(filch_http_server_new(NULL, &server));
    T_OK(filch_http_route(server, NULL, "/sum", sum, NULL));
    T_OK(filch_http_route(server, NULL, "/wrong", wrong, NULL));
    T_OK(filch_http_route(server, NULL, "/known", known_length, NULL));
    return server;
}

/* ---- bytes ---- */

static struct memory_io m;

static void check_answer(filch_http_server *server, const char *request, const char *want)
{
    size_t bytes = strlen(request);

    for (m.piece = 0; m.piece < 4; m.piece++) {
        memory_serve(server, &m, request, bytes);
        memory_without_dates(&m);
        if (strcmp(m.out, want) != 0)
            fprintf(stderr, "to: %s\nwant: %s\ngot: %s\n", request, want, m.out);
        T_CHECK(strcmp(m.out, want) == 0);
    }
}

#define H "HTTP/1.1\r\nHost: x\r\n"
#define CHUNKS "Transfer-Encoding: chunked\r\n"
#define NAMES "Trailer: X-Sum\r\nTrailer: a ,\tX-Check\r\n\r\n"
#define HEAD "HTTP/1.1 200 OK\r\n" CHUNKS NAMES
#define SENT "5\r\nhello\r\n0\r\nX-Check: a  b \r\nX-Check: c\r\nCookie: d\r\n\r\n"

static int answer_in_memory(void *arg)
{
    filch_http_server *server = make_server();

    (void)arg;
    check_answer(server, "GET /sum " H "TE: trailers\r\n\r\n",
                 HEAD "0\r\nX-Sum: 0\r\nx-check: \r\n\r\n");
    check_answer(server, "GET /sum " H "TE: deflate;q=0.5\r\nTE: gzip , trailers\r\n\r\n",
                 HEAD "0\r\nX-Sum: 0\r\nx-check: \r\n\r\n");
    check_answer(server, "HEAD /sum " H "TE: trailers\r\n\r\n", HEAD);
    check_answer(server, "GET /wrong " H "TE: trailers\r\n\r\n",
                 "HTTP/1.1 200 OK\r\n" CHUNKS
                 "Trailer: Host, Set-Cookie, Good\r\n\r\n0\r\nGood: b\r\n\r\n");
    check_answer(server, "GET /known " H "TE: trailers\r\n\r\n",
                 "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTrailer: A\r\n\r\nb");
    expected_result = -EOPNOTSUPP;
    check_answer(server, "GET /sum " H "TE: deflate\r\n\r\n", HEAD "0\r\n\r\n");
    check_answer(server, "GET /sum HTTP/1.0\r\nTE: trailers\r\n\r\n",
                 "HTTP/1.1 200 OK\r\nConnection: close\r\n" NAMES);
    filch_http_server_free(server);
    return 0;
}

Test(http_trailers, of_answers_go_to_who_takes_them)
{
    T_OK(run_in_runtime(0, answer_in_memory, NULL));
}

static int read_in_memory(void *arg)
{
    filch_http_server *server = make_server();
    static const char request[] =
        "POST /sum " H CHUNKS "TE: trailers\r\n\r\n" SENT "GET /sum " H "TE: trailers\r\n\r\n";

    (void)arg;
    expected_result = 0;
    memory_serve(server, &m, request, sizeof(request) - 1);
    T_CHECK(strstr(m.out, "hello\r\n0\r\nX-Sum: 5\r\nx-check: a  b\r\n\r\nHTTP/1.1 200 OK\r\n"));
    T_CHECK(strstr(m.out, "0\r\nX-Sum: 0\r\nx-check: \r\n\r\n")); /* nothing is left of the first */
    T_IS(memory_answers(&m), 2);
    filch_http_server_free(server);
    return 0;
}

Test(http_trailers, of_requests_are_there_when_the_body_has_ended)
{
    T_OK(run_in_runtime(0, read_in_memory, NULL));
}

/* ---- over connections ---- */

struct site {
    struct http_site http;
    char url[128];
};

static void site_open(struct site *site)
{
    expected_result = 0;
    site->http.server = make_server();
    http_site_open(&site->http);
    snprintf(site->url, sizeof(site->url), "http://%s/sum", site->http.addr);
}

static void site_close(struct site *site)
{
    http_site_close(&site->http);
}

struct source {
    filch_http_request *request;
    size_t left;
};

/* A body, and at its end what goes behind it. */
static ssize_t give(void *context, void *buf, size_t bytes, filch_time until)
{
    struct source *source = context;

    (void)until;
    if (bytes > source->left)
        bytes = source->left;
    if (!bytes) {
        T_IS(filch_http_request_set_trailer(source->request, "X-Other", "no"), -ENOENT);
        T_IS(filch_http_request_set_trailer(source->request, "Host", "no"), -EINVAL);
        T_OK(filch_http_request_set_trailer(source->request, "X-Check", "all of it"));
    }
    memset(buf, 'b', bytes);
    source->left -= bytes;
    return (ssize_t)bytes;
}

static void check_trailers(filch_http_response *response, const char *wanted_sum,
                           const char *wanted_check)
{
    const char *name, *value;

    T_CHECK(strcmp(filch_http_response_trailer(response, "x-sum") ?: "none", wanted_sum) == 0);
    T_CHECK(strcmp(filch_http_response_trailer(response, "X-Check") ?: "none", wanted_check) == 0);
    T_OK(filch_http_response_trailer_at(response, 1, &name, &value));
    T_CHECK(strcasecmp(name, "x-check") == 0);
    T_IS(filch_http_response_trailer_at(response, 2, &name, &value), -ENOENT);
    T_CHECK(!filch_http_response_header(response, "X-Sum")); /* they do not mix */
}

/* Sends a request with a body and trailers, and one without. */
static void exchange(const struct site *site, filch_http_client *client, const char *method,
                     int version)
{
    filch_http_request *request;
    filch_http_response *response;
    filch_error error;
    struct source source = {.left = BODY};

    T_OK(filch_http_request_new(client, method, site->url, &request));
    source.request = request;
    T_OK(filch_http_request_set(request, "TE", "trailers"));
    T_IS(filch_http_request_set_trailer(request, "X-Check", "early"), -EPROTO);
    T_OK(filch_http_request_set(request, "Trailer", "X-First, X-Check"));
    T_OK(filch_http_request_reader(request, (filch_reader){.read = give, .context = &source}, -1));
    T_OK(filch_http_send(request, &response, &error, T_LIMIT));
    T_CHECK(!filch_http_response_trailer(response, "X-Sum")); /* the body has not been read */
    T_OK(filch_http_response_read_all(response, &error, T_LIMIT));
    T_IS(filch_http_response_version(response), 11);
    check_trailers(response, "100000", "all of it");
    filch_http_response_free(response);
    filch_http_request_free(request);

    T_OK(filch_http_request_new(client, "GET", site->url, &request));
    T_OK(filch_http_request_set(request, "TE", "trailers"));
    T_OK(filch_http_send(request, &response, &error, T_LIMIT));
    T_OK(filch_http_response_read_all(response, &error, T_LIMIT));
    T_IS(filch_http_response_version(response), version);
    check_trailers(response, "0", "");
    filch_http_response_free(response);
    filch_http_request_free(request);
}

static int exchange_trailers(void *arg)
{
    struct site site;

    (void)arg;
    site_open(&site);
    for (int http2 = 0; http2 < 2; http2++) {
        filch_http_client *client;
        const filch_http_client_opts opts = {.http1 = !http2, .http2 = http2, .proxy = ""};

        T_OK(filch_http_client_new(&opts, &client));
        for (int i = 0; i < 3; i++) /* on connections and handles that were used before */
            exchange(&site, client, i == 1 ? "POST" : "PUT", http2 ? 20 : 11);
        filch_http_client_close(client);
    }
    site_close(&site);
    return 0;
}

Test(http_trailers, our_client_and_our_server_exchange_them)
{
    T_OK(run_in_runtime(0, exchange_trailers, NULL));
}

/* Answers one request with bytes. */
static int answer_raw(void *arg)
{
    static const char text[] =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n"
        "Set-Cookie: a\r\nX-Sum:  1 \r\nX-Check:\r\nHost: b\r\n\r\n";
    char buf[4096];
    filch_tcp *conn;

    T_OK(filch_listener_accept(arg, &conn, T_LIMIT));
    T_CHECK(filch_tcp_read(conn, buf, sizeof(buf), T_LIMIT) > 0);
    T_OK(filch_tcp_write_all(conn, text, sizeof(text) - 1, NULL, T_LIMIT));
    T_OK(filch_tcp_close(conn));
    return 0;
}

static int ask_raw(void *arg)
{
    const filch_http_client_opts opts = {.cookies = true, .proxy = ""};
    filch_listener *listener;
    filch_http_client *client;
    filch_http_response *response;
    char addr[FILCH_ADDR_BYTES], url[128];
    filch_task *task;

    (void)arg;
    T_OK(filch_listener_open("127.0.0.1:0", NULL, &listener));
    T_OK(filch_listener_addr(listener, addr));
    snprintf(url, sizeof(url), "http://%s/", addr);
    task = spawn(answer_raw, listener);
    T_OK(filch_http_client_new(&opts, &client));
    T_OK(filch_http_get(client, url, &response, NULL, T_LIMIT));
    T_CHECK(strcmp(filch_http_response_body(response, NULL), "ab") == 0);
    check_trailers(response, "1", "");
    filch_http_response_free(response);
    filch_http_client_close(client);
    T_OK(join(task));
    T_OK(filch_listener_close(listener));
    return 0;
}

Test(http_trailers, what_may_not_be_one_is_left_out_by_the_client)
{
    T_OK(run_in_runtime(0, ask_raw, NULL));
}

/* As much as the client takes without holding the transfer up: a byte more, and it does. */
#define MOST ((size_t)48 * 1024)

struct held_up {
    filch_listener *listener;
    filch_notify first_taken, rest_sent;
};

/* The last byte of the body, and what comes behind it, are one segment. */
static int answer_in_two(void *arg)
{
    static const char rest[] = "1\r\nb\r\n0\r\nSet-Cookie: a\r\nX-Sum:  1 \r\nX-Check:\r\n\r\n";
    static char first[MOST + 256];
    struct held_up *held_up = arg;
    char buf[4096];
    filch_tcp *conn;
    int head = snprintf(first, sizeof(first),
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n", MOST);

    memset(first + head, 'b', MOST);
    memcpy(first + head + MOST, "\r\n", 2);
    T_OK(filch_listener_accept(held_up->listener, &conn, T_LIMIT));
    T_CHECK(filch_tcp_read(conn, buf, sizeof(buf), T_LIMIT) > 0);
    T_OK(filch_tcp_write_all(conn, first, (size_t)head + MOST + 2, NULL, T_LIMIT));
    T_OK(filch_notify_wait(&held_up->first_taken, T_LIMIT));
    T_OK(filch_tcp_write_all(conn, rest, sizeof(rest) - 1, NULL, T_LIMIT));
    filch_notify_one(&held_up->rest_sent);
    T_CHECK(filch_tcp_read(conn, buf, 1, T_LIMIT) <= 0); /* until the client closes it */
    T_OK(filch_tcp_close(conn));
    return 0;
}

static bool has_come(filch_http_response *response, int64_t bytes)
{
    int64_t now;

    T_OK(filch_http_response_progress(response, &now, NULL));
    return now == bytes;
}

/* Both are with the client before its owner reads: it has what comes behind them. */
static void have_held_up(filch_http_client *client, struct held_up *held_up, const char *url,
                         filch_http_response *response)
{
    filch_http_response *other;

    T_WAIT_UNTIL(has_come(response, (int64_t)MOST));
    filch_notify_one(&held_up->first_taken);
    T_OK(filch_notify_wait(&held_up->rest_sent, T_LIMIT));
    T_OK(filch_http_get(client, url, &other, NULL, T_LIMIT));
    filch_http_response_free(other);
    T_CHECK(has_come(response, (int64_t)MOST + 1));
}

static int ask_held_up(void *arg)
{
    const filch_http_client_opts opts = {.http1 = true, .proxy = ""};
    struct held_up held_up;
    struct site site;
    filch_http_client *client;
    filch_http_request *request;
    filch_http_response *response;
    char addr[FILCH_ADDR_BYTES], url[128], other_url[128];
    filch_task *task;
    size_t bytes;

    (void)arg;
    site_open(&site);
    filch_notify_init(&held_up.first_taken);
    filch_notify_init(&held_up.rest_sent);
    T_OK(filch_listener_open("127.0.0.1:0", NULL, &held_up.listener));
    T_OK(filch_listener_addr(held_up.listener, addr));
    snprintf(url, sizeof(url), "http://%s/", addr);
    snprintf(other_url, sizeof(other_url), "http://%s/none", site.http.addr);
    task = spawn(answer_in_two, &held_up);
    T_OK(filch_http_client_new(&opts, &client));
    T_OK(filch_http_request_new(client, "GET", url, &request));
    T_OK(filch_http_send(request, &response, NULL, T_LIMIT));
    have_held_up(client, &held_up, other_url, response);
    T_OK(filch_http_response_read_all(response, NULL, T_LIMIT));
    (void)filch_http_response_body(response, &bytes);
    T_IS(bytes, MOST + 1);
    check_trailers(response, "1", "");
    filch_http_response_free(response);
    filch_http_request_free(request);
    filch_http_client_close(client);
    T_OK(join(task));
    T_OK(filch_listener_close(held_up.listener));
    filch_notify_fini(&held_up.first_taken);
    filch_notify_fini(&held_up.rest_sent);
    site_close(&site);
    return 0;
}

Test(http_trailers, of_a_transfer_that_is_held_up_are_single_fields)
{
    T_OK(run_in_runtime(0, ask_held_up, NULL));
}

/* ---- programs ---- */

static char *program(const char *const *argv)
{
    filch_process_output output;

    T_OK(filch_process_run(argv, NULL, &output, T_LIMIT));
    T_IS(output.status.code, 0);
    free(output.err);
    return output.out;
}

static int ask_curl(void *arg)
{
    struct site site;

    (void)arg;
    site_open(&site);
    for (int http2 = 0; http2 < 2; http2++) {
        const char *how = http2 ? "--http2-prior-knowledge" : "--http1.1";
        char *out = program(ARGV("curl", "-sS", "--noproxy", "*", how, "-D", "-", "-H",
                                 "TE: trailers", "-d", "hello", site.url));

        /* The body is written when it comes, the head at once: the trailers are last. */
        T_CHECK(strstr(out, http2 ? "hellox-sum: 5\r\nx-check: \r\n"
                                  : "helloX-Sum: 5\r\nx-check: \r\n"));
        free(out);
        expected_result = -EOPNOTSUPP;
        out =
            program(ARGV("curl", "-sS", "--noproxy", "*", how, "-D", "-", "-d", "hello", site.url));
        T_CHECK(strstr(out, "hello") && !strcasestr(out, "x-sum: 5"));
        free(out);
        expected_result = 0;
    }
    site_close(&site);
    return 0;
}

Test(http_trailers, curl_takes_them, .init = test_starts_programs)
{
    T_OK(run_in_runtime(0, ask_curl, NULL));
}

static int ask_nghttp(void *arg)
{
    struct temp_dir dir;
    struct site site;
    char *out, *trailers;
    FILE *file;

    (void)arg;
    temp_dir_make(&dir);
    file = fopen(in_dir(&dir, "body"), "w");
    T_CHECK(file && fputs("hello", file) >= 0 && fclose(file) == 0);
    site_open(&site);
    out = program(ARGV("nghttp", "-v", "-H", "te: trailers", "--trailer", "x-check: from nghttp",
                       "-d", in_dir(&dir, "body"), site.url));
    trailers = strstr(out, "x-sum: 5");
    if (!trailers || !strstr(trailers, "x-check: from nghttp"))
        fprintf(stderr, "%s\n", out);
    T_CHECK(trailers && strstr(trailers, "x-check: from nghttp"));
    free(out);
    site_close(&site);
    temp_dir_remove(&dir);
    return 0;
}

Test(http_trailers, nghttp_sends_and_takes_them, .init = test_starts_programs)
{
    if (access("/usr/bin/nghttp", X_OK) < 0)
        cr_skip_test("nghttp is not installed");
    T_OK(run_in_runtime(0, ask_nghttp, NULL));
}
