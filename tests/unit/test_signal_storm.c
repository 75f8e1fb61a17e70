/* Description: selects over all kinds of channels at once (a channel, a broadcast, a watch, a
 * oneshot), with cases that come and go, time-outs and cancels: one case takes effect, and what the
 * others offer is still there. Futures that are polled and then left alone hold nobody up. */
#include <errno.h>

#include <criterion/criterion.h>

#include "tests/runner/crowd.h"

TestSuite(signal_storm, .timeout = 120);

#define READERS 6
#define QUESTIONS_MAX 64

struct storm {
    filch_chan *jobs;      /* numbers, each to one reader */
    filch_chan *questions; /* senders' ends of oneshots, for whoever answers */
    filch_broadcast *news; /* numbers 1, 2, ... to all, none lost */
    filch_watch *level;
    uint64_t rounds;
    atomic_long ready;
    atomic_ulong numbers;
    atomic_ulong jobs_done, asked, answered;
};

struct reader {
    struct storm *storm;
    uint64_t seed;
    filch_broadcast_receiver news;
    filch_watch_reader level;
    filch_oneshot_rx *answer; /* NULL: nothing was asked */
    uint64_t question;
    uint64_t last_news, last_level;
    bool jobs_over, news_over, level_over;
};

static void ask(struct reader *reader)
{
    filch_oneshot_tx *tx;

    T_OK(filch_oneshot_new(sizeof(uint64_t), &tx, &reader->answer));
    T_OK(filch_chan_send(reader->storm->questions, &tx, FILCH_NEVER));
    atomic_fetch_add(&reader->storm->asked, 1);
}

/* A case has won. */
static void take(struct reader *reader, int i, int result, uint64_t value)
{
    switch (i) {
    case 0:
        reader->jobs_over = result == -EPIPE;
        if (result == 0)
            atomic_fetch_add(&reader->storm->jobs_done, value);
        break;
    case 1:
        reader->news_over = result == -EPIPE;
        if (result == 0)
            T_IS(value, ++reader->last_news); /* each, in order, once */
        break;
    case 2:
        reader->level_over = result == -EPIPE;
        if (result == 0) {
            T_OK(filch_watch_get(&reader->level, &value));
            T_CHECK(value > reader->last_level);
            reader->last_level = value;
        }
        break;
    case 3:
        T_OK(result);
        atomic_fetch_add(&reader->storm->answered, value);
        reader->answer = NULL;
        break;
    default:
        T_OK(result); /* it is late */
        return;
    }
    T_CHECK(result == 0 || result == -EPIPE);
}

static int reads(struct storm *storm, uint64_t seed)
{
    struct reader reader = {.storm = storm, .seed = seed};

    T_OK(filch_broadcast_subscribe(storm->news, &reader.news));
    T_OK(filch_watch_subscribe(storm->level, &reader.level));
    atomic_fetch_add(&storm->ready, 1);
    while (!reader.jobs_over || !reader.news_over || !reader.level_over || reader.answer) {
        filch_time soon = filch_after(random_below(&reader.seed, 20) * 1000);
        uint64_t value = 0;
        int i, result = 0;

        if (!reader.answer && !reader.jobs_over && random_below(&reader.seed, 4) == 0)
            ask(&reader);
        i = FILCH_SELECT_RESULT(
            &result, FILCH_NEVER,
            filch_case_if(!reader.jobs_over && random_below(&reader.seed, 4),
                          filch_case_recv(storm->jobs, &value)),
            filch_case_if(!reader.news_over && random_below(&reader.seed, 4),
                          filch_case_broadcast(&reader.news, &value, NULL)),
            filch_case_if(!reader.level_over && random_below(&reader.seed, 4),
                          filch_case_watch_changed(&reader.level)),
            filch_case_if(reader.answer, filch_case_oneshot(reader.answer, &value)),
            filch_case_at(soon));
        T_CHECK(i >= 0);
        take(&reader, i, result, value);
    }
    T_IS(reader.last_news, storm->rounds);
    T_IS(reader.last_level, storm->rounds);
    filch_broadcast_unsubscribe(&reader.news);
    filch_watch_unsubscribe(&reader.level);
    return 0;
}

static int feeds(struct storm *storm)
{
    T_WAIT_UNTIL(atomic_load(&storm->ready) == READERS);
    for (uint64_t i = 1; i <= storm->rounds; i++) {
        T_OK(filch_chan_send(storm->jobs, &i, FILCH_NEVER));
        T_IS(filch_broadcast_send(storm->news, &i, FILCH_NEVER), READERS);
        T_OK(filch_watch_send(storm->level, &i));
    }
    T_OK(filch_chan_close(storm->jobs));
    filch_broadcast_unref(storm->news);
    filch_watch_unref(storm->level);
    return 0;
}

static int answers(struct storm *storm)
{
    filch_oneshot_tx *tx;
    uint64_t one = 1;

    while (filch_chan_recv(storm->questions, &tx, FILCH_NEVER) == 0)
        T_OK(filch_oneshot_send(tx, &one));
    return 0;
}

static int takes_part(void *arg)
{
    struct storm *storm = arg;
    unsigned long number = atomic_fetch_add(&storm->numbers, 1);
    int r;

    if (number == 0)
        return feeds(storm);
    if (number == 1)
        return answers(storm);
    r = reads(storm, number * 131071);
    if (atomic_fetch_sub(&storm->ready, 1) == 1)
        T_OK(filch_chan_close(storm->questions));
    return r;
}

static void storm(unsigned workers)
{
    struct storm storm = {.rounds = test_ops() / 24};
    uint64_t zero = 0;

    T_OK(filch_chan_new(sizeof(uint64_t), 3, &storm.jobs));
    T_OK(filch_chan_new(sizeof(filch_oneshot_tx *), QUESTIONS_MAX, &storm.questions));
    T_OK(filch_broadcast_new(sizeof(uint64_t), 3, FILCH_BROADCAST_KEEP, &storm.news));
    T_OK(filch_watch_new(sizeof(uint64_t), &zero, &storm.level));
    crowd_run(workers, READERS, 2, takes_part, &storm);
    T_IS(atomic_load(&storm.jobs_done), storm.rounds * (storm.rounds + 1) / 2);
    T_IS(atomic_load(&storm.answered), atomic_load(&storm.asked));
    filch_chan_unref(storm.jobs);
    filch_chan_unref(storm.questions);
    T_OK(filch_rcu_barrier());
}

Test(signal_storm, selects_over_all_kinds_lose_nothing)
{
    storm(1);
    storm(2);
    storm(8);
}

/* ---- polled, and left alone ---- */

static filch_poll poll_once(filch_future *future)
{
    filch_waker nobody = {0};
    filch_cx cx = {.waker = &nobody};

    return future->poll(future, &cx);
}

static int others_go_on(void *arg)
{
    filch_broadcast *news;
    filch_broadcast_receiver lazy, eager;
    filch_broadcast_future next;
    filch_watch *level;
    filch_watch_reader lazy_reader, eager_reader;
    filch_watch_future changed;
    uint64_t value = 0, other = 0, lost = 0;

    (void)arg;
    T_OK(filch_broadcast_new(sizeof value, 4, 0, &news));
    T_OK(filch_broadcast_subscribe(news, &lazy));
    T_OK(filch_broadcast_subscribe(news, &eager));
    T_OK(filch_watch_new(sizeof value, &value, &level));
    T_OK(filch_watch_subscribe(level, &lazy_reader));
    T_OK(filch_watch_subscribe(level, &eager_reader));
    T_OK(filch_broadcast_future_init(&next, &lazy, &other, &lost));
    T_OK(filch_watch_future_init(&changed, &lazy_reader));
    T_IS(poll_once(&next.base), FILCH_PENDING);
    T_IS(poll_once(&changed.base), FILCH_PENDING);
    for (uint64_t i = 1; i <= 100; i++) {
        T_IS(filch_broadcast_send(news, &i, T_LIMIT), 2);
        T_OK(filch_watch_send(level, &i));
        T_OK(filch_broadcast_recv(&eager, &value, NULL, T_LIMIT));
        T_IS(value, i);
        T_OK(filch_watch_changed(&eager_reader, T_LIMIT));
    }
    T_IS(other, 0); /* written by a poll only */
    T_IS(poll_once(&next.base), FILCH_READY);
    T_IS(next.base.result, -EOVERFLOW);
    T_IS(lost, 96);
    T_IS(poll_once(&changed.base), FILCH_READY);
    T_OK(changed.base.result);
    filch_broadcast_unsubscribe(&lazy);
    filch_broadcast_unsubscribe(&eager);
    filch_broadcast_unref(news);
    filch_watch_unsubscribe(&lazy_reader);
    filch_watch_unsubscribe(&eager_reader);
    filch_watch_unref(level);
    return 0;
}

Test(signal_storm, a_future_that_is_left_alone_holds_nobody_up)
{
    T_OK(run_in_runtime(0, others_go_on, NULL));
}
