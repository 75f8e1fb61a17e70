/* A connection that speaks HTTP/1: one request after the other, in one task.
 *
 *     read a head --> find the route --> handler --> end the answer --> drop what is left of the
 * body ^                                                                  |          |
 *          +---------------------------- keep --------------------------------+        close
 *
 * Requests that a peer has sent at once are answered in their order. Answers gather in the buffer
 * as long as more requests are there and their handlers are prompt; a handler that may wait for
 * something else is not called before the answers in front of it have left.
 *
 * A request that is refused is the last one, as nobody knows where the next begins. At the end of a
 * connection our side is ended first, and what still comes is read for a while: closing a socket
 * with unread input resets it, and the peer might lose the answer. An answer that was cut off ends
 * in a reset on purpose.
 *
 * One allocation holds all of a connection; what it does not use of its buffers is never touched.
 * Nothing is allocated for a request. */
#include "io/http/h1.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <filch/time.h>

#include "io/http/h2.h"

/* How long a peer may go on sending to a connection that has ended. */
#define LINGER_NS (2 * FILCH_SECOND)

filch_time h1_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (filch_time)now.tv_sec * FILCH_SECOND + (filch_time)now.tv_nsec;
}

filch_time h1_limit(filch_time until, filch_time span_ns)
{
    filch_time limit = h1_now() + span_ns;

    return limit < span_ns || until < limit ? until : limit;
}

static struct h1 *h1_new(filch_http_server *server, filch_tcp *tcp, filch_io io,
                         const filch_http_wrapped *wrapped)
{
    const filch_http_server_opts *opts = &server->opts;
    size_t fields = opts->fields_max * sizeof(struct http_field);
    size_t copy = opts->target_bytes_max + 1;
    size_t in = opts->head_bytes_max + H1_BODY_BYTES;
    struct h1 *h = malloc(sizeof(*h) + fields + H1_OUT_BYTES + in + 2 * copy);
    char *at;

    if (!h)
        return NULL;
    at = (char *)(h + 1);
    h->x.wire = &h1_wire;
    h->x.server = server;
    h->x.tcp = tcp;
    h->x.wrapped = wrapped ? wrapped->state : NULL;
    h->x.head = (struct http_head){.fields = (struct http_field *)at, .max = opts->fields_max};
    h->conn = (struct http_conn){0};
    h->io = io;
    h->direct = tcp && !wrapped;
    h->keep = true;
    h->http2 = false;
    h->error = 0;
    h->requests = 0;
    h->out = at + fields;
    h->in = h->out + H1_OUT_BYTES;
    h->in_bytes = in;
    h->head_end = h->rd = h->wr = 0;
    h->body = (struct h1_body){0};
    h->out_bytes = h->chunk_at = 0;
    h->chunk_open = false;
    h->date_s = -1;
    h->copies = h->in + in;
    h->x.scratch = h->copies + copy;
    return h;
}

/* A request that is not for a handler: its answer is the last one. */
static void refuse(struct h1 *h, int status)
{
    struct filch_exchange *x = &h->x;

    http_count(&x->server->malformed);
    http_exchange_init(x);
    if (!x->head.version) { /* it was not read so far */
        x->head.method = "";
        x->head.target = (char *)"";
        x->head.version = 11;
    }
    h->keep = false;
    (void)!http_exchange_status(x, status, FILCH_NEVER);
    http_exchange_tell(&h->x, !h->x.broken && !h->error);
}

/* What was not read of the body stands between this request and the next. */
static void serve_request(struct h1 *h)
{
    struct filch_exchange *x = &h->x;
    int status;

    h->requests++;
    filch_store_relaxed(&h->conn.requests, h->requests);
    h->keep = x->head.keep;
    http_exchange_init(x);
    if (x->server->opts.access)
        x->began = filch_now();
    status = http_exchange_match(x);
    if (status) {
        refuse(h, status);
        return;
    }
    if (h->out_bytes && !(x->match.route && x->match.route->flags & FILCH_HTTP_PROMPT) &&
        h1_flush(h, FILCH_NEVER) < 0)
        return;
    http_exchange_run(x);
    http_exchange_tell(&h->x, !h->x.broken && !h->error);
    if (x->broken || !h1_drop_body(h))
        h->keep = false;
}

static void run(struct h1 *h)
{
    while (h->keep && !h->error) {
        int r;

        h->x.head.version = 0;
        r = h1_read_head(h);
        if (r > 0)
            refuse(h, r);
        else if (r == 0)
            serve_request(h);
        else
            return;
    }
}

/* Ends our side. A close would do that for a plain connection. */
static int finish(struct h1 *h, filch_time until)
{
    return h->io.writer.finish ? h->io.writer.finish(h->io.writer.context, until) : -ENOTSUP;
}

/* Ends our side, and reads what comes for a while. */
static void linger(struct h1 *h)
{
    filch_time until = filch_after(LINGER_NS);
    size_t bytes = 0;
    ssize_t n = 1;

    if (finish(h, until) < 0)
        return;
    while (bytes < H1_LINGER_BYTES && n > 0) {
        n = h->io.reader.read(h->io.reader.context, h->in, h->in_bytes, until);
        bytes += n > 0 ? (size_t)n : 0;
    }
}

static void end(struct h1 *h)
{
    if (h->x.broken) {
        if (h->x.tcp)
            (void)!filch_tcp_set(h->x.tcp, FILCH_TCP_LINGER, 0);
        return;
    }
    if (h->error || h1_flush(h, FILCH_NEVER) < 0)
        return;
    if (!h->keep)
        linger(h);
    else if (!h->direct)
        FILCH_SHIELD(filch_after(FILCH_SECOND)) /* a drain has cancelled it */
    (void)finish(h, FILCH_NEVER);
}

/* A connection too many: it gets its answer without being asked. */
static void answer_full(struct h1 *h)
{
    (void)!filch_exchange_set(&h->x, "Retry-After", "1");
    http_count(&h->x.server->refused);
    h->x.head.version = 11;
    h->x.head.method = "";
    h->keep = false;
    (void)!http_exchange_status(&h->x, 503, FILCH_NEVER);
}

int h1_serve(filch_http_server *server, filch_tcp *tcp, filch_io io,
             const filch_http_wrapped *wrapped)
{
    struct h1 *h = h1_new(server, tcp, io, wrapped);
    int r;

    if (!h)
        return -ENOMEM;
    http_exchange_init(&h->x);
    r = http_conn_enter(server, &h->conn);
    if (r >= 0) {
        if (r == 503)
            answer_full(h);
        else
            run(h);
        r = h->http2 ? h2_run(server, &h->conn, tcp, io, h->x.wrapped, h->in, h->wr) : (end(h), 0);
        http_conn_leave(server, &h->conn);
    }
    free(h);
    return r;
}
