/* Datagrams: one by transfer.c's mechanism, several by the kernel's call for several.
 *
 * sendmmsg and recvmmsg have no ring operation. They are made directly, without waiting, and a poll
 * op waits when there is nothing to be done: a receiver who keeps up pays two system calls for
 * whatever has arrived meanwhile.
 *
 * A close shuts the socket down, which wakes those in poll; the kernel goes on saying that there is
 * nothing, so they look whether it was closed.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <string.h>

#include "io/in_flight.h"
#include "io/net/socket.h"
#include "io/net/transfer.h"
#include "io/net/udp.h"
#include "io/lane.h"
#include "runtime/task/task.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

/* How many are given to the kernel at a time: what describes them lies on the stack, 260 B each. */
#define BATCH 32

ssize_t filch_udp_send(filch_udp *udp, const void *buf, size_t bytes, const filch_addr *to,
                       filch_time until)
{
    struct iovec iov = {(void *)buf, bytes};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    struct filch__addr addr;

    if (!buf && bytes)
        return -EINVAL;
    if (to) {
        if (filch__addr_of_value(to, &addr) < 0)
            return -EINVAL;
        message.msg_name = &addr;
        message.msg_namelen = addr.bytes;
    }
    return filch__transfer_message(udp, true, &message, 0, true, until);
}

ssize_t filch_udp_recv(filch_udp *udp, void *buf, size_t bytes, filch_addr *ret_from,
                       size_t *ret_size, filch_time until)
{
    struct iovec iov = {buf, bytes};
    struct filch__addr from = {.bytes = 0};
    struct msghdr message = {
        .msg_name = &from, .msg_namelen = sizeof from.v6, .msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    if (!buf && bytes)
        return -EINVAL;
    n = filch__transfer_message(udp, false, &message, MSG_TRUNC, true, until);
    if (n < 0)
        return n;
    if (ret_from)
        filch__addr_to_value(&from, ret_from);
    if (ret_size)
        *ret_size = (size_t)n;
    return (size_t)n < bytes ? n : (ssize_t)bytes;
}

/* ---- several ---- */

/* Segments, our address and the traffic class: a socket of both families tells these twice. */
union control {
    struct cmsghdr header;
    char room[3 * CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct in_pktinfo)) +
              CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

/* What the kernel is given, for each of a batch. */
struct batch {
    struct mmsghdr messages[BATCH];
    struct iovec iov[BATCH];
    struct filch__addr addr[BATCH];
    union control control[BATCH];
};

static struct msghdr *begin_message(struct batch *batch, unsigned i, const filch_datagram *datagram)
{
    struct msghdr *message = &batch->messages[i].msg_hdr;

    batch->iov[i] = (struct iovec){datagram->buf, datagram->bytes};
    *message = (struct msghdr){.msg_iov = &batch->iov[i], .msg_iovlen = 1};
    return message;
}

/* One more thing that is said of a message. */
static void put(struct batch *batch, unsigned i, int level, int type, const void *data,
                size_t bytes)
{
    struct msghdr *message = &batch->messages[i].msg_hdr;
    struct cmsghdr *header =
        (struct cmsghdr *)(void *)(batch->control[i].room + message->msg_controllen);

    memset(header, 0, CMSG_SPACE(bytes));
    header->cmsg_level = level;
    header->cmsg_type = type;
    header->cmsg_len = CMSG_LEN(bytes);
    memcpy(CMSG_DATA(header), data, bytes);
    message->msg_control = &batch->control[i];
    message->msg_controllen += CMSG_SPACE(bytes);
}

/* Return: 0; -EINVAL. */
static int put_local(struct batch *batch, unsigned i, const filch_addr *local)
{
    struct in_pktinfo v4 = {0};
    struct in6_pktinfo v6 = {.ipi6_ifindex = local->scope};

    switch (local->family) {
    case 4:
        memcpy(&v4.ipi_spec_dst, local->ip, sizeof v4.ipi_spec_dst);
        put(batch, i, IPPROTO_IP, IP_PKTINFO, &v4, sizeof v4);
        return 0;
    case 6:
        memcpy(&v6.ipi6_addr, local->ip, sizeof v6.ipi6_addr);
        put(batch, i, IPPROTO_IPV6, IPV6_PKTINFO, &v6, sizeof v6);
        return 0;
    default:
        return -EINVAL;
    }
}

/* By both names: which of them is heard depends on the peer's address, the other one is not. */
static void put_tos(struct batch *batch, unsigned i, int tos)
{
    put(batch, i, IPPROTO_IP, IP_TOS, &tos, sizeof tos);
    put(batch, i, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof tos);
}

/* Return: 0; -EINVAL. */
static int prepare_send(struct batch *batch, unsigned i, const filch_datagram *datagram)
{
    struct msghdr *message = begin_message(batch, i, datagram);
    uint16_t segment = (uint16_t)datagram->segment;

    if ((!datagram->buf && datagram->bytes) || datagram->segment > UINT16_MAX)
        return -EINVAL;
    if (datagram->addr.family) {
        if (filch__addr_of_value(&datagram->addr, &batch->addr[i]) < 0)
            return -EINVAL;
        message->msg_name = &batch->addr[i];
        message->msg_namelen = batch->addr[i].bytes;
    }
    if (segment)
        put(batch, i, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment);
    if (datagram->tos)
        put_tos(batch, i, datagram->tos);
    return datagram->local.family ? put_local(batch, i, &datagram->local) : 0;
}

static int prepare_recv(struct batch *batch, unsigned i, const filch_datagram *datagram)
{
    struct msghdr *message = begin_message(batch, i, datagram);

    if (!datagram->buf && datagram->bytes)
        return -EINVAL;
    message->msg_name = &batch->addr[i];
    message->msg_namelen = sizeof batch->addr[i].v6;
    message->msg_control = &batch->control[i];
    message->msg_controllen = sizeof batch->control[i];
    return 0;
}

static void note_local(const struct in6_pktinfo *v6, filch_addr *ret_local)
{
    struct filch__addr addr = {.v6 = {.sin6_family = AF_INET6, .sin6_addr = v6->ipi6_addr}};

    if (IN6_IS_ADDR_LINKLOCAL(&v6->ipi6_addr))
        addr.v6.sin6_scope_id = v6->ipi6_ifindex;
    filch__addr_to_value(&addr, ret_local);
}

/* One of the things that the kernel says of a message. */
static void note_control(const struct cmsghdr *header, filch_datagram *datagram)
{
    struct in6_pktinfo v6;
    struct in_pktinfo v4;
    int segment, tos;

    if (header->cmsg_level == IPPROTO_UDP && header->cmsg_type == UDP_GRO) {
        memcpy(&segment, CMSG_DATA(header), sizeof segment);
        datagram->segment = (size_t)segment < datagram->size ? (size_t)segment : 0;
    } else if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
        memcpy(&v4, CMSG_DATA(header), sizeof v4);
        datagram->local = (filch_addr){.family = 4};
        memcpy(datagram->local.ip, &v4.ipi_addr, sizeof v4.ipi_addr);
    } else if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO) {
        memcpy(&v6, CMSG_DATA(header), sizeof v6);
        note_local(&v6, &datagram->local);
    } else if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_TOS) {
        memcpy(&datagram->tos, CMSG_DATA(header), sizeof datagram->tos); /* one byte */
    } else if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_TCLASS) {
        memcpy(&tos, CMSG_DATA(header), sizeof tos);
        datagram->tos = (uint8_t)tos;
    }
}

static void note_received(struct batch *batch, unsigned i, filch_datagram *datagram)
{
    struct msghdr *message = &batch->messages[i].msg_hdr;

    datagram->size = batch->messages[i].msg_len;
    datagram->segment = 0;
    datagram->local = (filch_addr){.family = 0};
    datagram->tos = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header))
        note_control(header, datagram);
    filch__addr_to_value(&batch->addr[i], &datagram->addr);
}

static int call(int fd, bool out, struct batch *batch, unsigned count)
{
    struct filch__lane *lane = filch__worker_lane();
    int n;

    if (lane)
        filch_counter_add(&lane->stats.direct, 1);
    do {
        n = out ? sendmmsg(fd, batch->messages, count, MSG_DONTWAIT | MSG_NOSIGNAL)
                : recvmmsg(fd, batch->messages, count, MSG_DONTWAIT | MSG_TRUNC, NULL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* Return: how many, one at least; -errno. */
static int call_waiting(struct filch__fd *object, bool out, struct batch *batch, unsigned count,
                        filch_time until)
{
    int n, r;

    while ((n = call(object->fd, out, batch, count)) == -EAGAIN) {
        r = filch__socket_wait(object->fd, out ? POLLOUT : POLLIN, until);
        if (filch__fd_is_closing(object))
            return -ECANCELED;
        if (r < 0)
            return r;
    }
    return n;
}

static ssize_t send_in(struct filch__fd *object, const filch_datagram *datagrams, size_t count,
                       filch_time until)
{
    struct batch batch;
    size_t done = 0;
    int n;

    do {
        unsigned here = 0, most = count - done < BATCH ? (unsigned)(count - done) : BATCH;

        while (here < most && prepare_send(&batch, here, &datagrams[done + here]) == 0)
            here++;
        if (!here)
            return done ? (ssize_t)done : -EINVAL;
        n = call_waiting(object, true, &batch, here, done ? FILCH_NOW : until);
        if (n > 0)
            done += (size_t)n;
        if (n < (int)here)
            break;
    } while (done < count);
    return done ? (ssize_t)done : n;
}

ssize_t filch_udp_send_many(filch_udp *udp, const filch_datagram *datagrams, size_t count,
                            filch_time until)
{
    struct filch__fd *object;
    ssize_t n = 0;
    int r;

    if (!datagrams && count)
        return -EINVAL;
    r = filch__fd_enter(udp, &object);
    if (r < 0)
        return r;
    if (count)
        n = send_in(object, datagrams, count, until);
    filch__fd_leave(object);
    if (n > 0)
        filch__coop();
    return n;
}

static ssize_t recv_in(struct filch__fd *object, filch_datagram *datagrams, size_t count,
                       filch_time until)
{
    unsigned most = count < BATCH ? (unsigned)count : BATCH;
    struct batch batch;
    int n;

    for (unsigned i = 0; i < most; i++)
        if (prepare_recv(&batch, i, &datagrams[i]) < 0)
            return -EINVAL;
    n = call_waiting(object, false, &batch, most, until);
    for (int i = 0; i < n; i++)
        note_received(&batch, (unsigned)i, &datagrams[i]);
    return n;
}

ssize_t filch_udp_recv_many(filch_udp *udp, filch_datagram *datagrams, size_t count,
                            filch_time until)
{
    struct filch__fd *object;
    ssize_t n = 0;
    int r;

    if (!datagrams && count)
        return -EINVAL;
    r = filch__fd_enter(udp, &object);
    if (r < 0)
        return r;
    if (count)
        n = recv_in(object, datagrams, count, until);
    filch__fd_leave(object);
    if (n > 0)
        filch__coop();
    return n;
}
