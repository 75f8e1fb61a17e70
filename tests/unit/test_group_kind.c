/* Description: what the kinds of scheduling groups are for: a burst of a latency group goes first,
 * ahead of its share, before what was ready earlier; it has a batch group make room at once, and
 * nobody else. On a host's thread, where nobody asks for room but who wakes. */
#include <pthread.h>
#include <time.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(group_kind, .timeout = 120);

static filch_group *group_of(filch_runtime *rt, filch_group_kind kind)
{
    filch_group *group = NULL;

    T_OK(filch_group_new(rt, &(filch_group_opts){.kind = kind}, &group));
    return group;
}

static void spawn_in(filch_runtime *rt, filch_group *group, filch_fn fn, void *arg)
{
    T_OK(filch_runtime_spawn(rt, fn, arg, &(filch_task_opts){.group = group}, NULL));
}

struct start {
    filch_group *group;
    filch_fn fn;
    void *arg;
};

static int starts(void *arg)
{
    struct start *start = arg;
    filch_task *task;

    T_OK(filch_task_spawn(start->fn, start->arg, &(filch_task_opts){.group = start->group}, &task));
    return join(task);
}

/* A task of @group runs @fn, on the calling thread. */
static void run_in_group(filch_runtime *rt, filch_group *group, filch_fn fn, void *arg)
{
    struct start start = {group, fn, arg};
    int result = -1;

    T_OK(filch_runtime_block_on(rt, starts, &start, &result, FILCH_NEVER));
    T_OK(result);
}

static filch_runtime *start_alone(void)
{
    return test_start(&(filch_runtime_opts){.current_thread = true});
}

static int does_nothing(void *arg)
{
    (void)arg;
    return 0;
}

/* ---- room at once ---- */

/* Budgets are whole: each is asked once at most, and yields then. */
static int is_asked_for(filch_group *by, const filch_task_opts *opts)
{
    filch_task_opts in_group = *opts;
    bool asked;

    in_group.group = by;
    filch_task_yield();
    T_CHECK(!filch_should_yield());
    T_OK(filch_task_spawn(does_nothing, NULL, &in_group, NULL));
    asked = filch_should_yield();
    filch_task_yield();
    return asked;
}

struct kinds {
    filch_group *normal;
    filch_group *latency;
    filch_group *batch;
};

static struct kinds new_kinds(filch_runtime *rt)
{
    return (struct kinds){group_of(rt, FILCH_GROUP_NORMAL), group_of(rt, FILCH_GROUP_LATENCY),
                          group_of(rt, FILCH_GROUP_BATCH)};
}

static int batch_is_asked(void *arg)
{
    struct kinds *kinds = arg;
    filch_task_opts anywhere = {0}, pinned = {.pinned = true}, begins = {.worker = 1};

    T_CHECK(is_asked_for(kinds->latency, &anywhere));
    T_CHECK(is_asked_for(kinds->latency, &pinned));
    T_CHECK(is_asked_for(kinds->latency, &begins));
    T_CHECK(!is_asked_for(kinds->normal, &anywhere));
    T_CHECK(!is_asked_for(kinds->normal, &pinned));
    T_CHECK(!is_asked_for(kinds->batch, &anywhere));
    T_CHECK(!is_asked_for(FILCH_NO_GROUP, &anywhere));
    return 0;
}

static int nobody_else_is_asked(void *arg)
{
    struct kinds *kinds = arg;
    filch_task_opts anywhere = {0};

    T_CHECK(!is_asked_for(kinds->latency, &anywhere));
    T_CHECK(!is_asked_for(kinds->normal, &anywhere));
    return 0;
}

Test(group_kind, a_batch_group_is_asked_for_room_at_once_by_a_latency_group)
{
    filch_runtime *rt = start_alone();
    struct kinds kinds = new_kinds(rt);

    run_in_group(rt, kinds.batch, batch_is_asked, &kinds);
    run_in_group(rt, kinds.normal, nobody_else_is_asked, &kinds);
    run_in_group(rt, kinds.latency, nobody_else_is_asked, &kinds);
    stop_runtime(rt);
}

static atomic_bool computing;

static int computes_until_asked(void *arg)
{
    filch_time limit = T_LIMIT;

    (void)arg;
    atomic_store(&computing, true);
    while (!filch_should_yield())
        T_CHECK(filch_now() < limit);
    return 0;
}

struct from_outside {
    filch_runtime *rt;
    filch_group *group;
};

static void *spawns_when_it_computes(void *arg)
{
    struct from_outside *outside = arg;

    T_WAIT_UNTIL(atomic_load(&computing));
    spawn_in(outside->rt, outside->group, does_nothing, NULL);
    return NULL;
}

Test(group_kind, by_a_thread_of_the_host_too)
{
    filch_runtime *rt = start_alone();
    struct kinds kinds = new_kinds(rt);
    struct from_outside outside = {rt, kinds.latency};
    pthread_t thread;

    T_OK(pthread_create(&thread, NULL, spawns_when_it_computes, &outside));
    run_in_group(rt, kinds.batch, computes_until_asked, NULL);
    T_OK(pthread_join(thread, NULL));
    stop_runtime(rt);
}

/* ---- first ---- */

static filch_time cpu_now(void)
{
    struct timespec ts;

    T_OK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts));
    return (filch_time)ts.tv_sec * FILCH_SECOND + (filch_time)ts.tv_nsec;
}

static void work(void)
{
    filch_time began = cpu_now();

    while (cpu_now() - began < 20 * FILCH_MICROSECOND)
        ;
}

static atomic_uint earlier; /* tasks that were ready before, and have run */

static int is_earlier(void *arg)
{
    (void)arg;
    atomic_fetch_add(&earlier, 1);
    return 0;
}

static int is_first(void *arg)
{
    (void)arg;
    T_CHECK(atomic_load(&earlier) == 0);
    return 0;
}

/* Its group has used more than the other one then, and has just begun a slice: what is ready in it
 * would be next. */
static int spawns_both(void *arg)
{
    filch_time began = cpu_now();
    filch_task *last;

    while (cpu_now() - began < 2 * FILCH_MILLISECOND) {
        work();
        filch_task_yield();
    }
    for (int i = 0; i < 10; i++)
        T_OK(filch_task_spawn(is_earlier, NULL, NULL, NULL));
    T_OK(filch_task_spawn(is_first, NULL, &(filch_task_opts){.group = arg}, &last));
    return join(last);
}

Test(group_kind, what_is_ready_in_a_latency_group_goes_before_what_was_ready_earlier)
{
    filch_runtime *rt = start_alone();
    struct kinds kinds = new_kinds(rt);

    for (int i = 0; i < 10; i++) {
        atomic_store(&earlier, 0);
        run_in_group(rt, kinds.normal, spawns_both, kinds.latency);
        while (atomic_load(&earlier) < 10)
            T_CHECK(filch_runtime_turn(rt, 0, 0, NULL) >= 0);
    }
    stop_runtime(rt);
}

/* ---- ahead of its share ---- */

#define WARM_NS (8 * FILCH_MILLISECOND) /* so long the others have had all to themselves */
/* Less than the credit of a latency group, 5 ms, and more than that of any other, 1 ms. */
#define BURST_NS (3 * FILCH_MILLISECOND)

static unsigned others_meanwhile; /* during the burst */
static unsigned others;           /* times that they ran */
static bool is_over;

static int is_the_burst(void *arg)
{
    filch_time began = cpu_now();
    unsigned before = others;

    (void)arg;
    while (cpu_now() - began < BURST_NS) {
        work();
        filch_task_yield();
    }
    others_meanwhile = others - before;
    is_over = true;
    return 0;
}

static int is_one_of_the_others(void *arg)
{
    (void)arg;
    while (!is_over) {
        work();
        others++;
        filch_task_yield();
    }
    return 0;
}

/* The burst comes once the others have been alone for a while. */
static int warms_up(void *arg)
{
    filch_time began = cpu_now();
    filch_task *other, *burst;

    T_OK(filch_task_spawn(is_one_of_the_others, NULL, NULL, &other));
    while (cpu_now() - began < WARM_NS)
        filch_task_yield();
    T_OK(filch_task_spawn(is_the_burst, NULL, &(filch_task_opts){.group = arg}, &burst));
    T_OK(join(burst));
    return join(other);
}

static unsigned others_during_a_burst(filch_group_kind kind)
{
    filch_runtime *rt = start_alone();
    filch_group *normal = group_of(rt, FILCH_GROUP_NORMAL);
    filch_group *group = group_of(rt, kind);

    is_over = false;
    run_in_group(rt, normal, warms_up, group);
    stop_runtime(rt);
    return others_meanwhile;
}

/* Time that the kernel takes from the thread may count as used, and ends the burst: not each time.
 */
Test(group_kind, a_burst_of_a_latency_group_has_the_worker_to_itself)
{
    for (int bursts = 1; others_during_a_burst(FILCH_GROUP_LATENCY) > 0; bursts++)
        T_CHECK(bursts < 16);
}

Test(group_kind, a_burst_of_any_other_has_its_share)
{
    T_CHECK(others_during_a_burst(FILCH_GROUP_NORMAL) > 0);
    T_CHECK(others_during_a_burst(FILCH_GROUP_BATCH) > 0);
}
