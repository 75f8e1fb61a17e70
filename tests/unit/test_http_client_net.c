/* Description: the HTTP client and what is between it and a server: a proxy, packed bodies, servers
 * that do not go on, limits of connections; and a fetch as a future. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

#include <criterion/criterion.h>

#include <filch/http_client.h>
#include <filch/http_tls.h>

#include "tests/runner/http_site.h"
#include "tests/runner/temp_dir.h"
#include "tests/runner/tls_pair.h"

TestSuite(http_client_net, .timeout = 120);

/* "hello, " two thousand times; "hello". */
static const unsigned char as_gzip[] = {
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xed, 0xc5, 0x21, 0x0d,
    0x00, 0x00, 0x08, 0x00, 0xb0, 0x2a, 0x04, 0xa0, 0x16, 0x1b, 0x82, 0x8d, 0xfe, 0x8e,
    0x10, 0xd8, 0xdf, 0xbc, 0x6b, 0x66, 0x33, 0x5a, 0x92, 0x24, 0x49, 0x92, 0x24, 0x49,
    0x92, 0x24, 0x49, 0x92, 0x24, 0x49, 0x92, 0x24, 0x49, 0x92, 0x24, 0x49, 0x92, 0xa4,
    0x4f, 0x07, 0x3d, 0xe0, 0x87, 0x08, 0xb0, 0x36, 0x00, 0x00};
static const unsigned char as_deflate[] = {
    0x78, 0xda, 0xed, 0xc5, 0x21, 0x0d, 0x00, 0x00, 0x08, 0x00, 0xb0, 0x2a, 0x04, 0xa0,
    0x16, 0x1b, 0x82, 0x8d, 0xfe, 0x8e, 0x10, 0xd8, 0xdf, 0xbc, 0x6b, 0x66, 0x33, 0x5a,
    0x92, 0x24, 0x49, 0x92, 0x24, 0x49, 0x92, 0x24, 0x49, 0x92, 0x24, 0x49, 0x92, 0x24,
    0x49, 0x92, 0x24, 0x49, 0x92, 0xa4, 0x4f, 0x07, 0x05, 0x94, 0x8f, 0x0f};
static const unsigned char as_br[] = {0x0b, 0x02, 0x80, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0x03};

struct packed {
    const char *coding;
    const void *data;
    size_t bytes;
};

static const struct packed packed[] = {
    {"gzip", as_gzip, sizeof(as_gzip)},
    {"deflate", as_deflate, sizeof(as_deflate)},
    {"br", as_br, sizeof(as_br)},
    {"gzip", "hello", 5}, /* is not */
};

#define PLAIN_BYTES ((size_t)7 * 2000)

struct site {
    struct http_site http;
    filch_http_wrap wrap;
};

static int hello(filch_exchange *x, void *context)
{
    (void)context;
    return filch_exchange_reply(x, 200, "text/plain", "hello", 5, FILCH_NEVER);
}

static int pack(filch_exchange *x, void *context)
{
    const struct packed *p = &packed[atoi(filch_exchange_param(x, "which"))];

    (void)context;
    T_OK(filch_exchange_set(x, "Content-Encoding", p->coding));
    T_OK(filch_exchange_set(x, "X-Offered", filch_exchange_header(x, "Accept-Encoding") ?: "no"));
    return filch_exchange_reply(x, 200, NULL, p->data, p->bytes, FILCH_NEVER);
}

/* Begins an answer and says no more until the peer goes. */
static int stall(filch_exchange *x, void *context)
{
    (void)context;
    T_OK(filch_exchange_begin(x, 200, NULL, 10, FILCH_NEVER));
    T_OK(filch_exchange_write_all(x, "half", 4, NULL, FILCH_NEVER));
    T_OK(filch_exchange_flush(x, FILCH_NEVER));
    return FILCH_SELECT(FILCH_NEVER, filch_case_readable(filch_exchange_conn(x))) < 0 ? -ECANCELED
                                                                                      : -EIO;
}

static void site_open(struct site *site, filch_tls_context *context)
{
    filch_http_server_opts opts = {0};

    memset(site, 0, sizeof(*site));
    if (context) {
        site->wrap = filch_http_over_tls(context);
        opts.wrap = &site->wrap;
    }
    http_site_new(&site->http, &opts);
    T_OK(filch_http_route(site->http.server, "GET", "/", hello, NULL));
    T_OK(filch_http_route(site->http.server, "GET", "/packed/{which}", pack, NULL));
    T_OK(filch_http_route(site->http.server, "GET", "/stall", stall, NULL));
    http_site_open(&site->http);
}

static void site_close(struct site *site)
{
    T_WAIT_UNTIL(http_site_stats(&site->http).open == 0);
    http_site_close(&site->http);
}

static filch_http_client *client_new(filch_http_client_opts opts)
{
    filch_http_client *client;

    opts.proxy = opts.proxy ?: "";
    T_OK(filch_http_client_new(&opts, &client));
    return client;
}

static int get(filch_http_client *client, const char *scheme, const char *addr, const char *path,
               filch_http_response **response, filch_error *error)
{
    char url[128];
    int r;

    snprintf(url, sizeof(url), "%s://%s%s", scheme, addr, path);
    r = filch_http_get(client, url, response, error, T_LIMIT);
    if (r < 0)
        T_CHECK(error->code == r && strstr(error->text, url));
    return r;
}

static void expect_hello(filch_http_client *client, const char *scheme, const char *addr)
{
    filch_http_response *response;
    filch_error error;
    int r = get(client, scheme, addr, "/", &response, &error);

    if (r < 0)
        fprintf(stderr, "%s\n", error.text);
    T_OK(r);
    T_CHECK(strcmp(filch_http_response_body(response, NULL), "hello") == 0);
    filch_http_response_free(response);
}

/* ---- packed bodies ---- */

static void expect_unpacked(filch_http_client *client, const struct site *site, int which)
{
    filch_http_response *response;
    filch_error error;
    char path[32];
    const char *body;
    size_t bytes;

    snprintf(path, sizeof(path), "/packed/%d", which);
    T_OK(get(client, "http", site->http.addr, path, &response, &error));
    T_CHECK(strstr(filch_http_response_header(response, "X-Offered"), "gzip"));
    body = filch_http_response_body(response, &bytes);
    T_IS(bytes, strcmp(packed[which].coding, "br") == 0 ? 5 : PLAIN_BYTES);
    for (size_t i = 0; i < bytes; i++)
        T_IS(body[i], "hello, "[i % 7]);
    filch_http_response_free(response);
}

static int unpack(void *arg)
{
    struct site site;
    filch_http_client *client = client_new((filch_http_client_opts){0});
    filch_http_response *response;
    filch_error error;
    size_t bytes;

    (void)arg;
    site_open(&site, NULL);
    for (int which = 0; which < 3; which++)
        expect_unpacked(client, &site, which);
    T_CHECK(get(client, "http", site.http.addr, "/packed/3", &response, &error) < 0);
    T_IS(error.detail, FILCH_HTTP_RECEIVE);
    filch_http_client_close(client);

    client = client_new((filch_http_client_opts){.no_compression = true});
    T_OK(get(client, "http", site.http.addr, "/packed/0", &response, &error));
    T_CHECK(strcmp(filch_http_response_header(response, "X-Offered"), "no") == 0);
    T_CHECK(memcmp(filch_http_response_body(response, &bytes), as_gzip, sizeof(as_gzip)) == 0);
    T_IS(bytes, sizeof(as_gzip));
    filch_http_response_free(response);
    filch_http_client_close(client);

    /* A limit is one of what is unpacked. */
    client = client_new((filch_http_client_opts){.body_bytes_max = 1000});
    T_IS(get(client, "http", site.http.addr, "/packed/0", &response, &error), -EMSGSIZE);
    filch_http_client_close(client);
    site_close(&site);
    return 0;
}

Test(http_client_net, packed_bodies_come_unpacked)
{
    T_OK(run_in_runtime(0, unpack, NULL));
}

/* ---- a proxy: CONNECT, and whole URLs for http ---- */

struct proxy {
    filch_listener *listener;
    filch_task *task;
    char url[FILCH_ADDR_BYTES + 8];
    bool refuses;
    atomic_int connects, forwards;
};

/* Reads a head. Return: its bytes. */
static size_t read_head(filch_tcp *conn, char *head, size_t room)
{
    size_t n = 0;

    while (n < 4 || memcmp(head + n - 4, "\r\n\r\n", 4) != 0) {
        T_CHECK(n < room - 1);
        if (filch_tcp_read(conn, head + n, 1, T_LIMIT) <= 0)
            return 0;
        n++;
    }
    head[n] = '\0';
    return n;
}

static const char refusal[] = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
static const char connected[] = "HTTP/1.1 200 OK\r\n\r\n";

struct passage {
    struct proxy *proxy;
    filch_tcp *conn;
};

static int pass(void *arg)
{
    struct passage *passage = arg;
    struct proxy *proxy = passage->proxy;
    filch_tcp *conn = passage->conn, *server;
    char head[2048], addr[FILCH_ADDR_BYTES];
    size_t bytes = read_head(conn, head, sizeof(head));
    bool is_connect = bytes && strncmp(head, "CONNECT ", 8) == 0;

    if (bytes && proxy->refuses) {
        T_OK(filch_tcp_write_all(conn, refusal, sizeof(refusal) - 1, NULL, T_LIMIT));
    } else if (bytes) {
        atomic_fetch_add(is_connect ? &proxy->connects : &proxy->forwards, 1);
        T_IS(sscanf(head, is_connect ? "CONNECT %31[0-9.:] " : "GET http://%31[0-9.:]/", addr), 1);
        T_OK(filch_tcp_connect(addr, &server, T_LIMIT));
        if (is_connect)
            T_OK(filch_tcp_write_all(conn, connected, sizeof(connected) - 1, NULL, T_LIMIT));
        else
            T_OK(filch_tcp_write_all(server, head, bytes, NULL, T_LIMIT));
        (void)!filch_copy_both(filch_tcp_io(conn), filch_tcp_io(server), NULL, NULL, T_LIMIT);
        T_OK(filch_tcp_close(server));
    }
    T_OK(filch_tcp_close(conn));
    return 0;
}

static int run_proxy(void *arg)
{
    struct passage passage = {.proxy = arg};
    const filch_task_opts opts = {.copy_bytes = sizeof(passage)};
    int r;

    FILCH_SCOPE(passages);
    while ((r = filch_listener_accept(passage.proxy->listener, &passage.conn, FILCH_NEVER)) == 0)
        T_OK(filch_scope_spawn_opts(&passages, pass, &passage, &opts));
    T_OK(filch_scope_join(&passages, T_LIMIT));
    return r;
}

static void proxy_open(struct proxy *proxy)
{
    char addr[FILCH_ADDR_BYTES];

    memset(proxy, 0, sizeof(*proxy));
    T_OK(filch_listener_open("127.0.0.1:0", NULL, &proxy->listener));
    T_OK(filch_listener_addr(proxy->listener, addr));
    snprintf(proxy->url, sizeof(proxy->url), "http://%s", addr);
    proxy->task = spawn(run_proxy, proxy);
}

static void proxy_close(struct proxy *proxy)
{
    T_OK(filch_listener_close(proxy->listener));
    T_CHECK(join(proxy->task) < 0);
}

static int go_through(void *arg)
{
    struct site plain, secret;
    struct proxy proxy;
    struct temp_dir dir;
    struct identity identity;
    filch_tls_context *context;
    filch_http_client *client;
    filch_http_response *response;
    filch_error error;
    FILE *file;

    (void)arg;
    temp_dir_make(&dir);
    make_identity(&identity, "IP:127.0.0.1", 0, 3600);
    file = fopen(in_dir(&dir, "ca.pem"), "w");
    T_CHECK(file && fputs(identity.cert, file) >= 0);
    T_OK(fclose(file));
    context = new_context(
        true, &(filch_tls_opts){.cert = {.text = identity.cert}, .key = {.text = identity.key}});
    site_open(&plain, NULL);
    site_open(&secret, context);
    proxy_open(&proxy);
    client =
        client_new((filch_http_client_opts){.proxy = proxy.url, .ca_file = in_dir(&dir, "ca.pem")});
    for (int i = 0; i < 2; i++) { /* connections are used again */
        expect_hello(client, "http", plain.http.addr);
        expect_hello(client, "https", secret.http.addr);
    }
    T_IS(atomic_load(&proxy.connects), 1);
    T_IS(atomic_load(&proxy.forwards), 1);
    filch_http_client_close(client);

    proxy.refuses = true;
    client = client_new((filch_http_client_opts){.proxy = proxy.url});
    T_IS(get(client, "https", secret.http.addr, "/", &response, &error), -EACCES);
    T_IS(error.detail, FILCH_HTTP_CONNECT);
    T_CHECK(strstr(error.text, "403"));
    filch_http_client_close(client);
    proxy_close(&proxy);

    client = client_new((filch_http_client_opts){.proxy = proxy.url, .no_retries = true});
    T_IS(get(client, "http", plain.http.addr, "/", &response, &error),
         -ECONNREFUSED); /* it is gone */
    T_IS(error.detail, FILCH_HTTP_CONNECT);
    filch_http_client_close(client);
    site_close(&plain);
    site_close(&secret);
    filch_tls_context_unref(context);
    temp_dir_remove(&dir);
    return 0;
}

Test(http_client_net, a_proxy_is_gone_through)
{
    T_OK(run_in_runtime(0, go_through, NULL));
}

/* ---- times ---- */

/* A server that takes connections and says nothing. */
static int wait_for_nobody(void *arg)
{
    struct site site;
    filch_http_client *client;
    filch_http_response *response;
    filch_error error;
    filch_listener *silent;
    char addr[FILCH_ADDR_BYTES];
    filch_time late = T_LIMIT; /* a request's own limit says -ETIMEDOUT, too */

    (void)arg;
    T_OK(filch_listener_open("127.0.0.1:0", NULL, &silent));
    T_OK(filch_listener_addr(silent, addr));
    client = client_new((filch_http_client_opts){.connect_ns = FILCH_SECOND / 2});
    T_IS(get(client, "https", addr, "/", &response, &error), -ETIMEDOUT);
    T_IS(error.detail, FILCH_HTTP_TLS);
    T_CHECK(filch_now() < late);
    filch_http_client_close(client);
    T_OK(filch_listener_close(silent));

    site_open(&site, NULL);
    client = client_new((filch_http_client_opts){.stall_ns = FILCH_SECOND});
    late = T_LIMIT;
    T_IS(get(client, "http", site.http.addr, "/stall", &response, &error), -ETIMEDOUT);
    T_IS(error.detail, FILCH_HTTP_RECEIVE);
    T_CHECK(filch_now() < late);
    filch_http_client_close(client);
    site_close(&site);
    return 0;
}

Test(http_client_net, servers_that_do_not_go_on_are_given_up)
{
    T_OK(run_in_runtime(0, wait_for_nobody, NULL));
}

/* ---- limits ---- */

static struct site two[2];
static atomic_uint most;

static int get_from(void *arg)
{
    filch_http_client *client = arg;

    for (int i = 0; i < 10; i++) {
        unsigned open = http_site_stats(&two[0].http).open + http_site_stats(&two[1].http).open;

        if (open > atomic_load(&most))
            atomic_store(&most, open);
        expect_hello(client, "http", two[i % 2].http.addr);
    }
    return 0;
}

static int share(void *arg)
{
    filch_http_client *client = client_new((filch_http_client_opts){.connections_max = 3});
    filch_task *tasks[8];

    (void)arg;
    atomic_store(&most, 0);
    for (int i = 0; i < 2; i++)
        site_open(&two[i], NULL);
    for (int i = 0; i < 8; i++)
        tasks[i] = spawn(get_from, client);
    for (int i = 0; i < 8; i++)
        T_OK(join(tasks[i]));
    /* A server sees an end a little later than the client makes it. */
    T_CHECK(atomic_load(&most) > 0);
    T_WAIT_UNTIL(http_site_stats(&two[0].http).open + http_site_stats(&two[1].http).open <= 3);
    filch_http_client_close(client);
    for (int i = 0; i < 2; i++)
        site_close(&two[i]);
    return 0;
}

Test(http_client_net, two_servers_share_the_connections_of_a_client)
{
    T_OK(run_in_runtime(0, share, NULL));
}

/* ---- a fetch as a future ---- */

struct fetch {
    filch_http_client *client;
    const char *addr;
    filch_http_response *response;
    filch_error error;
};

static int fetch(void *arg)
{
    struct fetch *f = arg;

    return get(f->client, "http", f->addr, "/", &f->response, &f->error);
}

static int await_fetch(void *arg)
{
    struct site site;
    filch_http_client *client = client_new((filch_http_client_opts){0});
    struct fetch f = {.client = client};
    filch_join_task_future future;

    (void)arg;
    site_open(&site, NULL);
    f.addr = site.http.addr;
    T_OK(filch_join_task_future_init(&future, spawn(fetch, &f)));
    T_OK(filch_await(&future.base, T_LIMIT));
    T_CHECK(strcmp(filch_http_response_body(f.response, NULL), "hello") == 0);
    filch_http_response_free(f.response);
    filch_http_client_close(client);
    site_close(&site);
    return 0;
}

Test(http_client_net, a_fetch_is_awaited_as_a_future)
{
    T_OK(run_in_runtime(0, await_fetch, NULL));
}
