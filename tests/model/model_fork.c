/* Description: a shared fork (runtime/task/state.h, the edges claim and take_back): its own task
 * against the one that forked it, the end of one against the other's wait, and a request to end
 * that is handed on; and who asks for forks (runtime/fork/ask.h) against who goes to sleep. */
#include "runtime/fork/ask.h"
#include "runtime/sched/idle.c"
#include "runtime/task/state.h"

#include "tests/model/explore.h"

struct filch__waiter {
    filch_atomic_u32 woken;
};

/* A task: its word, and whether it is in a queue. [queue] release in enqueue() -> acquire in
 * pick(), as the real queues do. */
struct task {
    filch_atomic_u64 state;
    filch_atomic_u32 queue;
    int released;
};

static struct task parent, child;
static struct filch__waiter waiter;
static struct filch__waiter *joiner;
static int argument, result; /* in the parent's frame */
static bool frame_is_there;
static int runs;

static void enqueue(struct task *task)
{
    xp_assert(xp_peek(&task->queue.location) == 0);
    filch_store_release(&task->queue, 1); /* [queue] */
}

static bool is_queued(void *task)
{
    return xp_peek(&((struct task *)task)->queue.location) != 0;
}

static void pick(struct task *task)
{
    xp_block_until(is_queued, task);
    xp_assert(filch_exchange_acquire(&task->queue, 0) == 1); /* [queue] */
    filch__state_pick(&task->state);
}

static void park(struct task *task)
{
    if (filch__state_take_wake(&task->state))
        return;
    if (filch__state_park(&task->state) == FILCH_PARK_REQUEUE)
        enqueue(task);
    pick(task);
}

static void release(struct task *task)
{
    filch_plain_write(&task->released);
    xp_assert(!task->released);
    task->released = 1;
    filch__state_release(&task->state);
}

static void reset(void)
{
    filch_atomic_init(&parent.state, 0);
    filch_atomic_init(&parent.queue, 0);
    filch_atomic_init(&child.state, FILCH_TASK_DONE);
    filch_atomic_init(&child.queue, 0);
    filch_atomic_init(&waiter.woken, 0);
    parent.released = child.released = 0;
    joiner = NULL;
    argument = result = runs = 0;
    frame_is_there = true;
}

static void call(void)
{
    xp_assert(frame_is_there);
    filch_plain_read(&argument);
    xp_assert(argument == 3);
    filch_plain_write(&result);
    result = 7;
    runs++;
}

/* As share_oldest(). */
static void share(void)
{
    filch_plain_write(&argument);
    argument = 3;
    filch__state_spawn(&child.state, true);
    enqueue(&child);
}

static void hand_on(bool *told)
{
    if (*told || !(filch_load_relaxed(&parent.state) & FILCH_TASK_ASKED))
        return;
    *told = true;
    if (filch__state_cancel(&child.state, 0, -125) == FILCH_CANCEL_QUEUE)
        enqueue(&child);
}

/* As filch__fork_pop_slow(). */
static void join(void)
{
    bool told = false;

    if (filch__state_take_back(&child.state)) {
        call();
        return;
    }
    if (filch__state_join_begin(&child.state, 0, &joiner, &waiter) == FILCH_JOIN_WAIT)
        while (!filch_load_acquire(&waiter.woken)) {
            hand_on(&told);
            park(&parent);
        }
    release(&child);
}

static void forker(void)
{
    share();
    join();
    filch_plain_read(&result);
    xp_assert(result == 7);
    frame_is_there = false;
}

static void wake_parent(void)
{
    if (filch__state_wake(&parent.state, 0) == FILCH_WAKE_QUEUE)
        enqueue(&parent);
}

static void finish_child(void)
{
    switch (filch__state_finish(&child.state)) {
    case FILCH_FINISH_RELEASE:
        release(&child);
        break;
    case FILCH_FINISH_KEEP:
        break;
    case FILCH_FINISH_WAKE_JOINER:
        filch_plain_read(&joiner);
        filch_store_release(&joiner->woken, 1);
        wake_parent();
        break;
    }
}

/* As shared_body(). */
static void own_task(void)
{
    pick(&child);
    if (filch__state_claim(&child.state))
        call();
    finish_child();
}

/* Waits in the fork until it is asked to end. */
static void own_task_waits(void)
{
    pick(&child);
    if (filch__state_claim(&child.state)) {
        while (!(filch_load_relaxed(&child.state) & FILCH_TASK_CANCEL))
            park(&child);
        call();
    }
    finish_child();
}

static void canceller(void)
{
    if (filch__state_cancel(&parent.state, 0, -125) == FILCH_CANCEL_QUEUE)
        enqueue(&parent);
}

static void late_waker(void)
{
    wake_parent();
}

static void ran_once(void)
{
    xp_assert(runs == 1);
    xp_assert(child.released == 1);
}

/* ---- asking ---- */

#define FORKS 2

static struct filch__idle idle;
static filch_atomic_ptr limit;
static filch_atomic_u32 work; /* shared forks in the owner's queue */
static filch_atomic_u32 unparked;
static filch_atomic_u32 over;
static int room;
static int shared, taken;
static bool asked;

static void reset_ask(void)
{
    filch__idle_init(&idle, 2);
    filch_atomic_init(&limit, &room);
    filch_atomic_init(&work, 0);
    filch_atomic_init(&unparked, 0);
    filch_atomic_init(&over, 0);
    shared = taken = 0;
    asked = false;
}

/* As filch__fork_push_slow(), and the end of a join that makes room. */
static void owner(void)
{
    for (int i = 0; i < FORKS; i++) {
        if (filch__ask_is_open(&limit)) {
            filch__ask_take(&limit, &room);
            shared++;
            filch_fetch_add_relaxed(&work, 1);
            if (filch__idle_pick(&idle) >= 0)
                filch_store_release(&unparked, 1);
        }
        filch__ask_set_room(&limit, &runs);
    }
    filch_store_relaxed(&over, 1);
}

/* As let_others_run(): whose request it is that it takes away, it does not know. */
static void owner_lets_others_run(void)
{
    filch__ask_postpone(&limit, &room);
    if (filch__idle_wants(&idle))
        filch__ask(&limit);
    filch_store_relaxed(&over, 1);
}

/* As it did before. */
static void owner_asks_for_sleepers(void)
{
    filch__ask_postpone(&limit, &room);
    if (filch__idle_sleeps(&idle))
        filch__ask(&limit);
    filch_store_relaxed(&over, 1);
}

static bool is_unparked(void *arg)
{
    (void)arg;
    return xp_peek(&unparked.location) || (xp_peek(&over.location) && xp_peek(&work.location) == 0);
}

static void worker_without_work(void)
{
    bool searching = false;

    while (taken < FORKS && !filch_load_relaxed(&over)) {
        if (filch_load_relaxed(&work)) {
            filch_fetch_sub_relaxed(&work, 1);
            taken++;
            if (searching)
                (void)filch__idle_end_search(&idle);
            searching = false;
            continue;
        }
        if (!searching)
            searching = filch__idle_begin_search(&idle);
        filch__ask(&limit);
        asked = true;
        filch__idle_park(&idle, 1, searching);
        searching = false;
        if (!filch_load_relaxed(&work))
            xp_block_until(is_unparked, NULL);
        filch_store_relaxed(&unparked, 0);
        searching = filch__idle_unpark(&idle, 1);
    }
}

/* A request is answered, or stays. */
static void request_is_not_lost(void)
{
    xp_assert(!asked || shared || !xp_peek(&limit.location));
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"a fork and its own task", 2, {forker, own_task}, reset, ran_once, -1, false},
        {"a wake for nothing meanwhile",
         3,
         {forker, own_task, late_waker},
         reset,
         ran_once,
         3,
         false},
        {"a request to end meanwhile",
         3,
         {forker, own_task_waits, canceller},
         reset,
         ran_once,
         3,
         false},
        {"asking and going to sleep",
         2,
         {owner, worker_without_work},
         reset_ask,
         request_is_not_lost,
         2,
         false},
        {"asking one that lets others run",
         2,
         {owner_lets_others_run, worker_without_work},
         reset_ask,
         request_is_not_lost,
         2,
         false},
        {"asking one that looks for sleepers only",
         2,
         {owner_asks_for_sleepers, worker_without_work},
         reset_ask,
         request_is_not_lost,
         2,
         true},
    };
#define IDLE "model_idle.c says why"
#define STATE "nothing is handed over by this edge here; model_state.c is about those that do"
#define QUEUE "the queue carries what is handed over"
    static const struct xp_excuse excuses[] = {
        {"filch__state_finish load_acquire -> relaxed", "a fork has a handle: model_state.c"},
        {"filch__idle_begin_search fetch_add_seq_cst -> acq_rel", IDLE},
        {"filch__idle_end_search fetch_sub_seq_cst -> acq_rel", IDLE},
        {"filch__idle_pick fetch_add_seq_cst -> acq_rel", IDLE},
        {"claim_sleeper load_seq_cst -> acquire", IDLE},
        {"claim_sleeper cas_weak_seq_cst -> acq_rel", IDLE},
        {"filch__idle_unpark fetch_and_seq_cst -> acq_rel", IDLE},
        {"filch__idle_unpark fetch_add_seq_cst -> acq_rel", IDLE},
        {"filch__idle_park fetch_or_seq_cst -> acq_rel", IDLE},
        {"filch__idle_park fetch_sub_seq_cst -> acq_rel", IDLE},
        {"filch__state_cancel cas_weak_acq_rel -> acquire", STATE},
        {"filch__state_cancel cas_weak_acq_rel -> release", STATE},
        {"filch__state_take_wake fetch_and_acq_rel -> acquire", STATE},
        {"filch__state_wake cas_weak_acq_rel -> release", STATE},
        {"filch__state_park cas_weak_acq_rel -> acquire", STATE},
        {"filch__state_park cas_weak_acq_rel -> release", STATE},
        {"filch__state_release store_release -> relaxed", STATE},
        {"filch__state_spawn store_release -> relaxed", QUEUE},
        {"filch__state_pick load_acquire -> relaxed", QUEUE},
        {"owner store_release -> relaxed", "stands for a system call"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
