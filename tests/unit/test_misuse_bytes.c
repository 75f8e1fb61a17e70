/* Description: wrong calls of buffered readers and writers, codecs and frames: each gives its error
 * and changes nothing. */
#include <criterion/criterion.h>
#include <errno.h>

#include "tests/runner/misuse.h"
#include "tests/runner/run.h"

TestSuite(misuse_bytes, .timeout = 60);

static ssize_t read_none(void *context, void *buf, size_t bytes, filch_time until)
{
    (void)context;
    (void)buf;
    (void)bytes;
    (void)until;
    return 0;
}

static ssize_t write_any(void *context, const void *buf, size_t bytes, filch_time until)
{
    (void)context;
    (void)buf;
    (void)until;
    return (ssize_t)bytes;
}

static const filch_reader reader = {.read = read_none};
static const filch_writer writer = {.write = write_any};
static const filch_reader no_reader;
static const filch_writer no_writer;

Test(misuse_bytes, whole)
{
    char buf[8], *data = NULL, *none = NULL;
    size_t done = 9, zero = 0;

    ROW(filch_read_exact(no_reader, buf, 8, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_read_exact(reader, NULL, 8, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_read_exact(reader, buf, 8, &done, FILCH_NOW), -EINVAL);
    ROW(filch_read_exact(reader, NULL, 0, NULL, FILCH_NOW), 0);
    ROW(filch_read_exact(reader, buf, 8, NULL, FILCH_NOW), -EPIPE);
    ROW(filch_write_all(no_writer, buf, 8, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_write_all(writer, NULL, 8, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_write_all(writer, buf, 8, &done, FILCH_NOW), -EINVAL);
    ROW(filch_write_all(writer, NULL, 0, NULL, FILCH_NOW), 0);
    ROW(filch_read_to_end(no_reader, 8, &data, &zero, FILCH_NOW), -EINVAL);
    ROW(filch_read_to_end(reader, 8, NULL, &zero, FILCH_NOW), -EINVAL);
    ROW(filch_read_to_end(reader, 8, &data, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_read_to_end(reader, 100, &none, &done, FILCH_NOW), -EINVAL);
    ROW(filch_read_to_end(reader, SIZE_MAX, &data, &zero, FILCH_NOW), -EINVAL);
    cr_assert_eq(misuse_wrong, 0);
}

Test(misuse_bytes, buffered_readers)
{
    filch_buf_reader in, ended = {.buffer = NULL};
    filch_view view;
    filch_line line;
    char buf[8];
    uint64_t done = 9;

    ROW(filch_buf_reader_init(NULL, reader, NULL), -EINVAL);
    ROW(filch_buf_reader_init(&in, no_reader, NULL), -EINVAL);
    ROW(filch_buf_reader_init(&in, reader, &(filch_buf_opts){.bytes = 1}), -EINVAL);
    ROW(filch_buf_reader_init(&in, reader, &(filch_buf_opts){.buffer = buf}), -EINVAL);
    ROW(filch_buf_reader_init(&in, reader, &(filch_buf_opts){.bytes = 9, .bytes_max = 8}), -EINVAL);
    ROW(filch_buf_reader_init(&in, reader,
                              &(filch_buf_opts){.buffer = buf, .bytes = 8, .bytes_max = 9}),
        -EINVAL);
    ROW(filch_buf_reader_init(&in, reader, &(filch_buf_opts){.bytes = SIZE_MAX / 2}), -EINVAL);
    ROW_VOID(filch_buf_reader_fini(NULL));
    ROW_VOID(filch_buf_reader_fini(&ended));
    filch_buf_reader *const bad[] = {NULL, &ended};

    for (size_t i = 0; i < 2; i++) {
        ROW(filch_buf_reader_peek(bad[i], &view), -EINVAL);
        ROW(filch_buf_reader_fill(bad[i], 1, FILCH_NOW), -EINVAL);
        ROW(filch_buf_reader_consume(bad[i], 0), -EINVAL);
        ROW(filch_buf_reader_read(bad[i], buf, 8, FILCH_NOW), -EINVAL);
        ROW(filch_buf_reader_read_exact(bad[i], buf, 8, NULL, FILCH_NOW), -EINVAL);
        ROW(filch_buf_reader_skip(bad[i], 1, NULL, FILCH_NOW), -EINVAL);
        ROW(filch_buf_reader_until(bad[i], 'x', &view, FILCH_NOW), -EINVAL);
        ROW(filch_buf_reader_line(bad[i], &line, FILCH_NOW), -EINVAL);
        ROW(filch_read_exact(filch_buf_reader_reader(bad[i]), buf, 1, NULL, FILCH_NOW), -EINVAL);
    }
    T_OK(filch_buf_reader_init(&in, reader, NULL));
    ROW(filch_buf_reader_peek(&in, NULL), -EINVAL);
    ROW(filch_buf_reader_consume(&in, 1), -EINVAL);
    ROW(filch_buf_reader_read(&in, NULL, 8, FILCH_NOW), -EINVAL);
    ROW(filch_buf_reader_read(&in, NULL, 0, FILCH_NOW), 0);
    ROW(filch_buf_reader_skip(&in, 8, &done, FILCH_NOW), -EINVAL);
    ROW(filch_buf_reader_until(&in, 'x', NULL, FILCH_NOW), -EINVAL);
    ROW(filch_buf_reader_line(&in, NULL, FILCH_NOW), -EINVAL);
    filch_buf_reader_fini(&in);
    cr_assert_eq(misuse_wrong, 0);
}

Test(misuse_bytes, buffered_writers)
{
    filch_buf_writer out, ended = {.buffer = NULL};
    char buf[8];

    ROW(filch_buf_writer_init(NULL, writer, NULL), -EINVAL);
    ROW(filch_buf_writer_init(&out, no_writer, NULL), -EINVAL);
    ROW(filch_buf_writer_init(&out, writer, &(filch_buf_opts){.bytes = 1}), -EINVAL);
    ROW(filch_buf_writer_init(&out, writer, &(filch_buf_opts){.buffer = buf}), -EINVAL);
    ROW_VOID(filch_buf_writer_fini(NULL));
    ROW_VOID(filch_buf_writer_fini(&ended));
    filch_buf_writer *const bad[] = {NULL, &ended};

    for (size_t i = 0; i < 2; i++) {
        ROW(filch_buf_writer_write(bad[i], buf, 8, FILCH_NOW), -EINVAL);
        ROW(filch_buf_writer_write_all(bad[i], buf, 8, NULL, FILCH_NOW), -EINVAL);
        ROW(filch_buf_writer_reserve(bad[i], 1, NULL, FILCH_NOW), -EINVAL);
        ROW(filch_buf_writer_commit(bad[i], 0), -EINVAL);
        ROW(filch_buf_writer_printf(bad[i], "x"), -EINVAL);
        ROW(filch_buf_writer_pending(bad[i]), 0);
        ROW(filch_buf_writer_flush(bad[i], FILCH_NOW), -EINVAL);
        ROW(filch_buf_writer_finish(bad[i], FILCH_NOW), -EINVAL);
        ROW(filch_write_all(filch_buf_writer_writer(bad[i]), buf, 1, NULL, FILCH_NOW), -EINVAL);
    }
    T_OK(filch_buf_writer_init(&out, writer, &(filch_buf_opts){.bytes = 8}));
    ROW(filch_buf_writer_write(&out, NULL, 8, FILCH_NOW), -EINVAL);
    ROW(filch_buf_writer_write(&out, NULL, 0, FILCH_NOW), 0);
    ROW(filch_buf_writer_commit(&out, 9), -EINVAL);
    ROW(filch_buf_writer_printf(&out, "%s", "12345678"), -ENOBUFS);
    ROW(filch_buf_writer_pending(&out), 0);
    filch_buf_writer_fini(&out);
    cr_assert_eq(misuse_wrong, 0);
}

static int encode_too_much(const filch_codec *codec, const void *frame, size_t bytes,
                           filch_frame_ends *ret_ends)
{
    (void)codec;
    (void)frame;
    (void)bytes;
    ret_ends->head_bytes = FILCH_FRAME_ENDS_MAX + 1;
    return 0;
}

static int decode_elsewhere(filch_codec *codec, const char *data, size_t bytes,
                            filch_view *ret_frame, uint64_t *ret_used)
{
    (void)codec;
    *ret_frame = (filch_view){.data = data, .bytes = bytes + 1};
    *ret_used = bytes;
    return 1;
}

static ssize_t read_a_byte(void *context, void *buf, size_t bytes, filch_time until)
{
    (void)context;
    (void)bytes;
    (void)until;
    *(char *)buf = 'x';
    return 1;
}

Test(misuse_bytes, codecs_and_frames)
{
    filch_length_codec length;
    filch_delimiter_codec delimiter;
    filch_fixed_codec fixed;
    filch_codec none = {.decode = NULL}, wrong = {.decode = decode_elsewhere};
    filch_buf_reader in, ended_in = {.buffer = NULL};
    filch_buf_writer out, ended_out = {.buffer = NULL};
    filch_frame_reader from;
    filch_frame_writer to;
    filch_frame_stream stream;
    filch_view frame;

    ROW(filch_length_codec_init(NULL, NULL), -EINVAL);
    ROW(filch_length_codec_init(&length, &(filch_length_opts){.width = 3}), -EINVAL);
    ROW(filch_length_codec_init(&length, &(filch_length_opts){.adjust = 65}), -EINVAL);
    ROW(filch_length_codec_init(&length, &(filch_length_opts){.adjust = -65}), -EINVAL);
    ROW(filch_length_codec_init(&length,
                                &(filch_length_opts){.width = FILCH_LENGTH_VARINT, .adjust = 1}),
        -EINVAL);
    ROW(filch_delimiter_codec_init(NULL, "x", 1, 0), -EINVAL);
    ROW(filch_delimiter_codec_init(&delimiter, NULL, 1, 0), -EINVAL);
    ROW(filch_delimiter_codec_init(&delimiter, "x", 0, 0), -EINVAL);
    ROW(filch_delimiter_codec_init(&delimiter, "x", FILCH_FRAME_ENDS_MAX + 1, 0), -EINVAL);
    ROW(filch_line_codec_init(NULL, 0), -EINVAL);
    ROW(filch_fixed_codec_init(NULL, 1), -EINVAL);
    ROW(filch_fixed_codec_init(&fixed, 0), -EINVAL);

    T_OK(filch_buf_reader_init(&in, (filch_reader){.read = read_a_byte},
                               &(filch_buf_opts){.bytes = 20}));
    T_OK(filch_fixed_codec_init(&fixed, 20));
    T_OK(filch_length_codec_init(&length, NULL));
    ROW(filch_frame_reader_init(NULL, &in, &length.base), -EINVAL);
    ROW(filch_frame_reader_init(&from, NULL, &length.base), -EINVAL);
    ROW(filch_frame_reader_init(&from, &ended_in, &length.base), -EINVAL);
    ROW(filch_frame_reader_init(&from, &in, NULL), -EINVAL);
    ROW(filch_frame_reader_init(&from, &in, &none), -EINVAL);
    ROW(filch_frame_reader_init(&from, &in, &fixed.base), -EMSGSIZE);
    ROW(filch_frame_read(NULL, &frame, FILCH_NOW), -EINVAL);
    T_OK(filch_frame_reader_init(&from, &in, &wrong));
    ROW(filch_frame_read(&from, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_frame_read(&from, &frame, FILCH_NOW), -EIO);
    ROW(filch_frame_stream_init(NULL, &from), -EINVAL);
    ROW(filch_frame_stream_init(&stream, NULL), -EINVAL);
    filch_buf_reader_fini(&in);
    ROW(filch_frame_read(&from, &frame, FILCH_NOW), -EINVAL);
    ROW(filch_frame_stream_init(&stream, &from), -EINVAL);

    T_OK(filch_buf_writer_init(&out, writer, NULL));
    ROW(filch_frame_writer_init(NULL, &out, &length.base), -EINVAL);
    ROW(filch_frame_writer_init(&to, NULL, &length.base), -EINVAL);
    ROW(filch_frame_writer_init(&to, &ended_out, &length.base), -EINVAL);
    ROW(filch_frame_writer_init(&to, &out, NULL), -EINVAL);
    ROW(filch_frame_writer_init(&to, &out, &none), -EINVAL);
    ROW(filch_frame_write(NULL, "x", 1, FILCH_NOW), -EINVAL);
    none.encode = encode_too_much;
    T_OK(filch_frame_writer_init(&to, &out, &none));
    ROW(filch_frame_write(&to, NULL, 1, FILCH_NOW), -EINVAL);
    ROW(filch_frame_write(&to, "x", 1, FILCH_NOW), -EIO);
    filch_buf_writer_fini(&out);
    ROW(filch_frame_write(&to, "x", 1, FILCH_NOW), -EINVAL);
    cr_assert_eq(misuse_wrong, 0);
}

Test(misuse_bytes, streams_of_connections)
{
    filch_tcp_stream *stream;
    filch_view view;
    char buf[8];

    ROW(filch_tcp_stream_open(NULL, NULL, &stream), -EINVAL);
    ROW(filch_tcp_stream_fill(NULL, &view, FILCH_NOW), -EINVAL);
    ROW(filch_tcp_stream_consume(NULL, 0), -EINVAL);
    ROW(filch_tcp_stream_read(NULL, buf, 8, FILCH_NOW), -EINVAL);
    ROW(filch_read_exact(filch_tcp_stream_reader(NULL), buf, 1, NULL, FILCH_NOW), -EINVAL);
    ROW(filch_tcp_stream_close(NULL), 0);
    ROW(filch_tcp_write_zero_copy(NULL, buf, 8, FILCH_NOW), -EINVAL);
    cr_assert_eq(misuse_wrong, 0);
}
