/* Once: three states, and a list of those who wait while it runs.
 *
 *     NEW --who comes first--> RUNNING --0 or more--> DONE, for good
 *      ^                        |  ^
 *      +-- failed, nobody waits-+  +-- failed: the oldest waiter is the runner now
 *
 * The state changes under the spin lock. DONE is also read without it: [once-done] release when it
 * is set -> acquire where it is read: what the function did is visible.
 *
 * A waiter is told in its `data` what has become of it: done, or that it is the runner, which it
 * cannot decline: one that was cancelled meanwhile runs the function, whose suspending calls then
 * say so, and hands on.
 */
#include <filch/once.h>

#include "runtime/base/assert.h"
#include "runtime/base/spinlock.h"
#include "sync/lock_wait.h"

enum state { NEW = 0, RUNNING, DONE };

struct once {
    filch_atomic_u32 state;
    filch_spinlock spin;
    struct filch__list waiters;
    uint64_t runner; /* under the spin lock */
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
}

void filch_once_init(filch_once *once)
{
    if (!once)
        return;
    filch_atomic_init(&of(once)->state, NEW);
    filch_spinlock_init(&of(once)->spin);
    filch__list_init(&of(once)->waiters);
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
    (void)state;
    filch_spinlock_unlock(&of(once)->spin);
}

static void done(struct once *o)
{
    struct filch__lock_woken woken = {NULL, NULL};
    struct filch__list *link;

    lock_spin(o);
    filch_store_release(&o->state, DONE); /* [once-done] */
    while ((link = filch__list_pop_front(&o->waiters)))
        filch__lock_woken_add(&woken, filch_container_of(link, struct filch__waiter, link));
    filch_spinlock_unlock(&o->spin);
    filch__lock_wake_all(&woken, &told_done);
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
    done(o);
    return 0;
}

/* In the list. Return: 0: told; or an error, with the waiter out of the list. */
static int wait_in_list(struct once *o, struct filch__waiter *waiter, filch_time until)
{
    int r = filch__waiter_wait(waiter, until);

    if (r == 0)
        return 0;
    lock_spin(o);
    if (!filch__waiter_was_taken(waiter)) {
        filch__list_remove(&waiter->link);
        filch_spinlock_unlock(&o->spin);
        return r;
    }
    filch_spinlock_unlock(&o->spin);
    filch__waiter_wait_shielded(waiter);
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

bool filch_once_is_done(const filch_once *once)
{
    return once && is_done(once);
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

void *filch_once_cell_peek(const filch_once_cell *cell)
{
    return cell && is_done(&cell->once) ? cell->value : NULL;
}
