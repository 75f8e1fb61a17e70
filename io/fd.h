/* Descriptors behind handles: what a connection and a listener have in common.
 *
 * An object is in use while calls are inside it; close refuses new ones, makes the present ones end
 * (shutdown of the socket), waits for them, and only then closes the descriptor: so no call ever
 * works on a number that the kernel has given to somebody else.
 */
#ifndef FILCH_IO_FD_H
#define FILCH_IO_FD_H

#include "runtime/base/atomic.h"
#include "runtime/base/handle.h"
#include "runtime/base/pool.h"
#include "runtime/task/waiter.h"

/* First member of what is behind a handle. */
struct filch__fd {
    /* users | OPEN | CLOSING | CLOSER, and the generation in bits 48-63. Read-modify-writes by
     * everybody. [fd-leave] release of a user's last use -> acquire by the closer. */
    filch_atomic_u64 state;
    void *next; /* in the pool */
    int fd;
    /* 1: close(2) may wait (SO_LINGER), so it is for a blocking thread. Relaxed: set by users, read
     * when they have left. */
    filch_atomic_u32 lingers;
    /* Zero-copy writes in a row that the kernel has copied: see net/zero_copy.c. Relaxed: a hint.
     */
    filch_atomic_u32 copied;
    /* How many users have it non-blocking at the moment; CHANGING in between.
     * [fd-unblock] release by whoever has changed it or has done with it -> acquire by the next. */
    filch_atomic_u32 unblocked;
    struct filch__waiter *closer; /* with CLOSER */
};

/* Makes a fresh object from a pool open on @fd. Return: its handle. */
void *filch__fd_open(struct filch__fd *object, int fd);

/* For pools: in the child of a fork an open object's handle becomes stale. The descriptor is
 * inherited like any other; the calls inside are the parent's. */
void filch__fd_forked(void *object);

/* Begins a call. Return: 0; -EINVAL (NULL); -EBADF (closed, or being closed). */
int filch__fd_enter(const void *handle, struct filch__fd **ret_object);

/* What is behind a handle. Return: it; -EINVAL (NULL); -EBADF (closed). */
int filch__fd_number(const void *handle);

/* One more user of an object that has one. */
void filch__fd_ref(struct filch__fd *object);

/* Ends a call. The object may be gone afterwards. */
void filch__fd_leave(struct filch__fd *object);

/* How many users there are. [fd-leave] What those have done that have left is visible. */
unsigned filch__fd_users(struct filch__fd *object);

/* Is somebody closing it? For a user: then what its call gave was made up by the close. */
bool filch__fd_is_closing(struct filch__fd *object);

/* Refuses new calls; the present ones go on. Return: 0; -EBADF. Then @object is the caller's to end
 * with filch__fd_close_end(). */
int filch__fd_refuse(void *handle, struct filch__fd **ret_object);

/* The same, and shuts the socket down, so that the present ones end. Return: 0; -EBADF. Then
 * @object is the caller's to end with filch__fd_close_end(). */
int filch__fd_close_begin(void *handle, struct filch__fd **ret_object);

/* Waits for the last call. After close_begin. */
void filch__fd_wait_users(struct filch__fd *object);

/* Waits for the last call, closes, gives the object to @pool. */
void filch__fd_close_end(struct filch__fd *object, struct filch__pool *pool);

/* Gives an object to @pool whose users have left and whose descriptor the caller closes. */
void filch__fd_end(struct filch__fd *object, struct filch__pool *pool);

/* Ends the handle but not the descriptor, if nobody uses it. Return: 0; -EBUSY; -EBADF. */
int filch__fd_release(void *handle, struct filch__pool *pool, int *ret_fd);

/* For a user of a socket: has the kernel not wait in calls that have no flag for that, until
 * filch__fd_block(); several users may at a time. Return: false: it is being changed just now. */
bool filch__fd_unblock(struct filch__fd *object);
void filch__fd_block(struct filch__fd *object);

/* For a user: closing may wait from now on. */
void filch__fd_note_lingers(struct filch__fd *object);

#endif
