/* Waking: a task becomes ready because of a wake, or of a cancel.
 *
 * It goes into its waker's own queue if the waker is a worker of the same runtime, else through the
 * inject queue. Control blocks are never unmapped, so wakers and handles carry a generation instead
 * of a reference count, and a late one finds a valid word that is not its own (state.h).
 *
 * A thread of the second kind may still be in the runtime when the task that it woke has ended and
 * the runtime is being freed: such wakes are counted, per runtime, and freeing waits for the count
 * to be zero [foreign-wake].
 */
#include <errno.h>

#include <filch/cancel.h>

#include "runtime/sched/worker.h"
#include "runtime/task/ready.h"
#include "runtime/task/task_cache.h"

#define FILCH__ERRNO_MAX 4095

__attribute__((noinline)) void filch__task_ready_apart(struct filch__worker *worker,
                                                       struct filch__task *task, bool front)
{
    if (filch__worker_push_apart(worker, task))
        return;
    filch_counter_add(&worker->stats.local_wakes, 1);
    if (front)
        filch__worker_push_front(worker, task);
    else
        filch__worker_push_back(worker, task);
}

static void enqueue(struct filch__task *task)
{
    struct filch_runtime *rt = filch_load_relaxed(&task->rt);
    struct filch__worker *worker = filch__worker_of(rt);

    if (worker)
        filch__task_ready(worker, task, false);
    else
        filch__runtime_inject(rt, task);
}

void filch__task_start(struct filch__task *task)
{
    enqueue(task);
}

/* Is the caller a worker of the task's runtime? Should the block be recycled for another runtime at
 * this moment, the generation is another too, and nothing will be queued. */
static bool is_inside(struct filch__worker *worker, struct filch__task *task)
{
    return worker && worker->rt == filch_load_acquire(&task->rt);
}

/* [foreign-wake] The add comes before the wake's CAS. If that succeeds, the task had not ended, so
 * the runtime's end comes later and sees the add; if not, the runtime is not used, and may be gone:
 * its block is never freed, so a count in it harms nobody. The generation also proves that `rt` was
 * read for the same task. */
static struct filch_runtime *foreign_begin(struct filch__task *task)
{
    struct filch_runtime *rt = filch_load_acquire(&task->rt);

    filch_fetch_add_seq_cst(&rt->wakers, 1);
    return rt;
}

static void foreign_end(struct filch_runtime *rt)
{
    filch_fetch_sub_seq_cst(&rt->wakers, 1); /* [foreign-wake] */
}

/* A look before anything is counted: late wakes in plenty must not hold a shutdown up. */
static bool is_over(struct filch__task *task, uint64_t generation)
{
    uint64_t state = filch_load_relaxed(&task->state);

    return filch__state_generation(state) != generation || state & FILCH_TASK_DONE;
}

/* Out of line: a wake from inside then needs no frame. */
static __attribute__((noinline)) void wake_from_outside(struct filch__task *task,
                                                        uint64_t generation)
{
    struct filch_runtime *rt;

    if (is_over(task, generation))
        return;
    rt = foreign_begin(task);
    if (filch__state_wake(&task->state, generation) == FILCH_WAKE_QUEUE)
        filch__runtime_inject(rt, task);
    foreign_end(rt);
}

static void wake(struct filch__task *task, uint64_t generation, bool front)
{
    struct filch__worker *worker = filch__worker_self();

    if (!is_inside(worker, task))
        wake_from_outside(task, generation);
    else if (filch__state_wake(&task->state, generation) == FILCH_WAKE_QUEUE)
        filch__task_ready(worker, task, front);
}

void filch__task_wake(struct filch__task *task, uint64_t generation)
{
    wake(task, generation, true);
}

void filch__task_wake_back(struct filch__task *task, uint64_t generation)
{
    wake(task, generation, false);
}

int filch_task_cancel(filch_task *handle)
{
    return filch_task_cancel_cause(handle, -ECANCELED);
}

int filch_task_cancel_cause(filch_task *handle, int error)
{
    struct filch__task *task = filch__handle_object(handle);
    struct filch_runtime *outside = NULL;
    int r = 0;

    if (!handle)
        return -EINVAL;
    if (!is_inside(filch__worker_self(), task)) {
        if (filch__task_was_forked(task))
            return -ECHILD;
        outside = foreign_begin(task);
    }
    if (error >= 0 || error < -FILCH__ERRNO_MAX)
        error = -ECANCELED;
    switch (filch__state_cancel(&task->state, filch__handle_generation(handle), error)) {
    case FILCH_CANCEL_STALE:
        r = -ESRCH;
        break;
    case FILCH_CANCEL_DONE:
        break;
    case FILCH_CANCEL_QUEUE:
        enqueue(task);
        break;
    }
    if (outside)
        foreign_end(outside);
    return r;
}
