/* A filch echo server inside of a program that has an event loop of its own: poll(2) watches the
 * program's own pipe and the runtime's descriptor, and the runtime runs in turns, on this thread.
 *
 *     host_loop ADDR < LINES       host_loop 127.0.0.1:7000
 *
 * Port 0 picks a free one; the address is printed once connections are taken. Each line that is
 * typed is counted by the loop itself; at the end of input the server stops, and both counts are
 * printed. */
#include <filch/filch.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static unsigned long echoed; /* no lock: everything is on one thread */

static int echo(void *arg)
{
    filch_tcp *conn = arg; /* the task owns conn */
    char buf[16384];
    ssize_t n;

    while ((n = filch_tcp_read(conn, buf, sizeof buf, FILCH_NEVER)) > 0) {
        echoed += (unsigned long)n;
        if ((n = filch_tcp_write_all(conn, buf, (size_t)n, NULL, FILCH_NEVER)) < 0)
            break;
    }
    filch_tcp_close(conn);
    return (int)n;
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

/* The program's own event: something to read on standard input. Return: false at its end. */
static bool read_lines(unsigned long *lines)
{
    char buf[4096];
    ssize_t n = read(STDIN_FILENO, buf, sizeof buf);

    for (ssize_t i = 0; i < n; i++)
        *lines += buf[i] == '\n';
    return n > 0 || (n < 0 && errno == EINTR);
}

/* Until the end of input, or of the server. Return: 0; -errno. */
static int loop(filch_runtime *rt, filch_task *server)
{
    struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                           {.fd = filch_runtime_fd(rt), .events = POLLIN}};
    unsigned long lines = 0;
    bool more = true;

    if (fds[1].fd < 0)
        return fds[1].fd;
    while (more && !filch_task_is_finished(server)) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return -errno;
        /* A bounded share: what is left keeps the descriptor readable. */
        if (fds[1].revents && filch_runtime_turn(rt, 0, FILCH_MILLISECOND, NULL) < 0)
            return -EIO;
        if (fds[0].revents)
            more = read_lines(&lines);
    }
    printf("%lu lines, %lu bytes echoed\n", lines, echoed);
    return 0;
}

int main(int argc, char **argv)
{
    filch_runtime *rt;
    filch_task *server;
    int result = 0;
    int r;

    if (argc != 2) {
        fprintf(stderr, "usage: %s ADDR\n", argv[0]);
        return 2;
    }
    r = filch_runtime_start(&(filch_runtime_opts){.current_thread = true}, &rt);
    if (r < 0) {
        fprintf(stderr, "host_loop: %s\n", filch_strerror(r));
        return 1;
    }
    r = filch_runtime_spawn(rt, serve, argv[1], NULL, &server);
    if (r == 0) {
        r = loop(rt, server);
        filch_task_cancel(server);
        /* The tasks' ends, driven by this call; a plain join would wait for ever. */
        filch_runtime_shutdown(rt, FILCH_NEVER);
        if (filch_task_join(server, &result, FILCH_NOW) == 0 && result != -ECANCELED && r == 0)
            r = result;
    } else {
        filch_runtime_shutdown(rt, FILCH_NEVER);
    }
    if (r < 0)
        fprintf(stderr, "host_loop: %s: %s\n", argv[1], strerror(-r));
    return r < 0;
}
