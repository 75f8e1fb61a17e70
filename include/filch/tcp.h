/* TCP: listeners and connections.
 *
 * Addresses are text: "127.0.0.1:7000", "[::1]:7000", "[::]:0" (any free port), ":7000" (all
 * addresses, IPv6 and IPv4). Names are not looked up here. SIGPIPE is never raised. A buffer given
 * to a call is not touched any more when the call returns, also when it was cancelled or timed out:
 * buffers on the task's stack are safe.
 *
 * All calls work from tasks and from plain threads (a thread blocks in poll).
 *
 * A closed handle is refused with -EBADF, whatever has become of its descriptor's number: no call
 * ever reads from or writes to a socket that is not its own. The descriptors themselves are ours
 * while the handle lives: whoever closes one behind our back gets -EBADF from calls that begin
 * afterwards (or the errors and the bytes of what has that number by then), and calls that wait go
 * on waiting until their time or a cancel; close them only when there are none.
 */
#ifndef FILCH_TCP_H
#define FILCH_TCP_H

#include <sys/uio.h>

#include <filch/addr.h>
#include <filch/base.h>
#include <filch/io.h>
#include <filch/select.h>

FILCH_BEGIN_DECLS

typedef struct filch_listener filch_listener;
typedef struct filch_tcp filch_tcp;

/* Options of a connection or a listener. Each has a number as its value: of type bool (0 or 1), a
 * count, bytes, or a span of time in nanoseconds (rounded up to the kernel's unit, which is given);
 * those of type text are for filch_tcp_set_text() and the like. Set on a listener they hold for the
 * connections that it accepts from then on. Not every option makes sense for both; the kernel says
 * so. What is no number and no name (filters, keys) is set on a descriptor, see filch_tcp_fd().
 */
enum filch_tcp_option {
    FILCH_TCP_NODELAY =
        1,               /* bool: send small pieces at once (Nagle's algorithm off); default: on */
    FILCH_TCP_CORK,      /* bool: send full segments only, until turned off (or 200 ms) */
    FILCH_TCP_QUICKACK,  /* bool: acknowledge at once; the kernel may turn it off by itself */
    FILCH_TCP_KEEPALIVE, /* bool: probe a silent peer */
    FILCH_TCP_KEEPALIVE_IDLE,     /* time (1 s) of silence before the first probe */
    FILCH_TCP_KEEPALIVE_INTERVAL, /* time (1 s) between probes */
    FILCH_TCP_KEEPALIVE_COUNT,    /* unanswered probes until the connection ends: 1 to 127 */
    FILCH_TCP_USER_TIMEOUT, /* time (1 ms) that sent bytes may stay unacknowledged; 0: default */
    FILCH_TCP_LINGER, /* -1: close at once, the kernel goes on sending (default); 0: close with a
                         reset; else the time (1 s) that filch_tcp_close() may wait for the peer to
                         acknowledge everything; it suspends meanwhile */
    FILCH_TCP_SEND_BUFFER, /* bytes; the kernel doubles it, and gives the double. For large windows
                            */
    FILCH_TCP_RECV_BUFFER, /* set it at listen or connect. Turns automatic sizes off */
    FILCH_TCP_UNSENT_LOW,  /* bytes: room for writing is reported below so much unsent */
    FILCH_TCP_MAX_SEGMENT, /* bytes; what is given is that of the connection */
    FILCH_TCP_SYN_COUNT,   /* tries to connect before it ends with -ETIMEDOUT: 1 to 127 */
    FILCH_TCP_REUSE_ADDR,  /* bool; default: on for listeners */
    FILCH_TCP_REUSE_PORT,  /* bool: several listeners share a port; as a setting only */
    FILCH_TCP_V6ONLY, /* bool: an IPv6 listener takes no IPv4; as a setting only; default: off */
    FILCH_TCP_DEFER_ACCEPT, /* listener; time (1 s) to wait for a first byte before accepting */
    FILCH_TCP_FAST_OPEN, /* listener: most connections with bytes in their first packet; 0: off */
    FILCH_TCP_FAST_OPEN_CONNECT, /* bool, setting of a connect: it returns at once, and the first
                                    write goes into the first packet if the server is known */
    FILCH_TCP_TOS,               /* the traffic class byte, of IPv4 and IPv6: 0 to 255 */
    FILCH_TCP_PRIORITY,          /* queueing priority: 0 to 6; more needs CAP_NET_ADMIN */
    FILCH_TCP_MARK,              /* firewall mark; needs CAP_NET_ADMIN */
    FILCH_TCP_INCOMING_CPU, /* the CPU that got the last packet; setting it on listeners that share
                               a port distributes by CPU */
    FILCH_TCP_ERROR,        /* get only: the pending error, -errno or 0; it is cleared */
    FILCH_TCP_TTL,          /* 1 to 255: how many routers pass a packet on (IPv6: hop limit) */
    FILCH_TCP_MIN_TTL,      /* 0 to 255: packets that have less left of it are dropped; 0: off */
    FILCH_TCP_RECV_LOW,     /* bytes: who waits for something to read is told from so much on, or at
                               the end; a read takes what is there all the same; default: 1 */
    FILCH_TCP_BUSY_POLL,    /* time (1 us) to look into the device's queue before waiting; more than
                               it is needs CAP_NET_ADMIN */
    FILCH_TCP_WINDOW_CLAMP, /* bytes: most to offer the peer as its window */
    FILCH_TCP_PACING_RATE,  /* bytes per second: most to send; -1: no limit (default) */
    FILCH_TCP_FIN_TIMEOUT,  /* time (1 s) to wait for the peer's end after a close; 0: the system's;
                               at most 120 s */
    FILCH_TCP_THIN,         /* bool: send again in even steps, not doubling ones, while there is
                               little on the way: for small messages that must not be late */
    FILCH_TCP_URGENT_INLINE, /* bool: urgent bytes stay where they are among the others */
    FILCH_TCP_FREE_BIND,     /* bool, as a setting only: an address need not be there (yet) */
    FILCH_TCP_TRANSPARENT,   /* bool, as a setting only: an address may be another machine's; needs
                                CAP_NET_ADMIN */
    FILCH_TCP_BIND_NO_PORT,  /* bool, setting of a connect: the port for its local address is chosen
                                at the connect, so that peers share them: more connections */
    FILCH_TCP_PATH_MTU,      /* get only: bytes of the longest packet on the way to the peer */
    FILCH_TCP_COOKIE,        /* get only: a number that no other socket has had, as for ss(8) */
    FILCH_TCP_CONGESTION,    /* text: the algorithm that says how much may be on its way: "cubic";
                                see sysctl net.ipv4.tcp_available_congestion_control */
    FILCH_TCP_DEVICE,        /* text: the network interface for all packets; "": any */
};

/* Room for any option of type text, and a NUL. */
#define FILCH_TCP_TEXT_BYTES 16

/* An option with its value, for what must be set before bind, listen or connect. */
typedef struct filch_tcp_setting {
    enum filch_tcp_option option;
    int64_t value;
} filch_tcp_setting;

typedef struct filch_listener_opts {
    int backlog;        /* 0: 1024 (the kernel's limit applies) */
    bool reuse_port;    /* SO_REUSEPORT: several listeners share the port */
    bool delay;         /* leave Nagle's algorithm on for accepted connections (default: off) */
    const char *device; /* borrowed; NULL: any. Take packets of this interface only */
    const filch_tcp_setting *settings; /* borrowed; made in their order, before bind */
    size_t setting_count;
} filch_listener_opts;

/* How to connect. All zero, or a NULL pointer to it, gives the defaults. */
typedef struct filch_tcp_opts {
    const char *local_addr; /* borrowed; NULL: the kernel chooses. Of the same family as the peer's;
                               port 0: any */
    const char *device;     /* borrowed; NULL: the kernel chooses. Send through this interface */
    const filch_tcp_setting *settings; /* borrowed; made in their order, before connect */
    size_t setting_count;
} filch_tcp_opts;

/**
 * filch_listener_open() - bind and listen
 * @addr:         address as text; borrowed
 * @opts:         borrowed; NULL for defaults (SO_REUSEADDR is set unless a setting clears it)
 * @ret_listener: gets the listener; ended by filch_listener_close()
 *
 * Thread-safety: any. Suspends: no.
 * Return: 0; -EINVAL (address text, NULL, a setting's option or value); -EADDRINUSE;
 * -EADDRNOTAVAIL; -EACCES; -EAFNOSUPPORT; -ENODEV (no such device); -EPERM, -ENOPROTOOPT (a setting
 * or the device is refused); -EMFILE; -ENFILE; -ENOBUFS; -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_listener_open(const char *addr,
                                                   const filch_listener_opts *opts,
                                                   filch_listener **ret_listener);

/**
 * filch_listener_adopt() - take over a TCP socket that listens already
 * @fd: consumed on success only; becomes close-on-exec and blocking (which it shares with its
 * duplicates in other processes: io_uring waits in blocking sockets only); nothing else is changed
 *
 * Thread-safety: any. Suspends: no.
 * Return: 0; -EBADF; -ENOTSOCK; -EPROTOTYPE (no TCP); -EINVAL (it does not listen; NULL); -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_listener_adopt(int fd, filch_listener **ret_listener);

/**
 * filch_listener_accept() - take the next connection
 * @ret_conn: gets the connection; ended by filch_tcp_close()
 *
 * When descriptors or memory run out (EMFILE, ENFILE, ENOBUFS, ENOMEM; on epoll ENOSPC, too: the
 * user's max_user_watches, see epoll(7)) it pauses 5 ms, doubling to 1 s, and tries again:
 * connections wait in the kernel's queue meanwhile; filch_stats.accept_backoffs counts the pauses.
 * Connections that were reset before they were accepted are skipped.
 *
 * Thread-safety: any number at once. Suspends: yes. Cancellation point: yes; no connection is lost.
 * Return: 0; -ETIMEDOUT; -ECANCELED (caller cancelled, or the listener was closed while waiting);
 * -EBADF (closed); -EINVAL (NULL); -ENOMEM (for the handle: the connection is there for the next
 * call); -EBADF, -ENOTSOCK or -EINVAL when somebody has closed or shut down its descriptor.
 */
FILCH_API FILCH_MUST_CHECK int filch_listener_accept(filch_listener *listener, filch_tcp **ret_conn,
                                                     filch_time until);

/** filch_listener_set() - set an option. Suspends: no. Return: as filch_tcp_set(). */
FILCH_API FILCH_MUST_CHECK int filch_listener_set(filch_listener *listener,
                                                  enum filch_tcp_option option, int64_t value);

/** filch_listener_get() - get an option. Suspends: no. Return: as filch_tcp_get(). */
FILCH_API FILCH_MUST_CHECK int filch_listener_get(filch_listener *listener,
                                                  enum filch_tcp_option option, int64_t *ret_value);

/** filch_listener_set_text() - set an option of type text. Suspends: no. Return: as
 * filch_tcp_set_text(). */
FILCH_API FILCH_MUST_CHECK int
filch_listener_set_text(filch_listener *listener, enum filch_tcp_option option, const char *text);

/** filch_listener_get_text() - get one. Suspends: no. Return: as filch_tcp_get_text(). */
FILCH_API FILCH_MUST_CHECK int
filch_listener_get_text(filch_listener *listener, enum filch_tcp_option option, char *ret_text);

/**
 * filch_listener_queue() - how many connections wait in the kernel to be accepted
 * @ret_waiting: gets their number. Those that an accept of a task in flight has taken already, up
 *               to some dozens, are no longer among them
 * @ret_most:    gets how many may: what was asked for at open, or the kernel's limit if that is
 *               less; further ones are not answered. May be NULL
 *
 * Thread-safety: any. Suspends: no. Return: 0; -EBADF (closed); -EINVAL (NULL; somebody has shut
 * down its descriptor).
 */
FILCH_API FILCH_MUST_CHECK int filch_listener_queue(filch_listener *listener, unsigned *ret_waiting,
                                                    unsigned *ret_most);

/** filch_listener_fd() - the descriptor behind it: as filch_tcp_fd(). */
FILCH_API int filch_listener_fd(filch_listener *listener);

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
 * Nagle's algorithm is off (see FILCH_TCP_NODELAY). Suspends: yes. Cancellation point: yes;
 * nothing is left open. Return: 0; -ECONNREFUSED, -EHOSTUNREACH, -ENETUNREACH and what else
 * connect(2) says; -ETIMEDOUT; -ECANCELED; -EINVAL; -EMFILE; -ENFILE; -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_tcp_connect(const char *addr, filch_tcp **ret_conn,
                                                 filch_time until);

/**
 * filch_tcp_connect_opts() - connect from an address or a device of choice, with settings
 * @opts: borrowed; NULL for defaults
 *
 * Return: as filch_tcp_connect(); -EINVAL (local address, a setting's option or value);
 * -EADDRINUSE; -EADDRNOTAVAIL; -EACCES; -ENODEV (no such device); -EPERM, -ENOPROTOOPT (a setting
 * or the device is refused).
 */
FILCH_API FILCH_MUST_CHECK int filch_tcp_connect_opts(const char *addr, const filch_tcp_opts *opts,
                                                      filch_tcp **ret_conn, filch_time until);

/**
 * filch_tcp_adopt() - take over a connected TCP socket
 * @fd: consumed on success only; becomes close-on-exec and blocking (which it shares with its
 * duplicates in other processes: io_uring waits in blocking sockets only); nothing else is changed
 *
 * Thread-safety: any. Suspends: no.
 * Return: 0; -EBADF; -ENOTSOCK; -EPROTOTYPE (no TCP); -EINVAL (it listens; NULL); -ENOTCONN;
 * -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_tcp_adopt(int fd, filch_tcp **ret_conn);

/** filch_tcp_fd() - the descriptor behind a connection, for what there is no call for, as an option
 * that is no number. Do not close it, nor make it non-blocking; it is somebody else's once the
 * connection is closed. Thread-safety: any. Suspends: no. Return: it; -EBADF (closed); -EINVAL
 * (NULL). */
FILCH_API int filch_tcp_fd(filch_tcp *conn);

/**
 * filch_tcp_release() - give up the handle and get the descriptor
 * @conn:   consumed on success only
 * @ret_fd: the caller's to close; blocking, close-on-exec, and without a receive time limit
 *
 * Thread-safety: any. Suspends: no.
 * Return: 0; -EBUSY (a call is under way in it: end it first); -EBADF (closed, or being closed);
 * -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_tcp_release(filch_tcp *conn, int *ret_fd);

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
 * filch_tcp_readv() - the same into several buffers, one after the other
 * @iov:   borrowed; not changed; empty buffers are skipped
 * @count: any number; at most IOV_MAX (1,024) that are not leading empty ones are used; none, or
 *         only empty ones, returns 0 at once
 *
 * Return: as filch_tcp_read(); -EINVAL (also for a buffer that is NULL and not empty).
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_tcp_readv(filch_tcp *conn, const struct iovec *iov,
                                                   size_t count, filch_time until);

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
 * filch_tcp_write_zero_copy() - write some bytes out of @buf, without a copy where that pays
 *
 * For large buffers that go to a network device: it returns when the kernel has let go of @buf,
 * which is when the peer has acknowledged what was sent. Below 32 KiB, in plain threads, and once
 * the kernel has copied all the same four times in a row (as the loopback makes it), it is
 * filch_tcp_write().
 *
 * Suspends: yes. Cancellation point: yes; what was sent before is returned. A time limit or a
 * cancel cannot take back what is on its way, nor can filch_tcp_close(): the call returns when that
 * was acknowledged, or given up (FILCH_TCP_USER_TIMEOUT). Return: as filch_tcp_write().
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_tcp_write_zero_copy(filch_tcp *conn, const void *buf,
                                                             size_t bytes, filch_time until);

/**
 * filch_tcp_write_all() - write all of it
 * @ret_done: bytes written, set also on failure; may be NULL
 *
 * Return: 0; else as filch_tcp_write().
 */
FILCH_API FILCH_MUST_CHECK int filch_tcp_write_all(filch_tcp *conn, const void *buf, size_t bytes,
                                                   size_t *ret_done, filch_time until);

/**
 * filch_tcp_writev() - write some bytes of several buffers, one after the other
 * @iov, @count: as for filch_tcp_readv()
 *
 * Return: as filch_tcp_write().
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_tcp_writev(filch_tcp *conn, const struct iovec *iov,
                                                    size_t count, filch_time until);

/**
 * filch_tcp_writev_all() - write all of several buffers
 * @iov:      borrowed; not changed, whatever was written
 * @count:    any number
 * @ret_done: bytes written, set also on failure; may be NULL
 *
 * Return: 0; else as filch_tcp_write(); -EINVAL (a buffer that is NULL and not empty: nothing was
 * written).
 */
FILCH_API FILCH_MUST_CHECK int filch_tcp_writev_all(filch_tcp *conn, const struct iovec *iov,
                                                    size_t count, size_t *ret_done,
                                                    filch_time until);

/** filch_tcp_shutdown_write() - end our side: the peer reads an end of stream; reading goes on.
 * Suspends: no. Return: 0; -ENOTCONN; -EBADF; -EINVAL. */
FILCH_API int filch_tcp_shutdown_write(filch_tcp *conn);

/**
 * filch_tcp_set() - set an option
 *
 * Thread-safety: any. Suspends: no.
 * Return: 0; -EINVAL (no such option, one that cannot be set, or not now; value out of range;
 * NULL); -EPERM (needs a capability); -ENOPROTOOPT (unknown to this kernel); -EBADF (closed).
 */
FILCH_API FILCH_MUST_CHECK int filch_tcp_set(filch_tcp *conn, enum filch_tcp_option option,
                                             int64_t value);

/** filch_tcp_get() - get an option, in the units in which it is set. Suspends: no. Return: 0;
 * -EINVAL (no such option, NULL); -ENOPROTOOPT; -ENOTCONN (FILCH_TCP_PATH_MTU without a peer);
 * -EBADF (closed). */
FILCH_API FILCH_MUST_CHECK int filch_tcp_get(filch_tcp *conn, enum filch_tcp_option option,
                                             int64_t *ret_value);

/**
 * filch_tcp_set_text() - set an option of type text
 * @text: borrowed
 *
 * Thread-safety: any. Suspends: no.
 * Return: 0; -ENOENT (no such algorithm); -ENODEV (no such device); -EPERM (an algorithm that is
 * not for all; another device without CAP_NET_RAW); -EINVAL (no such option, one that is a number,
 * NULL); -EBADF (closed).
 */
FILCH_API FILCH_MUST_CHECK int filch_tcp_set_text(filch_tcp *conn, enum filch_tcp_option option,
                                                  const char *text);

/** filch_tcp_get_text() - get one. @ret_text: FILCH_TCP_TEXT_BYTES. Suspends: no. Return: 0;
 * -ENODEV (the device is gone); -EINVAL (as for filch_tcp_set_text()); -EBADF (closed). */
FILCH_API FILCH_MUST_CHECK int filch_tcp_get_text(filch_tcp *conn, enum filch_tcp_option option,
                                                  char *ret_text);

/* Where a connection is in its life. The values are the kernel's. */
enum filch_tcp_state {
    FILCH_TCP_STATE_ESTABLISHED = 1,
    FILCH_TCP_STATE_SYN_SENT,
    FILCH_TCP_STATE_SYN_RECV,
    FILCH_TCP_STATE_FIN_WAIT1,
    FILCH_TCP_STATE_FIN_WAIT2,
    FILCH_TCP_STATE_TIME_WAIT,
    FILCH_TCP_STATE_CLOSE,
    FILCH_TCP_STATE_CLOSE_WAIT,
    FILCH_TCP_STATE_LAST_ACK,
    FILCH_TCP_STATE_LISTEN,
    FILCH_TCP_STATE_CLOSING,
};

/* What the kernel knows of a connection. A number that this kernel does not tell is 0. Segments
 * are packets with bytes of the stream. */
typedef struct filch_tcp_info {
    enum filch_tcp_state state;
    unsigned retries;              /* in a row, of what is unacknowledged: 0 while all is well */
    filch_time rtt_ns, rtt_var_ns; /* how long an answer takes: smoothed, and how much it varies */
    filch_time rtt_min_ns;         /* the least of the last time (minutes) */
    filch_time retry_ns;           /* after so long without an answer it is sent again */
    filch_time since_send_ns;      /* since bytes were sent, */
    filch_time since_recv_ns;      /* bytes came, */
    filch_time since_ack_ns;       /* or any answer */
    uint64_t sent_bytes;           /* with those that were sent again, which are */
    uint64_t resent_bytes;
    uint64_t acked_bytes;    /* the end counts as a byte, and so does the begin of who connected */
    uint64_t received_bytes; /* in order, read or not */
    uint64_t unsent_bytes;   /* written, and not sent for the first time yet */
    uint64_t sent_segments, resent_segments, received_segments;
    unsigned flight_segments;    /* sent and not acknowledged, of which are */
    unsigned lost_segments;      /* taken for lost */
    unsigned window_segments;    /* congestion window: at most so many in flight */
    unsigned threshold_segments; /* of slow start; 0x7fffffff: none yet */
    unsigned reordered;          /* times that something came out of order */
    uint32_t send_segment_bytes, recv_segment_bytes; /* the largest */
    uint32_t path_mtu_bytes;
    uint32_t peer_window_bytes;   /* room that the peer offers */
    uint64_t pacing_rate;         /* bytes per second; UINT64_MAX: as fast as it goes */
    uint64_t delivery_rate;       /* bytes per second that arrived, lately */
    filch_time busy_ns;           /* in all, with something to send, of which are */
    filch_time peer_limited_ns;   /* held up by the peer's window */
    filch_time buffer_limited_ns; /* held up by our send buffer */
} filch_tcp_info;

/**
 * filch_tcp_get_info() - how a connection is doing
 * @ret_info: filled on success only
 *
 * Thread-safety: any. Suspends: no. Return: 0; -EBADF (closed); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_tcp_get_info(filch_tcp *conn, filch_tcp_info *ret_info);

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

/** filch_tcp_reader() - a reader of a connection, which is borrowed. NULL: a reader whose reads
 * give -EINVAL. */
FILCH_API filch_reader filch_tcp_reader(filch_tcp *conn);

/** filch_tcp_writer() - a writer of a connection, which is borrowed; finish is
 * filch_tcp_shutdown_write(). NULL: a writer whose calls give -EINVAL. */
FILCH_API filch_writer filch_tcp_writer(filch_tcp *conn);

/** filch_tcp_io() - both. */
FILCH_API filch_io filch_tcp_io(filch_tcp *conn);

/**
 * filch_case_readable() - a connection with something to read, as a case of a select
 *
 * Also when the peer has ended its side, or the connection is broken: filch_tcp_read() tells. The
 * case takes nothing; another reader may be faster. Of a plain thread it is looked at only: a
 * select that would wait in it ends with `result` -EPERM.
 *
 * `result`: 0; -ECANCELED (it was closed meanwhile); -EBADF (closed); -ENOMEM; -EPERM.
 */
FILCH_API filch_case filch_case_readable(filch_tcp *conn);

/** filch_case_writable() - a connection with room for something to write; otherwise the same. */
FILCH_API filch_case filch_case_writable(filch_tcp *conn);

/**
 * filch_case_acceptable() - a listener with a connection, or with something to say
 *
 * The winner should call filch_listener_accept(): it is told instead of another who waits there. Of
 * a plain thread it is looked at only. `result`: 0; -ECANCELED (closed meanwhile); -EBADF; -EPERM.
 */
FILCH_API filch_case filch_case_acceptable(filch_listener *listener);

FILCH_END_DECLS

#endif
