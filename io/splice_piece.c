/* One call that moves bytes without a buffer: sendfile(2) out of a file into a socket, splice(2)
 * wherever one end is a pipe.
 *
 * What the kernel waits for, and how it is told not to:
 *
 *     a pipe      SPLICE_F_NONBLOCK
 *     a socket    it is non-blocking for the length of the call (fd.h); no flag says so
 *     the disk    nothing tells it: so what is read must be in the page cache
 *
 * Two reads of a byte that must not wait, at the beginning and at the end of the piece, tell
 * whether the pages are there. Between them one may be missing, and is read while the worker waits:
 * read-ahead makes that rare. What is not there goes into a socket on a blocking thread. Into a
 * pipe it is copied, which brings the pages: a splice holds the pipe's lock while it waits for the
 * disk, and whoever reads the pipe would wait for that lock, in the kernel, with its worker.
 *
 * Not by the ring: it has no sendfile, and its splice always goes to a thread of the kernel's. */
#include "io/splice_piece.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "io/fs/call.h"
#include "io/net/socket.h"
#include "io/quiet.h"

static ssize_t call(struct filch__splice_piece *piece)
{
    off_t *offset = piece->offset < 0 ? NULL : &piece->offset;

    if (piece->from_kind == FILCH__SPLICE_FILE && piece->to_kind == FILCH__SPLICE_SOCKET)
        return sendfile(piece->to, piece->from, offset, piece->most);
    return splice(piece->from, offset, piece->to, NULL, piece->most, SPLICE_F_NONBLOCK);
}

/* Some kinds of files cannot, some filters do not let us, and there is no end behind the largest
 * offset. Reads and writes say better what is wrong with which end. */
static bool is_refusal(int error)
{
    switch (error) {
    case EINVAL:
    case ENOSYS:
    case EOPNOTSUPP:
    case EPERM:
    case EACCES:
    case EBADF:
    case ESPIPE:
    case EOVERFLOW:
    case ENOMEM:
        return true;
    default:
        return false;
    }
}

/* The signal may be there without the error: a part went out, and then the peer was gone. */
static bool may_be_broken(const struct filch__splice_piece *piece)
{
    return piece->n == -EPIPE || (piece->to_kind == FILCH__SPLICE_SOCKET && piece->n > 0 &&
                                  (size_t)piece->n < piece->most);
}

static int move(void *arg)
{
    struct filch__splice_piece *piece = arg;
    struct filch__quiet quiet;

    filch__quiet_begin(&quiet);
    do {
        piece->n = call(piece);
    } while (piece->n < 0 && errno == EINTR);
    if (piece->n < 0)
        piece->n = is_refusal(errno) ? -EOPNOTSUPP : -errno;
    filch__quiet_end(&quiet, may_be_broken(piece));
    return 0;
}

/* ---- what is in the page cache ---- */

static off_t offset_of(const struct filch__splice_piece *piece)
{
    return piece->offset < 0 ? lseek(piece->from, 0, SEEK_CUR) : piece->offset;
}

/* Return: 1: a byte; 0: the end; -EAGAIN: only by waiting; -errno: who knows. */
static int look(int fd, off_t offset)
{
    char byte;
    struct iovec iov = {&byte, 1};
    long n;

    if (offset < 0) /* which would move the position */
        return -ESPIPE;
    n = syscall(SYS_preadv2, fd, &iov, 1L, (long)offset, 0L, (long)RWF_NOWAIT);
    return n < 0 ? -errno : (int)n;
}

/* Return: 0: nothing is to be waited for; as look(). */
static int look_at_both_ends(const struct filch__splice_piece *piece)
{
    off_t offset = offset_of(piece);
    int r = look(piece->from, offset);

    if (r > 0)
        r = look(piece->from, offset + (off_t)piece->most - 1);
    return r < 0 ? r : 0;
}

/* ---- */

int filch__splice_move(struct filch__splice_piece *piece, filch_time until)
{
    bool to_pipe = piece->to_kind == FILCH__SPLICE_PIPE;
    int r = 0;

    if (piece->from_kind == FILCH__SPLICE_FILE && (to_pipe || filch__in_stackful_task()))
        r = look_at_both_ends(piece);
    if (r == 0)
        return move(piece);
    if (to_pipe) {
        piece->n = r == -EAGAIN ? -EBUSY : -EOPNOTSUPP;
        return 0;
    }
    r = filch__fs_job(move, piece, until);
    return r == -EAGAIN ? move(piece) : r; /* no thread to be had */
}

int filch__splice_bytes(const struct filch__splice_piece *piece)
{
    int bytes = 0;

    return ioctl(piece->from, FIONREAD, &bytes) == 0 && bytes > 0 ? bytes : 0;
}

static short events_of(int fd, short events)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};

    while (poll(&poll_fd, 1, 0) < 0 && errno == EINTR)
        ;
    return poll_fd.revents;
}

static int peek_socket(int fd)
{
    char byte;
    ssize_t n;

    do {
        n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : (int)n;
}

/* Its writers have gone if it says anything but that there are bytes. */
static int peek_pipe(int fd)
{
    short events = events_of(fd, POLLIN);

    if (events & POLLIN)
        return 1;
    return events ? 0 : -EAGAIN;
}

/* sendfile(2) has looked before it was told that the socket is full. */
static int peek_file(const struct filch__splice_piece *piece)
{
    int r = piece->to_kind == FILCH__SPLICE_SOCKET ? 1 : look(piece->from, offset_of(piece));

    if (r == -EAGAIN)
        return 1;
    return r < 0 ? -EBUSY : r;
}

int filch__splice_peek(const struct filch__splice_piece *piece)
{
    switch (piece->from_kind) {
    case FILCH__SPLICE_FILE:
        return peek_file(piece);
    case FILCH__SPLICE_PIPE:
        return peek_pipe(piece->from);
    case FILCH__SPLICE_SOCKET:
        return peek_socket(piece->from);
    }
    return -EBUSY;
}

bool filch__splice_has_room(const struct filch__splice_piece *piece)
{
    return events_of(piece->to, POLLOUT) != 0;
}
