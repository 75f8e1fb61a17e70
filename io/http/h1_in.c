/* What comes: heads and bodies of HTTP/1 requests.
 *
 *     in   | head of this request |  used  |  has come  |   room   |
 *          0               head_end        rd           wr         in_bytes
 *
 * A head is read where it was received, so its texts stay there until its exchange ends; then what
 * has come behind it moves to the front. Behind the largest head there is room for more, so that
 * the framing of chunks can be looked at. Data of bodies go to the reader's buffer directly once
 * nothing is buffered. Trailers stay there, too: they become a part of the head.
 *
 * Before anything waits, what is buffered for the peer is sent: it may be what the peer waits for.
 *
 * Times: a connection between requests may be idle, a head has to be there in time, and a body has
 * to keep a rate, so a peer that sends byte by byte holds nothing for long. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "io/http/h1.h"

#define CONTINUE_LINE "HTTP/1.1 100 Continue\r\n\r\n"
/* What is read of a body that its handler has not read. */
#define DROP_BYTES ((size_t)256 * 1024)
/* Empty lines before a request that are overlooked (RFC 9112, 2.2). */
#define EMPTY_LINES 4

/* Reads what there is room for behind wr. */
static ssize_t receive(struct h1 *h, filch_time until)
{
    ssize_t n = h->io.reader.read(h->io.reader.context, h->in + h->wr, h->in_bytes - h->wr, until);

    if (n > 0)
        h->wr += (size_t)n;
    return n;
}

/* What has come behind the last request goes to the front. */
static void begin_head(struct h1 *h)
{
    memmove(h->in, h->in + h->rd, h->wr - h->rd);
    h->wr -= h->rd;
    h->rd = h->head_end = 0;
}

/* Waits for the first bytes of a request. Return: 0; an error; -ESHUTDOWN: the server drains. */
static int await_request(struct h1 *h)
{
    filch_http_server *server = h->x.server;
    filch_time span = h->requests ? server->opts.idle_ns : server->opts.head_ns;
    ssize_t n;
    int r = h1_flush(h, FILCH_NEVER);

    if (r < 0)
        return r;
    if (!http_conn_idle(server, &h->conn))
        return -ESHUTDOWN;
    n = receive(h, h1_limit(FILCH_NEVER, span));
    if (!http_conn_busy(&h->conn))
        return -ESHUTDOWN;
    if (n == -ETIMEDOUT)
        http_count(&server->timeouts);
    return n > 0 ? 0 : n < 0 ? (int)n : -EPIPE;
}

/* The status for a head that is too long: it is the target's fault if it has not even ended. */
static int too_long(const struct h1 *h)
{
    return memchr(h->in, '\n', h->wr) ? 431 : 414;
}

/* A target without its end. */
static bool target_is_too_long(const struct h1 *h)
{
    size_t most = h->x.server->opts.target_bytes_max + 64; /* and a method */

    return h->wr > most && !memchr(h->in, '\n', most);
}

/* Waits for the rest of a head. Return: its bytes; 0: 408; -414, -431: too long; an error. */
static ssize_t await_head(struct h1 *h, struct http_scan *scan)
{
    filch_http_server *server = h->x.server;
    filch_time until = 0;

    for (;;) {
        ssize_t bytes = http_head_find(h->in, h->wr, scan), n;

        if (bytes)
            return bytes;
        if (h->wr > server->opts.head_bytes_max || target_is_too_long(h))
            return -too_long(h);
        if (!until) {
            int r = h1_flush(h, FILCH_NEVER);

            if (r < 0)
                return r;
            until = h1_limit(FILCH_NEVER, server->opts.head_ns);
        }
        n = receive(h, until);
        if (n == -ETIMEDOUT)
            return 0;
        if (n <= 0)
            return n < 0 ? n : -EPIPE;
    }
}

static void begin_body(struct h1 *h)
{
    const struct http_head *head = &h->x.head;

    h->body.kind = head->length < 0 ? H1_CHUNKS : head->length ? H1_LENGTH : H1_NO_BODY;
    h->body.left = head->length > 0 ? (uint64_t)head->length : 0;
    h->body.chunks = (struct http_chunks){0};
    h->body.trailers = (struct http_scan){0};
    h->body.taken = 0;
    h->body.awaited = head->continues;
    h->body.began = 0;
}

/* What a peer begins with that speaks HTTP/2 without asking; no request of HTTP/1 looks like it. */
static bool is_http2(const struct h1 *h, size_t bytes)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\n";

    return !h->requests && !h->x.server->opts.no_http2 && bytes == sizeof(preface) - 1 &&
           memcmp(h->in, preface, bytes) == 0;
}

/* A head that has come. */
static int take_head(struct h1 *h, size_t bytes)
{
    const filch_http_server_opts *opts = &h->x.server->opts;
    int status;

    if (is_http2(h, bytes)) {
        h->http2 = true;
        return -EPROTONOSUPPORT;
    }
    h->rd = h->head_end = bytes;
    if (bytes > opts->head_bytes_max)
        return too_long(h);
    status = http_head_parse(&h->x.head, h->in, bytes);
    if (status)
        return status;
    if (h->x.head.target_bytes > opts->target_bytes_max)
        return 414;
    begin_body(h);
    if (h->x.head.length > 0 && (uint64_t)h->x.head.length > opts->body_bytes_max)
        return 413;
    return http_exchange_split(&h->x, h->copies);
}

int h1_read_head(struct h1 *h)
{
    ssize_t bytes;

    begin_head(h);
    for (unsigned empty = 0;; empty++) {
        struct http_scan scan = {0};

        if (h->rd == h->wr) {
            int r;

            h->rd = h->wr = 0;
            r = await_request(h);
            if (r < 0)
                return r;
        }
        bytes = await_head(h, &scan);
        if (bytes != 2 || empty == EMPTY_LINES)
            break;
        h->rd = 2;
        begin_head(h);
    }
    if (bytes == 0) {
        http_count(&h->x.server->timeouts);
        return 408;
    }
    if (bytes == -1 || bytes == 2)
        return 400;
    if (bytes == -414 || bytes == -431)
        return (int)-bytes;
    return bytes < 0 ? (int)bytes : take_head(h, (size_t)bytes);
}

ssize_t h1_read_raw(struct h1 *h, void *buf, size_t bytes, filch_time until)
{
    size_t ready = h->wr - h->rd;

    if (!ready)
        return h->io.reader.read(h->io.reader.context, buf, bytes, until);
    if (bytes > ready)
        bytes = ready;
    memcpy(buf, h->in + h->rd, bytes);
    h->rd += bytes;
    return (ssize_t)bytes;
}

/* ---- bodies ---- */

/* The time until which the next bytes have to come: of the stall, and of the average rate. */
static filch_time body_limit(struct h1 *h)
{
    const filch_http_server_opts *opts = &h->x.server->opts;
    filch_time now = h1_now(), by_rate;

    if (!h->body.began)
        h->body.began = now;
    by_rate = h->body.began + opts->stall_ns + h->body.taken / opts->body_rate_min * FILCH_SECOND;
    return by_rate < now + opts->stall_ns ? by_rate : now + opts->stall_ns;
}

/* Before a wait for the peer's body: let it have what it waits for. */
static int prompt_peer(struct h1 *h, filch_time until)
{
    if (h->body.awaited && h->x.stage == HTTP_UNANSWERED) {
        int r = H1_OUT_BYTES - h->out_bytes < sizeof(CONTINUE_LINE) ? h1_flush(h, until) : 0;

        if (r < 0)
            return r;
        memcpy(h->out + h->out_bytes, CONTINUE_LINE, sizeof(CONTINUE_LINE) - 1);
        h->out_bytes += sizeof(CONTINUE_LINE) - 1;
    }
    h->body.awaited = false;
    return h1_flush(h, until);
}

/* An error that stays. */
static ssize_t fail_body(struct h1 *h, int error)
{
    h->keep = false;
    return h->x.read_error = error;
}

/* Waits for more: into @buf, or, if NULL, behind wr. */
static ssize_t await_body(struct h1 *h, void *buf, size_t bytes, filch_time until)
{
    filch_time limit;
    ssize_t n = prompt_peer(h, until);

    if (n < 0)
        return n;
    limit = body_limit(h);
    if (limit > until)
        limit = until;
    n = buf ? h->io.reader.read(h->io.reader.context, buf, bytes, limit) : receive(h, limit);
    if (n == 0)
        return fail_body(h, -EPIPE);
    if (n == -ETIMEDOUT && limit < until) {
        http_count(&h->x.server->timeouts);
        return fail_body(h, -ETIMEDOUT);
    }
    if (n < 0 && n != -ETIMEDOUT && n != -ECANCELED)
        return fail_body(h, (int)n);
    return n;
}

static void make_room(struct h1 *h)
{
    if (h->rd == h->wr) {
        h->rd = h->wr = h->head_end;
    } else if (h->wr == h->in_bytes) {
        memmove(h->in + h->head_end, h->in + h->rd, h->wr - h->rd);
        h->wr -= h->rd - h->head_end;
        h->rd = h->head_end;
    }
}

/* What follows the last chunk. Return: 1: it is there, and the body has ended; 0: not as a whole;
 * an error. */
static ssize_t take_trailers(struct h1 *h)
{
    struct filch_exchange *x = &h->x;
    char *text = h->in + h->rd;
    ssize_t bytes = http_head_find(text, h->wr - h->rd, &h->body.trailers);
    int status;

    if (bytes == 0 && h->wr - h->rd < H1_TRAILER_BYTES)
        return 0;
    if (bytes == 0 || bytes > H1_TRAILER_BYTES)
        return fail_body(h, -E2BIG);
    if (bytes < 0)
        return fail_body(h, -EPROTO);
    x->trailers = x->head.fields + x->head.count;
    status = http_trailers_parse(text, (size_t)bytes, x->trailers, x->head.max - x->head.count,
                                 &x->trailer_count);
    if (status)
        return fail_body(h, status == 431 ? -E2BIG : -EPROTO);
    h->rd += (size_t)bytes;
    h->head_end = h->rd;
    return 1;
}

/* Goes on to data. Return: bytes of data that may be taken; 0: the end; an error. */
static ssize_t next_data(struct h1 *h, size_t most, filch_time until)
{
    struct http_chunks *chunks = &h->body.chunks;

    if (h->body.kind == H1_LENGTH)
        return (ssize_t)(h->body.left < most ? h->body.left : most);
    for (;;) {
        ssize_t n = http_chunks_frame(chunks, h->in + h->rd, h->wr - h->rd);

        if (n < 0)
            return fail_body(h, -EPROTO);
        h->rd += (size_t)n;
        if (chunks->at == CHUNKS_DATA)
            break;
        if (chunks->at == CHUNKS_TRAILERS && (n = take_trailers(h)) != 0)
            return n < 0 ? n : 0;
        make_room(h);
        n = await_body(h, NULL, 0, until);
        if (n < 0)
            return n;
    }
    if (chunks->left > h->x.server->opts.body_bytes_max - h->body.taken)
        return fail_body(h, -EMSGSIZE);
    return (ssize_t)(chunks->left < most ? chunks->left : most);
}

static void take_data(struct h1 *h, size_t bytes)
{
    h->body.taken += bytes;
    h->body.awaited = false; /* it came unasked */
    if (h->body.kind == H1_CHUNKS) {
        http_chunks_taken(&h->body.chunks, bytes);
        return;
    }
    h->body.left -= bytes;
    if (!h->body.left)
        h->body.kind = H1_NO_BODY;
}

ssize_t h1_read(filch_exchange *x, void *buf, size_t bytes, filch_time until)
{
    struct h1 *h = (struct h1 *)x;
    ssize_t n;

    if (h->body.kind == H1_NO_BODY)
        return 0;
    n = next_data(h, bytes < SSIZE_MAX ? bytes : SSIZE_MAX, until);
    if (n == 0) {
        h->body.kind = H1_NO_BODY;
        h->body.awaited = false;
    }
    if (n <= 0)
        return n;
    n = h->rd < h->wr ? h1_read_raw(h, buf, (size_t)n, until)
                      : await_body(h, buf, (size_t)n, until);
    if (n > 0)
        take_data(h, (size_t)n);
    return n;
}

bool h1_drop_body(struct h1 *h)
{
    char buf[2048];
    size_t dropped = 0;
    ssize_t n = 1;

    /* A peer that waits for our word may send its body, or not: nobody knows what comes next. */
    if (h->body.kind == H1_NO_BODY)
        return true;
    if (h->body.awaited || h->x.read_error ||
        (h->body.kind == H1_LENGTH && h->body.left > DROP_BYTES))
        return false;
    while (dropped <= DROP_BYTES && (n = h1_read(&h->x, buf, sizeof(buf), FILCH_NEVER)) > 0)
        dropped += (size_t)n;
    return n == 0;
}
