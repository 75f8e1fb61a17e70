/* A task's end as a case of a select.
 *
 * The task's word is the lock: JOINING says that the waiter may be touched by the task's end, which
 * claims it and wakes it, whether it has won or not. So a loser that cannot take JOINING back waits
 * for that wake, which is under way, and leaves the task as it was: done, and the handle good.
 */
#include <errno.h>

#include <filch/select.h>

#include "runtime/task/task.h"
#include "sync/case.h"

static bool join_try(filch_case *c)
{
    int r = filch__task_join_look(c->object);

    if (r == -EAGAIN)
        return false;
    c->result = r == 0 ? filch__task_join_take(c->object, c->data) : r;
    return true;
}

static enum filch__enlist join_enlist(filch_case *c, struct filch__waiter *waiter)
{
    int r = filch__task_join_begin(c->object, waiter);

    if (r == -EAGAIN)
        return FILCH__ENLIST_WAITS;
    if (!filch__waiter_claim(waiter))
        return FILCH__ENLIST_LOST;
    c->result = r == 0 ? filch__task_join_take(c->object, c->data) : r;
    return FILCH__ENLIST_TAKEN;
}

static void join_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    if (won)
        c->result = filch__task_join_take(c->object, c->data);
    else
        filch__task_join_abandon(c->object, waiter);
}

static const struct filch__case_ops join_ops = {
    .try_now = join_try,
    .enlist = join_enlist,
    .delist = join_delist,
    .reason = FILCH_WAIT_JOIN,
};

filch_case filch_case_join(filch_task *task, int *ret_result)
{
    return (filch_case){.ops = task ? &join_ops : NULL, .object = task, .data = ret_result};
}
