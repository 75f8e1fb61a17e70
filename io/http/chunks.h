/* Chunked bodies of requests: see chunks.c. */
#ifndef FILCH_IO_HTTP_CHUNKS_H
#define FILCH_IO_HTTP_CHUNKS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* All zero: a body begins. */
struct http_chunks {
    enum {
        CHUNKS_SIZE = 0, /* a line with a size comes */
        CHUNKS_DATA,     /* @left bytes of data come */
        CHUNKS_DATA_END, /* the line end behind data comes */
        CHUNKS_TRAILERS, /* fields, and the empty line: see trailers.c */
    } at;
    uint64_t left;
    size_t extra_bytes; /* of extensions so far */
};

/* Takes what is not data from the front of what was received: up to data, trailers, or a line that
 * is not there as a whole. Return: bytes taken; -1 (no chunks). */
ssize_t http_chunks_frame(struct http_chunks *chunks, const char *text, size_t bytes);

/* @bytes of data were taken: at most @left. */
void http_chunks_taken(struct http_chunks *chunks, uint64_t bytes);

#endif
