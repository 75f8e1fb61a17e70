/* The runtime: workers that run tasks, the driver that does their I/O, the blocking pool, and their
 * numbers.
 *
 * Signals: the runtime's threads block all signals but those that a fault raises (SIGSEGV, SIGBUS,
 * SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT), and are sent none by the runtime. So the host's
 * handlers run on the host's own threads, and none in a task. A host that wants a signal on them,
 * for a profiler, unblocks it in on_thread_start; the runtime's own system calls then take the
 * interruptions, but those that tasks and jobs make by themselves see EINTR.
 *
 * Without any signal: with io_uring the kernel interrupts a worker's thread that sleeps in a system
 * call of a task when an operation ends that was begun on this thread, whosever it is. It restarts
 * what it can, and the task sees nothing of it: read, write, accept, connect, poll, select, flock,
 * sleeps, and futexes, so locks too. What it never restarts (signal(7) has a list: epoll_wait,
 * sigtimedwait, semop, io_getevents, calls on a socket with SO_RCVTIMEO or SO_SNDTIMEO) ends with
 * EINTR and is to be tried again, as where there are signals. With epoll there is none of this.
 *
 * Writing to a socket never raises SIGPIPE. A child that a task or job forks off gets the mask of
 * the thread that started the runtime; posix_spawn hands the blocked signals on, unless it is told
 * not to (POSIX_SPAWN_SETSIGMASK).
 *
 * fork(): the runtimes stay with the parent, which notices nothing, whatever the child does with
 * them. In the child the calling thread is a plain thread, also when it was in a task or job; calls
 * that take a runtime of the parent return -ECHILD, as do join and cancel of its live tasks;
 * handles of connections and listeners are refused with -EBADF (their descriptors are inherited
 * like any other, and closed by exec). Objects that are memory only, such as channels and scopes,
 * must not be used in the child: nobody is there to wake who waits, or to unlock. The child may
 * exec, exit, or start a runtime of its own with new objects; if it was in a task or job it must
 * not return from its body, which aborts. The rules of POSIX for a child of a process with threads
 * hold besides. vfork and posix_spawn are not concerned.
 *
 * Stuck workers. A task that computes for long, blocks in a system call or waits for a pthread
 * mutex holds its worker up. Other workers take over what is queued behind it, its timers and its
 * I/O, within a millisecond or so while one of them is parked. If they are stuck themselves, a
 * watch (thread filch-m0, every 10 ms while anything runs) sees to it that others get on: a worker
 * whose thread sleeps is made up for by a spare one, and when all the rest compute there is one
 * spare worker besides. Tasks that were spawned pinned to the stuck worker wait. Spare workers have
 * threads named like those of workers; they sit out when they are not needed any more. So more
 * tasks may run at a time than there are workers; in a runtime with one worker only if
 * @spare_workers says so: there, without, no two tasks ever run at once. A runtime whose number of
 * workers was not given looks at the CPU quota every second while anything runs, and lets some sit
 * out while it allows fewer than at the start; but for spare ones it never has more than then.
 *
 * Crowded CPUs. Where another program, a client on the same machine for example, wants a CPU as
 * well, workers that serve I/O may share one between them: each with half of the connections, and
 * twice the changes of threads. When they have been in each other's way for a fifth of a second,
 * and fewer of them would have as much CPU, one sits out; it comes back when the others turn out to
 * get less done than all did before, when they are busy and a CPU is idle or have to wait for
 * theirs, when there is little or nothing to do, and when one of them is stuck.
 * filch_stats.workers_active tells. Not with @bind_workers, @keep_workers or @current_thread, nor
 * while there are scheduling groups, nor where the process may not use all CPUs of the machine, or
 * the kernel does not tell how long a thread has waited for its CPU
 * (/proc/self/task/TID/schedstat).
 */
#ifndef FILCH_RUNTIME_H
#define FILCH_RUNTIME_H

#include <filch/base.h>
#include <filch/log.h>
#include <filch/task.h>

FILCH_BEGIN_DECLS

/* As a number of spare workers. */
#define FILCH_NO_SPARES 0xffffffffu

/* How a runtime talks to the kernel about descriptors: see filch_engine(). */
typedef enum filch_engine_choice {
    FILCH_ENGINE_AUTO = 0, /* io_uring where the kernel allows it, else epoll */
    FILCH_ENGINE_URING,    /* io_uring, or the start fails and says why */
    FILCH_ENGINE_EPOLL,
} filch_engine_choice;

typedef enum filch_live_kind {
    FILCH_LIVE_TASK,
    FILCH_LIVE_FUTURE,
    FILCH_LIVE_JOB, /* of the blocking pool */
} filch_live_kind;

/* A task, a future or a blocking job has ended with an error that nobody can read any more. */
typedef struct filch_lost_error {
    int error; /* what it returned, negative */
    filch_live_kind kind;
    /* As given at spawn; "" for none, and of one that was detached after its end. */
    const char *name;
    filch_fn fn; /* what was spawned; NULL for a future */
    /* Where a task was spawned: a code address, for addr2line; NULL for others. */
    const void *place;
} filch_lost_error;

/* How to start. All zero, or a NULL pointer to it, gives the defaults. */
typedef struct filch_runtime_opts {
    /* Threads that run tasks. 0: as many as the CPU affinity and the cgroup quota (v1 or v2, of all
     * ancestors) allow at the start. While these allow fewer, some sit out; when they allow more
     * than at the start there are no more workers for that: where a quota is to grow later, give
     * the number, as then the quota is not followed. At most 256. */
    unsigned workers;
    /* Most threads of the blocking pool, of all classes together. 0: 512. */
    unsigned blocking_threads;
    /* How long an idle blocking thread stays. 0: 10 s. */
    filch_time blocking_keep_alive_ns;
    /* Stack of a blocking thread. 0: 2 MiB; only what is touched costs memory. Less than the
     * system's minimum for threads (sysconf(_SC_THREAD_STACK_MIN)) is refused. */
    size_t blocking_stack_bytes;
    /* How long a worker that ran out of work polls before it parks. 0: 30 us; FILCH_NEVER: not at
     * all. Where a CPU quota was used up early in the last seconds nobody polls. */
    filch_time spin_ns;
    /* Submission queue entries per worker's ring. 0: 256. Rings get smaller by themselves where
     * memory is locked short. */
    unsigned ring_entries;
    /* Most threads that the kernel may start for each worker's ring, for operations that it can
     * neither do at once nor poll: those on files and the like, and all others. 0: 4. */
    unsigned io_threads_bounded;
    unsigned io_threads_unbounded;
    /* Buffers of each worker for streams (filch/tcp_stream.h), made when the first one is opened
     * there: their number, rounded up to a power of two, 32768 at most; 0: 4096. And their size, 64
     * to 1 MiB; 0: 16 KiB. They are address space, of which what is used costs memory. */
    unsigned recv_buffers;
    size_t recv_buffer_bytes;
    /* Takes the runtime's messages. NULL: as filch_log_set() says. Must work until shutdown has
     * returned 0; @log_arg is passed to it. */
    filch_log_fn log;
    void *log_arg;
    /* First part of the threads' names, "filch" when NULL: workers are filch-w0, filch-w1,
     * blocking threads filch-b0 and so on. Cut so that a name has at most 15 bytes. Copied. */
    const char *thread_name;
    /* Most workers that may be called in, beyond @workers, for those that are stuck: see the
     * section Stuck workers above. 0: as many as @workers, but none beside a single one;
     * FILCH_NO_SPARES: none. */
    unsigned spare_workers;
    /* True: no worker touches the I/O of another that is stuck in a task, which then waits for it.
     * Else that costs the stuck thread an interruption by membarrier(2) now and then. */
    bool no_rescue;
    /* Called on each worker and blocking thread, when it starts before anything else, and as the
     * last thing before it ends; and on a worker before it blocks for want of work and after that.
     * Not in a task: they call nothing that suspends or needs one, and should be short, as they
     * hold the thread up. What @on_park makes runnable runs before the worker blocks. NULL costs
     * nothing. All get @hook_arg. */
    void (*on_thread_start)(void *hook_arg);
    void (*on_thread_stop)(void *hook_arg);
    void (*on_park)(void *hook_arg);
    void (*on_unpark)(void *hook_arg);
    void *hook_arg;
    /* No threads of its own but blocking ones: tasks run on the host's threads, one at a time, in
     * filch_runtime_block_on(), filch_runtime_turn() and filch_runtime_shutdown(), and nowhere
     * else. @workers must be 0 or 1. Nobody looks from outside how long a task has run: what the
     * section Stuck workers says is not for it, and filch_should_yield() counts operations only.
     * See filch_runtime_turn(). */
    bool current_thread;
    /* True: each worker's thread is bound to a CPU, of those that the thread which starts the
     * runtime may use: a core each, before any core has two. Workers without work look for it at
     * their neighbours first (one core, one cache, one memory, one package), as the system tells
     * (/sys/devices/system). For machines that run nothing else; where others want the same CPU
     * the worker waits for them. Spare workers are not bound. Ignored with current_thread. */
    bool bind_workers;
    /* True: no handler for stack overflows is installed for this runtime. Otherwise, from the start
     * of the first such runtime to the end of the last, SIGSEGV and SIGBUS have a handler of the
     * process that names the task that overflowed its stack, on stderr, and then does what the
     * handler that was there before does (or ends the process by SIGSEGV, as without it). Faults of
     * any other kind go to that one untouched. A handler that the host installs later replaces
     * this: it should be installed with SA_ONSTACK, and call the one that sigaction() returned for
     * faults that it does not know; it stays in place when the runtime ends. Under AddressSanitizer
     * and ThreadSanitizer there is none, as these report overflows themselves. */
    bool no_overflow_handler;
    /* A task that keeps a worker for this long without suspending is named in the log, once for
     * each time that it does: its name, where it was spawned, and whether it computes or sits in a
     * system call. Such work belongs in filch_blocking_spawn(). 0: 1 s; FILCH_NEVER: not at all.
     * Time during which the whole process is stopped does not count, nor does a task while it has
     * forked what it has not joined (see <filch/fork.h>). Not with current_thread. */
    filch_time hog_ns;
    /* For tests of programs that fork (see <filch/fork.h>): true gives every fork away at once, and
     * has many joins wait until another worker, or another turn of the same one, has run it. Slow,
     * and finds what only goes wrong when it does not run where it was forked. With FILCH_CHAOS in
     * the environment each runtime does so, and has tasks that become runnable go to any worker, in
     * any order. */
    bool chaos_forks;
    /* The engine; see filch_engine(). Where this is FILCH_ENGINE_AUTO the environment variable
     * FILCH_ENGINE decides, if it is set: auto, uring (or the start fails) or epoll. */
    filch_engine_choice engine;
    /* Called with each error that nobody can read any more: that of a task, future or blocking job
     * without a handle, or whose handle was given up by filch_task_detach() (also after its end, by
     * who calls that; in vain, when the runtime has been stopped since: nobody is told then, or the
     * next runtime that was started), and of those that a join set has let go of (when all of them
     * have ended). Not for -ECANCELED of those that were cancelled, nor any of a join set's, nor
     * for children of a scope: that one knows. On the thread on which it ended, not in a task, and
     * several at once: it should be short, and calls nothing that suspends or needs a task; it may
     * spawn. @lost is valid during the call. Gets @hook_arg. NULL: such errors are told to nobody.
     * filch_lost_error_log() is one that writes them to the log. */
    void (*on_lost_error)(void *hook_arg, const filch_lost_error *lost);
    /* True: workers that take the CPU from each other, as other programs want it too, all go on:
     * see the section Crowded CPUs above. */
    bool keep_workers;
} filch_runtime_opts;

/* Numbers since start, summed over the workers; each is exact once the runtime is idle. */
typedef struct filch_stats {
    unsigned workers;          /* as started */
    unsigned workers_active;   /* that take part at present: with spares, without those sent away */
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
    /* Times that a worker was found stuck in a task that blocks, or computes; and that another one
     * was called in. */
    uint64_t workers_blocked;
    uint64_t workers_hogged;
    uint64_t workers_called_in;
    uint64_t forks_shared;    /* forks that were put up for others, in want of work */
    uint64_t forks_moved;     /* of those, the ones that ran in a task of their own */
    uint64_t accept_backoffs; /* pauses of listeners that ran out of descriptors or memory */
    /* Of the process, not of the runtime: task stacks that exist, used or not; those of them that
     * live tasks count on, and some that workers keep in hand; their address space, with guards. */
    uint64_t stacks_mapped;
    uint64_t stacks_promised;
    uint64_t stack_map_bytes;
} filch_stats;

/**
 * filch_runtime_start() - start workers and driver
 * @opts:   borrowed for the call; NULL for defaults
 * @ret_rt: gets the runtime; ended by filch_runtime_shutdown()
 *
 * Thread-safety: any plain thread; several runtimes may live in a process. Blocks shortly.
 * Return: 0; -EINVAL; -ENOMEM; -EMFILE; -EAGAIN (threads cannot be created); with io_uring
 * or nothing (FILCH_ENGINE_URING) also -ENOSYS, -EPERM or -EACCES: it is missing or refused, and
 * filch_strerror() says why and what helps. After an error nothing is left: no thread, no
 * descriptor, no memory.
 */
FILCH_API FILCH_MUST_CHECK int filch_runtime_start(const filch_runtime_opts *opts,
                                                   filch_runtime **ret_rt);

/**
 * filch_runtime_block_on() - run a function as a task and wait for it, from a plain thread
 * @fn:         runs as a task
 * @arg:        borrowed until the return
 * @ret_result: what @fn returned; may be NULL
 * @until:      at this time the task is cancelled, and waited for all the same
 *
 * With current_thread the calling thread drives the runtime until @fn's task has ended: it runs all
 * tasks, timers and I/O. Other tasks stay where they are then, and go on in the next call or turn.
 * While another thread drives, that one runs @fn, and the caller waits; when the other leaves
 * first, the caller drives.
 *
 * Thread-safety: any plain thread, any number at once. Blocks the thread.
 * Return: 0; -ETIMEDOUT (the time was up; *@ret_result is set); -EDEADLK (called from a task);
 * -ESHUTDOWN; -ECHILD (in the child of a fork); -ENOMEM; -EINVAL.
 */
FILCH_API FILCH_MUST_CHECK int filch_runtime_block_on(filch_runtime *rt, filch_fn fn, void *arg,
                                                      int *ret_result, filch_time until);

/**
 * filch_runtime_turn() - run what there is to run, without waiting
 * @rt:        started with current_thread
 * @max_tasks: leave after so many task switches, or up to 32 more; 0: 256
 * @max_ns:    leave after this time, or up to 32 task switches later; 0: no limit
 * @ret_next:  when to call again at the latest, though nothing else happens: FILCH_NOW, if it
 *             returned 1; when the first timer is due or the runtime has idle memory to give back;
 *             FILCH_NEVER. May be NULL
 *
 * For a host with an event loop of its own: it watches filch_runtime_fd() and calls this when that
 * is readable. Tasks, timers and I/O make progress in turns (and in block_on) only; a task that
 * computes holds the host up. Between turns the calling thread is a plain thread: it may spawn,
 * wake and send as from anywhere, but must not wait for a task that only its own turns would run.
 *
 * Turns may be made by different threads, one after the other. Tasks, pinned ones too, run on
 * whichever drives, with its thread-local data, signal mask and name; on_thread_start and
 * on_thread_stop are for blocking threads only then. Operations that a thread has started are
 * finished by the kernel when that thread next makes a system call or blocks, at the latest at its
 * next timer interrupt; when it ends, they go on with the next driver.
 *
 * Thread-safety: any plain thread. Suspends: no. Keeps errno. Return: 1 (there is more to do now);
 * 0 (nothing, until the descriptor is readable); -EBUSY (another thread drives); -EDEADLK (called
 * from a task, or a function that the runtime called); -ESHUTDOWN (it is over); -ECHILD (in the
 * child of a fork); -EINVAL (NULL, or a runtime with threads).
 */
FILCH_API FILCH_MUST_CHECK int filch_runtime_turn(filch_runtime *rt, unsigned max_tasks,
                                                  filch_time max_ns, filch_time *ret_next);

/**
 * filch_runtime_fd() - a descriptor that is readable when there is something to do
 * @rt: started with current_thread
 *
 * For poll, select, epoll and the like, level-triggered: readable (POLLIN) while tasks are ready,
 * completions have come, a timer is due, or another thread has woken a task; no turn is needed
 * while it is not. Only to be watched: not to be read or closed. Valid until
 * filch_runtime_shutdown() succeeds. A host that waits in epoll_wait must take EINTR as a call for
 * trying again: the kernel interrupts it when it finishes an operation, also without any signal;
 * poll restarts by itself.
 *
 * Thread-safety: any thread. Suspends: no. The first call makes it. Return: the descriptor;
 * -EMFILE; -ENFILE; -ENOMEM; -ESHUTDOWN (it is over); -ECHILD (in the child of a fork); -EINVAL
 * (NULL, or a runtime with threads).
 */
FILCH_API FILCH_MUST_CHECK int filch_runtime_fd(filch_runtime *rt);

/**
 * filch_runtime_spawn() - start a task from any thread
 * As filch_task_spawn(), but for a plain thread or another runtime's task. It may race with
 * filch_runtime_shutdown(): either the task is spawned, and runs to its end, or the result is
 * -ESHUTDOWN and @arg is still the caller's. Return: 0; -EINVAL (NULL, or options that contradict
 * each other or name no worker); -ESHUTDOWN; -ENOMEM; -ECHILD (in the child of a fork).
 */
FILCH_API FILCH_MUST_CHECK int filch_runtime_spawn(filch_runtime *rt, filch_fn fn, void *arg,
                                                   const filch_task_opts *opts,
                                                   filch_task **ret_task);

/**
 * filch_runtime_shutdown() - cancel all tasks, wait for them, and free the runtime
 * @rt:    consumed on success only
 * @until: stop waiting at this time; FILCH_NEVER waits for as long as it takes, and says after 10 s
 *         what it is waiting for
 *
 * In this order: new spawns are refused (-ESHUTDOWN); every task is cancelled (its body runs to its
 * end) and blocking jobs are waited for; the threads end; the rings are closed and memory is freed.
 * Handles of tasks stay valid for join and detach.
 *
 * When the time is up, what has not ended is reported by name to the runtime's log, one message for
 * each of the first 32, and filch_runtime_visit() tells the same to a program. Nothing that a
 * straggler may use has been freed then, spawns stay refused, and shutdown may be called again.
 *
 * With current_thread the caller drives the runtime itself meanwhile, unless another thread does.
 *
 * Thread-safety: any plain thread, or a blocking job of another runtime. Blocks it. A second thread
 * that calls it meanwhile gets -EBUSY. Like a freed pointer, @rt must not be used after success; as
 * a safety net spawn and shutdown return -ESHUTDOWN then, until the next runtime is started.
 * Return: 0; -ETIMEDOUT; -EDEADLK (called from a task of any runtime, or from a job of @rt);
 * -EBUSY; -ESHUTDOWN (it is over already); -ECHILD (in the child of a fork: nothing is freed);
 * -EINVAL (NULL).
 */
FILCH_API int filch_runtime_shutdown(filch_runtime *rt, filch_time until);

/* Something that has been spawned and has not ended. */
typedef struct filch_live {
    const char *name; /* as given at spawn, "" for none; cut after 63 bytes */
    filch_live_kind kind;
    /* "running", "runnable" (waits for its turn, a job for a thread), or, of a parked task, what
     * for: "sleep", "join", "channel receive", "I/O", ... */
    const char *doing;
} filch_live;

/**
 * filch_runtime_visit() - look at every live task, future and job of a runtime
 * @visit: called for each; what it gets is valid during the call. It may do anything but shut
 *         runtimes down
 *
 * A picture in motion: what starts or ends meanwhile may be seen or not, and what each does is
 * true for a moment; nothing is stopped or slowed down. Costs a look at every task's control block
 * in the process.
 *
 * Thread-safety: any thread. Suspends: no. Return: how many were visited; -ECHILD (in the child of
 * a fork); -EINVAL (NULL).
 */
FILCH_API ssize_t filch_runtime_visit(filch_runtime *rt,
                                      void (*visit)(void *arg, const filch_live *live), void *arg);

/**
 * filch_main() - start a runtime, run one function as its first task, shut down
 * @opts: borrowed; NULL for defaults
 *
 * Logs the reason when the runtime cannot start. Return: what @fn returned; -errno of the start.
 */
FILCH_API int filch_main(filch_fn fn, void *arg, const filch_runtime_opts *opts);

/**
 * filch_engine() - which engine a runtime has, and why
 * @ret_reason: gets a sentence for people, such as "io_uring: setting up a ring for each worker
 *              (io_uring_setup): Operation not permitted"; may be NULL. Valid until the end of the
 *              runtime, as is the result
 *
 * There are two, with the same results and errors, operation by operation: io_uring, and epoll with
 * blocking threads, for where io_uring is refused: container engines do so by default, some systems
 * by sysctl kernel.io_uring_disabled, and kernels before Linux 6.0 lack what is needed. Which one
 * it is is found out at the start by trying: rings are set up, each opcode is asked for, and one
 * operation is carried out. With epoll a message costs two system calls, and an operation on a file
 * that must wait for the disk costs a change of threads; filch_stats.ring_enters counts epoll_wait.
 *
 * Thread-safety: any thread. Suspends: no. Return: "io_uring" or "epoll"; NULL (@rt is NULL, or of
 * the parent, in the child of a fork).
 */
FILCH_API const char *filch_engine(filch_runtime *rt, const char **ret_reason);

/**
 * filch_lost_error_log() - one line, a warning, to the log of the calling thread's runtime
 * @arg: ignored
 *
 * For filch_runtime_opts.on_lost_error: kind, name, where it was spawned, the error in words. NULL
 * does nothing. Thread-safety: any thread. Suspends: no.
 */
FILCH_API void filch_lost_error_log(void *arg, const filch_lost_error *lost);

/** filch_runtime_self() - the runtime of the calling task or blocking job; NULL elsewhere. */
FILCH_API filch_runtime *filch_runtime_self(void);

/** filch_runtime_stats() - copy the numbers out. Thread-safety: any thread. Return: 0; -EINVAL;
 * -ECHILD (in the child of a fork). */
FILCH_API int filch_runtime_stats(filch_runtime *rt, filch_stats *ret_stats);

FILCH_END_DECLS

#endif
