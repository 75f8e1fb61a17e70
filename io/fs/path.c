/* Calls on paths: each with its ring operation, if there is one, and its system call. See call.c.
 */
#include <errno.h>
#include <liburing.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filch/time.h>

#include "io/fs/call.h"

/* ---- stat ---- */

static void prep_stat(struct io_uring_sqe *sqe, const struct filch__fs_call *c)
{
    io_uring_prep_statx(sqe, c->fd, c->path, c->flags, STATX_BASIC_STATS | STATX_BTIME, c->out);
}

static int stat_directly(const struct filch__fs_call *c)
{
    return statx(c->fd, c->path, c->flags, STATX_BASIC_STATS | STATX_BTIME, c->out);
}

static int64_t time_of(const struct statx_timestamp *at)
{
    return (int64_t)at->tv_sec * (int64_t)FILCH_SECOND + at->tv_nsec;
}

void filch__file_info_of(const struct statx *x, filch_file_info *ret_info)
{
    *ret_info = (filch_file_info){
        .type = filch__file_type(x->stx_mode),
        .mode = x->stx_mode & 07777u,
        .uid = x->stx_uid,
        .gid = x->stx_gid,
        .bytes = x->stx_size,
        .blocks = x->stx_blocks,
        .links = x->stx_nlink,
        .device = makedev(x->stx_dev_major, x->stx_dev_minor),
        .inode = x->stx_ino,
        .accessed_ns = time_of(&x->stx_atime),
        .modified_ns = time_of(&x->stx_mtime),
        .changed_ns = time_of(&x->stx_ctime),
        .created_ns = x->stx_mask & STATX_BTIME ? time_of(&x->stx_btime) : 0,
    };
}

static int stat_at(int fd, const char *path, int flags, filch_file_info *ret_info, filch_time until)
{
    struct statx x = {0};
    struct filch__fs_call call = {.prep = prep_stat, .direct = stat_directly, .fd = fd};
    int r;

    call.path = path;
    call.flags = flags;
    call.out = &x;
    r = filch__fs_call(&call, until);
    if (r < 0)
        return r;
    filch__file_info_of(&x, ret_info);
    return 0;
}

int filch_path_stat(const char *path, bool follow, filch_file_info *ret_info, filch_time until)
{
    if (!path || !ret_info)
        return -EINVAL;
    return stat_at(AT_FDCWD, path, follow ? 0 : AT_SYMLINK_NOFOLLOW, ret_info, until);
}

int filch_file_stat(filch_file *file, filch_file_info *ret_info, filch_time until)
{
    struct filch__fd *object;
    int r;

    if (!ret_info)
        return -EINVAL;
    r = filch__fd_enter(file, &object);
    if (r < 0)
        return r;
    r = stat_at(object->fd, "", AT_EMPTY_PATH, ret_info, until);
    filch__fd_leave(object);
    return r;
}

/* ---- names ---- */

static void prep_rename(struct io_uring_sqe *sqe, const struct filch__fs_call *c)
{
    io_uring_prep_renameat(sqe, AT_FDCWD, c->path, AT_FDCWD, c->path2, 0);
}

static int rename_directly(const struct filch__fs_call *c)
{
    return rename(c->path, c->path2);
}

static void prep_link(struct io_uring_sqe *sqe, const struct filch__fs_call *c)
{
    io_uring_prep_linkat(sqe, AT_FDCWD, c->path, AT_FDCWD, c->path2, 0);
}

static int link_directly(const struct filch__fs_call *c)
{
    return link(c->path, c->path2);
}

static void prep_symlink(struct io_uring_sqe *sqe, const struct filch__fs_call *c)
{
    io_uring_prep_symlinkat(sqe, c->path, AT_FDCWD, c->path2);
}

static int symlink_directly(const struct filch__fs_call *c)
{
    return symlink(c->path, c->path2);
}

static void prep_unlink(struct io_uring_sqe *sqe, const struct filch__fs_call *c)
{
    io_uring_prep_unlinkat(sqe, AT_FDCWD, c->path, c->flags);
}

static int unlink_directly(const struct filch__fs_call *c)
{
    return unlinkat(AT_FDCWD, c->path, c->flags);
}

static void prep_mkdir(struct io_uring_sqe *sqe, const struct filch__fs_call *c)
{
    io_uring_prep_mkdirat(sqe, AT_FDCWD, c->path, c->mode);
}

static int mkdir_directly(const struct filch__fs_call *c)
{
    return mkdir(c->path, c->mode);
}

int filch_path_rename(const char *from, const char *to, filch_time until)
{
    struct filch__fs_call call = {
        .prep = prep_rename, .direct = rename_directly, .path = from, .path2 = to};

    return from && to ? filch__fs_call(&call, until) : -EINVAL;
}

int filch_path_link(const char *from, const char *to, filch_time until)
{
    struct filch__fs_call call = {
        .prep = prep_link, .direct = link_directly, .path = from, .path2 = to};

    return from && to ? filch__fs_call(&call, until) : -EINVAL;
}

int filch_path_symlink(const char *target, const char *path, filch_time until)
{
    struct filch__fs_call call = {
        .prep = prep_symlink, .direct = symlink_directly, .path = target, .path2 = path};

    return target && path ? filch__fs_call(&call, until) : -EINVAL;
}

int filch_path_unlink(const char *path, filch_time until)
{
    struct filch__fs_call call = {.prep = prep_unlink, .direct = unlink_directly, .path = path};

    return path ? filch__fs_call(&call, until) : -EINVAL;
}

int filch_path_rmdir(const char *path, filch_time until)
{
    struct filch__fs_call call = {
        .prep = prep_unlink, .direct = unlink_directly, .path = path, .flags = AT_REMOVEDIR};

    return path ? filch__fs_call(&call, until) : -EINVAL;
}

static int make_dir(const char *path, unsigned mode, filch_time until)
{
    struct filch__fs_call call = {
        .prep = prep_mkdir, .direct = mkdir_directly, .path = path, .mode = mode};

    return filch__fs_call(&call, until);
}

/* No error if a directory is there, also behind a link. */
static int make_dir_or_find(const char *path, unsigned mode, filch_time until)
{
    filch_file_info info;
    int r = make_dir(path, mode, until);

    if (r != -EEXIST)
        return r;
    r = filch_path_stat(path, true, &info, until);
    if (r < 0)
        return r;
    return info.type == FILCH_FILE_DIRECTORY ? 0 : -EEXIST;
}

int filch_path_mkdir(const char *path, unsigned mode, bool parents, filch_time until)
{
    char part[PATH_MAX];
    int r;

    if (!path)
        return -EINVAL;
    if (!parents)
        return make_dir(path, mode, until);
    if (strlen(path) >= sizeof part)
        return -ENAMETOOLONG;
    r = make_dir_or_find(path, mode, until); /* most often only the last one is missing */
    if (r != -ENOENT)
        return r;
    for (size_t i = 1; path[i]; i++) {
        if (path[i] != '/')
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        r = make_dir_or_find(part, mode, until);
        if (r < 0)
            return r;
    }
    return make_dir_or_find(path, mode, until);
}

/* ---- what the ring has not ---- */

static int readlink_directly(const struct filch__fs_call *c)
{
    return (int)readlink(c->path, c->out, (size_t)c->first);
}

int filch_path_readlink(const char *path, char *ret_text, size_t bytes, filch_time until)
{
    struct filch__fs_call call = {.direct = readlink_directly, .path = path};
    char text[PATH_MAX];
    int n;

    if (!path || !ret_text)
        return -EINVAL;
    call.out = text;
    call.first = sizeof text;
    n = filch__fs_call(&call, until);
    if (n < 0)
        return n;
    if ((size_t)n >= bytes || (size_t)n >= sizeof text)
        return -ERANGE;
    memcpy(ret_text, text, (size_t)n);
    ret_text[n] = 0;
    return 0;
}

static int chmod_directly(const struct filch__fs_call *c)
{
    return chmod(c->path, c->mode);
}

int filch_path_chmod(const char *path, unsigned mode, filch_time until)
{
    struct filch__fs_call call = {.direct = chmod_directly, .path = path, .mode = mode};

    return path ? filch__fs_call(&call, until) : -EINVAL;
}

static int chown_directly(const struct filch__fs_call *c)
{
    return fchownat(AT_FDCWD, c->path, (uid_t)c->first, (gid_t)c->second, c->flags);
}

int filch_path_chown(const char *path, uint32_t uid, uint32_t gid, bool follow, filch_time until)
{
    struct filch__fs_call call = {.direct = chown_directly, .path = path};

    call.first = uid;
    call.second = gid;
    call.flags = follow ? 0 : AT_SYMLINK_NOFOLLOW;
    return path ? filch__fs_call(&call, until) : -EINVAL;
}

static int utimes_directly(const struct filch__fs_call *c)
{
    return utimensat(AT_FDCWD, c->path, c->out, 0);
}

static struct timespec timespec_of(int64_t ns)
{
    const int64_t second = (int64_t)FILCH_SECOND;
    int64_t rest = ns % second;

    if (ns == INT64_MIN)
        return (struct timespec){.tv_nsec = UTIME_NOW};
    if (rest < 0)
        rest += second;
    return (struct timespec){.tv_sec = (ns - rest) / second, .tv_nsec = rest};
}

int filch_path_utimes(const char *path, int64_t accessed_ns, int64_t modified_ns, filch_time until)
{
    struct timespec times[2] = {timespec_of(accessed_ns), timespec_of(modified_ns)};
    struct filch__fs_call call = {.direct = utimes_directly, .path = path, .out = times};

    return path ? filch__fs_call(&call, until) : -EINVAL;
}

static int access_directly(const struct filch__fs_call *c)
{
    return faccessat(AT_FDCWD, c->path, c->flags, AT_EACCESS);
}

int filch_path_access(const char *path, int mode, filch_time until)
{
    struct filch__fs_call call = {.direct = access_directly, .path = path, .flags = mode};

    return path ? filch__fs_call(&call, until) : -EINVAL;
}
