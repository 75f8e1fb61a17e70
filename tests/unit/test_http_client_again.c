/* Description: the HTTP client used again and again against our server, by HTTP/1.1 and HTTP/2:
 * requests of all kinds behind each other, of which none leaves a trace in the next; connections
 * that the server ends between requests; bodies that come back, many at a time. */
#include <stdatomic.h>
#include <time.h>

#include <criterion/criterion.h>

#include <filch/http_client.h>
#include <filch/http_server.h>

#include "tests/runner/http_site.h"
#include "tests/runner/tcp_pair.h"

TestSuite(http_client_again, .timeout = 120);

#define LARGE ((size_t)300000)
#define SMALL ((size_t)30000)

struct site {
    struct http_site http;
    filch_http_client *client;
};

/* Says what it was asked, in a field, as HEAD has no body. */
static int tell(filch_exchange *x, void *context)
{
    char text[256], buf[1024];
    size_t bytes = 0;
    ssize_t n;

    (void)context;
    while ((n = filch_exchange_read(x, buf, sizeof(buf), FILCH_NEVER)) > 0)
        bytes += (size_t)n;
    if (n < 0)
        return (int)n;
    snprintf(text, sizeof(text), "%s %s %s %s %zu", filch_exchange_method(x),
             filch_exchange_header(x, "X-Field") ?: "-",
             filch_exchange_header(x, "Authorization") ?: "-",
             filch_exchange_header(x, "Content-Type") ?: "-", bytes);
    T_OK(filch_exchange_set(x, "X-Told", text));
    return filch_exchange_reply(x, 200, NULL, "told", 4, FILCH_NEVER);
}

static int see_other(filch_exchange *x, void *context)
{
    char buf[1024];

    (void)context;
    while (filch_exchange_read(x, buf, sizeof(buf), FILCH_NEVER) > 0)
        ;
    T_OK(filch_exchange_set(x, "Location", "/tell"));
    return filch_exchange_reply(x, 303, NULL, NULL, 0, FILCH_NEVER);
}

static int give_back(filch_exchange *x, void *context)
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

/* Sends the body back while it comes. */
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

static void site_open(struct site *site, bool http2, const filch_http_server_opts *opts)
{
    const filch_http_client_opts client_opts = {.http1 = !http2, .http2 = http2, .proxy = ""};

    http_site_new(&site->http, opts);
    T_OK(filch_http_route(site->http.server, NULL, "/tell", tell, NULL));
    T_OK(filch_http_route(site->http.server, "POST", "/other", see_other, NULL));
    T_OK(filch_http_route(site->http.server, "POST", "/back", give_back, NULL));
    T_OK(filch_http_route(site->http.server, "POST", "/turn", turn, NULL));
    http_site_open(&site->http);
    T_OK(filch_http_client_new(&client_opts, &site->client));
}

static void site_close(struct site *site)
{
    filch_http_client_close(site->client);
    T_WAIT_UNTIL(http_site_stats(&site->http).open == 0);
    http_site_close(&site->http);
}

/* ---- requests behind each other ---- */

enum body { NONE, COPIED, READ };

static const struct kind {
    const char *method, *path, *user, *field, *type;
    enum body body;
    const char *told;
} kinds[] = {
    {"GET", "/tell", "", NULL, NULL, NONE, "GET - - - 0"},
    {"GET", "/tell", "", "one", NULL, NONE, "GET one - - 0"},
    {"GET", "/tell", "me:secret@", NULL, NULL, NONE, "GET - Basic bWU6c2VjcmV0 - 0"},
    {"HEAD", "/tell", "", NULL, NULL, NONE, "HEAD - - - 0"},
    {"DELETE", "/tell", "", NULL, NULL, NONE, "DELETE - - - 0"},
    {"OPTIONS", "/tell", "", "two", NULL, NONE, "OPTIONS two - - 0"},
    {"POST", "/tell", "", NULL, "text/x", COPIED, "POST - - text/x 5"},
    {"POST", "/tell", "", NULL, NULL, READ, "POST - - - 2000"},
    {"POST", "/tell", "", NULL, NULL, NONE, "POST - - - 0"},
    {"PUT", "/tell", "", "three", NULL, COPIED, "PUT three - - 5"},
    {"PATCH", "/tell", "", NULL, "text/y", READ, "PATCH - - text/y 2000"},
    {"POST", "/other", "", NULL, NULL, COPIED, "GET - - - 0"},
};

#define KINDS (sizeof(kinds) / sizeof(*kinds))

struct source {
    size_t left;
};

static ssize_t read_source(void *context, void *buf, size_t bytes, filch_time until)
{
    struct source *source = context;
    size_t n = source->left < bytes ? source->left : bytes;

    (void)until;
    memset(buf, 'x', n);
    source->left -= n;
    return (ssize_t)n;
}

static void send_kind(const struct site *site, const struct kind *kind)
{
    struct source source = {.left = 2000};
    filch_http_request *request;
    filch_http_response *response;
    filch_error error;
    const char *told;
    char url[128];
    int r;

    snprintf(url, sizeof(url), "http://%s%s%s", kind->user, site->http.addr, kind->path);
    T_OK(filch_http_request_new(site->client, kind->method, url, &request));
    if (kind->field)
        T_OK(filch_http_request_set(request, "X-Field", kind->field));
    if (kind->type)
        T_OK(filch_http_request_set(request, "Content-Type", kind->type));
    if (kind->body == COPIED)
        T_OK(filch_http_request_body(request, "hello", 5));
    if (kind->body == READ)
        T_OK(filch_http_request_reader(
            request, (filch_reader){.read = read_source, .context = &source}, -1));
    r = filch_http_send(request, &response, &error, T_LIMIT);
    if (r < 0)
        fprintf(stderr, "%s\n", error.text);
    T_OK(r);
    T_IS(filch_http_response_status(response), 200);
    told = filch_http_response_header(response, "X-Told");
    if (!told || strcmp(told, kind->told) != 0)
        fprintf(stderr, "%s, not %s\n", told ?: "nothing", kind->told);
    T_CHECK(told && strcmp(told, kind->told) == 0);
    T_OK(filch_http_response_read_all(response, NULL, T_LIMIT));
    T_CHECK(strcmp(filch_http_response_body(response, NULL),
                   strcmp(kind->told, kinds[3].told) == 0 ? "" : "told") == 0);
    filch_http_response_free(response);
    filch_http_request_free(request);
}

/* Each kind behind each. */
static int all_pairs(void *arg)
{
    struct site site;

    site_open(&site, arg, NULL);
    for (size_t i = 0; i < KINDS; i++)
        for (size_t j = 0; j < KINDS; j++) {
            send_kind(&site, &kinds[i]);
            send_kind(&site, &kinds[j]);
        }
    if (!arg)
        T_IS(http_site_stats(&site.http).connections, 1);
    site_close(&site);
    return 0;
}

Test(http_client_again, a_request_leaves_no_trace_in_the_next)
{
    T_OK(run_in_runtime(0, all_pairs, NULL));
}

Test(http_client_again, nor_does_it_by_http2)
{
    T_OK(run_in_runtime(0, all_pairs, &(bool){true}));
}

/* ---- connections that the server ends ---- */

static uint64_t cpu_ns(void)
{
    struct timespec used;

    T_OK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used));
    return (uint64_t)used.tv_sec * FILCH_SECOND + (uint64_t)used.tv_nsec;
}

/* Of requests that may be repeated, as an end may come late. */
static void end_after_each(const struct site *site)
{
    for (int round = 0; round < 20; round++) {
        send_kind(site, &kinds[round % 6]);
        T_WAIT_UNTIL(http_site_stats(&site->http).open == 0);
    }
}

static int server_ends(void *arg)
{
    const filch_http_server_opts opts = {.idle_ns = 5 * FILCH_MILLISECOND};
    struct site site;
    uint64_t begun;

    site_open(&site, arg, &opts);
    end_after_each(&site);
    /* What libcurl has not noticed yet keeps nobody busy. */
    begun = cpu_ns();
    T_OK(filch_sleep(filch_after(300 * FILCH_MILLISECOND)));
    T_CHECK(cpu_ns() - begun < 150 * FILCH_MILLISECOND);
    site_close(&site);
    return 0;
}

Test(http_client_again, connections_that_the_server_ends_between_requests)
{
    T_OK(run_in_runtime(0, server_ends, NULL));
}

Test(http_client_again, and_with_http2)
{
    T_OK(run_in_runtime(0, server_ends, &(bool){true}));
}

/* Less than the tick of the clock that a server looks at: a connection with a request in it is not
 * idle. */
static int server_ends_at_once(void *arg)
{
    const filch_http_server_opts opts = {.idle_ns = 1};
    struct site site;

    site_open(&site, arg, &opts);
    end_after_each(&site);
    site_close(&site);
    return 0;
}

Test(http_client_again, a_server_that_ends_idle_connections_at_once_answers_first)
{
    T_OK(run_in_runtime(0, server_ends_at_once, NULL));
    T_OK(run_in_runtime(0, server_ends_at_once, &(bool){true}));
}

/* ---- many at a time ---- */

static char data[LARGE];

static void send_data(const struct site *site, const char *path, size_t size, int times)
{
    filch_http_request *request;
    char url[128];

    snprintf(url, sizeof(url), "http://%s%s", site->http.addr, path);
    T_OK(filch_http_request_new(site->client, "POST", url, &request));
    T_OK(filch_http_request_body(request, data, size));
    while (times--) {
        filch_http_response *response;
        size_t bytes;

        T_OK(filch_http_send(request, &response, NULL, T_LIMIT));
        T_OK(filch_http_response_read_all(response, NULL, T_LIMIT));
        T_CHECK(memcmp(filch_http_response_body(response, &bytes), data, size) == 0);
        T_IS(bytes, size);
        filch_http_response_free(response);
    }
    filch_http_request_free(request);
}

static int send_some(void *arg)
{
    send_data(arg, "/back", SMALL, 3);
    return 0;
}

static int many(void *arg)
{
    struct site site;

    memset(data, 'y', sizeof(data));
    site_open(&site, arg, NULL);
    {
        FILCH_TRY_SCOPE(scope);
        for (int i = 0; i < 8; i++)
            T_OK(filch_scope_spawn(&scope, send_some, &site));
        T_OK(filch_scope_join(&scope, T_LIMIT));
    }
    T_IS(http_site_stats(&site.http).requests, 24);
    site_close(&site);
    return 0;
}

Test(http_client_again, bodies_come_back_many_at_a_time)
{
    T_OK(run_in_runtime(0, many, NULL));
}

Test(http_client_again, and_by_http2)
{
    T_OK(run_in_runtime(0, many, &(bool){true}));
}

/* ---- both ways at once ---- */

static int both_ways(void *arg)
{
    struct site site;

    memset(data, 'z', sizeof(data));
    site_open(&site, arg, NULL);
    send_data(&site, "/turn", LARGE, 3);
    site_close(&site);
    return 0;
}

Test(http_client_again, a_body_comes_back_while_it_is_sent)
{
    T_OK(run_in_runtime(0, both_ways, NULL));
}
