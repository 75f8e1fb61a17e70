/* Deadlines and shields: blocks of a task's code, nested as the code is.
 *
 *     task->blocks -> [ level 3, shield ] -> [ level 2, deadline ] -> [ level 1, deadline ]
 *
 * What a suspending call looks at is one bit of the task's word, CANCEL, whatever it is cancelled
 * for; so a task without blocks pays nothing, and one with blocks nothing per call. The bit is
 *
 *     asked to end and no shield in force,   or   a deadline has passed within the shield in force
 *
 * and is brought up to date by three: who asks (filch__state_cancel), a block's timer, and the
 * runner when it begins or ends a block. All of it follows from the blocks' times and the clock
 * (stand()): the word only keeps the answer, and the timers say when it changes.
 *
 * [block-settle] The runner computes the answer, stores it, and computes it again with a later
 * clock, until both are the same. A timer fires after its time: one that fired before the store is
 * seen by the second look, one that fires after it changes the word itself. Its own block's timer
 * is disarmed first, and does nothing afterwards.
 *
 * Fires happen under the lock of the timers, which the end of a block takes as well, unless it sees
 * that its timer has done with it [timer-fired]: so while one runs, its block and those around it
 * are there.
 *
 * A deadline is handed down as a time: each child in a scope begins in a block of its own with the
 * deadline in force at its spawn. So all descendants end at the same time, each by its own worker's
 * timers, and there is no list of them to walk, lock or leave.
 *
 * A wait that a deadline has ended returns -ECANCELED, not -ETIMEDOUT: the latter says that the
 * call's own `until` has come, which its caller may well answer by calling again, for ever.
 */
#include "runtime/task/block.h"

#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>

#include "runtime/base/assert.h"
#include "runtime/fork/fork.h"
#include "runtime/sched/worker.h"
#include "runtime/task/task.h"

#define LEVEL_MAX 0xffff

_Static_assert(sizeof(struct filch__block) <= sizeof(filch_block), "it lives in the private words");
_Static_assert(alignof(struct filch__block) <= alignof(filch_block),
               "it lives in the private words");

/* What a child gets, until it begins. */
struct filch__inherited {
    filch_fn fn;
    filch_time deadline;
};

static struct filch__block *block_of(filch_block *block)
{
    return (struct filch__block *)(void *)block->private_words;
}

static struct filch__block *innermost(const struct filch__task *task)
{
    return task->extras & FILCH_EXTRA_BLOCKS ? task->blocks : NULL;
}

static void set_innermost(struct filch__task *task, struct filch__block *block)
{
    task->blocks = block;
    if (block)
        task->extras |= FILCH_EXTRA_BLOCKS;
    else
        task->extras &= ~(uint32_t)FILCH_EXTRA_BLOCKS;
}

/* How @block and those around it stand at @now. */
static struct filch__standing stand(const struct filch__block *block, filch_time now)
{
    struct filch__standing standing = {.shield = 0};

    for (; block; block = block->outer) {
        bool over = block->until <= now;

        if (block->is_shield && !over && !standing.shield) {
            standing.shield = block->level;
        } else if (!block->is_shield && over) {
            standing.overdue = true;
            standing.seen |= !standing.shield;
        }
    }
    return standing;
}

static bool is_same(struct filch__standing a, struct filch__standing b)
{
    return a.shield == b.shield && a.overdue == b.overdue && a.seen == b.seen;
}

static struct filch__standing stand_now(const struct filch__block *block)
{
    return stand(block, block ? filch_now() : 0);
}

/* The runner has changed its blocks. */
static void settle(struct filch__task *task)
{
    struct filch__standing standing = stand_now(innermost(task));
    struct filch__standing later;

    for (;;) {
        filch__state_set_blocks(&task->state, &standing);
        later = stand_now(innermost(task)); /* [block-settle] */
        if (is_same(later, standing))
            return;
        standing = later;
    }
}

void filch__block_fire(struct filch__timer *timer, uint64_t generation)
{
    struct filch__block *block = filch_container_of(timer, struct filch__block, timer);
    struct filch__task *task = timer->target;
    struct filch__standing standing;
    enum filch__wake_result r;

    if (block->is_shield) {
        /* By its own time: the clock may have been read before it. */
        standing = stand(block, block->until);
        r = filch__state_unshield(&task->state, generation, block->level, &standing);
    } else {
        r = filch__state_overdue(&task->state, generation, block->level);
    }
    if (r == FILCH_WAKE_QUEUE)
        filch__task_start(task);
}

/* The deadline in force, as seen from @block: not beyond a shield in force. */
static filch_time deadline_of(const struct filch__block *block)
{
    filch_time deadline = FILCH_NEVER;

    for (; block; block = block->outer) {
        if (block->is_shield && (block->until == FILCH_NEVER || block->until > filch_now()))
            break;
        if (!block->is_shield && block->until < deadline)
            deadline = block->until;
    }
    return deadline;
}

/* A shield ends at the latest when the one around it does. */
static filch_time shield_limit(const struct filch__block *block)
{
    for (; block; block = block->outer)
        if (block->is_shield)
            return block->until;
    return FILCH_NEVER;
}

static void arm(struct filch__task *task, struct filch__block *block)
{
    struct filch__worker *worker = filch__worker_self();

    filch__timer_arm_block(&worker->timers, &block->timer, block->until, worker->now, task);
}

static int begin(filch_block *public, filch_time time, bool is_shield)
{
    struct filch__block *block = block_of(public);
    struct filch__task *task = filch__task_current();
    struct filch__block *outer;

    block->begun = false;
    if (!task || !filch__task_has_stack(task))
        return -EPERM;
    outer = innermost(task);
    if (outer && outer->level == LEVEL_MAX)
        return -EOVERFLOW;
    filch__fork_share_all();
    filch__timer_init(&block->timer);
    block->outer = outer;
    block->until = time;
    if (is_shield && shield_limit(outer) < time)
        block->until = shield_limit(outer);
    block->level = outer ? outer->level + 1 : 1;
    block->is_shield = is_shield;
    block->begun = true;
    set_innermost(task, block);
    if (is_shield || time <= filch__worker_self()->now)
        settle(task);
    /* A deadline behind another one that is seen as well changes nothing. */
    if (block->until != FILCH_NEVER && (is_shield || time < deadline_of(outer)))
        arm(task, block);
    return 0;
}

/* Return: is its time over? */
static bool end(filch_block *public)
{
    struct filch__block *block = block_of(public);
    struct filch__task *task = filch__task_current();
    bool over;

    if (!block->begun)
        return false;
    if (!task || innermost(task) != block)
        filch__throw("a deadline or a shield ends that is not the innermost of its task");
    filch__timer_disarm(&block->timer);
    block->begun = false;
    set_innermost(task, block->outer);
    if (!block->is_shield &&
        !(filch_load_relaxed(&task->state) & (FILCH_TASK_OVERDUE | FILCH_TASK_SHIELD)))
        return false;
    over = block->until != FILCH_NEVER && block->until <= filch_now();
    settle(task);
    return over;
}

int filch_deadline_begin(filch_block *block, filch_time time)
{
    return block ? begin(block, time, false) : -EINVAL;
}

int filch_shield_begin(filch_block *block, filch_time time)
{
    return block ? begin(block, time, true) : -EINVAL;
}

int filch_block_end(filch_block *block)
{
    if (!block)
        return 0;
    return end(block) ? -ETIMEDOUT : 0;
}

filch_time filch__task_deadline(const struct filch__task *task)
{
    return deadline_of(innermost(task));
}

filch_time filch_deadline(void)
{
    struct filch__task *task = filch__task_current();

    return task && filch__task_has_stack(task) ? deadline_of(innermost(task)) : FILCH_NEVER;
}

/* ---- handing down ---- */

/* Around the body of a child that begins with a deadline. */
static int inherited_body(void *arg)
{
    struct filch__task *task = filch__task_current();
    struct filch__inherited inherited = *task->inherited;
    filch_block block;
    int result;

    filch__inherited_drop(task);
    begin(&block, inherited.deadline, false);
    result = inherited.fn(arg);
    end(&block);
    return result;
}

void filch__inherited_drop(struct filch__task *task)
{
    free(task->inherited);
    task->extras &= ~(uint32_t)FILCH_EXTRA_INHERITED;
}

static int inherit_deadline(const struct filch__task *self, struct filch__task *child)
{
    filch_time deadline = deadline_of(innermost(self));

    if (deadline == FILCH_NEVER)
        return 0;
    child->inherited = malloc(sizeof *child->inherited);
    if (!child->inherited)
        return -ENOMEM;
    *child->inherited = (struct filch__inherited){.fn = child->fn, .deadline = deadline};
    child->fn = inherited_body;
    child->extras |= FILCH_EXTRA_INHERITED;
    return 0;
}

int filch__values_inherit(struct filch__task *self, struct filch__task *child)
{
    if (self->extras & (FILCH_EXTRA_LOCALS | FILCH_EXTRA_FORKS) || self->flags & FILCH_TASK_FORK)
        return filch__locals_inherit(self, child);
    return 0;
}

int filch__task_inherit(struct filch__task *self, struct filch__task *child)
{
    int r = 0;

    if (self->extras & FILCH_EXTRA_BLOCKS && filch__task_has_stack(child))
        r = inherit_deadline(self, child);
    return r < 0 ? r : filch__values_inherit(self, child);
}
