/* Errors that nobody can read any more, told to a function of the program's.
 *
 *     a body returns an error, and nobody has its handle   -> told when it ends
 *     it has a handle, which is given up: before the end   -> the same
 *                                         after the end    -> told by who gives it up
 *     it is in a scope, or a fork, or is joined            -> not told here: the scope, who forked
 *                                                             it, the joiner know
 *
 * Who gives the block of a task back asks this, if the result is negative: the only cost for others
 * is that question, of a number that is at hand.
 *
 * What is told is called outside of any task: who would suspend the one that is ending, or the one
 * that gives a handle up, does not find it.
 */
#include "runtime/task/lost.h"

#include <errno.h>

#include "runtime/base/place.h"
#include "runtime/sched/worker.h"
#include "runtime/task/task.h"

void filch__lost_note(struct filch__task *task)
{
    if (filch__task_has_stack(task))
        task->sp = task->stack ? (void *)(uintptr_t)task->stack->spawn_place : NULL;
}

static filch_live_kind kind_of(const struct filch__task *task)
{
    if (filch__task_has_stack(task))
        return FILCH_LIVE_TASK;
    return task->kind == FILCH_KIND_FUTURE ? FILCH_LIVE_FUTURE : FILCH_LIVE_JOB;
}

static filch_fn fn_of(const struct filch__task *task)
{
    if (task->kind == FILCH_KIND_FUTURE)
        return NULL;
    return task->flags & FILCH_TASK_SAVE_FP ? task->fp_fn : task->fn;
}

void filch__lost_tell_of(filch_runtime *rt, const filch_lost_error *lost)
{
    struct filch__worker *worker = filch__worker_self();
    struct filch__task *current = worker ? worker->current : NULL;

    if (!rt->opts.on_lost_error)
        return;
    if (worker)
        worker->current = NULL;
    filch__blocking_set_over(true);
    rt->opts.on_lost_error(rt->opts.hook_arg, lost);
    filch__blocking_set_over(false);
    if (worker)
        worker->current = current;
}

/* @late: its name may have gone since it ended. */
static void tell(struct filch__task *task, bool late)
{
    filch_lost_error lost = {
        .error = task->result,
        .kind = kind_of(task),
        .name = task->flags & FILCH_TASK_NAMED && !late ? task->name : "",
        .fn = fn_of(task),
        .place = filch__task_has_stack(task) ? task->sp : NULL,
    };

    if (task->flags & (FILCH_TASK_SCOPED | FILCH_TASK_FORK))
        return;
    if (lost.error == -ECANCELED && filch__task_cause(task))
        return; /* it did as it was told */
    filch__lost_tell_of(filch_load_relaxed(&task->rt), &lost);
}

void filch__lost_tell(struct filch__task *task)
{
    tell(task, false);
}

void filch__lost_tell_late(struct filch__task *task)
{
    struct filch_runtime *rt = filch_load_relaxed(&task->rt);

    if (filch__spawn_begin(rt) < 0)
        return;
    tell(task, true);
    filch__spawn_end(rt);
}

void filch_lost_error_log(void *arg, const filch_lost_error *lost)
{
    static const char *const kind[] = {"task", "future", "blocking job"};
    char place[FILCH__PLACE_BYTES];

    (void)arg;
    if (!lost || (unsigned)lost->kind > FILCH_LIVE_JOB)
        return;
    filch__place_name(lost->place, place, sizeof place);
    filch__log(NULL, FILCH_LOG_WARNING, "%s \"%s\"%s%s ended with an error that nobody reads: %s",
               kind[lost->kind], lost->name ? lost->name : "", lost->place ? ", spawned at " : "",
               lost->place ? place : "", filch_strerror(lost->error));
}
