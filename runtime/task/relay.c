/* See relay.h.
 *
 * The list is linked through the children's private_next: 0 not queued, LAST the last one,
 * otherwise the next one's index + LINK. The relay's head is the same kind of word, with 0 for
 * empty. */
#include "runtime/task/relay.h"

#include "runtime/base/pool.h"
#include "runtime/base/spinlock.h"

#define LAST 1u
#define LINK 2u
#define GENERATION_MASK 0x3fffffffu

struct filch__relay {
    _Alignas(FILCH_CACHELINE) filch_spinlock lock; /* guards the rest, and private_next */
    uint32_t generation;
    uint32_t head;
    uint32_t tail; /* index of the last one, when there is a head */
    filch_child *children;
    filch_waker parent; /* owned */
    struct filch__relay *pool_link;
};

#ifndef FILCH_MODEL /* whose lock is larger */
_Static_assert(sizeof(struct filch__relay) == FILCH_CACHELINE, "one cache line");
#endif

static void forked(void *object)
{
    filch_spinlock_init(&((struct filch__relay *)object)->lock);
}

static struct filch__pool relay_pool = {
    .object_bytes = sizeof(struct filch__relay),
    .link_offset = offsetof(struct filch__relay, pool_link),
    .forked = forked,
};

struct filch__relay *filch__relay_new(filch_child *children)
{
    struct filch__relay *relay = filch__pool_take(&relay_pool);

    if (!relay)
        return NULL;
    filch_spinlock_lock(&relay->lock); /* a late wake may be looking */
    relay->children = children;
    relay->head = 0;
    relay->parent = (filch_waker){0};
    filch_spinlock_unlock(&relay->lock);
    return relay;
}

void filch__relay_free(struct filch__relay *relay)
{
    filch_waker parent;

    if (!relay)
        return;
    filch_spinlock_lock(&relay->lock);
    relay->generation = (relay->generation + 1) & GENERATION_MASK;
    relay->children = NULL;
    parent = relay->parent;
    filch_spinlock_unlock(&relay->lock);
    filch_waker_drop(parent);
    filch__pool_give(&relay_pool, relay);
}

void filch__relay_listen(struct filch__relay *relay, const filch_waker *parent)
{
    filch_waker old = {0};
    filch_waker fresh;

    /* Only this future's poll writes it. */
    if (filch_waker_will_wake(&relay->parent, parent))
        return;
    fresh = filch_waker_clone(parent);
    filch_spinlock_lock(&relay->lock);
    old = relay->parent;
    relay->parent = fresh;
    filch_spinlock_unlock(&relay->lock);
    filch_waker_drop(old);
}

filch_waker filch__relay_waker(struct filch__relay *relay, size_t index)
{
    return (filch_waker){
        .target = relay,
        .key = FILCH__WAKER_RELAY | (uint64_t)relay->generation << 32 | (uint32_t)index,
    };
}

uint32_t filch__relay_take(struct filch__relay *relay)
{
    uint32_t head;

    filch_spinlock_lock(&relay->lock);
    head = relay->head;
    relay->head = 0;
    filch_spinlock_unlock(&relay->lock);
    return head ? head : LAST;
}

bool filch__relay_next(struct filch__relay *relay, uint32_t *cursor, size_t *ret_index)
{
    filch_child *child;

    if (*cursor == LAST)
        return false;
    *ret_index = *cursor - LINK;
    child = &relay->children[*ret_index];
    filch_spinlock_lock(&relay->lock);
    *cursor = child->private_next;
    child->private_next = 0;
    filch_spinlock_unlock(&relay->lock);
    return true;
}

/* Return: was the list empty? */
static bool queue_locked(struct filch__relay *relay, uint32_t index)
{
    bool was_empty = !relay->head;

    relay->children[index].private_next = LAST;
    if (was_empty)
        relay->head = index + LINK;
    else
        relay->children[relay->tail].private_next = index + LINK;
    relay->tail = index;
    return was_empty;
}

void filch__relay_wake(struct filch__relay *relay, uint64_t key)
{
    uint32_t generation = (uint32_t)(key >> 32) & GENERATION_MASK;
    uint32_t index = (uint32_t)key;
    filch_waker parent = {0};

    filch_spinlock_lock(&relay->lock);
    if (relay->children && relay->generation == generation &&
        !relay->children[index].private_next && queue_locked(relay, index))
        parent = filch_waker_clone(&relay->parent);
    filch_spinlock_unlock(&relay->lock);
    filch_waker_wake(parent);
}
