/* Pipes, files and paths: see conformance.h. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filch/file.h>
#include <filch/pipe.h>

#include "tests/conformance/conformance.h"

struct ends {
    filch_file *reader, *writer;
};

/* ---- pipes and files ---- */

static int read_pipe(void *arg)
{
    struct ends *ends = arg;
    char buf[16];

    return (int)filch_file_read(ends->reader, buf, sizeof buf, FILCH_NEVER);
}

static long pipe_ok(struct place *p)
{
    struct ends ends;
    filch_task *task;
    long r;

    (void)p;
    T_OK(filch_pipe(0, &ends.reader, &ends.writer));
    task = spawn(read_pipe, &ends);
    let_it_wait();
    T_IS(filch_file_write(ends.writer, "abcd", 4, T_LIMIT), 4);
    r = join(task);
    T_OK(filch_file_close(ends.writer));
    T_IS(read_pipe(&ends), 0);
    T_OK(filch_file_close(ends.reader));
    return r;
}

static long pipe_cancelled(struct place *p)
{
    struct ends ends;
    long r;

    (void)p;
    T_OK(filch_pipe(0, &ends.reader, &ends.writer));
    r = cancelled_meanwhile(read_pipe, &ends);
    T_OK(filch_file_close(ends.writer));
    T_OK(filch_file_close(ends.reader));
    return r;
}

static long pipe_cancelled_before(struct place *p)
{
    struct ends ends;
    long r;

    (void)p;
    T_OK(filch_pipe(0, &ends.reader, &ends.writer));
    r = cancelled_before(read_pipe, &ends);
    T_OK(filch_file_close(ends.writer));
    T_OK(filch_file_close(ends.reader));
    return r;
}

/* Return: what the read said that found nothing. */
static long read_empty_pipe(filch_time until)
{
    struct ends ends;
    char byte;
    long r;

    T_OK(filch_pipe(0, &ends.reader, &ends.writer));
    r = filch_file_read(ends.reader, &byte, 1, until);
    T_IS(filch_file_write(ends.writer, "abcd", 4, T_LIMIT), 4);
    T_IS(read_pipe(&ends), 4); /* and nothing was lost */
    T_OK(filch_file_close(ends.writer));
    T_OK(filch_file_close(ends.reader));
    return r;
}

static long pipe_nothing_there(struct place *p)
{
    (void)p;
    return read_empty_pipe(FILCH_NOW);
}

static long pipe_times_out(struct place *p)
{
    (void)p;
    return read_empty_pipe(SHORT_LIMIT);
}

static int fill_pipe(void *arg)
{
    struct ends *ends = arg;
    char buf[4096] = {0};
    ssize_t n;

    while ((n = filch_file_write(ends->writer, buf, sizeof buf, FILCH_NEVER)) > 0)
        ;
    return (int)n;
}

static long pipe_write_cancelled(struct place *p)
{
    struct ends ends;
    long r;

    (void)p;
    T_OK(filch_pipe(0, &ends.reader, &ends.writer));
    r = cancelled_meanwhile(fill_pipe, &ends);
    T_OK(filch_file_close(ends.writer));
    T_OK(filch_file_close(ends.reader));
    return r;
}

static long pipe_while_closed(struct place *p)
{
    struct ends ends;
    filch_task *task;
    long r;

    (void)p;
    T_OK(filch_pipe(0, &ends.reader, &ends.writer));
    task = spawn(read_pipe, &ends);
    let_it_wait();
    T_OK(filch_file_close(ends.reader));
    r = join(task);
    T_OK(filch_file_close(ends.writer));
    return r;
}

static long pipe_without_reader(struct place *p)
{
    struct ends ends;
    long r;

    (void)p;
    T_OK(filch_pipe(0, &ends.reader, &ends.writer));
    T_OK(filch_file_close(ends.reader));
    r = filch_file_write(ends.writer, "x", 1, T_LIMIT);
    T_OK(filch_file_close(ends.writer));
    return r;
}

static long file_read(struct place *p)
{
    char buf[64];
    filch_file *file;
    long r;

    T_OK(filch_file_open(p->path, O_RDONLY, 0, &file, T_LIMIT));
    r = filch_file_read(file, buf, sizeof buf, T_LIMIT);
    T_IS(filch_file_read(file, buf, sizeof buf, T_LIMIT), 0);
    T_IS(filch_file_pread(file, buf, 3, 4, T_LIMIT), 3);
    T_OK(memcmp(buf, "456", 3));
    T_IS(filch_file_pread(file, buf, 3, 100, T_LIMIT), 0);
    T_OK(filch_file_close(file));
    return r;
}

static long file_write(struct place *p)
{
    enum { BYTES = 3 << 20 };
    char *buf = malloc(BYTES), *back = malloc(BYTES);
    filch_file *file;
    long r;

    memset(buf, 'w', BYTES);
    T_OK(filch_file_open(p->path, O_RDWR | O_TRUNC, 0, &file, T_LIMIT));
    T_OK(filch_file_write_all(file, buf, BYTES, NULL, T_LIMIT));
    T_OK(filch_file_sync(file, T_LIMIT));
    T_OK(filch_file_sync_data(file, T_LIMIT));
    r = filch_file_pread(file, back, BYTES, 0, T_LIMIT);
    T_OK(memcmp(buf, back, BYTES));
    T_OK(filch_file_close(file));
    free(buf);
    free(back);
    return r == BYTES ? 0 : r;
}

static long file_of_wrong_mode(struct place *p)
{
    filch_file *file;
    long r;

    T_OK(filch_file_open(p->path, O_RDONLY, 0, &file, T_LIMIT));
    r = filch_file_write(file, "x", 1, T_LIMIT);
    T_OK(filch_file_close(file));
    return r;
}

static long open_with(const char *path, int flags)
{
    filch_file *file;
    int r = filch_file_open(path, flags, 0600, &file, T_LIMIT);

    if (r == 0)
        T_OK(filch_file_close(file));
    return r;
}

static long open_nothing(struct place *p)
{
    return open_with(p->none, O_RDONLY);
}

static long open_directory(struct place *p)
{
    return open_with(p->dir, O_WRONLY);
}

static long open_what_exists(struct place *p)
{
    return open_with(p->path, O_RDWR | O_CREAT | O_EXCL);
}

static long paths(struct place *p)
{
    filch_file_info info;

    T_OK(filch_path_mkdir(p->none, 0700, false, T_LIMIT));
    T_IS(filch_path_mkdir(p->none, 0700, false, T_LIMIT), -EEXIST);
    T_OK(filch_path_rmdir(p->none, T_LIMIT));
    T_OK(filch_path_link(p->path, p->none, T_LIMIT));
    T_OK(filch_path_unlink(p->none, T_LIMIT));
    T_OK(filch_path_symlink("nothing", p->none, T_LIMIT));
    T_IS(filch_path_stat(p->none, true, &info, T_LIMIT), -ENOENT);
    T_OK(filch_path_stat(p->none, false, &info, T_LIMIT));
    T_OK(filch_path_rename(p->path, p->none, T_LIMIT));
    T_OK(filch_path_rename(p->none, p->path, T_LIMIT));
    return filch_path_rename(p->none, p->path, T_LIMIT);
}

static int stat_it(void *arg)
{
    struct place *p = arg;
    filch_file_info info;

    return filch_path_stat(p->path, true, &info, FILCH_NEVER);
}

static long stat_cancelled_before(struct place *p)
{
    return cancelled_before(stat_it, p);
}

/* A named pipe waits for its other side. */
static int open_fifo(void *arg)
{
    struct place *p = arg;
    filch_file *file;
    int r = filch_file_open(p->none, O_WRONLY, 0, &file, FILCH_NEVER);

    if (r == 0)
        T_OK(filch_file_close(file));
    return r;
}

static long open_cancelled(struct place *p)
{
    T_OK(mkfifo(p->none, 0600));
    return cancelled_meanwhile(open_fifo, p);
}

static long open_times_out(struct place *p)
{
    filch_file *file;

    T_OK(mkfifo(p->none, 0600));
    return filch_file_open(p->none, O_WRONLY, 0, &file, SHORT_LIMIT);
}

static int open_there(void *arg)
{
    struct place *p = arg;

    return (int)open_with(p->path, O_RDONLY);
}

static long open_beyond_the_limit(struct place *p)
{
    return without_descriptors(open_there, p);
}

static long path_that_is_none(struct place *p)
{
    filch_file_info info;

    (void)p;
    return filch_path_stat(NULL, true, &info, FILCH_NEVER);
}

static long file_closed_handle(struct place *p)
{
    filch_file *file;
    char byte;

    T_OK(filch_file_open(p->path, O_RDONLY, 0, &file, T_LIMIT));
    T_OK(filch_file_close(file));
    return filch_file_read(file, &byte, 1, FILCH_NEVER);
}

static long file_bad_buffer(struct place *p)
{
    filch_file *file;
    long r;

    T_OK(filch_file_open(p->path, O_RDONLY, 0, &file, T_LIMIT));
    r = filch_file_read(file, NULL, 8, FILCH_NEVER);
    T_IS(filch_file_read(file, NULL, 0, FILCH_NEVER), 0);
    T_OK(filch_file_close(file));
    return r;
}

static long stat_too_late(struct place *p)
{
    filch_file_info info;

    return filch_path_stat(p->path, true, &info, FILCH_NOW);
}

const struct conformance_case file_cases[] = {
    CASE(pipe_ok, 4),
    CASE(pipe_cancelled, -ECANCELED),
    CASE(pipe_cancelled_before, -ECANCELED),
    CASE(pipe_nothing_there, -ETIMEDOUT),
    CASE(pipe_times_out, -ETIMEDOUT),
    CASE(pipe_write_cancelled, -ECANCELED),
    CASE(pipe_while_closed, -ECANCELED),
    CASE(pipe_without_reader, -EPIPE),
    CASE(file_read, 10),
    CASE(file_write, 0),
    CASE(file_of_wrong_mode, -EBADF),
    CASE(open_nothing, -ENOENT),
    CASE(open_directory, -EISDIR),
    CASE(open_what_exists, -EEXIST),
    CASE(paths, -ENOENT),
    CASE(stat_cancelled_before, -ECANCELED),
    CASE(stat_too_late, -ETIMEDOUT),
    CASE(open_cancelled, -ECANCELED),
    CASE(open_times_out, -ETIMEDOUT),
    CASE(open_beyond_the_limit, -EMFILE),
    CASE(path_that_is_none, -EINVAL),
    CASE(file_closed_handle, -EBADF),
    CASE(file_bad_buffer, -EINVAL),
    {0},
};
