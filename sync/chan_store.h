/* Where a channel's messages lie: a ring, or a chain of segments that grows.
 *
 *     ring    one segment of `capacity` slots that is its own successor
 *     chain   read.segment -> ... -> write.segment -> empty ones ... -> last -> NULL
 *
 * A chain's segments have STORE_SLOTS slots, or more if somebody has reserved more at once. The
 * reader retires those that it has emptied: to the end of the chain while room is scarce, else they
 * are freed. A store that was drained starts again at the front of its segment, where the cache is
 * warm.
 *
 * Room is how many messages can be put in without growing, less those that were promised room:
 *     ring     capacity - count - promised
 *     chain    slots from write.at to the end of `last` - promised
 * Whoever puts a message in has seen that there is room, or uses up a promise; so there is a slot
 * [room]. It is computed from counts that only grow, so that a put or a take changes one of them.
 *
 * Quick messages. Up to `read.quick` messages of 8 bytes can be taken, and up to `write.quick` put,
 * without a look at anything else: neither at the store, nor at who waits in the channel, which
 * sets them and takes them back (sync/chan.c: [quick]). Any other put or take ends the quick ones
 * of its side.
 *
 * All under the channel's lock, but for what says otherwise. Positions are moved on when the next
 * slot is needed, not before, so `at` may be the segment's end.
 */
#ifndef FILCH_SYNC_CHAN_STORE_H
#define FILCH_SYNC_CHAN_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "runtime/base/assert.h"

#define FILCH__STORE_SLOTS 64

struct filch__segment {
    struct filch__segment *next;
    size_t slots;
    unsigned char *end;
    _Alignas(16) unsigned char messages[];
};

struct filch__position {
    unsigned char *at;
    unsigned char *quick; /* same segment; `at`: none */
    struct filch__segment *segment;
};

struct filch__store {
    struct filch__position write;
    size_t put; /* messages, since it was made */
    struct filch__position read;
    size_t taken;
    size_t elem_bytes;
    bool is_chain;
    size_t promised;
    size_t ceiling;              /* of a ring the capacity, of a chain of what was ever put */
    struct filch__segment *last; /* of a chain */
};

static inline size_t filch__store_count(const struct filch__store *store)
{
    return store->put - store->taken;
}

static inline size_t filch__store_room(const struct filch__store *store)
{
    size_t ceiling = store->is_chain ? store->ceiling : store->taken + store->ceiling;

    return ceiling - store->put - store->promised;
}

/* Return: 0; -ENOMEM. */
int filch__store_init(struct filch__store *store, size_t elem_bytes, size_t capacity,
                      bool is_chain);

/* For one that nobody uses but for this: the oldest @count messages, which count as taken already,
 * go to @drop, if it is given, and their memory is freed as far as it can. */
void filch__store_clear(struct filch__store *store, size_t count,
                        void (*drop)(void *context, const void *msg), void *context);

/* With the messages that are left going to @drop. */
void filch__store_fini(struct filch__store *store, void (*drop)(void *context, const void *msg),
                       void *context);

/* A segment with room for @n messages at least. Without the lock. Return: NULL: no memory. */
struct filch__segment *filch__store_segment_new(const struct filch__store *store, size_t n);

/* Chains only. */
void filch__store_append(struct filch__store *store, struct filch__segment *segment);

/* The reader of a chain goes on to the next segment. Return: what is to be freed after the unlock;
 * may be NULL. */
struct filch__segment *filch__store_next_segment(struct filch__store *store);

/* Takes segments that are not needed out of a chain's end. Return: the same, a chain. */
struct filch__segment *filch__store_trim(struct filch__store *store);

/* Without the lock. A chain of them; may be NULL. */
void filch__segments_free(struct filch__segment *segments);

/* Most messages are a pointer or an index: a copy of constant size is one load and one store. */
static inline void filch__store_copy(const struct filch__store *store, void *to, const void *from)
{
    if (store->elem_bytes == 8)
        memcpy(to, from, 8);
    else
        memcpy(to, from, store->elem_bytes);
}

/* Queues a message for which there is room. */
static inline void filch__store_put(struct filch__store *store, const void *msg)
{
    struct filch__position *write = &store->write;

    if (write->at == write->segment->end) {
        write->segment = write->segment->next; /* [room] */
        write->at = write->segment->messages;
    }
    filch__store_copy(store, write->at, msg);
    write->at += store->elem_bytes;
    write->quick = write->at;
    store->put++;
}

static inline bool filch__store_is_small(const struct filch__store *store)
{
    return store->elem_bytes == 8;
}

/* How many slots of its segment are before @position. */
static inline size_t filch__store_passed(const struct filch__store *store,
                                         const struct filch__position *position)
{
    size_t bytes = (size_t)(position->at - position->segment->messages);

    return filch__store_is_small(store) ? bytes / 8 : bytes / store->elem_bytes;
}

/* It was drained: reader and writer are behind the same message. */
static inline void filch__store_rewind(struct filch__store *store)
{
    struct filch__segment *segment = store->read.segment;

    filch_assert_state(store->read.at == store->write.at && segment == store->write.segment);
    if (store->is_chain && segment->slots != FILCH__STORE_SLOTS)
        return; /* it is passed through, and freed */
    if (store->is_chain)
        store->ceiling += filch__store_passed(store, &store->read);
    store->read.at = store->write.at = segment->messages;
    store->write.quick = store->write.at;
}

/* Takes the oldest message; there is one. Return: what is to be freed after the unlock, or NULL. */
static inline struct filch__segment *filch__store_take(struct filch__store *store, void *msg)
{
    struct filch__position *read = &store->read;
    struct filch__segment *garbage = NULL;

    filch_assert_state(filch__store_count(store) > 0);
    if (read->at == read->segment->end) {
        if (store->is_chain)
            garbage = filch__store_next_segment(store);
        else
            read->at = read->segment->messages;
    }
    filch__store_copy(store, msg, read->at);
    read->at += store->elem_bytes;
    if (++store->taken == store->put)
        filch__store_rewind(store);
    read->quick = read->at;
    return garbage;
}

/* Several at once, as far as the segment goes. Return: how many, 1 to @n; there is room for @n. */
static inline size_t filch__store_put_run(struct filch__store *store, const void *msgs, size_t n)
{
    struct filch__position *write = &store->write;
    size_t left;

    if (write->at == write->segment->end) {
        write->segment = write->segment->next; /* [room] */
        write->at = write->segment->messages;
    }
    left = write->segment->slots - filch__store_passed(store, write);
    if (n > left)
        n = left;
    memcpy(write->at, msgs, n * store->elem_bytes);
    write->at += n * store->elem_bytes;
    write->quick = write->at;
    store->put += n;
    return n;
}

/* The same for the oldest ones, of which there are @n. */
static inline size_t filch__store_take_run(struct filch__store *store, void *msgs, size_t n,
                                           struct filch__segment **ret_garbage)
{
    struct filch__position *read = &store->read;
    size_t left;

    if (read->at == read->segment->end) {
        if (store->is_chain)
            *ret_garbage = filch__store_next_segment(store);
        else
            read->at = read->segment->messages;
    }
    left = read->segment->slots - filch__store_passed(store, read);
    if (n > left)
        n = left;
    memcpy(msgs, read->at, n * store->elem_bytes);
    read->at += n * store->elem_bytes;
    store->taken += n;
    if (store->taken == store->put)
        filch__store_rewind(store);
    read->quick = read->at;
    return n;
}

/* ---- quick ones ---- */

/* As many of the next puts, or takes, as there is room, or a message, for in the segment. */
static inline void filch__store_quicken_put(struct filch__store *store)
{
    size_t room = filch__store_room(store);
    size_t left = (size_t)(store->write.segment->end - store->write.at) / 8;

    if (filch__store_is_small(store))
        store->write.quick = store->write.at + 8 * (left < room ? left : room);
}

static inline void filch__store_quicken_take(struct filch__store *store)
{
    size_t count = filch__store_count(store);
    size_t left = (size_t)(store->read.segment->end - store->read.at) / 8;

    if (filch__store_is_small(store))
        store->read.quick = store->read.at + 8 * (left < count ? left : count);
}

static inline void filch__store_slow_down(struct filch__store *store)
{
    store->write.quick = store->write.at;
    store->read.quick = store->read.at;
}

static inline bool filch__store_put_quickly(struct filch__store *store, const void *msg)
{
    unsigned char *at = store->write.at;

    if (at == store->write.quick)
        return false;
    memcpy(at, msg, 8);
    store->write.at = at + 8;
    store->put++;
    return true;
}

static inline bool filch__store_take_quickly(struct filch__store *store, void *msg)
{
    unsigned char *at = store->read.at;

    if (at == store->read.quick)
        return false;
    memcpy(msg, at, 8);
    store->read.at = at + 8;
    store->taken++;
    return true;
}

#endif
