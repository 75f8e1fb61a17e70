/* Description: errors that <filch/file.h>, <filch/file_batch.h>, <filch/file_watch.h> and
 * <filch/pipe.h> promise and that
 * other tests have no cause to provoke. What the kernel would say only in other circumstances (a
 * disk that breaks, a quota, a full table of files) a wrapper says, which the linker puts in
 * (--wrap); calls are made in plain threads then, which make them themselves. */
#include <fcntl.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include <filch/file_batch.h>
#include <filch/file_watch.h>
#include <filch/pipe.h>

#include "tests/runner/refused_memory.h"
#include "tests/runner/run.h"
#include "tests/runner/wrapped_syscall.h"

TestSuite(errors_files, .timeout = 60);

/* ---- refusals ---- */

enum refused {
    OPEN = REFUSED_NEXT,
    CLOSE,
    MOVE,
    SYNC,
    ALLOCATE,
    TRUNCATE,
    STAT,
    LOCK,
    NAME,
    ENTRIES,
    PIPE,
    PIPE_SIZE,
    WATCH
};

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __real_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);
int __wrap_open64(const char *path, int flags, ...)
{
    va_list args;
    unsigned mode = 0;

    va_start(args, flags);
    if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE)
        mode = va_arg(args, unsigned);
    va_end(args);
    return refuses(OPEN) ? -1 : __real_open64(path, flags, mode);
}

int __wrap_fcntl64(int fd, int command, ...)
{
    va_list args;
    void *argument;

    va_start(args, command);
    argument = va_arg(args, void *);
    va_end(args);
    if ((command == F_OFD_SETLK && refuses(LOCK)) ||
        (command == F_SETPIPE_SZ && refuses(PIPE_SIZE)))
        return -1;
    return __real_fcntl64(fd, command, argument);
}

static bool refuses_syscall(long number, const long *arg)
{
    (void)arg;
    return (number == SYS_preadv2 || number == SYS_pwritev2) && refuses(MOVE);
}

/* It is closed all the same. */
WRAPPED(int, close, (int fd))
{
    int r = __real_close(fd);

    return refuses(CLOSE) ? -1 : r;
}

WRAPPED(int, fsync, (int fd))
{
    return refuses(SYNC) ? -1 : __real_fsync(fd);
}

WRAPPED(int, fdatasync, (int fd))
{
    return refuses(SYNC) ? -1 : __real_fdatasync(fd);
}

WRAPPED(int, fallocate64, (int fd, int mode, off_t offset, off_t bytes))
{
    return refuses(ALLOCATE) ? -1 : __real_fallocate64(fd, mode, offset, bytes);
}

WRAPPED(int, ftruncate64, (int fd, off_t bytes))
{
    return refuses(TRUNCATE) ? -1 : __real_ftruncate64(fd, bytes);
}

WRAPPED(int, statx, (int fd, const char *path, int flags, unsigned mask, struct statx *ret_x))
{
    return refuses(STAT) ? -1 : __real_statx(fd, path, flags, mask, ret_x);
}

WRAPPED(int, flock, (int fd, int how))
{
    return refuses(LOCK) ? -1 : __real_flock(fd, how);
}

WRAPPED(int, link, (const char *from, const char *to))
{
    return refuses(NAME) ? -1 : __real_link(from, to);
}

WRAPPED(int, unlinkat, (int fd, const char *path, int flags))
{
    return refuses(NAME) ? -1 : __real_unlinkat(fd, path, flags);
}

WRAPPED(int, mkdir, (const char *path, mode_t mode))
{
    return refuses(NAME) ? -1 : __real_mkdir(path, mode);
}

WRAPPED(ssize_t, getdents64, (int fd, void *buffer, size_t bytes))
{
    return refuses(ENTRIES) ? -1 : __real_getdents64(fd, buffer, bytes);
}

WRAPPED(int, pipe2, (int *fds, int flags))
{
    return refuses(PIPE) ? -1 : __real_pipe2(fds, flags);
}

WRAPPED(int, inotify_init1, (int flags))
{
    return refuses(WATCH) ? -1 : __real_inotify_init1(flags);
}

WRAPPED(int, inotify_add_watch, (int fd, const char *path, uint32_t mask))
{
    return refuses(WATCH) ? -1 : __real_inotify_add_watch(fd, path, mask);
}

/* ---- what a disk says ---- */

/* Of memory: on any system the same. */
static filch_file *memory_file(void)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    filch_file *file;

    T_CHECK(fd >= 0);
    T_OK(filch_file_adopt(fd, &file));
    return file;
}

Test(errors_files, of_a_disk)
{
    filch_file *file = memory_file();
    filch_direct_align align;
    filch_file_info info;
    char byte = 0;
    struct iovec iov = {&byte, 1};

    T_IS(filch_file_write(file, &byte, 1, T_LIMIT), 1);
    SAYS(MOVE, filch_file_read(file, &byte, 1, T_LIMIT), -EIO);
    SAYS(MOVE, filch_file_pread(file, &byte, 1, 0, T_LIMIT), -EIO);
    SAYS(MOVE, filch_file_readv(file, &iov, 1, 0, T_LIMIT), -EIO);
    SAYS(MOVE, filch_file_write(file, &byte, 1, T_LIMIT), -EIO, -EDQUOT, -EFBIG);
    SAYS(MOVE, filch_file_pwrite(file, &byte, 1, 0, T_LIMIT), -EIO, -EDQUOT);
    SAYS(MOVE, filch_file_write_all(file, &byte, 1, NULL, T_LIMIT), -EIO, -EDQUOT, -EFBIG);
    SAYS(SYNC, filch_file_sync(file, T_LIMIT), -EIO, -ENOSPC, -EDQUOT);
    SAYS(SYNC, filch_file_sync_data(file, T_LIMIT), -EIO, -ENOSPC, -EDQUOT);
    SAYS(ALLOCATE, filch_file_allocate(file, 0, 1, T_LIMIT), -EIO);
    SAYS(TRUNCATE, filch_file_truncate(file, 1, T_LIMIT), -EIO);
    SAYS(STAT, filch_file_stat(file, &info, T_LIMIT), -EIO);
    SAYS(STAT, filch_file_direct_align(file, &align, T_LIMIT), -EIO);
    SAYS(LOCK, filch_file_lock(file, true, T_LIMIT), -ENOLCK);
    SAYS(LOCK, filch_file_lock_range(file, true, 0, 1, T_LIMIT), -ENOLCK);
    SAYS(LOCK, filch_file_unlock_range(file, 0, 1), -ENOLCK);
    T_OK(filch_file_close(file));
    SAYS(CLOSE, filch_file_close(memory_file()), -EIO, -ENOSPC, -EDQUOT);
}

static int show_nothing(void *context, const char *path, const filch_dir_entry *entry)
{
    (void)context, (void)path, (void)entry;
    return 0;
}

Test(errors_files, of_paths)
{
    filch_dir_entry entry;
    filch_file *file;
    filch_dir *dir;

    SAYS(OPEN, filch_file_open("/", O_RDONLY, 0, &file, T_LIMIT), -EACCES, -ENFILE, -EROFS);
    SAYS(OPEN, filch_file_temp(NULL, &file, T_LIMIT), -EACCES, -ENFILE, -EROFS);
    SAYS(OPEN, filch_dir_open("/", &dir, T_LIMIT), -EACCES, -ENFILE);
    SAYS(OPEN, filch_dir_walk("/", NULL, show_nothing, NULL, T_LIMIT), -EACCES, -ENFILE, -EMFILE);
    SAYS(NAME, filch_path_link("/", "/", T_LIMIT), -EMLINK, -EXDEV);
    SAYS(NAME, filch_path_mkdir("/", 0700, false, T_LIMIT), -EMLINK);
    SAYS(NAME, filch_path_unlink("/", T_LIMIT), -EBUSY);
    SAYS(ENTRIES, filch_dir_walk("/", NULL, show_nothing, NULL, T_LIMIT), -EIO);
    T_OK(filch_dir_open("/", &dir, T_LIMIT));
    SAYS(ENTRIES, filch_dir_read(dir, &entry, 1, T_LIMIT), -EIO);
    filch_dir_close(dir);
}

/* The first calls of a process: there is no object in store. */
Test(errors_files, of_memory)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    filch_file *file, *other;
    void *data = NULL;
    filch_dir *dir;

    T_CHECK(fd >= 0);
    SAYS(MEMORY, filch_file_adopt(fd, &file), -ENOMEM);
    SAYS(MEMORY, filch_file_stdio(2, &file), -ENOMEM);
    SAYS(MEMORY, filch_file_open("/", O_RDONLY, 0, &file, T_LIMIT), -ENOMEM);
    SAYS(MEMORY, filch_file_temp(NULL, &file, T_LIMIT), -ENOMEM);
    SAYS(MEMORY, filch_pipe(0, &file, &other), -ENOMEM);
    SAYS(MEMORY, filch_dir_open("/", &dir, T_LIMIT), -ENOMEM);
    SAYS(MEMORY, filch_dir_walk("/", NULL, show_nothing, NULL, T_LIMIT), -ENOMEM);
    T_OK(filch_file_adopt(fd, &file));
    T_OK(filch_file_close(file));
    SAYS(MEMORY, filch_read_file("/proc/self/status", 0, &data, NULL, T_LIMIT), -ENOMEM);
}

Test(errors_files, of_pipes)
{
    filch_file *in, *out;
    char byte = 0;

    SAYS(PIPE, filch_pipe(0, &in, &out), -EMFILE, -ENFILE);
    SAYS(PIPE_SIZE, filch_pipe(1 << 30, &in, &out), -EPERM);
    T_OK(filch_pipe(0, &in, &out));
    T_IS(filch_file_readv(in, &(struct iovec){&byte, 1}, 1, 0, T_LIMIT), -ESPIPE);
    T_IS(filch_file_pwrite(out, &byte, 1, 0, T_LIMIT), -ESPIPE);
    T_IS(filch_file_seek(in, 0, SEEK_SET, NULL), -ESPIPE);
    T_IS(filch_file_allocate(out, 0, 1, T_LIMIT), -ESPIPE);
    T_OK(filch_file_close(in));
    T_IS(filch_file_write_all(out, &byte, 1, NULL, T_LIMIT), -EPIPE);
    T_OK(filch_file_close(out));
}

/* ---- no thread, no memory ---- */

static int no_thread_body(void *arg)
{
    filch_direct_align align;
    filch_dir_entry entry;
    filch_file *file = memory_file(), *temp;
    filch_dir *dir;

    (void)arg;
    T_OK(filch_dir_open("/", &dir, T_LIMIT));
    SAYS(THREAD, filch_file_temp(NULL, &temp, T_LIMIT), -EAGAIN);
    SAYS(THREAD, filch_file_truncate(file, 0, T_LIMIT), -EAGAIN);
    SAYS(THREAD, filch_file_direct_align(file, &align, T_LIMIT), -EAGAIN);
    SAYS(THREAD, filch_write_file("none", "", 0, 0600, T_LIMIT), -EAGAIN);
    SAYS(THREAD, filch_copy_file("none", "none", T_LIMIT), -EAGAIN);
    SAYS(THREAD, filch_dir_read(dir, &entry, 1, T_LIMIT), -EAGAIN);
    SAYS(THREAD, filch_dir_walk("/", NULL, show_nothing, NULL, T_LIMIT), -EAGAIN);
    filch_dir_close(dir);
    T_OK(filch_file_truncate(file, 0, T_LIMIT)); /* now there is one */
    return filch_file_close(file);
}

Test(errors_files, of_blocking_threads)
{
    T_OK(run_in_runtime(1, no_thread_body, NULL));
}

static int batch_body(void *arg)
{
    filch_file_info info;
    filch_file_op op = filch_file_op_stat("/", true, &info);

    (void)arg;
    op.result = 77;
    SAYS(MEMORY, filch_file_batch(&op, 1, T_LIMIT), -ENOMEM);
    T_IS(op.result, 77);
    T_OK(filch_file_batch(&op, 1, T_LIMIT));
    return (int)op.result;
}

Test(errors_files, of_memory_for_a_batch)
{
    T_OK(run_in_runtime(1, batch_body, NULL));
}

/* ---- watches ---- */

static int selected(filch_case c)
{
    int r = filch_select(&c, 1, 0, T_LIMIT);

    return r < 0 ? r : c.result;
}

/* The first of a process: there is no object in store. */
Test(errors_files, of_watches)
{
    const unsigned any = FILCH_CHANGE_ANY;
    filch_file_watch *watch;
    int number;

    SAYS(MEMORY, filch_file_watch_open(&watch), -ENOMEM);
    SAYS(WATCH, filch_file_watch_open(&watch), -EMFILE, -ENFILE);
    T_OK(filch_file_watch_open(&watch));
    SAYS(WATCH, filch_file_watch_add(watch, "/", any, &number, T_LIMIT), -EACCES, -ENOSPC, -ENOMEM,
         -ELOOP, -ENAMETOOLONG);
    T_IS(filch_file_watch_add(watch, "/proc/version/x", any, &number, T_LIMIT), -ENOTDIR);
    T_IS(selected(filch_case_file_changed(watch)), -EPERM);
    T_OK(filch_file_watch_close(watch));
}

static int selects_change(void *watch)
{
    return selected(filch_case_file_changed(watch));
}

static int waits_for_change(void *watch)
{
    filch_file_change change;

    return filch_file_watch_next(watch, &change, FILCH_NEVER);
}

static int watches_cancelled(void *arg)
{
    const unsigned any = FILCH_CHANGE_ANY;
    filch_file_watch *watch = arg;
    filch_file_change change;
    int number;

    T_OK(filch_task_cancel(filch_task_self()));
    T_IS(filch_file_watch_add(watch, "/", any, &number, T_LIMIT), -ECANCELED);
    T_IS(filch_file_watch_next(watch, &change, T_LIMIT), -ECANCELED);
    return 0;
}

static int watch_body(void *arg)
{
    const unsigned any = FILCH_CHANGE_ANY;
    filch_task *selects, *waits;
    filch_file_watch *watch;
    int number;

    (void)arg;
    T_OK(filch_file_watch_open(&watch));
    SAYS(THREAD, filch_file_watch_add(watch, "/", any, &number, T_LIMIT), -EAGAIN);
    T_IS(filch_file_watch_add(watch, "/", any, &number, FILCH_NOW), -ETIMEDOUT);
    T_OK(join(spawn(watches_cancelled, watch)));
    SAYS(MEMORY, selected(filch_case_file_changed(watch)), -ENOMEM);
    selects = spawn(selects_change, watch);
    waits = spawn(waits_for_change, watch);
    let_others_run(); /* one worker: they wait by now */
    T_OK(filch_file_watch_close(watch));
    T_IS(join(selects), -ECANCELED);
    T_IS(join(waits), -ECANCELED);
    return 0;
}

Test(errors_files, of_watches_in_tasks)
{
    T_OK(run_in_runtime(1, watch_body, NULL));
}
