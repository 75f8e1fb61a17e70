/* Task trackers: how many tasks there are, until there are none.
 *
 * For servers that stop with grace: every connection's task is tracked, nobody wants its result,
 * and at the end somebody waits for all:
 *
 *     filch_tracker_spawn(tracker, serve, conn, NULL);              for each
 *     ...
 *     filch_tracker_close(tracker);
 *     if (filch_tracker_wait(tracker, filch_after(10 * FILCH_SECOND)) < 0)
 *         filch_token_cancel(filch_tracker_token(tracker), -ESHUTDOWN, "stopping");
 *
 * Nothing is kept of a task that has ended. Unlike a scope's or a join set's, the tasks may outlive
 * the block that spawned them, and also the tracker's last reference: it ends with the last of
 * both.
 */
#ifndef FILCH_TRACKER_H
#define FILCH_TRACKER_H

#include <filch/base.h>
#include <filch/cancel.h>
#include <filch/select.h>
#include <filch/task.h>

FILCH_BEGIN_DECLS

typedef struct filch_tracker filch_tracker;

/**
 * filch_tracker_new() - a tracker that is open and tracks nothing
 * @ret_tracker: gets it; ends with filch_tracker_unref()
 *
 * Thread-safety: any thread. Suspends: no. Return: 0; -ENOMEM; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_tracker_new(filch_tracker **ret_tracker);

/** filch_tracker_ref() - one more reference. Thread-safety: any thread. Return: @tracker. */
FILCH_API filch_tracker *filch_tracker_ref(filch_tracker *tracker);

/** filch_tracker_unref() - gives a reference up; the tasks go on. NULL is allowed. Thread-safety:
 * any thread. */
FILCH_API void filch_tracker_unref(filch_tracker *tracker);

/**
 * filch_tracker_spawn() - start a task, tracked until it has ended with all it has deferred
 * @arg:  consumed only on success
 * @opts: borrowed for the call; NULL for defaults. Without a token of its own the task gets the
 * tracker's: it is cancelled with that.
 *
 * Closed trackers take tasks, too: closing says that the wait may end, not that nobody may come.
 * Thread-safety: any task or blocking job. Suspends: no. Return: as filch_spawn(); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_tracker_spawn(filch_tracker *tracker, filch_fn fn, void *arg,
                                                   const filch_task_opts *opts);

/**
 * filch_tracker_spawn_on() - the same in a runtime, from anywhere
 * @rt: where it runs
 *
 * Thread-safety: any thread. Suspends: no. Return: as filch_runtime_spawn(); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_tracker_spawn_on(filch_tracker *tracker, filch_runtime *rt,
                                                      filch_fn fn, void *arg,
                                                      const filch_task_opts *opts);

/**
 * filch_tracker_spawn_blocking() - start a blocking job, tracked as a task is
 * @arg:  consumed only on success
 * @opts: as for filch_blocking_spawn(). Without a token of its own the job gets the tracker's, and
 *        sees its cancel by filch_task_is_cancelled()
 *
 * Thread-safety: any task or blocking job. Suspends: no. Return: as filch_blocking_spawn(); -EINVAL
 * (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_tracker_spawn_blocking(filch_tracker *tracker, filch_fn fn,
                                                            void *arg, const filch_task_opts *opts);

/** filch_tracker_enter() - track something else: counts it until filch_tracker_leave(), and keeps
 * the tracker. Thread-safety: any thread. Return: 0; -EINVAL (NULL). */
FILCH_API int filch_tracker_enter(filch_tracker *tracker);

/** filch_tracker_leave() - the end of what filch_tracker_enter() counts; once for each. Return: 0;
 * -EINVAL (NULL, or nothing is counted). */
FILCH_API int filch_tracker_leave(filch_tracker *tracker);

/** filch_tracker_close() - waits may end from now on. Thread-safety: any thread. Return: 0;
 * -EALREADY (it was closed); -EINVAL (NULL). */
FILCH_API int filch_tracker_close(filch_tracker *tracker);

/** filch_tracker_reopen() - undoes that. Thread-safety: any thread. Return: 0; -EALREADY (it was
 * open); -EINVAL (NULL). */
FILCH_API int filch_tracker_reopen(filch_tracker *tracker);

/**
 * filch_tracker_wait() - wait until the tracker is closed and nothing is tracked
 * @until: stop waiting at this time
 *
 * True at one moment is enough, even if others come or it is reopened before the caller runs.
 * Thread-safety: tasks, blocking jobs and plain threads, any number; a tracked task would wait for
 * itself. Suspends: yes. Cancellation point: yes. Return: 0; -ETIMEDOUT; -ECANCELED; -EINVAL
 * (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_tracker_wait(filch_tracker *tracker, filch_time until);

/** filch_case_tracker() - a case of a select: filch_tracker_wait(). The case's result is 0. NULL
 * makes a case that filch_select() refuses. */
FILCH_API filch_case filch_case_tracker(filch_tracker *tracker);

/** filch_tracker_count() - how many are tracked now. Thread-safety: any thread. 0 for NULL. */
FILCH_API size_t filch_tracker_count(filch_tracker *tracker);

/** filch_tracker_is_closed() - true for NULL. Thread-safety: any thread. */
FILCH_API bool filch_tracker_is_closed(filch_tracker *tracker);

/** filch_tracker_token() - what its tasks are bound to; borrowed, as long as the tracker lives.
 * Cancel it to cancel them all. NULL for NULL. */
FILCH_API filch_token *filch_tracker_token(filch_tracker *tracker);

FILCH_END_DECLS

#endif
