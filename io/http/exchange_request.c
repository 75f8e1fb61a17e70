/* What handlers ask of their request, whatever the version of HTTP below: its target and its parts,
 * its fields, and its body. Its trailers: trailers.c. */
#include "io/http/exchange.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "io/http/route.h"

/* What filch_exchange_read_all() begins with when a length is not known. */
#define READ_ALL_BYTES 4096

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

/* ---- parts of the head ---- */

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

/* ---- the body ---- */

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
