/* Description: what <filch/task.h> promises: spawn, join, detach, cancel, handles, and tasks that
 * really run in parallel. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(task, .timeout = 60);

static int return_arg(void *arg)
{
    return (int)(intptr_t)arg;
}

static int add_one(void *arg)
{
    atomic_fetch_add((atomic_uint *)arg, 1);
    return 0;
}

static int spin_until_set(void *arg)
{
    T_WAIT_UNTIL(atomic_load((atomic_int *)arg));
    return 0;
}

static int join_returns_the_result_body(void *arg)
{
    (void)arg;
    T_IS(join(spawn(return_arg, (void *)42)), 42);
    T_IS(join(spawn(return_arg, (void *)-7)), -7);
    T_OK(filch_task_join(spawn(return_arg, NULL), NULL, FILCH_NEVER));
    return 0;
}

Test(task, join_returns_the_result)
{
    cr_assert_eq(run_in_runtime(0, join_returns_the_result_body, NULL), 0);
}

static int null_arguments_body(void *arg)
{
    filch_task *task = NULL;

    (void)arg;
    T_IS(filch_spawn(NULL, NULL), -EINVAL);
    T_IS(filch_task_spawn(NULL, NULL, NULL, &task), -EINVAL);
    T_CHECK(task == NULL);
    T_IS(filch_task_join(NULL, NULL, FILCH_NOW), -EINVAL);
    T_OK(filch_task_detach(NULL));
    T_IS(filch_task_cancel(NULL), -EINVAL);
    T_CHECK(filch_task_is_finished(NULL));
    return 0;
}

Test(task, null_arguments_are_refused)
{
    cr_assert_eq(run_in_runtime(0, null_arguments_body, NULL), 0);
}

static int stale_handle_body(void *arg)
{
    filch_task *task = spawn(return_arg, (void *)1);
    int untouched = 99;

    (void)arg;
    T_IS(join(task), 1);
    T_IS(filch_task_join(task, &untouched, FILCH_NEVER), -ESRCH);
    T_IS(untouched, 99);
    T_IS(filch_task_detach(task), -ESRCH);
    T_IS(filch_task_cancel(task), -ESRCH);
    T_CHECK(filch_task_is_finished(task));
    T_OK(strcmp(filch_task_name(task), ""));
    /* Its block is in use again: the old handle must still be refused. */
    filch_task *next = spawn(sleep_until_cancelled, NULL);
    T_CHECK(next != task);
    T_IS(filch_task_cancel(task), -ESRCH);
    T_IS(filch_task_join(task, NULL, FILCH_NOW), -ESRCH);
    T_OK(filch_task_cancel(next));
    T_IS(join(next), -ECANCELED);
    return 0;
}

Test(task, joined_handle_is_stale_for_every_call)
{
    cr_assert_eq(run_in_runtime(0, stale_handle_body, NULL), 0);
}

static int detached_handle_body(void *arg)
{
    atomic_uint ran = 0;
    filch_task *task = spawn(add_one, &ran);

    (void)arg;
    T_OK(filch_task_detach(task));
    T_IS(filch_task_detach(task), -ESRCH);
    T_IS(filch_task_join(task, NULL, FILCH_NEVER), -ESRCH);
    T_WAIT_UNTIL(atomic_load(&ran) == 1);

    task = spawn(add_one, &ran);
    T_WAIT_UNTIL(filch_task_is_finished(task));
    T_OK(filch_task_detach(task));
    T_IS(filch_task_join(task, NULL, FILCH_NEVER), -ESRCH);
    return 0;
}

Test(task, detached_task_goes_on_and_its_handle_is_stale)
{
    cr_assert_eq(run_in_runtime(0, detached_handle_body, NULL), 0);
}

static int join_self_body(void *arg)
{
    (void)arg;
    T_IS(filch_task_join(filch_task_self(), NULL, FILCH_NEVER), -EDEADLK);
    return 5;
}

struct own_handle {
    filch_task *_Atomic handle;
};

static int join_own_handle(void *arg)
{
    struct own_handle *own = arg;

    T_WAIT_UNTIL(atomic_load(&own->handle));
    T_IS(filch_task_join(atomic_load(&own->handle), NULL, FILCH_NEVER), -EDEADLK);
    return 6;
}

static int join_self_root(void *arg)
{
    struct own_handle own = {NULL};
    filch_task *task;

    (void)arg;
    T_IS(join(spawn(join_self_body, NULL)), 5);
    task = spawn(join_own_handle, &own);
    atomic_store(&own.handle, task);
    T_IS(join(task), 6);
    return 0;
}

Test(task, joining_oneself_is_a_deadlock_that_is_refused)
{
    cr_assert_eq(run_in_runtime(0, join_self_root, NULL), 0);
}

static int join_timeout_body(void *arg)
{
    atomic_int go = 0;
    filch_task *task = spawn(spin_until_set, &go);
    int result = 99;

    (void)arg;
    T_IS(filch_task_join(task, &result, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_task_join(task, &result, filch_after(2 * FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(filch_task_join(task, &result, 1), -ETIMEDOUT);
    T_IS(result, 99);
    T_CHECK(!filch_task_is_finished(task));
    atomic_store(&go, 1);
    T_OK(filch_task_join(task, &result, FILCH_NEVER));
    T_OK(result);
    return 0;
}

Test(task, join_that_timed_out_can_be_repeated)
{
    cr_assert_eq(run_in_runtime(0, join_timeout_body, NULL), 0);
}

static int join_finished_now_body(void *arg)
{
    filch_task *task = spawn(return_arg, (void *)3);
    int result;

    (void)arg;
    T_WAIT_UNTIL(filch_task_is_finished(task));
    T_OK(filch_task_join(task, &result, FILCH_NOW));
    T_IS(result, 3);
    return 0;
}

Test(task, join_now_takes_the_result_of_a_finished_task)
{
    cr_assert_eq(run_in_runtime(0, join_finished_now_body, NULL), 0);
}

struct two_joiners {
    filch_task *target;
    atomic_int joining;
};

static int first_joiner(void *arg)
{
    struct two_joiners *two = arg;
    int result = 0;

    atomic_store(&two->joining, 1);
    T_OK(filch_task_join(two->target, &result, FILCH_NEVER));
    return result;
}

static int busy_join_body(void *arg)
{
    struct two_joiners two = {.target = spawn(sleep_until_cancelled, NULL)};
    filch_task *first = spawn(first_joiner, &two);
    int r;

    (void)arg;
    T_WAIT_UNTIL(atomic_load(&two.joining));
    /* The first joiner has announced itself, but may not be waiting yet. */
    T_WAIT_UNTIL((r = filch_task_join(two.target, NULL, FILCH_NOW)) != -ETIMEDOUT);
    T_IS(r, -EBUSY);
    T_IS(filch_task_join(two.target, NULL, FILCH_NEVER), -EBUSY);
    T_IS(filch_task_detach(two.target), -EBUSY);
    T_OK(filch_task_cancel(two.target));
    T_IS(join(first), -ECANCELED);
    T_IS(filch_task_join(two.target, NULL, FILCH_NOW), -ESRCH);
    return 0;
}

Test(task, second_joiner_is_told_that_the_handle_is_busy)
{
    cr_assert_eq(run_in_runtime(0, busy_join_body, NULL), 0);
}

static int cancelled_before_start(void *arg)
{
    atomic_store((atomic_int *)arg, 1);
    T_CHECK(filch_task_is_cancelled());
    T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    T_IS(filch_sleep(filch_after(FILCH_SECOND)), -ECANCELED);
    return 11;
}

static int cancel_before_start_body(void *arg)
{
    atomic_int ran = 0;
    filch_task *task = spawn(cancelled_before_start, &ran);

    (void)arg;
    /* One worker: it cannot have started. */
    T_OK(filch_task_cancel(task));
    T_OK(filch_task_cancel(task));
    T_IS(join(task), 11);
    T_IS(ran, 1);
    return 0;
}

Test(task, body_runs_although_it_was_cancelled_before_it_started)
{
    cr_assert_eq(run_in_runtime(1, cancel_before_start_body, NULL), 0);
}

static int cancel_sleeper_body(void *arg)
{
    (void)arg;
    for (int round = 0; round < 200; round++) {
        filch_task *task = spawn(sleep_until_cancelled, NULL);

        for (int i = 0; i < round % 7; i++)
            filch_task_yield();
        T_OK(filch_task_cancel(task));
        T_IS(join(task), -ECANCELED);
    }
    return 0;
}

Test(task, cancel_ends_a_sleep_at_any_moment)
{
    cr_assert_eq(run_in_runtime(0, cancel_sleeper_body, NULL), 0);
}

static int join_target(void *arg)
{
    int result = 99;

    T_IS(filch_task_join(arg, &result, FILCH_NEVER), -ECANCELED);
    T_IS(result, 99);
    /* A level: the next one is refused too. */
    T_IS(filch_task_join(arg, &result, FILCH_NEVER), -ECANCELED);
    return 1;
}

static int cancel_joiner_body(void *arg)
{
    filch_task *target = spawn(sleep_until_cancelled, NULL);
    filch_task *joiner = spawn(join_target, target);

    (void)arg;
    let_others_run();
    T_OK(filch_task_cancel(joiner));
    T_IS(join(joiner), 1);
    /* The target was not cancelled, and its handle is still ours. */
    T_IS(filch_task_join(target, NULL, FILCH_NOW), -ETIMEDOUT);
    T_OK(filch_task_cancel(target));
    T_IS(join(target), -ECANCELED);
    return 0;
}

Test(task, cancelled_joiner_leaves_target_and_handle_alone)
{
    cr_assert_eq(run_in_runtime(0, cancel_joiner_body, NULL), 0);
}

static int join_done_while_cancelled(void *arg)
{
    int result = 0;

    T_OK(filch_task_cancel(filch_task_self()));
    T_CHECK(filch_task_is_cancelled());
    T_OK(filch_task_join(arg, &result, FILCH_NEVER));
    return result;
}

static int result_in_spite_of_cancel_body(void *arg)
{
    filch_task *done = spawn(return_arg, (void *)8);

    (void)arg;
    T_WAIT_UNTIL(filch_task_is_finished(done));
    T_IS(join(spawn(join_done_while_cancelled, done)), 8);
    return 0;
}

Test(task, cancelled_task_still_gets_a_result_that_is_there)
{
    cr_assert_eq(run_in_runtime(0, result_in_spite_of_cancel_body, NULL), 0);
}

static int cancel_finished_body(void *arg)
{
    filch_task *task = spawn(return_arg, (void *)2);

    (void)arg;
    T_WAIT_UNTIL(filch_task_is_finished(task));
    T_OK(filch_task_cancel(task));
    T_IS(join(task), 2);
    return 0;
}

static int cancels_itself(void *arg)
{
    int mark = *(int *)arg;

    T_OK(filch_task_cancel(filch_task_self()));
    T_CHECK(filch_task_is_cancelled());
    T_OK(filch_task_cancel(filch_task_self()));
    T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    T_IS(filch_sleep(FILCH_NEVER), -ECANCELED); /* a level, not an edge */
    return mark;
}

/* It runs when the cancel comes, on another worker or before and after a yield. */
static int runs_until_cancelled(void *arg)
{
    atomic_int *running = arg;

    atomic_store(running, 1);
    while (!filch_task_is_cancelled())
        filch_task_yield();
    return filch_sleep(FILCH_NEVER);
}

static int cancel_running_body(void *arg)
{
    int mark = 31;

    (void)arg;
    T_IS(join(spawn(cancels_itself, &mark)), 31);
    for (int round = 0; round < 100; round++) {
        atomic_int running = 0;
        filch_task *task = spawn(runs_until_cancelled, &running);

        T_WAIT_UNTIL(atomic_load(&running));
        T_OK(filch_task_cancel(task));
        T_IS(join(task), -ECANCELED);
    }
    return 0;
}

Test(task, cancel_while_running_also_by_itself_is_seen_at_the_next_wait)
{
    cr_assert_eq(run_in_runtime(0, cancel_running_body, NULL), 0);
}

Test(task, cancelling_a_finished_task_does_nothing)
{
    cr_assert_eq(run_in_runtime(0, cancel_finished_body, NULL), 0);
}

Test(task, plain_thread_cannot_spawn_and_has_no_self)
{
    filch_runtime *rt = start_runtime(0);
    filch_task *task = NULL;

    cr_assert_eq(filch_spawn(return_arg, NULL), -EPERM);
    cr_assert_eq(filch_task_spawn(return_arg, NULL, NULL, &task), -EPERM);
    cr_assert_null(task);
    cr_assert_null(filch_task_self());
    cr_assert_not(filch_task_is_cancelled());
    cr_assert_null(filch_runtime_self());
    filch_task_yield();
    stop_runtime(rt);
}

Test(task, plain_thread_joins_and_detaches)
{
    filch_runtime *rt = start_runtime(0);
    filch_task *task;
    int result = 0;

    T_OK(filch_runtime_spawn(rt, sleep_until_cancelled, NULL, NULL, &task));
    T_IS(filch_task_join(task, &result, filch_after(2 * FILCH_MILLISECOND)), -ETIMEDOUT);
    T_OK(filch_task_cancel(task));
    T_IS(join(task), -ECANCELED);
    T_IS(filch_task_join(task, NULL, FILCH_NOW), -ESRCH);

    T_OK(filch_runtime_spawn(rt, return_arg, (void *)4, NULL, &task));
    T_OK(filch_task_detach(task));
    stop_runtime(rt);
}

static int tells_id(void *arg)
{
    *(uint64_t *)arg = filch_task_id(NULL);
    return 0;
}

static filch_poll tells_id_of_future(filch_future *self, filch_cx *cx)
{
    (void)cx;
    self->result = filch_task_id(NULL) == filch_task_id(filch_task_self());
    return FILCH_READY;
}

static int ids_body(void *arg)
{
    filch_task *task[100];
    uint64_t id[100] = {0}, own = filch_task_id(NULL);
    filch_future future = {.poll = tells_id_of_future};

    (void)arg;
    T_CHECK(own != 0);
    T_CHECK(own == filch_task_id(filch_task_self()));
    for (int i = 0; i < 100; i++)
        task[i] = spawn(tells_id, &id[i]);
    for (int i = 0; i < 100; i++) {
        uint64_t from_outside = filch_task_id(task[i]);

        for (int k = 0; k < i; k++)
            T_CHECK(id[k] != from_outside);
        T_CHECK(own != from_outside);
        T_OK(join(task[i]));
        T_CHECK(id[i] == from_outside);
        T_CHECK(filch_task_id(task[i]) == from_outside); /* stale, and still its name */
    }
    T_OK(filch_blocking_spawn(tells_id, &id[0], NULL, &task[0]));
    id[1] = filch_task_id(task[0]);
    T_OK(join(task[0]));
    T_CHECK(id[0] == id[1]);
    T_OK(filch_future_spawn(&future, NULL, &task[0]));
    T_IS(join(task[0]), 1);
    return 0;
}

Test(task, each_has_a_number_of_its_own)
{
    cr_assert_eq(run_in_runtime(0, ids_body, NULL), 0);
    cr_assert_eq(filch_task_id(NULL), 0);
}

static int names_body(void *arg)
{
    filch_task_opts opts = {.name = "miller"};
    filch_task *task;

    (void)arg;
    T_OK(filch_task_spawn(sleep_until_cancelled, NULL, &opts, &task));
    T_OK(strcmp(filch_task_name(task), "miller"));
    T_OK(filch_task_cancel(task));
    T_IS(join(task), -ECANCELED);
    task = spawn(return_arg, NULL);
    T_OK(strcmp(filch_task_name(task), ""));
    T_OK(join(task));
    T_CHECK(filch_task_name(NULL) != NULL);
    return 0;
}

Test(task, name_is_kept_and_empty_without_one)
{
    cr_assert_eq(run_in_runtime(0, names_body, NULL), 0);
}

struct payload {
    long double aligned;
    unsigned char bytes[300];
};

static int check_copy(void *arg)
{
    struct payload *copy = arg;

    T_OK((uintptr_t)arg % _Alignof(max_align_t));
    filch_task_yield();
    for (size_t i = 0; i < sizeof(copy->bytes); i++)
        T_IS(copy->bytes[i], (unsigned char)i);
    copy->bytes[0] = 77;
    return copy->aligned == 1.5L;
}

static int copy_body(void *arg)
{
    struct payload payload = {.aligned = 1.5L};
    filch_task_opts opts = {.copy_bytes = sizeof(payload)};
    filch_task *task[10];

    (void)arg;
    for (size_t i = 0; i < sizeof(payload.bytes); i++)
        payload.bytes[i] = (unsigned char)i;
    for (int i = 0; i < 10; i++)
        T_OK(filch_task_spawn(check_copy, &payload, &opts, &task[i]));
    memset(&payload, 0xee, sizeof(payload));
    for (int i = 0; i < 10; i++)
        T_IS(join(task[i]), 1);
    T_IS(payload.bytes[0], 0xee);
    return 0;
}

Test(task, argument_by_copy_is_private_and_aligned)
{
    cr_assert_eq(run_in_runtime(0, copy_body, NULL), 0);
}

static int many_detached_body(void *arg)
{
    const unsigned n = T_MANY(100000);
    atomic_uint ran = 0;

    (void)arg;
    for (unsigned i = 0; i < n; i++)
        T_OK(filch_spawn(add_one, &ran));
    T_WAIT_UNTIL(atomic_load(&ran) == n);
    return 0;
}

Test(task, hundred_thousand_detached_tasks_all_run)
{
    cr_assert_eq(run_in_runtime(0, many_detached_body, NULL), 0);
}

static int many_joined_body(void *arg)
{
    const int n = T_MANY(100000);
    filch_task **task = malloc((size_t)n * sizeof(*task));

    (void)arg;
    T_CHECK(task);
    for (intptr_t i = 0; i < n; i++)
        task[i] = spawn(return_arg, (void *)i);
    for (int i = 0; i < n; i++)
        T_IS(join(task[i]), i);
    free(task);
    return 0;
}

Test(task, hundred_thousand_tasks_can_be_joined)
{
    cr_assert_eq(run_in_runtime(0, many_joined_body, NULL), 0);
}

static int fork_tree(void *arg)
{
    intptr_t depth = (intptr_t)arg;
    filch_task *left;
    int sum;

    if (depth == 0)
        return 1;
    left = spawn(fork_tree, (void *)(depth - 1));
    sum = fork_tree((void *)(depth - 1));
    return sum + join(left);
}

Test(task, fork_join_tree_adds_up)
{
    intptr_t depth = RUNNING_ON_VALGRIND ? 7 : 12;

    cr_assert_eq(run_in_runtime(0, fork_tree, (void *)depth), 1 << depth);
}

/* Each waits, without any suspension, for the other to run at the same time. */
struct meeting {
    atomic_int arrived;
    pthread_t thread[2];
    atomic_int next;
};

static int meet(void *arg)
{
    struct meeting *meeting = arg;
    filch_time limit = T_LIMIT;

    meeting->thread[atomic_fetch_add(&meeting->next, 1)] = pthread_self();
    atomic_fetch_add(&meeting->arrived, 1);
    while (atomic_load(&meeting->arrived) < 2)
        T_CHECK(filch_now() < limit);
    return 0;
}

static int parallel_body(void *arg)
{
    (void)arg;
    for (int round = 0; round < 20; round++) {
        struct meeting meeting = {0};
        filch_task *a = spawn(meet, &meeting);
        filch_task *b = spawn(meet, &meeting);

        T_OK(join(a));
        T_OK(join(b));
        T_CHECK(!pthread_equal(meeting.thread[0], meeting.thread[1]));
    }
    return 0;
}

Test(task, two_tasks_that_need_each_other_run_at_once_on_two_workers)
{
    cr_assert_eq(run_in_runtime(2, parallel_body, NULL), 0);
}

static int yield_once_around(void *arg)
{
    atomic_int *turn = arg;

    atomic_fetch_add(turn, 1);
    return 0;
}

static int yield_body(void *arg)
{
    atomic_int turn = 0;
    filch_task *task = spawn(yield_once_around, &turn);

    (void)arg;
    T_OK(filch_task_cancel(filch_task_self()));
    /* One worker: only a yield can let it run; and a yield is no cancellation point. */
    T_WAIT_UNTIL(atomic_load(&turn) == 1);
    T_OK(filch_task_join(task, NULL, FILCH_NOW));
    return 0;
}

Test(task, yield_lets_others_run_also_when_cancelled)
{
    cr_assert_eq(run_in_runtime(1, yield_body, NULL), 0);
}

__attribute__((noinline)) static unsigned use_stack(unsigned seed)
{
    volatile unsigned char area[100 * 1024];
    unsigned sum = 0;

    for (size_t i = 0; i < sizeof(area); i += 64)
        area[i] = (unsigned char)(seed + i / 64);
    filch_task_yield();
    for (size_t i = 0; i < sizeof(area); i += 64)
        sum += area[i] == (unsigned char)(seed + i / 64);
    return sum;
}

static int big_frame(void *arg)
{
    return (int)use_stack((unsigned)(uintptr_t)arg);
}

static int stack_body(void *arg)
{
    filch_task *task[50];

    (void)arg;
    for (uintptr_t i = 0; i < 50; i++)
        task[i] = spawn(big_frame, (void *)i);
    for (int i = 0; i < 50; i++)
        T_IS(join(task[i]), 100 * 1024 / 64);
    return 0;
}

Test(task, hundred_kib_of_stack_can_be_used)
{
    cr_assert_eq(run_in_runtime(0, stack_body, NULL), 0);
}

/* Noinline, so that the address of errno is computed anew after a suspension. */
__attribute__((noinline)) static void errno_set(int value)
{
    errno = value;
}

__attribute__((noinline)) static int errno_get(void)
{
    return errno;
}

static int keep_errno(void *arg)
{
    int mine = (int)(intptr_t)arg;

    errno_set(mine);
    for (int i = 0; i < 50; i++) {
        filch_task_yield();
        T_IS(errno_get(), mine);
    }
    T_OK(filch_sleep(filch_after(FILCH_MILLISECOND)));
    T_IS(errno_get(), mine);
    return 0;
}

static int errno_body(void *arg)
{
    filch_task *task[20];

    (void)arg;
    for (intptr_t i = 0; i < 20; i++)
        task[i] = spawn(keep_errno, (void *)(i + 1));
    for (int i = 0; i < 20; i++)
        T_OK(join(task[i]));
    return 0;
}

Test(task, errno_is_kept_per_task_across_suspensions)
{
    cr_assert_eq(run_in_runtime(0, errno_body, NULL), 0);
}

static int floats(void *arg)
{
    double x = (double)(intptr_t)arg;
    double sum = 0;

    for (int i = 0; i < 100; i++) {
        sum += x / 3;
        filch_task_yield();
    }
    return sum > 100 * x / 3 - 0.001 && sum < 100 * x / 3 + 0.001;
}

static int registers_body(void *arg)
{
    filch_task *task[10];

    (void)arg;
    for (intptr_t i = 0; i < 10; i++)
        task[i] = spawn(floats, (void *)(i + 1));
    for (int i = 0; i < 10; i++)
        T_IS(join(task[i]), 1);
    return 0;
}

Test(task, floating_point_survives_switches)
{
    cr_assert_eq(run_in_runtime(0, registers_body, NULL), 0);
}

static int hog(void *arg)
{
    filch_time limit = T_LIMIT;

    while (!atomic_load((atomic_int *)arg))
        T_CHECK(filch_now() < limit);
    return 0;
}

static int release_hog(void *arg)
{
    atomic_store((atomic_int *)arg, 1);
    return 0;
}

static int hog_body(void *arg)
{
    atomic_int go = 0;
    filch_task *helper = spawn(release_hog, &go);

    (void)arg;
    /* Our own worker is held up from here on: another must take the helper. (A spawn goes into the
     * queue; out of the LIFO slot: test_rescue.c.) */
    hog(&go);
    T_OK(join(helper));
    return 0;
}

Test(task, task_behind_one_that_never_yields_is_run_by_another_worker)
{
    cr_assert_eq(run_in_runtime(2, hog_body, NULL), 0);
}
