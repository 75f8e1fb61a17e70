/* One I/O operation in flight, and waiting for its end.
 *
 * An op lives in the frame of the task that waits for it (or in an object that outlives it: a
 * listener's accept). The frame does not return before the kernel's final completion: so the buffer
 * that the op names may be on the same stack. Cancelling is an attempt; only the completion ends
 * the op, and a result that came in spite of the cancel is returned.
 */
#ifndef FILCH_IO_OP_H
#define FILCH_IO_OP_H

#include <filch/base.h>

#include "io/epoll/op.h"
#include "io/uring/spoil.h"
#include "runtime/base/atomic.h"

struct filch__lane;
struct filch__task;

struct filch__op {
    /* NULL: wake `task`. Else called for each completion by whoever reaps, outside of locks; must
     * not suspend. @flags: of the CQE. */
    void (*complete)(struct filch__op *op, int res, unsigned flags);
    /* With `complete`: called for each completion as well, before it, under the reap lock, in the
     * order of the kernel. What has several completions must see to it that it lives until all are
     * handled, which several threads may do at once; what must not change places is taken note of
     * here. */
    void (*keep)(struct filch__op *op, int res, unsigned flags);
    struct filch__task *task;
    uint64_t generation;
    struct filch__lane *lane; /* where it was staged: a cancel must go there */
    const void *then;         /* what the task touches next; to be in the cache when it runs */
    int res;
    FILCH__SPOILED
    /* [op-done] release by the reaper -> acquire by the waiter: res, and what the kernel put into
     * the buffer. The op may be gone as soon as it is set. */
    filch_atomic_u32 done;
    struct filch__epoll_op epoll; /* the epoll engine's */
};

struct io_uring_sqe;

/* A submission entry of the calling worker, and its op set up for the running task. To be filled
 * and committed before anything else. May yield. */
struct io_uring_sqe *filch__op_begin(struct filch__op *op, struct filch__lane **ret_lane);

/* Waits for a staged op of the running task; asks the kernel to cancel it when @until has come or
 * the task is cancelled. Return: the op's result; -ETIMEDOUT or -ECANCELED if the kernel gave it up
 * for that reason; -EINTR if it gave it up for a reason of its own: nothing was done, try again. */
int filch__op_wait(struct filch__op *op, filch_time until);

/* Must a call of the running task finish without waiting? Return: 0 (no), or the error it gives
 * when it cannot: -ECANCELED, -ETIMEDOUT. */
int filch__only_now(filch_time until);

/* Asks the kernel to end a staged op of the running task until it has. What it did stays done. */
void filch__op_cancel_and_wait(struct filch__op *op);

/* Waits until a descriptor is ready, in a task. Return: 0; -ETIMEDOUT; -ECANCELED; -EINTR (try
 * again); another error of poll. */
int filch__op_poll(int fd, short events, filch_time until);

/* The kernel's completion of an op without a `complete` function, by whoever reaps it. The op may
 * be gone on return. */
void filch__op_finish(struct filch__op *op, int res);

/* Asks the kernel to end an op, on any lane, from any thread. It may be too late. */
void filch__op_cancel(struct filch__op *op);

#endif
