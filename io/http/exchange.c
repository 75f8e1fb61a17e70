/* Exchanges: what a handler asks and says, whatever the version of HTTP below.
 *
 *     UNANSWERED --begin--> ANSWERING --written, or the handler's end--> ANSWERED
 *
 * This file keeps the order: a head once, then as much of a body as was announced. How heads and
 * bodies look on the wire is the wire's (h1.c). A body that has none to be sent (HEAD, 204, 304) is
 * taken and dropped here, so handlers need not know.
 *
 * When a handler fails before its answer began, the answer is what it failed of: of the request's
 * body, for which the peer is to blame, or of itself (500). When it fails later the exchange is
 * `broken`: the wire cuts it off. */
#include "io/http/exchange.h"

#include <errno.h>
#include <http_parser.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <filch/time.h>

#include "io/http/server.h"

/* What filch_exchange_read_all() begins with when a length is not known. */
#define READ_ALL_BYTES 4096

const char *http_status_name(int status)
{
    return http_status_str((enum http_status)status);
}

void http_exchange_init(filch_exchange *x)
{
    x->match.route = x->match.allowed = NULL;
    x->read_error = 0;
    x->trailers = NULL;
    x->trailer_count = 0;
    x->began = 0;
    x->stage = HTTP_UNANSWERED;
    x->status = 0;
    x->length = 0;
    x->bodiless = false;
    x->taken = 0;
    x->broken = false;
    x->set_bytes = x->trailer_bytes = 0;
}

/* "/path?query", or "http://host/path?query", or "*". */
int http_exchange_split(filch_exchange *x, char *copy)
{
    struct http_head *head = &x->head;
    char *scheme_end = NULL, *query;

    x->host = head->host;
    x->query = NULL;
    if (strcmp(head->method, "CONNECT") == 0)
        return 501;
    if (*head->target == '*')
        return strcmp(head->target, "*") == 0 && strcmp(head->method, "OPTIONS") == 0
                   ? (x->path = head->target, 0)
                   : 400;
    if (*head->target == '/' && !memchr(head->target, '?', head->target_bytes)) {
        x->path = head->target;
        return 0;
    }
    memcpy(copy, head->target, head->target_bytes + 1);
    x->path = copy;
    if (*copy != '/') {
        scheme_end = strstr(copy, "://");
        if (!scheme_end || scheme_end == copy)
            return 400;
        /* The host moves by one, so that there is room for its zero before the path. */
        x->host = scheme_end + 2;
        x->path = scheme_end + 3 + strcspn(scheme_end + 3, "/?");
        memmove(x->host, x->host + 1, (size_t)(x->path - x->host - 1));
        x->path[-1] = '\0';
        if (!*x->host || strchr(x->host, '@'))
            return 400;
    }
    query = strchr(x->path, '?');
    if (query) {
        *query = '\0';
        x->query = query + 1;
    }
    if (!*x->path)
        x->path = (char *)"/";
    return 0;
}

/* ---- running ---- */

int http_exchange_match(filch_exchange *x)
{
    if (*x->path == '*')
        return 0;
    return http_route_find(x->server->routes, x->head.method, x->path, x->scratch, &x->match);
}

int http_exchange_status(filch_exchange *x, int status, filch_time until)
{
    char text[64];
    int bytes = snprintf(text, sizeof(text), "%d %s\n", status, http_status_name(status));

    return filch_exchange_reply(x, status, "text/plain", text, (size_t)bytes, until);
}

/* "GET, HEAD, OPTIONS" */
static void set_allow(filch_exchange *x)
{
    char text[256] = "OPTIONS";
    size_t bytes = 7;

    for (const struct http_route *route = x->match.allowed; route; route = route->next) {
        const char *method = route->method;
        int n = snprintf(text + bytes, sizeof(text) - bytes, ", %s%s", method,
                         strcmp(method, "GET") == 0 ? ", HEAD" : "");

        if (n < 0 || (size_t)n >= sizeof(text) - bytes)
            break;
        bytes += (size_t)n;
    }
    text[bytes] = '\0';
    (void)!filch_exchange_set(x, "Allow", text);
}

static int answer_without_route(filch_exchange *x)
{
    bool options = strcmp(x->head.method, "OPTIONS") == 0;

    if (options && *x->path == '*')
        return filch_exchange_reply(x, 204, NULL, NULL, 0, FILCH_NEVER);
    if (!x->match.allowed)
        return 404;
    set_allow(x);
    return options ? filch_exchange_reply(x, 204, NULL, NULL, 0, FILCH_NEVER) : 405;
}

/* The status that stands for a handler's error. */
static int status_of_error(const filch_exchange *x)
{
    switch (x->read_error) {
    case 0:
        return 500;
    case -EMSGSIZE:
        return 413;
    case -ETIMEDOUT:
        return 408;
    case -E2BIG:
        return 431;
    default:
        return 400;
    }
}

/* The end of the answer, if the handler has not come to it. */
static void end_answer(filch_exchange *x, int result)
{
    int r = 0;

    if (x->stage == HTTP_UNANSWERED) {
        if (result == 0)
            r = filch_exchange_reply(x, 204, NULL, NULL, 0, FILCH_NEVER);
        else
            r = http_exchange_status(x,
                                     result >= 400 && result <= 599 ? result
                                     : result > 0                   ? 500
                                                                    : status_of_error(x),
                                     FILCH_NEVER);
    } else if (x->stage == HTTP_ANSWERING) {
        if (result != 0 || (x->length >= 0 && x->taken < (uint64_t)x->length && !x->bodiless))
            x->broken = true;
        else
            r = x->wire->finish(x, FILCH_NEVER);
    }
    if (r < 0)
        x->broken = true;
    x->stage = HTTP_ANSWERED;
}

void http_exchange_tell(const filch_exchange *x, bool complete)
{
    const filch_http_server_opts *opts = &x->server->opts;
    filch_http_access access;

    if (!opts->access)
        return;
    access = (filch_http_access){
        .conn = x->tcp,
        .method = x->head.method,
        .target = x->head.target,
        .version = x->head.version,
        .status = x->status,
        .body_bytes = x->bodiless ? 0 : x->taken,
        .duration_ns = x->began ? filch_now() - x->began : 0,
        .complete = complete,
    };
    opts->access(opts->access_context, &access);
}

void http_exchange_run(filch_exchange *x)
{
    const struct http_route *route = x->match.route;

    end_answer(x, route ? route->handler(x, route->context) : answer_without_route(x));
}

/* ---- the request ---- */

const char *filch_exchange_method(filch_exchange *x)
{
    return x ? x->head.method : "";
}

const char *filch_exchange_target(filch_exchange *x)
{
    return x ? x->head.target : "";
}

const char *filch_exchange_path(filch_exchange *x)
{
    return x ? x->path : "";
}

const char *filch_exchange_query(filch_exchange *x)
{
    return x ? x->query : NULL;
}

int filch_exchange_version(filch_exchange *x)
{
    return x ? x->head.version : 0;
}

const char *filch_exchange_host(filch_exchange *x)
{
    return x ? x->host : "";
}

const char *filch_exchange_header(filch_exchange *x, const char *name)
{
    const struct http_field *field = x && name ? http_head_field(&x->head, name) : NULL;

    return field ? field->value : NULL;
}

int filch_exchange_header_at(filch_exchange *x, unsigned index, const char **ret_name,
                             const char **ret_value)
{
    if (!x || !ret_name || !ret_value)
        return -EINVAL;
    if (index >= x->head.count)
        return -ENOENT;
    *ret_name = x->head.fields[index].name;
    *ret_value = x->head.fields[index].value;
    return 0;
}

const char *filch_exchange_param(filch_exchange *x, const char *name)
{
    const struct http_route *route = x && name ? x->match.route : NULL;

    for (unsigned i = 0; route && i < route->param_count; i++)
        if (strcmp(route->param_names[i], name) == 0)
            return x->match.params[i];
    return NULL;
}

/* Decodes a part of a query. Return: bytes; -ERANGE; -EINVAL. */
static long decode_part(const char *part, size_t bytes, char *to, size_t room)
{
    long n;

    if (bytes >= room) {
        /* It may fit when it is decoded. */
        size_t decoded = bytes;

        for (size_t i = 0; i < bytes; i++)
            decoded -= part[i] == '%' && decoded >= 2 ? 2 : 0;
        if (decoded >= room)
            return -ERANGE;
    }
    n = http_percent_decode(part, bytes, to, true);
    if (n < 0)
        return -EINVAL;
    to[n] = '\0';
    return n;
}

/* Is this part, decoded, the name? */
static bool part_is(const char *part, size_t bytes, const char *name)
{
    char text[128];
    long n = decode_part(part, bytes, text, sizeof(text));

    return n >= 0 && (size_t)n == strlen(name) && memcmp(text, name, (size_t)n) == 0;
}

int filch_exchange_query_param(filch_exchange *x, const char *name, char *ret_text, size_t bytes)
{
    if (!x || !name || !ret_text || !bytes)
        return -EINVAL;
    for (const char *at = x->query; at && *at;) {
        size_t length = strcspn(at, "&");
        const char *equals = memchr(at, '=', length);
        size_t name_bytes = equals ? (size_t)(equals - at) : length;

        if (part_is(at, name_bytes, name)) {
            const char *value = at + name_bytes + (equals ? 1 : 0);
            long n = decode_part(value, length - (size_t)(value - at), ret_text, bytes);

            return n < 0 ? (int)n : 0;
        }
        at += length + (at[length] == '&');
    }
    return -ENOENT;
}

filch_tcp *filch_exchange_conn(filch_exchange *x)
{
    return x ? x->tcp : NULL;
}

void *filch_exchange_wrapped(filch_exchange *x)
{
    return x ? x->wrapped : NULL;
}

int64_t filch_exchange_body_bytes(filch_exchange *x)
{
    return x ? x->head.length : 0;
}

ssize_t filch_exchange_read(filch_exchange *x, void *buf, size_t bytes, filch_time until)
{
    if (!x || (!buf && bytes))
        return -EINVAL;
    if (x->read_error)
        return x->read_error;
    return bytes ? x->wire->read(x, buf, bytes, until) : 0;
}

int filch_exchange_read_all(filch_exchange *x, size_t bytes_max, void **ret_data, size_t *ret_bytes,
                            filch_time until)
{
    size_t bytes = 0, room = READ_ALL_BYTES;
    char *data;
    ssize_t n;

    if (!x || !ret_data)
        return -EINVAL;
    if (!bytes_max || bytes_max > SSIZE_MAX - 2)
        bytes_max = SSIZE_MAX - 2;
    if (x->head.length > (int64_t)bytes_max)
        return x->read_error = -EMSGSIZE;
    if (x->head.length >= 0)
        room = (size_t)x->head.length + 1; /* one more: to see the end */
    data = malloc(room + 1);
    if (!data)
        return -ENOMEM;
    while ((n = filch_exchange_read(x, data + bytes, room - bytes, until)) > 0) {
        bytes += (size_t)n;
        if (bytes > bytes_max) {
            n = x->read_error = -EMSGSIZE;
            break;
        }
        if (bytes == room) {
            char *more = realloc(data, room * 2 + 1);

            if (!more) {
                n = -ENOMEM;
                break;
            }
            data = more;
            room *= 2;
        }
    }
    if (n < 0) {
        free(data);
        return (int)n;
    }
    data[bytes] = '\0';
    *ret_data = data;
    if (ret_bytes)
        *ret_bytes = bytes;
    return 0;
}

static ssize_t read_body(void *context, void *buf, size_t bytes, filch_time until)
{
    return filch_exchange_read(context, buf, bytes, until);
}

filch_reader filch_exchange_reader(filch_exchange *x)
{
    return (filch_reader){.read = read_body, .context = x};
}

/* ---- the answer ---- */

/* Fields that say where a message ends and what becomes of its connection. */
static bool is_servers(const char *name)
{
    static const char *const names[] = {"Content-Length", "Transfer-Encoding", "Connection",
                                        "Keep-Alive",     "Upgrade",           "Date"};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (strcasecmp(names[i], name) == 0)
            return true;
    return false;
}

int http_exchange_put_line(filch_exchange *x, size_t at, const char *name, const char *value)
{
    size_t name_bytes = strlen(name), value_bytes;
    char *to = x->set + at;

    value += strspn(value, " \t"); /* HTTP/2 has no spaces around values */
    value_bytes = strlen(value);
    while (value_bytes && strchr(" \t", value[value_bytes - 1]))
        value_bytes--;
    if (name_bytes + value_bytes + 4 > sizeof(x->set) - at)
        return -ENOBUFS;
    memcpy(to, name, name_bytes);
    memcpy(to + name_bytes, ": ", 2);
    memcpy(to + name_bytes + 2, value, value_bytes);
    memcpy(to + name_bytes + 2 + value_bytes, "\r\n", 2);
    return (int)(name_bytes + value_bytes + 4);
}

int filch_exchange_set(filch_exchange *x, const char *name, const char *value)
{
    int bytes;

    if (!x || !name || !value || !http_is_token(name, strlen(name)) ||
        !http_is_value(value, strlen(value)) || is_servers(name))
        return -EINVAL;
    if (x->stage != HTTP_UNANSWERED)
        return -EALREADY;
    bytes = http_exchange_put_line(x, x->set_bytes, name, value);
    if (bytes < 0)
        return bytes;
    x->set_bytes += (size_t)bytes;
    return 0;
}

/* Begins an answer. @length: also of a body that is not sent. */
static int begin(filch_exchange *x, int status, const char *type, int64_t length, filch_time until)
{
    int r;

    if (!x || status < 200 || status > 599 || length < -1 ||
        (type && !http_is_value(type, strlen(type))))
        return -EINVAL;
    if (x->stage != HTTP_UNANSWERED)
        return -EALREADY;
    x->status = status;
    x->length = length;
    x->bodiless = status == 204 || status == 304 || strcmp(x->head.method, "HEAD") == 0;
    r = x->wire->begin(x, type, until);
    if (r < 0) {
        x->status = 0;
        return r;
    }
    x->stage = HTTP_ANSWERING;
    return 0;
}

int filch_exchange_begin(filch_exchange *x, int status, const char *type, int64_t body_bytes,
                         filch_time until)
{
    return begin(x, status, type, body_bytes, until);
}

int filch_exchange_reply(filch_exchange *x, int status, const char *type, const void *body,
                         size_t bytes, filch_time until)
{
    int r;

    if ((!body && bytes) || bytes > INT64_MAX)
        return -EINVAL;
    r = begin(x, status, type, (int64_t)bytes, until);
    if (r == 0 && bytes)
        r = filch_exchange_write_all(x, body, bytes, NULL, until);
    if (r == 0)
        r = x->wire->finish(x, until);
    if (r == 0)
        x->stage = HTTP_ANSWERED;
    else if (x && r != -EALREADY && r != -EINVAL)
        x->broken = x->stage == HTTP_ANSWERING;
    return r;
}

ssize_t filch_exchange_write(filch_exchange *x, const void *data, size_t bytes, filch_time until)
{
    ssize_t n;

    if (!x || (!data && bytes))
        return -EINVAL;
    if (x->stage != HTTP_ANSWERING)
        return -EPROTO;
    if (x->length >= 0 && bytes > (uint64_t)x->length - x->taken)
        return -EMSGSIZE;
    if (!bytes)
        return 0;
    if (x->bodiless) {
        x->taken += bytes;
        return (ssize_t)bytes;
    }
    n = x->wire->write(x, data, bytes, until);
    if (n > 0)
        x->taken += (uint64_t)n;
    return n;
}

int filch_exchange_write_all(filch_exchange *x, const void *data, size_t bytes, size_t *ret_done,
                             filch_time until)
{
    size_t done = 0;
    ssize_t n;

    do {
        n = filch_exchange_write(x, (const char *)data + done, bytes - done, until);
        if (n > 0)
            done += (size_t)n;
    } while (n > 0 && done < bytes);
    if (ret_done)
        *ret_done = done;
    return n < 0 ? (int)n : 0;
}

int filch_exchange_flush(filch_exchange *x, filch_time until)
{
    if (!x)
        return -EINVAL;
    if (x->stage == HTTP_UNANSWERED)
        return -EPROTO;
    return x->wire->flush(x, until);
}

static ssize_t write_body(void *context, const void *buf, size_t bytes, filch_time until)
{
    return filch_exchange_write(context, buf, bytes, until);
}

filch_writer filch_exchange_writer(filch_exchange *x)
{
    return (filch_writer){.write = write_body, .context = x};
}

int filch_exchange_upgrade(filch_exchange *x, const char *protocol, filch_io *ret_io,
                           filch_time until)
{
    if (!x || !protocol || !ret_io || !http_is_value(protocol, strlen(protocol)))
        return -EINVAL;
    if (x->stage != HTTP_UNANSWERED)
        return -EALREADY;
    if (!x->head.upgrades || x->head.length || !x->wire->upgrade)
        return -EPROTO;
    return x->wire->upgrade(x, protocol, ret_io, until);
}
