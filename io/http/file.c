/* Files as answers: what a condition or a range of the request makes of them.
 *
 *     If-Match, If-Unmodified-Since          412
 *     If-None-Match, If-Modified-Since       304
 *     Range, unless If-Range says otherwise  206, 416
 *     else                                   200
 *
 * in the order of RFC 9110, 13.2.2. A file's validator is its time of change to the nanosecond and
 * its size, so it is a strong one as far as a file system tells. Several ranges come as parts of
 * one body (multipart/byteranges), each with a head of its own and an end of line before the next:
 *
 *     --boundary, Content-Type, Content-Range, empty line, bytes; ... --boundary--
 *
 * A file that shrinks while it is sent cuts the answer off.
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
#include <sys/random.h>

#include <filch/file.h>

#include "io/http/date.h"
#include "io/http/exchange.h"
#include "io/http/ranges.h"

#define SMALL_BYTES 8192
#define LARGE_BYTES ((size_t)128 * 1024)
/* From here on the kernel's way is worth a write for the head alone. */
#define SEND_BYTES ((size_t)64 * 1024)
#define PATH_BYTES 4096
#define ETAG_BYTES 48

/* Of a boundary: 128 random bits, which no file has by chance or by intent. */
#define BOUNDARY_BYTES 33
/* What stands before each of several ranges. */
#define PART_BYTES 512

/* A file that is answered with. */
struct answer {
    filch_exchange *x;
    filch_file *file;
    uint64_t bytes;
    const char *type;
    struct http_ranges ranges;
    char boundary[BOUNDARY_BYTES];
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

static int copy_span(filch_exchange *x, filch_file *file, struct http_range span, filch_time until)
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

static int send_span(filch_exchange *x, filch_file *file, struct http_range span, filch_time until)
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

/* "bytes 0-99/1000" */
static void name_range(char *to, size_t room, struct http_range range, uint64_t size)
{
    snprintf(to, room, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, range.first,
             range.first + range.bytes - 1, size);
}

static int answer_whole(const struct answer *a, filch_time until)
{
    int r = filch_exchange_begin(a->x, 200, a->type, (int64_t)a->bytes, until);

    return r < 0 || a->x->bodiless
               ? r
               : send_span(a->x, a->file, (struct http_range){0, a->bytes}, until);
}

static int answer_range(const struct answer *a, filch_time until)
{
    struct http_range range = a->ranges.at[0];
    char text[96];
    int r;

    name_range(text, sizeof(text), range, a->bytes);
    r = filch_exchange_set(a->x, "Content-Range", text);
    if (r == 0)
        r = filch_exchange_begin(a->x, 206, a->type, (int64_t)range.bytes, until);
    return r < 0 ? r : send_span(a->x, a->file, range, until);
}

static int make_boundary(struct answer *a)
{
    unsigned char bits[(BOUNDARY_BYTES - 1) / 2];

    if (getrandom(bits, sizeof(bits), 0) != (ssize_t)sizeof(bits))
        return -EIO;
    for (size_t i = 0; i < sizeof(bits); i++)
        snprintf(a->boundary + 2 * i, 3, "%02x", bits[i]);
    return 0;
}

/* What stands before a range. Return: bytes; -EINVAL: the type is too long. */
static int write_part(const struct answer *a, size_t index, char *to)
{
    char range[96];
    int n;

    name_range(range, sizeof(range), a->ranges.at[index], a->bytes);
    n = snprintf(to, PART_BYTES, "%s--%s\r\nContent-Type: %s\r\nContent-Range: %s\r\n\r\n",
                 index ? "\r\n" : "", a->boundary, a->type, range);
    return n < PART_BYTES ? n : -EINVAL;
}

/* Return: bytes of the body; -EINVAL. */
static int64_t parts_bytes(const struct answer *a, size_t end_bytes)
{
    char part[PART_BYTES];
    int64_t bytes = (int64_t)end_bytes;

    for (size_t i = 0; i < a->ranges.count; i++) {
        int n = write_part(a, i, part);

        if (n < 0)
            return n;
        bytes += n + (int64_t)a->ranges.at[i].bytes;
    }
    return bytes;
}

static int answer_ranges(struct answer *a, filch_time until)
{
    char type[96], part[PART_BYTES];
    int64_t bytes;
    int end_bytes, r = make_boundary(a);

    if (r < 0)
        return r;
    snprintf(type, sizeof(type), "multipart/byteranges; boundary=%s", a->boundary);
    end_bytes = (int)strlen("\r\n----\r\n") + BOUNDARY_BYTES - 1;
    bytes = parts_bytes(a, (size_t)end_bytes);
    r = bytes < 0 ? (int)bytes : filch_exchange_begin(a->x, 206, type, bytes, until);
    for (size_t i = 0; r == 0 && i < a->ranges.count; i++) {
        r = filch_exchange_write_all(a->x, part, (size_t)write_part(a, i, part), NULL, until);
        if (r == 0)
            r = send_span(a->x, a->file, a->ranges.at[i], until);
    }
    if (r < 0)
        return r;
    snprintf(part, sizeof(part), "\r\n--%s--\r\n", a->boundary);
    return filch_exchange_write_all(a->x, part, (size_t)end_bytes, NULL, until);
}

static int refuse_range(const struct answer *a, filch_time until)
{
    char text[96];
    int r;

    snprintf(text, sizeof(text), "bytes */%" PRIu64, a->bytes);
    r = filch_exchange_set(a->x, "Content-Range", text);
    return r < 0 ? r : http_exchange_status(a->x, 416, until);
}

static int answer(struct answer *a, int64_t modified_ns, filch_time until)
{
    filch_exchange *x = a->x;
    int64_t modified_s = modified_ns / (int64_t)FILCH_SECOND;
    const char *range = NULL;
    char etag[ETAG_BYTES];
    int status, r;

    snprintf(etag, sizeof(etag), "\"%" PRIx64 "-%" PRIx64 "\"", (uint64_t)modified_ns, a->bytes);
    r = describe(x, etag, modified_s);
    if (r < 0)
        return r;
    status = check_conditions(x, etag, modified_s);
    if (status == 304)
        return filch_exchange_reply(x, 304, NULL, NULL, 0, until);
    if (status)
        return http_exchange_status(x, status, until);
    if (strcmp(x->head.method, "GET") == 0 && range_holds(x, etag, modified_s))
        range = filch_exchange_header(x, "Range");
    status = http_ranges_parse(&a->ranges, range, a->bytes);
    if (status == 416)
        return refuse_range(a, until);
    if (status == 200)
        return answer_whole(a, until);
    return a->ranges.count == 1 ? answer_range(a, until) : answer_ranges(a, until);
}

int filch_exchange_reply_file(filch_exchange *x, const char *path, const char *type,
                              filch_time until)
{
    filch_file *file;
    filch_file_info info;
    struct answer a;
    int r;

    if (!x || !path || (type && !http_is_value(type, strlen(type))))
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
    if (r == 0) {
        a = (struct answer){
            .x = x, .file = file, .bytes = info.bytes, .type = type ?: type_of(path)};
        r = answer(&a, info.modified_ns, until);
    }
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
    if (is_hidden(path))
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
