/* Channels: queues of messages between tasks, with back-pressure. Many senders, many receivers,
 * first in first out. */
#ifndef FILCH_CHAN_H
#define FILCH_CHAN_H

#include <filch/base.h>
#include <filch/future.h>
#include <filch/select.h>

FILCH_BEGIN_DECLS

typedef struct filch_chan filch_chan;

/* As a capacity: senders never wait; memory grows with the queue. */
#define FILCH_CHAN_UNBOUNDED SIZE_MAX

/**
 * filch_chan_new() - make a channel
 * @elem_bytes: size of a message, 1 to 65536; messages are copied in and out
 * @capacity:   messages held before senders wait, at least 1; or FILCH_CHAN_UNBOUNDED
 * @ret_chan:   gets the channel, with one reference
 *
 * Return: 0; -EINVAL; -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_chan_new(size_t elem_bytes, size_t capacity,
                                              filch_chan **ret_chan);

/** filch_chan_ref() - one more reference. Thread-safety: any thread that has one. Return: @chan. */
FILCH_API filch_chan *filch_chan_ref(filch_chan *chan);

/** filch_chan_unref() - give a reference back; the last one frees the channel and the messages in
 * it. NULL is allowed. Nobody may be waiting in it then (a waiter holds a reference by contract).
 */
FILCH_API void filch_chan_unref(filch_chan *chan);

/**
 * filch_chan_send() - put a message in, waiting while the channel is full
 * @chan:  borrowed for the call
 * @msg:   elem_bytes are copied from here
 * @until: FILCH_NOW tries once
 *
 * Thread-safety: any task or plain thread, any number at once; waiting senders are served in order.
 * Suspends: yes. Cancellation point: yes; when -ECANCELED is returned the message was not sent.
 * Return: 0; -EPIPE (closed); -ETIMEDOUT; -ECANCELED; -ENOMEM (unbounded, no memory); -EINVAL
 * (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_chan_send(filch_chan *chan, const void *msg, filch_time until);

/**
 * filch_chan_recv() - take the oldest message, waiting while the channel is empty
 * @chan:  borrowed for the call
 * @msg:   filled on success only; elem_bytes
 * @until: FILCH_NOW tries once
 *
 * Thread-safety: any task or plain thread, any number at once; waiting receivers are served in
 * order. Suspends: yes. Cancellation point: yes; when -ECANCELED is returned no message was
 * consumed. Return: 0; -EPIPE (closed and drained); -ETIMEDOUT; -ECANCELED; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_chan_recv(filch_chan *chan, void *msg, filch_time until);

/** filch_chan_close() - no more messages: senders, waiting ones too, get -EPIPE; receivers drain
 * what is queued, then get -EPIPE. Closing twice is allowed. Thread-safety: any thread. Suspends:
 * no. Return: 0; -EINVAL (NULL). */
FILCH_API int filch_chan_close(filch_chan *chan);

/** filch_chan_len() - messages queued at some moment of the call. */
FILCH_API size_t filch_chan_len(filch_chan *chan);

/**
 * filch_case_send() - a case of a select: filch_chan_send()
 * @msg: read when the case wins; must be there, unchanged, until the select returns
 *
 * The case's result is 0, -EPIPE (closed) or -ENOMEM. NULL makes a case that filch_select()
 * refuses.
 */
FILCH_API filch_case filch_case_send(filch_chan *chan, const void *msg);

/**
 * filch_case_recv() - a case of a select: filch_chan_recv()
 * @msg: written only if the case wins with result 0
 *
 * The case's result is 0 or -EPIPE (closed and drained). NULL makes a case that filch_select()
 * refuses.
 */
FILCH_API filch_case filch_case_recv(filch_chan *chan, void *msg);

/* A future that receives. The fields but base are private. */
typedef struct filch_recv_future {
    filch_future base;
    filch_chan *chan;
    void *msg;
    uint32_t phase;
    uint64_t private_words[9];
} filch_recv_future;

/**
 * filch_recv_future_init() - a future that takes the oldest message
 * @recv: caller's memory, which must stay where it is once polled, until it is ready or dropped
 * @chan: borrowed, until it is ready or dropped
 * @msg:  filled in the poll that is ready with result 0, and not before; elem_bytes
 *
 * Waits in line with tasks that receive. When its turn comes it is woken, and a message is kept for
 * it, in the channel and at the cost of its capacity, until it is polled or dropped. Dropped before
 * it was ready it has taken nothing: a message that was kept for it goes to the next receiver, in
 * its place in the order. So a future whose turn has come should be polled or dropped soon.
 * Its waker may be of any kind: it works in tasks, spawned futures and plain threads.
 * Result: 0; -EPIPE (closed, and nothing left that is not kept for others).
 * Thread-safety: any thread. Suspends: no. Return: 0; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_recv_future_init(filch_recv_future *recv, filch_chan *chan,
                                                      void *msg);

/* A future that sends. The fields but base are private. */
typedef struct filch_send_future {
    filch_future base;
    filch_chan *chan;
    const void *msg;
    uint32_t phase;
    uint64_t private_words[9];
} filch_send_future;

/**
 * filch_send_future_init() - a future that puts a message in
 * @send: caller's memory, which must stay where it is once polled, until it is ready or dropped
 * @chan: borrowed, until it is ready or dropped
 * @msg:  borrowed, as long; elem_bytes are copied when there is room
 *
 * Waits in line with tasks that send. Dropped before it was ready, its base.result tells what
 * became of the message: 0: it had been sent already; -ECANCELED: it was not sent, and will not be;
 * -EPIPE: not sent, the channel was closed. Result: 0; -EPIPE (closed); -ENOMEM (unbounded, no
 * memory). Thread-safety: any thread. Suspends: no. Return: 0; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_send_future_init(filch_send_future *send, filch_chan *chan,
                                                      const void *msg);

FILCH_END_DECLS

#endif
