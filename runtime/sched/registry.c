/* See registry.h.
 *
 * Blocks are type-stable, as the tasks' are (base/pool.h), for the same reason: somebody may follow
 * an old pointer. A waker counts itself in the runtime of the task that it wakes before it knows
 * that the task still lives (task/wake.c, [foreign-wake]), and a thread that spawns may come just
 * after shutdown: it finds `stopping`, not freed memory.
 *
 * Fork. The child has a copy of the memory and one thread, the caller's. Workers, and whoever held
 * a lock, are gone; descriptors and the rings' memory are shared with the parent. So in the child
 *
 *     each runtime      stopping = FORKED: whoever asks gets -ECHILD; no worker counts as parked,
 *                       so that nobody writes to the descriptor which would wake the parent's; the
 *                       driver lets go of the rings
 *     the thread        has the host's signal mask (see thread.c); it is no worker and runs no job:
 * it can neither stage on a ring nor take from a queue, and waits as a plain thread does pools,
 * stacks     locks are free; free lists are dropped, as they may be half changed I/O handles become
 * stale (through their pools) all the rest      is left as it is
 *
 * and nothing of it costs anything where no fork is. The child may start runtimes of its own. The
 * list's lock is held across the fork, so the list is whole in the child.
 */
#include "runtime/sched/registry.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/sched/thread.h"
#include "runtime/sched/worker.h"
#include "runtime/task/depot.h"
#include "runtime/task/overflow.h"
#include "runtime/task/stack.h"

/* All under the lock. */
static struct {
    pthread_mutex_t lock;
    bool watches_forks;
    struct filch_runtime *live;
    struct filch_runtime *free;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void before_fork(void)
{
    pthread_mutex_lock(&registry.lock);
}

static void after_fork_in_parent(void)
{
    pthread_mutex_unlock(&registry.lock);
}

static void leave_to_parent(struct filch_runtime *rt)
{
    filch_store_relaxed(&rt->stopping, FILCH__FORKED);
    for (unsigned i = 0; i < FILCH__WORKERS_MAX / 64; i++)
        filch_store_relaxed(&rt->idle.sleepers[i], 0);
    filch__io_driver.forked(rt->driver);
}

static void after_fork_in_child(void)
{
    struct filch_runtime *self = filch_runtime_self();

    if (self)
        filch__thread_forked(self);
    for (struct filch_runtime *rt = registry.live; rt; rt = rt->next)
        leave_to_parent(rt);
    registry.live = NULL;
    filch__worker_forked();
    filch__blocking_forked();
    filch__log_forked();
    filch__depot_forked();
    filch__stack_forked();
    filch__overflow_forked();
    filch__pools_forked();
    pthread_mutex_unlock(&registry.lock);
}

struct filch_runtime *filch__registry_take(void)
{
    const size_t kept = offsetof(struct filch_runtime, workers);
    struct filch_runtime *rt;

    pthread_mutex_lock(&registry.lock);
    rt = registry.free;
    if (rt)
        registry.free = rt->next;
    pthread_mutex_unlock(&registry.lock);
    if (rt) {
        memset((char *)rt + kept, 0, sizeof *rt - kept);
        return rt;
    }
    rt = aligned_alloc(FILCH_CACHELINE, sizeof *rt);
    if (rt)
        memset(rt, 0, sizeof *rt);
    return rt;
}

void filch__registry_give(struct filch_runtime *rt)
{
    pthread_mutex_lock(&registry.lock);
    rt->next = registry.free;
    registry.free = rt;
    pthread_mutex_unlock(&registry.lock);
}

int filch__registry_enlist(struct filch_runtime *rt)
{
    int r = 0;

    pthread_mutex_lock(&registry.lock);
    if (!registry.watches_forks)
        r = -pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    if (r == 0) {
        registry.watches_forks = true;
        rt->next = registry.live;
        registry.live = rt;
    }
    pthread_mutex_unlock(&registry.lock);
    return r;
}

void filch__registry_delist(struct filch_runtime *rt)
{
    struct filch_runtime **link = &registry.live;

    pthread_mutex_lock(&registry.lock);
    while (*link && *link != rt)
        link = &(*link)->next;
    if (*link)
        *link = rt->next;
    pthread_mutex_unlock(&registry.lock);
}
