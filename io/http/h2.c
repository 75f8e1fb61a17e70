/* A connection that speaks HTTP/2: many requests at a time, a task for each.
 *
 *      peer ---> reader --(lock)--> nghttp2 --spawns--> task of a stream: handler
 *                                      ^                      |
 *                                      +------(lock)----------+  head, body, end of its answer
 *                                      |
 *      peer <--- writer <-(lock)-- frames                        kick: wakes the writer
 *
 * nghttp2's session knows what HTTP/2 is: frames, HPACK, states of streams, flow control. It does
 * no I/O and is for one thread at a time, so it has one lock, which nobody holds across a wait:
 *
 *     reader   the connection's task. Waits for bytes without the lock, and feeds them to nghttp2
 *              with it; what they mean comes by callbacks (h2_in.c): new streams, data, resets.
 *     streams  a task each, in a scope of the connection (h2_stream.c, h2_out.c). With the lock
 * they take input that was buffered, and give answers to nghttp2; they wait on a condition of their
 * own. writer   a task. With the lock it has nghttp2 make frames, some 32 KiB; it writes them
 * without. When it is woken, it lets others run first: so the answers of handlers that are ready
 *              leave in one write.
 *
 * Only the reader reads and only the writer writes. The lock comes after the server's (a drain).
 *
 * Who owns a stream: its task, while that runs, and nghttp2, until it says that the stream is
 * closed; the last one frees it. A task does not wait until its answer was sent; what is left of it
 * is small (H2_BODY_BYTES), and goes with the connection.
 *
 * Back-pressure. A peer may send H2_STREAM_WINDOW bytes of a body before its handler reads, and
 * H2_CONN_WINDOW of all; windows open as handlers read. A handler that writes waits while
 * H2_BODY_BYTES of its answer are not taken: by the peer's windows, or by its socket.
 *
 * Ends. A drain gives notice (GOAWAY without a last stream, and a PING); when the peer has answered
 * it, or after LEAVE_NS, the last stream is said, and no other is taken. When the streams have
 * ended and all is written, the writer cancels the reader, which ends the connection. At the end
 * our side is ended first, and what comes is read for a while: a reset could cost the peer an
 * answer. */
#include "io/http/h2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <filch/time.h>

#include "io/http/h1.h"

/* For a peer to see that we are leaving. */
#define LEAVE_NS FILCH_SECOND
/* For what is left to be written at the end, and for the peer to end its side. */
#define END_NS (2 * FILCH_SECOND)
#define LINGER_NS FILCH_SECOND

void h2_lock(struct h2 *h)
{
    int r = filch_mutex_lock_shielded(&h->lock);

    (void)r; /* it is never this task's already */
}

void h2_unlock(struct h2 *h)
{
    (void)filch_mutex_unlock(&h->lock);
}

void h2_kick(struct h2 *h)
{
    if (!h->writer_waits)
        return;
    h->writer_waits = false;
    (void)filch_cond_signal(&h->writable);
}

void h2_refuse(struct h2 *h, uint32_t error_code)
{
    nghttp2_session_terminate_session(h->session, error_code);
    h2_kick(h);
}

void h2_leave(struct h2 *h)
{
    if (h->leaving)
        return;
    h->leaving = true;
    h->leave_until = filch_after(LEAVE_NS);
    nghttp2_submit_shutdown_notice(h->session);
    h2_kick(h);
}

void h2_say_last(struct h2 *h)
{
    if (!h->leaving || h->left)
        return;
    h->left = true;
    nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(h->session), NGHTTP2_NO_ERROR,
                          NULL, 0);
    h2_kick(h);
}

/* ---- the writer ---- */

/* Has nghttp2 make frames. Return: bytes of them in h->out. */
static size_t make_frames(struct h2 *h)
{
    size_t bytes = 0;

    while (bytes < H2_OUT_BYTES) {
        ssize_t n = (ssize_t)h->rest_bytes;

        if (!n)
            n = nghttp2_session_mem_send(h->session, &h->rest);
        if (n < 0) {
            h->error = n == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
            return 0;
        }
        if (n == 0)
            break;
        h->rest_bytes = (size_t)n;
        if ((size_t)n > H2_OUT_BYTES + H2_FRAME_BYTES - bytes)
            n = bytes ? 0 : (ssize_t)H2_OUT_BYTES; /* in parts, should it be as large as that */
        if (n == 0)
            break;
        memcpy(h->out + bytes, h->rest, (size_t)n);
        bytes += (size_t)n;
        h->rest += n;
        h->rest_bytes -= (size_t)n;
    }
    return bytes;
}

static int write_frames(struct h2 *h, size_t bytes)
{
    size_t done = 0;

    while (done < bytes) {
        ssize_t n = h->io.writer.write(h->io.writer.context, h->out + done, bytes - done,
                                       h1_limit(FILCH_NEVER, h->server->opts.stall_ns));

        if (n == -ETIMEDOUT)
            http_count(&h->server->timeouts);
        if (n < 0)
            return (int)n;
        done += (size_t)n;
    }
    return 0;
}

/* Nobody has anything to say any more, or the peer has been told that it did something wrong? Then
 * the reader need not wait. */
static bool is_done(const struct h2 *h)
{
    return h->refused ||
           (!h->live && ((h->left && !h->open) || !nghttp2_session_want_read(h->session)));
}

/* Waits for something to be written. Return: 0; an error: it is to end. */
static int await_frames(struct h2 *h)
{
    int r;

    if (h->ending)
        return -ESHUTDOWN;
    if (is_done(h) && !h->over) {
        h->over = true;
        filch_task_cancel(h->conn->task);
    }
    h->writer_waits = true;
    r = filch_cond_wait(&h->writable, &h->lock,
                        h->leaving && !h->left ? h->leave_until : FILCH_NEVER);
    h->writer_waits = false;
    if (r == -ETIMEDOUT) {
        h2_say_last(h);
        return 0;
    }
    if (r < 0)
        return r;
    h2_unlock(h);
    filch_task_yield(); /* others may have something, too */
    h2_lock(h);
    return 0;
}

static int write_all(void *arg)
{
    struct h2 *h = arg;
    int r = 0;

    h2_lock(h);
    while (r == 0) {
        size_t bytes = make_frames(h);

        if (h->error) {
            r = h->error;
        } else if (bytes) {
            h2_unlock(h);
            r = write_frames(h, bytes);
            h2_lock(h);
        } else {
            r = await_frames(h);
        }
    }
    if (r != -ESHUTDOWN && !h->error)
        h->error = r;
    if (!h->over) {
        h->over = true;
        filch_task_cancel(h->conn->task);
    }
    h2_unlock(h);
    return 0;
}

/* ---- the reader ---- */

/* What has come goes to nghttp2. Return: is there more to be read? */
static bool feed(struct h2 *h, const char *bytes, size_t count)
{
    ssize_t n;
    bool goes_on;

    h2_lock(h);
    n = nghttp2_session_mem_recv(h->session, (const uint8_t *)bytes, count);
    if (n == NGHTTP2_ERR_NOMEM)
        h->error = -ENOMEM;
    else if (n < 0)
        h2_refuse(h, n == NGHTTP2_ERR_FLOODED ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR);
    goes_on = n >= 0 && !h->over && nghttp2_session_want_read(h->session);
    h2_kick(h);
    h2_unlock(h);
    return goes_on;
}

/* Nothing came in time. Return: is it right to wait on? */
static bool may_wait_on(struct h2 *h, filch_time limit)
{
    bool on;

    h2_lock(h);
    on = !h->over && h2_deadline(h) > limit;
    if (!on) {
        if (h->head_at || h->open || !h->started)
            http_count(&h->server->timeouts);
        nghttp2_session_terminate_session(h->session, NGHTTP2_NO_ERROR);
    }
    h2_unlock(h);
    return on;
}

static void read_all(struct h2 *h)
{
    for (;;) {
        filch_time limit;
        ssize_t n;

        h2_lock(h);
        limit = h2_deadline(h);
        h2_unlock(h);
        n = h->io.reader.read(h->io.reader.context, h->in, H2_IN_BYTES, limit);
        if (n == -ETIMEDOUT && may_wait_on(h, limit))
            continue;
        if (n <= 0 || !feed(h, h->in, (size_t)n))
            return;
    }
}

/* ---- the connection ---- */

static struct h2 *h2_new(filch_http_server *server, struct http_conn *conn, filch_tcp *tcp,
                         filch_io io, void *wrapped)
{
    size_t fields = server->opts.fields_max * sizeof(struct http_field);
    size_t out = H2_OUT_BYTES + H2_FRAME_BYTES;
    struct h2 *h = malloc(sizeof(*h) + fields + server->opts.head_bytes_max + H2_IN_BYTES + out);

    if (!h)
        return NULL;
    memset(h, 0, sizeof(*h));
    h->server = server;
    h->conn = conn;
    h->tcp = tcp;
    h->wrapped = wrapped;
    h->io = io;
    h->date_s = -1;
    h->head.fields = (struct http_field *)(h + 1);
    h->in = (char *)(h + 1) + fields;
    h->out = h->in + H2_IN_BYTES;
    h->head.text = h->out + out;
    filch_mutex_init(&h->lock);
    filch_cond_init(&h->writable);
    if (h2_session_new(h) < 0) {
        free(h);
        return NULL;
    }
    return h;
}

static void h2_free(struct h2 *h)
{
    nghttp2_session_del(h->session);
    filch_cond_fini(&h->writable);
    filch_mutex_fini(&h->lock);
    free(h);
}

/* Called by a drain. */
static void leave_by_drain(void *context)
{
    struct h2 *h = context;

    h2_lock(h);
    h2_leave(h);
    h2_unlock(h);
}

/* The streams that are there end now; those whose answers are whole may take their time. */
static void end_streams(struct h2 *h)
{
    struct h2_stream *next;

    h2_lock(h);
    h->over = true;
    for (struct h2_stream *s = h->streams; s; s = next) {
        next = s->next;
        h2_stream_closed(s, true);
    }
    h2_unlock(h);
    (void)!filch_scope_join(&h->tasks, FILCH_NEVER);
    filch_scope_cancel_join(&h->tasks);
}

/* Has the writer send what is left. */
static void end_writer(struct h2 *h, filch_scope *service)
{
    h2_lock(h);
    h->ending = true;
    h2_kick(h);
    h2_unlock(h);
    (void)!filch_scope_join(service, filch_after(END_NS));
    filch_scope_cancel_join(service);
}

static void linger(struct h2 *h)
{
    filch_time until = filch_after(LINGER_NS);
    size_t bytes = 0;
    ssize_t n = 1;

    if (h->error || !h->io.writer.finish || h->io.writer.finish(h->io.writer.context, until) < 0)
        return;
    while (bytes < H1_LINGER_BYTES && n > 0) {
        n = h->io.reader.read(h->io.reader.context, h->in, H2_IN_BYTES, until);
        bytes += n > 0 ? (size_t)n : 0;
    }
}

static int serve_session(struct h2 *h, const char *first, size_t bytes)
{
    int r;

    FILCH_SCOPE_WITH(service, FILCH_SCOPE_IGNORE_ERRORS);
    filch_scope_init(&h->tasks, FILCH_SCOPE_IGNORE_ERRORS);
    /* Streams end for the peer before their tasks do. */
    filch_scope_limit(&h->tasks, 2 * h->server->opts.streams_max);
    r = filch_scope_spawn_opts(&service, write_all, h, &(filch_task_opts){.name = "http2 writer"});
    if (r < 0)
        return r;
    if (!http_conn_on_drain(h->server, h->conn, leave_by_drain, h)) {
        h2_lock(h);
        h2_leave(h);
        h2_unlock(h);
    }
    if (!bytes || feed(h, first, bytes))
        read_all(h);
    (void)http_conn_on_drain(h->server, h->conn, NULL, NULL);
    end_streams(h);
    FILCH_SHIELD(filch_after(END_NS + LINGER_NS))
    {
        end_writer(h, &service);
        linger(h);
    }
    return 0;
}

int h2_run(filch_http_server *server, struct http_conn *conn, filch_tcp *tcp, filch_io io,
           void *wrapped, const char *first, size_t bytes)
{
    struct h2 *h = h2_new(server, conn, tcp, io, wrapped);
    int r;

    if (!h)
        return -ENOMEM;
    r = serve_session(h, first, bytes);
    h2_free(h);
    return r;
}

/* A connection too many: nothing of it is processed, so its peer may try again elsewhere. */
static int answer_full(filch_http_server *server, filch_io io)
{
    /* SETTINGS without any, GOAWAY of stream 0 with ENHANCE_YOUR_CALM */
    static const char frames[] = "\0\0\0\x04\0\0\0\0\0"
                                 "\0\0\x08\x07\0\0\0\0\0"
                                 "\0\0\0\0\0\0\0\x0b";
    filch_time until = h1_limit(FILCH_NEVER, server->opts.stall_ns);
    char in[512];

    http_count(&server->refused);
    if (filch_write_all(io.writer, frames, sizeof(frames) - 1, NULL, until) == 0 &&
        io.writer.finish && io.writer.finish(io.writer.context, until) == 0) {
        until = filch_after(LINGER_NS);
        while (io.reader.read(io.reader.context, in, sizeof(in), until) > 0)
            ;
    }
    return 0;
}

int h2_serve(filch_http_server *server, filch_tcp *tcp, filch_io io,
             const filch_http_wrapped *wrapped)
{
    struct http_conn conn = {0};
    int r = http_conn_enter(server, &conn);

    if (r < 0)
        return r;
    r = r == 503 ? answer_full(server, io)
                 : h2_run(server, &conn, tcp, io, wrapped->state, NULL, 0);
    http_conn_leave(server, &conn);
    return r;
}
