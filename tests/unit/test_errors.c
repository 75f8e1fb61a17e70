/* Description: errors that headers promise and that other tests have no cause to provoke, call by
 * call: in a cancelled task each call that would wait says so, and past its time likewise; cases
 * and futures give the errors of what they stand for. check_errors.py knows which are missing. */
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "runtime/task/block.h"
#include "tests/runner/run.h"

TestSuite(errors, .timeout = 60);

/* ---- calls that would have to wait ---- */

/* What somebody else holds, or has begun. */
struct held {
    filch_mutex mutex, cond_mutex;
    filch_cond cond;
    filch_rwlock rwlock;
    filch_once once;
    filch_once_cell cell;
    filch_flights *flights;
    filch_gate gate;
    filch_tracker *tracker;
    atomic_uint holders;
    filch_token *release;
};

static int holds_on(void *arg)
{
    struct held *held = arg;

    atomic_fetch_add(&held->holders, 1);
    return filch_token_wait(held->release, FILCH_NEVER);
}

static int makes(void *arg, void **ret_value)
{
    *ret_value = arg;
    return holds_on(arg);
}

static int flies(void *arg, void *value)
{
    (void)value;
    return holds_on(arg);
}

static int holds_locks(void *arg)
{
    struct held *held = arg;

    T_OK(filch_mutex_lock(&held->mutex, FILCH_NEVER));
    T_OK(filch_rwlock_write(&held->rwlock, FILCH_NEVER));
    T_OK(filch_gate_enter(&held->gate));
    T_OK(holds_on(held));
    T_OK(filch_gate_leave(&held->gate));
    T_OK(filch_rwlock_unlock(&held->rwlock));
    return filch_mutex_unlock(&held->mutex);
}

static int runs_once(void *arg)
{
    struct held *held = arg;

    return filch_once_do(&held->once, holds_on, held, FILCH_NEVER);
}

static int fills_cell(void *arg)
{
    struct held *held = arg;
    void *value;

    return filch_once_cell_get(&held->cell, makes, held, &value, FILCH_NEVER);
}

static int flies_ahead(void *arg)
{
    struct held *held = arg;

    return filch_flight(held->flights, "key", 3, flies, held, NULL, NULL, FILCH_NEVER);
}

static bool is_never(void *arg, const void *value)
{
    (void)arg, (void)value;
    return false;
}

/* Each says @want: -ETIMEDOUT with FILCH_NOW; -ECANCELED in a cancelled task. */
static void locks_say(struct held *held, filch_time until, int want)
{
    void *value;

    T_IS(filch_mutex_lock(&held->mutex, until), want);
    T_IS(filch_rwlock_read(&held->rwlock, until), want);
    T_IS(filch_rwlock_write(&held->rwlock, until), want);
    T_IS(filch_once_do(&held->once, holds_on, held, until), want);
    T_IS(filch_once_cell_get(&held->cell, makes, held, &value, until), want);
    T_IS(filch_once_wait(&held->once, until), want);
    T_IS(filch_once_cell_wait(&held->cell, &value, until), want);
    T_IS(filch_flight(held->flights, "key", 3, flies, held, NULL, NULL, until), want);
    T_IS(filch_gate_close(&held->gate, until), want);
    T_IS(filch_tracker_wait(held->tracker, until), want);
    T_IS(filch_token_wait(held->release, until), want);
    T_OK(filch_mutex_lock(&held->cond_mutex, FILCH_NOW));
    T_IS(filch_cond_wait(&held->cond, &held->cond_mutex, until), want);
    T_OK(filch_mutex_unlock(&held->cond_mutex));
}

static void counts_say(filch_time until, int want)
{
    filch_barrier barrier = FILCH_BARRIER_INIT(2);
    filch_semaphore semaphore = FILCH_SEMAPHORE_INIT(1);
    filch_waitgroup group = FILCH_WAITGROUP_INIT(0);
    filch_notify notify = FILCH_NOTIFY_INIT;
    filch_delay_queue queue = FILCH_DELAY_QUEUE_INIT;
    filch_notified notified = FILCH_NOTIFIED_INIT;
    filch_delay_item *item;
    filch_limiter limiter;

    T_IS(filch_barrier_wait(&barrier, until), want);
    T_IS(filch_semaphore_acquire(&semaphore, 2, until), want);
    T_OK(filch_waitgroup_add(&group, 1));
    T_IS(filch_waitgroup_wait(&group, until), want);
    T_IS(filch_notify_wait(&notify, until), want);
    T_OK(filch_notify_prepare(&notify, &notified));
    T_IS(filch_notified_wait(&notified, until), want);
    T_IS(filch_delay_queue_next(&queue, &item, until), want);
    T_OK(filch_limiter_init(&limiter, 1, FILCH_NEVER, 1));
    T_OK(filch_limiter_acquire(&limiter, 1, FILCH_NOW));
    T_IS(filch_limiter_acquire(&limiter, 1, until), want);
    filch_barrier_fini(&barrier);
    filch_semaphore_fini(&semaphore);
    T_OK(filch_waitgroup_done(&group));
    filch_waitgroup_fini(&group);
    filch_notify_fini(&notify);
    filch_delay_queue_fini(&queue);
    filch_limiter_fini(&limiter);
}

static void channels_say(filch_time until, int want)
{
    filch_chan *full, *empty;
    int two[] = {1, 2}, message = 1;
    filch_chan_permit permit;
    size_t count;

    T_OK(filch_chan_new(sizeof(int), 1, &full));
    T_OK(filch_chan_new(sizeof(int), 1, &empty));
    T_OK(filch_chan_send(full, &message, FILCH_NOW));
    T_IS(filch_chan_send(full, &message, until), want);
    T_IS(filch_chan_send_many(full, two, 2, &count, until), want);
    T_IS(count, 0);
    T_IS(filch_chan_reserve(full, &permit, until), want);
    T_IS(filch_chan_reserve_many(full, 1, &permit, until), want);
    T_IS(filch_chan_recv(empty, &message, until), want);
    T_IS(filch_chan_recv_many(empty, two, 2, until), want);
    T_IS(filch_chan_closed(empty, until), want);
    filch_chan_unref(full);
    filch_chan_unref(empty);
}

static void streams_say(filch_time until, int want)
{
    filch_chan_stream stream;
    filch_peek_stream peek;
    filch_chan *from, *to;
    size_t count;
    int item;

    T_OK(filch_chan_new(sizeof(int), 1, &from));
    T_OK(filch_chan_new(sizeof(int), 1, &to));
    T_OK(filch_chan_stream_init(&stream, from, sizeof(int)));
    T_IS(filch_stream_next(&stream.base, &item, until), want);
    T_IS(filch_stream_collect(&stream.base, &item, 1, &count, until), want);
    T_IS(count, 0);
    T_IS(filch_stream_forward(&stream.base, to, until), want);
    T_IS(filch_stream_all(&stream.base, is_never, NULL, until), want);
    T_IS(filch_stream_any(&stream.base, is_never, NULL, until), want);
    T_OK(filch_peek_stream_init(&peek, &stream.base));
    T_IS(filch_stream_peek(&peek, &item, until), want);
    filch_stream_drop(&peek.base);
    filch_chan_unref(from);
    filch_chan_unref(to);
}

static void signals_say(filch_time until, int want)
{
    filch_broadcast *broadcast;
    filch_broadcast_receiver in;
    filch_watch *watch;
    filch_watch_reader reader;
    filch_oneshot_tx *tx;
    filch_oneshot_rx *rx;
    int message = 0;

    T_OK(filch_broadcast_new(sizeof(int), 1, FILCH_BROADCAST_KEEP, &broadcast));
    T_OK(filch_broadcast_subscribe(broadcast, &in));
    T_IS(filch_broadcast_recv(&in, &message, NULL, until), want);
    T_IS(filch_broadcast_send(broadcast, &message, FILCH_NOW), 1);
    T_IS(filch_broadcast_send(broadcast, &message, until), want);
    T_IS(filch_broadcast_abandoned(broadcast, until), want);
    filch_broadcast_unsubscribe(&in);
    filch_broadcast_unref(broadcast);

    T_OK(filch_watch_new(sizeof(int), &message, &watch));
    T_OK(filch_watch_subscribe(watch, &reader));
    T_IS(filch_watch_changed(&reader, until), want);
    T_IS(filch_watch_wait_for(&reader, is_never, NULL, NULL, until), want);
    T_IS(filch_watch_abandoned(watch, until), want);
    filch_watch_unsubscribe(&reader);
    filch_watch_unref(watch);

    T_OK(filch_oneshot_new(sizeof(int), &tx, &rx));
    T_IS(filch_oneshot_recv(rx, &message, until), want);
    T_IS(filch_oneshot_closed(tx, until), want);
    T_OK(filch_oneshot_drop(tx));
    T_IS(filch_oneshot_recv(rx, &message, until), -EPIPE);
}

static void others_say(struct held *held, filch_task *other, filch_time until, int want)
{
    filch_case wait = filch_case_token(held->release);
    filch_task *tasks[] = {other};
    filch_future pending;

    filch_pending_future_init(&pending);
    T_IS(filch_select(&wait, 1, 0, until), want);
    T_IS(filch_await(&pending, until), want);
    T_IS(filch_join_all(tasks, 1, NULL, until), want);
}

/* In a task that is cancelled here, half-way. */
static int says_all(void *arg)
{
    struct held *held = ((void **)arg)[0];
    filch_task *other = ((void **)arg)[1];
    filch_call call = {sleep_until_cancelled, NULL};

    for (int i = 0; i < 2; i++) {
        filch_time until = i ? FILCH_NEVER : FILCH_NOW;
        int want = i ? -ECANCELED : -ETIMEDOUT;

        if (i)
            T_OK(filch_task_cancel(filch_task_self()));
        locks_say(held, until, want);
        counts_say(until, want);
        channels_say(until, want);
        streams_say(until, want);
        signals_say(until, want);
        others_say(held, other, until, want);
    }
    T_IS(filch_cancel_cause(), -ECANCELED);
    T_IS(filch_race(&call, 1, 0, NULL, FILCH_NEVER), -ECANCELED);
    T_IS(filch_hedge(&call, 1, 0, NULL, FILCH_NEVER), -ECANCELED);
    T_IS(filch_try_join(&call, 1, NULL, NULL, FILCH_NEVER), -ECANCELED);
    T_IS(filch_run_all(&call, 1, NULL, FILCH_NEVER), -ECANCELED);
    return 0;
}

static int says_nothing_else(void *arg)
{
    struct held held = {.gate = FILCH_GATE_INIT};
    filch_fn holders[] = {holds_locks, runs_once, fills_cell, flies_ahead, holds_on};
    enum { HOLDERS = sizeof(holders) / sizeof(*holders) };
    filch_task *task[HOLDERS];
    void *args[2] = {&held, NULL};

    (void)arg;
    T_OK(filch_token_new(&held.release));
    T_OK(filch_flights_new(0, &held.flights));
    T_OK(filch_tracker_new(&held.tracker));
    for (int i = 0; i < HOLDERS; i++)
        task[i] = spawn(holders[i], &held);
    T_WAIT_UNTIL(atomic_load(&held.holders) == HOLDERS);
    args[1] = task[0];
    T_OK(join(spawn(says_all, args)));
    T_OK(filch_token_cancel(held.release, -ECANCELED, NULL));
    for (int i = 0; i < HOLDERS; i++)
        T_OK(join(task[i]));
    T_OK(filch_flights_free(held.flights));
    filch_tracker_unref(held.tracker);
    filch_token_unref(held.release);
    return 0;
}

Test(errors, of_calls_that_would_wait)
{
    T_OK(run_in_runtime(0, says_nothing_else, NULL));
}

/* ---- cases and futures ---- */

static int selected(filch_case c)
{
    int r = filch_select(&c, 1, 0, T_LIMIT);

    T_OK(r);
    return c.result;
}

static int awaited(filch_future *future)
{
    return filch_await(future, T_LIMIT);
}

static int cases_say(void *arg)
{
    filch_chan_opts opts = {.overflow = FILCH_CHAN_FAIL};
    filch_semaphore semaphore = FILCH_SEMAPHORE_INIT(0);
    filch_delay_queue queue = FILCH_DELAY_QUEUE_INIT;
    filch_notified notified = FILCH_NOTIFIED_INIT;
    filch_delay_item *item;
    filch_chan_permit permit;
    filch_chan *chan;
    filch_broadcast *broadcast;
    filch_watch *watch;
    filch_watch_reader reader;
    int value = 1;

    (void)arg;
    T_IS(selected(filch_case_prepared(&notified)), -EINVAL);
    T_OK(filch_semaphore_close(&semaphore));
    T_IS(selected(filch_case_acquire(&semaphore, 1)), -EPIPE);
    T_OK(filch_delay_queue_close(&queue));
    T_IS(selected(filch_case_delay(&queue, &item)), -EPIPE);
    T_OK(filch_chan_new_opts(sizeof(int), 1, &opts, &chan));
    T_IS(selected(filch_case_send(chan, &value)), 0);
    T_IS(selected(filch_case_send(chan, &value)), -ENOBUFS);
    T_OK(filch_chan_close(chan));
    T_IS(selected(filch_case_send(chan, &value)), -EPIPE);
    T_IS(selected(filch_case_reserve(chan, 1, &permit)), -EPIPE);
    T_IS(filch_chan_reserve_many(chan, 1, &permit, FILCH_NEVER), -EPIPE);
    filch_chan_unref(chan);
    T_OK(filch_broadcast_new(sizeof(int), 1, 0, &broadcast));
    T_OK(filch_broadcast_close(broadcast));
    T_IS(filch_broadcast_send(broadcast, &value, FILCH_NEVER), -EPIPE);
    filch_broadcast_unref(broadcast);
    T_OK(filch_watch_new(sizeof(int), &value, &watch));
    T_OK(filch_watch_subscribe(watch, &reader));
    filch_watch_unref(watch);
    T_IS(selected(filch_case_watch_changed(&reader)), -EPIPE);
    T_IS(filch_watch_wait_for(&reader, is_never, NULL, NULL, FILCH_NEVER), -EPIPE);
    filch_watch_unsubscribe(&reader);
    return 0;
}

Test(errors, of_cases)
{
    T_OK(run_in_runtime(0, cases_say, NULL));
}

static int receives_oneshot(void *arg)
{
    int value;

    return filch_oneshot_recv(arg, &value, FILCH_NEVER);
}

static int waits_for_closing(void *arg)
{
    return filch_oneshot_closed(arg, FILCH_NEVER);
}

/* An end of a oneshot by which somebody else waits, and one that was ended. */
static int oneshots_say(void *arg)
{
    filch_oneshot_tx *tx;
    filch_oneshot_rx *rx;
    filch_task *receiver, *closer;
    int value = 1;

    (void)arg;
    T_OK(filch_oneshot_new(sizeof(int), &tx, &rx));
    receiver = spawn(receives_oneshot, rx);
    closer = spawn(waits_for_closing, tx);
    T_WAIT_UNTIL(filch_oneshot_recv(rx, &value, FILCH_NOW) == -EBUSY);
    T_WAIT_UNTIL(filch_oneshot_closed(tx, FILCH_NOW) == -EBUSY);
    T_IS(filch_oneshot_recv(rx, &value, FILCH_NOW), -EBUSY);
    T_IS(filch_oneshot_send(tx, &value), -EBUSY);
    T_IS(selected(filch_case_oneshot(rx, &value)), -EBUSY);
    T_IS(selected(filch_case_oneshot_closed(tx)), -EBUSY);
    T_OK(filch_task_cancel(closer));
    T_IS(join(closer), -ECANCELED);
    T_OK(filch_oneshot_send(tx, &value));
    T_OK(join(receiver));
    T_IS(selected(filch_case_oneshot(rx, &value)), -EBADF);
    T_IS(selected(filch_case_oneshot_closed(tx)), -EBADF);
    return 0;
}

Test(errors, of_oneshots_that_somebody_waits_by)
{
    T_OK(run_in_runtime(0, oneshots_say, NULL));
}

static int futures_say(void *arg)
{
    filch_chan_opts opts = {.overflow = FILCH_CHAN_FAIL};
    filch_recv_future recv;
    filch_send_future send;
    filch_oneshot_future oneshot;
    filch_broadcast_future news;
    filch_watch_future changed;
    filch_chan *chan;
    filch_oneshot_tx *tx;
    filch_oneshot_rx *rx;
    filch_broadcast *broadcast;
    filch_broadcast_receiver in;
    filch_watch *watch;
    filch_watch_reader reader;
    uint64_t lost = 0;
    int value = 1;

    (void)arg;
    T_OK(filch_chan_new_opts(sizeof(int), 1, &opts, &chan));
    T_OK(filch_send_future_init(&send, chan, &value));
    T_IS(awaited(&send.base), 0);
    T_OK(filch_send_future_init(&send, chan, &value));
    T_IS(awaited(&send.base), -ENOBUFS);
    T_OK(filch_chan_recv(chan, &value, FILCH_NOW));
    T_OK(filch_chan_close(chan));
    T_OK(filch_send_future_init(&send, chan, &value));
    T_IS(awaited(&send.base), -EPIPE);
    T_OK(filch_recv_future_init(&recv, chan, &value));
    T_IS(awaited(&recv.base), -EPIPE);
    filch_chan_unref(chan);
    T_OK(filch_oneshot_new(sizeof(int), &tx, &rx));
    T_OK(filch_oneshot_drop(tx));
    T_OK(filch_oneshot_future_init(&oneshot, rx, &value));
    T_IS(awaited(&oneshot.base), -EPIPE);
    T_OK(filch_broadcast_new(sizeof(int), 1, 0, &broadcast));
    T_OK(filch_broadcast_subscribe(broadcast, &in));
    for (int i = 0; i < 3; i++)
        T_IS(filch_broadcast_send(broadcast, &value, FILCH_NOW), 1);
    T_OK(filch_broadcast_future_init(&news, &in, &value, &lost));
    T_IS(awaited(&news.base), -EOVERFLOW);
    T_IS(lost, 2);
    T_OK(filch_broadcast_recv(&in, &value, &lost, FILCH_NOW));
    filch_broadcast_unref(broadcast);
    T_OK(filch_broadcast_future_init(&news, &in, &value, &lost));
    T_IS(awaited(&news.base), -EPIPE);
    filch_broadcast_unsubscribe(&in);
    T_OK(filch_watch_new(sizeof(int), &value, &watch));
    T_OK(filch_watch_subscribe(watch, &reader));
    filch_watch_unref(watch);
    T_OK(filch_watch_future_init(&changed, &reader));
    T_IS(awaited(&changed.base), -EPIPE);
    filch_watch_unsubscribe(&reader);
    return 0;
}

Test(errors, of_futures)
{
    T_OK(run_in_runtime(0, futures_say, NULL));
}

static int twice(int result, void *arg)
{
    (void)arg;
    return result;
}

static filch_future *nothing_follows(int result, void *arg)
{
    (void)result, (void)arg;
    return NULL;
}

/* A time that has come, and, outside of tasks, one that nobody would wait for. */
static int timeouts_say(void *arg)
{
    int want = *(int *)arg;
    filch_future pending;
    filch_timeout_future timeout;
    filch_map_future map;
    filch_then_future then;
    filch_time until = want == -ETIMEDOUT ? FILCH_NOW : FILCH_NEVER - 1;

    filch_pending_future_init(&pending);
    T_OK(filch_timeout_future_init(&timeout, &pending, until));
    T_IS(awaited(&timeout.base), want);
    filch_pending_future_init(&pending);
    T_OK(filch_timeout_future_init(&timeout, &pending, until));
    T_OK(filch_map_future_init(&map, &timeout.base, twice, NULL));
    T_IS(awaited(&map.base), want);
    filch_pending_future_init(&pending);
    T_OK(filch_timeout_future_init(&timeout, &pending, until));
    T_OK(filch_then_future_init(&then, &timeout.base, nothing_follows, NULL));
    T_IS(awaited(&then.base), want);
    return 0;
}

Test(errors, of_futures_with_a_time)
{
    int late = -ETIMEDOUT, nobody = -EPERM;

    T_OK(run_in_runtime(0, timeouts_say, &late));
    T_OK(timeouts_say(&nobody));
}

/* ---- places where a call must not be ---- */

static int ends(void *arg)
{
    (void)arg;
    return 0;
}

static filch_call calls_nothing[] = {{ends, NULL}};

Test(errors, outside_of_tasks)
{
    filch_sleep_future sleep;
    filch_block block;
    filch_token *token;

    T_IS(filch_race(calls_nothing, 1, 0, NULL, FILCH_NEVER), -EPERM);
    T_IS(filch_hedge(calls_nothing, 1, 0, NULL, FILCH_NEVER), -EPERM);
    T_IS(filch_try_join(calls_nothing, 1, NULL, NULL, FILCH_NEVER), -EPERM);
    T_IS(filch_run_all(calls_nothing, 1, NULL, FILCH_NEVER), -EPERM);
    T_IS(filch_timeout(ends, NULL, NULL, FILCH_NEVER), -EPERM);
    T_IS(filch_deadline_begin(&block, FILCH_NOW), -EPERM);
    T_IS(filch_shield_begin(&block, FILCH_NOW), -EPERM);
    T_OK(filch_token_new(&token));
    T_IS(filch_token_bind(token), -EPERM);
    filch_token_unref(token);
    T_IS(filch_token_child_until(NULL, T_LIMIT, -ETIME, NULL, &token), -EPERM);
    filch_sleep_future_init(&sleep, FILCH_NEVER - 1);
    T_IS(awaited(&sleep.base), -EPERM);
}

static int joins(void *arg)
{
    T_OK(filch_task_join(arg, NULL, FILCH_NEVER));
    return 0;
}

static filch_once asked_by_itself = FILCH_ONCE_INIT;
static filch_once_cell cell_asked_by_itself = FILCH_ONCE_CELL_INIT;

static int asks_itself(void *arg)
{
    T_IS(filch_once_do(&asked_by_itself, asks_itself, arg, FILCH_NEVER), -EDEADLK);
    return 0;
}

static int makes_itself(void *arg, void **ret_value)
{
    void *value = NULL;

    T_IS(filch_once_cell_get(&cell_asked_by_itself, makes_itself, arg, &value, FILCH_NEVER),
         -EDEADLK);
    T_IS(filch_once_cell_wait(&cell_asked_by_itself, &value, FILCH_NEVER), -EDEADLK);
    *ret_value = &cell_asked_by_itself;
    return 0;
}

static int asks(void *arg)
{
    void *value;

    T_OK(filch_once_do(&asked_by_itself, asks_itself, arg, FILCH_NEVER));
    return filch_once_cell_get(&cell_asked_by_itself, makes_itself, arg, &value, FILCH_NEVER);
}

Test(errors, of_what_waits_for_itself)
{
    T_OK(run_in_runtime(0, asks, NULL));
}

/* Joins a task that has been joined, is being joined, or is the caller. */
static int joins_wrongly(void *arg)
{
    filch_join_task_future future;
    filch_task *self = filch_task_self(), *sleeper = spawn(sleep_until_cancelled, NULL);
    filch_task *gone = spawn(ends, NULL), *joiner, *tasks[1];

    (void)arg;
    tasks[0] = self;
    T_IS(filch_join_all(tasks, 1, NULL, FILCH_NEVER), -EDEADLK);
    T_IS(selected(filch_case_join(self, NULL)), -EDEADLK);
    T_OK(filch_join_task_future_init(&future, self));
    T_IS(awaited(&future.base), -EDEADLK);
    T_OK(join(gone));
    tasks[0] = gone;
    T_IS(filch_join_all(tasks, 1, NULL, FILCH_NEVER), -ESRCH);
    T_IS(selected(filch_case_join(gone, NULL)), -ESRCH);
    T_OK(filch_join_task_future_init(&future, gone));
    T_IS(awaited(&future.base), -ESRCH);
    joiner = spawn(joins, sleeper);
    T_WAIT_UNTIL(filch_task_join(sleeper, NULL, FILCH_NOW) == -EBUSY);
    tasks[0] = sleeper;
    T_IS(filch_join_all(tasks, 1, NULL, FILCH_NEVER), -EBUSY);
    T_IS(selected(filch_case_join(sleeper, NULL)), -EBUSY);
    T_OK(filch_join_task_future_init(&future, sleeper));
    T_IS(awaited(&future.base), -EBUSY);
    T_OK(filch_task_cancel(sleeper));
    return join(joiner);
}

Test(errors, of_joins_that_cannot_be)
{
    T_OK(run_in_runtime(0, joins_wrongly, NULL));
}

static int flies_at_once(void *arg, void *value)
{
    (void)arg, (void)value;
    return 0;
}

/* In a block that is as deep as 65,534 others would make it, each of which looks at all around it.
 */
static int goes_deep(void *arg)
{
    filch_block block, more;
    filch_flights *flights;

    (void)arg;
    T_OK(filch_flights_new(0, &flights));
    T_OK(filch_deadline_begin(&block, FILCH_NEVER - 1));
    ((struct filch__block *)(void *)block.private_words)->level = 65534;
    T_OK(filch_deadline_begin(&more, FILCH_NEVER - 1));
    T_OK(filch_block_end(&more));
    ((struct filch__block *)(void *)block.private_words)->level = 65535;
    T_IS(filch_deadline_begin(&more, FILCH_NEVER - 1), -EOVERFLOW);
    T_IS(filch_shield_begin(&more, FILCH_NEVER - 1), -EOVERFLOW);
    T_IS(filch_timeout(ends, NULL, NULL, T_LIMIT), -EOVERFLOW);
    T_IS(filch_flight(flights, "key", 3, flies_at_once, NULL, NULL, NULL, T_LIMIT), -EOVERFLOW);
    T_IS(filch_retry(ends, NULL, NULL, NULL, T_LIMIT), -EOVERFLOW);
    T_OK(filch_block_end(&block));
    return filch_flights_free(flights);
}

Test(errors, of_too_many_deadlines_in_each_other)
{
    T_OK(run_in_runtime(0, goes_deep, NULL));
}

/* Adds to its own set, which is being shut down. */
static int adds_when_cancelled(void *arg)
{
    filch_join_set *set = arg;

    T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    T_IS(filch_join_set_spawn(set, 0, ends, NULL, NULL), -ECANCELED);
    T_IS(filch_join_set_spawn_wait(set, 0, ends, NULL, NULL, FILCH_NEVER), -ECANCELED);
    return 0;
}

static int shuts_a_set_down(void *arg)
{
    FILCH_JOIN_SET(set, 0);

    (void)arg;
    T_OK(filch_join_set_spawn(&set, 7, adds_when_cancelled, &set, NULL));
    T_IS(filch_join_set_spawn(&set, 7, ends, NULL, NULL), -EEXIST);
    T_IS(filch_join_set_spawn_wait(&set, 7, ends, NULL, NULL, FILCH_NEVER), -EEXIST);
    T_OK(filch_join_set_shutdown(&set));
    T_IS(selected(filch_case_join_next(&set, NULL, NULL)), -ENOENT);
    return 0;
}

Test(errors, of_a_join_set_that_is_shut_down)
{
    T_OK(run_in_runtime(0, shuts_a_set_down, NULL));
}

/* The child of a fork has none of the threads that would see to it. */
Test(errors, of_rcu_in_the_child_of_a_fork)
{
    static filch_rcu_head head;
    int status = 0;
    pid_t pid;

    T_OK(filch_rcu_synchronize()); /* there was one */
    pid = fork();
    T_CHECK(pid >= 0);
    if (pid == 0) {
        T_IS(filch_rcu_synchronize(), -ECHILD);
        T_IS(filch_rcu_barrier(), -ECHILD);
        T_IS(filch_rcu_call(&head, (void (*)(filch_rcu_head *))abort), -ECHILD);
        _exit(0);
    }
    T_IS(waitpid(pid, &status, 0), pid);
    T_OK(status);
}

/* ---- a runtime that stops ---- */

static int ends_stage(void *arg, void **item)
{
    (void)arg, (void)item;
    return 0;
}

static int starts_more(void *arg)
{
    FILCH_SCOPE(scope);
    FILCH_JOIN_SET(set, 0);
    filch_tracker *tracker = arg;
    filch_token *token = filch_tracker_token(tracker), *child;
    filch_stage stage = {.fn = ends_stage};

    T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    T_IS(filch_cancel_cause(), -ESHUTDOWN);
    T_IS(filch_tracker_spawn(tracker, ends, NULL, NULL), -ESHUTDOWN);
    T_IS(filch_tracker_spawn_blocking(tracker, ends, NULL, NULL), -ESHUTDOWN);
    T_IS(filch_join_set_spawn(&set, 0, ends, NULL, NULL), -ESHUTDOWN);
    T_IS(filch_join_set_spawn_wait(&set, 0, ends, NULL, NULL, FILCH_NEVER), -ESHUTDOWN);
    T_IS(filch_scope_spawn(&scope, ends, NULL), -ESHUTDOWN);
    T_IS(filch_scope_spawn_wait(&scope, ends, NULL, NULL, FILCH_NEVER), -ESHUTDOWN);
    T_IS(filch_try_join(calls_nothing, 1, NULL, NULL, FILCH_NEVER), -ESHUTDOWN);
    T_IS(filch_run_all(calls_nothing, 1, NULL, FILCH_NEVER), -ESHUTDOWN);
    T_IS(filch_race(calls_nothing, 1, 0, NULL, FILCH_NEVER), -ESHUTDOWN);
    T_IS(filch_hedge(calls_nothing, 1, 0, NULL, FILCH_NEVER), -ESHUTDOWN);
    T_IS(filch_token_run(token, ends, NULL, NULL, FILCH_NEVER), -ESHUTDOWN);
    T_IS(filch_token_child_until(token, T_LIMIT, -ETIME, NULL, &child), -ESHUTDOWN);
    T_IS(filch_pipeline_run(&stage, 1, NULL), -ESHUTDOWN);
    return 0;
}

/* A blocking job, which runs in any case. */
static int times_out_more(void *arg)
{
    (void)arg;
    while (!filch_task_is_cancelled())
        sched_yield();
    T_IS(filch_timeout(ends, NULL, NULL, FILCH_NEVER), -ESHUTDOWN);
    return 0;
}

Test(errors, of_a_runtime_that_stops)
{
    filch_runtime *rt = start_runtime(0);
    filch_tracker *tracker;

    T_OK(filch_tracker_new(&tracker));
    T_OK(filch_runtime_spawn(rt, starts_more, tracker, NULL, NULL));
    T_OK(filch_runtime_blocking_spawn(rt, times_out_more, NULL, NULL, NULL));
    stop_runtime(rt);
    filch_tracker_unref(tracker);
}
