/* See conformance.h: the situations that a case is put in. */
#include <sys/resource.h>

#include "tests/conformance/conformance.h"

void reset_by_client(struct place *p)
{
    struct linger linger = {1, 0};
    int fd;

    T_OK(filch_tcp_release(p->pair.client, &fd));
    p->pair.client = NULL;
    T_OK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    T_OK(close(fd));
}

void client_writes(struct place *p, const char *text)
{
    T_OK(filch_tcp_write_all(p->pair.client, text, strlen(text), NULL, T_LIMIT));
}

struct seen {
    unsigned alive, waiting;
};

static void look_at(void *arg, const filch_live *live)
{
    struct seen *seen = arg;

    if (live->kind != FILCH_LIVE_TASK || *live->name)
        return;
    seen->alive++;
    seen->waiting += strcmp(live->doing, "running") != 0 && strcmp(live->doing, "runnable") != 0;
}

void let_it_wait(void)
{
    struct seen seen;
    filch_time limit = T_LIMIT;

    do {
        T_CHECK(filch_now() < limit);
        filch_task_yield();
        seen = (struct seen){0};
        T_CHECK(filch_runtime_visit(filch_runtime_self(), look_at, &seen) > 0);
    } while (seen.alive && !seen.waiting);
}

long cancelled_meanwhile(filch_fn fn, void *arg)
{
    filch_task *task = spawn(fn, arg);

    let_it_wait();
    T_OK(filch_task_cancel(task));
    return join(task);
}

static int wait_for_cancel(filch_fn fn, void *arg)
{
    (void)filch_sleep(FILCH_NEVER);
    return fn(arg);
}

struct late {
    filch_fn fn;
    void *arg;
};

static int late_main(void *arg)
{
    struct late *late = arg;

    return wait_for_cancel(late->fn, late->arg);
}

long cancelled_before(filch_fn fn, void *arg)
{
    return cancelled_meanwhile(late_main, &(struct late){fn, arg});
}

/* Numbers below 3 are taken. A limit that lies higher would leave those that others of the
 * process's threads have at the moment, as the one that looks for hogs has a file now and then. */
long without_descriptors(filch_fn fn, void *arg)
{
    struct rlimit before, none;
    int r;

    T_OK(getrlimit(RLIMIT_NOFILE, &before));
    none = (struct rlimit){3, before.rlim_max};
    T_OK(setrlimit(RLIMIT_NOFILE, &none));
    r = fn(arg);
    T_OK(setrlimit(RLIMIT_NOFILE, &before));
    return r;
}
