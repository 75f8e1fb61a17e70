/* Description: errors that <filch/buffered.h>, <filch/frame.h>, <filch/stream_io.h> and
 * <filch/copy.h> promise and that other tests have no cause to provoke: of memory, which a wrapper
 * refuses that the linker puts in (--wrap), of readers and writers that lie or have gone, and of
 * calls that come too late. */
#include <unistd.h>

#include <criterion/criterion.h>

#include <filch/copy.h>
#include <filch/frame.h>
#include <filch/stream_io.h>

#include "tests/runner/refused_memory.h"
#include "tests/runner/script.h"

TestSuite(errors_codec, .timeout = 60);

/* ---- memory ---- */

Test(errors_codec, of_memory)
{
    static const char text[] = "0123456789abcdef\n";
    struct script_reader script = {.data = text, .bytes = sizeof text - 1, .piece_max = 100};
    struct script_writer to = {.room = 0};
    const filch_buf_opts grows = {.bytes = 4, .bytes_max = 64};
    filch_buf_reader in;
    filch_buf_writer out;
    filch_dir_stream dir;
    filch_view view;
    filch_line line;

    SAYS(MEMORY, filch_buf_reader_init(&in, script_reader(&script), NULL), -ENOMEM);
    SAYS(MEMORY, filch_buf_writer_init(&out, script_writer(&to), NULL), -ENOMEM);
    SAYS(MEMORY, filch_dir_stream_init(&dir, "/"), -ENOMEM);
    T_OK(filch_buf_reader_init(&in, script_reader(&script), &grows));
    SAYS(MEMORY, filch_buf_reader_fill(&in, 10, T_LIMIT), -ENOMEM);
    SAYS(MEMORY, filch_buf_reader_until(&in, '\n', &view, T_LIMIT), -ENOMEM);
    SAYS(MEMORY, filch_buf_reader_line(&in, &line, T_LIMIT), -ENOMEM);
    T_IS(filch_buf_reader_line(&in, &line, T_LIMIT), 1);
    T_CHECK(strcmp(line.text, "0123456789abcdef") == 0);
    filch_buf_reader_fini(&in);
}

/* ---- those that lie ---- */

static ssize_t read_too_much(void *context, void *buf, size_t bytes, filch_time until)
{
    (void)context, (void)buf, (void)until;
    return (ssize_t)bytes + 1;
}

static ssize_t write_nothing(void *context, const void *buf, size_t bytes, filch_time until)
{
    (void)context, (void)buf, (void)bytes, (void)until;
    return 0;
}

Test(errors_codec, of_those_that_lie)
{
    const filch_buf_opts small = {.bytes = 4};
    char large[8] = "1234567";
    filch_buf_reader in;
    filch_buf_writer out;
    filch_view view;
    filch_line line;

    T_OK(filch_buf_reader_init(&in, (filch_reader){.read = read_too_much}, &small));
    T_IS(filch_buf_reader_read(&in, large, 1, T_LIMIT), -EIO);
    T_IS(filch_buf_reader_read(&in, large, sizeof large, T_LIMIT), -EIO); /* past the buffer */
    T_IS(filch_buf_reader_skip(&in, 1, NULL, T_LIMIT), -EIO);
    T_IS(filch_buf_reader_until(&in, 'x', &view, T_LIMIT), -EIO);
    T_IS(filch_buf_reader_line(&in, &line, T_LIMIT), -EIO);
    filch_buf_reader_fini(&in);
    T_OK(filch_buf_writer_init(&out, (filch_writer){.write = write_nothing}, &small));
    T_IS(filch_buf_writer_write(&out, large, sizeof large, T_LIMIT), -EIO); /* past the buffer */
    T_OK(filch_buf_writer_write_all(&out, large, 3, NULL, T_LIMIT));
    T_IS(filch_buf_writer_reserve(&out, 3, NULL, T_LIMIT), -EIO);
    T_IS(filch_buf_writer_pending(&out), 3);
    filch_buf_writer_fini(&out);
}

/* ---- frames ---- */

/* Reads @text, of frames with one byte of length before them. */
static void begin(struct script_reader *script, filch_buf_reader *in, filch_frame_reader *frames,
                  const filch_buf_opts *opts)
{
    static filch_length_codec codec;

    script->piece_max = script->bytes;
    T_OK(filch_length_codec_init(&codec, &(filch_length_opts){.width = 1, .max = 3}));
    T_OK(filch_buf_reader_init(in, script_reader(script), opts));
    T_OK(filch_frame_reader_init(frames, in, &codec.base));
}

Test(errors_codec, of_frames)
{
    struct script_reader script = {.data = "\5abcde\3abc\3a", .bytes = 12};
    const filch_buf_opts grows = {.bytes = 4, .bytes_max = 64};
    filch_frame_reader frames;
    filch_buf_reader in;
    filch_view frame;

    begin(&script, &in, &frames, &grows);
    T_IS(filch_frame_read(&frames, &frame, T_LIMIT), -EMSGSIZE);
    SAYS(MEMORY, filch_frame_read(&frames, &frame, T_LIMIT), -ENOMEM);
    T_IS(filch_frame_read(&frames, &frame, T_LIMIT), 1);
    T_CHECK(frame.bytes == 3 && memcmp(frame.data, "abc", 3) == 0);
    T_IS(filch_frame_read(&frames, &frame, T_LIMIT), -EPIPE);
    filch_buf_reader_fini(&in);
}

static int wants_more(filch_codec *codec, const char *data, size_t bytes, filch_view *ret_frame,
                      uint64_t *ret_used)
{
    (void)codec, (void)data, (void)bytes, (void)ret_frame, (void)ret_used;
    return 0;
}

Test(errors_codec, of_a_codec_that_is_never_content)
{
    struct script_reader script = {.data = "abcdefgh", .bytes = 8, .piece_max = 8};
    filch_codec codec = {.decode = wants_more};
    filch_frame_reader frames;
    filch_buf_reader in;
    filch_view frame;

    T_OK(filch_buf_reader_init(&in, script_reader(&script), &(filch_buf_opts){.bytes = 4}));
    T_OK(filch_frame_reader_init(&frames, &in, &codec));
    T_IS(filch_frame_read(&frames, &frame, T_LIMIT), -ENOBUFS);
    filch_buf_reader_fini(&in);
}

static ssize_t read_again(void *context, void *buf, size_t bytes, filch_time until)
{
    (void)context, (void)buf, (void)bytes, (void)until;
    return -EAGAIN;
}

/* A stream's own -EAGAIN says that nothing is there yet. */
static int streams_body(void *arg)
{
    struct script_reader script = {.data = "\3a", .bytes = 2};
    filch_frame_stream stream;
    filch_frame_reader frames;
    filch_buf_reader in;
    filch_view frame;

    (void)arg;
    begin(&script, &in, &frames, NULL);
    T_OK(filch_frame_stream_init(&stream, &frames));
    T_IS(filch_stream_next(&stream.base, &frame, T_LIMIT), -EPIPE);
    filch_stream_drop(&stream.base);
    filch_buf_reader_fini(&in);
    begin(&script, &in, &frames, NULL);
    in.reader = (filch_reader){.read = read_again};
    T_OK(filch_frame_stream_init(&stream, &frames));
    T_IS(filch_stream_next(&stream.base, &frame, T_LIMIT), -EIO);
    filch_stream_drop(&stream.base);
    filch_buf_reader_fini(&in);
    return 0;
}

Test(errors_codec, of_streams_of_frames)
{
    T_OK(run_in_runtime(0, streams_body, NULL));
}

/* ---- copies ---- */

/* A stream in memory with a byte to read and no room for another one, and its other end. */
struct ends {
    filch_duplex *end, *other;
    filch_io io; /* of the end */
};

static struct ends make_ends(void)
{
    struct ends ends;

    T_OK(filch_duplex_new(1, &ends.end, &ends.other));
    T_IS(filch_duplex_write(ends.other, "x", 1, FILCH_NOW), 1);
    T_IS(filch_duplex_write(ends.end, "x", 1, FILCH_NOW), 1);
    ends.io = filch_duplex_io(ends.end);
    return ends;
}

static void free_ends(struct ends *ends)
{
    filch_duplex_free(ends->end);
    filch_duplex_free(ends->other);
}

struct copies {
    struct ends a, b;
    filch_file *file;
};

static void begin_copies(struct copies *copies)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    T_IS(write(fd, "xy", 2), 2);
    T_OK(filch_file_adopt(fd, &copies->file));
    copies->a = make_ends();
    copies->b = make_ends();
}

static void end_copies(struct copies *copies)
{
    free_ends(&copies->a);
    free_ends(&copies->b);
    T_OK(filch_file_close(copies->file));
}

static int copies_cancelled(void *arg)
{
    struct copies *copies = arg;
    filch_io a = copies->a.io, b = copies->b.io;

    T_OK(filch_task_cancel(filch_task_self()));
    T_IS(filch_copy(a.reader, b.writer, NULL, NULL, T_LIMIT), -ECANCELED);
    T_IS(filch_send_file(b.writer, copies->file, 0, 2, NULL, T_LIMIT), -ECANCELED);
    T_IS(filch_copy_both(a, b, NULL, NULL, T_LIMIT), -ECANCELED);
    return 0;
}

static int copies_body(void *arg)
{
    struct copies copies;
    filch_io a, b;

    (void)arg;
    begin_copies(&copies);
    a = copies.a.io, b = copies.b.io;
    SAYS(MEMORY, filch_copy(a.reader, b.writer, NULL, NULL, T_LIMIT), -ENOMEM);
    SAYS(MEMORY, filch_send_file(b.writer, copies.file, 0, 2, NULL, T_LIMIT), -ENOMEM);
    SAYS(MEMORY, filch_copy_both(a, b, NULL, NULL, T_LIMIT), -ENOMEM);
    T_OK(join(spawn(copies_cancelled, &copies)));
    end_copies(&copies);
    begin_copies(&copies);
    T_IS(filch_copy_both(copies.a.io, copies.b.io, NULL, NULL, filch_after(FILCH_MILLISECOND)),
         -ETIMEDOUT);
    end_copies(&copies);
    begin_copies(&copies);
    a = copies.a.io, b = copies.b.io;
    filch_duplex_free(copies.b.other);
    copies.b.other = NULL;
    T_IS(filch_copy(a.reader, b.writer, NULL, NULL, T_LIMIT), -EPIPE);
    T_IS(filch_send_file(b.writer, copies.file, 0, 2, NULL, T_LIMIT), -EPIPE);
    end_copies(&copies);
    return 0;
}

Test(errors_codec, of_copies)
{
    T_OK(run_in_runtime(1, copies_body, NULL));
}

Test(errors_codec, of_copies_in_a_plain_thread)
{
    struct copies copies;

    begin_copies(&copies);
    T_IS(filch_copy_both(copies.a.io, copies.b.io, NULL, NULL, T_LIMIT), -EPERM);
    end_copies(&copies);
}

/* Cancelled by the shutdown, but shielded. */
static int copies_at_the_end(void *arg)
{
    struct copies copies;

    (void)arg;
    begin_copies(&copies);
    T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    FILCH_SHIELD(T_LIMIT)
    {
        T_IS(filch_copy_both(copies.a.io, copies.b.io, NULL, NULL, T_LIMIT), -ESHUTDOWN);
    }
    end_copies(&copies);
    return 0;
}

Test(errors_codec, of_copies_in_a_runtime_that_stops)
{
    filch_runtime *rt = start_runtime(0);

    T_OK(filch_runtime_spawn(rt, copies_at_the_end, NULL, NULL, NULL));
    stop_runtime(rt);
}
