/* A one-word lock for sections of a few dozen instructions that never suspend, allocate or enter
 * the kernel.
 *
 * Test-and-test-and-set; after a bounded spin the waiter yields its time slice, because on a
 * machine with few cores the holder may be off the CPU. In model builds it is a blocking lock of
 * the explorer, so that waiting costs no schedules.
 */
#ifndef FILCH_BASE_SPINLOCK_H
#define FILCH_BASE_SPINLOCK_H

#include "runtime/base/atomic.h"

#if defined(FILCH_MODEL) && !defined(FILCH_MODEL_SPINLOCK)
/* filch_spinlock and its functions come from the explorer; tests/model/model_spinlock.c is about
 * those here. */
#else

typedef struct {
    /* 0 free, 1 held. [lock-hand-over] release in unlock() -> acquire in lock(): the next holder
     * sees the section. */
    filch_atomic_u32 held;
} filch_spinlock;

void filch__spinlock_wait(filch_spinlock *lock);

static inline void filch_spinlock_init(filch_spinlock *lock)
{
    filch_atomic_init(&lock->held, 0);
}

static inline bool filch_spinlock_try(filch_spinlock *lock)
{
    return filch_load_relaxed(&lock->held) == 0 && filch_exchange_acquire(&lock->held, 1) == 0;
}

/* Without a look first, for a lock that is expected to be free. */
static inline bool filch_spinlock_try_free(filch_spinlock *lock)
{
    return filch_exchange_acquire(&lock->held, 1) == 0;
}

static inline void filch_spinlock_lock(filch_spinlock *lock)
{
    while (filch_exchange_acquire(&lock->held, 1) != 0)
        filch__spinlock_wait(lock);
}

static inline void filch_spinlock_unlock(filch_spinlock *lock)
{
    filch_store_release(&lock->held, 0); /* [lock-hand-over] */
}

#endif
#endif
