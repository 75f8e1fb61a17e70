/* What threads that are no workers spawn from.
 *
 * A worker has a cache of its own; a plain thread would take three locks for each task: the pool of
 * credits, the pool of blocks, and the queue. Here a magazine of blocks and a batch of credits lie
 * under one spinlock, which is held for a few instructions; whoever finds the depot empty fetches
 * without it.
 *
 *     credits --batch-->  [ depot: credits, chain of blocks ]  --a block with a credit--> spawn
 *     blocks --magazine-->
 *
 * Rejected: a cache for each thread. It would have to be given back when the thread ends, and is
 * faster only where plain threads spawn side by side.
 */
#include "runtime/task/depot.h"

#include <stddef.h>

#include "runtime/task/task.h"

#define CREDITS 64

static struct {
    filch_spinlock lock;
    struct filch__task *blocks; /* of one magazine at most */
    unsigned credits;
} depot;

/* Return: NULL: something is missing. */
static struct filch__task *take(bool *ret_has_blocks)
{
    struct filch__task *task = NULL;

    filch_spinlock_lock(&depot.lock);
    *ret_has_blocks = depot.blocks;
    if (depot.credits && depot.blocks) {
        task = depot.blocks;
        depot.blocks = task->next;
        __builtin_prefetch(depot.blocks, 1); /* a worker had it last */
        depot.credits--;
    }
    filch_spinlock_unlock(&depot.lock);
    return task;
}

static bool fetch_credits(void)
{
    if (filch__stack_credit_take(FILCH_STACK_256K, CREDITS) < 0)
        return false;
    filch_spinlock_lock(&depot.lock);
    depot.credits += CREDITS;
    filch_spinlock_unlock(&depot.lock);
    return true;
}

static bool fetch_blocks(void)
{
    struct filch__task *chain = filch__pool_take_magazine(&filch__task_pool);
    bool is_late;

    if (!chain)
        return false;
    filch_spinlock_lock(&depot.lock);
    is_late = depot.blocks;
    if (!is_late)
        depot.blocks = chain;
    filch_spinlock_unlock(&depot.lock);
    if (is_late)
        filch__pool_give_magazine(&filch__task_pool, chain);
    return true;
}

/* Near a limit the last ones are taken one by one. */
static struct filch__task *take_single(void)
{
    struct filch__task *task;

    if (filch__stack_credit_take(FILCH_STACK_256K, 1) < 0)
        return NULL;
    task = filch__pool_take(&filch__task_pool);
    if (!task)
        filch__stack_credit_give(FILCH_STACK_256K, 1);
    return task;
}

struct filch__task *filch__depot_take(void)
{
    struct filch__task *task;
    bool has_blocks;

    while (!(task = take(&has_blocks)))
        if (!(has_blocks ? fetch_credits() : fetch_blocks()))
            return take_single();
    return task;
}

void filch__depot_empty(void)
{
    struct filch__task *chain, *next;
    unsigned credits;

    filch_spinlock_lock(&depot.lock);
    chain = depot.blocks;
    credits = depot.credits;
    depot.blocks = NULL;
    depot.credits = 0;
    filch_spinlock_unlock(&depot.lock);
    for (; chain; chain = next) {
        next = chain->next;
        filch__pool_give(&filch__task_pool, chain);
    }
    if (credits)
        filch__stack_credit_give(FILCH_STACK_256K, credits);
}

void filch__depot_forked(void)
{
    filch_spinlock_init(&depot.lock);
    depot.blocks = NULL;
    depot.credits = 0;
}
