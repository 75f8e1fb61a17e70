/* Files as answers: what a condition or a range of the request makes of them.
 *
 *     If-Match, If-Unmodified-Since          412
 *     If-None-Match, If-Modified-Since       304
 *     Range, unless If-Range says otherwise  206, 416
 *     else                                   200
 *
 * in the order of RFC 9110, 13.2.2. A file's validator is its time of change to the nanosecond and
 * its size, so it is a strong one as far as a file system tells. One range is served; a request for
 * several gets the whole, as it may. A file that shrinks while it is sent cuts the answer off.
 *
 * A folder's names are those that the route decoded: no "..", no encoded slash. Names that begin
 * with a dot are hidden. Symbolic links are followed, whoever may write to the folder decides what
 * is served. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <filch/file.h>

#include "io/http/date.h"
#include "io/http/exchange.h"

#define SMALL_BYTES 8192
#define LARGE_BYTES ((size_t)128 * 1024)
/* From here on the kernel's way is worth a write for the head alone. */
#define SEND_BYTES ((size_t)64 * 1024)
#define PATH_BYTES 4096
#define ETAG_BYTES 48

struct span {
    uint64_t first, bytes;
};

static const struct {
    const char *ending, *type;
} types[] = {
    {"html", "text/html; charset=utf-8"},
    {"htm", "text/html; charset=utf-8"},
    {"css", "text/css; charset=utf-8"},
    {"js", "text/javascript; charset=utf-8"},
    {"mjs", "text/javascript; charset=utf-8"},
    {"txt", "text/plain; charset=utf-8"},
    {"md", "text/markdown; charset=utf-8"},
    {"csv", "text/csv; charset=utf-8"},
    {"json", "application/json"},
    {"xml", "application/xml"},
    {"pdf", "application/pdf"},
    {"zip", "application/zip"},
    {"gz", "application/gzip"},
    {"wasm", "application/wasm"},
    {"svg", "image/svg+xml"},
    {"png", "image/png"},
    {"jpg", "image/jpeg"},
    {"jpeg", "image/jpeg"},
    {"gif", "image/gif"},
    {"webp", "image/webp"},
    {"avif", "image/avif"},
    {"ico", "image/x-icon"},
    {"woff2", "font/woff2"},
    {"mp3", "audio/mpeg"},
    {"ogg", "audio/ogg"},
    {"mp4", "video/mp4"},
    {"webm", "video/webm"},
};

static const char *type_of(const char *path)
{
    const char *name = strrchr(path, '/');
    const char *dot = strrchr(name ? name : path, '.');

    for (size_t i = 0; dot && i < sizeof(types) / sizeof(*types); i++)
        if (strcasecmp(dot + 1, types[i].ending) == 0)
            return types[i].type;
    return "application/octet-stream";
}

/* ---- conditions ---- */

/* Is the validator in a list of them, or is it "*"? @weak: a weak one will do. */
static bool list_has_etag(const char *list, const char *etag, bool weak)
{
    size_t bytes = strlen(etag);

    if (strcmp(list, "*") == 0)
        return true;
    while (*list) {
        const char *end;

        list += strspn(list, " \t,");
        if (strncmp(list, "W/", 2) == 0) {
            list += 2;
            if (!weak) {
                list += strcspn(list, ",");
                continue;
            }
        }
        if (*list != '"' || !(end = strchr(list + 1, '"')))
            return false;
        end++;
        if ((size_t)(end - list) == bytes && memcmp(list, etag, bytes) == 0)
            return true;
        list = end;
    }
    return false;
}

/* Return: 0: go on; 304; 412. */
static int check_conditions(filch_exchange *x, const char *etag, int64_t modified_s)
{
    const char *match = filch_exchange_header(x, "If-Match");
    const char *none_match = filch_exchange_header(x, "If-None-Match");
    const char *since = filch_exchange_header(x, "If-Modified-Since");
    const char *not_since = filch_exchange_header(x, "If-Unmodified-Since");

    if (match) {
        if (!list_has_etag(match, etag, false))
            return 412;
    } else if (not_since) {
        int64_t s = http_date_read(not_since);

        if (s >= 0 && modified_s > s)
            return 412;
    }
    if (none_match)
        return list_has_etag(none_match, etag, true) ? 304 : 0;
    if (since) {
        int64_t s = http_date_read(since);

        if (s >= 0 && modified_s <= s)
            return 304;
    }
    return 0;
}

/* ---- ranges ---- */

/* Return: false: no number there. */
static bool take_number(const char **at, uint64_t *ret_number)
{
    uint64_t number = 0;
    const char *begin = *at;

    for (; **at >= '0' && **at <= '9'; ++*at) {
        if (*at - begin >= 18)
            return false;
        number = number * 10 + (uint64_t)(**at - '0');
    }
    *ret_number = number;
    return *at > begin;
}

/* "bytes=0-99", "bytes=100-", "bytes=-100". Return: 206; 416; 200: none, or not to be minded. */
static int parse_range(const char *text, uint64_t size, struct span *span)
{
    uint64_t first, last;
    bool has_first, has_last;

    if (!text || strncasecmp(text, "bytes=", 6) != 0)
        return 200;
    text += 6;
    has_first = take_number(&text, &first);
    if (*text++ != '-')
        return 200;
    has_last = take_number(&text, &last);
    if (*text || (!has_first && !has_last) || (has_first && has_last && first > last))
        return 200;
    if (!has_first) {
        if (!last || !size)
            return 416;
        first = last < size ? size - last : 0;
        last = size - 1;
    } else if (first >= size) {
        return 416;
    } else if (!has_last || last >= size) {
        last = size - 1;
    }
    *span = (struct span){first, last - first + 1};
    return 206;
}

/* Does the peer's part, which a range continues, come from what the file is now? */
static bool range_holds(filch_exchange *x, const char *etag, int64_t modified_s)
{
    const char *condition = filch_exchange_header(x, "If-Range");

    if (!condition)
        return true;
    if (*condition == '"')
        return strcmp(condition, etag) == 0;
    return http_date_read(condition) == modified_s;
}

/* ---- the answer ---- */

static int copy_span(filch_exchange *x, filch_file *file, struct span span, filch_time until)
{
    char small[SMALL_BYTES];
    size_t room = span.bytes <= SMALL_BYTES ? SMALL_BYTES : LARGE_BYTES;
    char *buf = span.bytes <= SMALL_BYTES ? small : malloc(room);
    int r = buf ? 0 : -ENOMEM;

    while (r == 0 && span.bytes) {
        size_t want = span.bytes < room ? (size_t)span.bytes : room;
        ssize_t n = filch_file_pread(file, buf, want, (int64_t)span.first, until);

        if (n <= 0) {
            r = n < 0 ? (int)n : -EIO; /* it has shrunk */
            break;
        }
        r = filch_exchange_write_all(x, buf, (size_t)n, NULL, until);
        span.first += (uint64_t)n;
        span.bytes -= (uint64_t)n;
    }
    if (buf != small)
        free(buf);
    return r;
}

static int send_span(filch_exchange *x, filch_file *file, struct span span, filch_time until)
{
    uint64_t done = 0;
    int r = -EOPNOTSUPP;

    if (x->wire->send_file && span.bytes >= SEND_BYTES)
        r = x->wire->send_file(x, file, span.first, span.bytes, &done, until);
    if (r == -EOPNOTSUPP)
        return copy_span(x, file, span, until);
    x->taken += done;
    return r == -ENODATA ? -EIO : r; /* it has shrunk */
}

/* Fields of every answer about a file. */
static int describe(filch_exchange *x, const char *etag, int64_t modified_s)
{
    char date[HTTP_DATE_BYTES + 1] = "";
    int r;

    http_date_write(modified_s, date);
    r = filch_exchange_set(x, "ETag", etag);
    if (r == 0)
        r = filch_exchange_set(x, "Last-Modified", date);
    if (r == 0)
        r = filch_exchange_set(x, "Accept-Ranges", "bytes");
    return r;
}

static int answer(filch_exchange *x, filch_file *file, const filch_file_info *info,
                  const char *type, filch_time until)
{
    struct span span = {0, info->bytes};
    int64_t modified_s = info->modified_ns / (int64_t)FILCH_SECOND;
    char etag[ETAG_BYTES], range[96];
    int status, r;

    snprintf(etag, sizeof(etag), "\"%" PRIx64 "-%" PRIx64 "\"", (uint64_t)info->modified_ns,
             info->bytes);
    r = describe(x, etag, modified_s);
    if (r < 0)
        return r;
    status = check_conditions(x, etag, modified_s);
    if (status == 304)
        return filch_exchange_reply(x, 304, NULL, NULL, 0, until);
    if (status)
        return http_exchange_status(x, status, until);
    status = strcmp(x->head.method, "GET") == 0 && range_holds(x, etag, modified_s)
                 ? parse_range(filch_exchange_header(x, "Range"), info->bytes, &span)
                 : 200;
    if (status == 416) {
        snprintf(range, sizeof(range), "bytes */%" PRIu64, info->bytes);
        r = filch_exchange_set(x, "Content-Range", range);
        return r < 0 ? r : http_exchange_status(x, 416, until);
    }
    if (status == 206) {
        snprintf(range, sizeof(range), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, span.first,
                 span.first + span.bytes - 1, info->bytes);
        r = filch_exchange_set(x, "Content-Range", range);
    }
    if (r == 0)
        r = filch_exchange_begin(x, status, type, (int64_t)span.bytes, until);
    if (r == 0 && !x->bodiless)
        r = send_span(x, file, span, until);
    return r;
}

int filch_exchange_reply_file(filch_exchange *x, const char *path, const char *type,
                              filch_time until)
{
    filch_file *file;
    filch_file_info info;
    int r;

    if (!x || !path)
        return -EINVAL;
    if (x->stage != HTTP_UNANSWERED)
        return -EALREADY;
    /* A FIFO would be waited for. */
    r = filch_file_open(path, O_RDONLY | O_NONBLOCK, 0, &file, until);
    if (r < 0)
        return r;
    r = filch_file_stat(file, &info, until);
    if (r == 0 && info.type != FILCH_FILE_REGULAR)
        r = info.type == FILCH_FILE_DIRECTORY ? -EISDIR : -EACCES;
    if (r == 0)
        r = answer(x, file, &info, type ? type : type_of(path), until);
    filch_file_close(file);
    return r;
}

static bool is_hidden(const char *path)
{
    return *path == '.' || strstr(path, "/.");
}

int http_serve_folder(filch_exchange *x, void *context)
{
    const char *folder = x->match.route->folder, *path = x->match.params[0];
    char name[PATH_BYTES];
    size_t bytes = strlen(path);
    const char *index = !bytes || path[bytes - 1] == '/' ? "index.html" : "";
    int n, r;

    (void)context;
    if (!folder || is_hidden(path))
        return 404;
    n = snprintf(name, sizeof(name), "%s/%s%s", folder, path, index);
    if (n < 0 || (size_t)n >= sizeof(name))
        return 404;
    r = filch_exchange_reply_file(x, name, NULL, FILCH_NEVER);
    switch (r) {
    case -ENOENT:
    case -ENOTDIR:
    case -ENAMETOOLONG:
    case -EISDIR:
    case -ELOOP:
        return 404;
    case -EACCES:
    case -EPERM:
        return 403;
    case -EMFILE:
    case -ENFILE:
    case -ENOMEM:
        return x->stage == HTTP_UNANSWERED ? 503 : r;
    default:
        return r;
    }
}
