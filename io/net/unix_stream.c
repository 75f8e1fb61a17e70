/* Streams of Unix connections: those of tcp_stream.c, which knows of no protocol, under a type of
 * their own. */
#include <filch/unix_stream.h>

#include "io/net/tcp_stream.h"

static filch_tcp_stream *any(filch_unix_stream *stream)
{
    return (filch_tcp_stream *)stream;
}

int filch_unix_stream_open(filch_unix *conn, const filch_tcp_stream_opts *opts,
                           filch_unix_stream **ret_stream)
{
    return filch__stream_open(conn, opts, (filch_tcp_stream **)ret_stream);
}

ssize_t filch_unix_stream_fill(filch_unix_stream *stream, filch_view *ret_view, filch_time until)
{
    return filch_tcp_stream_fill(any(stream), ret_view, until);
}

int filch_unix_stream_consume(filch_unix_stream *stream, size_t bytes)
{
    return filch_tcp_stream_consume(any(stream), bytes);
}

ssize_t filch_unix_stream_read(filch_unix_stream *stream, void *buf, size_t bytes, filch_time until)
{
    return filch_tcp_stream_read(any(stream), buf, bytes, until);
}

filch_reader filch_unix_stream_reader(filch_unix_stream *stream)
{
    return filch_tcp_stream_reader(any(stream));
}

int filch_unix_stream_close(filch_unix_stream *stream)
{
    return filch_tcp_stream_close(any(stream));
}
