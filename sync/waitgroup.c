/* Wait groups, and gates on top of them: a count in a word, and a list of those who wait.
 *
 *     63           3              2        1         0
 *     | count      | until closed | closed | waiters |
 *
 * As in a semaphore: while nobody waits, add and done are one compare-and-swap; the bit `waiters`
 * freezes the word, and only the holder of the lock changes it then.
 *
 * Invariants, true whenever the lock is free:
 *   [frozen]  the list is not empty => the bit is set;
 *   [over]    the count is zero (and the group closed, if it asks for that) => the list is empty.
 *
 * A group may lie in the frame of the one that waits, which goes as soon as the wait returns. So
 * done() touches nothing after it has brought the count to zero without the lock, nothing but the
 * waiters after it has released the lock; and wait() always takes the lock, also if the count is
 * zero already: then no done() is still inside. [frame-goes]
 *
 * [done] acq_rel, or the lock: what was done before done() is visible after wait().
 */
#include <filch/log.h>
#include <filch/waitgroup.h>

#include "runtime/base/assert.h"
#include "runtime/base/log.h"
#include "sync/wait_list.h"

#define WAITERS 1u
#define CLOSED 2u
#define UNTIL_CLOSED 4u
#define ONE 8u

_Static_assert(FILCH_WAITGROUP_UNTIL_CLOSED << 2 == UNTIL_CLOSED, "as FILCH_WAITGROUP_INIT() says");

struct waitgroup {
    filch_atomic_u64 state;
    filch_spinlock lock; /* guards the list; with WAITERS also the word */
    struct filch__list waiters;
};

#ifndef FILCH_MODEL
_Static_assert(sizeof(struct waitgroup) == sizeof(filch_waitgroup), "it is the private words");
_Static_assert(_Alignof(struct waitgroup) <= _Alignof(filch_waitgroup), "it is the private words");
#endif

static struct waitgroup *waitgroup_of(filch_waitgroup *group)
{
    return (struct waitgroup *)(void *)group;
}

static bool is_over(uint64_t state)
{
    return state < ONE && (!(state & UNTIL_CLOSED) || state & CLOSED);
}

/* Return: the state without WAITERS; nobody else changes it until unlock_thaw(). */
static uint64_t lock_freeze(struct waitgroup *g)
{
    filch_spinlock_lock(&g->lock);
    filch__wait_list_ready(&g->waiters);
    return filch_fetch_or_acq_rel(&g->state, WAITERS) & ~(uint64_t)WAITERS; /* [done] */
}

static void unlock_thaw(struct waitgroup *g, uint64_t state)
{
    if (!filch__list_is_empty(&g->waiters))
        state |= WAITERS;
    filch_store_relaxed(&g->state, state); /* whoever takes over from it has the lock */
    filch_spinlock_unlock(&g->lock);
}

/* [over] */
static void unlock_serve(struct waitgroup *g, uint64_t state)
{
    struct filch__woken woken = {0};

    if (is_over(state))
        filch__woken_add_all(&woken, &g->waiters);
    unlock_thaw(g, state);
    filch__woken_wake(&woken, 0);
}

/* Return: false: somebody has taken it out before. */
static bool leave(struct waitgroup *g, struct filch__waiter *waiter)
{
    uint64_t state = lock_freeze(g);
    bool waited = !filch__waiter_was_taken(waiter);

    if (waited)
        filch__list_remove(&waiter->link);
    unlock_thaw(g, state);
    return waited;
}

/* What add() makes of a state. Return: 0 or an error. */
static int add_to(uint64_t *state, uint64_t n)
{
    if (*state & CLOSED)
        return -EPIPE;
    if (n > FILCH_WAITGROUP_MAX - *state / ONE)
        return -EOVERFLOW;
    *state += n * ONE;
    return 0;
}

static int take_from(uint64_t *state)
{
    if (*state < ONE) {
        filch__log(NULL, FILCH_LOG_ERROR, "a wait group, or a gate: more are done than were added");
        return -EINVAL;
    }
    *state -= ONE;
    return 0;
}

int filch_waitgroup_init(filch_waitgroup *group, unsigned flags)
{
    if (!group || flags & ~(unsigned)FILCH_WAITGROUP_UNTIL_CLOSED)
        return -EINVAL;
    filch_atomic_init(&waitgroup_of(group)->state, flags ? UNTIL_CLOSED : 0);
    filch_spinlock_init(&waitgroup_of(group)->lock);
    filch__list_init(&waitgroup_of(group)->waiters);
    return 0;
}

void filch_waitgroup_fini(filch_waitgroup *group)
{
    if (group)
        filch_assert(!(filch_load_relaxed(&waitgroup_of(group)->state) & WAITERS));
}

int filch_waitgroup_add(filch_waitgroup *group, uint64_t n)
{
    struct waitgroup *g = waitgroup_of(group);
    uint64_t state;
    int r;

    if (!group)
        return -EINVAL;
    state = filch_load_relaxed(&g->state); /* the swap decides */
    while (!(state & WAITERS)) {
        uint64_t more = state;

        r = add_to(&more, n);
        /* Relaxed: it publishes nothing, and what done() has published stays so. */
        if (r < 0 || filch_cas_weak_relaxed(&g->state, &state, more))
            return r;
    }
    state = lock_freeze(g);
    r = add_to(&state, n);
    unlock_thaw(g, state);
    return r;
}

int filch_waitgroup_done(filch_waitgroup *group)
{
    struct waitgroup *g = waitgroup_of(group);
    uint64_t state;
    int r;

    if (!group)
        return -EINVAL;
    state = filch_load_relaxed(&g->state); /* the swap decides */
    while (!(state & WAITERS)) {
        uint64_t less = state;

        r = take_from(&less);
        if (r < 0 || filch_cas_weak_acq_rel(&g->state, &state, less)) /* [done] [frame-goes] */
            return r;
    }
    state = lock_freeze(g);
    r = take_from(&state);
    unlock_serve(g, state);
    return r;
}

int filch_waitgroup_close(filch_waitgroup *group)
{
    if (!group)
        return -EINVAL;
    unlock_serve(waitgroup_of(group), lock_freeze(waitgroup_of(group)) | CLOSED);
    return 0;
}

int filch_waitgroup_wait(filch_waitgroup *group, filch_time until)
{
    struct waitgroup *g = waitgroup_of(group);
    struct filch__waiter waiter;
    uint64_t state;
    bool over;
    int r;

    if (!group)
        return -EINVAL;
    state = lock_freeze(g); /* [frame-goes] */
    over = is_over(state);
    if (over || until == FILCH_NOW) {
        unlock_thaw(g, state);
        if (!over)
            return filch__wait_give_up();
        filch__coop_inline();
        return 0;
    }
    filch__waiter_init(&waiter, FILCH_WAIT_WAITGROUP);
    filch__list_push_back(&g->waiters, &waiter.link);
    unlock_thaw(g, state);
    r = filch__waiter_wait(&waiter, until);
    if (r < 0) {
        if (leave(g, &waiter))
            return r;
        filch__waiter_wait_shielded(&waiter);
    }
    return 0;
}

uint64_t filch_waitgroup_count(filch_waitgroup *group)
{
    /* Relaxed: out of date when it is returned in any case. */
    return group ? filch_load_relaxed(&waitgroup_of(group)->state) / ONE : 0;
}

/* ---- in a select ---- */

static enum filch__enlist waitgroup_case(filch_case *c, struct filch__waiter *self)
{
    struct waitgroup *g = c->object;
    uint64_t state = lock_freeze(g);
    enum filch__enlist done = FILCH__ENLIST_WAITS;

    c->result = 0;
    if (is_over(state))
        done = filch__wait_claim_self(self) ? FILCH__ENLIST_TAKEN : FILCH__ENLIST_LOST;
    else if (self)
        filch__list_push_back(&g->waiters, &self->link);
    unlock_thaw(g, state);
    return done;
}

static bool waitgroup_try(filch_case *c)
{
    return waitgroup_case(c, NULL) == FILCH__ENLIST_TAKEN;
}

static void waitgroup_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    if (!won)
        (void)leave(c->object, waiter);
}

static const struct filch__case_ops waitgroup_ops = {
    .try_now = waitgroup_try,
    .enlist = waitgroup_case,
    .delist = waitgroup_delist,
    .reason = FILCH_WAIT_WAITGROUP,
};

filch_case filch_case_waitgroup(filch_waitgroup *group)
{
    return (filch_case){.ops = group ? &waitgroup_ops : NULL, .object = group};
}

/* ---- gates ---- */

void filch_gate_init(filch_gate *gate)
{
    if (gate)
        (void)filch_waitgroup_init(&gate->group, FILCH_WAITGROUP_UNTIL_CLOSED);
}

void filch_gate_fini(filch_gate *gate)
{
    if (gate)
        filch_waitgroup_fini(&gate->group);
}

int filch_gate_enter(filch_gate *gate)
{
    return gate ? filch_waitgroup_add(&gate->group, 1) : -EINVAL;
}

int filch_gate_leave(filch_gate *gate)
{
    return gate ? filch_waitgroup_done(&gate->group) : -EINVAL;
}

int filch_gate_close(filch_gate *gate, filch_time until)
{
    if (!gate)
        return -EINVAL;
    (void)filch_waitgroup_close(&gate->group);
    return filch_waitgroup_wait(&gate->group, until);
}

bool filch_gate_is_closed(filch_gate *gate)
{
    return gate && filch_load_relaxed(&waitgroup_of(&gate->group)->state) & CLOSED;
}
