/* Description: notifications: the stored permit, order, those who prepare, pass-on, selects; random
 * producers and consumers that lose no notification. */
#include <errno.h>

#include <criterion/criterion.h>

#include "tests/runner/crowd.h"

TestSuite(notify, .timeout = 120);

Test(notify, one_permit_is_stored)
{
    filch_notify n = FILCH_NOTIFY_INIT;

    T_IS(filch_notify_wait(&n, FILCH_NOW), -ETIMEDOUT);
    T_OK(filch_notify_one(&n));
    T_OK(filch_notify_one(&n));
    T_OK(filch_notify_wait(&n, FILCH_NEVER));
    T_IS(filch_notify_wait(&n, FILCH_NOW), -ETIMEDOUT);
    T_OK(filch_notify_all(&n));
    T_IS(filch_notify_wait(&n, FILCH_NOW), -ETIMEDOUT);
    T_OK(filch_notify_one(&n));
    T_OK(filch_notify_all(&n)); /* leaves the permit alone */
    T_OK(filch_notify_wait(&n, FILCH_NOW));
    T_IS(filch_notify_wait(&n, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    filch_notify_fini(&n);
}

Test(notify, who_has_prepared_misses_nothing)
{
    filch_notify n, other = FILCH_NOTIFY_INIT;
    filch_notified d = FILCH_NOTIFIED_INIT;

    filch_notify_init(&n);
    T_OK(filch_notify_prepare(&n, &d));
    T_OK(filch_notify_prepare(&n, &d));
    T_IS(filch_notify_prepare(&other, &d), -EINVAL);
    T_IS(filch_notify_all(&n), 1);
    T_OK(filch_notified_wait(&d, FILCH_NOW));
    T_IS(filch_notified_wait(&d, FILCH_NOW), -EINVAL);

    T_OK(filch_notify_prepare(&n, &d));
    T_OK(filch_notify_one(&n));
    T_IS(filch_notify_wait(&n, FILCH_NOW), -ETIMEDOUT); /* it was given to d */
    T_OK(filch_notified_wait(&d, FILCH_NEVER));

    T_OK(filch_notify_one(&n));
    T_OK(filch_notify_prepare(&n, &d)); /* takes the permit */
    T_IS(filch_notify_wait(&n, FILCH_NOW), -ETIMEDOUT);
    T_OK(filch_notified_wait(&d, FILCH_NEVER));

    T_OK(filch_notify_prepare(&n, &d));
    T_IS(filch_notified_wait(&d, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(filch_notify_all(&n), 0);
    filch_notify_fini(&n);
}

Test(notify, who_abandons_passes_on_what_he_was_given)
{
    filch_notify n = FILCH_NOTIFY_INIT;
    filch_notified second = FILCH_NOTIFIED_INIT;

    {
        FILCH_NOTIFIED(first);

        T_OK(filch_notify_prepare(&n, &first));
        T_OK(filch_notify_prepare(&n, &second));
        T_OK(filch_notify_one(&n)); /* given to the first */
    }
    T_OK(filch_notified_wait(&second, FILCH_NOW));

    T_OK(filch_notify_prepare(&n, &second));
    T_OK(filch_notify_one(&n));
    filch_notified_abandon(&second);
    T_OK(filch_notify_wait(&n, FILCH_NOW)); /* nobody was there: stored */

    T_OK(filch_notify_prepare(&n, &second));
    T_IS(filch_notify_all(&n), 1);
    filch_notified_abandon(&second);
    T_IS(filch_notify_wait(&n, FILCH_NOW), -ETIMEDOUT); /* that of all is not passed on */

    T_OK(filch_notify_one(&n));
    T_OK(filch_notify_prepare(&n, &second));
    filch_notified_abandon(&second);
    filch_notified_abandon(&second);
    T_OK(filch_notify_wait(&n, FILCH_NOW));
    filch_notify_fini(&n);
}

Test(notify, last_wakes_who_came_last)
{
    filch_notify n = FILCH_NOTIFY_INIT;
    filch_notified d[3] = {FILCH_NOTIFIED_INIT, FILCH_NOTIFIED_INIT, FILCH_NOTIFIED_INIT};

    for (int i = 0; i < 3; i++)
        T_OK(filch_notify_prepare(&n, &d[i]));
    T_OK(filch_notify_last(&n)); /* the third */
    T_OK(filch_notify_one(&n));  /* the first */
    T_OK(filch_notify_last(&n)); /* the second */
    T_OK(filch_notify_last(&n)); /* nobody: stored */
    for (int i = 0; i < 3; i++)
        T_OK(filch_notified_wait(&d[i], FILCH_NOW));
    T_OK(filch_notify_one(&n)); /* the same permit */
    T_OK(filch_notify_wait(&n, FILCH_NOW));
    T_IS(filch_notify_wait(&n, FILCH_NOW), -ETIMEDOUT);

    for (int i = 0; i < 3; i++)
        T_OK(filch_notify_prepare(&n, &d[i]));
    T_OK(filch_notify_last(&n));
    T_IS(filch_notified_wait(&d[0], FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_notified_wait(&d[1], FILCH_NOW), -ETIMEDOUT);
    T_OK(filch_notified_wait(&d[2], FILCH_NOW));
    filch_notify_fini(&n);
}

Test(notify, what_was_for_the_last_is_passed_on_to_the_last)
{
    filch_notify n = FILCH_NOTIFY_INIT;
    filch_notified d[3] = {FILCH_NOTIFIED_INIT, FILCH_NOTIFIED_INIT, FILCH_NOTIFIED_INIT};

    for (int i = 0; i < 3; i++)
        T_OK(filch_notify_prepare(&n, &d[i]));
    T_OK(filch_notify_last(&n));
    filch_notified_abandon(&d[2]);
    T_OK(filch_notified_wait(&d[1], FILCH_NOW));
    T_IS(filch_notified_wait(&d[0], FILCH_NOW), -ETIMEDOUT);

    for (int i = 0; i < 3; i++)
        T_OK(filch_notify_prepare(&n, &d[i]));
    T_OK(filch_notify_one(&n));
    filch_notified_abandon(&d[0]);
    T_OK(filch_notified_wait(&d[1], FILCH_NOW));
    T_IS(filch_notified_wait(&d[2], FILCH_NOW), -ETIMEDOUT);

    T_OK(filch_notify_prepare(&n, &d[0]));
    T_OK(filch_notify_last(&n));
    filch_notified_abandon(&d[0]);
    T_OK(filch_notify_wait(&n, FILCH_NOW)); /* nobody was there: stored */
    filch_notify_fini(&n);
}

Test(notify, a_select_takes_one_and_a_loser_none)
{
    filch_notify a = FILCH_NOTIFY_INIT, b = FILCH_NOTIFY_INIT;

    T_OK(filch_notify_one(&a));
    T_OK(filch_notify_one(&b));
    T_IS(FILCH_SELECT_FIRST(FILCH_NEVER, filch_case_notified(&b), filch_case_notified(&a)), 0);
    T_IS(filch_notify_wait(&b, FILCH_NOW), -ETIMEDOUT);
    T_OK(filch_notify_wait(&a, FILCH_NOW));
    T_IS(FILCH_SELECT(filch_after(FILCH_MILLISECOND), filch_case_notified(&b),
                      filch_case_notified(&a)),
         -ETIMEDOUT);
    filch_notify_fini(&a);
    filch_notify_fini(&b);
}

/* ---- prepared, and then selected ---- */

Test(notify, a_prepared_wait_can_be_selected)
{
    filch_notify n = FILCH_NOTIFY_INIT, other = FILCH_NOTIFY_INIT;
    filch_notified d = FILCH_NOTIFIED_INIT, behind = FILCH_NOTIFIED_INIT;
    filch_case c = filch_case_prepared(&d);

    T_IS(filch_select(&c, 1, 0, FILCH_NOW), 0); /* not prepared */
    T_IS(c.result, -EINVAL);
    /* What comes before the select counts. */
    T_OK(filch_notify_prepare(&n, &d));
    T_IS(filch_notify_all(&n), 1);
    T_IS(filch_select(&c, 1, 0, FILCH_NEVER), 0);
    T_OK(c.result);
    T_IS(filch_notified_wait(&d, FILCH_NOW), -EINVAL); /* it is over */
    T_OK(filch_notify_one(&n));
    T_OK(filch_notify_prepare(&n, &d)); /* takes the permit */
    T_IS(filch_select(&c, 1, 0, FILCH_NEVER), 0);
    T_IS(filch_notify_wait(&n, FILCH_NOW), -ETIMEDOUT);

    /* As long as nothing comes it keeps its place, whatever ends the select. */
    T_OK(filch_notify_prepare(&n, &d));
    T_OK(filch_notify_prepare(&n, &behind));
    T_IS(filch_select(&c, 1, 0, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_select(&c, 1, 0, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_OK(filch_notify_one(&other));
    T_IS(FILCH_SELECT(FILCH_NEVER, filch_case_prepared(&d), filch_case_notified(&other)), 1);
    T_OK(filch_notify_one(&n)); /* to the first in line */
    T_IS(filch_notified_wait(&behind, FILCH_NOW), -ETIMEDOUT);
    T_OK(filch_notified_wait(&d, FILCH_NOW));

    /* Twice in one select: the first one stands for it. */
    T_OK(filch_notify_prepare(&n, &d));
    T_IS(FILCH_SELECT(filch_after(FILCH_MILLISECOND), filch_case_prepared(&d),
                      filch_case_prepared(&d)),
         -ETIMEDOUT);
    T_OK(filch_notify_one(&n));
    T_CHECK(FILCH_SELECT(FILCH_NEVER, filch_case_prepared(&d), filch_case_prepared(&d)) >= 0);
    T_IS(filch_notified_wait(&d, FILCH_NOW), -EINVAL);

    /* Abandoned after a select it passes on. */
    T_OK(filch_notify_prepare(&n, &d));
    T_IS(filch_select(&c, 1, 0, FILCH_NOW), -ETIMEDOUT);
    T_OK(filch_notify_one(&n));
    filch_notified_abandon(&d);
    T_OK(filch_notify_wait(&n, FILCH_NOW));
    filch_notify_fini(&n);
    filch_notify_fini(&other);
}

/* A condition, and somebody who makes it true and tells all; the one who waits for it has a future
 * to poll as well, which is never ready and always wakes. */
struct restless {
    filch_future base;
    atomic_uint polls;
};

static filch_poll restless_poll(filch_future *self, filch_cx *cx)
{
    struct restless *restless = (struct restless *)self;

    atomic_fetch_add(&restless->polls, 1);
    filch_waker_wake_by_ref(cx->waker);
    return FILCH_PENDING;
}

struct checked {
    filch_notify changed;
    atomic_uint round;
    atomic_uint seen;
};

static int tells_all(void *arg)
{
    struct checked *checked = arg;

    for (unsigned round = 1; round <= (unsigned)T_MANY(2000); round++) {
        atomic_store(&checked->round, round);
        T_CHECK(filch_notify_all(&checked->changed) >= 0);
        T_WAIT_UNTIL(atomic_load(&checked->seen) == round);
    }
    return 0;
}

static int checks_then_selects(void *arg)
{
    struct checked *checked = arg;
    struct restless restless = {.base = {.poll = restless_poll}};
    FILCH_NOTIFIED(notified);

    for (unsigned round = 1; round <= (unsigned)T_MANY(2000); round++) {
        for (;;) {
            T_OK(filch_notify_prepare(&checked->changed, &notified));
            if (atomic_load(&checked->round) >= round)
                break;
            T_IS(FILCH_SELECT(T_LIMIT, filch_case_future(&restless.base),
                              filch_case_prepared(&notified)),
                 1);
        }
        atomic_store(&checked->seen, round);
    }
    return 0;
}

static int check_then_select(void *arg)
{
    struct checked checked = {.changed = FILCH_NOTIFY_INIT};
    filch_task *task[2];

    (void)arg;
    task[0] = spawn(checks_then_selects, &checked);
    task[1] = spawn(tells_all, &checked);
    T_OK(join(task[0]));
    T_OK(join(task[1]));
    filch_notify_fini(&checked.changed);
    return 0;
}

Test(notify, who_selects_what_he_has_prepared_misses_nothing)
{
    T_OK(run_in_runtime(0, check_then_select, NULL));
    T_OK(run_in_runtime(2, check_then_select, NULL));
}

static int waits_in_a_select(void *arg)
{
    filch_notify *n = arg;
    filch_notify never = FILCH_NOTIFY_INIT;

    return FILCH_SELECT(T_LIMIT, filch_case_notified(&never), filch_case_notified(n));
}

static int last_of_selects(void *arg)
{
    filch_notify n = FILCH_NOTIFY_INIT;
    filch_task *first = spawn(waits_in_a_select, &n), *last;

    (void)arg;
    let_others_run();
    last = spawn(waits_in_a_select, &n);
    let_others_run();
    T_OK(filch_notify_last(&n));
    T_IS(join(last), 1);
    T_CHECK(!filch_task_is_finished(first));
    T_OK(filch_notify_last(&n));
    T_IS(join(first), 1);
    filch_notify_fini(&n);
    return 0;
}

Test(notify, last_finds_who_waits_in_a_select)
{
    if (!test_in_chaos()) /* there the second may be first */
        T_OK(run_in_runtime(1, last_of_selects, NULL));
}

/* ---- in order, on one worker ---- */

static int order[3], places;
static filch_notify line = FILCH_NOTIFY_INIT;

static int waits_or_is_cancelled(void *arg)
{
    int r = filch_notify_wait(&line, FILCH_NEVER);

    if (r == 0)
        order[places++] = *(int *)arg;
    return r;
}

static int cancelled_one_is_passed_over(void *arg)
{
    int number[] = {0, 1, 2};
    filch_task *task[3];

    (void)arg;
    places = 0;
    for (int i = 0; i < 3; i++) {
        task[i] = spawn(waits_or_is_cancelled, &number[i]);
        let_others_run();
    }
    T_OK(filch_task_cancel(task[0]));
    for (int i = 0; i < 3; i++) {
        T_OK(filch_notify_one(&line));
        let_others_run();
    }
    for (int i = 0; i < 3; i++)
        (void)!join(task[i]);
    /* The first one was notified before it ran, or was out of line: nothing was lost either way. */
    T_CHECK(places == 3 || (places == 2 && filch_notify_wait(&line, FILCH_NOW) == 0));
    for (int i = 1; i < places; i++)
        T_CHECK(order[i - 1] < order[i]);
    return 0;
}

Test(notify, wakes_in_order_and_loses_nothing_by_a_cancel)
{
    T_OK(run_in_runtime(1, cancelled_one_is_passed_over, NULL));
}

/* ---- check, then wait: never missed ---- */

struct queue {
    filch_notify changed;
    atomic_long items;
    atomic_long to_make;
    atomic_long taken;
    atomic_long to_take;
    atomic_ulong seeds;
};

static bool take_item(struct queue *queue)
{
    long items = atomic_load(&queue->items);

    while (items > 0)
        if (atomic_compare_exchange_weak(&queue->items, &items, items - 1))
            return true;
    return false;
}

static void take_one_somehow(struct queue *queue, uint64_t *seed)
{
    FILCH_NOTIFIED(notified);

    for (;;) {
        int r;

        T_OK(filch_notify_prepare(&queue->changed, &notified));
        if (take_item(queue))
            return;
        r = filch_notified_wait(&notified, random_below(seed, 8)
                                               ? FILCH_NEVER
                                               : filch_after(random_below(seed, 50) * 1000));
        T_CHECK(r == 0 || r == -ETIMEDOUT);
        if (take_item(queue))
            return;
        if (random_below(seed, 8) == 0) {
            r = FILCH_SELECT(filch_after(random_below(seed, 50) * 1000),
                             filch_case_notified(&queue->changed),
                             filch_case_notified(&queue->changed));
            T_CHECK(r >= 0 || r == -ETIMEDOUT);
            /* What was notified may be for another one, too: it looks below. */
            if (take_item(queue))
                return;
        }
    }
}

static int consumes(struct queue *queue, uint64_t *seed)
{
    while (atomic_fetch_sub(&queue->to_take, 1) > 0) {
        take_one_somehow(queue, seed);
        atomic_fetch_add(&queue->taken, 1);
        /* More may have been made than were notified, as two permits become one. */
        if (atomic_load(&queue->items) > 0)
            T_OK(filch_notify_one(&queue->changed));
    }
    return 0;
}

static int produces_or_consumes(void *arg)
{
    struct queue *queue = arg;
    unsigned long number = atomic_fetch_add(&queue->seeds, 1);
    uint64_t seed = number * 131071;

    if (number % 2)
        return consumes(queue, &seed);
    while (atomic_fetch_sub(&queue->to_make, 1) > 0) {
        atomic_fetch_add(&queue->items, 1);
        if (random_below(&seed, 16) == 0)
            T_CHECK(filch_notify_all(&queue->changed) >= 0);
        if (random_below(&seed, 4) == 0)
            T_OK(filch_notify_last(&queue->changed));
        else
            T_OK(filch_notify_one(&queue->changed));
        if (random_below(&seed, 8) == 0)
            filch_task_yield();
    }
    return 0;
}

static void many_notify(unsigned workers)
{
    struct queue queue = {.changed = FILCH_NOTIFY_INIT};
    long ops = (long)test_ops() / 2;

    atomic_init(&queue.to_make, ops);
    atomic_init(&queue.to_take, ops);
    crowd_run(workers, 8, 2, produces_or_consumes, &queue);
    T_IS(atomic_load(&queue.taken), ops);
    filch_notify_fini(&queue.changed);
}

Test(notify, no_notification_is_lost)
{
    many_notify(1);
    many_notify(2);
    many_notify(8);
}

/* ---- all ---- */

static int waits_for_all(void *arg)
{
    return filch_notify_wait(arg, T_LIMIT);
}

static int notifies_all(void *arg)
{
    filch_notify n = FILCH_NOTIFY_INIT;
    int woken = 0;
    FILCH_TRY_SCOPE(scope);

    (void)arg;
    for (int i = 0; i < 100; i++)
        T_OK(filch_scope_spawn(&scope, waits_for_all, &n));
    T_WAIT_UNTIL((woken += filch_notify_all(&n)) == 100);
    T_OK(filch_scope_join(&scope, T_LIMIT));
    T_IS(filch_notify_wait(&n, FILCH_NOW), -ETIMEDOUT);
    return 0;
}

Test(notify, all_are_those_that_wait)
{
    T_OK(run_in_runtime(0, notifies_all, NULL));
}
