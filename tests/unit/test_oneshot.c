/* Description: oneshots: one value, once; ends that go early, handles that are stale; waits that
 * race with a send, a drop, a close; selects and futures; random use against a model, and by a
 * crowd that loses no value. */
#include <errno.h>
#include <pthread.h>

#include <criterion/criterion.h>

#include "tests/runner/crowd.h"

TestSuite(oneshot, .timeout = 120);

struct ends {
    filch_oneshot_tx *tx;
    filch_oneshot_rx *rx;
};

static struct ends ends_new(void)
{
    struct ends ends = {NULL, NULL};

    T_OK(filch_oneshot_new(sizeof(uint64_t), &ends.tx, &ends.rx));
    T_CHECK(ends.tx && ends.rx);
    return ends;
}

static int send(filch_oneshot_tx *tx, uint64_t value)
{
    return filch_oneshot_send(tx, &value);
}

/* Return: the value, or an error. */
static long long recv_until(filch_oneshot_rx *rx, filch_time until)
{
    uint64_t value = 4711;
    int r = filch_oneshot_recv(rx, &value, until);

    T_CHECK(r == 0 || value == 4711); /* untouched */
    return r < 0 ? r : (long long)value;
}

Test(oneshot, a_value_goes_from_one_end_to_the_other)
{
    struct ends e = ends_new();

    T_IS(recv_until(e.rx, FILCH_NOW), -ETIMEDOUT);
    T_IS(recv_until(e.rx, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(filch_oneshot_closed(e.tx, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_oneshot_closed(e.tx, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_OK(send(e.tx, 7));
    T_IS(recv_until(e.rx, FILCH_NEVER), 7);
}

Test(oneshot, ends_that_were_ended_are_refused)
{
    struct ends e = ends_new();
    uint64_t value = 1;

    T_OK(send(e.tx, 7));
    T_IS(send(e.tx, 8), -EBADF); /* the block still lives */
    T_IS(filch_oneshot_drop(e.tx), -EBADF);
    T_IS(filch_oneshot_closed(e.tx, FILCH_NEVER), -EBADF);
    T_IS(recv_until(e.rx, FILCH_NEVER), 7);
    T_IS(recv_until(e.rx, FILCH_NEVER), -EBADF);
    T_IS(filch_oneshot_close(e.rx, &value), -EBADF);
    T_IS(send(e.tx, 9), -EBADF);
    T_IS(value, 1);

    e = ends_new();
    T_IS(filch_oneshot_close(e.rx, NULL), -EPIPE);
    T_IS(filch_oneshot_close(e.rx, NULL), -EBADF); /* the block still lives */
    T_IS(recv_until(e.rx, FILCH_NEVER), -EBADF);
    T_OK(filch_oneshot_drop(e.tx));
    T_IS(filch_oneshot_drop(e.tx), -EBADF);
}

Test(oneshot, a_stale_handle_does_not_reach_the_next_one)
{
    struct ends old = ends_new(), e;

    T_OK(send(old.tx, 1));
    T_IS(recv_until(old.rx, FILCH_NOW), 1);
    e = ends_new(); /* the same block */
    T_IS(send(old.tx, 2), -EBADF);
    T_IS(filch_oneshot_close(old.rx, NULL), -EBADF);
    T_OK(send(e.tx, 3));
    T_IS(recv_until(e.rx, FILCH_NOW), 3);
}

Test(oneshot, a_sender_that_goes_is_an_end)
{
    struct ends e = ends_new();

    T_OK(filch_oneshot_drop(e.tx));
    T_IS(recv_until(e.rx, FILCH_NEVER), -EPIPE);
    T_IS(recv_until(e.rx, FILCH_NEVER), -EBADF);
    e = ends_new();
    T_OK(filch_oneshot_drop(e.tx));
    T_IS(filch_oneshot_close(e.rx, NULL), -EPIPE);
}

Test(oneshot, a_receiver_that_goes_leaves_the_value_with_the_sender)
{
    struct ends e = ends_new();

    T_IS(filch_oneshot_close(e.rx, NULL), -EPIPE);
    T_OK(filch_oneshot_closed(e.tx, FILCH_NOW));
    T_OK(filch_oneshot_closed(e.tx, FILCH_NEVER));
    T_IS(send(e.tx, 7), -EPIPE);
    T_IS(send(e.tx, 7), -EBADF);
}

Test(oneshot, closing_returns_what_was_sent_before)
{
    struct ends e = ends_new();
    uint64_t value = 0;

    T_OK(send(e.tx, 7));
    T_OK(filch_oneshot_close(e.rx, &value));
    T_IS(value, 7);
    e = ends_new();
    T_OK(send(e.tx, 7));
    T_OK(filch_oneshot_close(e.rx, NULL));
}

Test(oneshot, values_of_all_sizes)
{
    unsigned char in[FILCH_ONESHOT_BYTES_MAX + 1], out[sizeof in];

    for (size_t bytes = 1; bytes <= FILCH_ONESHOT_BYTES_MAX; bytes++) {
        struct ends e;

        memset(in, (int)bytes, sizeof in);
        memset(out, 0xee, sizeof out);
        T_OK(filch_oneshot_new(bytes, &e.tx, &e.rx));
        T_OK(filch_oneshot_send(e.tx, in));
        T_OK(filch_oneshot_recv(e.rx, out, FILCH_NOW));
        T_OK(memcmp(in, out, bytes));
        T_IS(out[bytes], 0xee);
    }
}

/* ---- waiting ---- */

static int sends_seven(void *tx)
{
    return send(tx, 7);
}

static int drops(void *tx)
{
    return filch_oneshot_drop(tx);
}

static int receives(void *rx)
{
    return (int)recv_until(rx, T_LIMIT);
}

static int waits_for_closing(void *tx)
{
    return filch_oneshot_closed(tx, T_LIMIT);
}

static int waiters_are_woken(void *arg)
{
    struct ends e = ends_new();
    filch_task *task = spawn(receives, e.rx);

    (void)arg;
    let_others_run();
    T_OK(send(e.tx, 7));
    T_IS(join(task), 7);

    e = ends_new();
    task = spawn(receives, e.rx);
    let_others_run();
    T_OK(filch_oneshot_drop(e.tx));
    T_IS(join(task), -EPIPE);

    e = ends_new();
    task = spawn(sends_seven, e.tx);
    T_IS(recv_until(e.rx, T_LIMIT), 7);
    T_OK(join(task));

    e = ends_new();
    task = spawn(drops, e.tx);
    T_IS(recv_until(e.rx, T_LIMIT), -EPIPE);
    T_OK(join(task));

    e = ends_new();
    task = spawn(waits_for_closing, e.tx);
    let_others_run();
    T_IS(filch_oneshot_close(e.rx, NULL), -EPIPE);
    T_OK(join(task));
    T_IS(send(e.tx, 7), -EPIPE);
    return 0;
}

Test(oneshot, whoever_waits_is_woken)
{
    T_OK(run_in_runtime(0, waiters_are_woken, NULL));
}

static void *thread_receives(void *rx)
{
    return (void *)(intptr_t)recv_until(rx, T_LIMIT);
}

Test(oneshot, plain_threads_wait_as_well)
{
    struct ends e = ends_new();
    pthread_t thread;
    void *got;

    T_OK(pthread_create(&thread, NULL, thread_receives, e.rx));
    T_OK(send(e.tx, 7));
    T_OK(pthread_join(thread, &got));
    T_IS((intptr_t)got, 7);
}

/* One worker: whoever was spawned has run when let_others_run() is over. */
static int second_user_is_refused(void *arg)
{
    struct ends e = ends_new();
    filch_task *task = spawn(receives, e.rx);

    (void)arg;
    let_others_run();
    T_IS(recv_until(e.rx, FILCH_NEVER), -EBUSY);
    T_IS(filch_oneshot_close(e.rx, NULL), -EBUSY);
    T_OK(send(e.tx, 7));
    T_IS(join(task), 7);

    e = ends_new();
    task = spawn(waits_for_closing, e.tx);
    let_others_run();
    T_IS(filch_oneshot_closed(e.tx, FILCH_NEVER), -EBUSY);
    T_IS(send(e.tx, 7), -EBUSY);
    T_IS(filch_oneshot_drop(e.tx), -EBUSY);
    T_IS(filch_oneshot_close(e.rx, NULL), -EPIPE);
    T_OK(join(task));
    T_OK(filch_oneshot_drop(e.tx));
    return 0;
}

Test(oneshot, an_end_is_used_by_one_at_a_time)
{
    T_OK(run_in_runtime(1, second_user_is_refused, NULL));
}

/* ---- cancel ---- */

static int cancelled_wait_keeps_the_end(void *arg)
{
    struct ends e = ends_new();
    filch_task *task = spawn(receives, e.rx);

    (void)arg;
    let_others_run();
    T_OK(filch_task_cancel(task));
    T_IS(join(task), -ECANCELED);
    T_OK(send(e.tx, 7)); /* nobody waits: it is kept */
    T_IS(recv_until(e.rx, FILCH_NOW), 7);

    e = ends_new();
    task = spawn(receives, e.rx);
    T_OK(filch_task_cancel(task));
    T_OK(send(e.tx, 8)); /* before it runs: what is there is preferred */
    T_IS(join(task), 8);

    e = ends_new();
    task = spawn(waits_for_closing, e.tx);
    let_others_run();
    T_OK(filch_task_cancel(task));
    T_IS(join(task), -ECANCELED);
    T_OK(send(e.tx, 9));
    T_IS(recv_until(e.rx, FILCH_NOW), 9);
    return 0;
}

Test(oneshot, a_cancelled_wait_loses_nothing)
{
    T_OK(run_in_runtime(1, cancelled_wait_keeps_the_end, NULL));
}

static int woken_and_cancelled(void *arg)
{
    struct ends e = ends_new();
    filch_task *task = spawn(receives, e.rx);

    (void)arg;
    let_others_run();
    T_OK(send(e.tx, 7)); /* it is handed over, and has not run yet */
    T_OK(filch_task_cancel(task));
    T_IS(join(task), 7);
    return 0;
}

Test(oneshot, a_cancel_after_the_hand_over_comes_too_late)
{
    T_OK(run_in_runtime(1, woken_and_cancelled, NULL));
}

/* ---- select ---- */

static int selects(void *arg)
{
    struct ends a = ends_new(), b = ends_new();
    uint64_t value = 0, other = 4711;
    filch_case cases[3];
    filch_task *task;

    (void)arg;
    T_OK(send(b.tx, 7));
    T_IS(FILCH_SELECT(FILCH_NEVER, filch_case_oneshot(a.rx, &other),
                      filch_case_oneshot(b.rx, &value)),
         1);
    T_IS(value, 7);
    T_IS(other, 4711);
    T_IS(FILCH_SELECT(filch_after(FILCH_MILLISECOND), filch_case_oneshot(a.rx, &other),
                      filch_case_oneshot_closed(a.tx)),
         -ETIMEDOUT);

    /* Woken by a send, a drop, a close. */
    b = ends_new();
    task = spawn(sends_seven, a.tx);
    cases[0] = filch_case_oneshot(a.rx, &value);
    cases[1] = filch_case_oneshot_closed(b.tx);
    cases[2] = filch_case_at(T_LIMIT);
    value = 0;
    T_IS(filch_select(cases, 3, 0, FILCH_NEVER), 0);
    T_OK(cases[0].result);
    T_IS(value, 7);
    T_OK(join(task));

    a = ends_new();
    task = spawn(drops, a.tx);
    cases[0] = filch_case_oneshot(a.rx, &value);
    T_IS(filch_select(cases, 3, 0, FILCH_NEVER), 0);
    T_IS(cases[0].result, -EPIPE);
    T_OK(join(task));

    a = ends_new();
    T_IS(filch_oneshot_close(b.rx, NULL), -EPIPE);
    cases[0] = filch_case_oneshot(a.rx, &value);
    T_IS(filch_select(cases, 3, 0, FILCH_NEVER), 1);
    T_OK(cases[1].result);
    T_OK(filch_oneshot_drop(b.tx));

    /* Stale ends win with their error; NULL is no case. */
    T_IS(filch_select(cases, 3, 0, FILCH_NEVER), 1);
    T_IS(cases[1].result, -EBADF);
    cases[0] = filch_case_oneshot(b.rx, &value);
    T_IS(filch_select(cases, 1, 0, FILCH_NEVER), 0);
    T_IS(cases[0].result, -EBADF);
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_oneshot(NULL, &value)), -EINVAL);
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_oneshot(a.rx, NULL)), -EINVAL);
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_oneshot_closed(NULL)), -EINVAL);

    /* The same end twice: the second one is refused, and the first one is put back. */
    T_IS(FILCH_SELECT_FIRST(FILCH_NEVER, filch_case_oneshot(a.rx, &value),
                            filch_case_oneshot(a.rx, &other)),
         1);
    T_OK(send(a.tx, 9));
    T_IS(recv_until(a.rx, FILCH_NOW), 9);
    return 0;
}

Test(oneshot, selects_take_one_and_lose_none)
{
    T_OK(run_in_runtime(0, selects, NULL));
}

/* ---- futures ---- */

static filch_poll poll_once(filch_future *future)
{
    filch_waker nobody = {0};
    filch_cx cx = {.waker = &nobody};

    return future->poll(future, &cx);
}

Test(oneshot, a_future_receives)
{
    struct ends e = ends_new();
    filch_oneshot_future future;
    uint64_t value = 0;

    T_OK(filch_oneshot_future_init(&future, e.rx, &value));
    T_IS(poll_once(&future.base), FILCH_PENDING);
    T_IS(poll_once(&future.base), FILCH_PENDING);
    T_IS(recv_until(e.rx, FILCH_NEVER), -EBUSY);
    T_OK(send(e.tx, 7));
    T_IS(value, 0);
    T_IS(poll_once(&future.base), FILCH_READY);
    T_OK(future.base.result);
    T_IS(value, 7);
    T_IS(recv_until(e.rx, FILCH_NEVER), -EBADF);
    future.base.drop(&future.base);

    e = ends_new();
    T_OK(filch_oneshot_future_init(&future, e.rx, &value));
    T_IS(poll_once(&future.base), FILCH_PENDING);
    T_OK(filch_oneshot_drop(e.tx));
    T_IS(poll_once(&future.base), FILCH_READY);
    T_IS(future.base.result, -EPIPE);

    T_OK(filch_oneshot_future_init(&future, e.rx, &value));
    T_IS(poll_once(&future.base), FILCH_READY);
    T_IS(future.base.result, -EBADF);
    T_IS(filch_oneshot_future_init(NULL, e.rx, &value), -EINVAL);
    T_IS(filch_oneshot_future_init(&future, NULL, &value), -EINVAL);
    T_IS(filch_oneshot_future_init(&future, e.rx, NULL), -EINVAL);
}

Test(oneshot, a_future_that_is_dropped_leaves_the_value)
{
    struct ends e = ends_new();
    filch_oneshot_future future;
    uint64_t value = 4711;

    T_OK(filch_oneshot_future_init(&future, e.rx, &value));
    future.base.drop(&future.base); /* never polled */
    T_OK(filch_oneshot_future_init(&future, e.rx, &value));
    T_IS(poll_once(&future.base), FILCH_PENDING);
    future.base.drop(&future.base);
    memset(&future, 0xee, sizeof future); /* nobody has it any more */
    T_OK(filch_oneshot_future_init(&future, e.rx, &value));
    T_IS(poll_once(&future.base), FILCH_PENDING);
    T_OK(send(e.tx, 7));
    future.base.drop(&future.base); /* woken, and not polled */
    future.base.drop(&future.base);
    T_IS(value, 4711);
    T_IS(recv_until(e.rx, FILCH_NOW), 7);
}

Test(oneshot, a_future_waits_for_the_closing)
{
    struct ends e = ends_new();
    filch_oneshot_closed_future future;

    T_OK(filch_oneshot_closed_future_init(&future, e.tx));
    T_IS(poll_once(&future.base), FILCH_PENDING);
    T_IS(poll_once(&future.base), FILCH_PENDING);
    T_IS(send(e.tx, 7), -EBUSY);
    T_IS(filch_oneshot_close(e.rx, NULL), -EPIPE);
    T_IS(poll_once(&future.base), FILCH_READY);
    T_OK(future.base.result);
    T_OK(filch_oneshot_drop(e.tx));

    e = ends_new();
    T_OK(filch_oneshot_closed_future_init(&future, e.tx));
    T_IS(poll_once(&future.base), FILCH_PENDING);
    future.base.drop(&future.base);
    T_OK(send(e.tx, 7));
    T_OK(filch_oneshot_closed_future_init(&future, e.tx));
    T_IS(poll_once(&future.base), FILCH_READY);
    T_IS(future.base.result, -EBADF);
    T_IS(recv_until(e.rx, FILCH_NOW), 7);
    T_IS(filch_oneshot_closed_future_init(NULL, e.tx), -EINVAL);
    T_IS(filch_oneshot_closed_future_init(&future, NULL), -EINVAL);
}

static int awaits(void *arg)
{
    struct ends e = ends_new();
    filch_oneshot_future future;
    filch_task *task = spawn(sends_seven, e.tx);
    uint64_t value = 0;

    (void)arg;
    T_OK(filch_oneshot_future_init(&future, e.rx, &value));
    T_OK(filch_await(&future.base, T_LIMIT));
    T_IS(value, 7);
    T_OK(join(task));
    return 0;
}

Test(oneshot, tasks_await_the_future)
{
    T_OK(run_in_runtime(0, awaits, NULL));
}

/* ---- against a sequential model ---- */

struct modelled {
    struct ends ends;
    bool made, tx_over, rx_over, has_value;
    uint64_t value;
};

static bool both_over(struct modelled *m)
{
    return !m->made || (m->tx_over && m->rx_over);
}

static void model_end_tx(struct modelled *m, uint64_t value, bool sends)
{
    int want = both_over(m) || m->tx_over ? -EBADF : m->rx_over && sends ? -EPIPE : 0;

    T_IS(sends ? send(m->ends.tx, value) : filch_oneshot_drop(m->ends.tx), want);
    if (want == -EBADF)
        return;
    m->tx_over = true;
    m->has_value = sends && want == 0;
    m->value = value;
}

static void model_end_rx(struct modelled *m, bool closes)
{
    bool stale = both_over(m) || m->rx_over;
    int want = stale ? -EBADF : m->has_value ? 0 : m->tx_over || closes ? -EPIPE : -ETIMEDOUT;
    uint64_t value = 0;

    T_IS(closes ? filch_oneshot_close(m->ends.rx, &value)
                : filch_oneshot_recv(m->ends.rx, &value, FILCH_NOW),
         want);
    T_IS(value, want == 0 ? m->value : 0);
    m->rx_over |= want == 0 || want == -EPIPE;
}

static void model_step(struct modelled *m, uint64_t *seed)
{
    bool stale = both_over(m) || m->tx_over;

    switch (random_below(seed, 6)) {
    case 0:
        model_end_tx(m, random_next(seed) + 1, true);
        break;
    case 1:
        model_end_tx(m, 0, false);
        break;
    case 2:
        model_end_rx(m, false);
        break;
    case 3:
        model_end_rx(m, true);
        break;
    case 4:
        T_IS(filch_oneshot_closed(m->ends.tx, FILCH_NOW), stale        ? -EBADF
                                                          : m->rx_over ? 0
                                                                       : -ETIMEDOUT);
        break;
    default:
        if (both_over(m))
            *m = (struct modelled){.ends = ends_new(), .made = true};
    }
}

Test(oneshot, does_as_a_sequential_model)
{
    struct modelled m[16];
    uint64_t seed = 1;

    for (unsigned i = 0; i < 16; i++)
        m[i] = (struct modelled){.ends = ends_new(), .made = true};
    for (unsigned long i = 0; i < 16 * test_ops(); i++)
        model_step(&m[random_below(&seed, 16)], &seed);
}

/* ---- a crowd ---- */

struct crowd_state {
    filch_chan *posted; /* senders' ends */
    atomic_long to_ask;
    atomic_long asking;
    atomic_ulong sent, received, numbers;
};

static void answer(struct crowd_state *state, filch_oneshot_tx *tx, uint64_t *seed)
{
    uint64_t value = random_next(seed) + 1;
    int r = 0;

    switch (random_below(seed, 8)) {
    case 0:
        T_OK(filch_oneshot_drop(tx));
        return;
    case 1:
        r = filch_oneshot_closed(tx, filch_after(random_below(seed, 50) * 1000));
        T_CHECK(r == 0 || r == -ETIMEDOUT);
        break;
    case 2:
        r = FILCH_SELECT(filch_after(random_below(seed, 50) * 1000), filch_case_oneshot_closed(tx));
        T_CHECK(r == 0 || r == -ETIMEDOUT);
        break;
    default:
        if (random_below(seed, 4) == 0)
            filch_task_yield();
    }
    if (r == 0 && random_below(seed, 2)) {
        filch_oneshot_closed_future future;

        T_OK(filch_oneshot_closed_future_init(&future, tx));
        r = filch_await(&future.base, FILCH_NOW);
        T_CHECK(r == 0 || r == -ETIMEDOUT);
        future.base.drop(&future.base);
    }
    r = filch_oneshot_send(tx, &value);
    T_CHECK(r == 0 || r == -EPIPE);
    if (r == 0)
        atomic_fetch_add(&state->sent, value);
}

static int receive_somehow(filch_oneshot_rx *rx, uint64_t *value, uint64_t *seed)
{
    filch_time soon = filch_after(random_below(seed, 50) * 1000);
    filch_oneshot_future future;
    filch_case c;
    int r;

    switch (random_below(seed, 4)) {
    case 0:
        return filch_oneshot_recv(rx, value, FILCH_NEVER);
    case 1:
        return filch_oneshot_recv(rx, value, soon);
    case 2:
        c = filch_case_oneshot(rx, value);
        r = filch_select(&c, 1, 0, soon);
        return r == 0 ? c.result : r;
    default:
        T_OK(filch_oneshot_future_init(&future, rx, value));
        r = filch_await(&future.base, soon);
        future.base.drop(&future.base);
        return r;
    }
}

static void ask(struct crowd_state *state, uint64_t *seed)
{
    struct ends e = ends_new();
    uint64_t value = 0;
    int r;

    T_OK(filch_chan_send(state->posted, &e.tx, FILCH_NEVER));
    r = receive_somehow(e.rx, &value, seed);
    if (r == -ETIMEDOUT)
        r = random_below(seed, 2) ? filch_oneshot_close(e.rx, &value)
                                  : filch_oneshot_recv(e.rx, &value, FILCH_NEVER);
    T_CHECK(r == 0 || r == -EPIPE);
    T_CHECK(r == 0 || value == 0);
    atomic_fetch_add(&state->received, value);
}

static int asks_or_answers(void *arg)
{
    struct crowd_state *state = arg;
    unsigned long number = atomic_fetch_add(&state->numbers, 1);
    uint64_t seed = number * 131071;
    filch_oneshot_tx *tx;

    if (number % 2) {
        while (filch_chan_recv(state->posted, &tx, FILCH_NEVER) == 0)
            answer(state, tx, &seed);
        return 0;
    }
    while (atomic_fetch_sub(&state->to_ask, 1) > 0)
        ask(state, &seed);
    if (atomic_fetch_sub(&state->asking, 1) == 1)
        T_OK(filch_chan_close(state->posted));
    return 0;
}

static void crowd(unsigned workers)
{
    struct crowd_state state = {0};

    T_OK(filch_chan_new(sizeof(filch_oneshot_tx *), FILCH_CHAN_UNBOUNDED, &state.posted));
    atomic_init(&state.to_ask, (long)test_ops() / 2);
    atomic_init(&state.asking, 5);
    crowd_run(workers, 8, 2, asks_or_answers, &state);
    T_IS(atomic_load(&state.sent), atomic_load(&state.received));
    T_CHECK(atomic_load(&state.sent) > 0);
    filch_chan_unref(state.posted);
}

Test(oneshot, no_value_is_lost_or_doubled)
{
    crowd(1);
    crowd(2);
    crowd(8);
}
