/* Scopes: a list of children under a lock, in the owner's frame.
 *
 *     owner                              child's end
 *     -----                              -----------
 *     lock; idle? if not,                lock; take itself out of the list; keep its error;
 *       owner = &waiter                  link the task of the spawner that waits longest
 *     unlock; wait                       idle: waiter = owner, owner = NULL
 *     look again                         unlock            -- its last access to the scope
 *                                        wake spawner, waiter       -- valid until woken
 *
 * A spawner that finds the scope full waits with its task in hand, made but neither linked nor
 * queued. Whoever makes room links that task on the spawner's behalf: so room cannot be lost or
 * overtaken between the two, and the spawner has nothing left to do with the scope; it only queues
 * its task. A cancel takes the waiting spawners out as refused.
 *
 * Invariants:
 *   [linked]    a task is in the list from before it is queued until its body has returned; while
 * it is there, its block cannot be released, so those who hold the lock may take its handle;
 * [full]      a spawner waits only while count >= limit > 0 and the scope is not cancelled;
 * [last-out]  the frame of the scope may be gone as soon as it is idle (no child in the list, no
 * spawner waiting, nobody cancelling) and the lock is free: so waiters are taken out under the lock
 * and woken after it, and the owner always looks under the lock.
 *
 * Two errors are kept: the first of any kind for join(), and the first that is not -ECANCELED for
 * cancel_join(), which caused the cancels itself and asks what else went wrong. Who failed is
 * looked at only when somebody fails: it is all in the child's block, so plain scopes pay nothing
 * for it.
 *
 * Cancelling gives up the lock after each CANCEL_BATCH children: it takes their handles under the
 * lock and cancels them outside of it (a handle of a child that has ended meanwhile is refused).
 * The children are turned round like a wheel, those in hand to the end of the list; as nobody joins
 * a cancelled scope, as many turns as there were children reach all. Until then the scope is not
 * idle, so whoever cancels finds it again.
 */
#include <errno.h>
#include <stdalign.h>

#include <filch/cancel.h>
#include <filch/scope.h>

#include "runtime/base/assert.h"
#include "runtime/base/spinlock.h"
#include "runtime/task/scope.h"
#include "runtime/task/task.h"
#include "runtime/task/token.h"
#include "runtime/task/waiter.h"

#define CANCEL_BATCH 32

/* All fields but `flags` are guarded by `lock`. */
struct filch__scope {
    filch_spinlock lock;
    uint32_t flags;
    int32_t first_error;   /* 0: none */
    int32_t first_failure; /* the same, -ECANCELED not counted */
    uint32_t count;        /* of children */
    uint32_t limit;        /* 0: none */
    bool cancelled;
    bool cancelling;             /* somebody comes back for the rest of the children */
    struct filch__waiter *owner; /* set while the owner waits */
    struct filch__list children; /* by scope_link, oldest first */
    /* Waiters of spawners, in order; `data` is the task, and NULL once it was refused. */
    struct filch__list spawners;
    /* The owner's: what cancels it, with a reference; or NULL. */
    filch_token *token;
    struct filch__hook hook;
    /* Whose error `first_failure` is, or else `first_error`; set with them. */
    filch_scope_error failed;
    filch_scope_error *errors; /* the owner's array; or NULL */
    size_t capacity;           /* of it */
    size_t failures;           /* all that counted, also those beyond it */
    struct filch__waiter *(*ended)(
        void *arg); /* see scope.h; set before the first spawn; or NULL */
};

_Static_assert(sizeof(struct filch__scope) <= sizeof(filch_scope), "it lives in the private words");
_Static_assert(alignof(struct filch__scope) <= alignof(filch_scope),
               "it lives in the private words");

static struct filch__scope *scope_of(filch_scope *scope)
{
    return (struct filch__scope *)(void *)scope->private_words;
}

static bool is_idle_locked(const struct filch__scope *scope)
{
    return filch__list_is_empty(&scope->children) && filch__list_is_empty(&scope->spawners) &&
           !scope->cancelling;
}

static bool is_full_locked(const struct filch__scope *scope)
{
    return scope->limit && scope->count >= scope->limit;
}

static void link_locked(struct filch__scope *scope, struct filch__task *task)
{
    filch__list_push_back(&scope->children, &task->scope_link); /* [linked] */
    scope->count++;
}

/* The owner's waiter, to be woken after the unlock, if the scope is idle; NULL. [last-out] */
static struct filch__waiter *take_owner_locked(struct filch__scope *scope)
{
    struct filch__waiter *owner = scope->owner;

    if (!owner || !is_idle_locked(scope))
        return NULL;
    scope->owner = NULL;
    return owner;
}

static struct filch__waiter *take_spawner_locked(struct filch__scope *scope)
{
    struct filch__list *link = filch__list_pop_front(&scope->spawners);

    return link ? filch_container_of(link, struct filch__waiter, link) : NULL;
}

/* If there is room, lets in the spawner that waits longest. Return: it, to be woken after the
 * unlock; NULL. */
static struct filch__waiter *admit_locked(struct filch__scope *scope)
{
    struct filch__waiter *spawner;

    if (is_full_locked(scope))
        return NULL;
    spawner = take_spawner_locked(scope);
    if (spawner)
        link_locked(scope, spawner->data);
    return spawner;
}

static void refuse_spawners_locked(struct filch__scope *scope)
{
    struct filch__waiter *spawner;

    while ((spawner = take_spawner_locked(scope))) {
        spawner->data = NULL;
        filch__waiter_wake(spawner);
    }
}

/* Gives the lock up in between. The scope may be idle afterwards, with its owner waiting. */
static void cancel_children_locked(struct filch__scope *scope, int cause)
{
    filch_task *batch[CANCEL_BATCH];
    uint32_t left = scope->count;

    scope->cancelled = true;
    scope->cancelling = true;
    refuse_spawners_locked(scope);
    while (left) {
        unsigned n = 0;

        for (; n < CANCEL_BATCH && n < left; n++) {
            struct filch__list *link = filch__list_pop_front(&scope->children);

            filch__list_push_back(&scope->children, link);
            batch[n] = filch__task_handle(filch_container_of(link, struct filch__task, scope_link));
        }
        left -= n;
        filch_spinlock_unlock(&scope->lock);
        for (unsigned i = 0; i < n; i++)
            filch_task_cancel_cause(batch[i], cause);
        filch_spinlock_lock(&scope->lock);
        if (left > scope->count)
            left = scope->count; /* those to come are in the list */
    }
    scope->cancelling = false;
}

static void note_failure_locked(struct filch__scope *scope, const struct filch__task *task,
                                int result)
{
    bool copied = task->flags & FILCH_TASK_COPIED;
    filch_scope_error error = {
        .error = result,
        .name = task->flags & FILCH_TASK_NAMED ? task->name : "",
        .fn = task->fn,
        .arg = copied ? NULL : task->arg,
    };

    if (task->flags & FILCH_TASK_SAVE_FP)
        error.fn = task->fp_fn;
    if (!scope->first_error || (!scope->first_failure && result != -ECANCELED))
        scope->failed = error;
    if (result == -ECANCELED && scope->cancelled)
        return; /* it did as it was told */
    if (scope->failures < scope->capacity)
        scope->errors[scope->failures] = error;
    scope->failures++;
}

static void keep_error_locked(struct filch__scope *scope, const struct filch__task *task,
                              int result)
{
    note_failure_locked(scope, task, result);
    if (!scope->first_error)
        scope->first_error = result;
    if (!scope->first_failure && result != -ECANCELED)
        scope->first_failure = result;
    if (scope->flags & FILCH_SCOPE_CANCEL_ON_ERROR && !scope->cancelled)
        cancel_children_locked(scope, result);
}

void filch__scope_child_done(struct filch__scope *scope, struct filch__task *task, int result)
{
    struct filch__waiter *watching = NULL;
    struct filch__waiter *spawner;
    struct filch__waiter *owner;

    filch_spinlock_lock(&scope->lock);
    if (result < 0) {
        if (scope->ended && result == FILCH__SCOPE_WATCHED)
            watching = scope->ended(task->arg);
        else
            keep_error_locked(scope, task, result);
    }
    filch__list_remove(&task->scope_link);
    scope->count--;
    spawner = admit_locked(scope);
    owner = take_owner_locked(scope);
    filch_spinlock_unlock(&scope->lock); /* [last-out] */
    while (watching) {
        struct filch__waiter *next = watching->data;

        filch__waiter_wake(watching);
        watching = next;
    }
    if (spawner)
        filch__waiter_wake(spawner);
    if (owner)
        filch__waiter_wake(owner);
}

/* Waits until the scope is idle, with the lock held and the scope not idle on entry, and the lock
 * free on return. Return: 0; or, with the waiter out of reach again, -ETIMEDOUT; -ECANCELED. */
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
    struct filch__scope *s;

    if (!scope)
        return;
    s = scope_of(scope);
    filch_spinlock_init(&s->lock);
    s->flags = flags;
    s->first_error = 0;
    s->first_failure = 0;
    s->count = 0;
    s->limit = 0;
    s->cancelled = false;
    s->cancelling = false;
    s->owner = NULL;
    filch__list_init(&s->children);
    filch__list_init(&s->spawners);
    s->token = NULL;
    s->capacity = 0;
    s->failures = 0;
    s->ended = NULL;
}

void filch__scope_watch(filch_scope *scope, struct filch__waiter *(*ended)(void *arg))
{
    scope_of(scope)->ended = ended;
}

filch_scope *filch__scope_of_child(void)
{
    return (filch_scope *)(void *)filch__task_current()->scope;
}

int filch_scope_collect(filch_scope *scope, filch_scope_error *errors, size_t capacity)
{
    struct filch__scope *s;

    if (!scope || (!errors && capacity))
        return -EINVAL;
    s = scope_of(scope);
    filch_spinlock_lock(&s->lock);
    s->errors = errors;
    s->capacity = capacity;
    s->failures = 0;
    filch_spinlock_unlock(&s->lock);
    return 0;
}

size_t filch_scope_failures(filch_scope *scope)
{
    size_t failures;

    if (!scope)
        return 0;
    filch_spinlock_lock(&scope_of(scope)->lock);
    failures = scope_of(scope)->failures;
    filch_spinlock_unlock(&scope_of(scope)->lock);
    return failures;
}

int filch_scope_failed(filch_scope *scope, filch_scope_error *ret_error)
{
    struct filch__scope *s;
    bool any;

    if (!scope || !ret_error)
        return -EINVAL;
    s = scope_of(scope);
    filch_spinlock_lock(&s->lock);
    any = s->first_error != 0;
    if (any)
        *ret_error = s->failed;
    filch_spinlock_unlock(&s->lock);
    return any ? 0 : -ENOENT;
}

int filch_scope_limit(filch_scope *scope, unsigned limit)
{
    struct filch__scope *s;
    struct filch__waiter *spawner;

    if (!scope)
        return -EINVAL;
    s = scope_of(scope);
    filch_spinlock_lock(&s->lock);
    s->limit = limit;
    while ((spawner = admit_locked(s)))
        filch__waiter_wake(spawner);
    filch_spinlock_unlock(&s->lock);
    return 0;
}

int filch__scope_child_new(filch_scope *scope, filch_fn fn, void *arg, const filch_task_opts *opts,
                           void *place, struct filch__task **ret_task)
{
    filch_runtime *rt = filch_runtime_self();
    struct filch__task *self = filch__task_current();
    int r;

    if (!scope || !fn)
        return -EINVAL;
    if (!rt)
        return -EPERM;
    r = filch__task_new(rt, FILCH_KIND_STACKFUL, fn, arg, opts, false, place, ret_task);
    if (r < 0)
        return r;
    (*ret_task)->scope = scope_of(scope);
    (*ret_task)->flags |= FILCH_TASK_SCOPED;
    if (self && (self->extras || self->flags & FILCH_TASK_FORK) &&
        (r = filch__task_inherit(self, *ret_task)) < 0)
        filch__task_abort(*ret_task);
    return r;
}

/* Return: 0: linked; -ECANCELED; -EAGAIN: full. */
static int try_link_locked(struct filch__scope *scope, struct filch__task *task)
{
    if (scope->cancelled)
        return -ECANCELED;
    if (is_full_locked(scope))
        return -EAGAIN;
    link_locked(scope, task);
    return 0;
}

/* Nothing else is done with the scope after it was linked: it may be gone when the child has run.
 */
static int start_or_abort(struct filch__task *task, int r)
{
    if (r == 0)
        filch__task_start(task);
    else
        filch__task_abort(task);
    return r;
}

static int spawn_now(filch_scope *scope, filch_fn fn, void *arg, const filch_task_opts *opts,
                     void *place)
{
    struct filch__task *task;
    int r = filch__scope_child_new(scope, fn, arg, opts, place, &task);

    if (r < 0)
        return r;
    filch_spinlock_lock(&scope_of(scope)->lock);
    r = try_link_locked(scope_of(scope), task);
    filch_spinlock_unlock(&scope_of(scope)->lock);
    return start_or_abort(task, r);
}

int filch_scope_spawn(filch_scope *scope, filch_fn fn, void *arg)
{
    return spawn_now(scope, fn, arg, NULL, __builtin_return_address(0));
}

int filch_scope_spawn_opts(filch_scope *scope, filch_fn fn, void *arg, const filch_task_opts *opts)
{
    return spawn_now(scope, fn, arg, opts, __builtin_return_address(0));
}

/* Waits to be admitted, with the lock held and the scope full on entry, and the lock free on
 * return. Return: 0: linked; -ETIMEDOUT; -ECANCELED. */
static int wait_for_room_unlock(struct filch__scope *scope, struct filch__task *task,
                                filch_time until)
{
    struct filch__waiter waiter;
    struct filch__waiter *owner;
    int r;

    filch__waiter_init(&waiter, FILCH_WAIT_SCOPE);
    waiter.data = task;
    filch__list_push_back(&scope->spawners, &waiter.link);
    filch_spinlock_unlock(&scope->lock);
    r = filch__waiter_wait(&waiter, until);
    if (r < 0) {
        filch_spinlock_lock(&scope->lock);
        if (!filch__waiter_was_taken(&waiter)) {
            filch__list_remove(&waiter.link);
            owner = take_owner_locked(scope);
            filch_spinlock_unlock(&scope->lock); /* [last-out] */
            if (owner)
                filch__waiter_wake(owner);
            return r;
        }
        filch_spinlock_unlock(&scope->lock);
        filch__waiter_wait_shielded(&waiter);
    }
    return waiter.data ? 0 : -ECANCELED;
}

int filch__scope_child_start(filch_scope *scope, struct filch__task *task, bool wait,
                             filch_time until)
{
    struct filch__scope *s = scope_of(scope);
    int r;

    filch_spinlock_lock(&s->lock);
    r = try_link_locked(s, task);
    if (r == -EAGAIN && wait)
        r = wait_for_room_unlock(s, task, until);
    else
        filch_spinlock_unlock(&s->lock);
    return start_or_abort(task, r);
}

int filch_scope_spawn_wait(filch_scope *scope, filch_fn fn, void *arg, const filch_task_opts *opts,
                           filch_time until)
{
    struct filch__task *task;
    int r = filch__scope_child_new(scope, fn, arg, opts, __builtin_return_address(0), &task);

    return r < 0 ? r : filch__scope_child_start(scope, task, true, until);
}

static void cancel(struct filch__scope *s, int cause)
{
    struct filch__waiter *owner;

    filch_spinlock_lock(&s->lock);
    if (!s->cancelled)
        cancel_children_locked(s, cause);
    owner = take_owner_locked(s);
    filch_spinlock_unlock(&s->lock); /* [last-out] */
    if (owner)
        filch__waiter_wake(owner);
}

void filch_scope_cancel(filch_scope *scope)
{
    if (scope)
        cancel(scope_of(scope), -ECANCELED);
}

void filch_scope_cancel_cause(filch_scope *scope, int error)
{
    if (scope)
        cancel(scope_of(scope), error);
}

static void token_cancelled(struct filch__hook *hook, int cause)
{
    cancel(filch_container_of(hook, struct filch__scope, hook), cause);
}

int filch_scope_bind(filch_scope *scope, filch_token *token)
{
    struct filch__scope *s;
    int cause;

    if (!scope || !token)
        return -EINVAL;
    s = scope_of(scope);
    if (s->token)
        return -EBUSY;
    s->hook.fn = token_cancelled;
    cause = filch__token_hook(token, &s->hook);
    if (cause)
        cancel(s, cause);
    else
        s->token = filch_token_ref(token);
    return 0;
}

/* Nothing cancels the scope from outside any more. */
static void unbind(struct filch__scope *scope)
{
    filch_token *token = scope->token;

    if (!token)
        return;
    (void)filch__token_unhook(token, &scope->hook);
    scope->token = NULL;
    filch_token_unref(token);
}

/* Why the owner leaves its children behind. */
static int owner_cause(void)
{
    int cause = filch_cancel_cause();

    return cause ? cause : -ECANCELED;
}

int filch_scope_join(filch_scope *scope, filch_time until)
{
    struct filch__scope *s;
    int r;

    if (!scope)
        return -EINVAL;
    s = scope_of(scope);
    filch_spinlock_lock(&s->lock);
    /* A loop, because somebody else than a child may have spawned after the last child had left. */
    while (!is_idle_locked(s)) {
        r = wait_unlock(s, until, false);
        if (r < 0)
            return r;
        filch_spinlock_lock(&s->lock);
    }
    r = s->flags & FILCH_SCOPE_IGNORE_ERRORS ? 0 : s->first_error;
    filch_spinlock_unlock(&s->lock);
    return r;
}

int filch_scope_cancel_join(filch_scope *scope)
{
    struct filch__scope *s;
    int r;

    if (!scope)
        return -EINVAL;
    s = scope_of(scope);
    unbind(s);
    filch_spinlock_lock(&s->lock);
    if (!is_idle_locked(s) && !s->cancelled)
        cancel_children_locked(s, owner_cause());
    while (!is_idle_locked(s)) {
        wait_unlock(s, FILCH_NEVER, true);
        filch_spinlock_lock(&s->lock);
    }
    r = s->flags & FILCH_SCOPE_IGNORE_ERRORS ? 0 : s->first_failure;
    filch_spinlock_unlock(&s->lock);
    return r;
}

bool filch_scope_is_idle(filch_scope *scope)
{
    bool idle;

    if (!scope)
        return true;
    filch_spinlock_lock(&scope_of(scope)->lock);
    idle = is_idle_locked(scope_of(scope));
    filch_spinlock_unlock(&scope_of(scope)->lock);
    return idle;
}
