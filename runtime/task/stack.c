/* See stack.h.
 *
 *     slab, 1,024 times:  | guard 64 KB | stack 256 KB ............. [header] |
 *                                         low            grows down from the header
 *
 * Each class of sizes has a pool of its own, of which all of this is true.
 *
 * An attach never fails. Invariants, under the lock:
 *   [credit]   promised <= mapped: every promise has a stack somewhere in a slab.
 *   [reach]    a stack that another worker cannot get at is covered by a promise: one that runs a
 * task by the task's credit; those idle in a cache by the cache's slack, and a cache without slack
 * holds none. A task gives its credit back shortly before its worker detaches the stack: in
 * between, that credit lies in the same worker's cache, which keeps at least one when it gives
 * credits back in bulk. Hence whoever comes with a credit finds a stack in the idle list, or a slab
 * with one that was never used.
 *
 * The mutex may be held across mmap and madvise; it is taken once per batch. Rejected: a list per
 * CPU, since tasks end where they like and the lists would run empty and full; unmapping slabs,
 * since stacks of one slab end at all times.
 */
#include "runtime/task/stack.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/base/assert.h"
#include "runtime/base/atomic.h"
#include "runtime/task/switch.h"

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#define FILCH__VALGRIND 1
#endif
#endif
#ifdef FILCH__ASAN
#include <sanitizer/asan_interface.h>
#endif
#ifdef FILCH__TSAN
void *__tsan_create_fiber(unsigned flags);
#endif

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#define SLAB_STACKS_MAX 1024
#define GUARD_BATCH 32
#define CACHE_MAX 64
#define CACHE_BATCH 32
#define CACHE_SLACK (CACHE_MAX + 1) /* a detach puts its stack in before it gives others away */
#define CREDIT_BATCH 64
#define TRIM_BATCH 32

_Static_assert(sizeof(struct filch__stack) <= FILCH_CACHELINE, "the header is one line");

struct slab {
    /* The slab mapped after this one. Written once, under the lock; the overflow handler reads it
     * without. [slab-publish] release in map_slab_locked() -> acquire in filch__stack_is_guard():
     * `memory` is visible. */
    filch_atomic_ptr next;
    char *memory;
    unsigned used; /* stacks handed out at least once; guards are in place up to here, rounded up to
                      a batch */
};

/* Of the process, one for each class; all but the links between slabs is under the lock. */
struct pool {
    pthread_mutex_t lock;
    size_t bytes;           /* usable, of each stack; constant */
    unsigned slab_stacks;   /* constant */
    filch_atomic_ptr first; /* struct slab, as slab.next: [slab-publish] */
    struct slab *last;
    struct slab *fresh;           /* the oldest slab with stacks that were never used */
    struct filch__stack *idle;    /* last used first */
    struct filch__stack *trimmed; /* idle, with no memory but their top page */
    size_t mapped;                /* stacks in slabs */
    size_t promised;              /* credits given out, and slack of caches */
};

#define POOL(kib, stacks)                                                                          \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER, .bytes = (size_t)(kib) << 10, .slab_stacks = (stacks)   \
    }

static struct pool pools[FILCH__STACK_CLASSES] = {
    [FILCH_STACK_256K] = POOL(256, SLAB_STACKS_MAX),
    [FILCH_STACK_16K] = POOL(16, SLAB_STACKS_MAX),
    [FILCH_STACK_64K] = POOL(64, SLAB_STACKS_MAX),
    [FILCH_STACK_1M] = POOL(1024, 128),
};

/* Of all pools. */
static struct {
    pthread_mutex_t lock;
    bool known;
    bool no_advice;     /* MADV_GUARD_INSTALL is refused */
    size_t budget_left; /* stacks that may still be mapped with PROT_NONE guards */
} guards = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Idle, not trimmed. Written under the pools' locks; relaxed, a hint. */
static filch_atomic_u64 untrimmed;

size_t filch__stack_bytes(enum filch__stack_class size_class)
{
    return pools[size_class].bytes;
}

int filch__stack_class_of(size_t bytes)
{
    static const uint8_t by_size[] = {FILCH_STACK_16K, FILCH_STACK_64K, FILCH_STACK_256K,
                                      FILCH_STACK_1M};

    if (!bytes)
        return FILCH_STACK_256K;
    for (size_t i = 0; i < sizeof by_size; i++)
        if (bytes <= pools[by_size[i]].bytes)
            return by_size[i];
    return -EINVAL;
}

static size_t page_bytes(void)
{
    static size_t bytes;

    if (!bytes)
        bytes = (size_t)sysconf(_SC_PAGESIZE);
    return bytes;
}

/* From one stack to the next. A page more than needed, which makes it an odd number of pages: else
 * the hot ends of all stacks share a few sets of the TLB. */
static size_t stride_of(const struct pool *pool)
{
    size_t page = page_bytes();

    return FILCH__STACK_GUARD_BYTES + (pool->bytes + page - 1) / page * page + page;
}

static size_t max_map_count(void)
{
    FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
    unsigned long count = 0;

    if (file) {
        if (fscanf(file, "%lu", &count) != 1)
            count = 0;
        fclose(file);
    }
    return count ? count : 65530; /* the kernel's default */
}

static int guard_by_advice(char *guard)
{
    return madvise(guard, FILCH__STACK_GUARD_BYTES, MADV_GUARD_INSTALL);
}

/* Does the kernel know guards without mappings? Tried on the first slab of all. Then takes what
 * the guards of @stacks cost out of the budget, if they cost anything. */
static bool guards_afford(char *memory, size_t stacks)
{
    bool can;

    pthread_mutex_lock(&guards.lock);
    if (!guards.known) {
        guards.known = true;
        guards.no_advice = guard_by_advice(memory) < 0;
        /* Each stack is then two mappings, and half of the mappings stay for the program. */
        guards.budget_left = max_map_count() / 4;
    }
    can = !guards.no_advice || guards.budget_left >= stacks;
    if (can && guards.no_advice)
        guards.budget_left -= stacks;
    pthread_mutex_unlock(&guards.lock);
    return can;
}

/* With PROT_NONE, all at once: what fails, fails before a stack was promised. */
static bool guard_slab(char *memory, size_t stride, unsigned stacks)
{
    for (unsigned i = 0; i < stacks; i++)
        if (mprotect(memory + i * stride, FILCH__STACK_GUARD_BYTES, PROT_NONE) < 0)
            return false;
    return true;
}

/* The kernel gave such guards before, so it is out of memory for page tables at most: what follows
 * then is one mapping more. */
static void guard_batch_locked(struct pool *pool, char *memory)
{
    size_t stride = stride_of(pool);

    if (guards.no_advice)
        return;
    for (unsigned i = 0; i < GUARD_BATCH; i++)
        if (guard_by_advice(memory + i * stride) < 0 && !guard_slab(memory + i * stride, stride, 1))
            filch__throw("a stack's guard cannot be installed");
}

/* First without access, so that mlockall(MCL_FUTURE) of the program populates nothing. */
static char *map_memory(size_t bytes)
{
    char *memory = mmap(NULL, bytes, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

    if (memory == MAP_FAILED)
        return NULL;
    munlock(memory, bytes);
    if (mprotect(memory, bytes, PROT_READ | PROT_WRITE) < 0) {
        munmap(memory, bytes);
        return NULL;
    }
    /* A huge page would make each stack cost 2 MB. */
    madvise(memory, bytes, MADV_NOHUGEPAGE);
    return memory;
}

static int map_slab_locked(struct pool *pool)
{
    size_t stride = stride_of(pool);
    struct slab *slab = calloc(1, sizeof *slab);

    if (!slab)
        return -ENOMEM;
    slab->memory = map_memory(pool->slab_stacks * stride);
    if (!slab->memory)
        goto fail_slab;
    if (!guards_afford(slab->memory, pool->slab_stacks) ||
        (guards.no_advice && !guard_slab(slab->memory, stride, pool->slab_stacks)))
        goto fail_memory;
    filch_atomic_init(&slab->next, NULL);
    filch_store_release(pool->last ? &pool->last->next : &pool->first, slab); /* [slab-publish] */
    pool->last = slab;
    if (!pool->fresh)
        pool->fresh = slab;
    pool->mapped += pool->slab_stacks;
    return 0;
fail_memory:
    munmap(slab->memory, pool->slab_stacks * stride);
fail_slab:
    free(slab);
    return -ENOMEM;
}

static int promise_locked(struct pool *pool, size_t n)
{
    while (pool->mapped - pool->promised < n) {
        int r = map_slab_locked(pool);

        if (r < 0)
            return r;
    }
    pool->promised += n;
    return 0;
}

int filch__stack_credit_take(enum filch__stack_class size_class, unsigned n)
{
    struct pool *pool = &pools[size_class];
    int r;

    pthread_mutex_lock(&pool->lock);
    r = promise_locked(pool, n);
    pthread_mutex_unlock(&pool->lock);
    return r;
}

void filch__stack_credit_give(enum filch__stack_class size_class, unsigned n)
{
    struct pool *pool = &pools[size_class];

    pthread_mutex_lock(&pool->lock);
    filch_assert_state(pool->promised >= n);
    pool->promised -= n;
    pthread_mutex_unlock(&pool->lock);
}

int filch__stack_cache_credit(struct filch__stack_cache *cache)
{
    if (!cache->credits) {
        /* Near the limit the last ones are taken one by one. */
        if (filch__stack_credit_take(cache->size_class, CREDIT_BATCH) < 0)
            return filch__stack_credit_take(cache->size_class, 1);
        cache->credits = CREDIT_BATCH;
    }
    cache->credits--;
    return 0;
}

void filch__stack_cache_uncredit(struct filch__stack_cache *cache)
{
    if (++cache->credits > 4 * CREDIT_BATCH) {
        cache->credits -= 2 * CREDIT_BATCH; /* the rest covers the stack in transit: [reach] */
        filch__stack_credit_give(cache->size_class, 2 * CREDIT_BATCH);
    }
}

/* A stack that was never used. There is one: [credit], [reach]. */
static struct filch__stack *fresh_stack_locked(struct pool *pool)
{
    struct slab *slab = pool->fresh;
    size_t stride = stride_of(pool);
    struct filch__stack *stack;
    char *memory;

    if (!slab)
        filch__throw("a task with a credit found no stack");
    memory = slab->memory + slab->used * stride;
    if (slab->used % GUARD_BATCH == 0)
        guard_batch_locked(pool, memory);
    if (++slab->used == pool->slab_stacks)
        pool->fresh = filch_load_relaxed(&slab->next); /* relaxed: it is written under our lock */
    stack = (struct filch__stack *)(void *)(memory + stride - FILCH_CACHELINE);
    stack->next = NULL;
    stack->low = memory + FILCH__STACK_GUARD_BYTES;
    stack->size_class = (uint8_t)(pool - pools);
    return stack;
}

/* What tools want to know of a new stack, once for all its tasks. */
static void stack_announce(struct filch__stack *stack)
{
#ifdef FILCH__TSAN
    stack->tsan_fiber = __tsan_create_fiber(0);
#endif
#ifdef FILCH__VALGRIND
    if (RUNNING_ON_VALGRIND)
        stack->valgrind_id = VALGRIND_STACK_REGISTER(stack->low, stack);
#endif
    (void)stack;
}

static void cache_push(struct filch__stack_cache *cache, struct filch__stack *stack)
{
    stack->next = cache->hot;
    cache->hot = stack;
    cache->count++;
}

static struct filch__stack *pop_idle_locked(struct pool *pool)
{
    struct filch__stack *stack = pool->idle;

    if (stack) {
        pool->idle = stack->next;
        filch_fetch_sub_relaxed(&untrimmed, 1);
    } else if ((stack = pool->trimmed)) {
        pool->trimmed = stack->next;
    }
    return stack;
}

/* Fills an empty cache: with a batch of idle stacks if it may hold them back, else with the one
 * that is asked for. */
static void cache_refill(struct filch__stack_cache *cache)
{
    struct pool *pool = &pools[cache->size_class];
    struct filch__stack *stack;
    unsigned batch;

    pthread_mutex_lock(&pool->lock);
    if (!cache->slack && promise_locked(pool, CACHE_SLACK) == 0)
        cache->slack = CACHE_SLACK;
    batch = cache->slack ? CACHE_BATCH : 1;
    while (cache->count < batch && (stack = pop_idle_locked(pool)))
        cache_push(cache, stack);
    stack = cache->hot ? NULL : fresh_stack_locked(pool);
    pthread_mutex_unlock(&pool->lock);
    if (stack) {
        stack_announce(stack);
        cache_push(cache, stack);
    }
}

struct filch__stack *filch__stack_attach(struct filch__stack_cache *cache)
{
    struct filch__stack *stack;

    if (!cache->hot)
        cache_refill(cache);
    stack = cache->hot;
    cache->hot = stack->next;
    cache->count--;
    return stack;
}

static void cache_give(struct filch__stack_cache *cache, unsigned n)
{
    struct pool *pool = &pools[cache->size_class];

    pthread_mutex_lock(&pool->lock);
    for (; n && cache->hot; n--) {
        struct filch__stack *stack = cache->hot;

        cache->hot = stack->next;
        cache->count--;
        stack->next = pool->idle;
        pool->idle = stack;
        filch_fetch_add_relaxed(&untrimmed, 1);
    }
    pthread_mutex_unlock(&pool->lock);
}

void filch__stack_detach(struct filch__stack_cache *cache, struct filch__stack *stack)
{
#ifdef FILCH__ASAN
    /* The frames that were left by a switch, and not by a return, have their red zones still. */
    __asan_unpoison_memory_region(stack->low, (size_t)((char *)stack - stack->low));
#endif
    cache_push(cache, stack);
    if (cache->count > (cache->slack ? CACHE_MAX : 0))
        cache_give(cache, CACHE_BATCH);
}

void filch__stack_cache_fini(struct filch__stack_cache *cache)
{
    cache_give(cache, cache->count);
    filch__stack_credit_give(cache->size_class, cache->credits + cache->slack);
    cache->credits = 0;
    cache->slack = 0;
}

size_t filch__stack_untrimmed(void)
{
    return filch_load_relaxed(&untrimmed);
}

/* A few at a time, as the kernel is slow to free and workers wait for the lock. Return: is there
 * more? */
static bool trim_batch(struct pool *pool, size_t bytes)
{
    bool more;

    pthread_mutex_lock(&pool->lock);
    for (unsigned i = 0; i < TRIM_BATCH && pool->idle; i++) {
        struct filch__stack *stack = pool->idle;

        pool->idle = stack->next;
        madvise(stack->low, bytes, MADV_DONTNEED);
        stack->next = pool->trimmed;
        pool->trimmed = stack;
        filch_fetch_sub_relaxed(&untrimmed, 1);
    }
    more = pool->idle;
    pthread_mutex_unlock(&pool->lock);
    return more;
}

void filch__stack_trim(void)
{
    for (struct pool *pool = pools; pool < pools + FILCH__STACK_CLASSES; pool++) {
        /* All but the top page, which holds the header. */
        size_t bytes = stride_of(pool) - FILCH__STACK_GUARD_BYTES - page_bytes();

        while (trim_batch(pool, bytes))
            ;
    }
}

void filch__stack_forked(void)
{
    static const pthread_mutex_t unlocked = PTHREAD_MUTEX_INITIALIZER;

    /* Another thread may have been in the middle of a change: what there was stays unused. */
    guards.lock = unlocked;
    filch_store_relaxed(&untrimmed, 0);
    for (struct pool *pool = pools; pool < pools + FILCH__STACK_CLASSES; pool++) {
        pool->lock = unlocked;
        pool->fresh = NULL;
        pool->idle = NULL;
        pool->trimmed = NULL;
        pool->promised = pool->mapped;
    }
}

bool filch__stack_is_guard(const void *address)
{
    for (struct pool *pool = pools; pool < pools + FILCH__STACK_CLASSES; pool++) {
        size_t stride = stride_of(pool);
        struct slab *slab = filch_load_acquire(&pool->first); /* [slab-publish] */

        /* No lock: a signal handler asks, on any thread. Slabs are only ever added, at the end. */
        for (; slab; slab = filch_load_acquire(&slab->next)) {
            uintptr_t offset = (uintptr_t)address - (uintptr_t)slab->memory;

            if (offset < pool->slab_stacks * stride)
                return offset % stride < FILCH__STACK_GUARD_BYTES;
        }
    }
    return false;
}
