/* Addresses of Unix sockets, and the paths that they leave.
 *
 * A path outlives its socket, so it is removed at close: while the socket still has it, and only if
 * it is the file that bind made, for another process may have put its own there.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/net/socket.h"
#include "io/net/unix.h"

int filch__unix_addr_parse(const char *text, struct filch__unix_addr *ret_addr)
{
    size_t length = text ? strlen(text) : 0;

    if (!length || length >= sizeof ret_addr->un.sun_path)
        return -EINVAL;
    memset(ret_addr, 0, sizeof *ret_addr);
    ret_addr->un.sun_family = AF_UNIX;
    memcpy(ret_addr->un.sun_path, text, length);
    if (text[0] == '@')
        ret_addr->un.sun_path[0] = '\0';
    /* Of an abstract name each byte counts, of a path the NUL ends it. */
    ret_addr->bytes =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (text[0] == '@' ? 0 : 1));
    return 0;
}

void filch__unix_addr_format(const struct filch__unix_addr *addr, char *ret_text)
{
    size_t length = addr->bytes > offsetof(struct sockaddr_un, sun_path)
                        ? addr->bytes - offsetof(struct sockaddr_un, sun_path)
                        : 0;

    if (length > sizeof addr->un.sun_path)
        length = sizeof addr->un.sun_path;
    memcpy(ret_text, addr->un.sun_path, length);
    ret_text[length] = '\0';
    if (length && !ret_text[0])
        ret_text[0] = '@';
}

int filch__unix_local(int fd, struct sockaddr *addr, socklen_t *bytes)
{
    return getsockname(fd, addr, bytes);
}

int filch__unix_peer(int fd, struct sockaddr *addr, socklen_t *bytes)
{
    return getpeername(fd, addr, bytes);
}

int filch__unix_name(const void *handle, int (*get)(int, struct sockaddr *, socklen_t *),
                     char *ret_text)
{
    struct filch__unix_addr addr = {.bytes = sizeof addr.un};
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
        filch__unix_addr_format(&addr, ret_text);
    return r;
}

/* A number for the file at a path; 0: there is none. */
static uint64_t name_of(const char *path)
{
    struct stat stat;

    if (lstat(path, &stat) < 0 || !S_ISSOCK(stat.st_mode))
        return 0;
    return (uint64_t)stat.st_dev << 48 ^ (uint64_t)stat.st_ino;
}

/* Is there a socket that nobody has open? Then it is removed. */
static bool remove_stale(const struct filch__unix_addr *addr, int type)
{
    int fd;
    bool stale;

    if (!addr->un.sun_path[0] || !name_of(addr->un.sun_path))
        return false;
    fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    stale = connect(fd, &addr->any, addr->bytes) < 0 && errno == ECONNREFUSED;
    close(fd);
    return stale && unlink(addr->un.sun_path) == 0;
}

int filch__unix_bind(int fd, const char *text, const filch_unix_opts *opts, uint64_t *ret_name)
{
    struct filch__unix_addr addr;
    int type = SOCK_STREAM;
    socklen_t bytes = sizeof type;
    int r = filch__unix_addr_parse(text, &addr);

    *ret_name = 0;
    if (r < 0)
        return r;
    /* The file gets the mode of the socket, less the umask: nobody comes in meanwhile. */
    if (opts->mode && addr.un.sun_path[0])
        fchmod(fd, opts->mode & 0777);
    r = bind(fd, &addr.any, addr.bytes) < 0 ? -errno : 0;
    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &bytes);
    if (r == -EADDRINUSE && opts->replace && remove_stale(&addr, type))
        r = bind(fd, &addr.any, addr.bytes) < 0 ? -errno : 0;
    if (r < 0 || !addr.un.sun_path[0])
        return r;
    if (opts->mode && chmod(addr.un.sun_path, opts->mode & 0777) < 0)
        r = -errno;
    *ret_name = name_of(addr.un.sun_path);
    if (r < 0)
        unlink(addr.un.sun_path);
    else if (opts->keep)
        *ret_name = 0;
    return r;
}

void filch__unix_unbind(int fd, uint64_t name)
{
    struct filch__unix_addr addr = {.bytes = sizeof addr.un};

    if (name && getsockname(fd, &addr.any, &addr.bytes) == 0 && addr.un.sun_path[0] &&
        name_of(addr.un.sun_path) == name)
        unlink(addr.un.sun_path);
}

int filch__unix_is(int fd, int type)
{
    int domain;
    socklen_t bytes = sizeof domain;

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) < 0)
        return -errno;
    return domain == AF_UNIX ? filch__socket_is(fd, type, 0) : -EPROTOTYPE;
}
