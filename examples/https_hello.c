/* "Hello, World!" over HTTPS.
 *
 *     https_hello ADDR CERT KEY [WORKERS]     https_hello 127.0.0.1:8443 cert.pem key.pem
 *
 * SIGHUP reads the certificate again, and connections go on; SIGTERM and SIGINT end gracefully. */
#include <filch/filch.h>
#include <filch/http_tls.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const protocols[] = {"h2", "http/1.1", NULL};
static filch_tls_opts tls_opts = {.alpn = protocols};
static filch_tls_context *context;

static int hello(filch_exchange *x, void *unused)
{
    (void)unused;
    return filch_exchange_reply(x, 200, "text/plain", "Hello, World!", 13, FILCH_NEVER);
}

static int reload_by_signal(void *arg)
{
    filch_error error = FILCH_ERROR_INIT;
    int r;

    while ((r = filch_signal_wait(arg, NULL, FILCH_NEVER)) == 0)
        if (filch_tls_context_reload(context, &tls_opts, &error) < 0)
            fprintf(stderr, "the old certificate stays: %s\n", error.text);
    return r;
}

static int serve(filch_http_server *server, filch_signal *hup, const char *addr)
{
    char bound[FILCH_ADDR_BYTES];
    filch_listener *listener;
    int r = filch_listener_open(addr, NULL, &listener);

    if (r < 0)
        return r;
    FILCH_SCOPE(scope);
    r = filch_scope_spawn(&scope, reload_by_signal, hup);
    if (r == 0 && filch_listener_addr(listener, bound) == 0)
        printf("listening on %s\n", bound);
    fflush(stdout);
    if (r == 0)
        r = filch_http_serve_until_signal(server, listener, 5 * FILCH_SECOND, FILCH_NEVER);
    filch_scope_cancel_join(&scope);
    filch_listener_close(listener);
    return r;
}

static int run(void *arg)
{
    filch_error error = FILCH_ERROR_INIT;
    filch_http_server *server = NULL;
    filch_signal *hup = NULL;
    filch_http_wrap tls;
    int r = filch_tls_server_new(&tls_opts, &context, &error);

    if (r < 0)
        fprintf(stderr, "https_hello: %s\n", error.text);
    tls = filch_http_over_tls(context);
    if (r == 0)
        r = filch_http_server_new(&(filch_http_server_opts){.wrap = &tls}, &server);
    if (r == 0)
        r = filch_http_route_flags(server, NULL, "/", hello, NULL, FILCH_HTTP_PROMPT);
    if (r == 0)
        r = filch_signal_open(SIGHUP, &hup);
    if (r == 0)
        r = serve(server, hup, arg);
    filch_signal_close(hup);
    filch_http_server_free(server);
    filch_tls_context_unref(context);
    return r;
}

int main(int argc, char **argv)
{
    filch_runtime_opts opts = {0};
    int r;

    if (argc < 4 || argc > 5) {
        fprintf(stderr, "usage: %s ADDR CERT KEY [WORKERS]\n", argv[0]);
        return 2;
    }
    tls_opts.cert_file = argv[2];
    tls_opts.key_file = argv[3];
    if (argc > 4)
        opts.workers = (unsigned)strtoul(argv[4], NULL, 10);
    r = filch_main(run, argv[1], &opts);
    if (r < 0)
        fprintf(stderr, "https_hello: %s: %s\n", argv[1], filch_strerror(r));
    return r < 0;
}
