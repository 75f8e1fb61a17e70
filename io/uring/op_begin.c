/* Ops of the running task, on the lane of its worker. See op.h. */
#include <filch/task.h>

#include "io/uring/lane.h"
#include "runtime/task/task.h"

struct io_uring_sqe *filch__op_begin(struct filch__op *op, struct filch__lane **ret_lane)
{
    struct io_uring_sqe *sqe;

    /* When the ring takes nothing more, completions must be handled first: that is the loop's work.
     */
    while (!(sqe = filch__lane_sqe(filch__worker_lane())))
        filch_task_yield();
    op->complete = NULL;
    op->task = filch__task_current();
    op->generation = filch__task_generation(op->task);
    op->res = 0;
    filch_atomic_init(&op->done, 0);
    *ret_lane = filch__worker_lane();
    return sqe;
}

int filch__op_poll(int fd, short events, filch_time until)
{
    struct filch__lane *lane;
    struct filch__op op;
    struct io_uring_sqe *sqe = filch__op_begin(&op, &lane);
    int r;

    io_uring_prep_poll_add(sqe, fd, (unsigned)events);
    filch__lane_commit(lane, &op);
    r = filch__op_wait(&op, until);
    return r > 0 ? 0 : r;
}
