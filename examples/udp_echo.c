/* A UDP echo server: a task that receives what has arrived and sends it back, up to 32 datagrams by
 * two system calls. One task for one socket: two would wake each other up for half of the batch,
 * and wait for the socket's lock. More CPUs want more sockets (FILCH_UDP_REUSE_PORT), each with a
 * task.
 *
 *     udp_echo ADDR [WORKERS]       udp_echo 127.0.0.1:7000
 *
 * There is one worker unless WORKERS says otherwise. Port 0 picks a free one; the address is
 * printed once datagrams are taken. */
#include <filch/filch.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 32, DATAGRAM_BYTES = 2048 };

static int echo(filch_udp *udp)
{
    char *bufs = malloc((size_t)BATCH * DATAGRAM_BYTES);
    filch_datagram datagrams[BATCH];
    ssize_t n, sent = 0;

    if (!bufs)
        return -ENOMEM;
    for (;;) {
        for (size_t i = 0; i < BATCH; i++)
            datagrams[i] =
                (filch_datagram){.buf = bufs + i * DATAGRAM_BYTES, .bytes = DATAGRAM_BYTES};
        n = filch_udp_recv_many(udp, datagrams, BATCH, FILCH_NEVER);
        if (n < 0)
            break;
        for (ssize_t i = 0; i < n; i++)
            datagrams[i].bytes =
                datagrams[i].size < DATAGRAM_BYTES ? datagrams[i].size : DATAGRAM_BYTES;
        /* One that cannot be sent is nobody's business but its sender's. */
        for (ssize_t at = 0; at < n && sent != -ECANCELED; at += sent > 0 ? sent : 1)
            sent = filch_udp_send_many(udp, datagrams + at, (size_t)(n - at), FILCH_NEVER);
    }
    free(bufs);
    return (int)n;
}

static int serve(void *arg)
{
    char text[FILCH_ADDR_BYTES];
    filch_addr addr;
    filch_udp *udp;
    int r = filch_udp_open(arg, NULL, &udp);

    if (r < 0)
        return r;
    if (filch_udp_local_addr(udp, &addr) == 0 && filch_addr_text(&addr, text) == 0)
        printf("listening on %s\n", text);
    fflush(stdout); /* who started us may be waiting for the port */

    r = echo(udp);
    filch_udp_close(udp);
    return r;
}

int main(int argc, char **argv)
{
    filch_runtime_opts opts = {.workers = 1};
    int r;

    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s ADDR [WORKERS]\n", argv[0]);
        return 2;
    }
    if (argc > 2)
        opts.workers = (unsigned)strtoul(argv[2], NULL, 10);
    r = filch_main(serve, argv[1], &opts);
    if (r < 0)
        fprintf(stderr, "udp_echo: %s: %s\n", argv[1], strerror(-r));
    return r < 0;
}
