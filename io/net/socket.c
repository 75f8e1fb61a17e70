/* See socket.h. */
#include "io/net/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <filch/time.h>

#include "runtime/task/task.h"

int filch__socket_new(const struct filch__addr *addr, bool listens, const char *device,
                      const filch_tcp_setting *settings, size_t count)
{
    int fd = socket(addr->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1, off = 0;
    int r = 0;

    if (fd < 0)
        return -errno;
    /* What is accepted inherits it. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (listens) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (addr->any.sa_family == AF_INET6)
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    }
    if (device)
        r = filch__socket_bind_device(fd, device);
    if (!settings && count)
        r = -EINVAL;
    for (size_t i = 0; i < count && r == 0; i++)
        r = filch__option_set(fd, settings[i].option, settings[i].value);
    if (r == 0)
        return fd;
    close(fd);
    return r;
}

static int int_of(int fd, int name)
{
    int value;
    socklen_t bytes = sizeof value;

    return getsockopt(fd, SOL_SOCKET, name, &value, &bytes) < 0 ? -errno : value;
}

int filch__socket_is(int fd, int type, int protocol)
{
    int of_fd = int_of(fd, SO_PROTOCOL);
    int type_of_fd = of_fd < 0 ? of_fd : int_of(fd, SO_TYPE);

    if (type_of_fd < 0)
        return type_of_fd;
    return type_of_fd == type && of_fd == protocol ? 0 : -EPROTOTYPE;
}

int filch__socket_make_ours(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return -errno;
    return 0;
}

int filch__socket_adopt(int fd, int protocol, bool listens)
{
    int r = filch__socket_is(fd, SOCK_STREAM, protocol);
    struct sockaddr_storage peer;
    socklen_t bytes = sizeof peer;

    if (r < 0)
        return r;
    if ((int_of(fd, SO_ACCEPTCONN) == 1) != listens)
        return -EINVAL;
    if (!listens && getpeername(fd, (struct sockaddr *)&peer, &bytes) < 0)
        return -errno;
    return filch__socket_make_ours(fd);
}

int filch__socket_poll(int fd, short events, filch_time until)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};
    int r;

    do {
        filch_time now = filch_now();
        filch_time span = until > now ? until - now : 0;
        struct timespec ts = {
            .tv_sec = (time_t)(span / FILCH_SECOND),
            .tv_nsec = (long)(span % FILCH_SECOND),
        };

        r = ppoll(&poll_fd, 1, until == FILCH_NEVER ? NULL : &ts, NULL);
    } while (r < 0 && errno == EINTR);
    return r == 0 ? -ETIMEDOUT : 0;
}

int filch__socket_wait(int fd, short events, filch_time until)
{
    int r;

    if (!filch__in_stackful_task())
        return filch__socket_poll(fd, events, until);
    r = filch__only_now(until);
    if (r < 0)
        return r;
    do {
        r = filch__op_poll(fd, events, until);
    } while (r == -EINTR);
    return r;
}

int filch__socket_name(const void *handle, int (*get)(int, struct sockaddr *, socklen_t *),
                       char *ret_text)
{
    struct filch__addr addr = {.bytes = sizeof addr.v6};
    struct filch__fd *object;
    int r;

    if (!ret_text)
        return -EINVAL;
    r = filch__fd_enter(handle, &object);
    if (r < 0)
        return r;
    r = get(object->fd, &addr.any, &addr.bytes) < 0 ? -errno : 0;
    filch__fd_leave(object);
    if (r == 0)
        filch__addr_format(&addr, ret_text);
    return r;
}

bool filch__in_stackful_task(void)
{
    struct filch__task *task = filch__task_current();

    return task && filch__task_has_stack(task);
}
