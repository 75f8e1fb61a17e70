/* See stack.h.
 *
 *     slab, 1,024 times:  | guard 64 KB | stack 256 KB ............. [header] |
 *                           never touched   grows down from the header
 *
 * Credits: stacks_promised <= stacks_mapped, so an attach finds a stack that is either idle in the process pool, idle in some worker's
 * cache, or new. Those in other workers' caches are out of reach; therefore each cache's capacity is counted as promised too: see
 * cache_slack.
 */
#include "runtime/task/stack.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

#include "runtime/base/assert.h"
#include "runtime/base/atomic.h"
#include "runtime/task/switch.h"

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#define FILCH__VALGRIND 1
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

#define SLAB_STACKS 1024
#define GUARD_BATCH 32
#define STRIDE (FILCH__STACK_GUARD_BYTES + FILCH__STACK_BYTES)
#define CACHE_MAX 64
#define CACHE_BATCH 32
#define CREDIT_BATCH 64

struct slab {
    struct slab *next;
    char *memory;
    unsigned used; /* stacks handed out for the first time; guards are in place up to here, rounded up to the batch */
};

/* Of the process. Everything under the mutex: it is taken once per batch. */
static struct {
    pthread_mutex_t lock;
    struct slab *slabs;
    struct filch__stack *idle;
    size_t mapped;    /* stacks that exist, in slabs */
    size_t promised;  /* credits given out, and room for idle stacks in caches */
    size_t budget;    /* most stacks, where guards cost a mapping each; 0: no limit */
    bool no_guard_advice;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

static size_t max_map_count(void)
{
    FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
    unsigned long count = 65530;

    if (file) {
        if (fscanf(file, "%lu", &count) != 1)
            count = 65530;
        fclose(file);
    }
    return count;
}

/* Guards a batch of stacks that begins at @memory. */
static void guard_batch(char *memory)
{
    for (unsigned i = 0; i < GUARD_BATCH; i++) {
        char *guard = memory + i * STRIDE;

        if (!pool.no_guard_advice) {
            if (madvise(guard, FILCH__STACK_GUARD_BYTES, MADV_GUARD_INSTALL) == 0)
                continue;
            pool.no_guard_advice = true;
        }
        if (mprotect(guard, FILCH__STACK_GUARD_BYTES, PROT_NONE) < 0)
            filch__throw("a stack's guard cannot be installed");
    }
}

/* Does the kernel know guards without mappings? Tried once, on the first slab. */
static void probe_guards(char *memory)
{
    static bool probed;

    if (probed)
        return;
    probed = true;
    if (madvise(memory, FILCH__STACK_GUARD_BYTES, MADV_GUARD_INSTALL) == 0)
        return;
    pool.no_guard_advice = true;
    pool.budget = max_map_count() / 4;
}

static int map_slab(void)
{
    size_t bytes = SLAB_STACKS * STRIDE;
    static struct filch__stack_slabs {
        struct slab slab[64];
    } *block;
    static unsigned block_used = 64;
    struct slab *slab;
    char *memory;

    if (pool.budget && pool.mapped + SLAB_STACKS > pool.budget)
        return -ENOMEM;
    if (block_used == 64) {
        void *fresh = mmap(NULL, sizeof *block, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (fresh == MAP_FAILED)
            return -ENOMEM;
        block = fresh;
        block_used = 0;
    }
    memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED)
        return -ENOMEM;
    madvise(memory, bytes, MADV_NOHUGEPAGE);
    probe_guards(memory);
    slab = &block->slab[block_used++];
    slab->memory = memory;
    slab->used = 0;
    slab->next = pool.slabs;
    pool.slabs = slab;
    pool.mapped += SLAB_STACKS;
    return 0;
}

int filch__stack_credit_take(unsigned n)
{
    int r = 0;

    pthread_mutex_lock(&pool.lock);
    while (pool.promised + n > pool.mapped && r == 0)
        r = map_slab();
    if (r == 0)
        pool.promised += n;
    pthread_mutex_unlock(&pool.lock);
    return r;
}

void filch__stack_credit_give(unsigned n)
{
    pthread_mutex_lock(&pool.lock);
    pool.promised -= n;
    pthread_mutex_unlock(&pool.lock);
}

int filch__stack_cache_credit(struct filch__stack_cache *cache)
{
    int r;

    if (!cache->credits) {
        /* With the first credit, room for the stacks that this cache may hold back from others. */
        unsigned slack = cache->slack ? 0 : CACHE_MAX + CACHE_BATCH;

        r = filch__stack_credit_take(CREDIT_BATCH + slack);
        if (r < 0)
            return r;
        cache->credits = CREDIT_BATCH;
        cache->slack += slack;
    }
    cache->credits--;
    return 0;
}

void filch__stack_cache_uncredit(struct filch__stack_cache *cache)
{
    if (++cache->credits > 4 * CREDIT_BATCH) {
        cache->credits -= 2 * CREDIT_BATCH;
        filch__stack_credit_give(2 * CREDIT_BATCH);
    }
}

/* A stack that was never used. There is one: credits see to it. */
static struct filch__stack *fresh_stack_locked(void)
{
    struct slab *slab = pool.slabs;
    struct filch__stack *stack;
    char *low;

    while (slab && slab->used == SLAB_STACKS)
        slab = slab->next;
    if (!slab)
        filch__throw("a task with a credit found no stack");
    low = slab->memory + slab->used * STRIDE;
    if (slab->used % GUARD_BATCH == 0)
        guard_batch(low);
    slab->used++;
    low += FILCH__STACK_GUARD_BYTES;
    stack = (struct filch__stack *)(void *)(low + FILCH__STACK_BYTES - FILCH_CACHELINE);
    stack->low = low;
    stack->valgrind_id = 0;
    stack->tsan_fiber = NULL;
    return stack;
}

/* Keeps the slab with unused stacks in front, so that fresh stacks are found at once. */
static void rotate_full_slab_locked(void)
{
    struct slab *slab = pool.slabs;
    struct slab *other;

    if (slab->used < SLAB_STACKS)
        return;
    for (other = slab; other->next && other->next->used == SLAB_STACKS; other = other->next)
        ;
    if (!other->next)
        return;
    struct slab *found = other->next;

    other->next = found->next;
    found->next = pool.slabs;
    pool.slabs = found;
}

/* Fills an empty cache: idle stacks first, then new ones. */
static void refill(struct filch__stack_cache *cache)
{
    pthread_mutex_lock(&pool.lock);
    for (unsigned i = 0; i < CACHE_BATCH && pool.idle; i++) {
        struct filch__stack *stack = pool.idle;

        pool.idle = stack->next;
        stack->next = cache->hot;
        cache->hot = stack;
        cache->count++;
    }
    if (!cache->hot) {
        rotate_full_slab_locked();
        cache->hot = fresh_stack_locked();
        cache->hot->next = NULL;
        cache->count = 1;
    }
    pthread_mutex_unlock(&pool.lock);
}

static void annotate(struct filch__stack *stack)
{
#ifdef FILCH__TSAN
    if (!stack->tsan_fiber)
        stack->tsan_fiber = __tsan_create_fiber(0);
#endif
#ifdef FILCH__VALGRIND
    if (RUNNING_ON_VALGRIND && !stack->valgrind_id)
        stack->valgrind_id = 1 + VALGRIND_STACK_REGISTER(stack->low, stack);
#endif
    (void)stack;
}

struct filch__stack *filch__stack_attach(struct filch__stack_cache *cache)
{
    struct filch__stack *stack;

    if (!cache->hot)
        refill(cache);
    stack = cache->hot;
    cache->hot = stack->next;
    cache->count--;
    annotate(stack);
    return stack;
}

static void give_idle(struct filch__stack_cache *cache, unsigned n)
{
    pthread_mutex_lock(&pool.lock);
    for (unsigned i = 0; i < n && cache->hot; i++) {
        struct filch__stack *stack = cache->hot;

        cache->hot = stack->next;
        cache->count--;
        stack->next = pool.idle;
        pool.idle = stack;
    }
    pthread_mutex_unlock(&pool.lock);
}

void filch__stack_detach(struct filch__stack_cache *cache, struct filch__stack *stack)
{
#ifdef FILCH__ASAN
    __asan_unpoison_memory_region(stack->low, (size_t)((char *)stack - stack->low));
#endif
    stack->next = cache->hot;
    cache->hot = stack;
    if (++cache->count > CACHE_MAX)
        give_idle(cache, CACHE_BATCH);
}

void filch__stack_cache_fini(struct filch__stack_cache *cache)
{
    give_idle(cache, cache->count);
    filch__stack_credit_give(cache->credits + cache->slack);
    cache->credits = 0;
    cache->slack = 0;
}

void filch__stack_trim(void)
{
    size_t page = 4096;

    pthread_mutex_lock(&pool.lock);
    for (struct filch__stack *stack = pool.idle; stack; stack = stack->next)
        /* All but the top page, which holds the header. */
        madvise(stack->low, FILCH__STACK_BYTES - page, MADV_DONTNEED);
    pthread_mutex_unlock(&pool.lock);
}

bool filch__stack_is_guard(const void *address)
{
    uintptr_t at = (uintptr_t)address;

    /* No lock: called by a handler of a fault on any thread; slabs are only added. */
    for (struct slab *slab = pool.slabs; slab; slab = slab->next) {
        uintptr_t offset = at - (uintptr_t)slab->memory;

        if (offset < SLAB_STACKS * STRIDE)
            return offset % STRIDE < FILCH__STACK_GUARD_BYTES;
    }
    return false;
}
