/* Semaphores: one word that says how many permits there are, and a list of those who wait.
 *
 *     63                                    2        1         0
 *     | permits that nobody has             | closed | waiters |
 *
 * Nobody waits: acquire and release are one compare-and-swap of the word. The bit `waiters` freezes
 * it: while it is set, only the holder of the lock changes the word. Whoever cannot go the fast way
 * takes the lock, sets the bit (from here on the word is his alone), does what he came for, and
 * leaves the bit set only if the list is not empty.
 *
 *     fast acquire   (p, open, no waiters), p >= n    -> (p - n, ...)
 *     fast release   (p, any, no waiters)             -> (p + n, ...)
 *     all others     under the lock, frozen
 *
 * Invariants, true whenever the lock is free:
 *   [frozen]     the list is not empty => the bit is set;
 *   [head-waits] the first waiter asks for more than there is, or has lost to another case of its
 *                select; so whoever adds permits, or takes a waiter out, serves the list;
 *   [no-queue]   closed => the list is empty.
 *
 * A waiter's `data` points to how many it asks for; when it was woken it is the outcome. Permits
 * are counted down before the wake, so nobody can overtake.
 *
 * [permit] acq_rel, or the lock: what was done before a release is visible to who takes the permit.
 */
#include <filch/semaphore.h>

#include "runtime/base/assert.h"
#include "sync/wait_list.h"

#define WAITERS 1u
#define CLOSED 2u
#define FLAGS (WAITERS | CLOSED)
#define ONE 4u

struct semaphore {
    filch_atomic_u64 state;
    filch_spinlock lock; /* guards the list; with WAITERS also the word */
    struct filch__list waiters;
};

#ifndef FILCH_MODEL
_Static_assert(sizeof(struct semaphore) == sizeof(filch_semaphore), "it is the private words");
_Static_assert(_Alignof(struct semaphore) <= _Alignof(filch_semaphore), "it is the private words");
#endif

static struct semaphore *semaphore_of(filch_semaphore *semaphore)
{
    return (struct semaphore *)(void *)semaphore;
}

static bool is_valid(const filch_semaphore *semaphore, uint64_t n)
{
    return semaphore && n > 0 && n <= FILCH_SEMAPHORE_MAX;
}

static bool take_fast(struct semaphore *s, uint64_t n)
{
    uint64_t state = filch_load_relaxed(&s->state); /* the swap decides */

    while (!(state & FLAGS) && state / ONE >= n)
        if (filch_cas_weak_acq_rel(&s->state, &state, state - n * ONE)) /* [permit] */
            return true;
    return false;
}

/* Return: the state without WAITERS; nobody else changes it until unlock_thaw(). */
static uint64_t lock_freeze(struct semaphore *s)
{
    filch_spinlock_lock(&s->lock);
    filch__wait_list_ready(&s->waiters);
    return filch_fetch_or_acq_rel(&s->state, WAITERS) & ~(uint64_t)WAITERS; /* [permit] */
}

static void unlock_thaw(struct semaphore *s, uint64_t state)
{
    if (!filch__list_is_empty(&s->waiters))
        state |= WAITERS;
    filch_store_release(&s->state, state); /* [permit] */
    filch_spinlock_unlock(&s->lock);
}

/* [head-waits] */
static void serve_locked(struct semaphore *s, uint64_t *state, struct filch__woken *woken)
{
    struct filch__waiter *waiter;

    while ((waiter = filch__wait_list_first(&s->waiters))) {
        uint64_t n = *(const uint64_t *)waiter->data;

        if (n > *state / ONE)
            return;
        filch__list_remove(&waiter->link);
        if (!filch__waiter_claim(waiter))
            continue;
        *state -= n * ONE;
        filch__woken_add(woken, waiter);
    }
}

/* The waiter leaves without having got anything; the next ones may be able to go. Return: false:
 * somebody has taken it out before. */
static bool leave(struct semaphore *s, struct filch__waiter *waiter)
{
    struct filch__woken woken = {0};
    uint64_t state = lock_freeze(s);
    bool waited = !filch__waiter_was_taken(waiter);

    if (waited)
        filch__list_remove(&waiter->link);
    serve_locked(s, &state, &woken);
    unlock_thaw(s, state);
    filch__woken_wake(&woken, 0);
    return waited;
}

/* Under the lock. Return: FILCH__ENLIST_WAITS: the caller has to wait, and is not in the list yet.
 */
static enum filch__enlist attempt_locked(struct semaphore *s, uint64_t *state, uint64_t n,
                                         struct filch__waiter *self, int *ret_result)
{
    bool closed = *state & CLOSED;

    if (!closed && (!filch__list_is_empty(&s->waiters) || *state / ONE < n))
        return FILCH__ENLIST_WAITS;
    if (!filch__wait_claim_self(self))
        return FILCH__ENLIST_LOST;
    if (!closed)
        *state -= n * ONE;
    *ret_result = closed ? -EPIPE : 0;
    return FILCH__ENLIST_TAKEN;
}

static int wait_unlock(struct semaphore *s, uint64_t state, uint64_t n, filch_time until)
{
    struct filch__waiter waiter;
    int r;

    filch__waiter_init(&waiter, FILCH_WAIT_SEMAPHORE);
    waiter.data = &n;
    filch__list_push_back(&s->waiters, &waiter.link);
    unlock_thaw(s, state);
    r = filch__waiter_wait(&waiter, until);
    if (r < 0) {
        if (leave(s, &waiter))
            return r;
        filch__waiter_wait_shielded(&waiter);
    }
    return filch__waiter_outcome(&waiter);
}

static int acquire_slow(struct semaphore *s, uint64_t n, filch_time until)
{
    int result = 0;
    uint64_t state = lock_freeze(s);

    if (attempt_locked(s, &state, n, NULL, &result) == FILCH__ENLIST_WAITS) {
        if (until != FILCH_NOW)
            return wait_unlock(s, state, n, until);
        unlock_thaw(s, state);
        return filch__wait_give_up();
    }
    unlock_thaw(s, state);
    return result;
}

int filch_semaphore_init(filch_semaphore *semaphore, uint64_t permits)
{
    if (!semaphore || permits > FILCH_SEMAPHORE_MAX)
        return -EINVAL;
    filch_atomic_init(&semaphore_of(semaphore)->state, permits * ONE);
    filch_spinlock_init(&semaphore_of(semaphore)->lock);
    filch__list_init(&semaphore_of(semaphore)->waiters);
    return 0;
}

void filch_semaphore_fini(filch_semaphore *semaphore)
{
    if (semaphore)
        filch_assert(!(filch_load_relaxed(&semaphore_of(semaphore)->state) & WAITERS));
}

/* Yields before it takes: not while it holds what others wait for. */
int filch_semaphore_acquire(filch_semaphore *semaphore, uint64_t n, filch_time until)
{
    if (!is_valid(semaphore, n))
        return -EINVAL;
    filch__coop_inline();
    if (take_fast(semaphore_of(semaphore), n))
        return 0;
    return acquire_slow(semaphore_of(semaphore), n, until);
}

int filch_semaphore_try_acquire(filch_semaphore *semaphore, uint64_t n)
{
    struct semaphore *s = semaphore_of(semaphore);
    int result = -EAGAIN;
    uint64_t state;

    if (!is_valid(semaphore, n))
        return -EINVAL;
    if (take_fast(s, n))
        return 0;
    /* The word may be frozen for a moment without anybody waiting: the lock knows. */
    state = lock_freeze(s);
    (void)attempt_locked(s, &state, n, NULL, &result);
    unlock_thaw(s, state);
    return result;
}

static int release_slow(struct semaphore *s, uint64_t n)
{
    struct filch__woken woken = {0};
    uint64_t state = lock_freeze(s);

    if (n > FILCH_SEMAPHORE_MAX - state / ONE) {
        unlock_thaw(s, state);
        return -EOVERFLOW;
    }
    state += n * ONE;
    serve_locked(s, &state, &woken);
    unlock_thaw(s, state);
    filch__woken_wake(&woken, 0);
    return 0;
}

int filch_semaphore_release(filch_semaphore *semaphore, uint64_t n)
{
    struct semaphore *s = semaphore_of(semaphore);
    uint64_t state;

    if (!semaphore || n > FILCH_SEMAPHORE_MAX)
        return -EINVAL;
    state = filch_load_relaxed(&s->state); /* the swap decides */
    while (!(state & WAITERS)) {
        if (n > FILCH_SEMAPHORE_MAX - state / ONE)
            return -EOVERFLOW;
        if (filch_cas_weak_acq_rel(&s->state, &state, state + n * ONE)) /* [permit] */
            return 0;
    }
    return release_slow(s, n);
}

uint64_t filch_semaphore_forget(filch_semaphore *semaphore, uint64_t n)
{
    struct semaphore *s = semaphore_of(semaphore);
    uint64_t state;

    if (!semaphore)
        return 0;
    state = lock_freeze(s);
    if (n > state / ONE)
        n = state / ONE;
    unlock_thaw(s, state - n * ONE);
    return n;
}

uint64_t filch_semaphore_available(filch_semaphore *semaphore)
{
    /* Relaxed: out of date when it is returned in any case. */
    return semaphore ? filch_load_relaxed(&semaphore_of(semaphore)->state) / ONE : 0;
}

int filch_semaphore_close(filch_semaphore *semaphore)
{
    struct semaphore *s = semaphore_of(semaphore);
    struct filch__woken woken = {0};
    uint64_t state;

    if (!semaphore)
        return -EINVAL;
    state = lock_freeze(s);
    filch__woken_add_all(&woken, &s->waiters);
    unlock_thaw(s, state | CLOSED);
    filch__woken_wake(&woken, -EPIPE);
    return 0;
}

bool filch_semaphore_is_closed(filch_semaphore *semaphore)
{
    return semaphore && filch_load_relaxed(&semaphore_of(semaphore)->state) & CLOSED;
}

filch_permit filch_permit_acquire(filch_semaphore *semaphore, uint64_t n, filch_time until)
{
    int r = filch_semaphore_acquire(semaphore, n, until);

    return (filch_permit){.result = r, .semaphore = r == 0 ? semaphore : NULL, .n = n};
}

void filch_permit_release(filch_permit *permit)
{
    if (!permit || !permit->semaphore)
        return;
    (void)filch_semaphore_release(permit->semaphore, permit->n);
    permit->semaphore = NULL;
}

/* ---- in a select ---- */

static enum filch__enlist acquire_case(filch_case *c, struct filch__waiter *self)
{
    struct semaphore *s = c->object;
    uint64_t state = lock_freeze(s);
    enum filch__enlist done = attempt_locked(s, &state, c->number, self, &c->result);

    if (done == FILCH__ENLIST_WAITS && self) {
        self->data = &c->number;
        filch__list_push_back(&s->waiters, &self->link);
    }
    unlock_thaw(s, state);
    return done;
}

static bool acquire_try(filch_case *c)
{
    return acquire_case(c, NULL) == FILCH__ENLIST_TAKEN;
}

static void acquire_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    if (won)
        c->result = filch__waiter_outcome(waiter);
    else
        (void)leave(c->object, waiter);
}

static const struct filch__case_ops acquire_ops = {
    .try_now = acquire_try,
    .enlist = acquire_case,
    .delist = acquire_delist,
    .reason = FILCH_WAIT_SEMAPHORE,
};

filch_case filch_case_acquire(filch_semaphore *semaphore, uint64_t n)
{
    return (filch_case){
        .ops = is_valid(semaphore, n) ? &acquire_ops : NULL, .object = semaphore, .number = n};
}
