/* A TLS proxy: takes TLS connections, and passes what comes through to a plain upstream, and back.
 *
 *     tls_proxy ADDR CERT KEY UPSTREAM    tls_proxy 127.0.0.1:8443 cert.pem key.pem 127.0.0.1:8080
 *
 * SIGHUP reads the certificate again; connections go on. Port 0 picks a free one. */
#include <filch/filch.h>
#include <filch/tls.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>

static filch_tls_context *context;
static filch_tls_opts tls_opts;
static const char *upstream_addr;

static int proxy(void *arg)
{
    filch_tcp *client = arg, *upstream = NULL; /* the task owns client */
    filch_error error = FILCH_ERROR_INIT;
    filch_tls *tls = NULL;
    int r = filch_tls_accept(context, filch_tcp_io(client), &tls, &error,
                             filch_after(5 * FILCH_SECOND));

    if (r < 0)
        fprintf(stderr, "a handshake: %s\n", error.text);
    if (r == 0)
        r = filch_tcp_connect(upstream_addr, &upstream, filch_after(5 * FILCH_SECOND));
    if (r == 0)
        r = filch_copy_both(filch_tls_io(tls), filch_tcp_io(upstream), NULL, NULL, FILCH_NEVER);
    filch_tls_free(tls);
    filch_tcp_close(upstream);
    filch_tcp_close(client);
    return r;
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

static int serve(filch_listener *ln, filch_signal *hup)
{
    char bound[FILCH_ADDR_BYTES];
    filch_tcp *client;
    int r;

    FILCH_SCOPE(tasks);
    r = filch_scope_spawn(&tasks, reload_by_signal, hup);
    if (r == 0 && filch_listener_addr(ln, bound) == 0)
        printf("listening on %s\n", bound);
    fflush(stdout); /* who started us may be waiting for the port */
    while (r == 0 && (r = filch_listener_accept(ln, &client, FILCH_NEVER)) == 0)
        if (filch_scope_spawn(&tasks, proxy, client) < 0) /* consumes client only on success */
            filch_tcp_close(client);
    filch_scope_cancel_join(&tasks);
    return r;
}

static int proxy_main(void *arg)
{
    filch_error error = FILCH_ERROR_INIT;
    filch_signal *hup = NULL;
    filch_listener *ln = NULL;
    int r = filch_tls_server_new(&tls_opts, &context, &error);

    if (r < 0)
        fprintf(stderr, "tls_proxy: %s\n", error.text);
    if (r == 0)
        r = filch_signal_open(SIGHUP, &hup);
    if (r == 0)
        r = filch_listener_open(arg, NULL, &ln);
    if (r == 0)
        r = serve(ln, hup);
    filch_listener_close(ln);
    filch_signal_close(hup);
    filch_tls_context_unref(context);
    return r;
}

int main(int argc, char **argv)
{
    int r;

    if (argc != 5) {
        fprintf(stderr, "usage: %s ADDR CERT KEY UPSTREAM\n", argv[0]);
        return 2;
    }
    tls_opts = (filch_tls_opts){.cert_file = argv[2], .key_file = argv[3]};
    upstream_addr = argv[4];
    r = filch_main(proxy_main, argv[1], NULL);
    if (r < 0)
        fprintf(stderr, "tls_proxy: %s: %s\n", argv[1], strerror(-r));
    return r < 0;
}
