/* Fork and join: the slow paths. The fast ones are in line, in include/filch/fork.h.
 *
 * A task that forks has a fork stack: a block of 8 KiB, found by the address of any place in it.
 *
 *     entry                   oldest            top            room
 *       | shared | shared | .... | private | ..... | (free) ..... | (no object reserved) ... |
 *
 * An entry points to the fork, in the frame of who forked it. The stack belongs to the task, not to
 * the worker: so the place to push to can be handed down from call to call in a register, and stays
 * right when the task goes on elsewhere. What is free is NULL, so whoever has no such register
 * finds the top, and nobody keeps it in memory. (A stack per worker, with its top in memory, has a
 * store and a load wait for each other in each fork and join.) Only the worker that runs the task
 * touches it, but for `limit`.
 *
 *   private   pushed and popped by one store each. Nobody else knows of it
 *   late      the same, but its entry is marked, and its join looks at the clock, and lets others
 *             run if it is time to: below
 *   shared    it is a task in a run queue, with the fork as its argument. The oldest go first,
 * since they have the most below them. Its entry is marked, so that the pop notices
 *
 * Each private entry has a control block and a stack credit put by (`spare`): sharing cannot fail.
 * Without one the fork is not pushed, but run at once, as it is when the stack is full.
 *
 * Who shares, and when: always the owner. (a) A worker without work asks by `limit` (fork/ask.h),
 * which the next fork notices for nothing, as it has to look whether there is room: the oldest is
 * shared, and a sleeper woken, once in 50 us. Who takes it, and has nothing else, asks again for
 * the next one, so that one lies ready if it comes back while the owner is in something long. (b)
 * When the task is about to leave the worker (it suspends, or yields) all are shared. Invariant
 * [no-private]: a task that is not running has no private forks, unless it is runnable, and waits
 * for nothing: a loop that only lets others have their turn (filch__fork_keep()) would else fill
 * the queue with its own pieces. So whatever a task waits for can be done by what it has forked,
 * joined or not. (c) Before a block with a deadline begins, so that all that is private was forked
 * under the innermost one.
 *
 * Who computes for 10 ms without a switch is asked by the watch as if it had no work
 * (filch__fork_nudge()). While there are scheduling groups, forks look at the clock themselves, now
 * and then (fork/pace.h), and ask in the same way when the slice is over. The next fork finds that
 * the time is up, but may not suspend; so it marks its entry, and the join, which may, lets others
 * run. Until then the request stays open, as the join of that one may be far off, and that of
 * another near. Others are served though all workers compute, and neither fork nor join look at the
 * time. The task stays ready, so its private forks stay private: else each time would leave a row
 * of tasks that are taken back at once.
 *
 * The life of a shared fork, in the word of its task (task/state.h):
 *
 *     spawned with a handle, which is the forker's
 *        |-- forker: take_back: runs it in line. Its task finds it claimed, and ends: no handle
 *        `-- its task: claim: runs it --finish--> DONE; wakes who joins
 *                                  forker: join_begin: waits for DONE, then ends handle and block
 *
 * The frame with the fork is there until the forker has joined; its task touches it only after it
 * has claimed it. The forker waits shielded. If it is asked to end meanwhile it hands the request
 * on; one that the fork is to see sooner is found by filch_task_is_cancelled() on the way up
 * (filch__fork_is_asked()).
 *
 * A lost join suspends; the worker goes on with what is in its queues, the forker's other shared
 * forks among them. Who ends the fork wakes the forker, which then goes on on that worker.
 *
 * What is the task's and is used by several workers at a time: its locals (struct
 * filch__fork_locals).
 */
#include "runtime/fork/fork.h"

#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include <filch/cancel.h>

#include "runtime/fork/fork_stack.h"

#define SPARES 32      /* put by at a time */
#define STACKS_KEPT 16 /* per worker */

/* For who cannot wait: never written, always full. (As a constant it also keeps a large alignment
 * out of .bss, which would become a segment of its own: Valgrind 3.19 then finds no symbols.) */
static const alignas(FILCH__FORK_STACK_BYTES) struct filch__fork_stack nobody_at_all;
#define nobody ((struct filch__fork_stack *)(uintptr_t)&nobody_at_all)

/* Those that no worker keeps. Never freed: who asks may come late. */
static struct {
    filch_spinlock lock;
    struct filch__fork_stack *first;
} pool;

static struct filch__fork_stack *stack_of(filch__fork_top top)
{
    return (struct filch__fork_stack *)(void *)filch__fork_head_of(top);
}

/* A private one whose join is to let others run. */
static struct filch__fork *marked_late(struct filch__fork *fork)
{
    return (struct filch__fork *)((uintptr_t)fork | 2);
}

/* Who forks has the top in a register; others look where the entries end. */
static filch__fork_top top_of(struct filch__fork_stack *stack)
{
    filch__fork_top top = stack->near_top;

    while (*top)
        top++;
    while (top > stack->entry && !top[-1])
        top--;
    stack->near_top = top;
    return top;
}

/* ---- stacks ---- */

static void drop_spares(struct filch__worker *worker, struct filch__fork_stack *stack)
{
    while (stack->spare) {
        struct filch__task *task = stack->spare;

        stack->spare = task->next;
        filch__task_unreserve(worker, task, stack->size_class);
    }
    stack->spares = 0;
}

static struct filch__fork_stack *pool_take(void)
{
    struct filch__fork_stack *stack;

    filch_spinlock_lock(&pool.lock);
    stack = pool.first;
    if (stack)
        pool.first = stack->next;
    filch_spinlock_unlock(&pool.lock);
    if (stack)
        return stack;
    stack = aligned_alloc(FILCH__FORK_STACK_BYTES, FILCH__FORK_STACK_BYTES);
    if (stack)
        memset(stack, 0, sizeof *stack);
    return stack;
}

static void pool_give(struct filch__worker *worker, struct filch__fork_stack *stack)
{
    drop_spares(worker, stack);
    filch_spinlock_lock(&pool.lock);
    stack->next = pool.first;
    pool.first = stack;
    filch_spinlock_unlock(&pool.lock);
}

static struct filch__fork_stack *stack_take(struct filch__worker *worker)
{
    struct filch__fork_stack *stack = worker->fork_stacks;

    if (!stack)
        return pool_take();
    worker->fork_stacks = stack->next;
    worker->fork_stack_count--;
    return stack;
}

static void stack_give(struct filch__worker *worker, struct filch__fork_stack *stack)
{
    stack->task = NULL;
    if (worker->fork_stack_count == STACKS_KEPT) {
        pool_give(worker, stack);
        return;
    }
    stack->next = worker->fork_stacks;
    worker->fork_stacks = stack;
    worker->fork_stack_count++;
}

void filch__fork_empty(struct filch__worker *worker)
{
    while (worker->fork_stacks)
        pool_give(worker, stack_take(worker));
}

static void set_room(struct filch__fork_stack *stack)
{
    struct filch__fork **end = stack->entry + ENTRIES - 1; /* so that top stays within the block */

    stack->room =
        stack->spares < (size_t)(end - stack->oldest) ? stack->oldest + stack->spares : end;
    filch__fork_set_limit(stack);
}

/* The current task forks for the first time. Return: `nobody`, if it cannot, or there is no memory.
 */
static struct filch__fork_stack *attach(struct filch__worker *worker)
{
    struct filch__task *task = worker->current;
    struct filch__fork_stack *stack;

    if (!task || !filch__task_has_stack(task) || !(stack = stack_take(worker)))
        return nobody;
    if (stack->size_class != task->class_index)
        drop_spares(worker, stack);
    stack->task = task;
    stack->size_class = task->class_index;
    stack->is_pinned = task->kind == FILCH_KIND_PINNED || task->flags & FILCH_TASK_BOUND;
    stack->chaos = worker->rt->opts.chaos_forks;
    stack->random = 1 + (uint32_t)filch_load_relaxed(&worker->tick);
    stack->wake_look = 1;
    stack->near_top = stack->oldest = stack->entry;
    filch_spinlock_init(&stack->locals.lock);
    stack->locals.any = task->extras & FILCH_EXTRA_LOCALS;
    stack->pace.at = NULL;
    filch__fork_set_pace(worker, stack);
    set_room(stack);
    /* Somebody may be asleep, and cannot ask. */
    filch_store_relaxed(&stack->limit, filch__runtime_seats(worker->rt) > 1 || stack->chaos
                                           ? NULL
                                           : (void *)filch__fork_room_of(stack));
    task->extras |= FILCH_EXTRA_FORKS;
    filch_store_release(&worker->forks, stack); /* [fork-stack] */
    return stack;
}

void filch__fork_end(struct filch__task *task)
{
    struct filch__worker *worker = filch__worker_self();
    struct filch__fork_stack *stack = filch__fork_mine(worker);

    if (stack->entry[0])
        filch__throw("a task has ended without joining what it has forked");
    filch_store_relaxed(&worker->forks, NULL);
    task->extras &= ~(uint32_t)FILCH_EXTRA_FORKS;
    if (stack->locals.any)
        task->extras |= FILCH_EXTRA_LOCALS;
    stack_give(worker, stack);
}

filch__fork_top filch__fork_here(void)
{
    struct filch__worker *worker = filch__worker_self();
    struct filch__fork_stack *stack = worker ? filch__fork_mine(worker) : nobody;

    filch__fork_top top;

    if (!stack)
        stack = attach(worker);
    if (stack == nobody)
        return nobody->entry;
    top = top_of(stack);
    if (stack->pace.at && top == stack->oldest) { /* no join is near that would plan a look */
        filch__pace_start(&stack->pace, top);
        filch__fork_set_limit(stack);
    }
    return top;
}

/* ---- the slow paths of fork and join ---- */

/* Return: is there room at @top now? */
static bool make_room(struct filch__worker *worker, struct filch__fork_stack *stack,
                      filch__fork_top top)
{
    if (!stack->task || !worker)
        return false;
    for (unsigned i = 0; i < SPARES && stack->oldest + stack->spares < stack->entry + ENTRIES;
         i++) {
        struct filch__task *task = filch__task_reserve(worker, stack->size_class);

        if (!task)
            break;
        task->next = stack->spare;
        stack->spare = task;
        stack->spares++;
    }
    set_room(stack);
    return top < stack->room;
}

static bool is_to_let_others_run(struct filch__worker *worker)
{
    return filch__worker_is_late(worker) && !filch__rcu_nesting();
}

/* At the join of a fork that was marked, unless another one's did it. */
static void let_others_run(struct filch__fork_stack *stack)
{
    struct filch__worker *worker = filch__worker_self();

    if (!worker || !is_to_let_others_run(worker))
        return;
    filch__ask_postpone(&stack->limit, filch__fork_room_of(stack));
    filch__fork_keep();
    if (filch__group_must_make_room(worker))
        filch__worker_switch_to_loop(worker, FILCH_AFTER_ROOM);
    else
        filch__yield_late();
    /* Whose request that was is not known: perhaps a worker's without work, which sees none yet and
     * is about to sleep. [fork-postpone] */
    worker = filch__worker_self();
    if (!stack->is_pinned && filch__idle_wants(&worker->rt->idle))
        filch__ask(&stack->limit);
}

/* A private entry whose join is to look at the clock. Until then the fork knows when it was marked.
 */
static void mark_timed(filch__fork_top at, filch_time now)
{
    struct filch__fork *fork = filch__fork_unmarked(*at);

    fork->shared = (void *)(uintptr_t)now;
    *at = marked_late(fork);
}

static void look_at_clock(struct filch__worker *worker, struct filch__fork_stack *stack,
                          filch_time now)
{
    if (now >= stack->pace.end)
        filch__group_ask(worker);
    filch__fork_set_limit(stack);
}

static void look_at_fork(struct filch__worker *worker, struct filch__fork_stack *stack,
                         filch__fork_top top)
{
    filch_time now = filch_now();

    filch__pace_fork(&stack->pace, top);
    mark_timed(top, now);
    look_at_clock(worker, stack, now);
}

/* The join of a private fork that was marked at @marked_at, at @at. */
static void look_at_join(struct filch__worker *worker, struct filch__fork_stack *stack,
                         filch__fork_top at, filch_time marked_at)
{
    filch_time now = filch_now();

    filch__pace_join(&stack->pace, at, marked_at, now);
    if (at > stack->oldest && at[-1] == filch__fork_unmarked(at[-1]))
        mark_timed(at - 1, now);
    look_at_clock(worker, stack, now);
}

filch__fork_top filch__fork_push_slow(filch__fork_top top, struct filch__fork *fork)
{
    struct filch__fork_stack *stack = stack_of(top);
    struct filch__worker *worker = filch__worker_self();

    if (top >= stack->room && !make_room(worker, stack, top)) {
        fork->run(fork, top);
        fork->run = NULL;
        return top;
    }
    *top = fork;
    if (filch__pace_is_due(&stack->pace, top) && worker)
        look_at_fork(worker, stack, top);
    if (filch__ask_is_open(&stack->limit) && worker) {
        if (is_to_let_others_run(worker))
            mark_timed(top, filch_now());
        else
            filch__fork_answer(worker, stack);
    }
    return top + 1;
}

bool filch__fork_may(void)
{
    struct filch__task *task = filch__task_current();

    return task && filch__task_has_stack(task);
}

/* A piece of a loop takes long enough for a look at the clock, and between two of them the task may
 * suspend. */
enum filch__fork_look filch__fork_look_slow(filch__fork_top top)
{
    struct filch__fork_stack *stack = stack_of(top);
    struct filch__worker *worker = filch__worker_self();

    if (top >= stack->room && !make_room(worker, stack, top))
        return FILCH_FORK_FULL;
    if (stack->pace.at)
        look_at_clock(worker, stack, filch_now());
    if (!filch__ask_is_open(&stack->limit))
        return FILCH_FORK_QUIET;
    if (is_to_let_others_run(worker)) {
        let_others_run(stack);
        return FILCH_FORK_QUIET;
    }
    if (!*stack->oldest && filch__fork_has_takers(worker, stack))
        return FILCH_FORK_ASKED;
    stack->wake_look = 1;
    filch__fork_answer(worker, stack);
    return FILCH_FORK_QUIET;
}

/* A request to end that has reached the forker. Return: was there one? */
static bool hand_on(struct filch__task *parent, struct filch__task *child)
{
    if (!filch__fork_was_asked(parent) || child->flags & FILCH_TASK_SHIELDED)
        return false;
    filch_task_cancel_cause(filch__task_handle(child), filch__task_cause(parent));
    return true;
}

static void wait_for(struct filch__fork_stack *stack, struct filch__task *child)
{
    struct filch__waiter waiter;
    bool told = false;

    if (!filch__worker_self())
        filch__throw("the child of a fork(2) joins what its parent has forked");
    filch__waiter_init(&waiter, FILCH_WAIT_JOIN);
    if (filch__state_join_begin(&child->state, filch__task_generation(child), &child->joiner,
                                &waiter) == FILCH_JOIN_WAIT) {
        while (!filch_load_acquire(&waiter.woken)) { /* [waiter-wake] */
            told = told || hand_on(stack->task, child);
            filch__park_shielded(FILCH_WAIT_JOIN);
        }
    }
    (void)filch__task_collect(child);
}

static bool tosses_head(struct filch__fork_stack *stack)
{
    stack->random = stack->random * 1664525 + 1013904223;
    return stack->random >> 31;
}

struct filch__fork_popped filch__fork_pop_slow(filch__fork_top top, struct filch__fork *fork)
{
    struct filch__fork_stack *stack = stack_of(top);
    struct filch__task *task = fork->shared;
    filch__fork_top at = top - 1;

    if (!fork->run)
        return (struct filch__fork_popped){top, false};
    if (*at == marked_late(fork)) {
        struct filch__worker *worker = filch__worker_self();

        *at = NULL;
        if (worker && stack->pace.at)
            look_at_join(worker, stack, at, (uintptr_t)fork->shared);
        let_others_run(stack);
        return (struct filch__fork_popped){at, true};
    }
    if (*at != filch__fork_marked(fork))
        filch__throw("a fork is joined that is not the newest one of its function, or twice");
    *at = NULL;
    stack->oldest = at; /* what is below a shared one is shared */
    set_room(stack);
    if (stack->chaos && tosses_head(stack))
        filch_task_yield();
    if (filch__state_take_back(&task->state)) {
        struct filch__worker *worker = filch__worker_self();

        if (worker)
            filch__fork_ask_for_sleepers(worker->rt, stack);
        return (struct filch__fork_popped){at, true};
    }
    wait_for(stack, task);
    return (struct filch__fork_popped){at, false};
}

void filch__fork_refuse(void)
{
    filch__throw(
        "a function made by FILCH_TASK1() and so on has a filch_fork() that is not joined");
}

/* ---- by function pointer ---- */

static void call_forked(struct filch__fork *fork, filch__fork_top top)
{
    filch_forked *forked = filch_container_of(fork, filch_forked, private_fork);

    (void)top; /* what it forks finds it itself */
    forked->private_result = forked->private_fn(forked->private_arg);
}

int filch_fork(filch_forked *fork, filch_fn fn, void *arg)
{
    if (!fork || !fn)
        return -EINVAL;
    fork->private_fork.run = call_forked;
    fork->private_fn = fn;
    fork->private_arg = arg;
    filch__fork_push(filch__fork_here(), &fork->private_fork);
    return 0;
}

int filch_join(filch_forked *fork)
{
    struct filch__fork_popped popped;

    if (!fork)
        return -EINVAL;
    if (!fork->private_fork.run)
        return fork->private_result;
    popped = filch__fork_pop(filch__fork_here(), &fork->private_fork);
    return popped.is_ours ? fork->private_fn(fork->private_arg) : fork->private_result;
}
