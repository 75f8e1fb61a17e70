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
    for (int i = 0; i < T_MANY(100000); i++) {
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

/* Several at once, each with both ends: whatever was sent is received once, or is left. */
#define SELFS 4

struct selfs {
    filch_chan *chan;
    atomic_long sent, received; /* sums */
};

static int selects_itself(void *arg)
{
    struct selfs *selfs = arg;
    long sent = 0, received = 0;

    for (int i = 1; i <= T_MANY(100000) / SELFS; i++) {
        int out = i, in = 0;

        if (FILCH_SELECT(FILCH_NEVER, filch_case_recv(selfs->chan, &in),
                         filch_case_send(selfs->chan, &out)) == 0)
            received += in;
        else
            sent += out;
    }
    atomic_fetch_add(&selfs->sent, sent);
    atomic_fetch_add(&selfs->received, received);
    return 0;
}

static int selects_themselves(void *arg)
{
    struct selfs *selfs = arg;
    FILCH_SCOPE(scope);

    for (int i = 0; i < SELFS; i++)
        T_OK(filch_scope_spawn(&scope, selects_itself, selfs));
    return filch_scope_join(&scope, T_LIMIT);
}

Test(select, both_ends_of_one_channel_in_many_selects_lose_nothing)
{
    struct selfs selfs = {.sent = 0};
    int left;

    T_OK(filch_chan_new(sizeof(int), 2, &selfs.chan));
    T_OK(run_in_runtime(0, selects_themselves, &selfs));
    while (filch_chan_recv(selfs.chan, &left, FILCH_NOW) == 0)
        selfs.received += left;
    T_CHECK(selfs.sent > 0);
    T_IS(selfs.received, selfs.sent);
    filch_chan_unref(selfs.chan);
}

/* The same channel in two cases: a message fills one of the two variables. */
static int sends_numbers(void *arg)
{
    for (int i = 1; i <= T_MANY(100000); i++)
        T_OK(filch_chan_send(arg, &i, T_LIMIT));
    return filch_chan_close(arg);
}

static int receives_twice(void *arg)
{
    long count[2] = {0, 0};

    for (int want = 1;; want++) {
        int in[2] = {0, 0}, result;
        int r = FILCH_SELECT_RESULT(&result, T_LIMIT, filch_case_recv(arg, &in[0]),
                                    filch_case_recv(arg, &in[1]));

        T_CHECK(r == 0 || r == 1);
        if (result == -EPIPE)
            break;
        T_OK(result);
        T_IS(in[r], want);
        T_IS(in[!r], 0);
        count[r]++;
    }
    T_IS(count[0] + count[1], T_MANY(100000));
    T_CHECK(count[0] > 0 && count[1] > 0);
    return 0;
}

static int one_channel_twice(void *arg)
{
    filch_chan *chan;
    filch_task *task;

    (void)arg;
    T_OK(filch_chan_new(sizeof(int), 1, &chan));
    task = spawn(sends_numbers, chan);
    T_OK(receives_twice(chan));
    T_OK(join(task));
    filch_chan_unref(chan);
    return 0;
}

Test(select, one_channel_twice_in_a_select_is_received_once)
{
    T_OK(run_in_runtime(0, one_channel_twice, NULL));
}

/* ---- guards and results ---- */

Test(select, a_case_switched_off_never_wins)
{
    struct pair pair = pair_new(1);
    filch_case off;
    int x = 0;

    T_OK(put(pair.a, 1));
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_if(false, filch_case_recv(pair.a, &x)),
                      filch_case_if(true, filch_case_recv(pair.b, &x))),
         -ETIMEDOUT);
    /* A guard may stand before what cannot be a case at all. */
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_if(false, filch_case_recv(NULL, &x)),
                      filch_case_recv(pair.a, &x)),
         1);
    T_IS(x, 1);
    off = filch_case_if(false, filch_case_recv(pair.a, &x));
    T_IS(filch_select(&off, 1, 0, FILCH_NEVER), -EINVAL);
    pair_free(&pair);
}

Test(select, the_winners_result_without_an_array)
{
    struct pair pair = pair_new(1);
    int evaluated = 0;
    int r = 5, x = 0;

    T_OK(put(pair.a, 9));
    T_IS(FILCH_SELECT_RESULT(&r, FILCH_NEVER, (evaluated++, filch_case_recv(pair.a, &x)),
                             filch_case_recv(pair.b, &x)),
         0);
    T_OK(r);
    T_IS(x, 9);
    T_IS(evaluated, 1);
    T_OK(filch_chan_close(pair.b));
    T_IS(FILCH_SELECT_RESULT(&r, FILCH_NEVER, filch_case_recv(pair.a, &x),
                             filch_case_recv(pair.b, &x)),
         1);
    T_IS(r, -EPIPE);
    r = 5;
    T_IS(FILCH_SELECT_RESULT(&r, FILCH_NOW, filch_case_recv(pair.a, &x)), -ETIMEDOUT);
    T_IS(r, 5);
    pair_free(&pair);
}

Test(select, any_two_of_many_come_first_equally_often)
{
    filch_chan *chans[5];
    unsigned wins[5][5] = {{0}};
    int x;

    for (int i = 0; i < 5; i++)
        T_OK(filch_chan_new(sizeof(int), 1, &chans[i]));
    for (int a = 0; a < 5; a++)
        for (int b = a + 1; b < 5; b++)
            for (int round = 0; round < 400; round++) {
                filch_case cases[5];
                int r;

                for (int i = 0; i < 5; i++)
                    cases[i] = filch_case_recv(chans[i], &x);
                (void)!put(chans[a], 1);
                (void)!put(chans[b], 1);
                r = filch_select(cases, 5, 0, FILCH_NOW);
                T_CHECK(r == a || r == b);
                wins[a][b] += r == a;
                (void)!filch_chan_recv(chans[r == a ? b : a], &x, FILCH_NOW);
            }
    for (int a = 0; a < 5; a++)
        for (int b = a + 1; b < 5; b++)
            T_CHECK(wins[a][b] > 110 && wins[a][b] < 290); /* 9 standard deviations */
    for (int i = 0; i < 5; i++)
        filch_chan_unref(chans[i]);
}

/* ---- joins ---- */

static int returns_its_argument(void *arg)
{
    return (int)(intptr_t)arg;
}

static int receives_one(void *arg)
{
    int message = 0;

    T_OK(filch_chan_recv(arg, &message, FILCH_NEVER));
    return message;
}

static int joins_in_select(void *arg)
{
    struct pair pair = pair_new(1);
    filch_task *done = spawn(returns_its_argument, (void *)7);
    filch_task *waits = spawn(receives_one, pair.a);
    int first = 0, second = 0;
    int r, x;

    (void)arg;
    T_IS(FILCH_SELECT_RESULT(&r, FILCH_NEVER, filch_case_join(waits, &second),
                             filch_case_join(done, &first)),
         1);
    T_OK(r);
    T_IS(first, 7);
    /* The loser's handle is good; the winner's is used up. */
    T_IS(FILCH_SELECT_RESULT(&r, FILCH_NEVER, filch_case_join(done, &first)), 0);
    T_IS(r, -ESRCH);
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_join(waits, &second), filch_case_recv(pair.b, &x)),
         -ETIMEDOUT);
    T_OK(put(pair.a, 11));
    T_IS(FILCH_SELECT_RESULT(&r, T_LIMIT, filch_case_recv(pair.b, &x),
                             filch_case_join(waits, &second)),
         1);
    T_OK(r);
    T_IS(second, 11);
    T_IS(FILCH_SELECT_RESULT(&r, FILCH_NEVER, filch_case_join(filch_task_self(), &x)), 0);
    T_IS(r, -EDEADLK);
    pair_free(&pair);
    return 0;
}

Test(select, a_join_consumes_the_handle_only_if_it_wins)
{
    T_OK(run_in_runtime(0, joins_in_select, NULL));
}

static int join_races(void *arg)
{
    struct pair pair = pair_new(1);

    (void)arg;
    /* The task ends while the select is decided by a message, and the other way round. */
    for (int i = 0; i < 2000; i++) {
        filch_task *task = spawn(receives_one, pair.a);
        filch_task *helper;
        int result = -1;
        int x, r;

        if (i & 1)
            let_others_run();
        T_OK(put(pair.b, i));
        helper = spawn(i & 2 ? returns_its_argument : receives_one, pair.b);
        T_OK(put(pair.a, i));
        r = FILCH_SELECT(FILCH_NEVER, filch_case_join(task, &result), filch_case_recv(pair.b, &x));
        T_CHECK(r == 0 || r == 1);
        if (r == 1)
            T_IS(join(task), i);
        else
            T_IS(result, i);
        if (!(i & 2) && r == 1)
            T_OK(put(pair.b, 0));
        (void)join(helper);
        (void)!filch_chan_recv(pair.b, &x, FILCH_NOW);
    }
    pair_free(&pair);
    return 0;
}

Test(select, a_task_that_ends_beside_the_winner_can_still_be_joined)
{
    T_OK(run_in_runtime(0, join_races, NULL));
}

static int joins_a_job(void *arg)
{
    filch_task *job;
    int result = 0, r;

    (void)arg;
    T_OK(filch_blocking_spawn(returns_its_argument, (void *)5, NULL, &job));
    T_IS(FILCH_SELECT_RESULT(&r, FILCH_NEVER, filch_case_at(FILCH_NEVER),
                             filch_case_join(job, &result)),
         1);
    T_OK(r);
    T_IS(result, 5);
    return 0;
}

Test(select, a_blocking_job_can_be_waited_for)
{
    T_OK(run_in_runtime(0, joins_a_job, NULL));
}

static void *joins_in_thread(void *arg)
{
    int result = 0, r;

    T_IS(
        FILCH_SELECT_RESULT(&r, T_LIMIT, filch_case_at(FILCH_NEVER), filch_case_join(arg, &result)),
        1);
    T_OK(r);
    T_IS(result, 3);
    return NULL;
}

Test(select, a_plain_thread_joins)
{
    filch_runtime *rt = start_runtime(0);
    struct pair pair = pair_new(1);
    filch_task *task;
    pthread_t thread;

    T_OK(filch_runtime_spawn(rt, receives_one, pair.a, NULL, &task));
    T_OK(pthread_create(&thread, NULL, joins_in_thread, task));
    sched_yield();
    T_OK(put(pair.a, 3));
    T_OK(pthread_join(thread, NULL));
    stop_runtime(rt);
    pair_free(&pair);
}

/* ---- futures ---- */

/* Ready when it was told so; keeps the waker of the last poll. */
struct signal_future {
    filch_future base;
    pthread_mutex_t lock;
    bool ready;
    int polls_when_ready;
    filch_waker waker;
};

static filch_poll signal_poll(filch_future *self, filch_cx *cx)
{
    struct signal_future *future = (struct signal_future *)self;
    filch_poll answer = FILCH_PENDING;

    pthread_mutex_lock(&future->lock);
    if (future->ready) {
        future->polls_when_ready++;
        self->result = 42;
        answer = FILCH_READY;
    } else {
        filch_waker_drop(future->waker);
        future->waker = filch_waker_clone(cx->waker);
    }
    pthread_mutex_unlock(&future->lock);
    return answer;
}

static void signal_now(struct signal_future *future, bool ready)
{
    filch_waker waker;

    pthread_mutex_lock(&future->lock);
    future->ready = ready;
    waker = future->waker;
    future->waker = (filch_waker){0};
    pthread_mutex_unlock(&future->lock);
    filch_waker_wake(waker);
}

#define SIGNAL_INIT                                                                                \
    {                                                                                              \
        .base.poll = signal_poll, .lock = PTHREAD_MUTEX_INITIALIZER                                \
    }

static int signals(void *arg)
{
    let_others_run();
    signal_now(arg, false); /* for nothing: it is polled again */
    let_others_run();
    signal_now(arg, true);
    return 0;
}

static void *signals_in_thread(void *arg)
{
    T_OK(signals(arg));
    return NULL;
}

static int waits_for_future(void *arg)
{
    struct signal_future future = SIGNAL_INIT;
    struct pair pair = pair_new(1);
    filch_task *helper = arg ? NULL : spawn(signals, &future);
    pthread_t thread;
    int r, x;

    if (arg)
        T_OK(pthread_create(&thread, NULL, signals_in_thread, &future));
    T_IS(FILCH_SELECT_RESULT(&r, T_LIMIT, filch_case_recv(pair.a, &x),
                             filch_case_future(&future.base)),
         1);
    T_IS(r, 42);
    T_IS(future.polls_when_ready, 1);
    if (arg)
        T_OK(pthread_join(thread, NULL));
    else
        T_OK(join(helper));
    pair_free(&pair);
    return 0;
}

Test(select, a_future_wins_when_it_is_ready)
{
    char threads = 0;

    T_OK(run_in_runtime(0, waits_for_future, NULL));
    T_OK(run_in_runtime(0, waits_for_future, &threads));
    T_OK(waits_for_future(&threads));
}

static int future_races(void *arg)
{
    struct pair pair = pair_new(1);

    for (int i = 0; i < (arg ? 300 : 2000); i++) {
        struct signal_future future = SIGNAL_INIT;
        filch_task *task = NULL;
        pthread_t thread;
        int r, x;

        if (arg)
            T_OK(pthread_create(&thread, NULL, signals_in_thread, &future));
        else
            task = spawn(signals, &future);
        T_OK(put(pair.a, 1));
        r = FILCH_SELECT(FILCH_NEVER, filch_case_recv(pair.a, &x), filch_case_future(&future.base));
        T_IS(future.polls_when_ready, r == 1);
        if (r == 0)
            T_IS(filch_await(&future.base, T_LIMIT), 42);
        else
            T_OK(filch_chan_recv(pair.a, &x, FILCH_NOW));
        if (arg)
            T_OK(pthread_join(thread, NULL));
        else
            T_OK(join(task));
    }
    pair_free(&pair);
    return 0;
}

Test(select, a_future_that_loses_is_not_finished)
{
    char threads = 0;

    T_OK(run_in_runtime(0, future_races, NULL));
    T_OK(future_races(&threads));
}

static int times_out_beside_a_future(void *arg)
{
    struct signal_future future = SIGNAL_INIT;
    filch_future none = {.poll = NULL};

    (void)arg;
    T_IS(FILCH_SELECT(filch_after(FILCH_MILLISECOND), filch_case_future(&future.base)), -ETIMEDOUT);
    T_IS(FILCH_SELECT(FILCH_NEVER, filch_case_future(&future.base),
                      filch_case_at(filch_after(FILCH_MILLISECOND))),
         1);
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_future(&none)), -EINVAL);
    filch_waker_drop(future.waker);
    return 0;
}

Test(select, times_beside_a_future)
{
    T_OK(times_out_beside_a_future(NULL));
    T_OK(run_in_runtime(0, times_out_beside_a_future, NULL));
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
