/* Description: what a host finds out about tasks that do not get on: the runtime names one that
 * keeps a worker, and says whether it computes or sits in a system call; and when nothing will ever
 * run again, a look at the live tasks and at the numbers says so, and who waits for what. */
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(hang, .timeout = 120);

/* A runtime's messages. */
static struct {
    pthread_mutex_t lock;
    char text[8192];
} said = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void take_message(void *arg, int level, const char *message)
{
    size_t used;

    (void)arg;
    T_IS(level, FILCH_LOG_WARNING);
    pthread_mutex_lock(&said.lock);
    used = strlen(said.text);
    snprintf(said.text + used, sizeof said.text - used, "%s\n", message);
    pthread_mutex_unlock(&said.lock);
}

/* How many times was it said? */
static int times_said(const char *text)
{
    const char *at = said.text;
    int n = 0;

    pthread_mutex_lock(&said.lock);
    while ((at = strstr(at, text))) {
        at += strlen(text);
        n++;
    }
    pthread_mutex_unlock(&said.lock);
    return n;
}

static bool was_said(const char *text)
{
    return times_said(text) > 0;
}

static filch_runtime *start(unsigned workers, filch_time hog_ns)
{
    return test_start(
        &(filch_runtime_opts){.workers = workers, .hog_ns = hog_ns, .log = take_message});
}

/* One place: that of the call in it. */
__attribute__((noinline)) static void spawn_named(filch_runtime *rt, filch_fn fn, void *arg,
                                                  const char *name, filch_task **ret_task)
{
    T_OK(filch_runtime_spawn(rt, fn, arg, &(filch_task_opts){.name = name}, ret_task));
}

/* No yield here: that is the point. */
static int computes_until_told(void *told)
{
    while (!atomic_load((atomic_bool *)told))
        ;
    return 0;
}

Test(hang, a_task_that_computes_is_named_once)
{
    filch_runtime *rt = start(4, 50 * FILCH_MILLISECOND);
    filch_task *first, *second;
    atomic_bool told = false;

    spawn_named(rt, computes_until_told, &told, "first", &first);
    T_WAIT_UNTIL(was_said("task \"first\", spawned at "));
    cr_assert(was_said(" ms without suspending: it computes"));
    /* As much time again passes until the other one is named. */
    spawn_named(rt, computes_until_told, &told, "second", &second);
    T_WAIT_UNTIL(was_said("task \"second\", spawned at "));
    cr_assert_eq(times_said("\"first\""), 1);
    atomic_store(&told, true);
    T_OK(join(first));
    T_OK(join(second));
    stop_runtime(rt);
}

/* ---- the place ---- */

#ifdef T_SANITIZED
#define CODE_BYTES 2048
#else
#define CODE_BYTES 512
#endif

/* Of the program, which comes first. */
static int take_base(struct dl_phdr_info *info, size_t bytes, void *ret_base)
{
    (void)bytes;
    *(uintptr_t *)ret_base = info->dlpi_addr;
    return 1;
}

/* The address that was said of a task, as module and offset or as it is. */
static uintptr_t place_said(const char *name)
{
    char before[64], place[256];
    const char *at, *plus;
    uintptr_t base = 0;

    snprintf(before, sizeof before, "task \"%s\", spawned at ", name);
    at = strstr(said.text, before);
    T_CHECK(at);
    snprintf(place, sizeof place, "%.*s", (int)strcspn(at + strlen(before), ","),
             at + strlen(before));
    plus = strrchr(place, '+');
    if (!plus)
        return strtoull(place, NULL, 16);
    T_CHECK(strlen(program_invocation_name) == (size_t)(plus - place) &&
            strncmp(place, program_invocation_name, (size_t)(plus - place)) == 0);
    T_IS(dl_iterate_phdr(take_base, &base), 1);
    return base + strtoull(plus + 1, NULL, 16);
}

static bool is_in(uintptr_t place, uintptr_t function)
{
    return place > function && place < function + CODE_BYTES;
}

__attribute__((noinline)) static int spawns_a_child(void *told)
{
    filch_task_opts opts = {.name = "child"};

    T_OK(filch_task_spawn(computes_until_told, told, &opts, NULL));
    return 0;
}

Test(hang, the_place_is_where_the_task_was_spawned)
{
    filch_runtime *rt = start(4, 20 * FILCH_MILLISECOND);
    atomic_bool told = false;
    filch_task *task;

    spawn_named(rt, computes_until_told, &told, "outside", &task);
    T_OK(filch_runtime_block_on(rt, spawns_a_child, &told, NULL, FILCH_NEVER));
    T_WAIT_UNTIL(was_said("\"outside\"") && was_said("\"child\""));
    T_CHECK(is_in(place_said("outside"), (uintptr_t)spawn_named));
    T_CHECK(is_in(place_said("child"), (uintptr_t)spawns_a_child));
    atomic_store(&told, true);
    T_OK(join(task));
    stop_runtime(rt);
}

/* ---- those that fork ---- */

static int does_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int adds(void *sum, size_t begin, size_t end)
{
    atomic_fetch_add((atomic_size_t *)sum, end - begin);
    return 0;
}

/* It has forked, and does not any more. */
static int computes_after_a_loop(void *told)
{
    atomic_size_t sum = 0;

    T_OK(filch_parallel_for(0, 100000, adds, &sum, NULL));
    T_CHECK(atomic_load(&sum) == 100000);
    return computes_until_told(told);
}

Test(hang, a_task_that_has_forked_once_is_named)
{
    filch_runtime *rt = start(2, 20 * FILCH_MILLISECOND);
    atomic_bool told = false;
    filch_task *task;

    spawn_named(rt, computes_after_a_loop, &told, "after", &task);
    T_WAIT_UNTIL(was_said("task \"after\", spawned at "));
    atomic_store(&told, true);
    T_OK(join(task));
    stop_runtime(rt);
}

static atomic_bool begun;

/* Computes with a fork that it has not joined yet, and without. */
static int computes_beside_a_fork(void *told)
{
    filch_forked fork;

    T_OK(filch_fork(&fork, does_nothing, NULL));
    filch_task_yield(); /* what its thread has waited for a CPU before does not count */
    atomic_store(&begun, true);
    T_OK(computes_until_told(told));
    T_OK(filch_join(&fork));
    return computes_until_told((atomic_bool *)told + 1);
}

/* Another one, which has not computed for longer, is named. */
Test(hang, a_task_that_forks_is_not_named)
{
    filch_runtime *rt = start(4, 50 * FILCH_MILLISECOND);
    atomic_bool told[2] = {false, false};
    filch_task *forks, *other;
    int before;

    spawn_named(rt, computes_beside_a_fork, told, "forks", &forks);
    T_WAIT_UNTIL(atomic_load(&begun));
    before = times_said("\"forks\"");
    spawn_named(rt, computes_until_told, &told[1], "other", &other);
    T_WAIT_UNTIL(was_said("\"other\""));
    T_IS(times_said("\"forks\""), before);
    atomic_store(&told[0], true);
    T_WAIT_UNTIL(times_said("\"forks\"") == before + 1);
    atomic_store(&told[1], true);
    T_OK(join(forks));
    T_OK(join(other));
    stop_runtime(rt);
}

/* It is the worker that is watched: each time that it is kept is another. */
static int computes_twice(void *told)
{
    T_OK(computes_until_told(told));
    filch_task_yield();
    return computes_until_told((atomic_bool *)told + 1);
}

Test(hang, the_same_task_is_named_again_when_it_has_suspended_meanwhile)
{
    filch_runtime *rt = start(2, 20 * FILCH_MILLISECOND);
    filch_task *task;
    atomic_bool told[2] = {false, false};

    spawn_named(rt, computes_twice, told, "again", &task);
    T_WAIT_UNTIL(times_said("\"again\"") == 1);
    atomic_store(&told[0], true);
    T_WAIT_UNTIL(times_said("\"again\"") == 2);
    atomic_store(&told[1], true);
    T_OK(join(task));
    stop_runtime(rt);
}

static int reads_a_byte(void *fd)
{
    char byte;

    return read(*(int *)fd, &byte, 1) == 1 ? 0 : -1;
}

Test(hang, a_task_that_sits_in_a_system_call_is_told_from_one_that_computes)
{
    filch_runtime *rt = start(2, 50 * FILCH_MILLISECOND);
    char expected[64];
    filch_task *task;
    int ends[2];

    if (access("/proc/self/syscall", R_OK) < 0)
        cr_skip_test("the kernel does not say what a thread sleeps in");
    snprintf(expected, sizeof expected, "it sits in system call %d.", SYS_read);
    T_OK(pipe(ends));
    spawn_named(rt, reads_a_byte, &ends[0], "reader", &task);
    T_WAIT_UNTIL(was_said("task \"reader\", spawned at "));
    cr_assert(was_said(expected) || RUNNING_ON_VALGRIND); /* there it may sit in Valgrind's lock */
    T_IS(write(ends[1], "x", 1), 1);
    T_OK(join(task));
    close(ends[0]);
    close(ends[1]);
    stop_runtime(rt);
}

struct long_future {
    filch_future future;
    atomic_bool told;
};

static filch_poll polls_until_told(filch_future *future, filch_cx *cx)
{
    (void)cx;
    return computes_until_told(&((struct long_future *)future)->told) == 0 ? FILCH_READY
                                                                           : FILCH_PENDING;
}

static int spawns_future(void *arg)
{
    struct long_future *future = arg;
    filch_task *task;

    T_OK(filch_future_spawn(&future->future, &(filch_task_opts){.name = "poller"}, &task));
    return filch_task_detach(task);
}

Test(hang, a_future_whose_poll_takes_long_is_named)
{
    filch_runtime *rt = start(2, 20 * FILCH_MILLISECOND);
    struct long_future future = {.future = {.poll = polls_until_told}};

    T_OK(filch_runtime_block_on(rt, spawns_future, &future, NULL, FILCH_NEVER));
    T_WAIT_UNTIL(was_said("future \"poller\", keeps worker "));
    atomic_store(&future.told, true);
    stop_runtime(rt);
}

/* Two hogs: one of a runtime that says nothing, and later one of a runtime that does. */
Test(hang, nobody_is_named_when_that_is_turned_off)
{
    filch_runtime *quiet = start(2, FILCH_NEVER);
    filch_runtime *rt = start(2, 100 * FILCH_MILLISECOND);
    filch_task *quiet_one, *loud_one;
    atomic_bool told = false;

    spawn_named(quiet, computes_until_told, &told, "quiet", &quiet_one);
    spawn_named(rt, computes_until_told, &told, "loud", &loud_one);
    T_WAIT_UNTIL(was_said("\"loud\""));
    cr_assert(!was_said("\"quiet\""));
    atomic_store(&told, true);
    T_OK(join(quiet_one));
    T_OK(join(loud_one));
    stop_runtime(quiet);
    stop_runtime(rt);
}

/* Each waits for what the other would send after that. */
struct circle {
    filch_chan *from;
    filch_chan *to;
};

static int sends_what_it_receives(void *arg)
{
    struct circle *circle = arg;
    int message;
    int r = filch_chan_recv(circle->from, &message, FILCH_NEVER);

    return r < 0 ? r : filch_chan_send(circle->to, &message, FILCH_NEVER);
}

static int locks_what_is_locked(void *arg)
{
    int r = filch_mutex_lock(arg, FILCH_NEVER);

    return r < 0 ? r : filch_mutex_unlock(arg);
}

/* What a host's watchdog keeps from one look to the next. */
struct picture {
    int tasks;
    int waiting; /* parked, for something that no clock and no peer ends */
    char text[512];
};

static bool ends_by_itself(const char *doing)
{
    static const char *const those[] = {"running", "runnable", "sleep",
                                        "I/O",     "accept",   "rate limiter"};

    for (size_t i = 0; i < sizeof those / sizeof *those; i++)
        if (strcmp(doing, those[i]) == 0)
            return true;
    return false;
}

static void add_to_picture(void *arg, const filch_live *live)
{
    struct picture *picture = arg;
    size_t used = strlen(picture->text);

    picture->tasks++;
    picture->waiting += !ends_by_itself(live->doing);
    snprintf(picture->text + used, sizeof picture->text - used, "%s: %s\n", live->name,
             live->doing);
}

/* Nothing ran between two looks, and all that lives waits for each other. */
static bool hangs(filch_runtime *rt, struct picture *picture)
{
    filch_stats before, after;

    memset(picture, 0, sizeof *picture);
    T_OK(filch_runtime_stats(rt, &before));
    T_CHECK(filch_runtime_visit(rt, add_to_picture, picture) >= 0);
    T_OK(filch_runtime_stats(rt, &after));
    return picture->tasks && picture->waiting == picture->tasks && before.polls == after.polls;
}

static filch_chan *new_chan(void)
{
    filch_chan *chan = NULL;

    T_OK(filch_chan_new(sizeof(int), 1, &chan));
    return chan;
}

Test(hang, a_host_sees_that_all_tasks_wait_for_each_other)
{
    filch_runtime *rt = start_runtime(0);
    filch_chan *there = new_chan(), *back = new_chan();
    struct circle one = {there, back}, other = {back, there};
    struct picture picture;
    filch_task *tasks[4];
    filch_mutex mutex;
    int message = 1;

    filch_mutex_init(&mutex);
    T_OK(filch_mutex_lock(&mutex, FILCH_NEVER));
    spawn_named(rt, sleep_until_cancelled, NULL, "sleeper", &tasks[3]);
    spawn_named(rt, sends_what_it_receives, &one, "one", &tasks[0]);
    spawn_named(rt, sends_what_it_receives, &other, "other", &tasks[1]);
    spawn_named(rt, locks_what_is_locked, &mutex, "third", &tasks[2]);
    /* With one that sleeps there is hope. */
    T_WAIT_UNTIL((hangs(rt, &picture), picture.waiting) == 3);
    cr_assert(!hangs(rt, &picture));
    T_OK(filch_task_cancel(tasks[3]));
    T_OK(filch_task_join(tasks[3], NULL, T_LIMIT));
    T_WAIT_UNTIL(hangs(rt, &picture));
    cr_assert(strstr(picture.text, "one: channel receive\n"));
    cr_assert(strstr(picture.text, "other: channel receive\n"));
    cr_assert(strstr(picture.text, "third: mutex\n"));
    /* The one stone that was missing. */
    T_OK(filch_chan_send(there, &message, T_LIMIT));
    T_OK(filch_mutex_unlock(&mutex));
    for (int i = 0; i < 3; i++)
        T_OK(join(tasks[i]));
    filch_mutex_fini(&mutex);
    filch_chan_unref(there);
    filch_chan_unref(back);
    stop_runtime(rt);
}
