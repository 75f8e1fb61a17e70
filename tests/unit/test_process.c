/* Description: processes (<filch/process.h>): what a child gets, how its end is told, who may wait,
 * and that nothing is left of it: no zombie, no descriptor. From a task and from a plain thread. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/process.h"
#include "tests/runner/programs.h"
#include "tests/runner/run.h"
#include "tests/runner/temp_dir.h"

TestSuite(process, .timeout = 60, .init = test_starts_programs);

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})
#define SHELL(script) ARGV("sh", "-c", script)

/* Runs @fn in a task, and again in this plain thread. */
static void run_both(filch_fn fn)
{
    cr_assert_eq(run_in_runtime(0, fn, NULL), 0);
    cr_assert_eq(fn(NULL), 0);
}

static filch_process *start(const char *const *argv, const filch_process_opts *opts)
{
    filch_process *process = NULL;

    T_OK(filch_process_spawn(argv, opts, &process, T_LIMIT));
    T_CHECK(process != NULL);
    return process;
}

static filch_process_status finish(filch_process *process)
{
    filch_process_status status;

    T_OK(filch_process_wait(process, &status, T_LIMIT));
    T_OK(filch_process_close(process));
    return status;
}

/* What a program says, by a pipe; it must end well. */
static void expect_output(const char *const *argv, filch_process_opts opts, const char *text)
{
    char buf[512];
    size_t bytes = 0;
    filch_file *out = NULL;
    filch_process *process;
    ssize_t n;

    opts.out = (filch_stdio){.kind = FILCH_STDIO_PIPE, .ret_pipe = &out};
    process = start(argv, &opts);
    while ((n = filch_file_read(out, buf + bytes, sizeof buf - 1 - bytes, T_LIMIT)) > 0)
        bytes += (size_t)n;
    T_OK(n);
    buf[bytes] = '\0';
    T_OK(filch_file_close(out));
    T_OK(finish(process).code);
    if (strcmp(buf, text) != 0)
        fprintf(stderr, "it says \"%s\", not \"%s\"\n", buf, text);
    T_CHECK(strcmp(buf, text) == 0);
}

/* ---- ends ---- */

static int ends_body(void *arg)
{
    filch_process_status status;
    filch_process *process;

    (void)arg;
    status = finish(start(SHELL("exit 7"), NULL));
    T_IS(status.code, 7);
    T_IS(status.signal, 0);
    T_CHECK(status.memory_max_bytes > 0);
    status = finish(start(SHELL("kill -USR1 $$"), NULL));
    T_IS(status.code, -1);
    T_IS(status.signal, SIGUSR1);
    T_CHECK(!status.core_dumped);
    T_OK(finish(start(ARGV("true"), NULL)).code);
    process = start(ARGV("false"), NULL);
    T_CHECK(filch_process_id(process) > 1);
    T_OK(filch_process_wait(process, NULL, T_LIMIT));
    T_OK(filch_process_wait(process, &status, FILCH_NOW)); /* again */
    T_IS(status.code, 1);
    T_IS(filch_process_kill(process, SIGTERM), -ESRCH);
    T_OK(filch_process_close(process));
    T_IS(filch_process_close(process), -EBADF);
    T_IS(filch_process_wait(process, NULL, FILCH_NOW), -EBADF);
    T_IS(filch_process_kill(process, 0), -EBADF);
    T_IS(filch_process_id(process), -EBADF);
    return 0;
}

Test(process, code_and_signal_are_told_as_often_as_asked)
{
    run_both(ends_body);
}

static int refused_body(void *arg)
{
    struct temp_dir dir;
    filch_process *process = NULL;
    filch_file *out = NULL;
    filch_process_opts pipes = {.out = {.kind = FILCH_STDIO_PIPE, .ret_pipe = &out}};
    filch_process_opts wrong = {.cwd = "/does/not/exist"};
    filch_process_opts closed = {.in = {.kind = FILCH_STDIO_FD, .fd = 1000}};
    unsigned before;

    (void)arg;
    temp_dir_make(&dir);
    before = process_files();
    T_IS(filch_process_spawn(ARGV("no-such-program-here"), &pipes, &process, T_LIMIT), -ENOENT);
    T_IS(filch_process_spawn(ARGV("/does/not/exist"), &pipes, &process, T_LIMIT), -ENOENT);
    T_IS(filch_process_spawn(ARGV("true"), &wrong, &process, T_LIMIT), -ENOENT);
    T_IS(filch_process_spawn(ARGV(dir.path), &pipes, &process, T_LIMIT), -EACCES);
    T_OK(filch_write_file(in_dir(&dir, "plain"), "x", 1, 0644, T_LIMIT));
    T_IS(filch_process_spawn(ARGV(in_dir(&dir, "plain")), &pipes, &process, T_LIMIT), -EACCES);
    T_OK(filch_write_file(in_dir(&dir, "odd"), "x", 1, 0755, T_LIMIT));
    T_IS(filch_process_spawn(ARGV(in_dir(&dir, "odd")), &pipes, &process, T_LIMIT), -ENOEXEC);
    T_IS(filch_process_spawn(ARGV("true"), &closed, &process, T_LIMIT), -EBADF);
    T_CHECK(process == NULL && out == NULL);
    T_IS(process_files(), before);
    temp_dir_remove(&dir);
    return 0;
}

Test(process, what_exec_says_is_the_result_and_nothing_is_left)
{
    run_both(refused_body);
}

static int no_descriptors_body(void *arg)
{
    filch_file *out = NULL;
    filch_process_opts opts = {.out = {.kind = FILCH_STDIO_PIPE, .ret_pipe = &out}};
    filch_process *process = NULL;
    struct rlimit old, few;
    unsigned before = process_files();
    int r;

    (void)arg;
    T_OK(filch_process_spawn(ARGV("true"), NULL, &process, T_LIMIT)); /* a thread is there */
    T_OK(finish(process).code);
    process = NULL;
    T_OK(getrlimit(RLIMIT_NOFILE, &old));
    /* More and more of them, until it works: each step has failed in between. */
    few = old;
    few.rlim_cur = 3;
    do {
        T_OK(setrlimit(RLIMIT_NOFILE, &few));
        r = filch_process_spawn(ARGV("true"), &opts, &process, T_LIMIT);
        T_CHECK(r == 0 || (r == -EMFILE && !process && !out));
        T_OK(setrlimit(RLIMIT_NOFILE, &old));
        few.rlim_cur++;
    } while (r < 0);
    T_CHECK(few.rlim_cur > 4);
    T_OK(filch_file_close(out));
    T_OK(finish(process).code);
    T_IS(process_files(), before);
    T_IS(waitpid(-1, NULL, WNOHANG), -1); /* nobody is left */
    return 0;
}

Test(process, each_descriptor_refused)
{
    run_both(no_descriptors_body);
}

/* ---- what it gets ---- */

static int pipes_body(void *arg)
{
    filch_file *in = NULL, *out = NULL;
    filch_process *cat = start(ARGV("cat"), &(filch_process_opts){
                                                .in = {.kind = FILCH_STDIO_PIPE, .ret_pipe = &in},
                                                .out = {.kind = FILCH_STDIO_PIPE, .ret_pipe = &out},
                                            });
    char buf[8];

    (void)arg;
    for (int i = 0; i < 3; i++) {
        T_OK(filch_file_write_all(in, "hello", 5, NULL, T_LIMIT));
        T_IS(filch_file_read(out, buf, sizeof buf, T_LIMIT), 5);
    }
    T_IS(filch_file_read(out, buf, sizeof buf, FILCH_NOW), -ETIMEDOUT);
    T_OK(filch_file_close(in));
    T_IS(filch_file_read(out, buf, sizeof buf, T_LIMIT), 0);
    T_OK(filch_file_close(out));
    T_OK(finish(cat).code);
    return 0;
}

Test(process, pipes_go_both_ways_and_end)
{
    run_both(pipes_body);
}

static int place_body(void *arg)
{
    static const char *const env[] = {"ANIMAL=newt", NULL};
    struct temp_dir dir;
    filch_file *file;
    char expected[96];
    char content[32] = "";

    (void)arg;
    temp_dir_make(&dir);
    snprintf(expected, sizeof expected, "%s\n", dir.path);
    expect_output(ARGV("pwd"), (filch_process_opts){.program = "/bin/pwd", .cwd = dir.path},
                  expected);
    expect_output(ARGV("env"), (filch_process_opts){.env = env}, "ANIMAL=newt\n");
    expect_output(ARGV("a name", "-c", "echo $0; echo lost >&2"),
                  (filch_process_opts){.program = "sh", .err = {.kind = FILCH_STDIO_NULL}},
                  "a name\n");
    expect_output(SHELL("echo one; echo two >&2"),
                  (filch_process_opts){.err = {.kind = FILCH_STDIO_OUTPUT}}, "one\ntwo\n");
    T_OK(filch_file_open(in_dir(&dir, "f"), O_RDWR | O_CREAT, 0644, &file, T_LIMIT));
    T_OK(finish(start(SHELL("echo kept"),
                      &(filch_process_opts){.out = {.kind = FILCH_STDIO_FILE, .file = file}}))
             .code);
    T_IS(filch_file_pread(file, content, sizeof content, 0, T_LIMIT), 5);
    T_CHECK(strcmp(content, "kept\n") == 0);
    T_OK(filch_file_close(file));
    temp_dir_remove(&dir);
    return 0;
}

Test(process, directory_environment_names_and_files)
{
    run_both(place_body);
}

static int fds_body(void *arg)
{
    int ends[2], more[2];
    filch_process_fd swapped[2], far;

    (void)arg;
    T_OK(pipe2(ends, O_CLOEXEC));
    T_OK(pipe(more)); /* which fork(2) and exec(2) would leave to it */
    T_IS(write(ends[1], "x", 1), 1);
    swapped[0] = (filch_process_fd){.from = ends[0], .to = 4};
    swapped[1] = (filch_process_fd){.from = ends[1], .to = 3};
    expect_output(
        SHELL("head -c 1 <&4; printf y >&3; head -c 1 <&4; ls /proc/$$/fd"),
        (filch_process_opts){.in = {.kind = FILCH_STDIO_NULL}, .fds = swapped, .fd_count = 2},
        "xy0\n1\n2\n3\n4\n");
    /* Each in the place of the other. */
    swapped[0] = (filch_process_fd){.from = ends[0], .to = ends[1]};
    swapped[1] = (filch_process_fd){.from = ends[1], .to = ends[0]};
    T_OK(finish(start(SHELL("ls /proc/$$/fd >/dev/null"),
                      &(filch_process_opts){.fds = swapped, .fd_count = 2}))
             .code);
    far = (filch_process_fd){.from = ends[0], .to = 200};
    expect_output(SHELL("ls /proc/$$/fd"), (filch_process_opts){.fds = &far, .fd_count = 1},
                  "0\n1\n2\n200\n");
    T_OK(finish(start(SHELL("exec 9>/dev/null; test -e /proc/$$/fd/9"),
                      &(filch_process_opts){.flags = FILCH_PROCESS_INHERIT_FDS}))
             .code);
    for (int i = 0; i < 2; i++) {
        T_OK(close(ends[i]));
        T_OK(close(more[i]));
    }
    return 0;
}

Test(process, a_child_has_the_descriptors_that_are_named_and_no_others)
{
    run_both(fds_body);
}

static int signals_body(void *arg)
{
    sighandler_t pipe_action = signal(SIGPIPE, SIG_IGN), usr1 = signal(SIGUSR1, SIG_IGN);
    /* Ignored by what a shell starts in the background, or nohup(1) anywhere. */
    sighandler_t interrupt = signal(SIGINT, SIG_DFL), quit = signal(SIGQUIT, SIG_DFL);
    sighandler_t hangup = signal(SIGHUP, SIG_DFL);
    sigset_t some, old;

    (void)arg;
    sigemptyset(&some);
    sigaddset(&some, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &some, &old);
    expect_output(ARGV("sed", "-nE", "s/^Sig(Blk|Ign):.*(.{7})$/\\1 \\2/p", "/proc/self/status"),
                  (filch_process_opts){0}, "Blk 0000000\nIgn 0000200\n");
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    signal(SIGPIPE, pipe_action);
    signal(SIGUSR1, usr1);
    signal(SIGINT, interrupt);
    signal(SIGQUIT, quit);
    signal(SIGHUP, hangup);
    return 0;
}

Test(process, no_signal_is_blocked_or_ignored_that_was_not)
{
    run_both(signals_body);
}

static int groups_body(void *arg)
{
    filch_file *in = NULL;
    filch_process_opts opts = {.in = {.kind = FILCH_STDIO_PIPE, .ret_pipe = &in}};
    filch_process *process, *second;
    int id;

    (void)arg;
    process = start(ARGV("cat"), &opts);
    T_IS(getpgid(filch_process_id(process)), getpgid(0));
    T_IS(filch_process_kill_group(process, SIGTERM), -EINVAL);
    T_OK(filch_file_close(in));
    T_OK(finish(process).code);
    opts.flags = FILCH_PROCESS_NEW_SESSION;
    process = start(ARGV("cat"), &opts);
    id = filch_process_id(process);
    T_IS(getsid(id), id);
    T_OK(filch_process_kill_group(process, SIGKILL));
    T_IS(finish(process).signal, SIGKILL);
    T_OK(filch_file_close(in));
    opts.flags = FILCH_PROCESS_NEW_GROUP;
    process = start(ARGV("sleep", "1000"), &opts);
    T_OK(filch_file_close(in));
    id = filch_process_id(process);
    T_IS(getpgid(id), id);
    opts = (filch_process_opts){.group = id};
    second = start(ARGV("sleep", "1000"), &opts);
    T_IS(getpgid(filch_process_id(second)), id);
    T_OK(filch_process_kill_group(process, SIGTERM));
    T_IS(finish(process).signal, SIGTERM);
    T_IS(finish(second).signal, SIGTERM);
    return 0;
}

Test(process, groups_and_sessions)
{
    run_both(groups_body);
}

/* ---- waiting ---- */

static int wait_for_it(void *process)
{
    filch_process_status status = {0};
    int r = filch_process_wait(process, &status, FILCH_NEVER);

    return r < 0 ? r : status.code;
}

static int waiting_body(void *arg)
{
    filch_file *in = NULL;
    filch_process *process =
        start(SHELL("read x; exit 9"),
              &(filch_process_opts){.in = {.kind = FILCH_STDIO_PIPE, .ret_pipe = &in}});
    filch_task *waiters[5];
    int number;

    (void)arg;
    T_IS(filch_process_wait(process, NULL, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_process_wait(process, NULL, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_process(process)), -ETIMEDOUT);
    for (int i = 0; i < 5; i++)
        waiters[i] = spawn(wait_for_it, process);
    let_others_run();
    T_OK(filch_task_cancel(waiters[0])); /* the status is not lost with it */
    T_IS(join(waiters[0]), -ECANCELED);
    T_OK(filch_file_write_all(in, "\n", 1, NULL, T_LIMIT));
    T_IS(FILCH_SELECT_RESULT(&number, T_LIMIT, filch_case_process(process)), 0);
    T_OK(number);
    for (int i = 1; i < 5; i++)
        T_IS(join(waiters[i]), 9);
    T_OK(filch_file_close(in));
    T_IS(finish(process).code, 9);
    return 0;
}

Test(process, all_who_wait_get_the_status_and_a_cancelled_wait_loses_nothing)
{
    T_OK(run_in_runtime(0, waiting_body, NULL));
}

static int closing_body(void *arg)
{
    filch_process *process =
        start(ARGV("sleep", "1000"), &(filch_process_opts){.flags = FILCH_PROCESS_KILL_ON_CLOSE});
    filch_task *waiter = spawn(wait_for_it, process);
    int r;

    (void)arg;
    let_others_run();
    T_OK(filch_process_close(process));
    r = join(waiter);
    T_CHECK(r == -ECANCELED || r == -EBADF); /* it waited, or came too late */
    return 0;
}

Test(process, close_ends_the_calls_that_wait)
{
    T_OK(run_in_runtime(0, closing_body, NULL));
}

/* ---- nothing is left ---- */

static void await_gone(int id)
{
    T_WAIT_UNTIL(kill(id, 0) < 0 && errno == ESRCH);
}

static int dropped_body(void *arg)
{
    filch_file *in[3] = {NULL};
    filch_process *process;
    int ids[3], killed;
    unsigned before = process_files();

    (void)arg;
    for (int i = 0; i < 3; i++) {
        process =
            start(ARGV("cat"),
                  &(filch_process_opts){.in = {.kind = FILCH_STDIO_PIPE, .ret_pipe = &in[i]}});
        ids[i] = filch_process_id(process);
        T_OK(filch_process_close(process));
        T_OK(kill(ids[i], 0)); /* it runs on */
    }
    process =
        start(ARGV("sleep", "1000"), &(filch_process_opts){.flags = FILCH_PROCESS_KILL_ON_CLOSE});
    killed = filch_process_id(process);
    T_OK(filch_process_close(process));
    await_gone(killed);
    for (int i = 0; i < 3; i++) {
        T_OK(kill(ids[i], 0));
        T_OK(filch_file_close(in[i]));
        await_gone(ids[i]);
    }
    T_WAIT_UNTIL(process_files() == before);
    /* One that has ended, and nobody has waited for. */
    process = start(ARGV("true"), NULL);
    killed = filch_process_id(process);
    T_IS(FILCH_SELECT(T_LIMIT, filch_case_at(FILCH_NEVER),
                      filch_case_if(filch_task_self() != NULL, filch_case_process(process)),
                      filch_case_if(filch_task_self() == NULL, filch_case_at(FILCH_NOW))),
         filch_task_self() ? 1 : 2);
    T_OK(filch_process_close(process));
    await_gone(killed);
    return 0;
}

Test(process, no_zombie_is_left_of_one_that_nobody_waits_for)
{
    run_both(dropped_body);
}

static int others_body(void *arg)
{
    int status, other = fork();

    (void)arg;
    if (other == 0)
        _exit(5);
    T_CHECK(other > 0);
    for (int i = 0; i < 3; i++)
        T_OK(finish(start(ARGV("true"), NULL)).code);
    T_IS(waitpid(other, &status, 0), other);
    T_IS(WEXITSTATUS(status), 5);
    return 0;
}

Test(process, children_of_others_are_left_alone)
{
    run_both(others_body);
}

static int taken_body(void *arg)
{
    filch_process *process = start(ARGV("true"), NULL);
    sighandler_t old;

    (void)arg;
    T_IS(waitpid(filch_process_id(process), NULL, 0), filch_process_id(process));
    T_IS(filch_process_wait(process, NULL, T_LIMIT), -ECHILD);
    T_IS(filch_process_wait(process, NULL, T_LIMIT), -ECHILD);
    T_IS(filch_process_kill(process, SIGTERM), -ESRCH);
    T_OK(filch_process_close(process));
    old = signal(SIGCHLD, SIG_IGN);
    process = NULL;
    T_IS(filch_process_spawn(ARGV("true"), NULL, &process, T_LIMIT), -ECHILD);
    T_CHECK(process == NULL);
    signal(SIGCHLD, old);
    return 0;
}

Test(process, a_status_that_somebody_else_takes_is_an_error_and_no_hang)
{
    run_both(taken_body);
}

/* ---- in one call ---- */

static void free_output(filch_process_output *output)
{
    free(output->out);
    free(output->err);
}

static int run_body(void *arg)
{
    const size_t bytes = (size_t)1 << 20;
    char *input = malloc(bytes);
    filch_process_output output = {0};
    filch_process_run_opts opts = {.input = "b\na\n", .input_bytes = 4};

    (void)arg;
    T_OK(filch_process_run(ARGV("sort"), &opts, &output, T_LIMIT));
    T_OK(output.status.code);
    T_IS(output.out_bytes, 4);
    T_CHECK(strcmp(output.out, "a\nb\n") == 0 && strcmp(output.err, "") == 0);
    free_output(&output);
    T_OK(filch_process_run(SHELL("echo no >&2; exit 3"), NULL, &output, T_LIMIT));
    T_IS(output.status.code, 3);
    T_CHECK(strcmp(output.err, "no\n") == 0 && output.out_bytes == 0);
    free_output(&output);
    /* More than the pipes hold, in both directions at once. */
    memset(input, 'x', bytes);
    opts = (filch_process_run_opts){.input = input, .input_bytes = bytes};
    T_OK(filch_process_run(ARGV("cat"), &opts, &output, T_LIMIT));
    T_IS(output.out_bytes, bytes);
    T_CHECK(memcmp(output.out, input, bytes) == 0);
    free_output(&output);
    T_OK(filch_process_run(ARGV("true"), &opts, &output, T_LIMIT)); /* reads nothing */
    free_output(&output);
    opts.output_max = bytes - 1;
    T_IS(filch_process_run(ARGV("cat"), &opts, &output, T_LIMIT), -EFBIG);
    T_IS(filch_process_run(ARGV("no-such-program-here"), NULL, &output, T_LIMIT), -ENOENT);
    free(input);
    return 0;
}

Test(process, a_program_in_one_call)
{
    T_OK(run_in_runtime(0, run_body, NULL));
    filch_process_output output;
    T_IS(filch_process_run(ARGV("true"), NULL, &output, FILCH_NEVER), -EPERM);
}

static int read_number(const char *path)
{
    void *data = NULL;
    int number = 0;

    if (filch_read_file(path, 0, &data, NULL, FILCH_NEVER) == 0)
        number = atoi(data);
    free(data);
    return number;
}

static int endless(void *arg)
{
    filch_process_output output;
    filch_process_run_opts *opts = arg;

    return filch_process_run(SHELL("sleep 1000 & echo $! >grandchild; wait"), opts, &output,
                             FILCH_NEVER);
}

static int early_body(void *arg)
{
    struct temp_dir dir;
    filch_process_output output;
    filch_process_run_opts opts = {.process = {.flags = FILCH_PROCESS_NEW_GROUP, .cwd = dir.path}};
    filch_task *task;
    int id;

    (void)arg;
    temp_dir_make(&dir);
    T_IS(filch_process_run(ARGV("sleep", "1000"), NULL, &output, filch_after(FILCH_MILLISECOND)),
         -ETIMEDOUT);
    T_IS(filch_process_run(ARGV("sleep", "1000"), NULL, &output, FILCH_NOW), -ETIMEDOUT);
    /* It holds its outputs longer than the program does: both are ended. */
    task = spawn(endless, &opts);
    T_WAIT_UNTIL((id = read_number(in_dir(&dir, "grandchild"))) > 0);
    T_OK(filch_task_cancel(task));
    T_IS(join(task), -ECANCELED);
    /* Asked first, it may say something on its way. */
    opts.grace_ns = 20 * FILCH_SECOND;
    T_IS(filch_process_run(SHELL("trap 'echo bye >bye; exit' TERM; echo >ready; "
                                 "while :; do sleep 0.01; done"),
                           &opts, &output, filch_after(300 * FILCH_MILLISECOND)),
         -ETIMEDOUT);
    T_CHECK(access(in_dir(&dir, "ready"), F_OK) < 0 || access(in_dir(&dir, "bye"), F_OK) == 0);
    temp_dir_remove(&dir);
    await_gone(id);
    return 0;
}

Test(process, a_program_that_must_end_early_is_ended_with_its_group)
{
    T_OK(run_in_runtime(0, early_body, NULL));
}
