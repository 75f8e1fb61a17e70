/* The end of a runtime, in phases. Each is entered when the one before is complete, and shutdown
 * may return between and in them (-ETIMEDOUT) and be called again.
 *
 *     phase       what is waited for              whose code            limit
 *     -           callers inside a spawn          ours, a few hundred   none: no new ones come
 *                                                 instructions
 *     TASKS       tasks, futures, blocking jobs   the user's            until
 *     BLOCKING    threads of the blocking pool    ours, and a hook      until, 1 s at least
 *     then, without fail: workers leave their loops, driver and memory are freed
 *
 *   [outside-spawn] The gate (gate.h) is shut first, so when it has been empty every spawn that was
 * let in is counted, and no other follows but by tasks and jobs that are counted themselves: the
 * number of live ones, once 0, stays 0 (filch__runtime_live()).
 *   Cancel is not written to tasks: each look of a task at its own cancellation looks at `stopping`
 * too. So all that remains is to wake those that are parked, by a walk over the process's control
 * blocks; again and again, with growing pauses, until none is left, for a task may park after the
 * walk has passed it.
 *   Nothing is freed before no task and no job lives, so a straggler costs its memory, never a
 * crash; and what others may hold for ever (task blocks, the runtime's own block) is never freed at
 * all. [finish-seen] Each end of a task sets `finish_seen` after it was counted; shutdown clears it
 * before it counts, both by an exchange: so either the count includes that end, or the futex wait
 * returns at once. Only the first end after a look makes a system call. (An end that does not see
 * yet that there is a shutdown, as its look at `stopping` may pass its count, sets nothing: it is
 * found by the next look, at most LOOK_MAX later. To order the two would cost each end a fence.)
 *   [foreign-wake] See task/wake.c: threads of others that woke one of our tasks may still be in
 * here when it has ended. They are waited for last.
 *
 * One thread at a time has `closing`. Once it is over it stays so, until the block is taken again.
 */
#include <errno.h>
#include <sched.h>

#include "runtime/base/futex.h"
#include "runtime/sched/gate.h"
#include "runtime/sched/registry.h"
#include "runtime/sched/worker.h"
#include "runtime/task/depot.h"

#define LOOK_MIN FILCH_MILLISECOND
#define LOOK_MAX (50 * FILCH_MILLISECOND)
#define PATIENCE (10 * FILCH_SECOND) /* then it is said what is waited for */
#define THREADS_TIME FILCH_SECOND
#define NAMED_MAX 32

int filch__runtime_refusal(struct filch_runtime *rt)
{
    return filch__runtime_was_forked(rt) ? -ECHILD : -ESHUTDOWN;
}

void filch__runtime_finished(struct filch_runtime *rt)
{
    if (filch__runtime_was_forked(rt))
        filch__throw("the child of a fork returned from the task or job that it was in: it must "
                     "exec or exit there");
    if (filch_exchange_seq_cst(&rt->finish_seen, 1)) /* [finish-seen] */
        return;
    if (rt->opts.current_thread)
        filch__io_driver.unpark(rt->worker[0].lane);
    else
        filch__futex_wake(&rt->finish_seen, 1);
}

struct report {
    const struct filch__log *log;
    unsigned named;
    unsigned more;
};

static void name_straggler(void *arg, const filch_live *live)
{
    static const char *const kinds[] = {
        [FILCH_LIVE_TASK] = "task",
        [FILCH_LIVE_FUTURE] = "future",
        [FILCH_LIVE_JOB] = "blocking job",
    };
    struct report *report = arg;

    if (report->named == NAMED_MAX) {
        report->more++;
        return;
    }
    report->named++;
    filch__log(report->log, FILCH_LOG_WARNING, "shutdown waits for %s \"%s\": %s",
               kinds[live->kind], live->name, live->doing);
}

static void name_stragglers(struct filch_runtime *rt)
{
    struct report report = {.log = &rt->log};

    (void)filch_runtime_visit(rt, name_straggler, &report);
    if (report.more)
        filch__log(report.log, FILCH_LOG_WARNING, "shutdown waits for %u more", report.more);
}

static void wake_if_ours(void *object, void *rt)
{
    struct filch__task *task = object;
    uint64_t state = filch_load_acquire(&task->state);

    /* The generation before `rt`: a task spawned in between is another's, or looks by itself. */
    if (!(state & FILCH_TASK_DONE) && filch_load_acquire(&task->rt) == rt)
        filch__task_wake(task, filch__state_generation(state));
}

/* Wakes what is parked, and says when to do it again: not just before the end, when all that was
 * woken would be reported as runnable. */
static filch_time wake_tasks(struct filch_runtime *rt, filch_time *pause, filch_time until)
{
    filch_time next = filch_after(*pause);

    filch__pool_each(&filch__task_pool, wake_if_ours, rt);
    *pause = *pause * 2 < LOOK_MAX ? *pause * 2 : LOOK_MAX;
    return next + LOOK_MIN < until ? next : until;
}

/* Until a task has ended, perhaps the last one, or @until. */
static void wait_for_an_end(struct filch_runtime *rt, filch_time until)
{
    if (rt->opts.current_thread)
        filch__drive_out(rt, until);
    else
        filch__futex_wait(&rt->finish_seen, 0, until);
}

/* Waits until nothing lives. */
static int end_tasks(struct filch_runtime *rt, filch_time until)
{
    filch_time pause = LOOK_MIN;
    filch_time look = wake_tasks(rt, &pause, until);
    filch_time complain = filch_after(PATIENCE);

    for (;;) {
        filch_time now = filch_now();

        (void)filch_exchange_seq_cst(&rt->finish_seen, 0); /* [finish-seen] */
        if (!filch__runtime_live(rt))
            return 0;
        if (now >= until)
            return -ETIMEDOUT;
        if (now >= complain) {
            name_stragglers(rt);
            complain = FILCH_NEVER;
        }
        if (now >= look)
            look = wake_tasks(rt, &pause, until);
        wait_for_an_end(rt, look);
    }
}

static int end_blocking(struct filch_runtime *rt, filch_time until)
{
    filch_time least = filch_after(THREADS_TIME);

    return filch__blocking_pool_fini(&rt->blocking, until > least ? until : least);
}

static int stop_all(struct filch_runtime *rt, filch_time until)
{
    int r = 0;

    while (!filch__gate_is_empty(&rt->callers)) /* [outside-spawn] */
        sched_yield();
    if (filch__runtime_live(rt))
        r = end_tasks(rt, until);
    if (r < 0) {
        name_stragglers(rt);
        return r;
    }
    r = end_blocking(rt, until);
    if (r < 0) {
        filch__log(
            &rt->log, FILCH_LOG_WARNING,
            "shutdown waits for blocking threads that have no job any more: a hook that does "
            "not return?");
        return r;
    }
    filch__watch_stop(rt);
    if (rt->opts.current_thread)
        filch__drive_end(rt);
    else
        filch__runtime_end_workers(rt);
    while (filch_load_seq_cst(&rt->wakers)) /* [foreign-wake] */
        sched_yield();
    return 0;
}

int filch_runtime_shutdown(filch_runtime *rt, filch_time until)
{
    uint32_t nobody = FILCH__CLOSE_NOBODY;
    int r;

    if (!rt)
        return -EINVAL;
    if (filch__runtime_was_forked(rt))
        return -ECHILD;
    if (filch_task_self() || filch_runtime_self() == rt)
        return -EDEADLK;
    if (!filch_cas_acq_rel(&rt->closing, &nobody, FILCH__CLOSE_BUSY))
        return nobody == FILCH__CLOSE_OVER ? -ESHUTDOWN : -EBUSY;
    filch__gate_shut(&rt->stopping, FILCH__STOPPING);
    r = stop_all(rt, until);
    if (r < 0) {
        filch_store_release(&rt->closing, FILCH__CLOSE_NOBODY);
        return r;
    }
    filch__registry_delist(rt);
    filch__runtime_free(rt);
    filch__depot_empty();
    filch_store_release(&rt->closing, FILCH__CLOSE_OVER);
    filch__registry_give(rt);
    return 0;
}
