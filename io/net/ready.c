/* Readiness as a case of a select: sockets and other descriptors by a poll op, listeners by their
 * queue.
 *
 *     enlist    stages a poll op, which lives on the heap, and becomes a user of the descriptor
 *     reaper    claims the waiter; sets `done`, after which the op may be gone; wakes the waiter,
 *               or, if it has lost, the task, which may be waiting in delist
 *     delist    asks the kernel to end the op until it has; frees it; ceases to be a user
 *
 * So closing waits until the select has left, which it makes happen: its shutdown(2) ends the op,
 * or, of what is no socket of ours, a cancel, for which the op is in the object's list.
 * Nothing is read, written or accepted here.
 *
 * What is ready when looked at needs no op: poll(2) without waiting answers that.
 */
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>

#include <filch/select.h>

#include "io/fd_wait.h"
#include "io/fs/tree_watch.h"
#include "io/fs/watch.h"
#include "io/net/listener.h"
#include "io/net/socket.h"
#include "io/lane.h"
#include "sync/case.h"

struct ready {
    struct filch__op op;
    struct filch__fd *object;
    struct filch__waiter *waiter;
    struct filch__op_list *list; /* NULL: a socket of ours */
    struct filch__listed_op listed;
    unsigned *ret_events; /* NULL: nobody asks */
};

static bool is_ready(int fd, short events)
{
    return filch__fd_look(fd, (unsigned)events) != 0;
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

/* The result for who has won, when its call in the object ends. What looks ready may have been made
 * so by the shutdown of a close. */
static int leave(struct filch__fd *object)
{
    int result = filch__fd_is_closing(object) ? -ECANCELED : 0;

    filch__fd_leave(object);
    return result;
}

/* ---- sockets ---- */

static bool socket_try(filch_case *c)
{
    struct filch__fd *object;
    int r = filch__fd_enter(c->object, &object);
    bool ready;

    if (r < 0)
        return win(c, r);
    ready = is_ready(object->fd, (short)c->number);
    r = leave(object);
    return ready && win(c, r);
}

/* There is one completion, so nothing has to be kept for others. */
static void keep(struct filch__op *op, int res, unsigned flags)
{
    (void)op;
    (void)res;
    (void)flags;
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
    op->res = res;
    filch_plain_write(&op->res);
    filch_store_release(&op->done, 1); /* [op-done] */
    filch__waiter_wake(waiter);
}

/* @list: NULL: a socket of ours. */
static enum filch__enlist poll_enlist(filch_case *c, struct filch__waiter *waiter,
                                      struct filch__fd *object, struct filch__op_list *list)
{
    struct ready *ready = malloc(sizeof *ready);
    struct filch__lane *lane;
    struct io_uring_sqe *sqe;

    if (!ready) {
        filch__fd_leave(object);
        return claim_and_win(c, waiter, -ENOMEM);
    }
    sqe = filch__op_begin(&ready->op, &lane);
    ready->object = object;
    ready->waiter = waiter;
    ready->list = list;
    ready->ret_events = c->data;
    ready->op.keep = keep;
    ready->op.complete = complete;
    io_uring_prep_poll_add(sqe, object->fd, (unsigned)c->number);
    filch__lane_commit(lane, &ready->op);
    if (list && !filch__op_list_add(list, object, &ready->listed, &ready->op))
        filch__op_cancel_and_wait(&ready->op);
    c->data = ready;
    return FILCH__ENLIST_WAITS;
}

static enum filch__enlist socket_enlist(filch_case *c, struct filch__waiter *waiter)
{
    struct filch__fd *object;
    int r = filch__in_stackful_task() ? filch__fd_enter(c->object, &object) : -EPERM;

    if (r < 0)
        return claim_and_win(c, waiter, r);
    return poll_enlist(c, waiter, object, NULL);
}

/* What a case has won. An op that the kernel gave up by itself has told nothing. */
static int result_of(const struct ready *ready)
{
    int res = ready->op.res;

    if (filch__fd_is_closing(ready->object))
        return -ECANCELED;
    if (res == -ECANCELED || res == -EINTR)
        return FILCH__CASE_AGAIN;
    if (!ready->list)
        return 0; /* whatever it is: the next read or write tells */
    if (res > 0 && ready->ret_events)
        *ready->ret_events = (unsigned)res;
    return res < 0 ? res : 0;
}

static void poll_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    struct ready *ready = c->data;

    (void)waiter;
    filch__op_cancel_and_wait(&ready->op); /* has ended if it won */
    if (ready->list)
        filch__op_list_remove(ready->list, &ready->listed);
    filch_plain_read(&ready->op.res);
    if (won)
        c->result = result_of(ready);
    c->data = ready->ret_events;
    filch__fd_leave(ready->object);
    free(ready);
}

static const struct filch__case_ops socket_ops = {
    .try_now = socket_try,
    .enlist = socket_enlist,
    .delist = poll_delist,
    .reason = FILCH_WAIT_IO,
};

filch_case filch__case_socket(void *handle, short events)
{
    return (filch_case){.ops = handle ? &socket_ops : NULL, .object = handle, .number = events};
}

filch_case filch_case_readable(filch_tcp *conn)
{
    return filch__case_socket(conn, POLLIN);
}

filch_case filch_case_writable(filch_tcp *conn)
{
    return filch__case_socket(conn, POLLOUT);
}

/* ---- other descriptors ---- */

static bool fd_try(filch_case *c)
{
    unsigned *ret_events = c->data;
    struct filch__fd *object;
    int r = filch__fd_enter(c->object, &object);
    int events;

    if (r < 0)
        return win(c, r);
    events = filch__fd_look(object->fd, (unsigned)c->number);
    r = leave(object);
    if (events > 0 && ret_events)
        *ret_events = (unsigned)events;
    return events && win(c, events < 0 ? events : r);
}

static enum filch__enlist fd_enlist(filch_case *c, struct filch__waiter *waiter)
{
    struct filch__fd *object;
    int r = filch__in_stackful_task() ? filch__fd_enter(c->object, &object) : -EPERM;

    if (r < 0)
        return claim_and_win(c, waiter, r);
    return poll_enlist(c, waiter, object, &filch_container_of(object, struct filch_fd, fd)->ops);
}

static const struct filch__case_ops fd_ops = {
    .try_now = fd_try,
    .enlist = fd_enlist,
    .delist = poll_delist,
    .reason = FILCH_WAIT_IO,
};

filch_case filch_case_fd(filch_fd *fd, unsigned events, unsigned *ret_events)
{
    bool valid = fd && filch__fd_events_are_valid(events);

    return (filch_case){
        .ops = valid ? &fd_ops : NULL, .object = fd, .data = ret_events, .number = events};
}

/* ---- watches: a change may have been read already ---- */

typedef bool has_change_fn(struct filch__fd *object);

static bool watch_try(filch_case *c, has_change_fn *has_change)
{
    struct filch__fd *object;
    int r = filch__fd_enter(c->object, &object);
    bool ready;

    if (r < 0)
        return win(c, r);
    ready = has_change(object) || is_ready(object->fd, POLLIN);
    r = leave(object);
    return ready && win(c, r);
}

static enum filch__enlist watch_enlist(filch_case *c, struct filch__waiter *waiter,
                                       has_change_fn *has_change)
{
    struct filch__fd *object;
    int r = filch__in_stackful_task() ? filch__fd_enter(c->object, &object) : -EPERM;

    if (r < 0)
        return claim_and_win(c, waiter, r);
    if (has_change(object))
        return claim_and_win(c, waiter, leave(object));
    return poll_enlist(c, waiter, object, &filch_container_of(object, struct filch_fd, fd)->ops);
}

static bool file_watch_try(filch_case *c)
{
    return watch_try(c, filch__file_watch_has_change);
}

static enum filch__enlist file_watch_enlist(filch_case *c, struct filch__waiter *waiter)
{
    return watch_enlist(c, waiter, filch__file_watch_has_change);
}

static const struct filch__case_ops file_watch_ops = {
    .try_now = file_watch_try,
    .enlist = file_watch_enlist,
    .delist = poll_delist,
    .reason = FILCH_WAIT_IO,
};

filch_case filch_case_file_changed(filch_file_watch *watch)
{
    return (filch_case){.ops = watch ? &file_watch_ops : NULL, .object = watch, .number = POLLIN};
}

static bool tree_watch_try(filch_case *c)
{
    return watch_try(c, filch__tree_watch_has_more);
}

static enum filch__enlist tree_watch_enlist(filch_case *c, struct filch__waiter *waiter)
{
    return watch_enlist(c, waiter, filch__tree_watch_has_more);
}

static const struct filch__case_ops tree_watch_ops = {
    .try_now = tree_watch_try,
    .enlist = tree_watch_enlist,
    .delist = poll_delist,
    .reason = FILCH_WAIT_IO,
};

filch_case filch_case_tree_changed(filch_tree_watch *watch)
{
    return (filch_case){.ops = watch ? &tree_watch_ops : NULL, .object = watch, .number = POLLIN};
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
    r = leave(object);
    return ready && win(c, r);
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

filch_case filch__case_listener(void *handle)
{
    return (filch_case){.ops = handle ? &listener_ops : NULL, .object = handle};
}

filch_case filch_case_acceptable(filch_listener *listener)
{
    return filch__case_listener(listener);
}
