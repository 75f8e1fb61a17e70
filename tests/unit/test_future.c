/* Description: what <filch/future.h> promises: polls follow wakes, drop comes once, wakers may
 * outlive everything. */
#include <errno.h>
#include <pthread.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(future, .timeout = 60);

/* Ready once opened; keeps the waker of the last poll. The state of the world in which it is used,
 * too: drops and polls are counted. */
struct gate {
    filch_future base;
    pthread_mutex_t lock; /* held for a few lines, never across a suspension */
    bool open;
    bool has_waker;
    filch_waker waker;
    int value;
    atomic_int polls;
    atomic_int drops;
    bool ready;
};

static filch_poll gate_poll(filch_future *self, filch_cx *cx)
{
    struct gate *gate = (struct gate *)self;
    filch_poll poll = FILCH_PENDING;

    T_CHECK(!gate->ready);
    atomic_fetch_add(&gate->polls, 1);
    pthread_mutex_lock(&gate->lock);
    if (gate->open) {
        gate->base.result = gate->value;
        gate->ready = true;
        poll = FILCH_READY;
    } else {
        if (gate->has_waker)
            filch_waker_drop(gate->waker);
        gate->waker = filch_waker_clone(cx->waker);
        gate->has_waker = true;
        T_CHECK(filch_waker_will_wake(&gate->waker, cx->waker));
    }
    pthread_mutex_unlock(&gate->lock);
    return poll;
}

static void gate_drop(filch_future *self)
{
    struct gate *gate = (struct gate *)self;

    pthread_mutex_lock(&gate->lock);
    if (gate->has_waker)
        filch_waker_drop(gate->waker);
    gate->has_waker = false;
    pthread_mutex_unlock(&gate->lock);
    atomic_fetch_add(&gate->drops, 1);
}

static void gate_init(struct gate *gate, int value)
{
    *gate = (struct gate){
        .base = {.poll = gate_poll, .drop = gate_drop},
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .value = value,
    };
}

static void gate_open(struct gate *gate)
{
    filch_waker waker = {0};
    bool wake;

    pthread_mutex_lock(&gate->lock);
    gate->open = true;
    wake = gate->has_waker;
    gate->has_waker = false;
    waker = gate->waker;
    pthread_mutex_unlock(&gate->lock);
    if (wake)
        filch_waker_wake(waker);
}

static int open_task(void *arg)
{
    gate_open(arg);
    return 0;
}

static void *open_thread(void *arg)
{
    gate_open(arg);
    return NULL;
}

static int await_body(void *arg)
{
    struct gate gate;
    filch_task *opener;

    (void)arg;
    T_IS(filch_await(NULL, FILCH_NEVER), -EINVAL);

    gate_init(&gate, 31);
    gate_open(&gate);
    T_IS(filch_await(&gate.base, FILCH_NOW), 31);
    T_IS(gate.polls, 1);
    T_IS(gate.drops, 0);

    for (int i = 0; i < 1000; i++) {
        gate_init(&gate, i);
        opener = spawn(open_task, &gate);
        T_IS(filch_await(&gate.base, FILCH_NEVER), i);
        T_OK(join(opener));
        T_IS(gate.drops, 0);
    }
    return 0;
}

Test(future, await_returns_the_result_and_does_not_drop)
{
    cr_assert_eq(run_in_runtime(0, await_body, NULL), 0);
}

static int await_timeout_body(void *arg)
{
    filch_time until = filch_after(3 * FILCH_MILLISECOND);
    struct gate gate;

    (void)arg;
    gate_init(&gate, 6);
    T_IS(filch_await(&gate.base, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_await(&gate.base, until), -ETIMEDOUT);
    T_CHECK(filch_now() >= until);
    gate_open(&gate);
    T_IS(filch_await(&gate.base, FILCH_NEVER), 6);
    return 0;
}

Test(future, await_that_timed_out_can_be_repeated)
{
    cr_assert_eq(run_in_runtime(0, await_timeout_body, NULL), 0);
}

Test(future, plain_thread_awaits_too)
{
    struct gate gate;
    pthread_t thread;

    cr_assert_eq(await_timeout_body(NULL), 0);
    for (int i = 0; i < 200; i++) {
        gate_init(&gate, i);
        T_OK(pthread_create(&thread, NULL, open_thread, &gate));
        cr_assert_eq(filch_await(&gate.base, T_LIMIT), i);
        T_OK(pthread_join(thread, NULL));
    }
}

static int await_gate(void *arg)
{
    struct gate *gate = arg;

    T_IS(filch_await(&gate->base, FILCH_NEVER), -ECANCELED);
    return 0;
}

static int await_cancel_body(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100; i++) {
        struct gate gate;
        filch_task *task;

        gate_init(&gate, 1);
        task = spawn(await_gate, &gate);
        for (int k = 0; k < i % 4; k++)
            filch_task_yield();
        T_OK(filch_task_cancel(task));
        T_OK(join(task));
        /* Unfinished, and ours: the task that it would have woken is gone. */
        T_IS(gate.drops, 0);
        gate_open(&gate);
        T_IS(filch_await(&gate.base, FILCH_NOW), 1);
    }
    return 0;
}

Test(future, cancelled_await_leaves_the_future_unfinished)
{
    cr_assert_eq(run_in_runtime(0, await_cancel_body, NULL), 0);
}

static int spawn_future_body(void *arg)
{
    struct gate gate;
    filch_task *task;

    (void)arg;
    T_IS(filch_future_spawn(NULL, NULL, &task), -EINVAL);
    gate_init(&gate, 14);
    T_OK(filch_future_spawn(&gate.base, NULL, &task));
    T_WAIT_UNTIL(atomic_load(&gate.polls) == 1);
    T_IS(filch_task_join(task, NULL, FILCH_NOW), -ETIMEDOUT);
    T_IS(gate.drops, 0);
    gate_open(&gate);
    T_IS(join(task), 14);
    T_IS(gate.drops, 1);
    T_IS(filch_task_join(task, NULL, FILCH_NOW), -ESRCH);

    gate_init(&gate, 0);
    gate_open(&gate);
    T_OK(filch_future_spawn(&gate.base, NULL, NULL));
    T_WAIT_UNTIL(atomic_load(&gate.drops) == 1);
    return 0;
}

Test(future, spawned_future_is_joined_and_dropped_once)
{
    struct gate gate;

    gate_init(&gate, 0);
    cr_assert_eq(filch_future_spawn(&gate.base, NULL, NULL), -EPERM);
    cr_assert_eq(gate.drops, 0);
    cr_assert_eq(run_in_runtime(0, spawn_future_body, NULL), 0);
}

static int cancel_future_body(void *arg)
{
    (void)arg;
    for (int i = 0; i < 200; i++) {
        struct gate gate;
        filch_task *task;
        int polls;

        gate_init(&gate, 1);
        T_OK(filch_future_spawn(&gate.base, NULL, &task));
        for (int k = 0; k < i % 4; k++)
            filch_task_yield();
        T_OK(filch_task_cancel(task));
        T_IS(join(task), -ECANCELED);
        polls = gate.polls;
        T_CHECK(polls <= 2);
        T_IS(gate.drops, 1);
        gate_open(&gate);
        let_others_run();
        T_IS(gate.polls, polls);
        T_IS(gate.drops, 1);
    }
    return 0;
}

Test(future, cancelled_future_is_not_polled_again_and_dropped_once)
{
    cr_assert_eq(run_in_runtime(0, cancel_future_body, NULL), 0);
}

/* Wakes itself in its own poll, so many times. */
struct again {
    filch_future base;
    int left;
};

static filch_poll again_poll(filch_future *self, filch_cx *cx)
{
    struct again *again = (struct again *)self;

    if (again->left-- == 0)
        return FILCH_READY;
    if (again->left % 2)
        filch_waker_wake_by_ref(cx->waker);
    else
        filch_waker_wake(filch_waker_clone(cx->waker));
    return FILCH_PENDING;
}

static int self_wake_body(void *arg)
{
    struct again future = {.base = {.poll = again_poll}, .left = 10000};
    filch_task *task;

    (void)arg;
    T_OK(filch_await(&future.base, T_LIMIT));
    future.left = 10000;
    T_OK(filch_future_spawn(&future.base, NULL, &task));
    T_OK(join(task));
    return 0;
}

Test(future, wake_during_the_poll_is_not_lost)
{
    cr_assert_eq(run_in_runtime(0, self_wake_body, NULL), 0);
    struct again future = {.base = {.poll = again_poll}, .left = 100};
    cr_assert_eq(filch_await(&future.base, T_LIMIT), 0);
}

/* Waking and polling race without a lock between them. */
static int wake_race_body(void *arg)
{
    enum { N = 2000 };
    struct gate *gate = calloc(N, sizeof(*gate));
    filch_task **task = malloc(N * sizeof(*task));

    (void)arg;
    T_CHECK(gate && task);
    for (int i = 0; i < N; i++) {
        gate_init(&gate[i], i);
        T_OK(filch_future_spawn(&gate[i].base, NULL, &task[i]));
        T_OK(filch_spawn(open_task, &gate[i]));
    }
    for (int i = 0; i < N; i++) {
        T_IS(join(task[i]), i);
        T_IS(gate[i].drops, 1);
        /* The detached opener may still hold the lock. */
        T_WAIT_UNTIL(pthread_mutex_trylock(&gate[i].lock) == 0);
        T_CHECK(gate[i].open);
        pthread_mutex_unlock(&gate[i].lock);
    }
    free(gate);
    free(task);
    return 0;
}

Test(future, thousands_of_futures_are_woken_by_tasks)
{
    cr_assert_eq(run_in_runtime(0, wake_race_body, NULL), 0);
}

static filch_waker stolen[2];

static filch_poll steal_poll(filch_future *self, filch_cx *cx)
{
    stolen[self->result] = filch_waker_clone(cx->waker);
    self->result = 0;
    return FILCH_READY;
}

static int steal_wakers_body(void *arg)
{
    filch_future first = {.poll = steal_poll, .result = 0};
    filch_future second = {.poll = steal_poll, .result = 1};
    filch_task *task[2];
    filch_waker copy;

    (void)arg;
    T_OK(filch_future_spawn(&first, NULL, &task[0]));
    T_OK(filch_future_spawn(&second, NULL, &task[1]));
    T_OK(join(task[0]));
    T_OK(join(task[1]));
    copy = filch_waker_clone(&stolen[0]);
    T_CHECK(filch_waker_will_wake(&copy, &stolen[0]));
    T_CHECK(!filch_waker_will_wake(&stolen[0], &stolen[1]));
    /* The tasks have ended. */
    filch_waker_wake(copy);
    filch_waker_wake_by_ref(&stolen[0]);
    return 0;
}

Test(future, wakers_outlive_task_and_runtime)
{
    cr_assert_eq(run_in_runtime(1, steal_wakers_body, NULL), 0);
    filch_waker_wake_by_ref(&stolen[0]);
    filch_waker_drop(filch_waker_clone(&stolen[0]));
    filch_waker_wake(stolen[0]);
    filch_waker_drop(stolen[1]);
    /* What is spawned now may lie where the old tasks did: a stale wake must not hurt it. */
    cr_assert_eq(run_in_runtime(1, steal_wakers_body, NULL), 0);
    filch_waker_wake(stolen[0]);
    filch_waker_wake(stolen[1]);
}

static int sleep_future_body(void *arg)
{
    filch_time until = filch_after(3 * FILCH_MILLISECOND);
    filch_sleep_future future;
    filch_task *task;

    (void)arg;
    filch_sleep_future_init(&future, until);
    T_OK(filch_await(&future.base, FILCH_NEVER));
    T_CHECK(filch_now() >= until);

    filch_sleep_future_init(&future, FILCH_NOW);
    T_OK(filch_await(&future.base, FILCH_NOW));

    until = filch_after(3 * FILCH_MILLISECOND);
    filch_sleep_future_init(&future, until);
    T_OK(filch_future_spawn(&future.base, NULL, &task));
    T_OK(join(task));
    T_CHECK(filch_now() >= until);

    filch_sleep_future_init(&future, filch_after(3600 * FILCH_SECOND));
    T_OK(filch_future_spawn(&future.base, NULL, &task));
    let_others_run();
    T_OK(filch_task_cancel(task));
    T_IS(join(task), -ECANCELED);
    return 0;
}

Test(future, sleep_future_is_ready_at_its_time_and_never_early)
{
    cr_assert_eq(run_in_runtime(0, sleep_future_body, NULL), 0);
}

static int abandon_body(void *arg)
{
    (void)arg;
    for (int i = 0; i < 200; i++) {
        filch_sleep_future future;

        /* Far enough that it has not come before the await, on the slowest of machines. */
        filch_sleep_future_init(&future,
                                filch_after((filch_time)(100 + i % 3) * FILCH_MILLISECOND));
        T_IS(filch_await(&future.base, FILCH_NOW), -ETIMEDOUT);
        if (i % 2)
            filch_task_yield();
        future.base.drop(&future.base);
        /* Its memory is reused at once: the timer must be gone. */
        for (size_t b = 0; b < sizeof(future); b++)
            ((volatile unsigned char *)&future)[b] = 0xee;
    }
    return filch_sleep(filch_after(110 * FILCH_MILLISECOND));
}

Test(future, abandoned_sleep_leaves_the_timers)
{
    cr_assert_eq(run_in_runtime(0, abandon_body, NULL), 0);
}

/* Two timers in one future: it ends with the first, and abandons the second. */
struct race {
    filch_future base;
    filch_sleep_future near;
    filch_sleep_future far;
    atomic_int drops;
};

static filch_poll race_poll(filch_future *self, filch_cx *cx)
{
    struct race *race = (struct race *)self;

    if (race->far.base.poll(&race->far.base, cx) == FILCH_READY)
        T_CHECK(!"the far timer was first");
    if (race->near.base.poll(&race->near.base, cx) == FILCH_PENDING)
        return FILCH_PENDING;
    race->base.result = 2;
    return FILCH_READY;
}

static void race_drop(filch_future *self)
{
    struct race *race = (struct race *)self;

    race->far.base.drop(&race->far.base);
    atomic_fetch_add(&race->drops, 1);
}

static int race_body(void *arg)
{
    struct race race[50];
    filch_task *task[50];

    (void)arg;
    for (unsigned i = 0; i < 50; i++) {
        race[i] = (struct race){.base = {.poll = race_poll, .drop = race_drop}};
        filch_sleep_future_init(&race[i].near, filch_after(i % 5 * FILCH_MILLISECOND + 1));
        filch_sleep_future_init(&race[i].far, filch_after(3600 * FILCH_SECOND));
        T_OK(filch_future_spawn(&race[i].base, NULL, &task[i]));
    }
    for (int i = 0; i < 50; i++) {
        T_IS(join(task[i]), 2);
        T_IS(race[i].drops, 1);
    }
    return 0;
}

Test(future, future_made_of_two_timers_ends_with_the_first)
{
    cr_assert_eq(run_in_runtime(0, race_body, NULL), 0);
}

/* ---- one that wakes itself in each poll ---- */

struct restless {
    filch_future base;
    atomic_bool *enough;
};

static filch_poll restless_poll(filch_future *self, filch_cx *cx)
{
    self->result = 5;
    if (atomic_load(((struct restless *)self)->enough))
        return FILCH_READY;
    filch_waker_wake_by_ref(cx->waker);
    return FILCH_PENDING;
}

static int says_enough(void *arg)
{
    atomic_store((atomic_bool *)arg, true);
    return 0;
}

static int awaits_restless(void *arg)
{
    atomic_bool enough = false;
    struct restless restless = {.base = {.poll = restless_poll}, .enough = &enough};
    filch_task *task = spawn(says_enough, &enough);
    filch_case c = filch_case_future(&restless.base);

    if (arg) {
        T_IS(filch_select(&c, 1, 0, T_LIMIT), 0);
        T_IS(c.result, 5);
    } else {
        T_IS(filch_await(&restless.base, T_LIMIT), 5);
    }
    return join(task);
}

/* Else nobody would get on on the only worker. */
Test(future, one_that_wakes_itself_in_each_poll_lets_others_run)
{
    int selects = 1;

    cr_assert_eq(run_in_runtime(1, awaits_restless, NULL), 0);
    cr_assert_eq(run_in_runtime(1, awaits_restless, &selects), 0);
}
