/* Description: files when things run out: the disk, descriptors, room for a file's size, offsets.
 * Each call fails with the kernel's error, what was there before is there afterwards, and nothing
 * else is; also when the power goes, for which the order of the calls is looked at. The full disk
 * is a small one of the test's own, in a mount namespace and a process of its own; it needs the
 * right to make one. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "runtime/base/valgrind.h"
#include "tests/runner/refusals.h"
#include "tests/runner/run.h"
#include "tests/runner/temp_dir.h"

TestSuite(file_faults, .timeout = 60);

#define SKIPPED 77
#define DISK_BYTES 65536

/* Runs @fn in a task, and again in this plain thread. */
static void run_both(filch_fn fn)
{
    T_OK(run_in_runtime(0, fn, NULL));
    T_OK(fn(NULL));
}

static unsigned names_in(const char *path)
{
    filch_dir_entry entries[16];
    unsigned count = 0;
    filch_dir *dir;
    ssize_t n;

    T_OK(filch_dir_open(path, &dir, T_LIMIT));
    while ((n = filch_dir_read(dir, entries, 16, T_LIMIT)) > 0)
        count += (unsigned)n;
    T_OK(n);
    filch_dir_close(dir);
    return count;
}

static void expect(const char *path, const char *text)
{
    void *data = NULL;

    T_OK(filch_read_file(path, 0, &data, NULL, T_LIMIT));
    T_CHECK(strcmp(data, text) == 0);
    free(data);
}

/* ---- a full disk ---- */

static struct temp_dir disk;

/* Return: the bytes that went in until there was no more room. */
static size_t fill_up(filch_file *file)
{
    static const char block[5000];
    size_t bytes = 0;
    ssize_t n;

    while ((n = filch_file_write(file, block, sizeof block, T_LIMIT)) > 0)
        bytes += (size_t)n;
    T_IS(n, -ENOSPC);
    return bytes;
}

static int full_disk_body(void *arg)
{
    static char large[2 * DISK_BYTES];
    filch_file *file;
    filch_file_info info;
    size_t done = 0;

    (void)arg;
    T_OK(filch_write_file(in_dir(&disk, "kept"), "old", 3, 0600, T_LIMIT));
    T_OK(filch_file_open(in_dir(&disk, "f"), O_RDWR | O_CREAT, 0600, &file, T_LIMIT));
    T_IS(filch_file_allocate(file, 0, 2 * DISK_BYTES, T_LIMIT), -ENOSPC);
    T_CHECK(fill_up(file) > DISK_BYTES / 2);
    T_OK(filch_file_stat(file, &info, T_LIMIT));
    T_CHECK(info.bytes <= DISK_BYTES);
    T_IS(filch_file_pwrite(file, "x", 1, 2 * DISK_BYTES, T_LIMIT), -ENOSPC);
    /* What is there already can be written. */
    T_IS(filch_file_pwrite(file, "x", 1, 0, T_LIMIT), 1);
    T_IS(filch_write_file(in_dir(&disk, "kept"), large, sizeof large, 0600, T_LIMIT), -ENOSPC);
    T_IS(filch_copy_file(in_dir(&disk, "f"), in_dir(&disk, "kept"), T_LIMIT), -ENOSPC);
    expect(in_dir(&disk, "kept"), "old");
    T_IS(names_in(disk.path), 2);
    T_OK(filch_file_truncate(file, 0, T_LIMIT));
    T_OK(filch_file_seek(file, 0, SEEK_SET, NULL));
    T_IS(filch_file_write_all(file, large, sizeof large, &done, T_LIMIT), -ENOSPC);
    T_CHECK(done > DISK_BYTES / 2 && done < sizeof large); /* it says how far it came */
    T_OK(filch_file_close(file));
    T_OK(filch_path_unlink(in_dir(&disk, "f"), T_LIMIT));
    T_OK(filch_write_file(in_dir(&disk, "kept"), "new", 3, 0600, T_LIMIT));
    expect(in_dir(&disk, "kept"), "new");
    return 0;
}

static int on_a_small_disk(void)
{
    char opts[32];

    snprintf(opts, sizeof opts, "size=%d", DISK_BYTES);
    if (unshare((geteuid() ? CLONE_NEWUSER : 0) | CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("small", disk.path, "tmpfs", 0, opts) < 0)
        return SKIPPED;
    run_both(full_disk_body);
    return 0;
}

Test(file_faults, a_full_disk)
{
    int status, child;

    if (RUNNING_ON_VALGRIND)
        cr_skip_test("Valgrind follows no namespaces");
    temp_dir_make(&disk);
    child = fork();
    if (child == 0)
        _exit(on_a_small_disk());
    T_IS(waitpid(child, &status, 0), child);
    temp_dir_remove(&disk);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
        cr_skip_test("no right to make a disk");
    cr_assert_eq(status, 0);
}

static int dev_full_body(void *arg)
{
    struct iovec iov = {(void *)"x", 1};
    filch_file *file;

    (void)arg;
    T_OK(filch_file_open("/dev/full", O_RDWR, 0, &file, T_LIMIT));
    T_IS(filch_file_write(file, "x", 1, T_LIMIT), -ENOSPC);
    T_IS(filch_file_writev(file, &iov, 1, FILCH_FILE_POSITION, T_LIMIT), -ENOSPC);
    T_OK(filch_file_close(file));
    return 0;
}

Test(file_faults, a_device_that_is_always_full)
{
    run_both(dev_full_body);
}

/* ---- sizes ---- */

static int sizes_body(void *arg)
{
    const int64_t far = (int64_t)5 << 30;
    struct rlimit old, small;
    filch_file *file;
    filch_file_info info;
    char buf[4];
    int r;

    (void)arg;
    T_OK(filch_file_temp(NULL, &file, T_LIMIT));
    T_IS(filch_file_pwrite(file, "far", 3, far, T_LIMIT), 3);
    T_OK(filch_file_stat(file, &info, T_LIMIT));
    T_IS(info.bytes, far + 3);
    T_IS(filch_file_pread(file, buf, 4, far - 1, T_LIMIT), 4);
    T_CHECK(memcmp(buf, "\0far", 4) == 0);
    T_OK(filch_file_seek(file, far, SEEK_SET, NULL));
    T_IS(filch_file_read(file, buf, 4, T_LIMIT), 3);
    T_IS(filch_file_pread(file, buf, 4, far + 3, T_LIMIT), 0);
    /* Beyond all sizes. */
    T_IS(filch_file_pread(file, buf, 4, INT64_MAX - 4, T_LIMIT), 0);
    T_CHECK(filch_file_pread(file, buf, 4, INT64_MAX, T_LIMIT) <= 0);
    T_CHECK(filch_file_pwrite(file, "x", 1, INT64_MAX, T_LIMIT) < 0);
    T_CHECK(filch_file_allocate(file, INT64_MAX - 1, 10, T_LIMIT) < 0);
    r = filch_file_truncate(file, INT64_MAX, T_LIMIT);
    T_CHECK(r == -EFBIG || r == -EINVAL || r == 0); /* memory may be that large */
    T_CHECK(filch_file_seek(file, INT64_MIN, SEEK_CUR, NULL) < 0);
    /* As much as the limit allows, and no more. */
    T_OK(filch_file_truncate(file, 0, T_LIMIT));
    T_OK(getrlimit(RLIMIT_FSIZE, &old));
    small = old;
    small.rlim_cur = 2;
    signal(SIGXFSZ, SIG_IGN);
    T_OK(setrlimit(RLIMIT_FSIZE, &small));
    T_IS(filch_file_pwrite(file, "1234", 4, 0, T_LIMIT), 2);
    T_IS(filch_file_pwrite(file, "1234", 4, 2, T_LIMIT), -EFBIG);
    T_IS(filch_file_truncate(file, 3, T_LIMIT), -EFBIG);
    T_OK(setrlimit(RLIMIT_FSIZE, &old));
    signal(SIGXFSZ, SIG_DFL);
    T_OK(filch_file_close(file));
    return 0;
}

Test(file_faults, sizes_beyond_2_gib_and_beyond_all_limits)
{
    run_both(sizes_body);
}

/* ---- no descriptor ---- */

static int no_descriptor_body(void *arg)
{
    struct temp_dir dir;
    const char *kept, *new;
    struct rlimit old, none;
    filch_file *file = NULL;
    filch_dir *open_dir = NULL;
    void *data = NULL;
    filch_file_info info;

    (void)arg;
    temp_dir_make(&dir);
    kept = in_dir(&dir, "kept");
    new = in_dir(&dir, "new");
    T_OK(filch_write_file(kept, "old", 3, 0600, T_LIMIT)); /* a blocking thread is there */
    T_OK(getrlimit(RLIMIT_NOFILE, &old));
    none = old;
    none.rlim_cur = 3;
    T_OK(setrlimit(RLIMIT_NOFILE, &none));
    T_IS(filch_file_open(kept, O_RDONLY, 0, &file, T_LIMIT), -EMFILE);
    T_IS(filch_file_open(new, O_RDWR | O_CREAT, 0600, &file, T_LIMIT), -EMFILE);
    T_IS(filch_file_temp(dir.path, &file, T_LIMIT), -EMFILE);
    T_IS(filch_file_stdio(0, &file), -EMFILE);
    T_IS(filch_dir_open(dir.path, &open_dir, T_LIMIT), -EMFILE);
    T_IS(filch_dir_walk(dir.path, NULL, NULL, NULL, T_LIMIT) >= 0, false);
    T_IS(filch_read_file(kept, 0, &data, NULL, T_LIMIT), -EMFILE);
    T_IS(filch_write_file(kept, "new", 3, 0600, T_LIMIT), -EMFILE);
    T_IS(filch_copy_file(kept, new, T_LIMIT), -EMFILE);
    T_OK(filch_path_stat(kept, true, &info, T_LIMIT)); /* which needs none */
    T_OK(setrlimit(RLIMIT_NOFILE, &old));
    T_CHECK(!file && !open_dir && !data);
    expect(kept, "old");
    T_IS(names_in(dir.path), 1);
    temp_dir_remove(&dir);
    return 0;
}

Test(file_faults, no_descriptor_is_left)
{
    if (RUNNING_ON_VALGRIND)
        cr_skip_test("Valgrind has descriptors of its own left");
    run_both(no_descriptor_body);
}

/* ---- the power goes ---- */

/* What a replacement did, in order: f and d, a file and a directory were synced; r, renamed. */
static char did[16];
static atomic_uint did_count;

static void note(char what)
{
    unsigned i = atomic_fetch_add(&did_count, 1);

    if (i < sizeof did)
        did[i] = what;
}

WRAPPED(int, fsync, (int fd))
{
    struct stat stat;

    T_OK(fstat(fd, &stat));
    note(S_ISDIR(stat.st_mode) ? 'd' : 'f');
    return __real_fsync(fd);
}

WRAPPED(int, rename, (const char *from, const char *to))
{
    note('r');
    return __real_rename(from, to);
}

static void expect_order(const char *order)
{
    T_IS(atomic_load(&did_count), strlen(order));
    T_CHECK(memcmp(did, order, strlen(order)) == 0);
    atomic_store(&did_count, 0);
}

static int order_body(void *arg)
{
    struct temp_dir dir;

    (void)arg;
    temp_dir_make(&dir);
    atomic_store(&did_count, 0);
    T_OK(filch_write_file(in_dir(&dir, "f"), "old", 3, 0600, T_LIMIT));
    expect_order("frd");
    T_OK(filch_write_file(in_dir(&dir, "f"), "new", 3, 0600, T_LIMIT));
    expect_order("frd");
    T_OK(filch_copy_file(in_dir(&dir, "f"), in_dir(&dir, "g"), T_LIMIT)); /* promises less */
    expect_order("r");
    temp_dir_remove(&dir);
    return 0;
}

Test(file_faults, bytes_are_on_the_disk_before_the_name_and_the_name_before_the_return)
{
    run_both(order_body);
}

/* ---- cancelled meanwhile ---- */

static struct temp_dir copies;

static int copy_forever(void *arg)
{
    int r;

    (void)arg;
    while ((r = filch_copy_file(in_dir(&copies, "from"), in_dir(&copies, "to"), FILCH_NEVER)) == 0)
        ;
    return r;
}

static int cancelled_body(void *arg)
{
    static char content[(size_t)9 << 20];

    (void)arg;
    temp_dir_make(&copies);
    T_OK(filch_write_file(in_dir(&copies, "from"), content, sizeof content, 0600, T_LIMIT));
    for (int i = 0; i < 30; i++) {
        filch_task *task = spawn(copy_forever, NULL);

        for (int turn = 0; turn < i * 10; turn++)
            filch_task_yield();
        T_OK(filch_task_cancel(task));
        T_IS(join(task), -ECANCELED);
        T_CHECK(names_in(copies.path) <= 2); /* no half of a copy */
    }
    temp_dir_remove(&copies);
    return 0;
}

Test(file_faults, a_copy_that_is_cancelled_leaves_nothing)
{
    T_OK(run_in_runtime(0, cancelled_body, NULL));
}
