/* Description: errors that <filch/file.h> and <filch/file_batch.h> promise and that other tests
 * have no cause to provoke: what the kernel says of files and paths that can be had anywhere, and
 * calls that come too late. For what it says only in other circumstances see test_errors_files.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include <filch/file_batch.h>
#include <filch/pipe.h>

#include "tests/runner/run.h"
#include "tests/runner/temp_dir.h"

TestSuite(errors_paths, .timeout = 60);

/* Of memory: on any system the same. */
static filch_file *memory_file(void)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    filch_file *file;

    T_CHECK(fd >= 0);
    T_OK(filch_file_adopt(fd, &file));
    return file;
}

static int show_nothing(void *context, const char *path, const filch_dir_entry *entry)
{
    (void)context, (void)path, (void)entry;
    return 0;
}

/* ---- what can be had anywhere, in tasks and in threads ---- */

static void files_say(void)
{
    filch_file *file = memory_file(), *folder, *process;
    const int64_t end = INT64_MAX;
    filch_direct_align align;
    char byte = 0;

    T_OK(filch_file_open("/", O_RDONLY, 0, &folder, T_LIMIT));
    T_IS(filch_file_pread(folder, &byte, 1, 0, T_LIMIT), -EISDIR);
    T_IS(filch_file_readv(folder, &(struct iovec){&byte, 1}, 1, 0, T_LIMIT), -EISDIR);
    T_OK(filch_file_close(folder));
    T_IS(filch_file_allocate(file, end - 1, 10, T_LIMIT), -EFBIG);
    T_IS(filch_file_unlock_range(file, end - 1, 10), -EOVERFLOW);
    T_OK(fcntl(filch_file_fd(file), F_ADD_SEALS, F_SEAL_GROW));
    T_IS(filch_file_truncate(file, 1, T_LIMIT), -EPERM);
    T_OK(filch_file_close(file));
    T_IS(filch_file_direct_align(file, &align, T_LIMIT), -EBADF);
    /* One that cannot do what disks can. */
    T_OK(filch_file_open("/proc/self/comm", O_RDWR, 0, &process, T_LIMIT));
    T_IS(filch_file_allocate(process, 0, 1, T_LIMIT), -EOPNOTSUPP);
    T_IS(filch_file_direct_align(process, &align, T_LIMIT), -EOPNOTSUPP);
    T_OK(filch_file_close(process));
}

static void paths_say(const struct temp_dir *dir)
{
    static char large[65537];
    char name[300];
    const char *loop = in_dir(dir, "loop"), *one = in_dir(dir, "one"), *full = in_dir(dir, "full");
    const char *none = in_dir(dir, "none");
    filch_file *file;
    filch_dir *open_dir;

    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    T_OK(filch_path_symlink("loop", loop, T_LIMIT));
    T_OK(filch_write_file(one, "1", 1, 0600, T_LIMIT));
    T_OK(filch_path_mkdir(in_dir(dir, "full/sub"), 0700, true, T_LIMIT));
    T_IS(filch_path_symlink("loop", loop, T_LIMIT), -EEXIST);
    T_IS(filch_file_open(loop, O_RDONLY, 0, &file, T_LIMIT), -ELOOP);
    T_IS(filch_file_temp(loop, &file, T_LIMIT), -ELOOP);
    T_IS(filch_dir_open(loop, &open_dir, T_LIMIT), -ELOOP);
    T_IS(filch_dir_walk(loop, NULL, show_nothing, NULL, T_LIMIT), -ELOOP);
    T_IS(filch_file_open(name, O_RDONLY, 0, &file, T_LIMIT), -ENAMETOOLONG);
    T_IS(filch_file_temp(name, &file, T_LIMIT), -ENAMETOOLONG);
    T_IS(filch_dir_open(name, &open_dir, T_LIMIT), -ENAMETOOLONG);
    T_IS(filch_dir_walk(name, NULL, show_nothing, NULL, T_LIMIT), -ENAMETOOLONG);
    T_IS(filch_file_temp(none, &file, T_LIMIT), -ENOENT);
    T_IS(filch_dir_open(none, &open_dir, T_LIMIT), -ENOENT);
    T_IS(filch_dir_walk(none, NULL, show_nothing, NULL, T_LIMIT), -ENOENT);
    T_IS(filch_file_temp(one, &file, T_LIMIT), -ENOTDIR);
    T_IS(filch_dir_open(one, &open_dir, T_LIMIT), -ENOTDIR);
    T_IS(filch_dir_walk(one, NULL, show_nothing, NULL, T_LIMIT), -ENOTDIR);
    T_IS(filch_path_rename(one, full, T_LIMIT), -EISDIR);
    T_IS(filch_path_rename(dir->path, "/proc/self", T_LIMIT), -EXDEV);
    T_IS(filch_path_rename(in_dir(dir, "full/."), none, T_LIMIT), -EBUSY);
    T_IS(filch_path_rmdir("/", T_LIMIT), -EBUSY);
    T_OK(filch_path_mkdir(none, 0700, false, T_LIMIT));
    T_IS(filch_path_rename(none, full, T_LIMIT), -ENOTEMPTY);
    T_IS(filch_path_set_xattr(one, true, "user.a", large, sizeof(large), T_LIMIT), -E2BIG);
    T_IS(filch_path_set_xattr(one, true, name, "", 0, T_LIMIT), -ERANGE);
}

static int anywhere_body(void *arg)
{
    struct temp_dir dir;
    filch_dir_entry entry;
    filch_dir *removed;

    (void)arg;
    temp_dir_make(&dir);
    files_say();
    paths_say(&dir);
    T_OK(filch_dir_open(in_dir(&dir, "none"), &removed, T_LIMIT));
    T_OK(filch_path_rmdir(in_dir(&dir, "none"), T_LIMIT));
    T_IS(filch_dir_read(removed, &entry, 1, T_LIMIT), -ENOENT);
    filch_dir_close(removed);
    temp_dir_remove(&dir);
    return 0;
}

Test(errors_paths, that_can_be_had_anywhere)
{
    T_OK(run_in_runtime(0, anywhere_body, NULL));
    T_OK(anywhere_body(NULL));
}

Test(errors_paths, of_a_standard_descriptor_that_is_closed)
{
    int kept = dup(0);
    filch_file *file;

    close(0);
    T_IS(filch_file_stdio(0, &file), -EBADF);
    if (kept >= 0)
        T_IS(dup2(kept, 0), 0);
}

/* ---- what comes too late ---- */

/* With FILCH_NOW the one, in a cancelled task the other. */
#define UNDONE(call, late, cancelled) T_IS(call, until == FILCH_NOW ? (late) : (cancelled))

/* Files that do not say what they have without waiting, and others that make it wait. */
struct waits {
    filch_file *slow, *memory, *holder, *in, *out;
    filch_dir *dir;
    filch_time until;
};

static void files_wait(const struct waits *w, filch_time until)
{
    filch_direct_align align;
    filch_file_info info;
    char byte = 0;
    struct iovec iov = {&byte, 1};

    UNDONE(filch_file_read(w->in, &byte, 1, until), -ETIMEDOUT, -ECANCELED);
    UNDONE(filch_file_readv(w->in, &iov, 1, FILCH_FILE_POSITION, until), -ETIMEDOUT, -ECANCELED);
    UNDONE(filch_file_pread(w->slow, &byte, 1, 0, until), -ETIMEDOUT, -ECANCELED);
    UNDONE(filch_file_write(w->out, &byte, 1, until), -ETIMEDOUT, -ECANCELED);
    UNDONE(filch_file_pwrite(w->slow, &byte, 1, 0, until), -ETIMEDOUT, -ECANCELED);
    UNDONE(filch_file_write_all(w->out, &byte, 1, NULL, until), -ETIMEDOUT, -ECANCELED);
    UNDONE(filch_file_sync(w->memory, until), -ETIMEDOUT, -ECANCELED);
    UNDONE(filch_file_sync_data(w->memory, until), -ETIMEDOUT, -ECANCELED);
    UNDONE(filch_file_allocate(w->memory, 0, 1, until), -ETIMEDOUT, -ECANCELED);
    UNDONE(filch_file_truncate(w->memory, 0, until), -ETIMEDOUT, -ECANCELED);
    UNDONE(filch_file_stat(w->memory, &info, until), -ETIMEDOUT, -ECANCELED);
    UNDONE(filch_file_direct_align(w->memory, &align, until), -ETIMEDOUT, -ECANCELED);
    UNDONE(filch_file_lock(w->memory, true, until), -ETIMEDOUT, -ECANCELED);
    UNDONE(filch_file_lock_range(w->memory, true, 0, 1, until), -ETIMEDOUT, -ECANCELED);
}

static int wait_body(void *arg)
{
    const struct waits *w = arg;
    filch_time until = w->until;
    filch_file_op op;
    filch_file_info info;
    filch_dir_entry entry;
    filch_file *file;
    filch_dir *dir;

    if (until != FILCH_NOW)
        T_OK(filch_task_cancel(filch_task_self()));
    files_wait(w, until);
    UNDONE(filch_file_temp(NULL, &file, until), -ETIMEDOUT, -ECANCELED);
    UNDONE(filch_write_file("none", "", 0, 0600, until), -ETIMEDOUT, -ECANCELED);
    UNDONE(filch_copy_file("none", "none", until), -ETIMEDOUT, -ECANCELED);
    UNDONE(filch_dir_open("none", &dir, until), -ETIMEDOUT, -ECANCELED);
    UNDONE(filch_dir_read(w->dir, &entry, 1, until), -ETIMEDOUT, -ECANCELED);
    UNDONE(filch_dir_walk("none", NULL, show_nothing, NULL, until), -ETIMEDOUT, -ECANCELED);
    op = filch_file_op_stat("/", true, &info);
    UNDONE(filch_file_batch(&op, 1, until), -ETIMEDOUT, -ECANCELED);
    return 0;
}

static int read_byte(void *arg)
{
    return (int)filch_file_read(arg, &(char){0}, 1, FILCH_NEVER);
}

/* Nothing more fits into the pipe. Not by our calls: before Linux 6.4 trying takes a moment, which
 * may be too short. */
static void fill(filch_file *out)
{
    static char block[65536];
    int fd = filch_file_fd(out), flags = fcntl(fd, F_GETFL);

    T_OK(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
    while (write(fd, block, sizeof block) > 0)
        ;
    T_IS(errno, EAGAIN);
    T_OK(fcntl(fd, F_SETFL, flags));
}

/* Another open file of the same. */
static filch_file *opened_again(filch_file *file)
{
    char path[32];
    filch_file *again;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", filch_file_fd(file));
    T_OK(filch_file_open(path, O_RDWR, 0, &again, T_LIMIT));
    return again;
}

static int late_body(void *arg)
{
    struct waits w = {.until = FILCH_NOW, .memory = memory_file()};
    filch_file *writer, *reader;
    filch_task *task;

    (void)arg;
    w.holder = opened_again(w.memory);
    T_OK(filch_file_lock(w.holder, true, T_LIMIT));
    T_OK(filch_file_lock_range(w.holder, true, 0, 0, T_LIMIT));
    T_OK(filch_file_open("/proc/self/oom_score_adj", O_RDWR, 0, &w.slow, T_LIMIT));
    T_OK(filch_dir_open("/", &w.dir, T_LIMIT));
    T_OK(filch_pipe(0, &w.in, &writer));
    T_OK(filch_pipe(0, &reader, &w.out));
    fill(w.out);
    T_OK(join(spawn(wait_body, &w)));
    w.until = T_LIMIT;
    T_OK(join(spawn(wait_body, &w)));
    task = spawn(read_byte, w.in);
    let_others_run(); /* one worker: it waits by now */
    T_OK(filch_file_close(w.in));
    T_IS(join(task), -ECANCELED);
    T_OK(filch_file_close(writer));
    T_OK(filch_file_close(reader));
    T_OK(filch_file_close(w.out));
    T_OK(filch_file_close(w.slow));
    T_OK(filch_file_close(w.holder));
    T_OK(filch_file_close(w.memory));
    filch_dir_close(w.dir);
    return 0;
}

Test(errors_paths, of_calls_that_come_too_late)
{
    T_OK(run_in_runtime(1, late_body, NULL));
}

static int fifo_body(void *arg)
{
    struct temp_dir dir;
    const char *path;
    filch_file *file;
    filch_file_op op;

    (void)arg;
    temp_dir_make(&dir);
    path = in_dir(&dir, "fifo");
    T_OK(mkfifo(path, 0600));
    op = filch_file_op_open(path, O_WRONLY, 0, &file);
    T_OK(filch_file_batch(&op, 1, T_LIMIT));
    T_IS(op.result, -ENXIO);
    temp_dir_remove(&dir);
    return 0;
}

Test(errors_paths, of_a_fifo_in_a_batch)
{
    T_OK(run_in_runtime(0, fifo_body, NULL));
    T_OK(fifo_body(NULL));
}
