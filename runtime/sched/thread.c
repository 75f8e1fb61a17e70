/* See thread.h. Asynchronous signals belong to the host: its handlers run on its own threads, where
 * it expects them, tasks are never interrupted, and what tasks call does not fail with EINTR for
 * reasons that their authors cannot know of. A new thread inherits its creator's mask, so there is
 * no moment at which it takes a signal. A process that a task forks off would inherit it too, and
 * so would what it execs: deaf to SIGTERM, which nobody expects. So the child gets the host's mask.
 */
#include "runtime/sched/thread.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/sched/worker.h"

#define NAME_BYTES 16 /* the kernel's limit, with the terminating zero */
#define NAME_DEFAULT "filch"

/* Raised by what a thread does itself. Blocked they would end the process without a handler. */
static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};

static void mask_of_threads(sigset_t *ret_set)
{
    sigfillset(ret_set);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(ret_set, faults[i]);
}

int filch__thread_create(pthread_t *ret_thread, const pthread_attr_t *attr, void *(*main)(void *),
                         void *arg)
{
    sigset_t set, old;
    int r;

    mask_of_threads(&set);
    pthread_sigmask(SIG_SETMASK, &set, &old);
    r = pthread_create(ret_thread, attr, main, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return -r;
}

void filch__thread_forked(struct filch_runtime *rt)
{
    sigset_t ours, now;

    mask_of_threads(&ours);
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    for (int number = 1; number < SIGRTMIN; number++)
        if (sigismember(&ours, number) != sigismember(&now, number) && number != SIGKILL &&
            number != SIGSTOP)
            return;
    pthread_sigmask(SIG_SETMASK, &rt->host_mask, NULL);
}

void filch__thread_name(const struct filch_runtime *rt, char kind, unsigned number)
{
    const char *first = rt && rt->thread_name[0] ? rt->thread_name : NAME_DEFAULT;
    char name[4 * NAME_BYTES];
    int end_bytes = snprintf(NULL, 0, "-%c%u", kind, number);

    /* The end tells threads apart, so the beginning is cut. */
    snprintf(name, sizeof name, "%.*s-%c%u", NAME_BYTES - 1 - end_bytes, first, kind, number);
    pthread_setname_np(pthread_self(), name);
}

void filch__thread_slice(uint64_t ns)
{
    /* The kernel's struct sched_attr, which not every C library declares. */
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attr = {.size = sizeof attr};

    /* Read first: all of it is set, and the niceness is the host's. */
    if (syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) || attr.policy != SCHED_OTHER)
        return;
    attr.runtime = ns;
    (void)syscall(SYS_sched_setattr, 0, &attr, 0);
}

void filch__thread_begin(struct filch_runtime *rt, char kind, unsigned number)
{
    filch__thread_name(rt, kind, number);
    if (!rt)
        return;
    filch__log_of_thread(&rt->log);
    if (rt->opts.on_thread_start)
        rt->opts.on_thread_start(rt->opts.hook_arg);
}

void filch__thread_end(struct filch_runtime *rt)
{
    if (!rt)
        return;
    if (rt->opts.on_thread_stop)
        rt->opts.on_thread_stop(rt->opts.hook_arg);
    filch__log_of_thread(NULL);
}
