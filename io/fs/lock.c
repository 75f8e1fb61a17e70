/* Locks of files: the whole one by flock(2), ranges by open file description locks of fcntl(2).
 * Both belong to the open file, not to a thread or a process, so a task may move and nobody else's
 * close ends them.
 *
 * Waiting is trying again with growing pauses: a thread that waits in the kernel would be held for
 * as long as somebody else likes, and could not be cancelled. */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <filch/time.h>

#include "io/fs/call.h"

#define RETRY_MIN FILCH_MILLISECOND
#define RETRY_MAX (50 * FILCH_MILLISECOND)

struct wanted {
    bool whole;
    short type; /* F_RDLCK, F_WRLCK, F_UNLCK */
    int64_t offset, bytes;
};

static int flock_once(int fd, const struct wanted *w)
{
    int how = w->type == F_UNLCK ? LOCK_UN : w->type == F_WRLCK ? LOCK_EX : LOCK_SH;

    return flock(fd, how | LOCK_NB);
}

static int range_once(int fd, const struct wanted *w)
{
    struct flock lock = {
        .l_type = w->type, .l_whence = SEEK_SET, .l_start = w->offset, .l_len = w->bytes};

    return fcntl(fd, F_OFD_SETLK, &lock);
}

/* Return: 0; -EAGAIN (somebody else has it); -errno. */
static int try_lock(filch_file *file, const struct wanted *w)
{
    struct filch__fd *object;
    int r = filch__fd_enter(file, &object);

    if (r < 0)
        return r;
    do {
        r = (w->whole ? flock_once(object->fd, w) : range_once(object->fd, w)) < 0 ? -errno : 0;
    } while (r == -EINTR);
    filch__fd_leave(object);
    return r == -EACCES && !w->whole ? -EAGAIN : r;
}

static int lock(filch_file *file, const struct wanted *w, filch_time until)
{
    filch_time pause = RETRY_MIN;
    int r;

    while ((r = try_lock(file, w)) == -EAGAIN) {
        filch_time next = filch_after(pause);

        if (filch_now() >= until)
            return -ETIMEDOUT;
        r = filch_sleep(next < until ? next : until);
        if (r < 0)
            return r;
        if (pause < RETRY_MAX)
            pause *= 2;
    }
    return r;
}

int filch_file_lock(filch_file *file, bool exclusive, filch_time until)
{
    struct wanted w = {.whole = true, .type = exclusive ? F_WRLCK : F_RDLCK};

    return lock(file, &w, until);
}

int filch_file_unlock(filch_file *file)
{
    struct wanted w = {.whole = true, .type = F_UNLCK};

    return try_lock(file, &w);
}

/* The kernel has other meanings for lengths below 0. */
static bool is_range(int64_t offset, int64_t bytes)
{
    return offset >= 0 && bytes >= 0;
}

int filch_file_lock_range(filch_file *file, bool exclusive, int64_t offset, int64_t bytes,
                          filch_time until)
{
    struct wanted w = {.type = exclusive ? F_WRLCK : F_RDLCK, .offset = offset, .bytes = bytes};

    return is_range(offset, bytes) ? lock(file, &w, until) : -EINVAL;
}

int filch_file_unlock_range(filch_file *file, int64_t offset, int64_t bytes)
{
    struct wanted w = {.type = F_UNLCK, .offset = offset, .bytes = bytes};

    return is_range(offset, bytes) ? try_lock(file, &w) : -EINVAL;
}
