/* Blocking work: functions that would hold a worker up run on a pool of plain threads of their own.
 */
#ifndef FILCH_BLOCKING_H
#define FILCH_BLOCKING_H

#include <filch/base.h>
#include <filch/task.h>

FILCH_BEGIN_DECLS

/**
 * filch_blocking_spawn() - run a function on the blocking pool
 * @fn:       may block, sleep, call anything; runs on a plain thread, not in a task
 * @arg:      by ownership or by copy (see filch_task_opts); consumed only on success
 * @opts:     borrowed for the call; NULL for defaults
 * @ret_task: gets a handle for join, detach, cancel, is_finished; NULL starts it detached
 *
 * The pool grows to its cap (filch_runtime_opts.blocking_threads), keeps idle threads for a while,
 * and queues what is beyond it, in order. A job always runs, also when cancelled first.
 *
 * Thread-safety: tasks and jobs (a plain thread uses filch_runtime_blocking_spawn()). Suspends: no.
 * Return: as filch_spawn(); -EAGAIN (the pool has no thread and none can be created).
 */
FILCH_API FILCH_MUST_CHECK int
filch_blocking_spawn(filch_fn fn, void *arg, const filch_task_opts *opts, filch_task **ret_task);

/** filch_runtime_blocking_spawn() - the same from any thread. */
FILCH_API FILCH_MUST_CHECK int filch_runtime_blocking_spawn(filch_runtime *rt, filch_fn fn,
                                                            void *arg, const filch_task_opts *opts,
                                                            filch_task **ret_task);

FILCH_END_DECLS

#endif
