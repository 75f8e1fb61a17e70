/* Description: the HTTP client and a server that is not ours, nginx: HTTP/2 over TLS and without,
 * many requests on one connection, ranges, and what it says of files that are not there. nginx gets
 * its sockets from us, so the kernel chooses their ports. */
#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

#include <criterion/criterion.h>

#include <filch/http_client.h>

#include "tests/runner/programs.h"
#include "tests/runner/temp_dir.h"
#include "tests/runner/tls_pair.h"

TestSuite(http_client_peer, .timeout = 120, .init = test_starts_programs);

#define BYTES ((size_t)1 << 20)

struct nginx {
    struct temp_dir dir;
    int sockets[2]; /* TLS, plain */
    char addrs[2][FILCH_ADDR_BYTES], ca[128];
    filch_process *process;
};

static const char *find_nginx(void)
{
    static const char *const paths[] = {"/usr/sbin/nginx", "/usr/local/sbin/nginx",
                                        "/usr/bin/nginx"};

    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
        if (access(paths[i], X_OK) == 0)
            return paths[i];
    return NULL;
}

static void write_text(const char *path, const char *text, size_t bytes)
{
    FILE *file = fopen(path, "w");

    T_CHECK(file && fwrite(text, 1, bytes, file) == bytes);
    T_OK(fclose(file));
}

static void write_conf(const struct nginx *nginx)
{
    static char text[4096];
    /* A worker of root's changes to a user who may not look into the directory. */
    int n = snprintf(
        text, sizeof(text),
        "daemon off; worker_processes 1; %4$s pid %1$s/pid; error_log stderr crit;\n"
        "events {}\n"
        "http {\n"
        "    access_log off; root %1$s; default_type text/plain;\n"
        "    client_body_temp_path %1$s/a; proxy_temp_path %1$s/b;\n"
        "    fastcgi_temp_path %1$s/c; uwsgi_temp_path %1$s/d; scgi_temp_path %1$s/e;\n"
        "    add_header X-Connection $connection;\n"
        "    ssl_certificate %1$s/cert.pem; ssl_certificate_key %1$s/key.pem;\n"
        "    server { listen %2$s ssl http2; }\n"
        "    server { listen %3$s http2; }\n"
        "}\n",
        nginx->dir.path, nginx->addrs[0], nginx->addrs[1], geteuid() == 0 ? "user root;" : "");

    T_CHECK(n > 0 && (size_t)n < sizeof(text));
    write_text(in_dir(&nginx->dir, "conf"), text, (size_t)n);
}

static void write_files(struct nginx *nginx)
{
    static char body[BYTES];
    struct identity identity;

    make_identity(&identity, "IP:127.0.0.1", 0, 3600);
    write_text(in_dir(&nginx->dir, "key.pem"), identity.key, strlen(identity.key));
    snprintf(nginx->ca, sizeof(nginx->ca), "%s", in_dir(&nginx->dir, "cert.pem"));
    write_text(nginx->ca, identity.cert, strlen(identity.cert));
    for (size_t i = 0; i < BYTES; i++)
        body[i] = (char)('a' + i % 26);
    write_text(in_dir(&nginx->dir, "large"), body, BYTES);
    write_text(in_dir(&nginx->dir, "small"), body, 10);
}

static void nginx_open(struct nginx *nginx)
{
    static const char *const env[] = {"NGINX=3;4;", NULL};
    const filch_process_fd fds[] = {{.to = 3}, {.to = 4}};
    filch_process_fd given[2];
    filch_process_opts opts = {.env = env,
                               .in = {.kind = FILCH_STDIO_NULL},
                               .out = {.kind = FILCH_STDIO_NULL},
                               .err = {.kind = FILCH_STDIO_NULL},
                               .fds = given,
                               .fd_count = 2,
                               .flags = FILCH_PROCESS_KILL_ON_CLOSE};
    char conf[128];

    memset(nginx, 0, sizeof(*nginx));
    temp_dir_make(&nginx->dir);
    for (int i = 0; i < 2; i++) {
        nginx->sockets[i] = raw_bind(nginx->addrs[i]);
        T_OK(listen(nginx->sockets[i], 128));
        given[i] = fds[i];
        given[i].from = nginx->sockets[i];
    }
    write_files(nginx);
    write_conf(nginx);
    snprintf(conf, sizeof(conf), "%s", in_dir(&nginx->dir, "conf"));
    T_OK(filch_process_spawn((const char *const[]){find_nginx(), "-p", nginx->dir.path, "-c", conf,
                                                   "-e", "stderr", NULL},
                             &opts, &nginx->process, T_LIMIT));
}

static void nginx_close(struct nginx *nginx)
{
    filch_process_status status;

    T_OK(filch_process_kill(nginx->process, SIGTERM));
    T_OK(filch_process_wait(nginx->process, &status, T_LIMIT));
    T_IS(status.code, 0);
    T_OK(filch_process_close(nginx->process));
    for (int i = 0; i < 2; i++)
        T_OK(close(nginx->sockets[i]));
    temp_dir_remove(&nginx->dir);
}

static filch_http_client *client_new(const struct nginx *nginx, filch_http_client_opts opts)
{
    filch_http_client *client;

    opts.proxy = "";
    opts.ca_file = nginx->ca;
    T_OK(filch_http_client_new(&opts, &client));
    return client;
}

static filch_http_response *get(filch_http_client *client, const char *scheme, const char *addr,
                                const char *path)
{
    filch_http_response *response;
    filch_error error;
    char url[128];
    int r;

    snprintf(url, sizeof(url), "%s://%s%s", scheme, addr, path);
    r = filch_http_get(client, url, &response, &error, T_LIMIT);
    if (r < 0)
        fprintf(stderr, "%s\n", error.text);
    T_OK(r);
    return response;
}

static void expect_letters(filch_http_response *response, size_t first, size_t bytes)
{
    size_t got;
    const char *body = filch_http_response_body(response, &got);

    T_IS(got, bytes);
    for (size_t i = 0; i < bytes; i++)
        T_IS(body[i], 'a' + (int)((first + i) % 26));
}

/* ---- versions ---- */

static void expect_version(const struct nginx *nginx, filch_http_client_opts opts,
                           const char *scheme, const char *addr, int version)
{
    filch_http_client *client = client_new(nginx, opts);
    filch_http_response *response = get(client, scheme, addr, "/large");
    int64_t now, total;

    T_IS(filch_http_response_status(response), 200);
    T_IS(filch_http_response_version(response), version);
    expect_letters(response, 0, BYTES);
    T_OK(filch_http_response_progress(response, &now, &total));
    T_CHECK(now == (int64_t)BYTES && total == (int64_t)BYTES);
    filch_http_response_free(response);
    /* libcurl 7.88 cannot use a plain connection of HTTP/2 twice with nginx 1.22. */
    if (strcmp(scheme, "https") == 0) {
        response = get(client, scheme, addr, "/none");
        T_IS(filch_http_response_status(response), 404);
        filch_http_response_free(response);
    }
    filch_http_client_close(client);
}

static int versions(void *arg)
{
    struct nginx nginx;
    filch_http_client *client;
    filch_http_response *response;
    filch_http_request *request;
    char url[128];

    (void)arg;
    nginx_open(&nginx);
    expect_version(&nginx, (filch_http_client_opts){0}, "https", nginx.addrs[0], 20);
    expect_version(&nginx, (filch_http_client_opts){.http1 = true}, "https", nginx.addrs[0], 11);
    expect_version(&nginx, (filch_http_client_opts){.http2 = true}, "http", nginx.addrs[1], 20);
    client = client_new(&nginx, (filch_http_client_opts){0});
    snprintf(url, sizeof(url), "https://%s/large", nginx.addrs[0]);
    T_OK(filch_http_request_new(client, "GET", url, &request));
    T_OK(filch_http_request_set(request, "Range", "bytes=1000-200999"));
    T_OK(filch_http_send(request, &response, NULL, T_LIMIT));
    T_IS(filch_http_response_status(response), 206);
    T_OK(filch_http_response_read_all(response, NULL, T_LIMIT));
    expect_letters(response, 1000, 200000);
    filch_http_response_free(response);
    filch_http_request_free(request);
    filch_http_client_close(client);
    nginx_close(&nginx);
    return 0;
}

Test(http_client_peer, http2_is_spoken_where_the_server_speaks_it)
{
    if (!find_nginx())
        cr_skip_test("nginx is not installed");
    T_OK(run_in_runtime(0, versions, NULL));
}

/* ---- one connection for many, where libcurl can do that ---- */

static bool may_share(void)
{
    return curl_version_info(CURLVERSION_NOW)->version_num >= 0x080100;
}

struct visit {
    filch_http_client *client;
    const char *addr;
    char connection[32];
};

static int visit(void *arg)
{
    struct visit *v = arg;

    for (int i = 0; i < 5; i++) {
        filch_http_response *response = get(v->client, "https", v->addr, i ? "/small" : "/large");
        const char *connection = filch_http_response_header(response, "X-Connection");

        expect_letters(response, 0, i ? 10 : BYTES);
        T_CHECK(connection && strlen(connection) < sizeof(v->connection));
        T_CHECK(!*v->connection || !may_share() || strcmp(v->connection, connection) == 0);
        strcpy(v->connection, connection);
        filch_http_response_free(response);
    }
    return 0;
}

/* Streams that nobody reads, and one that is dropped, hold the others up for no time. */
static void hold_up(filch_http_client *client, const char *addr, filch_http_response **ret_held)
{
    filch_http_request *request;
    char url[128], letter;

    snprintf(url, sizeof(url), "https://%s/large", addr);
    T_OK(filch_http_request_new(client, "GET", url, &request));
    for (int i = 0; i < 2; i++) {
        T_OK(filch_http_send(request, &ret_held[i], NULL, T_LIMIT));
        T_IS(filch_http_response_read(ret_held[i], &letter, 1, NULL, T_LIMIT), 1);
    }
    filch_http_request_free(request);
    filch_http_response_free(ret_held[1]);
}

static int multiplex(void *arg)
{
    struct nginx nginx;
    filch_http_client *client;
    filch_http_response *held[2];
    struct visit visits[16];
    filch_task *tasks[16];

    (void)arg;
    nginx_open(&nginx);
    client = client_new(&nginx, (filch_http_client_opts){0});
    hold_up(client, nginx.addrs[0], held);
    for (int i = 0; i < 16; i++) {
        visits[i] = (struct visit){.client = client, .addr = nginx.addrs[0]};
        tasks[i] = spawn(visit, &visits[i]);
    }
    for (int i = 0; i < 16; i++)
        T_OK(join(tasks[i]));
    for (int i = 1; i < 16; i++)
        T_CHECK(!may_share() || strcmp(visits[i].connection, visits[0].connection) == 0);
    T_OK(filch_http_response_read_all(held[0], NULL, T_LIMIT));
    expect_letters(held[0], 1, BYTES - 1);
    filch_http_response_free(held[0]);
    filch_http_client_close(client);
    nginx_close(&nginx);
    return 0;
}

Test(http_client_peer, requests_share_a_connection_by_http2)
{
    if (!find_nginx())
        cr_skip_test("nginx is not installed");
    T_OK(run_in_runtime(0, multiplex, NULL));
}
