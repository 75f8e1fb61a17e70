/* Streams of connections: reading by a standing request to the kernel, which fills buffers out of a
 * common store as bytes come.
 *
 *     filch_tcp_stream *in;
 *     filch_view view;
 *
 *     filch_tcp_stream_open(conn, NULL, &in);
 *     while ((n = filch_tcp_stream_fill(in, &view, FILCH_NEVER)) > 0) {
 *         use(view.data, view.bytes);                      where the kernel has put it
 *         filch_tcp_stream_consume(in, view.bytes);
 *     }
 *     filch_tcp_stream_close(in);
 *     filch_tcp_close(conn);
 *
 * Against filch_tcp_read() it saves an operation for each piece, a copy where views are used, and
 * the buffer of each connection that waits. It reads ahead, up to a limit, so as long as it is open
 * nobody else may read from the connection. Writing goes on as before.
 *
 * Where the kernel, or a plain thread as the caller, does not allow the standing request, it makes
 * single ones; the results are the same.
 */
#ifndef FILCH_TCP_STREAM_H
#define FILCH_TCP_STREAM_H

#include <filch/base.h>
#include <filch/buffered.h>
#include <filch/io.h>
#include <filch/tcp.h>

FILCH_BEGIN_DECLS

typedef struct filch_tcp_stream filch_tcp_stream;

/* All zero, or NULL, gives the defaults. */
typedef struct filch_tcp_stream_opts {
    unsigned ahead; /* pieces that the kernel may have ready, each in a buffer of its own (see
                       filch_runtime_opts.recv_buffers), before it is told to pause; 0: 16. It may
                       be late for that by a few */
} filch_tcp_stream_opts;

/**
 * filch_tcp_stream_open() - read a connection through a stream
 * @conn:       borrowed: to be closed after the stream, or before it: then the stream gives what it
 *              has, then -EBADF
 * @opts:       borrowed for the call; NULL for defaults
 * @ret_stream: gets the stream; ended by filch_tcp_stream_close()
 *
 * Thread-safety: any. Suspends: no. Return: 0; -EINVAL (NULL); -EBADF (closed); -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_tcp_stream_open(filch_tcp *conn,
                                                     const filch_tcp_stream_opts *opts,
                                                     filch_tcp_stream **ret_stream);

/**
 * filch_tcp_stream_fill() - have bytes to look at, waiting for one at least
 * @ret_view: gets the oldest piece that was not consumed, or what is left of it; until it is
 *            consumed, or the stream closed
 *
 * Thread-safety: one caller at a time, a task or a plain thread: another one gets -EBUSY. Suspends:
 * yes, when there is nothing. Cancellation point: yes; nothing is lost, what comes stays in the
 * stream. With FILCH_NOW a task sees what the kernel has by then.
 *
 * Return: bytes; 0 (the peer has ended its side); what filch_tcp_read() says, behind the bytes that
 * came before it; -ENOMEM (of a single request: there is no buffer; nothing is lost); -EBUSY;
 * -EBADF (the stream, or the connection, was closed); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_tcp_stream_fill(filch_tcp_stream *stream,
                                                         filch_view *ret_view, filch_time until);

/** filch_tcp_stream_consume() - take @bytes of the piece that filch_tcp_stream_fill() gave. Its
 * buffer is the kernel's again when all of it was taken. Suspends: no. Return: 0; -EINVAL (more
 * than are left of it: nothing was taken; NULL); -EBUSY; -EBADF. */
FILCH_API int filch_tcp_stream_consume(filch_tcp_stream *stream, size_t bytes);

/** filch_tcp_stream_read() - the same two steps with a copy: as filch_tcp_read(). Return: bytes; 0
 * (the end, or @bytes is 0); as filch_tcp_stream_fill(). */
FILCH_API FILCH_MUST_CHECK ssize_t filch_tcp_stream_read(filch_tcp_stream *stream, void *buf,
                                                         size_t bytes, filch_time until);

/** filch_tcp_stream_reader() - the stream as a reader, which borrows it; for buffered readers and
 * frames. NULL: a reader whose reads give -EINVAL. */
FILCH_API filch_reader filch_tcp_stream_reader(filch_tcp_stream *stream);

/**
 * filch_tcp_stream_close() - end the stream; the connection stays
 * @stream: consumed, if it returns 0; NULL is allowed
 *
 * What it has read ahead is gone. May suspend until the kernel has let go; never a cancellation
 * point. Return: 0; -EBUSY (a call is under way in it; close the connection to end that); -EBADF
 * (already closed).
 */
FILCH_API int filch_tcp_stream_close(filch_tcp_stream *stream);

FILCH_END_DECLS

#endif
