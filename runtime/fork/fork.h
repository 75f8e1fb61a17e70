/* What the runtime's other parts ask of fork and join: include/filch/fork.h is how programs see it,
 * fork.c how it works. */
#ifndef FILCH_FORK_FORK_H
#define FILCH_FORK_FORK_H

#include <filch/fork.h>

#include "runtime/sched/worker.h"

/* The running task is about to leave its worker: what it has forked becomes runnable by anybody.
 * Return: its fork stack, for filch__fork_return(); NULL: it has none. */
struct filch__fork_stack *filch__fork_leave(struct filch__worker *worker);

/* It goes on, perhaps on another worker. NULL is allowed. */
void filch__fork_return(struct filch__fork_stack *stack);

/* Something begins that the forks of the running task are not to be in, or not to wait for. */
void filch__fork_share_all(void);

/* The body of a task with FILCH_EXTRA_FORKS has returned: gives its fork stack back. */
void filch__fork_end(struct filch__task *task);

/* A worker without work asks those that fork for some. Return: was there anybody to ask? */
bool filch__fork_ask(struct filch__worker *worker);

/* For loops (sync/parallel.c), which fork before each piece: may the caller fork, rather than call?
 */
bool filch__fork_may(void);

enum filch__fork_look {
    FILCH_FORK_QUIET, /* nobody wants anything, or has just got an older fork */
    FILCH_FORK_ASKED, /* somebody asks, and there is nothing to give but what is forked now */
    FILCH_FORK_FULL,  /* what is forked now runs at once */
};
enum filch__fork_look filch__fork_look_slow(filch__fork_top top);

static inline enum filch__fork_look filch__fork_look(filch__fork_top top)
{
    if (__builtin_expect(
            (void *)top < filch_load_relaxed((filch_atomic_ptr *)(void *)filch__fork_head_of(top)),
            1))
        return FILCH_FORK_QUIET;
    return filch__fork_look_slow(top);
}

/* The watch: has the task that @worker runs forked what it has not joined? Any thread; true of a
 * moment, and perhaps of a task that has left meanwhile. */
bool filch__fork_is_open(struct filch__worker *worker);

/* The watch: the task that @worker runs has used up its time, and is to yield at a join. Any
 * thread; may meet another task's fork stack, which is harmless. */
void filch__fork_nudge(struct filch__worker *worker);

/* The running task is about to yield, at once, and waits for nothing: what is private stays so. */
void filch__fork_keep(void);

/* Where a worker without work asks (fork/ask.h). */
filch_atomic_ptr *filch__fork_limit(struct filch__fork_stack *stack);

/* Gives back what the worker keeps for forks to come. */
void filch__fork_empty(struct filch__worker *worker);

/* The task that has forked @task, which is a fork. */
struct filch__task *filch__fork_parent(const struct filch__task *task);

/* The task that @task, if it is a fork, is a part of; else itself. NULL for NULL. */
struct filch__task *filch__fork_root(struct filch__task *task);

/* Of a fork: was one that it is a part of asked to end? */
bool filch__fork_is_asked(const struct filch__task *task);

/* What locals of a task that has a fork stack are guarded by, and whether it has any; NULL: it has
 * no fork stack, and is alone with them. @task is a root. */
struct filch__fork_locals {
    filch_spinlock lock;
    bool any; /* under the lock: task->locals is set, whatever task->extras says */
};
struct filch__fork_locals *filch__fork_locals(struct filch__task *root);

#endif
