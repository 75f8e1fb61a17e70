/* Streams of whatever is a stream socket. */
#ifndef FILCH_IO_NET_TCP_STREAM_H
#define FILCH_IO_NET_TCP_STREAM_H

#include <filch/tcp_stream.h>

/* filch_tcp_stream_open() of a handle of a struct filch__fd. */
int filch__stream_open(void *conn, const filch_tcp_stream_opts *opts,
                       filch_tcp_stream **ret_stream);

#endif
