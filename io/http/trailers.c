/* Trailers: fields behind a body, of requests and of answers.
 *
 *     | head | body | TRAILERS |       HTTP/1: behind the last chunk; HTTP/2: a head of their own
 *
 * They are kept apart from the fields of the head, so that nothing which was decided by those can
 * be changed by what comes later. A request's are the handler's when it has read the body to its
 * end; they count with the fields of the head. Those of an answer lie behind its fields, in one
 * room, and leave with the end of the body. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "io/http/exchange.h"
#include "io/http/trailer_names.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* One line, without its end. Return: 0; the status with which it is refused; -1: not to be kept. */
static int parse_line(char *line, char *end, struct http_field *field)
{
    char *colon = memchr(line, ':', (size_t)(end - line)), *value;

    if (!colon || !http_is_token(line, (size_t)(colon - line)))
        return 400;
    for (value = colon + 1; value < end && is_blank(*value); value++)
        ;
    while (end > value && is_blank(end[-1]))
        end--;
    if (!http_is_value(value, (size_t)(end - value)))
        return 400;
    switch (http_trailer_rule(line, (size_t)(colon - line))) {
    case HTTP_TRAILER_REFUSE:
        return 400;
    case HTTP_TRAILER_DROP:
        return -1;
    case HTTP_TRAILER_KEEP:
        break;
    }
    *field = (struct http_field){.name = line,
                                 .value = value,
                                 .name_bytes = (uint32_t)(colon - line),
                                 .value_bytes = (uint32_t)(end - value)};
    *colon = *end = '\0';
    return 0;
}

int http_trailers_parse(char *text, size_t bytes, struct http_field *fields, unsigned max,
                        unsigned *ret_count)
{
    unsigned count = 0;

    for (char *line = text, *end; line < text + bytes - 2; line = end + 2) {
        struct http_field field;
        int status;

        end = memchr(line, '\r', (size_t)(text + bytes - line));
        status = parse_line(line, end, &field);
        if (status > 0)
            return status;
        if (status < 0)
            continue;
        if (count == max)
            return 431;
        fields[count++] = field;
    }
    *ret_count = count;
    return 0;
}

/* ---- of the request ---- */

int filch_exchange_trailer_at(filch_exchange *x, unsigned index, const char **ret_name,
                              const char **ret_value)
{
    if (!x || !ret_name || !ret_value)
        return -EINVAL;
    if (index >= x->trailer_count)
        return -ENOENT;
    *ret_name = x->trailers[index].name;
    *ret_value = x->trailers[index].value;
    return 0;
}

const char *filch_exchange_trailer(filch_exchange *x, const char *name)
{
    for (unsigned i = 0; x && name && i < x->trailer_count; i++)
        if (strcasecmp(x->trailers[i].name, name) == 0)
            return x->trailers[i].value;
    return NULL;
}

/* ---- of the answer ---- */

/* Does a field "Trailer" of the answer have this name in its list? */
static bool is_announced(const struct filch_exchange *x, const char *name, size_t bytes)
{
    static const char field[] = "Trailer:";
    const char *end = x->set + x->set_bytes;

    for (const char *at = x->set; at < end; at = strchr(at, '\n') + 1) {
        if (strncasecmp(at, field, sizeof(field) - 1) != 0)
            continue;
        for (at += sizeof(field) - 1; *at != '\r';) {
            size_t length;

            at += strspn(at, " \t,");
            length = strcspn(at, " \t,\r");
            if (length == bytes && strncasecmp(at, name, bytes) == 0)
                return true;
            at += length;
        }
    }
    return false;
}

/* Has the peer said that it takes them? */
static bool peer_takes_trailers(const struct filch_exchange *x)
{
    if (x->head.version < 11)
        return false;
    for (unsigned i = 0; i < x->head.count; i++)
        if (strcasecmp(x->head.fields[i].name, "TE") == 0 &&
            http_list_has(x->head.fields[i].value, "trailers"))
            return true;
    return false;
}

int filch_exchange_set_trailer(filch_exchange *x, const char *name, const char *value)
{
    int bytes;

    if (!x || !name || !value || !http_is_token(name, strlen(name)) ||
        !http_is_value(value, strlen(value)) ||
        http_trailer_rule(name, strlen(name)) != HTTP_TRAILER_KEEP)
        return -EINVAL;
    if (x->stage != HTTP_ANSWERING || x->length >= 0)
        return -EPROTO;
    if (!is_announced(x, name, strlen(name)))
        return -ENOENT;
    if (!peer_takes_trailers(x))
        return -EOPNOTSUPP;
    if (x->bodiless)
        return 0;
    bytes = http_exchange_put_line(x, x->set_bytes + x->trailer_bytes, name, value);
    if (bytes < 0)
        return bytes;
    x->trailer_bytes += (size_t)bytes;
    return 0;
}
