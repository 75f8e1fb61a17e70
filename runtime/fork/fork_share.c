/* Forks that are given away: see fork.c for who does it, and when.
 *
 * A shared fork is an ordinary task in a run queue, whose control block was put by when the fork
 * was pushed. Whoever picks it claims the fork and runs it, unless the forker has taken it back; it
 * is a part of the forker's task, so it inherits its name, group, deadline and shield, and looks at
 * it to see whether it is asked to end.
 */
#include "runtime/fork/fork_stack.h"

#include <filch/cancel.h>

#define WAKE_NS (50 * FILCH_MICROSECOND)
#define WAKE_LOOK 64 /* forks between two looks at the clock, while a wake is due */
#define ASK_LOOKS 64 /* a fork is answered at once, or after something longer */

static int shared_body(void *arg);

static struct filch__task *take_spare(struct filch__fork_stack *stack)
{
    struct filch__task *task = stack->spare;

    stack->spare = task->next;
    stack->spares--;
    return task;
}

/* As filch__task_new() does, but for what cannot fail or is the forker's. */
static void init_task(struct filch__task *task, struct filch__worker *worker,
                      struct filch__fork_stack *stack, struct filch__fork *fork)
{
    struct filch__task *parent = stack->task;

    task->sp = (void *)(uintptr_t)fork->run;
    task->stack = NULL;
    task->fn = shared_body;
    task->arg = fork;
    filch_store_release(&task->rt, worker->rt);
    task->kind = parent->kind;
    task->flags = FILCH_TASK_FORK | (parent->flags & FILCH_TASK_NAMED);
    task->class_index = (uint8_t)stack->size_class;
    task->extras = 0;
    task->waiting = FILCH_WAIT_NONE;
    task->name = parent->name;
    task->fork.home = stack;
    task->fork.deadline = filch__task_deadline(parent);
    if (stack->is_pinned) {
        task->kind = FILCH_KIND_PINNED;
        task->pinned_to = worker;
    }
    if (parent->kind == FILCH_KIND_GROUPED) {
        if (!stack->is_pinned)
            task->kind = FILCH_KIND_STACKFUL;
        filch__group_inherit(task, parent);
    }
    if (parent->flags & FILCH_TASK_SAVE_FP)
        filch__switch_state_save_fp(task);
    if (filch_load_relaxed(&parent->state) & FILCH_TASK_SHIELD)
        task->flags |= FILCH_TASK_SHIELDED;
    filch__state_spawn(&task->state, true);
}

static void share_oldest(struct filch__worker *worker, struct filch__fork_stack *stack)
{
    struct filch__fork **at = stack->oldest++;
    struct filch__fork *fork = filch__fork_unmarked(*at);
    struct filch__task *task = take_spare(stack);

    init_task(task, worker, stack, fork);
    fork->shared = task;
    *at = filch__fork_marked(fork);
    filch_counter_add(&worker->stats.spawned, 1);
    filch_counter_add(&worker->stats.forks_shared, 1);
    if (task->kind == FILCH_KIND_STACKFUL || !filch__worker_push_apart(worker, task))
        filch__worker_push_back(worker, task);
}

static void share_all(struct filch__worker *worker, struct filch__fork_stack *stack)
{
    while (*stack->oldest)
        share_oldest(worker, stack);
}

static void call_for_help(struct filch__worker *worker)
{
    filch_store_seq_cst(&worker->behind, 1); /* [idle-park]: then the idle word, in notify */
    filch__runtime_notify(worker->rt);
}

/* Waking costs the waker 8 us, so it is done once in a while; until then the request stays open,
 * and forks come here. */
static bool may_wake(struct filch__worker *worker, struct filch__fork_stack *stack)
{
    filch_time now;

    if (--stack->wake_look)
        return false;
    stack->wake_look = WAKE_LOOK;
    now = filch_now();
    if (now - worker->fork_woke < WAKE_NS)
        return false;
    worker->fork_woke = now;
    stack->wake_look = 1;
    return true;
}

/* Without another worker a request is the watch's, which came when the task was just about to yield
 * by itself. */
bool filch__fork_has_takers(struct filch__worker *worker, struct filch__fork_stack *stack)
{
    return !stack->is_pinned && (stack->chaos || filch__runtime_seats(worker->rt) > 1);
}

/* Somebody asks for work. */
void filch__fork_answer(struct filch__worker *worker, struct filch__fork_stack *stack)
{
    if (stack->chaos) {
        share_all(worker, stack);
        call_for_help(worker);
        return;
    }
    if (!filch__fork_has_takers(worker, stack)) {
        filch__ask_take(&stack->limit, filch__fork_room_of(stack));
        return;
    }
    if (filch__idle_would_wake(&worker->rt->idle) && !may_wake(worker, stack))
        return;
    filch__ask_take(&stack->limit, filch__fork_room_of(stack));
    share_oldest(worker, stack);
    call_for_help(worker);
}

filch_atomic_ptr *filch__fork_limit(struct filch__fork_stack *stack)
{
    return &stack->limit;
}

bool filch__fork_ask(struct filch__worker *worker)
{
    struct filch_runtime *rt = worker->rt;
    unsigned n = filch__runtime_seats(rt);
    bool asked = false;

    /* Those that were called in for others that are stuck are there to serve, and would only share
     * the others' CPUs. */
    if (worker->index >= rt->workers)
        return false;
    for (unsigned i = 0; i < n; i++) {
        struct filch__fork_stack *stack;

        if (i == worker->index)
            continue;
        stack = filch_load_acquire(&rt->worker[i].forks); /* [fork-stack] */
        if (!stack)
            continue;
        filch__ask(&stack->limit);
        asked = true;
    }
    for (int i = 0; asked && i < ASK_LOOKS; i++) {
        if (filch__worker_sees_any_work(worker))
            return true;
        filch_cpu_relax();
    }
    return false;
}

/* The oldest entry is the owner's to write at any time, and what it points to is not looked at. */
__attribute__((no_sanitize("thread"))) bool filch__fork_is_open(struct filch__worker *worker)
{
    struct filch__fork_stack *stack = filch_load_acquire(&worker->forks); /* [fork-stack] */

    return stack && *(struct filch__fork *volatile *)&stack->entry[0];
}

void filch__fork_nudge(struct filch__worker *worker)
{
    struct filch__fork_stack *stack = filch_load_acquire(&worker->forks); /* [fork-stack] */

    if (stack)
        filch__ask(&stack->limit);
}

/* Somebody sleeps, who may not have asked. */
void filch__fork_ask_for_sleepers(struct filch_runtime *rt, struct filch__fork_stack *stack)
{
    if (filch__idle_sleeps(&rt->idle))
        filch__ask(&stack->limit);
}

struct filch__fork_stack *filch__fork_leave(struct filch__worker *worker)
{
    struct filch__fork_stack *stack = filch__fork_mine(worker);

    if (!stack)
        return NULL;
    if (stack->keeps) {
        stack->keeps = false;
    } else if (*stack->oldest) {
        share_all(worker, stack); /* [no-private] */
        if (filch__ask_is_open(&stack->limit) && !stack->is_pinned)
            call_for_help(worker);
    }
    filch_store_relaxed(&worker->forks, NULL);
    return stack;
}

void filch__fork_return(struct filch__fork_stack *stack)
{
    struct filch__worker *worker = filch__worker_self();

    if (!stack)
        return;
    filch__fork_set_pace(worker, stack);
    filch__fork_set_limit(stack);
    filch_store_release(&worker->forks, stack); /* [fork-stack] */
    filch__fork_ask_for_sleepers(worker->rt, stack);
}

void filch__fork_keep(void)
{
    struct filch__worker *worker = filch__worker_self();

    if (filch__fork_mine(worker) && !filch__fork_mine(worker)->chaos)
        filch__fork_mine(worker)->keeps = true;
}

void filch__fork_share_all(void)
{
    struct filch__worker *worker = filch__worker_self();

    if (filch__fork_mine(worker))
        share_all(worker, filch__fork_mine(worker));
}

/* ---- the fork's own task ---- */

struct filch__task *filch__fork_parent(const struct filch__task *task)
{
    return task->fork.home->task;
}

bool filch__fork_is_asked(const struct filch__task *task)
{
    for (; task->flags & FILCH_TASK_FORK; task = filch__fork_parent(task))
        if (filch__fork_was_asked(task))
            return true;
        else if (task->flags & FILCH_TASK_SHIELDED)
            return false;
    return filch__fork_was_asked(task);
}

struct filch__task *filch__fork_root(struct filch__task *task)
{
    while (task && task->flags & FILCH_TASK_FORK)
        task = filch__fork_parent(task);
    return task;
}

static void run_moved(struct filch__task *self, struct filch__fork *fork)
{
    bool has_deadline = self->fork.deadline != FILCH_NEVER;
    filch_block block;

    if (filch__fork_is_asked(self))
        filch_task_cancel_cause(filch__task_handle(self), filch_cancel_cause());
    if (has_deadline && filch_deadline_begin(&block, self->fork.deadline) < 0)
        filch__throw("a task's first deadline cannot begin");
    fork->run(fork, filch__fork_here());
    if (has_deadline)
        filch_block_end(&block);
}

static int shared_body(void *arg)
{
    struct filch__worker *worker = filch__worker_self();
    struct filch__task *self = worker->current;

    if (!filch__state_claim(&self->state))
        return 0; /* and @arg may be gone */
    filch_counter_add(&worker->stats.forks_moved, 1);
    if (!self->fork.home->is_pinned && !filch__worker_queued(worker))
        filch__ask(&self->fork.home->limit);
    run_moved(self, arg);
    return 0;
}

struct filch__fork_locals *filch__fork_locals(struct filch__task *root)
{
    struct filch__worker *worker = filch__worker_self();
    struct filch__task *task = worker ? worker->current : NULL;
    struct filch__fork_stack *stack;

    if (task == root)
        return task && filch__fork_mine(worker) ? &filch__fork_mine(worker)->locals : NULL;
    for (; task && task->flags & FILCH_TASK_FORK; task = stack->task) {
        stack = task->fork.home;
        if (stack->task == root)
            return &stack->locals;
    }
    return NULL;
}
