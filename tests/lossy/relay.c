#include "tests/lossy/relay.h"

#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/runner/check.h"
#include "tests/runner/tun.h"

enum { PACKET_MAX = 2048, FDS_MAX = 4, BATCH = 64 };

/* How long a packet may wait for those before it, where there is a rate: a router's buffer. */
#define RATE_QUEUE_US 100000

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

int relay_end_open(int end, const char **ret_reason)
{
    static const char *const addr[2] = {"10.77.0.1", "10.77.0.2"};

    return tun_open(addr[end], addr[1 - end], ret_reason);
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

static void lose(struct relay *relay, struct relay_counts *udp)
{
    relay->dropped++;
    if (udp)
        udp->dropped++;
}

/* When a packet has gone through a line that has a rate, behind those before it. Return: 0: it
 * would wait for too long. */
static uint64_t sent_us(struct relay *relay, const struct relay_packet *packet, uint64_t now)
{
    uint64_t *free_us = &relay->free_us[packet->from];

    if (!relay->faults.rate)
        return now;
    if (*free_us > now + RATE_QUEUE_US)
        return 0;
    relay->held += *free_us > now;
    *free_us = (*free_us > now ? *free_us : now) + packet->bytes * 1000000 / relay->faults.rate;
    return *free_us;
}

/* Decides what becomes of a packet. */
static void take(struct relay *relay, const struct relay_packet *packet)
{
    struct relay_counts *udp = is_udp(packet) ? &relay->udp[packet->from] : NULL;
    uint64_t due_us;
    bool twice;

    relay->packets++;
    if (udp)
        udp->seen++;
    due_us = sent_us(relay, packet, now_us());
    if (!due_us || chance(relay, relay->faults.drop)) {
        lose(relay, udp);
        return;
    }
    due_us += relay->faults.delay_us;
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
