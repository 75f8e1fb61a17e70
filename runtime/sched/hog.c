/* See hog.h.
 *
 * How long a worker has been frozen is the sum of the times between looks that found it so, each
 * counted up to twice the usual pause: when the whole process was stopped, or the watch had no CPU,
 * the task is not to blame. A worker is reported once, and again only after it has
 * switched.
 *
 * A task with a fork that it has not joined is there to compute, and gives away what it can: a look
 * that finds one begins the count anew. So one that forks all the time is not named, though it may
 * have no fork at this look or that, and one that forked once is.
 *
 * What the victim runs is read while it may change: the task's block as live.c does it; its stack's
 * header, whose memory is never unmapped nor made unreadable once it was given out. Afterwards the
 * victim's count of switches and its current task must be the same as before, or nothing is said:
 * the task has got on.
 *
 * What it is doing is the kernel's to say: /proc/self/task/TID/syscall is "running", or the number
 * of the system call that the thread sleeps in, or -1 when it sleeps for another reason (a page to
 * be read, a frozen cgroup). Where that file is not to be read, the report does without.
 */
#include "runtime/sched/hog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/place.h"
#include "runtime/base/proc.h"
#include "runtime/fork/fork.h"
#include "runtime/sched/live.h"
#include "runtime/sched/worker.h"

#define HOG_DEFAULT_NS FILCH_SECOND
#define GAP_MAX_NS (20 * FILCH_MILLISECOND)
#define TOLD FILCH_NEVER
#define TEXT_BYTES 160

/* Where was the task on @victim spawned? NULL for a future, which has no stack. */
__attribute__((no_sanitize("thread"), no_sanitize("address"))) static const void *
place_of(struct filch__task *task)
{
    struct filch__stack *stack = *(struct filch__stack *volatile *)&task->stack;

    return stack ? *(const void *volatile *)&stack->spawn_place : NULL;
}

__attribute__((no_sanitize("thread"))) static struct filch__task *
current_of(struct filch__worker *victim)
{
    return *(struct filch__task *volatile *)&victim->current;
}

/* Return: the number of the system call that it sleeps in; -1: it computes, or it cannot be said
 * what else. */
static long syscall_of(uint32_t tid, bool *ret_known)
{
    char path[64], text[64];
    long number;
    char *end;

    snprintf(path, sizeof path, "/proc/self/task/%u/syscall", tid);
    *ret_known = filch__proc_read(path, text, sizeof text);
    number = strtol(text, &end, 10);
    return end == text ? -1 : number;
}

static void describe_doing(uint32_t tid, char *to)
{
    bool known;
    long number = syscall_of(tid, &known);

    if (number >= 0)
        snprintf(to, TEXT_BYTES, "it sits in system call %ld", number);
    else
        snprintf(to, TEXT_BYTES, "%s", known ? "it computes" : "it computes or blocks");
}

/* Return: false: its task has no stack yet, so that nothing can be said of it but soon. */
static bool report(struct filch__worker *victim, filch_time frozen_ns)
{
    struct filch__task *task = current_of(victim);
    uint32_t tid = filch_load_relaxed(&victim->thread_id);
    char name[FILCH__LIVE_NAME_BYTES], place[FILCH__PLACE_BYTES], doing[TEXT_BYTES];
    filch_live live;
    const void *spawned_at;
    bool is_future;

    if (!task || !filch__live_look(task, victim->rt, &live, name))
        return true;
    is_future = live.kind == FILCH_LIVE_FUTURE;
    spawned_at = place_of(task);
    if (!spawned_at && !is_future)
        return false;
    filch__place_name(spawned_at, place, sizeof place);
    describe_doing(tid, doing);
    if (current_of(victim) != task || filch_load_relaxed(&victim->tick) != victim->watched.tick)
        return true;
    filch__log(
        &victim->rt->log, FILCH_LOG_WARNING,
        "%s \"%s\"%s%s, keeps worker %u (thread %u) for %llu ms without suspending: %s. Work "
        "like that belongs in filch_blocking_spawn()",
        is_future ? "future" : "task", live.name, is_future ? "" : ", spawned at ",
        is_future ? "" : place, victim->index, tid,
        (unsigned long long)(frozen_ns / FILCH_MILLISECOND), doing);
    return true;
}

void filch__hog_look(struct filch__worker *victim, bool frozen, filch_time now)
{
    filch_time most = victim->rt->opts.hog_ns ? victim->rt->opts.hog_ns : HOG_DEFAULT_NS;
    filch_time gap = now - victim->watched.frozen_seen;
    filch_time frozen_ns = victim->watched.frozen_ns;

    victim->watched.frozen_seen = now;
    if (frozen && frozen_ns == TOLD)
        return;
    if (!frozen || filch__fork_is_open(victim)) {
        victim->watched.frozen_ns = 0;
        return;
    }
    frozen_ns += gap < GAP_MAX_NS ? gap : GAP_MAX_NS;
    victim->watched.frozen_ns = frozen_ns >= most && report(victim, frozen_ns) ? TOLD : frozen_ns;
}
