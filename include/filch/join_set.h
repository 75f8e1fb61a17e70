/* Join sets: tasks that are added over time, and their results as they come.
 *
 *     FILCH_JOIN_SET(pages, 0);
 *     for (size_t i = 0; i < n && r == 0; i++)
 *         r = filch_join_set_spawn(&pages, i + 1, fetch, urls[i], NULL);
 *     while (filch_join_set_next(&pages, &result, &key, FILCH_NEVER) == 0)
 *         ...                                     urls[key - 1] ended with `result`
 *
 * Leaving the block cancels the tasks and waits for them, as a scope does; they inherit what
 * children of a scope inherit. A result is given out once, and is kept until then: a set that
 * nobody asks grows with each task (a tracker does not: see tracker.h).
 *
 * A key is any number that the caller likes; 0: none. It is unique among the tasks of the set that
 * have not ended. (uintptr_t)pointer is a good one.
 */
#ifndef FILCH_JOIN_SET_H
#define FILCH_JOIN_SET_H

#include <filch/base.h>
#include <filch/select.h>
#include <filch/task.h>

FILCH_BEGIN_DECLS

/* Lives in the caller's frame. The fields are private. */
typedef struct filch_join_set {
    void *private_inner;
    uint32_t private_flags;
    uint32_t private_limit;
} filch_join_set;

enum filch_join_set_flags {
    /* Results come in the order in which the tasks were added, not in which they ended. */
    FILCH_JOIN_SET_ORDERED = 1,
};

/**
 * filch_join_set_init() - prepare an empty set in the caller's memory
 * @set:   ends with filch_join_set_fini(); FILCH_JOIN_SET() does both for you
 * @flags: enum filch_join_set_flags, or 0
 */
FILCH_API void filch_join_set_init(filch_join_set *set, unsigned flags);

/**
 * filch_join_set_fini() - cancel the tasks, wait for them, and forget their results
 *
 * Never a cancellation point. NULL is allowed. Thread-safety: the owner, when nobody else uses the
 * set. Suspends: yes.
 */
FILCH_API void filch_join_set_fini(filch_join_set *set);

/**
 * filch_join_set_limit() - bound the number of tasks that run at a time
 * @limit: 0: no limit (the default). Results that nobody has taken do not count.
 *
 * Thread-safety: the owner. Suspends: no. Return: 0; -EINVAL (NULL).
 */
FILCH_API int filch_join_set_limit(filch_join_set *set, unsigned limit);

/**
 * filch_join_set_spawn() - add a task
 * @key:  given back with the result, and for filch_join_set_abort(); 0: none
 * @fn:   runs once on a worker
 * @arg:  consumed only on success
 * @opts: borrowed for the call; NULL for defaults
 *
 * Thread-safety: the owner, a task or a blocking job; also the set's own tasks, until the owner
 * calls filch_join_set_detach_all(). Suspends: no. Return: as filch_spawn(); -EEXIST (a task with
 * this key has not ended); -EAGAIN (as many run as filch_join_set_limit() allows); -ECANCELED (the
 * set is being shut down); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_join_set_spawn(filch_join_set *set, uint64_t key, filch_fn fn,
                                                    void *arg, const filch_task_opts *opts);

/**
 * filch_join_set_spawn_wait() - the same, waiting while as many run as the limit allows
 * @until: stop waiting at this time
 *
 * Suspends: yes, only if the set is full. Cancellation point: yes; nothing was added then.
 * Return: as filch_join_set_spawn(), but -ETIMEDOUT instead of -EAGAIN; -ECANCELED (the caller, or
 * the set is being shut down).
 */
FILCH_API FILCH_MUST_CHECK int filch_join_set_spawn_wait(filch_join_set *set, uint64_t key,
                                                         filch_fn fn, void *arg,
                                                         const filch_task_opts *opts,
                                                         filch_time until);

/**
 * filch_join_set_next() - take the next result, waiting for it
 * @ret_result: what the task returned; may be NULL
 * @ret_key:    its key; may be NULL
 * @until:      stop waiting at this time; FILCH_NOW: take one that is there
 *
 * Thread-safety: tasks, blocking jobs and plain threads, any number; each result goes to one.
 * Suspends: yes. Cancellation point: yes; no result was taken then.
 * Return: 0; -ENOENT (the set is empty: no task, no result); -ETIMEDOUT; -ECANCELED; -EINVAL
 * (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_join_set_next(filch_join_set *set, int *ret_result,
                                                   uint64_t *ret_key, filch_time until);

/** filch_case_join_next() - the same as a case of a select: `result` is 0, or -ENOENT. The outputs
 * are written only if it wins with 0. */
FILCH_API filch_case filch_case_join_next(filch_join_set *set, int *ret_result, uint64_t *ret_key);

/**
 * filch_join_set_len() - how many tasks and results are in it
 *
 * Thread-safety: any thread. Suspends: no. Return: those that run and those whose result was not
 * taken; 0 for NULL.
 */
FILCH_API size_t filch_join_set_len(filch_join_set *set);

/** filch_join_set_has() - is there a task with this key that has not ended? Thread-safety: any
 * thread while the set lives. Suspends: no. Return: false for NULL and for key 0, too. */
FILCH_API bool filch_join_set_has(filch_join_set *set, uint64_t key);

/**
 * filch_join_set_abort() - cancel one task
 * @key: of a task that has not ended; not 0
 *
 * Its result comes like any other. Thread-safety: any thread while the set lives. Suspends: no.
 * Return: 0; -ENOENT (there is none, or it has ended); -EINVAL (NULL, or key 0).
 */
FILCH_API int filch_join_set_abort(filch_join_set *set, uint64_t key);

/** filch_join_set_abort_all() - cancel all tasks that are in it now. The set takes others
 * afterwards. Thread-safety: any thread while the set lives. Suspends: no. Return: 0; -EINVAL. */
FILCH_API int filch_join_set_abort_all(filch_join_set *set);

/**
 * filch_join_set_shutdown() - cancel all tasks, wait for them, and drop all results
 *
 * Meanwhile nothing can be added; afterwards the set is empty and can be used again. Never a
 * cancellation point. Thread-safety: the owner. Suspends: yes. Return: 0; -EINVAL (NULL).
 */
FILCH_API int filch_join_set_shutdown(filch_join_set *set);

/**
 * filch_join_set_detach_all() - let go of all tasks and results
 *
 * The tasks go on by themselves, and the set is empty and independent of them. Nobody else may be
 * using the set, nor may its tasks add to it. A task is spawned that sees to their end, and then
 * tells their errors to filch_runtime_opts.on_lost_error: their names must live until then.
 * Thread-safety: the owner. Suspends: no. Return: 0; -EINVAL (NULL), or, with nothing detached, as
 * filch_spawn().
 */
FILCH_API FILCH_MUST_CHECK int filch_join_set_detach_all(filch_join_set *set);

/* The clean-up of FILCH_JOIN_SET(). */
static inline void filch_join_set_leave(filch_join_set *set)
{
    filch_join_set_fini(set);
}

/* A set that lives until the end of the block. */
#define FILCH_JOIN_SET(name, flags)                                                                \
    filch_join_set name __attribute__((cleanup(filch_join_set_leave)));                            \
    filch_join_set_init(&name, (flags))

FILCH_END_DECLS

#endif
