/* See stack.h.
 *
 *     slab, 1,024 times:  | guard 64 KB | stack 256 KB ............. [header] |
 *                           low            grows down from the header
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

#define SLAB_STACKS 1024
#define GUARD_BATCH 32
/* An odd number of pages: else the hot ends of all stacks share a few sets of the TLB. */
#define STRIDE (FILCH__STACK_GUARD_BYTES + FILCH__STACK_BYTES + 4096)
#define CACHE_MAX 64
#define CACHE_BATCH 32
#define CACHE_SLACK (CACHE_MAX + 1) /* a detach puts its stack in before it gives others away */
#define CREDIT_BATCH 64
#define TRIM_BATCH 32

_Static_assert(sizeof(struct filch__stack) <= FILCH_CACHELINE, "the header is one line");
_Static_assert(SLAB_STACKS % GUARD_BATCH == 0, "batches of guards fill a slab");

struct slab {
    /* The slab mapped after this one. Written once, under the lock; the overflow handler reads it
     * without. [slab-publish] release in map_slab_locked() -> acquire in filch__stack_is_guard():
     * `memory` is visible. */
    filch_atomic_ptr next;
    char *memory;
    unsigned used; /* stacks handed out at least once; guards are in place up to here, rounded up to
                      a batch */
};

/* Of the process; all but the links between slabs is under the lock. */
static struct {
    pthread_mutex_t lock;
    filch_atomic_ptr first; /* struct slab, as slab.next: [slab-publish] */
    struct slab *last;
    struct slab *fresh;           /* the oldest slab with stacks that were never used */
    struct filch__stack *idle;    /* last used first */
    struct filch__stack *trimmed; /* idle, with no memory but their top page */
    size_t mapped;                /* stacks in slabs */
    size_t promised;              /* credits given out, and slack of caches */
    size_t budget;                /* most stacks; SIZE_MAX where guards cost no mappings */
    bool no_guard_advice;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .budget = SIZE_MAX};

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

/* Does the kernel know guards without mappings? Tried on the first slab, whose first guard it
 * installs. */
static void probe_guards_locked(char *memory)
{
    if (pool.last || madvise(memory, FILCH__STACK_GUARD_BYTES, MADV_GUARD_INSTALL) == 0)
        return;
    pool.no_guard_advice = true;
    /* Each stack is then two mappings, and half of the mappings stay for the program. */
    pool.budget = max_map_count() / 4;
}

static void guard_batch_locked(char *memory)
{
    for (unsigned i = 0; i < GUARD_BATCH; i++) {
        char *guard = memory + i * STRIDE;

        if (!pool.no_guard_advice &&
            madvise(guard, FILCH__STACK_GUARD_BYTES, MADV_GUARD_INSTALL) == 0)
            continue;
        if (mprotect(guard, FILCH__STACK_GUARD_BYTES, PROT_NONE) < 0)
            filch__throw("a stack's guard cannot be installed");
    }
}

static char *map_memory(void)
{
    char *memory = mmap(NULL, SLAB_STACKS * STRIDE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

    if (memory == MAP_FAILED)
        return NULL;
    /* A huge page would make each stack cost 2 MB. */
    madvise(memory, SLAB_STACKS * STRIDE, MADV_NOHUGEPAGE);
    return memory;
}

static int map_slab_locked(void)
{
    struct slab *slab;

    if (pool.mapped + SLAB_STACKS > pool.budget)
        return -ENOMEM;
    slab = calloc(1, sizeof *slab);
    if (!slab)
        return -ENOMEM;
    slab->memory = map_memory();
    if (!slab->memory) {
        free(slab);
        return -ENOMEM;
    }
    probe_guards_locked(slab->memory);
    filch_atomic_init(&slab->next, NULL);
    filch_store_release(pool.last ? &pool.last->next : &pool.first, slab); /* [slab-publish] */
    pool.last = slab;
    if (!pool.fresh)
        pool.fresh = slab;
    pool.mapped += SLAB_STACKS;
    return 0;
}

static int promise_locked(size_t n)
{
    while (pool.mapped - pool.promised < n) {
        int r = map_slab_locked();

        if (r < 0)
            return r;
    }
    pool.promised += n;
    return 0;
}

int filch__stack_credit_take(unsigned n)
{
    int r;

    pthread_mutex_lock(&pool.lock);
    r = promise_locked(n);
    pthread_mutex_unlock(&pool.lock);
    return r;
}

void filch__stack_credit_give(unsigned n)
{
    pthread_mutex_lock(&pool.lock);
    filch_assert_state(pool.promised >= n);
    pool.promised -= n;
    pthread_mutex_unlock(&pool.lock);
}

int filch__stack_cache_credit(struct filch__stack_cache *cache)
{
    if (!cache->credits) {
        /* Near the limit the last ones are taken one by one. */
        if (filch__stack_credit_take(CREDIT_BATCH) < 0)
            return filch__stack_credit_take(1);
        cache->credits = CREDIT_BATCH;
    }
    cache->credits--;
    return 0;
}

void filch__stack_cache_uncredit(struct filch__stack_cache *cache)
{
    if (++cache->credits > 4 * CREDIT_BATCH) {
        cache->credits -= 2 * CREDIT_BATCH; /* the rest covers the stack in transit: [reach] */
        filch__stack_credit_give(2 * CREDIT_BATCH);
    }
}

/* A stack that was never used. There is one: [credit], [reach]. */
static struct filch__stack *fresh_stack_locked(void)
{
    struct slab *slab = pool.fresh;
    struct filch__stack *stack;
    char *memory;

    if (!slab)
        filch__throw("a task with a credit found no stack");
    memory = slab->memory + slab->used * STRIDE;
    if (slab->used % GUARD_BATCH == 0)
        guard_batch_locked(memory);
    if (++slab->used == SLAB_STACKS)
        pool.fresh = filch_load_relaxed(&slab->next); /* relaxed: it is written under our lock */
    stack = (struct filch__stack *)(void *)(memory + STRIDE - FILCH_CACHELINE);
    stack->next = NULL;
    stack->low = memory + FILCH__STACK_GUARD_BYTES;
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

static struct filch__stack *pop_idle_locked(void)
{
    struct filch__stack **list = pool.idle ? &pool.idle : &pool.trimmed;
    struct filch__stack *stack = *list;

    if (stack)
        *list = stack->next;
    return stack;
}

/* Fills an empty cache: with a batch of idle stacks if it may hold them back, else with the one
 * that is asked for. */
static void cache_refill(struct filch__stack_cache *cache)
{
    struct filch__stack *stack;
    unsigned batch;

    pthread_mutex_lock(&pool.lock);
    if (!cache->slack && promise_locked(CACHE_SLACK) == 0)
        cache->slack = CACHE_SLACK;
    batch = cache->slack ? CACHE_BATCH : 1;
    while (cache->count < batch && (stack = pop_idle_locked()))
        cache_push(cache, stack);
    stack = cache->hot ? NULL : fresh_stack_locked();
    pthread_mutex_unlock(&pool.lock);
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
    pthread_mutex_lock(&pool.lock);
    for (; n && cache->hot; n--) {
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
    filch__stack_credit_give(cache->credits + cache->slack);
    cache->credits = 0;
    cache->slack = 0;
}

/* A few at a time, as the kernel is slow to free and workers wait for the lock. Return: is there
 * more? */
static bool trim_batch(size_t bytes)
{
    bool more;

    pthread_mutex_lock(&pool.lock);
    for (unsigned i = 0; i < TRIM_BATCH && pool.idle; i++) {
        struct filch__stack *stack = pool.idle;

        pool.idle = stack->next;
        madvise(stack->low, bytes, MADV_DONTNEED);
        stack->next = pool.trimmed;
        pool.trimmed = stack;
    }
    more = pool.idle;
    pthread_mutex_unlock(&pool.lock);
    return more;
}

void filch__stack_trim(void)
{
    /* All but the top page, which holds the header. */
    size_t bytes = FILCH__STACK_BYTES - (size_t)sysconf(_SC_PAGESIZE);

    while (trim_batch(bytes))
        ;
}

bool filch__stack_is_guard(const void *address)
{
    struct slab *slab = filch_load_acquire(&pool.first); /* [slab-publish] */

    /* No lock: a signal handler asks, on any thread. Slabs are only ever added, at the end. */
    for (; slab; slab = filch_load_acquire(&slab->next)) {
        uintptr_t offset = (uintptr_t)address - (uintptr_t)slab->memory;

        if (offset < SLAB_STACKS * STRIDE)
            return offset % STRIDE < FILCH__STACK_GUARD_BYTES;
    }
    return false;
}
