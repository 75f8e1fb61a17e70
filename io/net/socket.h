/* What the files on TCP share. */
#ifndef FILCH_IO_NET_SOCKET_H
#define FILCH_IO_NET_SOCKET_H

#include <filch/tcp.h>

#include <sys/socket.h>

#include "io/fd.h"
#include "io/net/addr.h"
#include "io/op.h"

/* A new TCP socket with what every one of ours has, then the caller's settings. Return: descriptor;
 * -EINVAL; what socket(2) and setsockopt(2) say. */
int filch__socket_new(const struct filch__addr *addr, bool listens, const char *device,
                      const filch_tcp_setting *settings, size_t count);

/* Through this interface only. Return: 0; -ENODEV; -EPERM. */
int filch__socket_bind_device(int fd, const char *device);

/* Is it such a socket? Return: 0; -EBADF; -ENOTSOCK; -EPROTOTYPE. */
int filch__socket_is(int fd, int type, int protocol);

/* Close-on-exec and in blocking mode. Return: 0; -errno. */
int filch__socket_make_ours(int fd);

/* Is it a stream socket of this protocol that does (not) listen? Makes it ours. Return: 0; -EBADF;
 * -ENOTSOCK; -EPROTOTYPE; -EINVAL (the other sort); -ENOTCONN. */
int filch__socket_adopt(int fd, int protocol, bool listens);

/* Waits until a socket is ready, in a task or a plain thread. Return: 0 (ready, or in error: the
 * next call tells); -ETIMEDOUT; -ECANCELED. */
int filch__socket_wait(int fd, short events, filch_time until);

/* For plain threads: blocks in poll(2). Return: 0 (ready, or in error: the next call tells);
 * -ETIMEDOUT. */
int filch__socket_poll(int fd, short events, filch_time until);

/* filch_listener_addr() and the like. */
int filch__socket_name(const void *handle, int (*get)(int, struct sockaddr *, socklen_t *),
                       char *ret_text);

/* An option of a socket. Return: 0; -EINVAL (no such option, value out of range); what
 * setsockopt(2) says. */
int filch__option_set(int fd, enum filch_tcp_option option, int64_t value);

/* May close(2) of this socket wait (SO_LINGER)? */
bool filch__option_lingers(int fd);

/* A handle for a connected socket. @lingers: its close may wait. Return: 0; -ENOMEM. */
int filch__tcp_wrap(int fd, bool lingers, filch_tcp **ret_conn);

/* A listener's as a case. @handle: of listener.c; NULL is allowed. */
filch_case filch__case_listener(void *handle);

/* A socket's readiness as a case of a select. @handle: of a struct filch__fd; NULL is allowed. */
filch_case filch__case_socket(void *handle, short events);

/* May the caller suspend in an op? */
bool filch__in_stackful_task(void);

#endif
