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

#include "io/lane.h"
#include "io/uring/buffers.h"
#include "io/uring/spoil.h"
#include "runtime/base/spinlock.h"

struct filch__uring_lane {
    struct filch__lane base;
    struct io_uring ring;
    unsigned enter_fd;    /* owner's: the registered index, or the ring's descriptor */
    unsigned enter_flags; /* IORING_ENTER_REGISTERED_RING with an index */
    uint64_t event_value; /* target of the armed read */
    bool event_armed;     /* owner */
    FILCH__SPOILED
    bool
        waits_outside; /* by poll(2): its owner may change from one park to the next, or Valgrind */
    filch_spinlock reap;
    unsigned buffer_count; /* to be made */
    size_t buffer_bytes;
};

int filch__uring_open(struct filch__uring_lane *lane, unsigned entries, int attach_fd);
void filch__uring_close(struct filch__uring_lane *lane);

/* In the child of a fork: gives up the child's share of the ring's memory and of the descriptors,
 * which would keep the ring alive beyond the parent's use of it. */
void filch__uring_forked(struct filch__uring_lane *lane);

/* Owner, or before the owner's thread exists. A submission entry, zeroed. Fill it, then commit.
 * NULL: the kernel takes no more now (very rare: completions must be reaped first). */
struct io_uring_sqe *filch__uring_sqe(struct filch__uring_lane *lane);
void filch__uring_commit(struct filch__uring_lane *lane, struct filch__op *op);

/* Owner. Are there buffers for receives? Makes them. */
bool filch__uring_has_buffers(struct filch__uring_lane *lane);

bool filch__uring_is_ready(const struct filch__uring_lane *lane);
unsigned filch__uring_staged(const struct filch__uring_lane *lane);
unsigned filch__uring_poll(struct filch__uring_lane *lane);
void filch__uring_park(struct filch__uring_lane *lane, filch_time until);
int filch__uring_watch(struct filch__uring_lane *lane, int epoll_fd);
void filch__uring_answer(struct filch__uring_lane *lane);
unsigned filch__uring_rescue(struct filch__uring_lane *lane);
void filch__uring_enter_thread(struct filch__uring_lane *lane);
void filch__uring_leave_thread(struct filch__uring_lane *lane);

#endif
