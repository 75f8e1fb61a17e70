/* Trackers: a count under a lock, and waiters for closed-and-zero.
 *
 * A tracked task calls tracker_left() at its end, as the oldest of the calls that it has deferred,
 * so after its body and all the others; filch__task_defer() before the task is queued, so that it
 * cannot be missed. Each that is tracked holds a reference, as do those outside; the last of both
 * frees. Who leaves takes the waiters out under the lock, when it is closed and the count is 0, and
 * frees after the unlock: a waiter has a reference of its own while it waits, by contract.
 */
#include <errno.h>
#include <stdlib.h>

#include <filch/runtime.h>
#include <filch/tracker.h>

#include "runtime/base/assert.h"
#include "runtime/base/spinlock.h"
#include "runtime/task/task.h"
#include "runtime/task/token.h"
#include "runtime/task/waiter.h"
#include "sync/wait_list.h"

struct filch_tracker {
    filch_spinlock lock; /* guards all but `token` */
    bool closed;
    size_t refs; /* also by those tracked */
    size_t count;
    struct filch__list waiters;
    filch_token *token;
};

int filch_tracker_new(filch_tracker **ret_tracker)
{
    filch_tracker *tracker;
    int r;

    if (!ret_tracker)
        return -EINVAL;
    tracker = malloc(sizeof *tracker);
    if (!tracker)
        return -ENOMEM;
    r = filch_token_new(&tracker->token);
    if (r < 0) {
        free(tracker);
        return r;
    }
    filch_spinlock_init(&tracker->lock);
    tracker->closed = false;
    tracker->refs = 1;
    tracker->count = 0;
    filch__list_init(&tracker->waiters);
    *ret_tracker = tracker;
    return 0;
}

static void tracker_free(filch_tracker *tracker)
{
    filch_token_unref(tracker->token);
    free(tracker);
}

filch_tracker *filch_tracker_ref(filch_tracker *tracker)
{
    if (!tracker)
        return NULL;
    filch_spinlock_lock(&tracker->lock);
    tracker->refs++;
    filch_spinlock_unlock(&tracker->lock);
    return tracker;
}

void filch_tracker_unref(filch_tracker *tracker)
{
    bool last;

    if (!tracker)
        return;
    filch_spinlock_lock(&tracker->lock);
    last = --tracker->refs == 0;
    filch_spinlock_unlock(&tracker->lock);
    if (last)
        tracker_free(tracker);
}

/* Those that may go, to be woken after the unlock. */
static struct filch__woken release_locked(filch_tracker *tracker)
{
    struct filch__woken woken = {NULL, NULL};

    if (tracker->closed && !tracker->count)
        filch__woken_add_all(&woken, &tracker->waiters);
    return woken;
}

int filch_tracker_enter(filch_tracker *tracker)
{
    if (!tracker)
        return -EINVAL;
    filch_spinlock_lock(&tracker->lock);
    tracker->refs++;
    tracker->count++;
    filch_spinlock_unlock(&tracker->lock);
    return 0;
}

int filch_tracker_leave(filch_tracker *tracker)
{
    struct filch__woken woken;
    bool last;

    if (!tracker)
        return -EINVAL;
    filch_spinlock_lock(&tracker->lock);
    if (!tracker->count) {
        filch_spinlock_unlock(&tracker->lock);
        return -EINVAL;
    }
    tracker->count--;
    last = --tracker->refs == 0;
    woken = release_locked(tracker);
    filch_spinlock_unlock(&tracker->lock);
    filch__woken_wake(&woken, 0);
    if (last)
        tracker_free(tracker);
    return 0;
}

static void task_left(void *tracker)
{
    (void)filch_tracker_leave(tracker);
}

int filch_tracker_spawn(filch_tracker *tracker, filch_fn fn, void *arg, const filch_task_opts *opts)
{
    filch_task_opts own = opts ? *opts : (filch_task_opts){0};
    filch_runtime *rt = filch_runtime_self();
    struct filch__task *task;
    int r;

    if (!tracker || !fn)
        return -EINVAL;
    if (!rt)
        return -EPERM;
    r = filch__task_new(rt, FILCH_KIND_STACKFUL, fn, arg, &own, false, __builtin_return_address(0),
                        &task);
    if (r < 0)
        return r;
    (void)filch_tracker_enter(tracker);
    r = filch__task_defer(task, task_left, tracker);
    if (r < 0) {
        filch__task_abort(task);
        (void)filch_tracker_leave(tracker);
        return r;
    }
    if (own.inherit_values && filch__task_current())
        r = filch__values_inherit(filch__task_current(), task);
    if (r == 0 && !own.token)
        r = filch__token_bind(tracker->token, task);
    if (r < 0)
        filch__task_abort(task); /* which calls task_left() */
    else
        filch__task_start(task);
    return r;
}

int filch_tracker_close(filch_tracker *tracker)
{
    struct filch__woken woken;
    bool was_closed;

    if (!tracker)
        return -EINVAL;
    filch_spinlock_lock(&tracker->lock);
    was_closed = tracker->closed;
    tracker->closed = true;
    woken = release_locked(tracker);
    filch_spinlock_unlock(&tracker->lock);
    filch__woken_wake(&woken, 0);
    return was_closed ? -EALREADY : 0;
}

int filch_tracker_reopen(filch_tracker *tracker)
{
    bool was_closed;

    if (!tracker)
        return -EINVAL;
    filch_spinlock_lock(&tracker->lock);
    was_closed = tracker->closed;
    tracker->closed = false;
    filch_spinlock_unlock(&tracker->lock);
    return was_closed ? 0 : -EALREADY;
}

int filch_tracker_wait(filch_tracker *tracker, filch_time until)
{
    struct filch__waiter waiter;
    int r;

    if (!tracker)
        return -EINVAL;
    filch_spinlock_lock(&tracker->lock);
    if (tracker->closed && !tracker->count) {
        filch_spinlock_unlock(&tracker->lock);
        return 0;
    }
    filch__waiter_init(&waiter, FILCH_WAIT_JOIN);
    filch__list_push_back(&tracker->waiters, &waiter.link);
    filch_spinlock_unlock(&tracker->lock);
    r = filch__waiter_wait(&waiter, until);
    if (r < 0) {
        filch_spinlock_lock(&tracker->lock);
        if (!filch__waiter_was_taken(&waiter)) {
            filch__list_remove(&waiter.link);
            filch_spinlock_unlock(&tracker->lock);
            return r;
        }
        filch_spinlock_unlock(&tracker->lock);
        filch__waiter_wait_shielded(&waiter);
    }
    return 0;
}

size_t filch_tracker_count(filch_tracker *tracker)
{
    size_t count;

    if (!tracker)
        return 0;
    filch_spinlock_lock(&tracker->lock);
    count = tracker->count;
    filch_spinlock_unlock(&tracker->lock);
    return count;
}

bool filch_tracker_is_closed(filch_tracker *tracker)
{
    bool closed;

    if (!tracker)
        return true;
    filch_spinlock_lock(&tracker->lock);
    closed = tracker->closed;
    filch_spinlock_unlock(&tracker->lock);
    return closed;
}

filch_token *filch_tracker_token(filch_tracker *tracker)
{
    return tracker ? tracker->token : NULL;
}
