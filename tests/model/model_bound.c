/* Description: ready tasks of groups that are for one worker alone (runtime/sched/group_bound.c,
 * group_set.c, group_turn.c), against that worker's parks (worker_idle.c, idle.c), its leaving its
 * seat (reserve.c, seat.h), and the monitor that helps it. Whoever makes such a task ready, another
 * worker, a plain thread, or the worker itself by what its lane has completed: it runs once, there
 * and nowhere else, and no wake-up is lost. And a task that is for anybody, of a worker that calls
 * for help with it (worker_idle.c). The other queues of a worker are in model_idle.c and
 * model_seat.c. */
#include "tests/model/model_bound.h"

static filch_atomic_u32 completions;

/* ---- who makes tasks ready ---- */

/* A task of the other worker, which goes on for ever then. */
static void worker_sends(void)
{
    filch__group_push(&workers[OTHER], ready(FIRST), false);
}

static void thread_sends(void)
{
    filch__group_push(NULL, ready(FIRST), false);
}

static void thread_sends_second(void)
{
    filch__group_push(NULL, ready(SECOND), false);
}

/* A completion in the target's own lane. */
static void kernel_posts(void)
{
    (void)filch_fetch_add_relaxed(&completions, 1); /* at any time */
    lane[TARGET].posted = true;
}

/* A task of the target has made another one ready, and waits for it. */
static void calls_for_help(void)
{
    struct filch__worker *worker = &workers[TARGET];

    worker->current = &tasks[STUCK];
    filch__group_push(worker, ready(FREE), false);
    xp_block_until(free_has_run, NULL);
    worker->current = NULL;
}

/* For what another one has taken meanwhile. */
static void wakes_for_nothing(void)
{
    filch__runtime_notify(&rt);
}

/* The watch, whose doing is in watch.c: dismiss_one() and call_one(). */
static void dismisses(void)
{
    if (filch__seat_dismiss(&workers[TARGET].seat))
        unparks(workers[TARGET].lane);
}

static void calls(void)
{
    if (filch__seat_call(&workers[TARGET].seat))
        unparks(workers[TARGET].lane);
}

static void dismisses_and_calls(void)
{
    dismisses();
    calls();
}

/* ---- who runs them ---- */

static void target(void)
{
    works(&workers[TARGET]);
}

static void other(void)
{
    works(&workers[OTHER]);
}

static bool is_readable(void *arg)
{
    (void)arg;
    return lane[TARGET].event || all_have_run();
}

static bool is_needed(void *arg)
{
    (void)arg;
    return is_stuck && xp_peek(&workers[TARGET].set.length.location);
}

/* The other worker looks round in passing: it sees that the target is stuck at the second look, and
 * runs what it takes over. The last look meets the target wherever it is by then. */
static void monitor(void)
{
    struct filch__worker *worker = &workers[OTHER];
    struct filch__task *task;

    xp_block_until(is_needed, NULL);
    while (!monitor_visit(worker))
        ;
    while ((task = next(worker)))
        filch__worker_run(worker, task);
    (void)monitor_visit(worker);
    xp_assert(!next(worker));
}

/* A thread of the host, as in begin() and settle_locked() of drive.c: it polls the descriptor and
 * makes a turn when that is readable. */
static void host(void)
{
    struct filch__worker *worker = &workers[TARGET];

    while (!all_have_run()) {
        struct filch__task *task;

        worker->searching = filch__idle_unpark(&rt.idle, TARGET);
        if (lane[TARGET].event) {
            lane[TARGET].event = false;
            filch__unpark_end(&lane[TARGET].unparked);
        }
        if ((task = next(worker)))
            filch__worker_run(worker, task);
        filch__idle_park(&rt.idle, TARGET, worker->searching);
        worker->searching = false;
        if (filch__worker_sees_any_work(worker))
            unparks(worker->lane);
        xp_block_until(is_readable, NULL);
    }
}

/* ---- who does it wrong ---- */

static void wakes_if(bool is_due)
{
    if (is_due)
        unparks(workers[TARGET].lane);
}

static void looks_before_it_puts(void)
{
    bool is_due = filch__idle_claim(&rt.idle, TARGET);

    filch__group_set_push(&workers[TARGET].bound, 1, ready(FIRST), false);
    wakes_if(is_due);
}

/* Without a read-modify-write. */
static void only_reads_the_bit(void)
{
    filch__group_set_push(&workers[TARGET].bound, 1, ready(FIRST), false);
    wakes_if(filch__idle_is_sleeper(&rt.idle, TARGET) && filch__idle_claim(&rt.idle, TARGET));
}

static void only_reads_the_seat(void)
{
    filch__group_set_push(&workers[TARGET].bound, 1, ready(FIRST), false);
    wakes_if(filch__idle_claim(&rt.idle, TARGET) || filch__seat_is_out(&workers[TARGET].seat));
}

static void forgets_the_seat(void)
{
    filch__group_set_push(&workers[TARGET].bound, 1, ready(FIRST), false);
    wakes_if(filch__idle_claim(&rt.idle, TARGET));
}

/* ---- where it begins ---- */

static void reset(void)
{
    reset_all(2, 1);
}

static void reset_two(void)
{
    reset_all(2, 2);
}

static void reset_alone(void)
{
    reset_all(1, 1);
}

static void reset_blind(void)
{
    reset();
    is_blind = true;
}

/* Each runs twice: a yield makes it ready again. */
static void reset_yields(void)
{
    reset_all(1, 3);
    left[FIRST] = 2;
}

/* The target's next park ends with a visit to the stacks. */
static void reset_visit(void)
{
    reset();
    workers[TARGET].trim_at = 1;
    lane[TARGET].ends = 1;
}

static void reset_blind_visit(void)
{
    reset_visit();
    is_blind = true;
}

static void on_park(void *arg)
{
    (void)arg;
    if (!runs[FIRST])
        filch__group_push(&workers[TARGET], ready(FIRST), false);
}

static void reset_hook(void)
{
    reset();
    rt.opts.on_park = on_park;
}

static void put(unsigned task)
{
    struct filch__group_set *set = &workers[TARGET].set;
    struct filch__group_queue *queue = &set->queue[1];

    tasks[task].next = NULL;
    if (queue->length++)
        queue->last->next = &tasks[task];
    else
        queue->first = &tasks[task];
    queue->last = &tasks[task];
    filch_atomic_init(&set->ready, 2);
    filch_atomic_init(&set->length, queue->length);
    is_ready[task] = true;
}

/* The target is stuck until the monitor has taken over what else waits there. */
static void reset_stuck(void)
{
    reset_all(2, 3);
    put(STUCK);
    put(FREE);
}

static void reset_behind(void)
{
    reset();
    is_behind = true;
}

static void reset_leaving(void)
{
    reset();
    filch_atomic_init(&workers[TARGET].seat, FILCH_SEAT_LEAVING);
}

/* With a task that others may have. */
static void reset_leaving_full(void)
{
    reset_all(2, 2);
    filch_atomic_init(&workers[TARGET].seat, FILCH_SEAT_LEAVING);
    put(FREE);
}

/* SECOND begins there, and goes on elsewhere, since the target is out. */
static void reset_leaving_placed(void)
{
    reset_all(2, 2);
    filch_atomic_init(&workers[TARGET].seat, FILCH_SEAT_LEAVING);
    left[SECOND] = 1;
}

static void each_has_run(void)
{
    xp_assert(all_have_run());
    for (unsigned i = 0; i < TASKS; i++)
        xp_assert(!is_ready[i] && !left[i]);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"another worker sends", 2, {target, worker_sends}, reset, each_has_run, 3, false},
        {"a plain thread sends", 2, {target, thread_sends}, reset, each_has_run, 3, false},
        {"two send, of two groups",
         3,
         {target, worker_sends, thread_sends_second},
         reset_two,
         each_has_run,
         2,
         false},
        {"it yields", 2, {target, thread_sends}, reset_yields, each_has_run, 3, false},
        {"its own lane wakes it", 2, {target, kernel_posts}, reset, each_has_run, 3, false},
        {"a hook wakes it", 2, {target, wakes_for_nothing}, reset_hook, each_has_run, 3, false},
        {"its own lane, beside a visit to the stacks",
         3,
         {target, kernel_posts, wakes_for_nothing},
         reset_visit,
         each_has_run,
         2,
         false},
        {"a visit to the stacks between two sleeps",
         3,
         {target, thread_sends, wakes_for_nothing},
         reset_visit,
         each_has_run,
         2,
         false},
        {"the monitor helps its worker meanwhile",
         3,
         {target, monitor, thread_sends},
         reset_stuck,
         each_has_run,
         1,
         false},
        {"a worker calls for help",
         2,
         {calls_for_help, other},
         reset_behind,
         each_has_run,
         3,
         false},
        {"its worker leaves", 2, {target, worker_sends}, reset_leaving, each_has_run, 3, false},
        {"its worker leaves and is called back",
         3,
         {target, thread_sends, calls},
         reset_leaving,
         each_has_run,
         2,
         false},
        {"its worker is dismissed and called back",
         3,
         {target, worker_sends, dismisses_and_calls},
         reset,
         each_has_run,
         2,
         false},
        {"its worker leaves with what others may have",
         3,
         {target, other, thread_sends},
         reset_leaving_full,
         each_has_run,
         1,
         false},
        {"one that has begun goes on elsewhere",
         3,
         {target, other, thread_sends_second},
         reset_leaving_placed,
         each_has_run,
         1,
         false},
        {"a host drives", 2, {host, thread_sends}, reset_alone, each_has_run, 3, false},
        {"who looks before it puts",
         2,
         {target, looks_before_it_puts},
         reset,
         each_has_run,
         2,
         true},
        {"who only reads the bit", 2, {target, only_reads_the_bit}, reset, each_has_run, 2, true},
        {"who only reads the seat",
         2,
         {target, only_reads_the_seat},
         reset_leaving,
         each_has_run,
         2,
         true},
        {"who forgets the seat",
         2,
         {target, forgets_the_seat},
         reset_leaving,
         each_has_run,
         2,
         true},
        {"a worker that does not look",
         2,
         {target, thread_sends},
         reset_blind,
         each_has_run,
         2,
         true},
        {"a visit that does not look",
         3,
         {target, kernel_posts, wakes_for_nothing},
         reset_blind_visit,
         each_has_run,
         2,
         true},
    };
#define IDLE "model_idle.c says why"
#define SEAT "model_seat.c is about that"
    static const struct xp_excuse excuses[] = {
        {"filch__idle_end_search fetch_sub_seq_cst -> acq_rel", IDLE},
        {"filch__idle_begin_search fetch_add_seq_cst -> acq_rel", IDLE},
        {"filch__idle_claim fetch_add_seq_cst -> acq_rel", IDLE},
        {"filch__idle_claim fetch_and_seq_cst -> acq_rel", IDLE},
        {"filch__idle_pick fetch_add_seq_cst -> acq_rel", IDLE},
        {"filch__idle_unpark fetch_add_seq_cst -> acq_rel", IDLE},
        {"filch__idle_unpark fetch_and_seq_cst -> acq_rel", IDLE},
        {"filch__idle_park fetch_sub_seq_cst -> acq_rel", IDLE},
        {"filch__idle_park fetch_or_seq_cst -> acq_rel", IDLE},
        {"claim_sleeper cas_weak_seq_cst -> acq_rel", IDLE},
        {"claim_sleeper load_seq_cst -> acquire", IDLE},
        {"filch__idle_join fetch_add_acq_rel -> acquire", SEAT},
        {"filch__idle_join fetch_add_acq_rel -> release", SEAT},
        {"filch__seat_call exchange_acquire -> relaxed", SEAT},
        {"filch__worker_sit_out load_acquire -> relaxed", "no runtime ends here: model_end.c"},
        {"filch__duty_take cas_acquire -> relaxed", "model_monitor.c is about that"},
        {"filch__duty_give store_release -> relaxed", "model_monitor.c is about that"},
        {"filch__unpark_begin exchange_acq_rel -> release",
         "it takes nothing over: model_unpark.c"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
