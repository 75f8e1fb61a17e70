/* See stress_cancel.c: accepts and connects, over TCP and over a Unix socket. A connect that
 * succeeded sends a ticket, and waits until the other side has ended the connection. At the end the
 * sums of the tickets agree, and so do their numbers.
 *
 * TCP: the side that accepted ends a connection with a reset, which leaves no address waiting; a
 * connect that was cancelled may have been one for the kernel.
 */
#include <errno.h>
#include <unistd.h>

#include <filch/unix.h>

#include "tests/runner/tcp_pair.h"
#include "tests/stress/cancel.h"

enum { CONNECTORS = 3, ACCEPTORS = 2 };

/* A place to connect to. */
struct port {
    bool local;
    char addr[FILCH_UNIX_ADDR_BYTES];
    filch_listener *listener;
    filch_unix_listener *local_listener;
    filch_scope acceptors;
    atomic_uint connectors;          /* that are left */
    atomic_ullong connected, broken; /* connects that succeeded, and others */
    atomic_ullong got, nameless;     /* connections with a ticket, and without */
    atomic_ullong tickets_sent, tickets_got;
};

/* One end; of the two handles one is NULL. */
struct call {
    struct attempt attempt; /* first */
    struct port *port;
    filch_tcp *tcp;
    filch_unix *conn;
};

static long connect_once(struct attempt *attempt)
{
    struct call *call = (struct call *)attempt;

    if (call->port->local)
        return filch_unix_connect(call->port->addr, &call->conn, attempt->until);
    return filch_tcp_connect(call->port->addr, &call->tcp, attempt->until);
}

static long accept_once(struct attempt *attempt)
{
    struct call *call = (struct call *)attempt;

    if (call->port->local)
        return filch_unix_listener_accept(call->port->local_listener, &call->conn, attempt->until);
    return filch_listener_accept(call->port->listener, &call->tcp, attempt->until);
}

static ssize_t call_read(struct call *call, void *buf, size_t bytes)
{
    return call->tcp ? filch_tcp_read(call->tcp, buf, bytes, T_LIMIT)
                     : filch_unix_read(call->conn, buf, bytes, T_LIMIT);
}

static void call_end(struct call *call)
{
    T_OK(filch_tcp_close(call->tcp));
    T_OK(filch_unix_close(call->conn));
    call->tcp = NULL;
    call->conn = NULL;
}

static void send_ticket(struct call *call)
{
    uint64_t ticket = 1 + roll(&call->attempt.dice, 1u << 30);
    ssize_t n;

    if (call->tcp)
        T_OK(filch_tcp_write_all(call->tcp, &ticket, sizeof ticket, NULL, T_LIMIT));
    else
        T_OK(filch_unix_write_all(call->conn, &ticket, sizeof ticket, NULL, T_LIMIT));
    atomic_fetch_add(&call->port->tickets_sent, ticket);
    n = call_read(call, &ticket, 1);
    T_CHECK(n == 0 || n == -ECONNRESET);
}

/* Return: did one come? */
static bool take_ticket(struct call *call)
{
    uint64_t ticket;
    size_t done = 0;

    while (done < sizeof ticket) {
        ssize_t n = call_read(call, (char *)&ticket + done, sizeof ticket - done);

        if (n <= 0) {
            T_IS(done, 0);
            T_CHECK(n == 0 || n == -ECONNRESET);
            return false;
        }
        done += (size_t)n;
    }
    atomic_fetch_add(&call->port->tickets_got, ticket);
    return true;
}

static int accept_calls(void *arg)
{
    struct call call = {.port = arg};
    struct port *port = arg;
    long r = 0;

    attempt_init(&call.attempt, ACCEPT);
    while (r != -EBADF) {
        bool all = atomic_load(&port->connectors) == 0;

        call.attempt.until = FILCH_NOW;
        r = all ? accept_once(&call.attempt) : attempted(&call.attempt, accept_once);
        if (r == 0) {
            atomic_fetch_add(take_ticket(&call) ? &port->got : &port->nameless, 1);
            if (call.tcp)
                T_OK(filch_tcp_set(call.tcp, FILCH_TCP_LINGER, 0));
            call_end(&call);
        } else if (all) {
            T_IS(r, -ETIMEDOUT);
            break;
        } else {
            T_CHECK(is_given_up(r));
        }
    }
    return 0;
}

static int connect_calls(void *arg)
{
    struct call call = {.port = arg};
    struct port *port = arg;

    attempt_init(&call.attempt, CONNECT);
    while (!is_over()) {
        long r = attempted(&call.attempt, connect_once);

        if (r == 0) {
            atomic_fetch_add(&port->connected, 1);
            send_ticket(&call);
            call_end(&call);
        } else {
            T_CHECK(is_given_up(r));
            atomic_fetch_add(&port->broken, 1);
        }
    }
    atomic_fetch_sub(&port->connectors, 1);
    return 0;
}

static void open_port(struct port *port, bool local)
{
    const filch_unix_opts few = {.backlog = 1}; /* so that connects wait */

    memset(port, 0, sizeof *port);
    port->local = local;
    if (local) {
        strcpy(port->addr, in_dir(&world.dir, "socket"));
        T_OK(filch_unix_listener_open(port->addr, &few, &port->local_listener));
    } else {
        T_OK(filch_listener_open("127.0.0.1:0", NULL, &port->listener));
        T_OK(filch_listener_addr(port->listener, port->addr));
    }
    atomic_store(&port->connectors, CONNECTORS);
}

static void close_port(struct port *port)
{
    T_OK(filch_listener_close(port->listener));
    T_OK(filch_unix_listener_close(port->local_listener));
    T_IS(port->got, port->connected);
    T_IS(port->tickets_got, port->tickets_sent);
    T_CHECK(port->nameless <= port->broken);
}

int accepts_part(void *arg)
{
    struct port ports[2];
    FILCH_SCOPE(scope);

    (void)arg;
    for (int i = 0; i < 2; i++) {
        open_port(&ports[i], i == 1);
        for (int k = 0; k < CONNECTORS; k++)
            T_OK(filch_scope_spawn(&scope, connect_calls, &ports[i]));
        for (int k = 0; k < ACCEPTORS; k++)
            T_OK(filch_scope_spawn(&scope, accept_calls, &ports[i]));
    }
    T_OK(filch_scope_join(&scope, FILCH_NEVER));
    for (int i = 0; i < 2; i++)
        close_port(&ports[i]);
    return 0;
}
