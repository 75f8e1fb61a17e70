/* A copy between two lines, and how often and how much the kernel moves for it: splice(2) is
 * wrapped
 * (--wrap, in tests/meson.build). */
#ifndef FILCH_TESTS_RUNNER_COPYING_H
#define FILCH_TESTS_RUNNER_COPYING_H

#include <fcntl.h>
#include <sys/uio.h>

#include <filch/copy.h>

#include "tests/runner/line.h"
#include "tests/runner/refusals.h"

static atomic_uint calls;
static atomic_ullong moved; /* bytes, by them */

WRAPPED(ssize_t, splice,
        (int from, off64_t *from_offset, int to, off64_t *to_offset, size_t bytes, unsigned flags))
{
    ssize_t n = __real_splice(from, from_offset, to, to_offset, bytes, flags);

    atomic_fetch_add(&calls, 1);
    if (n > 0)
        atomic_fetch_add(&moved, (unsigned long long)n);
    return n;
}

static inline void count_anew(void)
{
    atomic_store(&calls, 0);
    atomic_store(&moved, 0);
}

/* ---- a copy between two lines ---- */

struct copying {
    struct line from, to;
    char buffer[5000];
    filch_copier copier;
    filch_time until;
    uint64_t bytes;
    atomic_bool begun; /* it has the handles */
};

static inline void open_copying(struct copying *copying, enum line_kind from, enum line_kind to)
{
    line_open(&copying->from, from);
    line_open(&copying->to, to);
    copying->copier = (filch_copier){.buffer = copying->buffer, .room = sizeof copying->buffer};
    copying->until = T_LIMIT;
    copying->bytes = 0;
    atomic_store(&copying->begun, false);
    count_anew();
}

static inline void close_copying(struct copying *copying)
{
    line_close(&copying->from);
    line_close(&copying->to);
}

__attribute__((unused)) static int copies(void *arg)
{
    struct copying *copying = arg;
    filch_reader reader = line_reader(&copying->from);
    filch_writer writer = line_writer(&copying->to);

    atomic_store(&copying->begun, true);
    return filch_copy(reader, writer, &copying->copier, &copying->bytes, copying->until);
}

/* Writes bytes that are held by what is in between, and no reader is needed. */
static inline void put(struct line *line, uint64_t bytes)
{
    struct line_work feeding = {line, bytes, 1 << 16, 0};

    T_OK(line_write(&feeding));
}

/* A copy that has moved some bytes, most likely by splices, and waits for more. */
static inline filch_task *start(struct copying *copying)
{
    struct line_work eating = {&copying->to, 20000, 1 << 16, 0};
    filch_task *task;

    put(&copying->from, 20000);
    task = spawn(copies, copying);
    T_OK(line_eat(&eating));
    T_WAIT_UNTIL(atomic_load(&calls) > 0);
    let_others_run();
    return task;
}

/* Into a pipe goes what is in the page cache, and not all file systems know. */
static inline bool tells_what_is_cached(filch_file *file)
{
    char byte;
    struct iovec iov = {&byte, 1};

    return preadv2(filch_file_fd(file), &iov, 1, 0, RWF_NOWAIT) == 1;
}

static inline bool kernel_moves(enum line_kind from, enum line_kind to)
{
    return to == LINE_PIPE || (from == LINE_PIPE && to == LINE_UNIX);
}

#endif
