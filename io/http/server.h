/* A server inside: see server.c. */
#ifndef FILCH_IO_HTTP_SERVER_H
#define FILCH_IO_HTTP_SERVER_H

#include <filch/cancel.h>
#include <filch/cond.h>
#include <filch/http_server.h>
#include <filch/mutex.h>
#include <filch/task.h>

#include "io/http/route.h"
#include "runtime/base/atomic.h"

/* Is a connection between requests? Then a drain may end it. */
enum http_conn_state {
    HTTP_CONN_BUSY = 0,
    HTTP_CONN_IDLE,
    HTTP_CONN_ENDED, /* by a drain, while it was idle */
};

/* What the server knows of a connection. */
struct http_conn {
    struct http_conn *next, **link; /* under the lock */
    filch_task *task;
    /* Ends the connection gently. NULL: it goes by its state. Under the lock */
    void (*drain)(void *context);
    void *drain_context;
    filch_atomic_u32 state;
    filch_atomic_u64 requests; /* written by the connection only */
};

struct filch_http_server {
    filch_http_server_opts opts; /* with the defaults filled in */
    size_t server_name_bytes;
    struct http_node *routes;
    filch_token *stop;        /* cancelled by a drain */
    filch_atomic_u32 serving; /* has it begun? Routes are fixed then */
    /* Set by a drain, before it looks at states. [http-drain] seq_cst on both words: a connection
     * says that it is idle, then looks here; a drain says this, then looks at the states. So one of
     * them sees the other. */
    filch_atomic_u32 draining;
    filch_mutex lock; /* of the list and the counts below */
    filch_cond ended; /* a connection has left */
    struct http_conn *conns;
    unsigned open;
    uint64_t requests; /* of connections that have left; under the lock */
    filch_atomic_u64 accepted, refused, malformed, timeouts, unwrapped;
};

/* A connection comes. Return: 0; 503 (it is one too many); -ESHUTDOWN; -ECANCELED. */
int http_conn_enter(filch_http_server *server, struct http_conn *conn);
void http_conn_leave(filch_http_server *server, struct http_conn *conn);

/* What a drain is to call, with the server's lock, for a connection with many requests at a time;
 * NULL: nothing any more. Return: false: it drains already, and has not called. */
bool http_conn_on_drain(filch_http_server *server, struct http_conn *conn,
                        void (*drain)(void *context), void *context);

/* Around the wait for a request. Return: false: the server drains, it is over. */
bool http_conn_idle(filch_http_server *server, struct http_conn *conn);
bool http_conn_busy(struct http_conn *conn);

static inline bool http_is_draining(filch_http_server *server)
{
    return filch_load_relaxed(&server->draining);
}

static inline void http_count(filch_atomic_u64 *count)
{
    filch_fetch_add_relaxed(count, 1);
}

#endif
