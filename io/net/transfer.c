/* Moving bytes through sockets: reads and writes of one buffer or of several, and messages, all by
 * one mechanism, whatever the kind of socket.
 *
 *                      out, few tasks queued    out, many tasks queued    in
 *     in a task        system call, then ring   ring                      ring
 *     on an epoll      system call, then wait   the same                  wait
 *     in a thread      system call, then poll(2)
 *     once only        system call (FILCH_NOW, or the caller is cancelled)
 *
 * A read is one ring operation: the kernel tries at once when the batch is submitted, else waits
 * for data. A write goes directly to the kernel while few tasks are queued on the worker, because
 * then nobody would share the submission; when many are, it is staged with theirs. Sockets are in
 * blocking mode, for with a non-blocking one io_uring gives EAGAIN instead of waiting; direct calls
 * carry MSG_DONTWAIT. Should somebody else have made a socket non-blocking, we poll and try again.
 */
#include <errno.h>
#include <limits.h>
#include <liburing.h>
#include <poll.h>

#include "io/in_flight.h"
#include "io/net/socket.h"
#include "io/net/transfer.h"
#include "io/lane.h"
#include "runtime/task/task.h"

/* Writes are direct while fewer tasks than this wait on the worker. */
#define DIRECT_BACKLOG 4
/* More than this the kernel does not move at a time. */
#define BYTES_MAX ((size_t)0x7ffff000)
/* How many buffers filch__transfer_writev_all() gives to the kernel at a time. */
#define ALL_BUFFERS 64

struct transfer {
    struct filch__fd *object;
    int fd;
    bool out; /* a write, else a read */
    void *buf;
    size_t bytes;           /* of a stream more than 0 */
    struct msghdr *message; /* several buffers, or more than bytes, instead of buf */
    int flags;              /* of recvmsg(2) */
    bool datagram;          /* no bytes at all are a message, too */
};

static ssize_t transfer_now(const struct transfer *t)
{
    struct filch__lane *lane = filch__worker_lane();
    const int flags = MSG_DONTWAIT | MSG_NOSIGNAL | t->flags;
    ssize_t n;

    if (lane)
        filch_counter_add(&lane->stats.direct, 1);
    do {
        if (t->message)
            n = t->out ? sendmsg(t->fd, t->message, flags) : recvmsg(t->fd, t->message, flags);
        else
            n = t->out ? send(t->fd, t->buf, t->bytes, flags)
                       : recv(t->fd, t->buf, t->bytes, flags);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* Was it ended by a close? Of a stream the kernel tells by itself. */
static bool has_ended(const struct transfer *t)
{
    return t->datagram && filch__fd_is_closing(t->object);
}

static int wait_for(const struct transfer *t, struct filch__op *op, filch_time until)
{
    struct filch__datagram_socket *socket;

    if (!t->datagram)
        return filch__op_wait(op, until);
    socket = filch_container_of(t->object, struct filch__datagram_socket, fd);
    return filch__op_list_wait(&socket->ops, t->object, op, until);
}

static ssize_t receive(const struct transfer *t, struct filch__op *op, struct filch__lane *lane,
                       struct io_uring_sqe *sqe, filch_time until)
{
    ssize_t n;

    if (t->message) {
        size_t buffers = t->message->msg_iovlen;

        io_uring_prep_recvmsg(sqe, t->fd, t->message, MSG_NOSIGNAL | (unsigned)t->flags);
        filch__in_flight_begin_message(t->message);
        filch__lane_commit(lane, op);
        n = wait_for(t, op, until);
        t->message->msg_iovlen = buffers;
        filch__in_flight_end_message(t->message, n);
    } else {
        io_uring_prep_recv(sqe, t->fd, t->buf, t->bytes, MSG_NOSIGNAL | t->flags);
        filch__in_flight_begin(t->buf, t->bytes);
        filch__lane_commit(lane, op);
        n = wait_for(t, op, until);
        filch__in_flight_end(t->buf, t->bytes, n);
    }
    return n;
}

static ssize_t transfer_by_ring(const struct transfer *t, filch_time until)
{
    struct filch__lane *lane;
    struct filch__op op;
    struct io_uring_sqe *sqe = filch__op_begin(&op, &lane);

    op.then = t->object;
    if (!t->out)
        return receive(t, &op, lane, sqe, until);
    if (t->message)
        io_uring_prep_sendmsg(sqe, t->fd, t->message, MSG_NOSIGNAL);
    else
        io_uring_prep_send(sqe, t->fd, t->buf, t->bytes, MSG_NOSIGNAL);
    filch__lane_commit(lane, &op);
    return wait_for(t, &op, until);
}

/* An epoll shares nothing: what is staged is a system call, too. */
static bool goes_directly(void)
{
    return filch__worker_lane()->epoll || filch__worker_backlog() < DIRECT_BACKLOG;
}

static ssize_t transfer_in_task(const struct transfer *t, filch_time until)
{
    for (;;) {
        int error = filch__only_now(until);
        ssize_t n;

        if (error || (t->out && goes_directly())) {
            n = transfer_now(t);
            if (n != -EAGAIN)
                return n;
            if (error)
                return error;
        }
        n = transfer_by_ring(t, until);
        if (n == -EAGAIN)
            n = filch__op_poll(t->fd, t->out ? POLLOUT : POLLIN, until) ?: -EINTR;
        if (n != -EINTR || has_ended(t))
            return n;
    }
}

static ssize_t transfer_in_thread(const struct transfer *t, filch_time until)
{
    ssize_t n;

    while ((n = transfer_now(t)) == -EAGAIN && !has_ended(t))
        if (filch__socket_poll(t->fd, t->out ? POLLOUT : POLLIN, until) < 0)
            return -ETIMEDOUT;
    return n;
}

/* A call on a handle. @t: without its descriptor. */
static ssize_t transfer(const void *handle, struct transfer *t, filch_time until)
{
    struct filch__fd *object;
    ssize_t n;
    int r = filch__fd_enter(handle, &object);

    if (r < 0)
        return r;
    t->object = object;
    t->fd = object->fd;
    if (!t->bytes && !t->datagram)
        n = 0;
    else if (!t->buf && !t->message && t->bytes)
        n = -EINVAL;
    else if (filch__in_stackful_task())
        n = transfer_in_task(t, until);
    else
        n = transfer_in_thread(t, until);
    if (n <= 0 && (t->bytes || t->datagram) && filch__fd_is_closing(object))
        n = -ECANCELED;
    filch__fd_leave(object);
    if (n > 0 || (n == 0 && t->datagram))
        filch__coop();
    return n;
}

/* Several buffers, from the first that is not empty on: a message of no bytes would look like the
 * end of the stream. Return: 0; -EINVAL. */
static int use_buffers(struct transfer *t, struct msghdr *message, const struct iovec *iov,
                       size_t count)
{
    size_t bytes = 0;

    if (!iov && count)
        return -EINVAL;
    for (; count && !iov->iov_len; count--)
        iov++;
    if (count > IOV_MAX)
        count = IOV_MAX;
    for (size_t i = 0; i < count; i++) {
        if (!iov[i].iov_base && iov[i].iov_len)
            return -EINVAL;
        bytes |= iov[i].iov_len;
    }
    *message = (struct msghdr){.msg_iov = (struct iovec *)iov, .msg_iovlen = count};
    t->message = message;
    t->bytes = bytes; /* none or some is all that matters */
    return 0;
}

ssize_t filch__transfer_read(const void *handle, void *buf, size_t bytes, filch_time until)
{
    struct transfer t = {.buf = buf, .bytes = bytes < BYTES_MAX ? bytes : BYTES_MAX};

    return transfer(handle, &t, until);
}

ssize_t filch__transfer_write(const void *handle, const void *buf, size_t bytes, filch_time until)
{
    struct transfer t = {
        .out = true, .buf = (void *)buf, .bytes = bytes < BYTES_MAX ? bytes : BYTES_MAX};

    return transfer(handle, &t, until);
}

ssize_t filch__transfer_readv(const void *handle, const struct iovec *iov, size_t count,
                              filch_time until)
{
    struct transfer t = {.out = false};
    struct msghdr message;
    int r = use_buffers(&t, &message, iov, count);

    return r < 0 ? r : transfer(handle, &t, until);
}

ssize_t filch__transfer_writev(const void *handle, const struct iovec *iov, size_t count,
                               filch_time until)
{
    struct transfer t = {.out = true};
    struct msghdr message;
    int r = use_buffers(&t, &message, iov, count);

    return r < 0 ? r : transfer(handle, &t, until);
}

ssize_t filch__transfer_message(const void *handle, bool out, struct msghdr *message, int flags,
                                bool datagram, filch_time until)
{
    struct transfer t = {.out = out, .message = message, .flags = flags, .datagram = datagram};

    for (size_t i = 0; i < message->msg_iovlen; i++)
        t.bytes |= message->msg_iov[i].iov_len;
    return transfer(handle, &t, until);
}

int filch__transfer_read_exact(const void *handle, void *buf, size_t bytes, size_t *ret_done,
                               filch_time until)
{
    size_t done = 0;
    ssize_t n = 0;

    /* Once at least: no bytes at all from a closed connection is an error, too. (With no bytes @buf
     * may be NULL, to which nothing can be added.) */
    do {
        n = filch__transfer_read(handle, done ? (char *)buf + done : buf, bytes - done, until);
        if (n > 0)
            done += (size_t)n;
    } while (n > 0 && done < bytes);
    if (ret_done)
        *ret_done = done;
    if (n < 0)
        return (int)n;
    return done == bytes ? 0 : -EPIPE;
}

int filch__transfer_write_all(const void *handle, const void *buf, size_t bytes, size_t *ret_done,
                              filch_time until)
{
    size_t done = 0;
    ssize_t n = 0;

    do {
        n = filch__transfer_write(handle, done ? (const char *)buf + done : buf, bytes - done,
                                  until);
        if (n > 0)
            done += (size_t)n;
    } while (n >= 0 && done < bytes);
    if (ret_done)
        *ret_done = done;
    return n < 0 ? (int)n : 0;
}

/* How far a list of buffers is written: they belong to the caller, who finds them unchanged. */
struct progress {
    const struct iovec *iov; /* the first that is not written completely */
    size_t count;
    size_t offset; /* into it */
};

static void advance(struct progress *at, size_t bytes)
{
    at->offset += bytes;
    while (at->count && at->offset >= at->iov->iov_len) {
        at->offset -= at->iov->iov_len;
        at->iov++;
        at->count--;
    }
}

/* What is to be written next. Return: its number of buffers. */
static size_t next_buffers(const struct progress *at, struct iovec *to, size_t most)
{
    size_t n = 0;

    for (size_t i = 0; i < at->count && n < most; i++) {
        size_t skipped = i ? 0 : at->offset;

        if (at->iov[i].iov_len > skipped)
            to[n++] =
                (struct iovec){(char *)at->iov[i].iov_base + skipped, at->iov[i].iov_len - skipped};
    }
    return n;
}

int filch__transfer_writev_all(const void *handle, const struct iovec *iov, size_t count,
                               size_t *ret_done, filch_time until)
{
    struct progress at = {iov, count, 0};
    struct iovec buffers[ALL_BUFFERS];
    size_t done = 0, ready;
    ssize_t n = 0;

    for (size_t i = 0; i < count && n == 0; i++)
        if (!iov || (!iov[i].iov_base && iov[i].iov_len))
            n = -EINVAL;
    if (n == 0)
        advance(&at, 0);
    /* No bytes at all from a closed connection is an error, too. */
    if (n == 0 && !at.count)
        n = filch__transfer_writev(handle, NULL, 0, until);
    while (n >= 0 && (ready = next_buffers(&at, buffers, ALL_BUFFERS))) {
        n = filch__transfer_writev(handle, buffers, ready, until);
        if (n > 0) {
            done += (size_t)n;
            advance(&at, (size_t)n);
        }
    }
    if (ret_done)
        *ret_done = done;
    return n < 0 ? (int)n : 0;
}
