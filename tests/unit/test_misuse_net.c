/* Description: what the functions on descriptors and sockets other than TCP say to wrong calls; see
 * test_misuse.c. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/misuse.h"
#include "tests/runner/run.h"

TestSuite(misuse_net, .timeout = 120);

/* Handles that are closed. */
static struct {
    filch_fd *fd;
    filch_udp *udp;
    filch_unix *conn, *peer;
    filch_unix_listener *listener;
    filch_unix_dgram *dgram, *dgram_peer;
} stale;

/* Free in this process. */
static const char *unix_name(void)
{
    static char name[FILCH_UNIX_ADDR_BYTES];

    snprintf(name, sizeof name, "@filch-misuse-%d", (int)getpid());
    return name;
}

static void make_stale(void)
{
    int number = eventfd(0, EFD_CLOEXEC);

    T_OK(filch_fd_adopt(number, &stale.fd));
    T_OK(filch_fd_close(stale.fd));
    T_OK(filch_udp_open("127.0.0.1:0", NULL, &stale.udp));
    T_OK(filch_udp_close(stale.udp));
    T_OK(filch_unix_pair(&stale.conn, &stale.peer));
    T_OK(filch_unix_close(stale.conn));
    T_OK(filch_unix_close(stale.peer));
    T_OK(filch_unix_dgram_pair(&stale.dgram, &stale.dgram_peer));
    T_OK(filch_unix_dgram_close(stale.dgram));
    T_OK(filch_unix_dgram_close(stale.dgram_peer));
    T_OK(filch_unix_listener_open(unix_name(), NULL, &stale.listener));
    T_OK(filch_unix_listener_close(stale.listener));
}

static void fd_rows(void)
{
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    unsigned events = 0;
    filch_fd *fd = NULL;
    filch_case c;
    int r;

    ROW(filch_fd_borrow(-1, &fd), -EBADF);
    ROW(filch_fd_borrow(file, NULL), -EINVAL);
    ROW(filch_fd_borrow(file, &fd), -EPERM);
    ROW(filch_fd_adopt(-1, &fd), -EBADF);
    ROW(filch_fd_adopt(file, NULL), -EINVAL);
    ROW(filch_fd_adopt(file, &fd), -EPERM);
    ROW(fd == NULL, true);
    ROW(filch_fd_number(NULL), -EINVAL);
    ROW(filch_fd_number(stale.fd), -EBADF);
    ROW(filch_fd_wait(NULL, FILCH_FD_READABLE, &events, FILCH_NEVER), -EINVAL);
    ROW(filch_fd_wait(stale.fd, FILCH_FD_READABLE, &events, FILCH_NEVER), -EBADF);
    ROW(filch_fd_wait(stale.fd, 0, &events, FILCH_NEVER), -EINVAL);
    ROW(filch_fd_wait(stale.fd, 1u << 31, &events, FILCH_NEVER), -EINVAL);
    ROW(filch_fd_poll(-1, FILCH_FD_READABLE, &events, FILCH_NEVER), -EBADF);
    ROW(filch_fd_poll(-1, FILCH_FD_READABLE, &events, FILCH_NOW), -EBADF);
    ROW(filch_fd_poll(file, 0, &events, FILCH_NOW), -EINVAL);
    ROW(filch_fd_poll(file, FILCH_FD_READABLE, NULL, FILCH_NEVER), 0);
    ROW(filch_fd_release(NULL, &r), -EINVAL);
    ROW(filch_fd_release(stale.fd, NULL), -EINVAL);
    ROW(filch_fd_release(stale.fd, &r), -EBADF);
    c = filch_case_fd(NULL, FILCH_FD_READABLE, &events);
    ROW(filch_select(&c, 1, 0, FILCH_NOW), -EINVAL);
    c = filch_case_fd(stale.fd, 0, &events);
    ROW(filch_select(&c, 1, 0, FILCH_NOW), -EINVAL);
    c = filch_case_fd(stale.fd, FILCH_FD_READABLE, &events);
    ROW(filch_select_result(&c, 1, 0, &r, FILCH_NOW), 0);
    ROW(r, -EBADF);
    ROW(filch_fd_close(NULL), 0);
    ROW(filch_fd_close(stale.fd), -EBADF);
    ROW(events, 0);
    T_OK(close(file));
}

static void addr_rows(void)
{
    char text[FILCH_ADDR_BYTES];
    filch_addr addr = {.family = 0};

    ROW(filch_addr_parse(NULL, &addr), -EINVAL);
    ROW(filch_addr_parse("nowhere", &addr), -EINVAL);
    ROW(filch_addr_parse("127.0.0.1:1", NULL), -EINVAL);
    ROW(filch_addr_text(NULL, text), -EINVAL);
    ROW(filch_addr_text(&addr, text), -EINVAL);
    ROW(filch_addr_text(&addr, NULL), -EINVAL);
    ROW(filch_addr_equal(NULL, &addr), false);
}

static void udp_rows(void)
{
    filch_datagram datagram = {.buf = NULL, .bytes = 1};
    filch_addr none = {.family = 0}, addr, group;
    filch_udp *udp = NULL;
    filch_case c;
    char buf[1], name[FILCH_UDP_TEXT_BYTES];
    int64_t value;
    int fd, r = 0;

    T_OK(filch_addr_parse("127.0.0.1:1", &addr));
    T_OK(filch_addr_parse("239.0.0.1:1", &group));
    ROW(filch_udp_open(NULL, NULL, &udp), -EINVAL);
    ROW(filch_udp_open("nowhere", NULL, &udp), -EINVAL);
    ROW(filch_udp_open("127.0.0.1:0", NULL, NULL), -EINVAL);
    ROW(filch_udp_adopt(-1, &udp), -EBADF);
    ROW(filch_udp_adopt(0, NULL), -EINVAL);
    ROW(filch_udp_fd(NULL), -EINVAL);
    ROW(filch_udp_fd(stale.udp), -EBADF);
    ROW(filch_udp_release(NULL, &fd), -EINVAL);
    ROW(filch_udp_release(stale.udp, NULL), -EINVAL);
    ROW(filch_udp_release(stale.udp, &fd), -EBADF);
    ROW(filch_udp_connect(NULL, &addr), -EINVAL);
    ROW(filch_udp_connect(stale.udp, &none), -EINVAL);
    ROW(filch_udp_connect(stale.udp, &addr), -EBADF);
    ROW(filch_udp_send(NULL, buf, 1, &addr, FILCH_NEVER), -EINVAL);
    ROW(filch_udp_send(stale.udp, NULL, 1, &addr, FILCH_NEVER), -EINVAL);
    ROW(filch_udp_send(stale.udp, buf, 1, &none, FILCH_NEVER), -EINVAL);
    ROW(filch_udp_send(stale.udp, buf, 1, &addr, FILCH_NEVER), -EBADF);
    ROW(filch_udp_recv(NULL, buf, 1, NULL, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_udp_recv(stale.udp, NULL, 1, NULL, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_udp_recv(stale.udp, buf, 1, NULL, NULL, FILCH_NEVER), -EBADF);
    ROW(filch_udp_send_many(NULL, &datagram, 1, FILCH_NEVER), -EINVAL);
    ROW(filch_udp_send_many(stale.udp, NULL, 1, FILCH_NEVER), -EINVAL);
    ROW(filch_udp_send_many(stale.udp, &datagram, 1, FILCH_NEVER), -EBADF);
    ROW(filch_udp_recv_many(NULL, &datagram, 1, FILCH_NEVER), -EINVAL);
    ROW(filch_udp_recv_many(stale.udp, NULL, 1, FILCH_NEVER), -EINVAL);
    ROW(filch_udp_recv_many(stale.udp, &datagram, 1, FILCH_NEVER), -EBADF);
    T_OK(filch_udp_open("127.0.0.1:0", NULL, &udp));
    ROW(filch_udp_send_many(udp, &datagram, 1, FILCH_NEVER), -EINVAL);
    ROW(filch_udp_recv_many(udp, &datagram, 1, FILCH_NEVER), -EINVAL);
    T_OK(filch_udp_close(udp));
    ROW(filch_udp_join(NULL, &group, NULL, 0), -EINVAL);
    ROW(filch_udp_join(stale.udp, NULL, NULL, 0), -EINVAL);
    ROW(filch_udp_join(stale.udp, &addr, NULL, 0), -EINVAL);
    ROW(filch_udp_join(stale.udp, &group, &none, 0), -EINVAL);
    ROW(filch_udp_join(stale.udp, &group, NULL, 0), -EBADF);
    ROW(filch_udp_leave(NULL, &group, NULL, 0), -EINVAL);
    ROW(filch_udp_leave(stale.udp, &group, NULL, 0), -EBADF);
    ROW(filch_udp_multicast_interface(NULL, 1), -EINVAL);
    ROW(filch_udp_multicast_interface(stale.udp, 1), -EBADF);
    ROW(filch_udp_set(NULL, FILCH_UDP_TTL, 1), -EINVAL);
    ROW(filch_udp_set(stale.udp, FILCH_UDP_TTL, 1), -EBADF);
    ROW(filch_udp_get(NULL, FILCH_UDP_TTL, &value), -EINVAL);
    ROW(filch_udp_get(stale.udp, FILCH_UDP_TTL, NULL), -EINVAL);
    ROW(filch_udp_get(stale.udp, FILCH_UDP_TTL, &value), -EBADF);
    ROW(filch_udp_set_text(NULL, FILCH_UDP_DEVICE, "lo"), -EINVAL);
    ROW(filch_udp_set_text(stale.udp, FILCH_UDP_DEVICE, NULL), -EINVAL);
    ROW(filch_udp_set_text(stale.udp, FILCH_UDP_DEVICE, "lo"), -EBADF);
    ROW(filch_udp_get_text(NULL, FILCH_UDP_DEVICE, name), -EINVAL);
    ROW(filch_udp_get_text(stale.udp, FILCH_UDP_DEVICE, NULL), -EINVAL);
    ROW(filch_udp_get_text(stale.udp, FILCH_UDP_DEVICE, name), -EBADF);
    ROW(filch_udp_local_addr(NULL, &addr), -EINVAL);
    ROW(filch_udp_local_addr(stale.udp, NULL), -EINVAL);
    ROW(filch_udp_local_addr(stale.udp, &addr), -EBADF);
    ROW(filch_udp_peer_addr(NULL, &addr), -EINVAL);
    ROW(filch_udp_peer_addr(stale.udp, &addr), -EBADF);
    c = filch_case_udp_readable(NULL);
    ROW(filch_select(&c, 1, 0, FILCH_NOW), -EINVAL);
    c = filch_case_udp_writable(stale.udp);
    ROW(filch_select_result(&c, 1, 0, &r, FILCH_NOW), 0);
    ROW(r, -EBADF);
    ROW(filch_udp_close(NULL), 0);
    ROW(filch_udp_close(stale.udp), -EBADF);
}

static void unix_rows(void)
{
    filch_unix_fds fds = {.fds = NULL, .room = 1}, no_fds = {.fds = NULL};
    struct iovec iov = {NULL, 1};
    char text[FILCH_UNIX_ADDR_BYTES], buf[1];
    filch_unix *conn = NULL, *old = stale.conn;
    filch_unix_listener *listener = NULL;
    filch_unix_cred cred;
    int64_t value;
    filch_case c;
    size_t done;
    int fd, r = 0;

    ROW(filch_unix_listener_open(NULL, NULL, &listener), -EINVAL);
    ROW(filch_unix_listener_open("", NULL, &listener), -EINVAL);
    ROW(filch_unix_listener_open("@x", NULL, NULL), -EINVAL);
    ROW(filch_unix_listener_adopt(-1, &listener), -EBADF);
    ROW(filch_unix_listener_adopt(0, NULL), -EINVAL);
    ROW(filch_unix_listener_accept(NULL, &conn, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_listener_accept(stale.listener, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_listener_accept(stale.listener, &conn, FILCH_NEVER), -EBADF);
    ROW(filch_unix_listener_fd(NULL), -EINVAL);
    ROW(filch_unix_listener_fd(stale.listener), -EBADF);
    ROW(filch_unix_listener_addr(NULL, text), -EINVAL);
    ROW(filch_unix_listener_addr(stale.listener, NULL), -EINVAL);
    ROW(filch_unix_listener_addr(stale.listener, text), -EBADF);
    c = filch_case_unix_acceptable(NULL);
    ROW(filch_select(&c, 1, 0, FILCH_NOW), -EINVAL);
    c = filch_case_unix_acceptable(stale.listener);
    ROW(filch_select_result(&c, 1, 0, &r, FILCH_NOW), 0);
    ROW(r, -EBADF);
    ROW(filch_unix_listener_close(NULL), 0);
    ROW(filch_unix_listener_close(stale.listener), -EBADF);
    ROW(filch_unix_connect(NULL, &conn, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_connect("", &conn, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_connect("@x", NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_pair(NULL, &conn), -EINVAL);
    ROW(filch_unix_pair(&conn, NULL), -EINVAL);
    ROW(filch_unix_adopt(-1, &conn), -EBADF);
    ROW(filch_unix_adopt(0, NULL), -EINVAL);
    ROW(filch_unix_fd(NULL), -EINVAL);
    ROW(filch_unix_fd(old), -EBADF);
    ROW(filch_unix_release(NULL, &fd), -EINVAL);
    ROW(filch_unix_release(old, NULL), -EINVAL);
    ROW(filch_unix_release(old, &fd), -EBADF);
    ROW(filch_unix_read(NULL, buf, 1, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_read(old, buf, 0, FILCH_NEVER), -EBADF);
    ROW(filch_unix_readv(NULL, &iov, 1, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_readv(old, &iov, 1, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_readv(old, NULL, 0, FILCH_NEVER), -EBADF);
    ROW(filch_unix_read_exact(NULL, buf, 1, &done, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_read_exact(old, buf, 1, NULL, FILCH_NEVER), -EBADF);
    ROW(filch_unix_write(NULL, buf, 1, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_write(old, buf, 1, FILCH_NEVER), -EBADF);
    ROW(filch_unix_write_all(NULL, buf, 1, &done, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_write_all(old, buf, 1, NULL, FILCH_NEVER), -EBADF);
    ROW(filch_unix_writev(NULL, &iov, 1, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_writev(old, NULL, 0, FILCH_NEVER), -EBADF);
    ROW(filch_unix_writev_all(NULL, NULL, 0, &done, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_writev_all(old, &iov, 1, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_writev_all(old, NULL, 0, NULL, FILCH_NEVER), -EBADF);
    ROW(filch_unix_send_fds(NULL, buf, 1, NULL, 0, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_send_fds(old, buf, 0, NULL, 0, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_send_fds(old, buf, 1, NULL, 1, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_send_fds(old, buf, 1, NULL, 0, FILCH_NEVER), -EBADF);
    ROW(filch_unix_recv_fds(NULL, buf, 1, &no_fds, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_recv_fds(old, buf, 1, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_recv_fds(old, buf, 1, &fds, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_recv_fds(old, buf, 1, &no_fds, FILCH_NEVER), -EBADF);
    ROW(filch_unix_shutdown_write(NULL), -EINVAL);
    ROW(filch_unix_shutdown_write(old), -EBADF);
    ROW(filch_unix_peer_cred(NULL, &cred), -EINVAL);
    ROW(filch_unix_peer_cred(old, NULL), -EINVAL);
    ROW(filch_unix_peer_cred(old, &cred), -EBADF);
    ROW(filch_unix_set(NULL, FILCH_UNIX_SEND_BUFFER, 1), -EINVAL);
    ROW(filch_unix_set(old, FILCH_UNIX_SEND_BUFFER, 1), -EBADF);
    ROW(filch_unix_get(NULL, FILCH_UNIX_SEND_BUFFER, &value), -EINVAL);
    ROW(filch_unix_get(old, FILCH_UNIX_SEND_BUFFER, NULL), -EINVAL);
    ROW(filch_unix_get(old, FILCH_UNIX_SEND_BUFFER, &value), -EBADF);
    ROW(filch_unix_peer_addr(NULL, text), -EINVAL);
    ROW(filch_unix_peer_addr(old, text), -EBADF);
    ROW(filch_unix_reader(NULL).read(NULL, buf, 1, FILCH_NOW), -EINVAL);
    ROW(filch_unix_writer(NULL).write(NULL, buf, 1, FILCH_NOW), -EINVAL);
    ROW(filch_unix_io(NULL).writer.finish(NULL, FILCH_NOW), -EINVAL);
    c = filch_case_unix_readable(NULL);
    ROW(filch_select(&c, 1, 0, FILCH_NOW), -EINVAL);
    c = filch_case_unix_writable(old);
    ROW(filch_select_result(&c, 1, 0, &r, FILCH_NOW), 0);
    ROW(r, -EBADF);
    ROW(filch_unix_close(NULL), 0);
    ROW(filch_unix_close(old), -EBADF);
    ROW(conn == NULL && listener == NULL, true);
}

static void unix_dgram_rows(void)
{
    filch_unix_fds fds = {.fds = NULL, .room = 1};
    char text[FILCH_UNIX_ADDR_BYTES], buf[1];
    filch_unix_dgram *sock = NULL, *old = stale.dgram;
    int64_t value;
    filch_unix_cred cred;
    filch_case c;
    int fd, r = 0;

    ROW(filch_unix_dgram_open("", NULL, &sock), -EINVAL);
    ROW(filch_unix_dgram_open("@x", NULL, NULL), -EINVAL);
    ROW(filch_unix_dgram_pair(NULL, &sock), -EINVAL);
    ROW(filch_unix_dgram_adopt(-1, &sock), -EBADF);
    ROW(filch_unix_dgram_adopt(0, NULL), -EINVAL);
    ROW(filch_unix_dgram_fd(NULL), -EINVAL);
    ROW(filch_unix_dgram_fd(old), -EBADF);
    ROW(filch_unix_dgram_release(NULL, &fd), -EINVAL);
    ROW(filch_unix_dgram_release(old, &fd), -EBADF);
    ROW(filch_unix_dgram_connect(NULL, "@x"), -EINVAL);
    ROW(filch_unix_dgram_connect(old, NULL), -EINVAL);
    ROW(filch_unix_dgram_connect(old, "@x"), -EBADF);
    ROW(filch_unix_dgram_send(NULL, buf, 1, NULL, NULL, 0, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_dgram_send(old, NULL, 1, NULL, NULL, 0, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_dgram_send(old, buf, 1, "", NULL, 0, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_dgram_send(old, buf, 1, NULL, NULL, 1, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_dgram_send(old, buf, 1, "@x", NULL, 0, FILCH_NEVER), -EBADF);
    ROW(filch_unix_dgram_recv(NULL, buf, 1, NULL, NULL, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_dgram_recv(old, NULL, 1, NULL, NULL, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_dgram_recv(old, buf, 1, &fds, NULL, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_dgram_recv(old, buf, 1, NULL, NULL, NULL, FILCH_NEVER), -EBADF);
    ROW(filch_unix_dgram_recv_cred(NULL, buf, 1, NULL, &cred, NULL, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_dgram_recv_cred(old, buf, 1, NULL, NULL, NULL, NULL, FILCH_NEVER), -EINVAL);
    ROW(filch_unix_dgram_recv_cred(old, buf, 1, NULL, &cred, NULL, NULL, FILCH_NEVER), -EBADF);
    ROW(filch_unix_dgram_set(NULL, FILCH_UNIX_SEND_BUFFER, 1), -EINVAL);
    ROW(filch_unix_dgram_set(old, FILCH_UNIX_SEND_BUFFER, 1), -EBADF);
    ROW(filch_unix_dgram_get(NULL, FILCH_UNIX_SEND_BUFFER, &value), -EINVAL);
    ROW(filch_unix_dgram_get(old, FILCH_UNIX_SEND_BUFFER, NULL), -EINVAL);
    ROW(filch_unix_dgram_get(old, FILCH_UNIX_SEND_BUFFER, &value), -EBADF);
    ROW(filch_unix_dgram_addr(NULL, text), -EINVAL);
    ROW(filch_unix_dgram_addr(old, text), -EBADF);
    c = filch_case_unix_dgram_readable(NULL);
    ROW(filch_select(&c, 1, 0, FILCH_NOW), -EINVAL);
    c = filch_case_unix_dgram_readable(old);
    ROW(filch_select_result(&c, 1, 0, &r, FILCH_NOW), 0);
    ROW(r, -EBADF);
    ROW(filch_unix_dgram_close(NULL), 0);
    ROW(filch_unix_dgram_close(old), -EBADF);
    ROW(sock == NULL, true);
}

static void copy_rows(void)
{
    filch_io none = {.reader = {.read = NULL}};
    filch_copier no_buffer = {.buffer = NULL, .room = 1};
    filch_file *in = NULL, *out = NULL;
    filch_duplex *a = NULL, *b = NULL;
    filch_copy_result result;
    filch_io ends;
    uint64_t bytes;
    char buf[1];

    ROW(filch_pipe(0, NULL, &out), -EINVAL);
    ROW(filch_pipe(0, &in, NULL), -EINVAL);
    ROW(filch_pipe(SIZE_MAX, &in, &out), -EINVAL);
    ROW(filch_duplex_new(0, &a, &b), -EINVAL);
    ROW(filch_duplex_new(SIZE_MAX, &a, &b), -EINVAL);
    ROW(filch_duplex_new(1, NULL, &b), -EINVAL);
    ROW(filch_duplex_new(1, &a, NULL), -EINVAL);
    ROW(filch_duplex_read(NULL, buf, 1, FILCH_NEVER), -EINVAL);
    ROW(filch_duplex_write(NULL, buf, 1, FILCH_NEVER), -EINVAL);
    ROW(filch_duplex_shutdown_write(NULL), -EINVAL);
    ROW(filch_duplex_io(NULL).reader.read(NULL, buf, 1, FILCH_NEVER), -EINVAL);
    ROW_VOID(filch_duplex_free(NULL));
    ROW(a == NULL && b == NULL && in == NULL && out == NULL, true);
    T_OK(filch_duplex_new(1, &a, &b));
    ends = filch_duplex_io(a);
    ROW(filch_duplex_read(a, NULL, 1, FILCH_NEVER), -EINVAL);
    ROW(filch_duplex_write(a, NULL, 1, FILCH_NEVER), -EINVAL);
    ROW(filch_copy(none.reader, ends.writer, NULL, &bytes, FILCH_NEVER), -EINVAL);
    ROW(filch_copy(ends.reader, none.writer, NULL, &bytes, FILCH_NEVER), -EINVAL);
    ROW(filch_copy(ends.reader, ends.writer, &no_buffer, &bytes, FILCH_NEVER), -EINVAL);
    ROW(filch_copy_both(none, ends, NULL, &result, FILCH_NEVER), -EINVAL);
    ROW(filch_copy_both(ends, none, NULL, &result, FILCH_NEVER), -EINVAL);
    filch_duplex_free(a);
    filch_duplex_free(b);
}

/* Nothing is inherited here. */
static void inherited_rows(void)
{
    filch_unix_listener *local;
    filch_listener *listener;
    filch_udp *udp;
    int fd;

    ROW(filch_inherited_count(), 0);
    ROW(filch_inherited_fd(NULL, NULL), -EINVAL);
    ROW(filch_inherited_fd(NULL, &fd), -ENOENT);
    ROW(filch_inherited_listener("x", NULL), -EINVAL);
    ROW(filch_inherited_listener("x", &listener), -ENOENT);
    ROW(filch_inherited_unix_listener("x", NULL), -EINVAL);
    ROW(filch_inherited_unix_listener("x", &local), -ENOENT);
    ROW(filch_inherited_udp("x", NULL), -EINVAL);
    ROW(filch_inherited_udp("x", &udp), -ENOENT);
}

static int all_rows(void *arg)
{
    (void)arg;
    make_stale();
    fd_rows();
    addr_rows();
    udp_rows();
    unix_rows();
    unix_dgram_rows();
    copy_rows();
    inherited_rows();
    return 0;
}

Test(misuse_net, in_a_plain_thread)
{
    T_OK(all_rows(NULL));
    cr_assert_eq(misuse_wrong, 0);
}

Test(misuse_net, in_a_task)
{
    T_OK(run_in_runtime(0, all_rows, NULL));
    cr_assert_eq(misuse_wrong, 0);
}

Test(misuse_net, in_a_blocking_job)
{
    filch_runtime *rt = start_runtime(0);
    filch_task *job;
    int result = -1;

    T_OK(filch_runtime_blocking_spawn(rt, all_rows, NULL, NULL, &job));
    T_OK(filch_task_join(job, &result, T_LIMIT));
    T_OK(result);
    stop_runtime(rt);
    cr_assert_eq(misuse_wrong, 0);
}
