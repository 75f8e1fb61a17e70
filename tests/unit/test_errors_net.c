/* Description: errors that <filch/tcp.h> and <filch/udp.h> promise and that other tests have no
 * cause to provoke. What the kernel would say only in other circumstances (a full table of files, a
 * network without a route) a wrapper says, which the linker puts in (--wrap); calls are made in
 * plain threads then, which make them themselves. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/un.h>

#include <criterion/criterion.h>

#include <filch/unix.h>

#include "tests/runner/tcp_pair.h"

TestSuite(errors_net, .timeout = 60);

/* ---- refusals ---- */

enum refused { NOTHING, MEMORY, SOCKET, BIND, CONNECT, SETSOCKOPT, GETSOCKOPT, SENDMSG, RECVMSG };

static atomic_int refused, refusal; /* which call; with which errno */

static bool refuses(enum refused what)
{
    if (atomic_load(&refused) != (int)what)
        return false;
    errno = atomic_load(&refusal);
    return true;
}

/* While the kernel refuses @what with an error, the call says it. */
#define SAYS(what, error, call)                                                                    \
    do {                                                                                           \
        long long t_said;                                                                          \
        atomic_store(&refusal, -(error));                                                          \
        atomic_store(&refused, what);                                                              \
        t_said = (call);                                                                           \
        atomic_store(&refused, NOTHING);                                                           \
        T_IS(t_said, error);                                                                       \
    } while (0)

void *__real_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__real_mmap64(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
int __real_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol);
int __real_bind(int fd, const struct sockaddr *addr, socklen_t bytes);
int __wrap_bind(int fd, const struct sockaddr *addr, socklen_t bytes);
int __real_connect(int fd, const struct sockaddr *addr, socklen_t bytes);
int __wrap_connect(int fd, const struct sockaddr *addr, socklen_t bytes);
int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t bytes);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t bytes);
int __real_getsockopt(int fd, int level, int name, void *value, socklen_t *bytes);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *bytes);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __real_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags);

void *__wrap_malloc(size_t bytes)
{
    return refuses(MEMORY) ? NULL : __real_malloc(bytes);
}

void *__wrap_mmap64(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    return refuses(MEMORY) ? MAP_FAILED : __real_mmap64(at, bytes, protection, flags, fd, offset);
}

int __wrap_socket(int domain, int type, int protocol)
{
    return refuses(SOCKET) ? -1 : __real_socket(domain, type, protocol);
}

int __wrap_bind(int fd, const struct sockaddr *addr, socklen_t bytes)
{
    return refuses(BIND) ? -1 : __real_bind(fd, addr, bytes);
}

int __wrap_connect(int fd, const struct sockaddr *addr, socklen_t bytes)
{
    return refuses(CONNECT) ? -1 : __real_connect(fd, addr, bytes);
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t bytes)
{
    return refuses(SETSOCKOPT) ? -1 : __real_setsockopt(fd, level, name, value, bytes);
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *bytes)
{
    return refuses(GETSOCKOPT) ? -1 : __real_getsockopt(fd, level, name, value, bytes);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    return refuses(SENDMSG) ? -1 : __real_sendmsg(fd, message, flags);
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags)
{
    return refuses(RECVMSG) ? -1 : __real_recvmsg(fd, message, flags);
}

#define ANY "127.0.0.1:0"

static const filch_tcp_setting mark = {FILCH_TCP_MARK, 1};

/* ---- listeners ---- */

Test(errors_net, listeners)
{
    const filch_listener_opts opts = {.settings = &mark, .setting_count = 1};
    char text[FILCH_TCP_TEXT_BYTES];
    filch_listener *listener;
    int64_t value;

    SAYS(SOCKET, -EAFNOSUPPORT, filch_listener_open(ANY, NULL, &listener));
    SAYS(SOCKET, -ENFILE, filch_listener_open(ANY, NULL, &listener));
    SAYS(SOCKET, -ENOBUFS, filch_listener_open(ANY, NULL, &listener));
    SAYS(SOCKET, -ENOMEM, filch_listener_open(ANY, NULL, &listener));
    SAYS(BIND, -EACCES, filch_listener_open(ANY, NULL, &listener));
    SAYS(SETSOCKOPT, -EPERM, filch_listener_open(ANY, &opts, &listener));
    SAYS(SETSOCKOPT, -ENOPROTOOPT, filch_listener_open(ANY, &opts, &listener));
    T_OK(filch_listener_open(ANY, NULL, &listener));
    SAYS(SETSOCKOPT, -EPERM, filch_listener_set(listener, FILCH_TCP_MARK, 1));
    SAYS(SETSOCKOPT, -ENOPROTOOPT, filch_listener_set(listener, FILCH_TCP_MARK, 1));
    SAYS(GETSOCKOPT, -ENOPROTOOPT, filch_listener_get(listener, FILCH_TCP_NODELAY, &value));
    SAYS(SETSOCKOPT, -EPERM, filch_listener_set_text(listener, FILCH_TCP_CONGESTION, "reno"));
    SAYS(SETSOCKOPT, -ENODEV, filch_listener_set_text(listener, FILCH_TCP_DEVICE, "lo"));
    SAYS(GETSOCKOPT, -ENODEV, filch_listener_get_text(listener, FILCH_TCP_DEVICE, text));
    T_OK(filch_listener_close(listener));
}

/* The first of a process: there is no object in store. */
Test(errors_net, no_memory_for_a_listener_and_its_connections)
{
    struct tcp_pair pair = {0};
    int listening = raw_bind(pair.addr), client = raw_socket();

    T_OK(listen(listening, 5));
    SAYS(MEMORY, -ENOMEM, filch_listener_adopt(listening, &pair.listener));
    T_OK(filch_listener_adopt(listening, &pair.listener));
    raw_connect(client, pair.addr);
    SAYS(MEMORY, -ENOMEM, filch_tcp_connect(pair.addr, &pair.client, T_LIMIT));
    SAYS(MEMORY, -ENOMEM, filch_tcp_connect_opts(pair.addr, NULL, &pair.client, T_LIMIT));
    SAYS(MEMORY, -ENOMEM, filch_tcp_adopt(client, &pair.client));
    SAYS(MEMORY, -ENOMEM, filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
    T_OK(filch_tcp_adopt(client, &pair.client));
    /* None was lost: the first that is accepted is the first that came. */
    T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
    T_OK(filch_tcp_write_all(pair.client, "!", 1, NULL, T_LIMIT));
    T_OK(filch_tcp_read_exact(pair.server, &(char){0}, 1, NULL, T_LIMIT));
    close_pair(&pair);
}

/* Connected to a name in the abstract namespace. */
static int raw_unix(const char *name)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    T_CHECK(fd >= 0);
    memcpy(addr.sun_path + 1, name + 1, strlen(name) - 1);
    T_OK(connect(fd, (struct sockaddr *)&addr,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))));
    return fd;
}

/* Those of streams and of listeners come from different stores. */
Test(errors_net, no_memory_for_a_unix_connection)
{
    char addr[FILCH_UNIX_ADDR_BYTES];
    filch_unix_listener *listener;
    filch_unix *client, *server;
    int client_fd;

    snprintf(addr, sizeof(addr), "@filch-test-%d", (int)getpid());
    T_OK(filch_unix_listener_open(addr, NULL, &listener));
    client_fd = raw_unix(addr);
    SAYS(MEMORY, -ENOMEM, filch_unix_listener_accept(listener, &server, T_LIMIT));
    T_OK(filch_unix_adopt(client_fd, &client));
    T_OK(filch_unix_listener_accept(listener, &server, T_LIMIT));
    T_OK(filch_unix_write_all(client, "!", 1, NULL, T_LIMIT));
    T_OK(filch_unix_read_exact(server, &(char){0}, 1, NULL, T_LIMIT));
    T_OK(filch_unix_close(client));
    T_OK(filch_unix_close(server));
    T_OK(filch_unix_listener_close(listener));
}

Test(errors_net, a_listener_that_is_none_any_more)
{
    struct tcp_pair pair = {0};
    int listening = raw_bind(pair.addr), pipes[2];

    T_OK(listen(listening, 5));
    T_OK(filch_listener_adopt(listening, &pair.listener));
    T_OK(pipe(pipes));
    T_IS(write(pipes[1], "!", 1), 1);
    T_IS(dup2(pipes[0], listening), listening);
    T_IS(filch_listener_accept(pair.listener, &pair.server, T_LIMIT), -ENOTSOCK);
    T_OK(filch_listener_close(pair.listener));
    close(pipes[0]);
    close(pipes[1]);
}

/* ---- connects ---- */

Test(errors_net, connects)
{
    const filch_tcp_opts opts = {.settings = &mark, .setting_count = 1};
    const filch_tcp_opts from = {.local_addr = ANY};
    char addr[FILCH_ADDR_BYTES];
    int bound = raw_bind(addr); /* nobody listens */
    filch_tcp *conn;

    T_IS(filch_tcp_connect_opts(addr, NULL, &conn, T_LIMIT), -ECONNREFUSED);
    SAYS(CONNECT, -EHOSTUNREACH, filch_tcp_connect(addr, &conn, T_LIMIT));
    SAYS(CONNECT, -ENETUNREACH, filch_tcp_connect(addr, &conn, T_LIMIT));
    SAYS(SOCKET, -ENFILE, filch_tcp_connect(addr, &conn, T_LIMIT));
    SAYS(CONNECT, -EHOSTUNREACH, filch_tcp_connect_opts(addr, &from, &conn, T_LIMIT));
    SAYS(CONNECT, -ENETUNREACH, filch_tcp_connect_opts(addr, &from, &conn, T_LIMIT));
    SAYS(CONNECT, -ETIMEDOUT, filch_tcp_connect_opts(addr, &from, &conn, T_LIMIT));
    SAYS(SOCKET, -EMFILE, filch_tcp_connect_opts(addr, &from, &conn, T_LIMIT));
    SAYS(SOCKET, -ENFILE, filch_tcp_connect_opts(addr, &from, &conn, T_LIMIT));
    SAYS(BIND, -EACCES, filch_tcp_connect_opts(addr, &from, &conn, T_LIMIT));
    SAYS(BIND, -EADDRINUSE, filch_tcp_connect_opts(addr, &from, &conn, T_LIMIT));
    SAYS(SETSOCKOPT, -EPERM, filch_tcp_connect_opts(addr, &opts, &conn, T_LIMIT));
    SAYS(SETSOCKOPT, -ENOPROTOOPT, filch_tcp_connect_opts(addr, &opts, &conn, T_LIMIT));
    close(bound);
}

/* ---- connections ---- */

/* One that its peer has reset: the next call is told. */
static filch_tcp *reset_conn(void)
{
    struct tcp_pair pair;
    int client = raw_socket();
    filch_case readable;

    listen_any(&pair);
    raw_connect(client, pair.addr);
    T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
    raw_reset(client);
    readable = filch_case_readable(pair.server);
    T_OK(filch_select(&readable, 1, 0, T_LIMIT));
    T_OK(filch_listener_close(pair.listener));
    return pair.server;
}

/* The call on a connection that was reset says @error. */
#define RESET(error, call)                                                                         \
    do {                                                                                           \
        filch_tcp *conn = reset_conn();                                                            \
        T_IS(call, error);                                                                         \
        T_OK(filch_tcp_close(conn));                                                               \
    } while (0)

static int resets_body(void *arg)
{
    char text[FILCH_ADDR_BYTES] = "";
    const struct iovec iov = {text, 1};

    (void)arg;
    RESET(-ECONNRESET, filch_tcp_readv(conn, &iov, 1, T_LIMIT));
    RESET(-ECONNRESET, filch_tcp_read_exact(conn, text, 1, NULL, T_LIMIT));
    RESET(-ECONNRESET, filch_tcp_write(conn, text, 1, T_LIMIT));
    RESET(-ECONNRESET, filch_tcp_write_all(conn, text, 1, NULL, T_LIMIT));
    RESET(-ECONNRESET, filch_tcp_writev(conn, &iov, 1, T_LIMIT));
    RESET(-ECONNRESET, filch_tcp_writev_all(conn, &iov, 1, NULL, T_LIMIT));
    RESET(-ECONNRESET, filch_tcp_write_zero_copy(conn, text, 1, T_LIMIT));
    RESET(-ENOTCONN, filch_tcp_shutdown_write(conn));
    RESET(-ENOTCONN, filch_tcp_peer_addr(conn, text));
    return 0;
}

Test(errors_net, resets)
{
    T_OK(run_in_runtime(0, resets_body, NULL));
}

static char block[65536];

/* A connection into which nothing fits, until the kernel has moved what is in it. */
static void fill(filch_tcp *conn)
{
    while (filch_tcp_write(conn, block, sizeof(block), FILCH_NOW) > 0)
        ;
}

/* The write has no room, at last, and says @error. */
#define FULL(error, call)                                                                          \
    do {                                                                                           \
        long long t_said;                                                                          \
        do                                                                                         \
            t_said = (call);                                                                       \
        while (t_said >= 0);                                                                       \
        T_IS(t_said, error);                                                                       \
    } while (0)

static int cancelled_body(void *arg)
{
    struct tcp_pair *pair = arg;
    char byte = 0;
    const struct iovec iov = {block, sizeof(block)};

    T_OK(filch_task_cancel(filch_task_self()));
    T_IS(filch_tcp_read_exact(pair->client, &byte, 1, NULL, T_LIMIT), -ECANCELED);
    FULL(-ECANCELED, filch_tcp_write(pair->client, block, sizeof(block), T_LIMIT));
    FULL(-ECANCELED, filch_tcp_write_all(pair->client, block, sizeof(block), NULL, T_LIMIT));
    FULL(-ECANCELED, filch_tcp_writev(pair->client, &iov, 1, T_LIMIT));
    return 0;
}

static int selected(filch_case c)
{
    int r = filch_select(&c, 1, 0, T_LIMIT);

    return r < 0 ? r : c.result;
}

static int full_body(void *arg)
{
    char text[FILCH_TCP_TEXT_BYTES];
    struct tcp_pair pair;
    char byte = 0;

    (void)arg;
    connect_pair(&pair);
    SAYS(MEMORY, -ENOMEM, selected(filch_case_readable(pair.client)));
    fill(pair.client);
    FULL(-ETIMEDOUT,
         (fill(pair.client), filch_tcp_write_zero_copy(pair.client, &byte, 1, FILCH_NOW)));
    T_OK(join(spawn(cancelled_body, &pair)));
    T_OK(filch_tcp_shutdown_write(pair.client));
    T_IS(filch_tcp_write_zero_copy(pair.client, &byte, 1, T_LIMIT), -EPIPE);
    SAYS(SETSOCKOPT, -ENOPROTOOPT, filch_tcp_set(pair.client, FILCH_TCP_NODELAY, 1));
    SAYS(GETSOCKOPT, -ENOPROTOOPT, filch_tcp_get(pair.client, FILCH_TCP_NODELAY, &(int64_t){0}));
    SAYS(GETSOCKOPT, -ENOTCONN, filch_tcp_get(pair.client, FILCH_TCP_ERROR, &(int64_t){0}));
    SAYS(SETSOCKOPT, -EPERM, filch_tcp_set_text(pair.client, FILCH_TCP_CONGESTION, "reno"));
    SAYS(GETSOCKOPT, -ENODEV, filch_tcp_get_text(pair.client, FILCH_TCP_DEVICE, text));
    close_pair(&pair);
    return 0;
}

Test(errors_net, full_connections_and_cancelled_tasks)
{
    T_OK(run_in_runtime(1, full_body, NULL));
}

/* ---- streams of connections ---- */

/* Who waits in one of them. */
struct reading {
    filch_udp *udp;
    filch_tcp_stream *stream;
    atomic_bool arrived;
};

static int reads(void *arg)
{
    struct reading *reading = arg;

    atomic_store(&reading->arrived, true);
    T_IS(filch_tcp_stream_read(reading->stream, &(char){0}, 1, FILCH_NEVER), -ECANCELED);
    return 0;
}

static int streams_body(void *arg)
{
    struct reading reading = {.arrived = false};
    struct tcp_pair pair;
    filch_task *task;
    filch_view view;
    char byte;

    (void)arg;
    connect_pair(&pair);
    SAYS(MEMORY, -ENOMEM, filch_tcp_stream_open(pair.client, NULL, &reading.stream));
    T_OK(filch_tcp_stream_open(pair.client, NULL, &reading.stream));
    task = spawn(reads, &reading);
    T_WAIT_UNTIL(atomic_load(&reading.arrived)); /* one worker: it waits by now */
    T_IS(filch_tcp_stream_read(reading.stream, &byte, 1, FILCH_NOW), -EBUSY);
    T_OK(filch_task_cancel(task));
    T_OK(join(task));
    T_OK(filch_tcp_stream_close(reading.stream));
    T_IS(filch_tcp_stream_read(reading.stream, &byte, 1, FILCH_NOW), -EBADF);
    T_IS(filch_tcp_stream_fill(reading.stream, &view, FILCH_NOW), -EBADF);
    T_IS(filch_tcp_stream_consume(reading.stream, 1), -EBADF);
    close_pair(&pair);
    T_IS(filch_tcp_stream_open(pair.client, NULL, &reading.stream), -EBADF);
    return 0;
}

Test(errors_net, streams_of_connections)
{
    T_OK(run_in_runtime(1, streams_body, NULL));
}

Test(errors_net, no_memory_for_what_comes)
{
    struct tcp_pair pair;
    filch_tcp_stream *stream;
    filch_view view;
    char byte;

    connect_pair(&pair);
    T_OK(filch_tcp_stream_open(pair.client, NULL, &stream));
    T_IS(filch_tcp_write(pair.server, "!", 1, T_LIMIT), 1);
    SAYS(MEMORY, -ENOMEM, filch_tcp_stream_fill(stream, &view, T_LIMIT));
    SAYS(MEMORY, -ENOMEM, filch_tcp_stream_read(stream, &byte, 1, T_LIMIT));
    T_IS(filch_tcp_stream_read(stream, &byte, 1, T_LIMIT), 1);
    T_IS(byte, '!');
    T_OK(filch_tcp_stream_close(stream));
    close_pair(&pair);
}

/* ---- UDP ---- */

Test(errors_net, udp_sockets)
{
    const filch_udp_setting settings[] = {{FILCH_UDP_MARK, 1}};
    const filch_udp_opts marked = {.settings = settings, .setting_count = 1};
    const filch_udp_opts bound = {.device = "lo"};
    char text[FILCH_UDP_TEXT_BYTES];
    filch_addr group, here;
    filch_udp *udp;
    int64_t value;

    T_OK(filch_addr_parse("239.1.2.3:0", &group));
    SAYS(SOCKET, -EAFNOSUPPORT, filch_udp_open(ANY, NULL, &udp));
    SAYS(SOCKET, -EMFILE, filch_udp_open(ANY, NULL, &udp));
    SAYS(SOCKET, -ENFILE, filch_udp_open(ANY, NULL, &udp));
    SAYS(SOCKET, -ENOBUFS, filch_udp_open(ANY, NULL, &udp));
    SAYS(MEMORY, -ENOMEM, filch_udp_open(ANY, NULL, &udp));
    SAYS(BIND, -EACCES, filch_udp_open(ANY, NULL, &udp));
    SAYS(BIND, -EADDRNOTAVAIL, filch_udp_open(ANY, NULL, &udp));
    SAYS(SETSOCKOPT, -ENODEV, filch_udp_open(ANY, &bound, &udp));
    SAYS(SETSOCKOPT, -EPERM, filch_udp_open(ANY, &marked, &udp));
    SAYS(SETSOCKOPT, -ENOPROTOOPT, filch_udp_open(ANY, &marked, &udp));
    T_OK(filch_udp_open(ANY, NULL, &udp));
    T_OK(filch_udp_local_addr(udp, &here));
    SAYS(SETSOCKOPT, -EPERM, filch_udp_set(udp, FILCH_UDP_MARK, 1));
    SAYS(SETSOCKOPT, -ENOPROTOOPT, filch_udp_set(udp, FILCH_UDP_MARK, 1));
    SAYS(GETSOCKOPT, -ENOPROTOOPT, filch_udp_get(udp, FILCH_UDP_SEND_BUFFER, &value));
    SAYS(SETSOCKOPT, -ENODEV, filch_udp_set_text(udp, FILCH_UDP_DEVICE, "lo"));
    SAYS(SETSOCKOPT, -EPERM, filch_udp_set_text(udp, FILCH_UDP_DEVICE, "lo"));
    SAYS(GETSOCKOPT, -ENODEV, filch_udp_get_text(udp, FILCH_UDP_DEVICE, text));
    SAYS(SETSOCKOPT, -ENOBUFS, filch_udp_join(udp, &group, NULL, 0));
    SAYS(SETSOCKOPT, -ENODEV, filch_udp_leave(udp, &group, NULL, 0));
    SAYS(SETSOCKOPT, -ENODEV, filch_udp_multicast_interface(udp, 1));
    SAYS(SETSOCKOPT, -EADDRNOTAVAIL, filch_udp_multicast_interface(udp, 1));
    SAYS(CONNECT, -EACCES, filch_udp_connect(udp, &here));
    SAYS(CONNECT, -EAFNOSUPPORT, filch_udp_connect(udp, &here));
    SAYS(CONNECT, -ENETUNREACH, filch_udp_connect(udp, &here));
    T_OK(filch_udp_close(udp));
}

/* The first of a process: there is no object in store. */
Test(errors_net, no_memory_for_a_udp_socket)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    filch_udp *udp;

    T_CHECK(fd >= 0);
    SAYS(MEMORY, -ENOMEM, filch_udp_adopt(fd, &udp));
    T_OK(filch_udp_adopt(fd, &udp));
    T_OK(filch_udp_close(udp));
}

Test(errors_net, datagrams)
{
    filch_addr here;
    filch_udp *udp;
    char byte = 0;

    T_OK(filch_udp_open(ANY, NULL, &udp));
    T_OK(filch_udp_local_addr(udp, &here));
    SAYS(SENDMSG, -EACCES, filch_udp_send(udp, &byte, 1, &here, T_LIMIT));
    SAYS(SENDMSG, -EAFNOSUPPORT, filch_udp_send(udp, &byte, 1, &here, T_LIMIT));
    SAYS(SENDMSG, -ECONNREFUSED, filch_udp_send(udp, &byte, 1, &here, T_LIMIT));
    SAYS(SENDMSG, -EHOSTUNREACH, filch_udp_send(udp, &byte, 1, &here, T_LIMIT));
    SAYS(SENDMSG, -ENETUNREACH, filch_udp_send(udp, &byte, 1, &here, T_LIMIT));
    SAYS(SENDMSG, -ENOBUFS, filch_udp_send(udp, &byte, 1, &here, T_LIMIT));
    SAYS(SENDMSG, -EPERM, filch_udp_send(udp, &byte, 1, &here, T_LIMIT));
    T_IS(filch_udp_send(udp, &byte, 1, &here, T_LIMIT), 1);
    SAYS(RECVMSG, -ENOMEM, filch_udp_recv(udp, &byte, 1, NULL, NULL, T_LIMIT));
    /* It was not lost by that. */
    T_IS(filch_udp_recv(udp, &byte, 1, NULL, NULL, T_LIMIT), 1);
    T_OK(filch_udp_close(udp));
}

static int receives(void *arg)
{
    struct reading *reading = arg;

    atomic_store(&reading->arrived, true);
    T_IS(filch_udp_recv(reading->udp, &(char){0}, 1, NULL, NULL, FILCH_NEVER), -ECANCELED);
    return 0;
}

static int udp_tasks_body(void *arg)
{
    struct reading reading = {.arrived = false};
    filch_task *task;
    int fd;

    (void)arg;
    T_OK(filch_udp_open(ANY, NULL, &reading.udp));
    task = spawn(receives, &reading);
    T_WAIT_UNTIL(atomic_load(&reading.arrived)); /* one worker: it waits by now */
    T_IS(filch_udp_release(reading.udp, &fd), -EBUSY);
    T_OK(filch_task_cancel(task));
    T_OK(join(task));
    T_OK(filch_udp_close(reading.udp));
    return 0;
}

Test(errors_net, udp_in_tasks)
{
    T_OK(run_in_runtime(1, udp_tasks_body, NULL));
}
