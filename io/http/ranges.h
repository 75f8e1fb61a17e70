/* The field Range: see ranges.c. */
#ifndef FILCH_IO_HTTP_RANGES_H
#define FILCH_IO_HTTP_RANGES_H

#include <stddef.h>
#include <stdint.h>

/* A field that names more is not minded. */
#define HTTP_RANGES_MAX 16

struct http_range {
    uint64_t first, bytes;
};

struct http_ranges {
    struct http_range at[HTTP_RANGES_MAX]; /* none touches another */
    size_t count;
};

/* What a field asks for of @size bytes. @text: its value; NULL: there is none. Return: 206: @ranges
 * has one or more; 416; 200: there is none, or it is not to be minded. */
int http_ranges_parse(struct http_ranges *ranges, const char *text, uint64_t size);

#endif
