/* Exchanges: a handler is run, and what it says is answered, whatever the version of HTTP below.
 *
 *     UNANSWERED --begin--> ANSWERING --written, or the handler's end--> ANSWERED
 *
 * This file keeps the order: a head once, then as much of a body as was announced. How heads and
 * bodies look on the wire is the wire's (h1.c). A body that has none to be sent (HEAD, 204, 304) is
 * taken and dropped here, so handlers need not know. What they ask: exchange_request.c.
 *
 * When a handler fails before its answer began, the answer is what it failed of: of the request's
 * body, for which the peer is to blame, or of itself (500). When it fails later the exchange is
 * `broken`: the wire cuts it off. */
#include "io/http/exchange.h"

#include <errno.h>
#include <http_parser.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <filch/time.h>

#include "io/http/server.h"

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
