/* TCP connections.
 *
 * A read is one ring operation: the kernel tries at once when the batch is submitted, else waits
 * for data. A write goes directly to the kernel while few tasks are queued on the worker, because
 * then nobody would share the submission; when many are, it is staged with theirs. Plain threads
 * use system calls and poll(2). Sockets stay in blocking mode (for a non-blocking one io_uring
 * would give EAGAIN instead of waiting); direct calls carry MSG_DONTWAIT.
 */
#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <fcntl.h>
#include <poll.h>
#include <stdalign.h>
#include <unistd.h>

#include <filch/time.h>

#include "io/net/addr.h"
#include "io/net/socket.h"
#include "io/uring/lane.h"
#include "runtime/task/task.h"

/* Writes are direct while fewer tasks than this wait on the worker. */
#define DIRECT_BACKLOG 4
#define BYTES_MAX ((size_t)0x7ffff000)

/* What a handle stands for; a cache line of its own. */
struct filch_tcp {
    alignas(FILCH_CACHELINE) struct filch__fd fd;
};

static struct filch__pool tcp_pool = FILCH__POOL_INITIALISER(struct filch_tcp, fd.next);

int filch__tcp_adopt(int fd, bool nodelay, filch_tcp **ret_conn)
{
    int on = 1;
    void *object = filch__pool_take(&tcp_pool);

    if (!object) {
        close(fd);
        return -ENOMEM;
    }
    if (nodelay)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *ret_conn = filch__fd_open(object, fd);
    return 0;
}

int filch__socket_poll(int fd, short events, filch_time until)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};
    struct timespec ts;
    filch_time now = filch_now();
    filch_time span = until > now ? until - now : 0;
    int r;

    ts.tv_sec = (time_t)(span / FILCH_SECOND);
    ts.tv_nsec = (long)(span % FILCH_SECOND);
    r = ppoll(&poll_fd, 1, until == FILCH_NEVER ? NULL : &ts, NULL);
    return r == 0 ? -ETIMEDOUT : 0;
}

struct io_uring_sqe *filch__op_begin(struct filch__op *op, struct filch__lane **ret_lane)
{
    struct io_uring_sqe *sqe;

    /* When the ring takes nothing more, completions must be handled first: that is the loop's work.
     */
    while (!(sqe = filch__lane_sqe(filch__worker_lane())))
        filch_task_yield();
    op->complete = NULL;
    op->task = filch__task_current();
    op->generation = filch__task_generation(op->task);
    op->res = 0;
    filch_atomic_init(&op->done, 0);
    *ret_lane = filch__worker_lane();
    return sqe;
}

static void count_direct(void)
{
    struct filch__lane *lane = filch__worker_lane();

    if (lane)
        filch_counter_add(&lane->stats.direct, 1);
}

static ssize_t recv_now(int fd, void *buf, size_t bytes)
{
    ssize_t n;

    count_direct();
    do {
        n = recv(fd, buf, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static ssize_t send_now(int fd, const void *buf, size_t bytes)
{
    ssize_t n;

    count_direct();
    do {
        n = send(fd, buf, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static ssize_t recv_by_ring(int fd, void *buf, size_t bytes, filch_time until)
{
    struct filch__lane *lane;
    struct filch__op op;
    struct io_uring_sqe *sqe = filch__op_begin(&op, &lane);

    io_uring_prep_recv(sqe, fd, buf, bytes, MSG_NOSIGNAL);
    filch__lane_commit(lane, &op);
    return filch__op_wait(&op, until);
}

static ssize_t send_by_ring(int fd, const void *buf, size_t bytes, filch_time until)
{
    struct filch__lane *lane;
    struct filch__op op;
    struct io_uring_sqe *sqe = filch__op_begin(&op, &lane);

    io_uring_prep_send(sqe, fd, buf, bytes, MSG_NOSIGNAL);
    filch__lane_commit(lane, &op);
    return filch__op_wait(&op, until);
}

/* Must the call finish without waiting? Return: 0 (no), or the error it gives when it cannot. */
static int only_now(struct filch__task *task, filch_time until)
{
    if (filch__task_cancelled(task))
        return -ECANCELED;
    return until == FILCH_NOW ? -ETIMEDOUT : 0;
}

static ssize_t read_in_task(int fd, void *buf, size_t bytes, filch_time until)
{
    int error = only_now(filch__task_current(), until);
    ssize_t n;

    if (!error)
        return recv_by_ring(fd, buf, bytes, until);
    n = recv_now(fd, buf, bytes);
    return n == -EAGAIN ? error : n;
}

static ssize_t read_in_thread(int fd, void *buf, size_t bytes, filch_time until)
{
    ssize_t n;

    while ((n = recv_now(fd, buf, bytes)) == -EAGAIN)
        if (filch__socket_poll(fd, POLLIN, until) < 0)
            return -ETIMEDOUT;
    return n;
}

static ssize_t write_in_task(int fd, const void *buf, size_t bytes, filch_time until)
{
    int error = only_now(filch__task_current(), until);
    ssize_t n;

    if (error || filch__worker_backlog() < DIRECT_BACKLOG) {
        n = send_now(fd, buf, bytes);
        if (n != -EAGAIN)
            return n;
        if (error)
            return error;
    }
    return send_by_ring(fd, buf, bytes, until);
}

static ssize_t write_in_thread(int fd, const void *buf, size_t bytes, filch_time until)
{
    ssize_t n;

    while ((n = send_now(fd, buf, bytes)) == -EAGAIN)
        if (filch__socket_poll(fd, POLLOUT, until) < 0)
            return -ETIMEDOUT;
    return n;
}

static bool in_stackful_task(void)
{
    struct filch__task *task = filch__task_current();

    return task && filch__task_has_stack(task);
}

ssize_t filch_tcp_read(filch_tcp *conn, void *buf, size_t bytes, filch_time until)
{
    struct filch__fd *object;
    ssize_t n;
    int r = filch__fd_enter(conn, &object);

    if (r < 0)
        return r;
    if (bytes > BYTES_MAX)
        bytes = BYTES_MAX;
    if (!buf && bytes)
        n = -EINVAL;
    else if (!bytes)
        n = 0;
    else if (in_stackful_task())
        n = read_in_task(object->fd, buf, bytes, until);
    else
        n = read_in_thread(object->fd, buf, bytes, until);
    if (n <= 0 && bytes && filch__fd_is_closing(object))
        n = -ECANCELED;
    filch__fd_leave(object);
    if (n > 0)
        filch__coop();
    return n;
}

int filch_tcp_read_exact(filch_tcp *conn, void *buf, size_t bytes, size_t *ret_done,
                         filch_time until)
{
    size_t done = 0;
    ssize_t n = 0;

    /* Once at least: no bytes at all from a closed connection is an error, too. */
    do {
        n = filch_tcp_read(conn, (char *)buf + done, bytes - done, until);
        if (n > 0)
            done += (size_t)n;
    } while (n > 0 && done < bytes);
    if (ret_done)
        *ret_done = done;
    if (n < 0)
        return (int)n;
    return done == bytes ? 0 : -EPIPE;
}

ssize_t filch_tcp_write(filch_tcp *conn, const void *buf, size_t bytes, filch_time until)
{
    struct filch__fd *object;
    ssize_t n;
    int r = filch__fd_enter(conn, &object);

    if (r < 0)
        return r;
    if (bytes > BYTES_MAX)
        bytes = BYTES_MAX;
    if (!buf && bytes)
        n = -EINVAL;
    else if (!bytes)
        n = 0;
    else if (in_stackful_task())
        n = write_in_task(object->fd, buf, bytes, until);
    else
        n = write_in_thread(object->fd, buf, bytes, until);
    if (n < 0 && filch__fd_is_closing(object))
        n = -ECANCELED;
    filch__fd_leave(object);
    if (n > 0)
        filch__coop();
    return n;
}

int filch_tcp_write_all(filch_tcp *conn, const void *buf, size_t bytes, size_t *ret_done,
                        filch_time until)
{
    size_t done = 0;
    ssize_t n = 0;

    do {
        n = filch_tcp_write(conn, (const char *)buf + done, bytes - done, until);
        if (n > 0)
            done += (size_t)n;
    } while (n >= 0 && done < bytes);
    if (ret_done)
        *ret_done = done;
    return n < 0 ? (int)n : 0;
}

static int connect_in_task(int fd, const struct filch__addr *addr, filch_time until)
{
    struct filch__lane *lane;
    struct filch__op op;
    struct io_uring_sqe *sqe = filch__op_begin(&op, &lane);

    io_uring_prep_connect(sqe, fd, &addr->any, addr->bytes);
    filch__lane_commit(lane, &op);
    return filch__op_wait(&op, until);
}

static int connect_in_thread(int fd, const struct filch__addr *addr, filch_time until)
{
    int flags = fcntl(fd, F_GETFL);
    int error = 0;
    socklen_t bytes = sizeof error;

    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    if (connect(fd, &addr->any, addr->bytes) < 0)
        error = errno;
    if (error == EINPROGRESS) {
        if (filch__socket_poll(fd, POLLOUT, until) < 0)
            return -ETIMEDOUT;
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
    }
    fcntl(fd, F_SETFL, flags);
    return -error;
}

int filch_tcp_connect(const char *text, filch_tcp **ret_conn, filch_time until)
{
    struct filch__addr addr;
    int fd;
    int r;

    if (!ret_conn || filch__addr_parse(text, &addr) < 0)
        return -EINVAL;
    fd = socket(addr.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    r = in_stackful_task() ? connect_in_task(fd, &addr, until)
                           : connect_in_thread(fd, &addr, until);
    if (r < 0) {
        close(fd);
        return r;
    }
    return filch__tcp_adopt(fd, true, ret_conn);
}

int filch_tcp_shutdown_write(filch_tcp *conn)
{
    struct filch__fd *object;
    int r = filch__fd_enter(conn, &object);

    if (r < 0)
        return r;
    r = shutdown(object->fd, SHUT_WR) < 0 ? -errno : 0;
    filch__fd_leave(object);
    return r;
}

int filch_tcp_set_nodelay(filch_tcp *conn, bool nodelay)
{
    struct filch__fd *object;
    int on = nodelay;
    int r = filch__fd_enter(conn, &object);

    if (r < 0)
        return r;
    r = setsockopt(object->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ? -errno : 0;
    filch__fd_leave(object);
    return r;
}

int filch__socket_name(const void *handle, int (*get)(int, struct sockaddr *, socklen_t *),
                       char *ret_text)
{
    struct filch__addr addr = {.bytes = sizeof addr.v6};
    struct filch__fd *object;
    int r;

    if (!ret_text)
        return -EINVAL;
    r = filch__fd_enter(handle, &object);
    if (r < 0)
        return r;
    r = get(object->fd, &addr.any, &addr.bytes) < 0 ? -errno : 0;
    filch__fd_leave(object);
    if (r == 0)
        filch__addr_format(&addr, ret_text);
    return r;
}

static int local_name(int fd, struct sockaddr *addr, socklen_t *bytes)
{
    return getsockname(fd, addr, bytes);
}

static int peer_name(int fd, struct sockaddr *addr, socklen_t *bytes)
{
    return getpeername(fd, addr, bytes);
}

int filch_tcp_local_addr(filch_tcp *conn, char *ret_text)
{
    return filch__socket_name(conn, local_name, ret_text);
}

int filch_tcp_peer_addr(filch_tcp *conn, char *ret_text)
{
    return filch__socket_name(conn, peer_name, ret_text);
}

int filch_tcp_close(filch_tcp *conn)
{
    struct filch__fd *object;
    int r;

    if (!conn)
        return 0;
    r = filch__fd_close_begin(conn, &object);
    if (r == 0)
        filch__fd_close_end(object, &tcp_pool);
    return r;
}
