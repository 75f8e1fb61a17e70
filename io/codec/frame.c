/* Reading and writing frames.
 *
 *     reading:   buffer --decode: a frame, more, an error; bytes used--> taken, or skipped as they
 * come writing:   encode: head and tail --> head | frame | tail into the buffer
 *
 * A frame is decoded in the buffer, again from its beginning whenever more bytes have come; so a
 * call that stops in the middle has nothing to put back. A frame that fits the buffer is taken for
 * writing whole or not at all. Of a longer one the writer remembers how many bytes were taken, ends
 * included: encoding it again gives the same ends, and the rest of them follows. */
#include "io/codec/frame.h"

#include <errno.h>
#include <string.h>

#include "io/codec/buf_reader.h"

int filch_frame_reader_init(filch_frame_reader *reader, filch_buf_reader *from, filch_codec *codec)
{
    if (!reader || !from || !from->buffer || !codec || !codec->decode)
        return -EINVAL;
    if (from->room_max <= codec->overhead || codec->max > from->room_max - codec->overhead)
        return -EMSGSIZE;
    if (!codec->max)
        codec->max = from->room_max - codec->overhead;
    *reader = (filch_frame_reader){.from = from, .codec = codec};
    return 0;
}

/* Skips what is to be skipped of what is there. */
static void skip(filch_frame_reader *reader, size_t there)
{
    size_t here = reader->skip < there ? (size_t)reader->skip : there;

    filch_buf_reader_consume(reader->from, here);
    reader->skip -= here;
}

/* Is the frame within what it was found in, and is something used up? Else it would be found for
 * ever. */
static bool is_sane(filch_view in, filch_view frame, uint64_t used)
{
    return used && used <= in.bytes && frame.data >= in.data &&
           frame.bytes <= in.bytes - (size_t)(frame.data - in.data);
}

/* Asks the codec about what there is, and about the end. */
static int decode(filch_codec *codec, filch_view view, bool over, filch_view *ret_frame,
                  uint64_t *ret_used)
{
    int r = 0;

    if (view.bytes)
        r = codec->decode(codec, view.data, view.bytes, ret_frame, ret_used);
    if (r == 0 && !*ret_used && over && codec->decode_end)
        r = codec->decode_end(codec, view.data, view.bytes, ret_frame, ret_used);
    if (r > 0 && !is_sane(view, *ret_frame, *ret_used))
        return -EIO;
    return r == -EAGAIN ? -EIO : r;
}

int filch__frame_take(filch_frame_reader *reader, bool over, filch_view *ret_frame)
{
    for (;;) {
        filch_view view, frame = {NULL, 0};
        uint64_t used = 0;
        int r;

        (void)!filch_buf_reader_peek(reader->from, &view);
        skip(reader, view.bytes);
        if (reader->skip)
            return over ? -EPIPE : -EAGAIN;
        (void)!filch_buf_reader_peek(reader->from, &view);
        r = decode(reader->codec, view, over, &frame, &used);
        if (r == 0 && !used)
            return !over ? -EAGAIN : view.bytes ? -EPIPE : 0;
        if (r != -EIO)
            reader->skip = used;
        if (r > 0) {
            *ret_frame = frame;
            skip(reader, view.bytes);
        }
        if (r != 0)
            return r;
    }
}

ssize_t filch__frame_more(filch_frame_reader *reader, filch_time until)
{
    filch_buf_reader *from = reader->from;
    ssize_t n = filch__buf_reader_more(from, until);

    return n == -EMSGSIZE && from->end == from->room ? -ENOBUFS : n;
}

int filch_frame_read(filch_frame_reader *reader, filch_view *ret_frame, filch_time until)
{
    bool over = false;

    if (!reader || !reader->from || !reader->from->buffer || !ret_frame)
        return -EINVAL;
    for (;;) {
        int r = filch__frame_take(reader, over, ret_frame);
        ssize_t n;

        if (r != -EAGAIN)
            return r;
        n = filch__frame_more(reader, until);
        if (n < 0)
            return (int)n;
        over = n == 0;
    }
}

/* ---- writing ---- */

int filch_frame_writer_init(filch_frame_writer *writer, filch_buf_writer *to,
                            const filch_codec *codec)
{
    if (!writer || !to || !to->buffer || !codec || !codec->encode)
        return -EINVAL;
    *writer = (filch_frame_writer){.to = to, .codec = codec};
    return 0;
}

/* One part of a frame that is longer than the buffer, from where it was interrupted. @before: the
 * parts before it. */
static int write_part(filch_frame_writer *writer, size_t before, const void *part, size_t bytes,
                      filch_time until)
{
    size_t done, from;
    int r;

    if (writer->done >= before + bytes)
        return 0;
    from = done = writer->done - before;
    r = filch_buf_writer_write_all(writer->to, part, bytes, &done, until);
    writer->done += done - from;
    return r;
}

static int write_long(filch_frame_writer *writer, const void *data, size_t bytes,
                      const filch_frame_ends *ends, filch_time until)
{
    int r;

    writer->bytes = bytes;
    r = write_part(writer, 0, ends->head, ends->head_bytes, until);
    if (r == 0)
        r = write_part(writer, ends->head_bytes, data, bytes, until);
    if (r == 0)
        r = write_part(writer, ends->head_bytes + bytes, ends->tail, ends->tail_bytes, until);
    if (r == 0)
        writer->done = 0;
    return r;
}

static int write_short(filch_frame_writer *writer, const void *data, size_t bytes,
                       const filch_frame_ends *ends, filch_time until)
{
    size_t total = ends->head_bytes + bytes + ends->tail_bytes;
    void *room;
    char *to;
    int r = filch_buf_writer_reserve(writer->to, total, &room, until);

    if (r < 0)
        return r;
    to = room;
    memcpy(to, ends->head, ends->head_bytes);
    if (bytes)
        memcpy(to + ends->head_bytes, data, bytes);
    memcpy(to + ends->head_bytes + bytes, ends->tail, ends->tail_bytes);
    return filch_buf_writer_commit(writer->to, total);
}

int filch_frame_write(filch_frame_writer *writer, const void *data, size_t bytes, filch_time until)
{
    filch_frame_ends ends = {.head_bytes = 0};
    size_t room;
    int r;

    if (!writer || !writer->to || !writer->to->buffer || (!data && bytes))
        return -EINVAL;
    if (writer->done && bytes != writer->bytes)
        return -EBUSY;
    r = writer->codec->encode(writer->codec, data, bytes, &ends);
    if (r < 0)
        return r;
    if (ends.head_bytes > sizeof ends.head || ends.tail_bytes > sizeof ends.tail)
        return -EIO;
    room = writer->to->room;
    if (bytes <= room && ends.head_bytes + ends.tail_bytes <= room - bytes)
        return write_short(writer, data, bytes, &ends, until);
    return write_long(writer, data, bytes, &ends, until);
}
