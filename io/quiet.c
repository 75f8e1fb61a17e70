/* See quiet.h. */
#include "io/quiet.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

static void only_pipe(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGPIPE);
}

void filch__quiet_begin(struct filch__quiet *quiet)
{
    sigset_t pipe_only, pending;

    only_pipe(&pipe_only);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &quiet->before);
    quiet->pending = false;
    if (sigismember(&quiet->before, SIGPIPE)) { /* else it could not be */
        sigpending(&pending);
        quiet->pending = sigismember(&pending, SIGPIPE);
    }
}

void filch__quiet_end(const struct filch__quiet *quiet, bool broken)
{
    const struct timespec at_once = {0};
    sigset_t pipe_only;

    only_pipe(&pipe_only);
    if (broken && !quiet->pending)
        while (sigtimedwait(&pipe_only, NULL, &at_once) < 0 && errno == EINTR)
            ;
    pthread_sigmask(SIG_SETMASK, &quiet->before, NULL);
}
