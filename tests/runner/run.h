/* Runtimes for tests: each test starts its own. FILCH_TEST_WORKERS sets the number of workers of
 * those that do not care; 0 gives them a runtime without workers, which a host drives (host.h). */
#ifndef FILCH_TESTS_RUNNER_RUN_H
#define FILCH_TESTS_RUNNER_RUN_H

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <filch/filch.h>

#include "runtime/base/valgrind.h"
#include "tests/runner/check.h"
#include "tests/runner/host.h"

/* Does an instruction take many? FILCH_TEST_SLOW says so of a machine that is emulated. */
#define T_IS_SLOW (RUNNING_ON_VALGRIND || getenv("FILCH_TEST_SLOW"))

/* For what must happen, on the slowest of machines: a failure takes this long, a success does not.
 */
#define T_LIMIT filch_after((T_IS_SLOW ? 200 : 50) * FILCH_SECOND)

/* Of what a test has many of: enough of them. */
#define T_MANY(n) (RUNNING_ON_VALGRIND ? (n) / 50 : (n))

/* Waits for another thread or task, without sleeping: its turn comes by the yields. */
#define T_WAIT_UNTIL(cond)                                                                         \
    do {                                                                                           \
        filch_time t_limit = T_LIMIT;                                                              \
        while (!(cond)) {                                                                          \
            T_CHECK(filch_now() < t_limit && #cond);                                               \
            filch_task_yield();                                                                    \
        }                                                                                          \
    } while (0)

static inline unsigned test_workers(void)
{
    const char *text = getenv("FILCH_TEST_WORKERS");
    unsigned workers = text ? (unsigned)strtoul(text, NULL, 10) : 2;

    return workers ? workers : 1;
}

static inline bool test_without_threads(void)
{
    const char *text = getenv("FILCH_TEST_WORKERS");

    return text && strcmp(text, "0") == 0;
}

/* Forks are given away and tasks moved for no reason: nothing can be said about how often. */
static inline bool test_in_chaos(void)
{
    return getenv("FILCH_CHAOS") != NULL;
}

static inline filch_runtime *test_start(const filch_runtime_opts *opts)
{
    filch_runtime *rt = NULL;
    int r = filch_runtime_start(opts, &rt);

    if (r < 0)
        fprintf(stderr, "the runtime does not start: %s\n", filch_strerror(r));
    T_OK(r);
    T_CHECK(rt != NULL);
    return rt;
}

/* Nobody drives it, should it be without threads, but the caller. */
static inline filch_runtime *start_runtime_alone(unsigned workers)
{
    filch_runtime_opts opts = {.workers = workers ? workers : test_workers()};

    opts.current_thread = test_without_threads() && opts.workers == 1;
    return test_start(&opts);
}

/* For tests of the runtime's own threads. */
static inline filch_runtime *start_runtime_with_threads(unsigned workers)
{
    return test_start(&(filch_runtime_opts){.workers = workers ? workers : test_workers()});
}

/* 0 workers: as many as the environment says. */
static inline filch_runtime *start_runtime(unsigned workers)
{
    filch_runtime *rt = start_runtime_alone(workers);

    if (filch_runtime_fd(rt) >= 0)
        test_host_start(rt);
    return rt;
}

static inline void stop_runtime(filch_runtime *rt)
{
    test_host_stop(rt);
    T_OK(filch_runtime_shutdown(rt, T_LIMIT));
}

/* Runs @fn as the first task of a runtime of its own. Return: its result. */
static inline int run_in_runtime(unsigned workers, filch_fn fn, void *arg)
{
    filch_runtime *rt = start_runtime_alone(workers);
    int result = -1;

    T_OK(filch_runtime_block_on(rt, fn, arg, &result, FILCH_NEVER));
    stop_runtime(rt);
    return result;
}

/* Gives other tasks every chance to get where they wait. Only the likelihood of an interleaving
 * depends on it, never a result. */
static inline void let_others_run(void)
{
    for (int i = 0; i < 100; i++)
        filch_task_yield();
}

static inline filch_task *spawn(filch_fn fn, void *arg)
{
    filch_task *task = NULL;

    T_OK(filch_task_spawn(fn, arg, NULL, &task));
    T_CHECK(task != NULL);
    return task;
}

static inline int join(filch_task *task)
{
    int result = -1;

    T_OK(filch_task_join(task, &result, T_LIMIT));
    return result;
}

/* A task that ends when it is cancelled. Return: what the sleep said. */
__attribute__((unused)) static int sleep_until_cancelled(void *arg)
{
    (void)arg;
    return filch_sleep(FILCH_NEVER);
}

#endif
