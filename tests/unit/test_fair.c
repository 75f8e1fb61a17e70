/* Description: nobody waits for a busy worker: what a task that never suspends has queued, its
 * worker's timers and its worker's I/O are seen to by others, idle or busy; and a worker whose
 * tasks run long calls for help as it spawns. */
#include <errno.h>
#include <pthread.h>

#include <criterion/criterion.h>

#include "runtime/sched/worker.h"
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

/* Two that wake each other all the time, through the slot of a worker that is served before its
 * queue, and one that only wants its turn. */
struct pair {
    filch_chan *there;
    filch_chan *back;
    atomic_ulong rounds;
    unsigned long most; /* rounds between two turns of the third */
    unsigned long all;
};

static int throws_back(void *arg)
{
    struct pair *pair = arg;
    int ball;

    while (filch_chan_recv(pair->there, &ball, FILCH_NEVER) == 0)
        T_OK(filch_chan_send(pair->back, &ball, FILCH_NEVER));
    return 0;
}

static int throws(void *arg)
{
    struct pair *pair = arg;
    int ball = 0;

    while (!atomic_load(&seen)) {
        T_OK(filch_chan_send(pair->there, &ball, FILCH_NEVER));
        T_OK(filch_chan_recv(pair->back, &ball, FILCH_NEVER));
        atomic_fetch_add(&pair->rounds, 1);
    }
    filch_chan_close(pair->there);
    return 0;
}

#define TURNS 2000

static int takes_its_turns(void *arg)
{
    struct pair *pair = arg;
    unsigned long start = atomic_load(&pair->rounds), last = start;

    for (int i = 0; i < TURNS; i++) {
        unsigned long now;

        filch_task_yield();
        now = atomic_load(&pair->rounds);
        if (now - last > pair->most)
            pair->most = now - last;
        last = now;
    }
    pair->all = last - start;
    atomic_store(&seen, true);
    return 0;
}

static int pair_and_third(void *arg)
{
    FILCH_SCOPE(scope);

    T_OK(filch_scope_spawn(&scope, throws_back, arg));
    T_OK(filch_scope_spawn(&scope, throws, arg));
    while (!atomic_load(&((struct pair *)arg)->rounds))
        filch_task_yield();
    T_OK(filch_scope_spawn(&scope, takes_its_turns, arg));
    return filch_scope_join(&scope, T_LIMIT);
}

/* One worker, so nobody else helps: counted in switches, not in time. */
Test(fair, a_pair_that_wakes_each_other_does_not_starve_a_third)
{
    struct pair pair = {0};

    atomic_store(&seen, false);
    T_OK(filch_chan_new(sizeof(int), 1, &pair.there));
    T_OK(filch_chan_new(sizeof(int), 1, &pair.back));
    T_OK(run_in_runtime(1, pair_and_third, &pair));
    cr_assert_leq(pair.most, 8, "%lu rounds between two turns", pair.most);
    cr_assert_gt(pair.all, 0); /* the pair was not starved either */
    filch_chan_unref(pair.there);
    filch_chan_unref(pair.back);
}

/* One that computes and yields, and two that compute as much and wake each other, on one worker:
 * each of them gets its share. Counted in pieces of work, not in time. */
struct shares {
    filch_chan *there, *back;
    atomic_bool end;
    unsigned long hog, light[2];
};

static void work(unsigned long *count)
{
    for (volatile unsigned i = 0; i < 20000; i++)
        ;
    ++*count;
}

static int hogs(void *arg)
{
    struct shares *shares = arg;

    while (shares->hog < 3000) {
        work(&shares->hog);
        filch_task_yield();
    }
    atomic_store(&shares->end, true);
    return 0;
}

static int works_when_woken(void *arg)
{
    struct shares *shares = arg;
    int ball;

    while (filch_chan_recv(shares->there, &ball, FILCH_NEVER) == 0) {
        work(&shares->light[1]);
        T_OK(filch_chan_send(shares->back, &ball, FILCH_NEVER));
    }
    return 0;
}

static int works_and_wakes(void *arg)
{
    struct shares *shares = arg;
    int ball = 0;

    while (!atomic_load(&shares->end)) {
        work(&shares->light[0]);
        T_OK(filch_chan_send(shares->there, &ball, FILCH_NEVER));
        T_OK(filch_chan_recv(shares->back, &ball, FILCH_NEVER));
    }
    filch_chan_close(shares->there);
    return 0;
}

static int hog_and_pair(void *arg)
{
    FILCH_SCOPE(scope);

    T_OK(filch_scope_spawn(&scope, works_when_woken, arg));
    T_OK(filch_scope_spawn(&scope, works_and_wakes, arg));
    T_OK(filch_scope_spawn(&scope, hogs, arg));
    return filch_scope_join(&scope, T_LIMIT);
}

Test(fair, a_hog_and_a_pair_get_like_shares)
{
    struct shares shares = {.hog = 0};

    T_OK(filch_chan_new(sizeof(int), 1, &shares.there));
    T_OK(filch_chan_new(sizeof(int), 1, &shares.back));
    T_OK(run_in_runtime(1, hog_and_pair, &shares));
    printf("%lu to %lu and %lu\n", shares.hog, shares.light[0], shares.light[1]);
    for (int i = 0; i < 2; i++)
        cr_assert(shares.light[i] < 2 * shares.hog && shares.hog < 2 * shares.light[i],
                  "%lu to %lu", shares.hog, shares.light[i]);
    filch_chan_unref(shares.there);
    filch_chan_unref(shares.back);
}

/* Sleeps among tasks that compute for some hundred microseconds at a time, on one worker. How late
 * they end is counted in turns of these, as the machine may stop us at any time: so many are less
 * than 10 ms of work. A worker looks at the clock every 32 turns. */
enum { LOAD = 4, NAPS = 200, TURNS_LATE = 32 + 2 * LOAD };

struct naps {
    atomic_bool end;
    _Atomic filch_time due;   /* FILCH_NEVER: nobody sleeps */
    atomic_ulong late_by;     /* turns that began after it */
    unsigned long late[NAPS]; /* of each nap */
};

static int loads(void *arg)
{
    struct naps *naps = arg;
    unsigned long pieces = 0;

    while (!atomic_load(&naps->end)) {
        if (filch_now() >= atomic_load(&naps->due))
            atomic_fetch_add(&naps->late_by, 1);
        for (int i = 0; i < 5; i++)
            work(&pieces);
        filch_task_yield();
    }
    return 0;
}

static int takes_naps(void *arg)
{
    struct naps *naps = arg;

    for (int i = 0; i < NAPS; i++) {
        filch_time due = filch_after(FILCH_MILLISECOND);

        atomic_store(&naps->late_by, 0);
        atomic_store(&naps->due, due);
        T_OK(filch_sleep(due));
        atomic_store(&naps->due, FILCH_NEVER);
        naps->late[i] = atomic_load(&naps->late_by);
    }
    atomic_store(&naps->end, true);
    return 0;
}

static int naps_under_load(void *arg)
{
    FILCH_SCOPE(scope);

    for (int i = 0; i < LOAD; i++)
        T_OK(filch_scope_spawn(&scope, loads, arg));
    T_OK(filch_scope_spawn(&scope, takes_naps, arg));
    return filch_scope_join(&scope, T_LIMIT);
}

Test(fair, timers_under_load_are_not_late)
{
    static struct naps naps = {.due = FILCH_NEVER};
    unsigned late = 0;

    T_OK(run_in_runtime(1, naps_under_load, &naps));
    for (int i = 0; i < NAPS; i++)
        late += naps.late[i] > TURNS_LATE;
    cr_assert_leq(late, NAPS / 100, "%u of %d were late", late, NAPS);
}

static atomic_uint inside;

/* Computes for some microseconds at a time, and yields, until two do so at once. */
static int computes_in_turns(void *arg)
{
    filch_time limit = T_LIMIT;

    (void)arg;
    while (!atomic_load(&seen)) {
        if (atomic_fetch_add(&inside, 1) > 0)
            atomic_store(&seen, true);
        for (unsigned i = 0; i < 2000 && atomic_load_explicit(&inside, memory_order_relaxed); i++)
            ;
        atomic_fetch_sub(&inside, 1);
        filch_task_yield();
        T_CHECK(filch_now() < limit);
    }
    return 0;
}

static int four_that_compute(void *arg)
{
    FILCH_SCOPE(scope);

    (void)arg;
    for (int i = 0; i < 4; i++)
        T_OK(filch_scope_spawn(&scope, computes_in_turns, NULL));
    return filch_scope_join(&scope, T_LIMIT);
}

/* Each of them waits for a few microseconds only, so that nobody is late. */
Test(fair, tasks_that_compute_and_yield_get_a_worker_each)
{
    atomic_store(&seen, false);
    T_OK(run_in_runtime(2, four_that_compute, NULL));
    T_CHECK(atomic_load(&seen));
}

static int counts_its_yields(void *arg)
{
    struct filch__worker *worker = filch__worker_self();
    uint64_t before = worker->yielders.yields;

    (void)arg;
    for (int i = 0; i < 100; i++)
        filch_task_yield();
    T_IS(worker->yielders.yields - before, 100);
    return 0;
}

Test(fair, yields_are_counted_where_they_are_made)
{
    T_OK(run_in_runtime(1, counts_its_yields, NULL));
}
