/* Description: what <filch/tracker.h> promises: waits end when it is closed and nothing is tracked;
 * nothing is kept of those that have ended. */
#include <errno.h>
#include <pthread.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(tracker, .timeout = 60);

static int yield_some(void *arg)
{
    for (int i = 0; i < 5; i++)
        filch_task_yield();
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

static int until_cancelled(void *arg)
{
    T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

static int wait_body(void *arg)
{
    filch_tracker *tracker;
    atomic_int ran = 0;

    (void)arg;
    T_OK(filch_tracker_new(&tracker));
    T_CHECK(!filch_tracker_is_closed(tracker));
    T_IS(filch_tracker_wait(tracker, FILCH_NOW), -ETIMEDOUT); /* empty, but open */
    for (int i = 0; i < 10000; i++)
        T_OK(filch_tracker_spawn(tracker, yield_some, &ran, NULL));
    T_OK(filch_tracker_close(tracker));
    T_IS(filch_tracker_close(tracker), -EALREADY);
    T_CHECK(filch_tracker_is_closed(tracker));
    T_OK(filch_tracker_wait(tracker, FILCH_NEVER));
    T_IS(ran, 10000);
    T_IS(filch_tracker_count(tracker), 0);
    /* Closed ones take others, and are waited for again. */
    T_OK(filch_tracker_spawn(tracker, until_cancelled, &ran, NULL));
    T_IS(filch_tracker_count(tracker), 1);
    T_IS(filch_tracker_wait(tracker, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_OK(filch_token_cancel(filch_tracker_token(tracker), -EIO, NULL));
    T_OK(filch_tracker_wait(tracker, FILCH_NEVER));
    T_IS(ran, 10001);
    T_OK(filch_tracker_reopen(tracker));
    T_IS(filch_tracker_reopen(tracker), -EALREADY);
    T_IS(filch_tracker_wait(tracker, FILCH_NOW), -ETIMEDOUT);
    filch_tracker_unref(tracker);
    return 0;
}

Test(tracker, wait_ends_when_closed_and_empty)
{
    cr_assert_eq(run_in_runtime(0, wait_body, NULL), 0);
}

static atomic_int deferred;

static void count_deferred(void *arg)
{
    (void)arg;
    filch_task_yield();
    atomic_fetch_add(&deferred, 1);
}

static int defer_one(void *arg)
{
    (void)arg;
    return filch_task_defer(count_deferred, NULL);
}

static int deferred_body(void *arg)
{
    filch_tracker *tracker;

    (void)arg;
    T_OK(filch_tracker_new(&tracker));
    for (int i = 0; i < 100; i++)
        T_OK(filch_tracker_spawn(tracker, defer_one, NULL, NULL));
    T_OK(filch_tracker_close(tracker));
    T_OK(filch_tracker_wait(tracker, FILCH_NEVER));
    T_IS(deferred, 100);
    filch_tracker_unref(tracker);
    return 0;
}

Test(tracker, what_a_task_has_deferred_is_part_of_it)
{
    cr_assert_eq(run_in_runtime(0, deferred_body, NULL), 0);
}

static int sum_copy(void *arg)
{
    T_IS(*(int *)arg, 5);
    T_CHECK(strcmp(filch_task_name(NULL), "tracked") == 0);
    return 0;
}

static int opts_body(void *arg)
{
    filch_task_opts opts = {.name = "tracked", .copy_bytes = sizeof(int)};
    filch_tracker *tracker;
    filch_token *token;
    atomic_int ended = 0;
    int five = 5;

    (void)arg;
    T_OK(filch_token_new(&token));
    T_OK(filch_tracker_new(&tracker));
    T_OK(filch_tracker_spawn(tracker, sum_copy, &five, &opts));
    T_OK(filch_tracker_spawn(tracker, until_cancelled, &ended, &(filch_task_opts){.token = token}));
    T_IS(filch_tracker_spawn(tracker, sum_copy, &five, &(filch_task_opts){.stack_bytes = SIZE_MAX}),
         -EINVAL);
    five = 6;
    /* A token of its own replaces the tracker's. */
    T_OK(filch_token_cancel(filch_tracker_token(tracker), -EIO, NULL));
    T_OK(filch_tracker_close(tracker));
    T_IS(filch_tracker_wait(tracker, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(ended, 0);
    T_OK(filch_token_cancel(token, -EIO, NULL));
    T_OK(filch_tracker_wait(tracker, FILCH_NEVER));
    filch_tracker_unref(tracker);
    filch_token_unref(token);
    return 0;
}

Test(tracker, tasks_have_options)
{
    cr_assert_eq(run_in_runtime(0, opts_body, NULL), 0);
}

static void *waiting_thread(void *arg)
{
    T_OK(filch_tracker_wait(arg, T_LIMIT));
    filch_tracker_unref(arg);
    return NULL;
}

static int waiting_task(void *arg)
{
    return filch_tracker_wait(arg, FILCH_NEVER);
}

/* Wins by the tracker, not by the token. */
static int selecting_task(void *arg)
{
    return FILCH_SELECT(T_LIMIT, filch_case_token(filch_tracker_token(arg)),
                        filch_case_tracker(arg));
}

static int selects_body(void *arg)
{
    filch_tracker *tracker;
    filch_task *selecting, *other;

    (void)arg;
    T_OK(filch_tracker_new(&tracker));
    T_OK(filch_tracker_enter(tracker));
    T_OK(filch_tracker_close(tracker));
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_tracker(tracker)), -ETIMEDOUT);
    T_IS(FILCH_SELECT(filch_after(FILCH_MILLISECOND), filch_case_tracker(tracker)), -ETIMEDOUT);
    selecting = spawn(selecting_task, tracker);
    other = spawn(waiting_task, tracker);
    let_others_run();
    T_CHECK(!filch_task_is_finished(selecting));
    T_OK(filch_tracker_leave(tracker));
    T_IS(join(selecting), 1);
    T_OK(join(other));
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_tracker(tracker)), 0);
    /* One that another case wins leaves nothing behind. */
    T_OK(filch_tracker_enter(tracker));
    selecting = spawn(selecting_task, tracker);
    let_others_run();
    T_OK(filch_token_cancel(filch_tracker_token(tracker), -ECANCELED, NULL));
    T_IS(join(selecting), 0);
    T_OK(filch_tracker_leave(tracker));
    filch_tracker_unref(tracker);
    return 0;
}

Test(tracker, the_wait_is_a_case_of_a_select)
{
    cr_assert_eq(run_in_runtime(0, selects_body, NULL), 0);
}

static int waiters_body(void *arg)
{
    filch_tracker *tracker;
    filch_task *waiting, *cancelled;
    pthread_t thread;
    int result = 0;

    (void)arg;
    T_OK(filch_tracker_new(&tracker));
    T_OK(filch_tracker_enter(tracker));
    T_OK(filch_tracker_close(tracker));
    T_OK(pthread_create(&thread, NULL, waiting_thread, filch_tracker_ref(tracker)));
    waiting = spawn(waiting_task, tracker);
    cancelled = spawn(waiting_task, tracker);
    T_OK(filch_task_cancel(cancelled));
    T_OK(filch_task_join(cancelled, &result, FILCH_NEVER));
    T_IS(result, -ECANCELED);
    T_CHECK(!filch_task_is_finished(waiting));
    T_OK(filch_tracker_leave(tracker));
    T_IS(filch_tracker_leave(tracker), -EINVAL);
    T_OK(join(waiting));
    T_OK(pthread_join(thread, NULL));
    filch_tracker_unref(tracker);
    return 0;
}

Test(tracker, threads_and_tasks_wait_and_a_cancel_ends_a_wait)
{
    cr_assert_eq(run_in_runtime(0, waiters_body, NULL), 0);
}

static int outlive_body(void *arg)
{
    filch_tracker *tracker;

    T_OK(filch_tracker_new(&tracker));
    for (int i = 0; i < 100; i++)
        T_OK(filch_tracker_spawn(tracker, yield_some, arg, NULL));
    filch_tracker_unref(tracker);
    return 0;
}

Test(tracker, tasks_may_outlive_the_last_reference)
{
    static atomic_int ran;

    atomic_store(&ran, 0);
    cr_assert_eq(run_in_runtime(0, outlive_body, &ran), 0);
    cr_assert_eq(ran, 100);
}

Test(tracker, plain_threads_may_enter_but_not_spawn)
{
    filch_tracker *tracker;

    T_OK(filch_tracker_new(&tracker));
    T_IS(filch_tracker_spawn(tracker, yield_some, NULL, NULL), -EPERM);
    T_OK(filch_tracker_enter(tracker));
    T_IS(filch_tracker_count(tracker), 1);
    T_OK(filch_tracker_close(tracker));
    T_IS(filch_tracker_wait(tracker, FILCH_NOW), -ETIMEDOUT);
    T_OK(filch_tracker_leave(tracker));
    T_OK(filch_tracker_wait(tracker, FILCH_NOW));
    filch_tracker_unref(tracker);
}

Test(tracker, plain_threads_spawn_into_a_runtime)
{
    filch_runtime *rt = start_runtime(0);
    filch_tracker *tracker;
    atomic_int ran = 0;

    T_OK(filch_tracker_new(&tracker));
    for (int i = 0; i < 100; i++)
        T_OK(filch_tracker_spawn_on(tracker, rt, yield_some, &ran, NULL));
    T_OK(filch_tracker_spawn_on(tracker, rt, until_cancelled, &ran, NULL));
    T_OK(filch_tracker_close(tracker));
    T_OK(filch_token_cancel(filch_tracker_token(tracker), -ECANCELED, NULL));
    T_OK(filch_tracker_wait(tracker, T_LIMIT));
    T_IS(atomic_load(&ran), 101);
    stop_runtime(rt);
    T_IS(filch_tracker_spawn_on(tracker, rt, yield_some, &ran, NULL), -ESHUTDOWN);
    T_OK(filch_tracker_wait(tracker, FILCH_NOW));
    filch_tracker_unref(tracker);
}

/* ---- blocking jobs ---- */

static void leave_late(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1000);
}

static int blocks(void *arg)
{
    T_OK(filch_task_defer(leave_late, arg));
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

static int blocks_until_cancelled(void *arg)
{
    while (!filch_task_is_cancelled())
        sched_yield();
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

static int blocking_body(void *arg)
{
    filch_tracker *tracker;
    atomic_int ran = 0;
    int copied = 5;

    (void)arg;
    T_OK(filch_tracker_new(&tracker));
    for (int i = 0; i < 20; i++)
        T_OK(filch_tracker_spawn_blocking(tracker, blocks, &ran, NULL));
    T_OK(filch_tracker_spawn_blocking(tracker, blocks_until_cancelled, &ran, NULL));
    /* What is refused is not tracked. */
    T_IS(filch_tracker_spawn_blocking(tracker, blocks, &copied,
                                      &(filch_task_opts){.blocking_class = (void *)tracker}),
         -EINVAL);
    T_OK(filch_tracker_close(tracker));
    T_IS(filch_tracker_wait(tracker, FILCH_NOW), -ETIMEDOUT);
    T_OK(filch_token_cancel(filch_tracker_token(tracker), -ECANCELED, NULL));
    T_OK(filch_tracker_wait(tracker, T_LIMIT));
    T_IS(atomic_load(&ran), 20 * 1001 + 1); /* with what they have deferred */
    T_IS(filch_tracker_count(tracker), 0);
    filch_tracker_unref(tracker);
    return 0;
}

Test(tracker, blocking_jobs_are_tracked_too)
{
    filch_tracker *tracker;

    cr_assert_eq(run_in_runtime(0, blocking_body, NULL), 0);
    T_OK(filch_tracker_new(&tracker));
    T_IS(filch_tracker_spawn_blocking(tracker, blocks, NULL, NULL), -EPERM);
    filch_tracker_unref(tracker);
}
