/* Streams: from a head that was collected to a task that answers.
 *
 *     | h2_stream | fields | texts | cookies | target | scratch |       one allocation
 *
 * The task runs the handler as HTTP/1 does (exchange.c). When the peer resets the stream, or the
 * connection ends, before the answer is whole, the task is cancelled, and with it what it has
 * spawned into scopes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <filch/time.h>

#include "io/http/h2.h"

#define BODY_ROOM 4096

bool h2_buffer_add(struct h2_buffer *buffer, const void *data, size_t bytes, size_t first_room)
{
    size_t used = h2_buffered(buffer), room = buffer->room ? buffer->room : BODY_ROOM;
    char *grown;

    if (!bytes)
        return true;
    if (buffer->room - buffer->end < bytes && buffer->begin) {
        memmove(buffer->bytes, buffer->bytes + buffer->begin, used);
        buffer->begin = 0;
        buffer->end = used;
    }
    if (buffer->room - buffer->end < bytes) {
        room = room > first_room ? room : first_room;
        while (room - used < bytes)
            room *= 2;
        grown = realloc(buffer->bytes, room);
        if (!grown)
            return false;
        buffer->bytes = grown;
        buffer->room = room;
    }
    memcpy(buffer->bytes + buffer->end, data, bytes);
    buffer->end += bytes;
    return true;
}

void h2_consume(struct h2 *h, int32_t id, size_t bytes)
{
    if (bytes && nghttp2_session_consume(h->session, id, bytes) == 0)
        h2_kick(h);
}

static void stream_free(struct h2_stream *s)
{
    *s->link = s->next;
    if (s->next)
        s->next->link = s->link;
    filch_cond_fini(&s->changed);
    free(s->in.bytes);
    free(s->trailers);
    if (s->out.bytes != s->small)
        free(s->out.bytes);
    free(s);
}

void h2_stream_trailers(struct h2_stream *s)
{
    const struct h2_collector *from = &s->h->head;
    size_t fields = from->count * sizeof(*from->fields);
    char *texts;

    if (s->in_error || s->trailers || !s->running)
        return;
    if (from->status)
        s->in_error = from->status == 431 ? -E2BIG : -EPROTO;
    if (from->status || !from->count)
        return;
    s->trailers = malloc(fields + from->bytes);
    if (!s->trailers) {
        s->in_error = -ENOMEM;
        return;
    }
    texts = (char *)s->trailers + fields;
    memcpy(s->trailers, from->fields, fields);
    memcpy(texts, from->text, from->bytes);
    for (unsigned i = 0; i < from->count; i++) {
        s->trailers[i].name = texts + (s->trailers[i].name - from->text);
        s->trailers[i].value = texts + (s->trailers[i].value - from->text);
    }
    s->trailer_count = from->count;
}

void h2_stream_closed(struct h2_stream *s, bool by_error)
{
    struct h2 *h = s->h;

    if (s->closed)
        return;
    s->closed = true;
    h->open--;
    (void)nghttp2_session_set_stream_user_data(h->session, s->id, NULL);
    nghttp2_session_consume_connection(h->session, h2_buffered(&s->in));
    s->in.begin = s->in.end = 0;
    if (!s->running) {
        stream_free(s);
        return;
    }
    if (by_error && !s->told_end && s->task)
        filch_task_cancel(s->task);
    (void)filch_cond_signal(&s->changed);
}

/* ---- the task ---- */

static void answer(struct h2_stream *s)
{
    struct filch_exchange *x = &s->x;
    int status = s->refusal;

    http_exchange_init(x);
    if (x->server->opts.access)
        x->began = filch_now();
    if (!status)
        status = http_exchange_match(x);
    if (status) {
        http_count(&x->server->malformed);
        if (http_exchange_status(x, status, FILCH_NEVER) < 0)
            x->broken = true;
        return;
    }
    http_exchange_run(x);
}

/* The task lets go of its stream. */
static void leave(struct h2_stream *s)
{
    struct h2 *h = s->h;

    h2_lock(h);
    s->running = false;
    s->task = NULL;
    h->live--;
    if (!s->closed) {
        h2_consume(h, s->id, h2_buffered(&s->in));
        s->in.begin = s->in.end = 0;
        if (s->x.broken)
            nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_INTERNAL_ERROR);
        else if (s->told_end && !s->in_ended)
            nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR);
    } else {
        stream_free(s);
    }
    h2_kick(h);
    h2_unlock(h);
}

static int run_stream(void *arg)
{
    struct h2_stream *s = arg;
    bool closed;

    h2_lock(s->h);
    s->task = filch_task_self();
    closed = s->closed;
    h2_unlock(s->h);
    if (!closed) {
        answer(s);
        h2_lock(s->h);
        if (s->closed && !s->told_end)
            s->x.broken = true;
        h2_unlock(s->h);
        http_exchange_tell(&s->x, !s->x.broken);
    }
    leave(s);
    return 0;
}

/* ---- from the head ---- */

/* Of a host, with its port: no control characters, no spaces, no user, no path. */
static bool is_host(const char *host)
{
    return !host[strcspn(host, " \t\"#/<>?@\\^`{|}")] && http_is_value(host, strlen(host));
}

static int64_t parse_length(const char *text)
{
    int64_t length = 0;

    for (; *text >= '0' && *text <= '9' && length < INT64_MAX / 10 - 1; text++)
        length = length * 10 + (*text - '0');
    return *text ? INT64_MAX : length;
}

/* What the fields say of the message. Return: 0; the status with which it is refused. */
static int look_at_fields(struct http_head *head)
{
    const struct http_field *host = http_head_field(head, "host");
    const struct http_field *length = http_head_field(head, "content-length");
    const struct http_field *expect = http_head_field(head, "expect");

    if (host && *head->host && strcmp(host->value, head->host) != 0)
        return 400;
    if (host && !*head->host)
        head->host = host->value;
    if (!is_host(head->host))
        return 400;
    if (length && head->length)
        head->length = parse_length(length->value);
    if (expect && strcmp(expect->value, "100-continue") != 0)
        return 417;
    head->continues = expect && head->length;
    return 0;
}

static int look_at_head(struct h2_stream *s, char *copy)
{
    struct http_head *head = &s->x.head;
    int status;

    for (const char *c = head->target; *c; c++)
        if (*c <= ' ' || *c > '~' || *c == '#')
            return 400;
    status = look_at_fields(head);
    if (status)
        return status;
    if (head->length > 0 && (uint64_t)head->length > s->h->server->opts.body_bytes_max)
        return 413;
    return http_exchange_split(&s->x, copy);
}

/* Several fields with parts of one are one field for who reads it (RFC 9113, 8.2.3). */
static void join_cookies(struct http_head *head, char *to)
{
    struct http_field *first = NULL;
    char *end = to;

    for (unsigned i = 0; i < head->count; i++) {
        struct http_field *field = &head->fields[i];

        if (strcmp(field->name, "cookie") != 0)
            continue;
        if (first) {
            memcpy(end, "; ", 2);
            end += 2;
        }
        memcpy(end, field->value, field->value_bytes);
        end += field->value_bytes;
        if (first) {
            memmove(field, field + 1, (head->count - i - 1) * sizeof(*field));
            head->count--;
            i--;
        } else {
            first = field;
        }
    }
    *end = '\0';
    first->value = to;
    first->value_bytes = (uint32_t)(end - to);
}

/* The collected head moves behind the stream. */
static int take_head(struct h2_stream *s, const struct h2_collector *from, bool ended)
{
    struct http_head *head = &s->x.head;
    char *at = (char *)(s + 1) + from->count * sizeof(struct http_field);
    ptrdiff_t moved = at - from->text;

    *head = (struct http_head){
        .method = from->method && !from->status ? from->method + moved : "",
        .target = from->target && !from->status ? (char *)from->target + moved : (char *)"",
        .host = from->host && !from->status ? (char *)from->host + moved : (char *)"",
        .version = 20,
        .length = ended ? 0 : -1,
        .keep = true,
        .count = from->count,
        .max = from->count,
        .fields = (struct http_field *)(s + 1),
    };
    memcpy(at, from->text, from->bytes); /* the texts are where they are to be from here on */
    head->target_bytes = strlen(head->target);
    memcpy(head->fields, from->fields, from->count * sizeof(struct http_field));
    for (unsigned i = 0; i < head->count; i++) {
        head->fields[i].name += moved;
        head->fields[i].value += moved;
    }
    at += from->bytes;
    if (from->cookies > 1)
        join_cookies(head, at);
    at += from->cookie_bytes;
    s->x.scratch = at + head->target_bytes + 1;
    return from->status ? from->status : look_at_head(s, at);
}

static struct h2_stream *stream_new(struct h2 *h, int32_t id, bool ended)
{
    const struct h2_collector *head = &h->head;
    size_t target = head->target ? strlen(head->target) + 1 : 1;
    struct h2_stream *s = malloc(sizeof(*s) + head->count * sizeof(struct http_field) +
                                 head->bytes + head->cookie_bytes + 2 * target);

    if (!s)
        return NULL;
    s->x.wire = &h2_wire;
    s->x.server = h->server;
    s->x.tcp = h->tcp;
    s->x.wrapped = h->wrapped;
    s->x.path = s->x.host = (char *)"";
    s->x.query = NULL;
    s->h = h;
    s->id = id;
    s->task = NULL;
    s->running = s->closed = false;
    filch_cond_init(&s->changed);
    s->in = (struct h2_buffer){0};
    s->in_ended = ended;
    s->trailers = NULL;
    s->trailer_count = 0;
    s->in_error = 0;
    s->came = s->taken = 0;
    s->began = 0;
    s->out = (struct h2_buffer){.bytes = s->small, .room = H2_SMALL_BYTES};
    s->submitted = s->deferred = s->out_ended = s->told_end = false;
    s->refusal = take_head(s, head, ended);
    s->awaited = s->x.head.continues;
    return s;
}

int h2_stream_start(struct h2 *h, int32_t id, bool ended)
{
    struct h2_stream *s = stream_new(h, id, ended);
    int r;

    if (!s)
        return -ENOMEM;
    s->running = true;
    s->next = h->streams;
    s->link = &h->streams;
    if (s->next)
        s->next->link = &s->next;
    h->streams = s;
    (void)nghttp2_session_set_stream_user_data(h->session, id, s);
    r = filch_scope_spawn_opts(&h->tasks, run_stream, s, &(filch_task_opts){.name = "http2"});
    if (r < 0) {
        (void)nghttp2_session_set_stream_user_data(h->session, id, NULL);
        stream_free(s);
        return r;
    }
    h->open++;
    h->live++;
    return 0;
}
