/* libcurl's handles. One is set up for the client when it is made: that takes forty calls, most of
 * which copy something. What differs between requests is set for each, and unset by the next; so a
 * handle is never reset. It is used again when its transfer has come to a good end, else not: who
 * knows what libcurl remembers of it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/http_client/client.h"

#define SPARES_MAX 64
/* More than libcurl reads of a connection by HTTP/2 at a time, with the head unpacked: what does
 * not fit into this, 7.88 at least mixes up with what comes next when the sending ends meanwhile.
 */
#define H2_READ_BYTES (128L * 1024)

#define SET(option, value) HTTP_SET(easy, (option), (value))

/* The proxy, and TLS. */
static int set_security(const filch_http_client_opts *opts, CURL *easy)
{
    if (opts->proxy)
        SET(CURLOPT_PROXY, opts->proxy);
    if (opts->ca_file || opts->ca_dir) { /* libcurl would trust the system's as well */
        SET(CURLOPT_CAINFO, opts->ca_file);
        SET(CURLOPT_CAPATH, opts->ca_dir);
    }
    if (opts->cert_file) {
        SET(CURLOPT_SSLCERT, opts->cert_file);
        SET(CURLOPT_SSLKEY, opts->key_file);
    }
    if (opts->insecure) {
        SET(CURLOPT_SSL_VERIFYPEER, 0L);
        SET(CURLOPT_SSL_VERIFYHOST, 0L);
    }
    SET(CURLOPT_SSLVERSION,
        opts->tls_min == 13 ? CURL_SSLVERSION_TLSv1_3 : CURL_SSLVERSION_TLSv1_2);
    if (opts->ciphers)
        SET(CURLOPT_SSL_CIPHER_LIST, opts->ciphers);
    if (opts->ciphersuites)
        SET(CURLOPT_TLS13_CIPHERS, opts->ciphersuites);
    return 0;
}

static int set_client(struct http_shard *shard, CURL *easy)
{
    const filch_http_client *client = shard->client;
    const filch_http_client_opts *opts = &client->opts;

    SET(CURLOPT_CLOSESOCKETFUNCTION, http_socket_close);
    SET(CURLOPT_CLOSESOCKETDATA, shard);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, opts->no_redirects ? 0L : 1L);
    SET(CURLOPT_MAXREDIRS, (long)opts->redirects_max);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)(opts->connect_ns / FILCH_MILLISECOND) ?: 1L);
    SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
    SET(CURLOPT_LOW_SPEED_TIME, (long)(opts->stall_ns / FILCH_SECOND));
    if (opts->http2 && !client->may_reuse_http2)
        SET(CURLOPT_FORBID_REUSE, 1L);
    if (client->may_share)
        SET(CURLOPT_PIPEWAIT, 1L); /* rather share a connection by HTTP/2 than make one more */
    else
        SET(CURLOPT_BUFFERSIZE, H2_READ_BYTES);
    SET(CURLOPT_USERAGENT, opts->user_agent ? opts->user_agent : "filch/" FILCH_VERSION);
    if (!opts->no_compression)
        SET(CURLOPT_ACCEPT_ENCODING, "");
    if (client->cookies) {
        SET(CURLOPT_COOKIEFILE, "");
        SET(CURLOPT_SHARE, client->cookies);
    }
    return set_security(opts, easy);
}

static struct http_handle *handle_new(void)
{
    struct http_handle *handle = calloc(1, sizeof(*handle));

    if (!handle)
        return NULL;
    handle->easy = curl_easy_init();
    if (!handle->easy) {
        free(handle);
        return NULL;
    }
    return handle;
}

void http_handle_free(struct http_handle *handle)
{
    curl_easy_cleanup(handle->easy);
    free(handle);
}

static int set_up(struct http_shard *shard, struct http_handle *handle)
{
    CURL *easy = handle->easy;
    int r;

    SET(CURLOPT_PRIVATE, handle);
    SET(CURLOPT_ERRORBUFFER, handle->text);
    r = http_transfer_set_calls(handle);
    return r < 0 ? r : set_client(shard, easy);
}

int http_handle_get(struct http_shard *shard, struct http_handle **ret_handle)
{
    struct http_handle *handle = shard->spare;
    int r;

    if (handle) {
        shard->spare = handle->next;
        shard->spares--;
        *ret_handle = handle;
        return 0;
    }
    handle = handle_new();
    if (!handle)
        return -ENOMEM;
    r = set_up(shard, handle);
    if (r < 0) {
        http_handle_free(handle);
        return r;
    }
    *ret_handle = handle;
    return 0;
}

void http_handle_put(struct http_shard *shard, struct http_handle *handle)
{
    if (shard->spares == SPARES_MAX) {
        http_handle_free(handle);
        return;
    }
    handle->response = NULL;
    *handle->text = '\0';
    handle->next = shard->spare;
    shard->spare = handle;
    shard->spares++;
}

/* libcurl sends trailers behind chunks only, which HTTP/2 does not have. And with HTTP/2, if it is
 * old, it loses answers that come while a body is being sent. */
static long version_of(const filch_http_request *request)
{
    const filch_http_client_opts *opts = &request->client->opts;
    bool loses = request->has_reader && !request->client->may_share && !opts->http2;

    return opts->http1 || request->has_trailers || loses ? CURL_HTTP_VERSION_1_1
           : opts->http2                                 ? CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE
                                                         : CURL_HTTP_VERSION_2TLS;
}

/* libcurl's own methods where it has them: a custom one would stay after a redirect that makes it
 * GET. */
int http_handle_describe(struct http_handle *handle, const filch_http_request *request)
{
    CURL *easy = handle->easy;
    const char *method = request->method;
    curl_off_t bytes = request->has_reader ? request->reader_bytes : (int64_t)request->body_bytes;
    bool has_body = request->has_body || request->has_reader;

    SET(CURLOPT_URL, request->url);
    SET(CURLOPT_HTTPHEADER, request->fields);
    SET(CURLOPT_HTTP_VERSION, version_of(request));
    SET(CURLOPT_HTTPGET, 1L); /* unsets the others */
    SET(CURLOPT_CUSTOMREQUEST, NULL);
    if (strcmp(method, "POST") == 0) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, bytes);
    } else if (has_body) {
        SET(CURLOPT_UPLOAD, 1L);
        SET(CURLOPT_INFILESIZE_LARGE, bytes);
        if (strcmp(method, "PUT") != 0)
            SET(CURLOPT_CUSTOMREQUEST, method);
    } else if (strcmp(method, "HEAD") == 0) {
        SET(CURLOPT_NOBODY, 1L);
    } else if (strcmp(method, "GET") != 0) {
        SET(CURLOPT_CUSTOMREQUEST, method);
    }
    return 0;
}
