/* Bytes that the kernel moves by itself:
 *
 *                      to TCP         to a Unix socket    to a pipe    to a file
 *     from a file      sendfile(2)    sendfile(2)         splice(2)    copied
 *     from a pipe      copied         splice(2)           splice(2)    copied
 *     from a socket    copied         copied              splice(2)    copied
 *
 * A call (splice_piece.c) moves what it can at once. When it moves nothing it does not say which
 * end is to be waited for, so both are asked, and what they say counts in the order in which a read
 * and a write would find it:
 *
 *     the reader has ended, or fails    so does the copy, though the writer be full or gone
 *     the reader has nothing            wait for it, though the writer be full or gone
 *     the writer has gone               -EPIPE
 *     the writer is full                wait for it
 *     both are ready                    again; at last this piece is copied
 *
 * The last line is for what only a read gets past, as the mark of urgent data. Tries are
 * counted, so nothing spins, whatever the kernel says.
 *
 * Handles are entered for each try and each wait, not for the whole transfer: so a close of one end
 * does not wait for what the other end waits for. Bytes are in one end or in the other, and never
 * in our hands: whatever comes in between, none is lost or doubled.
 *
 * Small pieces of a stream are copied, which costs less, and fills a pipe with bytes instead of
 * with pages that have a few each: what has come is looked at before each call. After a small piece
 * a read waits for the next one, after a large one we do.
 *
 * Only pipes that no other process has the same end of (fs/call.h): after a splice the kernel does
 * not promise any more that a read or a write of that end will not wait (RWF_NOWAIT), so the end is
 * made non-blocking for their length, which the others would see (fs/move.c).
 *
 * Not into files: a splice holds the pipe's lock while it waits for the disk, and whoever writes
 * into the pipe, a worker, would wait for that lock. */
#include "io/splice.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "io/fs/call.h"
#include "io/net/ends.h"
#include "io/net/socket.h"
#include "runtime/task/task.h"

/* At a time: 15 us of a worker's time. */
#define PIECE ((size_t)256 << 10)
/* Less than this is copied faster than the pages are handed over: see README.md. */
#define PAYS_BYTES ((uint64_t)16 << 10)
/* More tries to move a piece it does not get. */
#define TRIES 4

bool filch__splice_pays(uint64_t bytes)
{
    return bytes >= PAYS_BYTES;
}

/* ---- which ends ---- */

static bool find_file(filch_file *handle, struct filch__splice_end *ret_end)
{
    const struct filch_file *file;
    struct filch__fd *object;
    bool ok;

    if (filch__fd_enter(handle, &object) < 0)
        return false;
    file = filch_container_of(object, struct filch_file, fd);
    ok = !file->waits || file->pipe;
    *ret_end =
        (struct filch__splice_end){handle, file->waits ? FILCH__SPLICE_PIPE : FILCH__SPLICE_FILE};
    filch__fd_leave(object);
    return ok;
}

static bool find_end(bool is_socket, bool is_file, void *handle, struct filch__splice_end *ret_end)
{
    *ret_end = (struct filch__splice_end){handle, FILCH__SPLICE_SOCKET};
    return is_socket || (is_file && find_file(handle, ret_end));
}

static bool is_unix(const void *socket)
{
    struct filch__fd *object;
    int domain = 0;
    socklen_t bytes = sizeof domain;
    int r = filch__fd_enter(socket, &object);

    if (r < 0)
        return false;
    r = getsockopt(object->fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes);
    filch__fd_leave(object);
    return r == 0 && domain == AF_UNIX;
}

static bool is_between(const struct filch__splice *s)
{
    if (s->from.kind == FILCH__SPLICE_FILE)
        return s->to.kind != FILCH__SPLICE_FILE;
    if (s->offset != FILCH_FILE_POSITION)
        return false;
    if (s->to.kind == FILCH__SPLICE_SOCKET)
        return s->from.kind == FILCH__SPLICE_PIPE && is_unix(s->to.handle);
    return s->to.kind == FILCH__SPLICE_PIPE;
}

void filch__splice_init(struct filch__splice *s, filch_reader reader, int64_t offset,
                        filch_writer writer)
{
    *s = (struct filch__splice){.offset = offset};
    s->able = find_end(filch__reader_is_socket(reader), filch__reader_is_file(reader),
                       reader.context, &s->from) &&
              find_end(filch__writer_is_socket(writer), filch__writer_is_file(writer),
                       writer.context, &s->to) &&
              is_between(s);
    s->next = s->able;
}

/* ---- a try ---- */

struct attempt {
    struct filch__fd *from, *to; /* entered */
    struct filch__splice_piece piece;
    struct filch__splice_end *wait; /* with -EAGAIN: for which end; NULL: neither */
};

static struct filch__fd *socket_of(const struct attempt *at)
{
    if (at->piece.from_kind == FILCH__SPLICE_SOCKET)
        return at->from;
    return at->piece.to_kind == FILCH__SPLICE_SOCKET ? at->to : NULL;
}

static ssize_t move(struct filch__splice *s, struct attempt *at, filch_time until)
{
    struct filch__fd *socket = socket_of(at);
    int r;

    if (socket && !filch__fd_unblock(socket))
        return -EBUSY;
    r = filch__splice_move(&at->piece, until);
    if (socket)
        filch__fd_block(socket);
    s->writing = r == 0 && socket != at->from && at->piece.n != -EIO;
    return r < 0 ? r : at->piece.n;
}

/* Why did it move nothing? @n: what it said. Return: what a read and a write would say; -EAGAIN. */
static ssize_t ask_both(struct filch__splice *s, struct attempt *at, ssize_t n)
{
    int there = filch__splice_peek(&at->piece);

    s->writing = there > 0;
    if (there == -EAGAIN)
        at->wait = &s->from;
    if (there <= 0)
        return there;
    if (n == -EAGAIN && !filch__splice_has_room(&at->piece))
        at->wait = &s->to;
    return n ? n : -EBUSY;
}

/* A socket whose peer has ended says that at the mark of urgent data, too, before the end. */
static bool is_clear(const struct filch__splice *s, ssize_t n)
{
    if (n == 0)
        return s->from.kind != FILCH__SPLICE_SOCKET;
    return n != -EAGAIN && (n != -EPIPE || s->to.kind != FILCH__SPLICE_PIPE);
}

/* What a close does to a socket looks like its end, or like a failure. */
static ssize_t unless_closed(struct filch__splice *s, const struct attempt *at, ssize_t n)
{
    struct filch__fd *socket = socket_of(at);
    bool writing = socket != at->from;

    if (!socket || n > 0 || (n == 0 && writing) || !filch__fd_is_closing(socket))
        return n;
    s->writing = writing;
    return -ECANCELED;
}

static ssize_t move_if_it_pays(struct filch__splice *s, struct attempt *at, filch_time until)
{
    int bytes = filch__splice_bytes(&at->piece);

    if (bytes == 0)
        return -EAGAIN;
    return filch__splice_pays((uint64_t)bytes) ? move(s, at, until) : -EBUSY;
}

static ssize_t try_entered(struct filch__splice *s, struct attempt *at, filch_time until)
{
    ssize_t n;

    at->piece.from = at->from->fd;
    at->piece.to = at->to->fd;
    n = s->from.kind == FILCH__SPLICE_FILE ? move(s, at, until) : move_if_it_pays(s, at, until);
    if (!is_clear(s, n))
        n = ask_both(s, at, n);
    if (n > 0 && s->offset >= 0)
        s->offset += n;
    return unless_closed(s, at, n);
}

/* With a handle that is closed a read or a write says so; a file is not read for nothing. */
static ssize_t try_once(struct filch__splice *s, struct attempt *at, filch_time until)
{
    ssize_t n;
    int r;

    if (filch__fd_enter(s->from.handle, &at->from) < 0)
        return -EBUSY;
    r = filch__fd_enter(s->to.handle, &at->to);
    s->writing = r < 0;
    n = r < 0 && s->from.kind != FILCH__SPLICE_FILE ? -EBUSY : r;
    if (r == 0) {
        n = try_entered(s, at, until);
        filch__fd_leave(at->to);
    }
    filch__fd_leave(at->from);
    return n;
}

/* ---- */

static int wait_for(struct filch__splice *s, const struct filch__splice_end *end, filch_time until)
{
    short events = end == &s->to ? POLLOUT : POLLIN;
    struct filch__fd *object;
    int r = filch__fd_enter(end->handle, &object);

    s->writing = end == &s->to;
    if (r < 0)
        return r;
    if (end->kind == FILCH__SPLICE_PIPE)
        r = filch__file_wait(filch_container_of(object, struct filch_file, fd), events, until);
    else
        r = filch__socket_wait(object->fd, events, until);
    if (filch__fd_is_closing(object))
        r = -ECANCELED;
    filch__fd_leave(object);
    return r;
}

static ssize_t move_some(struct filch__splice *s, size_t most, filch_time until)
{
    ssize_t n;

    for (int tries = 0; tries < TRIES; tries++) {
        struct attempt at = {.piece = {.from_kind = s->from.kind,
                                       .to_kind = s->to.kind,
                                       .offset = s->offset,
                                       .most = most}};
        int r;

        n = try_once(s, &at, until);
        if (n != -EAGAIN)
            return n;
        r = at.wait ? wait_for(s, at.wait, until) : 0;
        if (r < 0)
            return r;
    }
    return -EBUSY;
}

static bool pays_next(const struct filch__splice *s, bool large)
{
    return s->able && (large || s->from.kind == FILCH__SPLICE_FILE);
}

ssize_t filch__splice_some(struct filch__splice *s, uint64_t most, filch_time until)
{
    ssize_t n = move_some(s, most < PIECE ? (size_t)most : PIECE, until);

    if (n == -EOPNOTSUPP)
        s->able = false;
    s->next = pays_next(s, n > 0 && filch__splice_pays((uint64_t)n));
    if (n > 0)
        filch__coop();
    return n == -EOPNOTSUPP ? -EBUSY : n;
}

void filch__splice_copied(struct filch__splice *s, size_t bytes, bool full)
{
    s->next = pays_next(s, full || filch__splice_pays(bytes));
}
