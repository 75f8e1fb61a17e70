/* Condition variables: a list of waiters, and nothing else. What is waited for is the caller's.
 *
 *     wait()                                     who signals
 *     ------                                     -----------
 *     [mutex held] join the list                 lock the mutex, change what it guards, unlock
 *     unlock the mutex                           signal: take the oldest out of the list, wake it
 *     wait until woken, or the time has come
 *     lock the mutex, whatever happens
 *
 * Invariants:
 *   [no-loss]   the waiter is in the list before the mutex is free: whoever has the mutex
 *               afterwards finds it there;
 *   [one-each]  a signal takes one waiter out, and a waiter that was taken out says 0, also if it
 *               was cancelled or late: so each signal is answered once.
 *
 * A woken waiter takes the mutex itself. Moving it from this list to the mutex's (wait morphing)
 * saves a wake-up when the signaller still has the mutex, but a waiter is woken into its worker's
 * next slot, which costs no more than the move: it runs when the signaller suspends.
 *
 * Read first: sync/mutex.c.
 */
#include <filch/cond.h>

#include "runtime/base/assert.h"
#include "runtime/base/spinlock.h"
#include "sync/lock_wait.h"

struct cond {
    filch_spinlock spin;
    uint32_t unused;
    struct filch__list waiters;
};

#ifndef FILCH_MODEL
_Static_assert(sizeof(struct cond) == sizeof(filch_cond), "the public struct is this one");
#endif

static inline struct cond *of(filch_cond *cond)
{
    return (struct cond *)(void *)cond;
}

static void lock_spin(struct cond *c)
{
    filch_spinlock_lock(&c->spin);
    filch__lock_list_ready(&c->waiters);
}

void filch_cond_init(filch_cond *cond)
{
    if (!cond)
        return;
    filch_spinlock_init(&of(cond)->spin);
    filch__list_init(&of(cond)->waiters);
}

void filch_cond_fini(filch_cond *cond)
{
    if (!cond)
        return;
    lock_spin(of(cond));
    filch_assert(filch__list_is_empty(&of(cond)->waiters) &&
                 "a condition is ended that others wait for");
    filch_spinlock_unlock(&of(cond)->spin);
}

/* Return: 0: signalled; or an error, with the waiter out of the list. */
static int wait_in_list(struct cond *c, struct filch__waiter *waiter, filch_time until)
{
    int r = filch__waiter_wait(waiter, until);

    if (r == 0)
        return 0;
    lock_spin(c);
    if (!filch__waiter_was_taken(waiter)) {
        filch__list_remove(&waiter->link);
        filch_spinlock_unlock(&c->spin);
        return r;
    }
    filch_spinlock_unlock(&c->spin);
    filch__waiter_wait_shielded(waiter); /* [one-each] */
    return 0;
}

int filch_cond_wait(filch_cond *cond, filch_mutex *mutex, filch_time until)
{
    struct filch__task *task = filch__task_current();
    struct filch__waiter waiter;
    int relock;
    int r;

    if (!cond || !mutex)
        return -EINVAL;
    if (until == FILCH_NOW || (task && filch__task_cancelled(task)))
        return filch__lock_give_up();
    filch__waiter_init(&waiter, FILCH_WAIT_COND);
    lock_spin(of(cond));
    filch__list_push_back(&of(cond)->waiters, &waiter.link); /* [no-loss] */
    filch_spinlock_unlock(&of(cond)->spin);
    r = filch_mutex_unlock(mutex);
    if (r < 0) {
        (void)wait_in_list(of(cond), &waiter, FILCH_NOW);
        return r;
    }
    r = wait_in_list(of(cond), &waiter, until);
    relock = filch_mutex_lock_shielded(mutex);
    filch_assert(relock == 0 && "a condition's mutex is in a deadlock");
    (void)relock;
    return r;
}

int filch_cond_signal(filch_cond *cond)
{
    struct filch__list *link;

    if (!cond)
        return -EINVAL;
    lock_spin(of(cond));
    link = filch__list_pop_front(&of(cond)->waiters);
    filch_spinlock_unlock(&of(cond)->spin);
    if (!link)
        return 0;
    filch__waiter_wake(filch_container_of(link, struct filch__waiter, link));
    return 1;
}

int filch_cond_broadcast(filch_cond *cond)
{
    struct filch__lock_woken woken = {NULL, NULL};
    struct filch__list *link;
    int count = 0;

    if (!cond)
        return -EINVAL;
    lock_spin(of(cond));
    while ((link = filch__list_pop_front(&of(cond)->waiters))) {
        filch__lock_woken_add(&woken, filch_container_of(link, struct filch__waiter, link));
        count++;
    }
    filch_spinlock_unlock(&of(cond)->spin);
    filch__lock_wake_all(&woken, NULL);
    return count;
}
