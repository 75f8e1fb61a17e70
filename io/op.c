/* Waiting for an op: see op.h. The kernel may miss a cancel in the short time in which it retries
 * an op, so the request is repeated, with growing pauses, until the completion comes. */
#include "io/op.h"

#include <errno.h>

#include <filch/time.h>

#include "runtime/task/task.h"

#define CANCEL_PAUSE_MIN FILCH_MILLISECOND
#define CANCEL_PAUSE_MAX (100 * FILCH_MILLISECOND)

void filch__op_finish(struct filch__op *op, int res)
{
    struct filch__task *task = op->task;
    uint64_t generation = op->generation;

    __builtin_prefetch(op->then, 1);
    op->res = res;
    filch_plain_write(&op->res);
    filch_store_release(&op->done, 1); /* [op-done]; the op may be gone from here on */
    filch__task_wake_back(task, generation);
}

void filch__op_cancel_and_wait(struct filch__op *op)
{
    filch_time pause = CANCEL_PAUSE_MIN;

    while (!filch_load_acquire(&op->done)) { /* [op-done] */
        filch_time until;

        filch__op_cancel(op);
        until = filch_after(pause);
        while (!filch_load_acquire(&op->done) && filch_now() < until) /* [op-done] */
            filch__park_shielded_until(until, FILCH_WAIT_IO);
        if (pause < CANCEL_PAUSE_MAX)
            pause *= 2;
    }
}

int filch__op_wait(struct filch__op *op, filch_time until)
{
    int reason = 0;

    while (!filch_load_acquire(&op->done)) { /* [op-done] */
        reason = filch__park(until, FILCH_WAIT_IO);
        if (reason < 0) {
            filch__op_cancel_and_wait(op);
            break;
        }
    }
    filch_plain_read(&op->res);
    if (op->res == -ECANCELED || op->res == -EINTR)
        return reason < 0 ? reason : -EINTR;
    return op->res;
}
