/* Description: scheduling groups: shares by weight under stealing, counted in units of equal work;
 * a light group is not starved; what is inherited, refused, counted and freed; a batch group of
 * forks makes room; nothing is lost in a shutdown, by a cancel, or from outside. What the kinds of
 * groups are for: test_group_kind.c. */
#include <errno.h>
#include <limits.h>
#include <pthread.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(group, .timeout = 120);

static filch_group *group_of(filch_runtime *rt, unsigned weight, filch_group_kind kind)
{
    filch_group *group = NULL;

    T_OK(filch_group_new(rt, &(filch_group_opts){.weight = weight, .kind = kind}, &group));
    return group;
}

static filch_group_numbers numbers_of(filch_group *group)
{
    filch_group_numbers numbers;

    T_OK(filch_group_stats(group, &numbers));
    return numbers;
}

static void spawn_in(filch_runtime *rt, filch_group *group, filch_fn fn, void *arg)
{
    T_OK(filch_runtime_spawn(rt, fn, arg, &(filch_task_opts){.group = group}, NULL));
}

/* The last of it: all that are in it have ended. */
static void free_group(filch_group *group)
{
    T_WAIT_UNTIL(numbers_of(group).tasks == 0);
    T_OK(filch_group_free(group));
    T_IS(filch_group_free(group), -ESRCH);
}

/* ---- shares ---- */

/* Some 20 us; the same for everybody. */
static void work(void)
{
    for (volatile unsigned i = 0; i < 20000; i++)
        ;
}

struct crowd {
    atomic_ulong units;
    unsigned long at_end; /* units of it when all together had done theirs */
};

static struct {
    struct crowd crowd[3];
    atomic_uint runners; /* that have started: nothing counts before all have */
    unsigned all;
    atomic_ulong left;
    atomic_bool over;
} race;

static int runs_for_its_crowd(void *arg)
{
    struct crowd *crowd = arg;

    atomic_fetch_add(&race.runners, 1);
    while (atomic_load(&race.runners) < race.all)
        filch_task_yield();
    while (!atomic_load(&race.over)) {
        work();
        atomic_fetch_add(&crowd->units, 1);
        if (atomic_fetch_sub(&race.left, 1) == 1) {
            for (int i = 0; i < 3; i++)
                race.crowd[i].at_end = atomic_load(&race.crowd[i].units);
            atomic_store(&race.over, true);
        }
        filch_task_yield();
    }
    return 0;
}

static void start_race(unsigned runners, unsigned long units)
{
    memset(&race, 0, sizeof race);
    race.all = runners;
    atomic_store(&race.left, units);
}

static bool has_share(const struct crowd *crowd, double want, double tolerance)
{
    unsigned long all = 0;
    double got;

    for (int i = 0; i < 3; i++)
        all += race.crowd[i].at_end;
    got = (double)crowd->at_end / (double)all;
    if (got >= want * (1 - tolerance) && got <= want * (1 + tolerance))
        return true;
    fprintf(stderr, "share of %.3f, not %.3f\n", got, want);
    return false;
}

/* Time that the kernel, or the host of a virtual machine, takes from a worker counts as used by the
 * group whose turn it was: on a machine with other work that spoils every other race of 300 ms. It
 * does not spoil all; a share that is wrong is wrong in each. */
static void hold_in_a_race(bool (*race_is_fair)(unsigned workers), unsigned workers)
{
    for (int races = 1; !race_is_fair(workers); races++)
        T_CHECK(races < 16);
}

/* Each crowd is large enough for all workers. */
static bool halves_are_fair(unsigned workers)
{
    bool fair;

    filch_runtime *rt = start_runtime(workers);
    filch_group *light = group_of(rt, 100, FILCH_GROUP_NORMAL);
    filch_group *heavy = group_of(rt, 300, FILCH_GROUP_NORMAL);

    start_race(4 * workers, 10000 + 2000 * (unsigned long)workers);
    for (unsigned i = 0; i < 2 * workers; i++) {
        spawn_in(rt, light, runs_for_its_crowd, &race.crowd[0]);
        spawn_in(rt, heavy, runs_for_its_crowd, &race.crowd[1]);
    }
    T_WAIT_UNTIL(atomic_load(&race.over));
    /* A tenth: a slice of 200 us, and what is owed before somebody steals, for each worker. */
    fair = has_share(&race.crowd[0], 0.25, 0.1) && has_share(&race.crowd[1], 0.75, 0.1);
    T_CHECK(numbers_of(light).runs > 0);
    free_group(light);
    free_group(heavy);
    stop_runtime(rt);
    return fair;
}

Test(group, shares_hold_on_one_worker)
{
    hold_in_a_race(halves_are_fair, 1);
}

Test(group, shares_hold_on_two_workers)
{
    hold_in_a_race(halves_are_fair, 2);
}

Test(group, shares_hold_on_eight_workers)
{
    hold_in_a_race(halves_are_fair, 8);
}

struct spawner {
    filch_group *group;
    struct crowd *crowd;
    unsigned tasks;
};

static int spawns_a_crowd(void *arg)
{
    struct spawner *spawner = arg;

    for (unsigned i = 0; i < spawner->tasks; i++)
        T_OK(filch_task_spawn(runs_for_its_crowd, spawner->crowd,
                              &(filch_task_opts){.group = spawner->group}, NULL));
    return 0;
}

/* All of a group begin on one worker, and tasks without a group take part: who is owed most is
 * fetched from there. */
static bool three_are_fair(unsigned workers)
{
    filch_runtime *rt = start_runtime(workers);
    filch_group *heavy = group_of(rt, 200, FILCH_GROUP_NORMAL);
    filch_group *heaviest = group_of(rt, 300, FILCH_GROUP_BATCH);
    struct spawner spawners[3] = {{FILCH_NO_GROUP, &race.crowd[0], 6},
                                  {heavy, &race.crowd[1], 6},
                                  {heaviest, &race.crowd[2], 6}};
    bool fair;

    start_race(18, 12000);
    for (int i = 0; i < 3; i++)
        T_OK(filch_runtime_spawn(rt, spawns_a_crowd, &spawners[i], NULL, NULL));
    T_WAIT_UNTIL(atomic_load(&race.over));
    fair = has_share(&race.crowd[0], 1.0 / 6, 0.15) && has_share(&race.crowd[1], 2.0 / 6, 0.15) &&
           has_share(&race.crowd[2], 3.0 / 6, 0.15);
    free_group(heavy);
    free_group(heaviest);
    stop_runtime(rt);
    return fair;
}

Test(group, shares_hold_wherever_tasks_begin)
{
    hold_in_a_race(three_are_fair, 2);
}

static bool lightest_runs_little(unsigned workers)
{
    filch_runtime *rt = start_runtime(workers);
    filch_group *light = group_of(rt, 1, FILCH_GROUP_BATCH);
    filch_group *heavy = group_of(rt, FILCH_GROUP_WEIGHT_MAX, FILCH_GROUP_LATENCY);
    bool little;

    start_race(5, ULONG_MAX);
    for (int i = 0; i < 4; i++)
        spawn_in(rt, heavy, runs_for_its_crowd, &race.crowd[1]);
    spawn_in(rt, light, runs_for_its_crowd, &race.crowd[0]);
    /* More than a slice of it, with which it may begin. */
    T_WAIT_UNTIL(atomic_load(&race.crowd[0].units) >= 30);
    little = atomic_load(&race.crowd[0].units) < atomic_load(&race.crowd[1].units) / 10;
    atomic_store(&race.over, true);
    free_group(light);
    free_group(heavy);
    stop_runtime(rt);
    return little;
}

Test(group, a_light_group_is_not_starved_by_the_heaviest)
{
    hold_in_a_race(lightest_runs_little, 2);
}

Test(group, a_group_alone_has_all)
{
    filch_runtime *rt = start_runtime(0);
    filch_group *light = group_of(rt, 1, FILCH_GROUP_NORMAL);
    filch_group *idle = group_of(rt, FILCH_GROUP_WEIGHT_MAX, FILCH_GROUP_NORMAL);

    start_race(4, 2000);
    for (int i = 0; i < 4; i++)
        spawn_in(rt, light, runs_for_its_crowd, &race.crowd[0]);
    T_WAIT_UNTIL(atomic_load(&race.over));
    free_group(light);
    free_group(idle);
    stop_runtime(rt);
}

static bool changed_weight_is_fair(unsigned workers)
{
    filch_runtime *rt = start_runtime(workers);
    filch_group *one = group_of(rt, 100, FILCH_GROUP_NORMAL);
    filch_group *other = group_of(rt, 100, FILCH_GROUP_NORMAL);
    bool fair;

    T_OK(filch_group_set_weight(one, 400));
    T_CHECK(numbers_of(one).weight == 400);
    start_race(4, 8000);
    for (int i = 0; i < 2; i++) {
        spawn_in(rt, one, runs_for_its_crowd, &race.crowd[0]);
        spawn_in(rt, other, runs_for_its_crowd, &race.crowd[1]);
    }
    T_WAIT_UNTIL(atomic_load(&race.over));
    fair = has_share(&race.crowd[0], 0.8, 0.1);
    free_group(one);
    free_group(other);
    stop_runtime(rt);
    return fair;
}

Test(group, a_weight_that_changes_counts_from_then_on)
{
    hold_in_a_race(changed_weight_is_fair, 1);
}

/* ---- who is in it ---- */

static atomic_uint seen;

static int is_seen(void *arg)
{
    (void)arg;
    atomic_fetch_add(&seen, 1);
    return 0;
}

static int tells_its_group(void *arg)
{
    *(filch_group **)arg = filch_group_self();
    return 0;
}

static filch_poll polls_its_group(filch_future *self, filch_cx *cx)
{
    (void)cx;
    self->result = filch_group_self() != NULL;
    return FILCH_READY;
}

static int inherits(void *arg)
{
    filch_group *group = arg, *told = NULL;
    filch_future future = {.poll = polls_its_group};
    filch_task *task;
    FILCH_SCOPE(scope);

    T_CHECK(filch_group_self() == group);
    T_OK(filch_task_spawn(tells_its_group, &told, NULL, &task));
    T_OK(join(task));
    T_CHECK(told == group);
    T_OK(filch_scope_spawn(&scope, tells_its_group, &told));
    T_OK(filch_scope_join(&scope, T_LIMIT));
    T_CHECK(told == group);
    T_OK(filch_task_spawn(tells_its_group, &told, &(filch_task_opts){.group = FILCH_NO_GROUP},
                          &task));
    T_OK(join(task));
    T_CHECK(told == NULL);
    T_OK(filch_task_spawn(tells_its_group, &told, &(filch_task_opts){.pinned = true}, &task));
    T_OK(join(task));
    T_CHECK(told == group);
    T_OK(filch_future_spawn(&future, NULL, &task));
    T_IS(join(task), 1);
    T_OK(filch_future_spawn(&future, &(filch_task_opts){.group = FILCH_NO_GROUP}, &task));
    T_IS(join(task), 0);
    T_OK(filch_blocking_run(tells_its_group, &told, NULL, NULL, T_LIMIT));
    T_CHECK(told == NULL);
    return 0;
}

Test(group, what_a_task_of_a_group_spawns_is_in_it_too)
{
    filch_runtime *rt = start_runtime(0);
    filch_group *group = group_of(rt, 0, FILCH_GROUP_NORMAL);
    filch_task *task;
    int result;

    T_CHECK(filch_group_self() == NULL);
    T_OK(filch_runtime_spawn(rt, inherits, group, &(filch_task_opts){.group = group}, &task));
    T_OK(filch_task_join(task, &result, T_LIMIT));
    T_OK(result);
    T_CHECK(numbers_of(group).tasks == 0);
    T_CHECK(numbers_of(group).weight == FILCH_GROUP_WEIGHT_DEFAULT);
    T_OK(filch_group_free(group));
    stop_runtime(rt);
}

Test(group, one_with_tasks_in_it_is_busy)
{
    filch_runtime *rt = start_runtime(0);
    filch_group *group = group_of(rt, 0, FILCH_GROUP_NORMAL), *again;
    filch_task *task;

    T_OK(filch_runtime_spawn(rt, sleep_until_cancelled, NULL, &(filch_task_opts){.group = group},
                             &task));
    T_IS(filch_group_free(group), -EBUSY);
    T_CHECK(numbers_of(group).tasks == 1);
    T_OK(filch_task_cancel(task));
    T_IS(join(task), -ECANCELED);
    T_OK(filch_group_free(group));
    again = group_of(rt, 0, FILCH_GROUP_NORMAL); /* in the same place */
    T_CHECK(again != group);
    T_IS(filch_group_free(group), -ESRCH);
    T_IS(filch_runtime_spawn(rt, is_seen, NULL, &(filch_task_opts){.group = group}, NULL), -EINVAL);
    T_OK(filch_group_free(again));
    stop_runtime(rt);
}

Test(group, as_many_as_there_may_be)
{
    filch_runtime *rt = start_runtime(0);
    filch_group *groups[31], *more = NULL;

    for (int i = 0; i < 31; i++)
        groups[i] = group_of(rt, 1, FILCH_GROUP_BATCH);
    T_IS(filch_group_new(rt, NULL, &more), -ENOSPC);
    T_CHECK(!more);
    atomic_store(&seen, 0);
    for (int i = 0; i < 310; i++)
        spawn_in(rt, groups[i % 31], is_seen, NULL);
    T_WAIT_UNTIL(atomic_load(&seen) == 310);
    for (int i = 0; i < 31; i++)
        free_group(groups[i]);
    stop_runtime(rt);
}

Test(group, of_another_runtime_is_refused)
{
    filch_runtime *rt = start_runtime(0), *other = start_runtime(1);
    filch_group *group = group_of(other, 0, FILCH_GROUP_NORMAL);

    T_IS(filch_runtime_spawn(rt, is_seen, NULL, &(filch_task_opts){.group = group}, NULL), -EINVAL);
    T_CHECK(numbers_of(group).tasks == 0);
    stop_runtime(other);
    T_IS(filch_group_free(group), -ESRCH); /* it has ended with its runtime */
    T_IS(filch_runtime_spawn(rt, is_seen, NULL, &(filch_task_opts){.group = group}, NULL), -EINVAL);
    stop_runtime(rt);
}

/* ---- nothing is lost ---- */

#define THREADS 3
#define SPAWNS 2000

struct outside {
    filch_runtime *rt;
    filch_group *group;
};

static int yields_and_is_seen(void *arg)
{
    filch_task_yield();
    T_OK(filch_sleep(filch_after(FILCH_MICROSECOND)));
    return is_seen(arg);
}

static void *spawns_from_outside(void *arg)
{
    struct outside *outside = arg;

    for (int i = 0; i < SPAWNS; i++)
        spawn_in(outside->rt, i % 3 ? outside->group : NULL, yields_and_is_seen, NULL);
    return NULL;
}

Test(group, spawns_from_outside_all_run)
{
    filch_runtime *rt = start_runtime(0);
    struct outside outside = {rt, group_of(rt, 10, FILCH_GROUP_LATENCY)};
    pthread_t threads[THREADS];

    atomic_store(&seen, 0);
    for (int i = 0; i < THREADS; i++)
        T_OK(pthread_create(&threads[i], NULL, spawns_from_outside, &outside));
    for (int i = 0; i < THREADS; i++)
        T_OK(pthread_join(threads[i], NULL));
    T_WAIT_UNTIL(atomic_load(&seen) == THREADS * SPAWNS);
    T_WAIT_UNTIL(numbers_of(outside.group).tasks == 0);
    stop_runtime(rt);
}

static int ends_when_cancelled(void *arg)
{
    T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    return is_seen(arg);
}

static int yields_until_cancelled(void *arg)
{
    while (!filch_task_is_cancelled())
        filch_task_yield();
    return is_seen(arg);
}

Test(group, a_shutdown_ends_all_of_them)
{
    filch_runtime *rt = start_runtime(0);
    filch_group *groups[2] = {group_of(rt, 1, FILCH_GROUP_BATCH),
                              group_of(rt, 900, FILCH_GROUP_LATENCY)};

    atomic_store(&seen, 0);
    for (int i = 0; i < 200; i++)
        spawn_in(rt, groups[i % 2], i % 3 ? ends_when_cancelled : yields_until_cancelled, NULL);
    stop_runtime(rt);
    T_CHECK(atomic_load(&seen) == 200);
}

/* Groups come and go while tasks of others run: workers go over to choosing and back. */
static int comes_and_goes(void *arg)
{
    filch_runtime *rt = arg;

    for (int i = 0; i < 200; i++) {
        filch_group *group = group_of(rt, 1 + (unsigned)i, (filch_group_kind)(i % 3));
        filch_task *task;

        T_OK(filch_task_spawn(yields_and_is_seen, NULL, &(filch_task_opts){.group = group}, &task));
        T_OK(join(task));
        T_OK(filch_group_free(group));
        if (i % 10 == 0)
            let_others_run();
    }
    atomic_store(&race.over, true);
    return 0;
}

Test(group, groups_come_and_go_while_others_run)
{
    filch_runtime *rt = start_runtime(0);

    start_race(3, 1000000000);
    atomic_store(&seen, 0);
    for (int i = 0; i < 3; i++)
        T_OK(filch_runtime_spawn(rt, runs_for_its_crowd, &race.crowd[i], NULL, NULL));
    T_OK(filch_runtime_block_on(rt, comes_and_goes, rt, NULL, FILCH_NEVER));
    T_CHECK(atomic_load(&seen) == 200);
    stop_runtime(rt);
}

/* ---- making room ---- */

FILCH_TASK1(long, fib, int, n)
{
    FILCH_FORKED(fib) left;
    long right;

    if (n < 2)
        return n;
    FILCH_FORK(fib, &left, n - 1);
    right = FILCH_CALL(fib, n - 2);
    return FILCH_JOIN(fib, &left) + right;
}

static atomic_bool stop;

/* Nothing in it suspends but its forks. */
static int forks_until_stopped(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop))
        T_CHECK(fib(22) == 17711);
    return 0;
}

static int sleeps_often(void *arg)
{
    for (int i = 0; i < 50; i++)
        T_OK(filch_sleep(filch_after(100 * FILCH_MICROSECOND)));
    return is_seen(arg);
}

/* As many as there are workers fork without end, and nobody else is called in. */
static void forks_make_room(unsigned workers)
{
    filch_runtime *rt =
        test_start(&(filch_runtime_opts){.workers = workers, .spare_workers = FILCH_NO_SPARES});
    filch_group *batch = group_of(rt, 100, FILCH_GROUP_BATCH);
    filch_group *serving = group_of(rt, 300, FILCH_GROUP_LATENCY);

    atomic_store(&stop, false);
    atomic_store(&seen, 0);
    for (unsigned i = 0; i < workers; i++)
        spawn_in(rt, batch, forks_until_stopped, NULL);
    for (int i = 0; i < 20; i++)
        spawn_in(rt, serving, sleeps_often, NULL);
    spawn_in(rt, NULL, sleeps_often, NULL);
    T_WAIT_UNTIL(atomic_load(&seen) == 21);
    if (!test_in_chaos()) /* there forks leave by themselves */
        T_CHECK(numbers_of(batch).yields > 0);
    T_CHECK(numbers_of(serving).delay_ns > 0);
    atomic_store(&stop, true);
    free_group(batch);
    free_group(serving);
    stop_runtime(rt);
}

Test(group, forks_of_a_group_make_room_on_one_worker)
{
    forks_make_room(1);
}

Test(group, forks_of_a_group_make_room_on_all_workers)
{
    forks_make_room(2);
}

static int yields_often(void *arg)
{
    for (int i = 0; i < 100; i++)
        filch_task_yield();
    return is_seen(arg);
}

static int both_in_turn(void *arg)
{
    filch_group *batch = group_of(arg, 100, FILCH_GROUP_BATCH);
    filch_group *serving = group_of(arg, 300, FILCH_GROUP_NORMAL);

    spawn_in(arg, batch, forks_until_stopped, NULL);
    spawn_in(arg, serving, yields_often, NULL);
    while (!atomic_load(&seen))
        T_OK(filch_sleep(filch_after(FILCH_MILLISECOND)));
    T_CHECK(test_in_chaos() || numbers_of(batch).yields > 0);
    atomic_store(&stop, true);
    while (numbers_of(batch).tasks)
        T_OK(filch_sleep(filch_after(FILCH_MILLISECOND)));
    free_group(batch);
    free_group(serving);
    return 0;
}

/* On a host's thread nobody looks from outside: forks look at the clock themselves. */
Test(group, forks_make_room_though_nobody_asks_them)
{
    filch_runtime *rt = test_start(&(filch_runtime_opts){.current_thread = true});

    atomic_store(&stop, false);
    atomic_store(&seen, 0);
    T_OK(filch_runtime_block_on(rt, both_in_turn, rt, NULL, FILCH_NEVER));
    T_OK(filch_runtime_shutdown(rt, T_LIMIT));
}

static int asks_until_told(void *arg)
{
    filch_time limit = T_LIMIT;

    while (!atomic_load(&seen)) {
        while (!filch_should_yield())
            T_CHECK(filch_now() < limit);
        filch_task_yield();
    }
    return filch_group_self() == arg;
}

Test(group, a_task_that_computes_is_told_to_make_room)
{
    filch_runtime *rt =
        test_start(&(filch_runtime_opts){.workers = 1, .spare_workers = FILCH_NO_SPARES});
    filch_group *batch = group_of(rt, 100, FILCH_GROUP_BATCH);
    filch_task *task;

    atomic_store(&seen, 0);
    T_OK(
        filch_runtime_spawn(rt, asks_until_told, batch, &(filch_task_opts){.group = batch}, &task));
    spawn_in(rt, NULL, is_seen, NULL);
    T_IS(join(task), 1);
    stop_runtime(rt);
}

/* Forks where a task must not suspend: none of them makes room, and nothing aborts. */
static int forks_in_a_section(void *arg)
{
    for (int i = 0; i < 200; i++) {
        filch_rcu_read_begin();
        for (int n = 0; n < 100; n++) {
            filch_forked fork;

            T_OK(filch_fork(&fork, is_seen, NULL));
            T_OK(filch_join(&fork));
        }
        filch_rcu_read_end();
    }
    (void)arg;
    return 0;
}

Test(group, forks_in_a_read_section_make_no_room)
{
    filch_runtime *rt;
    filch_group *batch;
    filch_task *task;

    if (test_in_chaos())
        cr_skip_test("each join may suspend then");
    rt = test_start(&(filch_runtime_opts){.workers = 1, .spare_workers = FILCH_NO_SPARES});
    batch = group_of(rt, 100, FILCH_GROUP_BATCH);
    T_OK(filch_runtime_spawn(rt, forks_in_a_section, NULL, &(filch_task_opts){.group = batch},
                             &task));
    T_OK(join(task));
    stop_runtime(rt);
}
