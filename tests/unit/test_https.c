/* Description: the HTTP server over TLS: curl, h2load and `openssl s_client` as peers, handshakes
 * that never come to an end, certificates that are changed while connections go on, the two kinds
 * of ends. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

#include <criterion/criterion.h>

#include <filch/http_tls.h>

#include "tests/runner/http_site.h"
#include "tests/runner/programs.h"
#include "tests/runner/temp_dir.h"
#include "tests/runner/tls_pair.h"

TestSuite(https, .timeout = 120);

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})
#define GET(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\n\r\n"

struct site {
    struct http_site http;
    struct identity identity;
    filch_tls_context *context, *client;
    filch_http_wrap wrap;
    char cert[128];
    struct temp_dir dir;
};

static int hello(filch_exchange *x, void *context)
{
    filch_tls_info info;

    (void)context;
    T_OK(filch_tls_get_info(filch_exchange_wrapped(x), &info));
    T_CHECK(filch_exchange_conn(x));
    T_OK(filch_exchange_set(x, "X-Version", info.version));
    return filch_exchange_reply(x, 200, "text/plain", "hello", 5, FILCH_NEVER);
}

/* Ends before its answer does. */
static int cut(filch_exchange *x, void *context)
{
    (void)context;
    T_OK(filch_exchange_begin(x, 200, NULL, 1000, FILCH_NEVER));
    T_OK(filch_exchange_write_all(x, "begun", 5, NULL, FILCH_NEVER));
    T_OK(filch_exchange_flush(x, FILCH_NEVER));
    return -EIO;
}

static int turn(filch_exchange *x, void *context)
{
    void *data;
    size_t bytes;
    int r = filch_exchange_read_all(x, 0, &data, &bytes, FILCH_NEVER);

    (void)context;
    if (r < 0)
        return r;
    r = filch_exchange_reply(x, 200, NULL, data, bytes, FILCH_NEVER);
    free(data);
    return r;
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    T_CHECK(file && fputs(text, file) >= 0);
    T_OK(fclose(file));
}

static void site_open(struct site *site, const filch_http_server_opts *http, filch_tls_opts tls)
{
    filch_http_server_opts opts = http ? *http : (filch_http_server_opts){0};

    memset(site, 0, sizeof(*site));
    temp_dir_make(&site->dir);
    snprintf(site->cert, sizeof(site->cert), "%s/cert.pem", site->dir.path);
    make_identity(&site->identity, "DNS:localhost", 0, 3600);
    write_text(site->cert, site->identity.cert);
    tls.cert.text = site->identity.cert;
    tls.key.text = site->identity.key;
    site->context = new_context(true, &tls);
    site->client = new_context(false, &(filch_tls_opts){.ca = {.text = site->identity.cert}});
    site->wrap = filch_http_over_tls(site->context);
    opts.wrap = &site->wrap;
    http_site_new(&site->http, &opts);
    T_OK(filch_http_route(site->http.server, "GET", "/", hello, NULL));
    T_OK(filch_http_route(site->http.server, "GET", "/cut", cut, NULL));
    T_OK(filch_http_route(site->http.server, "POST", "/", turn, NULL));
    http_site_open(&site->http);
}

static void site_close(struct site *site)
{
    http_site_close(&site->http);
    filch_tls_context_unref(site->context);
    filch_tls_context_unref(site->client);
    temp_dir_remove(&site->dir);
}

/* ---- our client, for what theirs do not tell ---- */

struct visit {
    filch_tcp *conn;
    filch_tls *tls;
};

static int visit_begin(struct visit *visit, const struct site *site)
{
    int r;

    T_OK(filch_tcp_connect(site->http.addr, &visit->conn, T_LIMIT));
    r = filch_tls_connect(site->client, filch_tcp_io(visit->conn), "localhost", &visit->tls, NULL,
                          T_LIMIT);
    if (r < 0)
        T_OK(filch_tcp_close(visit->conn));
    return r;
}

static void visit_end(struct visit *visit)
{
    filch_tls_free(visit->tls);
    T_OK(filch_tcp_close(visit->conn));
}

static void visit_ask(struct visit *visit)
{
    char text[512];
    size_t bytes = 0;

    T_OK(filch_tls_write_all(visit->tls, GET("/"), sizeof(GET("/")) - 1, NULL, T_LIMIT));
    while (bytes < 9 || memcmp(text + bytes - 9, "\r\n\r\nhello", 9) != 0)
        T_OK(filch_tls_read_exact(visit->tls, text + bytes++, 1, NULL, T_LIMIT));
    T_CHECK(strncmp(text, "HTTP/1.1 200 OK\r\n", 17) == 0);
}

/* Return: what the last read says: 0: a proper end. */
static ssize_t visit_read_to_end(struct visit *visit)
{
    char text[512];
    ssize_t n;

    do
        n = filch_tls_read(visit->tls, text, sizeof(text), T_LIMIT);
    while (n > 0);
    return n;
}

/* ---- programs as peers ---- */

static void program(const char *const *argv, const char *input, filch_process_output *ret_output)
{
    T_OK(filch_process_run(
        argv, &(filch_process_run_opts){.input = input, .input_bytes = input ? strlen(input) : 0},
        ret_output, T_LIMIT));
}

static void forget(filch_process_output *output)
{
    free(output->out);
    free(output->err);
}

static void ask_curl(const struct site *site)
{
    filch_process_output output;
    char url[64], resolve[64];
    const char *port = strrchr(site->http.addr, ':') + 1;

    snprintf(url, sizeof(url), "https://localhost:%s/", port);
    snprintf(resolve, sizeof(resolve), "localhost:%s:127.0.0.1", port);
    program(ARGV("curl", "-sS", "--noproxy", "*", "--cacert", site->cert, "--resolve", resolve,
                 "--write-out", "|%{http_code} %{http_version} %{num_connects}|", url, url),
            NULL, &output);
    T_IS(output.status.code, 0);
    T_CHECK(strcmp(output.out, "hello|200 1.1 1|hello|200 1.1 0|") == 0);
    forget(&output);
    program(ARGV("curl", "-sS", "--noproxy", "*", "--cacert", site->cert, "--resolve", resolve,
                 "--data-binary", "@-", url),
            "turn this", &output);
    T_CHECK(output.status.code == 0 && strcmp(output.out, "turn this") == 0);
    forget(&output);
}

/* It says "closed" when it was told the end, and an error when it was cut off. */
static void ask_s_client(const struct site *site, const char *version, const char *reports)
{
    filch_process_output output;
    char want[64];

    snprintf(want, sizeof(want), "X-Version: %s\r\n", reports);
    program(ARGV("openssl", "s_client", version, "-connect", site->http.addr, "-CAfile", site->cert,
                 "-verify_return_error", "-verify_hostname", "localhost", "-alpn", "h2,http/1.1",
                 "-ign_eof"),
            "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", &output);
    T_IS(output.status.code, 0);
    T_CHECK(strstr(output.out, "ALPN protocol: http/1.1\n"));
    T_CHECK(strstr(output.out, want) && strstr(output.out, "\r\n\r\nhello"));
    T_CHECK(strstr(output.out, "\nclosed\n") || strstr(output.out, "helloclosed\n"));
    forget(&output);
}

/* By HTTP/2, all on one connection. */
static void ask_by_http2(const struct site *site)
{
    filch_process_output output;
    char url[64], resolve[64];
    const char *port = strrchr(site->http.addr, ':') + 1;

    snprintf(url, sizeof(url), "https://localhost:%s/", port);
    snprintf(resolve, sizeof(resolve), "localhost:%s:127.0.0.1", port);
    program(ARGV("curl", "-sS", "--noproxy", "*", "--http2", "--cacert", site->cert, "--resolve",
                 resolve, "--write-out", "|%{http_code} %{http_version} %{num_connects}|", url, url,
                 url),
            NULL, &output);
    T_IS(output.status.code, 0);
    T_CHECK(strcmp(output.out, "hello|200 2 1|hello|200 2 0|hello|200 2 0|") == 0);
    forget(&output);
}

static const char *const protocols[] = {"h2", "http/1.1", NULL};

static int be_asked_by_http2(void *arg)
{
    struct site site;
    struct visit visit;

    (void)arg;
    site_open(&site, NULL, (filch_tls_opts){.alpn = protocols});
    ask_by_http2(&site);
    T_OK(visit_begin(&visit, &site)); /* who does not ask for it speaks HTTP/1 */
    visit_ask(&visit);
    visit_end(&visit);
    site_close(&site);
    site_open(&site, &(filch_http_server_opts){.no_http2 = true},
              (filch_tls_opts){.alpn = protocols + 1});
    ask_curl(&site);
    site_close(&site);
    return 0;
}

Test(https, http2_is_spoken_with_who_knows_it, .init = test_starts_programs)
{
    T_OK(run_in_runtime(0, be_asked_by_http2, NULL));
}

static int be_loaded_by_http2(void *arg)
{
    struct site site;
    filch_process_output output;
    char url[FILCH_ADDR_BYTES + 16];

    (void)arg;
    site_open(&site, NULL, (filch_tls_opts){.alpn = protocols});
    snprintf(url, sizeof(url), "https://%s/", site.http.addr);
    program(ARGV("h2load", "-n", "2000", "-c", "2", "-m", "100", url), NULL, &output);
    T_CHECK(strstr(output.out, "Application protocol: h2\n"));
    T_CHECK(strstr(output.out, "2000 succeeded, 0 failed, 0 errored"));
    forget(&output);
    site_close(&site);
    return 0;
}

Test(https, a_hundred_streams_at_a_time_over_tls, .init = test_starts_programs)
{
    T_NEEDS_PROGRAM("h2load");
    T_OK(run_in_runtime(0, be_loaded_by_http2, NULL));
}

static int be_asked(void *arg)
{
    struct site site;

    (void)arg;
    site_open(&site, NULL, (filch_tls_opts){.alpn = (const char *const[]){"http/1.1", NULL}});
    ask_curl(&site);
    ask_s_client(&site, "-tls1_3", "TLSv1.3");
    ask_s_client(&site, "-tls1_2", "TLSv1.2");
    T_IS(http_site_stats(&site.http).unwrapped, 0);
    site_close(&site);
    return 0;
}

Test(https, curl_and_s_client_are_served, .init = test_starts_programs)
{
    T_OK(run_in_runtime(0, be_asked, NULL));
}

/* ---- handshakes ---- */

static size_t read_plain_to_end(filch_tcp *conn)
{
    char text[512];
    size_t bytes = 0;
    ssize_t n;

    while ((n = filch_tcp_read(conn, text, sizeof(text), T_LIMIT)) > 0)
        bytes += (size_t)n;
    T_CHECK(n == 0 || n == -ECONNRESET);
    return bytes;
}

static int shake_badly(void *arg)
{
    const filch_http_server_opts opts = {.head_ns = (RUNNING_ON_VALGRIND ? 2000 : 100) *
                                                    FILCH_MILLISECOND};
    struct site site;
    filch_tcp *conn;

    (void)arg;
    site_open(&site, &opts, (filch_tls_opts){0});
    T_OK(filch_tcp_connect(site.http.addr, &conn, T_LIMIT)); /* says nothing */
    T_IS(read_plain_to_end(conn), 0);
    T_OK(filch_tcp_close(conn));
    T_IS(http_site_stats(&site.http).timeouts, 1);
    T_OK(filch_tcp_connect(site.http.addr, &conn, T_LIMIT)); /* begins a record, and stops */
    T_OK(filch_tcp_write_all(conn, "\x16\x03\x01\x02\x00\x01", 6, NULL, T_LIMIT));
    T_IS(read_plain_to_end(conn), 0);
    T_OK(filch_tcp_close(conn));
    T_IS(http_site_stats(&site.http).timeouts, 2);
    T_OK(filch_tcp_connect(site.http.addr, &conn, T_LIMIT)); /* speaks something else */
    T_OK(filch_tcp_write_all(conn, GET("/"), sizeof(GET("/")) - 1, NULL, T_LIMIT));
    T_CHECK(read_plain_to_end(conn) <= 7); /* an alert */
    T_OK(filch_tcp_close(conn));
    T_WAIT_UNTIL(http_site_stats(&site.http).unwrapped == 3);
    T_IS(http_site_stats(&site.http).timeouts, 2);
    T_IS(http_site_stats(&site.http).requests, 0);
    site_close(&site);
    return 0;
}

Test(https, a_handshake_that_does_not_end_holds_nothing)
{
    T_OK(run_in_runtime(0, shake_badly, NULL));
}

static int visit_once(void *arg)
{
    struct visit visit;

    T_OK(visit_begin(&visit, arg));
    visit_ask(&visit);
    T_OK(filch_tls_finish(visit.tls, T_LIMIT));
    T_IS(visit_read_to_end(&visit), 0);
    visit_end(&visit);
    return 0;
}

#define VISITORS 20

static int shake_elsewhere(void *arg)
{
    struct site site;
    filch_blocking_class *handshakes;
    filch_task *tasks[VISITORS];

    (void)arg;
    T_OK(filch_blocking_class_new(
        filch_runtime_self(), &(filch_blocking_class_opts){.name = "handshakes", .threads_max = 2},
        &handshakes));
    site_open(&site, NULL, (filch_tls_opts){.handshake_class = handshakes});
    for (int i = 0; i < VISITORS; i++)
        tasks[i] = spawn(visit_once, &site);
    for (int i = 0; i < VISITORS; i++)
        T_OK(join(tasks[i]));
    T_IS(http_site_stats(&site.http).requests, VISITORS);
    site_close(&site);
    return 0;
}

Test(https, handshakes_in_a_class_of_their_own)
{
    T_OK(run_in_runtime(0, shake_elsewhere, NULL));
}

/* ---- certificates ---- */

static int change_certificate(void *arg)
{
    struct site site;
    struct visit old, new;
    filch_tls_context *client;
    filch_tls_peer before, after;

    (void)arg;
    site_open(&site, NULL, (filch_tls_opts){0});
    T_OK(visit_begin(&old, &site));
    visit_ask(&old);
    T_OK(filch_tls_get_peer(old.tls, &before));
    make_identity(&site.identity, "DNS:localhost", 0, 3600);
    T_OK(filch_tls_context_reload(
        site.context,
        &(filch_tls_opts){.cert = {.text = site.identity.cert}, .key = {.text = site.identity.key}},
        NULL));
    visit_ask(&old); /* goes on */
    T_IS(visit_begin(&new, &site), -EKEYREJECTED);
    client = site.client;
    site.client = new_context(false, &(filch_tls_opts){.ca = {.text = site.identity.cert}});
    T_OK(visit_begin(&new, &site));
    visit_ask(&new);
    T_OK(filch_tls_get_peer(new.tls, &after));
    T_CHECK(memcmp(before.fingerprint, after.fingerprint, 32) != 0);
    visit_ask(&old);
    visit_end(&new);
    visit_end(&old);
    filch_tls_context_unref(client);
    site_close(&site);
    return 0;
}

Test(https, a_new_certificate_drops_no_connection)
{
    T_OK(run_in_runtime(0, change_certificate, NULL));
}

/* ---- ends ---- */

static int end_in_all_ways(void *arg)
{
    const filch_http_server_opts opts = {.idle_ns = 50 * FILCH_MILLISECOND};
    struct site site;
    struct visit visit;

    (void)arg;
    site_open(&site, &opts, (filch_tls_opts){0});
    T_OK(visit_begin(&visit, &site)); /* nothing more is asked */
    visit_ask(&visit);
    T_IS(visit_read_to_end(&visit), 0);
    visit_end(&visit);
    T_OK(visit_begin(&visit, &site)); /* the answer is not whole, and does not look so */
    T_OK(filch_tls_write_all(visit.tls, GET("/cut"), sizeof(GET("/cut")) - 1, NULL, T_LIMIT));
    T_IS(visit_read_to_end(&visit), -ECONNRESET);
    visit_end(&visit);
    site_close(&site);

    site_open(&site, NULL, (filch_tls_opts){0});
    T_OK(visit_begin(&visit, &site)); /* idle while the server drains */
    visit_ask(&visit);
    T_OK(filch_http_drain(site.http.server, T_LIMIT));
    T_IS(visit_read_to_end(&visit), 0);
    visit_end(&visit);
    site_close(&site);
    return 0;
}

Test(https, proper_ends_are_told_and_cuts_are_not)
{
    T_OK(run_in_runtime(0, end_in_all_ways, NULL));
}
