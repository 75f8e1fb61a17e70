/* Description: errors that nobody can read any more (filch_runtime_opts.on_lost_error): which are
 * told, once each, and with what; which are not. */
#include <errno.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(lost_error, .timeout = 60);

/* What was told of tasks that return -EIO, the last one, and how many in all. */
struct told {
    atomic_int count;
    filch_lost_error last; /* where one is told at a time */
    char name[32];
};

static void tell(void *arg, const filch_lost_error *lost)
{
    struct told *told = arg;

    T_CHECK(lost->error < 0);
    T_CHECK(lost->name != NULL);
    T_CHECK(filch_task_self() == NULL); /* not in a task */
    told->last = *lost;
    strncpy(told->name, lost->name, sizeof told->name - 1);
    atomic_fetch_add(&told->count, 1);
}

static void count(void *arg, const filch_lost_error *lost)
{
    T_IS(lost->error, -EIO);
    atomic_fetch_add((atomic_int *)arg, 1);
}

static filch_runtime *start_with(void (*fn)(void *arg, const filch_lost_error *lost), void *arg,
                                 unsigned workers)
{
    filch_runtime_opts opts = {
        .workers = workers ? workers : test_workers(), .on_lost_error = fn, .hook_arg = arg};
    filch_runtime *rt;

    opts.current_thread = test_without_threads() && opts.workers == 1;
    rt = test_start(&opts);
    if (filch_runtime_fd(rt) >= 0)
        test_host_start(rt);
    return rt;
}

static int run_with(void (*fn)(void *arg, const filch_lost_error *lost), void *told,
                    unsigned workers, filch_fn body, void *arg)
{
    filch_runtime *rt = start_with(fn, told, workers);
    int result = -1;

    T_OK(filch_runtime_block_on(rt, body, arg, &result, FILCH_NEVER));
    stop_runtime(rt);
    return result;
}

static int fails(void *arg)
{
    (void)arg;
    return -EIO;
}

static int succeeds(void *arg)
{
    (void)arg;
    return 7;
}

static int fails_late(void *arg)
{
    while (!atomic_load((atomic_int *)arg))
        filch_task_yield();
    return -EIO;
}

/* ---- what is told ---- */

__attribute__((noinline)) static void spawns_detached(const filch_task_opts *opts)
{
    T_OK(filch_task_spawn(fails, NULL, opts, NULL));
}

static int tells(void *arg)
{
    static const filch_task_opts opts = {.name = "ferry"}, fp = {.save_fp = true};
    struct told *told = arg;
    atomic_int gate = 0;
    filch_task *task;

    spawns_detached(&opts);
    T_WAIT_UNTIL(atomic_load(&told->count) == 1);
    T_IS(told->last.error, -EIO);
    T_IS(told->last.kind, FILCH_LIVE_TASK);
    T_IS(strcmp(told->name, "ferry"), 0);
    T_CHECK(told->last.fn == fails);
    T_CHECK((uintptr_t)told->last.place - (uintptr_t)spawns_detached < 4096);

    spawns_detached(&fp);
    T_WAIT_UNTIL(atomic_load(&told->count) == 2);
    T_IS(strcmp(told->name, ""), 0);
    T_CHECK(told->last.fn == fails);

    /* Detached before its end, and after it. */
    task = spawn(fails_late, &gate);
    T_OK(filch_task_detach(task));
    atomic_store(&gate, 1);
    T_WAIT_UNTIL(atomic_load(&told->count) == 3);
    T_CHECK(told->last.fn == fails_late);
    T_OK(filch_task_spawn(fails, NULL, &opts, &task));
    T_WAIT_UNTIL(filch_task_is_finished(task));
    T_IS(atomic_load(&told->count), 3);
    T_OK(filch_task_detach(task));
    T_IS(atomic_load(&told->count), 4);
    T_IS(strcmp(told->name, ""), 0); /* its name may have gone */
    T_CHECK(told->last.place != NULL);
    T_CHECK(filch_task_self() != NULL);
    return 0;
}

Test(lost_error, of_tasks)
{
    struct told told = {.count = 0};

    T_OK(run_with(tell, &told, 0, tells, &told));
    T_IS(atomic_load(&told.count), 4);
}

/* ---- who is told has nothing of what the job had ---- */

static filch_local trace = FILCH_LOCAL_INIT(NULL);
static atomic_int own_told;

static void nothing(void *arg)
{
    (void)arg;
    T_CHECK(false && "it is never called");
}

static void looks_at_locals(void *arg, const filch_lost_error *lost)
{
    int value = 1;

    T_IS(lost->error, -EIO);
    T_CHECK(filch_local_get(&trace) == NULL);
    T_IS(filch_local_set(&trace, &value), -EPERM);
    T_IS(filch_task_defer(nothing, NULL), -EPERM);
    T_CHECK(filch_runtime_self() != NULL);
    atomic_fetch_add((atomic_int *)arg, 1);
}

static int fails_with_locals(void *arg)
{
    static int value = 7;

    (void)arg;
    T_OK(filch_local_set(&trace, &value));
    return -EIO;
}

static int tells_of_jobs_with_locals(void *arg)
{
    (void)arg;
    for (int i = 1; i <= 20; i++) {
        T_OK(filch_blocking_spawn(fails_with_locals, NULL, NULL, NULL));
        T_WAIT_UNTIL(atomic_load(&own_told) == i);
    }
    return 0;
}

Test(lost_error, who_is_told_has_no_locals_of_the_job)
{
    T_OK(run_with(looks_at_locals, &own_told, 0, tells_of_jobs_with_locals, NULL));
}

static filch_poll fail_poll(filch_future *self, filch_cx *cx)
{
    (void)cx;
    self->result = -EIO;
    return FILCH_READY;
}

static int tells_others(void *arg)
{
    filch_future future = {.poll = fail_poll}, other = {.poll = fail_poll};
    struct told *told = arg;
    filch_task *task;

    T_OK(filch_future_spawn(&future, &(filch_task_opts){.name = "bird"}, NULL));
    T_WAIT_UNTIL(atomic_load(&told->count) == 1);
    T_IS(told->last.kind, FILCH_LIVE_FUTURE);
    T_IS(strcmp(told->name, "bird"), 0);
    T_CHECK(!told->last.fn && !told->last.place);
    T_OK(filch_future_spawn(&other, NULL, &task));
    T_WAIT_UNTIL(filch_task_is_finished(task));
    T_OK(filch_task_detach(task));
    T_IS(atomic_load(&told->count), 2);
    T_CHECK(!told->last.fn && !told->last.place);

    T_OK(filch_blocking_spawn(fails, NULL, &(filch_task_opts){.name = "mole"}, NULL));
    T_WAIT_UNTIL(atomic_load(&told->count) == 3);
    T_IS(told->last.kind, FILCH_LIVE_JOB);
    T_IS(strcmp(told->name, "mole"), 0);
    T_CHECK(told->last.fn == fails && !told->last.place);
    T_OK(filch_blocking_spawn(fails, NULL, NULL, &task));
    T_WAIT_UNTIL(filch_task_is_finished(task));
    T_OK(filch_task_detach(task));
    T_IS(atomic_load(&told->count), 4);
    return 0;
}

Test(lost_error, of_futures_and_jobs)
{
    struct told told = {.count = 0};

    T_OK(run_with(tell, &told, 0, tells_others, &told));
    T_IS(atomic_load(&told.count), 4);
}

static int tracks(void *arg)
{
    filch_tracker *tracker;

    (void)arg;
    T_OK(filch_tracker_new(&tracker));
    for (int i = 0; i < 10; i++)
        T_OK(filch_tracker_spawn(tracker, i % 2 ? fails : succeeds, NULL, NULL));
    T_OK(filch_tracker_close(tracker));
    T_OK(filch_tracker_wait(tracker, T_LIMIT));
    filch_tracker_unref(tracker);
    return 0;
}

Test(lost_error, of_tracked_tasks)
{
    atomic_int told = 0;

    T_OK(run_with(count, &told, 0, tracks, NULL));
    T_IS(atomic_load(&told), 5);
}

static int lets_go_of_a_set(void *arg)
{
    static const filch_task_opts opts = {.name = "let go"};
    struct told *told = arg;
    FILCH_JOIN_SET(set, 0);

    for (uint64_t i = 0; i < 3; i++)
        T_OK(filch_join_set_spawn(&set, i, succeeds, NULL, &opts));
    T_OK(filch_join_set_spawn(&set, 9, fails, NULL, &opts));
    T_OK(filch_join_set_spawn(&set, 10, sleep_until_cancelled, NULL, &opts));
    T_OK(filch_join_set_abort(&set, 10));
    T_OK(filch_join_set_detach_all(&set));
    T_WAIT_UNTIL(atomic_load(&told->count) == 1);
    T_CHECK(told->last.fn == fails);
    T_IS(strcmp(told->name, "let go"), 0);
    T_CHECK(told->last.place != NULL);
    return 0;
}

Test(lost_error, of_a_join_set_that_was_let_go)
{
    struct told told = {.count = 0};

    T_OK(run_with(tell, &told, 0, lets_go_of_a_set, &told));
    T_IS(atomic_load(&told.count), 1);
}

/* ---- what is not ---- */

static int twice(void *arg)
{
    *(int *)arg *= 2;
    return 0;
}

static int reads_all(void *arg)
{
    FILCH_SCOPE(scope);
    FILCH_JOIN_SET(set, 0);
    filch_call call[] = {{fails, NULL}, {fails, NULL}};
    filch_task *task;
    int result = 0;

    (void)arg;
    T_OK(filch_spawn(succeeds, NULL));
    T_IS(join(spawn(fails, NULL)), -EIO);
    task = spawn(fails, NULL);
    T_WAIT_UNTIL(filch_task_is_finished(task));
    T_IS(join(task), -EIO);
    T_OK(filch_scope_spawn(&scope, fails, NULL));
    T_IS(filch_scope_join(&scope, T_LIMIT), -EIO);
    T_OK(filch_join_set_spawn(&set, 1, fails, NULL, NULL));
    T_OK(filch_join_set_next(&set, &result, NULL, T_LIMIT));
    T_IS(result, -EIO);
    T_IS(filch_try_join(call, 2, NULL, NULL, T_LIMIT), -EIO);
    T_OK(filch_blocking_run(fails, NULL, NULL, &result, T_LIMIT));
    T_IS(result, -EIO);
    /* Those that do as they were told. */
    task = spawn(sleep_until_cancelled, NULL);
    T_OK(filch_task_cancel(task));
    T_OK(filch_task_detach(task));
    task = spawn(sleep_until_cancelled, NULL);
    T_OK(filch_task_cancel(task));
    T_WAIT_UNTIL(filch_task_is_finished(task));
    T_OK(filch_task_detach(task));
    T_OK(filch_spawn(sleep_until_cancelled, NULL)); /* by the end of the runtime */
    T_OK(join(spawn(twice, &result)));
    return 0;
}

Test(lost_error, what_somebody_reads_is_not_told)
{
    atomic_int told = 0;

    T_OK(run_with(count, &told, 0, reads_all, NULL));
    T_IS(atomic_load(&told), 0);
    /* And without anybody who is told. */
    T_OK(run_with(NULL, NULL, 0, reads_all, NULL));
    T_OK(run_with(NULL, NULL, 0, tracks, NULL));
}

static int claims_to_be_cancelled(void *arg)
{
    (void)arg;
    return -ECANCELED;
}

static int spawns_impostor(void *arg)
{
    struct told *told = arg;

    T_OK(filch_spawn(claims_to_be_cancelled, NULL));
    T_WAIT_UNTIL(atomic_load(&told->count) == 1);
    T_IS(told->last.error, -ECANCELED);
    return 0;
}

Test(lost_error, of_one_that_nobody_has_cancelled)
{
    struct told told = {.count = 0};

    T_OK(run_with(tell, &told, 0, spawns_impostor, &told));
}

Test(lost_error, a_handle_that_outlives_its_runtime_tells_nobody)
{
    atomic_int told = 0;
    filch_runtime *rt = start_with(count, &told, 0);
    filch_task *task[2];

    for (int i = 0; i < 2; i++)
        T_OK(filch_runtime_spawn(rt, fails, NULL, NULL, &task[i]));
    T_WAIT_UNTIL(filch_task_is_finished(task[0]) && filch_task_is_finished(task[1]));
    T_OK(filch_task_detach(task[0])); /* a plain thread is told, too */
    T_IS(atomic_load(&told), 1);
    stop_runtime(rt);
    T_OK(filch_task_detach(task[1]));
    T_IS(atomic_load(&told), 1);
}

/* ---- what may be done there ---- */

struct respawning {
    atomic_int left;
    atomic_int ended;
};

static int fails_again(void *arg)
{
    atomic_fetch_add(&((struct respawning *)arg)->ended, 1);
    return -EIO;
}

/* A supervisor: who has failed is begun again. */
static void begin_again(void *arg, const filch_lost_error *lost)
{
    struct respawning *respawning = arg;

    T_CHECK(lost->fn == fails_again);
    if (atomic_fetch_sub(&respawning->left, 1) > 0)
        T_OK(filch_spawn(fails_again, respawning));
}

static int supervises(void *arg)
{
    struct respawning *respawning = arg;

    T_OK(filch_spawn(fails_again, arg));
    T_WAIT_UNTIL(atomic_load(&respawning->ended) == 101);
    return 0;
}

Test(lost_error, who_is_told_may_spawn)
{
    struct respawning respawning = {.left = 100};

    T_OK(run_with(begin_again, &respawning, 0, supervises, &respawning));
    T_IS(atomic_load(&respawning.ended), 101);
}

/* ---- each once ---- */

static int spawns_some(void *arg)
{
    filch_task *task;

    (void)arg;
    for (int i = 0; i < 300; i++) {
        T_OK(filch_task_spawn(i % 3 ? fails : succeeds, NULL, NULL, i % 2 ? &task : NULL));
        if (i % 2)
            T_OK(filch_task_detach(task)); /* before its end, or after it */
        if (i % 16 == 0)
            filch_task_yield();
    }
    return 0;
}

static int spawns_many(void *arg)
{
    filch_task *task[20];

    for (int i = 0; i < 20; i++)
        task[i] = spawn(spawns_some, arg);
    for (int i = 0; i < 20; i++)
        T_OK(join(task[i]));
    return 0;
}

Test(lost_error, each_is_told_once)
{
    for (unsigned workers = 1; workers <= 4; workers += 3) {
        atomic_int told = 0;

        T_OK(run_with(count, &told, workers, spawns_many, NULL));
        T_IS(atomic_load(&told), 20 * 200);
    }
}

/* ---- in words ---- */

static char line[600];
static atomic_int lines;

static void keep_line(void *arg, int level, const char *message)
{
    (void)arg;
    T_IS(level, FILCH_LOG_WARNING);
    strncpy(line, message, sizeof line - 1);
    atomic_fetch_add(&lines, 1);
}

static int logs(void *arg)
{
    filch_future future = {.poll = fail_poll};

    (void)arg;
    spawns_detached(&(filch_task_opts){.name = "ferry"});
    T_WAIT_UNTIL(atomic_load(&lines) == 1);
    T_CHECK(strstr(line, "task \"ferry\", spawned at ") == line);
    T_CHECK(strstr(line, "0x") && strstr(line, filch_strerror(-EIO)));
    T_OK(filch_future_spawn(&future, NULL, NULL));
    T_WAIT_UNTIL(atomic_load(&lines) == 2);
    T_CHECK(strstr(line, "future \"\" ended with an error") == line);
    return 0;
}

Test(lost_error, one_line_each)
{
    filch_runtime_opts opts = {
        .workers = 1, .on_lost_error = filch_lost_error_log, .log = keep_line};
    filch_runtime *rt = test_start(&opts);
    int result = -1;

    filch_lost_error_log(NULL, NULL);
    T_IS(atomic_load(&lines), 0);
    T_OK(filch_runtime_block_on(rt, logs, NULL, &result, FILCH_NEVER));
    T_OK(result);
    stop_runtime(rt);
    T_IS(atomic_load(&lines), 2);
}
