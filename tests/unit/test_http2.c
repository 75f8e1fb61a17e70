/* Description: HTTP/2 in the HTTP server. curl and h2load as peers; and a peer of our own that
 * sends frames byte by byte as no library would: wrong, too long, too many, at the wrong time. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

#include <criterion/criterion.h>
#include <nghttp2/nghttp2.h>

#include <filch/http_server.h>

#include "tests/runner/http_site.h"
#include "tests/runner/process.h"
#include "tests/runner/programs.h"
#include "tests/runner/tcp_pair.h"

TestSuite(http2, .timeout = 120);

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})
#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

struct site {
    struct http_site http;
    /* What handlers and the access log say. */
    atomic_int running, most, cancelled, poured, logged, incomplete;
    atomic_bool go;
};

static int hello(filch_exchange *x, void *context)
{
    (void)context;
    T_IS(filch_exchange_version(x), 20);
    return filch_exchange_reply(x, 200, "text/plain", "hello", 5, FILCH_NEVER);
}

/* Says what it was asked. */
static int echo_head(filch_exchange *x, void *context)
{
    const char *cookie = filch_exchange_header(x, "Cookie");
    char text[512];
    int n = snprintf(text, sizeof(text), "%s %s %s %s", filch_exchange_method(x),
                     filch_exchange_host(x), filch_exchange_query(x) ?: "-", cookie ?: "-");

    (void)context;
    T_OK(filch_exchange_set(x, "X-Mixed-Case", "kept As it is"));
    return filch_exchange_reply(x, 200, NULL, text, (size_t)n, FILCH_NEVER);
}

/* Sends the body back as it comes. */
static int turn(filch_exchange *x, void *context)
{
    char buf[10000];
    ssize_t n = 0;
    int r = filch_exchange_begin(x, 200, NULL, -1, FILCH_NEVER);

    (void)context;
    while (r == 0 && (n = filch_exchange_read(x, buf, sizeof(buf), FILCH_NEVER)) > 0)
        r = filch_exchange_write_all(x, buf, (size_t)n, NULL, FILCH_NEVER);
    return r < 0 ? r : (int)n;
}

/* Reads all and says how much. */
static int count(filch_exchange *x, void *context)
{
    char buf[10000], text[32];
    size_t bytes = 0;
    ssize_t n;

    (void)context;
    while ((n = filch_exchange_read(x, buf, sizeof(buf), FILCH_NEVER)) > 0)
        bytes += (size_t)n;
    if (n < 0)
        return (int)n;
    n = snprintf(text, sizeof(text), "%zu", bytes);
    return filch_exchange_reply(x, 200, NULL, text, (size_t)n, FILCH_NEVER);
}

/* Answers with what came behind the body. */
static int tell_trailer(filch_exchange *x, void *context)
{
    char buf[100];
    ssize_t n;

    (void)context;
    while ((n = filch_exchange_read(x, buf, sizeof(buf), FILCH_NEVER)) > 0)
        ;
    if (n < 0)
        return (int)n;
    n = filch_exchange_trailer(x, "X-Check") ? atoi(filch_exchange_trailer(x, "X-Check")) : 204;
    return filch_exchange_reply(x, (int)n, NULL, NULL, 0, FILCH_NEVER);
}

static int sleep_long(void *arg)
{
    (void)arg;
    return filch_sleep(FILCH_NEVER);
}

/* Waits in a task of a scope until it is cancelled, or let go. */
static int wait_in_scope(filch_exchange *x, void *context)
{
    struct site *site = context;
    int now = atomic_fetch_add(&site->running, 1) + 1, most = atomic_load(&site->most), r;

    (void)x;
    while (now > most && !atomic_compare_exchange_weak(&site->most, &most, now))
        ;
    FILCH_SCOPE(scope);
    T_CHECK(filch_scope_spawn(&scope, sleep_long, NULL) <= 0);
    r = filch_scope_join(&scope, FILCH_NEVER);
    if (r == -ECANCELED)
        atomic_fetch_add(&site->cancelled, 1);
    atomic_fetch_sub(&site->running, 1);
    return r;
}

/* Answers when it is told to. */
static int wait_for_go(filch_exchange *x, void *context)
{
    struct site *site = context;

    atomic_fetch_add(&site->running, 1);
    while (!atomic_load(&site->go)) {
        int r = filch_sleep(filch_after(FILCH_MILLISECOND));

        if (r < 0) {
            atomic_fetch_sub(&site->running, 1);
            return r;
        }
    }
    atomic_fetch_sub(&site->running, 1);
    return filch_exchange_reply(x, 200, NULL, "gone", 4, FILCH_NEVER);
}

/* Writes for ever. */
static int pour(filch_exchange *x, void *context)
{
    static const char block[65536];
    struct site *site = context;
    int r = filch_exchange_begin(x, 200, NULL, -1, FILCH_NEVER);

    while (r == 0)
        r = filch_exchange_write_all(x, block, sizeof(block), NULL, FILCH_NEVER);
    atomic_store(&site->poured, r);
    return r;
}

static int cut(filch_exchange *x, void *context)
{
    (void)context;
    T_OK(filch_exchange_begin(x, 200, NULL, 1000, FILCH_NEVER));
    T_OK(filch_exchange_write_all(x, "begun", 5, NULL, FILCH_NEVER));
    T_OK(filch_exchange_flush(x, FILCH_NEVER));
    return -EIO;
}

static void note(void *context, const filch_http_access *access)
{
    struct site *site = context;

    T_CHECK(access->version == 20 || access->status >= 400);
    atomic_fetch_add(&site->logged, 1);
    if (!access->complete)
        atomic_fetch_add(&site->incomplete, 1);
}

static void site_open(struct site *site, const filch_http_server_opts *opts)
{
    filch_http_server_opts all = opts ? *opts : (filch_http_server_opts){0};

    memset(site, 0, sizeof(*site));
    all.access = note;
    all.access_context = site;
    http_site_new(&site->http, &all);
    T_OK(filch_http_route_flags(site->http.server, "GET", "/", hello, NULL, FILCH_HTTP_PROMPT));
    T_OK(filch_http_route(site->http.server, NULL, "/head", echo_head, NULL));
    T_OK(filch_http_route(site->http.server, "POST", "/turn", turn, NULL));
    T_OK(filch_http_route(site->http.server, "POST", "/count", count, NULL));
    T_OK(filch_http_route(site->http.server, "POST", "/trailer", tell_trailer, NULL));
    T_OK(filch_http_route(site->http.server, NULL, "/wait", wait_in_scope, site));
    T_OK(filch_http_route(site->http.server, NULL, "/go", wait_for_go, site));
    T_OK(filch_http_route(site->http.server, "GET", "/pour", pour, site));
    T_OK(filch_http_route(site->http.server, "GET", "/cut", cut, NULL));
    http_site_open(&site->http);
}

static void site_close(struct site *site)
{
    http_site_close(&site->http);
}

/* ---- a peer that sends what it likes ---- */

struct frame {
    uint32_t bytes;
    uint8_t type, flags;
    int32_t id;
    uint8_t payload[16384];
};

struct peer {
    filch_tcp *conn;
    nghttp2_hd_inflater *inflater;
    struct frame frame; /* the last one that was read */
};

static int frame_try(struct peer *peer, uint8_t type, uint8_t flags, int32_t id,
                     const void *payload, size_t bytes)
{
    uint8_t head[9] = {
        (uint8_t)(bytes >> 16), (uint8_t)(bytes >> 8), (uint8_t)bytes,     type,       flags,
        (uint8_t)(id >> 24),    (uint8_t)(id >> 16),   (uint8_t)(id >> 8), (uint8_t)id};
    int r = filch_tcp_write_all(peer->conn, head, 9, NULL, T_LIMIT);

    return r < 0 ? r : filch_tcp_write_all(peer->conn, payload, bytes, NULL, T_LIMIT);
}

static void frame_send(struct peer *peer, uint8_t type, uint8_t flags, int32_t id,
                       const void *payload, size_t bytes)
{
    T_OK(frame_try(peer, type, flags, id, payload, bytes));
}

/* Return: false: the connection has ended. */
static bool frame_read(struct peer *peer)
{
    struct frame *frame = &peer->frame;
    uint8_t head[9];
    int r = filch_tcp_read_exact(peer->conn, head, 9, NULL, T_LIMIT);

    if (r == -EPIPE || r == -ECONNRESET)
        return false;
    T_OK(r);
    frame->bytes = (uint32_t)head[0] << 16 | (uint32_t)head[1] << 8 | head[2];
    frame->type = head[3];
    frame->flags = head[4];
    frame->id = (int32_t)((uint32_t)head[5] << 24 | (uint32_t)head[6] << 16 |
                          (uint32_t)head[7] << 8 | head[8]);
    T_CHECK(frame->bytes <= sizeof(frame->payload));
    r = filch_tcp_read_exact(peer->conn, frame->payload, frame->bytes, NULL, T_LIMIT);
    return r == 0;
}

/* Reads until such a frame comes. Return: false: the connection has ended before. */
static bool frame_await(struct peer *peer, uint8_t type, int32_t id)
{
    while (frame_read(peer))
        if (peer->frame.type == type && peer->frame.id == id)
            return true;
    return false;
}

static uint32_t number_at(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Reads until a GOAWAY with an error, then to the end. Return: the error; 0: there was none. */
static uint32_t read_refusal(struct peer *peer)
{
    uint32_t error = 0;

    while (frame_read(peer))
        if (peer->frame.type == NGHTTP2_GOAWAY && !error)
            error = number_at(peer->frame.payload + 4);
    return error;
}

static void peer_open(struct peer *peer, const struct site *site)
{
    T_OK(filch_tcp_connect(site->http.addr, &peer->conn, T_LIMIT));
    T_IS(nghttp2_hd_inflate_new(&peer->inflater), 0);
    T_OK(filch_tcp_write_all(peer->conn, PREFACE, sizeof(PREFACE) - 1, NULL, T_LIMIT));
    frame_send(peer, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
}

static void peer_close(struct peer *peer)
{
    nghttp2_hd_inflate_del(peer->inflater);
    T_OK(filch_tcp_close(peer->conn));
}

/* Return: bytes of a literal field that is not kept. */
static size_t put_field(uint8_t *to, const char *name, const char *value)
{
    size_t name_bytes = strlen(name), value_bytes = strlen(value);

    T_CHECK(name_bytes < 127 && value_bytes < 127);
    *to++ = 0;
    *to++ = (uint8_t)name_bytes;
    memcpy(to, name, name_bytes);
    to += name_bytes;
    *to++ = (uint8_t)value_bytes;
    memcpy(to, value, value_bytes);
    return 3 + name_bytes + value_bytes;
}

static size_t put_head(uint8_t *to, const char *method, const char *path)
{
    size_t bytes = put_field(to, ":method", method);

    bytes += put_field(to + bytes, ":scheme", "http");
    bytes += put_field(to + bytes, ":authority", "x");
    return bytes + put_field(to + bytes, ":path", path);
}

#define END_ALL (NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM)

static void ask(struct peer *peer, int32_t id, const char *method, const char *path, uint8_t flags)
{
    uint8_t head[512];

    frame_send(peer, NGHTTP2_HEADERS, flags, id, head, put_head(head, method, path));
}

/* Reads the head of an answer; @id 0: of any. Return: its status; 0: a reset, or the end. */
static int read_status(struct peer *peer, int32_t id)
{
    do {
        const uint8_t *at = peer->frame.payload;
        size_t left;
        int status = 0, flags = 0;

        if (!frame_read(peer) || (peer->frame.type == NGHTTP2_RST_STREAM && peer->frame.id == id))
            return 0;
        if (peer->frame.type != NGHTTP2_HEADERS)
            continue;
        for (left = peer->frame.bytes; !(flags & NGHTTP2_HD_INFLATE_FINAL);) {
            nghttp2_nv nv;
            ssize_t n = nghttp2_hd_inflate_hd2(peer->inflater, &nv, &flags, at, left, 1);

            T_CHECK(n >= 0);
            at += n;
            left -= (size_t)n;
            if (flags & NGHTTP2_HD_INFLATE_EMIT && strcmp((char *)nv.name, ":status") == 0)
                status = atoi((char *)nv.value);
        }
        nghttp2_hd_inflate_end_headers(peer->inflater);
        if (!id || peer->frame.id == id)
            return status;
    } while (true);
}

/* ---- programs ---- */

static void program(const char *const *argv, const char *input, size_t bytes,
                    filch_process_output *ret_output)
{
    T_OK(filch_process_run(argv, &(filch_process_run_opts){.input = input, .input_bytes = bytes},
                           ret_output, T_LIMIT));
}

static void forget(filch_process_output *output)
{
    free(output->out);
    free(output->err);
}

#define CURL "curl", "-sS", "--noproxy", "*", "--http2-prior-knowledge"
#define BODY 700000

static int ask_curl(void *arg)
{
    static char body[BODY];
    struct site site;
    filch_process_output output;
    char url[4][128];

    (void)arg;
    for (int i = 0; i < BODY; i++)
        body[i] = (char)(i * 7 + i / 251);
    site_open(&site, NULL);
    for (int i = 0; i < 4; i++)
        snprintf(url[i], sizeof(url[i]), "http://%s/%s", site.http.addr,
                 (const char *const[]){"", "head?a=b", "turn", "none"}[i]);
    for (int i = 0; i < 4; i += 3) {
        program(ARGV(CURL, "--write-out", "|%{http_code} %{http_version}|", url[i]), NULL, 0,
                &output);
        T_IS(output.status.code, 0);
        T_CHECK(strcmp(output.out, i ? "404 Not Found\n|404 2|" : "hello|200 2|") == 0);
        forget(&output);
    }
    program(ARGV(CURL, "-i", "-H", "Cookie: a=1; b=2", url[1]), NULL, 0, &output);
    T_CHECK(strstr(output.out, "\r\nx-mixed-case: kept As it is\r\n"));
    T_CHECK(strstr(output.out, "\r\ndate: ") && strstr(output.out, "a=b a=1; b=2"));
    forget(&output);
    program(ARGV(CURL, "-I", url[0]), NULL, 0, &output);
    T_CHECK(strncmp(output.out, "HTTP/2 200 \r\n", 13) == 0);
    T_CHECK(strstr(output.out, "\r\ncontent-length: 5\r\n"));
    forget(&output);
    program(ARGV(CURL, "--data-binary", "@-", url[2]), body, BODY, &output);
    T_IS(output.out_bytes, BODY);
    T_CHECK(memcmp(output.out, body, BODY) == 0);
    forget(&output);
    program(ARGV(CURL, "--data-binary", "@-", "-H", "Expect: 100-continue", url[2]), body, 1000,
            &output);
    T_IS(output.out_bytes, 1000);
    forget(&output);
    T_WAIT_UNTIL(atomic_load(&site.logged) == 6);
    T_IS(atomic_load(&site.incomplete), 0);
    T_IS(http_site_stats(&site.http).requests, 6);
    site_close(&site);
    return 0;
}

Test(http2, curl_is_served, .init = test_starts_programs)
{
    T_OK(run_in_runtime(0, ask_curl, NULL));
}

static int ask_h2load(void *arg)
{
    struct site site;
    filch_process_output output;
    char url[128];

    (void)arg;
    site_open(&site, NULL);
    snprintf(url, sizeof(url), "http://%s/", site.http.addr);
    program(ARGV("h2load", "-n", "3000", "-c", "3", "-m", "100", url), NULL, 0, &output);
    T_IS(output.status.code, 0);
    T_CHECK(strstr(output.out, "3000 succeeded, 0 failed, 0 errored"));
    T_CHECK(strstr(output.out, "3000 2xx"));
    forget(&output);
    site_close(&site);
    return 0;
}

Test(http2, a_hundred_streams_at_a_time_all_succeed, .init = test_starts_programs)
{
    T_NEEDS_PROGRAM("h2load");
    T_OK(run_in_runtime(0, ask_h2load, NULL));
}

/* ---- what is wrong ---- */

static void refuse_bytes(struct site *site, const char *bytes, size_t count)
{
    struct peer peer;

    T_OK(filch_tcp_connect(site->http.addr, &peer.conn, T_LIMIT));
    T_OK(filch_tcp_write_all(peer.conn, PREFACE, sizeof(PREFACE) - 1, NULL, T_LIMIT));
    T_OK(filch_tcp_write_all(peer.conn, bytes, count, NULL, T_LIMIT));
    T_CHECK(read_refusal(&peer) != 0);
    T_OK(filch_tcp_close(peer.conn));
}

#define SETTINGS "\0\0\0\4\0\0\0\0\0"
#define REFUSE(site, bytes) refuse_bytes((site), (bytes), sizeof(bytes) - 1)

static int be_malformed(void *arg)
{
    struct site site;
    struct peer peer;

    (void)arg;
    /* It ends at once, not by its time. */
    site_open(&site, &(filch_http_server_opts){.head_ns = 1000 * FILCH_SECOND});
    T_OK(filch_tcp_connect(site.http.addr, &peer.conn, T_LIMIT)); /* a preface that is none */
    T_OK(filch_tcp_write_all(peer.conn, "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 24, NULL, T_LIMIT));
    T_IS(read_refusal(&peer), NGHTTP2_PROTOCOL_ERROR);
    T_OK(filch_tcp_close(peer.conn));
    REFUSE(&site, "\0\0\x08\6\0\0\0\0\0abcdefgh");             /* no SETTINGS first */
    REFUSE(&site, "\0\0\5\4\0\0\0\0\0abcde");                  /* SETTINGS of 5 bytes */
    REFUSE(&site, SETTINGS "\0\0\4\x08\0\0\0\0\0\0\0\0\0");    /* a window that grows by 0 */
    REFUSE(&site, SETTINGS "\0\x50\0\0\0\0\0\0\1");            /* a frame of 20 KiB */
    REFUSE(&site, SETTINGS "\0\0\1\0\0\0\0\0\1a");             /* data of no stream */
    REFUSE(&site, SETTINGS "\0\0\1\1\5\0\0\0\2\x82");          /* a stream of an even number */
    REFUSE(&site, SETTINGS "\0\0\1\1\5\0\0\0\1\xff");          /* bytes that are no HPACK */
    REFUSE(&site, SETTINGS "\0\0\1\x9\4\0\0\0\1\x82");         /* a continuation of nothing */
    REFUSE(&site, SETTINGS "\0\0\1\1\1\0\0\0\1\x82" SETTINGS); /* a frame within a head */
    T_CHECK(http_site_stats(&site.http).malformed >= 8);
    peer_open(&peer, &site); /* no path: this request only */
    frame_send(&peer, NGHTTP2_HEADERS, END_ALL, 1, "\x82\x86", 2);
    T_CHECK(frame_await(&peer, NGHTTP2_RST_STREAM, 1));
    ask(&peer, 3, "GET", "/", END_ALL);
    T_IS(read_status(&peer, 3), 200);
    peer_close(&peer);
    T_IS(http_site_stats(&site.http).requests, 1);
    site_close(&site);
    return 0;
}

Test(http2, malformed_frames_end_the_connection)
{
    T_OK(run_in_runtime(0, be_malformed, NULL));
}

/* A head with @fields fields more, of 100 bytes each. */
static void ask_long(struct peer *peer, int32_t id, unsigned fields, bool ends)
{
    static uint8_t head[16384];
    char value[98];
    size_t bytes = put_head(head, "GET", "/");
    bool first = true;

    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    while (fields || bytes) {
        while (fields && bytes < sizeof(head) - 200) {
            bytes += put_field(head + bytes, "x", value);
            fields--;
        }
        if (frame_try(peer, first ? NGHTTP2_HEADERS : NGHTTP2_CONTINUATION,
                      (uint8_t)((first ? NGHTTP2_FLAG_END_STREAM : 0) |
                                (fields || !ends ? 0 : NGHTTP2_FLAG_END_HEADERS)),
                      id, head, bytes) < 0)
            return;
        first = false;
        bytes = 0;
    }
}

static int exceed(void *arg)
{
    const filch_http_server_opts opts = {
        .head_bytes_max = 4096, .target_bytes_max = 64, .fields_max = 20, .body_bytes_max = 1000};
    struct site site;
    struct peer peer;
    uint8_t head[512];
    char path[100] = "/", data[600] = "";
    size_t bytes;

    (void)arg;
    site_open(&site, &opts);
    peer_open(&peer, &site);
    ask_long(&peer, 1, 19, true);
    T_IS(read_status(&peer, 1), 200);
    ask_long(&peer, 3, 21, true); /* fields */
    T_IS(read_status(&peer, 3), 431);
    ask_long(&peer, 5, 40, true); /* bytes */
    T_IS(read_status(&peer, 5), 431);
    memset(path + 1, 'a', 70);
    ask(&peer, 7, "GET", path, END_ALL);
    T_IS(read_status(&peer, 7), 414);
    bytes = put_head(head, "POST", "/count");
    bytes += put_field(head + bytes, "content-length", "1001");
    frame_send(&peer, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 9, head, bytes);
    T_IS(read_status(&peer, 9), 413);
    ask(&peer, 11, "POST", "/count", NGHTTP2_FLAG_END_HEADERS);
    frame_send(&peer, NGHTTP2_DATA, 0, 11, data, 600);
    frame_send(&peer, NGHTTP2_DATA, 0, 11, data, 600);
    T_IS(read_status(&peer, 11), 413);
    T_CHECK(frame_await(&peer, NGHTTP2_RST_STREAM, 11)); /* the rest is not needed */
    T_IS(number_at(peer.frame.payload), NGHTTP2_NO_ERROR);
    ask(&peer, 13, "GET", "/", END_ALL); /* the connection has not suffered */
    T_IS(read_status(&peer, 13), 200);
    ask(&peer, 15, "CONNECT", "/", END_ALL); /* with a path it is none */
    T_CHECK(frame_await(&peer, NGHTTP2_RST_STREAM, 15));
    ask(&peer, 17, "GET", "/a b", END_ALL);
    T_CHECK(read_status(&peer, 17) != 200);
    peer_close(&peer);
    peer_open(&peer, &site); /* a head without an end */
    ask_long(&peer, 1, 2000, false);
    T_CHECK(read_refusal(&peer) != 0);
    peer_close(&peer);
    site_close(&site);
    return 0;
}

Test(http2, what_is_too_long_is_refused)
{
    T_OK(run_in_runtime(0, exceed, NULL));
}

/* Sends a body, and behind it fields of a name. Return: the status. */
static int send_trailers(struct peer *peer, int32_t id, const char *name, const char *value,
                         unsigned count)
{
    uint8_t fields[8192];
    size_t bytes = 0;

    for (unsigned i = 0; i < count; i++)
        bytes += put_field(fields + bytes, name, value);
    ask(peer, id, "POST", "/trailer", NGHTTP2_FLAG_END_HEADERS);
    frame_send(peer, NGHTTP2_DATA, 0, id, "hello", 5);
    frame_send(peer, NGHTTP2_HEADERS, END_ALL, id, fields, bytes);
    return read_status(peer, id);
}

static int send_wrong_trailers(void *arg)
{
    const filch_http_server_opts opts = {.head_bytes_max = 4096, .fields_max = 20};
    struct site site;
    struct peer peer;
    char value[100];

    (void)arg;
    memset(value, '2', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    site_open(&site, &opts);
    peer_open(&peer, &site);
    T_IS(send_trailers(&peer, 1, "x-check", "222", 1), 222);
    T_IS(send_trailers(&peer, 3, "x-check", "233", 20), 233);
    T_IS(send_trailers(&peer, 5, "x-check", "222", 21), 431);    /* fields */
    T_IS(send_trailers(&peer, 7, "x-check", value, 40), 431);    /* bytes */
    T_IS(send_trailers(&peer, 9, "cookie", "x-check", 20), 204); /* not minded */
    T_IS(send_trailers(&peer, 11, "host", "x", 1), 400);
    T_IS(send_trailers(&peer, 13, "content-length", "5", 1), 400);
    T_IS(send_trailers(&peer, 15, "connection", "close", 1), 0); /* resets: nghttp2 */
    T_IS(send_trailers(&peer, 17, ":path", "/", 1), 0);
    T_IS(send_trailers(&peer, 19, "X-Check", "222", 1), 0);
    ask(&peer, 21, "POST", "/trailer", NGHTTP2_FLAG_END_HEADERS); /* they do not end it */
    frame_send(&peer, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 21, value, 0);
    T_IS(read_status(&peer, 21), 0);
    T_IS(send_trailers(&peer, 23, "x-check", "222", 1), 222);
    peer_close(&peer);
    site_close(&site);
    return 0;
}

Test(http2, trailers_are_read_and_have_limits)
{
    T_OK(run_in_runtime(0, send_wrong_trailers, NULL));
}

static int refuse_streams(void *arg)
{
    const filch_http_server_opts opts = {.streams_max = 2};
    struct site site;
    struct peer peer;

    (void)arg;
    site_open(&site, &opts);
    peer_open(&peer, &site);
    for (int32_t id = 1; id <= 3; id += 2)
        ask(&peer, id, "GET", "/go", END_ALL);
    T_WAIT_UNTIL(atomic_load(&site.running) == 2);
    ask(&peer, 5, "GET", "/", END_ALL);
    T_CHECK(frame_await(&peer, NGHTTP2_RST_STREAM, 5));
    T_IS(number_at(peer.frame.payload), NGHTTP2_REFUSED_STREAM);
    atomic_store(&site.go, true);
    T_IS(read_status(&peer, 0) + read_status(&peer, 0), 400);
    peer_close(&peer);
    site_close(&site);
    return 0;
}

Test(http2, streams_beyond_the_limit_are_refused)
{
    T_OK(run_in_runtime(0, refuse_streams, NULL));
}

/* ---- floods ---- */

static void flood(struct site *site, uint8_t type, const void *payload, size_t bytes)
{
    struct peer peer;

    peer_open(&peer, site);
    for (int i = 0; i < 20000; i++)
        if (frame_try(&peer, type, 0, 0, payload, bytes) < 0)
            break;
    T_CHECK(filch_tcp_shutdown_write(peer.conn) <= 0);
    while (frame_read(&peer))
        ;
    peer_close(&peer);
}

static int be_flooded(void *arg)
{
    const filch_http_server_opts opts = {.streams_max = 10};
    struct site site;
    struct peer peer;

    (void)arg;
    site_open(&site, &opts);
    flood(&site, NGHTTP2_PING, "12345678", 8);
    T_WAIT_UNTIL(http_site_stats(&site.http).malformed == 1 &&
                 http_site_stats(&site.http).open == 0);
    flood(&site, NGHTTP2_SETTINGS, NULL, 0);
    T_WAIT_UNTIL(http_site_stats(&site.http).malformed == 2 &&
                 http_site_stats(&site.http).open == 0);

    peer_open(&peer, &site); /* asks, and resets at once */
    for (int32_t id = 1; id < 10000; id += 2) {
        uint8_t head[512];

        if (frame_try(&peer, NGHTTP2_HEADERS, END_ALL, id, head, put_head(head, "GET", "/wait")) <
                0 ||
            frame_try(&peer, NGHTTP2_RST_STREAM, 0, id, "\0\0\0\x8", 4) < 0)
            break;
    }
    T_CHECK(filch_tcp_shutdown_write(peer.conn) <= 0);
    while (frame_read(&peer))
        ;
    peer_close(&peer);
    T_WAIT_UNTIL(http_site_stats(&site.http).open == 0);
    T_CHECK(http_site_stats(&site.http).malformed >= 3);
    T_IS(atomic_load(&site.running), 0);
    T_CHECK(atomic_load(&site.most) <= 20);
    T_CHECK(http_site_stats(&site.http).requests < 2000);
    site_close(&site);
    return 0;
}

Test(http2, floods_end_the_connection)
{
    T_OK(run_in_runtime(0, be_flooded, NULL));
}

/* ---- resets and cuts ---- */

static int reset(void *arg)
{
    struct site site;
    struct peer peer;

    (void)arg;
    site_open(&site, NULL);
    peer_open(&peer, &site);
    ask(&peer, 1, "GET", "/wait", END_ALL);
    T_WAIT_UNTIL(atomic_load(&site.running) == 1);
    frame_send(&peer, NGHTTP2_RST_STREAM, 0, 1, "\0\0\0\x8", 4);
    T_WAIT_UNTIL(atomic_load(&site.cancelled) == 1);
    ask(&peer, 3, "GET", "/", END_ALL); /* others go on */
    T_IS(read_status(&peer, 3), 200);
    ask(&peer, 5, "GET", "/cut", END_ALL); /* the answer is not whole */
    T_IS(read_status(&peer, 5), 200);
    T_CHECK(frame_await(&peer, NGHTTP2_RST_STREAM, 5));
    T_IS(number_at(peer.frame.payload), NGHTTP2_INTERNAL_ERROR);
    ask(&peer, 7, "GET", "/wait", END_ALL);
    T_WAIT_UNTIL(atomic_load(&site.running) == 1);
    peer_close(&peer); /* the connection ends */
    T_WAIT_UNTIL(atomic_load(&site.cancelled) == 2);
    T_WAIT_UNTIL(atomic_load(&site.logged) == 4);
    T_IS(atomic_load(&site.incomplete), 3);
    site_close(&site);
    return 0;
}

Test(http2, a_reset_cancels_the_handler_and_what_it_has_spawned)
{
    T_OK(run_in_runtime(0, reset, NULL));
}

/* ---- windows ---- */

static int press_back(void *arg)
{
    const filch_http_server_opts opts = {.body_bytes_max = UINT64_MAX};
    static const char data[16384];
    struct site site;
    struct peer peer;
    size_t got = 0;

    (void)arg;
    site_open(&site, &opts);
    peer_open(&peer, &site);
    ask(&peer, 1, "GET", "/pour", END_ALL); /* no more than the window comes */
    T_IS(read_status(&peer, 1), 200);
    while (got < 65535) {
        T_CHECK(frame_await(&peer, NGHTTP2_DATA, 1));
        got += peer.frame.bytes;
    }
    T_IS(got, 65535);
    frame_send(&peer, NGHTTP2_PING, 0, 0, "12345678", 8); /* nothing comes before the answer */
    T_CHECK(frame_read(&peer));
    while (peer.frame.type == NGHTTP2_SETTINGS || peer.frame.type == NGHTTP2_WINDOW_UPDATE)
        T_CHECK(frame_read(&peer));
    T_IS(peer.frame.type, NGHTTP2_PING);
    frame_send(&peer, NGHTTP2_RST_STREAM, 0, 1, "\0\0\0\x8", 4);
    T_WAIT_UNTIL(atomic_load(&site.poured) < 0);

    /* A body that nobody reads opens no window. */
    ask(&peer, 3, "POST", "/go", NGHTTP2_FLAG_END_HEADERS);
    for (int i = 0; i < 3; i++) /* less than what the first window allows */
        frame_send(&peer, NGHTTP2_DATA, 0, 3, data, sizeof(data));
    frame_send(&peer, NGHTTP2_PING, 0, 0, "87654321", 8);
    do {
        T_CHECK(frame_read(&peer));
        T_CHECK(peer.frame.type != NGHTTP2_WINDOW_UPDATE || peer.frame.id != 3);
    } while (peer.frame.type != NGHTTP2_PING);
    atomic_store(&site.go, true);
    T_IS(read_status(&peer, 3), 200);
    peer_close(&peer);
    site_close(&site);
    return 0;
}

Test(http2, windows_hold_both_sides_back)
{
    T_OK(run_in_runtime(0, press_back, NULL));
}

/* ---- time ---- */

static int be_slow(void *arg)
{
    const filch_time ms = (RUNNING_ON_VALGRIND ? 20 : 4) * FILCH_MILLISECOND;
    const filch_http_server_opts opts = {
        .head_ns = 100 * ms, .idle_ns = 60 * ms, .stall_ns = 50 * ms};
    struct site site;
    struct peer peer;

    (void)arg;
    site_open(&site, &opts);
    peer_open(&peer, &site); /* asks nothing */
    T_IS(read_refusal(&peer), 0);
    peer_close(&peer);
    T_IS(http_site_stats(&site.http).timeouts, 1);
    peer_open(&peer, &site); /* asks nothing more */
    ask(&peer, 1, "GET", "/", END_ALL);
    T_IS(read_status(&peer, 1), 200);
    T_IS(read_refusal(&peer), 0);
    peer_close(&peer);
    T_IS(http_site_stats(&site.http).timeouts, 1);
    peer_open(&peer, &site); /* does not end a head, and pings do not help */
    frame_send(&peer, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, 1, "\x82", 1);
    T_IS(read_refusal(&peer), 0);
    peer_close(&peer);
    T_IS(http_site_stats(&site.http).timeouts, 2);
    peer_open(&peer, &site); /* does not send its body */
    ask(&peer, 1, "POST", "/count", NGHTTP2_FLAG_END_HEADERS);
    T_IS(read_status(&peer, 1), 408);
    peer_close(&peer);
    T_IS(http_site_stats(&site.http).timeouts, 3);
    peer_open(&peer, &site); /* takes nothing of its answer */
    ask(&peer, 1, "GET", "/pour", END_ALL);
    T_WAIT_UNTIL(atomic_load(&site.poured));
    T_IS(atomic_load(&site.poured), -ETIMEDOUT);
    T_CHECK(frame_await(&peer, NGHTTP2_RST_STREAM, 1));
    peer_close(&peer);
    site_close(&site);
    return 0;
}

Test(http2, slow_peers_hold_nothing_for_long)
{
    T_OK(run_in_runtime(0, be_slow, NULL));
}

/* ---- the end ---- */

static int drain(void *arg)
{
    struct site *site = arg;

    return filch_http_drain(site->http.server, T_LIMIT);
}

static int end_gently(void *arg)
{
    struct site site;
    struct peer busy, idle;
    filch_task *draining;

    (void)arg;
    site_open(&site, NULL);
    peer_open(&busy, &site);
    peer_open(&idle, &site);
    ask(&idle, 1, "GET", "/", END_ALL);
    T_IS(read_status(&idle, 1), 200);
    ask(&busy, 1, "GET", "/go", END_ALL);
    T_WAIT_UNTIL(atomic_load(&site.running) == 1);
    draining = spawn(drain, &site);
    T_CHECK(frame_await(&busy, NGHTTP2_GOAWAY, 0)); /* a notice */
    T_IS(number_at(busy.frame.payload), INT32_MAX);
    ask(&busy, 3, "GET", "/go", END_ALL); /* was on its way */
    T_WAIT_UNTIL(atomic_load(&site.running) == 2);
    T_CHECK(frame_await(&busy, NGHTTP2_PING, 0));
    frame_send(&busy, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, busy.frame.payload, 8);
    T_CHECK(frame_await(&busy, NGHTTP2_GOAWAY, 0));
    T_IS(number_at(busy.frame.payload), 3);
    T_IS(number_at(busy.frame.payload + 4), NGHTTP2_NO_ERROR);
    atomic_store(&site.go, true);
    T_IS(read_status(&busy, 0) + read_status(&busy, 0), 400);
    T_IS(read_refusal(&busy), 0); /* to the end */
    T_IS(read_refusal(&idle), 0);
    peer_close(&busy);
    peer_close(&idle);
    T_OK(join(draining));
    T_IS(http_site_stats(&site.http).open, 0);
    site_close(&site);
    return 0;
}

Test(http2, a_drain_answers_what_has_come)
{
    T_OK(run_in_runtime(0, end_gently, NULL));
}

static int be_cut_off(void *arg)
{
    struct site site;
    struct peer peer;

    (void)arg;
    site_open(&site, NULL);
    peer_open(&peer, &site);
    ask(&peer, 1, "GET", "/wait", END_ALL);
    T_WAIT_UNTIL(atomic_load(&site.running) == 1);
    T_IS(filch_http_drain(site.http.server, filch_after(10 * FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(atomic_load(&site.cancelled), 1);
    T_IS(http_site_stats(&site.http).open, 0);
    peer_close(&peer);
    site_close(&site);
    return 0;
}

Test(http2, a_drain_that_takes_too_long_cancels)
{
    T_OK(run_in_runtime(0, be_cut_off, NULL));
}

static int be_full(void *arg)
{
    const filch_http_server_opts opts = {.connections_max = 1, .requests_max = 3};
    struct site site;
    struct peer first, second;

    (void)arg;
    site_open(&site, &opts);
    peer_open(&first, &site);
    ask(&first, 1, "GET", "/", END_ALL);
    T_IS(read_status(&first, 1), 200);
    T_OK(filch_tcp_connect(site.http.addr, &second.conn, T_LIMIT));
    while (filch_tcp_read(second.conn, second.frame.payload, 100, T_LIMIT) > 0)
        ;
    T_OK(filch_tcp_close(second.conn));
    T_IS(http_site_stats(&site.http).refused, 1);
    ask(&first, 3, "GET", "/", END_ALL);
    T_IS(read_status(&first, 3), 200);
    ask(&first, 5, "GET", "/", END_ALL); /* the last one */
    T_IS(read_status(&first, 5), 200);
    T_IS(read_refusal(&first), 0);
    peer_close(&first);
    T_IS(http_site_stats(&site.http).requests, 3);
    site_close(&site);
    return 0;
}

Test(http2, connections_and_requests_are_counted)
{
    T_OK(run_in_runtime(0, be_full, NULL));
}

static int be_old(void *arg)
{
    const filch_http_server_opts opts = {.no_http2 = true};
    struct site site;
    char text[512];
    filch_tcp *conn;

    (void)arg;
    site_open(&site, &opts);
    T_OK(filch_tcp_connect(site.http.addr, &conn, T_LIMIT));
    T_OK(filch_tcp_write_all(conn, PREFACE, sizeof(PREFACE) - 1, NULL, T_LIMIT));
    T_CHECK(filch_tcp_read(conn, text, sizeof(text), T_LIMIT) > 12);
    T_CHECK(strncmp(text, "HTTP/1.1 ", 9) == 0 && text[9] >= '4');
    T_OK(filch_tcp_close(conn));
    http_site_close(&site.http);
    return 0;
}

Test(http2, without_it_its_preface_is_no_request)
{
    T_OK(run_in_runtime(0, be_old, NULL));
}
