/* Processes: waiting for them, signals to them, and their end.
 *
 *     spawn -> RUNS ---- its pidfd becomes readable ----> ZOMBIE -- reap --> ENDED
 *                \                                           (wait, kill, close, orphan.c)
 *                 close: orphan.c has it
 *
 * Whoever finds the pidfd readable takes the status, under the lock, once; it stays in the object,
 * so it is lost neither by a cancel nor between two who wait. While it is not taken the kernel
 * keeps the process's number: that is what makes a signal to its group safe [process-status];
 * signals to the process itself go by the pidfd.
 *
 * The handle is that of a filch_fd, so waiting, a case of a select and what a close does to both
 * are as for any descriptor: fd_wait.c.
 *
 * Rejected: SIGCHLD (one handler for the whole program, which has its own), waitpid(-1) (takes
 * other people's children), a thread for each wait, PR_SET_PDEATHSIG (the parent is a thread, and
 * ours come and go).
 */
#include "io/process/process.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filch/time.h>

static struct filch__pool process_pool = {
    .object_bytes =
        (sizeof(struct filch_process) + FILCH_CACHELINE - 1) / FILCH_CACHELINE * FILCH_CACHELINE,
    .link_offset = offsetof(struct filch_process, fd.fd.next),
    .forked = filch__fd_forked,
};

int filch__process_wrap(int id, int pidfd, unsigned flags, filch_process **ret_process)
{
    struct filch_process *process = filch__pool_take(&process_pool);

    if (!process)
        return -ENOMEM;
    process->fd.owned = true;
    filch__op_list_init(&process->fd.ops);
    process->id = id;
    process->flags = flags;
    pthread_mutex_init(&process->lock, NULL);
    process->ended = false;
    *ret_process = filch__fd_open(&process->fd.fd, pidfd);
    return 0;
}

void filch__process_free(struct filch_process *process)
{
    int pidfd = process->fd.fd.fd;

    filch__fd_end(&process->fd.fd, &process_pool);
    close(pidfd);
}

/* Return: 0; -EBADF; -EINVAL. Then the caller is a user of the object. */
static int enter(filch_process *handle, struct filch_process **ret_process)
{
    struct filch__fd *object;
    int r = filch__fd_enter(handle, &object);

    if (r < 0)
        return r;
    *ret_process = filch_container_of(object, struct filch_process, fd.fd);
    return 0;
}

static void leave(struct filch_process *process)
{
    filch__fd_leave(&process->fd.fd);
}

/* ---- the status ---- */

static filch_time time_of(struct timeval time)
{
    return (filch_time)time.tv_sec * FILCH_SECOND + (filch_time)time.tv_usec * FILCH_MICROSECOND;
}

static filch_process_status status_of(const siginfo_t *info, const struct rusage *usage)
{
    bool exited = info->si_code == CLD_EXITED;

    return (filch_process_status){
        .code = exited ? info->si_status : -1,
        .signal = exited ? 0 : info->si_status,
        .core_dumped = info->si_code == CLD_DUMPED,
        .user_ns = time_of(usage->ru_utime),
        .system_ns = time_of(usage->ru_stime),
        .memory_max_bytes = (uint64_t)usage->ru_maxrss * 1024,
    };
}

static int reap_locked(struct filch_process *process)
{
    siginfo_t info = {.si_pid = 0};
    struct rusage usage = {.ru_maxrss = 0};

    if (process->ended)
        return process->result;
    /* The library's function gives no usage. */
    if (syscall(SYS_waitid, P_PIDFD, process->fd.fd.fd, &info, WEXITED | WNOHANG, &usage) < 0)
        process->result = -errno;
    else if (info.si_pid == 0)
        return -EAGAIN;
    else
        process->result = 0;
    process->status = status_of(&info, &usage);
    process->ended = true;
    return process->result;
}

int filch__process_reap(struct filch_process *process)
{
    int r;

    pthread_mutex_lock(&process->lock); /* [process-status] */
    r = reap_locked(process);
    pthread_mutex_unlock(&process->lock);
    return r;
}

/* ---- calls ---- */

int filch_process_id(filch_process *handle)
{
    struct filch_process *process;
    int id, r = enter(handle, &process);

    if (r < 0)
        return r;
    id = process->id;
    leave(process);
    return id;
}

/* A tracer gets the status before the parent does. */
static int await_tracer(filch_time until)
{
    filch_time next = filch_after(10 * FILCH_MILLISECOND);

    if (filch_now() >= until)
        return -ETIMEDOUT;
    return filch_sleep(next < until ? next : until);
}

static int wait_inside(filch_process *handle, struct filch_process *process, filch_time until)
{
    int r = filch__process_reap(process);

    while (r == -EAGAIN) {
        r = filch_fd_wait((filch_fd *)handle, FILCH_FD_READABLE, NULL, until);
        if (r == -EBADF && filch__fd_is_closing(&process->fd.fd))
            return -ECANCELED;
        if (r < 0)
            return r;
        r = filch__process_reap(process);
        if (r == -EAGAIN)
            r = await_tracer(until) ?: -EAGAIN;
    }
    return r;
}

int filch_process_wait(filch_process *handle, filch_process_status *ret_status, filch_time until)
{
    struct filch_process *process;
    int r = enter(handle, &process);

    if (r < 0)
        return r;
    r = wait_inside(handle, process, until);
    if (r == 0 && ret_status)
        *ret_status = process->status;
    leave(process);
    return r;
}

filch_case filch_case_process(filch_process *handle)
{
    return filch_case_fd((filch_fd *)handle, FILCH_FD_READABLE, NULL);
}

int filch_process_kill(filch_process *handle, int signal)
{
    struct filch_process *process;
    int r = enter(handle, &process);

    if (r < 0)
        return r;
    /* Once the status is taken the kernel says ESRCH. */
    r = syscall(SYS_pidfd_send_signal, process->fd.fd.fd, signal, NULL, 0) < 0 ? -errno : 0;
    leave(process);
    return r;
}

int filch_process_kill_group(filch_process *handle, int signal)
{
    const unsigned leads = FILCH_PROCESS_NEW_GROUP | FILCH_PROCESS_NEW_SESSION;
    struct filch_process *process;
    int r = enter(handle, &process);

    if (r < 0)
        return r;
    pthread_mutex_lock(&process->lock); /* [process-status] */
    if (!(process->flags & leads))
        r = -EINVAL;
    else if (process->ended)
        r = -ESRCH;
    else
        r = kill(-process->id, signal) < 0 ? -errno : 0;
    pthread_mutex_unlock(&process->lock);
    leave(process);
    return r;
}

int filch_process_close(filch_process *handle)
{
    struct filch_process *process;
    struct filch__fd *object;
    int r;

    if (!handle)
        return 0;
    r = filch__fd_refuse(handle, &object);
    if (r < 0)
        return r;
    process = filch_container_of(object, struct filch_process, fd.fd);
    filch__op_list_end(&process->fd.ops);
    filch__fd_wait_users(object);
    if (filch__process_reap(process) != -EAGAIN) {
        filch__process_free(process);
        return 0;
    }
    if (process->flags & FILCH_PROCESS_KILL_ON_CLOSE)
        syscall(SYS_pidfd_send_signal, process->fd.fd.fd, SIGKILL, NULL, 0);
    filch__orphan_adopt(process);
    return 0;
}
