/* A server whose accept loop is a stream: the first three connections get a greeting, and of each a
 * line says so, or what went wrong. Stages that work on streams work on connections, too. */
#include <filch/filch.h>

#include <errno.h>
#include <stdio.h>

static int greet(void *context, const void *item)
{
    filch_tcp *conn = *(filch_tcp *const *)item; /* ours to close */
    int r = filch_tcp_write_all(conn, "hello\n", 6, NULL, filch_after(5 * FILCH_SECOND));

    filch_tcp_close(conn);
    printf("client %d: %s\n", ++*(int *)context, r < 0 ? filch_strerror(r) : "greeted");
    return r == -ECANCELED ? r : 0; /* other errors are this connection's alone */
}

static int serve(void *arg)
{
    filch_listener_stream conns;
    filch_take_stream three;
    filch_listener *ln;
    char addr[FILCH_ADDR_BYTES];
    int clients = 0, r = filch_listener_open(arg, NULL, &ln);

    if (r < 0)
        return r;
    if (filch_listener_addr(ln, addr) == 0)
        printf("listening on %s\n", addr);
    fflush(stdout);
    if ((r = filch_listener_stream_init(&conns, ln)) == 0 &&
        (r = filch_take_stream_init(&three, &conns.base, 3)) == 0) {
        r = filch_stream_for_each(&three.base, greet, &clients, FILCH_NEVER);
        filch_stream_drop(&three.base); /* before the listener goes */
    }
    if (r < 0)
        printf("no more clients: %s\n", filch_strerror(r));
    filch_listener_close(ln);
    return r;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s ADDR\n", argv[0]);
        return 2;
    }
    return filch_main(serve, argv[1], NULL) < 0;
}
