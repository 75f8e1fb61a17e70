/* Options of sockets: a table per kind of socket, from our names and units to the kernel's, and
 * what is done with a row of it. */
#include <errno.h>
#include <limits.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>

#include "io/net/option.h"
#include "io/net/socket.h"

#ifndef SO_INCOMING_CPU
#define SO_INCOMING_CPU 49
#endif

static const struct filch__option_row tcp_rows[] = {
    [FILCH_TCP_NODELAY] = {IPPROTO_TCP, TCP_NODELAY, FILCH__FORM_BOOL},
    [FILCH_TCP_CORK] = {IPPROTO_TCP, TCP_CORK, FILCH__FORM_BOOL},
    [FILCH_TCP_QUICKACK] = {IPPROTO_TCP, TCP_QUICKACK, FILCH__FORM_BOOL},
    [FILCH_TCP_KEEPALIVE] = {SOL_SOCKET, SO_KEEPALIVE, FILCH__FORM_BOOL},
    [FILCH_TCP_KEEPALIVE_IDLE] = {IPPROTO_TCP, TCP_KEEPIDLE, FILCH__FORM_SECONDS},
    [FILCH_TCP_KEEPALIVE_INTERVAL] = {IPPROTO_TCP, TCP_KEEPINTVL, FILCH__FORM_SECONDS},
    [FILCH_TCP_KEEPALIVE_COUNT] = {IPPROTO_TCP, TCP_KEEPCNT, FILCH__FORM_INT},
    [FILCH_TCP_USER_TIMEOUT] = {IPPROTO_TCP, TCP_USER_TIMEOUT, FILCH__FORM_MILLISECONDS},
    [FILCH_TCP_LINGER] = {SOL_SOCKET, SO_LINGER, FILCH__FORM_LINGER},
    [FILCH_TCP_SEND_BUFFER] = {SOL_SOCKET, SO_SNDBUF, FILCH__FORM_INT},
    [FILCH_TCP_RECV_BUFFER] = {SOL_SOCKET, SO_RCVBUF, FILCH__FORM_INT},
    [FILCH_TCP_UNSENT_LOW] = {IPPROTO_TCP, TCP_NOTSENT_LOWAT, FILCH__FORM_INT},
    [FILCH_TCP_MAX_SEGMENT] = {IPPROTO_TCP, TCP_MAXSEG, FILCH__FORM_INT},
    [FILCH_TCP_SYN_COUNT] = {IPPROTO_TCP, TCP_SYNCNT, FILCH__FORM_INT},
    [FILCH_TCP_REUSE_ADDR] = {SOL_SOCKET, SO_REUSEADDR, FILCH__FORM_BOOL},
    [FILCH_TCP_REUSE_PORT] = {SOL_SOCKET, SO_REUSEPORT, FILCH__FORM_BOOL},
    [FILCH_TCP_V6ONLY] = {IPPROTO_IPV6, IPV6_V6ONLY, FILCH__FORM_BOOL},
    [FILCH_TCP_DEFER_ACCEPT] = {IPPROTO_TCP, TCP_DEFER_ACCEPT, FILCH__FORM_SECONDS},
    [FILCH_TCP_FAST_OPEN] = {IPPROTO_TCP, TCP_FASTOPEN, FILCH__FORM_INT},
    [FILCH_TCP_FAST_OPEN_CONNECT] = {IPPROTO_TCP, TCP_FASTOPEN_CONNECT, FILCH__FORM_BOOL},
    [FILCH_TCP_TOS] = {IPPROTO_IP, IP_TOS, FILCH__FORM_BYTE, IPV6_TCLASS},
    [FILCH_TCP_PRIORITY] = {SOL_SOCKET, SO_PRIORITY, FILCH__FORM_INT},
    [FILCH_TCP_MARK] = {SOL_SOCKET, SO_MARK, FILCH__FORM_INT},
    [FILCH_TCP_INCOMING_CPU] = {SOL_SOCKET, SO_INCOMING_CPU, FILCH__FORM_INT},
    [FILCH_TCP_ERROR] = {SOL_SOCKET, SO_ERROR, FILCH__FORM_ERROR},
    [FILCH_TCP_TTL] = {IPPROTO_IP, IP_TTL, FILCH__FORM_HOPS, IPV6_UNICAST_HOPS},
    [FILCH_TCP_MIN_TTL] = {IPPROTO_IP, IP_MINTTL, FILCH__FORM_BYTE, IPV6_MINHOPCOUNT},
    [FILCH_TCP_RECV_LOW] = {SOL_SOCKET, SO_RCVLOWAT, FILCH__FORM_INT},
    [FILCH_TCP_BUSY_POLL] = {SOL_SOCKET, SO_BUSY_POLL, FILCH__FORM_MICROSECONDS},
    [FILCH_TCP_WINDOW_CLAMP] = {IPPROTO_TCP, TCP_WINDOW_CLAMP, FILCH__FORM_INT},
    [FILCH_TCP_PACING_RATE] = {SOL_SOCKET, SO_MAX_PACING_RATE, FILCH__FORM_RATE},
    [FILCH_TCP_FIN_TIMEOUT] = {IPPROTO_TCP, TCP_LINGER2, FILCH__FORM_SECONDS},
    [FILCH_TCP_THIN] = {IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, FILCH__FORM_BOOL},
    [FILCH_TCP_URGENT_INLINE] = {SOL_SOCKET, SO_OOBINLINE, FILCH__FORM_BOOL},
    [FILCH_TCP_FREE_BIND] = {IPPROTO_IP, IP_FREEBIND, FILCH__FORM_BOOL, IPV6_FREEBIND},
    [FILCH_TCP_TRANSPARENT] = {IPPROTO_IP, IP_TRANSPARENT, FILCH__FORM_BOOL, IPV6_TRANSPARENT},
    [FILCH_TCP_BIND_NO_PORT] = {IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, FILCH__FORM_BOOL},
    [FILCH_TCP_PATH_MTU] = {IPPROTO_IP, IP_MTU, FILCH__FORM_NUMBER, IPV6_MTU},
    [FILCH_TCP_COOKIE] = {SOL_SOCKET, SO_COOKIE, FILCH__FORM_COOKIE},
    [FILCH_TCP_CONGESTION] = {IPPROTO_TCP, TCP_CONGESTION, FILCH__FORM_TEXT},
    [FILCH_TCP_DEVICE] = {SOL_SOCKET, SO_BINDTODEVICE, FILCH__FORM_TEXT},
};

const struct filch__options filch__tcp_options = {tcp_rows, sizeof tcp_rows / sizeof tcp_rows[0]};

const struct filch__option_row *filch__option_row_of(const struct filch__options *options,
                                                     int option)
{
    size_t i = (size_t)option;

    return i < options->count && options->rows[i].form != FILCH__FORM_NONE ? &options->rows[i]
                                                                           : NULL;
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

/* The kernel has two names for some, and a socket of both families has both. */
static int set_twice(int fd, const struct filch__option_row *row, int value)
{
    int r6 = set(fd, IPPROTO_IPV6, row->name6, &value, sizeof value);
    int r4 = set(fd, row->level, row->name, &value, sizeof value);

    return r6 == 0 ? 0 : r4;
}

static int set_rate(int fd, const struct filch__option_row *row, int64_t value)
{
    if (value < -1 || value == 0)
        return -EINVAL;
    return set(fd, row->level, row->name, &value, sizeof value);
}

static int64_t unit_of(const struct filch__option_row *row)
{
    switch (row->form) {
    case FILCH__FORM_SECONDS:
        return (int64_t)FILCH_SECOND;
    case FILCH__FORM_MILLISECONDS:
        return (int64_t)FILCH_MILLISECOND;
    case FILCH__FORM_MICROSECONDS:
        return (int64_t)FILCH_MICROSECOND;
    default:
        return 1;
    }
}

static int64_t most_of(const struct filch__option_row *row)
{
    switch (row->form) {
    case FILCH__FORM_BOOL:
        return 1;
    case FILCH__FORM_BYTE:
    case FILCH__FORM_HOPS:
        return 255;
    default:
        return INT_MAX;
    }
}

int filch__option_set_in(const struct filch__options *options, int fd, int option, int64_t value)
{
    const struct filch__option_row *row = filch__option_row_of(options, option);
    int number;

    if (!row || row->form == FILCH__FORM_TEXT || row->form >= FILCH__FORM_ERROR)
        return -EINVAL;
    if (row->form == FILCH__FORM_LINGER)
        return set_linger(fd, value);
    if (row->form == FILCH__FORM_RATE)
        return set_rate(fd, row, value);
    if (value < (row->form == FILCH__FORM_HOPS))
        return -EINVAL;
    value = rounded_up(value, unit_of(row));
    if (value > most_of(row))
        return -EINVAL;
    number = (int)value;
    if (row->name6)
        return set_twice(fd, row, number);
    return set(fd, row->level, row->name, &number, sizeof number);
}

int filch__option_set(int fd, enum filch_tcp_option option, int64_t value)
{
    return filch__option_set_in(&filch__tcp_options, fd, (int)option, value);
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

/* Rates and cookies. */
static int get_wide(int fd, const struct filch__option_row *row, int64_t *ret_value)
{
    int64_t value;
    socklen_t bytes = sizeof value;

    if (getsockopt(fd, row->level, row->name, &value, &bytes) < 0)
        return -errno;
    *ret_value = value;
    return 0;
}

static int get_dropped(int fd, const struct filch__option_row *row, int64_t *ret_value)
{
    uint32_t counts[SK_MEMINFO_DROPS + 1];
    socklen_t bytes = sizeof counts;

    if (getsockopt(fd, row->level, row->name, counts, &bytes) < 0)
        return -errno;
    *ret_value = counts[SK_MEMINFO_DROPS];
    return 0;
}

/* A socket of both families knows its IPv6 name, and one of IPv4 the other one only. */
static int get_number(int fd, const struct filch__option_row *row, int *ret_number)
{
    socklen_t bytes = sizeof *ret_number;

    if ((!row->name6 || getsockopt(fd, IPPROTO_IPV6, row->name6, ret_number, &bytes) < 0) &&
        getsockopt(fd, row->level, row->name, ret_number, &bytes) < 0)
        return -errno;
    return 0;
}

static int get(const struct filch__options *options, int fd, int option, int64_t *ret_value)
{
    const struct filch__option_row *row = filch__option_row_of(options, option);
    int number = 0;
    int r;

    if (!row || row->form == FILCH__FORM_TEXT)
        return -EINVAL;
    if (row->form == FILCH__FORM_LINGER)
        return get_linger(fd, ret_value);
    if (row->form == FILCH__FORM_RATE || row->form == FILCH__FORM_COOKIE)
        return get_wide(fd, row, ret_value);
    if (row->form == FILCH__FORM_DROPPED)
        return get_dropped(fd, row, ret_value);
    r = get_number(fd, row, &number);
    if (r < 0)
        return r;
    if (row->form == FILCH__FORM_BOOL)
        number = number != 0;
    else if (row->form == FILCH__FORM_ERROR)
        number = -number;
    *ret_value = number * unit_of(row);
    return 0;
}

bool filch__option_lingers(int fd)
{
    int64_t value = -1;

    return get_linger(fd, &value) == 0 && value > 0;
}

int filch__option_set_on(const struct filch__options *options, const void *handle, int option,
                         int64_t value)
{
    struct filch__fd *object;
    int r = filch__fd_enter(handle, &object);

    if (r < 0)
        return r;
    r = filch__option_set_in(options, object->fd, option, value);
    if (r == 0 && value > 0 && filch__option_row_of(options, option)->form == FILCH__FORM_LINGER)
        filch__fd_note_lingers(object);
    filch__fd_leave(object);
    return r;
}

int filch__option_get_on(const struct filch__options *options, const void *handle, int option,
                         int64_t *ret_value)
{
    struct filch__fd *object;
    int r;

    if (!ret_value)
        return -EINVAL;
    r = filch__fd_enter(handle, &object);
    if (r < 0)
        return r;
    r = get(options, object->fd, option, ret_value);
    filch__fd_leave(object);
    return r;
}

int filch_tcp_set(filch_tcp *conn, enum filch_tcp_option option, int64_t value)
{
    return filch__option_set_on(&filch__tcp_options, conn, (int)option, value);
}

int filch_tcp_get(filch_tcp *conn, enum filch_tcp_option option, int64_t *ret_value)
{
    return filch__option_get_on(&filch__tcp_options, conn, (int)option, ret_value);
}

int filch_listener_set(filch_listener *listener, enum filch_tcp_option option, int64_t value)
{
    return filch__option_set_on(&filch__tcp_options, listener, (int)option, value);
}

int filch_listener_get(filch_listener *listener, enum filch_tcp_option option, int64_t *ret_value)
{
    return filch__option_get_on(&filch__tcp_options, listener, (int)option, ret_value);
}
