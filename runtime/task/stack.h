/* Task stacks: classes of sizes, credits, and a cache of hot stacks per worker.
 *
 * Stacks come from slabs (task/stack_slab.h), which belong to the process and are never unmapped.
 * Each has a guard of 64 KB below its usable bytes.
 *
 * Credit: a spawn takes a credit of its class, which stands for address space of one stack and a
 * guard that can be put in place, so that the first run of the task cannot fail. The stack itself
 * is attached at first run and detached when the body has returned.
 */
#ifndef FILCH_TASK_STACK_H
#define FILCH_TASK_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <filch/base.h>

#define FILCH__STACK_GUARD_BYTES ((size_t)64 << 10)
/* How long stacks lie idle before their memory is given back. */
#define FILCH__STACK_REST_NS FILCH_SECOND

enum filch__stack_class {
    FILCH_STACK_256K, /* the default: OpenSSL, printf and getaddrinfo just work */
    FILCH_STACK_16K,
    FILCH_STACK_64K,
    FILCH_STACK_1M,
    FILCH__STACK_CLASSES
};

struct filch__stack_slab;

/* A stack: the header lies at its top, so the first touch of the stack and of the header is one
 * page. Valid from attach to detach, and while it lies in a cache. */
struct filch__stack {
    struct filch__stack *next;
    char *low;               /* lowest usable byte */
    const void *spawn_place; /* of the task that runs on it: a code address */
    struct filch__stack_slab *slab;
    uint16_t index;     /* in the slab */
    uint8_t size_class; /* enum filch__stack_class */
    unsigned valgrind_id;
    void *tsan_fiber; /* created with the stack, kept with it */
};

/* Usable bytes, header included. */
size_t filch__stack_bytes(enum filch__stack_class size_class);

/* The smallest class with at least @bytes; the default for 0. Return: -EINVAL when none is that
 * large. */
int filch__stack_class_of(size_t bytes);

/* Each worker has one for each class. Owner thread only. */
struct filch__stack_cache {
    struct filch__stack *hot; /* last used first */
    enum filch__stack_class size_class;
    unsigned count;
    unsigned limit; /* most stacks that it may hold back; 0 until they are promised */
    unsigned credits;
    unsigned credits_most; /* with more, some go back to the pool; 0 until the first comes back */
    unsigned slack;        /* stacks promised to this cache */
    /* Neighbours that were never used, or not for long: reserved in bulk, opened one by one. */
    struct filch__stack_slab *fresh_slab;
    unsigned fresh_first;
    unsigned fresh_count;
    bool grows; /* the last stacks it got were fresh, too */
};

/* Of the process. */
struct filch__stack_numbers {
    uint64_t mapped;    /* stacks that exist, used or not */
    uint64_t promised;  /* of those, credits of tasks and what workers keep in hand */
    uint64_t idle;      /* of those, unused with memory of their own, outside of caches */
    uint64_t map_bytes; /* address space, with guards */
};

/* Reserves address space for @n more stacks. Any thread. Return: 0; -ENOMEM. */
int filch__stack_credit_take(enum filch__stack_class size_class, unsigned n);
void filch__stack_credit_give(enum filch__stack_class size_class, unsigned n);

/* The rest of the next two, out of line. */
int filch__stack_cache_fill(struct filch__stack_cache *cache);
void filch__stack_cache_spill(struct filch__stack_cache *cache);

/* Takes one credit, from the cache or in bulk. Owner thread. Return: 0; -ENOMEM. */
static inline int filch__stack_cache_credit(struct filch__stack_cache *cache)
{
    if (!cache->credits)
        return filch__stack_cache_fill(cache);
    cache->credits--;
    return 0;
}

/* Gives one credit back, in bulk when there are many. */
static inline void filch__stack_cache_uncredit(struct filch__stack_cache *cache)
{
    if (++cache->credits > cache->credits_most)
        filch__stack_cache_spill(cache);
}

/* A stack for a task that has a credit: never NULL. Owner thread. */
struct filch__stack *filch__stack_attach(struct filch__stack_cache *cache);

/* Gives a stack that nobody runs on back; when there are too many in the cache, half of them go to
 * the process-wide pool. */
void filch__stack_detach(struct filch__stack_cache *cache, struct filch__stack *stack);

/* Empties the cache into the process-wide pool: before its owner ends. */
void filch__stack_cache_fini(struct filch__stack_cache *cache);

/* Its owner had nothing to run for a while: all but a few small stacks go to the pool, and count as
 * unused since then. */
void filch__stack_cache_rest(struct filch__stack_cache *cache);

/* Might a rest and a trim give memory back? @caches: one of each class. Owner thread; cheap. */
bool filch__stack_is_worth_trimming(const struct filch__stack_cache *caches);

/* Gives memory of some stacks in the pool back to the kernel, if nobody took or gave their like for
 * FILCH__STACK_REST_NS. Return: when to call again: @now (there is more to do), later, or
 * FILCH_NEVER (nothing is left). Any thread. */
filch_time filch__stack_trim(filch_time now);

/* In the child of a fork, whose only thread calls: no stack of the parent's is used again, but for
 * the one that the caller may be on. */
void filch__stack_forked(void);

/* Looks for the stack in whose guard @address lies. Async-signal-safe, on any thread. The header is
 * valid only if the caller knows that the stack is in use. Return: NULL if there is none. */
struct filch__stack *filch__stack_of_guard(const void *address,
                                           enum filch__stack_class *ret_size_class);

/* Thread-safety: any thread. */
void filch__stack_numbers(struct filch__stack_numbers *ret_numbers);

#endif
