/* UDP sockets: how they begin and end, peers and groups. For datagrams see udp_io.c, for options
 * udp_option.c. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdalign.h>
#include <string.h>
#include <unistd.h>

#include "io/net/socket.h"
#include "io/net/transfer.h"
#include "io/net/udp.h"

/* What a handle stands for; a cache line of its own. */
struct filch_udp {
    alignas(FILCH_CACHELINE) struct filch__datagram_socket socket;
};

static struct filch__pool udp_pool = {
    .object_bytes = sizeof(struct filch_udp),
    .link_offset = offsetof(struct filch_udp, socket.fd.next),
    .forked = filch__fd_forked,
};

static int wrap(int fd, filch_udp **ret_udp)
{
    struct filch__datagram_socket *socket = filch__pool_take(&udp_pool);

    if (!socket)
        return -ENOMEM;
    filch__op_list_init(&socket->ops);
    *ret_udp = filch__fd_open(&socket->fd, fd);
    return 0;
}

/* Return: 0; -errno. */
static int prepare(int fd, const struct filch__addr *addr, const filch_udp_opts *opts)
{
    int off = 0, r = 0;

    if (addr->any.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (opts->device)
        r = filch__socket_bind_device(fd, opts->device);
    if (!opts->settings && opts->setting_count)
        r = -EINVAL;
    for (size_t i = 0; i < opts->setting_count && r == 0; i++)
        r = filch__udp_option_set(fd, opts->settings[i].option, opts->settings[i].value);
    if (r == 0 && bind(fd, &addr->any, addr->bytes) < 0)
        r = -errno;
    return r;
}

int filch_udp_open(const char *text, const filch_udp_opts *opts, filch_udp **ret_udp)
{
    static const filch_udp_opts none;
    struct filch__addr addr;
    int fd, r;

    if (!ret_udp || filch__addr_parse(text, &addr) < 0)
        return -EINVAL;
    fd = socket(addr.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    r = prepare(fd, &addr, opts ? opts : &none);
    if (r == 0)
        r = wrap(fd, ret_udp);
    if (r < 0)
        close(fd);
    return r;
}

int filch_udp_adopt(int fd, filch_udp **ret_udp)
{
    int r;

    if (!ret_udp)
        return -EINVAL;
    r = filch__socket_is(fd, SOCK_DGRAM, IPPROTO_UDP);
    if (r == 0)
        r = filch__socket_make_ours(fd);
    return r < 0 ? r : wrap(fd, ret_udp);
}

int filch_udp_fd(filch_udp *udp)
{
    return filch__fd_number(udp);
}

int filch_udp_release(filch_udp *udp, int *ret_fd)
{
    if (!udp || !ret_fd)
        return -EINVAL;
    return filch__fd_release(udp, &udp_pool, ret_fd);
}

int filch_udp_close(filch_udp *udp)
{
    struct filch__fd *object;
    int r;

    if (!udp)
        return 0;
    /* Who waits in a poll is woken at a shutdown, be it connected or not. */
    r = filch__fd_close_begin(udp, &object);
    if (r < 0)
        return r;
    filch__op_list_end(&filch_container_of(object, struct filch__datagram_socket, fd)->ops);
    filch__fd_close_end(object, &udp_pool);
    return 0;
}

/* ---- peers ---- */

int filch_udp_connect(filch_udp *udp, const filch_addr *peer)
{
    struct filch__addr addr = {.any.sa_family = AF_UNSPEC, .bytes = sizeof addr.v4};
    struct filch__fd *object;
    int r;

    if (peer && filch__addr_of_value(peer, &addr) < 0)
        return -EINVAL;
    r = filch__fd_enter(udp, &object);
    if (r < 0)
        return r;
    r = connect(object->fd, &addr.any, addr.bytes) < 0 ? -errno : 0;
    filch__fd_leave(object);
    return r;
}

static int name_of(filch_udp *udp, int (*get)(int, struct sockaddr *, socklen_t *),
                   filch_addr *ret_addr)
{
    struct filch__addr addr = {.bytes = sizeof addr.v6};
    struct filch__fd *object;
    int r;

    if (!ret_addr)
        return -EINVAL;
    r = filch__fd_enter(udp, &object);
    if (r < 0)
        return r;
    r = get(object->fd, &addr.any, &addr.bytes) < 0 ? -errno : 0;
    filch__fd_leave(object);
    if (r == 0)
        filch__addr_to_value(&addr, ret_addr);
    return r;
}

static int local_name(int fd, struct sockaddr *addr, socklen_t *bytes)
{
    return getsockname(fd, addr, bytes);
}

static int peer_name(int fd, struct sockaddr *addr, socklen_t *bytes)
{
    return getpeername(fd, addr, bytes);
}

int filch_udp_local_addr(filch_udp *udp, filch_addr *ret_addr)
{
    return name_of(udp, local_name, ret_addr);
}

int filch_udp_peer_addr(filch_udp *udp, filch_addr *ret_addr)
{
    return name_of(udp, peer_name, ret_addr);
}

/* ---- groups ---- */

static int set_on(filch_udp *udp, int level, int name, const void *value, size_t bytes)
{
    struct filch__fd *object;
    int r = filch__fd_enter(udp, &object);

    if (r < 0)
        return r;
    r = setsockopt(object->fd, level, name, value, (socklen_t)bytes) < 0 ? -errno : 0;
    filch__fd_leave(object);
    return r;
}

static bool is_group(const filch_addr *addr)
{
    return addr &&
           (addr->family == 4 ? addr->ip[0] >> 4 == 14 : addr->family == 6 && addr->ip[0] == 0xff);
}

/* Joining and leaving differ in a number only. */
static int member(filch_udp *udp, const filch_addr *group, const filch_addr *source,
                  unsigned interface, int any_name, int source_name)
{
    struct group_source_req request = {.gsr_interface = interface};
    struct group_req any = {.gr_interface = interface};
    struct filch__addr addr;
    int level;

    if (!is_group(group) || (source && source->family != group->family))
        return -EINVAL;
    level = group->family == 4 ? IPPROTO_IP : IPPROTO_IPV6;
    (void)filch__addr_of_value(group, &addr);
    memcpy(&any.gr_group, &addr.any, addr.bytes);
    if (!source)
        return set_on(udp, level, any_name, &any, sizeof any);
    memcpy(&request.gsr_group, &addr.any, addr.bytes);
    (void)filch__addr_of_value(source, &addr);
    memcpy(&request.gsr_source, &addr.any, addr.bytes);
    return set_on(udp, level, source_name, &request, sizeof request);
}

int filch_udp_join(filch_udp *udp, const filch_addr *group, const filch_addr *source,
                   unsigned interface)
{
    return member(udp, group, source, interface, MCAST_JOIN_GROUP, MCAST_JOIN_SOURCE_GROUP);
}

int filch_udp_leave(filch_udp *udp, const filch_addr *group, const filch_addr *source,
                    unsigned interface)
{
    return member(udp, group, source, interface, MCAST_LEAVE_GROUP, MCAST_LEAVE_SOURCE_GROUP);
}

/* The kernel keeps it for each family; a socket of IPv6 has both. */
int filch_udp_multicast_interface(filch_udp *udp, unsigned interface)
{
    struct ip_mreqn v4 = {.imr_ifindex = (int)interface};
    int v6 = (int)interface;
    int r4 = set_on(udp, IPPROTO_IP, IP_MULTICAST_IF, &v4, sizeof v4);
    int r6 = set_on(udp, IPPROTO_IPV6, IPV6_MULTICAST_IF, &v6, sizeof v6);

    return r6 == 0 ? 0 : r4;
}

filch_case filch_case_udp_readable(filch_udp *udp)
{
    return filch__case_socket(udp, POLLIN);
}

filch_case filch_case_udp_writable(filch_udp *udp)
{
    return filch__case_socket(udp, POLLOUT);
}
