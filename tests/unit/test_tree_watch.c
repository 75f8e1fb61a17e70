/* Description: watches of trees (<filch/tree_watch.h>): every change below the root is told with
 * its path, however the directories come, move and go, and a program that applies what is told to a
 * picture has the tree. From a task and from a plain thread. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"
#include "tests/runner/temp_dir.h"
#include "tests/runner/tree_picture.h"

TestSuite(tree_watch, .timeout = 60);

#define DIR_CREATED (FILCH_CHANGE_CREATED | FILCH_CHANGE_DIRECTORY)
#define DIR_REMOVED (FILCH_CHANGE_REMOVED | FILCH_CHANGE_DIRECTORY)

static void expect(filch_tree_watch *watch, unsigned what, const char *path)
{
    filch_tree_change change = next(watch);

    if (change.what != what || strcmp(change.path, path) != 0)
        fprintf(stderr, "told: %x %s, expected: %x %s\n", change.what, change.path, what, path);
    T_IS(change.what, what);
    T_CHECK(strcmp(change.path, path) == 0);
}

static void expect_rename(filch_tree_watch *watch, unsigned more, const char *from,
                          const char *path)
{
    filch_tree_change change = next(watch);

    T_IS(change.what, BOTH | more);
    T_CHECK(change.cookie);
    T_CHECK(strcmp(change.path, path) == 0);
    T_CHECK(change.from && strcmp(change.from, from) == 0);
}

/* Nothing is told, and nothing is left to do. */
static void expect_nothing(filch_tree_watch *watch)
{
    filch_tree_change change;

    do {
        T_IS(filch_tree_watch_next(watch, &change, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    } while (FILCH_SELECT(FILCH_NOW, filch_case_tree_changed(watch)) != -ETIMEDOUT);
}

/* How many watches this process has. */
static int count_watches(void)
{
    DIR *dir = opendir("/proc/self/fdinfo");
    struct dirent *entry;
    int count = 0;

    T_CHECK(dir != NULL);
    while ((entry = readdir(dir))) {
        char path[300], line[300];
        FILE *file;

        snprintf(path, sizeof path, "/proc/self/fdinfo/%s", entry->d_name);
        file = fopen(path, "re");
        if (!file)
            continue;
        while (fgets(line, sizeof line, file))
            count += strncmp(line, "inotify wd:", 11) == 0;
        fclose(file);
    }
    closedir(dir);
    return count;
}

/* ---- what is told ---- */

static int paths_body(void *arg)
{
    filch_tree_watch_opts reads = {.changes = FILCH_CHANGE_ACCESSED};
    struct temp_dir dir;
    filch_tree_watch *watch;
    filch_tree_change change;

    (void)arg;
    temp_dir_make(&dir);
    T_OK(mkdir(in_dir(&dir, "a"), 0700));
    T_OK(mkdir(in_dir(&dir, "a/b"), 0700));
    T_OK(mkdir(in_dir(&dir, "a/b/c"), 0700));
    make(in_dir(&dir, "a/b/c/old"));
    T_IS(filch_tree_watch_open(in_dir(&dir, "none"), NULL, &watch, T_LIMIT), -ENOENT);
    T_IS(filch_tree_watch_open(in_dir(&dir, "a/b/c/old"), NULL, &watch, T_LIMIT), -ENOTDIR);
    T_IS(filch_tree_watch_open(dir.path, &reads, &watch, T_LIMIT), -EINVAL);
    T_OK(filch_tree_watch_open(dir.path, NULL, &watch, T_LIMIT));
    T_IS(count_watches(), 4);
    T_IS(filch_tree_watch_next(watch, &change, FILCH_NOW), -ETIMEDOUT);
    make(in_dir(&dir, "a/b/c/new"));
    expect(watch, FILCH_CHANGE_CREATED, "a/b/c/new");
    expect(watch, FILCH_CHANGE_WRITER_CLOSED, "a/b/c/new");
    T_OK(chmod(in_dir(&dir, "a/b"), 0750)); /* told by its parent, not by itself too */
    expect(watch, FILCH_CHANGE_METADATA | FILCH_CHANGE_DIRECTORY, "a/b");
    T_OK(rename(in_dir(&dir, "a/b/c/new"), in_dir(&dir, "a/moved")));
    expect_rename(watch, 0, "a/b/c/new", "a/moved");
    T_OK(unlink(in_dir(&dir, "a/moved")));
    expect(watch, FILCH_CHANGE_REMOVED, "a/moved");
    T_OK(chmod(dir.path, 0750));
    expect(watch, FILCH_CHANGE_METADATA | FILCH_CHANGE_DIRECTORY, "");
    T_OK(symlink("b", in_dir(&dir, "a/link")));
    expect(watch, FILCH_CHANGE_CREATED, "a/link");
    T_OK(mkdir(in_dir(&dir, "a/link/d"), 0700)); /* once, by the path without a link */
    expect(watch, DIR_CREATED, "a/b/d");
    T_OK(rmdir(in_dir(&dir, "a/b/d")));
    expect(watch, DIR_REMOVED, "a/b/d");
    expect_nothing(watch);
    T_IS(count_watches(), 4);
    T_OK(filch_tree_watch_close(watch));
    T_IS(filch_tree_watch_next(watch, &change, FILCH_NEVER), -EBADF);
    T_IS(count_watches(), 0);
    temp_dir_remove(&dir);
    return 0;
}

Test(tree_watch, changes_at_any_depth_are_told_with_their_paths)
{
    T_OK(run_in_runtime(0, paths_body, NULL));
    T_OK(paths_body(NULL));
}

static int moves_body(void *arg)
{
    struct temp_dir dir, outside;
    filch_tree_watch *watch;

    (void)arg;
    temp_dir_make(&dir);
    temp_dir_make(&outside);
    T_OK(mkdir(in_dir(&dir, "a"), 0700));
    T_OK(mkdir(in_dir(&dir, "a/b"), 0700));
    T_OK(mkdir(in_dir(&dir, "c"), 0700));
    T_OK(mkdir(in_dir(&outside, "o"), 0700));
    T_OK(mkdir(in_dir(&outside, "o/p"), 0700));
    make(in_dir(&outside, "o/p/f"));
    watch = watch_names(dir.path, false);
    T_OK(rename(in_dir(&dir, "a"), in_dir(&dir, "c/d")));
    expect_rename(watch, FILCH_CHANGE_DIRECTORY, "a", "c/d");
    make(in_dir(&dir, "c/d/b/x")); /* what is below has moved along */
    expect(watch, FILCH_CHANGE_CREATED, "c/d/b/x");
    T_OK(mkdir(in_dir(&dir, "a"), 0700));
    expect(watch, DIR_CREATED, "a");
    make(in_dir(&dir, "a/y"));
    expect(watch, FILCH_CHANGE_CREATED, "a/y");
    expect_nothing(watch);
    T_IS(count_watches(), 5);
    /* Out: nothing is watched there. */
    T_OK(rename(in_dir(&dir, "c/d"), in_dir(&outside, "d")));
    expect(watch, FILCH_CHANGE_MOVED_FROM | FILCH_CHANGE_DIRECTORY, "c/d");
    make(in_dir(&outside, "d/b/z"));
    expect_nothing(watch);
    T_IS(count_watches(), 3);
    /* In: with what is below. */
    T_OK(rename(in_dir(&outside, "o"), in_dir(&dir, "a/o")));
    expect(watch, FILCH_CHANGE_MOVED_TO | FILCH_CHANGE_DIRECTORY, "a/o");
    expect(watch, DIR_CREATED, "a/o/p");
    expect(watch, FILCH_CHANGE_CREATED, "a/o/p/f");
    T_OK(unlink(in_dir(&dir, "a/o/p/f")));
    expect(watch, FILCH_CHANGE_REMOVED, "a/o/p/f");
    /* Over an empty directory. */
    T_OK(rename(in_dir(&dir, "a"), in_dir(&dir, "c")));
    expect_rename(watch, FILCH_CHANGE_DIRECTORY, "a", "c");
    make(in_dir(&dir, "c/o/q"));
    expect(watch, FILCH_CHANGE_CREATED, "c/o/q");
    expect_nothing(watch);
    T_IS(count_watches(), 4);
    T_OK(filch_tree_watch_close(watch));
    temp_dir_remove(&dir);
    temp_dir_remove(&outside);
    return 0;
}

Test(tree_watch, directories_are_followed_within_the_tree_and_into_and_out_of_it)
{
    T_OK(run_in_runtime(0, moves_body, NULL));
}

/* ---- directories that come ---- */

static int come_body(void *arg)
{
    struct temp_dir dir;
    struct picture picture = {0};
    filch_tree_watch *watch;
    unsigned told[3] = {0};

    (void)arg;
    temp_dir_make(&dir);
    watch = watch_names(dir.path, false);
    /* All of it before the first event is looked at. */
    T_OK(mkdir(in_dir(&dir, "a"), 0700));
    make(in_dir(&dir, "a/f"));
    T_OK(mkdir(in_dir(&dir, "a/b"), 0700));
    make(in_dir(&dir, "a/b/f"));
    T_OK(mkdir(in_dir(&dir, "a/b/c"), 0700));
    make(in_dir(&dir, "a/b/c/f"));
    make(in_dir(&dir, "last"));
    for (int i = 0; i < 7; i++) {
        filch_tree_change change = next(watch);

        picture_apply(&picture, &change);
        told[0] += strcmp(change.path, "a/b/c/f") == 0;
        told[1] += strcmp(change.path, "a/b/c") == 0;
        told[2] += strcmp(change.path, "last") == 0;
    }
    for (int i = 0; i < 3; i++)
        T_IS(told[i], 1);
    T_CHECK(agrees(watch, &picture, dir.path));
    T_OK(filch_tree_watch_close(watch));
    picture_free(&picture);
    temp_dir_remove(&dir);
    return 0;
}

Test(tree_watch, what_is_made_in_a_new_directory_is_told_once)
{
    T_OK(run_in_runtime(0, come_body, NULL));
}

#define RACE_TREES 40
#define RACE_DEPTH 6

/* Each file right after its directory. */
static void *makes_trees(void *arg)
{
    const struct temp_dir *dir = arg;

    for (int i = 0; i < RACE_TREES; i++) {
        char path[300];
        int at = snprintf(path, sizeof path, "%s/t%d", dir->path, i);

        for (int depth = 0; depth < RACE_DEPTH; depth++) {
            T_OK(mkdir(path, 0700));
            strcpy(path + at, "/file");
            make(path);
            strcpy(path + at, "/d");
            at += 2;
        }
    }
    return NULL;
}

static int race_body(void *arg)
{
    struct temp_dir dir;
    struct picture picture = {0};
    filch_tree_watch *watch;
    pthread_t thread;

    (void)arg;
    temp_dir_make(&dir);
    watch = watch_names(dir.path, false);
    T_OK(pthread_create(&thread, NULL, makes_trees, &dir));
    while (picture.count < RACE_TREES * RACE_DEPTH * 2) {
        filch_tree_change change = next(watch);

        picture_apply(&picture, &change);
    }
    T_OK(pthread_join(thread, NULL));
    T_CHECK(agrees(watch, &picture, dir.path));
    T_IS(picture.overflows, 0);
    T_OK(filch_tree_watch_close(watch));
    picture_free(&picture);
    temp_dir_remove(&dir);
    return 0;
}

Test(tree_watch, files_made_right_after_their_directory_are_all_told)
{
    T_OK(run_in_runtime(0, race_body, NULL));
    T_OK(race_body(NULL));
}

static int goes_body(void *arg)
{
    struct temp_dir dir;
    struct picture picture = {0};
    filch_tree_watch *watch;
    filch_tree_change change;
    char command[200];

    (void)arg;
    temp_dir_make(&dir);
    makes_trees(&dir);
    watch = watch_names(dir.path, true);
    while (picture.count < RACE_TREES * RACE_DEPTH * 2) {
        change = next(watch);
        T_CHECK(change.what & FILCH_CHANGE_CREATED);
        picture_apply(&picture, &change);
    }
    expect_nothing(watch);
    T_IS(count_watches(), RACE_TREES * RACE_DEPTH + 1);
    snprintf(command, sizeof command, "rm -r '%s'/*", dir.path);
    T_IS(system(command), 0);
    while (picture.count) {
        change = next(watch);
        T_CHECK(change.what & FILCH_CHANGE_REMOVED);
        picture_apply(&picture, &change);
    }
    expect_nothing(watch);
    T_IS(count_watches(), 1);
    T_CHECK(agrees(watch, &picture, dir.path));
    T_OK(filch_tree_watch_close(watch));
    picture_free(&picture);
    temp_dir_remove(&dir);
    return 0;
}

Test(tree_watch, what_there_is_can_be_told_first_and_what_goes_is_told_and_not_watched)
{
    T_OK(run_in_runtime(0, goes_body, NULL));
}

#define LONG_NAME 250
#define LONG_DEPTH 40

static int deep_body(void *arg)
{
    struct temp_dir dir;
    filch_tree_watch *watch;
    filch_tree_change change;
    char name[LONG_NAME + 1];
    int at, below;

    (void)arg;
    temp_dir_make(&dir);
    memset(name, 'n', LONG_NAME);
    name[LONG_NAME] = 0;
    at = open(dir.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < LONG_DEPTH; i++) {
        T_OK(mkdirat(at, name, 0700));
        below = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        T_CHECK(below >= 0);
        T_OK(close(at));
        at = below;
    }
    watch = watch_names(dir.path, false);
    T_OK(mkdirat(at, "new", 0700));
    change = next(watch);
    T_IS(change.what, DIR_CREATED);
    T_IS(strlen(change.path), LONG_DEPTH * (LONG_NAME + 1) + 3);
    below = openat(at, "new/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    T_CHECK(below >= 0);
    T_OK(close(below));
    change = next(watch);
    T_IS(change.what, FILCH_CHANGE_CREATED);
    T_CHECK(strcmp(change.path + LONG_DEPTH * (LONG_NAME + 1), "new/file") == 0);
    T_OK(close(at));
    T_OK(filch_tree_watch_close(watch));
    temp_dir_remove(&dir);
    return 0;
}

Test(tree_watch, paths_may_be_longer_than_the_kernel_takes)
{
    T_OK(run_in_runtime(0, deep_body, NULL));
}

/* ---- the root ---- */

static void expect_end(filch_tree_watch *watch)
{
    expect(watch, FILCH_CHANGE_ENDED, "");
    expect_nothing(watch);
    T_IS(count_watches(), 0);
    T_OK(filch_tree_watch_close(watch));
}

static int root_body(void *arg)
{
    filch_tree_watch_opts opts = {.changes = NAMES | FILCH_CHANGE_SELF_MOVED};
    struct temp_dir dir;
    filch_tree_watch *watch;

    (void)arg;
    temp_dir_make(&dir);
    T_OK(mkdir(in_dir(&dir, "above"), 0700));
    T_OK(mkdir(in_dir(&dir, "above/top"), 0700));
    T_OK(mkdir(in_dir(&dir, "above/top/a"), 0700));
    T_OK(symlink("above/top", in_dir(&dir, "link")));
    /* Moved, and back again before that is looked at. */
    T_OK(filch_tree_watch_open(in_dir(&dir, "link"), &opts, &watch, T_LIMIT));
    T_OK(rename(in_dir(&dir, "above/top"), in_dir(&dir, "moved")));
    T_OK(mkdir(in_dir(&dir, "moved/a/b"), 0700));
    T_OK(rename(in_dir(&dir, "moved"), in_dir(&dir, "above/top")));
    expect(watch, FILCH_CHANGE_SELF_MOVED, "");
    expect(watch, DIR_CREATED, "a/b");
    expect(watch, FILCH_CHANGE_SELF_MOVED, "");
    make(in_dir(&dir, "above/top/a/b/f"));
    expect(watch, FILCH_CHANGE_CREATED, "a/b/f");
    /* Away. */
    T_OK(rename(in_dir(&dir, "above/top"), in_dir(&dir, "moved")));
    expect(watch, FILCH_CHANGE_SELF_MOVED, "");
    expect_end(watch);
    /* With one above it. */
    T_OK(rename(in_dir(&dir, "moved"), in_dir(&dir, "above/top")));
    T_OK(filch_tree_watch_open(in_dir(&dir, "link"), &opts, &watch, T_LIMIT));
    T_OK(rename(in_dir(&dir, "above"), in_dir(&dir, "below")));
    T_OK(mkdir(in_dir(&dir, "below/top/a/c"), 0700));
    expect(watch, DIR_CREATED, "a/c");
    expect_end(watch);
    /* Removed, after all that is in it. */
    T_OK(rename(in_dir(&dir, "below"), in_dir(&dir, "above")));
    T_OK(filch_tree_watch_open(in_dir(&dir, "link"), &opts, &watch, T_LIMIT));
    T_OK(rmdir(in_dir(&dir, "above/top/a/c")));
    T_OK(unlink(in_dir(&dir, "above/top/a/b/f")));
    T_OK(rmdir(in_dir(&dir, "above/top/a/b")));
    T_OK(rmdir(in_dir(&dir, "above/top/a")));
    T_OK(rmdir(in_dir(&dir, "above/top")));
    expect(watch, DIR_REMOVED, "a/c");
    expect(watch, FILCH_CHANGE_REMOVED, "a/b/f");
    expect(watch, DIR_REMOVED, "a/b");
    expect(watch, DIR_REMOVED, "a");
    expect_end(watch);
    temp_dir_remove(&dir);
    return 0;
}

Test(tree_watch, the_end_of_the_root_is_told)
{
    T_OK(run_in_runtime(0, root_body, NULL));
}

/* ---- overflow ---- */

static int overflow_body(void *arg)
{
    struct temp_dir dir;
    struct picture picture = {0};
    filch_tree_watch *watch;
    filch_tree_change change;
    void *text = NULL;
    unsigned most;

    (void)arg;
    T_OK(filch_read_file("/proc/sys/fs/inotify/max_queued_events", 0, &text, NULL, T_LIMIT));
    most = (unsigned)atoi(text);
    free(text);
    if (most > 200000)
        cr_skip_test("max_queued_events is too large: %u", most);
    temp_dir_make(&dir);
    T_OK(mkdir(in_dir(&dir, "goes"), 0700));
    T_OK(mkdir(in_dir(&dir, "goes/too"), 0700));
    T_OK(mkdir(in_dir(&dir, "moves"), 0700));
    watch = watch_names(dir.path, true);
    for (unsigned i = 0; i <= most / 2; i++) {
        make(in_dir(&dir, "a"));
        T_OK(unlink(in_dir(&dir, "a")));
    }
    /* Which nobody tells. */
    T_OK(mkdir(in_dir(&dir, "b"), 0700));
    T_OK(mkdir(in_dir(&dir, "b/c"), 0700));
    make(in_dir(&dir, "b/c/f"));
    T_OK(rmdir(in_dir(&dir, "goes/too")));
    T_OK(rmdir(in_dir(&dir, "goes")));
    T_OK(rename(in_dir(&dir, "moves"), in_dir(&dir, "b/c/moved")));
    do {
        change = next(watch);
        picture_apply(&picture, &change);
    } while (change.what != FILCH_CHANGE_OVERFLOW);
    T_CHECK(change.path[0] == 0);
    T_IS(picture.count, 0);
    T_CHECK(agrees(watch, &picture, dir.path));
    T_IS(picture.overflows, 1);
    expect_nothing(watch);
    T_IS(count_watches(), 4);
    T_OK(filch_tree_watch_close(watch));
    picture_free(&picture);
    temp_dir_remove(&dir);
    return 0;
}

Test(tree_watch, after_an_overflow_everything_is_told_anew_and_watched)
{
    T_OK(run_in_runtime(0, overflow_body, NULL));
}

/* ---- waiting ---- */

static int wait_for_one(void *watch)
{
    filch_tree_change change;

    return filch_tree_watch_next(watch, &change, FILCH_NEVER);
}

static int waits_in_select(void *watch)
{
    filch_case cases[] = {filch_case_tree_changed(watch), filch_case_at(FILCH_NEVER)};
    int result = -1;

    T_IS(filch_select_result(cases, 2, 0, &result, T_LIMIT), 0);
    return result;
}

static int ends_body(void *arg)
{
    struct temp_dir dir;
    filch_tree_watch *watch;
    filch_tree_change change;
    filch_task *waiter, *selects;
    int r;

    (void)arg;
    temp_dir_make(&dir);
    watch = watch_names(dir.path, false);
    waiter = spawn(wait_for_one, watch);
    let_others_run();
    T_IS(filch_tree_watch_next(watch, &change, T_LIMIT), -EBUSY);
    T_OK(filch_task_cancel(waiter));
    T_IS(join(waiter), -ECANCELED);
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_tree_changed(watch)), -ETIMEDOUT);
    selects = spawn(waits_in_select, watch);
    let_others_run();
    make(in_dir(&dir, "a"));
    T_OK(join(selects));
    make(in_dir(&dir, "b"));
    expect(watch, FILCH_CHANGE_CREATED, "a");
    T_OK(waits_in_select(watch)); /* read with the first, out of the kernel's sight */
    expect(watch, FILCH_CHANGE_CREATED, "b");
    waiter = spawn(wait_for_one, watch);
    selects = spawn(waits_in_select, watch);
    let_others_run();
    T_OK(filch_tree_watch_close(watch));
    r = join(waiter);
    T_CHECK(r == -ECANCELED || r == -EBADF); /* it waited, or came too late */
    r = join(selects);
    T_CHECK(r == -ECANCELED || r == -EBADF);
    T_IS(waits_in_select(watch), -EBADF);
    temp_dir_remove(&dir);
    return 0;
}

Test(tree_watch, waiting_ends_by_cancel_close_and_a_change_in_a_select)
{
    T_OK(run_in_runtime(1, ends_body, NULL));
}
