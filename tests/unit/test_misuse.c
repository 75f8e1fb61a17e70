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
#include <string.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(misuse, .timeout = 120);

static atomic_int wrong;

static void check_row(int line, const char *call, long long got, long long want)
{
    if (got == want)
        return;
    fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__, line, call, got, want);
    atomic_fetch_add(&wrong, 1);
}

/* The call, and what it must return. */
#define ROW(call, want) check_row(__LINE__, #call, (long long)(call), (long long)(want))
/* A call without a result: it must come back. */
#define ROW_VOID(call) (call)

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
    ROW(filch_runtime_spawn(rt, nop, NULL, &(filch_task_opts){.worker = 1}, NULL), -EINVAL);
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
    ROW(filch_join_set_abort(NULL, 1), -EINVAL);
    ROW(filch_join_set_abort_all(NULL), -EINVAL);
    ROW(filch_join_set_shutdown(NULL), -EINVAL);
    ROW(filch_join_set_detach_all(NULL), -EINVAL);
    filch_join_set_init(&set, 0);
    ROW(filch_join_set_spawn(&set, 0, NULL, NULL, NULL), -EINVAL);
    ROW(filch_join_set_spawn_wait(&set, 0, NULL, NULL, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_join_set_next(&set, &result, &set_key, FILCH_NOW), -ENOENT);
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

static void local_rows(void)
{
    filch_local *made = NULL;

    ROW(filch_local_new(NULL, NULL), -EINVAL);
    ROW(filch_local_new_inherited(NULL, NULL, NULL), -EINVAL);
    ROW(filch_local_new(NULL, &made), 0);
    ROW_VOID(filch_local_free(made));
    ROW_VOID(filch_local_free(NULL));
    ROW(filch_local_set(NULL, &wrong), -EINVAL);
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

static void stream_stage_rows(void)
{
    filch_array_stream in, large;
    filch_stream *from = &in.base, *none[1] = {NULL};
    filch_map_stream map;
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

static void listener_rows(void)
{
    char text[FILCH_ADDR_BYTES];
    filch_listener *listener = NULL;
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
    ROW(filch_listener_addr(NULL, text), -EINVAL);
    ROW(filch_listener_addr(stale.listener, NULL), -EINVAL);
    ROW(filch_listener_addr(stale.listener, text), -EBADF);
    ROW(filch_listener_set(NULL, FILCH_TCP_NODELAY, 1), -EINVAL);
    ROW(filch_listener_set(stale.listener, FILCH_TCP_NODELAY, 1), -EBADF);
    ROW(filch_listener_get(NULL, FILCH_TCP_NODELAY, &value), -EINVAL);
    ROW(filch_listener_get(stale.listener, FILCH_TCP_NODELAY, NULL), -EINVAL);
    ROW(filch_listener_get(stale.listener, FILCH_TCP_NODELAY, &value), -EBADF);
    ROW(filch_listener_adopt(-1, &listener), -EBADF);
    ROW(filch_listener_adopt(0, NULL), -EINVAL);
    ROW(listener == NULL, true);
    ROW(filch_listener_close(NULL), 0);
    ROW(filch_listener_close(stale.listener), -EBADF);
}

static void tcp_rows(void)
{
    char text[FILCH_ADDR_BYTES];
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
    ROW(filch_tcp_adopt(-1, &conn), -EBADF);
    ROW(filch_tcp_adopt(0, NULL), -EINVAL);
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

static void same_everywhere(filch_runtime *rt)
{
    base_and_time_rows();
    counting_rows();
    timed_counting_rows();
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
    chan_rows();
    select_rows();
    stream_source_rows();
    stream_stage_rows();
    lock_rows();
    combine_rows();
    object_future_rows();
    listener_rows();
    tcp_rows();
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
    ROW(strcmp(filch_task_name(NULL), ""), 0);
    ROW(filch_task_is_cancelled(), false);
    ROW_VOID(filch_task_yield());
    ROW(filch_spawn(NULL, NULL), -EINVAL);
    ROW(filch_spawn(nop, NULL), -EPERM);
    ROW(filch_task_spawn(NULL, NULL, NULL, &task), -EINVAL);
    ROW(filch_task_spawn(nop, NULL, NULL, &task), -EPERM);
    ROW(filch_blocking_spawn(NULL, NULL, NULL, &task), -EINVAL);
    ROW(filch_blocking_spawn(nop, NULL, NULL, &task), -EPERM);
    ROW(filch_blocking_run(NULL, NULL, NULL, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_blocking_run(nop, NULL, NULL, NULL, FILCH_NEVER), -EPERM);
    ROW(filch_future_spawn(&ready_future, NULL, &task), -EPERM);
    ROW(task == NULL, true);
    ROW(filch_local_set(&key, &wrong), -EPERM);
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
    cr_assert_eq(wrong, 0);
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
    cr_assert_eq(wrong, 0);
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
    cr_assert_eq(wrong, 0);
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
    cr_assert_eq(wrong, 0);
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
    cr_assert_eq(wrong, 0);
}
