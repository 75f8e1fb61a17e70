/* Whole files: read, replaced, copied. Reading goes through a file like any other; replacing and
 * copying are one job on a blocking thread each, instead of five hops.
 *
 * A replacement is a new file beside the old one, which gets the name last. Whatever ends the job
 * early, the new file is removed and nobody has seen it. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filch/task.h>

#include "io/fs/call.h"

#define READ_FIRST 4096
#define CHUNK ((size_t)4 << 20)
#define COPY_BUFFER ((size_t)64 << 10)

/* ---- read ---- */

struct content {
    char *data;
    size_t bytes, room; /* without the zero at the end */
};

static int grow(struct content *c, size_t room)
{
    char *data = realloc(c->data, room + 1);

    if (!data)
        return -ENOMEM;
    c->data = data;
    c->room = room;
    return 0;
}

/* Room for one byte more than is wanted: a longer file shows, and so does the end. */
static int read_whole(filch_file *file, size_t most, struct content *c, filch_time until)
{
    struct stat stat;
    size_t first = READ_FIRST;
    int fd = filch_file_fd(file);
    int r;

    if (fd >= 0 && fstat(fd, &stat) == 0 && stat.st_size > 0 && (size_t)stat.st_size < most)
        first = (size_t)stat.st_size + 1;
    r = grow(c, first);
    while (r == 0) {
        ssize_t n = filch_file_read(file, c->data + c->bytes, c->room - c->bytes, until);

        if (n <= 0)
            return (int)n;
        c->bytes += (size_t)n;
        if (c->bytes > most)
            return -EFBIG;
        if (c->bytes == c->room)
            r = c->room > SIZE_MAX / 2 - 1 ? -ENOMEM : grow(c, 2 * c->room);
    }
    return r;
}

int filch_read_file(const char *path, size_t bytes_max, void **ret_data, size_t *ret_bytes,
                    filch_time until)
{
    struct content c = {0};
    filch_file *file;
    int r;

    if (!path || !ret_data)
        return -EINVAL;
    r = filch_file_open(path, O_RDONLY, 0, &file, until);
    if (r < 0)
        return r;
    r = read_whole(file, bytes_max ? bytes_max : SIZE_MAX, &c, until);
    (void)filch_file_close(file);
    if (r < 0) {
        free(c.data);
        return r;
    }
    c.data[c.bytes] = 0;
    *ret_data = c.data;
    if (ret_bytes)
        *ret_bytes = c.bytes;
    return 0;
}

/* ---- replace ---- */

struct replacement {
    const char *path;
    unsigned mode;
    bool durable;
    /* Puts the bytes in. Return: 0; -errno. */
    int (*fill)(const struct replacement *r, int fd);
    const char *data;
    size_t bytes;
    int from;
};

static int sync_dir(const char *path)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int fd, r;

    if (!slash)
        strcpy(dir, ".");
    else
        snprintf(dir, sizeof dir, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    r = fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
    close(fd);
    return r;
}

static int fill_and_close(const struct replacement *r, int fd)
{
    int error = r->fill(r, fd);

    if (error == 0 && fchmod(fd, r->mode) < 0)
        error = -errno;
    if (error == 0 && r->durable && fsync(fd) < 0)
        error = -errno;
    if (error == 0 && filch_task_is_cancelled())
        error = -ECANCELED;
    if (close(fd) < 0 && error == 0)
        error = -errno;
    return error;
}

static int replace(void *arg)
{
    const struct replacement *r = arg;
    const char *slash = strrchr(r->path, '/');
    int dir_bytes = slash ? (int)(slash - r->path) + 1 : 0;
    char name[PATH_MAX];
    int fd, error;

    if (snprintf(name, sizeof name, "%.*s.filch-XXXXXX", dir_bytes, r->path) >= (int)sizeof name ||
        strlen(r->path) >= PATH_MAX)
        return -ENAMETOOLONG;
    fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0)
        return -errno;
    error = fill_and_close(r, fd);
    if (error == 0 && rename(name, r->path) < 0)
        error = -errno;
    if (error < 0) {
        unlink(name);
        return error;
    }
    return r->durable ? sync_dir(r->path) : 0;
}

static int fill_with_data(const struct replacement *r, int fd)
{
    size_t done = 0;

    while (done < r->bytes) {
        size_t most = r->bytes - done < CHUNK ? r->bytes - done : CHUNK;
        ssize_t n = write(fd, r->data + done, most);

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            done += (size_t)n;
        if (filch_task_is_cancelled())
            return -ECANCELED;
    }
    return 0;
}

int filch_write_file(const char *path, const void *data, size_t bytes, unsigned mode,
                     filch_time until)
{
    struct replacement r = {.path = path, .mode = mode, .durable = true, .fill = fill_with_data};

    if (!path || (!data && bytes))
        return -EINVAL;
    r.data = data;
    r.bytes = bytes;
    return filch__fs_job(replace, &r, until);
}

/* ---- copy ---- */

/* Where the kernel does not copy between these two. */
static int copy_by_hand(int from, int fd)
{
    char *buffer = malloc(COPY_BUFFER);
    struct replacement part = {.data = buffer};
    ssize_t n;
    int r = buffer ? 0 : -ENOMEM;

    while (r == 0 && (n = read(from, buffer, COPY_BUFFER)) != 0) {
        if (n < 0 && errno != EINTR)
            r = -errno;
        part.bytes = n > 0 ? (size_t)n : 0;
        if (r == 0)
            r = fill_with_data(&part, fd);
    }
    free(buffer);
    return r;
}

static int fill_with_copy(const struct replacement *r, int fd)
{
    for (bool copied = false;;) {
        ssize_t n = copy_file_range(r->from, NULL, fd, NULL, CHUNK, 0);

        if (filch_task_is_cancelled())
            return -ECANCELED;
        /* Files of /proc say that they are empty. */
        if (n == 0 && copied)
            return 0;
        if (n == 0 || (n < 0 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP ||
                                 errno == ENOSYS)))
            return copy_by_hand(r->from, fd);
        if (n < 0 && errno != EINTR)
            return -errno;
        copied |= n > 0;
    }
}

struct copy {
    const char *from, *to;
};

static int copy_job(void *arg)
{
    const struct copy *c = arg;
    struct replacement r = {.path = c->to, .fill = fill_with_copy};
    struct stat stat;
    int error = 0;

    r.from = open(c->from, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO would wait */
    if (r.from < 0)
        return -errno;
    if (fstat(r.from, &stat) < 0)
        error = -errno;
    else if (!S_ISREG(stat.st_mode))
        error = S_ISDIR(stat.st_mode) ? -EISDIR : -EINVAL;
    r.mode = stat.st_mode & 0777;
    if (error == 0)
        error = replace(&r);
    close(r.from);
    return error;
}

int filch_copy_file(const char *from, const char *to, filch_time until)
{
    struct copy c = {from, to};

    if (!from || !to)
        return -EINVAL;
    return filch__fs_job(copy_job, &c, until);
}
