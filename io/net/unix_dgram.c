/* Unix datagrams. Their messages are moved by transfer.c.
 *
 * A sender to a full receiver waits. With a peer the kernel wakes it; to somebody else's address
 * poll(2) knows nothing of that queue and calls the socket writable all the time, so the sender
 * tries again after a pause.
 */
#include <errno.h>
#include <poll.h>
#include <stdalign.h>
#include <unistd.h>

#include <filch/time.h>

#include "io/net/socket.h"
#include "io/net/transfer.h"
#include "io/net/unix.h"

#define RETRY_MIN FILCH_MILLISECOND
#define RETRY_MAX (50 * FILCH_MILLISECOND)

/* What a handle stands for. */
struct filch_unix_dgram {
    alignas(FILCH_CACHELINE) struct filch__datagram_socket socket;
    uint64_t name; /* for filch__unix_unbind() */
};

static struct filch__pool dgram_pool = {
    .object_bytes = sizeof(struct filch_unix_dgram),
    .link_offset = offsetof(struct filch_unix_dgram, socket.fd.next),
    .forked = filch__fd_forked,
};

static int wrap(int fd, uint64_t name, filch_unix_dgram **ret_sock)
{
    struct filch_unix_dgram *self = filch__pool_take(&dgram_pool);

    if (!self)
        return -ENOMEM;
    self->name = name;
    filch__op_list_init(&self->socket.ops);
    *ret_sock = filch__fd_open(&self->socket.fd, fd);
    return 0;
}

int filch_unix_dgram_open(const char *addr, const filch_unix_opts *opts,
                          filch_unix_dgram **ret_sock)
{
    static const filch_unix_opts none;
    uint64_t name = 0;
    int fd, r = 0;

    if (!ret_sock)
        return -EINVAL;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (addr)
        r = filch__unix_bind(fd, addr, opts ? opts : &none, &name);
    if (r == 0)
        r = wrap(fd, name, ret_sock);
    if (r < 0) {
        filch__unix_unbind(fd, name);
        close(fd);
    }
    return r;
}

int filch_unix_dgram_pair(filch_unix_dgram **ret_a, filch_unix_dgram **ret_b)
{
    filch_unix_dgram *a, *b;
    int fds[2], r;

    if (!ret_a || !ret_b)
        return -EINVAL;
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    r = wrap(fds[0], 0, &a);
    if (r < 0) {
        close(fds[0]);
        close(fds[1]);
        return r;
    }
    r = wrap(fds[1], 0, &b);
    if (r < 0) {
        filch_unix_dgram_close(a);
        close(fds[1]);
        return r;
    }
    *ret_a = a;
    *ret_b = b;
    return 0;
}

int filch_unix_dgram_adopt(int fd, filch_unix_dgram **ret_sock)
{
    int r;

    if (!ret_sock)
        return -EINVAL;
    r = filch__unix_is(fd, SOCK_DGRAM);
    if (r == 0)
        r = filch__socket_make_ours(fd);
    return r < 0 ? r : wrap(fd, 0, ret_sock);
}

int filch_unix_dgram_fd(filch_unix_dgram *sock)
{
    return filch__fd_number(sock);
}

int filch_unix_dgram_release(filch_unix_dgram *sock, int *ret_fd)
{
    if (!sock || !ret_fd)
        return -EINVAL;
    return filch__fd_release(sock, &dgram_pool, ret_fd);
}

int filch_unix_dgram_connect(filch_unix_dgram *sock, const char *text)
{
    struct filch__unix_addr addr;
    struct filch__fd *object;
    int r;

    if (filch__unix_addr_parse(text, &addr) < 0)
        return -EINVAL;
    r = filch__fd_enter(sock, &object);
    if (r < 0)
        return r;
    r = connect(object->fd, &addr.any, addr.bytes) < 0 ? -errno : 0;
    filch__fd_leave(object);
    return r;
}

int filch_unix_dgram_addr(filch_unix_dgram *sock, char *ret_text)
{
    return filch__unix_name(sock, filch__unix_local, ret_text);
}

int filch_unix_dgram_close(filch_unix_dgram *sock)
{
    struct filch__fd *object;
    struct filch_unix_dgram *self;
    int r;

    if (!sock)
        return 0;
    r = filch__fd_close_begin(sock, &object);
    if (r < 0)
        return r;
    self = filch_container_of(object, struct filch_unix_dgram, socket.fd);
    filch__op_list_end(&self->socket.ops);
    filch__fd_wait_users(object);
    filch__unix_unbind(object->fd, self->name);
    filch__fd_close_end(object, &dgram_pool);
    return 0;
}

/* ---- datagrams ---- */

static ssize_t send_patiently(filch_unix_dgram *sock, struct msghdr *message, filch_time until)
{
    filch_time pause = RETRY_MIN;
    ssize_t n;
    int r;

    while ((n = filch__transfer_message(sock, true, message, 0, true, FILCH_NOW)) == -ETIMEDOUT &&
           until != FILCH_NOW) {
        filch_time next = filch_after(pause);

        if (filch_now() >= until)
            return -ETIMEDOUT;
        r = filch_sleep(next < until ? next : until);
        if (r < 0)
            return r;
        if (pause < RETRY_MAX)
            pause *= 2;
    }
    return n;
}

ssize_t filch_unix_dgram_send(filch_unix_dgram *sock, const void *buf, size_t bytes, const char *to,
                              const int *fds, size_t count, filch_time until)
{
    union filch__unix_control control;
    struct iovec iov = {(void *)buf, bytes};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    struct filch__unix_addr addr;

    if ((!buf && bytes) || filch__unix_put_fds(&message, &control, fds, count) < 0)
        return -EINVAL;
    if (!to)
        return filch__transfer_message(sock, true, &message, 0, true, until);
    if (filch__unix_addr_parse(to, &addr) < 0)
        return -EINVAL;
    message.msg_name = &addr.any;
    message.msg_namelen = addr.bytes;
    return send_patiently(sock, &message, until);
}

/* @ret_cred: may be NULL. */
static ssize_t receive(filch_unix_dgram *sock, void *buf, size_t bytes, filch_unix_fds *fds,
                       filch_unix_cred *ret_cred, char *ret_from, size_t *ret_size,
                       filch_time until)
{
    union filch__unix_control control;
    struct iovec iov = {buf, bytes};
    struct filch__unix_addr from = {.bytes = 0};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    if ((!buf && bytes) || (fds && !fds->fds && fds->room))
        return -EINVAL;
    if (fds || ret_cred)
        filch__unix_want_fds(&message, &control);
    if (ret_from) {
        message.msg_name = &from.any;
        message.msg_namelen = sizeof from.un;
    }
    n = filch__transfer_message(sock, false, &message, MSG_CMSG_CLOEXEC | MSG_TRUNC, true, until);
    if (n < 0)
        return n;
    if (fds || ret_cred)
        filch__unix_take_fds(&message, fds);
    if (ret_cred)
        *ret_cred = filch__unix_cred_of(&message);
    if (ret_from) {
        from.bytes = message.msg_namelen;
        filch__unix_addr_format(&from, ret_from);
    }
    if (ret_size)
        *ret_size = (size_t)n;
    return (size_t)n < bytes ? n : (ssize_t)bytes;
}

ssize_t filch_unix_dgram_recv(filch_unix_dgram *sock, void *buf, size_t bytes, filch_unix_fds *fds,
                              char *ret_from, size_t *ret_size, filch_time until)
{
    return receive(sock, buf, bytes, fds, NULL, ret_from, ret_size, until);
}

ssize_t filch_unix_dgram_recv_cred(filch_unix_dgram *sock, void *buf, size_t bytes,
                                   filch_unix_fds *fds, filch_unix_cred *ret_cred, char *ret_from,
                                   size_t *ret_size, filch_time until)
{
    return ret_cred ? receive(sock, buf, bytes, fds, ret_cred, ret_from, ret_size, until) : -EINVAL;
}

filch_case filch_case_unix_dgram_readable(filch_unix_dgram *sock)
{
    return filch__case_socket(sock, POLLIN);
}
