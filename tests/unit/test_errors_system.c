/* Description: errors that <filch/process.h>, <filch/signal.h>, <filch/dns.h> and
 * <filch/inherited.h> promise and that other tests have no cause to provoke. What the system would
 * say only in other circumstances (too many processes, a name server that is down) a wrapper says,
 * which the linker puts in (--wrap). */
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include <filch/dns.h>
#include <filch/inherited.h>
#include <filch/process.h>
#include <filch/signal.h>

#include "tests/runner/forked.h"
#include "tests/runner/programs.h"
#include "tests/runner/refused_memory.h"
#include "tests/runner/tcp_pair.h"
#include "tests/runner/wrapped_syscall.h"
#include "tests/runner/temp_dir.h"

TestSuite(errors_system, .timeout = 60, .init = test_starts_programs);

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})

/* ---- refusals ---- */

enum refused { SPAWN = REFUSED_NEXT, PIPE, PIDFD, KILL, NAME };

WRAPPED(int, posix_spawnp,
        (pid_t * ret_id, const char *program, const posix_spawn_file_actions_t *actions,
         const posix_spawnattr_t *attr, char *const *argv, char *const *env))
{
    return refuses(SPAWN) ? errno : __real_posix_spawnp(ret_id, program, actions, attr, argv, env);
}

WRAPPED(int, pipe2, (int *fds, int flags))
{
    return refuses(PIPE) ? -1 : __real_pipe2(fds, flags);
}

static bool refuses_syscall(long number, const long *arg)
{
    (void)arg;
    return (number == SYS_pidfd_open && refuses(PIDFD)) ||
           (number == SYS_pidfd_send_signal && refuses(KILL));
}

/* What the C library calls it. */
WRAPPED(int, getaddrinfo,
        (const char *host, const char *service, const struct addrinfo *hints,
         struct addrinfo **ret_list))
{
    if (!refuses(NAME))
        return __real_getaddrinfo(host, service, hints, ret_list);
    switch (errno) {
    case EHOSTDOWN:
        return EAI_AGAIN;
    case ENOMEM:
        return EAI_MEMORY;
    case EIO:
        return EAI_FAIL;
    default:
        return EAI_SYSTEM;
    }
}

static atomic_bool first_fails;

/* Only goes on when the first child has failed. */
WRAPPED(int, filch_scope_spawn, (filch_scope * scope, filch_fn fn, void *arg))
{
    filch_scope_error error;
    int r = __real_filch_scope_spawn(scope, fn, arg);

    if (atomic_exchange(&first_fails, false))
        T_WAIT_UNTIL(filch_scope_failed(scope, &error) == 0);
    return r;
}

static int selected(filch_case c)
{
    int r = filch_select(&c, 1, 0, T_LIMIT);

    return r < 0 ? r : c.result;
}

/* ---- processes ---- */

/* What exec(2) says. */
static void programs_say(const struct temp_dir *dir, bool in_task)
{
    static char large[1 << 18], name[5000];
    const char *loop = in_dir(dir, "loop"), *plain = in_dir(dir, "plain"),
               *odd = in_dir(dir, "odd");
    const filch_process_run_opts in_plain = {.process = {.cwd = plain}};
    const filch_process_run_opts joins = {.process = {.group = INT_MAX}};
    const filch_process_run_opts closed = {.process = {.in = {.kind = FILCH_STDIO_FD, .fd = 1000}}};
    filch_process_output output;
    filch_process *process;

    memset(large, 'x', sizeof large - 1);
    memset(name, '/', sizeof name - 1);
    T_OK(filch_path_symlink("loop", loop, T_LIMIT));
    T_OK(filch_write_file(plain, "x", 1, 0644, T_LIMIT));
    T_OK(filch_write_file(odd, "x", 1, 0755, T_LIMIT));
    T_IS(filch_process_spawn(ARGV("true", large), NULL, &process, T_LIMIT), -E2BIG);
    T_IS(filch_process_spawn(ARGV(loop), NULL, &process, T_LIMIT), -ELOOP);
    T_IS(filch_process_spawn(ARGV(name), NULL, &process, T_LIMIT), -ENAMETOOLONG);
    T_IS(filch_process_spawn(ARGV("true"), &in_plain.process, &process, T_LIMIT), -ENOTDIR);
    T_IS(filch_process_spawn(ARGV("true"), &joins.process, &process, T_LIMIT), -EPERM);
    if (!in_task)
        return;
    T_IS(filch_process_run(ARGV("true", large), NULL, &output, T_LIMIT), -E2BIG);
    T_IS(filch_process_run(ARGV(loop), NULL, &output, T_LIMIT), -ELOOP);
    T_IS(filch_process_run(ARGV(name), NULL, &output, T_LIMIT), -ENAMETOOLONG);
    T_IS(filch_process_run(ARGV("true"), &in_plain, &output, T_LIMIT), -ENOTDIR);
    T_IS(filch_process_run(ARGV("true"), &joins, &output, T_LIMIT), -EPERM);
    T_IS(filch_process_run(ARGV("true"), &closed, &output, T_LIMIT), -EBADF);
    T_IS(filch_process_run(ARGV(plain), NULL, &output, T_LIMIT), -EACCES);
    T_IS(filch_process_run(ARGV(odd), NULL, &output, T_LIMIT), -ENOEXEC);
}

static void systems_say(bool in_task)
{
    filch_file *in;
    const filch_process_opts piped = {.in = {.kind = FILCH_STDIO_PIPE, .ret_pipe = &in}};
    filch_process_output output;
    filch_process *process;

    SAYS(SPAWN, filch_process_spawn(ARGV("true"), NULL, &process, T_LIMIT), -EAGAIN, -ENOMEM);
    SAYS(PIPE, filch_process_spawn(ARGV("true"), &piped, &process, T_LIMIT), -EMFILE, -ENFILE);
    SAYS(PIDFD, filch_process_spawn(ARGV("true"), NULL, &process, T_LIMIT), -ENOSYS);
    T_OK(filch_process_spawn(ARGV("cat"), &piped, &process, T_LIMIT));
    SAYS(KILL, filch_process_kill(process, SIGTERM), -EPERM);
    T_OK(filch_file_close(in));
    T_OK(filch_process_wait(process, NULL, T_LIMIT));
    T_OK(filch_process_close(process));
    if (!in_task)
        return;
    SAYS(SPAWN, filch_process_run(ARGV("true"), NULL, &output, T_LIMIT), -EAGAIN, -ENOMEM);
    SAYS(PIPE, filch_process_run(ARGV("true"), NULL, &output, T_LIMIT), -EMFILE, -ENFILE);
    SAYS(PIDFD, filch_process_run(ARGV("true"), NULL, &output, T_LIMIT), -ENOSYS);
    signal(SIGCHLD, SIG_IGN);
    T_IS(filch_process_run(ARGV("true"), NULL, &output, T_LIMIT), -ECHILD);
    signal(SIGCHLD, SIG_DFL);
}

static int process_body(void *in_task)
{
    struct temp_dir dir;

    temp_dir_make(&dir);
    programs_say(&dir, in_task);
    systems_say(in_task);
    temp_dir_remove(&dir);
    return 0;
}

Test(errors_system, of_programs)
{
    T_OK(run_in_runtime(0, process_body, "in a task"));
    T_OK(process_body(NULL));
}

/* One of those who attend to it has failed before the others are there. */
static int early_body(void *arg)
{
    const filch_process_run_opts opts = {.output_max = 1};
    filch_process_output output;

    (void)arg;
    atomic_store(&first_fails, true);
    T_IS(filch_process_run(ARGV("echo", "more"), &opts, &output, T_LIMIT), -EFBIG);
    T_CHECK(!atomic_load(&first_fails));
    return 0;
}

Test(errors_system, of_a_program_that_says_too_much_at_once)
{
    T_OK(run_in_runtime(0, early_body, NULL));
}

static int selects(void *process)
{
    return selected(filch_case_process(process));
}

static int waits_cancelled(void *arg)
{
    filch_process_output output;
    filch_process *process = arg, *none;

    T_OK(filch_task_cancel(filch_task_self()));
    T_IS(filch_process_wait(process, NULL, T_LIMIT), -ECANCELED);
    T_IS(filch_process_spawn(ARGV("true"), NULL, &none, T_LIMIT), -ECANCELED);
    T_IS(filch_process_run(ARGV("true"), NULL, &output, T_LIMIT), -ECANCELED);
    return 0;
}

static int waiting_body(void *arg)
{
    const filch_process_opts opts = {.flags = FILCH_PROCESS_KILL_ON_CLOSE};
    filch_process *process, *none;
    filch_task *task;

    (void)arg;
    T_IS(filch_process_spawn(ARGV("true"), NULL, &none, FILCH_NOW), -ETIMEDOUT);
    T_OK(filch_process_spawn(ARGV("sleep", "1000"), &opts, &process, T_LIMIT));
    T_OK(join(spawn(waits_cancelled, process)));
    SAYS(MEMORY, selected(filch_case_process(process)), -ENOMEM);
    task = spawn(selects, process);
    let_others_run(); /* one worker: it waits by now */
    T_OK(filch_process_close(process));
    T_IS(join(task), -ECANCELED);
    T_IS(selected(filch_case_process(process)), -EBADF);
    return 0;
}

Test(errors_system, of_waiting_for_programs)
{
    T_OK(run_in_runtime(1, waiting_body, NULL));
}

Test(errors_system, of_waiting_in_a_plain_thread)
{
    const filch_process_opts opts = {.flags = FILCH_PROCESS_KILL_ON_CLOSE};
    filch_process *process;

    T_OK(filch_process_spawn(ARGV("sleep", "1000"), &opts, &process, T_LIMIT));
    T_IS(selected(filch_case_process(process)), -EPERM);
    T_OK(filch_process_close(process));
}

/* ---- signals ---- */

static void open_in_child(void)
{
    filch_shutdown_signals *shutdown;
    filch_token *token;
    filch_signal *opened;

    T_OK(filch_token_new(&token));
    T_IS(filch_signal_open(SIGUSR2, &opened), -ECHILD);
    T_IS(filch_shutdown_signals_open(token, &shutdown), -ECHILD);
}

Test(errors_system, of_signals)
{
    filch_shutdown_signals *shutdown;
    filch_token *token;
    filch_signal *opened;

    T_OK(filch_token_new(&token));
    SAYS(MEMORY, filch_signal_open(SIGUSR1, &opened), -ENOMEM);
    SAYS(MEMORY, filch_shutdown_signals_open(token, &shutdown), -ENOMEM);
    SAYS(THREAD, filch_signal_open(SIGUSR1, &opened), -EAGAIN);
    SAYS(THREAD, filch_shutdown_signals_open(token, &shutdown), -EAGAIN);
    T_OK(filch_signal_open(SIGUSR1, &opened));
    in_child(open_in_child);
    filch_signal_close(opened);
    filch_token_unref(token);
}

/* ---- names ---- */

Test(errors_system, of_name_servers)
{
    filch_dns_addrs a;

    SAYS(NAME, filch_dns_lookup(NULL, "no.example", 1, FILCH_DNS_ANY, &a, T_LIMIT), -EHOSTDOWN,
         -EIO, -EMFILE, -ENOMEM);
}

/* The C library's word for it is the detail, and its sentence the cause. */
static void fails_in_words(int errno_of_it, int code, int detail, const char *sentence)
{
    filch_dns_addrs addrs;
    filch_error error = FILCH_ERROR_INIT;
    char text[256];

    atomic_store(&refusal, errno_of_it);
    atomic_store(&refused, NAME);
    T_IS(filch_dns_lookup_error(NULL, "no.example", 1, FILCH_DNS_ANY, &addrs, &error, T_LIMIT),
         code);
    atomic_store(&refused, 0);
    snprintf(text, sizeof text, "looking up no.example: %s", sentence);
    T_CHECK(strcmp(error.text, text) == 0);
    T_IS(error.code, code);
    T_IS(error.domain, FILCH_ERROR_DNS);
    T_IS(error.detail, detail);
}

static int fail_in_words(void *arg)
{
    (void)arg;
    fails_in_words(EHOSTDOWN, -EHOSTDOWN, EAI_AGAIN, gai_strerror(EAI_AGAIN));
    fails_in_words(EIO, -EIO, EAI_FAIL, gai_strerror(EAI_FAIL));
    fails_in_words(EMFILE, -EMFILE, EAI_SYSTEM, filch_strerror(-EMFILE));
    return 0;
}

Test(errors_system, of_name_servers_in_words)
{
    T_OK(fail_in_words(NULL));
    T_OK(run_in_runtime(0, fail_in_words, NULL));
}

static filch_runtime *parent_runtime;

static void resolve_in_child(void)
{
    filch_resolver *resolver;

    T_IS(filch_resolver_new(parent_runtime, NULL, &resolver), -ECHILD);
}

Test(errors_system, of_resolvers)
{
    filch_resolver_opts opts = {.threads_max = 1};
    filch_resolver *resolver;
    filch_runtime *rt = start_runtime(1);

    SAYS(MEMORY, filch_resolver_new(rt, NULL, &resolver), -ENOMEM);
    parent_runtime = rt;
    in_child(resolve_in_child);
    T_OK(filch_resolver_new(rt, &opts, &resolver));
    filch_resolver_free(resolver);
    stop_runtime(rt);
}

Test(errors_system, of_runtimes_with_too_few_threads)
{
    const filch_runtime_opts few = {.workers = 1, .blocking_threads = 1};
    filch_runtime *rt = test_start(&few);
    filch_resolver *resolver;

    T_IS(filch_resolver_new(rt, NULL, &resolver), -ENOSPC);
    T_OK(filch_runtime_shutdown(rt, T_LIMIT));
}

static int asks_cancelled(void *arg)
{
    filch_dns_addrs addrs;
    filch_tcp *conn;

    (void)arg;
    T_OK(filch_task_cancel(filch_task_self()));
    T_IS(filch_dns_lookup(NULL, "no.example", 1, FILCH_DNS_ANY, &addrs, T_LIMIT), -ECANCELED);
    T_IS(filch_tcp_connect_host("no.example", 1, NULL, &conn, T_LIMIT), -ECANCELED);
    return 0;
}

static int names_body(void *arg)
{
    filch_dns_addrs a;

    (void)arg;
    SAYS(THREAD, filch_dns_lookup(NULL, "no.example", 1, FILCH_DNS_ANY, &a, T_LIMIT), -EAGAIN);
    T_IS(filch_dns_lookup(NULL, "no.example", 1, FILCH_DNS_ANY, &a, FILCH_NOW), -ETIMEDOUT);
    return join(spawn(asks_cancelled, NULL));
}

Test(errors_system, of_names_in_tasks)
{
    T_OK(run_in_runtime(1, names_body, NULL));
}

/* ---- a runtime that stops ---- */

/* Cancelled by that, but shielded. */
static int starts_more(void *arg)
{
    filch_process_output output;
    filch_process *process;
    filch_dns_addrs a;

    (void)arg;
    T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    FILCH_SHIELD(T_LIMIT)
    {
        T_IS(filch_process_spawn(ARGV("true"), NULL, &process, T_LIMIT), -ESHUTDOWN);
        T_IS(filch_process_run(ARGV("true"), NULL, &output, T_LIMIT), -ESHUTDOWN);
        T_IS(filch_dns_lookup(NULL, "no.example", 1, FILCH_DNS_ANY, &a, T_LIMIT), -ESHUTDOWN);
    }
    return 0;
}

Test(errors_system, of_a_runtime_that_stops)
{
    filch_runtime *rt = start_runtime(0);

    T_OK(filch_runtime_spawn(rt, starts_more, NULL, NULL, NULL));
    stop_runtime(rt);
}

/* ---- inherited sockets ---- */

static void inherit(void)
{
    char text[FILCH_ADDR_BYTES], own[16];
    int listening = raw_bind(text);
    filch_listener *listener;

    T_OK(listen(listening, 5));
    T_IS(dup2(listening, 3), 3);
    snprintf(own, sizeof own, "%d", (int)getpid());
    T_OK(setenv("LISTEN_PID", own, 1));
    T_OK(setenv("LISTEN_FDS", "1", 1));
    SAYS(MEMORY, filch_inherited_listener(NULL, &listener), -ENOMEM);
    T_OK(filch_inherited_listener(NULL, &listener)); /* it was put back */
    T_OK(filch_listener_close(listener));
}

Test(errors_system, of_memory_for_what_is_inherited)
{
    in_child(inherit);
}
