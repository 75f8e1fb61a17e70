/* Description: permits of channels: a place that is reserved is there for its message, whatever
 * happens; those who wait for places are served in line with senders; nothing is lost when they
 * give up. */
#include <errno.h>
#include <pthread.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(chan_permit, .timeout = 100);

static filch_chan *chan_new(size_t capacity)
{
    filch_chan *chan = NULL;

    T_OK(filch_chan_new(sizeof(int), capacity, &chan));
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

static int use(filch_chan_permit *permit, int value)
{
    return filch_chan_permit_send(permit, &value);
}

Test(chan_permit, a_permit_takes_room_until_it_is_used_or_released)
{
    filch_chan *chan = chan_new(2);
    filch_chan_permit permit, other = {0};

    T_OK(filch_chan_reserve(chan, &permit, FILCH_NOW));
    T_OK(send_now(chan, 1));
    T_IS(send_now(chan, 2), -ETIMEDOUT);
    T_IS(filch_chan_reserve(chan, &other, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_chan_reserve(chan, &other, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_CHECK(other.chan == NULL && other.n == 0); /* untouched */
    T_OK(use(&permit, 3));
    T_IS(use(&permit, 3), -EINVAL);
    T_IS(send_now(chan, 4), -ETIMEDOUT);
    T_IS(recv_now(chan), 1);
    T_IS(recv_now(chan), 3);
    T_OK(filch_chan_reserve_many(chan, 2, &permit, FILCH_NOW));
    T_IS(send_now(chan, 5), -ETIMEDOUT);
    T_OK(use(&permit, 6));
    filch_chan_permit_release(&permit); /* what is left */
    filch_chan_permit_release(&permit);
    T_OK(send_now(chan, 7));
    T_IS(recv_now(chan), 6);
    T_IS(recv_now(chan), 7);
    T_IS(recv_now(chan), -ETIMEDOUT);
    filch_chan_unref(chan);
}

/* A message of a permit has its place in the order when it is sent. */
Test(chan_permit, order_is_that_of_sending_not_of_reserving)
{
    filch_chan *chan = chan_new(3);
    filch_chan_permit permit;

    T_OK(filch_chan_reserve(chan, &permit, FILCH_NOW));
    T_OK(send_now(chan, 1));
    T_OK(use(&permit, 2));
    T_OK(send_now(chan, 3));
    for (int i = 1; i <= 3; i++)
        T_IS(recv_now(chan), i);
    filch_chan_unref(chan);
}

Test(chan_permit, an_unbounded_channel_grants_any_number)
{
    filch_chan *chan = chan_new(FILCH_CHAN_UNBOUNDED);
    filch_chan_permit permit[3];
    int next = 0;

    T_OK(filch_chan_reserve_many(chan, 1000, &permit[0], FILCH_NOW));
    T_OK(filch_chan_reserve(chan, &permit[1], FILCH_NOW));
    T_OK(filch_chan_reserve_many(chan, 100, &permit[2], FILCH_NOW));
    for (int i = 0; i < 1000; i++) {
        T_OK(use(&permit[0], 3 * i));
        T_OK(send_now(chan, 3 * i + 1));
        if (i < 100)
            T_OK(use(&permit[2], 3 * i + 2));
        while (i % 7 == 0 && filch_chan_len(chan)) {
            T_IS(recv_now(chan), next++);
            if (next > 300 && next % 3 == 2)
                next++;
        }
    }
    filch_chan_permit_release(&permit[1]);
    T_OK(filch_chan_reserve_many(chan, 5000, &permit[0], FILCH_NOW));
    filch_chan_permit_release(&permit[0]);
    while (filch_chan_len(chan)) {
        T_IS(recv_now(chan), next++);
        if (next > 300 && next % 3 == 2)
            next++;
    }
    T_IS(next, 3000);
#ifndef T_SANITIZED /* whose allocators end the program */
    T_IS(filch_chan_reserve_many(chan, SIZE_MAX / 8, &permit[0], FILCH_NOW), -ENOMEM);
#endif
    T_OK(send_now(chan, 1)); /* it still works */
    T_IS(recv_now(chan), 1);
    filch_chan_unref(chan);
}

Test(chan_permit, a_permit_outlives_a_close)
{
    filch_chan *chan = chan_new(3);
    filch_chan_permit permit;

    T_OK(send_now(chan, 1));
    T_OK(filch_chan_reserve_many(chan, 2, &permit, FILCH_NOW));
    T_OK(filch_chan_close(chan));
    T_IS(send_now(chan, 9), -EPIPE);
    T_IS(filch_chan_reserve(chan, &permit, FILCH_NOW), -EPIPE);
    T_IS(permit.n, 2);
    T_IS(recv_now(chan), 1);
    T_IS(recv_now(chan), -ETIMEDOUT); /* not the end: one may come */
    T_OK(use(&permit, 2));
    T_IS(recv_now(chan), 2);
    T_IS(recv_now(chan), -ETIMEDOUT);
    filch_chan_permit_release(&permit);
    T_IS(recv_now(chan), -EPIPE);
    filch_chan_unref(chan);
}

/* ---- those who wait ---- */

struct waiter {
    filch_chan *chan;
    size_t n;
    int value;
    filch_time until;
    atomic_int got; /* 1: has the permit */
    atomic_bool go;
};

/* Reserves, says so, waits for a sign, uses one place and gives the others back. */
static int reserve_and_use(void *arg)
{
    struct waiter *waiter = arg;
    filch_chan_permit permit;
    int r = filch_chan_reserve_many(waiter->chan, waiter->n, &permit, waiter->until);

    if (r < 0)
        return r;
    atomic_store(&waiter->got, 1);
    T_WAIT_UNTIL(atomic_load(&waiter->go));
    r = use(&permit, waiter->value);
    filch_chan_permit_release(&permit);
    return r;
}

static int send_value(void *arg)
{
    struct waiter *waiter = arg;
    int r = filch_chan_send(waiter->chan, &waiter->value, waiter->until);

    atomic_store(&waiter->got, 1);
    return r;
}

static int recv_value(void *arg)
{
    int value = -1;
    int r = filch_chan_recv(arg, &value, T_LIMIT);

    return r < 0 ? r : value;
}

/* The first asks for three; the sender behind it does not overtake, although there is room. On one
 * worker: who is spawned first is in line first. */
static int line_body(void *arg)
{
    filch_chan *chan = chan_new(3);
    struct waiter large = {.chan = chan, .n = 3, .value = 10, .until = T_LIMIT};
    struct waiter small = {.chan = chan, .value = 20, .until = T_LIMIT};
    filch_task *first, *second;

    (void)arg;
    for (int i = 0; i < 3; i++)
        T_OK(send_now(chan, i));
    first = spawn(reserve_and_use, &large);
    let_others_run();
    second = spawn(send_value, &small);
    let_others_run();
    T_IS(recv_now(chan), 0);
    T_IS(recv_now(chan), 1);
    T_IS(send_now(chan, 9), -ETIMEDOUT); /* newcomers do not, either */
    let_others_run();
    T_IS(atomic_load(&large.got), 0);
    T_IS(atomic_load(&small.got), 0);
    T_IS(recv_now(chan), 2);
    T_WAIT_UNTIL(atomic_load(&large.got));
    T_IS(atomic_load(&small.got), 0);
    atomic_store(&large.go, true);
    T_OK(join(first));
    T_OK(join(second));
    T_IS(recv_now(chan), 10);
    T_IS(recv_now(chan), 20);
    filch_chan_unref(chan);
    return 0;
}

Test(chan_permit, waits_in_line_with_senders_and_is_not_starved)
{
    T_OK(run_in_runtime(1, line_body, NULL));
}

/* Who gives up at the front lets those behind it go: by a cancel, and by a time. */
static int front_leaves_body(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100; i++) {
        filch_chan *chan = chan_new(2);
        struct waiter large = {
            .chan = chan, .n = 2, .until = i % 2 ? FILCH_NEVER : filch_after(FILCH_MILLISECOND)};
        struct waiter small = {.chan = chan, .value = 20, .until = T_LIMIT};
        filch_task *first, *second;

        T_OK(send_now(chan, 1));
        first = spawn(reserve_and_use, &large);
        let_others_run();
        second = spawn(send_value, &small);
        if (i % 3)
            let_others_run();
        if (i % 2)
            T_OK(filch_task_cancel(first));
        T_IS(join(first), i % 2 ? -ECANCELED : -ETIMEDOUT);
        T_OK(join(second));
        T_IS(recv_now(chan), 1);
        T_IS(recv_now(chan), 20);
        filch_chan_unref(chan);
    }
    return 0;
}

Test(chan_permit, who_gives_up_lets_the_next_one_go)
{
    T_OK(run_in_runtime(0, front_leaves_body, NULL));
}

/* A released permit serves everybody who fits, in order. */
static int release_body(void *arg)
{
    filch_chan *chan = chan_new(4);
    struct waiter waiter[4];
    filch_chan_permit permit;
    filch_task *task[4];

    (void)arg;
    T_OK(filch_chan_reserve_many(chan, 4, &permit, FILCH_NOW));
    for (int i = 0; i < 4; i++) {
        waiter[i] = (struct waiter){.chan = chan, .value = i, .until = T_LIMIT};
        task[i] = spawn(send_value, &waiter[i]);
        let_others_run();
    }
    filch_chan_permit_release(&permit);
    for (int i = 0; i < 4; i++)
        T_OK(join(task[i]));
    for (int i = 0; i < 4; i++)
        T_IS(recv_now(chan), i);
    filch_chan_unref(chan);
    return 0;
}

Test(chan_permit, a_release_serves_all_who_fit)
{
    T_OK(run_in_runtime(1, release_body, NULL));
}

/* Receivers wait while all room is held: a sender without a permit waits, too, and a permit's
 * message that is handed over makes room for it. */
static int hand_over_body(void *arg)
{
    filch_chan *chan = chan_new(1);
    struct waiter sender = {.chan = chan, .value = 2, .until = T_LIMIT};
    filch_chan_permit permit;
    filch_task *receiver[2], *task;

    (void)arg;
    T_OK(filch_chan_reserve(chan, &permit, FILCH_NOW));
    receiver[0] = spawn(recv_value, chan);
    let_others_run();
    receiver[1] = spawn(recv_value, chan);
    let_others_run();
    task = spawn(send_value, &sender);
    let_others_run();
    T_IS(atomic_load(&sender.got), 0);
    T_OK(use(&permit, 1));
    T_OK(join(task));
    T_IS(join(receiver[0]) + join(receiver[1]), 3);
    filch_chan_unref(chan);
    return 0;
}

Test(chan_permit, a_message_that_is_handed_over_leaves_its_room)
{
    T_OK(run_in_runtime(0, hand_over_body, NULL));
}

/* Tokio 1.52: receivers that wait in a closed channel slept for ever when the last permit was given
 * back; and those who wait for permits must hear of the close. */
static int close_body(void *arg)
{
    (void)arg;
    for (int i = 0; i < 60; i++) {
        filch_chan *chan = chan_new(1);
        struct waiter late = {.chan = chan, .n = 1, .until = FILCH_NEVER};
        filch_chan_permit permit;
        filch_task *receiver[3], *reserver;

        T_OK(filch_chan_reserve(chan, &permit, FILCH_NOW));
        reserver = spawn(reserve_and_use, &late);
        for (int k = 0; k < 3; k++)
            receiver[k] = spawn(recv_value, chan);
        if (i % 2)
            let_others_run();
        T_OK(filch_chan_close(chan));
        T_IS(join(reserver), -EPIPE);
        if (i % 3)
            let_others_run();
        if (i % 4 < 2)
            T_OK(use(&permit, 7));
        filch_chan_permit_release(&permit);
        {
            int ends = 0, sevens = 0;

            for (int k = 0; k < 3; k++) {
                int r = join(receiver[k]);

                ends += r == -EPIPE;
                sevens += r == 7;
            }
            T_IS(sevens, i % 4 < 2);
            T_IS(ends + sevens, 3);
        }
        filch_chan_unref(chan);
    }
    return 0;
}

Test(chan_permit, the_last_permit_of_a_closed_channel_ends_it)
{
    T_OK(run_in_runtime(0, close_body, NULL));
}

/* A cancelled task gets a permit that is there, and none that is not. */
static int cancelled_body(void *arg)
{
    filch_chan *chan = chan_new(1);
    filch_chan_permit permit;

    (void)arg;
    T_OK(filch_task_cancel(filch_task_self()));
    T_OK(filch_chan_reserve(chan, &permit, FILCH_NEVER));
    T_IS(filch_chan_reserve(chan, &permit, FILCH_NEVER), -ECANCELED);
    T_IS(filch_chan_reserve(chan, &permit, FILCH_NOW), -ECANCELED);
    T_OK(use(&permit, 1)); /* no cancellation point */
    T_IS(recv_now(chan), 1);
    filch_chan_unref(chan);
    return 0;
}

Test(chan_permit, a_cancelled_task_can_use_what_it_has)
{
    T_OK(run_in_runtime(0, cancelled_body, NULL));
}

/* ---- in a select ---- */

Test(chan_permit, a_select_gets_the_permit_only_if_that_case_wins)
{
    filch_chan *full = chan_new(1), *ready = chan_new(1);
    filch_chan_permit permit = {0};
    filch_case cases[2];
    int value = 0;

    T_OK(send_now(full, 1));
    T_OK(send_now(ready, 2));
    cases[0] = filch_case_reserve(full, 1, &permit);
    cases[1] = filch_case_recv(ready, &value);
    cr_assert_eq(filch_select(cases, 2, 0, T_LIMIT), 1);
    cr_assert_eq(value, 2);
    T_CHECK(permit.chan == NULL);
    T_IS(recv_now(full), 1);
    cr_assert_eq(filch_select(cases, 2, 0, T_LIMIT), 0);
    T_OK(cases[0].result);
    T_IS(send_now(full, 3), -ETIMEDOUT);
    T_OK(use(&permit, 4));
    T_IS(recv_now(full), 4);
    T_OK(filch_chan_close(full));
    cr_assert_eq(filch_select(cases, 2, 0, T_LIMIT), 0);
    T_IS(cases[0].result, -EPIPE);
    filch_chan_unref(full);
    filch_chan_unref(ready);
}

/* Reserves one place of either channel, again and again, and uses some of them. */
static int select_either(void *arg)
{
    filch_chan **chan = arg;
    int used = 0;

    for (int i = 0; i < 300; i++) {
        filch_chan_permit permit[2] = {{0}, {0}};
        filch_case cases[2] = {filch_case_reserve(chan[0], 1, &permit[0]),
                               filch_case_reserve(chan[1], 2, &permit[1])};
        int winner = filch_select(cases, 2, 0, T_LIMIT);

        T_CHECK(winner >= 0);
        T_OK(cases[winner].result);
        T_CHECK(permit[winner].n > 0 && permit[1 - winner].n == 0);
        if (i % 3) {
            T_OK(use(&permit[winner], 1));
            used++;
        }
        filch_chan_permit_release(&permit[winner]);
    }
    return used;
}

static int drain(void *arg)
{
    int value, n = 0;

    while (filch_chan_recv(arg, &value, T_LIMIT) == 0)
        n++;
    return n;
}

static int selects_body(void *arg)
{
    filch_chan *chan[2] = {chan_new(1), chan_new(3)};
    filch_task *task[4], *drains[2];
    int used = 0;

    (void)arg;
    for (int i = 0; i < 2; i++)
        drains[i] = spawn(drain, chan[i]);
    for (int i = 0; i < 4; i++)
        task[i] = spawn(select_either, chan);
    for (int i = 0; i < 4; i++)
        used += join(task[i]);
    for (int i = 0; i < 2; i++)
        T_OK(filch_chan_close(chan[i]));
    T_IS(join(drains[0]) + join(drains[1]), used);
    /* No place was lost. */
    for (int i = 0; i < 2; i++)
        filch_chan_unref(chan[i]);
    return 0;
}

Test(chan_permit, losers_of_selects_leave_no_place_behind)
{
    T_OK(run_in_runtime(0, selects_body, NULL));
}

/* ---- plain threads ---- */

static void *reserve_thread(void *arg)
{
    for (int i = 0; i < 500; i++) {
        filch_chan_permit permit;

        T_OK(filch_chan_reserve_many(arg, 1 + i % 3, &permit, T_LIMIT));
        T_OK(use(&permit, i));
        filch_chan_permit_release(&permit);
    }
    return NULL;
}

Test(chan_permit, works_between_plain_threads)
{
    filch_chan *chan = chan_new(3);
    pthread_t thread[3];
    long sum = 0;

    for (int i = 0; i < 3; i++)
        T_OK(pthread_create(&thread[i], NULL, reserve_thread, chan));
    for (int i = 0; i < 1500; i++) {
        int value;

        T_OK(filch_chan_recv(chan, &value, T_LIMIT));
        sum += value;
    }
    for (int i = 0; i < 3; i++)
        T_OK(pthread_join(thread[i], NULL));
    T_IS(sum, 3 * (499 * 500 / 2));
    filch_chan_unref(chan);
}
