/* Description: what <filch/time.h> promises: never early, cancel ends a sleep, ticks are not lost.
 */
#include <errno.h>
#include <time.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(time, .timeout = 60);

Test(time, now_is_the_monotonic_clock)
{
    struct timespec ts;
    filch_time before = filch_now();
    filch_time between;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    between = (filch_time)ts.tv_sec * FILCH_SECOND + (filch_time)ts.tv_nsec;
    cr_assert(before <= between && between <= filch_now());
}

Test(time, after_saturates)
{
    cr_assert_eq(filch_after(FILCH_NEVER), FILCH_NEVER);
    cr_assert_eq(filch_after(FILCH_NEVER - 5), FILCH_NEVER);
    cr_assert(filch_after(0) <= filch_now());
    cr_assert(filch_after(FILCH_SECOND) > filch_now());
}

static int never_early_body(void *arg)
{
    (void)arg;
    for (int i = 0; i < 10; i++) {
        filch_time until = filch_after((filch_time)i * 500 * FILCH_MICROSECOND + 1);

        T_OK(filch_sleep(until));
        T_CHECK(filch_now() >= until);
    }
    T_OK(filch_sleep(FILCH_NOW));
    T_OK(filch_sleep(1));
    T_OK(filch_sleep(filch_now()));
    return 0;
}

Test(time, sleep_is_never_early)
{
    cr_assert_eq(run_in_runtime(0, never_early_body, NULL), 0);
}

Test(time, plain_thread_sleeps_too)
{
    filch_time until = filch_after(3 * FILCH_MILLISECOND);

    cr_assert_eq(filch_sleep(until), 0);
    cr_assert(filch_now() >= until);
    cr_assert_eq(filch_sleep(FILCH_NOW), 0);
    cr_assert_eq(never_early_body(NULL), 0);
}

static int sleep_cancelled(void *arg)
{
    (void)arg;
    T_OK(filch_task_cancel(filch_task_self()));
    T_IS(filch_sleep(filch_after(3600 * FILCH_SECOND)), -ECANCELED);
    T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    return 0;
}

Test(time, cancelled_task_does_not_sleep)
{
    cr_assert_eq(run_in_runtime(0, sleep_cancelled, NULL), 0);
}

/* How many had their time before; each sleeps a different, shuffled span. */
struct sleeper {
    filch_time until;
    atomic_int *woken;
};

static int sleep_as_told(void *arg)
{
    struct sleeper *sleeper = arg;

    T_OK(filch_sleep(sleeper->until));
    T_CHECK(filch_now() >= sleeper->until);
    atomic_fetch_add(sleeper->woken, 1);
    return 0;
}

static int many_sleepers_body(void *arg)
{
    enum { N = 5000 };
    struct sleeper *sleeper = calloc(N, sizeof(*sleeper));
    filch_time start = filch_now();
    atomic_int woken = 0;
    filch_scope scope;

    (void)arg;
    T_CHECK(sleeper);
    filch_scope_init(&scope, 0);
    for (unsigned i = 0; i < N; i++) {
        sleeper[i].until = start + (filch_time)(i * 7919 % 300) * FILCH_MILLISECOND;
        sleeper[i].woken = &woken;
        T_OK(filch_scope_spawn(&scope, sleep_as_told, &sleeper[i]));
    }
    T_OK(filch_scope_join(&scope, T_LIMIT));
    T_IS(woken, N);
    free(sleeper);
    return 0;
}

Test(time, five_thousand_sleepers_all_wake_and_none_early)
{
    cr_assert_eq(run_in_runtime(0, many_sleepers_body, NULL), 0);
}

static int sleep_a_year(void *arg)
{
    (void)arg;
    return filch_sleep(filch_after(365 * 86400 * FILCH_SECOND));
}

static int year_body(void *arg)
{
    filch_task *task[100];

    (void)arg;
    for (int i = 0; i < 100; i++)
        task[i] = spawn(sleep_a_year, NULL);
    let_others_run();
    for (int i = 0; i < 100; i++)
        T_OK(filch_task_cancel(task[i]));
    for (int i = 0; i < 100; i++)
        T_IS(join(task[i]), -ECANCELED);
    return 0;
}

Test(time, sleep_of_a_year_can_be_cancelled)
{
    cr_assert_eq(run_in_runtime(0, year_body, NULL), 0);
}

static int interval_body(void *arg)
{
    filch_time period = 2 * FILCH_MILLISECOND;
    filch_interval interval;
    filch_time start = filch_now();

    (void)arg;
    T_OK(filch_interval_init(&interval, period));
    for (int i = 1; i <= 10; i++) {
        T_OK(filch_interval_tick(&interval, FILCH_NEVER));
        T_CHECK(filch_now() >= start + (filch_time)i * period);
    }
    return 0;
}

Test(time, interval_ticks_once_per_period)
{
    cr_assert_eq(run_in_runtime(0, interval_body, NULL), 0);
}

static int burst_body(void *arg)
{
    filch_interval interval;

    (void)arg;
    T_OK(filch_interval_init(&interval, FILCH_MILLISECOND));
    T_OK(filch_sleep(filch_after(20 * FILCH_MILLISECOND)));
    /* At least 20 were missed: all of them are there at once. */
    for (int i = 0; i < 20; i++)
        T_OK(filch_interval_tick(&interval, FILCH_NOW));
    return 0;
}

Test(time, missed_ticks_come_at_once)
{
    cr_assert_eq(run_in_runtime(0, burst_body, NULL), 0);
}

static int tick_errors_body(void *arg)
{
    filch_interval interval;
    filch_time start;

    (void)arg;
    T_IS(filch_interval_init(NULL, 1), -EINVAL);
    T_IS(filch_interval_init(&interval, 0), -EINVAL);
    T_IS(filch_interval_tick(NULL, FILCH_NOW), -EINVAL);

    start = filch_now();
    T_OK(filch_interval_init(&interval, 50 * FILCH_MILLISECOND));
    T_IS(filch_interval_tick(&interval, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_interval_tick(&interval, filch_after(2 * FILCH_MILLISECOND)), -ETIMEDOUT);
    /* The tick was not consumed: it comes at its own time. */
    T_OK(filch_interval_tick(&interval, FILCH_NEVER));
    T_CHECK(filch_now() >= start + 50 * FILCH_MILLISECOND);
    T_CHECK(interval.next >= start + 100 * FILCH_MILLISECOND);

    T_OK(filch_interval_init(&interval, 3600 * FILCH_SECOND));
    T_OK(filch_task_cancel(filch_task_self()));
    T_IS(filch_interval_tick(&interval, FILCH_NEVER), -ECANCELED);
    return 0;
}

Test(time, tick_reports_timeout_and_cancel_without_consuming)
{
    cr_assert_eq(run_in_runtime(0, tick_errors_body, NULL), 0);
}
