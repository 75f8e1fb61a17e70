/* Files: how they begin and end, and what is done with a whole one. For bytes see move.c, for who
 * makes the calls call.c. */
#include <errno.h>
#include <linux/openat2.h>
#include <liburing.h>
#include <poll.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filch/time.h>

#include "io/fs/call.h"
#include "io/net/socket.h"
#include "runtime/task/task.h"

#define RETRY_MIN FILCH_MILLISECOND
#define RETRY_MAX (50 * FILCH_MILLISECOND)

static struct filch__pool file_pool = {
    .object_bytes =
        (sizeof(struct filch_file) + FILCH_CACHELINE - 1) / FILCH_CACHELINE * FILCH_CACHELINE,
    .link_offset = offsetof(struct filch_file, fd.next),
    .forked = filch__fd_forked,
};

static int wrap(int fd, int flags, bool waits, bool pipe, filch_file **ret_file)
{
    struct filch_file *file = filch__pool_take(&file_pool);

    if (!file)
        return -ENOMEM;
    file->waits = waits;
    file->pipe = pipe;
    file->writable = (flags & O_ACCMODE) != O_RDONLY;
    filch_atomic_init(&file->refused, 0);
    filch__op_list_init(&file->ops);
    *ret_file = filch__fd_open(&file->fd, fd);
    return 0;
}

int filch__file_wrap(int fd, int flags, bool waits, filch_file **ret_file)
{
    return wrap(fd, flags, waits, false, ret_file);
}

int filch__pipe_wrap(int fd, int flags, filch_file **ret_file)
{
    return wrap(fd, flags, true, true, ret_file);
}

enum filch_file_type filch__file_type(unsigned mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return FILCH_FILE_REGULAR;
    case S_IFDIR:
        return FILCH_FILE_DIRECTORY;
    case S_IFLNK:
        return FILCH_FILE_SYMLINK;
    case S_IFIFO:
        return FILCH_FILE_FIFO;
    case S_IFSOCK:
        return FILCH_FILE_SOCKET;
    case S_IFCHR:
        return FILCH_FILE_CHAR_DEVICE;
    case S_IFBLK:
        return FILCH_FILE_BLOCK_DEVICE;
    default:
        return FILCH_FILE_UNKNOWN;
    }
}

/* ---- open ---- */

static void prep_open(struct io_uring_sqe *sqe, const struct filch__fs_call *c)
{
    io_uring_prep_openat(sqe, AT_FDCWD, c->path, c->flags, c->mode);
    sqe->flags |= IOSQE_ASYNC;
}

static int open_directly(const struct filch__fs_call *c)
{
    return open(c->path, c->flags, c->mode);
}

/* Opens if the name cache knows the way. Return: the descriptor; -EAGAIN (it may have to wait). */
static int open_cached(const char *path, int flags)
{
    struct open_how how = {.flags = (uint64_t)(unsigned)flags, .resolve = RESOLVE_CACHED};
    long fd;

    if (flags & (O_CREAT | O_TRUNC) || (flags & O_TMPFILE) == O_TMPFILE)
        return -EAGAIN;
    fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
    /* The slow way says more exactly what is wrong, and with less to think of. */
    return fd < 0 ? -EAGAIN : (int)fd;
}

static int open_once(const char *path, int flags, unsigned mode, filch_time until)
{
    struct filch__fs_call call = {.prep = prep_open, .direct = open_directly, .path = path};
    int fd = -EAGAIN;

    call.flags = flags | O_NONBLOCK;
    call.mode = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? mode : 0;
    if (filch__in_stackful_task())
        fd = open_cached(path, call.flags);
    if (fd == -EAGAIN)
        fd = filch__fs_call(&call, until);
    if (fd == -EAGAIN && !(flags & O_NONBLOCK)) {
        call.flags = flags; /* somebody has a lease on it, and is asked to end it */
        fd = filch__fs_call(&call, until);
    }
    return fd;
}

/* The other side of a FIFO is awaited without a thread that waits. */
static int open_for_writer(const char *path, int flags, unsigned mode, filch_time until)
{
    filch_time pause = RETRY_MIN;
    filch_file_info info;
    int fd, r;

    while ((fd = open_once(path, flags, mode, until)) == -ENXIO && !(flags & O_NONBLOCK)) {
        r = filch_path_stat(path, true, &info, until);
        if (r < 0)
            return r;
        if (info.type != FILCH_FILE_FIFO)
            break;
        r = filch_sleep(filch_after(pause) < until ? filch_after(pause) : until);
        if (r < 0)
            return r;
        if (filch_now() >= until)
            return -ETIMEDOUT;
        if (pause < RETRY_MAX)
            pause *= 2;
    }
    return fd;
}

static int await_writer(int fd, filch_time until)
{
    int r;

    if (!filch__in_stackful_task())
        return filch__socket_poll(fd, POLLIN, until);
    do {
        r = filch__op_poll(fd, POLLIN, until);
    } while (r == -EINTR);
    return r;
}

int filch__file_open_fd(const char *path, int flags, unsigned mode, bool *ret_waits,
                        filch_time until)
{
    struct stat stat;
    int fd, r = 0;

    flags |= O_CLOEXEC;
    fd = open_for_writer(path, flags, mode, until);
    if (fd < 0)
        return fd;
    if (flags & O_PATH) {
        *ret_waits = false;
        return fd;
    }
    if (fstat(fd, &stat) < 0)
        r = -errno;
    *ret_waits =
        r == 0 && !S_ISREG(stat.st_mode) && !S_ISDIR(stat.st_mode) && !S_ISBLK(stat.st_mode);
    if (*ret_waits && !(flags & O_NONBLOCK)) {
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
        if (S_ISFIFO(stat.st_mode) && (flags & O_ACCMODE) == O_RDONLY)
            r = await_writer(fd, until);
    }
    if (r == 0)
        return fd;
    close(fd);
    return r;
}

static bool is_fifo(int fd)
{
    struct stat stat;

    return fstat(fd, &stat) == 0 && S_ISFIFO(stat.st_mode);
}

int filch_file_open(const char *path, int flags, unsigned mode, filch_file **ret_file,
                    filch_time until)
{
    bool waits;
    int fd, r;

    if (!path || !ret_file)
        return -EINVAL;
    fd = filch__file_open_fd(path, flags, mode, &waits, until);
    if (fd < 0)
        return fd;
    r = wrap(fd, flags, waits, waits && !(flags & O_NONBLOCK) && is_fifo(fd), ret_file);
    if (r < 0)
        close(fd);
    return r;
}

/* Where the file system has no files without a name, one loses its name at once. */
static int open_and_unlink(const struct filch__fs_call *c)
{
    char name[PATH_MAX];
    int fd = open(c->path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return fd;
    if (snprintf(name, sizeof name, "%s/.filch-XXXXXX", c->path) >= (int)sizeof name) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = mkostemp(name, O_CLOEXEC);
    if (fd >= 0)
        unlink(name);
    return fd;
}

int filch_file_temp(const char *dir, filch_file **ret_file, filch_time until)
{
    struct filch__fs_call call = {.direct = open_and_unlink, .path = dir ? dir : "/tmp"};
    int fd, r;

    if (!ret_file)
        return -EINVAL;
    fd = filch__fs_call(&call, until);
    if (fd < 0)
        return fd;
    r = filch__file_wrap(fd, O_RDWR, false, ret_file);
    if (r < 0)
        close(fd);
    return r;
}

int filch_file_adopt(int fd, filch_file **ret_file)
{
    int flags = fcntl(fd, F_GETFL);
    struct stat stat;

    if (!ret_file)
        return -EINVAL;
    if (flags < 0 || fstat(fd, &stat) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return -errno;
    return filch__file_wrap(
        fd, flags, !S_ISREG(stat.st_mode) && !S_ISDIR(stat.st_mode) && !S_ISBLK(stat.st_mode),
        ret_file);
}

int filch_file_stdio(int number, filch_file **ret_file)
{
    int fd, r;

    if (!ret_file || number < STDIN_FILENO || number > STDERR_FILENO)
        return -EINVAL;
    fd = fcntl(number, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (fd < 0)
        return errno == EINVAL ? -EMFILE : -errno; /* no number is left above */
    r = filch_file_adopt(fd, ret_file);
    if (r < 0)
        close(fd);
    return r;
}

int filch_file_fd(filch_file *file)
{
    return filch__fd_number(file);
}

/* ---- close ---- */

int filch_file_close(filch_file *handle)
{
    struct filch__fd *object;
    struct filch_file *file;
    bool writable;
    int fd, r;

    if (!handle)
        return 0;
    r = filch__fd_close_begin(handle, &object);
    if (r < 0)
        return r;
    file = filch_container_of(object, struct filch_file, fd);
    if (file->waits)
        filch__op_list_end(&file->ops);
    filch__fd_wait_users(object);
    fd = object->fd;
    writable = file->writable;
    filch__fd_end(object, &file_pool);
    return filch__fs_close(fd, writable);
}

/* ---- calls on a file ---- */

/* @call: without its descriptor. */
static int call_on(filch_file *file, struct filch__fs_call *call, filch_time until)
{
    struct filch__fd *object;
    int r = filch__fd_enter(file, &object);

    if (r < 0)
        return r;
    call->fd = object->fd;
    r = filch__fs_call(call, until);
    filch__fd_leave(object);
    return r;
}

static void prep_sync(struct io_uring_sqe *sqe, const struct filch__fs_call *c)
{
    io_uring_prep_fsync(sqe, c->fd, (unsigned)c->flags);
}

static int sync_directly(const struct filch__fs_call *c)
{
    return c->flags ? fdatasync(c->fd) : fsync(c->fd);
}

int filch_file_sync(filch_file *file, filch_time until)
{
    struct filch__fs_call call = {.prep = prep_sync, .direct = sync_directly};

    return call_on(file, &call, until);
}

int filch_file_sync_data(filch_file *file, filch_time until)
{
    struct filch__fs_call call = {
        .prep = prep_sync, .direct = sync_directly, .flags = IORING_FSYNC_DATASYNC};

    return call_on(file, &call, until);
}

static void prep_allocate(struct io_uring_sqe *sqe, const struct filch__fs_call *c)
{
    io_uring_prep_fallocate(sqe, c->fd, 0, c->first, c->second);
}

static int allocate_directly(const struct filch__fs_call *c)
{
    return fallocate(c->fd, 0, c->first, c->second);
}

int filch_file_allocate(filch_file *file, int64_t offset, int64_t bytes, filch_time until)
{
    struct filch__fs_call call = {
        .prep = prep_allocate, .direct = allocate_directly, .first = offset, .second = bytes};

    if (offset < 0 || bytes <= 0)
        return -EINVAL;
    return call_on(file, &call, until);
}

static int truncate_directly(const struct filch__fs_call *c)
{
    return ftruncate(c->fd, c->first);
}

int filch_file_truncate(filch_file *file, int64_t bytes, filch_time until)
{
    struct filch__fs_call call = {.direct = truncate_directly, .first = bytes};

    if (bytes < 0)
        return -EINVAL;
    return call_on(file, &call, until);
}

int filch_file_seek(filch_file *file, int64_t offset, int whence, int64_t *ret_offset)
{
    struct filch__fd *object;
    int r = filch__fd_enter(file, &object);
    int64_t at;

    if (r < 0)
        return r;
    at = lseek(object->fd, offset, whence);
    r = at < 0 ? -errno : 0;
    filch__fd_leave(object);
    if (r == 0 && ret_offset)
        *ret_offset = at;
    return r;
}
