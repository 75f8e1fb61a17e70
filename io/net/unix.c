/* Unix stream connections: how they begin and end, and what they have that TCP has not. Their bytes
 * are moved by transfer.c. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdalign.h>
#include <unistd.h>

#include <filch/time.h>

#include "io/net/ends.h"
#include "io/net/socket.h"
#include "io/net/transfer.h"
#include "io/net/unix.h"

/* How long who connects to a full queue waits until it looks again. */
#define RETRY_MIN FILCH_MILLISECOND
#define RETRY_MAX (50 * FILCH_MILLISECOND)

/* What a handle stands for; a cache line of its own. */
struct filch_unix {
    alignas(FILCH_CACHELINE) struct filch__fd fd;
};

static struct filch__pool unix_pool = {
    .object_bytes = sizeof(struct filch_unix),
    .link_offset = offsetof(struct filch_unix, fd.next),
    .forked = filch__fd_forked,
};

int filch__unix_wrap(int fd, filch_unix **ret_conn)
{
    struct filch__fd *object = filch__pool_take(&unix_pool);

    if (!object)
        return -ENOMEM;
    *ret_conn = filch__fd_open(object, fd);
    return 0;
}

/* ---- begin and end ---- */

/* Connecting never waits for the peer, but for room in its queue, of which the kernel tells nobody.
 */
static int connect_patiently(int fd, const struct filch__unix_addr *addr, filch_time until)
{
    filch_time pause = RETRY_MIN;
    int r;

    while ((r = connect(fd, &addr->any, addr->bytes) < 0 ? -errno : 0) == -EAGAIN || r == -EINTR) {
        filch_time next = filch_after(pause);

        if (until == FILCH_NOW || filch_now() >= until)
            return -ETIMEDOUT;
        r = filch_sleep(next < until ? next : until);
        if (r < 0)
            return r;
        if (pause < RETRY_MAX)
            pause *= 2;
    }
    return r;
}

int filch_unix_connect(const char *text, filch_unix **ret_conn, filch_time until)
{
    struct filch__unix_addr addr;
    int fd, r;

    if (!ret_conn || filch__unix_addr_parse(text, &addr) < 0)
        return -EINVAL;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    r = connect_patiently(fd, &addr, until);
    if (r == 0)
        r = filch__socket_make_ours(fd);
    if (r == 0)
        r = filch__unix_wrap(fd, ret_conn);
    if (r < 0)
        close(fd);
    return r;
}

int filch_unix_pair(filch_unix **ret_a, filch_unix **ret_b)
{
    filch_unix *a, *b;
    int fds[2], r;

    if (!ret_a || !ret_b)
        return -EINVAL;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    r = filch__unix_wrap(fds[0], &a);
    if (r < 0) {
        close(fds[0]);
        close(fds[1]);
        return r;
    }
    r = filch__unix_wrap(fds[1], &b);
    if (r < 0) {
        filch_unix_close(a);
        close(fds[1]);
        return r;
    }
    *ret_a = a;
    *ret_b = b;
    return 0;
}

int filch_unix_adopt(int fd, filch_unix **ret_conn)
{
    int r;

    if (!ret_conn)
        return -EINVAL;
    r = filch__unix_is(fd, SOCK_STREAM);
    if (r == 0)
        r = filch__socket_adopt(fd, 0, false);
    return r < 0 ? r : filch__unix_wrap(fd, ret_conn);
}

int filch_unix_fd(filch_unix *conn)
{
    return filch__fd_number(conn);
}

int filch_unix_release(filch_unix *conn, int *ret_fd)
{
    if (!conn || !ret_fd)
        return -EINVAL;
    return filch__fd_release(conn, &unix_pool, ret_fd);
}

int filch_unix_shutdown_write(filch_unix *conn)
{
    return filch__socket_shutdown_write(conn);
}

int filch_unix_close(filch_unix *conn)
{
    struct filch__fd *object;
    int r;

    if (!conn)
        return 0;
    r = filch__fd_close_begin(conn, &object);
    if (r == 0)
        filch__fd_close_end(object, &unix_pool);
    return r;
}

/* ---- who is there ---- */

int filch_unix_peer_cred(filch_unix *conn, filch_unix_cred *ret_cred)
{
    struct ucred cred;
    socklen_t bytes = sizeof cred;
    struct filch__fd *object;
    int r;

    if (!ret_cred)
        return -EINVAL;
    r = filch__fd_enter(conn, &object);
    if (r < 0)
        return r;
    r = getsockopt(object->fd, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) < 0 ? -errno : 0;
    filch__fd_leave(object);
    if (r == 0)
        *ret_cred = (filch_unix_cred){.pid = cred.pid, .uid = cred.uid, .gid = cred.gid};
    return r;
}

int filch_unix_peer_addr(filch_unix *conn, char *ret_text)
{
    return filch__unix_name(conn, filch__unix_peer, ret_text);
}

/* ---- bytes with descriptors ---- */

ssize_t filch_unix_send_fds(filch_unix *conn, const void *buf, size_t bytes, const int *fds,
                            size_t count, filch_time until)
{
    union filch__unix_control control;
    struct iovec iov = {(void *)buf, bytes};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

    if (!buf || !bytes || filch__unix_put_fds(&message, &control, fds, count) < 0)
        return -EINVAL;
    return filch__transfer_message(conn, true, &message, 0, false, until);
}

ssize_t filch_unix_recv_fds(filch_unix *conn, void *buf, size_t bytes, filch_unix_fds *fds,
                            filch_time until)
{
    union filch__unix_control control;
    struct iovec iov = {buf, bytes};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    if (!buf || !bytes || !fds || (!fds->fds && fds->room))
        return -EINVAL;
    filch__unix_want_fds(&message, &control);
    n = filch__transfer_message(conn, false, &message, MSG_CMSG_CLOEXEC, false, until);
    if (n >= 0)
        filch__unix_take_fds(&message, fds);
    return n;
}

filch_case filch_case_unix_readable(filch_unix *conn)
{
    return filch__case_socket(conn, POLLIN);
}

filch_case filch_case_unix_writable(filch_unix *conn)
{
    return filch__case_socket(conn, POLLOUT);
}
