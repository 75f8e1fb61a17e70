/* Description: errors that <filch/io.h>, <filch/duplex.h> and <filch/fd.h> promise and that other
 * tests have no cause to provoke: of calls that would wait, past their time and in a cancelled
 * task, and of readers and writers that fail. */
#include <fcntl.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(errors_bytes, .timeout = 60);

/* ---- streams in memory, and functions on top of them ---- */

/* Nothing can be read from it, and nothing fits into it. */
static filch_duplex *stuck(filch_duplex **ret_other)
{
    filch_duplex *end;

    T_OK(filch_duplex_new(1, &end, ret_other));
    T_IS(filch_duplex_write(end, "x", 1, FILCH_NOW), 1);
    return end;
}

/* Nobody waits longer than that, and nothing has happened then. */
static int late_body(void *arg)
{
    filch_duplex *other, *end = stuck(&other);
    filch_io io = filch_duplex_io(end);
    char bytes[2], *data = NULL;
    size_t done = 0;

    (void)arg;
    T_IS(filch_read_exact(io.reader, bytes, 2, NULL, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_read_to_end(io.reader, 9, &data, &done, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_write_all(io.writer, bytes, 2, NULL, FILCH_NOW), -ETIMEDOUT);
    T_IS(done, 0);
    free(data);
    filch_duplex_free(end);
    filch_duplex_free(other);
    return 0;
}

static int cancelled_body(void *arg)
{
    filch_duplex *other, *end = stuck(&other);
    filch_io io = filch_duplex_io(end);
    char bytes[2], *data = NULL;
    size_t done = 0;

    (void)arg;
    T_OK(filch_task_cancel(filch_task_self()));
    T_IS(filch_duplex_read(end, bytes, 1, T_LIMIT), -ECANCELED);
    T_IS(filch_duplex_write(end, bytes, 1, T_LIMIT), -ECANCELED);
    T_IS(filch_read_exact(io.reader, bytes, 2, NULL, T_LIMIT), -ECANCELED);
    T_IS(filch_read_to_end(io.reader, 9, &data, &done, T_LIMIT), -ECANCELED);
    T_IS(filch_write_all(io.writer, bytes, 2, NULL, T_LIMIT), -ECANCELED);
    T_IS(done, 0);
    free(data);
    filch_duplex_free(end);
    filch_duplex_free(other);
    return 0;
}

Test(errors_bytes, calls_that_would_wait)
{
    T_OK(late_body(NULL));
    T_OK(run_in_runtime(0, late_body, NULL));
    T_OK(run_in_runtime(0, cancelled_body, NULL));
}

/* The first byte, and then an error. */
static ssize_t read_and_fail(void *context, void *buf, size_t bytes, filch_time until)
{
    bool *failed = context;

    (void)until;
    if (*failed || !bytes)
        return -EPIPE;
    *failed = true;
    *(char *)buf = 'a';
    return 1;
}

Test(errors_bytes, readers_and_writers_that_fail)
{
    bool failed = false;
    filch_reader reader = {.read = read_and_fail, .context = &failed};
    filch_duplex *other, *end;
    char *data = NULL;
    size_t done = 0;

    T_IS(filch_read_to_end(reader, 9, &data, &done, FILCH_NEVER), -EPIPE);
    T_IS(done, 1);
    T_IS(data[0], 'a');
    free(data);
    T_OK(filch_duplex_new(1, &end, &other));
    filch_duplex_free(other);
    T_IS(filch_write_all(filch_duplex_io(end).writer, "ab", 2, NULL, FILCH_NEVER), -EPIPE);
    filch_duplex_free(end);
}

/* ---- descriptors ---- */

static int selected(filch_case c)
{
    int r = filch_select(&c, 1, 0, T_LIMIT);

    return r < 0 ? r : c.result;
}

static int fd_body(void *arg)
{
    int *pipes = arg;
    filch_fd *fd, *old;

    T_OK(filch_fd_borrow(pipes[0], &old));
    T_OK(filch_fd_close(old));
    T_IS(selected(filch_case_fd(old, FILCH_FD_READABLE, NULL)), -EBADF);
    T_OK(filch_fd_borrow(pipes[0], &fd));
    T_OK(filch_task_cancel(filch_task_self()));
    T_IS(filch_fd_wait(fd, FILCH_FD_READABLE, NULL, T_LIMIT), -ECANCELED);
    T_IS(filch_fd_poll(pipes[0], FILCH_FD_READABLE, NULL, T_LIMIT), -ECANCELED);
    return filch_fd_close(fd);
}

Test(errors_bytes, descriptors)
{
    int pipes[2];

    T_OK(pipe2(pipes, O_CLOEXEC));
    T_OK(run_in_runtime(0, fd_body, pipes));
    close(pipes[0]);
    close(pipes[1]);
}
