/* Description: waking the owner of a lane (io/unpark.h): wakers publish work and write to an
 * eventfd, the owner sleeps until it can be read; no work stays behind, however the wakes fall. */
#include "io/unpark.h"

#include "tests/model/explore.h"

#define WAKERS 2

static filch_atomic_u32 unparked;
static filch_atomic_u32 event; /* the eventfd: 1, it can be read */
static filch_atomic_u32 work[WAKERS];
static int taken;

static void reset(void)
{
    filch_atomic_init(&unparked, 0);
    filch_atomic_init(&event, 0);
    for (int i = 0; i < WAKERS; i++)
        filch_atomic_init(&work[i], 0);
    taken = 0;
}

/* Relaxed: the protocol alone is to make it visible. */
static void waker(void)
{
    filch_store_relaxed(&work[xp_thread()], 1);
    if (filch__unpark_begin(&unparked))
        filch_exchange_acq_rel(&event, 1);
}

static bool is_readable(void *arg)
{
    (void)arg;
    return xp_peek(&event.location) != 0;
}

static void owner(void)
{
    while (taken < WAKERS) {
        int before = taken;

        for (int i = 0; i < WAKERS; i++)
            if (filch_load_relaxed(&work[i])) {
                filch_store_relaxed(&work[i], 0);
                taken++;
            }
        if (taken > before)
            continue;
        /* Sleeps with a read of the eventfd in the ring. */
        xp_block_until(is_readable, NULL);
        filch_exchange_acq_rel(&event, 0);
        filch__unpark_end(&unparked);
    }
}

static void all_taken(void)
{
    xp_assert(taken == WAKERS);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"two wakers, one owner", 3, {waker, waker, owner}, reset, all_taken, 5, false},
    };
    static const struct xp_excuse excuses[] = {
        {"filch__unpark_begin exchange_acq_rel -> release",
         "release suffices; the vocabulary has no such exchange"},
        {"waker exchange_acq_rel -> release", "the kernel's side"},
        {"waker exchange_acq_rel -> acquire", "the kernel's side"},
        {"owner exchange_acq_rel -> release", "the kernel's side"},
        {"owner exchange_acq_rel -> acquire", "the kernel's side"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
