/* Streams of connections, TCP's and Unix ones (unix_stream.c) alike.
 *
 * One multishot receive per stream is in flight, on its home lane: the kernel takes a buffer of
 * that lane when bytes come, and posts a completion for each.
 *
 *     IDLE --the reader has room and nothing is wrong: arm--> ARMED --the last completion--> IDLE
 *       |                                                       |
 *       +--reads by single requests: see below                  +--keep(): a piece, in order
 *
 *     who               does what, under `lock`
 *     reaper, keep()    appends the piece, or notes how it ended: under the reap lock before, so in
 *                       the order of the kernel, whoever handles the completions
 *     reaper, complete  wakes the reader; asks for a pause with `ahead` pieces; after the last of
 *                       the completions, in whatever order they are handled: ARMED -> IDLE
 *     reader            takes pieces; arms when there is room for half of `ahead`
 *
 * Only the reader arms, and there is one (`busy`), so `op` is the reader's while IDLE. A piece
 * stays in the list whatever becomes of the call that waited for it: nothing is lost by a cancel.
 * Errors and the end wait behind the pieces that came before.
 *
 * A request ends in several ways that are no error: it was told to pause, its thread ended, the
 * buffers ran out. Then the reader arms again, when it wants more. When buffers have run out it
 * makes a few single requests first, with memory of its own: others have the buffers, and may keep
 * them. Single requests it makes also where the ring takes no buffers, from plain threads, and for
 * calls that must not wait.
 *
 * Home: completions wake the reader on the worker that reaps them, so it mostly runs where its lane
 * is. If it finds itself elsewhere several times in a row, the request is cancelled and made there.
 *
 * The armed request counts as a user of the connection, whose close ends it, and of the stream, as
 * do completions under way.
 *
 * Read first: io/uring/buffers.h, io/net/listener.c, which does the same with accepts.
 */
#include <errno.h>
#include <limits.h>
#include <liburing.h>
#include <stdalign.h>
#include <string.h>

#include <filch/cancel.h>
#include <filch/tcp_stream.h>
#include <filch/time.h>

#include "io/lane.h"
#include "io/net/socket.h"
#include "io/net/tcp_stream.h"
#include "io/net/transfer.h"
#include "io/uring/buffers.h"
#include "runtime/base/assert.h"
#include "runtime/base/spinlock.h"
#include "runtime/task/task.h"

#define AHEAD_DEFAULT 16
/* A single request's buffer. */
#define SINGLE_BYTES 16384
/* Single requests after the buffers have run out. */
#define SINGLE_TURNS 4
#define SINGLE_ALWAYS UINT_MAX
/* So many waits in a row away from home, and the home moves. */
#define FOREIGN_MAX 8
#define NOTHING INT_MIN
/* A cancel that the kernel has missed is repeated. */
#define CANCEL_PAUSE FILCH_MILLISECOND

#ifndef IORING_RECV_MULTISHOT
#define IORING_RECV_MULTISHOT (1U << 1)
#endif

struct filch_tcp_stream {
    alignas(FILCH_CACHELINE) struct filch__fd fd; /* for its users; there is no descriptor */
    void *conn;                                   /* a handle of a stream socket: TCP or Unix */
    struct filch__fd *object;                     /* conn's; a user while armed */
    struct filch__op op;
    /* The reader's. */
    unsigned foreign; /* waits away from home, in a row */
    /* Guarded by `lock`. */
    filch_spinlock lock;
    bool busy;      /* a call is in it */
    bool armed;     /* from before it is staged until all of its completions were handled */
    bool over;      /* its last completion was seen */
    unsigned under; /* completions seen and not handled */
    unsigned ahead; /* constant */
    unsigned count; /* pieces */
    struct filch__piece *first;
    struct filch__piece *last;
    int result;       /* behind the pieces: 0 the end, an error; NOTHING */
    unsigned singles; /* requests to be made singly: buffers had run out; SINGLE_ALWAYS */
    struct filch__waiter *waiter; /* the reader's, or the closer's */
};

static struct filch__pool stream_pool = {
    .object_bytes = sizeof(struct filch_tcp_stream),
    .link_offset = offsetof(struct filch_tcp_stream, fd.next),
    .forked = filch__fd_forked,
};

__attribute__((unused)) static bool is_valid(const filch_tcp_stream *stream)
{
    return !stream->first == !stream->count && (stream->armed || !stream->under);
}

int filch__stream_open(void *conn, const filch_tcp_stream_opts *opts, filch_tcp_stream **ret_stream)
{
    struct filch_tcp_stream *stream;
    struct filch__fd *object;
    int r = ret_stream ? filch__fd_enter(conn, &object) : -EINVAL;

    if (r < 0)
        return r;
    filch__fd_leave(object);
    stream = filch__pool_take(&stream_pool);
    if (!stream)
        return -ENOMEM;
    stream->conn = conn;
    stream->object = object;
    stream->foreign = 0;
    filch_spinlock_init(&stream->lock);
    stream->busy = stream->armed = stream->over = false;
    stream->under = stream->count = stream->singles = 0;
    stream->ahead = opts && opts->ahead ? opts->ahead : AHEAD_DEFAULT;
    stream->first = stream->last = NULL;
    stream->result = NOTHING;
    stream->waiter = NULL;
    *ret_stream = filch__fd_open(&stream->fd, -1);
    return 0;
}

int filch_tcp_stream_open(filch_tcp *conn, const filch_tcp_stream_opts *opts,
                          filch_tcp_stream **ret_stream)
{
    return filch__stream_open(conn, opts, ret_stream);
}

/* ---- completions ---- */

static void push_locked(filch_tcp_stream *stream, struct filch__piece *piece)
{
    if (stream->first)
        stream->last->next = piece;
    else
        stream->first = piece;
    stream->last = piece;
    stream->count++;
}

/* The request has ended, without a piece. */
static void note_end_locked(filch_tcp_stream *stream, int res)
{
    switch (res) {
    case -ECANCELED:
    case -EINTR:
        break;
    case -ENOBUFS:
        stream->singles = filch__buffers_ran_out(stream->op.lane->buffers) ? 0 : SINGLE_TURNS;
        break;
    case -EAGAIN: /* somebody has made the socket non-blocking */
    case -EINVAL: /* the kernel knows no such request */
    case -EOPNOTSUPP:
        stream->singles = SINGLE_ALWAYS;
        break;
    default:
        stream->result = res;
    }
}

static void keep(struct filch__op *op, int res, unsigned flags)
{
    filch_tcp_stream *stream = filch_container_of(op, filch_tcp_stream, op);
    struct filch__piece *piece = NULL;

    filch__fd_ref(&stream->fd);
    if (flags & IORING_CQE_F_BUFFER)
        piece = filch__buffers_take(op->lane->buffers, flags >> IORING_CQE_BUFFER_SHIFT,
                                    res > 0 ? (size_t)res : 0);
    filch_spinlock_lock(&stream->lock);
    if (res > 0 && piece)
        push_locked(stream, piece);
    else
        note_end_locked(stream, res);
    stream->under++;
    stream->over = !(flags & IORING_CQE_F_MORE);
    filch_spinlock_unlock(&stream->lock);
    if (res <= 0 && piece)
        filch__piece_give_back(piece);
}

/* Is it time to ask for a pause? Now and then again, should it not have been heard. */
static bool wants_pause_locked(const filch_tcp_stream *stream)
{
    return stream->count >= stream->ahead && stream->count % stream->ahead == 0 && !stream->over;
}

static void complete(struct filch__op *op, int res, unsigned flags)
{
    filch_tcp_stream *stream = filch_container_of(op, filch_tcp_stream, op);
    struct filch__fd *object = stream->object;
    bool last = !(flags & IORING_CQE_F_MORE);
    struct filch__waiter *waiter = NULL;

    (void)res;
    filch_spinlock_lock(&stream->lock);
    if (wants_pause_locked(stream)) {
        filch_spinlock_unlock(&stream->lock);
        filch__op_cancel(op); /* armed still, by us, so `op` stays as it is */
        filch_spinlock_lock(&stream->lock);
    }
    if (--stream->under == 0 && stream->over)
        stream->armed = false;
    if (stream->first || stream->result != NOTHING || !stream->armed) {
        waiter = stream->waiter;
        stream->waiter = NULL;
    }
    filch_assert_state(is_valid(stream));
    filch_spinlock_unlock(&stream->lock);
    if (waiter)
        filch__waiter_wake_back(waiter);
    if (last) {
        filch__fd_leave(object);
        filch__fd_leave(&stream->fd);
    }
    filch__fd_leave(&stream->fd); /* of keep() */
}

/* ---- the reader ---- */

/* Puts the request into flight; `armed` was set by the caller, under the lock. Return: 0; -EBADF
 * (the connection was closed); -ENOBUFS (the ring takes no buffers): it is not armed. */
static int arm(filch_tcp_stream *stream)
{
    struct filch__fd *object;
    struct filch__lane *lane;
    struct io_uring_sqe *sqe;
    int r = filch__fd_enter(stream->conn, &object);

    if (r == 0) {
        sqe = filch__op_begin(&stream->op, &lane);
        if (filch__lane_has_buffers(lane)) {
            filch__fd_ref(&stream->fd);
            stream->op.keep = keep;
            stream->op.complete = complete;
            io_uring_prep_recv(sqe, object->fd, NULL, 0, MSG_NOSIGNAL);
            sqe->ioprio |= IORING_RECV_MULTISHOT;
            sqe->flags |= IOSQE_BUFFER_SELECT;
            sqe->buf_group = FILCH__BUFFER_GROUP;
            filch__lane_commit(lane, &stream->op);
            return 0;
        }
        filch__fd_leave(object);
        r = -ENOBUFS;
    }
    filch_spinlock_lock(&stream->lock);
    stream->armed = false;
    if (r == -ENOBUFS)
        stream->singles = SINGLE_ALWAYS;
    filch_spinlock_unlock(&stream->lock);
    return r;
}

/* May the request be made, and is it time to? Then the caller must. */
static bool claim_arming_locked(filch_tcp_stream *stream)
{
    if (stream->armed || stream->result != NOTHING || stream->count > stream->ahead / 2 ||
        stream->singles)
        return false;
    stream->armed = true;
    stream->over = false;
    return true;
}

/* Waits until there may be something. The lock is held on entry, free on return. */
static int wait_unlock(filch_tcp_stream *stream, filch_time until)
{
    struct filch__waiter waiter;
    bool taken;
    int r;

    filch__waiter_init(&waiter, FILCH_WAIT_IO);
    stream->waiter = &waiter;
    filch_spinlock_unlock(&stream->lock);
    r = filch__waiter_wait(&waiter, until);
    if (r == 0)
        return 0;
    filch_spinlock_lock(&stream->lock);
    taken = stream->waiter != &waiter;
    if (!taken)
        stream->waiter = NULL;
    filch_spinlock_unlock(&stream->lock);
    if (!taken)
        return r;
    filch__waiter_wait_shielded(&waiter);
    return 0;
}

/* One request of its own, into memory of its own. It is not armed, and there is no piece. */
static ssize_t read_single(filch_tcp_stream *stream, filch_time until)
{
    struct filch__piece *piece = filch__piece_new(SINGLE_BYTES);
    ssize_t n;

    if (!piece)
        return -ENOMEM;
    n = filch__transfer_read(stream->conn, piece->data, SINGLE_BYTES, until);
    if (n <= 0) {
        filch__piece_give_back(piece);
        return n;
    }
    piece->bytes = (size_t)n;
    filch_spinlock_lock(&stream->lock);
    push_locked(stream, piece);
    if (stream->singles && stream->singles != SINGLE_ALWAYS)
        stream->singles--;
    filch_spinlock_unlock(&stream->lock);
    return n;
}

/* Lets what the kernel has come in. */
static void look(filch_tcp_stream *stream)
{
    struct filch__lane *here = filch__worker_lane();

    if (here == stream->op.lane)
        filch__lane_poll(here);
    else if (here)
        filch__lane_rescue(stream->op.lane);
}

/* Before a wait in a request: if that is elsewhere again and again, it is ended, and the next one
 * made here. */
static void follow(filch_tcp_stream *stream)
{
    struct filch__lane *here = filch__worker_lane();

    if (!here || here == stream->op.lane) {
        stream->foreign = 0;
    } else if (++stream->foreign >= FOREIGN_MAX) {
        stream->foreign = 0;
        filch__op_cancel(&stream->op);
    }
}

/* What has come in place of bytes, once: the end stays. The lock is held on entry, free on return.
 */
static ssize_t take_result_unlock(filch_tcp_stream *stream, bool waited)
{
    struct filch__fd *object;
    int result = stream->result;

    if (result < 0)
        stream->result = NOTHING;
    filch_spinlock_unlock(&stream->lock);
    if (filch__fd_enter(stream->conn, &object) < 0)
        return waited ? -ECANCELED : -EBADF; /* made up by the close */
    filch__fd_leave(object);
    return result;
}

static ssize_t give_unlock(filch_tcp_stream *stream, bool arms, filch_view *ret_view)
{
    struct filch__piece *piece = stream->first;

    *ret_view = (filch_view){piece->data + piece->at, piece->bytes - piece->at};
    filch_spinlock_unlock(&stream->lock);
    if (arms)
        (void)arm(stream); /* a failure is told when there are no pieces any more */
    return (ssize_t)ret_view->bytes;
}

/* A call that must not wait. */
static bool is_hasty(filch_time until)
{
    return until == FILCH_NOW || filch__task_cancelled(filch__task_current());
}

static ssize_t fill_in_task(filch_tcp_stream *stream, filch_view *ret_view, filch_time until)
{
    bool waited = false, looked = false;

    for (;;) {
        ssize_t n;

        filch_spinlock_lock(&stream->lock);
        if (stream->first)
            return give_unlock(stream, claim_arming_locked(stream), ret_view);
        if (stream->result != NOTHING)
            return take_result_unlock(stream, waited);
        if (stream->armed) {
            bool hasty = is_hasty(until);

            if (hasty && !looked) {
                filch_spinlock_unlock(&stream->lock);
                look(stream);
                looked = true;
                continue;
            }
            filch_spinlock_unlock(&stream->lock);
            follow(stream);
            filch_spinlock_lock(&stream->lock);
            if (stream->first || stream->result != NOTHING || !stream->armed) {
                filch_spinlock_unlock(&stream->lock);
                continue;
            }
            n = wait_unlock(stream, until);
            if (n < 0)
                return n;
            waited = true;
            continue;
        }
        if (!is_hasty(until) && claim_arming_locked(stream)) {
            filch_spinlock_unlock(&stream->lock);
            n = arm(stream);
            if (n == 0 || n == -ENOBUFS)
                continue;
            return waited && n == -EBADF ? -ECANCELED : n;
        }
        filch_spinlock_unlock(&stream->lock);
        n = read_single(stream, until);
        if (n <= 0)
            return waited && n == -EBADF ? -ECANCELED : n;
    }
}

static ssize_t fill_in_thread(filch_tcp_stream *stream, filch_view *ret_view, filch_time until)
{
    bool waited = false;

    for (;;) {
        ssize_t n;

        filch_spinlock_lock(&stream->lock);
        if (stream->first)
            return give_unlock(stream, false, ret_view);
        if (stream->result != NOTHING)
            return take_result_unlock(stream, waited);
        if (stream->armed) {
            n = wait_unlock(stream, until);
            if (n < 0)
                return n;
            waited = true;
            continue;
        }
        filch_spinlock_unlock(&stream->lock);
        n = read_single(stream, until);
        if (n <= 0)
            return waited && n == -EBADF ? -ECANCELED : n;
    }
}

/* Begins a call, alone. Return: 0; -EBUSY; -EBADF; -EINVAL. */
static int enter(filch_tcp_stream *handle, filch_tcp_stream **ret_stream)
{
    struct filch__fd *object;
    filch_tcp_stream *stream;
    bool busy;
    int r = filch__fd_enter(handle, &object);

    if (r < 0)
        return r;
    stream = filch_container_of(object, filch_tcp_stream, fd);
    filch_spinlock_lock(&stream->lock);
    busy = stream->busy;
    stream->busy = true;
    filch_spinlock_unlock(&stream->lock);
    if (busy) {
        filch__fd_leave(object);
        return -EBUSY;
    }
    *ret_stream = stream;
    return 0;
}

static void leave(filch_tcp_stream *stream)
{
    filch_spinlock_lock(&stream->lock);
    stream->busy = false;
    filch_spinlock_unlock(&stream->lock);
    filch__fd_leave(&stream->fd);
}

static ssize_t fill(filch_tcp_stream *stream, filch_view *ret_view, filch_time until)
{
    return filch__in_stackful_task() ? fill_in_task(stream, ret_view, until)
                                     : fill_in_thread(stream, ret_view, until);
}

ssize_t filch_tcp_stream_fill(filch_tcp_stream *handle, filch_view *ret_view, filch_time until)
{
    filch_tcp_stream *stream;
    ssize_t n = ret_view ? enter(handle, &stream) : -EINVAL;

    if (n < 0)
        return n;
    n = fill(stream, ret_view, until);
    leave(stream);
    if (n > 0)
        filch__coop();
    return n;
}

/* Return: 0; -EINVAL (the piece has fewer). */
static int consume(filch_tcp_stream *stream, size_t bytes)
{
    struct filch__piece *piece;
    bool empty;

    filch_spinlock_lock(&stream->lock);
    piece = stream->first;
    if (!piece || bytes > piece->bytes - piece->at) {
        filch_spinlock_unlock(&stream->lock);
        return bytes ? -EINVAL : 0;
    }
    piece->at += bytes;
    empty = piece->at == piece->bytes;
    if (empty) {
        stream->first = piece->next;
        stream->count--;
    }
    filch_spinlock_unlock(&stream->lock);
    if (empty)
        filch__piece_give_back(piece);
    return 0;
}

int filch_tcp_stream_consume(filch_tcp_stream *handle, size_t bytes)
{
    filch_tcp_stream *stream;
    int r = enter(handle, &stream);

    if (r < 0)
        return r;
    r = consume(stream, bytes);
    leave(stream);
    return r;
}

ssize_t filch_tcp_stream_read(filch_tcp_stream *handle, void *buf, size_t bytes, filch_time until)
{
    filch_tcp_stream *stream;
    filch_view view;
    ssize_t n = buf || !bytes ? enter(handle, &stream) : -EINVAL;

    if (n < 0)
        return n;
    n = bytes ? fill(stream, &view, until) : 0;
    if (n > 0) {
        if ((size_t)n > bytes)
            n = (ssize_t)bytes;
        memcpy(buf, view.data, (size_t)n);
        (void)consume(stream, (size_t)n);
    }
    leave(stream);
    if (n > 0)
        filch__coop();
    return n;
}

static ssize_t read_stream(void *context, void *buf, size_t bytes, filch_time until)
{
    return filch_tcp_stream_read(context, buf, bytes, until);
}

filch_reader filch_tcp_stream_reader(filch_tcp_stream *stream)
{
    return (filch_reader){.read = read_stream, .context = stream};
}

/* ---- the end ---- */

/* Ends the request, and waits until it has ended. */
static void disarm(filch_tcp_stream *stream)
{
    for (;;) {
        filch_spinlock_lock(&stream->lock);
        if (!stream->armed)
            break;
        filch_spinlock_unlock(&stream->lock);
        filch__op_cancel(&stream->op);
        filch_spinlock_lock(&stream->lock);
        if (!stream->armed)
            break;
        /* A piece that comes ends the wait as well. */
        (void)wait_unlock(stream, filch_after(CANCEL_PAUSE));
    }
    filch_spinlock_unlock(&stream->lock);
}

int filch_tcp_stream_close(filch_tcp_stream *handle)
{
    filch_tcp_stream *stream;
    struct filch__fd *object;
    struct filch__piece *piece;
    int r = handle ? enter(handle, &stream) : 0;

    if (r < 0 || !handle)
        return r;
    FILCH_SHIELD(FILCH_NEVER)
    disarm(stream);
    filch__fd_leave(&stream->fd); /* it stays busy, so nobody comes between */
    r = filch__fd_close_begin(handle, &object);
    if (r < 0)
        return r;
    filch__fd_wait_users(object);
    while ((piece = stream->first)) {
        stream->first = piece->next;
        filch__piece_give_back(piece);
    }
    filch__fd_end(object, &stream_pool);
    return 0;
}
