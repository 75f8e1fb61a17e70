/* A relay between two network namespaces that is as bad as it is told to be: packets that it reads
 * from one tun device it drops, or writes to the other, late, twice, or out of order. It has one
 * thread, and chooses by a seed: what the choices meet depends on the kernel's timing. */
#ifndef FILCH_TESTS_LOSSY_RELAY_H
#define FILCH_TESTS_LOSSY_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of 10,000 packets; and microseconds. */
struct relay_faults {
    unsigned drop;
    unsigned duplicate;
    unsigned late; /* held up, so that later ones overtake it */
    unsigned delay_us;
    unsigned late_us;
    unsigned rate; /* bytes a second, each way; more wait for RATE_QUEUE_US at most, or are lost.
                      0: no limit */
};

/* UDP datagrams that came from an end. */
struct relay_counts {
    uint64_t seen;
    uint64_t dropped;
    uint64_t duplicated;
    uint64_t delivered; /* to the other end: seen - dropped + duplicated, when all have gone */
};

struct relay_packet;

struct relay {
    int tun[2];
    struct relay_faults faults;
    uint64_t random;
    struct relay_counts udp[2]; /* by where they come from */
    uint64_t packets, dropped;  /* of any kind */
    uint64_t held;              /* had to wait for others, as the line is slow */
    uint64_t free_us[2];        /* when it has sent what came from there so far */
    struct relay_packet **heap; /* on their way, the next one first */
    size_t count, room;
    uint64_t order;
};

/**
 * relay_end_open() - give the calling thread a network namespace of its own, with an end in it
 * @end:        0: its address is 10.77.0.1; 1: 10.77.0.2
 * @ret_reason: why not, in words
 *
 * What is created from now on is at that end; the device can be used from anywhere. Return: the
 * device; -errno.
 */
int relay_end_open(int end, const char **ret_reason);

/** relay_turn() - carry what there is, for 20 ms at most; ends early if @fds has something to read.
 * Return: a bit for each of @fds that has. */
unsigned relay_turn(struct relay *relay, const int *fds, unsigned count);

/** relay_fini() - drop what is on its way, and close the devices. */
void relay_fini(struct relay *relay);

#endif
