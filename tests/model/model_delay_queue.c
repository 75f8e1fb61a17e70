/* Description: delay queues (sync/delay_queue.c): takers of which one leads, who give up at any
 * moment, against somebody who inserts, removes and closes. No item is lost or taken twice, nobody
 * waits while an item is due, and what was written before the insert is seen by the taker. */
#include <string.h>

#include "sync/delay_queue.c"

#include "tests/model/model_waiter.h"

enum { ITEMS = 2 };

static struct queue model_queue;
static filch_delay_item items[ITEMS];
static int content[ITEMS]; /* plain: the queue carries it */
static int taken[ITEMS];
static int removed;
static filch_time now;

#define QUEUE ((filch_delay_queue *)(void *)&model_queue)

/* Each look at the clock is later, so that times come. */
filch_time filch_now(void)
{
    return now += 10;
}

static void reset(void)
{
    memset(&model_queue, 0, sizeof model_queue);
    filch_spinlock_init(&model_queue.lock);
    filch__list_init(&model_queue.waiters);
    memset(items, 0, sizeof items);
    memset(content, 0, sizeof content);
    memset(taken, 0, sizeof taken);
    removed = 0;
    now = 0;
}

static void insert(int i, filch_time at)
{
    filch_plain_write(&content[i]);
    content[i] = 1;
    xp_assert(filch_delay_queue_insert(QUEUE, &items[i], at) == 0);
}

/* One that is due later, and one that comes before it and is due at once. */
static void inserts_two_and_closes(void)
{
    insert(0, 5);
    insert(1, FILCH_NOW);
    filch_delay_queue_close(QUEUE);
}

static void inserts_one_and_closes(void)
{
    insert(0, FILCH_NOW);
    filch_delay_queue_close(QUEUE);
}

static void inserts_removes_and_closes(void)
{
    insert(0, FILCH_NOW);
    removed = filch_delay_queue_remove(QUEUE, &items[0]) == 0;
    filch_delay_queue_close(QUEUE);
}

static int take(filch_time until)
{
    filch_delay_item *item = NULL;
    int r = filch_delay_queue_next(QUEUE, &item, until);
    long i = item - items;

    if (r < 0)
        return r;
    filch_plain_read(&content[i]);
    xp_assert(content[i]);
    filch_plain_write(&taken[i]);
    taken[i]++;
    return 0;
}

static void takes_to_the_end(void)
{
    int r;

    while ((r = take(FILCH_NEVER)) == 0)
        ;
    xp_assert(r == -EPIPE);
}

static void takes_or_gives_up(void)
{
    int r = take(1);

    xp_assert(r == 0 || r == -EPIPE || r == -ETIMEDOUT);
}

static void both_were_taken(void)
{
    xp_assert(taken[0] == 1 && taken[1] == 1 && !model_queue.root && !model_queue.count);
}

static void one_was_taken(void)
{
    xp_assert(taken[0] == 1 && !model_queue.root);
}

static void taken_or_removed(void)
{
    xp_assert(taken[0] + removed == 1 && !model_queue.root);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"two takers, two items",
         3,
         {takes_to_the_end, takes_to_the_end, inserts_two_and_closes},
         reset,
         both_were_taken,
         2,
         false},
        {"one of the takers gives up",
         3,
         {takes_to_the_end, takes_or_gives_up, inserts_one_and_closes},
         reset,
         one_was_taken,
         2,
         false},
        {"an item is removed",
         3,
         {takes_to_the_end, takes_or_gives_up, inserts_removes_and_closes},
         reset,
         taken_or_removed,
         2,
         false},
    };
    static const struct xp_excuse excuses[] = {
        {"filch__waiter_wait load_acquire -> relaxed", "an item is looked for under the lock"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
