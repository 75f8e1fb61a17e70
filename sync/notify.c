/* Notifications: a permit, and a list of those who wait, under one lock.
 *
 * Invariants, true whenever the lock is free:
 *   [no-both]    there is no permit while somebody waits, but those whose select was decided.
 *
 * Check-then-wait. filch_notify_one() and filch_notify_all() are always a section of the lock; so
 * is putting a waiter down:
 *
 *     waiter: puts itself down; looks at the condition
 *     other:  makes the condition true; notifies
 *
 * Whichever of the two comes second in the order of the lock sees the other one's step: the waiter
 * sees the condition, or it is woken. [notify]
 *
 * A wait that is prepared and then goes into a select lends its place in the line to the select's
 * waiter, and gets it back if another case wins, or the select begins anew. Between the decision
 * and that moment the waiter is passed over: one notification goes to somebody else then, but those
 * for all must not be missed, and leave a mark.
 *
 * Rejected: a permit that is left and taken without the lock. It costs as many locked operations
 * where nobody waits, and one more where somebody does, who must then keep others from leaving one.
 *
 * A waiter's `data`, when it was woken, is by whom: BY_ONE and BY_LAST are passed on, each in its
 * own way, by a waiter that abandons.
 */
#include <filch/notify.h>

#include <limits.h>

#include "runtime/base/assert.h"
#include "sync/wait_list.h"

enum {
    BY_ALL,
    BY_ONE,
    BY_LAST,
};

struct notify {
    filch_spinlock lock; /* [notify] its hand-over */
    /* 0 or 1. Changed under the lock; also read without it, to find out whether to look. */
    filch_atomic_u32 permit;
    struct filch__list waiters; /* guarded by the lock */
};

struct notified {
    struct notify *notify; /* NULL: not prepared */
    uint64_t given;        /* 1 + by whom: it is notified, and the waiter not in use; 0: not yet */
    struct filch__waiter waiter;
    struct filch__waiter *lent; /* the select's waiter that stands in its place; its owner's */
};

#ifndef FILCH_MODEL
_Static_assert(sizeof(struct notify) == sizeof(filch_notify), "it is the private words");
_Static_assert(sizeof(struct notified) <= sizeof(filch_notified), "it is the private words");
_Static_assert(_Alignof(struct notify) <= _Alignof(filch_notify), "it is the private words");
_Static_assert(_Alignof(struct notified) <= _Alignof(filch_notified), "it is the private words");
#endif

static struct notify *notify_of(filch_notify *notify)
{
    return (struct notify *)(void *)notify;
}

static bool has_permit(struct notify *n)
{
    return filch_load_relaxed(&n->permit); /* the lock decides */
}

static bool take_permit_locked(struct notify *n)
{
    bool taken = has_permit(n);

    if (taken)
        filch_store_relaxed(&n->permit, 0); /* [notify] the lock orders it */
    return taken;
}

static bool take_permit(struct notify *n)
{
    bool taken;

    if (!has_permit(n))
        return false;
    filch_spinlock_lock(&n->lock);
    taken = take_permit_locked(n);
    filch_spinlock_unlock(&n->lock);
    return taken;
}

/* Takes the permit, or puts @waiter down. @self: @waiter, if it is in a select. */
static enum filch__enlist enlist(struct notify *n, struct filch__waiter *waiter,
                                 struct filch__waiter *self)
{
    enum filch__enlist done = FILCH__ENLIST_WAITS;

    filch_spinlock_lock(&n->lock);
    if (has_permit(n)) {
        done = FILCH__ENLIST_LOST;
        if (filch__wait_claim_self(self)) {
            (void)take_permit_locked(n);
            done = FILCH__ENLIST_TAKEN;
        }
    } else {
        filch__wait_list_ready(&n->waiters);
        filch__list_push_back(&n->waiters, &waiter->link);
    }
    filch_spinlock_unlock(&n->lock);
    return done;
}

/* Return: false: somebody has taken it out before. */
static bool leave(struct notify *n, struct filch__waiter *waiter)
{
    bool waited;

    filch_spinlock_lock(&n->lock);
    waited = !filch__waiter_was_taken(waiter);
    if (waited)
        filch__list_remove(&waiter->link);
    filch_spinlock_unlock(&n->lock);
    return waited;
}

static int wait_enlisted(struct notify *n, struct filch__waiter *waiter, filch_time until)
{
    int r = filch__waiter_wait(waiter, until);

    if (r < 0) {
        if (leave(n, waiter))
            return r;
        filch__waiter_wait_shielded(waiter);
    }
    return 0;
}

/* The first, from the end that @by says, which may be handed something. Those whose select was
 * decided stay in the list until they leave it: a notification for all has still to find them. */
static struct filch__waiter *take_locked(struct notify *n, int by)
{
    struct filch__list *link = by == BY_LAST ? n->waiters.prev : n->waiters.next;

    for (; link != &n->waiters; link = by == BY_LAST ? link->prev : link->next) {
        struct filch__waiter *waiter = filch_container_of(link, struct filch__waiter, link);

        if (filch__waiter_claim(waiter)) {
            filch__list_remove(link);
            return waiter;
        }
    }
    return NULL;
}

/* @by: BY_ONE or BY_LAST, which says whom. */
static void notify_by(struct notify *n, int by)
{
    struct filch__waiter *waiter;

    filch_spinlock_lock(&n->lock);
    filch__wait_list_ready(&n->waiters);
    waiter = take_locked(n, by);
    if (!waiter)
        filch_store_relaxed(&n->permit, 1); /* [notify] the lock orders it */
    filch_spinlock_unlock(&n->lock);
    if (waiter)
        filch__waiter_wake_with(waiter, by);
}

void filch_notify_init(filch_notify *notify)
{
    if (!notify)
        return;
    filch_spinlock_init(&notify_of(notify)->lock);
    filch_atomic_init(&notify_of(notify)->permit, 0);
    filch__list_init(&notify_of(notify)->waiters);
}

void filch_notify_fini(filch_notify *notify)
{
    struct notify *n = notify_of(notify);

    if (n)
        filch_assert(!n->waiters.next || filch__list_is_empty(&n->waiters));
}

int filch_notify_one(filch_notify *notify)
{
    if (!notify)
        return -EINVAL;
    notify_by(notify_of(notify), BY_ONE);
    return 0;
}

int filch_notify_last(filch_notify *notify)
{
    if (!notify)
        return -EINVAL;
    notify_by(notify_of(notify), BY_LAST);
    return 0;
}

int filch_notify_all(filch_notify *notify)
{
    struct notify *n = notify_of(notify);
    struct filch__woken woken = {0};
    struct filch__waiter *waiter;
    int count = 0;

    if (!notify)
        return -EINVAL;
    filch_spinlock_lock(&n->lock);
    filch__wait_list_ready(&n->waiters);
    /* Those whose select was decided are taken out, too, and will find that. */
    while ((waiter = filch__wait_list_pop(&n->waiters))) {
        filch__woken_add(&woken, waiter);
        count += count < INT_MAX;
    }
    filch_spinlock_unlock(&n->lock);
    filch__woken_wake(&woken, BY_ALL);
    return count;
}

int filch_notify_wait(filch_notify *notify, filch_time until)
{
    struct filch__waiter waiter;

    if (!notify)
        return -EINVAL;
    if (take_permit(notify_of(notify))) {
        filch__coop_inline();
        return 0;
    }
    if (until == FILCH_NOW)
        return filch__wait_give_up();
    filch__waiter_init(&waiter, FILCH_WAIT_NOTIFY);
    if (enlist(notify_of(notify), &waiter, NULL) == FILCH__ENLIST_TAKEN)
        return 0;
    return wait_enlisted(notify_of(notify), &waiter, until);
}

static struct notified *notified_of(filch_notified *notified)
{
    return (struct notified *)(void *)notified;
}

int filch_notify_prepare(filch_notify *notify, filch_notified *notified)
{
    struct notified *d = notified_of(notified);

    if (!notify || !notified)
        return -EINVAL;
    if (d->notify)
        return d->notify == notify_of(notify) ? 0 : -EINVAL;
    d->notify = notify_of(notify);
    filch__waiter_init(&d->waiter, FILCH_WAIT_NOTIFY);
    d->lent = NULL;
    d->given = enlist(d->notify, &d->waiter, NULL) == FILCH__ENLIST_TAKEN ? 1 + BY_ONE : 0;
    return 0;
}

int filch_notified_wait(filch_notified *notified, filch_time until)
{
    struct notified *d = notified_of(notified);
    struct notify *n;

    if (!notified || !d->notify)
        return -EINVAL;
    n = d->notify;
    d->notify = NULL;
    if (d->given) {
        filch__coop_inline();
        return 0;
    }
    return wait_enlisted(n, &d->waiter, until);
}

void filch_notified_abandon(filch_notified *notified)
{
    struct notified *d = notified_of(notified);
    int by = BY_ALL;

    if (!notified || !d->notify)
        return;
    if (d->given) {
        by = (int)d->given - 1;
    } else if (!leave(d->notify, &d->waiter)) {
        filch__waiter_wait_shielded(&d->waiter); /* it comes at once */
        by = filch__waiter_outcome(&d->waiter);
    }
    if (by != BY_ALL)
        notify_by(d->notify, by);
    d->notify = NULL;
}

/* ---- in a select ---- */

static bool notified_try(filch_case *c)
{
    c->result = 0;
    return take_permit(c->object);
}

static enum filch__enlist notified_enlist(filch_case *c, struct filch__waiter *waiter)
{
    c->result = 0;
    return enlist(c->object, waiter, waiter);
}

static void notified_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    if (!won)
        (void)leave(c->object, waiter);
}

static const struct filch__case_ops notified_ops = {
    .try_now = notified_try,
    .enlist = notified_enlist,
    .delist = notified_delist,
    .reason = FILCH_WAIT_NOTIFY,
};

filch_case filch_case_notified(filch_notify *notify)
{
    return (filch_case){.ops = notify ? &notified_ops : NULL, .object = notify};
}

/* ---- a prepared wait in a select ---- */

/* Is it notified? With the lock held. */
static bool is_notified_locked(const struct notified *d)
{
    return d->given || filch__waiter_was_taken(&d->waiter);
}

/* It is, and over. Without the lock. */
static void finish(filch_case *c, struct notified *d)
{
    if (!d->given)
        filch__waiter_wait_shielded(&d->waiter); /* it comes at once */
    d->notify = NULL;
    c->result = 0;
}

static bool prepared_try(filch_case *c)
{
    struct notified *d = c->object;
    bool notified;

    c->result = -EINVAL;
    if (!d->notify)
        return true;
    filch_spinlock_lock(&d->notify->lock);
    notified = is_notified_locked(d);
    filch_spinlock_unlock(&d->notify->lock);
    if (notified)
        finish(c, d);
    return notified;
}

/* @fresh takes the place of @old in its list. */
static void replace_locked(struct filch__waiter *old, struct filch__waiter *fresh)
{
    filch__list_push_back(&old->link, &fresh->link); /* directly before it */
    filch__list_remove(&old->link);
}

static enum filch__enlist prepared_enlist(filch_case *c, struct filch__waiter *waiter)
{
    struct notified *d = c->object;
    enum filch__enlist done = FILCH__ENLIST_WAITS;

    if (d->lent) /* it is in this select twice: the first of them stands for it */
        return done;
    filch_spinlock_lock(&d->notify->lock);
    if (is_notified_locked(d)) {
        done = filch__waiter_claim(waiter) ? FILCH__ENLIST_TAKEN : FILCH__ENLIST_LOST;
    } else {
        replace_locked(&d->waiter, waiter);
        d->lent = waiter;
    }
    filch_spinlock_unlock(&d->notify->lock);
    if (done == FILCH__ENLIST_TAKEN)
        finish(c, d);
    return done;
}

/* The select was decided otherwise: what has become of the wait? */
static void return_locked(struct notified *d, struct filch__waiter *waiter)
{
    if (filch__waiter_was_taken(waiter)) { /* by a notification for all: others leave it there */
        d->given = 1 + BY_ALL;
    } else if (take_permit_locked(d->notify)) { /* [no-both] */
        d->given = 1 + BY_ONE;
        filch__list_remove(&waiter->link);
    } else {
        replace_locked(waiter, &d->waiter);
    }
}

static void prepared_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    struct notified *d = c->object;

    if (d->lent != waiter)
        return;
    d->lent = NULL;
    if (won) {
        d->notify = NULL;
        c->result = 0;
        return;
    }
    filch_spinlock_lock(&d->notify->lock);
    return_locked(d, waiter);
    filch_spinlock_unlock(&d->notify->lock);
}

static const struct filch__case_ops prepared_ops = {
    .try_now = prepared_try,
    .enlist = prepared_enlist,
    .delist = prepared_delist,
    .reason = FILCH_WAIT_NOTIFY,
};

filch_case filch_case_prepared(filch_notified *notified)
{
    return (filch_case){.ops = notified ? &prepared_ops : NULL, .object = notified};
}
