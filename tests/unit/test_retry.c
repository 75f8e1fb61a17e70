/* Description: what <filch/retry.h> promises: pauses as computed, at most so many calls, and an end
 * by time or cancel. */
#include <errno.h>
#include <math.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(retry, .timeout = 60);

#define MS FILCH_MILLISECOND

Test(retry, delays_grow_up_to_a_maximum)
{
    filch_retry_policy p = {.first_delay_ns = 10 * MS, .max_delay_ns = 100 * MS, .no_jitter = true};

    T_IS(filch_retry_delay(&p, 1, 0), 10 * MS);
    T_IS(filch_retry_delay(&p, 0, 0), 10 * MS);
    T_IS(filch_retry_delay(&p, 2, 0), 20 * MS);
    T_IS(filch_retry_delay(&p, 4, 0), 80 * MS);
    T_IS(filch_retry_delay(&p, 5, 0), 100 * MS);
    T_IS(filch_retry_delay(&p, UINT32_MAX, 0), 100 * MS);
    p.factor = 1.5;
    T_IS(filch_retry_delay(&p, 3, 0), 22500000);
    p.factor = 0.5;
    T_IS(filch_retry_delay(&p, 9, 0), 10 * MS);
    p.factor = NAN;
    T_IS(filch_retry_delay(&p, 9, 0), 10 * MS);
    p.factor = INFINITY;
    T_IS(filch_retry_delay(&p, 1, 0), 10 * MS);
    T_IS(filch_retry_delay(&p, 2, 0), 100 * MS);
    p = (filch_retry_policy){.no_jitter = true, .max_delay_ns = FILCH_NEVER};
    T_IS(filch_retry_delay(&p, 1, 0), 10 * MS);
    T_CHECK(filch_retry_delay(&p, 4000, 0) == FILCH_NEVER);
    T_IS(filch_retry_delay(&(filch_retry_policy){.no_jitter = true}, 40, 0), 10 * FILCH_SECOND);
    p.first_delay_ns = 2 * FILCH_SECOND;
    p.max_delay_ns = FILCH_SECOND;
    T_IS(filch_retry_delay(&p, 1, 0), FILCH_SECOND);
}

Test(retry, jitter_is_even_over_the_whole_range)
{
    T_IS(filch_retry_delay(NULL, 1, 0), 0);
    T_IS(filch_retry_delay(NULL, 1, UINT64_MAX), 10 * MS);
    T_IS(filch_retry_delay(NULL, 1, UINT64_MAX / 2 + 1), 5 * MS);
    T_IS(filch_retry_delay(NULL, 2, UINT64_MAX / 4 + 1), 5 * MS);
}

struct act {
    int fail;  /* so many times */
    int error; /* with this */
    int calls;
    bool sleeps;
};

static int play(void *arg)
{
    struct act *act = arg;

    act->calls++;
    if (act->sleeps)
        return filch_sleep(FILCH_NEVER);
    return act->calls <= act->fail ? act->error : 7;
}

static const filch_retry_policy fast = {.first_delay_ns = 1, .max_delay_ns = 1000, .attempts = 10};

static bool only_eio(int error, void *arg)
{
    ++*(int *)arg;
    return error == -EIO;
}

static int retry_body(void *arg)
{
    struct act act = {.fail = 4, .error = -EIO};
    filch_retry_policy policy = fast;
    filch_retry_report report;
    int asked = 0;

    (void)arg;
    T_IS(filch_retry(play, &act, &fast, &report, FILCH_NEVER), 7);
    T_IS(report.attempts, 5);
    T_IS(report.last_result, 7);
    act = (struct act){.fail = 100, .error = -EIO};
    T_IS(filch_retry(play, &act, &fast, &report, T_LIMIT), -EIO);
    T_IS(report.attempts, 10);
    T_IS(act.calls, 10);
    T_IS(report.last_result, -EIO);
    policy.is_retried = only_eio;
    policy.arg = &asked;
    act = (struct act){.fail = 3, .error = -EIO};
    T_IS(filch_retry(play, &act, &policy, NULL, FILCH_NEVER), 7);
    T_IS(asked, 3);
    act = (struct act){.fail = 3, .error = -EPROTO};
    T_IS(filch_retry(play, &act, &policy, &report, FILCH_NEVER), -EPROTO);
    T_IS(report.attempts, 1);
    T_IS(report.paused_ns, 0);
    return 0;
}

Test(retry, calls_until_success_or_the_last_attempt)
{
    cr_assert_eq(run_in_runtime(0, retry_body, NULL), 0);
}

Test(retry, works_in_plain_threads_without_a_time_for_each_attempt)
{
    filch_retry_policy policy = fast;
    struct act act = {.fail = 4, .error = -EIO};

    T_OK(retry_body(NULL));
    policy.attempt_ns = FILCH_SECOND;
    T_IS(filch_retry(play, &act, &policy, NULL, FILCH_NEVER), -EPERM);
    T_IS(act.calls, 0);
}

static int time_body(void *arg)
{
    filch_retry_policy policy = {.first_delay_ns = FILCH_SECOND, .no_jitter = true};
    struct act act = {.fail = 100, .error = -EIO};
    filch_retry_report report;

    (void)arg;
    /* A pause that would end too late is not begun. */
    T_IS(filch_retry(play, &act, &policy, &report, filch_after(FILCH_SECOND / 2)), -EIO);
    T_IS(report.attempts, 1);
    T_IS(report.paused_ns, 0);
    act.calls = 0;
    T_IS(filch_retry(play, &act, &policy, NULL, FILCH_NOW), -ETIMEDOUT);
    T_IS(act.calls, 1);
    /* Each attempt has its time. */
    policy = fast;
    policy.attempts = 3;
    policy.attempt_ns = FILCH_MILLISECOND;
    act = (struct act){.sleeps = true};
    T_IS(filch_retry(play, &act, &policy, &report, FILCH_NEVER), -ETIMEDOUT);
    T_IS(report.attempts, 3);
    T_IS(report.last_result, -ETIMEDOUT);
    /* And all of them. */
    act = (struct act){.sleeps = true};
    T_IS(filch_retry(play, &act, &fast, &report, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(report.attempts, 1);
    T_CHECK(!filch_task_is_cancelled());
    return 0;
}

Test(retry, ends_in_time)
{
    cr_assert_eq(run_in_runtime(0, time_body, NULL), 0);
}

static int seeds_body(void *arg)
{
    filch_retry_policy policy = {.first_delay_ns = 1000, .max_delay_ns = 5000, .attempts = 6};
    filch_retry_report first, again, other;
    struct act act = {.fail = 100, .error = -EIO};

    (void)arg;
    policy.seed = 1;
    T_IS(filch_retry(play, &act, &policy, &first, FILCH_NEVER), -EIO);
    T_IS(filch_retry(play, &act, &policy, &again, FILCH_NEVER), -EIO);
    policy.seed = 2;
    T_IS(filch_retry(play, &act, &policy, &other, FILCH_NEVER), -EIO);
    T_IS(first.paused_ns, again.paused_ns);
    T_CHECK(first.paused_ns != other.paused_ns);
    policy.no_jitter = true;
    T_IS(filch_retry(play, &act, &policy, &other, FILCH_NEVER), -EIO);
    T_IS(other.paused_ns, 1000 + 2000 + 4000 + 5000 + 5000);
    return 0;
}

Test(retry, the_same_seed_gives_the_same_pauses)
{
    cr_assert_eq(run_in_runtime(0, seeds_body, NULL), 0);
}

static atomic_int paused;

static bool say_paused(int error, void *arg)
{
    (void)error;
    (void)arg;
    atomic_store(&paused, 1);
    return true;
}

static int retry_for_ever(void *arg)
{
    filch_retry_policy policy = {.first_delay_ns = 3600 * FILCH_SECOND,
                                 .max_delay_ns = 3600 * FILCH_SECOND,
                                 .no_jitter = true,
                                 .is_retried = say_paused};
    filch_retry_report report;

    T_IS(filch_retry(play, arg, &policy, &report, FILCH_NEVER), -ECANCELED);
    T_IS(report.attempts, 1);
    T_IS(report.last_result, arg && ((struct act *)arg)->sleeps ? -ECANCELED : -EIO);
    return 0;
}

static int cancel_body(void *arg)
{
    struct act act = {.fail = 100, .error = -EIO};
    filch_task *task = spawn(retry_for_ever, &act);

    (void)arg;
    T_WAIT_UNTIL(paused);
    T_OK(filch_task_cancel(task));
    T_OK(join(task));
    act = (struct act){.sleeps = true};
    task = spawn(retry_for_ever, &act);
    T_OK(filch_task_cancel(task)); /* before it starts: it is called once */
    T_OK(join(task));
    T_IS(act.calls, 1);
    return 0;
}

Test(retry, a_cancel_ends_it)
{
    cr_assert_eq(run_in_runtime(0, cancel_body, NULL), 0);
}
