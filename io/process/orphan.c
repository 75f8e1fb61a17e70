/* Processes that run on when their handle is gone: somebody must take their status, or they stay as
 * zombies.
 *
 * A thread does it, which exists while there is one, and belongs to the program, as its children
 * do: runtimes come and go. It sleeps in an epoll of their pidfds, and looks at all of them when
 * one has ended: they are few. Where there are no descriptors for the epoll it looks now and then;
 * where there can be no thread, the next one that is adopted tries again.
 *
 * `lock` guards all of it. The child of a fork has no such thread, and none of these children. */
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "io/process/process.h"

/* Without an epoll, and for those that it does not know. */
#define LOOK_AGAIN_MS 100
/* For one that the epoll refused while the thread slept, or whose tracer was told first. */
#define LOOK_ANYWAY_MS 5000
/* Its functions are shallow; the rest is for what the C library keeps there. */
#define STACK_BYTES ((size_t)128 << 10)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct filch__list orphans = {&orphans, &orphans};
static int epoll_fd = -1; /* open while the thread is there, if it could be had */
static bool all_watched;  /* by the epoll */
static bool running;

/* Return: is one left? */
static bool sweep_locked(void)
{
    for (struct filch__list *link = orphans.next; link != &orphans;) {
        struct filch_process *process = filch_container_of(link, struct filch_process, orphans);

        link = link->next;
        if (filch__process_reap(process) == -EAGAIN)
            continue;
        filch__list_remove(&process->orphans);
        filch__process_free(process); /* which takes it out of the epoll */
    }
    return !filch__list_is_empty(&orphans);
}

static void end_locked(void)
{
    if (epoll_fd >= 0)
        close(epoll_fd);
    epoll_fd = -1;
    running = false;
}

static void *thread_main(void *unused)
{
    struct epoll_event events[8];

    (void)unused;
    pthread_setname_np(pthread_self(), "filch-orphans");
    for (;;) {
        int fd, pause;

        pthread_mutex_lock(&lock);
        if (!sweep_locked()) {
            end_locked();
            pthread_mutex_unlock(&lock);
            return NULL;
        }
        fd = epoll_fd;
        pause = all_watched ? LOOK_ANYWAY_MS : LOOK_AGAIN_MS;
        pthread_mutex_unlock(&lock);
        if (fd < 0)
            usleep(LOOK_AGAIN_MS * 1000);
        else
            epoll_wait(fd, events, 8, pause);
    }
}

static int start_thread(void)
{
    pthread_attr_t attr;
    sigset_t all, old;
    pthread_t thread;
    int r;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    r = pthread_create(&thread, &attr, thread_main, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return -r;
}

static void watch_locked(struct filch_process *process)
{
    struct epoll_event event = {.events = EPOLLIN};

    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, process->fd.fd.fd, &event) < 0)
        all_watched = false;
}

/* ---- fork ---- */

static void before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void after_fork_in_parent(void)
{
    pthread_mutex_unlock(&lock);
}

static void after_fork_in_child(void)
{
    filch__list_init(&orphans);
    end_locked();
    pthread_mutex_unlock(&lock);
}

static void watch_forks(void)
{
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

void filch__orphan_adopt(struct filch_process *process)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&lock);
    filch__list_push_back(&orphans, &process->orphans);
    if (!running) {
        sweep_locked();
        epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        all_watched = true;
        for (struct filch__list *link = orphans.next; link != &orphans; link = link->next)
            watch_locked(filch_container_of(link, struct filch_process, orphans));
        running = start_thread() == 0;
        if (!running)
            end_locked();
    } else {
        watch_locked(process);
    }
    pthread_mutex_unlock(&lock);
}
