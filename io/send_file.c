/* A part of a file to a writer: by the kernel where both are its own (splice.c), else through a
 * buffer. What was read and not written is read again: `done` counts what the writer took. */
#include <filch/copy.h>

#include <errno.h>
#include <stdlib.h>

#include <filch/task.h>
#include <filch/time.h>

#include "io/splice.h"

#define BUFFER ((size_t)64 << 10)

struct sending {
    filch_writer writer;
    filch_file *file;
    int64_t offset;
    uint64_t bytes, done;
    filch_time until;
};

static uint64_t rest_of(const struct sending *s)
{
    return s->bytes - s->done;
}

/* The kernel goes on as long as the socket takes everything at once. */
static int look_up(const struct sending *s)
{
    if (filch_task_is_cancelled())
        return -ECANCELED;
    return s->until != FILCH_NOW && filch_now() >= s->until ? -ETIMEDOUT : 0;
}

/* Return: 0: all, or until the end of the file; -EOPNOTSUPP: the rest is to be copied; an error. */
static int send_by_kernel(struct sending *s)
{
    struct filch__splice splice;
    ssize_t n;
    int r = 0;

    if (!filch__splice_pays(rest_of(s)) ||
        !filch__splice_init(&splice, s->file, s->offset + (int64_t)s->done, s->writer))
        return -EOPNOTSUPP;
    while (r == 0 && rest_of(s)) {
        n = filch__splice_some(&splice, rest_of(s), s->until);
        if (n <= 0)
            return (int)n;
        s->done += (uint64_t)n;
        r = rest_of(s) ? look_up(s) : 0;
    }
    return r;
}

static int send_copies(struct sending *s, char *buffer, size_t room)
{
    while (rest_of(s)) {
        size_t want = rest_of(s) < room ? (size_t)rest_of(s) : room, written = 0;
        ssize_t n = filch_file_pread(s->file, buffer, want, s->offset + (int64_t)s->done, s->until);
        int r;

        if (n <= 0)
            return (int)n;
        r = filch_write_all(s->writer, buffer, (size_t)n, &written, s->until);
        s->done += written;
        if (r < 0)
            return r;
    }
    return 0;
}

static int send_by_copy(struct sending *s)
{
    size_t room = rest_of(s) < BUFFER ? (size_t)rest_of(s) : BUFFER;
    char *buffer = malloc(room ? room : 1);
    int r;

    if (!buffer)
        return -ENOMEM;
    r = send_copies(s, buffer, room);
    free(buffer);
    return r;
}

int filch_send_file(filch_writer writer, filch_file *file, int64_t offset, uint64_t bytes,
                    uint64_t *done, filch_time until)
{
    const uint64_t most = offset < 0 ? 0 : (uint64_t)INT64_MAX - (uint64_t)offset;
    struct sending s = {.writer = writer, .file = file, .offset = offset, .until = until};
    int r;

    if (!writer.write || !file || offset < 0 || (bytes != FILCH_TO_END && bytes > most))
        return -EINVAL;
    s.bytes = bytes == FILCH_TO_END ? most : bytes;
    s.done = done ? *done : 0;
    if (s.done > s.bytes)
        return -EINVAL;
    r = send_by_kernel(&s);
    if (r == -EOPNOTSUPP)
        r = send_by_copy(&s);
    if (done)
        *done = s.done;
    return r == 0 && s.done < s.bytes && bytes != FILCH_TO_END ? -ENODATA : r;
}
