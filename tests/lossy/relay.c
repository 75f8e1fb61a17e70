#include "tests/lossy/relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/runner/check.h"

enum { PACKET_MAX = 2048, FDS_MAX = 4, BATCH = 64 };

struct relay_packet {
    uint64_t due_us;
    uint64_t order; /* among those that are due at the same time */
    int from;
    size_t bytes;
    unsigned char data[PACKET_MAX];
};

static uint64_t now_us(void)
{
    struct timespec now;

    T_OK(clock_gettime(CLOCK_MONOTONIC, &now));
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static bool chance(struct relay *relay, unsigned of_10000)
{
    relay->random = relay->random * 6364136223846793005u + 1442695040888963407u;
    return (relay->random >> 33) % 10000 < of_10000;
}

/* ---- ends ---- */

static int set_address(int fd, struct ifreq *request, unsigned long what, const char *text)
{
    struct sockaddr_in addr = {.sin_family = AF_INET};

    T_IS(inet_pton(AF_INET, text, &addr.sin_addr), 1);
    memcpy(&request->ifr_addr, &addr, sizeof addr);
    return ioctl(fd, what, request);
}

/* Addresses, room for all that a test sends at once, and up. */
static int configure(struct ifreq *request, int end)
{
    static const char *const addr[2] = {"10.77.0.1", "10.77.0.2"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int r = -1;

    if (fd < 0)
        return -errno;
    request->ifr_qlen = 20000;
    if (ioctl(fd, SIOCSIFTXQLEN, request) == 0 &&
        set_address(fd, request, SIOCSIFADDR, addr[end]) == 0 &&
        set_address(fd, request, SIOCSIFDSTADDR, addr[1 - end]) == 0) {
        request->ifr_flags = IFF_UP | IFF_RUNNING | IFF_POINTOPOINT;
        r = ioctl(fd, SIOCSIFFLAGS, request);
    }
    r = r < 0 ? -errno : 0;
    close(fd);
    return r;
}

int relay_end_open(int end, const char **ret_reason)
{
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    int r, fd;

    *ret_reason = "a network namespace of one's own is refused";
    if (unshare(CLONE_NEWNET) < 0)
        return -errno;
    *ret_reason = "/dev/net/tun cannot be opened";
    fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    *ret_reason = "a tun device cannot be made";
    strcpy(request.ifr_name, "lossy");
    r = ioctl(fd, TUNSETIFF, &request) < 0 ? -errno : configure(&request, end);
    if (r < 0) {
        close(fd);
        return r;
    }
    return fd;
}

/* ---- packets on their way: a heap ---- */

static bool is_before(const struct relay_packet *a, const struct relay_packet *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->order < b->order;
}

static void swap(struct relay_packet **a, struct relay_packet **b)
{
    struct relay_packet *kept = *a;

    *a = *b;
    *b = kept;
}

static void push(struct relay *relay, const struct relay_packet *packet, uint64_t due_us)
{
    struct relay_packet *copy = malloc(sizeof *copy);
    size_t i = relay->count;

    T_CHECK(copy);
    memcpy(copy, packet, offsetof(struct relay_packet, data) + packet->bytes);
    copy->due_us = due_us;
    copy->order = relay->order++;
    if (i == relay->room) {
        relay->room = relay->room ? relay->room * 2 : 64;
        relay->heap = realloc(relay->heap, relay->room * sizeof *relay->heap);
        T_CHECK(relay->heap);
    }
    relay->heap[relay->count++] = copy;
    for (; i && is_before(relay->heap[i], relay->heap[(i - 1) / 2]); i = (i - 1) / 2)
        swap(&relay->heap[i], &relay->heap[(i - 1) / 2]);
}

static struct relay_packet *pop(struct relay *relay)
{
    struct relay_packet *first = relay->heap[0];
    size_t i = 0;

    relay->heap[0] = relay->heap[--relay->count];
    for (;;) {
        size_t least = 2 * i + 1;

        if (least >= relay->count)
            return first;
        if (least + 1 < relay->count && is_before(relay->heap[least + 1], relay->heap[least]))
            least++;
        if (!is_before(relay->heap[least], relay->heap[i]))
            return first;
        swap(&relay->heap[i], &relay->heap[least]);
        i = least;
    }
}

/* ---- turns ---- */

static bool is_udp(const struct relay_packet *packet)
{
    return packet->bytes >= 20 && packet->data[0] >> 4 == 4 && packet->data[9] == IPPROTO_UDP;
}

/* Decides what becomes of a packet. */
static void take(struct relay *relay, const struct relay_packet *packet)
{
    struct relay_counts *udp = is_udp(packet) ? &relay->udp[packet->from] : NULL;
    uint64_t due_us = now_us() + relay->faults.delay_us;
    bool twice;

    relay->packets++;
    if (udp)
        udp->seen++;
    if (chance(relay, relay->faults.drop)) {
        relay->dropped++;
        if (udp)
            udp->dropped++;
        return;
    }
    if (chance(relay, relay->faults.late))
        due_us += relay->faults.late_us;
    twice = chance(relay, relay->faults.duplicate);
    push(relay, packet, due_us);
    if (twice)
        push(relay, packet, due_us + relay->faults.delay_us);
    if (udp && twice)
        udp->duplicated++;
}

static void read_packets(struct relay *relay, int from)
{
    struct relay_packet packet = {.from = from};

    for (int i = 0; i < BATCH; i++) {
        ssize_t n = read(relay->tun[from], packet.data, sizeof packet.data);

        if (n <= 0)
            return;
        packet.bytes = (size_t)n;
        take(relay, &packet);
    }
}

static void deliver(struct relay *relay)
{
    while (relay->count && relay->heap[0]->due_us <= now_us()) {
        struct relay_packet *packet = pop(relay);

        T_IS(write(relay->tun[1 - packet->from], packet->data, packet->bytes), packet->bytes);
        if (is_udp(packet))
            relay->udp[packet->from].delivered++;
        free(packet);
    }
}

unsigned relay_turn(struct relay *relay, const int *fds, unsigned count)
{
    struct pollfd polled[2 + FDS_MAX];
    struct timespec wait = {.tv_nsec = 20000000};
    unsigned ready = 0;

    T_CHECK(count <= FDS_MAX);
    for (unsigned i = 0; i < 2 + count; i++)
        polled[i] = (struct pollfd){.fd = i < 2 ? relay->tun[i] : fds[i - 2], .events = POLLIN};
    if (relay->count) {
        uint64_t now = now_us(), due = relay->heap[0]->due_us;

        wait.tv_nsec = due <= now ? 0 : (long)(due - now < 20000 ? due - now : 20000) * 1000;
    }
    T_CHECK(ppoll(polled, 2 + count, &wait, NULL) >= 0 || errno == EINTR);
    for (int i = 0; i < 2; i++)
        if (polled[i].revents & POLLIN)
            read_packets(relay, i);
    deliver(relay);
    for (unsigned i = 0; i < count; i++)
        if (polled[2 + i].revents)
            ready |= 1u << i;
    return ready;
}

void relay_fini(struct relay *relay)
{
    while (relay->count)
        free(pop(relay));
    free(relay->heap);
    close(relay->tun[0]);
    close(relay->tun[1]);
}
