/* A server of HTTP on the loopback, on a port that the kernel chooses, in a task of its own. The
 * test says what it answers:
 *
 *     http_site_new(&site, NULL);
 *     T_OK(filch_http_route(site.server, "GET", "/", hello, NULL));
 *     http_site_open(&site);
 *     ...
 *     http_site_close(&site);
 */
#ifndef FILCH_TESTS_RUNNER_HTTP_SITE_H
#define FILCH_TESTS_RUNNER_HTTP_SITE_H

#include <filch/http_server.h>

#include "tests/runner/tcp_pair.h"

struct http_site {
    filch_http_server *server;
    filch_listener *listener;
    filch_task *task; /* that serves */
    char addr[FILCH_ADDR_BYTES];
};

/* A server without routes, which listens nowhere yet. */
static inline void http_site_new(struct http_site *site, const filch_http_server_opts *opts)
{
    memset(site, 0, sizeof(*site));
    T_OK(filch_http_server_new(opts, &site->server));
}

static inline int http_site_serve(void *arg)
{
    struct http_site *site = arg;

    return filch_http_serve(site->server, site->listener, FILCH_NEVER);
}

/* Listens and serves, with all routes there. */
static inline void http_site_open_at(struct http_site *site, const char *addr)
{
    T_OK(filch_listener_open(addr, NULL, &site->listener));
    T_OK(filch_listener_addr(site->listener, site->addr));
    site->task = spawn(http_site_serve, site);
}

static inline void http_site_open(struct http_site *site)
{
    http_site_open_at(site, "127.0.0.1:0");
}

/* Nobody serves any more. */
static inline void http_site_free(struct http_site *site)
{
    T_OK(filch_listener_close(site->listener));
    filch_http_server_free(site->server);
}

/* Ends gracefully. */
static inline void http_site_close(struct http_site *site)
{
    T_OK(filch_http_drain(site->server, T_LIMIT));
    T_OK(join(site->task));
    http_site_free(site);
}

static inline filch_http_server_stats http_site_stats(const struct http_site *site)
{
    filch_http_server_stats stats;

    T_OK(filch_http_server_stats_get(site->server, &stats));
    return stats;
}

#endif
