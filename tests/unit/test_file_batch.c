/* Description: batches of operations on files (<filch/file_batch.h>): results as of the functions
 * for one, whatever the others give; more than are in flight at a time; what time and a cancel
 * leave. And locks of ranges. From a task and from a plain thread. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/refusals.h"
#include "tests/runner/run.h"
#include "tests/runner/temp_dir.h"

TestSuite(file_batch, .timeout = 60);

enum { MANY = 300 };

static void run_both(filch_fn fn)
{
    cr_assert_eq(run_in_runtime(0, fn, NULL), 0);
    cr_assert_eq(fn(NULL), 0);
}

static char *path_of(const struct temp_dir *dir, int i)
{
    char *path = malloc(128);

    T_CHECK(path);
    snprintf(path, 128, "%s/%d", dir->path, i);
    return path;
}

/* Each file is made, written, synced, looked at, read and removed, all by batches. */
static int many_body(void *arg)
{
    struct temp_dir dir;
    filch_file_op *ops = calloc(MANY, sizeof *ops);
    filch_file **files = calloc(MANY, sizeof *files);
    filch_file_info *infos = calloc(MANY, sizeof *infos);
    char *paths[MANY], texts[MANY][8], read[MANY][16];

    (void)arg;
    T_CHECK(ops && files && infos);
    temp_dir_make(&dir);
    for (int i = 0; i < MANY; i++) {
        paths[i] = path_of(&dir, i);
        snprintf(texts[i], sizeof texts[i], "%07d", i);
        ops[i] = filch_file_op_open(paths[i], O_RDWR | O_CREAT | O_EXCL, 0600, &files[i]);
    }
    T_OK(filch_file_batch(ops, MANY, T_LIMIT));
    for (int i = 0; i < MANY; i++) {
        T_OK(ops[i].result);
        ops[i] = filch_file_op_pwrite(files[i], texts[i], 7, 0);
    }
    T_OK(filch_file_batch(ops, MANY, T_LIMIT));
    for (int i = 0; i < MANY; i++) {
        T_IS(ops[i].result, 7);
        ops[i] = i % 2 ? filch_file_op_stat(paths[i], true, &infos[i])
                       : filch_file_op_pread(files[i], read[i], sizeof read[i], 1);
    }
    T_OK(filch_file_batch(ops, MANY, T_LIMIT));
    for (int i = 0; i < MANY; i++) {
        if (i % 2) {
            T_OK(ops[i].result);
            T_IS(infos[i].bytes, 7);
            T_IS(infos[i].type, FILCH_FILE_REGULAR);
            T_IS(infos[i].mode, 0600);
        } else {
            T_IS(ops[i].result, 6);
            T_CHECK(memcmp(read[i], texts[i] + 1, 6) == 0);
        }
        ops[i] = i % 2 ? filch_file_op_unlink(paths[i]) : filch_file_op_sync(files[i]);
    }
    T_OK(filch_file_batch(ops, MANY, T_LIMIT));
    for (int i = 0; i < MANY; i++) {
        T_OK(ops[i].result);
        T_IS(access(paths[i], F_OK), i % 2 ? -1 : 0);
        T_OK(filch_file_close(files[i]));
        free(paths[i]);
    }
    temp_dir_remove(&dir);
    free(ops);
    free(files);
    free(infos);
    return 0;
}

Test(file_batch, many_files_at_a_time)
{
    run_both(many_body);
}

/* ---- one submission ---- */

enum { AT_ONCE = 32 };

static atomic_uint most_submitted; /* by one call */

WRAPPED(int, io_uring_enter2,
        (unsigned fd, unsigned submit, unsigned wait, unsigned flags, void *arg, size_t bytes))
{
    if (submit > atomic_load(&most_submitted))
        atomic_store(&most_submitted, submit);
    return __real_io_uring_enter2(fd, submit, wait, flags, arg, bytes);
}

static int submission_body(void *arg)
{
    filch_file_op ops[AT_ONCE];
    filch_file_info infos[AT_ONCE];

    (void)arg;
    for (int i = 0; i < AT_ONCE; i++)
        ops[i] = filch_file_op_stat("/", true, &infos[i]);
    T_OK(filch_file_batch(ops, AT_ONCE, T_LIMIT));
    for (int i = 0; i < AT_ONCE; i++)
        T_OK(ops[i].result);
    return 0;
}

/* On one worker: another one may submit for the first what is there so far. */
Test(file_batch, a_batch_is_one_submission)
{
    filch_runtime *rt = start_runtime_alone(1);
    bool by_ring = strcmp(filch_engine(rt, NULL), "io_uring") == 0;
    int result = -1;

    T_OK(filch_runtime_block_on(rt, submission_body, NULL, &result, FILCH_NEVER));
    stop_runtime(rt);
    T_OK(result);
    if (!by_ring)
        cr_skip_test("there are no submissions on this engine");
    T_CHECK(atomic_load(&most_submitted) >= AT_ONCE);
}

/* ---- errors ---- */

static int errors_body(void *arg)
{
    struct temp_dir dir;
    filch_file *file, *none = NULL, *in, *out, *folder, *fifo = NULL, *stale;
    filch_file_info info;
    char bytes[4][8] = {"x"}; /* for each read its own */

    (void)arg;
    temp_dir_make(&dir);
    T_OK(filch_file_temp(dir.path, &file, T_LIMIT));
    T_OK(filch_file_temp(dir.path, &stale, T_LIMIT));
    T_OK(filch_file_close(stale));
    T_OK(filch_file_open(dir.path, O_RDONLY, 0, &folder, T_LIMIT));
    T_OK(filch_pipe(0, &in, &out));
    T_OK(mkfifo(in_dir(&dir, "fifo"), 0600));
    filch_file_op ops[] = {
        filch_file_op_open(in_dir(&dir, "none"), O_RDONLY, 0, &none),
        filch_file_op_stat(in_dir(&dir, "none"), true, &info),
        filch_file_op_unlink(dir.path),
        filch_file_op_pread(in, bytes[0], 1, 0),
        filch_file_op_pwrite(out, bytes[0], 1, 0),
        filch_file_op_pread(folder, bytes[1], 1, 0),
        filch_file_op_pread(stale, bytes[2], 1, 0),
        filch_file_op_sync(NULL),
        filch_file_op_sync(in),
        filch_file_op_pread(file, bytes[2], 1, -1),
        filch_file_op_open(NULL, O_RDONLY, 0, &none),
        filch_file_op_pread(file, bytes[3], sizeof bytes[3], 0),
        filch_file_op_open(in_dir(&dir, "fifo"), O_RDONLY, 0, &fifo),
        filch_file_op_open(in_dir(&dir, "fifo"), O_WRONLY, 0, &none),
        filch_file_op_pwrite(file, bytes[0], 0, 5),
    };
    const ssize_t want[] = {-ENOENT, -ENOENT, -EISDIR, -ESPIPE, -ESPIPE, -EISDIR, -EBADF, -EINVAL,
                            -EINVAL, -EINVAL, -EINVAL, 0,       0,       1,       0};
    const size_t count = sizeof ops / sizeof *ops;

    T_OK(filch_file_batch(ops, count, T_LIMIT));
    for (size_t i = 0; i < count; i++)
        if (want[i] <= 0)
            T_IS(ops[i].result, want[i]);
    /* Whether somebody reads already when it is opened for writing is not said. */
    T_CHECK(ops[13].result == 0 || ops[13].result == -ENXIO);
    if (ops[13].result == 0)
        T_OK(filch_file_close(none));
    T_CHECK(fifo != NULL);
    T_OK(filch_file_close(fifo));
    T_OK(filch_file_batch(NULL, 0, T_LIMIT));
    T_OK(filch_file_close(file));
    T_OK(filch_file_close(folder));
    T_OK(filch_file_close(in));
    T_OK(filch_file_close(out));
    temp_dir_remove(&dir);
    return 0;
}

Test(file_batch, each_has_its_own_result)
{
    run_both(errors_body);
}

/* ---- time and cancel ---- */

struct batch {
    filch_file_op ops[MANY];
    filch_file *files[MANY];
    int result;
};

static void opens(struct batch *batch)
{
    for (int i = 0; i < MANY; i++) {
        batch->files[i] = NULL;
        batch->ops[i] = filch_file_op_open("/tmp", O_RDWR | O_TMPFILE, 0600, &batch->files[i]);
    }
}

/* What was opened is there, what was not is said. */
static void check_opened(struct batch *batch, int r)
{
    int missing = 0;

    for (int i = 0; i < MANY; i++) {
        if (batch->ops[i].result == 0) {
            T_OK(filch_file_close(batch->files[i]));
        } else {
            T_IS(batch->ops[i].result, r);
            T_CHECK(!batch->files[i]);
            missing++;
        }
    }
    T_IS(missing > 0, r < 0);
}

static int cancelled(void *arg)
{
    struct batch *batch = arg;

    return filch_file_batch(batch->ops, MANY, T_LIMIT);
}

static int interrupted_body(void *arg)
{
    struct batch *batch = malloc(sizeof *batch);
    filch_task *task;
    int r;

    (void)arg;
    T_CHECK(batch);
    opens(batch);
    T_IS(filch_file_batch(batch->ops, MANY, FILCH_NOW), -ETIMEDOUT);
    for (int i = 0; i < MANY; i++)
        T_IS(batch->ops[i].result, -ETIMEDOUT);
    for (unsigned us = 1; us < 2000; us *= 3) {
        opens(batch);
        r = filch_file_batch(batch->ops, MANY, filch_after(us * FILCH_MICROSECOND));
        T_CHECK(r == 0 || r == -ETIMEDOUT);
        check_opened(batch, r);
    }
    for (int yields = 0; yields < 20; yields++) {
        opens(batch);
        task = spawn(cancelled, batch);
        for (int i = 0; i < yields; i++)
            filch_task_yield();
        T_OK(filch_task_cancel(task));
        r = join(task);
        T_CHECK(r == 0 || r == -ECANCELED);
        check_opened(batch, r);
    }
    free(batch);
    return 0;
}

Test(file_batch, an_interruption_loses_no_descriptor)
{
    int fd = open("/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);

    if (fd < 0 && errno == EOPNOTSUPP)
        cr_skip_test("the file system of /tmp has no O_TMPFILE");
    T_OK(close(fd));
    cr_assert_eq(run_in_runtime(0, interrupted_body, NULL), 0);
}

/* ---- locks of ranges ---- */

struct locker {
    filch_file *file;
    bool exclusive;
};

static int locks(void *arg)
{
    struct locker *locker = arg;

    return filch_file_lock_range(locker->file, locker->exclusive, 0, 10, T_LIMIT);
}

static int ranges_body(void *arg)
{
    struct temp_dir dir;
    filch_file *a, *b, *reader;
    struct locker locker;
    filch_task *task;

    (void)arg;
    temp_dir_make(&dir);
    T_OK(filch_file_open(in_dir(&dir, "f"), O_RDWR | O_CREAT, 0600, &a, T_LIMIT));
    T_OK(filch_file_open(in_dir(&dir, "f"), O_RDWR, 0, &b, T_LIMIT));
    T_OK(filch_file_open(in_dir(&dir, "f"), O_RDONLY, 0, &reader, T_LIMIT));
    T_OK(filch_file_lock_range(a, true, 0, 10, T_LIMIT));
    T_OK(filch_file_lock_range(a, true, 5, 10, FILCH_NOW)); /* its own */
    T_OK(filch_file_lock_range(b, true, 15, 0, FILCH_NOW));
    T_IS(filch_file_lock_range(b, true, 14, 1, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_file_lock_range(b, false, 0, 1, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(filch_file_lock_range(a, false, 1000000, 1, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_file_lock_range(reader, true, 0, 1, FILCH_NOW), -EBADF);
    T_OK(filch_file_unlock_range(a, 3, 2)); /* a hole */
    T_OK(filch_file_lock_range(b, true, 3, 2, FILCH_NOW));
    T_IS(filch_file_lock_range(b, true, 2, 1, FILCH_NOW), -ETIMEDOUT);
    T_OK(filch_file_unlock_range(b, 0, 0));
    T_OK(filch_file_lock(a, true, FILCH_NOW)); /* another kind */
    /* Waiting ends by the unlock, by a close, and by a cancel. */
    locker = (struct locker){b, true};
    if (filch_task_self()) {
        task = spawn(locks, &locker);
        let_others_run();
        T_OK(filch_task_cancel(task));
        T_IS(join(task), -ECANCELED);
        task = spawn(locks, &locker);
        let_others_run();
        T_OK(filch_file_unlock_range(a, 0, 0));
        T_OK(join(task));
        locker = (struct locker){a, false};
        task = spawn(locks, &locker);
        let_others_run();
        T_OK(filch_file_close(b));
        T_OK(join(task));
    } else {
        T_OK(filch_file_close(b));
    }
    T_OK(filch_file_close(a));
    T_OK(filch_file_close(reader));
    temp_dir_remove(&dir);
    return 0;
}

Test(file_batch, ranges_are_locked_by_open_files)
{
    run_both(ranges_body);
}
