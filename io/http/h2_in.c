/* What comes of HTTP/2: nghttp2's callbacks, and what a peer may not do although it could.
 *
 * All run in the reader, with the connection's lock, within nghttp2_session_mem_recv(); those of
 * frames that go run in the writer, with the lock, too.
 *
 * A head is collected in one place of the connection, for no other head can come in between, and
 * becomes a stream when it is there (h2_stream.c). One that is too long is read on, as the tables
 * of its compression must be kept, and answered with 431; one that does not end at all ends the
 * connection, by its time (head_ns) and by its bytes.
 *
 * What costs more than it brings. Frames that make work and lead nowhere are paid for from a budget
 * of PATIENCE, which grows back slowly: streams that are reset, PING, SETTINGS, PRIORITY, empty
 * DATA, frames that are wrong. When it is spent, the connection ends with ENHANCE_YOUR_CALM.
 * Besides, handlers that still run count for the limit of streams, whatever has become of these: so
 * resets (CVE-2023-44487) do not start more than twice that many. nghttp2 itself refuses answers
 * that the peer does not read (PING, SETTINGS). */
#include <errno.h>
#include <string.h>

#include <filch/time.h>

#include "io/http/h1.h"
#include "io/http/h2.h"
#include "io/http/trailer_names.h"

#define PATIENCE 1000u
/* That much of it grows back in a second. */
#define PATIENCE_RATE 33u
/* A connection whose streams have ended is noticed no later than that, or its idle time. */
#define LOOK_NS (10 * FILCH_MILLISECOND)
/* A head that is too long may be so many times as long. */
#define HEAD_TIMES 8

static struct h2_stream *stream_of(struct h2 *h, int32_t id)
{
    return nghttp2_session_get_stream_user_data(h->session, id);
}

/* The peer has done something that is not worth much. */
static void spend(struct h2 *h)
{
    filch_time now = h1_now();
    uint64_t grown = h->patience + (now - h->patience_at) * PATIENCE_RATE / FILCH_SECOND;

    if (grown > h->patience) {
        h->patience = grown < PATIENCE ? (unsigned)grown : PATIENCE;
        h->patience_at = now;
    }
    if (h->patience && --h->patience == 0)
        h2_refuse(h, NGHTTP2_ENHANCE_YOUR_CALM);
}

/* ---- heads, and trailers, which are the same behind a body ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct h2 *h = arg;
    struct h2_collector *head = &h->head;

    (void)session;
    (void)frame;
    head->bytes = head->list_bytes = head->cookie_bytes = 0;
    head->count = head->cookies = 0;
    head->method = head->target = head->host = NULL;
    head->status = 0;
    return 0;
}

/* Keeps a text, with a zero. Return: where it is; NULL: there is no room. */
static char *keep_text(struct h2 *h, const uint8_t *text, size_t bytes)
{
    char *to = h->head.text + h->head.bytes;

    if (bytes >= h->server->opts.head_bytes_max - h->head.bytes)
        return NULL;
    memcpy(to, text, bytes);
    to[bytes] = '\0';
    h->head.bytes += bytes + 1;
    return to;
}

/* Fields of HTTP/2's own. Others than these are not needed, or nghttp2 has refused them. */
static int keep_pseudo(struct h2 *h, const uint8_t *name, size_t name_bytes, const uint8_t *value,
                       size_t value_bytes)
{
    struct h2_collector *head = &h->head;
    const char **to = NULL;

    if (name_bytes == 7 && memcmp(name, ":method", 7) == 0)
        to = &head->method;
    else if (name_bytes == 5 && memcmp(name, ":path", 5) == 0)
        to = &head->target;
    else if (name_bytes == 10 && memcmp(name, ":authority", 10) == 0)
        to = &head->host;
    if (!to)
        return 0;
    if (to == &head->target && value_bytes > h->server->opts.target_bytes_max)
        return 414;
    *to = keep_text(h, value, value_bytes);
    return *to ? 0 : 431;
}

static int keep_field(struct h2 *h, const uint8_t *name, size_t name_bytes, const uint8_t *value,
                      size_t value_bytes)
{
    struct h2_collector *head = &h->head;
    struct http_field *field = &head->fields[head->count];

    if (name_bytes && *name == ':')
        return keep_pseudo(h, name, name_bytes, value, value_bytes);
    if (head->count == h->server->opts.fields_max)
        return 431;
    field->name = keep_text(h, name, name_bytes);
    field->value = field->name ? keep_text(h, value, value_bytes) : NULL;
    if (!field->value)
        return 431;
    field->name_bytes = (uint32_t)name_bytes;
    field->value_bytes = (uint32_t)value_bytes;
    head->count++;
    if (name_bytes == 6 && memcmp(name, "cookie", 6) == 0) {
        head->cookies++;
        head->cookie_bytes += value_bytes + 2;
    }
    return 0;
}

/* Return: 0; the status for it. */
static int keep_trailer(struct h2 *h, const uint8_t *name, size_t name_bytes, const uint8_t *value,
                        size_t value_bytes)
{
    switch (http_trailer_rule((const char *)name, name_bytes)) {
    case HTTP_TRAILER_REFUSE:
        return 400;
    case HTTP_TRAILER_DROP:
        return 0;
    case HTTP_TRAILER_KEEP:
        break;
    }
    return keep_field(h, name, name_bytes, value, value_bytes);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_bytes, const uint8_t *value, size_t value_bytes, uint8_t flags,
                     void *arg)
{
    struct h2 *h = arg;
    struct h2_collector *head = &h->head;
    size_t most = h->server->opts.head_bytes_max;

    (void)session;
    (void)flags;
    head->list_bytes += name_bytes + value_bytes + 32;
    if (head->list_bytes > HEAD_TIMES * most) {
        h2_refuse(h, NGHTTP2_ENHANCE_YOUR_CALM);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    if (head->status)
        return 0;
    if (head->list_bytes > most)
        head->status = 431;
    else if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        head->status = keep_field(h, name, name_bytes, value, value_bytes);
    else
        head->status = keep_trailer(h, name, name_bytes, value, value_bytes);
    return 0;
}

/* ---- frames ---- */

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *arg)
{
    struct h2 *h = arg;

    (void)session;
    if (hd->type == NGHTTP2_HEADERS)
        h->head_at = h1_now();
    else if (hd->type != NGHTTP2_CONTINUATION)
        h->head_at = 0;
    return 0;
}

static void begin_request(struct h2 *h, const nghttp2_frame *frame)
{
    const filch_http_server_opts *opts = &h->server->opts;

    h->started++;
    filch_store_relaxed(&h->conn->requests, h->started);
    if (h2_stream_start(h, frame->hd.stream_id, frame->hd.flags & NGHTTP2_FLAG_END_STREAM) < 0) {
        nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                  NGHTTP2_REFUSED_STREAM);
        spend(h);
    }
    if (opts->requests_max && h->started >= opts->requests_max) {
        h2_leave(h);
        h2_say_last(h);
    }
}

static void end_body(struct h2_stream *s)
{
    s->in_ended = true;
    (void)filch_cond_signal(&s->changed);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct h2 *h = arg;
    bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    struct h2_stream *s;

    (void)session;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        h->head_at = 0;
        h->progress_at = h1_now();
        if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
            begin_request(h, frame);
            break;
        }
        s = stream_of(h, frame->hd.stream_id);
        if (s)
            h2_stream_trailers(s);
        /* fall through */
    case NGHTTP2_DATA:
        s = stream_of(h, frame->hd.stream_id);
        if (ends && s)
            end_body(s);
        else if (!ends && !frame->hd.length)
            spend(h);
        break;
    case NGHTTP2_PING:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK)
            h2_say_last(h);
        else
            spend(h);
        break;
    case NGHTTP2_SETTINGS:
        if (!(frame->hd.flags & NGHTTP2_FLAG_ACK))
            spend(h);
        break;
    case NGHTTP2_PRIORITY:
    case NGHTTP2_RST_STREAM:
        spend(h);
        break;
    default:
        break;
    }
    return 0;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error,
                            void *arg)
{
    struct h2 *h = arg;

    (void)session;
    (void)frame;
    (void)error;
    h->head_at = 0;
    spend(h);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t bytes, void *arg)
{
    struct h2 *h = arg;
    struct h2_stream *s = stream_of(h, id);

    (void)session;
    (void)flags;
    h->progress_at = h1_now();
    if (s && s->running && !s->in_error) {
        s->came += bytes;
        if (s->came > h->server->opts.body_bytes_max)
            s->in_error = -EMSGSIZE;
        else if (!h2_buffer_add(&s->in, data, bytes, bytes))
            s->in_error = -ENOMEM;
        (void)filch_cond_signal(&s->changed);
        if (!s->in_error)
            return 0;
    }
    h2_consume(h, id, bytes);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *arg)
{
    struct h2 *h = arg;
    struct h2_stream *s = stream_of(h, id);

    (void)session;
    if (s)
        h2_stream_closed(s, error_code != NGHTTP2_NO_ERROR);
    return 0;
}

/* The head or the end of an answer goes. */
static void count_answer(struct h2 *h, const nghttp2_frame *frame)
{
    struct h2_stream *s = stream_of(h, frame->hd.stream_id);

    h->progress_at = h1_now();
    if (!s || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return;
    s->told_end = true;
    /* Nobody needs what the peer has not sent yet of its body. */
    if (!s->running && !s->in_ended)
        nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR);
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    static const uint8_t mark[8] = "leaving";
    struct h2 *h = arg;

    switch (frame->hd.type) {
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS:
        count_answer(h, frame);
        break;
    case NGHTTP2_GOAWAY:
        if (frame->goaway.error_code != NGHTTP2_NO_ERROR) {
            h->refused = true;
            http_count(&h->server->malformed);
        } else if (h->leaving && !h->left) /* behind the notice: the answer says that it was seen */
            nghttp2_submit_ping(session, NGHTTP2_FLAG_NONE, mark);
        break;
    case NGHTTP2_RST_STREAM:
        if (frame->rst_stream.error_code == NGHTTP2_PROTOCOL_ERROR)
            http_count(&h->server->malformed);
        break;
    default:
        break;
    }
    return 0;
}

/* ---- the session ---- */

static int make_session(struct h2 *h, nghttp2_session_callbacks *callbacks, nghttp2_option *option)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    nghttp2_option_set_no_auto_window_update(option, 1); /* handlers open the windows */
    nghttp2_option_set_no_closed_streams(option, 1);
    return nghttp2_session_server_new2(&h->session, callbacks, h, option);
}

int h2_session_new(struct h2 *h)
{
    const filch_http_server_opts *opts = &h->server->opts;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, opts->streams_max},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)opts->head_bytes_max},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    int r = nghttp2_session_callbacks_new(&callbacks);

    if (r == 0)
        r = nghttp2_option_new(&option);
    if (r == 0)
        r = make_session(h, callbacks, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    if (r == 0)
        r = nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings,
                                    sizeof(settings) / sizeof(*settings));
    if (r == 0)
        r = nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, H2_CONN_WINDOW);
    if (r != 0) {
        nghttp2_session_del(h->session);
        return -ENOMEM;
    }
    h->patience = PATIENCE;
    h->patience_at = h->progress_at = h1_now();
    return 0;
}

/* Saturates: a span may be FILCH_NEVER. */
static filch_time later(filch_time at, filch_time span)
{
    return span < FILCH_NEVER - at ? at + span : FILCH_NEVER;
}

filch_time h2_deadline(struct h2 *h)
{
    const filch_http_server_opts *opts = &h->server->opts;

    if (h->head_at)
        return later(h->head_at, opts->head_ns);
    if (h->live) /* looked at anew then: later, by whatever clock, than it is now */
        return later(filch_now(), opts->idle_ns > LOOK_NS ? opts->idle_ns : LOOK_NS);
    return later(h->progress_at, !h->started ? opts->head_ns
                                 : h->open   ? opts->stall_ns
                                             : opts->idle_ns);
}
