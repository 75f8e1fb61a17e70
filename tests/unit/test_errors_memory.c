/* Description: where headers promise -ENOMEM, it comes when there is no memory, and nothing has
 * happened then: the same call succeeds when there is some again. Memory and threads are refused by
 * wrappers that the linker puts in (--wrap). */
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(errors_memory, .timeout = 60);

static atomic_bool refuses, refuses_threads;

void *__real_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
void *__real_mmap64(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
                          void *arg);

void *__wrap_malloc(size_t bytes)
{
    return atomic_load(&refuses) ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t n, size_t bytes)
{
    return atomic_load(&refuses) ? NULL : __real_calloc(n, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
    return atomic_load(&refuses) ? NULL : __real_realloc(old, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    return atomic_load(&refuses) ? NULL : __real_aligned_alloc(alignment, bytes);
}

void *__wrap_mmap64(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    if (!atomic_load(&refuses))
        return __real_mmap64(at, bytes, protection, flags, fd, offset);
    errno = ENOMEM;
    return MAP_FAILED;
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
                          void *arg)
{
    return atomic_load(&refuses_threads) ? EAGAIN : __real_pthread_create(thread, attr, fn, arg);
}

int __wrap_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));
int __real_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));

int __wrap_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
    return atomic_load(&refuses) ? ENOMEM : __real_pthread_atfork(prepare, parent, child);
}

/* Without memory the call says @error, and with it 0 or more. */
#define WITHOUT(call, error)                                                                       \
    do {                                                                                           \
        atomic_store(&refuses, true);                                                              \
        long long t_refused = (call);                                                              \
        atomic_store(&refuses, false);                                                             \
        T_IS(t_refused, error);                                                                    \
        T_CHECK((call) >= 0 && #call);                                                             \
    } while (0)

/* The same for what has some in store: after so many calls it says @error. */
#define WITHOUT_AT_LAST(call, error)                                                               \
    do {                                                                                           \
        long long t_refused = 0;                                                                   \
        atomic_store(&refuses, true);                                                              \
        for (unsigned t_calls = 0; t_refused >= 0 && t_calls < 1000000; t_calls++)                 \
            t_refused = (call);                                                                    \
        atomic_store(&refuses, false);                                                             \
        T_IS(t_refused, error);                                                                    \
        T_CHECK((call) >= 0 && #call);                                                             \
    } while (0)

static int selected(filch_case c)
{
    int r = filch_select(&c, 1, 0, FILCH_NOW);

    return r < 0 ? r : c.result;
}

static int awaited(filch_future *future)
{
    return filch_await(future, FILCH_NOW);
}

/* ---- what is made ---- */

Test(errors_memory, nothing_is_made)
{
    filch_chan *chan;
    filch_chan_opts opts = {.overflow = FILCH_CHAN_DROP_OLDEST};
    filch_broadcast *broadcast;
    filch_watch *watch;
    filch_token *token, *child;
    filch_tracker *tracker;
    filch_flights *flights;
    filch_oneshot_tx *tx;
    filch_oneshot_rx *rx;
    filch_duplex *end, *other;
    filch_direct_align align = {512, 512};
    void *buffer;
    int value = 1;

    WITHOUT(filch_direct_buffer(&align, 1, &buffer, NULL), -ENOMEM);
    free(buffer);
    WITHOUT(filch_duplex_new(4, &end, &other), -ENOMEM);
    filch_duplex_free(end);
    filch_duplex_free(other);
    WITHOUT(filch_chan_new(sizeof(int), 4, &chan), -ENOMEM);
    filch_chan_unref(chan);
    WITHOUT(filch_chan_new_opts(sizeof(int), 4, &opts, &chan), -ENOMEM);
    filch_chan_unref(chan);
    WITHOUT(filch_broadcast_new(sizeof(int), 4, 0, &broadcast), -ENOMEM);
    filch_broadcast_unref(broadcast);
    WITHOUT(filch_watch_new(sizeof(int), &value, &watch), -ENOMEM);
    filch_watch_unref(watch);
    WITHOUT(filch_token_new(&token), -ENOMEM);
    WITHOUT(filch_token_child(token, &child), -ENOMEM);
    filch_token_unref(child);
    filch_token_unref(token);
    WITHOUT(filch_tracker_new(&tracker), -ENOMEM);
    filch_tracker_unref(tracker);
    WITHOUT(filch_flights_new(0, &flights), -ENOMEM);
    T_OK(filch_flights_free(flights));
    WITHOUT(filch_oneshot_new(sizeof(int), &tx, &rx), -ENOMEM);
    T_OK(filch_oneshot_drop(tx));
    T_IS(filch_oneshot_close(rx, &value), -EPIPE);
}

/* Each test is the first of its process: there is no object in store. */
Test(errors_memory, no_descriptor_is_borrowed)
{
    filch_fd *fd;
    int pipes[2];

    T_OK(pipe(pipes));
    WITHOUT(filch_fd_borrow(pipes[0], &fd), -ENOMEM);
    T_OK(filch_fd_close(fd));
    close(pipes[0]);
    close(pipes[1]);
}

static int waited(filch_case c)
{
    int r = filch_select(&c, 1, 0, T_LIMIT);

    return r < 0 ? r : c.result;
}

static int waits_for_descriptor(void *arg)
{
    filch_fd *fd = arg;

    atomic_store(&refuses, true);
    T_IS(waited(filch_case_fd(fd, FILCH_FD_READABLE, NULL)), -ENOMEM);
    atomic_store(&refuses, false);
    T_IS(selected(filch_case_fd(fd, FILCH_FD_READABLE, NULL)), -ETIMEDOUT);
    return 0;
}

Test(errors_memory, no_descriptor_is_adopted_or_waited_for)
{
    filch_fd *fd;
    int pipes[2];

    T_OK(pipe(pipes));
    atomic_store(&refuses, true);
    T_IS(filch_fd_adopt(pipes[0], &fd), -ENOMEM);
    atomic_store(&refuses, false);
    T_OK(filch_fd_adopt(pipes[0], &fd));
    T_OK(run_in_runtime(1, waits_for_descriptor, fd));
    T_OK(filch_fd_close(fd));
    close(pipes[1]);
}

Test(errors_memory, nothing_is_read_into_memory)
{
    filch_duplex *end, *other;
    char *data = NULL;
    size_t done = 0;

    T_OK(filch_duplex_new(4, &end, &other));
    T_IS(filch_duplex_write(other, "abc", 3, FILCH_NOW), 3);
    filch_duplex_free(other);
    atomic_store(&refuses, true);
    T_IS(filch_read_to_end(filch_duplex_io(end).reader, 9, &data, &done, FILCH_NOW), -ENOMEM);
    atomic_store(&refuses, false);
    T_OK(filch_read_to_end(filch_duplex_io(end).reader, 9, &data, &done, FILCH_NOW));
    T_IS(done, 3);
    T_OK(memcmp(data, "abc", 3));
    free(data);
    filch_duplex_free(end);
}

/* ---- messages ---- */

#define MANY 100000

Test(errors_memory, an_unbounded_channel_takes_no_more)
{
    static int many[MANY];
    filch_chan *chan;
    filch_chan_permit permit = {0};
    filch_send_future send;
    size_t sent = 0, len;
    int value = 1;

    T_OK(filch_chan_new(sizeof(int), FILCH_CHAN_UNBOUNDED, &chan));
    WITHOUT_AT_LAST(filch_chan_send(chan, &value, FILCH_NOW), -ENOMEM);
    len = filch_chan_len(chan);
    atomic_store(&refuses, true);
    T_IS(filch_chan_send_many(chan, many, MANY, &sent, FILCH_NOW), -ENOMEM);
    T_IS(filch_chan_len(chan), len + sent);
    while (filch_chan_send(chan, &value, FILCH_NOW) == 0)
        ;
    T_IS(selected(filch_case_send(chan, &value)), -ENOMEM);
    T_OK(filch_send_future_init(&send, chan, &value));
    T_IS(awaited(&send.base), -ENOMEM);
    T_IS(filch_chan_reserve(chan, &permit, FILCH_NOW), -ENOMEM);
    T_IS(filch_chan_reserve_many(chan, 2, &permit, FILCH_NOW), -ENOMEM);
    T_IS(selected(filch_case_reserve(chan, 1, &permit)), -ENOMEM);
    atomic_store(&refuses, false);
    T_OK(filch_chan_send(chan, &value, FILCH_NOW));
    filch_chan_unref(chan);
}

static int adds_one(void *arg, void *value)
{
    (void)arg;
    ++*(int *)value;
    return 1;
}

static int values_in_task(void *arg)
{
    filch_watch *watch = arg;
    int value = 2;

    WITHOUT(filch_watch_send(watch, &value), -ENOMEM);
    WITHOUT(filch_watch_modify(watch, adds_one, NULL), -ENOMEM);
    T_OK(filch_watch_latest(watch, &value));
    T_IS(value, 3);
    return 0;
}

Test(errors_memory, a_watch_keeps_its_value)
{
    filch_watch *watch;
    int value = 1;

    T_OK(filch_watch_new(sizeof(int), &value, &watch));
    T_OK(run_in_runtime(1, values_in_task, watch));
    filch_watch_unref(watch);
}

/* ---- what a plain thread needs to wait, or to read under RCU ---- */

static void called(filch_rcu_head *head)
{
    (void)head;
}

static bool is_any(void *arg, const void *value)
{
    (void)arg, (void)value;
    return true;
}

static filch_watch_reader a_reader(filch_watch **ret_watch)
{
    filch_watch_reader reader;
    int value = 1;

    T_OK(filch_watch_new(sizeof(int), &value, ret_watch));
    T_OK(filch_watch_subscribe(*ret_watch, &reader));
    return reader;
}

/* The first of the process prepares for forks; without that there is no RCU, from then on. */
Test(errors_memory, a_thread_cannot_read)
{
    static filch_rcu_head head;
    filch_watch *watch;
    filch_watch_reader reader = a_reader(&watch);
    int value;

    atomic_store(&refuses, true);
    T_IS(filch_watch_get(&reader, &value), -ENOMEM);
    T_IS(filch_watch_latest(watch, &value), -ENOMEM);
    T_IS(filch_watch_replace(watch, &value, &value), -ENOMEM);
    T_IS(filch_watch_wait_for(&reader, is_any, NULL, &value, FILCH_NEVER), -ENOMEM);
    T_IS(filch_rcu_thread_register(), -ENOMEM);
    T_IS(filch_rcu_synchronize(), -ENOMEM);
    T_IS(filch_rcu_barrier(), -ENOMEM);
    T_IS(filch_rcu_call(&head, called), -ENOMEM);
    atomic_store(&refuses, false);
    filch_watch_unsubscribe(&reader);
    filch_watch_unref(watch);
}

Test(errors_memory, a_thread_cannot_wait_for_futures)
{
    filch_future pending;
    filch_case future;
    filch_chan_stream stream;
    filch_peek_stream peek;
    filch_chan *chan;
    size_t count;
    int item;

    T_OK(filch_chan_new(sizeof(int), 1, &chan));
    T_OK(filch_chan_stream_init(&stream, chan, sizeof(int)));
    T_OK(filch_peek_stream_init(&peek, &stream.base));
    filch_pending_future_init(&pending);
    future = filch_case_future(&pending);
    atomic_store(&refuses, true);
    T_IS(filch_await(&pending, T_LIMIT), -ENOMEM);
    T_IS(filch_select(&future, 1, 0, T_LIMIT), -ENOMEM);
    T_IS(filch_stream_next(&stream.base, &item, T_LIMIT), -ENOMEM);
    T_IS(filch_stream_collect(&stream.base, &item, 1, &count, T_LIMIT), -ENOMEM);
    T_IS(filch_stream_all(&stream.base, is_any, NULL, T_LIMIT), -ENOMEM);
    T_IS(filch_stream_any(&stream.base, is_any, NULL, T_LIMIT), -ENOMEM);
    T_IS(filch_stream_peek(&peek, &item, T_LIMIT), -ENOMEM);
    atomic_store(&refuses, false);
    T_IS(filch_await(&pending, FILCH_NOW), -ETIMEDOUT);
    filch_stream_drop(&peek.base);
    filch_chan_unref(chan);
}

/* ---- tasks ---- */

static int ends(void *arg)
{
    (void)arg;
    return 0;
}

/* Those that spawn for the caller. Futures need no stacks, and so there may be room for some. */
static void none_is_left(void)
{
    static filch_future future[10000];
    filch_call call = {ends, NULL};
    filch_token *token;
    size_t n = 0;
    int r = 0;

    T_OK(filch_token_new(&token));
    atomic_store(&refuses, true);
    while (filch_spawn(ends, NULL) == 0)
        ;
    T_IS(filch_try_join(&call, 1, NULL, NULL, FILCH_NEVER), -ENOMEM);
    T_IS(filch_race(&call, 1, 0, NULL, FILCH_NEVER), -ENOMEM);
    T_IS(filch_run_all(&call, 1, NULL, FILCH_NEVER), -ENOMEM);
    T_IS(filch_hedge(&call, 1, 0, NULL, FILCH_NEVER), -ENOMEM);
    T_IS(filch_token_run(token, ends, NULL, NULL, FILCH_NEVER), -ENOMEM);
    while (r == 0 && n < sizeof future / sizeof future[0]) {
        filch_ready_future_init(&future[n], 0);
        r = filch_future_spawn(&future[n++], NULL, NULL);
    }
    T_IS(r, -ENOMEM);
    atomic_store(&refuses, false);
    T_OK(filch_try_join(&call, 1, NULL, NULL, FILCH_NEVER));
    filch_token_unref(token);
}

static int spawns(void *arg)
{
    filch_tracker *tracker;

    (void)arg;
    T_OK(filch_tracker_new(&tracker));
    WITHOUT_AT_LAST(filch_spawn(ends, NULL), -ENOMEM);
    filch_task_yield();
    WITHOUT_AT_LAST(filch_task_spawn(ends, NULL, NULL, NULL), -ENOMEM);
    filch_task_yield();
    WITHOUT_AT_LAST(filch_tracker_spawn(tracker, ends, NULL, NULL), -ENOMEM);
    filch_tracker_unref(tracker);
    none_is_left();
    return 0;
}

Test(errors_memory, no_task_is_spawned)
{
    T_OK(run_in_runtime(1, spawns, NULL));
}

static int flies(void *arg, void *value)
{
    (void)arg, (void)value;
    return 0;
}

static int doubles(void *context, const void *in, void *out)
{
    (void)context;
    *(int *)out = 2 * *(const int *)in;
    return 0;
}

static void call_nothing(void *arg)
{
    (void)arg;
}

static int ends_stage(void *arg, void **item)
{
    (void)arg, (void)item;
    return 0;
}

static int keeps(void *arg)
{
    filch_local *key, *inherited;
    filch_token *token;
    filch_flights *flights;
    filch_chan *chan;
    filch_chan_stream from;
    filch_concurrent_stream stream;
    filch_stage stage = {.fn = ends_stage};
    FILCH_JOIN_SET(set, 0);

    (void)arg;
    WITHOUT(filch_local_new(NULL, &key), -ENOMEM);
    WITHOUT(filch_local_new_inherited(NULL, NULL, &inherited), -ENOMEM);
    WITHOUT_AT_LAST(filch_task_defer(call_nothing, NULL), -ENOMEM);
    T_OK(filch_token_new(&token));
    WITHOUT(filch_token_bind(token), -ENOMEM);
    filch_token_unref(token);
    WITHOUT(filch_token_child_until(NULL, T_LIMIT, -ETIME, NULL, &token), -ENOMEM);
    T_OK(filch_token_cancel(token, -ECANCELED, NULL));
    filch_token_unref(token);
    T_OK(filch_flights_new(4096, &flights));
    WITHOUT(filch_flight(flights, "key", 3, flies, NULL, NULL, NULL, FILCH_NEVER), -ENOMEM);
    T_OK(filch_flights_free(flights));
    T_OK(filch_chan_new(sizeof(int), 1, &chan));
    T_OK(filch_chan_stream_init(&from, chan, sizeof(int)));
    WITHOUT(filch_concurrent_stream_init(&stream, &from.base, sizeof(int), doubles, NULL, 2, 0),
            -ENOMEM);
    filch_stream_drop(&stream.base);
    filch_chan_unref(chan);
    WITHOUT(filch_join_set_spawn(&set, 1, ends, NULL, NULL), -ENOMEM);
    WITHOUT(filch_join_set_spawn_wait(&set, 2, ends, NULL, NULL, FILCH_NEVER), -ENOMEM);
    WITHOUT(filch_pipeline_run(&stage, 1, NULL), -ENOMEM);
    filch_local_free(key);
    filch_local_free(inherited);
    return 0;
}

static int sets_local(void *arg)
{
    WITHOUT(filch_local_set(arg, NULL), -ENOMEM);
    return 0;
}

Test(errors_memory, nothing_is_kept)
{
    filch_local *key;

    T_OK(run_in_runtime(1, keeps, NULL));
    T_OK(filch_local_new(NULL, &key));
    T_OK(run_in_runtime(1, sets_local, key));
    filch_local_free(key);
}

/* ---- RCU's thread ---- */

Test(errors_memory, no_thread_sees_to_rcu)
{
    static filch_rcu_head head;

    atomic_store(&refuses_threads, true);
    T_IS(filch_rcu_call(&head, called), -EAGAIN);
    T_IS(filch_rcu_synchronize(), -EAGAIN);
    T_IS(filch_rcu_barrier(), -EAGAIN);
    atomic_store(&refuses_threads, false);
    T_OK(filch_rcu_call(&head, called));
    T_OK(filch_rcu_barrier());
}

/* ---- what needs none ---- */

struct other_side {
    filch_mutex mutex;
    filch_rwlock rwlock;
    filch_semaphore permits;
    filch_notify notify;
    filch_chan *chan;
    atomic_bool has_locks, go_on;
};

/* Lets the first side get where it waits, and go on, step by step. */
static int lets_go(void *arg)
{
    struct other_side *side = arg;
    int message = 5;

    T_OK(filch_mutex_lock(&side->mutex, FILCH_NEVER));
    T_OK(filch_rwlock_write(&side->rwlock, FILCH_NEVER));
    atomic_store(&side->has_locks, true);
    T_WAIT_UNTIL(atomic_load(&side->go_on));
    let_others_run();
    T_OK(filch_mutex_unlock(&side->mutex));
    let_others_run();
    T_OK(filch_rwlock_unlock(&side->rwlock));
    let_others_run();
    T_OK(filch_semaphore_release(&side->permits, 1));
    let_others_run();
    T_OK(filch_notify_one(&side->notify));
    for (int i = 0; i < 2; i++) {
        let_others_run();
        T_OK(filch_chan_send(side->chan, &message, FILCH_NEVER));
    }
    return 0;
}

static int waits_without_memory(void *arg)
{
    struct other_side side = {.mutex = FILCH_MUTEX_INIT, .notify = FILCH_NOTIFY_INIT};
    filch_task *other;
    int message = 0;

    (void)arg;
    T_OK(filch_semaphore_init(&side.permits, 0));
    T_OK(filch_chan_new(sizeof(int), 1, &side.chan));
    other = spawn(lets_go, &side);
    T_WAIT_UNTIL(atomic_load(&side.has_locks));
    atomic_store(&refuses, true);
    atomic_store(&side.go_on, true);
    T_OK(filch_mutex_lock(&side.mutex, FILCH_NEVER));
    T_OK(filch_rwlock_read(&side.rwlock, FILCH_NEVER));
    T_OK(filch_semaphore_acquire(&side.permits, 1, FILCH_NEVER));
    T_OK(filch_notify_wait(&side.notify, FILCH_NEVER));
    T_OK(filch_chan_recv(side.chan, &message, FILCH_NEVER));
    T_IS(FILCH_SELECT(T_LIMIT, filch_case_notified(&side.notify),
                      filch_case_recv(side.chan, &message), filch_case_acquire(&side.permits, 1)),
         1);
    T_IS(filch_notify_wait(&side.notify, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_OK(filch_sleep(filch_after(FILCH_MILLISECOND)));
    atomic_store(&refuses, false);
    T_IS(message, 5);
    T_OK(join(other));
    T_OK(filch_mutex_unlock(&side.mutex));
    T_OK(filch_rwlock_unlock(&side.rwlock));
    filch_semaphore_fini(&side.permits);
    filch_chan_unref(side.chan);
    return 0;
}

Test(errors_memory, waits_need_none)
{
    T_OK(run_in_runtime(1, waits_without_memory, NULL));
}
