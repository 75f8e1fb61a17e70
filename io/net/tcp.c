/* TCP connections: how they begin and end. For the bytes in between see transfer.c. */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/errqueue.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdalign.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "io/net/ends.h"
#include "io/net/socket.h"
#include "io/lane.h"

/* What a handle stands for; a cache line of its own. */
struct filch_tcp {
    alignas(FILCH_CACHELINE) struct filch__fd fd;
};

static struct filch__pool tcp_pool = {
    .object_bytes = sizeof(struct filch_tcp),
    .link_offset = offsetof(struct filch_tcp, fd.next),
    .forked = filch__fd_forked,
};

int filch__tcp_wrap(int fd, bool lingers, filch_tcp **ret_conn)
{
    struct filch__fd *object = filch__pool_take(&tcp_pool);

    if (!object)
        return -ENOMEM;
    *ret_conn = filch__fd_open(object, fd);
    if (lingers)
        filch__fd_note_lingers(object);
    return 0;
}

static int pending_error(int fd)
{
    int error = 0;
    socklen_t bytes = sizeof error;

    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes) < 0 ? -errno : -error;
}

static int connect_once(int fd, const struct filch__addr *addr, filch_time until)
{
    struct filch__lane *lane;
    struct filch__op op;
    struct io_uring_sqe *sqe = filch__op_begin(&op, &lane);

    io_uring_prep_connect(sqe, fd, &addr->any, addr->bytes);
    filch__lane_commit(lane, &op);
    return filch__op_wait(&op, until);
}

/* An attempt that was interrupted may be under way all the same: the next one is told so. */
static int connect_in_task(int fd, const struct filch__addr *addr, filch_time until)
{
    int r = connect_once(fd, addr, until);

    if (r != -EINTR)
        return r;
    while (r == -EINTR)
        r = connect_once(fd, addr, until);
    if (r == -EISCONN)
        return 0;
    if (r != -EALREADY)
        return r;
    do {
        r = filch__op_poll(fd, POLLOUT, until);
    } while (r == -EINTR);
    return r < 0 ? r : pending_error(fd);
}

static int connect_in_thread(int fd, const struct filch__addr *addr, filch_time until)
{
    int flags = fcntl(fd, F_GETFL);
    int r = 0;

    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    if (connect(fd, &addr->any, addr->bytes) < 0)
        r = -errno;
    if (r == -EINPROGRESS) {
        if (filch__socket_poll(fd, POLLOUT, until) < 0)
            return -ETIMEDOUT;
        r = pending_error(fd);
    }
    fcntl(fd, F_SETFL, flags);
    return r;
}

/* The oldest in the socket's queue of errors, which clears the pending one. Return: it; 0: the
 * queue is empty. */
static int queued_error(int fd)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(struct sock_extended_err) + sizeof(struct sockaddr_in6))];
    } control;
    struct msghdr message = {.msg_control = &control, .msg_controllen = sizeof control};
    struct sock_extended_err error = {0};

    if (recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
        return 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header;
         header = CMSG_NXTHDR(&message, header))
        if ((header->cmsg_level == SOL_IP && header->cmsg_type == IP_RECVERR) ||
            (header->cmsg_level == SOL_IPV6 && header->cmsg_type == IPV6_RECVERR))
            memcpy(&error, CMSG_DATA(header), sizeof error);
    return error.ee_errno ? -(int)error.ee_errno : -ECONNABORTED;
}

/* Did it become a connection? It is asked when the kernel has something to say of one that was said
 * to have succeeded. An ICMP message goes to the queue of errors first, and whoever is woken by
 * that may find no error yet, and take that for success: the ring does, and so do we by readiness.
 * Nor does one become an error at all that comes while the socket is in use.
 *
 * Return: 0 (it did, whatever has become of it since); -EINPROGRESS; why not. */
static int settled(int fd)
{
    struct tcp_info info = {0};
    socklen_t bytes = sizeof info;
    int r;

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) < 0)
        return -errno;
    if (info.tcpi_state == FILCH_TCP_STATE_SYN_SENT) {
        r = queued_error(fd);
        return r < 0 ? r : -EINPROGRESS;
    }
    if (info.tcpi_state != FILCH_TCP_STATE_CLOSE || info.tcpi_segs_in) {
        while (queued_error(fd) < 0)
            ; /* what is left in there makes the socket "ready" for ever */
        return 0;
    }
    r = pending_error(fd);
    if (r == 0)
        r = queued_error(fd);
    return r < 0 ? r : -ECONNABORTED;
}

/* After a connect that has succeeded, so it is said. */
static int settle(int fd, filch_time until)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
    int r;

    if (poll(&poll_fd, 1, 0) == 1 && poll_fd.revents == POLLOUT)
        return 0;
    while ((r = settled(fd)) == -EINPROGRESS) {
        r = filch__socket_wait(fd, POLLOUT, until);
        if (r < 0)
            return r;
    }
    return r;
}

static int bind_local(int fd, const char *text, sa_family_t family)
{
    struct filch__addr addr;

    if (filch__addr_parse(text, &addr) < 0 || addr.any.sa_family != family)
        return -EINVAL;
    return bind(fd, &addr.any, addr.bytes) < 0 ? -errno : 0;
}

int filch_tcp_connect_opts(const char *text, const filch_tcp_opts *opts, filch_tcp **ret_conn,
                           filch_time until)
{
    static const filch_tcp_opts none;
    struct filch__addr addr;
    int fd, r = 0;

    if (!opts)
        opts = &none;
    if (!ret_conn || filch__addr_parse(text, &addr) < 0)
        return -EINVAL;
    fd = filch__socket_new(&addr, false, opts->device, opts->settings, opts->setting_count);
    if (fd < 0)
        return fd;
    if (opts->local_addr)
        r = bind_local(fd, opts->local_addr, addr.any.sa_family);
    if (r == 0)
        r = filch__in_stackful_task() ? connect_in_task(fd, &addr, until)
                                      : connect_in_thread(fd, &addr, until);
    if (r == 0)
        r = settle(fd, until);
    if (r == 0)
        r = filch__tcp_wrap(fd, opts->setting_count && filch__option_lingers(fd), ret_conn);
    if (r < 0)
        close(fd);
    return r;
}

int filch_tcp_connect(const char *addr, filch_tcp **ret_conn, filch_time until)
{
    return filch_tcp_connect_opts(addr, NULL, ret_conn, until);
}

int filch_tcp_adopt(int fd, filch_tcp **ret_conn)
{
    int r;

    if (!ret_conn)
        return -EINVAL;
    r = filch__socket_adopt(fd, IPPROTO_TCP, false);
    return r < 0 ? r : filch__tcp_wrap(fd, filch__option_lingers(fd), ret_conn);
}

int filch_tcp_fd(filch_tcp *conn)
{
    return filch__fd_number(conn);
}

int filch_tcp_release(filch_tcp *conn, int *ret_fd)
{
    struct timeval unlimited = {0};
    int fd, r;

    if (!conn || !ret_fd)
        return -EINVAL;
    r = filch__fd_release(conn, &tcp_pool, &fd);
    if (r < 0)
        return r;
    /* An accept by a plain thread may have left its own limit there. */
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &unlimited, sizeof unlimited);
    *ret_fd = fd;
    return 0;
}

int filch_tcp_shutdown_write(filch_tcp *conn)
{
    return filch__socket_shutdown_write(conn);
}

static int local_name(int fd, struct sockaddr *addr, socklen_t *bytes)
{
    return getsockname(fd, addr, bytes);
}

static int peer_name(int fd, struct sockaddr *addr, socklen_t *bytes)
{
    return getpeername(fd, addr, bytes);
}

int filch_tcp_local_addr(filch_tcp *conn, char *ret_text)
{
    return filch__socket_name(conn, local_name, ret_text);
}

int filch_tcp_peer_addr(filch_tcp *conn, char *ret_text)
{
    return filch__socket_name(conn, peer_name, ret_text);
}

int filch_tcp_close(filch_tcp *conn)
{
    struct filch__fd *object;
    int r;

    if (!conn)
        return 0;
    r = filch__fd_close_begin(conn, &object);
    if (r == 0)
        filch__fd_close_end(object, &tcp_pool);
    return r;
}
