/* The options of UDP sockets. See option.c. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include "io/net/option.h"
#include "io/net/udp.h"

#ifndef SO_INCOMING_CPU
#define SO_INCOMING_CPU 49
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

static const struct filch__option_row rows[] = {
    [FILCH_UDP_SEND_BUFFER] = {SOL_SOCKET, SO_SNDBUF, FILCH__FORM_INT, 0},
    [FILCH_UDP_RECV_BUFFER] = {SOL_SOCKET, SO_RCVBUF, FILCH__FORM_INT, 0},
    [FILCH_UDP_REUSE_ADDR] = {SOL_SOCKET, SO_REUSEADDR, FILCH__FORM_BOOL, 0},
    [FILCH_UDP_REUSE_PORT] = {SOL_SOCKET, SO_REUSEPORT, FILCH__FORM_BOOL, 0},
    [FILCH_UDP_V6ONLY] = {IPPROTO_IPV6, IPV6_V6ONLY, FILCH__FORM_BOOL, 0},
    [FILCH_UDP_BROADCAST] = {SOL_SOCKET, SO_BROADCAST, FILCH__FORM_BOOL, 0},
    [FILCH_UDP_TTL] = {IPPROTO_IP, IP_TTL, FILCH__FORM_HOPS, IPV6_UNICAST_HOPS},
    [FILCH_UDP_MULTICAST_TTL] = {IPPROTO_IP, IP_MULTICAST_TTL, FILCH__FORM_BYTE,
                                 IPV6_MULTICAST_HOPS},
    [FILCH_UDP_MULTICAST_LOOP] = {IPPROTO_IP, IP_MULTICAST_LOOP, FILCH__FORM_BOOL,
                                  IPV6_MULTICAST_LOOP},
    [FILCH_UDP_MTU_DISCOVER] = {IPPROTO_IP, IP_MTU_DISCOVER, FILCH__FORM_INT, IPV6_MTU_DISCOVER},
    [FILCH_UDP_GRO] = {IPPROTO_UDP, UDP_GRO, FILCH__FORM_BOOL, 0},
    [FILCH_UDP_TOS] = {IPPROTO_IP, IP_TOS, FILCH__FORM_BYTE, IPV6_TCLASS},
    [FILCH_UDP_PRIORITY] = {SOL_SOCKET, SO_PRIORITY, FILCH__FORM_INT, 0},
    [FILCH_UDP_MARK] = {SOL_SOCKET, SO_MARK, FILCH__FORM_INT, 0},
    [FILCH_UDP_INCOMING_CPU] = {SOL_SOCKET, SO_INCOMING_CPU, FILCH__FORM_INT, 0},
    [FILCH_UDP_ERROR] = {SOL_SOCKET, SO_ERROR, FILCH__FORM_ERROR, 0},
    [FILCH_UDP_LOCAL_ADDR] = {IPPROTO_IP, IP_PKTINFO, FILCH__FORM_BOOL, IPV6_RECVPKTINFO},
    [FILCH_UDP_MULTICAST_ALL] = {IPPROTO_IP, IP_MULTICAST_ALL, FILCH__FORM_BOOL,
                                 IPV6_MULTICAST_ALL},
    [FILCH_UDP_BUSY_POLL] = {SOL_SOCKET, SO_BUSY_POLL, FILCH__FORM_MICROSECONDS, 0},
    [FILCH_UDP_PACING_RATE] = {SOL_SOCKET, SO_MAX_PACING_RATE, FILCH__FORM_RATE, 0},
    [FILCH_UDP_MIN_TTL] = {IPPROTO_IP, IP_MINTTL, FILCH__FORM_BYTE, IPV6_MINHOPCOUNT},
    [FILCH_UDP_FREE_BIND] = {IPPROTO_IP, IP_FREEBIND, FILCH__FORM_BOOL, IPV6_FREEBIND},
    [FILCH_UDP_TRANSPARENT] = {IPPROTO_IP, IP_TRANSPARENT, FILCH__FORM_BOOL, IPV6_TRANSPARENT},
    [FILCH_UDP_PATH_MTU] = {IPPROTO_IP, IP_MTU, FILCH__FORM_NUMBER, IPV6_MTU},
    [FILCH_UDP_COOKIE] = {SOL_SOCKET, SO_COOKIE, FILCH__FORM_COOKIE, 0},
    [FILCH_UDP_DROPPED] = {SOL_SOCKET, SO_MEMINFO, FILCH__FORM_DROPPED, 0},
    [FILCH_UDP_RECV_TOS] = {IPPROTO_IP, IP_RECVTOS, FILCH__FORM_BOOL, IPV6_RECVTCLASS},
    [FILCH_UDP_DEVICE] = {SOL_SOCKET, SO_BINDTODEVICE, FILCH__FORM_TEXT, 0},
};

static const struct filch__options udp_options = {rows, sizeof rows / sizeof rows[0]};

int filch__udp_option_set(int fd, enum filch_udp_option option, int64_t value)
{
    return filch__option_set_in(&udp_options, fd, (int)option, value);
}

int filch_udp_set(filch_udp *udp, enum filch_udp_option option, int64_t value)
{
    return filch__option_set_on(&udp_options, udp, (int)option, value);
}

int filch_udp_get(filch_udp *udp, enum filch_udp_option option, int64_t *ret_value)
{
    return filch__option_get_on(&udp_options, udp, (int)option, ret_value);
}

int filch_udp_set_text(filch_udp *udp, enum filch_udp_option option, const char *text)
{
    return filch__option_set_text_on(&udp_options, udp, (int)option, text);
}

int filch_udp_get_text(filch_udp *udp, enum filch_udp_option option, char *ret_text)
{
    return filch__option_get_text_on(&udp_options, udp, (int)option, ret_text);
}
