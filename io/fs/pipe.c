/* Pipes are files of which each end is one: see file.c, move.c. */
#include <filch/pipe.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "io/fs/call.h"

static int wrap(const int *fds, filch_file **ret_reader, filch_file **ret_writer)
{
    filch_file *reader;
    int r = filch__pipe_wrap(fds[0], O_RDONLY, &reader);

    if (r < 0) {
        close(fds[0]);
        close(fds[1]);
        return r;
    }
    r = filch__pipe_wrap(fds[1], O_WRONLY, ret_writer);
    if (r < 0) {
        (void)filch_file_close(reader);
        close(fds[1]);
        return r;
    }
    *ret_reader = reader;
    return 0;
}

int filch_pipe(size_t bytes, filch_file **ret_reader, filch_file **ret_writer)
{
    int fds[2], r;

    if (!ret_reader || !ret_writer || bytes > INT_MAX)
        return -EINVAL;
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    if (bytes && fcntl(fds[1], F_SETPIPE_SZ, (int)bytes) < 0) {
        r = -errno;
        close(fds[0]);
        close(fds[1]);
        return r;
    }
    return wrap(fds, ret_reader, ret_writer);
}
