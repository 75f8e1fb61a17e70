/* Description: the spin lock itself (runtime/base/spinlock.h, spinlock.c), which is a lock of the
 * explorer's in all other models: whoever holds it is alone, and sees what those before it did. */
#define FILCH_MODEL_SPINLOCK

#include <sched.h>

#include "runtime/base/atomic.h"

#define sched_yield() filch_cpu_relax()

#include "runtime/base/spinlock.c"

#include "tests/model/explore.h"

static filch_spinlock lock;
static int guarded;
static int sections, refused;

static void reset(void)
{
    filch_spinlock_init(&lock);
    guarded = sections = refused = 0;
}

static void section(void)
{
    filch_plain_write(&guarded);
    guarded++;
    sections++;
    filch_spinlock_unlock(&lock);
}

static void locks(void)
{
    filch_spinlock_lock(&lock);
    section();
}

static void locks_twice(void)
{
    locks();
    locks();
}

static void tries(void)
{
    if (filch_spinlock_try(&lock))
        section();
    else
        refused++;
}

static void expects_it_free(void)
{
    if (filch_spinlock_try_free(&lock))
        section();
    else
        refused++;
}

static void all_sections_ran(void)
{
    xp_assert(guarded == sections);
    xp_assert(xp_peek(&lock.held.location) == 0);
}

static void two_ran(void)
{
    xp_assert(sections == 2);
    all_sections_ran();
}

static void three_ran(void)
{
    xp_assert(sections == 3);
    all_sections_ran();
}

static void two_ran_or_one_was_refused(void)
{
    xp_assert(sections + refused == 2 && refused <= 1);
    all_sections_ran();
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"two hold it in turn", 2, {locks, locks}, reset, two_ran, -1, false},
        {"three hold it in turn", 3, {locks, locks, locks}, reset, three_ran, 3, false},
        {"one comes back", 2, {locks_twice, locks}, reset, three_ran, -1, false},
        {"one tries", 2, {locks, tries}, reset, two_ran_or_one_was_refused, -1, false},
        {"one expects it to be free",
         2,
         {locks, expects_it_free},
         reset,
         two_ran_or_one_was_refused,
         -1,
         false},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), NULL, 0);
}
