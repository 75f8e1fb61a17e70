/* Description: sockets that come from elsewhere and go elsewhere (<filch/tcp.h>): what is taken
 * over, what is refused and left alone, and giving a connection's descriptor back. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/un.h>

#include <criterion/criterion.h>

#include "tests/runner/tcp_pair.h"

TestSuite(tcp_adopt, .timeout = 60);

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static int conn_body(void *arg)
{
    struct tcp_pair pair;
    char buffer[4];
    int fd = raw_socket();

    (void)arg;
    listen_any(&pair);
    raw_connect(fd, pair.addr);
    T_OK(fcntl(fd, F_SETFL, O_NONBLOCK));
    T_OK(fcntl(fd, F_SETFD, 0));
    T_OK(filch_tcp_adopt(fd, &pair.client));
    T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
    T_CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    T_CHECK(!(fcntl(fd, F_GETFL) & O_NONBLOCK));
    T_IS(filch_tcp_read(pair.client, buffer, 4, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_OK(filch_tcp_write_all(pair.client, "ask", 3, NULL, T_LIMIT));
    T_OK(filch_tcp_read_exact(pair.server, buffer, 3, NULL, T_LIMIT));
    T_OK(filch_tcp_write_all(pair.server, "told", 4, NULL, T_LIMIT));
    T_OK(filch_tcp_read_exact(pair.client, buffer, 4, NULL, T_LIMIT));
    T_OK(memcmp(buffer, "told", 4));
    close_pair(&pair);
    T_CHECK(!is_open(fd));
    return 0;
}

Test(tcp_adopt, a_connected_socket_is_taken_over)
{
    cr_assert_eq(run_in_runtime(0, conn_body, NULL), 0);
    cr_assert_eq(conn_body(NULL), 0);
}

static int listener_body(void *arg)
{
    struct tcp_pair pair = {0};
    char text[FILCH_ADDR_BYTES];
    int fd = raw_bind(pair.addr);

    (void)arg;
    T_OK(listen(fd, 5));
    T_OK(fcntl(fd, F_SETFL, O_NONBLOCK));
    T_OK(fcntl(fd, F_SETFD, 0));
    T_OK(filch_listener_adopt(fd, &pair.listener));
    T_CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    T_CHECK(!(fcntl(fd, F_GETFL) & O_NONBLOCK));
    T_OK(filch_listener_addr(pair.listener, text));
    T_OK(strcmp(text, pair.addr));
    for (int i = 0; i < 3; i++) {
        T_OK(filch_tcp_connect(pair.addr, &pair.client, T_LIMIT));
        T_OK(filch_listener_accept(pair.listener, &pair.server, T_LIMIT));
        T_OK(filch_tcp_write_all(pair.client, "!", 1, NULL, T_LIMIT));
        T_OK(filch_tcp_read_exact(pair.server, text, 1, NULL, T_LIMIT));
        T_OK(filch_tcp_close(pair.client));
        T_OK(filch_tcp_close(pair.server));
    }
    T_IS(filch_listener_accept(pair.listener, &pair.server, filch_after(FILCH_MILLISECOND)),
         -ETIMEDOUT);
    T_OK(filch_listener_close(pair.listener));
    T_CHECK(!is_open(fd));
    return 0;
}

Test(tcp_adopt, a_listening_socket_is_taken_over)
{
    cr_assert_eq(run_in_runtime(0, listener_body, NULL), 0);
    cr_assert_eq(listener_body(NULL), 0);
}

static void check_refused(int fd, int as_conn, int as_listener)
{
    filch_tcp *conn = NULL;
    filch_listener *listener = NULL;
    int flags = fcntl(fd, F_GETFL);
    int fd_flags = fcntl(fd, F_GETFD);

    if (as_conn)
        T_IS(filch_tcp_adopt(fd, &conn), as_conn);
    if (as_listener)
        T_IS(filch_listener_adopt(fd, &listener), as_listener);
    T_CHECK(!conn && !listener);
    /* It is the caller's, as it was. */
    T_IS(fcntl(fd, F_GETFL), flags);
    T_IS(fcntl(fd, F_GETFD), fd_flags);
}

Test(tcp_adopt, what_does_not_fit_is_refused_and_left_alone)
{
    char addr[FILCH_ADDR_BYTES];
    int fd, fds[2];

    cr_assert_eq(filch_tcp_adopt(-1, &(filch_tcp *){NULL}), -EBADF);
    cr_assert_eq(filch_listener_adopt(-1, &(filch_listener *){NULL}), -EBADF);
    cr_assert_eq(filch_tcp_adopt(100000, &(filch_tcp *){NULL}), -EBADF);

    fd = raw_bind(addr); /* neither connected nor listening */
    T_OK(fcntl(fd, F_SETFL, O_NONBLOCK));
    T_OK(fcntl(fd, F_SETFD, 0));
    check_refused(fd, -ENOTCONN, -EINVAL);
    cr_assert_eq(filch_tcp_adopt(fd, NULL), -EINVAL);
    T_OK(listen(fd, 1));
    check_refused(fd, -EINVAL, 0);
    cr_assert_eq(filch_listener_adopt(fd, NULL), -EINVAL);
    close(fd);

    T_OK(pipe(fds));
    check_refused(fds[0], -ENOTSOCK, -ENOTSOCK);
    close(fds[0]);
    close(fds[1]);
    T_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    check_refused(fds[0], -EPROTOTYPE, -EPROTOTYPE);
    close(fds[0]);
    close(fds[1]);
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    check_refused(fd, -EPROTOTYPE, -EPROTOTYPE);
    close(fd);
}

struct busy {
    struct tcp_pair pair;
    atomic_int arrived;
};

static int read_once(void *arg)
{
    struct busy *busy = arg;
    char byte;

    atomic_store(&busy->arrived, 1);
    return (int)filch_tcp_read(busy->pair.server, &byte, 1, FILCH_NEVER);
}

static int release_body(void *arg)
{
    struct busy busy = {.arrived = 0};
    filch_tcp *again;
    filch_task *reader;
    char byte = 0;
    int fd = -7;

    (void)arg;
    connect_pair(&busy.pair);
    reader = spawn(read_once, &busy);
    T_WAIT_UNTIL(atomic_load(&busy.arrived));
    let_others_run(); /* it is in the read now: one worker */
    T_IS(filch_tcp_release(busy.pair.server, &fd), -EBUSY);
    T_IS(fd, -7);
    T_OK(filch_task_cancel(reader));
    T_IS(join(reader), -ECANCELED);

    T_IS(filch_tcp_release(NULL, &fd), -EINVAL);
    T_IS(filch_tcp_release(busy.pair.server, NULL), -EINVAL);
    T_OK(filch_tcp_release(busy.pair.server, &fd));
    T_CHECK(is_open(fd));
    T_IS(filch_tcp_release(busy.pair.server, &(int){0}), -EBADF);
    T_IS(filch_tcp_read(busy.pair.server, &byte, 1, FILCH_NOW), -EBADF);
    T_IS(filch_tcp_close(busy.pair.server), -EBADF);

    /* Ours to use, and to give back. */
    T_IS(write(fd, "!", 1), 1);
    T_IS(filch_tcp_read(busy.pair.client, &byte, 1, T_LIMIT), 1);
    T_IS(byte, '!');
    T_OK(filch_tcp_adopt(fd, &again));
    T_CHECK(again != busy.pair.server);
    T_IS(filch_tcp_read(busy.pair.server, &byte, 1, FILCH_NOW), -EBADF); /* still another one */
    T_OK(filch_tcp_write_all(again, "?", 1, NULL, T_LIMIT));
    T_IS(filch_tcp_read(busy.pair.client, &byte, 1, T_LIMIT), 1);
    T_IS(byte, '?');
    T_OK(filch_tcp_close(again));
    T_CHECK(!is_open(fd));
    T_OK(filch_tcp_close(busy.pair.client));
    T_IS(filch_tcp_release(busy.pair.client, &fd), -EBADF);
    T_OK(filch_listener_close(busy.pair.listener));
    return 0;
}

Test(tcp_adopt, a_connection_nobody_uses_is_given_back)
{
    cr_assert_eq(run_in_runtime(1, release_body, NULL), 0);
}

/* What a plain thread accepted has no time limit of ours left on it. */
Test(tcp_adopt, a_descriptor_given_back_blocks)
{
    struct timeval limit;
    socklen_t bytes = sizeof(limit);
    struct tcp_pair pair;
    int fd;

    connect_pair(&pair);
    T_OK(filch_tcp_release(pair.server, &fd));
    T_OK(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, &bytes));
    cr_assert(limit.tv_sec == 0 && limit.tv_usec == 0);
    cr_assert(!(fcntl(fd, F_GETFL) & O_NONBLOCK));
    close(fd);
    T_OK(filch_tcp_close(pair.client));
    T_OK(filch_listener_close(pair.listener));
}

/* Somebody who shares the socket makes it non-blocking again: reads wait all the same. */
static int nonblocking_body(void *arg)
{
    struct tcp_pair pair;
    char byte = 0;
    int fd;

    (void)arg;
    connect_pair(&pair);
    T_OK(filch_tcp_release(pair.server, &fd));
    T_OK(filch_tcp_adopt(fd, &pair.server));
    T_OK(fcntl(fd, F_SETFL, O_NONBLOCK));
    for (int i = 0; i < 3; i++) {
        T_IS(filch_tcp_read(pair.server, &byte, 1, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
        T_OK(filch_tcp_write_all(pair.client, "!", 1, NULL, T_LIMIT));
        T_IS(filch_tcp_read(pair.server, &byte, 1, T_LIMIT), 1);
        T_IS(byte, '!');
    }
    close_pair(&pair);
    return 0;
}

Test(tcp_adopt, a_socket_made_non_blocking_is_waited_for)
{
    cr_assert_eq(run_in_runtime(0, nonblocking_body, NULL), 0);
}
