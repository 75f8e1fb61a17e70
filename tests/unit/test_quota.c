/* Description: a CPU quota that changes while a runtime runs, as the watch is told of it: workers
 * sit out while it allows fewer, and come back, but there are never more than at the start; while
 * it is used up early nobody spins. What the files say of it: test_cpu.c. */
#include <semaphore.h>

#include <criterion/criterion.h>

#include "runtime/base/cpu.h"
#include "runtime/sched/worker.h"
#include "tests/runner/run.h"

TestSuite(quota, .timeout = 120);

/* ---- the quota ---- */

static atomic_uint cpus;      /* that it allows */
static atomic_uint throttled; /* periods that are added between two looks */
static sem_t looked;

unsigned __wrap_filch__cpu_count(void);
void __wrap_filch__cpu_limits(struct filch__cpu_limits *ret_limits);

unsigned __wrap_filch__cpu_count(void)
{
    return atomic_load(&cpus);
}

void __wrap_filch__cpu_limits(struct filch__cpu_limits *ret_limits)
{
    static uint64_t so_far = 1000;

    ret_limits->cpus = atomic_load(&cpus);
    ret_limits->throttled = so_far += atomic_load(&throttled);
    T_OK(sem_post(&looked));
}

/* ---- work ---- */

/* There are no looks at an idle runtime. Sleeps are what a worker spins in. */
static int ticks(void *arg)
{
    (void)arg;
    while (filch_sleep(filch_after(20 * FILCH_MICROSECOND)) == 0) /* shutdown cancels it */
        ;
    return 0;
}

static filch_runtime *start(unsigned allowed, unsigned throttled_periods)
{
    filch_runtime *rt;

    atomic_store(&cpus, allowed);
    atomic_store(&throttled, throttled_periods);
    T_OK(sem_init(&looked, 0, 0));
    rt = test_start(&(filch_runtime_opts){.keep_workers = true});
    T_OK(filch_runtime_spawn(rt, ticks, NULL, NULL, NULL));
    return rt;
}

static filch_stats stats_of(filch_runtime *rt)
{
    filch_stats stats;

    T_OK(filch_runtime_stats(rt, &stats));
    return stats;
}

/* Each is a second after the one before: nobody polls so long. */
static void wait_for_looks(unsigned n)
{
    while (sem_trywait(&looked) == 0)
        ;
    while (n > 0)
        n -= sem_wait(&looked) == 0;
}

Test(quota, workers_sit_out_while_it_allows_fewer_and_are_never_more_than_at_the_start)
{
    filch_runtime *rt = start(3, 0);

    T_CHECK(stats_of(rt).workers == 3);
    T_CHECK(stats_of(rt).workers_active == 3);
    atomic_store(&cpus, 1);
    wait_for_looks(1);
    T_WAIT_UNTIL(stats_of(rt).workers_active == 1);
    atomic_store(&cpus, 8);
    wait_for_looks(1);
    T_WAIT_UNTIL(stats_of(rt).workers_active == 3);
    wait_for_looks(1);
    T_CHECK(stats_of(rt).workers_active == 3);
    stop_runtime(rt);
}

Test(quota, a_runtime_that_began_under_a_quota_of_one_has_one_worker)
{
    filch_runtime *rt = start(1, 0);

    atomic_store(&cpus, 8);
    wait_for_looks(2);
    T_CHECK(stats_of(rt).workers == 1);
    T_CHECK(stats_of(rt).workers_active == 1);
    stop_runtime(rt);
}

/* During so many parks. */
static uint64_t spins_in_parks(filch_runtime *rt, unsigned parks)
{
    filch_stats before = stats_of(rt), after;

    T_WAIT_UNTIL((after = stats_of(rt), after.parks) >= before.parks + parks);
    return after.spins - before.spins;
}

Test(quota, nobody_spins_while_it_is_used_up_early)
{
    filch_runtime *rt = start(1, 1);

    T_WAIT_UNTIL(stats_of(rt).spins > 0);
    wait_for_looks(2);
    T_WAIT_UNTIL(filch__throttle_is_on(&rt->watch.throttle, filch_now()));
    (void)spins_in_parks(rt, 2); /* one that has begun before */
    T_CHECK(spins_in_parks(rt, 200) == 0);
    stop_runtime(rt);
}
