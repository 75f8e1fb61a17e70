/* Description: wait groups (sync/waitgroup.c): the fast ways against the frozen word, a group that
 * is over only when it is closed, adding against closing, and waits that give up. Who has waited to
 * the end sees all that was done; who was let in is waited for, and nobody waits for ever. */
#include <string.h>

#include "sync/waitgroup.c"

#include "tests/model/model_waiter.h"

static struct waitgroup model_group;
static int work[3]; /* plain: the group alone publishes it */
static bool let_in[3];

#define GROUP ((filch_waitgroup *)(void *)&model_group)

void filch__log(const struct filch__log *log, filch_log_level level, const char *format, ...)
{
    (void)log;
    (void)level;
    (void)format;
    xp_fail("more are done than were added");
}

static void reset(unsigned flags, uint64_t n)
{
    (void)filch_waitgroup_init(GROUP, flags);
    if (n)
        filch_atomic_init(&model_group.state, flags * 4 + n * ONE);
    memset(work, 0, sizeof work);
    memset(let_in, 0, sizeof let_in);
}

static void reset_two(void)
{
    reset(0, 2);
    let_in[0] = let_in[1] = true;
}

static void reset_open(void)
{
    reset(FILCH_WAITGROUP_UNTIL_CLOSED, 0);
}

static void works(int self)
{
    filch_plain_write(&work[self]);
    work[self]++;
    xp_assert(filch_waitgroup_done(GROUP) == 0);
}

static void works_0(void)
{
    works(0);
}

static void works_1(void)
{
    works(1);
}

/* Work that comes while somebody waits. */
static void comes_and_works(void)
{
    int r = filch_waitgroup_add(GROUP, 1);

    xp_assert(r == 0 || r == -EPIPE);
    if (r < 0)
        return;
    let_in[0] = true;
    works(0);
}

static void closes(void)
{
    xp_assert(filch_waitgroup_close(GROUP) == 0);
    xp_assert(filch_waitgroup_add(GROUP, 1) == -EPIPE);
}

static void sees_all(void)
{
    for (int i = 0; i < 3; i++) {
        if (!let_in[i])
            continue;
        filch_plain_read(&work[i]);
        xp_assert(work[i] == 1);
    }
}

static void waits(void)
{
    xp_assert(filch_waitgroup_wait(GROUP, FILCH_NEVER) == 0);
    sees_all();
}

static void waits_or_gives_up(void)
{
    int r = filch_waitgroup_wait(GROUP, 1);

    xp_assert(r == 0 || r == -ETIMEDOUT);
    if (r == 0)
        sees_all();
}

static void is_quiet(void)
{
    uint64_t state = xp_peek(&model_group.state.location);

    xp_assert(is_over(state) && !(state & WAITERS));
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"two that work, one waits", 3, {works_0, works_1, waits}, reset_two, is_quiet, 3, false},
        {"two that work, one gives up",
         3,
         {works_0, works_1, waits_or_gives_up},
         reset_two,
         is_quiet,
         3,
         false},
        {"two that work, two wait, one of them gives up",
         4,
         {works_0, works_1, waits, waits_or_gives_up},
         reset_two,
         is_quiet,
         1,
         false},
        {"until it is closed", 3, {comes_and_works, closes, waits}, reset_open, is_quiet, 3, false},
        {"until it is closed, and gives up",
         3,
         {comes_and_works, closes, waits_or_gives_up},
         reset_open,
         is_quiet,
         3,
         false},
    };
    static const struct xp_excuse excuses[] = {
        {"lock_freeze fetch_or_acq_rel -> acquire", "unlock_thaw() publishes"},
        {"filch_waitgroup_done cas_weak_acq_rel -> release", "it takes nothing over"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
