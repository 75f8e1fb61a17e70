/* Delay queues: items that come out when their time has come, the earliest first.
 *
 *     struct session {
 *         filch_delay_item expiry;
 *         ...
 *     };
 *
 *     filch_delay_queue_insert(&expiries, &session->expiry, filch_after(30 * FILCH_SECOND));
 *     filch_delay_queue_reset(&expiries, &session->expiry, filch_after(30 * FILCH_SECOND));
 *     ...
 *     while (filch_delay_queue_next(&expiries, &item, FILCH_NEVER) == 0)
 *         ...
 *
 * An item is part of the caller's own struct and is also its key; the queue allocates nothing. Any
 * number of tasks may take items; each item comes to one of them. Insert, reset and remove take
 * time with the logarithm of the number of items.
 */
#ifndef FILCH_DELAY_QUEUE_H
#define FILCH_DELAY_QUEUE_H

#include <filch/base.h>
#include <filch/select.h>

FILCH_BEGIN_DECLS

/* Lives in the caller's memory and must stay where it is. The fields are private. */
typedef struct filch_delay_queue {
    uint64_t private_words[7];
} filch_delay_queue;

/* Zero at first. It belongs to the queue, and must stay where it is, from the insert until it was
 * taken or removed. The fields are private. */
typedef struct filch_delay_item {
    uint64_t private_words[7];
} filch_delay_item;

/* Empty and open, at compile time. */
#define FILCH_DELAY_QUEUE_INIT                                                                     \
    {                                                                                              \
        {                                                                                          \
            0, 0, 0, 0, 0, 0, 0                                                                    \
        }                                                                                          \
    }

/** filch_delay_queue_init() - prepare a queue in the caller's memory. NULL is allowed. Suspends:
 * no.
 */
FILCH_API void filch_delay_queue_init(filch_delay_queue *queue);

/** filch_delay_queue_fini() - the end of a queue. It must be empty and nobody may be waiting in it;
 * checked. NULL is allowed. Suspends: no. */
FILCH_API void filch_delay_queue_fini(filch_delay_queue *queue);

/**
 * filch_delay_queue_insert() - put an item in
 * @item: the queue's, if successful
 * @at:   when it comes out; FILCH_NOW and the past: at once; FILCH_NEVER: not before a reset
 *
 * Items of the same time come out in the order in which they were inserted or reset.
 * Thread-safety: any thread. Suspends: no. Return: 0; -EBUSY (the item is in a queue already);
 * -EPIPE (closed); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_delay_queue_insert(filch_delay_queue *queue,
                                                        filch_delay_item *item, filch_time at);

/** filch_delay_queue_remove() - take an item out before its time. It is the caller's then.
 * Thread-safety: any thread. Suspends: no. Return: 0; -ESRCH (not in this queue: it was taken, or
 * never put in); -EINVAL (NULL). */
FILCH_API int filch_delay_queue_remove(filch_delay_queue *queue, filch_delay_item *item);

/** filch_delay_queue_reset() - give an item another time, also if the queue is closed.
 * Thread-safety: any thread. Suspends: no. Return: 0; -ESRCH (not in this queue); -EINVAL (NULL).
 */
FILCH_API int filch_delay_queue_reset(filch_delay_queue *queue, filch_delay_item *item,
                                      filch_time at);

/**
 * filch_delay_queue_next() - take the earliest item whose time has come, waiting for it
 * @ret_item: gets the item, which is the caller's from here on; not written on failure
 * @until:    FILCH_NOW takes one that is due already
 *
 * No item is early. Thread-safety: any task or plain thread, any number at once. Suspends: yes.
 * Cancellation point: yes; no item was taken then. Return: 0; -EPIPE (closed and empty);
 * -ETIMEDOUT; -ECANCELED; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int
filch_delay_queue_next(filch_delay_queue *queue, filch_delay_item **ret_item, filch_time until);

/** filch_delay_queue_close() - nothing more can be inserted. What is in comes out at its time; then
 * takers get -EPIPE. Closing twice is allowed. Thread-safety: any thread. Suspends: no. Return: 0;
 * -EINVAL (NULL). */
FILCH_API int filch_delay_queue_close(filch_delay_queue *queue);

/** filch_delay_queue_len() - items in it, due or not, at some moment of the call. Thread-safety:
 * any thread. Suspends: no. Return: the number; 0 for NULL. */
FILCH_API size_t filch_delay_queue_len(filch_delay_queue *queue);

/**
 * filch_case_delay() - a case of a select: filch_delay_queue_next()
 * @ret_item: written only if the case wins with result 0
 *
 * The case's result is 0 or -EPIPE (closed and empty). NULL makes a case that filch_select()
 * refuses.
 */
FILCH_API filch_case filch_case_delay(filch_delay_queue *queue, filch_delay_item **ret_item);

FILCH_END_DECLS

#endif
