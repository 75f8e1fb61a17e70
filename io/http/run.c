/* Serving as a program does it: until a signal asks for the end, and then gracefully. */
#include <errno.h>

#include <filch/http_server.h>
#include <filch/scope.h>
#include <filch/select.h>
#include <filch/signal.h>
#include <filch/time.h>

struct run {
    filch_http_server *server;
    filch_listener *listener;
    filch_token *served; /* cancelled when serving has ended, whatever the reason */
};

static int serve(void *arg)
{
    struct run *run = arg;
    int r = filch_http_serve(run->server, run->listener, FILCH_NEVER);

    filch_token_cancel(run->served, r < 0 ? r : -ESHUTDOWN, NULL);
    return r;
}

/* Return: 0: a signal came; else what serving has ended with, or the wait. */
static int wait_for_signal(struct run *run, filch_token *asked, filch_time until)
{
    filch_case cases[] = {filch_case_token(run->served), filch_case_token(asked)};
    int r = filch_select(cases, 2, FILCH_SELECT_ORDERED, until);

    return r < 0 ? r : r == 1 ? 0 : filch_token_cause(run->served, NULL);
}

static int serve_until(struct run *run, filch_token *asked, filch_time drain_ns, filch_time until)
{
    int r;

    FILCH_SCOPE(scope);
    r = filch_scope_spawn_opts(&scope, serve, run, &(filch_task_opts){.name = "http serve"});
    if (r == 0)
        r = wait_for_signal(run, asked, until);
    if (r == 0) {
        r = filch_http_drain(run->server, filch_after(drain_ns));
        if (r == 0)
            r = filch_scope_join(&scope, FILCH_NEVER);
    }
    return r == -ESHUTDOWN ? 0 : r; /* somebody else has drained it */
}

int filch_http_serve_until_signal(filch_http_server *server, filch_listener *listener,
                                  filch_time drain_ns, filch_time until)
{
    struct run run = {.server = server, .listener = listener};
    filch_shutdown_signals *signals;
    filch_token *asked;
    int r;

    if (!server || !listener)
        return -EINVAL;
    if (!filch_task_self())
        return -EPERM;
    r = filch_token_new(&run.served);
    if (r < 0)
        return r;
    r = filch_token_new(&asked);
    if (r == 0) {
        r = filch_shutdown_signals_open(asked, &signals);
        if (r == 0) {
            r = serve_until(&run, asked, drain_ns, until);
            filch_shutdown_signals_close(signals);
        }
        filch_token_unref(asked);
    }
    filch_token_unref(run.served);
    return r;
}
