/* Description: condition variables (sync/cond.c) with the mutex (sync/mutex.c): no signal is lost,
 * between the look and the wait or in one that gives up; the mutex is held after each wait. */
#define lock_spin cond_lock_spin
#define wait_in_list cond_wait_in_list
#define of cond_of
#include "sync/cond.c"
#undef lock_spin
#undef wait_in_list
#undef of
#include "sync/mutex.c"

#include "tests/model/model_lock.h"

static struct mutex mutex;
static struct cond cond;
static int items;
static int taken;
static int gave_up;

static filch_mutex *the_mutex(void)
{
    return (filch_mutex *)(void *)&mutex;
}

static filch_cond *the_cond(void)
{
    return (filch_cond *)(void *)&cond;
}

static void reset(void)
{
    memset(&mutex, 0, sizeof mutex);
    memset(&cond, 0, sizeof cond);
    filch_mutex_init(the_mutex());
    filch_cond_init(the_cond());
    items = taken = gave_up = 0;
}

static void take(filch_time until)
{
    int r = 0;

    xp_assert(filch_mutex_lock(the_mutex(), FILCH_NEVER) == 0);
    filch_plain_read(&items);
    while (items == 0 && r == 0) {
        r = filch_cond_wait(the_cond(), the_mutex(), until);
        filch_plain_read(&items);
    }
    if (items > 0) {
        filch_plain_write(&items);
        items--;
        taken++;
    } else {
        gave_up++;
    }
    xp_assert(filch_mutex_unlock(the_mutex()) == 0);
}

static void takes(void)
{
    take(FILCH_NEVER);
}

static void takes_or_gives_up(void)
{
    take(1);
}

static void put(int count)
{
    xp_assert(filch_mutex_lock(the_mutex(), FILCH_NEVER) == 0);
    filch_plain_write(&items);
    items += count;
    xp_assert(filch_mutex_unlock(the_mutex()) == 0);
}

static void puts_one(void)
{
    put(1);
    xp_assert(filch_cond_signal(the_cond()) >= 0);
}

static void puts_two(void)
{
    put(2);
    xp_assert(filch_cond_broadcast(the_cond()) >= 0);
}

static void all_taken(void)
{
    xp_assert(taken == 2 && items == 0);
}

static void one_taken(void)
{
    xp_assert(taken == 1 && items == 0);
}

static void one_gave_up(void)
{
    xp_assert(taken + gave_up == 2 && taken >= 1);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"one waits, one signals", 2, {takes, puts_one}, reset, one_taken, 4, false},
        {"two wait, one broadcasts", 3, {takes, takes, puts_two}, reset, all_taken, 1, false},
        {"one gives up", 3, {takes, takes_or_gives_up, puts_two}, reset, one_gave_up, 1, false},
    };
    static const struct xp_excuse excuses[] = {
        {"filch__waiter_wait load_acquire -> relaxed",
         "a waiter that gives up looks again under the lock"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
