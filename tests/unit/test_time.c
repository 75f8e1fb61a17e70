/* Description: what <filch/time.h> promises: never early, cancel ends a sleep, ticks are not lost.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "runtime/time/interval.h"
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

#define MS FILCH_MILLISECOND

/* Due at 100, the period 10: what the three policies make of each lateness (Tokio's figures). */
Test(time, missed_policies_are_those_of_tokio)
{
    static const struct {
        filch_time now, burst, delay, skip; /* ms */
    } row[] = {
        {100, 110, 110, 110}, /* in time */
        {105, 110, 110, 110}, /* within the tolerance */
        {106, 110, 116, 110}, /* late, in the same period */
        {110, 110, 120, 120}, /* a tick was due at this moment: it is one of the missed */
        {125, 110, 135, 130}, {200, 110, 210, 210}, {1003, 110, 1013, 1010},
    };

    for (size_t i = 0; i < sizeof(row) / sizeof(*row); i++) {
        filch_time now = row[i].now * MS;

        cr_assert_eq(filch__interval_next(FILCH_MISSED_BURST, 100 * MS, now, 10 * MS),
                     row[i].burst * MS, "row %zu", i);
        cr_assert_eq(filch__interval_next(FILCH_MISSED_DELAY, 100 * MS, now, 10 * MS),
                     row[i].delay * MS, "row %zu", i);
        cr_assert_eq(filch__interval_next(FILCH_MISSED_SKIP, 100 * MS, now, 10 * MS),
                     row[i].skip * MS, "row %zu", i);
    }
    /* Times that cannot be represented are never reached. */
    for (int missed = FILCH_MISSED_BURST; missed <= (int)FILCH_MISSED_SKIP; missed++) {
        cr_assert_eq(filch__interval_next((enum filch_missed)missed, 1, 2, FILCH_NEVER),
                     FILCH_NEVER);
        cr_assert_geq(filch__interval_next((enum filch_missed)missed, 1, 3600 * FILCH_SECOND,
                                           FILCH_NEVER - 5),
                      FILCH_NEVER - 4);
    }
}

static int policies_body(void *arg)
{
    filch_interval interval;
    filch_time before;

    (void)arg;
    T_OK(filch_interval_init(&interval, 2 * MS));
    T_OK(filch_interval_set_missed(&interval, FILCH_MISSED_DELAY));
    T_OK(filch_sleep(filch_after(20 * MS)));
    before = filch_now();
    T_OK(filch_interval_tick(&interval, FILCH_NOW));
    T_OK(filch_interval_tick(&interval, FILCH_NEVER));
    T_CHECK(filch_now() >= before + 2 * MS);

    T_OK(filch_interval_init(&interval, 2 * MS));
    T_OK(filch_interval_set_missed(&interval, FILCH_MISSED_SKIP));
    before = interval.next;
    T_OK(filch_sleep(filch_after(20 * MS)));
    T_OK(filch_interval_tick(&interval, FILCH_NOW));
    T_IS((interval.next - before) % (2 * MS), 0);
    T_CHECK(interval.next >= before + 18 * MS);
    return 0;
}

Test(time, delay_and_skip_do_not_catch_up)
{
    cr_assert_eq(run_in_runtime(0, policies_body, NULL), 0);
}

static int reset_body(void *arg)
{
    filch_interval interval = {0};
    filch_time before;

    (void)arg;
    T_IS(filch_interval_tick(&interval, FILCH_NOW), -EINVAL);
    T_OK(filch_interval_init(&interval, 3600 * FILCH_SECOND));
    T_IS(filch_interval_set_missed(&interval, (enum filch_missed)3), -EINVAL);
    T_IS(filch_interval_set_missed(NULL, FILCH_MISSED_SKIP), -EINVAL);
    T_IS(filch_interval_reset(NULL, FILCH_NOW), -EINVAL);
    T_OK(filch_interval_reset(&interval, FILCH_NOW));
    before = filch_now();
    T_OK(filch_interval_tick(&interval, FILCH_NOW));
    T_CHECK(interval.next >=
            before + 3600 * FILCH_SECOND); /* no burst since the beginning of time */
    T_OK(filch_interval_reset(&interval, before + 3 * MS));
    T_OK(filch_interval_tick(&interval, FILCH_NEVER));
    T_CHECK(filch_now() >= before + 3 * MS);
    T_OK(filch_interval_reset(&interval, FILCH_NEVER));
    T_IS(filch_interval_tick(&interval, filch_after(MS)), -ETIMEDOUT);
    T_OK(filch_interval_init(&interval, FILCH_NEVER));
    T_IS(filch_interval_tick(&interval, filch_after(MS)), -ETIMEDOUT);
    return 0;
}

Test(time, reset_says_when_the_next_tick_comes)
{
    cr_assert_eq(run_in_runtime(0, reset_body, NULL), 0);
}

static int compare_times(const void *a, const void *b)
{
    filch_time x = *(const filch_time *)a;
    filch_time y = *(const filch_time *)b;

    return (x > y) - (x < y);
}

/* How late sleeps of one span are; the limit is that of a loaded machine, the figure is printed. */
static void measure_lateness(filch_time span)
{
    enum { N = 31 };
    filch_time late[N];

    for (int i = 0; i < N; i++) {
        filch_time until = filch_after(span);

        T_OK(filch_sleep(until));
        late[i] = filch_now() - until;
        T_CHECK(filch_now() >= until);
    }
    qsort(late, N, sizeof(late[0]), compare_times);
    printf("a sleep of %lu us is %lu us late (median of %d; the worst: %lu us)\n",
           (unsigned long)(span / 1000), (unsigned long)(late[N / 2] / 1000), N,
           (unsigned long)(late[N - 1] / 1000));
    T_CHECK(late[N / 2] < 20 * MS);
}

static int lateness_body(void *arg)
{
    (void)arg;
    measure_lateness(1);
    measure_lateness(50 * FILCH_MICROSECOND);
    measure_lateness(200 * FILCH_MICROSECOND);
    measure_lateness(MS);
    measure_lateness(5 * MS);
    return 0;
}

Test(time, short_sleeps_are_over_soon_after_their_time)
{
    cr_assert_eq(run_in_runtime(0, lateness_body, NULL), 0);
}

/* A worker that waits for a time that no clock reaches must not look all the time. */
static int sleep_for_ages(void *arg)
{
    return filch_sleep(*(const filch_time *)arg);
}

static int ages_body(void *arg)
{
    static const filch_time ages[] = {
        FILCH_NEVER,           FILCH_NEVER - 1,       (filch_time)-5 * FILCH_SECOND,
        (filch_time)1 << 63,   (filch_time)1 << 62,   ((filch_time)1 << 62) + 1,
        ((filch_time)1 << 60), ((filch_time)1 << 56),
    };
    filch_task *task[sizeof(ages) / sizeof(*ages)];
    filch_stats before, after;

    (void)arg;
    for (size_t i = 0; i < sizeof(ages) / sizeof(*ages); i++) {
        task[i] = spawn(sleep_for_ages, (void *)(uintptr_t)&ages[i]);
        T_OK(filch_runtime_stats(filch_runtime_self(), &before));
        T_OK(filch_sleep(filch_after(30 * MS)));
        T_OK(filch_runtime_stats(filch_runtime_self(), &after));
        T_CHECK(after.parks - before.parks < 50);
        T_CHECK(!filch_task_is_finished(task[i]));
    }
    for (size_t i = 0; i < sizeof(ages) / sizeof(*ages); i++) {
        T_OK(filch_task_cancel(task[i]));
        T_IS(join(task[i]), -ECANCELED);
    }
    return 0;
}

Test(time, ages_are_slept_not_polled)
{
    cr_assert_eq(run_in_runtime(1, ages_body, NULL), 0);
}

Test(time, after_saturates_at_the_end_of_time)
{
    filch_time now = filch_now();

    cr_assert_eq(filch_after(FILCH_NEVER - now), FILCH_NEVER); /* time went on meanwhile */
    cr_assert_eq(filch_after(36500 * (86400 * FILCH_SECOND)) / FILCH_SECOND / 86400 / 36500, 1);
}

/* ---- timers that are set anew and taken back in the poll that their like has caused ---- */

enum { NAPPERS = 200, ROUNDS = 50 };

struct napper {
    filch_future base;
    filch_sleep_future nap, other;
    bool begun, other_fired;
    unsigned rounds, early;
    filch_time until;
};

static void nap_again(struct napper *napper)
{
    /* Most of them at the same tick as their neighbours. */
    napper->until = filch_after(FILCH_MILLISECOND) / FILCH_MILLISECOND * FILCH_MILLISECOND;
    napper->other_fired = false;
    filch_sleep_future_init(&napper->nap, napper->until);
    filch_sleep_future_init(&napper->other,
                            napper->until + napper->rounds % 2 * 3600 * FILCH_SECOND);
}

static filch_poll napper_poll(filch_future *self, filch_cx *cx)
{
    struct napper *napper = (struct napper *)self;

    if (!napper->begun) {
        napper->begun = true;
        nap_again(napper);
    }
    for (;;) {
        if (napper->nap.base.poll(&napper->nap.base, cx) == FILCH_PENDING) {
            if (!napper->other_fired)
                napper->other_fired =
                    napper->other.base.poll(&napper->other.base, cx) == FILCH_READY;
            return FILCH_PENDING;
        }
        napper->early += filch_now() < napper->until;
        if (!napper->other_fired) /* armed, or about to fire */
            napper->other.base.drop(&napper->other.base);
        if (++napper->rounds == ROUNDS)
            return FILCH_READY;
        nap_again(napper);
    }
}

static int nappers_body(void *arg)
{
    static struct napper nappers[NAPPERS];
    filch_task *task[NAPPERS];

    (void)arg;
    memset(nappers, 0, sizeof nappers);
    for (int i = 0; i < NAPPERS; i++) {
        nappers[i].base.poll = napper_poll;
        T_OK(filch_future_spawn(&nappers[i].base, NULL, &task[i]));
    }
    for (int i = 0; i < NAPPERS; i++) {
        T_OK(join(task[i]));
        T_IS(nappers[i].rounds, ROUNDS);
        T_IS(nappers[i].early, 0);
    }
    return 0;
}

Test(time, timers_set_and_taken_back_in_a_poll_fire_once_each)
{
    cr_assert_eq(run_in_runtime(0, nappers_body, NULL), 0);
}
