/* Description: a function that is called once (sync/once.c): callers against each other, against
 * one whose attempt fails, one that gives up, those that only look or wait, and one that sets. Made
 * exactly once, and whoever has it sees what was made. A cell is a plain pointer beside it: here
 * `made`, but where one is set. */
#include <string.h>

#include "tests/model/model_lock.h"

#include "sync/once.c"

static struct once model_once;
static int made;     /* how often; plain: the once alone publishes it */
static int failures; /* attempts that are to fail */
static int got;

#define ONCE ((filch_once *)(void *)&model_once)

uint64_t filch__owner_self(void)
{
    return (uint64_t)xp_thread() + 1;
}

static void reset_n(int to_fail)
{
    filch_once_init(ONCE);
    made = got = 0;
    failures = to_fail;
}

static void reset(void)
{
    reset_n(0);
}

static void reset_failing(void)
{
    reset_n(1);
}

static int make(void *arg)
{
    (void)arg;
    filch_plain_write(&failures);
    if (failures) {
        failures--;
        return -EIO;
    }
    filch_plain_write(&made);
    made++;
    return 0;
}

static void use(void)
{
    filch_plain_read(&made);
    xp_assert(made == 1);
    got++;
}

static int get(filch_time until)
{
    int r = filch_once_do(ONCE, make, NULL, until);

    if (r == 0)
        use();
    return r;
}

static void gets(void)
{
    int r = get(FILCH_NEVER);

    xp_assert(r == 0 || r == -EIO);
}

static void gets_or_gives_up(void)
{
    int r = get(1);

    xp_assert(r == 0 || r == -EIO || r == -ETIMEDOUT);
}

static void peeks(void)
{
    if (filch_once_is_done(ONCE))
        use();
}

/* Only waits. */
static void awaits(void)
{
    xp_assert(filch_once_wait(ONCE, FILCH_NEVER) == 0);
    use();
}

static void awaits_or_gives_up(void)
{
    int r = filch_once_wait(ONCE, 1);

    xp_assert(r == 0 || r == -ETIMEDOUT);
    if (r == 0)
        use();
}

static void tries(void)
{
    int r = filch_once_try_do(ONCE, make, NULL);

    xp_assert(r == 0 || r == -EALREADY || r == -EBUSY || r == -EIO);
    if (r == 0 || r == -EALREADY)
        use();
}

/* A select that another case has won. */
static void has_lost(void)
{
    struct filch__waiter_group group;
    struct filch__waiter waiter;

    filch_atomic_init(&group.winner, FILCH__GROUP_OWNER);
    filch__waiter_init(&waiter, FILCH_WAIT_ONCE);
    waiter.group = &group;
    waiter.index = 0;
    if (enlist(&model_once, &waiter, &waiter) == FILCH__ENLIST_WAITS)
        (void)leave(&model_once, &waiter);
}

static void made_once(void)
{
    xp_assert(made == 1 && xp_peek(&model_once.state.location) == DONE);
}

/* With two callers the second attempt succeeds; one alone may have failed and left it. */
static void made_once_or_new(void)
{
    uint64_t state = xp_peek(&model_once.state.location);

    xp_assert(state == DONE ? made == 1 : made == 0 && state == NEW && !got);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"three callers", 3, {gets, gets, gets}, reset, made_once, 2, false},
        {"a caller and two that look", 3, {gets, peeks, peeks}, reset, made_once, 3, false},
        {"the first attempt fails", 3, {gets, gets, peeks}, reset_failing, made_once, 2, false},
        {"one gives up", 3, {gets, gets_or_gives_up, gets}, reset, made_once, 2, false},
        {"one makes, two wait", 3, {gets, awaits, awaits}, reset, made_once, 3, false},
        {"one waits, one gives up, one makes",
         3,
         {awaits, awaits_or_gives_up, gets},
         reset,
         made_once,
         3,
         false},
        {"who waits is not asked to make it",
         3,
         {gets, awaits, gets},
         reset_failing,
         made_once,
         2,
         false},
        {"two try, one waits", 3, {tries, tries, awaits}, reset, made_once, 3, false},
        {"one tries, one gets", 3, {tries, gets, peeks}, reset, made_once, 3, false},
        {"one who has lost", 3, {has_lost, gets, awaits}, reset, made_once, 3, false},
        {"one fails, one gives up",
         2,
         {gets, gets_or_gives_up},
         reset_failing,
         made_once_or_new,
         4,
         false},
    };
    static const struct xp_excuse excuses[] = {
        {"failed store_release -> relaxed", "what was done by an attempt that failed counts for "
                                            "nothing; the next one has the lock"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
