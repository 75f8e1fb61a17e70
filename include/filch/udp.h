/* UDP: datagrams.
 *
 *     filch_udp *udp;
 *     int r = filch_udp_open("127.0.0.1:5353", NULL, &udp);
 *     ...
 *     n = filch_udp_recv(udp, buf, sizeof buf, &from, NULL, until);
 *     if (n >= 0)
 *         n = filch_udp_send(udp, buf, (size_t)n, &from, until);
 *     ...
 *     filch_udp_close(udp);
 *
 * A datagram is moved whole or not at all. One of no bytes is a datagram, and not an end: there is
 * none. What does not fit into the buffer is lost, and its real size is given. Datagrams get lost
 * on the way, arrive twice and out of order: that is not hidden.
 *
 * A connected socket has one peer: nothing from others arrives, and what the network says about
 * earlier datagrams is the result of a later call: -ECONNREFUSED (nobody has the port),
 * -EHOSTUNREACH, -ENETUNREACH, each once; then nothing was sent or received, and it may be tried
 * again. Sockets that are not connected do not hear of that.
 *
 * All calls work from tasks and from plain threads (a thread blocks in poll). Any number of tasks
 * may send and receive at once; a datagram goes to one of those that wait. A closed handle is
 * refused with -EBADF.
 */
#ifndef FILCH_UDP_H
#define FILCH_UDP_H

#include <filch/addr.h>
#include <filch/base.h>
#include <filch/select.h>

FILCH_BEGIN_DECLS

typedef struct filch_udp filch_udp;

/* More bytes no datagram has. */
#define FILCH_UDP_BYTES_MAX 65535

/* Options of a socket. Each has a number as its value, see <filch/tcp.h>. */
enum filch_udp_option {
    FILCH_UDP_SEND_BUFFER = 1, /* bytes; the kernel doubles it, and gives the double */
    FILCH_UDP_RECV_BUFFER,     /* bytes; likewise. What arrives when it is full is lost */
    FILCH_UDP_REUSE_ADDR,      /* bool; several sockets get a multicast group's datagrams */
    FILCH_UDP_REUSE_PORT,      /* bool: several sockets share a port; as a setting only */
    FILCH_UDP_V6ONLY,          /* bool: takes no IPv4; as a setting only; default: off */
    FILCH_UDP_BROADCAST,       /* bool: sending to a network's broadcast address is allowed */
    FILCH_UDP_TTL,             /* 1 to 255: how many routers pass a datagram on */
    FILCH_UDP_MULTICAST_TTL,   /* the same for multicast; 0: not beyond this machine; default: 1 */
    FILCH_UDP_MULTICAST_LOOP,  /* bool: this machine gets what it sends to a group; default: on */
    FILCH_UDP_MTU_DISCOVER,    /* 0: the kernel splits what is too long; 1: where it must (default);
                                  2: never: -EMSGSIZE; 3: nor is the path's known limit heeded */
    FILCH_UDP_GRO, /* bool: datagrams of one size from one peer may be received in one piece; see
                      filch_datagram.segment */
    FILCH_UDP_TOS, /* the traffic class byte, of IPv4 and IPv6: 0 to 255 */
    FILCH_UDP_PRIORITY,      /* queueing priority: 0 to 6; more needs CAP_NET_ADMIN */
    FILCH_UDP_MARK,          /* firewall mark; needs CAP_NET_ADMIN */
    FILCH_UDP_INCOMING_CPU,  /* the CPU that got the last packet */
    FILCH_UDP_ERROR,         /* get only: the pending error, -errno or 0; it is cleared */
    FILCH_UDP_LOCAL_ADDR,    /* bool: what is received tells filch_datagram.local */
    FILCH_UDP_MULTICAST_ALL, /* bool: also what is for groups that only other sockets have joined;
                                default: on */
    FILCH_UDP_BUSY_POLL,     /* these are as of FILCH_TCP_BUSY_POLL and so on */
    FILCH_UDP_PACING_RATE,
    FILCH_UDP_MIN_TTL,
    FILCH_UDP_FREE_BIND,
    FILCH_UDP_TRANSPARENT,
    FILCH_UDP_PATH_MTU, /* of a connected socket; for datagrams, take off 28 bytes, or 48 of IPv6 */
    FILCH_UDP_COOKIE,
    FILCH_UDP_DROPPED,  /* get only: how many datagrams were lost for want of room since it was
                           made (up to 2^32) */
    FILCH_UDP_RECV_TOS, /* bool: what is received tells filch_datagram.tos */
    FILCH_UDP_DEVICE,   /* text, for filch_udp_set_text(): as FILCH_TCP_DEVICE */
};

/* Room for any option of type text, and a NUL. */
#define FILCH_UDP_TEXT_BYTES 16

typedef struct filch_udp_setting {
    enum filch_udp_option option;
    int64_t value;
} filch_udp_setting;

/* All zero, or a NULL pointer to it, gives the defaults. */
typedef struct filch_udp_opts {
    const char *device; /* borrowed; NULL: any. Take and send packets through this interface only */
    const filch_udp_setting *settings; /* borrowed; made in their order, before bind */
    size_t setting_count;
} filch_udp_opts;

/* One datagram of several, for filch_udp_send_many() and filch_udp_recv_many(). */
typedef struct filch_datagram {
    void *buf;       /* borrowed */
    size_t bytes;    /* to send; or the room in buf */
    filch_addr addr; /* where to (family 0: the peer of a connected socket); or where from */
    size_t size;     /* received: its real size; more than `bytes` if it was cut */
    /* To send: 0, or the buffer is several datagrams of so many bytes each, the last one the rest;
     * the kernel splits it (UDP_SEGMENT): 64 at most. Received, with FILCH_UDP_GRO: likewise the
     * size of each but the last one; 0: it is one datagram. */
    size_t segment;
    /* Received, with FILCH_UDP_LOCAL_ADDR: to which of our addresses it was sent, without a port;
     * family 0: who knows. To send: from which of them; family 0: as the kernel chooses. So who
     * answers with what was received answers from where he was asked. */
    filch_addr local;
    /* Received, with FILCH_UDP_RECV_TOS: its traffic class byte, with the marks of routers that are
     * congested (ECN) in the last two bits. To send: its own, or 0: as FILCH_UDP_TOS says. */
    uint8_t tos;
} filch_datagram;

/**
 * filch_udp_open() - a socket with an address
 * @addr:    address as text, see <filch/addr.h>; borrowed; port 0: any free one
 * @opts:    borrowed; NULL for defaults
 * @ret_udp: gets the socket; ended by filch_udp_close()
 *
 * Thread-safety: any. Suspends: no.
 * Return: 0; -EINVAL (address text, NULL, a setting's option or value); -EADDRINUSE;
 * -EADDRNOTAVAIL; -EACCES; -EAFNOSUPPORT; -ENODEV (no such device); -EPERM, -ENOPROTOOPT (a setting
 * or the device is refused); -EMFILE; -ENFILE; -ENOBUFS; -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_udp_open(const char *addr, const filch_udp_opts *opts,
                                              filch_udp **ret_udp);

/**
 * filch_udp_adopt() - take over a UDP socket
 * @fd: consumed on success only; becomes close-on-exec and blocking (which it shares with its
 * duplicates in other processes); nothing else is changed
 *
 * Thread-safety: any. Suspends: no.
 * Return: 0; -EBADF; -ENOTSOCK; -EPROTOTYPE (no UDP); -EINVAL (NULL); -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_udp_adopt(int fd, filch_udp **ret_udp);

/** filch_udp_fd() - the descriptor behind it: as filch_tcp_fd(). */
FILCH_API int filch_udp_fd(filch_udp *udp);

/** filch_udp_release() - give up the handle and get the descriptor. @udp: consumed on success only.
 * @ret_fd: the caller's to close; blocking, close-on-exec. Suspends: no. Return: 0; -EBUSY (a call
 * is under way in it); -EBADF; -EINVAL (NULL). */
FILCH_API FILCH_MUST_CHECK int filch_udp_release(filch_udp *udp, int *ret_fd);

/** filch_udp_connect() - have one peer, another one, or (NULL) none. Suspends: no. Return: 0;
 * -EINVAL (no family); -EAFNOSUPPORT (of another family than the socket); -ENETUNREACH, -EACCES and
 * what else connect(2) says; -EBADF. */
FILCH_API FILCH_MUST_CHECK int filch_udp_connect(filch_udp *udp, const filch_addr *peer);

/**
 * filch_udp_send() - send a datagram
 * @bytes: 0 is one, too
 * @to:    borrowed; NULL: the peer of a connected socket
 *
 * Suspends: yes, while the socket's buffer is full. Cancellation point: yes; when -ECANCELED or
 * -ETIMEDOUT is returned nothing was sent.
 * Return: @bytes; -EMSGSIZE (too long); -EDESTADDRREQ (no address); -ECONNREFUSED, -EHOSTUNREACH,
 * -ENETUNREACH (see above); -EACCES (a broadcast address, see FILCH_UDP_BROADCAST); -EAFNOSUPPORT;
 * -EINVAL (NULL, port 0); -ENOBUFS; -EPERM (a firewall); -ETIMEDOUT; -ECANCELED (also: closed
 * meanwhile); -EBADF.
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_udp_send(filch_udp *udp, const void *buf, size_t bytes,
                                                  const filch_addr *to, filch_time until);

/**
 * filch_udp_recv() - receive a datagram
 * @buf:      filled with its first @bytes; the rest is lost
 * @ret_from: who sent it; may be NULL
 * @ret_size: its real size; more than the result if it was cut; may be NULL
 *
 * Suspends: yes. Cancellation point: yes; when -ECANCELED or -ETIMEDOUT is returned nothing was
 * consumed. With FILCH_UDP_GRO use filch_udp_recv_many(), which tells where datagrams end.
 * Return: bytes put into @buf (0: a datagram of none, or no room); -ECONNREFUSED and the like (see
 * above); -EINVAL (NULL); -ETIMEDOUT; -ECANCELED (also: closed meanwhile); -EBADF; -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_udp_recv(filch_udp *udp, void *buf, size_t bytes,
                                                  filch_addr *ret_from, size_t *ret_size,
                                                  filch_time until);

/**
 * filch_udp_send_many() - send several datagrams by few system calls
 * @datagrams: borrowed; not changed
 *
 * Waits for room for the first one only. Cancellation point: yes, with none sent.
 * Return: how many were sent, from the first on; less than @count when the buffer is full or the
 * next one is refused (by itself it tells why); for the first one errors as of filch_udp_send();
 * -EINVAL (also a segment over 65535).
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_udp_send_many(filch_udp *udp,
                                                       const filch_datagram *datagrams,
                                                       size_t count, filch_time until);

/**
 * filch_udp_recv_many() - receive the datagrams that are there, waiting for one at least
 * @datagrams: @buf and @bytes of each are given; addr, size and segment of those received are set
 * @count:     32 at most are received at a time
 *
 * Several tasks that receive from one socket wake each other up, and wait for its lock: one does
 * better, and for more CPUs one socket each (FILCH_UDP_REUSE_PORT).
 * Cancellation point: yes, with none consumed. Return: how many; 0 for @count 0; errors as of
 * filch_udp_recv().
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_udp_recv_many(filch_udp *udp, filch_datagram *datagrams,
                                                       size_t count, filch_time until);

/**
 * filch_udp_join() - receive what is sent to a multicast group
 * @group:     its port does not count
 * @source:    from this sender only; NULL: from all
 * @interface: its index, see if_nametoindex(3); 0: the kernel chooses
 *
 * Suspends: no. Return: 0; -EINVAL (NULL, no group); -EADDRINUSE (joined already); -ENODEV (no such
 * interface, or none leads there); -ENOBUFS (too many, see sysctl net.ipv4.igmp_max_memberships);
 * -EBADF.
 */
FILCH_API FILCH_MUST_CHECK int filch_udp_join(filch_udp *udp, const filch_addr *group,
                                              const filch_addr *source, unsigned interface);

/** filch_udp_leave() - end that. The same arguments. Return: 0; -EINVAL (NULL, no group);
 * -EADDRNOTAVAIL (was not joined); -ENODEV (no such interface); -EBADF. */
FILCH_API int filch_udp_leave(filch_udp *udp, const filch_addr *group, const filch_addr *source,
                              unsigned interface);

/** filch_udp_multicast_interface() - through which interface what is sent to groups goes; 0: the
 * kernel chooses. Suspends: no. Return: 0; -ENODEV, -EADDRNOTAVAIL (no such interface); -EBADF;
 * -EINVAL (NULL). */
FILCH_API FILCH_MUST_CHECK int filch_udp_multicast_interface(filch_udp *udp, unsigned interface);

/** filch_udp_set() - set an option. Suspends: no. Return: as filch_tcp_set(). */
FILCH_API FILCH_MUST_CHECK int filch_udp_set(filch_udp *udp, enum filch_udp_option option,
                                             int64_t value);

/** filch_udp_get() - get an option. Suspends: no. Return: as filch_tcp_get(). */
FILCH_API FILCH_MUST_CHECK int filch_udp_get(filch_udp *udp, enum filch_udp_option option,
                                             int64_t *ret_value);

/** filch_udp_set_text() - set an option of type text. @text: borrowed. Suspends: no. Return: 0;
 * -ENODEV (no such device); -EPERM (another device without CAP_NET_RAW); -EINVAL (no such option,
 * one that is a number, NULL); -EBADF (closed). */
FILCH_API FILCH_MUST_CHECK int filch_udp_set_text(filch_udp *udp, enum filch_udp_option option,
                                                  const char *text);

/** filch_udp_get_text() - get one. @ret_text: FILCH_UDP_TEXT_BYTES. Suspends: no. Return: as
 * filch_tcp_get_text(). */
FILCH_API FILCH_MUST_CHECK int filch_udp_get_text(filch_udp *udp, enum filch_udp_option option,
                                                  char *ret_text);

/** filch_udp_local_addr() - our address. Suspends: no. Return: 0; -EBADF; -EINVAL. */
FILCH_API int filch_udp_local_addr(filch_udp *udp, filch_addr *ret_addr);

/** filch_udp_peer_addr() - that of the peer. Suspends: no. Return: 0; -ENOTCONN; -EBADF; -EINVAL.
 */
FILCH_API int filch_udp_peer_addr(filch_udp *udp, filch_addr *ret_addr);

/**
 * filch_udp_close() - close the socket
 * @udp: consumed; NULL is allowed
 *
 * Calls that wait in it in other tasks end with -ECANCELED first. May suspend until they have left;
 * never a cancellation point. Return: 0; -EBADF (already closed).
 */
FILCH_API int filch_udp_close(filch_udp *udp);

/** filch_case_udp_readable() - a socket with a datagram or an error to tell, as a case of a select:
 * as filch_case_readable(). */
FILCH_API filch_case filch_case_udp_readable(filch_udp *udp);

/** filch_case_udp_writable() - a socket with room for a datagram. */
FILCH_API filch_case filch_case_udp_writable(filch_udp *udp);

FILCH_END_DECLS

#endif
