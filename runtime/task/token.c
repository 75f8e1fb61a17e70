/* Cancellation tokens: a tree in which cancelling goes down.
 *
 *     token: refs | lock { cancelled, cause, children, waiters, hooks }
 *       parent  -> a reference; never changes
 *       link       in the parent's children, by the PARENT's lock; or of its canceller
 *
 * A child keeps its parent alive, as it needs the parent's lock to leave; a parent does not keep
 * its children: a child whose last reference goes takes itself out of the list. So what is in a
 * list may be dying, and who takes a child out of it takes a reference only if there still is one
 * (ref_unless_zero()): a dying one stays allocated until it has had the parent's lock.
 *
 * cancel(): one lock at a time, at most BATCH steps under it, no recursion.
 *
 *     mark the token                      -- if it was marked already, somebody else does the rest
 *     for each token of the work list:    -- begins with the token; linked by `link`
 *         take its children out, mark them, append those that were not marked
 *     for each token of the work list: wake its waiters, run its hooks, give the reference back
 *
 * A marked token takes no more children, waiters or hooks, so emptying its lists ends. A child that
 * was marked by somebody else is left to that one. So when the first waiter wakes, the whole tree
 * below is cancelled, unless a part of it is being cancelled by somebody else at this moment.
 *
 * Invariants:
 *   [one-taker]  a token is taken out of its parent's list once, by one canceller, whose `link` is
 *                from then on; the token that cancel() was called for stays where it is;
 *   [once]       a hook is called by the one who takes it out; `running` says which one, so that
 *                unhook can wait for its end, and is all that is touched after it.
 *
 * [token-cancel] `cancelled` is stored with release after the cause, which are read with acquire
 * without the lock. Orderings of `refs`: [token-refs] acq_rel, so that who frees sees all uses.
 *
 * A lock for all of a tree would be simpler, but then each request of a server would take the lock
 * of the token that ends the server.
 */
#include "runtime/task/token.h"

#include <errno.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdlib.h>

#include "runtime/base/assert.h"
#include "runtime/base/spinlock.h"
#include "runtime/fork/fork.h"
#include "runtime/sched/worker.h"
#include "runtime/task/task.h"

#ifndef BATCH
#define BATCH 32
#endif

struct filch_token {
    filch_atomic_u32 refs;
    filch_atomic_u32 cancelled;
    filch_token *parent;     /* NULL: a root */
    struct filch__list link; /* [one-taker] */
    int cause;               /* once, before `cancelled` */
    const char *text;

    filch_spinlock lock; /* guards the rest */
    struct filch__list children;
    struct filch__list waiters;
    struct filch__list hooks;
    struct filch__hook *running;  /* only compared */
    uintptr_t runner;             /* who calls it */
    struct filch__list unhookers; /* waiters for its end */
};

/* ---- references and links ---- */

static filch_token *token_alloc(filch_token *parent)
{
    filch_token *token = malloc(sizeof *token);

    if (!token)
        return NULL;
    filch_atomic_init(&token->refs, 1);
    filch_atomic_init(&token->cancelled, 0);
    token->parent = parent;
    filch__list_init(&token->link);
    token->cause = 0;
    token->text = NULL;
    filch_spinlock_init(&token->lock);
    filch__list_init(&token->children);
    filch__list_init(&token->waiters);
    filch__list_init(&token->hooks);
    token->running = NULL;
    token->runner = 0;
    filch__list_init(&token->unhookers);
    return token;
}

int filch_token_new(filch_token **ret_token)
{
    filch_token *token;

    if (!ret_token)
        return -EINVAL;
    token = token_alloc(NULL);
    if (!token)
        return -ENOMEM;
    *ret_token = token;
    return 0;
}

int filch_token_child(filch_token *parent, filch_token **ret_token)
{
    filch_token *token;

    if (!parent || !ret_token)
        return -EINVAL;
    token = token_alloc(parent);
    if (!token)
        return -ENOMEM;
    filch_token_ref(parent);
    filch_spinlock_lock(&parent->lock);
    if (filch_load_relaxed(&parent->cancelled)) { /* written under the lock */
        token->cause = parent->cause;
        token->text = parent->text;
        filch_atomic_init(&token->cancelled, 1);
    } else {
        filch__list_push_back(&parent->children, &token->link);
    }
    filch_spinlock_unlock(&parent->lock);
    *ret_token = token;
    return 0;
}

filch_token *filch_token_ref(filch_token *token)
{
    /* Relaxed: the caller has a reference, so nothing can be freed, and nothing is published. */
    if (token)
        filch_fetch_add_relaxed(&token->refs, 1);
    return token;
}

static bool ref_unless_zero(filch_token *token)
{
    uint32_t refs = filch_load_relaxed(&token->refs);

    /* Relaxed: the parent's lock, which is held, keeps the memory. */
    while (refs)
        if (filch_cas_weak_relaxed(&token->refs, &refs, refs + 1))
            return true;
    return false;
}

/* A loop: a long line of parents may end with the last child. */
void filch_token_unref(filch_token *token)
{
    while (token) {
        filch_token *parent = token->parent;

        filch_plain_read(&token->parent);
        if (filch_fetch_sub_acq_rel(&token->refs, 1) != 1) /* [token-refs] */
            return;
        filch_assert(filch__list_is_empty(&token->waiters) && filch__list_is_empty(&token->hooks) &&
                     filch__list_is_empty(&token->children));
        if (parent) {
            filch_spinlock_lock(&parent->lock);
            if (!filch__list_is_empty(&token->link))
                filch__list_remove(&token->link);
            filch_spinlock_unlock(&parent->lock);
        }
        filch_plain_write(&token->parent);
        free(token);
        token = parent;
    }
}

/* ---- cancelling ---- */

/* Return: false: it was marked already. */
static bool mark(filch_token *token, int cause, const char *text)
{
    bool fresh;

    filch_spinlock_lock(&token->lock);
    fresh = !filch_load_relaxed(&token->cancelled); /* written under the lock */
    if (fresh) {
        token->cause = cause;
        token->text = text;
        filch_plain_write(&token->cause);
        filch_store_release(&token->cancelled, 1); /* [token-cancel] */
    }
    filch_spinlock_unlock(&token->lock);
    return fresh;
}

/* Takes some children out of a marked token, with a reference each. Return: how many; *ret_left:
 * there are more. */
static unsigned take_children(filch_token *token, filch_token **ret_child, bool *ret_left)
{
    struct filch__list *link = NULL;
    unsigned n = 0;

    filch_spinlock_lock(&token->lock);
    for (unsigned i = 0; i < BATCH && (link = filch__list_pop_front(&token->children)); i++) {
        ret_child[n] = filch_container_of(link, filch_token, link);
        n += ref_unless_zero(ret_child[n]);
    }
    *ret_left = link != NULL;
    filch_spinlock_unlock(&token->lock);
    return n;
}

/* Marks the children of a marked token; appends those that are now ours to @work. */
static void mark_children(filch_token *token, struct filch__list *work)
{
    filch_token *child[BATCH];
    bool left;

    do {
        unsigned n = take_children(token, child, &left);

        for (unsigned i = 0; i < n; i++)
            if (mark(child[i], token->cause, token->text))
                filch__list_push_back(work, &child[i]->link); /* [one-taker] */
            else
                filch_token_unref(child[i]);
    } while (left);
}

static uintptr_t caller_id(void)
{
    struct filch__task *task = filch__task_current();

    return task ? (uintptr_t)task : (uintptr_t)pthread_self();
}

static struct filch__waiter *pop_waiter(struct filch__list *list)
{
    struct filch__list *link;

    while ((link = filch__list_pop_front(list))) {
        struct filch__waiter *waiter = filch_container_of(link, struct filch__waiter, link);

        if (filch__waiter_claim(waiter))
            return waiter;
    }
    return NULL;
}

/* Gives the lock up for each wake. */
static void wake_all_locked(filch_token *token, struct filch__list *list)
{
    struct filch__waiter *waiter;

    while ((waiter = pop_waiter(list))) {
        filch_spinlock_unlock(&token->lock);
        filch__waiter_wake(waiter);
        filch_spinlock_lock(&token->lock);
    }
}

/* Of a marked token. */
static void notify(filch_token *token)
{
    struct filch__list *link;

    filch_spinlock_lock(&token->lock);
    wake_all_locked(token, &token->waiters);
    while ((link = filch__list_pop_front(&token->hooks))) {
        struct filch__hook *hook = filch_container_of(link, struct filch__hook, link);

        token->running = hook; /* [once] */
        token->runner = caller_id();
        filch_spinlock_unlock(&token->lock);
        hook->fn(hook, token->cause);
        filch_spinlock_lock(&token->lock);
        token->running = NULL;
        wake_all_locked(token, &token->unhookers);
    }
    filch_spinlock_unlock(&token->lock);
}

int filch_token_cancel(filch_token *token, int cause, const char *text)
{
    struct filch__list work;
    struct filch__list *link;

    if (!token || cause >= 0 || cause < -4095)
        return -EINVAL;
    if (!mark(token, cause, text))
        return 0;
    filch__list_init(&work);
    mark_children(token, &work);
    for (link = work.next; link != &work; link = link->next)
        mark_children(filch_container_of(link, filch_token, link), &work);
    notify(token);
    while ((link = filch__list_pop_front(&work))) {
        filch_token *below = filch_container_of(link, filch_token, link);

        notify(below);
        filch_token_unref(below);
    }
    return 0;
}

bool filch_token_is_cancelled(const filch_token *token)
{
    filch_token *t = (filch_token *)(uintptr_t)token; /* only read */

    return t && filch_load_acquire(&t->cancelled); /* [token-cancel] */
}

int filch_token_cause(const filch_token *token, const char **ret_text)
{
    if (!filch_token_is_cancelled(token))
        return 0;
    filch_plain_read(&token->cause);
    if (ret_text && token->text)
        *ret_text = token->text;
    return token->cause;
}

/* ---- guards ---- */

void filch_token_guard_init(filch_token_guard *guard, filch_token *token)
{
    if (guard)
        guard->token = filch_token_ref(token);
}

/* The guard's reference is the caller's from now on. */
static filch_token *guard_take(filch_token_guard *guard)
{
    filch_token *token = guard ? guard->token : NULL;

    if (guard)
        guard->token = NULL;
    return token;
}

void filch_token_guard_disarm(filch_token_guard *guard)
{
    filch_token_unref(guard_take(guard));
}

void filch_token_guard_fini(filch_token_guard *guard)
{
    filch_token *token = guard_take(guard);

    (void)filch_token_cancel(token, -ECANCELED, NULL);
    filch_token_unref(token);
}

/* ---- waiting, and being called ---- */

static bool add(filch_token *token, struct filch__list *list, struct filch__list *link)
{
    bool added;

    filch_spinlock_lock(&token->lock);
    added = !filch_load_relaxed(&token->cancelled); /* written under the lock */
    if (added)
        filch__list_push_back(list, link);
    filch_spinlock_unlock(&token->lock);
    return added;
}

bool filch__token_enlist(filch_token *token, struct filch__waiter *waiter)
{
    return add(token, &token->waiters, &waiter->link);
}

bool filch__token_listen(filch_token *token, struct filch__future_waiter *waiter,
                         const filch_waker *waker)
{
    filch_waker old = {0};
    bool there;

    filch_spinlock_lock(&token->lock);
    there = !filch__waiter_was_taken(&waiter->waiter);
    if (there)
        old = filch__future_waiter_listen(waiter, waker);
    filch_spinlock_unlock(&token->lock);
    filch_waker_drop(old);
    return there;
}

bool filch__token_delist(filch_token *token, struct filch__waiter *waiter)
{
    bool there;

    filch_spinlock_lock(&token->lock);
    there = !filch__waiter_was_taken(waiter);
    if (there)
        filch__list_remove(&waiter->link);
    filch_spinlock_unlock(&token->lock);
    return there;
}

int filch_token_wait(filch_token *token, filch_time until)
{
    struct filch__waiter waiter;
    int r;

    if (!token)
        return -EINVAL;
    if (filch_token_is_cancelled(token))
        return 0;
    filch__waiter_init(&waiter, FILCH_WAIT_TOKEN);
    if (!filch__token_enlist(token, &waiter))
        return 0;
    r = filch__waiter_wait(&waiter, until);
    if (r < 0 && filch__token_delist(token, &waiter))
        return r;
    filch__waiter_wait_shielded(&waiter);
    return 0;
}

int filch__token_hook(filch_token *token, struct filch__hook *hook)
{
    filch__list_init(&hook->link);
    return add(token, &token->hooks, &hook->link) ? 0 : filch_token_cause(token, NULL);
}

int filch__token_unhook(filch_token *token, struct filch__hook *hook)
{
    struct filch__waiter waiter;
    int r = -EALREADY;

    filch_spinlock_lock(&token->lock);
    if (token->running == hook) {
        if (token->runner == caller_id()) {
            r = -EINPROGRESS;
        } else {
            filch__waiter_init(&waiter, FILCH_WAIT_TOKEN);
            filch__list_push_back(&token->unhookers, &waiter.link);
            filch_spinlock_unlock(&token->lock);
            filch__waiter_wait_shielded(&waiter);
            return r;
        }
    } else if (!filch__list_is_empty(&hook->link)) {
        filch__list_remove(&hook->link);
        r = 0;
    }
    filch_spinlock_unlock(&token->lock);
    return r;
}

/* The public hook. */
struct callback {
    struct filch__hook hook;
    void (*fn)(void *arg);
    void *arg;
};

_Static_assert(sizeof(struct callback) <= sizeof(filch_hook), "it lives in the private words");
_Static_assert(alignof(struct callback) <= alignof(filch_hook), "it lives in the private words");

static void call_back(struct filch__hook *hook, int cause)
{
    struct callback *callback = filch_container_of(hook, struct callback, hook);

    (void)cause;
    callback->fn(callback->arg);
}

int filch_token_hook(filch_token *token, filch_hook *hook, void (*fn)(void *arg), void *arg)
{
    struct callback *callback;

    if (!token || !hook || !fn)
        return -EINVAL;
    callback = (struct callback *)(void *)hook->private_words;
    callback->hook.fn = call_back;
    callback->fn = fn;
    callback->arg = arg;
    return filch__token_hook(token, &callback->hook) ? -ECANCELED : 0;
}

int filch_token_unhook(filch_token *token, filch_hook *hook)
{
    if (!token || !hook)
        return -EINVAL;
    return filch__token_unhook(token, &((struct callback *)(void *)hook->private_words)->hook);
}

/* ---- tasks ---- */

/* From the bind to the task's end, among its deferred calls. */
struct binding {
    struct filch__hook hook;
    filch_token *token; /* a reference */
    filch_task *task;
};

static void binding_cancelled(struct filch__hook *hook, int cause)
{
    filch_task_cancel_cause(filch_container_of(hook, struct binding, hook)->task, cause);
}

static void binding_end(void *arg)
{
    struct binding *binding = arg;

    (void)filch__token_unhook(binding->token, &binding->hook);
    filch_token_unref(binding->token);
    free(binding);
}

int filch__token_bind(filch_token *token, struct filch__task *task)
{
    struct binding *binding = malloc(sizeof *binding);
    int cause;

    if (!binding)
        return -ENOMEM;
    if (filch__task_defer(task, binding_end, binding) < 0) {
        free(binding);
        return -ENOMEM;
    }
    binding->token = filch_token_ref(token);
    binding->task = filch__task_handle(task);
    binding->hook.fn = binding_cancelled;
    cause = filch__token_hook(token, &binding->hook);
    if (cause)
        filch_task_cancel_cause(binding->task, cause);
    return 0;
}

int filch_token_bind(filch_token *token)
{
    struct filch__task *task = filch__fork_root(filch__task_current());

    if (!token)
        return -EINVAL;
    if (!task)
        task = filch__blocking_owner();
    return task ? filch__token_bind(token, task) : -EPERM;
}
