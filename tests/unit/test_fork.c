/* Description: fork in a process with runtimes. In the child each call gives its documented error
 * and nothing that it does reaches the parent; exec inherits no descriptor; a new runtime may be
 * started there. Forked from a plain thread, a task and a job. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "runtime/task/switch.h"
#include "tests/runner/tcp_pair.h"

TestSuite(fork, .timeout = 60);

static int return_arg(void *arg)
{
    return (int)(intptr_t)arg;
}

/* What the child is to have a try at. */
struct family {
    filch_runtime *rt;
    filch_task *sleeper; /* lives in the parent */
    filch_task *ended;   /* had ended before */
    struct tcp_pair pair;
};

static void count_live(void *arg, const filch_live *live)
{
    (void)live;
    ++*(int *)arg;
}

/* In the child. Each T_ here ends it by a signal. */
static void try_everything(struct family *family)
{
    filch_runtime *rt = family->rt;
    char byte = 'x';
    filch_tcp *conn;
    filch_task *task = NULL;
    filch_stats stats;
    int result = 77, live = 0;
    filch_blocking_class *class = NULL;
    filch_blocking_stats class_stats;
    filch_tracker *tracker;
    filch_group *group;
    sigset_t mask;

    alarm(30); /* should it wait for what does not come */
    T_OK(pthread_sigmask(SIG_SETMASK, NULL, &mask));
    T_IS(sigismember(&mask, SIGTERM), 0);
    T_IS(sigismember(&mask, SIGUSR1), 1); /* the host's own */
    T_CHECK(filch_task_self() == NULL && filch_runtime_self() == NULL);
    T_CHECK(!filch_task_is_cancelled());
    T_IS(filch_spawn(return_arg, NULL), -EPERM);
    T_IS(filch_runtime_spawn(rt, return_arg, NULL, NULL, &task), -ECHILD);
    T_OK(filch_tracker_new(&tracker));
    T_IS(filch_tracker_spawn_on(tracker, rt, return_arg, NULL, NULL), -ECHILD);
    filch_tracker_unref(tracker);
    T_IS(filch_runtime_blocking_spawn(rt, return_arg, NULL, NULL, &task), -ECHILD);
    T_IS(filch_runtime_block_on(rt, return_arg, NULL, &result, FILCH_NEVER), -ECHILD);
    T_IS(filch_runtime_shutdown(rt, FILCH_NEVER), -ECHILD);
    T_IS(filch_runtime_stats(rt, &stats), -ECHILD);
    T_IS(filch_group_new(rt, NULL, &group), -ECHILD);
    T_IS(filch_runtime_visit(rt, count_live, &live), -ECHILD);
    T_IS(filch_blocking_class_new(rt, &(filch_blocking_class_opts){.name = "c"}, &class), -ECHILD);
    T_IS(filch_blocking_class_stats(rt, NULL, &class_stats), -ECHILD);
    T_CHECK(task == NULL && result == 77 && live == 0);

    T_IS(filch_task_cancel(family->sleeper), -ECHILD);
    T_IS(filch_task_join(family->sleeper, &result, FILCH_NEVER), -ECHILD);
    T_IS(filch_task_join(family->sleeper, &result, FILCH_NOW), -ECHILD);
    T_CHECK(!filch_task_is_finished(family->sleeper));
    T_OK(filch_task_detach(family->sleeper));
    T_OK(filch_task_join(family->ended, &result, FILCH_NEVER));
    T_IS(result, 44);

    T_IS(filch_tcp_read(family->pair.client, &byte, 1, FILCH_NEVER), -EBADF);
    T_IS(filch_tcp_write(family->pair.client, &byte, 1, FILCH_NEVER), -EBADF);
    T_IS(filch_tcp_close(family->pair.client), -EBADF);
    T_IS(filch_listener_accept(family->pair.listener, &conn, FILCH_NEVER), -EBADF);
    T_IS(filch_listener_close(family->pair.listener), -EBADF);

    filch_task_yield(); /* a plain thread's */
    T_OK(filch_sleep(filch_after(FILCH_MICROSECOND)));
}

/* ThreadSanitizer lets no thread start in such a child, and a lock of AddressSanitizer's allocator
 * may be held there for ever. */
#if !defined(FILCH__TSAN) && !defined(FILCH__ASAN)
static int sleep_a_little(void *arg)
{
    (void)arg;
    return filch_sleep(filch_after(FILCH_MILLISECOND));
}

static int live_anew(void *arg)
{
    struct tcp_pair pair;
    char byte = 'a';

    (void)arg;
    connect_pair(&pair);
    T_IS(filch_tcp_write(pair.client, &byte, 1, T_LIMIT), 1);
    T_IS(filch_tcp_read(pair.server, &byte, 1, T_LIMIT), 1);
    close_pair(&pair);
    for (int i = 0; i < 2000; i++)
        T_OK(join(spawn(i % 100 ? return_arg : sleep_a_little, NULL)));
    return 0;
}

static void start_anew(void)
{
    filch_runtime *rt = start_runtime(0);
    filch_task *task, *job;
    int result = -1;

    T_OK(filch_runtime_block_on(rt, live_anew, NULL, &result, FILCH_NEVER));
    T_OK(result);
    T_OK(filch_runtime_blocking_spawn(rt, return_arg, (void *)6, NULL, &job));
    T_OK(filch_runtime_spawn(rt, sleep_until_cancelled, NULL, NULL, &task));
    T_IS(join(job), 6);
    stop_runtime(rt);
    T_IS(join(task), -ECANCELED);
}
#else
static void start_anew(void)
{
}
#endif

/* The child's end is known by its status. */
static void must_exit(pid_t child, int code)
{
    int status;
    pid_t r;

    do {
        r = waitpid(child, &status, 0);
    } while (r < 0 && errno == EINTR);
    T_IS(r, child);
    T_CHECK(WIFEXITED(status));
    T_IS(WEXITSTATUS(status), code);
}

static void fork_and_try(struct family *family)
{
    pid_t child = fork();

    T_CHECK(child >= 0);
    if (child == 0) {
        try_everything(family);
        start_anew();
        T_IS(filch_runtime_spawn(family->rt, return_arg, NULL, NULL, NULL), -ECHILD);
        _exit(9);
    }
    must_exit(child, 9);
}

static int open_pair(void *arg)
{
    connect_pair(arg);
    return 0;
}

static int use_and_close_pair(void *arg)
{
    struct tcp_pair *pair = arg;
    char byte = 'b';

    T_IS(filch_tcp_write(pair->client, &byte, 1, T_LIMIT), 1);
    T_IS(filch_tcp_read(pair->server, &byte, 1, T_LIMIT), 1);
    close_pair(pair);
    return 0;
}

static void found(struct family *family)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    T_OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
    family->rt = start_runtime(0);
    T_OK(filch_runtime_block_on(family->rt, open_pair, &family->pair, NULL, FILCH_NEVER));
    T_OK(filch_runtime_spawn(family->rt, sleep_until_cancelled, NULL, NULL, &family->sleeper));
    T_OK(filch_runtime_spawn(family->rt, return_arg, (void *)44, NULL, &family->ended));
    T_WAIT_UNTIL(filch_task_is_finished(family->ended));
}

/* The parent has noticed nothing. */
static void part(struct family *family)
{
    int result = 0;

    T_IS(join(family->ended), 44);
    T_IS(filch_task_join(family->sleeper, NULL, FILCH_NOW), -ETIMEDOUT);
    T_OK(filch_runtime_block_on(family->rt, use_and_close_pair, &family->pair, &result,
                                FILCH_NEVER));
    T_OK(result);
    T_OK(filch_task_cancel(family->sleeper));
    T_IS(join(family->sleeper), -ECANCELED);
    stop_runtime(family->rt);
}

Test(fork, child_of_a_plain_thread_is_told_that_nothing_is_its_own)
{
    struct family family;

    found(&family);
    for (int i = 0; i < 3; i++)
        fork_and_try(&family);
    part(&family);
}

static int fork_and_try_body(void *family)
{
    fork_and_try(family);
    return 0;
}

Test(fork, child_of_a_task_is_a_plain_thread)
{
    struct family family;

    found(&family);
    for (int i = 0; i < 3; i++)
        T_OK(filch_runtime_block_on(family.rt, fork_and_try_body, &family, NULL, FILCH_NEVER));
    part(&family);
}

Test(fork, child_of_a_job_is_a_plain_thread)
{
    struct family family;
    filch_task *job;

    found(&family);
    T_OK(filch_runtime_blocking_spawn(family.rt, fork_and_try_body, &family, NULL, &job));
    T_OK(join(job));
    part(&family);
}

static int ping(void *arg)
{
    struct tcp_pair *pair = arg;
    char byte = 'p';

    for (int i = 0; i < 1000; i++) {
        T_IS(filch_tcp_write(pair->client, &byte, 1, T_LIMIT), 1);
        T_IS(filch_tcp_read(pair->client, &byte, 1, T_LIMIT), 1);
    }
    return filch_tcp_shutdown_write(pair->client);
}

static int pong(void *arg)
{
    struct tcp_pair *pair = arg;
    char byte;
    ssize_t n;

    while ((n = filch_tcp_read(pair->server, &byte, 1, T_LIMIT)) == 1)
        T_IS(filch_tcp_write(pair->server, &byte, 1, T_LIMIT), 1);
    return (int)n;
}

static int spawn_and_join(void *arg)
{
    (void)arg;
    for (int i = 0; i < 2000; i++)
        T_OK(join(spawn(return_arg, NULL)));
    return 0;
}

/* At any moment of the parent's work, and the child works, too. */
Test(fork, parent_works_on_while_children_come_and_go)
{
    filch_runtime *rt = start_runtime(0);
    struct tcp_pair pair;
    filch_task *task[3];

    T_OK(filch_runtime_block_on(rt, open_pair, &pair, NULL, FILCH_NEVER));
    T_OK(filch_runtime_spawn(rt, ping, &pair, NULL, &task[0]));
    T_OK(filch_runtime_spawn(rt, pong, &pair, NULL, &task[1]));
    T_OK(filch_runtime_spawn(rt, spawn_and_join, NULL, NULL, &task[2]));
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();

        T_CHECK(child >= 0);
        if (child == 0) {
            T_IS(filch_runtime_spawn(rt, return_arg, NULL, NULL, NULL), -ECHILD);
            T_IS(filch_task_cancel(task[0]), -ECHILD);
            if (i % 5 == 0)
                start_anew();
            _exit(5);
        }
        must_exit(child, 5);
    }
    for (int i = 0; i < 3; i++)
        T_OK(join(task[i]));
    close_pair(&pair);
    stop_runtime(rt);
}

/* With all that an exit runs; LeakSanitizer is left out, for which all is lost that was only known
 * to the parent's other threads. */
#ifdef FILCH__ASAN
#define EXIT _exit
#else
#define EXIT exit
#endif

Test(fork, child_may_exit)
{
    filch_runtime *rt = start_runtime(0);
    pid_t child;

    T_OK(filch_runtime_spawn(rt, sleep_until_cancelled, NULL, NULL, NULL));
    fflush(NULL);
    child = fork();
    T_CHECK(child >= 0);
    if (child == 0)
        EXIT(filch_runtime_shutdown(rt, FILCH_NEVER) == -ECHILD ? 3 : 1);
    must_exit(child, 3);
    T_OK(filch_runtime_block_on(rt, return_arg, NULL, NULL, FILCH_NEVER));
    stop_runtime(rt);
}

static int fork_and_return(void *arg)
{
    pid_t child;
    int status;

    (void)arg;
    child = fork();
    T_CHECK(child >= 0);
    if (child == 0) {
        T_CHECK(signal(SIGABRT, SIG_DFL) != SIG_ERR);
        T_CHECK(freopen("/dev/null", "w", stderr));
        return 0; /* as it must not */
    }
    T_IS(waitpid(child, &status, 0), child);
    T_CHECK(WIFSIGNALED(status));
    T_IS(WTERMSIG(status), SIGABRT);
    return 0;
}

static int fork_and_return_in_scope(void *arg)
{
    FILCH_SCOPE(scope);

    T_OK(filch_scope_spawn(&scope, fork_and_return, arg));
    return filch_scope_join(&scope, FILCH_NEVER);
}

Test(fork, child_that_returns_from_its_body_aborts)
{
    filch_runtime *rt = start_runtime(0);
    filch_task *job;
    int result = -1;

    T_OK(filch_runtime_block_on(rt, fork_and_return, NULL, &result, FILCH_NEVER));
    T_OK(result);
    T_OK(filch_runtime_block_on(rt, fork_and_return_in_scope, NULL, &result, FILCH_NEVER));
    T_OK(result);
    T_OK(filch_runtime_blocking_spawn(rt, fork_and_return, NULL, NULL, &job));
    T_OK(join(job));
    stop_runtime(rt);
}

/* Descriptors that a program which was exec'ed would get. */
static int inheritable(char *ret_text, size_t bytes)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    int count = 0;

    T_CHECK(dir);
    ret_text[0] = 0;
    while ((entry = readdir(dir))) {
        int fd = atoi(entry->d_name);
        int flags = entry->d_name[0] == '.' || fd == dirfd(dir) ? -1 : fcntl(fd, F_GETFD);

        if (flags < 0 || flags & FD_CLOEXEC)
            continue;
        count++;
        snprintf(ret_text + strlen(ret_text), bytes - strlen(ret_text), "%d ", fd);
    }
    closedir(dir);
    return count;
}

/* What `ls` sees of itself after an exec. Its own look at the folder is one more. */
static void list_after_exec(char *ret_text, size_t bytes)
{
    int ends[2];
    size_t used = 0;
    pid_t child;
    ssize_t n;

    T_OK(pipe2(ends, O_CLOEXEC));
    child = fork();
    T_CHECK(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        execl("/bin/sh", "sh", "-c", "echo /proc/self/fd/*", (char *)NULL);
        _exit(1);
    }
    close(ends[1]);
    while ((n = read(ends[0], ret_text + used, bytes - 1 - used)) > 0)
        used += (size_t)n;
    ret_text[used] = 0;
    close(ends[0]);
    must_exit(child, 0);
}

static int list_body(void *text)
{
    list_after_exec(text, 4096);
    return 0;
}

Test(fork, exec_inherits_no_descriptor)
{
    static char before[4096], after[4096], from_task[4096];
    filch_runtime *rt;
    struct tcp_pair pair;
    int count = inheritable(before, sizeof before);

    list_after_exec(before, sizeof before);
    rt = start_runtime(4);
    T_OK(filch_runtime_block_on(rt, open_pair, &pair, NULL, FILCH_NEVER));
    T_OK(filch_runtime_block_on(rt, return_arg, NULL, NULL, FILCH_NEVER));
    cr_assert_eq(inheritable(after, sizeof after), count);
    list_after_exec(after, sizeof after);
    cr_assert_eq(strcmp(before, after), 0);
    T_OK(filch_runtime_block_on(rt, list_body, from_task, NULL, FILCH_NEVER));
    cr_assert_eq(strcmp(before, from_task), 0);
    T_OK(filch_runtime_block_on(rt, use_and_close_pair, &pair, NULL, FILCH_NEVER));
    stop_runtime(rt);
}
