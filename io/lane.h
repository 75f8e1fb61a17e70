/* What the lanes of both engines have in common, and how an operation is staged on either.
 *
 *     filch__op_begin()       an empty submission entry
 *     io_uring_prep_...()     filled in: the description of an operation, for both
 *     filch__lane_commit()    handed over
 *
 * io_uring gives the entry to the kernel (io/uring/). The epoll engine carries it out by plain
 * system calls (io/epoll/). Who stages and waits need not know which: results, errors and cancels
 * are the same.
 */
#ifndef FILCH_IO_LANE_H
#define FILCH_IO_LANE_H

#include "io/op.h"
#include "io/unpark.h"
#include "runtime/base/atomic.h"
#include "runtime/sched/driver.h"

struct filch__buffers;

struct filch__lane_stats {
    filch_atomic_u64 submitted, direct, enters, completions, reaped_by_others, backoffs;
};

/* First member of a lane of either engine. */
struct filch__lane {
    bool epoll;   /* else io_uring; never changes */
    int event_fd; /* an unpark writes to it */
    /* 1: an unpark has been sent and not consumed: see unpark.h. */
    filch_atomic_u32 unparked;
    /* Ops in flight that belong to an object, not to a task that waits: the lane's end must see
     * their last completions. Up by the owner, down by whoever reaps. */
    filch_atomic_u32 standing;
    /* For receives, of a ring. Made by the owner when a stream first wants them; whoever reaps
     * reads it for an op that was staged afterwards. NULL: not yet, or refused. */
    struct filch__buffers *buffers;
    struct filch__lane_stats stats;
};

struct io_uring_sqe;

/* The two engines' own. */
struct io_uring_sqe *filch__uring_sqe_of(struct filch__lane *lane);
void filch__uring_stage(struct filch__lane *lane, struct filch__op *op);
struct io_uring_sqe *filch__epoll_sqe_of(struct filch__op *op);
void filch__epoll_stage(struct filch__lane *lane, struct filch__op *op);
void filch__uring_op_cancel(struct filch__op *op);
void filch__epoll_op_cancel(struct filch__op *op);

/* Owner. Hands over the entry that filch__op_begin() gave. */
static inline void filch__lane_commit(struct filch__lane *lane, struct filch__op *op)
{
    if (lane->epoll)
        filch__epoll_stage(lane, op);
    else
        filch__uring_stage(lane, op);
}

/* Owner. Are there buffers for receives (io/uring/buffers.h)? Makes them. An epoll has none. */
bool filch__lane_has_buffers(struct filch__lane *lane);

/* As the driver's: the owner's poll, another worker's rescue. */
unsigned filch__lane_poll(struct filch__lane *lane);
unsigned filch__lane_rescue(struct filch__lane *lane);

#endif
