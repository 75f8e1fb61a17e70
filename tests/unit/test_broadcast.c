/* Description: broadcasts: every receiver sees every message; those who are slow are told what they
 * have lost, or senders wait for them; the end; selects, futures, streams; random use against a
 * model, and crowds that conserve every message, whole and in order. */
#include <errno.h>
#include <pthread.h>

#include <criterion/criterion.h>

#include "tests/runner/crowd.h"

TestSuite(broadcast, .timeout = 120);

static filch_broadcast *broadcast_new(size_t capacity, unsigned flags)
{
    filch_broadcast *broadcast = NULL;

    T_OK(filch_broadcast_new(sizeof(uint64_t), capacity, flags, &broadcast));
    T_CHECK(broadcast);
    return broadcast;
}

static int send(filch_broadcast *broadcast, uint64_t value)
{
    return filch_broadcast_send(broadcast, &value, FILCH_NOW);
}

static filch_broadcast_receiver subscribe(filch_broadcast *broadcast)
{
    filch_broadcast_receiver receiver = {0};

    T_OK(filch_broadcast_subscribe(broadcast, &receiver));
    return receiver;
}

/* Return: the value; an error; for -EOVERFLOW how many were lost, negative, from LOST on. */
#define LOST 1000000

static long long recv_until(filch_broadcast_receiver *receiver, filch_time until)
{
    uint64_t value = 4711, lost = 0;
    int r = filch_broadcast_recv(receiver, &value, &lost, until);

    T_CHECK(r == 0 || value == 4711);          /* untouched */
    T_CHECK((lost != 0) == (r == -EOVERFLOW)); /* the same */
    if (r == -EOVERFLOW)
        return -(long long)(LOST + lost);
    return r < 0 ? r : (long long)value;
}

static long long recv_now(filch_broadcast_receiver *receiver)
{
    return recv_until(receiver, FILCH_NOW);
}

Test(broadcast, every_receiver_sees_every_message)
{
    filch_broadcast *b = broadcast_new(4, 0);
    filch_broadcast_receiver first, second;

    T_IS(filch_broadcast_receivers(b), 0);
    T_IS(send(b, 1), 0); /* to nobody */
    first = subscribe(b);
    T_IS(recv_now(&first), -ETIMEDOUT); /* only what comes from now on */
    T_IS(recv_until(&first, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(send(b, 2), 1);
    second = subscribe(b);
    T_IS(filch_broadcast_receivers(b), 2);
    T_IS(send(b, 3), 2);
    T_IS(filch_broadcast_len(&first), 2);
    T_IS(filch_broadcast_len(&second), 1);
    T_IS(recv_now(&first), 2);
    T_IS(recv_now(&first), 3);
    T_IS(recv_now(&second), 3);
    T_IS(recv_now(&second), -ETIMEDOUT);
    filch_broadcast_unsubscribe(&first);
    filch_broadcast_unsubscribe(&first);
    T_IS(send(b, 4), 1);
    filch_broadcast_unref(b);
    T_IS(recv_until(&second, FILCH_NEVER), 4); /* it lives on after the senders */
    T_IS(recv_until(&second, FILCH_NEVER), -EPIPE);
    T_IS(recv_until(&second, FILCH_NEVER), -EPIPE);
    filch_broadcast_unsubscribe(&second);
}

/* Capacities are exact. */
Test(broadcast, who_is_slow_is_told_what_is_lost)
{
    for (size_t capacity = 1; capacity <= 9; capacity++) {
        filch_broadcast *b = broadcast_new(capacity, 0);
        filch_broadcast_receiver r = subscribe(b);
        filch_broadcast_receiver other;

        for (uint64_t i = 0; i < capacity; i++)
            T_IS(send(b, i), 1);
        T_OK(filch_broadcast_receiver_dup(&r, &other));
        T_IS(filch_broadcast_len(&r), capacity);
        T_IS(recv_now(&other), 0); /* all are there */
        T_IS(send(b, capacity), 2);
        T_IS(filch_broadcast_len(&r), capacity);
        T_IS(recv_now(&r), -(LOST + 1));
        for (uint64_t i = 1; i <= capacity; i++)
            T_IS(recv_now(&r), i);
        T_IS(recv_now(&r), -ETIMEDOUT);
        for (uint64_t i = 0; i < 3 * capacity + 1; i++)
            T_IS(send(b, 100 + i), 2);
        T_IS(recv_now(&r), -(LOST + (long long)(2 * capacity + 1)));
        T_IS(recv_now(&r), 100 + 2 * capacity + 1);
        T_IS(filch_broadcast_recv(&other, &(uint64_t){0}, NULL, FILCH_NOW), -EOVERFLOW);
        filch_broadcast_unsubscribe(&r);
        filch_broadcast_unsubscribe(&other);
        filch_broadcast_unref(b);
    }
}

Test(broadcast, kept_messages_are_not_lost)
{
    filch_broadcast *b = broadcast_new(2, FILCH_BROADCAST_KEEP);
    filch_broadcast_receiver fast = subscribe(b), slow = subscribe(b), late;

    T_IS(send(b, 1), 2);
    T_IS(send(b, 2), 2);
    T_IS(send(b, 3), -ETIMEDOUT);
    T_IS(filch_broadcast_send(b, &(uint64_t){3}, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(recv_now(&fast), 1);
    T_IS(recv_now(&fast), 2);
    T_IS(send(b, 3), -ETIMEDOUT);
    T_IS(recv_now(&slow), 1);
    T_IS(send(b, 3), 2);
    T_OK(filch_broadcast_receiver_dup(&slow, &late));
    T_IS(recv_now(&slow), 2);
    T_IS(send(b, 4), -ETIMEDOUT); /* the copy is slow */
    filch_broadcast_unsubscribe(&late);
    T_IS(send(b, 4), 2);
    T_IS(recv_now(&fast), 3);
    T_IS(recv_now(&fast), 4);
    filch_broadcast_unsubscribe(&slow); /* nobody waits for it any more */
    T_IS(send(b, 5), 1);
    T_IS(send(b, 6), 1);
    filch_broadcast_unsubscribe(&fast);
    for (uint64_t i = 0; i < 10; i++)
        T_IS(send(b, i), 0);
    late = subscribe(b);
    T_IS(recv_now(&late), -ETIMEDOUT);
    T_IS(send(b, 7), 1);
    T_IS(recv_now(&late), 7);
    filch_broadcast_unsubscribe(&late);
    filch_broadcast_unref(b);
}

Test(broadcast, closing_is_the_end_of_sending)
{
    for (unsigned flags = 0; flags <= FILCH_BROADCAST_KEEP; flags++) {
        filch_broadcast *b = broadcast_new(2, flags);
        filch_broadcast_receiver r = subscribe(b), late;

        T_IS(send(b, 1), 1);
        T_OK(filch_broadcast_close(b));
        T_OK(filch_broadcast_close(b));
        T_IS(send(b, 2), -EPIPE);
        late = subscribe(b);
        T_IS(recv_now(&late), -EPIPE);
        T_IS(recv_now(&r), 1);
        T_IS(recv_now(&r), -EPIPE);
        filch_broadcast_unsubscribe(&r);
        filch_broadcast_unsubscribe(&late);
        T_CHECK(filch_broadcast_ref(b) == b);
        filch_broadcast_unref(b);
        filch_broadcast_unref(b);
    }
}

/* ---- who has it ---- */

Test(broadcast, senders_and_receivers_are_counted)
{
    filch_broadcast *b = broadcast_new(2, 0);
    filch_broadcast_receiver r, late;

    T_IS(filch_broadcast_senders(b), 1);
    T_IS(filch_broadcast_receivers(b), 0);
    T_OK(filch_broadcast_abandoned(b, FILCH_NOW));
    r = subscribe(b);
    T_CHECK(filch_broadcast_of(&r) == b);
    T_IS(filch_broadcast_abandoned(b, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_broadcast_abandoned(b, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_broadcast_abandoned(b)), -ETIMEDOUT);
    T_IS(send(b, 1), 1);
    T_OK(filch_broadcast_resubscribe(&r, &late)); /* from now on */
    T_IS(filch_broadcast_receivers(b), 2);
    T_IS(recv_now(&late), -ETIMEDOUT);
    T_IS(send(b, 2), 2);
    T_IS(recv_now(&late), 2);
    T_IS(recv_now(&r), 1);
    filch_broadcast_unsubscribe(&r);
    T_CHECK(filch_broadcast_of(&r) == NULL);
    T_IS(filch_broadcast_abandoned(b, FILCH_NOW), -ETIMEDOUT);
    T_CHECK(filch_broadcast_ref(b) == b);
    T_IS(filch_broadcast_senders(b), 2);
    filch_broadcast_unref(b);
    T_CHECK(!filch_broadcast_is_closed(b));
    filch_broadcast_unref(b);
    /* The receiver keeps it, and knows. */
    T_CHECK(filch_broadcast_is_closed(filch_broadcast_of(&late)));
    T_IS(filch_broadcast_senders(filch_broadcast_of(&late)), 0);
    T_CHECK(filch_broadcast_sender_ref(filch_broadcast_of(&late)) == NULL);
    T_OK(filch_broadcast_resubscribe(&late, &r));
    T_IS(recv_now(&r), -EPIPE);
    filch_broadcast_unsubscribe(&late);
    filch_broadcast_unsubscribe(&r);
}

Test(broadcast, a_weak_reference_keeps_nothing_open)
{
    filch_broadcast *b = broadcast_new(2, 0), *weak = filch_broadcast_weak_ref(b), *more;
    filch_broadcast_receiver r = subscribe(weak);

    T_IS(send(weak, 1), 1);
    more = filch_broadcast_sender_ref(weak);
    T_CHECK(more == b);
    T_IS(filch_broadcast_senders(b), 2);
    filch_broadcast_unref(b);
    T_CHECK(!filch_broadcast_is_closed(weak));
    filch_broadcast_unref(more);
    T_CHECK(filch_broadcast_is_closed(weak));
    T_IS(send(weak, 2), -EPIPE);
    T_CHECK(filch_broadcast_sender_ref(weak) == NULL);
    T_IS(recv_now(&r), 1);
    T_IS(recv_now(&r), -EPIPE);
    filch_broadcast_unsubscribe(&r);
    T_IS(filch_broadcast_receivers(weak), 0); /* it is still there */
    filch_broadcast_weak_unref(weak);
}

struct audience {
    filch_broadcast *b;
    atomic_int waiting;
};

static int waits_until_abandoned(void *arg)
{
    struct audience *audience = arg;

    atomic_fetch_add(&audience->waiting, 1);
    return filch_broadcast_abandoned(audience->b, T_LIMIT);
}

static int selects_until_abandoned(void *arg)
{
    struct audience *audience = arg;
    filch_broadcast *other = broadcast_new(1, 0);
    filch_broadcast_receiver never = subscribe(other);
    int r;

    atomic_fetch_add(&audience->waiting, 1);
    r = FILCH_SELECT(T_LIMIT, filch_case_broadcast_abandoned(other),
                     filch_case_broadcast_abandoned(audience->b));
    filch_broadcast_unsubscribe(&never);
    filch_broadcast_unref(other);
    return r;
}

static int all_receivers_go(void *arg)
{
    (void)arg;
    for (unsigned flags = 0; flags <= FILCH_BROADCAST_KEEP; flags++) {
        struct audience audience = {.b = broadcast_new(2, flags)};
        filch_broadcast_receiver a = subscribe(audience.b), b = subscribe(audience.b);
        filch_task *waiter = spawn(waits_until_abandoned, &audience);
        filch_task *selecter = spawn(selects_until_abandoned, &audience);
        filch_task *cancelled = spawn(waits_until_abandoned, &audience);

        T_WAIT_UNTIL(atomic_load(&audience.waiting) == 3);
        let_others_run();
        T_IS(send(audience.b, 1), 2);
        T_OK(filch_task_cancel(cancelled));
        T_IS(join(cancelled), -ECANCELED);
        filch_broadcast_unsubscribe(&a);
        let_others_run();
        T_CHECK(!filch_task_is_finished(waiter) && !filch_task_is_finished(selecter));
        filch_broadcast_unsubscribe(&b);
        T_OK(join(waiter));
        T_IS(join(selecter), 1);
        filch_broadcast_unref(audience.b);
    }
    return 0;
}

Test(broadcast, senders_hear_that_the_last_receiver_has_gone)
{
    T_OK(run_in_runtime(0, all_receivers_go, NULL));
}

/* Small ones are read without the lock, large ones under it. */
Test(broadcast, messages_of_all_sizes)
{
    static const size_t sizes[] = {1, 3, 7, 8, 9, 16, 63, 64, 65, 100, 4096, 65536};
    static unsigned char in[65537], out[65537];

    for (unsigned flags = 0; flags <= FILCH_BROADCAST_KEEP; flags++)
        for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            filch_broadcast_receiver r;
            filch_broadcast *b;

            T_OK(filch_broadcast_new(sizes[i], 3, flags, &b));
            r = subscribe(b);
            for (unsigned n = 0; n < 7; n++) {
                for (size_t k = 0; k < sizes[i]; k++)
                    in[k] = (unsigned char)(k * 7 + n + i);
                memset(out, 0xee, sizeof out);
                T_IS(filch_broadcast_send(b, in, FILCH_NOW), 1);
                T_OK(filch_broadcast_recv(&r, out, NULL, FILCH_NOW));
                T_OK(memcmp(in, out, sizes[i]));
                T_IS(out[sizes[i]], 0xee);
            }
            filch_broadcast_unsubscribe(&r);
            filch_broadcast_unref(b);
        }
}

/* ---- waiting ---- */

static int receives(void *arg)
{
    return (int)recv_until(arg, T_LIMIT);
}

struct sending {
    filch_broadcast *broadcast;
    uint64_t value;
};

static int sends(void *arg)
{
    struct sending *sending = arg;

    return filch_broadcast_send(sending->broadcast, &sending->value, T_LIMIT);
}

static int waits(void *arg)
{
    filch_broadcast *b = broadcast_new(1, FILCH_BROADCAST_KEEP);
    filch_broadcast_receiver r = subscribe(b), other = subscribe(b);
    struct sending three = {b, 3}, four = {b, 4};
    filch_task *task[2];

    (void)arg;
    task[0] = spawn(receives, &r);
    task[1] = spawn(receives, &other);
    let_others_run();
    T_IS(send(b, 1), 2);
    T_IS(join(task[0]), 1);
    T_IS(join(task[1]), 1);

    T_IS(send(b, 2), 2);
    task[0] = spawn(sends, &three);
    let_others_run();
    T_IS(recv_now(&r), 2);
    T_IS(recv_now(&other), 2);
    T_IS(join(task[0]), 2);
    task[0] = spawn(sends, &four);
    let_others_run();
    T_IS(recv_until(&r, T_LIMIT), 3);
    filch_broadcast_unsubscribe(&other); /* the slow one goes: there is room */
    T_IS(recv_until(&r, T_LIMIT), 4);
    T_CHECK(join(task[0]) > 0);

    T_IS(send(b, 5), 1);
    task[0] = spawn(sends, &three);
    let_others_run();
    T_OK(filch_broadcast_close(b));
    T_CHECK(join(task[0]) == -EPIPE);
    T_IS(recv_now(&r), 5);
    T_IS(recv_now(&r), -EPIPE);
    filch_broadcast_unsubscribe(&r);
    filch_broadcast_unref(b);
    return 0;
}

static int serves_in_order(void *arg)
{
    filch_broadcast *b = broadcast_new(1, FILCH_BROADCAST_KEEP);
    filch_broadcast_receiver r = subscribe(b);
    struct sending sending[4];
    filch_task *task[4];

    (void)arg;
    T_IS(send(b, 0), 1);
    for (unsigned i = 0; i < 4; i++) {
        sending[i] = (struct sending){b, 1 + i};
        task[i] = spawn(sends, &sending[i]);
        let_others_run(); /* one worker: it waits by now */
    }
    for (unsigned i = 0; i <= 4; i++)
        T_IS(recv_until(&r, T_LIMIT), i);
    for (unsigned i = 0; i < 4; i++)
        T_IS(join(task[i]), 1);
    filch_broadcast_unsubscribe(&r);
    filch_broadcast_unref(b);
    return 0;
}

Test(broadcast, senders_that_wait_are_served_in_order)
{
    T_OK(run_in_runtime(1, serves_in_order, NULL));
}

Test(broadcast, whoever_waits_is_woken)
{
    T_OK(run_in_runtime(0, waits, NULL));
}

/* One worker: whoever was spawned waits when let_others_run() is over. */
static int cancelled(void *arg)
{
    filch_broadcast *b = broadcast_new(1, FILCH_BROADCAST_KEEP);
    filch_broadcast_receiver r = subscribe(b);
    struct sending two = {b, 2}, three = {b, 3};
    filch_task *task = spawn(receives, &r), *next;

    (void)arg;
    let_others_run();
    T_OK(filch_task_cancel(task));
    T_IS(join(task), -ECANCELED);
    T_IS(send(b, 1), 1);
    task = spawn(sends, &two);
    let_others_run();
    next = spawn(sends, &three);
    let_others_run();
    T_OK(filch_task_cancel(task));
    T_IS(join(task), -ECANCELED); /* not sent */
    T_IS(recv_now(&r), 1);
    T_IS(join(next), 1);
    T_IS(recv_now(&r), 3);

    task = spawn(receives, &r);
    let_others_run();
    T_IS(send(b, 4), 1); /* it is woken, and has not run yet */
    T_OK(filch_task_cancel(task));
    T_IS(join(task), 4);

    T_IS(send(b, 5), 1);
    task = spawn(sends, &two);
    let_others_run();
    T_IS(recv_now(&r), 5); /* it was sent, and has not run yet */
    T_OK(filch_task_cancel(task));
    T_IS(join(task), 1);
    T_IS(recv_now(&r), 2);
    filch_broadcast_unsubscribe(&r);
    filch_broadcast_unref(b);
    return 0;
}

Test(broadcast, a_cancel_loses_nothing)
{
    T_OK(run_in_runtime(1, cancelled, NULL));
}

/* More waiting senders and receivers than go in one section of the lock. */
static int many_wait(void *arg)
{
    filch_broadcast *b = broadcast_new(1, FILCH_BROADCAST_KEEP);
    filch_broadcast_receiver slow = subscribe(b), r[100];
    struct sending sending[100];
    FILCH_TRY_SCOPE(receivers);
    filch_task *task[100];

    (void)arg;
    for (int i = 0; i < 100; i++) {
        r[i] = subscribe(b);
        T_OK(filch_scope_spawn(&receivers, receives, &r[i]));
    }
    let_others_run();
    T_IS(send(b, 0), 101);
    T_OK(filch_scope_join(&receivers, T_LIMIT));
    for (int i = 0; i < 100; i++)
        filch_broadcast_unsubscribe(&r[i]);
    for (int i = 0; i < 100; i++) {
        sending[i] = (struct sending){b, (uint64_t)i};
        task[i] = spawn(sends, &sending[i]);
    }
    let_others_run();
    filch_broadcast_unsubscribe(&slow);
    for (int i = 0; i < 100; i++)
        T_CHECK(join(task[i]) >= 0);
    filch_broadcast_unref(b);
    return 0;
}

Test(broadcast, many_are_woken)
{
    T_OK(run_in_runtime(0, many_wait, NULL));
}

/* A long walk to the end, in steps. */
Test(broadcast, a_receiver_far_behind_goes)
{
    filch_broadcast *b = broadcast_new(1000, FILCH_BROADCAST_KEEP);
    filch_broadcast_receiver slow = subscribe(b), fast = subscribe(b);

    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < 1000; i++)
            T_IS(send(b, i), 2);
        T_IS(send(b, 0), -ETIMEDOUT);
        for (uint64_t i = 0; i < 777; i++)
            T_IS(recv_now(&fast), i);
        filch_broadcast_unsubscribe(&slow);
        T_IS(filch_broadcast_len(&fast), 223);
        for (uint64_t i = 0; i < 777; i++)
            T_IS(send(b, 1000 + i), 1);
        T_IS(send(b, 0), -ETIMEDOUT);
        for (uint64_t i = 0; i < 1000; i++)
            T_IS(recv_now(&fast), 777 + i);
        slow = subscribe(b);
    }
    filch_broadcast_unsubscribe(&slow);
    filch_broadcast_unsubscribe(&fast);
    filch_broadcast_unref(b);
}

/* ---- selects, futures, streams ---- */

static int selects(void *arg)
{
    filch_broadcast *a = broadcast_new(1, 0), *b = broadcast_new(1, 0);
    filch_broadcast_receiver ra = subscribe(a), rb = subscribe(b), none = {0};
    struct sending five = {a, 5};
    uint64_t value = 0, other = 4711, lost = 0;
    filch_task *task;
    int result;

    (void)arg;
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_broadcast(&ra, &other, NULL),
                      filch_case_broadcast(&rb, &other, NULL)),
         -ETIMEDOUT);
    T_IS(send(b, 1), 1);
    T_IS(FILCH_SELECT(FILCH_NEVER, filch_case_broadcast(&ra, &other, NULL),
                      filch_case_broadcast(&rb, &value, NULL)),
         1);
    T_IS(value, 1);
    T_IS(FILCH_SELECT(filch_after(FILCH_MILLISECOND), filch_case_broadcast(&ra, &other, NULL),
                      filch_case_broadcast(&rb, &other, NULL)),
         -ETIMEDOUT);
    task = spawn(sends, &five);
    T_IS(FILCH_SELECT(T_LIMIT, filch_case_broadcast(&rb, &other, NULL),
                      filch_case_broadcast(&ra, &value, NULL)),
         1);
    T_IS(value, 5);
    T_IS(join(task), 1);
    for (uint64_t i = 0; i < 3; i++)
        T_IS(send(a, i), 1);
    T_IS(FILCH_SELECT_RESULT(&result, FILCH_NEVER, filch_case_broadcast(&ra, &other, &lost)), 0);
    T_IS(result, -EOVERFLOW);
    T_IS(lost, 2);
    filch_broadcast_unref(b);
    T_IS(FILCH_SELECT_RESULT(&result, FILCH_NEVER, filch_case_broadcast(&rb, &other, NULL)), 0);
    T_IS(result, -EPIPE);
    T_IS(other, 4711);
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_broadcast(NULL, &value, NULL)), -EINVAL);
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_broadcast(&none, &value, NULL)), -EINVAL);
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_broadcast(&ra, NULL, NULL)), -EINVAL);
    T_IS(recv_now(&ra), 2); /* none of these has taken it */
    filch_broadcast_unsubscribe(&ra);
    filch_broadcast_unsubscribe(&rb);
    filch_broadcast_unref(a);
    return 0;
}

Test(broadcast, selects_take_one_message)
{
    T_OK(run_in_runtime(0, selects, NULL));
}

static int receives_later(void *arg)
{
    let_others_run();
    return receives(arg);
}

static int selects_to_send(void *arg)
{
    filch_broadcast *b = broadcast_new(1, FILCH_BROADCAST_KEEP);
    filch_broadcast_receiver r = subscribe(b);
    uint64_t one = 1, two = 2;
    filch_task *task;
    int result = 0;

    (void)arg;
    T_IS(FILCH_SELECT_RESULT(&result, FILCH_NOW, filch_case_broadcast_send(b, &one)), 0);
    T_IS(result, 1);
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_broadcast_send(b, &two)), -ETIMEDOUT);
    T_IS(FILCH_SELECT(filch_after(FILCH_MILLISECOND), filch_case_broadcast_send(b, &two)),
         -ETIMEDOUT);
    task = spawn(receives_later, &r);
    T_IS(FILCH_SELECT_RESULT(&result, T_LIMIT, filch_case_broadcast_send(b, &two)), 0);
    T_IS(result, 1);
    T_IS(join(task), 1);
    T_IS(recv_now(&r), 2);
    T_IS(recv_now(&r), -ETIMEDOUT); /* once */
    T_OK(filch_broadcast_close(b));
    T_IS(FILCH_SELECT_RESULT(&result, T_LIMIT, filch_case_broadcast_send(b, &two)), 0);
    T_IS(result, -EPIPE);
    filch_broadcast_unsubscribe(&r);
    filch_broadcast_unref(b);
    return 0;
}

Test(broadcast, selects_send_one_message)
{
    T_OK(run_in_runtime(0, selects_to_send, NULL));
}

static filch_poll poll_once(filch_future *future)
{
    filch_waker nobody = {0};
    filch_cx cx = {.waker = &nobody};

    return future->poll(future, &cx);
}

Test(broadcast, a_future_receives)
{
    filch_broadcast *b = broadcast_new(1, 0);
    filch_broadcast_receiver r = subscribe(b), none = {0};
    filch_broadcast_future future;
    uint64_t value = 0, lost = 0;

    T_OK(filch_broadcast_future_init(&future, &r, &value, &lost));
    T_IS(poll_once(&future.base), FILCH_PENDING);
    T_IS(poll_once(&future.base), FILCH_PENDING);
    T_IS(send(b, 1), 1);
    T_IS(value, 0);
    T_IS(poll_once(&future.base), FILCH_READY);
    T_OK(future.base.result);
    T_IS(value, 1);
    future.base.drop(&future.base);

    T_OK(filch_broadcast_future_init(&future, &r, &value, &lost));
    T_IS(poll_once(&future.base), FILCH_PENDING);
    future.base.drop(&future.base);
    memset(&future, 0xee, sizeof future); /* nobody has it any more */
    T_OK(filch_broadcast_future_init(&future, &r, &value, &lost));
    T_IS(poll_once(&future.base), FILCH_PENDING);
    T_IS(send(b, 2), 1);
    T_IS(send(b, 3), 1);
    T_IS(poll_once(&future.base), FILCH_READY);
    T_IS(future.base.result, -EOVERFLOW);
    T_IS(lost, 1);
    T_OK(filch_broadcast_future_init(&future, &r, &value, NULL));
    future.base.drop(&future.base); /* never polled */
    T_IS(recv_now(&r), 3);
    T_OK(filch_broadcast_future_init(&future, &r, &value, NULL));
    T_IS(poll_once(&future.base), FILCH_PENDING);
    T_IS(send(b, 4), 1);
    future.base.drop(&future.base); /* woken, and not polled */
    T_IS(recv_now(&r), 4);
    T_OK(filch_broadcast_future_init(&future, &r, &value, NULL));
    T_IS(poll_once(&future.base), FILCH_PENDING);
    filch_broadcast_unref(b);
    T_IS(poll_once(&future.base), FILCH_READY);
    T_IS(future.base.result, -EPIPE);
    T_IS(value, 1);
    T_IS(filch_broadcast_future_init(NULL, &r, &value, NULL), -EINVAL);
    T_IS(filch_broadcast_future_init(&future, NULL, &value, NULL), -EINVAL);
    T_IS(filch_broadcast_future_init(&future, &none, &value, NULL), -EINVAL);
    T_IS(filch_broadcast_future_init(&future, &r, NULL, NULL), -EINVAL);
    filch_broadcast_unsubscribe(&r);
}

Test(broadcast, a_stream_of_messages)
{
    filch_broadcast *b = broadcast_new(2, 0);
    filch_broadcast_receiver r = subscribe(b);
    filch_broadcast_stream stream;
    uint64_t value = 0, lost = 0;

    T_OK(filch_broadcast_stream_init(&stream, &r, &lost));
    T_IS(stream.base.item_bytes, sizeof value);
    T_IS(filch_stream_next(&stream.base, &value, FILCH_NOW), -ETIMEDOUT);
    T_IS(send(b, 1), 1);
    T_IS(filch_stream_next(&stream.base, &value, FILCH_NEVER), 1);
    T_IS(value, 1);
    for (uint64_t i = 2; i <= 5; i++)
        T_IS(send(b, i), 1);
    T_IS(filch_stream_next(&stream.base, &value, FILCH_NEVER), -EOVERFLOW);
    T_IS(lost, 2);
    T_IS(value, 1);
    T_IS(filch_stream_next(&stream.base, &value, FILCH_NEVER), 1); /* an error is not the end */
    T_IS(value, 4);
    filch_broadcast_unref(b);
    T_IS(filch_stream_next(&stream.base, &value, FILCH_NEVER), 1);
    T_IS(value, 5);
    T_IS(filch_stream_next(&stream.base, &value, FILCH_NEVER), 0);
    filch_stream_drop(&stream.base);
    filch_broadcast_unsubscribe(&r);
}

/* ---- against a sequential model ---- */

#define RECEIVERS 6

struct modelled {
    filch_broadcast *broadcast;
    uint64_t capacity;
    bool keeps, closed;
    uint64_t tail;
    struct {
        filch_broadcast_receiver receiver;
        uint64_t next;
        bool on;
    } at[RECEIVERS];
};

/* The value of message @n. */
static uint64_t nth(uint64_t n)
{
    return n * 0x9E3779B97F4A7C15u >> 1;
}

static uint64_t model_slowest(const struct modelled *m, int *ret_count)
{
    uint64_t slowest = m->tail;

    *ret_count = 0;
    for (unsigned i = 0; i < RECEIVERS; i++)
        if (m->at[i].on) {
            slowest = m->at[i].next < slowest ? m->at[i].next : slowest;
            ++*ret_count;
        }
    return slowest;
}

static void model_send(struct modelled *m)
{
    int count;
    uint64_t slowest = model_slowest(m, &count);
    int want = m->closed                                      ? -EPIPE
               : m->keeps && m->tail - slowest == m->capacity ? -ETIMEDOUT
                                                              : count;

    T_IS(send(m->broadcast, nth(m->tail)), want);
    m->tail += want > 0;
}

static void model_recv(struct modelled *m, unsigned i)
{
    uint64_t kept = m->tail - m->at[i].next;
    long long got = recv_now(&m->at[i].receiver);

    if (kept > m->capacity) {
        T_IS(got, -(LOST + (long long)(kept - m->capacity)));
        m->at[i].next = m->tail - m->capacity;
    } else if (kept) {
        T_IS(got, nth(m->at[i].next));
        m->at[i].next++;
    } else {
        T_IS(got, m->closed ? -EPIPE : -ETIMEDOUT);
    }
}

static void model_step(struct modelled *m, uint64_t *seed)
{
    unsigned i = random_below(seed, RECEIVERS), other = (i + 1) % RECEIVERS;
    uint64_t kept = m->tail - m->at[i].next;

    switch (random_below(seed, 16)) {
    case 0:
        filch_broadcast_unsubscribe(&m->at[i].receiver);
        m->at[i].on = false;
        break;
    case 1:
        if (!m->at[i].on) {
            m->at[i].receiver = subscribe(m->broadcast);
            m->at[i].next = m->tail;
            m->at[i].on = true;
        }
        break;
    case 2:
        if (m->at[i].on && !m->at[other].on) {
            T_OK(filch_broadcast_receiver_dup(&m->at[i].receiver, &m->at[other].receiver));
            m->at[other].next = m->at[i].next;
            m->at[other].on = true;
        }
        break;
    case 3:
        if (m->at[i].on)
            T_IS(filch_broadcast_len(&m->at[i].receiver), kept < m->capacity ? kept : m->capacity);
        break;
    case 4:
    case 5:
    case 6:
    case 7:
        model_send(m);
        break;
    default:
        if (m->at[i].on)
            model_recv(m, i);
    }
}

Test(broadcast, does_as_a_sequential_model)
{
    uint64_t seed = 1;

    for (unsigned long done = 0; done < 16 * test_ops();) {
        struct modelled m = {.capacity = 1 + random_below(&seed, 9),
                             .keeps = random_below(&seed, 2)};
        uint32_t ops = 1 + random_below(&seed, 2000);

        m.broadcast = broadcast_new(m.capacity, m.keeps ? FILCH_BROADCAST_KEEP : 0);
        for (uint32_t i = 0; i < ops; i++, done++) {
            if (!m.closed && i + 100 > ops && random_below(&seed, 100) == 0) {
                T_OK(filch_broadcast_close(m.broadcast));
                m.closed = true;
            }
            model_step(&m, &seed);
        }
        filch_broadcast_unref(m.broadcast);
        for (unsigned i = 0; i < RECEIVERS; i++)
            filch_broadcast_unsubscribe(&m.at[i].receiver);
    }
}

/* ---- crowds ---- */

#define SENDERS 4 /* more than there may be */

struct item {
    uint64_t sender;
    uint64_t number; /* 1, 2, ... of that sender */
    uint64_t check;
};

struct crowd_state {
    filch_broadcast *broadcast;
    bool keeps;
    long each;
    atomic_long ready; /* receivers that have subscribed */
    atomic_long sending;
    atomic_ulong numbers;
    atomic_ulong received, lost;
};

static void check_item(const struct item *item, uint64_t *last)
{
    T_IS(item->check, item->sender * 31 + item->number * 17);
    T_CHECK(item->sender < SENDERS);
    T_CHECK(item->number > last[item->sender]); /* in order, and once */
    last[item->sender] = item->number;
}

static int receive_somehow(filch_broadcast_receiver *receiver, struct item *item, uint64_t *lost,
                           uint64_t *seed)
{
    filch_time soon = filch_after(random_below(seed, 50) * 1000);
    filch_broadcast_future future;
    filch_case c;
    int r;

    switch (random_below(seed, 8)) {
    case 0:
        return filch_broadcast_recv(receiver, item, lost, soon);
    case 1:
        c = filch_case_broadcast(receiver, item, lost);
        r = filch_select(&c, 1, 0, soon);
        return r == 0 ? c.result : r;
    case 2:
        T_OK(filch_broadcast_future_init(&future, receiver, item, lost));
        r = filch_await(&future.base, soon);
        future.base.drop(&future.base);
        return r;
    default:
        return filch_broadcast_recv(receiver, item, lost, FILCH_NEVER);
    }
}

static int receives_items(struct crowd_state *state, uint64_t *seed)
{
    filch_broadcast_receiver receiver = subscribe(state->broadcast), extra;
    uint64_t last[SENDERS] = {0}, received = 0, all_lost = 0;
    struct item item;
    int r;

    atomic_fetch_add(&state->ready, 1);
    do {
        uint64_t lost = 0;

        r = receive_somehow(&receiver, &item, &lost, seed);
        T_CHECK(r == 0 || r == -EPIPE || r == -ETIMEDOUT || r == -EOVERFLOW);
        if (r == 0) {
            check_item(&item, last);
            received++;
        }
        all_lost += lost;
        if (random_below(seed, 64) == 0) { /* one that comes, holds others up, and goes */
            T_OK(filch_broadcast_receiver_dup(&receiver, &extra));
            filch_task_yield();
            filch_broadcast_unsubscribe(&extra);
        }
    } while (r != -EPIPE);
    filch_broadcast_unsubscribe(&receiver);
    atomic_fetch_add(&state->received, received);
    atomic_fetch_add(&state->lost, all_lost);
    T_CHECK(!state->keeps || all_lost == 0);
    return 0;
}

static int send_somehow(filch_broadcast *broadcast, const struct item *item, uint64_t *seed)
{
    filch_time soon = filch_after(random_below(seed, 50) * 1000);
    int r, result = 0;

    switch (random_below(seed, 8)) {
    case 0:
        return filch_broadcast_send(broadcast, item, soon);
    case 1:
        r = FILCH_SELECT_RESULT(&result, soon, filch_case_broadcast_send(broadcast, item));
        return r < 0 ? r : result;
    default:
        return filch_broadcast_send(broadcast, item, FILCH_NEVER);
    }
}

static int receives_or_sends(void *arg)
{
    struct crowd_state *state = arg;
    unsigned long number = atomic_fetch_add(&state->numbers, 1);
    uint64_t seed = number * 131071;

    if (number >= 2)
        return receives_items(state, &seed);
    T_WAIT_UNTIL(atomic_load(&state->ready) == 6);
    for (long i = 1; i <= state->each; i++) {
        struct item item = {number, (uint64_t)i, number * 31 + (uint64_t)i * 17};
        int r;

        while ((r = send_somehow(state->broadcast, &item, &seed)) < 0)
            T_IS(r, -ETIMEDOUT);
        T_CHECK(r >= 6);
        if (random_below(&seed, 16) == 0)
            filch_task_yield();
    }
    if (atomic_fetch_sub(&state->sending, 1) == 1)
        filch_broadcast_unref(state->broadcast);
    return 0;
}

static void crowd(unsigned workers, size_t capacity, unsigned flags)
{
    struct crowd_state state = {.keeps = flags, .each = (long)test_ops() / 24};

    T_OK(filch_broadcast_new(sizeof(struct item), capacity, flags, &state.broadcast));
    atomic_init(&state.sending, 2);
    crowd_run(workers, 6, 2, receives_or_sends, &state);
    T_IS(atomic_load(&state.received) + atomic_load(&state.lost), 6 * 2 * state.each);
}

Test(broadcast, each_message_arrives_or_is_counted)
{
    crowd(1, 16, 0);
    crowd(2, 1, 0);
    crowd(8, 16, 0);
}

Test(broadcast, each_kept_message_arrives)
{
    crowd(1, 1, FILCH_BROADCAST_KEEP);
    crowd(2, 16, FILCH_BROADCAST_KEEP);
    crowd(8, 3, FILCH_BROADCAST_KEEP);
}
