/* TCP listeners. See listener.c for how they accept. */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/net/addr.h"
#include "io/net/listener.h"
#include "io/net/socket.h"
#include "runtime/task/task.h"

static int open_socket(const struct filch__addr *addr, const filch_listener_opts *opts)
{
    int fd = filch__socket_new(addr, true, opts->device, opts->settings, opts->setting_count);
    int r = 0;

    if (fd < 0)
        return fd;
    if (opts->delay)
        r = filch__option_set(fd, FILCH_TCP_NODELAY, false);
    if (r == 0 && opts->reuse_port)
        r = filch__option_set(fd, FILCH_TCP_REUSE_PORT, true);
    if (r == 0 && (bind(fd, &addr->any, addr->bytes) < 0 ||
                   listen(fd, opts->backlog > 0 ? opts->backlog : FILCH__BACKLOG_DEFAULT) < 0))
        r = -errno;
    if (r == 0)
        return fd;
    close(fd);
    return r;
}

static int wrap(int fd, filch_listener **ret_listener)
{
    void *handle;
    int r = filch__listener_wrap(fd, filch__option_lingers(fd), 0, &handle);

    if (r == 0)
        *ret_listener = handle;
    return r;
}

int filch_listener_open(const char *text, const filch_listener_opts *opts,
                        filch_listener **ret_listener)
{
    static const filch_listener_opts none;
    struct filch__addr addr;
    int fd, r;

    if (!ret_listener || filch__addr_parse(text, &addr) < 0)
        return -EINVAL;
    fd = open_socket(&addr, opts ? opts : &none);
    if (fd < 0)
        return fd;
    r = wrap(fd, ret_listener);
    if (r < 0)
        close(fd);
    return r;
}

int filch_listener_adopt(int fd, filch_listener **ret_listener)
{
    int r;

    if (!ret_listener)
        return -EINVAL;
    r = filch__socket_adopt(fd, IPPROTO_TCP, true);
    return r < 0 ? r : wrap(fd, ret_listener);
}

int filch_listener_accept(filch_listener *listener, filch_tcp **ret_conn, filch_time until)
{
    bool lingers;
    int fd, r;

    if (!ret_conn)
        return -EINVAL;
    fd = filch__listener_accept(listener, &lingers, until);
    if (fd < 0)
        return fd;
    r = filch__tcp_wrap(fd, lingers, ret_conn);
    if (r < 0)
        filch__listener_give_back(listener, fd);
    else
        filch__coop();
    return r;
}

static int local_name(int fd, struct sockaddr *addr, socklen_t *bytes)
{
    return getsockname(fd, addr, bytes);
}

int filch_listener_fd(filch_listener *listener)
{
    return filch__fd_number(listener);
}

int filch_listener_addr(filch_listener *listener, char *ret_text)
{
    return filch__socket_name(listener, local_name, ret_text);
}

int filch_listener_close(filch_listener *listener)
{
    return filch__listener_close(listener, NULL);
}
