/* The slow path of the spin lock: see spinlock.h. */
#include "runtime/base/spinlock.h"

#include <sched.h>

#define SPINS_BEFORE_YIELD 100

void filch__spinlock_wait(filch_spinlock *lock)
{
    for (int i = 0; i < SPINS_BEFORE_YIELD; i++) {
        if (!filch_load_relaxed(&lock->held))
            return;
        filch_cpu_relax();
    }
    sched_yield();
}
