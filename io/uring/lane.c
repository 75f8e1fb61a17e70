/* See lane.h.
 *
 * The words of the ring are shared with the kernel: they are accessed by liburing's own load and
 * store helpers, in this file only.
 *
 * Parking blocks in io_uring_enter with a read of the eventfd in flight; an unpark writes to the
 * eventfd, once until consumed.
 *
 * Nothing is lost when something is full or fails. An entry stays staged until the kernel has taken
 * it, so an enter that was refused is repeated by the next poll or park; a worker whose parks are
 * refused polls its eventfd instead, for a tick at most, until they are not. A submission queue
 * that is full is submitted; when the kernel takes nothing the task yields, so that the loop reaps.
 * A completion queue that is full overflows into the kernel's memory, and entering moves it into
 * the ring again.
 *
 * A lane that waits outside of the ring, because its owners change, has no read in flight: the
 * kernel finishes an operation on the thread that submitted it, when that one next enters the
 * kernel, and a wake-up must not wait for a thread that has left and computes. Its owner blocks in
 * poll(2) on the ring and the eventfd, and reads the latter itself. What an owner had in flight
 * when its thread ended is completed with -ECANCELED, not at once but when its event occurs:
 * nothing was done, and it is tried again.
 */
#include "io/uring/lane.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <filch/time.h>

#include "io/uring/ring.h"
#include "runtime/base/assert.h"
#include "runtime/base/fence.h"
#include "runtime/task/switch.h"
#include "runtime/task/task.h"

/* The kernel carries an op from its submitter to its reaper; ThreadSanitizer has to be told. */
#ifdef FILCH__TSAN
void __tsan_acquire(void *);
void __tsan_release(void *);
#define FILCH__TSAN_ACQUIRE(p) __tsan_acquire(p)
#define FILCH__TSAN_RELEASE(p) __tsan_release(p)
#else
#define FILCH__TSAN_ACQUIRE(p) ((void)(p))
#define FILCH__TSAN_RELEASE(p) ((void)(p))
#endif

/* The same of memory: liburing maps rings by system calls of its own, so what one runtime has given
 * back and another is given looks shared. [ring-memory] */
static char ring_memory_tag;

#define REAP_OWN 64
#define REAP_OTHER 16
#define CLOSE_TRIES 200
#define CLOSE_PAUSE (10 * FILCH_MILLISECOND)

/* user_data that is no op. */
#define DATA_IGNORE ((uint64_t)0)
#define DATA_EVENT ((uint64_t)1)

/* A completion that was taken out. `complete` is the op's at that time: once the last completion of
 * one is handled it may be staged anew, while others still handle earlier ones. */
struct reaped {
    uint64_t data;
    void (*complete)(struct filch__op *op, int res, unsigned flags);
    int res;
    unsigned flags;
};

static struct filch__uring_lane *of(struct filch__lane *lane)
{
    return filch_container_of(lane, struct filch__uring_lane, base);
}

int filch__uring_open(struct filch__uring_lane *lane, unsigned entries, int attach_fd)
{
    int r;

    memset(lane, 0, sizeof *lane);
    filch_spinlock_init(&lane->reap);
    lane->base.event_fd = eventfd(0, EFD_CLOEXEC);
    if (lane->base.event_fd < 0)
        return -errno;
    r = filch__ring_open(&lane->ring, entries, attach_fd);
    if (r < 0) {
        close(lane->base.event_fd);
        return r;
    }
    FILCH__TSAN_ACQUIRE(&ring_memory_tag); /* [ring-memory] */
    for (unsigned i = 0; i < *lane->ring.sq.kring_entries; i++)
        lane->ring.sq.array[i] = i;
    lane->enter_fd = (unsigned)lane->ring.ring_fd;
    return 0;
}

void filch__uring_enter_thread(struct filch__uring_lane *lane)
{
    if (filch__ring_register_fd(&lane->ring) == 1) {
        lane->enter_fd = (unsigned)lane->ring.enter_ring_fd;
        lane->enter_flags = IORING_ENTER_REGISTERED_RING;
    }
}

void filch__uring_leave_thread(struct filch__uring_lane *lane)
{
    if (lane->enter_flags) {
        io_uring_unregister_ring_fd(&lane->ring);
        lane->enter_fd = (unsigned)lane->ring.ring_fd;
        lane->enter_flags = 0;
    }
}

bool filch__uring_has_buffers(struct filch__uring_lane *lane)
{
    if (!lane->base.buffers && lane->buffer_count) {
        lane->base.buffers =
            filch__buffers_open(&lane->ring, lane->buffer_count, lane->buffer_bytes);
        if (!lane->base.buffers)
            lane->buffer_count = 0;
    }
    return lane->base.buffers;
}

unsigned filch__uring_staged(const struct filch__uring_lane *lane)
{
    return lane->ring.sq.sqe_tail - io_uring_smp_load_acquire(lane->ring.sq.khead);
}

/* The same for threads other than the owner. */
static unsigned staged_seen_by_others(const struct filch__uring_lane *lane)
{
    return io_uring_smp_load_acquire(lane->ring.sq.ktail) -
           io_uring_smp_load_acquire(lane->ring.sq.khead);
}

static bool has_completions(const struct filch__uring_lane *lane)
{
    /* The head moves under the reap lock only; a stale view costs a look. */
    return io_uring_smp_load_acquire(lane->ring.cq.ktail) !=
           IO_URING_READ_ONCE(*lane->ring.cq.khead);
}

static bool wants_enter(const struct filch__uring_lane *lane)
{
    return IO_URING_READ_ONCE(*lane->ring.sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

bool filch__uring_is_ready(const struct filch__uring_lane *lane)
{
    return has_completions(lane) || wants_enter(lane);
}

/* Owner's system call. Return: 0 or more; -ETIME, -EINTR, -EBUSY, -EAGAIN, -ENOMEM. */
static int enter(struct filch__uring_lane *lane, unsigned submit, unsigned wait, unsigned flags,
                 const filch_time *until)
{
    struct __kernel_timespec ts;
    struct io_uring_getevents_arg arg = {.sigmask_sz = _NSIG / 8};
    int r;

    filch_counter_add(&lane->base.stats.enters, 1);
    flags |= lane->enter_flags;
    if (until) {
        filch_time now = filch_now();
        filch_time span = *until > now ? *until - now : 0;

        ts.tv_sec = (int64_t)(span / FILCH_SECOND);
        ts.tv_nsec = (long long)(span % FILCH_SECOND);
        arg.ts = (uint64_t)(uintptr_t)&ts;
        r = filch__ring_enter(lane->enter_fd, submit, wait, flags | IORING_ENTER_EXT_ARG, &arg,
                              sizeof arg);
    } else {
        r = filch__ring_enter(lane->enter_fd, submit, wait, flags, NULL, _NSIG / 8);
    }
    if (r == -EBADR)
        filch__throw("the kernel had no memory for completions and dropped some");
    if (r < 0 && r != -ETIME && r != -EINTR && r != -EBUSY && r != -EAGAIN && r != -ENOMEM)
        filch__throw("io_uring_enter failed");
    return r;
}

struct io_uring_sqe *filch__uring_sqe(struct filch__uring_lane *lane)
{
    struct io_uring_sq *sq = &lane->ring.sq;
    unsigned entries = *sq->kring_entries;
    struct io_uring_sqe *sqe;

    if (filch__uring_staged(lane) >= entries) {
        enter(lane, entries, 0, 0, NULL);
        if (filch__uring_staged(lane) >= entries)
            return NULL;
    }
    sqe = &sq->sqes[sq->sqe_tail & *sq->kring_mask];
    memset(sqe, 0, sizeof *sqe);
    return sqe;
}

void filch__uring_commit(struct filch__uring_lane *lane, struct filch__op *op)
{
    struct io_uring_sq *sq = &lane->ring.sq;

    if (op) {
        sq->sqes[sq->sqe_tail & *sq->kring_mask].user_data = (uint64_t)(uintptr_t)op;
        op->lane = &lane->base;
        if (op->complete)
            filch_fetch_add_relaxed(&lane->base.standing, 1);
        FILCH__SPOIL_BEGIN(&sq->sqes[sq->sqe_tail & *sq->kring_mask], op);
        FILCH__TSAN_RELEASE(op);
    }
    sq->sqe_tail++;
    io_uring_smp_store_release(sq->ktail, sq->sqe_tail);
    filch_counter_add(&lane->base.stats.submitted, 1);
}

struct io_uring_sqe *filch__uring_sqe_of(struct filch__lane *lane)
{
    return filch__uring_sqe(of(lane));
}

void filch__uring_stage(struct filch__lane *lane, struct filch__op *op)
{
    filch__uring_commit(of(lane), op);
}

static void arm_event(struct filch__uring_lane *lane)
{
    struct io_uring_sqe *sqe;

    if (lane->event_armed)
        return;
    sqe = filch__uring_sqe(lane);
    if (!sqe)
        return; /* the next park tries again; this one will not block */
    io_uring_prep_read(sqe, lane->base.event_fd, &lane->event_value, sizeof lane->event_value, 0);
    sqe->user_data = DATA_EVENT;
    FILCH__SPOIL_BEGIN_EVENT(sqe, lane);
    filch__uring_commit(lane, NULL);
    lane->event_armed = true;
}

int filch__uring_watch(struct filch__uring_lane *lane, int epoll_fd)
{
    struct epoll_event event = {.events = EPOLLIN};

    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, lane->ring.ring_fd, &event) < 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, lane->base.event_fd, &event) < 0)
        return -errno;
    return 0;
}

void filch__uring_answer(struct filch__uring_lane *lane)
{
    struct iovec value = {&lane->event_value, sizeof lane->event_value};

    /* Between the exchange and the write of an unpark there is nothing to read yet: then the write
     * will make the eventfd readable, and is answered later. */
    if (filch_load_relaxed(&lane->base.unparked) &&
        preadv2(lane->base.event_fd, &value, 1, -1, RWF_NOWAIT) == sizeof lane->event_value)
        filch__unpark_end(&lane->base.unparked);
}

/* Copies completions out, up to the first wake-up unless the caller is the owner: that one is for
 * the owner alone, which may be on its way into the kernel to wait for it. The lock is held. */
static unsigned copy_out(struct filch__uring_lane *lane, struct reaped *to, unsigned most,
                         bool owner)
{
    struct io_uring_cq *cq = &lane->ring.cq;
    unsigned head = *cq->khead;
    unsigned there = io_uring_smp_load_acquire(cq->ktail) - head;
    unsigned n;

    for (n = 0; n < there && n < most; n++) {
        struct io_uring_cqe *cqe = &cq->cqes[(head + n) & *cq->kring_mask];

        if (cqe->user_data == DATA_EVENT && !owner)
            break;
        to[n] = (struct reaped){.data = cqe->user_data, .res = cqe->res, .flags = cqe->flags};
        if (cqe->user_data > DATA_EVENT) {
            struct filch__op *op = (struct filch__op *)(uintptr_t)cqe->user_data;

            FILCH__TSAN_ACQUIRE(op);
            to[n].res = FILCH__SPOIL_END(op, cqe->res);
            to[n].complete = op->complete;
            if (op->complete)
                op->keep(op, to[n].res, cqe->flags);
            else
                __builtin_prefetch(op->task, 1);
        }
    }
    io_uring_smp_store_release(cq->khead, head + n);
    return n;
}

static void complete(struct filch__uring_lane *lane, const struct reaped *cqe)
{
    struct filch__op *op = (struct filch__op *)(uintptr_t)cqe->data;

    if (cqe->data == DATA_IGNORE)
        return;
    if (cqe->data == DATA_EVENT) {
        lane->event_armed = false;
        filch__unpark_end(&lane->base.unparked);
        return;
    }
    if (!cqe->complete) {
        filch__op_finish(op, cqe->res);
        return;
    }
    if (!(cqe->flags & IORING_CQE_F_MORE)) /* relaxed: who looks has joined all who reap */
        filch_fetch_sub_relaxed(&lane->base.standing, 1);
    cqe->complete(op, cqe->res, cqe->flags);
}

/* Handles a batch. The lock is held on entry and free on return. */
static unsigned reap_batch_unlock(struct filch__uring_lane *lane, unsigned most, bool owner)
{
    struct reaped batch[REAP_OWN];
    unsigned n = copy_out(lane, batch, most, owner);

    filch_spinlock_unlock(&lane->reap);
    for (unsigned i = 0; i < n; i++)
        complete(lane, &batch[i]);
    return n;
}

static unsigned reap_own(struct filch__uring_lane *lane)
{
    unsigned total = 0;
    unsigned n = 0;

    while (has_completions(lane)) {
        if (!filch_spinlock_try(&lane->reap)) {
            sched_yield();
            filch_spinlock_lock(&lane->reap);
        }
        n = reap_batch_unlock(lane, REAP_OWN, true);
        total += n;
        if (n < REAP_OWN)
            break;
    }
    if (total)
        filch_counter_add(&lane->base.stats.completions, total);
    return total;
}

unsigned filch__uring_poll(struct filch__uring_lane *lane)
{
    unsigned staged = filch__uring_staged(lane);

    if (staged || wants_enter(lane))
        enter(lane, staged, 0, IORING_ENTER_GETEVENTS, NULL);
    return reap_own(lane);
}

static struct timespec span_until(filch_time until)
{
    filch_time now = filch_now();
    filch_time span = until > now ? until - now : 0;
    struct timespec ts = {.tv_sec = (time_t)(span / FILCH_SECOND),
                          .tv_nsec = (long)(span % FILCH_SECOND)};

    return ts;
}

/* The kernel refuses to let us wait in the ring. An unpark or a tick ends this as well. */
static void wait_outside(struct filch__uring_lane *lane)
{
    struct pollfd poll_fd = {.fd = lane->base.event_fd, .events = POLLIN};
    struct timespec tick = {.tv_nsec = FILCH_MILLISECOND};

    (void)ppoll(&poll_fd, 1, &tick, NULL);
}

static void park_outside(struct filch__uring_lane *lane, filch_time until)
{
    struct pollfd fds[] = {{.fd = lane->ring.ring_fd, .events = POLLIN},
                           {.fd = lane->base.event_fd, .events = POLLIN}};
    struct timespec ts;

    if (filch__uring_poll(lane))
        return;
    if (filch__uring_staged(lane)) { /* the kernel had no room */
        wait_outside(lane);
    } else {
        ts = span_until(until);
        (void)ppoll(fds, 2, until == FILCH_NEVER ? NULL : &ts, NULL);
    }
    filch__uring_answer(lane);
    filch__uring_poll(lane);
}

void filch__uring_park(struct filch__uring_lane *lane, filch_time until)
{
    int r;

    if (lane->waits_outside) {
        park_outside(lane, until);
        return;
    }
    arm_event(lane);
    r = enter(lane, filch__uring_staged(lane), lane->event_armed, IORING_ENTER_GETEVENTS,
              until == FILCH_NEVER ? NULL : &until);
    if ((r == -EAGAIN || r == -ENOMEM || r == -EBUSY) && !has_completions(lane))
        wait_outside(lane);
    reap_own(lane);
}

/* Any thread: submits what the owner has staged, and lets overflown completions into the ring. */
static void enter_as_other(struct filch__uring_lane *lane)
{
    unsigned flags = IO_URING_READ_ONCE(*lane->ring.sq.kflags) & IORING_SQ_CQ_OVERFLOW
                         ? IORING_ENTER_GETEVENTS
                         : 0;
    unsigned staged = staged_seen_by_others(lane);

    if (staged || flags)
        filch__ring_enter((unsigned)lane->ring.ring_fd, staged, 0, flags, NULL, _NSIG / 8);
}

unsigned filch__uring_rescue(struct filch__uring_lane *lane)
{
    unsigned n;

    enter_as_other(lane);
    /* Runs the owner's pending task work: it posts the completions that the kernel holds back for a
     * thread in user space. */
    if (wants_enter(lane))
        (void)filch_fence_heavy();
    if (!has_completions(lane) || !filch_spinlock_try(&lane->reap))
        return 0;
    n = reap_batch_unlock(lane, REAP_OTHER, false);
    filch_fetch_add_relaxed(&lane->base.stats.reaped_by_others, n);
    return n;
}

/* Ends what is still in flight (accepts of listeners that were not closed) and lets it be known. */
static void end_all_ops(struct filch__uring_lane *lane)
{
    struct io_uring_sync_cancel_reg reg = {
        .fd = -1,
        .flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL,
        .timeout = {.tv_sec = 1, .tv_nsec = 0},
    };

    /* What was never submitted cannot be found. */
    for (int i = 0; i < CLOSE_TRIES && filch__uring_staged(lane); i++)
        filch__uring_poll(lane);
    for (int i = 0; i < CLOSE_TRIES; i++) {
        int r = filch__ring_register(&lane->ring, IORING_REGISTER_SYNC_CANCEL, &reg, 1);

        if (r != -EINTR && r != -EAGAIN && r != -ENOMEM)
            break;
    }
    /* That call returns before all completions are there: what a thread submitted that has ended
     * since is completed by a thread of the kernel, when that gets to run. (The ring's flag, which
     * asks for an enter, is that thread's, and stays.) */
    for (int i = 0; i < CLOSE_TRIES; i++) {
        filch_time until = filch_after(CLOSE_PAUSE);
        bool waits = filch_load_relaxed(&lane->base.standing) && !has_completions(lane);

        enter(lane, filch__uring_staged(lane), waits, IORING_ENTER_GETEVENTS, &until);
        if (!reap_own(lane) && !filch__uring_staged(lane) && !has_completions(lane) &&
            !filch_load_relaxed(&lane->base.standing))
            break;
    }
}

void filch__uring_close(struct filch__uring_lane *lane)
{
    end_all_ops(lane);
    FILCH__TSAN_RELEASE(&ring_memory_tag); /* [ring-memory] */
    io_uring_queue_exit(&lane->ring);
    filch__buffers_close(lane->base.buffers);
    close(lane->base.event_fd);
}

void filch__uring_forked(struct filch__uring_lane *lane)
{
    struct io_uring *ring = &lane->ring;

    munmap(ring->sq.sqes, *ring->sq.kring_entries * sizeof *ring->sq.sqes);
    munmap(ring->sq.ring_ptr, ring->sq.ring_sz);
    if (ring->cq.ring_ptr != ring->sq.ring_ptr)
        munmap(ring->cq.ring_ptr, ring->cq.ring_sz);
    close(ring->ring_fd);
    close(lane->base.event_fd);
}

void filch__uring_op_cancel(struct filch__op *op)
{
    struct filch__uring_lane *lane = of(op->lane);
    struct io_uring_sync_cancel_reg reg = {
        .addr = (uint64_t)(uintptr_t)op,
        .fd = -1,
        .timeout = {.tv_sec = 0, .tv_nsec = 0},
    };

    enter_as_other(lane); /* what was never submitted cannot be found */
    (void)filch__ring_register(&lane->ring, IORING_REGISTER_SYNC_CANCEL, &reg, 1);
}
