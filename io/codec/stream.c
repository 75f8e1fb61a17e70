/* Lines and frames as streams: polls take what is in the buffer, a helper task reads when more is
 * needed. Each is touched by one of them at a time: by the helper while it runs.
 *
 * Read first: sync/stream_helper.h, io/codec/buf_reader.c. */
#include <errno.h>
#include <string.h>

#include "io/codec/buf_reader.h"
#include "io/codec/frame.h"
#include "sync/stream.h"
#include "sync/stream_helper.h"

/* What a poll does when it cannot take anything: reads on, by @more. Return: 0 (try to take again);
 * -EAGAIN (pending); an error. */
static int read_on(struct filch_stream_helper *helper, filch_cx *cx, filch_fn more, void *stream)
{
    int r = filch__helper_start(helper, more, stream);

    if (r < 0)
        return r;
    if (!filch__helper_poll(helper, cx, &r))
        return -EAGAIN;
    return r == -EAGAIN ? -EIO : r;
}

static void stop(struct filch_stream_helper *helper)
{
    int r;

    (void)filch__helper_stop(helper, &r);
}

/* ---- lines ---- */

static int more_lines(void *arg)
{
    filch_lines_stream *stream = arg;
    ssize_t n = filch__buf_reader_more(&stream->reader, FILCH_NEVER);

    stream->over = n == 0;
    return n < 0 ? (int)n : 0;
}

static int take_line(filch_lines_stream *stream, void *item)
{
    filch_view view;
    filch_line line;
    int r = filch__buf_reader_take(&stream->reader, '\n', &view);

    if (r == -EAGAIN && stream->over)
        r = filch__buf_reader_take_rest(&stream->reader, &view);
    if (r <= 0)
        return r;
    line = filch__line_of(view);
    memcpy(item, &line, sizeof line);
    return 1;
}

static int lines_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_lines_stream *stream = (filch_lines_stream *)self;
    int r = 0;

    while (r == 0) {
        if (!stream->helper.task) {
            r = take_line(stream, item);
            if (r != -EAGAIN)
                return r;
        }
        r = read_on(&stream->helper, cx, more_lines, stream);
    }
    if (r == -EMSGSIZE && stream->reader.end == stream->reader.room)
        filch__buf_reader_give_up(&stream->reader);
    return r;
}

static void lines_drop(filch_stream *self)
{
    filch_lines_stream *stream = (filch_lines_stream *)self;

    stop(&stream->helper);
    filch_buf_reader_fini(&stream->reader);
}

int filch_lines_stream_init(filch_lines_stream *stream, filch_reader reader, char *buffer,
                            size_t bytes)
{
    filch_buf_opts opts = {.buffer = buffer, .bytes = bytes};

    if (!stream || !buffer || filch_buf_reader_init(&stream->reader, reader, &opts) < 0)
        return -EINVAL;
    filch__stream_base(&stream->base, lines_next, lines_drop, sizeof(filch_line));
    stream->over = false;
    filch__helper_init(&stream->helper);
    return 0;
}

/* ---- frames ---- */

static int more_frames(void *arg)
{
    filch_frame_stream *stream = arg;
    ssize_t n = filch__frame_more(stream->from, FILCH_NEVER);

    stream->over = n == 0;
    return n < 0 ? (int)n : 0;
}

static int frames_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_frame_stream *stream = (filch_frame_stream *)self;
    filch_view frame;
    int r = 0;

    while (r == 0) {
        if (!stream->helper.task) {
            r = filch__frame_take(stream->from, stream->over, &frame);
            if (r > 0)
                memcpy(item, &frame, sizeof frame);
            /* What would be said for ever is said once. */
            self->ended = r == -EPIPE || (r < 0 && r != -EAGAIN && !stream->from->skip);
            if (r != -EAGAIN)
                return r;
        }
        r = read_on(&stream->helper, cx, more_frames, stream);
    }
    return r;
}

static void frames_drop(filch_stream *self)
{
    stop(&((filch_frame_stream *)self)->helper);
}

int filch_frame_stream_init(filch_frame_stream *stream, filch_frame_reader *from)
{
    if (!stream || !from || !from->from || !from->from->buffer)
        return -EINVAL;
    filch__stream_base(&stream->base, frames_next, frames_drop, sizeof(filch_view));
    stream->from = from;
    stream->over = false;
    filch__helper_init(&stream->helper);
    return 0;
}
