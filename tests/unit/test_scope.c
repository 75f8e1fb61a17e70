/* Description: what <filch/scope.h> promises: no task outlives the block, the first error is kept,
 * cancel reaches all children. */
#include <errno.h>

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
