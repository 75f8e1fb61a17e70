/* Heads of requests: Debian's http_parser, and what it lets pass.
 *
 * A head is read when it is there as a whole, so how it came in pieces makes no difference, and
 * its texts are where they were received. First its end is found, line by line:
 *
 *     [scan]   each line ends in CR LF, no other CR or LF is anywhere, and no line begins with a
 *              space: so nobody can take one line for two, or two for one;
 *
 * then the parser splits it, and its fields are looked at once more, for the parser was made to be
 * lenient: a name is a token up to its colon, a value has no control characters, one space
 * separates the words of the first line, a length has digits only and there is one, a coding is
 * exactly "chunked", a host is there once. A request that says twice where it ends, or in a way
 * that others may not see, is refused: that is how requests are smuggled past a proxy (RFC
 * 9112, 6.1, 6.3, 11.2).
 *
 * Pure: no I/O, no clock. The framing of bodies is in chunks.c. */
#include "io/http/parse.h"

#include <http_parser.h>
#include <string.h>
#include <strings.h>

/* Longest number of a length: fits an int64_t. */
#define LENGTH_DIGITS 18

static const bool token_chars[256] = {
    ['!'] = true,         ['#' ... '\''] = true, ['*'] = true, ['+'] = true, ['-'] = true,
    ['.'] = true,         ['0' ... '9'] = true,  ['^'] = true, ['_'] = true, ['`'] = true,
    ['A' ... 'Z'] = true, ['a' ... 'z'] = true,  ['|'] = true, ['~'] = true,
};

/* Of a host, with its port: RFC 3986, 3.2.2; no user. */
static const bool host_chars[256] = {
    ['!'] = true,         ['$' ... '.'] = true, ['0' ... '9'] = true, [':'] = true,
    [';'] = true,         ['='] = true,         ['['] = true,         [']'] = true,
    ['A' ... 'Z'] = true, ['_'] = true,         ['a' ... 'z'] = true, ['~'] = true,
};

static bool all_of(const bool *chars, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (!chars[(unsigned char)text[i]])
            return false;
    return true;
}

bool http_is_token(const char *text, size_t bytes)
{
    return bytes && all_of(token_chars, text, bytes);
}

bool http_is_value(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];

        if ((c < ' ' && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

const struct http_field *http_head_field(const struct http_head *head, const char *name)
{
    size_t bytes = strlen(name);

    for (unsigned i = 0; i < head->count; i++)
        if (head->fields[i].name_bytes == bytes &&
            strncasecmp(head->fields[i].name, name, bytes) == 0)
            return &head->fields[i];
    return NULL;
}

bool http_list_has(const char *list, const char *token)
{
    size_t bytes = strlen(token);

    while (*list) {
        size_t length;

        list += strspn(list, " \t,");
        length = strcspn(list, " \t,");
        if (length == bytes && strncasecmp(list, token, bytes) == 0)
            return true;
        list += length;
    }
    return false;
}

ssize_t http_head_find(const char *text, size_t bytes, struct http_scan *scan)
{
    const char *end;

    while ((end = memchr(text + scan->at, '\n', bytes - scan->at))) {
        const char *line = text + scan->line;

        scan->at = scan->line = (size_t)(end - text) + 1;
        /* [scan] the first CR is the one before the LF */
        if (end == line || memchr(line, '\r', (size_t)(end - line)) != end - 1 || *line == ' ' ||
            *line == '\t')
            return -1;
        if (end - 1 == line)
            return (ssize_t)scan->at;
    }
    scan->at = bytes;
    return 0;
}

/* ---- the parser's calls; it has all of the head, so each text comes once ---- */

static int on_url(http_parser *parser, const char *at, size_t bytes)
{
    struct http_head *head = parser->data;

    head->target = (char *)at;
    head->target_bytes = bytes;
    return 0;
}

static int on_field(http_parser *parser, const char *at, size_t bytes)
{
    struct http_head *head = parser->data;

    if (head->count == head->max)
        return 1;
    head->fields[head->count++] = (struct http_field){
        .name = (char *)at, .name_bytes = (uint32_t)bytes, .value = (char *)at + bytes};
    return 0;
}

static int on_value(http_parser *parser, const char *at, size_t bytes)
{
    struct http_head *head = parser->data;
    struct http_field *field = &head->fields[head->count - 1];

    while (bytes && (at[bytes - 1] == ' ' || at[bytes - 1] == '\t'))
        bytes--;
    if (!bytes)
        return 0; /* @at is in the next line then; on_field() has put an empty one */
    field->value = (char *)at;
    field->value_bytes = (uint32_t)bytes;
    return 0;
}

/* The body is ours to read. */
static int on_headers_complete(http_parser *parser)
{
    (void)parser;
    return 1;
}

static int refusal(const http_parser *parser, const char *text)
{
    size_t method = strcspn(text, " \r");

    switch (HTTP_PARSER_ERRNO(parser)) {
    case HPE_CB_header_field:
    case HPE_HEADER_OVERFLOW:
        return 431;
    case HPE_INVALID_METHOD:
        return text[method] == ' ' && http_is_token(text, method) ? 501 : 400;
    default:
        return 400;
    }
}

/* The first line, word for word: METHOD SP TARGET SP HTTP/1.x CR LF. */
static int check_request_line(struct http_head *head, const http_parser *parser, const char *text)
{
    const char *target = text + strlen(head->method) + 1, *end;

    if (head->target != target || memcmp(text, head->method, strlen(head->method)) != 0)
        return 400;
    end = target + head->target_bytes;
    if (strncmp(end, " HTTP/", 6) != 0 || end[9] != '\r')
        return 400; /* HTTP/0.9, or more than a space */
    if (parser->http_major != 1 || parser->http_minor > 1)
        return 505;
    for (const char *c = target; c < end; c++)
        if (*c <= ' ' || *c > '~' || *c == '#')
            return 400;
    return 0;
}

/* Return: 0; -1: not a plain number. */
static int parse_length(const struct http_field *field, int64_t *ret_length)
{
    int64_t length = 0;

    if (field->value_bytes < 1 || field->value_bytes > LENGTH_DIGITS)
        return -1;
    for (uint32_t i = 0; i < field->value_bytes; i++) {
        char c = field->value[i];

        if (c < '0' || c > '9')
            return -1;
        length = length * 10 + (c - '0');
    }
    *ret_length = length;
    return 0;
}

/* Return: 0: chunks; 501: chunks of something that we do not decode; 400: whatever it is, there are
 * no chunks outside, so nobody knows where it ends. */
static int check_coding(const struct http_field *field)
{
    static const char chunked[] = "chunked";
    size_t bytes = sizeof(chunked) - 1;
    const char *last = field->value + field->value_bytes - bytes;

    if (field->value_bytes < bytes || strcasecmp(last, chunked) != 0)
        return 400;
    if (last == field->value)
        return 0;
    return strchr(" \t,", last[-1]) ? 501 : 400;
}

/* What the fields say of the message, counted where once is enough. */
struct seen {
    unsigned hosts, lengths, codings;
    bool close, keep_alive, upgrade_token, upgrade_field;
};

static bool is_named(const struct http_field *field, const char *name)
{
    return strncasecmp(field->name, name, field->name_bytes) == 0;
}

/* Return: 0, or the status. The texts end in zeroes here. */
static int look_at_field(struct http_head *head, const struct http_field *field, struct seen *seen)
{
    switch (field->name_bytes) {
    case 4:
        if (is_named(field, "host")) {
            head->host = field->value;
            if (seen->hosts++ || !all_of(host_chars, field->value, field->value_bytes))
                return 400;
        }
        return 0;
    case 6:
        if (is_named(field, "expect")) {
            if (strcasecmp(field->value, "100-continue") != 0)
                return 417;
            head->continues = head->version >= 11;
        }
        return 0;
    case 7:
        if (is_named(field, "upgrade"))
            seen->upgrade_field = true;
        return 0;
    case 10:
        if (is_named(field, "connection")) {
            seen->close |= http_list_has(field->value, "close");
            seen->keep_alive |= http_list_has(field->value, "keep-alive");
            seen->upgrade_token |= http_list_has(field->value, "upgrade");
        }
        return 0;
    case 14:
        if (is_named(field, "content-length") &&
            (seen->lengths++ || parse_length(field, &head->length) < 0))
            return 400;
        return 0;
    case 17:
        if (is_named(field, "transfer-encoding")) {
            if (seen->codings++ || head->version < 11)
                return 400;
            return check_coding(field);
        }
        return 0;
    default:
        return 0;
    }
}

static int look_at_fields(struct http_head *head)
{
    struct seen seen = {0};

    for (unsigned i = 0; i < head->count; i++) {
        struct http_field *field = &head->fields[i];
        int status;

        if (!http_is_token(field->name, field->name_bytes) ||
            field->name[field->name_bytes] != ':' ||
            !http_is_value(field->value, field->value_bytes))
            return 400;
        field->name[field->name_bytes] = '\0';
        field->value[field->value_bytes] = '\0';
        status = look_at_field(head, field, &seen);
        if (status)
            return status;
    }
    if ((seen.lengths && seen.codings) || (head->version >= 11 && !seen.hosts))
        return 400;
    if (seen.codings)
        head->length = -1;
    if (!head->length)
        head->continues = false;
    head->keep = !seen.close && (head->version >= 11 || seen.keep_alive);
    head->upgrades = seen.upgrade_token && seen.upgrade_field && head->version >= 11;
    return 0;
}

int http_head_parse(struct http_head *head, char *text, size_t bytes)
{
    static const http_parser_settings settings = {
        .on_url = on_url,
        .on_header_field = on_field,
        .on_header_value = on_value,
        .on_headers_complete = on_headers_complete,
    };
    http_parser parser;
    size_t parsed;
    int status;

    *head = (struct http_head){.host = "", .fields = head->fields, .max = head->max};
    http_parser_init(&parser, HTTP_REQUEST);
    parser.data = head;
    parsed = http_parser_execute(&parser, &settings, text, bytes);
    if (HTTP_PARSER_ERRNO(&parser) != HPE_OK)
        return refusal(&parser, text);
    if (parsed != bytes || !head->target)
        return 400;
    head->method = http_method_str((enum http_method)parser.method);
    head->version = parser.http_major * 10 + parser.http_minor;
    status = check_request_line(head, &parser, text);
    if (status) {
        head->version = 0;
        return status;
    }
    head->target[head->target_bytes] = '\0';
    return look_at_fields(head);
}
