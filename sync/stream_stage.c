/* Stages of streams that do not know of time: what changes, leaves out, counts and joins items.
 * Read first: sync/stream.c. */
#include "sync/stream.h"

/* ---- map, filter_map, map_while ---- */

static int map_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_map_stream *stream = (filch_map_stream *)self;
    int r = filch__stream_poll(stream->from, cx, stream->in);

    if (r <= 0)
        return r;
    r = stream->fn(stream->context, stream->in, item);
    return r < 0 ? r : 1;
}

static int filter_map_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_map_stream *stream = (filch_map_stream *)self;
    int r;

    do {
        r = filch__stream_poll(stream->from, cx, stream->in);
        if (r <= 0)
            return r;
        r = stream->fn(stream->context, stream->in, item);
    } while (r == 0);
    return r < 0 ? r : 1;
}

static int map_while_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_map_stream *stream = (filch_map_stream *)self;
    int r = filch__stream_poll(stream->from, cx, stream->in);

    return r <= 0 ? r : stream->fn(stream->context, stream->in, item);
}

static void map_drop(filch_stream *self)
{
    filch_stream_drop(((filch_map_stream *)self)->from);
}

static int map_init(filch_map_stream *stream, filch_stream *from, size_t out_bytes,
                    int (*fn)(void *, const void *, void *), void *context,
                    int (*next)(filch_stream *, filch_cx *, void *))
{
    if (!stream || !filch__stream_is_fit(from) || !out_bytes || !fn)
        return -EINVAL;
    filch__stream_base(&stream->base, next, map_drop, out_bytes);
    stream->from = from;
    stream->fn = fn;
    stream->context = context;
    return 0;
}

int filch_map_stream_init(filch_map_stream *stream, filch_stream *from, size_t out_bytes,
                          int (*fn)(void *context, const void *in, void *out), void *context)
{
    return map_init(stream, from, out_bytes, fn, context, map_next);
}

int filch_filter_map_stream_init(filch_map_stream *stream, filch_stream *from, size_t out_bytes,
                                 int (*fn)(void *context, const void *in, void *out), void *context)
{
    return map_init(stream, from, out_bytes, fn, context, filter_map_next);
}

int filch_map_while_stream_init(filch_map_stream *stream, filch_stream *from, size_t out_bytes,
                                int (*fn)(void *context, const void *in, void *out), void *context)
{
    return map_init(stream, from, out_bytes, fn, context, map_while_next);
}

/* ---- filter, take_while, skip_while: by an item of their own, as nothing may be written for those
 * that are left out ---- */

static int give(filch_filter_stream *stream, void *item)
{
    filch__stream_copy(item, stream->in, stream->base.item_bytes);
    return 1;
}

static int filter_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_filter_stream *stream = (filch_filter_stream *)self;
    int r;

    while ((r = filch__stream_poll(stream->from, cx, stream->in)) > 0)
        if (stream->fn(stream->context, stream->in))
            return give(stream, item);
    return r;
}

static int take_while_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_filter_stream *stream = (filch_filter_stream *)self;
    int r = filch__stream_poll(stream->from, cx, stream->in);

    if (r <= 0)
        return r;
    return stream->fn(stream->context, stream->in) ? give(stream, item) : 0;
}

static int skip_while_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_filter_stream *stream = (filch_filter_stream *)self;
    int r;

    while ((r = filch__stream_poll(stream->from, cx, stream->in)) > 0) {
        stream->over = stream->over || !stream->fn(stream->context, stream->in);
        if (stream->over)
            return give(stream, item);
    }
    return r;
}

static void filter_drop(filch_stream *self)
{
    filch_stream_drop(((filch_filter_stream *)self)->from);
}

static int filter_init(filch_filter_stream *stream, filch_stream *from,
                       bool (*fn)(void *, const void *), void *context,
                       int (*next)(filch_stream *, filch_cx *, void *))
{
    if (!stream || !filch__stream_is_fit(from) || !fn)
        return -EINVAL;
    filch__stream_base(&stream->base, next, filter_drop, from->item_bytes);
    stream->from = from;
    stream->fn = fn;
    stream->context = context;
    stream->over = false;
    return 0;
}

int filch_filter_stream_init(filch_filter_stream *stream, filch_stream *from,
                             bool (*fn)(void *context, const void *item), void *context)
{
    return filter_init(stream, from, fn, context, filter_next);
}

int filch_take_while_stream_init(filch_filter_stream *stream, filch_stream *from,
                                 bool (*fn)(void *context, const void *item), void *context)
{
    return filter_init(stream, from, fn, context, take_while_next);
}

int filch_skip_while_stream_init(filch_filter_stream *stream, filch_stream *from,
                                 bool (*fn)(void *context, const void *item), void *context)
{
    return filter_init(stream, from, fn, context, skip_while_next);
}

/* ---- take, skip ---- */

static int take_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_take_stream *stream = (filch_take_stream *)self;
    int r;

    if (!stream->left)
        return 0;
    r = filch__stream_poll(stream->from, cx, item);
    stream->left -= r > 0;
    return r;
}

static int skip_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_take_stream *stream = (filch_take_stream *)self;
    uint64_t away[FILCH_STREAM_ITEM_MAX / 8];

    for (; stream->left; stream->left--) {
        int r = filch__stream_poll(stream->from, cx, away);

        if (r <= 0)
            return r;
    }
    return filch__stream_poll(stream->from, cx, item);
}

static void take_drop(filch_stream *self)
{
    filch_stream_drop(((filch_take_stream *)self)->from);
}

static int take_init(filch_take_stream *stream, filch_stream *from, uint64_t count,
                     int (*next)(filch_stream *, filch_cx *, void *))
{
    if (!stream || !filch__stream_is_fit(from))
        return -EINVAL;
    filch__stream_base(&stream->base, next, take_drop, from->item_bytes);
    stream->from = from;
    stream->left = count;
    return 0;
}

int filch_take_stream_init(filch_take_stream *stream, filch_stream *from, uint64_t count)
{
    return take_init(stream, from, count, take_next);
}

int filch_skip_stream_init(filch_take_stream *stream, filch_stream *from, uint64_t count)
{
    return take_init(stream, from, count, skip_next);
}

/* ---- peek ---- */

static int peek_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_peek_stream *stream = (filch_peek_stream *)self;

    if (!stream->has_item)
        return filch__stream_poll(stream->from, cx, item);
    filch__stream_copy(item, stream->item, self->item_bytes);
    stream->has_item = false;
    return 1;
}

static void peek_drop(filch_stream *self)
{
    filch_stream_drop(((filch_peek_stream *)self)->from);
}

int filch_peek_stream_init(filch_peek_stream *stream, filch_stream *from)
{
    if (!stream || !filch__stream_is_fit(from))
        return -EINVAL;
    filch__stream_base(&stream->base, peek_next, peek_drop, from->item_bytes);
    stream->from = from;
    stream->has_item = false;
    return 0;
}

int filch_stream_peek(filch_peek_stream *stream, void *item, filch_time until)
{
    int r;

    if (!stream || stream->base.poll_next != peek_next || !item)
        return -EINVAL;
    if (stream->base.ended)
        return 0;
    if (!stream->has_item) {
        r = filch_stream_next(stream->from, stream->item, until);
        if (r <= 0)
            return r;
        stream->has_item = true; /* [kept] */
    }
    filch__stream_copy(item, stream->item, stream->base.item_bytes);
    return 1;
}

/* ---- chain, merge ---- */

static int chain_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_chain_stream *stream = (filch_chain_stream *)self;

    for (; stream->at < stream->count; stream->at++) {
        int r = filch__stream_poll(stream->from[stream->at], cx, item);

        if (r)
            return r;
    }
    return 0;
}

/* Begins behind the one that had an item last: each has its turn. */
static int merge_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_chain_stream *stream = (filch_chain_stream *)self;
    int result = 0;

    for (size_t i = 0; i < stream->count; i++) {
        size_t at = (stream->at + i) % stream->count;
        int r = filch__stream_poll(stream->from[at], cx, item);

        if (r == -EAGAIN) {
            result = -EAGAIN;
        } else if (r) {
            stream->at = at + 1;
            return r;
        }
    }
    return result;
}

static void chain_drop(filch_stream *self)
{
    filch_chain_stream *stream = (filch_chain_stream *)self;

    for (size_t i = 0; i < stream->count; i++)
        filch_stream_drop(stream->from[i]);
}

static int chain_init(filch_chain_stream *stream, filch_stream **from, size_t count,
                      int (*next)(filch_stream *, filch_cx *, void *))
{
    if (!stream || !from || !count)
        return -EINVAL;
    for (size_t i = 0; i < count; i++)
        if (!filch__stream_is_fit(from[i]) || from[i]->item_bytes != from[0]->item_bytes)
            return -EINVAL;
    filch__stream_base(&stream->base, next, chain_drop, from[0]->item_bytes);
    stream->from = from;
    stream->count = count;
    stream->at = 0;
    return 0;
}

int filch_chain_stream_init(filch_chain_stream *stream, filch_stream **from, size_t count)
{
    return chain_init(stream, from, count, chain_next);
}

int filch_merge_stream_init(filch_chain_stream *stream, filch_stream **from, size_t count)
{
    return chain_init(stream, from, count, merge_next);
}

/* ---- zip ---- */

static int zip_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_zip_stream *stream = (filch_zip_stream *)self;
    size_t bytes = stream->from[0]->item_bytes;
    int r;

    if (!stream->has_first) {
        r = filch__stream_poll(stream->from[0], cx, stream->first);
        if (r <= 0)
            return r;
        stream->has_first = true; /* [kept] */
    }
    r = filch__stream_poll(stream->from[1], cx, (unsigned char *)item + bytes);
    if (r <= 0)
        return r;
    filch__stream_copy(item, stream->first, bytes);
    stream->has_first = false;
    return 1;
}

static void zip_drop(filch_stream *self)
{
    filch_zip_stream *stream = (filch_zip_stream *)self;

    filch_stream_drop(stream->from[0]);
    filch_stream_drop(stream->from[1]);
}

int filch_zip_stream_init(filch_zip_stream *stream, filch_stream *a, filch_stream *b)
{
    if (!stream || !filch__stream_is_fit(a) || !filch__stream_is_fit(b))
        return -EINVAL;
    filch__stream_base(&stream->base, zip_next, zip_drop, a->item_bytes + b->item_bytes);
    stream->from[0] = a;
    stream->from[1] = b;
    stream->has_first = false;
    return 0;
}
