/* Tasks and plain threads that all run the same function at the same time, and random numbers for
 * them. */
#ifndef FILCH_TESTS_RUNNER_CROWD_H
#define FILCH_TESTS_RUNNER_CROWD_H

#include <pthread.h>

#include "tests/runner/run.h"

/* How many operations a random test does in all: FILCH_TEST_OPS, or few. */
static inline unsigned long test_ops(void)
{
    const char *text = getenv("FILCH_TEST_OPS");
#ifdef T_SANITIZED
    unsigned long few = 8000;
#else
    unsigned long few = 60000;
#endif

    return text ? strtoul(text, NULL, 10) : few;
}

static inline uint32_t random_next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33);
}

/* Below @limit. */
static inline uint32_t random_below(uint64_t *seed, uint32_t limit)
{
    return (uint32_t)(((uint64_t)(random_next(seed) & 0xffffff) * limit) >> 24);
}

struct crowd {
    filch_fn fn;
    void *arg;
    unsigned tasks;
    unsigned threads;
};

__attribute__((unused)) static void *crowd_thread(void *arg)
{
    struct crowd *crowd = arg;

    T_OK(crowd->fn(crowd->arg));
    return NULL;
}

__attribute__((unused)) static int crowd_tasks(void *arg)
{
    struct crowd *crowd = arg;
    FILCH_SCOPE(scope);

    for (unsigned i = 0; i < crowd->tasks; i++)
        T_OK(filch_scope_spawn(&scope, crowd->fn, crowd->arg));
    return filch_scope_join(&scope, filch_after(100 * FILCH_SECOND));
}

/* All must return 0. */
static inline void crowd_run(unsigned workers, unsigned tasks, unsigned threads, filch_fn fn,
                             void *arg)
{
    struct crowd crowd = {.fn = fn, .arg = arg, .tasks = tasks, .threads = threads};
    pthread_t id[16];

    T_CHECK(threads <= 16);
    for (unsigned i = 0; i < threads; i++)
        T_OK(pthread_create(&id[i], NULL, crowd_thread, &crowd));
    T_OK(run_in_runtime(workers, crowd_tasks, &crowd));
    for (unsigned i = 0; i < threads; i++)
        T_OK(pthread_join(id[i], NULL));
}

#endif
