/* Description: monitor duty (runtime/sched/duty.h) with the idle protocol (idle.c): workers that
 * park, one that takes the duty in passing, one that had it and goes to work. When all have come to
 * rest and one works on for ever, somebody who is parked has the duty; where who goes to work calls
 * nobody, since that was done a moment ago, the watch sees to it. The steps around it are those of
 * runtime/sched/worker_idle.c and watch.c. */
#include "runtime/sched/idle.c"

#include "runtime/sched/duty.h"
#include "tests/model/explore.h"

#define WORKERS 3

static struct filch__idle idle;
static filch_atomic_u32 duty;
static filch_atomic_u32 unparked[WORKERS];
static int seen;         /* written by who has the duty */
static int parked_on_it; /* the parked worker that has the duty; -1 */
static int working;      /* how many have begun their endless task */
static int will_work;
static bool waits; /* worker 0, without the duty */

static void reset_n(int works)
{
    filch__idle_init(&idle, WORKERS);
    filch_atomic_init(&duty, 0);
    for (int i = 0; i < WORKERS; i++)
        filch_atomic_init(&unparked[i], 0);
    parked_on_it = -1;
    waits = false;
    working = 0;
    will_work = works;
}

/* Worker 0 parks, 1 passes, 2 works all the time. */
static void reset_one(void)
{
    reset_n(1);
}

static void reset_two(void)
{
    reset_n(2);
}

static void notify(void)
{
    int worker = filch__idle_pick(&idle);

    if (worker >= 0)
        filch_store_release(&unparked[worker], 1);
}

static void visit(void)
{
    filch_plain_write(&seen);
}

static bool may_rest(unsigned self)
{
    return xp_peek(&unparked[self].location) || (parked_on_it >= 0 && working == will_work);
}

static bool rests_0(void *arg)
{
    (void)arg;
    return may_rest(0);
}

static bool rests_1(void *arg)
{
    (void)arg;
    return may_rest(1);
}

/* Nobody has anything to do for it: it searches when woken, and parks again. Blocks for ever when
 * nobody comes to have the duty. */
static void park(unsigned self)
{
    bool searching = false;

    for (;;) {
        filch__idle_park(&idle, self, searching);
        if (filch__duty_take(&duty)) {
            visit();
            parked_on_it = (int)self;
            return;
        }
        waits = true;
        xp_block_until(self ? rests_1 : rests_0, NULL);
        waits = false;
        if (!filch_exchange_acquire(&unparked[self], 0))
            return;
        searching = filch__idle_unpark(&idle, self);
    }
}

static void parks_0(void)
{
    park(0);
}

static void parks_1(void)
{
    park(1);
}

static void work_on(void)
{
    working++;
}

/* worker_idle.c, filch__monitor_pass(), without the look at who runs, which only saves work. */
static void passes(void)
{
    if (filch__duty_is_free(&duty) && filch__duty_take(&duty)) {
        visit();
        filch__duty_give(&duty);
        notify();
    }
    work_on();
}

/* As park() in worker_idle.c: a worker that has the duty wakes up by itself, and finds work. */
static void holder_goes(void (*call)(void))
{
    filch__idle_park(&idle, 2, false);
    if (filch__duty_take(&duty)) {
        bool searching = filch__idle_unpark(&idle, 2);

        visit();
        filch__duty_give(&duty);
        if (searching)
            (void)filch__idle_end_search(&idle);
        if (filch__duty_is_free(&duty))
            call();
    } else {
        if (filch__idle_unpark(&idle, 2))
            (void)filch__idle_end_search(&idle);
        if (filch__duty_is_free(&duty))
            call();
    }
    work_on();
}

static void holder_goes_to_work(void)
{
    holder_goes(notify);
}

/* filch__monitor_call(), when another call was a moment ago. */
static void nobody(void)
{
}

static void holder_goes_to_work_silently(void)
{
    holder_goes(nobody);
}

static bool all_is_quiet(void *arg)
{
    (void)arg;
    return working == will_work && (parked_on_it >= 0 || waits);
}

/* look() in watch.c: it comes again and again, so one that comes when all has been done, and sees
 * that, will do. */
static void watches(void)
{
    xp_block_until(all_is_quiet, NULL);
    if (!xp_peek(&duty.location))
        notify();
}

static void somebody_watches(void)
{
    xp_assert(parked_on_it >= 0 && xp_peek(&duty.location) == 1);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"one parks while one passes", 2, {parks_0, passes}, reset_one, somebody_watches, 5, false},
        {"two park while one passes",
         3,
         {parks_0, parks_1, passes},
         reset_one,
         somebody_watches,
         3,
         false},
        {"one parks while the holder goes to work",
         2,
         {parks_0, holder_goes_to_work},
         reset_one,
         somebody_watches,
         5,
         false},
        {"one parks, one passes, the holder goes to work",
         3,
         {parks_0, passes, holder_goes_to_work},
         reset_two,
         somebody_watches,
         2,
         false},
        {"one parks while the holder goes to work and calls nobody",
         3,
         {parks_0, holder_goes_to_work_silently, watches},
         reset_one,
         somebody_watches,
         5,
         false},
    };

    static const struct xp_excuse excuses[] = {
        {"filch__idle_end_search fetch_sub_seq_cst -> acq_rel", "needed for work: see model_idle"},
        {"filch__idle_unpark fetch_add_seq_cst -> acq_rel", "needed for work: see model_idle"},
        {"filch__idle_unpark fetch_and_seq_cst -> acq_rel", "needed for work: see model_idle"},
        {"filch__idle_pick fetch_add_seq_cst -> acq_rel", "needed for work: see model_idle"},
        {"filch__idle_park fetch_sub_seq_cst -> acq_rel", "needed for work: see model_idle"},
        {"filch__idle_park fetch_or_seq_cst -> acq_rel", "needed for work: see model_idle"},
        {"claim_sleeper cas_weak_seq_cst -> acq_rel", "needed for work: see model_idle"},
        {"claim_sleeper load_seq_cst -> acquire", "needed for work: see model_idle"},
        {"park exchange_acquire -> relaxed", "the model's own: it carries nothing"},
        {"notify store_release -> relaxed", "the model's own: it carries nothing"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
