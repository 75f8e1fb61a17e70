/* Description: frames: written and read through every codec, in random pieces, with calls that fail
 * in between; frames that are too long, streams that end within one, codecs of a user's own. */
#include <criterion/criterion.h>

#include "tests/runner/script.h"
#include "tests/runner/tcp_pair.h"

TestSuite(frame, .timeout = 120);

#define FRAME_MAX 300
#define FRAMES 60

/* ---- a stream of all sorts of frames, and what it must look like ---- */

struct codecs {
    filch_length_codec length;
    filch_delimiter_codec delimiter;
    filch_fixed_codec fixed;
};

/* A codec of a user's own: a kind, a byte of length, and the frame; both ends are given. */
static int kind_decode(filch_codec *codec, const char *data, size_t bytes, filch_view *ret_frame,
                       uint64_t *ret_used)
{
    size_t length = bytes < 2 ? 0 : (unsigned char)data[1];

    (void)codec;
    if (data[0] != 'k')
        return -EPROTO;
    if (bytes < 2 || bytes - 2 < length)
        return 0;
    *ret_frame = (filch_view){.data = data + 2, .bytes = length};
    *ret_used = length + 2;
    return 1;
}

static int kind_encode(const filch_codec *codec, const void *frame, size_t bytes,
                       filch_frame_ends *ret_ends)
{
    (void)codec;
    (void)frame;
    if (bytes > 255)
        return -EMSGSIZE;
    ret_ends->head[0] = 'k';
    ret_ends->head[1] = (unsigned char)bytes;
    ret_ends->head_bytes = 2;
    return 0;
}

static filch_codec kind_codec = {.decode = kind_decode, .encode = kind_encode, .overhead = 2};

#define CODECS 16

static filch_codec *make_codec(struct codecs *codecs, unsigned which)
{
    static const unsigned widths[] = {1, 2, 4, 8, FILCH_LENGTH_VARINT};
    filch_length_opts opts = {.width = widths[which % 5], .little_endian = which >= 5};

    if (which < 10) {
        if (opts.width < FILCH_LENGTH_VARINT && which % 2)
            opts.adjust = which % 4 == 1 ? -(int)opts.width : 3;
        opts.with_length = which % 3 == 0;
        opts.max = which % 3 == 1 ? FRAME_MAX : 0;
        T_OK(filch_length_codec_init(&codecs->length, &opts));
        return &codecs->length.base;
    }
    switch (which) {
    case 10:
        T_OK(filch_delimiter_codec_init(&codecs->delimiter, "\0", 1, 0));
        return &codecs->delimiter.base;
    case 11:
        T_OK(filch_delimiter_codec_init(&codecs->delimiter, "\r\n\r\n", 4, FRAME_MAX));
        return &codecs->delimiter.base;
    case 12:
        T_OK(filch_line_codec_init(&codecs->delimiter, FRAME_MAX));
        return &codecs->delimiter.base;
    case 13:
        T_OK(filch_fixed_codec_init(&codecs->fixed, 17));
        return &codecs->fixed.base;
    case 14:
        return &kind_codec;
    default:
        T_OK(filch_delimiter_codec_init(&codecs->delimiter, "ababac", 6, FRAME_MAX));
        return &codecs->delimiter.base;
    }
}

/* A frame that every codec can carry but the fixed one: printable, and with parts of delimiters. */
static size_t make_frame(char *frame, unsigned which, uint64_t *seed)
{
    size_t bytes = which == 13 ? 17 : test_random(seed) % 5 ? 4 + test_random(seed) % 240 : 4;

    for (size_t i = 0; i < bytes; i++)
        frame[i] = "abab.\rcd"[test_random(seed) % (which == 15 ? 6 : 8)];
    if (bytes && frame[bytes - 1] == '\r')
        frame[bytes - 1] = 'x';
    if (which == 15 && bytes > 6 && test_random(seed) % 2)
        memcpy(frame + bytes - 5, "ababa", 5);
    return bytes;
}

static void write_frames(filch_codec *codec, unsigned which, uint64_t seed,
                         struct script_writer *script)
{
    filch_buf_writer out;
    filch_frame_writer frames;
    char frame[FRAME_MAX];
    int r;

    /* Small buffers: frames that fit, and frames that do not. */
    T_OK(filch_buf_writer_init(&out, script_writer(script),
                               &(filch_buf_opts){.bytes = 32 + seed % 400}));
    T_OK(filch_frame_writer_init(&frames, &out, codec));
    for (int i = 0; i < FRAMES; i++) {
        size_t bytes = make_frame(frame, which, &seed);

        do
            r = filch_frame_write(&frames, frame, bytes, T_LIMIT);
        while (gave_up(r));
        T_OK(r);
    }
    do
        r = filch_buf_writer_finish(&out, T_LIMIT);
    while (gave_up(r));
    T_OK(r);
    filch_buf_writer_fini(&out);
}

static void check_frame(filch_codec *codec, unsigned which, filch_view frame, uint64_t *seed)
{
    char want[FRAME_MAX];
    size_t bytes = make_frame(want, which, seed);
    size_t head = which < 10 && which % 3 == 0 ? frame.bytes - bytes : 0;

    (void)codec;
    T_IS(frame.bytes, head + bytes);
    T_CHECK(memcmp(frame.data + head, want, bytes) == 0);
}

static void read_frames(filch_codec *codec, unsigned which, uint64_t seed, filch_reader reader,
                        bool by_stream)
{
    filch_buf_reader in;
    filch_frame_reader frames;
    filch_frame_stream stream;
    filch_view frame;
    int r;

    T_OK(filch_buf_reader_init(&in, reader, &(filch_buf_opts){.bytes = 30, .bytes_max = 400}));
    T_OK(filch_frame_reader_init(&frames, &in, codec));
    T_OK(filch_frame_stream_init(&stream, &frames));
    for (int i = 0; i <= FRAMES; i++) {
        do
            r = by_stream ? filch_stream_next(&stream.base, &frame, i % 2 ? FILCH_NOW : T_LIMIT)
                          : filch_frame_read(&frames, &frame, T_LIMIT);
        while (gave_up(r) && (by_stream ? filch_task_yield() : (void)0, true));
        T_IS(r, i < FRAMES);
        if (r > 0)
            check_frame(codec, which, frame, &seed);
    }
    filch_stream_drop(&stream.base);
    filch_buf_reader_fini(&in);
}

static void there_and_back(unsigned which, uint64_t seed, bool by_stream)
{
    static char stream[FRAMES * (FRAME_MAX + 16)];
    struct script_writer out = {.data = stream,
                                .room = sizeof stream,
                                .piece_max = 1 + seed % 3 * 30,
                                .fails = seed % 4,
                                .seed = seed};
    struct script_reader in = {
        .data = stream, .piece_max = 1 + seed % 4 * 60, .fails = seed % 4, .seed = seed};
    struct codecs codecs;

    write_frames(make_codec(&codecs, which), which, seed, &out);
    in.bytes = out.bytes;
    read_frames(make_codec(&codecs, which), which, seed, script_reader(&in), by_stream);
}

static int all_codecs(void *arg)
{
    bool by_stream = arg;

    for (unsigned which = 0; which < CODECS; which++)
        for (uint64_t seed = 1; seed <= 12; seed++)
            there_and_back(which, seed, by_stream && seed % 3 == 0);
    return 0;
}

Test(frame, frames_come_back_through_every_codec)
{
    T_OK(all_codecs(NULL));
}

Test(frame, frames_are_a_stream)
{
    T_OK(run_in_runtime(0, all_codecs, "by stream"));
}

/* ---- exact bytes ---- */

static void check_encoded(const filch_codec *codec, const char *frame, size_t bytes,
                          const char *want, size_t want_bytes)
{
    char got[64];
    struct script_writer script = {.data = got, .room = sizeof got, .piece_max = 64};
    filch_buf_writer out;
    filch_frame_writer frames;

    T_OK(filch_buf_writer_init(&out, script_writer(&script), NULL));
    T_OK(filch_frame_writer_init(&frames, &out, codec));
    T_OK(filch_frame_write(&frames, frame, bytes, T_LIMIT));
    T_OK(filch_buf_writer_flush(&out, T_LIMIT));
    T_IS(script.bytes, want_bytes);
    T_CHECK(memcmp(got, want, want_bytes) == 0);
    filch_buf_writer_fini(&out);
}

Test(frame, lengths_look_as_they_must)
{
    char long_frame[30] = "abc";
    filch_length_codec codec;
    filch_delimiter_codec lines;

    T_OK(filch_length_codec_init(&codec, NULL));
    check_encoded(&codec.base, "abc", 3, "\0\0\0\3abc", 7);
    check_encoded(&codec.base, NULL, 0, "\0\0\0\0", 4);
    T_OK(filch_length_codec_init(&codec, &(filch_length_opts){.width = 2, .little_endian = true}));
    check_encoded(&codec.base, "abc", 3, "\3\0abc", 5);
    T_OK(filch_length_codec_init(&codec, &(filch_length_opts){.width = 1, .adjust = -1}));
    check_encoded(&codec.base, "abc", 3, "\4abc", 4);
    T_OK(filch_length_codec_init(&codec, &(filch_length_opts){.width = 8, .adjust = 2}));
    check_encoded(&codec.base, "abc", 3, "\0\0\0\0\0\0\0\1abc", 11);
    T_OK(filch_length_codec_init(&codec, &(filch_length_opts){.width = FILCH_LENGTH_VARINT}));
    check_encoded(&codec.base, long_frame, 3, "\3abc", 4);
    T_OK(filch_line_codec_init(&lines, 0));
    check_encoded(&lines.base, "abc", 3, "abc\n", 4);
}

/* What reading a text gives, one result after the other: 1 with its frame, or an error. */
struct step {
    int result;
    const char *frame;
};

static void check_steps(filch_codec *(*make)(struct codecs *), const char *text, size_t bytes,
                        const struct step *steps, size_t count)
{
    for (size_t piece = 1; piece <= bytes; piece++) {
        struct script_reader script = {
            .data = text, .bytes = bytes, .piece_max = piece, .fails = 2, .seed = piece};
        struct codecs codecs;
        filch_buf_reader in;
        filch_frame_reader frames;
        filch_view frame;
        int r;

        T_OK(filch_buf_reader_init(&in, script_reader(&script), &(filch_buf_opts){.bytes = 32}));
        T_OK(filch_frame_reader_init(&frames, &in, make(&codecs)));
        for (size_t i = 0; i < count; i++) {
            do
                r = filch_frame_read(&frames, &frame, T_LIMIT);
            while (gave_up(r));
            T_IS(r, steps[i].result);
            if (r > 0)
                T_CHECK(frame.bytes == strlen(steps[i].frame) &&
                        memcmp(frame.data, steps[i].frame, frame.bytes) == 0);
        }
        filch_buf_reader_fini(&in);
    }
}

#define CHECK_STEPS(make, text, ...)                                                               \
    check_steps(make, text, sizeof(text) - 1, (const struct step[]){__VA_ARGS__},                  \
                sizeof((const struct step[]){__VA_ARGS__}) / sizeof(struct step))

static filch_codec *short_lengths(struct codecs *codecs)
{
    T_OK(filch_length_codec_init(&codecs->length, &(filch_length_opts){.width = 1, .max = 5}));
    return &codecs->length.base;
}

static filch_codec *self_counting(struct codecs *codecs)
{
    T_OK(filch_length_codec_init(&codecs->length,
                                 &(filch_length_opts){.width = 2, .adjust = -2, .max = 5}));
    return &codecs->length.base;
}

static filch_codec *varints(struct codecs *codecs)
{
    T_OK(filch_length_codec_init(&codecs->length,
                                 &(filch_length_opts){.width = FILCH_LENGTH_VARINT, .max = 5}));
    return &codecs->length.base;
}

static filch_codec *short_lines(struct codecs *codecs)
{
    T_OK(filch_line_codec_init(&codecs->delimiter, 5));
    return &codecs->delimiter.base;
}

static filch_codec *semicolons(struct codecs *codecs)
{
    T_OK(filch_delimiter_codec_init(&codecs->delimiter, ";;", 2, 5));
    return &codecs->delimiter.base;
}

static filch_codec *fixed(struct codecs *codecs)
{
    T_OK(filch_fixed_codec_init(&codecs->fixed, 3));
    return &codecs->fixed.base;
}

static filch_codec *kinds(struct codecs *codecs)
{
    (void)codecs;
    return &kind_codec;
}

Test(frame, frames_that_are_too_long_are_skipped_and_told_once)
{
    CHECK_STEPS(short_lengths, "\5first\x14of twenty bytes.....\0\4last", {1, "first"},
                {-EMSGSIZE, NULL}, {1, ""}, {1, "last"}, {0, NULL}, {0, NULL});
    CHECK_STEPS(short_lines, "first\r\n123456\nlonger than anything\r\n\n12345", {1, "first"},
                {-EMSGSIZE, NULL}, {-EMSGSIZE, NULL}, {1, ""}, {1, "12345"}, {0, NULL});
    CHECK_STEPS(semicolons, "first;;;;123456;;longer; than; anything;;last;;", {1, "first"},
                {1, ""}, {-EMSGSIZE, NULL}, {-EMSGSIZE, NULL}, {1, "last"}, {0, NULL});
}

Test(frame, a_stream_that_ends_within_a_frame_is_told_from_a_clean_end)
{
    CHECK_STEPS(short_lengths, "\3abc\3ab", {1, "abc"}, {-EPIPE, NULL}, {-EPIPE, NULL});
    CHECK_STEPS(self_counting, "\0\5abc\0", {1, "abc"}, {-EPIPE, NULL});
    CHECK_STEPS(short_lengths, "\x14too long and no end", {-EMSGSIZE, NULL}, {-EPIPE, NULL});
    CHECK_STEPS(semicolons, "a;;b;", {1, "a"}, {-EPIPE, NULL}, {-EPIPE, NULL});
    CHECK_STEPS(semicolons, "too long and no end", {-EMSGSIZE, NULL}, {-EPIPE, NULL});
    CHECK_STEPS(short_lines, "too long and no end", {-EMSGSIZE, NULL}, {0, NULL});
    CHECK_STEPS(fixed, "abcde", {1, "abc"}, {-EPIPE, NULL});
    CHECK_STEPS(fixed, "abcdef", {1, "abc"}, {1, "def"}, {0, NULL});
    CHECK_STEPS(fixed, "", {0, NULL});
    CHECK_STEPS(kinds, "k\1ak", {1, "a"}, {-EPIPE, NULL});
}

Test(frame, what_cannot_be_a_frame_ends_the_reading)
{
    CHECK_STEPS(self_counting, "\0\5abc\0\1x", {1, "abc"}, {-EBADMSG, NULL}, {-EBADMSG, NULL});
    CHECK_STEPS(varints, "\1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02x", {1, "a"}, {-EBADMSG, NULL},
                {-EBADMSG, NULL});
    CHECK_STEPS(varints, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x", {-EBADMSG, NULL});
    CHECK_STEPS(varints, "\x80\x01 128 are too many", {-EMSGSIZE, NULL}, {-EPIPE, NULL});
    CHECK_STEPS(kinds, "k\1ax", {1, "a"}, {-EPROTO, NULL}, {-EPROTO, NULL});
    CHECK_STEPS(kinds, "k\x60 more than the buffer takes can never be whole", {-ENOBUFS, NULL},
                {-ENOBUFS, NULL});
}

static int errors_of_a_stream(void *arg)
{
    struct codecs codecs;
    struct script_reader script = {.data = "\x14of twenty bytes.....\1a\3b", .bytes = 25};
    filch_buf_reader in;
    filch_frame_reader frames;
    filch_frame_stream stream;
    filch_view frame;

    (void)arg;
    script.piece_max = 4;
    T_OK(filch_buf_reader_init(&in, script_reader(&script), NULL));
    T_OK(filch_frame_reader_init(&frames, &in, short_lengths(&codecs)));
    T_OK(filch_frame_stream_init(&stream, &frames));
    T_IS(filch_stream_next(&stream.base, &frame, T_LIMIT), -EMSGSIZE);
    T_IS(filch_stream_next(&stream.base, &frame, T_LIMIT), 1);
    T_CHECK(frame.bytes == 1 && frame.data[0] == 'a');
    T_IS(filch_stream_next(&stream.base, &frame, T_LIMIT), -EPIPE);
    T_IS(filch_stream_next(&stream.base, &frame, T_LIMIT), 0);
    filch_stream_drop(&stream.base);
    filch_buf_reader_fini(&in);
    return 0;
}

Test(frame, a_stream_goes_on_behind_errors_and_ends_behind_the_last)
{
    T_OK(run_in_runtime(0, errors_of_a_stream, NULL));
}

/* ---- writing ---- */

Test(frame, frames_that_cannot_be_written_are_refused)
{
    char got[400], data[300] = {0};
    struct script_writer script = {.data = got, .room = sizeof got, .piece_max = sizeof got};
    struct codecs codecs;
    filch_buf_writer out;
    filch_frame_writer frames;

    T_OK(filch_buf_writer_init(&out, script_writer(&script), NULL));
    T_OK(filch_frame_writer_init(&frames, &out, short_lengths(&codecs)));
    T_IS(filch_frame_write(&frames, data, 6, T_LIMIT), -EMSGSIZE);
    T_OK(filch_length_codec_init(&codecs.length, &(filch_length_opts){.width = 1}));
    T_IS(filch_frame_write(&frames, data, 256, T_LIMIT), -EMSGSIZE);
    T_OK(filch_frame_write(&frames, data, 255, T_LIMIT));
    T_OK(filch_length_codec_init(&codecs.length, &(filch_length_opts){.adjust = 4}));
    T_IS(filch_frame_write(&frames, data, 3, T_LIMIT), -EMSGSIZE);
    T_OK(filch_frame_writer_init(&frames, &out, fixed(&codecs)));
    T_IS(filch_frame_write(&frames, data, 4, T_LIMIT), -EMSGSIZE);
    T_IS(filch_buf_writer_pending(&out), 256);
    filch_buf_writer_fini(&out);
}

static ssize_t write_a_little(void *context, const void *buf, size_t bytes, filch_time until)
{
    struct script_writer *script = context;

    if (script->calls % 2) {
        script->calls++;
        return -ECANCELED;
    }
    return script_write(script, buf, bytes < 10 ? bytes : 10, until);
}

Test(frame, a_long_frame_that_was_taken_in_part_must_be_finished_first)
{
    char got[200], data[100];
    struct script_writer script = {.data = got, .room = sizeof got, .piece_max = sizeof got};
    filch_writer slow = {.write = write_a_little, .context = &script};
    filch_length_codec codec;
    filch_buf_writer out;
    filch_frame_writer frames;
    int r, calls = 0;

    memset(data, 'd', sizeof data);
    T_OK(filch_length_codec_init(&codec, NULL));
    T_OK(filch_buf_writer_init(&out, slow, &(filch_buf_opts){.bytes = 32}));
    T_OK(filch_frame_writer_init(&frames, &out, &codec.base));
    while ((r = filch_frame_write(&frames, data, sizeof data, T_LIMIT)) == -ECANCELED) {
        T_IS(filch_frame_write(&frames, data, 3, T_LIMIT), -EBUSY);
        calls++;
    }
    T_OK(r);
    T_CHECK(calls > 3);
    while ((r = filch_buf_writer_flush(&out, T_LIMIT)) == -ECANCELED)
        ;
    T_OK(r);
    T_IS(script.bytes, 104);
    T_CHECK(memcmp(got, "\0\0\0\x64", 4) == 0 && memcmp(got + 4, data, 100) == 0);
    filch_buf_writer_fini(&out);
}

/* ---- a connection below ---- */

#define SENT 2000

static int send_frames(void *arg)
{
    struct tcp_pair *pair = arg;
    filch_length_codec codec;
    filch_buf_writer out;
    filch_frame_writer frames;
    char data[3000];
    int r;

    memset(data, 'f', sizeof data);
    T_OK(filch_length_codec_init(&codec, NULL));
    T_OK(filch_buf_writer_init(&out, filch_tcp_writer(pair->client),
                               &(filch_buf_opts){.bytes = 2000}));
    T_OK(filch_frame_writer_init(&frames, &out, &codec.base));
    for (uint32_t i = 0; i < SENT; i++) {
        memcpy(data, &i, sizeof i);
        do
            r = filch_frame_write(&frames, data, 4 + i * 7 % 2900, i % 3 ? T_LIMIT : FILCH_NOW);
        while (r == -ETIMEDOUT && (filch_task_yield(), true));
        T_OK(r);
    }
    T_OK(filch_buf_writer_finish(&out, T_LIMIT));
    filch_buf_writer_fini(&out);
    return 0;
}

struct receiving {
    filch_frame_reader frames;
    uint32_t next;
};

static int receive_until_cancelled(void *arg)
{
    struct receiving *to = arg;
    filch_view frame;
    int r;

    while ((r = filch_frame_read(&to->frames, &frame, T_LIMIT)) > 0) {
        T_IS(frame.bytes, 4 + to->next * 7 % 2900);
        T_CHECK(memcmp(frame.data, &to->next, 4) == 0);
        to->next++;
    }
    return r;
}

static int cancelled_again_and_again(void *arg)
{
    struct tcp_pair pair;
    struct receiving to = {.next = 0};
    filch_length_codec codec;
    filch_buf_reader in;
    filch_task *sender;
    int cancels = 0, r;

    (void)arg;
    connect_pair(&pair);
    T_OK(filch_length_codec_init(&codec, &(filch_length_opts){.max = 3000}));
    T_OK(filch_buf_reader_init(&in, filch_tcp_reader(pair.server),
                               &(filch_buf_opts){.bytes_max = 65536}));
    T_OK(filch_frame_reader_init(&to.frames, &in, &codec.base));
    sender = spawn(send_frames, &pair);
    do {
        filch_task *receiver = spawn(receive_until_cancelled, &to);

        for (int i = cancels++ % 50; i > 0; i--)
            filch_task_yield();
        T_OK(filch_task_cancel(receiver));
        r = join(receiver);
        T_CHECK(r == 0 || r == -ECANCELED);
    } while (r != 0);
    T_IS(to.next, SENT);
    T_OK(join(sender));
    filch_buf_reader_fini(&in);
    close_pair(&pair);
    return 0;
}

Test(frame, receivers_that_are_cancelled_lose_no_frame)
{
    T_OK(run_in_runtime(0, cancelled_again_and_again, NULL));
}
