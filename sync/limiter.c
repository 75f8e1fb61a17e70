/* Rate limiters: a token bucket, and a line of those who wait for tokens.
 *
 * Tokens come by themselves, so somebody must wait for the clock: the first one in line does, until
 * the time that its tokens are there, and all others wait for those before them.
 *
 *     first in line, its time has come: takes its tokens, hands those that are left to the next
 *     ones, and calls the one that is first then.
 *
 * A call is a wake with the outcome CALLED: the waiter is taken out, comes to the lock, and goes to
 * the front of the line again, with the time that is right now. `called` is set meanwhile, and says
 * that the first place belongs to somebody: nobody overtakes.
 *
 * Invariants, true whenever the lock is free:
 *   [clock]  somebody waits => the first in line waits with the time of its tokens, or `called`;
 *   [line]   the tokens of who waits are not taken before it goes: one who gives up has nothing to
 *            give back, and those behind it are simply earlier.
 *
 * A waiter's `data` points to how many it asks for; when it was woken it is the outcome.
 * The arithmetic is in bucket.h.
 */
#include <filch/limiter.h>
#include <filch/time.h>

#include "runtime/base/assert.h"
#include "sync/bucket.h"
#include "sync/wait_list.h"

#define CALLED 1

struct limiter {
    filch_spinlock lock; /* guards the rest */
    uint32_t called;
    struct filch__bucket bucket;
    uint64_t wanted; /* by all that wait */
    struct filch__list waiters;
};

#ifndef FILCH_MODEL /* whose lock is larger */
_Static_assert(sizeof(struct limiter) <= sizeof(filch_limiter), "it is the private words");
_Static_assert(_Alignof(struct limiter) <= _Alignof(filch_limiter), "it is the private words");
#endif

static struct limiter *limiter_of(filch_limiter *limiter)
{
    return (struct limiter *)(void *)limiter;
}

static uint64_t wish_of(const struct filch__waiter *waiter)
{
    return *(const uint32_t *)waiter->data;
}

static bool nobody_waits(const struct limiter *l)
{
    return !l->called && filch__list_is_empty(&l->waiters);
}

/* Nobody waits. */
static bool take_locked(struct limiter *l, uint32_t n)
{
    filch__bucket_advance(&l->bucket, filch_now());
    return filch__bucket_take(&l->bucket, n);
}

/* From the front as far as the tokens go. */
static void serve_locked(struct limiter *l, filch_time now, struct filch__woken *woken)
{
    struct filch__waiter *waiter;

    while (!l->called && (waiter = filch__wait_list_first(&l->waiters))) {
        uint64_t n = wish_of(waiter);

        if (!filch__bucket_take_due(&l->bucket, n, now))
            return;
        l->wanted -= n;
        filch__list_remove(&waiter->link);
        filch__woken_add(woken, waiter);
    }
}

/* Takes out the first one, to be woken with CALLED, unless one was called already; or NULL. */
static struct filch__waiter *call_locked(struct limiter *l)
{
    struct filch__waiter *call = l->called ? NULL : filch__wait_list_pop(&l->waiters);

    if (call)
        l->called = 1;
    return call;
}

static void unlock_wake(struct limiter *l, struct filch__woken *woken, struct filch__waiter *call)
{
    filch_spinlock_unlock(&l->lock);
    filch__woken_wake(woken, 0);
    if (call)
        filch__waiter_wake_with(call, CALLED);
}

/* [clock] The first in line has gone. Gives the lock back. */
static void serve_unlock(struct limiter *l, filch_time now)
{
    struct filch__woken woken = {0};

    serve_locked(l, now, &woken);
    unlock_wake(l, &woken, call_locked(l));
}

/* What became of a wait, with the lock held on entry; it is free on return.
 * Return: CALLED: to be done again, at the front. */
static int wait_once_unlock(struct limiter *l, uint32_t *n, bool at_front, filch_time until)
{
    struct filch__waiter waiter;
    bool first;
    int r;

    filch__waiter_init(&waiter, FILCH_WAIT_LIMITER);
    waiter.data = n;
    first = at_front || nobody_waits(l);
    if (first) {
        filch_time when = filch__bucket_when(&l->bucket, *n);

        l->called = 0;
        filch__list_push_front(&l->waiters, &waiter.link);
        filch_spinlock_unlock(&l->lock);
        r = filch__waiter_wait(&waiter, when < until ? when : until);
    } else {
        filch__list_push_back(&l->waiters, &waiter.link);
        filch_spinlock_unlock(&l->lock);
        r = filch__waiter_wait(&waiter, until);
    }
    if (r == 0)
        return filch__waiter_outcome(&waiter);
    filch_spinlock_lock(&l->lock);
    if (filch__waiter_was_taken(&waiter)) {
        filch_spinlock_unlock(&l->lock);
        filch__waiter_wait_shielded(&waiter);
        return filch__waiter_outcome(&waiter);
    }
    filch__list_remove(&waiter.link);
    if (first && r == -ETIMEDOUT) {
        /* The clock of the line has come to here, if not to the end of the caller's patience. */
        l->called = 1;
        filch_spinlock_unlock(&l->lock);
        return CALLED;
    }
    l->wanted -= *n;
    if (first)
        serve_unlock(l, filch_now());
    else
        filch_spinlock_unlock(&l->lock);
    return r;
}

/* The caller is at the front, and `called` holds its place: may it go, or must it give up? */
static int look_at_front_unlock(struct limiter *l, uint32_t n, filch_time until)
{
    filch_time now = filch_now();
    bool there = filch__bucket_take_due(&l->bucket, n, now);

    if (!there && until > now)
        return CALLED; /* with the lock */
    l->called = 0;
    l->wanted -= n;
    serve_unlock(l, now);
    return there ? 0 : -ETIMEDOUT;
}

int filch_limiter_init(filch_limiter *limiter, uint64_t permits, filch_time period_ns,
                       uint32_t burst)
{
    struct limiter *l = limiter_of(limiter);

    if (!limiter || permits == 0 || period_ns == 0 || burst == 0)
        return -EINVAL;
    filch_spinlock_init(&l->lock);
    l->called = 0;
    l->wanted = 0;
    filch__bucket_init(&l->bucket, permits, period_ns, burst, filch_now());
    filch__list_init(&l->waiters);
    return 0;
}

void filch_limiter_fini(filch_limiter *limiter)
{
    if (limiter)
        filch_assert(limiter_of(limiter)->wanted == 0);
}

static bool is_valid(filch_limiter *limiter, uint32_t n)
{
    return limiter && n > 0 && n <= limiter_of(limiter)->bucket.burst;
}

int filch_limiter_acquire(filch_limiter *limiter, uint32_t n, filch_time until)
{
    struct limiter *l = limiter_of(limiter);
    int r;

    if (!is_valid(limiter, n))
        return -EINVAL;
    filch__coop_inline();
    filch_spinlock_lock(&l->lock);
    if (nobody_waits(l) && take_locked(l, n)) {
        filch_spinlock_unlock(&l->lock);
        return 0;
    }
    if (until == FILCH_NOW) {
        filch_spinlock_unlock(&l->lock);
        return filch__wait_give_up();
    }
    l->wanted += n;
    r = wait_once_unlock(l, &n, false, until);
    while (r == CALLED) {
        filch_spinlock_lock(&l->lock);
        r = look_at_front_unlock(l, n, until);
        if (r == CALLED)
            r = wait_once_unlock(l, &n, true, until);
    }
    return r;
}

int filch_limiter_try_acquire(filch_limiter *limiter, uint32_t n)
{
    struct limiter *l = limiter_of(limiter);
    bool taken;

    if (!is_valid(limiter, n))
        return -EINVAL;
    filch_spinlock_lock(&l->lock);
    taken = nobody_waits(l) && take_locked(l, n);
    filch_spinlock_unlock(&l->lock);
    return taken ? 0 : -EAGAIN;
}

filch_time filch_limiter_delay(filch_limiter *limiter, uint32_t n)
{
    struct limiter *l = limiter_of(limiter);
    filch_time now = filch_now();
    filch_time when;

    if (!is_valid(limiter, n))
        return FILCH_NEVER;
    filch_spinlock_lock(&l->lock);
    if (nobody_waits(l))
        filch__bucket_advance(&l->bucket, now);
    when = filch__bucket_when(&l->bucket, l->wanted + n);
    filch_spinlock_unlock(&l->lock);
    if (when == FILCH_NEVER)
        return FILCH_NEVER;
    return when > now ? when - now : 0;
}

/* The first in line is called: its time is another one now. */
int filch_limiter_set_rate(filch_limiter *limiter, uint64_t permits, filch_time period_ns)
{
    struct limiter *l = limiter_of(limiter);
    struct filch__woken woken = {0};
    filch_time now;

    if (!limiter || permits == 0 || period_ns == 0)
        return -EINVAL;
    filch_spinlock_lock(&l->lock);
    now = filch_now();
    serve_locked(l, now, &woken);
    filch__bucket_advance(&l->bucket, now);
    filch__bucket_set_rate(&l->bucket, permits, period_ns);
    unlock_wake(l, &woken, call_locked(l));
    return 0;
}
