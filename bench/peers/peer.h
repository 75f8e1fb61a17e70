/* What the C echo servers share: `echo [--workers N] [options]`, a listener on a free port of
 * 127.0.0.1, and the line `port N` that the harness waits for. All of them run one loop. */
#ifndef PEER_H
#define PEER_H
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { PEER_BUFFER_BYTES = 16384, PEER_BACKLOG = 4096 };

static inline void peer_die(const char *what)
{
    perror(what);
    exit(1);
}

static inline bool peer_has_option(int argc, char **argv, const char *name)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return false;
}

static inline void peer_raise_file_limit(void)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

static inline void peer_print_port(int fd)
{
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    getsockname(fd, (struct sockaddr *)&addr, &len);
    printf("port %u\n", ntohs(addr.sin_port));
    fflush(stdout);
}

/* TCP_NODELAY set here is inherited by every accepted socket. */
static inline int peer_listen(int extra_socket_flags)
{
    int one = 1;
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    peer_raise_file_limit();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | extra_socket_flags, 0);
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0 ||
        bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0 || listen(fd, PEER_BACKLOG) < 0)
        peer_die("listen");
    peer_print_port(fd);
    return fd;
}

#endif
