/* Description: a process that gives up rights after its runtime has started, as servers do once
 * their sockets are open: another user, no capabilities, another root, a filter of system calls.
 * What was in flight completes, and new connections, timers, jobs and the shutdown work on. What
 * the user may no longer do, tasks may no longer do either: a ring keeps no rights of its own. Each
 * in a process of its own, and only as root. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "runtime/base/valgrind.h"
#include "tests/runner/tcp_pair.h"

static void need_root(void)
{
    if (geteuid() != 0)
        cr_skip_test("only root has something to give up");
    if (RUNNING_ON_VALGRIND)
        cr_skip_test("Valgrind itself needs these rights");
}

TestSuite(privileges, .timeout = 120, .init = need_root);

#define WORKERS 2
#define NOBODY 65534

/* What a process does to itself, on one of its plain threads. */
struct way {
    void (*give_up)(filch_runtime *rt);
    bool port_is_refused; /* it may not listen on a port below 1024 any more */
};

struct talk {
    struct tcp_pair pair;
    filch_task *reader;
};

static int reads_a_byte(void *arg)
{
    char byte = 0;

    T_OK(filch_tcp_read_exact(arg, &byte, 1, NULL, T_LIMIT));
    return byte;
}

static int before(void *arg)
{
    struct talk *talk = arg;

    connect_pair(&talk->pair);
    talk->reader = spawn(reads_a_byte, talk->pair.server);
    let_others_run();
    return 0;
}

static int return_seven(void *arg)
{
    (void)arg;
    return 7;
}

static int after(void *arg)
{
    struct talk *talk = arg;
    struct tcp_pair second;
    filch_task *job;

    T_OK(filch_tcp_write_all(talk->pair.client, "x", 1, NULL, T_LIMIT));
    T_IS(join(talk->reader), 'x');
    connect_pair(&second);
    T_OK(filch_tcp_write_all(second.server, "y", 1, NULL, T_LIMIT));
    T_IS(reads_a_byte(second.client), 'y');
    close_pair(&second);
    T_OK(filch_sleep(filch_after(FILCH_MILLISECOND)));
    T_OK(filch_blocking_spawn(return_seven, NULL, NULL, &job));
    T_IS(join(job), 7);
    close_pair(&talk->pair);
    return 0;
}

static int listens_on_port_1(void *arg)
{
    filch_listener *listener = NULL;
    int r = filch_listener_open("127.0.0.1:1", NULL, &listener);

    (void)arg;
    filch_listener_close(listener);
    return r;
}

static bool root_alone_may_use_port_1(void)
{
    char text[16] = "";
    int fd = open("/proc/sys/net/ipv4/ip_unprivileged_port_start", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);

    if (fd >= 0)
        close(fd);
    return n > 0 && strtoul(text, NULL, 10) > 1;
}

static int run(filch_runtime *rt, filch_fn fn, void *arg)
{
    int result = -1;

    T_OK(filch_runtime_block_on(rt, fn, arg, &result, FILCH_NEVER));
    return result;
}

static void live(const struct way *way)
{
    filch_runtime *rt = start_runtime_with_threads(WORKERS);
    bool refused = way->port_is_refused && root_alone_may_use_port_1();
    struct talk talk;

    T_OK(run(rt, before, &talk));
    way->give_up(rt);
    T_OK(run(rt, after, &talk));
    if (refused)
        T_IS(run(rt, listens_on_port_1, NULL), -EACCES);
    stop_runtime(rt);
}

static void in_child(const struct way *way)
{
    pid_t child = fork();
    int status;

    T_CHECK(child >= 0);
    if (child == 0) {
        live(way);
        _exit(0);
    }
    T_IS(waitpid(child, &status, 0), child);
    T_IS(status, 0);
}

static int user_of_this_thread(void *arg)
{
    (void)arg;
    return (int)syscall(SYS_geteuid);
}

/* The C library does it on each thread, by a signal that no thread can block. */
static void become_nobody(filch_runtime *rt)
{
    T_OK(setgroups(0, NULL));
    T_OK(setresgid(NOBODY, NOBODY, NOBODY));
    T_OK(setresuid(NOBODY, NOBODY, NOBODY));
    for (unsigned i = 1; i <= WORKERS; i++) {
        filch_task *task = NULL;

        T_OK(filch_runtime_spawn(rt, user_of_this_thread, NULL,
                                 &(filch_task_opts){.pinned = true, .worker = i}, &task));
        T_IS(join(task), NOBODY);
    }
}

Test(privileges, another_user)
{
    in_child(&(struct way){become_nobody, true});
}

/* This one is for each thread to do: capset(2) knows no other. */
static int drop_capabilities(void *arg)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};

    (void)arg;
    T_OK(syscall(SYS_capset, &header, none));
    return 0;
}

static void drop_capabilities_everywhere(filch_runtime *rt)
{
    for (unsigned i = 1; i <= WORKERS; i++) {
        filch_task *task = NULL;

        T_OK(filch_runtime_spawn(rt, drop_capabilities, NULL,
                                 &(filch_task_opts){.pinned = true, .worker = i}, &task));
        T_OK(join(task));
    }
    T_OK(drop_capabilities(NULL));
}

Test(privileges, no_capabilities)
{
    in_child(&(struct way){drop_capabilities_everywhere, true});
}

static char empty[] = "/tmp/filch-test-XXXXXX";

static void leave_the_root(filch_runtime *rt)
{
    (void)rt;
    T_OK(chroot(empty));
    T_OK(chdir("/"));
    T_CHECK(access("/proc", F_OK) < 0);
}

Test(privileges, another_root)
{
    T_CHECK(mkdtemp(empty));
    in_child(&(struct way){leave_the_root, false});
    T_OK(rmdir(empty));
}

/* Rings, programs and files are for the start only. */
static void filter_system_calls(filch_runtime *rt)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execve, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
    filch_runtime_opts strict = {.engine = FILCH_ENGINE_URING};
    filch_runtime *second = NULL;

    T_OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    T_OK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program));
    T_IS(filch_runtime_start(&strict, &second), -EPERM);
    (void)rt;
}

Test(privileges, a_filter_of_system_calls)
{
    in_child(&(struct way){filter_system_calls, false});
}
