/* Transfers: what a shard's task does with a request between its beginning and its end, and what
 * a failure of libcurl's is for the caller. What libcurl calls meanwhile: callbacks.c. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "io/http_client/client.h"

int http_transfer_begin(filch_http_response *response)
{
    struct http_shard *shard = response->shard;
    struct http_handle *handle;
    int r = http_handle_get(shard, &handle);

    if (r < 0)
        return r;
    handle->response = response;
    filch_store_relaxed(&response->request->sent, 0);
    r = http_handle_describe(handle, response->request);
    if (r == 0 && response->request->has_trailers)
        r = http_transfer_set_trailers(handle);
    if (r == 0 && curl_multi_add_handle(shard->multi, handle->easy) != CURLM_OK)
        r = -ENOMEM;
    if (r < 0) {
        http_handle_free(handle);
        return r;
    }
    response->handle = handle;
    filch_fetch_add_relaxed(&response->refs, 1);
    response->next = shard->transfers;
    response->link = &shard->transfers;
    if (response->next)
        response->next->link = &response->next;
    shard->transfers = response;
    return 0;
}

/* libcurl ends no transfer whose sending is paused, though it has the answer, and will send no more
 * because the server has refused or closes: so that is not left paused. And what it has to the end
 * by HTTP/2 it does not read on, not even to hear that it may send more (7.88, at least). */
void http_transfer_go_on(filch_http_response *response)
{
    bool is_over = response->reads_no_more || (response->has_head && response->status >= 300);
    CURLcode code;

    if (!response->handle)
        return;
    response->is_answered |= response->reads_no_more;
    pthread_mutex_lock(&response->lock);
    response->reading_waits = response->in.paused;
    response->sending_waits = response->out.paused && !is_over;
    pthread_mutex_unlock(&response->lock);
    code = http_transfer_pause(response);
    if (code == CURLE_BAD_FUNCTION_ARGUMENT) /* it has ended, or not begun */
        return;
    if (code != CURLE_OK)
        http_transfer_end(response, code);
    else if (response->reads_no_more && response->version >= 20 && !response->reading_waits)
        http_transfer_end(response, CURLE_SEND_ERROR);
}

/* ---- ending ---- */

static void finish(filch_http_response *response, int result)
{
    pthread_mutex_lock(&response->lock);
    if (!response->done) {
        filch_fetch_sub_relaxed(&response->shard->load, 1);
        response->done = true;
        response->result = result;
        response->in.ended = true;
    }
    pthread_mutex_unlock(&response->lock);
    filch_notify_one(&response->changed);
}

/* @clean: the transfer has come to a good end. */
static void take_from_libcurl(filch_http_response *response, bool clean)
{
    struct http_shard *shard = response->shard;

    curl_multi_remove_handle(shard->multi, response->handle->easy);
    /* libcurl (7.88, at least) writes the next chunks that a handle sends after trailers in front
     * of its buffer. */
    if (clean && !response->request->has_trailers)
        http_handle_put(shard, response->handle);
    else
        http_handle_free(response->handle);
    response->handle = NULL;
    *response->link = response->next;
    if (response->next)
        response->next->link = response->link;
    http_response_unref(response);
}

/* @os_error: of the connection, if libcurl has one. */
int http_transfer_failure(CURLcode code, long os_error)
{
    switch (code) {
    case CURLE_OK:
        return 0;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return -EINVAL;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return -EHOSTUNREACH;
    case CURLE_COULDNT_CONNECT:
        return os_error ? -(int)os_error : -ECONNREFUSED;
    case CURLE_ABORTED_BY_CALLBACK: /* on_connected() */
        return -ECONNRESET;
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
        return os_error ? -(int)os_error : -ECONNRESET;
    case CURLE_PARTIAL_FILE:
        return -EPIPE;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return -EKEYREJECTED;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_USE_SSL_FAILED:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_BAD_CONTENT_ENCODING:
        return -EPROTO;
    case CURLE_TOO_MANY_REDIRECTS:
        return -ELOOP;
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    default:
        return -EIO;
    }
}

/* libcurl says of what TLS has to say after the handshake, as the refusal of a client's certificate
 * is, that receiving failed. */
static bool is_tls_failure(const filch_http_response *response, CURLcode code, long os_error)
{
    return (code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR) && !os_error &&
           strstr(response->handle->text, "SSL routines");
}

/* Likewise of a proxy that refuses to connect us: it has answered that. */
static bool is_proxys_refusal(const filch_http_response *response, CURLcode code)
{
    long status = 0;

    curl_easy_getinfo(response->handle->easy, CURLINFO_HTTP_CONNECTCODE, &status);
    return code == CURLE_RECV_ERROR && status >= 300;
}

/* What a proxy that speaks SOCKS says to our request. */
static int socks_failure(const filch_http_response *response)
{
    long answer = 0;

    curl_easy_getinfo(response->handle->easy, CURLINFO_PROXY_ERROR, &answer);
    switch (answer) {
    case CURLPX_NO_AUTH:
    case CURLPX_USER_REJECTED:
    case CURLPX_REPLY_NOT_ALLOWED:
    case CURLPX_REQUEST_FAILED: /* of SOCKS 4, as the next two */
    case CURLPX_IDENTD:
    case CURLPX_IDENTD_DIFFER:
        return -EACCES;
    case CURLPX_REPLY_HOST_UNREACHABLE:
    case CURLPX_REPLY_NETWORK_UNREACHABLE:
    case CURLPX_REPLY_TTL_EXPIRED:
    case CURLPX_RESOLVE_HOST:
        return -EHOSTUNREACH;
    case CURLPX_REPLY_CONNECTION_REFUSED:
        return -ECONNREFUSED;
    case CURLPX_BAD_VERSION:
    case CURLPX_UNKNOWN_MODE:
        return -EPROTO;
    case CURLPX_CLOSED:
    case CURLPX_RECV_ADDRESS:
    case CURLPX_RECV_AUTH:
    case CURLPX_RECV_CONNECT:
    case CURLPX_RECV_REQACK:
    case CURLPX_SEND_AUTH:
    case CURLPX_SEND_CONNECT:
    case CURLPX_SEND_REQUEST:
        return -ECONNRESET;
    default:
        return -EIO;
    }
}

/* A server may end a stream of HTTP/2 that it has answered. What comes together with that end is
 * lost by libcurl (7.88, at least), which then says an error without a text. */
static bool is_lost(const filch_http_response *response, CURLcode code)
{
    return code == CURLE_HTTP2_STREAM && !*response->handle->text;
}

/* A connection that ends within the head of an answer is the end of that to libcurl (7.88, at
 * least), as if there were no body. */
static bool is_cut_off(const filch_http_response *response, CURLcode code)
{
    return code == CURLE_OK && !response->is_head_whole;
}

/* Of what is no HTTP libcurl says that it does not support the protocol, or that receiving failed.
 */
static bool is_no_http(const filch_http_response *response, CURLcode code, long os_error)
{
    return (code == CURLE_UNSUPPORTED_PROTOCOL && response->is_sent) ||
           (code == CURLE_RECV_ERROR && !os_error &&
            strstr(response->handle->text, "chunked-encoding"));
}

/* What has failed, where that is another place than where it was noticed. Return: the code. */
static int judge_failure(filch_http_response *response, CURLcode code)
{
    long os_error = 0;

    if (response->no_memory)
        return -ENOMEM;
    curl_easy_getinfo(response->handle->easy, CURLINFO_OS_ERRNO, &os_error);
    if (code == CURLE_SSL_CERTPROBLEM || code == CURLE_SSL_CACERT_BADFILE ||
        code == CURLE_SSL_CIPHER) { /* options of ours */
        http_transfer_phase(response, FILCH_HTTP_PREPARE);
        return -EINVAL;
    }
    if (is_no_http(response, code, os_error)) {
        http_transfer_phase(response, FILCH_HTTP_RECEIVE);
        return -EPROTO;
    }
    if (is_proxys_refusal(response, code)) {
        http_transfer_phase(response, FILCH_HTTP_CONNECT);
        return -EACCES;
    }
    if (code == CURLE_PROXY) {
        http_transfer_phase(response, FILCH_HTTP_CONNECT);
        return socks_failure(response);
    }
    if (is_tls_failure(response, code, os_error)) {
        if (!response->has_head)
            http_transfer_phase(response, FILCH_HTTP_TLS);
        return -EPROTO;
    }
    return is_cut_off(response, code) || is_lost(response, code)
               ? -EPIPE
               : http_transfer_failure(code, os_error);
}

static void say_why(filch_http_response *response, CURLcode code)
{
    const char *text = curl_easy_strerror(code);

    if (code == CURLE_ABORTED_BY_CALLBACK)
        text = "the connection ended without an answer, and the request may have been done";
    else if (is_cut_off(response, code))
        text = "the connection ended within the head of the answer";
    else if (is_lost(response, code))
        text = "the server has answered before it had all of the body, and libcurl lost that";
    else if (*response->handle->text)
        text = response->handle->text;
    pthread_mutex_lock(&response->lock);
    snprintf(response->text, sizeof(response->text), "%s", text);
    pthread_mutex_unlock(&response->lock);
}

/* Is all of the answer there, although sending has failed? */
static bool is_answered(const filch_http_response *response, CURLcode code)
{
    CURL *easy = response->handle->easy;
    curl_off_t total = -1, received = 0;

    if (code != CURLE_SEND_ERROR && code != CURLE_RECV_ERROR && code != CURLE_HTTP2_STREAM &&
        code != CURLE_OPERATION_TIMEDOUT)
        return false;
    if (!response->has_head || response->reading_waits || response->no_memory)
        return false;
    curl_easy_getinfo(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &total);
    curl_easy_getinfo(easy, CURLINFO_SIZE_DOWNLOAD_T, &received);
    return total < 0 ? response->is_answered : total == received;
}

void http_transfer_end(filch_http_response *response, CURLcode code)
{
    bool clean = code == CURLE_OK;
    int result = !clean && is_answered(response, code) ? 0 : judge_failure(response, code);

    if (result == 0) {
        curl_easy_getinfo(response->handle->easy, CURLINFO_RESPONSE_CODE, &response->status);
        http_transfer_hand_over(response);
    } else {
        say_why(response, code);
    }
    finish(response, result);
    take_from_libcurl(response, clean && result == 0);
}

void http_transfer_abort(filch_http_response *response, int error)
{
    finish(response, error);
    if (response->handle)
        take_from_libcurl(response, false);
}
