/* Description: Unix sockets: streams by path, by abstract name and in pairs; datagrams; descriptors
 * and credentials; ends, cancel and close with conservation of bytes and descriptors; paths. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/process.h"
#include "tests/runner/run.h"
#include "tests/runner/temp_dir.h"

TestSuite(unix_sockets, .timeout = 120);

static void name_in(const struct temp_dir *dir, const char *name, char *ret_path)
{
    T_CHECK(snprintf(ret_path, FILCH_UNIX_ADDR_BYTES, "%s", in_dir(dir, name)) <
            FILCH_UNIX_ADDR_BYTES);
}

/* ---- streams ---- */

static int by_address(void *arg)
{
    const char *addr = arg;
    char text[FILCH_UNIX_ADDR_BYTES], buf[8];
    struct iovec iov[2] = {{"ab", 2}, {"cd", 2}};
    filch_unix_listener *listener, *second;
    filch_unix *client, *server;
    filch_unix_cred cred;
    size_t done = 0;

    T_OK(filch_unix_listener_open(addr, NULL, &listener));
    T_OK(filch_unix_listener_addr(listener, text));
    T_CHECK(strcmp(text, addr) == 0);
    T_IS(filch_unix_listener_open(addr, NULL, &second), -EADDRINUSE);
    T_IS(filch_unix_listener_accept(listener, &server, FILCH_NOW), -ETIMEDOUT);
    T_OK(filch_unix_connect(addr, &client, T_LIMIT));
    T_OK(filch_unix_listener_accept(listener, &server, T_LIMIT));
    T_OK(filch_unix_peer_addr(client, text));
    T_CHECK(strcmp(text, addr) == 0);
    T_OK(filch_unix_peer_addr(server, text));
    T_CHECK(text[0] == '\0');
    T_OK(filch_unix_peer_cred(server, &cred));
    T_CHECK(cred.pid == getpid() && cred.uid == geteuid() && cred.gid == getegid());
    T_IS(filch_unix_read(server, buf, sizeof buf, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_unix_read(server, buf, sizeof buf, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_OK(filch_unix_writev_all(client, iov, 2, &done, T_LIMIT));
    T_IS(done, 4);
    T_OK(filch_unix_read_exact(server, buf, 4, &done, T_LIMIT));
    T_CHECK(memcmp(buf, "abcd", 4) == 0);
    T_OK(filch_unix_write_all(server, "xyz", 3, NULL, T_LIMIT));
    iov[0] = (struct iovec){buf, 1};
    iov[1] = (struct iovec){buf + 1, 4};
    T_IS(filch_unix_readv(client, iov, 2, T_LIMIT), 3);
    T_CHECK(memcmp(buf, "xyz", 3) == 0);
    /* Half-close: the other direction goes on. */
    T_OK(filch_unix_shutdown_write(client));
    T_IS(filch_unix_read(server, buf, sizeof buf, T_LIMIT), 0);
    T_IS(filch_unix_write(client, "x", 1, T_LIMIT), -EPIPE);
    T_IS(filch_unix_write(server, "y", 1, T_LIMIT), 1);
    T_IS(filch_unix_read(client, buf, sizeof buf, T_LIMIT), 1);
    T_OK(filch_unix_close(server));
    T_IS(filch_unix_read(client, buf, sizeof buf, T_LIMIT), 0);
    T_OK(filch_unix_close(client));
    T_OK(filch_unix_listener_close(listener));
    T_IS(filch_unix_connect(addr, &client, T_LIMIT), addr[0] == '@' ? -ECONNREFUSED : -ENOENT);
    return 0;
}

Test(unix_sockets, streams_by_path_and_by_abstract_name)
{
    struct temp_dir dir;
    char path[FILCH_UNIX_ADDR_BYTES], name[FILCH_UNIX_ADDR_BYTES];

    temp_dir_make(&dir);
    name_in(&dir, "stream", path);
    snprintf(name, sizeof name, "@filch-test-%d", (int)getpid());
    T_OK(run_in_runtime(0, by_address, path));
    T_OK(run_in_runtime(0, by_address, name));
    T_OK(by_address(path));
    T_OK(by_address(name));
    temp_dir_remove(&dir);
}

Test(unix_sockets, paths_are_removed_replaced_and_kept)
{
    struct temp_dir dir;
    char path[FILCH_UNIX_ADDR_BYTES], too_long[200];
    const filch_unix_opts replace = {.replace = true, .mode = 0600};
    const filch_unix_opts keep = {.keep = true};
    filch_unix_listener *a, *b;
    filch_unix *conn;
    struct stat stat;

    temp_dir_make(&dir);
    name_in(&dir, "path", path);
    T_OK(filch_unix_listener_open(path, &keep, &a));
    T_IS(filch_unix_listener_open(path, &replace, &b), -EADDRINUSE);
    T_OK(filch_unix_listener_close(a));
    T_OK(lstat(path, &stat));
    T_IS(filch_unix_connect(path, &conn, T_LIMIT), -ECONNREFUSED);
    T_IS(filch_unix_listener_open(path, NULL, &a), -EADDRINUSE);
    T_OK(filch_unix_listener_open(path, &replace, &a));
    T_OK(lstat(path, &stat));
    T_IS(stat.st_mode & 0777, 0600);
    /* Somebody else's is not removed. */
    T_OK(unlink(path));
    T_OK(filch_unix_listener_open(path, NULL, &b));
    T_OK(filch_unix_listener_close(a));
    T_OK(lstat(path, &stat));
    T_OK(filch_unix_listener_close(b));
    T_CHECK(lstat(path, &stat) < 0 && errno == ENOENT);
    /* What is no socket stays. */
    T_OK(close(open(path, O_CREAT | O_WRONLY, 0600)));
    T_IS(filch_unix_listener_open(path, &replace, &a), -EADDRINUSE);
    T_OK(unlink(path));
    memset(too_long, 'x', sizeof too_long - 1);
    too_long[sizeof too_long - 1] = '\0';
    T_IS(filch_unix_listener_open(too_long, NULL, &a), -EINVAL);
    T_IS(filch_unix_listener_open("", NULL, &a), -EINVAL);
    temp_dir_remove(&dir);
}

/* ---- who waits ---- */

struct waiting {
    filch_unix *a, *b;
    filch_unix_dgram *da, *db;
    filch_unix_listener *listener;
    atomic_int waits;
};

static int reads(void *arg)
{
    struct waiting *waiting = arg;
    char byte;

    atomic_fetch_add(&waiting->waits, 1);
    return (int)filch_unix_read(waiting->b, &byte, 1, FILCH_NEVER);
}

static int receives_fds(void *arg)
{
    struct waiting *waiting = arg;
    int fd;
    filch_unix_fds fds = {.fds = &fd, .room = 1};
    char byte;
    int n;

    atomic_fetch_add(&waiting->waits, 1);
    n = (int)filch_unix_recv_fds(waiting->b, &byte, 1, &fds, FILCH_NEVER);
    if (n < 0)
        return n;
    T_CHECK(n == 1 && fds.count == 1 && !fds.lost);
    T_OK(close(fd));
    return n;
}

static int receives_datagram(void *arg)
{
    struct waiting *waiting = arg;
    int fd;
    filch_unix_fds fds = {.fds = &fd, .room = 1};
    char byte;
    int n;

    atomic_fetch_add(&waiting->waits, 1);
    n = (int)filch_unix_dgram_recv(waiting->db, &byte, 1, &fds, NULL, NULL, FILCH_NEVER);
    if (n < 0)
        return n;
    T_CHECK(n == 1 && fds.count == 1 && !fds.lost);
    T_OK(close(fd));
    return n;
}

static int accepts(void *arg)
{
    struct waiting *waiting = arg;
    filch_unix *conn = NULL;

    atomic_fetch_add(&waiting->waits, 1);
    return filch_unix_listener_accept(waiting->listener, &conn, FILCH_NEVER);
}

static int selects(void *arg)
{
    struct waiting *waiting = arg;
    int r = -EIO;

    atomic_fetch_add(&waiting->waits, 1);
    T_CHECK(FILCH_SELECT_RESULT(&r, FILCH_NEVER, filch_case_unix_acceptable(waiting->listener),
                                filch_case_unix_readable(waiting->b),
                                filch_case_unix_dgram_readable(waiting->db)) >= 0);
    return r;
}

static const filch_fn waiters[] = {reads, receives_fds, receives_datagram, accepts, selects};

static int closed_meanwhile(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20; i++) {
        struct waiting waiting = {.waits = 0};
        char name[FILCH_UNIX_ADDR_BYTES];
        filch_task *tasks[5];

        snprintf(name, sizeof name, "@filch-test-%d-%d", (int)getpid(), i);
        T_OK(filch_unix_pair(&waiting.a, &waiting.b));
        T_OK(filch_unix_dgram_pair(&waiting.da, &waiting.db));
        T_OK(filch_unix_listener_open(name, NULL, &waiting.listener));
        for (int n = 0; n < 5; n++)
            tasks[n] = spawn(waiters[n], &waiting);
        T_WAIT_UNTIL(atomic_load(&waiting.waits) == 5 || i % 3 == 0);
        if (i % 2)
            let_others_run();
        T_OK(filch_unix_close(waiting.b));
        T_OK(filch_unix_dgram_close(waiting.db));
        T_OK(filch_unix_listener_close(waiting.listener));
        for (int n = 0; n < 5; n++) {
            int r = join(tasks[n]);

            T_CHECK(r == -ECANCELED || r == -EBADF);
        }
        T_OK(filch_unix_close(waiting.a));
        T_OK(filch_unix_dgram_close(waiting.da));
    }
    return 0;
}

Test(unix_sockets, a_close_sends_away_all_who_wait)
{
    T_OK(run_in_runtime(0, closed_meanwhile, NULL));
}

/* A task has left its accept in flight, which a shutdown does not end: who waits for what it brings
 * is sent away all the same. */
static int waits_in_a_job(void *arg)
{
    struct waiting *waiting = arg;
    filch_unix *conn;

    atomic_fetch_add(&waiting->waits, 1);
    return filch_unix_listener_accept(waiting->listener, &conn, FILCH_NEVER);
}

static int closed_under_a_job(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20; i++) {
        struct waiting waiting = {.waits = 0};
        char name[FILCH_UNIX_ADDR_BYTES];
        filch_unix *conn;
        filch_task *job;
        int r;

        snprintf(name, sizeof name, "@filch-test-job-%d-%d", (int)getpid(), i);
        T_OK(filch_unix_listener_open(name, NULL, &waiting.listener));
        T_IS(filch_unix_listener_accept(waiting.listener, &conn, filch_after(1)), -ETIMEDOUT);
        T_OK(filch_blocking_spawn(waits_in_a_job, &waiting, NULL, &job));
        T_WAIT_UNTIL(atomic_load(&waiting.waits));
        if (i % 2)
            let_others_run();
        T_OK(filch_unix_listener_close(waiting.listener));
        r = join(job);
        T_CHECK(r == -ECANCELED || r == -EBADF);
    }
    return 0;
}

Test(unix_sockets, a_close_sends_away_a_job_that_accepts)
{
    T_OK(run_in_runtime(0, closed_under_a_job, NULL));
}

/* Each byte and each descriptor arrives once or is closed, whoever is cancelled meanwhile. */
static int conserved(void *arg)
{
    const bool datagrams = arg != NULL;
    struct waiting waiting = {.waits = 0};
    int before, got = 0, null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    T_OK(filch_unix_pair(&waiting.a, &waiting.b));
    T_OK(filch_unix_dgram_pair(&waiting.da, &waiting.db));
    before = (int)process_files();
    for (int i = 0; i < 200; i++) {
        filch_task *task = spawn(datagrams ? receives_datagram : receives_fds, &waiting);
        int r;

        if (i % 3)
            let_others_run();
        if (datagrams)
            T_IS(filch_unix_dgram_send(waiting.da, "x", 1, NULL, &null, 1, T_LIMIT), 1);
        else
            T_IS(filch_unix_send_fds(waiting.a, "x", 1, &null, 1, T_LIMIT), 1);
        T_OK(filch_task_cancel(task));
        r = join(task);
        T_CHECK(r == 1 || r == -ECANCELED);
        got += r == 1;
        if (r == -ECANCELED && i % 2)
            got += (datagrams ? receives_datagram : receives_fds)(&waiting);
    }
    while (got < 200)
        got += (datagrams ? receives_datagram : receives_fds)(&waiting);
    T_IS((int)process_files(), before);
    T_OK(filch_unix_close(waiting.a));
    T_OK(filch_unix_close(waiting.b));
    T_OK(filch_unix_dgram_close(waiting.da));
    T_OK(filch_unix_dgram_close(waiting.db));
    T_OK(close(null));
    return 0;
}

Test(unix_sockets, a_cancel_loses_neither_bytes_nor_descriptors)
{
    char yes;

    T_OK(run_in_runtime(0, conserved, NULL));
    T_OK(run_in_runtime(0, conserved, &yes));
}

/* ---- descriptors ---- */

static int fds_pass(void *arg)
{
    int before = (int)process_files();
    int pipes[2], in[FILCH_UNIX_FDS_MAX], out[FILCH_UNIX_FDS_MAX + 1];
    filch_unix_fds fds = {.fds = in, .room = 4};
    filch_unix *a, *b;
    char buf[16] = "";

    (void)arg;
    T_OK(filch_unix_pair(&a, &b));
    T_OK(pipe(pipes));
    T_IS(filch_unix_send_fds(a, "hello", 5, pipes, 2, T_LIMIT), 5);
    T_IS(filch_unix_send_fds(a, "!", 1, NULL, 0, T_LIMIT), 1);
    T_IS(filch_unix_recv_fds(b, buf, sizeof buf, &fds, T_LIMIT), 5);
    T_CHECK(fds.count == 2 && !fds.lost);
    T_CHECK(fcntl(in[0], F_GETFD) & FD_CLOEXEC);
    T_IS(write(in[1], "through", 7), 7);
    T_IS(read(pipes[0], buf, sizeof buf), 7);
    T_OK(close(in[0]));
    T_OK(close(in[1]));
    T_IS(filch_unix_recv_fds(b, buf, sizeof buf, &fds, T_LIMIT), 1);
    T_CHECK(fds.count == 0 && !fds.lost);
    /* More than there is room for: the rest is closed, and said. */
    for (size_t i = 0; i <= FILCH_UNIX_FDS_MAX; i++)
        out[i] = pipes[0];
    T_IS(filch_unix_send_fds(a, "x", 1, out, FILCH_UNIX_FDS_MAX + 1, T_LIMIT), -EINVAL);
    T_IS(filch_unix_send_fds(a, "", 0, out, 1, T_LIMIT), -EINVAL);
    T_IS(filch_unix_send_fds(a, "x", 1, out, FILCH_UNIX_FDS_MAX, T_LIMIT), 1);
    T_IS(filch_unix_recv_fds(b, buf, sizeof buf, &fds, T_LIMIT), 1);
    T_CHECK(fds.count == 4 && fds.lost);
    for (int i = 0; i < 4; i++)
        T_OK(close(in[i]));
    /* Who reads without asking for them gets the bytes only. */
    T_IS(filch_unix_send_fds(a, "x", 1, out, 3, T_LIMIT), 1);
    T_IS(filch_unix_read(b, buf, sizeof buf, T_LIMIT), 1);
    T_IS((int)process_files(), before + 4);
    out[1] = 999999;
    T_IS(filch_unix_send_fds(a, "x", 1, out, 3, T_LIMIT), -EBADF);
    T_IS(filch_unix_read(b, buf, sizeof buf, FILCH_NOW), -ETIMEDOUT);
    /* What nobody receives is closed with the socket; the end is told. */
    T_IS(filch_unix_send_fds(a, "x", 1, pipes, 2, T_LIMIT), 1);
    T_OK(close(pipes[0]));
    T_OK(close(pipes[1]));
    T_OK(filch_unix_close(a));
    T_OK(filch_unix_close(b));
    T_IS((int)process_files(), before);
    return 0;
}

Test(unix_sockets, descriptors_arrive_or_are_closed)
{
    T_OK(fds_pass(NULL));
    T_OK(run_in_runtime(0, fds_pass, NULL) == 0 ? 0 : -1);
}

static int without_room(void *arg)
{
    int pipes[2], in[4];
    filch_unix_fds fds = {.fds = in, .room = 4};
    struct rlimit limit, small;
    filch_unix *a, *b;
    char byte;

    (void)arg;
    T_OK(filch_unix_pair(&a, &b));
    T_OK(pipe(pipes));
    T_IS(filch_unix_send_fds(a, "x", 1, pipes, 2, T_LIMIT), 1);
    T_IS(filch_unix_send_fds(a, "y", 1, pipes, 1, T_LIMIT), 1);
    T_OK(getrlimit(RLIMIT_NOFILE, &limit));
    small = limit;
    small.rlim_cur = 3; /* none is left below */
    T_OK(setrlimit(RLIMIT_NOFILE, &small));
    byte = 0;
    T_IS(filch_unix_recv_fds(b, &byte, 1, &fds, T_LIMIT), 1);
    T_OK(setrlimit(RLIMIT_NOFILE, &limit));
    T_CHECK(byte == 'x' && fds.count == 0 && fds.lost);
    T_IS(filch_unix_recv_fds(b, &byte, 1, &fds, T_LIMIT), 1);
    T_CHECK(byte == 'y' && fds.count == 1 && !fds.lost);
    T_OK(close(in[0]));
    T_OK(close(pipes[0]));
    T_OK(close(pipes[1]));
    T_OK(filch_unix_close(a));
    T_OK(filch_unix_close(b));
    return 0;
}

Test(unix_sockets, without_descriptors_left_the_bytes_arrive_and_the_loss_is_told)
{
    if (RUNNING_ON_VALGRIND)
        cr_skip_test("Valgrind only pretends to a limit of descriptors: the ring has more");
    T_OK(run_in_runtime(0, without_room, NULL));
    T_OK(without_room(NULL));
}

/* ---- datagrams ---- */

static int datagrams(void *arg)
{
    struct temp_dir dir;
    char path_a[FILCH_UNIX_ADDR_BYTES], path_b[FILCH_UNIX_ADDR_BYTES];
    char from[FILCH_UNIX_ADDR_BYTES], buf[16];
    filch_unix_dgram *a, *b, *nameless;
    size_t size = 0;

    (void)arg;
    temp_dir_make(&dir);
    name_in(&dir, "a", path_a);
    name_in(&dir, "b", path_b);
    T_OK(filch_unix_dgram_open(path_a, NULL, &a));
    T_OK(filch_unix_dgram_open(path_b, NULL, &b));
    T_OK(filch_unix_dgram_open(NULL, NULL, &nameless));
    T_IS(filch_unix_dgram_send(a, "hello", 5, path_b, NULL, 0, T_LIMIT), 5);
    T_IS(filch_unix_dgram_send(nameless, NULL, 0, path_b, NULL, 0, T_LIMIT), 0);
    T_IS(filch_unix_dgram_send(a, "x", 1, NULL, NULL, 0, T_LIMIT), -ENOTCONN);
    T_IS(filch_unix_dgram_recv(b, buf, 3, NULL, from, &size, T_LIMIT), 3);
    T_CHECK(size == 5 && memcmp(buf, "hel", 3) == 0 && strcmp(from, path_a) == 0);
    T_IS(filch_unix_dgram_recv(b, buf, sizeof buf, NULL, from, &size, T_LIMIT), 0);
    T_CHECK(size == 0 && from[0] == '\0');
    T_IS(filch_unix_dgram_recv(b, buf, 3, NULL, NULL, NULL, filch_after(FILCH_MILLISECOND)),
         -ETIMEDOUT);
    T_OK(filch_unix_dgram_connect(nameless, path_b));
    T_IS(filch_unix_dgram_send(nameless, "y", 1, NULL, NULL, 0, T_LIMIT), 1);
    T_IS(filch_unix_dgram_recv(b, buf, 3, NULL, NULL, NULL, T_LIMIT), 1);
    T_OK(filch_unix_dgram_addr(b, from));
    T_CHECK(strcmp(from, path_b) == 0);
    T_OK(filch_unix_dgram_close(b));
    T_CHECK(access(path_b, F_OK) < 0);
    T_IS(filch_unix_dgram_send(a, "z", 1, path_b, NULL, 0, T_LIMIT), -ENOENT);
    T_IS(filch_unix_dgram_send(nameless, "z", 1, NULL, NULL, 0, T_LIMIT), -ECONNREFUSED);
    T_OK(filch_unix_dgram_close(a));
    T_OK(filch_unix_dgram_close(nameless));
    temp_dir_remove(&dir);
    return 0;
}

Test(unix_sockets, datagrams_by_path)
{
    T_OK(run_in_runtime(0, datagrams, NULL));
    T_OK(datagrams(NULL));
}

enum { FLOOD = 1000 };

struct flood {
    filch_unix_dgram *from, *to;
    const char *addr; /* NULL: they are connected */
};

static int floods(void *arg)
{
    struct flood *flood = arg;

    for (int i = 0; i < FLOOD; i++)
        T_IS(filch_unix_dgram_send(flood->from, &i, sizeof i, flood->addr, NULL, 0, T_LIMIT),
             sizeof i);
    return 0;
}

/* The queue is short: the sender waits, and nothing is lost or overtakes. */
static int flooded(void *arg)
{
    struct flood flood = {.addr = NULL};
    char name[FILCH_UNIX_ADDR_BYTES];
    filch_task *task;
    int got;

    if (arg) {
        snprintf(name, sizeof name, "@filch-flood-%d", (int)getpid());
        T_OK(filch_unix_dgram_open(name, NULL, &flood.to));
        T_OK(filch_unix_dgram_open(NULL, NULL, &flood.from));
        flood.addr = name;
    } else {
        T_OK(filch_unix_dgram_pair(&flood.from, &flood.to));
    }
    task = spawn(floods, &flood);
    let_others_run();
    for (int i = 0; i < FLOOD; i++) {
        T_IS(filch_unix_dgram_recv(flood.to, &got, sizeof got, NULL, NULL, NULL, T_LIMIT),
             sizeof got);
        T_IS(got, i);
    }
    T_OK(join(task));
    T_OK(filch_unix_dgram_close(flood.to));
    T_OK(filch_unix_dgram_close(flood.from));
    return 0;
}

Test(unix_sockets, who_sends_to_a_full_receiver_waits)
{
    char by_name;

    T_OK(run_in_runtime(0, flooded, NULL));
    T_OK(run_in_runtime(0, flooded, &by_name));
}

/* ---- adopting, and as readers and writers ---- */

Test(unix_sockets, adopting_and_releasing)
{
    filch_unix_listener *listener;
    filch_unix_dgram *dgram;
    filch_unix *conn, *other;
    int stream[2], dgrams[2], tcp = socket(AF_INET, SOCK_STREAM, 0), fd;

    T_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, stream));
    T_OK(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, dgrams));
    T_IS(filch_unix_adopt(tcp, &conn), -EPROTOTYPE);
    T_IS(filch_unix_adopt(dgrams[0], &conn), -EPROTOTYPE);
    T_IS(filch_unix_dgram_adopt(stream[0], &dgram), -EPROTOTYPE);
    T_IS(filch_unix_listener_adopt(stream[0], &listener), -EINVAL);
    T_OK(filch_unix_adopt(stream[0], &conn));
    T_OK(filch_unix_adopt(stream[1], &other));
    T_CHECK(fcntl(stream[0], F_GETFD) & FD_CLOEXEC);
    T_CHECK(!(fcntl(stream[0], F_GETFL) & O_NONBLOCK));
    T_OK(filch_unix_release(conn, &fd));
    T_IS(fd, stream[0]);
    T_OK(filch_unix_adopt(fd, &conn));
    T_OK(filch_unix_close(conn));
    T_OK(filch_unix_close(other));
    T_OK(filch_unix_dgram_adopt(dgrams[0], &dgram));
    T_OK(filch_unix_dgram_release(dgram, &fd));
    T_OK(close(fd));
    T_OK(close(dgrams[1]));
    T_OK(close(tcp));
}

static int as_reader_and_writer(void *arg)
{
    filch_unix *a, *b;
    filch_io ia, ib;
    char byte = 0;

    (void)arg;
    T_OK(filch_unix_pair(&a, &b));
    ia = filch_unix_io(a);
    ib = filch_unix_io(b);
    T_IS(ia.writer.write(ia.writer.context, "q", 1, T_LIMIT), 1);
    T_IS(ib.reader.read(ib.reader.context, &byte, 1, T_LIMIT), 1);
    T_IS(byte, 'q');
    T_OK(ia.writer.finish(ia.writer.context, T_LIMIT));
    T_IS(ib.reader.read(ib.reader.context, &byte, 1, T_LIMIT), 0);
    T_OK(filch_unix_close(a));
    T_OK(filch_unix_close(b));
    return 0;
}

Test(unix_sockets, as_a_reader_and_a_writer)
{
    T_OK(run_in_runtime(0, as_reader_and_writer, NULL));
}

/* ---- who sends, and the descriptors behind handles ---- */

/* A process of its own that sends a datagram to a path. Return: its number. */
static pid_t send_from_elsewhere(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    pid_t pid = fork();

    T_CHECK(pid >= 0);
    if (pid == 0) {
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
        _exit(sendto(fd, "hello", 5, 0, (struct sockaddr *)&to, sizeof to) != 5);
    }
    return pid;
}

static int credentials_body(void *arg)
{
    struct temp_dir dir;
    filch_unix_dgram *sock, *other;
    filch_unix_cred cred;
    int fds[FILCH_UNIX_FDS_MAX], got[FILCH_UNIX_FDS_MAX], status;
    filch_unix_fds room = {.fds = got, .room = FILCH_UNIX_FDS_MAX};
    char buf[8], from[FILCH_UNIX_ADDR_BYTES];
    size_t size;
    pid_t pid;

    (void)arg;
    temp_dir_make(&dir);
    T_OK(filch_unix_dgram_open(in_dir(&dir, "s"), NULL, &sock));
    T_OK(filch_unix_dgram_open(NULL, NULL, &other));
    T_IS(filch_unix_dgram_send(other, "x", 1, in_dir(&dir, "s"), NULL, 0, T_LIMIT), 1);
    T_OK(filch_unix_dgram_set(sock, FILCH_UNIX_CREDENTIALS, 1));
    /* It was not asked for in time. */
    T_IS(filch_unix_dgram_recv_cred(sock, buf, 8, NULL, &cred, from, &size, T_LIMIT), 1);
    T_IS(cred.pid, 0);
    T_IS(cred.uid, 65534);
    pid = send_from_elsewhere(in_dir(&dir, "s"));
    T_IS(filch_unix_dgram_recv_cred(sock, buf, 8, NULL, &cred, from, &size, T_LIMIT), 5);
    T_IS(cred.pid, pid);
    T_IS(cred.uid, getuid());
    T_IS(cred.gid, getgid());
    T_IS(size, 5);
    T_IS(waitpid(pid, &status, 0), pid);
    T_OK(status);
    /* Beside all descriptors that there can be. */
    for (int i = 0; i < FILCH_UNIX_FDS_MAX; i++)
        fds[i] = STDERR_FILENO;
    T_IS(filch_unix_dgram_send(other, "y", 1, in_dir(&dir, "s"), fds, FILCH_UNIX_FDS_MAX, T_LIMIT),
         1);
    T_IS(filch_unix_dgram_recv_cred(sock, buf, 8, &room, &cred, NULL, NULL, T_LIMIT), 1);
    T_IS(room.count, FILCH_UNIX_FDS_MAX);
    T_CHECK(!room.lost);
    T_IS(cred.pid, getpid());
    for (size_t i = 0; i < room.count; i++)
        T_OK(close(got[i]));
    /* Nobody wants to know. */
    T_OK(filch_unix_dgram_set(sock, FILCH_UNIX_CREDENTIALS, 0));
    T_IS(filch_unix_dgram_send(other, "z", 1, in_dir(&dir, "s"), NULL, 0, T_LIMIT), 1);
    T_IS(filch_unix_dgram_recv_cred(sock, buf, 8, NULL, &cred, NULL, NULL, T_LIMIT), 1);
    T_IS(cred.pid, 0);
    T_OK(filch_unix_dgram_close(other));
    T_OK(filch_unix_dgram_close(sock));
    temp_dir_remove(&dir);
    return 0;
}

Test(unix_sockets, datagrams_tell_who_sent_them)
{
    T_OK(run_in_runtime(0, credentials_body, NULL));
    T_OK(credentials_body(NULL));
}

static int type_of(int fd)
{
    socklen_t bytes = sizeof(int);
    int type = -1;

    T_CHECK(fd >= 0);
    T_OK(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &bytes));
    return type;
}

static int is_listening(int fd)
{
    socklen_t bytes = sizeof(int);
    int listens = -1;

    T_CHECK(fd >= 0);
    T_OK(getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &bytes));
    return listens;
}

Test(unix_sockets, the_descriptors_behind_handles)
{
    filch_unix_listener *listener;
    filch_unix_dgram *x, *y;
    struct temp_dir dir;
    filch_unix *a, *b;
    filch_udp *udp;

    temp_dir_make(&dir);
    T_OK(filch_unix_pair(&a, &b));
    T_OK(filch_unix_dgram_pair(&x, &y));
    T_OK(filch_unix_listener_open(in_dir(&dir, "l"), NULL, &listener));
    T_OK(filch_udp_open("127.0.0.1:0", NULL, &udp));
    T_IS(type_of(filch_unix_fd(a)), SOCK_STREAM);
    T_CHECK(filch_unix_fd(a) != filch_unix_fd(b));
    T_IS(type_of(filch_unix_dgram_fd(x)), SOCK_DGRAM);
    T_IS(type_of(filch_udp_fd(udp)), SOCK_DGRAM);
    T_IS(is_listening(filch_unix_listener_fd(listener)), 1);
    T_OK(filch_unix_close(a));
    T_IS(filch_unix_fd(a), -EBADF);
    T_OK(filch_unix_close(b));
    T_OK(filch_unix_dgram_close(x));
    T_OK(filch_unix_dgram_close(y));
    T_OK(filch_unix_listener_close(listener));
    T_OK(filch_udp_close(udp));
    temp_dir_remove(&dir);
}
