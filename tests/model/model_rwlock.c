/* Description: read/write locks (sync/rwlock.c): writers alone, with what the lock guards as plain
 * memory; no waiter is left behind, also when the one in front gives up; downgrade. */
#include "sync/rwlock.c"

#include "tests/model/model_lock.h"

static struct rwlock lock_;
static int guarded;
static filch_atomic_u32 has_downgraded, has_read;

static filch_rwlock *it(void)
{
    return (filch_rwlock *)(void *)&lock_;
}

static void reset(void)
{
    memset(&lock_, 0, sizeof lock_);
    filch_rwlock_init(it());
    guarded = 0;
    filch_atomic_init(&has_downgraded, 0);
    filch_atomic_init(&has_read, 0);
    model_now = 0;
    model_tick = 0;
}

/* Each look at the clock is a millisecond later: a reader that was woken to try and has lost
 * insists. */
static void reset_starving(void)
{
    reset();
    model_tick = STARVED_NS;
}

static void write_once(filch_time until)
{
    if (filch_rwlock_write(it(), until) < 0)
        return;
    filch_plain_write(&guarded);
    xp_assert(filch_rwlock_unlock(it()) == 0);
}

static void read_once(filch_time until)
{
    if (filch_rwlock_read(it(), until) < 0)
        return;
    filch_plain_read(&guarded);
    xp_assert(filch_rwlock_unlock(it()) == 0);
}

static void writes(void)
{
    write_once(FILCH_NEVER);
}

static void reads(void)
{
    read_once(FILCH_NEVER);
}

static void writes_twice(void)
{
    write_once(FILCH_NEVER);
    write_once(FILCH_NEVER);
}

static void writes_or_gives_up(void)
{
    write_once(1);
}

static void reads_or_gives_up(void)
{
    read_once(1);
}

static void downgrades(void)
{
    xp_assert(filch_rwlock_write(it(), FILCH_NEVER) == 0);
    filch_plain_write(&guarded);
    xp_assert(filch_rwlock_downgrade(it()) == 0);
    filch_plain_read(&guarded);
    xp_assert(filch_rwlock_unlock(it()) == 0);
}

/* Who waited to read before a writer came reads beside one who has downgraded. */
static bool somebody_waits(void *arg)
{
    (void)arg;
    return xp_peek(&lock_.word.location) & WAITERS;
}

static bool somebody_writes(void *arg)
{
    (void)arg;
    return xp_peek(&lock_.word.location) & WRITER;
}

static bool is_set(void *arg)
{
    return xp_peek(&((filch_atomic_u32 *)arg)->location);
}

static void downgrades_and_waits(void)
{
    xp_assert(filch_rwlock_write(it(), FILCH_NEVER) == 0);
    xp_block_until(somebody_waits, NULL);
    xp_assert(filch_rwlock_downgrade(it()) == 0);
    filch_store_relaxed(&has_downgraded, 1);
    xp_block_until(is_set, &has_read);
    xp_assert(filch_rwlock_unlock(it()) == 0);
}

static void is_read_meanwhile(void)
{
    xp_block_until(somebody_writes, NULL);
    read_once(FILCH_NEVER);
    filch_store_relaxed(&has_read, 1);
}

static void writes_after_that(void)
{
    xp_block_until(is_set, &has_downgraded);
    write_once(FILCH_NEVER);
}

static void as_a_case(void)
{
    struct filch__waiter_group group;
    struct filch__waiter waiter;
    filch_case c = filch_case_write_lock(it());

    filch_atomic_init(&group.winner, 0);
    filch__waiter_init(&waiter, FILCH_WAIT_RWLOCK);
    waiter.group = &group;
    waiter.index = 0;
    if (case_enlist(&c, &waiter) == FILCH__ENLIST_WAITS) {
        if (filch__waiter_group_claim(&group, FILCH__GROUP_OWNER)) {
            case_delist(&c, &waiter, false);
            return;
        }
        filch__waiter_wait_shielded(&waiter);
    }
    filch_plain_write(&guarded);
    xp_assert(filch_rwlock_unlock(it()) == 0);
}

static void is_free(void)
{
    xp_assert(xp_peek(&lock_.word.location) == 0);
    xp_assert(!lock_.waiters.next || filch__list_is_empty(&lock_.waiters));
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"two write, one reads", 3, {writes, reads, writes}, reset, is_free, 2, false},
        {"two read, one writes", 3, {reads, writes, reads}, reset, is_free, 2, false},
        {"a reader is woken to try", 2, {writes_twice, reads}, reset, is_free, 3, false},
        {"and insists", 2, {writes_twice, reads}, reset_starving, is_free, 3, false},
        {"a writer gives up", 3, {reads, writes_or_gives_up, reads}, reset, is_free, 2, false},
        {"a reader gives up", 3, {writes, reads_or_gives_up, reads}, reset, is_free, 2, false},
        {"a downgrade", 3, {downgrades, reads, writes}, reset, is_free, 2, false},
        {"a downgrade that waits for who waited",
         3,
         {downgrades_and_waits, is_read_meanwhile, writes_after_that},
         reset,
         is_free,
         1,
         false},
        {"a select that writes", 3, {reads, as_a_case, reads}, reset, is_free, 2, false},
    };
    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), NULL, 0);
}
