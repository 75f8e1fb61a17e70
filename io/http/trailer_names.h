/* Names of trailer fields: see trailer_names.c. */
#ifndef FILCH_IO_HTTP_TRAILER_NAMES_H
#define FILCH_IO_HTTP_TRAILER_NAMES_H

#include <stddef.h>

enum http_trailer_rule {
    HTTP_TRAILER_KEEP = 0,
    HTTP_TRAILER_DROP,   /* it has no meaning there */
    HTTP_TRAILER_REFUSE, /* a parser that minds it reads another message */
};

/* May a field of this name come behind a body? */
enum http_trailer_rule http_trailer_rule(const char *name, size_t bytes);

#endif
