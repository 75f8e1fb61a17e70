/* Transfers: what the client's task and libcurl do with a request, and what libcurl calls back.
 *
 * Bodies pass through two bounded buffers. Where one has no room for what libcurl gives at most at
 * a time, or is empty, libcurl is told to pause the transfer, and `paused` says so; the owner, when
 * it has made room or put bytes in, asks to go on. Both look at the buffer under the response's
 * lock, so one of them always sees the other.
 *
 * The head of an answer is the task's until it is complete, then the owner's: has_head, under the
 * lock, hands it over. Heads of answers that are not the last one (100, a redirect that is
 * followed) are dropped when the next one begins.
 *
 * How far a request has come is noted by calls that libcurl makes on the way, so that an error, and
 * a time that is up, can say where. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/http_client/client.h"

#define FIELDS_MAX ((size_t)256 * 1024)

static void set_phase(filch_http_response *response, enum filch_http_phase phase)
{
    pthread_mutex_lock(&response->lock);
    response->phase = phase;
    pthread_mutex_unlock(&response->lock);
}

/* ---- what libcurl calls ---- */

static int on_resolve(void *resolver, void *reserved, void *context)
{
    (void)resolver;
    (void)reserved;
    set_phase(context, FILCH_HTTP_RESOLVE);
    return 0;
}

static curl_socket_t on_open(void *context, curlsocktype purpose, struct curl_sockaddr *addr)
{
    (void)purpose;
    set_phase(context, FILCH_HTTP_CONNECT);
    return socket(addr->family, addr->socktype | SOCK_CLOEXEC, addr->protocol);
}

static CURLcode on_tls(CURL *easy, void *tls, void *context)
{
    (void)easy;
    (void)tls;
    set_phase(context, FILCH_HTTP_TLS);
    return CURLE_OK;
}

/* A request is about to be sent. libcurl sends one again by itself, whatever it does, when a
 * connection that was used before ends without an answer; but it may have been done. */
static int on_connected(void *context, char *ip, char *local_ip, int port, int local_port)
{
    filch_http_response *response = context;

    (void)ip;
    (void)local_ip;
    (void)port;
    (void)local_port;
    if (response->is_sent && !http_request_is_repeatable(response->request))
        return CURL_PREREQFUNC_ABORT;
    response->is_sent = true;
    set_phase(response, FILCH_HTTP_SEND);
    return CURL_PREREQFUNC_OK;
}

static size_t on_upload(char *to, size_t size, size_t count, void *context)
{
    filch_http_response *response = context;
    const filch_http_request *request = response->request;
    struct http_buffer *out = &response->out;
    size_t n = size * count;

    if (!request->has_reader) {
        size_t left = request->body_bytes - response->body_sent;

        n = n < left ? n : left;
        memcpy(to, request->body + response->body_sent, n);
        response->body_sent += n;
        return n;
    }
    pthread_mutex_lock(&response->lock);
    n = n < out->count ? n : out->count;
    if (n) {
        memcpy(to, out->bytes + out->first, n);
        out->first += n;
        out->count -= n;
    } else if (!out->ended) {
        out->paused = true;
        n = CURL_READFUNC_PAUSE;
    }
    pthread_mutex_unlock(&response->lock);
    if (n && n != CURL_READFUNC_PAUSE)
        filch_notify_one(&response->changed);
    return n;
}

/* A redirect, say, of a body that can be sent again. */
static int on_rewind(void *context, curl_off_t offset, int origin)
{
    filch_http_response *response = context;

    if (response->request->has_reader || origin != SEEK_SET || offset < 0)
        return CURL_SEEKFUNC_CANTSEEK;
    response->body_sent = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

static bool add_field(filch_http_response *response, const char *name, size_t name_bytes,
                      const char *value, size_t value_bytes)
{
    size_t bytes = name_bytes + value_bytes + 2;
    char *to;

    if (bytes > response->fields_room - response->fields_bytes) {
        size_t room = response->fields_room * 2 + bytes + 512;
        char *more = room <= FIELDS_MAX ? realloc(response->fields, room) : NULL;

        if (!more)
            return false;
        response->fields = more;
        response->fields_room = room;
    }
    to = response->fields + response->fields_bytes;
    memcpy(to, name, name_bytes);
    to[name_bytes] = '\0';
    memcpy(to + name_bytes + 1, value, value_bytes);
    to[bytes - 1] = '\0';
    response->fields_bytes += bytes;
    return true;
}

/* Is the head that is complete now the one that the owner waits for? */
static bool is_final(filch_http_response *response)
{
    if (response->status < 200)
        return false;
    if (response->client->opts.no_redirects || response->status < 300 || response->status > 399)
        return true;
    return !filch_http_response_header(response, "Location");
}

static void hand_over_head(filch_http_response *response)
{
    char *url = NULL;
    curl_off_t total = -1;
    long version = 0;

    if (response->has_head)
        return;
    curl_easy_getinfo(response->easy, CURLINFO_EFFECTIVE_URL, &url);
    curl_easy_getinfo(response->easy, CURLINFO_HTTP_VERSION, &version);
    curl_easy_getinfo(response->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &total);
    response->url = strdup(url ? url : "");
    response->version = version == CURL_HTTP_VERSION_1_0   ? 10
                        : version == CURL_HTTP_VERSION_1_1 ? 11
                                                           : 20;
    pthread_mutex_lock(&response->lock);
    response->total = total;
    response->has_head = true;
    pthread_mutex_unlock(&response->lock);
    filch_notify_one(&response->changed);
}

static size_t on_header(char *line, size_t size, size_t count, void *context)
{
    filch_http_response *response = context;
    size_t all = size * count, bytes = all, value;
    const char *colon;

    while (bytes && (line[bytes - 1] == '\r' || line[bytes - 1] == '\n'))
        bytes--;
    if (response->has_head) /* a trailer */
        return all;
    if (bytes > 5 && memcmp(line, "HTTP/", 5) == 0) {
        response->fields_bytes = 0;
        response->is_sent = false; /* and answered */
        set_phase(response, FILCH_HTTP_RECEIVE);
        return all;
    }
    if (!bytes) {
        curl_easy_getinfo(response->easy, CURLINFO_RESPONSE_CODE, &response->status);
        if (is_final(response))
            hand_over_head(response);
        return all;
    }
    colon = memchr(line, ':', bytes);
    if (!colon)
        return all;
    value = (size_t)(colon - line) + 1;
    while (value < bytes && (line[value] == ' ' || line[value] == '\t'))
        value++;
    if (!add_field(response, line, (size_t)(colon - line), line + value, bytes - value)) {
        response->fields_failed = true;
        return 0; /* ends the transfer */
    }
    return all;
}

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    filch_http_response *response = context;
    struct http_buffer *in = &response->in;
    size_t bytes = size * count;
    bool fits, full;

    hand_over_head(response);
    pthread_mutex_lock(&response->lock);
    fits = bytes <= HTTP_BUFFER_BYTES - in->count && in->bytes;
    if (fits) {
        if (bytes > HTTP_BUFFER_BYTES - in->first - in->count) {
            memmove(in->bytes, in->bytes + in->first, in->count);
            in->first = 0;
        }
        memcpy(in->bytes + in->first + in->count, data, bytes);
        in->count += bytes;
        response->received += (int64_t)bytes;
    }
    full = HTTP_BUFFER_BYTES - in->count < CURL_MAX_WRITE_SIZE;
    in->paused = full;
    pthread_mutex_unlock(&response->lock);
    if (fits)
        filch_notify_one(&response->changed);
    if (fits && full)
        curl_easy_pause(response->easy, CURLPAUSE_RECV);
    return fits ? bytes : CURL_WRITEFUNC_PAUSE;
}

/* ---- beginning ---- */

#define SET(option, value)                                                                         \
    do {                                                                                           \
        if (curl_easy_setopt(easy, (option), (value)) != CURLE_OK)                                 \
            return -EINVAL;                                                                        \
    } while (0)

static int set_calls(filch_http_response *response, CURL *easy)
{
    SET(CURLOPT_PRIVATE, response);
    SET(CURLOPT_ERRORBUFFER, response->text);
    SET(CURLOPT_RESOLVER_START_FUNCTION, on_resolve);
    SET(CURLOPT_RESOLVER_START_DATA, response);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_open);
    SET(CURLOPT_OPENSOCKETDATA, response);
    SET(CURLOPT_SSL_CTX_FUNCTION, on_tls);
    SET(CURLOPT_SSL_CTX_DATA, response);
    SET(CURLOPT_PREREQFUNCTION, on_connected);
    SET(CURLOPT_PREREQDATA, response);
    SET(CURLOPT_READFUNCTION, on_upload);
    SET(CURLOPT_READDATA, response);
    SET(CURLOPT_SEEKFUNCTION, on_rewind);
    SET(CURLOPT_SEEKDATA, response);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, response);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, response);
    return 0;
}

static int set_client(const filch_http_client *client, CURL *easy)
{
    const filch_http_client_opts *opts = &client->opts;

    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, opts->no_redirects ? 0L : 1L);
    SET(CURLOPT_MAXREDIRS, (long)opts->redirects_max);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)(opts->connect_ns / FILCH_MILLISECOND) ?: 1L);
    SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
    SET(CURLOPT_LOW_SPEED_TIME, (long)(opts->stall_ns / FILCH_SECOND));
    SET(CURLOPT_HTTP_VERSION, opts->http1   ? (long)CURL_HTTP_VERSION_1_1
                              : opts->http2 ? (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE
                                            : (long)CURL_HTTP_VERSION_2TLS);
    if (http_client_may_share())
        SET(CURLOPT_PIPEWAIT, 1L); /* rather share a connection by HTTP/2 than make one more */
    SET(CURLOPT_USERAGENT, opts->user_agent ? opts->user_agent : "filch/" FILCH_VERSION);
    if (!opts->no_compression)
        SET(CURLOPT_ACCEPT_ENCODING, "");
    if (opts->proxy)
        SET(CURLOPT_PROXY, opts->proxy);
    if (opts->ca_file)
        SET(CURLOPT_CAINFO, opts->ca_file);
    if (opts->cert_file) {
        SET(CURLOPT_SSLCERT, opts->cert_file);
        SET(CURLOPT_SSLKEY, opts->key_file);
    }
    if (opts->insecure) {
        SET(CURLOPT_SSL_VERIFYPEER, 0L);
        SET(CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (client->cookies) {
        SET(CURLOPT_COOKIEFILE, "");
        SET(CURLOPT_SHARE, client->cookies);
    }
    return 0;
}

/* libcurl's own methods where it has them: a custom one would stay after a redirect that makes it
 * GET. */
static int set_request(filch_http_request *request, CURL *easy)
{
    const char *method = request->method;
    curl_off_t bytes = request->has_reader ? request->reader_bytes : (int64_t)request->body_bytes;
    bool has_body = request->has_body || request->has_reader;

    SET(CURLOPT_URL, request->url);
    SET(CURLOPT_HTTPHEADER, request->fields);
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

static CURL *easy_get(filch_http_client *client)
{
    if (!client->spares)
        return curl_easy_init();
    return client->spare[--client->spares];
}

static void easy_put(filch_http_client *client, CURL *easy)
{
    /* libcurl loses the list that COOKIEFILE makes when a handle is reset. */
    if (client->cookies || client->spares == sizeof(client->spare) / sizeof(*client->spare)) {
        curl_easy_cleanup(easy);
        return;
    }
    curl_easy_reset(easy);
    client->spare[client->spares++] = easy;
}

int http_transfer_begin(filch_http_response *response)
{
    filch_http_client *client = response->client;
    CURL *easy = easy_get(client);
    int r;

    if (!easy)
        return -ENOMEM;
    r = set_calls(response, easy);
    if (r == 0)
        r = set_client(client, easy);
    if (r == 0)
        r = set_request(response->request, easy);
    if (r == 0) {
        response->easy = easy;
        if (curl_multi_add_handle(client->multi, easy) != CURLM_OK)
            r = -ENOMEM;
    }
    if (r < 0) {
        response->easy = NULL;
        easy_put(client, easy);
        return r;
    }
    filch_fetch_add_relaxed(&response->refs, 1);
    response->next = client->transfers;
    response->link = &client->transfers;
    if (response->next)
        response->next->link = &response->next;
    client->transfers = response;
    return 0;
}

void http_transfer_go_on(filch_http_response *response)
{
    if (response->easy)
        curl_easy_pause(response->easy, CURLPAUSE_CONT);
}

/* ---- ending ---- */

static void finish(filch_http_response *response, int result)
{
    pthread_mutex_lock(&response->lock);
    if (!response->done) {
        response->done = true;
        response->result = result;
        response->in.ended = true;
    }
    pthread_mutex_unlock(&response->lock);
    filch_notify_one(&response->changed);
}

static void take_from_libcurl(filch_http_response *response)
{
    filch_http_client *client = response->client;

    curl_multi_remove_handle(client->multi, response->easy);
    easy_put(client, response->easy);
    response->easy = NULL;
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
    case CURLE_SSL_CIPHER:
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
           strstr(response->text, "SSL routines");
}

/* Likewise of a proxy that refuses to connect us: it has answered that. */
static bool is_proxys_refusal(const filch_http_response *response, CURLcode code)
{
    long status = 0;

    curl_easy_getinfo(response->easy, CURLINFO_HTTP_CONNECTCODE, &status);
    return code == CURLE_RECV_ERROR && status >= 300;
}

/* What has failed, where that is another place than where it was noticed. Return: the code. */
static int judge_failure(filch_http_response *response, CURLcode code)
{
    long os_error = 0;

    if (response->fields_failed)
        return -ENOMEM;
    curl_easy_getinfo(response->easy, CURLINFO_OS_ERRNO, &os_error);
    if (code == CURLE_SSL_CERTPROBLEM || code == CURLE_SSL_CACERT_BADFILE) { /* files of ours */
        set_phase(response, FILCH_HTTP_PREPARE);
        return -EINVAL;
    }
    if (is_proxys_refusal(response, code)) {
        set_phase(response, FILCH_HTTP_CONNECT);
        return -EACCES;
    }
    if (is_tls_failure(response, code, os_error)) {
        if (!response->has_head)
            set_phase(response, FILCH_HTTP_TLS);
        return -EPROTO;
    }
    return http_transfer_failure(code, os_error);
}

static void say_why(filch_http_response *response, CURLcode code)
{
    const char *text = curl_easy_strerror(code);

    if (code == CURLE_ABORTED_BY_CALLBACK)
        text = "the connection ended without an answer, and the request may have been done";
    else if (*response->text)
        return;
    pthread_mutex_lock(&response->lock);
    snprintf(response->text, sizeof(response->text), "%s", text);
    pthread_mutex_unlock(&response->lock);
}

void http_transfer_end(filch_http_response *response, CURLcode code)
{
    int result = judge_failure(response, code);

    if (result == 0) {
        curl_easy_getinfo(response->easy, CURLINFO_RESPONSE_CODE, &response->status);
        hand_over_head(response);
    } else {
        say_why(response, code);
    }
    finish(response, result);
    take_from_libcurl(response);
}

void http_transfer_abort(filch_http_response *response, int error)
{
    finish(response, error);
    if (response->easy)
        take_from_libcurl(response);
}
