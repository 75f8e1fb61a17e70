/* Description: what the HTTP server takes for a request, and what it refuses: every malformed one
 * has its status and ends the connection; every good one is the same in pieces of any size. */
#include <criterion/criterion.h>

#include "io/http/chunks.h"
#include "io/http/date.h"
#include "io/http/parse.h"
#include "tests/runner/http_memory.h"
#include "tests/runner/http_site.h"

TestSuite(http_request, .timeout = 120);

static filch_http_server *server;
static struct memory_io m;

/* Tells what was asked: "METHOD path?query host [body]", and "{name=value}" for each trailer. */
static int tell(filch_exchange *x, void *context)
{
    char text[4096];
    size_t bytes = 0;
    const char *name, *value;
    void *body;
    int n, r = filch_exchange_read_all(x, 0, &body, &bytes, T_LIMIT);

    (void)context;
    if (r < 0)
        return r;
    n = snprintf(text, sizeof(text), "%s %s?%s %s [%.*s]", filch_exchange_method(x),
                 filch_exchange_path(x), filch_exchange_query(x) ?: "-", filch_exchange_host(x),
                 (int)bytes, (char *)body);
    free(body);
    for (unsigned i = 0; filch_exchange_trailer_at(x, i, &name, &value) == 0; i++)
        n += snprintf(text + n, sizeof(text) - (size_t)n, "{%s=%s}", name, value);
    return filch_exchange_reply(x, 200, NULL, text, (size_t)n, T_LIMIT);
}

/* Leaves the body where it is. */
static int ignore(filch_exchange *x, void *context)
{
    (void)context;
    return filch_exchange_reply(x, 200, NULL, "ignored", 7, T_LIMIT);
}

static const filch_http_server_opts limits = {
    .head_bytes_max = 2048, .target_bytes_max = 256, .fields_max = 20, .body_bytes_max = 64};

static void add_routes(filch_http_server *to)
{
    T_OK(filch_http_route(to, NULL, "/ignore", ignore, NULL));
    T_OK(filch_http_route(to, NULL, "/{path...}", tell, NULL));
}

static void make_server(void)
{
    T_OK(filch_http_server_new(&limits, &server));
    add_routes(server);
}

#define H "Host: x\r\n"
#define GET "GET / HTTP/1.1\r\n" H "\r\n"
#define POST "POST / HTTP/1.1\r\n" H
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
#define TEN "aaaaaaaaaa"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define THOUSAND HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED
#define SIX "a:\r\na:\r\na:\r\na:\r\na:\r\na:\r\n"
#define LAST CHUNKED "1\r\na\r\n0\r\n"

/* A literal may have a NUL in it. */
#define REQUEST(status, text)                                                                      \
    {                                                                                              \
        status, text, sizeof(text) - 1                                                             \
    }

static const struct {
    int status;
    const char *text;
    size_t bytes;
} malformed[] = {
    /* the first line */
    REQUEST(400, "GET /\r\n\r\n"),
    REQUEST(400, "GET  / HTTP/1.1\r\n" H "\r\n"),
    REQUEST(400, "GET /  HTTP/1.1\r\n" H "\r\n"),
    REQUEST(400, "GET\t/ HTTP/1.1\r\n" H "\r\n"),
    REQUEST(400, " GET / HTTP/1.1\r\n" H "\r\n"),
    REQUEST(400, "GET / HTTP/1.1 \r\n" H "\r\n"),
    REQUEST(400, "GET / http/1.1\r\n" H "\r\n"),
    REQUEST(400, "GET / HTTP/1.1\n" H "\n"),
    REQUEST(400, "GET /\x7f HTTP/1.1\r\n" H "\r\n"),
    REQUEST(400, "GET /\xc3\xa4 HTTP/1.1\r\n" H "\r\n"),
    REQUEST(400, "GET /\0 HTTP/1.1\r\n" H "\r\n"),
    REQUEST(400, "GET /%00 HTTP/1.1\r\n" H "\r\n"),
    REQUEST(400, "GET /%zz HTTP/1.1\r\n" H "\r\n"),
    REQUEST(400, "GET /%4 HTTP/1.1\r\n" H "\r\n"),
    REQUEST(400, "GET /#fragment HTTP/1.1\r\n" H "\r\n"),
    REQUEST(400, "GET path HTTP/1.1\r\n" H "\r\n"),
    REQUEST(400, "GET * HTTP/1.1\r\n" H "\r\n"),
    REQUEST(400, "GET http:// HTTP/1.1\r\n" H "\r\n"),
    REQUEST(400, "GET http://u@x/ HTTP/1.1\r\n" H "\r\n"),
    REQUEST(400, "G(T / HTTP/1.1\r\n" H "\r\n"),
    REQUEST(501, "GEX / HTTP/1.1\r\n" H "\r\n"),
    REQUEST(501, "get / HTTP/1.1\r\n" H "\r\n"),
    REQUEST(501, "CONNECT x:1 HTTP/1.1\r\n" H "\r\n"),
    REQUEST(505, "GET / HTTP/2.0\r\n" H "\r\n"),
    REQUEST(505, "GET / HTTP/1.2\r\n" H "\r\n"),
    REQUEST(505, "GET / HTTP/0.9\r\n" H "\r\n"),
    REQUEST(400, "GET / HTTP/1.10\r\n" H "\r\n"),
    REQUEST(414, "GET /" HUNDRED HUNDRED HUNDRED " HTTP/1.1\r\n" H "\r\n"),
    REQUEST(414, "GET /" HUNDRED HUNDRED HUNDRED HUNDRED),
    REQUEST(400, "\r\n\r\n\r\n\r\n\r\n\r\n" GET),
    REQUEST(400, "\n" GET),
    REQUEST(400, "\r" GET),
    REQUEST(400, "\x16\x03\x01\x02\r\n\r\n"),
    /* line ends, folding, control characters */
    REQUEST(400, "GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n"),
    REQUEST(400, "GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n"),
    REQUEST(400, "GET / HTTP/1.1\r\nHost: x\r\r\n\r\n"),
    REQUEST(400, "GET / HTTP/1.1\r\nHost: x\r\n\n"),
    REQUEST(400, "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n"),
    REQUEST(400, "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\tc\r\n\r\n"),
    REQUEST(400, "GET / HTTP/1.1\r\n A: b\r\n" H "\r\n"),
    REQUEST(400, "GET / HTTP/1.1\r\n" H "A: \0\r\n\r\n"),
    REQUEST(400, "GET / HTTP/1.1\r\n" H "A\0: b\r\n\r\n"),
    REQUEST(400, "GET / HTTP/1.1\r\n" H "A: \x01\r\n\r\n"),
    REQUEST(400, "GET / HTTP/1.1\r\n" H "A: \x7f\r\n\r\n"),
    /* names */
    REQUEST(400, "GET / HTTP/1.1\r\n" H "A : b\r\n\r\n"),
    REQUEST(400, "GET / HTTP/1.1\r\n" H "A b: c\r\n\r\n"),
    REQUEST(400, "GET / HTTP/1.1\r\n" H ": b\r\n\r\n"),
    REQUEST(400, "GET / HTTP/1.1\r\n" H "A\r\n\r\n"),
    REQUEST(400, "GET / HTTP/1.1\r\n" H "A(: b\r\n\r\n"),
    /* Host */
    REQUEST(400, "GET / HTTP/1.1\r\n\r\n"),
    REQUEST(400, "GET / HTTP/1.1\r\n" H H "\r\n"),
    REQUEST(400, "GET / HTTP/1.1\r\n" H "host: y\r\n\r\n"),
    REQUEST(400, "GET / HTTP/1.1\r\nHost : x\r\n\r\n"),
    REQUEST(400, "GET / HTTP/1.1\r\nHost: x y\r\n\r\n"),
    REQUEST(400, "GET / HTTP/1.1\r\nHost: x/y\r\n\r\n"),
    REQUEST(400, "GET / HTTP/1.1\r\nHost: u@x\r\n\r\n"),
    /* lengths */
    REQUEST(400, POST "Content-Length : 5\r\n\r\nhello"),
    REQUEST(400, POST "Content-Length: +5\r\n\r\nhello"),
    REQUEST(400, POST "Content-Length: -5\r\n\r\nhello"),
    REQUEST(400, POST "Content-Length: 0x5\r\n\r\nhello"),
    REQUEST(400, POST "Content-Length: 5 5\r\n\r\nhello"),
    REQUEST(400, POST "Content-Length: 5, 5\r\n\r\nhello"),
    REQUEST(400, POST "Content-Length: 5;\r\n\r\nhello"),
    REQUEST(400, POST "Content-Length: 5.0\r\n\r\nhello"),
    REQUEST(400, POST "Content-Length: \r\n\r\nhello"),
    REQUEST(400, POST "Content-Length: five\r\n\r\nhello"),
    REQUEST(400, POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    REQUEST(400, POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    REQUEST(400, POST "Content-Length: 18446744073709551621\r\n\r\nhello"),
    REQUEST(400, POST "Content-Length: 9999999999999999999\r\n\r\nhello"),
    REQUEST(413, POST "Content-Length: 65\r\n\r\nhello"),
    REQUEST(413, POST "Content-Length: 999999999999999999\r\n\r\nhello"),
    /* codings */
    REQUEST(400, POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    REQUEST(400, POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    REQUEST(400, POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    REQUEST(400, POST "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    REQUEST(400, POST "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
    REQUEST(400, POST "Transfer-Encoding:\r\n\r\n0\r\n\r\n"),
    REQUEST(400, POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    REQUEST(501, POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    REQUEST(400, POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    REQUEST(400, POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    REQUEST(400, POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n"),
    REQUEST(400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    /* chunks */
    REQUEST(400, CHUNKED "\r\n"),
    REQUEST(400, CHUNKED "g\r\n"),
    REQUEST(400, CHUNKED "0x5\r\nhello\r\n0\r\n\r\n"),
    REQUEST(400, CHUNKED "+5\r\nhello\r\n0\r\n\r\n"),
    REQUEST(400, CHUNKED "-5\r\nhello\r\n0\r\n\r\n"),
    REQUEST(400, CHUNKED " 5\r\nhello\r\n0\r\n\r\n"),
    REQUEST(400, CHUNKED "5 \r\nhello\r\n0\r\n\r\n"),
    REQUEST(400, CHUNKED "5\nhello\r\n0\r\n\r\n"),
    REQUEST(400, CHUNKED "5\rhello\r\n0\r\n\r\n"),
    REQUEST(400, CHUNKED "5\r\nhello0\r\n\r\n"),
    REQUEST(400, CHUNKED "5\r\nhello\n0\r\n\r\n"),
    REQUEST(400, CHUNKED "5\r\nhelloX\r\n0\r\n\r\n"),
    REQUEST(400, CHUNKED "5;a\nb\r\nhello\r\n0\r\n\r\n"),
    REQUEST(400, CHUNKED "5;\rb\r\nhello\r\n0\r\n\r\n"),
    REQUEST(400, CHUNKED "5;\x01\r\nhello\r\n0\r\n\r\n"),
    REQUEST(400, CHUNKED "5;" HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED
                     HUNDRED HUNDRED HUNDRED "\r\nhello\r\n0\r\n\r\n"),
    REQUEST(400, CHUNKED "10000000000000005\r\nhello\r\n0\r\n\r\n"),
    REQUEST(400, CHUNKED "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    REQUEST(413, CHUNKED "41\r\n"),
    REQUEST(413, CHUNKED "fffffffffffffff\r\n"),
    REQUEST(413, CHUNKED "20\r\n" TEN TEN TEN "aa\r\n21\r\n"),
    REQUEST(400, CHUNKED "5\r\nhel"), /* cut off */
    REQUEST(400, POST "Content-Length: 5\r\n\r\nhel"),
    /* trailers */
    REQUEST(400, LAST "Trailer\r\n\r\n"),
    REQUEST(400, LAST "A : b\r\n\r\n"),
    REQUEST(400, LAST "A b: c\r\n\r\n"),
    REQUEST(400, LAST ": b\r\n\r\n"),
    REQUEST(400, LAST "A(: b\r\n\r\n"),
    REQUEST(400, LAST "A: b\n\r\n"),
    REQUEST(400, LAST "A: b\r\n\n"),
    REQUEST(400, LAST "A: b\rC: d\r\n\r\n"),
    REQUEST(400, LAST "A: b\r\r\n\r\n"),
    REQUEST(400, LAST "A: b\r\n c\r\n\r\n"),
    REQUEST(400, LAST " A: b\r\n\r\n"),
    REQUEST(400, LAST "\tA: b\r\n\r\n"),
    REQUEST(400, LAST "\n"),
    REQUEST(400, LAST "A: \0\r\n\r\n"),
    REQUEST(400, LAST "A\0: b\r\n\r\n"),
    REQUEST(400, LAST "A: \x01\r\n\r\n"),
    REQUEST(400, LAST "A: \x7f\r\n\r\n"),
    REQUEST(400, LAST "Content-Length: 5\r\n\r\n"),
    REQUEST(400, LAST "A: b\r\ntransfer-encoding: chunked\r\n\r\n"),
    REQUEST(400, LAST "Host: x\r\n\r\n"),
    REQUEST(400, LAST "A: b\r\n"), /* cut off */
    REQUEST(400, LAST "A: b\r\n\r"),
    REQUEST(431, LAST SIX SIX SIX "a:\r\n\r\n"), /* and two in the head */
    REQUEST(431, LAST "A: " THOUSAND THOUSAND THOUSAND THOUSAND THOUSAND THOUSAND THOUSAND THOUSAND
                     HUNDRED HUNDRED "\r\n\r\n"),
    /* limits of the head, other expectations */
    REQUEST(431, "GET / HTTP/1.1\r\n" H "A: " HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED
                     HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED
                         HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED "\r\n\r\n"),
    REQUEST(431, "GET / HTTP/1.1\r\n" H
                 "a:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\n"
                 "a:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\n\r\n"),
    REQUEST(417, "GET / HTTP/1.1\r\n" H "Expect: 200-ok\r\n\r\n"),
};

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static unsigned misread;

/* @text: what was sent, and what came is in m: the last answer has @status, and nothing behind it
 * was answered. */
static void check_answers(const char *text, size_t bytes, int status, unsigned answers)
{
    if (memory_last_status(&m) == status && memory_answers(&m) == answers &&
        strstr(m.out, "\r\nConnection: close\r\n"))
        return;
    fprintf(stderr, "want %d, answer %u, to: %.*s\ngot: %s\n", status, answers, (int)bytes, text,
            m.out);
    misread++;
}

static void check_refused(const char *text, size_t bytes, int status, unsigned answers)
{
    memory_serve(server, &m, text, bytes);
    check_answers(text, bytes, status, answers);
}

/* Behind a good one, that is answered. Return: bytes. */
static size_t put_behind(char *to, const char *text, size_t bytes)
{
    memcpy(to, GET, sizeof(GET) - 1);
    memcpy(to + sizeof(GET) - 1, text, bytes);
    return sizeof(GET) - 1 + bytes;
}

static char two[16384];

static int refuse_malformed(void *arg)
{
    (void)arg;
    make_server();
    for (size_t i = 0; i < COUNT(malformed); i++) {
        size_t bytes = malformed[i].bytes;

        m.piece = 0;
        check_refused(malformed[i].text, bytes, malformed[i].status, 1);
        m.piece = 1;
        check_refused(malformed[i].text, bytes, malformed[i].status, 1);
        /* Behind a good one, and in front of another that must not be seen. What is cut off has
         * nothing behind it. */
        m.piece = 0;
        bytes = put_behind(two, malformed[i].text, bytes);
        check_refused(two, bytes, malformed[i].status, 2);
    }
    filch_http_server_free(server);
    T_IS(misread, 0);
    return 0;
}

Test(http_request, malformed_ones_are_refused_and_end_the_connection)
{
    T_OK(run_in_runtime(0, refuse_malformed, NULL));
}

/* ---- the same over TCP, where a server that closes with bytes unread resets what it has said ----
 */

/* Says it, ends its side, and reads to the end, into m. */
static void converse(const struct http_site *site, const char *from, size_t bytes)
{
    filch_tcp *conn;
    ssize_t n;
    int r;

    T_OK(filch_tcp_connect(site->addr, &conn, T_LIMIT));
    r = filch_tcp_write_all(conn, from, bytes, NULL, T_LIMIT);
    if (r == 0)
        r = filch_tcp_shutdown_write(conn);
    T_CHECK(r == 0 || r == -EPIPE || r == -ECONNRESET || r == -ENOTCONN); /* it has heard enough */
    m.out_bytes = 0;
    while ((n = filch_tcp_read(conn, m.out + m.out_bytes, sizeof(m.out) - 1 - m.out_bytes,
                               T_LIMIT)) > 0)
        m.out_bytes += (size_t)n;
    T_IS(n, 0);
    m.out[m.out_bytes] = '\0';
    T_OK(filch_tcp_close(conn));
}

#define MORE ((size_t)64 * 1024)

/* With more behind it than the server reads before it refuses. Of those that would be another
 * request by that, as they are cut off, nothing is said. Return: is it the same? */
static bool refuse_with_more(const struct http_site *site, const char *from, size_t bytes,
                             int status)
{
    static char more[sizeof(two) + MORE];

    memcpy(more, from, bytes);
    memset(more + bytes, 'x', MORE);
    m.piece = 0;
    memory_serve(server, &m, more, bytes + MORE);
    if (memory_last_status(&m) != status)
        return false;
    converse(site, more, bytes + MORE);
    check_answers(more, bytes, status, 1);
    return true;
}

static int refuse_over_tcp(void *arg)
{
    struct http_site site;
    size_t with_more = 0;

    (void)arg;
    make_server();
    http_site_new(&site, &limits);
    add_routes(site.server);
    http_site_open(&site);
    for (size_t i = 0; i < COUNT(malformed); i++) {
        size_t bytes = malformed[i].bytes;

        converse(&site, malformed[i].text, bytes);
        check_answers(malformed[i].text, bytes, malformed[i].status, 1);
        with_more += refuse_with_more(&site, malformed[i].text, bytes, malformed[i].status);
        bytes = put_behind(two, malformed[i].text, bytes);
        converse(&site, two, bytes);
        check_answers(two, bytes, malformed[i].status, 2);
    }
    T_CHECK(with_more > COUNT(malformed) / 2);
    T_WAIT_UNTIL(http_site_stats(&site).open == 0);
    http_site_close(&site);
    filch_http_server_free(server);
    T_IS(misread, 0);
    return 0;
}

Test(http_request, malformed_ones_are_refused_over_tcp)
{
    T_OK(run_in_runtime(0, refuse_over_tcp, NULL));
}

/* ---- good ones ---- */

static const struct {
    const char *body; /* of the answer */
    const char *text;
} good[] = {
    {"GET /?- x []", GET},
    {"GET /a/b?c=d x []", "GET /a/b?c=d HTTP/1.1\r\nhOST:x\r\n\r\n"},
    {"GET /? x []", "\r\nGET /? HTTP/1.1\r\nHost:\t x \t\r\nA:\r\nB: c d\t\r\n\r\n"},
    {"GET /p?- y:1 []", "GET http://y:1/p HTTP/1.1\r\n" H "\r\n"},
    {"GET /?q y []", "GET http://y?q HTTP/1.1\r\n" H "\r\n"},
    {"GET /?-  []", "GET / HTTP/1.1\r\nHost:\r\n\r\n"},
    {"DELETE /?- [::1]:80 []", "DELETE / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"},
    {"POST /?- x []", POST "Content-Length: 0\r\n\r\n"},
    {"POST /?- x [hello]", POST "Content-Length: 5\r\n\r\nhello"},
    {"POST /?- x [hello]", POST "Content-Length: 005\r\n\r\nhello"},
    {"POST /?- x []", CHUNKED "0\r\n\r\n"},
    {"POST /?- x [hello, world]",
     CHUNKED "5\r\nhello\r\n0007;ext=\"1\";b\r\n, world\r\n0\r\nTrailer: x\r\n\r\n"},
    {"POST /?- x [0123456789abcdef]", CHUNKED "A \t;x\r\n0123456789\r\n6\r\nabcdef\r\n000\r\n\r\n"},
    {"POST /?- x [hello]{A=b c}{x-y=}{B=d}",
     CHUNKED "5\r\nhello\r\n0\r\nA:b c\t\r\nCookie: x\r\nx-y: \r\nTE: x\r\nB:\t d\r\n\r\n"},
    {"POST /?- x []{a=}{a=}{a=}{a=}{a=}{a=}{a=}{a=}{a=}{a=}{a=}{a=}{a=}{a=}{a=}{a=}{a=}{a=}",
     CHUNKED "0\r\n" SIX SIX SIX "\r\n"},
    {"ignored", "POST /ignore HTTP/1.1\r\n" H
                "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nA: b\r\nC: d\r\n\r\n"},
    {"ignored", "POST /ignore HTTP/1.1\r\n" H "Content-Length: 30\r\n\r\n" TEN TEN TEN},
    {"ignored", "POST /ignore HTTP/1.1\r\n" H
                "Transfer-Encoding: Chunked\r\n\r\n1\r\na\r\n2\r\nbb\r\n0\r\n\r\n"},
    {"GET /?- x []", "GET / HTTP/1.1\r\n" H "Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n"},
};

/* All good requests in a row, and what is answered. */
static char series[8192], expected[sizeof(m.out)];
static size_t series_bytes;

static void make_series(void)
{
    series_bytes = 0;
    for (size_t i = 0; i < COUNT(good); i++) {
        size_t bytes = strlen(good[i].text);

        memcpy(series + series_bytes, good[i].text, bytes);
        series_bytes += bytes;
    }
}

static int serve_good(void *arg)
{
    const char *at;

    (void)arg;
    make_server();
    for (size_t i = 0; i < COUNT(good); i++) {
        memory_serve(server, &m, good[i].text, strlen(good[i].text));
        at = strstr(m.out, "\r\n\r\n");
        if (!at || strcmp(at + 4, good[i].body) != 0)
            fprintf(stderr, "to: %s\ngot: %s\n", good[i].text, m.out);
        T_CHECK(at && strcmp(at + 4, good[i].body) == 0);
        T_CHECK(!strstr(m.out, "Connection:"));
    }
    make_series();
    memory_serve(server, &m, series, series_bytes);
    at = m.out;
    for (size_t i = 0; i < COUNT(good); i++) {
        at = strstr(at, "\r\n\r\n");
        T_CHECK(at && strncmp(at + 4, good[i].body, strlen(good[i].body)) == 0);
        at += 4;
    }
    T_IS(memory_answers(&m), COUNT(good));
    memory_without_dates(&m);
    memcpy(expected, m.out, sizeof(expected));
    for (size_t cut = 1; cut < series_bytes; cut++) {
        m.cut = cut;
        memory_serve(server, &m, series, series_bytes);
        memory_without_dates(&m);
        T_CHECK(strcmp(m.out, expected) == 0);
    }
    m.cut = 0;
    for (m.piece = 1; m.piece < 8; m.piece++) {
        memory_serve(server, &m, series, series_bytes);
        memory_without_dates(&m);
        T_CHECK(strcmp(m.out, expected) == 0);
    }
    m.piece = 0;
    filch_http_server_free(server);
    return 0;
}

Test(http_request, good_ones_are_the_same_in_any_pieces)
{
    T_OK(run_in_runtime(0, serve_good, NULL));
}

/* ---- what keeps a connection ---- */

static const struct {
    const char *text;
    unsigned answers; /* to it twice in a row */
    const char *field;
} kept[] = {
    {GET, 2, NULL},
    {"GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n", 1, "Connection: close"},
    {"GET / HTTP/1.1\r\n" H "Connection: foo, CLOSE\r\n\r\n", 1, "Connection: close"},
    {"GET / HTTP/1.1\r\n" H "Connection: keep-alive\r\nConnection: close\r\n\r\n", 1,
     "Connection: close"},
    {"GET / HTTP/1.1\r\n" H "Connection: closed\r\n\r\n", 2, NULL},
    {"GET / HTTP/1.0\r\n\r\n", 1, "Connection: close"},
    {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 2, "Connection: keep-alive"},
    {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", 1, "Connection: close"},
    /* A peer that does not wait for the word after all. */
    {"POST / HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", 2, NULL},
    {"POST / HTTP/1.1\r\n" H "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     2, NULL},
    /* The peer waits for a word that does not come: its body may come or not. */
    {"POST /ignore HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", 1,
     "Connection: close"},
    {"POST /ignore HTTP/1.0\r\nExpect: 100-continue\r\nConnection: keep-alive\r\nContent-Length: "
     "3\r\n\r\nabc",
     2, "Connection: keep-alive"},
};

static int keep_connections(void *arg)
{
    (void)arg;
    make_server();
    for (size_t i = 0; i < COUNT(kept); i++) {
        size_t bytes = strlen(kept[i].text);

        memcpy(series, kept[i].text, bytes);
        memcpy(series + bytes, kept[i].text, bytes);
        memory_serve(server, &m, series, 2 * bytes);
        if (memory_answers(&m) != kept[i].answers)
            fprintf(stderr, "to: %s\ngot: %s\n", kept[i].text, m.out);
        T_IS(memory_answers(&m), kept[i].answers);
        if (kept[i].field)
            T_CHECK(strstr(m.out, kept[i].field));
        else
            T_CHECK(!strstr(m.out, "Connection:"));
    }
    filch_http_server_free(server);
    return 0;
}

Test(http_request, connections_are_kept_as_the_request_says)
{
    T_OK(run_in_runtime(0, keep_connections, NULL));
}

static int wait_for_continue(void *arg)
{
    static const char text[] = POST "Expect: 100-Continue\r\nContent-Length: 3\r\n\r\nabc";

    (void)arg;
    make_server();
    m.cut = sizeof(text) - 1 - 3; /* the body comes when it was asked for */
    memory_serve(server, &m, text, sizeof(text) - 1);
    T_CHECK(strncmp(m.out, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", 42) == 0);
    T_CHECK(strstr(m.out, "[abc]"));
    m.cut = 0;
    filch_http_server_free(server);
    return 0;
}

Test(http_request, a_peer_that_waits_is_told_to_continue)
{
    T_OK(run_in_runtime(0, wait_for_continue, NULL));
}

/* ---- the parts by themselves ---- */

Test(http_request, dates_are_written_and_read)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } dates[] = {
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"},
        {951782399, "Mon, 28 Feb 2000 23:59:59 GMT"},
        {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
        {1709164800, "Thu, 29 Feb 2024 00:00:00 GMT"},
        {4107542399, "Sun, 28 Feb 2100 23:59:59 GMT"},
        {4107542400, "Mon, 01 Mar 2100 00:00:00 GMT"},
        {253402300799, "Fri, 31 Dec 9999 23:59:59 GMT"},
    };
    static const char *const wrong[] = {
        "",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Mon, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:60 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Wed, 31 Feb 2024 00:00:00 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Thu, 01 Jan 1970 -1:00:00 GMT",
    };

    for (size_t i = 0; i < COUNT(dates); i++) {
        char text[HTTP_DATE_BYTES + 1] = "";

        http_date_write(dates[i].seconds, text);
        T_CHECK(strcmp(text, dates[i].text) == 0);
        T_IS(http_date_read(text), dates[i].seconds);
    }
    for (int64_t s = 0; s < 253402300799; s += 86400 * 31 + 12345) {
        char text[HTTP_DATE_BYTES + 1] = "";

        http_date_write(s, text);
        T_IS(http_date_read(text), s);
    }
    for (size_t i = 0; i < COUNT(wrong); i++)
        T_IS(http_date_read(wrong[i]), -1);
}

Test(http_request, lists_of_tokens)
{
    T_CHECK(http_list_has("close", "close"));
    T_CHECK(http_list_has(" a,\tCLOSE ,b", "close"));
    T_CHECK(!http_list_has("", "close"));
    T_CHECK(!http_list_has("closed, not-close", "close"));
    T_CHECK(!http_is_token("", 0));
    T_CHECK(http_is_token("a-Z09!#$%&'*+.^_`|~", 19));
    T_CHECK(!http_is_token("a b", 3));
    T_CHECK(!http_is_value("a\r", 2));
    T_CHECK(http_is_value("a\t\xff", 3));
}
