/* Submission entries as system calls: what the kernel does for io_uring, done by hand. */
#ifndef FILCH_IO_EPOLL_CALL_H
#define FILCH_IO_EPOLL_CALL_H

#include <liburing.h>

#include "runtime/base/atomic.h"

/* How an opcode is carried out. */
enum filch__call_kind {
    FILCH_CALL_UNKNOWN,
    FILCH_CALL_DIRECT,  /* never waits */
    FILCH_CALL_JOB,     /* may wait, and nothing tells when it would not: a blocking thread */
    FILCH_CALL_IN,      /* tried without waiting, else when the descriptor is readable */
    FILCH_CALL_OUT,     /* the same, writable */
    FILCH_CALL_ACCEPT,  /* IN, of a socket that is made non-blocking for it */
    FILCH_CALL_CONNECT, /* OUT, of a socket that is non-blocking meanwhile */
    FILCH_CALL_POLL,    /* waits for readiness and does nothing */
};

enum filch__call_kind filch__call_kind(const struct io_uring_sqe *sqe);

/* A read or write of whatever the descriptor is, a file included. */
bool filch__call_is_file(const struct io_uring_sqe *sqe);

/* Of IN, OUT, ACCEPT. Return: as the operation; -EAGAIN (it would wait). -EOPNOTSUPP of a file: the
 * kernel does not know whether it would. */
int filch__call_try(const struct io_uring_sqe *sqe);

/* Of CONNECT, on a socket that is non-blocking. @begun: the first try has been made. */
int filch__call_connect(const struct io_uring_sqe *sqe, bool begun);

/* Of DIRECT, JOB, files, and a connect to a queue that is full. @cancelled: give up when set, where
 * that can be done. */
int filch__call_wait(const struct io_uring_sqe *sqe, filch_atomic_u32 *cancelled);

/* How many bytes it asks for, of one that moves bytes of a stream and may clear readiness by
 * getting less; 0: that says nothing. */
size_t filch__call_bytes(const struct io_uring_sqe *sqe);

#endif
