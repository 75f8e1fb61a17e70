/* Listeners of Unix sockets. See listener.c for how they accept. */
#include <errno.h>
#include <unistd.h>

#include "io/net/listener.h"
#include "io/net/socket.h"
#include "io/net/unix.h"
#include "runtime/task/task.h"

static int wrap(int fd, uint64_t name, filch_unix_listener **ret_listener)
{
    void *handle;
    int r = filch__listener_wrap(fd, false, name, &handle);

    if (r == 0)
        *ret_listener = handle;
    return r;
}

int filch_unix_listener_open(const char *addr, const filch_unix_opts *opts,
                             filch_unix_listener **ret_listener)
{
    static const filch_unix_opts none;
    uint64_t name = 0;
    int fd, r;

    if (!ret_listener || !addr)
        return -EINVAL;
    if (!opts)
        opts = &none;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    r = filch__unix_bind(fd, addr, opts, &name);
    if (r == 0 && listen(fd, opts->backlog > 0 ? opts->backlog : FILCH__BACKLOG_DEFAULT) < 0)
        r = -errno;
    if (r == 0)
        r = wrap(fd, name, ret_listener);
    if (r < 0) {
        filch__unix_unbind(fd, name);
        close(fd);
    }
    return r;
}

int filch_unix_listener_adopt(int fd, filch_unix_listener **ret_listener)
{
    int r;

    if (!ret_listener)
        return -EINVAL;
    r = filch__unix_is(fd, SOCK_STREAM);
    if (r == 0)
        r = filch__socket_adopt(fd, 0, true);
    return r < 0 ? r : wrap(fd, 0, ret_listener);
}

int filch_unix_listener_accept(filch_unix_listener *listener, filch_unix **ret_conn,
                               filch_time until)
{
    bool lingers;
    int fd, r;

    if (!ret_conn)
        return -EINVAL;
    fd = filch__listener_accept(listener, &lingers, until);
    if (fd < 0)
        return fd;
    r = filch__unix_wrap(fd, ret_conn);
    if (r < 0)
        filch__listener_give_back(listener, fd);
    else
        filch__coop();
    return r;
}

int filch_unix_listener_fd(filch_unix_listener *listener)
{
    return filch__fd_number(listener);
}

int filch_unix_listener_addr(filch_unix_listener *listener, char *ret_text)
{
    return filch__unix_name(listener, filch__unix_local, ret_text);
}

int filch_unix_listener_close(filch_unix_listener *listener)
{
    return filch__listener_close(listener, filch__unix_unbind);
}

filch_case filch_case_unix_acceptable(filch_unix_listener *listener)
{
    return filch__case_listener(listener);
}
