/* The codecs: where a frame ends, as arithmetic on bytes. They read and write nothing.
 *
 * What is too long is told from its beginning, without its bytes being kept: a length says how many
 * are to be skipped; of what ends with a delimiter nothing is kept but the delimiter's possible
 * beginning, and `skips` says that it goes on. */
#include <filch/frame.h>

#include <errno.h>
#include <limits.h>
#include <string.h>

#define ADJUST_MAX 64
#define WIDTH_DEFAULT 4

/* ---- length ---- */

static uint64_t read_number(const unsigned char *from, unsigned width, bool little_endian)
{
    uint64_t number = 0;

    for (unsigned i = 0; i < width; i++)
        number = number << 8 | from[little_endian ? width - 1 - i : i];
    return number;
}

static void write_number(unsigned char *to, unsigned width, bool little_endian, uint64_t number)
{
    for (unsigned i = 0; i < width; i++, number >>= 8)
        to[little_endian ? i : width - 1 - i] = (unsigned char)number;
}

/* Return: bytes of the varint; 0 (there are more to come); -EBADMSG. */
static int read_varint(const unsigned char *from, size_t bytes, uint64_t *ret_number)
{
    uint64_t number = 0;

    for (unsigned i = 0; i < bytes && i < FILCH_LENGTH_VARINT; i++) {
        number |= (uint64_t)(from[i] & 0x7f) << (7 * i);
        if (i == FILCH_LENGTH_VARINT - 1 && from[i] > 1)
            return -EBADMSG;
        if (!(from[i] & 0x80)) {
            *ret_number = number;
            return (int)i + 1;
        }
    }
    return bytes < FILCH_LENGTH_VARINT ? 0 : -EBADMSG;
}

static unsigned write_varint(unsigned char *to, uint64_t number)
{
    unsigned n = 0;

    for (; number >= 0x80; number >>= 7)
        to[n++] = (unsigned char)(number | 0x80);
    to[n++] = (unsigned char)number;
    return n;
}

/* Bytes that the head says follow it. Return: bytes of the head; 0 (more is needed); -EBADMSG. */
static int read_head(const filch_length_opts *opts, const char *data, size_t bytes,
                     uint64_t *ret_behind)
{
    const unsigned char *from = (const unsigned char *)data;
    uint64_t number;

    if (opts->width == FILCH_LENGTH_VARINT)
        return read_varint(from, bytes, ret_behind);
    if (bytes < opts->width)
        return 0;
    number = read_number(from, opts->width, opts->little_endian);
    if ((opts->adjust < 0 && number < (uint64_t)-opts->adjust) ||
        (opts->adjust > 0 && number > UINT64_MAX - (uint64_t)opts->adjust))
        return -EBADMSG;
    *ret_behind = number + (uint64_t)(int64_t)opts->adjust;
    return (int)opts->width;
}

static int length_decode(filch_codec *base, const char *data, size_t bytes, filch_view *ret_frame,
                         uint64_t *ret_used)
{
    const filch_length_opts *opts = &((filch_length_codec *)base)->opts;
    uint64_t behind = 0, given;
    int head = read_head(opts, data, bytes, &behind);

    if (head <= 0)
        return head;
    if (behind > UINT64_MAX - (uint64_t)head)
        return -EBADMSG;
    given = behind + (opts->with_length ? (uint64_t)head : 0);
    if (given > base->max) {
        *ret_used = (uint64_t)head + behind;
        return -EMSGSIZE;
    }
    if (bytes - (size_t)head < behind)
        return 0;
    *ret_frame =
        (filch_view){.data = opts->with_length ? data : data + head, .bytes = (size_t)given};
    *ret_used = (uint64_t)head + behind;
    return 1;
}

static int length_encode(const filch_codec *base, const void *frame, size_t bytes,
                         filch_frame_ends *ret_ends)
{
    const filch_length_opts *opts = &((const filch_length_codec *)base)->opts;
    uint64_t number = (uint64_t)bytes - (uint64_t)(int64_t)opts->adjust;

    (void)frame;
    if (opts->max && bytes > opts->max)
        return -EMSGSIZE;
    if (opts->width == FILCH_LENGTH_VARINT) {
        ret_ends->head_bytes = write_varint(ret_ends->head, bytes);
        return 0;
    }
    if ((opts->adjust > 0 && bytes < (size_t)opts->adjust) ||
        (opts->width < 8 && number >> (8 * opts->width)))
        return -EMSGSIZE;
    write_number(ret_ends->head, opts->width, opts->little_endian, number);
    ret_ends->head_bytes = opts->width;
    return 0;
}

static bool is_width(unsigned width)
{
    return width == 1 || width == 2 || width == 4 || width == 8 || width == FILCH_LENGTH_VARINT;
}

int filch_length_codec_init(filch_length_codec *codec, const filch_length_opts *opts)
{
    static const filch_length_opts none;
    unsigned width;

    opts = opts ? opts : &none;
    width = opts->width ? opts->width : WIDTH_DEFAULT;
    if (!codec || !is_width(width) || opts->adjust < -ADJUST_MAX || opts->adjust > ADJUST_MAX ||
        (width == FILCH_LENGTH_VARINT && opts->adjust))
        return -EINVAL;
    codec->opts = *opts;
    codec->opts.width = width;
    codec->base = (filch_codec){
        .decode = length_decode,
        .encode = length_encode,
        .max = opts->max,
        .overhead = opts->with_length ? 0 : width,
    };
    return 0;
}

/* ---- delimiter ---- */

/* Looks no byte up twice, but for those that may be a delimiter's beginning. */
static const char *find(filch_delimiter_codec *codec, const char *data, size_t bytes)
{
    const char *found =
        memmem(data + codec->looked, bytes - codec->looked, codec->delimiter, codec->bytes);

    if (found)
        codec->looked = 0;
    else if (bytes >= codec->bytes)
        codec->looked = bytes - codec->bytes + 1;
    return found;
}

/* Of a frame that is too long only a delimiter's beginning is kept. */
static void skip_looked(filch_delimiter_codec *codec, uint64_t *used)
{
    *used = codec->looked;
    codec->looked = 0;
    codec->skips = true;
}

static int delimiter_give(const filch_delimiter_codec *codec, const char *data, size_t bytes,
                          filch_view *ret_frame)
{
    if (codec->lines && bytes && data[bytes - 1] == '\r')
        bytes--;
    if (bytes > codec->base.max)
        return -EMSGSIZE;
    *ret_frame = (filch_view){.data = data, .bytes = bytes};
    return 1;
}

/* @data: a delimiter's beginning may still come, and a CR that belongs to the end of a line. */
static bool is_too_long(const filch_delimiter_codec *codec)
{
    return codec->looked > codec->base.max && codec->looked - codec->base.max > codec->lines;
}

static int delimiter_decode(filch_codec *base, const char *data, size_t bytes,
                            filch_view *ret_frame, uint64_t *ret_used)
{
    filch_delimiter_codec *codec = (filch_delimiter_codec *)base;
    const char *found = find(codec, data, bytes);

    if (!found) {
        bool first = !codec->skips;

        if (codec->skips || is_too_long(codec)) {
            skip_looked(codec, ret_used);
            return first ? -EMSGSIZE : 0;
        }
        return 0;
    }
    *ret_used = (uint64_t)(found - data) + codec->bytes;
    if (codec->skips) {
        codec->skips = false;
        return 0;
    }
    return delimiter_give(codec, data, (size_t)(found - data), ret_frame);
}

static int delimiter_decode_end(filch_codec *base, const char *data, size_t bytes,
                                filch_view *ret_frame, uint64_t *ret_used)
{
    filch_delimiter_codec *codec = (filch_delimiter_codec *)base;

    if (!codec->rest)
        return bytes || codec->skips ? -EPIPE : 0;
    *ret_used = bytes;
    codec->looked = 0;
    if (codec->skips || !bytes)
        return 0;
    if (bytes > base->max)
        return -EMSGSIZE;
    *ret_frame = (filch_view){.data = data, .bytes = bytes};
    return 1;
}

static int delimiter_encode(const filch_codec *base, const void *frame, size_t bytes,
                            filch_frame_ends *ret_ends)
{
    const filch_delimiter_codec *codec = (const filch_delimiter_codec *)base;

    (void)frame;
    (void)bytes;
    memcpy(ret_ends->tail, codec->delimiter, codec->bytes);
    ret_ends->tail_bytes = codec->bytes;
    return 0;
}

int filch_delimiter_codec_init(filch_delimiter_codec *codec, const void *delimiter, size_t bytes,
                               size_t max)
{
    if (!codec || !delimiter || !bytes || bytes > FILCH_FRAME_ENDS_MAX)
        return -EINVAL;
    *codec = (filch_delimiter_codec){
        .base =
            {
                .decode = delimiter_decode,
                .decode_end = delimiter_decode_end,
                .encode = delimiter_encode,
                .max = max,
                .overhead = bytes,
            },
        .bytes = bytes,
    };
    memcpy(codec->delimiter, delimiter, bytes);
    return 0;
}

int filch_line_codec_init(filch_delimiter_codec *codec, size_t max)
{
    int r = filch_delimiter_codec_init(codec, "\n", 1, max);

    if (r < 0)
        return r;
    codec->lines = true;
    codec->rest = true;
    codec->base.overhead = 2;
    return 0;
}

/* ---- fixed size ---- */

static int fixed_decode(filch_codec *base, const char *data, size_t bytes, filch_view *ret_frame,
                        uint64_t *ret_used)
{
    if (bytes < base->max)
        return 0;
    *ret_frame = (filch_view){.data = data, .bytes = base->max};
    *ret_used = base->max;
    return 1;
}

static int fixed_encode(const filch_codec *base, const void *frame, size_t bytes,
                        filch_frame_ends *ret_ends)
{
    (void)frame;
    (void)ret_ends;
    return bytes == base->max ? 0 : -EMSGSIZE;
}

int filch_fixed_codec_init(filch_fixed_codec *codec, size_t bytes)
{
    if (!codec || !bytes)
        return -EINVAL;
    codec->base = (filch_codec){.decode = fixed_decode, .encode = fixed_encode, .max = bytes};
    return 0;
}
