/* Once: three states, a list of those who wait for their turn while it runs, and one of those who
 * wait for the end only.
 *
 *     NEW --who comes first--> RUNNING --0 or more--> DONE, for good
 *      ^                        |  ^                    ^
 *      +-- failed, nobody waits-+  +-- failed: the      | a cell's value is set
 *          for his turn            oldest waiter is     |
 *                                  the runner now      NEW
 *
 * The state changes under the spin lock. DONE is also read without it: [once-done] release when it
 * is set -> acquire where it is read: what the function did is visible.
 *
 * A waiter is told in its `data` what has become of it: done, or that it is the runner, which it
 * cannot decline: one that was cancelled meanwhile runs the function, whose suspending calls then
 * say so, and hands on. Watchers, of which some are in selects, are in a list of their own: so a
 * failed attempt finds the next runner without a walk past them.
 *
 * Invariants, true whenever the spin lock is free:
 *   [only-while-running]  a waiter waits for its turn only in RUNNING;
 *   [only-before-done]    a watcher waits only in NEW and RUNNING.
 */
#include <filch/once.h>

#include "runtime/base/assert.h"
#include "runtime/base/spinlock.h"
#include "sync/lock_wait.h"
#include "sync/wait_list.h"

enum state { NEW = 0, RUNNING, DONE };

struct once {
    filch_atomic_u32 state;
    filch_spinlock spin;
    struct filch__list waiters;
    uint64_t runner; /* under the spin lock, as the lists */
    struct filch__list watchers;
};

#ifndef FILCH_MODEL
_Static_assert(sizeof(struct once) == sizeof(filch_once), "the public struct is this one");
#endif

static char told_done, told_run;

static inline struct once *of(const filch_once *once)
{
    return (struct once *)(uintptr_t)once;
}

static bool is_done(const filch_once *once)
{
    return filch_load_acquire(&of(once)->state) == DONE; /* [once-done] */
}

static void lock_spin(struct once *o)
{
    filch_spinlock_lock(&o->spin);
    filch__lock_list_ready(&o->waiters);
    filch__wait_list_ready(&o->watchers);
}

void filch_once_init(filch_once *once)
{
    if (!once)
        return;
    filch_atomic_init(&of(once)->state, NEW);
    filch_spinlock_init(&of(once)->spin);
    filch__list_init(&of(once)->waiters);
    filch__list_init(&of(once)->watchers);
    of(once)->runner = 0;
}

void filch_once_fini(filch_once *once)
{
    uint32_t state;

    if (!once)
        return;
    lock_spin(of(once));
    state = filch_load_relaxed(&of(once)->state);
    filch_assert(state != RUNNING && "a once is ended that runs");
    filch_assert(filch__list_is_empty(&of(once)->watchers));
    (void)state;
    filch_spinlock_unlock(&of(once)->spin);
}

/* With the spin lock held on entry and free on return. */
static void done_unlock(struct once *o)
{
    struct filch__lock_woken woken = {NULL, NULL};
    struct filch__woken watching = {NULL, NULL};
    struct filch__list *link;

    filch_store_release(&o->state, DONE); /* [once-done] */
    while ((link = filch__list_pop_front(&o->waiters)))
        filch__lock_woken_add(&woken, filch_container_of(link, struct filch__waiter, link));
    filch__woken_add_all(&watching, &o->watchers);
    filch_spinlock_unlock(&o->spin);
    filch__lock_wake_all(&woken, &told_done);
    filch__woken_wake(&watching, 0);
}

static void failed(struct once *o)
{
    struct filch__lock_woken woken = {NULL, NULL};
    struct filch__list *link;

    lock_spin(o);
    link = filch__list_pop_front(&o->waiters);
    o->runner = 0; /* the next one says who it is; it is RUNNING until then */
    if (link)
        filch__lock_woken_add(&woken, filch_container_of(link, struct filch__waiter, link));
    else
        filch_store_release(&o->state, NEW);
    filch_spinlock_unlock(&o->spin);
    filch__lock_wake_all(&woken, &told_run);
}

static int run(struct once *o, filch_fn fn, void *arg)
{
    int r;

    lock_spin(o);
    o->runner = filch__owner_self();
    filch_spinlock_unlock(&o->spin);
    r = fn(arg);
    if (r < 0) {
        failed(o);
        return r;
    }
    lock_spin(o);
    done_unlock(o);
    return 0;
}

/* @waiter gives up. Return: false: it was taken out, and is woken. */
static bool leave(struct once *o, struct filch__waiter *waiter)
{
    bool waited;

    lock_spin(o);
    waited = !filch__waiter_was_taken(waiter);
    if (waited)
        filch__list_remove(&waiter->link);
    filch_spinlock_unlock(&o->spin);
    return waited;
}

/* In a list. Return: 0: told; or an error, with the waiter out of the list. */
static int wait_in_list(struct once *o, struct filch__waiter *waiter, filch_time until)
{
    int r = filch__waiter_wait(waiter, until);

    if (r < 0) {
        if (leave(o, waiter))
            return r;
        filch__waiter_wait_shielded(waiter);
    }
    return 0;
}

int filch_once_do(filch_once *once, filch_fn fn, void *arg, filch_time until)
{
    struct once *o = of(once);
    struct filch__waiter waiter;
    int r;

    if (!once || !fn)
        return -EINVAL;
    if (is_done(once))
        return 0;
    filch__waiter_init(&waiter, FILCH_WAIT_ONCE);
    lock_spin(o);
    switch ((enum state)filch_load_relaxed(&o->state)) { /* relaxed: the spin lock orders it */
    case DONE:
        filch_spinlock_unlock(&o->spin);
        return 0;
    case NEW:
        filch_store_relaxed(&o->state, RUNNING);
        filch_spinlock_unlock(&o->spin);
        return run(o, fn, arg);
    case RUNNING:
        break;
    }
    if (o->runner == filch__owner_self()) {
        filch_spinlock_unlock(&o->spin);
        return -EDEADLK;
    }
    filch__list_push_back(&o->waiters, &waiter.link);
    filch_spinlock_unlock(&o->spin);
    r = wait_in_list(o, &waiter, until);
    if (r < 0)
        return r;
    return waiter.data == &told_run ? run(o, fn, arg) : 0;
}

int filch_once_try_do(filch_once *once, filch_fn fn, void *arg)
{
    struct once *o = of(once);
    enum state state;

    if (!once || !fn)
        return -EINVAL;
    lock_spin(o);
    state = (enum state)filch_load_relaxed(&o->state); /* relaxed: the spin lock orders it */
    if (state == NEW)
        filch_store_relaxed(&o->state, RUNNING);
    filch_spinlock_unlock(&o->spin);
    if (state != NEW)
        return state == DONE ? -EALREADY : -EBUSY;
    return run(o, fn, arg);
}

bool filch_once_is_done(const filch_once *once)
{
    return once && is_done(once);
}

/* ---- waiting for what others do ---- */

/* It is done; or puts @waiter down. @self: @waiter, if it is in a select. */
static enum filch__enlist enlist(struct once *o, struct filch__waiter *waiter,
                                 struct filch__waiter *self)
{
    enum filch__enlist done = FILCH__ENLIST_WAITS;

    lock_spin(o);
    if (filch_load_relaxed(&o->state) == DONE) /* relaxed: the spin lock orders it */
        done = filch__wait_claim_self(self) ? FILCH__ENLIST_TAKEN : FILCH__ENLIST_LOST;
    else
        filch__list_push_back(&o->watchers, &waiter->link);
    filch_spinlock_unlock(&o->spin);
    return done;
}

static bool is_run_by_caller(struct once *o)
{
    bool by_caller;

    lock_spin(o);
    by_caller =
        filch_load_relaxed(&o->state) == RUNNING && o->runner == filch__owner_self(); /* the same */
    filch_spinlock_unlock(&o->spin);
    return by_caller;
}

int filch_once_wait(filch_once *once, filch_time until)
{
    struct once *o = of(once);
    struct filch__waiter waiter;

    if (!once)
        return -EINVAL;
    if (is_done(once))
        return 0;
    if (is_run_by_caller(o))
        return -EDEADLK;
    if (until == FILCH_NOW)
        return filch__wait_give_up();
    filch__waiter_init(&waiter, FILCH_WAIT_ONCE);
    if (enlist(o, &waiter, NULL) == FILCH__ENLIST_TAKEN)
        return 0;
    return wait_in_list(o, &waiter, until);
}

static bool once_try(filch_case *c)
{
    c->result = 0;
    return is_done(c->object);
}

static enum filch__enlist once_enlist(filch_case *c, struct filch__waiter *waiter)
{
    c->result = 0;
    return enlist(of(c->object), waiter, waiter);
}

static void once_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    if (!won)
        (void)leave(of(c->object), waiter);
}

static const struct filch__case_ops once_ops = {
    .try_now = once_try,
    .enlist = once_enlist,
    .delist = once_delist,
    .reason = FILCH_WAIT_ONCE,
};

filch_case filch_case_once(filch_once *once)
{
    return (filch_case){.ops = once ? &once_ops : NULL, .object = once};
}

/* ---- cells ---- */

struct making {
    filch_once_cell *cell;
    filch_once_make make;
    void *arg;
};

static int make_value(void *arg)
{
    struct making *making = arg;
    void *value = NULL;
    int r = making->make(making->arg, &value);

    if (r >= 0)
        making->cell->value = value;
    return r;
}

int filch_once_cell_get(filch_once_cell *cell, filch_once_make make, void *arg, void **ret_value,
                        filch_time until)
{
    struct making making = {.cell = cell, .make = make, .arg = arg};
    int r;

    if (!cell || !make || !ret_value)
        return -EINVAL;
    r = filch_once_do(&cell->once, make_value, &making, until);
    if (r == 0)
        *ret_value = cell->value;
    return r;
}

int filch_once_cell_set(filch_once_cell *cell, void *value)
{
    struct once *o;
    enum state state;

    if (!cell)
        return -EINVAL;
    o = of(&cell->once);
    lock_spin(o);
    state = (enum state)filch_load_relaxed(&o->state); /* relaxed: the spin lock orders it */
    if (state != NEW) {
        filch_spinlock_unlock(&o->spin);
        return state == DONE ? -EALREADY : -EBUSY;
    }
    cell->value = value;
    filch_plain_write(&cell->value);
    done_unlock(o);
    return 0;
}

int filch_once_cell_wait(filch_once_cell *cell, void **ret_value, filch_time until)
{
    int r;

    if (!cell || !ret_value)
        return -EINVAL;
    r = filch_once_wait(&cell->once, until);
    if (r == 0)
        *ret_value = cell->value;
    return r;
}

void *filch_once_cell_peek(const filch_once_cell *cell)
{
    return cell && is_done(&cell->once) ? cell->value : NULL;
}
