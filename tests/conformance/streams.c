/* Reads and writes of TCP connections: see conformance.h. */
#include <sys/uio.h>

#include "tests/conformance/conformance.h"

/* ---- reads ---- */

static int read_some(void *arg)
{
    struct place *p = arg;
    char buf[64];

    return (int)filch_tcp_read(p->pair.server, buf, sizeof buf, FILCH_NEVER);
}

static long read_ok(struct place *p)
{
    client_writes(p, "abc");
    return read_some(p);
}

static long read_vector(struct place *p)
{
    char a[2], b[16];
    struct iovec iov[] = {{a, sizeof a}, {b, sizeof b}};

    client_writes(p, "abcde");
    return filch_tcp_readv(p->pair.server, iov, 2, T_LIMIT);
}

static long read_exact_at_the_end(struct place *p)
{
    size_t done = 0;
    char buf[8];
    int r;

    client_writes(p, "abc");
    T_OK(filch_tcp_shutdown_write(p->pair.client));
    r = filch_tcp_read_exact(p->pair.server, buf, sizeof buf, &done, T_LIMIT);
    return done == 3 ? r : -1;
}

static long read_nothing_wanted(struct place *p)
{
    return filch_tcp_read(p->pair.server, NULL, 0, FILCH_NEVER);
}

static long read_bad_buffer(struct place *p)
{
    return filch_tcp_read(p->pair.server, NULL, 8, FILCH_NEVER);
}

static long read_nothing_there(struct place *p)
{
    char byte;

    return filch_tcp_read(p->pair.server, &byte, 1, FILCH_NOW);
}

static long read_times_out(struct place *p)
{
    char byte;
    long r = filch_tcp_read(p->pair.server, &byte, 1, SHORT_LIMIT);

    client_writes(p, "x"); /* and nothing was lost */
    return filch_tcp_read(p->pair.server, &byte, 1, T_LIMIT) == 1 && byte == 'x' ? r : -1;
}

static long read_cancelled(struct place *p)
{
    char byte;
    long r = cancelled_meanwhile(read_some, p);

    client_writes(p, "x");
    return filch_tcp_read(p->pair.server, &byte, 1, T_LIMIT) == 1 && byte == 'x' ? r : -1;
}

static long read_cancelled_before(struct place *p)
{
    return cancelled_before(read_some, p);
}

static long read_cancelled_before_with_data(struct place *p)
{
    client_writes(p, "abc");
    T_IS(filch_tcp_read(p->pair.client, NULL, 0, FILCH_NEVER), 0);
    return cancelled_before(read_some, p);
}

static long read_from_one_that_closed(struct place *p)
{
    client_writes(p, "ab");
    T_OK(filch_tcp_close(p->pair.client));
    p->pair.client = NULL;
    T_IS(read_some(p), 2);
    T_IS(read_some(p), 0);
    return read_some(p);
}

static long read_from_one_that_reset(struct place *p)
{
    reset_by_client(p);
    return read_some(p);
}

static long read_while_reset(struct place *p)
{
    filch_task *task = spawn(read_some, p);

    let_it_wait();
    reset_by_client(p);
    return join(task);
}

static long read_half_closed(struct place *p)
{
    char byte;

    T_OK(filch_tcp_shutdown_write(p->pair.client));
    T_IS(read_some(p), 0);
    T_OK(filch_tcp_write_all(p->pair.server, "z", 1, NULL, T_LIMIT));
    return filch_tcp_read(p->pair.client, &byte, 1, T_LIMIT);
}

static long read_closed_handle(struct place *p)
{
    filch_tcp *conn = p->pair.server;
    char byte;

    T_OK(filch_tcp_close(conn));
    p->pair.server = NULL;
    return filch_tcp_read(conn, &byte, 1, FILCH_NEVER);
}

static long read_while_closed(struct place *p)
{
    filch_task *task = spawn(read_some, p);

    let_it_wait();
    T_OK(filch_tcp_close(p->pair.server));
    p->pair.server = NULL;
    return join(task);
}

/* ---- writes ---- */

static int write_many(void *arg)
{
    struct place *p = arg;
    char *buf = calloc(1, MANY);
    size_t done = 0;
    int r = filch_tcp_write_all(p->pair.server, buf, MANY, &done, FILCH_NEVER);

    free(buf);
    return done < MANY || r == 0 ? r : -1;
}

static long write_ok(struct place *p)
{
    return filch_tcp_write(p->pair.server, "abc", 3, T_LIMIT);
}

static long write_nothing(struct place *p)
{
    return filch_tcp_write(p->pair.server, NULL, 0, T_LIMIT);
}

static long write_times_out(struct place *p)
{
    char *buf = calloc(1, MANY);
    int r = filch_tcp_write_all(p->pair.server, buf, MANY, NULL, SHORT_LIMIT);

    free(buf);
    return r;
}

/* As much as the sockets take, without waiting. Return: what ended it. */
static long fill_up(struct place *p)
{
    char buf[65536] = {0};
    ssize_t n;

    while ((n = filch_tcp_write(p->pair.server, buf, sizeof buf, FILCH_NOW)) > 0)
        ;
    return n;
}

static long write_no_room(struct place *p)
{
    return fill_up(p);
}

static int write_one(void *arg)
{
    struct place *p = arg;

    return (int)filch_tcp_write(p->pair.server, "x", 1, FILCH_NEVER);
}

/* Late acknowledgements make some room. */
static long write_cancelled_before(struct place *p)
{
    filch_time limit = T_LIMIT;
    long r;

    do {
        T_CHECK(filch_now() < limit);
        (void)fill_up(p);
        r = cancelled_before(write_one, p);
    } while (r > 0);
    return r;
}

static long write_cancelled_before_with_room(struct place *p)
{
    return cancelled_before(write_one, p);
}

static long write_closed_handle(struct place *p)
{
    filch_tcp *closed = p->pair.server;

    T_OK(filch_tcp_close(closed));
    p->pair.server = NULL;
    return filch_tcp_write(closed, "x", 1, FILCH_NEVER);
}

static long write_while_closed(struct place *p)
{
    filch_task *task = spawn(write_many, p);

    let_it_wait();
    T_OK(filch_tcp_close(p->pair.server));
    p->pair.server = NULL;
    return join(task);
}

static long write_bad_buffer(struct place *p)
{
    return filch_tcp_write(p->pair.server, NULL, 8, FILCH_NEVER);
}

static int drain(void *arg)
{
    struct place *p = arg;
    char buf[65536];
    size_t total = 0;
    ssize_t n;

    while (total < MANY && (n = filch_tcp_read(p->pair.client, buf, sizeof buf, T_LIMIT)) > 0)
        total += (size_t)n;
    return total == MANY;
}

static long write_many_ok(struct place *p)
{
    filch_task *task = spawn(drain, p);
    int r = write_many(p);

    return join(task) == 1 ? r : -1;
}

static long write_cancelled(struct place *p)
{
    return cancelled_meanwhile(write_many, p);
}

static long write_after_shutdown(struct place *p)
{
    T_OK(filch_tcp_shutdown_write(p->pair.server));
    return filch_tcp_write(p->pair.server, "x", 1, T_LIMIT);
}

static long write_to_one_that_reset(struct place *p)
{
    reset_by_client(p);
    T_IS(read_some(p), -ECONNRESET);
    return filch_tcp_write(p->pair.server, "x", 1, T_LIMIT);
}

const struct conformance_case stream_cases[] = {
    CASE(read_ok, 3),
    CASE(read_vector, 5),
    CASE(read_exact_at_the_end, -EPIPE),
    CASE(read_nothing_wanted, 0),
    CASE(read_bad_buffer, -EINVAL),
    CASE(read_nothing_there, -ETIMEDOUT),
    CASE(read_times_out, -ETIMEDOUT),
    CASE(read_cancelled, -ECANCELED),
    CASE(read_cancelled_before, -ECANCELED),
    CASE(read_cancelled_before_with_data, 3),
    CASE(read_from_one_that_closed, 0),
    CASE(read_from_one_that_reset, -ECONNRESET),
    CASE(read_while_reset, -ECONNRESET),
    CASE(read_half_closed, 1),
    CASE(read_closed_handle, -EBADF),
    CASE(read_while_closed, -ECANCELED),
    CASE(write_ok, 3),
    CASE(write_nothing, 0),
    CASE(write_times_out, -ETIMEDOUT),
    CASE(write_many_ok, 0),
    CASE(write_no_room, -ETIMEDOUT),
    CASE(write_cancelled, -ECANCELED),
    CASE(write_cancelled_before, -ECANCELED),
    CASE(write_cancelled_before_with_room, 1),
    CASE(write_closed_handle, -EBADF),
    CASE(write_while_closed, -ECANCELED),
    CASE(write_bad_buffer, -EINVAL),
    CASE(write_after_shutdown, -EPIPE),
    CASE(write_to_one_that_reset, -EPIPE),
    {0},
};
