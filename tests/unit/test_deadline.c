/* Description: deadlines and shields around a block of code: nested, inherited, left early, and
 * what a cancel is then; values that children inherit. */
#include <errno.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"
#include "tests/runner/tcp_pair.h"

TestSuite(deadline, .timeout = 120);

#define SOON filch_after(2 * FILCH_MILLISECOND)

static int ends_waits(void *arg)
{
    filch_time start = filch_now();

    (void)arg;
    FILCH_DEADLINE(start + 2 * FILCH_MILLISECOND)
    {
        T_IS(filch_deadline(), start + 2 * FILCH_MILLISECOND);
        T_CHECK(!filch_task_is_cancelled());
        T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
        T_CHECK(filch_now() >= start + 2 * FILCH_MILLISECOND);
        T_IS(filch_cancel_cause(), -ETIMEDOUT);
        T_CHECK(filch_task_is_cancelled());
        T_IS(filch_sleep(FILCH_NEVER), -ECANCELED); /* it stays */
    }
    T_IS(filch_cancel_cause(), 0);
    T_CHECK(!filch_task_is_cancelled());
    T_IS(filch_deadline(), FILCH_NEVER);
    T_OK(filch_sleep(SOON));
    return 0;
}

Test(deadline, ends_what_waits_in_the_block_and_nothing_after_it)
{
    T_OK(run_in_runtime(0, ends_waits, NULL));
}

static int leaves_early(void *arg)
{
    filch_block block;

    (void)arg;
    for (int i = 0; i < 1000; i++) {
        FILCH_DEADLINE(filch_after(FILCH_SECOND))
        {
            if (i & 1)
                break;
            filch_task_yield();
        }
        T_IS(filch_deadline(), FILCH_NEVER);
    }
    T_OK(filch_deadline_begin(&block, filch_after(FILCH_SECOND)));
    T_OK(filch_block_end(&block));
    T_OK(filch_block_end(&block)); /* does nothing */
    T_OK(filch_deadline_begin(&block, FILCH_NOW));
    T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    T_IS(filch_block_end(&block), -ETIMEDOUT);
    T_OK(filch_deadline_begin(&block, FILCH_NEVER));
    T_OK(filch_sleep(SOON));
    T_OK(filch_block_end(&block));
    return 0;
}

Test(deadline, a_block_can_be_left_in_any_way)
{
    T_OK(run_in_runtime(0, leaves_early, NULL));
}

static int nests(void *arg)
{
    filch_time start = filch_now();

    (void)arg;
    /* The outer one is the earlier. */
    FILCH_DEADLINE(start + 2 * FILCH_MILLISECOND)
    {
        FILCH_DEADLINE(FILCH_NEVER)
        {
            FILCH_DEADLINE(filch_after(FILCH_SECOND))
            {
                T_IS(filch_deadline(), start + 2 * FILCH_MILLISECOND);
                T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
            }
            T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
        }
        T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    }
    /* The inner one. */
    FILCH_DEADLINE(T_LIMIT)
    {
        for (int i = 0; i < 5; i++) {
            FILCH_DEADLINE(filch_after(FILCH_MILLISECOND))
            {
                T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
            }
            T_OK(filch_sleep(filch_after(FILCH_MILLISECOND)));
        }
    }
    T_IS(filch_cancel_cause(), 0);
    return 0;
}

Test(deadline, an_inner_one_does_not_extend_an_outer_one)
{
    T_OK(run_in_runtime(0, nests, NULL));
}

static int calls_own_limit_first(void *arg)
{
    (void)arg;
    FILCH_DEADLINE(T_LIMIT)
    {
        filch_chan *chan;
        int x;

        T_OK(filch_chan_new(sizeof(int), 1, &chan));
        T_IS(filch_chan_recv(chan, &x, SOON), -ETIMEDOUT);
        T_IS(filch_chan_recv(chan, &x, FILCH_NOW), -ETIMEDOUT);
        filch_chan_unref(chan);
    }
    FILCH_DEADLINE(SOON)
    {
        filch_chan *chan;
        int x = 1;

        T_OK(filch_chan_new(sizeof(int), 1, &chan));
        T_IS(filch_chan_recv(chan, &x, T_LIMIT), -ECANCELED);
        /* What can be done at once is done. */
        T_OK(filch_chan_send(chan, &x, FILCH_NEVER));
        T_OK(filch_chan_recv(chan, &x, FILCH_NEVER));
        filch_chan_unref(chan);
    }
    return 0;
}

Test(deadline, a_calls_own_limit_is_another_thing)
{
    T_OK(run_in_runtime(0, calls_own_limit_first, NULL));
}

static int reads_nothing(void *arg)
{
    struct tcp_pair pair;
    char byte;

    (void)arg;
    connect_pair(&pair);
    FILCH_DEADLINE(SOON)
    {
        T_IS(filch_tcp_read(pair.server, &byte, 1, FILCH_NEVER), -ECANCELED);
    }
    T_IS(filch_tcp_write(pair.client, "x", 1, T_LIMIT), 1);
    T_IS(filch_tcp_read(pair.server, &byte, 1, T_LIMIT), 1);
    close_pair(&pair);
    return 0;
}

Test(deadline, ends_io_too)
{
    T_OK(run_in_runtime(0, reads_nothing, NULL));
}

/* ---- inherited ---- */

static atomic_int leaves;

static int tree(void *arg)
{
    int depth = (int)(intptr_t)arg;
    FILCH_SCOPE(scope);

    T_CHECK(filch_deadline() != FILCH_NEVER);
    if (depth == 0) {
        T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
        T_IS(filch_cancel_cause(), -ETIMEDOUT);
        atomic_fetch_add(&leaves, 1);
        return -ETIMEDOUT;
    }
    for (int i = 0; i < 5; i++)
        T_OK(filch_scope_spawn(&scope, tree, (void *)(intptr_t)(depth - 1)));
    /* It does not look at its children until they have seen the deadline by themselves. */
    FILCH_SHIELD(FILCH_NEVER)
    {
        T_IS(filch_scope_join(&scope, T_LIMIT), -ETIMEDOUT);
    }
    return -ETIMEDOUT;
}

static int has_none(void *arg)
{
    T_IS(filch_deadline(), FILCH_NEVER);
    (void)arg;
    return 0;
}

static int inherits(void *arg)
{
    filch_time start = filch_now();
    filch_task *detached;

    (void)arg;
    FILCH_DEADLINE(start + 5 * FILCH_MILLISECOND)
    {
        FILCH_SCOPE(scope);
        T_OK(filch_scope_spawn_opts(&scope, tree, (void *)4,
                                    &(filch_task_opts){.save_fp = true, .name = "root"}));
        T_OK(filch_task_spawn(has_none, NULL, NULL, &detached));
        FILCH_SHIELD(FILCH_NEVER)
        {
            T_OK(join(detached));
            T_OK(filch_scope_spawn(&scope, has_none, NULL)); /* as its spawner sees it */
            T_IS(filch_scope_join(&scope, T_LIMIT), -ETIMEDOUT);
        }
    }
    T_IS(atomic_load(&leaves), 5 * 5 * 5 * 5);
    return 0;
}

Test(deadline, all_descendants_in_scopes_have_it)
{
    T_OK(run_in_runtime(0, inherits, NULL));
}

/* ---- shields ---- */

static int shielded(void *arg)
{
    filch_block block;

    (void)arg;
    T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    FILCH_SHIELD(T_LIMIT)
    {
        T_CHECK(!filch_task_is_cancelled());
        T_IS(filch_cancel_cause(), -EIO);
        T_OK(filch_sleep(SOON));
        /* A deadline within is seen, and over with its block. */
        FILCH_DEADLINE(SOON)
        {
            T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
        }
        T_OK(filch_sleep(SOON));
        /* A shield within lasts no longer. */
        FILCH_SHIELD(FILCH_NEVER)
        {
            T_OK(filch_sleep(SOON));
        }
        T_OK(filch_sleep(SOON));
    }
    T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    /* The limit. */
    T_OK(filch_shield_begin(&block, SOON));
    T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    T_IS(filch_block_end(&block), -ETIMEDOUT);
    FILCH_SHIELD(SOON)
    {
        FILCH_SHIELD(T_LIMIT)
        {
            T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
        }
    }
    FILCH_SHIELD(FILCH_NOW)
    {
        T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    }
    return 0;
}

static int shields(void *arg)
{
    filch_task *task = spawn(shielded, NULL);

    (void)arg;
    let_others_run();
    T_OK(filch_task_cancel_cause(task, -EIO));
    return join(task);
}

Test(deadline, a_shield_hides_the_cancel_for_its_time)
{
    T_OK(run_in_runtime(0, shields, NULL));
}

struct meeting {
    filch_chan *chan;
    atomic_int inside;
};

static int waits_in_shield(void *arg)
{
    struct meeting *meeting = arg;
    int x = 0;

    FILCH_SHIELD(T_LIMIT)
    {
        atomic_store(&meeting->inside, 1);
        T_OK(filch_chan_recv(meeting->chan, &x, FILCH_NEVER));
    }
    T_IS(filch_chan_recv(meeting->chan, &x, FILCH_NEVER), -ECANCELED);
    return x;
}

static int cancelled_inside(void *arg)
{
    struct meeting meeting = {.chan = NULL};
    filch_task *task;
    int x = 6;

    (void)arg;
    T_OK(filch_chan_new(sizeof(int), 1, &meeting.chan));
    task = spawn(waits_in_shield, &meeting);
    T_WAIT_UNTIL(atomic_load(&meeting.inside));
    let_others_run();
    T_OK(filch_task_cancel(task));
    let_others_run();
    T_OK(filch_chan_send(meeting.chan, &x, FILCH_NEVER));
    T_IS(join(task), 6);
    filch_chan_unref(meeting.chan);
    return 0;
}

Test(deadline, a_cancel_that_comes_inside_of_a_shield_is_kept)
{
    T_OK(run_in_runtime(0, cancelled_inside, NULL));
}

static int outer_deadline_is_hidden(void *arg)
{
    (void)arg;
    FILCH_DEADLINE(SOON)
    {
        FILCH_SHIELD(T_LIMIT)
        {
            T_IS(filch_deadline(), FILCH_NEVER);
            T_OK(filch_sleep(filch_after(4 * FILCH_MILLISECOND)));
            T_IS(filch_cancel_cause(), -ETIMEDOUT);
        }
        T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
        FILCH_SHIELD(SOON)
        {
            T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
        }
    }
    T_OK(filch_sleep(SOON));
    return 0;
}

Test(deadline, a_shield_hides_deadlines_around_it)
{
    T_OK(run_in_runtime(0, outer_deadline_is_hidden, NULL));
}

static int cleans_up_at_shutdown(void *arg)
{
    atomic_store((atomic_int *)arg, 1);
    T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    FILCH_SHIELD(T_LIMIT)
    {
        T_OK(filch_sleep(SOON));
        atomic_store((atomic_int *)arg, 2);
    }
    /* An endless clean-up ends with its limit. */
    FILCH_SHIELD(SOON)
    {
        T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    }
    return 0;
}

Test(deadline, a_shield_hides_the_runtimes_end)
{
    filch_runtime *rt = start_runtime(0);
    atomic_int step = 0;

    T_OK(filch_runtime_spawn(rt, cleans_up_at_shutdown, &step, NULL, NULL));
    T_WAIT_UNTIL(atomic_load(&step) == 1);
    stop_runtime(rt);
    T_IS(atomic_load(&step), 2);
}

/* Every kind of nesting, with times that pass in any order: at the end nothing is left of it. */
static void random_blocks(unsigned *random, int depth)
{
    unsigned kind = (*random = *random * 1103515245 + 12345) / 65536;
    filch_time time = filch_after(kind % 64 * 8 * FILCH_MICROSECOND);

    if (kind % 5 == 0)
        (void)!filch_sleep(filch_after(kind % 16 * 8 * FILCH_MICROSECOND));
    if (depth == 0 || kind % 4 == 0)
        return;
    if (kind % 2)
        FILCH_DEADLINE(time) random_blocks(random, depth - 1);
    else
        FILCH_SHIELD(time) random_blocks(random, depth - 1);
    if (kind % 3)
        random_blocks(random, depth - 1);
}

static int many_random_blocks(void *arg)
{
    unsigned random = (unsigned)(uintptr_t)arg;

    for (int i = 0; i < 100; i++) {
        random_blocks(&random, 6);
        T_CHECK(!filch_task_is_cancelled());
        T_IS(filch_cancel_cause(), 0);
        T_OK(filch_sleep(filch_after(FILCH_MICROSECOND)));
    }
    return 0;
}

static int many_tasks_with_blocks(void *arg)
{
    FILCH_SCOPE(scope);

    (void)arg;
    for (uintptr_t i = 1; i <= 8; i++)
        T_OK(filch_scope_spawn(&scope, many_random_blocks, (void *)i));
    return filch_scope_join(&scope, T_LIMIT);
}

Test(deadline, nothing_is_left_of_blocks_that_have_ended)
{
    T_OK(run_in_runtime(0, many_tasks_with_blocks, NULL));
}

Test(deadline, plain_threads_have_none)
{
    filch_block block;
    bool run = false;

    T_IS(filch_deadline_begin(&block, FILCH_NEVER), -EPERM);
    T_OK(filch_block_end(&block));
    T_IS(filch_shield_begin(&block, FILCH_NEVER), -EPERM);
    FILCH_DEADLINE(FILCH_NOW) run = true;
    T_CHECK(run);
    T_IS(filch_deadline(), FILCH_NEVER);
}

/* ---- inherited values ---- */

struct trace {
    atomic_int refs;
    int id;
};

static void *trace_ref(void *value)
{
    atomic_fetch_add(&((struct trace *)value)->refs, 1);
    return value;
}

static void trace_unref(void *value)
{
    atomic_fetch_sub(&((struct trace *)value)->refs, 1);
}

static void *refuse(void *value)
{
    (void)value;
    return NULL;
}

static filch_local trace_key = FILCH_LOCAL_INHERITED_INIT(trace_unref, trace_ref);
static filch_local private_key = FILCH_LOCAL_INIT(NULL);
static filch_local refused_key = FILCH_LOCAL_INHERITED_INIT(NULL, refuse);

static int finds_nothing(void *arg)
{
    (void)arg;
    T_CHECK(!filch_local_get(&trace_key));
    return 0;
}

static int finds_trace(void *arg)
{
    struct trace *trace = filch_local_get(&trace_key);
    FILCH_SCOPE(scope);

    T_CHECK(trace && trace->id == 77);
    T_CHECK(!filch_local_get(&private_key) && !filch_local_get(&refused_key));
    if (arg)
        return 0;
    T_OK(filch_scope_spawn(&scope, finds_trace, trace));
    T_OK(join(spawn(finds_nothing, NULL)));
    /* A task's own value is its own. */
    trace_unref(trace);
    T_OK(filch_local_set(&trace_key, NULL));
    T_OK(filch_scope_spawn(&scope, finds_nothing, NULL));
    return filch_scope_join(&scope, T_LIMIT);
}

static int sets_trace(void *arg)
{
    FILCH_SCOPE(scope);

    T_OK(filch_local_set(&private_key, arg));
    T_OK(filch_local_set(&trace_key, trace_ref(arg)));
    T_OK(filch_local_set(&refused_key, arg));
    for (int i = 0; i < 10; i++)
        T_OK(filch_scope_spawn(&scope, finds_trace, NULL));
    return filch_scope_join(&scope, T_LIMIT);
}

Test(deadline, values_that_children_inherit)
{
    struct trace trace = {.id = 77};

    T_OK(run_in_runtime(0, sets_trace, &trace));
    T_IS(atomic_load(&trace.refs), 0);
}

static int outlives_its_request(void *arg)
{
    struct trace *trace = filch_local_get(&trace_key);

    (void)arg;
    T_CHECK(trace && trace->id == 77);
    T_CHECK(!filch_local_get(&private_key) && !filch_local_get(&refused_key));
    T_CHECK(!filch_task_is_cancelled());
    T_IS(filch_deadline(), FILCH_NEVER);
    return 0;
}

static int request(void *arg)
{
    filch_task_opts opts = {.inherit_values = true};
    filch_tracker *tracker;
    filch_task *task;

    T_OK(filch_local_set(&trace_key, trace_ref(arg)));
    T_OK(filch_local_set(&private_key, arg));
    T_OK(filch_local_set(&refused_key, arg));
    T_OK(filch_tracker_new(&tracker));
    FILCH_DEADLINE(FILCH_NOW)
    {
        T_CHECK(filch_task_is_cancelled());
        T_OK(filch_task_spawn(outlives_its_request, NULL, &opts, &task));
        T_OK(filch_tracker_spawn(tracker, outlives_its_request, NULL, &opts));
        T_OK(filch_task_spawn(finds_nothing, NULL, NULL, NULL));
    }
    T_OK(join(task));
    T_OK(filch_tracker_close(tracker));
    T_OK(filch_tracker_wait(tracker, T_LIMIT));
    filch_tracker_unref(tracker);
    return 0;
}

/* Values alone: of a spawner that has none, too. */
static int has_no_values(void *arg)
{
    filch_task_opts opts = {.inherit_values = true};
    filch_task *task;

    T_OK(filch_task_spawn(finds_nothing, arg, &opts, &task));
    return join(task);
}

Test(deadline, values_without_the_deadline_for_who_asks)
{
    struct trace trace = {.id = 77};

    T_OK(run_in_runtime(0, request, &trace));
    T_IS(atomic_load(&trace.refs), 0);
    T_OK(run_in_runtime(0, has_no_values, NULL));
}
