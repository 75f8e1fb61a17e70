/* A lane: the ring of one worker, which others may reap, flush and cancel in.
 *
 *     who                    stages   enters   reaps
 *     owner                    x        x        x      reap under the lock
 *     another worker (rescue)           x        x      if it gets the lock at once
 *     a canceller                       x
 *
 * The owner publishes the submission queue's tail at each staging, so anybody may submit what is
 * staged by entering. Completions are consumed under `reap`, a batch is copied out, and tasks are
 * woken after the lock.
 */
#ifndef FILCH_IO_URING_LANE_H
#define FILCH_IO_URING_LANE_H

#include <liburing.h>

#include "io/op.h"
#include "io/uring/spoil.h"
#include "runtime/base/spinlock.h"
#include "runtime/sched/driver.h"

struct filch__lane_stats {
    filch_atomic_u64 submitted, direct, enters, completions, reaped_by_others, backoffs;
};

struct filch__lane {
    struct io_uring ring;
    unsigned enter_fd;    /* owner's: the registered index, or the ring's descriptor */
    unsigned enter_flags; /* IORING_ENTER_REGISTERED_RING with an index */
    int event_fd;
    uint64_t event_value; /* target of the armed read */
    bool event_armed;     /* owner */
    FILCH__SPOILED
    /* 1: an unpark has been sent and not consumed: see unpark.h. */
    filch_atomic_u32 unparked;
    bool
        waits_outside; /* by poll(2): its owner may change from one park to the next, or Valgrind */
    filch_spinlock reap;
    struct filch__lane_stats stats;
};

int filch__lane_open(struct filch__lane *lane, unsigned entries, int attach_fd);
void filch__lane_close(struct filch__lane *lane);

/* In the child of a fork: gives up the child's share of the ring's memory and of the descriptors,
 * which would keep the ring alive beyond the parent's use of it. */
void filch__lane_forked(struct filch__lane *lane);

/* Owner, or before the owner's thread exists. A submission entry, zeroed. Fill it, then commit.
 * NULL: the kernel takes no more now (very rare: completions must be reaped first). */
struct io_uring_sqe *filch__lane_sqe(struct filch__lane *lane);
void filch__lane_commit(struct filch__lane *lane, struct filch__op *op);

bool filch__lane_is_ready(const struct filch__lane *lane);
unsigned filch__lane_staged(const struct filch__lane *lane);
unsigned filch__lane_poll(struct filch__lane *lane);
void filch__lane_park(struct filch__lane *lane, filch_time until);
void filch__lane_unpark(struct filch__lane *lane);
int filch__lane_watch(struct filch__lane *lane, int epoll_fd);
void filch__lane_answer(struct filch__lane *lane);
unsigned filch__lane_rescue(struct filch__lane *lane);
void filch__lane_enter_thread(struct filch__lane *lane);
void filch__lane_leave_thread(struct filch__lane *lane);

#endif
