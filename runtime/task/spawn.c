/* Spawning: a control block, filled and queued.
 *
 * A spawn takes a credit for a stack and a block (task_cache.h), fills the block's first cache
 * line, and queues it; the task gets its stack when it first runs. What options ask for besides is
 * done out of line. A spawn that is refused has changed nothing.
 *
 * A thread that is no worker of the runtime is counted while it spawns [outside-spawn], so that a
 * spawn that races with shutdown is either refused, or seen by it (sched/gate.h).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/sched/gate.h"
#include "runtime/sched/worker.h"
#include "runtime/task/depot.h"
#include "runtime/task/ready.h"
#include "runtime/task/task_cache.h"
#include "runtime/task/token.h"

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
        task = filch__cache_reserve(worker, (unsigned)size_class);
    else
        task = filch__block_take(worker);
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
    filch__block_release(task);
    if (kind == FILCH_KIND_STACKFUL)
        filch__credit_give(worker, (unsigned)size_class);
    return r;
}

int filch__task_new(struct filch_runtime *rt, enum filch__kind kind, filch_fn fn, void *arg,
                    const filch_task_opts *opts, bool with_handle, void *place,
                    struct filch__task **ret_task)
{
    return task_new(rt, filch__worker_of(rt), kind, fn, arg, opts, with_handle, place, ret_task);
}

static __attribute__((noinline)) int inherit_values(struct filch__task *task)
{
    struct filch__task *self = filch__task_current();

    return self ? filch__values_inherit(self, task) : 0;
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
    if (opts && opts->inherit_values && (r = inherit_values(task)) < 0) {
        filch__task_abort(task);
        return r;
    }
    handle = filch__task_handle(task);
    if (worker)
        filch__task_ready(worker, task, false);
    else
        filch__runtime_inject(rt, task);
    if (ret_task)
        *ret_task = handle;
    return 0;
}

int filch__spawn_begin(struct filch_runtime *rt)
{
    if (filch__worker_of(rt) ||
        filch__gate_enter(&rt->callers, &rt->stopping)) /* [outside-spawn] */
        return 0;
    return filch__runtime_refusal(rt);
}

void filch__spawn_end(struct filch_runtime *rt)
{
    if (!filch__worker_of(rt))
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
    r = spawn(rt, filch__worker_of(rt), FILCH_KIND_STACKFUL, fn, arg, opts,
              __builtin_return_address(0), ret_task);
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
    return rt ? spawn(rt, filch__worker_of(rt), FILCH_KIND_FUTURE, future_body, future, &own, NULL,
                      ret_task)
              : -EPERM;
}
