/* The system calls of io_uring, and the ladder of flags with which a ring is made. */
#ifndef FILCH_IO_URING_RING_H
#define FILCH_IO_URING_RING_H

#include <liburing.h>

/* Makes a ring with as many of our flags as the kernel knows. @attach_fd: a ring to share kernel
 * threads with, or -1. Return: 0; -ENOSYS (too old); -EPERM, -ENOMEM, -EMFILE and the like. */
int filch__ring_open(struct io_uring *ring, unsigned entries, int attach_fd);

/* io_uring_enter(2). Return: submitted; -errno. */
int filch__ring_enter(unsigned fd, unsigned submit, unsigned wait, unsigned flags, void *arg,
                      size_t arg_bytes);

/* io_uring_register(2). Return: 0 or more; -errno. */
int filch__ring_register(const struct io_uring *ring, unsigned opcode, void *arg, unsigned n);

/* A number for the ring that is cheaper to enter with, on the calling thread. Return: 1; -errno. */
int filch__ring_register_fd(struct io_uring *ring);

#endif
