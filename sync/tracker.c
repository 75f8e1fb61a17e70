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
#include "runtime/sched/worker.h"
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

/* Makes the end of @task, which is not queued yet, known to @tracker, and the other way round.
 * Return: 0; or an error, and then @task was undone. */
static int track(filch_tracker *tracker, struct filch__task *task, const filch_task_opts *opts)
{
    int r;

    (void)filch_tracker_enter(tracker);
    r = filch__task_defer(task, task_left, tracker);
    if (r < 0) {
        filch__task_abort(task);
        (void)filch_tracker_leave(tracker);
        return r;
    }
    if (opts && opts->inherit_values && filch__task_has_stack(task) && filch__task_current())
        r = filch__values_inherit(filch__task_current(), task);
    if (r == 0 && !(opts && opts->token))
        r = filch__token_bind(tracker->token, task);
    if (r < 0)
        filch__task_abort(task); /* which calls task_left() */
    return r;
}

static int spawn(filch_tracker *tracker, filch_runtime *rt, filch_fn fn, void *arg,
                 const filch_task_opts *opts, void *place)
{
    struct filch__task *task;
    int r = filch__task_new(rt, FILCH_KIND_STACKFUL, fn, arg, opts, false, place, &task);

    if (r < 0)
        return r;
    r = track(tracker, task, opts);
    if (r == 0)
        filch__task_start(task);
    return r;
}

int filch_tracker_spawn(filch_tracker *tracker, filch_fn fn, void *arg, const filch_task_opts *opts)
{
    filch_runtime *rt = filch_runtime_self();

    if (!tracker || !fn)
        return -EINVAL;
    return rt ? spawn(tracker, rt, fn, arg, opts, __builtin_return_address(0)) : -EPERM;
}

int filch_tracker_spawn_blocking(filch_tracker *tracker, filch_fn fn, void *arg,
                                 const filch_task_opts *opts)
{
    filch_runtime *rt = filch_runtime_self();
    struct filch__task *job;
    unsigned class;
    int r;

    if (!tracker || !fn)
        return -EINVAL;
    if (!rt)
        return -EPERM;
    r = filch__blocking_new(rt, fn, arg, opts, false, &class, &job);
    if (r < 0)
        return r;
    r = track(tracker, job, opts);
    return r < 0 ? r : filch__blocking_start(rt, class, job);
}

int filch_tracker_spawn_on(filch_tracker *tracker, filch_runtime *rt, filch_fn fn, void *arg,
                           const filch_task_opts *opts)
{
    int r;

    if (!tracker || !rt || !fn)
        return -EINVAL;
    r = filch__spawn_begin(rt);
    if (r < 0)
        return r;
    r = spawn(tracker, rt, fn, arg, opts, __builtin_return_address(0));
    filch__spawn_end(rt);
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

/* It is over; or puts @waiter, which may be NULL, down. @self: @waiter, if it is in a select. */
static enum filch__enlist enlist(filch_tracker *tracker, struct filch__waiter *waiter,
                                 struct filch__waiter *self)
{
    enum filch__enlist done = FILCH__ENLIST_WAITS;

    filch_spinlock_lock(&tracker->lock);
    if (tracker->closed && !tracker->count)
        done = filch__wait_claim_self(self) ? FILCH__ENLIST_TAKEN : FILCH__ENLIST_LOST;
    else if (waiter)
        filch__list_push_back(&tracker->waiters, &waiter->link);
    filch_spinlock_unlock(&tracker->lock);
    return done;
}

/* @waiter gives up. Return: false: it was taken out, and is woken. */
static bool leave(filch_tracker *tracker, struct filch__waiter *waiter)
{
    bool waited;

    filch_spinlock_lock(&tracker->lock);
    waited = !filch__waiter_was_taken(waiter);
    if (waited)
        filch__list_remove(&waiter->link);
    filch_spinlock_unlock(&tracker->lock);
    return waited;
}

int filch_tracker_wait(filch_tracker *tracker, filch_time until)
{
    struct filch__waiter waiter;
    int r;

    if (!tracker)
        return -EINVAL;
    filch__waiter_init(&waiter, FILCH_WAIT_JOIN);
    if (enlist(tracker, &waiter, NULL) == FILCH__ENLIST_TAKEN)
        return 0;
    r = filch__waiter_wait(&waiter, until);
    if (r < 0) {
        if (leave(tracker, &waiter))
            return r;
        filch__waiter_wait_shielded(&waiter);
    }
    return 0;
}

static bool tracker_try(filch_case *c)
{
    c->result = 0;
    return enlist(c->object, NULL, NULL) == FILCH__ENLIST_TAKEN;
}

static enum filch__enlist tracker_enlist(filch_case *c, struct filch__waiter *waiter)
{
    c->result = 0;
    return enlist(c->object, waiter, waiter);
}

static void tracker_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    if (!won)
        (void)leave(c->object, waiter);
}

static const struct filch__case_ops tracker_ops = {
    .try_now = tracker_try,
    .enlist = tracker_enlist,
    .delist = tracker_delist,
    .reason = FILCH_WAIT_JOIN,
};

filch_case filch_case_tracker(filch_tracker *tracker)
{
    return (filch_case){.ops = tracker ? &tracker_ops : NULL, .object = tracker};
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
