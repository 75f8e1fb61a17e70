/* Description: what <filch/chan.h> promises: order, back-pressure, close, and that no message is
 * lost or doubled, whatever is cancelled. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(chan, .timeout = 60);

static filch_chan *chan_new(size_t bytes, size_t capacity)
{
    filch_chan *chan = NULL;

    T_OK(filch_chan_new(bytes, capacity, &chan));
    T_CHECK(chan != NULL);
    return chan;
}

Test(chan, bad_arguments_are_refused)
{
    filch_chan *chan = NULL;
    int msg = 0;

    cr_assert_eq(filch_chan_new(0, 1, &chan), -EINVAL);
    cr_assert_eq(filch_chan_new(65537, 1, &chan), -EINVAL);
    cr_assert_eq(filch_chan_new(4, 0, &chan), -EINVAL);
    cr_assert_eq(filch_chan_new(4, 1, NULL), -EINVAL);
    cr_assert_eq(filch_chan_new(65536, SIZE_MAX / 65536, &chan), -ENOMEM);
    cr_assert_eq(filch_chan_new(65536, SIZE_MAX - 1, &chan), -ENOMEM);
    cr_assert_null(chan);
    filch_chan_unref(NULL);
    chan = chan_new(sizeof(int), 1);
    cr_assert_eq(filch_chan_send(NULL, &msg, FILCH_NOW), -EINVAL);
    cr_assert_eq(filch_chan_send(chan, NULL, FILCH_NOW), -EINVAL);
    cr_assert_eq(filch_chan_recv(NULL, &msg, FILCH_NOW), -EINVAL);
    cr_assert_eq(filch_chan_recv(chan, NULL, FILCH_NOW), -EINVAL);
    cr_assert_eq(filch_chan_close(NULL), -EINVAL);
    filch_chan_unref(chan);
}

/* Single-threaded, so it also runs without a runtime: fill, drain, and half of each, around the
 * ring's end many times. */
static void check_fifo(size_t capacity, unsigned most)
{
    filch_chan *chan = chan_new(sizeof(unsigned), capacity);
    unsigned next_in = 0;
    unsigned next_out = 0;
    unsigned msg;

    for (unsigned round = 0; round < 400; round++) {
        unsigned in = round * 7 % (most + 1);
        unsigned out = round * 5 % (most + 1);

        while (in-- > 0 && next_in - next_out < most) {
            T_OK(filch_chan_send(chan, &next_in, FILCH_NOW));
            next_in++;
        }
        while (out-- > 0 && next_out < next_in) {
            T_OK(filch_chan_recv(chan, &msg, FILCH_NOW));
            T_IS(msg, next_out);
            next_out++;
        }
        T_IS(filch_chan_len(chan), next_in - next_out);
    }
    filch_chan_unref(chan);
}

Test(chan, messages_come_out_in_order)
{
    check_fifo(1, 1);
    check_fifo(3, 3);
    check_fifo(128, 128);
    check_fifo(FILCH_CHAN_UNBOUNDED, 64);
    check_fifo(FILCH_CHAN_UNBOUNDED, 1000);
}

Test(chan, every_message_size_is_copied_whole)
{
    static const size_t sizes[] = {1, 3, 8, 9, 64, 4097, 65536};
    static unsigned char in[65536 + 16];
    static unsigned char out[65536 + 16];

    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
        filch_chan *chan = chan_new(sizes[s], 3);

        for (unsigned round = 0; round < 5; round++) {
            for (size_t i = 0; i < sizes[s]; i++)
                in[i] = (unsigned char)(i * 31 + round);
            memset(out, 0xaa, sizeof(out));
            T_OK(filch_chan_send(chan, in, FILCH_NOW));
            T_OK(filch_chan_recv(chan, out, FILCH_NOW));
            T_OK(memcmp(in, out, sizes[s]));
            T_IS(out[sizes[s]], 0xaa);
        }
        filch_chan_unref(chan);
    }
}

Test(chan, misaligned_messages_are_allowed)
{
    filch_chan *chan = chan_new(8, 2);
    unsigned char buffer[24] = "0123456789abcdef";
    unsigned char out[24];

    T_OK(filch_chan_send(chan, buffer + 1, FILCH_NOW));
    T_OK(filch_chan_recv(chan, out + 3, FILCH_NOW));
    cr_assert_eq(memcmp(out + 3, "12345678", 8), 0);
    filch_chan_unref(chan);
}

Test(chan, now_times_out_when_full_or_empty_and_writes_nothing)
{
    filch_chan *chan = chan_new(sizeof(int), 2);
    int msg = 1;

    cr_assert_eq(filch_chan_recv(chan, &msg, FILCH_NOW), -ETIMEDOUT);
    cr_assert_eq(filch_chan_recv(chan, &msg, 1), -ETIMEDOUT);
    cr_assert_eq(filch_chan_recv(chan, &msg, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    cr_assert_eq(msg, 1);
    T_OK(filch_chan_send(chan, &msg, FILCH_NOW));
    T_OK(filch_chan_send(chan, &msg, FILCH_NOW));
    cr_assert_eq(filch_chan_send(chan, &msg, FILCH_NOW), -ETIMEDOUT);
    cr_assert_eq(filch_chan_send(chan, &msg, 1), -ETIMEDOUT);
    cr_assert_eq(filch_chan_send(chan, &msg, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    cr_assert_eq(filch_chan_len(chan), 2);
    filch_chan_unref(chan);
}

Test(chan, close_lets_receivers_drain)
{
    filch_chan *chan = chan_new(sizeof(int), FILCH_CHAN_UNBOUNDED);
    int msg;

    for (int i = 0; i < 200; i++)
        T_OK(filch_chan_send(chan, &i, FILCH_NEVER));
    T_OK(filch_chan_close(chan));
    T_OK(filch_chan_close(chan));
    msg = 5;
    cr_assert_eq(filch_chan_send(chan, &msg, FILCH_NEVER), -EPIPE);
    cr_assert_eq(filch_chan_send(chan, &msg, FILCH_NOW), -EPIPE);
    for (int i = 0; i < 200; i++) {
        T_OK(filch_chan_recv(chan, &msg, FILCH_NEVER));
        cr_assert_eq(msg, i);
    }
    cr_assert_eq(filch_chan_recv(chan, &msg, FILCH_NEVER), -EPIPE);
    cr_assert_eq(filch_chan_recv(chan, &msg, FILCH_NOW), -EPIPE);
    cr_assert_eq(msg, 199);
    filch_chan_unref(chan);
}

Test(chan, last_reference_frees_what_is_queued)
{
    filch_chan *chan = chan_new(100, FILCH_CHAN_UNBOUNDED);
    unsigned char msg[100] = {0};

    cr_assert_eq(filch_chan_ref(chan), chan);
    for (int i = 0; i < 1000; i++)
        T_OK(filch_chan_send(chan, msg, FILCH_NEVER));
    filch_chan_unref(chan);
    T_OK(filch_chan_recv(chan, msg, FILCH_NOW));
    cr_assert_eq(filch_chan_len(chan), 999);
    filch_chan_unref(chan); /* the leak checkers have the last word */
}

struct party {
    filch_chan *chan;
    atomic_int arrived;
    int expected;
    int messages;
    atomic_ullong sum;
    atomic_int count;
    atomic_int received;
};

static int recv_expecting(void *arg)
{
    struct party *party = arg;
    int msg = 99;

    atomic_fetch_add(&party->arrived, 1);
    T_IS(filch_chan_recv(party->chan, &msg, FILCH_NEVER), party->expected);
    T_CHECK(party->expected == 0 || msg == 99);
    return 0;
}

static int send_expecting(void *arg)
{
    struct party *party = arg;
    int msg = 1;

    atomic_fetch_add(&party->arrived, 1);
    T_IS(filch_chan_send(party->chan, &msg, FILCH_NEVER), party->expected);
    return 0;
}

static int close_wakes_body(void *arg)
{
    struct party receivers = {.chan = chan_new(sizeof(int), 1), .expected = -EPIPE};
    struct party senders = {.chan = chan_new(sizeof(int), 1), .expected = -EPIPE};
    int msg = 7;
    filch_scope scope;

    (void)arg;
    filch_scope_init(&scope, 0);
    T_OK(filch_chan_send(senders.chan, &msg, FILCH_NEVER));
    for (int i = 0; i < 50; i++) {
        T_OK(filch_scope_spawn(&scope, recv_expecting, &receivers));
        T_OK(filch_scope_spawn(&scope, send_expecting, &senders));
    }
    T_WAIT_UNTIL(atomic_load(&receivers.arrived) == 50 && atomic_load(&senders.arrived) == 50);
    let_others_run();
    T_OK(filch_chan_close(receivers.chan));
    T_OK(filch_chan_close(senders.chan));
    T_OK(filch_scope_join(&scope, T_LIMIT));
    /* The message that was in before is still there, and nothing else. */
    T_IS(filch_chan_len(senders.chan), 1);
    T_OK(filch_chan_recv(senders.chan, &msg, FILCH_NOW));
    T_IS(msg, 7);
    filch_chan_unref(receivers.chan);
    filch_chan_unref(senders.chan);
    return 0;
}

Test(chan, close_wakes_all_who_wait)
{
    cr_assert_eq(run_in_runtime(0, close_wakes_body, NULL), 0);
}

/* The root never yields between spawns on one worker, so senders wait in the order of their spawn.
 */
static int send_number(void *arg)
{
    const struct party *party = arg;
    int msg = party->messages;

    T_OK(filch_chan_send(party->chan, &msg, FILCH_NEVER));
    return 0;
}

static int fair_senders_body(void *arg)
{
    struct party party = {.chan = chan_new(sizeof(int), 2)};
    filch_task_opts opts = {.copy_bytes = sizeof(party)};
    filch_task *task[20];
    int msg;

    (void)arg;
    for (int i = 0; i < 20; i++) {
        party.messages = i;
        T_OK(filch_task_spawn(send_number, &party, &opts, &task[i]));
        /* Until it has sent or waits. */
        let_others_run();
    }
    for (int i = 0; i < 20; i++) {
        T_OK(filch_chan_recv(party.chan, &msg, FILCH_NEVER));
        T_IS(msg, i);
    }
    for (int i = 0; i < 20; i++)
        T_OK(join(task[i]));
    filch_chan_unref(party.chan);
    return 0;
}

Test(chan, waiting_senders_are_served_in_order)
{
    cr_assert_eq(run_in_runtime(1, fair_senders_body, NULL), 0);
}

static int recv_number(void *arg)
{
    int msg = -1;

    T_OK(filch_chan_recv(arg, &msg, FILCH_NEVER));
    return msg;
}

static int fair_receivers_body(void *arg)
{
    filch_chan *chan = chan_new(sizeof(int), 2);
    filch_task *task[20];

    (void)arg;
    for (int i = 0; i < 20; i++) {
        task[i] = spawn(recv_number, chan);
        let_others_run();
    }
    for (int i = 0; i < 20; i++)
        T_OK(filch_chan_send(chan, &i, FILCH_NEVER));
    /* All were handed over directly: the channel was never filled. */
    T_IS(filch_chan_len(chan), 0);
    for (int i = 0; i < 20; i++)
        T_IS(join(task[i]), i);
    filch_chan_unref(chan);
    return 0;
}

Test(chan, waiting_receivers_are_served_in_order)
{
    cr_assert_eq(run_in_runtime(1, fair_receivers_body, NULL), 0);
}

static int send_many(void *arg)
{
    struct party *party = arg;

    for (int i = 0; i < party->messages; i++) {
        T_OK(filch_chan_send(party->chan, &i, FILCH_NEVER));
        atomic_fetch_add(&party->count, 1);
    }
    return 0;
}

static int back_pressure_body(void *arg)
{
    struct party party = {.chan = chan_new(sizeof(int), 4), .messages = 1000};
    filch_task *sender = spawn(send_many, &party);
    int msg;

    (void)arg;
    for (int i = 0; i < 1000; i++) {
        if (i % 100 == 0)
            let_others_run();
        /* Received, queued, and one that waits: no more can have gone in. */
        T_CHECK(atomic_load(&party.count) <= i + 5);
        T_CHECK(filch_chan_len(party.chan) <= 4);
        T_OK(filch_chan_recv(party.chan, &msg, FILCH_NEVER));
        T_IS(msg, i);
    }
    T_OK(join(sender));
    filch_chan_unref(party.chan);
    return 0;
}

Test(chan, full_channel_holds_its_sender_back)
{
    cr_assert_eq(run_in_runtime(0, back_pressure_body, NULL), 0);
}

static int recv_deadline_body(void *arg)
{
    filch_chan *chan = chan_new(sizeof(int), 1);
    filch_time until = filch_after(5 * FILCH_MILLISECOND);
    int msg = 3;

    (void)arg;
    T_IS(filch_chan_recv(chan, &msg, until), -ETIMEDOUT);
    T_CHECK(filch_now() >= until);
    T_OK(filch_chan_send(chan, &msg, FILCH_NOW));
    until = filch_after(5 * FILCH_MILLISECOND);
    T_IS(filch_chan_send(chan, &msg, until), -ETIMEDOUT);
    T_CHECK(filch_now() >= until);
    T_IS(filch_chan_len(chan), 1);
    filch_chan_unref(chan);
    return 0;
}

Test(chan, deadline_ends_a_wait)
{
    cr_assert_eq(run_in_runtime(0, recv_deadline_body, NULL), 0);
}

static int cancel_waiters_body(void *arg)
{
    struct party party = {.chan = chan_new(sizeof(int), 1), .expected = -ECANCELED};
    filch_task *receiver;
    filch_task *sender;
    int msg = 1;

    (void)arg;
    for (int i = 0; i < 200; i++) {
        receiver = spawn(recv_expecting, &party);
        for (int k = 0; k < i % 4; k++)
            filch_task_yield();
        T_OK(filch_task_cancel(receiver));
        T_OK(join(receiver));
    }
    T_OK(filch_chan_send(party.chan, &msg, FILCH_NOW));
    for (int i = 0; i < 200; i++) {
        sender = spawn(send_expecting, &party);
        for (int k = 0; k < i % 4; k++)
            filch_task_yield();
        T_OK(filch_task_cancel(sender));
        T_OK(join(sender));
    }
    T_IS(filch_chan_len(party.chan), 1);
    filch_chan_unref(party.chan);
    return 0;
}

Test(chan, cancelled_waiters_leave_without_a_trace)
{
    cr_assert_eq(run_in_runtime(0, cancel_waiters_body, NULL), 0);
}

static int cancelled_but_possible_body(void *arg)
{
    filch_chan *chan = chan_new(sizeof(int), 1);
    int msg = 6;

    (void)arg;
    T_OK(filch_task_cancel(filch_task_self()));
    T_OK(filch_chan_send(chan, &msg, FILCH_NEVER));
    T_IS(filch_chan_send(chan, &msg, FILCH_NEVER), -ECANCELED);
    T_OK(filch_chan_recv(chan, &msg, FILCH_NEVER));
    T_IS(filch_chan_recv(chan, &msg, FILCH_NEVER), -ECANCELED);
    filch_chan_unref(chan);
    return 0;
}

Test(chan, cancelled_task_still_does_what_needs_no_wait)
{
    cr_assert_eq(run_in_runtime(0, cancelled_but_possible_body, NULL), 0);
}

/* Conservation: what goes in comes out, once; and in order per sender. A message is sender << 32 |
 * number. */

enum { SENDERS = 8, RECEIVERS = 8 };

struct sender {
    struct party *party;
    uint64_t index;
};

static int send_share(void *arg)
{
    const struct sender *sender = arg;
    uint64_t msg;

    for (int i = 0; i < sender->party->messages; i++) {
        msg = sender->index << 32 | (unsigned)i;
        T_OK(filch_chan_send(sender->party->chan, &msg, FILCH_NEVER));
    }
    return 0;
}

static int recv_all(void *arg)
{
    struct party *party = arg;
    int64_t last[SENDERS];
    uint64_t msg;
    int r;

    for (int i = 0; i < SENDERS; i++)
        last[i] = -1;
    while ((r = filch_chan_recv(party->chan, &msg, FILCH_NEVER)) == 0) {
        T_CHECK(last[msg >> 32] < (int64_t)(uint32_t)msg);
        last[msg >> 32] = (uint32_t)msg;
        atomic_fetch_add(&party->sum, (uint32_t)msg + 1);
        atomic_fetch_add(&party->count, 1);
    }
    T_IS(r, -EPIPE);
    return 0;
}

static void *send_share_thread(void *arg)
{
    T_OK(send_share(arg));
    return NULL;
}

static void *recv_all_thread(void *arg)
{
    T_OK(recv_all(arg));
    return NULL;
}

/* Odd ones are plain threads, even ones tasks. */
static void conserve(size_t capacity, int messages_each)
{
    filch_runtime *rt = start_runtime(0);
    struct party party = {.chan = chan_new(8, capacity), .messages = messages_each};
    struct sender sender[SENDERS];
    filch_task *send_task[SENDERS];
    filch_task *recv_task[RECEIVERS];
    pthread_t send_thread[SENDERS];
    pthread_t recv_thread[RECEIVERS];
    unsigned long long n = (unsigned long long)messages_each;

    for (unsigned i = 0; i < RECEIVERS; i++) {
        sender[i] = (struct sender){&party, i};
        if (i % 2) {
            T_OK(pthread_create(&recv_thread[i], NULL, recv_all_thread, &party));
            T_OK(pthread_create(&send_thread[i], NULL, send_share_thread, &sender[i]));
        } else {
            T_OK(filch_runtime_spawn(rt, recv_all, &party, NULL, &recv_task[i]));
            T_OK(filch_runtime_spawn(rt, send_share, &sender[i], NULL, &send_task[i]));
        }
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        if (i % 2)
            T_OK(pthread_join(send_thread[i], NULL));
        else
            T_OK(join(send_task[i]));
    }
    T_OK(filch_chan_close(party.chan));
    for (unsigned i = 0; i < RECEIVERS; i++) {
        if (i % 2)
            T_OK(pthread_join(recv_thread[i], NULL));
        else
            T_OK(join(recv_task[i]));
    }
    T_IS(party.count, SENDERS * messages_each);
    T_IS(party.sum, SENDERS * n * (n + 1) / 2);
    filch_chan_unref(party.chan);
    stop_runtime(rt);
}

Test(chan, tasks_and_threads_lose_nothing_in_a_bounded_channel)
{
    conserve(128, 25000);
}

Test(chan, tasks_and_threads_lose_nothing_in_a_channel_of_one)
{
    conserve(1, 2000);
}

Test(chan, tasks_and_threads_lose_nothing_in_an_unbounded_channel)
{
    conserve(FILCH_CHAN_UNBOUNDED, 25000);
}

/* Until cancelled; counts what got through. Looks for itself as well: two who keep feeding each
 * other never have to wait. */
static int send_until_cancelled(void *arg)
{
    struct party *party = arg;
    uint64_t msg = 1;
    int r;

    while ((r = filch_chan_send(party->chan, &msg, FILCH_NEVER)) == 0) {
        atomic_fetch_add(&party->count, 1);
        if (filch_task_is_cancelled())
            return 0;
    }
    T_IS(r, -ECANCELED);
    return 0;
}

static int recv_until_cancelled(void *arg)
{
    struct party *party = arg;
    uint64_t msg = 0;
    int r;

    while ((r = filch_chan_recv(party->chan, &msg, FILCH_NEVER)) == 0) {
        T_IS(msg, 1);
        msg = 0;
        atomic_fetch_add(&party->received, 1);
        if (filch_task_is_cancelled())
            return 0;
    }
    T_IS(r, -ECANCELED);
    T_IS(msg, 0);
    return 0;
}

/* Pairs of them are cancelled at once, again and again. */
static int cancel_storm_body(void *arg)
{
    struct party party = {.chan = chan_new(8, 2)};
    filch_task *task[8];

    (void)arg;
    for (int round = 0; round < 300; round++) {
        for (int i = 0; i < 8; i++)
            task[i] = spawn(i % 2 ? recv_until_cancelled : send_until_cancelled, &party);
        for (int i = 0; i < round % 11; i++)
            filch_task_yield();
        /* Receivers first in one round, senders in the next: whoever is left alone waits, and is
         * cancelled waiting. */
        for (int i = 0; i < 8; i++)
            T_OK(filch_task_cancel(task[(i + round) % 8]));
        for (int i = 0; i < 8; i++)
            T_OK(join(task[i]));
    }
    T_IS(party.count, party.received + (int)filch_chan_len(party.chan));
    filch_chan_unref(party.chan);
    return 0;
}

Test(chan, cancel_storm_conserves_the_count)
{
    cr_assert_eq(run_in_runtime(0, cancel_storm_body, NULL), 0);
}

static int ping(void *arg)
{
    filch_chan **pair = arg;
    int msg;

    for (int i = 0; i < 20000; i++) {
        T_OK(filch_chan_recv(pair[0], &msg, FILCH_NEVER));
        T_OK(filch_chan_send(pair[1], &msg, FILCH_NEVER));
    }
    return 0;
}

static int ping_pong_body(void *arg)
{
    filch_chan *pair[2] = {chan_new(sizeof(int), 1), chan_new(sizeof(int), 1)};
    filch_task *task = spawn(ping, pair);
    int msg;

    (void)arg;
    for (int i = 0; i < 20000; i++) {
        T_OK(filch_chan_send(pair[0], &i, FILCH_NEVER));
        T_OK(filch_chan_recv(pair[1], &msg, FILCH_NEVER));
        T_IS(msg, i);
    }
    T_OK(join(task));
    filch_chan_unref(pair[0]);
    filch_chan_unref(pair[1]);
    return 0;
}

Test(chan, ping_pong_loses_no_wake)
{
    cr_assert_eq(run_in_runtime(0, ping_pong_body, NULL), 0);
}

static int try_forever(void *arg)
{
    struct party *party = arg;
    int msg;

    while (filch_chan_recv(party->chan, &msg, FILCH_NOW) != -EPIPE)
        ;
    return 0;
}

static int close_it(void *arg)
{
    return filch_chan_close(arg);
}

static int polling_body(void *arg)
{
    struct party party = {.chan = chan_new(sizeof(int), 1)};
    filch_task *poller = spawn(try_forever, &party);
    filch_task *closer = spawn(close_it, party.chan);

    (void)arg;
    T_OK(join(poller));
    T_OK(join(closer));
    filch_chan_unref(party.chan);
    return 0;
}

Test(chan, task_that_polls_with_now_does_not_starve_others)
{
    cr_assert_eq(run_in_runtime(1, polling_body, NULL), 0);
}
