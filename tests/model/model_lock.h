/* What the locks need of the runtime, for plain threads: waiters that block in the explorer. One
 * that waits with a limit gives up at any moment. */
#ifndef FILCH_TESTS_MODEL_LOCK_H
#define FILCH_TESTS_MODEL_LOCK_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/task/task.h"
#include "runtime/task/waiter.h"
#include "tests/model/explore.h"

/* What the clock advances at each look. */
static filch_time model_tick;
static filch_time model_now;

filch_time filch_now(void)
{
    model_now += model_tick;
    return model_now;
}

void filch__throw(const char *what)
{
    xp_fail(what);
    abort();
}

struct filch__task *filch__task_current(void)
{
    return NULL;
}

bool filch__task_cancelled(struct filch__task *task)
{
    (void)task;
    return false;
}

bool filch__waiter_group_claim(struct filch__waiter_group *group, uint32_t winner)
{
    uint32_t nobody = 0;

    return filch_cas_relaxed(&group->winner, &nobody, winner);
}

void filch__waiter_init(struct filch__waiter *waiter, enum filch__wait reason)
{
    filch__list_init(&waiter->link);
    waiter->task = NULL;
    waiter->data = NULL;
    waiter->reason = (uint16_t)reason;
    waiter->group = NULL;
    filch_atomic_init(&waiter->woken, 0);
}

static bool is_woken(void *arg)
{
    return xp_peek(&((struct filch__waiter *)arg)->woken.location) != 0;
}

void filch__waiter_wait_shielded(struct filch__waiter *waiter)
{
    while (!filch_load_acquire(&waiter->woken))
        xp_block_until(is_woken, waiter);
    filch_plain_read(&waiter->data);
}

int filch__waiter_wait(struct filch__waiter *waiter, filch_time until)
{
    if (until != FILCH_NEVER)
        return filch_load_acquire(&waiter->woken) ? 0 : -ETIMEDOUT;
    filch__waiter_wait_shielded(waiter);
    return 0;
}

void filch__waiter_wake(struct filch__waiter *waiter)
{
    filch_plain_write(&waiter->data);
    filch_store_release(&waiter->woken, 1);
}

void filch__waiter_wake_back(struct filch__waiter *waiter)
{
    filch__waiter_wake(waiter);
}

#endif
