/* Barriers: the participants of a round that have arrived are those in the list.
 *
 * Invariants, true whenever the lock is free:
 *   [not-all]  the list has `arrived` waiters, fewer than there are participants.
 *
 * The last one to come takes all out in one section of the lock, so a round is whole: whoever comes
 * later is of the next one, and whoever gives up either left before, or has arrived. The section is
 * as long as the list, a few instructions for each.
 *
 * [round] the lock: each who arrived released it before the last one took it; and the wake.
 */
#include <filch/barrier.h>

#include "runtime/base/assert.h"
#include "sync/wait_list.h"

struct barrier {
    uint64_t participants; /* immutable */
    uint64_t arrived;      /* guarded by the lock, as is the list */
    filch_spinlock lock;
    struct filch__list waiters;
};

#ifndef FILCH_MODEL
_Static_assert(sizeof(struct barrier) == sizeof(filch_barrier), "it is the private words");
_Static_assert(_Alignof(struct barrier) <= _Alignof(filch_barrier), "it is the private words");
#endif

static struct barrier *barrier_of(filch_barrier *barrier)
{
    return (struct barrier *)(void *)barrier;
}

int filch_barrier_init(filch_barrier *barrier, uint32_t participants)
{
    struct barrier *b = barrier_of(barrier);

    if (!barrier || participants == 0)
        return -EINVAL;
    b->participants = participants;
    b->arrived = 0;
    filch_spinlock_init(&b->lock);
    filch__list_init(&b->waiters);
    return 0;
}

void filch_barrier_fini(filch_barrier *barrier)
{
    if (barrier)
        filch_assert(barrier_of(barrier)->arrived == 0);
}

/* With the lock, which is free on return. */
static int lead_unlock(struct barrier *b)
{
    struct filch__woken woken = {0};

    b->arrived = 0;
    filch__woken_add_all(&woken, &b->waiters);
    filch_spinlock_unlock(&b->lock);
    filch__woken_wake(&woken, 0);
    return 1;
}

static int arrive_unlock(struct barrier *b, filch_time until)
{
    struct filch__waiter waiter;
    int r;

    filch__waiter_init(&waiter, FILCH_WAIT_BARRIER);
    b->arrived++;
    filch__list_push_back(&b->waiters, &waiter.link);
    filch_spinlock_unlock(&b->lock);
    r = filch__waiter_wait(&waiter, until);
    if (r == 0)
        return 0;
    filch_spinlock_lock(&b->lock);
    if (!filch__waiter_was_taken(&waiter)) {
        filch__list_remove(&waiter.link);
        b->arrived--;
        filch_spinlock_unlock(&b->lock);
        return r;
    }
    filch_spinlock_unlock(&b->lock);
    filch__waiter_wait_shielded(&waiter);
    return 0;
}

int filch_barrier_wait(filch_barrier *barrier, filch_time until)
{
    struct barrier *b = barrier_of(barrier);

    if (!barrier)
        return -EINVAL;
    filch_spinlock_lock(&b->lock);
    filch__wait_list_ready(&b->waiters);
    if (b->arrived + 1 >= b->participants) {
        int leader = lead_unlock(b);

        filch__coop_inline();
        return leader;
    }
    if (until == FILCH_NOW) {
        filch_spinlock_unlock(&b->lock);
        return filch__wait_give_up();
    }
    return arrive_unlock(b, until);
}
