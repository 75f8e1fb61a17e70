/* Description: pinned tasks (filch_task_opts.pinned): from beginning to end on one thread, whoever
 * wakes them, whatever the other workers do. */
#include <errno.h>
#include <fenv.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

#ifdef T_SANITIZED
enum { ROUNDS = 2000 };
#else
enum { ROUNDS = 20000 };
#endif

TestSuite(pinned, .timeout = 120);

static const filch_task_opts pinned = {.pinned = true};

static filch_task *spawn_pinned(filch_fn fn, void *arg)
{
    filch_task *task = NULL;

    T_OK(filch_task_spawn(fn, arg, &pinned, &task));
    return task;
}

static int report_thread(void *arg)
{
    *(pid_t *)arg = gettid();
    return 0;
}

static int workers_body(void *arg)
{
    unsigned workers = test_workers();
    pid_t by_number[64], again, in_turn[64];

    (void)arg;
    for (unsigned i = 0; i < workers; i++) {
        filch_task_opts opts = {.pinned = true, .worker = i + 1};
        filch_task *task;

        T_OK(filch_task_spawn(report_thread, &by_number[i], &opts, &task));
        T_OK(join(task));
        T_OK(filch_task_spawn(report_thread, &again, &opts, &task));
        T_OK(join(task));
        T_IS(again, by_number[i]);
        for (unsigned k = 0; k < i; k++)
            T_CHECK(by_number[k] != by_number[i]);
        T_OK(join(spawn_pinned(report_thread, &in_turn[i])));
    }
    /* Those that name no worker are spread over all. */
    for (unsigned i = 0; i < workers; i++)
        for (unsigned k = 0; k < i; k++)
            T_CHECK(in_turn[k] != in_turn[i]);
    return 0;
}

Test(pinned, worker_is_the_one_that_was_named_or_the_next_in_turn)
{
    cr_assert_eq(run_in_runtime(0, workers_body, NULL), 0);
}

/* The option for floating-point control is not lost on pinned ones. */
static int round_up_and_yield(void *arg)
{
    (void)arg;
    T_OK(fesetround(FE_UPWARD));
    for (int i = 0; i < 100; i++) {
        filch_task_yield();
        T_IS(fegetround(), FE_UPWARD);
    }
    return 0;
}

static int round_nearest_and_yield(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100; i++) {
        T_IS(fegetround(), FE_TONEAREST);
        filch_task_yield();
    }
    return 0;
}

static int own_rounding_body(void *arg)
{
    filch_task_opts opts = {.pinned = true, .worker = 1, .save_fp = true};
    FILCH_SCOPE(scope);

    (void)arg;
    for (int i = 0; i < 10; i++)
        T_OK(filch_scope_spawn_opts(&scope, i % 2 ? round_up_and_yield : round_nearest_and_yield,
                                    NULL, &opts));
    return filch_scope_join(&scope, FILCH_NEVER);
}

Test(pinned, floating_point_control_is_kept_too)
{
    cr_assert_eq(run_in_runtime(0, own_rounding_body, NULL), 0);
}

static int never_runs(void *arg)
{
    (void)arg;
    T_CHECK(!"it was refused");
    return 0;
}

static int refused_body(void *arg)
{
    filch_task_opts unknown = {.pinned = true, .worker = test_workers() + 1};
    filch_task_opts alone = {.worker = test_workers() + 1};
    FILCH_SCOPE(scope);

    (void)arg;
    T_IS(filch_task_spawn(never_runs, NULL, &unknown, NULL), -EINVAL);
    T_IS(filch_task_spawn(never_runs, NULL, &alone, NULL), -EINVAL);
    T_IS(filch_scope_spawn_opts(&scope, never_runs, NULL, &unknown), -EINVAL);
    T_IS(filch_runtime_spawn(filch_runtime_self(), never_runs, NULL, &unknown, NULL), -EINVAL);
    T_IS(filch_blocking_spawn(never_runs, NULL, &pinned, NULL), -EINVAL);
    return 0;
}

Test(pinned, worker_that_does_not_exist_is_refused)
{
    cr_assert_eq(run_in_runtime(0, refused_body, NULL), 0);
}

/* Ping-pong over channels of capacity 1, between pinned tasks of different workers, with a yield
 * and now and then a sleep on top. */
struct player {
    filch_chan *in, *out;
};

static int play(void *arg)
{
    struct player *player = arg;
    pid_t thread = gettid();
    int ball;

    for (int i = 0; i < ROUNDS; i++) {
        T_OK(filch_chan_recv(player->in, &ball, FILCH_NEVER));
        T_IS(gettid(), thread);
        filch_task_yield();
        T_IS(gettid(), thread);
        if (i % 256 == 0) {
            T_OK(filch_sleep(filch_after(20 * FILCH_MICROSECOND)));
            T_IS(gettid(), thread);
        }
        T_OK(filch_chan_send(player->out, &ball, FILCH_NEVER));
        T_IS(gettid(), thread);
    }
    return 0;
}

static int ring_of_players(void *arg)
{
    enum { N = 5 };
    filch_chan *chan[N];
    struct player player[N];
    FILCH_SCOPE(scope);
    int ball = 0;

    (void)arg;
    for (int i = 0; i < N; i++)
        T_OK(filch_chan_new(sizeof(int), 1, &chan[i]));
    for (int i = 0; i < N; i++) {
        player[i] = (struct player){.in = chan[i], .out = chan[(i + 1) % N]};
        if (i != 2)
            T_OK(filch_scope_spawn_opts(&scope, play, &player[i], &pinned));
    }
    /* One place is ours, and we may move. */
    T_OK(filch_chan_send(chan[3], &ball, FILCH_NEVER));
    for (int i = 0; i < ROUNDS - 1; i++) {
        T_OK(filch_chan_recv(chan[2], &ball, FILCH_NEVER));
        T_OK(filch_chan_send(chan[3], &ball, FILCH_NEVER));
    }
    T_OK(filch_chan_recv(chan[2], &ball, FILCH_NEVER));
    T_OK(filch_scope_join(&scope, FILCH_NEVER));
    for (int i = 0; i < N; i++)
        filch_chan_unref(chan[i]);
    return 0;
}

Test(pinned, thread_stays_over_a_hundred_thousand_waits)
{
    cr_assert_eq(run_in_runtime(0, ring_of_players, NULL), 0);
}

/* Alone on one worker with all others idle: nobody takes it away. */
static int yield_alone(void *arg)
{
    pid_t thread = gettid();

    (void)arg;
    for (int i = 0; i < 5 * ROUNDS; i++) {
        filch_task_yield();
        T_IS(gettid(), thread);
    }
    return 0;
}

static int many_yield_body(void *arg)
{
    FILCH_SCOPE(scope);

    (void)arg;
    for (int i = 0; i < 3; i++) {
        filch_task_opts opts = {.pinned = true, .worker = 1};

        T_OK(filch_scope_spawn_opts(&scope, yield_alone, NULL, &opts));
    }
    return filch_scope_join(&scope, FILCH_NEVER);
}

Test(pinned, idle_workers_take_none_of_many_on_one_worker)
{
    cr_assert_eq(run_in_runtime(0, many_yield_body, NULL), 0);
}

/* A worker full of unpinned work still runs its pinned tasks, and the other way round. */
static int spin_until_set(void *arg)
{
    while (!atomic_load((atomic_int *)arg))
        filch_task_yield();
    return 0;
}

static int set_it(void *arg)
{
    for (int i = 0; i < 100; i++)
        filch_task_yield();
    atomic_store((atomic_int *)arg, 1);
    return 0;
}

static int share_body(void *arg)
{
    atomic_int set = 0;
    FILCH_SCOPE(scope);

    (void)arg;
    for (int i = 0; i < 50; i++)
        T_OK(filch_scope_spawn(&scope, spin_until_set, &set));
    T_OK(filch_scope_spawn_opts(&scope, set_it, &set, &pinned));
    T_OK(filch_scope_join(&scope, T_LIMIT));
    atomic_store(&set, 0);
    for (int i = 0; i < 50; i++)
        T_OK(filch_scope_spawn_opts(&scope, spin_until_set, &set, &pinned));
    T_OK(filch_scope_spawn(&scope, set_it, &set));
    T_OK(filch_scope_join(&scope, T_LIMIT));
    return 0;
}

Test(pinned, pinned_and_others_share_a_worker)
{
    cr_assert_eq(run_in_runtime(0, share_body, NULL), 0);
}

/* Woken by a thread that is no worker. */
static int recv_all(void *arg)
{
    pid_t thread = gettid();
    int value;
    int sum = 0;

    while (filch_chan_recv(arg, &value, FILCH_NEVER) == 0) {
        T_IS(gettid(), thread);
        sum += value;
    }
    return sum;
}

Test(pinned, wakes_from_plain_threads_reach_the_worker)
{
    filch_runtime *rt = start_runtime(0);
    filch_chan *chan;
    filch_task *task[4];
    int total = 0;
    int one = 1;

    T_OK(filch_chan_new(sizeof(int), 1, &chan));
    for (int i = 0; i < 4; i++)
        T_OK(filch_runtime_spawn(rt, recv_all, chan, &pinned, &task[i]));
    for (int i = 0; i < ROUNDS; i++)
        T_OK(filch_chan_send(chan, &one, T_LIMIT));
    T_OK(filch_chan_close(chan));
    for (int i = 0; i < 4; i++)
        total += join(task[i]);
    cr_assert_eq(total, ROUNDS);
    stop_runtime(rt);
    filch_chan_unref(chan);
}

/* Each wake finds a parked worker: it is that worker that must be woken, not any. */
static int send_slowly(void *arg)
{
    int one = 1;

    for (int i = 0; i < 100; i++) {
        T_OK(filch_sleep(filch_after(200 * FILCH_MICROSECOND)));
        T_OK(filch_chan_send(arg, &one, T_LIMIT));
    }
    return filch_chan_close(arg);
}

static int parked_worker_body(void *arg)
{
    filch_task_opts last = {.pinned = true, .worker = test_workers()};
    filch_task_opts first = {.pinned = true, .worker = 1};
    filch_task *receiver, *sender;
    filch_chan *chan;

    (void)arg;
    T_OK(filch_chan_new(sizeof(int), 1, &chan));
    T_OK(filch_task_spawn(recv_all, chan, &last, &receiver));
    T_OK(filch_task_spawn(send_slowly, chan, &first, &sender));
    T_IS(join(receiver), 100);
    T_OK(join(sender));
    filch_chan_unref(chan);
    return 0;
}

Test(pinned, parked_worker_is_woken_for_its_own_task)
{
    cr_assert_eq(run_in_runtime(0, parked_worker_body, NULL), 0);
}

static int counts_its_end(void *arg)
{
    pid_t thread = gettid();
    int r = filch_sleep(FILCH_NEVER);

    T_IS(r, -ECANCELED);
    T_IS(gettid(), thread);
    atomic_fetch_add((atomic_int *)arg, 1);
    return r;
}

Test(pinned, shutdown_ends_parked_ones)
{
    filch_runtime *rt = start_runtime_with_threads(0);
    atomic_int ended = 0;

    for (int i = 0; i < 1000; i++)
        T_OK(filch_runtime_spawn(rt, counts_its_end, &ended, &pinned, NULL));
    stop_runtime(rt);
    cr_assert_eq(ended, 1000);
}

static int cancel_body(void *arg)
{
    atomic_int ended = 0;

    (void)arg;
    for (int round = 0; round < 20; round++) {
        FILCH_SCOPE(scope);

        atomic_store(&ended, 0);
        for (int i = 0; i < 50; i++)
            T_OK(filch_scope_spawn_opts(&scope, counts_its_end, &ended, &pinned));
        for (int i = 0; i < 10 * round; i++)
            filch_task_yield();
        filch_scope_cancel_join(&scope);
        T_IS(ended, 50);
    }
    return 0;
}

Test(pinned, cancel_reaches_them)
{
    cr_assert_eq(run_in_runtime(0, cancel_body, NULL), 0);
}

/* Everything at once: a crowd of pinned and other tasks over one channel; what is sent arrives. */
struct crowd {
    filch_chan *chan;
    atomic_long received;
};

static int crowd_sender(void *arg)
{
    struct crowd *crowd = arg;

    for (int i = 1; i <= 200; i++) {
        T_OK(filch_chan_send(crowd->chan, &i, FILCH_NEVER));
        if (i % 50 == 0)
            T_OK(filch_sleep(filch_after(FILCH_MICROSECOND)));
    }
    return 0;
}

static int crowd_receiver(void *arg)
{
    struct crowd *crowd = arg;
    int value;

    while (filch_chan_recv(crowd->chan, &value, FILCH_NEVER) == 0)
        atomic_fetch_add(&crowd->received, value);
    return 0;
}

static int crowd_body(void *arg)
{
    struct crowd crowd = {.received = 0};
    FILCH_SCOPE(senders);
    FILCH_SCOPE(receivers);

    (void)arg;
    T_OK(filch_chan_new(sizeof(int), 4, &crowd.chan));
    for (int i = 0; i < 40; i++) {
        T_OK(filch_scope_spawn_opts(&receivers, crowd_receiver, &crowd, i % 3 ? &pinned : NULL));
        T_OK(filch_scope_spawn_opts(&senders, crowd_sender, &crowd, i % 2 ? &pinned : NULL));
    }
    T_OK(filch_scope_join(&senders, FILCH_NEVER));
    T_OK(filch_chan_close(crowd.chan));
    T_OK(filch_scope_join(&receivers, FILCH_NEVER));
    T_IS(crowd.received, 40L * 200 * 201 / 2);
    filch_chan_unref(crowd.chan);
    return 0;
}

Test(pinned, crowd_of_pinned_and_others_loses_nothing)
{
    for (int i = 0; i < 5; i++)
        cr_assert_eq(run_in_runtime(0, crowd_body, NULL), 0);
}

/* I/O completions come from the worker's own ring, or from whoever reaps it. */
static int echo_once(void *arg)
{
    pid_t thread = gettid();
    filch_tcp *conn = arg;
    char buf[16];

    for (int i = 0; i < 200; i++) {
        T_OK(filch_tcp_read_exact(conn, buf, sizeof(buf), NULL, T_LIMIT));
        T_IS(gettid(), thread);
        T_OK(filch_tcp_write_all(conn, buf, sizeof(buf), NULL, T_LIMIT));
        T_IS(gettid(), thread);
    }
    return filch_tcp_close(conn);
}

static int tcp_body(void *arg)
{
    char addr[FILCH_ADDR_BYTES], buf[16] = "0123456789abcde";
    filch_listener *listener;
    filch_tcp *client, *server;
    filch_task *task;

    (void)arg;
    T_OK(filch_listener_open("127.0.0.1:0", NULL, &listener));
    T_OK(filch_listener_addr(listener, addr));
    T_OK(filch_tcp_connect(addr, &client, T_LIMIT));
    T_OK(filch_listener_accept(listener, &server, T_LIMIT));
    task = spawn_pinned(echo_once, server);
    for (int i = 0; i < 200; i++) {
        T_OK(filch_tcp_write_all(client, buf, sizeof(buf), NULL, T_LIMIT));
        T_OK(filch_tcp_read_exact(client, buf, sizeof(buf), NULL, T_LIMIT));
    }
    T_OK(join(task));
    T_OK(filch_tcp_close(client));
    return filch_listener_close(listener);
}

Test(pinned, io_works_as_elsewhere)
{
    cr_assert_eq(run_in_runtime(0, tcp_body, NULL), 0);
}

/* ---- placed: begins on a worker, and is an ordinary task from then on ---- */

static pthread_t placed_on[8];

static int notes_its_thread(void *arg)
{
    placed_on[*(unsigned *)arg] = pthread_self();
    return 0;
}

static int notes_and_moves_on(void *arg)
{
    unsigned worker = *(unsigned *)arg;

    T_CHECK(pthread_equal(placed_on[worker], pthread_self()));
    filch_task_yield();
    T_OK(filch_sleep(filch_after(FILCH_MICROSECOND)));
    return (int)worker;
}

static int places(void *arg)
{
    unsigned workers = test_workers();

    (void)arg;
    for (unsigned i = 0; i < workers; i++) {
        filch_task_opts home = {.pinned = true, .worker = i + 1};
        filch_task_opts placed = {.worker = i + 1};
        filch_task *task;

        T_OK(filch_task_spawn(notes_its_thread, &i, &home, &task));
        T_OK(join(task));
        for (int n = 0; n < 50; n++) {
            T_OK(filch_task_spawn(notes_and_moves_on, &i, &placed, &task));
            T_IS(join(task), (int)i);
        }
    }
    return 0;
}

Test(pinned, one_that_is_only_placed_begins_on_its_worker)
{
    cr_assert_eq(run_in_runtime(0, places, NULL), 0);
}

static int is_cancelled_before_it_begins(void *arg)
{
    (void)arg;
    T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    return 1;
}

static int cancels_a_placed_one(void *arg)
{
    filch_task *task;

    (void)arg;
    T_OK(filch_task_spawn(is_cancelled_before_it_begins, NULL,
                          &(filch_task_opts){.worker = test_workers()}, &task));
    T_OK(filch_task_cancel(task));
    return join(task);
}

Test(pinned, a_placed_one_that_is_cancelled_first_runs_all_the_same)
{
    for (int i = 0; i < 20; i++)
        cr_assert_eq(run_in_runtime(0, cancels_a_placed_one, NULL), 1);
}
