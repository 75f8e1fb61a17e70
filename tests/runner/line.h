/* Lines for tests that move bytes: what is written at one end is read at the other, whatever is in
 * between; and bytes that tell their place. A file is one, too: what was written is read once it is
 * rewound. */
#ifndef FILCH_TESTS_RUNNER_LINE_H
#define FILCH_TESTS_RUNNER_LINE_H

#include <filch/pipe.h>
#include <filch/unix.h>

#include "tests/runner/tcp_pair.h"

enum line_kind { LINE_FILE, LINE_PIPE, LINE_TCP, LINE_UNIX, LINE_KINDS };

struct line {
    enum line_kind kind;
    filch_file *in, *out; /* of a file: the same */
    struct tcp_pair tcp;  /* the client writes */
    filch_unix *unix_in, *unix_out;
};

static inline void line_open(struct line *line, enum line_kind kind)
{
    memset(line, 0, sizeof *line);
    line->kind = kind;
    switch (kind) {
    case LINE_FILE:
        T_OK(filch_file_temp(NULL, &line->out, T_LIMIT));
        line->in = line->out;
        break;
    case LINE_PIPE:
        T_OK(filch_pipe(0, &line->in, &line->out));
        break;
    case LINE_TCP:
        connect_pair(&line->tcp);
        break;
    default:
        T_OK(filch_unix_pair(&line->unix_in, &line->unix_out));
    }
}

static inline filch_reader line_reader(const struct line *line)
{
    if (line->kind == LINE_TCP)
        return filch_tcp_reader(line->tcp.server);
    return line->kind == LINE_UNIX ? filch_unix_reader(line->unix_in) : filch_file_reader(line->in);
}

static inline filch_writer line_writer(const struct line *line)
{
    if (line->kind == LINE_TCP)
        return filch_tcp_writer(line->tcp.client);
    return line->kind == LINE_UNIX ? filch_unix_writer(line->unix_out)
                                   : filch_file_writer(line->out);
}

/* Closes the end that is read. */
static inline void line_close_reader(struct line *line)
{
    T_OK(filch_tcp_close(line->tcp.server));
    T_OK(filch_unix_close(line->unix_in));
    T_OK(line->kind == LINE_FILE ? 0 : filch_file_close(line->in));
    line->tcp.server = NULL;
    line->unix_in = NULL;
    line->in = line->kind == LINE_FILE ? line->in : NULL;
}

static inline void line_close_writer(struct line *line)
{
    T_OK(filch_tcp_close(line->tcp.client));
    T_OK(filch_unix_close(line->unix_out));
    T_OK(line->kind == LINE_FILE ? 0 : filch_file_close(line->out));
    line->tcp.client = NULL;
    line->unix_out = NULL;
    line->out = line->kind == LINE_FILE ? line->out : NULL;
}

/* Nothing more is written: the reader finds the end, or, in a file, the beginning. */
static inline void line_finish(struct line *line)
{
    if (line->kind == LINE_FILE)
        T_OK(filch_file_seek(line->in, 0, SEEK_SET, NULL));
    else
        line_close_writer(line);
}

static inline void line_close(struct line *line)
{
    line_close_reader(line);
    line_close_writer(line);
    T_OK(filch_listener_close(line->tcp.listener));
    if (line->kind == LINE_FILE)
        T_OK(filch_file_close(line->in));
}

/* ---- bytes ---- */

static inline char line_byte(uint64_t index)
{
    return (char)(index * 31 + index / 251 + index / 65537);
}

struct line_work {
    struct line *line;
    uint64_t bytes;   /* to be written */
    size_t at_a_time; /* at most 64 KiB */
    uint64_t done;
};

/* A task's: writes bytes. Return: 0; what stopped it. */
__attribute__((unused)) static int line_write(void *arg)
{
    struct line_work *work = arg;
    filch_writer writer = line_writer(work->line);
    char *bytes = malloc(1 << 16);
    int r = 0;

    T_CHECK(bytes);
    while (r == 0 && work->done < work->bytes) {
        uint64_t rest = work->bytes - work->done;
        size_t n = rest < work->at_a_time ? (size_t)rest : work->at_a_time, done = 0;

        for (size_t i = 0; i < n; i++)
            bytes[i] = line_byte(work->done + i);
        r = filch_write_all(writer, bytes, n, &done, T_LIMIT);
        work->done += done;
    }
    free(bytes);
    return r;
}

/* A task's: writes bytes, and ends the line. */
__attribute__((unused)) static int line_feed(void *arg)
{
    struct line_work *work = arg;
    int r = line_write(work);

    line_finish(work->line);
    return r;
}

/* A task's: reads `bytes` of them, or to the end, each of which must be the next. Return: 0; what
 * stopped it. */
__attribute__((unused)) static int line_eat(void *arg)
{
    struct line_work *work = arg;
    filch_reader reader = line_reader(work->line);
    char *bytes = malloc(work->at_a_time);
    ssize_t n = 1;

    T_CHECK(bytes);
    while (n > 0 && work->done < work->bytes) {
        uint64_t rest = work->bytes - work->done;

        n = reader.read(reader.context, bytes,
                        rest < work->at_a_time ? (size_t)rest : work->at_a_time, T_LIMIT);
        for (ssize_t i = 0; i < n; i++, work->done++)
            if (bytes[i] != line_byte(work->done)) /* a million T_IS take their time */
                T_IS(bytes[i], line_byte(work->done));
    }
    free(bytes);
    return n < 0 ? (int)n : 0;
}

#endif
