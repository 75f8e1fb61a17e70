/* Task stacks: address space in slabs, guards, and a cache of hot stacks.
 *
 * A slab is one NORESERVE mapping of 1,024 stacks of 256 KB, each above a guard of 64 KB. Guards
 * are installed with MADV_GUARD_INSTALL (Linux 6.13; no VMA per stack) in batches of 32 stacks when
 * a batch is first used, or, where the kernel refuses, with PROT_NONE while that leaves enough of
 * vm.max_map_count; beyond that there are no more stacks.
 *
 * Credit: a spawn takes a credit, which stands for address space of one stack, so that the first
 * run of the task cannot fail. The stack itself is attached at first run and detached when the body
 * has returned.
 */
#ifndef FILCH_TASK_STACK_H
#define FILCH_TASK_STACK_H

#include <stdbool.h>
#include <stddef.h>

#define FILCH__STACK_BYTES ((size_t)256 << 10)
#define FILCH__STACK_GUARD_BYTES ((size_t)64 << 10)

/* A stack: the header lies at its top, so the first touch of the stack and of the header is one
 * page. */
struct filch__stack {
    struct filch__stack *next;
    char *low; /* lowest usable byte */
    unsigned valgrind_id;
    void *tsan_fiber; /* created with the stack, kept with it */
};

/* Each worker has one. Owner thread only. */
struct filch__stack_cache {
    struct filch__stack *hot; /* last used first */
    unsigned count;
    unsigned credits;
    unsigned slack; /* stacks promised to this cache, which it may hold back from others */
};

/* Reserves address space for @n more stacks. Any thread. Return: 0; -ENOMEM. */
int filch__stack_credit_take(unsigned n);
void filch__stack_credit_give(unsigned n);

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

/* Gives the memory of idle stacks in the process-wide pool back to the kernel. */
void filch__stack_trim(void);

/* Is @address in a guard of ours? For the overflow handler. */
bool filch__stack_is_guard(const void *address);

#endif
