/* Description: errors that <filch/unix.h> promises and that other tests have no cause to provoke.
 * What the kernel would say only in other circumstances (a full table of files, a path that is
 * forbidden) a wrapper says, which the linker puts in (--wrap); calls are made in plain threads
 * then, which make them themselves. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include <filch/unix.h>

#include "tests/runner/refusals.h"
#include "tests/runner/run.h"
#include "tests/runner/temp_dir.h"

TestSuite(errors_unix, .timeout = 60);

/* ---- refusals ---- */

enum refused { MEMORY = 1, SOCKET, BIND, CONNECT, SENDMSG, RECVMSG };

WRAPPED(void *, malloc, (size_t bytes))
{
    return refuses(MEMORY) ? NULL : __real_malloc(bytes);
}

WRAPPED(void *, mmap64, (void *at, size_t bytes, int protection, int flags, int fd, off_t offset))
{
    return refuses(MEMORY) ? MAP_FAILED : __real_mmap64(at, bytes, protection, flags, fd, offset);
}

WRAPPED(int, socket, (int domain, int type, int protocol))
{
    return refuses(SOCKET) ? -1 : __real_socket(domain, type, protocol);
}

WRAPPED(int, socketpair, (int domain, int type, int protocol, int *fds))
{
    return refuses(SOCKET) ? -1 : __real_socketpair(domain, type, protocol, fds);
}

WRAPPED(int, bind, (int fd, const struct sockaddr *addr, socklen_t bytes))
{
    return refuses(BIND) ? -1 : __real_bind(fd, addr, bytes);
}

WRAPPED(int, connect, (int fd, const struct sockaddr *addr, socklen_t bytes))
{
    return refuses(CONNECT) ? -1 : __real_connect(fd, addr, bytes);
}

WRAPPED(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags))
{
    return refuses(SENDMSG) ? -1 : __real_sendmsg(fd, message, flags);
}

WRAPPED(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags))
{
    return refuses(RECVMSG) ? -1 : __real_recvmsg(fd, message, flags);
}

/* An abstract name of this process's. Not inline, as in_dir(). */
__attribute__((noinline)) static const char *name_of(const char *what)
{
    static __thread char names[4][FILCH_UNIX_ADDR_BYTES];
    static __thread unsigned next;
    char *to = names[next++ % 4];

    snprintf(to, sizeof names[0], "@filch-test-%d-%s", (int)getpid(), what);
    return to;
}

/* ---- what cannot be made ---- */

Test(errors_unix, of_the_system)
{
    const char *name = name_of("a");
    filch_unix_listener *listener;
    filch_unix_dgram *dgram, *other;
    filch_unix *conn, *peer;
    filch_unix_cred cred;

    SAYS(SOCKET, filch_unix_listener_open(name, NULL, &listener), -EMFILE, -ENFILE);
    SAYS(SOCKET, filch_unix_connect(name, &conn, T_LIMIT), -EMFILE, -ENFILE);
    SAYS(SOCKET, filch_unix_pair(&conn, &peer), -EMFILE, -ENFILE);
    SAYS(SOCKET, filch_unix_dgram_open(name, NULL, &dgram), -EMFILE, -ENFILE);
    SAYS(SOCKET, filch_unix_dgram_pair(&dgram, &other), -EMFILE, -ENFILE);
    SAYS(BIND, filch_unix_listener_open(name, NULL, &listener), -EACCES, -EROFS);
    SAYS(BIND, filch_unix_dgram_open(name, NULL, &dgram), -EACCES, -EROFS);
    SAYS(CONNECT, filch_unix_connect(name, &conn, T_LIMIT), -EACCES);
    T_OK(filch_unix_dgram_pair(&dgram, &other));
    SAYS(CONNECT, filch_unix_dgram_connect(dgram, name), -EACCES);
    SAYS(SENDMSG, filch_unix_dgram_send(dgram, "x", 1, NULL, NULL, 0, T_LIMIT), -EACCES,
         -ETOOMANYREFS);
    T_IS(filch_unix_dgram_send(dgram, "x", 1, NULL, NULL, 0, T_LIMIT), 1);
    SAYS(RECVMSG, filch_unix_dgram_recv(other, &(char){0}, 1, NULL, NULL, NULL, T_LIMIT), -ENOMEM);
    SAYS(RECVMSG,
         filch_unix_dgram_recv_cred(other, &(char){0}, 1, NULL, &cred, NULL, NULL, T_LIMIT),
         -ENOMEM);
    T_IS(filch_unix_dgram_recv(other, &(char){0}, 1, NULL, NULL, NULL, T_LIMIT), 1); /* not lost */
    T_OK(filch_unix_dgram_close(dgram));
    T_OK(filch_unix_dgram_close(other));
    T_OK(filch_unix_pair(&conn, &peer));
    SAYS(SENDMSG, filch_unix_send_fds(conn, "x", 1, &(int){0}, 1, T_LIMIT), -ETOOMANYREFS);
    T_OK(filch_unix_close(conn));
    T_OK(filch_unix_close(peer));
}

/* The first calls of a process: there is no object in store. */
Test(errors_unix, of_memory)
{
    int fds[2], listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr any = {.sa_family = AF_UNIX}; /* the kernel chooses a name */
    filch_unix_listener *listener;
    filch_unix_dgram *dgram, *other;
    filch_unix *conn, *peer;
    char name[FILCH_UNIX_ADDR_BYTES];

    T_OK(bind(listening, &any, sizeof(sa_family_t)));
    T_OK(listen(listening, 5));
    T_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
    SAYS(MEMORY, filch_unix_listener_open(name_of("a"), NULL, &listener), -ENOMEM);
    SAYS(MEMORY, filch_unix_listener_adopt(listening, &listener), -ENOMEM);
    T_OK(filch_unix_listener_adopt(listening, &listener));
    T_OK(filch_unix_listener_addr(listener, name));
    SAYS(MEMORY, filch_unix_connect(name, &conn, T_LIMIT), -ENOMEM);
    SAYS(MEMORY, filch_unix_pair(&conn, &peer), -ENOMEM);
    SAYS(MEMORY, filch_unix_adopt(fds[0], &conn), -ENOMEM);
    SAYS(MEMORY, filch_unix_dgram_open(NULL, NULL, &dgram), -ENOMEM);
    SAYS(MEMORY, filch_unix_dgram_pair(&dgram, &other), -ENOMEM);
    T_OK(filch_unix_adopt(fds[0], &conn));
    T_OK(filch_unix_close(conn));
    T_OK(filch_unix_listener_close(listener));
    close(fds[1]);
}

/* A descriptor that is refused stays the caller's. */
Test(errors_unix, of_descriptors_that_do_not_fit)
{
    int pipes[2], inet = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int fresh = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    filch_unix_listener *listener;
    filch_unix *conn;

    T_OK(pipe2(pipes, O_CLOEXEC));
    T_IS(filch_unix_listener_adopt(pipes[0], &listener), -ENOTSOCK);
    T_IS(filch_unix_listener_adopt(inet, &listener), -EPROTOTYPE);
    T_IS(filch_unix_adopt(pipes[0], &conn), -ENOTSOCK);
    T_IS(filch_unix_adopt(fresh, &conn), -ENOTCONN);
    T_OK(close(pipes[0]) | close(pipes[1]) | close(inet) | close(fresh));
}

/* ---- in tasks and in threads ---- */

static void addresses_say(const struct temp_dir *dir)
{
    const char *path = in_dir(dir, "s"), *none = in_dir(dir, "none/s"), *below = in_dir(dir, "s/s");
    const filch_unix_opts keep = {.keep = true};
    filch_unix_listener *listener;
    filch_unix_dgram *dgram, *other, *third;
    filch_unix *conn;

    T_OK(filch_unix_listener_open(path, NULL, &listener));
    T_IS(filch_unix_listener_open(none, NULL, &listener), -ENOENT);
    T_IS(filch_unix_listener_open(below, NULL, &listener), -ENOTDIR);
    T_IS(filch_unix_dgram_open(none, NULL, &dgram), -ENOENT);
    T_IS(filch_unix_dgram_open(below, NULL, &dgram), -ENOTDIR);
    T_IS(filch_unix_dgram_open(path, NULL, &dgram), -EADDRINUSE);
    T_OK(filch_unix_dgram_open(name_of("d"), NULL, &dgram));
    T_IS(filch_unix_dgram_connect(dgram, path), -EPROTOTYPE);
    T_IS(filch_unix_dgram_connect(dgram, none), -ENOENT);
    T_OK(filch_unix_listener_close(listener));
    T_OK(filch_unix_dgram_open(path, &keep, &other));
    T_IS(filch_unix_connect(path, &conn, T_LIMIT), -EPROTOTYPE);
    T_IS(filch_unix_connect(name_of("d"), &conn, T_LIMIT), -ECONNREFUSED);
    T_OK(filch_unix_dgram_connect(other, name_of("d")));
    T_OK(filch_unix_dgram_open(NULL, NULL, &third));
    T_IS(filch_unix_dgram_connect(third, path), -EPERM); /* it has another peer */
    T_OK(filch_unix_dgram_close(other));
    T_IS(filch_unix_dgram_connect(third, path), -ECONNREFUSED); /* only the path is there */
    T_OK(filch_unix_dgram_close(third));
    T_OK(filch_unix_dgram_close(dgram));
}

/* A datagram socket whose peer has turned to another one, and what it was sent is lost. */
static filch_unix_dgram *left_alone(filch_unix_dgram **ret_other)
{
    filch_unix_dgram *dgram, *target;

    T_OK(filch_unix_dgram_pair(&dgram, ret_other));
    T_IS(filch_unix_dgram_send(dgram, "x", 1, NULL, NULL, 0, T_LIMIT), 1);
    T_OK(filch_unix_dgram_open(name_of("t"), NULL, &target));
    T_OK(filch_unix_dgram_connect(*ret_other, name_of("t")));
    T_OK(filch_unix_dgram_close(target));
    return dgram;
}

static void datagrams_say(void)
{
    static char large[4 << 20];
    filch_unix_dgram *dgram, *other;
    int fds[2];
    filch_unix_cred cred;

    dgram = left_alone(&other);
    T_IS(filch_unix_dgram_send(dgram, "x", 1, NULL, NULL, 0, T_LIMIT), -ECONNRESET);
    T_IS(filch_unix_dgram_send(dgram, "x", 1, NULL, NULL, 0, T_LIMIT), -EPERM);
    T_OK(filch_unix_dgram_close(dgram));
    T_OK(filch_unix_dgram_close(other));
    dgram = left_alone(&other);
    T_IS(filch_unix_dgram_recv(dgram, large, 1, NULL, NULL, NULL, T_LIMIT), -ECONNRESET);
    T_OK(filch_unix_dgram_close(dgram));
    T_OK(filch_unix_dgram_close(other));
    dgram = left_alone(&other);
    T_IS(filch_unix_dgram_recv_cred(dgram, large, 1, NULL, &cred, NULL, NULL, T_LIMIT),
         -ECONNRESET);
    T_OK(filch_unix_dgram_close(dgram));
    T_OK(filch_unix_dgram_close(other));
    T_OK(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds));
    T_OK(filch_unix_dgram_adopt(fds[0], &dgram));
    T_IS(filch_unix_dgram_send(dgram, large, sizeof large, NULL, NULL, 0, T_LIMIT), -EMSGSIZE);
    T_OK(shutdown(fds[1], SHUT_RD));
    T_IS(filch_unix_dgram_send(dgram, "x", 1, NULL, NULL, 0, T_LIMIT), -EPIPE);
    T_OK(close(fds[1]));
    T_OK(filch_unix_dgram_close(dgram));
}

static int anywhere_body(void *arg)
{
    struct temp_dir dir;
    filch_unix_fds none = {.room = 0};
    filch_unix *conn, *peer;

    (void)arg;
    temp_dir_make(&dir);
    addresses_say(&dir);
    temp_dir_remove(&dir);
    datagrams_say();
    T_OK(filch_unix_pair(&conn, &peer));
    T_IS(filch_unix_write(conn, "x", 1, T_LIMIT), 1);
    T_OK(filch_unix_close(peer)); /* with a byte that it did not read */
    T_IS(filch_unix_recv_fds(conn, &(char){0}, 1, &none, T_LIMIT), -ECONNRESET);
    T_OK(filch_unix_close(conn));
    return 0;
}

Test(errors_unix, that_can_be_had_anywhere)
{
    T_OK(run_in_runtime(0, anywhere_body, NULL));
    T_OK(anywhere_body(NULL));
}

/* ---- what comes too late ---- */

/* With FILCH_NOW the one, in a cancelled task the other. */
#define UNDONE(call, late, cancelled) T_IS(call, until == FILCH_NOW ? (late) : (cancelled))

struct full {
    filch_unix_dgram *dgram, *other; /* nothing more fits from the one to the other */
    filch_unix *conn;
    const char *queue; /* of a listener that accepts nobody more */
    filch_time until;
};

static int wait_body(void *arg)
{
    struct full *full = arg;
    filch_time until = full->until;
    filch_unix_fds none = {.room = 0};
    filch_unix *conn;
    char byte = 0;
    filch_unix_cred cred;

    if (until != FILCH_NOW)
        T_OK(filch_task_cancel(filch_task_self()));
    UNDONE(filch_unix_connect(full->queue, &conn, until), -ETIMEDOUT, -ECANCELED);
    UNDONE(filch_unix_recv_fds(full->conn, &byte, 1, &none, until), -ETIMEDOUT, -ECANCELED);
    UNDONE(filch_unix_dgram_send(full->dgram, &byte, 1, NULL, NULL, 0, until), -ETIMEDOUT,
           -ECANCELED);
    UNDONE(filch_unix_dgram_recv(full->dgram, &byte, 1, NULL, NULL, NULL, until), -ETIMEDOUT,
           -ECANCELED);
    UNDONE(filch_unix_dgram_recv_cred(full->dgram, &byte, 1, NULL, &cred, NULL, NULL, until),
           -ETIMEDOUT, -ECANCELED);
    return 0;
}

static int late_body(void *arg)
{
    struct full full = {.until = FILCH_NOW, .queue = name_of("full")};
    filch_unix *waiting[16], *peer;
    filch_unix_listener *listener;
    unsigned count = 0;

    (void)arg;
    T_OK(filch_unix_listener_open(full.queue, &(filch_unix_opts){.backlog = 1}, &listener));
    while (filch_unix_connect(full.queue, &waiting[count], FILCH_NOW) == 0)
        T_CHECK(++count < 16);
    T_OK(filch_unix_dgram_pair(&full.dgram, &full.other));
    while (filch_unix_dgram_send(full.dgram, "x", 1, NULL, NULL, 0, FILCH_NOW) == 1)
        ;
    T_OK(filch_unix_pair(&full.conn, &peer));
    T_OK(join(spawn(wait_body, &full)));
    full.until = T_LIMIT;
    T_OK(join(spawn(wait_body, &full)));
    while (count > 0)
        T_OK(filch_unix_close(waiting[--count]));
    T_OK(filch_unix_listener_close(listener));
    T_OK(filch_unix_dgram_close(full.dgram));
    T_OK(filch_unix_dgram_close(full.other));
    T_OK(filch_unix_close(full.conn));
    return filch_unix_close(peer);
}

Test(errors_unix, of_calls_that_come_too_late)
{
    T_OK(run_in_runtime(0, late_body, NULL));
}
