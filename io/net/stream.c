/* The connections of a listener as a stream.
 *
 * Connections that have arrived are taken from the listener's queue by the poll; a helper waits in
 * filch_listener_accept() when there is none, so arming and pausing are done in one place. One that
 * the helper has accepted while nobody polls is kept, and given back when the stream is dropped. */
#include <unistd.h>

#include "io/net/listener.h"
#include "io/net/socket.h"
#include "sync/stream.h"
#include "sync/stream_helper.h"

static int accept_one(void *arg)
{
    filch_listener_stream *stream = arg;

    return filch_listener_accept(stream->listener, &stream->conn, FILCH_NEVER);
}

static int give_conn(filch_listener_stream *stream, void *item)
{
    memcpy(item, &stream->conn, sizeof stream->conn);
    stream->conn = NULL;
    return 1;
}

/* What a failed accept means: closing the listener is the end, whoever saw it first. */
static int failed(filch_listener_stream *stream, int error)
{
    struct filch__fd *object;

    if (filch__fd_enter(stream->listener, &object) < 0)
        return 0;
    filch__fd_leave(object);
    return error == -EAGAIN ? -EIO : error;
}

static int take(filch_listener_stream *stream)
{
    bool lingers;
    int r, fd = filch__listener_take(stream->listener, &lingers);

    if (fd < 0)
        return fd;
    r = filch__tcp_wrap(fd, lingers, &stream->conn);
    if (r < 0)
        close(fd);
    return r;
}

static int listener_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_listener_stream *stream = (filch_listener_stream *)self;
    int r;

    if (!stream->helper.task) {
        r = take(stream);
        if (r == 0)
            return give_conn(stream, item);
        if (r != -EAGAIN)
            return failed(stream, r);
        r = filch__helper_start(&stream->helper, accept_one, stream);
        if (r < 0)
            return r;
    }
    if (!filch__helper_poll(&stream->helper, cx, &r))
        return -EAGAIN;
    return r < 0 ? failed(stream, r) : give_conn(stream, item);
}

static void listener_drop(filch_stream *self)
{
    filch_listener_stream *stream = (filch_listener_stream *)self;
    int fd, r;

    if (filch__helper_stop(&stream->helper, &r) && stream->conn &&
        filch_tcp_release(stream->conn, &fd) == 0)
        filch__listener_give_back(stream->listener, fd);
    stream->conn = NULL;
}

int filch_listener_stream_init(filch_listener_stream *stream, filch_listener *listener)
{
    if (!stream || !listener)
        return -EINVAL;
    filch__stream_base(&stream->base, listener_next, listener_drop, sizeof stream->conn);
    stream->listener = listener;
    stream->conn = NULL;
    filch__helper_init(&stream->helper);
    return 0;
}
