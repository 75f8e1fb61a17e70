/* See inject.h. The queue's node is the task's `next` pointer: a task is in one queue at a time.
 * The library's functions are called, not inlined: its accesses follow the kernel's memory model,
 * which ThreadSanitizer does not know; what a task carries is published by its state word instead
 * (task/state.h), which is read with acquire when a task is taken out. */
#include "runtime/sched/inject.h"

#include "runtime/sched/run_queue.h"
#include "runtime/task/task.h"

_Static_assert(sizeof(struct cds_wfcq_node) == sizeof(struct filch__task *),
               "the node is one pointer");

static struct cds_wfcq_node *node_of(struct filch__task *task)
{
    return (struct cds_wfcq_node *)(void *)&task->next;
}

static struct filch__task *task_of(struct cds_wfcq_node *node)
{
    return filch_container_of((struct filch__task **)(void *)node, struct filch__task, next);
}

static cds_wfcq_head_ptr_t head_of(struct filch__inject *inject)
{
    cds_wfcq_head_ptr_t head = {.h = &inject->head};

    return head;
}

void filch__inject_init(struct filch__inject *inject)
{
    cds_wfcq_init(&inject->head, &inject->tail);
    filch_spinlock_init(&inject->lock);
}

void filch__inject_fini(struct filch__inject *inject)
{
    cds_wfcq_destroy(&inject->head, &inject->tail);
}

bool filch__inject_push(struct filch__inject *inject, struct filch__task *task)
{
    cds_wfcq_node_init(node_of(task));
    filch__queued(task);
    return !cds_wfcq_enqueue(head_of(inject), &inject->tail, node_of(task));
}

struct filch__task *filch__inject_take(struct filch__inject *inject, struct filch__run_queue *queue,
                                       unsigned most)
{
    struct filch__task *first = NULL;

    if (filch__inject_is_empty(inject) || !filch_spinlock_try(&inject->lock))
        return NULL;
    for (unsigned n = 0; n < most; n++) {
        struct cds_wfcq_node *node = __cds_wfcq_dequeue_nonblocking(head_of(inject), &inject->tail);

        if (!node || node == CDS_WFCQ_WOULDBLOCK)
            break;
        /* [task-publish] The queue hands the pointer over; the block's content is seen through its
         * state word. */
        (void)filch_load_acquire(&task_of(node)->state);
        filch__dequeued(task_of(node));
        if (!first)
            first = task_of(node);
        else
            filch__run_queue_push(queue, task_of(node));
    }
    filch_spinlock_unlock(&inject->lock);
    return first;
}

bool filch__inject_is_empty(struct filch__inject *inject)
{
    return cds_wfcq_empty(head_of(inject), &inject->tail);
}
