/* Description: what <filch/join.h> promises: several calls at once, with one decision; the others
 * are cancelled and have ended when the function returns. */
#include <errno.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(join, .timeout = 60);

/* What a call does, and what became of it. */
struct act {
    int result;       /* what it returns */
    bool sleeps;      /* until it is cancelled, then returns what the sleep does */
    bool stubborn;    /* sleeps, and succeeds in spite of the cancel */
    unsigned yields;  /* before it returns */
    atomic_int *gate; /* waits until this is not 0, whether cancelled or not */
    atomic_int began;
    atomic_int ended;
    int cause; /* as it saw it */
};

static int play(void *arg)
{
    struct act *act = arg;
    int r = act->result;

    atomic_fetch_add(&act->began, 1);
    for (unsigned i = 0; i < act->yields; i++)
        filch_task_yield();
    if (act->gate)
        T_WAIT_UNTIL(atomic_load(act->gate));
    if (act->sleeps || act->stubborn) {
        r = filch_sleep(FILCH_NEVER);
        act->cause = filch_cancel_cause();
        if (act->stubborn) {
            for (unsigned i = 0; i < 100; i++)
                filch_task_yield();
            r = act->result;
        }
    }
    atomic_fetch_add(&act->ended, 1);
    return r;
}

/* Whoever began has ended. */
static void check_ended(struct act *acts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        T_IS(acts[i].ended, acts[i].began);
}

#define N 8

static void fill(filch_call *calls, struct act *acts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        calls[i] = (filch_call){play, &acts[i]};
}

/* Waits until all calls sleep, more or less, then cancels the task. */
static int cancel_when_begun(void *arg)
{
    struct act *acts = arg;

    for (size_t i = 0; i < N; i++)
        T_WAIT_UNTIL(acts[i].began);
    return 0;
}

/* ---- try_join ---- */

static int all_succeed(void *arg)
{
    struct act acts[N] = {{.result = 0}};
    int results[N];
    filch_call calls[N];
    size_t failed = 99;

    (void)arg;
    fill(calls, acts, N);
    for (int i = 0; i < N; i++) {
        acts[i].result = i * i;
        acts[i].yields = (unsigned)(N - i);
    }
    T_OK(filch_try_join(calls, N, results, &failed, FILCH_NEVER));
    for (int i = 0; i < N; i++)
        T_IS(results[i], i * i);
    check_ended(acts, N);
    T_IS(failed, 99);
    T_OK(filch_try_join(calls, N, NULL, NULL, T_LIMIT));
    T_OK(filch_try_join(NULL, 0, NULL, NULL, FILCH_NEVER));
    T_OK(FILCH_TRY_JOIN({play, &acts[0]}, {play, &acts[1]}));
    T_IS(acts[0].ended, 3);
    T_OK(FILCH_TRY_JOIN({play, &acts[0]}, {play, &acts[1]}, {play, &acts[2]}, {play, &acts[3]},
                        {play, &acts[4]}, {play, &acts[5]}, {play, &acts[6]}, {play, &acts[7]}));
    T_IS(acts[7].ended, 3);
    T_OK(FILCH_TRY_JOIN_UNTIL(T_LIMIT, {play, &acts[7]}));
    return 0;
}

Test(join, try_join_runs_all_and_gives_their_results)
{
    cr_assert_eq(run_in_runtime(0, all_succeed, NULL), 0);
}

static int one_fails(void *arg)
{
    for (size_t bad = 0; bad < N; bad++) {
        struct act acts[N] = {{.result = 0}};
        filch_call calls[N];
        int results[N];
        size_t failed = 99;

        fill(calls, acts, N);
        for (size_t i = 0; i < N; i++)
            acts[i].sleeps = i != bad;
        acts[bad].result = -EIO;
        acts[(bad + 1) % N].sleeps = false;
        acts[(bad + 1) % N].stubborn = true;
        acts[(bad + 1) % N].result = 7;
        T_IS(filch_try_join(calls, N, results, &failed, FILCH_NEVER), -EIO);
        T_IS(failed, bad);
        for (size_t i = 0; i < N; i++) {
            T_IS(acts[i].ended, acts[i].began);
            if (i == bad)
                T_IS(results[i], -EIO);
            else if (acts[i].began && acts[i].stubborn)
                T_IS(results[i], 7);
            else
                T_IS(results[i], -ECANCELED);
            if (i != bad && acts[i].began)
                T_IS(acts[i].cause, -EIO);
        }
    }
    (void)arg;
    return 0;
}

Test(join, the_first_error_cancels_the_others_and_all_have_ended)
{
    cr_assert_eq(run_in_runtime(0, one_fails, NULL), 0);
}

static int no_time(void *arg)
{
    struct act acts[2] = {{.sleeps = true}, {.result = 3}};
    filch_call calls[2];
    int results[2];
    size_t failed = 99;

    (void)arg;
    fill(calls, acts, 2);
    T_IS(filch_try_join(calls, 2, results, &failed, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(failed, 99);
    T_IS(results[0], -ECANCELED);
    T_IS(acts[0].cause, -ETIMEDOUT);
    check_ended(acts, 2);
    T_IS(FILCH_TRY_JOIN_UNTIL(FILCH_NOW, {play, &acts[0]}), -ETIMEDOUT);
    check_ended(acts, 2);
    return 0;
}

Test(join, a_time_cancels_all)
{
    cr_assert_eq(run_in_runtime(0, no_time, NULL), 0);
}

struct cancelled {
    struct act acts[N];
    int (*call)(struct act *acts);
    int want;
};

static int be_cancelled(void *arg)
{
    struct cancelled *c = arg;

    T_IS(c->call(c->acts), c->want);
    check_ended(c->acts, N);
    return 0;
}

static int cancel_body(void *arg)
{
    struct cancelled *c = arg;
    filch_task *task = spawn(be_cancelled, c);

    T_OK(cancel_when_begun(c->acts));
    T_OK(filch_task_cancel(task));
    return join(task);
}

static int try_join_all_acts(struct act *acts)
{
    filch_call calls[N];

    fill(calls, acts, N);
    return filch_try_join(calls, N, NULL, NULL, FILCH_NEVER);
}

static int race_acts(struct act *acts)
{
    filch_call calls[N];

    fill(calls, acts, N);
    return filch_race(calls, N, 0, NULL, FILCH_NEVER);
}

static int race_ok_acts(struct act *acts)
{
    filch_call calls[N];

    fill(calls, acts, N);
    return filch_race(calls, N, FILCH_RACE_OK, NULL, FILCH_NEVER);
}

static int hedge_acts(struct act *acts)
{
    filch_call calls[N];

    fill(calls, acts, N);
    return filch_hedge(calls, N, 0, NULL, FILCH_NEVER);
}

Test(join, a_cancel_of_the_caller_cancels_all)
{
    static int (*const calls[])(struct act *) = {try_join_all_acts, race_acts, race_ok_acts,
                                                 hedge_acts};

    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        struct cancelled c = {.call = calls[i], .want = -ECANCELED};

        for (size_t k = 0; k < N; k++)
            c.acts[k].sleeps = true;
        cr_assert_eq(run_in_runtime(0, cancel_body, &c), 0);
    }
}

Test(join, what_all_have_achieved_in_spite_of_a_cancel_counts)
{
    struct cancelled c = {.call = try_join_all_acts, .want = 0};

    for (size_t k = 0; k < N; k++)
        c.acts[k].stubborn = true;
    cr_assert_eq(run_in_runtime(0, cancel_body, &c), 0);
}

/* The caller is cancelled at any moment: before it starts, while it starts calls, while it waits.
 */
static int cancel_anywhere(void *arg)
{
    (void)arg;
    for (int i = 0; i < 300; i++) {
        struct cancelled c = {.call = i % 3 == 0   ? try_join_all_acts
                                      : i % 3 == 1 ? race_ok_acts
                                                   : hedge_acts,
                              .want = -ECANCELED};
        filch_task *task;

        for (size_t k = 0; k < N; k++)
            c.acts[k].sleeps = true;
        task = spawn(be_cancelled, &c);
        for (int k = 0; k < i / 8; k++)
            filch_task_yield();
        T_OK(filch_task_cancel(task));
        T_OK(join(task));
    }
    return 0;
}

Test(join, a_cancel_may_come_at_any_moment)
{
    cr_assert_eq(run_in_runtime(0, cancel_anywhere, NULL), 0);
}

/* ---- race ---- */

static int race_body(void *arg)
{
    (void)arg;
    for (size_t good = 0; good < N; good++) {
        struct act acts[N] = {{.result = 0}};
        filch_call calls[N];
        int results[N];

        fill(calls, acts, N);
        for (size_t i = 0; i < N; i++)
            acts[i].sleeps = i != good;
        acts[good].result = good % 2 ? -EIO : 5;
        T_IS(filch_race(calls, N, 0, results, FILCH_NEVER), good);
        T_IS(results[good], acts[good].result);
        check_ended(acts, N);
        for (size_t i = 0; i < N; i++)
            if (i != good)
                T_IS(results[i], -ECANCELED);
    }
    return 0;
}

Test(join, the_first_to_end_wins_and_the_losers_have_ended)
{
    cr_assert_eq(run_in_runtime(0, race_body, NULL), 0);
}

static int race_ok_body(void *arg)
{
    struct act acts[3] = {{.result = -EIO}, {.result = 4, .yields = 50}, {.sleeps = true}};
    struct act bad[2] = {{.result = -EIO}, {.result = -EPROTO}};
    atomic_int gate = 0;
    filch_call calls[3];

    (void)arg;
    fill(calls, acts, 3);
    T_IS(filch_race(calls, 3, FILCH_RACE_OK, NULL, FILCH_NEVER), 1);
    check_ended(acts, 3);
    T_IS(acts[0].began, 1);
    T_IS(FILCH_RACE_FIRST_OK(FILCH_NEVER, {play, &acts[0]}, {play, &acts[1]}), 1);
    /* All fail: the error of the last one. */
    fill(calls, bad, 2);
    bad[1].gate = &bad[0].ended;
    bad[1].yields = 20;
    T_CHECK(filch_race(calls, 2, FILCH_RACE_OK, NULL, FILCH_NEVER) < 0);
    T_IS(bad[0].ended, 1);
    T_IS(bad[1].ended, 1);
    T_IS(FILCH_RACE(FILCH_NOW, {play, &acts[2]}), -ETIMEDOUT);
    T_IS(filch_race(calls, 2, 2, NULL, FILCH_NEVER), -EINVAL);
    T_IS(filch_race(calls, 0, 0, NULL, FILCH_NEVER), -EINVAL);
    (void)gate;
    return 0;
}

Test(join, with_race_ok_failures_do_not_decide)
{
    cr_assert_eq(run_in_runtime(0, race_ok_body, NULL), 0);
}

/* Fails when the other one's task has wholly ended: a scope of one's own tells. */
static int fail_after(void *arg)
{
    T_OK(filch_sleep(filch_after(5 * FILCH_MILLISECOND)));
    return (int)(intptr_t)arg;
}

static int fail_now(void *arg)
{
    return (int)(intptr_t)arg;
}

static int last_error_body(void *arg)
{
    (void)arg;
    for (int i = 0; i < 5; i++)
        T_IS(FILCH_RACE_FIRST_OK(FILCH_NEVER, {fail_now, (void *)-EIO}), -EIO);
    T_IS(filch_hedge((filch_call[]){{fail_now, (void *)-EIO}, {fail_after, (void *)-EPROTO}}, 2,
                     FILCH_NEVER, NULL, FILCH_NEVER),
         -EPROTO);
    return 0;
}

Test(join, when_all_fail_the_last_error_is_returned)
{
    cr_assert_eq(run_in_runtime(0, last_error_body, NULL), 0);
}

/* ---- hedge ---- */

static int hedge_body(void *arg)
{
    struct act acts[3] = {{.result = 0}};
    filch_call calls[3];
    int results[3];

    (void)arg;
    fill(calls, acts, 3);
    /* The first succeeds: no other begins. */
    acts[0].result = 5;
    T_IS(filch_hedge(calls, 3, FILCH_NEVER, results, FILCH_NEVER), 0);
    T_IS(results[0], 5);
    T_IS(results[1], -ECANCELED);
    T_IS(acts[1].began, 0);
    /* It fails: the next one begins at once, long before the delay. */
    acts[0].result = -EIO;
    T_IS(filch_hedge(calls, 3, FILCH_NEVER, results, T_LIMIT), 1);
    T_IS(acts[2].began, 0);
    /* It hangs: the next one begins after the delay, and it is cancelled. */
    acts[0] = (struct act){.sleeps = true};
    acts[1] = (struct act){.sleeps = true};
    acts[2] = (struct act){.result = 9};
    T_IS(filch_hedge(calls, 3, FILCH_MILLISECOND, results, T_LIMIT), 2);
    T_IS(results[0], -ECANCELED);
    T_IS(results[2], 9);
    T_IS(acts[1].began, 1);
    check_ended(acts, 3);
    /* None in time. */
    acts[2] = (struct act){.sleeps = true};
    T_IS(filch_hedge(calls, 3, FILCH_MILLISECOND, NULL, filch_after(10 * FILCH_MILLISECOND)),
         -ETIMEDOUT);
    check_ended(acts, 3);
    T_IS(filch_hedge(calls, 0, 0, NULL, FILCH_NEVER), -EINVAL);
    return 0;
}

Test(join, hedge_begins_the_next_call_when_the_present_ones_are_slow_or_have_failed)
{
    cr_assert_eq(run_in_runtime(0, hedge_body, NULL), 0);
}

/* ---- all, whatever they return ---- */

struct run_all {
    filch_call calls[N];
    struct act acts[N];
    filch_time until;
};

static int runs_all(void *arg)
{
    struct run_all *all = arg;

    return filch_run_all(all->calls, N, NULL, all->until);
}

static int run_all_body(void *arg)
{
    struct run_all all = {.until = FILCH_NEVER};
    int results[N], few[2] = {7, 7};
    filch_task *task;

    (void)arg;
    fill(all.calls, all.acts, N);
    for (int i = 0; i < N; i++)
        all.acts[i] = (struct act){.result = i % 2 ? -EIO : i, .yields = (unsigned)(N - i)};
    T_OK(filch_run_all(all.calls, N, results, FILCH_NEVER));
    for (int i = 0; i < N; i++) {
        T_IS(results[i], i % 2 ? -EIO : i);
        T_IS(all.acts[i].ended, 1);
        T_IS(all.acts[i].cause, 0);
    }
    T_OK(FILCH_RUN_ALL(few, {play, &all.acts[0]}, {play, &all.acts[1]}));
    T_CHECK(few[0] == 0 && few[1] == -EIO);
    T_OK(filch_run_all(NULL, 0, NULL, FILCH_NOW));
    /* A time, and a cancel of the caller, cancel all. */
    all.acts[3] = (struct act){.sleeps = true};
    T_IS(filch_run_all(all.calls, N, results, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(results[3], -ECANCELED);
    T_IS(all.acts[3].cause, -ETIMEDOUT);
    check_ended(all.acts, N);
    all.acts[3] = (struct act){.sleeps = true};
    task = spawn(runs_all, &all);
    T_WAIT_UNTIL(atomic_load(&all.acts[3].began) == 1);
    T_OK(filch_task_cancel(task));
    T_IS(join(task), -ECANCELED);
    check_ended(all.acts, N);
    /* Success in spite of it is success. */
    for (int i = 0; i < N; i++)
        all.acts[i] = (struct act){.stubborn = true, .result = i};
    T_OK(filch_run_all(all.calls, N, results, filch_after(FILCH_MILLISECOND)));
    T_IS(results[N - 1], N - 1);
    return 0;
}

Test(join, run_all_lets_each_come_to_its_end)
{
    cr_assert_eq(run_in_runtime(0, run_all_body, NULL), 0);
}

/* ---- timeout ---- */

static int timeout_body(void *arg)
{
    struct act act = {.result = 7};
    int result = 99;

    (void)arg;
    T_OK(filch_timeout(play, &act, &result, T_LIMIT));
    T_IS(result, 7);
    act.result = -EIO;
    T_OK(filch_timeout(play, &act, &result, FILCH_NEVER));
    T_IS(result, -EIO);
    act.sleeps = true;
    T_IS(filch_timeout(play, &act, &result, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(result, -ECANCELED);
    T_IS(act.cause, -ETIMEDOUT);
    T_IS(filch_timeout(play, &act, NULL, FILCH_NOW), -ETIMEDOUT);
    /* Success in spite of it is success. */
    act = (struct act){.stubborn = true, .result = 3};
    T_OK(filch_timeout(play, &act, &result, filch_after(FILCH_MILLISECOND)));
    T_IS(result, 3);
    T_CHECK(!filch_task_is_cancelled());
    return 0;
}

Test(join, timeout_cancels_one_call)
{
    cr_assert_eq(run_in_runtime(0, timeout_body, NULL), 0);
}

/* ---- until a token is cancelled ---- */

struct running {
    filch_token *token;
    struct act act;
    int result;
};

static int runs_by_token(void *arg)
{
    struct running *running = arg;

    return filch_token_run(running->token, play, &running->act, &running->result, T_LIMIT);
}

static int token_body(void *arg)
{
    struct running running = {.act = {.result = 7}, .result = 99};
    filch_task *task;

    (void)arg;
    T_OK(filch_token_new(&running.token));
    T_OK(runs_by_token(&running));
    T_IS(running.result, 7);
    running.act.result = -EIO;
    T_OK(runs_by_token(&running));
    T_IS(running.result, -EIO);
    /* Its time comes. */
    running.act = (struct act){.sleeps = true};
    T_IS(filch_token_run(running.token, play, &running.act, &running.result,
                         filch_after(FILCH_MILLISECOND)),
         -ETIMEDOUT);
    T_IS(running.act.cause, -ETIMEDOUT);
    /* The caller is cancelled. */
    running.act = (struct act){.sleeps = true};
    task = spawn(runs_by_token, &running);
    T_WAIT_UNTIL(atomic_load(&running.act.began) == 1);
    T_OK(filch_task_cancel(task));
    T_IS(join(task), -ECANCELED);
    T_CHECK(!filch_token_is_cancelled(running.token));
    check_ended(&running.act, 1);
    /* The token is. */
    running.act = (struct act){.sleeps = true};
    task = spawn(runs_by_token, &running);
    T_WAIT_UNTIL(atomic_load(&running.act.began) == 1);
    T_OK(filch_token_cancel(running.token, -ESTALE, NULL));
    T_IS(join(task), -ECANCELED);
    T_IS(running.result, -ECANCELED);
    T_IS(running.act.cause, -ESTALE);
    T_CHECK(!filch_task_is_cancelled());
    check_ended(&running.act, 1);
    /* It is already: nothing is called. */
    running.act = (struct act){.result = 3};
    T_IS(runs_by_token(&running), -ECANCELED);
    T_IS(running.act.began, 0);
    T_IS(running.result, -ECANCELED);
    filch_token_unref(running.token);
    /* Success in spite of it is success. */
    T_OK(filch_token_new(&running.token));
    running.act = (struct act){.stubborn = true, .result = 3};
    task = spawn(runs_by_token, &running);
    T_WAIT_UNTIL(atomic_load(&running.act.began) == 1);
    T_OK(filch_token_cancel(running.token, -ECANCELED, NULL));
    T_OK(join(task));
    T_IS(running.result, 3);
    filch_token_unref(running.token);
    return 0;
}

Test(join, a_token_cancels_one_call)
{
    cr_assert_eq(run_in_runtime(0, token_body, NULL), 0);
}

/* ---- from elsewhere ---- */

static int job(void *arg)
{
    struct act acts[2] = {{.result = 1}, {.sleeps = true}};
    filch_call calls[2];
    int result = 0;

    (void)arg;
    fill(calls, acts, 2);
    T_IS(filch_race(calls, 2, 0, NULL, FILCH_NEVER), 0);
    check_ended(acts, 2);
    T_IS(filch_try_join(calls, 2, NULL, NULL, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    check_ended(acts, 2);
    T_IS(filch_hedge(calls, 1, 0, NULL, FILCH_NEVER), 0);
    T_OK(filch_timeout(play, &acts[0], &result, T_LIMIT));
    T_IS(result, 1);
    T_IS(filch_timeout(play, &acts[1], &result, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(result, -ECANCELED);
    return 0;
}

static int job_body(void *arg)
{
    int result = -1;

    T_OK(filch_blocking_run(job, arg, NULL, &result, FILCH_NEVER));
    return result;
}

Test(join, blocking_jobs_may_do_all_of_it)
{
    cr_assert_eq(run_in_runtime(0, job_body, NULL), 0);
}

Test(join, plain_threads_are_refused)
{
    struct act act = {.result = 0};
    filch_token *token;

    cr_assert_eq(FILCH_TRY_JOIN({play, &act}), -EPERM);
    cr_assert_eq(FILCH_RUN_ALL(NULL, {play, &act}), -EPERM);
    cr_assert_eq(FILCH_RACE(FILCH_NEVER, {play, &act}), -EPERM);
    cr_assert_eq(filch_timeout(play, &act, NULL, FILCH_NEVER), -EPERM);
    cr_assert_eq(filch_token_new(&token), 0);
    cr_assert_eq(filch_token_run(token, play, &act, NULL, FILCH_NEVER), -EPERM);
    filch_token_unref(token);
    cr_assert_eq(act.began, 0);
}

/* ---- join_all ---- */

static int yield_then(void *arg)
{
    for (intptr_t i = 0; i < (intptr_t)arg % 7; i++)
        filch_task_yield();
    return (int)(intptr_t)arg;
}

static int join_all_body(void *arg)
{
    filch_task *tasks[50];
    int results[50];
    struct act act = {.sleeps = true};

    (void)arg;
    for (intptr_t i = 0; i < 50; i++)
        tasks[i] = spawn(yield_then, (void *)i);
    T_OK(filch_join_all(tasks, 50, results, FILCH_NEVER));
    for (int i = 0; i < 50; i++) {
        T_IS(results[i], i);
        T_CHECK(!tasks[i]);
    }
    T_OK(filch_join_all(tasks, 50, results, FILCH_NOW));
    T_OK(filch_join_all(NULL, 0, NULL, FILCH_NOW));
    /* Interrupted, and repeated: nothing is lost. */
    tasks[0] = spawn(yield_then, (void *)1);
    tasks[1] = spawn(play, &act);
    tasks[2] = spawn(yield_then, (void *)3);
    T_IS(filch_join_all(tasks, 3, results, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_CHECK(tasks[1] && tasks[2]);
    T_OK(filch_task_cancel(tasks[1]));
    T_OK(filch_join_all(tasks, 3, results, FILCH_NEVER));
    T_IS(results[0], 1);
    T_IS(results[1], -ECANCELED);
    T_IS(results[2], 3);
    return 0;
}

Test(join, join_all_takes_all_results_and_may_be_repeated)
{
    cr_assert_eq(run_in_runtime(0, join_all_body, NULL), 0);
}

/* ---- many, and at random ---- */

enum { MANY = 10000 };

static int many_body(void *arg)
{
    static struct act acts[MANY];
    static filch_call calls[MANY];
    static int results[MANY];
    size_t failed = 0;

    (void)arg;
    fill(calls, acts, MANY);
    for (size_t i = 0; i < MANY; i++)
        acts[i] = (struct act){.sleeps = i != MANY - 1, .result = -EIO};
    T_IS(filch_try_join(calls, MANY, results, &failed, FILCH_NEVER), -EIO);
    T_IS(failed, MANY - 1);
    check_ended(acts, MANY);
    return 0;
}

Test(join, ten_thousand_at_once)
{
    cr_assert_eq(run_in_runtime(0, many_body, NULL), 0);
}

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* What each of the functions may say, given how the calls behave. */
static void random_round(uint64_t *seed)
{
    struct act acts[N] = {{.result = 0}};
    int results[N];
    filch_call calls[N];
    size_t n = 1 + next(seed) % N, failed = 99, bad = 0, sleepers = 0;
    int r;

    fill(calls, acts, N);
    for (size_t i = 0; i < n; i++) {
        uint64_t kind = next(seed) % 8;

        acts[i].yields = (unsigned)(next(seed) % 20);
        acts[i].result = kind == 0 ? -(int)(1 + i) - 1000 : (int)i;
        acts[i].sleeps = kind == 1;
        bad += kind == 0;
        sleepers += kind == 1;
    }
    switch (next(seed) % 3) {
    case 0:
        r = filch_try_join(calls, n, results, &failed,
                           bad ? FILCH_NEVER : filch_after(FILCH_MILLISECOND / 2));
        if (bad) {
            T_CHECK(failed < n && acts[failed].result < -1000 && !acts[failed].sleeps);
            T_IS(r, acts[failed].result);
        } else if (sleepers) {
            T_IS(r, -ETIMEDOUT);
        } else {
            T_CHECK(r == 0 || r == -ETIMEDOUT);
        }
        break;
    case 1:
        r = filch_race(calls, n, 0, results, sleepers == n ? FILCH_NOW : FILCH_NEVER);
        T_CHECK(sleepers == n ? r == -ETIMEDOUT : r >= 0 && !acts[r].sleeps);
        break;
    default:
        r = filch_race(calls, n, FILCH_RACE_OK, results,
                       sleepers ? filch_after(FILCH_MILLISECOND) : FILCH_NEVER);
        if (r >= 0)
            T_CHECK(acts[r].result >= 0 && !acts[r].sleeps && results[r] == acts[r].result);
        else if (r != -ETIMEDOUT)
            T_CHECK(bad == n && r < -1000);
        break;
    }
    check_ended(acts, n);
    for (size_t i = 0; i < n; i++) {
        if (!acts[i].began || acts[i].sleeps)
            T_IS(results[i], -ECANCELED);
        else
            T_IS(results[i], acts[i].result);
    }
}

static int random_body(void *arg)
{
    uint64_t seed = 0x1234567 + (uintptr_t)arg;

    for (int i = 0; i < 500; i++)
        random_round(&seed);
    return 0;
}

Test(join, random_calls_agree_with_what_a_model_allows)
{
    cr_assert_eq(run_in_runtime(0, random_body, NULL), 0);
}

/* ---- while the runtime stops ---- */

static int try_forever(void *arg)
{
    struct act *acts = arg;

    T_IS(FILCH_TRY_JOIN({play, &acts[0]}, {play, &acts[1]}), -ECANCELED);
    check_ended(acts, 2);
    T_IS(FILCH_TRY_JOIN({play, &acts[0]}), -ESHUTDOWN);
    return 5;
}

Test(join, the_end_of_the_runtime_cancels_all)
{
    static struct act acts[2] = {{.sleeps = true}, {.sleeps = true}};
    filch_runtime *rt = start_runtime(0);
    filch_task *task;
    int result = 0;

    T_OK(filch_runtime_spawn(rt, try_forever, acts, NULL, &task));
    for (int i = 0; i < 2; i++)
        T_WAIT_UNTIL(acts[i].began);
    stop_runtime(rt);
    T_OK(filch_task_join(task, &result, FILCH_NOW));
    T_IS(result, 5);
}
