/* The inside of a broadcast, for the files that make it up, and what it does for selects, futures
 * and streams. sync/broadcast.c says how it works. */
#ifndef FILCH_SYNC_BROADCAST_H
#define FILCH_SYNC_BROADCAST_H

#include <filch/broadcast.h>

#include "runtime/base/spinlock.h"
#include "sync/case.h"
#include "sync/wave.h"

struct filch_broadcast {
    /* Immutable. */
    size_t bytes;
    size_t words;
    size_t stride;
    size_t capacity;
    bool keeps;
    bool is_small; /* receivers read without the lock */
    unsigned char *slots;

    _Alignas(FILCH_CACHELINE) filch_spinlock lock; /* guards the rest */
    bool closed;
    size_t senders;
    size_t receivers;
    uint64_t tail;
    size_t tail_slot;
    struct filch__wave arrivals;   /* receivers, for a message or the end */
    struct filch__wave departures; /* senders, for the last receiver to go */
    size_t weaks;                  /* references that keep the memory only */
    size_t pins;                   /* who goes, and is still waking others */

    /* With KEEP. */
    uint64_t head;
    size_t head_slot;
    size_t at_tail;
    size_t *at;
    struct filch__list waiting; /* senders */
};

/* With the lock held on entry and free on return: somebody has gone, who has been counted off.
 * Others are told, and the last one frees it. */
void filch__broadcast_go_unlock(struct filch_broadcast *b);

/* Of the waiters. */
filch_spinlock *filch__broadcast_lock(filch_broadcast *broadcast);

/* Sends at once; or puts @waiter, which may be NULL, down. @self: @waiter, if it is in a select. */
enum filch__enlist filch__broadcast_send_enlist(filch_broadcast *broadcast, const void *msg,
                                                struct filch__waiter *waiter,
                                                struct filch__waiter *self, int *ret_result);

/* As filch_broadcast_recv(), at once. -EAGAIN: there is nothing. */
int filch__broadcast_recv_now(filch_broadcast_receiver *receiver, void *msg, uint64_t *ret_lost);

/* The same; or puts @waiter down, with -EAGAIN. @self: @waiter, if it is in a select. */
enum filch__enlist filch__broadcast_enlist(filch_broadcast_receiver *receiver, void *msg,
                                           uint64_t *ret_lost, struct filch__waiter *waiter,
                                           struct filch__waiter *self, int *ret_result);

/* Of a message. */
size_t filch__broadcast_bytes(const filch_broadcast_receiver *receiver);

#endif
