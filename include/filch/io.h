/* Byte streams: readers and writers, by which whatever moves bytes meets whatever has them.
 *
 * Connections, files, pipes, TLS and memory can be read and written through the same two structs,
 * so buffers, framing, copies and TLS are written once. They are plain values: an object's address
 * and what to do with it. The object is borrowed as long as they are used.
 *
 * The functions at the end keep their place when they are interrupted: each has a `done` which it
 * begins at and counts on, so the same call once more, after a time-out or behind a cancel, goes on
 * where it stopped.
 */
#ifndef FILCH_IO_H
#define FILCH_IO_H

#include <sys/types.h>

#include <filch/base.h>

FILCH_BEGIN_DECLS

/* Something to read bytes from. */
typedef struct filch_reader {
    /* Waits for one byte at least. May suspend. Return: bytes read; 0 (the end); an error, with
     * which nothing was read, and which is not -EAGAIN. */
    ssize_t (*read)(void *context, void *buf, size_t bytes, filch_time until);
    void *context;
} filch_reader;

/* Something to write bytes to. */
typedef struct filch_writer {
    /* Waits until it has taken one byte at least; 0 only for @bytes 0. May suspend. Return: bytes
     * taken; an error, with which nothing was taken, and which is not -EAGAIN. */
    ssize_t (*write)(void *context, const void *buf, size_t bytes, filch_time until);
    /* Ends this side: whoever reads the other finds the end after what was written. Reading goes
     * on. May suspend. NULL: there is nothing to be told. Return: 0; an error. */
    int (*finish)(void *context, filch_time until);
    void *context;
} filch_writer;

/* Both directions of something that has two. */
typedef struct filch_io {
    filch_reader reader;
    filch_writer writer;
} filch_io;

/**
 * filch_read_exact() - read exactly @bytes
 * @buf:  filled from @done on
 * @done: bytes of @buf that are filled already; counted up, also on failure. NULL: none are, and
 *        what was read before a failure is in @buf, but who knows how much
 *
 * Suspends: yes. Cancellation point: yes; the same call again goes on behind @done.
 * Return: 0; -EPIPE (the end came before that); the reader's errors, as -ETIMEDOUT, -ECANCELED;
 * -EIO (the reader claims to have read more than there was room for); -EINVAL (NULL, @done beyond
 * @bytes).
 */
FILCH_API FILCH_MUST_CHECK int filch_read_exact(filch_reader reader, void *buf, size_t bytes,
                                                size_t *done, filch_time until);

/**
 * filch_read_to_end() - read all there is, into memory
 * @data:  NULL at first; gets memory for malloc's free(), which is the caller's also on failure,
 *         and a NUL behind the bytes
 * @done:  0 at first; bytes in @data
 * @limit: most bytes; more of them is an error
 *
 * Suspends: yes. Cancellation point: yes; the same call again goes on.
 * Return: 0; -EMSGSIZE (more than @limit: so many are in @data, and one more was read); -ENOMEM;
 * the reader's errors; -EIO (as filch_read_exact()); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_read_to_end(filch_reader reader, size_t limit, char **data,
                                                 size_t *done, filch_time until);

/**
 * filch_write_all() - write all of @bytes
 * @done: bytes of @buf that are written already; counted up, also on failure. NULL: none are
 *
 * Suspends: yes. Cancellation point: yes; the same call again goes on behind @done.
 * Return: 0; the writer's errors, as -EPIPE, -ETIMEDOUT, -ECANCELED; -EIO (the writer claims to
 * have taken nothing, or more than there was); -EINVAL (NULL, @done beyond @bytes).
 */
FILCH_API FILCH_MUST_CHECK int filch_write_all(filch_writer writer, const void *buf, size_t bytes,
                                               size_t *done, filch_time until);

FILCH_END_DECLS

#endif
