/* Awaiting futures, and wakers.
 *
 * A task's waker is its control block and generation: cloning copies, dropping does nothing, and a
 * late wake is harmless (task/state.h). A plain thread's waker is a reference-counted parker on the
 * heap, because others may keep it longer than the thread lives. A child's waker is its future's
 * relay and its index (task/relay.h). A waker without a target, all zeroes, wakes nobody.
 */
#include <filch/future.h>

#include <errno.h>
#include <stdlib.h>

#include "runtime/base/futex.h"
#include "runtime/base/spinlock.h"
#include "runtime/task/parker.h"
#include "runtime/task/relay.h"
#include "runtime/task/task.h"

struct filch__parker {
    /* 0 or 1: woken since the last look. [parker-wake] release in wake, acquire in the wait. */
    filch_atomic_u32 woken;
    /* One for the awaiting thread, one for each waker. [parker-free] acq_rel: the last one out sees
     * all uses. */
    filch_atomic_u32 references;
    filch_spinlock lock;
    struct filch__waiter_group *group; /* by the lock: the select that is to be woken as well */
};

struct filch__parker *filch__parker_new(void)
{
    struct filch__parker *parker = malloc(sizeof *parker);

    if (!parker)
        return NULL;
    filch_atomic_init(&parker->woken, 0);
    filch_atomic_init(&parker->references, 1);
    filch_spinlock_init(&parker->lock);
    parker->group = NULL;
    return parker;
}

void filch__parker_unref(struct filch__parker *parker)
{
    if (filch_fetch_sub_acq_rel(&parker->references, 1) == 1) /* [parker-free] */
        free(parker);
}

filch_waker filch__parker_waker(struct filch__parker *parker)
{
    return (filch_waker){.target = parker, .key = FILCH__WAKER_THREAD};
}

void filch__parker_reset(struct filch__parker *parker)
{
    filch_store_relaxed(&parker->woken, 0);
}

bool filch__parker_attach(struct filch__parker *parker, struct filch__waiter_group *group)
{
    bool woken;

    filch_spinlock_lock(&parker->lock);
    woken = filch_load_acquire(&parker->woken); /* [parker-wake] */
    if (!woken)
        parker->group = group;
    filch_spinlock_unlock(&parker->lock);
    return !woken;
}

void filch__parker_detach(struct filch__parker *parker)
{
    filch_spinlock_lock(&parker->lock);
    parker->group = NULL;
    filch_spinlock_unlock(&parker->lock);
}

static void parker_wake(struct filch__parker *parker)
{
    struct filch__waiter_group *group;

    filch_spinlock_lock(&parker->lock);
    filch_store_release(&parker->woken, 1); /* [parker-wake] */
    group = parker->group;
    if (group)
        (void)filch__waiter_group_claim(group, FILCH__GROUP_POLL);
    filch_spinlock_unlock(&parker->lock);
    filch__futex_wake(&parker->woken, 1);
    if (group)
        filch__futex_wake(&group->winner, 1); /* only the address is used */
}

filch_waker filch_waker_clone(const filch_waker *waker)
{
    if (!waker)
        return (filch_waker){0};
    if (waker->key & FILCH__WAKER_THREAD)
        filch_fetch_add_relaxed(&((struct filch__parker *)waker->target)->references, 1);
    return *waker;
}

void filch_waker_drop(filch_waker waker)
{
    if (waker.key & FILCH__WAKER_THREAD)
        filch__parker_unref(waker.target);
}

void filch_waker_wake_by_ref(const filch_waker *waker)
{
    if (!waker || !waker->target)
        return;
    if (!(waker->key & FILCH__WAKER_KINDS))
        filch__task_wake(waker->target, waker->key);
    else if (waker->key & FILCH__WAKER_RELAY)
        filch__relay_wake(waker->target, waker->key);
    else
        parker_wake(waker->target);
}

void filch_waker_wake(filch_waker waker)
{
    filch_waker_wake_by_ref(&waker);
    filch_waker_drop(waker);
}

bool filch_waker_will_wake(const filch_waker *a, const filch_waker *b)
{
    return a && b && a->target == b->target && a->key == b->key;
}

static int await_in_task(filch_future *future, struct filch__task *task, filch_time until)
{
    filch_waker waker = {.target = task, .key = filch__task_generation(task)};
    filch_cx cx = {.waker = &waker};
    int r = 0;

    for (;;) {
        if (future->poll(future, &cx) == FILCH_READY)
            return future->result;
        if (r < 0)
            return r;
        filch__coop(); /* one that wakes itself in each poll has the park return at once */
        r = filch__park(until, FILCH_WAIT_FUTURE);
    }
}

static int await_in_thread(filch_future *future, struct filch__parker *parker, filch_time until)
{
    filch_waker waker = filch__parker_waker(parker);
    filch_cx cx = {.waker = &waker};
    int r = 0;

    for (;;) {
        filch__parker_reset(parker); /* before the poll: a wake during it must not be lost */
        if (future->poll(future, &cx) == FILCH_READY)
            return future->result;
        if (r < 0)
            return r;
        while (r == 0 && !filch_load_acquire(&parker->woken)) /* [parker-wake] */
            r = filch__futex_wait(&parker->woken, 0, until);
    }
}

int filch_await(filch_future *future, filch_time until)
{
    struct filch__task *task = filch__task_current();
    struct filch__parker *parker;
    int r;

    if (!future || !future->poll)
        return -EINVAL;
    if (task)
        return await_in_task(future, task, until);
    parker = filch__parker_new();
    if (!parker)
        return -ENOMEM;
    r = await_in_thread(future, parker, until);
    filch__parker_unref(parker);
    return r;
}
