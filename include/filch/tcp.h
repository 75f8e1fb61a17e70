/* TCP: listeners and connections.
 *
 * Addresses are text: "127.0.0.1:7000", "[::1]:7000", "[::]:0" (any free port), ":7000" (all
 * addresses, IPv6 and IPv4). Names are not looked up here. SIGPIPE is never raised. A buffer given
 * to a call is not touched any more when the call returns, also when it was cancelled or timed out:
 * buffers on the task's stack are safe.
 *
 * All calls work from tasks and from plain threads (a thread blocks in poll).
 */
#ifndef FILCH_TCP_H
#define FILCH_TCP_H

#include <filch/base.h>

FILCH_BEGIN_DECLS

typedef struct filch_listener filch_listener;
typedef struct filch_tcp filch_tcp;

/* Room for any address as text, with its port and a NUL. */
#define FILCH_ADDR_BYTES 64

typedef struct filch_listener_opts {
    int backlog;     /* 0: 1024 (the kernel's limit applies) */
    bool reuse_port; /* SO_REUSEPORT: several listeners share the port */
    bool delay;      /* leave Nagle's algorithm on for accepted connections (default: off) */
} filch_listener_opts;

/**
 * filch_listener_open() - bind and listen
 * @addr:         address as text; borrowed
 * @opts:         borrowed; NULL for defaults (SO_REUSEADDR is always set)
 * @ret_listener: gets the listener; ended by filch_listener_close()
 *
 * Thread-safety: any. Suspends: no.
 * Return: 0; -EINVAL (address text, NULL); -EADDRINUSE; -EADDRNOTAVAIL; -EACCES; -EAFNOSUPPORT;
 * -EMFILE; -ENFILE; -ENOBUFS; -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_listener_open(const char *addr,
                                                   const filch_listener_opts *opts,
                                                   filch_listener **ret_listener);

/**
 * filch_listener_accept() - take the next connection
 * @ret_conn: gets the connection; ended by filch_tcp_close()
 *
 * When descriptors or memory run out (EMFILE, ENFILE, ENOBUFS, ENOMEM) it pauses 5 ms, doubling to
 * 1 s, and tries again: connections wait in the kernel's queue meanwhile;
 * filch_stats.accept_backoffs counts the pauses. Connections that were reset before they were
 * accepted are skipped.
 *
 * Thread-safety: any number at once. Suspends: yes. Cancellation point: yes; no connection is lost.
 * Return: 0; -ETIMEDOUT; -ECANCELED (caller cancelled, or the listener was closed while waiting);
 * -EBADF (closed); -EINVAL (NULL); -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_listener_accept(filch_listener *listener, filch_tcp **ret_conn,
                                                     filch_time until);

/** filch_listener_addr() - the address it is bound to, as text. @ret_text: FILCH_ADDR_BYTES.
 * Return: 0; -EBADF; -EINVAL. */
FILCH_API int filch_listener_addr(filch_listener *listener, char *ret_text);

/**
 * filch_listener_close() - stop listening
 * @listener: consumed; NULL is allowed
 *
 * Waiting accepts return -ECANCELED; connections that nobody took are closed. May suspend until
 * they have left; never a cancellation point. Return: 0; -EBADF (already closed).
 */
FILCH_API int filch_listener_close(filch_listener *listener);

/**
 * filch_tcp_connect() - connect to an address
 * @addr:     address as text; borrowed
 * @ret_conn: gets the connection; ended by filch_tcp_close()
 *
 * Nagle's algorithm is off (see filch_tcp_set_nodelay()). Suspends: yes. Cancellation point: yes;
 * nothing is left open. Return: 0; -ECONNREFUSED, -EHOSTUNREACH, -ENETUNREACH and what else
 * connect(2) says; -ETIMEDOUT; -ECANCELED; -EINVAL; -EMFILE; -ENFILE; -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_tcp_connect(const char *addr, filch_tcp **ret_conn,
                                                 filch_time until);

/**
 * filch_tcp_read() - read what is there, waiting for at least one byte
 * @buf:   filled with up to @bytes
 * @bytes: at most 0x7ffff000 are read at a time; 0 returns 0 at once
 *
 * Thread-safety: one reader and one writer at a time make sense; more are allowed. Suspends: yes.
 * Cancellation point: yes; when -ECANCELED or -ETIMEDOUT is returned no byte was consumed.
 * Return: bytes read; 0 (the peer has ended its side; again at each further call); -ECONNRESET and
 * what else recv(2) says; -ETIMEDOUT; -ECANCELED; -EBADF (closed); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_tcp_read(filch_tcp *conn, void *buf, size_t bytes,
                                                  filch_time until);

/**
 * filch_tcp_read_exact() - read exactly @bytes
 * @ret_done: bytes read, set also on failure; may be NULL
 *
 * Return: 0; -EPIPE (the peer ended its side before that); else as filch_tcp_read().
 */
FILCH_API FILCH_MUST_CHECK int filch_tcp_read_exact(filch_tcp *conn, void *buf, size_t bytes,
                                                    size_t *ret_done, filch_time until);

/**
 * filch_tcp_write() - write some bytes, waiting for room for at least one
 *
 * Suspends: yes. Cancellation point: yes; when -ECANCELED or -ETIMEDOUT is returned nothing was
 * written. Return: bytes written; -EPIPE; -ECONNRESET; -ETIMEDOUT; -ECANCELED; -EBADF; -EINVAL.
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_tcp_write(filch_tcp *conn, const void *buf, size_t bytes,
                                                   filch_time until);

/**
 * filch_tcp_write_all() - write all of it
 * @ret_done: bytes written, set also on failure; may be NULL
 *
 * Return: 0; else as filch_tcp_write().
 */
FILCH_API FILCH_MUST_CHECK int filch_tcp_write_all(filch_tcp *conn, const void *buf, size_t bytes,
                                                   size_t *ret_done, filch_time until);

/** filch_tcp_shutdown_write() - end our side: the peer reads an end of stream; reading goes on.
 * Suspends: no. Return: 0; -ENOTCONN; -EBADF; -EINVAL. */
FILCH_API int filch_tcp_shutdown_write(filch_tcp *conn);

/** filch_tcp_set_nodelay() - Nagle's algorithm off (true, the default) or on. Return: 0; -EBADF;
 * -EINVAL. */
FILCH_API int filch_tcp_set_nodelay(filch_tcp *conn, bool nodelay);

/** filch_tcp_local_addr() - our address as text. @ret_text: FILCH_ADDR_BYTES. Return: 0; -EBADF;
 * -EINVAL. */
FILCH_API int filch_tcp_local_addr(filch_tcp *conn, char *ret_text);

/** filch_tcp_peer_addr() - the peer's address as text. Return: 0; -ENOTCONN; -EBADF; -EINVAL. */
FILCH_API int filch_tcp_peer_addr(filch_tcp *conn, char *ret_text);

/**
 * filch_tcp_close() - close the connection
 * @conn: consumed; NULL is allowed
 *
 * Calls that wait in it in other tasks end with -ECANCELED first. May suspend until they have left;
 * never a cancellation point. Return: 0; -EBADF (already closed).
 */
FILCH_API int filch_tcp_close(filch_tcp *conn);

FILCH_END_DECLS

#endif
