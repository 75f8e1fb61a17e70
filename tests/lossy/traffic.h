/* What the two processes of lossy.c do to each other, each in a runtime of its own. */
#ifndef FILCH_TESTS_LOSSY_TRAFFIC_H
#define FILCH_TESTS_LOSSY_TRAFFIC_H

#include <stdbool.h>
#include <stdint.h>

enum { CONNECTIONS = 9, STREAM_BYTES = 300000, DATAGRAMS = 600 };

/* Told by an end to the relay, or the other way round. */
struct note {
    enum {
        NOTE_STREAMS_DONE,    /* each byte of all streams came, once and in order */
        NOTE_DATAGRAMS_SENT,  /* `count` of them */
        NOTE_DELIVERED,       /* from the relay: `count` of those from the other end */
        NOTE_DATAGRAMS_TAKEN, /* `count` different ones, and `twice` of them once more */
    } kind;
    uint64_t count;
    uint64_t twice;
};

struct traffic {
    int end;       /* 0: the server; 1: the client */
    int notes;     /* a connected Unix stream socket */
    int listen_fd; /* of the server: it listens before the client begins */
    int udp_fd;    /* bound; with room for all datagrams */
    uint64_t seed;
};

#define TRAFFIC_TCP_PORT 7777
#define TRAFFIC_UDP_PORT 7778

/* A task. Return: 0; else it does not return. */
int traffic_main(void *traffic);

#endif
