/* What stands on both sides of a proxy that is measured: a thread that sends bytes, and one that
 * receives and checks them, by blocking calls over loopback TCP; the same for every proxy.
 *
 *     source thread --> [in   the proxy   out] --> sink thread
 *
 * The source ends its side; the sink closes when the end has come through. */
#ifndef PROXY_ENDS_H
#define PROXY_ENDS_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PROXY_PIECE = 128 << 10 };

struct proxy_ends {
    int in, out; /* the proxy's, whose to close */
    int source, sink;
    uint64_t bytes, received;
    bool right;
    pthread_t threads[2];
};

/* Byte number n of the stream is the one at n modulo the piece. */
static inline void proxy_fill(unsigned char *piece)
{
    for (uint32_t i = 0; i < PROXY_PIECE; i++)
        piece[i] = (unsigned char)(i * 2654435761u >> 24);
}

static inline void *proxy_source(void *arg)
{
    struct proxy_ends *ends = arg;
    unsigned char *piece = malloc(PROXY_PIECE);
    uint64_t sent = 0;

    proxy_fill(piece);
    while (sent < ends->bytes) {
        size_t at = sent % PROXY_PIECE, n = PROXY_PIECE - at;
        ssize_t done =
            send(ends->source, piece + at,
                 n < ends->bytes - sent ? n : (size_t)(ends->bytes - sent), MSG_NOSIGNAL);

        if (done <= 0)
            break;
        sent += (uint64_t)done;
    }
    shutdown(ends->source, SHUT_WR);
    free(piece);
    return NULL;
}

static inline void *proxy_sink(void *arg)
{
    struct proxy_ends *ends = arg;
    unsigned char *piece = malloc(PROXY_PIECE), *got = malloc(PROXY_PIECE);
    ssize_t n;

    proxy_fill(piece);
    ends->right = true;
    for (;;) {
        size_t at = ends->received % PROXY_PIECE;

        n = recv(ends->sink, got, PROXY_PIECE - at, 0);
        if (n <= 0)
            break;
        if (memcmp(got, piece + at, (size_t)n) != 0)
            ends->right = false;
        ends->received += (uint64_t)n;
    }
    close(ends->sink);
    free(piece);
    free(got);
    return NULL;
}

static inline bool proxy_pair(int *ret_a, int *ret_b)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof addr;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok;

    *ret_a = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ok = bind(listener, (struct sockaddr *)&addr, size) == 0 && listen(listener, 1) == 0 &&
         getsockname(listener, (struct sockaddr *)&addr, &size) == 0 &&
         connect(*ret_a, (struct sockaddr *)&addr, size) == 0;
    *ret_b = ok ? accept4(listener, NULL, NULL, SOCK_CLOEXEC) : -1;
    close(listener);
    return ok && *ret_b >= 0;
}

/* Connects, and starts both threads. Return: false: it cannot. */
static inline bool proxy_begin(struct proxy_ends *ends, uint64_t bytes)
{
    memset(ends, 0, sizeof *ends);
    ends->bytes = bytes;
    return proxy_pair(&ends->source, &ends->in) && proxy_pair(&ends->out, &ends->sink) &&
           pthread_create(&ends->threads[0], NULL, proxy_source, ends) == 0 &&
           pthread_create(&ends->threads[1], NULL, proxy_sink, ends) == 0;
}

/* When the proxy is done. Return: has everything arrived as it was sent? */
static inline bool proxy_end(struct proxy_ends *ends)
{
    pthread_join(ends->threads[0], NULL);
    pthread_join(ends->threads[1], NULL);
    close(ends->source);
    return ends->right && ends->received == ends->bytes;
}

#endif
