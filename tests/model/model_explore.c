/* Description: the explorer itself: it must find known faults and pass what is right. */
#include "runtime/base/atomic.h"
#include "runtime/base/spinlock.h"
#include "tests/model/explore.h"

static filch_atomic_u32 x, y;
static int data;
static uint32_t seen[2];
static filch_spinlock lock;
static int counter;

static void reset(void)
{
    filch_atomic_init(&x, 0);
    filch_atomic_init(&y, 0);
    filch_spinlock_init(&lock);
    data = 0;
    counter = 0;
    seen[0] = seen[1] = 9;
}

static void nothing(void)
{
}

static void publish(void)
{
    data = 1;
    filch_plain_write(&data);
    filch_store_release(&x, 1);
}

static void publish_relaxed(void)
{
    data = 1;
    filch_plain_write(&data);
    filch_store_relaxed(&x, 1);
}

static void consume(void)
{
    if (filch_load_acquire(&x)) {
        filch_plain_read(&data);
        xp_assert(data == 1);
    }
}

static void dekker_a(void)
{
    filch_store_seq_cst(&x, 1);
    seen[0] = filch_load_seq_cst(&y);
}

static void dekker_b(void)
{
    filch_store_seq_cst(&y, 1);
    seen[1] = filch_load_seq_cst(&x);
}

static void weak_dekker_a(void)
{
    filch_store_release(&x, 1);
    seen[0] = filch_load_acquire(&y);
}

static void weak_dekker_b(void)
{
    filch_store_release(&y, 1);
    seen[1] = filch_load_acquire(&x);
}

static void one_saw_the_other(void)
{
    xp_assert(seen[0] || seen[1]);
}

static void locked_increment(void)
{
    filch_spinlock_lock(&lock);
    filch_plain_write(&counter);
    counter++;
    filch_spinlock_unlock(&lock);
}

static void bare_increment(void)
{
    filch_fetch_add_relaxed(&x, 1);
    filch_plain_write(&counter);
    counter++;
}

static bool x_is_set(void *arg)
{
    (void)arg;
    return xp_peek(&x.location) != 0;
}

/* Sleeps until x without looking again after announcing it in y. */
static void careless_sleeper(void)
{
    if (filch_load_acquire(&x))
        return;
    filch_store_relaxed(&y, 1);
    if (filch_load_acquire(&x))
        return;
    xp_block_until(x_is_set, NULL);
}

static void never_sets(void)
{
    (void)filch_load_acquire(&y);
}

/* A seq_cst store is no fence for a relaxed load of something else. */
static void half_dekker_a(void)
{
    filch_store_seq_cst(&x, 1);
    seen[0] = filch_load_relaxed(&y);
}

static void half_dekker_b(void)
{
    filch_store_seq_cst(&y, 1);
    seen[1] = filch_load_relaxed(&x);
}

static void writes_after_unlock(void)
{
    filch_spinlock_lock(&lock);
    filch_spinlock_unlock(&lock);
    filch_plain_write(&counter);
    counter++;
}

static void tries(void)
{
    while (!filch_spinlock_try(&lock))
        filch_cpu_relax();
    filch_spinlock_unlock(&lock);
}

static void sets(void)
{
    filch_store_release(&x, 1);
}

static void spins(void)
{
    while (!filch_load_acquire(&x))
        filch_cpu_relax();
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"release and acquire publish", 2, {publish, consume}, reset, nothing, -1, false},
        {"relaxed does not", 2, {publish_relaxed, consume}, reset, nothing, -1, true},
        {"seq_cst Dekker", 2, {dekker_a, dekker_b}, reset, one_saw_the_other, -1, false},
        {"release/acquire Dekker",
         2,
         {weak_dekker_a, weak_dekker_b},
         reset,
         one_saw_the_other,
         -1,
         true},
        {"locks exclude",
         3,
         {locked_increment, locked_increment, locked_increment},
         reset,
         nothing,
         -1,
         false},
        {"increments without a lock race",
         2,
         {bare_increment, bare_increment},
         reset,
         nothing,
         -1,
         true},
        {"half a seq_cst Dekker",
         2,
         {half_dekker_a, half_dekker_b},
         reset,
         one_saw_the_other,
         -1,
         true},
        {"a write after the unlock races",
         2,
         {writes_after_unlock, locked_increment},
         reset,
         nothing,
         -1,
         true},
        {"a loop around try-lock ends", 2, {tries, tries}, reset, nothing, -1, false},
        {"a spin loop sees the store in the end", 2, {sets, spins}, reset, nothing, -1, false},
        {"sleeping for ever is found", 2, {careless_sleeper, never_sets}, reset, nothing, -1, true},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), NULL, 0);
}
