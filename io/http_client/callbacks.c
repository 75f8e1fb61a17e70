/* What libcurl calls back, in the middle of its work, in the shard's task: it never waits here.
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
 * How far a request has come is noted on the way, so that an error, and a time that is up, can say
 * where. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/http/trailer_names.h"
#include "io/http_client/client.h"

#define FIELDS_MAX ((size_t)256 * 1024)
/* Of a body's buffer, at first. */
#define ROOM_MIN ((size_t)1024)

void http_transfer_phase(filch_http_response *response, enum filch_http_phase phase)
{
    pthread_mutex_lock(&response->lock);
    response->phase = phase;
    pthread_mutex_unlock(&response->lock);
}

static filch_http_response *response_of(void *context)
{
    struct http_handle *handle = context;

    return handle->response;
}

/* NULL: it is one of libcurl's own. */
static filch_http_response *response_of_easy(CURL *easy)
{
    struct http_handle *handle = NULL;

    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&handle);
    return handle ? handle->response : NULL;
}

void http_transfer_fail(CURL *easy)
{
    filch_http_response *response = response_of_easy(easy);

    if (!response)
        return;
    response->no_memory = true;
    http_ask(response, HTTP_ASK_END);
}

static int on_resolve(void *resolver, void *reserved, void *context)
{
    (void)resolver;
    (void)reserved;
    http_transfer_phase(response_of(context), FILCH_HTTP_RESOLVE);
    return 0;
}

static curl_socket_t on_open(void *context, curlsocktype purpose, struct curl_sockaddr *addr)
{
    filch_http_response *response = response_of(context);

    (void)purpose;
    http_transfer_phase(response, FILCH_HTTP_CONNECT);
    return http_socket_open(response->shard, addr);
}

static CURLcode on_tls(CURL *easy, void *tls, void *context)
{
    (void)easy;
    (void)tls;
    http_transfer_phase(response_of(context), FILCH_HTTP_TLS);
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
    http_transfer_phase(response, FILCH_HTTP_SEND);
    return CURL_PREREQFUNC_OK;
}

/* ---- the request ---- */

static size_t take_body(filch_http_response *response, char *to, size_t n)
{
    const filch_http_request *request = response->request;
    struct http_buffer *out = &response->out;

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

static size_t on_upload(char *to, size_t size, size_t count, void *context)
{
    filch_http_response *response = response_of(context);
    size_t n = take_body(response, to, size * count);

    if (n != CURL_READFUNC_PAUSE)
        filch_fetch_add_relaxed(&response->request->sent, n);
    return n;
}

/* A redirect, say, of a body that can be sent again. */
static int on_rewind(void *context, curl_off_t offset, int origin)
{
    filch_http_response *response = response_of(context);

    if (response->request->has_reader || origin != SEEK_SET || offset < 0)
        return CURL_SEEKFUNC_CANTSEEK;
    response->body_sent = (size_t)offset;
    filch_store_relaxed(&response->request->sent, (uint64_t)offset);
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

/* ---- the head of the answer, and trailers ---- */

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

void http_transfer_hand_over(filch_http_response *response)
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

/* ---- answers that are there before the request ---- */

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

/* By HTTP/1 libcurl reads an answer to its end, and no further: it is there as a whole, should it
 * not be held up, or its transfer have ended (then nobody will look at what is noted here). */
void http_transfer_reads_no_more(CURL *easy, bool writes)
{
    filch_http_response *response = response_of_easy(easy);

    if (!response || !response->has_head || response->version >= 20 || response->reading_waits)
        return;
    if (writes)
        response->is_answered = true;
    if (response->reads_no_more || !response->sending_waits)
        return;
    note_end(response);
}

/* ---- lines and bytes ---- */

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
        response->is_head_whole = false;
        http_transfer_phase(response, FILCH_HTTP_RECEIVE);
        return all;
    }
    if (!response->has_head && !bytes) {
        curl_easy_getinfo(response->handle->easy, CURLINFO_RESPONSE_CODE, &response->status);
        response->is_head_whole = response->status >= 200;
        if (is_final(response)) {
            http_transfer_hand_over(response);
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
CURLcode http_transfer_pause(filch_http_response *response)
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

    http_transfer_hand_over(response);
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
    /* libcurl goes on with what it has in hand though it was told to pause: it stays so, whatever
     * the owner has taken meanwhile. Else nobody would ask for it to go on. */
    full = response->reading_waits || HTTP_BUFFER_BYTES - in->count < CURL_MAX_WRITE_SIZE;
    in->paused = full;
    pthread_mutex_unlock(&response->lock);
    if (fits && (full || !response->is_for_all))
        filch_notify_one(&response->changed);
    response->reading_waits = full;
    look_for_end(response);
    if (fits && full)
        (void)http_transfer_pause(response);
    return fits ? bytes : CURL_WRITEFUNC_PAUSE;
}

/* ---- to be called ---- */

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
int http_transfer_set_trailers(struct http_handle *handle)
{
    HTTP_SET(handle->easy, CURLOPT_TRAILERFUNCTION, on_trailers);
    HTTP_SET(handle->easy, CURLOPT_TRAILERDATA, handle);
    return 0;
}
