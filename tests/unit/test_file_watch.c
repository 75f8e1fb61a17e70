/* Description: watches of files (<filch/file_watch.h>): each change is told once and in order, an
 * overflow too; waiting ends by time, cancel and close. From a task and from a plain thread. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"
#include "tests/runner/temp_dir.h"

TestSuite(file_watch, .timeout = 60);

static void make(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    T_CHECK(fd >= 0);
    T_OK(close(fd));
}

static filch_file_change next(filch_file_watch *watch)
{
    filch_file_change change;

    T_OK(filch_file_watch_next(watch, &change, T_LIMIT));
    return change;
}

static void expect(filch_file_watch *watch, int number, unsigned what, const char *name)
{
    filch_file_change change = next(watch);

    T_IS(change.number, number);
    T_IS(change.what, what);
    T_CHECK(strcmp(change.name, name) == 0);
}

static int changes_body(void *arg)
{
    struct temp_dir dir;
    filch_file_watch *watch;
    filch_file_change from, to;
    int number, second;

    (void)arg;
    temp_dir_make(&dir);
    T_OK(filch_file_watch_open(&watch));
    T_IS(filch_file_watch_add(watch, in_dir(&dir, "none"), FILCH_CHANGE_ANY, &number, T_LIMIT),
         -ENOENT);
    T_OK(filch_file_watch_add(watch, dir.path, FILCH_CHANGE_ANY, &number, T_LIMIT));
    T_IS(filch_file_watch_next(watch, &from, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_file_watch_next(watch, &from, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    make(in_dir(&dir, "a"));
    expect(watch, number, FILCH_CHANGE_CREATED, "a");
    expect(watch, number, FILCH_CHANGE_WRITER_CLOSED, "a");
    T_OK(mkdir(in_dir(&dir, "d"), 0700));
    expect(watch, number, FILCH_CHANGE_CREATED | FILCH_CHANGE_DIRECTORY, "d");
    T_OK(rename(in_dir(&dir, "a"), in_dir(&dir, "b")));
    from = next(watch);
    to = next(watch);
    T_IS(from.what, FILCH_CHANGE_MOVED_FROM);
    T_IS(to.what, FILCH_CHANGE_MOVED_TO);
    T_CHECK(from.cookie && from.cookie == to.cookie);
    T_OK(filch_file_watch_add(watch, in_dir(&dir, "b"), FILCH_CHANGE_METADATA, &second, T_LIMIT));
    T_OK(chmod(in_dir(&dir, "b"), 0400));
    expect(watch, number, FILCH_CHANGE_METADATA, "b");
    expect(watch, second, FILCH_CHANGE_METADATA, "");
    T_OK(filch_file_watch_remove(watch, second));
    expect(watch, second, FILCH_CHANGE_ENDED, "");
    T_IS(filch_file_watch_remove(watch, second), -EINVAL);
    /* More than the kernel reads out at a time. */
    for (int i = 0; i < 200; i++)
        make(in_dir(&dir, (char[]){'n', (char)('0' + i / 100), (char)('0' + i / 10 % 10),
                                   (char)('0' + i % 10), 0}));
    for (int i = 0; i < 400; i++)
        T_IS(next(watch).what, i % 2 ? FILCH_CHANGE_WRITER_CLOSED : FILCH_CHANGE_CREATED);
    T_OK(filch_file_watch_close(watch));
    T_IS(filch_file_watch_next(watch, &from, FILCH_NEVER), -EBADF);
    temp_dir_remove(&dir);
    return 0;
}

Test(file_watch, each_change_is_told_once_and_in_order)
{
    T_OK(run_in_runtime(0, changes_body, NULL));
    T_OK(changes_body(NULL));
}

static int overflow_body(void *arg)
{
    struct temp_dir dir;
    filch_file_watch *watch;
    filch_file_change change;
    int number, fd;
    unsigned most = 0;
    void *text = NULL;

    (void)arg;
    temp_dir_make(&dir);
    T_OK(filch_read_file("/proc/sys/fs/inotify/max_queued_events", 0, &text, NULL, T_LIMIT));
    most = (unsigned)atoi(text);
    free(text);
    T_OK(filch_file_watch_open(&watch));
    T_OK(filch_file_watch_add(watch, dir.path, FILCH_CHANGE_METADATA, &number, T_LIMIT));
    make(in_dir(&dir, "a"));
    make(in_dir(&dir, "b"));
    for (unsigned i = 0; i <= most; i++) { /* equal ones in a row are one, so they take turns */
        fd = open(in_dir(&dir, i % 2 ? "a" : "b"), O_RDONLY | O_CLOEXEC);
        T_OK(fchmod(fd, 0600));
        T_OK(close(fd));
    }
    do {
        change = next(watch);
    } while (change.what == FILCH_CHANGE_METADATA);
    T_IS(change.what, FILCH_CHANGE_OVERFLOW);
    T_IS(change.number, -1);
    T_IS(filch_file_watch_next(watch, &change, FILCH_NOW), -ETIMEDOUT);
    T_OK(filch_file_watch_close(watch));
    temp_dir_remove(&dir);
    return 0;
}

Test(file_watch, changes_that_are_lost_are_told_of)
{
    T_OK(run_in_runtime(0, overflow_body, NULL));
}

static int wait_for_one(void *watch)
{
    filch_file_change change;

    return filch_file_watch_next(watch, &change, FILCH_NEVER);
}

static int ends_body(void *arg)
{
    filch_file_watch *watch;
    filch_task *waiter;
    int r;

    (void)arg;
    T_OK(filch_file_watch_open(&watch));
    waiter = spawn(wait_for_one, watch);
    let_others_run();
    T_OK(filch_task_cancel(waiter));
    T_IS(join(waiter), -ECANCELED);
    waiter = spawn(wait_for_one, watch);
    let_others_run();
    T_OK(filch_file_watch_close(watch));
    r = join(waiter);
    T_CHECK(r == -ECANCELED || r == -EBADF); /* it waited, or came too late */
    return 0;
}

Test(file_watch, waiting_ends_by_cancel_and_close)
{
    T_OK(run_in_runtime(1, ends_body, NULL));
}

/* ---- in a select, and as a stream ---- */

struct picker {
    filch_file_watch *watch;
    int result;
};

static int picks(void *arg)
{
    struct picker *picker = arg;
    filch_case cases[] = {filch_case_file_changed(picker->watch), filch_case_at(FILCH_NEVER)};

    T_IS(filch_select_result(cases, 2, 0, &picker->result, T_LIMIT), 0);
    return 0;
}

static int select_body(void *arg)
{
    struct picker picker = {0};
    struct temp_dir dir;
    filch_file_change change;
    filch_task *task;
    int number;

    (void)arg;
    temp_dir_make(&dir);
    T_OK(filch_file_watch_open(&picker.watch));
    T_OK(filch_file_watch_add(picker.watch, dir.path, FILCH_CHANGE_CREATED, &number, T_LIMIT));
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_file_changed(picker.watch)), -ETIMEDOUT);
    task = spawn(picks, &picker);
    let_others_run();
    make(in_dir(&dir, "a"));
    T_OK(join(task));
    T_OK(picker.result);
    make(in_dir(&dir, "b"));
    T_OK(picks(&picker));
    T_CHECK(strcmp(next(picker.watch).name, "a") == 0);
    /* The second one may have been read with the first, out of the kernel's sight. */
    T_OK(picks(&picker));
    T_OK(picker.result);
    T_CHECK(strcmp(next(picker.watch).name, "b") == 0);
    T_IS(filch_file_watch_next(picker.watch, &change, FILCH_NOW), -ETIMEDOUT);
    task = spawn(picks, &picker);
    let_others_run();
    T_OK(filch_file_watch_close(picker.watch));
    T_OK(join(task));
    T_CHECK(picker.result == -ECANCELED || picker.result == -EBADF);
    T_OK(picks(&picker));
    T_IS(picker.result, -EBADF);
    temp_dir_remove(&dir);
    return 0;
}

Test(file_watch, changes_are_a_case_of_a_select)
{
    T_OK(run_in_runtime(0, select_body, NULL));
}

static int closes(void *arg)
{
    return filch_file_watch_close(arg);
}

static int stream_body(void *arg)
{
    struct temp_dir dir;
    filch_file_watch *watch;
    filch_file_watch_stream stream;
    const filch_file_change *change;
    filch_task *task;
    int number;

    (void)arg;
    temp_dir_make(&dir);
    T_OK(filch_file_watch_open(&watch));
    T_OK(filch_file_watch_add(watch, dir.path, FILCH_CHANGE_CREATED, &number, T_LIMIT));
    T_OK(filch_file_watch_stream_init(&stream, watch));
    make(in_dir(&dir, "a"));
    T_IS(filch_stream_next(&stream.base, &change, T_LIMIT), 1);
    T_CHECK(strcmp(change->name, "a") == 0);
    T_IS(filch_stream_next(&stream.base, &change, FILCH_NOW), -ETIMEDOUT);
    make(in_dir(&dir, "b"));
    make(in_dir(&dir, "c"));
    T_IS(filch_stream_next(&stream.base, &change, T_LIMIT), 1);
    T_CHECK(strcmp(change->name, "b") == 0);
    T_IS(filch_stream_next(&stream.base, &change, T_LIMIT), 1);
    T_CHECK(strcmp(change->name, "c") == 0);
    /* A drop while it waits. */
    T_IS(filch_stream_next(&stream.base, &change, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    filch_stream_drop(&stream.base);
    T_OK(filch_file_watch_stream_init(&stream, watch));
    task = spawn(closes, watch);
    T_IS(filch_stream_next(&stream.base, &change, T_LIMIT), 0);
    T_OK(join(task));
    filch_stream_drop(&stream.base);
    temp_dir_remove(&dir);
    return 0;
}

Test(file_watch, changes_are_a_stream)
{
    T_OK(run_in_runtime(0, stream_body, NULL));
}
