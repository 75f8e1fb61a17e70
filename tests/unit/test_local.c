/* Description: what <filch/local.h> promises: a value per task and key, destructors and deferred
 * calls once each, newest first, in the task, before anybody sees its end. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "runtime/base/valgrind.h"
#include "tests/runner/run.h"

TestSuite(local, .timeout = 120);

/* What the calls at a task's end did, in order: each appends a letter to the text that its value
 * begins with. */
struct note {
    char *text;
    char letter;
};

static void append(void *value)
{
    struct note *note = value;
    size_t n = strlen(note->text);

    note->text[n] = note->letter;
    note->text[n + 1] = 0;
}

static filch_local key_a = FILCH_LOCAL_INIT(append);
static filch_local key_b = FILCH_LOCAL_INIT(append);
static filch_local key_plain = FILCH_LOCAL_INIT(NULL);

struct notes {
    char text[32];
    struct note a, b, c, d;
};

static void notes_init(struct notes *notes)
{
    memset(notes, 0, sizeof(*notes));
    notes->a = (struct note){notes->text, 'a'};
    notes->b = (struct note){notes->text, 'b'};
    notes->c = (struct note){notes->text, 'c'};
    notes->d = (struct note){notes->text, 'd'};
}

static int set_and_defer(void *arg)
{
    struct notes *notes = arg;

    T_CHECK(filch_local_get(&key_a) == NULL);
    T_OK(filch_local_set(&key_a, &notes->c)); /* replaced below: keeps its place */
    T_OK(filch_task_defer(append, &notes->d));
    T_OK(filch_local_set(&key_b, &notes->b));
    T_OK(filch_local_set(&key_plain, notes));
    T_OK(filch_local_set(&key_a, &notes->a));
    filch_task_yield();
    T_CHECK(filch_local_get(&key_a) == &notes->a);
    T_CHECK(filch_local_get(&key_b) == &notes->b);
    T_CHECK(filch_local_get(&key_plain) == notes);
    T_IS(strlen(notes->text), 0);
    return 7;
}

static int order_body(void *arg)
{
    struct notes notes;

    (void)arg;
    notes_init(&notes);
    T_IS(join(spawn(set_and_defer, &notes)), 7);
    T_IS(strcmp(notes.text, "bda"), 0);
    /* Not inherited, and not left over for the next task of the same control block. */
    T_CHECK(filch_local_get(&key_a) == NULL);
    notes_init(&notes);
    T_IS(join(spawn(set_and_defer, &notes)), 7);
    T_IS(strcmp(notes.text, "bda"), 0);
    return 0;
}

Test(local, ends_run_newest_first_before_join_sees_the_end)
{
    cr_assert_eq(run_in_runtime(0, order_body, NULL), 0);
}

static int no_value_body(void *arg)
{
    struct notes *notes = arg;

    T_OK(filch_local_set(&key_a, &notes->a));
    T_OK(filch_local_set(&key_b, &notes->b));
    T_OK(filch_local_set(&key_a, NULL));
    T_CHECK(filch_local_get(&key_a) == NULL);
    return 0;
}

static int no_value_outer(void *arg)
{
    struct notes notes;

    (void)arg;
    notes_init(&notes);
    T_OK(join(spawn(no_value_body, &notes)));
    T_IS(strcmp(notes.text, "b"), 0);
    return 0;
}

Test(local, null_has_no_destructor_call)
{
    cr_assert_eq(run_in_runtime(0, no_value_outer, NULL), 0);
}

/* Many keys, made and freed while tasks have values under them. */
enum { KEYS = 100 };

static void count(void *value)
{
    (*(int *)value)++;
}

static int many_keys_body(void *arg)
{
    filch_local *key[KEYS];
    int *counts = arg;

    for (int i = 0; i < KEYS; i++) {
        T_OK(filch_local_new(count, &key[i]));
        T_OK(filch_local_set(key[i], &counts[i]));
        T_OK(filch_task_defer(count, &counts[i]));
    }
    for (int i = 0; i < KEYS; i++)
        T_CHECK(filch_local_get(key[i]) == &counts[i]);
    for (int i = 0; i < KEYS; i++)
        filch_local_free(key[i]);
    /* A new key, maybe at an old one's address, is another key. */
    T_OK(filch_local_new(NULL, &key[0]));
    T_CHECK(filch_local_get(key[0]) == NULL);
    filch_local_free(key[0]);
    return 0;
}

static int many_keys_outer(void *arg)
{
    int counts[KEYS] = {0};

    (void)arg;
    T_OK(join(spawn(many_keys_body, counts)));
    for (int i = 0; i < KEYS; i++)
        T_IS(counts[i], 2);
    return 0;
}

Test(local, hundred_keys_each_find_their_value_and_end_once)
{
    cr_assert_eq(run_in_runtime(0, many_keys_outer, NULL), 0);
}

/* A destructor that suspends, sets and defers. */
static void again(void *value)
{
    struct notes *notes = value;

    append(&notes->a);
    T_OK(filch_sleep(filch_after(FILCH_MILLISECOND)));
    T_OK(filch_local_set(&key_b, &notes->b));
    T_OK(filch_task_defer(append, &notes->c));
    T_OK(filch_task_defer(append, &notes->d));
}

static int again_body(void *arg)
{
    return filch_task_defer(again, arg);
}

static int again_outer(void *arg)
{
    struct notes notes;

    (void)arg;
    notes_init(&notes);
    T_OK(join(spawn(again_body, &notes)));
    T_IS(strcmp(notes.text, "adcb"), 0);
    return 0;
}

Test(local, ends_may_suspend_and_add_more)
{
    cr_assert_eq(run_in_runtime(0, again_outer, NULL), 0);
}

/* In a cancelled task: the end runs, and sees the cancel. */
static void sleep_in_vain(void *value)
{
    T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    atomic_fetch_add((atomic_int *)value, 1);
}

static int wait_with_end(void *arg)
{
    T_OK(filch_task_defer(sleep_in_vain, arg));
    return filch_sleep(FILCH_NEVER);
}

static int cancel_body(void *arg)
{
    atomic_int ended = 0;
    filch_task *task;

    (void)arg;
    task = spawn(wait_with_end, &ended);
    let_others_run();
    T_OK(filch_task_cancel(task));
    T_IS(join(task), -ECANCELED);
    T_IS(ended, 1);
    {
        FILCH_SCOPE(scope);

        for (int i = 0; i < 100; i++)
            T_OK(filch_scope_spawn(&scope, wait_with_end, &ended));
    }
    T_IS(ended, 101);
    return 0;
}

Test(local, ends_run_when_cancelled)
{
    cr_assert_eq(run_in_runtime(0, cancel_body, NULL), 0);
}

Test(local, ends_run_at_shutdown)
{
    filch_runtime *rt = start_runtime(0);
    atomic_int ended = 0;

    for (int i = 0; i < 1000; i++)
        T_OK(filch_runtime_spawn(rt, wait_with_end, &ended, NULL, NULL));
    stop_runtime(rt);
    cr_assert_eq(ended, 1000);
}

/* The copy of the argument lives until the last end has run. */
static void check_copy(void *value)
{
    T_IS(*(int *)value, 42);
    *(int *)value = 0;
}

static int copied_body(void *arg)
{
    return filch_task_defer(check_copy, arg);
}

static int copied_outer(void *arg)
{
    int value = 42;
    filch_task *task;
    int result;

    (void)arg;
    T_OK(filch_task_spawn(copied_body, &value, &(filch_task_opts){.copy_bytes = sizeof(value)},
                          &task));
    T_OK(filch_task_join(task, &result, FILCH_NEVER));
    T_OK(result);
    return 0;
}

Test(local, copied_argument_outlives_the_ends)
{
    cr_assert_eq(run_in_runtime(0, copied_outer, NULL), 0);
}

static int job_outer(void *arg)
{
    struct notes notes;
    filch_task *job;
    int result;

    (void)arg;
    notes_init(&notes);
    T_OK(filch_blocking_spawn(set_and_defer, &notes, NULL, &job));
    T_OK(filch_task_join(job, &result, FILCH_NEVER));
    T_IS(result, 7);
    T_IS(strcmp(notes.text, "bda"), 0);
    return 0;
}

Test(local, blocking_jobs_have_them_too)
{
    cr_assert_eq(run_in_runtime(0, job_outer, NULL), 0);
}

struct two_polls {
    filch_future base;
    struct notes notes;
    int polls;
};

static filch_poll two_polls_poll(filch_future *self, filch_cx *cx)
{
    struct two_polls *future = (struct two_polls *)self;

    if (future->polls++ == 0) {
        T_OK(filch_local_set(&key_a, &future->notes.a));
        T_OK(filch_task_defer(append, &future->notes.b));
        filch_waker_wake_by_ref(cx->waker);
        return FILCH_PENDING;
    }
    T_CHECK(filch_local_get(&key_a) == &future->notes.a);
    return FILCH_READY;
}

static void two_polls_drop(filch_future *self)
{
    struct two_polls *future = (struct two_polls *)self;

    T_OK(filch_task_defer(append, &future->notes.c));
}

static int future_outer(void *arg)
{
    struct two_polls future = {.base = {.poll = two_polls_poll, .drop = two_polls_drop}};
    filch_task *task;

    (void)arg;
    notes_init(&future.notes);
    T_OK(filch_future_spawn(&future.base, NULL, &task));
    T_OK(join(task));
    T_IS(strcmp(future.notes.text, "cba"), 0);
    return 0;
}

Test(local, spawned_futures_have_them_too)
{
    cr_assert_eq(run_in_runtime(0, future_outer, NULL), 0);
}

static void *plain_thread(void *arg)
{
    (void)arg;
    T_IS(filch_local_set(&key_a, &key_a), -EPERM);
    T_IS(filch_task_defer(append, NULL), -EPERM);
    T_CHECK(filch_local_get(&key_a) == NULL);
    return NULL;
}

Test(local, plain_threads_are_refused)
{
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, plain_thread, NULL), 0);
    pthread_join(thread, NULL);
    cr_assert_eq(filch_local_set(NULL, NULL), -EINVAL);
    cr_assert_eq(filch_task_defer(NULL, NULL), -EINVAL);
    cr_assert_eq(filch_local_new(NULL, NULL), -EINVAL);
    cr_assert_null(filch_local_get(NULL));
    filch_local_free(NULL);
}

/* Tasks that move between workers all the time keep their own values. */
static int mover(void *arg)
{
    T_OK(filch_local_set(&key_plain, arg));
    for (int i = 0; i < 200; i++) {
        filch_task_yield();
        T_CHECK(filch_local_get(&key_plain) == arg);
    }
    return 0;
}

static int movers_body(void *arg)
{
    FILCH_SCOPE(scope);

    (void)arg;
    for (intptr_t i = 1; i <= 500; i++)
        T_OK(filch_scope_spawn(&scope, mover, (void *)i));
    return filch_scope_join(&scope, FILCH_NEVER);
}

Test(local, values_go_with_the_task)
{
    cr_assert_eq(run_in_runtime(0, movers_body, NULL), 0);
}

/* Others may look at a task while it sets its first local. */
static int set_first_local(void *arg)
{
    for (int i = 0; i < 10; i++)
        filch_task_yield();
    T_OK(filch_local_set(&key_plain, arg));
    for (int i = 0; i < 10; i++)
        filch_task_yield();
    return 0;
}

static int watched_body(void *arg)
{
    filch_task_opts opts = {.name = "watched"};

    (void)arg;
    for (int i = 0; i < 200; i++) {
        filch_task *task;

        T_OK(filch_task_spawn(set_first_local, &opts, &opts, &task));
        while (!filch_task_is_finished(task)) {
            T_IS(strcmp(filch_task_name(task), "watched"), 0);
            filch_task_yield();
        }
        T_OK(join(task));
    }
    return 0;
}

static int watchers_body(void *arg)
{
    FILCH_SCOPE(scope);

    (void)arg;
    for (int i = 0; i < 4; i++)
        T_OK(filch_scope_spawn(&scope, watched_body, NULL));
    return filch_scope_join(&scope, FILCH_NEVER);
}

Test(local, task_is_watched_by_others_while_it_sets_one)
{
    cr_assert_eq(run_in_runtime(0, watchers_body, NULL), 0);
}

/* A million tasks, all cancelled: bodies, destructors and deferred calls run once each. With more
 * workers than CPUs nearly all have begun when they are cancelled, and their stacks are gigabytes:
 * there are fewer then. */
static int how_many(void)
{
#ifdef T_SANITIZED
    return 50000;
#else
    if (RUNNING_ON_VALGRIND)
        return 20000;
    return test_workers() <= 2 ? 1000000 : 100000;
#endif
}

struct million {
    atomic_int bodies, destroyed, deferred;
};

static void count_destroyed(void *value)
{
    atomic_fetch_add(&((struct million *)value)->destroyed, 1);
}

static void count_deferred(void *value)
{
    atomic_fetch_add(&((struct million *)value)->deferred, 1);
}

static filch_local million_key = FILCH_LOCAL_INIT(count_destroyed);

static int one_of_a_million(void *arg)
{
    struct million *million = arg;

    T_OK(filch_local_set(&million_key, million));
    T_OK(filch_task_defer(count_deferred, million));
    atomic_fetch_add(&million->bodies, 1);
    return filch_sleep(FILCH_NEVER);
}

static int million_body(void *arg)
{
    struct million million = {0};
    int many = how_many();
    FILCH_SCOPE(scope);

    (void)arg;
    for (int i = 0; i < many; i++)
        T_OK(filch_scope_spawn(&scope, one_of_a_million, &million));
    filch_scope_cancel_join(&scope);
    T_IS(million.bodies, many);
    T_IS(million.destroyed, many);
    T_IS(million.deferred, many);
    return 0;
}

enum { PARKED = 20000 };

static int parked_body(void *arg)
{
    struct million million = {0};
    FILCH_SCOPE(scope);

    (void)arg;
    for (int i = 0; i < PARKED; i++)
        T_OK(filch_scope_spawn(&scope, one_of_a_million, &million));
    T_WAIT_UNTIL(atomic_load(&million.bodies) == PARKED);
    T_IS(million.destroyed, 0);
    filch_scope_cancel_join(&scope);
    T_IS(million.destroyed, PARKED);
    T_IS(million.deferred, PARKED);
    return 0;
}

Test(local, cancelled_sleepers_each_end_once)
{
    cr_assert_eq(run_in_runtime(0, parked_body, NULL), 0);
}

static size_t resident_kb(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[128];
    size_t kb = 0;

    T_CHECK(file != NULL);
    while (fgets(line, sizeof line, file) && sscanf(line, "VmRSS: %zu", &kb) != 1)
        ;
    T_OK(fclose(file));
    T_CHECK(kb > 0);
    return kb;
}

/* Twice: control blocks of the first million stay in their pool, and are enough for the second. */
Test(local, memory_after_a_second_million_is_as_after_the_first)
{
    filch_runtime *rt = start_runtime(0);
    filch_time limit;
    size_t first, now;

#ifdef T_SANITIZED
    cr_skip_test("sanitizers hold freed memory back");
#endif
    if (RUNNING_ON_VALGRIND)
        cr_skip_test("Valgrind holds freed memory back");
    T_OK(filch_runtime_block_on(rt, million_body, NULL, NULL, FILCH_NEVER));
    first = resident_kb();
    T_OK(filch_runtime_block_on(rt, million_body, NULL, NULL, FILCH_NEVER));
    limit = T_LIMIT;
    while ((now = resident_kb()) > first + first / 10) /* stacks are given back after a while */
        T_CHECK(filch_now() < limit);
    stop_runtime(rt);
}

Test(local, million_cancelled_tasks_each_end_once)
{
    filch_runtime *rt = start_runtime(0);
    filch_stats stats;
    uint64_t many = (uint64_t)how_many();
    int result = -1;

    T_OK(filch_runtime_block_on(rt, million_body, NULL, &result, FILCH_NEVER));
    cr_assert_eq(result, 0);
    /* A task is counted after its joiner was woken. */
    T_WAIT_UNTIL(filch_runtime_stats(rt, &stats) == 0 && stats.tasks_finished >= many + 1);
    cr_assert_eq(stats.tasks_spawned, many + 1);
    cr_assert_eq(stats.tasks_finished, many + 1);
    stop_runtime(rt);
}
