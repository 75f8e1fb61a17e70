/* Writes that the kernel sends out of the caller's buffer, without a copy.
 *
 *     staged --1st completion: what was sent--> the kernel holds the buffer --2nd, "notif"--> done
 *        `------ the only completion: nothing was sent ---------------------------------------^
 *
 * The call returns after the last completion, as any with an op in flight. Two workers may reap the
 * two, and handle them in any order: keep() takes note of what they bring, and of how many are
 * under way; who handles the last of them wakes the caller, and is the last to touch the frame.
 *
 * Pinning pages and waiting for the notification costs more than copying a small buffer, and the
 * kernel copies all the same where the device cannot gather (the loopback, for one). So small
 * writes are ordinary ones, and a connection of which the kernel has said COPIED_MAX times in a row
 * that it copied is written to ordinarily from then on.
 *
 * Read first: io/net/transfer.c.
 */
#include <errno.h>
#include <liburing.h>

#include <filch/cancel.h>
#include <filch/tcp.h>
#include <filch/time.h>

#include "io/net/socket.h"
#include "io/net/transfer.h"
#include "io/lane.h"
#include "runtime/base/spinlock.h"
#include "runtime/task/task.h"

/* Below, copying is cheaper. */
#define BYTES_MIN 32768
#define BYTES_MAX ((size_t)0x7ffff000)
/* Notifications in a row that said "copied"; then it is not tried any more. */
#define COPIED_MAX 4
#define CANCEL_PAUSE_MIN FILCH_MILLISECOND
#define CANCEL_PAUSE_MAX (100 * FILCH_MILLISECOND)

#ifndef IORING_SEND_ZC_REPORT_USAGE
#define IORING_SEND_ZC_REPORT_USAGE (1U << 3)
#endif
#ifndef IORING_NOTIF_USAGE_ZC_COPIED
#define IORING_NOTIF_USAGE_ZC_COPIED (1U << 31)
#endif

/* In the caller's frame. */
struct zero_copy {
    struct filch__op op;
    struct filch__waiter waiter;
    filch_spinlock lock; /* guards the rest, until the waiter is woken */
    unsigned under;      /* completions seen and not handled */
    bool over;           /* the last one was seen */
    bool copied;
    int res;
};

static void keep(struct filch__op *op, int res, unsigned flags)
{
    struct zero_copy *zc = filch_container_of(op, struct zero_copy, op);

    filch_spinlock_lock(&zc->lock);
    if (flags & IORING_CQE_F_NOTIF)
        zc->copied = (unsigned)res & IORING_NOTIF_USAGE_ZC_COPIED;
    else
        zc->res = res;
    zc->under++;
    zc->over = !(flags & IORING_CQE_F_MORE);
    filch_spinlock_unlock(&zc->lock);
}

static void complete(struct filch__op *op, int res, unsigned flags)
{
    struct zero_copy *zc = filch_container_of(op, struct zero_copy, op);
    bool done;

    (void)res;
    (void)flags;
    filch_spinlock_lock(&zc->lock);
    done = --zc->under == 0 && zc->over;
    filch_spinlock_unlock(&zc->lock);
    if (done)
        filch__waiter_wake_back(&zc->waiter);
}

/* Asks the kernel to end it until it has: what was sent stays sent. */
static void end(struct zero_copy *zc)
{
    filch_time pause = CANCEL_PAUSE_MIN;
    int r;

    do {
        filch__op_cancel(&zc->op);
        r = filch__waiter_wait(&zc->waiter, filch_after(pause));
        pause = pause < CANCEL_PAUSE_MAX ? 2 * pause : pause;
    } while (r < 0);
}

/* Return: bytes sent; -EINTR (nothing was, try in another way); an error. */
static ssize_t send_once(struct filch__fd *object, const void *buf, size_t bytes, filch_time until)
{
    struct zero_copy zc = {.res = -EINTR, .copied = true}; /* unless a notification denies it */
    struct filch__lane *lane;
    struct io_uring_sqe *sqe = filch__op_begin(&zc.op, &lane);
    int r;

    filch_spinlock_init(&zc.lock);
    filch__waiter_init(&zc.waiter, FILCH_WAIT_IO);
    zc.op.keep = keep;
    zc.op.complete = complete;
    io_uring_prep_send_zc(sqe, object->fd, buf, bytes, MSG_NOSIGNAL, IORING_SEND_ZC_REPORT_USAGE);
    filch__lane_commit(lane, &zc.op);
    r = filch__waiter_wait(&zc.waiter, until);
    if (r < 0)
        FILCH_SHIELD(FILCH_NEVER)
    end(&zc);
    if (zc.res > 0)
        filch_store_relaxed(&object->copied,
                            zc.copied ? filch_load_relaxed(&object->copied) + 1 : 0);
    return zc.res == -ECANCELED && r < 0 ? r : zc.res;
}

/* Did the kernel refuse the way for good? It does not know it, or the ring may not do it. */
static bool is_refusal_for_good(ssize_t n)
{
    return n == -EINVAL || n == -EOPNOTSUPP || n == -EACCES;
}

/* Did the kernel refuse the way, and not the bytes? */
static bool is_refusal(ssize_t n)
{
    switch (n) {
    case -EINVAL:
    case -EOPNOTSUPP:
    case -EACCES:
    case -ENOMEM:
    case -ENOBUFS:
    case -EAGAIN:
    case -EINTR:
    case -ECANCELED:
        return true;
    default:
        return false;
    }
}

/* Return: as filch_tcp_write(); -EINTR (write in the ordinary way). */
static ssize_t try_zero_copy(filch_tcp *conn, const void *buf, size_t bytes, filch_time until)
{
    struct filch__fd *object;
    ssize_t n = filch__fd_enter(conn, &object);

    if (n < 0)
        return n;
    n = -EINTR;
    if (filch_load_relaxed(&object->copied) < COPIED_MAX) {
        n = send_once(object, buf, bytes, until);
        if (is_refusal_for_good(n))
            filch_store_relaxed(&object->copied, COPIED_MAX);
        if (n <= 0 && filch__fd_is_closing(object))
            n = -ECANCELED;
        else if (is_refusal(n)) /* also when the time is up: that is said by who tries once */
            n = -EINTR;
    }
    filch__fd_leave(object);
    return n;
}

ssize_t filch_tcp_write_zero_copy(filch_tcp *conn, const void *buf, size_t bytes, filch_time until)
{
    ssize_t n = -EINTR;

    if (buf && bytes >= BYTES_MIN && filch__in_stackful_task() && !filch__only_now(until))
        n = try_zero_copy(conn, buf, bytes < BYTES_MAX ? bytes : BYTES_MAX, until);
    if (n == -EINTR)
        return filch_tcp_write(conn, buf, bytes, until);
    if (n > 0)
        filch__coop();
    return n;
}
