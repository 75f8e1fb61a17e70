/* Description: a runtime that its host drives (runtime/sched/drive.c): threads that make tasks
 * runnable from outside against drivers that leave the seat and poll the descriptor. No work stays
 * while all poll; and when all is done, the descriptor is quiet. The idle protocol is the real one
 * (runtime/sched/idle.c); the lane's eventfd is a counter, the inject queue another. */
#include "runtime/sched/idle.c"

#include "tests/model/explore.h"

static struct filch__idle idle;
static filch_atomic_u32 seat;     /* 1: somebody drives. A mutex in reality */
static filch_atomic_u32 work;     /* tasks injected and not taken */
static filch_atomic_u32 unparked; /* the lane's */
static filch_atomic_u32 event;    /* the eventfd's counter */
static int done;
static int to_do;
static bool careless; /* a driver that does not look again before it leaves */
static bool rash;     /* a driver that clears `unparked` without having read the eventfd */

static void reset_n(int tasks)
{
    filch__idle_init(&idle, 1);
    filch_atomic_init(&idle.counts, 0); /* as filch__drive_init() parks it */
    filch_atomic_init(&idle.sleepers[0], 1);
    filch_atomic_init(&seat, 0);
    filch_atomic_init(&work, 0);
    filch_atomic_init(&unparked, 0);
    filch_atomic_init(&event, 0);
    done = 0;
    to_do = tasks;
    careless = rash = false;
}

static void reset_1(void)
{
    reset_n(1);
}

static void reset_2(void)
{
    reset_n(2);
}

static void reset_careless(void)
{
    reset_n(2);
    careless = true;
}

static void reset_rash(void)
{
    reset_n(2);
    rash = true;
}

/* filch__lane_unpark(). */
static void unpark(void)
{
    if (filch_exchange_seq_cst(&unparked, 1))
        return;
    filch_fetch_add_relaxed(&event, 1); /* a system call */
}

/* filch__lane_answer(). */
static void answer(void)
{
    if (filch_load_relaxed(&unparked) &&
        (filch_exchange_acquire(&event, 0) || rash)) /* a system call */
        (void)filch_exchange_seq_cst(&unparked, 0);
}

/* The queue itself publishes with a read-modify-write, as wfcqueue does; relaxed, so that only the
 * protocol orders. */
static void producer(void)
{
    filch_fetch_add_relaxed(&work, 1);
    if (filch__idle_pick(&idle) >= 0)
        unpark();
}

static bool take(void)
{
    uint32_t n = filch_load_relaxed(&work);

    while (n)
        if (filch_cas_weak_relaxed(&work, &n, n - 1))
            return true;
    return false;
}

/* filch_runtime_turn(): of one task, so that something is left. */
static void turn(void)
{
    bool searching = filch__idle_unpark(&idle, 0);

    answer();
    if (take()) {
        if (searching)
            filch__idle_end_search(&idle);
        searching = false;
        filch_plain_write(&done); /* carried from driver to driver */
        done++;
    }
    filch__idle_park(&idle, 0, searching);
    if (!careless && filch_load_relaxed(&work))
        unpark();
}

static bool is_readable(void *arg)
{
    (void)arg;
    return xp_peek(&event.location) != 0 || done == to_do;
}

static bool is_free(void *arg)
{
    (void)arg;
    return xp_peek(&seat.location) == 0;
}

static void host(void)
{
    while (done < to_do) {
        uint32_t nobody = 0;

        xp_block_until(is_readable, NULL);
        if (done == to_do)
            break;
        if (!filch_cas_acq_rel(&seat, &nobody, 1)) { /* -EBUSY: polls again, here a little later */
            xp_block_until(is_free, NULL);
            continue;
        }
        turn();
        filch_store_release(&seat, 0);
    }
}

static void all_done(void)
{
    xp_assert(done == to_do);
}

/* And what is still to be read will be answered by the next turn: an idle runtime does not keep its
 * host busy for ever. */
static void all_quiet(void)
{
    uint64_t writes = xp_peek(&event.location);

    all_done();
    xp_assert(writes <= 1);
    xp_assert(writes == 0 || xp_peek(&unparked.location) == 1);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"one host, one producer", 2, {host, producer}, reset_1, all_quiet, -1, false},
        {"one host, two producers", 3, {host, producer, producer}, reset_2, all_quiet, 2, false},
        {"two hosts, one producer", 3, {host, host, producer}, reset_1, all_quiet, 3, false},
        {"two hosts, two producers",
         4,
         {host, host, producer, producer},
         reset_2,
         all_quiet,
         1,
         false},
        {"a host that does not look again",
         3,
         {host, producer, producer},
         reset_careless,
         all_done,
         2,
         true},
        {"a host that clears what it has not read",
         4,
         {host, host, producer, producer},
         reset_rash,
         all_quiet,
         2,
         true},
    };
#define MARGIN                                                                                     \
    "acq_rel suffices, the model shows, as that of the idle protocol does: they meet in "          \
    "read-modify-writes of one word; seq_cst costs nothing more on x86"
    static const struct xp_excuse excuses[] = {
        {"filch__idle_unpark fetch_and_seq_cst -> acq_rel", MARGIN},
        {"filch__idle_unpark fetch_add_seq_cst -> acq_rel", MARGIN},
        {"filch__idle_park fetch_or_seq_cst -> acq_rel", MARGIN},
        {"filch__idle_park fetch_sub_seq_cst -> acq_rel", MARGIN},
        {"filch__idle_end_search fetch_sub_seq_cst -> acq_rel", MARGIN},
        {"filch__idle_pick fetch_add_seq_cst -> acq_rel", MARGIN},
        {"claim_sleeper load_seq_cst -> acquire", MARGIN},
        {"claim_sleeper cas_weak_seq_cst -> acq_rel", MARGIN},
        {"unpark exchange_seq_cst -> acq_rel", MARGIN},
        {"answer exchange_seq_cst -> acq_rel", MARGIN},
        {"answer exchange_acquire -> relaxed", "stands for a system call"},
        {"host cas_acq_rel -> acquire", "stands for a mutex"},
        {"host cas_acq_rel -> release", "stands for a mutex"},
        {"host store_release -> relaxed", "stands for a mutex"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
