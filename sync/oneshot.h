/* What a oneshot does for futures: see sync/oneshot_future.c. */
#ifndef FILCH_SYNC_ONESHOT_H
#define FILCH_SYNC_ONESHOT_H

#include <filch/oneshot.h>

#include "runtime/task/waiter.h"

/* Receives, or looks whether the receiver has gone; or puts @waiter down. Return: the result;
 * -EAGAIN: it waits. */
int filch__oneshot_recv_enlist(filch_oneshot_rx *rx, void *value, struct filch__waiter *waiter);
int filch__oneshot_closed_enlist(filch_oneshot_tx *tx, struct filch__waiter *waiter);

/* Has @waker woken from now on. @handle: either end, also a stale one. Return: false: @waiter was
 * taken out. */
bool filch__oneshot_listen(const void *handle, struct filch__future_waiter *waiter,
                           const filch_waker *waker);

/* Takes @waiter out and drops its waker. Return: false: it was taken out. */
bool filch__oneshot_leave(const void *handle, struct filch__future_waiter *waiter);

#endif
