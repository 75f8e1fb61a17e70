/* Description: sockets passed as systemd passes them: by name and by sort, each once; environments
 * for somebody else and without sense. Each case is a process of its own: the table is read once.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/tcp_pair.h"

TestSuite(inherited, .timeout = 120);

static void say(const char *pid, const char *fds, const char *names)
{
    char own[16];

    snprintf(own, sizeof own, "%d", (int)getpid());
    T_OK(setenv("LISTEN_PID", pid ? pid : own, 1));
    T_OK(setenv("LISTEN_FDS", fds, 1));
    if (names)
        T_OK(setenv("LISTEN_FDNAMES", names, 1));
    else
        T_OK(unsetenv("LISTEN_FDNAMES"));
}

/* At descriptor @to, which is somebody else's in the parent only. */
static void place(int fd, int to)
{
    T_IS(dup2(fd, to), to);
    if (fd != to)
        T_OK(close(fd));
}

/* In a child: its descriptors 3 and more are what the test says, and a failed check ends it. */
static void in_child(void (*body)(void))
{
    int status = -1;
    pid_t pid = fork();

    T_CHECK(pid >= 0);
    if (pid == 0) {
        for (int fd = 3; fd < 64; fd++)
            close(fd);
        body();
        _exit(0);
    }
    T_IS(waitpid(pid, &status, 0), pid);
    T_IS(status, 0);
}

static int high(int fd)
{
    int to = fcntl(fd, F_DUPFD, 100);

    T_CHECK(to >= 100);
    T_OK(close(fd));
    return to;
}

static void by_name_and_sort(void)
{
    char text[FILCH_ADDR_BYTES], path[FILCH_UNIX_ADDR_BYTES];
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    filch_unix_listener *local, *none;
    filch_listener *listener, *second;
    filch_unix *conn, *server;
    int tcp = high(raw_bind(text)), unix_fd = high(socket(AF_UNIX, SOCK_STREAM, 0));
    int datagrams = high(socket(AF_INET, SOCK_DGRAM, 0)), fd;
    filch_udp *udp;
    socklen_t bytes;

    bytes =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
                    (size_t)snprintf(addr.sun_path + 1, 64, "filch-inherited-%d", (int)getpid()));
    T_OK(bind(unix_fd, (struct sockaddr *)&addr, bytes));
    T_OK(listen(unix_fd, 4));
    T_OK(listen(tcp, 4));
    place(datagrams, 3);
    place(unix_fd, 4);
    place(tcp, 5);
    say(NULL, "3", "web:web:x");
    T_IS(filch_inherited_count(), 3);
    T_CHECK(fcntl(5, F_GETFD) & FD_CLOEXEC);
    T_IS(filch_inherited_listener("web", &listener), -ENOENT); /* none of them is TCP */
    T_IS(filch_inherited_listener("we", &listener), -ENOENT);
    T_IS(filch_inherited_unix_listener("x", &none), -ENOENT);
    T_OK(filch_inherited_listener("x", &listener));
    T_IS(filch_inherited_listener("x", &second), -ENOENT); /* once */
    T_OK(filch_inherited_unix_listener("web", &local));
    T_OK(filch_inherited_udp(NULL, &udp));
    T_IS(filch_inherited_fd(NULL, &fd), -ENOENT);
    T_IS(filch_inherited_count(), 3);
    snprintf(path, sizeof path, "@%s", addr.sun_path + 1);
    T_OK(filch_unix_connect(path, &conn, T_LIMIT));
    T_OK(filch_unix_listener_accept(local, &server, T_LIMIT));
    T_OK(filch_unix_close(conn));
    T_OK(filch_unix_close(server));
    T_OK(filch_unix_listener_close(local));
    T_OK(filch_listener_close(listener));
    T_OK(filch_udp_close(udp));
}

Test(inherited, by_name_and_by_sort_each_once)
{
    in_child(by_name_and_sort);
}

static void without_names(void)
{
    int pipes[2], fd = -1;

    T_OK(pipe(pipes)); /* 3 and 4 */
    T_IS(pipes[0], 3);
    say(NULL, "2", NULL);
    T_IS(filch_inherited_fd("x", &fd), -ENOENT);
    T_OK(filch_inherited_fd(NULL, &fd));
    T_IS(fd, 3);
    T_OK(filch_inherited_fd(NULL, &fd));
    T_IS(fd, 4);
    T_IS(filch_inherited_fd(NULL, &fd), -ENOENT);
}

static void for_somebody_else(void)
{
    int fd = -1;

    say("1", "2", NULL);
    T_IS(filch_inherited_count(), 0);
    T_IS(filch_inherited_fd(NULL, &fd), -ENOENT);
}

static void no_sense(void)
{
    filch_listener *listener;
    int fd = -1;

    say(NULL, "2x", NULL);
    T_IS(filch_inherited_count(), -EINVAL);
    T_IS(filch_inherited_fd(NULL, &fd), -EINVAL);
    T_IS(filch_inherited_listener(NULL, &listener), -EINVAL);
}

static void not_there(void)
{
    say(NULL, "1", NULL); /* descriptor 3 is closed */
    T_IS(filch_inherited_count(), -EINVAL);
}

Test(inherited, environments_without_names_for_somebody_else_and_without_sense)
{
    in_child(without_names);
    in_child(for_somebody_else);
    in_child(no_sense);
    in_child(not_there);
}
