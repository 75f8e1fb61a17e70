/* Ready tasks of groups that are for one worker alone: pinned ones, and those that are to begin on
 * a given worker and have not yet. They wait in a set of that worker that nobody else takes from
 * (worker->bound), so thieves, the monitor and a worker that sits out leave them where they are.
 * Whose turn it is, and who pays, is as for all of their group (group_turn.c): there is one virtual
 * time for both, and the two kinds take turns.
 *
 *     a sender                              the worker that goes to park       [bound-park]
 *     1 put the task into the set           1 set its sleeper bit (filch__idle_park)
 *     2 take the worker's sleeper bit away  2 is the set empty? else do not park
 *     3 it was set: unpark its lane         3 block in the lane
 *
 *   Both go through the word with the bit by read-modify-writes, in some order: either the sender
 * finds the bit, or the worker, coming later, takes over what the sender had put before, and its
 * look, which is relaxed, sees that. A worker that sits out has no bit; its seat does the same for
 * it [seat-mail]. As for the mailbox; but a sender looks at the bit each time, since it does not
 * know whether it was first. Modelled: tests/model/model_bound.c.
 */
#include "runtime/sched/group.h"
#include "runtime/sched/seat.h"
#include "runtime/sched/worker.h"

void filch__group_push_bound(struct filch__worker *self, struct filch__task *task, bool front)
{
    struct filch_runtime *rt = filch_load_relaxed(&task->rt);
    struct filch__worker *to = &rt->worker[task->bound_to - 1];

    /* [bound-park] [seat-mail] Before the looks at the worker. */
    filch__group_set_push(&to->bound, task->group, task, front);
    /* It may have run and ended by now. */
    if (!self)
        filch_fetch_add_relaxed(&rt->outside_inject_wakes, 1);
    else if (self == to)
        filch_counter_add(&self->stats.local_wakes, 1);
    else
        filch_counter_add(&self->stats.inject_wakes, 1);
    /* The worker itself is awake, or in a park that this ends: it looks before the next. */
    if (self != to && (filch__idle_claim(&rt->idle, to->index) || /* [bound-park] */
                       filch__seat_has_left(&to->seat)))          /* [seat-mail] */
        filch__io_driver.unpark(to->lane);
}

struct filch__task *filch__group_take_bound(struct filch__worker *worker, unsigned group)
{
    struct filch__task *task = filch__group_set_take(&worker->bound, group);

    if (task && !(task->flags & FILCH_TASK_BOUND))
        task->bound_to = 0; /* it has begun */
    return task;
}
