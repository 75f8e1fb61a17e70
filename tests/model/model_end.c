/* Description: the end of a runtime whose seats change (runtime/sched/shutdown.c, watch.c,
 * reserve.c, idle.c, with seat.h and duty.h): shutdown against the watch that calls a spare worker
 * in, has a new one made, or sends one away with tasks in its queue; against a monitor that takes
 * over what a stuck worker has; and with a pinned task of one that sits out. When shutdown returns,
 * all tasks have run, and nobody uses the runtime's memory any more: not a spare that came last
 * either. Spawns, and tasks that park, are in model_shutdown.c. */
#include "tests/model/model_end.h"

/* ---- tasks that the shutdown wakes ---- */

struct filch__pool filch__task_pool;

void filch__pool_each(struct filch__pool *pool, void (*fn)(void *object, void *arg), void *arg)
{
    (void)pool;
    if (xp_peek(&parked_task.location))
        fn(&tasks[PINNED], arg);
}

/* filch__task_wake() and filch__mailbox_send(). */
void filch__task_wake(struct filch__task *task, uint64_t generation)
{
    struct filch__worker *to = task->pinned_to;

    (void)generation;
    filch_fetch_add_seq_cst(&rt.wakers, 1);
    uses_memory();
    if (filch_exchange_acq_rel(&parked_task, 0) && put(&lane[index_of(to)].mail, PINNED) &&
        (filch__idle_claim(&rt.idle, to->index) || filch__seat_has_left(&to->seat)))
        unparks(to->lane);
    filch_fetch_sub_seq_cst(&rt.wakers, 1);
}

/* ---- threads ---- */

static void shuts_down(void)
{
    xp_assert(filch_runtime_shutdown(&rt, FILCH_NEVER) == 0);
    xp_assert(ran == expected);
    for (int i = 0; i < TASKS; i++)
        if (effects[i])
            filch_plain_read(&effects[i]);
    over = true;
}

/* Workers leave while the watch may still call one in. */
static void ends_workers_before_the_watch(void)
{
    filch__runtime_end_workers(&rt);
    filch__watch_stop(&rt);
    filch__runtime_free(&rt);
    over = true;
}

static void unparks_before_it_says_why(void)
{
    unparks(workers[0].lane);
    filch_store_release(&rt.exiting, 1);
    joins(workers[0].thread);
}

static bool nobody_is_stuck(void *arg)
{
    return effects[STUCK] || all_have_run(arg) || !has_stuck;
}

/* watch_main(), with given looks: how many workers are blocked at each. */
static void watches(const unsigned *blocked, int looks)
{
    for (int i = 0; i < looks && !filch_load_acquire(&rt.watch.stop); i++) {
        uses_memory();
        if (!blocked[i])
            xp_block_until(nobody_is_stuck, NULL);
        rt.watch.surplus_looks = SURPLUS_LOOKS; /* as if it had found so for long */
        fill_seats(&rt, blocked[i], 0);
    }
    while (!filch_load_acquire(&rt.watch.stop))
        (void)wait_for_look(&rt, filch__idle_running(&rt.idle) ? filch_now() : FILCH_NEVER);
    uses_memory();
    goes();
}

static void calls_one(void)
{
    watches((unsigned[]){1}, 1);
}

static void dismisses_one(void)
{
    watches((unsigned[]){0}, 1);
}

static void dismisses_one_and_calls_it(void)
{
    watches((unsigned[]){0, 1}, 2);
}

static void stops_the_watch(void)
{
    filch__watch_stop(&rt);
    filch__runtime_free(&rt);
}

static void has_no_looks(void)
{
    watches(NULL, 0);
}

/* With looks that find nothing to do. */
static void watches_itself(void)
{
    (void)watch_main(&rt);
    uses_memory();
    goes();
}

/* Wakes up, finds nothing, parks: each time the watch may be on its way to sleep. */
static void comes_and_goes(void)
{
    for (int i = 0; i < 2; i++) {
        (void)filch__idle_unpark(&rt.idle, 0);
        filch__watch_wake(&rt);
        filch__idle_park(&rt.idle, 0, false);
    }
}

static void nobody(void)
{
}

static void first_works(void)
{
    works(&workers[0]);
}

/* It was parked before. */
static void first_wakes_up(void)
{
    park(&workers[0]);
    works(&workers[0]);
}

static void second_works(void)
{
    works(&workers[1]);
}

static bool is_created(void *arg)
{
    (void)arg;
    return xp_peek(&created.location) || over;
}

/* The one that fill_seats() makes. */
static void new_one_works(void)
{
    xp_block_until(is_created, NULL);
    if (filch_exchange_acquire(&created, 2))
        works(&workers[1]);
}

/* ---- where it begins ---- */

static void reset_worker(unsigned i)
{
    struct filch__worker *worker = &workers[i];

    worker->rt = &rt;
    worker->index = i;
    worker->lane = (struct filch__lane *)(uintptr_t)(i + 1);
    worker->thread = FIRST + i;
    worker->has_thread = true;
    worker->searching = worker->woken = false;
    worker->monitor_ns = 0;
    memset(&worker->watched, 0, sizeof worker->watched);
    filch_atomic_init(&worker->tick, 0);
    filch_atomic_init(&worker->in_place, 0);
    filch_atomic_init(&worker->seat, FILCH_SEAT_ACTIVE);
    filch_atomic_init(&worker->parked, 0);
    filch__lifo_init(&worker->lifo);
    filch_atomic_init(&lane[i].unparked, 0);
    lane[i].event = false;
    filch_atomic_init(&lane[i].own, 0);
    filch_atomic_init(&lane[i].mail, 0);
    filch_atomic_init(&lane[i].posted, 0);
    filch_spinlock_init(&lane[i].reap);
}

static void reset_runtime(unsigned seats, unsigned active)
{
    rt.worker = workers;
    rt.workers = active;
    rt.opts.keep_workers = true;
    rt.seats_max = WORKERS;
    filch_atomic_init(&rt.wakers, 0);
    filch_atomic_init(&rt.callers, 0);
    filch_atomic_init(&rt.seats, seats);
    filch_atomic_init(&rt.stopping, 0);
    filch_atomic_init(&rt.exiting, 0);
    filch_atomic_init(&rt.finish_seen, 0);
    filch_atomic_init(&rt.closing, 0);
    filch_atomic_init(&rt.monitor, 0);
    filch__idle_init(&rt.idle, seats);
    rt.watch.has_thread = true;
    rt.watch.thread = WATCH;
    rt.watch.target = 1;
    rt.watch.quota_at = FILCH_NEVER;
    rt.watch.quiet_since = 0;
    rt.watch.surplus_looks = 0;
    filch_atomic_init(&rt.watch.word, WATCH_AWAKE);
    filch_atomic_init(&rt.watch.stop, 0);
    filch_atomic_init(&rt.watch.spares, 0);
    filch_atomic_init(&rt.watch.active, active);
}

/* @waiting: a bit for each task in the first worker's queue. */
static void reset(unsigned seats, unsigned active, unsigned waiting)
{
    reset_runtime(seats, active);
    for (unsigned i = 0; i < WORKERS; i++)
        reset_worker(i);
    filch_atomic_init(&injected, 0);
    filch_atomic_init(&finished, 0);
    filch_atomic_init(&parked_task, 0);
    filch_atomic_init(&created, 0);
    for (int i = 0; i < XP_THREADS; i++)
        filch_atomic_init(&gone[i], 0);
    memset(effects, 0, sizeof effects);
    filch_spinlock_init(&bucket);
    sleeps_on_end = sleeps_on_word = over = false;
    now_is = 1;
    passes = 0;
    ran = 0;
    expected = (unsigned)__builtin_popcount(waiting);
    has_stuck = waiting & 1u << STUCK;
    filch_atomic_init(&lane[0].own, waiting);
}

#define TASK(t) (1u << (t))

static void reset_parked(void)
{
    reset(1, 1, 0);
    filch_atomic_init(&rt.idle.counts, 0);
    filch_atomic_init(&rt.idle.sleepers[0], 1);
}

/* Whenever the watch looks at the clock it has been quiet for long. */
static void reset_quiet(void)
{
    reset_parked();
    passes = 2 * QUIET_NS;
}

/* A worker is stuck until a spare has run what waits behind; the spare is about to sit out. */
static void reset_stuck(void)
{
    reset(2, 1, TASK(STUCK) | TASK(OTHER));
    filch_atomic_init(&workers[1].seat, FILCH_SEAT_LEAVING);
}

static void no_second_yet(void)
{
    filch_atomic_init(&workers[1].seat, FILCH_SEAT_RESERVE);
    filch_atomic_init(&workers[1].parked, 1);
    workers[1].has_thread = false;
}

static void reset_stuck_alone(void)
{
    reset(1, 1, TASK(STUCK) | TASK(OTHER));
    no_second_yet();
}

static void reset_alone(void)
{
    reset(1, 1, 0);
    no_second_yet();
}

/* The second one has a task when it is told to leave; the first one is parked. */
static void reset_too_many(void)
{
    reset(2, 2, TASK(OTHER));
    filch_atomic_init(&lane[1].own, TASK(OTHER));
    filch_atomic_init(&lane[0].own, 0);
    filch_atomic_init(&rt.idle.counts, (uint64_t)1 << 32);
    filch_atomic_init(&rt.idle.sleepers[0], 1);
}

/* What the stuck task waits for has completed in its own worker's lane. */
static void reset_monitor(void)
{
    reset(2, 2, TASK(STUCK) | TASK(OTHER));
    filch_atomic_init(&lane[0].own, TASK(STUCK));
    filch_atomic_init(&lane[0].posted, TASK(OTHER));
    rt.watch.has_thread = false;
}

/* A pinned task of the second one is parked; the first one is elsewhere. */
static void reset_pinned(void)
{
    struct filch__task *task = &tasks[PINNED];

    reset(2, 2, TASK(PINNED));
    filch_atomic_init(&lane[0].own, 0);
    filch_atomic_init(&parked_task, 1);
    filch_atomic_init(&task->state, 0);
    filch_atomic_init(&task->rt, &rt);
    task->pinned_to = &workers[1];
    task->kind = FILCH_KIND_PINNED;
    workers[0].has_thread = false;
}

static void all_is_over(void)
{
    xp_assert(ran == expected);
    xp_assert(xp_peek(&rt.closing.location) == FILCH__CLOSE_OVER);
}

static void nothing(void)
{
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"the watch is stopped",
         3,
         {stops_the_watch, has_no_looks, comes_and_goes},
         reset_parked,
         nothing,
         2,
         false},
        {"the watch is stopped as it looks",
         3,
         {stops_the_watch, watches_itself, comes_and_goes},
         reset_quiet,
         nothing,
         2,
         false},
        {"a spare is made as all is over",
         4,
         {shuts_down, calls_one, first_works, new_one_works},
         reset_alone,
         all_is_over,
         1,
         false},
        {"a pinned task of one that is dismissed and called",
         4,
         {shuts_down, dismisses_one_and_calls_it, nobody, second_works},
         reset_pinned,
         all_is_over,
         1,
         false},
        {"workers end before the watch",
         4,
         {ends_workers_before_the_watch, calls_one, first_works, new_one_works},
         reset_alone,
         nothing,
         2,
         true},
        {"unparked before it is said why",
         3,
         {unparks_before_it_says_why, nobody, first_works},
         reset_alone,
         nothing,
         2,
         true},
        {"the monitor takes over what a stuck one waits for",
         4,
         {shuts_down, nobody, first_works, second_works},
         reset_monitor,
         all_is_over,
         0,
         false},
        {"a spare is made",
         4,
         {shuts_down, calls_one, first_works, new_one_works},
         reset_stuck_alone,
         all_is_over,
         0,
         false},
        {"one is dismissed with a task in its queue",
         4,
         {shuts_down, dismisses_one, first_wakes_up, second_works},
         reset_too_many,
         all_is_over,
         0,
         false},
        {"a spare is called in",
         4,
         {shuts_down, calls_one, first_works, second_works},
         reset_stuck,
         all_is_over,
         0,
         false},
    };
#define IDLE "model_idle.c says why"
#define SEAT "model_seat.c is about that"
#define SHUTDOWN_MODEL "model_shutdown.c says why"
#define GATE "nobody spawns from outside: model_gate.c"
#define UNPARK "it takes nothing over: model_unpark.c"
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
        {"filch__idle_running_now fetch_add_release -> relaxed", SEAT},
        {"filch__seat_call exchange_acquire -> relaxed", SEAT},
        {"filch__seat_leave cas_acquire -> relaxed", SEAT},
        {"filch__seat_has_left fetch_add_release -> relaxed", SEAT},
        {"filch__runtime_finished exchange_seq_cst -> acq_rel", SHUTDOWN_MODEL},
        {"end_tasks exchange_seq_cst -> acq_rel", SHUTDOWN_MODEL},
        {"wake_if_ours load_acquire -> relaxed", SHUTDOWN_MODEL},
        {"filch__task_wake fetch_add_seq_cst -> acq_rel", SHUTDOWN_MODEL},
        {"filch__task_wake fetch_sub_seq_cst -> acq_rel", SHUTDOWN_MODEL},
        {"stop_all load_seq_cst -> acquire", SHUTDOWN_MODEL},
        {"filch_runtime_shutdown cas_acq_rel -> acquire", SHUTDOWN_MODEL},
        {"filch_runtime_shutdown cas_acq_rel -> release", SHUTDOWN_MODEL},
        {"filch_runtime_shutdown store_release -> relaxed", SHUTDOWN_MODEL},
        {"filch__gate_shut store_seq_cst -> release", GATE},
        {"filch__gate_is_empty load_seq_cst -> acquire", GATE},
        {"filch__unpark_begin exchange_acq_rel -> release", UNPARK},
        {"filch__watch_poke exchange_acq_rel -> release", "it takes nothing over"},
        {"filch__task_wake exchange_acq_rel -> acquire", "the model's own: it carries nothing"},
        {"filch__task_wake exchange_acq_rel -> release", "the model's own: it carries nothing"},
        {"finish fetch_add_release -> relaxed", "the joins of the workers carry the effects"},
        {"filch__runtime_live load_acquire -> relaxed", "the same"},
        {"filch__worker_sit_out load_acquire -> relaxed", "the worker's loop looks again"},
        {"filch__runtime_fill_seat store_release -> relaxed",
         "the thread's creation, and the join of the watch, carry it"},
        {"filch__runtime_seats load_acquire -> relaxed", "the same"},
        {"works load_acquire -> relaxed", "the worker takes nothing over"},
        {"filch__runtime_end_workers store_release -> relaxed", "the same"},
        {"watches load_acquire -> relaxed", "the watch takes nothing over; the poke carries it"},
        {"watch_main load_acquire -> relaxed", "the same"},
        {"filch__watch_stop store_release -> relaxed", "the same"},
        {"wait_for_look exchange_acquire -> relaxed",
         "the one before the sleep; what it finds is taken away by the one after"},
        {"new_one_works exchange_acquire -> relaxed", "the model's own: pthread_create()"},
        {"unparks_before_it_says_why store_release -> relaxed", "of a model that must fail"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
