/* Files: reading and writing, one mechanism. See call.c. */
#include <errno.h>
#include <limits.h>
#include <liburing.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <filch/time.h>

#include "io/fs/call.h"
#include "io/in_flight.h"
#include "io/net/socket.h"
#include "io/lane.h"
#include "io/quiet.h"
#include "runtime/task/task.h"

/* More than this the kernel does not move at a time. */
#define BYTES_MAX ((size_t)0x7ffff000)
/* More than this is copied by a thread of the kernel's, for the worker to go on: some 50 us. */
#define INLINE_BYTES ((size_t)512 << 10)
/* How long a plain thread waits in a pipe until it looks whether the file was closed. */
#define LOOK_AGAIN (50 * FILCH_MILLISECOND)
/* How long a try takes at most that only the ring can make. */
#define TRY_FOR (5 * FILCH_MILLISECOND)

struct move {
    struct filch_file *file;
    bool waits; /* what the file says */
    bool out;
    const struct iovec *iov;
    int count;
    size_t bytes; /* more than 0 */
    int64_t offset;
};

/* Not by the C library's functions: those are cancellation points of threads, which costs two
 * atomic operations, and nobody cancels ours. */
static ssize_t call_once(const struct move *m, int flags)
{
    long number = m->out ? SYS_pwritev2 : SYS_preadv2;
    ssize_t n;

    do {
        n = syscall(number, m->file->fd.fd, m->iov, (long)m->count, (long)m->offset, 0L,
                    (long)flags);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static ssize_t call_guarded(const struct move *m, int flags)
{
    struct filch__quiet quiet;
    ssize_t n;

    filch__quiet_begin(&quiet);
    n = call_once(m, flags);
    filch__quiet_end(&quiet, n == -EPIPE);
    return n;
}

static ssize_t call_quietly(const struct move *m, int flags)
{
    return m->out && m->waits ? call_guarded(m, flags) : call_once(m, flags);
}

static unsigned refused_bit(const struct move *m)
{
    return m->out ? 2 : 1;
}

static ssize_t call_unblocked(const struct move *m)
{
    ssize_t n;

    if (!filch__fd_unblock(&m->file->fd))
        return -EAGAIN;
    n = call_quietly(m, 0);
    filch__fd_block(&m->file->fd);
    return n;
}

/* Return: as the call; -EAGAIN (it would wait); -EOPNOTSUPP (who knows). */
static ssize_t move_now(const struct move *m)
{
    ssize_t n = -EOPNOTSUPP;

    /* An offset in what has none: only this call says so. A ring would take it for none, and wait.
     */
    if (!(filch_load_relaxed(&m->file->refused) & refused_bit(m)) ||
        (m->waits && m->offset != FILCH_FILE_POSITION)) {
        n = call_quietly(m, RWF_NOWAIT);
        if (n == -EOPNOTSUPP)
            filch_fetch_or_acq_rel(&m->file->refused, refused_bit(m));
    }
    return n == -EOPNOTSUPP && m->file->pipe ? call_unblocked(m) : n;
}

static int wait_for(const struct move *m, struct filch__op *op, filch_time until)
{
    return m->waits ? filch__op_list_wait(&m->file->ops, &m->file->fd, op, until)
                    : filch__op_wait(op, until);
}

static int poll_by_ring(struct filch_file *file, short events, filch_time until)
{
    struct filch__lane *lane;
    struct filch__op op;
    struct io_uring_sqe *sqe = filch__op_begin(&op, &lane);
    int r;

    io_uring_prep_poll_add(sqe, file->fd.fd, (unsigned)events);
    filch__lane_commit(lane, &op);
    r = filch__op_list_wait(&file->ops, &file->fd, &op, until);
    return r > 0 ? 0 : r;
}

/* Of a thread, a job or a future's poll. */
static int wait_in_thread(struct filch_file *file, short events, filch_time until)
{
    for (;;) {
        filch_time look = filch_after(LOOK_AGAIN);
        int r = filch__socket_poll(file->fd.fd, events, look < until ? look : until);

        if (filch__fd_is_closing(&file->fd) || filch_task_is_cancelled())
            return -ECANCELED;
        if (r == 0)
            return 0;
        if (filch_now() >= until)
            return -ETIMEDOUT;
    }
}

int filch__file_wait(struct filch_file *file, short events, filch_time until)
{
    int r;

    if (!filch__in_stackful_task())
        return wait_in_thread(file, events, until);
    do {
        r = filch__only_now(until) ?: poll_by_ring(file, events, until);
    } while (r == -EINTR && !filch__fd_is_closing(&file->fd));
    return filch__fd_is_closing(&file->fd) ? -ECANCELED : r;
}

static short events_of(const struct move *m)
{
    return m->out ? POLLOUT : POLLIN;
}

static ssize_t move_once_by_ring(const struct move *m, filch_time until)
{
    struct msghdr buffers = {.msg_iov = (struct iovec *)m->iov, .msg_iovlen = (size_t)m->count};
    struct filch__lane *lane;
    struct filch__op op;
    struct io_uring_sqe *sqe = filch__op_begin(&op, &lane);
    ssize_t n;

    if (m->out)
        io_uring_prep_writev(sqe, m->file->fd.fd, m->iov, (unsigned)m->count, (uint64_t)m->offset);
    else
        io_uring_prep_readv(sqe, m->file->fd.fd, m->iov, (unsigned)m->count, (uint64_t)m->offset);
    if (m->bytes > INLINE_BYTES)
        sqe->flags |= IOSQE_ASYNC;
    if (!m->out)
        filch__in_flight_begin_message(&buffers);
    filch__lane_commit(lane, &op);
    n = wait_for(m, &op, until);
    if (!m->out)
        filch__in_flight_end_message(&buffers, n);
    return n;
}

/* A move at the position that ends early, by a disk that is full, is told as short, but the kernel
 * has not moved the position then: the next one would go to the same place. */
static ssize_t move_by_ring(const struct move *m, filch_time until)
{
    bool by_position = !m->waits && m->offset == FILCH_FILE_POSITION;
    int fd = m->file->fd.fd;
    off_t before = by_position ? lseek(fd, 0, SEEK_CUR) : -1;
    ssize_t n = move_once_by_ring(m, until);

    if (before >= 0 && n > 0 && (size_t)n < m->bytes && lseek(fd, 0, SEEK_CUR) == before)
        lseek(fd, n, SEEK_CUR);
    return n;
}

/* Once, of what cannot be tried by a call. It does not wait for long although it is ready: somebody
 * else may take what is there. Return: as the call; -EAGAIN. */
static ssize_t try_by_ring(const struct move *m)
{
    struct pollfd poll_fd = {.fd = m->file->fd.fd, .events = events_of(m)};
    ssize_t n = -EAGAIN;

    if (poll(&poll_fd, 1, 0) > 0)
        n = move_by_ring(m, filch_after(TRY_FOR));
    return n == -EINTR || n == -ETIMEDOUT || n == -ECANCELED ? -EAGAIN : n;
}

/* What waits is polled for, so that the ring's threads do not wait in it: once it is ready, or, as
 * long as nobody knows whether it is, when the ring has found that it is not. */
static ssize_t move_in_task(const struct move *m, filch_time until)
{
    bool unready = false;

    for (;;) {
        ssize_t n = -EAGAIN;

        if (m->waits || m->bytes <= INLINE_BYTES)
            n = move_now(m);
        if (n != -EAGAIN && n != -EOPNOTSUPP)
            return n;
        if (filch__only_now(until) < 0) {
            if (n == -EOPNOTSUPP && m->waits)
                n = try_by_ring(m);
            return n == -EAGAIN || n == -EOPNOTSUPP ? filch__only_now(until) : n;
        }
        if (m->waits && (n == -EAGAIN || unready)) {
            n = poll_by_ring(m->file, events_of(m), until) ?: -EINTR;
            unready = false;
        } else {
            n = move_by_ring(m, until);
            unready = n == -EAGAIN;
        }
        if (m->waits && n < 0 && filch__fd_is_closing(&m->file->fd))
            return -ECANCELED;
        if (n != -EINTR && n != -EAGAIN)
            return n;
    }
}

/* Of a thread, a job or a future's poll. */
static ssize_t move_in_thread(const struct move *m, filch_time until)
{
    ssize_t n;

    if (!m->waits)
        return call_once(m, 0);
    while ((n = move_now(m)) == -EAGAIN || n == -EOPNOTSUPP) {
        int r = wait_in_thread(m->file, events_of(m), until);

        if (r < 0)
            return r;
        if (n == -EOPNOTSUPP)
            return call_quietly(m, 0);
    }
    return n;
}

/* Checks and counts. Return: 0; -EINVAL. */
static int measure(struct move *m)
{
    if (m->count && !m->iov)
        return -EINVAL;
    for (int i = 0; i < m->count; i++) {
        if (!m->iov[i].iov_base && m->iov[i].iov_len)
            return -EINVAL;
        if (m->iov[i].iov_len > SSIZE_MAX - m->bytes)
            return -EINVAL;
        m->bytes += m->iov[i].iov_len;
    }
    return 0;
}

static ssize_t move(filch_file *handle, struct move *m, filch_time until)
{
    struct filch__fd *object;
    ssize_t n;
    int r = filch__fd_enter(handle, &object);

    if (r < 0)
        return r;
    m->file = filch_container_of(object, struct filch_file, fd);
    m->waits = m->file->waits;
    n = measure(m);
    if (n == 0 && m->bytes)
        n = filch__in_stackful_task() ? move_in_task(m, until) : move_in_thread(m, until);
    filch__fd_leave(object);
    if (n > 0)
        filch__coop();
    return n;
}

static ssize_t move_one(filch_file *file, bool out, void *buf, size_t bytes, int64_t offset,
                        filch_time until)
{
    size_t most = bytes < BYTES_MAX ? bytes : BYTES_MAX;
    struct iovec iov = {buf, most};
    size_t done = 0;

    /* A read that gave less may be at the end, or at what the page cache has not. */
    for (;;) {
        struct move m = {.out = out, .iov = &iov, .count = 1, .offset = offset};
        ssize_t n = move(file, &m, until);

        if (n > 0)
            done += (size_t)n;
        if (n <= 0 && !done)
            return n;
        if (n <= 0 || done == most || out || m.waits)
            return (ssize_t)done;
        iov = (struct iovec){(char *)buf + done, most - done};
        if (offset >= 0)
            offset += n;
    }
}

ssize_t filch_file_read(filch_file *file, void *buf, size_t bytes, filch_time until)
{
    return move_one(file, false, buf, bytes, FILCH_FILE_POSITION, until);
}

ssize_t filch_file_write(filch_file *file, const void *buf, size_t bytes, filch_time until)
{
    return move_one(file, true, (void *)buf, bytes, FILCH_FILE_POSITION, until);
}

ssize_t filch_file_pread(filch_file *file, void *buf, size_t bytes, int64_t offset,
                         filch_time until)
{
    return offset < 0 ? -EINVAL : move_one(file, false, buf, bytes, offset, until);
}

ssize_t filch_file_pwrite(filch_file *file, const void *buf, size_t bytes, int64_t offset,
                          filch_time until)
{
    return offset < 0 ? -EINVAL : move_one(file, true, (void *)buf, bytes, offset, until);
}

static ssize_t move_several(filch_file *file, bool out, const struct iovec *iov, size_t count,
                            int64_t offset, filch_time until)
{
    struct move m = {.out = out, .iov = iov, .count = (int)count, .offset = offset};

    if (!file || count > IOV_MAX || offset < FILCH_FILE_POSITION)
        return -EINVAL;
    return move(file, &m, until);
}

ssize_t filch_file_readv(filch_file *file, const struct iovec *iov, size_t count, int64_t offset,
                         filch_time until)
{
    return move_several(file, false, iov, count, offset, until);
}

ssize_t filch_file_writev(filch_file *file, const struct iovec *iov, size_t count, int64_t offset,
                          filch_time until)
{
    return move_several(file, true, iov, count, offset, until);
}

int filch_file_write_all(filch_file *file, const void *buf, size_t bytes, size_t *ret_done,
                         filch_time until)
{
    size_t done = 0;
    ssize_t n;

    do {
        n = filch_file_write(file, (const char *)buf + done, bytes - done, until);
        if (n > 0)
            done += (size_t)n;
    } while (n > 0 && done < bytes);
    if (ret_done)
        *ret_done = done;
    return n < 0 ? (int)n : 0;
}
