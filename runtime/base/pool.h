/* A type-stable pool: equal objects from slabs that are never unmapped.
 *
 * A pointer to an object may therefore be followed after the object was recycled: a late wake-up
 * finds a valid state word, and a stale handle finds another generation. Pools belong to the
 * process, not to a runtime, so this holds across runtimes too. Objects are handed out in chains,
 * linked through the pointer at `link_offset`; whoever needs speed keeps a chain of its own (each
 * worker does).
 */
#ifndef FILCH_BASE_POOL_H
#define FILCH_BASE_POOL_H

#include <stddef.h>

#include "runtime/base/spinlock.h"

struct filch__pool_slab;

struct filch__pool {
    size_t object_bytes; /* a multiple of FILCH_CACHELINE */
    size_t link_offset;
    filch_spinlock lock; /* guards the rest */
    void *free;
    struct filch__pool_slab *slabs;
};

#define FILCH__POOL_INITIALISER(type, link)                                                        \
    {                                                                                              \
        .object_bytes = sizeof(type), .link_offset = offsetof(type, link)                          \
    }

/* Takes up to @n objects as a chain that ends in NULL. Fresh memory is zero; recycled objects are
 * as they were given back. Return: the number, 0 when memory is out. Any thread. */
unsigned filch__pool_take(struct filch__pool *pool, unsigned n, void **ret_chain);

/* Gives a chain back. Any thread. */
void filch__pool_give(struct filch__pool *pool, void *first, void *last);

/* Calls @fn for every object that ever existed, free or not. @fn must not take or give. */
void filch__pool_each(struct filch__pool *pool, void (*fn)(void *object, void *arg), void *arg);

#endif
