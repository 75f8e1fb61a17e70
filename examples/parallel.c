/* A server that computes: a connection sends a number, and gets how many primes there are below it.
 * All workers work at a large one; small ones that come meanwhile do not wait for it. */
#include <filch/filch.h>

#include <stdio.h>
#include <stdlib.h>

FILCH_FOLD(count_primes, unsigned, count, void *, unused, n)
{
    (void)unused;
    for (size_t d = 2; d * d <= n; d++)
        if (n % d == 0)
            return 0;
    *count += n >= 2;
    return 0;
}

FILCH_COMBINE(add, unsigned, left, right)
{
    *left += *right;
}

static int answer(void *arg)
{
    filch_tcp *conn = arg;
    char text[32] = "";
    unsigned zero = 0, count;
    ssize_t r = filch_tcp_read(conn, text, sizeof text - 1, FILCH_NEVER);

    if (r > 0 && filch_parallel_reduce(0, strtoul(text, NULL, 10), sizeof count, &zero,
                                       count_primes, add, NULL, NULL, &count) == 0) {
        size_t bytes = (size_t)snprintf(text, sizeof text, "%u\n", count);

        r = filch_tcp_write_all(conn, text, bytes, NULL, FILCH_NEVER);
    }
    filch_tcp_close(conn);
    return (int)r;
}

static int serve(void *arg)
{
    char addr[FILCH_ADDR_BYTES];
    filch_listener *ln;
    filch_tcp *conn;
    int r = filch_listener_open(arg, NULL, &ln);

    if (r < 0)
        return r;
    FILCH_SCOPE(conns);
    if (filch_listener_addr(ln, addr) == 0)
        printf("listening on %s\n", addr);
    fflush(stdout);
    while ((r = filch_listener_accept(ln, &conn, FILCH_NEVER)) == 0)
        if (filch_scope_spawn(&conns, answer, conn) < 0)
            filch_tcp_close(conn);
    filch_scope_cancel_join(&conns);
    return filch_listener_close(ln);
}

int main(int argc, char **argv)
{
    return argc == 2 ? filch_main(serve, argv[1], NULL) < 0 : 2;
}
