/* Description: what <filch/combine.h> promises, alone and in random trees against a model; and the
 * futures of tasks and channels. Every child is ready or dropped, once; only those that were woken
 * are polled when there are many; nothing that was handed to a dropped future is lost. */
#include <errno.h>
#include <pthread.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(combine, .timeout = 100);

/* Ready once opened; keeps the waker of the last poll. */
struct gate {
    filch_future base;
    pthread_mutex_t lock; /* held for a few lines, never across a suspension */
    bool open;
    bool over; /* ready or dropped */
    filch_waker waker;
    int value;
    int polls;
    int drops;
};

static filch_poll gate_poll(filch_future *self, filch_cx *cx)
{
    struct gate *gate = (struct gate *)self;
    filch_waker old = {0};
    bool open;

    pthread_mutex_lock(&gate->lock);
    T_CHECK(!gate->over);
    gate->polls++;
    open = gate->over = gate->open;
    if (!open) {
        old = gate->waker;
        gate->waker = filch_waker_clone(cx->waker);
    }
    pthread_mutex_unlock(&gate->lock);
    filch_waker_drop(old);
    self->result = gate->value;
    return open ? FILCH_READY : FILCH_PENDING;
}

static void gate_drop(filch_future *self)
{
    struct gate *gate = (struct gate *)self;
    filch_waker old;

    pthread_mutex_lock(&gate->lock);
    T_CHECK(!gate->over);
    gate->over = true;
    gate->drops++;
    old = gate->waker;
    gate->waker = (filch_waker){0};
    pthread_mutex_unlock(&gate->lock);
    filch_waker_drop(old);
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
    filch_waker waker;

    pthread_mutex_lock(&gate->lock);
    gate->open = true;
    waker = gate->waker;
    gate->waker = (filch_waker){0};
    pthread_mutex_unlock(&gate->lock);
    filch_waker_wake(waker);
}

static int open_task(void *arg)
{
    gate_open(arg);
    return 0;
}

/* A poll without a task, to count them by hand. */
static filch_poll poll_once(filch_future *future)
{
    filch_waker nobody = {0};
    filch_cx cx = {.waker = &nobody};

    return future->poll(future, &cx);
}

#define FEW 3
#define MANY 40

struct gates {
    struct gate gate[MANY];
    filch_child child[MANY];
    int count;
};

static void gates_init(struct gates *gates, int count)
{
    gates->count = count;
    for (int i = 0; i < count; i++) {
        gate_init(&gates->gate[i], i);
        gates->child[i] = (filch_child){.future = &gates->gate[i].base};
    }
}

static void check_drops(const struct gates *gates, int want)
{
    int drops = 0;

    for (int i = 0; i < gates->count; i++) {
        T_CHECK(gates->gate[i].over);
        drops += gates->gate[i].drops;
    }
    T_IS(drops, want);
}

/* ---- join, try_join, select ---- */

static void join_by_hand(int count)
{
    filch_join_future whole;
    struct gates gates;

    gates_init(&gates, count);
    T_OK(filch_join_future_init(&whole, gates.child, (size_t)count));
    for (int i = count - 1; i >= 0; i--) {
        T_CHECK(poll_once(&whole.base) == FILCH_PENDING);
        gate_open(&gates.gate[i]);
    }
    T_CHECK(poll_once(&whole.base) == FILCH_READY);
    T_IS(whole.base.result, 0);
    T_IS(whole.index, count);
    check_drops(&gates, 0);
    for (int i = 0; i < count; i++)
        T_IS(gates.gate[i].base.result, i);
    whole.base.drop(&whole.base);
    check_drops(&gates, 0);
}

Test(combine, join_is_ready_when_all_are)
{
    filch_join_future none;

    join_by_hand(1);
    join_by_hand(FEW);
    join_by_hand(MANY);
    T_OK(filch_join_future_init(&none, NULL, 0));
    cr_assert_eq(poll_once(&none.base), FILCH_READY);
    cr_assert_eq(none.base.result, 0);
}

static void drop_by_hand(int count, int opened)
{
    filch_join_future whole;
    struct gates gates;

    gates_init(&gates, count);
    T_OK(filch_join_future_init(&whole, gates.child, (size_t)count));
    for (int i = 0; i < opened; i++) {
        gate_open(&gates.gate[i]);
        T_CHECK(poll_once(&whole.base) == FILCH_PENDING);
    }
    whole.base.drop(&whole.base);
    check_drops(&gates, count - opened);
    whole.base.drop(&whole.base);
    check_drops(&gates, count - opened);
}

Test(combine, dropped_at_any_point_drops_what_is_unfinished_once)
{
    for (int opened = 0; opened < FEW; opened++)
        drop_by_hand(FEW, opened);
    for (int opened = 0; opened < MANY; opened++)
        drop_by_hand(MANY, opened);
}

static void try_by_hand(int count)
{
    filch_try_join_future whole;
    struct gates gates;

    gates_init(&gates, count);
    gates.gate[1].value = -EIO;
    gates.gate[2].value = -EPIPE;
    T_OK(filch_try_join_future_init(&whole, gates.child, (size_t)count));
    T_CHECK(poll_once(&whole.base) == FILCH_PENDING);
    gate_open(&gates.gate[0]);
    T_CHECK(poll_once(&whole.base) == FILCH_PENDING);
    gate_open(&gates.gate[2]);
    T_CHECK(poll_once(&whole.base) == FILCH_READY);
    T_IS(whole.base.result, -EPIPE);
    T_IS(whole.index, 2);
    check_drops(&gates, count - 2);

    gates_init(&gates, count);
    T_OK(filch_try_join_future_init(&whole, gates.child, (size_t)count));
    for (int i = 0; i < count; i++)
        gate_open(&gates.gate[i]);
    T_CHECK(poll_once(&whole.base) == FILCH_READY);
    T_IS(whole.base.result, 0);
    check_drops(&gates, 0);
}

Test(combine, try_join_ends_with_the_first_error)
{
    try_by_hand(FEW);
    try_by_hand(MANY);
}

static void select_by_hand(int count, unsigned flags)
{
    filch_select_future whole;
    struct gates gates;

    for (int i = 0; i < count; i++) {
        gates_init(&gates, count);
        T_OK(filch_select_future_init(&whole, gates.child, (size_t)count, flags));
        T_CHECK(poll_once(&whole.base) == FILCH_PENDING);
        gate_open(&gates.gate[i]);
        T_CHECK(poll_once(&whole.base) == FILCH_READY);
        T_IS(whole.base.result, i);
        T_IS(whole.index, i);
        check_drops(&gates, count - 1);
    }
}

Test(combine, select_takes_the_first_and_drops_the_others)
{
    select_by_hand(1, 0);
    select_by_hand(FEW, 0);
    select_by_hand(MANY, 0);
    select_by_hand(FEW, FILCH_SELECT_ORDERED);
    select_by_hand(MANY, FILCH_SELECT_ORDERED);
}

static int all_open(int count, unsigned flags)
{
    filch_select_future whole;
    struct gates gates;

    gates_init(&gates, count);
    for (int i = 0; i < count; i++)
        gate_open(&gates.gate[i]);
    T_OK(filch_select_future_init(&whole, gates.child, (size_t)count, flags));
    T_CHECK(poll_once(&whole.base) == FILCH_READY);
    check_drops(&gates, count - 1);
    return whole.base.result;
}

Test(combine, select_is_fair_unless_it_is_ordered)
{
    int wins[MANY] = {0};

    for (int i = 0; i < 100; i++) {
        cr_assert_eq(all_open(FEW, FILCH_SELECT_ORDERED), 0);
        cr_assert_eq(all_open(MANY, FILCH_SELECT_ORDERED), 0);
    }
    for (int i = 0; i < 100 * MANY; i++)
        wins[all_open(MANY, 0)]++;
    for (int i = 0; i < MANY; i++)
        cr_assert(wins[i] > 30, "child %d has won %d of %d", i, wins[i], 100 * MANY);
}

/* ---- with wakers ---- */

static int join_of_gates_body(void *arg)
{
    enum { N = 10000 };
    struct gate *gates = malloc(N * sizeof(*gates));
    filch_child *children = malloc(N * sizeof(*children));
    filch_join_future whole;
    filch_task *task;
    int polls = 0;

    (void)arg;
    T_CHECK(gates && children);
    for (int i = 0; i < N; i++) {
        gate_init(&gates[i], i);
        children[i].future = &gates[i].base;
    }
    T_OK(filch_join_future_init(&whole, children, N));
    T_OK(filch_future_spawn(&whole.base, NULL, &task));
    for (int i = 0; i < N; i++) {
        gate_open(&gates[(i * 7919) % N]);
        if (i % 16 == 0)
            filch_task_yield();
    }
    T_OK(join(task));
    for (int i = 0; i < N; i++) {
        T_IS(gates[i].drops, 0);
        T_IS(gates[i].base.result, i);
        polls += gates[i].polls;
    }
    T_CHECK(polls >= N && polls <= 2 * N);
    free(gates);
    free(children);
    return 0;
}

Test(combine, join_of_many_polls_only_those_that_were_woken)
{
    cr_assert_eq(run_in_runtime(0, join_of_gates_body, NULL), 0);
}

static int join_of_sleeps_body(void *arg)
{
    enum { N = 5000 };
    filch_sleep_future *naps = malloc(N * sizeof(*naps));
    filch_child *children = malloc(N * sizeof(*children));
    filch_time last = filch_after(20 * FILCH_MILLISECOND);
    filch_join_future whole;

    (void)arg;
    T_CHECK(naps && children);
    for (int i = 0; i < N; i++) {
        filch_sleep_future_init(&naps[i], last - (filch_time)(i % 100) * 100 * FILCH_MICROSECOND);
        children[i].future = &naps[i].base;
    }
    T_OK(filch_join_future_init(&whole, children, N));
    T_OK(filch_await(&whole.base, T_LIMIT));
    T_CHECK(filch_now() >= last);
    /* Abandoned: the timers are taken out. */
    for (int i = 0; i < N; i++)
        filch_sleep_future_init(&naps[i], filch_after(3600 * FILCH_SECOND));
    T_OK(filch_join_future_init(&whole, children, N));
    T_IS(filch_await(&whole.base, FILCH_NOW), -ETIMEDOUT);
    whole.base.drop(&whole.base);
    memset(naps, 0xee, N * sizeof(*naps));
    free(naps);
    free(children);
    return 0;
}

Test(combine, thousands_of_sleeps_are_joined)
{
    cr_assert_eq(run_in_runtime(0, join_of_sleeps_body, NULL), 0);
}

static void *open_thread(void *arg)
{
    struct gates *gates = arg;

    for (int i = 0; i < gates->count; i++)
        gate_open(&gates->gate[i]);
    return NULL;
}

static int wakes_from_threads_body(void *arg)
{
    (void)arg;
    for (int i = 0; i < 200; i++) {
        filch_group_future whole;
        struct gates gates;
        pthread_t thread;
        int r;

        gates_init(&gates, i % 2 ? MANY : FEW);
        T_OK(pthread_create(&thread, NULL, open_thread, &gates));
        if (i % 3 == 0)
            T_OK(filch_select_future_init(&whole, gates.child, (size_t)gates.count, 0));
        else
            T_OK(filch_join_future_init(&whole, gates.child, (size_t)gates.count));
        r = filch_await(&whole.base, T_LIMIT);
        T_CHECK(r == (i % 3 ? 0 : (int)whole.index));
        T_OK(pthread_join(thread, NULL));
    }
    return 0;
}

Test(combine, children_are_woken_by_threads_while_they_are_polled)
{
    cr_assert_eq(run_in_runtime(0, wakes_from_threads_body, NULL), 0);
    cr_assert_eq(wakes_from_threads_body(NULL), 0); /* awaited by a plain thread */
}

/* Keeps its waker for ever. */
static filch_waker kept[2 * MANY];

static filch_poll keep_poll(filch_future *self, filch_cx *cx)
{
    kept[self->result++] = filch_waker_clone(cx->waker);
    return self->result % 2 ? FILCH_PENDING : FILCH_READY;
}

Test(combine, wakers_of_children_outlive_the_whole)
{
    filch_future futures[MANY];
    filch_child children[MANY];
    filch_join_future whole;

    for (int i = 0; i < MANY; i++) {
        futures[i] = (filch_future){.poll = keep_poll, .result = 2 * i};
        children[i].future = &futures[i];
    }
    T_OK(filch_join_future_init(&whole, children, MANY));
    cr_assert_eq(poll_once(&whole.base), FILCH_PENDING);
    for (int i = 0; i < MANY; i++)
        filch_waker_wake_by_ref(&kept[2 * i]);
    for (int i = 1; i < MANY; i++)
        cr_assert(!filch_waker_will_wake(&kept[0], &kept[2 * i]));
    cr_assert_eq(poll_once(&whole.base), FILCH_READY);
    memset(children, 0xee, sizeof(children));
    for (int round = 0; round < 2; round++) {
        struct gates gates;

        for (int i = 0; i < 2 * MANY; i++)
            filch_waker_wake_by_ref(&kept[i]);
        /* The next one may have the same relay: a late wake must not touch it. */
        gates_init(&gates, MANY);
        T_OK(filch_join_future_init(&whole, gates.child, MANY));
        cr_assert_eq(poll_once(&whole.base), FILCH_PENDING);
        for (int i = 0; i < 2 * MANY; i++)
            filch_waker_wake_by_ref(&kept[i]);
        cr_assert_eq(poll_once(&whole.base), FILCH_PENDING);
        for (int i = 0; i < MANY; i++)
            cr_assert_eq(gates.gate[i].polls, 1);
        whole.base.drop(&whole.base);
    }
}

static int await_whole(void *arg)
{
    return filch_await(arg, T_LIMIT);
}

/* Half by one task, half by another: the wakes go to the one that awaits it now. */
static int other_waker_body(void *arg)
{
    filch_join_future whole;
    struct gates gates;
    filch_task *task;

    (void)arg;
    gates_init(&gates, MANY);
    T_OK(filch_join_future_init(&whole, gates.child, MANY));
    T_IS(filch_await(&whole.base, FILCH_NOW), -ETIMEDOUT);
    task = spawn(await_whole, &whole.base);
    let_others_run();
    for (int i = 0; i < MANY; i++)
        gate_open(&gates.gate[i]);
    T_OK(join(task));
    check_drops(&gates, 0);
    return 0;
}

Test(combine, a_whole_may_move_from_one_task_to_another)
{
    cr_assert_eq(run_in_runtime(0, other_waker_body, NULL), 0);
}

/* ---- one child ---- */

static int timeout_body(void *arg)
{
    filch_time until = filch_after(3 * FILCH_MILLISECOND);
    filch_timeout_future timeout;
    struct gate gate;
    filch_task *task;

    (void)arg;
    gate_init(&gate, 5);
    T_OK(filch_timeout_future_init(&timeout, &gate.base, until));
    T_IS(filch_await(&timeout.base, T_LIMIT), -ETIMEDOUT);
    T_CHECK(filch_now() >= until);
    T_IS(gate.drops, 1);

    /* A child that is ready wins, however late it is. */
    gate_init(&gate, 5);
    gate_open(&gate);
    T_OK(filch_timeout_future_init(&timeout, &gate.base, FILCH_NOW));
    T_IS(filch_await(&timeout.base, T_LIMIT), 5);
    T_IS(gate.drops, 0);

    gate_init(&gate, 6);
    T_OK(filch_timeout_future_init(&timeout, &gate.base, FILCH_NOW));
    T_IS(filch_await(&timeout.base, T_LIMIT), -ETIMEDOUT);
    T_IS(gate.polls, 1);

    gate_init(&gate, 7);
    T_OK(filch_timeout_future_init(&timeout, &gate.base, T_LIMIT));
    task = spawn(open_task, &gate);
    T_IS(filch_await(&timeout.base, T_LIMIT), 7);
    T_OK(join(task));
    timeout.base.drop(&timeout.base);
    T_IS(gate.drops, 0);

    gate_init(&gate, 8);
    T_OK(filch_timeout_future_init(&timeout, &gate.base, FILCH_NEVER));
    T_IS(filch_await(&timeout.base, FILCH_NOW), -ETIMEDOUT);
    timeout.base.drop(&timeout.base);
    timeout.base.drop(&timeout.base);
    T_IS(gate.drops, 1);
    return 0;
}

Test(combine, timeout_polls_the_child_first_and_drops_it_when_late)
{
    filch_timeout_future timeout;
    struct gate gate;

    cr_assert_eq(run_in_runtime(0, timeout_body, NULL), 0);
    gate_init(&gate, 1);
    T_OK(filch_timeout_future_init(&timeout, &gate.base, T_LIMIT));
    cr_assert_eq(filch_await(&timeout.base, FILCH_NEVER), -EPERM);
    cr_assert_eq(gate.drops, 1);
}

static int add(int result, void *arg)
{
    return result + *(int *)arg;
}

static filch_future *follow(int result, void *arg)
{
    return result > 0 ? arg : NULL;
}

Test(combine, map_and_then_pass_results_on)
{
    struct gate first;
    struct gate second;
    filch_then_future then;
    filch_map_future map;
    int five = 5;

    gate_init(&first, 1);
    gate_init(&second, 2);
    T_OK(filch_then_future_init(&then, &first.base, follow, &second.base));
    T_OK(filch_map_future_init(&map, &then.base, add, &five));
    cr_assert_eq(poll_once(&map.base), FILCH_PENDING);
    gate_open(&first);
    cr_assert_eq(second.polls, 0);
    cr_assert_eq(poll_once(&map.base), FILCH_PENDING);
    cr_assert_eq(second.polls, 1);
    gate_open(&second);
    cr_assert_eq(poll_once(&map.base), FILCH_READY);
    cr_assert_eq(map.base.result, 7);
    map.base.drop(&map.base);
    cr_assert_eq(first.drops + second.drops, 0);

    gate_init(&first, 0); /* nothing follows */
    gate_open(&first);
    T_OK(filch_then_future_init(&then, &first.base, follow, &second.base));
    cr_assert_eq(poll_once(&then.base), FILCH_READY);
    cr_assert_eq(then.base.result, 0);

    for (int opened = 0; opened < 2; opened++) {
        gate_init(&first, 1);
        gate_init(&second, 2);
        T_OK(filch_then_future_init(&then, &first.base, follow, &second.base));
        T_OK(filch_map_future_init(&map, &then.base, add, &five));
        if (opened)
            gate_open(&first);
        cr_assert_eq(poll_once(&map.base), FILCH_PENDING);
        map.base.drop(&map.base);
        map.base.drop(&map.base);
        cr_assert_eq(first.drops, !opened);
        cr_assert_eq(second.drops, opened);
    }
}

static filch_poll third_time(void *arg, filch_cx *cx, int *ret_result)
{
    int *count = arg;

    if (++*count < 3) {
        filch_waker_wake_by_ref(cx->waker);
        return FILCH_PENDING;
    }
    *ret_result = 33;
    return FILCH_READY;
}

static int count_up(void *arg)
{
    return ++*(int *)arg;
}

Test(combine, ready_pending_poll_fn_and_lazy)
{
    filch_fn_future fn;
    filch_future future;
    int count = 0;

    filch_ready_future_init(&future, 9);
    cr_assert_eq(filch_await(&future, FILCH_NOW), 9);
    filch_pending_future_init(&future);
    cr_assert_eq(filch_await(&future, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_OK(filch_poll_fn_future_init(&fn, third_time, &count));
    cr_assert_eq(filch_await(&fn.base, T_LIMIT), 33);
    cr_assert_eq(count, 3);
    T_OK(filch_lazy_future_init(&fn, count_up, &count));
    cr_assert_eq(count, 3);
    cr_assert_eq(filch_await(&fn.base, FILCH_NOW), 4);
    cr_assert_eq(count, 4);
}

/* ---- random trees against a model ---- */

/* Time is a number that the test advances. A leaf is ready from its own time on; no two leaves have
 * the same, so the model knows who is first. */
enum kind { LEAF, JOIN, TRY, SELECT, TIMEOUT, MAP, THEN, KINDS };

struct node {
    enum kind kind;
    union {
        struct gate leaf;
        filch_group_future group;
        filch_timeout_future timeout;
        filch_map_future map;
        filch_then_future then;
    } as;
    filch_child child[12];
    struct node *sub[12];
    int subs;
    int time; /* of a leaf */
};

#define NODES 400

static struct tree {
    struct node node[NODES];
    int nodes;
    int times[NODES];
    int leaves;
    uint64_t seed;
} tree;

static unsigned below(unsigned n)
{
    tree.seed = tree.seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(tree.seed >> 33) % n;
}

static int ten = 10;

static filch_future *follow_always(int result, void *arg)
{
    (void)result;
    return arg;
}

static struct node *leaf_new(void)
{
    struct node *node = &tree.node[tree.nodes++];

    node->kind = LEAF;
    node->subs = 0;
    node->time = tree.times[tree.leaves++];
    gate_init(&node->as.leaf, below(4) ? (int)below(100) : -(int)below(100) - 1);
    return node;
}

static struct node *tree_new(int depth);

static void subs_new(struct node *node, int n, int depth)
{
    node->subs = n;
    for (int i = 0; i < n; i++) {
        /* What follows may begin late, when several in it are ready: one leaf has no order. */
        bool leaf = node->kind == THEN && i == 1;

        node->sub[i] = leaf ? leaf_new() : tree_new(depth - 1);
        node->child[i].future = (filch_future *)&node->sub[i]->as;
    }
}

static struct node *tree_new(int depth)
{
    static const int counts[] = {1, 2, 3, 4, 9, 12};
    struct node *node;
    filch_future *first;

    if (depth == 0 || tree.nodes > NODES / 2 - 100 || tree.leaves > NODES / 2)
        return leaf_new();
    node = &tree.node[tree.nodes++];
    node->kind = (enum kind)below(KINDS);
    if (node->kind == LEAF) {
        tree.nodes--;
        return leaf_new();
    }
    if (node->kind <= SELECT)
        subs_new(node, counts[below(6)], depth);
    else
        subs_new(node, node->kind == THEN ? 2 : 1, depth);
    first = node->child[0].future;
    switch (node->kind) {
    case LEAF:
    case KINDS:
        break;
    case JOIN:
        T_OK(filch_join_future_init(&node->as.group, node->child, (size_t)node->subs));
        break;
    case TRY:
        T_OK(filch_try_join_future_init(&node->as.group, node->child, (size_t)node->subs));
        break;
    case SELECT:
        T_OK(filch_select_future_init(&node->as.group, node->child, (size_t)node->subs,
                                      below(2) ? FILCH_SELECT_ORDERED : 0));
        break;
    case TIMEOUT:
        T_OK(filch_timeout_future_init(&node->as.timeout, first, FILCH_NEVER));
        break;
    case MAP:
        T_OK(filch_map_future_init(&node->as.map, first, add, &ten));
        break;
    case THEN:
        T_OK(filch_then_future_init(&node->as.then, first, follow_always, node->child[1].future));
        break;
    }
    return node;
}

struct outcome {
    int time;
    int result;
};

static struct outcome model(const struct node *node)
{
    struct outcome got = {0}, first;

    switch (node->kind) {
    case LEAF:
        return (struct outcome){node->time, node->as.leaf.value};
    case JOIN:
        for (int i = 0; i < node->subs; i++) {
            first = model(node->sub[i]);
            got.time = first.time > got.time ? first.time : got.time;
        }
        return got;
    case TRY:
        for (int i = 0; i < node->subs; i++) {
            first = model(node->sub[i]);
            if (first.result < 0 && (!got.result || first.time < got.time))
                got = first;
            else if (!got.result && first.time > got.time)
                got.time = first.time;
        }
        return got;
    case SELECT:
        got = model(node->sub[0]);
        got.result = 0;
        for (int i = 1; i < node->subs; i++) {
            first = model(node->sub[i]);
            if (first.time < got.time)
                got = (struct outcome){first.time, i};
        }
        return got;
    case TIMEOUT:
        return model(node->sub[0]);
    case MAP:
        got = model(node->sub[0]);
        got.result += ten;
        return got;
    case THEN:
        first = model(node->sub[0]);
        got = model(node->sub[1]);
        got.time = first.time > got.time ? first.time : got.time;
        return got;
    case KINDS:
        break;
    }
    return got;
}

/* Each leaf is over, once; but for those that were never reached. */
static void check_leaves(const struct node *node, bool reached, int now)
{
    if (node->kind == LEAF) {
        T_CHECK(reached ? node->as.leaf.over : !node->as.leaf.polls && !node->as.leaf.drops);
        T_CHECK(node->as.leaf.drops <= 1);
        return;
    }
    for (int i = 0; i < node->subs; i++) {
        bool sub_reached = reached;

        if (node->kind == THEN && i == 1)
            sub_reached = node->sub[1]->as.leaf.polls > 0 || node->sub[1]->as.leaf.drops > 0;
        check_leaves(node->sub[i], sub_reached, now);
    }
}

static void tree_begin(uint64_t seed)
{
    tree.seed = seed;
    tree.nodes = tree.leaves = 0;
    for (int i = 0; i < NODES; i++)
        tree.times[i] = i;
    for (int i = 60; i > 0; i--) { /* mostly early ones, so that runs are short */
        int k = (int)below((unsigned)i + 1);
        int time = tree.times[i];

        tree.times[i] = tree.times[k];
        tree.times[k] = time;
    }
}

static void open_those_of(int now)
{
    for (int i = 0; i < tree.nodes; i++) {
        if (tree.node[i].kind == LEAF && tree.node[i].time == now)
            gate_open(&tree.node[i].as.leaf);
    }
}

static void run_tree(uint64_t seed, bool abandon)
{
    struct node *root;
    struct outcome want;
    filch_future *future;
    int last;

    tree_begin(seed);
    root = tree_new(4);
    want = model(root);
    last = abandon ? (int)below((unsigned)want.time + 1) - 1 : want.time;
    future = (filch_future *)&root->as;
    for (int now = 0; now <= last; now++) {
        filch_poll poll;

        open_those_of(now);
        do
            poll = poll_once(future);
        while (poll == FILCH_PENDING && below(3) == 0); /* spurious ones, too */
        T_IS(poll, now == want.time ? FILCH_READY : FILCH_PENDING);
    }
    if (last == want.time)
        T_IS(future->result, want.result);
    else
        future->drop(future);
    check_leaves(root, true, last);
}

Test(combine, random_trees_do_what_the_model_says)
{
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        run_tree(seed, false);
        run_tree(seed, true);
    }
}

/* ---- tasks ---- */

static int wait_for_gate(void *arg)
{
    struct gate *gate = arg;

    return filch_await(&gate->base, T_LIMIT);
}

static int join_task_body(void *arg)
{
    (void)arg;
    for (int i = 0; i < 300; i++) {
        filch_join_task_future future;
        filch_task *task, *joiner;
        struct gate gate;

        gate_init(&gate, i);
        task = spawn(wait_for_gate, &gate);
        T_OK(filch_join_task_future_init(&future, task));
        T_IS(filch_await(&future.base, FILCH_NOW), -ETIMEDOUT);
        T_IS(filch_task_join(task, NULL, FILCH_NOW), -EBUSY);
        if (i % 3 == 0) { /* dropped before: the handle is as it was */
            future.base.drop(&future.base);
            gate_open(&gate);
            T_IS(join(task), i);
        } else if (i % 3 == 1) { /* dropped after its end, before a poll */
            gate_open(&gate);
            T_WAIT_UNTIL(filch_task_is_finished(task));
            future.base.drop(&future.base);
            T_IS(join(task), i);
        } else { /* by another one, with another waker */
            T_OK(filch_future_spawn(&future.base, NULL, &joiner));
            for (int k = 0; k < i % 4; k++)
                filch_task_yield();
            gate_open(&gate);
            T_IS(join(joiner), i);
            T_CHECK(filch_task_is_finished(task));
            T_IS(filch_task_detach(task), -ESRCH);
        }
    }
    return 0;
}

Test(combine, a_task_is_joined_by_a_future)
{
    cr_assert_eq(run_in_runtime(0, join_task_body, NULL), 0);
}

static int cancel_joiner_body(void *arg)
{
    (void)arg;
    for (int i = 0; i < 300; i++) {
        filch_join_task_future future;
        filch_task *task, *joiner;
        struct gate gate;
        int r;

        gate_init(&gate, i);
        task = spawn(wait_for_gate, &gate);
        T_OK(filch_join_task_future_init(&future, task));
        T_OK(filch_future_spawn(&future.base, NULL, &joiner));
        for (int k = 0; k < i % 4; k++)
            filch_task_yield();
        if (i % 2)
            gate_open(&gate);
        T_OK(filch_task_cancel(joiner));
        r = join(joiner);
        T_CHECK(r == -ECANCELED || r == i);
        if (i % 2 == 0)
            gate_open(&gate);
        if (r == -ECANCELED)
            T_IS(join(task), i);
    }
    return 0;
}

Test(combine, a_cancelled_joiner_leaves_the_handle)
{
    cr_assert_eq(run_in_runtime(0, cancel_joiner_body, NULL), 0);
}
