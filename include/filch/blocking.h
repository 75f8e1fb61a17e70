/* Blocking work: functions that would hold a worker up run on a pool of plain threads of their own.
 *
 * The pool starts with the first job and grows as jobs block, to filch_runtime_opts.
 * blocking_threads at most; an idle thread ends after blocking_keep_alive_ns, but one stays. While
 * fewer threads than that exist, a job does not wait for jobs that block, whatever their number: a
 * thread is woken or created for it, within a millisecond if the machine has CPU to spare. Jobs
 * that do not block share few threads, and each then starts as soon as it would on a thread of its
 * own. Threads have a stack of blocking_stack_bytes, block signals, and are named.
 *
 * Jobs belong to classes, so that one kind of work cannot starve another: name lookups that hang do
 * not keep files from being read (in libuv, with 4 threads for all, they do; Tokio has one limit of
 * 512 for all). A class may run threads_max jobs at once; what is beyond that waits, in order, and
 * other classes go on. threads_reserved of the pool's threads are kept free for it, whatever others
 * do. blocking_threads bounds the sum of all classes, and is at least the sum of what they reserve.
 * Between classes that have jobs waiting, threads go round.
 *
 * If a thread that is needed cannot be created (-EAGAIN, -ENOMEM), its job waits for those that
 * exist, and creation is tried again with the jobs that follow. Only if there is none at all is the
 * job refused.
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
 * A job that was accepted always runs, also when it is cancelled first or the runtime is stopping:
 * it then sees filch_task_is_cancelled() at once, and releases what @arg owns.
 *
 * Thread-safety: tasks and jobs (a plain thread uses filch_runtime_blocking_spawn()). Suspends: no.
 * Return: as filch_spawn(); -EINVAL (also: opts->blocking_class is another runtime's); -EAGAIN (the
 * class's queue is full, or the pool has no thread and none can be created).
 */
FILCH_API FILCH_MUST_CHECK int
filch_blocking_spawn(filch_fn fn, void *arg, const filch_task_opts *opts, filch_task **ret_task);

/** filch_runtime_blocking_spawn() - the same from any thread. */
FILCH_API FILCH_MUST_CHECK int filch_runtime_blocking_spawn(filch_runtime *rt, filch_fn fn,
                                                            void *arg, const filch_task_opts *opts,
                                                            filch_task **ret_task);

/**
 * filch_blocking_run() - run a function on the blocking pool and wait for it
 * @fn:         as for filch_blocking_spawn()
 * @arg:        borrowed until the return: it may point to the caller's stack
 * @opts:       borrowed for the call; NULL for defaults
 * @ret_result: what @fn returned; may be NULL; untouched on failure
 * @until:      the latest time to start @fn
 *
 * When the time is up or the caller is cancelled while the job still waits for a thread, it is
 * taken back and @fn is never called. Once @fn runs it is waited for, as it may use @arg; it is
 * cancelled, which it sees by filch_task_is_cancelled(), and its result is returned all the same. A
 * function that must not be waited for is spawned, with what it uses in its own hands, joined with
 * a limit, and detached.
 *
 * Thread-safety: tasks and jobs; a job that waits for others holds its thread meanwhile. Suspends:
 * yes. Cancellation point: yes, until @fn starts.
 * Return: 0 (@fn has run); -ETIMEDOUT or -ECANCELED (it was not called, and will not be); errors of
 * filch_blocking_spawn().
 */
FILCH_API FILCH_MUST_CHECK int filch_blocking_run(filch_fn fn, void *arg,
                                                  const filch_task_opts *opts, int *ret_result,
                                                  filch_time until);

/**
 * filch_block_in_place() - call something that blocks its thread, and have others go on meanwhile
 * @fn:         called at once, on the caller's own stack
 * @arg:        passed to @fn
 * @ret_result: what @fn returned; may be NULL
 *
 * For a call that may block for milliseconds in the middle of a task: it needs no copy of what it
 * works on and no other thread's stack, as filch_blocking_run() does. What waits behind the task is
 * offered to other workers before @fn is called, and a spare worker takes the place of this one
 * while it lasts, if there may be one (filch_runtime_opts.spare_workers). Pinned tasks of the same
 * worker wait, as does everything in a runtime that has neither another worker nor a spare one.
 * Costs a few microseconds; not worth it for less. @fn must not suspend (it aborts) nor read under
 * RCU; it may call itself filch_block_in_place(), which then only calls.
 *
 * Thread-safety: tasks; elsewhere it only calls @fn. Suspends: no. Cancellation point: no.
 * Return: 0; -EINVAL (@fn is NULL).
 */
FILCH_API int filch_block_in_place(filch_fn fn, void *arg, int *ret_result);

typedef struct filch_blocking_class_opts {
    /* Shown in statistics; at most 31 bytes. Copied. */
    const char *name;
    /* Most jobs of the class that run at once. 0, and more than blocking_threads: as many as the
     * pool may have threads. */
    unsigned threads_max;
    /* Threads that are kept for the class when others are busy. 0: 1. The default class has 1. */
    unsigned threads_reserved;
    /* Most jobs that wait for a thread: one more is refused with -EAGAIN. 0: no bound. */
    uint32_t queued_max;
} filch_blocking_class_opts;

/**
 * filch_blocking_class_new() - make a class of blocking jobs with limits of its own
 * @opts:      borrowed for the call; not NULL: it has a name
 * @ret_class: gets the class, for filch_task_opts.blocking_class; belongs to @rt and ends with it
 *
 * Meant to be called once for each kind of work, when a program starts. If others use all threads
 * at this moment, what the class reserves becomes free as their jobs end.
 *
 * Thread-safety: any thread. Suspends: no.
 * Return: 0; -EINVAL (NULL, no name or a long one); -ENOSPC (there are 31 classes, or
 * threads_reserved is above threads_max or above what others leave of blocking_threads); -ECHILD
 * (in the child of a fork).
 */
FILCH_API FILCH_MUST_CHECK int filch_blocking_class_new(filch_runtime *rt,
                                                        const filch_blocking_class_opts *opts,
                                                        filch_blocking_class **ret_class);

/* Numbers of one class. */
typedef struct filch_blocking_stats {
    const char *name; /* valid as long as the class */
    unsigned running; /* jobs, at present */
    uint64_t queued;  /* jobs that wait for a thread, at present */
    uint64_t jobs;    /* that were accepted since the start */
} filch_blocking_stats;

/**
 * filch_blocking_class_stats() - copy a class's numbers out
 * @blocking_class: NULL means the default class
 *
 * Thread-safety: any thread. Suspends: no. Return: 0; -EINVAL; -ECHILD (in the child of a fork).
 */
FILCH_API int filch_blocking_class_stats(filch_runtime *rt,
                                         const filch_blocking_class *blocking_class,
                                         filch_blocking_stats *ret_stats);

FILCH_END_DECLS

#endif
