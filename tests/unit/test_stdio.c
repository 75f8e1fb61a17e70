/* Description: standard input and output as files: pipes and terminals under the process's own
 * numbers. Waiting holds no worker, ends by time, cancel and close; the descriptors, and how others
 * see them, stay as they are. Also: files as readers and writers. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(stdio, .timeout = 60);

/* A terminal: what is typed at @keys comes out of @screen. Both in blocking mode. */
static void make_terminal(int *ret_keys, int *ret_screen)
{
    struct termios raw;
    int keys = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

    T_CHECK(keys >= 0);
    T_OK(grantpt(keys));
    T_OK(unlockpt(keys));
    *ret_screen = open(ptsname(keys), O_RDWR | O_NOCTTY | O_CLOEXEC);
    T_CHECK(*ret_screen >= 0);
    T_OK(tcgetattr(*ret_screen, &raw));
    cfmakeraw(&raw);
    T_OK(tcsetattr(*ret_screen, TCSANOW, &raw));
    *ret_keys = keys;
}

static int read_it(void *file)
{
    char byte = 0;
    ssize_t n = filch_file_read(file, &byte, 1, FILCH_NEVER);

    return n == 1 ? byte : n < 0 ? (int)n : -EPIPE;
}

/* @fd: the other side of what is standard input now. */
static int input_body(void *arg)
{
    int fd = *(int *)arg, flags = fcntl(STDIN_FILENO, F_GETFL);
    filch_file *in;
    filch_task *reader;
    char buf[8];
    int r;

    T_OK(filch_file_stdio(STDIN_FILENO, &in));
    T_IS(filch_file_read(in, buf, 1, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_file_read(in, buf, 1, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    reader = spawn(read_it, in);
    let_others_run(); /* it holds nobody up, also on one worker */
    T_OK(filch_task_cancel(reader));
    T_IS(join(reader), -ECANCELED);
    reader = spawn(read_it, in);
    let_others_run();
    T_IS(write(fd, "x", 1), 1);
    T_IS(join(reader), 'x');
    T_IS(write(fd, "hello", 5), 5);
    T_IS(filch_file_read(in, buf, sizeof buf, T_LIMIT), 5);
    reader = spawn(read_it, in);
    let_others_run();
    T_OK(filch_file_close(in));
    r = join(reader);
    T_CHECK(r == -ECANCELED || r == -EBADF); /* it waited, or came too late */
    /* It is there, and in the same mode. */
    T_IS(fcntl(STDIN_FILENO, F_GETFL), flags);
    T_IS(write(fd, "y", 1), 1);
    T_IS(read(STDIN_FILENO, buf, 1), 1);
    T_IS(buf[0], 'y');
    return 0;
}

static void with_input(int fd, int other)
{
    int saved = dup(STDIN_FILENO);

    T_IS(dup2(fd, STDIN_FILENO), STDIN_FILENO);
    T_OK(run_in_runtime(1, input_body, &other));
    T_IS(dup2(saved, STDIN_FILENO), STDIN_FILENO);
    T_OK(close(saved));
    T_OK(close(fd));
    T_OK(close(other));
}

Test(stdio, input_from_a_pipe)
{
    int ends[2];

    T_OK(pipe2(ends, O_CLOEXEC));
    with_input(ends[0], ends[1]);
}

Test(stdio, input_from_a_terminal)
{
    int keys, screen;

    make_terminal(&keys, &screen);
    with_input(screen, keys);
}

/* As a shell that shares the terminal may leave it. */
Test(stdio, input_from_a_terminal_that_somebody_made_nonblocking)
{
    int keys, screen;

    make_terminal(&keys, &screen);
    T_OK(fcntl(screen, F_SETFL, O_RDWR | O_NONBLOCK));
    with_input(screen, keys);
}

/* A task that reads standard input does not hold the shutdown up. */
static int read_forever(void *unused)
{
    filch_file *in;
    int r;

    (void)unused;
    T_OK(filch_file_stdio(STDIN_FILENO, &in));
    r = read_it(in);
    T_OK(filch_file_close(in));
    return r;
}

Test(stdio, shutdown_ends_who_reads_a_terminal)
{
    int keys, screen, saved = dup(STDIN_FILENO);
    filch_runtime *rt;
    filch_task *reader;
    int result = 0;

    make_terminal(&keys, &screen);
    T_IS(dup2(screen, STDIN_FILENO), STDIN_FILENO);
    rt = start_runtime(0);
    T_OK(filch_runtime_spawn(rt, read_forever, NULL, NULL, &reader));
    stop_runtime(rt);
    T_OK(filch_task_join(reader, &result, FILCH_NOW));
    T_IS(result, -ECANCELED);
    T_IS(dup2(saved, STDIN_FILENO), STDIN_FILENO);
    close(saved);
    close(keys);
    close(screen);
}

/* Output that nobody reads: the writer waits, its worker does not. */
static int output_body(void *arg)
{
    int ends[2], saved = dup(STDOUT_FILENO);
    char block[4096] = {0};
    filch_file *out;
    size_t done = 0;
    ssize_t n;
    int r;

    (void)arg;
    T_OK(pipe2(ends, O_CLOEXEC));
    T_IS(dup2(ends[1], STDOUT_FILENO), STDOUT_FILENO);
    T_OK(filch_file_stdio(STDOUT_FILENO, &out));
    do {
        n = filch_file_write(out, block, sizeof block, filch_after(FILCH_MILLISECOND));
        done += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    T_IS(n, -ETIMEDOUT);
    T_IS(done, fcntl(ends[0], F_GETPIPE_SZ));
    close(ends[0]);
    T_IS(filch_file_write(out, block, 1, T_LIMIT), -EPIPE); /* and no SIGPIPE */
    T_OK(filch_file_close(out));
    T_IS(dup2(saved, STDOUT_FILENO), STDOUT_FILENO);
    close(saved);
    close(ends[1]);
    r = filch_file_stdio(3, &out);
    T_IS(r, -EINVAL);
    return 0;
}

Test(stdio, output_that_nobody_reads)
{
    T_OK(run_in_runtime(1, output_body, NULL));
}

/* ---- as readers and writers ---- */

static int io_body(void *arg)
{
    filch_file *file;
    filch_writer writer;
    filch_reader reader;
    char buf[8];

    (void)arg;
    T_OK(filch_file_temp(NULL, &file, T_LIMIT));
    writer = filch_file_writer(file);
    reader = filch_file_reader(file);
    T_IS(writer.write(writer.context, "abc", 3, T_LIMIT), 3);
    T_IS(reader.read(reader.context, buf, sizeof buf, T_LIMIT), 0);
    T_OK(filch_file_seek(file, 1, SEEK_SET, NULL));
    T_IS(reader.read(reader.context, buf, sizeof buf, T_LIMIT), 2);
    T_CHECK(memcmp(buf, "bc", 2) == 0);
    T_CHECK(writer.finish == NULL);
    T_OK(filch_file_close(file));
    T_IS(reader.read(reader.context, buf, 1, T_LIMIT), -EBADF);
    return 0;
}

Test(stdio, files_are_readers_and_writers)
{
    T_OK(run_in_runtime(0, io_body, NULL));
    T_OK(io_body(NULL));
}
