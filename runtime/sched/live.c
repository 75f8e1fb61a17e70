/* Looking at what lives, without a list of it: the pool of control blocks is walked (base/pool.h),
 * whose memory is never unmapped, so nothing is paid where tasks are spawned and end.
 *
 * A block is read while its owner may change it, in the manner of a sequence lock, with the state
 * word as the sequence:
 *
 *     1 state: DONE? then it has ended or is free. `rt`: not ours? then skip
 *     2 copy kind, flags, reason, name; does a worker say that it runs it?
 *     3 state again: DONE, or another generation? then throw the copy away
 *
 * A block that is given out and back between 1 and 3 has another generation at 3 (unless that was
 * 65,536 times). What a task waits for may be out of date at once. The name is memory of the
 * user's, who may free it when the task has ended, so between 1 and 3 too: it is copied by the
 * kernel, which refuses what is not mapped, where reading would fault. Where that system call is
 * refused, as old container engines do, the name is read plainly: then a name that is unmapped just
 * after its task has ended, in the microsecond in which it is reported, would be one too many.
 *
 * On x86 loads and stores stay in order, which is all that is needed; elsewhere a report could mix
 * two tasks' fields, and still harm nobody.
 */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "runtime/sched/live.h"
#include "runtime/sched/worker.h"

#define NAME_BYTES FILCH__LIVE_NAME_BYTES
#define PAGE_BYTES ((uintptr_t)4096) /* at most the true one: only where a copy is cut in two */

struct look {
    struct filch_runtime *rt;
    void (*visit)(void *arg, const filch_live *live);
    void *arg;
    ssize_t visited;
};

static void copy_name(const char *name, char *to)
{
    size_t room = NAME_BYTES - 1;
    size_t here = PAGE_BYTES - (uintptr_t)name % PAGE_BYTES;
    struct iovec local = {.iov_base = to, .iov_len = room};
    struct iovec remote[2];

    memset(to, 0, NAME_BYTES);
    if (!name)
        return;
    if (here > room)
        here = room;
    /* Cast: the interface has no const; it is read. */
    remote[0] = (struct iovec){(void *)(uintptr_t)name, here};
    remote[1] = (struct iovec){(void *)((uintptr_t)name + here), room - here};
    if (process_vm_readv(getpid(), &local, 1, remote, 2, 0) < 0 &&
        (errno == EPERM || errno == ENOSYS))
        strncpy(to, name, room);
}

/* A ready task and a running one look alike in the state word; workers know what they run. */
__attribute__((no_sanitize("thread"))) static bool is_run_by_worker(struct filch__task *task,
                                                                    struct filch_runtime *rt)
{
    unsigned n = filch__runtime_seats(rt);

    for (unsigned i = 0; i < n; i++)
        if (*(struct filch__task *volatile *)&rt->worker[i].current == task)
            return true;
    return false;
}

static const char *doing(struct filch__task *task, struct filch_runtime *rt, uint64_t state,
                         enum filch__kind kind, enum filch__wait waiting)
{
    if (kind == FILCH_KIND_BLOCKING)
        return waiting == FILCH_WAIT_NONE ? "runnable" : filch__wait_name(waiting);
    if (state & FILCH_TASK_PARKED)
        return filch__wait_name(kind == FILCH_KIND_FUTURE ? FILCH_WAIT_NONE : waiting);
    return is_run_by_worker(task, rt) ? "running" : "runnable";
}

static filch_live_kind public_kind(enum filch__kind kind)
{
    switch (kind) {
    case FILCH_KIND_STACKFUL:
    case FILCH_KIND_GROUPED:
    case FILCH_KIND_PLACED:
    case FILCH_KIND_PINNED:
        break;
    case FILCH_KIND_FUTURE:
        return FILCH_LIVE_FUTURE;
    case FILCH_KIND_BLOCKING:
        return FILCH_LIVE_JOB;
    }
    return FILCH_LIVE_TASK;
}

__attribute__((no_sanitize("thread"))) static uint8_t glance(const uint8_t *field)
{
    return *(const volatile uint8_t *)field;
}

/* Steps 1 to 3. The plain reads race with the owner's writes, on purpose. */
__attribute__((no_sanitize("thread"))) bool
filch__live_look(struct filch__task *task, struct filch_runtime *rt, filch_live *live, char *name)
{
    uint64_t state = filch_load_acquire(&task->state);
    enum filch__kind kind;
    uint64_t changed;
    bool has_name;

    if (state & FILCH_TASK_DONE || filch_load_acquire(&task->rt) != rt)
        return false;
    kind = (enum filch__kind)glance(&task->kind);
    live->name = name;
    live->kind = public_kind(kind);
    live->doing = doing(task, rt, state, kind, (enum filch__wait)glance(&task->waiting));
    has_name = glance(&task->flags) & FILCH_TASK_NAMED;
    copy_name(has_name ? *(const char *volatile *)&task->name : NULL, name);
    changed = filch_load_acquire(&task->state) ^ state;
    return !filch__state_generation(changed) && !(changed & FILCH_TASK_DONE);
}

static void look(void *object, void *arg)
{
    struct look *l = arg;
    char name[NAME_BYTES];
    filch_live live;

    if (!filch__live_look(object, l->rt, &live, name))
        return;
    l->visit(l->arg, &live);
    l->visited++;
}

ssize_t filch_runtime_visit(filch_runtime *rt, void (*visit)(void *arg, const filch_live *live),
                            void *arg)
{
    struct look l = {.rt = rt, .visit = visit, .arg = arg};

    if (!rt || !visit)
        return -EINVAL;
    if (filch__runtime_was_forked(rt))
        return -ECHILD;
    filch__pool_each(&filch__task_pool, look, &l);
    return l.visited;
}

static uint64_t ended_so_far(struct filch_runtime *rt)
{
    uint64_t finished = filch_load_acquire(&rt->outside_finished);
    unsigned n = filch__runtime_seats(rt);

    for (unsigned i = 0; i < n; i++)
        finished += filch_load_acquire(&rt->worker[i].stats.finished);
    return finished;
}

static uint64_t spawned_so_far(struct filch_runtime *rt)
{
    uint64_t spawned = 0;
    unsigned n = filch__runtime_seats(rt);

    for (unsigned i = 0; i < n; i++)
        spawned += filch_load_acquire(&rt->worker[i].stats.spawned);
    return spawned + filch_load_acquire(&rt->outside_spawned);
}

uint64_t filch__runtime_live(struct filch_runtime *rt)
{
    /* Finished first: what is spawned in between only makes the difference larger, so 0 is never a
     * lie. A worker that comes meanwhile is no exception: what it ends is not counted, and what it
     * spawns has a parent that either still lives, or is such a one. */
    uint64_t finished = ended_so_far(rt);

    return spawned_so_far(rt) - finished;
}
