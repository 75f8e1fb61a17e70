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

#include "io/http/trailer_names.h"
#include "io/http_client/client.h"

#define FIELDS_MAX ((size_t)256 * 1024)
/* Of a body's buffer, at first. */
#define ROOM_MIN ((size_t)1024)

static void set_phase(filch_http_response *response, enum filch_http_phase phase)
{
    pthread_mutex_lock(&response->lock);
    response->phase = phase;
    pthread_mutex_unlock(&response->lock);
}

/* ---- what libcurl calls ---- */

static filch_http_response *response_of(void *context)
{
    struct http_handle *handle = context;

    return handle->response;
}

static int on_resolve(void *resolver, void *reserved, void *context)
{
    (void)resolver;
    (void)reserved;
    set_phase(response_of(context), FILCH_HTTP_RESOLVE);
    return 0;
}

static curl_socket_t on_open(void *context, curlsocktype purpose, struct curl_sockaddr *addr)
{
    filch_http_response *response = response_of(context);

    (void)purpose;
    set_phase(response, FILCH_HTTP_CONNECT);
    return http_socket_open(response->client, addr);
}

static CURLcode on_tls(CURL *easy, void *tls, void *context)
{
    (void)easy;
    (void)tls;
    set_phase(response_of(context), FILCH_HTTP_TLS);
    return CURLE_OK;
}

/* A request is about to be sent. libcurl sends one again by itself, whatever it does, when a
 * connection that was used before ends without an answer; but it may have been done. */
static int on_connected(void *context, char *ip, char *local_ip, int port, int local_port)
{
    filch_http_response *response = response_of(context);

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
    filch_http_response *response = response_of(context);
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
        out->paused = response->sending_waits = true;
        n = CURL_READFUNC_PAUSE;
    } else {
        response->is_sent_whole = true;
    }
    pthread_mutex_unlock(&response->lock);
    if (n && n != CURL_READFUNC_PAUSE)
        filch_notify_one(&response->changed);
    return n;
}

/* A redirect, say, of a body that can be sent again. */
static int on_rewind(void *context, curl_off_t offset, int origin)
{
    filch_http_response *response = response_of(context);

    if (response->request->has_reader || origin != SEEK_SET || offset < 0)
        return CURL_SEEKFUNC_CANTSEEK;
    response->body_sent = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

/* What is sent behind the body: libcurl asks for it when the body has ended, and frees it. */
static int on_trailers(struct curl_slist **list, void *context)
{
    filch_http_response *response = response_of(context);

    if (http_request_copy_trailers(response->request, list))
        return CURL_TRAILERFUNC_OK;
    response->no_memory = true;
    return CURL_TRAILERFUNC_ABORT;
}

/* Splits a line into a name and a value, which go behind those in @fields. Return: false: no
 * memory. A line without a colon is left out. */
static bool add_field(const char *line, size_t line_bytes, char **fields, size_t *bytes,
                      size_t *room)
{
    const char *colon = memchr(line, ':', line_bytes), *value, *end = line + line_bytes;
    size_t name_bytes, more_bytes;
    char *to;

    if (!colon)
        return true;
    name_bytes = (size_t)(colon - line);
    for (value = colon + 1; value < end && (*value == ' ' || *value == '\t'); value++)
        ;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    more_bytes = name_bytes + (size_t)(end - value) + 2;
    if (more_bytes > *room - *bytes) {
        size_t larger = *room * 2 + more_bytes + 512;
        char *more = larger <= FIELDS_MAX ? realloc(*fields, larger) : NULL;

        if (!more)
            return false;
        *fields = more;
        *room = larger;
    }
    to = *fields + *bytes;
    memcpy(to, line, name_bytes);
    to[name_bytes] = '\0';
    memcpy(to + name_bytes + 1, value, (size_t)(end - value));
    to[more_bytes - 1] = '\0';
    *bytes += more_bytes;
    return true;
}

/* A line behind the body. */
static bool add_trailer(filch_http_response *response, const char *line, size_t bytes)
{
    const char *colon = memchr(line, ':', bytes);

    if (!colon || http_trailer_rule(line, (size_t)(colon - line)) != HTTP_TRAILER_KEEP)
        return true;
    return add_field(line, bytes, &response->trailers, &response->trailers_bytes,
                     &response->trailers_room);
}

/* One line; or, where the transfer was paused, all those that came meanwhile. */
static bool add_trailers(filch_http_response *response, const char *lines, size_t bytes)
{
    const char *end = lines + bytes;

    while (lines < end) {
        const char *newline = memchr(lines, '\n', (size_t)(end - lines));
        const char *next = newline ? newline + 1 : end;
        size_t n = (size_t)((newline ? newline : end) - lines);

        if (n && lines[n - 1] == '\r')
            n--;
        if (!add_trailer(response, lines, n))
            return false;
        lines = next;
    }
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

/* The answer is there as a whole, and the request not yet. */
static void note_end(filch_http_response *response)
{
    response->reads_no_more = true;
    http_ask(response, HTTP_ASK_GO_ON);
}

static bool is_sent_whole(const filch_http_response *response)
{
    const filch_http_request *request = response->request;
    int64_t bytes = request->has_reader ? request->reader_bytes : (int64_t)request->body_bytes;
    curl_off_t sent = 0;

    curl_easy_getinfo(response->handle->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    return bytes < 0 ? response->is_sent_whole : sent >= bytes;
}

/* Of HTTP/2, as far as its length is known. */
static void look_for_end(filch_http_response *response)
{
    curl_off_t received = 0;

    if (response->version < 20 || response->status >= 300 || response->reads_no_more ||
        is_sent_whole(response))
        return;
    curl_easy_getinfo(response->handle->easy, CURLINFO_SIZE_DOWNLOAD_T, &received);
    if (response->total == received || response->status == 204)
        note_end(response);
}

static void hand_over_head(filch_http_response *response)
{
    char *url = NULL;
    curl_off_t total = -1;
    long version = 0;

    if (response->has_head)
        return;
    curl_easy_getinfo(response->handle->easy, CURLINFO_EFFECTIVE_URL, &url);
    curl_easy_getinfo(response->handle->easy, CURLINFO_HTTP_VERSION, &version);
    curl_easy_getinfo(response->handle->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &total);
    response->url = strdup(url ? url : "");
    response->version = version == CURL_HTTP_VERSION_1_0   ? 10
                        : version == CURL_HTTP_VERSION_1_1 ? 11
                                                           : 20;
    pthread_mutex_lock(&response->lock);
    response->total = total;
    response->has_head = true;
    pthread_mutex_unlock(&response->lock);
    if (!response->is_for_all)
        filch_notify_one(&response->changed);
}

static size_t on_header(char *line, size_t size, size_t count, void *context)
{
    filch_http_response *response = response_of(context);
    size_t all = size * count, bytes = all;
    bool added;

    while (bytes && (line[bytes - 1] == '\r' || line[bytes - 1] == '\n'))
        bytes--;
    if (!response->has_head && bytes > 5 && memcmp(line, "HTTP/", 5) == 0) {
        response->fields_bytes = 0;
        response->is_sent = false; /* and answered */
        set_phase(response, FILCH_HTTP_RECEIVE);
        return all;
    }
    if (!response->has_head && !bytes) {
        curl_easy_getinfo(response->handle->easy, CURLINFO_RESPONSE_CODE, &response->status);
        if (is_final(response)) {
            hand_over_head(response);
            look_for_end(response);
        }
        return all;
    }
    added = response->has_head ? add_trailers(response, line, bytes)
                               : add_field(line, bytes, &response->fields, &response->fields_bytes,
                                           &response->fields_room);
    if (!added) {
        response->no_memory = true;
        return 0; /* ends the transfer */
    }
    return all;
}

/* libcurl is told of both directions at a time. Nothing is sent while the answer is held up: should
 * that fail, what libcurl has of the answer would be lost. */
static CURLcode pause_as_needed(filch_http_response *response)
{
    return curl_easy_pause(response->handle->easy, response->reading_waits   ? CURLPAUSE_ALL
                                                   : response->sending_waits ? CURLPAUSE_SEND
                                                                             : CURLPAUSE_CONT);
}

/* Return: false: no memory. */
static bool make_room(struct http_buffer *in, size_t bytes)
{
    size_t needed = in->count + bytes, room = in->room ?: ROOM_MIN;
    char *more;

    if (needed <= in->room - in->first)
        return true;
    if (in->first) {
        memmove(in->bytes, in->bytes + in->first, in->count);
        in->first = 0;
    }
    if (needed <= in->room)
        return true;
    while (room < needed)
        room *= 2;
    more = realloc(in->bytes, room);
    if (!more)
        return false;
    in->bytes = more;
    in->room = room;
    return true;
}

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    filch_http_response *response = response_of(context);
    struct http_buffer *in = &response->in;
    size_t bytes = size * count;
    bool fits, full;

    hand_over_head(response);
    pthread_mutex_lock(&response->lock);
    fits = bytes <= HTTP_BUFFER_BYTES - in->count;
    if (fits && !make_room(in, bytes)) {
        pthread_mutex_unlock(&response->lock);
        response->no_memory = true;
        return 0; /* ends the transfer */
    }
    if (fits) {
        memcpy(in->bytes + in->first + in->count, data, bytes);
        in->count += bytes;
        response->received += (int64_t)bytes;
    }
    full = HTTP_BUFFER_BYTES - in->count < CURL_MAX_WRITE_SIZE;
    in->paused = full;
    pthread_mutex_unlock(&response->lock);
    if (fits && (full || !response->is_for_all))
        filch_notify_one(&response->changed);
    response->reading_waits = full;
    look_for_end(response);
    if (fits && full)
        (void)pause_as_needed(response);
    return fits ? bytes : CURL_WRITEFUNC_PAUSE;
}

/* ---- beginning ---- */

int http_transfer_set_calls(struct http_handle *handle)
{
    CURL *easy = handle->easy;

    HTTP_SET(easy, CURLOPT_RESOLVER_START_FUNCTION, on_resolve);
    HTTP_SET(easy, CURLOPT_RESOLVER_START_DATA, handle);
    HTTP_SET(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    HTTP_SET(easy, CURLOPT_OPENSOCKETDATA, handle);
    HTTP_SET(easy, CURLOPT_SSL_CTX_FUNCTION, on_tls);
    HTTP_SET(easy, CURLOPT_SSL_CTX_DATA, handle);
    HTTP_SET(easy, CURLOPT_PREREQFUNCTION, on_connected);
    HTTP_SET(easy, CURLOPT_PREREQDATA, handle);
    HTTP_SET(easy, CURLOPT_READFUNCTION, on_upload);
    HTTP_SET(easy, CURLOPT_READDATA, handle);
    HTTP_SET(easy, CURLOPT_SEEKFUNCTION, on_rewind);
    HTTP_SET(easy, CURLOPT_SEEKDATA, handle);
    HTTP_SET(easy, CURLOPT_HEADERFUNCTION, on_header);
    HTTP_SET(easy, CURLOPT_HEADERDATA, handle);
    HTTP_SET(easy, CURLOPT_WRITEFUNCTION, on_body);
    HTTP_SET(easy, CURLOPT_WRITEDATA, handle);
    return 0;
}

/* Only for requests that have some: such a handle is not used again. */
static int set_trailers(struct http_handle *handle)
{
    HTTP_SET(handle->easy, CURLOPT_TRAILERFUNCTION, on_trailers);
    HTTP_SET(handle->easy, CURLOPT_TRAILERDATA, handle);
    return 0;
}

int http_transfer_begin(filch_http_response *response)
{
    filch_http_client *client = response->client;
    struct http_handle *handle;
    int r = http_handle_get(client, &handle);

    if (r < 0)
        return r;
    handle->response = response;
    r = http_handle_describe(handle, response->request);
    if (r == 0 && response->request->has_trailers)
        r = set_trailers(handle);
    if (r == 0 && curl_multi_add_handle(client->multi, handle->easy) != CURLM_OK)
        r = -ENOMEM;
    if (r < 0) {
        http_handle_free(handle);
        return r;
    }
    response->handle = handle;
    filch_fetch_add_relaxed(&response->refs, 1);
    response->next = client->transfers;
    response->link = &client->transfers;
    if (response->next)
        response->next->link = &response->next;
    client->transfers = response;
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
    code = pause_as_needed(response);
    if (code == CURLE_BAD_FUNCTION_ARGUMENT) /* it has ended, or not begun */
        return;
    if (code != CURLE_OK)
        http_transfer_end(response, code);
    else if (response->reads_no_more && response->version >= 20 && !response->reading_waits)
        http_transfer_end(response, CURLE_SEND_ERROR);
}

/* By HTTP/1 libcurl reads an answer to its end, and no further: it is there as a whole, should it
 * not be held up, or its transfer have ended (then nobody will look at what is noted here). */
void http_transfer_reads_no_more(CURL *easy, bool writes)
{
    struct http_handle *handle = NULL;
    filch_http_response *response;

    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&handle);
    response = handle ? handle->response : NULL;
    if (!response || !response->has_head || response->version >= 20 || response->reading_waits)
        return;
    if (writes)
        response->is_answered = true;
    if (response->reads_no_more || !response->sending_waits)
        return;
    note_end(response);
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

/* @clean: the transfer has come to a good end. */
static void take_from_libcurl(filch_http_response *response, bool clean)
{
    filch_http_client *client = response->client;

    curl_multi_remove_handle(client->multi, response->handle->easy);
    /* libcurl (7.88, at least) writes the next chunks that a handle sends after trailers in front
     * of its buffer. */
    if (clean && !response->request->has_trailers)
        http_handle_put(client, response->handle);
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
           strstr(response->handle->text, "SSL routines");
}

/* Likewise of a proxy that refuses to connect us: it has answered that. */
static bool is_proxys_refusal(const filch_http_response *response, CURLcode code)
{
    long status = 0;

    curl_easy_getinfo(response->handle->easy, CURLINFO_HTTP_CONNECTCODE, &status);
    return code == CURLE_RECV_ERROR && status >= 300;
}

/* A server may end a stream of HTTP/2 that it has answered. What comes together with that end is
 * lost by libcurl (7.88, at least), which then says an error without a text. */
static bool is_lost(const filch_http_response *response, CURLcode code)
{
    return code == CURLE_HTTP2_STREAM && !*response->handle->text;
}

/* What has failed, where that is another place than where it was noticed. Return: the code. */
static int judge_failure(filch_http_response *response, CURLcode code)
{
    long os_error = 0;

    if (response->no_memory)
        return -ENOMEM;
    curl_easy_getinfo(response->handle->easy, CURLINFO_OS_ERRNO, &os_error);
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
    return is_lost(response, code) ? -EPIPE : http_transfer_failure(code, os_error);
}

static void say_why(filch_http_response *response, CURLcode code)
{
    const char *text = curl_easy_strerror(code);

    if (code == CURLE_ABORTED_BY_CALLBACK)
        text = "the connection ended without an answer, and the request may have been done";
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
        hand_over_head(response);
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
