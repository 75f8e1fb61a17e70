/* Description: the HTTP server under peers that send a byte now and then ("slow loris"), many at
 * once: each is told so and loses its connection at its limit, others are served all the time, and
 * what each of a thousand costs in memory has a bound. */
#include <malloc.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include <criterion/criterion.h>

#include <filch/http_server.h>

#include "tests/runner/http_site.h"
#include "tests/runner/process.h"
#include "tests/runner/tcp_pair.h"

TestSuite(http_slow, .timeout = 120);

/* Long enough for a peer that is not slow. */
#define HEAD_NS ((RUNNING_ON_VALGRIND ? 20 : 1) * FILCH_SECOND)
/* The server looks at a clock that may be some milliseconds behind. */
#define HEAD_NS_LEAST (HEAD_NS - HEAD_NS / 10)
#define SLOW_HEAD "GET / HTTP/1.1\r\nHost: x\r\nA: "

enum { SLOW = 40, GOOD = 4 };

struct site {
    struct http_site http;
    atomic_int gone; /* slow peers that were sent away */
    atomic_int answered;
};

static int hello(filch_exchange *x, void *context)
{
    (void)context;
    return filch_exchange_reply(x, 200, NULL, "hello", 5, FILCH_NEVER);
}

static void site_open(struct site *site, const filch_http_server_opts *opts)
{
    memset(site, 0, sizeof(*site));
    http_site_new(&site->http, opts);
    T_OK(filch_http_route(site->http.server, "GET", "/", hello, NULL));
    http_site_open(&site->http);
}

static void site_close(struct site *site)
{
    http_site_close(&site->http);
}

/* One request, byte by byte, which takes longer than it may. */
static int be_slow(void *arg)
{
    struct site *site = arg;
    filch_time begun = filch_now(), end = T_LIMIT;
    char text[512] = "";
    size_t sent = 0;
    filch_tcp *conn;
    ssize_t n = -ETIMEDOUT;

    T_OK(filch_tcp_connect(site->http.addr, &conn, T_LIMIT));
    while (n == -ETIMEDOUT) {
        const char *next = sent < sizeof(SLOW_HEAD) - 1 ? &SLOW_HEAD[sent] : "a";

        T_CHECK(filch_now() < end && "the peer is sent away");
        T_IS(filch_tcp_write(conn, next, 1, T_LIMIT), 1);
        sent++;
        n = filch_tcp_read(conn, text, sizeof(text) - 1, filch_after(10 * FILCH_MILLISECOND));
    }
    T_CHECK(n > 0);
    T_OK(strncmp(text, "HTTP/1.1 408 Request Timeout\r\n", 30));
    T_CHECK(strstr(text, "\r\nConnection: close\r\n"));
    T_CHECK(filch_now() >= begun + HEAD_NS_LEAST);
    n = filch_tcp_read(conn, text, sizeof(text), T_LIMIT);
    T_CHECK(n == 0 || n == -ECONNRESET);
    atomic_fetch_add(&site->gone, 1);
    return filch_tcp_close(conn);
}

/* Asks once. Return: the status of the answer; 0: the connection has ended without one. */
static int ask(filch_tcp *conn)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    char text[512];
    size_t bytes = 0;
    int r, status;

    r = filch_tcp_write_all(conn, request, sizeof(request) - 1, NULL, T_LIMIT);
    T_CHECK(r == 0 || r == -EPIPE || r == -ECONNRESET);
    while (r == 0 && (bytes < 9 || memcmp(text + bytes - 9, "\r\n\r\nhello", 9) != 0)) {
        ssize_t n = filch_tcp_read(conn, text + bytes, sizeof(text) - 1 - bytes, T_LIMIT);

        T_CHECK(n >= 0 || n == -ECONNRESET);
        if (n <= 0)
            break;
        bytes += (size_t)n;
    }
    text[bytes] = '\0';
    return sscanf(text, "HTTP/1.1 %d ", &status) == 1 ? status : 0;
}

/* On new connections, of which each is used several times. Whoever was too slow itself, on a
 * machine that has no time for it, may be told so. */
static int be_good(void *arg)
{
    struct site *site = arg;

    for (int round = 0; round == 0 || atomic_load(&site->gone) < SLOW; round++) {
        filch_time begun = filch_now();
        filch_tcp *conn;

        T_OK(filch_tcp_connect(site->http.addr, &conn, T_LIMIT));
        for (int i = 0; i < 5; i++) {
            int status = ask(conn);

            if (status != 200) {
                T_CHECK(status == 0 || status == 408);
                T_CHECK(filch_now() - begun > HEAD_NS / 2);
                break;
            }
            atomic_fetch_add(&site->answered, 1);
            T_OK(filch_sleep(filch_after(FILCH_MILLISECOND)));
        }
        T_OK(filch_tcp_close(conn));
    }
    return 0;
}

static int beside_body(void *arg)
{
    const filch_http_server_opts opts = {.head_ns = HEAD_NS};
    filch_task *slow[SLOW], *good[GOOD];
    unsigned files = process_files();
    struct site site;

    (void)arg;
    site_open(&site, &opts);
    for (int i = 0; i < SLOW; i++)
        slow[i] = spawn(be_slow, &site);
    for (int i = 0; i < GOOD; i++)
        good[i] = spawn(be_good, &site);
    for (int i = 0; i < SLOW; i++)
        T_OK(join(slow[i]));
    for (int i = 0; i < GOOD; i++)
        T_OK(join(good[i]));
    T_CHECK(atomic_load(&site.answered) >= GOOD * 5);
    T_CHECK(http_site_stats(&site.http).timeouts >= SLOW);
    site_close(&site);
    T_IS(process_files(), files);
    return 0;
}

Test(http_slow, others_are_served_beside_many_slow_peers)
{
    T_OK(run_in_runtime(0, beside_body, NULL));
}

static int full_body(void *arg)
{
    const filch_http_server_opts opts = {.head_ns = HEAD_NS, .connections_max = SLOW};
    filch_time begun = filch_now(), end = T_LIMIT;
    filch_task *slow[SLOW];
    struct site site;
    int status = 503;

    (void)arg;
    site_open(&site, &opts);
    for (int i = 0; i < SLOW; i++)
        slow[i] = spawn(be_slow, &site);
    T_WAIT_UNTIL(http_site_stats(&site.http).connections == SLOW);
    /* They have taken all places: others are refused, until their time is over. */
    while (status != 200) {
        filch_tcp *conn;

        T_CHECK(filch_now() < end && "service resumes");
        T_OK(filch_tcp_connect(site.http.addr, &conn, T_LIMIT));
        status = ask(conn);
        T_CHECK(status == 200 || status == 503 || status == 0);
        T_CHECK(status != 200 || filch_now() >= begun + HEAD_NS_LEAST);
        T_OK(filch_tcp_close(conn));
        T_OK(filch_sleep(filch_after(5 * FILCH_MILLISECOND)));
    }
    T_CHECK(http_site_stats(&site.http).timeouts >= 1);
    for (int i = 0; i < SLOW; i++)
        T_OK(join(slow[i]));
    site_close(&site);
    return 0;
}

Test(http_slow, a_server_full_of_slow_peers_is_free_after_their_time)
{
    T_OK(run_in_runtime(0, full_body, NULL));
}

/* ---- very many ---- */

enum { THRONG = 1000, ASKED = 200 };

/* It is 17: what is touched of a stack, and a buffer that grows only for a head that is long. */
#define THRONG_KB_EACH 32

/* All of them a byte further in their heads. */
static void throng_send(const int *fds, const char *byte)
{
    for (int i = 0; i < THRONG; i++)
        T_IS(send(fds[i], byte, 1, MSG_NOSIGNAL), 1);
}

static int throng_body(void *arg)
{
    /* Nobody's time is up before the end. */
    const filch_http_server_opts opts = {.head_ns = 1000 * FILCH_SECOND,
                                         .connections_max = THRONG + 1};
    static int fds[THRONG];
    size_t before;
    struct site site;
    filch_tcp *good;

    (void)arg;
    site_open(&site, &opts);
    T_OK(filch_tcp_connect(site.http.addr, &good, T_LIMIT));
    T_IS(ask(good), 200); /* what the first request costs is not theirs */
    before = memory_kb("VmRSS");
    for (int i = 0; i < THRONG; i++) {
        fds[i] = raw_socket();
        raw_connect(fds[i], site.http.addr);
        for (const char *at = SLOW_HEAD; *at; at++)
            T_IS(send(fds[i], at, 1, MSG_NOSIGNAL), 1);
    }
    T_WAIT_UNTIL(http_site_stats(&site.http).connections == THRONG + 1);
    for (int i = 0; i < ASKED; i++) {
        if (i % (ASKED / 5) == 0)
            throng_send(fds, "a");
        T_IS(ask(good), 200);
    }
    T_OK(filch_tcp_close(good));
#ifndef T_SANITIZED
    T_CHECK(RUNNING_ON_VALGRIND || memory_kb("VmRSS") - before < (size_t)THRONG * THRONG_KB_EACH);
#else
    (void)before;
#endif
    T_OK(http_site_stats(&site.http).timeouts);
    for (int i = 0; i < THRONG; i++)
        T_OK(close(fds[i]));
    site_close(&site);
    return 0;
}

Test(http_slow, a_thousand_slow_peers_cost_little_each)
{
    struct rlimit limit;

    T_OK(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = 2 * THRONG + 200;
    if (limit.rlim_max < limit.rlim_cur)
        cr_skip_test("there are not enough descriptors");
    T_OK(setrlimit(RLIMIT_NOFILE, &limit));
    mallopt(M_PERTURB, 0); /* meson has all memory filled: what is not used is to stay untouched */
    T_OK(run_in_runtime(0, throng_body, NULL));
}
