/* What broadcasts do for selects, futures and streams. */
#ifndef FILCH_SYNC_BROADCAST_H
#define FILCH_SYNC_BROADCAST_H

#include <filch/broadcast.h>

#include "runtime/base/spinlock.h"
#include "sync/case.h"

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
