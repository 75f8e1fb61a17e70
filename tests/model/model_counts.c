/* Description: barriers and wait groups (sync/barrier.c, sync/waitgroup.c): one leader for each
 * round, participants that give up; no wait that ends early, none that never ends, what was done
 * before is visible after, and nothing touches a group once the wait for it has returned. */
#include "sync/barrier.c"
#undef CLOSED
#include "sync/waitgroup.c"

#include "tests/model/model_waiter.h"

static struct barrier model_barrier;
static struct waitgroup model_group;
static uint32_t payload[3];
static int leaders, arrived, gave_up;
static bool closed;

#define BARRIER ((filch_barrier *)(void *)&model_barrier)
#define GROUP ((filch_waitgroup *)(void *)&model_group)

void filch__log(const struct filch__log *log, filch_log_level level, const char *format, ...)
{
    (void)log;
    (void)level;
    (void)format;
}

static void reset_barrier(void)
{
    (void)filch_barrier_init(BARRIER, 2);
    leaders = arrived = gave_up = 0;
}

static void reset_group(void)
{
    (void)filch_waitgroup_init(GROUP, 0);
    filch_atomic_init(&model_group.state, 2 * ONE);
    closed = false;
}

static void reset_gate(void)
{
    (void)filch_waitgroup_init(GROUP, FILCH_WAITGROUP_UNTIL_CLOSED);
    closed = false;
}

static void arrives(void)
{
    filch_plain_write(&payload[xp_thread()]);
    leaders += filch_barrier_wait(BARRIER, FILCH_NEVER);
    filch_plain_read(&payload[0]);
    filch_plain_read(&payload[1]);
}

static void arrives_twice(void)
{
    leaders += filch_barrier_wait(BARRIER, FILCH_NEVER);
    leaders += filch_barrier_wait(BARRIER, FILCH_NEVER);
}

static void arrives_or_gives_up(void)
{
    int r = filch_barrier_wait(BARRIER, 1);

    if (r >= 0)
        leaders += r;
    else
        gave_up++;
}

static void one_leader(void)
{
    xp_assert(leaders == 1 && model_barrier.arrived == 0);
}

static void two_leaders(void)
{
    xp_assert(leaders == 2 && model_barrier.arrived == 0);
}

/* Who comes later meets the one that waits, or leads, or has given up alone. */
static void one_round_at_most(void)
{
    xp_assert(model_barrier.arrived == 0);
    xp_assert(leaders == (gave_up <= 1));
    xp_assert(gave_up == 1 || gave_up == 3);
}

static void is_done(void)
{
    filch_plain_write(&payload[xp_thread()]);
    filch_waitgroup_done(GROUP);
}

static void is_done_twice(void)
{
    is_done();
    is_done();
}

/* The frame goes: whoever touches it later makes a race. */
static void waits_and_goes(void)
{
    xp_assert(filch_waitgroup_wait(GROUP, FILCH_NEVER) == 0);
    xp_assert(xp_peek(&model_group.state.location) < ONE);
    filch_plain_read(&payload[0]);
    filch_plain_read(&payload[1]);
}

static void waits_or_gives_up(void)
{
    if (filch_waitgroup_wait(GROUP, 1) == 0)
        filch_plain_read(&payload[0]);
}

static void enters_and_leaves(void)
{
    if (filch_waitgroup_add(GROUP, 1) < 0)
        return;
    xp_assert(!closed);
    filch_plain_write(&payload[xp_thread()]);
    filch_waitgroup_done(GROUP);
}

static void closes_and_waits(void)
{
    filch_waitgroup_close(GROUP);
    xp_assert(filch_waitgroup_wait(GROUP, FILCH_NEVER) == 0);
    closed = true;
    filch_plain_read(&payload[0]);
    filch_plain_read(&payload[1]);
}

static void nobody_waits(void)
{
    xp_assert(!(xp_peek(&model_group.state.location) & WAITERS));
    xp_assert(xp_peek(&model_group.state.location) < ONE);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"barrier of two", 2, {arrives, arrives}, reset_barrier, one_leader, 6, false},
        {"two rounds of two",
         2,
         {arrives_twice, arrives_twice},
         reset_barrier,
         two_leaders,
         6,
         false},
        {"participants that give up",
         3,
         {arrives_or_gives_up, arrives_or_gives_up, arrives_or_gives_up},
         reset_barrier,
         one_round_at_most,
         4,
         false},
        {"group of two",
         3,
         {is_done, is_done, waits_and_goes},
         reset_group,
         nobody_waits,
         2,
         false},
        {"group, a wait that gives up",
         3,
         {is_done_twice, waits_and_goes, waits_or_gives_up},
         reset_group,
         nobody_waits,
         2,
         false},
        {"gate",
         3,
         {enters_and_leaves, enters_and_leaves, closes_and_waits},
         reset_gate,
         nobody_waits,
         2,
         false},
    };
    static const struct xp_excuse excuses[] = {
        {"lock_freeze fetch_or_acq_rel -> acquire", "the unlock publishes"},
        {"filch_waitgroup_done cas_weak_acq_rel -> release", "it takes nothing over"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
