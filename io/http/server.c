/* Servers: connections come, are counted, and end.
 *
 *     filch_http_serve()  --  a task that accepts
 *                         +-  a task for each connection: h1_serve(), h2_serve()
 *
 * The caller's task waits for the drain, its time or a cancel, and ends the others by two scopes:
 * accepting first. A connection beyond the limit is accepted and told so (503); when there are many
 * of these, too, the kernel's queue keeps the rest.
 *
 * A drain ends connections that are idle by a cancel of their tasks. Whether one is idle is its
 * state (server.h):
 *
 *       BUSY <--------- bytes came --------+
 *         |                                |
 *         +-- about to wait for a head --> IDLE --> ENDED (by the drain, which cancels the task)
 *
 *     connection                              drain
 *     state = IDLE            (exchange)      draining = 1            (exchange)
 *     is it draining? leave   (load)          state IDLE -> ENDED     (CAS), for each in the list
 *
 * A connection with many requests at a time is told by a call instead, and ends as it can (h2.c).
 *
 * [http-drain] All four are seq_cst: whichever comes second sees what the other has written. Only
 * the one that takes the state out of IDLE goes on, so a request that has begun to come is never
 * cancelled. The list is under the lock; nobody enters it once it is draining. */
#include "io/http/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <filch/join.h>
#include <filch/scope.h>
#include <filch/time.h>

#include "io/http/h1.h"
#include "io/http/h2.h"

#define FIELDS_MAX 1000u
#define STREAMS_MAX 10000u
#define HEAD_BYTES_MAX ((size_t)64 * 1024)
/* Connections at a time that are there only to be refused. */
#define REFUSED_MAX 64u

static void set_defaults(filch_http_server_opts *opts)
{
    opts->head_bytes_max = opts->head_bytes_max ?: (size_t)16 * 1024;
    opts->target_bytes_max = opts->target_bytes_max ?: (size_t)8 * 1024;
    opts->fields_max = opts->fields_max ?: 100;
    opts->body_bytes_max = opts->body_bytes_max ?: (uint64_t)1024 * 1024;
    opts->connections_max = opts->connections_max ?: 10000;
    opts->streams_max = opts->streams_max ?: 128;
    opts->idle_ns = opts->idle_ns ?: 60 * FILCH_SECOND;
    opts->head_ns = opts->head_ns ?: 10 * FILCH_SECOND;
    opts->stall_ns = opts->stall_ns ?: 30 * FILCH_SECOND;
    opts->body_rate_min = opts->body_rate_min ?: 240;
    if (opts->target_bytes_max > opts->head_bytes_max)
        opts->target_bytes_max = opts->head_bytes_max;
}

static bool is_valid(const filch_http_server_opts *opts)
{
    return opts->head_bytes_max <= HEAD_BYTES_MAX && opts->fields_max <= FIELDS_MAX &&
           opts->streams_max <= STREAMS_MAX &&
           (!opts->server_name || (strlen(opts->server_name) <= 256 &&
                                   http_is_value(opts->server_name, strlen(opts->server_name)))) &&
           (!opts->wrap || opts->wrap->begin);
}

int filch_http_server_new(const filch_http_server_opts *opts, filch_http_server **ret_server)
{
    filch_http_server *server;
    int r;

    if (!ret_server || (opts && !is_valid(opts)))
        return -EINVAL;
    server = calloc(1, sizeof(*server));
    if (!server)
        return -ENOMEM;
    r = filch_token_new(&server->stop);
    if (r < 0) {
        free(server);
        return r;
    }
    if (opts)
        server->opts = *opts;
    set_defaults(&server->opts);
    server->server_name_bytes = server->opts.server_name ? strlen(server->opts.server_name) : 0;
    filch_mutex_init(&server->lock);
    filch_cond_init(&server->ended);
    *ret_server = server;
    return 0;
}

void filch_http_server_free(filch_http_server *server)
{
    if (!server)
        return;
    filch_cond_fini(&server->ended);
    filch_mutex_fini(&server->lock);
    filch_token_unref(server->stop);
    http_routes_free(server->routes);
    free(server);
}

int filch_http_route(filch_http_server *server, const char *method, const char *pattern,
                     filch_http_handler handler, void *context)
{
    return filch_http_route_flags(server, method, pattern, handler, context, 0);
}

int filch_http_route_flags(filch_http_server *server, const char *method, const char *pattern,
                           filch_http_handler handler, void *context, unsigned flags)
{
    if (!server || (method && !http_is_token(method, strlen(method))) ||
        flags & ~(unsigned)FILCH_HTTP_PROMPT)
        return -EINVAL;
    if (filch_load_relaxed(&server->serving))
        return -EBUSY;
    return http_route_add(&server->routes, method, pattern, handler, context, flags, NULL);
}

int filch_http_route_files(filch_http_server *server, const char *prefix, const char *folder)
{
    struct http_route *route;
    size_t bytes = prefix ? strlen(prefix) : 0;
    char *pattern, *copy;
    int r = -ENOMEM;

    if (!server || !folder || !bytes)
        return -EINVAL;
    if (filch_load_relaxed(&server->serving))
        return -EBUSY;
    if (prefix[bytes - 1] == '/')
        bytes--;
    pattern = malloc(bytes + sizeof("/{path...}"));
    copy = strdup(folder);
    if (pattern && copy) {
        memcpy(pattern, prefix, bytes);
        memcpy(pattern + bytes, "/{path...}", sizeof("/{path...}"));
        r = http_route_add(&server->routes, "GET", pattern, http_serve_folder, NULL,
                           FILCH_HTTP_PROMPT, &route);
    }
    if (r == 0)
        route->folder = copy;
    else
        free(copy);
    free(pattern);
    return r;
}

/* ---- connections ---- */

int http_conn_enter(filch_http_server *server, struct http_conn *conn)
{
    int r = 0;

    conn->task = filch_task_self();
    r = filch_mutex_lock_shielded(&server->lock);
    if (r < 0)
        return r;
    if (http_is_draining(server)) {
        filch_mutex_unlock(&server->lock);
        return -ESHUTDOWN;
    }
    if (server->open >= server->opts.connections_max)
        r = 503;
    server->open++;
    conn->next = server->conns;
    conn->link = &server->conns;
    if (conn->next)
        conn->next->link = &conn->next;
    server->conns = conn;
    http_count(&server->accepted);
    filch_mutex_unlock(&server->lock);
    return r;
}

void http_conn_leave(filch_http_server *server, struct http_conn *conn)
{
    int r = filch_mutex_lock_shielded(&server->lock);

    (void)r; /* it is not this task's already */
    *conn->link = conn->next;
    if (conn->next)
        conn->next->link = conn->link;
    server->open--;
    server->requests += filch_load_relaxed(&conn->requests);
    filch_cond_broadcast(&server->ended);
    filch_mutex_unlock(&server->lock);
}

bool http_conn_on_drain(filch_http_server *server, struct http_conn *conn,
                        void (*drain)(void *context), void *context)
{
    int r = filch_mutex_lock_shielded(&server->lock);
    bool draining = http_is_draining(server);

    (void)r; /* it is not this task's already */
    conn->drain = drain;
    conn->drain_context = context;
    filch_mutex_unlock(&server->lock);
    return !draining;
}

bool http_conn_idle(filch_http_server *server, struct http_conn *conn)
{
    filch_exchange_seq_cst(&conn->state, HTTP_CONN_IDLE); /* [http-drain] */
    return !filch_load_seq_cst(&server->draining);
}

bool http_conn_busy(struct http_conn *conn)
{
    uint32_t expected = HTTP_CONN_IDLE;

    return filch_cas_seq_cst(&conn->state, &expected, HTTP_CONN_BUSY);
}

/* ---- serving ---- */

struct serving {
    filch_http_server *server;
    filch_listener *listener;
    filch_scope *conns;
    int accept_error;
};

struct arrival {
    filch_http_server *server;
    filch_tcp *conn;
};

static int serve_wrapped(const struct arrival *arrival)
{
    filch_http_server *server = arrival->server;
    const filch_http_wrap *wrap = server->opts.wrap;
    filch_http_wrapped wrapped = {0};
    int r = wrap->begin(wrap->context, arrival->conn, &wrapped, filch_after(server->opts.head_ns));

    if (r == -ETIMEDOUT)
        http_count(&server->timeouts);
    if (r == 0 && wrapped.http2 && server->opts.no_http2) {
        if (wrap->end)
            wrap->end(wrap->context, wrapped.state);
        r = -EPROTONOSUPPORT;
    }
    if (r < 0) {
        http_count(&server->unwrapped);
        return r;
    }
    r = wrapped.http2 ? h2_serve(server, arrival->conn, wrapped.io, &wrapped)
                      : h1_serve(server, arrival->conn, wrapped.io, &wrapped);
    if (wrap->end)
        wrap->end(wrap->context, wrapped.state);
    return r;
}

static int serve_arrival(void *arg)
{
    const struct arrival *arrival = arg;
    int r = arrival->server->opts.wrap
                ? serve_wrapped(arrival)
                : h1_serve(arrival->server, arrival->conn, filch_tcp_io(arrival->conn), NULL);

    filch_tcp_close(arrival->conn);
    return r;
}

static int accept_all(void *arg)
{
    struct serving *serving = arg;
    struct arrival arrival = {.server = serving->server};
    const filch_task_opts opts = {.name = "http", .copy_bytes = sizeof(arrival)};
    int r;

    for (;;) {
        r = filch_listener_accept(serving->listener, &arrival.conn, FILCH_NEVER);
        if (r < 0)
            return r;
        r = filch_scope_spawn_wait(serving->conns, serve_arrival, &arrival, &opts, FILCH_NEVER);
        if (r < 0)
            filch_tcp_close(arrival.conn);
        if (r == -ECANCELED)
            return r;
    }
}

/* Waits until no more is to be accepted. Return: 0: the server drains; an error. */
static int wait_for_end(struct serving *serving, filch_task *acceptor, filch_time until)
{
    int result = 0;
    filch_case cases[] = {filch_case_token(serving->server->stop),
                          filch_case_join(acceptor, &result)};
    int r = filch_select(cases, 2, FILCH_SELECT_ORDERED, until);

    if (r == 1) {
        serving->accept_error = result;
        return result;
    }
    filch_task_cancel(acceptor);
    FILCH_SHIELD(FILCH_NEVER)
    {
        (void)!filch_task_join(acceptor, NULL, FILCH_NEVER);
    }
    return r;
}

int filch_http_serve(filch_http_server *server, filch_listener *listener, filch_time until)
{
    struct serving serving = {.server = server, .listener = listener};
    filch_task *acceptor;
    int r;

    if (!server || !listener)
        return -EINVAL;
    if (!filch_task_self())
        return -EPERM;
    filch_store_relaxed(&server->serving, 1);
    FILCH_SCOPE_WITH(conns, FILCH_SCOPE_IGNORE_ERRORS);
    filch_scope_limit(&conns, server->opts.connections_max + REFUSED_MAX);
    serving.conns = &conns;
    r = filch_task_spawn(accept_all, &serving, &(filch_task_opts){.name = "http accept"},
                         &acceptor);
    if (r < 0)
        return r;
    r = wait_for_end(&serving, acceptor, until);
    if (r == 0)
        r = filch_scope_join(&conns, until);
    return r;
}

struct one_io {
    filch_http_server *server;
    filch_io io;
};

static int serve_one(void *arg)
{
    struct one_io *one = arg;

    return h1_serve(one->server, NULL, one->io, NULL);
}

int filch_http_serve_io(filch_http_server *server, filch_io io, filch_time until)
{
    struct one_io one = {server, io};
    int r;

    if (!server || !io.reader.read || !io.writer.write)
        return -EINVAL;
    if (!filch_task_self())
        return -EPERM;
    filch_store_relaxed(&server->serving, 1);
    FILCH_SCOPE(scope); /* a task of its own: a drain may cancel it */
    r = filch_scope_spawn_opts(&scope, serve_one, &one, &(filch_task_opts){.name = "http"});
    if (r == 0)
        r = filch_scope_join(&scope, until);
    return r;
}

/* ---- the end ---- */

/* Under the lock. */
static void cancel_conns(filch_http_server *server, bool idle_only)
{
    for (struct http_conn *conn = server->conns; conn; conn = conn->next) {
        uint32_t expected = HTTP_CONN_IDLE;

        if (idle_only && conn->drain) {
            conn->drain(conn->drain_context);
            continue;
        }
        /* [http-drain] */
        if (filch_cas_seq_cst(&conn->state, &expected, HTTP_CONN_ENDED) || !idle_only)
            filch_task_cancel(conn->task);
    }
}

int filch_http_drain(filch_http_server *server, filch_time until)
{
    int r;

    if (!server)
        return -EINVAL;
    if (!filch_task_self())
        return -EPERM;
    filch_exchange_seq_cst(&server->draining, 1); /* [http-drain] */
    filch_token_cancel(server->stop, -ESHUTDOWN, "the server drains");
    r = filch_mutex_lock_shielded(&server->lock);
    if (r < 0)
        return r;
    cancel_conns(server, true);
    while (r == 0 && server->open)
        r = filch_cond_wait(&server->ended, &server->lock, until);
    if (r < 0)
        cancel_conns(server, false);
    FILCH_SHIELD(FILCH_NEVER)
    {
        while (server->open)
            if (filch_cond_wait(&server->ended, &server->lock, FILCH_NEVER) < 0)
                break;
    }
    filch_mutex_unlock(&server->lock);
    return r;
}

int filch_http_server_stats_get(filch_http_server *server, filch_http_server_stats *ret_stats)
{
    int r;

    if (!server || !ret_stats)
        return -EINVAL;
    r = filch_mutex_lock_shielded(&server->lock);
    if (r < 0)
        return r;
    *ret_stats = (filch_http_server_stats){
        .connections = filch_load_relaxed(&server->accepted),
        .refused = filch_load_relaxed(&server->refused),
        .requests = server->requests,
        .malformed = filch_load_relaxed(&server->malformed),
        .timeouts = filch_load_relaxed(&server->timeouts),
        .unwrapped = filch_load_relaxed(&server->unwrapped),
        .open = server->open,
    };
    for (struct http_conn *conn = server->conns; conn; conn = conn->next)
        ret_stats->requests += filch_load_relaxed(&conn->requests);
    filch_mutex_unlock(&server->lock);
    return 0;
}
