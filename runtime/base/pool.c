/* See pool.h. Slabs come from mmap, so fresh objects are zero but for their link.
 *
 *     slab:  [ header | object | object | ... ]      four magazines, or some 64 KiB
 *
 * Invariant: each object of each slab is either in the chain `free`, in a magazine, or with a
 * caller. Two threads that find the pool empty may both map a slab: the second one is not lost,
 * only early. The list of slabs grows in front and never changes behind, so it is walked without
 * the lock. So does the list of the process's pools, which a pool joins with its first slab.
 */
#include "runtime/base/pool.h"

#include <stdint.h>
#include <sys/mman.h>

#include "runtime/base/assert.h"

#define SLAB_MAGAZINES 4
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

static void **magazine_link_of(struct filch__pool *pool, void *object)
{
    return (void **)(void *)((char *)object + pool->magazine_offset);
}

static struct filch__pool_slab *slab_map(struct filch__pool *pool)
{
    size_t objects = SLAB_MAGAZINES * FILCH__POOL_MAGAZINE;
    size_t bytes;
    struct filch__pool_slab *slab;

    filch_assert_state(pool->object_bytes && pool->object_bytes % FILCH_CACHELINE == 0);
    if (!pool->magazine_offset)
        objects = (SLAB_BYTES_MIN + pool->object_bytes - 1) / pool->object_bytes;
    bytes = FILCH_CACHELINE + objects * pool->object_bytes;
    slab = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (slab == MAP_FAILED)
        return NULL;
    slab->objects = objects;
    return slab;
}

/* Links the objects of a slab from @from to before @to, in address order. */
static void slab_chain(struct filch__pool *pool, struct filch__pool_slab *slab, size_t from,
                       size_t to)
{
    for (size_t i = from; i < to; i++)
        *link_of(pool, slab_object(pool, slab, i)) =
            i + 1 < to ? slab_object(pool, slab, i + 1) : NULL;
}

/* All pools with slabs. [pool-list] CAS with release by joining pools -> acquire by the fork's
 * child: next_pool is visible. */
static filch_atomic_ptr pools;

static void join_pools(struct filch__pool *pool)
{
    void *first = filch_load_relaxed(&pools);

    do {
        pool->next_pool = first;
    } while (!filch_cas_weak_acq_rel(&pools, &first, pool)); /* [pool-list] */
}

/* Maps a slab and adds its objects, as magazines if the pool has them. */
static bool pool_grow(struct filch__pool *pool)
{
    struct filch__pool_slab *slab = slab_map(pool);
    size_t piece;
    bool is_first;

    if (!slab)
        return false;
    piece = pool->magazine_offset ? FILCH__POOL_MAGAZINE : slab->objects;
    for (size_t i = 0; i < slab->objects; i += piece)
        slab_chain(pool, slab, i, i + piece);
    filch_spinlock_lock(&pool->lock);
    is_first = !pool->slabs;
    slab->next = pool->slabs;
    pool->slabs = slab;
    for (size_t i = 0; i < slab->objects; i += piece) {
        void *chain = slab_object(pool, slab, i);

        if (pool->magazine_offset) {
            *magazine_link_of(pool, chain) = pool->magazines;
            pool->magazines = chain;
        } else {
            *link_of(pool, slab_object(pool, slab, slab->objects - 1)) = pool->free;
            pool->free = chain;
        }
    }
    filch_spinlock_unlock(&pool->lock);
    if (is_first)
        join_pools(pool);
    return true;
}

static void *take_magazine(struct filch__pool *pool)
{
    void *chain;

    filch_spinlock_lock(&pool->lock);
    chain = pool->magazines;
    if (chain)
        pool->magazines = *magazine_link_of(pool, chain);
    filch_spinlock_unlock(&pool->lock);
    return chain;
}

void *filch__pool_take_magazine(struct filch__pool *pool)
{
    void *chain;

    while (!(chain = take_magazine(pool)))
        if (!pool_grow(pool))
            return NULL;
    return chain;
}

void filch__pool_give_magazine(struct filch__pool *pool, void *chain)
{
    filch_spinlock_lock(&pool->lock);
    *magazine_link_of(pool, chain) = pool->magazines;
    pool->magazines = chain;
    filch_spinlock_unlock(&pool->lock);
}

static void *take_free(struct filch__pool *pool)
{
    void *object;

    filch_spinlock_lock(&pool->lock);
    if (!pool->free && pool->magazines) {
        pool->free = pool->magazines;
        pool->magazines = *magazine_link_of(pool, pool->free);
        pool->free_count = FILCH__POOL_MAGAZINE;
    }
    object = pool->free;
    if (object) {
        pool->free = *link_of(pool, object);
        pool->free_count--;
    }
    filch_spinlock_unlock(&pool->lock);
    return object;
}

void *filch__pool_take(struct filch__pool *pool)
{
    void *object;

    while (!(object = take_free(pool)))
        if (!pool_grow(pool))
            return NULL;
    return object;
}

void filch__pool_give(struct filch__pool *pool, void *object)
{
    filch_spinlock_lock(&pool->lock);
    *link_of(pool, object) = pool->free;
    pool->free = object;
    /* Those who take magazines would never see what comes back one by one. */
    if (++pool->free_count == FILCH__POOL_MAGAZINE && pool->magazine_offset) {
        *magazine_link_of(pool, pool->free) = pool->magazines;
        pool->magazines = pool->free;
        pool->free = NULL;
        pool->free_count = 0;
    }
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

static void call_forked(void *object, void *pool)
{
    ((struct filch__pool *)pool)->forked(object);
}

void filch__pools_forked(void)
{
    struct filch__pool *pool = filch_load_acquire(&pools); /* [pool-list] */

    for (; pool; pool = pool->next_pool) {
        filch_spinlock_init(&pool->lock);
        pool->free = NULL;
        pool->magazines = NULL;
        pool->free_count = 0;
        if (pool->forked)
            filch__pool_each(pool, call_forked, pool);
    }
}
