/* Description: what <filch/flight.h> promises: callers with the same key at the same time share one
 * call; one that is stopped does not spoil it for the others. */
#include <errno.h>
#include <pthread.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(flight, .timeout = 60);

struct shared {
    filch_flights *flights;
    atomic_int calls;
    atomic_int go;     /* calls end then */
    atomic_int asking; /* callers */
    atomic_int shared;
    int result;
};

static int fetch(void *arg, void *value)
{
    struct shared *s = arg;
    int call = atomic_fetch_add(&s->calls, 1) + 1;

    if (value)
        *(int *)value = call;
    while (!atomic_load(&s->go)) {
        int r = filch_sleep(filch_after(FILCH_MILLISECOND));

        if (r < 0)
            return r;
    }
    return s->result;
}

static int ask(void *arg)
{
    struct shared *s = arg;
    int value = -1;
    bool shared = false;
    int r;

    atomic_fetch_add(&s->asking, 1);
    r = filch_flight(s->flights, "key", 3, fetch, s, &value, &shared, FILCH_NEVER);
    if (shared)
        atomic_fetch_add(&s->shared, 1);
    if (r >= 0)
        T_IS(value, atomic_load(&s->calls));
    return r;
}

/* Long enough for all who ask to be in line: they have only a lock to take. */
static void let_them_wait(void)
{
    for (int i = 0; i < 100; i++)
        filch_task_yield();
}

static int share_body(void *arg)
{
    struct shared s = {.result = (int)(intptr_t)arg};
    filch_task *tasks[50];
    int results[50];

    T_OK(filch_flights_new(sizeof(int), &s.flights));
    for (int i = 0; i < 50; i++)
        tasks[i] = spawn(ask, &s);
    T_WAIT_UNTIL(s.asking == 50);
    let_them_wait();
    T_IS(s.calls, 1);
    T_IS(filch_flights_free(s.flights), -EBUSY);
    atomic_store(&s.go, 1);
    T_OK(filch_join_all(tasks, 50, results, FILCH_NEVER));
    for (int i = 0; i < 50; i++)
        T_IS(results[i], s.result);
    T_IS(s.calls + s.shared, 50);
    /* Nothing is kept. */
    T_IS(ask(&s), s.result);
    T_OK(filch_flights_free(s.flights));
    return 0;
}

Test(flight, those_who_ask_at_the_same_time_share_one_call)
{
    cr_assert_eq(run_in_runtime(1, share_body, (void *)3), 0);
}

Test(flight, errors_are_shared_too)
{
    cr_assert_eq(run_in_runtime(1, share_body, (void *)-EIO), 0);
}

static int leader_cancelled_body(void *arg)
{
    struct shared s = {.result = 3};
    filch_task *tasks[10];
    int results[10];

    (void)arg;
    T_OK(filch_flights_new(sizeof(int), &s.flights));
    for (int i = 0; i < 10; i++) {
        tasks[i] = spawn(ask, &s);
        T_WAIT_UNTIL(s.asking == i + 1);
        T_WAIT_UNTIL(s.calls == 1);
    }
    let_them_wait();
    T_OK(filch_task_cancel(tasks[0]));
    T_WAIT_UNTIL(s.calls == 2);
    T_OK(filch_task_cancel(tasks[5])); /* one that waits */
    T_OK(filch_task_join(tasks[5], &results[5], FILCH_NEVER));
    T_IS(results[5], -ECANCELED);
    tasks[5] = NULL;
    atomic_store(&s.go, 1);
    T_OK(filch_join_all(tasks, 10, results, FILCH_NEVER));
    T_IS(results[0], -ECANCELED);
    for (int i = 1; i < 10; i++)
        T_IS(results[i], i == 5 ? -ECANCELED : 3);
    T_IS(s.calls, 2);
    T_OK(filch_flights_free(s.flights));
    return 0;
}

Test(flight, a_cancelled_caller_hands_the_call_on)
{
    cr_assert_eq(run_in_runtime(0, leader_cancelled_body, NULL), 0);
}

static int ask_briefly(void *arg)
{
    struct shared *s = arg;

    atomic_fetch_add(&s->asking, 1);
    return filch_flight(s->flights, "key", 3, fetch, s, NULL, NULL, filch_after(FILCH_MILLISECOND));
}

static int time_body(void *arg)
{
    struct shared s = {.result = 3};
    filch_task *brief, *patient;
    int result = 0;

    (void)arg;
    T_OK(filch_flights_new(sizeof(int), &s.flights));
    /* The one who calls has no time: the next one calls. */
    brief = spawn(ask_briefly, &s);
    T_WAIT_UNTIL(s.calls == 1);
    patient = spawn(ask, &s);
    T_OK(filch_task_join(brief, &result, FILCH_NEVER));
    T_IS(result, -ETIMEDOUT);
    T_WAIT_UNTIL(s.calls == 2);
    /* One who waits has no time. */
    T_IS(ask_briefly(&s), -ETIMEDOUT);
    T_IS(s.calls, 2);
    atomic_store(&s.go, 1);
    T_IS(join(patient), 3);
    T_OK(filch_flights_free(s.flights));
    return 0;
}

Test(flight, each_caller_has_a_time_of_its_own)
{
    cr_assert_eq(run_in_runtime(0, time_body, NULL), 0);
}

struct own_key {
    filch_flights *flights;
    int inner;
};

static int value_of_key(void *arg, void *value)
{
    memset(value, (int)(intptr_t)arg, 1000);
    return 0;
}

static int ask_again(void *arg, void *value)
{
    struct own_key *k = arg;
    char other[1000];

    (void)value;
    k->inner = filch_flight(k->flights, "a", 1, ask_again, k, NULL, NULL, FILCH_NEVER);
    T_OK(filch_flight(k->flights, "b", 1, value_of_key, (void *)2, other, NULL, FILCH_NEVER));
    T_IS(other[999], 2);
    T_OK(filch_flight_forget(k->flights, "a", 1));
    T_OK(filch_flight(k->flights, "a", 1, value_of_key, (void *)3, other, NULL, FILCH_NEVER));
    return 0;
}

static int keys_body(void *arg)
{
    struct own_key k;
    char value[1000] = {9};

    (void)arg;
    T_OK(filch_flights_new(sizeof value, &k.flights));
    T_OK(filch_flight(k.flights, "a", 1, ask_again, &k, value, NULL, FILCH_NEVER));
    T_IS(k.inner, -EDEADLK);
    T_IS(value[0], 0); /* it wrote nothing */
    T_IS(filch_flight_forget(k.flights, "a", 1), -ENOENT);
    T_OK(filch_flight(k.flights, NULL, 0, value_of_key, (void *)4, value, NULL, FILCH_NEVER));
    T_IS(value[999], 4);
    T_OK(filch_flights_free(k.flights));
    return 0;
}

Test(flight, keys_are_told_apart_and_may_be_forgotten)
{
    cr_assert_eq(run_in_runtime(0, keys_body, NULL), 0);
}

static void *thread_asks(void *arg)
{
    struct shared *s = arg;
    int value = 0;

    T_IS(filch_flight(s->flights, "key", 3, fetch, s, &value, NULL, T_LIMIT), 3);
    return NULL;
}

Test(flight, plain_threads_share_too)
{
    struct shared s = {.result = 3};
    pthread_t threads[4];

    T_OK(filch_flights_new(0, &s.flights));
    for (int i = 0; i < 4; i++)
        T_OK(pthread_create(&threads[i], NULL, thread_asks, &s));
    T_WAIT_UNTIL(s.calls > 0);
    atomic_store(&s.go, 1);
    for (int i = 0; i < 4; i++)
        T_OK(pthread_join(threads[i], NULL));
    T_OK(filch_flights_free(s.flights));
}

/* Many keys, callers that are cancelled at any moment: who gets a value gets the key's. */
static int storm_fetch(void *arg, void *value)
{
    for (intptr_t i = 0; i < 5; i++) {
        if (filch_task_is_cancelled())
            return -ECANCELED;
        filch_task_yield();
    }
    *(intptr_t *)value = (intptr_t)arg;
    return 0;
}

static int storm_task(void *arg)
{
    filch_flights *flights = arg;

    for (intptr_t i = 0; !filch_task_is_cancelled(); i++) {
        intptr_t key = i % 7, value = -1;
        int r = filch_flight(flights, &key, sizeof key, storm_fetch, (void *)key, &value, NULL,
                             FILCH_NEVER);

        T_CHECK(r == 0 || r == -ECANCELED);
        if (r == 0)
            T_IS(value, key);
    }
    return 0;
}

static int storm_body(void *arg)
{
    filch_flights *flights;
    filch_task *tasks[16];

    (void)arg;
    T_OK(filch_flights_new(sizeof(intptr_t), &flights));
    for (int i = 0; i < 16; i++)
        tasks[i] = spawn(storm_task, flights);
    for (int i = 0; i < 300; i++) {
        T_OK(filch_task_cancel(tasks[i % 16]));
        T_OK(join(tasks[i % 16]));
        tasks[i % 16] = spawn(storm_task, flights);
    }
    for (int i = 0; i < 16; i++)
        T_OK(filch_task_cancel(tasks[i]));
    T_OK(filch_join_all(tasks, 16, NULL, FILCH_NEVER));
    T_OK(filch_flights_free(flights));
    return 0;
}

Test(flight, cancels_at_any_moment_leave_no_call_behind)
{
    cr_assert_eq(run_in_runtime(0, storm_body, NULL), 0);
}
