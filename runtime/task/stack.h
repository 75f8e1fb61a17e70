/* Task stacks: address space in slabs, guards, and a cache of hot stacks, for each of a few sizes.
 *
 * A slab is one NORESERVE mapping of up to 1,024 stacks of one class of sizes, each above a guard
 * of 64 KB. Guards are installed with MADV_GUARD_INSTALL (Linux 6.13; no VMA per stack) in batches
 * of 32 stacks when a batch is first used; or, where the kernel refuses, with PROT_NONE for a whole
 * slab when it is mapped, while that leaves enough of vm.max_map_count: beyond that there are no
 * more stacks. Slabs are not locked into memory even in a process that called mlockall(2).
 *
 * Credit: a spawn takes a credit, which stands for address space of one stack, so that the first
 * run of the task cannot fail. The stack itself is attached at first run and detached when the body
 * has returned.
 */
#ifndef FILCH_TASK_STACK_H
#define FILCH_TASK_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FILCH__STACK_GUARD_BYTES ((size_t)64 << 10)

enum filch__stack_class {
    FILCH_STACK_256K, /* the default: OpenSSL, printf and getaddrinfo just work */
    FILCH_STACK_16K,
    FILCH_STACK_64K,
    FILCH_STACK_1M,
    FILCH__STACK_CLASSES
};

/* A stack: the header lies at its top, so the first touch of the stack and of the header is one
 * page. */
struct filch__stack {
    struct filch__stack *next;
    char *low; /* lowest usable byte */
    unsigned valgrind_id;
    uint8_t size_class;      /* enum filch__stack_class */
    const void *spawn_place; /* of the task that runs on it: a code address */
    void *tsan_fiber;        /* created with the stack, kept with it */
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
    unsigned credits;
    unsigned slack; /* stacks promised to this cache, which it may hold back from others */
};

/* Reserves address space for @n more stacks. Any thread. Return: 0; -ENOMEM. */
int filch__stack_credit_take(enum filch__stack_class size_class, unsigned n);
void filch__stack_credit_give(enum filch__stack_class size_class, unsigned n);

/* Takes one credit, from the cache or 64 at a time. Owner thread. Return: 0; -ENOMEM. */
int filch__stack_cache_credit(struct filch__stack_cache *cache);

/* Gives one credit back, in bulk when there are many. */
void filch__stack_cache_uncredit(struct filch__stack_cache *cache);

/* A stack for a task that has a credit: never NULL. Owner thread. */
struct filch__stack *filch__stack_attach(struct filch__stack_cache *cache);

/* Gives a stack that nobody runs on back; above 64 in the cache, 32 go to the process-wide pool. */
void filch__stack_detach(struct filch__stack_cache *cache, struct filch__stack *stack);

/* Empties the cache into the process-wide pool: before its owner ends. */
void filch__stack_cache_fini(struct filch__stack_cache *cache);

/* Stacks in the process-wide pool whose memory could be given back. Any thread; roughly. */
size_t filch__stack_untrimmed(void);

/* Gives the memory of idle stacks in the process-wide pool back to the kernel. */
void filch__stack_trim(void);

/* In the child of a fork, whose only thread calls: no stack of the parent's is used again, but for
 * the one that the caller may be on. */
void filch__stack_forked(void);

/* Is @address in a guard of ours? Any thread, also in a signal handler. */
bool filch__stack_is_guard(const void *address);

#endif
