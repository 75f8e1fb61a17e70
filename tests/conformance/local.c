/* Unix sockets, streams and datagrams: see conformance.h. */
#include <fcntl.h>
#include <unistd.h>

#include <filch/unix.h>

#include "tests/conformance/conformance.h"

/* Two ends that are connected; a case may end one of them. */
struct local {
    filch_unix *a, *b;
    filch_unix_dgram *x, *y;
};

static void open_local(struct local *local)
{
    T_OK(filch_unix_pair(&local->a, &local->b));
    T_OK(filch_unix_dgram_pair(&local->x, &local->y));
}

/* Return: @r. */
static long close_local(struct local *local, long r)
{
    T_OK(filch_unix_close(local->a));
    T_OK(filch_unix_close(local->b));
    T_OK(filch_unix_dgram_close(local->x));
    T_OK(filch_unix_dgram_close(local->y));
    return r;
}

static int read_local(void *arg)
{
    struct local *local = arg;
    char buf[16];

    return (int)filch_unix_read(local->a, buf, sizeof buf, FILCH_NEVER);
}

static long local_ok(struct place *p)
{
    struct local local;

    (void)p;
    open_local(&local);
    T_IS(filch_unix_write(local.b, "abc", 3, T_LIMIT), 3);
    return close_local(&local, read_local(&local));
}

static long local_times_out(struct place *p)
{
    struct local local;
    char byte;
    long r;

    (void)p;
    open_local(&local);
    r = filch_unix_read(local.a, &byte, 1, SHORT_LIMIT);
    T_IS(filch_unix_write(local.b, "abc", 3, T_LIMIT), 3);
    T_IS(read_local(&local), 3); /* and nothing was lost */
    return close_local(&local, r);
}

static long local_cancelled(struct place *p)
{
    struct local local;
    long r;

    (void)p;
    open_local(&local);
    r = cancelled_meanwhile(read_local, &local);
    T_IS(filch_unix_write(local.b, "abc", 3, T_LIMIT), 3);
    T_IS(read_local(&local), 3);
    return close_local(&local, r);
}

static long local_cancelled_before(struct place *p)
{
    struct local local;

    (void)p;
    open_local(&local);
    return close_local(&local, cancelled_before(read_local, &local));
}

static long local_nothing_there(struct place *p)
{
    struct local local;
    char byte;

    (void)p;
    open_local(&local);
    return close_local(&local, filch_unix_read(local.a, &byte, 1, FILCH_NOW));
}

/* As much as the socket takes, without waiting. Return: what ended it. */
static long fill_local(struct local *local)
{
    char buf[4096] = {0};
    ssize_t n;

    while ((n = filch_unix_write(local->b, buf, sizeof buf, FILCH_NOW)) > 0)
        ;
    return n;
}

static int write_local(void *arg)
{
    struct local *local = arg;

    return (int)filch_unix_write(local->b, "x", 1, FILCH_NEVER);
}

static long local_no_room(struct place *p)
{
    struct local local;

    (void)p;
    open_local(&local);
    return close_local(&local, fill_local(&local));
}

static long local_write_times_out(struct place *p)
{
    struct local local;

    (void)p;
    open_local(&local);
    (void)fill_local(&local);
    return close_local(&local, filch_unix_write(local.b, "x", 1, SHORT_LIMIT));
}

static long local_write_cancelled(struct place *p)
{
    struct local local;

    (void)p;
    open_local(&local);
    (void)fill_local(&local);
    return close_local(&local, cancelled_meanwhile(write_local, &local));
}

static long local_write_cancelled_before(struct place *p)
{
    struct local local;

    (void)p;
    open_local(&local);
    (void)fill_local(&local);
    return close_local(&local, cancelled_before(write_local, &local));
}

/* Reading makes room. */
static long local_write_that_waits(struct place *p)
{
    struct local local;
    filch_task *task;
    char buf[4096];

    (void)p;
    open_local(&local);
    (void)fill_local(&local);
    task = spawn(write_local, &local);
    let_it_wait();
    while (filch_unix_read(local.a, buf, sizeof buf, FILCH_NOW) > 0)
        ;
    return close_local(&local, join(task));
}

static long local_write_while_closed(struct place *p)
{
    struct local local;
    filch_task *task;
    long r;

    (void)p;
    open_local(&local);
    (void)fill_local(&local);
    task = spawn(write_local, &local);
    let_it_wait();
    T_OK(filch_unix_close(local.b));
    r = join(task);
    local.b = NULL;
    return close_local(&local, r);
}

static long local_half_closed(struct place *p)
{
    struct local local;
    char byte;

    (void)p;
    open_local(&local);
    T_OK(filch_unix_shutdown_write(local.b));
    T_IS(read_local(&local), 0);
    T_IS(filch_unix_write(local.a, "z", 1, T_LIMIT), 1);
    return close_local(&local, filch_unix_read(local.b, &byte, 1, T_LIMIT));
}

/* It had bytes that it did not read: that is a reset. */
static long local_peer_gone(struct place *p)
{
    struct local local;

    (void)p;
    open_local(&local);
    T_IS(filch_unix_write(local.a, "x", 1, T_LIMIT), 1);
    T_OK(filch_unix_close(local.b));
    local.b = NULL;
    T_IS(read_local(&local), -ECONNRESET);
    return close_local(&local, filch_unix_write(local.a, "x", 1, T_LIMIT));
}

static long local_closed_handle(struct place *p)
{
    struct local local;
    filch_unix *closed;
    char byte;
    long r;

    (void)p;
    open_local(&local);
    closed = local.a;
    T_OK(filch_unix_close(local.a));
    local.a = NULL;
    r = filch_unix_read(closed, &byte, 1, FILCH_NEVER);
    return close_local(&local, r);
}

static long local_while_closed(struct place *p)
{
    struct local local;
    filch_task *task;
    long r;

    (void)p;
    open_local(&local);
    task = spawn(read_local, &local);
    let_it_wait();
    T_OK(filch_unix_close(local.a));
    r = join(task);
    local.a = NULL;
    return close_local(&local, r);
}

static long local_nothing_wanted(struct place *p)
{
    struct local local;

    (void)p;
    open_local(&local);
    return close_local(&local, filch_unix_read(local.a, NULL, 0, FILCH_NEVER));
}

static long local_bad_buffer(struct place *p)
{
    struct local local;

    (void)p;
    open_local(&local);
    return close_local(&local, filch_unix_read(local.a, NULL, 8, FILCH_NEVER));
}

static long local_descriptors(struct place *p)
{
    struct local local;
    int fd[3], out[2] = {0, 1};
    filch_unix_fds fds = {.fds = fd, .room = 3};
    char byte;

    (void)p;
    open_local(&local);
    T_IS(filch_unix_send_fds(local.a, "x", 1, out, 2, T_LIMIT), 1);
    T_IS(filch_unix_recv_fds(local.b, &byte, 1, &fds, T_LIMIT), 1);
    for (size_t i = 0; i < fds.count; i++)
        T_OK(close(fd[i]));
    return close_local(&local, fds.lost ? -1 : (long)fds.count);
}

static long connect_to_no_path(struct place *p)
{
    filch_unix *conn;

    return filch_unix_connect(p->none, &conn, T_LIMIT);
}

static long connect_to_a_file(struct place *p)
{
    filch_unix *conn;

    return filch_unix_connect(p->path, &conn, T_LIMIT);
}

static long listen_where_something_is(struct place *p)
{
    filch_unix_listener *listener;

    return filch_unix_listener_open(p->path, NULL, &listener);
}

static int accept_local(void *arg)
{
    filch_unix *conn;
    int r = filch_unix_listener_accept(arg, &conn, FILCH_NEVER);

    if (r == 0)
        T_OK(filch_unix_close(conn));
    return r;
}

static long accept_local_ok(struct place *p)
{
    filch_unix_listener *listener;
    filch_unix *conn;
    long r;

    T_OK(filch_unix_listener_open(p->none, NULL, &listener));
    T_IS(cancelled_meanwhile(accept_local, listener), -ECANCELED);
    T_OK(filch_unix_connect(p->none, &conn, T_LIMIT));
    r = accept_local(listener);
    T_OK(filch_unix_close(conn));
    T_OK(filch_unix_listener_close(listener));
    return r;
}

/* ---- datagrams ---- */

static int recv_local(void *arg)
{
    struct local *local = arg;
    char buf[4];

    return (int)filch_unix_dgram_recv(local->x, buf, sizeof buf, NULL, NULL, NULL, FILCH_NEVER);
}

static long dgram_ok(struct place *p)
{
    struct local local;

    (void)p;
    open_local(&local);
    T_IS(filch_unix_dgram_send(local.y, "abc", 3, NULL, NULL, 0, T_LIMIT), 3);
    return close_local(&local, recv_local(&local));
}

static long dgram_of_nothing(struct place *p)
{
    struct local local;

    (void)p;
    open_local(&local);
    T_IS(filch_unix_dgram_send(local.y, NULL, 0, NULL, NULL, 0, T_LIMIT), 0);
    return close_local(&local, recv_local(&local));
}

static long dgram_cut(struct place *p)
{
    struct local local;
    size_t size = 0;
    char buf[4];

    (void)p;
    open_local(&local);
    T_IS(filch_unix_dgram_send(local.y, "abcdefgh", 8, NULL, NULL, 0, T_LIMIT), 8);
    T_IS(filch_unix_dgram_recv(local.x, buf, 4, NULL, NULL, &size, T_LIMIT), 4);
    return close_local(&local, (long)size);
}

static long dgram_times_out(struct place *p)
{
    struct local local;
    char buf[4];
    long r;

    (void)p;
    open_local(&local);
    r = filch_unix_dgram_recv(local.x, buf, 4, NULL, NULL, NULL, SHORT_LIMIT);
    return close_local(&local, r);
}

static long dgram_cancelled(struct place *p)
{
    struct local local;
    long r;

    (void)p;
    open_local(&local);
    r = cancelled_meanwhile(recv_local, &local);
    T_IS(filch_unix_dgram_send(local.y, "abc", 3, NULL, NULL, 0, T_LIMIT), 3);
    T_IS(recv_local(&local), 3);
    return close_local(&local, r);
}

static int send_local(void *arg)
{
    struct local *local = arg;
    int r;

    do {
        r = (int)filch_unix_dgram_send(local->y, "x", 1, NULL, NULL, 0, FILCH_NEVER);
    } while (r == 1);
    return r;
}

/* The receiver's queue has a limit. */
static long dgram_cancelled_when_full(struct place *p)
{
    struct local local;

    (void)p;
    open_local(&local);
    return close_local(&local, cancelled_meanwhile(send_local, &local));
}

static long dgram_nothing_there(struct place *p)
{
    struct local local;
    char buf[4];
    long r;

    (void)p;
    open_local(&local);
    r = filch_unix_dgram_recv(local.x, buf, sizeof buf, NULL, NULL, NULL, FILCH_NOW);
    return close_local(&local, r);
}

static long dgram_cancelled_before(struct place *p)
{
    struct local local;

    (void)p;
    open_local(&local);
    return close_local(&local, cancelled_before(recv_local, &local));
}

static long dgram_closed_handle(struct place *p)
{
    struct local local;
    filch_unix_dgram *closed;
    char buf[4];
    long r;

    (void)p;
    open_local(&local);
    closed = local.x;
    T_OK(filch_unix_dgram_close(closed));
    local.x = NULL;
    r = filch_unix_dgram_recv(closed, buf, sizeof buf, NULL, NULL, NULL, FILCH_NEVER);
    return close_local(&local, r);
}

/* Until the receiver's queue is full. Return: what ended it. */
static long fill_queue(struct local *local, filch_time until)
{
    ssize_t n;

    while ((n = filch_unix_dgram_send(local->y, "x", 1, NULL, NULL, 0, until)) > 0)
        ;
    return n;
}

static long dgram_no_room(struct place *p)
{
    struct local local;

    (void)p;
    open_local(&local);
    return close_local(&local, fill_queue(&local, FILCH_NOW));
}

static long dgram_send_times_out(struct place *p)
{
    struct local local;

    (void)p;
    open_local(&local);
    return close_local(&local, fill_queue(&local, SHORT_LIMIT));
}

static long dgram_send_while_closed(struct place *p)
{
    struct local local;
    filch_task *task;
    long r;

    (void)p;
    open_local(&local);
    (void)fill_queue(&local, FILCH_NOW);
    task = spawn(send_local, &local);
    let_it_wait();
    T_OK(filch_unix_dgram_close(local.y));
    r = join(task);
    local.y = NULL;
    return close_local(&local, r);
}

static long dgram_too_long(struct place *p)
{
    struct local local;
    char *buf = calloc(1, 16 << 20);
    long r;

    (void)p;
    T_CHECK(buf);
    open_local(&local);
    r = filch_unix_dgram_send(local.y, buf, 16 << 20, NULL, NULL, 0, T_LIMIT);
    free(buf);
    return close_local(&local, r);
}

static long dgram_peer_gone(struct place *p)
{
    struct local local;

    (void)p;
    open_local(&local);
    T_OK(filch_unix_dgram_close(local.x));
    local.x = NULL;
    return close_local(&local, filch_unix_dgram_send(local.y, "x", 1, NULL, NULL, 0, T_LIMIT));
}

static long dgram_to_nobody(struct place *p)
{
    filch_unix_dgram *sock;
    long r;

    T_OK(filch_unix_dgram_open(NULL, NULL, &sock));
    r = filch_unix_dgram_send(sock, "x", 1, p->none, NULL, 0, T_LIMIT);
    T_OK(filch_unix_dgram_close(sock));
    return r;
}

static long dgram_while_closed(struct place *p)
{
    struct local local;
    filch_task *task;
    long r;

    (void)p;
    open_local(&local);
    task = spawn(recv_local, &local);
    let_it_wait();
    T_OK(filch_unix_dgram_close(local.x));
    r = join(task);
    local.x = NULL;
    return close_local(&local, r);
}

const struct conformance_case local_cases[] = {
    CASE(local_ok, 3),
    CASE(local_times_out, -ETIMEDOUT),
    CASE(local_cancelled, -ECANCELED),
    CASE(local_cancelled_before, -ECANCELED),
    CASE(local_nothing_there, -ETIMEDOUT),
    CASE(local_no_room, -ETIMEDOUT),
    CASE(local_write_times_out, -ETIMEDOUT),
    CASE(local_write_cancelled, -ECANCELED),
    CASE(local_write_cancelled_before, -ECANCELED),
    CASE(local_write_that_waits, 1),
    CASE(local_write_while_closed, -ECANCELED),
    CASE(local_half_closed, 1),
    CASE(local_peer_gone, -EPIPE),
    CASE(local_closed_handle, -EBADF),
    CASE(local_while_closed, -ECANCELED),
    CASE(local_nothing_wanted, 0),
    CASE(local_bad_buffer, -EINVAL),
    CASE(local_descriptors, 2),
    CASE(connect_to_no_path, -ENOENT),
    CASE(connect_to_a_file, -ECONNREFUSED),
    CASE(listen_where_something_is, -EADDRINUSE),
    CASE(accept_local_ok, 0),
    CASE(dgram_ok, 3),
    CASE(dgram_of_nothing, 0),
    CASE(dgram_cut, 8),
    CASE(dgram_times_out, -ETIMEDOUT),
    CASE(dgram_cancelled, -ECANCELED),
    CASE(dgram_cancelled_when_full, -ECANCELED),
    CASE(dgram_nothing_there, -ETIMEDOUT),
    CASE(dgram_cancelled_before, -ECANCELED),
    CASE(dgram_closed_handle, -EBADF),
    CASE(dgram_no_room, -ETIMEDOUT),
    CASE(dgram_send_times_out, -ETIMEDOUT),
    CASE(dgram_send_while_closed, -ECANCELED),
    CASE(dgram_too_long, -EMSGSIZE),
    CASE(dgram_peer_gone, -ECONNREFUSED),
    CASE(dgram_to_nobody, -ENOENT),
    CASE(dgram_while_closed, -ECANCELED),
    {0},
};
