/* The end of a task: what it has gathered, its scope, its joiner, its block.
 *
 * The order is the proof: the credit goes back before anybody can know of the end, the scope hears
 * before the handle does, and the task is counted last of all, since a shutdown that sees the count
 * may free the runtime. Who still waits for it, and takes the result, is in join.c.
 */
#include <stdlib.h>

#include "runtime/fork/fork.h"
#include "runtime/sched/worker.h"
#include "runtime/task/lost.h"
#include "runtime/task/task_cache.h"

/* @worker: the caller's, if it is one of @rt. */
static inline void count_finished(struct filch_runtime *rt, struct filch__worker *worker)
{
    /* Release: whoever sees the count sees the task's effects. Owner's counter, so no locked
     * instruction. */
    if (worker)
        filch_store_release(&worker->stats.finished,
                            filch_load_relaxed(&worker->stats.finished) + 1);
    else
        filch_fetch_add_acq_rel(&rt->outside_finished, 1);
    if (filch_load_relaxed(&rt->stopping))
        filch__runtime_finished(rt);
}

void filch__task_abort(struct filch__task *task)
{
    struct filch_runtime *rt = filch_load_relaxed(&task->rt);

    if (task->extras)
        filch__task_extras_end(task);
    if (task->flags & FILCH_TASK_COPIED)
        free(task->arg);
    if (filch__task_has_stack(task))
        filch__credit_give(filch__worker_of(rt), task->class_index);
    filch__block_release(task);
    count_finished(rt, filch__worker_of(rt));
}

void filch__task_extras_end(struct filch__task *task)
{
    if (task->extras & FILCH_EXTRA_FORKS)
        filch__fork_end(task);
    if (task->extras & FILCH_EXTRA_INHERITED)
        filch__inherited_drop(task);
    if (task->extras & FILCH_EXTRA_LOCALS)
        filch__locals_end(task);
    if (task->extras & FILCH_EXTRA_FORKS) /* of a destructor */
        filch__fork_end(task);
    if (task->extras & FILCH_EXTRA_BLOCKS)
        filch__throw("a task ended inside of a deadline or a shield that it had begun");
    if (task->extras & FILCH_EXTRA_GROUPED)
        filch__group_leave(filch__task_group(task));
}

#if FILCH_ASSERTS >= 2
filch_atomic_ptr filch__task_end_hook;

static void call_end_hook(struct filch__task *task)
{
    void *hook = filch_load_acquire(&filch__task_end_hook); /* [end-hook] */

    if (hook)
        ((void (*)(struct filch__task *))(uintptr_t)hook)(task);
}
#else
static inline void call_end_hook(struct filch__task *task)
{
    (void)task;
}
#endif

void filch__task_finish(struct filch__task *task, int result)
{
    struct filch_runtime *rt = filch_load_relaxed(&task->rt);
    uint8_t flags = task->flags;
    struct filch__worker *worker;

    if (task->extras)
        filch__task_extras_end(task);
    call_end_hook(task);
    if (flags & FILCH_TASK_COPIED)
        free(task->arg);
    worker = filch__worker_of(rt); /* from here on nothing suspends */
    if (filch__task_has_stack(task))
        filch__credit_give(worker, task->class_index);
    if (__builtin_expect(result < 0, 0))
        filch__lost_note(task);
    task->result = result;
    task->stack = NULL;
    if (flags & FILCH_TASK_SCOPED)
        filch__scope_child_done(task->scope, task, result);
    switch (filch__state_finish(&task->state)) {
    case FILCH_FINISH_RELEASE:
        if (__builtin_expect(result < 0, 0))
            filch__lost_tell(task);
        filch__block_give(worker ? worker : filch__worker_self(), task);
        break;
    case FILCH_FINISH_KEEP:
        break;
    case FILCH_FINISH_WAKE_JOINER:
        /* One that has lost looks at the state when it gives up, and waits for this wake. */
        (void)filch__waiter_claim(task->joiner);
        filch__waiter_wake(task->joiner);
        break;
    }
    count_finished(rt, worker);
}
