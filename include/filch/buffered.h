/* Buffered readers and writers, over any reader and writer (filch/io.h): few large reads and writes
 * below, as many small ones above as one likes, and a look at what is there before it is taken.
 *
 *     filch_buf_reader in;
 *     filch_line line;
 *
 *     filch_buf_reader_init(&in, filch_tcp_reader(conn), NULL);
 *     while ((r = filch_buf_reader_line(&in, &line, FILCH_NEVER)) > 0)
 *         use(line.text, line.bytes);
 *     filch_buf_reader_fini(&in);
 *
 * Both are structs in the caller's memory, for one caller at a time: a task or a plain thread.
 * Nothing is lost when a call times out, is cancelled or fails: what was read stays in the buffer,
 * what was to be written stays there too, and is written once.
 */
#ifndef FILCH_BUFFERED_H
#define FILCH_BUFFERED_H

#include <filch/base.h>
#include <filch/io.h>

FILCH_BEGIN_DECLS

/* Bytes in somebody's buffer. */
typedef struct filch_view {
    const char *data;
    size_t bytes;
} filch_view;

/* A line, without its end. */
typedef struct filch_line {
    const char *text; /* ends with a NUL instead of its LF or CRLF; may contain others. In the
                         reader's buffer, until the next call */
    size_t bytes;     /* without the NUL; 0: an empty line */
} filch_line;

/* How a reader or writer is buffered. All zero, or NULL, gives the defaults. */
typedef struct filch_buf_opts {
    void *buffer;     /* borrowed until fini; NULL: memory of its own */
    size_t bytes;     /* of it; 0, without a buffer: 8 KiB. A reader's and a writer's last byte is
                         its own: 2 or more */
    size_t bytes_max; /* of a reader's own memory, to which it grows for a long line or frame; 0:
                         it does not */
} filch_buf_opts;

/* ---- reading ---- */

/* All fields are private. */
typedef struct filch_buf_reader {
    filch_reader reader;
    char *buffer;
    size_t room;     /* without the last byte, which is for a NUL */
    size_t room_max; /* the same, when grown */
    size_t begin;    /* of what was read and not taken */
    size_t end;
    size_t looked; /* so many from `begin` on contain no `delimiter` */
    char delimiter;
    bool skips; /* the rest of a piece that is too long */
    bool owned;
} filch_buf_reader;

/**
 * filch_buf_reader_init() - a buffer before a reader
 * @from: copied; its context is borrowed until the fini
 * @opts: borrowed for the call; NULL for defaults
 *
 * Suspends: no. Return: 0; -EINVAL (NULL, sizes); -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_buf_reader_init(filch_buf_reader *reader, filch_reader from,
                                                     const filch_buf_opts *opts);

/** filch_buf_reader_fini() - end it; what was read ahead is gone. NULL, and a second time, do
 * nothing. Suspends: no. */
FILCH_API void filch_buf_reader_fini(filch_buf_reader *reader);

/** filch_buf_reader_peek() - what is in the buffer, untaken: valid until the next call but this and
 * filch_buf_reader_consume(). Suspends: no. Return: bytes there, 0 or more; -EINVAL (NULL). */
FILCH_API FILCH_MUST_CHECK ssize_t filch_buf_reader_peek(const filch_buf_reader *reader,
                                                         filch_view *ret_view);

/**
 * filch_buf_reader_fill() - have @least bytes in the buffer, for filch_buf_reader_peek()
 * @least: 0 is as 1
 *
 * Suspends: yes. Cancellation point: yes; what was read is in the buffer.
 * Return: bytes in the buffer, as many or more; fewer: the end is behind them; -EMSGSIZE (more than
 * the buffer may hold; nothing is lost); -ENOMEM; -EIO (the reader claims to have read more than
 * there was room for); the reader's errors; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_buf_reader_fill(filch_buf_reader *reader, size_t least,
                                                         filch_time until);

/** filch_buf_reader_consume() - take @bytes of what is in the buffer. Suspends: no. Return: 0;
 * -EINVAL (there are fewer: nothing was taken; NULL). */
FILCH_API int filch_buf_reader_consume(filch_buf_reader *reader, size_t bytes);

/**
 * filch_buf_reader_read() - read what is there, waiting for one byte at least
 *
 * Reads as large as the buffer go past it when it is empty. Suspends: yes. Cancellation point: yes;
 * nothing is lost. Return: bytes read; 0 (the end, or @bytes is 0); the reader's errors; -EIO (as
 * above); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_buf_reader_read(filch_buf_reader *reader, void *buf,
                                                         size_t bytes, filch_time until);

/** filch_buf_reader_read_exact() - read exactly @bytes: as filch_read_exact(). */
FILCH_API FILCH_MUST_CHECK int filch_buf_reader_read_exact(filch_buf_reader *reader, void *buf,
                                                           size_t bytes, size_t *done,
                                                           filch_time until);

/**
 * filch_buf_reader_skip() - read @bytes and forget them
 * @done: so many have been skipped already; counted up, also on failure. NULL: none have
 *
 * Return: 0; -EPIPE (the end came before that); the reader's errors; -EIO; -EINVAL (NULL, @done
 * beyond @bytes).
 */
FILCH_API FILCH_MUST_CHECK int filch_buf_reader_skip(filch_buf_reader *reader, uint64_t bytes,
                                                     uint64_t *done, filch_time until);

/**
 * filch_buf_reader_until() - read up to a delimiter
 * @ret_view: gets the bytes, the delimiter last; in the buffer, until the next call
 *
 * Behind the last delimiter there may be a rest, which is given without one. Suspends: yes.
 * Cancellation point: yes; the beginning of a piece stays in the buffer.
 *
 * For a piece longer than the buffer may hold there is -EMSGSIZE, once. What the buffer held of it
 * is gone; the next call of this sort with the same delimiter skips the rest of it and gives the
 * piece behind. (Any other call reads that rest.)
 *
 * Return: 1; 0 (the end); -EMSGSIZE; -ENOMEM (nothing is lost); -EIO; the reader's errors; -EINVAL
 * (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_buf_reader_until(filch_buf_reader *reader, char delimiter,
                                                      filch_view *ret_view, filch_time until);

/** filch_buf_reader_line() - read a line, which ends with LF or CRLF; the last one may do without.
 * Otherwise as filch_buf_reader_until(). */
FILCH_API FILCH_MUST_CHECK int filch_buf_reader_line(filch_buf_reader *reader, filch_line *ret_line,
                                                     filch_time until);

/** filch_buf_reader_reader() - the buffered reader as a reader, for the next layer; it is borrowed.
 * NULL: a reader whose reads give -EINVAL. */
FILCH_API filch_reader filch_buf_reader_reader(filch_buf_reader *reader);

/* ---- writing ---- */

/* All fields are private. */
typedef struct filch_buf_writer {
    filch_writer writer;
    char *buffer;
    size_t room;
    size_t begin; /* of what was taken and not written */
    size_t end;
    bool owned;
} filch_buf_writer;

/**
 * filch_buf_writer_init() - a buffer before a writer
 * @to:   copied; its context is borrowed until the fini
 * @opts: borrowed for the call; NULL for defaults; bytes_max is not used
 *
 * Suspends: no. Return: 0; -EINVAL (NULL, sizes); -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_buf_writer_init(filch_buf_writer *writer, filch_writer to,
                                                     const filch_buf_opts *opts);

/** filch_buf_writer_fini() - end it; what was not flushed is never written. NULL, and a second
 * time, do nothing. Suspends: no. */
FILCH_API void filch_buf_writer_fini(filch_buf_writer *writer);

/**
 * filch_buf_writer_write() - take some bytes, one at least, writing what is in the buffer if it is
 * full
 *
 * Writes as large as the buffer go past it when it is empty. Suspends: yes, when full. Cancellation
 * point: yes; with an error nothing was taken. Return: bytes taken; the writer's errors; -EIO (the
 * writer claims to have taken nothing, or more than there was); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_buf_writer_write(filch_buf_writer *writer, const void *buf,
                                                          size_t bytes, filch_time until);

/** filch_buf_writer_write_all() - take all of @bytes: as filch_write_all(). */
FILCH_API FILCH_MUST_CHECK int filch_buf_writer_write_all(filch_buf_writer *writer, const void *buf,
                                                          size_t bytes, size_t *done,
                                                          filch_time until);

/**
 * filch_buf_writer_reserve() - have room for @bytes in one piece, writing what is in the way
 * @ret_room: gets the place; NULL: do not tell. To be filled, then filch_buf_writer_commit()
 *
 * Suspends: yes, when there is less room. Cancellation point: yes.
 * Return: 0; -EMSGSIZE (more than the buffer); as filch_buf_writer_flush().
 */
FILCH_API FILCH_MUST_CHECK int filch_buf_writer_reserve(filch_buf_writer *writer, size_t bytes,
                                                        void **ret_room, filch_time until);

/** filch_buf_writer_commit() - take @bytes that were put into the room. Suspends: no. Return: 0;
 * -EINVAL (more than there is room; NULL). */
FILCH_API int filch_buf_writer_commit(filch_buf_writer *writer, size_t bytes);

/**
 * filch_buf_writer_printf() - take formatted text, as printf(3)
 *
 * Suspends: no: it needs room for the text and a NUL. Return: bytes taken; -ENOBUFS (no room:
 * nothing was taken; flush or reserve, and call again); -EINVAL (NULL, or the format is wrong).
 */
FILCH_API FILCH_MUST_CHECK __attribute__((format(printf, 2, 3))) int
filch_buf_writer_printf(filch_buf_writer *writer, const char *format, ...);

/** filch_buf_writer_pending() - bytes that were taken and not written. Suspends: no. 0 for NULL. */
FILCH_API size_t filch_buf_writer_pending(const filch_buf_writer *writer);

/**
 * filch_buf_writer_flush() - write what is in the buffer
 *
 * Suspends: yes. Cancellation point: yes; what was written has left the buffer, the rest is in it,
 * so a call again goes on. Return: 0; the writer's errors; -EIO (as above); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_buf_writer_flush(filch_buf_writer *writer, filch_time until);

/** filch_buf_writer_finish() - flush, then end this side (filch_writer.finish). Return: as
 * filch_buf_writer_flush(); what the writer's finish says. */
FILCH_API FILCH_MUST_CHECK int filch_buf_writer_finish(filch_buf_writer *writer, filch_time until);

/** filch_buf_writer_writer() - the buffered writer as a writer, for the next layer; it is borrowed,
 * and its finish is filch_buf_writer_finish(). NULL: a writer whose calls give -EINVAL. */
FILCH_API filch_writer filch_buf_writer_writer(filch_buf_writer *writer);

FILCH_END_DECLS

#endif
