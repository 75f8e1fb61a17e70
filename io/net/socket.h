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

/* Is it a TCP socket that does (not) listen? Makes it ours: close-on-exec and in blocking mode.
 * Return: 0; -EBADF; -ENOTSOCK; -EPROTOTYPE; -EINVAL (the other sort); -ENOTCONN. */
int filch__socket_adopt(int fd, bool listens);

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

/* For a select: @waiter is told when there may be something to accept; afterwards @waiter leaves.
 * Return: 0; 1: there may be now. Task only, as a user of the listener. */
int filch__listener_enlist(struct filch__fd *object, struct filch__waiter *waiter);
void filch__listener_delist(struct filch__fd *object, struct filch__waiter *waiter);
/* Is there something in the listener's own queue? */
bool filch__listener_is_ready(struct filch__fd *object);

/* May the caller suspend in an op? */
bool filch__in_stackful_task(void);

#endif
