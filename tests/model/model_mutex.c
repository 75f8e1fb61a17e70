/* Description: mutexes (sync/mutex.c): mutual exclusion, with what the mutex guards as plain
 * memory; no waiter is left behind; a waiter that gives up as it is woken, or given the mutex. */
#include "sync/mutex.c"

#include "tests/model/model_lock.h"

static struct mutex mutex;
static int guarded;
static int entered;

static filch_mutex *it(void)
{
    return (filch_mutex *)(void *)&mutex;
}

static void reset(void)
{
    memset(&mutex, 0, sizeof mutex);
    filch_mutex_init(it());
    guarded = entered = 0;
    model_now = 0;
    model_tick = 0;
}

/* Each look at the clock is a millisecond later: who loses once is given it. */
static void reset_starving(void)
{
    reset();
    model_tick = STARVED_NS;
}

static void enter(filch_time until)
{
    if (filch_mutex_lock(it(), until) < 0)
        return;
    filch_plain_write(&guarded);
    xp_assert(++guarded == 1);
    entered++;
    guarded--;
    filch_plain_write(&guarded);
    xp_assert(filch_mutex_unlock(it()) == 0);
}

static void once_each(void)
{
    enter(FILCH_NEVER);
}

static void twice_each(void)
{
    enter(FILCH_NEVER);
    enter(FILCH_NEVER);
}

static void gives_up(void)
{
    enter(1);
}

static void tries(void)
{
    enter(FILCH_NOW);
}

/* As a select that has one case. */
static void as_a_case(void)
{
    struct filch__waiter_group group;
    struct filch__waiter waiter;
    filch_case c = filch_case_lock(it());

    filch_atomic_init(&group.winner, 0);
    filch__waiter_init(&waiter, FILCH_WAIT_MUTEX);
    waiter.group = &group;
    waiter.index = 0;
    switch (case_enlist(&c, &waiter)) {
    case FILCH__ENLIST_LOST:
        xp_fail("nobody else claims");
        break;
    case FILCH__ENLIST_WAITS:
        if (filch__waiter_group_claim(&group, FILCH__GROUP_OWNER)) {
            case_delist(&c, &waiter, false);
            return;
        }
        filch__waiter_wait_shielded(&waiter);
        case_delist(&c, &waiter, true);
        break;
    case FILCH__ENLIST_TAKEN:
        break;
    }
    filch_plain_write(&guarded);
    xp_assert(++guarded == 1);
    guarded--;
    filch_plain_write(&guarded);
    xp_assert(filch_mutex_unlock(it()) == 0);
}

static void is_free(void)
{
    xp_assert(xp_peek(&mutex.word.location) == 0);
    xp_assert(!mutex.waiters.next || filch__list_is_empty(&mutex.waiters));
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"three lock", 3, {once_each, once_each, once_each}, reset, is_free, 2, false},
        {"overtaking", 2, {twice_each, twice_each}, reset, is_free, 4, false},
        {"starving ones are given it",
         2,
         {twice_each, twice_each},
         reset_starving,
         is_free,
         4,
         false},
        {"one gives up", 3, {once_each, gives_up, once_each}, reset, is_free, 2, false},
        {"one gives up and starves",
         3,
         {twice_each, gives_up, once_each},
         reset_starving,
         is_free,
         2,
         false},
        {"one tries", 3, {once_each, tries, once_each}, reset, is_free, 2, false},
        {"a select against a waiter",
         3,
         {once_each, as_a_case, once_each},
         reset,
         is_free,
         2,
         false},
    };
    static const struct xp_excuse excuses[] = {
        {"filch__waiter_wait load_acquire -> relaxed",
         "a waiter that gives up looks again under the lock"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
