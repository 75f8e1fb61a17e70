/* One value, once, from one sender to one receiver.
 *
 *     filch_oneshot_tx *tx;
 *     filch_oneshot_rx *rx;
 *
 *     r = filch_oneshot_new(sizeof answer, &tx, &rx);
 *     r = filch_spawn(ask, tx);                       -- who ends with filch_oneshot_send(tx,
 * &answer) r = filch_oneshot_recv(rx, &answer, filch_after(FILCH_SECOND)); if (r == -ETIMEDOUT)
 *         filch_oneshot_close(rx, NULL);              -- the sender learns that nobody waits any
 * more
 *
 * Each end is a handle with one owner, who ends it exactly once: the sender by filch_oneshot_send()
 * or filch_oneshot_drop(), the receiver by a filch_oneshot_recv() that returns 0 or -EPIPE, or by
 * filch_oneshot_close(). Nothing is shared in anybody's frame, so neither end can outlive the
 * other's memory, and nothing is allocated but from a pool that is kept. An end is used by one task
 * or thread at a time; a handle that was ended is refused with -EBADF.
 *
 * A value is never lost: either the receiver gets it, or the sender is told -EPIPE and still has
 * it.
 */
#ifndef FILCH_ONESHOT_H
#define FILCH_ONESHOT_H

#include <filch/base.h>
#include <filch/future.h>
#include <filch/select.h>

FILCH_BEGIN_DECLS

typedef struct filch_oneshot_tx filch_oneshot_tx;
typedef struct filch_oneshot_rx filch_oneshot_rx;

/* Largest value; larger ones go by pointer. */
#define FILCH_ONESHOT_BYTES_MAX 96

/**
 * filch_oneshot_new() - make both ends
 * @bytes:  size of the value, 1 to FILCH_ONESHOT_BYTES_MAX; it is copied in and out
 * @ret_tx: gets the sender's end
 * @ret_rx: gets the receiver's end
 *
 * Thread-safety: any thread. Suspends: no. Return: 0; -EINVAL; -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_oneshot_new(size_t bytes, filch_oneshot_tx **ret_tx,
                                                 filch_oneshot_rx **ret_rx);

/**
 * filch_oneshot_send() - give the value, and end the sender's end
 * @tx:    consumed with 0 and -EPIPE
 * @value: copied from here
 *
 * Thread-safety: the owner of @tx; any task or thread. Suspends: no. Return: 0 (the receiver gets
 * it, unless it closes: see filch_oneshot_close()); -EPIPE (the receiver has gone: the value was
 * not taken); -EBUSY (somebody waits for the closing by the same handle); -EBADF (@tx was ended);
 * -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_oneshot_send(filch_oneshot_tx *tx, const void *value);

/**
 * filch_oneshot_drop() - end the sender's end without a value: the receiver gets -EPIPE
 * @tx: consumed with 0; NULL is allowed
 *
 * Thread-safety: the owner of @tx. Suspends: no. Return: 0; -EBUSY, -EBADF: as
 * filch_oneshot_send().
 */
FILCH_API int filch_oneshot_drop(filch_oneshot_tx *tx);

/**
 * filch_oneshot_closed() - wait until the receiver has gone, to stop work that nobody waits for
 * @tx:    borrowed
 * @until: FILCH_NOW looks once
 *
 * Thread-safety: the owner of @tx; a task or plain thread. Suspends: yes. Cancellation point: yes.
 * Return: 0 (it has gone); -ETIMEDOUT; -ECANCELED; -EBUSY, -EBADF: as filch_oneshot_send(); -EINVAL
 * (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_oneshot_closed(filch_oneshot_tx *tx, filch_time until);

/**
 * filch_oneshot_recv() - wait for the value
 * @rx:    consumed with 0 and -EPIPE; otherwise still the caller's, who tries again or closes
 * @value: filled with 0 only
 * @until: FILCH_NOW looks once
 *
 * Thread-safety: the owner of @rx; a task or plain thread. Suspends: yes. Cancellation point: yes;
 * a value that is sent at that moment is returned, or kept for the next call. Return: 0; -EPIPE
 * (the sender has gone without a value); -ETIMEDOUT; -ECANCELED; -EBUSY (somebody else waits by the
 * same handle); -EBADF (@rx was ended); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_oneshot_recv(filch_oneshot_rx *rx, void *value,
                                                  filch_time until);

/**
 * filch_oneshot_close() - end the receiver's end, whatever has been sent
 * @rx:    consumed with 0 and -EPIPE
 * @value: filled with 0 only; NULL: a value is let go, which is all right if it owns nothing
 *
 * From then on a send is refused. Thread-safety: the owner of @rx. Suspends: no. Return: 0 (a value
 * had been sent, and is in @value); -EPIPE (none was, and none will be); -EBUSY, -EBADF: as
 * filch_oneshot_recv(); -EINVAL (@rx is NULL).
 */
FILCH_API int filch_oneshot_close(filch_oneshot_rx *rx, void *value);

/**
 * filch_case_oneshot() - a case of a select: filch_oneshot_recv()
 * @value: written only if the case wins with result 0
 *
 * The case's result is 0, -EPIPE, -EBUSY or -EBADF. NULL makes a case that filch_select() refuses.
 */
FILCH_API filch_case filch_case_oneshot(filch_oneshot_rx *rx, void *value);

/**
 * filch_case_oneshot_closed() - a case of a select: filch_oneshot_closed()
 *
 * The case's result is 0, -EBUSY or -EBADF. NULL makes a case that filch_select() refuses.
 */
FILCH_API filch_case filch_case_oneshot_closed(filch_oneshot_tx *tx);

/* A future that receives. The fields but base are private. */
typedef struct filch_oneshot_future {
    filch_future base;
    filch_oneshot_rx *rx;
    void *value;
    uint32_t phase;
    uint64_t private_words[9];
} filch_oneshot_future;

/**
 * filch_oneshot_future_init() - a future of the value
 * @future: caller's memory, which must stay where it is once polled, until it is ready or dropped
 * @rx:     consumed when the future is ready with 0 or -EPIPE, and not before: dropped earlier, the
 *          caller still has it, and with it a value that was sent meanwhile
 * @value:  filled in the poll that is ready with result 0, and not before
 *
 * Result: 0; -EPIPE, -EBUSY, -EBADF: see filch_oneshot_recv(). Thread-safety: the owner of @rx.
 * Suspends: no. Return: 0; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_oneshot_future_init(filch_oneshot_future *future,
                                                         filch_oneshot_rx *rx, void *value);

/* A future that waits for the receiver to go. The fields but base are private. */
typedef struct filch_oneshot_closed_future {
    filch_future base;
    filch_oneshot_tx *tx;
    uint32_t phase;
    uint64_t private_words[9];
} filch_oneshot_closed_future;

/**
 * filch_oneshot_closed_future_init() - a future that is ready when the receiver has gone
 * @future: as above
 * @tx:     borrowed until it is ready or dropped; before that it cannot be sent with: -EBUSY
 *
 * Result: 0; -EBUSY; -EBADF. Thread-safety: the owner of @tx. Suspends: no. Return: 0; -EINVAL
 * (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_oneshot_closed_future_init(filch_oneshot_closed_future *future,
                                                                filch_oneshot_tx *tx);

FILCH_END_DECLS

#endif
