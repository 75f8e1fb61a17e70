/* See pool.h. Slabs come from mmap, so fresh objects are zero but for their link.
 *
 *     slab:  [ header | object | object | ... ]      at least 64 KiB, so that huge objects do not
 * map one by one
 *
 * Invariant: each object of each slab is either in the chain `free` or with a caller. Two threads
 * that find the pool empty may both map a slab: the second one is not lost, only early. The list of
 * slabs grows in front and never changes behind, so it is walked without the lock.
 */
#include "runtime/base/pool.h"

#include <stdint.h>
#include <sys/mman.h>

#include "runtime/base/assert.h"

#define SLAB_OBJECTS 256
#define SLAB_BYTES_MIN ((size_t)64 << 10)

/* At the start of each slab's mapping; the objects follow, cache-line aligned. */
struct filch__pool_slab {
    struct filch__pool_slab *next;
    size_t objects;
};

_Static_assert(sizeof(struct filch__pool_slab) <= FILCH_CACHELINE, "the objects begin one line in");

static char *slab_object(struct filch__pool *pool, struct filch__pool_slab *slab, size_t i)
{
    return (char *)slab + FILCH_CACHELINE + i * pool->object_bytes;
}

static void **link_of(struct filch__pool *pool, void *object)
{
    return (void **)(void *)((char *)object + pool->link_offset);
}

static struct filch__pool_slab *slab_map(struct filch__pool *pool)
{
    size_t bytes = FILCH_CACHELINE + SLAB_OBJECTS * pool->object_bytes;
    struct filch__pool_slab *slab;

    filch_assert_state(pool->object_bytes && pool->object_bytes % FILCH_CACHELINE == 0);
    if (bytes < SLAB_BYTES_MIN)
        bytes = SLAB_BYTES_MIN;
    slab = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (slab == MAP_FAILED)
        return NULL;
    slab->objects = (bytes - FILCH_CACHELINE) / pool->object_bytes;
    return slab;
}

/* Adds a slab, its objects in address order. */
static bool pool_grow(struct filch__pool *pool)
{
    struct filch__pool_slab *slab = slab_map(pool);
    size_t last;

    if (!slab)
        return false;
    last = slab->objects - 1;
    for (size_t i = 0; i < last; i++)
        *link_of(pool, slab_object(pool, slab, i)) = slab_object(pool, slab, i + 1);
    filch_spinlock_lock(&pool->lock);
    *link_of(pool, slab_object(pool, slab, last)) = pool->free;
    pool->free = slab_object(pool, slab, 0);
    slab->next = pool->slabs;
    pool->slabs = slab;
    filch_spinlock_unlock(&pool->lock);
    return true;
}

static unsigned take_free(struct filch__pool *pool, unsigned n, void **ret_chain)
{
    unsigned taken = 0;
    void *last = NULL;

    filch_spinlock_lock(&pool->lock);
    *ret_chain = pool->free;
    while (taken < n && pool->free) {
        last = pool->free;
        pool->free = *link_of(pool, last);
        taken++;
    }
    if (last)
        *link_of(pool, last) = NULL;
    filch_spinlock_unlock(&pool->lock);
    return taken;
}

unsigned filch__pool_take(struct filch__pool *pool, unsigned n, void **ret_chain)
{
    unsigned taken;

    *ret_chain = NULL;
    if (!n)
        return 0;
    while (!(taken = take_free(pool, n, ret_chain)))
        if (!pool_grow(pool))
            return 0;
    return taken;
}

void filch__pool_give(struct filch__pool *pool, void *first, void *last)
{
    filch_spinlock_lock(&pool->lock);
    *link_of(pool, last) = pool->free;
    pool->free = first;
    filch_spinlock_unlock(&pool->lock);
}

void filch__pool_each(struct filch__pool *pool, void (*fn)(void *object, void *arg), void *arg)
{
    struct filch__pool_slab *slab;

    filch_spinlock_lock(&pool->lock);
    slab = pool->slabs; /* slabs are only ever added in front */
    filch_spinlock_unlock(&pool->lock);
    for (; slab; slab = slab->next)
        for (size_t i = 0; i < slab->objects; i++)
            fn(slab_object(pool, slab, i), arg);
}
