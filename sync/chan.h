/* What a channel does for futures: see sync/chan_future.c.
 *
 * A future that waits to receive cannot be handed a message as a task is, into its own memory: it
 * may be dropped before it is polled again, and the message would be lost, or would have to be put
 * back in front of a queue that is full by then. So it is handed the right to one: the message
 * stays in the queue, counts for its capacity, and is `reserved`, that is, not there for other
 * receivers. The future's next poll collects the oldest message; its drop gives the right back, and
 * the oldest waiting receiver gets it, or whoever comes. Nothing leaves the queue's order.
 *
 * A sending future is like a sending task: its message is copied out when there is room.
 */
#ifndef FILCH_SYNC_CHAN_H
#define FILCH_SYNC_CHAN_H

#include <filch/chan.h>

#include "runtime/task/waiter.h"

/* Sends or receives at once, or puts @waiter into the list. A sender's `data` is set. Return: the
 * result; -EAGAIN: it waits. */
int filch__chan_send_enlist(filch_chan *chan, const void *msg, struct filch__waiter *waiter);
int filch__chan_recv_enlist(filch_chan *chan, void *msg, struct filch__waiter *waiter);

/* Has @waker woken from now on. Return: false: @waiter was taken out. */
bool filch__chan_listen(filch_chan *chan, struct filch__future_waiter *waiter,
                        const filch_waker *waker);

/* Takes @waiter out and drops its waker. Return: false: it was taken out. */
bool filch__chan_leave(filch_chan *chan, struct filch__future_waiter *waiter);

/* Uses up a right to one message: it goes to @msg, or, NULL, to the other receivers. */
void filch__chan_collect(filch_chan *chan, void *msg);

#endif
