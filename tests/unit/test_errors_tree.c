/* Description: errors that <filch/tree_watch.h> promises: those of the open leave nothing behind,
 * those of a directory that comes are told once, and the rest of the tree is watched as before.
 * What the kernel would say only in other circumstances (too many watches, no descriptor left) a
 * wrapper says, which the linker puts in (--wrap). */
#include <fcntl.h>
#include <stdarg.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/process.h"
#include "tests/runner/refused_memory.h"
#include "tests/runner/run.h"
#include "tests/runner/temp_dir.h"

TestSuite(errors_tree, .timeout = 60);

enum refused { OPEN = REFUSED_NEXT, ENTRIES, INSTANCE, WATCH };

int __real_openat64(int at, const char *path, int flags, ...);
int __wrap_openat64(int at, const char *path, int flags, ...);

int __wrap_openat64(int at, const char *path, int flags, ...)
{
    return refuses(OPEN) ? -1 : __real_openat64(at, path, flags);
}

WRAPPED(ssize_t, getdents64, (int fd, void *buffer, size_t bytes))
{
    return refuses(ENTRIES) ? -1 : __real_getdents64(fd, buffer, bytes);
}

WRAPPED(int, inotify_init1, (int flags))
{
    return refuses(INSTANCE) ? -1 : __real_inotify_init1(flags);
}

int __real_inotify_add_watch(int fd, const char *path, uint32_t mask);
static atomic_int watches_left = -1; /* until there are too many; below 0: there never are */

/* Only of what is not watched already, as the kernel does. */
static bool is_refused(int fd, const char *path, uint32_t mask)
{
    int number = __real_inotify_add_watch(fd, path, mask | IN_MASK_CREATE);

    if (number < 0)
        return false;
    T_OK(inotify_rm_watch(fd, number));
    errno = ENOSPC;
    return atomic_load(&watches_left) == 0 || refuses(WATCH);
}

WRAPPED(int, inotify_add_watch, (int fd, const char *path, uint32_t mask))
{
    if (is_refused(fd, path, mask))
        return -1;
    if (atomic_load(&watches_left) > 0)
        atomic_fetch_sub(&watches_left, 1);
    return __real_inotify_add_watch(fd, path, mask);
}

static struct temp_dir dir;
static filch_tree_watch *watch;

static void refuse(int what, int error)
{
    atomic_store(&refusal, -error);
    atomic_store(&refused, what);
}

static void make_tree(void)
{
    temp_dir_make(&dir);
    T_OK(mkdir(in_dir(&dir, "a"), 0700));
    T_OK(mkdir(in_dir(&dir, "a/b"), 0700));
    T_OK(mkdir(in_dir(&dir, "c"), 0700));
}

/* ---- the open ---- */

/* The first of a process: there is no object in store. */
Test(errors_tree, of_the_open)
{
    unsigned files;
    char name[600];

    make_tree();
    files = process_descriptors();
    SAYS(MEMORY, filch_tree_watch_open(dir.path, NULL, &watch, T_LIMIT), -ENOMEM);
    SAYS(INSTANCE, filch_tree_watch_open(dir.path, NULL, &watch, T_LIMIT), -EMFILE, -ENFILE);
    SAYS(OPEN, filch_tree_watch_open(dir.path, NULL, &watch, T_LIMIT), -EACCES, -ELOOP, -EMFILE,
         -ENFILE, -EIO);
    SAYS(ENTRIES, filch_tree_watch_open(dir.path, NULL, &watch, T_LIMIT), -EIO);
    SAYS(WATCH, filch_tree_watch_open(dir.path, NULL, &watch, T_LIMIT), -ENOSPC, -ENOMEM);
    refuse(WATCH, -ENOENT); /* which is what the kernel says without /proc */
    T_IS(filch_tree_watch_open(dir.path, NULL, &watch, T_LIMIT), -EOPNOTSUPP);
    refuse(0, 0);
    for (int left = 0; left < 4; left++) {
        atomic_store(&watches_left, left);
        T_IS(filch_tree_watch_open(dir.path, NULL, &watch, T_LIMIT), -ENOSPC);
        atomic_store(&watches_left, -1);
    }
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = 0;
    T_IS(filch_tree_watch_open(name, NULL, &watch, T_LIMIT), -ENAMETOOLONG);
    T_IS(process_descriptors(), files);
    T_OK(filch_tree_watch_open(dir.path, NULL, &watch, T_LIMIT));
    T_OK(filch_tree_watch_close(watch));
    T_IS(process_descriptors(), files);
    temp_dir_remove(&dir);
}

static int opens_cancelled(void *arg)
{
    (void)arg;
    T_OK(filch_task_cancel(filch_task_self()));
    T_IS(filch_tree_watch_open(dir.path, NULL, &watch, T_LIMIT), -ECANCELED);
    return 0;
}

static int open_body(void *arg)
{
    (void)arg;
    make_tree();
    SAYS(THREAD, filch_tree_watch_open(dir.path, NULL, &watch, T_LIMIT), -EAGAIN);
    T_IS(filch_tree_watch_open(dir.path, NULL, &watch, FILCH_NOW), -ETIMEDOUT);
    T_OK(join(spawn(opens_cancelled, NULL)));
    T_OK(filch_tree_watch_open(dir.path, NULL, &watch, T_LIMIT));
    T_OK(filch_tree_watch_close(watch));
    temp_dir_remove(&dir);
    return 0;
}

Test(errors_tree, of_the_open_in_a_task)
{
    T_OK(run_in_runtime(1, open_body, NULL));
}

/* ---- directories that come later ---- */

static int next(void)
{
    filch_tree_change change;

    return filch_tree_watch_next(watch, &change, T_LIMIT);
}

/* Nothing is told, and nothing is left to do. */
static void expect_nothing(void)
{
    filch_tree_change change;

    do {
        T_IS(filch_tree_watch_next(watch, &change, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    } while (FILCH_SELECT(FILCH_NOW, filch_case_tree_changed(watch)) != -ETIMEDOUT);
}

static void come(const char *name)
{
    T_OK(mkdir(in_dir(&dir, name), 0700));
    T_OK(next()); /* it is told whether it can be watched or not */
}

/* What the next call says of a directory that comes meanwhile. */
static int when_refused(int what, int error)
{
    int r;

    refuse(what, error);
    come("one");
    r = next();
    come("two"); /* said once */
    expect_nothing();
    refuse(0, 0);
    /* The rest goes on, and so does the next directory. */
    T_OK(mkdir(in_dir(&dir, "a/b/d"), 0700));
    T_OK(next());
    T_OK(mkdir(in_dir(&dir, "a/b/d/e"), 0700));
    T_OK(next());
    /* A directory that was refused is watched when it is moved, which is told as two. */
    T_OK(rename(in_dir(&dir, "one"), in_dir(&dir, "a/one")));
    T_OK(next());
    T_OK(next());
    expect_nothing();
    T_OK(mkdir(in_dir(&dir, "a/one/f"), 0700));
    T_OK(next());
    T_OK(rmdir(in_dir(&dir, "a/one/f")));
    T_OK(rmdir(in_dir(&dir, "a/one")));
    T_OK(rmdir(in_dir(&dir, "two")));
    T_OK(rmdir(in_dir(&dir, "a/b/d/e")));
    T_OK(rmdir(in_dir(&dir, "a/b/d")));
    for (int i = 0; i < 5; i++)
        T_OK(next());
    expect_nothing();
    return r;
}

static filch_tree_watch_opts names = {.changes = FILCH_CHANGE_CREATED | FILCH_CHANGE_REMOVED |
                                                 FILCH_CHANGE_MOVED_FROM | FILCH_CHANGE_MOVED_TO};

static int later_body(void *arg)
{
    (void)arg;
    make_tree();
    T_OK(filch_tree_watch_open(dir.path, &names, &watch, T_LIMIT));
    T_IS(when_refused(WATCH, -ENOSPC), -ENOSPC);
    T_IS(when_refused(WATCH, -ENOMEM), -ENOMEM);
    T_IS(when_refused(WATCH, -ENOENT), -EOPNOTSUPP);
    T_IS(when_refused(OPEN, -EMFILE), -EMFILE);
    T_IS(when_refused(OPEN, -ENFILE), -ENFILE);
    T_IS(when_refused(OPEN, -EIO), -EIO);
    T_OK(filch_tree_watch_close(watch));
    temp_dir_remove(&dir);
    return 0;
}

Test(errors_tree, of_directories_that_come)
{
    T_OK(run_in_runtime(0, later_body, NULL));
    T_OK(later_body(NULL));
}

static void make(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    T_CHECK(fd >= 0);
    T_OK(close(fd));
}

/* What could not be told is told with everything. */
Test(errors_tree, of_memory_for_what_is_told)
{
    filch_tree_change change;
    unsigned told = 0;

    make_tree();
    T_OK(filch_tree_watch_open(dir.path, &names, &watch, T_LIMIT));
    make(in_dir(&dir, "a/b/f"));
    SAYS(MEMORY, filch_tree_watch_next(watch, &change, T_LIMIT), -ENOMEM);
    T_OK(filch_tree_watch_next(watch, &change, T_LIMIT));
    T_IS(change.what, FILCH_CHANGE_OVERFLOW);
    for (int i = 0; i < 4; i++) {
        T_OK(filch_tree_watch_next(watch, &change, T_LIMIT));
        T_CHECK(change.what & FILCH_CHANGE_CREATED);
        told += strcmp(change.path, "a/b/f") == 0;
    }
    T_IS(told, 1);
    expect_nothing();
    T_OK(filch_tree_watch_close(watch));
    temp_dir_remove(&dir);
}

/* ---- calls that wait ---- */

static int selected(filch_case c)
{
    int r = filch_select(&c, 1, 0, T_LIMIT);

    return r < 0 ? r : c.result;
}

static int selects_change(void *arg)
{
    (void)arg;
    return selected(filch_case_tree_changed(watch));
}

static int waits_for_change(void *arg)
{
    filch_tree_change change;

    (void)arg;
    return filch_tree_watch_next(watch, &change, FILCH_NEVER);
}

static int waits_cancelled(void *arg)
{
    filch_tree_change change;

    (void)arg;
    T_OK(filch_task_cancel(filch_task_self()));
    T_IS(filch_tree_watch_next(watch, &change, T_LIMIT), -ECANCELED);
    return 0;
}

static int wait_body(void *arg)
{
    filch_task *selects, *waits;
    filch_tree_change change;

    (void)arg;
    make_tree();
    T_OK(filch_tree_watch_open(dir.path, &names, &watch, T_LIMIT));
    T_IS(filch_tree_watch_next(watch, &change, FILCH_NOW), -ETIMEDOUT);
    T_OK(join(spawn(waits_cancelled, NULL)));
    SAYS(MEMORY, selected(filch_case_tree_changed(watch)), -ENOMEM);
    selects = spawn(selects_change, NULL);
    waits = spawn(waits_for_change, NULL);
    let_others_run(); /* one worker: they wait by now */
    T_IS(filch_tree_watch_next(watch, &change, T_LIMIT), -EBUSY);
    T_OK(filch_tree_watch_close(watch));
    T_IS(join(selects), -ECANCELED);
    T_IS(join(waits), -ECANCELED);
    temp_dir_remove(&dir);
    return 0;
}

Test(errors_tree, of_calls_that_wait)
{
    T_OK(run_in_runtime(1, wait_body, NULL));
}

/* The pool's first thread cannot be made: the tree is opened outside. */
static int thread_body(void *arg)
{
    filch_tree_change change;

    (void)arg;
    T_OK(mkdir(in_dir(&dir, "new"), 0700));
    T_OK(filch_tree_watch_next(watch, &change, T_LIMIT)); /* it was created */
    SAYS(THREAD, filch_tree_watch_next(watch, &change, T_LIMIT), -EAGAIN);
    make(in_dir(&dir, "new/f"));
    T_OK(filch_tree_watch_next(watch, &change, T_LIMIT));
    T_CHECK(strcmp(change.path, "new/f") == 0);
    return 0;
}

Test(errors_tree, of_threads)
{
    make_tree();
    T_OK(filch_tree_watch_open(dir.path, &names, &watch, T_LIMIT));
    T_OK(run_in_runtime(1, thread_body, NULL));
    expect_nothing();
    T_IS(selected(filch_case_tree_changed(watch)), -EPERM);
    T_OK(filch_tree_watch_close(watch));
    temp_dir_remove(&dir);
}
