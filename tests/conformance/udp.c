/* UDP: see conformance.h. */
#include <filch/udp.h>

#include "tests/conformance/conformance.h"

/* Two sockets; each knows the other's address. */
struct udp {
    filch_udp *a, *b;
    filch_addr addr_a, addr_b;
};

static void open_udp(struct udp *udp)
{
    T_OK(filch_udp_open("127.0.0.1:0", NULL, &udp->a));
    T_OK(filch_udp_open("127.0.0.1:0", NULL, &udp->b));
    T_OK(filch_udp_local_addr(udp->a, &udp->addr_a));
    T_OK(filch_udp_local_addr(udp->b, &udp->addr_b));
}

/* Return: @r. */
static long close_udp(struct udp *udp, long r)
{
    T_OK(filch_udp_close(udp->a));
    T_OK(filch_udp_close(udp->b));
    return r;
}

static int recv_udp(void *arg)
{
    struct udp *udp = arg;
    char buf[4];

    return (int)filch_udp_recv(udp->a, buf, sizeof buf, NULL, NULL, FILCH_NEVER);
}

static void send_udp(struct udp *udp, const char *text)
{
    T_IS(filch_udp_send(udp->b, text, strlen(text), &udp->addr_a, T_LIMIT), strlen(text));
}

static long udp_ok(struct place *p)
{
    struct udp udp;

    (void)p;
    open_udp(&udp);
    send_udp(&udp, "abc");
    return close_udp(&udp, recv_udp(&udp));
}

static long udp_of_nothing(struct place *p)
{
    struct udp udp;

    (void)p;
    open_udp(&udp);
    send_udp(&udp, "");
    return close_udp(&udp, recv_udp(&udp));
}

static long udp_from(struct place *p)
{
    struct udp udp;
    filch_addr from;
    char buf[4];

    (void)p;
    open_udp(&udp);
    send_udp(&udp, "abc");
    T_IS(filch_udp_recv(udp.a, buf, 4, &from, NULL, T_LIMIT), 3);
    return close_udp(&udp, filch_addr_equal(&from, &udp.addr_b));
}

static long udp_cut(struct place *p)
{
    struct udp udp;
    size_t size = 0;
    char buf[4];

    (void)p;
    open_udp(&udp);
    send_udp(&udp, "abcdefgh");
    T_IS(filch_udp_recv(udp.a, buf, 4, NULL, &size, T_LIMIT), 4);
    return close_udp(&udp, (long)size);
}

static long udp_nothing_there(struct place *p)
{
    struct udp udp;
    char buf[4];

    (void)p;
    open_udp(&udp);
    return close_udp(&udp, filch_udp_recv(udp.a, buf, 4, NULL, NULL, FILCH_NOW));
}

static long udp_times_out(struct place *p)
{
    struct udp udp;
    char buf[4];
    long r;

    (void)p;
    open_udp(&udp);
    r = filch_udp_recv(udp.a, buf, 4, NULL, NULL, SHORT_LIMIT);
    send_udp(&udp, "abc");
    T_IS(recv_udp(&udp), 3); /* and nothing was lost */
    return close_udp(&udp, r);
}

static long udp_cancelled(struct place *p)
{
    struct udp udp;
    long r;

    (void)p;
    open_udp(&udp);
    r = cancelled_meanwhile(recv_udp, &udp);
    send_udp(&udp, "abc");
    T_IS(recv_udp(&udp), 3);
    return close_udp(&udp, r);
}

static long udp_cancelled_before(struct place *p)
{
    struct udp udp;

    (void)p;
    open_udp(&udp);
    return close_udp(&udp, cancelled_before(recv_udp, &udp));
}

static int open_one(void *arg)
{
    filch_udp *udp;
    int r = filch_udp_open("127.0.0.1:0", NULL, &udp);

    (void)arg;
    if (r == 0)
        T_OK(filch_udp_close(udp));
    return r;
}

static long udp_beyond_the_limit(struct place *p)
{
    return without_descriptors(open_one, p);
}

static long udp_closed_handle(struct place *p)
{
    struct udp udp;
    filch_udp *closed;
    char byte;
    long r;

    (void)p;
    open_udp(&udp);
    closed = udp.a;
    T_OK(filch_udp_close(udp.a));
    udp.a = NULL;
    r = filch_udp_recv(closed, &byte, 1, NULL, NULL, FILCH_NEVER);
    return close_udp(&udp, r);
}

static long udp_while_closed(struct place *p)
{
    struct udp udp;
    filch_task *task;
    long r;

    (void)p;
    open_udp(&udp);
    task = spawn(recv_udp, &udp);
    let_it_wait();
    T_OK(filch_udp_close(udp.a));
    r = join(task);
    udp.a = NULL;
    return close_udp(&udp, r);
}

static long udp_bad_buffer(struct place *p)
{
    struct udp udp;

    (void)p;
    open_udp(&udp);
    return close_udp(&udp, filch_udp_recv(udp.a, NULL, 8, NULL, NULL, FILCH_NEVER));
}

static long udp_too_long(struct place *p)
{
    static char buf[70000];
    struct udp udp;

    (void)p;
    open_udp(&udp);
    return close_udp(&udp, filch_udp_send(udp.b, buf, sizeof buf, &udp.addr_a, T_LIMIT));
}

static long udp_to_no_address(struct place *p)
{
    struct udp udp;

    (void)p;
    open_udp(&udp);
    return close_udp(&udp, filch_udp_send(udp.b, "x", 1, NULL, T_LIMIT));
}

/* The peer's machine says that nobody is there: the next call hears of it. */
static long udp_refused(struct place *p)
{
    struct udp udp;

    (void)p;
    open_udp(&udp);
    T_OK(filch_udp_connect(udp.b, &udp.addr_a));
    T_OK(filch_udp_close(udp.a));
    udp.a = NULL;
    T_IS(filch_udp_send(udp.b, "x", 1, NULL, T_LIMIT), 1);
    return close_udp(&udp, filch_udp_recv(udp.b, (char[4]){0}, 4, NULL, NULL, T_LIMIT));
}

static long udp_many(struct place *p)
{
    char out[3][2] = {"a", "b", "c"}, in[3][2];
    filch_datagram to[3], from[3];
    struct udp udp;
    size_t got = 0;

    (void)p;
    open_udp(&udp);
    for (int i = 0; i < 3; i++) {
        to[i] = (filch_datagram){.buf = out[i], .bytes = 1, .addr = udp.addr_a};
        from[i] = (filch_datagram){.buf = in[i], .bytes = 2};
    }
    T_IS(filch_udp_send_many(udp.b, to, 3, T_LIMIT), 3);
    while (got < 3) {
        ssize_t n = filch_udp_recv_many(udp.a, from + got, 3 - got, T_LIMIT);

        T_CHECK(n > 0);
        got += (size_t)n;
    }
    for (int i = 0; i < 3; i++)
        T_IS(in[i][0], out[i][0]);
    return close_udp(&udp, (long)got);
}

const struct conformance_case udp_cases[] = {
    CASE(udp_ok, 3),
    CASE(udp_of_nothing, 0),
    CASE(udp_from, 1),
    CASE(udp_cut, 8),
    CASE(udp_nothing_there, -ETIMEDOUT),
    CASE(udp_times_out, -ETIMEDOUT),
    CASE(udp_cancelled, -ECANCELED),
    CASE(udp_cancelled_before, -ECANCELED),
    CASE(udp_beyond_the_limit, -EMFILE),
    CASE(udp_closed_handle, -EBADF),
    CASE(udp_while_closed, -ECANCELED),
    CASE(udp_bad_buffer, -EINVAL),
    CASE(udp_too_long, -EMSGSIZE),
    CASE(udp_to_no_address, -EDESTADDRREQ),
    CASE(udp_refused, -ECONNREFUSED),
    CASE(udp_many, 3),
    {0},
};
