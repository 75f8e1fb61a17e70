/* The stream reader, and buffers and frames on top of readers: see conformance.h. */
#include <filch/frame.h>
#include <filch/tcp_stream.h>
#include <filch/unix_stream.h>

#include "tests/conformance/conformance.h"

/* ---- the stream reader ---- */

struct reading {
    struct place *p;
    filch_tcp_stream *in;
};

static struct reading open_stream(struct place *p)
{
    struct reading reading = {.p = p};

    T_OK(filch_tcp_stream_open(p->pair.server, NULL, &reading.in));
    return reading;
}

/* Return: @r. */
static long close_stream(struct reading *reading, long r)
{
    T_OK(filch_tcp_stream_close(reading->in));
    return r;
}

static int fill(void *arg)
{
    struct reading *reading = arg;
    filch_view view;

    return (int)filch_tcp_stream_fill(reading->in, &view, FILCH_NEVER);
}

/* What comes after the situation is all there. Return: @r. */
static long nothing_lost(struct reading *reading, long r)
{
    char buf[8];

    client_writes(reading->p, "abc");
    T_IS(filch_tcp_stream_read(reading->in, buf, sizeof buf, T_LIMIT), 3);
    T_OK(memcmp(buf, "abc", 3));
    return close_stream(reading, r);
}

static long stream_ok(struct place *p)
{
    struct reading reading = open_stream(p);

    client_writes(p, "abc");
    return close_stream(&reading, fill(&reading));
}

static long stream_that_waits(struct place *p)
{
    struct reading reading = open_stream(p);
    filch_task *task = spawn(fill, &reading);

    let_it_wait();
    client_writes(p, "abc");
    return close_stream(&reading, join(task));
}

static long stream_in_parts(struct place *p)
{
    struct reading reading = open_stream(p);
    filch_view view;

    client_writes(p, "abc");
    T_IS(filch_tcp_stream_fill(reading.in, &view, T_LIMIT), 3);
    T_OK(filch_tcp_stream_consume(reading.in, 1));
    return close_stream(&reading, fill(&reading));
}

static long stream_nothing_there(struct place *p)
{
    struct reading reading = open_stream(p);
    filch_view view;

    return nothing_lost(&reading, filch_tcp_stream_fill(reading.in, &view, FILCH_NOW));
}

static long stream_times_out(struct place *p)
{
    struct reading reading = open_stream(p);
    filch_view view;

    return nothing_lost(&reading, filch_tcp_stream_fill(reading.in, &view, SHORT_LIMIT));
}

static long stream_cancelled(struct place *p)
{
    struct reading reading = open_stream(p);

    return nothing_lost(&reading, cancelled_meanwhile(fill, &reading));
}

static long stream_cancelled_before(struct place *p)
{
    struct reading reading = open_stream(p);

    return nothing_lost(&reading, cancelled_before(fill, &reading));
}

static long stream_cancelled_before_with_data(struct place *p)
{
    struct reading reading = open_stream(p);

    client_writes(p, "abc");
    return close_stream(&reading, cancelled_before(fill, &reading));
}

static long stream_half_closed(struct place *p)
{
    struct reading reading = open_stream(p);
    char byte;

    client_writes(p, "abc");
    T_OK(filch_tcp_shutdown_write(p->pair.client));
    T_IS(fill(&reading), 3);
    T_OK(filch_tcp_stream_consume(reading.in, 3));
    T_IS(fill(&reading), 0);
    T_IS(fill(&reading), 0);
    T_OK(filch_tcp_write_all(p->pair.server, "z", 1, NULL, T_LIMIT));
    return close_stream(&reading, filch_tcp_read(p->pair.client, &byte, 1, T_LIMIT));
}

static long stream_from_one_that_reset(struct place *p)
{
    struct reading reading = open_stream(p);

    reset_by_client(p);
    return close_stream(&reading, fill(&reading));
}

static long stream_while_reset(struct place *p)
{
    struct reading reading = open_stream(p);
    filch_task *task = spawn(fill, &reading);

    let_it_wait();
    reset_by_client(p);
    return close_stream(&reading, join(task));
}

static long stream_closed_handle(struct place *p)
{
    struct reading reading = open_stream(p);

    T_OK(filch_tcp_stream_close(reading.in));
    return fill(&reading);
}

/* The connection below it. */
static long stream_while_closed(struct place *p)
{
    struct reading reading = open_stream(p);
    filch_task *task = spawn(fill, &reading);
    long r;

    let_it_wait();
    T_OK(filch_tcp_close(p->pair.server));
    p->pair.server = NULL;
    r = join(task);
    T_IS(fill(&reading), -EBADF);
    return close_stream(&reading, r);
}

static long stream_of_two_readers(struct place *p)
{
    struct reading reading = open_stream(p);
    filch_task *task = spawn(fill, &reading);
    long r;

    let_it_wait();
    r = fill(&reading);
    client_writes(p, "abc");
    T_IS(join(task), 3);
    return close_stream(&reading, r);
}

static long stream_nothing_wanted(struct place *p)
{
    struct reading reading = open_stream(p);

    return close_stream(&reading, filch_tcp_stream_read(reading.in, NULL, 0, FILCH_NEVER));
}

static long stream_bad_argument(struct place *p)
{
    struct reading reading = open_stream(p);

    T_IS(filch_tcp_stream_read(reading.in, NULL, 8, FILCH_NEVER), -EINVAL);
    T_IS(filch_tcp_stream_consume(reading.in, 1), -EINVAL);
    return close_stream(&reading, filch_tcp_stream_fill(reading.in, NULL, FILCH_NEVER));
}

static int write_much(void *arg)
{
    struct place *p = arg;
    char *buf = calloc(1, MANY);
    int r = filch_tcp_write_all(p->pair.client, buf, MANY, NULL, T_LIMIT);

    free(buf);
    return r;
}

/* More than there are buffers. */
static long stream_of_much(struct place *p)
{
    struct reading reading = open_stream(p);
    filch_task *task = spawn(write_much, p);
    filch_view view;
    size_t got = 0;

    while (got < MANY) {
        ssize_t n = filch_tcp_stream_fill(reading.in, &view, T_LIMIT);

        T_CHECK(n > 0);
        T_OK(filch_tcp_stream_consume(reading.in, (size_t)n));
        got += (size_t)n;
    }
    return close_stream(&reading, join(task));
}

static long stream_of_a_local_one(struct place *p)
{
    filch_unix *a, *b;
    filch_unix_stream *in;
    filch_view view;
    long r;

    (void)p;
    T_OK(filch_unix_pair(&a, &b));
    T_OK(filch_unix_stream_open(a, NULL, &in));
    T_IS(filch_unix_stream_fill(in, &view, SHORT_LIMIT), -ETIMEDOUT);
    T_IS(filch_unix_write(b, "abcd", 4, T_LIMIT), 4);
    r = filch_unix_stream_fill(in, &view, T_LIMIT);
    T_OK(filch_unix_stream_consume(in, 4));
    T_OK(filch_unix_close(b));
    T_IS(filch_unix_stream_fill(in, &view, T_LIMIT), 0);
    T_OK(filch_unix_stream_close(in));
    T_OK(filch_unix_close(a));
    return r;
}

/* ---- buffers and frames ---- */

struct framing {
    struct place *p;
    filch_buf_reader in;
    filch_delimiter_codec lines;
    filch_length_codec lengths;
    filch_frame_reader frames;
};

/* Lines, or frames behind a length of one byte; of at most 8 bytes. */
static void open_frames(struct framing *framing, struct place *p, bool lines)
{
    filch_codec *codec = lines ? &framing->lines.base : &framing->lengths.base;

    framing->p = p;
    T_OK(filch_buf_reader_init(&framing->in, filch_tcp_reader(p->pair.server), NULL));
    T_OK(filch_line_codec_init(&framing->lines, 8));
    T_OK(filch_length_codec_init(&framing->lengths, &(filch_length_opts){.max = 8, .width = 1}));
    T_OK(filch_frame_reader_init(&framing->frames, &framing->in, codec));
}

/* Return: @r. */
static long close_frames(struct framing *framing, long r)
{
    filch_buf_reader_fini(&framing->in);
    return r;
}

static int read_frame(void *arg)
{
    struct framing *framing = arg;
    filch_view view;
    int r = filch_frame_read(&framing->frames, &view, FILCH_NEVER);

    return r > 0 ? (int)view.bytes : r;
}

static long line_ok(struct place *p)
{
    struct framing framing;

    open_frames(&framing, p, true);
    client_writes(p, "one\r\ntwo");
    T_IS(read_frame(&framing), 3);
    T_OK(filch_tcp_shutdown_write(p->pair.client));
    T_IS(read_frame(&framing), 3); /* the last line may lack its end */
    return close_frames(&framing, read_frame(&framing));
}

static long line_too_long(struct place *p)
{
    struct framing framing;
    long r;

    open_frames(&framing, p, true);
    client_writes(p, "123456789\nnext\n");
    r = read_frame(&framing);
    T_IS(read_frame(&framing), 4); /* it was skipped */
    return close_frames(&framing, r);
}

static long line_cancelled(struct place *p)
{
    struct framing framing;
    long r;

    open_frames(&framing, p, true);
    client_writes(p, "half");
    r = cancelled_meanwhile(read_frame, &framing);
    client_writes(p, "line\n");
    T_IS(read_frame(&framing), 8); /* the same call goes on */
    return close_frames(&framing, r);
}

static long line_times_out(struct place *p)
{
    struct framing framing;
    filch_view view;
    long r;

    open_frames(&framing, p, true);
    client_writes(p, "half");
    r = filch_frame_read(&framing.frames, &view, SHORT_LIMIT);
    client_writes(p, "line\n");
    T_IS(read_frame(&framing), 8);
    return close_frames(&framing, r);
}

static long line_while_closed(struct place *p)
{
    struct framing framing;
    filch_task *task;

    open_frames(&framing, p, true);
    task = spawn(read_frame, &framing);
    let_it_wait();
    T_OK(filch_tcp_close(p->pair.server));
    p->pair.server = NULL;
    return close_frames(&framing, join(task));
}

static long frame_ok(struct place *p)
{
    struct framing framing;

    open_frames(&framing, p, false);
    client_writes(p, "\3abc\5defgh");
    T_IS(read_frame(&framing), 3);
    return close_frames(&framing, read_frame(&framing));
}

static long frame_too_long(struct place *p)
{
    struct framing framing;
    long r;

    open_frames(&framing, p, false);
    client_writes(p, "\11"
                     "123456789\4next");
    r = read_frame(&framing);
    T_IS(read_frame(&framing), 4);
    return close_frames(&framing, r);
}

static long frame_cut(struct place *p)
{
    struct framing framing;

    open_frames(&framing, p, false);
    client_writes(p, "\5de");
    T_OK(filch_tcp_shutdown_write(p->pair.client));
    return close_frames(&framing, read_frame(&framing));
}

static long frame_reset(struct place *p)
{
    struct framing framing;

    open_frames(&framing, p, false);
    client_writes(p, "\5de");
    T_IS(filch_buf_reader_fill(&framing.in, 3, T_LIMIT), 3);
    reset_by_client(p);
    return close_frames(&framing, read_frame(&framing));
}

struct exactly {
    struct place *p;
    char buf[6];
    size_t done;
};

static int read_exactly(void *arg)
{
    struct exactly *e = arg;

    return filch_read_exact(filch_tcp_reader(e->p->pair.server), e->buf, 6, &e->done, FILCH_NEVER);
}

/* How far it came is kept, so that the same call goes on. */
static long exact_cancelled(struct place *p)
{
    struct exactly e = {.p = p};
    long r;

    client_writes(p, "abc");
    r = cancelled_meanwhile(read_exactly, &e);
    T_IS(e.done, 3);
    client_writes(p, "def");
    T_OK(read_exactly(&e));
    T_OK(memcmp(e.buf, "abcdef", 6));
    return r;
}

static long frame_written(struct place *p)
{
    filch_length_codec codec;
    filch_buf_writer out;
    filch_frame_writer frames;
    char buf[8];

    T_OK(filch_buf_writer_init(&out, filch_tcp_writer(p->pair.client), NULL));
    T_OK(filch_length_codec_init(&codec, &(filch_length_opts){.max = 8, .width = 1}));
    T_OK(filch_frame_writer_init(&frames, &out, &codec.base));
    T_OK(filch_frame_write(&frames, "abc", 3, T_LIMIT));
    T_IS(filch_frame_write(&frames, "123456789", 9, T_LIMIT), -EMSGSIZE);
    T_OK(filch_buf_writer_finish(&out, T_LIMIT));
    filch_buf_writer_fini(&out);
    T_OK(filch_tcp_read_exact(p->pair.server, buf, 4, NULL, T_LIMIT));
    T_OK(memcmp(buf, "\3abc", 4));
    return filch_tcp_read(p->pair.server, buf, sizeof buf, T_LIMIT);
}

const struct conformance_case reader_cases[] = {
    CASE(stream_ok, 3),
    CASE(stream_that_waits, 3),
    CASE(stream_in_parts, 2),
    CASE(stream_nothing_there, -ETIMEDOUT),
    CASE(stream_times_out, -ETIMEDOUT),
    CASE(stream_cancelled, -ECANCELED),
    CASE(stream_cancelled_before, -ECANCELED),
    CASE(stream_cancelled_before_with_data, 3),
    CASE(stream_half_closed, 1),
    CASE(stream_from_one_that_reset, -ECONNRESET),
    CASE(stream_while_reset, -ECONNRESET),
    CASE(stream_closed_handle, -EBADF),
    CASE(stream_while_closed, -ECANCELED),
    CASE(stream_of_two_readers, -EBUSY),
    CASE(stream_nothing_wanted, 0),
    CASE(stream_bad_argument, -EINVAL),
    CASE(stream_of_much, 0),
    CASE(stream_of_a_local_one, 4),
    CASE(line_ok, 0),
    CASE(line_too_long, -EMSGSIZE),
    CASE(line_cancelled, -ECANCELED),
    CASE(line_times_out, -ETIMEDOUT),
    CASE(line_while_closed, -ECANCELED),
    CASE(frame_ok, 5),
    CASE(frame_too_long, -EMSGSIZE),
    CASE(frame_cut, -EPIPE),
    CASE(frame_reset, -ECONNRESET),
    CASE(frame_written, 0),
    CASE(exact_cancelled, -ECANCELED),
    {0},
};
