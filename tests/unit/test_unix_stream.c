/* Description: streams of Unix connections: every byte once and in order, whatever gives up in
 * between; the end behind the bytes; closes of either; descriptors that nobody asked for. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(unix_stream, .timeout = 60);

enum { BYTES = 300000 };

static char byte_at(size_t at)
{
    return (char)(at * 31 + at / 251);
}

static int sends(void *arg)
{
    char buf[1999];

    for (size_t at = 0; at < BYTES;) {
        size_t n = 1 + at * 7 % sizeof buf;

        n = n < BYTES - at ? n : BYTES - at;
        for (size_t i = 0; i < n; i++)
            buf[i] = byte_at(at + i);
        T_OK(filch_unix_write_all(arg, buf, n, NULL, T_LIMIT));
        at += n;
        if (at % 5 == 0)
            filch_task_yield();
    }
    return filch_unix_shutdown_write(arg);
}

/* By views and by copies in turn; calls that give up in between lose nothing. */
static int reads_all(void *arg)
{
    filch_unix *a, *b;
    filch_unix_stream *in;
    filch_task *sender;
    filch_view view;
    char buf[100];
    ssize_t n;

    (void)arg;
    T_OK(filch_unix_pair(&a, &b));
    T_OK(filch_unix_stream_open(b, NULL, &in));
    T_IS(filch_unix_stream_fill(in, &view, FILCH_NOW), -ETIMEDOUT);
    sender = spawn(sends, a);
    for (size_t at = 0, turn = 0;; turn++) {
        filch_time until = turn % 3 == 1 ? FILCH_NOW : T_LIMIT;
        const char *bytes = buf;

        if (turn % 2) {
            n = filch_unix_stream_fill(in, &view, until);
            bytes = n > 0 ? view.data : NULL;
            n = n > 999 ? 999 : n;
        } else {
            n = filch_unix_stream_read(in, buf, sizeof buf, until);
        }
        if (n == -ETIMEDOUT && until == FILCH_NOW)
            continue;
        T_CHECK(n >= 0);
        for (ssize_t i = 0; i < n; i++)
            T_IS(bytes[i], byte_at(at + (size_t)i));
        if (turn % 2 && n > 0)
            T_OK(filch_unix_stream_consume(in, (size_t)n));
        at += (size_t)n;
        if (n == 0) {
            T_IS(at, BYTES);
            break;
        }
    }
    T_OK(join(sender));
    T_OK(filch_unix_stream_close(in));
    /* The connection stays, in both directions but the one that was ended. */
    T_IS(filch_unix_write(b, "x", 1, T_LIMIT), 1);
    T_IS(filch_unix_read(a, buf, 1, T_LIMIT), 1);
    T_OK(filch_unix_close(a));
    T_OK(filch_unix_close(b));
    return 0;
}

Test(unix_stream, every_byte_once_and_in_order)
{
    T_OK(run_in_runtime(0, reads_all, NULL));
}

static int reads_one(void *arg)
{
    char byte;

    return (int)filch_read_exact(filch_unix_stream_reader(arg), &byte, 1, NULL, T_LIMIT);
}

static int ends(void *arg)
{
    filch_unix *a, *b;
    filch_unix_stream *in;
    filch_task *task;
    filch_view view;
    int fds[2], r;

    (void)arg;
    /* A cancel, and what comes afterwards. */
    T_OK(filch_unix_pair(&a, &b));
    T_OK(filch_unix_stream_open(b, NULL, &in));
    task = spawn(reads_one, in);
    let_others_run();
    T_OK(filch_task_cancel(task));
    T_IS(join(task), -ECANCELED);
    T_IS(filch_unix_write(a, "y", 1, T_LIMIT), 1);
    T_IS(reads_one(in), 0);
    /* Descriptors are closed: the pipe has no other reader left. */
    T_OK(pipe2(fds, O_CLOEXEC | O_NONBLOCK));
    T_IS(filch_unix_send_fds(a, "z", 1, &fds[1], 1, T_LIMIT), 1);
    T_OK(close(fds[1]));
    T_IS(filch_unix_stream_fill(in, &view, T_LIMIT), 1);
    T_IS(view.data[0], 'z');
    T_OK(filch_unix_stream_consume(in, 1));
    T_WAIT_UNTIL(read(fds[0], &(char){0}, 1) == 0);
    T_OK(close(fds[0]));
    /* The connection is closed first. */
    task = spawn(reads_one, in);
    let_others_run();
    T_OK(filch_unix_close(b));
    r = join(task);
    T_CHECK(r == -ECANCELED || r == -EBADF);
    T_IS(filch_unix_stream_fill(in, &view, FILCH_NOW), -EBADF);
    T_OK(filch_unix_stream_close(in));
    T_IS(filch_unix_stream_fill(in, &view, FILCH_NOW), -EBADF);
    T_OK(filch_unix_close(a));
    return 0;
}

Test(unix_stream, cancels_closes_and_descriptors)
{
    T_OK(run_in_runtime(0, ends, NULL));
}
