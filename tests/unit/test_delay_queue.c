/* Description: delay queues: order, reset and removal against a simple model, consumers that wait
 * for the clock, close, selects; each item comes out once, and not early. */
#include <errno.h>

#include <criterion/criterion.h>

#include "tests/runner/crowd.h"

TestSuite(delay_queue, .timeout = 120);

struct entry {
    filch_delay_item item;
    filch_time at;
    uint64_t number;
    bool queued;
};

static struct entry *entry_of(filch_delay_item *item)
{
    return (struct entry *)(void *)item;
}

static filch_delay_item *next_now(filch_delay_queue *queue)
{
    filch_delay_item *item = NULL;
    int r = filch_delay_queue_next(queue, &item, FILCH_NOW);

    T_CHECK(r == 0 || (r == -ETIMEDOUT && !item));
    return item;
}

Test(delay_queue, equal_times_come_out_in_order)
{
    filch_delay_queue q = FILCH_DELAY_QUEUE_INIT;
    struct entry entry[100] = {0};

    for (int i = 0; i < 100; i++)
        T_OK(filch_delay_queue_insert(&q, &entry[i].item, 5));
    T_OK(filch_delay_queue_reset(&q, &entry[3].item, 5)); /* now the last one of them */
    for (int i = 0; i < 100; i++)
        if (i != 3)
            T_CHECK(next_now(&q) == &entry[i].item);
    T_CHECK(next_now(&q) == &entry[3].item);
    T_CHECK(!next_now(&q));
    filch_delay_queue_fini(&q);
}

Test(delay_queue, refuses_what_cannot_be)
{
    filch_delay_queue q, other = FILCH_DELAY_QUEUE_INIT;
    struct entry a = {0}, b = {0};
    filch_delay_item *item = &b.item;

    filch_delay_queue_init(&q);
    T_IS(filch_delay_queue_remove(&q, &a.item), -ESRCH);
    T_IS(filch_delay_queue_reset(&q, &a.item, 1), -ESRCH);
    T_OK(filch_delay_queue_insert(&q, &a.item, FILCH_NEVER));
    T_IS(filch_delay_queue_insert(&q, &a.item, 1), -EBUSY);
    T_IS(filch_delay_queue_insert(&other, &a.item, 1), -EBUSY);
    T_IS(filch_delay_queue_remove(&other, &a.item), -ESRCH);
    T_IS(filch_delay_queue_len(&q), 1);
    T_OK(filch_delay_queue_close(&q));
    T_IS(filch_delay_queue_insert(&q, &b.item, 1), -EPIPE);
    T_IS(filch_delay_queue_next(&q, &item, FILCH_NOW), -ETIMEDOUT); /* it has one left */
    T_CHECK(item == &b.item);
    T_OK(filch_delay_queue_reset(&q, &a.item, FILCH_NOW));
    T_OK(filch_delay_queue_next(&q, &item, FILCH_NEVER));
    T_CHECK(item == &a.item);
    T_IS(filch_delay_queue_next(&q, &item, FILCH_NEVER), -EPIPE);
    T_IS(filch_delay_queue_len(&q), 0);
    filch_delay_queue_fini(&q);
    filch_delay_queue_fini(&other);
}

#define ENTRIES 200

static struct entry *model_first(struct entry *entry)
{
    struct entry *first = NULL;

    for (int i = 0; i < ENTRIES; i++)
        if (entry[i].queued && (!first || entry[i].at < first->at ||
                                (entry[i].at == first->at && entry[i].number < first->number)))
            first = &entry[i];
    return first;
}

/* All times are in the past: what is there comes out, in order. */
Test(delay_queue, agrees_with_a_simple_model)
{
    static struct entry entry[ENTRIES];
    filch_delay_queue q = FILCH_DELAY_QUEUE_INIT;
    uint64_t seed = 3, number = 0;
    size_t count = 0;

    for (unsigned long op = test_ops(); op > 0; op--) {
        struct entry *e = &entry[random_below(&seed, ENTRIES)];
        filch_time at = 1 + random_below(&seed, 50);
        filch_delay_item *item;

        switch (random_below(&seed, 5)) {
        case 0:
        case 1:
            T_IS(filch_delay_queue_insert(&q, &e->item, at), e->queued ? -EBUSY : 0);
            if (!e->queued) {
                *e = (struct entry){e->item, at, number++, true};
                count++;
            }
            break;
        case 2:
            T_IS(filch_delay_queue_reset(&q, &e->item, at), e->queued ? 0 : -ESRCH);
            if (e->queued) {
                e->at = at;
                e->number = number++;
            }
            break;
        case 3:
            T_IS(filch_delay_queue_remove(&q, &e->item), e->queued ? 0 : -ESRCH);
            count -= e->queued;
            e->queued = false;
            break;
        case 4:
            item = next_now(&q);
            T_CHECK((item ? entry_of(item) : NULL) == model_first(entry));
            if (item) {
                entry_of(item)->queued = false;
                count--;
            }
        }
        T_IS(filch_delay_queue_len(&q), count);
    }
}

/* ---- consumers ---- */

static int takes_one(void *arg)
{
    filch_delay_item *item;

    return filch_delay_queue_next(arg, &item, T_LIMIT);
}

static int waits_for_items(void *arg)
{
    filch_delay_queue q = FILCH_DELAY_QUEUE_INIT;
    struct entry late = {0}, early = {0};
    filch_delay_item *item;
    filch_task *task[2];

    (void)arg;
    T_OK(filch_delay_queue_insert(&q, &late.item, filch_after(3600 * FILCH_SECOND)));
    task[0] = spawn(takes_one, &q);
    let_others_run();
    task[1] = spawn(takes_one, &q);
    let_others_run();
    /* An earlier one is not waited for with the time of the late one. */
    T_OK(filch_delay_queue_insert(&q, &early.item, filch_after(5 * FILCH_MILLISECOND)));
    T_WAIT_UNTIL(filch_delay_queue_len(&q) == 1);
    /* Nor is one that was reset; by the other one, even if the leader has gone. */
    T_OK(filch_delay_queue_reset(&q, &late.item, filch_after(5 * FILCH_MILLISECOND)));
    T_OK(join(task[0]));
    T_OK(join(task[1]));
    T_OK(filch_delay_queue_insert(&q, &early.item, filch_after(5 * FILCH_MILLISECOND)));
    T_IS(FILCH_SELECT(filch_after(1), filch_case_delay(&q, &item)), -ETIMEDOUT);
    T_IS(FILCH_SELECT(FILCH_NEVER, filch_case_delay(&q, &item)), 0);
    T_CHECK(item == &early.item);
    task[0] = spawn(takes_one, &q);
    let_others_run();
    T_OK(filch_delay_queue_close(&q));
    T_IS(join(task[0]), -EPIPE);
    T_IS(FILCH_SELECT(FILCH_NEVER, filch_case_delay(&q, &item)), 0);
    filch_delay_queue_fini(&q);
    return 0;
}

Test(delay_queue, who_waits_gets_the_earliest)
{
    T_OK(run_in_runtime(0, waits_for_items, NULL));
}

struct many {
    filch_delay_queue queue;
    filch_notify never;
    struct entry *entries;
    atomic_long to_insert;
    atomic_long out;
    atomic_ulong seeds;
    long total;
};

static int next_somehow(struct many *many, uint64_t *seed, filch_delay_item **ret_item)
{
    filch_case cases[2] = {filch_case_delay(&many->queue, ret_item),
                           filch_case_notified(&many->never)};
    int r;

    switch (random_below(seed, 4)) {
    case 0:
        return filch_delay_queue_next(&many->queue, ret_item,
                                      filch_after(random_below(seed, 200) * 1000));
    case 1:
        r = filch_select(cases, 2, 0, filch_after(random_below(seed, 200) * 1000));
        return r < 0 ? r : cases[0].result;
    case 2:
        r = filch_select(cases, 2, 0, FILCH_NEVER);
        return r < 0 ? r : cases[0].result;
    default:
        return filch_delay_queue_next(&many->queue, ret_item, FILCH_NEVER);
    }
}

static int inserts(struct many *many, uint64_t *seed)
{
    long i;

    while ((i = atomic_fetch_sub(&many->to_insert, 1) - 1) >= 0) {
        struct entry *e = &many->entries[i];

        e->at = filch_after(random_below(seed, 300) * 1000);
        T_OK(filch_delay_queue_insert(&many->queue, &e->item, e->at));
        if (random_below(seed, 4) == 0)
            filch_task_yield();
    }
    return 0;
}

static int inserts_or_takes(void *arg)
{
    struct many *many = arg;
    unsigned long number = atomic_fetch_add(&many->seeds, 1);
    uint64_t seed = number * 65537;

    if (number % 2)
        return inserts(many, &seed);
    for (;;) {
        filch_delay_item *item = NULL;
        int r = next_somehow(many, &seed, &item);

        if (r == -EPIPE)
            return 0;
        if (r == -ETIMEDOUT)
            continue;
        T_OK(r);
        T_CHECK(entry_of(item)->at <= filch_now());
        T_CHECK(!entry_of(item)->queued);
        entry_of(item)->queued = true; /* was here */
        if (atomic_fetch_add(&many->out, 1) + 1 == many->total)
            T_OK(filch_delay_queue_close(&many->queue));
    }
}

static void many_take(unsigned workers)
{
    struct many many = {.queue = FILCH_DELAY_QUEUE_INIT, .never = FILCH_NOTIFY_INIT};

    many.total = (long)test_ops() / 6;
    many.entries = calloc((size_t)many.total, sizeof *many.entries);
    T_CHECK(many.entries);
    atomic_init(&many.to_insert, many.total);
    crowd_run(workers, 8, 3, inserts_or_takes, &many);
    T_IS(atomic_load(&many.out), many.total);
    filch_delay_queue_fini(&many.queue);
    free(many.entries);
}

Test(delay_queue, each_item_comes_out_once)
{
    many_take(1);
    many_take(2);
    many_take(8);
}
