/* Description: what <filch/fork.h> promises: forks give what calls would give, run elsewhere where
 * somebody has nothing to do, go on when their task waits, and are a part of it wherever they run.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(fork_join, .timeout = 60);

#ifdef T_SANITIZED
#define FIB_N 18
#define FIB_RESULT 2584
#else
#define FIB_N (RUNNING_ON_VALGRIND ? 14 : 24)
#define FIB_RESULT (RUNNING_ON_VALGRIND ? 377 : 46368)
#endif

/* With chaos every fork is given away, and about half of them run elsewhere, or later. */
static void run_in(bool chaos, filch_fn fn, void *arg)
{
    filch_runtime_opts opts = {.workers = test_workers(), .chaos_forks = chaos};
    filch_runtime *rt;
    int result = -1;

    opts.current_thread = test_without_threads();
    rt = test_start(&opts);
    T_OK(filch_runtime_block_on(rt, fn, arg, &result, FILCH_NEVER));
    T_OK(result);
    stop_runtime(rt);
}

static void run_both(filch_fn fn, void *arg)
{
    run_in(false, fn, arg);
    run_in(true, fn, arg);
}

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

static int check_fib(void *arg)
{
    (void)arg;
    for (int i = 0; i < 5; i++)
        T_IS(fib(FIB_N), FIB_RESULT);
    return 0;
}

Test(fork_join, named_forks_give_what_calls_give)
{
    run_both(check_fib, NULL);
}

/* ---- by function pointer ---- */

struct node {
    int depth;
    long sum; /* of the depths of all nodes below, and its own */
};

static int sum_tree(void *arg)
{
    struct node *node = arg;
    struct node child[3];
    filch_forked forked[3];

    node->sum = node->depth;
    if (node->depth == 0)
        return 1;
    for (int i = 0; i < 3; i++) {
        child[i].depth = node->depth - 1;
        T_OK(filch_fork(&forked[i], sum_tree, &child[i]));
    }
    int nodes = 1;

    for (int i = 2; i >= 0; i--) {
        nodes += filch_join(&forked[i]);
        node->sum += child[i].sum;
    }
    return nodes;
}

static int check_tree(void *arg)
{
    struct node root = {.depth = 6};

    (void)arg;
    T_IS(sum_tree(&root), 1093);
    T_IS(root.sum, 6 + 3 * 5 + 9 * 4 + 27 * 3 + 81 * 2 + 243);
    return 0;
}

Test(fork_join, forks_by_pointer_return_what_the_function_returns)
{
    run_both(check_tree, NULL);
}

static int answer(void *arg)
{
    return *(int *)arg;
}

#define MANY 2000

static int fork_many(void *arg)
{
    filch_forked *forked = calloc(MANY, sizeof *forked);
    int *number = calloc(MANY, sizeof *number);

    (void)arg;
    T_CHECK(forked && number);
    for (int i = 0; i < MANY; i++) {
        number[i] = i;
        T_OK(filch_fork(&forked[i], answer, &number[i]));
    }
    filch_task_yield();
    for (int i = MANY - 1; i >= 0; i--)
        T_IS(filch_join(&forked[i]), i);
    free(number);
    free(forked);
    return 0;
}

Test(fork_join, more_forks_than_the_stack_holds_run_at_once)
{
    run_both(fork_many, NULL);
}

FILCH_TASK2(int, deep, int, n, int *, count)
{
    FILCH_FORKED(deep) one;
    int below = 0;

    if (n > 0) {
        FILCH_FORK(deep, &one, n - 1, count);
        below = FILCH_JOIN(deep, &one);
    }
    ++*count;
    return below + 1;
}

FILCH_TASK2(int, wide_and_deep, int, n, int, width)
{
    FILCH_FORKED(wide_and_deep) kids[4];
    int sum = 1;

    if (n == 0)
        return 1;
    for (int i = 0; i < width; i++)
        FILCH_FORK(wide_and_deep, &kids[i], n - 1, width);
    for (int i = width - 1; i >= 0; i--)
        sum += FILCH_JOIN(wide_and_deep, &kids[i]);
    return sum;
}

static int check_shapes(void *arg)
{
    int count = 0;

    (void)arg;
    T_IS(deep(500, &count), 501);
    T_IS(count, 501);
    T_IS(wide_and_deep(5, 4), 1365);
    return 0;
}

Test(fork_join, forks_nest_and_come_in_arrays)
{
    run_both(check_shapes, NULL);
}

/* More levels than there are entries: the deeper ones run where they are forked. */
FILCH_TASK1(int, left_deep, int, n)
{
    FILCH_FORKED(left_deep) one;
    int below;

    if (n == 0)
        return 0;
    FILCH_FORK(left_deep, &one, 0);
    below = FILCH_CALL(left_deep, n - 1);
    return below + 1 + FILCH_JOIN(left_deep, &one);
}

static int check_left_deep(void *arg)
{
    (void)arg;
    T_IS(left_deep(1500), 1500);
    T_IS(left_deep(1500), 1500);
    return 0;
}

static int in_large_stack(void *arg)
{
    filch_task *task;
    int result;

    (void)arg;
    T_OK(
        filch_task_spawn(check_left_deep, NULL, &(filch_task_opts){.stack_bytes = 1 << 20}, &task));
    T_OK(filch_task_join(task, &result, FILCH_NEVER));
    return result;
}

Test(fork_join, deeper_than_the_stack_of_forks)
{
    run_both(in_large_stack, NULL);
}

/* ---- forks that wait ---- */

static int send_numbers(void *arg)
{
    filch_chan *chan = arg;

    for (int i = 1; i <= 100; i++)
        T_OK(filch_chan_send(chan, &i, FILCH_NEVER));
    return 0;
}

/* The receiver suspends with private forks: these must go on. */
static int receive_from_fork(void *arg)
{
    filch_forked sender;
    filch_chan *chan;
    int sum = 0;

    (void)arg;
    T_OK(filch_chan_new(sizeof(int), 1, &chan));
    T_OK(filch_fork(&sender, send_numbers, chan));
    for (int i = 0; i < 100; i++) {
        int number;

        T_OK(filch_chan_recv(chan, &number, T_LIMIT));
        sum += number;
    }
    T_OK(filch_join(&sender));
    T_IS(sum, 5050);
    filch_chan_unref(chan);
    return 0;
}

Test(fork_join, a_task_that_waits_for_its_fork_is_not_let_down)
{
    run_both(receive_from_fork, NULL);
}

FILCH_TASK1(long, sleepy_fib, int, n)
{
    FILCH_FORKED(sleepy_fib) left;
    long right;

    if (n < 2)
        return n;
    FILCH_FORK(sleepy_fib, &left, n - 1);
    if (n % 3 == 0)
        T_OK(filch_sleep(1000));
    right = FILCH_CALL(sleepy_fib, n - 2);
    if (n % 3 == 1)
        filch_task_yield();
    right += FILCH_JOIN(sleepy_fib, &left);
    return right;
}

static int check_sleepy(void *arg)
{
    (void)arg;
    T_IS(sleepy_fib(12), 144);
    return 0;
}

Test(fork_join, forks_may_sleep_and_yield_anywhere)
{
    run_both(check_sleepy, NULL);
}

static int many_tasks(void *arg)
{
    filch_task *task[40];

    (void)arg;
    for (int i = 0; i < 40; i++)
        task[i] = spawn(i % 2 ? check_sleepy : check_tree, NULL);
    for (int i = 0; i < 40; i++)
        T_OK(join(task[i]));
    return 0;
}

Test(fork_join, many_tasks_fork_at_once)
{
    run_both(many_tasks, NULL);
}

struct counter {
    filch_mutex mutex;
    long value;
};

FILCH_TASK2(int, count_up, int, n, struct counter *, counter)
{
    FILCH_FORKED(count_up) half;
    int sum;

    if (n == 1) {
        T_OK(filch_mutex_lock(&counter->mutex, FILCH_NEVER));
        long value = counter->value;

        if (value % 7 == 0)
            filch_task_yield();
        counter->value = value + 1;
        T_OK(filch_mutex_unlock(&counter->mutex));
        return 1;
    }
    FILCH_FORK(count_up, &half, n / 2, counter);
    sum = FILCH_CALL(count_up, n - n / 2, counter);
    return sum + FILCH_JOIN(count_up, &half);
}

static int check_mutex(void *arg)
{
    struct counter counter = {.value = 0};

    (void)arg;
    filch_mutex_init(&counter.mutex);
    T_IS(count_up(500, &counter), 500);
    T_IS(counter.value, 500);
    return 0;
}

Test(fork_join, forks_lock_one_mutex)
{
    run_both(check_mutex, NULL);
}

static int in_scope(void *arg)
{
    FILCH_SCOPE(scope);

    for (int i = 0; i < 3; i++)
        T_OK(filch_scope_spawn(&scope, check_tree, NULL));
    (void)arg;
    return filch_scope_join(&scope, FILCH_NEVER);
}

static int fork_with_scopes(void *arg)
{
    filch_forked forked[3];

    (void)arg;
    for (int i = 0; i < 3; i++)
        T_OK(filch_fork(&forked[i], in_scope, NULL));
    for (int i = 2; i >= 0; i--)
        T_OK(filch_join(&forked[i]));
    return 0;
}

Test(fork_join, forks_have_scopes)
{
    run_both(fork_with_scopes, NULL);
}

/* ---- whose they are ---- */

/* A fork that certainly runs in a task of its own, and what it saw there. */
struct moved {
    atomic_int began;
    atomic_int go;
    int result;
    filch_task *self;
    const char *name;
    filch_time deadline;
    pthread_t thread;
};

static int wait_for_go(void *arg)
{
    struct moved *moved = arg;

    moved->self = filch_task_self();
    moved->name = filch_task_name(NULL);
    moved->deadline = filch_deadline();
    moved->thread = pthread_self();
    atomic_store(&moved->began, 1);
    T_WAIT_UNTIL(atomic_load(&moved->go));
    return 7;
}

/* Forks it, and yields until it has begun: only a task of its own can have. */
static void fork_and_move(filch_forked *fork, filch_fn fn, struct moved *moved)
{
    T_OK(filch_fork(fork, fn, moved));
    T_WAIT_UNTIL(atomic_load(&moved->began));
}

static int check_identity(void *arg)
{
    struct moved moved = {.go = 0};
    filch_forked fork;

    (void)arg;
    fork_and_move(&fork, wait_for_go, &moved);
    atomic_store(&moved.go, 1);
    T_IS(filch_join(&fork), 7);
    T_CHECK(moved.self == filch_task_self());
    T_CHECK(strcmp(moved.name, "parent") == 0);
    return 0;
}

static int with_name(void *arg)
{
    filch_task *task;
    int result;

    T_OK(filch_task_spawn(check_identity, arg, &(filch_task_opts){.name = "parent"}, &task));
    T_OK(filch_task_join(task, &result, FILCH_NEVER));
    return result;
}

Test(fork_join, a_fork_is_a_part_of_its_task)
{
    run_both(with_name, NULL);
}

static int begin_and_sleep(void *arg)
{
    struct moved *moved = arg;

    atomic_store(&moved->began, 1);
    moved->result = filch_sleep(FILCH_NEVER);
    return filch_cancel_cause();
}

static int join_sleeper(void *arg)
{
    struct moved *moved = arg;
    filch_forked fork;

    fork_and_move(&fork, begin_and_sleep, moved);
    atomic_store(&moved->go, 1);
    return filch_join(&fork);
}

static int cancel_parent(void *arg)
{
    struct moved moved = {.go = 0};
    filch_task *task = spawn(join_sleeper, &moved);

    (void)arg;
    T_WAIT_UNTIL(atomic_load(&moved.go));
    let_others_run();
    T_OK(filch_task_cancel_cause(task, -EIO));
    T_IS(join(task), -EIO);
    T_IS(moved.result, -ECANCELED);
    return 0;
}

Test(fork_join, a_request_to_end_reaches_a_fork_that_waits)
{
    run_both(cancel_parent, NULL);
}

static int nested_sleeper(void *arg)
{
    struct moved *moved = arg;
    struct moved inner = {.go = 0};
    int r;

    atomic_store(&moved->began, 1);
    r = join_sleeper(&inner);
    moved->result = inner.result;
    return r;
}

static int join_nested(void *arg)
{
    struct moved *moved = arg;
    filch_forked fork;

    fork_and_move(&fork, nested_sleeper, moved);
    atomic_store(&moved->go, 1);
    return filch_join(&fork);
}

static int cancel_grandparent(void *arg)
{
    struct moved moved = {.go = 0};
    filch_task *task = spawn(join_nested, &moved);

    (void)arg;
    T_WAIT_UNTIL(atomic_load(&moved.go));
    let_others_run();
    T_OK(filch_task_cancel_cause(task, -EIO));
    T_IS(join(task), -EIO);
    T_IS(moved.result, -ECANCELED);
    return 0;
}

Test(fork_join, a_request_to_end_reaches_a_fork_of_a_fork)
{
    run_both(cancel_grandparent, NULL);
}

static int look_until_cancelled(void *arg)
{
    struct moved *moved = arg;

    atomic_store(&moved->began, 1);
    T_WAIT_UNTIL(filch_task_is_cancelled());
    return filch_cancel_cause();
}

/* The parent does not join before the fork has seen it. */
static int wait_until_seen(void *arg)
{
    struct moved *moved = arg;
    filch_forked fork;
    int r;

    fork_and_move(&fork, look_until_cancelled, moved);
    atomic_store(&moved->go, 1);
    T_WAIT_UNTIL(filch_task_is_cancelled());
    let_others_run();
    r = filch_join(&fork);
    return r;
}

static int cancel_looker(void *arg)
{
    struct moved moved = {.go = 0};
    filch_task *task = spawn(wait_until_seen, &moved);

    (void)arg;
    T_WAIT_UNTIL(atomic_load(&moved.go));
    T_OK(filch_task_cancel_cause(task, -EIO));
    T_IS(join(task), -EIO);
    return 0;
}

Test(fork_join, a_fork_that_computes_sees_a_request_to_end)
{
    run_both(cancel_looker, NULL);
}

static int shielded_join(void *arg)
{
    struct moved *moved = arg;
    filch_forked fork;
    filch_block block;
    int r;

    T_OK(filch_shield_begin(&block, FILCH_NEVER));
    fork_and_move(&fork, wait_for_go, moved);
    T_OK(filch_task_cancel(filch_task_self()));
    let_others_run();
    T_CHECK(!filch_task_is_cancelled());
    atomic_store(&moved->go, 1);
    r = filch_join(&fork);
    filch_block_end(&block);
    T_CHECK(filch_task_is_cancelled());
    return r;
}

static int look_in_shield(void *arg)
{
    struct moved *moved = arg;

    atomic_store(&moved->began, 1);
    T_WAIT_UNTIL(atomic_load(&moved->go));
    return filch_task_is_cancelled();
}

static int cancel_shielded(void *arg)
{
    struct moved moved = {.go = 0};
    filch_forked fork;
    filch_block block;

    (void)arg;
    T_IS(join(spawn(shielded_join, &moved)), 7);
    moved = (struct moved){.go = 0};
    T_OK(filch_shield_begin(&block, FILCH_NEVER));
    fork_and_move(&fork, look_in_shield, &moved);
    T_OK(filch_task_cancel(filch_task_self()));
    atomic_store(&moved.go, 1);
    T_IS(filch_join(&fork), false);
    filch_block_end(&block);
    return 0;
}

static int cancel_shielded_task(void *arg)
{
    return join(spawn(cancel_shielded, arg));
}

Test(fork_join, a_shield_is_around_its_forks)
{
    run_both(cancel_shielded_task, NULL);
}

static int check_deadline(void *arg)
{
    struct moved moved = {.go = 0};
    filch_time until = filch_after(3600 * FILCH_SECOND);
    filch_forked fork;
    filch_block block;

    (void)arg;
    T_OK(filch_deadline_begin(&block, until));
    fork_and_move(&fork, wait_for_go, &moved);
    atomic_store(&moved.go, 1);
    T_IS(filch_join(&fork), 7);
    T_OK(filch_block_end(&block));
    T_IS(moved.deadline, until);

    /* One that passes ends what the fork waits for. */
    moved = (struct moved){.go = 0};
    T_OK(filch_deadline_begin(&block, filch_after(FILCH_MILLISECOND)));
    T_OK(filch_fork(&fork, begin_and_sleep, &moved));
    filch_task_yield();
    T_IS(filch_join(&fork), -ETIMEDOUT);
    filch_block_end(&block);
    T_IS(moved.result, -ECANCELED);
    T_CHECK(!filch_task_is_cancelled());

    /* One that begins after the fork is not the fork's. */
    moved = (struct moved){.go = 0};
    T_OK(filch_fork(&fork, wait_for_go, &moved));
    T_OK(filch_deadline_begin(&block, until));
    T_WAIT_UNTIL(atomic_load(&moved.began));
    T_OK(filch_block_end(&block));
    atomic_store(&moved.go, 1);
    T_IS(filch_join(&fork), 7);
    T_IS(moved.deadline, FILCH_NEVER);
    return 0;
}

Test(fork_join, forks_have_the_deadline_that_they_were_forked_under)
{
    run_both(check_deadline, NULL);
}

/* ---- locals ---- */

static int destroyed;

static void count_destroyed(void *value)
{
    destroyed += (int)(intptr_t)value;
}

static void *same(void *value)
{
    return value;
}

static filch_local first_key = FILCH_LOCAL_INIT(count_destroyed);
static filch_local second_key = FILCH_LOCAL_INHERITED_INIT(count_destroyed, same);
static filch_local many_keys[20];

static int look_at_locals(void *arg)
{
    (void)arg;
    return (int)(intptr_t)filch_local_get(&second_key);
}

static int use_locals(void *arg)
{
    struct moved *moved = arg;
    filch_task *task;
    FILCH_SCOPE(scope);

    atomic_store(&moved->began, 1);
    T_WAIT_UNTIL(atomic_load(&moved->go));
    T_IS((intptr_t)filch_local_get(&first_key), 1);
    T_OK(filch_local_set(&second_key, (void *)10));
    T_OK(filch_task_defer(count_destroyed, (void *)100));
    task = spawn(look_at_locals, NULL);
    T_IS(join(task), 0); /* not in a scope: inherits nothing */
    T_OK(filch_scope_spawn(&scope, look_at_locals, NULL));
    T_OK(filch_scope_join(&scope, FILCH_NEVER));
    return 0;
}

static int set_many(void *arg)
{
    filch_local *keys = arg;

    for (int i = 0; i < 10; i++) {
        T_OK(filch_local_set(&keys[i], &keys[i]));
        filch_task_yield();
    }
    return 0;
}

static int share_locals(void *arg)
{
    struct moved moved = {.go = 0};
    filch_forked fork, other;

    (void)arg;
    T_OK(filch_local_set(&first_key, (void *)1));
    fork_and_move(&fork, use_locals, &moved);
    atomic_store(&moved.go, 1);
    T_OK(filch_join(&fork));
    T_IS((intptr_t)filch_local_get(&second_key), 10);

    T_OK(filch_fork(&fork, set_many, &many_keys[0]));
    T_OK(filch_fork(&other, set_many, &many_keys[10]));
    filch_task_yield();
    T_OK(filch_join(&other));
    T_OK(filch_join(&fork));
    for (int i = 0; i < 20; i++)
        T_CHECK(filch_local_get(&many_keys[i]) == &many_keys[i]);
    return 0;
}

static int check_locals(void *arg)
{
    destroyed = 0;
    T_OK(join(spawn(share_locals, arg)));
    T_IS(destroyed, 111 + 10); /* the child in the scope had its own */
    return 0;
}

Test(fork_join, locals_and_deferred_calls_are_those_of_the_task)
{
    run_both(check_locals, NULL);
}

/* Forks in a destructor, when the body has returned. */
static void fork_in_destructor(void *value)
{
    T_OK(check_tree(NULL));
    T_OK(filch_local_set(&first_key, value));
}

static int leave_with_defer(void *arg)
{
    (void)arg;
    T_OK(filch_task_defer(fork_in_destructor, (void *)5));
    return check_tree(NULL);
}

static int check_destructor(void *arg)
{
    destroyed = 0;
    T_OK(join(spawn(leave_with_defer, arg)));
    T_IS(destroyed, 5);
    return 0;
}

Test(fork_join, a_destructor_may_fork)
{
    run_both(check_destructor, NULL);
}

/* ---- where they run ---- */

Test(fork_join, on_a_plain_thread_each_fork_runs_at_once)
{
    T_IS(fib(15), 610);
    T_OK(check_tree(NULL));
}

static filch_poll poll_forks(filch_future *self, filch_cx *cx)
{
    (void)cx;
    T_IS(fib(15), 610);
    self->result = check_tree(NULL);
    return FILCH_READY;
}

static int check_elsewhere(void *arg)
{
    filch_future future = {.poll = poll_forks};
    filch_task *task;
    int result = -1;

    (void)arg;
    T_OK(filch_future_spawn(&future, NULL, &task));
    T_OK(join(task));
    T_OK(filch_blocking_spawn(check_tree, NULL, NULL, &task));
    T_OK(filch_task_join(task, &result, FILCH_NEVER));
    return result;
}

Test(fork_join, futures_and_jobs_run_each_fork_at_once)
{
    run_both(check_elsewhere, NULL);
}

static int check_pinned(void *arg)
{
    struct moved moved = {.go = 0};
    filch_forked fork;

    (void)arg;
    T_IS(fib(15), 610);
    fork_and_move(&fork, wait_for_go, &moved);
    atomic_store(&moved.go, 1);
    T_IS(filch_join(&fork), 7);
    T_CHECK(pthread_equal(moved.thread, pthread_self()));
    return check_sleepy(NULL);
}

static int with_pinned(void *arg)
{
    filch_task *task;
    int result;

    T_OK(filch_task_spawn(check_pinned, arg, &(filch_task_opts){.pinned = true}, &task));
    T_OK(filch_task_join(task, &result, FILCH_NEVER));
    return result;
}

Test(fork_join, forks_of_a_pinned_task_stay_on_its_worker)
{
    run_both(with_pinned, NULL);
}

static int use_stack(void *arg)
{
    volatile char large[600 << 10];
    struct moved *moved = arg;

    for (size_t i = 0; i < sizeof large; i += 4096)
        large[i] = 1;
    atomic_store(&moved->began, 1);
    T_WAIT_UNTIL(atomic_load(&moved->go));
    return large[4096];
}

static int fork_with_large_stack(void *arg)
{
    struct moved moved = {.go = 0};
    filch_forked fork;

    (void)arg;
    fork_and_move(&fork, use_stack, &moved);
    atomic_store(&moved.go, 1);
    return filch_join(&fork) - 1;
}

static int spawn_with_large_stack(void *arg)
{
    filch_task *task;
    int result;

    T_OK(filch_task_spawn(fork_with_large_stack, arg, &(filch_task_opts){.stack_bytes = 1 << 20},
                          &task));
    T_OK(filch_task_join(task, &result, FILCH_NEVER));
    return result;
}

Test(fork_join, a_fork_has_a_stack_as_large_as_its_task)
{
    run_both(spawn_with_large_stack, NULL);
}

/* A worker without work gets some from a task that only computes. */
static int meet(void *arg)
{
    atomic_int *here = arg;
    filch_time limit = T_LIMIT;

    atomic_fetch_add(here, 1);
    while (atomic_load(here) < 2)
        T_CHECK(filch_now() < limit);
    return 0;
}

static void fork_until_taken(atomic_int *here)
{
    filch_time limit = T_LIMIT;

    while (atomic_load(here) < 1) {
        T_IS(fib(5), 5);
        T_CHECK(filch_now() < limit);
    }
}

static int compute_and_fork(void *arg)
{
    atomic_int here = 0;
    filch_forked other;

    (void)arg;
    T_OK(filch_fork(&other, meet, &here));
    fork_until_taken(&here);
    T_OK(meet(&here));
    return filch_join(&other);
}

Test(fork_join, a_worker_without_work_is_given_a_fork)
{
    filch_runtime *rt = start_runtime_with_threads(2);
    filch_stats stats;
    int result = -1;

    T_OK(filch_runtime_block_on(rt, compute_and_fork, NULL, &result, FILCH_NEVER));
    T_OK(result);
    T_OK(filch_runtime_stats(rt, &stats));
    T_CHECK(stats.forks_moved >= 1);
    T_CHECK(stats.forks_shared >= stats.forks_moved);
    stop_runtime(rt);
}

/* A tree of forks that never suspends, on the only worker. */
static int compute_until_set(void *arg)
{
    atomic_bool *flag = arg;
    filch_time limit = T_LIMIT;

    while (!atomic_load(flag)) {
        T_IS(fib(12), 144);
        T_CHECK(filch_now() < limit);
    }
    return 0;
}

static int sleep_and_set(void *arg)
{
    for (int i = 0; i < 3; i++)
        T_OK(filch_sleep(filch_after(FILCH_MILLISECOND)));
    atomic_store((atomic_bool *)arg, true);
    return 0;
}

static int compute_beside_a_sleeper(void *arg)
{
    atomic_bool flag = false;
    filch_task *sleeper = spawn(sleep_and_set, &flag);

    (void)arg;
    T_OK(compute_until_set(&flag));
    return join(sleeper);
}

Test(fork_join, a_tree_of_forks_lets_others_run)
{
    filch_runtime *rt = start_runtime_with_threads(1);
    int result = -1;

    T_OK(filch_runtime_block_on(rt, compute_beside_a_sleeper, NULL, &result, FILCH_NEVER));
    T_OK(result);
    stop_runtime(rt);
}

static int yield_often(void *arg)
{
    (void)arg;
    for (int i = 0; i < 200; i++)
        filch_task_yield();
    return 0;
}

static int through_other_queues(bool chaos)
{
    filch_runtime *rt;
    filch_stats stats;

    if (chaos)
        setenv("FILCH_CHAOS", "1", 1);
    else
        unsetenv("FILCH_CHAOS");
    rt = start_runtime(0);
    T_OK(filch_runtime_block_on(rt, yield_often, NULL, NULL, FILCH_NEVER));
    T_OK(filch_runtime_stats(rt, &stats));
    stop_runtime(rt);
    return (int)stats.inject_wakes;
}

Test(fork_join, chaos_by_the_environment_moves_tasks)
{
    int without = through_other_queues(false), with = through_other_queues(true);

    T_CHECK(without < 10);
    T_CHECK(with > 30);
}

Test(fork_join, chaos_moves_forks)
{
    filch_runtime *rt = test_start(&(filch_runtime_opts){.workers = 1, .chaos_forks = true});
    filch_stats stats;
    int result = -1;

    T_OK(filch_runtime_block_on(rt, check_tree, NULL, &result, FILCH_NEVER));
    T_OK(filch_runtime_stats(rt, &stats));
    T_CHECK(stats.forks_shared > 100);
    T_CHECK(stats.forks_moved > 100);
    stop_runtime(rt);
}

/* ---- misuse ---- */

static int join_in_wrong_order(void *arg)
{
    filch_forked first, second;
    int number = 1;

    (void)arg;
    T_OK(filch_fork(&first, answer, &number));
    T_OK(filch_fork(&second, answer, &number));
    filch_join(&first);
    filch_join(&second);
    return 0;
}

Test(fork_join, joining_in_the_wrong_order_aborts, .signal = SIGABRT)
{
    run_in_runtime(1, join_in_wrong_order, NULL);
}

static int join_twice(void *arg)
{
    filch_forked first;
    int number = 1;

    (void)arg;
    T_OK(filch_fork(&first, answer, &number));
    filch_join(&first);
    filch_join(&first);
    return 0;
}

Test(fork_join, joining_twice_aborts, .signal = SIGABRT)
{
    run_in_runtime(1, join_twice, NULL);
}

static filch_forked forgotten;
static int forgotten_number;

static int forget_to_join(void *arg)
{
    (void)arg;
    T_OK(filch_fork(&forgotten, answer, &forgotten_number));
    return 0;
}

Test(fork_join, ending_without_a_join_aborts, .signal = SIGABRT)
{
    run_in_runtime(1, forget_to_join, NULL);
}

/* ---- programs ---- */

#define BOARD 8
#define SOLUTIONS 92

FILCH_TASK4(int, queens, int, row, unsigned, columns, unsigned, left, unsigned, right)
{
    FILCH_FORKED(queens) forks[BOARD];
    unsigned free = ~(columns | left | right) & ((1u << BOARD) - 1);
    int n = 0, found = 0;

    if (row == BOARD)
        return 1;
    while (free) {
        unsigned bit = free & -free;

        free &= free - 1;
        FILCH_FORK(queens, &forks[n], row + 1, columns | bit, (left | bit) << 1,
                   (right | bit) >> 1);
        n++;
    }
    while (n)
        found += FILCH_JOIN(queens, &forks[--n]);
    return found;
}

static int check_queens(void *arg)
{
    (void)arg;
    T_IS(queens(0, 0, 0, 0), SOLUTIONS);
    return 0;
}

Test(fork_join, queens)
{
    run_both(check_queens, NULL);
}

/* An unbalanced tree: how many children a node has follows from its number alone. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static int children_of(uint64_t node, int depth)
{
    return depth < 3 ? 8 : mix(node) % 100 < 19 ? 5 : 0;
}

static long count_serial(uint64_t node, int depth)
{
    long sum = 1;

    for (int i = 0; i < children_of(node, depth); i++)
        sum += count_serial(mix(node + (uint64_t)i), depth + 1);
    return sum;
}

FILCH_TASK2(long, count_nodes, uint64_t, node, int, depth)
{
    FILCH_FORKED(count_nodes) forks[8];
    int n = children_of(node, depth);
    long sum = 1;

    for (int i = 0; i < n; i++)
        FILCH_FORK(count_nodes, &forks[i], mix(node + (uint64_t)i), depth + 1);
    for (int i = n - 1; i >= 0; i--)
        sum += FILCH_JOIN(count_nodes, &forks[i]);
    return sum;
}

static int check_unbalanced(void *arg)
{
    (void)arg;
    for (uint64_t root = 1; root <= 3; root++)
        T_IS(count_nodes(root, 0), count_serial(root, 0));
    return 0;
}

Test(fork_join, an_unbalanced_tree)
{
    run_both(check_unbalanced, NULL);
}

static int compare_ints(const void *a, const void *b)
{
    return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b);
}

FILCH_TASK2(int, quicksort, int *, from, int, n)
{
    FILCH_FORKED(quicksort) upper;
    int i = 0, j = n - 1, pivot;

    if (n < 20) {
        qsort(from, (size_t)n, sizeof *from, compare_ints);
        return 0;
    }
    pivot = from[n / 2];
    while (i <= j) {
        while (from[i] < pivot)
            i++;
        while (from[j] > pivot)
            j--;
        if (i <= j) {
            int swapped = from[i];

            from[i++] = from[j];
            from[j--] = swapped;
        }
    }
    FILCH_FORK(quicksort, &upper, from + i, n - i);
    FILCH_CALL(quicksort, from, j + 1);
    return FILCH_JOIN(quicksort, &upper);
}

#define NUMBERS 20000

static int check_sort(void *arg)
{
    int *numbers = calloc(2 * NUMBERS, sizeof *numbers);

    (void)arg;
    T_CHECK(numbers);
    for (int i = 0; i < NUMBERS; i++)
        numbers[i] = numbers[NUMBERS + i] = (int)(mix((uint64_t)i) % 10000);
    T_OK(quicksort(numbers, NUMBERS));
    qsort(numbers + NUMBERS, NUMBERS, sizeof *numbers, compare_ints);
    T_OK(memcmp(numbers, numbers + NUMBERS, NUMBERS * sizeof *numbers));
    free(numbers);
    return 0;
}

Test(fork_join, sorting)
{
    run_both(check_sort, NULL);
}
