/* The latest value of something, for any number of readers: a configuration, a state, a progress.
 *
 *     filch_watch *watch;                                   -- the senders' side
 *     r = filch_watch_new(sizeof config, &config, &watch);
 *     r = filch_watch_send(watch, &config);                 -- replaces it, wakes all readers
 *
 *     filch_watch_reader reader;                            -- on the reader's stack
 *     r = filch_watch_subscribe(watch, &reader);
 *     while ((r = filch_watch_changed(&reader, FILCH_NEVER)) == 0) {
 *         r = filch_watch_get(&reader, &config);            -- a copy; or, in place:
 *
 *         filch_rcu_read_begin();                           -- no suspension from here ...
 *         use(filch_watch_borrow(&reader));
 *         filch_rcu_read_end();                             -- ... to here
 *     }
 *     filch_watch_unsubscribe(&reader);                     -- -EPIPE: the last sender has gone
 *
 * A reader sees the latest value, not each of them: those that are replaced before it looks are
 * skipped. It has a mark, the version that it has seen, which its reads set; changed() waits for
 * another one. A value that was sent before the last sender went is still seen.
 *
 * Reading takes no lock, and never delays a sender: old values are freed after an RCU grace period
 * (filch/rcu.h), when every section that could see them has ended, some 64 of them or 16 KiB at a
 * time, and the rest with the watch. A value is plain bytes, copied in; what it points to is the
 * caller's.
 *
 * A send is kept also if there is no reader (others refuse it then): who subscribes later sees it.
 */
#ifndef FILCH_WATCH_H
#define FILCH_WATCH_H

#include <filch/base.h>
#include <filch/future.h>
#include <filch/rcu.h>
#include <filch/select.h>
#include <filch/stream.h>

FILCH_BEGIN_DECLS

/* What senders have: a reference each. */
typedef struct filch_watch filch_watch;

/* In the caller's memory, from subscribe to unsubscribe; may move while nobody waits by it. All
 * zero it is unsubscribed. Used by one task or thread at a time. The fields are private. */
typedef struct filch_watch_reader {
    filch_watch *watch;
    uint64_t seen;
} filch_watch_reader;

/* ---- senders ---- */

/**
 * filch_watch_new() - make a watch
 * @bytes:     size of a value, at least 1
 * @value:     the first one, copied
 * @ret_watch: gets a sender's reference
 *
 * Thread-safety: any thread. Suspends: no. Return: 0; -EINVAL; -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_watch_new(size_t bytes, const void *value,
                                               filch_watch **ret_watch);

/** filch_watch_ref() - one more sender. Thread-safety: any thread that has a reference. Suspends:
 * no. Return: @watch. */
FILCH_API filch_watch *filch_watch_ref(filch_watch *watch);

/** filch_watch_unref() - a sender goes. After the last one readers get -EPIPE once they have seen
 * the last value; the memory goes with the last reader. NULL is allowed. Thread-safety: any thread.
 * Suspends: no. */
FILCH_API void filch_watch_unref(filch_watch *watch);

/**
 * filch_watch_send() - replace the value, and wake the readers
 * @value: copied from here
 *
 * Thread-safety: any task or thread, any number at once; in RCU sections, too. Suspends: no.
 * Return: 0; -ENOMEM (the old value stays); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_watch_send(filch_watch *watch, const void *value);

/**
 * filch_watch_modify() - change the value, if a function wants to
 * @fn:  gets a copy of the value, and changes it. Returns 1: it becomes the value, and readers are
 *       woken; 0: nothing has happened; a negative error: the same. It must not suspend or block.
 *       If somebody else has sent meanwhile it is called again, with a copy of what was sent: so
 *       nothing that was sent is overwritten unseen, and no lock is held while it runs.
 * @arg: passed to @fn
 *
 * Thread-safety: as filch_watch_send(). Suspends: no. Return: what @fn returned last; -ENOMEM;
 * -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_watch_modify(filch_watch *watch,
                                                  int (*fn)(void *arg, void *value), void *arg);

/**
 * filch_watch_replace() - replace the value, and get the one that was there
 * @value: copied from here
 * @old:   gets what it replaces, and nobody else gets that; may be @value. Written on success only,
 *         but for -ENOMEM in a plain thread
 *
 * Thread-safety: as filch_watch_send(). Suspends: no. Return: 0; -ENOMEM (the old value stays);
 * -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_watch_replace(filch_watch *watch, const void *value,
                                                   void *old);

/**
 * filch_watch_latest() - a copy of the value, for senders
 * @value: gets it
 *
 * Thread-safety: any task or thread. Suspends: no. Return: 0; -EINVAL (NULL); -ENOMEM (in a plain
 * thread only).
 */
FILCH_API FILCH_MUST_CHECK int filch_watch_latest(filch_watch *watch, void *value);

/** filch_watch_readers() - how many there are at some moment of the call; 0 for NULL. */
FILCH_API size_t filch_watch_readers(filch_watch *watch);

/** filch_watch_senders() - the same of senders. */
FILCH_API size_t filch_watch_senders(filch_watch *watch);

/**
 * filch_watch_abandoned() - wait until there is no reader, to stop work that nobody looks at
 * @until: FILCH_NOW looks once
 *
 * Thread-safety: any task or plain thread, any number at once. Suspends: yes. Cancellation point:
 * yes. Return: 0 (there is none, or there was none for a moment); -ETIMEDOUT; -ECANCELED; -EINVAL
 * (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_watch_abandoned(filch_watch *watch, filch_time until);

/* ---- readers ---- */

/**
 * filch_watch_subscribe() - become a reader, who has seen the present value
 * @watch:  borrowed for the call: the reader lives on after the senders
 * @reader: filled
 *
 * Thread-safety: any thread that has a reference. Suspends: no. Return: 0; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_watch_subscribe(filch_watch *watch,
                                                     filch_watch_reader *reader);

/** filch_watch_reader_dup() - one more reader, of the same watch and with the same mark; also after
 * the last sender has gone. Thread-safety: the owner of @from. Suspends: no. Return: 0; -EINVAL
 * (NULL, or @from is unsubscribed). */
FILCH_API FILCH_MUST_CHECK int filch_watch_reader_dup(const filch_watch_reader *from,
                                                      filch_watch_reader *reader);

/** filch_watch_unsubscribe() - the end of a reader; of what it borrowed, too. NULL and readers that
 * are unsubscribed are allowed. Thread-safety: its owner. Suspends: no. */
FILCH_API void filch_watch_unsubscribe(filch_watch_reader *reader);

/**
 * filch_watch_changed() - wait for a value that the reader has not seen, and mark it as seen
 * @until: FILCH_NOW looks once
 *
 * Thread-safety: the reader's owner; a task or plain thread. Suspends: yes. Cancellation point:
 * yes; the mark is where it was, so that the next call sees what has come meanwhile. Return: 0;
 * -EPIPE (the last sender has gone, and its value was seen); -ETIMEDOUT; -ECANCELED; -EINVAL (NULL,
 * or unsubscribed).
 */
FILCH_API FILCH_MUST_CHECK int filch_watch_changed(filch_watch_reader *reader, filch_time until);

/** filch_watch_has_changed() - would filch_watch_changed() return 0 at once? The mark stays where
 * it is. Thread-safety: the reader's owner. Suspends: no. Return: 1; 0; -EPIPE, -EINVAL as there.
 */
FILCH_API int filch_watch_has_changed(const filch_watch_reader *reader);

/**
 * filch_watch_borrow() - the value in place, which is marked as seen
 *
 * Valid up to the end of the RCU section that the caller is in, or to the unsubscribe: it does not
 * change meanwhile. Aborts outside of a section. Thread-safety: the reader's owner, wherever RCU
 * sections are allowed. Suspends: no. Return: the value, aligned to 16; NULL for NULL or a reader
 * that is unsubscribed.
 */
FILCH_API const void *filch_watch_borrow(filch_watch_reader *reader);

/**
 * filch_watch_get() - a copy of the value, which is marked as seen
 * @value: gets it
 *
 * Thread-safety: the reader's owner; anywhere. Suspends: no. Return: 0, also when the last sender
 * has gone; -EINVAL (NULL, or unsubscribed); -ENOMEM (in a plain thread only).
 */
FILCH_API FILCH_MUST_CHECK int filch_watch_get(filch_watch_reader *reader, void *value);

/**
 * filch_watch_wait_for() - wait for a value for which a function says true; the present one counts
 * @fn:    must not suspend: it looks at the value in place. Called for values as they come, not for
 *         those that are replaced too soon.
 * @arg:   passed to @fn
 * @value: gets a copy of what @fn was content with; may be NULL
 * @until: FILCH_NOW looks once
 *
 * What was looked at is marked as seen. Thread-safety: the reader's owner; a task or plain thread.
 * Suspends: yes. Cancellation point: yes. Return: 0; -EPIPE (the last sender has gone, and with
 * none of its values was @fn content); -ETIMEDOUT; -ECANCELED; -EINVAL (NULL, or unsubscribed);
 * -ENOMEM (in a plain thread only).
 */
FILCH_API FILCH_MUST_CHECK int filch_watch_wait_for(filch_watch_reader *reader,
                                                    bool (*fn)(void *arg, const void *value),
                                                    void *arg, void *value, filch_time until);

/** filch_watch_mark_changed() - forget the mark: filch_watch_changed() returns at once. Thread-
 * safety: the reader's owner. Suspends: no. */
FILCH_API void filch_watch_mark_changed(filch_watch_reader *reader);

/** filch_watch_mark_seen() - mark the present value as seen, unread. Thread-safety: the reader's
 * owner. Suspends: no. */
FILCH_API void filch_watch_mark_seen(filch_watch_reader *reader);

/* ---- in selects, futures and streams ---- */

/** filch_case_watch_changed() - a case of a select: filch_watch_changed(). Its result is 0 or
 * -EPIPE; only if it wins with 0 the mark has moved. NULL, and a reader that is unsubscribed, make
 * a case that filch_select() refuses. */
FILCH_API filch_case filch_case_watch_changed(filch_watch_reader *reader);

/** filch_case_watch_abandoned() - a case of a select: filch_watch_abandoned(). Its result is 0. */
FILCH_API filch_case filch_case_watch_abandoned(filch_watch *watch);

/* A future that waits for a change. The fields but base are private. */
typedef struct filch_watch_future {
    filch_future base;
    filch_watch_reader *reader;
    uint32_t phase;
    uint64_t private_words[9];
} filch_watch_future;

/**
 * filch_watch_future_init() - a future that is ready when there is a value that was not seen
 * @future: caller's memory, which must stay where it is once polled, until it is ready or dropped
 * @reader: borrowed as long; it must stay where it is, and nobody else may wait by it
 *
 * Result: 0, and the mark has moved; -EPIPE. Thread-safety: the reader's owner. Suspends: no.
 * Return: 0; -EINVAL (NULL, or unsubscribed).
 */
FILCH_API FILCH_MUST_CHECK int filch_watch_future_init(filch_watch_future *future,
                                                       filch_watch_reader *reader);

/* A stream of values. The fields but base are private. */
typedef struct filch_watch_stream {
    filch_stream base;
    filch_watch_reader *reader;
    filch_watch_future changed;
    bool waits;
} filch_watch_stream;

/**
 * filch_watch_stream_init() - a stream of the values that a reader has not seen, the latest each
 * time; ends when the last sender has gone
 * @reader: borrowed until the drop. After filch_watch_mark_changed() the present value comes first.
 *
 * Items have the size of the value. Return: 0; -EINVAL (NULL, or unsubscribed).
 */
FILCH_API FILCH_MUST_CHECK int filch_watch_stream_init(filch_watch_stream *stream,
                                                       filch_watch_reader *reader);

FILCH_END_DECLS

#endif
