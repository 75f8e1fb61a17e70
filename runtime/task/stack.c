/* See stack.h: what workers hold of each class, and the pool that they share.
 *
 * An attach never fails. Invariants, for each class, under the lock:
 *   [credit]   promised <= mapped: every promise has a stack in some slab, blank, reserved, idle
 * or in use.
 *   [reach]    a stack that another worker cannot get at is covered by a promise: one that runs a
 * task by the task's credit; those idle in a cache or reserved for it by the cache's slack, and a
 * cache without slack holds none. A task gives its credit back shortly before its worker detaches
 * the stack: in between, that credit lies in the same worker's cache, which keeps at least one when
 * it gives credits back in bulk. Hence whoever comes with a credit finds an idle stack or a blank
 * one.
 *
 * The mutex may be held across mmap and madvise; it is taken once per batch. Rejected: a list per
 * CPU, since tasks end where they like and the lists would run empty and full.
 */
#include "runtime/task/stack.h"

#include <errno.h>
#include <pthread.h>

#include <filch/time.h>

#include "runtime/base/assert.h"
#include "runtime/base/atomic.h"
#include "runtime/base/valgrind.h"
#include "runtime/task/stack_slab.h"
#include "runtime/task/switch.h"

#ifdef FILCH__ASAN
#include <sanitizer/asan_interface.h>
#endif
#ifdef FILCH__TSAN
void *__tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void *fiber);
#endif

/* The sanitizers' frames are larger. */
#ifdef FILCH__SWITCH_SANITIZED
#define MORE_BYTES ((size_t)64 << 10)
#else
#define MORE_BYTES ((size_t)0)
#endif

struct class_size {
    size_t bytes;
    unsigned cache_max; /* more than so many idle stacks do not stay in a worker's cache */
    unsigned keep;      /* so many do when it rests */
};

static const struct class_size sizes[FILCH__STACK_CLASSES] = {
    [FILCH_STACK_16K] = {(size_t)16 << 10, 64, 4},
    [FILCH_STACK_64K] = {(size_t)64 << 10, 64, 4},
    [FILCH_STACK_256K] = {(size_t)256 << 10, 64, 4},
    [FILCH_STACK_1M] = {(size_t)1 << 20, 16, 0},
};

struct class_pool {
    struct filch__slab_class slabs;
    uint64_t promised; /* credits given out, and slack of caches */
};

/* Of the process; all but `idle` is under the lock. */
static struct {
    pthread_mutex_t lock;
    bool is_ready;
    struct class_pool of[FILCH__STACK_CLASSES];
    /* Idle stacks of all classes. Written under the lock; relaxed loads ask if it is worth while to
     * take it. */
    filch_atomic_u64 idle;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

_Static_assert(64 / 2 <= FILCH__SLAB_TOUCH_MAX, "a batch is touched at once");

static unsigned batch_of(enum filch__stack_class size_class)
{
    return sizes[size_class].cache_max / 2;
}

int filch__stack_class_of(size_t bytes)
{
    static const uint8_t by_size[] = {FILCH_STACK_16K, FILCH_STACK_64K, FILCH_STACK_256K,
                                      FILCH_STACK_1M};

    if (!bytes)
        return FILCH_STACK_256K;
    for (size_t i = 0; i < sizeof by_size; i++)
        if (bytes <= sizes[by_size[i]].bytes)
            return by_size[i];
    return -EINVAL;
}

size_t filch__stack_bytes(enum filch__stack_class size_class)
{
    return sizes[size_class].bytes;
}

size_t filch__slab_usable(enum filch__stack_class size_class)
{
    return sizes[size_class].bytes + MORE_BYTES;
}

static void classes_init(void)
{
    for (unsigned i = 0; i < FILCH__STACK_CLASSES; i++)
        filch__slab_class_init(&pool.of[i].slabs);
    pool.is_ready = true;
}

static void pool_lock(void)
{
    pthread_mutex_lock(&pool.lock);
    if (!pool.is_ready)
        classes_init();
}

static void pool_unlock(void)
{
    pthread_mutex_unlock(&pool.lock);
}

static int promise_locked(enum filch__stack_class size_class, unsigned n)
{
    struct class_pool *of = &pool.of[size_class];

    while (of->slabs.mapped - of->promised < n) {
        int r = filch__slab_grow(&of->slabs, size_class);

        if (r < 0)
            return r;
    }
    of->promised += n;
    return 0;
}

int filch__stack_credit_take(enum filch__stack_class size_class, unsigned n)
{
    int r;

    pool_lock();
    r = promise_locked(size_class, n);
    pool_unlock();
    return r;
}

void filch__stack_credit_give(enum filch__stack_class size_class, unsigned n)
{
    pool_lock();
    filch_assert_state(pool.of[size_class].promised >= n);
    pool.of[size_class].promised -= n;
    pool_unlock();
}

int filch__stack_cache_fill(struct filch__stack_cache *cache)
{
    unsigned batch = sizes[cache->size_class].cache_max;

    /* Near the limit the last ones are taken one by one. */
    if (filch__stack_credit_take(cache->size_class, batch) < 0)
        return filch__stack_credit_take(cache->size_class, 1);
    cache->credits = batch - 1;
    return 0;
}

void filch__stack_cache_spill(struct filch__stack_cache *cache)
{
    unsigned some = 2 * sizes[cache->size_class].cache_max;

    cache->credits_most = 2 * some;
    if (cache->credits > cache->credits_most) {
        cache->credits -= some; /* the rest covers the stack in transit: [reach] */
        filch__stack_credit_give(cache->size_class, some);
    }
}

/* What tools want to know of a new stack, once for all its tasks. */
static void stack_announce(struct filch__stack *stack)
{
#ifdef FILCH__TSAN
    stack->tsan_fiber = __tsan_create_fiber(0);
#endif
    if (RUNNING_ON_VALGRIND)
        stack->valgrind_id = (unsigned)VALGRIND_STACK_REGISTER(stack->low, stack);
    (void)stack;
}

void filch__stack_forget(struct filch__stack *stack)
{
#ifdef FILCH__TSAN
    __tsan_destroy_fiber(stack->tsan_fiber);
#endif
    if (RUNNING_ON_VALGRIND)
        VALGRIND_STACK_DEREGISTER(stack->valgrind_id);
    (void)stack;
}

static void cache_push(struct filch__stack_cache *cache, struct filch__stack *stack)
{
    stack->next = cache->hot;
    cache->hot = stack;
    cache->count++;
}

static struct filch__stack *cache_pop(struct filch__stack_cache *cache)
{
    struct filch__stack *stack = cache->hot;

    cache->hot = stack->next;
    cache->count--;
    return stack;
}

/* Fills an empty cache: with a batch of idle stacks, or else of blank ones, if it may hold them
 * back; else with the one that is asked for. */
static void cache_refill(struct filch__stack_cache *cache)
{
    struct filch__slab_class *slabs = &pool.of[cache->size_class].slabs;
    unsigned batch = batch_of(cache->size_class);
    /* A detach puts its stack in before it gives others away. */
    unsigned slack = sizes[cache->size_class].cache_max + 1;
    filch_time now = filch_now();
    struct filch__stack *stack;

    pool_lock();
    if (!cache->slack && promise_locked(cache->size_class, slack) == 0) {
        cache->slack = slack;
        cache->limit = sizes[cache->size_class].cache_max;
    }
    if (!cache->slack)
        batch = 1;
    while (cache->count < batch && (stack = filch__slab_take(slabs, now))) {
        cache_push(cache, stack);
        filch_counter_add(&pool.idle, -1);
    }
    if (!cache->hot)
        cache->fresh_count =
            filch__slab_reserve(slabs, batch, now, &cache->fresh_slab, &cache->fresh_first);
    pool_unlock();
    if (!cache->hot && !cache->fresh_count)
        filch__throw("a task with a credit found no stack"); /* [credit], [reach] */
}

/* A worker that takes fresh stacks again and again gets their first pages by one system call for
 * the batch, a fifth cheaper than by a fault for each. */
static void cache_touch(struct filch__stack_cache *cache)
{
    if (cache->grows && cache->fresh_count > 1)
        filch__slab_touch(cache->fresh_slab, cache->fresh_first, cache->fresh_count);
    cache->grows = cache->fresh_count > 0;
}

/* Outside of the lock, as each is a page fault. */
static struct filch__stack *cache_open(struct filch__stack_cache *cache)
{
    struct filch__stack *stack = filch__slab_open(cache->fresh_slab, cache->fresh_first++);

    cache->fresh_count--;
    stack_announce(stack);
    return stack;
}

struct filch__stack *filch__stack_attach(struct filch__stack_cache *cache)
{
    struct filch__stack *stack;

    if (!cache->hot && !cache->fresh_count) {
        cache_refill(cache);
        cache_touch(cache);
    }
    stack = cache->hot ? cache_pop(cache) : cache_open(cache);
#if FILCH_ASSERTS >= 2
    /* Tasks begin at different heights: where this one does, the last one had frames that are gone.
     * In checked builds only, since a request costs as much as the rest. */
    (void)VALGRIND_MAKE_MEM_UNDEFINED(stack->low, (char *)stack - stack->low);
#endif
    return stack;
}

static void cache_give_fresh(struct filch__stack_cache *cache)
{
    if (!cache->fresh_count)
        return;
    pool_lock();
    filch__slab_unreserve(&pool.of[cache->size_class].slabs, cache->fresh_slab, cache->fresh_first,
                          cache->fresh_count);
    cache->fresh_count = 0;
    pool_unlock();
}

/* @now as for filch__slab_give(). */
static void cache_give(struct filch__stack_cache *cache, unsigned n, filch_time now)
{
    pool_lock();
    for (; n && cache->hot; n--) {
        filch__slab_give(&pool.of[cache->size_class].slabs, cache_pop(cache), now);
        filch_counter_add(&pool.idle, 1);
    }
    pool_unlock();
}

void filch__stack_detach(struct filch__stack_cache *cache, struct filch__stack *stack)
{
#ifdef FILCH__ASAN
    /* The frames that were left by a switch, and not by a return, have their red zones still. */
    __asan_unpoison_memory_region(stack->low, (size_t)((char *)stack - stack->low));
#endif
    cache_push(cache, stack);
    if (cache->count + cache->fresh_count > cache->limit)
        cache_give(cache, batch_of(cache->size_class), filch_now());
}

void filch__stack_cache_fini(struct filch__stack_cache *cache)
{
    cache_give(cache, cache->count, filch_now());
    cache_give_fresh(cache);
    filch__stack_credit_give(cache->size_class, cache->credits + cache->slack);
    cache->credits = 0;
    cache->slack = 0;
    cache->limit = 0;
}

void filch__stack_cache_rest(struct filch__stack_cache *cache)
{
    unsigned keep = sizes[cache->size_class].keep;

    cache_give_fresh(cache);
    if (cache->count > keep)
        cache_give(cache, cache->count - keep, 0);
}

bool filch__stack_is_worth_trimming(const struct filch__stack_cache *caches)
{
    for (unsigned i = 0; i < FILCH__STACK_CLASSES; i++)
        if (caches[i].count > sizes[caches[i].size_class].keep || caches[i].fresh_count)
            return true;
    return filch_load_relaxed(&pool.idle) > 0;
}

filch_time filch__stack_trim(filch_time now)
{
    filch_time before = now > FILCH__STACK_REST_NS ? now - FILCH__STACK_REST_NS : 0;
    bool more = false;
    uint64_t idle = 0;

    pool_lock();
    for (unsigned i = 0; i < FILCH__STACK_CLASSES; i++) {
        struct filch__slab_class *slabs = &pool.of[i].slabs;

        more = more || filch__slab_trim(slabs, before);
        idle += slabs->idle_count;
    }
    filch_store_relaxed(&pool.idle, idle);
    pool_unlock();
    if (more)
        return now;
    return idle ? now + FILCH__STACK_REST_NS : FILCH_NEVER;
}

struct filch__stack *filch__stack_of_guard(const void *address,
                                           enum filch__stack_class *ret_size_class)
{
    return filch__slab_find(address, ret_size_class);
}

void filch__stack_forked(void)
{
    static const pthread_mutex_t unlocked = PTHREAD_MUTEX_INITIALIZER;

    /* Another thread may have been in the middle of a change: what there was stays unused. */
    pool.lock = unlocked;
    filch_store_relaxed(&pool.idle, 0);
    classes_init();
    filch__slabs_forked();
    for (unsigned i = 0; i < FILCH__STACK_CLASSES; i++)
        pool.of[i].promised = pool.of[i].slabs.mapped;
}

void filch__stack_numbers(struct filch__stack_numbers *ret_numbers)
{
    struct filch__stack_numbers sum = {0};

    pool_lock();
    for (unsigned i = 0; i < FILCH__STACK_CLASSES; i++) {
        const struct class_pool *of = &pool.of[i];

        sum.mapped += of->slabs.mapped;
        sum.promised += of->promised;
        sum.idle += of->slabs.idle_count;
        sum.map_bytes += of->slabs.map_bytes;
    }
    pool_unlock();
    *ret_numbers = sum;
}
