/* Tasks: functions that run concurrently, each on a stack of its own, on the runtime's workers.
 *
 * A task is spawned with or without a handle. A handle is owned by whoever got it and ends with
 * filch_task_join() or filch_task_detach(), exactly one of them. A spawned task always runs its
 * body, even when it is cancelled before it starts or the runtime is shutting down: so what its
 * argument owns is always released by the body.
 *
 * A task may resume on another thread after any suspending call. What moves with it, and what does
 * not:
 *
 * errno is the task's: 0 at the start, saved and put back by each suspension. But a function that
 * sets it before a suspending call and reads it after one may read another thread's, since
 * compilers keep its address. Use the results of functions, which are -errno, or read it in a
 * function that is not inlined.
 *
 * Thread-local data is the thread's. Do not keep its address across a suspending call, nor let the
 * compiler do it: a function that uses a thread-local variable before and after one may use the old
 * thread's for both. Reach it through a function with __attribute__((noinline)) and an empty asm
 * volatile statement in it, each time anew. That it works without depends on the optimiser, on
 * -fPIC and on link-time optimisation. The same goes for thread_local of C++.
 *
 * Pthread mutexes belong to a thread: do not hold one across a suspending call. A task does not
 * call pthread_exit().
 *
 * C++ exceptions are the task's: it may suspend in a catch block, and in a destructor while an
 * exception passes, and go on anywhere. An exception must not leave the body (it ends in
 * std::terminate()) nor pass through a function of filch. The C++ runtime must be in the process
 * when the runtime starts.
 *
 * The floating-point control state (rounding mode, exception masks, flush-to-zero) is the thread's:
 * a task that changes it must change it back before it suspends or ends, as other tasks would run
 * with it; or it is spawned with `save_fp`. Exception flags are kept nowhere.
 *
 * setjmp() and longjmp() work within a task, but not from one to another, nor out of a catch block.
 * A backtrace ends where the task begins, for unwinders and for those who follow frame pointers.
 */
#ifndef FILCH_TASK_H
#define FILCH_TASK_H

#include <filch/base.h>

FILCH_BEGIN_DECLS

/* As a group: none, whatever the spawning task is in. */
#define FILCH_NO_GROUP ((filch_group *)1)

/* How to spawn. All zero, or a NULL pointer to it, gives the defaults. */
typedef struct filch_task_opts {
    /* Shown in dumps and by filch_task_name(). Borrowed: must outlive the task (a literal does). */
    const char *name;
    /* More than 0: @arg points to this many bytes, which are copied; the body gets a pointer to the
     * copy (aligned for any type), valid until it returns. 0: @arg itself is passed, and what it
     * points to belongs to the body from then on. */
    size_t copy_bytes;
    /* Least size of the task's stack, rounded up to 16 KiB, 64 KiB, 256 KiB or 1 MiB; more is
     * -EINVAL. 0: 256 KiB. Only touched pages cost memory, and the last page of the stack is its
     * own: less saves address space, not memory. What is left of it for the body may be some 500
     * bytes less. Below it lies a guard of 64 KiB: code with larger frames must be compiled with
     * -fstack-clash-protection (pkg-config and meson pass it on), else a frame may reach beyond. A
     * task that touches the guard ends the process by SIGSEGV, after a line on stderr that names it
     * (see filch_runtime_opts.no_overflow_handler). Tasks only; ignored for futures; -EINVAL for
     * blocking jobs, see filch_runtime_opts.blocking_stack_bytes. */
    size_t stack_bytes;
    /* The task has a floating-point control state (rounding mode, exception masks, flush-to-zero)
     * of its own: it starts with that of the thread that started the runtime, keeps its changes
     * across suspensions, and shows them to nobody. Costs some 10 ns per suspension. Tasks only: a
     * blocking job changes back what it changes. */
    bool save_fp;
    /* For blocking jobs: whose threads run it, see <filch/blocking.h>. NULL: the default class. */
    filch_blocking_class *blocking_class;
    /* True: the task runs on one worker's thread from beginning to end, for libraries that keep
     * state per thread (OpenSSL's error queue, a locale). No other worker ever helps it out: while
     * its worker is held up by another task, it waits. Tasks only: not for blocking jobs. */
    bool pinned;
    /* On which worker the task begins: 1 to filch_stats.workers. 0: a pinned one on the next in
     * turn, others where there is room. One that is not pinned may go on elsewhere once it has
     * begun; until then it waits for that worker, as pinned ones do. Tasks only. */
    unsigned worker;
    /* The group that the task is in, see <filch/group.h>. NULL: that of the task that spawns it, if
     * any; FILCH_NO_GROUP: none. For tasks and futures. */
    filch_group *group;
    /* The task is cancelled when this is; a reference is kept while it lives. NULL: none. See
     * <filch/cancel.h>. Not for futures. */
    struct filch_token *token;
    /* True: begins with the task-local values that a child of a scope of the spawner would inherit
     * (see <filch/local.h>), and with nothing else of it: neither its cancel nor its deadline. For
     * work that goes on when its request has ended, under the request's name. By a task and for
     * tasks only; children of scopes inherit in any case. */
    bool inherit_values;
} filch_task_opts;

/**
 * filch_spawn() - start a task that nobody waits for
 * @fn:  runs once on a worker; an error that it returns is told to filch_runtime_opts.on_lost_error
 * @arg: passed to @fn; consumed only on success
 *
 * Thread-safety: any task (a plain thread uses filch_runtime_spawn()). Suspends: no.
 * Return: 0; -EINVAL (@fn is NULL, or options that contradict each other or name no worker); -EPERM
 * (not in a task or blocking job of a runtime); -ESHUTDOWN (the runtime is stopping); -ENOMEM (no
 * control block or no address space for a stack).
 */
FILCH_API FILCH_MUST_CHECK int filch_spawn(filch_fn fn, void *arg);

/**
 * filch_task_spawn() - start a task
 * @fn:       runs once on a worker
 * @arg:      passed to @fn, by ownership or by copy (see filch_task_opts); consumed only on success
 * @opts:     borrowed for the call; NULL for defaults
 * @ret_task: gets the handle; NULL spawns detached
 *
 * Thread-safety: any task. Suspends: no. Return: as filch_spawn().
 */
FILCH_API FILCH_MUST_CHECK int filch_task_spawn(filch_fn fn, void *arg, const filch_task_opts *opts,
                                                filch_task **ret_task);

/**
 * filch_task_join() - wait for a task to end and take its result
 * @task:       consumed on success only: after an error the handle is still valid
 * @ret_result: what the body returned; may be NULL
 * @until:      stop waiting at this time
 *
 * Thread-safety: the owner of the handle, one at a time; tasks and plain threads. Suspends: yes.
 * Cancellation point: yes. Return: 0; -ETIMEDOUT; -ECANCELED (the caller was cancelled, not @task);
 * -EDEADLK (a task joins itself); -ESRCH (already joined or detached); -EBUSY (somebody else is
 * joining it); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_task_join(filch_task *task, int *ret_result, filch_time until);

/**
 * filch_task_detach() - give up the handle; the task goes on by itself
 * @task: consumed; NULL is allowed and does nothing
 *
 * Its error, if it fails, is told to filch_runtime_opts.on_lost_error, or to nobody.
 * Thread-safety: the owner of the handle. Suspends: no. Return: 0; -ESRCH (already joined or
 * detached); -EBUSY (being joined).
 */
FILCH_API int filch_task_detach(filch_task *task);

/**
 * filch_task_cancel() - ask a task to end
 * @task: borrowed; a handle or filch_task_self() of a live task
 *
 * A request that stays: from now on each suspending call of @task that cannot finish at once
 * returns -ECANCELED. A blocking job sees it through filch_task_is_cancelled() only; one that has
 * not started still runs.
 *
 * Thread-safety: any thread. Suspends: no. Return: 0 (also when it had ended); -ESRCH (stale
 * handle); -EINVAL (NULL).
 */
FILCH_API int filch_task_cancel(filch_task *task);

/**
 * filch_task_is_finished() - has the body returned?
 *
 * Thread-safety: any thread. Suspends: no. Return: true when it ended, and for a handle that is
 * stale or NULL.
 */
FILCH_API bool filch_task_is_finished(const filch_task *task);

/**
 * filch_task_self() - the running task
 *
 * Return: a borrowed handle, valid while the task lives, for cancel and name only; NULL outside of
 * tasks.
 */
FILCH_API filch_task *filch_task_self(void);

/**
 * filch_task_id() - a number for logs: no two tasks that live at the same time have the same
 * @task: a handle, which may be stale; NULL means the caller
 *
 * Later a task may have the number of one that has ended. It is the handle's value, so handles of
 * one task, and its filch_task_self(), have the same. Thread-safety: any thread. Suspends: no.
 * Return: the number; 0 for a caller that is neither a task, nor a future, nor a blocking job.
 */
FILCH_API uint64_t filch_task_id(const filch_task *task);

/**
 * filch_task_name() - the name given at spawn
 * @task: NULL means the caller
 *
 * Return: the name; "" when it has none or the handle is stale.
 */
FILCH_API const char *filch_task_name(const filch_task *task);

/**
 * filch_task_is_cancelled() - was the running task asked to end, or is its runtime stopping?
 *
 * For loops that compute. Thread-safety: tasks and blocking jobs; false elsewhere. Suspends: no.
 */
FILCH_API bool filch_task_is_cancelled(void);

/**
 * filch_task_stack_left() - bytes that the running task has left of its stack, this call's aside
 *
 * For code that recurses, or calls what needs much. Thread-safety: any. Suspends: no.
 * Return: bytes; SIZE_MAX outside of tasks with a stack of their own.
 */
FILCH_API size_t filch_task_stack_left(void);

/**
 * filch_should_yield() - has the running task had its share?
 *
 * For loops that compute: true once a task has done more than 128 operations without suspending, or
 * has run for some 10 ms; then filch_task_yield() is due. It stays true until the task suspends.
 * In a runtime with current_thread, where no thread looks at the time, operations alone count: a
 * task there that does none looks at the clock itself (parallel loops do). Costs a few loads.
 * Thread-safety: tasks; false elsewhere. Suspends: no.
 */
FILCH_API bool filch_should_yield(void);

/**
 * filch_task_yield() - let other tasks run
 *
 * The caller goes to the end of its worker's queue. Not a cancellation point. Outside of tasks:
 * sched_yield().
 */
FILCH_API void filch_task_yield(void);

FILCH_END_DECLS

#endif
