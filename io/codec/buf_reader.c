/* Buffered readers.
 *
 *     buffer:  | taken | begin: read and not taken, `looked` of it searched | end: room | 1 byte |
 *
 * What is given as a view lies before `begin`, so nothing moves before the next call. The last byte
 * is for the NUL of a last line that has no end. Invariant: begin + looked <= end <= room <=
 * room_max; what is between begin and end is, byte for byte, what the reader gave last.
 *
 * An error from below changes nothing here, so whatever was under way is under way still.
 */
#include "io/codec/buf_reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/assert.h"

#define BYTES_DEFAULT 8192

__attribute__((unused)) static bool is_valid(const filch_buf_reader *reader)
{
    return reader->begin + reader->looked <= reader->end && reader->end <= reader->room &&
           reader->room <= reader->room_max;
}

static bool is_open(const filch_buf_reader *reader)
{
    return reader && reader->buffer;
}

static size_t there(const filch_buf_reader *reader)
{
    return reader->end - reader->begin;
}

int filch_buf_reader_init(filch_buf_reader *reader, filch_reader from, const filch_buf_opts *opts)
{
    static const filch_buf_opts none;
    size_t bytes, most;

    opts = opts ? opts : &none;
    bytes = opts->bytes || opts->buffer ? opts->bytes : BYTES_DEFAULT;
    most = opts->bytes_max ? opts->bytes_max : bytes;
    if (!reader || !from.read || bytes < 2 || most < bytes || most > SIZE_MAX / 4 ||
        (opts->buffer && opts->bytes_max))
        return -EINVAL;
    *reader = (filch_buf_reader){
        .reader = from,
        .buffer = opts->buffer ? opts->buffer : malloc(bytes),
        .room = bytes - 1,
        .room_max = most - 1,
        .owned = !opts->buffer,
    };
    return reader->buffer ? 0 : -ENOMEM;
}

void filch_buf_reader_fini(filch_buf_reader *reader)
{
    if (!is_open(reader))
        return;
    if (reader->owned)
        free(reader->buffer);
    reader->buffer = NULL;
}

/* ---- steps ---- */

static void take(filch_buf_reader *reader, size_t bytes)
{
    reader->begin += bytes;
    reader->looked = 0;
    filch_assert_state(is_valid(reader));
}

/* Bytes go to somebody who has not asked for pieces: there is no piece any more whose rest is to be
 * skipped. */
static void take_plain(filch_buf_reader *reader, size_t bytes)
{
    reader->skips = false;
    take(reader, bytes);
}

static void move_to_front(filch_buf_reader *reader)
{
    size_t bytes = there(reader);

    if (bytes && reader->begin)
        memmove(reader->buffer, reader->buffer + reader->begin, bytes);
    reader->begin = 0;
    reader->end = bytes;
}

/* To at least @room. Return: 0; -EMSGSIZE; -ENOMEM. */
static int grow(filch_buf_reader *reader, size_t room)
{
    size_t twice = 2 * reader->room + 1;
    char *buffer;

    if (room > reader->room_max)
        return -EMSGSIZE;
    room = room > twice ? room : twice < reader->room_max ? twice : reader->room_max;
    buffer = realloc(reader->buffer, room + 1);
    if (!buffer)
        return -ENOMEM;
    reader->buffer = buffer;
    reader->room = room;
    return 0;
}

/* Room behind what there is. Nothing before it is wanted any more, so it moves when there is less
 * than half of the buffer behind it: what moves is the beginning of one piece, seldom much. */
static int make_room(filch_buf_reader *reader)
{
    if (!there(reader) || reader->room - reader->end <= reader->room / 2)
        move_to_front(reader);
    return reader->end < reader->room ? 0 : grow(reader, reader->room + 1);
}

ssize_t filch__buf_reader_more(filch_buf_reader *reader, filch_time until)
{
    int r = make_room(reader);
    size_t room = reader->room - reader->end;
    ssize_t n;

    if (r < 0)
        return r;
    n = reader->reader.read(reader->reader.context, reader->buffer + reader->end, room, until);
    if (n > 0 && (size_t)n > room)
        return -EIO;
    if (n > 0)
        reader->end += (size_t)n;
    filch_assert_state(is_valid(reader));
    return n;
}

void filch__buf_reader_give_up(filch_buf_reader *reader)
{
    take(reader, there(reader));
    reader->skips = true;
}

static void give(filch_buf_reader *reader, size_t bytes, filch_view *ret_view)
{
    *ret_view = (filch_view){.data = reader->buffer + reader->begin, .bytes = bytes};
    take(reader, bytes);
}

static void look_for(filch_buf_reader *reader, char delimiter)
{
    if (reader->delimiter == delimiter)
        return;
    reader->delimiter = delimiter;
    reader->looked = 0;
    reader->skips = false;
}

int filch__buf_reader_take(filch_buf_reader *reader, char delimiter, filch_view *ret_view)
{
    look_for(reader, delimiter);
    for (;;) {
        const char *from = reader->buffer + reader->begin + reader->looked;
        const char *found = memchr(from, delimiter, there(reader) - reader->looked);
        size_t bytes;

        if (!found)
            break;
        bytes = (size_t)(found - (reader->buffer + reader->begin)) + 1;
        if (!reader->skips) {
            give(reader, bytes, ret_view);
            return 1;
        }
        reader->skips = false;
        take(reader, bytes);
    }
    if (reader->skips)
        take(reader, there(reader));
    reader->looked = there(reader);
    return -EAGAIN;
}

int filch__buf_reader_take_rest(filch_buf_reader *reader, filch_view *ret_view)
{
    if (reader->skips || !there(reader)) {
        take_plain(reader, there(reader));
        return 0;
    }
    give(reader, there(reader), ret_view);
    return 1;
}

filch_line filch__line_of(filch_view view)
{
    char *text = (char *)view.data; /* ours, and taken */
    size_t bytes = view.bytes;

    if (bytes && text[bytes - 1] == '\n') {
        bytes--;
        if (bytes && text[bytes - 1] == '\r')
            bytes--;
    }
    text[bytes] = '\0';
    return (filch_line){.text = text, .bytes = bytes};
}

/* ---- what is in the buffer ---- */

ssize_t filch_buf_reader_peek(const filch_buf_reader *reader, filch_view *ret_view)
{
    if (!is_open(reader) || !ret_view)
        return -EINVAL;
    *ret_view = (filch_view){.data = reader->buffer + reader->begin, .bytes = there(reader)};
    return (ssize_t)there(reader);
}

ssize_t filch_buf_reader_fill(filch_buf_reader *reader, size_t least, filch_time until)
{
    ssize_t n = 1;

    if (!is_open(reader))
        return -EINVAL;
    least = least ? least : 1;
    if (least > reader->room_max)
        return -EMSGSIZE;
    if (least > reader->room) {
        int r = grow(reader, least);

        if (r < 0)
            return r;
    }
    while (there(reader) < least && n > 0)
        n = filch__buf_reader_more(reader, until);
    return n < 0 ? n : (ssize_t)there(reader);
}

int filch_buf_reader_consume(filch_buf_reader *reader, size_t bytes)
{
    if (!is_open(reader) || bytes > there(reader))
        return -EINVAL;
    take_plain(reader, bytes);
    return 0;
}

/* ---- bytes ---- */

ssize_t filch_buf_reader_read(filch_buf_reader *reader, void *buf, size_t bytes, filch_time until)
{
    ssize_t n;

    if (!is_open(reader) || (!buf && bytes))
        return -EINVAL;
    if (!bytes)
        return 0;
    if (!there(reader)) {
        bool past = bytes >= reader->room;

        n = past ? reader->reader.read(reader->reader.context, buf, bytes, until)
                 : filch__buf_reader_more(reader, until);
        if (n > 0)
            reader->skips = false;
        if (past)
            return n > 0 && (size_t)n > bytes ? -EIO : n;
        if (n <= 0)
            return n;
    }
    bytes = bytes < there(reader) ? bytes : there(reader);
    memcpy(buf, reader->buffer + reader->begin, bytes);
    take_plain(reader, bytes);
    return (ssize_t)bytes;
}

static ssize_t read_buffered(void *context, void *buf, size_t bytes, filch_time until)
{
    return filch_buf_reader_read(context, buf, bytes, until);
}

filch_reader filch_buf_reader_reader(filch_buf_reader *reader)
{
    return (filch_reader){.read = read_buffered, .context = reader};
}

int filch_buf_reader_read_exact(filch_buf_reader *reader, void *buf, size_t bytes, size_t *done,
                                filch_time until)
{
    if (!is_open(reader))
        return -EINVAL;
    return filch_read_exact(filch_buf_reader_reader(reader), buf, bytes, done, until);
}

int filch_buf_reader_skip(filch_buf_reader *reader, uint64_t bytes, uint64_t *done,
                          filch_time until)
{
    uint64_t none = 0;

    done = done ? done : &none;
    if (!is_open(reader) || *done > bytes)
        return -EINVAL;
    for (;;) {
        uint64_t left = bytes - *done;
        size_t here = left < there(reader) ? (size_t)left : there(reader);
        ssize_t n;

        take_plain(reader, here);
        *done += here;
        if (*done == bytes)
            return 0;
        n = filch__buf_reader_more(reader, until);
        if (n <= 0)
            return n < 0 ? (int)n : -EPIPE;
    }
}

/* ---- pieces ---- */

int filch_buf_reader_until(filch_buf_reader *reader, char delimiter, filch_view *ret_view,
                           filch_time until)
{
    if (!is_open(reader) || !ret_view)
        return -EINVAL;
    for (;;) {
        int r = filch__buf_reader_take(reader, delimiter, ret_view);
        ssize_t n;

        if (r != -EAGAIN)
            return r;
        n = filch__buf_reader_more(reader, until);
        if (n == 0)
            return filch__buf_reader_take_rest(reader, ret_view);
        if (n == -EMSGSIZE && reader->end == reader->room)
            filch__buf_reader_give_up(reader);
        if (n < 0)
            return (int)n;
    }
}

int filch_buf_reader_line(filch_buf_reader *reader, filch_line *ret_line, filch_time until)
{
    filch_view view;
    int r;

    if (!ret_line)
        return -EINVAL;
    r = filch_buf_reader_until(reader, '\n', &view, until);
    if (r > 0)
        *ret_line = filch__line_of(view);
    return r;
}
