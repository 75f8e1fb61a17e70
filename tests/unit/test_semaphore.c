/* Description: semaphores: order, sizes, giving up in the middle, close, selects, guards; a
 * sequential model, and random operations of tasks and threads that lose no permit. */
#include <errno.h>

#include <criterion/criterion.h>

#include "tests/runner/crowd.h"

TestSuite(semaphore, .timeout = 120);

static filch_semaphore shared = FILCH_SEMAPHORE_INIT(3);

Test(semaphore, counts)
{
    T_IS(filch_semaphore_available(&shared), 3);
    T_OK(filch_semaphore_acquire(&shared, 2, FILCH_NOW));
    T_IS(filch_semaphore_available(&shared), 1);
    T_IS(filch_semaphore_acquire(&shared, 2, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_semaphore_try_acquire(&shared, 2), -EAGAIN);
    T_OK(filch_semaphore_try_acquire(&shared, 1));
    T_OK(filch_semaphore_release(&shared, 5));
    T_OK(filch_semaphore_release(&shared, 0));
    T_IS(filch_semaphore_forget(&shared, 2), 2);
    T_IS(filch_semaphore_available(&shared), 3);
    T_IS(filch_semaphore_forget(&shared, UINT64_MAX), 3);
    T_IS(filch_semaphore_available(&shared), 0);
    filch_semaphore_fini(&shared);
}

Test(semaphore, an_overflow_is_refused_and_changes_nothing)
{
    filch_semaphore s;

    T_IS(filch_semaphore_init(&s, FILCH_SEMAPHORE_MAX + 1), -EINVAL);
    T_OK(filch_semaphore_init(&s, FILCH_SEMAPHORE_MAX - 1));
    T_IS(filch_semaphore_release(&s, 2), -EOVERFLOW);
    T_IS(filch_semaphore_release(&s, FILCH_SEMAPHORE_MAX), -EOVERFLOW);
    T_OK(filch_semaphore_release(&s, 1));
    T_IS(filch_semaphore_available(&s) == FILCH_SEMAPHORE_MAX, 1);
    T_OK(filch_semaphore_acquire(&s, FILCH_SEMAPHORE_MAX, FILCH_NOW));
    T_IS(filch_semaphore_available(&s), 0);
    filch_semaphore_fini(&s);
}

Test(semaphore, closed_is_for_good)
{
    filch_semaphore s = FILCH_SEMAPHORE_INIT(1);

    T_CHECK(!filch_semaphore_is_closed(&s));
    T_OK(filch_semaphore_close(&s));
    T_OK(filch_semaphore_close(&s));
    T_CHECK(filch_semaphore_is_closed(&s));
    T_IS(filch_semaphore_acquire(&s, 1, FILCH_NEVER), -EPIPE);
    T_IS(filch_semaphore_try_acquire(&s, 1), -EPIPE);
    T_OK(filch_semaphore_release(&s, 1));
    T_IS(filch_semaphore_forget(&s, 2), 2);
    T_CHECK(filch_semaphore_is_closed(&s));
    T_IS(filch_semaphore_acquire(&s, 1, FILCH_NOW), -EPIPE);
    filch_semaphore_fini(&s);
}

/* ---- order: on one worker, so that it is known who waits ---- */

struct wish {
    filch_semaphore *semaphore;
    uint64_t n;
    filch_time until;
    int result;
    int place; /* 0: not yet */
};

static int places;

static int acquires(void *arg)
{
    struct wish *wish = arg;

    wish->result = filch_semaphore_acquire(wish->semaphore, wish->n, wish->until);
    wish->place = ++places;
    return 0;
}

static int large_first(void *arg)
{
    filch_semaphore s = FILCH_SEMAPHORE_INIT(1);
    struct wish large = {&s, 3, FILCH_NEVER, 0, 0};
    struct wish small = {&s, 1, FILCH_NEVER, 0, 0};
    filch_task *first, *second;

    (void)arg;
    places = 0;
    first = spawn(acquires, &large);
    let_others_run();
    second = spawn(acquires, &small);
    let_others_run();
    T_IS(large.place + small.place, 0);
    T_IS(filch_semaphore_try_acquire(&s, 1), -EAGAIN); /* nobody overtakes */
    T_OK(filch_semaphore_release(&s, 1));
    let_others_run();
    T_IS(large.place + small.place, 0);
    T_OK(filch_semaphore_release(&s, 1));
    T_OK(join(first));
    let_others_run();
    T_IS(small.place, 0);
    T_OK(filch_semaphore_release(&s, 1));
    T_OK(join(second));
    T_IS(large.place, 1);
    T_IS(small.place, 2);
    T_IS(filch_semaphore_available(&s), 0);
    filch_semaphore_fini(&s);
    return 0;
}

Test(semaphore, a_large_request_at_the_head_holds_small_ones_back)
{
    T_OK(run_in_runtime(1, large_first, NULL));
}

static int large_gives_up(void *arg)
{
    filch_semaphore s = FILCH_SEMAPHORE_INIT(2);
    struct wish large = {&s, 3, FILCH_NEVER, 0, 0};
    struct wish small[2] = {{&s, 1, FILCH_NEVER, 0, 0}, {&s, 1, FILCH_NEVER, 0, 0}};
    bool cancel = *(bool *)arg;
    filch_task *first, *second, *third;

    places = 0;
    large.until = cancel ? FILCH_NEVER : filch_after(50 * FILCH_MILLISECOND);
    first = spawn(acquires, &large);
    let_others_run();
    second = spawn(acquires, &small[0]);
    third = spawn(acquires, &small[1]);
    let_others_run();
    if (cancel) {
        T_IS(places, 0);
        T_OK(filch_task_cancel(first));
    }
    T_OK(join(first));
    T_OK(join(second));
    T_OK(join(third));
    T_IS(large.result, cancel ? -ECANCELED : -ETIMEDOUT);
    T_OK(small[0].result);
    T_OK(small[1].result);
    T_IS(filch_semaphore_available(&s), 0);
    filch_semaphore_fini(&s);
    return 0;
}

Test(semaphore, who_gives_up_at_the_head_lets_the_next_ones_go)
{
    bool cancel = true;

    T_OK(run_in_runtime(1, large_gives_up, &cancel));
    cancel = false;
    T_OK(run_in_runtime(1, large_gives_up, &cancel));
}

static int select_gives_up(void *arg)
{
    filch_semaphore s = FILCH_SEMAPHORE_INIT(2);
    struct wish small = {&s, 1, FILCH_NEVER, 0, 0};
    filch_notify other = FILCH_NOTIFY_INIT;
    filch_case cases[] = {filch_case_acquire(&s, 3), filch_case_notified(&other)};
    filch_task *behind;

    (void)arg;
    /* The small one comes while the select waits, and is told by its end. */
    behind = spawn(acquires, &small);
    T_IS(filch_select(cases, 2, 0, filch_after(20 * FILCH_MILLISECOND)), -ETIMEDOUT);
    T_OK(join(behind));
    T_OK(small.result);
    T_IS(filch_semaphore_available(&s), 1);
    T_IS(filch_semaphore_release(&s, 2), 0);
    T_IS(filch_select(cases, 2, 0, FILCH_NEVER), 0);
    T_OK(cases[0].result);
    T_IS(filch_semaphore_available(&s), 0);
    T_OK(filch_semaphore_close(&s));
    T_IS(filch_select(cases, 2, 0, FILCH_NEVER), 0);
    T_IS(cases[0].result, -EPIPE);
    return 0;
}

Test(semaphore, a_select_that_loses_lets_the_next_ones_go)
{
    T_OK(run_in_runtime(1, select_gives_up, NULL));
}

static int waits_until_closed(void *arg)
{
    T_IS(filch_semaphore_acquire(arg, 1, FILCH_NEVER), -EPIPE);
    return 0;
}

static int selects_until_closed(void *arg)
{
    filch_case acquire = filch_case_acquire(arg, 2);

    T_IS(filch_select(&acquire, 1, 0, FILCH_NEVER), 0);
    T_IS(acquire.result, -EPIPE);
    return 0;
}

static int closes(void *arg)
{
    filch_semaphore s = FILCH_SEMAPHORE_INIT(0);
    FILCH_SCOPE(scope);

    (void)arg;
    for (int i = 0; i < 40; i++)
        T_OK(filch_scope_spawn(&scope, i % 2 ? waits_until_closed : selects_until_closed, &s));
    let_others_run();
    T_OK(filch_semaphore_close(&s));
    return filch_scope_join(&scope, T_LIMIT);
}

Test(semaphore, close_sends_all_away)
{
    T_OK(run_in_runtime(0, closes, NULL));
}

Test(semaphore, permits_are_released_at_the_end_of_their_block)
{
    filch_semaphore s = FILCH_SEMAPHORE_INIT(2);

    {
        FILCH_PERMIT(one, &s, 1, FILCH_NEVER);
        FILCH_PERMIT(two, &s, 2, FILCH_NOW);

        T_OK(one.result);
        T_IS(two.result, -ETIMEDOUT);
        T_IS(filch_semaphore_available(&s), 1);
        filch_permit_release(&two);
        T_IS(filch_semaphore_available(&s), 1);
        filch_permit_release(&one);
        T_IS(filch_semaphore_available(&s), 2);
    }
    T_IS(filch_semaphore_available(&s), 2);
    {
        FILCH_PERMIT(both, &s, 2, FILCH_NEVER);

        T_OK(both.result);
        T_IS(filch_semaphore_available(&s), 0);
    }
    T_IS(filch_semaphore_available(&s), 2);
}

/* ---- against a sequential model ---- */

Test(semaphore, agrees_with_a_simple_model)
{
    filch_semaphore s = FILCH_SEMAPHORE_INIT(5);
    uint64_t permits = 5, seed = 7;
    bool closed = false;
    unsigned long ops = 10 * test_ops();

    for (unsigned long i = 0; i < ops; i++) {
        uint64_t n = 1 + random_below(&seed, 8);

        switch (random_below(&seed, 5)) {
        case 0:
            T_IS(filch_semaphore_try_acquire(&s, n), closed ? -EPIPE : n <= permits ? 0 : -EAGAIN);
            permits -= closed || n > permits ? 0 : n;
            break;
        case 1:
            T_IS(filch_semaphore_acquire(&s, n, FILCH_NOW), closed         ? -EPIPE
                                                            : n <= permits ? 0
                                                                           : -ETIMEDOUT);
            permits -= closed || n > permits ? 0 : n;
            break;
        case 2:
            T_OK(filch_semaphore_release(&s, n));
            permits += n;
            break;
        case 3:
            T_IS(filch_semaphore_forget(&s, n), n < permits ? n : permits);
            permits -= n < permits ? n : permits;
            break;
        case 4:
            if (random_below(&seed, 1000) == 0) {
                closed = !closed;
                if (closed)
                    T_OK(filch_semaphore_close(&s));
                else
                    T_OK(filch_semaphore_init(&s, permits));
            }
        }
        T_IS(filch_semaphore_available(&s), permits);
    }
}

/* ---- many at a time ---- */

#define PERMITS 5

struct many {
    filch_semaphore semaphore;
    atomic_long ops;
    atomic_long held;
    atomic_ulong seeds;
};

static int acquire_somehow(struct many *many, uint64_t *seed, uint64_t n)
{
    filch_case acquire = filch_case_acquire(&many->semaphore, n);
    int r;

    switch (random_below(seed, 5)) {
    case 0:
        return filch_semaphore_try_acquire(&many->semaphore, n);
    case 1:
        return filch_semaphore_acquire(&many->semaphore, n,
                                       filch_after(random_below(seed, 100) * FILCH_MICROSECOND));
    case 2:
        r = filch_select(&acquire, 1, 0, filch_after(random_below(seed, 100) * FILCH_MICROSECOND));
        return r < 0 ? r : acquire.result;
    case 3:
        r = FILCH_SELECT(FILCH_NEVER, acquire, filch_case_acquire(&many->semaphore, n));
        return r < 0 ? r : 0;
    default:
        return filch_semaphore_acquire(&many->semaphore, n, FILCH_NEVER);
    }
}

static int uses_permits(void *arg)
{
    struct many *many = arg;
    uint64_t seed = atomic_fetch_add(&many->seeds, 1) * 77777;

    while (atomic_fetch_sub(&many->ops, 1) > 0) {
        uint64_t n = 1 + random_below(&seed, PERMITS);
        int r = acquire_somehow(many, &seed, n);

        if (r < 0) {
            T_CHECK(r == -ETIMEDOUT || r == -EAGAIN);
            continue;
        }
        T_CHECK(atomic_fetch_add(&many->held, (long)n) + (long)n <= PERMITS);
        if (random_below(&seed, 4) == 0)
            filch_task_yield();
        atomic_fetch_sub(&many->held, (long)n);
        T_OK(filch_semaphore_release(&many->semaphore, n));
    }
    return 0;
}

static void many_use_permits(unsigned workers)
{
    struct many many = {.semaphore = FILCH_SEMAPHORE_INIT(PERMITS)};

    atomic_init(&many.ops, (long)test_ops());
    crowd_run(workers, 8, 3, uses_permits, &many);
    T_IS(filch_semaphore_available(&many.semaphore), PERMITS);
    filch_semaphore_fini(&many.semaphore);
}

Test(semaphore, no_permit_is_lost_nor_doubled)
{
    many_use_permits(1);
    many_use_permits(2);
    many_use_permits(8);
}

/* Each waiter is cancelled at any moment; who got a permit nevertheless gives it back. */
static int acquires_until_cancelled(void *arg)
{
    int r = filch_semaphore_acquire(arg, 1, FILCH_NEVER);

    T_CHECK(r == 0 || r == -ECANCELED);
    if (r == 0)
        T_OK(filch_semaphore_release(arg, 1));
    return 0;
}

static int cancels(void *arg)
{
    filch_semaphore s = FILCH_SEMAPHORE_INIT(1);
    uint64_t seed = 5;
    filch_task *task[4];

    (void)arg;
    for (unsigned long round = test_ops() / 40; round > 0; round--) {
        T_OK(filch_semaphore_acquire(&s, 1, FILCH_NEVER));
        for (int i = 0; i < 4; i++)
            task[i] = spawn(acquires_until_cancelled, &s);
        for (unsigned i = random_below(&seed, 4); i > 0; i--)
            filch_task_yield();
        T_OK(filch_task_cancel(task[random_below(&seed, 4)]));
        T_OK(filch_semaphore_release(&s, 1));
        T_OK(filch_task_cancel(task[random_below(&seed, 4)]));
        for (int i = 0; i < 4; i++)
            T_OK(join(task[i]));
        T_IS(filch_semaphore_available(&s), 1);
    }
    return 0;
}

Test(semaphore, a_cancel_at_any_moment_loses_no_permit)
{
    T_OK(run_in_runtime(1, cancels, NULL));
    T_OK(run_in_runtime(4, cancels, NULL));
}
