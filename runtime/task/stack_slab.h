/* Slabs: where stacks come from. Private to stack.c; all but the search is under its lock.
 *
 *     slab, many times:  | guard 64 KB | usable bytes ............. [header] |
 *                          low            grows down from the header
 *
 * Each stack is in one of four states, the first two of which are a bit in its slab:
 *
 *     absent --prepare--> BLANK --take--> in use, or in a cache --give--> IDLE --take--> in use
 *                           ^                                               |
 *                           +--------------------- trim --------------------+
 *
 * A BLANK one has no memory, or is to lose it: nothing is written in it, header included. An IDLE
 * one has its header.
 *
 * Two kinds of slabs, as the kernel allows when they are mapped:
 *   advised    read-write as a whole: one line in /proc/self/maps, or less. Guards are put in with
 *              MADV_GUARD_INSTALL (Linux 6.13), by the batch, when a stack above them is first
 * taken. protected  no access as a whole; stacks are made writable one by one before they are
 * promised, and what is left between them guards. Each costs two mappings, so all slabs together
 *              have a budget: half of vm.max_map_count. For kernels without that call, for memory
 *              that is locked (mlockall(MCL_FUTURE)), where the call is refused, and where address
 *              space is accounted (vm.overcommit_memory=2), so that only what is promised counts.
 *
 * The guards of an advised slab can be refused later, when the host has locked all memory since.
 * Then: PROT_NONE within the same budget; then the slab is unlocked. A guard is worth more than a
 * promise to the host that its idle stacks are resident.
 */
#ifndef FILCH_TASK_STACK_SLAB_H
#define FILCH_TASK_STACK_SLAB_H

#include <stdalign.h>

#include "runtime/base/atomic.h"
#include "runtime/base/list.h"
#include "runtime/task/stack.h"

#define FILCH__SLAB_STACKS_MAX 1024
#define FILCH__SLAB_WORDS (FILCH__SLAB_STACKS_MAX / 64)

struct filch__stack_slab {
    /* The slab mapped after this one, of any class. Written once, under the lock; the overflow
     * handler reads it without. [slab-publish] release in slab_publish() -> acquire in
     * filch__slab_find(): the next four fields, which never change, are visible. */
    alignas(FILCH_CACHELINE) filch_atomic_ptr next;
    char *memory;
    size_t stride;
    unsigned count; /* stacks */
    enum filch__stack_class size_class;
    bool is_advised;
    bool has_mapped_guards; /* advised, and some guards are PROT_NONE */
    /* Guards are in place below this one. Those above are blank (advised) or absent (protected). */
    unsigned ready;
    unsigned idle_count;
    unsigned blank_count;
    uint64_t idle[FILCH__SLAB_WORDS];
    uint64_t blank[FILCH__SLAB_WORDS];
    filch_time used_at;              /* the last give or take */
    struct filch__list idle_link;    /* in the class's list while idle_count > 0 */
    struct filch__list blank_link;   /* while blank_count > 0 */
    struct filch__list drained_link; /* while all of it is blank, and guards are still in place */
};

#define FILCH__SLAB_TOUCH_MAX 32

/* What slabs of one class have in common. */
struct filch__slab_class {
    struct filch__list idle;  /* slabs with idle stacks, the last used first */
    struct filch__list blank; /* slabs with blank stacks */
    struct filch__list drained;
    struct filch__stack_slab *unready; /* the protected slab that has absent stacks */
    uint64_t idle_count;
    uint64_t mapped; /* stacks that are not absent */
    uint64_t map_bytes;
};

void filch__slab_class_init(struct filch__slab_class *of);

/* Makes at least one more stack blank: prepares some, or maps a slab. Return: 0; -ENOMEM. */
int filch__slab_grow(struct filch__slab_class *of, enum filch__stack_class size_class);

/* An idle stack. Return: NULL if there is none. */
struct filch__stack *filch__slab_take(struct filch__slab_class *of, filch_time now);

/* BLANK -> reserved, for up to @max neighbours: nobody else takes them, and none of their memory is
 * touched. Return: how many; 0 if none is blank. */
unsigned filch__slab_reserve(struct filch__slab_class *of, unsigned max, filch_time now,
                             struct filch__stack_slab **ret_slab, unsigned *ret_first);

/* Faults in, by one system call, the memory that opening up to FILCH__SLAB_TOUCH_MAX reserved
 * neighbours will touch. Without the lock; may do nothing. */
void filch__slab_touch(struct filch__stack_slab *slab, unsigned first, unsigned n);

/* Reserved -> in use: the first touch of its memory, which is a page fault. Without the lock. */
struct filch__stack *filch__slab_open(struct filch__stack_slab *slab, unsigned index);

/* Reserved -> BLANK; what was touched is given back. */
void filch__slab_unreserve(struct filch__slab_class *of, struct filch__stack_slab *slab,
                           unsigned first, unsigned n);

/* In use -> IDLE. @now may be 0: the stack was not used of late. */
void filch__slab_give(struct filch__slab_class *of, struct filch__stack *stack, filch_time now);

/* IDLE -> BLANK for a few stacks of slabs not used since @before; then page tables. Return: was
 * there anything to do? */
bool filch__slab_trim(struct filch__slab_class *of, filch_time before);

/* In the child of a fork, after the classes were initialised anew: no stack is blank or idle. */
void filch__slabs_forked(void);

/* Bytes above the guard, for a class's frames. */
size_t filch__slab_usable(enum filch__stack_class size_class);

/* See filch__stack_of_guard(). */
struct filch__stack *filch__slab_find(const void *address, enum filch__stack_class *ret_size_class);

/* What tools know of a stack ends when its header does. */
void filch__stack_forget(struct filch__stack *stack);

#endif
