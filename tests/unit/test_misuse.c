/* Description: what each public function says to wrong calls. One row per case: the call, what it
 * must return. Rows are grouped by where they are called from: a plain thread, a task, a blocking
 * job, a future's poll, and a runtime that is being shut down. tests/check_misuse.py sees to it
 * that no function of the public headers is missing here.
 *
 * NULL, handles that are used up, the wrong kind of thread, sizes out of range. What cannot be
 * found out (an address that never was a handle) is not here. */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/misuse.h"
#include "tests/runner/run.h"

TestSuite(misuse, .timeout = 120);

static int nop(void *arg)
{
    (void)arg;
    return 0;
}

static void nop_void(void *arg)
{
    (void)arg;
}

static filch_poll ready(filch_future *self, filch_cx *cx)
{
    (void)cx;
    self->result = 7;
    return FILCH_READY;
}

static filch_future ready_future = {.poll = ready};
static filch_future no_poll;
static filch_local key = FILCH_LOCAL_INIT(NULL);
static filch_local fresh_key = FILCH_LOCAL_INIT(NULL);

/* Handles that are used up; made in a task, used everywhere. */
static struct {
    filch_task *joined;
    filch_task *detached;
    filch_tcp *conn;
    filch_listener *listener;
    filch_file *file;
} stale;

static int make_stale(void *arg)
{
    char addr[FILCH_ADDR_BYTES];

    (void)arg;
    stale.joined = spawn(nop, NULL);
    T_OK(join(stale.joined));
    stale.detached = spawn(nop, NULL);
    T_OK(filch_task_detach(stale.detached));
    T_OK(filch_listener_open("127.0.0.1:0", NULL, &stale.listener));
    T_OK(filch_listener_addr(stale.listener, addr));
    T_OK(filch_tcp_connect(addr, &stale.conn, T_LIMIT));
    T_OK(filch_tcp_close(stale.conn));
    T_OK(filch_listener_close(stale.listener));
    T_OK(filch_file_open("/dev/null", O_RDWR, 0, &stale.file, T_LIMIT));
    T_OK(filch_file_close(stale.file));
    return 0;
}

/* The same answer everywhere. */
static void base_and_time_rows(void)
{
    filch_interval interval = {0};

    ROW(strcmp(filch_version(), FILCH_VERSION), 0);
    ROW(filch_now() > 0, true);
    ROW(filch_after(FILCH_NEVER) == FILCH_NEVER, true);
    ROW(filch_after(FILCH_NEVER - 1) == FILCH_NEVER, true);
    ROW(filch_sleep(FILCH_NOW), 0);
    ROW(filch_sleep(1), 0);
    ROW(filch_interval_init(NULL, 1), -EINVAL);
    ROW(filch_interval_init(&interval, 0), -EINVAL);
    ROW(filch_interval_tick(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_interval_tick(&interval, FILCH_NOW), -EINVAL);
    ROW(filch_interval_set_missed(NULL, FILCH_MISSED_SKIP), -EINVAL);
    ROW(filch_interval_set_missed(&interval, (enum filch_missed)99), -EINVAL);
    ROW(filch_interval_reset(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_interval_init(&interval, FILCH_NEVER), 0);
    ROW(filch_interval_tick(&interval, FILCH_NOW), -ETIMEDOUT);
}

static void counting_rows(void)
{
    filch_semaphore semaphore = FILCH_SEMAPHORE_INIT(0);
    filch_notify notify = FILCH_NOTIFY_INIT;
    filch_notified notified = FILCH_NOTIFIED_INIT;
    filch_barrier barrier = FILCH_BARRIER_INIT(2);
    filch_waitgroup group = FILCH_WAITGROUP_INIT(0);
    filch_gate gate = FILCH_GATE_INIT;
    filch_permit permit = {0};
    filch_case none;

    ROW(filch_semaphore_init(NULL, 1), -EINVAL);
    ROW(filch_semaphore_init(&semaphore, FILCH_SEMAPHORE_MAX + 1), -EINVAL);
    ROW_VOID(filch_semaphore_fini(NULL));
    ROW(filch_semaphore_acquire(NULL, 1, FILCH_NOW), -EINVAL);
    ROW(filch_semaphore_acquire(&semaphore, 0, FILCH_NOW), -EINVAL);
    ROW(filch_semaphore_acquire(&semaphore, FILCH_SEMAPHORE_MAX + 1, FILCH_NOW), -EINVAL);
    ROW(filch_semaphore_try_acquire(NULL, 1), -EINVAL);
    ROW(filch_semaphore_try_acquire(&semaphore, 0), -EINVAL);
    ROW(filch_semaphore_release(NULL, 1), -EINVAL);
    ROW(filch_semaphore_release(&semaphore, UINT64_MAX), -EINVAL);
    ROW(filch_semaphore_forget(NULL, 1), 0);
    ROW(filch_semaphore_available(NULL), 0);
    ROW(filch_semaphore_close(NULL), -EINVAL);
    ROW(filch_semaphore_is_closed(NULL), false);
    none = filch_case_acquire(NULL, 1);
    ROW(filch_select(&none, 1, 0, FILCH_NOW), -EINVAL);
    none = filch_case_acquire(&semaphore, 0);
    ROW(filch_select(&none, 1, 0, FILCH_NOW), -EINVAL);
    ROW(filch_permit_acquire(NULL, 1, FILCH_NOW).result, -EINVAL);
    ROW_VOID(filch_permit_release(NULL));
    ROW_VOID(filch_permit_release(&permit));

    ROW_VOID(filch_notify_init(NULL));
    ROW_VOID(filch_notify_fini(NULL));
    ROW(filch_notify_one(NULL), -EINVAL);
    ROW(filch_notify_last(NULL), -EINVAL);
    ROW(filch_notify_all(NULL), -EINVAL);
    ROW(filch_notify_wait(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_notify_prepare(NULL, &notified), -EINVAL);
    ROW(filch_notify_prepare(&notify, NULL), -EINVAL);
    ROW(filch_notified_wait(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_notified_wait(&notified, FILCH_NOW), -EINVAL);
    ROW_VOID(filch_notified_abandon(NULL));
    ROW_VOID(filch_notified_abandon(&notified));
    none = filch_case_notified(NULL);
    ROW(filch_select(&none, 1, 0, FILCH_NOW), -EINVAL);

    ROW(filch_barrier_init(NULL, 1), -EINVAL);
    ROW(filch_barrier_init(&barrier, 0), -EINVAL);
    ROW_VOID(filch_barrier_fini(NULL));
    ROW(filch_barrier_wait(NULL, FILCH_NOW), -EINVAL);

    ROW(filch_waitgroup_init(NULL, 0), -EINVAL);
    ROW(filch_waitgroup_init(&group, 99), -EINVAL);
    ROW_VOID(filch_waitgroup_fini(NULL));
    ROW(filch_waitgroup_add(NULL, 1), -EINVAL);
    ROW(filch_waitgroup_add(&group, UINT64_MAX), -EOVERFLOW);
    ROW(filch_waitgroup_done(NULL), -EINVAL);
    ROW(filch_waitgroup_done(&group), -EINVAL);
    ROW(filch_waitgroup_close(NULL), -EINVAL);
    ROW(filch_waitgroup_wait(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_waitgroup_count(NULL), 0);
    none = filch_case_waitgroup(NULL);
    ROW(filch_select(&none, 1, 0, FILCH_NOW), -EINVAL);
    ROW_VOID(filch_gate_init(NULL));
    ROW_VOID(filch_gate_fini(NULL));
    ROW(filch_gate_enter(NULL), -EINVAL);
    ROW(filch_gate_leave(NULL), -EINVAL);
    ROW(filch_gate_leave(&gate), -EINVAL);
    ROW(filch_gate_close(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_gate_is_closed(NULL), false);
}

static void timed_counting_rows(void)
{
    filch_limiter limiter;
    filch_delay_queue queue = FILCH_DELAY_QUEUE_INIT;
    filch_delay_item item = {0}, *taken = NULL;
    filch_case none;

    ROW(filch_limiter_init(NULL, 1, 1, 1), -EINVAL);
    ROW(filch_limiter_init(&limiter, 0, 1, 1), -EINVAL);
    ROW(filch_limiter_init(&limiter, 1, 0, 1), -EINVAL);
    ROW(filch_limiter_init(&limiter, 1, 1, 0), -EINVAL);
    ROW(filch_limiter_init(&limiter, 1, 1, 1), 0);
    ROW_VOID(filch_limiter_fini(NULL));
    ROW(filch_limiter_acquire(NULL, 1, FILCH_NOW), -EINVAL);
    ROW(filch_limiter_acquire(&limiter, 0, FILCH_NOW), -EINVAL);
    ROW(filch_limiter_acquire(&limiter, 2, FILCH_NOW), -EINVAL);
    ROW(filch_limiter_try_acquire(NULL, 1), -EINVAL);
    ROW(filch_limiter_try_acquire(&limiter, 2), -EINVAL);
    ROW(filch_limiter_delay(NULL, 1) == FILCH_NEVER, true);
    ROW(filch_limiter_delay(&limiter, 0) == FILCH_NEVER, true);
    ROW(filch_limiter_set_rate(NULL, 1, 1), -EINVAL);
    ROW(filch_limiter_set_rate(&limiter, 0, 1), -EINVAL);
    ROW(filch_limiter_set_rate(&limiter, 1, 0), -EINVAL);

    ROW_VOID(filch_delay_queue_init(NULL));
    ROW_VOID(filch_delay_queue_fini(NULL));
    ROW(filch_delay_queue_insert(NULL, &item, 1), -EINVAL);
    ROW(filch_delay_queue_insert(&queue, NULL, 1), -EINVAL);
    ROW(filch_delay_queue_remove(NULL, &item), -EINVAL);
    ROW(filch_delay_queue_remove(&queue, NULL), -EINVAL);
    ROW(filch_delay_queue_remove(&queue, &item), -ESRCH);
    ROW(filch_delay_queue_reset(NULL, &item, 1), -EINVAL);
    ROW(filch_delay_queue_reset(&queue, NULL, 1), -EINVAL);
    ROW(filch_delay_queue_reset(&queue, &item, 1), -ESRCH);
    ROW(filch_delay_queue_next(NULL, &taken, FILCH_NOW), -EINVAL);
    ROW(filch_delay_queue_next(&queue, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_delay_queue_close(NULL), -EINVAL);
    ROW(filch_delay_queue_len(NULL), 0);
    none = filch_case_delay(NULL, &taken);
    ROW(filch_select(&none, 1, 0, FILCH_NOW), -EINVAL);
    none = filch_case_delay(&queue, NULL);
    ROW(filch_select(&none, 1, 0, FILCH_NOW), -EINVAL);
    ROW(taken == NULL, true);
}

static void oneshot_rows(void)
{
    filch_oneshot_tx *tx = NULL;
    filch_oneshot_rx *rx = NULL;
    filch_oneshot_future future;
    filch_oneshot_closed_future closed_future;
    char value = 7;
    filch_case none;

    ROW(filch_oneshot_new(0, &tx, &rx), -EINVAL);
    ROW(filch_oneshot_new(FILCH_ONESHOT_BYTES_MAX + 1, &tx, &rx), -EINVAL);
    ROW(filch_oneshot_new(1, NULL, &rx), -EINVAL);
    ROW(filch_oneshot_new(1, &tx, NULL), -EINVAL);
    ROW(!tx && !rx, true);
    ROW(filch_oneshot_new(1, &tx, &rx), 0);
    ROW(filch_oneshot_send(NULL, &value), -EINVAL);
    ROW(filch_oneshot_send(tx, NULL), -EINVAL);
    ROW(filch_oneshot_drop(NULL), 0);
    ROW(filch_oneshot_closed(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_oneshot_recv(NULL, &value, FILCH_NOW), -EINVAL);
    ROW(filch_oneshot_recv(rx, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_oneshot_close(NULL, &value), -EINVAL);
    ROW(filch_oneshot_future_init(NULL, rx, &value), -EINVAL);
    ROW(filch_oneshot_future_init(&future, NULL, &value), -EINVAL);
    ROW(filch_oneshot_future_init(&future, rx, NULL), -EINVAL);
    ROW(filch_oneshot_closed_future_init(NULL, tx), -EINVAL);
    ROW(filch_oneshot_closed_future_init(&closed_future, NULL), -EINVAL);
    none = filch_case_oneshot(NULL, &value);
    ROW(filch_select(&none, 1, 0, FILCH_NOW), -EINVAL);
    none = filch_case_oneshot(rx, NULL);
    ROW(filch_select(&none, 1, 0, FILCH_NOW), -EINVAL);
    none = filch_case_oneshot_closed(NULL);
    ROW(filch_select(&none, 1, 0, FILCH_NOW), -EINVAL);
    ROW(filch_oneshot_send(tx, &value), 0);
    ROW(filch_oneshot_send(tx, &value), -EBADF);
    ROW(filch_oneshot_recv(rx, &value, FILCH_NOW), 0);
    ROW(filch_oneshot_recv(rx, &value, FILCH_NOW), -EBADF);
    ROW(filch_oneshot_close(rx, &value), -EBADF);
    ROW(filch_oneshot_drop(tx), -EBADF);
    ROW(filch_oneshot_closed(tx, FILCH_NOW), -EBADF);
}

static int keeps(void *arg, void *value)
{
    (void)arg;
    (void)value;
    return 0;
}

static bool is_content(void *arg, const void *value)
{
    (void)arg;
    (void)value;
    return true;
}

static void watch_reader_rows(filch_watch *watch, filch_watch_reader *reader)
{
    filch_watch_reader none = {0};
    filch_watch_future future;
    filch_watch_stream stream;
    char value = 7;
    filch_case c;

    ROW(filch_watch_subscribe(NULL, reader), -EINVAL);
    ROW(filch_watch_subscribe(watch, NULL), -EINVAL);
    ROW(filch_watch_reader_dup(NULL, reader), -EINVAL);
    ROW(filch_watch_reader_dup(&none, reader), -EINVAL);
    ROW(filch_watch_reader_dup(reader, NULL), -EINVAL);
    ROW_VOID(filch_watch_unsubscribe(NULL));
    ROW_VOID(filch_watch_unsubscribe(&none));
    ROW(filch_watch_changed(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_watch_changed(&none, FILCH_NOW), -EINVAL);
    ROW(filch_watch_has_changed(NULL), -EINVAL);
    ROW(filch_watch_has_changed(&none), -EINVAL);
    ROW(filch_watch_borrow(NULL) == NULL, true);
    ROW(filch_watch_borrow(&none) == NULL, true);
    ROW(filch_watch_get(NULL, &value), -EINVAL);
    ROW(filch_watch_get(&none, &value), -EINVAL);
    ROW(filch_watch_get(reader, NULL), -EINVAL);
    ROW(filch_watch_wait_for(NULL, is_content, NULL, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_watch_wait_for(&none, is_content, NULL, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_watch_wait_for(reader, NULL, NULL, NULL, FILCH_NOW), -EINVAL);
    ROW_VOID(filch_watch_mark_changed(NULL));
    ROW_VOID(filch_watch_mark_seen(NULL));
    ROW_VOID(filch_watch_mark_seen(&none));
    ROW(filch_watch_future_init(NULL, reader), -EINVAL);
    ROW(filch_watch_future_init(&future, NULL), -EINVAL);
    ROW(filch_watch_future_init(&future, &none), -EINVAL);
    ROW(filch_watch_stream_init(NULL, reader), -EINVAL);
    ROW(filch_watch_stream_init(&stream, NULL), -EINVAL);
    ROW(filch_watch_stream_init(&stream, &none), -EINVAL);
    c = filch_case_watch_changed(NULL);
    ROW(filch_select(&c, 1, 0, FILCH_NOW), -EINVAL);
    c = filch_case_watch_changed(&none);
    ROW(filch_select(&c, 1, 0, FILCH_NOW), -EINVAL);
    c = filch_case_watch_abandoned(NULL);
    ROW(filch_select(&c, 1, 0, FILCH_NOW), -EINVAL);
}

static void watch_rows(void)
{
    filch_watch *watch = NULL;
    filch_watch_reader reader;
    char value = 7;

    ROW(filch_watch_new(0, &value, &watch), -EINVAL);
    ROW(filch_watch_new(1, NULL, &watch), -EINVAL);
    ROW(filch_watch_new(1, &value, NULL), -EINVAL);
    ROW(filch_watch_new(SIZE_MAX, &value, &watch), -ENOMEM);
    ROW(watch == NULL, true);
    ROW(filch_watch_ref(NULL) == NULL, true);
    ROW_VOID(filch_watch_unref(NULL));
    ROW(filch_watch_new(1, &value, &watch), 0);
    ROW(filch_watch_send(NULL, &value), -EINVAL);
    ROW(filch_watch_send(watch, NULL), -EINVAL);
    ROW(filch_watch_modify(NULL, keeps, NULL), -EINVAL);
    ROW(filch_watch_modify(watch, NULL, NULL), -EINVAL);
    ROW(filch_watch_latest(NULL, &value), -EINVAL);
    ROW(filch_watch_latest(watch, NULL), -EINVAL);
    ROW(filch_watch_replace(NULL, &value, &value), -EINVAL);
    ROW(filch_watch_replace(watch, NULL, &value), -EINVAL);
    ROW(filch_watch_replace(watch, &value, NULL), -EINVAL);
    ROW(filch_watch_readers(NULL), 0);
    ROW(filch_watch_senders(NULL), 0);
    ROW(filch_watch_abandoned(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_watch_subscribe(watch, &reader), 0);
    watch_reader_rows(watch, &reader);
    filch_watch_unsubscribe(&reader);
    filch_watch_unref(watch);
}

static void broadcast_receiver_rows(filch_broadcast *b, filch_broadcast_receiver *receiver)
{
    filch_broadcast_receiver none = {0};
    filch_broadcast_future future;
    filch_broadcast_stream stream;
    uint64_t lost = 77;
    char msg = 7;
    filch_case c;

    ROW(filch_broadcast_subscribe(NULL, receiver), -EINVAL);
    ROW(filch_broadcast_subscribe(b, NULL), -EINVAL);
    ROW(filch_broadcast_receiver_dup(NULL, receiver), -EINVAL);
    ROW(filch_broadcast_receiver_dup(&none, receiver), -EINVAL);
    ROW(filch_broadcast_receiver_dup(receiver, NULL), -EINVAL);
    ROW(filch_broadcast_resubscribe(NULL, receiver), -EINVAL);
    ROW(filch_broadcast_resubscribe(&none, receiver), -EINVAL);
    ROW(filch_broadcast_resubscribe(receiver, NULL), -EINVAL);
    ROW(filch_broadcast_of(NULL) == NULL, true);
    ROW(filch_broadcast_of(&none) == NULL, true);
    c = filch_case_broadcast_abandoned(NULL);
    ROW(filch_select(&c, 1, 0, FILCH_NOW), -EINVAL);
    ROW_VOID(filch_broadcast_unsubscribe(NULL));
    ROW_VOID(filch_broadcast_unsubscribe(&none));
    ROW(filch_broadcast_recv(NULL, &msg, &lost, FILCH_NOW), -EINVAL);
    ROW(filch_broadcast_recv(&none, &msg, &lost, FILCH_NOW), -EINVAL);
    ROW(filch_broadcast_recv(receiver, NULL, &lost, FILCH_NOW), -EINVAL);
    ROW(lost, 77);
    ROW(filch_broadcast_len(NULL), 0);
    ROW(filch_broadcast_len(&none), 0);
    ROW(filch_broadcast_future_init(NULL, receiver, &msg, &lost), -EINVAL);
    ROW(filch_broadcast_future_init(&future, NULL, &msg, &lost), -EINVAL);
    ROW(filch_broadcast_future_init(&future, &none, &msg, &lost), -EINVAL);
    ROW(filch_broadcast_future_init(&future, receiver, NULL, &lost), -EINVAL);
    ROW(filch_broadcast_stream_init(NULL, receiver, &lost), -EINVAL);
    ROW(filch_broadcast_stream_init(&stream, NULL, &lost), -EINVAL);
    ROW(filch_broadcast_stream_init(&stream, &none, &lost), -EINVAL);
    c = filch_case_broadcast_send(NULL, &msg);
    ROW(filch_select(&c, 1, 0, FILCH_NOW), -EINVAL);
    c = filch_case_broadcast_send(b, NULL);
    ROW(filch_select(&c, 1, 0, FILCH_NOW), -EINVAL);
    c = filch_case_broadcast(NULL, &msg, &lost);
    ROW(filch_select(&c, 1, 0, FILCH_NOW), -EINVAL);
    c = filch_case_broadcast(&none, &msg, &lost);
    ROW(filch_select(&c, 1, 0, FILCH_NOW), -EINVAL);
    c = filch_case_broadcast(receiver, NULL, &lost);
    ROW(filch_select(&c, 1, 0, FILCH_NOW), -EINVAL);
}

static void broadcast_rows(void)
{
    filch_broadcast *b = NULL;
    filch_broadcast_receiver receiver;
    char msg = 7;

    ROW(filch_broadcast_new(0, 1, 0, &b), -EINVAL);
    ROW(filch_broadcast_new(65537, 1, 0, &b), -EINVAL);
    ROW(filch_broadcast_new(1, 0, 0, &b), -EINVAL);
    ROW(filch_broadcast_new(1, 1, 2, &b), -EINVAL);
    ROW(filch_broadcast_new(1, 1, 0, NULL), -EINVAL);
    ROW(filch_broadcast_new(1, SIZE_MAX, 0, &b), -ENOMEM);
    ROW(b == NULL, true);
    ROW(filch_broadcast_ref(NULL) == NULL, true);
    ROW_VOID(filch_broadcast_unref(NULL));
    ROW(filch_broadcast_weak_ref(NULL) == NULL, true);
    ROW_VOID(filch_broadcast_weak_unref(NULL));
    ROW(filch_broadcast_sender_ref(NULL) == NULL, true);
    ROW(filch_broadcast_senders(NULL), 0);
    ROW(filch_broadcast_is_closed(NULL), false);
    ROW(filch_broadcast_abandoned(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_broadcast_new(1, 1, FILCH_BROADCAST_KEEP, &b), 0);
    ROW(filch_broadcast_send(NULL, &msg, FILCH_NOW), -EINVAL);
    ROW(filch_broadcast_send(b, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_broadcast_close(NULL), -EINVAL);
    ROW(filch_broadcast_receivers(NULL), 0);
    ROW(filch_broadcast_subscribe(b, &receiver), 0);
    broadcast_receiver_rows(b, &receiver);
    filch_broadcast_unsubscribe(&receiver);
    filch_broadcast_unref(b);
}

static void runtime_rows(filch_runtime *rt)
{
    filch_runtime_opts too_many = {.workers = 257};
    filch_runtime_opts two_currents = {.current_thread = true, .workers = 2};
    filch_runtime *none = NULL;
    filch_stats stats;
    filch_blocking_class *class = NULL;
    filch_blocking_stats class_stats;
    filch_task *task;

    ROW(filch_runtime_start(NULL, NULL), -EINVAL);
    ROW(filch_runtime_start(&too_many, &none), -EINVAL);
    ROW(filch_runtime_start(&two_currents, &none), -EINVAL);
    ROW(none == NULL, true);
    ROW(filch_runtime_turn(NULL, 0, 0, NULL), -EINVAL);
    ROW(filch_runtime_fd(NULL), -EINVAL);
    ROW(filch_main(nop, NULL, &too_many), -EINVAL);
    ROW(filch_strerror(0) != NULL, true);
    ROW(filch_strerror(-99999) != NULL, true);
    ROW(filch_strerror(INT_MIN) != NULL, true);
    ROW(filch_strerror(INT_MAX) != NULL, true);
    ROW((filch_log_set(NULL, NULL), true), true);
    ROW(filch_runtime_visit(NULL, NULL, NULL), -EINVAL);
    ROW(filch_runtime_visit(rt, NULL, NULL), -EINVAL);
    ROW(filch_runtime_stats(NULL, &stats), -EINVAL);
    ROW(filch_runtime_stats(rt, NULL), -EINVAL);
    ROW(filch_runtime_shutdown(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_runtime_block_on(NULL, nop, NULL, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_runtime_block_on(rt, NULL, NULL, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_runtime_spawn(NULL, nop, NULL, NULL, NULL), -EINVAL);
    ROW(filch_runtime_spawn(rt, NULL, NULL, NULL, &task), -EINVAL);
    ROW(filch_runtime_blocking_spawn(NULL, nop, NULL, NULL, NULL), -EINVAL);
    ROW(filch_runtime_blocking_spawn(rt, NULL, NULL, NULL, &task), -EINVAL);
    ROW(filch_runtime_blocking_spawn(
            rt, nop, NULL, &(filch_task_opts){.blocking_class = (filch_blocking_class *)&stats},
            NULL),
        -EINVAL);
    ROW(filch_blocking_class_new(NULL, &(filch_blocking_class_opts){.name = "c"}, &class), -EINVAL);
    ROW(filch_blocking_class_new(rt, NULL, &class), -EINVAL);
    ROW(filch_blocking_class_new(rt, &(filch_blocking_class_opts){.name = NULL}, &class), -EINVAL);
    ROW(filch_blocking_class_new(rt, &(filch_blocking_class_opts){.name = "c"}, NULL), -EINVAL);
    ROW(filch_blocking_class_new(
            rt, &(filch_blocking_class_opts){.name = "a name that is longer than 31 bytes"},
            &class),
        -EINVAL);
    ROW(filch_blocking_class_new(
            rt, &(filch_blocking_class_opts){.name = "c", .threads_reserved = UINT_MAX}, &class),
        -ENOSPC);
    ROW(class == NULL, true);
    ROW(filch_blocking_class_stats(NULL, NULL, &class_stats), -EINVAL);
    ROW(filch_blocking_class_stats(rt, NULL, NULL), -EINVAL);
    ROW(filch_blocking_class_stats(rt, (filch_blocking_class *)&stats, &class_stats), -EINVAL);
    ROW(filch_runtime_spawn(rt, nop, NULL, &(filch_task_opts){.copy_bytes = 1}, NULL), -EINVAL);
    ROW(filch_runtime_spawn(rt, nop, NULL, &(filch_task_opts){.worker = 1000}, NULL), -EINVAL);
    ROW(filch_runtime_spawn(rt, nop, NULL, &(filch_task_opts){.pinned = true, .worker = UINT_MAX},
                            NULL),
        -EINVAL);
    ROW(filch_runtime_blocking_spawn(rt, nop, NULL, &(filch_task_opts){.pinned = true}, NULL),
        -EINVAL);
#ifndef T_SANITIZED /* whose allocators end the program */
    ROW(filch_runtime_spawn(rt, nop, &stats, &(filch_task_opts){.copy_bytes = SIZE_MAX / 2}, NULL),
        -ENOMEM);
    ROW(filch_runtime_blocking_spawn(rt, nop, &stats,
                                     &(filch_task_opts){.copy_bytes = SIZE_MAX / 2}, NULL),
        -ENOMEM);
#endif
}

static void task_handle_rows(void)
{
    int result = 77;

    ROW(filch_task_join(NULL, &result, FILCH_NOW), -EINVAL);
    ROW(filch_task_join(stale.joined, &result, FILCH_NOW), -ESRCH);
    ROW(filch_task_join(stale.detached, &result, FILCH_NOW), -ESRCH);
    ROW(result, 77);
    ROW(filch_task_detach(NULL), 0);
    ROW(filch_task_detach(stale.joined), -ESRCH);
    ROW(filch_task_detach(stale.detached), -ESRCH);
    ROW(filch_task_cancel(NULL), -EINVAL);
    ROW(filch_task_cancel(stale.joined), -ESRCH);
    ROW(filch_task_cancel_cause(NULL, -EIO), -EINVAL);
    ROW(filch_task_cancel_cause(stale.joined, -EIO), -ESRCH);
    ROW(filch_task_is_finished(NULL), true);
    ROW(filch_task_is_finished(stale.joined), true);
    ROW(strcmp(filch_task_name(stale.joined), ""), 0);
}

static void scope_null_rows(void)
{
    ROW_VOID(filch_scope_init(NULL, 0));
    ROW_VOID(filch_scope_cancel(NULL));
    ROW_VOID(filch_scope_leave(NULL));
    ROW(filch_scope_limit(NULL, 1), -EINVAL);
    ROW(filch_scope_spawn(NULL, nop, NULL), -EINVAL);
    ROW(filch_scope_spawn_opts(NULL, nop, NULL, NULL), -EINVAL);
    ROW(filch_scope_spawn_wait(NULL, nop, NULL, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_scope_join(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_scope_cancel_join(NULL), -EINVAL);
    ROW_VOID(filch_scope_cancel_cause(NULL, -EIO));
    ROW(filch_scope_bind(NULL, NULL), -EINVAL);
    ROW(filch_scope_is_idle(NULL), true);
    ROW(filch_scope_failed(NULL, NULL), -EINVAL);
    ROW(filch_scope_collect(NULL, NULL, 0), -EINVAL);
    ROW(filch_scope_failures(NULL), 0);
}

static void token_rows(void)
{
    filch_token *token = NULL;
    filch_token_future future;
    filch_scope scope;
    filch_hook hook;

    ROW(filch_token_new(NULL), -EINVAL);
    ROW(filch_token_child(NULL, &token), -EINVAL);
    ROW(token == NULL, true);
    ROW(filch_token_new(&token), 0);
    ROW(filch_token_child(token, NULL), -EINVAL);
    ROW(filch_token_ref(NULL) == NULL, true);
    ROW(filch_token_cancel(NULL, -EIO, NULL), -EINVAL);
    ROW(filch_token_cancel(token, 0, NULL), -EINVAL);
    ROW(filch_token_cancel(token, 5, NULL), -EINVAL);
    ROW(filch_token_cancel(token, INT_MIN, NULL), -EINVAL);
    ROW(filch_token_is_cancelled(NULL), false);
    ROW(filch_token_is_cancelled(token), false);
    ROW(filch_token_cause(NULL, NULL), 0);
    ROW(filch_token_cause(token, NULL), 0);
    ROW(filch_token_wait(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_token_wait(token, FILCH_NOW), -ETIMEDOUT);
    ROW(filch_token_hook(NULL, &hook, nop_void, NULL), -EINVAL);
    ROW(filch_token_hook(token, NULL, nop_void, NULL), -EINVAL);
    ROW(filch_token_hook(token, &hook, NULL, NULL), -EINVAL);
    ROW(filch_token_unhook(NULL, &hook), -EINVAL);
    ROW(filch_token_unhook(token, NULL), -EINVAL);
    ROW(filch_token_bind(NULL), -EINVAL);
    ROW(filch_token_child_until(token, FILCH_NOW, -ETIMEDOUT, NULL, NULL), -EINVAL);
    ROW(filch_token_child_until(token, FILCH_NOW, 0, NULL, &token), -EINVAL);
    ROW(filch_token_child_until(token, FILCH_NOW, INT_MIN, NULL, &token), -EINVAL);
    ROW(filch_token_run(NULL, nop, NULL, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_token_run(token, NULL, NULL, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_token_future_init(NULL, token), -EINVAL);
    ROW(filch_token_future_init(&future, NULL), -EINVAL);
    ROW_VOID(filch_token_guard_init(NULL, token));
    ROW_VOID(filch_token_guard_disarm(NULL));
    ROW_VOID(filch_token_guard_fini(NULL));
    filch_scope_init(&scope, 0);
    ROW(filch_scope_bind(&scope, NULL), -EINVAL);
    ROW_VOID(filch_token_unref(NULL));
    ROW_VOID(filch_token_unref(token));
    ROW(filch_cancel_cause() <= 0, true);
    ROW(filch_deadline_begin(NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_shield_begin(NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_block_end(NULL), 0);
    ROW_VOID(filch_block_leave(NULL));
    ROW(filch_deadline_enter(NULL, FILCH_NEVER) == NULL, true);
    ROW(filch_shield_enter(NULL, FILCH_NEVER) == NULL, true);
    ROW(filch_deadline(), FILCH_NEVER);
}

static int fill_nothing(void *arg, void *value)
{
    (void)arg;
    (void)value;
    return 0;
}

static void join_rows(void)
{
    const filch_call no_fn[2] = {{nop, NULL}, {NULL, NULL}};
    filch_task *tasks[2] = {stale.joined, NULL};
    int result = 7;
    size_t index = 7;

    ROW(filch_join_all(NULL, 1, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_join_all(tasks, 2, &result, FILCH_NOW), -ESRCH);
    ROW(tasks[0] == stale.joined, true);
    ROW(filch_try_join(NULL, 1, NULL, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_try_join(no_fn, 2, NULL, &index, FILCH_NOW), -EINVAL);
    ROW(filch_try_join(no_fn, (size_t)INT_MAX, NULL, &index, FILCH_NOW), -EINVAL);
    ROW(filch_race(NULL, 1, 0, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_race(no_fn, 0, 0, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_race(no_fn, 1, 2, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_race(no_fn, 2, 0, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_run_all(NULL, 1, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_run_all(no_fn, 2, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_hedge(NULL, 1, 0, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_hedge(no_fn, 0, 0, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_hedge(no_fn, 2, 0, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_timeout(NULL, NULL, &result, FILCH_NOW), -EINVAL);
    ROW(filch_retry(NULL, NULL, NULL, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_retry_delay(NULL, 0, 0), 0);
    ROW(result, 7);
    ROW(index, 7);
}

static void join_set_rows(void)
{
    filch_join_set set;
    int result = 7;
    uint64_t set_key = 7;

    ROW_VOID(filch_join_set_init(NULL, 0));
    ROW_VOID(filch_join_set_fini(NULL));
    ROW_VOID(filch_join_set_leave(NULL));
    ROW(filch_join_set_limit(NULL, 1), -EINVAL);
    ROW(filch_join_set_spawn(NULL, 0, nop, NULL, NULL), -EINVAL);
    ROW(filch_join_set_spawn_wait(NULL, 0, nop, NULL, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_join_set_next(NULL, &result, &set_key, FILCH_NOW), -EINVAL);
    ROW(filch_case_join_next(NULL, &result, &set_key).ops == NULL, true);
    ROW(filch_join_set_len(NULL), 0);
    ROW(filch_join_set_has(NULL, 1), false);
    ROW(filch_join_set_abort(NULL, 1), -EINVAL);
    ROW(filch_join_set_abort_all(NULL), -EINVAL);
    ROW(filch_join_set_shutdown(NULL), -EINVAL);
    ROW(filch_join_set_detach_all(NULL), -EINVAL);
    filch_join_set_init(&set, 0);
    ROW(filch_join_set_spawn(&set, 0, NULL, NULL, NULL), -EINVAL);
    ROW(filch_join_set_spawn_wait(&set, 0, NULL, NULL, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_join_set_next(&set, &result, &set_key, FILCH_NOW), -ENOENT);
    ROW(filch_join_set_has(&set, 0), false);
    ROW(filch_join_set_abort(&set, 0), -EINVAL);
    ROW(filch_join_set_abort(&set, 1), -ENOENT);
    ROW(result, 7);
    ROW(set_key, 7);
    filch_join_set_fini(&set);
}

static void tracker_rows(void)
{
    filch_tracker *tracker = NULL;

    ROW(filch_tracker_new(NULL), -EINVAL);
    ROW(filch_tracker_ref(NULL) == NULL, true);
    ROW_VOID(filch_tracker_unref(NULL));
    ROW(filch_tracker_spawn(NULL, nop, NULL, NULL), -EINVAL);
    ROW(filch_tracker_spawn_blocking(NULL, nop, NULL, NULL), -EINVAL);
    ROW(filch_tracker_spawn_on(NULL, filch_runtime_self(), nop, NULL, NULL), -EINVAL);
    ROW(filch_case_tracker(NULL).ops == NULL, true);
    ROW(filch_tracker_enter(NULL), -EINVAL);
    ROW(filch_tracker_leave(NULL), -EINVAL);
    ROW(filch_tracker_close(NULL), -EINVAL);
    ROW(filch_tracker_reopen(NULL), -EINVAL);
    ROW(filch_tracker_wait(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_tracker_count(NULL), 0);
    ROW(filch_tracker_is_closed(NULL), true);
    ROW(filch_tracker_token(NULL) == NULL, true);
    ROW(filch_tracker_new(&tracker), 0);
    ROW(filch_tracker_spawn(tracker, NULL, NULL, NULL), -EINVAL);
    ROW(filch_tracker_spawn_blocking(tracker, NULL, NULL, NULL), -EINVAL);
    ROW(filch_tracker_spawn_on(tracker, NULL, nop, NULL, NULL), -EINVAL);
    ROW(filch_tracker_leave(tracker), -EINVAL);
    ROW(filch_tracker_reopen(tracker), -EALREADY);
    ROW(filch_tracker_close(tracker), 0);
    ROW(filch_tracker_wait(tracker, FILCH_NOW), 0);
    filch_tracker_unref(tracker);
}

static void flight_rows(void)
{
    filch_flights *flights = NULL;

    ROW(filch_flights_new(0, NULL), -EINVAL);
    ROW(filch_flights_free(NULL), 0);
    ROW(filch_flight(NULL, "k", 1, fill_nothing, NULL, NULL, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_flight_forget(NULL, "k", 1), -EINVAL);
    ROW(filch_flights_new(0, &flights), 0);
    ROW(filch_flight(flights, NULL, 1, fill_nothing, NULL, NULL, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_flight(flights, "k", 1, NULL, NULL, NULL, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_flight_forget(flights, NULL, 1), -EINVAL);
    ROW(filch_flight_forget(flights, "k", 1), -ENOENT);
    ROW(filch_flights_free(flights), 0);
}

static void future_rows(void)
{
    filch_waker none = {0};
    filch_waker clone = filch_waker_clone(&none);

    ROW(filch_await(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_await(&no_poll, FILCH_NOW), -EINVAL);
    ROW(filch_future_spawn(NULL, NULL, NULL), -EINVAL);
    ROW(filch_future_spawn(&no_poll, NULL, NULL), -EINVAL);
    ROW_VOID(filch_sleep_future_init(NULL, FILCH_NOW));
    /* A waker of nobody, as in a struct that was just cleared. */
    ROW_VOID(filch_waker_wake(clone));
    ROW_VOID(filch_waker_wake_by_ref(&none));
    ROW_VOID(filch_waker_wake_by_ref(NULL));
    ROW_VOID(filch_waker_drop(none));
    ROW(filch_waker_clone(NULL).target == NULL, true);
    ROW(filch_waker_will_wake(NULL, &none), false);
    ROW(filch_waker_will_wake(&none, NULL), false);
}

static void fork_rows(void)
{
    filch_forked fork;

    ROW(filch_fork(NULL, nop, NULL), -EINVAL);
    ROW(filch_fork(&fork, NULL, NULL), -EINVAL);
    ROW(filch_join(NULL), -EINVAL);
    ROW(filch_fork(&fork, nop, NULL), 0);
    ROW(filch_join(&fork), 0);
}

static void local_rows(void)
{
    filch_local *made = NULL;

    ROW(filch_local_new(NULL, NULL), -EINVAL);
    ROW(filch_local_new_inherited(NULL, NULL, NULL), -EINVAL);
    ROW(filch_local_new(NULL, &made), 0);
    ROW_VOID(filch_local_free(made));
    ROW_VOID(filch_local_free(NULL));
    ROW(filch_local_set(NULL, &misuse_wrong), -EINVAL);
    ROW(filch_local_get(NULL) == NULL, true);
    ROW(filch_local_get(&fresh_key) == NULL, true);
    ROW(filch_task_defer(NULL, NULL), -EINVAL);
}

static int map_nothing(int result, void *arg)
{
    (void)arg;
    return result;
}

static filch_future *then_nothing(int result, void *arg)
{
    (void)result;
    (void)arg;
    return NULL;
}

static filch_poll poll_nothing(void *arg, filch_cx *cx, int *ret_result)
{
    (void)arg;
    (void)cx;
    *ret_result = 0;
    return FILCH_READY;
}

static void combine_rows(void)
{
    filch_child child = {.future = &ready_future}, empty = {0}, bad = {.future = &no_poll};
    filch_group_future group;
    filch_timeout_future timeout;
    filch_then_future then;
    filch_map_future map;
    filch_fn_future fn;
    size_t too_many = (size_t)INT_MAX + 1;

    ROW_VOID(filch_async_init(NULL, NULL));
    ROW_VOID(filch_async_drop(NULL));
    ROW_VOID(filch_ready_future_init(NULL, 0));
    ROW_VOID(filch_pending_future_init(NULL));
    ROW(filch_join_future_init(NULL, &child, 1), -EINVAL);
    ROW(filch_join_future_init(&group, NULL, 1), -EINVAL);
    ROW(filch_join_future_init(&group, &empty, 1), -EINVAL);
    ROW(filch_join_future_init(&group, &bad, 1), -EINVAL);
    ROW(filch_join_future_init(&group, &child, too_many), -EINVAL);
    ROW(filch_join_future_init(&group, NULL, 0), 0);
    ROW(filch_try_join_future_init(NULL, &child, 1), -EINVAL);
    ROW(filch_try_join_future_init(&group, &empty, 1), -EINVAL);
    ROW(filch_select_future_init(NULL, &child, 1, 0), -EINVAL);
    ROW(filch_select_future_init(&group, &child, 0, 0), -EINVAL);
    ROW(filch_select_future_init(&group, &child, 1, ~0u), -EINVAL);
    ROW(filch_select_future_init(&group, &bad, 1, 0), -EINVAL);
    ROW(filch_timeout_future_init(NULL, &ready_future, FILCH_NOW), -EINVAL);
    ROW(filch_timeout_future_init(&timeout, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_timeout_future_init(&timeout, &no_poll, FILCH_NOW), -EINVAL);
    ROW(filch_map_future_init(NULL, &ready_future, map_nothing, NULL), -EINVAL);
    ROW(filch_map_future_init(&map, NULL, map_nothing, NULL), -EINVAL);
    ROW(filch_map_future_init(&map, &ready_future, NULL, NULL), -EINVAL);
    ROW(filch_then_future_init(NULL, &ready_future, then_nothing, NULL), -EINVAL);
    ROW(filch_then_future_init(&then, &no_poll, then_nothing, NULL), -EINVAL);
    ROW(filch_then_future_init(&then, &ready_future, NULL, NULL), -EINVAL);
    ROW(filch_poll_fn_future_init(NULL, poll_nothing, NULL), -EINVAL);
    ROW(filch_poll_fn_future_init(&fn, NULL, NULL), -EINVAL);
    ROW(filch_lazy_future_init(NULL, nop, NULL), -EINVAL);
    ROW(filch_lazy_future_init(&fn, NULL, NULL), -EINVAL);
}

static void object_future_rows(void)
{
    filch_join_task_future join_task;
    filch_recv_future recv;
    filch_send_future send;
    int message = 0;

    ROW(filch_join_task_future_init(NULL, stale.joined), -EINVAL);
    ROW(filch_join_task_future_init(&join_task, NULL), -EINVAL);
    ROW(filch_join_task_future_init(&join_task, stale.joined), 0);
    ROW(filch_await(&join_task.base, FILCH_NOW), -ESRCH);
    ROW(filch_join_task_future_init(&join_task, stale.detached), 0);
    ROW(filch_await(&join_task.base, FILCH_NOW), -ESRCH);
    ROW(filch_recv_future_init(NULL, NULL, &message), -EINVAL);
    ROW(filch_recv_future_init(&recv, NULL, &message), -EINVAL);
    ROW(filch_send_future_init(NULL, NULL, &message), -EINVAL);
    ROW(filch_send_future_init(&send, NULL, &message), -EINVAL);
}

static int make_nothing(void *arg, void **ret_value)
{
    (void)arg;
    (void)ret_value;
    return 0;
}

static void lock_rows(void)
{
    filch_mutex mutex = FILCH_MUTEX_INIT;
    filch_mutex *no_mutex = NULL;
    filch_rwlock rwlock = FILCH_RWLOCK_INIT;
    filch_cond cond = FILCH_COND_INIT;
    filch_once once = FILCH_ONCE_INIT;
    filch_once_cell cell = FILCH_ONCE_CELL_INIT;
    filch_case broken;
    void *value = NULL;

    ROW_VOID(filch_mutex_init(NULL));
    ROW_VOID(filch_mutex_fini(NULL));
    ROW(filch_mutex_lock(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_mutex_lock_shielded(NULL), -EINVAL);
    ROW_VOID(filch__mutex_leave(&no_mutex));
    ROW(filch_mutex_try_lock(NULL), -EINVAL);
    ROW(filch_mutex_unlock(NULL), -EINVAL);
    ROW(filch_mutex_unlock(&mutex), -EPERM);
    ROW(filch_mutex_guard(&mutex) == &mutex, 1);
    ROW(filch_mutex_try_lock(&mutex), -EBUSY);
    ROW(filch_mutex_lock(&mutex, FILCH_NOW), -ETIMEDOUT);
    ROW(filch_mutex_unlock(&mutex), 0);
    filch_mutex_fini(&mutex);
    broken = filch_case_lock(NULL);
    ROW(filch_select(&broken, 1, 0, FILCH_NOW), -EINVAL);
    ROW_VOID(filch_rwlock_init(NULL));
    ROW_VOID(filch_rwlock_fini(NULL));
    ROW(filch_rwlock_read(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_rwlock_write(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_rwlock_try_read(NULL), -EINVAL);
    ROW(filch_rwlock_try_write(NULL), -EINVAL);
    ROW(filch_rwlock_unlock(NULL), -EINVAL);
    ROW(filch_rwlock_unlock(&rwlock), -EPERM);
    ROW(filch_rwlock_downgrade(NULL), -EINVAL);
    ROW(filch_rwlock_downgrade(&rwlock), -EPERM);
    broken = filch_case_read_lock(NULL);
    ROW(filch_select(&broken, 1, 0, FILCH_NOW), -EINVAL);
    broken = filch_case_write_lock(NULL);
    ROW(filch_select(&broken, 1, 0, FILCH_NOW), -EINVAL);
    ROW_VOID(filch_cond_init(NULL));
    ROW_VOID(filch_cond_fini(NULL));
    ROW(filch_cond_wait(NULL, &mutex, FILCH_NEVER), -EINVAL);
    ROW(filch_cond_wait(&cond, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_cond_wait(&cond, &mutex, FILCH_NEVER), -EPERM);
    ROW(filch_cond_signal(NULL), -EINVAL);
    ROW(filch_cond_broadcast(NULL), -EINVAL);
    ROW_VOID(filch_once_init(NULL));
    ROW_VOID(filch_once_fini(NULL));
    ROW(filch_once_do(NULL, nop, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_once_do(&once, NULL, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_once_is_done(NULL), 0);
    ROW(filch_once_cell_get(NULL, make_nothing, NULL, &value, FILCH_NEVER), -EINVAL);
    ROW(filch_once_cell_get(&cell, NULL, NULL, &value, FILCH_NEVER), -EINVAL);
    ROW(filch_once_cell_get(&cell, make_nothing, NULL, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_once_cell_peek(NULL) == NULL, 1);
    ROW(filch_once_try_do(NULL, nop, NULL), -EINVAL);
    ROW(filch_once_try_do(&once, NULL, NULL), -EINVAL);
    ROW(filch_once_wait(NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_once_wait(&once, FILCH_NOW), -ETIMEDOUT);
    ROW(filch_once_cell_set(NULL, &value), -EINVAL);
    ROW(filch_once_cell_wait(NULL, &value, FILCH_NEVER), -EINVAL);
    ROW(filch_once_cell_wait(&cell, NULL, FILCH_NEVER), -EINVAL);
}

static int stream_item(void *context, void *item)
{
    (void)context;
    (void)item;
    return 0;
}

static int stream_map(void *context, const void *in, void *out)
{
    (void)context;
    (void)in;
    (void)out;
    return 0;
}

static bool stream_keep(void *context, const void *item)
{
    return context != item;
}

static int stream_use(void *context, const void *item)
{
    return context == item;
}

static void stream_source_rows(void)
{
    filch_array_stream array;
    filch_fn_stream fn;
    filch_chan_stream chan;
    filch_interval_stream interval;
    filch_next_future next;
    filch_chan *no_chan = NULL;
    int item = 0;

    ROW(filch_array_stream_init(NULL, &item, 4, 1), -EINVAL);
    ROW(filch_array_stream_init(&array, NULL, 4, 1), -EINVAL);
    ROW(filch_array_stream_init(&array, &item, 0, 1), -EINVAL);
    ROW(filch_fn_stream_init(NULL, 4, stream_item, NULL), -EINVAL);
    ROW(filch_fn_stream_init(&fn, 0, stream_item, NULL), -EINVAL);
    ROW(filch_fn_stream_init(&fn, 4, NULL, NULL), -EINVAL);
    ROW(filch_chan_stream_init(NULL, no_chan, 4), -EINVAL);
    ROW(filch_chan_stream_init(&chan, no_chan, 4), -EINVAL);
    ROW(filch_interval_stream_init(NULL, 1), -EINVAL);
    ROW(filch_interval_stream_init(&interval, 0), -EINVAL);
    ROW(filch_array_stream_init(&array, &item, 4, 1), 0);
    ROW(filch_stream_next(NULL, &item, FILCH_NOW), -EINVAL);
    ROW(filch_stream_next(&array.base, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_next_future_init(NULL, &array.base, &item), -EINVAL);
    ROW(filch_next_future_init(&next, NULL, &item), -EINVAL);
    ROW(filch_next_future_init(&next, &array.base, NULL), -EINVAL);
    ROW_VOID(filch_stream_drop(NULL));
}

static void stream_io_rows(void)
{
    filch_listener_stream conns;
    filch_lines_stream lines;
    filch_dir_stream dir;
    char buffer[8];

    ROW(filch_listener_stream_init(&conns, NULL), -EINVAL);
    ROW(filch_listener_stream_init(NULL, NULL), -EINVAL);
    ROW(filch_lines_stream_init(NULL, filch_tcp_reader(NULL), buffer, 8), -EINVAL);
    ROW(filch_lines_stream_init(&lines, filch_tcp_reader(NULL), NULL, 8), -EINVAL);
    ROW(filch_tcp_writer(NULL).write(NULL, buffer, 1, FILCH_NOW), -EINVAL);
    ROW(filch_tcp_io(NULL).writer.finish(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_lines_stream_init(&lines, filch_tcp_reader(NULL), buffer, 1), -EINVAL);
    ROW(filch_lines_stream_init(&lines, (filch_reader){0}, buffer, 8), -EINVAL);
    ROW(filch_dir_stream_init(NULL, "/"), -EINVAL);
    ROW(filch_dir_stream_init(&dir, NULL), -EINVAL);
}

static void keyed_stream_rows(void)
{
    filch_keyed_stream keyed;
    filch_keyed_entry entry;
    filch_array_stream in;
    int item = 1;

    ROW(filch_array_stream_init(&in, &item, sizeof item, 1), 0);
    ROW(filch_keyed_stream_init(NULL, 4), -EINVAL);
    ROW(filch_keyed_stream_init(&keyed, 0), -EINVAL);
    ROW(filch_keyed_stream_init(&keyed, FILCH_STREAM_ITEM_MAX + 1), -EINVAL);
    ROW(filch_keyed_stream_init(&keyed, 8), 0);
    ROW(filch_keyed_stream_insert(NULL, &entry, 1, &in.base), -EINVAL);
    ROW(filch_keyed_stream_insert(&keyed, NULL, 1, &in.base), -EINVAL);
    ROW(filch_keyed_stream_insert(&keyed, &entry, 1, NULL), -EINVAL);
    ROW(filch_keyed_stream_insert(&keyed, &entry, 1, &in.base), -EINVAL);
    ROW(filch_keyed_stream_remove(NULL, 1) == NULL, true);
    ROW(filch_keyed_stream_remove(&keyed, 1) == NULL, true);
    ROW(filch_keyed_stream_count(NULL), 0);
}

static void stream_stage_rows(void)
{
    filch_array_stream in, large;
    filch_stream *from = &in.base, *none[1] = {NULL};
    filch_map_stream map;
    filch_peek_stream peek = {.has_item = false};
    filch_filter_stream filter;
    filch_take_stream take;
    filch_chain_stream chain;
    filch_zip_stream zip;
    filch_chunks_stream chunks;
    filch_gap_stream gap;
    filch_concurrent_stream concurrent;
    filch_chan *no_chan = NULL;
    char item[128] = {0};
    size_t count;

    ROW(filch_array_stream_init(&in, item, 4, 1), 0);
    ROW(filch_array_stream_init(&large, item, sizeof item, 1), 0);
    ROW(filch_map_stream_init(&map, NULL, 4, stream_map, NULL), -EINVAL);
    ROW(filch_map_stream_init(&map, &large.base, 4, stream_map, NULL), -EINVAL);
    ROW(filch_filter_map_stream_init(&map, from, 0, stream_map, NULL), -EINVAL);
    ROW(filch_map_while_stream_init(NULL, from, 4, stream_map, NULL), -EINVAL);
    ROW(filch_peek_stream_init(NULL, from), -EINVAL);
    ROW(filch_peek_stream_init(&peek, NULL), -EINVAL);
    ROW(filch_peek_stream_init(&peek, &large.base), -EINVAL);
    ROW(filch_stream_peek(NULL, item, FILCH_NOW), -EINVAL);
    ROW(filch_stream_peek(&peek, item, FILCH_NOW), -EINVAL);
    ROW(filch_filter_stream_init(&filter, from, NULL, NULL), -EINVAL);
    ROW(filch_take_while_stream_init(NULL, from, stream_keep, NULL), -EINVAL);
    ROW(filch_skip_while_stream_init(&filter, NULL, stream_keep, NULL), -EINVAL);
    ROW(filch_take_stream_init(&take, NULL, 1), -EINVAL);
    ROW(filch_skip_stream_init(NULL, from, 1), -EINVAL);
    ROW(filch_chain_stream_init(&chain, none, 1), -EINVAL);
    ROW(filch_chain_stream_init(&chain, &from, 0), -EINVAL);
    ROW(filch_merge_stream_init(&chain, NULL, 1), -EINVAL);
    ROW(filch_zip_stream_init(&zip, from, NULL), -EINVAL);
    ROW(filch_chunks_stream_init(&chunks, from, NULL, 1, 1), -EINVAL);
    ROW(filch_chunks_stream_init(&chunks, from, item, 0, 1), -EINVAL);
    ROW(filch_throttle_stream_init(&gap, NULL, 1), -EINVAL);
    ROW(filch_debounce_stream_init(NULL, from, 1), -EINVAL);
    ROW(filch_timeout_stream_init(&gap, NULL, 1), -EINVAL);
    ROW(filch_concurrent_stream_init(&concurrent, from, 4, NULL, NULL, 1, 0), -EINVAL);
    ROW(filch_concurrent_stream_init(&concurrent, from, 4, stream_map, NULL, 0, 0), -EINVAL);
    ROW(filch_concurrent_stream_init(&concurrent, from, 65, stream_map, NULL, 1, 0), -EINVAL);
    ROW(filch_concurrent_stream_init(&concurrent, from, 4, stream_map, NULL, 1, 8), -EINVAL);
    ROW(filch_stream_for_each(NULL, stream_use, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_stream_for_each(&large.base, stream_use, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_stream_all(NULL, stream_keep, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_stream_all(&large.base, stream_keep, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_stream_any(from, NULL, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_peek_stream_init(&peek, from), 0);
    ROW(filch_stream_peek(&peek, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_stream_collect(from, NULL, 1, &count, FILCH_NOW), -EINVAL);
    ROW(filch_stream_forward(from, no_chan, FILCH_NOW), -EINVAL);
}

static void select_rows(void)
{
    filch_case cases[2] = {filch_case_at(FILCH_NEVER), filch_case_at(FILCH_NEVER)};
    filch_case broken = filch_case_recv(NULL, cases);
    int message = 0;

    ROW(filch_select(NULL, 1, 0, FILCH_NOW), -EINVAL);
    ROW(filch_select(cases, 0, 0, FILCH_NOW), -EINVAL);
    ROW(filch_select(cases, FILCH_SELECT_MAX + 1, 0, FILCH_NOW), -EINVAL);
    ROW(filch_select(cases, 2, ~0u, FILCH_NOW), -EINVAL);
    ROW(filch_select(cases, 2, 0, FILCH_NOW), -ETIMEDOUT);
    ROW(filch_select(&broken, 1, 0, FILCH_NOW), -EINVAL);
    broken = filch_case_send(NULL, &message);
    ROW(filch_select(&broken, 1, 0, FILCH_NOW), -EINVAL);
    broken = filch_case_join(NULL, &message);
    ROW(filch_select(&broken, 1, 0, FILCH_NOW), -EINVAL);
    broken = filch_case_future(NULL);
    ROW(filch_select(&broken, 1, 0, FILCH_NOW), -EINVAL);
    broken = filch_case_future(&no_poll);
    ROW(filch_select(&broken, 1, 0, FILCH_NOW), -EINVAL);
    broken = filch_case_prepared(NULL);
    ROW(filch_select(&broken, 1, 0, FILCH_NOW), -EINVAL);
    broken = filch_case_once(NULL);
    ROW(filch_select(&broken, 1, 0, FILCH_NOW), -EINVAL);
    broken = filch_case_token(NULL);
    ROW(filch_select(&broken, 1, 0, FILCH_NOW), -EINVAL);
    broken = filch_case_readable(NULL);
    ROW(filch_select(&broken, 1, 0, FILCH_NOW), -EINVAL);
    broken = filch_case_writable(NULL);
    ROW(filch_select(&broken, 1, 0, FILCH_NOW), -EINVAL);
    broken = filch_case_acceptable(NULL);
    ROW(filch_select(&broken, 1, 0, FILCH_NOW), -EINVAL);
    broken = filch_case_readable(stale.conn);
    ROW(filch_select_result(&broken, 1, 0, &message, FILCH_NOW), 0);
    ROW(message, -EBADF);
    broken = filch_case_acceptable(stale.listener);
    ROW(filch_select_result(&broken, 1, 0, &message, FILCH_NOW), 0);
    ROW(message, -EBADF);
    broken = filch_case_if(false, cases[0]);
    ROW(filch_select(&broken, 1, 0, FILCH_NOW), -EINVAL);
    broken = filch_case_join(stale.joined, NULL);
    ROW(filch_select_result(&broken, 1, 0, &message, FILCH_NEVER), 0);
    ROW(message, -ESRCH);
    ROW(filch_select_result(NULL, 1, 0, &message, FILCH_NEVER), -EINVAL);
    ROW(message, -ESRCH);
}

static void nop_head(filch_rcu_head *head)
{
    (void)head;
}

/* In a thread that is not registered. A wrong section aborts: test_rcu.c. */
static void rcu_rows(void)
{
    filch_rcu_head head;

    ROW(filch_rcu_call(NULL, nop_head), -EINVAL);
    ROW(filch_rcu_call(&head, NULL), -EINVAL);
    filch_rcu_quiescent(); /* nothing to say */
    ROW(filch_rcu_thread_unregister(), -EPERM);
    ROW(filch_rcu_thread_offline(), -EPERM);
    ROW(filch_rcu_thread_online(), -EPERM);
    ROW(filch_rcu_thread_register(), 0);
    ROW(filch_rcu_thread_register(), -EALREADY);
    filch_rcu_read_begin();
    filch_rcu_read_end();
    ROW(filch_rcu_synchronize(), 0);
    ROW(filch_rcu_barrier(), 0);
    ROW(filch_rcu_thread_unregister(), 0);
}

static void chan_rows(void)
{
    filch_chan *chan = NULL;
    int msg = 5;

    ROW(filch_chan_new(0, 1, &chan), -EINVAL);
    ROW(filch_chan_new(65537, 1, &chan), -EINVAL);
    ROW(filch_chan_new(SIZE_MAX, 1, &chan), -EINVAL);
    ROW(filch_chan_new(1, 0, &chan), -EINVAL);
    ROW(filch_chan_new(1, 1, NULL), -EINVAL);
    ROW(filch_chan_new(65536, SIZE_MAX / 2, &chan), -ENOMEM);
    ROW(filch_chan_new(65536, FILCH_CHAN_UNBOUNDED - 1, &chan), -ENOMEM);
    ROW(chan == NULL, true);
    ROW(filch_chan_ref(NULL) == NULL, true);
    ROW_VOID(filch_chan_unref(NULL));
    ROW(filch_chan_send(NULL, &msg, FILCH_NOW), -EINVAL);
    ROW(filch_chan_recv(NULL, &msg, FILCH_NOW), -EINVAL);
    ROW(filch_chan_close(NULL), -EINVAL);
    ROW(filch_chan_len(NULL), 0);
    ROW(filch_chan_capacity(NULL), 0);
    ROW(filch_chan_room(NULL), 0);
    ROW(filch_chan_senders(NULL), 0);
    ROW(filch_chan_receivers(NULL), 0);
    T_OK(filch_chan_new(sizeof(msg), 1, &chan));
    ROW(filch_chan_send(chan, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_chan_recv(chan, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_chan_recv(chan, &msg, FILCH_NOW), -ETIMEDOUT);
    ROW(filch_chan_close(chan), 0);
    ROW(filch_chan_close(chan), 0);
    ROW(filch_chan_send(chan, &msg, FILCH_NEVER), -EPIPE);
    ROW(filch_chan_recv(chan, &msg, FILCH_NEVER), -EPIPE);
    ROW(msg, 5);
    filch_chan_unref(chan);
}

/* Two places, open, and empty. */
static void chan_extra_rows(void)
{
    filch_chan *chan = NULL;
    filch_chan_permit permit = {0};
    filch_chan_opts opts = {.overflow = FILCH_CHAN_FAIL};
    filch_case none;
    int msg[2] = {5, 6};
    size_t sent = 77;

    ROW(filch_chan_new_opts(4, FILCH_CHAN_UNBOUNDED, &opts, &chan), -EINVAL);
    opts.overflow = (enum filch_chan_overflow)99;
    ROW(filch_chan_new_opts(4, 2, &opts, &chan), -EINVAL);
    ROW(filch_chan_new_opts(4, 2, NULL, NULL), -EINVAL);
    ROW(chan == NULL, true);
    T_OK(filch_chan_new_opts(sizeof(int), 2, NULL, &chan));
    ROW(filch_chan_dropped(NULL), 0);
    ROW(filch_chan_is_closed(NULL), false);
    ROW(filch_chan_closed(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_chan_closed(chan, FILCH_NOW), -ETIMEDOUT);
    ROW(filch_chan_recv_many(NULL, msg, 2, FILCH_NOW), -EINVAL);
    ROW(filch_chan_recv_many(chan, NULL, 2, FILCH_NOW), -EINVAL);
    ROW(filch_chan_recv_many(chan, msg, 0, FILCH_NOW), -EINVAL);
    ROW(filch_chan_recv_many(chan, msg, SIZE_MAX, FILCH_NOW), -EINVAL);
    ROW(filch_chan_recv_many(chan, msg, 2, FILCH_NOW), -ETIMEDOUT);
    ROW(filch_chan_send_many(NULL, msg, 2, &sent, FILCH_NOW), -EINVAL);
    ROW(filch_chan_send_many(chan, NULL, 2, &sent, FILCH_NOW), -EINVAL);
    ROW(sent, 77);
    ROW(filch_chan_send_many(chan, NULL, 0, &sent, FILCH_NOW), 0);
    ROW(sent, 0);
    ROW(filch_chan_reserve(NULL, &permit, FILCH_NOW), -EINVAL);
    ROW(filch_chan_reserve(chan, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_chan_reserve_many(chan, 0, &permit, FILCH_NOW), -EINVAL);
    ROW(filch_chan_reserve_many(chan, 3, &permit, FILCH_NOW), -EINVAL);
    ROW(filch_chan_permit_send(NULL, msg), -EINVAL);
    ROW(filch_chan_permit_send(&permit, msg), -EINVAL);
    ROW_VOID(filch_chan_permit_release(NULL));
    ROW_VOID(filch_chan_permit_release(&permit));
    T_OK(filch_chan_reserve(chan, &permit, FILCH_NOW));
    ROW(filch_chan_permit_send(&permit, NULL), -EINVAL);
    ROW(filch_chan_permit_send(&permit, msg), 0);
    ROW(filch_chan_permit_send(&permit, msg), -EINVAL);
    ROW_VOID(filch_chan_permit_release(&permit));
    ROW(filch_chan_len(chan), 1);
    none = filch_case_reserve(NULL, 1, &permit);
    ROW(filch_select(&none, 1, 0, FILCH_NOW), -EINVAL);
    none = filch_case_reserve(chan, 3, &permit);
    ROW(filch_select(&none, 1, 0, FILCH_NOW), -EINVAL);
    none = filch_case_reserve(chan, 1, NULL);
    ROW(filch_select(&none, 1, 0, FILCH_NOW), -EINVAL);
    none = filch_case_closed(NULL);
    ROW(filch_select(&none, 1, 0, FILCH_NOW), -EINVAL);
    ROW(filch_chan_sender_ref(NULL) == NULL, true);
    ROW_VOID(filch_chan_sender_unref(NULL));
    ROW(filch_chan_receiver_ref(NULL) == NULL, true);
    ROW_VOID(filch_chan_receiver_unref(NULL));
    T_OK(filch_chan_close(chan));
    ROW(filch_chan_is_closed(chan), true);
    ROW(filch_chan_sender_ref(chan) == NULL, true);
    ROW(filch_chan_reserve(chan, &permit, FILCH_NEVER), -EPIPE);
    ROW(filch_chan_send_many(chan, msg, 2, &sent, FILCH_NEVER), -EPIPE);
    ROW(sent, 0);
    filch_chan_unref(chan);
}

static void listener_rows(void)
{
    char text[FILCH_ADDR_BYTES], name[FILCH_TCP_TEXT_BYTES];
    filch_listener *listener = NULL;
    unsigned waiting;
    filch_tcp *conn = NULL;
    int64_t value;

    ROW(filch_listener_open(NULL, NULL, &listener), -EINVAL);
    ROW(filch_listener_open("", NULL, &listener), -EINVAL);
    ROW(filch_listener_open("127.0.0.1", NULL, &listener), -EINVAL);
    ROW(filch_listener_open("127.0.0.1:65536", NULL, &listener), -EINVAL);
    ROW(filch_listener_open("127.0.0.1:-1", NULL, &listener), -EINVAL);
    ROW(filch_listener_open("127.0.0.1:0", NULL, NULL), -EINVAL);
    ROW(listener == NULL, true);
    ROW(filch_listener_accept(NULL, &conn, FILCH_NOW), -EINVAL);
    ROW(filch_listener_accept(stale.listener, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_listener_accept(stale.listener, &conn, FILCH_NEVER), -EBADF);
    ROW(conn == NULL, true);
    ROW(filch_listener_fd(NULL), -EINVAL);
    ROW(filch_listener_fd(stale.listener), -EBADF);
    ROW(filch_listener_addr(NULL, text), -EINVAL);
    ROW(filch_listener_addr(stale.listener, NULL), -EINVAL);
    ROW(filch_listener_addr(stale.listener, text), -EBADF);
    ROW(filch_listener_set(NULL, FILCH_TCP_NODELAY, 1), -EINVAL);
    ROW(filch_listener_set(stale.listener, FILCH_TCP_NODELAY, 1), -EBADF);
    ROW(filch_listener_get(NULL, FILCH_TCP_NODELAY, &value), -EINVAL);
    ROW(filch_listener_get(stale.listener, FILCH_TCP_NODELAY, NULL), -EINVAL);
    ROW(filch_listener_get(stale.listener, FILCH_TCP_NODELAY, &value), -EBADF);
    ROW(filch_listener_set_text(NULL, FILCH_TCP_DEVICE, "lo"), -EINVAL);
    ROW(filch_listener_set_text(stale.listener, FILCH_TCP_DEVICE, NULL), -EINVAL);
    ROW(filch_listener_set_text(stale.listener, FILCH_TCP_DEVICE, "lo"), -EBADF);
    ROW(filch_listener_get_text(NULL, FILCH_TCP_DEVICE, name), -EINVAL);
    ROW(filch_listener_get_text(stale.listener, FILCH_TCP_DEVICE, NULL), -EINVAL);
    ROW(filch_listener_get_text(stale.listener, FILCH_TCP_DEVICE, name), -EBADF);
    ROW(filch_listener_queue(NULL, &waiting, NULL), -EINVAL);
    ROW(filch_listener_queue(stale.listener, NULL, NULL), -EINVAL);
    ROW(filch_listener_queue(stale.listener, &waiting, NULL), -EBADF);
    ROW(filch_listener_adopt(-1, &listener), -EBADF);
    ROW(filch_listener_adopt(0, NULL), -EINVAL);
    ROW(listener == NULL, true);
    ROW(filch_listener_close(NULL), 0);
    ROW(filch_listener_close(stale.listener), -EBADF);
}

static void tcp_rows(void)
{
    char text[FILCH_ADDR_BYTES], name[FILCH_TCP_TEXT_BYTES];
    filch_tcp_info info;
    filch_tcp *conn = NULL;
    char buf[4] = {0};
    struct iovec iov = {.iov_base = buf, .iov_len = sizeof buf};
    size_t done = 9;
    int64_t value;
    int fd;

    ROW(filch_tcp_connect(NULL, &conn, FILCH_NOW), -EINVAL);
    ROW(filch_tcp_connect("nowhere", &conn, FILCH_NOW), -EINVAL);
    ROW(filch_tcp_connect("127.0.0.1:1", NULL, FILCH_NOW), -EINVAL);
    ROW(conn == NULL, true);
    ROW(filch_tcp_read(NULL, buf, 1, FILCH_NOW), -EINVAL);
    ROW(filch_tcp_read(stale.conn, buf, 1, FILCH_NEVER), -EBADF);
    ROW(filch_tcp_read(stale.conn, buf, 0, FILCH_NEVER), -EBADF);
    ROW(filch_tcp_read(stale.conn, buf, SIZE_MAX, FILCH_NEVER), -EBADF);
    ROW(filch_tcp_read_exact(NULL, buf, 1, &done, FILCH_NOW), -EINVAL);
    ROW(done, 0);
    ROW(filch_tcp_read_exact(NULL, buf, 0, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_tcp_read_exact(stale.conn, buf, 1, NULL, FILCH_NEVER), -EBADF);
    ROW(filch_tcp_read_exact(stale.conn, buf, 0, NULL, FILCH_NEVER), -EBADF);
    ROW(filch_tcp_write(NULL, buf, 1, FILCH_NOW), -EINVAL);
    ROW(filch_tcp_write(stale.conn, buf, 1, FILCH_NEVER), -EBADF);
    ROW(filch_tcp_write_all(NULL, buf, 1, &done, FILCH_NOW), -EINVAL);
    ROW(filch_tcp_write_all(NULL, buf, 0, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_tcp_write_all(stale.conn, buf, 1, NULL, FILCH_NEVER), -EBADF);
    ROW(filch_tcp_write_all(stale.conn, buf, 0, NULL, FILCH_NEVER), -EBADF);
    ROW(filch_tcp_shutdown_write(NULL), -EINVAL);
    ROW(filch_tcp_shutdown_write(stale.conn), -EBADF);
    ROW(filch_tcp_set(NULL, FILCH_TCP_NODELAY, 1), -EINVAL);
    ROW(filch_tcp_set(stale.conn, FILCH_TCP_NODELAY, 1), -EBADF);
    ROW(filch_tcp_get(NULL, FILCH_TCP_NODELAY, &value), -EINVAL);
    ROW(filch_tcp_get(stale.conn, FILCH_TCP_NODELAY, NULL), -EINVAL);
    ROW(filch_tcp_get(stale.conn, FILCH_TCP_NODELAY, &value), -EBADF);
    ROW(filch_tcp_set_text(NULL, FILCH_TCP_DEVICE, "lo"), -EINVAL);
    ROW(filch_tcp_set_text(stale.conn, FILCH_TCP_DEVICE, NULL), -EINVAL);
    ROW(filch_tcp_set_text(stale.conn, FILCH_TCP_DEVICE, "lo"), -EBADF);
    ROW(filch_tcp_get_text(NULL, FILCH_TCP_DEVICE, name), -EINVAL);
    ROW(filch_tcp_get_text(stale.conn, FILCH_TCP_DEVICE, NULL), -EINVAL);
    ROW(filch_tcp_get_text(stale.conn, FILCH_TCP_DEVICE, name), -EBADF);
    ROW(filch_tcp_get_info(NULL, &info), -EINVAL);
    ROW(filch_tcp_get_info(stale.conn, NULL), -EINVAL);
    ROW(filch_tcp_get_info(stale.conn, &info), -EBADF);
    ROW(filch_tcp_adopt(-1, &conn), -EBADF);
    ROW(filch_tcp_adopt(0, NULL), -EINVAL);
    ROW(filch_tcp_fd(NULL), -EINVAL);
    ROW(filch_tcp_fd(stale.conn), -EBADF);
    ROW(filch_tcp_release(NULL, &fd), -EINVAL);
    ROW(filch_tcp_release(stale.conn, NULL), -EINVAL);
    ROW(filch_tcp_release(stale.conn, &fd), -EBADF);
    ROW(filch_tcp_connect_opts(NULL, NULL, &conn, FILCH_NOW), -EINVAL);
    ROW(filch_tcp_connect_opts("127.0.0.1:1", NULL, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_tcp_readv(NULL, &iov, 1, FILCH_NOW), -EINVAL);
    ROW(filch_tcp_readv(stale.conn, NULL, 1, FILCH_NOW), -EINVAL);
    ROW(filch_tcp_readv(stale.conn, &iov, 1, FILCH_NEVER), -EBADF);
    ROW(filch_tcp_writev(NULL, &iov, 1, FILCH_NOW), -EINVAL);
    ROW(filch_tcp_writev(stale.conn, NULL, 1, FILCH_NOW), -EINVAL);
    ROW(filch_tcp_writev(stale.conn, &iov, 1, FILCH_NEVER), -EBADF);
    ROW(filch_tcp_writev_all(NULL, &iov, 1, &done, FILCH_NOW), -EINVAL);
    ROW(filch_tcp_writev_all(stale.conn, NULL, 1, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_tcp_writev_all(stale.conn, &iov, 1, NULL, FILCH_NEVER), -EBADF);
    ROW(filch_tcp_writev_all(NULL, NULL, 0, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_tcp_writev_all(stale.conn, NULL, 0, NULL, FILCH_NEVER), -EBADF);
    ROW(filch_tcp_local_addr(NULL, text), -EINVAL);
    ROW(filch_tcp_local_addr(stale.conn, NULL), -EINVAL);
    ROW(filch_tcp_local_addr(stale.conn, text), -EBADF);
    ROW(filch_tcp_peer_addr(NULL, text), -EINVAL);
    ROW(filch_tcp_peer_addr(stale.conn, text), -EBADF);
    ROW(filch_tcp_close(NULL), 0);
    ROW(filch_tcp_close(stale.conn), -EBADF);
}

static void file_rows(void)
{
    filch_file *file = NULL;
    filch_file_info info;
    char buf[2];
    struct iovec iov = {buf, 1};
    size_t done = 7;

    ROW(filch_file_open(NULL, O_RDONLY, 0, &file, FILCH_NOW), -EINVAL);
    ROW(filch_file_open("/", O_RDONLY, 0, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_file_temp(NULL, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_file_adopt(-1, &file), -EBADF);
    ROW(filch_file_adopt(0, NULL), -EINVAL);
    ROW(filch_file_fd(NULL), -EINVAL);
    ROW(filch_file_fd(stale.file), -EBADF);
    ROW(filch_file_read(NULL, buf, 1, FILCH_NOW), -EINVAL);
    ROW(filch_file_read(stale.file, buf, 1, FILCH_NEVER), -EBADF);
    ROW(filch_file_read(stale.file, buf, 0, FILCH_NEVER), -EBADF);
    ROW(filch_file_pread(NULL, buf, 1, 0, FILCH_NOW), -EINVAL);
    ROW(filch_file_pread(stale.file, buf, 1, -1, FILCH_NOW), -EINVAL);
    ROW(filch_file_pread(stale.file, buf, 1, 0, FILCH_NEVER), -EBADF);
    ROW(filch_file_readv(NULL, &iov, 1, 0, FILCH_NOW), -EINVAL);
    ROW(filch_file_readv(stale.file, &iov, SIZE_MAX, 0, FILCH_NOW), -EINVAL);
    ROW(filch_file_readv(stale.file, &iov, 1, -2, FILCH_NOW), -EINVAL);
    ROW(filch_file_readv(stale.file, &iov, 1, 0, FILCH_NEVER), -EBADF);
    ROW(filch_file_write(NULL, buf, 1, FILCH_NOW), -EINVAL);
    ROW(filch_file_write(stale.file, buf, 1, FILCH_NEVER), -EBADF);
    ROW(filch_file_pwrite(NULL, buf, 1, 0, FILCH_NOW), -EINVAL);
    ROW(filch_file_pwrite(stale.file, buf, 1, -1, FILCH_NOW), -EINVAL);
    ROW(filch_file_pwrite(stale.file, buf, 1, 0, FILCH_NEVER), -EBADF);
    ROW(filch_file_writev(NULL, &iov, 1, 0, FILCH_NOW), -EINVAL);
    ROW(filch_file_writev(stale.file, &iov, 1, 0, FILCH_NEVER), -EBADF);
    ROW(filch_file_write_all(NULL, buf, 1, &done, FILCH_NOW), -EINVAL);
    ROW(done, 0);
    ROW(filch_file_write_all(stale.file, buf, 0, NULL, FILCH_NEVER), -EBADF);
    ROW(filch_file_seek(NULL, 0, SEEK_SET, NULL), -EINVAL);
    ROW(filch_file_seek(stale.file, 0, SEEK_SET, NULL), -EBADF);
    ROW(filch_file_sync(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_file_sync(stale.file, FILCH_NEVER), -EBADF);
    ROW(filch_file_sync_data(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_file_sync_data(stale.file, FILCH_NEVER), -EBADF);
    ROW(filch_file_allocate(NULL, 0, 1, FILCH_NOW), -EINVAL);
    ROW(filch_file_allocate(stale.file, -1, 1, FILCH_NOW), -EINVAL);
    ROW(filch_file_allocate(stale.file, 0, 1, FILCH_NEVER), -EBADF);
    ROW(filch_file_truncate(NULL, 0, FILCH_NOW), -EINVAL);
    ROW(filch_file_truncate(stale.file, -1, FILCH_NOW), -EINVAL);
    ROW(filch_file_truncate(stale.file, 0, FILCH_NEVER), -EBADF);
    ROW(filch_file_stat(NULL, &info, FILCH_NOW), -EINVAL);
    ROW(filch_file_stat(stale.file, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_file_stat(stale.file, &info, FILCH_NEVER), -EBADF);
    ROW(filch_file_lock(NULL, true, FILCH_NOW), -EINVAL);
    ROW(filch_file_lock(stale.file, true, FILCH_NEVER), -EBADF);
    ROW(filch_file_unlock(NULL), -EINVAL);
    ROW(filch_file_unlock(stale.file), -EBADF);
    ROW(filch_file_close(NULL), 0);
    ROW(filch_file_close(stale.file), -EBADF);
}

static void path_rows(void)
{
    filch_file_info info;
    filch_dir *dir = NULL;
    filch_dir_entry entry;
    void *data = NULL;
    char text[4];

    ROW(filch_read_file(NULL, 0, &data, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_read_file("/dev/null", 0, NULL, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_write_file(NULL, "", 0, 0, FILCH_NOW), -EINVAL);
    ROW(filch_write_file("x", NULL, 1, 0, FILCH_NOW), -EINVAL);
    ROW(filch_copy_file(NULL, "x", FILCH_NOW), -EINVAL);
    ROW(filch_copy_file("x", NULL, FILCH_NOW), -EINVAL);
    ROW(filch_path_stat(NULL, true, &info, FILCH_NOW), -EINVAL);
    ROW(filch_path_stat("/", true, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_path_rename(NULL, "x", FILCH_NOW), -EINVAL);
    ROW(filch_path_rename("x", NULL, FILCH_NOW), -EINVAL);
    ROW(filch_path_link(NULL, "x", FILCH_NOW), -EINVAL);
    ROW(filch_path_symlink("x", NULL, FILCH_NOW), -EINVAL);
    ROW(filch_path_readlink(NULL, text, sizeof text, FILCH_NOW), -EINVAL);
    ROW(filch_path_readlink("/", NULL, 0, FILCH_NOW), -EINVAL);
    ROW(filch_path_unlink(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_path_mkdir(NULL, 0, true, FILCH_NOW), -EINVAL);
    ROW(filch_path_rmdir(NULL, FILCH_NOW), -EINVAL);
    ROW(filch_path_chmod(NULL, 0, FILCH_NOW), -EINVAL);
    ROW(filch_path_chown(NULL, 0, 0, true, FILCH_NOW), -EINVAL);
    ROW(filch_path_utimes(NULL, 0, 0, FILCH_NOW), -EINVAL);
    ROW(filch_path_access(NULL, F_OK, FILCH_NOW), -EINVAL);
    ROW(filch_dir_open(NULL, &dir, FILCH_NOW), -EINVAL);
    ROW(filch_dir_open("/", NULL, FILCH_NOW), -EINVAL);
    ROW(filch_dir_read(NULL, &entry, 1, FILCH_NOW), -EINVAL);
    ROW_VOID(filch_dir_close(NULL));
    ROW(filch_dir_walk(NULL, NULL, NULL, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_dir_walk("/", NULL, NULL, NULL, FILCH_NOW), -EINVAL);
}

static void signal_rows(void)
{
    filch_signal *signal = NULL;
    filch_shutdown_signals *shutdown = NULL;
    filch_chan_stream stream;
    filch_case none = filch_case_signal(NULL, NULL);

    ROW(filch_signal_open(SIGUSR1, NULL), -EINVAL);
    ROW(filch_signal_open(0, &signal), -EINVAL);
    ROW(filch_signal_open(-1, &signal), -EINVAL);
    ROW(filch_signal_open(65, &signal), -EINVAL);
    ROW(filch_signal_open(SIGKILL, &signal), -EINVAL);
    ROW(filch_signal_open(SIGSEGV, &signal), -EINVAL);
    ROW(filch_signal_wait(NULL, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_select(&none, 1, 0, FILCH_NOW), -EINVAL);
    ROW(filch_signal_stream_init(&stream, NULL), -EINVAL);
    ROW_VOID(filch_signal_close(NULL));
    ROW(filch_shutdown_signals_open(NULL, &shutdown), -EINVAL);
    ROW_VOID(filch_shutdown_signals_close(NULL));
}

static void same_everywhere(filch_runtime *rt)
{
    base_and_time_rows();
    counting_rows();
    timed_counting_rows();
    oneshot_rows();
    watch_rows();
    broadcast_rows();
    runtime_rows(rt);
    task_handle_rows();
    scope_null_rows();
    token_rows();
    join_rows();
    join_set_rows();
    tracker_rows();
    flight_rows();
    future_rows();
    local_rows();
    fork_rows();
    chan_rows();
    chan_extra_rows();
    select_rows();
    stream_source_rows();
    stream_io_rows();
    keyed_stream_rows();
    stream_stage_rows();
    lock_rows();
    combine_rows();
    object_future_rows();
    listener_rows();
    tcp_rows();
    file_rows();
    path_rows();
    signal_rows();
}

/* A plain thread has no runtime. */
static void *in_thread(void *rt)
{
    filch_task *task = NULL;
    filch_sleep_future sleep;
    filch_scope scope;
    FILCH_JOIN_SET(set, 0);

    same_everywhere(rt);
    ROW(filch_runtime_self() == NULL, true);
    ROW(filch_task_self() == NULL, true);
    ROW(filch_task_id(NULL), 0);
    ROW_VOID(filch_lost_error_log(NULL, NULL));
    ROW_VOID(filch_lost_error_log(NULL, &(filch_lost_error){.kind = (filch_live_kind)99}));
    ROW(strcmp(filch_task_name(NULL), ""), 0);
    ROW(filch_task_is_cancelled(), false);
    ROW_VOID(filch_task_yield());
    ROW(filch_should_yield(), false);
    ROW(filch_spawn(NULL, NULL), -EINVAL);
    ROW(filch_spawn(nop, NULL), -EPERM);
    ROW(filch_task_spawn(NULL, NULL, NULL, &task), -EINVAL);
    ROW(filch_task_spawn(nop, NULL, NULL, &task), -EPERM);
    ROW(filch_blocking_spawn(NULL, NULL, NULL, &task), -EINVAL);
    ROW(filch_blocking_spawn(nop, NULL, NULL, &task), -EPERM);
    ROW(filch_blocking_run(NULL, NULL, NULL, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_block_in_place(NULL, NULL, NULL), -EINVAL);
    ROW(filch_block_in_place(nop, NULL, NULL), 0);
    ROW(filch_blocking_run(nop, NULL, NULL, NULL, FILCH_NEVER), -EPERM);
    ROW(filch_future_spawn(&ready_future, NULL, &task), -EPERM);
    ROW(task == NULL, true);
    ROW(filch_local_set(&key, &misuse_wrong), -EPERM);
    ROW(filch_local_get(&key) == NULL, true);
    ROW(filch_task_defer(nop_void, NULL), -EPERM);
    rcu_rows();
    filch_scope_init(&scope, 0);
    ROW(filch_scope_spawn(&scope, NULL, NULL), -EINVAL);
    ROW(filch_scope_spawn(&scope, nop, NULL), -EPERM);
    ROW(FILCH_TRY_JOIN({nop, NULL}), -EPERM);
    ROW(FILCH_RACE(FILCH_NOW, {nop, NULL}), -EPERM);
    ROW(filch_hedge((filch_call[]){{nop, NULL}}, 1, 0, NULL, FILCH_NOW), -EPERM);
    ROW(filch_timeout(nop, NULL, NULL, FILCH_NOW), -EPERM);
    ROW(filch_join_set_spawn(&set, 0, nop, NULL, NULL), -EPERM);
    ROW(filch_join_set_spawn_wait(&set, 0, nop, NULL, NULL, FILCH_NOW), -EPERM);
    ROW(filch_scope_spawn_opts(&scope, nop, NULL, NULL), -EPERM);
    ROW(filch_scope_spawn_wait(&scope, nop, NULL, NULL, FILCH_NEVER), -EPERM);
    ROW(filch_scope_is_idle(&scope), true);
    ROW(filch_scope_join(&scope, FILCH_NEVER), 0);
    ROW(filch_scope_cancel_join(&scope), 0);
    ROW(filch_await(&ready_future, FILCH_NEVER), 7);
    filch_sleep_future_init(&sleep, filch_after(3600 * FILCH_SECOND));
    ROW(filch_await(&sleep.base, FILCH_NEVER), -EPERM);
    return NULL;
}

Test(misuse, in_a_plain_thread)
{
    filch_runtime *rt = start_runtime(0);
    pthread_t thread;

    T_OK(filch_runtime_block_on(rt, make_stale, NULL, NULL, FILCH_NEVER));
    in_thread(rt);
    T_OK(pthread_create(&thread, NULL, in_thread, rt));
    T_OK(pthread_join(thread, NULL));
    stop_runtime(rt);
    cr_assert_eq(misuse_wrong, 0);
}

/* What belongs outside of tasks. */
static void not_in_a_task_rows(filch_runtime *rt)
{
    ROW(filch_runtime_block_on(rt, nop, NULL, NULL, FILCH_NEVER), -EDEADLK);
    ROW(filch_runtime_shutdown(rt, FILCH_NEVER), -EDEADLK);
    ROW(filch_main(nop, NULL, NULL), -EDEADLK);
}

static int wait_for_cancel(void *arg)
{
    (void)arg;
    return filch_sleep(FILCH_NEVER);
}

/* Joins @arg, once it is nobody else's turn. */
static int join_it(void *arg)
{
    int result, r;

    while ((r = filch_task_join(arg, &result, FILCH_NEVER)) == -EBUSY)
        filch_task_yield();
    T_OK(r);
    return result;
}

static void one_owner_rows(void)
{
    filch_task *task = spawn(wait_for_cancel, NULL);
    filch_task *joiner;
    int result = 77;

    ROW(filch_task_join(filch_task_self(), NULL, FILCH_NEVER), -EDEADLK);
    ROW(filch_task_join(task, NULL, FILCH_NOW), -ETIMEDOUT);
    ROW(filch_task_join(task, &result, 1), -ETIMEDOUT);
    ROW(result, 77);
    joiner = spawn(join_it, task);
    T_WAIT_UNTIL(filch_task_join(task, NULL, FILCH_NOW) == -EBUSY);
    ROW(filch_task_join(task, NULL, FILCH_NEVER), -EBUSY);
    ROW(filch_task_detach(task), -EBUSY);
    ROW(filch_task_cancel(task), 0);
    ROW(join(joiner), -ECANCELED);
    ROW(filch_task_join(task, NULL, FILCH_NEVER), -ESRCH);
    ROW(filch_task_detach(task), -ESRCH);
    ROW(filch_task_cancel(task), -ESRCH);
}

static int in_task(void *arg)
{
    filch_runtime *rt = filch_runtime_self();
    filch_task *task = NULL;
    FILCH_SCOPE(scope);

    (void)arg;
    T_OK(make_stale(NULL));
    same_everywhere(rt);
    not_in_a_task_rows(rt);
    one_owner_rows();
    ROW(filch_spawn(NULL, NULL), -EINVAL);
    ROW(filch_task_spawn(NULL, NULL, NULL, &task), -EINVAL);
    ROW(filch_task_spawn(nop, NULL, &(filch_task_opts){.copy_bytes = 1}, &task), -EINVAL);
    ROW(filch_blocking_spawn(NULL, NULL, NULL, &task), -EINVAL);
    ROW(filch_blocking_spawn(nop, NULL, &(filch_task_opts){.copy_bytes = 1}, &task), -EINVAL);
    ROW(task == NULL, true);
    ROW(filch_scope_spawn(&scope, NULL, NULL), -EINVAL);
    ROW(filch_scope_spawn_opts(&scope, nop, NULL, &(filch_task_opts){.copy_bytes = 1}), -EINVAL);
    ROW(filch_scope_spawn_wait(&scope, NULL, NULL, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_scope_limit(&scope, UINT_MAX), 0);
    ROW_VOID(filch_scope_cancel(&scope));
    ROW(filch_scope_spawn(&scope, nop, NULL), -ECANCELED);
    ROW(filch_scope_spawn_wait(&scope, nop, NULL, NULL, FILCH_NEVER), -ECANCELED);
    ROW(filch_scope_join(&scope, FILCH_NEVER), 0);
    /* Cancelled: what would wait does not, what need not works. */
    T_OK(filch_task_cancel(filch_task_self()));
    ROW(filch_task_is_cancelled(), true);
    ROW(filch_sleep(FILCH_NEVER), -ECANCELED);
    ROW_VOID(filch_task_yield());
    ROW(filch_await(&ready_future, FILCH_NEVER), 7);
    return 0;
}

Test(misuse, in_a_task)
{
    T_OK(run_in_runtime(0, in_task, NULL));
    cr_assert_eq(misuse_wrong, 0);
}

static int in_job(void *arg)
{
    filch_runtime *rt = filch_runtime_self();
    int result = 0;

    (void)arg;
    same_everywhere(rt);
    ROW(filch_runtime_shutdown(rt, FILCH_NEVER), -EDEADLK);
    ROW(filch_task_self() == NULL, true);
    ROW_VOID(filch_task_yield());
    ROW(filch_spawn(nop, NULL), 0);
    /* A job is a plain thread in this: it may wait for a task. */
    ROW(filch_runtime_block_on(rt, nop, NULL, &result, FILCH_NEVER), 0);
    return 0;
}

static int job_body(void *arg)
{
    filch_task *job;

    (void)arg;
    T_OK(make_stale(NULL));
    T_OK(filch_blocking_spawn(in_job, NULL, NULL, &job));
    return join(job);
}

Test(misuse, in_a_blocking_job)
{
    T_OK(run_in_runtime(0, job_body, NULL));
    cr_assert_eq(misuse_wrong, 0);
}

static filch_poll poll_rows(filch_future *self, filch_cx *cx)
{
    filch_runtime *rt = filch_runtime_self();

    (void)cx;
    same_everywhere(rt);
    not_in_a_task_rows(rt);
    ROW(filch_task_join(filch_task_self(), NULL, FILCH_NEVER), -EDEADLK);
    ROW(FILCH_TRY_JOIN({nop, NULL}), -EPERM);
    ROW(FILCH_RACE(FILCH_NOW, {nop, NULL}), -EPERM);
    ROW(filch_timeout(nop, NULL, NULL, FILCH_NOW), -EPERM);
    ROW_VOID(filch_task_yield()); /* there is nowhere to go */
    self->result = 0;
    return FILCH_READY;
}

static int future_body(void *arg)
{
    filch_future future = {.poll = poll_rows};
    filch_task *task;

    (void)arg;
    T_OK(make_stale(NULL));
    T_OK(filch_future_spawn(&future, NULL, &task));
    return join(task);
}

Test(misuse, in_the_poll_of_a_future)
{
    T_OK(run_in_runtime(0, future_body, NULL));
    cr_assert_eq(misuse_wrong, 0);
}

/* While the runtime is shut down: everything that spawns is refused, everything that waits is over.
 */
static atomic_int may_end, was_told;

static void stopping_rows(filch_runtime *rt)
{
    filch_task *task = NULL;
    FILCH_SCOPE(scope);
    FILCH_JOIN_SET(set, 0);

    ROW(filch_spawn(nop, NULL), -ESHUTDOWN);
    ROW(filch_task_spawn(nop, NULL, NULL, &task), -ESHUTDOWN);
    ROW(filch_runtime_spawn(rt, nop, NULL, NULL, &task), -ESHUTDOWN);
    ROW(filch_blocking_spawn(nop, NULL, NULL, &task), -ESHUTDOWN);
    ROW(filch_blocking_run(nop, NULL, NULL, NULL, FILCH_NEVER), -ESHUTDOWN);
    ROW(filch_runtime_blocking_spawn(rt, nop, NULL, NULL, &task), -ESHUTDOWN);
    ROW(filch_future_spawn(&ready_future, NULL, &task), -ESHUTDOWN);
    ROW(filch_scope_spawn(&scope, nop, NULL), -ESHUTDOWN);
    ROW(FILCH_TRY_JOIN({nop, NULL}), -ESHUTDOWN);
    ROW(FILCH_RACE(FILCH_NEVER, {nop, NULL}), -ESHUTDOWN);
    ROW(filch_join_set_spawn(&set, 0, nop, NULL, NULL), -ESHUTDOWN);
    ROW(filch_scope_spawn_wait(&scope, nop, NULL, NULL, FILCH_NEVER), -ESHUTDOWN);
    ROW(task == NULL, true);
}

static int stopping_task(void *rt)
{
    T_WAIT_UNTIL(atomic_load(&was_told));
    stopping_rows(rt);
    ROW(filch_task_is_cancelled(), true);
    ROW(filch_sleep(FILCH_NEVER), -ECANCELED);
    T_WAIT_UNTIL(atomic_load(&may_end));
    return 0;
}

static int stopping_job(void *rt)
{
    T_WAIT_UNTIL(atomic_load(&was_told));
    stopping_rows(rt);
    ROW(filch_task_is_cancelled(), true);
    return 0;
}

Test(misuse, while_a_runtime_is_shut_down)
{
    filch_runtime *rt = start_runtime(0);
    filch_task *task, *job;
    int result = 0;

    T_OK(filch_runtime_spawn(rt, stopping_task, rt, NULL, &task));
    T_OK(filch_runtime_blocking_spawn(rt, stopping_job, rt, NULL, &job));
    ROW(filch_runtime_shutdown(rt, FILCH_NOW), -ETIMEDOUT);
    atomic_store(&was_told, 1);
    ROW(filch_runtime_spawn(rt, nop, NULL, NULL, NULL), -ESHUTDOWN);
    ROW(filch_runtime_blocking_spawn(rt, nop, NULL, NULL, NULL), -ESHUTDOWN);
    ROW(filch_runtime_block_on(rt, nop, NULL, &result, FILCH_NEVER), -ESHUTDOWN);
    ROW(filch_runtime_shutdown(rt, 1), -ETIMEDOUT);
    atomic_store(&may_end, 1);
    test_host_stop(rt);
    ROW(filch_runtime_shutdown(rt, T_LIMIT), 0);
    /* Handles outlive the runtime; once. */
    ROW(filch_task_join(task, &result, FILCH_NOW), 0);
    ROW(filch_task_join(task, &result, FILCH_NOW), -ESRCH);
    ROW(filch_task_detach(job), 0);
    ROW(filch_task_detach(job), -ESRCH);
    cr_assert_eq(misuse_wrong, 0);
}
