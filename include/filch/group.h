/* Scheduling groups: how much of the workers each kind of work gets when there is not enough for
 * all.
 *
 *     filch_group *serving, *reports;
 *
 *     filch_group_new(rt, &(filch_group_opts){.name = "serving", .weight = 300,
 *                                             .kind = FILCH_GROUP_LATENCY}, &serving);
 *     filch_group_new(rt, &(filch_group_opts){.name = "reports", .weight = 100,
 *                                             .kind = FILCH_GROUP_BATCH}, &reports);
 *     filch_task_spawn(make_reports, NULL, &(filch_task_opts){.group = reports}, NULL);
 *
 * Groups that have something to run share the CPU time of all workers together by their weights,
 * whichever worker their tasks are on; what a group does not use the others get. Tasks without a
 * group are one more group, with weight 100. A task spawned by one that is in a group is in the
 * same, unless it is told otherwise; so are forks (see fork.h) and futures. Jobs of the blocking
 * pool are in none. Tasks that are pinned to a worker, or begin on one, take part in their group's
 * turns on that worker; nobody fetches them from there, so where a group has no others its share
 * holds only as far as that worker's time goes.
 *
 * Time is what the workers' threads have used of the CPU, so a worker that the kernel takes off it
 * charges nobody. The shares hold over some milliseconds, not from task to task: a worker stays
 * with a group for a slice, while it has tasks there: 200 us, or 100 while there is a group of kind
 * LATENCY. A task is not interrupted. But one that has run for a slice is asked to make room. It
 * does so where it joins a fork, and looks at the clock there by itself (one in a group goes on
 * before the others of its group), at its next operation on a channel, a lock or a socket, and
 * where filch_should_yield() tells it. One that does none of this keeps its worker, and its group
 * pays for that afterwards.
 *
 * So in a group, and only there, a fork is a place where other tasks may run in between, on the
 * same thread, and after which the task may be on another one: rules for suspending calls hold
 * there too (see task.h), though forks within an RCU read section or filch_block_in_place() never
 * make room.
 *
 * Kinds. A NORMAL group has its share and nothing else. A LATENCY group is for work that comes in
 * short bursts and wants to begin at once: what becomes ready in it goes first, ahead of its share
 * by up to 5 ms of CPU time, and asks a worker that is in a BATCH group for room at once. A BATCH
 * group is for work that does not care when it is done.
 *
 * Costs nothing while a runtime has no group. While it has one, each switch between tasks goes
 * through the worker's loop and reads the clock, 100 to 200 ns more, forks read it every few
 * microseconds (some 3 % of a computation that does nothing but fork), and a thread of the runtime
 * looks once in a slice whether a task that does not fork has had its own, while tasks run that
 * long (some 5 us each time, 40 in a virtual machine). A runtime with current_thread has no such
 * thread: tasks there that do not fork are asked only by their number of operations.
 */
#ifndef FILCH_GROUP_H
#define FILCH_GROUP_H

#include <filch/base.h>

FILCH_BEGIN_DECLS

/* The weight of tasks that are in no group, and of a group that names none; and the largest. */
#define FILCH_GROUP_WEIGHT_DEFAULT 100
#define FILCH_GROUP_WEIGHT_MAX 1000

typedef enum filch_group_kind {
    FILCH_GROUP_NORMAL = 0,
    FILCH_GROUP_LATENCY,
    FILCH_GROUP_BATCH,
} filch_group_kind;

typedef struct filch_group_opts {
    /* Shown in statistics. At most 31 bytes. Copied. NULL: "". */
    const char *name;
    /* 1 to FILCH_GROUP_WEIGHT_MAX. 0: FILCH_GROUP_WEIGHT_DEFAULT. */
    unsigned weight;
    filch_group_kind kind;
} filch_group_opts;

/**
 * filch_group_new() - make a group
 * @rt:        whose tasks may be in it
 * @opts:      borrowed for the call; NULL for defaults
 * @ret_group: gets the group; ended by filch_group_free(), or with @rt
 *
 * Thread-safety: any thread. Suspends: no. Return: 0; -EINVAL (NULL, a long name, a weight or kind
 * that there is not); -ENOSPC (there are 31); -ESHUTDOWN; -ECHILD (in the child of a fork).
 */
FILCH_API FILCH_MUST_CHECK int filch_group_new(filch_runtime *rt, const filch_group_opts *opts,
                                               filch_group **ret_group);

/**
 * filch_group_free() - end a group that no task is in
 * @group: consumed on success only; NULL is allowed and does nothing
 *
 * A task has left its group when filch_task_join() returns, or its scope has been joined.
 * Spawns into a group that was freed return -EINVAL.
 *
 * Thread-safety: any thread. Suspends: no. Return: 0; -EBUSY (there are tasks in it); -ESRCH (it
 * was freed, or its runtime has ended).
 */
FILCH_API int filch_group_free(filch_group *group);

/**
 * filch_group_set_weight() - change a group's share from now on
 * @weight: 1 to FILCH_GROUP_WEIGHT_MAX
 *
 * Thread-safety: any thread. Suspends: no. Return: 0; -EINVAL (NULL, a weight out of range); -ESRCH
 * (it was freed, or its runtime has ended).
 */
FILCH_API int filch_group_set_weight(filch_group *group, unsigned weight);

/**
 * filch_group_self() - the group of the running task
 *
 * Return: a borrowed handle, valid while the task lives; NULL: it is in none.
 */
FILCH_API filch_group *filch_group_self(void);

/* Numbers of one group. */
typedef struct filch_group_numbers {
    char name[32];
    unsigned weight;
    filch_group_kind kind;
    uint64_t tasks;    /* that live, futures and forks that were given away among them */
    uint64_t cpu_ns;   /* spent on it by workers; counted when one turns to another group, or after
                          a slice */
    uint64_t runs;     /* times that a task was picked to run */
    uint64_t yields;   /* times that a task made room where it forked */
    uint64_t delay_ns; /* sum of all times from ready to running */
    uint64_t delay_max_ns;
} filch_group_numbers;

/**
 * filch_group_stats() - copy a group's numbers out
 *
 * Thread-safety: any thread. Suspends: no. Return: 0; -EINVAL (NULL); -ESRCH (it was freed, or its
 * runtime has ended).
 */
FILCH_API int filch_group_stats(const filch_group *group, filch_group_numbers *ret_numbers);

FILCH_END_DECLS

#endif
