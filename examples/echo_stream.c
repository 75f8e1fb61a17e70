/* A TCP echo server for many busy connections: as echo.c, but each connection is read by a standing
 * request, and what came is sent from where the kernel has put it.
 *
 *     echo_stream ADDR [WORKERS]       echo_stream 127.0.0.1:7000
 *
 * Port 0 picks a free one; the address is printed once connections are taken. */
#include <filch/filch.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int echo(void *arg)
{
    filch_tcp *conn = arg; /* the task owns conn */
    filch_tcp_stream *in;
    filch_view view;
    ssize_t n = filch_tcp_stream_open(conn, NULL, &in);

    if (n == 0) {
        while ((n = filch_tcp_stream_fill(in, &view, FILCH_NEVER)) > 0) {
            n = filch_tcp_write_all(conn, view.data, view.bytes, NULL, FILCH_NEVER);
            filch_tcp_stream_consume(in, view.bytes); /* the buffer is the kernel's again */
            if (n < 0)
                break;
        }
        filch_tcp_stream_close(in);
    }
    filch_tcp_close(conn);
    return (int)n; /* 0 = peer closed, else -errno */
}

static int serve(void *arg)
{
    char addr[FILCH_ADDR_BYTES];
    filch_listener *ln;
    filch_tcp *conn;
    int r = filch_listener_open(arg, NULL, &ln);

    if (r < 0)
        return r;
    if (filch_listener_addr(ln, addr) == 0)
        printf("listening on %s\n", addr);
    fflush(stdout); /* who started us may be waiting for the port */

    FILCH_SCOPE(conns);
    while ((r = filch_listener_accept(ln, &conn, FILCH_NEVER)) == 0)
        if (filch_scope_spawn(&conns, echo, conn) < 0) /* consumes conn only on success */
            filch_tcp_close(conn);
    filch_scope_cancel_join(&conns); /* no task outlives its scope */
    filch_listener_close(ln);
    return r;
}

int main(int argc, char **argv)
{
    filch_runtime_opts opts = {0};
    int r;

    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s ADDR [WORKERS]\n", argv[0]);
        return 2;
    }
    if (argc > 2)
        opts.workers = (unsigned)strtoul(argv[2], NULL, 10);
    r = filch_main(serve, argv[1], &opts);
    if (r < 0)
        fprintf(stderr, "echo_stream: %s: %s\n", argv[1], strerror(-r));
    return r < 0;
}
