/* See stress_cancel.c: streams, of each kind. A writer and a reader for each line, who attempt and
 * keep the offset: both must end at the same one. */
#include <errno.h>

#include "tests/runner/tcp_pair.h"
#include "tests/stress/cancel.h"

enum { CHUNK = 6000, LINES = 10, SMALL = 4096 };

enum kind { TCP, TCP_STREAM, UNIX, PIPE };

/* One direction of a connection. Each end is used by its own driver, and by that one's attempts. */
struct line {
    enum kind kind;
    uint64_t salt;
    filch_tcp *tcp[2]; /* [0] reads, [1] writes */
    filch_tcp_stream *stream;
    filch_unix *local[2];
    filch_file *pipe[2];
    uint64_t sent, got;
};

struct end {
    struct attempt attempt; /* first */
    struct line *line;
    char buf[CHUNK];
    size_t bytes;
    size_t done; /* what calls that do all of it have done */
};

static char byte_at(const struct line *line, uint64_t offset)
{
    uint64_t x = (offset + line->salt) * 0x9e3779b97f4a7c15u;

    return (char)(x >> 56);
}

static long read_some(struct attempt *attempt)
{
    struct end *end = (struct end *)attempt;
    struct line *line = end->line;
    struct iovec iov[] = {{end->buf, end->bytes / 2},
                          {end->buf + end->bytes / 2, end->bytes - end->bytes / 2}};
    uint32_t way = roll(&attempt->dice, 4);
    int r;

    end->done = 0;
    switch (line->kind) {
    case TCP_STREAM:
        return filch_tcp_stream_read(line->stream, end->buf, end->bytes, attempt->until);
    case PIPE:
        return filch_file_read(line->pipe[0], end->buf, end->bytes, attempt->until);
    case TCP:
        if (way == 0)
            return filch_tcp_readv(line->tcp[0], iov, 2, attempt->until);
        if (way > 1)
            return filch_tcp_read(line->tcp[0], end->buf, end->bytes, attempt->until);
        r = filch_tcp_read_exact(line->tcp[0], end->buf, end->bytes, &end->done, attempt->until);
        return r < 0 ? r : (long)end->bytes;
    default:
        if (way == 0)
            return filch_unix_readv(line->local[0], iov, 2, attempt->until);
        if (way > 1)
            return filch_unix_read(line->local[0], end->buf, end->bytes, attempt->until);
        r = filch_unix_read_exact(line->local[0], end->buf, end->bytes, &end->done, attempt->until);
        return r < 0 ? r : (long)end->bytes;
    }
}

static long write_some(struct attempt *attempt)
{
    struct end *end = (struct end *)attempt;
    struct line *line = end->line;
    struct iovec iov[] = {{end->buf, end->bytes / 2},
                          {end->buf + end->bytes / 2, end->bytes - end->bytes / 2}};
    uint32_t way = roll(&attempt->dice, 4);
    int r;

    end->done = 0;
    switch (line->kind) {
    case PIPE:
        if (way > 1)
            return filch_file_write(line->pipe[1], end->buf, end->bytes, attempt->until);
        r = filch_file_write_all(line->pipe[1], end->buf, end->bytes, &end->done, attempt->until);
        return r < 0 ? r : (long)end->bytes;
    case TCP:
    case TCP_STREAM:
        if (way == 0)
            return filch_tcp_writev(line->tcp[1], iov, 2, attempt->until);
        if (way > 1)
            return filch_tcp_write(line->tcp[1], end->buf, end->bytes, attempt->until);
        r = filch_tcp_write_all(line->tcp[1], end->buf, end->bytes, &end->done, attempt->until);
        return r < 0 ? r : (long)end->bytes;
    default:
        if (way == 0)
            return filch_unix_writev(line->local[1], iov, 2, attempt->until);
        if (way > 1)
            return filch_unix_write(line->local[1], end->buf, end->bytes, attempt->until);
        r = filch_unix_write_all(line->local[1], end->buf, end->bytes, &end->done, attempt->until);
        return r < 0 ? r : (long)end->bytes;
    }
}

/* What an attempt has really done. */
static size_t settled(struct end *end, long r)
{
    T_CHECK(r >= 0 || is_given_up(r));
    return r >= 0 ? (size_t)r : end->done;
}

static void close_writer(struct line *line)
{
    T_OK(filch_tcp_close(line->tcp[1]));
    T_OK(filch_unix_close(line->local[1]));
    T_OK(filch_file_close(line->pipe[1]));
}

static int write_line(void *arg)
{
    struct end end = {.line = arg};

    attempt_init(&end.attempt, TRANSFER);
    while (!is_over()) {
        end.bytes = 1 + roll(&end.attempt.dice, CHUNK);
        for (size_t i = 0; i < end.bytes; i++)
            end.buf[i] = byte_at(end.line, end.line->sent + i);
        end.line->sent += settled(&end, attempted(&end.attempt, write_some));
    }
    close_writer(end.line);
    return 0;
}

static void check_read(struct end *end, size_t n)
{
    for (size_t i = 0; i < n; i++)
        T_IS(end->buf[i], byte_at(end->line, end->line->got + i));
    end->line->got += n;
}

static int read_line(void *arg)
{
    struct end end = {.line = arg};
    struct line *line = arg;
    long n;

    attempt_init(&end.attempt, TRANSFER);
    while (!is_over()) {
        end.bytes = 1 + roll(&end.attempt.dice, CHUNK);
        n = attempted(&end.attempt, read_some);
        if (n == 0 || n == -EPIPE) /* the writer was told first that it is over */
            check_read(&end, end.done);
        else
            check_read(&end, settled(&end, n));
    }
    end.attempt.until = T_LIMIT;
    end.bytes = CHUNK;
    while ((n = read_some(&end.attempt)) > 0)
        check_read(&end, (size_t)n);
    if (n == -EPIPE)
        check_read(&end, end.done);
    else
        T_IS(n, 0);
    atomic_fetch_add(&world.bytes, line->got);
    return 0;
}

static void open_line(struct line *line, enum kind kind, uint64_t salt)
{
    /* So that writers wait, too. */
    const filch_tcp_setting small = {FILCH_TCP_SEND_BUFFER, SMALL};
    const filch_tcp_opts opts = {.settings = &small, .setting_count = 1};
    struct tcp_pair pair;

    *line = (struct line){.kind = kind, .salt = salt};
    switch (kind) {
    case PIPE:
        T_OK(filch_pipe(4096, &line->pipe[0], &line->pipe[1]));
        break;
    case UNIX:
        T_OK(filch_unix_pair(&line->local[0], &line->local[1]));
        break;
    default:
        listen_any(&pair);
        T_OK(filch_listener_set(pair.listener, FILCH_TCP_RECV_BUFFER, SMALL));
        T_OK(filch_tcp_connect_opts(pair.addr, &opts, &line->tcp[1], T_LIMIT));
        T_OK(filch_listener_accept(pair.listener, &line->tcp[0], T_LIMIT));
        T_OK(filch_listener_close(pair.listener));
        if (kind == TCP_STREAM)
            T_OK(filch_tcp_stream_open(line->tcp[0], NULL, &line->stream));
    }
}

static void close_line(struct line *line)
{
    T_IS(line->got, line->sent);
    if (line->stream)
        T_OK(filch_tcp_stream_close(line->stream));
    T_OK(filch_tcp_close(line->tcp[0]));
    T_OK(filch_unix_close(line->local[0]));
    T_OK(filch_file_close(line->pipe[0]));
}

int streams_part(void *arg)
{
    static const enum kind kinds[LINES] = {TCP,  TCP,  TCP,  TCP,        UNIX,
                                           UNIX, PIPE, PIPE, TCP_STREAM, TCP_STREAM};
    struct line lines[LINES];
    FILCH_SCOPE(scope);

    (void)arg;
    for (unsigned i = 0; i < LINES; i++) {
        open_line(&lines[i], kinds[i], world.seed + i);
        T_OK(filch_scope_spawn(&scope, write_line, &lines[i]));
        T_OK(filch_scope_spawn(&scope, read_line, &lines[i]));
    }
    T_OK(filch_scope_join(&scope, FILCH_NEVER));
    for (unsigned i = 0; i < LINES; i++)
        close_line(&lines[i]);
    return 0;
}
