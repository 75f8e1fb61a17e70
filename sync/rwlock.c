/* The read/write lock: one word for those who can have it at once, a list for those who wait.
 *
 * The word: WRITER, WAITERS (the list is not empty), and the number of readers above.
 *
 *     read     readers + 1, while neither WRITER nor WAITERS       one compare-and-swap
 *     write    0 -> WRITER
 *     unlock   readers - 1, or WRITER -> 0; with WAITERS, who has left nobody behind grants
 *
 * Grant, under the spin lock: from the front of the list, a writer if the lock is free, readers as
 * long as nobody writes; each is taken out, claimed, and has the lock before it is woken. It is
 * also done when a waiter leaves the list, as those behind it may be able to go then.
 *
 * But a share that is given to a task which does not run yet holds up the next writer until it
 * does, and then one holds up the other for ever after: each access became a switch (a fifth of the
 * speed, measured with four tasks on two workers and a write in 64). So when all who wait are
 * readers, they are taken out and woken to try, and own nothing until they run. Who has lost to
 * a writer by then goes to the front of the list, and after STARVED_NS it insists: it is given its
 * share. A writer is always given the lock: those who read beside it would not let it in.
 *
 * Who waits is in the list before it spins, since a reader would not leave a gap for a writer that
 * is not.
 *
 * Invariants:
 *   [queue]    WAITERS is set and cleared under the spin lock; while it is set, the lock is taken
 *              there only, so nobody overtakes, but a reader that was in the list before those who
 *              are;
 *   [no-stall] WAITERS is set only with WRITER or readers in the same word: so whoever leaves last
 *              sees it, and grants. With the spin lock free the front of the list cannot go;
 *   [rw-hand-over] unlock releases, lock acquires; a grant acquires on behalf of those it wakes.
 *   [last]     as in mutex.c: fini() takes the spin lock.
 *
 * Read first: sync/mutex.c, which is simpler in its list and harder in its word.
 */
#include <filch/rwlock.h>
#include <filch/time.h>

#include "runtime/base/assert.h"
#include "runtime/base/spinlock.h"
#include "sync/case.h"
#include "sync/lock_wait.h"

#define WRITER 1u
#define WAITERS 2u
#define READER 4u
#define READERS (~3u)

#define STARVED_NS FILCH_MILLISECOND

/* Looks at a taken lock before a reader goes into the list, with pauses of 2, 4, 8... spin hints
 * between; and spin hints in the list before it suspends. */
#ifdef FILCH_MODEL
#define SPINS 0
#define LIST_SPINS 0
#else
#define SPINS 5
#define LIST_SPINS 64
#endif

struct rwlock {
    filch_atomic_u32 word;
    filch_spinlock spin;
    struct filch__list waiters;
};

#ifndef FILCH_MODEL
_Static_assert(sizeof(struct rwlock) == sizeof(filch_rwlock), "the public struct is this one");
#endif

/* What a waiter wants, in its `data`, as long as it is in the list. */
static char wants_read, wants_write;
static char insists_on_read; /* and has tried for too long */
/* What one that was taken out finds there: woken to try. Else it has the lock. */
static char told_try;

static inline struct rwlock *of(filch_rwlock *lock)
{
    return (struct rwlock *)(void *)lock;
}

/* What must not be in the word for @want, and what it adds. */
static inline uint32_t obstacle(const char *want)
{
    return want == &wants_write ? WRITER | READERS : WRITER;
}

static inline uint32_t share(const char *want)
{
    return want == &wants_write ? WRITER : READER;
}

/* Takes it unless @obstacles are in the word. Which is fetched to be written at once: read first,
 * it would come from the other core twice (5 % of rwlock_4). */
static inline bool take(struct rwlock *l, const char *want, uint32_t obstacles)
{
    uint32_t word;

    __builtin_prefetch(&l->word, 1);
    word = filch_load_relaxed(&l->word);
    while (!(word & obstacles))
        if (filch_cas_acquire(&l->word, &word, word + share(want))) /* [rw-hand-over] */
            return true;
    return false;
}

static inline bool take_now(struct rwlock *l, const char *want)
{
    return take(l, want, obstacle(want) | WAITERS); /* [queue] */
}

static bool look_often(struct rwlock *l, const char *want)
{
    for (int i = 0; i < SPINS; i++) {
        for (unsigned pause = 2u << i; pause > 0; pause--)
            filch_cpu_relax();
        if (take_now(l, want))
            return true;
    }
    return false;
}

static bool take_soon(struct rwlock *l, const char *want)
{
    return filch__lock_look_pays() && filch__lock_looked(look_often(l, want));
}

static void lock_spin(struct rwlock *l)
{
    filch_spinlock_lock(&l->spin);
    filch__lock_list_ready(&l->waiters);
}

/* Are there none but readers, who could take it themselves? */
static bool all_may_try(const struct rwlock *l)
{
    if (filch_load_relaxed(&l->word) & WRITER) /* only the caller, or who leaves by the spin lock */
        return false;
    for (const struct filch__list *link = l->waiters.next; link != &l->waiters; link = link->next) {
        const struct filch__waiter *waiter =
            filch_container_of(link, const struct filch__waiter, link);

        if (waiter->data != &wants_read || waiter->group)
            return false;
    }
    return true;
}

/* Takes all out, to try. */
static void dismiss_locked(struct rwlock *l, struct filch__lock_woken *woken)
{
    struct filch__waiter *waiter;

    while ((waiter = filch__lock_front(&l->waiters))) {
        filch__list_remove(&waiter->link);
        filch__lock_dismissed(waiter);
        filch__lock_woken_add(woken, waiter);
    }
}

/* Gives it to those in front who can have it; they are put into @woken. */
static void give_locked(struct rwlock *l, struct filch__lock_woken *woken)
{
    struct filch__waiter *waiter;

    while ((waiter = filch__lock_front(&l->waiters))) {
        const char *want = waiter->data;

        if (!take(l, want, obstacle(want)))
            break;
        filch__list_remove(&waiter->link);
        if (filch__waiter_claim(waiter)) {
            filch__lock_granted(waiter);
            filch__lock_woken_add(woken, waiter);
        } else {
            /* As if it had never been taken: relaxed, as nothing was done with it. */
            filch_fetch_sub_relaxed(&l->word, share(want));
        }
    }
}

static void grant_unlock(struct rwlock *l)
{
    struct filch__lock_woken woken = {NULL, NULL};
    bool try = all_may_try(l);

    if (try)
        dismiss_locked(l, &woken);
    else
        give_locked(l, &woken);
    if (filch__list_is_empty(&l->waiters) && filch_load_relaxed(&l->word) & WAITERS)
        filch_fetch_sub_relaxed(&l->word, WAITERS); /* [queue] */
    filch_spinlock_unlock(&l->spin);                /* [last] */
    filch__lock_wake_all(&woken, try ? &told_try : NULL);
}

/* Gives up what the caller has, @mine. @word: as it was lately. */
static void leave(struct rwlock *l, uint32_t mine, uint32_t word)
{

    while (!(word & WAITERS))
        if (filch_cas_release(&l->word, &word, word - mine)) /* [rw-hand-over] */
            return;
    /* Under the spin lock, so that the lock's memory stays until the grant is done: with WAITERS
     * nobody else takes it meanwhile, but those who wait may be many. */
    lock_spin(l);
    filch_fetch_sub_release(&l->word, mine); /* [rw-hand-over] */
    grant_unlock(l);
}

/* Takes it, or joins the list: which sets WAITERS beside an obstacle [no-stall]. Not @at_end: it
 * was in the list before, so it waits for nobody there. */
static bool take_or_enlist(struct rwlock *l, struct filch__waiter *waiter, bool at_end)
{
    uint32_t word = filch_load_relaxed(&l->word);

    for (;;) {
        bool can = !(word & (obstacle(waiter->data) | (at_end ? WAITERS : 0)));

        if (filch_cas_acquire(&l->word, &word, /* [rw-hand-over] */
                              can ? word + share(waiter->data) : word | WAITERS)) {
            if (can)
                return true;
            if (at_end)
                filch__list_push_back(&l->waiters, &waiter->link);
            else
                filch__list_push_front(&l->waiters, &waiter->link);
            return false;
        }
    }
}

/* With the spin lock held, which it releases. */
static void delist_unlock(struct rwlock *l, struct filch__waiter *waiter)
{
    filch__list_remove(&waiter->link);
    grant_unlock(l);
}

static void look_in_list(const struct filch__waiter *waiter)
{
    if (!filch__lock_look_pays())
        return;
    for (int i = 0; i < LIST_SPINS && !filch_load_relaxed(&waiter->woken); i++)
        filch_cpu_relax();
    (void)filch__lock_looked(filch_load_relaxed(&waiter->woken));
}

/* After enlisting. Return: 0: it was taken out, and finds in its `data` what for; or an error. */
static int wait_in_list(struct rwlock *l, struct filch__waiter *waiter, filch_time until)
{
    int r;

    look_in_list(waiter);
    r = filch__waiter_wait(waiter, until);
    if (r == 0)
        return 0;
    lock_spin(l);
    if (!filch__waiter_was_taken(waiter)) {
        delist_unlock(l, waiter);
        return r;
    }
    filch_spinlock_unlock(&l->spin);
    filch__waiter_wait_shielded(waiter);
    return waiter->data == &told_try ? r : 0;
}

struct attempt {
    const char *want;
    filch_time until;
    const void *place;
    bool woken; /* to try, at least once */
    filch_time since;
};

/* Return: 1: we have it; 0: it is in the list; or an error. */
static int enlist(struct rwlock *l, struct filch__lock_waiter *self, const struct attempt *attempt)
{
    bool starved = attempt->woken && filch_now() - attempt->since >= STARVED_NS;
    int r = 0;

    self->waiter.data = starved ? &insists_on_read : (void *)(uintptr_t)attempt->want;
    self->is_noted = false;
    lock_spin(l);
    if (take_or_enlist(l, &self->waiter, !attempt->woken)) {
        filch_spinlock_unlock(&l->spin);
        return 1;
    }
    if (attempt->until == FILCH_NEVER || filch__owner_has(l)) {
        r = filch__owner_waits(&self->owner_wait, l, attempt->place);
        self->is_noted = r == 0;
    }
    if (r < 0)
        delist_unlock(l, &self->waiter);
    else
        filch_spinlock_unlock(&l->spin);
    return r;
}

/* One stay in the list. Return: 2: we have it, and who gave it has noted that; 1: we have it;
 * 0: woken to try; or an error. */
static int wait_once(struct rwlock *l, struct attempt *attempt)
{
    struct filch__lock_waiter self;
    int r;

    filch__waiter_init(&self.waiter, FILCH_WAIT_RWLOCK);
    r = enlist(l, &self, attempt);
    if (r == -EDEADLK)
        filch__owner_report(&self.owner_wait, "read/write lock");
    if (r != 0)
        return r;
    r = wait_in_list(l, &self.waiter, attempt->until);
    if (self.is_noted)
        filch__owner_stops(&self.owner_wait);
    if (r < 0)
        return r;
    if (self.waiter.data != &told_try)
        return self.is_noted ? 2 : 1;
    attempt->woken = true;
    return take_soon(l, attempt->want) ? 1 : 0;
}

__attribute__((noinline)) static int lock_slow(struct rwlock *l, struct attempt attempt)
{
    int r = attempt.want == &wants_read && take_soon(l, attempt.want);

    if (r == 0)
        attempt.since = filch_now();
    while (r == 0)
        r = wait_once(l, &attempt);
    if (r == 1)
        filch__owner_took(l, attempt.place);
    return r < 0 ? r : 0;
}

static inline int lock(struct rwlock *l, const char *want, filch_time until, const void *place)
{
    filch__coop_inline();
    if (take_now(l, want)) {
        filch__owner_took(l, place);
        return 0;
    }
    if (until == FILCH_NOW)
        return filch__lock_give_up();
    return lock_slow(l, (struct attempt){.want = want, .until = until, .place = place});
}

/* ---- public ---- */

void filch_rwlock_init(filch_rwlock *lock)
{
    if (!lock)
        return;
    filch_atomic_init(&of(lock)->word, 0);
    filch_spinlock_init(&of(lock)->spin);
    filch__list_init(&of(lock)->waiters);
}

void filch_rwlock_fini(filch_rwlock *lock)
{
    uint32_t word;

    if (!lock)
        return;
    lock_spin(of(lock)); /* [last] */
    filch_assert(filch__list_is_empty(&of(lock)->waiters) &&
                 "a lock is ended that others wait for");
    word = filch_load_relaxed(&of(lock)->word);
    filch_assert(word == 0 && "a lock is ended that is locked");
    (void)word;
    filch_spinlock_unlock(&of(lock)->spin);
}

int filch_rwlock_read(filch_rwlock *rwlock, filch_time until)
{
    return rwlock ? lock(of(rwlock), &wants_read, until, __builtin_return_address(0)) : -EINVAL;
}

int filch_rwlock_write(filch_rwlock *rwlock, filch_time until)
{
    return rwlock ? lock(of(rwlock), &wants_write, until, __builtin_return_address(0)) : -EINVAL;
}

int filch_rwlock_try_read(filch_rwlock *lock)
{
    if (!lock)
        return -EINVAL;
    if (!take_now(of(lock), &wants_read))
        return -EBUSY;
    filch__owner_took(of(lock), __builtin_return_address(0));
    return 0;
}

int filch_rwlock_try_write(filch_rwlock *lock)
{
    if (!lock)
        return -EINVAL;
    if (!take_now(of(lock), &wants_write))
        return -EBUSY;
    filch__owner_took(of(lock), __builtin_return_address(0));
    return 0;
}

int filch_rwlock_unlock(filch_rwlock *lock)
{
    uint32_t word;

    if (!lock)
        return -EINVAL;
    __builtin_prefetch(&of(lock)->word, 1);
    word = filch_load_relaxed(&of(lock)->word); /* relaxed: the caller's share is in it */
    if (!(word & (WRITER | READERS)))
        return -EPERM;
    filch__owner_leaves(of(lock));
    leave(of(lock), word & WRITER ? WRITER : READER, word);
    return 0;
}

int filch_rwlock_downgrade(filch_rwlock *lock)
{
    struct rwlock *l = of(lock);

    if (!lock)
        return -EINVAL;
    if (!(filch_load_relaxed(&l->word) & WRITER)) /* relaxed: the caller's own */
        return -EPERM;
    lock_spin(l);
    filch_fetch_add_release(&l->word, READER - WRITER); /* [rw-hand-over] */
    grant_unlock(l);
    return 0;
}

/* ---- in a select ---- */

static bool case_try(filch_case *c)
{
    if (!take_now(c->object, c->data))
        return false;
    filch__owner_took(c->object, __builtin_return_address(0));
    c->result = 0;
    return true;
}

static enum filch__enlist case_enlist(filch_case *c, struct filch__waiter *waiter)
{
    struct rwlock *l = c->object;

    waiter->data = c->data;
    lock_spin(l);
    if (!take_or_enlist(l, waiter, true)) {
        filch_spinlock_unlock(&l->spin);
        return FILCH__ENLIST_WAITS;
    }
    filch_spinlock_unlock(&l->spin);
    if (!filch__waiter_claim(waiter)) {
        leave(l, share(c->data), share(c->data));
        return FILCH__ENLIST_LOST;
    }
    filch__owner_took(l, __builtin_return_address(0));
    c->result = 0;
    return FILCH__ENLIST_TAKEN;
}

static void case_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    struct rwlock *l = c->object;

    if (won) {
        filch__owner_took(l, __builtin_return_address(0));
        c->result = 0;
        return;
    }
    lock_spin(l);
    if (!filch__waiter_was_taken(waiter))
        delist_unlock(l, waiter);
    else
        filch_spinlock_unlock(&l->spin);
}

static const struct filch__case_ops rwlock_ops = {
    .try_now = case_try,
    .enlist = case_enlist,
    .delist = case_delist,
    .reason = FILCH_WAIT_RWLOCK,
};

filch_case filch_case_read_lock(filch_rwlock *lock)
{
    return (filch_case){.ops = lock ? &rwlock_ops : NULL, .object = lock, .data = &wants_read};
}

filch_case filch_case_write_lock(filch_rwlock *lock)
{
    return (filch_case){.ops = lock ? &rwlock_ops : NULL, .object = lock, .data = &wants_write};
}
