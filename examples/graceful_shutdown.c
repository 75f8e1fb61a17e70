/* A clean stop by SIGTERM or SIGINT: no new jobs, those that were begun are finished, within a
 * limit of time, and the program says what it did. */
#include <filch/filch.h>

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

static atomic_int begun, finished;
static sigset_t stop;

/* On a thread of the blocking pool: sigwait() blocks. */
static int wait_for_stop(void *arg)
{
    int signal_number;

    (void)arg;
    return -sigwait(&stop, &signal_number);
}

static int job(void *arg)
{
    (void)arg;
    atomic_fetch_add(&begun, 1);
    if (filch_sleep(filch_after(20 * FILCH_MILLISECOND)) == 0) /* the work */
        atomic_fetch_add(&finished, 1);
    return 0;
}

static int serve_until_stop(void)
{
    filch_task *signal;
    int r = filch_blocking_spawn(wait_for_stop, NULL, NULL, &signal);

    if (r < 0)
        return r;
    FILCH_SCOPE(jobs);
    printf("running\n");
    fflush(stdout);
    while (filch_task_join(signal, &r, filch_after(FILCH_MILLISECOND)) == -ETIMEDOUT)
        if (filch_scope_spawn(&jobs, job, NULL) < 0)
            fprintf(stderr, "a job was refused\n");
    if (filch_scope_join(&jobs, filch_after(5 * FILCH_SECOND)) < 0)
        printf("time is up\n"); /* the scope cancels and joins what is left */
    return r;
}

static int shutdown_main(void *arg)
{
    int r = serve_until_stop();

    (void)arg;
    if (r == 0)
        printf("all that was begun is finished: %s\n",
               atomic_load(&begun) == atomic_load(&finished) ? "yes" : "no");
    return r;
}

int main(void)
{
    /* Blocked before any thread is started, so that only sigwait() sees them. */
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    return filch_main(shutdown_main, NULL, NULL) < 0;
}
