/* Description: what <filch/scope.h> promises: no task outlives the block, the first error is kept,
 * cancel reaches all children. */
#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(scope, .timeout = 60);

static int return_arg(void *arg)
{
    return (int)(intptr_t)arg;
}

static int add_one(void *arg)
{
    filch_task_yield();
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

static int add_one_when_cancelled(void *arg)
{
    int r = filch_sleep(FILCH_NEVER);

    atomic_fetch_add((atomic_int *)arg, 1);
    return r;
}

static int join_all_body(void *arg)
{
    atomic_int ran = 0;
    filch_scope scope;

    (void)arg;
    filch_scope_init(&scope, 0);
    T_CHECK(filch_scope_is_idle(&scope));
    T_OK(filch_scope_join(&scope, FILCH_NEVER));
    for (int i = 0; i < 10000; i++)
        T_OK(filch_scope_spawn(&scope, add_one, &ran));
    T_OK(filch_scope_join(&scope, FILCH_NEVER));
    T_IS(ran, 10000);
    T_CHECK(filch_scope_is_idle(&scope));
    /* It can be used again. */
    T_OK(filch_scope_spawn(&scope, add_one, &ran));
    T_OK(filch_scope_join(&scope, FILCH_NEVER));
    T_IS(ran, 10001);
    return 0;
}

Test(scope, join_waits_for_all_children)
{
    cr_assert_eq(run_in_runtime(0, join_all_body, NULL), 0);
}

static void leave_early(atomic_int *ended)
{
    FILCH_SCOPE(scope);

    for (int i = 0; i < 100; i++)
        T_OK(filch_scope_spawn(&scope, add_one_when_cancelled, ended));
    if (atomic_load(ended) == 0)
        return;
    T_CHECK(!"children ended before they were cancelled");
}

static int leave_early_body(void *arg)
{
    atomic_int ended = 0;

    (void)arg;
    leave_early(&ended);
    T_IS(ended, 100);
    return 0;
}

Test(scope, leaving_the_block_cancels_and_joins)
{
    cr_assert_eq(run_in_runtime(0, leave_early_body, NULL), 0);
}

static int first_error_body(void *arg)
{
    FILCH_SCOPE(scope);

    (void)arg;
    T_OK(filch_scope_spawn(&scope, return_arg, (void *)5));
    T_OK(filch_scope_join(&scope, FILCH_NEVER));
    T_OK(filch_scope_spawn(&scope, return_arg, (void *)-EIO));
    T_IS(filch_scope_join(&scope, FILCH_NEVER), -EIO);
    T_OK(filch_scope_spawn(&scope, return_arg, (void *)-ENOENT));
    T_IS(filch_scope_join(&scope, FILCH_NEVER), -EIO);
    T_IS(filch_scope_cancel_join(&scope), -EIO);
    return 0;
}

Test(scope, first_negative_result_is_kept)
{
    cr_assert_eq(run_in_runtime(0, first_error_body, NULL), 0);
}

static int cancel_join_ignores_body(void *arg)
{
    atomic_int ended = 0;
    FILCH_SCOPE(scope);
    FILCH_SCOPE(other);

    (void)arg;
    for (int i = 0; i < 10; i++)
        T_OK(filch_scope_spawn(&scope, add_one_when_cancelled, &ended));
    T_OK(filch_scope_cancel_join(&scope));
    T_IS(ended, 10);
    T_OK(filch_scope_cancel_join(&scope));

    T_OK(filch_scope_spawn(&other, return_arg, (void *)-ECANCELED));
    T_IS(filch_scope_join(&other, FILCH_NEVER), -ECANCELED);
    T_OK(filch_scope_spawn(&other, return_arg, (void *)-EIO));
    T_IS(filch_scope_join(&other, FILCH_NEVER), -ECANCELED);
    T_IS(filch_scope_cancel_join(&other), -EIO);
    return 0;
}

Test(scope, cancel_join_reports_errors_other_than_its_own_cancel)
{
    cr_assert_eq(run_in_runtime(0, cancel_join_ignores_body, NULL), 0);
}

static int cancel_on_error_body(void *arg)
{
    atomic_int ended = 0;
    FILCH_TRY_SCOPE(scope);

    (void)arg;
    for (int i = 0; i < 50; i++)
        T_OK(filch_scope_spawn(&scope, add_one_when_cancelled, &ended));
    T_OK(filch_scope_spawn(&scope, return_arg, (void *)-EPROTO));
    T_IS(filch_scope_join(&scope, T_LIMIT), -EPROTO);
    T_IS(ended, 50);
    return 0;
}

Test(scope, try_scope_cancels_siblings_at_the_first_error)
{
    cr_assert_eq(run_in_runtime(0, cancel_on_error_body, NULL), 0);
}

static int plain_scope_goes_on_body(void *arg)
{
    atomic_int ended = 0;
    FILCH_SCOPE(scope);

    (void)arg;
    T_OK(filch_scope_spawn(&scope, add_one_when_cancelled, &ended));
    T_OK(filch_scope_spawn(&scope, return_arg, (void *)-EPROTO));
    T_IS(filch_scope_join(&scope, filch_after(5 * FILCH_MILLISECOND)), -ETIMEDOUT);
    T_CHECK(!filch_scope_is_idle(&scope));
    T_IS(ended, 0);
    T_IS(filch_scope_join(&scope, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_scope_cancel_join(&scope), -EPROTO);
    T_IS(ended, 1);
    return 0;
}

Test(scope, join_that_times_out_leaves_the_children_alone)
{
    cr_assert_eq(run_in_runtime(0, plain_scope_goes_on_body, NULL), 0);
}

static int owner_that_is_cancelled(void *arg)
{
    atomic_int *ended = arg;
    FILCH_SCOPE(scope);

    T_OK(filch_scope_spawn(&scope, add_one_when_cancelled, ended));
    T_IS(filch_scope_join(&scope, FILCH_NEVER), -ECANCELED);
    T_CHECK(!filch_scope_is_idle(&scope));
    T_IS(atomic_load(ended), 0);
    /* Shielded: works although we are cancelled. */
    T_OK(filch_scope_cancel_join(&scope));
    T_IS(atomic_load(ended), 1);
    return 0;
}

static int cancelled_owner_body(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100; i++) {
        atomic_int ended = 0;
        filch_task *owner = spawn(owner_that_is_cancelled, &ended);

        for (int k = 0; k < i % 5; k++)
            filch_task_yield();
        T_OK(filch_task_cancel(owner));
        T_OK(join(owner));
    }
    return 0;
}

Test(scope, cancelled_owner_still_waits_for_its_children)
{
    cr_assert_eq(run_in_runtime(0, cancelled_owner_body, NULL), 0);
}

static int spawn_after_cancel_body(void *arg)
{
    filch_scope scope;

    (void)arg;
    filch_scope_init(&scope, 0);
    T_IS(filch_scope_spawn(&scope, NULL, NULL), -EINVAL);
    filch_scope_cancel(&scope);
    T_IS(filch_scope_spawn(&scope, return_arg, NULL), -ECANCELED);
    T_CHECK(filch_scope_is_idle(&scope));
    T_OK(filch_scope_join(&scope, FILCH_NEVER));
    return 0;
}

Test(scope, cancelled_scope_takes_no_more_children)
{
    cr_assert_eq(run_in_runtime(0, spawn_after_cancel_body, NULL), 0);
}

struct tree {
    filch_scope *scope;
    int depth;
    atomic_int *leaves;
};

static int grow(void *arg)
{
    const struct tree *tree = arg;
    struct tree child = {tree->scope, tree->depth - 1, tree->leaves};
    filch_task_opts opts = {.copy_bytes = sizeof(child), .name = "branch"};

    if (tree->depth == 0) {
        atomic_fetch_add(tree->leaves, 1);
        return 0;
    }
    T_OK(filch_scope_spawn_opts(tree->scope, grow, &child, &opts));
    T_OK(filch_scope_spawn_opts(tree->scope, grow, &child, &opts));
    return 0;
}

static int children_spawn_body(void *arg)
{
    atomic_int leaves = 0;
    FILCH_SCOPE(scope);
    struct tree root = {&scope, 12, &leaves};

    (void)arg;
    T_OK(grow(&root));
    T_OK(filch_scope_join(&scope, FILCH_NEVER));
    T_IS(leaves, 4096);
    return 0;
}

Test(scope, children_may_spawn_into_their_scope)
{
    cr_assert_eq(run_in_runtime(0, children_spawn_body, NULL), 0);
}

/* Spawns until it is refused: cancel and spawn race. */
static int breed(void *arg)
{
    struct tree *tree = arg;
    int r = 0;

    while (r == 0) {
        r = filch_scope_spawn(tree->scope, add_one_when_cancelled, tree->leaves);
        if (r == 0)
            tree->depth++;
        filch_task_yield();
    }
    return r;
}

static int cancel_races_spawn_body(void *arg)
{
    (void)arg;
    for (int round = 0; round < 50; round++) {
        atomic_int ended = 0;
        FILCH_SCOPE(scope);
        struct tree parent = {&scope, 0, &ended};

        T_OK(filch_scope_spawn(&scope, breed, &parent));
        for (int i = 0; i < round; i++)
            filch_task_yield();
        T_OK(filch_scope_cancel_join(&scope));
        T_IS(ended, parent.depth);
    }
    return 0;
}

Test(scope, cancel_reaches_children_spawned_at_the_same_time)
{
    cr_assert_eq(run_in_runtime(0, cancel_races_spawn_body, NULL), 0);
}

static int short_lived_frames_body(void *arg)
{
    atomic_int ran = 0;

    (void)arg;
    for (int i = 0; i < 20000; i++) {
        FILCH_SCOPE(scope);

        T_OK(filch_scope_spawn(&scope, add_one, &ran));
        T_OK(filch_scope_join(&scope, FILCH_NEVER));
    }
    T_IS(ran, 20000);
    return 0;
}

Test(scope, frame_may_go_as_soon_as_join_returns)
{
    cr_assert_eq(run_in_runtime(0, short_lived_frames_body, NULL), 0);
}

struct shared_scope {
    filch_scope scope;
    atomic_int ended;
};

static int fill_scope(void *arg)
{
    struct shared_scope *shared = arg;

    for (int i = 0; i < 10; i++)
        T_OK(filch_scope_spawn(&shared->scope, add_one_when_cancelled, &shared->ended));
    return 0;
}

Test(scope, plain_thread_may_own_and_join_but_not_spawn)
{
    filch_runtime *rt = start_runtime(0);
    struct shared_scope shared = {.ended = 0};
    int result;

    filch_scope_init(&shared.scope, 0);
    cr_assert_eq(filch_scope_spawn(&shared.scope, return_arg, NULL), -EPERM);
    T_OK(filch_runtime_block_on(rt, fill_scope, &shared, &result, FILCH_NEVER));
    cr_assert_eq(result, 0);
    cr_assert_not(filch_scope_is_idle(&shared.scope));
    cr_assert_eq(filch_scope_join(&shared.scope, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    filch_scope_cancel(&shared.scope);
    cr_assert_eq(filch_scope_join(&shared.scope, T_LIMIT), -ECANCELED);
    cr_assert_eq(filch_scope_cancel_join(&shared.scope), 0);
    cr_assert_eq(shared.ended, 10);
    stop_runtime(rt);
}

/* A limit: never more children than that, and those who wait are let in in order. */
struct limited {
    filch_scope *scope;
    atomic_int running;
    atomic_int most;
    atomic_int ran;
};

static int run_limited(void *arg)
{
    struct limited *limited = arg;
    int running = atomic_fetch_add(&limited->running, 1) + 1;
    int most = atomic_load(&limited->most);

    while (running > most && !atomic_compare_exchange_weak(&limited->most, &most, running))
        ;
    filch_task_yield();
    atomic_fetch_add(&limited->ran, 1);
    atomic_fetch_sub(&limited->running, 1);
    return 0;
}

static int limit_body(void *arg)
{
    FILCH_SCOPE(scope);
    struct limited limited = {.scope = &scope};

    (void)arg;
    T_OK(filch_scope_limit(&scope, 3));
    for (int i = 0; i < 3000; i++)
        T_OK(filch_scope_spawn_wait(&scope, run_limited, &limited, NULL, FILCH_NEVER));
    T_OK(filch_scope_join(&scope, FILCH_NEVER));
    T_IS(limited.ran, 3000);
    T_CHECK(limited.most >= 1 && limited.most <= 3);
    return 0;
}

Test(scope, limit_bounds_the_children_at_a_time)
{
    cr_assert_eq(run_in_runtime(0, limit_body, NULL), 0);
}

static int full_body(void *arg)
{
    atomic_int ended = 0;
    FILCH_SCOPE(scope);
    filch_task_opts opts = {.name = "waited", .copy_bytes = 1};

    (void)arg;
    T_IS(filch_scope_limit(NULL, 1), -EINVAL);
    T_OK(filch_scope_limit(&scope, 2));
    T_OK(filch_scope_spawn(&scope, add_one_when_cancelled, &ended));
    T_OK(filch_scope_spawn(&scope, add_one_when_cancelled, &ended));
    T_IS(filch_scope_spawn(&scope, add_one_when_cancelled, &ended), -EAGAIN);
    T_IS(filch_scope_spawn_opts(&scope, add_one_when_cancelled, &ended, &opts), -EAGAIN);
    T_IS(filch_scope_spawn_wait(&scope, return_arg, NULL, NULL, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_scope_spawn_wait(&scope, return_arg, &ended, &opts, filch_after(FILCH_MILLISECOND)),
         -ETIMEDOUT);
    T_IS(filch_scope_spawn_wait(&scope, NULL, NULL, NULL, FILCH_NOW), -EINVAL);
    T_IS(filch_scope_spawn_wait(NULL, return_arg, NULL, NULL, FILCH_NOW), -EINVAL);
    /* A higher limit makes room, none at all does too. */
    T_OK(filch_scope_limit(&scope, 3));
    T_OK(filch_scope_spawn(&scope, add_one_when_cancelled, &ended));
    T_IS(filch_scope_spawn(&scope, add_one_when_cancelled, &ended), -EAGAIN);
    T_OK(filch_scope_limit(&scope, 0));
    T_OK(filch_scope_spawn_wait(&scope, add_one_when_cancelled, &ended, NULL, FILCH_NOW));
    T_OK(filch_scope_cancel_join(&scope));
    T_IS(ended, 4);
    T_IS(filch_scope_spawn_wait(&scope, return_arg, NULL, NULL, FILCH_NEVER), -ECANCELED);
    return 0;
}

Test(scope, full_scope_refuses_or_times_out)
{
    cr_assert_eq(run_in_runtime(0, full_body, NULL), 0);
}

/* Spawners that wait; each spawns once, and the order in which they are let in is kept. */
struct queue_up {
    filch_scope *scope;
    atomic_int waiting; /* about to wait */
    atomic_int order;
    int admitted[20];
};

struct one_in_line {
    struct queue_up *queue;
    int number;
    int result;
};

static int take_number(void *arg)
{
    struct one_in_line *one = arg;

    one->queue->admitted[one->number] = atomic_fetch_add(&one->queue->order, 1);
    return 0;
}

static int wait_in_line(void *arg)
{
    struct one_in_line *one = arg;

    atomic_fetch_add(&one->queue->waiting, 1);
    one->result = filch_scope_spawn_wait(one->queue->scope, take_number, one, NULL, FILCH_NEVER);
    return 0;
}

/* The scope's only place is taken; 20 wait for it, one after the other. One worker: a task that has
 * said that it is about to wait does so before anybody else runs. */
static void line_up(struct queue_up *queue, struct one_in_line *one, filch_task **task)
{
    for (int i = 0; i < 20; i++) {
        one[i] = (struct one_in_line){queue, i, 1};
        task[i] = spawn(wait_in_line, &one[i]);
        T_WAIT_UNTIL(atomic_load(&queue->waiting) == i + 1);
    }
}

static int fair_body(void *arg)
{
    FILCH_SCOPE(scope);
    struct queue_up queue = {.scope = &scope};
    struct one_in_line one[20];
    filch_task *task[20];
    atomic_int ended = 0;

    (void)arg;
    T_OK(filch_scope_limit(&scope, 1));
    T_OK(filch_scope_spawn(&scope, add_one, &ended));
    line_up(&queue, one, task);
    for (int i = 0; i < 20; i++) {
        T_OK(join(task[i]));
        T_OK(one[i].result);
    }
    T_OK(filch_scope_join(&scope, FILCH_NEVER));
    for (int i = 0; i < 20; i++)
        T_IS(queue.admitted[i], i);
    return 0;
}

Test(scope, spawners_that_wait_are_served_in_order)
{
    cr_assert_eq(run_in_runtime(1, fair_body, NULL), 0);
}

/* Cancelling one spawner loses no room; cancelling the scope refuses all. */
static int cancelled_line_body(void *arg)
{
    FILCH_SCOPE(scope);
    struct queue_up queue = {.scope = &scope};
    struct one_in_line one[20];
    filch_task *task[20];
    atomic_int ended = 0;

    (void)arg;
    T_OK(filch_scope_limit(&scope, 1));
    T_OK(filch_scope_spawn(&scope, add_one_when_cancelled, &ended));
    line_up(&queue, one, task);
    for (int i = 0; i < 20; i += 2)
        T_OK(filch_task_cancel(task[i]));
    for (int i = 0; i < 20; i += 2) {
        T_OK(join(task[i]));
        T_IS(one[i].result, -ECANCELED);
    }
    T_IS(filch_scope_join(&scope, FILCH_NOW), -ETIMEDOUT);
    T_OK(filch_scope_limit(&scope, 2)); /* lets one in, who lets the next in, ... */
    for (int i = 1; i < 20; i += 2) {
        T_OK(join(task[i]));
        T_OK(one[i].result);
    }
    T_OK(filch_scope_limit(&scope, 1));
    queue.waiting = 0;
    line_up(&queue, one, task);
    T_OK(filch_scope_cancel_join(&scope)); /* waits for the spawners, too */
    for (int i = 0; i < 20; i++) {
        T_OK(join(task[i]));
        T_IS(one[i].result, -ECANCELED);
    }
    T_IS(ended, 1);
    T_IS(queue.order, 10);
    return 0;
}

Test(scope, cancel_refuses_those_that_wait_for_room)
{
    cr_assert_eq(run_in_runtime(1, cancelled_line_body, NULL), 0);
}

static int try_limit_body(void *arg)
{
    FILCH_TRY_SCOPE(scope);
    struct queue_up queue = {.scope = &scope};
    struct one_in_line one[20];
    filch_task *task[20];
    atomic_int ended = 0;

    (void)arg;
    T_OK(filch_scope_limit(&scope, 2));
    T_OK(filch_scope_spawn(&scope, add_one_when_cancelled, &ended));
    T_OK(filch_scope_spawn(&scope, return_arg, (void *)-EPROTO));
    line_up(&queue, one, task);
    T_IS(filch_scope_join(&scope, FILCH_NEVER), -EPROTO);
    for (int i = 0; i < 20; i++)
        T_OK(join(task[i]));
    /* The error came while the first waited, or before: either way all later ones are refused. */
    for (int i = 1; i < 20; i++)
        T_IS(one[i].result, -ECANCELED);
    T_IS(filch_scope_spawn(&scope, return_arg, NULL), -ECANCELED);
    T_IS(ended, 1);
    return 0;
}

Test(scope, try_scope_refuses_spawns_after_an_error)
{
    cr_assert_eq(run_in_runtime(1, try_limit_body, NULL), 0);
}

/* Children that spawn into their own limited scope; random cancels and limits; nothing is lost. */
struct crowd {
    filch_scope scope;
    atomic_int spawned, ran, refused, waited;
};

static int one_of_the_crowd(void *arg)
{
    struct crowd *crowd = arg;

    filch_task_yield();
    atomic_fetch_add(&crowd->ran, 1);
    return 0;
}

static int crowd_spawner(void *arg)
{
    struct crowd *crowd = arg;

    for (int i = 0; i < 200; i++) {
        filch_time until = i % 3 ? FILCH_NEVER : filch_after((filch_time)i * FILCH_MICROSECOND);
        int r = filch_scope_spawn_wait(&crowd->scope, one_of_the_crowd, crowd, NULL, until);

        T_CHECK(r == 0 || r == -ECANCELED || (r == -ETIMEDOUT && i % 3 == 0));
        atomic_fetch_add(r == 0 ? &crowd->spawned : &crowd->refused, 1);
    }
    return 0;
}

static int crowd_body(void *arg)
{
    (void)arg;
    for (unsigned round = 0; round < 20; round++) {
        struct crowd crowd = {.ran = 0};
        FILCH_SCOPE(spawners);

        filch_scope_init(&crowd.scope, 0);
        T_OK(filch_scope_limit(&crowd.scope, 1 + round % 4));
        for (int i = 0; i < 8; i++)
            T_OK(filch_scope_spawn(&spawners, crowd_spawner, &crowd));
        for (unsigned i = 0; i < 100 * round; i++)
            filch_task_yield();
        if (round % 2)
            filch_scope_cancel(&spawners);
        else
            filch_scope_cancel(&crowd.scope);
        T_OK(filch_scope_join(&spawners, T_LIMIT));
        filch_scope_cancel_join(&crowd.scope);
        T_IS(crowd.spawned, crowd.ran);
        T_IS(crowd.spawned + crowd.refused, 8 * 200);
    }
    return 0;
}

Test(scope, crowd_of_spawners_loses_nothing)
{
    cr_assert_eq(run_in_runtime(0, crowd_body, NULL), 0);
}

/* Somebody else cancels while the owner joins: the frame may go as soon as the last child has
 * ended, and the one who cancels must be done with it by then. */
struct cancel_from_outside {
    filch_scope *scope;
    atomic_int ended;
};

static int cancel_for_another(void *arg)
{
    filch_scope_cancel(((struct cancel_from_outside *)arg)->scope);
    return 0;
}

static void owner_of_many(struct cancel_from_outside *outside)
{
    filch_scope *scope = malloc(sizeof(*scope));
    filch_task *canceller;

    T_CHECK(scope);
    filch_scope_init(scope, 0);
    outside->scope = scope;
    for (int i = 0; i < 200; i++)
        T_OK(filch_scope_spawn(scope, add_one_when_cancelled, &outside->ended));
    canceller = spawn(cancel_for_another, outside);
    T_IS(filch_scope_join(scope, T_LIMIT), -ECANCELED);
    free(scope); /* address sanitizers see a late access */
    T_OK(join(canceller));
}

static int cancel_from_outside_body(void *arg)
{
    struct cancel_from_outside outside = {.ended = 0};

    (void)arg;
    for (int i = 0; i < 200; i++)
        owner_of_many(&outside);
    T_IS(outside.ended, 200 * 200);
    return 0;
}

Test(scope, cancel_by_another_task_is_done_with_the_frame_when_join_returns)
{
    cr_assert_eq(run_in_runtime(0, cancel_from_outside_body, NULL), 0);
}

static int fail_by_copy(void *arg)
{
    return -*(int *)arg;
}

static int errors_body(void *arg)
{
    filch_scope_error errors[3] = {{.error = 1}};
    filch_scope_error first;
    atomic_int ended = 0;
    int five = 5;
    FILCH_SCOPE(scope);

    (void)arg;
    T_IS(filch_scope_failed(&scope, &first), -ENOENT);
    T_OK(filch_scope_collect(&scope, errors, 3));
    T_OK(filch_scope_spawn(&scope, return_arg, (void *)-ECANCELED));
    T_IS(filch_scope_join(&scope, FILCH_NEVER), -ECANCELED);
    T_OK(filch_scope_failed(&scope, &first));
    T_IS(first.error, -ECANCELED);
    T_OK(filch_scope_spawn_opts(&scope, return_arg, (void *)-EIO,
                                &(filch_task_opts){.name = "reader"}));
    T_IS(filch_scope_join(&scope, FILCH_NEVER), -ECANCELED);
    T_OK(filch_scope_spawn(&scope, return_arg, (void *)7));
    for (intptr_t i = 0; i < 4; i++) {
        T_OK(filch_scope_spawn(&scope, return_arg, (void *)(-1000 - i)));
        T_IS(filch_scope_join(&scope, FILCH_NEVER), -ECANCELED);
    }
    T_OK(filch_scope_failed(&scope, &first));
    T_IS(first.error, -EIO);
    T_IS(strcmp(first.name, "reader"), 0);
    T_CHECK(first.fn == return_arg && first.arg == (void *)-EIO);
    T_IS(filch_scope_failures(&scope), 6);
    T_IS(errors[0].error, -ECANCELED);
    T_IS(errors[1].error, -EIO);
    T_IS(errors[2].error, -1000);
    T_IS(strcmp(errors[2].name, ""), 0);
    /* What is done as told is no failure; nor is a copy shown that is gone. */
    T_OK(filch_scope_collect(&scope, errors, 3));
    T_IS(filch_scope_failures(&scope), 0);
    T_OK(filch_scope_spawn_opts(&scope, add_one_when_cancelled, &ended, NULL));
    T_OK(filch_scope_spawn_opts(&scope, fail_by_copy, &five,
                                &(filch_task_opts){.copy_bytes = sizeof five, .save_fp = true}));
    T_WAIT_UNTIL(filch_scope_failures(&scope) == 1);
    T_IS(filch_scope_cancel_join(&scope), -EIO);
    T_IS(ended, 1);
    T_IS(filch_scope_failures(&scope), 1);
    T_IS(errors[0].error, -5);
    T_CHECK(errors[0].arg == NULL && errors[0].fn == fail_by_copy);
    return 0;
}

Test(scope, errors_are_collected_and_the_first_failed_child_is_known)
{
    cr_assert_eq(run_in_runtime(0, errors_body, NULL), 0);
}

static int ignore_body(void *arg)
{
    filch_scope_error first;
    atomic_int ended = 0;
    FILCH_SCOPE_WITH(scope, FILCH_SCOPE_IGNORE_ERRORS);
    FILCH_SCOPE_WITH(strict, FILCH_SCOPE_IGNORE_ERRORS | FILCH_SCOPE_CANCEL_ON_ERROR);

    (void)arg;
    T_OK(filch_scope_spawn(&scope, return_arg, (void *)-EIO));
    T_OK(filch_scope_join(&scope, FILCH_NEVER));
    T_OK(filch_scope_cancel_join(&scope));
    T_OK(filch_scope_failed(&scope, &first));
    T_IS(first.error, -EIO);
    T_IS(filch_scope_failures(&scope), 1);
    for (int i = 0; i < 10; i++)
        T_OK(filch_scope_spawn(&strict, add_one_when_cancelled, &ended));
    T_OK(filch_scope_spawn(&strict, return_arg, (void *)-EIO));
    T_OK(filch_scope_join(&strict, T_LIMIT));
    T_IS(ended, 10);
    T_IS(filch_scope_failures(&strict), 1);
    return 0;
}

Test(scope, errors_may_be_ignored)
{
    cr_assert_eq(run_in_runtime(0, ignore_body, NULL), 0);
}
