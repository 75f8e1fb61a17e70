/* What a channel's store seldom does: see chan_store.h. */
#include "sync/chan_store.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

static struct filch__segment *segment_new(size_t elem_bytes, size_t slots)
{
    struct filch__segment *segment;

    if (slots > (SIZE_MAX / 2 - sizeof(*segment)) / elem_bytes)
        return NULL;
    segment = malloc(sizeof(*segment) + slots * elem_bytes);
    if (!segment)
        return NULL;
    segment->next = NULL;
    segment->slots = slots;
    segment->end = segment->messages + slots * elem_bytes;
    return segment;
}

/* The front of @segment. */
static struct filch__position position_at(struct filch__segment *segment)
{
    return (struct filch__position){
        .at = segment->messages, .quick = segment->messages, .segment = segment};
}

int filch__store_init(struct filch__store *store, size_t elem_bytes, size_t capacity, bool is_chain)
{
    size_t slots = is_chain ? FILCH__STORE_SLOTS : capacity;
    struct filch__segment *segment = segment_new(elem_bytes, slots);

    if (!segment)
        return -ENOMEM;
    segment->next = is_chain ? NULL : segment;
    *store = (struct filch__store){
        .elem_bytes = elem_bytes,
        .is_chain = is_chain,
        .ceiling = slots,
        .read = position_at(segment),
        .write = position_at(segment),
        .last = segment,
    };
    return 0;
}

void filch__store_clear(struct filch__store *store, size_t count,
                        void (*drop)(void *context, const void *msg), void *context)
{
    struct filch__position at = store->read;

    for (; drop && count; count--) {
        if (at.at == at.segment->end)
            at = position_at(at.segment->next);
        drop(context, at.at);
        at.at += store->elem_bytes;
    }
    while (store->read.segment != store->last) {
        struct filch__segment *next = store->read.segment->next;

        free(store->read.segment);
        store->read.segment = next;
    }
}

void filch__store_fini(struct filch__store *store, void (*drop)(void *context, const void *msg),
                       void *context)
{
    filch__store_clear(store, filch__store_count(store), drop, context);
    free(store->last);
}

struct filch__segment *filch__store_segment_new(const struct filch__store *store, size_t n)
{
    return segment_new(store->elem_bytes, n > FILCH__STORE_SLOTS ? n : FILCH__STORE_SLOTS);
}

void filch__store_append(struct filch__store *store, struct filch__segment *segment)
{
    segment->next = NULL;
    store->last->next = segment;
    store->last = segment;
    store->ceiling += segment->slots;
}

struct filch__segment *filch__store_next_segment(struct filch__store *store)
{
    struct filch__segment *left = store->read.segment;

    store->read = position_at(left->next);
    if (filch__store_room(store) < FILCH__STORE_SLOTS && left->slots == FILCH__STORE_SLOTS) {
        filch__store_append(store, left);
        return NULL;
    }
    left->next = NULL;
    return left;
}

struct filch__segment *filch__store_trim(struct filch__store *store)
{
    struct filch__segment *garbage = NULL;
    struct filch__segment *next;

    filch__store_slow_down(store);
    while ((next = store->write.segment->next) &&
           filch__store_room(store) >= next->slots + FILCH__STORE_SLOTS) {
        store->write.segment->next = next->next;
        if (store->last == next)
            store->last = store->write.segment;
        store->ceiling -= next->slots;
        next->next = garbage;
        garbage = next;
    }
    return garbage;
}

void filch__segments_free(struct filch__segment *segments)
{
    while (segments) {
        struct filch__segment *next = segments->next;

        free(segments);
        segments = next;
    }
}
