/* Where a ready task goes, if its waker or spawner is a worker of its runtime: to the front or the
 * back of that worker's queue, or apart. In line in spawns and wakes. */
#ifndef FILCH_TASK_READY_H
#define FILCH_TASK_READY_H

#include "runtime/sched/worker.h"
#include "runtime/task/task.h"

/* One that is not STACKFUL. Out of line, so that the others pay for one branch. */
void filch__task_ready_apart(struct filch__worker *worker, struct filch__task *task, bool front);

static inline void filch__task_ready(struct filch__worker *worker, struct filch__task *task,
                                     bool front)
{
    if (__builtin_expect(task->kind != FILCH_KIND_STACKFUL, 0)) {
        filch__task_ready_apart(worker, task, front);
        return;
    }
    filch_counter_add(&worker->stats.local_wakes, 1);
    if (front)
        filch__worker_push_front(worker, task);
    else
        filch__worker_push_back(worker, task);
}

#endif
