/* Frames: messages in a byte stream, by a codec that tells where one ends.
 *
 *     filch_length_codec codec;
 *     filch_frame_reader in;
 *     filch_view frame;
 *
 *     filch_length_codec_init(&codec, &(filch_length_opts){.max = 65536});
 *     filch_frame_reader_init(&in, &buffered, &codec.base);
 *     while ((r = filch_frame_read(&in, &frame, FILCH_NEVER)) > 0)
 *         handle(frame.data, frame.bytes);             r is 0 at a clean end
 *
 * Frames are views into the buffer of a filch_buf_reader, so they are as long as that may become at
 * most. A stream that ends within a frame is an error, another one than its clean end. A call that
 * times out or is cancelled leaves what came in the buffer, and the next one goes on.
 *
 * A codec is a struct that begins with a filch_codec. It remembers how far it has looked, so each
 * reader has one of its own; any number of writers may share it.
 */
#ifndef FILCH_FRAME_H
#define FILCH_FRAME_H

#include <filch/base.h>
#include <filch/buffered.h>
#include <filch/stream.h>
#include <filch/stream_io.h>

FILCH_BEGIN_DECLS

/* What stands before and behind a frame in the stream, at most. */
#define FILCH_FRAME_ENDS_MAX 16

typedef struct filch_codec filch_codec;

typedef struct filch_frame_ends {
    unsigned char head[FILCH_FRAME_ENDS_MAX];
    unsigned char tail[FILCH_FRAME_ENDS_MAX];
    size_t head_bytes;
    size_t tail_bytes;
} filch_frame_ends;

struct filch_codec {
    /* Looks for a frame at the beginning of @data, which is what was read so far, 1 byte at least;
     * the same bytes and more come again until they are done with. Must not suspend.
     * @ret_frame: within @data
     * @ret_used:  0 at first; bytes that are done with, whatever is returned. May be more than
     *             there are: so many are skipped as they come
     * Return: 1; 0 (more is needed); an error. With an error and nothing used the stream cannot be
     * read any further; else the next call goes on behind what was used. */
    int (*decode)(filch_codec *codec, const char *data, size_t bytes, filch_view *ret_frame,
                  uint64_t *ret_used);
    /* The same when the stream has ended behind @data, which is what decode has not used, or
     * nothing. Return: as decode; 0: that is a clean end, if everything was used. NULL: it is one
     * if there is nothing. */
    int (*decode_end)(filch_codec *codec, const char *data, size_t bytes, filch_view *ret_frame,
                      uint64_t *ret_used);
    /* What belongs before and behind a frame. May be called by several at once. NULL: for reading
     * only. @ret_ends: without bytes at first. Return: 0; an error. */
    int (*encode)(const filch_codec *codec, const void *frame, size_t bytes,
                  filch_frame_ends *ret_ends);
    size_t max; /* bytes of a frame as it is given, at most; 0: what the reader's buffer takes */
    size_t overhead; /* bytes that it has more in the stream, at most */
};

/* ---- codecs ---- */

/* In place of a width: seven bits a byte, the lowest first, as in protocol buffers. */
#define FILCH_LENGTH_VARINT 10

typedef struct filch_length_opts {
    size_t max;         /* of a frame; 0: what the reader's buffer takes, or any to be written */
    unsigned width;     /* bytes of the length: 1, 2, 4, 8, or FILCH_LENGTH_VARINT; 0: 4 */
    bool little_endian; /* else the highest byte comes first */
    int adjust; /* what is added to the number in the stream to get the bytes behind it: minus the
                   width if that counts itself. -64 to 64; 0 with a varint */
    bool with_length; /* frames are given with their length before them, as they came. Writing
                         takes them without */
} filch_length_opts;

/* The fields are private, as those of all codecs. */
typedef struct filch_length_codec {
    filch_codec base;
    filch_length_opts opts;
} filch_length_codec;

/**
 * filch_length_codec_init() - frames with their length before them
 * @opts: borrowed for the call; NULL for defaults
 *
 * Reading gives -EMSGSIZE for a frame that is too long, once: it is skipped; -EBADMSG for a length
 * that is none (below 0 when adjusted; a varint beyond 64 bits), after which nothing can be read.
 * Writing gives -EMSGSIZE for a frame that is too long, or whose length does not fit.
 * Suspends: no. Return: 0; -EINVAL (NULL, a width or an adjustment out of range).
 */
FILCH_API FILCH_MUST_CHECK int filch_length_codec_init(filch_length_codec *codec,
                                                       const filch_length_opts *opts);

typedef struct filch_delimiter_codec {
    filch_codec base;
    char delimiter[FILCH_FRAME_ENDS_MAX];
    size_t bytes;
    size_t looked;
    bool skips;
    bool lines;
    bool rest;
} filch_delimiter_codec;

/**
 * filch_delimiter_codec_init() - frames with a delimiter behind them, which is not given
 * @delimiter: copied
 * @bytes:     of it: 1 to FILCH_FRAME_ENDS_MAX
 * @max:       of a frame; 0: what the reader's buffer takes
 *
 * Reading gives -EMSGSIZE for a frame that is too long, once: it is skipped. Writing does not look
 * for delimiters within a frame. Suspends: no. Return: 0; -EINVAL (NULL, @bytes).
 */
FILCH_API FILCH_MUST_CHECK int filch_delimiter_codec_init(filch_delimiter_codec *codec,
                                                          const void *delimiter, size_t bytes,
                                                          size_t max);

/** filch_line_codec_init() - lines, which end with LF or CRLF, the last one also with the stream;
 * written with LF. Otherwise as filch_delimiter_codec_init(). Return: 0; -EINVAL (NULL). */
FILCH_API FILCH_MUST_CHECK int filch_line_codec_init(filch_delimiter_codec *codec, size_t max);

typedef struct filch_fixed_codec {
    filch_codec base;
} filch_fixed_codec;

/** filch_fixed_codec_init() - frames of @bytes each; writing gives -EMSGSIZE for others. Return: 0;
 * -EINVAL (NULL, @bytes 0). */
FILCH_API FILCH_MUST_CHECK int filch_fixed_codec_init(filch_fixed_codec *codec, size_t bytes);

/* ---- reading ---- */

/* All fields are private. */
typedef struct filch_frame_reader {
    filch_buf_reader *from;
    filch_codec *codec;
    uint64_t skip; /* of what is to come */
} filch_frame_reader;

/**
 * filch_frame_reader_init() - the frames of a buffered reader
 * @from:  borrowed as long as it is used; what else reads from it comes between two frames
 * @codec: the same; its max, if 0, is set to what the buffer takes
 *
 * Suspends: no. Return: 0; -EINVAL (NULL, no decode function); -EMSGSIZE (the buffer takes less
 * than the longest frame).
 */
FILCH_API FILCH_MUST_CHECK int filch_frame_reader_init(filch_frame_reader *reader,
                                                       filch_buf_reader *from, filch_codec *codec);

/**
 * filch_frame_read() - wait for a frame
 * @ret_frame: in the reader's buffer, until the next call
 *
 * Thread-safety: one caller at a time, a task or a plain thread. Suspends: yes. Cancellation point:
 * yes; the beginning of a frame is kept. Return: 1; 0 (the stream has ended behind a frame); -EPIPE
 * (within one); what the codec says, as -EMSGSIZE (a frame that is too long: it is skipped);
 * -ENOBUFS (the codec wants more bytes than the buffer takes); -ENOMEM; -EIO (the reader claims to
 * have read more than there was room for, or the codec to have found a frame where there are no
 * bytes); the reader's errors; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_frame_read(filch_frame_reader *reader, filch_view *ret_frame,
                                                filch_time until);

/* The fields but base are private. */
typedef struct filch_frame_stream {
    filch_stream base;
    filch_frame_reader *from;
    bool over;
    struct filch_stream_helper helper;
} filch_frame_stream;

/**
 * filch_frame_stream_init() - the frames as a stream (items: filch_view, until the next one is
 * asked for)
 * @from: borrowed until the drop, for the stream alone
 *
 * Errors are given as by filch_frame_read(), and the next call goes on; but behind one after which
 * nothing can be read, and behind -EPIPE, comes the end. For -EAGAIN of a reader there is -EIO. See
 * filch/stream_io.h for who may read it, and what the drop does. Return: 0; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_frame_stream_init(filch_frame_stream *stream,
                                                       filch_frame_reader *from);

/* ---- writing ---- */

/* All fields are private. */
typedef struct filch_frame_writer {
    filch_buf_writer *to;
    const filch_codec *codec;
    size_t done;  /* bytes of a frame that was taken in part, with its ends */
    size_t bytes; /* of that frame */
} filch_frame_writer;

/** filch_frame_writer_init() - frames to a buffered writer. @to, @codec: borrowed as long as it is
 * used. Suspends: no. Return: 0; -EINVAL (NULL, no encode function). */
FILCH_API FILCH_MUST_CHECK int
filch_frame_writer_init(filch_frame_writer *writer, filch_buf_writer *to, const filch_codec *codec);

/**
 * filch_frame_write() - take a frame, writing what is in the buffer if there is no room
 * @data: may be NULL for a frame of no bytes
 *
 * It is written by filch_buf_writer_flush(), or when the buffer is full. Thread-safety: one caller
 * at a time. Suspends: yes. Cancellation point: yes; a frame that fits the buffer was then not
 * taken. Of a longer one a part may have been: the same call again goes on, and nothing else may be
 * written in between: -EBUSY.
 *
 * Return: 0; -EMSGSIZE and what else the codec says (nothing was taken); -EBUSY (a frame of another
 * length was taken in part); -EIO (of the writer or the codec); the writer's errors; -EINVAL
 * (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_frame_write(filch_frame_writer *writer, const void *data,
                                                 size_t bytes, filch_time until);

FILCH_END_DECLS

#endif
