/* Description: semaphores (sync/semaphore.c): the fast ways against the frozen word, requests of
 * two sizes, giving up at the head, and close. No permit lost or doubled, nobody left waiting who
 * could go, and what was done before a release is seen by who acquires. */
#include <string.h>

#include "sync/semaphore.c"

#include "tests/model/model_waiter.h"

static struct semaphore model_semaphore;
static uint32_t guarded; /* by the one permit, where there is one */
static int taken;
static int results[4];

#define SEMAPHORE ((filch_semaphore *)(void *)&model_semaphore)

static void reset(uint64_t permits)
{
    (void)filch_semaphore_init(SEMAPHORE, permits);
    taken = 0;
    memset(results, 0, sizeof results);
}

static void reset_none(void)
{
    reset(0);
}

static void reset_one(void)
{
    reset(1);
}

static void uses_guarded(void)
{
    if (filch_semaphore_acquire(SEMAPHORE, 1, FILCH_NEVER) != 0)
        return;
    filch_plain_write(&guarded);
    filch_semaphore_release(SEMAPHORE, 1);
}

static void uses_guarded_or_gives_up(void)
{
    if (filch_semaphore_acquire(SEMAPHORE, 1, 1) != 0)
        return;
    filch_plain_write(&guarded);
    filch_semaphore_release(SEMAPHORE, 1);
}

static void acquires(uint64_t n, filch_time until)
{
    int r = filch_semaphore_acquire(SEMAPHORE, n, until);

    results[xp_thread()] = r;
    if (r == 0)
        taken += (int)n;
}

static void acquires_one(void)
{
    acquires(1, FILCH_NEVER);
}

static void acquires_two(void)
{
    acquires(2, FILCH_NEVER);
}

static void acquires_two_or_gives_up(void)
{
    acquires(2, 1);
}

static void releases_three(void)
{
    filch_semaphore_release(SEMAPHORE, 2);
    filch_semaphore_release(SEMAPHORE, 1);
}

static void releases_one(void)
{
    filch_semaphore_release(SEMAPHORE, 1);
}

static void closes(void)
{
    filch_semaphore_close(SEMAPHORE);
}

static uint64_t permits_left(void)
{
    xp_assert(!(xp_peek(&model_semaphore.state.location) & WAITERS));
    return xp_peek(&model_semaphore.state.location) / ONE;
}

static void one_is_back(void)
{
    xp_assert(permits_left() == 1);
}

static void three_in_all(void)
{
    xp_assert(taken + permits_left() == 3);
}

static void one_or_sent_away(void)
{
    xp_assert(taken + permits_left() == 1);
    for (int i = 0; i < 4; i++)
        xp_assert(results[i] == 0 || results[i] == -EPIPE);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"one permit as a lock",
         3,
         {uses_guarded, uses_guarded, uses_guarded},
         reset_one,
         one_is_back,
         2,
         false},
        {"one permit as a lock, somebody gives up",
         3,
         {uses_guarded, uses_guarded_or_gives_up, uses_guarded},
         reset_one,
         one_is_back,
         2,
         false},
        {"two sizes",
         3,
         {acquires_two, acquires_one, releases_three},
         reset_none,
         three_in_all,
         2,
         false},
        {"the large one gives up",
         3,
         {acquires_two_or_gives_up, acquires_one, releases_three},
         reset_none,
         three_in_all,
         2,
         false},
        {"close", 3, {acquires_one, closes, releases_one}, reset_none, one_or_sent_away, 2, false},
    };
    static const struct xp_excuse excuses[] = {
        {"lock_freeze fetch_or_acq_rel -> acquire", "unlock_thaw() publishes"},
        {"filch_semaphore_release cas_weak_acq_rel -> release", "it takes nothing over"},
        {"take_fast cas_weak_acq_rel -> acquire", "it publishes nothing"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
