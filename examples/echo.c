/* A TCP echo server: one task per connection, straight-line code, buffers on the stack.
 *
 *     echo ADDR [WORKERS [IDLE_SECONDS]]       echo 127.0.0.1:7000
 *
 * Port 0 picks a free one; the address is printed once connections are taken. A connection that
 * sends nothing for IDLE_SECONDS is closed (0, the default: never). */
#include <filch/filch.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static filch_time idle_ns; /* set before the runtime starts */

static int echo(void *arg)
{
    filch_tcp *conn = arg; /* the task owns conn */
    char buf[16384];
    ssize_t n;

    while ((n = filch_tcp_read(conn, buf, sizeof buf,
                               idle_ns ? filch_after(idle_ns) : FILCH_NEVER)) > 0)
        if ((n = filch_tcp_write_all(conn, buf, (size_t)n, NULL, FILCH_NEVER)) < 0)
            break;
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

    if (argc < 2 || argc > 4) {
        fprintf(stderr, "usage: %s ADDR [WORKERS [IDLE_SECONDS]]\n", argv[0]);
        return 2;
    }
    if (argc > 2)
        opts.workers = (unsigned)strtoul(argv[2], NULL, 10);
    if (argc > 3)
        idle_ns = strtoul(argv[3], NULL, 10) * FILCH_SECOND;
    r = filch_main(serve, argv[1], &opts);
    if (r < 0)
        fprintf(stderr, "echo: %s: %s\n", argv[1], strerror(-r));
    return r < 0;
}
