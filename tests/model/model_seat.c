/* Description: seats (runtime/sched/seat.h, reserve.c, watch.c) with the idle protocol (idle.c): a
 * worker that is told to leave while work is published, or mail is sent to it, or it is called
 * back; and the watch that goes to sleep while a worker goes to work. The steps around the sources
 * are those of reserve.c, worker_idle.c and mailbox.c. */
#include "runtime/sched/idle.c"

#include "runtime/sched/seat.h"
#include "tests/model/explore.h"

enum { LEAVER, SLEEPER, WORKERS };
enum { WATCH_AWAKE, WATCH_POKED, WATCH_ASLEEP };

static struct filch__idle idle;
static filch_atomic_u32 seat;
static filch_atomic_u32 work, mail; /* 1: there is some */
static filch_atomic_u32 unparked[WORKERS];
static filch_atomic_u32 word; /* of the watch */
static bool taken, delivered, out, watch_sleeps, works;

static void reset(void)
{
    filch__idle_init(&idle, WORKERS);
    filch_atomic_init(&seat, FILCH_SEAT_LEAVING);
    filch_atomic_init(&work, 0);
    filch_atomic_init(&mail, 0);
    filch_atomic_init(&word, WATCH_AWAKE);
    for (int i = 0; i < WORKERS; i++)
        filch_atomic_init(&unparked[i], 0);
    taken = delivered = out = watch_sleeps = works = false;
}

static void notify(void)
{
    int worker = filch__idle_pick(&idle);

    if (worker >= 0)
        filch_store_release(&unparked[worker], 1);
}

static bool take_work(void)
{
    if (!filch_exchange_acq_rel(&work, 0))
        return false;
    taken = true;
    return true;
}

static bool leaver_is_unparked(void *arg)
{
    (void)arg;
    return xp_peek(&unparked[LEAVER].location) || taken;
}

static bool sleeper_is_unparked(void *arg)
{
    (void)arg;
    return xp_peek(&unparked[SLEEPER].location) || taken;
}

/* filch__worker_sit_out(), without what it hands over. It counts as searching: who publishes may
 * rely on it. */
static void leaves_as(bool searching)
{

    if (!filch__seat_leave(&seat)) {
        if (searching)
            (void)filch__idle_end_search(&idle);
        return; /* it works on */
    }
    if (searching)
        (void)filch__idle_end_search(&idle);
    filch__idle_leave(&idle);
    if (filch_load_relaxed(&work))
        notify();
    while (filch__seat_is_out(&seat)) {
        if (filch_load_relaxed(&mail)) { /* the queue's own look is no stronger */
            delivered = true;
            return;
        }
        out = true;
        xp_block_until(leaver_is_unparked, NULL);
        out = false;
        if (!filch_exchange_acquire(&unparked[LEAVER], 0))
            return; /* the model is over */
    }
    filch__idle_join(&idle);
}

static void leaves(void)
{
    leaves_as(filch__idle_begin_search(&idle));
}

static void leaves_from_work(void)
{
    leaves_as(false);
}

/* A worker that parks, and takes what there is when it is woken. */
static void sleeps(void)
{
    filch__idle_park(&idle, SLEEPER, false);
    if (filch_load_relaxed(&work) && take_work())
        return;
    xp_block_until(sleeper_is_unparked, NULL);
    (void)filch_exchange_acquire(&unparked[SLEEPER], 0);
    (void)take_work();
}

static void publishes(void)
{
    filch_exchange_acq_rel(&work, 1);
    notify();
}

/* filch__mailbox_send(). */
static void sends(void)
{
    filch_store_relaxed(&mail, 1); /* the queue's own exchange is no weaker */
    if (filch__idle_claim(&idle, LEAVER) || filch__seat_has_left(&seat))
        filch_store_release(&unparked[LEAVER], 1);
}

static void calls_back(void)
{
    if (filch__seat_call(&seat))
        filch_store_release(&unparked[LEAVER], 1);
}

static bool mail_wakes(void *arg)
{
    (void)arg;
    return xp_peek(&unparked[SLEEPER].location);
}

static void park_for_mail(void)
{
    filch__idle_park(&idle, SLEEPER, false);
    if (!filch_load_relaxed(&mail))
        xp_block_until(mail_wakes, NULL);
    (void)filch_exchange_acquire(&unparked[SLEEPER], 0);
    if (filch__idle_unpark(&idle, SLEEPER))
        (void)filch__idle_end_search(&idle);
}

/* filch__worker_sleep(): the first park ends by itself, to visit the stacks, and may use up a
 * wake-up that comes at that moment. */
static void sleeps_with_a_visit(void)
{
    filch__idle_park(&idle, SLEEPER, false);
    if (!filch_load_relaxed(&mail)) {
        (void)filch_exchange_acquire(&unparked[SLEEPER], 0);
        if (filch__idle_is_sleeper(&idle, SLEEPER) && !filch_load_relaxed(&mail)) {
            xp_block_until(mail_wakes, NULL);
            (void)filch_exchange_acquire(&unparked[SLEEPER], 0);
        }
    }
    if (filch__idle_unpark(&idle, SLEEPER))
        (void)filch__idle_end_search(&idle);
    if (!filch_load_relaxed(&mail))
        park_for_mail();
    if (!filch_load_relaxed(&mail))
        park_for_mail();
    delivered = true;
}

/* Wakes for what another one has taken meanwhile. */
static void wakes_for_nothing(void)
{
    notify();
}

static void sends_to_sleeper(void)
{
    filch_store_relaxed(&mail, 1);
    if (filch__idle_claim(&idle, SLEEPER))
        filch_store_release(&unparked[SLEEPER], 1);
}

static void work_is_seen(void)
{
    xp_assert(taken);
}

static void mail_is_delivered(void)
{
    xp_assert(delivered);
}

static void is_back(void)
{
    xp_assert(!out);
}

/* wait_for_look() in watch.c. */
static void watch(void)
{
    if (filch_exchange_acquire(&word, WATCH_ASLEEP) == WATCH_POKED ||
        filch__idle_running_now(&idle)) {
        (void)filch_exchange_acquire(&word, WATCH_AWAKE);
        return;
    }
    watch_sleeps = true;
}

/* All are parked; one is woken and works for ever. */
static void reset_parked(void)
{
    reset();
    filch_atomic_init(&seat, FILCH_SEAT_ACTIVE);
    filch_atomic_init(&idle.counts, 0);
    filch_atomic_init(&idle.sleepers[0], 1 << LEAVER | 1 << SLEEPER);
}

static void goes_to_work(void)
{
    (void)filch__idle_unpark(&idle, SLEEPER);
    if (filch_load_relaxed(&word) == WATCH_ASLEEP)
        filch_exchange_acquire(&word, WATCH_POKED);
    works = true;
}

static void watch_is_awake(void)
{
    xp_assert(!works || !watch_sleeps || xp_peek(&word.location) != WATCH_ASLEEP);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"one leaves, one parks, work comes",
         3,
         {leaves, sleeps, publishes},
         reset,
         work_is_seen,
         4,
         false},
        {"one leaves its work, one parks, work comes",
         3,
         {leaves_from_work, sleeps, publishes},
         reset,
         work_is_seen,
         4,
         false},
        {"one leaves, mail comes", 2, {leaves, sends}, reset, mail_is_delivered, -1, false},
        {"one leaves and is called back", 2, {leaves, calls_back}, reset, is_back, -1, false},
        {"a visit between two sleeps",
         3,
         {sleeps_with_a_visit, wakes_for_nothing, sends_to_sleeper},
         reset,
         mail_is_delivered,
         3,
         false},
        {"the watch sleeps, one goes to work",
         2,
         {watch, goes_to_work},
         reset_parked,
         watch_is_awake,
         -1,
         false},
    };
    static const struct xp_excuse excuses[] = {
        {"goes_to_work exchange_acquire -> relaxed",
         "carries nothing; the vocabulary has no such exchange"},
        {"watch exchange_acquire -> relaxed", "the same: what orders it is the idle word"},
        {"filch__seat_call exchange_acquire -> relaxed", "the same: the unpark carries"},
        {"filch__idle_join fetch_add_acq_rel -> acquire",
         "a waker's part is filch__idle_pick, which is not weaker"},
        {"filch__idle_join fetch_add_acq_rel -> release",
         "nothing is read after it that others wrote before"},
        {"filch__idle_unpark fetch_add_seq_cst -> acq_rel", "needed for work: see model_idle"},
        {"filch__idle_unpark fetch_and_seq_cst -> acq_rel", "needed for work: see model_idle"},
        {"filch__idle_claim fetch_and_seq_cst -> acq_rel", "needed for parks: see model_idle"},
        {"filch__idle_pick fetch_add_seq_cst -> acq_rel", "needed for parks: see model_idle"},
        {"filch__idle_park fetch_sub_seq_cst -> acq_rel", "needed for parks: see model_idle"},
        {"filch__idle_park fetch_or_seq_cst -> acq_rel", "needed for parks: see model_idle"},
        {"filch__idle_end_search fetch_sub_seq_cst -> acq_rel", "needed for work: see model_idle"},
        {"filch__idle_begin_search fetch_add_seq_cst -> acq_rel",
         "needed for work: see model_idle"},
        {"claim_sleeper cas_weak_seq_cst -> acq_rel", "needed for parks: see model_idle"},
        {"claim_sleeper load_seq_cst -> acquire", "needed for parks: see model_idle"},
        {"take_work exchange_acq_rel -> acquire", "the model's own: it carries nothing"},
        {"take_work exchange_acq_rel -> release", "the model's own: it carries nothing"},
        {"publishes exchange_acq_rel -> acquire", "the model's own: it carries nothing"},
        {"publishes exchange_acq_rel -> release", "the model's own: it carries nothing"},
        {"park_for_mail exchange_acquire -> relaxed", "the model's own: it carries nothing"},
        {"sleeps_with_a_visit exchange_acquire -> relaxed", "the model's own: it carries nothing"},
        {"filch__idle_claim fetch_add_seq_cst -> acq_rel", "needed for work: see model_idle"},
        {"sleeps exchange_acquire -> relaxed", "the model's own: it carries nothing"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
