/* Description: files, paths and directories (<filch/file.h>): what is written is read, errors are
 * the kernel's, waiting in pipes ends by time, cancel and close. Everything from a task and from a
 * plain thread. */
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/process.h"
#include "tests/runner/run.h"
#include "tests/runner/temp_dir.h"

TestSuite(file, .timeout = 60);

/* Runs @fn in a task, and again in this plain thread. */
static void run_both(filch_fn fn)
{
    cr_assert_eq(run_in_runtime(0, fn, NULL), 0);
    cr_assert_eq(fn(NULL), 0);
}

static void put(const char *path, const char *text)
{
    T_OK(filch_write_file(path, text, strlen(text), 0644, FILCH_NEVER));
}

static void expect(const char *path, const char *text)
{
    void *data = NULL;
    size_t bytes = 0;

    T_OK(filch_read_file(path, 0, &data, &bytes, FILCH_NEVER));
    T_IS(bytes, strlen(text));
    T_CHECK(memcmp(data, text, bytes + 1) == 0);
    free(data);
}

/* ---- bytes ---- */

static int bytes_body(void *arg)
{
    struct temp_dir dir;
    filch_file *file;
    filch_file_info info;
    char buf[64];
    struct iovec iov[3] = {{buf, 2}, {NULL, 0}, {buf + 2, 3}};
    struct iovec out[2] = {{(void *)"ab", 2}, {(void *)"cde", 3}};
    int64_t at = -1;
    size_t done = 0;

    (void)arg;
    temp_dir_make(&dir);
    T_OK(filch_file_open(in_dir(&dir, "f"), O_RDWR | O_CREAT | O_EXCL, 0640, &file, FILCH_NEVER));
    T_CHECK(fcntl(filch_file_fd(file), F_GETFD) & FD_CLOEXEC);
    T_IS(filch_file_write(file, "0123456789", 10, FILCH_NEVER), 10);
    T_IS(filch_file_read(file, buf, 10, FILCH_NEVER), 0); /* the end */
    T_IS(filch_file_pread(file, buf, sizeof buf, 4, FILCH_NEVER), 6);
    T_CHECK(memcmp(buf, "456789", 6) == 0);
    T_IS(filch_file_pwrite(file, "xy", 2, 1, FILCH_NEVER), 2);
    T_OK(filch_file_seek(file, 0, SEEK_SET, &at));
    T_IS(at, 0);
    T_IS(filch_file_read(file, buf, 4, FILCH_NEVER), 4);
    T_CHECK(memcmp(buf, "0xy3", 4) == 0);
    T_IS(filch_file_readv(file, iov, 3, FILCH_FILE_POSITION, FILCH_NEVER), 5);
    T_CHECK(memcmp(buf, "45678", 5) == 0);
    T_IS(filch_file_writev(file, out, 2, 3, FILCH_NEVER), 5);
    T_IS(filch_file_readv(file, iov, 3, 3, FILCH_NEVER), 5);
    T_CHECK(memcmp(buf, "abcde", 5) == 0);
    T_OK(filch_file_sync(file, FILCH_NEVER));
    T_OK(filch_file_sync_data(file, FILCH_NEVER));
    T_OK(filch_file_allocate(file, 0, 100, FILCH_NEVER));
    T_OK(filch_file_stat(file, &info, FILCH_NEVER));
    T_IS(info.bytes, 100);
    T_IS(info.type, FILCH_FILE_REGULAR);
    T_IS(info.mode & 0600, 0600);
    T_OK(filch_file_truncate(file, 3, FILCH_NEVER));
    T_IS(filch_file_pread(file, buf, sizeof buf, 0, FILCH_NEVER), 3);
    T_OK(filch_file_seek(file, 0, SEEK_END, NULL));
    T_OK(filch_file_write_all(file, "!", 1, &done, FILCH_NEVER));
    T_IS(done, 1);
    T_OK(filch_file_close(file));
    T_IS(filch_file_close(file), -EBADF);
    expect(in_dir(&dir, "f"), "0xy!");
    temp_dir_remove(&dir);
    return 0;
}

Test(file, what_is_written_is_read)
{
    run_both(bytes_body);
}

static int append_body(void *arg)
{
    struct temp_dir dir;
    filch_file *file;

    (void)arg;
    temp_dir_make(&dir);
    put(in_dir(&dir, "log"), "one ");
    T_OK(filch_file_open(in_dir(&dir, "log"), O_WRONLY | O_APPEND, 0, &file, FILCH_NEVER));
    T_IS(filch_file_write(file, "two ", 4, FILCH_NEVER), 4);
    T_IS(filch_file_pwrite(file, "three", 5, 0, FILCH_NEVER), 5);
    T_OK(filch_file_close(file));
    expect(in_dir(&dir, "log"), "one two three");
    temp_dir_remove(&dir);
    return 0;
}

Test(file, appends_go_to_the_end)
{
    run_both(append_body);
}

/* More than is copied in the worker itself, and a hole of 3 GiB: lengths are clamped. */
static int large_body(void *arg)
{
    const size_t bytes = (size_t)3 << 20;
    unsigned char *data = malloc(bytes), *back = malloc(bytes);
    filch_file *file;

    (void)arg;
    T_CHECK(data && back);
    for (size_t i = 0; i < bytes; i++)
        data[i] = (unsigned char)((i * 2654435761u) >> 13);
    T_OK(filch_file_temp(NULL, &file, FILCH_NEVER));
    T_OK(filch_file_write_all(file, data, bytes, NULL, FILCH_NEVER));
    T_IS(filch_file_pread(file, back, bytes, 0, FILCH_NEVER), (ssize_t)bytes);
    T_CHECK(memcmp(data, back, bytes) == 0);
    T_OK(filch_file_truncate(file, (int64_t)3 << 30, FILCH_NEVER));
    /* At the end there are fewer than asked for, whatever is asked for. */
    T_IS(filch_file_pread(file, back, bytes, ((int64_t)3 << 30) - 10, FILCH_NEVER), 10);
    /* Sanitizers would mark all of the buffer in a task. */
    if (!filch_task_self()) {
        const size_t huge = (size_t)5 << 30;
        void *room = mmap(NULL, huge, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        T_CHECK(room != MAP_FAILED);
        T_IS(filch_file_pread(file, room, huge, ((int64_t)3 << 30) - 10, FILCH_NEVER), 10);
        munmap(room, huge);
    }
    T_OK(filch_file_close(file));
    free(data);
    free(back);
    return 0;
}

Test(file, large_reads_are_whole_and_lengths_are_clamped)
{
    run_both(large_body);
}

/* ---- errors ---- */

static int errors_body(void *arg)
{
    unsigned before = process_files();
    struct temp_dir dir;
    filch_file *file = NULL;
    char buf[8];
    struct iovec bad = {NULL, 1};
    void *data = NULL;

    (void)arg;
    temp_dir_make(&dir);
    put(in_dir(&dir, "f"), "x");
    T_IS(filch_file_open(in_dir(&dir, "none"), O_RDONLY, 0, &file, FILCH_NEVER), -ENOENT);
    T_IS(filch_file_open(in_dir(&dir, "f/x"), O_RDONLY, 0, &file, FILCH_NEVER), -ENOTDIR);
    T_IS(filch_file_open(in_dir(&dir, "f"), O_WRONLY | O_CREAT | O_EXCL, 0600, &file, FILCH_NEVER),
         -EEXIST);
    T_IS(filch_file_open(dir.path, O_WRONLY, 0, &file, FILCH_NEVER), -EISDIR);
    T_CHECK(file == NULL);
    T_OK(filch_file_open(dir.path, O_RDONLY, 0, &file, FILCH_NEVER));
    T_IS(filch_file_read(file, buf, 1, FILCH_NEVER), -EISDIR);
    T_OK(filch_file_close(file));
    T_OK(filch_file_open(in_dir(&dir, "f"), O_RDONLY, 0, &file, FILCH_NEVER));
    T_IS(filch_file_write(file, "x", 1, FILCH_NEVER), -EBADF);
    T_IS(filch_file_pread(file, buf, 1, -1, FILCH_NEVER), -EINVAL);
    T_IS(filch_file_read(file, NULL, 1, FILCH_NEVER), -EINVAL);
    T_IS(filch_file_read(file, NULL, 0, FILCH_NEVER), 0);
    T_IS(filch_file_readv(file, &bad, 1, 0, FILCH_NEVER), -EINVAL);
    T_IS(filch_file_truncate(file, 0, FILCH_NEVER), -EINVAL);
    T_OK(filch_file_close(file));
    /* A disk that is full. */
    T_OK(filch_file_open("/dev/full", O_RDWR, 0, &file, FILCH_NEVER));
    T_IS(filch_file_write(file, "x", 1, FILCH_NEVER), -ENOSPC);
    T_IS(filch_file_read(file, buf, 1, FILCH_NEVER), 1);
    T_OK(filch_file_close(file));
    T_OK(filch_file_open("/dev/null", O_RDWR, 0, &file, FILCH_NEVER));
    T_IS(filch_file_write(file, "x", 1, FILCH_NEVER), 1);
    T_IS(filch_file_read(file, buf, 1, FILCH_NEVER), 0);
    T_IS(filch_file_sync(file, FILCH_NEVER), -EINVAL);
    T_IS(filch_file_allocate(file, 0, 1, FILCH_NEVER), -ENODEV);
    T_OK(filch_file_close(file));
    T_IS(filch_read_file("/dev/zero", 1000, &data, NULL, FILCH_NEVER), -EFBIG);
    T_IS(filch_read_file(dir.path, 0, &data, NULL, FILCH_NEVER), -EISDIR);
    T_IS(filch_copy_file(dir.path, in_dir(&dir, "g"), FILCH_NEVER), -EISDIR);
    T_IS(filch_copy_file("/dev/null", in_dir(&dir, "g"), FILCH_NEVER), -EINVAL);
    T_IS(filch_write_file(in_dir(&dir, "no/f"), "x", 1, 0600, FILCH_NEVER), -ENOENT);
    T_CHECK(data == NULL);
    T_IS(filch_file_adopt(-1, &file), -EBADF);
    temp_dir_remove(&dir);
    T_IS(process_files(), before);
    return 0;
}

Test(file, errors_are_the_kernels_and_nothing_stays_open)
{
    run_both(errors_body);
}

/* ---- time and cancel ---- */

static int late_body(void *arg)
{
    struct temp_dir dir;
    filch_file *file;
    filch_file_info info;
    char buf[4];
    ssize_t n;

    (void)arg;
    temp_dir_make(&dir);
    put(in_dir(&dir, "f"), "abc");
    T_IS(filch_path_stat(in_dir(&dir, "f"), true, &info, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_path_unlink(in_dir(&dir, "f"), FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_path_chmod(in_dir(&dir, "f"), 0600, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_write_file(in_dir(&dir, "f"), "x", 1, 0600, FILCH_NOW), -ETIMEDOUT);
    expect(in_dir(&dir, "f"), "abc");
    T_OK(filch_file_open(in_dir(&dir, "f"), O_RDWR, 0, &file, FILCH_NEVER));
    T_IS(filch_file_sync(file, FILCH_NOW), -ETIMEDOUT);
    T_OK(filch_task_cancel(filch_task_self()));
    T_IS(filch_path_unlink(in_dir(&dir, "f"), FILCH_NEVER), -ECANCELED);
    T_IS(filch_file_truncate(file, 0, FILCH_NEVER), -ECANCELED);
    /* It is there; but not every file system says so without waiting. */
    n = filch_file_read(file, buf, 3, FILCH_NEVER);
    T_CHECK(n == 3 || n == -ECANCELED);
    T_OK(filch_file_close(file)); /* no cancellation point */
    temp_dir_remove(&dir);
    return 0;
}

Test(file, what_comes_too_late_does_nothing)
{
    cr_assert_eq(run_in_runtime(0, late_body, NULL), 0);
}

/* ---- pipes ---- */

struct pipe_ends {
    filch_file *in, *out;
};

static void make_pipe(struct pipe_ends *ends)
{
    int fds[2];

    T_OK(pipe2(fds, O_CLOEXEC));
    T_OK(filch_file_adopt(fds[0], &ends->in));
    T_OK(filch_file_adopt(fds[1], &ends->out));
}

static int read_one(void *arg)
{
    char byte;

    return (int)filch_file_read(arg, &byte, 1, FILCH_NEVER);
}

static int pipes_body(void *arg)
{
    struct pipe_ends ends;
    filch_task *reader;
    static char block[1 << 16];
    char byte;

    (void)arg;
    make_pipe(&ends);
    T_IS(filch_file_read(ends.in, &byte, 1, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_file_read(ends.in, &byte, 1, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(filch_file_pread(ends.in, &byte, 1, 0, FILCH_NEVER), -ESPIPE);
    reader = spawn(read_one, ends.in);
    let_others_run();
    T_IS(filch_file_write(ends.out, "x", 1, FILCH_NEVER), 1);
    T_IS(join(reader), 1);
    reader = spawn(read_one, ends.in);
    let_others_run();
    T_OK(filch_task_cancel(reader));
    T_IS(join(reader), -ECANCELED);
    /* Full: writing waits, too. */
    while (filch_file_write(ends.out, block, sizeof block, FILCH_NOW) > 0)
        ;
    T_IS(filch_file_write(ends.out, "x", 1, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    while (filch_file_read(ends.in, block, sizeof block, FILCH_NOW) > 0)
        ;
    /* A close ends who waits. */
    reader = spawn(read_one, ends.in);
    let_others_run();
    T_OK(filch_file_close(ends.in));
    T_CHECK(join(reader) < 0);
    T_IS(filch_file_write(ends.out, "x", 1, FILCH_NEVER), -EPIPE);
    T_OK(filch_file_close(ends.out));
    return 0;
}

/* A terminal says, as pipes of older kernels do, that it cannot be tried without waiting. */
static int terminal_body(void *arg)
{
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
    filch_file *file;
    char byte;

    (void)arg;
    if (fd < 0)
        return 0; /* there are none here */
    T_OK(grantpt(fd));
    T_OK(unlockpt(fd));
    slave = open(ptsname(fd), O_RDWR | O_NOCTTY | O_CLOEXEC);
    T_CHECK(slave >= 0);
    T_OK(filch_file_adopt(fd, &file));
    T_IS(filch_file_read(file, &byte, 1, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_file_pread(file, &byte, 1, 0, T_LIMIT), -ESPIPE);
    T_IS(write(slave, "x", 1), 1);
    T_WAIT_UNTIL(filch_file_read(file, &byte, 1, FILCH_NOW) == 1);
    T_IS(byte, 'x');
    T_IS(filch_file_read(file, &byte, 1, FILCH_NOW), -ETIMEDOUT);
    T_OK(close(slave));
    T_OK(filch_file_close(file));
    return 0;
}

Test(file, a_terminal_is_tried_once_and_has_no_offsets)
{
    run_both(terminal_body);
}

Test(file, waiting_in_a_pipe_ends_by_a_byte_time_cancel_and_close)
{
    cr_assert_eq(run_in_runtime(0, pipes_body, NULL), 0);
}

static void *read_in_thread(void *arg)
{
    return (void *)(intptr_t)read_one(arg);
}

Test(file, threads_wait_in_pipes_too)
{
    struct pipe_ends ends;
    pthread_t thread;
    void *result;
    char byte;

    make_pipe(&ends);
    cr_assert_eq(filch_file_read(ends.in, &byte, 1, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    pthread_create(&thread, NULL, read_in_thread, ends.in);
    cr_assert_eq(filch_file_write(ends.out, "x", 1, FILCH_NEVER), 1);
    pthread_join(thread, &result);
    cr_assert_eq((intptr_t)result, 1);
    pthread_create(&thread, NULL, read_in_thread, ends.in);
    cr_assert_eq(filch_file_close(ends.in), 0);
    pthread_join(thread, &result);
    cr_assert((intptr_t)result == -ECANCELED || (intptr_t)result == -EBADF);
    /* SIGPIPE has its default action here. */
    cr_assert_eq(filch_file_write(ends.out, "x", 1, FILCH_NEVER), -EPIPE);
    cr_assert_eq(filch_file_close(ends.out), 0);
}

static int write_fifo(void *path)
{
    filch_file *file;

    T_OK(filch_file_open(path, O_WRONLY, 0, &file, T_LIMIT));
    T_IS(filch_file_write(file, "hello", 5, T_LIMIT), 5);
    T_OK(filch_file_close(file));
    return 0;
}

static int fifo_body(void *arg)
{
    unsigned before = process_files();
    struct temp_dir dir;
    filch_file *file;
    filch_task *writer;
    char path[128], buf[8];

    (void)arg;
    temp_dir_make(&dir);
    snprintf(path, sizeof path, "%s/fifo", dir.path);
    T_OK(mkfifo(path, 0600));
    T_IS(filch_file_open(path, O_RDONLY, 0, &file, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(filch_file_open(path, O_WRONLY, 0, &file, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    writer = spawn(write_fifo, path);
    T_OK(filch_file_open(path, O_RDONLY, 0, &file, T_LIMIT));
    T_IS(filch_file_read(file, buf, sizeof buf, T_LIMIT), 5);
    T_IS(filch_file_read(file, buf, sizeof buf, T_LIMIT), 0);
    T_OK(filch_file_close(file));
    T_OK(join(writer));
    temp_dir_remove(&dir);
    T_IS(process_files(), before);
    return 0;
}

Test(file, a_fifo_waits_for_its_other_side)
{
    cr_assert_eq(run_in_runtime(0, fifo_body, NULL), 0);
}

/* ---- locks ---- */

static int locks_body(void *arg)
{
    struct temp_dir dir;
    filch_file *one, *two;

    (void)arg;
    temp_dir_make(&dir);
    put(in_dir(&dir, "f"), "");
    T_OK(filch_file_open(in_dir(&dir, "f"), O_RDONLY, 0, &one, FILCH_NEVER));
    T_OK(filch_file_open(in_dir(&dir, "f"), O_RDONLY, 0, &two, FILCH_NEVER));
    T_OK(filch_file_lock(one, false, FILCH_NOW));
    T_OK(filch_file_lock(two, false, FILCH_NOW));
    T_IS(filch_file_lock(one, true, FILCH_NOW), -ETIMEDOUT);
    T_OK(filch_file_unlock(two));
    T_OK(filch_file_lock(one, true, FILCH_NOW));
    T_IS(filch_file_lock(two, false, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_OK(filch_file_close(one));
    T_OK(filch_file_lock(two, true, T_LIMIT));
    T_OK(filch_file_close(two));
    temp_dir_remove(&dir);
    return 0;
}

Test(file, locks_exclude)
{
    run_both(locks_body);
}

/* ---- paths ---- */

static int paths_body(void *arg)
{
    struct temp_dir dir;
    filch_file_info info;
    char text[PATH_MAX];

    (void)arg;
    temp_dir_make(&dir);
    put(in_dir(&dir, "a"), "hello");
    T_OK(filch_path_link(in_dir(&dir, "a"), in_dir(&dir, "b"), FILCH_NEVER));
    T_IS(filch_path_link(in_dir(&dir, "a"), in_dir(&dir, "b"), FILCH_NEVER), -EEXIST);
    T_OK(filch_path_stat(in_dir(&dir, "b"), true, &info, FILCH_NEVER));
    T_IS(info.links, 2);
    T_OK(filch_path_symlink("b", in_dir(&dir, "c"), FILCH_NEVER));
    T_OK(filch_path_stat(in_dir(&dir, "c"), false, &info, FILCH_NEVER));
    T_IS(info.type, FILCH_FILE_SYMLINK);
    T_OK(filch_path_stat(in_dir(&dir, "c"), true, &info, FILCH_NEVER));
    T_IS(info.type, FILCH_FILE_REGULAR);
    T_IS(info.bytes, 5);
    T_OK(filch_path_readlink(in_dir(&dir, "c"), text, sizeof text, FILCH_NEVER));
    T_CHECK(strcmp(text, "b") == 0);
    T_IS(filch_path_readlink(in_dir(&dir, "c"), text, 1, FILCH_NEVER), -ERANGE);
    T_IS(filch_path_readlink(in_dir(&dir, "a"), text, sizeof text, FILCH_NEVER), -EINVAL);
    T_OK(filch_path_rename(in_dir(&dir, "b"), in_dir(&dir, "d"), FILCH_NEVER));
    T_IS(filch_path_rename(in_dir(&dir, "b"), in_dir(&dir, "d"), FILCH_NEVER), -ENOENT);
    T_OK(filch_path_chmod(in_dir(&dir, "d"), 0400, FILCH_NEVER));
    T_OK(filch_path_utimes(in_dir(&dir, "d"), 5, -1, FILCH_NEVER));
    T_OK(filch_path_chown(in_dir(&dir, "d"), UINT32_MAX, getgid(), true, FILCH_NEVER));
    T_OK(filch_path_stat(in_dir(&dir, "d"), true, &info, FILCH_NEVER));
    T_IS(info.mode, 0400);
    T_IS(info.accessed_ns, 5);
    T_IS(info.modified_ns, -1);
    T_OK(filch_path_access(in_dir(&dir, "d"), R_OK, FILCH_NEVER));
    T_IS(filch_path_access(in_dir(&dir, "d"), X_OK, FILCH_NEVER), -EACCES);
    T_OK(filch_copy_file(in_dir(&dir, "d"), in_dir(&dir, "e"), FILCH_NEVER));
    expect(in_dir(&dir, "e"), "hello");
    T_OK(filch_path_stat(in_dir(&dir, "e"), true, &info, FILCH_NEVER));
    T_IS(info.mode, 0400);
    T_OK(filch_copy_file("/proc/self/comm", in_dir(&dir, "e"), FILCH_NEVER));
    T_IS(filch_path_unlink(dir.path, FILCH_NEVER), -EISDIR);
    T_IS(filch_path_rmdir(in_dir(&dir, "a"), FILCH_NEVER), -ENOTDIR);
    T_IS(filch_path_rmdir(dir.path, FILCH_NEVER), -ENOTEMPTY);
    T_OK(filch_path_unlink(in_dir(&dir, "a"), FILCH_NEVER));
    T_IS(filch_path_stat(in_dir(&dir, "a"), true, &info, FILCH_NEVER), -ENOENT);
    T_OK(filch_path_mkdir(in_dir(&dir, "x/y/z"), 0755, true, FILCH_NEVER));
    T_OK(filch_path_mkdir(in_dir(&dir, "x/y/z"), 0755, true, FILCH_NEVER));
    T_IS(filch_path_mkdir(in_dir(&dir, "x"), 0755, false, FILCH_NEVER), -EEXIST);
    T_IS(filch_path_mkdir(in_dir(&dir, "d"), 0755, true, FILCH_NEVER), -EEXIST);
    T_OK(filch_path_rmdir(in_dir(&dir, "x/y/z"), FILCH_NEVER));
    temp_dir_remove(&dir);
    return 0;
}

Test(file, paths_are_named_linked_and_removed)
{
    run_both(paths_body);
}

/* The clock of file systems may be a tick behind. */
#define TICK_NS ((int64_t)20 * 1000000)

static int64_t wall_now(void)
{
    struct timespec now;

    T_OK(clock_gettime(CLOCK_REALTIME, &now));
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static int now_body(void *arg)
{
    struct temp_dir dir;
    filch_file_info info;
    const char *path;
    int64_t before;

    (void)arg;
    temp_dir_make(&dir);
    path = in_dir(&dir, "f");
    put(path, "x");
    T_OK(filch_path_utimes(path, 5, 6, FILCH_NEVER));
    before = wall_now();
    T_OK(filch_path_utimes(path, INT64_MIN, 7, FILCH_NEVER));
    T_OK(filch_path_stat(path, true, &info, FILCH_NEVER));
    T_CHECK(info.accessed_ns >= before - TICK_NS && info.accessed_ns <= wall_now());
    T_IS(info.modified_ns, 7);
    T_OK(filch_path_utimes(path, 5, INT64_MIN, FILCH_NEVER));
    T_OK(filch_path_stat(path, true, &info, FILCH_NEVER));
    T_IS(info.accessed_ns, 5);
    T_CHECK(info.modified_ns >= before - TICK_NS && info.modified_ns <= wall_now());
    temp_dir_remove(&dir);
    return 0;
}

Test(file, the_time_of_a_file_may_be_now)
{
    run_both(now_body);
}

/* Only root gives files away. */
static int owner_body(void *arg)
{
    struct temp_dir dir;
    filch_file_info info;
    const char *path, *link;
    int r;

    (void)arg;
    temp_dir_make(&dir);
    path = in_dir(&dir, "f");
    link = in_dir(&dir, "l");
    put(path, "x");
    T_OK(filch_path_symlink("f", link, FILCH_NEVER));
    r = filch_path_chown(path, 12345, 23456, true, FILCH_NEVER);
    if (r == 0) {
        T_OK(filch_path_chown(link, 1234, UINT32_MAX, true, FILCH_NEVER));
        T_OK(filch_path_stat(path, true, &info, FILCH_NEVER));
        T_IS(info.uid, 1234);
        T_IS(info.gid, 23456); /* kept */
        T_OK(filch_path_chown(link, 77, 78, false, FILCH_NEVER));
        T_OK(filch_path_stat(path, true, &info, FILCH_NEVER));
        T_IS(info.uid, 1234);
        T_OK(filch_path_stat(link, false, &info, FILCH_NEVER));
        T_IS(info.uid, 77);
        T_IS(info.gid, 78);
    }
    temp_dir_remove(&dir);
    return r;
}

Test(file, root_gives_files_away)
{
    int r = run_in_runtime(0, owner_body, NULL);

    if (r == -EPERM && geteuid() != 0)
        cr_skip_test("only root may give files away");
    if (r == -EINVAL)
        cr_skip_test("this user namespace does not know of others");
    T_OK(r);
    T_OK(owner_body(NULL));
}

/* ---- directories ---- */

#define FILES 300

static int count_entry(void *context, const char *path, const filch_dir_entry *entry)
{
    unsigned *count = context;

    T_CHECK(strstr(path, entry->name) != NULL);
    if (strcmp(entry->name, "stop") == 0)
        return -EINTR;
    if (strcmp(entry->name, "skip") == 0)
        return 1;
    ++*count;
    return 0;
}

static int dirs_body(void *arg)
{
    unsigned before = process_files();
    struct temp_dir dir;
    filch_dir *reader;
    filch_dir_entry entries[7];
    unsigned seen = 0, count = 0;
    ssize_t n;

    (void)arg;
    temp_dir_make(&dir);
    T_OK(filch_path_mkdir(in_dir(&dir, "sub/deeper"), 0755, true, FILCH_NEVER));
    T_OK(filch_path_mkdir(in_dir(&dir, "skip/not"), 0755, true, FILCH_NEVER));
    for (int i = 0; i < FILES; i++) {
        char name[32];

        snprintf(name, sizeof name, "sub/%d", i);
        T_OK(mknod(in_dir(&dir, name), S_IFREG | 0600, 0));
    }
    T_OK(filch_dir_open(in_dir(&dir, "sub"), &reader, FILCH_NEVER));
    while ((n = filch_dir_read(reader, entries, 7, FILCH_NEVER)) > 0)
        seen += (unsigned)n;
    T_IS(n, 0);
    T_IS(seen, FILES + 1);
    T_IS(filch_dir_read(reader, entries, 7, FILCH_NEVER), 0);
    filch_dir_close(reader);
    T_IS(filch_dir_open(in_dir(&dir, "sub/1"), &reader, FILCH_NEVER), -ENOTDIR);
    T_OK(filch_dir_walk(dir.path, NULL, count_entry, &count, FILCH_NEVER));
    T_IS(count, FILES + 2);
    count = 0;
    T_IS(filch_dir_walk(dir.path, &(filch_walk_opts){.entries_max = 10}, count_entry, &count,
                        FILCH_NEVER),
         -E2BIG);
    T_CHECK(count <= 10 && count >= 9);
    T_OK(mknod(in_dir(&dir, "sub/deeper/stop"), S_IFREG | 0600, 0));
    T_IS(filch_dir_walk(dir.path, NULL, count_entry, &count, FILCH_NEVER), -EINTR);
    count = 0;
    T_OK(filch_dir_walk(dir.path, &(filch_walk_opts){.depth_max = 1}, count_entry, &count,
                        FILCH_NEVER));
    T_IS(count, FILES + 2);
    temp_dir_remove(&dir);
    T_IS(process_files(), before);
    return 0;
}

Test(file, directories_are_read_in_batches_and_walked)
{
    run_both(dirs_body);
}

/* ---- many ---- */

static int open_and_close(void *arg)
{
    filch_file *file;
    char byte;

    for (int i = 0; i < 20; i++) {
        int r = filch_file_open(arg, O_RDWR | O_CREAT, 0600, &file, T_LIMIT);

        if (r == -ECANCELED)
            return 0;
        T_OK(r);
        r = filch_file_write_all(file, "x", 1, NULL, T_LIMIT);
        T_CHECK(r == 0 || r == -ECANCELED);
        if (r == 0)
            T_CHECK(filch_file_pread(file, &byte, 1, 0, T_LIMIT) == 1 || filch_task_is_cancelled());
        T_OK(filch_file_close(file));
    }
    return 0;
}

/* Cancelled anywhere: in an open, a write, a close. */
static int storm_body(void *arg)
{
    enum { TASKS = 24 };
    unsigned before = process_files();
    struct temp_dir dir;
    filch_task *task[TASKS];
    char path[TASKS][128];

    (void)arg;
    temp_dir_make(&dir);
    for (int i = 0; i < TASKS; i++) {
        snprintf(path[i], sizeof path[i], "%s/%d", dir.path, i % 5);
        task[i] = spawn(open_and_close, path[i]);
    }
    for (int i = 0; i < TASKS; i += 2) {
        for (int k = 0; k < i; k++)
            filch_task_yield();
        T_OK(filch_task_cancel(task[i]));
    }
    for (int i = 0; i < TASKS; i++)
        T_OK(join(task[i]));
    T_IS(process_files(), before);
    temp_dir_remove(&dir);
    return 0;
}

Test(file, a_storm_of_cancels_leaks_no_descriptor)
{
    cr_assert_eq(run_in_runtime(0, storm_body, NULL), 0);
}
