/* Any descriptor by readiness.
 *
 * In a task a wait is one poll op; a plain thread waits in poll(2), and looks now and then whether
 * the handle was closed. A borrowed descriptor is never shut down or changed, so a close ends the
 * ops that wait by the list they are in.
 *
 * Not here: the cases of a select, which share their op with those of sockets: net/ready.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <stdalign.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filch/task.h>
#include <filch/time.h>

#include "io/fd_wait.h"
#include "io/net/socket.h"
#include "io/lane.h"
#include "runtime/task/task.h"

#define KNOWN_EVENTS                                                                               \
    (FILCH_FD_READABLE | FILCH_FD_URGENT | FILCH_FD_WRITABLE | FILCH_FD_ERROR | FILCH_FD_HANGUP |  \
     FILCH_FD_READ_ENDED)
/* How long a plain thread waits until it looks whether the handle was closed. */
#define LOOK_AGAIN (50 * FILCH_MILLISECOND)

_Static_assert(FILCH_FD_READABLE == POLLIN && FILCH_FD_URGENT == POLLPRI &&
                   FILCH_FD_WRITABLE == POLLOUT && FILCH_FD_ERROR == POLLERR &&
                   FILCH_FD_HANGUP == POLLHUP && FILCH_FD_READ_ENDED == POLLRDHUP,
               "the values are the kernel's");

static struct filch__pool fd_pool = {
    .object_bytes =
        (sizeof(struct filch_fd) + FILCH_CACHELINE - 1) / FILCH_CACHELINE * FILCH_CACHELINE,
    .link_offset = offsetof(struct filch_fd, fd.next),
    .forked = filch__fd_forked,
};

bool filch__fd_events_are_valid(unsigned events)
{
    return events && !(events & ~(unsigned)KNOWN_EVENTS);
}

int filch__fd_look(int fd, unsigned events)
{
    struct pollfd poll_fd = {.fd = fd, .events = (short)events};
    int r;

    if (fd < 0) /* which poll(2) skips */
        return -EBADF;
    do {
        r = poll(&poll_fd, 1, 0);
    } while (r < 0 && errno == EINTR);
    if (r < 0)
        return -errno;
    return poll_fd.revents & POLLNVAL ? -EBADF : poll_fd.revents;
}

/* ---- how handles begin and end ---- */

static int wrap(int fd, bool owned, filch_fd **ret_fd)
{
    struct filch_fd *object;
    struct stat stat;

    if (!ret_fd)
        return -EINVAL;
    if (fstat(fd, &stat) < 0)
        return -errno;
    if (S_ISREG(stat.st_mode) || S_ISDIR(stat.st_mode) || S_ISBLK(stat.st_mode))
        return -EPERM;
    if (owned && fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return -errno;
    object = filch__pool_take(&fd_pool);
    if (!object)
        return -ENOMEM;
    object->owned = owned;
    filch__op_list_init(&object->ops);
    *ret_fd = filch__fd_open(&object->fd, fd);
    return 0;
}

int filch_fd_borrow(int fd, filch_fd **ret_fd)
{
    return wrap(fd, false, ret_fd);
}

int filch_fd_adopt(int fd, filch_fd **ret_fd)
{
    return wrap(fd, true, ret_fd);
}

int filch_fd_number(filch_fd *handle)
{
    return filch__fd_number(handle);
}

int filch_fd_release(filch_fd *handle, int *ret_number)
{
    if (!handle || !ret_number)
        return -EINVAL;
    return filch__fd_release(handle, &fd_pool, ret_number);
}

int filch_fd_close(filch_fd *handle)
{
    struct filch__fd *object;
    struct filch_fd *self;
    int fd = -1, r;

    if (!handle)
        return 0;
    r = filch__fd_refuse(handle, &object);
    if (r < 0)
        return r;
    self = filch_container_of(object, struct filch_fd, fd);
    filch__op_list_end(&self->ops);
    filch__fd_wait_users(object);
    if (self->owned)
        fd = object->fd;
    filch__fd_end(object, &fd_pool);
    if (fd >= 0)
        close(fd);
    return 0;
}

/* ---- waiting ---- */

/* @self: NULL: nobody can close it. */
static bool is_closing(struct filch_fd *self)
{
    return self && filch__fd_is_closing(&self->fd);
}

static int poll_by_ring(struct filch_fd *self, int fd, unsigned events, filch_time until)
{
    struct filch__lane *lane;
    struct filch__op op;
    struct io_uring_sqe *sqe = filch__op_begin(&op, &lane);

    io_uring_prep_poll_add(sqe, fd, events);
    filch__lane_commit(lane, &op);
    return self ? filch__op_list_wait(&self->ops, &self->fd, &op, until)
                : filch__op_wait(&op, until);
}

/* Return: the events; -errno. */
static int wait_in_task(struct filch_fd *self, int fd, unsigned events, filch_time until)
{
    int r = filch__only_now(until);

    if (r < 0)
        return filch__fd_look(fd, events) ?: r;
    do {
        r = poll_by_ring(self, fd, events, until);
    } while (r == -EINTR && !is_closing(self));
    return r == -EINTR ? -ECANCELED : r;
}

static int wait_in_thread(struct filch_fd *self, int fd, unsigned events, filch_time until)
{
    int r;

    while ((r = filch__fd_look(fd, events)) == 0) {
        filch_time look = filch_after(LOOK_AGAIN);

        if (is_closing(self) || filch_task_is_cancelled())
            return -ECANCELED;
        if (filch_now() >= until)
            return -ETIMEDOUT;
        (void)filch__socket_poll(fd, (short)events, look < until ? look : until);
    }
    return r;
}

static int wait_for(struct filch_fd *self, int fd, unsigned events, unsigned *ret_events,
                    filch_time until)
{
    int r = filch__in_stackful_task() ? wait_in_task(self, fd, events, until)
                                      : wait_in_thread(self, fd, events, until);

    if (r < 0)
        return r;
    if (ret_events)
        *ret_events = (unsigned)r;
    filch__coop();
    return 0;
}

int filch_fd_wait(filch_fd *handle, unsigned events, unsigned *ret_events, filch_time until)
{
    struct filch__fd *object;
    int r;

    if (!filch__fd_events_are_valid(events))
        return -EINVAL;
    r = filch__fd_enter(handle, &object);
    if (r < 0)
        return r;
    r = wait_for(filch_container_of(object, struct filch_fd, fd), object->fd, events, ret_events,
                 until);
    filch__fd_leave(object);
    return r;
}

int filch_fd_poll(int fd, unsigned events, unsigned *ret_events, filch_time until)
{
    if (!filch__fd_events_are_valid(events))
        return -EINVAL;
    return wait_for(NULL, fd, events, ret_events, until);
}
