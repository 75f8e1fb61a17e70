/* What goes of HTTP/2: bodies read and answers given by the tasks of streams.
 *
 * A head waits for its body: what an answer has, up to H2_BODY_BYTES, is put behind the stream
 * without the lock, and is given to nghttp2 when the answer ends, is flushed, or is larger. So a
 * small answer takes the lock once, and its end is in its last frame.
 *
 *     begin, write, write  ...  submit ------ write, write ... ------ end
 *     `out` is the task's    |  `out` is under the lock; nghttp2 takes from it (give_data)
 *
 * nghttp2 asks for data when it may send some; it is told to come back when there is none
 * (`deferred`). Trailers are given to it when the last data are. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <filch/time.h>

#include "io/http/h1.h"
#include "io/http/h2.h"

/* Fields of an answer that need no allocation. */
#define FIELDS 32
/* Of the server's own. */
#define OWN_FIELDS 5

/* ---- waiting ---- */

/* Waits for the stream to change. @limit: of the server, for the peer. Return: 0; -ETIMEDOUT: the
 * caller's time is up; -ECANCELED; -ETIME: the peer's is. */
static int await_change(struct h2_stream *s, filch_time limit, filch_time until)
{
    int r;

    h2_kick(s->h);
    r = filch_cond_wait(&s->changed, &s->h->lock, limit < until ? limit : until);
    return r == -ETIMEDOUT && limit < until ? -ETIME : r;
}

/* The peer is too slow for this stream; the connection has its time from now on, or its end would
 * come before the stream's is told. */
static int give_up(struct h2_stream *s)
{
    http_count(&s->h->server->timeouts);
    s->h->progress_at = h1_now();
    if (!s->closed)
        nghttp2_submit_rst_stream(s->h->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_CANCEL);
    h2_kick(s->h);
    return -ETIMEDOUT;
}

/* ---- heads ---- */

struct fields {
    nghttp2_nv *nv;
    size_t count;
};

static void add(struct fields *fields, const char *name, size_t name_bytes, const char *value,
                size_t value_bytes)
{
    fields->nv[fields->count++] = (nghttp2_nv){.name = (uint8_t *)name,
                                               .value = (uint8_t *)value,
                                               .namelen = name_bytes,
                                               .valuelen = value_bytes,
                                               .flags = NGHTTP2_NV_FLAG_NONE};
}

#define ADD(fields, name, value, bytes) add((fields), (name), sizeof(name) - 1, (value), (bytes))

static const char *date_of(struct h2 *h)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != h->date_s) {
        h->date_s = now.tv_sec;
        http_date_write(now.tv_sec, h->date);
    }
    return h->date;
}

/* "Name: value CR LF", as the handler has set them; HTTP/2 wants small letters. */
static void add_set(struct fields *fields, char *set, size_t bytes)
{
    for (char *at = set; at < set + bytes;) {
        char *colon = strchr(at, ':'), *end = strchr(colon, '\r');

        for (char *c = at; c < colon; c++)
            *c = *c >= 'A' && *c <= 'Z' ? (char)(*c | 0x20) : *c;
        add(fields, at, (size_t)(colon - at), colon + 2, (size_t)(end - colon - 2));
        at = end + 2;
    }
}

static size_t count_lines(const char *set, size_t bytes)
{
    size_t lines = 0;

    for (const char *at = set; (at = memchr(at, '\n', (size_t)(set + bytes - at))); at++)
        lines++;
    return lines;
}

static bool tells_length(const struct filch_exchange *x)
{
    return x->length >= 0 && x->status != 204 && !(x->status == 304 && x->length == 0);
}

static void add_head(struct h2_stream *s, struct fields *fields, char *status, char *length)
{
    struct filch_exchange *x = &s->x;
    const char *name = x->server->opts.server_name;

    snprintf(status, 4, "%03d", x->status);
    ADD(fields, ":status", status, 3);
    ADD(fields, "date", date_of(s->h), HTTP_DATE_BYTES);
    if (name)
        ADD(fields, "server", name, x->server->server_name_bytes);
    if (*s->type)
        ADD(fields, "content-type", s->type, strlen(s->type));
    if (tells_length(x)) {
        snprintf(length, 21, "%lld", (long long)x->length);
        ADD(fields, "content-length", length, strlen(length));
    }
    add_set(fields, x->set, x->set_bytes);
}

/* ---- data ---- */

/* The last data are taken: what comes behind them ends the stream. Return: false: it cannot. */
static bool give_trailers(struct h2_stream *s)
{
    struct filch_exchange *x = &s->x;
    char *lines = x->set + x->set_bytes;
    nghttp2_nv few[FIELDS];
    struct fields fields = {.nv = few};
    size_t count = count_lines(lines, x->trailer_bytes);
    int r;

    if (count > FIELDS && !(fields.nv = malloc(count * sizeof(*fields.nv))))
        return false;
    add_set(&fields, lines, x->trailer_bytes);
    r = nghttp2_submit_trailer(s->h->session, s->id, fields.nv, fields.count);
    if (fields.nv != few)
        free(fields.nv);
    return r == 0;
}

/* nghttp2 may send some. */
static ssize_t give_data(nghttp2_session *session, int32_t id, uint8_t *to, size_t room,
                         uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
    size_t bytes;

    (void)source;
    (void)arg;
    if (!s)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    bytes = h2_buffered(&s->out);
    if (!bytes && !s->out_ended) {
        s->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (bytes > room)
        bytes = room;
    memcpy(to, s->out.bytes + s->out.begin, bytes);
    s->out.begin += bytes;
    if (h2_buffered(&s->out) <= H2_BODY_BYTES / 2)
        (void)filch_cond_signal(&s->changed);
    if (s->out_ended && !h2_buffered(&s->out)) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (s->x.trailer_bytes) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            if (!give_trailers(s))
                return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        }
    }
    return (ssize_t)bytes;
}

/* Gives the head to nghttp2, and with it what there is of the body. Under the lock. */
static int submit(struct h2_stream *s)
{
    struct filch_exchange *x = &s->x;
    size_t most = OWN_FIELDS + count_lines(x->set, x->set_bytes);
    nghttp2_data_provider provider = {.read_callback = give_data};
    bool bodiless = x->bodiless || (s->out_ended && !h2_buffered(&s->out) && !x->trailer_bytes);
    nghttp2_nv few[FIELDS];
    struct fields fields = {.nv = few};
    char status[8], length[24];
    int r;

    if (s->closed)
        return -ECONNRESET;
    if (most > FIELDS && !(fields.nv = malloc(most * sizeof(*fields.nv))))
        return -ENOMEM;
    add_head(s, &fields, status, length);
    r = nghttp2_submit_response(s->h->session, s->id, fields.nv, fields.count,
                                bodiless ? NULL : &provider);
    if (fields.nv != few)
        free(fields.nv);
    if (r != 0)
        return r == NGHTTP2_ERR_NOMEM ? -ENOMEM : -ECONNRESET;
    s->submitted = true;
    h2_kick(s->h);
    return 0;
}

/* There is more, or there will be no more. Under the lock. */
static void resume(struct h2_stream *s)
{
    if (s->deferred && !s->closed) {
        s->deferred = false;
        (void)nghttp2_session_resume_data(s->h->session, s->id);
    }
    h2_kick(s->h);
}

static int begin(filch_exchange *x, const char *type, filch_time until)
{
    struct h2_stream *s = (struct h2_stream *)x;
    size_t bytes = type ? strlen(type) : 0;

    (void)until;
    if (bytes >= sizeof(s->type))
        return -EINVAL;
    memcpy(s->type, type ? type : "", bytes + 1);
    return 0;
}

/* Waits until the answer is given to nghttp2 and no more than @most bytes of it are left. Under the
 * lock. */
static int await_room(struct h2_stream *s, size_t most, filch_time until)
{
    int r = s->submitted ? 0 : submit(s);

    while (r == 0 && !s->closed && h2_buffered(&s->out) > most)
        r = await_change(s, h1_limit(FILCH_NEVER, s->h->server->opts.stall_ns), until);
    if (r == -ETIME)
        return give_up(s);
    return r == 0 && s->closed ? -ECONNRESET : r;
}

/* What there is room for. */
static ssize_t put(struct h2_stream *s, const void *data, size_t bytes)
{
    size_t room = H2_BODY_BYTES - h2_buffered(&s->out);

    if (bytes > room)
        bytes = room;
    if (s->out.bytes == s->small && bytes > H2_SMALL_BYTES - s->out.end) {
        struct h2_buffer larger = {0};

        if (!h2_buffer_add(&larger, s->out.bytes + s->out.begin, h2_buffered(&s->out),
                           H2_BODY_BYTES))
            return -ENOMEM;
        s->out = larger;
    }
    return h2_buffer_add(&s->out, data, bytes, H2_BODY_BYTES) ? (ssize_t)bytes : -ENOMEM;
}

static ssize_t write_body(filch_exchange *x, const void *data, size_t bytes, filch_time until)
{
    struct h2_stream *s = (struct h2_stream *)x;
    ssize_t n;

    if (!s->submitted && bytes <= H2_BODY_BYTES - h2_buffered(&s->out))
        return put(s, data, bytes);
    h2_lock(s->h);
    n = await_room(s, H2_BODY_BYTES - 1, until);
    if (n == 0) {
        n = put(s, data, bytes);
        resume(s);
    }
    h2_unlock(s->h);
    return n;
}

static int flush(filch_exchange *x, filch_time until)
{
    struct h2_stream *s = (struct h2_stream *)x;
    int r;

    h2_lock(s->h);
    r = await_room(s, 0, until);
    h2_unlock(s->h);
    return r;
}

static int finish(filch_exchange *x, filch_time until)
{
    struct h2_stream *s = (struct h2_stream *)x;
    int r = 0;

    (void)until;
    h2_lock(s->h);
    s->out_ended = true;
    if (s->submitted)
        resume(s);
    else
        r = submit(s);
    if (s->closed && !s->told_end)
        r = -ECONNRESET;
    h2_unlock(s->h);
    return r;
}

/* ---- the request's body ---- */

/* The time until which the next bytes have to come: of the stall, and of the average rate. */
static filch_time body_limit(struct h2_stream *s)
{
    const filch_http_server_opts *opts = &s->h->server->opts;
    filch_time now = h1_now(), by_rate;

    if (!s->began)
        s->began = now;
    by_rate = s->began + opts->stall_ns + s->taken / opts->body_rate_min * FILCH_SECOND;
    return by_rate < now + opts->stall_ns ? by_rate : now + opts->stall_ns;
}

/* Before a wait for the peer's body: let it have what it waits for. */
static int prompt_peer(struct h2_stream *s)
{
    static const nghttp2_nv go_on = {
        .name = (uint8_t *)":status", .value = (uint8_t *)"100", .namelen = 7, .valuelen = 3};

    if (s->x.stage == HTTP_ANSWERING && !s->submitted)
        return submit(s);
    if (s->awaited && s->x.stage == HTTP_UNANSWERED)
        (void)nghttp2_submit_headers(s->h->session, NGHTTP2_FLAG_NONE, s->id, NULL, &go_on, 1,
                                     NULL);
    s->awaited = false;
    return 0;
}

/* Waits for some of the body. Return: 0: there is some, or it has ended; an error. */
static int await_body(struct h2_stream *s, filch_time until)
{
    int r = 0;

    while (r == 0 && !h2_buffered(&s->in) && !s->in_ended && !s->in_error) {
        if (s->closed)
            return s->x.read_error = -EPIPE;
        r = prompt_peer(s);
        if (r == 0)
            r = await_change(s, body_limit(s), until);
    }
    if (r == -ETIME) {
        http_count(&s->h->server->timeouts);
        r = s->x.read_error = -ETIMEDOUT;
    }
    return r;
}

static ssize_t read_body(filch_exchange *x, void *buf, size_t bytes, filch_time until)
{
    struct h2_stream *s = (struct h2_stream *)x;
    size_t ready;
    ssize_t n;

    h2_lock(s->h);
    n = await_body(s, until);
    ready = h2_buffered(&s->in);
    if (n == 0 && s->in_error)
        n = x->read_error = s->in_error;
    if (n == 0 && !ready) { /* the end */
        x->trailers = s->trailers;
        x->trailer_count = s->trailer_count;
    } else if (n == 0) {
        n = (ssize_t)(bytes < ready ? bytes : ready);
        memcpy(buf, s->in.bytes + s->in.begin, (size_t)n);
        s->in.begin += (size_t)n;
        s->taken += (uint64_t)n;
        h2_consume(s->h, s->id, (size_t)n);
    }
    h2_unlock(s->h);
    return n;
}

const struct http_wire h2_wire = {
    .read = read_body,
    .begin = begin,
    .write = write_body,
    .flush = flush,
    .finish = finish,
};
