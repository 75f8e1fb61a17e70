/* Streams that know of time: intervals, chunks by size and time, throttle, debounce, timeout.
 *
 * Each has one sleep future, polled in the same poll as the stream that is read: whichever is ready
 * first wakes the reader, and the next poll looks at both. Items first: what is there is not late.
 * Read first: sync/stream.c. */
#include "sync/stream.h"

/* Return: 0: the time has come; -EAGAIN; -EPERM: there are no timers here. */
static int sleep_poll(filch_sleep_future *sleep, filch_cx *cx)
{
    if (sleep->base.poll(&sleep->base, cx) == FILCH_PENDING)
        return -EAGAIN;
    return sleep->base.result;
}

/* ---- interval ---- */

static int interval_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_interval_stream *stream = (filch_interval_stream *)self;
    int r = sleep_poll(&stream->sleep, cx);

    if (r < 0)
        return r;
    memcpy(item, &stream->count, sizeof stream->count);
    stream->count++;
    stream->next += stream->period_ns;
    filch_sleep_future_init(&stream->sleep, stream->next);
    return 1;
}

static void interval_drop(filch_stream *self)
{
    filch_interval_stream *stream = (filch_interval_stream *)self;

    stream->sleep.base.drop(&stream->sleep.base);
}

int filch_interval_stream_init(filch_interval_stream *stream, filch_time period_ns)
{
    if (!stream || !period_ns)
        return -EINVAL;
    filch__stream_base(&stream->base, interval_next, interval_drop, sizeof stream->count);
    stream->period_ns = period_ns;
    stream->next = filch_after(period_ns);
    stream->count = 0;
    filch_sleep_future_init(&stream->sleep, stream->next);
    return 0;
}

/* ---- chunks ---- */

static int chunk_give(filch_chunks_stream *stream, void *item)
{
    filch_chunk chunk = {.items = stream->buffer, .count = stream->count};

    stream->sleep.base.drop(&stream->sleep.base);
    stream->handed_out = true;
    memcpy(item, &chunk, sizeof chunk);
    return 1;
}

/* What came after the items of the chunk that was given before them. */
static int chunk_take_kept(filch_chunks_stream *stream)
{
    int kept = stream->kept;

    stream->kept = 1;
    return kept;
}

static int chunks_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_chunks_stream *stream = (filch_chunks_stream *)self;
    size_t bytes = stream->from->item_bytes;
    int r;

    if (stream->handed_out) {
        stream->handed_out = false;
        stream->count = 0;
    }
    if (stream->kept != 1)
        return chunk_take_kept(stream);
    while (stream->count < stream->most) {
        r = filch__stream_poll(stream->from, cx, stream->buffer + stream->count * bytes);
        if (r == -EAGAIN)
            break;
        if (r <= 0) {
            if (!stream->count)
                return r;
            stream->kept = r;
            return chunk_give(stream, item);
        }
        if (stream->count++ == 0 && stream->timed)
            filch_sleep_future_init(&stream->sleep, filch_after(stream->span_ns));
    }
    if (stream->count == stream->most)
        return chunk_give(stream, item);
    if (!stream->count || !stream->timed)
        return -EAGAIN;
    r = sleep_poll(&stream->sleep, cx);
    return r < 0 ? r : chunk_give(stream, item);
}

static void chunks_drop(filch_stream *self)
{
    filch_chunks_stream *stream = (filch_chunks_stream *)self;

    stream->sleep.base.drop(&stream->sleep.base);
    filch_stream_drop(stream->from);
}

int filch_chunks_stream_init(filch_chunks_stream *stream, filch_stream *from, void *buffer,
                             size_t most, filch_time span_ns)
{
    if (!stream || !from || !from->poll_next || !buffer || !most)
        return -EINVAL;
    filch__stream_base(&stream->base, chunks_next, chunks_drop, sizeof(filch_chunk));
    stream->from = from;
    stream->buffer = buffer;
    stream->most = most;
    stream->count = 0;
    stream->span_ns = span_ns;
    stream->timed = span_ns != FILCH_NEVER;
    stream->handed_out = false;
    stream->kept = 1;
    filch_sleep_future_init(&stream->sleep, FILCH_NEVER);
    return 0;
}

/* ---- throttle, debounce, timeout ---- */

static int throttle_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_gap_stream *stream = (filch_gap_stream *)self;
    int r;

    if (stream->timed) {
        r = sleep_poll(&stream->sleep, cx);
        if (r < 0)
            return r;
        stream->timed = false;
    }
    r = filch__stream_poll(stream->from, cx, item);
    if (r > 0) {
        filch_sleep_future_init(&stream->sleep, filch_after(stream->span_ns));
        stream->timed = true;
    }
    return r;
}

static int debounce_give(filch_gap_stream *stream, void *item)
{
    stream->sleep.base.drop(&stream->sleep.base);
    stream->has_item = false;
    filch__stream_copy(item, stream->item, stream->base.item_bytes);
    return 1;
}

static int debounce_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_gap_stream *stream = (filch_gap_stream *)self;
    int r = stream->kept;

    stream->kept = 1;
    if (r != 1)
        return r;
    while ((r = filch__stream_poll(stream->from, cx, stream->item)) > 0) {
        stream->sleep.base.drop(&stream->sleep.base);
        filch_sleep_future_init(&stream->sleep, filch_after(stream->span_ns));
        stream->has_item = true; /* [kept] */
    }
    if (!stream->has_item)
        return r;
    if (r == -EAGAIN) {
        r = sleep_poll(&stream->sleep, cx);
        return r < 0 ? r : debounce_give(stream, item);
    }
    stream->kept = r;
    return debounce_give(stream, item);
}

static int timeout_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_gap_stream *stream = (filch_gap_stream *)self;
    int r = filch__stream_poll(stream->from, cx, item);

    if (r != -EAGAIN) {
        if (stream->timed)
            stream->sleep.base.drop(&stream->sleep.base);
        stream->timed = false;
        return r;
    }
    if (!stream->timed)
        filch_sleep_future_init(&stream->sleep, filch_after(stream->span_ns));
    stream->timed = true;
    r = sleep_poll(&stream->sleep, cx);
    if (r < 0)
        return r;
    stream->timed = false;
    return -ETIMEDOUT;
}

static void gap_drop(filch_stream *self)
{
    filch_gap_stream *stream = (filch_gap_stream *)self;

    stream->sleep.base.drop(&stream->sleep.base);
    filch_stream_drop(stream->from);
}

static int gap_init(filch_gap_stream *stream, filch_stream *from, filch_time span_ns,
                    int (*next)(filch_stream *, filch_cx *, void *))
{
    if (!stream || !filch__stream_is_fit(from))
        return -EINVAL;
    filch__stream_base(&stream->base, next, gap_drop, from->item_bytes);
    stream->from = from;
    stream->span_ns = span_ns;
    stream->has_item = stream->timed = false;
    stream->kept = 1;
    filch_sleep_future_init(&stream->sleep, FILCH_NEVER);
    return 0;
}

int filch_throttle_stream_init(filch_gap_stream *stream, filch_stream *from, filch_time span_ns)
{
    return gap_init(stream, from, span_ns, throttle_next);
}

int filch_debounce_stream_init(filch_gap_stream *stream, filch_stream *from, filch_time span_ns)
{
    return gap_init(stream, from, span_ns, debounce_next);
}

int filch_timeout_stream_init(filch_gap_stream *stream, filch_stream *from, filch_time span_ns)
{
    return gap_init(stream, from, span_ns, timeout_next);
}
