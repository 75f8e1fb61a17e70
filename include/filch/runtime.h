/* The runtime: workers that run tasks, the driver that does their I/O, the blocking pool, and their
 * numbers. */
#ifndef FILCH_RUNTIME_H
#define FILCH_RUNTIME_H

#include <filch/base.h>
#include <filch/task.h>

FILCH_BEGIN_DECLS

/* How to start. All zero, or a NULL pointer to it, gives the defaults. */
typedef struct filch_runtime_opts {
    /* Threads that run tasks. 0: as many as the CPU affinity and the cgroup quota (v1 or v2, of all
     * ancestors) allow. At most 256. */
    unsigned workers;
    /* Most threads of the blocking pool, of all classes together. 0: 512. */
    unsigned blocking_threads;
    /* How long an idle blocking thread stays. 0: 10 s. */
    filch_time blocking_keep_alive_ns;
    /* Stack of a blocking thread. 0: 2 MiB; only what is touched costs memory. Less than the
     * system's minimum for threads (sysconf(_SC_THREAD_STACK_MIN)) is refused. */
    size_t blocking_stack_bytes;
    /* How long a worker that ran out of work polls before it parks. 0: 30 us; FILCH_NEVER: not at
     * all. */
    filch_time spin_ns;
    /* Submission queue entries per worker's ring. 0: 256. Rings get smaller by themselves where
     * memory is locked short. */
    unsigned ring_entries;
    /* Most threads that the kernel may start for each worker's ring, for operations that it can
     * neither do at once nor poll: those on files and the like, and all others. 0: 4. */
    unsigned io_threads_bounded;
    unsigned io_threads_unbounded;
} filch_runtime_opts;

/* Numbers since start, summed over the workers; each is exact once the runtime is idle. */
typedef struct filch_stats {
    unsigned workers;
    unsigned blocking_threads; /* at present, as the next two */
    unsigned blocking_running; /* blocking jobs that run */
    uint64_t blocking_queued;  /* blocking jobs that wait for a thread */
    uint64_t tasks_spawned;    /* tasks, futures and blocking jobs */
    uint64_t tasks_finished;
    uint64_t polls;        /* times that a task or future was run */
    uint64_t local_wakes;  /* tasks made runnable by their own worker */
    uint64_t inject_wakes; /* through the inject queue, or pinned and by another worker */
    uint64_t steals;       /* successful visits to another worker's queue */
    uint64_t stolen_tasks;
    uint64_t parks;
    uint64_t worker_wakes;        /* parked workers woken to look for work */
    uint64_t worker_wakes_useful; /* of those, the ones that found a task */
    uint64_t worker_wakes_useless;
    uint64_t spins; /* times that a worker polled before parking */
    uint64_t spins_useful;
    uint64_t ops_submitted; /* I/O operations given to a ring */
    uint64_t ops_direct;    /* I/O operations done by a plain system call */
    uint64_t ring_enters;   /* system calls for rings */
    uint64_t completions;
    uint64_t completions_reaped_by_others;
    uint64_t timers_fired;
    uint64_t accept_backoffs; /* pauses of listeners that ran out of descriptors or memory */
} filch_stats;

/**
 * filch_runtime_start() - start workers and driver
 * @opts:   borrowed for the call; NULL for defaults
 * @ret_rt: gets the runtime; ended by filch_runtime_shutdown()
 *
 * Thread-safety: any plain thread; several runtimes may live in a process. Blocks shortly.
 * Return: 0; -EINVAL; -ENOMEM; -EMFILE; -EAGAIN (threads cannot be created); -ENOSYS or -EPERM
 * (io_uring is missing or refused: filch_runtime_strerror() says why and what helps).
 */
FILCH_API FILCH_MUST_CHECK int filch_runtime_start(const filch_runtime_opts *opts,
                                                   filch_runtime **ret_rt);

/** filch_runtime_strerror() - one sentence with cause and remedy for an error of
 * filch_runtime_start(); static text. */
FILCH_API const char *filch_runtime_strerror(int error);

/**
 * filch_runtime_block_on() - run a function as a task and wait for it, from a plain thread
 * @fn:         runs as a task
 * @arg:        borrowed until the return
 * @ret_result: what @fn returned; may be NULL
 * @until:      at this time the task is cancelled, and waited for all the same
 *
 * Thread-safety: any plain thread, any number at once. Blocks the thread.
 * Return: 0; -ETIMEDOUT (the time was up; *@ret_result is set); -EDEADLK (called from a task);
 * -ESHUTDOWN; -ENOMEM; -EINVAL.
 */
FILCH_API FILCH_MUST_CHECK int filch_runtime_block_on(filch_runtime *rt, filch_fn fn, void *arg,
                                                      int *ret_result, filch_time until);

/**
 * filch_runtime_spawn() - start a task from any thread
 * As filch_task_spawn(), but for a plain thread or another runtime's task.
 */
FILCH_API FILCH_MUST_CHECK int filch_runtime_spawn(filch_runtime *rt, filch_fn fn, void *arg,
                                                   const filch_task_opts *opts,
                                                   filch_task **ret_task);

/**
 * filch_runtime_shutdown() - cancel all tasks, wait for them, and free the runtime
 * @rt:    consumed on success only
 * @until: stop waiting at this time
 *
 * New spawns are refused (-ESHUTDOWN), every task is cancelled (its body runs to its end), blocking
 * jobs are waited for, threads are joined, memory is freed. Handles of tasks stay valid for join
 * and detach.
 *
 * Thread-safety: one plain thread. Blocks it.
 * Return: 0; -ETIMEDOUT (tasks or jobs are still running: nothing was freed, call it again);
 * -EDEADLK (called from a task or job); -EINVAL (NULL).
 */
FILCH_API int filch_runtime_shutdown(filch_runtime *rt, filch_time until);

/**
 * filch_main() - start a runtime, run one function as its first task, shut down
 * @opts: borrowed; NULL for defaults
 *
 * Prints the reason to stderr when the runtime cannot start. Return: what @fn returned; -errno of
 * the start.
 */
FILCH_API int filch_main(filch_fn fn, void *arg, const filch_runtime_opts *opts);

/** filch_runtime_self() - the runtime of the calling task or blocking job; NULL elsewhere. */
FILCH_API filch_runtime *filch_runtime_self(void);

/** filch_runtime_stats() - copy the numbers out. Thread-safety: any thread. Return: 0; -EINVAL. */
FILCH_API int filch_runtime_stats(filch_runtime *rt, filch_stats *ret_stats);

FILCH_END_DECLS

#endif
