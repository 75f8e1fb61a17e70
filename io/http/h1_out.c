/* What goes: answers of HTTP/1.
 *
 * Heads and bodies are put behind each other in one buffer, and leave in one write: at a flush,
 * when it is full, or before anything waits for the peer. What is larger than the room left goes
 * out from where it is, together with the buffer if the connection takes several.
 *
 *     out   | answers | head | 0f3a CR LF  data ... |   room   |
 *                              chunk_at       out_bytes
 *
 * A chunk is left open while writes fill it: its size, four digits, is put when it leaves. So many
 * small writes make one chunk. Files go around the buffer, by the kernel, where nothing is between
 * us and the socket.
 *
 * Nothing is lost when a call gives up: bytes are taken into the buffer or not at all, and the
 * buffer is kept. But who takes nothing for stall_ns loses the connection. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <time.h>

#include <filch/copy.h>

#include "io/http/h1.h"

#define CHUNK_LINE "0000\r\n"
#define CHUNK_LINE_BYTES 6
#define LAST_CHUNK "0\r\n"
#define END_BYTES 8 /* of a body in chunks, besides trailers */
/* A chunk with less room than this is not begun. */
#define CHUNK_ROOM 64
/* The most that a head has besides the handler's fields: the first line, Date, Server, type,
 * length. */
#define HEAD_BYTES 1024
#define NAME_BYTES 256

#define PUT(h, literal) put((h), (literal), sizeof(literal) - 1)

static void put(struct h1 *h, const char *text, size_t bytes)
{
    memcpy(h->out + h->out_bytes, text, bytes);
    h->out_bytes += bytes;
}

/* An error of the connection stays; giving up does not. */
static int keep_error(struct h1 *h, int error, filch_time limit, filch_time until)
{
    if (error == -ETIMEDOUT && limit < until)
        http_count(&h->x.server->timeouts);
    else if (error == -ETIMEDOUT || error == -ECANCELED)
        return error;
    h->keep = false;
    return h->error = error;
}

/* One write of what is buffered and of @data behind it. Return: bytes of both; an error. */
static ssize_t send_some(struct h1 *h, const void *data, size_t bytes, filch_time until)
{
    filch_time limit = h1_limit(until, h->x.server->opts.stall_ns);
    struct iovec parts[2] = {{h->out, h->out_bytes}, {(void *)data, bytes}};
    ssize_t n;

    if (h->error)
        return h->error;
    if (h->direct && bytes)
        n = filch_tcp_writev(h->x.tcp, parts, 2, limit);
    else if (h->out_bytes)
        n = h->io.writer.write(h->io.writer.context, h->out, h->out_bytes, limit);
    else
        n = h->io.writer.write(h->io.writer.context, data, bytes, limit);
    return n < 0 ? keep_error(h, (int)n, limit, until) : n;
}

/* The front of the buffer has been sent. */
static void sent(struct h1 *h, size_t bytes)
{
    h->out_bytes -= bytes;
    memmove(h->out, h->out + bytes, h->out_bytes);
}

static void close_chunk(struct h1 *h)
{
    static const char digits[] = "0123456789abcdef";
    size_t bytes;

    if (!h->chunk_open)
        return;
    bytes = h->out_bytes - h->chunk_at - CHUNK_LINE_BYTES;
    for (int i = 3; i >= 0; i--, bytes >>= 4)
        h->out[h->chunk_at + (size_t)i] = digits[bytes & 15];
    PUT(h, "\r\n");
    h->chunk_open = false;
}

int h1_flush(struct h1 *h, filch_time until)
{
    close_chunk(h);
    while (h->out_bytes) {
        ssize_t n = send_some(h, NULL, 0, until);

        if (n < 0)
            return (int)n;
        sent(h, (size_t)n);
    }
    return h->error;
}

ssize_t h1_write_raw(struct h1 *h, const void *data, size_t bytes, filch_time until)
{
    for (;;) {
        ssize_t n;

        if (bytes <= H1_OUT_BYTES - h->out_bytes && bytes < H1_OUT_BYTES / 2) {
            put(h, data, bytes);
            return (ssize_t)bytes;
        }
        n = send_some(h, data, bytes, until);
        if (n < 0)
            return n;
        if ((size_t)n > h->out_bytes || !h->out_bytes) {
            n -= (ssize_t)h->out_bytes;
            h->out_bytes = 0;
            return n;
        }
        sent(h, (size_t)n);
    }
}

/* ---- heads ---- */

static const char *first_line(int status, size_t *ret_bytes)
{
    static const char line_200[] = "HTTP/1.1 200 OK\r\n";

    *ret_bytes = sizeof(line_200) - 1;
    return status == 200 ? line_200 : NULL;
}

static void put_first_line(struct h1 *h)
{
    size_t bytes;
    const char *line = first_line(h->x.status, &bytes);
    char text[96];

    if (line) {
        put(h, line, bytes);
        return;
    }
    bytes = (size_t)snprintf(text, sizeof(text), "HTTP/1.1 %d %s\r\n", h->x.status,
                             http_status_name(h->x.status));
    put(h, text, bytes);
}

static void put_date(struct h1 *h)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != h->date_s) {
        h->date_s = now.tv_sec;
        http_date_write(now.tv_sec, h->date);
    }
    PUT(h, "Date: ");
    put(h, h->date, sizeof(h->date));
    PUT(h, "\r\n");
}

static void put_number(struct h1 *h, uint64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    put(h, digits + at, sizeof(digits) - at);
}

/* How the peer finds the end of the body. */
static void put_length(struct h1 *h)
{
    const struct filch_exchange *x = &h->x;

    if (x->status == 204 || (x->status == 304 && x->length <= 0))
        return;
    if (x->length >= 0) {
        PUT(h, "Content-Length: ");
        put_number(h, (uint64_t)x->length);
        PUT(h, "\r\n");
    } else if (x->head.version >= 11) {
        PUT(h, "Transfer-Encoding: chunked\r\n");
    } else if (!x->bodiless) {
        h->keep = false;
    }
}

static void put_connection(struct h1 *h)
{
    const filch_http_server_opts *opts = &h->x.server->opts;

    /* What the peer waits for with its body will not come. */
    if (h->body.awaited || http_is_draining(h->x.server) || h->x.read_error ||
        (opts->requests_max && h->requests >= opts->requests_max))
        h->keep = false;
    if (!h->keep)
        PUT(h, "Connection: close\r\n");
    else if (h->x.head.version < 11)
        PUT(h, "Connection: keep-alive\r\n");
}

/* Room for a head, of which the handler's fields are a part. */
static int make_room(struct h1 *h, size_t bytes, filch_time until)
{
    return bytes > H1_OUT_BYTES - h->out_bytes ? h1_flush(h, until) : h->error;
}

static int begin(filch_exchange *x, const char *type, filch_time until)
{
    struct h1 *h = (struct h1 *)x;
    size_t type_bytes = type ? strlen(type) : 0;
    int r;

    if (type_bytes > NAME_BYTES)
        return -EINVAL;
    r = make_room(h, HEAD_BYTES + x->set_bytes, until);
    if (r < 0)
        return r;
    put_first_line(h);
    put_date(h);
    if (x->server->opts.server_name) {
        PUT(h, "Server: ");
        put(h, x->server->opts.server_name, x->server->server_name_bytes);
        PUT(h, "\r\n");
    }
    if (type) {
        PUT(h, "Content-Type: ");
        put(h, type, type_bytes);
        PUT(h, "\r\n");
    }
    put_length(h);
    put_connection(h);
    put(h, x->set, x->set_bytes);
    PUT(h, "\r\n");
    return 0;
}

/* ---- bodies ---- */

static ssize_t write_chunk(struct h1 *h, const void *data, size_t bytes, filch_time until)
{
    size_t needed = h->chunk_open ? 3 : CHUNK_ROOM;
    size_t room;

    if (needed > H1_OUT_BYTES - h->out_bytes) {
        int r = h1_flush(h, until);

        if (r < 0)
            return r;
    }
    if (!h->chunk_open) {
        h->chunk_open = true;
        h->chunk_at = h->out_bytes;
        PUT(h, CHUNK_LINE);
    }
    room = H1_OUT_BYTES - h->out_bytes - 2;
    if (bytes > room)
        bytes = room;
    put(h, data, bytes);
    return (ssize_t)bytes;
}

static ssize_t write_body(filch_exchange *x, const void *data, size_t bytes, filch_time until)
{
    struct h1 *h = (struct h1 *)x;

    if (h->error)
        return h->error;
    if (x->length < 0 && x->head.version >= 11)
        return write_chunk(h, data, bytes, until);
    return h1_write_raw(h, data, bytes, until);
}

/* The kernel puts a file into the socket. A peer is given up that takes nothing for stall_ns, so a
 * limit is for the next byte, not for the file. */
static int send_file(filch_exchange *x, filch_file *file, uint64_t offset, uint64_t bytes,
                     uint64_t *done, filch_time until)
{
    struct h1 *h = (struct h1 *)x;
    filch_time limit;
    uint64_t before;
    int r;

    if (!h->direct || x->length < 0)
        return -EOPNOTSUPP;
    r = h1_flush(h, until);
    if (r < 0)
        return r;
    do {
        before = *done;
        limit = h1_limit(until, x->server->opts.stall_ns);
        r = filch_send_file(h->io.writer, file, (int64_t)offset, bytes, done, limit);
    } while (r == -ETIMEDOUT && limit<until && * done> before);
    return r < 0 && r != -ENODATA ? keep_error(h, r, limit, until) : r;
}

static int finish(filch_exchange *x, filch_time until)
{
    struct h1 *h = (struct h1 *)x;

    if (h->error)
        return h->error;
    if (x->length >= 0 || x->bodiless || x->head.version < 11)
        return 0;
    close_chunk(h);
    if (END_BYTES + x->trailer_bytes > H1_OUT_BYTES - h->out_bytes) {
        int r = h1_flush(h, until);

        if (r < 0)
            return r;
    }
    PUT(h, LAST_CHUNK);
    put(h, x->set + x->set_bytes, x->trailer_bytes);
    PUT(h, "\r\n");
    return 0;
}

static int flush(filch_exchange *x, filch_time until)
{
    return h1_flush((struct h1 *)x, until);
}

/* ---- leaving HTTP ---- */

static ssize_t upgraded_read(void *context, void *buf, size_t bytes, filch_time until)
{
    return h1_read_raw(context, buf, bytes, until);
}

static ssize_t upgraded_write(void *context, const void *buf, size_t bytes, filch_time until)
{
    struct h1 *h = context;

    return h->io.writer.write(h->io.writer.context, buf, bytes, until);
}

static int upgraded_finish(void *context, filch_time until)
{
    struct h1 *h = context;

    return h->io.writer.finish ? h->io.writer.finish(h->io.writer.context, until) : 0;
}

static int upgrade(filch_exchange *x, const char *protocol, filch_io *ret_io, filch_time until)
{
    struct h1 *h = (struct h1 *)x;
    size_t bytes = strlen(protocol);
    int r;

    if (bytes > NAME_BYTES)
        return -EINVAL;
    r = make_room(h, HEAD_BYTES + x->set_bytes, until);
    if (r < 0)
        return r;
    PUT(h, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ");
    put(h, protocol, bytes);
    PUT(h, "\r\n");
    put(h, x->set, x->set_bytes);
    PUT(h, "\r\n");
    x->status = 101;
    x->stage = HTTP_ANSWERED;
    h->keep = false;
    r = h1_flush(h, until);
    if (r < 0)
        return r;
    *ret_io =
        (filch_io){.reader = {.read = upgraded_read, .context = h},
                   .writer = {.write = upgraded_write, .finish = upgraded_finish, .context = h}};
    return 0;
}

const struct http_wire h1_wire = {
    .read = h1_read,
    .begin = begin,
    .write = write_body,
    .send_file = send_file,
    .flush = flush,
    .finish = finish,
    .upgrade = upgrade,
};
