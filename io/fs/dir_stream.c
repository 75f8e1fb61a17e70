/* The entries of a directory as a stream: a helper opens it and reads BATCH_ENTRIES at a time. The
 * batch is the helper's while it runs, else the reader's. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "sync/stream.h"
#include "sync/stream_helper.h"

#define BATCH_ENTRIES 64

struct filch__dir_batch {
    filch_dir *dir;
    size_t count;
    size_t at; /* the next that is given */
    bool over;
    filch_dir_entry entry[BATCH_ENTRIES];
    char path[];
};

static int read_batch(void *arg)
{
    struct filch__dir_batch *batch = arg;
    ssize_t n = batch->dir ? 0 : filch_dir_open(batch->path, &batch->dir, FILCH_NEVER);

    batch->count = batch->at = 0;
    if (n == 0)
        n = filch_dir_read(batch->dir, batch->entry, BATCH_ENTRIES, FILCH_NEVER);
    if (n < 0)
        return (int)n;
    batch->count = (size_t)n;
    batch->over = n == 0;
    return 0;
}

/* Return: 1; 0 (the end); -EAGAIN (the batch is empty). */
static int take_entry(struct filch__dir_batch *batch, void *item)
{
    const filch_dir_entry *entry = &batch->entry[batch->at];

    if (batch->at == batch->count)
        return batch->over ? 0 : -EAGAIN;
    batch->at++;
    memcpy(item, &entry, sizeof entry);
    return 1;
}

static int dir_next(filch_stream *self, filch_cx *cx, void *item)
{
    filch_dir_stream *stream = (filch_dir_stream *)self;
    int r;

    for (;;) {
        if (!stream->helper.task) {
            r = take_entry(stream->batch, item);
            if (r != -EAGAIN)
                return r;
            r = filch__helper_start(&stream->helper, read_batch, stream->batch);
            if (r < 0)
                return r;
        }
        if (!filch__helper_poll(&stream->helper, cx, &r))
            return -EAGAIN;
        if (r < 0)
            return r == -EAGAIN ? -ENOMEM : r; /* no thread */
    }
}

static void dir_drop(filch_stream *self)
{
    filch_dir_stream *stream = (filch_dir_stream *)self;
    int r;

    (void)filch__helper_stop(&stream->helper, &r);
    filch_dir_close(stream->batch->dir);
    free(stream->batch);
    stream->batch = NULL;
}

int filch_dir_stream_init(filch_dir_stream *stream, const char *path)
{
    size_t bytes;

    if (!stream || !path)
        return -EINVAL;
    bytes = strnlen(path, PATH_MAX) + 1;
    if (bytes > PATH_MAX)
        return -ENAMETOOLONG;
    stream->batch = calloc(1, sizeof *stream->batch + bytes);
    if (!stream->batch)
        return -ENOMEM;
    memcpy(stream->batch->path, path, bytes);
    filch__stream_base(&stream->base, dir_next, dir_drop, sizeof(filch_dir_entry *));
    filch__helper_init(&stream->helper);
    return 0;
}
