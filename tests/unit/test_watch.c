/* Description: watches: the latest value for many readers; marks, waits, the end of senders and of
 * readers; values read in place; selects and futures; random use against a model, and by a crowd
 * whose readers never go back in time and always see the last value. */
#include <errno.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/crowd.h"

/* What was replaced is freed before the process ends: else it would look lost. */
static void wait_for_rcu(void)
{
    T_OK(filch_rcu_barrier());
}

TestSuite(watch, .timeout = 120, .fini = wait_for_rcu);

/* Both halves are the same, or a value was read that was never sent. */
struct value {
    uint64_t number;
    uint64_t unused[6];
    uint64_t again;
};

static struct value value_of(uint64_t number)
{
    return (struct value){.number = number, .again = number};
}

static filch_watch *watch_new(uint64_t number)
{
    struct value value = value_of(number);
    filch_watch *watch = NULL;

    T_OK(filch_watch_new(sizeof value, &value, &watch));
    T_CHECK(watch);
    return watch;
}

static void send(filch_watch *watch, uint64_t number)
{
    struct value value = value_of(number);

    T_OK(filch_watch_send(watch, &value));
}

static filch_watch_reader subscribe(filch_watch *watch)
{
    filch_watch_reader reader = {0};

    T_OK(filch_watch_subscribe(watch, &reader));
    return reader;
}

static uint64_t get(filch_watch_reader *reader)
{
    struct value value;

    T_OK(filch_watch_get(reader, &value));
    T_IS(value.number, value.again);
    return value.number;
}

static uint64_t latest(filch_watch *watch)
{
    struct value value;

    T_OK(filch_watch_latest(watch, &value));
    T_IS(value.number, value.again);
    return value.number;
}

static int changed_now(filch_watch_reader *reader)
{
    return filch_watch_changed(reader, FILCH_NOW);
}

Test(watch, the_latest_value_is_seen_once)
{
    filch_watch *watch = watch_new(1);
    filch_watch_reader reader = subscribe(watch);

    T_IS(changed_now(&reader), -ETIMEDOUT); /* the present one was seen */
    T_IS(filch_watch_has_changed(&reader), 0);
    T_IS(filch_watch_changed(&reader, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(get(&reader), 1);
    send(watch, 2);
    send(watch, 3);
    T_IS(filch_watch_has_changed(&reader), 1);
    T_IS(filch_watch_has_changed(&reader), 1);
    T_OK(changed_now(&reader));
    T_IS(get(&reader), 3);
    T_IS(changed_now(&reader), -ETIMEDOUT);
    send(watch, 4);
    T_IS(get(&reader), 4); /* reading marks */
    T_IS(changed_now(&reader), -ETIMEDOUT);
    T_IS(latest(watch), 4);
    filch_watch_unsubscribe(&reader);
    filch_watch_unsubscribe(&reader);
    filch_watch_unref(watch);
}

Test(watch, marks_can_be_moved)
{
    filch_watch *watch = watch_new(1);
    filch_watch_reader reader = subscribe(watch), other;

    filch_watch_mark_changed(&reader);
    T_IS(filch_watch_has_changed(&reader), 1);
    T_OK(filch_watch_reader_dup(&reader, &other));
    T_OK(changed_now(&reader));
    T_IS(changed_now(&reader), -ETIMEDOUT);
    T_OK(changed_now(&other)); /* it has a mark of its own */
    send(watch, 2);
    filch_watch_mark_seen(&reader);
    T_IS(changed_now(&reader), -ETIMEDOUT);
    T_IS(get(&reader), 2);
    filch_watch_unsubscribe(&other);
    filch_watch_unsubscribe(&reader);
    filch_watch_unref(watch);
}

Test(watch, the_last_value_is_seen_before_the_end)
{
    filch_watch *watch = watch_new(1);
    filch_watch *second = filch_watch_ref(watch);
    filch_watch_reader reader = subscribe(watch), other;

    T_CHECK(second == watch);
    filch_watch_unref(watch);
    send(second, 2);
    filch_watch_unref(second);
    T_IS(filch_watch_has_changed(&reader), 1);
    T_OK(filch_watch_changed(&reader, FILCH_NEVER));
    T_IS(filch_watch_changed(&reader, FILCH_NEVER), -EPIPE);
    T_IS(filch_watch_has_changed(&reader), -EPIPE);
    T_IS(get(&reader), 2); /* it stays there */
    T_OK(filch_watch_reader_dup(&reader, &other));
    T_IS(filch_watch_changed(&other, FILCH_NEVER), -EPIPE);
    filch_watch_mark_changed(&other);
    T_OK(filch_watch_changed(&other, FILCH_NEVER));
    T_IS(get(&other), 2);
    filch_watch_unsubscribe(&other);
    filch_watch_unsubscribe(&reader);
}

Test(watch, senders_know_of_readers)
{
    filch_watch *watch = watch_new(1);
    filch_watch_reader reader;

    T_IS(filch_watch_readers(watch), 0);
    T_OK(filch_watch_abandoned(watch, FILCH_NOW));
    send(watch, 2); /* kept without readers */
    reader = subscribe(watch);
    T_IS(get(&reader), 2);
    T_IS(filch_watch_readers(watch), 1);
    T_IS(filch_watch_abandoned(watch, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_watch_abandoned(watch, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    filch_watch_unsubscribe(&reader);
    T_OK(filch_watch_abandoned(watch, FILCH_NEVER));
    T_IS(filch_watch_senders(watch), 1);
    T_CHECK(filch_watch_ref(watch) == watch);
    T_IS(filch_watch_senders(watch), 2);
    filch_watch_unref(watch);
    filch_watch_unref(watch);
}

/* ---- replace ---- */

Test(watch, replace_gives_what_was_there)
{
    filch_watch *watch = watch_new(1);
    filch_watch_reader reader = subscribe(watch);
    struct value value = value_of(2), old = value_of(77);

    T_OK(filch_watch_replace(watch, &value, &old));
    T_IS(old.number, 1);
    T_OK(changed_now(&reader));
    T_IS(get(&reader), 2);
    value = value_of(3);
    T_OK(filch_watch_replace(watch, &value, &value)); /* the same place */
    T_IS(value.number, 2);
    T_IS(get(&reader), 3);
    filch_watch_unsubscribe(&reader);
    filch_watch_unref(watch);
}

/* Each value comes out once, whoever replaces it; some just send. */
struct exchange {
    filch_watch *watch;
    atomic_ulong next;
    atomic_ulong in;  /* sums of numbers */
    atomic_ulong out; /* of those that came out */
    atomic_long to_do;
};

static int exchanges(void *arg)
{
    struct exchange *exchange = arg;

    while (atomic_fetch_sub(&exchange->to_do, 1) > 0) {
        struct value value = value_of(atomic_fetch_add(&exchange->next, 1)), old;

        atomic_fetch_add(&exchange->in, value.number);
        T_OK(filch_watch_replace(exchange->watch, &value, &old));
        T_IS(old.number, old.again);
        atomic_fetch_add(&exchange->out, old.number);
    }
    return 0;
}

static void many_exchange(unsigned workers)
{
    struct exchange exchange = {.watch = watch_new(0)};

    atomic_init(&exchange.next, 1);
    atomic_init(&exchange.to_do, (long)test_ops() / 4);
    crowd_run(workers, 4, 2, exchanges, &exchange);
    T_IS(atomic_load(&exchange.out) + latest(exchange.watch), atomic_load(&exchange.in));
    filch_watch_unref(exchange.watch);
}

Test(watch, each_value_is_replaced_once)
{
    many_exchange(1);
    many_exchange(4);
}

/* ---- modify ---- */

static int add_one(void *arg, void *value)
{
    struct value *v = value;

    (void)arg;
    *v = value_of(v->number + 1);
    return 1;
}

static int spoil_and_leave(void *arg, void *value)
{
    memset(value, 0xee, sizeof(struct value));
    return *(int *)arg;
}

struct intruder {
    filch_watch *watch;
    int calls;
};

/* Somebody else sends while the function runs. */
static int add_one_late(void *arg, void *value)
{
    struct intruder *intruder = arg;

    if (intruder->calls++ == 0)
        send(intruder->watch, 100);
    return add_one(NULL, value);
}

Test(watch, modify_changes_what_is_there)
{
    filch_watch *watch = watch_new(1);
    filch_watch_reader reader = subscribe(watch);
    struct intruder intruder = {watch, 0};
    int r = 0;

    T_IS(filch_watch_modify(watch, add_one, NULL), 1);
    T_OK(changed_now(&reader));
    T_IS(get(&reader), 2);
    T_IS(filch_watch_modify(watch, spoil_and_leave, &r), 0);
    r = -EIO;
    T_IS(filch_watch_modify(watch, spoil_and_leave, &r), -EIO);
    T_IS(changed_now(&reader), -ETIMEDOUT);
    T_IS(get(&reader), 2);
    T_IS(filch_watch_modify(watch, add_one_late, &intruder), 1);
    T_IS(intruder.calls, 2);
    T_IS(get(&reader), 101);
    filch_watch_unsubscribe(&reader);
    filch_watch_unref(watch);
}

/* ---- waiting ---- */

static bool is_at_least(void *arg, const void *value)
{
    return ((const struct value *)value)->number >= *(uint64_t *)arg;
}

static int waits_for_ten(void *arg)
{
    filch_watch_reader *reader = arg;
    struct value value = {0};
    uint64_t ten = 10;
    int r = filch_watch_wait_for(reader, is_at_least, &ten, &value, T_LIMIT);

    return r < 0 ? r : (int)value.number;
}

static int changes(void *arg)
{
    return filch_watch_changed(arg, T_LIMIT);
}

static int is_abandoned(void *arg)
{
    return filch_watch_abandoned(arg, T_LIMIT);
}

static int waits(void *arg)
{
    filch_watch *watch = watch_new(1);
    filch_watch_reader reader = subscribe(watch);
    uint64_t one = 1, two = 2;
    filch_task *task;

    (void)arg;
    T_OK(filch_watch_wait_for(&reader, is_at_least, &one, NULL, FILCH_NOW)); /* seen, and counts */
    T_IS(filch_watch_wait_for(&reader, is_at_least, &two, NULL, FILCH_NOW), -ETIMEDOUT);
    task = spawn(waits_for_ten, &reader);
    for (uint64_t i = 2; i <= 10; i++) {
        send(watch, i);
        filch_task_yield();
    }
    T_IS(join(task), 10);

    task = spawn(changes, &reader);
    let_others_run();
    send(watch, 1);
    T_OK(join(task));

    task = spawn(is_abandoned, watch);
    let_others_run();
    filch_watch_unsubscribe(&reader);
    T_OK(join(task));

    reader = subscribe(watch);
    task = spawn(changes, &reader);
    let_others_run();
    filch_watch_unref(watch);
    T_IS(join(task), -EPIPE);
    T_IS(waits_for_ten(&reader), -EPIPE);
    filch_watch_unsubscribe(&reader);
    return 0;
}

Test(watch, whoever_waits_is_woken)
{
    T_OK(run_in_runtime(0, waits, NULL));
}

static int cancelled(void *arg)
{
    filch_watch *watch = watch_new(1);
    filch_watch_reader reader = subscribe(watch);
    filch_task *task = spawn(changes, &reader);

    (void)arg;
    let_others_run();
    T_OK(filch_task_cancel(task));
    T_IS(join(task), -ECANCELED);
    send(watch, 2);
    T_OK(changed_now(&reader));
    task = spawn(changes, &reader);
    let_others_run();
    send(watch, 3); /* it is woken, and has not run yet */
    T_OK(filch_task_cancel(task));
    T_OK(join(task));
    T_IS(changed_now(&reader), -ETIMEDOUT);
    task = spawn(is_abandoned, watch);
    let_others_run();
    T_OK(filch_task_cancel(task));
    T_IS(join(task), -ECANCELED);
    filch_watch_unsubscribe(&reader);
    filch_watch_unref(watch);
    return 0;
}

Test(watch, a_cancelled_wait_misses_nothing)
{
    T_OK(run_in_runtime(1, cancelled, NULL));
}

static void *thread_changes(void *arg)
{
    filch_watch_reader *reader = arg;

    T_OK(filch_watch_changed(reader, T_LIMIT));
    T_IS(get(reader), 2);
    return NULL;
}

Test(watch, plain_threads_wait_and_read)
{
    filch_watch *watch = watch_new(1);
    filch_watch_reader reader = subscribe(watch);
    pthread_t thread;

    T_OK(pthread_create(&thread, NULL, thread_changes, &reader));
    send(watch, 2);
    T_OK(pthread_join(thread, NULL));
    filch_watch_unsubscribe(&reader);
    filch_watch_unref(watch);
}

/* More than are woken in one section of the lock. */
static int many_are_woken(void *arg)
{
    filch_watch *watch = watch_new(1);
    filch_watch_reader reader[100];
    FILCH_TRY_SCOPE(scope);

    (void)arg;
    for (int i = 0; i < 100; i++) {
        reader[i] = subscribe(watch);
        T_OK(filch_scope_spawn(&scope, changes, &reader[i]));
    }
    let_others_run();
    send(watch, 2);
    T_OK(filch_scope_join(&scope, T_LIMIT));
    for (int i = 0; i < 100; i++)
        filch_watch_unsubscribe(&reader[i]);
    T_OK(filch_watch_abandoned(watch, FILCH_NOW));
    filch_watch_unref(watch);
    return 0;
}

Test(watch, all_readers_are_woken)
{
    T_OK(run_in_runtime(0, many_are_woken, NULL));
}

static int reads_seven(void *arg)
{
    return (int)get(arg);
}

static int reads_everywhere(void *arg)
{
    filch_watch *watch = watch_new(7);
    filch_watch_reader reader = subscribe(watch);
    filch_task *job;
    int result = 0;

    (void)arg;
    T_OK(filch_block_in_place(reads_seven, &reader, &result));
    T_IS(result, 7);
    T_OK(filch_blocking_spawn(reads_seven, &reader, NULL, &job));
    T_IS(join(job), 7);
    T_IS(get(&reader), 7);
    filch_task_yield(); /* no longer within a section, anywhere */
    filch_watch_unsubscribe(&reader);
    filch_watch_unref(watch);
    return 0;
}

Test(watch, copies_are_read_everywhere)
{
    filch_watch *watch = watch_new(7);
    filch_watch_reader reader = subscribe(watch);

    T_OK(run_in_runtime(0, reads_everywhere, NULL));
    T_IS(get(&reader), 7);
    T_OK(filch_rcu_thread_register());
    T_IS(get(&reader), 7);
    T_OK(filch_rcu_thread_offline());
    T_IS(get(&reader), 7);
    T_OK(filch_rcu_thread_online());
    T_OK(filch_rcu_thread_unregister());
    filch_watch_unsubscribe(&reader);
    filch_watch_unref(watch);
}

/* ---- in place ---- */

static int borrows(void *arg)
{
    filch_watch *watch = watch_new(1);
    filch_watch_reader reader = subscribe(watch);
    const struct value *value;

    (void)arg;
    send(watch, 2);
    filch_rcu_read_begin();
    value = filch_watch_borrow(&reader);
    T_IS((uintptr_t)value % 16, 0);
    T_IS(value->number, 2);
    for (int i = 0; i < 1000; i++) /* more than a task may do before it lets others run */
        T_IS(changed_now(&reader), -ETIMEDOUT); /* marked; and does not suspend */
    for (uint64_t i = 3; i < 100; i++)
        send(watch, i);
    T_IS(value->number, 2); /* stays as it was */
    T_IS(value->again, 2);
    filch_rcu_read_end();
    T_OK(filch_rcu_synchronize());
    T_OK(changed_now(&reader));
    T_IS(get(&reader), 99);
    filch_watch_unsubscribe(&reader);
    filch_watch_unref(watch);
    return 0;
}

Test(watch, a_borrowed_value_does_not_change)
{
    T_OK(run_in_runtime(0, borrows, NULL));
}

/* RCU frees nothing there: what is replaced is kept until the end. */
Test(watch, works_in_the_child_of_a_fork)
{
    filch_watch *watch = watch_new(1);
    filch_watch_reader reader = subscribe(watch);
    int status = -1;
    pid_t child;

    send(watch, 2);
    T_OK(filch_rcu_barrier());
    child = fork();
    T_CHECK(child >= 0);
    if (child == 0) {
        alarm(30);
        for (uint64_t i = 3; i < 1000; i++) {
            send(watch, i);
            T_OK(changed_now(&reader));
            T_IS(get(&reader), i);
        }
        filch_watch_unsubscribe(&reader);
        filch_watch_unref(watch);
        _exit(0);
    }
    T_IS(waitpid(child, &status, 0), child);
    T_IS(status, 0);
    T_IS(get(&reader), 2);
    filch_watch_unsubscribe(&reader);
    filch_watch_unref(watch);
}

struct late {
    filch_rcu_head head;
    atomic_bool freed;
};

static void note_freed(filch_rcu_head *head)
{
    atomic_store(&((struct late *)(void *)head)->freed, true);
}

/* Old values are freed although the sender never lets its worker go on. */
static int sends_without_end(void *arg)
{
    filch_watch *watch = watch_new(1);
    filch_time limit = T_LIMIT;
    struct late late = {.freed = false};

    (void)arg;
    T_OK(filch_rcu_call(&late.head, note_freed));
    for (uint64_t i = 2; !atomic_load(&late.freed); i++) {
        T_CHECK(filch_now() < limit);
        send(watch, i);
    }
    filch_watch_unref(watch);
    return 0;
}

Test(watch, a_sender_that_never_yields_holds_nothing_up)
{
    T_OK(run_in_runtime(1, sends_without_end, NULL));
}

/* ---- selects and futures ---- */

static int sends_five(void *arg)
{
    send(arg, 5);
    return 0;
}

static int selects(void *arg)
{
    filch_watch *a = watch_new(1), *b = watch_new(1);
    filch_watch_reader ra = subscribe(a), rb = subscribe(b), none = {0};
    filch_case cases[2];
    filch_task *task;

    (void)arg;
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_watch_changed(&ra), filch_case_watch_changed(&rb)),
         -ETIMEDOUT);
    send(b, 2);
    T_IS(FILCH_SELECT(FILCH_NEVER, filch_case_watch_changed(&ra), filch_case_watch_changed(&rb)),
         1);
    T_IS(changed_now(&rb), -ETIMEDOUT); /* it has moved the mark */
    T_IS(FILCH_SELECT(filch_after(FILCH_MILLISECOND), filch_case_watch_changed(&ra),
                      filch_case_watch_abandoned(b)),
         -ETIMEDOUT);
    task = spawn(sends_five, a);
    T_IS(FILCH_SELECT(T_LIMIT, filch_case_watch_changed(&ra), filch_case_watch_changed(&rb)), 0);
    T_IS(get(&ra), 5);
    T_OK(join(task));
    filch_watch_unref(a);
    cases[0] = filch_case_watch_changed(&ra);
    T_IS(filch_select(cases, 1, 0, FILCH_NEVER), 0);
    T_IS(cases[0].result, -EPIPE);
    filch_watch_unsubscribe(&rb);
    T_IS(FILCH_SELECT(FILCH_NEVER, filch_case_watch_abandoned(b)), 0);
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_watch_abandoned(NULL)), -EINVAL);
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_watch_changed(NULL)), -EINVAL);
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_watch_changed(&none)), -EINVAL);
    filch_watch_unsubscribe(&ra);
    filch_watch_unref(b);
    return 0;
}

Test(watch, selects_see_a_change_once)
{
    T_OK(run_in_runtime(0, selects, NULL));
}

static filch_poll poll_once(filch_future *future)
{
    filch_waker nobody = {0};
    filch_cx cx = {.waker = &nobody};

    return future->poll(future, &cx);
}

Test(watch, a_future_is_ready_with_a_change)
{
    filch_watch *watch = watch_new(1);
    filch_watch_reader reader = subscribe(watch), none = {0};
    filch_watch_future future;

    T_OK(filch_watch_future_init(&future, &reader));
    T_IS(poll_once(&future.base), FILCH_PENDING);
    T_IS(poll_once(&future.base), FILCH_PENDING);
    send(watch, 2);
    T_IS(poll_once(&future.base), FILCH_READY);
    T_OK(future.base.result);
    T_IS(changed_now(&reader), -ETIMEDOUT);

    T_OK(filch_watch_future_init(&future, &reader));
    T_IS(poll_once(&future.base), FILCH_PENDING);
    future.base.drop(&future.base);
    memset(&future, 0xee, sizeof future); /* nobody has it any more */
    T_OK(filch_watch_future_init(&future, &reader));
    T_IS(poll_once(&future.base), FILCH_PENDING);
    send(watch, 3);
    future.base.drop(&future.base); /* woken, and not polled */
    T_OK(changed_now(&reader));

    T_OK(filch_watch_future_init(&future, &reader));
    T_IS(poll_once(&future.base), FILCH_PENDING);
    filch_watch_unref(watch);
    T_IS(poll_once(&future.base), FILCH_READY);
    T_IS(future.base.result, -EPIPE);
    T_IS(filch_watch_future_init(NULL, &reader), -EINVAL);
    T_IS(filch_watch_future_init(&future, NULL), -EINVAL);
    T_IS(filch_watch_future_init(&future, &none), -EINVAL);
    filch_watch_unsubscribe(&reader);
}

Test(watch, a_stream_of_values)
{
    filch_watch *watch = watch_new(1);
    filch_watch_reader reader = subscribe(watch);
    filch_watch_stream stream;
    struct value value = {0};

    T_OK(filch_watch_stream_init(&stream, &reader));
    T_IS(stream.base.item_bytes, sizeof value);
    T_IS(filch_stream_next(&stream.base, &value, FILCH_NOW), -ETIMEDOUT); /* the first was seen */
    T_IS(value.number, 0);
    send(watch, 2);
    send(watch, 3);
    T_IS(filch_stream_next(&stream.base, &value, FILCH_NEVER), 1);
    T_IS(value.number, 3);
    T_IS(filch_stream_next(&stream.base, &value, FILCH_NOW), -ETIMEDOUT);
    filch_watch_mark_changed(&reader);
    T_IS(filch_stream_next(&stream.base, &value, FILCH_NOW), -ETIMEDOUT); /* it waits already */
    filch_stream_drop(&stream.base);

    T_OK(filch_watch_stream_init(&stream, &reader));
    T_IS(filch_stream_next(&stream.base, &value, FILCH_NEVER), 1);
    T_IS(value.number, 3);
    send(watch, 4);
    filch_watch_unref(watch);
    T_IS(filch_stream_next(&stream.base, &value, FILCH_NEVER), 1);
    T_IS(value.number, 4);
    T_IS(filch_stream_next(&stream.base, &value, FILCH_NEVER), 0);
    T_IS(filch_stream_next(&stream.base, &value, FILCH_NEVER), 0);
    filch_stream_drop(&stream.base);
    filch_watch_unsubscribe(&reader);
}

/* ---- against a sequential model ---- */

#define READERS 8

struct modelled {
    filch_watch *watch;
    uint64_t value;
    bool closed;
    struct {
        filch_watch_reader reader;
        uint64_t seen; /* 0: nothing */
    } reader[READERS];
};

static void model_check_read(struct modelled *m, unsigned i, uint64_t number)
{
    T_IS(number, m->value);
    m->reader[i].seen = m->value;
}

static void model_reader_step(struct modelled *m, unsigned i, uint64_t *seed)
{
    filch_watch_reader *reader = &m->reader[i].reader;
    int quiet = m->closed ? -EPIPE : -ETIMEDOUT;
    bool fresh = m->reader[i].seen != m->value;

    switch (random_below(seed, 6)) {
    case 0:
        T_IS(changed_now(reader), fresh ? 0 : quiet);
        m->reader[i].seen = m->value;
        break;
    case 1:
        model_check_read(m, i, get(reader));
        break;
    case 2:
        T_IS(filch_watch_has_changed(reader), fresh ? 1 : m->closed ? -EPIPE : 0);
        break;
    case 3:
        filch_watch_mark_changed(reader);
        m->reader[i].seen = 0;
        break;
    case 4:
        filch_watch_mark_seen(reader);
        m->reader[i].seen = m->value;
        break;
    default:
        i = (i + 1) % READERS;
        filch_watch_unsubscribe(&m->reader[i].reader);
        T_OK(filch_watch_reader_dup(reader, &m->reader[i].reader));
        m->reader[i].seen = m->reader[(i + READERS - 1) % READERS].seen;
    }
}

static void model_end(struct modelled *m)
{
    if (!m->closed)
        filch_watch_unref(m->watch);
    for (unsigned i = 0; i < READERS; i++)
        filch_watch_unsubscribe(&m->reader[i].reader);
}

static void model_begin(struct modelled *m, uint64_t value)
{
    *m = (struct modelled){.watch = watch_new(value), .value = value};
    for (unsigned i = 0; i < READERS; i++) {
        m->reader[i].reader = subscribe(m->watch);
        m->reader[i].seen = value;
    }
}

Test(watch, does_as_a_sequential_model)
{
    unsigned long ops = 16 * test_ops();
    uint64_t seed = 1, number = 1;
    struct modelled m;

    T_OK(filch_rcu_thread_register());
    model_begin(&m, number++);
    for (unsigned long i = 0; i < ops; i++) {
        uint32_t dice = random_below(&seed, 4096);

        if (dice == 0) {
            model_end(&m);
            model_begin(&m, number++);
        } else if (dice < 8 && !m.closed) {
            filch_watch_unref(m.watch);
            m.closed = true;
        } else if (dice < 512 && !m.closed) {
            m.value = number++;
            send(m.watch, m.value);
        } else if (dice < 600 && !m.closed) {
            T_IS(filch_watch_modify(m.watch, add_one, NULL), 1);
            number = ++m.value + 1;
        } else {
            model_reader_step(&m, random_below(&seed, READERS), &seed);
        }
    }
    model_end(&m);
    T_OK(filch_rcu_thread_unregister());
}

/* ---- a crowd ---- */

struct crowd_state {
    filch_watch *watch;
    atomic_long to_send;
    atomic_long sending;
    atomic_ulong numbers;
    long ops;
};

static void read_somehow(filch_watch_reader *reader, uint64_t *last, uint64_t *seed)
{
    const struct value *value;
    uint64_t number;

    if (random_below(seed, 2)) {
        number = get(reader);
    } else if (filch_rcu_thread_register() != -EPERM) {
        number = get(reader); /* a plain thread that has become a reader */
        T_OK(filch_rcu_thread_unregister());
    } else {
        filch_rcu_read_begin();
        value = filch_watch_borrow(reader);
        number = value->number;
        T_IS(value->again, number);
        filch_rcu_read_end();
    }
    T_CHECK(number >= *last);
    *last = number;
}

static int wait_somehow(filch_watch_reader *reader, uint64_t *seed)
{
    filch_time soon = filch_after(random_below(seed, 50) * 1000);
    filch_watch_future future;
    filch_case c;
    int r;

    switch (random_below(seed, 4)) {
    case 0:
        return filch_watch_changed(reader, FILCH_NEVER);
    case 1:
        return filch_watch_changed(reader, soon);
    case 2:
        c = filch_case_watch_changed(reader);
        r = filch_select(&c, 1, 0, soon);
        return r == 0 ? c.result : r;
    default:
        T_OK(filch_watch_future_init(&future, reader));
        r = filch_await(&future.base, soon);
        future.base.drop(&future.base);
        return r;
    }
}

static int reads(struct crowd_state *state, filch_watch_reader *reader, uint64_t *seed)
{
    uint64_t last = 0;
    int r;

    while ((r = wait_somehow(reader, seed)) != -EPIPE) {
        T_CHECK(r == 0 || r == -ETIMEDOUT);
        read_somehow(reader, &last, seed);
    }
    T_IS(get(reader), state->ops + 1); /* the last one is never missed */
    filch_watch_unsubscribe(reader);
    return 0;
}

static int reads_or_sends(void *arg)
{
    struct crowd_state *state = arg;
    unsigned long number = atomic_fetch_add(&state->numbers, 1);
    uint64_t seed = number * 131071;

    if (number % 2) {
        filch_watch_reader reader = subscribe(state->watch);

        if (atomic_fetch_sub(&state->sending, 1) == 1)
            filch_watch_unref(state->watch);
        return reads(state, &reader, &seed);
    }
    while (atomic_fetch_sub(&state->to_send, 1) > 0) {
        T_IS(filch_watch_modify(state->watch, add_one, NULL), 1);
        if (random_below(&seed, 4) == 0)
            filch_task_yield();
    }
    if (atomic_fetch_sub(&state->sending, 1) == 1)
        filch_watch_unref(state->watch);
    return 0;
}

static void crowd(unsigned workers)
{
    struct crowd_state state = {.watch = watch_new(1), .ops = (long)test_ops() / 4};

    atomic_init(&state.to_send, state.ops);
    atomic_init(&state.sending, 10); /* all: a reader until it has subscribed */
    crowd_run(workers, 8, 2, reads_or_sends, &state);
}

Test(watch, nobody_goes_back_or_misses_the_last)
{
    crowd(1);
    crowd(2);
    crowd(8);
}
