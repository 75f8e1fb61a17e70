/* The inject queue: tasks that threads other than the workers made runnable. liburcu's wait-free
 * queue; many producers, and consumers one at a time under a lock that is only tried. */
#ifndef FILCH_SCHED_INJECT_H
#define FILCH_SCHED_INJECT_H

#include <stdalign.h>

#include <urcu/wfcqueue.h>

#include "runtime/base/atomic.h"
#include "runtime/base/spinlock.h"
#include "runtime/task/switch.h"

struct filch__task;
struct filch__run_queue;

struct filch__inject {
    struct cds_wfcq_head head;
    filch_spinlock lock; /* consumers */
    alignas(FILCH_CACHELINE) struct cds_wfcq_tail tail;
};

void filch__inject_init(struct filch__inject *inject);
void filch__inject_fini(struct filch__inject *inject);

/* Any thread. Wait-free. Return: was it empty before? Then a worker must be notified. */
bool filch__inject_push(struct filch__inject *inject, struct filch__task *task);

/* Takes up to @most tasks: the first is returned, the others are pushed to @queue, the caller's
 * own. NULL: empty, or another worker is taking, or a producer is in the middle of its push. */
struct filch__task *filch__inject_take(struct filch__inject *inject, struct filch__run_queue *queue,
                                       unsigned most);

bool filch__inject_is_empty(struct filch__inject *inject);

/* liburcu's queues order what was written before an enqueue before what is read after the dequeue,
 * with barriers that ThreadSanitizer does not know: this tells it. */
static inline void filch__queued(struct filch__task *task)
{
#ifdef FILCH__TSAN
    __tsan_release(task);
#endif
    (void)task;
}

static inline void filch__dequeued(struct filch__task *task)
{
#ifdef FILCH__TSAN
    __tsan_acquire(task);
#endif
    (void)task;
}

#endif
