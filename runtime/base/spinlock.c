/* The slow path of the spin lock: see spinlock.h. It only waits until the lock looks free; the
 * caller's exchange takes it. */
#include "runtime/base/spinlock.h"

#include <sched.h>

#define SPINS_BEFORE_YIELD 100

void filch__spinlock_wait(filch_spinlock *lock)
{
    for (int i = 0; i < SPINS_BEFORE_YIELD; i++) {
        /* relaxed: a hint; the exchange in lock() is the acquire of [lock-hand-over]. */
        if (!filch_load_relaxed(&lock->held))
            return;
        filch_cpu_relax();
    }
    sched_yield();
}
