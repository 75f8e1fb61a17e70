/* Channels: queues of messages between tasks, with back-pressure. Many senders, many receivers,
 * first in first out.
 *
 * Who ends one? Either somebody who knows calls filch_chan_close(); or its ends are counted, and it
 * closes by itself:
 *
 *     producer: spawned with filch_chan_sender_ref(chan)     consumer:
 * filch_chan_receiver_ref(chan) filch_chan_send(chan, &msg, until) ...                 while
 * (!filch_chan_recv(...)) ... filch_chan_sender_unref(chan) filch_chan_receiver_unref(chan)
 *
 * Whoever must not wait, or must not lose what he has taken elsewhere, reserves a place first:
 *
 *     filch_chan_reserve(chan, &permit, until)      the only part that can wait or fail
 *     msg = take it from wherever it is
 *     filch_chan_permit_send(&permit, &msg)         never waits, and is never refused for room
 */
#ifndef FILCH_CHAN_H
#define FILCH_CHAN_H

#include <sys/types.h>

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

/* What becomes of a message for which there is no room. */
enum filch_chan_overflow {
    FILCH_CHAN_WAIT = 0,    /* its sender waits */
    FILCH_CHAN_DROP_NEWEST, /* it is dropped */
    FILCH_CHAN_DROP_OLDEST, /* the oldest one that is queued is dropped for it */
    FILCH_CHAN_FAIL,        /* the send fails with -ENOBUFS, and it is the sender's */
};

typedef struct filch_chan_opts {
    enum filch_chan_overflow overflow;
    /* Called with each message that nobody will receive: dropped by an overflow, or left when the
     * last receiver goes, or when the channel is freed, oldest first. @msg is valid during the
     * call. So what messages own can be freed. Called by whoever caused it, without a lock; it must
     * not suspend. NULL: nothing is to be done. */
    void (*drop)(void *context, const void *msg);
    void *drop_context;
} filch_chan_opts;

/**
 * filch_chan_new_opts() - make a channel that is special
 * @opts: copied; NULL, and all zero: as filch_chan_new()
 *
 * Where messages are dropped, a send does not wait and returns 1 instead of 0 when it has cost a
 * message: the channel has consumed it, and has given it, or for DROP_OLDEST the oldest one, to
 * `drop`. A full channel without a message, as all places are reserved, has no oldest one: then
 * the newest is dropped. Reserving waits in any case.
 * Return: 0; -EINVAL (also an overflow of an unbounded channel); -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_chan_new_opts(size_t elem_bytes, size_t capacity,
                                                   const filch_chan_opts *opts,
                                                   filch_chan **ret_chan);

/** filch_chan_dropped() - messages dropped by overflows so far. Thread-safety: any thread.
 * Suspends: no. Return: the number; 0 for NULL. */
FILCH_API uint64_t filch_chan_dropped(filch_chan *chan);

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
 * Return: 0; 1 (sent or not, it has cost a message: enum filch_chan_overflow); -EPIPE (closed);
 * -ETIMEDOUT; -ECANCELED; -ENOBUFS (full, FILCH_CHAN_FAIL); -ENOMEM (no memory, for an unbounded
 * channel, or to drop the oldest one if it is larger than 256 bytes); -EINVAL (NULL). After an
 * error the message is still the caller's.
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
 * consumed. Return: 0; -EPIPE (closed and drained, and no permit is held); -ETIMEDOUT; -ECANCELED;
 * -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_chan_recv(filch_chan *chan, void *msg, filch_time until);

/**
 * filch_chan_recv_many() - take several messages, waiting while the channel is empty
 * @msgs: an array of @max; filled from its front
 * @max:  at least 1
 *
 * Waits for one, as filch_chan_recv(), and takes what is there by then. Neighbours in the array may
 * not have been neighbours in the channel, if others receive, too; their order is kept.
 * Return: how many, 1 to @max; else as filch_chan_recv(), and then none was consumed; -EINVAL also
 * for a @max of 0, or over SSIZE_MAX.
 */
FILCH_API FILCH_MUST_CHECK ssize_t filch_chan_recv_many(filch_chan *chan, void *msgs, size_t max,
                                                        filch_time until);

/**
 * filch_chan_send_many() - put all of several messages in, waiting while the channel is full
 * @msgs:     an array of @n
 * @n:        0 is allowed: nothing is done, also if it is closed
 * @ret_sent: how many were sent, the first ones, set also on failure but -EINVAL; may be NULL
 *
 * In the line of senders it is one: while it waits, those that came before and after it do not get
 * in between its messages. It goes on when half of the channel is free, or all of it has been
 * received. Where messages are dropped, those that were count as sent; when it fails
 * because of -ENOBUFS, the others may be tried again.
 * Suspends: yes. Cancellation point: yes; the first *@ret_sent were sent, no others.
 * Return: 0; else as filch_chan_send().
 */
FILCH_API FILCH_MUST_CHECK int filch_chan_send_many(filch_chan *chan, const void *msgs, size_t n,
                                                    size_t *ret_sent, filch_time until);

/** filch_chan_close() - no more messages: senders, waiting ones too, get -EPIPE; receivers drain
 * what is queued, and what permits bring that are held, then get -EPIPE. Closing twice is allowed.
 * Thread-safety: any thread. Suspends: no. Return: 0; -EINVAL (NULL). */
FILCH_API int filch_chan_close(filch_chan *chan);

/** filch_chan_is_closed() - was it closed, or have all counted senders, or receivers, gone?
 * Thread-safety: any thread. Suspends: no. Return: false for NULL, too. */
FILCH_API bool filch_chan_is_closed(filch_chan *chan);

/**
 * filch_chan_closed() - wait until a channel is closed: a producer learns that nobody wants more
 *
 * Thread-safety: any task or plain thread, any number at once. Suspends: yes. Cancellation point:
 * yes. Return: 0; -ETIMEDOUT; -ECANCELED; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_chan_closed(filch_chan *chan, filch_time until);

/** filch_chan_len() - messages queued at some moment of the call. */
FILCH_API size_t filch_chan_len(filch_chan *chan);

/** filch_chan_capacity() - messages held before senders wait, as it was made with. Thread-safety:
 * any thread. Suspends: no. Return: the number; FILCH_CHAN_UNBOUNDED; 0 for NULL. */
FILCH_API size_t filch_chan_capacity(const filch_chan *chan);

/** filch_chan_room() - places that are neither taken nor reserved, at some moment of the call;
 * those who wait in line have them first. Thread-safety: any thread. Suspends: no. Return: the
 * number, 0 for a channel that is closed; FILCH_CHAN_UNBOUNDED; 0 for NULL. */
FILCH_API size_t filch_chan_room(filch_chan *chan);

/* ---- permits ---- */

/* Places in a channel, reserved. A plain value of its holder's, to be used by one at a time, on any
 * thread. It borrows the channel, so it comes with a reference. The fields are private. */
typedef struct filch_chan_permit {
    filch_chan *chan;
    size_t n; /* places left */
} filch_chan_permit;

/**
 * filch_chan_reserve() - reserve a place for a message to come, waiting while the channel is full
 * @ret_permit: must be used, or released
 *
 * The place counts as a message does, until the permit is used or released. In an unbounded channel
 * there is always one, and its memory. In the line of senders: served in order with them.
 * Thread-safety: any task or plain thread, any number at once. Suspends: yes. Cancellation point:
 * yes; after an error nothing is reserved.
 * Return: 0; -EPIPE (closed); -ETIMEDOUT; -ECANCELED; -ENOMEM (unbounded, no memory); -EINVAL
 * (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_chan_reserve(filch_chan *chan, filch_chan_permit *ret_permit,
                                                  filch_time until);

/**
 * filch_chan_reserve_many() - reserve several places at once
 * @n: 1 to the capacity
 *
 * All of them or none. At the front of the line it holds up those behind it until there is room
 * for all, so nobody is starved. Return: as filch_chan_reserve(); -EINVAL also for @n out of range.
 */
FILCH_API FILCH_MUST_CHECK int filch_chan_reserve_many(filch_chan *chan, size_t n,
                                                       filch_chan_permit *ret_permit,
                                                       filch_time until);

/**
 * filch_chan_permit_send() - put a message into a reserved place
 * @permit: uses up one of its places
 * @msg:    elem_bytes are copied from here
 *
 * Also after filch_chan_close(), and when all senders have gone: a permit outlives them, and
 * receivers wait for it. Thread-safety: any thread, one at a time for each permit. Suspends: no; no
 * cancellation point. Return: 0; -EPIPE (all counted receivers have gone: nobody would ever receive
 * it, the message is still the caller's, and the place is still reserved); -EINVAL (NULL, or no
 * place is left).
 */
FILCH_API FILCH_MUST_CHECK int filch_chan_permit_send(filch_chan_permit *permit, const void *msg);

/** filch_chan_permit_release() - give back the places that are left; further calls do nothing.
 * NULL, and a permit that is all zero, are allowed. Thread-safety: any thread, one at a time.
 * Suspends: no. */
FILCH_API void filch_chan_permit_release(filch_chan_permit *permit);

/* ---- counted ends: once there was one of a kind, the channel closes when the last of that kind
 * goes. Plain references are the weak ones: all functions work with them, but they keep nothing
 * open. ---- */

/**
 * filch_chan_sender_ref() - one more sender, with a reference of its own
 *
 * Makes a sender of a weak reference, if the channel is still open. Who hands out several keeps one
 * until he has done so: the first one may have gone before the second one is there.
 * Thread-safety: any thread that has a reference of any kind. Suspends: no. Return: @chan; NULL
 * (closed: the caller's own reference is as it was; or NULL).
 */
FILCH_API FILCH_MUST_CHECK filch_chan *filch_chan_sender_ref(filch_chan *chan);

/** filch_chan_sender_unref() - a sender goes, and its reference. The last one closes the channel,
 * as filch_chan_close(). NULL is allowed. Thread-safety: any thread. Suspends: no. */
FILCH_API void filch_chan_sender_unref(filch_chan *chan);

/**
 * filch_chan_receiver_ref() - one more receiver, with a reference of its own
 *
 * Also after a close, as there may be messages left. Thread-safety: any thread that has a reference
 * of any kind. Suspends: no. Return: @chan; NULL (all receivers have gone: the caller's own
 * reference is as it was; or NULL).
 */
FILCH_API FILCH_MUST_CHECK filch_chan *filch_chan_receiver_ref(filch_chan *chan);

/**
 * filch_chan_receiver_unref() - a receiver goes, and its reference
 *
 * After the last one nobody is left to receive: the channel is closed, who waits gets -EPIPE,
 * permits too, and what is queued goes to `drop` (filch_chan_opts). Messages that are kept for
 * futures (filch_recv_future_init()) stay until the channel is freed. NULL is allowed.
 * Thread-safety: any thread. Suspends: no.
 */
FILCH_API void filch_chan_receiver_unref(filch_chan *chan);

/** filch_chan_senders() - counted senders at some moment of the call; 0 for NULL. Thread-safety:
 * any thread. Suspends: no. */
FILCH_API size_t filch_chan_senders(filch_chan *chan);

/** filch_chan_receivers() - the same of counted receivers. */
FILCH_API size_t filch_chan_receivers(filch_chan *chan);

/* ---- in a select, and as futures ---- */

/**
 * filch_case_reserve() - a case of a select: filch_chan_reserve_many()
 * @ret_permit: written only if the case wins with result 0
 *
 * The case's result is 0, -EPIPE (closed) or -ENOMEM. NULL, or @n out of range, makes a case that
 * filch_select() refuses.
 */
FILCH_API filch_case filch_case_reserve(filch_chan *chan, size_t n, filch_chan_permit *ret_permit);

/** filch_case_closed() - a case of a select: filch_chan_closed(). The case's result is 0. NULL
 * makes a case that filch_select() refuses. */
FILCH_API filch_case filch_case_closed(filch_chan *chan);

/**
 * filch_case_send() - a case of a select: filch_chan_send()
 * @msg: read when the case wins; must be there, unchanged, until the select returns
 *
 * The case's result is 0, 1, -EPIPE (closed), -ENOBUFS or -ENOMEM: see filch_chan_send(). NULL
 * makes a case that filch_select() refuses.
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
 * -EPIPE: not sent, the channel was closed. Result: 0; 1, -EPIPE (closed), -ENOBUFS or -ENOMEM, as
 * from filch_chan_send(). Thread-safety: any thread. Suspends: no. Return: 0; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_send_future_init(filch_send_future *send, filch_chan *chan,
                                                      const void *msg);

FILCH_END_DECLS

#endif
