/* Description: select over channels and times: one case wins, the others have taken nothing; order,
 * fairness, cancel, both ends of one channel, plain threads. */
#include <errno.h>
#include <pthread.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(select, .timeout = 120);

struct pair {
    filch_chan *a, *b;
};

static struct pair pair_new(size_t capacity)
{
    struct pair pair;

    T_OK(filch_chan_new(sizeof(int), capacity, &pair.a));
    T_OK(filch_chan_new(sizeof(int), capacity, &pair.b));
    return pair;
}

static void pair_free(struct pair *pair)
{
    filch_chan_unref(pair->a);
    filch_chan_unref(pair->b);
}

static int put(filch_chan *chan, int message)
{
    return filch_chan_send(chan, &message, FILCH_NOW);
}

Test(select, takes_what_is_there_and_leaves_the_rest)
{
    struct pair pair = pair_new(4);
    int x = 0, y = 0;

    T_OK(put(pair.a, 1));
    T_OK(put(pair.b, 2));
    switch (FILCH_SELECT(FILCH_NEVER, filch_case_recv(pair.a, &x), filch_case_recv(pair.b, &y))) {
    case 0:
        T_IS(x, 1);
        T_IS(y, 0);
        T_IS(filch_chan_len(pair.b), 1);
        break;
    case 1:
        T_IS(x, 0);
        T_IS(y, 2);
        T_IS(filch_chan_len(pair.a), 1);
        break;
    default:
        T_CHECK(false);
    }
    pair_free(&pair);
}

Test(select, the_first_listed_wins_when_asked_for_and_any_otherwise)
{
    struct pair pair = pair_new(1);
    unsigned wins[2] = {0, 0};
    int x;

    for (int i = 0; i < 1000; i++) {
        (void)!put(pair.a, 1);
        (void)!put(pair.b, 2);
        T_IS(
            FILCH_SELECT_FIRST(FILCH_NOW, filch_case_recv(pair.b, &x), filch_case_recv(pair.a, &x)),
            0);
        T_IS(x, 2);
    }
    for (int i = 0; i < 1000; i++) {
        int r;

        (void)!put(pair.a, 1);
        (void)!put(pair.b, 2);
        r = FILCH_SELECT(FILCH_NOW, filch_case_recv(pair.a, &x), filch_case_recv(pair.b, &x));
        T_CHECK(r == 0 || r == 1);
        wins[r]++;
    }
    T_CHECK(wins[0] > 350 && wins[1] > 350); /* 9 standard deviations */
    pair_free(&pair);
}

Test(select, nothing_ready_is_the_else)
{
    struct pair pair = pair_new(1);
    int x;

    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_recv(pair.a, &x)), -ETIMEDOUT);
    T_OK(put(pair.a, 5));
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_send(pair.a, &x)), -ETIMEDOUT);
    T_IS(FILCH_SELECT(FILCH_NEVER, filch_case_send(pair.a, &x), filch_case_at(FILCH_NOW)), 1);
    T_IS(filch_chan_len(pair.a), 1);
    pair_free(&pair);
}

Test(select, a_closed_channel_wins_with_its_error)
{
    struct pair pair = pair_new(1);
    filch_case cases[] = {filch_case_recv(pair.a, &pair), filch_case_send(pair.b, &pair)};

    T_OK(put(pair.b, 1));
    T_OK(filch_chan_close(pair.a));
    T_IS(filch_select(cases, 2, 0, FILCH_NEVER), 0);
    T_IS(cases[0].result, -EPIPE);
    pair_free(&pair);
}

static int selects_both(void *arg)
{
    struct pair *pair = arg;
    filch_case cases[2];
    int got = 0;
    int r;

    cases[0] = filch_case_recv(pair->a, &got);
    cases[1] = filch_case_recv(pair->b, &got);
    r = filch_select(cases, 2, 0, FILCH_NEVER);
    return r < 0 ? r : cases[r].result < 0 ? cases[r].result : 100 * r + got;
}

static int wakes_a_waiting_select(void *arg)
{
    struct pair pair = pair_new(1);
    filch_task *task = spawn(selects_both, &pair);
    int result;

    (void)arg;
    let_others_run();
    T_OK(put(pair.b, 7));
    T_OK(filch_task_join(task, &result, T_LIMIT));
    T_IS(result, 107);
    /* It has left the other list. */
    T_OK(put(pair.a, 8));
    T_IS(filch_chan_len(pair.a), 1);
    pair_free(&pair);
    return 0;
}

Test(select, waits_for_whoever_comes_first)
{
    T_OK(run_in_runtime(0, wakes_a_waiting_select, NULL));
}

static int cancels_a_waiting_select(void *arg)
{
    struct pair pair = pair_new(1);
    filch_task *task = spawn(selects_both, &pair);
    int result;

    (void)arg;
    let_others_run();
    T_OK(filch_task_cancel(task));
    T_OK(filch_task_join(task, &result, T_LIMIT));
    T_IS(result, -ECANCELED);
    T_OK(put(pair.a, 1));
    T_OK(put(pair.b, 2));
    T_IS(filch_chan_len(pair.a) + filch_chan_len(pair.b), 2);
    pair_free(&pair);
    return 0;
}

Test(select, a_cancelled_select_has_taken_nothing)
{
    T_OK(run_in_runtime(0, cancels_a_waiting_select, NULL));
}

static int waits_for_times(void *arg)
{
    struct pair pair = pair_new(1);
    filch_time start = filch_now();
    int x;

    (void)arg;
    T_IS(FILCH_SELECT(FILCH_NEVER, filch_case_recv(pair.a, &x),
                      filch_case_at(start + 20 * FILCH_MILLISECOND),
                      filch_case_at(start + 2 * FILCH_MILLISECOND), filch_case_at(FILCH_NEVER)),
         2);
    T_CHECK(filch_now() >= start + 2 * FILCH_MILLISECOND);
    T_IS(FILCH_SELECT(filch_after(FILCH_MILLISECOND), filch_case_recv(pair.a, &x),
                      filch_case_at(FILCH_NEVER)),
         -ETIMEDOUT);
    pair_free(&pair);
    return 0;
}

Test(select, the_earliest_time_wins)
{
    T_OK(waits_for_times(NULL));
    T_OK(run_in_runtime(0, waits_for_times, NULL));
}

static int both_ends(void *arg)
{
    filch_chan *chan;
    int out = 3, in = 0;
    int r;

    (void)arg;
    T_OK(filch_chan_new(sizeof(int), 1, &chan));
    for (int i = 0; i < 100; i++) {
        r = FILCH_SELECT(FILCH_NEVER, filch_case_recv(chan, &in), filch_case_send(chan, &out));
        T_IS(r, i % 2 == 0); /* empty: it can only send; full: it can only receive */
    }
    T_IS(in, 3);
    filch_chan_unref(chan);
    return 0;
}

Test(select, both_ends_of_one_channel)
{
    T_OK(both_ends(NULL));
    T_OK(run_in_runtime(0, both_ends, NULL));
}

/* ---- many at once ---- */

#define CHANNELS 4
#define SELECTORS 4
#define PER_SENDER 5000

struct crowd {
    filch_chan *chans[CHANNELS];
    filch_chan *quit;
    atomic_ullong sum;
    atomic_ullong count;
};

static int crowd_receiver(void *arg)
{
    struct crowd *crowd = arg;
    int quit;

    for (;;) {
        filch_case cases[CHANNELS + 1];
        int got[CHANNELS];
        int r;

        for (int i = 0; i < CHANNELS; i++)
            cases[i] = filch_case_recv(crowd->chans[i], &got[i]);
        cases[CHANNELS] = filch_case_recv(crowd->quit, &quit);
        r = filch_select(cases, CHANNELS + 1, 0, FILCH_NEVER);
        T_CHECK(r >= 0);
        if (r == CHANNELS)
            return 0;
        T_OK(cases[r].result);
        atomic_fetch_add(&crowd->sum, (unsigned)got[r]);
        atomic_fetch_add(&crowd->count, 1);
    }
}

static int crowd_sender(void *arg)
{
    struct crowd *crowd = arg;

    for (int i = 1; i <= PER_SENDER; i++) {
        filch_case cases[CHANNELS];

        for (int k = 0; k < CHANNELS; k++)
            cases[k] = filch_case_send(crowd->chans[k], &i);
        T_CHECK(filch_select(cases, CHANNELS, 0, FILCH_NEVER) >= 0);
    }
    return 0;
}

static void *crowd_sender_thread(void *arg)
{
    T_OK(crowd_sender(arg));
    return NULL;
}

static int crowd_root(void *arg)
{
    struct crowd crowd = {.sum = 0};
    filch_task *receivers[SELECTORS], *senders[SELECTORS];
    unsigned long long all = (SELECTORS + 1) * (unsigned long long)PER_SENDER;
    pthread_t thread;

    (void)arg;
    for (int i = 0; i < CHANNELS; i++)
        T_OK(filch_chan_new(sizeof(int), 1 + (size_t)i, &crowd.chans[i]));
    T_OK(filch_chan_new(sizeof(int), 1, &crowd.quit));
    for (int i = 0; i < SELECTORS; i++) {
        receivers[i] = spawn(crowd_receiver, &crowd);
        senders[i] = spawn(crowd_sender, &crowd);
    }
    T_OK(pthread_create(&thread, NULL, crowd_sender_thread, &crowd));
    for (int i = 0; i < SELECTORS; i++)
        T_OK(filch_task_join(senders[i], NULL, FILCH_NEVER));
    T_WAIT_UNTIL(atomic_load(&crowd.count) == all);
    T_OK(pthread_join(thread, NULL));
    T_OK(filch_chan_close(crowd.quit));
    for (int i = 0; i < SELECTORS; i++)
        T_OK(filch_task_join(receivers[i], NULL, T_LIMIT));
    T_IS(atomic_load(&crowd.sum),
         (SELECTORS + 1) * ((unsigned long long)PER_SENDER * (PER_SENDER + 1) / 2));
    for (int i = 0; i < CHANNELS; i++)
        filch_chan_unref(crowd.chans[i]);
    filch_chan_unref(crowd.quit);
    return 0;
}

Test(select, many_selects_on_both_sides_lose_and_double_nothing)
{
    T_OK(run_in_runtime(0, crowd_root, NULL));
}
