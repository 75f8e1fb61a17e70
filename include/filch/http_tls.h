/* HTTPS: an HTTP server whose connections speak TLS. Of the library filch-tls; the server itself,
 * filch-http, links no OpenSSL.
 *
 *     filch_tls_opts tls = {.cert_file = "cert.pem", .key_file = "key.pem",
 *                           .alpn = (const char *const[]){"h2", "http/1.1", NULL}};
 *     filch_http_wrap wrap;
 *
 *     r = filch_tls_server_new(&tls, &context, &error);
 *     wrap = filch_http_over_tls(context);
 *     r = filch_http_server_new(&(filch_http_server_opts){.wrap = &wrap}, &server);
 *
 * With "h2" among its protocols a peer that knows it gets HTTP/2. A handshake has to be done within
 * the server's head_ns; those that cost too much go to a class of
 * blocking jobs (handshake_class of filch_tls_opts). filch_tls_context_reload() changes the
 * certificate while the server serves: connections go on with the old one. Connections that end
 * properly, also by a drain, say so to their peers (close_notify); an answer that was cut off does
 * not look like one that has ended.
 */
#ifndef FILCH_HTTP_TLS_H
#define FILCH_HTTP_TLS_H

#include <filch/base.h>
#include <filch/http_server.h>
#include <filch/tls.h>

FILCH_BEGIN_DECLS

/**
 * filch_http_over_tls() - TLS as an option of an HTTP server
 * @context: a server's; borrowed until filch_http_server_free(). One of a client, or NULL, lets no
 *           connection in: their handshakes fail with -EINVAL
 *
 * filch_exchange_wrapped() gives a handler its connection's filch_tls. Thread-safety: any.
 * Suspends: no. Return: what `wrap` of filch_http_server_opts points to.
 */
FILCH_API filch_http_wrap filch_http_over_tls(filch_tls_context *context);

FILCH_END_DECLS

#endif
