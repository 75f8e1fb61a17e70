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
#include "runtime/task/relay.h"
#include "runtime/task/task.h"

struct thread_parker {
    /* 0 or 1: woken since the last look. [parker-wake] release in wake, acquire in the wait. */
    filch_atomic_u32 woken;
    /* One for the awaiting thread, one for each waker. [parker-free] acq_rel: the last one out sees
     * all uses. */
    filch_atomic_u32 references;
};

static void parker_unref(struct thread_parker *parker)
{
    if (filch_fetch_sub_acq_rel(&parker->references, 1) == 1) /* [parker-free] */
        free(parker);
}

filch_waker filch_waker_clone(const filch_waker *waker)
{
    if (!waker)
        return (filch_waker){0};
    if (waker->key & FILCH__WAKER_THREAD)
        filch_fetch_add_relaxed(&((struct thread_parker *)waker->target)->references, 1);
    return *waker;
}

void filch_waker_drop(filch_waker waker)
{
    if (waker.key & FILCH__WAKER_THREAD)
        parker_unref(waker.target);
}

void filch_waker_wake_by_ref(const filch_waker *waker)
{
    struct thread_parker *parker;

    if (!waker || !waker->target)
        return;
    if (!(waker->key & FILCH__WAKER_KINDS)) {
        filch__task_wake(waker->target, waker->key);
        return;
    }
    if (waker->key & FILCH__WAKER_RELAY) {
        filch__relay_wake(waker->target, waker->key);
        return;
    }
    parker = waker->target;
    filch_store_release(&parker->woken, 1); /* [parker-wake] */
    filch__futex_wake(&parker->woken, 1);
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
        r = filch__park(until, FILCH_WAIT_FUTURE);
    }
}

static int await_in_thread(filch_future *future, struct thread_parker *parker, filch_time until)
{
    filch_waker waker = {.target = parker, .key = FILCH__WAKER_THREAD};
    filch_cx cx = {.waker = &waker};
    int r = 0;

    for (;;) {
        filch_store_relaxed(&parker->woken,
                            0); /* before the poll: a wake during it must not be lost */
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
    struct thread_parker *parker;
    int r;

    if (!future || !future->poll)
        return -EINVAL;
    if (task)
        return await_in_task(future, task, until);
    parker = malloc(sizeof *parker);
    if (!parker)
        return -ENOMEM;
    filch_atomic_init(&parker->woken, 0);
    filch_atomic_init(&parker->references, 1);
    r = await_in_thread(future, parker, until);
    parker_unref(parker);
    return r;
}
