/* The parts of task_cache.h that are not in line: the pool, and what goes there. */
#include "runtime/task/task_cache.h"

struct filch__pool filch__task_pool =
    FILCH__POOL_INITIALISER_MAGAZINES(struct filch__task, next, chunk.next);

void filch__magazine_give(struct filch__worker *worker)
{
    if (worker->free_magazine)
        filch__pool_give_magazine(&filch__task_pool, worker->free_magazine);
    worker->free_magazine = worker->free_tasks;
    worker->free_tasks = NULL;
    worker->free_count = 0;
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

struct filch__task *filch__task_reserve(struct filch__worker *worker, unsigned size_class)
{
    return filch__cache_reserve(worker, size_class);
}

void filch__task_unreserve(struct filch__worker *worker, struct filch__task *task,
                           unsigned size_class)
{
    filch__credit_give(worker, size_class);
    filch__block_release(task);
}
