/* Pinned tasks: see mailbox.h.
 *
 * A pinned task is in its worker's mailbox whenever another would be in a queue: after spawn, wake,
 * yield. So thieves and the monitor never meet it. Its kind tells; `pinned_to`, set at spawn, tells
 * which worker. The mailbox is liburcu's wait-free queue, linked through the task's `next`, as the
 * inject queue, but with one consumer and so without a lock.
 *
 *     a sender                              the worker that goes to park
 *     1 put the task in (exchange)          1 set its sleeper bit (filch__idle_park)
 *     2 was the mailbox empty? then take    2 is the mailbox empty? else do not park
 *       the worker's sleeper bit away         (filch__idle_unpark)
 *     3 it was set: unpark its lane         3 block in the lane
 *
 *   [mailbox-park] Both write, then read what the other wrote: 1 left is an exchange with a full
 * barrier, 1 right and 2 left are seq_cst read-modify-writes of one word; so either the sender
 * finds the bit, or the worker finds the task. Whoever takes the bit counts the worker as running
 * and searching, as any waker does (idle.h).
 *
 * A sender that finds the mailbox not empty wakes nobody: what is there was put by another sender,
 * who sees to it, or by the worker itself, who is awake and looks again before it parks.
 *
 * A woken task's block is seen through its state word [task-publish]: the queue only hands the
 * pointer over.
 */
#include "runtime/sched/mailbox.h"

#include "runtime/sched/seat.h"
#include "runtime/sched/worker.h"

_Static_assert(sizeof(struct cds_wfcq_node) == sizeof(struct filch__task *),
               "the node is one pointer");

static struct cds_wfcq_node *node_of(struct filch__task *task)
{
    return (struct cds_wfcq_node *)(void *)&task->next;
}

static cds_wfcq_head_ptr_t head_of(struct filch__mailbox *mailbox)
{
    cds_wfcq_head_ptr_t head = {._h = &mailbox->head};

    return head;
}

void filch__mailbox_init(struct filch__mailbox *mailbox)
{
    __cds_wfcq_init(&mailbox->head, &mailbox->tail);
}

static void count_wake(struct filch_runtime *rt, struct filch__worker *self,
                       struct filch__worker *to)
{
    if (!self || self->rt != rt)
        filch_fetch_add_relaxed(&rt->outside_inject_wakes, 1);
    else if (self == to)
        filch_counter_add(&self->stats.local_wakes, 1);
    else
        filch_counter_add(&self->stats.inject_wakes, 1);
}

void filch__mailbox_send(struct filch__task *task)
{
    struct filch__worker *self = filch__worker_self();
    struct filch__worker *to = task->pinned_to;
    struct filch_runtime *rt = to->rt;
    bool was_empty;

    count_wake(rt, self, to);
    cds_wfcq_node_init(node_of(task));
    filch__queued(task);
    was_empty = !cds_wfcq_enqueue(head_of(&to->mailbox), &to->mailbox.tail,
                                  node_of(task)); /* [mailbox-park] */
    if (was_empty && self != to &&
        (filch__idle_claim(&rt->idle, to->index) ||
         filch__seat_has_left(&to->seat))) /* [seat-mail] */
        filch__io_driver.unpark(to->lane);
}

struct filch__task *filch__mailbox_take(struct filch__mailbox *mailbox)
{
    struct cds_wfcq_node *node;
    struct filch__task *task;

    if (filch__mailbox_is_empty(mailbox))
        return NULL;
    node = __cds_wfcq_dequeue_nonblocking(head_of(mailbox), &mailbox->tail);
    if (!node || node == CDS_WFCQ_WOULDBLOCK)
        return NULL;
    task = filch_container_of((struct filch__task **)(void *)node, struct filch__task, next);
    (void)filch_load_acquire(&task->state); /* [task-publish] */
    filch__dequeued(task);
    return task;
}

bool filch__mailbox_is_empty(struct filch__mailbox *mailbox)
{
    return cds_wfcq_empty(head_of(mailbox), &mailbox->tail);
}
