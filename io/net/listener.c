/* Listeners: what accepts descriptors, whatever the kind of stream socket. For the functions with a
 * type see tcp_listener.c and unix_listener.c.
 *
 * One multishot accept per listener is in flight while anybody waits: the kernel posts a completion
 * for each connection, whoever reaps it puts the descriptor into the listener's queue and wakes a
 * waiter, which looks at the queue. So a task that is cancelled while a connection arrives loses
 * nothing: it stays in the queue. With UNCLAIMED_MAX connections in the queue the accept is
 * cancelled, and connections wait in the kernel, until the queue has shrunk to UNCLAIMED_MIN.
 *
 * The armed accept counts as a user of the descriptor: closing waits for its last completion.
 *
 * An accept that ends for a passing reason (a connection that was reset, an interruption) is armed
 * again by whoever waits. When descriptors or memory run out the kernel ends the accept. Then the
 * listener pauses, from 5 ms doubling to 1 s; the waiter that was woken waits for the end of the
 * pause and arms again. A waiter that leaves while nothing is armed wakes the next one, so that
 * there is always somebody to do that.
 */
#include <errno.h>
#include <limits.h>
#include <liburing.h>
#include <poll.h>
#include <stdalign.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#include <filch/time.h>

#include "io/net/listener.h"
#include "io/net/socket.h"
#include "io/lane.h"
#include "io/op_list.h"
#include "runtime/base/list.h"
#include "runtime/base/spinlock.h"
#include "runtime/task/task.h"

#define UNCLAIMED_MAX 64
#define UNCLAIMED_MIN 16
/* Room for what the kernel had posted before the cancel reached it: as many as it lets wait at
 * most. */
#define QUEUE_SLOTS 8192
#define BACKOFF_MIN (5 * FILCH_MILLISECOND)
#define BACKOFF_MAX FILCH_SECOND
/* A thread that waits for the socket looks so often whether a task has armed an accept. */
#define LOOK_AGAIN (50 * FILCH_MILLISECOND)
#define PAUSE_MAX (50 * FILCH_MILLISECOND)
#define NOTHING INT_MIN

#ifndef IORING_ACCEPT_MULTISHOT
#define IORING_ACCEPT_MULTISHOT (1U << 0)
#endif

/* Everything below `lock` is guarded by it. */
struct filch__listener {
    alignas(FILCH_CACHELINE) struct filch__fd fd;
    uint64_t name; /* for who closes it */
    struct filch__op op;
    filch_spinlock lock;
    struct filch__list waiters;
    int *queue; /* QUEUE_SLOTS accepted descriptors, a ring */
    unsigned head;
    unsigned count;
    bool armed;
    bool single_shot; /* the kernel knows no multishot accept */
    int error;        /* of the last accept, for the next who waits; 0 */
    filch_time backoff_ns;
    filch_time backoff_until;
};

static struct filch__pool listener_pool = {
    .object_bytes = sizeof(struct filch__listener),
    .link_offset = offsetof(struct filch__listener, fd.next),
    .forked = filch__fd_forked,
};

int filch__listener_wrap(int fd, bool lingers, uint64_t name, void **ret_handle)
{
    struct filch__listener *listener = filch__pool_take(&listener_pool);

    if (!listener)
        return -ENOMEM;
    listener->queue = malloc(QUEUE_SLOTS * sizeof *listener->queue);
    if (!listener->queue) {
        filch__pool_give(&listener_pool, listener);
        return -ENOMEM;
    }
    filch_spinlock_init(&listener->lock);
    filch__list_init(&listener->waiters);
    listener->head = 0;
    listener->count = 0;
    listener->armed = false;
    listener->single_shot = false;
    listener->error = 0;
    listener->backoff_ns = 0;
    listener->backoff_until = 0;
    listener->name = name;
    *ret_handle = filch__fd_open(&listener->fd, fd);
    if (lingers)
        filch__fd_note_lingers(&listener->fd);
    return 0;
}

static struct filch__waiter *pop_waiter_locked(struct filch__listener *listener)
{
    struct filch__list *link;

    while ((link = filch__list_pop_front(&listener->waiters))) {
        struct filch__waiter *waiter = filch_container_of(link, struct filch__waiter, link);

        if (filch__waiter_claim(waiter))
            return waiter;
    }
    return NULL;
}

/* What an end of the accept means. */
enum end {
    END_AGAIN,     /* of one connection, or of nothing: the next accept may well succeed */
    END_EXHAUSTED, /* not for the moment */
    END_FATAL,     /* not ever: somebody else has closed or changed the descriptor */
};

static enum end meaning(int error)
{
    switch (error) {
    case -EMFILE:
    case -ENFILE:
    case -ENOBUFS:
    case -ENOMEM:
    case -ENOSPC: /* of epoll_ctl(2): the user's watches have run out */
        return END_EXHAUSTED;
    case -EBADF:
    case -ENOTSOCK:
    case -EOPNOTSUPP:
    case -EINVAL:
    case -EFAULT:
        return END_FATAL;
    default:
        return END_AGAIN;
    }
}

/* The accept has ended with an error. */
static void note_error_locked(struct filch__listener *listener, int error)
{
    switch (meaning(error)) {
    case END_AGAIN:
        break;
    case END_EXHAUSTED:
        listener->backoff_ns = listener->backoff_ns ? listener->backoff_ns * 2 : BACKOFF_MIN;
        if (listener->backoff_ns > BACKOFF_MAX)
            listener->backoff_ns = BACKOFF_MAX;
        listener->backoff_until = filch_after(listener->backoff_ns);
        filch_fetch_add_relaxed(&listener->op.lane->stats.backoffs, 1);
        break;
    case END_FATAL:
        if (error == -EINVAL && !listener->single_shot)
            listener->single_shot = true;
        else
            listener->error = error;
        break;
    }
}

/* Keeps a connection. False: there is no room, the caller closes it. */
static bool push_locked(struct filch__listener *listener, int fd)
{
    listener->backoff_ns = 0;
    if (listener->count == QUEUE_SLOTS)
        return false;
    listener->queue[(listener->head + listener->count++) % QUEUE_SLOTS] = fd;
    return true;
}

/* The completions of one accept may be reaped by several workers, and the last be handled first:
 * each of them keeps the listener. */
static void keep(struct filch__op *op, int res, unsigned flags)
{
    (void)res;
    (void)flags;
    filch__fd_ref(&filch_container_of(op, struct filch__listener, op)->fd);
}

/* A completion of the accept, on whichever worker reaped it. */
static void accepted(struct filch__op *op, int res, unsigned flags)
{
    struct filch__listener *listener = filch_container_of(op, struct filch__listener, op);
    bool last = !(flags & IORING_CQE_F_MORE);
    bool kept = true, cancel;
    struct filch__waiter *waiter;

    filch_spinlock_lock(&listener->lock);
    if (res >= 0)
        kept = push_locked(listener, res);
    else
        note_error_locked(listener, res);
    if (last)
        listener->armed = false;
    /* Now and then again, should it not have been heard. */
    cancel = !last && kept && listener->count && listener->count % UNCLAIMED_MAX == 0;
    waiter = pop_waiter_locked(listener);
    filch_spinlock_unlock(&listener->lock);
    if (!kept)
        close(res);
    if (waiter)
        filch__waiter_wake(waiter);
    if (cancel)
        filch__op_cancel(op);
    if (last)
        filch__fd_leave(&listener->fd);
    filch__fd_leave(&listener->fd); /* of keep() */
}

/* Puts the accept into flight; `armed` was set by the caller, under the lock. */
static void arm(struct filch__listener *listener)
{
    struct filch__lane *lane;
    struct io_uring_sqe *sqe = filch__op_begin(&listener->op, &lane);

    filch__fd_ref(&listener->fd);
    listener->op.keep = keep;
    listener->op.complete = accepted;
    io_uring_prep_accept(sqe, listener->fd.fd, NULL, NULL, SOCK_CLOEXEC);
    if (!listener->single_shot)
        sqe->ioprio |= IORING_ACCEPT_MULTISHOT;
    filch__lane_commit(lane, &listener->op);
}

/* Takes the oldest connection, or the error that there was instead. Return: descriptor; -errno;
 * NOTHING. */
static int take_locked(struct filch__listener *listener)
{
    int fd = NOTHING;

    if (listener->count) {
        fd = listener->queue[listener->head];
        listener->head = (listener->head + 1) % QUEUE_SLOTS;
        listener->count--;
    } else if (listener->error) {
        fd = listener->error;
        listener->error = 0;
    }
    return fd;
}

/* Is it time to arm the accept? Then the caller must. */
static bool claim_arming_locked(struct filch__listener *listener)
{
    if (listener->armed || listener->count > UNCLAIMED_MIN || filch__fd_is_closing(&listener->fd) ||
        (listener->backoff_until && filch_now() < listener->backoff_until))
        return false;
    listener->armed = true;
    listener->backoff_until = 0;
    return true;
}

/* A waiter leaves without a connection. */
static void leave_locked(struct filch__listener *listener, struct filch__waiter *waiter,
                         struct filch__waiter **ret_next)
{
    filch__list_remove(&waiter->link);
    *ret_next = listener->armed ? NULL : pop_waiter_locked(listener);
}

/* Waits until there may be something. The lock is held on entry, free on return. */
static int wait_unlock(struct filch__listener *listener, filch_time until)
{
    filch_time pause = listener->armed ? FILCH_NEVER : listener->backoff_until;
    filch_time first = pause < until ? pause : until;
    struct filch__waiter waiter;
    struct filch__waiter *next = NULL;
    int r;

    filch__waiter_init(&waiter, FILCH_WAIT_ACCEPT);
    filch__list_push_back(&listener->waiters, &waiter.link);
    filch_spinlock_unlock(&listener->lock);
    r = filch__waiter_wait(&waiter, first);
    if (r == 0)
        return 0;
    filch_spinlock_lock(&listener->lock);
    if (filch__waiter_was_taken(&waiter)) {
        filch_spinlock_unlock(&listener->lock);
        filch__waiter_wait_shielded(&waiter);
        return 0;
    }
    if (r == -ETIMEDOUT && first != until) {
        filch__list_remove(&waiter.link); /* the pause is over: the caller arms */
        r = 0;
    } else {
        leave_locked(listener, &waiter, &next);
    }
    filch_spinlock_unlock(&listener->lock);
    if (next)
        filch__waiter_wake(next);
    return r;
}

/* An error is for one caller. The next one tries for itself. */
static int pass_on(struct filch__listener *listener, int error)
{
    struct filch__waiter *next;

    filch_spinlock_lock(&listener->lock);
    next = listener->armed ? NULL : pop_waiter_locked(listener);
    filch_spinlock_unlock(&listener->lock);
    if (next)
        filch__waiter_wake(next);
    return error;
}

static int accept_in_task(struct filch__listener *listener, filch_time until)
{
    for (;;) {
        int fd, r;

        filch_spinlock_lock(&listener->lock);
        fd = take_locked(listener);
        if (fd < 0 && fd != NOTHING) {
            filch_spinlock_unlock(&listener->lock);
            return pass_on(listener, filch__fd_is_closing(&listener->fd) ? -ECANCELED : fd);
        }
        if (claim_arming_locked(listener)) {
            filch_spinlock_unlock(&listener->lock);
            arm(listener);
            if (fd >= 0)
                return fd;
            if (until == FILCH_NOW) /* what is there now comes with the submission */
                filch__lane_poll(filch__worker_lane());
            continue;
        }
        if (fd >= 0 || filch__fd_is_closing(&listener->fd)) {
            filch_spinlock_unlock(&listener->lock);
            return fd >= 0 ? fd : -ECANCELED;
        }
        r = wait_unlock(listener, until);
        if (r < 0)
            return r;
    }
}

/* Between poll and accept another caller may take the connection. The socket stays in blocking mode
 * for the ring, so a time limit keeps this thread from waiting past its own; the connection that
 * inherits it is read without blocking anyway. */
static int accept_shortly(int listen_fd)
{
    struct timeval limit = {.tv_usec = 1000};
    int fd;

    setsockopt(listen_fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* While an accept is in flight, or was when a task left, connections come by that one: so the
 * thread waits as a task does, but leaves arming to the next of those. Return: a connection, or the
 * error that there was instead; NOTHING: look at the socket; -ETIMEDOUT; -ECANCELED. */
static int take_what_tasks_left(struct filch__listener *listener, filch_time until)
{
    for (;;) {
        int fd, r;

        filch_spinlock_lock(&listener->lock);
        fd = take_locked(listener);
        if (fd != NOTHING || !listener->armed) {
            filch_spinlock_unlock(&listener->lock);
            return pass_on(listener, fd);
        }
        if (filch__fd_is_closing(&listener->fd)) { /* which may not end what is in flight */
            filch_spinlock_unlock(&listener->lock);
            return -ECANCELED;
        }
        r = wait_unlock(listener, until);
        if (r < 0)
            return r;
    }
}

static int accept_in_thread(struct filch__listener *listener, filch_time until)
{
    filch_time pause = BACKOFF_MIN;

    for (;;) {
        filch_time look;
        int fd = take_what_tasks_left(listener, until);

        if (fd != NOTHING)
            return fd < 0 && filch__fd_is_closing(&listener->fd) ? -ECANCELED : fd;
        look = filch_after(LOOK_AGAIN);
        if (filch__socket_poll(listener->fd.fd, POLLIN, look < until ? look : until) < 0) {
            if (filch_now() >= until)
                return -ETIMEDOUT;
            continue; /* a task may have armed its own */
        }
        fd = accept_shortly(listener->fd.fd);
        if (fd >= 0)
            return fd;
        if (filch__fd_is_closing(&listener->fd))
            return -ECANCELED;
        if (meaning(fd) == END_FATAL)
            return fd;
        if (meaning(fd) == END_EXHAUSTED) {
            filch_time end = filch_after(pause);

            filch_sleep(end < until ? end : until);
            if (filch_now() >= until)
                return -ETIMEDOUT;
            pause = pause * 2 < BACKOFF_MAX ? pause * 2 : BACKOFF_MAX;
        }
    }
}

int filch__listener_accept(const void *handle, bool *ret_lingers, filch_time until)
{
    struct filch__fd *object;
    struct filch__listener *listener;
    int fd, r = filch__fd_enter(handle, &object);

    if (r < 0)
        return r;
    listener = filch_container_of(object, struct filch__listener, fd);
    fd = filch__in_stackful_task() ? accept_in_task(listener, until)
                                   : accept_in_thread(listener, until);
    *ret_lingers = filch_load_relaxed(&object->lingers);
    filch__fd_leave(object);
    return fd;
}

int filch__listener_take(const void *handle, bool *ret_lingers)
{
    struct filch__fd *object;
    struct filch__listener *listener;
    int fd, r = filch__fd_enter(handle, &object);

    if (r < 0)
        return r;
    listener = filch_container_of(object, struct filch__listener, fd);
    filch_spinlock_lock(&listener->lock);
    fd = take_locked(listener);
    filch_spinlock_unlock(&listener->lock);
    if (fd == NOTHING)
        fd = -EAGAIN;
    else if (fd < 0)
        fd = pass_on(listener, fd);
    *ret_lingers = filch_load_relaxed(&object->lingers);
    filch__fd_leave(object);
    return fd;
}

/* To the front of the queue. Return: 0; -ENOSPC: there is no room. */
static int push_front(struct filch__listener *listener, int fd)
{
    struct filch__waiter *waiter = NULL;
    bool room;

    filch_spinlock_lock(&listener->lock);
    room = listener->count < QUEUE_SLOTS;
    if (room) {
        listener->head = (listener->head + QUEUE_SLOTS - 1) % QUEUE_SLOTS;
        listener->queue[listener->head] = fd;
        listener->count++;
        waiter = pop_waiter_locked(listener);
    }
    filch_spinlock_unlock(&listener->lock);
    if (waiter)
        filch__waiter_wake(waiter);
    return room ? 0 : -ENOSPC;
}

void filch__listener_give_back(const void *handle, int fd)
{
    struct filch__fd *object;
    int r = filch__fd_enter(handle, &object);

    if (r == 0) {
        r = push_front(filch_container_of(object, struct filch__listener, fd), fd);
        filch__fd_leave(object);
    }
    if (r < 0)
        close(fd);
}

/* Nothing is taken for it, so that nothing can be lost; in a pause accept() knows what to do. */
static bool is_ready_locked(const struct filch__listener *listener)
{
    return listener->count || listener->error || (!listener->armed && listener->backoff_until);
}

bool filch__listener_is_ready(struct filch__fd *object)
{
    struct filch__listener *listener = filch_container_of(object, struct filch__listener, fd);
    bool ready;

    filch_spinlock_lock(&listener->lock);
    ready = is_ready_locked(listener);
    filch_spinlock_unlock(&listener->lock);
    return ready;
}

int filch__listener_enlist(struct filch__fd *object, struct filch__waiter *waiter)
{
    struct filch__listener *listener = filch_container_of(object, struct filch__listener, fd);
    bool ready, arms = false;

    filch_spinlock_lock(&listener->lock);
    ready = is_ready_locked(listener) || filch__fd_is_closing(object);
    if (!ready) {
        filch__list_push_back(&listener->waiters, &waiter->link);
        arms = claim_arming_locked(listener);
    }
    filch_spinlock_unlock(&listener->lock);
    if (arms)
        arm(listener);
    return ready;
}

void filch__listener_delist(struct filch__fd *object, struct filch__waiter *waiter)
{
    struct filch__listener *listener = filch_container_of(object, struct filch__listener, fd);
    struct filch__waiter *next = NULL;

    filch_spinlock_lock(&listener->lock);
    if (!filch__waiter_was_taken(waiter))
        leave_locked(listener, waiter, &next);
    filch_spinlock_unlock(&listener->lock);
    if (next)
        filch__waiter_wake(next);
}

/* Sends everybody away. */
static void release_waiters(struct filch__listener *listener)
{
    struct filch__waiter *waiter;

    do {
        filch_spinlock_lock(&listener->lock);
        waiter = pop_waiter_locked(listener);
        filch_spinlock_unlock(&listener->lock);
        if (waiter)
            filch__waiter_wake(waiter);
    } while (waiter);
}

static void close_unclaimed(struct filch__listener *listener)
{
    for (; listener->count; listener->count--) {
        close(listener->queue[listener->head]);
        listener->head = (listener->head + 1) % QUEUE_SLOTS;
    }
    free(listener->queue);
    listener->queue = NULL;
}

/* To an accept that does not wait the kernel says that there is nothing, also after the shutdown of
 * a Unix socket. When the op is the only user left nobody is still arming it. The kernel may miss a
 * cancel, so it is repeated. */
static void end_accept(struct filch__listener *listener)
{
    filch_time pause = FILCH_MILLISECOND;
    unsigned users;

    while ((users = filch__fd_users(&listener->fd)) > 0) {
        bool armed;

        filch_spinlock_lock(&listener->lock);
        armed = listener->armed;
        filch_spinlock_unlock(&listener->lock);
        if (users == 1 && armed)
            filch__op_cancel(&listener->op);
        filch__op_pause(pause);
        if (pause < PAUSE_MAX)
            pause *= 2;
    }
}

int filch__listener_close(void *handle, void (*farewell)(int fd, uint64_t name))
{
    struct filch__fd *object;
    struct filch__listener *listener;
    int r;

    if (!handle)
        return 0;
    r = filch__fd_close_begin(handle, &object);
    if (r < 0)
        return r;
    listener = filch_container_of(object, struct filch__listener, fd);
    release_waiters(listener);
    if (farewell)
        end_accept(listener);
    filch__fd_wait_users(object);
    close_unclaimed(listener);
    if (farewell)
        farewell(object->fd, listener->name);
    filch__fd_close_end(object, &listener_pool);
    return 0;
}
