/* Description: the ends of channels: they close when the last counted sender or receiver goes, weak
 * references keep nothing open; waiting for the close; what becomes of messages that nobody will
 * receive. */
#include <errno.h>
#include <pthread.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(chan_end, .timeout = 100);

/* Messages that were given to `drop`, in order. */
struct dropped {
    int values[400];
    int count;
};

static void note(void *context, const void *msg)
{
    struct dropped *dropped = context;

    T_CHECK(dropped->count < 400);
    dropped->values[dropped->count++] = *(const int *)msg;
}

static filch_chan *chan_new(size_t capacity, struct dropped *dropped)
{
    filch_chan_opts opts = {.drop = dropped ? note : NULL, .drop_context = dropped};
    filch_chan *chan = NULL;

    T_OK(filch_chan_new_opts(sizeof(int), capacity, &opts, &chan));
    return chan;
}

static int send_now(filch_chan *chan, int value)
{
    return filch_chan_send(chan, &value, FILCH_NOW);
}

static int recv_now(filch_chan *chan)
{
    int value = -1;
    int r = filch_chan_recv(chan, &value, FILCH_NOW);

    return r < 0 ? r : value;
}

/* ---- senders ---- */

Test(chan_end, closes_when_the_last_sender_goes_and_drains)
{
    filch_chan *chan = chan_new(4, NULL);
    filch_chan *a = filch_chan_sender_ref(chan), *b = filch_chan_sender_ref(a);

    cr_assert(a == chan && b == chan);
    T_OK(send_now(a, 1));
    filch_chan_sender_unref(a);
    T_CHECK(!filch_chan_is_closed(chan));
    T_OK(send_now(b, 2));
    filch_chan_sender_unref(b);
    T_CHECK(filch_chan_is_closed(chan));
    T_IS(send_now(chan, 3), -EPIPE); /* the weak one */
    T_CHECK(filch_chan_sender_ref(chan) == NULL);
    T_IS(recv_now(chan), 1);
    T_IS(recv_now(chan), 2);
    T_IS(recv_now(chan), -EPIPE);
    filch_chan_unref(chan);
}

Test(chan_end, a_weak_sender_sends_while_it_is_open_and_keeps_nothing_open)
{
    filch_chan *chan = chan_new(4, NULL);
    filch_chan *weak = filch_chan_ref(chan);
    filch_chan *sender = filch_chan_sender_ref(chan), *upgraded;

    T_OK(send_now(weak, 1));
    upgraded = filch_chan_sender_ref(weak);
    filch_chan_sender_unref(sender);
    T_CHECK(!filch_chan_is_closed(chan)); /* the upgraded one is there */
    filch_chan_sender_unref(upgraded);
    T_CHECK(filch_chan_is_closed(weak));
    T_CHECK(filch_chan_sender_ref(weak) == NULL);
    T_IS(recv_now(chan), 1);
    filch_chan_unref(weak);
    filch_chan_unref(chan);
}

Test(chan_end, room_and_ends_are_counted)
{
    filch_chan *chan = chan_new(3, NULL), *unbounded = chan_new(FILCH_CHAN_UNBOUNDED, NULL);
    filch_chan_permit permit;

    T_IS(filch_chan_capacity(chan), 3);
    T_IS(filch_chan_room(chan), 3);
    T_IS(filch_chan_senders(chan), 0);
    T_IS(filch_chan_receivers(chan), 0);
    T_CHECK(filch_chan_sender_ref(chan) && filch_chan_sender_ref(chan));
    T_CHECK(filch_chan_receiver_ref(chan));
    T_IS(filch_chan_senders(chan), 2);
    T_IS(filch_chan_receivers(chan), 1);
    T_OK(send_now(chan, 1));
    T_IS(filch_chan_room(chan), 2);
    T_OK(filch_chan_reserve(chan, &permit, FILCH_NOW)); /* as a message */
    T_IS(filch_chan_room(chan), 1);
    T_IS(filch_chan_len(chan), 1);
    filch_chan_permit_release(&permit);
    T_IS(filch_chan_room(chan), 2);
    T_IS(recv_now(chan), 1);
    T_IS(filch_chan_room(chan), 3);
    filch_chan_sender_unref(chan);
    T_IS(filch_chan_senders(chan), 1);
    T_IS(filch_chan_room(chan), 3);
    filch_chan_sender_unref(chan);
    T_IS(filch_chan_senders(chan), 0);
    T_IS(filch_chan_room(chan), 0); /* closed */
    filch_chan_receiver_unref(chan);
    T_IS(filch_chan_receivers(chan), 0);
    T_IS(filch_chan_capacity(chan), 3);
    filch_chan_unref(chan);

    T_CHECK(filch_chan_capacity(unbounded) == FILCH_CHAN_UNBOUNDED);
    T_OK(send_now(unbounded, 1));
    T_CHECK(filch_chan_room(unbounded) == FILCH_CHAN_UNBOUNDED);
    T_OK(filch_chan_close(unbounded));
    T_IS(filch_chan_room(unbounded), 0);
    filch_chan_unref(unbounded);
}

static int recv_to_the_end(void *arg)
{
    int value, n = 0, r;

    while ((r = filch_chan_recv(arg, &value, T_LIMIT)) == 0)
        n++;
    T_IS(r, -EPIPE);
    return n;
}

static int send_some_and_go(void *arg)
{
    for (int i = 0; i < 50; i++)
        T_OK(filch_chan_send(arg, &i, T_LIMIT));
    filch_chan_sender_unref(arg);
    return 0;
}

static int producers_body(void *arg)
{
    (void)arg;
    for (int round = 0; round < 20; round++) {
        filch_chan *chan = chan_new(round % 2 ? 2 : FILCH_CHAN_UNBOUNDED, NULL);
        filch_chan *own = filch_chan_sender_ref(chan); /* until all have theirs */
        filch_task *receiver[2], *sender[4];

        for (int i = 0; i < 2; i++)
            receiver[i] = spawn(recv_to_the_end, chan);
        for (int i = 0; i < 4; i++)
            sender[i] = spawn(send_some_and_go, filch_chan_sender_ref(chan));
        filch_chan_sender_unref(own);
        for (int i = 0; i < 4; i++)
            T_OK(join(sender[i]));
        T_IS(join(receiver[0]) + join(receiver[1]), 200);
        filch_chan_unref(chan);
    }
    return 0;
}

Test(chan_end, receivers_end_with_the_last_producer)
{
    T_OK(run_in_runtime(0, producers_body, NULL));
}

/* The reference that receives is the last one that keeps the memory. */
static int only_sender(void *arg)
{
    int value = 3;

    T_OK(filch_chan_send(arg, &value, T_LIMIT));
    filch_chan_sender_unref(arg);
    return 0;
}

static int last_reference_body(void *arg)
{
    (void)arg;
    for (int i = 0; i < 200; i++) {
        filch_chan *chan = chan_new(1, NULL);
        filch_task *sender = spawn(only_sender, filch_chan_sender_ref(chan));
        int value = 0;

        if (i % 2)
            filch_task_yield();
        T_OK(filch_chan_recv(chan, &value, T_LIMIT));
        filch_chan_unref(chan);
        T_OK(join(sender));
    }
    return 0;
}

Test(chan_end, either_side_may_be_the_last)
{
    T_OK(run_in_runtime(0, last_reference_body, NULL));
}

/* ---- receivers ---- */

Test(chan_end, senders_hear_of_the_last_receiver_and_messages_are_dropped)
{
    struct dropped dropped = {.count = 0};
    filch_chan *chan = chan_new(3, &dropped);
    filch_chan *a = filch_chan_receiver_ref(chan), *b = filch_chan_receiver_ref(chan);
    filch_chan_permit permit;
    int value = 9;

    for (int i = 0; i < 2; i++)
        T_OK(send_now(chan, i));
    T_OK(filch_chan_reserve(chan, &permit, FILCH_NOW));
    filch_chan_receiver_unref(a);
    T_CHECK(!filch_chan_is_closed(chan));
    T_IS(dropped.count, 0);
    filch_chan_receiver_unref(b);
    T_CHECK(filch_chan_is_closed(chan));
    /* Not only when the last sender goes, too: that may be never. */
    T_IS(dropped.count, 2);
    T_IS(dropped.values[0], 0);
    T_IS(dropped.values[1], 1);
    T_IS(filch_chan_len(chan), 0);
    T_IS(send_now(chan, 5), -EPIPE);
    T_IS(filch_chan_permit_send(&permit, &value), -EPIPE);
    filch_chan_permit_release(&permit);
    T_IS(recv_now(chan), -EPIPE);
    T_CHECK(filch_chan_receiver_ref(chan) == NULL);
    filch_chan_unref(chan);
    T_IS(dropped.count, 2);
}

Test(chan_end, an_unbounded_channel_is_deserted_with_all_its_segments)
{
    struct dropped dropped = {.count = 0};
    filch_chan *chan = chan_new(FILCH_CHAN_UNBOUNDED, &dropped);

    T_CHECK(filch_chan_receiver_ref(chan) == chan);
    for (int i = 0; i < 400; i++)
        T_OK(send_now(chan, i));
    for (int i = 0; i < 100; i++)
        T_IS(recv_now(chan), i);
    filch_chan_receiver_unref(chan);
    T_IS(dropped.count, 300);
    for (int i = 0; i < 300; i++)
        T_IS(dropped.values[i], 100 + i);
    filch_chan_unref(chan);
}

Test(chan_end, a_receiver_may_come_to_drain_what_is_closed)
{
    filch_chan *chan = chan_new(2, NULL);

    T_OK(send_now(chan, 1));
    T_OK(filch_chan_close(chan));
    T_CHECK(filch_chan_receiver_ref(chan) == chan);
    T_IS(recv_now(chan), 1);
    T_IS(recv_now(chan), -EPIPE);
    filch_chan_receiver_unref(chan);
    filch_chan_unref(chan);
}

static int send_expecting_end(void *arg)
{
    int value = 1;

    T_IS(filch_chan_send(arg, &value, FILCH_NEVER), -EPIPE);
    return 0;
}

static int reserve_expecting_end(void *arg)
{
    filch_chan_permit permit;

    T_IS(filch_chan_reserve(arg, &permit, FILCH_NEVER), -EPIPE);
    return 0;
}

static int wait_for_close(void *arg)
{
    return filch_chan_closed(arg, T_LIMIT);
}

static int receiver_goes_body(void *arg)
{
    (void)arg;
    for (int i = 0; i < 50; i++) {
        filch_chan *chan = chan_new(1, NULL);
        filch_task *task[6];

        T_CHECK(filch_chan_receiver_ref(chan) == chan);
        T_OK(send_now(chan, 1));
        for (int k = 0; k < 6; k++)
            task[k] = spawn(k < 2   ? send_expecting_end
                            : k < 4 ? reserve_expecting_end
                                    : wait_for_close,
                            chan);
        if (i % 2)
            let_others_run();
        filch_chan_receiver_unref(chan);
        for (int k = 0; k < 6; k++)
            T_OK(join(task[k]));
        filch_chan_unref(chan);
    }
    return 0;
}

Test(chan_end, all_who_wait_hear_of_the_last_receiver)
{
    T_OK(run_in_runtime(0, receiver_goes_body, NULL));
}

/* A message that is kept for a future is still its own, or is dropped with the channel. */
Test(chan_end, a_future_collects_its_message_after_the_last_receiver)
{
    struct dropped dropped = {.count = 0};
    filch_waker nobody = {0};
    filch_cx cx = {.waker = &nobody};

    for (int collects = 0; collects < 2; collects++) {
        filch_chan *chan = chan_new(2, &dropped);
        filch_recv_future recv;
        int value = 0;

        T_CHECK(filch_chan_receiver_ref(chan) == chan);
        T_OK(filch_recv_future_init(&recv, chan, &value));
        T_IS(recv.base.poll(&recv.base, &cx), FILCH_PENDING);
        T_OK(send_now(chan, 7));
        filch_chan_receiver_unref(chan);
        T_IS(dropped.count, 0);
        if (collects) {
            T_IS(recv.base.poll(&recv.base, &cx), FILCH_READY);
            T_IS(value, 7);
        } else {
            recv.base.drop(&recv.base);
        }
        filch_chan_unref(chan);
        T_IS(dropped.count, !collects);
        dropped.count = 0;
    }
}

/* ---- the close ---- */

static int closed_body(void *arg)
{
    filch_chan *chan = chan_new(1, NULL);
    filch_task *waiter, *cancelled;
    filch_case cases[2];
    int value = 0;

    (void)arg;
    T_IS(filch_chan_closed(chan, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_chan_closed(chan, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    waiter = spawn(wait_for_close, chan);
    cancelled = spawn(wait_for_close, chan);
    let_others_run();
    T_OK(filch_task_cancel(cancelled));
    T_IS(join(cancelled), -ECANCELED);
    cases[0] = filch_case_recv(chan, &value);
    cases[1] = filch_case_closed(chan);
    T_IS(filch_select(cases, 2, 0, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_OK(send_now(chan, 4));
    T_IS(filch_select(cases, 2, 0, T_LIMIT), 0);
    T_IS(value, 4);
    T_OK(filch_chan_close(chan));
    T_OK(join(waiter));
    T_OK(filch_chan_closed(chan, FILCH_NOW));
    T_OK(filch_chan_closed(chan, FILCH_NEVER));
    T_IS(filch_select(&cases[1], 1, 0, T_LIMIT), 0);
    T_OK(cases[1].result);
    filch_chan_unref(chan);
    return 0;
}

Test(chan_end, waits_for_the_close)
{
    T_OK(run_in_runtime(0, closed_body, NULL));
}

/* A producer that selects over its channel's close and a time stops when nobody wants more. */
static int select_close(void *arg)
{
    filch_case cases[2] = {filch_case_closed(arg), filch_case_at(T_LIMIT)};

    return filch_select(cases, 2, 0, FILCH_NEVER);
}

static void *select_close_thread(void *arg)
{
    T_OK(select_close(arg));
    return NULL;
}

static int select_close_body(void *arg)
{
    (void)arg;
    for (int i = 0; i < 50; i++) {
        filch_chan *chan = chan_new(1, NULL);
        filch_task *task[3];
        pthread_t thread;

        for (int k = 0; k < 3; k++)
            task[k] = spawn(select_close, chan);
        T_OK(pthread_create(&thread, NULL, select_close_thread, chan));
        if (i % 2)
            let_others_run();
        T_CHECK(filch_chan_receiver_ref(chan) == chan);
        filch_chan_receiver_unref(chan);
        for (int k = 0; k < 3; k++)
            T_OK(join(task[k]));
        T_OK(pthread_join(thread, NULL));
        filch_chan_unref(chan);
    }
    return 0;
}

Test(chan_end, the_close_is_a_case_of_a_select)
{
    T_OK(run_in_runtime(0, select_close_body, NULL));
}

/* ---- what is left ---- */

Test(chan_end, what_is_left_is_dropped_with_the_channel)
{
    static const size_t capacities[] = {5, 64, FILCH_CHAN_UNBOUNDED};

    for (int i = 0; i < 3; i++) {
        struct dropped dropped = {.count = 0};
        filch_chan *chan = chan_new(capacities[i], &dropped);
        int sent = 0, left = 0;

        for (int k = 0; k < 3; k++) { /* around the end */
            while (sent - left < 5)
                T_OK(send_now(chan, sent++));
            for (int n = 0; n < 3; n++)
                T_IS(recv_now(chan), left++);
        }
        filch_chan_unref(chan);
        T_IS(dropped.count, sent - left);
        for (int k = 0; k < dropped.count; k++)
            T_IS(dropped.values[k], left + k);
    }
}

/* Nothing else is ever dropped. */
Test(chan_end, what_was_received_is_not_dropped)
{
    struct dropped dropped = {.count = 0};
    filch_chan *chan = chan_new(FILCH_CHAN_UNBOUNDED, &dropped);

    for (int i = 0; i < 300; i++)
        T_OK(send_now(chan, i));
    for (int i = 0; i < 300; i++)
        T_IS(recv_now(chan), i);
    T_OK(filch_chan_close(chan));
    filch_chan_unref(chan);
    T_IS(dropped.count, 0);
}

/* ---- overflow ---- */

static filch_chan *overflowing(enum filch_chan_overflow overflow, struct dropped *dropped)
{
    filch_chan_opts opts = {
        .overflow = overflow, .drop = dropped ? note : NULL, .drop_context = dropped};
    filch_chan *chan = NULL;

    T_OK(filch_chan_new_opts(sizeof(int), 3, &opts, &chan));
    return chan;
}

Test(chan_end, a_full_channel_fails)
{
    struct dropped dropped = {.count = 0};
    filch_chan *chan = overflowing(FILCH_CHAN_FAIL, &dropped);
    int many[4] = {3, 4, 5, 6};
    size_t sent;
    int value = 9;
    filch_case c = filch_case_send(chan, &value);
    filch_send_future send;

    for (int i = 0; i < 3; i++)
        cr_assert_eq(filch_chan_send(chan, &i, FILCH_NEVER), 0);
    cr_assert_eq(filch_chan_send(chan, &value, FILCH_NEVER), -ENOBUFS);
    cr_assert_eq(filch_select(&c, 1, 0, FILCH_NEVER), 0);
    cr_assert_eq(c.result, -ENOBUFS);
    T_OK(filch_send_future_init(&send, chan, &value));
    cr_assert_eq(filch_await(&send.base, FILCH_NEVER), -ENOBUFS);
    T_IS(recv_now(chan), 0);
    T_IS(recv_now(chan), 1);
    cr_assert_eq(filch_chan_send_many(chan, many, 4, &sent, FILCH_NEVER), -ENOBUFS);
    cr_assert_eq(sent, 2);
    for (int i = 2; i < 5; i++)
        T_IS(recv_now(chan), i);
    T_OK(filch_chan_close(chan));
    T_IS(send_now(chan, 1), -EPIPE);
    T_IS(filch_chan_dropped(chan), 0);
    filch_chan_unref(chan);
    T_IS(dropped.count, 0);
}

Test(chan_end, a_full_channel_drops_the_newest)
{
    struct dropped dropped = {.count = 0};
    filch_chan *chan = overflowing(FILCH_CHAN_DROP_NEWEST, &dropped);
    int many[4] = {10, 11, 12, 13};
    size_t sent;

    for (int i = 0; i < 6; i++)
        cr_assert_eq(filch_chan_send(chan, &i, FILCH_NEVER), i >= 3);
    T_IS(filch_chan_dropped(chan), 3);
    T_IS(recv_now(chan), 0);
    T_OK(filch_chan_send_many(chan, many, 4, &sent, FILCH_NEVER));
    T_IS(sent, 4); /* consumed, that is */
    T_IS(dropped.count, 6);
    T_IS(dropped.values[0], 3);
    T_IS(dropped.values[2], 5);
    T_IS(dropped.values[5], 13);
    T_IS(recv_now(chan), 1);
    T_IS(recv_now(chan), 2);
    T_IS(recv_now(chan), 10);
    T_IS(filch_chan_dropped(chan), 6);
    filch_chan_unref(chan);
}

Test(chan_end, a_full_channel_drops_the_oldest)
{
    struct dropped dropped = {.count = 0};
    filch_chan *chan = overflowing(FILCH_CHAN_DROP_OLDEST, &dropped);
    filch_chan_permit permit;
    filch_case c;
    int value = 7;

    for (int i = 0; i < 6; i++)
        cr_assert_eq(filch_chan_send(chan, &i, FILCH_NEVER), i >= 3);
    c = filch_case_send(chan, &value);
    cr_assert_eq(filch_select(&c, 1, 0, FILCH_NEVER), 0);
    cr_assert_eq(c.result, 1);
    T_IS(dropped.count, 4);
    for (int i = 0; i < 4; i++)
        T_IS(dropped.values[i], i);
    T_IS(recv_now(chan), 4);
    T_IS(recv_now(chan), 5);
    T_IS(recv_now(chan), 7);
    /* Nothing but promises: there is no oldest one. */
    T_OK(filch_chan_reserve_many(chan, 3, &permit, FILCH_NOW));
    cr_assert_eq(filch_chan_send(chan, &value, FILCH_NEVER), 1);
    T_IS(dropped.values[4], 7);
    T_OK(filch_chan_permit_send(&permit, &(int){8}));
    cr_assert_eq(filch_chan_send(chan, &(int){9}, FILCH_NEVER), 1);
    T_IS(dropped.values[5], 8);
    T_IS(recv_now(chan), 9);
    filch_chan_permit_release(&permit);
    T_OK(filch_chan_close(chan));
    T_IS(send_now(chan, 1), -EPIPE);
    T_IS(filch_chan_dropped(chan), 6);
    filch_chan_unref(chan);
}

/* A message that is kept for a future may be the one that is dropped: the future gets another. */
Test(chan_end, a_future_gets_one_although_the_oldest_was_dropped)
{
    struct dropped dropped = {.count = 0};
    filch_chan *chan = overflowing(FILCH_CHAN_DROP_OLDEST, &dropped);
    filch_waker nobody = {0};
    filch_cx cx = {.waker = &nobody};
    filch_recv_future recv;
    int value = 0;

    T_OK(filch_recv_future_init(&recv, chan, &value));
    T_IS(recv.base.poll(&recv.base, &cx), FILCH_PENDING);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(filch_chan_send(chan, &i, FILCH_NEVER), i >= 3);
    T_IS(recv.base.poll(&recv.base, &cx), FILCH_READY);
    T_IS(value, 2);
    T_IS(recv_now(chan), 3);
    T_IS(recv_now(chan), 4);
    T_IS(recv_now(chan), -ETIMEDOUT);
    filch_chan_unref(chan);
}

static void free_text(void *context, const void *msg)
{
    (void)context;
    free(*(char *const *)msg);
}

/* What messages own is freed, however they end: the leak checkers look. Messages of all sizes. */
Test(chan_end, what_messages_own_is_freed)
{
    struct {
        char *text;
        unsigned char filler[600];
    } large = {0}, out;

    for (int overflow = FILCH_CHAN_WAIT; overflow <= FILCH_CHAN_FAIL; overflow++) {
        for (int size = 0; size < 2; size++) {
            size_t bytes = size ? sizeof(large) : sizeof(char *);
            filch_chan_opts opts = {.overflow = (enum filch_chan_overflow)overflow,
                                    .drop = free_text};
            filch_chan *chan = NULL;

            T_OK(filch_chan_new_opts(bytes, 4, &opts, &chan));
            for (int i = 0; i < 20; i++) {
                large.text = malloc(10);
                if (filch_chan_send(chan, &large, FILCH_NOW) < 0)
                    free(large.text);
                if (i % 4 == 0 && filch_chan_recv(chan, &out, FILCH_NOW) == 0)
                    free(out.text);
            }
            filch_chan_unref(chan);
        }
    }
}

static int send_numbers(void *arg)
{
    for (int i = 0; i < 2000; i++)
        T_CHECK(filch_chan_send(arg, &i, FILCH_NEVER) >= 0);
    filch_chan_sender_unref(arg);
    return 0;
}

static int overflow_body(void *arg)
{
    enum filch_chan_overflow overflow = *(enum filch_chan_overflow *)arg;
    filch_chan *chan = overflowing(overflow, NULL);
    filch_chan *own = filch_chan_sender_ref(chan);
    filch_task *sender[3], *receiver = spawn(recv_to_the_end, chan);
    unsigned received;

    for (int i = 0; i < 3; i++)
        sender[i] = spawn(send_numbers, filch_chan_sender_ref(chan));
    filch_chan_sender_unref(own);
    for (int i = 0; i < 3; i++)
        T_OK(join(sender[i]));
    received = (unsigned)join(receiver);
    T_IS(received + filch_chan_dropped(chan), 6000);
    filch_chan_unref(chan);
    return 0;
}

Test(chan_end, received_and_dropped_are_all_there_were)
{
    enum filch_chan_overflow newest = FILCH_CHAN_DROP_NEWEST, oldest = FILCH_CHAN_DROP_OLDEST;

    T_OK(run_in_runtime(0, overflow_body, &newest));
    T_OK(run_in_runtime(0, overflow_body, &oldest));
}
