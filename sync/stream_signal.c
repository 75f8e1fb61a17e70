/* Streams of what senders signal to many: the values of a watch, the messages of a broadcast. An
 * item is read out when it is asked for, so an abandoned poll has taken nothing. */
#include "sync/broadcast.h"
#include "sync/stream.h"
#include "sync/watch.h"

static int watch_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_watch_stream *stream = (filch_watch_stream *)self;
    int r;

    if (!stream->waits && filch_watch_future_init(&stream->changed, stream->reader) < 0)
        return -EINVAL;
    stream->waits = stream->changed.base.poll(&stream->changed.base, cx) == FILCH_PENDING;
    if (stream->waits)
        return -EAGAIN;
    if (stream->changed.base.result == -EPIPE)
        return 0;
    r = filch_watch_get(stream->reader, item);
    if (r < 0)
        filch_watch_mark_changed(stream->reader); /* it is still to be read */
    return r < 0 ? r : 1;
}

static void watch_drop(filch_stream *self)
{
    filch_watch_stream *stream = (filch_watch_stream *)self;

    if (stream->waits)
        stream->changed.base.drop(&stream->changed.base);
    stream->waits = false;
}

int filch_watch_stream_init(filch_watch_stream *stream, filch_watch_reader *reader)
{
    if (!stream || !reader || !reader->watch)
        return -EINVAL;
    filch__stream_base(&stream->base, watch_next, watch_drop, reader->watch->bytes);
    stream->reader = reader;
    stream->waits = false;
    return 0;
}

static int broadcast_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_broadcast_stream *stream = (filch_broadcast_stream *)self;

    if (!stream->waits &&
        filch_broadcast_future_init(&stream->recv, stream->receiver, item, stream->ret_lost) < 0)
        return -EINVAL;
    stream->recv.msg = item; /* written by the poll that is ready only */
    stream->waits = stream->recv.base.poll(&stream->recv.base, cx) == FILCH_PENDING;
    if (stream->waits)
        return -EAGAIN;
    if (stream->recv.base.result == -EPIPE)
        return 0;
    return stream->recv.base.result < 0 ? stream->recv.base.result : 1;
}

static void broadcast_drop(filch_stream *self)
{
    filch_broadcast_stream *stream = (filch_broadcast_stream *)self;

    if (stream->waits)
        stream->recv.base.drop(&stream->recv.base);
    stream->waits = false;
}

int filch_broadcast_stream_init(filch_broadcast_stream *stream, filch_broadcast_receiver *receiver,
                                uint64_t *ret_lost)
{
    if (!stream || !receiver || !receiver->broadcast)
        return -EINVAL;
    filch__stream_base(&stream->base, broadcast_next, broadcast_drop,
                       filch__broadcast_bytes(receiver));
    stream->receiver = receiver;
    stream->ret_lost = ret_lost;
    stream->waits = false;
    return 0;
}
