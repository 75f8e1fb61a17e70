/* The threads of the blocking pool; private to it. */
#ifndef FILCH_BLOCKING_BLOCKING_THREAD_H
#define FILCH_BLOCKING_BLOCKING_THREAD_H

#include "runtime/blocking/blocking_pool.h"

/* Spins in vain, one after the other, before threads park without. */
#define FILCH__BLOCKING_SPIN_SCORE 8

/* Allocated by who creates the thread, freed by who joins it. Guarded by the lock, but for `wake`.
 */
struct filch__blocking_thread {
    struct filch__blocking_pool *pool;
    struct filch__list link; /* in pool->idle while parked */
    pthread_t id;            /* set by the thread itself */
    filch_time nap_ns;
    /* When it was called, or judged last, and what had been taken until then. */
    filch_time mark_time;
    uint64_t mark_taken;
    /* Futex: 0 sleeps, 1 was called. What it wakes up to is under the lock. */
    filch_atomic_u32 wake;
};

/* Threads to be woken and created once the lock is free. */
struct filch__blocking_calls {
    struct filch__blocking_thread *wake[2];
    unsigned wakes;
    unsigned creates;
};

void *filch__blocking_thread_main(void *thread);

/* Finds one more thread to look, if that can be done; the lock is held. */
void filch__blocking_call_locked(struct filch__blocking_pool *pool,
                                 struct filch__blocking_calls *calls);

/* Wakes and creates them; the lock is free. */
void filch__blocking_make_calls(struct filch__blocking_pool *pool,
                                struct filch__blocking_calls *calls);

/* Notes what has been taken until now. */
void filch__blocking_mark_locked(struct filch__blocking_thread *thread, filch_time now);

static inline void filch__blocking_lock(struct filch__blocking_pool *pool)
{
    filch_spinlock_lock(&pool->jobs.lock);
}

static inline void filch__blocking_unlock(struct filch__blocking_pool *pool)
{
    filch_spinlock_unlock(&pool->jobs.lock);
}

#endif
