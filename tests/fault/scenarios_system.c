/* Scenarios of names, signals, options of sockets, descriptors of others, programs that are told to
 * end, looks at tasks, and of a plain thread that waits for all of these: see scenarios.h. */
#include "tests/fault/scenarios.h"

#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fault/wrap.h"

#define LIMIT scenario_limit()

/* ---- names ---- */

int names(void *arg)
{
    filch_dns_addrs addrs;
    filch_resolver *resolver;

    (void)arg;
    if (!ok(filch_resolver_new(filch_runtime_self(), NULL, &resolver)))
        return 0;
    ok(filch_dns_lookup(resolver, "localhost", 80, FILCH_DNS_IPV4, &addrs, LIMIT));
    filch_resolver_free(resolver);
    return 0;
}

/* ---- signals ---- */

int kernel_signals(void *arg)
{
    filch_signal *signal;
    int number;

    (void)arg;
    if (!ok(filch_signal_open(SIGUSR1, &signal)))
        return 0;
    raise(SIGUSR1); /* a thread that blocks it gets it all the same, in time or never */
    kill(getpid(), SIGUSR1);
    ok(filch_signal_wait(signal, &number, LIMIT));
    filch_signal_close(signal);
    return 0;
}

/* ---- sockets ---- */

static void exchange_many(filch_udp *a, filch_udp *b)
{
    char text[2][16] = {"one", "two"};
    filch_datagram datagrams[2] = {{.buf = text[0], .bytes = 3}, {.buf = text[1], .bytes = 3}};
    filch_addr to;
    ssize_t sent;

    if (!ok(filch_udp_local_addr(b, &to)) || !ok(filch_udp_connect(a, &to)))
        return;
    sent = filch_udp_send_many(a, datagrams, 2, LIMIT);
    if (!ok((int)sent))
        return;
    datagrams[0].bytes = datagrams[1].bytes = sizeof text[0];
    ok((int)filch_udp_recv_many(b, datagrams, 2, LIMIT));
    ok(filch_udp_peer_addr(a, &to));
}

static void datagrams_in_numbers(void)
{
    filch_udp *a, *b;

    if (!ok(filch_udp_open("127.0.0.1:0", NULL, &a)))
        return;
    if (ok(filch_udp_open("127.0.0.1:0", NULL, &b))) {
        exchange_many(a, b);
        ok(filch_udp_close(b));
    }
    ok(filch_udp_close(a));
}

static void unix_credentials(void)
{
    filch_unix_cred cred;
    char text[FILCH_UNIX_ADDR_BYTES];
    filch_unix *a, *b;

    if (!ok(filch_unix_pair(&a, &b)))
        return;
    ok(filch_unix_peer_cred(a, &cred));
    ok(filch_unix_peer_addr(a, text));
    ok(filch_unix_close(a));
    ok(filch_unix_close(b));
}

static void options_of(filch_tcp *conn)
{
    char text[FILCH_ADDR_BYTES];
    int64_t value;
    int fd;

    ok(filch_tcp_set(conn, FILCH_TCP_NODELAY, 0));
    ok(filch_tcp_get(conn, FILCH_TCP_NODELAY, &value));
    ok(filch_tcp_local_addr(conn, text));
    ok(filch_tcp_peer_addr(conn, text));
    ok(filch_tcp_shutdown_write(conn));
    if (!ok(filch_tcp_release(conn, &fd))) {
        ok(filch_tcp_close(conn));
    } else if (!ok(filch_tcp_adopt(fd, &conn))) {
        close(fd);
    } else {
        ok(filch_tcp_close(conn));
    }
}

static void tcp_options(void)
{
    filch_listener *listener;
    filch_tcp *conn, *other;
    char addr[FILCH_ADDR_BYTES];
    bool accepted;

    if (!ok(filch_listener_open("127.0.0.1:0", NULL, &listener)))
        return;
    if (ok(filch_listener_addr(listener, addr)) && ok(filch_tcp_connect(addr, &conn, LIMIT))) {
        accepted = ok(filch_listener_accept(listener, &other, LIMIT));
        options_of(conn);
        if (accepted)
            ok(filch_tcp_close(other));
    }
    ok(filch_listener_close(listener));
}

/* ---- writes that wait for their reader ---- */

#define LARGE (4 << 20)

static int reads_all(void *arg)
{
    static char buffer[1 << 16];
    ssize_t n;

    while ((n = filch_unix_read(arg, buffer, sizeof buffer, LIMIT)) > 0)
        ;
    ok((int)n);
    ok(filch_unix_close(arg)); /* or the writer would wait */
    return 0;
}

static void write_much(filch_unix *conn)
{
    static char bytes[LARGE];
    struct iovec iov[] = {{bytes, LARGE / 2}, {bytes, LARGE / 2}};
    size_t done;

    ok(filch_unix_write_all(conn, bytes, LARGE, &done, LIMIT));
    ok(filch_unix_writev_all(conn, iov, 2, &done, LIMIT));
}

static void large_writes(void)
{
    filch_unix *a, *b;
    filch_task *task;

    if (!ok(filch_unix_pair(&a, &b)))
        return;
    if (ok(filch_task_spawn(reads_all, b, NULL, &task))) {
        write_much(a);
        ok(filch_unix_close(a));
        ok(filch_task_join(task, NULL, FILCH_NEVER));
    } else {
        ok(filch_unix_close(a));
        ok(filch_unix_close(b));
    }
}

/* ---- a socket with a name, and one of somebody else's ---- */

static void named_socket(void)
{
    filch_unix_opts opts = {.mode = 0600, .replace = true};
    filch_unix_listener *listener;
    char path[64];

    snprintf(path, sizeof path, "/tmp/filch-test-%d.sock", (int)getpid());
    if (ok(filch_unix_listener_open(path, &opts, &listener)))
        ok(filch_unix_listener_close(listener));
    unlink(path);
}

static void foreign_descriptor(void)
{
    unsigned events;
    filch_fd *fd;
    int ends[2];

    if (!ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)))
        return;
    if (ok(filch_fd_borrow(ends[0], &fd))) {
        ok(filch_fd_wait(fd, FILCH_FD_WRITABLE, &events, LIMIT));
        ok(filch_fd_close(fd));
    }
    close(ends[0]);
    close(ends[1]);
}

int sockets(void *arg)
{
    (void)arg;
    datagrams_in_numbers();
    unix_credentials();
    tcp_options();
    large_writes();
    named_socket();
    foreign_descriptor();
    return 0;
}

/* ---- programs ---- */

int told_to_end(void *arg)
{
    static const char *const argv[] = {"cat", NULL};
    filch_file *input;
    filch_process_opts opts = {
        .in = {.kind = FILCH_STDIO_PIPE, .ret_pipe = &input},
        .cwd = "/",
        .flags = FILCH_PROCESS_NEW_GROUP | FILCH_PROCESS_KILL_ON_CLOSE,
    };
    filch_process_status status;
    filch_process *process;

    (void)arg;
    if (!ok(filch_process_spawn(argv, &opts, &process, LIMIT)))
        return 0;
    ok(filch_process_kill(process, SIGCONT));
    ok(filch_process_kill_group(process, SIGTERM));
    ok(filch_file_close(input)); /* it ends in any case */
    ok(filch_process_wait(process, &status, LIMIT));
    ok(filch_process_close(process));
    return 0;
}

/* ---- looks at tasks ---- */

static void look(void *arg, const filch_live *live)
{
    (void)arg;
    (void)live;
}

static int waits_long(void *arg)
{
    (void)arg;
    return filch_sleep(LIMIT);
}

int visits(void *arg)
{
    FILCH_SCOPE(scope);

    (void)arg;
    for (int i = 0; i < 5; i++)
        ok(filch_scope_spawn_opts(&scope, waits_long, NULL, &(filch_task_opts){.name = "sleeper"}));
    ok((int)filch_runtime_visit(filch_runtime_self(), look, NULL));
    filch_scope_cancel_join(&scope);
    return 0;
}

/* ---- a plain thread beside a runtime: it waits in system calls of its own ---- */

static int accepts_and_echoes(void *arg)
{
    filch_tcp *conn;
    char byte;

    if (!ok(filch_listener_accept(arg, &conn, LIMIT)))
        return 0;
    while (filch_tcp_read(conn, &byte, 1, LIMIT) == 1)
        if (!ok((int)filch_tcp_write(conn, &byte, 1, LIMIT)))
            break;
    ok(filch_tcp_close(conn));
    return 0;
}

static void talk_from_thread(filch_runtime *rt, filch_listener *listener)
{
    char addr[FILCH_ADDR_BYTES];
    filch_task *task;
    filch_tcp *conn;
    char byte;

    if (!ok(filch_listener_addr(listener, addr)) ||
        !ok(filch_runtime_spawn(rt, accepts_and_echoes, listener, NULL, &task)))
        return;
    if (ok(filch_tcp_connect(addr, &conn, LIMIT))) {
        for (int i = 0; i < 5; i++)
            if (!ok((int)filch_tcp_write(conn, "x", 1, LIMIT)) ||
                !ok((int)filch_tcp_read(conn, &byte, 1, LIMIT)))
                break;
        ok(filch_tcp_close(conn));
    } else {
        ok(filch_task_cancel(task));
    }
    ok(filch_task_join(task, NULL, FILCH_NEVER));
}

static int sends_one(void *arg)
{
    char message = 1;

    ok(filch_sleep(filch_after(FILCH_MILLISECOND)));
    ok(filch_chan_send(arg, &message, LIMIT));
    return 0;
}

static void wait_in_thread(filch_runtime *rt)
{
    filch_chan *chan;
    char message;

    ok(filch_sleep(filch_after(FILCH_MILLISECOND)));
    if (!ok(filch_chan_new(1, 1, &chan)))
        return;
    if (ok(filch_runtime_spawn(rt, sends_one, chan, NULL, NULL)))
        ok(filch_chan_recv(chan, &message, FILCH_NEVER));
    filch_chan_unref(chan);
}

static int connects_and_sends(void *arg)
{
    filch_tcp *conn;

    if (!ok(filch_tcp_connect(arg, &conn, LIMIT)))
        return 0;
    ok((int)filch_tcp_write(conn, "x", 1, LIMIT));
    ok(filch_tcp_close(conn));
    return 0;
}

/* No task has accepted from this listener: so it is the thread that asks the socket. */
static void accept_in_thread(filch_runtime *rt, filch_listener *listener)
{
    char addr[FILCH_ADDR_BYTES], byte;
    filch_task *task;
    filch_tcp *conn;

    if (!ok(filch_listener_addr(listener, addr)) ||
        !ok(filch_runtime_spawn(rt, connects_and_sends, addr, NULL, &task)))
        return;
    if (ok(filch_listener_accept(listener, &conn, LIMIT))) {
        ok((int)filch_tcp_read(conn, &byte, 1, LIMIT));
        ok(filch_tcp_close(conn));
    }
    ok(filch_task_join(task, NULL, FILCH_NEVER));
}

static void pass_in_thread(void)
{
    int fd[2], none = 0;
    filch_unix_fds fds = {.fds = fd, .room = 2};
    filch_unix *a, *b;
    char buf[8];

    if (!ok(filch_unix_pair(&a, &b)))
        return;
    if (ok((int)filch_unix_send_fds(a, "messages", 8, &none, 1, LIMIT)) &&
        ok((int)filch_unix_recv_fds(b, buf, 8, &fds, LIMIT)))
        for (size_t i = 0; i < fds.count; i++)
            close(fd[i]);
    ok(filch_unix_close(a));
    ok(filch_unix_close(b));
}

int beside_life(const struct scenario *scenario)
{
    filch_runtime_opts opts = {.workers = 2};
    filch_listener *listener;
    filch_runtime *rt;

    (void)scenario;
    if (!ok(filch_runtime_start(&opts, &rt)))
        return 0;
    fault_mark_start();
    if (ok(filch_listener_open("127.0.0.1:0", NULL, &listener))) {
        accept_in_thread(rt, listener);
        talk_from_thread(rt, listener);
        ok(filch_listener_close(listener));
    }
    wait_in_thread(rt);
    pass_in_thread();
    paths(NULL);
    contents(NULL);
    return filch_runtime_shutdown(rt, filch_after(20 * FILCH_SECOND));
}

/* ---- a runtime that looks at the machine first ---- */

int bound_life(const struct scenario *scenario)
{
    filch_runtime_opts opts = {.bind_workers = true};
    filch_runtime *rt;

    if (!ok(filch_runtime_start(&opts, &rt)))
        return 0;
    ok(filch_runtime_block_on(rt, scenario->fn, NULL, NULL, FILCH_NEVER));
    return filch_runtime_shutdown(rt, filch_after(20 * FILCH_SECOND));
}
