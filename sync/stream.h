/* What all streams have in common: see include/filch/stream.h, sync/stream.c. */
#ifndef FILCH_SYNC_STREAM_H
#define FILCH_SYNC_STREAM_H

#include <errno.h>
#include <string.h>

#include <filch/stream.h>

/* As poll_next, and remembers the end. */
static inline int filch__stream_poll(filch_stream *stream, filch_cx *cx, void *item)
{
    int r;

    if (stream->ended)
        return 0;
    r = stream->poll_next(stream, cx, item);
    if (r == 0)
        stream->ended = true;
    return r;
}

/* Most items are a pointer or a number: a copy of constant size is one load and one store. */
static inline void filch__stream_copy(void *to, const void *from, size_t bytes)
{
    if (bytes == 8)
        memcpy(to, from, 8);
    else if (bytes == 4)
        memcpy(to, from, 4);
    else
        memcpy(to, from, bytes);
}

static inline bool filch__stream_is_fit(const filch_stream *from)
{
    return from && from->poll_next && from->item_bytes - 1 < FILCH_STREAM_ITEM_MAX;
}

static inline void filch__stream_base(filch_stream *stream,
                                      int (*poll_next)(filch_stream *, filch_cx *, void *),
                                      void (*drop)(filch_stream *), size_t item_bytes)
{
    stream->poll_next = poll_next;
    stream->drop = drop;
    stream->item_bytes = item_bytes;
    stream->ended = false;
}

#endif
