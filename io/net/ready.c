/* Readiness as a case of a select: connections by a poll op, listeners by their queue.
 *
 *     enlist    stages a poll op, which lives on the heap, and becomes a user of the descriptor
 *     reaper    claims the waiter; sets `done`, after which the op may be gone; wakes the waiter,
 *               or, if it has lost, the task, which may be waiting in delist
 *     delist    asks the kernel to end the op until it has; frees it; ceases to be a user
 *
 * So closing waits until the select has left, which it makes happen: its shutdown(2) ends the op.
 * Nothing is read, written or accepted here.
 *
 * What is ready when looked at needs no op: poll(2) without waiting answers that.
 */
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>

#include <filch/select.h>

#include "io/net/socket.h"
#include "io/uring/lane.h"
#include "sync/case.h"

struct ready {
    struct filch__op op;
    struct filch__fd *object;
    struct filch__waiter *waiter;
};

static bool is_ready(int fd, short events)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};

    return poll(&poll_fd, 1, 0) > 0;
}

static bool win(filch_case *c, int result)
{
    c->result = result;
    return true;
}

static enum filch__enlist claim_and_win(filch_case *c, struct filch__waiter *waiter, int result)
{
    if (!filch__waiter_claim(waiter))
        return FILCH__ENLIST_LOST;
    c->result = result;
    return FILCH__ENLIST_TAKEN;
}

/* The result for who has won, when its call in the object ends. */
static int leave(struct filch__fd *object)
{
    int result = filch__fd_is_closing(object) ? -ECANCELED : 0;

    filch__fd_leave(object);
    return result;
}

/* ---- connections ---- */

static bool conn_try(filch_case *c)
{
    struct filch__fd *object;
    int r = filch__fd_enter(c->object, &object);
    bool ready;

    if (r < 0)
        return win(c, r);
    ready = is_ready(object->fd, (short)c->number);
    filch__fd_leave(object);
    return ready && win(c, 0);
}

/* There is one completion, so nothing has to be kept for others. */
static void keep(struct filch__op *op)
{
    (void)op;
}

static void complete(struct filch__op *op, int res, unsigned flags)
{
    struct ready *ready = filch_container_of(op, struct ready, op);
    struct filch__waiter *waiter = ready->waiter;

    (void)flags;
    if (!filch__waiter_claim(waiter)) {
        filch__op_finish(op, res);
        return;
    }
    filch_store_release(&op->done, 1); /* [op-done] */
    filch__waiter_wake(waiter);
}

static enum filch__enlist conn_enlist(filch_case *c, struct filch__waiter *waiter)
{
    struct ready *ready;
    struct filch__lane *lane;
    struct filch__fd *object;
    struct io_uring_sqe *sqe;
    int r = filch__in_stackful_task() ? filch__fd_enter(c->object, &object) : -EPERM;

    if (r < 0)
        return claim_and_win(c, waiter, r);
    ready = malloc(sizeof *ready);
    if (!ready) {
        filch__fd_leave(object);
        return claim_and_win(c, waiter, -ENOMEM);
    }
    sqe = filch__op_begin(&ready->op, &lane);
    ready->object = object;
    ready->waiter = waiter;
    ready->op.keep = keep;
    ready->op.complete = complete;
    io_uring_prep_poll_add(sqe, object->fd, (unsigned)c->number);
    filch__lane_commit(lane, &ready->op);
    c->data = ready;
    return FILCH__ENLIST_WAITS;
}

static void conn_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    struct ready *ready = c->data;

    (void)waiter;
    filch__op_cancel_and_wait(&ready->op); /* has ended if it won */
    if (won)
        c->result = leave(ready->object);
    else
        filch__fd_leave(ready->object);
    free(ready);
}

static const struct filch__case_ops conn_ops = {
    .try_now = conn_try,
    .enlist = conn_enlist,
    .delist = conn_delist,
    .reason = FILCH_WAIT_IO,
};

filch_case filch_case_readable(filch_tcp *conn)
{
    return (filch_case){.ops = conn ? &conn_ops : NULL, .object = conn, .number = POLLIN};
}

filch_case filch_case_writable(filch_tcp *conn)
{
    return (filch_case){.ops = conn ? &conn_ops : NULL, .object = conn, .number = POLLOUT};
}

/* ---- listeners ---- */

static bool listener_try(filch_case *c)
{
    struct filch__fd *object;
    int r = filch__fd_enter(c->object, &object);
    bool ready;

    if (r < 0)
        return win(c, r);
    ready = filch__listener_is_ready(object) || is_ready(object->fd, POLLIN);
    filch__fd_leave(object);
    return ready && win(c, 0);
}

static enum filch__enlist listener_enlist(filch_case *c, struct filch__waiter *waiter)
{
    struct filch__fd *object;
    int r = filch__in_stackful_task() ? filch__fd_enter(c->object, &object) : -EPERM;

    if (r < 0)
        return claim_and_win(c, waiter, r);
    if (filch__listener_enlist(object, waiter))
        return claim_and_win(c, waiter, leave(object));
    c->data = object;
    return FILCH__ENLIST_WAITS;
}

static void listener_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    struct filch__fd *object = c->data;

    if (won) {
        c->result = leave(object);
        return;
    }
    filch__listener_delist(object, waiter);
    filch__fd_leave(object);
}

static const struct filch__case_ops listener_ops = {
    .try_now = listener_try,
    .enlist = listener_enlist,
    .delist = listener_delist,
    .reason = FILCH_WAIT_ACCEPT,
};

filch_case filch_case_acceptable(filch_listener *listener)
{
    return (filch_case){.ops = listener ? &listener_ops : NULL, .object = listener};
}
