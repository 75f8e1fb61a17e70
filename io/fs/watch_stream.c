/* The changes of a watch as a stream: the poll takes what is there, a helper waits for what is not.
 */
#include <string.h>

#include "io/fs/watch.h"
#include "sync/stream.h"
#include "sync/stream_helper.h"

static int wait_for_change(void *arg)
{
    filch_file_watch_stream *stream = arg;

    return filch_file_watch_next(stream->watch, &stream->change, FILCH_NEVER);
}

static int give(filch_file_watch_stream *stream, void *item)
{
    const filch_file_change *change = &stream->change;

    memcpy(item, &change, sizeof change);
    return 1;
}

/* Closing the watch is the end, whoever saw it first. */
static int failed(filch_file_watch_stream *stream, int error)
{
    struct filch__fd *object;

    if (filch__fd_enter(stream->watch, &object) < 0)
        return 0;
    filch__fd_leave(object);
    return error == -EAGAIN ? -EIO : error;
}

static int watch_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_file_watch_stream *stream = (filch_file_watch_stream *)self;
    int r;

    if (!stream->helper.task) {
        r = filch__file_watch_take(stream->watch, &stream->change);
        if (r == 0)
            return give(stream, item);
        if (r != -EAGAIN)
            return failed(stream, r);
        r = filch__helper_start(&stream->helper, wait_for_change, stream);
        if (r < 0)
            return r;
    }
    if (!filch__helper_poll(&stream->helper, cx, &r))
        return -EAGAIN;
    return r < 0 ? failed(stream, r) : give(stream, item);
}

static void watch_drop(filch_stream *self)
{
    filch_file_watch_stream *stream = (filch_file_watch_stream *)self;
    int r;

    (void)filch__helper_stop(&stream->helper, &r);
}

int filch_file_watch_stream_init(filch_file_watch_stream *stream, filch_file_watch *watch)
{
    if (!stream || !watch)
        return -EINVAL;
    filch__stream_base(&stream->base, watch_next, watch_drop, sizeof(const filch_file_change *));
    stream->watch = watch;
    filch__helper_init(&stream->helper);
    return 0;
}
