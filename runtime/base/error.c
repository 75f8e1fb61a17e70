/* One sentence for each error that the library returns. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include <filch/base.h>

#define UNKNOWN "unknown error"

/* What the library itself returns, in its own words: cause and remedy. */
static const char *own_words(int error)
{
    switch (error) {
    case EINVAL:
        return "an argument is NULL or out of range";
    case ENOMEM:
        return "no memory or address space, or, when a runtime starts, too little that may be "
               "locked (see RLIMIT_MEMLOCK)";
    case ETIMEDOUT:
        return "the time was up, and nothing was done";
    case ECANCELED:
        return "the calling task was cancelled, or the object was closed";
    case EPIPE:
        return "the other side has closed, and nothing is left";
    case EAGAIN:
        return "no thread can be created (see RLIMIT_NPROC and the cgroup's pids.max), or the "
               "operation must be tried again";
    case EBUSY:
        return "somebody else is doing the same at this moment";
    case EDEADLK:
        return "the call would wait for its own caller, or holds a worker up: it belongs into a "
               "plain thread";
    case ESRCH:
        return "the task was joined or detached already";
    case EBADF:
        return "the object was closed already";
    case ESHUTDOWN:
        return "the runtime is shutting down";
    case ECHILD:
        return "the runtime belongs to the parent process: after fork() the child can start one "
               "of its own, call exec or exit";
    case EPERM:
    case EACCES:
        return "not permitted: the call needs a task or job of a runtime; or, when a runtime "
               "starts with io_uring only, that is refused, by a seccomp filter (the default of "
               "container engines) or by sysctl kernel.io_uring_disabled: allow io_uring_setup, "
               "io_uring_enter and io_uring_register, or let it choose epoll";
    case ENOSYS:
        return "the kernel is too old: io_uring is needed as of Linux 6.1 or newer, or let the "
               "runtime choose epoll";
    case EMFILE:
    case ENFILE:
        return "no file descriptors left (see RLIMIT_NOFILE); a runtime needs two for each worker";
    default:
        return NULL;
    }
}

const char *filch_strerror(int error)
{
    const char *text;

    if (error >= 0)
        return "no error";
    /* Not strerror(): its text for unknown errors is in a buffer of all threads. */
    if (error == INT_MIN)
        return UNKNOWN;
    text = own_words(-error);
    if (!text)
        text = strerrordesc_np(-error);
    return text ? text : UNKNOWN;
}
