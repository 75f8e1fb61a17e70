/* Tasks: spawning, waking, the end of a body, handles.
 *
 * Control blocks come from a pool of the process (base/pool.h) through a cache per worker, and are
 * never unmapped: so wakers and handles carry a generation instead of a reference count, and a late
 * one finds a valid word that is not its own (task/state.h).
 *
 * A task becomes runnable in its waker's own queue if the waker is a worker of the same runtime,
 * else through the inject queue. A thread of the second kind may still be in the runtime when the
 * task that it woke has ended and the runtime is being freed: such wakes are counted, per runtime,
 * and freeing waits for the count to be zero [foreign-wake]. Threads that spawn from outside are
 * counted too [outside-spawn]: a spawn that races with shutdown is either refused, or seen by it.
 */
#include "runtime/task/task.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <filch/cancel.h>

#include "runtime/fork/fork.h"
#include "runtime/sched/gate.h"
#include "runtime/sched/worker.h"
#include "runtime/task/depot.h"
#include "runtime/task/token.h"

#define FILCH__ERRNO_MAX 4095

struct filch__pool filch__task_pool =
    FILCH__POOL_INITIALISER_MAGAZINES(struct filch__task, next, chunk.next);

static struct filch__worker *worker_of(const struct filch_runtime *rt)
{
    struct filch__worker *worker = filch__worker_self();

    return worker && worker->rt == rt ? worker : NULL;
}

/* A worker has a chain that it takes from and gives to, at most a magazine long, and perhaps a full
 * magazine: so whoever takes and gives around a border does not go to the pool each time. */
static struct filch__task *block_take(struct filch__worker *worker)
{
    struct filch__task *task;

    if (!worker)
        return filch__pool_take(&filch__task_pool);
    if (!worker->free_tasks) {
        worker->free_tasks = worker->free_magazine ? worker->free_magazine
                                                   : filch__pool_take_magazine(&filch__task_pool);
        worker->free_magazine = NULL;
        if (!worker->free_tasks)
            return NULL;
        worker->free_count = FILCH__POOL_MAGAZINE;
    }
    task = worker->free_tasks;
    worker->free_tasks = task->next;
    worker->free_count--;
    return task;
}

static __attribute__((noinline)) void magazine_give(struct filch__worker *worker)
{
    if (worker->free_magazine)
        filch__pool_give_magazine(&filch__task_pool, worker->free_magazine);
    worker->free_magazine = worker->free_tasks;
    worker->free_tasks = NULL;
    worker->free_count = 0;
}

/* The block is ours alone and DONE. @worker: the caller's, of any runtime. */
static inline void block_give(struct filch__worker *worker, struct filch__task *task)
{
    filch__state_release(&task->state);
    if (!worker) {
        filch__pool_give(&filch__task_pool, task);
        return;
    }
    if (worker->free_count == FILCH__POOL_MAGAZINE)
        magazine_give(worker);
    task->next = worker->free_tasks;
    worker->free_tasks = task;
    worker->free_count++;
}

static void block_release(struct filch__task *task)
{
    block_give(filch__worker_self(), task);
}

void filch__task_blocks_return(struct filch__worker *worker)
{
    struct filch__task *next;

    if (worker->free_magazine)
        filch__pool_give_magazine(&filch__task_pool, worker->free_magazine);
    for (struct filch__task *task = worker->free_tasks; task; task = next) {
        next = task->next;
        filch__pool_give(&filch__task_pool, task);
    }
    worker->free_magazine = worker->free_tasks = NULL;
    worker->free_count = 0;
}

static int credit_take(struct filch__worker *worker, unsigned size_class)
{
    return worker ? filch__stack_cache_credit(&worker->stacks[size_class])
                  : filch__stack_credit_take(size_class, 1);
}

static void credit_give(struct filch__worker *worker, unsigned size_class)
{
    if (worker)
        filch__stack_cache_uncredit(&worker->stacks[size_class]);
    else
        filch__stack_credit_give(size_class, 1);
}

static inline struct filch__task *reserve(struct filch__worker *worker, unsigned size_class)
{
    struct filch__task *task;

    if (credit_take(worker, size_class) < 0)
        return NULL;
    task = block_take(worker);
    if (!task)
        credit_give(worker, size_class);
    return task;
}

struct filch__task *filch__task_reserve(struct filch__worker *worker, unsigned size_class)
{
    return reserve(worker, size_class);
}

void filch__task_unreserve(struct filch__worker *worker, struct filch__task *task,
                           unsigned size_class)
{
    credit_give(worker, size_class);
    block_release(task);
}

static bool has_group(const filch_task_opts *opts)
{
    return opts->group && opts->group != FILCH_NO_GROUP;
}

static bool are_valid(const filch_task_opts *opts, const struct filch_runtime *rt,
                      enum filch__kind kind)
{
    if (opts->stack_bytes && kind == FILCH_KIND_BLOCKING)
        return false;
    if (!opts->pinned && !opts->worker)
        return true;
    return kind == FILCH_KIND_STACKFUL && opts->worker <= rt->workers;
}

static void pin(struct filch__task *task, struct filch_runtime *rt, unsigned worker,
                enum filch__kind kind)
{
    unsigned index =
        worker ? worker - 1 : filch_fetch_add_relaxed(&rt->next_pinned, 1) % rt->workers;

    task->kind = (uint8_t)kind;
    task->pinned_to = &rt->worker[index];
}

static __attribute__((noinline)) int use_opts(struct filch__task *task, struct filch_runtime *rt,
                                              const filch_task_opts *opts)
{
    void *copy;

    if (opts->pinned || opts->worker)
        pin(task, rt, opts->worker, opts->pinned ? FILCH_KIND_PINNED : FILCH_KIND_PLACED);
    if (opts->name) {
        task->name = opts->name;
        task->flags |= FILCH_TASK_NAMED;
    }
    if (opts->save_fp && filch__task_has_stack(task))
        filch__switch_state_save_fp(task);
    if (has_group(opts) && filch__group_adopt(task, rt, opts->group) < 0)
        return -EINVAL;
    if (!opts->copy_bytes)
        return 0;
    if (!task->arg)
        return -EINVAL;
    copy = malloc(opts->copy_bytes);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, task->arg, opts->copy_bytes);
    task->arg = copy;
    task->flags |= FILCH_TASK_COPIED;
    return 0;
}

static __attribute__((noinline)) void
inherit_group(struct filch__task *task, struct filch__worker *worker, const filch_task_opts *opts)
{
    if (worker && !(opts && opts->group))
        filch__group_inherit(task, worker->current);
}

/* @task may not know @rt yet. */
static __attribute__((noinline)) void leave_group(struct filch_runtime *rt,
                                                  struct filch__task *task)
{
    if (task->flags & FILCH_TASK_GROUPED)
        filch__group_leave(&rt->groups.group[task->group]);
}

/* In line in the spawns of this file. @worker: the caller's, if it is one of @rt. */
static inline __attribute__((always_inline)) int
task_new(struct filch_runtime *rt, struct filch__worker *worker, enum filch__kind kind, filch_fn fn,
         void *arg, const filch_task_opts *opts, bool with_handle, void *place,
         struct filch__task **ret_task)
{
    int size_class = opts ? filch__stack_class_of(opts->stack_bytes) : FILCH_STACK_256K;
    struct filch__task *task;
    int r;

    if (opts && (size_class < 0 || !are_valid(opts, rt, kind)))
        return -EINVAL;
    if (filch_load_relaxed(&rt->stopping))
        return filch__runtime_refusal(rt);
    if (!worker && kind == FILCH_KIND_STACKFUL && size_class == FILCH_STACK_256K)
        task = filch__depot_take();
    else if (kind == FILCH_KIND_STACKFUL)
        task = reserve(worker, (unsigned)size_class);
    else
        task = block_take(worker);
    if (!task)
        return -ENOMEM;
    task->sp = place;
    task->stack = NULL;
    task->fn = fn;
    task->arg = arg;
    task->kind = (uint8_t)kind;
    task->flags = 0;
    task->class_index = (uint8_t)size_class;
    task->extras = 0;
    task->waiting = FILCH_WAIT_NONE;
    if (opts && (r = use_opts(task, rt, opts)) < 0)
        goto fail_block;
    if (__builtin_expect(filch_load_relaxed(&rt->grouped), 0))
        inherit_group(task, worker, opts);
    /* The last of it: by this a look at all tasks knows a block that was never used before. */
    filch_store_release(&task->rt, rt);
    filch__state_spawn(&task->state, with_handle);
    if (opts && opts->token && filch__token_bind(opts->token, task) < 0) {
        r = -ENOMEM;
        goto fail_opts;
    }
    if (worker)
        filch_counter_add(&worker->stats.spawned, 1);
    else
        filch_fetch_add_acq_rel(&rt->outside_spawned, 1);
    *ret_task = task;
    return 0;
fail_opts:
    if (task->flags & FILCH_TASK_COPIED)
        free(task->arg);
fail_block:
    leave_group(rt, task);
    block_release(task);
    if (kind == FILCH_KIND_STACKFUL)
        credit_give(worker, (unsigned)size_class);
    return r;
}

int filch__task_new(struct filch_runtime *rt, enum filch__kind kind, filch_fn fn, void *arg,
                    const filch_task_opts *opts, bool with_handle, void *place,
                    struct filch__task **ret_task)
{
    return task_new(rt, worker_of(rt), kind, fn, arg, opts, with_handle, place, ret_task);
}

/* @worker: the caller's, if it is one of @rt. */
static inline void count_finished(struct filch_runtime *rt, struct filch__worker *worker)
{
    /* Release: whoever sees the count sees the task's effects. Owner's counter, so no locked
     * instruction. */
    if (worker)
        filch_store_release(&worker->stats.finished,
                            filch_load_relaxed(&worker->stats.finished) + 1);
    else
        filch_fetch_add_acq_rel(&rt->outside_finished, 1);
    if (filch_load_relaxed(&rt->stopping))
        filch__runtime_finished(rt);
}

void filch__task_abort(struct filch__task *task)
{
    struct filch_runtime *rt = filch_load_relaxed(&task->rt);

    if (task->extras)
        filch__task_extras_end(task);
    if (task->flags & FILCH_TASK_COPIED)
        free(task->arg);
    if (filch__task_has_stack(task))
        credit_give(worker_of(rt), task->class_index);
    block_release(task);
    count_finished(rt, worker_of(rt));
}

/* One that is not STACKFUL. Out of line, so that the others pay for one branch. */
static __attribute__((noinline)) void enqueue_other(struct filch__worker *worker,
                                                    struct filch__task *task, bool front)
{
    if (filch__worker_push_apart(worker, task))
        return;
    filch_counter_add(&worker->stats.local_wakes, 1);
    if (front)
        filch__worker_push_front(worker, task);
    else
        filch__worker_push_back(worker, task);
}

static void enqueue_local(struct filch__worker *worker, struct filch__task *task, bool front)
{
    if (__builtin_expect(task->kind != FILCH_KIND_STACKFUL, 0)) {
        enqueue_other(worker, task, front);
        return;
    }
    filch_counter_add(&worker->stats.local_wakes, 1);
    if (front)
        filch__worker_push_front(worker, task);
    else
        filch__worker_push_back(worker, task);
}

static void enqueue(struct filch__task *task)
{
    struct filch_runtime *rt = filch_load_relaxed(&task->rt);
    struct filch__worker *worker = worker_of(rt);

    if (worker)
        enqueue_local(worker, task, false);
    else
        filch__runtime_inject(rt, task);
}

void filch__task_start(struct filch__task *task)
{
    enqueue(task);
}

/* Is the caller a worker of the task's runtime? Should the block be recycled for another runtime at
 * this moment, the generation is another too, and nothing will be queued. */
static bool is_inside(struct filch__worker *worker, struct filch__task *task)
{
    return worker && worker->rt == filch_load_acquire(&task->rt);
}

/* [foreign-wake] The add comes before the wake's CAS. If that succeeds, the task had not ended, so
 * the runtime's end comes later and sees the add; if not, the runtime is not used, and may be gone:
 * its block is never freed, so a count in it harms nobody. The generation also proves that `rt` was
 * read for the same task. */
static struct filch_runtime *foreign_begin(struct filch__task *task)
{
    struct filch_runtime *rt = filch_load_acquire(&task->rt);

    filch_fetch_add_seq_cst(&rt->wakers, 1);
    return rt;
}

static void foreign_end(struct filch_runtime *rt)
{
    filch_fetch_sub_seq_cst(&rt->wakers, 1); /* [foreign-wake] */
}

/* A look before anything is counted: late wakes in plenty must not hold a shutdown up. */
static bool is_over(struct filch__task *task, uint64_t generation)
{
    uint64_t state = filch_load_relaxed(&task->state);

    return filch__state_generation(state) != generation || state & FILCH_TASK_DONE;
}

static void wake(struct filch__task *task, uint64_t generation, bool front)
{
    struct filch__worker *worker = filch__worker_self();
    struct filch_runtime *rt;

    if (is_inside(worker, task)) {
        if (filch__state_wake(&task->state, generation) == FILCH_WAKE_QUEUE)
            enqueue_local(worker, task, front);
        return;
    }
    if (is_over(task, generation))
        return;
    rt = foreign_begin(task);
    if (filch__state_wake(&task->state, generation) == FILCH_WAKE_QUEUE)
        filch__runtime_inject(rt, task);
    foreign_end(rt);
}

void filch__task_wake(struct filch__task *task, uint64_t generation)
{
    wake(task, generation, true);
}

void filch__task_wake_back(struct filch__task *task, uint64_t generation)
{
    wake(task, generation, false);
}

bool filch__task_cancelled(struct filch__task *task)
{
    struct filch_runtime *rt = filch_load_relaxed(&task->rt);

    return filch_load_relaxed(&task->state) & FILCH_TASK_CANCEL ||
           (filch_load_relaxed(&rt->stopping) &&
            !(filch_load_relaxed(&task->state) & FILCH_TASK_SHIELD));
}

int filch__task_cause(struct filch__task *task)
{
    struct filch_runtime *rt = filch_load_relaxed(&task->rt);
    uint64_t state = filch_load_relaxed(&task->state);

    if (state & FILCH_TASK_ASKED)
        return filch__state_cause(state);
    if (state & FILCH_TASK_OVERDUE)
        return -ETIMEDOUT;
    return filch_load_relaxed(&rt->stopping) ? -ESHUTDOWN : 0;
}

void filch__task_extras_end(struct filch__task *task)
{
    if (task->extras & FILCH_EXTRA_FORKS)
        filch__fork_end(task);
    if (task->extras & FILCH_EXTRA_INHERITED)
        filch__inherited_drop(task);
    if (task->extras & FILCH_EXTRA_LOCALS)
        filch__locals_end(task);
    if (task->extras & FILCH_EXTRA_FORKS) /* of a destructor */
        filch__fork_end(task);
    if (task->extras & FILCH_EXTRA_BLOCKS)
        filch__throw("a task ended inside of a deadline or a shield that it had begun");
    if (task->extras & FILCH_EXTRA_GROUPED)
        leave_group(filch_load_relaxed(&task->rt), task);
}

#if FILCH_ASSERTS >= 2
filch_atomic_ptr filch__task_end_hook;

static void call_end_hook(struct filch__task *task)
{
    void *hook = filch_load_acquire(&filch__task_end_hook); /* [end-hook] */

    if (hook)
        ((void (*)(struct filch__task *))(uintptr_t)hook)(task);
}
#else
static inline void call_end_hook(struct filch__task *task)
{
    (void)task;
}
#endif

void filch__task_finish(struct filch__task *task, int result)
{
    struct filch_runtime *rt = filch_load_relaxed(&task->rt);
    uint8_t flags = task->flags;
    struct filch__worker *worker;

    if (task->extras)
        filch__task_extras_end(task);
    call_end_hook(task);
    if (flags & FILCH_TASK_COPIED)
        free(task->arg);
    worker = worker_of(rt); /* from here on nothing suspends */
    if (filch__task_has_stack(task))
        credit_give(worker, task->class_index);
    task->result = result;
    task->stack = NULL;
    if (flags & FILCH_TASK_SCOPED)
        filch__scope_child_done(task->scope, task, result);
    switch (filch__state_finish(&task->state)) {
    case FILCH_FINISH_RELEASE:
        block_give(worker ? worker : filch__worker_self(), task);
        break;
    case FILCH_FINISH_KEEP:
        break;
    case FILCH_FINISH_WAKE_JOINER:
        /* One that has lost looks at the state when it gives up, and waits for this wake. */
        (void)filch__waiter_claim(task->joiner);
        filch__waiter_wake(task->joiner);
        break;
    }
    count_finished(rt, worker);
}

bool filch__task_was_forked(struct filch__task *task)
{
    struct filch_runtime *rt = filch_load_acquire(&task->rt);

    return rt && filch__runtime_was_forked(rt);
}

void filch__task_forked(struct filch__task *task)
{
    /* Should its body return, then nothing is touched on the way to filch__runtime_finished(): the
     * scope's lock may be held for ever, a joiner is not here, and locals are the parent's. */
    task->flags &= (uint8_t)~FILCH_TASK_SCOPED;
    task->extras = 0;
    filch_fetch_or_acq_rel(&task->state, FILCH_TASK_HANDLE);
    filch_fetch_and_acq_rel(&task->state, ~FILCH_TASK_JOINING);
}

static inline __attribute__((always_inline)) int
spawn(filch_runtime *rt, struct filch__worker *worker, enum filch__kind kind, filch_fn fn,
      void *arg, const filch_task_opts *opts, void *place, filch_task **ret_task)
{
    struct filch__task *task = NULL; /* gcc does not see that a refusal is negative */
    filch_task *handle;
    int r;

    if (!fn)
        return -EINVAL;
    r = task_new(rt, worker, kind, fn, arg, opts, ret_task != NULL, place, &task);
    if (r < 0)
        return r;
    handle = filch__task_handle(task);
    if (worker)
        enqueue_local(worker, task, false);
    else
        filch__runtime_inject(rt, task);
    if (ret_task)
        *ret_task = handle;
    return 0;
}

int filch__spawn_begin(struct filch_runtime *rt)
{
    if (worker_of(rt) || filch__gate_enter(&rt->callers, &rt->stopping)) /* [outside-spawn] */
        return 0;
    return filch__runtime_refusal(rt);
}

void filch__spawn_end(struct filch_runtime *rt)
{
    if (!worker_of(rt))
        filch__gate_leave(&rt->callers);
}

static inline int spawn_from_inside(filch_fn fn, void *arg, const filch_task_opts *opts,
                                    void *place, filch_task **ret_task)
{
    struct filch__worker *worker = filch__worker_self();
    filch_runtime *rt = worker ? worker->rt : filch_runtime_self();

    if (!fn)
        return -EINVAL;
    return rt ? spawn(rt, worker, FILCH_KIND_STACKFUL, fn, arg, opts, place, ret_task) : -EPERM;
}

int filch_spawn(filch_fn fn, void *arg)
{
    return spawn_from_inside(fn, arg, NULL, __builtin_return_address(0), NULL);
}

int filch_task_spawn(filch_fn fn, void *arg, const filch_task_opts *opts, filch_task **ret_task)
{
    return spawn_from_inside(fn, arg, opts, __builtin_return_address(0), ret_task);
}

int filch_runtime_spawn(filch_runtime *rt, filch_fn fn, void *arg, const filch_task_opts *opts,
                        filch_task **ret_task)
{
    int r;

    if (!rt || !fn)
        return -EINVAL;
    r = filch__spawn_begin(rt);
    if (r < 0)
        return r;
    r = spawn(rt, worker_of(rt), FILCH_KIND_STACKFUL, fn, arg, opts, __builtin_return_address(0),
              ret_task);
    filch__spawn_end(rt);
    return r;
}

/* The future's own functions do the work: `fn` only marks that there is one. */
static int future_body(void *arg)
{
    (void)arg;
    return 0;
}

int filch_future_spawn(filch_future *future, const filch_task_opts *opts, filch_task **ret_task)
{
    filch_runtime *rt = filch_runtime_self();
    filch_task_opts own = {.name = opts ? opts->name : NULL, .group = opts ? opts->group : NULL};

    if (!future || !future->poll)
        return -EINVAL;
    return rt ? spawn(rt, worker_of(rt), FILCH_KIND_FUTURE, future_body, future, &own, NULL,
                      ret_task)
              : -EPERM;
}

int filch__task_collect(struct filch__task *task)
{
    int32_t result = task->result;

    block_release(task);
    return result;
}

int filch_task_join(filch_task *handle, int *ret_result, filch_time until)
{
    struct filch__task *task = filch__handle_object(handle);
    struct filch__waiter waiter;
    int r;

    if (!handle)
        return -EINVAL;
    if (handle == filch_task_self())
        return -EDEADLK;
    if (filch__task_generation(task) != filch__handle_generation(handle))
        return -ESRCH;
    filch__waiter_init(&waiter, FILCH_WAIT_JOIN);
    switch (filch__state_join_begin(&task->state, filch__handle_generation(handle), &task->joiner,
                                    &waiter)) {
    case FILCH_JOIN_STALE:
        return -ESRCH;
    case FILCH_JOIN_BUSY:
        return -EBUSY;
    case FILCH_JOIN_WAIT:
        r = filch__task_was_forked(task) ? -ECHILD : filch__waiter_wait(&waiter, until);
        if (r < 0) {
            if (filch__state_join_abandon(&task->state))
                return r;
            filch__waiter_wait_shielded(&waiter);
        }
        break;
    case FILCH_JOIN_DONE:
        break;
    }
    if (ret_result)
        *ret_result = task->result;
    block_release(task);
    return 0;
}

static int join_answer(enum filch__join_result result)
{
    switch (result) {
    case FILCH_JOIN_STALE:
        return -ESRCH;
    case FILCH_JOIN_BUSY:
        return -EBUSY;
    case FILCH_JOIN_DONE:
        return 0;
    case FILCH_JOIN_WAIT:
        break;
    }
    return -EAGAIN;
}

int filch__task_join_look(filch_task *handle)
{
    struct filch__task *task = filch__handle_object(handle);

    if (handle == filch_task_self())
        return -EDEADLK;
    return join_answer(filch__state_join_look(&task->state, filch__handle_generation(handle)));
}

int filch__task_join_begin(filch_task *handle, struct filch__waiter *waiter)
{
    struct filch__task *task = filch__handle_object(handle);
    uint64_t generation = filch__handle_generation(handle);

    if (filch__task_generation(task) == generation && filch__task_was_forked(task))
        return -ECHILD;
    return join_answer(filch__state_join_begin(&task->state, generation, &task->joiner, waiter));
}

int filch__task_join_take(filch_task *handle, int *ret_result)
{
    struct filch__task *task = filch__handle_object(handle);

    if (ret_result)
        *ret_result = task->result;
    block_release(task);
    return 0;
}

void filch__task_join_abandon(filch_task *handle, struct filch__waiter *waiter)
{
    struct filch__task *task = filch__handle_object(handle);

    if (filch__state_join_abandon(&task->state))
        return;
    filch__waiter_wait_shielded(waiter);
    filch__state_join_undo(&task->state);
}

int filch__task_join_shielded(filch_task *handle)
{
    struct filch__task *task = filch__handle_object(handle);
    struct filch__waiter waiter;

    filch__waiter_init(&waiter, FILCH_WAIT_JOIN);
    if (filch__state_join_begin(&task->state, filch__handle_generation(handle), &task->joiner,
                                &waiter) == FILCH_JOIN_WAIT)
        filch__waiter_wait_shielded(&waiter);
    return filch__task_collect(task);
}

int filch_task_detach(filch_task *handle)
{
    struct filch__task *task = filch__handle_object(handle);

    if (!handle)
        return 0;
    switch (filch__state_detach(&task->state, filch__handle_generation(handle))) {
    case FILCH_DETACH_STALE:
        return -ESRCH;
    case FILCH_DETACH_BUSY:
        return -EBUSY;
    case FILCH_DETACH_RELEASE:
        block_release(task);
        return 0;
    case FILCH_DETACH_DONE:
        break;
    }
    return 0;
}

int filch_task_cancel(filch_task *handle)
{
    return filch_task_cancel_cause(handle, -ECANCELED);
}

int filch_task_cancel_cause(filch_task *handle, int error)
{
    struct filch__task *task = filch__handle_object(handle);
    struct filch_runtime *outside = NULL;
    int r = 0;

    if (!handle)
        return -EINVAL;
    if (!is_inside(filch__worker_self(), task)) {
        if (filch__task_was_forked(task))
            return -ECHILD;
        outside = foreign_begin(task);
    }
    if (error >= 0 || error < -FILCH__ERRNO_MAX)
        error = -ECANCELED;
    switch (filch__state_cancel(&task->state, filch__handle_generation(handle), error)) {
    case FILCH_CANCEL_STALE:
        r = -ESRCH;
        break;
    case FILCH_CANCEL_DONE:
        break;
    case FILCH_CANCEL_QUEUE:
        enqueue(task);
        break;
    }
    if (outside)
        foreign_end(outside);
    return r;
}

int filch_cancel_cause(void)
{
    struct filch__task *task = filch__task_current();

    if (!task)
        task = filch__blocking_self();
    while (task && !filch__task_cause(task) && task->flags & FILCH_TASK_FORK)
        task = filch__fork_parent(task);
    return task ? filch__task_cause(task) : 0;
}

bool filch_task_is_finished(const filch_task *handle)
{
    struct filch__task *task = filch__handle_object(handle);
    uint64_t state;

    if (!handle)
        return true;
    state = filch_load_acquire(&task->state); /* [task-result] */
    return filch__state_generation(state) != filch__handle_generation(handle) ||
           state & FILCH_TASK_DONE;
}

filch_task *filch_task_self(void)
{
    struct filch__task *task = filch__fork_root(filch__task_current());

    return task ? filch__task_handle(task) : NULL;
}

const char *filch_task_name(const filch_task *handle)
{
    struct filch__task *task =
        handle ? filch__handle_object(handle) : filch__fork_root(filch__task_current());

    if (!task || (handle && filch__task_generation(task) != filch__handle_generation(handle)))
        return "";
    return task->flags & FILCH_TASK_NAMED ? task->name : "";
}

size_t filch_task_stack_left(void)
{
    const struct filch__task *task = filch__task_current();

    if (!task || !filch__task_has_stack(task) || !task->stack)
        return SIZE_MAX;
    return (size_t)((const char *)__builtin_frame_address(0) - task->stack->low);
}

bool filch_task_is_cancelled(void)
{
    struct filch__task *task = filch__task_current();

    if (!task)
        task = filch__blocking_self();
    return task && (filch__task_cancelled(task) ||
                    (task->flags & FILCH_TASK_FORK && filch__fork_is_asked(task)));
}
