/* Description: the handler that names the task that overflowed its stack, and what it leaves to the
 * host. Each crash happens in a child. */
#include <alloca.h>
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "runtime/base/valgrind.h"
#include "runtime/task/switch.h"
#include "runtime/task/task.h"
#include "tests/runner/run.h"

TestSuite(overflow, .timeout = 120);

#ifdef FILCH__SWITCH_SANITIZED

Test(overflow, sanitizers_have_their_own)
{
    struct sigaction before, now;
    filch_runtime *rt;

    T_OK(sigaction(SIGSEGV, NULL, &before));
    rt = start_runtime(0);
    T_OK(sigaction(SIGSEGV, NULL, &now));
    T_CHECK(now.sa_handler == before.sa_handler);
    stop_runtime(rt);
}

#else

#define HOST_EXIT 17

struct end {
    int status;
    size_t length;
    char text[4096]; /* what was written to stderr */
};

/* Runs @body in a child; its exit status is 0 if it returns. */
static void in_child(void (*body)(void), struct end *ret_end)
{
    int ends[2];
    ssize_t n;
    pid_t child;

    memset(ret_end, 0, sizeof *ret_end);
    T_OK(pipe(ends));
    child = fork();
    T_CHECK(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        /* The test framework's are not what a program begins with. */
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        body();
        _exit(0);
    }
    close(ends[1]);
    while ((n = read(ends[0], ret_end->text + ret_end->length,
                     sizeof ret_end->text - 1 - ret_end->length)) > 0)
        ret_end->length += (size_t)n;
    close(ends[0]);
    T_IS(waitpid(child, &ret_end->status, 0), child);
}

static void check_says(const struct end *end, const char *what)
{
    if (!strstr(end->text, what))
        cr_assert_fail("stderr does not say \"%s\", but \"%s\"", what, end->text);
}

static void check_killed(const struct end *end, int signal)
{
    if (!WIFSIGNALED(end->status) || WTERMSIG(end->status) != signal)
        cr_assert_fail("status %x, \"%s\"", (unsigned)end->status, end->text);
}

static void check_exited(const struct end *end, int status)
{
    if (!WIFEXITED(end->status) || WEXITSTATUS(end->status) != status)
        cr_assert_fail("status %x, \"%s\"", (unsigned)end->status, end->text);
}

/* In how many lines does it say so? */
static unsigned times_said(const struct end *end, const char *what)
{
    unsigned n = 0;

    for (const char *at = end->text; (at = strstr(at, what)); at++)
        n++;
    return n;
}

static void check_message(const struct end *end, const char *name, const char *size)
{
    check_says(end, "filch: stack overflow in task");
    check_says(end, name);
    check_says(end, size);
    check_says(end, "stack_bytes");
    T_IS(times_said(end, "\n"), 1);
}

__attribute__((noinline)) static int recurse(volatile int *levels)
{
    volatile char frame[200];

    frame[0] = (char)++*levels;
    return (*levels ? recurse(levels) : 0) + frame[0];
}

static int overflow(void *arg)
{
    volatile int levels = 0;

    (void)arg;
    return recurse(&levels);
}

static int overflow_with_one_frame(void *arg)
{
    size_t bytes = (size_t)(uintptr_t)arg;
    volatile char *memory = alloca(bytes);

    memory[0] = 1;
    return memory[0];
}

/* Where the tasks below are spawned. */
__attribute__((noinline)) static int spawn_named(filch_fn fn, void *arg, const char *name,
                                                 size_t bytes, unsigned worker)
{
    filch_task_opts opts = {
        .name = name, .stack_bytes = bytes, .pinned = worker != 0, .worker = worker};
    filch_task *task;

    T_OK(filch_task_spawn(fn, arg, &opts, &task));
    return join(task);
}

static int root_default(void *arg)
{
    (void)arg;
    return spawn_named(overflow, NULL, "deep one", 0, 0);
}

static int root_small(void *arg)
{
    (void)arg;
    return spawn_named(overflow, NULL, "small one", 10000, 0);
}

static int root_frame(void *arg)
{
    (void)arg;
    return spawn_named(overflow_with_one_frame, (void *)((uintptr_t)8 << 20), "large frame", 60000,
                       0);
}

static int root_last_worker(void *arg)
{
    filch_stats stats;

    (void)arg;
    T_OK(filch_runtime_stats(filch_runtime_self(), &stats));
    return spawn_named(overflow, NULL, "pinned one", 0, stats.workers);
}

static void run_default(void)
{
    run_in_runtime(0, root_default, NULL);
}

static void run_small(void)
{
    run_in_runtime(0, root_small, NULL);
}

static void run_frame(void)
{
    run_in_runtime(0, root_frame, NULL);
}

static void run_last_worker(void)
{
    run_in_runtime(8, root_last_worker, NULL);
}

Test(overflow, the_message_names_task_size_and_remedy)
{
    struct end end;

    in_child(run_default, &end);
    check_killed(&end, SIGSEGV);
    check_message(&end, "task \"deep one\"", "stack of 262144 bytes");
    in_child(run_small, &end);
    check_killed(&end, SIGSEGV);
    check_message(&end, "task \"small one\"", "stack of 16384 bytes");
}

/* The program is compiled with -fstack-clash-protection, which touches each page of a frame. */
Test(overflow, a_frame_of_8_mb_is_caught_in_the_guard)
{
    struct end end;

    in_child(run_frame, &end);
    check_killed(&end, SIGSEGV);
    check_message(&end, "task \"large frame\"", "stack of 65536 bytes");
}

Test(overflow, every_worker_has_a_signal_stack)
{
    struct end end;

    in_child(run_last_worker, &end);
    check_killed(&end, SIGSEGV);
    check_message(&end, "task \"pinned one\"", "stack of 262144 bytes");
}

/* The address printed must be in the function that spawned. It is the same in parent and child. */
static void check_place(const struct end *end, uintptr_t function)
{
    const char *text = strstr(end->text, "test_overflow");
    struct dl_find_object found;
    uintptr_t place;

    T_CHECK(text && (text = strstr(text, "+0x")));
    T_OK(_dl_find_object((void *)function, &found));
    place = (uintptr_t)strtoull(text + 1, NULL, 16) + found.dlfo_link_map->l_addr;
    if (place <= function || place > function + 512)
        cr_assert_fail("the function is at %#lx: \"%s\"", (unsigned long)function, end->text);
    check_says(end, "addr2line");
}

static volatile int one = 1; /* keeps the calls below from being the last of their function */

__attribute__((noinline)) static int by_spawn(void *arg)
{
    (void)arg;
    T_OK(filch_spawn(overflow, NULL));
    filch_sleep(FILCH_NEVER);
    return one;
}

__attribute__((noinline)) static int by_scope_spawn(void *arg)
{
    (void)arg;
    FILCH_SCOPE(scope);
    T_OK(filch_scope_spawn(&scope, overflow, NULL));
    (void)!filch_scope_join(&scope, FILCH_NEVER);
    return one;
}

__attribute__((noinline)) static int by_scope_spawn_opts(void *arg)
{
    (void)arg;
    FILCH_SCOPE(scope);
    T_OK(filch_scope_spawn_opts(&scope, overflow, NULL, NULL));
    (void)!filch_scope_join(&scope, FILCH_NEVER);
    return one;
}

__attribute__((noinline)) static int by_scope_spawn_wait(void *arg)
{
    (void)arg;
    FILCH_SCOPE(scope);
    T_OK(filch_scope_spawn_wait(&scope, overflow, NULL, NULL, FILCH_NEVER));
    (void)!filch_scope_join(&scope, FILCH_NEVER);
    return one;
}

static int nothing(void *arg)
{
    return (int)(uintptr_t)arg;
}

/* The stack was used by tasks from elsewhere. */
static int after_others(void *arg)
{
    for (int i = 0; i < 100; i++)
        T_OK(filch_spawn(nothing, NULL));
    return by_spawn(arg);
}

__attribute__((noinline)) static void by_runtime_spawn(void)
{
    filch_runtime *rt = start_runtime(1);
    filch_task *task;

    T_OK(filch_runtime_spawn(rt, overflow, NULL, NULL, &task));
    (void)!filch_task_join(task, NULL, FILCH_NEVER);
    one = 2;
}

static filch_fn spawner;

static void run_spawner(void)
{
    run_in_runtime(1, spawner, NULL);
}

Test(overflow, the_place_is_where_the_user_spawned)
{
    static const struct {
        filch_fn root, function;
    } row[] = {
        {by_spawn, by_spawn},
        {by_scope_spawn, by_scope_spawn},
        {by_scope_spawn_opts, by_scope_spawn_opts},
        {by_scope_spawn_wait, by_scope_spawn_wait},
        {after_others, by_spawn},
    };
    struct end end;

    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        spawner = row[i].root;
        in_child(run_spawner, &end);
        check_killed(&end, SIGSEGV);
        check_message(&end, "task \"\"", "stack of 262144 bytes");
        check_place(&end, (uintptr_t)row[i].function);
    }
    in_child(by_runtime_spawn, &end);
    check_killed(&end, SIGSEGV);
    check_place(&end, (uintptr_t)by_runtime_spawn);
}

/* The host's handlers. */

static void host_siginfo(int signal, siginfo_t *info, void *context)
{
    dprintf(STDERR_FILENO, "host: signal %d at %p, %s\n", signal, info->si_addr,
            context ? "context" : "no context");
    _exit(HOST_EXIT);
}

static void host_plain(int signal)
{
    dprintf(STDERR_FILENO, "host: signal %d\n", signal);
    _exit(HOST_EXIT);
}

static void install(int signal, void (*plain)(int), void (*siginfo)(int, siginfo_t *, void *),
                    int flags)
{
    struct sigaction act = {.sa_flags = flags};

    if (siginfo) {
        act.sa_sigaction = siginfo;
        act.sa_flags |= SA_SIGINFO;
    } else {
        act.sa_handler = plain;
    }
    T_OK(sigaction(signal, &act, NULL));
}

static void overflow_with_siginfo(void)
{
    install(SIGSEGV, NULL, host_siginfo, 0);
    run_default();
}

static void overflow_with_plain(void)
{
    install(SIGSEGV, host_plain, NULL, SA_RESETHAND);
    run_default();
}

static void overflow_with_ignore(void)
{
    install(SIGSEGV, SIG_IGN, NULL, 0);
    run_default();
}

Test(overflow, the_handler_installed_before_is_called_after_the_message)
{
    struct end end;

    in_child(overflow_with_siginfo, &end);
    check_exited(&end, HOST_EXIT);
    check_says(&end, "filch: stack overflow in task \"deep one\"");
    check_says(&end, "host: signal 11 at 0x");
    check_says(&end, ", context");
    in_child(overflow_with_plain, &end);
    check_exited(&end, HOST_EXIT);
    check_says(&end, "filch: stack overflow in task \"deep one\"");
    check_says(&end, "host: signal 11\n");
    in_child(overflow_with_ignore, &end);
    check_killed(&end, SIGSEGV);
    check_says(&end, "filch: stack overflow in task \"deep one\"");
}

static volatile int *null_pointer;

static int write_to_null(void *arg)
{
    (void)arg;
    *null_pointer = 1;
    return 0;
}

static void null_in_a_task(void)
{
    run_in_runtime(0, write_to_null, NULL);
}

static void null_in_a_task_with_siginfo(void)
{
    install(SIGSEGV, NULL, host_siginfo, 0);
    null_in_a_task();
}

static void null_in_a_thread_with_plain(void)
{
    install(SIGSEGV, host_plain, NULL, 0);
    start_runtime(0);
    write_to_null(NULL);
}

static void raise_segv(void)
{
    start_runtime(0);
    raise(SIGSEGV);
}

static void raise_segv_ignored(void)
{
    install(SIGSEGV, SIG_IGN, NULL, 0);
    raise_segv();
    _exit(HOST_EXIT);
}

static void raise_segv_plain(void)
{
    install(SIGSEGV, host_plain, NULL, 0);
    raise_segv();
}

static void raise_bus(void)
{
    install(SIGBUS, NULL, host_siginfo, 0);
    start_runtime(0);
    raise(SIGBUS);
}

Test(overflow, other_faults_go_to_the_host_without_a_message)
{
    struct end end;

    if (RUNNING_ON_VALGRIND)
        cr_skip_test("Valgrind has its own word on each fault");
    in_child(null_in_a_task, &end);
    check_killed(&end, SIGSEGV);
    T_IS(end.length, 0);
    in_child(null_in_a_task_with_siginfo, &end);
    check_exited(&end, HOST_EXIT);
    T_OK(strncmp(end.text, "host: signal 11 at (nil)", 24));
    in_child(null_in_a_thread_with_plain, &end);
    check_exited(&end, HOST_EXIT);
    T_OK(strcmp(end.text, "host: signal 11\n"));
    in_child(raise_segv, &end);
    check_killed(&end, SIGSEGV);
    T_IS(end.length, 0);
    in_child(raise_segv_ignored, &end);
    check_exited(&end, HOST_EXIT);
    T_IS(end.length, 0);
    in_child(raise_segv_plain, &end);
    check_exited(&end, HOST_EXIT);
    T_OK(strcmp(end.text, "host: signal 11\n"));
    in_child(raise_bus, &end);
    check_exited(&end, HOST_EXIT);
    T_OK(strncmp(end.text, "host: signal 7 at", 17));
}

static atomic_bool sleeps;

static int says_that_it_sleeps(void *arg)
{
    atomic_store(&sleeps, true); /* it has its stack */
    return sleep_until_cancelled(arg);
}

/* A plain thread writes below the stack of a task that sleeps. */
static void write_below_a_stack(void)
{
    filch_runtime *rt = start_runtime_with_threads(1);
    filch_task *handle;
    struct filch__task *task;

    T_OK(filch_runtime_spawn(rt, says_that_it_sleeps, NULL, NULL, &handle));
    T_WAIT_UNTIL(atomic_load(&sleeps));
    task = filch__handle_object(handle);
    task->stack->low[-1] = 1;
}

Test(overflow, an_access_from_elsewhere_is_told_from_an_overflow)
{
    struct end end;

    in_child(write_below_a_stack, &end);
    check_killed(&end, SIGSEGV);
    check_says(&end, "or an access below a task's stack: its stack of 262144 bytes");
}

static void without_handler(void)
{
    filch_runtime_opts opts = {.no_overflow_handler = true};

    filch_main(root_default, NULL, &opts);
}

Test(overflow, the_handler_can_be_declined)
{
    struct end end;

    in_child(without_handler, &end);
    check_killed(&end, SIGSEGV);
    T_IS(end.length, 0);
}

static void (*handler_now(int signal))(int, siginfo_t *, void *)
{
    struct sigaction now;

    T_OK(sigaction(signal, NULL, &now));
    return now.sa_sigaction;
}

Test(overflow, the_last_runtime_restores_what_was_there)
{
    filch_runtime *first, *second, *without;
    filch_runtime_opts none = {.no_overflow_handler = true};

    for (int round = 0; round < 3; round++) {
        install(SIGSEGV, NULL, host_siginfo, SA_RESTART);
        install(SIGBUS, host_plain, NULL, 0);
        T_OK(filch_runtime_start(&none, &without));
        T_CHECK(handler_now(SIGSEGV) == host_siginfo);
        first = start_runtime(1);
        T_CHECK(handler_now(SIGSEGV) != host_siginfo);
        second = start_runtime(1);
        stop_runtime(first);
        T_CHECK(handler_now(SIGSEGV) != host_siginfo);
        T_CHECK((void *)handler_now(SIGBUS) != (void *)host_plain);
        stop_runtime(second);
        T_CHECK(handler_now(SIGSEGV) == host_siginfo);
        T_CHECK((void *)handler_now(SIGBUS) == (void *)host_plain);
        stop_runtime(without);
    }
}

Test(overflow, a_start_that_fails_leaves_no_handler)
{
    struct rlimit limit, few;
    filch_runtime *rt = NULL;

    install(SIGSEGV, NULL, host_siginfo, 0);
    T_OK(getrlimit(RLIMIT_NOFILE, &limit));
    few = limit;
    few.rlim_cur = 0;
    T_OK(setrlimit(RLIMIT_NOFILE, &few));
    T_IS(filch_runtime_start(NULL, &rt), -EMFILE);
    T_CHECK(handler_now(SIGSEGV) == host_siginfo);
    T_OK(setrlimit(RLIMIT_NOFILE, &limit));
    stop_runtime(start_runtime(1));
    T_CHECK(handler_now(SIGSEGV) == host_siginfo);
}

static struct sigaction filchs;

static void host_chains(int signal, siginfo_t *info, void *context)
{
    dprintf(STDERR_FILENO, "host first\n");
    filchs.sa_sigaction(signal, info, context);
}

/* The host's handler came later, calls ours, and stays in place over the runtimes. */
static void with_a_later_handler(void)
{
    filch_runtime *rt = start_runtime(1);
    struct sigaction act = {.sa_sigaction = host_chains, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    T_OK(sigaction(SIGSEGV, &act, &filchs));
    stop_runtime(rt);
    T_CHECK(handler_now(SIGSEGV) == host_chains);
    run_default();
}

Test(overflow, a_handler_installed_later_stays_and_may_call_ours)
{
    struct end end;

    if (RUNNING_ON_VALGRIND)
        cr_skip_test("Valgrind has its own word on each fault");
    in_child(with_a_later_handler, &end);
    check_killed(&end, SIGSEGV);
    T_OK(strncmp(end.text, "host first\nfilch: stack overflow in task \"deep one\"", 50));
    T_IS(times_said(&end, "host first"), 1);
}

#endif
