/* Description: options of the HTTP client, each seen at work by a server: who it says that it is,
 * how often it tries, by which proxy it goes, how long it waits for a connection. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>

#include <criterion/criterion.h>

#include <filch/http_client.h>

#include "tests/runner/http_site.h"
#include "tests/runner/tcp_pair.h"

TestSuite(http_client_options, .timeout = 120);

static atomic_int tries;

static int tell_agent(filch_exchange *x, void *context)
{
    const char *agent = filch_exchange_header(x, "User-Agent") ?: "none";

    (void)context;
    return filch_exchange_reply(x, 200, NULL, agent, strlen(agent), FILCH_NEVER);
}

/* Resets as many connections as the path says before it answers. */
static int reset(filch_exchange *x, void *context)
{
    (void)context;
    if (atomic_fetch_add(&tries, 1) >= atoi(filch_exchange_param(x, "times")))
        return filch_exchange_reply(x, 200, NULL, "there", 5, FILCH_NEVER);
    T_OK(filch_tcp_set(filch_exchange_conn(x), FILCH_TCP_LINGER, 0));
    T_OK(filch_exchange_begin(x, 200, NULL, 5, FILCH_NEVER));
    return -EIO;
}

static void site_open(struct http_site *site)
{
    http_site_new(site, NULL);
    T_OK(filch_http_route(site->server, "GET", "/", tell_agent, NULL));
    T_OK(filch_http_route(site->server, NULL, "/reset/{times}", reset, NULL));
    http_site_open(site);
}

/* What a client of these options gets. @body: what it is to be; NULL: the get is to fail. */
static int get(const filch_http_client_opts *opts, const char *url, const char *body,
               filch_error *error)
{
    filch_http_client *client;
    filch_http_response *response;
    int r;

    T_OK(filch_http_client_new(opts, &client));
    r = filch_http_get(client, url, &response, error, T_LIMIT);
    if (r < 0 && body)
        fprintf(stderr, "%s\n", error->text);
    T_IS(r < 0, !body);
    if (r == 0) {
        if (strcmp(filch_http_response_body(response, NULL), body) != 0)
            fprintf(stderr, "%s\n", filch_http_response_body(response, NULL));
        T_CHECK(strcmp(filch_http_response_body(response, NULL), body) == 0);
        filch_http_response_free(response);
    }
    filch_http_client_close(client);
    return r;
}

static const char *url_of(const char *host, const struct http_site *site, const char *path)
{
    static char url[128];

    snprintf(url, sizeof(url), "http://%s%s%s", host, strrchr(site->addr, ':'), path);
    return url;
}

/* ---- who it is, and how often ---- */

static int say_who(void *arg)
{
    filch_http_client_opts opts = {.proxy = ""};
    struct http_site site;
    filch_error error;

    (void)arg;
    site_open(&site);
    get(&opts, url_of("127.0.0.1", &site, "/"), "filch/" FILCH_VERSION, &error);
    opts.user_agent = "somebody/1";
    get(&opts, url_of("127.0.0.1", &site, "/"), "somebody/1", &error);
    http_site_close(&site);
    return 0;
}

Test(http_client_options, a_user_agent)
{
    T_OK(run_in_runtime(0, say_who, NULL));
}

static int try_again(void *arg)
{
    static const struct {
        unsigned retries; /* 0: the default */
        bool none;
        const char *path, *body;
        int tries;
    } cases[] = {
        {1, false, "/reset/1", "there", 2}, {1, false, "/reset/9", NULL, 2},
        {3, false, "/reset/3", "there", 4}, {3, false, "/reset/9", NULL, 4},
        {0, false, "/reset/2", "there", 3}, {0, false, "/reset/9", NULL, 3},
        {0, true, "/reset/9", NULL, 1},
    };
    struct http_site site;
    filch_error error;

    (void)arg;
    site_open(&site);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        filch_http_client_opts opts = {
            .proxy = "", .retries = cases[i].retries, .no_retries = cases[i].none};

        atomic_store(&tries, 0);
        get(&opts, url_of("127.0.0.1", &site, cases[i].path), cases[i].body, &error);
        T_IS(atomic_load(&tries), cases[i].tries);
    }
    http_site_close(&site);
    return 0;
}

Test(http_client_options, so_many_retries)
{
    T_OK(run_in_runtime(0, try_again, NULL));
}

/* ---- a proxy that speaks SOCKS 5 (RFC 1928) ---- */

struct socks {
    filch_listener *listener;
    filch_task *task;
    char addr[FILCH_ADDR_BYTES];
    atomic_int answer;  /* of the protocol; 0: we go through. Stored before each request */
    char asked_for[64]; /* the host of the last one, as it was said; read when `asked` says so */
    atomic_int asked, passed;
};

struct passage {
    struct socks *socks;
    filch_tcp *conn;
};

enum { SOCKS_IPV4 = 1, SOCKS_NAME = 3 };

/* Reads where to. Whatever the host, it is here. */
static void read_request(struct passage *passage, char *to, size_t room)
{
    unsigned char head[4], host[256], port[2];
    char *said = passage->socks->asked_for;
    filch_tcp *conn = passage->conn;
    unsigned char bytes = 4;

    T_OK(filch_tcp_read_exact(conn, head, 4, NULL, T_LIMIT));
    T_CHECK(head[0] == 5 && head[1] == 1 && (head[3] == SOCKS_IPV4 || head[3] == SOCKS_NAME));
    if (head[3] == SOCKS_NAME)
        T_OK(filch_tcp_read_exact(conn, &bytes, 1, NULL, T_LIMIT));
    T_OK(filch_tcp_read_exact(conn, host, bytes, NULL, T_LIMIT));
    T_OK(filch_tcp_read_exact(conn, port, 2, NULL, T_LIMIT));
    if (head[3] == SOCKS_NAME)
        snprintf(said, sizeof(passage->socks->asked_for), "%.*s", (int)bytes, (char *)host);
    else
        snprintf(said, sizeof(passage->socks->asked_for), "%u.%u.%u.%u", host[0], host[1], host[2],
                 host[3]);
    snprintf(to, room, "127.0.0.1:%u", port[0] * 256u + port[1]);
}

static int pass(void *arg)
{
    struct passage *passage = arg;
    filch_tcp *conn = passage->conn, *server;
    char to[FILCH_ADDR_BYTES];
    unsigned char methods[2 + 255], answer[10] = {5, 0, 0, SOCKS_IPV4};

    answer[1] = (unsigned char)atomic_load(&passage->socks->answer);
    T_OK(filch_tcp_read_exact(conn, methods, 2, NULL, T_LIMIT));
    T_OK(filch_tcp_read_exact(conn, methods + 2, methods[1], NULL, T_LIMIT));
    T_CHECK(methods[0] == 5 && memchr(methods + 2, 0, methods[1])); /* without a password */
    T_OK(filch_tcp_write_all(conn, "\5\0", 2, NULL, T_LIMIT));
    read_request(passage, to, sizeof(to));
    atomic_fetch_add(&passage->socks->asked, 1);
    T_OK(filch_tcp_write_all(conn, answer, sizeof(answer), NULL, T_LIMIT));
    if (!answer[1]) {
        atomic_fetch_add(&passage->socks->passed, 1);
        T_OK(filch_tcp_connect(to, &server, T_LIMIT));
        (void)!filch_copy_both(filch_tcp_io(conn), filch_tcp_io(server), NULL, NULL, T_LIMIT);
        T_OK(filch_tcp_close(server));
    }
    T_OK(filch_tcp_close(conn));
    return 0;
}

static int run_socks(void *arg)
{
    struct passage passage = {.socks = arg};
    const filch_task_opts opts = {.copy_bytes = sizeof(passage)};
    int r;

    FILCH_SCOPE(passages);
    while ((r = filch_listener_accept(passage.socks->listener, &passage.conn, FILCH_NEVER)) == 0)
        T_OK(filch_scope_spawn_opts(&passages, pass, &passage, &opts));
    T_OK(filch_scope_join(&passages, T_LIMIT));
    return r;
}

static void socks_open(struct socks *socks)
{
    memset(socks, 0, sizeof(*socks));
    T_OK(filch_listener_open("127.0.0.1:0", NULL, &socks->listener));
    T_OK(filch_listener_addr(socks->listener, socks->addr));
    socks->task = spawn(run_socks, socks);
}

static void socks_close(struct socks *socks)
{
    T_OK(filch_listener_close(socks->listener));
    T_CHECK(join(socks->task) < 0);
}

static void go_by(struct socks *socks, const char *scheme, const char *url, const char *asked_for)
{
    filch_http_client_opts opts = {.user_agent = "me"};
    int asked = atomic_load(&socks->asked), passed = atomic_load(&socks->passed);
    filch_error error;
    char proxy[FILCH_ADDR_BYTES + 16];

    snprintf(proxy, sizeof(proxy), "%s://%s", scheme, socks->addr);
    opts.proxy = proxy;
    atomic_store(&socks->answer, 0);
    get(&opts, url, "me", &error);
    T_IS(atomic_load(&socks->asked), asked + 1);
    T_IS(atomic_load(&socks->passed), passed + 1);
    T_CHECK(strcmp(socks->asked_for, asked_for) == 0);
}

/* "General failure" is all that it says. */
static void send_in_vain(const filch_http_client_opts *opts, const char *url)
{
    filch_http_client *client;
    filch_http_request *request;
    filch_http_response *response;

    T_OK(filch_http_client_new(opts, &client));
    T_OK(filch_http_request_new(client, "GET", url, &request));
    T_IS(filch_http_send(request, &response, NULL, T_LIMIT), -EIO);
    filch_http_request_free(request);
    filch_http_client_close(client);
}

static int go_by_socks(void *arg)
{
    static const struct {
        int says, error;
    } refusals[] = {{2, -EACCES},       {3, -EHOSTUNREACH}, {4, -EHOSTUNREACH},
                    {5, -ECONNREFUSED}, {6, -EHOSTUNREACH}, {1, -EIO}};
    filch_http_client_opts opts = {.no_retries = true};
    struct http_site site;
    struct socks socks;
    filch_error error;
    char proxy[FILCH_ADDR_BYTES + 16];
    int asked;

    (void)arg;
    site_open(&site);
    socks_open(&socks);
    go_by(&socks, "socks5", url_of("127.0.0.1", &site, "/"), "127.0.0.1");
    go_by(&socks, "socks5h", url_of("127.0.0.1", &site, "/"), "127.0.0.1");
    /* A name that only the proxy knows. */
    go_by(&socks, "socks5h", url_of("no.such.host.invalid", &site, "/"), "no.such.host.invalid");
    snprintf(proxy, sizeof(proxy), "socks5h://%s", socks.addr);
    opts.proxy = proxy;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(*refusals); i++) {
        asked = atomic_load(&socks.asked);
        atomic_store(&socks.answer, refusals[i].says);
        T_IS(get(&opts, url_of("127.0.0.1", &site, "/"), NULL, &error), refusals[i].error);
        T_IS(atomic_load(&socks.asked), asked + 1);
        T_IS(error.detail, FILCH_HTTP_CONNECT);
    }
    atomic_store(&socks.answer, 1);
    send_in_vain(&opts, url_of("127.0.0.1", &site, "/"));
    socks_close(&socks);
    T_IS(get(&opts, url_of("127.0.0.1", &site, "/"), NULL, &error), -ECONNREFUSED);
    T_IS(error.detail, FILCH_HTTP_CONNECT);
    http_site_close(&site);
    return 0;
}

Test(http_client_options, a_proxy_that_speaks_socks)
{
    T_OK(run_in_runtime(0, go_by_socks, NULL));
}

/* ---- the environment's proxy ---- */

struct environment {
    int fd; /* a bound socket, to which http_proxy points */
    char addr[FILCH_ADDR_BYTES];
};

static int answer_as_proxy(filch_exchange *x, void *context)
{
    (void)context;
    return filch_exchange_reply(x, 200, NULL, "by proxy", 8, FILCH_NEVER);
}

static int go_by_environment(void *arg)
{
    const struct environment *environment = arg;
    struct http_site site, proxy;
    filch_error error;

    site_open(&site);
    http_site_new(&proxy, NULL);
    T_OK(filch_http_route(proxy.server, "GET", "/", answer_as_proxy, NULL));
    T_OK(listen(environment->fd, 16));
    T_OK(filch_listener_adopt(environment->fd, &proxy.listener));
    proxy.task = spawn(http_site_serve, &proxy);
    get(NULL, url_of("127.0.0.1", &site, "/"), "by proxy", &error);
    get(&(filch_http_client_opts){0}, url_of("127.0.0.1", &site, "/"), "by proxy", &error);
    get(&(filch_http_client_opts){.proxy = "", .user_agent = "me"}, url_of("127.0.0.1", &site, "/"),
        "me", &error);
    http_site_close(&proxy);
    http_site_close(&site);
    return 0;
}

Test(http_client_options, the_proxy_of_the_environment_unless_told_otherwise)
{
    struct environment environment;
    char proxy[FILCH_ADDR_BYTES + 16];

    environment.fd = raw_bind(environment.addr);
    snprintf(proxy, sizeof(proxy), "http://%s", environment.addr);
    T_OK(setenv("http_proxy", proxy, 1));
    T_OK(unsetenv("no_proxy"));
    T_OK(unsetenv("NO_PROXY"));
    T_OK(run_in_runtime(0, go_by_environment, &environment));
}

/* ---- a connection that never comes ---- */

#define IN_QUEUE 4

/* Somebody who listens and whose queue is full: the kernel drops what comes. */
static int wait_for_connection(void *arg)
{
    const filch_time limit = 100 * FILCH_MILLISECOND;
    char addr[FILCH_ADDR_BYTES], url[FILCH_ADDR_BYTES + 16];
    int listener = raw_bind(addr), waiting[IN_QUEUE];
    struct sockaddr_in to = raw_addr(addr);
    filch_error error;
    filch_time began, late;

    (void)arg;
    T_OK(listen(listener, 0));
    for (int i = 0; i < IN_QUEUE; i++) {
        waiting[i] = raw_socket();
        T_OK(fcntl(waiting[i], F_SETFL, O_NONBLOCK));
        if (connect(waiting[i], (struct sockaddr *)&to, sizeof(to)) < 0)
            T_IS(errno, EINPROGRESS);
    }
    snprintf(url, sizeof(url), "http://%s/", addr);
    began = filch_now();
    late = T_LIMIT; /* that of the request, which says -ETIMEDOUT, too */
    T_IS(get(&(filch_http_client_opts){.proxy = "", .connect_ns = limit}, url, NULL, &error),
         -ETIMEDOUT);
    T_CHECK(filch_now() >= began + limit && filch_now() < late);
    T_IS(error.detail, FILCH_HTTP_CONNECT);
    T_CHECK(strstr(error.text, "connecting: "));
    for (int i = 0; i < IN_QUEUE; i++)
        T_OK(close(waiting[i]));
    T_OK(close(listener));
    return 0;
}

Test(http_client_options, a_connection_that_does_not_come_is_given_up)
{
    T_OK(run_in_runtime(0, wait_for_connection, NULL));
}
