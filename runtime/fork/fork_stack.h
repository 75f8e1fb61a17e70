/* A task's fork stack, as the two files about it share it: fork.c (stacks; the slow paths of fork
 * and join), which has the picture, and fork_share.c (what becomes of a fork that is given away).
 */
#ifndef FILCH_FORK_FORK_STACK_H
#define FILCH_FORK_FORK_STACK_H

#include "runtime/base/spinlock.h"
#include "runtime/fork/ask.h"
#include "runtime/fork/fork.h"
#include "runtime/fork/pace.h"

#define ENTRIES 1000

struct filch__fork_stack {
    /* As in struct filch__fork_head. [fork-ask] */
    filch_atomic_ptr limit;
    /* Owner only. */
    struct filch__fork **near_top; /* where it was when somebody looked */
    struct filch__fork **oldest;   /* private, or the top */
    struct filch__fork **room;
    struct filch__pace pace;
    struct filch__task *task;
    struct filch__task *spare; /* linked by `next` */
    unsigned spares;
    unsigned size_class; /* of the spares' credits */
    unsigned wake_look;  /* forks until the next look */
    bool is_pinned;
    bool keeps; /* the next leaving is a yield that shares nothing */
    bool chaos;
    uint32_t random;
    struct filch__fork_stack *next; /* while it is nobody's */
    struct filch__fork_locals locals;
    struct filch__fork *guard; /* NULL: below the first entry is nothing to pop */
    struct filch__fork *entry[ENTRIES];
};

_Static_assert(sizeof(struct filch__fork_stack) <= FILCH__FORK_STACK_BYTES,
               "the head is found by rounding down");
_Static_assert(offsetof(struct filch__fork_stack, limit) ==
                   offsetof(struct filch__fork_head, limit),
               "programs see the head");
_Static_assert(offsetof(struct filch__fork_stack, entry) ==
                   offsetof(struct filch__fork_stack, guard) + sizeof(void *),
               "the guard is entry[-1]");

/* What a shared fork's entry holds. */
static inline struct filch__fork *filch__fork_marked(struct filch__fork *fork)
{
    return (struct filch__fork *)((uintptr_t)fork | 1);
}

static inline struct filch__fork *filch__fork_unmarked(struct filch__fork *entry)
{
    return (struct filch__fork *)((uintptr_t)entry & ~(uintptr_t)3);
}

static inline struct filch__fork_stack *filch__fork_mine(struct filch__worker *worker)
{
    return filch_load_relaxed(&worker->forks);
}

/* What forks compare with, while nobody asks. */
static inline struct filch__fork **filch__fork_room_of(struct filch__fork_stack *stack)
{
    struct filch__fork **at = stack->pace.at;

    return at && at < stack->room ? at : stack->room;
}

static inline void filch__fork_set_limit(struct filch__fork_stack *stack)
{
    filch__ask_set_room(&stack->limit, filch__fork_room_of(stack));
}

/* The task goes on, in a slice that has begun, while there are groups. */
static inline void filch__fork_set_pace(struct filch__worker *worker,
                                        struct filch__fork_stack *stack)
{
    if (filch_load_relaxed(&worker->rt->grouped)) {
        filch__pace_start(&stack->pace, stack->entry);
        stack->pace.end = filch__group_slice_end(worker);
    } else {
        stack->pace.at = NULL;
    }
}

static inline bool filch__fork_was_asked(const struct filch__task *task)
{
    return filch_load_relaxed(&task->state) & FILCH_TASK_ASKED;
}

/* fork_share.c. Gives the oldest private forks away: those that somebody asks for, if it is time
 * to; the next ones, if somebody sleeps, who may not have asked. */
void filch__fork_answer(struct filch__worker *worker, struct filch__fork_stack *stack);
void filch__fork_ask_for_sleepers(struct filch_runtime *rt, struct filch__fork_stack *stack);

/* Could anybody take one? */
bool filch__fork_has_takers(struct filch__worker *worker, struct filch__fork_stack *stack);

#endif
