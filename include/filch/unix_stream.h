/* Streams of Unix connections: reading by a standing request, as <filch/tcp_stream.h> has it for
 * TCP. Everything that is said there holds here. Descriptors that come with the bytes are closed:
 * who wants them reads by filch_unix_recv_fds(), without a stream.
 */
#ifndef FILCH_UNIX_STREAM_H
#define FILCH_UNIX_STREAM_H

#include <filch/base.h>
#include <filch/tcp_stream.h>
#include <filch/unix.h>

FILCH_BEGIN_DECLS

typedef struct filch_unix_stream filch_unix_stream;

/** filch_unix_stream_open() - read a connection through a stream, which is ended by
 * filch_unix_stream_close(): as filch_tcp_stream_open(). */
FILCH_API FILCH_MUST_CHECK int filch_unix_stream_open(filch_unix *conn,
                                                      const filch_tcp_stream_opts *opts,
                                                      filch_unix_stream **ret_stream);

/** filch_unix_stream_fill() - have bytes to look at: as filch_tcp_stream_fill(). */
FILCH_API FILCH_MUST_CHECK ssize_t filch_unix_stream_fill(filch_unix_stream *stream,
                                                          filch_view *ret_view, filch_time until);

/** filch_unix_stream_consume() - take bytes of it: as filch_tcp_stream_consume(). */
FILCH_API int filch_unix_stream_consume(filch_unix_stream *stream, size_t bytes);

/** filch_unix_stream_read() - both with a copy: as filch_tcp_stream_read(). */
FILCH_API FILCH_MUST_CHECK ssize_t filch_unix_stream_read(filch_unix_stream *stream, void *buf,
                                                          size_t bytes, filch_time until);

/** filch_unix_stream_reader() - the stream as a reader: as filch_tcp_stream_reader(). */
FILCH_API filch_reader filch_unix_stream_reader(filch_unix_stream *stream);

/** filch_unix_stream_close() - end the stream; the connection stays: as filch_tcp_stream_close().
 */
FILCH_API int filch_unix_stream_close(filch_unix_stream *stream);

FILCH_END_DECLS

#endif
