/* Bytes that the kernel moves by itself: out of the page cache into a socket, by sendfile(2).
 *
 *     is what comes next in the page cache?   sendfile(2) here, else on a blocking thread
 *     is the socket full?                     poll for it, and again
 *
 * sendfile(2) waits for the socket unless that is non-blocking, and ours are not (net/transfer.c).
 * So it is made non-blocking for the length of the call, by one user at a time; what others do with
 * it meanwhile finds that it would wait, and polls. Handles are entered for each try and each wait,
 * not for the whole transfer: so a close of one end does not wait for what the other end waits for.
 *
 * It counts what the socket took, and moves the file's position by as much: whatever comes in
 * between, no byte is lost or doubled.
 *
 * For the disk the call waits, too, and nothing tells it not to. Two reads of a byte that must not
 * wait, at the beginning and at the end of the piece, tell whether the pages are there. Between
 * them one may be missing, and is read while the worker waits: read-ahead makes that rare.
 *
 * Not by the ring: it has no sendfile, and its splice always goes to a thread of the kernel's,
 * twice for each piece, with a pipe in between. */
#include "io/splice.h"

#include <errno.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "io/fs/call.h"
#include "io/net/ends.h"
#include "io/net/socket.h"
#include "io/quiet.h"
#include "runtime/task/task.h"

/* At a time: 15 us of a worker's time. */
#define PIECE ((size_t)256 << 10)
/* Less than this is copied faster than the pages are handed over. */
#define PAYS_BYTES ((uint64_t)16 << 10)

/* One call, here or on another thread. */
struct piece {
    int from, to;
    off_t offset; /* FILCH_FILE_POSITION */
    size_t most;
    ssize_t n; /* the result */
};

bool filch__splice_pays(uint64_t bytes)
{
    return bytes >= PAYS_BYTES;
}

bool filch__splice_init(struct filch__splice *s, filch_file *from, int64_t offset,
                        filch_writer writer)
{
    struct filch__fd *object;
    bool waits;

    if (!filch__writer_is_socket(writer) || filch__fd_enter(from, &object) < 0)
        return false;
    waits = filch_container_of(object, struct filch_file, fd)->waits;
    filch__fd_leave(object);
    *s = (struct filch__splice){.from = from, .to = writer.context, .offset = offset};
    return !waits;
}

/* Some kinds of files cannot, and there is no end behind the largest offset. */
static ssize_t error_of(int error)
{
    return error == EINVAL || error == ENOSYS || error == EOVERFLOW ? -EOPNOTSUPP : -error;
}

static int move_piece(void *arg)
{
    struct piece *piece = arg;
    struct filch__quiet quiet;

    filch__quiet_begin(&quiet);
    do {
        piece->n = sendfile(piece->to, piece->from, piece->offset < 0 ? NULL : &piece->offset,
                            piece->most);
    } while (piece->n < 0 && errno == EINTR);
    if (piece->n < 0)
        piece->n = error_of(errno);
    filch__quiet_end(&quiet, piece->n == -EPIPE);
    return 0;
}

/* Is there anything to wait for? */
static bool is_there(int fd, off_t offset)
{
    char byte;
    struct iovec iov = {&byte, 1};

    return syscall(SYS_preadv2, fd, &iov, 1L, (long)offset, 0L, (long)RWF_NOWAIT) >= 0;
}

static bool is_cached(const struct piece *piece)
{
    off_t offset = piece->offset < 0 ? lseek(piece->from, 0, SEEK_CUR) : piece->offset;

    return offset < 0 || (is_there(piece->from, offset) &&
                          is_there(piece->from, offset + (off_t)piece->most - 1));
}

/* Return: 0: it was made; -errno: it was not. */
static int make_call(struct piece *piece, filch_time until)
{
    if (!filch__in_stackful_task() || is_cached(piece))
        return move_piece(piece);
    return filch__fs_job(move_piece, piece, until);
}

static ssize_t try_entered(struct filch__splice *s, struct filch__fd *from, struct filch__fd *to,
                           size_t most, filch_time until)
{
    struct piece piece = {.from = from->fd, .to = to->fd, .offset = s->offset, .most = most};
    int r;

    if (!filch__fd_unblock(to))
        return -EOPNOTSUPP;
    r = make_call(&piece, until);
    if (r == -EAGAIN) /* no thread to be had */
        r = move_piece(&piece);
    filch__fd_block(to);
    if (r < 0)
        return r;
    if (piece.n > 0 && s->offset >= 0)
        s->offset += piece.n;
    s->writing = piece.n != -EIO;
    return piece.n < 0 && filch__fd_is_closing(to) ? -ECANCELED : piece.n;
}

static ssize_t try_once(struct filch__splice *s, size_t most, filch_time until)
{
    struct filch__fd *from, *to;
    ssize_t n;
    int r;

    s->writing = false;
    r = filch__fd_enter(s->from, &from);
    if (r < 0)
        return r;
    r = filch__fd_enter(s->to, &to);
    s->writing = r < 0;
    n = r;
    if (r == 0) {
        n = try_entered(s, from, to, most, until);
        filch__fd_leave(to);
    }
    filch__fd_leave(from);
    return n;
}

static int wait_for_room(struct filch__splice *s, filch_time until)
{
    struct filch__fd *to;
    int r = filch__fd_enter(s->to, &to);

    s->writing = true;
    if (r < 0)
        return r;
    r = filch__socket_wait(to->fd, POLLOUT, until);
    if (filch__fd_is_closing(to))
        r = -ECANCELED;
    filch__fd_leave(to);
    return r;
}

ssize_t filch__splice_some(struct filch__splice *s, uint64_t most, filch_time until)
{
    size_t piece = most < PIECE ? (size_t)most : PIECE;
    ssize_t n;

    while ((n = try_once(s, piece, until)) == -EAGAIN) {
        int r = wait_for_room(s, until);

        if (r < 0)
            return r;
    }
    if (n > 0)
        filch__coop();
    return n;
}
