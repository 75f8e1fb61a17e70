/* A type-stable pool: equal objects from slabs that are never unmapped.
 *
 * A pointer to an object may therefore be followed after the object was recycled: a late wake-up
 * finds a valid state word, and a stale handle finds another generation. Pools belong to the
 * process, not to a runtime, so this holds across runtimes too. Free objects form a
 * chain, linked through the pointer at `link_offset`.
 *
 * Whoever needs speed keeps objects of its own and trades them in magazines of a fixed size, after
 * Bonwick and Adams (USENIX 2001): a magazine changes hands as one pointer, so the lock is never
 * held over a walk through memory that another core has in its cache. Magazines are linked through
 * a second pointer in their first object, at `magazine_offset`.
 */
#ifndef FILCH_BASE_POOL_H
#define FILCH_BASE_POOL_H

#include <stddef.h>

#include "runtime/base/spinlock.h"

struct filch__pool_slab;

struct filch__pool {
    size_t object_bytes; /* a multiple of FILCH_CACHELINE */
    size_t link_offset;
    size_t magazine_offset; /* 0: no magazines */
    /* Called for each object, free or not, in the child of a fork. NULL: nothing to do. */
    void (*forked)(void *object);
    filch_spinlock lock; /* guards the rest */
    void *free;          /* single objects; with magazines fewer than fill one */
    size_t free_count;   /* in `free`, of a pool with magazines */
    void *magazines;
    struct filch__pool_slab *slabs;
    struct filch__pool *next_pool; /* of the process; written once, by the first slab's maker */
};

#define FILCH__POOL_INITIALISER(type, link)                                                        \
    {                                                                                              \
        .object_bytes = sizeof(type), .link_offset = offsetof(type, link)                          \
    }

#define FILCH__POOL_MAGAZINE 256 /* objects */

#define FILCH__POOL_INITIALISER_MAGAZINES(type, link, magazine)                                    \
    {                                                                                              \
        .object_bytes = sizeof(type), .link_offset = offsetof(type, link),                         \
        .magazine_offset = offsetof(type, magazine)                                                \
    }

/* Takes an object. Fresh memory is zero; a recycled object is as it was given back. Return: NULL
 * when memory is out. Any thread. */
void *filch__pool_take(struct filch__pool *pool);

/* Gives an object back. Any thread. */
void filch__pool_give(struct filch__pool *pool, void *object);

/* The same with a chain of FILCH__POOL_MAGAZINE objects, which ends in NULL. */
void *filch__pool_take_magazine(struct filch__pool *pool);
void filch__pool_give_magazine(struct filch__pool *pool, void *chain);

/* Calls @fn for every object that ever existed, free or not. */
void filch__pool_each(struct filch__pool *pool, void (*fn)(void *object, void *arg), void *arg);

/* In the child of a fork, whose only thread calls, for all pools: locks that other threads held are
 * free, and what was free stays unused, since one of them may have been in the middle of a change.
 */
void filch__pools_forked(void);

#endif
