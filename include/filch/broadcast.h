/* Messages that every receiver sees.
 *
 *     filch_broadcast *news;                                -- the senders' side
 *     r = filch_broadcast_new(sizeof item, 64, 0, &news);
 *     r = filch_broadcast_send(news, &item, FILCH_NEVER);   -- to how many receivers
 *
 *     filch_broadcast_receiver in;                          -- on the receiver's stack
 *     r = filch_broadcast_subscribe(news, &in);
 *     while ((r = filch_broadcast_recv(&in, &item, &lost, FILCH_NEVER)) != -EPIPE)
 *         if (r == 0)
 *             use(&item);
 *         else if (r == -EOVERFLOW)
 *             report(lost);                                 -- too slow: so many are gone
 *     filch_broadcast_unsubscribe(&in);
 *
 * A receiver gets each message that is sent from its subscription on, in the order in which they
 * were sent, which is the same for all. The last `capacity` of them are kept, exactly as many as
 * were asked for. What happens to a receiver that falls further behind is chosen when the broadcast
 * is made:
 *
 *   - as a rule senders never wait. The oldest message is overwritten; a receiver that had not got
 *     it is told how many it has lost, and goes on with the oldest that is kept;
 *   - with FILCH_BROADCAST_KEEP nothing is lost: senders wait for the slowest receiver.
 *
 * Messages are plain bytes, copied in and out once for each receiver: what a pointer in them points
 * to is the program's to count. What is overwritten is not handed to anybody. */
#ifndef FILCH_BROADCAST_H
#define FILCH_BROADCAST_H

#include <filch/base.h>
#include <filch/future.h>
#include <filch/select.h>
#include <filch/stream.h>

FILCH_BEGIN_DECLS

/* What senders have: a reference each. */
typedef struct filch_broadcast filch_broadcast;

/* In the caller's memory, from subscribe to unsubscribe; may move while nobody waits by it. All
 * zero it is unsubscribed. Used by one task or thread at a time. The fields are private. */
typedef struct filch_broadcast_receiver {
    filch_broadcast *broadcast;
    uint64_t next;
    size_t slot;
} filch_broadcast_receiver;

enum filch_broadcast_flags {
    FILCH_BROADCAST_KEEP = 1, /* senders wait while the slowest receiver is `capacity` behind */
};

/* ---- senders ---- */

/**
 * filch_broadcast_new() - make a broadcast
 * @bytes:    size of a message, 1 to 65536
 * @capacity: messages that are kept, at least 1
 * @flags:    enum filch_broadcast_flags, or 0
 * @ret_broadcast: gets a sender's reference
 *
 * Thread-safety: any thread. Suspends: no. Return: 0; -EINVAL; -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_broadcast_new(size_t bytes, size_t capacity, unsigned flags,
                                                   filch_broadcast **ret_broadcast);

/** filch_broadcast_ref() - one more sender. Thread-safety: any thread that has a reference.
 * Suspends: no. Return: @broadcast. */
FILCH_API filch_broadcast *filch_broadcast_ref(filch_broadcast *broadcast);

/** filch_broadcast_unref() - a sender goes; the last one closes. The memory goes with the last
 * receiver. NULL is allowed. Thread-safety: any thread. Suspends: no. */
FILCH_API void filch_broadcast_unref(filch_broadcast *broadcast);

/**
 * filch_broadcast_send() - send to all who are subscribed
 * @msg:   copied from here
 * @until: for FILCH_BROADCAST_KEEP, when there is no room: FILCH_NOW tries once. Otherwise it never
 *         waits.
 *
 * Without a receiver the message goes nowhere, and that is no error. Thread-safety: any task or
 * plain thread, any number at once; senders that wait are served in order. Suspends: only with
 * FILCH_BROADCAST_KEEP. Cancellation point: only when it waits; the message was not sent then.
 * Return: how many receivers there are, 0 or more; -EPIPE (closed); -ETIMEDOUT; -ECANCELED; -EINVAL
 * (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_broadcast_send(filch_broadcast *broadcast, const void *msg,
                                                    filch_time until);

/** filch_broadcast_close() - no more messages: senders, waiting ones too, get -EPIPE; receivers get
 * what is kept for them, then -EPIPE. Closing twice is allowed. Thread-safety: any thread that has
 * a reference. Suspends: no. Return: 0; -EINVAL (NULL). */
FILCH_API int filch_broadcast_close(filch_broadcast *broadcast);

/** filch_broadcast_is_closed() - was it closed, or has the last sender gone? Thread-safety: any
 * thread that has a reference. Suspends: no. Return: false for NULL, too. */
FILCH_API bool filch_broadcast_is_closed(filch_broadcast *broadcast);

/** filch_broadcast_receivers() - how many there are at some moment of the call; 0 for NULL. */
FILCH_API size_t filch_broadcast_receivers(filch_broadcast *broadcast);

/** filch_broadcast_senders() - the same of senders. */
FILCH_API size_t filch_broadcast_senders(filch_broadcast *broadcast);

/**
 * filch_broadcast_abandoned() - wait until there is no receiver, to stop work that nobody hears of
 * @until: FILCH_NOW looks once
 *
 * Thread-safety: any task or plain thread that has a reference, any number at once. Suspends: yes.
 * Cancellation point: yes. Return: 0 (there is none, or there was none for a moment); -ETIMEDOUT;
 * -ECANCELED; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_broadcast_abandoned(filch_broadcast *broadcast,
                                                         filch_time until);

/* ---- weak references: all functions work with them, but they keep nothing open ---- */

/** filch_broadcast_weak_ref() - one more reference that keeps the memory only. Thread-safety: any
 * thread that has one of any kind, or a receiver. Suspends: no. Return: @broadcast; NULL for NULL.
 */
FILCH_API filch_broadcast *filch_broadcast_weak_ref(filch_broadcast *broadcast);

/** filch_broadcast_weak_unref() - gives such a reference back. NULL is allowed. Thread-safety: any
 * thread. Suspends: no. */
FILCH_API void filch_broadcast_weak_unref(filch_broadcast *broadcast);

/**
 * filch_broadcast_sender_ref() - one more sender, if it is still open
 *
 * For who has a weak reference, or a receiver. Thread-safety: as filch_broadcast_weak_ref().
 * Suspends: no. Return: @broadcast; NULL (closed: the caller's own reference is as it was; or
 * NULL).
 */
FILCH_API FILCH_MUST_CHECK filch_broadcast *filch_broadcast_sender_ref(filch_broadcast *broadcast);

/* ---- receivers ---- */

/**
 * filch_broadcast_subscribe() - receive what is sent from now on
 * @broadcast: borrowed for the call: the receiver lives on after the senders
 * @receiver:  filled
 *
 * Thread-safety: any thread that has a reference. Suspends: no. Return: 0; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_broadcast_subscribe(filch_broadcast *broadcast,
                                                         filch_broadcast_receiver *receiver);

/** filch_broadcast_receiver_dup() - one more receiver, which goes on where @from is. Thread-safety:
 * the owner of @from. Suspends: no. Return: 0; -EINVAL (NULL, or @from is unsubscribed). */
FILCH_API FILCH_MUST_CHECK int filch_broadcast_receiver_dup(const filch_broadcast_receiver *from,
                                                            filch_broadcast_receiver *receiver);

/** filch_broadcast_resubscribe() - one more receiver, of what is sent from now on; also after the
 * last sender has gone. Thread-safety: the owner of @from. Suspends: no. Return: 0; -EINVAL (NULL,
 * or @from is unsubscribed). */
FILCH_API FILCH_MUST_CHECK int filch_broadcast_resubscribe(const filch_broadcast_receiver *from,
                                                           filch_broadcast_receiver *receiver);

/** filch_broadcast_of() - what a receiver is subscribed to, as long as it is: to be asked,
 * compared, or to take a reference of. Thread-safety: its owner. Suspends: no. Return: borrowed;
 * NULL for NULL and a receiver that is unsubscribed. */
FILCH_API filch_broadcast *filch_broadcast_of(const filch_broadcast_receiver *receiver);

/** filch_broadcast_unsubscribe() - the end of a receiver: nobody waits for it any more. NULL and
 * receivers that are unsubscribed are allowed. Thread-safety: its owner. Suspends: no. */
FILCH_API void filch_broadcast_unsubscribe(filch_broadcast_receiver *receiver);

/**
 * filch_broadcast_recv() - take the next message, waiting while there is none
 * @msg:      filled with 0 only; the size of a message
 * @ret_lost: set with -EOVERFLOW only: how many messages were overwritten; may be NULL
 * @until:    FILCH_NOW tries once
 *
 * Thread-safety: the receiver's owner; a task or plain thread. Suspends: yes. Cancellation point:
 * yes; nothing was taken. Return: 0; -EOVERFLOW (messages were lost; the next call goes on with the
 * oldest that is kept); -EPIPE (closed, and all was received); -ETIMEDOUT; -ECANCELED; -EINVAL
 * (NULL, or unsubscribed).
 */
FILCH_API FILCH_MUST_CHECK int filch_broadcast_recv(filch_broadcast_receiver *receiver, void *msg,
                                                    uint64_t *ret_lost, filch_time until);

/** filch_broadcast_len() - messages that are kept for a receiver at some moment of the call; 0 for
 * NULL and one that is unsubscribed. Thread-safety: its owner. */
FILCH_API size_t filch_broadcast_len(const filch_broadcast_receiver *receiver);

/* ---- in selects, futures and streams ---- */

/** filch_case_broadcast() - a case of a select: filch_broadcast_recv(). @msg and @ret_lost are
 * written only if the case wins. Its result is 0, -EOVERFLOW or -EPIPE. NULL (but for @ret_lost),
 * and a receiver that is unsubscribed, make a case that filch_select() refuses. */
FILCH_API filch_case filch_case_broadcast(filch_broadcast_receiver *receiver, void *msg,
                                          uint64_t *ret_lost);

/** filch_case_broadcast_send() - a case of a select: filch_broadcast_send(). @msg is read when the
 * case wins, and must be there, unchanged, until the select returns. Its result is how many
 * receivers there are, or -EPIPE. NULL makes a case that filch_select() refuses. */
FILCH_API filch_case filch_case_broadcast_send(filch_broadcast *broadcast, const void *msg);

/** filch_case_broadcast_abandoned() - a case of a select: filch_broadcast_abandoned(). Its result
 * is 0. NULL makes a case that filch_select() refuses. */
FILCH_API filch_case filch_case_broadcast_abandoned(filch_broadcast *broadcast);

/* A future that receives. The fields but base are private. */
typedef struct filch_broadcast_future {
    filch_future base;
    filch_broadcast_receiver *receiver;
    void *msg;
    uint64_t *ret_lost;
    uint32_t phase;
    uint64_t private_words[9];
} filch_broadcast_future;

/**
 * filch_broadcast_future_init() - a future of the next message
 * @future:   caller's memory, which must stay where it is once polled, until it is ready or dropped
 * @receiver: borrowed as long; it must stay where it is, and nobody else may receive by it
 * @msg:      filled in the poll that is ready with result 0, and not before
 * @ret_lost: set with -EOVERFLOW only; may be NULL
 *
 * Dropped before it was ready it has taken nothing. Result: 0; -EOVERFLOW, -EPIPE: see
 * filch_broadcast_recv(). Thread-safety: the receiver's owner. Suspends: no. Return: 0; -EINVAL
 * (NULL, or unsubscribed).
 */
FILCH_API FILCH_MUST_CHECK int filch_broadcast_future_init(filch_broadcast_future *future,
                                                           filch_broadcast_receiver *receiver,
                                                           void *msg, uint64_t *ret_lost);

/* A stream of messages. The fields but base are private. */
typedef struct filch_broadcast_stream {
    filch_stream base;
    filch_broadcast_receiver *receiver;
    uint64_t *ret_lost;
    filch_broadcast_future recv;
    bool waits;
} filch_broadcast_stream;

/**
 * filch_broadcast_stream_init() - a stream of the messages that a receiver gets, until it is closed
 * @receiver: borrowed until the drop
 * @ret_lost: set each time that the stream fails with -EOVERFLOW, after which it goes on; may be
 *            NULL
 *
 * Items have the size of a message. Return: 0; -EINVAL (NULL, or unsubscribed).
 */
FILCH_API FILCH_MUST_CHECK int filch_broadcast_stream_init(filch_broadcast_stream *stream,
                                                           filch_broadcast_receiver *receiver,
                                                           uint64_t *ret_lost);

FILCH_END_DECLS

#endif
