/* Description: once and cells: one runs, others wait, failure and cancel let the next one try. */
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
