/* Listeners of any kind of stream socket, by handle: see listener.c. */
#ifndef FILCH_IO_NET_LISTENER_H
#define FILCH_IO_NET_LISTENER_H

#include <filch/base.h>

#include "io/fd.h"

#define FILCH__BACKLOG_DEFAULT 1024

/* A handle for a listening socket. @lingers: close(2) of what it accepts may wait. @name: for
 * filch__listener_close(). Return: 0; -ENOMEM. */
int filch__listener_wrap(int fd, bool lingers, uint64_t name, void **ret_handle);

/* @ret_lingers: set with a descriptor. Return: the descriptor, close-on-exec; as
 * filch_listener_accept(). */
int filch__listener_accept(const void *handle, bool *ret_lingers, filch_time until);

/* Takes a connection that has been accepted already, without waiting. Return: the descriptor;
 * -EAGAIN (there is none); -EBADF; -EINVAL; the error of the last accept. */
int filch__listener_take(const void *handle, bool *ret_lingers);

/* Takes a connection back that nobody has used: the next accept gets it. Closes it if the listener
 * was closed. */
void filch__listener_give_back(const void *handle, int fd);

/* For a select: @waiter is told when there may be something to accept; afterwards @waiter leaves.
 * Return: 0; 1: there may be now. Task only, as a user of the listener. */
int filch__listener_enlist(struct filch__fd *object, struct filch__waiter *waiter);
void filch__listener_delist(struct filch__fd *object, struct filch__waiter *waiter);
/* Is there something in the listener's own queue? */
bool filch__listener_is_ready(struct filch__fd *object);

/* As filch_listener_close(). @farewell: of a socket whose accept a shutdown does not end; called
 * while the descriptor is still open. NULL: the shutdown ends it, and nothing is to be done. */
int filch__listener_close(void *handle, void (*farewell)(int fd, uint64_t name));

#endif
