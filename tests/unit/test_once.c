/* Description: once and cells: one runs, others wait, failure and cancel let the next one try;
 * those who only wait; values that are set. */
#include <errno.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(once, .timeout = 120);

struct shared {
    filch_once once;
    atomic_int calls;
    atomic_int callers;
    int fail_until; /* calls */
    int value;      /* plain: made by the one that runs */
    filch_time until;
};

static int makes(void *arg)
{
    struct shared *shared = arg;
    int call = atomic_fetch_add(&shared->calls, 1);
    int r;

    let_others_run();
    T_IS(filch_once_do(&shared->once, makes, arg, FILCH_NEVER), -EDEADLK);
    r = filch_sleep(filch_after(10 * FILCH_MICROSECOND));
    if (r < 0)
        return r;
    if (call < shared->fail_until)
        return -EIO;
    shared->value += 7;
    return 3;
}

static int does(void *arg)
{
    struct shared *shared = arg;
    int r;

    atomic_fetch_add(&shared->callers, 1);
    r = filch_once_do(&shared->once, makes, shared, shared->until);
    if (r == 0)
        T_IS(shared->value, 7);
    return r;
}

static int many(void *arg)
{
    struct shared shared = {.once = FILCH_ONCE_INIT, .fail_until = 2, .until = FILCH_NEVER};
    filch_task *task[8];
    int failures = 0;

    (void)arg;
    T_CHECK(!filch_once_is_done(&shared.once));
    for (int i = 0; i < 8; i++)
        task[i] = spawn(does, &shared);
    for (int i = 0; i < 8; i++) {
        int r = join(task[i]);

        T_CHECK(r == 0 || r == -EIO);
        failures += r < 0;
    }
    T_IS(failures, 2);
    T_IS(atomic_load(&shared.calls), 3);
    T_CHECK(filch_once_is_done(&shared.once));
    T_OK(filch_once_do(&shared.once, makes, &shared, FILCH_NOW));
    filch_once_fini(&shared.once);
    return 0;
}

Test(once, failures_let_the_next_try_and_one_succeeds)
{
    T_OK(run_in_runtime(0, many, NULL));
}

static int waits_forever(void *arg)
{
    struct shared *shared = arg;

    atomic_fetch_add(&shared->calls, 1);
    return filch_sleep(FILCH_NEVER);
}

static int runs_forever(void *arg)
{
    struct shared *shared = arg;

    return filch_once_do(&shared->once, waits_forever, arg, FILCH_NEVER);
}

static int cancels(void *arg)
{
    struct shared shared = {.once = FILCH_ONCE_INIT, .until = FILCH_NEVER};
    filch_task *runner, *waiter, *cancelled;

    (void)arg;
    runner = spawn(runs_forever, &shared);
    T_WAIT_UNTIL(atomic_load(&shared.calls) == 1);
    T_IS(filch_once_do(&shared.once, makes, &shared, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_once_do(&shared.once, makes, &shared, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    waiter = spawn(does, &shared);
    cancelled = spawn(does, &shared);
    T_WAIT_UNTIL(atomic_load(&shared.callers) == 2);
    let_others_run();
    T_OK(filch_task_cancel(cancelled));
    T_IS(join(cancelled), -ECANCELED);
    T_OK(filch_task_cancel(runner));
    T_IS(join(runner), -ECANCELED);
    T_OK(join(waiter));
    T_IS(atomic_load(&shared.calls), 2);
    filch_once_fini(&shared.once);
    return 0;
}

Test(once, a_cancelled_runner_lets_the_next_one_try)
{
    T_OK(run_in_runtime(0, cancels, NULL));
}

static int make_pointer(void *arg, void **ret_value)
{
    int *calls = arg;

    if (++*calls == 1)
        return -ENOENT;
    *ret_value = calls;
    return 1;
}

Test(once, a_cell_keeps_what_was_made)
{
    static filch_once_cell cell = FILCH_ONCE_CELL_INIT;
    void *value = &cell;
    int calls = 0;

    T_CHECK(filch_once_cell_peek(&cell) == NULL);
    T_IS(filch_once_cell_get(&cell, make_pointer, &calls, &value, FILCH_NEVER), -ENOENT);
    T_CHECK(value == &cell);
    T_OK(filch_once_cell_get(&cell, make_pointer, &calls, &value, FILCH_NEVER));
    T_CHECK(value == &calls);
    T_OK(filch_once_cell_get(&cell, make_pointer, &calls, &value, FILCH_NOW));
    T_IS(calls, 2);
    T_CHECK(filch_once_cell_peek(&cell) == &calls);
}

/* ---- who waits only ---- */

static int fails(void *arg)
{
    (void)arg;
    return -EIO;
}

static int does_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int tries_itself(void *arg)
{
    filch_once *once = arg;

    T_IS(filch_once_try_do(once, does_nothing, NULL), -EBUSY);
    T_IS(filch_once_wait(once, FILCH_NEVER), -EDEADLK);
    return 5;
}

Test(once, a_try_says_who_has_done_it)
{
    filch_once once = FILCH_ONCE_INIT;

    T_IS(filch_once_wait(&once, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_once_wait(&once, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(filch_once_try_do(&once, fails, NULL), -EIO);
    T_CHECK(!filch_once_is_done(&once));
    T_OK(filch_once_try_do(&once, tries_itself, &once));
    T_IS(filch_once_try_do(&once, fails, NULL), -EALREADY);
    T_OK(filch_once_wait(&once, FILCH_NOW));
    T_OK(filch_once_do(&once, fails, NULL, FILCH_NOW));
    filch_once_fini(&once);
}

struct watched {
    filch_once_cell cell;
    atomic_int waiting;
    filch_token *never;
};

static int watches(void *arg)
{
    struct watched *watched = arg;
    void *value = NULL;
    int r;

    atomic_fetch_add(&watched->waiting, 1);
    r = filch_once_cell_wait(&watched->cell, &value, T_LIMIT);
    T_CHECK(r == 0 ? value == watched : value == NULL);
    return r;
}

static int watches_in_a_select(void *arg)
{
    struct watched *watched = arg;
    int winner;

    atomic_fetch_add(&watched->waiting, 1);
    winner = FILCH_SELECT(T_LIMIT, filch_case_token(watched->never),
                          filch_case_once(&watched->cell.once));
    T_IS(winner, 1);
    T_CHECK(filch_once_cell_peek(&watched->cell) == watched);
    return 0;
}

static int fails_to_make(void *arg, void **ret_value)
{
    struct watched *watched = arg;

    (void)ret_value;
    T_IS(filch_once_cell_set(&watched->cell, arg), -EBUSY);
    let_others_run();
    return -EIO;
}

static int sets(void *arg)
{
    struct watched watched = {.cell = FILCH_ONCE_CELL_INIT};
    filch_task *task[9], *cancelled;
    void *value = NULL;

    (void)arg;
    T_OK(filch_token_new(&watched.never));
    for (int i = 0; i < 9; i++)
        task[i] = spawn(i % 3 ? watches : watches_in_a_select, &watched);
    cancelled = spawn(watches, &watched);
    T_WAIT_UNTIL(atomic_load(&watched.waiting) == 10);
    let_others_run();
    /* A select that another case wins leaves nothing behind. */
    T_IS(FILCH_SELECT(filch_after(FILCH_MILLISECOND), filch_case_once(&watched.cell.once)),
         -ETIMEDOUT);
    T_OK(filch_task_cancel(cancelled));
    T_IS(join(cancelled), -ECANCELED);
    /* Those who wait are not asked to make it. */
    T_IS(filch_once_cell_get(&watched.cell, fails_to_make, &watched, &value, FILCH_NEVER), -EIO);
    let_others_run();
    for (int i = 0; i < 9; i++)
        T_CHECK(!filch_task_is_finished(task[i]));
    T_OK(filch_once_cell_set(&watched.cell, &watched));
    T_IS(filch_once_cell_set(&watched.cell, NULL), -EALREADY);
    for (int i = 0; i < 9; i++)
        T_OK(join(task[i]));
    T_IS(FILCH_SELECT(FILCH_NEVER, filch_case_once(&watched.cell.once)), 0);
    T_OK(filch_once_cell_wait(&watched.cell, &value, FILCH_NOW));
    T_CHECK(value == &watched);
    filch_once_fini(&watched.cell.once);
    filch_token_unref(watched.never);
    return 0;
}

Test(once, a_value_is_set_once_and_awaited_by_many)
{
    T_OK(run_in_runtime(0, sets, NULL));
}

/* ---- one of many sets ---- */

struct contest {
    filch_once_cell cell;
    atomic_int winners;
    atomic_int callers;
};

static int sets_or_waits(void *arg)
{
    struct contest *contest = arg;
    int number = atomic_fetch_add(&contest->callers, 1);
    void *value = NULL;
    int r = 0;

    if (number % 2)
        r = filch_once_cell_set(&contest->cell, &contest->winners);
    if (number % 2 && r == 0)
        atomic_fetch_add(&contest->winners, 1);
    T_CHECK(r == 0 || r == -EALREADY);
    T_OK(filch_once_cell_wait(&contest->cell, &value, T_LIMIT));
    T_CHECK(value == &contest->winners);
    return 0;
}

static int many_set(void *arg)
{
    filch_task *task[20];

    (void)arg;
    for (int round = 0; round < T_MANY(500); round++) {
        struct contest contest = {.cell = FILCH_ONCE_CELL_INIT};

        for (int i = 0; i < 20; i++)
            task[i] = spawn(sets_or_waits, &contest);
        for (int i = 0; i < 20; i++)
            T_OK(join(task[i]));
        T_IS(atomic_load(&contest.winners), 1);
        filch_once_fini(&contest.cell.once);
    }
    return 0;
}

Test(once, of_many_who_set_one_wins)
{
    T_OK(run_in_runtime(0, many_set, NULL));
    T_OK(run_in_runtime(4, many_set, NULL));
}
