/* Options of sockets: one table, from our names and units to the kernel's. */
#include <errno.h>
#include <limits.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>

#include "io/net/socket.h"

#ifndef SO_INCOMING_CPU
#define SO_INCOMING_CPU 49
#endif

enum form {
    FORM_NONE = 0,
    FORM_BOOL,
    FORM_INT,
    FORM_SECONDS, /* ours are nanoseconds; rounded up, so that 0 stays what it means */
    FORM_MILLISECONDS,
    FORM_LINGER,
    FORM_ERROR,
};

struct row {
    int level;
    int name;
    enum form form;
};

static const struct row rows[] = {
    [FILCH_TCP_NODELAY] = {IPPROTO_TCP, TCP_NODELAY, FORM_BOOL},
    [FILCH_TCP_CORK] = {IPPROTO_TCP, TCP_CORK, FORM_BOOL},
    [FILCH_TCP_QUICKACK] = {IPPROTO_TCP, TCP_QUICKACK, FORM_BOOL},
    [FILCH_TCP_KEEPALIVE] = {SOL_SOCKET, SO_KEEPALIVE, FORM_BOOL},
    [FILCH_TCP_KEEPALIVE_IDLE] = {IPPROTO_TCP, TCP_KEEPIDLE, FORM_SECONDS},
    [FILCH_TCP_KEEPALIVE_INTERVAL] = {IPPROTO_TCP, TCP_KEEPINTVL, FORM_SECONDS},
    [FILCH_TCP_KEEPALIVE_COUNT] = {IPPROTO_TCP, TCP_KEEPCNT, FORM_INT},
    [FILCH_TCP_USER_TIMEOUT] = {IPPROTO_TCP, TCP_USER_TIMEOUT, FORM_MILLISECONDS},
    [FILCH_TCP_LINGER] = {SOL_SOCKET, SO_LINGER, FORM_LINGER},
    [FILCH_TCP_SEND_BUFFER] = {SOL_SOCKET, SO_SNDBUF, FORM_INT},
    [FILCH_TCP_RECV_BUFFER] = {SOL_SOCKET, SO_RCVBUF, FORM_INT},
    [FILCH_TCP_UNSENT_LOW] = {IPPROTO_TCP, TCP_NOTSENT_LOWAT, FORM_INT},
    [FILCH_TCP_MAX_SEGMENT] = {IPPROTO_TCP, TCP_MAXSEG, FORM_INT},
    [FILCH_TCP_SYN_COUNT] = {IPPROTO_TCP, TCP_SYNCNT, FORM_INT},
    [FILCH_TCP_REUSE_ADDR] = {SOL_SOCKET, SO_REUSEADDR, FORM_BOOL},
    [FILCH_TCP_REUSE_PORT] = {SOL_SOCKET, SO_REUSEPORT, FORM_BOOL},
    [FILCH_TCP_V6ONLY] = {IPPROTO_IPV6, IPV6_V6ONLY, FORM_BOOL},
    [FILCH_TCP_DEFER_ACCEPT] = {IPPROTO_TCP, TCP_DEFER_ACCEPT, FORM_SECONDS},
    [FILCH_TCP_FAST_OPEN] = {IPPROTO_TCP, TCP_FASTOPEN, FORM_INT},
    [FILCH_TCP_FAST_OPEN_CONNECT] = {IPPROTO_TCP, TCP_FASTOPEN_CONNECT, FORM_BOOL},
    [FILCH_TCP_TOS] = {IPPROTO_IP, IP_TOS, FORM_INT},
    [FILCH_TCP_PRIORITY] = {SOL_SOCKET, SO_PRIORITY, FORM_INT},
    [FILCH_TCP_MARK] = {SOL_SOCKET, SO_MARK, FORM_INT},
    [FILCH_TCP_INCOMING_CPU] = {SOL_SOCKET, SO_INCOMING_CPU, FORM_INT},
    [FILCH_TCP_ERROR] = {SOL_SOCKET, SO_ERROR, FORM_ERROR},
};

static const struct row *row_of(enum filch_tcp_option option)
{
    size_t i = (size_t)option;

    return i < sizeof rows / sizeof rows[0] && rows[i].form != FORM_NONE ? &rows[i] : NULL;
}

static int set(int fd, int level, int name, const void *value, socklen_t bytes)
{
    return setsockopt(fd, level, name, value, bytes) < 0 ? -errno : 0;
}

static int64_t rounded_up(int64_t value, int64_t unit)
{
    return value / unit + (value % unit > 0);
}

/* -1: close at once, what is unsent goes on being sent; 0: reset; else how long close may wait. */
static int set_linger(int fd, int64_t value)
{
    struct linger linger = {.l_onoff = value >= 0};
    int64_t seconds = value >= 0 ? rounded_up(value, (int64_t)FILCH_SECOND) : 0;

    if (value < -1 || seconds > SHRT_MAX)
        return -EINVAL;
    linger.l_linger = (int)seconds;
    return set(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

/* The kernel has two names for it, and a socket of both families has both. */
static int set_tos(int fd, int value)
{
    int r6 = set(fd, IPPROTO_IPV6, IPV6_TCLASS, &value, sizeof value);
    int r4 = set(fd, IPPROTO_IP, IP_TOS, &value, sizeof value);

    return r6 == 0 ? 0 : r4;
}

int filch__option_set(int fd, enum filch_tcp_option option, int64_t value)
{
    const struct row *row = row_of(option);
    int number;

    if (!row || row->form == FORM_ERROR)
        return -EINVAL;
    if (row->form == FORM_LINGER)
        return set_linger(fd, value);
    if (row->form == FORM_SECONDS)
        value = rounded_up(value, (int64_t)FILCH_SECOND);
    else if (row->form == FORM_MILLISECONDS)
        value = rounded_up(value, (int64_t)FILCH_MILLISECOND);
    if (value < 0 || value > (row->form == FORM_BOOL ? 1 : INT_MAX))
        return -EINVAL;
    number = (int)value;
    if (option == FILCH_TCP_TOS)
        return value > 255 ? -EINVAL : set_tos(fd, number);
    return set(fd, row->level, row->name, &number, sizeof number);
}

static int get_linger(int fd, int64_t *ret_value)
{
    struct linger linger;
    socklen_t bytes = sizeof linger;

    if (getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &bytes) < 0)
        return -errno;
    *ret_value = linger.l_onoff ? (int64_t)linger.l_linger * (int64_t)FILCH_SECOND : -1;
    return 0;
}

static int get(int fd, enum filch_tcp_option option, int64_t *ret_value)
{
    const struct row *row = row_of(option);
    int number = 0;
    socklen_t bytes = sizeof number;

    if (!row)
        return -EINVAL;
    if (row->form == FORM_LINGER)
        return get_linger(fd, ret_value);
    if ((option != FILCH_TCP_TOS ||
         getsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &number, &bytes) < 0) &&
        getsockopt(fd, row->level, row->name, &number, &bytes) < 0)
        return -errno;
    *ret_value = number;
    if (row->form == FORM_SECONDS)
        *ret_value *= (int64_t)FILCH_SECOND;
    else if (row->form == FORM_MILLISECONDS)
        *ret_value *= (int64_t)FILCH_MILLISECOND;
    else if (row->form == FORM_BOOL)
        *ret_value = number != 0;
    else if (row->form == FORM_ERROR)
        *ret_value = -number;
    return 0;
}

bool filch__option_lingers(int fd)
{
    int64_t value = -1;

    return get_linger(fd, &value) == 0 && value > 0;
}

static int set_on_handle(const void *handle, enum filch_tcp_option option, int64_t value)
{
    struct filch__fd *object;
    int r = filch__fd_enter(handle, &object);

    if (r < 0)
        return r;
    r = filch__option_set(object->fd, option, value);
    if (r == 0 && option == FILCH_TCP_LINGER && value > 0)
        filch__fd_note_lingers(object);
    filch__fd_leave(object);
    return r;
}

static int get_on_handle(const void *handle, enum filch_tcp_option option, int64_t *ret_value)
{
    struct filch__fd *object;
    int r;

    if (!ret_value)
        return -EINVAL;
    r = filch__fd_enter(handle, &object);
    if (r < 0)
        return r;
    r = get(object->fd, option, ret_value);
    filch__fd_leave(object);
    return r;
}

int filch_tcp_set(filch_tcp *conn, enum filch_tcp_option option, int64_t value)
{
    return set_on_handle(conn, option, value);
}

int filch_tcp_get(filch_tcp *conn, enum filch_tcp_option option, int64_t *ret_value)
{
    return get_on_handle(conn, option, ret_value);
}

int filch_listener_set(filch_listener *listener, enum filch_tcp_option option, int64_t value)
{
    return set_on_handle(listener, option, value);
}

int filch_listener_get(filch_listener *listener, enum filch_tcp_option option, int64_t *ret_value)
{
    return get_on_handle(listener, option, ret_value);
}
