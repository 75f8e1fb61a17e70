/* Description: a lane's completions (io/uring/lane.c) between the owner, who may be on its way into
 * the kernel to wait for them, and a worker that rescues it: each completion is handled once, its
 * slot is not used again before it was copied, and the wake-up (io/unpark.h) reaches the
 * owner, however often others reap. The steps are those of copy_out(), reap_own(), and
 * filch__lane_rescue(); the ring has one slot, for which the kernel waits, or two, so that a batch
 * is copied. */
#include "io/unpark.h"
#include "runtime/base/spinlock.h"

#include "tests/model/explore.h"

#define SLOTS_MOST 2
#define OP 0
#define EVENT 1
#define ALL 2 /* completions */

static filch_atomic_u32 head, tail;
static filch_spinlock reap;
static uint32_t slots;
static int slot[SLOTS_MOST];
static filch_atomic_u32 unparked;
static filch_atomic_u32 work; /* what the owner is woken for */
static int handled[ALL];

static void reset(uint32_t size)
{
    slots = size;
    filch_atomic_init(&head, 0);
    filch_atomic_init(&tail, 0);
    filch_spinlock_init(&reap);
    filch_atomic_init(&unparked, 0);
    filch_atomic_init(&work, 0);
    for (int i = 0; i < ALL; i++)
        handled[i] = 0;
}

static void reset_one(void)
{
    reset(1);
}

static void reset_two(void)
{
    reset(2);
}

/* ---- the kernel, and who wakes ---- */

static bool has_room(void *arg)
{
    (void)arg;
    return xp_peek(&tail.location) - xp_peek(&head.location) < slots;
}

static void post(int what)
{
    uint32_t at = filch_load_relaxed(&tail);

    while (at - filch_load_acquire(&head) == slots)
        xp_block_until(has_room, NULL);
    filch_plain_write(&slot[at % slots]);
    slot[at % slots] = what;
    filch_store_release(&tail, at + 1);
}

static void kernel(void)
{
    post(OP);
    filch_store_relaxed(&work, 1);
    if (filch__unpark_begin(&unparked))
        post(EVENT);
}

/* ---- who reaps ---- */

static bool has_completions(void)
{
    return filch_load_acquire(&tail) != filch_load_relaxed(&head);
}

/* Return: how many. The lock is held. */
static uint32_t copy_out(int batch[SLOTS_MOST], bool owner)
{
    uint32_t from = filch_load_relaxed(&head);
    uint32_t there = filch_load_acquire(&tail) - from, n;

    for (n = 0; n < there; n++) {
        filch_plain_read(&slot[(from + n) % slots]);
        batch[n] = slot[(from + n) % slots];
        if (batch[n] == EVENT && !owner)
            break;
    }
    filch_store_release(&head, from + n);
    return n;
}

static void reap_unlock(bool owner)
{
    int batch[SLOTS_MOST];
    uint32_t n = copy_out(batch, owner);

    filch_spinlock_unlock(&reap);
    for (uint32_t i = 0; i < n; i++) {
        xp_assert(handled[batch[i]]++ == 0);
        if (batch[i] == EVENT) {
            xp_assert(owner);
            filch__unpark_end(&unparked);
        }
    }
}

/* In the kernel, which knows the newest tail. */
static bool is_ready(void *arg)
{
    (void)arg;
    return xp_peek(&tail.location) != xp_peek(&head.location);
}

static void owner(void)
{
    while (!handled[EVENT]) {
        xp_block_until(is_ready, NULL);
        filch_fetch_add_relaxed(&tail, 0);
        if (has_completions()) {
            filch_spinlock_lock(&reap);
            reap_unlock(true);
        }
    }
    xp_assert(filch_load_relaxed(&work) == 1);
}

static void rescuer(void)
{
    if (has_completions() && filch_spinlock_try(&reap))
        reap_unlock(false);
}

static void each_once(void)
{
    xp_assert(handled[OP] == 1 && handled[EVENT] == 1);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"a ring of one slot", 3, {kernel, owner, rescuer}, reset_one, each_once, 3, false},
        {"a ring of two", 3, {kernel, owner, rescuer}, reset_two, each_once, 3, false},
    };
#define UNPARK "one wake, and the ring carries it; model_unpark.c is about several"
    static const struct xp_excuse excuses[] = {
        {"filch__unpark_end exchange_acquire -> relaxed", UNPARK},
        {"filch__unpark_begin exchange_acq_rel -> acquire", UNPARK},
        {"filch__unpark_begin exchange_acq_rel -> release", UNPARK},
        {"has_completions load_acquire -> relaxed", "a look; copy_out() acquires"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
