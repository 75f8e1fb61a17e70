/* Chunked bodies of requests (RFC 9112, 7.1): where data begins and ends, strictly.
 *
 *     SIZE --n--> DATA --> DATA_END --> SIZE ...
 *     SIZE --0--> TRAILERS
 *
 * Sizes are hexadecimal digits only, 15 at most, so that they do not overflow; every line ends in
 * CR LF. Extensions are dropped, as nobody may need them to understand a body, and together they
 * are short: a peer cannot have us read for ever without a byte of data. What else stands in a line
 * of sizes must not be a control character, as a proxy in front may have taken it for the end of
 * the line. Pure: no I/O. */
#include "io/http/chunks.h"

#include <stdbool.h>
#include <string.h>

#include "io/http/parse.h"

#define SIZE_DIGITS 15
#define LINE_MAX_BYTES 1024
#define EXTRA_MAX_BYTES 8192

/* A whole line at the front. Return: its bytes with CR LF; 0 (not there yet); -1. */
static ssize_t line_bytes(const char *text, size_t bytes)
{
    const char *end = memchr(text, '\n', bytes);

    if (!end)
        return bytes > LINE_MAX_BYTES || (bytes && memchr(text, '\r', bytes - 1)) ? -1 : 0;
    if (end - text >= LINE_MAX_BYTES || end == text ||
        memchr(text, '\r', (size_t)(end - text)) != end - 1)
        return -1;
    return end - text + 1;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* @bytes: without the line end. */
static bool take_size(struct http_chunks *chunks, const char *line, size_t bytes)
{
    uint64_t size = 0;
    size_t digits = 0, at;

    for (; digits < bytes && hex_digit(line[digits]) >= 0; digits++) {
        if (digits == SIZE_DIGITS)
            return false;
        size = size << 4 | (uint64_t)hex_digit(line[digits]);
    }
    if (!digits)
        return false;
    for (at = digits; at < bytes && (line[at] == ' ' || line[at] == '\t'); at++)
        ;
    if (digits < bytes && (at == bytes || line[at] != ';')) /* spaces are for extensions only */
        return false;
    if (!http_is_value(line + at, bytes - at))
        return false;
    chunks->extra_bytes += bytes - digits;
    chunks->left = size;
    chunks->at = size ? CHUNKS_DATA : CHUNKS_TRAILERS;
    return true;
}

static bool take_line(struct http_chunks *chunks, const char *line, size_t bytes)
{
    if (chunks->at == CHUNKS_SIZE)
        return take_size(chunks, line, bytes);
    chunks->at = CHUNKS_SIZE;
    return bytes == 0;
}

ssize_t http_chunks_frame(struct http_chunks *chunks, const char *text, size_t bytes)
{
    size_t taken = 0;

    while (chunks->at != CHUNKS_DATA && chunks->at != CHUNKS_TRAILERS && taken < bytes) {
        ssize_t line = line_bytes(text + taken, bytes - taken);

        if (line == 0 && chunks->at == CHUNKS_DATA_END && text[taken] != '\r')
            return -1; /* more data than was said: do not wait for a line end in it */
        if (line == 0)
            break;
        if (line < 0 || !take_line(chunks, text + taken, (size_t)line - 2) ||
            chunks->extra_bytes > EXTRA_MAX_BYTES)
            return -1;
        taken += (size_t)line;
    }
    return (ssize_t)taken;
}

void http_chunks_taken(struct http_chunks *chunks, uint64_t bytes)
{
    chunks->left -= bytes;
    if (!chunks->left)
        chunks->at = CHUNKS_DATA_END;
}
