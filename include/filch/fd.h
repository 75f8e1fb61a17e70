/* Any descriptor, by readiness: for sockets and devices of other libraries.
 *
 *     filch_fd *fd;
 *     int r = filch_fd_borrow(their_socket, &fd);
 *     ...
 *     r = filch_fd_wait(fd, FILCH_FD_READABLE | FILCH_FD_WRITABLE, &events, until);
 *     if (r == 0 && events & FILCH_FD_READABLE)
 *         their_library_reads(their_socket);
 *     ...
 *     filch_fd_close(fd);
 *
 * Nothing is read or written here: whoever knows the descriptor does that, without blocking. What
 * is ready stays ready until it has been dealt with (there are no edges to miss), and somebody else
 * may be faster, so be prepared for -EAGAIN. It works for whatever the kernel can poll: sockets,
 * pipes, terminals, eventfd, timerfd, pidfd, inotify, DRM and sound devices; not for files on
 * disks, which are always ready. For bytes of pipes and terminals see file.h.
 *
 * One descriptor may have several handles, and several calls may wait in one handle.
 */
#ifndef FILCH_FD_H
#define FILCH_FD_H

#include <filch/base.h>
#include <filch/select.h>

FILCH_BEGIN_DECLS

typedef struct filch_fd filch_fd;

/* What to wait for, and what there is. The values are those of poll(2). */
enum filch_fd_events {
    FILCH_FD_READABLE = 0x001,
    FILCH_FD_URGENT = 0x002, /* out-of-band bytes, and what a device calls exceptional */
    FILCH_FD_WRITABLE = 0x004,
    FILCH_FD_ERROR = 0x008,       /* always waited for: an error is pending */
    FILCH_FD_HANGUP = 0x010,      /* always waited for: the other side has gone */
    FILCH_FD_READ_ENDED = 0x2000, /* the peer of a stream socket has ended its side */
};

/**
 * filch_fd_borrow() - wait for a descriptor that stays its owner's
 * @fd:     borrowed until filch_fd_close(); its owner must not close it before; nothing is changed
 * @ret_fd: gets the handle; ended by filch_fd_close()
 *
 * Thread-safety: any. Suspends: no.
 * Return: 0; -EBADF (no descriptor); -EPERM (a file or a directory on a disk); -EINVAL (NULL);
 * -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_fd_borrow(int fd, filch_fd **ret_fd);

/**
 * filch_fd_adopt() - take over a descriptor
 * @fd: consumed on success only: filch_fd_close() closes it; becomes close-on-exec
 *
 * Thread-safety: any. Suspends: no. Return: as filch_fd_borrow().
 */
FILCH_API FILCH_MUST_CHECK int filch_fd_adopt(int fd, filch_fd **ret_fd);

/** filch_fd_number() - the descriptor behind a handle, for the calls that are made with it. Do not
 * close it. Suspends: no. Return: it; -EBADF (closed); -EINVAL (NULL). */
FILCH_API int filch_fd_number(filch_fd *fd);

/**
 * filch_fd_wait() - wait until a descriptor is ready for something
 * @events:     enum filch_fd_events, one at least
 * @ret_events: gets what there is: of @events, ERROR and HANGUP; may be NULL
 *
 * Thread-safety: any number at once. Suspends: yes. Cancellation point: yes; nothing is consumed
 * anyway. What is ready is reported also when the time is up or the caller is cancelled.
 * Return: 0; -ETIMEDOUT; -ECANCELED (also: the handle was closed meanwhile); -EBADF (closed; or its
 * owner has closed the descriptor); -EINVAL (NULL, no event or an unknown one); -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_fd_wait(filch_fd *fd, unsigned events, unsigned *ret_events,
                                             filch_time until);

/** filch_fd_poll() - the same for a descriptor without a handle, which must not be closed
 * meanwhile. Return: as filch_fd_wait(), but never because of a close. */
FILCH_API FILCH_MUST_CHECK int filch_fd_poll(int fd, unsigned events, unsigned *ret_events,
                                             filch_time until);

/**
 * filch_case_fd() - a descriptor that is ready, as a case of a select
 * @events, @ret_events: as for filch_fd_wait(); @ret_events is set if the case wins with result 0
 *
 * Of a plain thread it is looked at only: a select that would wait in it ends with `result` -EPERM.
 *
 * `result`: 0; -ECANCELED (the handle was closed meanwhile); -EBADF (closed); -ENOMEM; -EPERM.
 */
FILCH_API filch_case filch_case_fd(filch_fd *fd, unsigned events, unsigned *ret_events);

/**
 * filch_fd_release() - give up the handle and get the descriptor
 * @fd:         consumed on success only
 * @ret_number: the caller's to close if it was adopted, else its owner's as before
 *
 * Thread-safety: any. Suspends: no. Return: 0; -EBUSY (somebody waits in it); -EBADF; -EINVAL
 * (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_fd_release(filch_fd *fd, int *ret_number);

/**
 * filch_fd_close() - end the handle; close the descriptor if it was adopted
 * @fd: consumed; NULL is allowed
 *
 * Calls that wait in it in other tasks and threads end with -ECANCELED first: of tasks at once, of
 * plain threads within 50 ms. May suspend until they have left; never a cancellation point. When it
 * returns nothing of us looks at the descriptor any more. Return: 0; -EBADF (already closed).
 */
FILCH_API int filch_fd_close(filch_fd *fd);

FILCH_END_DECLS

#endif
