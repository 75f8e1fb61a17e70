/* Scopes: a list of children under a lock, in the owner's frame.
 *
 *     owner                              child's end
 *     -----                              -----------
 *     lock; children? owner = &waiter    lock; take itself out of the list; keep its error
 *     unlock; wait                       last one: waiter = owner, owner = NULL
 *     look again                         unlock            -- its last access to the scope
 *                                        wake waiter       -- valid until woken
 *
 * Invariants:
 *   [linked]    a task is in the list from before it is queued until its body has returned; while
 * it is there, its block cannot be released, so those who hold the lock may cancel it; [last-out]
 * the frame of the scope may be gone as soon as the list is empty and the lock is free: so the
 * waiter is taken out under the lock and woken after it, and the owner always looks under the lock.
 *
 * Two errors are kept: the first of any kind for join(), and the first that is not -ECANCELED for
 * cancel_join(), which caused the cancels itself and asks what else went wrong.
 *
 * Cancelling the children holds the lock while it wakes them: a wake never takes a scope's lock.
 */
#include <errno.h>
#include <stdalign.h>

#include <filch/scope.h>

#include "runtime/base/assert.h"
#include "runtime/base/spinlock.h"
#include "runtime/task/task.h"
#include "runtime/task/waiter.h"

/* All fields but `flags` are guarded by `lock`. */
struct filch__scope {
    filch_spinlock lock;
    uint32_t flags;
    int32_t first_error;   /* 0: none */
    int32_t first_failure; /* the same, -ECANCELED not counted */
    bool cancelled;
    struct filch__waiter *owner; /* set while the owner waits */
    struct filch__list children; /* by scope_link, oldest first */
};

_Static_assert(sizeof(struct filch__scope) <= sizeof(filch_scope), "it lives in the private words");
_Static_assert(alignof(struct filch__scope) <= alignof(filch_scope),
               "it lives in the private words");

static struct filch__scope *scope_of(filch_scope *scope)
{
    filch_assert(scope != NULL);
    return (struct filch__scope *)(void *)scope->private_words;
}

static void cancel_children_locked(struct filch__scope *scope)
{
    struct filch__list *link;

    scope->cancelled = true;
    for (link = scope->children.next; link != &scope->children; link = link->next) {
        struct filch__task *task = filch_container_of(link, struct filch__task, scope_link);

        filch_task_cancel(filch__task_handle(task));
    }
}

static void keep_error_locked(struct filch__scope *scope, int result)
{
    if (!scope->first_error)
        scope->first_error = result;
    if (!scope->first_failure && result != -ECANCELED)
        scope->first_failure = result;
    if (scope->flags & FILCH_SCOPE_CANCEL_ON_ERROR && !scope->cancelled)
        cancel_children_locked(scope);
}

void filch__scope_child_done(struct filch__scope *scope, struct filch__task *task, int result)
{
    struct filch__waiter *owner = NULL;

    filch_spinlock_lock(&scope->lock);
    filch__list_remove(&task->scope_link);
    if (result < 0)
        keep_error_locked(scope, result);
    if (filch__list_is_empty(&scope->children)) {
        owner = scope->owner;
        scope->owner = NULL;
    }
    filch_spinlock_unlock(&scope->lock); /* [last-out] */
    if (owner)
        filch__waiter_wake(owner);
}

/* Waits for the last child, with the lock held and children left on entry, and the lock free on
 * return. Return: 0; or, with the waiter out of reach again, -ETIMEDOUT; -ECANCELED. */
static int wait_unlock(struct filch__scope *scope, filch_time until, bool shielded)
{
    struct filch__waiter waiter;
    int r = 0;

    filch__waiter_init(&waiter, FILCH_WAIT_SCOPE);
    filch_assert(scope->owner == NULL);
    scope->owner = &waiter;
    filch_spinlock_unlock(&scope->lock);

    if (!shielded)
        r = filch__waiter_wait(&waiter, until);
    if (r < 0) {
        filch_spinlock_lock(&scope->lock);
        if (scope->owner == &waiter) {
            scope->owner = NULL;
            filch_spinlock_unlock(&scope->lock);
            return r;
        }
        filch_spinlock_unlock(&scope->lock);
    }
    if (shielded || r < 0)
        filch__waiter_wait_shielded(&waiter);
    return 0;
}

void filch_scope_init(filch_scope *scope, unsigned flags)
{
    struct filch__scope *s = scope_of(scope);

    filch_spinlock_init(&s->lock);
    s->flags = flags;
    s->first_error = 0;
    s->first_failure = 0;
    s->cancelled = false;
    s->owner = NULL;
    filch__list_init(&s->children);
}

int filch_scope_spawn(filch_scope *scope, filch_fn fn, void *arg)
{
    return filch_scope_spawn_opts(scope, fn, arg, NULL);
}

int filch_scope_spawn_opts(filch_scope *scope, filch_fn fn, void *arg, const filch_task_opts *opts)
{
    struct filch__scope *s = scope_of(scope);
    filch_runtime *rt = filch_runtime_self();
    struct filch__task *task;
    int r;

    if (!fn)
        return -EINVAL;
    if (!rt)
        return -EPERM;
    r = filch__task_new(rt, FILCH_KIND_STACKFUL, fn, arg, opts, false, &task);
    if (r < 0)
        return r;
    task->scope = s;
    task->flags |= FILCH_TASK_SCOPED;
    filch_spinlock_lock(&s->lock);
    if (s->cancelled) {
        filch_spinlock_unlock(&s->lock);
        filch__task_abort(task);
        return -ECANCELED;
    }
    filch__list_push_back(&s->children, &task->scope_link); /* [linked] */
    filch_spinlock_unlock(&s->lock);
    filch__task_start(task);
    return 0;
}

void filch_scope_cancel(filch_scope *scope)
{
    struct filch__scope *s = scope_of(scope);

    filch_spinlock_lock(&s->lock);
    if (!s->cancelled)
        cancel_children_locked(s);
    filch_spinlock_unlock(&s->lock);
}

int filch_scope_join(filch_scope *scope, filch_time until)
{
    struct filch__scope *s = scope_of(scope);
    int r;

    filch_spinlock_lock(&s->lock);
    /* A loop, because somebody else than a child may have spawned after the last child had left. */
    while (!filch__list_is_empty(&s->children)) {
        r = wait_unlock(s, until, false);
        if (r < 0)
            return r;
        filch_spinlock_lock(&s->lock);
    }
    r = s->first_error;
    filch_spinlock_unlock(&s->lock);
    return r;
}

int filch_scope_cancel_join(filch_scope *scope)
{
    struct filch__scope *s = scope_of(scope);
    int r;

    filch_spinlock_lock(&s->lock);
    if (!filch__list_is_empty(&s->children) && !s->cancelled)
        cancel_children_locked(s);
    while (!filch__list_is_empty(&s->children)) {
        wait_unlock(s, FILCH_NEVER, true);
        filch_spinlock_lock(&s->lock);
    }
    r = s->first_failure;
    filch_spinlock_unlock(&s->lock);
    return r;
}

bool filch_scope_is_idle(filch_scope *scope)
{
    struct filch__scope *s = scope_of(scope);
    bool idle;

    filch_spinlock_lock(&s->lock);
    idle = filch__list_is_empty(&s->children);
    filch_spinlock_unlock(&s->lock);
    return idle;
}
