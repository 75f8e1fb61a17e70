/* Accepts, connects and readiness: see conformance.h. */
#include <fcntl.h>

#include <filch/fd.h>

#include "tests/conformance/conformance.h"

/* ---- accepts and connects ---- */

static int accept_one(void *arg)
{
    struct place *p = arg;
    filch_tcp *conn = NULL;
    int r = filch_listener_accept(p->pair.listener, &conn, FILCH_NEVER);

    if (r == 0)
        T_OK(filch_tcp_close(conn));
    return r;
}

static long accept_ok(struct place *p)
{
    filch_tcp *conn;
    int r;

    T_OK(filch_tcp_connect(p->pair.addr, &conn, T_LIMIT));
    r = accept_one(p);
    T_OK(filch_tcp_close(conn));
    return r;
}

static long accept_times_out(struct place *p)
{
    filch_tcp *conn;
    int r = filch_listener_accept(p->pair.listener, &conn, SHORT_LIMIT);

    return accept_ok(p) == 0 ? r : -1;
}

static long accept_nothing_there(struct place *p)
{
    filch_tcp *conn;

    return filch_listener_accept(p->pair.listener, &conn, FILCH_NOW);
}

static long accept_cancelled(struct place *p)
{
    long r = cancelled_meanwhile(accept_one, p);

    return accept_ok(p) == 0 ? r : -1;
}

static long accept_cancelled_before(struct place *p)
{
    return cancelled_before(accept_one, p);
}

/* It is there, so it is taken: nobody would answer it else. */
static long accept_cancelled_before_with_one(struct place *p)
{
    filch_tcp *conn;
    long r;

    T_OK(filch_tcp_connect(p->pair.addr, &conn, T_LIMIT));
    r = cancelled_before(accept_one, p);
    T_OK(filch_tcp_close(conn));
    return r;
}

static long accept_closed_handle(struct place *p)
{
    filch_listener *closed = p->pair.listener;
    filch_tcp *conn;

    T_OK(filch_listener_close(closed));
    p->pair.listener = NULL;
    return filch_listener_accept(closed, &conn, FILCH_NEVER);
}

static long accept_while_closed(struct place *p)
{
    filch_task *task = spawn(accept_one, p);

    let_it_wait();
    T_OK(filch_listener_close(p->pair.listener));
    p->pair.listener = NULL;
    return join(task);
}

static int accept_for_a_while(void *arg)
{
    struct tcp_pair *own = arg;

    return filch_listener_accept(own->listener, &own->server, filch_after(20 * FILCH_MILLISECOND));
}

/* With no descriptor to be had, and then with some: nobody is lost. */
static long accept_beyond_the_limit(struct place *p)
{
    struct tcp_pair own;
    long r;

    (void)p;
    listen_any(&own); /* nobody accepts there yet */
    T_OK(filch_tcp_connect(own.addr, &own.client, T_LIMIT));
    r = without_descriptors(accept_for_a_while, &own);
    T_OK(filch_listener_accept(own.listener, &own.server, T_LIMIT));
    close_pair(&own);
    return r;
}

static long connect_refused(struct place *p)
{
    filch_tcp *conn;

    T_OK(filch_listener_close(p->pair.listener));
    p->pair.listener = NULL;
    return filch_tcp_connect(p->pair.addr, &conn, T_LIMIT);
}

static long connect_nowhere(struct place *p)
{
    filch_tcp *conn;

    (void)p;
    return filch_tcp_connect("nowhere", &conn, T_LIMIT);
}

static int connect_there(void *arg)
{
    struct place *p = arg;
    filch_tcp *conn;
    int r = filch_tcp_connect(p->pair.addr, &conn, FILCH_NEVER);

    if (r == 0)
        T_OK(filch_tcp_close(conn));
    return r;
}

static long connect_ok(struct place *p)
{
    return connect_there(p);
}

static long connect_beyond_the_limit(struct place *p)
{
    return without_descriptors(connect_there, p);
}

/* ---- readiness ---- */

static long select_readable(struct place *p)
{
    filch_case cases[] = {filch_case_readable(p->pair.client), filch_case_readable(p->pair.server)};

    client_writes(p, "x");
    return filch_select(cases, 2, 0, T_LIMIT);
}

static long select_times_out(struct place *p)
{
    filch_case cases[] = {filch_case_readable(p->pair.client),
                          filch_case_acceptable(p->pair.listener)};

    return filch_select(cases, 2, 0, SHORT_LIMIT);
}

struct ends {
    int raw[2];
};

static int wait_raw(void *arg)
{
    struct ends *ends = arg;

    return filch_fd_poll(ends->raw[0], FILCH_FD_READABLE, NULL, FILCH_NEVER);
}

/* The number stands for something new each time. */
static long fd_of_others(struct place *p)
{
    struct ends ends;
    long r = 0;

    (void)p;
    for (int i = 0; i < 3 && r == 0; i++) {
        filch_task *task;

        T_OK(pipe2(ends.raw, O_CLOEXEC));
        task = spawn(wait_raw, &ends);
        let_it_wait();
        T_IS(write(ends.raw[1], "x", 1), 1);
        r = join(task);
        close(ends.raw[0]);
        close(ends.raw[1]);
    }
    return r;
}

static long fd_cancelled(struct place *p)
{
    struct ends ends;
    long r;

    (void)p;
    T_OK(pipe2(ends.raw, O_CLOEXEC));
    r = cancelled_meanwhile(wait_raw, &ends);
    close(ends.raw[0]);
    close(ends.raw[1]);
    return r;
}

static long fd_closed(struct place *p)
{
    (void)p;
    return filch_fd_poll(1000, FILCH_FD_READABLE, NULL, T_LIMIT);
}

const struct conformance_case accept_cases[] = {
    CASE(accept_ok, 0),
    CASE(accept_times_out, -ETIMEDOUT),
    CASE(accept_nothing_there, -ETIMEDOUT),
    CASE(accept_cancelled, -ECANCELED),
    CASE(accept_cancelled_before, -ECANCELED),
    CASE(accept_cancelled_before_with_one, 0),
    CASE(accept_closed_handle, -EBADF),
    CASE(accept_while_closed, -ECANCELED),
    CASE(accept_beyond_the_limit, -ETIMEDOUT),
    CASE(connect_ok, 0),
    CASE(connect_refused, -ECONNREFUSED),
    CASE(connect_nowhere, -EINVAL),
    CASE(connect_beyond_the_limit, -EMFILE),
    CASE(select_readable, 1),
    CASE(select_times_out, -ETIMEDOUT),
    CASE(fd_of_others, 0),
    CASE(fd_cancelled, -ECANCELED),
    CASE(fd_closed, -EBADF),
    {0},
};
