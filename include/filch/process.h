/* Processes: programs that are started, fed, waited for and ended.
 *
 *     const char *argv[] = {"sort", "-u", NULL};
 *     filch_file *in, *out;
 *     filch_process *sort;
 *     filch_process_status status;
 *
 *     filch_process_spawn(argv, &(filch_process_opts){
 *         .in = {FILCH_STDIO_PIPE, .ret_pipe = &in},
 *         .out = {FILCH_STDIO_PIPE, .ret_pipe = &out},
 *     }, &sort, until);
 *     ...
 *     filch_process_wait(sort, &status, until);
 *     filch_process_close(sort);
 *
 * or, if its output is all that matters, filch_process_run().
 *
 * A child gets what it is given and nothing else: of descriptors the three standard ones and those
 * of `fds`; no signal is blocked, and none ignored but what this process ignores itself (SIGPIPE
 * and SIGCHLD are never); those that are caught here have their default actions.
 *
 * Each child is known by a descriptor of its own (pidfd), never by its number: a signal cannot hit
 * a process that has the number by now, and children that others in this program started are not
 * touched. No child stays behind as a zombie, whether somebody waits for it or not. The program
 * must neither ignore SIGCHLD (a spawn is refused then) nor wait for all children by wait(2), which
 * takes the status away.
 */
#ifndef FILCH_PROCESS_H
#define FILCH_PROCESS_H

#include <filch/base.h>
#include <filch/file.h>
#include <filch/select.h>

FILCH_BEGIN_DECLS

typedef struct filch_process filch_process;

enum filch_stdio_kind {
    FILCH_STDIO_INHERIT, /* what this process has */
    FILCH_STDIO_NULL,    /* /dev/null */
    FILCH_STDIO_PIPE,    /* a pipe, whose other end `ret_pipe` gets */
    FILCH_STDIO_FILE,    /* `file` */
    FILCH_STDIO_FD,      /* the descriptor `fd` */
    FILCH_STDIO_OUTPUT,  /* of `err`: where `out` goes, too */
};

/* What a standard descriptor of the child is. */
typedef struct filch_stdio {
    enum filch_stdio_kind kind;
    filch_file **ret_pipe; /* the caller's end, to be closed by filch_file_close(); set on success
                              only. The end of the child's input comes with that close */
    filch_file *file;      /* borrowed for the call; shares its position with the child */
    int fd;                /* borrowed for the call */
} filch_stdio;

/* One more descriptor: the child has `from` under the number `to`, which is 3 to 255. Borrowed for
 * the call. It should be in blocking mode, as most programs expect. */
typedef struct filch_process_fd {
    int from;
    int to;
} filch_process_fd;

enum filch_process_flags {
    /* The child leads a process group of its own: a terminal's interrupt does not reach it, and
     * filch_process_kill_group() reaches all that it starts. */
    FILCH_PROCESS_NEW_GROUP = 1,
    /* The child leads a session of its own, without a terminal; a process group as well. */
    FILCH_PROCESS_NEW_SESSION = 2,
    /* filch_process_close() kills it if it has not ended, by SIGKILL. Otherwise it goes on. */
    FILCH_PROCESS_KILL_ON_CLOSE = 4,
    /* Descriptors that are not close-on-exec are inherited, too, as fork(2) and exec(2) do it. */
    FILCH_PROCESS_INHERIT_FDS = 8,
};

typedef struct filch_process_opts {
    filch_stdio in, out, err;
    const char
        *program; /* NULL: argv[0]. Without a slash it is looked for in this process's PATH */
    const char *const *env; /* "NAME=value", ends with NULL; NULL: this process's */
    const char *cwd;        /* where it begins, and where a relative program is; NULL: as here */
    const filch_process_fd *fds;
    size_t fd_count;
    unsigned flags; /* enum filch_process_flags */
    int group;      /* of a group that exists already, to join; 0: this process's */
} filch_process_opts;

/* How a process has ended. */
typedef struct filch_process_status {
    int code;                      /* what it returned: 0 to 255; -1: a signal ended it */
    int signal;                    /* that ended it; 0: none */
    bool core_dumped;              /* there is a core file */
    filch_time user_ns, system_ns; /* CPU time, with that of children that it waited for */
    uint64_t memory_max_bytes;     /* most resident at a time */
} filch_process_status;

/**
 * filch_process_spawn() - start a program
 * @argv:        its arguments, the first one its name; ends with NULL; borrowed for the call
 * @opts:        borrowed for the call; NULL for defaults
 * @ret_process: ended by filch_process_close()
 * @until:       the latest time to begin
 *
 * Returns when the program runs, or cannot: what the kernel says to its start is the result.
 * Takes a blocking thread meanwhile. Thread-safety: any. Suspends: yes. Cancellation point: yes,
 * until it has begun; nothing was started then.
 * Return: 0; -ENOENT (no such program, or `cwd`); -EACCES; -ENOEXEC; -ENOTDIR; -ELOOP; -E2BIG;
 * -ENAMETOOLONG and what else exec(2) and chdir(2) say; -EBADF (a descriptor or a file that is not
 * open); -EINVAL (NULL, no argument, a kind or flag that does not exist, a number of `fds`); -EPERM
 * (the group); -EMFILE, -ENFILE (in a race with others the child may have begun: then it was
 * killed); -ENOMEM; -EAGAIN (too many processes, no blocking thread); -ENOSYS (no pidfd); -ECHILD
 * (SIGCHLD is ignored); -ESHUTDOWN (the runtime is stopping);
 * -ETIMEDOUT; -ECANCELED.
 */
FILCH_API FILCH_MUST_CHECK int filch_process_spawn(const char *const *argv,
                                                   const filch_process_opts *opts,
                                                   filch_process **ret_process, filch_time until);

/** filch_process_id() - its number, for people and for calls that are not here. It may be somebody
 * else's when the process has ended. Suspends: no. Return: it; -EBADF (closed); -EINVAL (NULL). */
FILCH_API int filch_process_id(filch_process *process);

/**
 * filch_process_wait() - wait until it has ended
 * @ret_status: how; may be NULL
 *
 * May be called any number of times, also at once: each gets the same status. Does not close its
 * input: who keeps that open may wait for ever. Thread-safety: any. Suspends: yes. Cancellation
 * point: yes; the status is there for the next wait. Return: 0; -ETIMEDOUT; -ECANCELED (also:
 * closed meanwhile); -EBADF (closed); -ECHILD (somebody else has taken the status); -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int
filch_process_wait(filch_process *process, filch_process_status *ret_status, filch_time until);

/** filch_case_process() - the end of a process, as a case of a select. The winner calls
 * filch_process_wait(), which does not wait any more. `result`: as that of filch_case_readable().
 */
FILCH_API filch_case filch_case_process(filch_process *process);

/**
 * filch_process_kill() - send a signal
 * @signal: as for kill(2); 0 asks whether it is there
 *
 * Thread-safety: any. Suspends: no. Return: 0; -ESRCH (it has ended, and somebody knows: until the
 * first wait signals are in vain); -EPERM (it has other rights by now); -EBADF (closed); -EINVAL
 * (NULL, no such signal).
 */
FILCH_API int filch_process_kill(filch_process *process, int signal);

/** filch_process_kill_group() - send a signal to it and all of its group. Return: as
 * filch_process_kill(); -EINVAL (it was not spawned as the leader of a group). */
FILCH_API int filch_process_kill_group(filch_process *process, int signal);

/**
 * filch_process_close() - give up the handle
 * @process: consumed; NULL is allowed
 *
 * A process that has not ended goes on, or is killed (FILCH_PROCESS_KILL_ON_CLOSE); in both cases a
 * thread, which is there as long as there is such a process, takes its status when it ends. Calls
 * that wait for it end with -ECANCELED: of tasks at once, of plain threads within 50 ms. May
 * suspend until they have left; never a cancellation point. Return: 0; -EBADF (already closed).
 */
FILCH_API int filch_process_close(filch_process *process);

/* ---- a program in one call ---- */

typedef struct filch_process_run_opts {
    /* `in`, `out` and `err` that are pipes: written from `input`, and collected; their `ret_pipe`
     * is not used. The default (inherit) of `out` and `err` is to collect, that of `in` a pipe if
     * there is `input`, else /dev/null. */
    filch_process_opts process;
    const void *input; /* borrowed; a program that does not read all of it is no error */
    size_t input_bytes;
    size_t output_max; /* bytes of each of the two; 0: 16 MiB */
    filch_time
        grace_ns; /* between SIGTERM and SIGKILL when it must end early; 0: SIGKILL at once */
} filch_process_run_opts;

typedef struct filch_process_output {
    filch_process_status status;
    char *out, *err; /* with a zero behind them; from malloc(3), the caller's to free */
    size_t out_bytes, err_bytes;
} filch_process_output;

/**
 * filch_process_run() - start a program, feed it, collect its output, wait for its end
 * @opts:       borrowed for the call; NULL for defaults
 * @ret_output: filled on success only; a program that ends with another code than 0 is a success
 *              of this call
 *
 * Ends when the program has ended and both outputs have: who inherited them from it may hold them
 * longer. When the time is up, the caller is cancelled, or there is too much output, the program is
 * ended, with its group if it leads one, and nothing is left of it; that may take `grace_ns`.
 * Thread-safety: tasks. Suspends: yes. Cancellation point: yes. Return: 0; -EFBIG (more than
 * `output_max`); -ETIMEDOUT; -ECANCELED; -EPERM (no task); -ENOMEM; else as filch_process_spawn()
 * and filch_process_wait().
 */
FILCH_API FILCH_MUST_CHECK int filch_process_run(const char *const *argv,
                                                 const filch_process_run_opts *opts,
                                                 filch_process_output *ret_output,
                                                 filch_time until);

FILCH_END_DECLS

#endif
