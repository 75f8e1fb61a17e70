/* What tcp.c and listener.c share. */
#ifndef FILCH_IO_NET_SOCKET_H
#define FILCH_IO_NET_SOCKET_H

#include <filch/tcp.h>

#include <sys/socket.h>

#include "io/fd.h"
#include "io/op.h"

struct io_uring_sqe;

/* Wraps a connected socket, which it consumes also on failure. Return: 0; -ENOMEM. */
int filch__tcp_adopt(int fd, bool nodelay, filch_tcp **ret_conn);

/* For plain threads: blocks in poll(2). Return: 0 (ready, or in error: the next call tells);
 * -ETIMEDOUT. */
int filch__socket_poll(int fd, short events, filch_time until);

/* A submission entry of the calling worker, and its op set up for the running task. */
struct io_uring_sqe *filch__op_begin(struct filch__op *op, struct filch__lane **ret_lane);

/* filch_listener_addr() and the like. */
int filch__socket_name(const void *handle, int (*get)(int, struct sockaddr *, socklen_t *),
                       char *ret_text);

#endif
