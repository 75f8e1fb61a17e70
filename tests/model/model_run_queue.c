/* Description: the run queue (runtime/sched/run_queue.c) with a ring of 4 and chunks of 3, in two
 * columns: an owner against thieves; no task is lost or taken twice. And against one that only
 * looks how long it is. */
#define FILCH__RING_SLOTS 4
#define FILCH__CHUNK 3
#define FILCH__CHUNK_COLUMNS 2
#include "runtime/sched/run_queue.c"

#include <string.h>

#include "tests/model/explore.h"

#define TASKS 8

static struct filch__run_queue queue;
static struct filch__run_queue thief_queue[2];
static struct filch__task tasks[TASKS];
static int payload[TASKS];
static int taken[TASKS];
static int last_own;

static void reset(void)
{
    filch__run_queue_init(&queue);
    filch__run_queue_init(&thief_queue[0]);
    filch__run_queue_init(&thief_queue[1]);
    memset(taken, 0, sizeof taken);
    last_own = -1;
}

static void push(int i)
{
    payload[i] = i;
    filch_plain_write(&payload[i]);
    filch__run_queue_push(&queue, &tasks[i]);
}

static int run_task(struct filch__task *task)
{
    int i = (int)(task - tasks);

    filch_plain_read(&payload[i]);
    filch_plain_write(&taken[i]);
    xp_assert(!taken[i]);
    taken[i] = 1;
    return i;
}

static bool pop(void)
{
    struct filch__task *task = filch__run_queue_pop(&queue);
    int i;

    if (!task)
        return false;
    i = run_task(task);
    xp_assert(i > last_own); /* first in, first out */
    last_own = i;
    return true;
}

static void owner_3(void)
{
    push(0);
    push(1);
    pop();
    push(2);
    while (pop())
        ;
}

/* Full, so that a thief has something left to be robbed of. */
static void owner_4(void)
{
    for (int i = 0; i < 4; i++)
        push(i);
    while (pop())
        ;
}

/* Overflows the ring into the list. */
static void owner_overflow(void)
{
    for (int i = 0; i < 6; i++)
        push(i);
    while (pop())
        ;
}

/* Fills slots again that a thief may be reading. */
static void owner_wraps(void)
{
    for (int i = 0; i < 3; i++)
        push(i);
    pop();
    pop();
    for (int i = 3; i < 6; i++)
        push(i);
    while (pop())
        ;
}

static void steal(struct filch__run_queue *own)
{
    unsigned moved;
    struct filch__task *task = filch__run_queue_steal(&queue, own, &moved);

    while (task) {
        run_task(task);
        task = filch__run_queue_pop(own);
    }
}

static void thief_0(void)
{
    steal(&thief_queue[0]);
}

/* A busy worker helps: one at a time, behind what it has itself. */
static void mover(void)
{
    struct filch__task *task;

    (void)filch__run_queue_move(&queue, &thief_queue[0], 2);
    while ((task = filch__run_queue_pop(&thief_queue[0])))
        run_task(task);
}

static void thief_0_twice(void)
{
    steal(&thief_queue[0]);
    steal(&thief_queue[0]);
}

static void thief_1(void)
{
    steal(&thief_queue[1]);
}

static void all_of_3(void)
{
    for (int i = 0; i < 3; i++)
        xp_assert(taken[i]);
}

static void all_of_4(void)
{
    for (int i = 0; i < 4; i++)
        xp_assert(taken[i]);
}

static void all_of_6(void)
{
    for (int i = 0; i < 6; i++)
        xp_assert(taken[i]);
}

/* A thief robs a thief that has just stolen. */
static void robber(void)
{
    unsigned moved;
    struct filch__task *task = filch__run_queue_steal(&thief_queue[0], &thief_queue[1], &moved);

    while (task) {
        run_task(task);
        task = filch__run_queue_pop(&thief_queue[1]);
    }
}

/* ---- looks from outside ---- */

static filch_atomic_u32 both_there;

static bool both_are_there(void *arg)
{
    (void)arg;
    return xp_peek(&both_there.location) != 0;
}

/* The first of two is there already. */
static void reset_one_there(void)
{
    reset();
    filch_atomic_init(&both_there, 0);
    filch_atomic_init(&queue.slot[0], &tasks[0]);
    filch_atomic_init(&queue.tail, 1);
}

static void pushes_the_second(void)
{
    push(1);
    filch_store_release(&both_there, 1);
}

/* Takes one of the two, so the other one stays. */
static void takes_the_first(void)
{
    unsigned moved;

    xp_block_until(both_are_there, NULL);
    if (filch_load_acquire(&both_there))
        xp_assert(filch__run_queue_steal(&queue, &thief_queue[0], &moved) == &tasks[0]);
}

static void sees_that_it_is_not_empty(void)
{
    xp_assert(!filch__run_queue_is_empty(&queue));
}

/* What moves from the list to the ring is not counted in both. */
static void sees_at_most_6(void)
{
    xp_assert(filch__run_queue_length(&queue) <= 6);
}

static void nothing(void)
{
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"owner against a thief", 2, {owner_3, thief_0_twice}, reset, all_of_3, 3, false},
        {"owner against two thieves", 3, {owner_3, thief_0, thief_1}, reset, all_of_3, 2, false},
        {"overflow into the list", 2, {owner_overflow, thief_0}, reset, all_of_6, 3, false},
        {"slots are filled again", 2, {owner_wraps, thief_0}, reset, all_of_6, 2, false},
        {"a mover against the owner and a thief",
         3,
         {owner_3, mover, thief_1},
         reset,
         all_of_3,
         2,
         false},
        {"a mover and the list", 2, {owner_overflow, mover}, reset, all_of_6, 2, false},
        {"a look at what was never empty",
         3,
         {pushes_the_second, takes_the_first, sees_that_it_is_not_empty},
         reset_one_there,
         nothing,
         -1,
         false},
        {"a look at what moves from the list to the ring",
         2,
         {owner_overflow, sees_at_most_6},
         reset,
         all_of_6,
         3,
         false},
        {"a thief is robbed", 3, {owner_4, thief_0, robber}, reset, all_of_4, 2, false},
    };
    static const struct xp_excuse excuses[] = {
        {"filch__run_queue_pop load_acquire -> relaxed",
         "the owner reads its own slots; a stale head makes the CAS fail"},
        {"filch__run_queue_pop cas_weak_acq_rel -> release", "the owner wrote the slots itself"},
        {"filch__run_queue_pop cas_weak_acq_rel -> acquire",
         "the slot's next store is the owner's own, ordered by coherence"},
        {"ring_grab cas_weak_acq_rel -> release",
         "the slots were published by the tail, which was read before"},
        {"ring_grab load_acquire -> relaxed", "a stale head makes the CAS fail"},
        {"ring_take cas_weak_acq_rel -> release",
         "the slot was published by the tail, which was read before"},
        {"ring_take cas_weak_acq_rel -> acquire",
         "keeps the read of the slot before the claim; the explorer never delays a load"},
        {"ring_take load_acquire -> relaxed", "a stale head makes the CAS fail"},
        {"filch__run_queue_push load_acquire -> relaxed",
         "keeps a thief's read of a slot before the slot is filled again; the explorer never "
         "delays a load past the CAS"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
