/* Description: cancellation tokens: down the tree and never up, once and for ever; waiters, hooks,
 * selects, bound tasks and scopes; deep and wide trees; guards and times; and why a task was
 * cancelled. */
#include <errno.h>
#include <pthread.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(cancel, .timeout = 120);

static filch_token *token_new(void)
{
    filch_token *token = NULL;

    T_OK(filch_token_new(&token));
    return token;
}

static filch_token *child_of(filch_token *parent)
{
    filch_token *token = NULL;

    T_OK(filch_token_child(parent, &token));
    return token;
}

static void add_one(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
}

/* ---- guards ---- */

static int starts(filch_token *token, int result)
{
    FILCH_TOKEN_GUARD(guard, token);

    T_CHECK(!filch_token_is_cancelled(token));
    if (result < 0)
        return result;
    filch_token_guard_disarm(&guard);
    filch_token_guard_disarm(&guard);
    return 0;
}

Test(cancel, a_guard_cancels_when_its_block_is_left)
{
    filch_token *token = token_new(), *below = child_of(token);
    filch_token_guard guard, moved;

    T_OK(starts(token, 0));
    T_CHECK(!filch_token_is_cancelled(token));
    T_IS(starts(token, -EIO), -EIO);
    T_CHECK(filch_token_is_cancelled(token));
    T_IS(filch_token_cause(below, NULL), -ECANCELED);
    filch_token_unref(below);
    filch_token_unref(token);

    /* It keeps the token, and may move. */
    token = token_new();
    filch_token_guard_init(&guard, token);
    below = child_of(token);
    filch_token_unref(token);
    moved = guard;
    T_CHECK(!filch_token_is_cancelled(below));
    filch_token_guard_fini(&moved);
    filch_token_guard_fini(&moved);
    T_CHECK(filch_token_is_cancelled(below));
    filch_token_unref(below);
    filch_token_guard_init(&guard, NULL);
    filch_token_guard_fini(&guard);
}

/* ---- as a future ---- */

/* Polls a token's future until it is ready, as one of two, by wakers that change; or gives up. */
struct waiting {
    filch_future base;
    filch_token_future cancelled;
    filch_sleep_future sleep;
    filch_child child[2];
    filch_select_future select;
};

static filch_poll waiting_poll(filch_future *self, filch_cx *cx)
{
    struct waiting *waiting = (struct waiting *)self;
    filch_poll poll = waiting->select.base.poll(&waiting->select.base, cx);

    self->result = waiting->select.base.result;
    return poll;
}

static void waiting_drop(filch_future *self)
{
    struct waiting *waiting = (struct waiting *)self;

    waiting->select.base.drop(&waiting->select.base);
}

static void waiting_init(struct waiting *waiting, filch_token *token, filch_time until)
{
    *waiting = (struct waiting){.base = {.poll = waiting_poll, .drop = waiting_drop}};
    T_OK(filch_token_future_init(&waiting->cancelled, token));
    filch_sleep_future_init(&waiting->sleep, until);
    waiting->child[0].future = &waiting->cancelled.base;
    waiting->child[1].future = &waiting->sleep.base;
    T_OK(filch_select_future_init(&waiting->select, waiting->child, 2, 0));
}

static int token_futures(void *arg)
{
    struct waiting waiting[64];
    filch_token_future future;
    filch_task *task[64];
    filch_token *token = token_new();

    (void)arg;
    /* Awaited, given up, awaited again by another, dropped; and ready at once. */
    T_OK(filch_token_future_init(&future, token));
    T_IS(filch_await(&future.base, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_await(&future.base, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    future.base.drop(&future.base);
    T_OK(filch_token_future_init(&future, token));
    future.base.drop(&future.base); /* never polled */
    for (int round = 0; round < T_MANY(50) + 1; round++) {
        filch_token *child = child_of(token);

        for (int i = 0; i < 64; i++) {
            bool times_out = i % 2;

            waiting_init(&waiting[i], child,
                         times_out ? filch_after((filch_time)i * FILCH_MICROSECOND) : FILCH_NEVER);
            T_OK(filch_future_spawn(&waiting[i].base, NULL, &task[i]));
        }
        if (round % 2)
            filch_task_yield();
        T_OK(filch_token_cancel(child, -EIO, NULL));
        for (int i = 0; i < 64; i++) {
            int winner = join(task[i]);

            T_CHECK(winner == 0 || (winner == 1 && i % 2));
        }
        filch_token_unref(child);
    }
    T_OK(filch_token_cancel(token, -EIO, NULL));
    T_OK(filch_token_future_init(&future, token));
    T_OK(filch_await(&future.base, FILCH_NOW));
    filch_token_unref(token);
    return 0;
}

Test(cancel, a_future_is_ready_with_the_cancel)
{
    T_OK(run_in_runtime(0, token_futures, NULL));
    T_OK(run_in_runtime(4, token_futures, NULL));
}

/* ---- with a time ---- */

static uint64_t tasks_left(void)
{
    filch_stats stats;

    T_OK(filch_runtime_stats(filch_runtime_self(), &stats));
    return stats.tasks_spawned - stats.tasks_finished;
}

static int times(void *arg)
{
    filch_token *root = token_new(), *token, *below, *other;
    const char *text = NULL;

    (void)arg;
    T_OK(filch_token_child_until(root, filch_after(FILCH_MILLISECOND), -ETIME, "late", &token));
    below = child_of(token);
    T_OK(filch_token_wait(below, T_LIMIT));
    T_IS(filch_token_cause(below, &text), -ETIME);
    T_IS(strcmp(text, "late"), 0);
    T_CHECK(!filch_token_is_cancelled(root));
    T_WAIT_UNTIL(tasks_left() == 1);
    filch_token_unref(below);
    filch_token_unref(token);

    /* What waits for a far time ends with the cancel, whoever cancels. */
    T_OK(filch_token_child_until(root, filch_after(1000 * FILCH_SECOND), -ETIME, NULL, &token));
    T_OK(filch_token_child_until(NULL, filch_after(1000 * FILCH_SECOND), -ETIME, NULL, &other));
    T_IS(tasks_left(), 3);
    let_others_run();
    T_CHECK(!filch_token_is_cancelled(token));
    T_OK(filch_token_cancel(root, -EIO, NULL));
    T_OK(filch_token_cancel(other, -ECANCELED, NULL));
    T_IS(filch_token_cause(token, NULL), -EIO);
    T_WAIT_UNTIL(tasks_left() == 1);
    filch_token_unref(token);
    filch_token_unref(other);

    /* Nothing to wait for. */
    T_OK(filch_token_child_until(root, T_LIMIT, -ETIME, NULL, &token));
    T_IS(filch_token_cause(token, NULL), -EIO);
    filch_token_unref(token);
    T_OK(filch_token_child_until(NULL, FILCH_NOW, -ETIME, NULL, &token));
    T_IS(filch_token_cause(token, NULL), -ETIME);
    filch_token_unref(token);
    T_OK(filch_token_child_until(NULL, FILCH_NEVER, -ETIME, NULL, &token));
    T_CHECK(!filch_token_is_cancelled(token));
    filch_token_unref(token);
    T_IS(tasks_left(), 1);
    filch_token_unref(root);
    return 0;
}

Test(cancel, a_token_is_cancelled_at_its_time)
{
    T_OK(run_in_runtime(0, times, NULL));
}

/* Cancels against times that have just come: each token is cancelled, by one of them. */
static int near_times(void *arg)
{
    filch_token *token[64];

    (void)arg;
    for (int round = 0; round < T_MANY(50) + 1; round++) {
        filch_token *root = token_new();

        for (int i = 0; i < 64; i++)
            T_OK(filch_token_child_until(root, filch_after((filch_time)i * 2 * FILCH_MICROSECOND),
                                         -ETIME, NULL, &token[i]));
        T_OK(filch_token_wait(token[round % 64], T_LIMIT));
        T_OK(filch_token_cancel(root, -EIO, NULL));
        for (int i = 0; i < 64; i++) {
            int cause = filch_token_cause(token[i], NULL);

            T_CHECK(cause == -ETIME || cause == -EIO);
            filch_token_unref(token[i]);
        }
        filch_token_unref(root);
    }
    T_WAIT_UNTIL(tasks_left() == 1);
    return 0;
}

Test(cancel, times_and_cancels_at_once)
{
    T_OK(run_in_runtime(0, near_times, NULL));
    T_OK(run_in_runtime(4, near_times, NULL));
}

static int leaves_one_behind(void *arg)
{
    return filch_token_child_until(NULL, filch_after(1000 * FILCH_SECOND), -ETIME, NULL, arg);
}

Test(cancel, a_token_outlives_the_runtime_that_waits_for_its_time)
{
    filch_token *token = NULL;

    T_OK(run_in_runtime(1, leaves_one_behind, &token));
    T_CHECK(!filch_token_is_cancelled(token));
    filch_token_unref(token);
}

/* ---- the tree ---- */

Test(cancel, goes_down_and_never_up)
{
    filch_token *root = token_new();
    filch_token *left = child_of(root), *right = child_of(root), *below = child_of(left);
    const char *text = "untouched";

    T_IS(filch_token_cause(left, &text), 0);
    T_OK(filch_token_cancel(left, -EPIPE, "the peer has gone"));
    T_CHECK(filch_token_is_cancelled(left) && filch_token_is_cancelled(below));
    T_CHECK(!filch_token_is_cancelled(root) && !filch_token_is_cancelled(right));
    T_IS(filch_token_cause(root, &text), 0);
    T_CHECK(strcmp(text, "untouched") == 0);
    T_IS(filch_token_cause(below, &text), -EPIPE);
    T_CHECK(strcmp(text, "the peer has gone") == 0);
    /* The first cause stays. */
    T_OK(filch_token_cancel(root, -ETIMEDOUT, NULL));
    T_IS(filch_token_cause(below, NULL), -EPIPE);
    T_IS(filch_token_cause(right, &text), -ETIMEDOUT);
    filch_token_unref(right);
    filch_token_unref(root);
    filch_token_unref(left);
    filch_token_unref(below);
}

Test(cancel, a_child_of_a_cancelled_token_is_cancelled)
{
    filch_token *root = token_new();
    filch_token *child;

    T_OK(filch_token_cancel(root, -EIO, NULL));
    child = child_of(root);
    T_IS(filch_token_cause(child, NULL), -EIO);
    filch_token_unref(child);
    filch_token_unref(root);
}

Test(cancel, a_child_that_is_gone_is_forgotten)
{
    filch_token *root = token_new();
    atomic_int calls = 0;

    for (int i = 0; i < 1000; i++) {
        filch_token *child = child_of(root);
        filch_hook hook;

        T_OK(filch_token_hook(child, &hook, add_one, &calls));
        T_OK(filch_token_unhook(child, &hook));
        filch_token_unref(child);
    }
    T_OK(filch_token_cancel(root, -ECANCELED, NULL));
    T_IS(atomic_load(&calls), 0);
    filch_token_unref(root);
}

#define MANY 100000

Test(cancel, a_tree_100000_wide)
{
    filch_token **child = calloc(MANY, sizeof(*child));
    filch_token *root = token_new();

    for (int i = 0; i < MANY; i++)
        child[i] = child_of(root);
    T_OK(filch_token_cancel(root, -ECANCELED, NULL));
    for (int i = 0; i < MANY; i++) {
        T_CHECK(filch_token_is_cancelled(child[i]));
        filch_token_unref(child[i]);
    }
    filch_token_unref(root);
    free(child);
}

static int deep(void *arg)
{
    filch_token *root = token_new();
    filch_token *last = filch_token_ref(root);

    (void)arg;
    for (int i = 0; i < MANY; i++) {
        filch_token *next = child_of(last);

        filch_token_unref(last); /* its child keeps it */
        last = next;
    }
    T_OK(filch_token_cancel(root, -EIO, NULL));
    T_IS(filch_token_cause(last, NULL), -EIO);
    filch_token_unref(root);
    filch_token_unref(last); /* and with it the whole line */
    return 0;
}

static int deep_on_a_small_stack(void *arg)
{
    filch_task *task;

    (void)arg;
    T_OK(filch_task_spawn(deep, NULL, &(filch_task_opts){.stack_bytes = 16384}, &task));
    return join(task);
}

Test(cancel, a_tree_100000_deep_on_a_small_stack)
{
    T_OK(deep(NULL));
    T_OK(run_in_runtime(0, deep_on_a_small_stack, NULL));
}

/* ---- hooks ---- */

struct self_removing {
    filch_token *token;
    filch_hook hook;
    int said;
};

static void removes_itself(void *arg)
{
    struct self_removing *self = arg;

    self->said = filch_token_unhook(self->token, &self->hook);
}

Test(cancel, a_hook_runs_once)
{
    filch_token *token = token_new();
    struct self_removing self = {.token = token};
    atomic_int calls = 0;
    filch_hook hook, late;

    T_OK(filch_token_hook(token, &hook, add_one, &calls));
    T_OK(filch_token_hook(token, &self.hook, removes_itself, &self));
    T_OK(filch_token_cancel(token, -ECANCELED, NULL));
    T_OK(filch_token_cancel(token, -ECANCELED, NULL));
    T_IS(atomic_load(&calls), 1);
    T_IS(self.said, -EINPROGRESS);
    T_IS(filch_token_unhook(token, &hook), -EALREADY);
    T_IS(filch_token_hook(token, &late, add_one, &calls), -ECANCELED);
    T_IS(atomic_load(&calls), 1);
    filch_token_unref(token);
}

struct slow_hook {
    filch_token *token;
    filch_hook hook;
    atomic_int step; /* 1: in the hook; 2: it may go on; 3: it has ended */
};

static void slow(void *arg)
{
    struct slow_hook *slow = arg;

    atomic_store(&slow->step, 1);
    while (atomic_load(&slow->step) < 2)
        sched_yield();
    atomic_store(&slow->step, 3);
}

static void *cancels_in_thread(void *token)
{
    T_OK(filch_token_cancel(token, -ECANCELED, NULL));
    return NULL;
}

static void *lets_go_on(void *arg)
{
    struct slow_hook *slow = arg;

    atomic_store(&slow->step, 2);
    return NULL;
}

static int removes_while_it_runs(void *arg)
{
    struct slow_hook hook = {.token = token_new()};
    pthread_t canceller, releaser;

    (void)arg;
    T_OK(filch_token_hook(hook.token, &hook.hook, slow, &hook));
    T_OK(pthread_create(&canceller, NULL, cancels_in_thread, hook.token));
    T_WAIT_UNTIL(atomic_load(&hook.step) == 1);
    T_OK(pthread_create(&releaser, NULL, lets_go_on, &hook));
    T_IS(filch_token_unhook(hook.token, &hook.hook), -EALREADY);
    T_IS(atomic_load(&hook.step), 3);
    T_OK(pthread_join(canceller, NULL));
    T_OK(pthread_join(releaser, NULL));
    filch_token_unref(hook.token);
    return 0;
}

Test(cancel, removing_a_hook_waits_for_its_end)
{
    T_OK(removes_while_it_runs(NULL));
    T_OK(run_in_runtime(0, removes_while_it_runs, NULL));
}

/* ---- waiting ---- */

static int waits_for_token(void *token)
{
    return filch_token_wait(token, FILCH_NEVER);
}

static void *waits_in_thread(void *token)
{
    T_OK(filch_token_wait(token, T_LIMIT));
    return NULL;
}

static int selects_token(void *token)
{
    int r = 1;

    T_IS(FILCH_SELECT_RESULT(&r, T_LIMIT, filch_case_at(FILCH_NEVER), filch_case_token(token)), 1);
    return r;
}

static int waits(void *arg)
{
    filch_token *root = token_new();
    filch_token *token = child_of(root);
    filch_task *a = spawn(waits_for_token, token), *b = spawn(selects_token, token);
    filch_task *cancelled = spawn(waits_for_token, root);
    pthread_t thread;

    (void)arg;
    T_OK(pthread_create(&thread, NULL, waits_in_thread, token));
    T_IS(filch_token_wait(token, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_token_wait(token, filch_after(FILCH_MICROSECOND)), -ETIMEDOUT);
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_token(token)), -ETIMEDOUT);
    let_others_run();
    T_OK(filch_task_cancel(cancelled));
    T_IS(join(cancelled), -ECANCELED);
    T_OK(filch_token_cancel(root, -EIO, NULL));
    T_OK(join(a));
    T_OK(join(b));
    T_OK(pthread_join(thread, NULL));
    T_OK(filch_token_wait(token, FILCH_NOW));
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_token(token)), 0);
    filch_token_unref(token);
    filch_token_unref(root);
    return 0;
}

Test(cancel, everybody_who_waits_is_woken)
{
    T_OK(run_in_runtime(0, waits, NULL));
}

/* ---- tasks and scopes ---- */

static int sleeps_and_says_why(void *arg)
{
    (void)arg;
    T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    return filch_cancel_cause();
}

static int binds_itself(void *token)
{
    T_OK(filch_token_bind(token));
    return sleeps_and_says_why(NULL);
}

static int bound_tasks(void *arg)
{
    filch_token *token = token_new();
    filch_task *by_itself = spawn(binds_itself, token), *by_opts, *late, *short_lived;

    (void)arg;
    T_OK(filch_task_spawn(sleeps_and_says_why, NULL, &(filch_task_opts){.token = token}, &by_opts));
    T_OK(filch_task_spawn((filch_fn)(void (*)(void))let_others_run, NULL,
                          &(filch_task_opts){.token = token}, &short_lived));
    T_OK(filch_task_join(short_lived, NULL, T_LIMIT));
    let_others_run();
    T_OK(filch_token_cancel(token, -EHOSTDOWN, NULL));
    T_IS(join(by_itself), -EHOSTDOWN);
    T_IS(join(by_opts), -EHOSTDOWN);
    T_OK(filch_task_spawn(sleeps_and_says_why, NULL, &(filch_task_opts){.token = token}, &late));
    T_IS(join(late), -EHOSTDOWN);
    filch_token_unref(token);
    return 0;
}

Test(cancel, a_bound_task_ends_with_its_token)
{
    T_OK(run_in_runtime(0, bound_tasks, NULL));
}

static int keeps_cause(void *arg)
{
    T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    *(int *)arg = filch_cancel_cause();
    return 0;
}

static int bound_scopes(void *arg)
{
    filch_token *token = token_new();
    int cause[2] = {0, 0}, unbound = 0;

    (void)arg;
    {
        FILCH_SCOPE(scope);
        T_OK(filch_scope_bind(&scope, token));
        T_IS(filch_scope_bind(&scope, token), -EBUSY);
        T_OK(filch_scope_spawn(&scope, keeps_cause, &cause[0]));
        T_OK(filch_scope_spawn(&scope, keeps_cause, &cause[1]));
        let_others_run();
        T_OK(filch_token_cancel(token, -EIO, NULL));
        T_OK(filch_scope_join(&scope, T_LIMIT));
        T_IS(filch_scope_spawn(&scope, keeps_cause, &cause[0]), -ECANCELED);
    }
    T_IS(cause[0], -EIO);
    T_IS(cause[1], -EIO);
    {
        FILCH_SCOPE(late);
        T_OK(filch_scope_bind(&late, token));
        T_IS(filch_scope_spawn(&late, keeps_cause, &unbound), -ECANCELED);
    }
    filch_token_unref(token);
    /* A scope that has ended is out of reach. */
    token = token_new();
    {
        FILCH_SCOPE(over);
        T_OK(filch_scope_bind(&over, token));
    }
    T_OK(filch_token_cancel(token, -EIO, NULL));
    filch_token_unref(token);
    return 0;
}

Test(cancel, a_bound_scope_is_cancelled_with_its_token)
{
    T_OK(run_in_runtime(0, bound_scopes, NULL));
}

/* ---- why ---- */

static int fails(void *arg)
{
    (void)arg;
    return -EBADMSG;
}

static int has_a_child_that_says_why(void *arg)
{
    FILCH_SCOPE(scope);

    T_OK(filch_scope_spawn(&scope, keeps_cause, arg));
    return filch_scope_join(&scope, FILCH_NEVER);
}

static int causes(void *arg)
{
    filch_task *task = spawn(sleeps_and_says_why, NULL);
    int cause = 0;

    (void)arg;
    T_IS(filch_cancel_cause(), 0);
    T_OK(filch_task_cancel(task));
    T_OK(filch_task_cancel_cause(task, -EIO)); /* too late: the first counts */
    T_IS(join(task), -ECANCELED);
    task = spawn(sleeps_and_says_why, NULL);
    T_OK(filch_task_cancel_cause(task, -EIO));
    T_IS(join(task), -EIO);
    task = spawn(sleeps_and_says_why, NULL);
    T_OK(filch_task_cancel_cause(task, 5)); /* no error */
    T_IS(join(task), -ECANCELED);
    {
        FILCH_TRY_SCOPE(scope);
        T_OK(filch_scope_spawn(&scope, keeps_cause, &cause));
        T_OK(filch_scope_spawn(&scope, fails, NULL));
        T_IS(filch_scope_join(&scope, T_LIMIT), -EBADMSG);
    }
    T_IS(cause, -EBADMSG);
    /* Down to the children of one that is cancelled. */
    task = spawn(has_a_child_that_says_why, &cause);
    let_others_run();
    T_OK(filch_task_cancel_cause(task, -EHOSTDOWN));
    T_IS(join(task), -ECANCELED);
    T_IS(cause, -EHOSTDOWN);
    {
        FILCH_SCOPE(scope);
        T_OK(filch_scope_spawn(&scope, keeps_cause, &cause));
        filch_scope_cancel_cause(&scope, -ENOSPC);
    }
    T_IS(cause, -ENOSPC);
    return 0;
}

Test(cancel, why_a_task_was_cancelled)
{
    T_IS(filch_cancel_cause(), 0);
    T_OK(run_in_runtime(0, causes, NULL));
}

static int says_why_at_shutdown(void *arg)
{
    *(atomic_int *)arg = 1;
    T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    *(atomic_int *)arg = filch_cancel_cause();
    return 0;
}

Test(cancel, a_runtime_that_stops_is_a_cause)
{
    filch_runtime *rt = start_runtime(0);
    atomic_int cause = 0;

    T_OK(filch_runtime_spawn(rt, says_why_at_shutdown, &cause, NULL, NULL));
    T_WAIT_UNTIL(atomic_load(&cause) == 1);
    stop_runtime(rt);
    T_IS(atomic_load(&cause), -ESHUTDOWN);
}

/* ---- many at once ---- */

#define BRANCHES 8
#define ROUNDS 300

struct storm {
    filch_token *root;
    filch_token *branch[BRANCHES];
    atomic_int calls, removed, refused;
};

/* Grows and fells twigs while others cancel what they grow on. */
static int grows(void *arg)
{
    struct storm *storm = arg;
    unsigned random = (unsigned)(uintptr_t)&storm;

    for (int i = 0; i < 200; i++) {
        filch_token *branch =
            storm->branch[(random = random * 1103515245 + 12345) / 65536 % BRANCHES];
        filch_token *twig = child_of(branch), *leaf = child_of(twig);
        filch_hook hook;
        int r = filch_token_hook(leaf, &hook, add_one, &storm->calls);

        filch_token_unref(twig);
        if (i % 16 == 0)
            filch_task_yield();
        if (r < 0)
            atomic_fetch_add(&storm->refused, 1);
        else if (filch_token_unhook(leaf, &hook) == 0)
            atomic_fetch_add(&storm->removed, 1);
        filch_token_unref(leaf);
    }
    return 0;
}

static int cancels_branches(void *arg)
{
    struct storm *storm = arg;

    for (int i = 0; i < BRANCHES; i++) {
        filch_task_yield();
        T_OK(filch_token_cancel(i % 3 ? storm->branch[i] : storm->root, -ECANCELED, NULL));
    }
    return 0;
}

static int storms(void *arg)
{
    (void)arg;
    for (int round = 0; round < ROUNDS; round++) {
        struct storm storm = {.root = token_new()};
        FILCH_SCOPE(scope);

        for (int i = 0; i < BRANCHES; i++)
            storm.branch[i] = child_of(i % 2 ? storm.branch[i / 2] : storm.root);
        for (int i = 0; i < 3; i++)
            T_OK(filch_scope_spawn(&scope, grows, &storm));
        T_OK(filch_scope_spawn(&scope, cancels_branches, &storm));
        T_OK(filch_scope_spawn(&scope, cancels_branches, &storm));
        T_OK(filch_scope_join(&scope, T_LIMIT));
        T_IS(atomic_load(&storm.calls) + atomic_load(&storm.removed) + atomic_load(&storm.refused),
             3 * 200);
        for (int i = 0; i < BRANCHES; i++) {
            T_CHECK(filch_token_is_cancelled(storm.branch[i]));
            filch_token_unref(storm.branch[i]);
        }
        filch_token_unref(storm.root);
    }
    return 0;
}

Test(cancel, cancel_against_growth_and_removal)
{
    T_OK(run_in_runtime(4, storms, NULL));
}
