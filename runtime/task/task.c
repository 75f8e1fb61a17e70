/* What is asked of a task while it lives: is it cancelled, and why; who am I; how much stack is
 * left; does it belong to the parent of a fork.
 *
 * Its life is in spawn.c, wake.c, end.c and join.c, its word in state.h, its block in task.h.
 */
#include "runtime/task/task.h"

#include <errno.h>

#include <filch/cancel.h>

#include "runtime/fork/fork.h"
#include "runtime/sched/worker.h"

bool filch__task_cancelled(struct filch__task *task)
{
    struct filch_runtime *rt = filch_load_relaxed(&task->rt);

    return filch_load_relaxed(&task->state) & FILCH_TASK_CANCEL ||
           (filch_load_relaxed(&rt->stopping) &&
            !(filch_load_relaxed(&task->state) & FILCH_TASK_SHIELD));
}

int filch__task_cause(struct filch__task *task)
{
    struct filch_runtime *rt = filch_load_relaxed(&task->rt);
    uint64_t state = filch_load_relaxed(&task->state);

    if (state & FILCH_TASK_ASKED)
        return filch__state_cause(state);
    if (state & FILCH_TASK_OVERDUE)
        return -ETIMEDOUT;
    return filch_load_relaxed(&rt->stopping) ? -ESHUTDOWN : 0;
}

bool filch__task_was_forked(struct filch__task *task)
{
    struct filch_runtime *rt = filch_load_acquire(&task->rt);

    return rt && filch__runtime_was_forked(rt);
}

void filch__task_forked(struct filch__task *task)
{
    /* Should its body return, then nothing is touched on the way to filch__runtime_finished(): the
     * scope's lock may be held for ever, a joiner is not here, and locals are the parent's. */
    task->flags &= (uint8_t)~FILCH_TASK_SCOPED;
    task->extras = 0;
    filch_fetch_or_acq_rel(&task->state, FILCH_TASK_HANDLE);
    filch_fetch_and_acq_rel(&task->state, ~FILCH_TASK_JOINING);
}

int filch_cancel_cause(void)
{
    struct filch__task *task = filch__task_current();

    if (!task)
        task = filch__blocking_self();
    while (task && !filch__task_cause(task) && task->flags & FILCH_TASK_FORK)
        task = filch__fork_parent(task);
    return task ? filch__task_cause(task) : 0;
}

filch_task *filch_task_self(void)
{
    struct filch__task *task = filch__fork_root(filch__task_current());

    return task ? filch__task_handle(task) : NULL;
}

uint64_t filch_task_id(const filch_task *handle)
{
    const filch_task *self = handle ? handle : filch_task_self();
    struct filch__task *job = self ? NULL : filch__blocking_self();

    return (uintptr_t)(job ? filch__task_handle(job) : self);
}

const char *filch_task_name(const filch_task *handle)
{
    struct filch__task *task =
        handle ? filch__handle_object(handle) : filch__fork_root(filch__task_current());

    if (!task || (handle && filch__task_generation(task) != filch__handle_generation(handle)))
        return "";
    return task->flags & FILCH_TASK_NAMED ? task->name : "";
}

size_t filch_task_stack_left(void)
{
    const struct filch__task *task = filch__task_current();

    if (!task || !filch__task_has_stack(task) || !task->stack)
        return SIZE_MAX;
    return (size_t)((const char *)__builtin_frame_address(0) - task->stack->low);
}

bool filch_task_is_cancelled(void)
{
    struct filch__task *task = filch__task_current();

    if (!task)
        task = filch__blocking_self();
    return task && (filch__task_cancelled(task) ||
                    (task->flags & FILCH_TASK_FORK && filch__fork_is_asked(task)));
}
