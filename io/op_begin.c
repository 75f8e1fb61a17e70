/* Ops of the running task, on the lane of its worker. See op.h. */
#include <errno.h>

#include <liburing.h>

#include <filch/task.h>

#include "io/lane.h"
#include "runtime/task/task.h"

struct io_uring_sqe *filch__op_begin(struct filch__op *op, struct filch__lane **ret_lane)
{
    struct filch__lane *lane = filch__worker_lane();
    struct io_uring_sqe *sqe;

    /* When the ring takes nothing more, completions must be handled first: that is the loop's work.
     */
    while (!(sqe = lane->epoll ? filch__epoll_sqe_of(op) : filch__uring_sqe_of(lane))) {
        filch_task_yield();
        lane = filch__worker_lane();
    }
    op->complete = NULL;
    op->then = NULL;
    op->task = filch__task_current();
    op->generation = filch__task_generation(op->task);
    op->res = 0;
    filch_atomic_init(&op->done, 0);
    *ret_lane = lane;
    return sqe;
}

int filch__only_now(filch_time until)
{
    if (filch__task_cancelled(filch__task_current()))
        return -ECANCELED;
    return until == FILCH_NOW ? -ETIMEDOUT : 0;
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
