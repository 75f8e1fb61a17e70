/* TLS below an HTTP server. Only types of filch-http are used, none of its functions, so neither
 * library needs the other.
 *
 * The close_notify is the server's to send, by the finish of the stream: it knows whether the last
 * answer was whole. Here the connection is only given back. */
#include <string.h>

#include <filch/http_tls.h>

static int begin_tls(void *context, filch_tcp *conn, filch_http_wrapped *ret_wrapped,
                     filch_time until)
{
    filch_tls *tls;
    filch_tls_info info;
    int r = filch_tls_accept(context, filch_tcp_io(conn), &tls, NULL, until);

    if (r < 0)
        return r;
    r = filch_tls_get_info(tls, &info);
    if (r < 0) {
        filch_tls_free(tls);
        return r;
    }
    *ret_wrapped = (filch_http_wrapped){
        .io = filch_tls_io(tls), .state = tls, .http2 = strcmp(info.alpn, "h2") == 0};
    return 0;
}

static void end_tls(void *context, void *state)
{
    (void)context;
    filch_tls_free(state);
}

filch_http_wrap filch_http_over_tls(filch_tls_context *context)
{
    return (filch_http_wrap){.begin = begin_tls, .end = end_tls, .context = context};
}
