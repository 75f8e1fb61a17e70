/* Buffered writers.
 *
 *     buffer:  | written | begin: taken and not written | end: room
 *
 * What the writer below has taken leaves the buffer at once, so a call that fails or is cancelled
 * in the middle can be made again: nothing is written twice, nothing is left out. */
#include <filch/buffered.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/assert.h"

#define BYTES_DEFAULT 8192

static bool is_open(const filch_buf_writer *writer)
{
    return writer && writer->buffer;
}

static size_t there(const filch_buf_writer *writer)
{
    return writer->end - writer->begin;
}

int filch_buf_writer_init(filch_buf_writer *writer, filch_writer to, const filch_buf_opts *opts)
{
    static const filch_buf_opts none;
    size_t bytes;

    opts = opts ? opts : &none;
    bytes = opts->bytes || opts->buffer ? opts->bytes : BYTES_DEFAULT;
    if (!writer || !to.write || bytes < 2 || bytes > SIZE_MAX / 4)
        return -EINVAL;
    *writer = (filch_buf_writer){
        .writer = to,
        .buffer = opts->buffer ? opts->buffer : malloc(bytes),
        .room = bytes,
        .owned = !opts->buffer,
    };
    return writer->buffer ? 0 : -ENOMEM;
}

void filch_buf_writer_fini(filch_buf_writer *writer)
{
    if (!is_open(writer))
        return;
    if (writer->owned)
        free(writer->buffer);
    writer->buffer = NULL;
}

size_t filch_buf_writer_pending(const filch_buf_writer *writer)
{
    return is_open(writer) ? there(writer) : 0;
}

/* One write of the writer below. Return: bytes taken, 1 or more; an error. */
static ssize_t write_once(filch_buf_writer *writer, const void *buf, size_t bytes, filch_time until)
{
    ssize_t n = writer->writer.write(writer->writer.context, buf, bytes, until);

    return n == 0 || (n > 0 && (size_t)n > bytes) ? -EIO : n;
}

/* Writes some of what is there. Return: 0; an error. */
static int drain_once(filch_buf_writer *writer, filch_time until)
{
    ssize_t n = write_once(writer, writer->buffer + writer->begin, there(writer), until);

    if (n < 0)
        return (int)n;
    writer->begin += (size_t)n;
    if (writer->begin == writer->end)
        writer->begin = writer->end = 0;
    filch_assert_state(writer->begin <= writer->end && writer->end <= writer->room);
    return 0;
}

static void move_to_front(filch_buf_writer *writer)
{
    size_t bytes = there(writer);

    if (bytes && writer->begin)
        memmove(writer->buffer, writer->buffer + writer->begin, bytes);
    writer->begin = 0;
    writer->end = bytes;
}

int filch_buf_writer_flush(filch_buf_writer *writer, filch_time until)
{
    int r = 0;

    if (!is_open(writer))
        return -EINVAL;
    while (there(writer) && r == 0)
        r = drain_once(writer, until);
    return r;
}

int filch_buf_writer_finish(filch_buf_writer *writer, filch_time until)
{
    int r = filch_buf_writer_flush(writer, until);

    if (r == 0 && writer->writer.finish)
        r = writer->writer.finish(writer->writer.context, until);
    return r;
}

ssize_t filch_buf_writer_write(filch_buf_writer *writer, const void *buf, size_t bytes,
                               filch_time until)
{
    if (!is_open(writer) || (!buf && bytes))
        return -EINVAL;
    if (!bytes)
        return 0;
    if (!there(writer) && bytes >= writer->room)
        return write_once(writer, buf, bytes, until);
    if (writer->end == writer->room && !writer->begin) {
        int r = drain_once(writer, until);

        if (r < 0)
            return r;
    }
    if (writer->end == writer->room)
        move_to_front(writer);
    if (bytes > writer->room - writer->end)
        bytes = writer->room - writer->end;
    memcpy(writer->buffer + writer->end, buf, bytes);
    writer->end += bytes;
    return (ssize_t)bytes;
}

static ssize_t write_buffered(void *context, const void *buf, size_t bytes, filch_time until)
{
    return filch_buf_writer_write(context, buf, bytes, until);
}

static int finish_buffered(void *context, filch_time until)
{
    return filch_buf_writer_finish(context, until);
}

filch_writer filch_buf_writer_writer(filch_buf_writer *writer)
{
    return (filch_writer){.write = write_buffered, .finish = finish_buffered, .context = writer};
}

int filch_buf_writer_write_all(filch_buf_writer *writer, const void *buf, size_t bytes,
                               size_t *done, filch_time until)
{
    if (!is_open(writer))
        return -EINVAL;
    return filch_write_all(filch_buf_writer_writer(writer), buf, bytes, done, until);
}

int filch_buf_writer_reserve(filch_buf_writer *writer, size_t bytes, void **ret_room,
                             filch_time until)
{
    if (!is_open(writer))
        return -EINVAL;
    if (bytes > writer->room)
        return -EMSGSIZE;
    while (writer->room - there(writer) < bytes) {
        int r = drain_once(writer, until);

        if (r < 0)
            return r;
    }
    if (writer->room - writer->end < bytes)
        move_to_front(writer);
    if (ret_room)
        *ret_room = writer->buffer + writer->end;
    return 0;
}

int filch_buf_writer_commit(filch_buf_writer *writer, size_t bytes)
{
    if (!is_open(writer) || bytes > writer->room - writer->end)
        return -EINVAL;
    writer->end += bytes;
    return 0;
}

int filch_buf_writer_printf(filch_buf_writer *writer, const char *format, ...)
{
    va_list args;
    size_t room;
    int n;

    if (!is_open(writer) || !format)
        return -EINVAL;
    move_to_front(writer);
    room = writer->room - writer->end;
    va_start(args, format);
    n = vsnprintf(writer->buffer + writer->end, room, format, args);
    va_end(args);
    if (n < 0)
        return -EINVAL;
    if ((size_t)n >= room)
        return -ENOBUFS;
    writer->end += (size_t)n;
    return n;
}
