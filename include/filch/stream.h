/* Streams: sequences whose items come over time.
 *
 *     filch_chan_stream in;
 *     filch_filter_stream big;
 *     filch_take_stream first;
 *
 *     filch_chan_stream_init(&in, chan, sizeof(int));
 *     filch_filter_stream_init(&big, &in.base, is_big, NULL);
 *     filch_take_stream_init(&first, &big.base, 10);
 *     while ((r = filch_stream_next(&first.base, &item, FILCH_NEVER)) > 0)
 *         use(item);
 *     filch_stream_drop(&first.base);      drops what it reads from as well
 *
 * Each stream is a struct in the caller's memory that begins with a filch_stream, and must stay
 * where it is from its first use to its drop. Nothing is allocated for an item; nobody takes an
 * item before somebody asks for it, so a slow consumer holds up its producer, and no more than one
 * item is under way in each stage.
 *
 * A stream is read by one caller at a time, by filch_stream_next() or as a future. An item is never
 * lost: a call that times out or is cancelled, and a future that is abandoned, have taken nothing,
 * or keep what they have for the next one. An error is not the end: the stream may be read further.
 *
 * A stage owns the stream that it reads from: dropping it drops that one too. Init functions return
 * -EINVAL for a NULL or a size out of range, and own nothing then.
 */
#ifndef FILCH_STREAM_H
#define FILCH_STREAM_H

#include <filch/base.h>
#include <filch/chan.h>
#include <filch/future.h>
#include <filch/task.h>
#include <filch/time.h>

FILCH_BEGIN_DECLS

/* Stages keep items of up to so many bytes; larger ones go by pointer. */
#define FILCH_STREAM_ITEM_MAX 64

typedef struct filch_stream filch_stream;

/* First member of every stream. */
struct filch_stream {
    /* As a future's poll: must not suspend. Return: 1 (an item, in @item); 0 (the end: it is not
     * called again); -EAGAIN (pending: a clone of the context's waker is kept, and woken when
     * polling is worth while); another negative error. @item is written with an item only. */
    int (*poll_next)(filch_stream *self, filch_cx *cx, void *item);
    /* Releases what it owns. May be NULL. */
    void (*drop)(filch_stream *self);
    size_t item_bytes;
    bool ended;
};

/**
 * filch_stream_next() - wait for the next item
 * @item:  item_bytes; filled with an item only
 * @until: FILCH_NOW looks once
 *
 * Thread-safety: a task, or a plain thread (which then blocks); one at a time. Suspends: yes.
 * Cancellation point: yes; no item is lost. Return: 1 (an item); 0 (the end, now and for ever);
 * -ETIMEDOUT; -ECANCELED; -EINVAL (NULL); what the stream fails with, such as what a function given
 * to map returned; -ENOMEM (in a plain thread only).
 */
FILCH_API FILCH_MUST_CHECK int filch_stream_next(filch_stream *stream, void *item,
                                                 filch_time until);

/** filch_stream_drop() - end a stream and what it reads from, at any time. NULL does nothing, and
 * so does a second drop. Suspends: only where the stage's init says so. */
FILCH_API void filch_stream_drop(filch_stream *stream);

/* The next item as a future, whose result is as filch_stream_next()'s. */
typedef struct filch_next_future {
    filch_future base;
    filch_stream *stream;
    void *item;
} filch_next_future;

/** filch_next_future_init() - a future of the next item. May be abandoned at any time, and made
 * again. Return: 0; -EINVAL (NULL). */
FILCH_API FILCH_MUST_CHECK int filch_next_future_init(filch_next_future *next, filch_stream *stream,
                                                      void *item);

/* ---- where items come from. The fields of all streams but base are private. ---- */

typedef struct filch_array_stream {
    filch_stream base;
    const unsigned char *items;
    size_t left;
} filch_array_stream;

/** filch_array_stream_init() - the @count items of an array, which is borrowed. */
FILCH_API FILCH_MUST_CHECK int filch_array_stream_init(filch_array_stream *stream,
                                                       const void *items, size_t item_bytes,
                                                       size_t count);

typedef struct filch_fn_stream {
    filch_stream base;
    int (*fn)(void *context, void *item);
    void *context;
} filch_fn_stream;

/** filch_fn_stream_init() - what a function gives, which must not suspend: 1 for an item, 0 for the
 * end, or an error. */
FILCH_API FILCH_MUST_CHECK int filch_fn_stream_init(filch_fn_stream *stream, size_t item_bytes,
                                                    int (*fn)(void *context, void *item),
                                                    void *context);

typedef struct filch_chan_stream {
    filch_stream base;
    filch_chan *chan;
    filch_recv_future recv;
    bool waits;
} filch_chan_stream;

/** filch_chan_stream_init() - the messages of a channel, until it is closed and drained
 * @chan: borrowed until the drop
 * @item_bytes: as given to filch_chan_new()
 */
FILCH_API FILCH_MUST_CHECK int filch_chan_stream_init(filch_chan_stream *stream, filch_chan *chan,
                                                      size_t item_bytes);

typedef struct filch_interval_stream {
    filch_stream base;
    filch_time period_ns;
    filch_time next;
    uint64_t count;
    filch_sleep_future sleep;
} filch_interval_stream;

/** filch_interval_stream_init() - 0, 1, 2, ... (uint64_t), one each period, the first one period
 * from now. A late reader gets those that he missed at once. For tasks and spawned futures. */
FILCH_API FILCH_MUST_CHECK int filch_interval_stream_init(filch_interval_stream *stream,
                                                          filch_time period_ns);

/* ---- one in, one out ---- */

typedef struct filch_map_stream {
    filch_stream base;
    filch_stream *from;
    int (*fn)(void *context, const void *in, void *out);
    void *context;
    uint64_t in[FILCH_STREAM_ITEM_MAX / 8];
} filch_map_stream;

/** filch_map_stream_init() - each item through @fn, which must not suspend, and returns 0 or an
 * error, with which that item is lost. */
FILCH_API FILCH_MUST_CHECK int
filch_map_stream_init(filch_map_stream *stream, filch_stream *from, size_t out_bytes,
                      int (*fn)(void *context, const void *in, void *out), void *context);

/** filch_filter_map_stream_init() - as map; @fn returns 1 to keep what it made, 0 to leave it out,
 * or an error. */
FILCH_API FILCH_MUST_CHECK int
filch_filter_map_stream_init(filch_map_stream *stream, filch_stream *from, size_t out_bytes,
                             int (*fn)(void *context, const void *in, void *out), void *context);

/** filch_map_while_stream_init() - as map up to the first item for which @fn returns 0, which is
 * taken and lost, and is the end; 1: what it made is an item; or an error, with which that item is
 * lost. */
FILCH_API FILCH_MUST_CHECK int
filch_map_while_stream_init(filch_map_stream *stream, filch_stream *from, size_t out_bytes,
                            int (*fn)(void *context, const void *in, void *out), void *context);

typedef struct filch_filter_stream {
    filch_stream base;
    filch_stream *from;
    bool (*fn)(void *context, const void *item);
    void *context;
    bool over; /* of take_while and skip_while */
    uint64_t in[FILCH_STREAM_ITEM_MAX / 8];
} filch_filter_stream;

/** filch_filter_stream_init() - the items for which @fn says true. It must not suspend. */
FILCH_API FILCH_MUST_CHECK int filch_filter_stream_init(filch_filter_stream *stream,
                                                        filch_stream *from,
                                                        bool (*fn)(void *context, const void *item),
                                                        void *context);

/** filch_take_while_stream_init() - the items up to the first for which @fn says false, which is
 * taken and lost. */
FILCH_API FILCH_MUST_CHECK int
filch_take_while_stream_init(filch_filter_stream *stream, filch_stream *from,
                             bool (*fn)(void *context, const void *item), void *context);

/** filch_skip_while_stream_init() - the items from the first on for which @fn says false. */
FILCH_API FILCH_MUST_CHECK int
filch_skip_while_stream_init(filch_filter_stream *stream, filch_stream *from,
                             bool (*fn)(void *context, const void *item), void *context);

typedef struct filch_take_stream {
    filch_stream base;
    filch_stream *from;
    uint64_t left;
} filch_take_stream;

/** filch_take_stream_init() - the first @count items. */
FILCH_API FILCH_MUST_CHECK int filch_take_stream_init(filch_take_stream *stream, filch_stream *from,
                                                      uint64_t count);

/** filch_skip_stream_init() - all but the first @count items. */
FILCH_API FILCH_MUST_CHECK int filch_skip_stream_init(filch_take_stream *stream, filch_stream *from,
                                                      uint64_t count);

typedef struct filch_peek_stream {
    filch_stream base;
    filch_stream *from;
    bool has_item;
    uint64_t item[FILCH_STREAM_ITEM_MAX / 8];
} filch_peek_stream;

/** filch_peek_stream_init() - the same items, the next of which may be looked at before it is
 * taken.
 */
FILCH_API FILCH_MUST_CHECK int filch_peek_stream_init(filch_peek_stream *stream,
                                                      filch_stream *from);

/**
 * filch_stream_peek() - wait for the next item, and leave it there
 * @item: gets a copy, with an item only
 *
 * The next filch_stream_next() takes it. An error is told once, to whoever asks first. All else as
 * filch_stream_next(). Return: as filch_stream_next(); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_stream_peek(filch_peek_stream *stream, void *item,
                                                 filch_time until);

/* ---- several in, one out ---- */

typedef struct filch_chain_stream {
    filch_stream base;
    filch_stream **from;
    size_t count;
    size_t at;
} filch_chain_stream;

/** filch_chain_stream_init() - the items of the first of @from, then those of the next, ...
 * @from: borrowed array of streams, which are owned, with items of one size
 */
FILCH_API FILCH_MUST_CHECK int filch_chain_stream_init(filch_chain_stream *stream,
                                                       filch_stream **from, size_t count);

/** filch_merge_stream_init() - the items of all of @from as they come; streams that have ended
 * leave, and each has its turn. Arguments as filch_chain_stream_init(). */
FILCH_API FILCH_MUST_CHECK int filch_merge_stream_init(filch_chain_stream *stream,
                                                       filch_stream **from, size_t count);

typedef struct filch_zip_stream {
    filch_stream base;
    filch_stream *from[2];
    bool has_first;
    uint64_t first[FILCH_STREAM_ITEM_MAX / 8];
} filch_zip_stream;

/** filch_zip_stream_init() - pairs: an item is one of @a, directly followed by one of @b. Ends with
 * the first of them that ends. */
FILCH_API FILCH_MUST_CHECK int filch_zip_stream_init(filch_zip_stream *stream, filch_stream *a,
                                                     filch_stream *b);

/* A stream of a filch_keyed_stream; in the caller's memory while it is in there. Private. */
typedef struct filch_keyed_entry {
    filch_stream *from;
    void *private_link[2];
    uint64_t private_node[6];
} filch_keyed_entry;

typedef struct filch_keyed_stream {
    filch_stream base;
    void *private_ring[2];
    void *private_root;
    size_t private_count;
    uint64_t failed_key; /* whose the last error was; not private */
} filch_keyed_stream;

/**
 * filch_keyed_stream_init() - the items of streams that come and go, each under a key
 * @item_bytes: of the streams to come
 *
 * An item is the key, 8 bytes, directly followed by an item of the stream of that key. Each stream
 * has its turn; those that have ended leave, and are dropped. The end comes when there is none (any
 * more): after another insert the stream may be read on. Each read asks all of them, so this is for
 * some hundreds, not for many thousands.
 *
 * Insert and remove are for the caller who reads, between two reads.
 * Return: 0; -EINVAL (NULL; @item_bytes is 0 or more than FILCH_STREAM_ITEM_MAX).
 */
FILCH_API FILCH_MUST_CHECK int filch_keyed_stream_init(filch_keyed_stream *stream,
                                                       size_t item_bytes);

/** filch_keyed_stream_insert() - add a stream. @entry: borrowed until it was removed, has ended, or
 * the drop. @from: owned on success. Return: 0; -EEXIST (the key is taken); -EINVAL (NULL; items of
 * another size). */
FILCH_API FILCH_MUST_CHECK int filch_keyed_stream_insert(filch_keyed_stream *stream,
                                                         filch_keyed_entry *entry, uint64_t key,
                                                         filch_stream *from);

/** filch_keyed_stream_remove() - take a stream out; it is the caller's again, and has lost no item.
 * Return: the stream; NULL (there is none of that key, or it has ended; NULL). */
FILCH_API filch_stream *filch_keyed_stream_remove(filch_keyed_stream *stream, uint64_t key);

/** filch_keyed_stream_count() - how many are in it. NULL: 0. */
FILCH_API size_t filch_keyed_stream_count(const filch_keyed_stream *stream);

/* ---- with time. For tasks and spawned futures: elsewhere reading them gives -EPERM. ---- */

/* An item of filch_chunks_stream. */
typedef struct filch_chunk {
    const void *items; /* in the stage's buffer, until the next one is asked for */
    size_t count;      /* 1 or more */
} filch_chunk;

typedef struct filch_chunks_stream {
    filch_stream base;
    filch_stream *from;
    unsigned char *buffer;
    size_t most;
    size_t count;
    filch_time span_ns;
    filch_time flush_at;
    bool handed_out;
    bool timed;
    int kept; /* the end, or an error, that comes after the present chunk; 1: none */
    filch_sleep_future sleep;
} filch_chunks_stream;

/** filch_chunks_stream_init() - filch_chunk items of @most items each
 * @buffer:  borrowed: @most items
 * @span_ns: a chunk is given when so long has passed since its first item, even if it is not full;
 *           FILCH_NEVER: only when it is full, or at the end, or before an error
 */
FILCH_API FILCH_MUST_CHECK int filch_chunks_stream_init(filch_chunks_stream *stream,
                                                        filch_stream *from, void *buffer,
                                                        size_t most, filch_time span_ns);

typedef struct filch_gap_stream {
    filch_stream base;
    filch_stream *from;
    filch_time span_ns;
    filch_time at;
    bool has_item;
    bool timed;
    int kept;
    uint64_t item[FILCH_STREAM_ITEM_MAX / 8];
    filch_sleep_future sleep;
} filch_gap_stream;

/** filch_throttle_stream_init() - items no closer than @span_ns: the next one is not taken before.
 */
FILCH_API FILCH_MUST_CHECK int filch_throttle_stream_init(filch_gap_stream *stream,
                                                          filch_stream *from, filch_time span_ns);

/** filch_debounce_stream_init() - an item that is followed by no other for @span_ns, or by the end;
 * those that are followed sooner are left out. */
FILCH_API FILCH_MUST_CHECK int filch_debounce_stream_init(filch_gap_stream *stream,
                                                          filch_stream *from, filch_time span_ns);

/** filch_timeout_stream_init() - the same items; -ETIMEDOUT each time that none has come for
 * @span_ns since it was asked for. */
FILCH_API FILCH_MUST_CHECK int filch_timeout_stream_init(filch_gap_stream *stream,
                                                         filch_stream *from, filch_time span_ns);

/* ---- with tasks ---- */

struct filch__concurrent;

typedef struct filch_concurrent_stream {
    filch_stream base;
    filch_stream *from;
    struct filch__concurrent *state;
} filch_concurrent_stream;

enum filch_concurrent_flags {
    FILCH_CONCURRENT_ORDERED = 1, /* in the order of the items, not in that of their ends */
};

/** filch_concurrent_stream_init() - each item through @fn in a task of its own, up to @most at a
 * time
 * @fn: may suspend; returns 0, or an error, which takes the place of its item
 *
 * The tasks run whether or not anybody reads; results that nobody has read count as running, so at
 * most
 * @most items are taken ahead. To be read and dropped in tasks; the drop cancels the tasks and
 * waits for them: it suspends, and is no cancellation point. Return: 0; -EINVAL (NULL, sizes, @most
 * 0 or over 65,536); -ENOMEM; then @from is the caller's.
 */
FILCH_API FILCH_MUST_CHECK int
filch_concurrent_stream_init(filch_concurrent_stream *stream, filch_stream *from, size_t out_bytes,
                             int (*fn)(void *context, const void *in, void *out), void *context,
                             unsigned most, unsigned flags);

/* ---- where items go. All wait for items: they suspend, and are cancellation points that lose
 * nothing but what @fn was given. They do not drop the stream, and return the first error: reading
 * may go on then. @fn runs in the caller and may suspend. ---- */

/** filch_stream_for_each() - call @fn with each item, up to the end or its first negative result: a
 * fold, with its state as @context.
 * Return: 0 (the end); what @fn returned; what filch_stream_next() returns; -EINVAL (NULL, items
 * that are too large). */
FILCH_API FILCH_MUST_CHECK int filch_stream_for_each(filch_stream *stream,
                                                     int (*fn)(void *context, const void *item),
                                                     void *context, filch_time until);

/**
 * filch_stream_all() - does a function say true of all items?
 * @fn: may suspend
 *
 * Reads up to the end or the first item for which it says false, which is taken. Return: 1 (of all
 * there were, perhaps none); 0; as filch_stream_next(), and then what @fn was asked about is gone,
 * and was true; -EINVAL (NULL, items that are too large).
 */
FILCH_API FILCH_MUST_CHECK int filch_stream_all(filch_stream *stream,
                                                bool (*fn)(void *context, const void *item),
                                                void *context, filch_time until);

/** filch_stream_any() - the same up to the first for which it says true. Return: 1; 0 (of none);
 * else as filch_stream_all(). */
FILCH_API FILCH_MUST_CHECK int filch_stream_any(filch_stream *stream,
                                                bool (*fn)(void *context, const void *item),
                                                void *context, filch_time until);

/** filch_stream_collect() - items into an array, up to the end or until it is full. *ret_count is
 * set in any case. Return: 0 (the end); -ENOSPC (full: there may be more); as filch_stream_next().
 */
FILCH_API FILCH_MUST_CHECK int filch_stream_collect(filch_stream *stream, void *items, size_t most,
                                                    size_t *ret_count, filch_time until);

/** filch_stream_forward() - items into a channel, waiting while it is full, up to the end. A place
 * in the channel is reserved before an item is taken, and held while there is none: so no item is
 * lost when it ends with -EPIPE, -ETIMEDOUT or -ECANCELED. The end of the items, too, is seen only
 * when there is a place. A close ends it also while it waits for an item. If all counted receivers
 * go at the moment an item comes, it goes to the channel's `drop`. Return: as
 * filch_stream_for_each(); -EPIPE (closed); -EINVAL also for items that are not as large as the
 * channel's messages. */
FILCH_API FILCH_MUST_CHECK int filch_stream_forward(filch_stream *stream, filch_chan *chan,
                                                    filch_time until);

FILCH_END_DECLS

#endif
