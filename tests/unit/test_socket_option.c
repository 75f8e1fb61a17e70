/* Description: the options of TCP, UDP and Unix sockets against the kernel: what was set is what
 * getsockopt(2) says of the descriptor, what is got is what it says, names included; values that
 * are out of range are refused; connections and listeners tell how they are doing. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

#include <criterion/criterion.h>

#include "tests/runner/tcp_pair.h"

TestSuite(socket_option, .timeout = 60);

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

#define SECOND ((int64_t)FILCH_SECOND)
#define MILLISECOND ((int64_t)FILCH_MILLISECOND)
#define MICROSECOND ((int64_t)FILCH_MICROSECOND)

/* An option, a value for it, and what the kernel then has of that name. */
struct row {
    int option;
    int64_t set;
    int level, name, level6, name6;
    int raw;
};

#define SAME(level, name) level, name, level, name

static const struct row tcp_rows[] = {
    {FILCH_TCP_NODELAY, 1, SAME(IPPROTO_TCP, TCP_NODELAY), 1},
    {FILCH_TCP_CORK, 1, SAME(IPPROTO_TCP, TCP_CORK), 1},
    {FILCH_TCP_QUICKACK, 1, SAME(IPPROTO_TCP, TCP_QUICKACK), 1},
    {FILCH_TCP_KEEPALIVE, 1, SAME(SOL_SOCKET, SO_KEEPALIVE), 1},
    {FILCH_TCP_KEEPALIVE_IDLE, 9 * SECOND, SAME(IPPROTO_TCP, TCP_KEEPIDLE), 9},
    {FILCH_TCP_KEEPALIVE_INTERVAL, 8 * SECOND, SAME(IPPROTO_TCP, TCP_KEEPINTVL), 8},
    {FILCH_TCP_KEEPALIVE_COUNT, 7, SAME(IPPROTO_TCP, TCP_KEEPCNT), 7},
    {FILCH_TCP_USER_TIMEOUT, 6 * MILLISECOND, SAME(IPPROTO_TCP, TCP_USER_TIMEOUT), 6},
    {FILCH_TCP_UNSENT_LOW, 5000, SAME(IPPROTO_TCP, TCP_NOTSENT_LOWAT), 5000},
    {FILCH_TCP_SYN_COUNT, 4, SAME(IPPROTO_TCP, TCP_SYNCNT), 4},
    {FILCH_TCP_REUSE_ADDR, 1, SAME(SOL_SOCKET, SO_REUSEADDR), 1},
    {FILCH_TCP_TOS, 0x20, IPPROTO_IP, IP_TOS, IPPROTO_IPV6, IPV6_TCLASS, 0x20},
    {FILCH_TCP_PRIORITY, 3, SAME(SOL_SOCKET, SO_PRIORITY), 3},
    {FILCH_TCP_TTL, 17, IPPROTO_IP, IP_TTL, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 17},
    {FILCH_TCP_MIN_TTL, 5, IPPROTO_IP, IP_MINTTL, IPPROTO_IPV6, IPV6_MINHOPCOUNT, 5},
    {FILCH_TCP_RECV_LOW, 100, SAME(SOL_SOCKET, SO_RCVLOWAT), 100},
    {FILCH_TCP_RECV_LOW, 1, SAME(SOL_SOCKET, SO_RCVLOWAT), 1},
    {FILCH_TCP_BUSY_POLL, 0, SAME(SOL_SOCKET, SO_BUSY_POLL), 0},
    {FILCH_TCP_WINDOW_CLAMP, 30000, SAME(IPPROTO_TCP, TCP_WINDOW_CLAMP), 30000},
    {FILCH_TCP_FIN_TIMEOUT, 7 * SECOND, SAME(IPPROTO_TCP, TCP_LINGER2), 7},
    {FILCH_TCP_THIN, 1, SAME(IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS), 1},
    {FILCH_TCP_URGENT_INLINE, 1, SAME(SOL_SOCKET, SO_OOBINLINE), 1},
    {FILCH_TCP_FREE_BIND, 1, IPPROTO_IP, IP_FREEBIND, IPPROTO_IPV6, IPV6_FREEBIND, 1},
    {FILCH_TCP_TRANSPARENT, 0, IPPROTO_IP, IP_TRANSPARENT, IPPROTO_IPV6, IPV6_TRANSPARENT, 0},
    {FILCH_TCP_BIND_NO_PORT, 1, SAME(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT), 1},
};

static const struct row udp_rows[] = {
    {FILCH_UDP_BROADCAST, 1, SAME(SOL_SOCKET, SO_BROADCAST), 1},
    {FILCH_UDP_TTL, 18, IPPROTO_IP, IP_TTL, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 18},
    {FILCH_UDP_MULTICAST_TTL, 2, IPPROTO_IP, IP_MULTICAST_TTL, IPPROTO_IPV6, IPV6_MULTICAST_HOPS,
     2},
    {FILCH_UDP_MULTICAST_LOOP, 0, IPPROTO_IP, IP_MULTICAST_LOOP, IPPROTO_IPV6, IPV6_MULTICAST_LOOP,
     0},
    {FILCH_UDP_MULTICAST_ALL, 0, IPPROTO_IP, IP_MULTICAST_ALL, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0},
    {FILCH_UDP_MTU_DISCOVER, 2, IPPROTO_IP, IP_MTU_DISCOVER, IPPROTO_IPV6, IPV6_MTU_DISCOVER, 2},
    {FILCH_UDP_TOS, 0x40, IPPROTO_IP, IP_TOS, IPPROTO_IPV6, IPV6_TCLASS, 0x40},
    {FILCH_UDP_PRIORITY, 2, SAME(SOL_SOCKET, SO_PRIORITY), 2},
    {FILCH_UDP_LOCAL_ADDR, 1, IPPROTO_IP, IP_PKTINFO, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1},
    {FILCH_UDP_RECV_TOS, 1, IPPROTO_IP, IP_RECVTOS, IPPROTO_IPV6, IPV6_RECVTCLASS, 1},
    {FILCH_UDP_BUSY_POLL, 0, SAME(SOL_SOCKET, SO_BUSY_POLL), 0},
    {FILCH_UDP_MIN_TTL, 6, IPPROTO_IP, IP_MINTTL, IPPROTO_IPV6, IPV6_MINHOPCOUNT, 6},
    {FILCH_UDP_FREE_BIND, 1, IPPROTO_IP, IP_FREEBIND, IPPROTO_IPV6, IPV6_FREEBIND, 1},
    {FILCH_UDP_TRANSPARENT, 0, IPPROTO_IP, IP_TRANSPARENT, IPPROTO_IPV6, IPV6_TRANSPARENT, 0},
};

static int raw_get(int fd, int level, int name)
{
    int value = -1;
    socklen_t bytes = sizeof value;

    T_OK(getsockopt(fd, level, name, &value, &bytes));
    return value;
}

static uint64_t raw_get_wide(int fd, int name)
{
    uint64_t value = 0;
    socklen_t bytes = sizeof value;

    T_OK(getsockopt(fd, SOL_SOCKET, name, &value, &bytes));
    return value;
}

/* A free port of a loopback. @v6: of IPv6's. */
static int raw_of(int type, bool v6, struct sockaddr_storage *ret_addr, socklen_t *ret_bytes)
{
    struct sockaddr_in v4_addr = {.sin_family = AF_INET};
    struct sockaddr_in6 v6_addr = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(v6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, 0);

    v4_addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memset(ret_addr, 0, sizeof *ret_addr);
    *ret_bytes = sizeof *ret_addr;
    if (fd < 0 || bind(fd, v6 ? (struct sockaddr *)&v6_addr : (struct sockaddr *)&v4_addr,
                       v6 ? sizeof v6_addr : sizeof v4_addr) < 0) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    T_OK(getsockname(fd, (struct sockaddr *)ret_addr, ret_bytes));
    return fd;
}

static bool has_ipv6(void)
{
    struct sockaddr_storage addr;
    socklen_t bytes;
    int fd = raw_of(SOCK_DGRAM, true, &addr, &bytes);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* A connection whose descriptors are known: the client's is the handle's. */
struct known {
    int listening, client_fd, server_fd;
    filch_tcp *client;
};

static void open_known(bool v6, struct known *ret_known)
{
    struct sockaddr_storage addr, unused;
    socklen_t bytes, unused_bytes;

    ret_known->listening = raw_of(SOCK_STREAM, v6, &addr, &bytes);
    ret_known->client_fd = raw_of(SOCK_STREAM, v6, &unused, &unused_bytes);
    T_CHECK(ret_known->listening >= 0 && ret_known->client_fd >= 0);
    T_OK(listen(ret_known->listening, 1));
    T_OK(connect(ret_known->client_fd, (struct sockaddr *)&addr, bytes));
    ret_known->server_fd = accept4(ret_known->listening, NULL, NULL, SOCK_CLOEXEC);
    T_CHECK(ret_known->server_fd >= 0);
    T_OK(filch_tcp_adopt(ret_known->client_fd, &ret_known->client));
}

static void close_known(struct known *known)
{
    T_OK(filch_tcp_close(known->client));
    T_OK(close(known->server_fd));
    T_OK(close(known->listening));
}

static void is_row(const char *what, const struct row *row, int64_t got, int64_t want)
{
    if (got != want)
        fprintf(stderr, "%s option %d: %lld, not %lld\n", what, row->option, (long long)got,
                (long long)want);
    T_CHECK(got == want);
}

static void tcp_rows_hold(bool v6)
{
    struct known known;
    int64_t value = -9;

    open_known(v6, &known);
    for (size_t i = 0; i < COUNT(tcp_rows); i++) {
        const struct row *row = &tcp_rows[i];
        enum filch_tcp_option option = (enum filch_tcp_option)row->option;

        is_row("setting", row, filch_tcp_set(known.client, option, row->set), 0);
        is_row("the kernel's", row,
               raw_get(known.client_fd, v6 ? row->level6 : row->level, v6 ? row->name6 : row->name),
               row->raw);
        is_row("getting", row, filch_tcp_get(known.client, option, &value), 0);
        is_row("our", row, value, row->set);
    }
    close_known(&known);
}

static void udp_rows_hold(bool v6)
{
    struct sockaddr_storage addr;
    socklen_t bytes;
    int fd = raw_of(SOCK_DGRAM, v6, &addr, &bytes);
    int64_t value = -9;
    filch_udp *udp;

    T_OK(filch_udp_adopt(fd, &udp));
    for (size_t i = 0; i < COUNT(udp_rows); i++) {
        const struct row *row = &udp_rows[i];
        enum filch_udp_option option = (enum filch_udp_option)row->option;

        is_row("setting", row, filch_udp_set(udp, option, row->set), 0);
        is_row("the kernel's", row,
               raw_get(fd, v6 ? row->level6 : row->level, v6 ? row->name6 : row->name), row->raw);
        is_row("getting", row, filch_udp_get(udp, option, &value), 0);
        is_row("our", row, value, row->set);
    }
    T_OK(filch_udp_close(udp));
}

Test(socket_option, the_kernel_has_what_was_set)
{
    tcp_rows_hold(false);
    udp_rows_hold(false);
}

Test(socket_option, the_kernel_has_what_was_set_for_ipv6)
{
    if (!has_ipv6())
        cr_skip_test("this machine has no IPv6");
    tcp_rows_hold(true);
    udp_rows_hold(true);
}

/* An option that was forgotten in a table would be unknown. */
Test(socket_option, every_option_is_known)
{
    struct known known;
    struct sockaddr_storage addr;
    socklen_t bytes;
    filch_udp *udp;
    int64_t value;
    char text[FILCH_TCP_TEXT_BYTES];

    open_known(false, &known);
    for (int i = FILCH_TCP_NODELAY; i < FILCH_TCP_CONGESTION; i++)
        T_CHECK(filch_tcp_get(known.client, (enum filch_tcp_option)i, &value) != -EINVAL);
    for (int i = FILCH_TCP_CONGESTION; i <= FILCH_TCP_DEVICE; i++)
        T_OK(filch_tcp_get_text(known.client, (enum filch_tcp_option)i, text));
    T_OK(filch_udp_adopt(raw_of(SOCK_DGRAM, false, &addr, &bytes), &udp));
    for (int i = FILCH_UDP_SEND_BUFFER; i < FILCH_UDP_DEVICE; i++)
        T_CHECK(filch_udp_get(udp, (enum filch_udp_option)i, &value) != -EINVAL);
    T_OK(filch_udp_get_text(udp, FILCH_UDP_DEVICE, text));
    T_OK(filch_udp_close(udp));
    close_known(&known);
}

static void refuses_all(filch_tcp *conn, filch_udp *udp)
{
    T_IS(filch_tcp_set(conn, FILCH_TCP_TTL, 0), -EINVAL);
    T_IS(filch_tcp_set(conn, FILCH_TCP_TTL, -1), -EINVAL);
    T_IS(filch_tcp_set(conn, FILCH_TCP_TTL, 256), -EINVAL);
    T_IS(filch_tcp_set(conn, FILCH_TCP_MIN_TTL, -1), -EINVAL);
    T_IS(filch_tcp_set(conn, FILCH_TCP_MIN_TTL, 256), -EINVAL);
    T_IS(filch_tcp_set(conn, FILCH_TCP_RECV_LOW, -1), -EINVAL);
    T_IS(filch_tcp_set(conn, FILCH_TCP_RECV_LOW, INT64_MAX), -EINVAL);
    T_IS(filch_tcp_set(conn, FILCH_TCP_BUSY_POLL, -1), -EINVAL);
    T_IS(filch_tcp_set(conn, FILCH_TCP_BUSY_POLL, INT64_MAX), -EINVAL);
    T_IS(filch_tcp_set(conn, FILCH_TCP_WINDOW_CLAMP, -1), -EINVAL);
    T_IS(filch_tcp_set(conn, FILCH_TCP_PACING_RATE, 0), -EINVAL);
    T_IS(filch_tcp_set(conn, FILCH_TCP_PACING_RATE, -2), -EINVAL);
    T_IS(filch_tcp_set(conn, FILCH_TCP_FIN_TIMEOUT, -1), -EINVAL);
    T_IS(filch_tcp_set(conn, FILCH_TCP_THIN, 2), -EINVAL);
    T_IS(filch_tcp_set(conn, FILCH_TCP_URGENT_INLINE, -1), -EINVAL);
    T_IS(filch_tcp_set(conn, FILCH_TCP_FREE_BIND, 2), -EINVAL);
    T_IS(filch_tcp_set(conn, FILCH_TCP_TRANSPARENT, 2), -EINVAL);
    T_IS(filch_tcp_set(conn, FILCH_TCP_BIND_NO_PORT, 2), -EINVAL);
    /* Less than none is not none. */
    T_IS(filch_tcp_set(conn, FILCH_TCP_USER_TIMEOUT, -1), -EINVAL);
    T_IS(filch_tcp_set(conn, FILCH_TCP_DEFER_ACCEPT, -1), -EINVAL);
    T_IS(filch_tcp_set(conn, FILCH_TCP_PATH_MTU, 1500), -EINVAL);
    T_IS(filch_tcp_set(conn, FILCH_TCP_COOKIE, 1), -EINVAL);
    T_IS(filch_tcp_set(conn, FILCH_TCP_CONGESTION, 1), -EINVAL);
    T_IS(filch_udp_set(udp, FILCH_UDP_TTL, 0), -EINVAL);
    T_IS(filch_udp_set(udp, FILCH_UDP_MIN_TTL, 256), -EINVAL);
    T_IS(filch_udp_set(udp, FILCH_UDP_MULTICAST_ALL, 2), -EINVAL);
    T_IS(filch_udp_set(udp, FILCH_UDP_PACING_RATE, 0), -EINVAL);
    T_IS(filch_udp_set(udp, FILCH_UDP_BUSY_POLL, -1), -EINVAL);
    T_IS(filch_udp_set(udp, FILCH_UDP_DROPPED, 0), -EINVAL);
    T_IS(filch_udp_set(udp, FILCH_UDP_DEVICE, 0), -EINVAL);
}

static void refuses_on(bool v6)
{
    struct sockaddr_storage addr;
    struct known known;
    socklen_t bytes;
    filch_udp *udp;

    open_known(v6, &known);
    T_OK(filch_udp_adopt(raw_of(SOCK_DGRAM, v6, &addr, &bytes), &udp));
    refuses_all(known.client, udp);
    T_OK(filch_udp_close(udp));
    close_known(&known);
}

Test(socket_option, what_is_out_of_range_is_refused)
{
    refuses_on(false);
    if (has_ipv6())
        refuses_on(true);
}

static void limit_rate(filch_tcp *conn, int fd, int64_t rate)
{
    int64_t value = 0;

    T_OK(filch_tcp_set(conn, FILCH_TCP_PACING_RATE, rate));
    T_IS(raw_get_wide(fd, SO_MAX_PACING_RATE), (uint64_t)rate);
    T_OK(filch_tcp_get(conn, FILCH_TCP_PACING_RATE, &value));
    T_IS(value, rate);
}

Test(socket_option, numbers_of_64_bits)
{
    struct known known;
    int64_t value = 0;

    open_known(false, &known);
    T_OK(filch_tcp_get(known.client, FILCH_TCP_PACING_RATE, &value));
    T_IS(value, -1);
    limit_rate(known.client, known.client_fd, 1000000);
    limit_rate(known.client, known.client_fd, (int64_t)10 << 32); /* bytes per second */
    limit_rate(known.client, known.client_fd, -1);
    T_OK(filch_tcp_get(known.client, FILCH_TCP_COOKIE, &value));
    T_IS((uint64_t)value, raw_get_wide(known.client_fd, SO_COOKIE));
    T_CHECK((uint64_t)value != raw_get_wide(known.server_fd, SO_COOKIE));
    close_known(&known);
}

static void path_mtu_on(bool v6)
{
    int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP, name = v6 ? IPV6_MTU : IP_MTU;
    struct sockaddr_storage addr;
    socklen_t bytes;
    int fd = raw_of(SOCK_DGRAM, v6, &addr, &bytes);
    filch_listener *listener;
    struct known known;
    int64_t value = -9;
    filch_udp *udp;

    open_known(v6, &known);
    T_OK(filch_tcp_get(known.client, FILCH_TCP_PATH_MTU, &value));
    T_IS(value, raw_get(known.client_fd, level, name));
    T_CHECK(value > 1000);
    close_known(&known);
    T_OK(filch_udp_adopt(fd, &udp));
    T_IS(filch_udp_get(udp, FILCH_UDP_PATH_MTU, &value), -ENOTCONN);
    T_OK(connect(fd, (struct sockaddr *)&addr, bytes));
    T_OK(filch_udp_get(udp, FILCH_UDP_PATH_MTU, &value));
    T_IS(value, raw_get(fd, level, name));
    T_OK(filch_udp_close(udp));
    T_OK(filch_listener_open(v6 ? "[::1]:0" : "127.0.0.1:0", NULL, &listener));
    T_IS(filch_listener_get(listener, FILCH_TCP_PATH_MTU, &value), -ENOTCONN);
    T_OK(filch_listener_close(listener));
}

Test(socket_option, the_path_to_a_peer_has_a_longest_packet)
{
    path_mtu_on(false);
    if (has_ipv6())
        path_mtu_on(true);
}

/* ---- names ---- */

static void text_is(filch_tcp *conn, enum filch_tcp_option option, const char *want)
{
    char text[FILCH_TCP_TEXT_BYTES] = "?";

    T_OK(filch_tcp_get_text(conn, option, text));
    T_OK(strcmp(text, want));
}

Test(socket_option, a_congestion_algorithm_has_a_name)
{
    struct tcp_pair pair;
    struct known known;
    char text[FILCH_TCP_TEXT_BYTES], raw[64] = "";
    socklen_t bytes = sizeof raw;

    open_known(false, &known);
    T_OK(filch_tcp_set_text(known.client, FILCH_TCP_CONGESTION, "reno")); /* every kernel has it */
    T_OK(getsockopt(known.client_fd, IPPROTO_TCP, TCP_CONGESTION, raw, &bytes));
    T_OK(strcmp(raw, "reno"));
    text_is(known.client, FILCH_TCP_CONGESTION, "reno");
    T_IS(filch_tcp_set_text(known.client, FILCH_TCP_CONGESTION, "no-such"), -ENOENT);
    T_IS(filch_tcp_set_text(known.client, FILCH_TCP_CONGESTION, ""), -ENOENT);
    T_IS(filch_tcp_set_text(known.client, FILCH_TCP_CONGESTION, "a-name-that-is-too-long"),
         -ENOENT);
    T_IS(filch_tcp_set_text(known.client, FILCH_TCP_NODELAY, "1"), -EINVAL);
    T_IS(filch_tcp_get_text(known.client, FILCH_TCP_NODELAY, text), -EINVAL);
    text_is(known.client, FILCH_TCP_CONGESTION, "reno");
    close_known(&known);
    /* What is accepted has the listener's. */
    listen_any(&pair);
    T_OK(filch_listener_set_text(pair.listener, FILCH_TCP_CONGESTION, "reno"));
    T_OK(filch_listener_get_text(pair.listener, FILCH_TCP_CONGESTION, text));
    T_OK(strcmp(text, "reno"));
    T_IS(filch_listener_set_text(pair.listener, FILCH_TCP_CONGESTION, "no-such"), -ENOENT);
    T_OK(filch_tcp_connect(pair.addr, &pair.client, T_LIMIT));
    T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
    text_is(pair.server, FILCH_TCP_CONGESTION, "reno");
    close_pair(&pair);
}

/* The process is this test. What looks for leaks when it ends has to be root again. */
static bool drop_root(void)
{
    if (geteuid() != 0)
        return false;
    T_OK(seteuid(65534));
    return true;
}

static void be_root_again(void)
{
    T_OK(seteuid(0));
    T_OK(prctl(PR_SET_DUMPABLE, 1));
}

/* A name of 16 bytes or more the kernel would cut: to that of a device, perhaps. */
Test(socket_option, a_device_has_a_name)
{
    struct sockaddr_storage addr;
    socklen_t bytes;
    int fd = raw_of(SOCK_DGRAM, false, &addr, &bytes);
    char text[FILCH_UDP_TEXT_BYTES] = "?", raw[64] = "";
    struct known known;
    filch_udp *udp;

    open_known(false, &known);
    text_is(known.client, FILCH_TCP_DEVICE, "");
    T_OK(filch_tcp_set_text(known.client, FILCH_TCP_DEVICE, "lo"));
    text_is(known.client, FILCH_TCP_DEVICE, "lo");
    bytes = sizeof raw;
    T_OK(getsockopt(known.client_fd, SOL_SOCKET, SO_BINDTODEVICE, raw, &bytes));
    T_OK(strcmp(raw, "lo"));
    T_IS(filch_tcp_set_text(known.client, FILCH_TCP_DEVICE, "name-that-is-too-long"), -ENODEV);
    close_known(&known);
    T_OK(filch_udp_adopt(fd, &udp));
    T_OK(filch_udp_set_text(udp, FILCH_UDP_DEVICE, "lo"));
    T_OK(filch_udp_get_text(udp, FILCH_UDP_DEVICE, text));
    T_OK(strcmp(text, "lo"));
    T_IS(filch_udp_set_text(udp, FILCH_UDP_TTL, "lo"), -EINVAL);
    T_IS(filch_udp_get_text(udp, FILCH_UDP_TTL, text), -EINVAL);
    if (drop_root()) {
        T_IS(filch_udp_set_text(udp, FILCH_UDP_DEVICE, ""), -EPERM);
        be_root_again();
        T_IS(filch_udp_set_text(udp, FILCH_UDP_DEVICE, "no-such-device"), -ENODEV);
        T_OK(filch_udp_set_text(udp, FILCH_UDP_DEVICE, ""));
        T_OK(filch_udp_get_text(udp, FILCH_UDP_DEVICE, text));
        T_IS(text[0], 0);
    }
    T_OK(filch_udp_close(udp));
}

/* The kernel is asked whether root may here: in a container it may not. */
Test(socket_option, some_need_a_capability)
{
    struct known known;
    int64_t value = -9;
    int on = 1, raw;

    if (geteuid() != 0)
        cr_skip_test("not root: nothing can be given up");
    open_known(false, &known);
    raw = setsockopt(known.client_fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof on) < 0 ? -errno : 0;
    T_IS(filch_tcp_set(known.client, FILCH_TCP_TRANSPARENT, 0), raw);
    T_IS(filch_tcp_set(known.client, FILCH_TCP_TRANSPARENT, 1), raw);
    raw = setsockopt(known.client_fd, SOL_SOCKET, SO_BUSY_POLL, &on, sizeof on) < 0 ? -errno : 0;
    T_IS(filch_tcp_set(known.client, FILCH_TCP_BUSY_POLL, 30 * MICROSECOND + 1), raw);
    if (raw == 0) {
        T_IS(raw_get(known.client_fd, SOL_SOCKET, SO_BUSY_POLL), 31);
        T_OK(filch_tcp_get(known.client, FILCH_TCP_BUSY_POLL, &value));
        T_IS(value, 31 * MICROSECOND);
    }
    T_CHECK(drop_root());
    T_IS(filch_tcp_set(known.client, FILCH_TCP_TRANSPARENT, 1), -EPERM);
    be_root_again();
    close_known(&known);
}

/* ---- what options do ---- */

static void listens_on(const char *addr, const filch_listener_opts *opts, int want)
{
    filch_listener *listener = NULL;

    T_IS(filch_listener_open(addr, opts, &listener), want);
    T_OK(filch_listener_close(listener));
}

Test(socket_option, an_address_that_is_not_there_yet_can_be_bound)
{
    const filch_tcp_setting free_bind = {FILCH_TCP_FREE_BIND, 1};
    const filch_listener_opts opts = {.settings = &free_bind, .setting_count = 1};
    const filch_udp_setting udp_free_bind = {FILCH_UDP_FREE_BIND, 1};
    const filch_udp_opts udp_opts = {.settings = &udp_free_bind, .setting_count = 1};
    filch_udp *udp = NULL;

    listens_on("192.0.2.7:0", NULL, -EADDRNOTAVAIL);
    listens_on("192.0.2.7:0", &opts, 0);
    if (has_ipv6()) {
        listens_on("[2001:db8::7]:0", NULL, -EADDRNOTAVAIL);
        listens_on("[2001:db8::7]:0", &opts, 0);
    }
    T_OK(filch_udp_open("192.0.2.7:0", &udp_opts, &udp));
    T_OK(filch_udp_close(udp));
}

static int queued_in(int fd)
{
    int bytes = -1;

    T_OK(ioctl(fd, FIONREAD, &bytes));
    return bytes;
}

static int recv_low_body(void *arg)
{
    struct known known;
    filch_case c;
    char buf[8];
    int r = -9;

    (void)arg;
    open_known(false, &known);
    T_OK(filch_tcp_set(known.client, FILCH_TCP_RECV_LOW, 4));
    T_IS(write(known.server_fd, "ab", 2), 2);
    T_WAIT_UNTIL(queued_in(known.client_fd) == 2);
    c = filch_case_readable(known.client);
    T_IS(filch_select_result(&c, 1, 0, &r, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_tcp_read(known.client, buf, sizeof buf, FILCH_NOW), 2);
    T_IS(write(known.server_fd, "cdef", 4), 4);
    T_IS(filch_select_result(&c, 1, 0, &r, T_LIMIT), 0);
    T_OK(r);
    T_IS(filch_tcp_read(known.client, buf, sizeof buf, T_LIMIT), 4);
    close_known(&known);
    return 0;
}

Test(socket_option, few_bytes_wake_nobody_who_wants_many)
{
    T_OK(run_in_runtime(0, recv_low_body, NULL));
    T_OK(recv_low_body(NULL));
}

/* What was sent has arrived, or was lost and counted. */
Test(socket_option, datagrams_that_are_lost_are_counted)
{
    filch_udp *from, *to;
    filch_addr addr;
    int64_t dropped = 0, sent = 0, received = 0;
    char buf[512] = {0};

    T_OK(filch_udp_open("127.0.0.1:0", NULL, &to));
    T_OK(filch_udp_open("127.0.0.1:0", NULL, &from));
    T_OK(filch_udp_local_addr(to, &addr));
    T_OK(filch_udp_get(to, FILCH_UDP_DROPPED, &dropped));
    T_IS(dropped, 0);
    T_OK(filch_udp_set(to, FILCH_UDP_RECV_BUFFER, 0)); /* the least there is */
    while (dropped < 3) {
        T_IS(filch_udp_send(from, buf, sizeof buf, &addr, T_LIMIT), (ssize_t)sizeof buf);
        sent++;
        T_OK(filch_udp_get(to, FILCH_UDP_DROPPED, &dropped));
        T_CHECK(sent < 100000);
    }
    T_WAIT_UNTIL(
        (received += filch_udp_recv(to, buf, sizeof buf, NULL, NULL, FILCH_NOW) > 0,
         filch_udp_get(to, FILCH_UDP_DROPPED, &dropped) == 0 && received + dropped == sent));
    T_CHECK(received > 0);
    T_OK(filch_udp_close(from));
    T_OK(filch_udp_close(to));
}

/* @from, @to: addresses to open; @by: the one that is sent to, if it is not @to. */
static void tos_arrives(const char *from, const char *to, const char *by)
{
    filch_datagram out[] = {{.buf = "a", .bytes = 1, .tos = 0x2a}, /* a class, and ECT(0) */
                            {.buf = "b", .bytes = 1},
                            {.buf = "c", .bytes = 1, .segment = 1, .tos = 0xff}};
    char byte;
    filch_datagram in = {.buf = &byte, .bytes = 1, .tos = 99};
    filch_udp *sender, *receiver;
    filch_addr addr, parsed;

    T_OK(filch_udp_open(from, NULL, &sender));
    T_OK(filch_udp_open(to, NULL, &receiver));
    T_OK(filch_udp_local_addr(receiver, &addr));
    T_OK(filch_addr_parse(by, &parsed));
    parsed.port = addr.port;
    for (size_t i = 0; i < COUNT(out); i++)
        out[i].addr = parsed;
    T_IS(filch_udp_send_many(sender, out, 1, T_LIMIT), 1);
    T_IS(filch_udp_recv_many(receiver, &in, 1, T_LIMIT), 1);
    T_IS(in.tos, 0); /* nobody has asked */
    T_OK(filch_udp_set(receiver, FILCH_UDP_RECV_TOS, 1));
    T_OK(filch_udp_set(receiver, FILCH_UDP_LOCAL_ADDR, 1)); /* there is room for all that is told */
    T_OK(filch_udp_set(sender, FILCH_UDP_TOS, 0x10));
    T_IS(filch_udp_send_many(sender, out, COUNT(out), T_LIMIT), (ssize_t)COUNT(out));
    for (size_t i = 0; i < COUNT(out); i++) {
        T_IS(filch_udp_recv_many(receiver, &in, 1, T_LIMIT), 1);
        T_IS(byte, *(char *)out[i].buf);
        T_IS(in.tos, out[i].tos ? out[i].tos : 0x10);
        T_CHECK(in.local.family == parsed.family);
    }
    T_OK(filch_udp_close(sender));
    T_OK(filch_udp_close(receiver));
}

Test(socket_option, a_datagram_has_a_traffic_class_of_its_own)
{
    tos_arrives("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0");
    if (has_ipv6()) {
        tos_arrives("[::1]:0", "[::1]:0", "[::1]:0");
        /* Sockets of both families. */
        tos_arrives("[::]:0", "[::]:0", "127.0.0.1:0");
        tos_arrives("[::]:0", "[::]:0", "[::1]:0");
    }
}

/* ---- how connections and listeners are doing ---- */

static filch_tcp_info info_of(filch_tcp *conn)
{
    filch_tcp_info info;

    T_OK(filch_tcp_get_info(conn, &info));
    return info;
}

static int info_body(void *arg)
{
    static char block[1 << 16];
    struct tcp_info raw;
    socklen_t bytes = sizeof raw;
    struct known known;
    filch_tcp_info info;
    filch_tcp *server;
    size_t filled = 1000;
    ssize_t n;

    (void)arg;
    open_known(false, &known);
    T_OK(filch_tcp_adopt(dup(known.server_fd), &server));
    info = info_of(known.client);
    T_IS(info.state, FILCH_TCP_STATE_ESTABLISHED);
    T_IS(info.sent_bytes, 0);
    T_OK(filch_tcp_write_all(known.client, block, 1000, NULL, T_LIMIT));
    T_OK(filch_tcp_read_exact(server, block, 1000, NULL, T_LIMIT));
    T_WAIT_UNTIL(info_of(known.client).acked_bytes == 1001); /* with the begin */
    info = info_of(known.client);
    T_OK(getsockopt(known.client_fd, IPPROTO_TCP, TCP_INFO, &raw, &bytes));
    T_IS(info.sent_bytes - info.resent_bytes, 1000);
    T_IS(info.unsent_bytes, 0);
    T_IS(info.flight_segments, 0);
    T_IS(info.retries, 0);
    T_IS(info.received_bytes, 0);
    T_IS(info.rtt_ns, raw.tcpi_rtt * FILCH_MICROSECOND);
    T_IS(info.rtt_var_ns, raw.tcpi_rttvar * FILCH_MICROSECOND);
    T_IS(info.retry_ns, raw.tcpi_rto * FILCH_MICROSECOND);
    T_IS(info.window_segments, raw.tcpi_snd_cwnd);
    T_IS(info.send_segment_bytes, raw.tcpi_snd_mss);
    T_IS(info.path_mtu_bytes, raw.tcpi_pmtu);
    T_IS(info.sent_segments, raw.tcpi_data_segs_out);
    T_CHECK(info.rtt_ns > 0 && info.rtt_min_ns > 0 && info.rtt_min_ns < FILCH_SECOND);
    T_CHECK(info.window_segments > 0 && info.peer_window_bytes > 0);
    info = info_of(server);
    T_IS(info.received_bytes, 1000);
    T_CHECK(info.received_segments > 0);
    /* The peer does not read: some stays here, and that is what it waits for. */
    while ((n = filch_tcp_write(known.client, block, sizeof block, FILCH_NOW)) > 0)
        filled += (size_t)n;
    T_WAIT_UNTIL(info_of(known.client).unsent_bytes > 0);
    info = info_of(known.client);
    T_CHECK(info.sent_bytes - info.resent_bytes + info.unsent_bytes == filled);
    T_CHECK(info.busy_ns >= info.peer_limited_ns);
    while (filled > 1000) {
        n = filch_tcp_read(server, block, sizeof block, T_LIMIT);
        T_CHECK(n > 0);
        filled -= (size_t)n;
    }
    /* One side ends. */
    T_OK(filch_tcp_shutdown_write(server));
    T_WAIT_UNTIL(info_of(known.client).state == FILCH_TCP_STATE_CLOSE_WAIT);
    T_WAIT_UNTIL(info_of(server).state == FILCH_TCP_STATE_FIN_WAIT2);
    T_OK(filch_tcp_close(server));
    close_known(&known);
    return 0;
}

Test(socket_option, a_connection_tells_how_it_is_doing)
{
    T_OK(run_in_runtime(0, info_body, NULL));
    T_OK(info_body(NULL));
}

static unsigned waiting_in(filch_listener *listener)
{
    unsigned waiting = 99;

    T_OK(filch_listener_queue(listener, &waiting, NULL));
    return waiting;
}

Test(socket_option, a_listener_tells_how_many_wait)
{
    const filch_listener_opts opts = {.backlog = 3};
    int first = raw_socket(), second = raw_socket(), fd;
    unsigned waiting = 99, most = 99;
    struct tcp_pair pair = {0};

    T_OK(filch_listener_open("127.0.0.1:0", &opts, &pair.listener));
    T_OK(filch_listener_addr(pair.listener, pair.addr));
    T_OK(filch_listener_queue(pair.listener, &waiting, &most));
    T_IS(waiting, 0);
    T_IS(most, 3);
    raw_connect(first, pair.addr);
    raw_connect(second, pair.addr);
    T_WAIT_UNTIL(waiting_in(pair.listener) == 2);
    T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
    T_OK(filch_listener_accept(pair.listener, &pair.client, T_LIMIT));
    T_IS(waiting_in(pair.listener), 0);
    T_IS(filch_listener_queue(pair.listener, NULL, &most), -EINVAL);
    close_pair(&pair);
    T_OK(close(first));
    T_OK(close(second));
    /* Somebody has a duplicate, and shuts it down. */
    fd = raw_bind(pair.addr);
    T_OK(listen(fd, 3));
    T_OK(filch_listener_adopt(fd, &pair.listener));
    T_OK(shutdown(fd, SHUT_RDWR));
    T_IS(filch_listener_queue(pair.listener, &waiting, NULL), -EINVAL);
    T_IS(waiting, 0); /* as it was */
    T_OK(filch_listener_close(pair.listener));
}

/* ---- Unix sockets ---- */

Test(socket_option, of_unix_streams)
{
    int fds[2];
    filch_unix *a, *b;
    int64_t value = -9;

    T_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
    T_OK(filch_unix_adopt(fds[0], &a));
    T_OK(filch_unix_adopt(fds[1], &b));
    T_OK(filch_unix_set(a, FILCH_UNIX_SEND_BUFFER, 20000));
    T_IS(raw_get(fds[0], SOL_SOCKET, SO_SNDBUF), 40000);
    T_OK(filch_unix_get(a, FILCH_UNIX_SEND_BUFFER, &value));
    T_IS(value, 40000);
    T_OK(filch_unix_get(a, FILCH_UNIX_COOKIE, &value));
    T_IS((uint64_t)value, raw_get_wide(fds[0], SO_COOKIE));
    T_IS(filch_unix_set(a, FILCH_UNIX_SEND_BUFFER, -1), -EINVAL);
    T_IS(filch_unix_set(a, FILCH_UNIX_ERROR, 0), -EINVAL);
    T_IS(filch_unix_set(a, (enum filch_unix_option)99, 0), -EINVAL);
    T_IS(filch_unix_get(a, (enum filch_unix_option)99, &value), -EINVAL);
    /* The peer goes and has not read everything: told once. */
    T_IS(filch_unix_write(a, "x", 1, FILCH_NOW), 1);
    T_OK(filch_unix_close(b));
    T_OK(filch_unix_get(a, FILCH_UNIX_ERROR, &value));
    T_IS(value, -ECONNRESET);
    T_OK(filch_unix_get(a, FILCH_UNIX_ERROR, &value));
    T_IS(value, 0);
    T_OK(filch_unix_close(a));
}

Test(socket_option, of_unix_datagrams)
{
    int fds[2];
    filch_unix_dgram *a;
    int64_t value = -9;

    T_OK(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds));
    T_OK(filch_unix_dgram_adopt(fds[0], &a));
    T_OK(filch_unix_dgram_set(a, FILCH_UNIX_SEND_BUFFER, 30000));
    T_IS(raw_get(fds[0], SOL_SOCKET, SO_SNDBUF), 60000);
    T_OK(filch_unix_dgram_get(a, FILCH_UNIX_SEND_BUFFER, &value));
    T_IS(value, 60000);
    T_IS(filch_unix_dgram_set(a, FILCH_UNIX_COOKIE, 1), -EINVAL);
    T_IS(filch_unix_dgram_get(a, (enum filch_unix_option)0, &value), -EINVAL);
    T_OK(filch_unix_dgram_close(a));
    T_OK(close(fds[1]));
}
