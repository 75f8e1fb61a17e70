/* Unix sockets: streams, listeners and datagrams between processes of one machine; descriptors and
 * credentials through them.
 *
 * Addresses are text: a path, or "@name" in the abstract namespace, which has no files and no
 * permissions (a path that begins with '@' is written "./@x"). Paths are 107 bytes long at most.
 *
 * All calls work from tasks and from plain threads (a thread blocks in poll). Time, cancel, closed
 * handles and buffers are as in <filch/tcp.h>. Descriptors in flight belong to the kernel: what is
 * not received is closed with the last byte or with the socket; nothing leaks into this process by
 * a cancel or for lack of room.
 */
#ifndef FILCH_UNIX_H
#define FILCH_UNIX_H

#include <sys/uio.h>

#include <filch/base.h>
#include <filch/io.h>
#include <filch/select.h>

FILCH_BEGIN_DECLS

typedef struct filch_unix filch_unix;
typedef struct filch_unix_listener filch_unix_listener;
typedef struct filch_unix_dgram filch_unix_dgram;

/* Room for any address as text, and a NUL. */
#define FILCH_UNIX_ADDR_BYTES 110

/* More descriptors the kernel passes with no message. */
#define FILCH_UNIX_FDS_MAX 253

/* How to bind. All zero, or a NULL pointer to it, gives the defaults. */
typedef struct filch_unix_opts {
    int backlog;   /* of a listener; 0: 1024 (the kernel's limit applies) */
    unsigned mode; /* permissions of the path; who may write may connect; 0: as the umask says */
    bool replace;  /* remove a socket that is in the way if nobody listens there any more */
    bool keep;     /* do not remove the path at close */
} filch_unix_opts;

/* Descriptors to receive. */
typedef struct filch_unix_fds {
    int *fds;     /* borrowed; filled */
    size_t room;  /* of fds */
    size_t count; /* set: how many there are now; the caller's to close; close-on-exec */
    bool lost; /* set: there were more, for which there was no room or no descriptor left: closed */
} filch_unix_fds;

/* Who is at the other end: at the time of its connect, listen or pair. */
typedef struct filch_unix_cred {
    int32_t pid; /* 0: of another namespace */
    uint32_t uid, gid;
} filch_unix_cred;

/* Options of streams and datagram sockets. Each has a number as its value, see <filch/tcp.h>. */
enum filch_unix_option {
    FILCH_UNIX_SEND_BUFFER = 1, /* bytes under way; the kernel doubles it, and gives the double. On
                                   the other side there is no buffer */
    FILCH_UNIX_ERROR,           /* get only: the pending error, -errno or 0; it is cleared */
    FILCH_UNIX_COOKIE,          /* get only: a number that no other socket has had */
    FILCH_UNIX_CREDENTIALS,     /* bool, of a datagram socket: what is sent to it from now on tells
                                   who sent it, see filch_unix_dgram_recv_cred(). It gets an address
                                   of the abstract namespace if it sends without one */
};

/* ---- listeners ---- */

/**
 * filch_unix_listener_open() - bind and listen
 * @addr:         borrowed
 * @opts:         borrowed; NULL for defaults
 * @ret_listener: gets the listener; ended by filch_unix_listener_close()
 *
 * Thread-safety: any. Suspends: no.
 * Return: 0; -EINVAL (NULL, empty or too long); -EADDRINUSE; -ENOENT, -ENOTDIR, -EACCES, -EROFS and
 * what else the path gives; -EMFILE; -ENFILE; -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_unix_listener_open(const char *addr,
                                                        const filch_unix_opts *opts,
                                                        filch_unix_listener **ret_listener);

/** filch_unix_listener_adopt() - take over a Unix stream socket that listens. @fd: consumed on
 * success only; becomes close-on-exec and blocking. Its path stays at close. Suspends: no. Return:
 * 0; -EBADF; -ENOTSOCK; -EPROTOTYPE (no Unix stream); -EINVAL (it does not listen; NULL); -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_unix_listener_adopt(int fd,
                                                         filch_unix_listener **ret_listener);

/** filch_unix_listener_accept() - take the next connection: as filch_listener_accept(). */
FILCH_API FILCH_MUST_CHECK int filch_unix_listener_accept(filch_unix_listener *listener,
                                                          filch_unix **ret_conn, filch_time until);

/** filch_unix_listener_fd() - the descriptor behind it: as filch_tcp_fd(). */
FILCH_API int filch_unix_listener_fd(filch_unix_listener *listener);

/** filch_unix_listener_addr() - what it is bound to. @ret_text: FILCH_UNIX_ADDR_BYTES. Return: 0;
 * -EBADF; -EINVAL. */
FILCH_API int filch_unix_listener_addr(filch_unix_listener *listener, char *ret_text);

/** filch_unix_listener_close() - stop listening: as filch_listener_close(). Removes the path if it
 * is still the one that was made. */
FILCH_API int filch_unix_listener_close(filch_unix_listener *listener);

/** filch_case_unix_acceptable() - as filch_case_acceptable(). */
FILCH_API filch_case filch_case_unix_acceptable(filch_unix_listener *listener);

/* ---- streams ---- */

/**
 * filch_unix_connect() - connect to a listener
 * @addr:     borrowed
 * @ret_conn: gets the connection; ended by filch_unix_close()
 *
 * Suspends: while the listener's queue is full. Cancellation point: yes; nothing is left open.
 * Return: 0; -ENOENT, -EACCES and what else the path gives; -ECONNREFUSED (nobody listens);
 * -EPROTOTYPE (a path of datagrams; the abstract namespace has one for each sort); -ETIMEDOUT;
 * -ECANCELED; -EINVAL; -EMFILE; -ENFILE; -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_unix_connect(const char *addr, filch_unix **ret_conn,
                                                  filch_time until);

/** filch_unix_pair() - two ends that are connected to each other. Suspends: no. Return: 0; -EINVAL
 * (NULL); -EMFILE; -ENFILE; -ENOMEM. */
FILCH_API FILCH_MUST_CHECK int filch_unix_pair(filch_unix **ret_a, filch_unix **ret_b);

/** filch_unix_adopt() - take over a connected Unix stream socket. @fd: consumed on success only;
 * becomes close-on-exec and blocking. Suspends: no. Return: 0; -EBADF; -ENOTSOCK; -EPROTOTYPE (no
 * Unix stream); -EINVAL (it listens; NULL); -ENOTCONN; -ENOMEM. */
FILCH_API FILCH_MUST_CHECK int filch_unix_adopt(int fd, filch_unix **ret_conn);

/** filch_unix_fd() - the descriptor behind it: as filch_tcp_fd(). */
FILCH_API int filch_unix_fd(filch_unix *conn);

/** filch_unix_release() - give up the handle and get the descriptor: as filch_tcp_release(). */
FILCH_API FILCH_MUST_CHECK int filch_unix_release(filch_unix *conn, int *ret_fd);

/** filch_unix_read() - as filch_tcp_read(). Descriptors that come with the bytes are closed. */
FILCH_API FILCH_MUST_CHECK ssize_t filch_unix_read(filch_unix *conn, void *buf, size_t bytes,
                                                   filch_time until);

/** filch_unix_readv() - as filch_tcp_readv(). */
FILCH_API FILCH_MUST_CHECK ssize_t filch_unix_readv(filch_unix *conn, const struct iovec *iov,
                                                    size_t count, filch_time until);

/** filch_unix_read_exact() - as filch_tcp_read_exact(). */
FILCH_API FILCH_MUST_CHECK int filch_unix_read_exact(filch_unix *conn, void *buf, size_t bytes,
                                                     size_t *ret_done, filch_time until);

/** filch_unix_write() - as filch_tcp_write(). */
FILCH_API FILCH_MUST_CHECK ssize_t filch_unix_write(filch_unix *conn, const void *buf, size_t bytes,
                                                    filch_time until);

/** filch_unix_write_all() - as filch_tcp_write_all(). */
FILCH_API FILCH_MUST_CHECK int filch_unix_write_all(filch_unix *conn, const void *buf, size_t bytes,
                                                    size_t *ret_done, filch_time until);

/** filch_unix_writev() - as filch_tcp_writev(). */
FILCH_API FILCH_MUST_CHECK ssize_t filch_unix_writev(filch_unix *conn, const struct iovec *iov,
                                                     size_t count, filch_time until);

/** filch_unix_writev_all() - as filch_tcp_writev_all(). */
FILCH_API FILCH_MUST_CHECK int filch_unix_writev_all(filch_unix *conn, const struct iovec *iov,
                                                     size_t count, size_t *ret_done,
                                                     filch_time until);

/**
 * filch_unix_send_fds() - write bytes, and pass descriptors with the first of them
 * @bytes: one at least
 * @fds:   borrowed: the receiver gets duplicates
 * @count: 0 to FILCH_UNIX_FDS_MAX
 *
 * Suspends: yes. Cancellation point: yes; then neither bytes nor descriptors were sent.
 * Return: bytes written, and all descriptors sent; -EINVAL (no bytes, too many descriptors, NULL);
 * -EBADF (one of them is none; closed); -ETOOMANYREFS (too many are under way); else as
 * filch_tcp_write().
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_unix_send_fds(filch_unix *conn, const void *buf,
                                                       size_t bytes, const int *fds, size_t count,
                                                       filch_time until);

/**
 * filch_unix_recv_fds() - read bytes, and the descriptors that came with them
 * @bytes: one at least
 * @fds:   its count and lost are set if bytes were read, or the end was
 *
 * The bytes of two calls of filch_unix_send_fds() are not read by one. Suspends: yes. Cancellation
 * point: yes; then nothing was consumed. Return: as filch_tcp_read(); -EINVAL (no bytes, NULL).
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_unix_recv_fds(filch_unix *conn, void *buf, size_t bytes,
                                                       filch_unix_fds *fds, filch_time until);

/** filch_unix_shutdown_write() - as filch_tcp_shutdown_write(). */
FILCH_API int filch_unix_shutdown_write(filch_unix *conn);

/** filch_unix_peer_cred() - who is at the other end. Suspends: no. Return: 0; -EBADF; -EINVAL. */
FILCH_API FILCH_MUST_CHECK int filch_unix_peer_cred(filch_unix *conn, filch_unix_cred *ret_cred);

/** filch_unix_peer_addr() - what the other end is bound to; "" if it is not. @ret_text:
 * FILCH_UNIX_ADDR_BYTES. Return: 0; -EBADF; -EINVAL. */
FILCH_API int filch_unix_peer_addr(filch_unix *conn, char *ret_text);

/** filch_unix_set() - set an option. Suspends: no. Return: 0; -EINVAL (no such option, one that
 * cannot be set; value out of range; NULL); -EBADF (closed). */
FILCH_API FILCH_MUST_CHECK int filch_unix_set(filch_unix *conn, enum filch_unix_option option,
                                              int64_t value);

/** filch_unix_get() - get an option. Suspends: no. Return: 0; -EINVAL (no such option, NULL);
 * -EBADF (closed). */
FILCH_API FILCH_MUST_CHECK int filch_unix_get(filch_unix *conn, enum filch_unix_option option,
                                              int64_t *ret_value);

/** filch_unix_close() - close the connection: as filch_tcp_close(). */
FILCH_API int filch_unix_close(filch_unix *conn);

/** filch_unix_reader() - a reader of a connection, which is borrowed; of NULL its reads give
 * -EINVAL. */
FILCH_API filch_reader filch_unix_reader(filch_unix *conn);

/** filch_unix_writer() - a writer; finish is filch_unix_shutdown_write(). */
FILCH_API filch_writer filch_unix_writer(filch_unix *conn);

/** filch_unix_io() - both. */
FILCH_API filch_io filch_unix_io(filch_unix *conn);

/** filch_case_unix_readable() - as filch_case_readable(). */
FILCH_API filch_case filch_case_unix_readable(filch_unix *conn);

/** filch_case_unix_writable() - as filch_case_writable(). */
FILCH_API filch_case filch_case_unix_writable(filch_unix *conn);

/* ---- datagrams: none is lost, and they stay in order; who sends to a full receiver waits ---- */

/**
 * filch_unix_dgram_open() - a socket for datagrams
 * @addr:     borrowed; NULL: it has no address, so nobody can answer it
 * @opts:     borrowed; NULL for defaults
 * @ret_sock: ended by filch_unix_dgram_close(), which removes the path
 *
 * Thread-safety: any. Suspends: no. Return: as filch_unix_listener_open().
 */
FILCH_API FILCH_MUST_CHECK int filch_unix_dgram_open(const char *addr, const filch_unix_opts *opts,
                                                     filch_unix_dgram **ret_sock);

/** filch_unix_dgram_pair() - two that are connected to each other. Return: as filch_unix_pair(). */
FILCH_API FILCH_MUST_CHECK int filch_unix_dgram_pair(filch_unix_dgram **ret_a,
                                                     filch_unix_dgram **ret_b);

/** filch_unix_dgram_adopt() - take over a Unix datagram socket: as filch_unix_adopt(). */
FILCH_API FILCH_MUST_CHECK int filch_unix_dgram_adopt(int fd, filch_unix_dgram **ret_sock);

/** filch_unix_dgram_fd() - the descriptor behind it: as filch_tcp_fd(). */
FILCH_API int filch_unix_dgram_fd(filch_unix_dgram *sock);

/** filch_unix_dgram_release() - as filch_unix_release(). */
FILCH_API FILCH_MUST_CHECK int filch_unix_dgram_release(filch_unix_dgram *sock, int *ret_fd);

/** filch_unix_dgram_connect() - have one peer. Suspends: no. Return: 0; -ENOENT, -EACCES,
 * -ECONNREFUSED (nobody is there), -EPROTOTYPE (a path of streams), -EPERM (it has another peer);
 * -EINVAL; -EBADF. */
FILCH_API FILCH_MUST_CHECK int filch_unix_dgram_connect(filch_unix_dgram *sock, const char *addr);

/**
 * filch_unix_dgram_send() - send a datagram
 * @bytes: 0 is one, too
 * @to:    borrowed; NULL: the peer
 * @fds:   borrowed: descriptors to pass with it, of which the receiver gets duplicates
 * @count: 0 to FILCH_UNIX_FDS_MAX
 *
 * Suspends: while the receiver's queue is full; one without that peer looks again at least each
 * 50 ms. Cancellation point: yes; then nothing was sent.
 * Return: @bytes; -EMSGSIZE; -ENOTCONN (no address, or the peer has gone, which was told once);
 * -ENOENT, -ECONNREFUSED (nobody is there); -ECONNRESET (the peer has turned to another one; what
 * it had not received is lost), -EPERM (it receives from its own peer only); -EPIPE; -EACCES;
 * -EINVAL (NULL, too many descriptors); -EBADF (closed; one of them is none); -ETOOMANYREFS;
 * -ETIMEDOUT; -ECANCELED (also: closed meanwhile).
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_unix_dgram_send(filch_unix_dgram *sock, const void *buf,
                                                         size_t bytes, const char *to,
                                                         const int *fds, size_t count,
                                                         filch_time until);

/**
 * filch_unix_dgram_recv() - receive a datagram
 * @buf:      filled with its first @bytes; the rest is lost
 * @fds:      the descriptors that came with it; NULL: they are closed
 * @ret_from: FILCH_UNIX_ADDR_BYTES: who sent it, "" if that has no address; may be NULL
 * @ret_size: its real size; more than the result if it was cut; may be NULL
 *
 * Suspends: yes. Cancellation point: yes; then nothing was consumed.
 * Return: bytes put into @buf (0: a datagram of none, or no room); -ECONNRESET (the peer has turned
 * to another one; what it had not received is lost; a peer that has gone is not told of); -EINVAL
 * (NULL); -ETIMEDOUT; -ECANCELED (also: closed meanwhile); -EBADF; -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_unix_dgram_recv(filch_unix_dgram *sock, void *buf,
                                                         size_t bytes, filch_unix_fds *fds,
                                                         char *ret_from, size_t *ret_size,
                                                         filch_time until);

/** filch_unix_dgram_set() - set an option. Suspends: no. Return: as filch_unix_set(). */
FILCH_API FILCH_MUST_CHECK int filch_unix_dgram_set(filch_unix_dgram *sock,
                                                    enum filch_unix_option option, int64_t value);

/** filch_unix_dgram_get() - get an option. Suspends: no. Return: as filch_unix_get(). */
FILCH_API FILCH_MUST_CHECK int
filch_unix_dgram_get(filch_unix_dgram *sock, enum filch_unix_option option, int64_t *ret_value);

/**
 * filch_unix_dgram_recv_cred() - receive a datagram, and who sent it
 * @ret_cred: who, as the kernel knows; with FILCH_UNIX_CREDENTIALS, which whoever receives sets
 *            before the datagram is sent. Else, or for one that was sent before, its pid is 0 and
 *            its uid that of nobody
 *
 * Otherwise, and what it returns: as filch_unix_dgram_recv(); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_unix_dgram_recv_cred(filch_unix_dgram *sock, void *buf,
                                                              size_t bytes, filch_unix_fds *fds,
                                                              filch_unix_cred *ret_cred,
                                                              char *ret_from, size_t *ret_size,
                                                              filch_time until);

/** filch_unix_dgram_addr() - what it is bound to, "" if it is not. @ret_text:
 * FILCH_UNIX_ADDR_BYTES. Return: 0; -EBADF; -EINVAL. */
FILCH_API int filch_unix_dgram_addr(filch_unix_dgram *sock, char *ret_text);

/** filch_unix_dgram_close() - close the socket; removes the path if it is still the one that was
 * made. Otherwise as filch_unix_close(). */
FILCH_API int filch_unix_dgram_close(filch_unix_dgram *sock);

/** filch_case_unix_dgram_readable() - as filch_case_udp_readable(). */
FILCH_API filch_case filch_case_unix_dgram_readable(filch_unix_dgram *sock);

FILCH_END_DECLS

#endif
