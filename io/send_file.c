/* A part of a file to a writer: by the kernel where both are its own (splice.c), else, or what it
 * leaves to us, through a buffer. What was read and not written is read again: `done` counts what
 * the writer took. */
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
    char *buffer; /* once it is needed */
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

/* Return: 1: go on; 0: the end of the file; -EBUSY: copy the next piece; an error. */
static int send_by_kernel(struct sending *s, struct filch__splice *splice)
{
    ssize_t n;
    int r;

    splice->offset = s->offset + (int64_t)s->done;
    n = filch__splice_some(splice, rest_of(s), s->until);
    if (n <= 0)
        return (int)n;
    s->done += (uint64_t)n;
    r = rest_of(s) ? look_up(s) : 0;
    return r < 0 ? r : 1;
}

/* Return: 1: go on; 0: the end of the file; an error. */
static int send_copy(struct sending *s)
{
    size_t want = rest_of(s) < BUFFER ? (size_t)rest_of(s) : BUFFER, written = 0;
    ssize_t n;
    int r;

    if (!s->buffer && !(s->buffer = malloc(want)))
        return -ENOMEM;
    n = filch_file_pread(s->file, s->buffer, want, s->offset + (int64_t)s->done, s->until);
    if (n <= 0)
        return (int)n;
    r = filch_write_all(s->writer, s->buffer, (size_t)n, &written, s->until);
    s->done += written;
    return r < 0 ? r : 1;
}

static int send_all(struct sending *s)
{
    bool pays = filch__splice_pays(rest_of(s));
    struct filch__splice splice;
    int r = 1;

    filch__splice_init(&splice, filch_file_reader(s->file), s->offset + (int64_t)s->done,
                       s->writer);
    while (r > 0 && rest_of(s)) {
        r = splice.next && pays ? send_by_kernel(s, &splice) : -EBUSY;
        if (r == -EBUSY)
            r = send_copy(s);
    }
    free(s->buffer);
    return r < 0 ? r : 0;
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
    r = send_all(&s);
    if (done)
        *done = s.done;
    return r == 0 && s.done < s.bytes && bytes != FILCH_TO_END ? -ENODATA : r;
}
