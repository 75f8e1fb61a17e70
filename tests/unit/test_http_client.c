/* Description: the HTTP client against our server: answers whole and bit by bit, uploads, limits of
 * buffers, redirects, cookies, failures and where they say they were, giving up at any time. */
#include <errno.h>
#include <stdatomic.h>

#include <criterion/criterion.h>

#include <filch/http_client.h>
#include <filch/http_server.h>

#include "tests/runner/http_site.h"
#include "tests/runner/process.h"
#include "tests/runner/tcp_pair.h"

TestSuite(http_client, .timeout = 120);

struct site {
    struct http_site http;
    filch_http_client *client;
};

static atomic_long poured; /* bytes that a handler got rid of */
static atomic_bool pouring;
static atomic_int tries;

static char letter(size_t at)
{
    return (char)('a' + at % 26);
}

/* @context: how many bytes. */
static int give(filch_exchange *x, void *context)
{
    size_t bytes = *(size_t *)context, done = 0;
    int r = filch_exchange_begin(x, 200, "text/plain", -1, FILCH_NEVER);

    while (r == 0 && done < bytes) {
        char block[1000];
        size_t n = bytes - done < sizeof(block) ? bytes - done : sizeof(block);

        for (size_t i = 0; i < n; i++)
            block[i] = letter(done + i);
        r = filch_exchange_write_all(x, block, n, NULL, FILCH_NEVER);
        done += n;
        atomic_fetch_add(&poured, (long)n);
    }
    atomic_store(&pouring, false);
    return r;
}

static int echo(filch_exchange *x, void *context)
{
    void *data;
    size_t bytes;
    char text[64];
    int r = filch_exchange_read_all(x, 0, &data, &bytes, FILCH_NEVER);

    (void)context;
    if (r < 0)
        return r;
    snprintf(text, sizeof(text), "%s", filch_exchange_method(x));
    if (filch_exchange_set(x, "X-Method", text) < 0 ||
        filch_exchange_set(x, "X-Type", filch_exchange_header(x, "Content-Type") ?: "none") < 0 ||
        filch_exchange_set(x, "X-Field", filch_exchange_header(x, "X-Field") ?: "none") < 0)
        r = -EIO;
    if (r == 0)
        r = filch_exchange_reply(x, 200, NULL, data, bytes, FILCH_NEVER);
    free(data);
    return r;
}

static int redirect(filch_exchange *x, void *context)
{
    if (filch_exchange_set(x, "Location", context) < 0)
        return 500;
    return filch_exchange_reply(x, atoi(filch_exchange_param(x, "status")), NULL, "moved", 5,
                                FILCH_NEVER);
}

static int cookie(filch_exchange *x, void *context)
{
    const char *got = filch_exchange_header(x, "Cookie") ?: "none";

    (void)context;
    if (filch_exchange_set(x, "Set-Cookie", "a=b") < 0)
        return 500;
    return filch_exchange_reply(x, 200, NULL, got, strlen(got), FILCH_NEVER);
}

/* Cuts the first connections off. */
static int cut(filch_exchange *x, void *context)
{
    (void)context;
    if (atomic_fetch_add(&tries, 1) < 2) {
        if (filch_tcp_set(filch_exchange_conn(x), FILCH_TCP_LINGER, 0) < 0 ||
            filch_exchange_begin(x, 200, NULL, 5, FILCH_NEVER) < 0)
            return 500;
        return -EIO;
    }
    return filch_exchange_reply(x, 200, NULL, "there", 5, FILCH_NEVER);
}

/* Begins and does not end. */
static int half(filch_exchange *x, void *context)
{
    (void)context;
    if (filch_exchange_begin(x, 200, NULL, 100, FILCH_NEVER) < 0 ||
        filch_exchange_write_all(x, "half", 4, NULL, FILCH_NEVER) < 0 ||
        filch_exchange_flush(x, FILCH_NEVER) < 0)
        return -EIO;
    return -EIO;
}

/* Answers nothing, until the peer goes. */
static int hang(filch_exchange *x, void *context)
{
    (void)context;
    atomic_store(&pouring, true);
    return FILCH_SELECT(FILCH_NEVER, filch_case_readable(filch_exchange_conn(x))) < 0 ? -ECANCELED
                                                                                      : -EIO;
}

static int early(filch_exchange *x, void *context)
{
    (void)context;
    return filch_exchange_reply(x, 403, NULL, "no", 2, FILCH_NEVER);
}

static size_t ten = 10, large = 1 << 20, endless = SIZE_MAX;

static void site_open(struct site *site, const filch_http_client_opts *opts)
{
    const filch_http_server_opts server_opts = {.body_bytes_max = 1 << 24};

    http_site_new(&site->http, &server_opts);
    T_OK(filch_http_route(site->http.server, "GET", "/ten", give, &ten));
    T_OK(filch_http_route(site->http.server, "GET", "/large", give, &large));
    T_OK(filch_http_route(site->http.server, "GET", "/endless", give, &endless));
    T_OK(filch_http_route(site->http.server, NULL, "/echo", echo, NULL));
    T_OK(filch_http_route(site->http.server, NULL, "/to/{status}", redirect, "/echo"));
    T_OK(filch_http_route(site->http.server, NULL, "/loop/{status}", redirect, "/loop/302"));
    T_OK(filch_http_route(site->http.server, NULL, "/file/{status}", redirect,
                          "file:///etc/passwd"));
    T_OK(filch_http_route(site->http.server, "GET", "/cookie", cookie, NULL));
    T_OK(filch_http_route(site->http.server, NULL, "/cut", cut, NULL));
    T_OK(filch_http_route(site->http.server, NULL, "/half", half, NULL));
    T_OK(filch_http_route(site->http.server, NULL, "/hang", hang, NULL));
    T_OK(filch_http_route(site->http.server, NULL, "/early", early, NULL));
    http_site_open(&site->http);
    T_OK(filch_http_client_new(opts, &site->client));
}

static void site_close(struct site *site)
{
    filch_http_client_close(site->client);
    T_WAIT_UNTIL(http_site_stats(&site->http).open == 0); /* nothing is left of its transfers */
    http_site_close(&site->http);
}

static const char *url_of(const struct site *site, const char *path)
{
    static char url[4][256];
    static unsigned next;
    char *to = url[next++ % 4];

    snprintf(to, sizeof(url[0]), "http://%s%s", site->http.addr, path);
    return to;
}

static filch_http_request *request_to(const struct site *site, const char *method, const char *path)
{
    filch_http_request *request;

    T_OK(filch_http_request_new(site->client, method, url_of(site, path), &request));
    return request;
}

static filch_http_response *get(const struct site *site, const char *path)
{
    filch_http_response *response;
    filch_error error;
    int r = filch_http_get(site->client, url_of(site, path), &response, &error, T_LIMIT);

    if (r < 0)
        fprintf(stderr, "%s\n", error.text);
    T_OK(r);
    return response;
}

/* ---- answers ---- */

static int fetch(void *arg)
{
    struct site site;
    filch_http_response *response;
    const char *name, *value, *body;
    size_t bytes;
    int64_t now, total;

    (void)arg;
    site_open(&site, NULL);
    response = get(&site, "/ten");
    T_IS(filch_http_response_status(response), 200);
    T_IS(filch_http_response_version(response), 11);
    T_CHECK(strcmp(filch_http_response_body(response, &bytes), "abcdefghij") == 0);
    T_IS(bytes, 10);
    T_CHECK(strcmp(filch_http_response_header(response, "content-TYPE"), "text/plain") == 0);
    T_CHECK(!filch_http_response_header(response, "content-typ"));
    T_OK(filch_http_response_header_at(response, 0, &name, &value));
    T_CHECK(strcmp(name, "Date") == 0 && strlen(value) == 29);
    T_IS(filch_http_response_header_at(response, 9, &name, &value), -ENOENT);
    T_CHECK(strcmp(filch_http_response_url(response), url_of(&site, "/ten")) == 0);
    T_OK(filch_http_response_progress(response, &now, &total));
    T_IS(now, 10);
    T_IS(total, -1);
    filch_http_response_free(response);

    response = get(&site, "/large");
    body = filch_http_response_body(response, &bytes);
    T_IS(bytes, large);
    for (size_t i = 0; i < bytes; i++)
        T_IS(body[i], letter(i));
    filch_http_response_free(response);

    response = get(&site, "/none");
    T_IS(filch_http_response_status(response), 404);
    filch_http_response_free(response);
    T_IS(http_site_stats(&site.http).open, 1); /* it was used again */
    site_close(&site);
    return 0;
}

Test(http_client, answers_come_whole)
{
    T_OK(run_in_runtime(0, fetch, NULL));
}

static int stream(void *arg)
{
    struct site site;
    filch_http_response *response;
    filch_http_request *request;
    size_t done = 0;
    char buf[777];
    ssize_t n;

    (void)arg;
    site_open(&site, NULL);
    request = request_to(&site, "GET", "/large");
    T_OK(filch_http_send(request, &response, NULL, T_LIMIT));
    while ((n = filch_http_response_read(response, buf, sizeof(buf), NULL, T_LIMIT)) > 0)
        for (ssize_t i = 0; i < n; i++)
            T_IS(buf[i], letter(done++));
    T_IS(n, 0);
    T_IS(done, large);
    T_IS(filch_http_response_read(response, buf, sizeof(buf), NULL, T_LIMIT), 0);
    filch_http_response_free(response);
    filch_http_request_free(request);

    /* Who does not read holds the server up, not the memory. */
    atomic_store(&poured, 0);
    atomic_store(&pouring, true);
    request = request_to(&site, "GET", "/endless");
    T_OK(filch_http_send(request, &response, NULL, T_LIMIT));
    filch_http_request_free(request);
    for (long before = -1; before != atomic_load(&poured);) {
        before = atomic_load(&poured);
        T_OK(filch_sleep(filch_after(20 * FILCH_MILLISECOND)));
    }
    T_CHECK(atomic_load(&poured) < 64 << 20);
    T_CHECK(atomic_load(&pouring));
    for (int i = 0; i < 2000; i++)
        T_CHECK(filch_http_response_read(response, buf, sizeof(buf), NULL, T_LIMIT) > 0);
    filch_http_response_free(response); /* in the middle: the transfer ends */
    T_WAIT_UNTIL(!atomic_load(&pouring));
    site_close(&site);
    return 0;
}

Test(http_client, answers_come_bit_by_bit_as_they_are_read)
{
    T_OK(run_in_runtime(0, stream, NULL));
}

/* ---- bodies of requests ---- */

struct source {
    size_t at, bytes, piece;
    int error; /* instead of the end */
};

static ssize_t read_source(void *context, void *buf, size_t bytes, filch_time until)
{
    struct source *source = context;
    size_t n = source->bytes - source->at;

    (void)until;
    n = n < source->piece ? n : source->piece;
    n = n < bytes ? n : bytes;
    for (size_t i = 0; i < n; i++)
        ((char *)buf)[i] = letter(source->at++);
    filch_task_yield();
    return n ? (ssize_t)n : source->error;
}

static void check_header(filch_http_response *response, const char *name, const char *want)
{
    const char *got = filch_http_response_header(response, name);

    if (!got || strcmp(got, want) != 0)
        fprintf(stderr, "%s is %s, not %s\n", name, got ?: "missing", want);
    T_CHECK(got && strcmp(got, want) == 0);
}

static void send_reader(const struct site *site, const char *path, struct source *source,
                        int64_t bytes, int want)
{
    filch_http_request *request = request_to(site, "POST", path);
    filch_http_response *response;
    filch_error error;
    size_t got;

    T_OK(filch_http_request_reader(request, (filch_reader){.read = read_source, .context = source},
                                   bytes));
    if (want < 0) {
        T_IS(filch_http_send(request, &response, &error, T_LIMIT), want);
        filch_http_request_free(request);
        return;
    }
    T_OK(filch_http_send(request, &response, NULL, T_LIMIT));
    T_IS(filch_http_response_status(response), want);
    T_OK(filch_http_response_read_all(response, NULL, T_LIMIT));
    if (want == 200) {
        const char *body = filch_http_response_body(response, &got);

        T_IS(got, source->bytes);
        for (size_t i = 0; i < got; i++)
            T_IS(body[i], letter(i));
    }
    T_IS(filch_http_send(request, &response, &error, T_LIMIT), -EINVAL); /* it is used up */
    filch_http_response_free(response);
    filch_http_request_free(request);
}

static int upload(void *arg)
{
    static const char *const methods[] = {"POST", "PUT", "PATCH", "DELETE", "QUERY-NOT"};
    struct site site;
    filch_http_request *request;
    filch_http_response *response;

    (void)arg;
    site_open(&site, NULL);
    for (size_t i = 0; i < 4; i++) {
        request = request_to(&site, methods[i], "/echo");
        T_OK(filch_http_request_body(request, "hello", 5));
        T_OK(filch_http_request_set(request, "X-Field", i % 2 ? "value" : ""));
        for (int again = 0; again < 2; again++) {
            T_OK(filch_http_send(request, &response, NULL, T_LIMIT));
            T_OK(filch_http_response_read_all(response, NULL, T_LIMIT));
            T_CHECK(strcmp(filch_http_response_body(response, NULL), "hello") == 0);
            check_header(response, "X-Method", methods[i]);
            check_header(response, "X-Type", "none");
            check_header(response, "X-Field", i % 2 ? "value" : "");
            filch_http_response_free(response);
        }
        filch_http_request_free(request);
    }
    request = request_to(&site, "POST", "/echo"); /* without a body, with a type */
    T_OK(filch_http_request_set(request, "Content-Type", "text/x"));
    T_OK(filch_http_send(request, &response, NULL, T_LIMIT));
    check_header(response, "X-Method", "POST");
    check_header(response, "X-Type", "text/x");
    filch_http_response_free(response);
    filch_http_request_free(request);

    request = request_to(&site, "HEAD", "/echo");
    T_OK(filch_http_send(request, &response, NULL, T_LIMIT));
    check_header(response, "X-Method", "HEAD");
    T_OK(filch_http_response_read_all(response, NULL, T_LIMIT));
    filch_http_response_free(response);
    filch_http_request_free(request);

    send_reader(&site, "/echo", &(struct source){.bytes = 10, .piece = 3}, 10, 200);
    send_reader(&site, "/echo", &(struct source){.bytes = 0, .piece = 3}, -1, 200);
    send_reader(&site, "/echo", &(struct source){.bytes = 300000, .piece = 70000}, -1, 200);
    send_reader(&site, "/echo", &(struct source){.bytes = 300000, .piece = 999}, 300000, 200);
    send_reader(&site, "/early", &(struct source){.bytes = SIZE_MAX, .piece = 9999}, -1, 403);
    send_reader(&site, "/echo", &(struct source){.bytes = 10, .piece = 3, .error = -EBADMSG}, -1,
                -EBADMSG);
    site_close(&site);
    return 0;
}

Test(http_client, bodies_of_requests)
{
    T_OK(run_in_runtime(0, upload, NULL));
}

/* ---- a post in one call ---- */

static void post(const struct site *site, const char *path, const char *type, const char *data,
                 int want, const char *want_type)
{
    filch_http_response *response;

    T_OK(filch_http_post(site->client, url_of(site, path), type, data, data ? strlen(data) : 0,
                         &response, NULL, T_LIMIT));
    T_IS(filch_http_response_status(response), want);
    if (want == 200) {
        check_header(response, "X-Method", "POST");
        check_header(response, "X-Type", want_type);
        T_CHECK(strcmp(filch_http_response_body(response, NULL), data ?: "") == 0);
    }
    filch_http_response_free(response);
}

static int post_all(void *arg)
{
    struct site site;
    filch_http_response *response;
    filch_error error;

    (void)arg;
    site_open(&site, NULL);
    post(&site, "/echo", "application/json", "{}", 200, "application/json");
    post(&site, "/echo", NULL, "hello", 200, "none");
    post(&site, "/echo", "text/x", NULL, 200, "text/x");
    post(&site, "/to/307", "text/x", "hello", 200, "text/x");
    post(&site, "/none", NULL, "hello", 404, NULL);
    atomic_store(&tries, 0);
    T_CHECK(filch_http_post(site.client, url_of(&site, "/cut"), NULL, "a", 1, &response, &error,
                            T_LIMIT) < 0);
    T_IS(atomic_load(&tries), 1); /* it might be done twice */
    T_CHECK(strstr(error.text, "POST ") && strstr(error.text, "/cut"));
    site_close(&site);
    return 0;
}

Test(http_client, posts_in_one_call)
{
    T_OK(run_in_runtime(0, post_all, NULL));
}

/* ---- how much was sent ---- */

static void check_progress(filch_http_request *request, int64_t want_now, int64_t want_total)
{
    int64_t now, total;

    T_OK(filch_http_request_progress(request, &now, &total));
    T_IS(now, want_now);
    T_IS(total, want_total);
}

static void send_and_forget(filch_http_request *request)
{
    filch_http_response *response;

    T_OK(filch_http_send(request, &response, NULL, T_LIMIT));
    T_IS(filch_http_response_status(response), 200);
    filch_http_response_free(response);
}

static int tell_progress(void *arg)
{
    struct source source = {.bytes = 300000, .piece = 70000};
    struct site site;
    filch_http_request *request;

    (void)arg;
    site_open(&site, NULL);
    request = request_to(&site, "GET", "/ten");
    send_and_forget(request);
    check_progress(request, 0, 0);
    filch_http_request_free(request);

    request = request_to(&site, "PUT", "/to/307"); /* it is sent twice */
    T_OK(filch_http_request_body(request, "hello", 5));
    check_progress(request, 0, 5);
    for (int i = 0; i < 2; i++) {
        send_and_forget(request);
        check_progress(request, 5, 5);
    }
    T_OK(filch_http_request_progress(request, NULL, NULL));
    filch_http_request_free(request);

    request = request_to(&site, "PUT", "/echo");
    T_OK(filch_http_request_reader(request, (filch_reader){.read = read_source, .context = &source},
                                   -1));
    check_progress(request, 0, -1);
    send_and_forget(request);
    check_progress(request, 300000, -1);
    filch_http_request_free(request);
    site_close(&site);
    return 0;
}

Test(http_client, requests_tell_how_much_of_them_was_sent)
{
    T_OK(run_in_runtime(0, tell_progress, NULL));
}

/* ---- redirects, cookies ---- */

static void check_redirect(const struct site *site, const char *method, const char *path,
                           const char *want_method)
{
    filch_http_request *request = request_to(site, method, path);
    filch_http_response *response;

    if (strcmp(method, "GET") != 0)
        T_OK(filch_http_request_body(request, "hello", 5));
    T_OK(filch_http_send(request, &response, NULL, T_LIMIT));
    T_IS(filch_http_response_status(response), 200);
    check_header(response, "X-Method", want_method);
    T_CHECK(strcmp(filch_http_response_url(response), url_of(site, "/echo")) == 0);
    T_OK(filch_http_response_read_all(response, NULL, T_LIMIT));
    T_CHECK(strcmp(filch_http_response_body(response, NULL),
                   strcmp(want_method, "GET") == 0 ? "" : "hello") == 0);
    filch_http_response_free(response);
    filch_http_request_free(request);
}

static int follow(void *arg)
{
    struct site site;
    filch_http_response *response;
    filch_error error;

    (void)arg;
    site_open(&site, &(filch_http_client_opts){.cookies = true});
    check_redirect(&site, "GET", "/to/301", "GET");
    check_redirect(&site, "GET", "/to/308", "GET");
    check_redirect(&site, "POST", "/to/302", "GET");
    check_redirect(&site, "POST", "/to/303", "GET");
    check_redirect(&site, "POST", "/to/307", "POST");
    check_redirect(&site, "PUT", "/to/308", "PUT");
    T_IS(filch_http_get(site.client, url_of(&site, "/loop/302"), &response, &error, T_LIMIT),
         -ELOOP);
    T_CHECK(filch_http_get(site.client, url_of(&site, "/file/302"), &response, &error, T_LIMIT) <
            0);
    response = get(&site, "/cookie");
    T_CHECK(strcmp(filch_http_response_body(response, NULL), "none") == 0);
    filch_http_response_free(response);
    response = get(&site, "/cookie");
    T_CHECK(strcmp(filch_http_response_body(response, NULL), "a=b") == 0);
    filch_http_response_free(response);
    site_close(&site);

    site_open(&site, &(filch_http_client_opts){.no_redirects = true});
    response = get(&site, "/to/302");
    T_IS(filch_http_response_status(response), 302);
    T_CHECK(strcmp(filch_http_response_body(response, NULL), "moved") == 0);
    filch_http_response_free(response);
    for (int i = 0; i < 2; i++) {
        response = get(&site, "/cookie");
        T_CHECK(strcmp(filch_http_response_body(response, NULL), "none") == 0);
        filch_http_response_free(response);
    }
    site_close(&site);
    return 0;
}

Test(http_client, redirects_and_cookies)
{
    T_OK(run_in_runtime(0, follow, NULL));
}

static int tell_secrets(filch_exchange *x, void *context)
{
    char text[128];

    (void)context;
    snprintf(text, sizeof(text), "%s, %s", filch_exchange_header(x, "Authorization") ?: "none",
             filch_exchange_header(x, "Cookie") ?: "none");
    return filch_exchange_reply(x, 200, NULL, text, strlen(text), FILCH_NEVER);
}

static void check_secrets(filch_http_client *client, const struct http_site *site, const char *path,
                          const char *want)
{
    filch_http_request *request;
    filch_http_response *response;
    char url[128];

    snprintf(url, sizeof(url), "http://%s%s", site->addr, path);
    T_OK(filch_http_request_new(client, "GET", url, &request));
    T_OK(filch_http_request_set(request, "Authorization", "Bearer x"));
    T_OK(filch_http_request_set(request, "Cookie", "a=b"));
    T_OK(filch_http_send(request, &response, NULL, T_LIMIT));
    T_OK(filch_http_response_read_all(response, NULL, T_LIMIT));
    T_IS(filch_http_response_status(response), 200);
    T_IS(strcmp(filch_http_response_body(response, NULL), want), 0);
    filch_http_response_free(response);
    filch_http_request_free(request);
}

/* What is for one host is not told to another one that it names. */
static int keep_secrets(void *arg)
{
    struct http_site here, elsewhere;
    filch_http_client *client;
    char url[128];

    (void)arg;
    http_site_new(&elsewhere, NULL);
    T_OK(filch_http_route(elsewhere.server, "GET", "/secrets", tell_secrets, NULL));
    http_site_open_at(&elsewhere, "127.0.0.2:0");
    snprintf(url, sizeof(url), "http://%s/secrets", elsewhere.addr);
    http_site_new(&here, NULL);
    T_OK(filch_http_route(here.server, "GET", "/secrets", tell_secrets, NULL));
    T_OK(filch_http_route(here.server, "GET", "/home/{status}", redirect, "/secrets"));
    T_OK(filch_http_route(here.server, "GET", "/away/{status}", redirect, url));
    http_site_open(&here);
    T_OK(filch_http_client_new(NULL, &client));
    check_secrets(client, &here, "/home/302", "Bearer x, a=b");
    check_secrets(client, &here, "/away/302", "none, none");
    check_secrets(client, &here, "/away/307", "none, none");
    filch_http_client_close(client);
    http_site_close(&here);
    http_site_close(&elsewhere);
    return 0;
}

Test(http_client, redirects_to_another_host_are_told_no_secrets)
{
    T_OK(run_in_runtime(0, keep_secrets, NULL));
}

/* ---- failures ---- */

static int fail(void *arg)
{
    struct site site;
    filch_http_response *response;
    filch_http_request *request;
    filch_error error;
    char addr[FILCH_ADDR_BYTES], url[128];
    int fd = raw_bind(addr); /* nobody listens */
    int r;

    (void)arg;
    site_open(&site, NULL);
    snprintf(url, sizeof(url), "http://%s/", addr);
    T_IS(filch_http_get(site.client, url, &response, &error, T_LIMIT), -ECONNREFUSED);
    T_IS(error.code, -ECONNREFUSED);
    T_IS(error.detail, FILCH_HTTP_CONNECT);
    T_CHECK(strstr(error.text, url) && strstr(error.text, "connecting"));
    T_OK(close(fd));

    T_IS(filch_http_get(site.client, "http://no.such.host.invalid/", &response, &error, T_LIMIT),
         -EHOSTUNREACH);
    T_IS(error.detail, FILCH_HTTP_RESOLVE);
    T_IS(filch_http_get(site.client, "ftp://127.0.0.1/", &response, &error, T_LIMIT), -EINVAL);
    T_IS(error.detail, FILCH_HTTP_PREPARE);
    T_IS(filch_http_get(site.client, "http://", &response, &error, T_LIMIT), -EINVAL);
    snprintf(url, sizeof(url), "https://%s/", site.http.addr); /* no TLS there */
    T_IS(filch_http_get(site.client, url, &response, &error, T_LIMIT), -EPROTO);
    T_IS(error.detail, FILCH_HTTP_TLS);

    atomic_store(&tries, 0);
    response = get(&site, "/cut"); /* the third time it works */
    T_CHECK(strcmp(filch_http_response_body(response, NULL), "there") == 0);
    T_IS(atomic_load(&tries), 3);
    filch_http_response_free(response);
    atomic_store(&tries, 0);
    request = request_to(&site, "POST", "/cut"); /* might be done twice */
    T_CHECK(filch_http_send(request, &response, &error, T_LIMIT) < 0);
    T_IS(atomic_load(&tries), 1);
    filch_http_request_free(request);

    T_CHECK(filch_http_get(site.client, url_of(&site, "/half"), &response, &error, T_LIMIT) < 0);
    T_IS(error.detail, FILCH_HTTP_RECEIVE);
    T_CHECK(strstr(error.text, "/half: receiving the answer: "));

    T_IS(filch_http_get(site.client, url_of(&site, "/hang"), &response, &error,
                        filch_after(20 * FILCH_MILLISECOND)),
         -ETIMEDOUT);
    T_IS(error.detail, FILCH_HTTP_SEND);
    r = filch_http_get(site.client, url_of(&site, "/ten"), &response, &error, FILCH_NOW);
    T_CHECK(r == -ETIMEDOUT || r == 0); /* others may run before the look */
    if (r == 0)
        filch_http_response_free(response);
    site_close(&site);

    site_open(&site, &(filch_http_client_opts){.body_bytes_max = 1000});
    T_IS(filch_http_get(site.client, url_of(&site, "/large"), &response, &error, T_LIMIT),
         -EMSGSIZE);
    site_close(&site);
    return 0;
}

Test(http_client, failures_say_what_where_and_why)
{
    T_OK(run_in_runtime(0, fail, NULL));
}

/* ---- giving up ---- */

static int get_hanging(void *arg)
{
    struct site *site = arg;
    filch_http_response *response;

    return filch_http_get(site->client, url_of(site, "/hang"), &response, NULL, FILCH_NEVER);
}

static int give_up(void *arg)
{
    struct site site;
    filch_http_response *response;
    filch_http_request *request;
    filch_task *task;

    (void)arg;
    site_open(&site, NULL);
    for (int i = 0; i < 20; i++) {
        atomic_store(&pouring, false);
        task = spawn(get_hanging, &site);
        if (i % 2)
            T_WAIT_UNTIL(atomic_load(&pouring));
        T_OK(filch_task_cancel(task));
        T_IS(join(task), -ECANCELED);
        T_WAIT_UNTIL(http_site_stats(&site.http).open == 0);
    }
    /* The client ends with transfers under way; what they have brought can still be read. */
    request = request_to(&site, "GET", "/endless");
    T_OK(filch_http_send(request, &response, NULL, T_LIMIT));
    atomic_store(&pouring, false);
    task = spawn(get_hanging, &site);
    T_WAIT_UNTIL(atomic_load(&pouring));
    filch_http_client_close(site.client);
    T_IS(join(task), -ECANCELED);
    while (filch_http_response_read(response, &(char){0}, 1, NULL, T_LIMIT) > 0)
        ;
    T_IS(filch_http_response_read(response, &(char){0}, 1, NULL, T_LIMIT), -ECANCELED);
    filch_http_response_free(response);
    T_IS(filch_http_send(request, &response, NULL, T_LIMIT), -ECANCELED);
    filch_http_request_free(request);
    site.client = NULL;
    site_close(&site);
    return 0;
}

Test(http_client, requests_that_are_given_up_leave_nothing)
{
    T_OK(run_in_runtime(0, give_up, NULL));
}

/* ---- many ---- */

#define TASKS 16
#define EACH 25

static int get_many(void *arg)
{
    struct site *site = arg;

    for (int i = 0; i < EACH; i++) {
        char url[128];
        filch_http_response *response;

        snprintf(url, sizeof(url), "http://%s/ten", site->http.addr);
        T_OK(filch_http_get(site->client, url, &response, NULL, T_LIMIT));
        T_CHECK(strcmp(filch_http_response_body(response, NULL), "abcdefghij") == 0);
        filch_http_response_free(response);
    }
    return 0;
}

static int many(void *arg)
{
    unsigned descriptors = process_files();
    struct site site;
    filch_task *tasks[TASKS];

    (void)arg;
    site_open(&site, &(filch_http_client_opts){.host_connections_max = 4});
    for (int i = 0; i < TASKS; i++)
        tasks[i] = spawn(get_many, &site);
    for (int i = 0; i < TASKS; i++)
        T_OK(join(tasks[i]));
    T_CHECK(http_site_stats(&site.http).open <= 4);
    site_close(&site);
    T_IS(process_files(), descriptors);
    return 0;
}

Test(http_client, many_tasks_share_a_few_connections)
{
    T_OK(run_in_runtime(0, many, NULL));
}
