/* Sockets inherited from a service manager: systemd's socket activation (sd_listen_fds(3)).
 *
 *     if (filch_inherited_listener("http", &listener) == -ENOENT)
 *         r = filch_listener_open("0.0.0.0:80", NULL, &listener);
 *
 * The manager passes descriptors 3, 4, ... and says so in the environment: LISTEN_PID, LISTEN_FDS
 * and, with names, LISTEN_FDNAMES. It is read at the first call, and each descriptor is given once.
 * The environment is left as it is: children that must not take those sockets for theirs see that
 * LISTEN_PID is not their process; and all of them are close-on-exec from the first call on.
 *
 * Thread-safety of all: any. None suspends.
 */
#ifndef FILCH_INHERITED_H
#define FILCH_INHERITED_H

#include <filch/base.h>
#include <filch/tcp.h>
#include <filch/udp.h>
#include <filch/unix.h>

FILCH_BEGIN_DECLS

/** filch_inherited_count() - how many descriptors were passed to this process; given ones count.
 * Return: 0 and more; -EINVAL (the environment makes no sense). */
FILCH_API int filch_inherited_count(void);

/**
 * filch_inherited_fd() - one of them
 * @name:   as in LISTEN_FDNAMES; NULL: any. Of several with that name the first that is left
 * @ret_fd: the caller's to close
 *
 * Return: 0; -ENOENT (none was passed, or none of that name is left); -EINVAL (NULL; the
 * environment makes no sense).
 */
FILCH_API FILCH_MUST_CHECK int filch_inherited_fd(const char *name, int *ret_fd);

/** filch_inherited_listener() - a TCP socket that listens, of that name. One of another sort is
 * skipped, and stays. Return: as filch_inherited_fd(); -ENOMEM. */
FILCH_API FILCH_MUST_CHECK int filch_inherited_listener(const char *name,
                                                        filch_listener **ret_listener);

/** filch_inherited_unix_listener() - the same for a Unix stream socket that listens. */
FILCH_API FILCH_MUST_CHECK int filch_inherited_unix_listener(const char *name,
                                                             filch_unix_listener **ret_listener);

/** filch_inherited_udp() - the same for a UDP socket. */
FILCH_API FILCH_MUST_CHECK int filch_inherited_udp(const char *name, filch_udp **ret_udp);

FILCH_END_DECLS

#endif
