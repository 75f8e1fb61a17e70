/* Description: rate limiters: the arithmetic with times that are made up (rates from one per hour
 * to ten million per second, long idle, other rates), then order, giving up and rates of those that
 * wait for the clock. */
#include <errno.h>

#include <criterion/criterion.h>

#include "sync/bucket.h"
#include "tests/runner/crowd.h"

TestSuite(limiter, .timeout = 120);

#define HOUR (3600 * FILCH_SECOND)

/* Takes tokens one by one, each not before it is there. Return: when the last one was. */
static filch_time take_many(struct filch__bucket *bucket, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        filch_time when = filch__bucket_when(bucket, 1);

        if (when > bucket->last) {
            struct filch__bucket early = *bucket;

            T_CHECK(!filch__bucket_take_due(&early, 1, when - 1));
            filch__bucket_advance(&early, when - 1);
            T_CHECK(!filch__bucket_take(&early, 1));
        }
        /* Woken late by anything. */
        T_CHECK(filch__bucket_take_due(bucket, 1, when + i % 5 * FILCH_MILLISECOND));
        T_CHECK(bucket->last == when);
    }
    return bucket->last;
}

Test(limiter, does_not_drift_at_any_rate)
{
    static const struct {
        uint64_t permits;
        filch_time period_ns;
        uint32_t burst;
    } rates[] = {
        {10000000, FILCH_SECOND, 1},
        {10000000, FILCH_SECOND, 1000},
        {3, FILCH_SECOND, 1},
        {7, 1000003, 2},
        {1, HOUR, 1},
        {UINT64_MAX, FILCH_SECOND, 5},
        {UINT64_MAX, 1, UINT32_MAX},
        {1000000007, 999999937, 13},
    };

    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct filch__bucket bucket;
        filch_time start = 123456789, end;
        filch__parts parts;

        filch__bucket_init(&bucket, rates[i].permits, rates[i].period_ns, rates[i].burst, start);
        end = take_many(&bucket, 10000 + rates[i].burst % 10007);
        if (rates[i].burst > 10007)
            continue;
        /* As if computed at once: rounded up one time, not ten thousand times. */
        parts = (filch__parts)10000 * rates[i].period_ns;
        T_CHECK((filch__parts)(end - start) == (parts + rates[i].permits - 1) / rates[i].permits);
    }
}

Test(limiter, idle_fills_the_bucket_and_no_more)
{
    struct filch__bucket bucket;

    filch__bucket_init(&bucket, UINT64_MAX, 1, UINT32_MAX, 0);
    T_CHECK(filch__bucket_take(&bucket, UINT32_MAX));
    filch__bucket_advance(&bucket, UINT64_MAX);
    T_CHECK(filch__bucket_take(&bucket, UINT32_MAX));
    T_CHECK(!filch__bucket_take(&bucket, 1));

    filch__bucket_init(&bucket, 1, UINT64_MAX, 3, 5);
    T_CHECK(filch__bucket_take(&bucket, 3));
    T_IS(filch__bucket_when(&bucket, 2) == FILCH_NEVER, 1);
    T_IS(filch__bucket_delay(&bucket, 1) == UINT64_MAX, 1);
    filch__bucket_advance(&bucket, 4); /* backwards */
    T_IS(bucket.last, 5);

    filch__bucket_init(&bucket, 10, FILCH_SECOND, 3, 0);
    T_CHECK(filch__bucket_take(&bucket, 3));
    filch__bucket_advance(&bucket, 1000 * HOUR);
    T_CHECK(filch__bucket_take(&bucket, 3));
    T_CHECK(!filch__bucket_take(&bucket, 1));
    T_IS(filch__bucket_delay(&bucket, 1), 100 * FILCH_MILLISECOND);
    T_IS(filch__bucket_delay(&bucket, 3), 300 * FILCH_MILLISECOND);
}

Test(limiter, another_rate_keeps_what_is_there)
{
    struct filch__bucket bucket;

    filch__bucket_init(&bucket, 1, FILCH_SECOND, 4, 0);
    T_CHECK(filch__bucket_take(&bucket, 4));
    filch__bucket_advance(&bucket, FILCH_SECOND + FILCH_SECOND / 2);
    filch__bucket_set_rate(&bucket, 1, HOUR);
    T_CHECK(filch__bucket_take(&bucket, 1));
    T_IS(filch__bucket_delay(&bucket, 1), HOUR / 2);
    filch__bucket_set_rate(&bucket, 10000000, FILCH_SECOND);
    T_IS(filch__bucket_delay(&bucket, 1), 50);
}

/* ---- with the clock ---- */

Test(limiter, says_how_long_it_takes)
{
    filch_limiter l;
    filch_time delay;

    T_OK(filch_limiter_init(&l, 1, HOUR, 2));
    T_IS(filch_limiter_delay(&l, 2), 0);
    T_IS(filch_limiter_delay(&l, 3) == FILCH_NEVER, 1);
    T_IS(filch_limiter_acquire(&l, 3, FILCH_NEVER), -EINVAL);
    T_OK(filch_limiter_acquire(&l, 1, FILCH_NEVER));
    T_OK(filch_limiter_try_acquire(&l, 1));
    T_IS(filch_limiter_try_acquire(&l, 1), -EAGAIN);
    T_IS(filch_limiter_acquire(&l, 1, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_limiter_acquire(&l, 1, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    delay = filch_limiter_delay(&l, 1);
    T_CHECK(delay <= HOUR && delay > HOUR / 2);
    delay = filch_limiter_delay(&l, 2);
    T_CHECK(delay > HOUR && delay <= 2 * HOUR);
    filch_limiter_fini(&l);
}

struct wish {
    filch_limiter *limiter;
    uint32_t n;
    int result;
    atomic_int done;
    unsigned place; /* among those who were done */
};

static atomic_uint places;

static int acquires(void *arg)
{
    struct wish *wish = arg;

    wish->result = filch_limiter_acquire(wish->limiter, wish->n, FILCH_NEVER);
    wish->place = atomic_fetch_add(&places, 1);
    atomic_store(&wish->done, 1);
    return 0;
}

static int waits_for_a_rate(void *arg)
{
    filch_limiter l;
    struct wish first = {.limiter = &l, .n = 2}, second = {.limiter = &l, .n = 1},
                third = {.limiter = &l, .n = 1};
    filch_task *task[3];
    filch_time delay;

    (void)arg;
    T_OK(filch_limiter_init(&l, 1, HOUR, 2));
    T_OK(filch_limiter_acquire(&l, 2, FILCH_NOW));
    task[0] = spawn(acquires, &first);
    let_others_run();
    task[1] = spawn(acquires, &second);
    let_others_run();
    task[2] = spawn(acquires, &third);
    let_others_run();
    delay = filch_limiter_delay(&l, 1); /* behind 4 others */
    T_CHECK(delay > 4 * HOUR && delay <= 5 * HOUR);
    /* The first one gives up: nothing was taken by it, and the line is shorter. */
    T_OK(filch_task_cancel(task[0]));
    T_OK(join(task[0]));
    T_IS(first.result, -ECANCELED);
    delay = filch_limiter_delay(&l, 1);
    T_CHECK(delay > 2 * HOUR && delay <= 3 * HOUR);
    T_IS(atomic_load(&second.done) + atomic_load(&third.done), 0);
    /* Those that wait get the new rate. */
    T_OK(filch_limiter_set_rate(&l, 1000, FILCH_SECOND));
    T_OK(join(task[1]));
    T_OK(join(task[2]));
    T_OK(second.result);
    T_OK(third.result);
    T_CHECK(second.place < third.place); /* in the order in which they came */
    filch_limiter_fini(&l);
    return 0;
}

Test(limiter, those_that_wait_give_up_or_get_another_rate)
{
    T_OK(run_in_runtime(1, waits_for_a_rate, NULL));
}

struct many {
    filch_limiter limiter;
    atomic_long ops;
    atomic_long taken;
    atomic_ulong seeds;
};

static int uses_limiter(void *arg)
{
    struct many *many = arg;
    uint64_t seed = atomic_fetch_add(&many->seeds, 1) * 7919;

    while (atomic_fetch_sub(&many->ops, 1) > 0) {
        uint32_t n = 1 + random_below(&seed, 8);
        int r = filch_limiter_acquire(
            &many->limiter, n,
            random_below(&seed, 3) ? FILCH_NEVER : filch_after(random_below(&seed, 50) * 1000));

        T_CHECK(r == 0 || r == -ETIMEDOUT);
        if (r == 0)
            atomic_fetch_add(&many->taken, n);
        if (random_below(&seed, 64) == 0)
            T_OK(filch_limiter_set_rate(&many->limiter, 1 + random_below(&seed, 3), 1000));
    }
    return 0;
}

/* Never more than the highest rate allows; and everybody gets through. */
static void many_acquire(unsigned workers)
{
    struct many many = {.seeds = 0};
    filch_time start = filch_now();
    long taken;

    atomic_init(&many.ops, (long)test_ops() / 4);
    T_OK(filch_limiter_init(&many.limiter, 3, 1000, 8));
    crowd_run(workers, 8, 3, uses_limiter, &many);
    taken = atomic_load(&many.taken);
    T_CHECK((uint64_t)(taken - 8) * 1000 / 3 <= filch_now() - start);
    filch_limiter_fini(&many.limiter);
}

Test(limiter, is_never_early_with_many)
{
    many_acquire(1);
    many_acquire(2);
    many_acquire(8);
}
