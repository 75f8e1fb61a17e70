/* Starting a program: what the options say becomes what posix_spawn(3) is told.
 *
 *     1 each descriptor that the child gets is duplicated above all numbers that it shall have, so
 *       no step overwrites what a later one needs; of a pipe, our end becomes a filch_file
 *     2 the child: duplicates in their places; everything else closed; its directory; exec
 *     3 here, whatever came of it: the duplicates and the child's ends are closed
 *
 * posix_spawn(3) shares our memory with the child until the exec, which costs no copy of page
 * tables, however large the program is, and reports what exec(2) says. It holds its thread
 * meanwhile, so it is for a blocking one.
 *
 * The pidfd is opened after the start: until somebody waits for the child its number stays its own.
 * Its place in the table of descriptors is taken before, so it is there then, unless another thread
 * has got it in between: then the child is ended, for it could not be waited for. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/fs/call.h"
#include "io/process/process.h"

#define NUMBER_MAX 255
#define KNOWN_FLAGS                                                                                \
    (FILCH_PROCESS_NEW_GROUP | FILCH_PROCESS_NEW_SESSION | FILCH_PROCESS_KILL_ON_CLOSE |           \
     FILCH_PROCESS_INHERIT_FDS)

struct plan {
    const filch_process_opts *opts;
    const char *const *argv;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    int above;                 /* the first number that the child has no descriptor with */
    int given[NUMBER_MAX + 1]; /* by the child's number: a duplicate for it, ours to close; -1 */
    filch_file *pipes[3];      /* our ends */
    int id, pidfd;
};

/* ---- descriptors ---- */

static int give(struct plan *plan, int fd, int number)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, plan->above);

    if (copy < 0)
        return errno == EINVAL ? -EMFILE : -errno; /* above the limit */
    plan->given[number] = copy;
    return -posix_spawn_file_actions_adddup2(&plan->actions, copy, number);
}

static int give_null(struct plan *plan, int number)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int r;

    if (fd < 0)
        return -errno;
    r = give(plan, fd, number);
    close(fd);
    return r;
}

static int give_pipe(struct plan *plan, int number)
{
    int ours = number == 0 ? 1 : 0; /* of the pipe's two ends */
    int ends[2];
    int r;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    r = give(plan, ends[!ours], number);
    close(ends[!ours]);
    if (r == 0)
        r = filch__pipe_wrap(ends[ours], ours == 1 ? O_WRONLY : O_RDONLY, &plan->pipes[number]);
    if (r < 0)
        close(ends[ours]);
    return r;
}

static int give_file(struct plan *plan, filch_file *file, int number)
{
    struct filch__fd *object;
    int r = filch__fd_enter(file, &object);

    if (r < 0)
        return r;
    r = give(plan, object->fd, number);
    filch__fd_leave(object);
    return r;
}

static int give_standard(struct plan *plan, const filch_stdio *stdio, int number)
{
    int output = plan->given[STDOUT_FILENO];

    switch (stdio->kind) {
    case FILCH_STDIO_INHERIT:
        return 0;
    case FILCH_STDIO_NULL:
        return give_null(plan, number);
    case FILCH_STDIO_PIPE:
        return stdio->ret_pipe ? give_pipe(plan, number) : -EINVAL;
    case FILCH_STDIO_FILE:
        return give_file(plan, stdio->file, number);
    case FILCH_STDIO_FD:
        return give(plan, stdio->fd, number);
    case FILCH_STDIO_OUTPUT:
        if (number != STDERR_FILENO)
            return -EINVAL;
        return give(plan, output >= 0 ? output : STDOUT_FILENO, number);
    }
    return -EINVAL;
}

static int give_more(struct plan *plan, const filch_process_fd *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int r = plan->given[fds[i].to] < 0 ? give(plan, fds[i].from, fds[i].to) : -EINVAL;

        if (r < 0)
            return r;
    }
    return 0;
}

/* Everything that was not given. */
static int close_others(struct plan *plan)
{
    int r = 0;

    for (int number = STDERR_FILENO + 1; number < plan->above && r == 0; number++)
        if (plan->given[number] < 0)
            r = posix_spawn_file_actions_addclose(&plan->actions, number);
    if (r == 0)
        r = posix_spawn_file_actions_addclosefrom_np(&plan->actions, plan->above);
    return r == EBADF ? -EMFILE : -r; /* above the limit */
}

static int plan_descriptors(struct plan *plan)
{
    const filch_process_opts *opts = plan->opts;
    int r = give_standard(plan, &opts->in, STDIN_FILENO);

    if (r == 0)
        r = give_standard(plan, &opts->out, STDOUT_FILENO);
    if (r == 0)
        r = give_standard(plan, &opts->err, STDERR_FILENO);
    if (r == 0)
        r = give_more(plan, opts->fds, opts->fd_count);
    if (r == 0 && !(opts->flags & FILCH_PROCESS_INHERIT_FDS))
        r = close_others(plan);
    if (r == 0 && opts->cwd)
        r = -posix_spawn_file_actions_addchdir_np(&plan->actions, opts->cwd);
    return r;
}

/* ---- the rest ---- */

static int plan_attributes(struct plan *plan)
{
    const filch_process_opts *opts = plan->opts;
    int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    sigset_t set;
    int r;

    sigemptyset(&set);
    r = posix_spawnattr_setsigmask(&plan->attr, &set);
    sigaddset(&set, SIGPIPE);
    sigaddset(&set, SIGCHLD);
    if (r == 0)
        r = posix_spawnattr_setsigdefault(&plan->attr, &set);
    if (opts->flags & FILCH_PROCESS_NEW_SESSION)
        flags |= POSIX_SPAWN_SETSID;
    else if (opts->flags & FILCH_PROCESS_NEW_GROUP || opts->group)
        flags |= POSIX_SPAWN_SETPGROUP;
    if (r == 0)
        r = posix_spawnattr_setpgroup(&plan->attr, opts->group);
    if (r == 0)
        r = posix_spawnattr_setflags(&plan->attr, (short)flags);
    return -r;
}

static int open_pidfd(pid_t id)
{
    long fd = syscall(SYS_pidfd_open, id, 0);

    return fd < 0 ? -errno : (int)fd;
}

static void end_child(pid_t id)
{
    kill(id, SIGKILL);
    while (waitpid(id, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* Then the kernel takes the status itself, and gives the number away. */
static bool children_are_dropped(void)
{
    struct sigaction action;

    sigaction(SIGCHLD, NULL, &action);
    return action.sa_handler == SIG_IGN || action.sa_flags & SA_NOCLDWAIT;
}

static int start(void *arg)
{
    struct plan *plan = arg;
    const char *program = plan->opts->program ? plan->opts->program : plan->argv[0];
    const char *const *env = plan->opts->env ? plan->opts->env : (const char *const *)environ;
    int place = open_pidfd(getpid());
    int r;

    if (place < 0)
        return place;
    r = -posix_spawnp(&plan->id, program, &plan->actions, &plan->attr, (char *const *)plan->argv,
                      (char *const *)env);
    close(place);
    if (r < 0)
        return r;
    plan->pidfd = open_pidfd(plan->id);
    if (plan->pidfd >= 0)
        return 0;
    if (plan->pidfd == -ESRCH)
        return -ECHILD; /* somebody waits for all children */
    end_child(plan->id);
    return plan->pidfd;
}

/* Return: 0; -EINVAL. */
static int check(struct plan *plan)
{
    const filch_process_opts *opts = plan->opts;

    if (!plan->argv || !plan->argv[0] || opts->flags & ~(unsigned)KNOWN_FLAGS)
        return -EINVAL;
    if ((opts->fd_count && !opts->fds) || opts->group < 0)
        return -EINVAL;
    if (opts->group && opts->flags & (FILCH_PROCESS_NEW_GROUP | FILCH_PROCESS_NEW_SESSION))
        return -EINVAL;
    plan->above = STDERR_FILENO + 1;
    for (size_t i = 0; i < opts->fd_count; i++) {
        if (opts->fds[i].to <= STDERR_FILENO || opts->fds[i].to > NUMBER_MAX)
            return -EINVAL;
        if (opts->fds[i].to >= plan->above)
            plan->above = opts->fds[i].to + 1;
    }
    return 0;
}

static void close_given(struct plan *plan)
{
    for (int number = 0; number < plan->above; number++)
        if (plan->given[number] >= 0)
            close(plan->given[number]);
}

static void hand_pipes_out(struct plan *plan)
{
    const filch_stdio *stdio[3] = {&plan->opts->in, &plan->opts->out, &plan->opts->err};

    for (int i = 0; i < 3; i++)
        if (plan->pipes[i])
            *stdio[i]->ret_pipe = plan->pipes[i];
}

static int run_plan(struct plan *plan, filch_process **ret_process, filch_time until)
{
    int r = plan_descriptors(plan);

    if (r == 0)
        r = plan_attributes(plan);
    if (r == 0 && children_are_dropped())
        r = -ECHILD;
    if (r == 0)
        r = filch__fs_job(start, plan, until);
    close_given(plan);
    if (r < 0)
        return r;
    r = filch__process_wrap(plan->id, plan->pidfd, plan->opts->flags, ret_process);
    if (r < 0) {
        end_child(plan->id);
        close(plan->pidfd);
    }
    return r;
}

int filch_process_spawn(const char *const *argv, const filch_process_opts *opts,
                        filch_process **ret_process, filch_time until)
{
    static const filch_process_opts none;
    struct plan plan = {.opts = opts ? opts : &none, .argv = argv};
    int r = check(&plan);

    if (r < 0 || !ret_process)
        return -EINVAL;
    for (int number = 0; number < plan.above; number++)
        plan.given[number] = -1;
    r = -posix_spawn_file_actions_init(&plan.actions);
    if (r < 0)
        return r;
    r = -posix_spawnattr_init(&plan.attr);
    if (r == 0) {
        r = run_plan(&plan, ret_process, until);
        posix_spawnattr_destroy(&plan.attr);
    }
    posix_spawn_file_actions_destroy(&plan.actions);
    if (r == 0)
        hand_pipes_out(&plan);
    for (int i = 0; i < 3 && r < 0; i++)
        (void)filch_file_close(plan.pipes[i]);
    return r;
}
