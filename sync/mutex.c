/* The mutex: one word for those who find it free, a list for those who wait.
 *
 * The word:
 *   LOCKED   somebody has it
 *   WAITERS  the list is not empty
 *   WOKEN    a waiter was taken out and woken to try, and has not yet been back
 *   HAND     the oldest waiter has waited for too long: the next unlock gives it the mutex
 *
 * LOCKED is set by who takes the mutex, with or without the spin lock, and cleared by who has it.
 *
 * The others change under the spin lock, but for WOKEN, which whoever was woken clears as it takes
 * the mutex.
 *
 *     lock     0 -> LOCKED, or LOCKED is set beside the others: overtaking
 *     unlock   LOCKED -> 0, also with WOKEN: somebody is on the way and will look
 *              with WAITERS, under the spin lock: the oldest waiter is taken out, and either
 *                it is woken to try:  LOCKED goes, WOKEN comes
 *                it is given the mutex (HAND, or a select):  LOCKED stays, HAND goes
 *
 * A waiter that was woken to try and has lost goes to the front of the list. If it has waited for
 * STARVED_NS by then it sets HAND. So a waiter is overtaken for that time, plus its own wake-up,
 * plus one holder; while a holder that locks and unlocks in a row goes on at full speed, and pays
 * for one wake at a time, as there is one WOKEN at a time.
 *
 * Invariants:
 *   [awake]    unlocked with a list that is not empty implies WOKEN: somebody is on the way. Who is
 *              on the way and gives up passes that on;
 *   [hand]     HAND implies LOCKED and WAITERS;
 *   [mutex-hand-over] unlock releases, lock acquires; for who is given it, by the waiter's wake;
 *   [last]     an unlock without the spin lock does not touch the mutex afterwards; one with it
 *              does, so that fini() takes the spin lock once.
 *
 * Read first: runtime/task/waiter.h; sync/owner.h for what builds with all asserts check.
 */
#include <filch/mutex.h>
#include <filch/time.h>

#include "runtime/base/assert.h"
#include "runtime/base/spinlock.h"
#include "sync/case.h"
#include "sync/lock_wait.h"

#define LOCKED 1u
#define WAITERS 2u
#define WOKEN 4u
#define HAND 8u

#define STARVED_NS FILCH_MILLISECOND

/* Looks at a taken mutex before waiting, with pauses of 2, 4, 8... spin hints between. */
#ifdef FILCH_MODEL
#define SPINS 0
#else
#define SPINS 6
#endif

struct mutex {
    filch_atomic_u32 word;
    filch_spinlock spin;
    struct filch__list waiters;
};

#ifndef FILCH_MODEL
_Static_assert(sizeof(struct mutex) == sizeof(filch_mutex), "the public struct is this one");
#endif

/* What a waiter that was taken out is told, in its `data`. */
static char told_try, told_yours;

static inline struct mutex *of(filch_mutex *mutex)
{
    return (struct mutex *)(void *)mutex;
}

static inline bool take_free(struct mutex *m)
{
    uint32_t word = 0;

    return filch_cas_acquire(&m->word, &word, LOCKED); /* [mutex-hand-over] */
}

/* Also past those who wait. @clear: WOKEN, by whoever was woken. */
static bool take_now(struct mutex *m, uint32_t clear)
{
    uint32_t word = filch_load_relaxed(&m->word);

    while (!(word & LOCKED))
        if (filch_cas_acquire(&m->word, &word, (word | LOCKED) & ~clear)) /* [mutex-hand-over] */
            return true;
    return false;
}

static bool look_often(struct mutex *m, uint32_t clear)
{
    for (int i = 0; i < SPINS; i++) {
        for (unsigned pause = 2u << i; pause > 0; pause--)
            filch_cpu_relax();
        if (take_now(m, clear))
            return true;
    }
    return false;
}

static bool take_soon(struct mutex *m, uint32_t clear)
{
    return take_now(m, clear) ||
           (filch__lock_look_pays() && filch__lock_looked(look_often(m, clear)));
}

/* ---- under the spin lock ---- */

static void lock_spin(struct mutex *m)
{
    filch_spinlock_lock(&m->spin);
    filch__lock_list_ready(&m->waiters);
}

/* WAITERS as the list is. */
static uint32_t list_bit(struct mutex *m)
{
    return filch__list_is_empty(&m->waiters) ? 0 : WAITERS;
}

/* Takes the mutex, or sets @set and clears @clear, which tells its holder. Return: taken? */
static bool take_or_tell(struct mutex *m, uint32_t set, uint32_t clear)
{
    uint32_t word = filch_load_relaxed(&m->word);

    for (;;) {
        bool is_free = !(word & LOCKED);
        uint32_t next = (is_free ? word | LOCKED : word | set) & ~clear;

        if (filch_cas_acquire(&m->word, &word, next)) /* [mutex-hand-over] */
            return is_free;
    }
}

/* Chooses who is next; the caller has the mutex and gives it up with this. Return: who is to be
 * woken after the unlock of the spin lock, or NULL. */
static struct filch__waiter *pass_on_locked(struct mutex *m)
{
    /* relaxed: nobody else changes it now. */
    uint32_t word = filch_load_relaxed(&m->word);
    struct filch__waiter *waiter;

    filch_assert_state(word & LOCKED);
    while ((waiter = filch__lock_front(&m->waiters))) {
        bool give = word & HAND || waiter->group;

        if (!give && word & WOKEN)
            break;
        filch__list_remove(&waiter->link);
        if (!filch__waiter_claim(waiter))
            continue;
        if (give) {
            waiter->data = &told_yours;
            filch__lock_granted(waiter);
            /* relaxed: who is given it acquires by its wake, and its own unlock releases. */
            filch_store_relaxed(&m->word, (word & WOKEN) | LOCKED | list_bit(m));
            return waiter;
        }
        waiter->data = &told_try;
        filch_store_release(&m->word, WOKEN | list_bit(m)); /* [mutex-hand-over] */
        return waiter;
    }
    filch_store_release(&m->word, (word & WOKEN) | list_bit(m)); /* [mutex-hand-over] */
    return NULL;
}

static void unlock_slow(struct mutex *m)
{
    struct filch__waiter *waiter;

    lock_spin(m);
    waiter = pass_on_locked(m);
    filch_spinlock_unlock(&m->spin); /* [last] */
    if (waiter)
        filch__waiter_wake(waiter);
}

static void unlock(struct mutex *m)
{
    uint32_t word = LOCKED;

    while (!filch_cas_release(&m->word, &word, word & ~LOCKED)) /* [mutex-hand-over] */
        if (word & WAITERS && (word & HAND || !(word & WOKEN))) {
            unlock_slow(m);
            return;
        }
}

/* ---- waiting ---- */

struct attempt {
    const void *place;
    filch_time until;
    bool shielded;
    bool woken; /* to try: WOKEN is ours to clear */
    filch_time since;
};

/* Out of the list, with the spin lock held, which it releases. What is left in the list is told to
 * nobody: [awake] does not depend on who has left. */
static void leave_unlock(struct mutex *m, struct filch__waiter *waiter)
{
    filch__list_remove(&waiter->link);
    if (filch__list_is_empty(&m->waiters)) {
        uint32_t word = filch_load_relaxed(&m->word);

        while (!filch_cas_relaxed(&m->word, &word, word & ~(WAITERS | HAND)))
            ;
    }
    filch_spinlock_unlock(&m->spin);
}

/* Woken to try, and not wanting it any more. */
static bool take_or_pass_on(struct mutex *m)
{
    bool taken;

    lock_spin(m);
    taken = take_or_tell(m, 0, WOKEN); /* [awake]: its holder will look, or we have it */
    filch_spinlock_unlock(&m->spin);
    return taken;
}

/* Return: the waiter is in the list; or the mutex was taken (1), or -EDEADLK. */
static int enlist(struct mutex *m, struct filch__lock_waiter *self, const struct attempt *attempt)
{
    bool starved = attempt->woken && filch_now() - attempt->since >= STARVED_NS;
    uint32_t clear = attempt->woken ? WOKEN : 0;
    int r = 0;

    self->is_noted = false;
    lock_spin(m);
    if (take_or_tell(m, WAITERS | (starved ? HAND : 0), clear)) {
        filch_spinlock_unlock(&m->spin);
        return 1;
    }
    if (attempt->woken)
        filch__list_push_front(&m->waiters, &self->waiter.link);
    else
        filch__list_push_back(&m->waiters, &self->waiter.link);
    if (attempt->until == FILCH_NEVER) {
        r = filch__owner_waits(&self->owner_wait, m, attempt->place);
        self->is_noted = r == 0;
    }
    if (r < 0)
        leave_unlock(m, &self->waiter);
    else
        filch_spinlock_unlock(&m->spin);
    return r;
}

/* Return: was it taken out of the list, rather than have left it? */
static bool wait_in_list(struct mutex *m, struct filch__waiter *waiter,
                         const struct attempt *attempt, int *ret_r)
{
    *ret_r = 0;
    if (attempt->shielded) {
        filch__waiter_wait_shielded(waiter);
        return true;
    }
    *ret_r = filch__waiter_wait(waiter, attempt->until);
    if (*ret_r == 0)
        return true;
    lock_spin(m);
    if (!filch__waiter_was_taken(waiter)) {
        leave_unlock(m, waiter);
        return false;
    }
    filch_spinlock_unlock(&m->spin);
    filch__waiter_wait_shielded(waiter);
    return true;
}

/* One stay in the list. Return: 1: the mutex is ours; 0: woken to try again; or an error. */
static int wait_once(struct mutex *m, struct attempt *attempt)
{
    struct filch__lock_waiter self;
    bool was_taken;
    int r;

    filch__waiter_init(&self.waiter, FILCH_WAIT_MUTEX);
    r = enlist(m, &self, attempt);
    if (r == -EDEADLK)
        filch__owner_report(&self.owner_wait, "mutex");
    if (r != 0)
        return r;
    was_taken = wait_in_list(m, &self.waiter, attempt, &r);
    if (self.is_noted)
        filch__owner_stops(&self.owner_wait);
    if (!was_taken)
        return r;
    if (self.waiter.data == &told_yours)
        return self.is_noted ? 2 : 1;
    attempt->woken = true;
    if (r < 0)
        return take_or_pass_on(m) ? 1 : r;
    return take_soon(m, WOKEN) ? 1 : 0;
}

__attribute__((noinline)) static int lock_slow(struct mutex *m, struct attempt attempt)
{
    int r;

    if (filch__owner_has(m)) {
        struct filch__owner_wait wait;

        if (filch__owner_waits(&wait, m, attempt.place) == -EDEADLK) {
            filch__owner_report(&wait, "mutex");
            return -EDEADLK;
        }
        filch__owner_stops(&wait);
    }
    if (take_soon(m, 0))
        goto taken;
    attempt.since = filch_now();
    do
        r = wait_once(m, &attempt);
    while (r == 0);
    if (r < 0)
        return r;
    if (r == 2)
        return 0; /* who gave it to us has noted it */
taken:
    filch__owner_took(m, attempt.place);
    return 0;
}

static inline int lock(struct mutex *m, filch_time until, bool shielded, const void *place)
{
    filch__coop_inline(); /* before: whoever yields with a lock holds up others */
    if (take_free(m)) {
        filch__owner_took(m, place);
        return 0;
    }
    if (until == FILCH_NOW) {
        if (!take_now(m, 0))
            return filch__lock_give_up();
        filch__owner_took(m, place);
        return 0;
    }
    return lock_slow(m, (struct attempt){.place = place, .until = until, .shielded = shielded});
}

/* ---- public ---- */

void filch_mutex_init(filch_mutex *mutex)
{
    if (!mutex)
        return;
    filch_atomic_init(&of(mutex)->word, 0);
    filch_spinlock_init(&of(mutex)->spin);
    filch__list_init(&of(mutex)->waiters);
}

void filch_mutex_fini(filch_mutex *mutex)
{
    uint32_t word;

    if (!mutex)
        return;
    lock_spin(of(mutex)); /* [last] */
    filch_assert(filch__list_is_empty(&of(mutex)->waiters) &&
                 "a mutex is ended that others wait for");
    word = filch_load_relaxed(&of(mutex)->word);
    filch_assert(word == 0 && "a mutex is ended that is locked");
    (void)word;
    filch_spinlock_unlock(&of(mutex)->spin);
}

int filch_mutex_lock(filch_mutex *mutex, filch_time until)
{
    return mutex ? lock(of(mutex), until, false, __builtin_return_address(0)) : -EINVAL;
}

int filch_mutex_lock_shielded(filch_mutex *mutex)
{
    return mutex ? lock(of(mutex), FILCH_NEVER, true, __builtin_return_address(0)) : -EINVAL;
}

filch_mutex *filch_mutex_guard(filch_mutex *mutex)
{
    int r = mutex ? lock(of(mutex), FILCH_NEVER, true, __builtin_return_address(0)) : -EINVAL;

    if (r < 0)
        filch__throw(r == -EDEADLK ? "FILCH_LOCKED() of a mutex in a deadlock"
                                   : "FILCH_LOCKED() of NULL");
    return mutex;
}

int filch_mutex_try_lock(filch_mutex *mutex)
{
    if (!mutex)
        return -EINVAL;
    if (!take_now(of(mutex), 0))
        return -EBUSY;
    filch__owner_took(of(mutex), __builtin_return_address(0));
    return 0;
}

int filch_mutex_unlock(filch_mutex *mutex)
{
    if (!mutex)
        return -EINVAL;
    /* relaxed: the caller's own, if it is right. */
    if (!(filch_load_relaxed(&of(mutex)->word) & LOCKED))
        return -EPERM;
    filch__owner_leaves(of(mutex));
    unlock(of(mutex));
    return 0;
}

/* ---- in a select ---- */

static bool case_try(filch_case *c)
{
    if (!take_now(c->object, 0))
        return false;
    filch__owner_took(c->object, __builtin_return_address(0));
    c->result = 0;
    return true;
}

static enum filch__enlist case_enlist(filch_case *c, struct filch__waiter *waiter)
{
    struct mutex *m = c->object;

    lock_spin(m);
    if (!take_or_tell(m, WAITERS, 0)) {
        filch__list_push_back(&m->waiters, &waiter->link);
        filch_spinlock_unlock(&m->spin);
        return FILCH__ENLIST_WAITS;
    }
    filch_spinlock_unlock(&m->spin);
    if (!filch__waiter_claim(waiter)) {
        unlock(m);
        return FILCH__ENLIST_LOST;
    }
    filch__owner_took(m, __builtin_return_address(0));
    c->result = 0;
    return FILCH__ENLIST_TAKEN;
}

static void case_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    struct mutex *m = c->object;

    if (won) {
        filch__owner_took(m, __builtin_return_address(0));
        c->result = 0;
        return;
    }
    lock_spin(m);
    if (!filch__waiter_was_taken(waiter))
        leave_unlock(m, waiter);
    else
        filch_spinlock_unlock(&m->spin);
}

static const struct filch__case_ops lock_ops = {
    .try_now = case_try,
    .enlist = case_enlist,
    .delist = case_delist,
    .reason = FILCH_WAIT_MUTEX,
};

filch_case filch_case_lock(filch_mutex *mutex)
{
    return (filch_case){.ops = mutex ? &lock_ops : NULL, .object = mutex};
}
