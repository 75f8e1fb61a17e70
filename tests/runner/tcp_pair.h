/* Connections for tests: on the loopback, on ports that the kernel chooses; and plain sockets, for
 * what a filch peer never does. */
#ifndef FILCH_TESTS_RUNNER_TCP_PAIR_H
#define FILCH_TESTS_RUNNER_TCP_PAIR_H

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/runner/run.h"

struct tcp_pair {
    filch_listener *listener;
    char addr[FILCH_ADDR_BYTES]; /* of the listener */
    filch_tcp *client;
    filch_tcp *server;
};

static inline void listen_any(struct tcp_pair *pair)
{
    memset(pair, 0, sizeof(*pair));
    T_OK(filch_listener_open("127.0.0.1:0", NULL, &pair->listener));
    T_OK(filch_listener_addr(pair->listener, pair->addr));
}

/* The kernel completes the connection before it is accepted, so one task can do both. */
static inline void connect_pair(struct tcp_pair *pair)
{
    listen_any(pair);
    T_OK(filch_tcp_connect(pair->addr, &pair->client, T_LIMIT));
    T_OK(filch_listener_accept(pair->listener, &pair->server, T_LIMIT));
}

static inline void close_pair(struct tcp_pair *pair)
{
    T_OK(filch_tcp_close(pair->client));
    T_OK(filch_tcp_close(pair->server));
    T_OK(filch_listener_close(pair->listener));
}

static inline struct sockaddr_in raw_addr(const char *text)
{
    const char *colon = strrchr(text, ':');
    struct sockaddr_in addr = {.sin_family = AF_INET};

    T_CHECK(colon);
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    addr.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    return addr;
}

/* Blocks for a moment at most: it is the loopback. */
static inline void raw_connect(int fd, const char *text)
{
    struct sockaddr_in addr = raw_addr(text);

    T_OK(connect(fd, (struct sockaddr *)&addr, sizeof(addr)));
}

static inline int raw_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    T_CHECK(fd >= 0);
    return fd;
}

/* A socket bound to a free port of the loopback; its address as text. */
static inline int raw_bind(char *ret_text)
{
    struct sockaddr_in addr = {.sin_family = AF_INET};
    socklen_t bytes = sizeof(addr);
    int fd = raw_socket();

    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    T_OK(bind(fd, (struct sockaddr *)&addr, bytes));
    T_OK(getsockname(fd, (struct sockaddr *)&addr, &bytes));
    snprintf(ret_text, FILCH_ADDR_BYTES, "127.0.0.1:%u", ntohs(addr.sin_port));
    return fd;
}

/* Closes with a reset instead of an end of stream. */
static inline void raw_reset(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};

    T_OK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
    T_OK(close(fd));
}

#endif
