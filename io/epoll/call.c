/* See call.h. The one place that knows opcodes: an operation that the library stages on a ring has
 * a row here, or fails with -ENOSYS.
 *
 * System calls are made by number: the C library's functions are intercepted by sanitizers, which
 * would take a buffer in flight (in_flight.h) for one that is misused.
 *
 * Nothing here raises SIGPIPE: sockets are told not to, and what writes to pipes runs on threads of
 * the runtime, which block it.
 */
#include "io/epoll/call.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MIN_NS 1000000
#define PATIENCE_MAX_NS 20000000

/* Flags of entries that change what an operation is: none of them is used. */
#define FOREIGN_FLAGS                                                                              \
    (IOSQE_FIXED_FILE | IOSQE_IO_LINK | IOSQE_IO_HARDLINK | IOSQE_BUFFER_SELECT | IOSQE_IO_DRAIN)

static void *at(uint64_t address)
{
    return (void *)(uintptr_t)address;
}

static int result(long r)
{
    return r < 0 ? -errno : (int)r;
}

enum filch__call_kind filch__call_kind(const struct io_uring_sqe *sqe)
{
    if (sqe->flags & FOREIGN_FLAGS)
        return FILCH_CALL_UNKNOWN;
    switch (sqe->opcode) {
    case IORING_OP_NOP:
    case IORING_OP_SHUTDOWN:
    case IORING_OP_SOCKET:
        return FILCH_CALL_DIRECT;
    case IORING_OP_READ:
    case IORING_OP_READV:
    case IORING_OP_RECV:
    case IORING_OP_RECVMSG:
        return FILCH_CALL_IN;
    case IORING_OP_WRITE:
    case IORING_OP_WRITEV:
    case IORING_OP_SEND:
    case IORING_OP_SENDMSG:
    case IORING_OP_SEND_ZC: /* copied: there is one completion, which says so */
    case IORING_OP_SENDMSG_ZC:
        return FILCH_CALL_OUT;
    case IORING_OP_ACCEPT:
        return FILCH_CALL_ACCEPT;
    case IORING_OP_CONNECT:
        return FILCH_CALL_CONNECT;
    case IORING_OP_POLL_ADD:
        return sqe->len ? FILCH_CALL_UNKNOWN : FILCH_CALL_POLL; /* multishot, ... */
    case IORING_OP_OPENAT:
    case IORING_OP_OPENAT2:
    case IORING_OP_CLOSE:
    case IORING_OP_STATX:
    case IORING_OP_FSYNC:
    case IORING_OP_SYNC_FILE_RANGE:
    case IORING_OP_FALLOCATE:
    case IORING_OP_FADVISE:
    case IORING_OP_MADVISE:
    case IORING_OP_RENAMEAT:
    case IORING_OP_UNLINKAT:
    case IORING_OP_MKDIRAT:
    case IORING_OP_SYMLINKAT:
    case IORING_OP_LINKAT:
    case IORING_OP_SPLICE:
    case IORING_OP_TEE:
    case IORING_OP_FSETXATTR:
    case IORING_OP_SETXATTR:
    case IORING_OP_FGETXATTR:
    case IORING_OP_GETXATTR:
        return FILCH_CALL_JOB;
    default:
        return FILCH_CALL_UNKNOWN;
    }
}

bool filch__call_is_file(const struct io_uring_sqe *sqe)
{
    return sqe->opcode == IORING_OP_READ || sqe->opcode == IORING_OP_READV ||
           sqe->opcode == IORING_OP_WRITE || sqe->opcode == IORING_OP_WRITEV;
}

size_t filch__call_bytes(const struct io_uring_sqe *sqe)
{
    const struct msghdr *message = at(sqe->addr);
    size_t bytes = 0;

    if (sqe->msg_flags & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE))
        return 0;
    switch (sqe->opcode) {
    case IORING_OP_RECV:
    case IORING_OP_SEND:
        return sqe->len;
    case IORING_OP_RECVMSG:
    case IORING_OP_SENDMSG:
        for (size_t i = 0; i < message->msg_iovlen; i++)
            bytes += message->msg_iov[i].iov_len;
        return bytes;
    default:
        return 0;
    }
}

/* The kernel of io_uring does not look at the offset where there are no positions. */
static int move_file(const struct io_uring_sqe *sqe, int rw_flags)
{
    bool out = sqe->opcode == IORING_OP_WRITE || sqe->opcode == IORING_OP_WRITEV;
    bool one = sqe->opcode == IORING_OP_READ || sqe->opcode == IORING_OP_WRITE;
    struct iovec iov = {at(sqe->addr), sqe->len};
    int r = result(syscall(out ? SYS_pwritev2 : SYS_preadv2, sqe->fd, one ? &iov : at(sqe->addr),
                           one ? 1ul : (unsigned long)sqe->len, (long)sqe->off, 0l,
                           rw_flags | (int)sqe->rw_flags));

    if (r != -ESPIPE || sqe->off == (uint64_t)-1)
        return r;
    return result(syscall(out ? SYS_pwritev2 : SYS_preadv2, sqe->fd, one ? &iov : at(sqe->addr),
                          one ? 1ul : (unsigned long)sqe->len, -1l, 0l,
                          rw_flags | (int)sqe->rw_flags));
}

static int try_once(const struct io_uring_sqe *sqe)
{
    const long quietly = (long)sqe->msg_flags | MSG_DONTWAIT | MSG_NOSIGNAL;

    switch (sqe->opcode) {
    case IORING_OP_RECV:
        return result(
            syscall(SYS_recvfrom, sqe->fd, at(sqe->addr), (size_t)sqe->len, quietly, NULL, NULL));
    case IORING_OP_RECVMSG:
        return result(syscall(SYS_recvmsg, sqe->fd, at(sqe->addr), quietly));
    case IORING_OP_SEND:
    case IORING_OP_SEND_ZC:
        return result(syscall(SYS_sendto, sqe->fd, at(sqe->addr), (size_t)sqe->len, quietly,
                              at(sqe->addr2), (long)sqe->addr_len));
    case IORING_OP_SENDMSG:
    case IORING_OP_SENDMSG_ZC:
        return result(syscall(SYS_sendmsg, sqe->fd, at(sqe->addr), quietly));
    case IORING_OP_ACCEPT:
        return result(
            syscall(SYS_accept4, sqe->fd, at(sqe->addr), at(sqe->addr2), (long)sqe->accept_flags));
    default:
        return move_file(sqe, RWF_NOWAIT);
    }
}

int filch__call_try(const struct io_uring_sqe *sqe)
{
    int r;

    do
        r = try_once(sqe);
    while (r == -EINTR);
    return r;
}

static int connect_once(const struct io_uring_sqe *sqe)
{
    return result(syscall(SYS_connect, sqe->fd, at(sqe->addr), (long)sqe->off));
}

int filch__call_connect(const struct io_uring_sqe *sqe, bool begun)
{
    struct pollfd poll_fd = {.fd = sqe->fd, .events = POLLOUT};
    int error = 0;
    socklen_t bytes = sizeof error;
    int r;

    if (!begun) {
        r = connect_once(sqe);
        return r == -EINTR ? -EINPROGRESS : r; /* it goes on by itself */
    }
    if (poll(&poll_fd, 1, 0) <= 0)
        return -EINPROGRESS;
    r = result(getsockopt(sqe->fd, SOL_SOCKET, SO_ERROR, &error, &bytes));
    return r < 0 ? r : -error;
}

/* To a Unix socket whose queue is full: nothing tells when it has room again. */
static int connect_patiently(const struct io_uring_sqe *sqe, filch_atomic_u32 *cancelled)
{
    struct timespec pause = {.tv_nsec = PATIENCE_MIN_NS};
    int r;

    while ((r = connect_once(sqe)) == -EAGAIN && !filch_load_relaxed(cancelled)) {
        nanosleep(&pause, NULL);
        if (pause.tv_nsec < PATIENCE_MAX_NS)
            pause.tv_nsec *= 2;
    }
    return r == -EAGAIN ? -ECANCELED : r;
}

static int wait_once(const struct io_uring_sqe *sqe)
{
    switch (sqe->opcode) {
    case IORING_OP_NOP:
        return 0;
    case IORING_OP_SHUTDOWN:
        return result(shutdown(sqe->fd, (int)sqe->len));
    case IORING_OP_SOCKET:
        return result(socket(sqe->fd, (int)sqe->off, (int)sqe->len));
    case IORING_OP_OPENAT:
        return result(
            syscall(SYS_openat, sqe->fd, at(sqe->addr), (long)sqe->open_flags, (long)sqe->len));
    case IORING_OP_OPENAT2:
        return result(
            syscall(SYS_openat2, sqe->fd, at(sqe->addr), at(sqe->addr2), (size_t)sqe->len));
    case IORING_OP_CLOSE:
        return result(close(sqe->fd));
    case IORING_OP_STATX:
        return result(syscall(SYS_statx, sqe->fd, at(sqe->addr), (long)sqe->statx_flags,
                              (long)sqe->len, at(sqe->addr2)));
    case IORING_OP_FSYNC:
        return result(sqe->fsync_flags & IORING_FSYNC_DATASYNC ? fdatasync(sqe->fd)
                                                               : fsync(sqe->fd));
    case IORING_OP_SYNC_FILE_RANGE:
        return result(sync_file_range(sqe->fd, (off_t)sqe->off, sqe->len, sqe->sync_range_flags));
    case IORING_OP_FALLOCATE:
        return result(fallocate(sqe->fd, (int)sqe->len, (off_t)sqe->off, (off_t)sqe->addr));
    case IORING_OP_FADVISE:
        return -posix_fadvise(sqe->fd, (off_t)sqe->off, sqe->len, (int)sqe->fadvise_advice);
    case IORING_OP_MADVISE:
        return result(
            syscall(SYS_madvise, at(sqe->addr), (size_t)sqe->len, (long)sqe->fadvise_advice));
    case IORING_OP_RENAMEAT:
        return result(syscall(SYS_renameat2, sqe->fd, at(sqe->addr), (int)sqe->len, at(sqe->addr2),
                              (long)sqe->rename_flags));
    case IORING_OP_UNLINKAT:
        return result(unlinkat(sqe->fd, at(sqe->addr), (int)sqe->unlink_flags));
    case IORING_OP_MKDIRAT:
        return result(mkdirat(sqe->fd, at(sqe->addr), sqe->len));
    case IORING_OP_SYMLINKAT:
        return result(symlinkat(at(sqe->addr), sqe->fd, at(sqe->addr2)));
    case IORING_OP_LINKAT:
        return result(linkat(sqe->fd, at(sqe->addr), (int)sqe->len, at(sqe->addr2),
                             (int)sqe->hardlink_flags));
    case IORING_OP_SPLICE:
    case IORING_OP_TEE: {
        loff_t from = (loff_t)sqe->splice_off_in, to = (loff_t)sqe->off;

        if (sqe->opcode == IORING_OP_TEE)
            return result(tee(sqe->splice_fd_in, sqe->fd, sqe->len, sqe->splice_flags));
        return result(splice(sqe->splice_fd_in, from == -1 ? NULL : &from, sqe->fd,
                             to == -1 ? NULL : &to, sqe->len, sqe->splice_flags));
    }
    case IORING_OP_FSETXATTR:
        return result(syscall(SYS_fsetxattr, sqe->fd, at(sqe->addr), at(sqe->addr2),
                              (size_t)sqe->len, (long)sqe->xattr_flags));
    case IORING_OP_SETXATTR:
        return result(syscall(SYS_setxattr, at(sqe->addr3), at(sqe->addr), at(sqe->addr2),
                              (size_t)sqe->len, (long)sqe->xattr_flags));
    case IORING_OP_FGETXATTR:
        return result(
            syscall(SYS_fgetxattr, sqe->fd, at(sqe->addr), at(sqe->addr2), (size_t)sqe->len));
    case IORING_OP_GETXATTR:
        return result(
            syscall(SYS_getxattr, at(sqe->addr3), at(sqe->addr), at(sqe->addr2), (size_t)sqe->len));
    default:
        return filch__call_is_file(sqe) ? move_file(sqe, 0) : -ENOSYS;
    }
}

int filch__call_wait(const struct io_uring_sqe *sqe, filch_atomic_u32 *cancelled)
{
    int r;

    if (sqe->opcode == IORING_OP_CONNECT)
        return connect_patiently(sqe, cancelled);
    do
        r = wait_once(sqe);
    while (r == -EINTR && sqe->opcode != IORING_OP_CLOSE && !filch_load_relaxed(cancelled));
    return r;
}
