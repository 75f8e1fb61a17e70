/* The worker's loop, and switching from task to task.
 *
 * A task that suspends looks for the next one itself and switches to it directly, from stack to
 * stack; the loop, on the worker thread's own stack, is entered when the queue is empty, every
 * MAINTAIN_TICKS switches (clock, timers, driver, inject queue), and to poll futures, which have no
 * stack.
 *
 *     task A --suspend--> task B --suspend--> [loop: maintenance] --> task C ...
 *
 * What the suspended task's state must become (parked, queued) can only be done when nobody is on
 * its stack any more: so it is left in worker->after and done first thing on the other side of the
 * switch. A body that has returned runs the next new task on the same stack, without a switch at
 * all.
 *
 * Order in the loop: mailbox with pinned tasks (PINNED_USES in a row, then the others have their
 * turn), LIFO slot (FILCH__LIFO_USES in a row, then the queue has its turn), run queue,
 * own driver lane and timers, inject queue, other workers that are behind; then worker_idle.c.
 * Every INJECT_TICKS switches the inject queue goes first.
 */
#include "runtime/sched/worker.h"

#include <errno.h>

#include "runtime/sched/seat.h"

#define MAINTAIN_TICKS 32
#define INJECT_TICKS                                                                               \
    64 /* a multiple: the loop is entered every MAINTAIN_TICKS when the queue is busy */
#define INJECT_BATCH 64
#define PINNED_USES 16
#define STACK_COLOURS 2048 /* bytes */
/* A task that pushes without ever switching looks at the clock at every so many pushes. */
#define PUSH_CHECK 64

static inline __attribute__((always_inline)) void look_at_push(struct filch__worker *worker)
{
    if (__builtin_expect(worker->slow, 0))
        filch__worker_call_help(worker);
    else if (worker->current && filch_load_relaxed(&worker->queue.tail) % PUSH_CHECK == 0)
        filch__worker_check_behind(worker);
}

void filch__worker_pushed(struct filch__worker *worker)
{
    look_at_push(worker);
}

void filch__worker_push_back(struct filch__worker *worker, struct filch__task *task)
{
    filch__run_queue_push(&worker->queue, task);
    look_at_push(worker);
}

bool filch__worker_push_apart(struct filch__worker *worker, struct filch__task *task)
{
    if (task->flags & FILCH_TASK_GROUPED)
        filch__group_push(worker, task, false);
    else if (filch__task_has_stack(task))
        filch__mailbox_send(task);
    else
        return false;
    return true;
}

/* Its next turn, on the side of the switch where nobody is on its stack. */
static void queue_again(struct filch__worker *worker, struct filch__task *task)
{
    if (task->kind == FILCH_KIND_STACKFUL || !filch__worker_push_apart(worker, task))
        filch__worker_push_back(worker, task);
}

void filch__worker_push_front(struct filch__worker *worker, struct filch__task *task)
{
    struct filch__task *old;

    /* Where tasks run for long, it may as well begin elsewhere. */
    if (__builtin_expect(worker->slow, 0)) {
        filch__worker_push_back(worker, task);
        return;
    }
    filch__prefetch_stack(task);
    old = filch__lifo_take(&worker->lifo);
    filch__lifo_put(&worker->lifo, task);
    if (old)
        filch__worker_push_back(worker, old);
}

/* With many tasks, each one's block and stack have left the first-level cache when its turn comes:
 * fetch the next one's stack, and the block of the one after it, while this one runs. */
static void prefetch_queue(struct filch__worker *worker)
{
    struct filch__task *next = filch__run_queue_peek(&worker->queue, 0);
    struct filch__task *then = filch__run_queue_peek(&worker->queue, 1);

    if (then)
        __builtin_prefetch(then);
    if (next)
        filch__prefetch_stack(next);
}

static struct filch__task *next_local(struct filch__worker *worker)
{
    struct filch__task *task;

    if (worker->lifo_uses < FILCH__LIFO_USES) {
        task = filch__lifo_take(&worker->lifo);
        if (task) {
            worker->lifo_uses++;
            return task;
        }
    }
    worker->lifo_uses = 0;
    task = filch__run_queue_pop(&worker->queue);
    if (!task)
        return filch__lifo_take(&worker->lifo);
    prefetch_queue(worker);
    return task;
}

/* In line where a task leaves its stack. */
static inline __attribute__((always_inline)) struct filch__task *
next_fast(struct filch__worker *worker)
{
    struct filch__task *task;

    /* One branch for both: the second is a program's error, and rare. */
    if ((int)((filch_load_relaxed(&worker->tick) & worker->turn_mask) == 0) |
        (filch__rcu_nesting() != 0)) {
        filch__rcu_check_switch();
        return NULL;
    }
    task = next_local(worker);
    if (task && task->kind == FILCH_KIND_FUTURE) {
        worker->handoff = task;
        return NULL;
    }
    return task;
}

struct filch__task *filch__worker_next_fast(struct filch__worker *worker)
{
    return next_fast(worker);
}

static void found_work(struct filch__worker *worker)
{
    if (worker->woken) {
        worker->woken = false;
        filch_counter_add(&worker->stats.wakes_useful, 1);
    }
    worker->searching = false;
    /* [idle-last] What a producer published while we searched is ours to pass on; and somebody must
     * watch over us. */
    if (!filch__idle_end_search(&worker->rt->idle))
        return;
    if (filch__worker_sees_work(worker))
        filch__runtime_notify(worker->rt);
    else
        filch__monitor_call(worker->rt, worker->now);
}

/* A task that was popped from a queue runs here now. */
static void begin_run(struct filch__worker *worker, struct filch__task *task)
{
    if (worker->searching)
        found_work(worker);
    filch_counter_add(&worker->tick, 1);
    filch_store_relaxed(&worker->budget, FILCH__BUDGET);
    filch__state_pick(&task->state);
    worker->current = task;
}

/* Stacks lie at equal distances, so their hot ends would share a few sets of the cache: each begins
 * a little lower than the one before, within the upper half of its top page. */
static size_t next_colour(struct filch__worker *worker)
{
    worker->colour = (worker->colour + FILCH_CACHELINE) % STACK_COLOURS;
    return worker->colour;
}

struct filch__switch_target filch__worker_enter(struct filch__worker *worker,
                                                struct filch__task *task)
{
    struct filch__switch_target to;

    begin_run(worker, task);
    if (!task->stack) {
        task->stack = filch__stack_attach(&worker->stacks[task->class_index]);
        task->stack->spawn_place = task->sp;
        task->sp = filch__switch_prepare((char *)task->stack - next_colour(worker));
    }
    to.sp = task->sp;
#ifdef FILCH__SWITCH_SANITIZED
    to.low = task->stack->low;
    to.bytes = (size_t)((char *)task->stack - task->stack->low);
    to.tsan_fiber = task->stack->tsan_fiber;
#endif
    return to;
}

void filch__worker_after(struct filch__worker *worker)
{
    struct filch__task *task = worker->after_task;
    enum filch__after after = worker->after;

    worker->after = FILCH_AFTER_NOTHING;
    switch (after) {
    case FILCH_AFTER_NOTHING:
        break;
    case FILCH_AFTER_PARK:
        if (filch__state_park(&task->state) == FILCH_PARK_REQUEUE)
            filch__worker_push_back(worker, task);
        break;
    case FILCH_AFTER_YIELD:
        filch__worker_push_back(worker, task);
        break;
    case FILCH_AFTER_PARK_APART:
        if (filch__state_park(&task->state) == FILCH_PARK_REQUEUE)
            filch__worker_push_apart(worker, task);
        break;
    case FILCH_AFTER_YIELD_APART:
        filch__worker_push_apart(worker, task);
        break;
    case FILCH_AFTER_ROOM:
        filch__group_push(worker, task, true);
        break;
    case FILCH_AFTER_STACK:
        filch__stack_detach(&worker->stacks[worker->after_stack->size_class], worker->after_stack);
        break;
    }
}

/* To @next, or to the loop. */
static inline __attribute__((always_inline)) void
switch_from(struct filch__worker *worker, enum filch__after after, struct filch__task *next)
{
    struct filch__task *task = worker->current;
    struct filch__switch_target to = worker->loop;
    int saved_errno = *worker->errno_at;
    void *fake_stack = NULL;

    worker->after = after;
    worker->after_task = task;
    worker->current = NULL;
    if (next)
        to = filch__worker_enter(worker, next);
    if (__builtin_expect((int)filch__switch_state_any(worker->cxx_state, task) |
                             (filch_load_relaxed(&worker->forks) != NULL),
                         0))
        filch__switch_with_state(worker, task, &fake_stack, &to);
    else
        filch__switch_to(&task->sp, &fake_stack, &to);
    /* Perhaps another thread: nothing read before may be used. */
    worker = filch__worker_self();
    filch__worker_after(worker);
    *worker->errno_at = saved_errno;
}

void filch__worker_switch_out(struct filch__worker *worker, enum filch__after after)
{
    switch_from(worker, after, next_fast(worker));
}

void filch__worker_switch_to_loop(struct filch__worker *worker, enum filch__after after)
{
    filch__rcu_check_switch();
    switch_from(worker, after, NULL);
}

/* Where to go from a stack whose tasks have ended. */
FILCH__NEVER_LEFT static void *leave_stack(struct filch__worker *worker, struct filch__task *next,
                                           struct filch__stack *stack)
{
    struct filch__switch_target to = worker->loop;

    worker->after = FILCH_AFTER_STACK;
    worker->after_stack = stack;
    if (next)
        to = filch__worker_enter(worker, next);
    return filch__switch_leave(&to);
}

/* The body of every stack: runs tasks until the next one has a stack of its own. */
FILCH__NEVER_LEFT void *filch__task_main(void)
{
    struct filch__worker *worker = filch__worker_self();

    filch__switch_arrived();
    filch__worker_after(worker);
    for (;;) {
        struct filch__task *task = worker->current;
        struct filch__stack *stack = task->stack;
        struct filch__task *next;
        int result;

        *worker->errno_at = 0;
        result = task->fn(task->arg);
        filch__task_finish(task, result);
        worker = filch__worker_self(); /* which a destructor of the task may have changed, too */
        worker->current = NULL;
        next = next_fast(worker);
        if (!next || next->stack || next->class_index != stack->size_class)
            return leave_stack(worker, next, stack);
        next->stack = stack;
        stack->spawn_place = next->sp;
        begin_run(worker, next);
    }
}

static void run_future(struct filch__worker *worker, struct filch__task *task)
{
    filch_future *future = task->arg;
    filch_waker waker = {.target = task, .key = filch__task_generation(task)};
    filch_cx cx = {.waker = &waker};
    bool cancelled;

    begin_run(worker, task);
    cancelled = filch__task_cancelled(task);
    if (!cancelled && future->poll(future, &cx) == FILCH_PENDING) {
        filch__rcu_check();
        worker->current = NULL;
        if (filch__state_park(&task->state) == FILCH_PARK_REQUEUE)
            queue_again(worker, task);
        return;
    }
    int result = cancelled ? -ECANCELED : future->result;

    if (future->drop)
        future->drop(future);
    filch__rcu_check();
    filch__task_finish(task, result);
    worker->current = NULL;
}

void filch__worker_run(struct filch__worker *worker, struct filch__task *task)
{
    struct filch__switch_target to;

    if (task->kind == FILCH_KIND_FUTURE) {
        run_future(worker, task);
        return;
    }
    to = filch__worker_enter(worker, task);
    filch__switch_to(&worker->loop.sp, &worker->loop_fake_stack, &to);
    filch__worker_after(worker);
}

void filch__worker_run_timers(struct filch__worker *worker)
{
    if (filch_load_relaxed(&worker->timers.next) <= worker->now)
        filch_counter_add(&worker->stats.timers_fired,
                          filch__timers_run(&worker->timers, worker->now));
}

/* RCU, clock, timers, driver, the other workers. */
static void maintain(struct filch__worker *worker)
{
    const struct filch__driver_ops *driver = &filch__io_driver;

    worker->turn_mask = filch_load_relaxed(&worker->rt->grouped) ? 0 : MAINTAIN_TICKS - 1;
    filch__rcu_pass();
    filch__worker_check_behind(worker);
    filch__worker_note_slices(worker);
    filch__monitor_pass(worker);
    filch__worker_run_timers(worker);
    if (driver->is_due(worker->lane))
        worker->completions += driver->poll(worker->lane);
}

static struct filch__task *take_injected(struct filch__worker *worker)
{
    struct filch__inject *inject = &worker->rt->inject;

    return filch__inject_take(inject, &worker->queue, INJECT_BATCH);
}

void filch__worker_catch_up(struct filch__worker *worker)
{
    struct filch__task *task;

    maintain(worker);
    task = take_injected(worker);
    if (task)
        filch__worker_push_back(worker, task);
}

static struct filch__task *next_pinned(struct filch__worker *worker)
{
    struct filch__task *task = NULL;

    if (worker->pinned_uses < PINNED_USES)
        task = filch__mailbox_take(&worker->mailbox);
    worker->pinned_uses = task ? worker->pinned_uses + 1 : 0;
    if (task && task->kind == FILCH_KIND_PLACED)
        task->kind = FILCH_KIND_STACKFUL;
    return task;
}

bool filch__worker_has_plain(struct filch__worker *worker)
{
    return !filch__lifo_is_empty(&worker->lifo) || !filch__run_queue_is_empty(&worker->queue) ||
           !filch__mailbox_is_empty(&worker->mailbox) ||
           !filch__inject_is_empty(&worker->rt->inject);
}

struct filch__task *filch__worker_next_plain(struct filch__worker *worker)
{
    struct filch__task *task;

    if ((task = next_pinned(worker)) || (task = next_local(worker)) ||
        (task = take_injected(worker)))
        return task;
    return next_pinned(worker);
}

/* While there are groups. What has come in is looked at before another group has its turn, and what
 * is staged goes out. */
static struct filch__task *next_of_groups(struct filch__worker *worker)
{
    struct filch__task *task;

    worker->turn_mask = 0;
    worker->now = filch_now();
    if ((task = filch__group_stay(worker)))
        return task;
    for (int i = 0; i < 2; i++) {
        if (i > 0 || filch__io_driver.is_ready(worker->lane))
            worker->completions += filch__io_driver.poll(worker->lane);
        filch__worker_note_slices(worker);
        filch__worker_run_timers(worker);
        if (filch_load_relaxed(&worker->tick) % INJECT_TICKS == 0 && (task = take_injected(worker)))
            filch__worker_push_back(worker, task);
        if ((task = filch__group_next(worker)))
            return task;
        worker->now = filch_now();
    }
    filch__group_rest(worker);
    return NULL;
}

struct filch__task *filch__worker_next(struct filch__worker *worker)
{
    uint64_t tick = filch_load_relaxed(&worker->tick);
    struct filch__task *task = worker->handoff;

    worker->handoff = NULL;
    if (task)
        return task;
    if (tick % MAINTAIN_TICKS == 0)
        maintain(worker);
    if (__builtin_expect(filch_load_relaxed(&worker->rt->grouped), 0))
        return next_of_groups(worker);
    if (tick % INJECT_TICKS == 0 && (task = take_injected(worker)))
        return task;
    if ((task = next_pinned(worker)) || (task = next_local(worker)))
        return task;
    worker->completions += filch__io_driver.poll(worker->lane);
    worker->now = filch_now();
    filch__worker_note_slices(worker);
    filch__worker_run_timers(worker);
    if ((task = next_local(worker)) || (task = next_pinned(worker)) ||
        (task = take_injected(worker)))
        return task;
    return filch__worker_steal(worker);
}

static void enter_thread(struct filch__worker *worker, struct filch__host *host)
{
    filch__worker_sit(worker, host);
    filch__io_driver.enter_thread(worker->lane);
}

static void leave_thread(struct filch__worker *worker, const struct filch__host *host)
{
    filch__io_driver.leave_thread(worker->lane);
    filch__worker_rise(worker, host);
    filch__worker_empty(worker);
}

void *filch__worker_main(void *arg)
{
    struct filch__worker *worker = arg;
    struct filch__host host;

    filch_store_relaxed(&worker->thread_id, (uint32_t)gettid());
    enter_thread(worker, &host);
    while (!filch_load_acquire(&worker->rt->exiting)) {
        struct filch__task *task;

        if (__builtin_expect(!filch__seat_is_active(&worker->seat), 0))
            filch__worker_sit_out(worker);
        task = filch__worker_next(worker);

        if (task)
            filch__worker_run(worker, task);
        else
            filch__worker_idle(worker, FILCH_NEVER);
    }
    leave_thread(worker, &host);
    return NULL;
}
