/* Control blocks and stack credits in a worker's hands.
 *
 * Blocks come from a pool of the process (base/pool.h) through a cache per worker, and are never
 * unmapped. A worker has a chain that it takes from and gives to, at most a magazine long, and
 * perhaps a full magazine: so whoever takes and gives around a border does not go to the pool each
 * time. Credits are beside the stacks (stack.h). Threads that are no workers have the depot
 * (depot.h).
 *
 * In line where a task is spawned, ends or is joined. @worker: the caller's, or NULL: it is none.
 */
#ifndef FILCH_TASK_TASK_CACHE_H
#define FILCH_TASK_TASK_CACHE_H

#include "runtime/sched/worker.h"
#include "runtime/task/task.h"

/* The chain is as long as a magazine: it becomes the full one. */
void filch__magazine_give(struct filch__worker *worker);

/* The caller's worker, if it is one of @rt. */
static inline struct filch__worker *filch__worker_of(const struct filch_runtime *rt)
{
    struct filch__worker *worker = filch__worker_self();

    return worker && worker->rt == rt ? worker : NULL;
}

/* Return: NULL: no memory. */
static inline struct filch__task *filch__block_take(struct filch__worker *worker)
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

/* The block is ours alone and DONE. @worker: of any runtime. */
static inline void filch__block_give(struct filch__worker *worker, struct filch__task *task)
{
    filch__state_release(&task->state);
    if (!worker) {
        filch__pool_give(&filch__task_pool, task);
        return;
    }
    if (worker->free_count == FILCH__POOL_MAGAZINE)
        filch__magazine_give(worker);
    task->next = worker->free_tasks;
    worker->free_tasks = task;
    worker->free_count++;
}

static inline void filch__block_release(struct filch__task *task)
{
    filch__block_give(filch__worker_self(), task);
}

static inline int filch__credit_take(struct filch__worker *worker, unsigned size_class)
{
    return worker ? filch__stack_cache_credit(&worker->stacks[size_class])
                  : filch__stack_credit_take(size_class, 1);
}

static inline void filch__credit_give(struct filch__worker *worker, unsigned size_class)
{
    if (worker)
        filch__stack_cache_uncredit(&worker->stacks[size_class]);
    else
        filch__stack_credit_give(size_class, 1);
}

/* Both. Return: NULL: no memory. */
static inline struct filch__task *filch__cache_reserve(struct filch__worker *worker,
                                                       unsigned size_class)
{
    struct filch__task *task;

    if (filch__credit_take(worker, size_class) < 0)
        return NULL;
    task = filch__block_take(worker);
    if (!task)
        filch__credit_give(worker, size_class);
    return task;
}

#endif
