/* Watches: inotify(7). The handle is that of a filch_fd, so waiting, and what a close does to who
 * waits, are as for any descriptor: fd_wait.c. The descriptor is nonblocking, as nobody else has
 * it.
 *
 * Changes are read by the batch; `lock` guards the batch, and nobody suspends with it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <filch/file_watch.h>

#include "io/fd_wait.h"
#include "io/fs/call.h"
#include "io/fs/watch.h"

#define BATCH_BYTES 4096
#define ASKED                                                                                      \
    (FILCH_CHANGE_ACCESSED | FILCH_CHANGE_WRITTEN | FILCH_CHANGE_METADATA |                        \
     FILCH_CHANGE_WRITER_CLOSED | FILCH_CHANGE_MOVED_FROM | FILCH_CHANGE_MOVED_TO |                \
     FILCH_CHANGE_CREATED | FILCH_CHANGE_REMOVED | FILCH_CHANGE_SELF_REMOVED |                     \
     FILCH_CHANGE_SELF_MOVED)

_Static_assert(FILCH_CHANGE_ACCESSED == IN_ACCESS && FILCH_CHANGE_WRITTEN == IN_MODIFY &&
                   FILCH_CHANGE_METADATA == IN_ATTRIB &&
                   FILCH_CHANGE_WRITER_CLOSED == IN_CLOSE_WRITE &&
                   FILCH_CHANGE_MOVED_FROM == IN_MOVED_FROM &&
                   FILCH_CHANGE_MOVED_TO == IN_MOVED_TO && FILCH_CHANGE_CREATED == IN_CREATE &&
                   FILCH_CHANGE_REMOVED == IN_DELETE &&
                   FILCH_CHANGE_SELF_REMOVED == IN_DELETE_SELF &&
                   FILCH_CHANGE_SELF_MOVED == IN_MOVE_SELF &&
                   FILCH_CHANGE_UNMOUNTED == IN_UNMOUNT && FILCH_CHANGE_OVERFLOW == IN_Q_OVERFLOW &&
                   FILCH_CHANGE_ENDED == IN_IGNORED && FILCH_CHANGE_DIRECTORY == IN_ISDIR,
               "the values are the kernel's");
_Static_assert(FILCH_CHANGE_ANY == (ASKED & ~FILCH_CHANGE_ACCESSED), "all but accesses");

struct filch_file_watch {
    struct filch_fd fd;
    pthread_mutex_t lock;
    size_t begin, end; /* of what was read and not taken; lock */
    char batch[BATCH_BYTES];
};

static struct filch__pool watch_pool = {
    .object_bytes =
        (sizeof(struct filch_file_watch) + FILCH_CACHELINE - 1) / FILCH_CACHELINE * FILCH_CACHELINE,
    .link_offset = offsetof(struct filch_file_watch, fd.fd.next),
    .forked = filch__fd_forked,
};

int filch_file_watch_open(filch_file_watch **ret_watch)
{
    filch_file_watch *watch;
    int fd;

    if (!ret_watch)
        return -EINVAL;
    fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0)
        return -errno;
    watch = filch__pool_take(&watch_pool);
    if (!watch) {
        close(fd);
        return -ENOMEM;
    }
    watch->fd.owned = true;
    filch__op_list_init(&watch->fd.ops);
    pthread_mutex_init(&watch->lock, NULL);
    watch->begin = watch->end = 0;
    *ret_watch = filch__fd_open(&watch->fd.fd, fd);
    return 0;
}

static int enter(filch_file_watch *handle, filch_file_watch **ret_watch)
{
    struct filch__fd *object;
    int r = filch__fd_enter(handle, &object);

    if (r < 0)
        return r;
    *ret_watch = filch_container_of(object, struct filch_file_watch, fd.fd);
    return 0;
}

static void leave(filch_file_watch *watch)
{
    filch__fd_leave(&watch->fd.fd);
}

static int add_directly(const struct filch__fs_call *call)
{
    return inotify_add_watch(call->fd, call->path, call->mode);
}

int filch_file_watch_add(filch_file_watch *handle, const char *path, unsigned changes,
                         int *ret_number, filch_time until)
{
    struct filch__fs_call call = {.direct = add_directly, .path = path, .mode = changes};
    filch_file_watch *watch;
    int r;

    if (!path || !ret_number || !changes || changes & ~(unsigned)ASKED)
        return -EINVAL;
    r = enter(handle, &watch);
    if (r < 0)
        return r;
    call.fd = watch->fd.fd.fd;
    r = filch__fs_call(&call, until);
    leave(watch);
    if (r < 0)
        return r;
    *ret_number = r;
    return 0;
}

int filch_file_watch_remove(filch_file_watch *handle, int number)
{
    filch_file_watch *watch;
    int r = enter(handle, &watch);

    if (r < 0)
        return r;
    r = inotify_rm_watch(watch->fd.fd.fd, number) < 0 ? -errno : 0;
    leave(watch);
    return r;
}

/* Return: 0; -EAGAIN (there is none); -errno. */
static int take_locked(filch_file_watch *watch, filch_file_change *ret_change)
{
    struct inotify_event event;

    if (watch->begin == watch->end) {
        ssize_t n = read(watch->fd.fd.fd, watch->batch, sizeof watch->batch);

        if (n <= 0)
            return n < 0 ? -errno : -EAGAIN;
        watch->begin = 0;
        watch->end = (size_t)n;
    }
    memcpy(&event, watch->batch + watch->begin, sizeof event);
    *ret_change = (filch_file_change){
        .number = event.wd,
        .what = event.mask,
        .cookie = event.cookie,
    };
    if (event.len)
        snprintf(ret_change->name, sizeof ret_change->name, "%s",
                 watch->batch + watch->begin + sizeof event);
    watch->begin += sizeof event + event.len;
    return 0;
}

static int take(filch_file_watch *watch, filch_file_change *ret_change)
{
    int r;

    pthread_mutex_lock(&watch->lock);
    do {
        r = take_locked(watch, ret_change);
    } while (r == -EINTR);
    pthread_mutex_unlock(&watch->lock);
    return r;
}

bool filch__file_watch_has_change(struct filch__fd *object)
{
    filch_file_watch *watch = filch_container_of(object, struct filch_file_watch, fd.fd);
    bool has;

    pthread_mutex_lock(&watch->lock);
    has = watch->begin != watch->end;
    pthread_mutex_unlock(&watch->lock);
    return has;
}

int filch__file_watch_take(filch_file_watch *handle, filch_file_change *ret_change)
{
    filch_file_watch *watch;
    int r = enter(handle, &watch);

    if (r < 0)
        return r;
    r = take(watch, ret_change);
    leave(watch);
    return r;
}

int filch_file_watch_next(filch_file_watch *handle, filch_file_change *ret_change, filch_time until)
{
    filch_file_watch *watch;
    int r;

    if (!ret_change)
        return -EINVAL;
    r = enter(handle, &watch);
    if (r < 0)
        return r;
    while ((r = take(watch, ret_change)) == -EAGAIN) {
        r = filch_fd_wait((filch_fd *)handle, FILCH_FD_READABLE, NULL, until);
        if (r == -EBADF && filch__fd_is_closing(&watch->fd.fd))
            r = -ECANCELED;
        if (r < 0)
            break;
    }
    leave(watch);
    return r;
}

int filch_file_watch_close(filch_file_watch *handle)
{
    filch_file_watch *watch;
    struct filch__fd *object;
    int fd, r;

    if (!handle)
        return 0;
    r = filch__fd_refuse(handle, &object);
    if (r < 0)
        return r;
    watch = filch_container_of(object, struct filch_file_watch, fd.fd);
    filch__op_list_end(&watch->fd.ops);
    filch__fd_wait_users(object);
    fd = object->fd;
    filch__fd_end(object, &watch_pool);
    close(fd);
    return 0;
}
