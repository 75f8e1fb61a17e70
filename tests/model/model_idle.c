/* Description: the idle protocol (runtime/sched/idle.c): producers from outside against workers
 * that go to sleep; no work stays while all sleep. The loop around it is that of
 * runtime/sched/worker_idle.c, with a counter as the inject queue, and another one as the mailbox
 * of worker 0 (runtime/sched/mailbox.c), which no other worker may empty. */
#include "runtime/sched/idle.c"

#include "tests/model/explore.h"

static struct filch__idle idle;
static filch_atomic_u32 work; /* tasks injected and not taken */
static filch_atomic_u32 mail; /* for worker 0 */
static filch_atomic_u32 unparked[2];
static int done;
static int to_do;

static void reset_n(unsigned workers, int tasks)
{
    filch__idle_init(&idle, workers);
    filch_atomic_init(&work, 0);
    filch_atomic_init(&mail, 0);
    filch_atomic_init(&unparked[0], 0);
    filch_atomic_init(&unparked[1], 0);
    done = 0;
    to_do = tasks;
}

static void reset_1(void)
{
    reset_n(1, 1);
}

static void reset_1_2(void)
{
    reset_n(1, 2);
}

static void reset_2(void)
{
    reset_n(2, 1);
}

static void reset_2_2(void)
{
    reset_n(2, 2);
}

static void notify(void)
{
    int worker = filch__idle_pick(&idle);

    if (worker >= 0)
        filch_store_release(&unparked[worker], 1);
}

/* The queue itself publishes with a read-modify-write, as wfcqueue does; relaxed, so that only the
 * protocol orders. */
static void producer(void)
{
    filch_fetch_add_relaxed(&work, 1);
    notify();
}

/* As a producer, but only the owner helps, and who finds mail there leaves the waking to others. */
static void sender(void)
{
    if (filch_fetch_add_relaxed(&mail, 1) == 0 && filch__idle_claim(&idle, 0))
        filch_store_release(&unparked[0], 1);
}

static bool take_from(filch_atomic_u32 *counter)
{
    uint32_t n = filch_load_relaxed(counter);

    while (n)
        if (filch_cas_weak_relaxed(counter, &n, n - 1))
            return true;
    return false;
}

static bool take(unsigned self)
{
    return (self == 0 && take_from(&mail)) || take_from(&work);
}

static bool sees_work(unsigned self)
{
    return (self == 0 && filch_load_relaxed(&mail)) || filch_load_relaxed(&work);
}

static bool wakes_0(void *arg)
{
    (void)arg;
    return xp_peek(&unparked[0].location) || done == to_do;
}

static bool wakes_1(void *arg)
{
    (void)arg;
    return xp_peek(&unparked[1].location) || done == to_do;
}

static void worker(unsigned self)
{
    bool searching = false;

    while (done < to_do) {
        if (take(self)) {
            if (searching && filch__idle_end_search(&idle) && filch_load_relaxed(&work))
                notify();
            searching = false;
            done++;
            continue;
        }
        if (!searching) {
            searching = filch__idle_begin_search(&idle);
            if (searching)
                continue;
        }
        filch__idle_park(&idle, self, searching);
        searching = false;
        if (sees_work(self)) {
            searching = filch__idle_unpark(&idle, self);
            continue;
        }
        xp_block_until(self ? wakes_1 : wakes_0, NULL);
        filch_store_relaxed(&unparked[self], 0);
        searching = filch__idle_unpark(&idle, self);
    }
}

static void worker_0(void)
{
    worker(0);
}

static void worker_1(void)
{
    worker(1);
}

static void all_done(void)
{
    xp_assert(done == to_do);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"one worker, one producer", 2, {worker_0, producer}, reset_1, all_done, -1, false},
        {"one worker, two producers",
         3,
         {worker_0, producer, producer},
         reset_1_2,
         all_done,
         3,
         false},
        {"two workers, one producer",
         3,
         {worker_0, worker_1, producer},
         reset_2,
         all_done,
         3,
         false},
        {"two workers, two producers",
         4,
         {worker_0, worker_1, producer, producer},
         reset_2_2,
         all_done,
         1,
         false},
        {"one worker, one sender", 2, {worker_0, sender}, reset_1, all_done, -1, false},
        {"one worker, two senders", 3, {worker_0, sender, sender}, reset_1_2, all_done, 3, false},
        {"two workers, one sender", 3, {worker_0, worker_1, sender}, reset_2, all_done, 3, false},
        {"two workers, a sender and a producer",
         4,
         {worker_0, worker_1, sender, producer},
         reset_2_2,
         all_done,
         1,
         false},
    };
#define MARGIN                                                                                     \
    "acq_rel suffices, the model shows: producer and sleeper meet in read-modify-writes of one "   \
    "word; seq_cst costs nothing more on x86"
    static const struct xp_excuse excuses[] = {
        {"filch__idle_begin_search fetch_add_seq_cst -> acq_rel", MARGIN},
        {"filch__idle_end_search fetch_sub_seq_cst -> acq_rel", MARGIN},
        {"filch__idle_park fetch_or_seq_cst -> acq_rel", MARGIN},
        {"filch__idle_park fetch_sub_seq_cst -> acq_rel", MARGIN},
        {"filch__idle_unpark fetch_and_seq_cst -> acq_rel", MARGIN},
        {"filch__idle_unpark fetch_add_seq_cst -> acq_rel", MARGIN},
        {"filch__idle_pick fetch_add_seq_cst -> acq_rel", MARGIN},
        {"claim_sleeper load_seq_cst -> acquire", MARGIN},
        {"claim_sleeper cas_weak_seq_cst -> acq_rel", MARGIN},
        {"filch__idle_claim fetch_and_seq_cst -> acq_rel", MARGIN},
        {"filch__idle_claim fetch_add_seq_cst -> acq_rel", MARGIN},
        {"sender store_release -> relaxed", "stands for a system call"},
        {"notify store_release -> relaxed", "stands for a system call"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
