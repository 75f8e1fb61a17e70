/* Description: watches of trees (<filch/tree_watch.h>) under random operations, by a seed that is
 * printed when it fails: a program that applies what is told to a picture has the tree in the end,
 * however far behind it was, and whoever was cancelled. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"
#include "tests/runner/temp_dir.h"
#include "tests/runner/tree_picture.h"

TestSuite(tree_random, .timeout = 100);

#define PATH_DEPTH 4
#define FEW_NAMES 3
/* Some operations may be out of step so far that only a look at everything helps: a directory is
 * said to move into itself, as it was another one. Seldom. */
#define OVERFLOWS_MAX 3

struct disturber {
    struct temp_dir dir, outside;
    uint64_t random;
    unsigned operations;
};

static unsigned pick(struct disturber *d, unsigned below)
{
    d->random = d->random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(d->random >> 33) % below;
}

/* Few, so that they are used again and again. */
static void pick_path(struct disturber *d, char *ret_path)
{
    unsigned depth = 1 + pick(d, PATH_DEPTH);

    ret_path = stpcpy(ret_path, pick(d, 10) ? d->dir.path : d->outside.path);
    while (depth--) {
        *ret_path++ = '/';
        *ret_path++ = (char)('a' + pick(d, FEW_NAMES));
    }
    *ret_path = 0;
}

/* Most of it fails, and there is nobody to tell. */
static void disturb(struct disturber *d)
{
    char path[100], path2[100];
    int fd;

    pick_path(d, path);
    pick_path(d, path2);
    switch (pick(d, 8)) {
    case 0:
    case 1:
    case 2:
        (void)mkdir(path, 0700);
        break;
    case 3:
        (void)rmdir(path);
        break;
    case 4:
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0)
            close(fd);
        break;
    case 5:
        (void)unlink(path);
        break;
    default:
        (void)rename(path, path2);
    }
}

static void *disturbs(void *arg)
{
    struct disturber *d = arg;

    while (d->operations--)
        disturb(d);
    return NULL;
}

struct follower {
    filch_tree_watch *watch;
    struct picture *picture;
};

/* Until it is cancelled. */
static int follows(void *arg)
{
    struct follower *follower = arg;
    filch_tree_change change;
    int r;

    while ((r = filch_tree_watch_next(follower->watch, &change, FILCH_NEVER)) == 0)
        picture_apply(follower->picture, &change);
    return r;
}

static void begin_disturber(struct disturber *d, const struct temp_dir *base, uint64_t seed,
                            unsigned operations)
{
    *d = (struct disturber){.random = seed * 2654435761u + 1, .operations = operations};
    snprintf(d->dir.path, sizeof d->dir.path, "%.40s/%u", base->path, (unsigned)seed);
    snprintf(d->outside.path, sizeof d->outside.path, "%.40s/%uo", base->path, (unsigned)seed);
    T_OK(mkdir(d->dir.path, 0700));
    T_OK(mkdir(d->outside.path, 0700));
}

static void check_picture(struct disturber *d, uint64_t seed, filch_tree_watch *watch,
                          struct picture *picture)
{
    bool ok = agrees(watch, picture, d->dir.path);

    if (!ok)
        fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    T_CHECK(ok);
    T_CHECK(picture->overflows <= OVERFLOWS_MAX);
    T_OK(filch_tree_watch_close(watch));
    picture_free(picture);
}

/* One after the other: the watch is behind by some operations. */
static void run_behind(const struct temp_dir *base, uint64_t seed)
{
    struct disturber d;
    struct picture picture = {0};
    filch_tree_watch *watch;
    filch_tree_change change;

    begin_disturber(&d, base, seed, 0);
    for (int i = 0; i < 50; i++)
        disturb(&d);
    watch = watch_names(d.dir.path, true);
    for (int round = 0; round < 10; round++) {
        for (unsigned n = pick(&d, 40); n; n--)
            disturb(&d);
        for (unsigned n = pick(&d, 40); n; n--)
            if (filch_tree_watch_next(watch, &change, filch_after(FILCH_MILLISECOND / 10)) == 0)
                picture_apply(&picture, &change);
    }
    check_picture(&d, seed, watch, &picture);
}

static int behind_body(void *arg)
{
    const char *text = getenv("FILCH_TEST_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 10) : (uint64_t)filch_now();
    struct temp_dir base;

    (void)arg;
    temp_dir_make(&base);
    for (int i = 0; i < (RUNNING_ON_VALGRIND ? 1 : 20); i++)
        run_behind(&base, seed + (uint64_t)i);
    temp_dir_remove(&base);
    return 0;
}

Test(tree_random, a_picture_is_the_tree_after_any_operations)
{
    T_OK(run_in_runtime(0, behind_body, NULL));
    T_OK(behind_body(NULL));
}

/* At the same time, and whoever follows is cancelled again and again. */
static void run_along(const struct temp_dir *base, uint64_t seed)
{
    struct disturber d;
    struct picture picture = {0};
    struct follower follower = {.picture = &picture};
    pthread_t thread;
    int r;

    begin_disturber(&d, base, seed, 2000);
    follower.watch = watch_names(d.dir.path, true);
    T_OK(pthread_create(&thread, NULL, disturbs, &d));
    for (int i = 0; i < 100; i++) {
        filch_task *task = spawn(follows, &follower);

        for (unsigned n = (unsigned)(seed + (uint64_t)i) % 50; n; n--)
            filch_task_yield();
        T_OK(filch_task_cancel(task));
        r = join(task);
        T_CHECK(r == -ECANCELED);
    }
    T_OK(pthread_join(thread, NULL));
    check_picture(&d, seed, follower.watch, &picture);
}

static int along_body(void *arg)
{
    uint64_t seed = (uint64_t)filch_now();
    struct temp_dir base;

    (void)arg;
    temp_dir_make(&base);
    for (int i = 0; i < (RUNNING_ON_VALGRIND ? 1 : 5); i++)
        run_along(&base, seed + (uint64_t)i);
    temp_dir_remove(&base);
    return 0;
}

Test(tree_random, a_picture_is_the_tree_after_cancels_in_the_middle_of_everything)
{
    T_OK(run_in_runtime(0, along_body, NULL));
}
