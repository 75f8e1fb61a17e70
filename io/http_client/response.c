/* Answers, as their owners see them: they wait here for what the shard's task brings.
 *
 * An owner looks under the lock and waits for a notification, which keeps a permit: what happens
 * between the look and the wait is not missed. It never waits for the task itself: to give up it
 * asks for the end and goes; who comes last frees the response. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "io/http_client/client.h"

/* With less room than this for it, a request's body is not read. */
#define READ_BYTES_MIN ((size_t)8192)

int http_response_new(filch_http_request *request, bool is_for_all,
                      filch_http_response **ret_response)
{
    filch_http_response *response = calloc(1, sizeof(*response));

    if (!response)
        return -ENOMEM;
    response->out.bytes = request->has_reader ? malloc(HTTP_BUFFER_BYTES) : NULL;
    if (request->has_reader && !response->out.bytes) {
        free(response);
        return -ENOMEM;
    }
    filch_atomic_init(&response->refs, 1);
    pthread_mutex_init(&response->lock, NULL);
    filch_notify_init(&response->changed);
    response->total = -1;
    response->is_for_all = is_for_all;
    response->is_sending = request->has_reader;
    response->client = request->client;
    response->shard = http_client_choose_shard(request->client);
    response->request = request;
    filch_fetch_add_relaxed(&request->refs, 1);
    *ret_response = response;
    return 0;
}

void http_response_unref(filch_http_response *response)
{
    /* [http-response-ref] who comes last sees what the others did */
    if (filch_fetch_sub_acq_rel(&response->refs, 1) != 1)
        return;
    filch_notify_fini(&response->changed);
    pthread_mutex_destroy(&response->lock);
    free(response->in.bytes);
    free(response->out.bytes);
    free(response->url);
    free(response->fields);
    free(response->trailers);
    free(response->body);
    http_request_unref(response->request);
    free(response);
}

void filch_http_response_free(filch_http_response *response)
{
    bool done;

    if (!response)
        return;
    pthread_mutex_lock(&response->lock);
    done = response->done;
    pthread_mutex_unlock(&response->lock);
    if (!done)
        http_ask(response, HTTP_ASK_END);
    http_response_unref(response);
}

/* ---- errors ---- */

static const char *const phases[] = {
    [FILCH_HTTP_PREPARE] = "preparing",        [FILCH_HTTP_RESOLVE] = "looking up the host",
    [FILCH_HTTP_CONNECT] = "connecting",       [FILCH_HTTP_TLS] = "the TLS handshake",
    [FILCH_HTTP_SEND] = "sending the request", [FILCH_HTTP_RECEIVE] = "receiving the answer",
};

int http_tell(const filch_http_request *request, filch_http_response *response, int code,
              filch_error *ret_error)
{
    char reason[CURL_ERROR_SIZE] = "";
    enum filch_http_phase phase = FILCH_HTTP_PREPARE;

    if (!ret_error)
        return code;
    if (response) {
        pthread_mutex_lock(&response->lock);
        phase = response->phase;
        if (response->done && response->result == code)
            memcpy(reason, response->text, sizeof(reason));
        pthread_mutex_unlock(&response->lock);
    }
    filch_error_set_detail(ret_error, code, FILCH_ERROR_HTTP, (int)phase, "%s",
                           *reason ? reason : filch_strerror(code));
    filch_error_note(ret_error, code, "%s %.200s: %s", request ? request->method : "request",
                     request ? request->url : "-", phases[phase]);
    return code;
}

/* ---- waiting ---- */

/* Looks whether the owner can go on. Return: 1; 0: it must wait; an error. Under the lock. */
static int look_for_head(const filch_http_response *response)
{
    if (response->has_head)
        return 1;
    return response->done ? response->result ?: -EPIPE : 0;
}

/* Room behind the bytes for libcurl, which takes them away in front. Under the lock. Return: how
 * much; 0: less than is worth a read. */
static size_t room_to_send(struct http_buffer *out, char **ret_room)
{
    if (HTTP_BUFFER_BYTES - out->first - out->count < READ_BYTES_MIN) {
        memmove(out->bytes, out->bytes + out->first, out->count);
        out->first = 0;
    }
    *ret_room = out->bytes + out->first + out->count;
    return out->count <= HTTP_BUFFER_BYTES - READ_BYTES_MIN
               ? HTTP_BUFFER_BYTES - out->first - out->count
               : 0;
}

/* Reads a piece of the request's body, if there is room. Return: 0; 1: there is none; an error. */
static int send_piece(filch_http_response *response, filch_time until)
{
    const filch_reader *reader = &response->request->reader;
    struct http_buffer *out = &response->out;
    char *to;
    size_t room;
    ssize_t n;
    bool go_on;

    pthread_mutex_lock(&response->lock);
    room = room_to_send(out, &to);
    pthread_mutex_unlock(&response->lock);
    if (!room)
        return 1;
    n = reader->read(reader->context, to, room, until); /* nobody else touches the room */
    if (n < 0)
        return (int)n;
    pthread_mutex_lock(&response->lock);
    out->count += (size_t)n;
    out->ended = !n;
    go_on = out->paused;
    out->paused = false;
    pthread_mutex_unlock(&response->lock);
    response->is_sending = n;
    if (go_on)
        http_ask(response, HTTP_ASK_GO_ON);
    return 0;
}

/* Waits for the other side, or sends meanwhile. Return: 0: look again; an error. */
static int do_next(filch_http_response *response, filch_time until)
{
    int r = response->is_sending ? send_piece(response, until) : 1;

    return r == 1 ? filch_notify_wait(&response->changed, until) : r;
}

/* A server that refuses a request wants no more of it, and libcurl sends no more. */
static void look_at_status(filch_http_response *response)
{
    if (!response->is_sending || response->status < 300)
        return;
    response->is_sending = false;
    http_ask(response, HTTP_ASK_GO_ON);
}

int http_response_await(filch_http_response *response, filch_time until)
{
    int r;

    do {
        pthread_mutex_lock(&response->lock);
        r = look_for_head(response);
        pthread_mutex_unlock(&response->lock);
        if (r > 0) {
            look_at_status(response);
            return 0;
        }
        if (r == 0)
            r = do_next(response, until);
    } while (r == 0);
    return r;
}

/* ---- the head ---- */

int filch_http_response_status(filch_http_response *response)
{
    return response ? (int)response->status : 0;
}

int filch_http_response_version(filch_http_response *response)
{
    return response ? (int)response->version : 0;
}

const char *filch_http_response_url(filch_http_response *response)
{
    return response && response->url ? response->url : "";
}

/* Of "Name\0value\0" ... */
static int field_at(const char *fields, size_t bytes, unsigned index, const char **ret_name,
                    const char **ret_value)
{
    for (size_t at = 0; at < bytes; index--) {
        const char *name = fields + at, *value = name + strlen(name) + 1;

        if (index == 0) {
            *ret_name = name;
            *ret_value = value;
            return 0;
        }
        at = (size_t)(value + strlen(value) + 1 - fields);
    }
    return -ENOENT;
}

int filch_http_response_header_at(filch_http_response *response, unsigned index,
                                  const char **ret_name, const char **ret_value)
{
    if (!response || !ret_name || !ret_value)
        return -EINVAL;
    return field_at(response->fields, response->fields_bytes, index, ret_name, ret_value);
}

int filch_http_response_trailer_at(filch_http_response *response, unsigned index,
                                   const char **ret_name, const char **ret_value)
{
    bool done;

    if (!response || !ret_name || !ret_value)
        return -EINVAL;
    pthread_mutex_lock(&response->lock);
    done = response->done;
    pthread_mutex_unlock(&response->lock);
    return done ? field_at(response->trailers, response->trailers_bytes, index, ret_name, ret_value)
                : -ENOENT;
}

const char *filch_http_response_trailer(filch_http_response *response, const char *name)
{
    const char *found, *value;

    for (unsigned i = 0; name && filch_http_response_trailer_at(response, i, &found, &value) == 0;
         i++)
        if (strcasecmp(found, name) == 0)
            return value;
    return NULL;
}

const char *filch_http_response_header(filch_http_response *response, const char *name)
{
    const char *found, *value;

    for (unsigned i = 0; name && filch_http_response_header_at(response, i, &found, &value) == 0;
         i++)
        if (strcasecmp(found, name) == 0)
            return value;
    return NULL;
}

int filch_http_response_progress(filch_http_response *response, int64_t *ret_now,
                                 int64_t *ret_total)
{
    if (!response)
        return -EINVAL;
    pthread_mutex_lock(&response->lock);
    if (ret_now)
        *ret_now = response->received;
    if (ret_total)
        *ret_total = response->total;
    pthread_mutex_unlock(&response->lock);
    return 0;
}

/* ---- the body ---- */

/* Return: bytes; 0: the end; -EAGAIN: nothing is there yet; an error. */
static ssize_t take_bytes(filch_http_response *response, void *buf, size_t bytes, bool *ret_go_on)
{
    struct http_buffer *in = &response->in;
    size_t n = bytes < in->count ? bytes : in->count;

    *ret_go_on = false;
    if (n) {
        memcpy(buf, in->bytes + in->first, n);
        in->first = in->count == n ? 0 : in->first + n;
        in->count -= n;
        if (in->paused && in->count <= HTTP_BUFFER_BYTES / 2) {
            in->paused = false;
            *ret_go_on = true;
        }
        return (ssize_t)n;
    }
    return response->done ? response->result : -EAGAIN;
}

ssize_t filch_http_response_read(filch_http_response *response, void *buf, size_t bytes,
                                 filch_error *ret_error, filch_time until)
{
    if (!response || (!buf && bytes))
        return http_tell(NULL, NULL, -EINVAL, ret_error);
    while (bytes) {
        bool go_on;
        ssize_t n;

        pthread_mutex_lock(&response->lock);
        n = take_bytes(response, buf, bytes, &go_on);
        pthread_mutex_unlock(&response->lock);
        if (go_on)
            http_ask(response, HTTP_ASK_GO_ON);
        if (n == -EAGAIN)
            n = do_next(response, until);
        else if (n >= 0)
            return n;
        if (n < 0)
            return http_tell(response->request, response, (int)n, ret_error);
    }
    return 0;
}

/* The length of a body, if it is known and to be believed. */
static size_t body_room(filch_http_response *response)
{
    int64_t total = -1;

    filch_http_response_progress(response, NULL, &total);
    return total > 0 && total < (int64_t)1 << 20 ? (size_t)total + 1 : 16384;
}

int filch_http_response_read_all(filch_http_response *response, filch_error *ret_error,
                                 filch_time until)
{
    size_t most, room = 0;

    if (!response)
        return http_tell(NULL, NULL, -EINVAL, ret_error);
    most = response->client->opts.body_bytes_max;
    for (;;) {
        ssize_t n;

        if (room - response->body_bytes < 2) {
            size_t more = response->body ? 2 * (response->body_bytes + 1) : body_room(response);
            char *body = realloc(response->body, more + 1);

            if (!body)
                return http_tell(response->request, response, -ENOMEM, ret_error);
            response->body = body;
            room = more + 1;
        }
        n = filch_http_response_read(response, response->body + response->body_bytes,
                                     room - 1 - response->body_bytes, ret_error, until);
        response->body[response->body_bytes + (n > 0 ? (size_t)n : 0)] = '\0';
        if (n <= 0)
            return (int)n;
        response->body_bytes += (size_t)n;
        if (response->body_bytes > most)
            return http_tell(response->request, response, -EMSGSIZE, ret_error);
    }
}

const char *filch_http_response_body(filch_http_response *response, size_t *ret_bytes)
{
    if (ret_bytes)
        *ret_bytes = response ? response->body_bytes : 0;
    return response && response->body ? response->body : "";
}

static ssize_t read_response(void *context, void *buf, size_t bytes, filch_time until)
{
    return filch_http_response_read(context, buf, bytes, NULL, until);
}

filch_reader filch_http_response_reader(filch_http_response *response)
{
    return (filch_reader){.read = read_response, .context = response};
}
