/* Description: nobody waits for a busy worker: what a task that never suspends has queued, its
 * worker's timers and its worker's I/O are seen to by others, idle or busy; and a worker whose
 * tasks run long calls for help as it spawns. */
#include <errno.h>
#include <pthread.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(fair, .timeout = 120);

static atomic_bool seen;
static atomic_uint busy;

static int sees(void *arg)
{
    (void)arg;
    atomic_store(&seen, true);
    return 0;
}

static int sees_after_a_sleep(void *arg)
{
    (void)arg;
    atomic_fetch_add(&busy, 1);
    T_OK(filch_sleep(filch_after(2 * FILCH_MILLISECOND)));
    atomic_store(&seen, true);
    return 0;
}

/* Keeps its worker until somebody has seen to the other tasks: if nobody does, for ever. */
static void spin_until_seen(void)
{
    filch_time limit = T_LIMIT;

    while (!atomic_load(&seen))
        T_CHECK(filch_now() < limit);
}

static int yields_until_seen(void *arg)
{
    (void)arg;
    atomic_fetch_add(&busy, 1);
    while (!atomic_load(&seen))
        filch_task_yield();
    return 0;
}

static int hogs_a_child(void *arg)
{
    filch_task *child = spawn(sees, NULL);

    (void)arg;
    spin_until_seen();
    return filch_task_join(child, NULL, T_LIMIT);
}

Test(fair, a_hog_s_children_run_elsewhere)
{
    atomic_store(&seen, false);
    T_OK(run_in_runtime(2, hogs_a_child, NULL));
}

/* All other workers are busy, with tasks that do suspend. */
static int hogs_among_the_busy(void *arg)
{
    filch_task *others[7];
    unsigned n = 3;

    for (unsigned i = 0; i < n; i++)
        others[i] = spawn(yields_until_seen, NULL);
    T_WAIT_UNTIL(atomic_load(&busy) == n);
    T_OK(hogs_a_child(arg));
    for (unsigned i = 0; i < n; i++)
        T_OK(filch_task_join(others[i], NULL, T_LIMIT));
    return 0;
}

Test(fair, a_hog_s_children_run_on_workers_that_are_busy)
{
    atomic_store(&seen, false);
    atomic_store(&busy, 0);
    T_OK(run_in_runtime(2, hogs_among_the_busy, NULL));
}

static int hogs_a_timer(void *arg)
{
    filch_task *others[2];

    (void)arg;
    others[0] = spawn(sees_after_a_sleep, NULL);
    others[1] = spawn(yields_until_seen, NULL);
    T_WAIT_UNTIL(atomic_load(&busy) == 2);
    spin_until_seen();
    for (unsigned i = 0; i < 2; i++)
        T_OK(filch_task_join(others[i], NULL, T_LIMIT));
    return 0;
}

Test(fair, a_hog_s_timers_fire_on_workers_that_are_busy)
{
    for (int i = 0; i < 10; i++) {
        atomic_store(&seen, false);
        atomic_store(&busy, 0);
        T_OK(run_in_runtime(2, hogs_a_timer, NULL));
    }
}

static void spin(filch_time span_ns)
{
    filch_time end = filch_after(span_ns);

    while (filch_now() < end)
        ;
}

static int runs_long(void *arg)
{
    (void)arg;
    spin(FILCH_MILLISECOND);
    filch_task_yield();
    return 0;
}

/* Once its tasks are known to run long, a spawn wakes another worker by itself: it does not wait
 * for the monitor, nor for the loop. Counted, not timed. */
static int spawns_while_slow(void *arg)
{
    filch_runtime *rt = arg;
    filch_stats before, after;

    for (int i = 0; i < 30; i++)
        T_OK(filch_task_join(spawn(runs_long, NULL), NULL, T_LIMIT));
    T_OK(filch_runtime_stats(rt, &before));
    for (int i = 0; i < 20; i++) {
        filch_task *child;

        atomic_store(&seen, false);
        T_OK(filch_sleep(filch_after(FILCH_MILLISECOND)));
        child = spawn(sees, NULL);
        spin_until_seen();
        T_OK(filch_task_join(child, NULL, T_LIMIT));
        spin(FILCH_MILLISECOND);
    }
    T_OK(filch_runtime_stats(rt, &after));
    return after.worker_wakes > before.worker_wakes;
}

Test(fair, a_slow_worker_calls_for_help_as_it_spawns)
{
    filch_runtime *rt = start_runtime_alone(2);
    int result = 0;

    T_OK(filch_runtime_block_on(rt, spawns_while_slow, rt, &result, FILCH_NEVER));
    T_IS(result, 1);
    stop_runtime(rt);
}
