/* "Hello, World!" over HTTP/1.1.
 *
 *     http_hello ADDR [WORKERS]       http_hello 127.0.0.1:8080
 *
 * A handler is an ordinary function in the task of its connection; what HTTP demands besides is the
 * server's. SIGTERM and SIGINT end it gracefully: requests under way are answered first. */
#include <filch/filch.h>
#include <filch/http_server.h>

#include <stdio.h>
#include <stdlib.h>

static int hello(filch_exchange *x, void *context)
{
    (void)context;
    return filch_exchange_reply(x, 200, "text/plain", "Hello, World!", 13, FILCH_NEVER);
}

static int run(void *arg)
{
    char addr[FILCH_ADDR_BYTES];
    filch_http_server *server;
    filch_listener *listener;
    int r = filch_http_server_new(NULL, &server);

    if (r < 0)
        return r;
    r = filch_http_route_flags(server, NULL, "/", hello, NULL, FILCH_HTTP_PROMPT);
    if (r == 0)
        r = filch_listener_open(arg, NULL, &listener);
    if (r == 0) {
        filch_listener_addr(listener, addr);
        printf("listening on %s\n", addr);
        fflush(stdout);
        r = filch_http_serve_until_signal(server, listener, 5 * FILCH_SECOND, FILCH_NEVER);
        filch_listener_close(listener);
    }
    filch_http_server_free(server);
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
    r = filch_main(run, argv[1], &opts);
    if (r < 0)
        fprintf(stderr, "http_hello: %s: %s\n", argv[1], filch_strerror(r));
    return r < 0;
}
