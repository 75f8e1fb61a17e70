/* Joining and detaching: what becomes of a handle.
 *
 * A handle is a block's address and a generation (base/handle.h). Whoever joins leaves a waiter in
 * the block, which the task's end claims and wakes (end.c); or finds the task DONE. Then the block
 * is the joiner's, who reads the result and gives it back. A detached task gives it back itself.
 */
#include <errno.h>

#include "runtime/sched/worker.h"
#include "runtime/task/lost.h"
#include "runtime/task/task_cache.h"

int filch__task_collect(struct filch__task *task)
{
    int32_t result = task->result;

    filch__block_release(task);
    return result;
}

int filch_task_join(filch_task *handle, int *ret_result, filch_time until)
{
    struct filch__task *task = filch__handle_object(handle);
    struct filch__waiter waiter;
    int r;

    if (!handle)
        return -EINVAL;
    if (handle == filch_task_self())
        return -EDEADLK;
    if (filch__task_generation(task) != filch__handle_generation(handle))
        return -ESRCH;
    filch__waiter_init(&waiter, FILCH_WAIT_JOIN);
    switch (filch__state_join_begin(&task->state, filch__handle_generation(handle), &task->joiner,
                                    &waiter)) {
    case FILCH_JOIN_STALE:
        return -ESRCH;
    case FILCH_JOIN_BUSY:
        return -EBUSY;
    case FILCH_JOIN_WAIT:
        r = filch__task_was_forked(task) ? -ECHILD : filch__waiter_wait(&waiter, until);
        if (r < 0) {
            if (filch__state_join_abandon(&task->state))
                return r;
            filch__waiter_wait_shielded(&waiter);
        }
        break;
    case FILCH_JOIN_DONE:
        break;
    }
    if (ret_result)
        *ret_result = task->result;
    filch__block_release(task);
    return 0;
}

static int join_answer(enum filch__join_result result)
{
    switch (result) {
    case FILCH_JOIN_STALE:
        return -ESRCH;
    case FILCH_JOIN_BUSY:
        return -EBUSY;
    case FILCH_JOIN_DONE:
        return 0;
    case FILCH_JOIN_WAIT:
        break;
    }
    return -EAGAIN;
}

int filch__task_join_look(filch_task *handle)
{
    struct filch__task *task = filch__handle_object(handle);

    if (handle == filch_task_self())
        return -EDEADLK;
    return join_answer(filch__state_join_look(&task->state, filch__handle_generation(handle)));
}

int filch__task_join_begin(filch_task *handle, struct filch__waiter *waiter)
{
    struct filch__task *task = filch__handle_object(handle);
    uint64_t generation = filch__handle_generation(handle);

    if (filch__task_generation(task) == generation && filch__task_was_forked(task))
        return -ECHILD;
    return join_answer(filch__state_join_begin(&task->state, generation, &task->joiner, waiter));
}

int filch__task_join_take(filch_task *handle, int *ret_result)
{
    struct filch__task *task = filch__handle_object(handle);

    if (ret_result)
        *ret_result = task->result;
    filch__block_release(task);
    return 0;
}

void filch__task_join_abandon(filch_task *handle, struct filch__waiter *waiter)
{
    struct filch__task *task = filch__handle_object(handle);

    if (filch__state_join_abandon(&task->state))
        return;
    filch__waiter_wait_shielded(waiter);
    filch__state_join_undo(&task->state);
}

int filch__task_join_shielded(filch_task *handle)
{
    struct filch__task *task = filch__handle_object(handle);
    struct filch__waiter waiter;

    filch__waiter_init(&waiter, FILCH_WAIT_JOIN);
    if (filch__state_join_begin(&task->state, filch__handle_generation(handle), &task->joiner,
                                &waiter) == FILCH_JOIN_WAIT)
        filch__waiter_wait_shielded(&waiter);
    return filch__task_collect(task);
}

int filch_task_detach(filch_task *handle)
{
    struct filch__task *task = filch__handle_object(handle);

    if (!handle)
        return 0;
    switch (filch__state_detach(&task->state, filch__handle_generation(handle))) {
    case FILCH_DETACH_STALE:
        return -ESRCH;
    case FILCH_DETACH_BUSY:
        return -EBUSY;
    case FILCH_DETACH_RELEASE:
        if (task->result < 0)
            filch__lost_tell_late(task);
        filch__block_release(task);
        return 0;
    case FILCH_DETACH_DONE:
        break;
    }
    return 0;
}

bool filch_task_is_finished(const filch_task *handle)
{
    struct filch__task *task = filch__handle_object(handle);
    uint64_t state;

    if (!handle)
        return true;
    state = filch_load_acquire(&task->state); /* [task-result] */
    return filch__state_generation(state) != filch__handle_generation(handle) ||
           state & FILCH_TASK_DONE;
}
