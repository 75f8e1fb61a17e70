/* See fault.h. One lock for all points: only builds for tests have them. */
#include "runtime/base/fault.h"

#include "runtime/base/assert.h"
#include "runtime/base/spinlock.h"

static struct {
    uint64_t uses; /* since it was armed */
    uint64_t first;
    uint64_t last; /* 0: not armed */
    uint64_t fired;
    int value;
} points[FILCH_FAULT_POINTS];

static filch_spinlock lock;

int filch__fault_at(enum filch__fault point)
{
    int value = 0;

    filch_spinlock_lock(&lock);
    points[point].uses++;
    if (points[point].uses >= points[point].first && points[point].uses <= points[point].last) {
        points[point].fired++;
        value = points[point].value;
    }
    filch_spinlock_unlock(&lock);
    return value;
}

void filch__fault_arm(enum filch__fault point, unsigned nth, unsigned times, int value)
{
    filch_assert(nth > 0 && times > 0 && value != 0);
    filch_spinlock_lock(&lock);
    points[point].uses = 0;
    points[point].fired = 0;
    points[point].first = nth;
    points[point].last = (uint64_t)nth + times - 1;
    points[point].value = value;
    filch_spinlock_unlock(&lock);
}

void filch__fault_disarm(void)
{
    filch_spinlock_lock(&lock);
    for (int i = 0; i < FILCH_FAULT_POINTS; i++)
        points[i].last = 0;
    filch_spinlock_unlock(&lock);
}

uint64_t filch__fault_fired(enum filch__fault point)
{
    uint64_t fired;

    filch_spinlock_lock(&lock);
    fired = points[point].fired;
    filch_spinlock_unlock(&lock);
    return fired;
}
