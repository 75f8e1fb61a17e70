/* Description: buffered readers and writers: every byte once and in order, however it is cut, and
 * whatever calls fail in between. */
#include <criterion/criterion.h>

#include "tests/runner/script.h"
#include "tests/runner/tcp_pair.h"

TestSuite(buffered, .timeout = 120);

#define BYTES 20000
#define SEEDS 60

static void make_data(char *data, size_t bytes, uint64_t seed)
{
    for (size_t i = 0; i < bytes; i++)
        data[i] = (char)test_random(&seed);
}

/* ---- reading ---- */

struct reading {
    filch_buf_reader in;
    const char *data;
    size_t bytes;
    size_t at; /* taken so far */
    uint64_t seed;
};

static void check_took(struct reading *r, const char *data, size_t bytes)
{
    T_CHECK(bytes <= r->bytes - r->at);
    T_CHECK(memcmp(r->data + r->at, data, bytes) == 0);
    r->at += bytes;
}

/* One call of some sort. Return: false at the end. */
static bool read_somehow(struct reading *r)
{
    char buf[300];
    size_t want = test_random(&r->seed) % sizeof buf, done = 0;
    uint64_t skipped = 0;
    filch_view view = {NULL, 0};
    size_t left = r->bytes - r->at;
    ssize_t n;
    int e;

    switch (test_random(&r->seed) % 5) {
    case 0:
        do
            n = filch_buf_reader_read(&r->in, buf, want + 1, T_LIMIT);
        while (gave_up(n));
        T_CHECK(n >= 0 && (n > 0) == (left > 0));
        check_took(r, buf, (size_t)n);
        break;
    case 1:
        do
            e = filch_buf_reader_read_exact(&r->in, buf, want, &done, T_LIMIT);
        while (gave_up(e));
        T_IS(e, want <= left ? 0 : -EPIPE);
        T_IS(done, want <= left ? want : left);
        check_took(r, buf, done);
        break;
    case 2:
        do
            n = filch_buf_reader_fill(&r->in, want % 40, T_LIMIT);
        while (gave_up(n));
        T_CHECK(n >= (ssize_t)(want % 40 < left ? want % 40 : left));
        T_IS(filch_buf_reader_peek(&r->in, &view), n);
        T_IS(filch_buf_reader_consume(&r->in, view.bytes + 1), -EINVAL);
        view.bytes = view.bytes ? test_random(&r->seed) % view.bytes + 1 : 0;
        T_OK(filch_buf_reader_consume(&r->in, view.bytes));
        check_took(r, view.data, view.bytes);
        break;
    case 3:
        do
            e = filch_buf_reader_skip(&r->in, want, &skipped, T_LIMIT);
        while (gave_up(e));
        T_IS(e, want <= left ? 0 : -EPIPE);
        T_IS(skipped, want <= left ? want : left);
        r->at += (size_t)skipped;
        break;
    default:
        do
            e = filch_buf_reader_until(&r->in, '\n', &view, T_LIMIT);
        while (gave_up(e));
        T_CHECK(e >= 0 && (e > 0) == (left > 0));
        if (e == 0)
            break;
        T_CHECK(!memchr(view.data, '\n', view.bytes - 1));
        T_CHECK(view.data[view.bytes - 1] == '\n' || view.bytes == left);
        check_took(r, view.data, view.bytes);
    }
    return r->at < r->bytes;
}

static void read_all(uint64_t seed)
{
    static char data[BYTES];
    struct script_reader script = {.data = data,
                                   .bytes = sizeof data,
                                   .piece_max = 1 + seed % 7 * 50,
                                   .fails = seed % 4,
                                   .seed = seed};
    struct reading r = {.data = data, .bytes = sizeof data, .seed = seed};
    filch_buf_opts opts = {.bytes = 42 + seed % 100, .bytes_max = 8192};

    make_data(data, sizeof data, seed);
    T_OK(filch_buf_reader_init(&r.in, script_reader(&script), &opts));
    while (read_somehow(&r))
        ;
    T_CHECK(!read_somehow(&r)); /* the end again */
    filch_buf_reader_fini(&r.in);
    filch_buf_reader_fini(&r.in);
    T_IS(filch_buf_reader_fill(&r.in, 1, FILCH_NOW), -EINVAL);
}

static int read_all_seeds(void *arg)
{
    (void)arg;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        read_all(seed);
    return 0;
}

Test(buffered, every_byte_is_read_once_whatever_the_pieces)
{
    T_OK(run_in_runtime(0, read_all_seeds, NULL));
}

Test(buffered, plain_threads_read_too)
{
    T_OK(read_all_seeds(NULL));
}

Test(buffered, small_reads_above_are_few_below)
{
    char data[4096] = {0}, byte, large[4096];
    struct script_reader script = {.data = data, .bytes = sizeof data, .piece_max = sizeof data};
    filch_buf_reader in;

    T_OK(filch_buf_reader_init(&in, script_reader(&script), NULL));
    for (size_t i = 0; i < sizeof data; i++)
        T_IS(filch_buf_reader_read(&in, &byte, 1, T_LIMIT), 1);
    T_IS(script.calls, 1);
    filch_buf_reader_fini(&in);
    script = (struct script_reader){.data = data, .bytes = sizeof data, .piece_max = sizeof data};
    T_OK(filch_buf_reader_init(&in, script_reader(&script), &(filch_buf_opts){.bytes = 64}));
    T_IS(filch_buf_reader_read(&in, large, sizeof large, T_LIMIT), sizeof large);
    filch_buf_reader_fini(&in);
}

Test(buffered, a_view_is_limited_by_the_buffer_alone)
{
    char data[100], buffer[33];
    struct script_reader script = {.data = data, .bytes = sizeof data, .piece_max = 9};
    filch_buf_reader in;
    filch_view view;

    make_data(data, sizeof data, 7);
    T_OK(filch_buf_reader_init(&in, script_reader(&script),
                               &(filch_buf_opts){.buffer = buffer, .bytes = sizeof buffer}));
    T_IS(filch_buf_reader_fill(&in, 33, T_LIMIT), -EMSGSIZE);
    T_CHECK(filch_buf_reader_fill(&in, 20, T_LIMIT) >= 20);
    T_OK(filch_buf_reader_consume(&in, 19));
    T_IS(filch_buf_reader_fill(&in, 32, T_LIMIT), 32);
    T_IS(filch_buf_reader_peek(&in, &view), 32);
    T_CHECK(memcmp(view.data, data + 19, 32) == 0);
    filch_buf_reader_fini(&in);
}

Test(buffered, a_line_that_is_too_long_is_skipped_and_told_once)
{
    static const char text[] = "short\n0123456789abcdef0123456789abcdef\r\nnext\r\n\nlast";
    static const char *const want[] = {"short", NULL, "next", "", "last"};

    for (size_t piece = 1; piece < sizeof text; piece++) {
        struct script_reader script = {
            .data = text, .bytes = sizeof text - 1, .piece_max = piece, .fails = 2, .seed = piece};
        filch_buf_reader in;
        filch_line line;
        int r;

        T_OK(filch_buf_reader_init(&in, script_reader(&script), &(filch_buf_opts){.bytes = 17}));
        for (size_t i = 0; i < 5; i++) {
            do
                r = filch_buf_reader_line(&in, &line, T_LIMIT);
            while (gave_up(r));
            T_IS(r, want[i] ? 1 : -EMSGSIZE);
            if (want[i])
                T_CHECK(strcmp(line.text, want[i]) == 0 && line.bytes == strlen(want[i]));
        }
        do
            r = filch_buf_reader_line(&in, &line, T_LIMIT);
        while (gave_up(r));
        T_IS(r, 0);
        filch_buf_reader_fini(&in);
    }
}

Test(buffered, the_rest_of_what_is_too_long_can_be_read_instead)
{
    static const char text[] = "0123456789abcdef,x\ny,";
    struct script_reader script = {.data = text, .bytes = sizeof text - 1, .piece_max = 100};
    filch_buf_reader in;
    filch_view view;
    char rest[3];

    T_OK(filch_buf_reader_init(&in, script_reader(&script), &(filch_buf_opts){.bytes = 9}));
    T_IS(filch_buf_reader_until(&in, ',', &view, T_LIMIT), -EMSGSIZE);
    T_OK(filch_buf_reader_read_exact(&in, rest, 3, NULL, T_LIMIT));
    T_CHECK(memcmp(rest, "89a", 3) == 0);
    T_IS(filch_buf_reader_until(&in, ',', &view, T_LIMIT), 1);
    T_CHECK(view.bytes == 6 && memcmp(view.data, "bcdef,", 6) == 0);
    T_IS(filch_buf_reader_until(&in, '\n', &view, T_LIMIT), 1);
    T_IS(filch_buf_reader_until(&in, ',', &view, T_LIMIT), 1);
    T_IS(filch_buf_reader_until(&in, ',', &view, T_LIMIT), 0);
    filch_buf_reader_fini(&in);
}

static ssize_t read_too_much(void *context, void *buf, size_t bytes, filch_time until)
{
    (void)context;
    (void)buf;
    (void)until;
    return (ssize_t)bytes + 1;
}

static ssize_t write_nothing(void *context, const void *buf, size_t bytes, filch_time until)
{
    (void)buf;
    (void)until;
    return context ? (ssize_t)bytes + 1 : 0;
}

Test(buffered, readers_and_writers_that_lie_are_found_out)
{
    filch_reader reader = {.read = read_too_much};
    filch_writer writer = {.write = write_nothing};
    char buf[64], *data = NULL;
    size_t done = 0;
    filch_buf_reader in;
    filch_buf_writer out;

    T_IS(filch_read_exact(reader, buf, 4, NULL, T_LIMIT), -EIO);
    T_IS(filch_read_to_end(reader, 100, &data, &done, T_LIMIT), -EIO);
    free(data);
    T_IS(filch_write_all(writer, buf, 4, NULL, T_LIMIT), -EIO);
    T_OK(filch_buf_reader_init(&in, reader, NULL));
    T_IS(filch_buf_reader_fill(&in, 1, T_LIMIT), -EIO);
    filch_buf_reader_fini(&in);
    for (int more = 0; more < 2; more++) {
        writer.context = more ? &writer : NULL;
        T_OK(filch_buf_writer_init(&out, writer, NULL));
        T_IS(filch_buf_writer_write(&out, buf, 4, T_LIMIT), 4);
        T_IS(filch_buf_writer_flush(&out, T_LIMIT), -EIO);
        T_IS(filch_buf_writer_pending(&out), 4);
        filch_buf_writer_fini(&out);
    }
}

/* ---- to the end ---- */

Test(buffered, all_of_a_stream_comes_into_memory)
{
    static char data[BYTES];

    make_data(data, sizeof data, 3);
    for (uint64_t seed = 0; seed < 40; seed++) {
        size_t bytes = seed * seed * 12;
        struct script_reader script = {.data = data,
                                       .bytes = bytes,
                                       .piece_max = 1 + seed * 100,
                                       .fails = seed % 3,
                                       .seed = seed};
        size_t limit = seed % 2 ? bytes : seed % 4 && bytes ? bytes - 1 : bytes + 5000, done = 0;
        char *got = NULL;
        int r;

        do
            r = filch_read_to_end(script_reader(&script), limit, &got, &done, T_LIMIT);
        while (gave_up(r));
        T_IS(r, bytes <= limit ? 0 : -EMSGSIZE);
        T_IS(done, bytes <= limit ? bytes : limit);
        T_CHECK(got && memcmp(got, data, done) == 0 && got[done] == '\0');
        free(got);
    }
}

/* ---- writing ---- */

struct writing {
    filch_buf_writer out;
    char *want;
    size_t bytes;
    uint64_t seed;
};

static void write_somehow(struct writing *w)
{
    char buf[400], text[32];
    size_t bytes = 1 + test_random(&w->seed) % sizeof buf, done = 0;
    void *room;
    ssize_t n;
    int r;

    make_data(buf, bytes, w->seed);
    switch (test_random(&w->seed) % 5) {
    case 0:
        do
            n = filch_buf_writer_write(&w->out, buf, bytes, T_LIMIT);
        while (gave_up(n));
        T_CHECK(n > 0);
        done = (size_t)n;
        break;
    case 1:
        do
            r = filch_buf_writer_write_all(&w->out, buf, bytes, &done, T_LIMIT);
        while (gave_up(r));
        T_OK(r);
        break;
    case 2:
        bytes %= 64;
        do
            r = filch_buf_writer_reserve(&w->out, bytes, &room, T_LIMIT);
        while (gave_up(r));
        T_OK(r);
        memcpy(room, buf, bytes);
        T_OK(filch_buf_writer_commit(&w->out, bytes));
        done = bytes;
        break;
    case 3:
        r = snprintf(text, sizeof text, "%zu-%u", bytes, test_random(&w->seed));
        memcpy(buf, text, (size_t)r);
        while ((n = filch_buf_writer_printf(&w->out, "%s", text)) == -ENOBUFS)
            while ((r = filch_buf_writer_flush(&w->out, T_LIMIT)) != 0)
                T_CHECK(gave_up(r));
        done = (size_t)n;
        break;
    default:
        do
            r = filch_buf_writer_flush(&w->out, T_LIMIT);
        while (gave_up(r));
        T_OK(r);
        T_IS(filch_buf_writer_pending(&w->out), 0);
    }
    memcpy(w->want + w->bytes, buf, done);
    w->bytes += done;
}

static void write_much(uint64_t seed)
{
    static char want[3 * BYTES], got[3 * BYTES];
    struct script_writer script = {.data = got,
                                   .room = sizeof got,
                                   .piece_max = 1 + seed % 5 * 40,
                                   .fails = seed % 4,
                                   .seed = seed};
    struct writing w = {.want = want, .seed = seed};
    int r;

    T_OK(filch_buf_writer_init(&w.out, script_writer(&script),
                               &(filch_buf_opts){.bytes = 64 + seed % 200}));
    while (w.bytes < BYTES)
        write_somehow(&w);
    do
        r = filch_buf_writer_finish(&w.out, T_LIMIT);
    while (gave_up(r));
    T_OK(r);
    T_IS(script.finished, 1);
    T_IS(script.bytes, w.bytes);
    T_CHECK(memcmp(got, want, w.bytes) == 0);
    filch_buf_writer_fini(&w.out);
    T_IS(filch_buf_writer_flush(&w.out, FILCH_NOW), -EINVAL);
}

static int write_all_seeds(void *arg)
{
    (void)arg;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        write_much(seed);
    return 0;
}

Test(buffered, every_byte_is_written_once_whatever_fails)
{
    T_OK(run_in_runtime(0, write_all_seeds, NULL));
}

Test(buffered, plain_threads_write_too)
{
    T_OK(write_all_seeds(NULL));
}

Test(buffered, small_writes_above_are_few_below)
{
    static char got[8192];
    struct script_writer script = {.data = got, .room = sizeof got, .piece_max = sizeof got};
    filch_buf_writer out;

    T_OK(filch_buf_writer_init(&out, script_writer(&script), &(filch_buf_opts){.bytes = 1024}));
    for (int i = 0; i < 4096; i++)
        T_IS(filch_buf_writer_write(&out, "x", 1, T_LIMIT), 1);
    T_OK(filch_buf_writer_flush(&out, T_LIMIT));
    T_IS(script.calls, 4);
    T_IS(filch_buf_writer_reserve(&out, 1025, NULL, T_LIMIT), -EMSGSIZE);
    filch_buf_writer_fini(&out);
}

/* ---- a connection below ---- */

#define LINES 3000

static int send_lines(void *arg)
{
    struct tcp_pair *pair = arg;
    filch_buf_writer out;
    char pad[700];
    int r;

    memset(pad, 'p', sizeof pad);
    T_OK(filch_buf_writer_init(&out, filch_tcp_writer(pair->client),
                               &(filch_buf_opts){.bytes = 1000}));
    for (int i = 0; i < LINES; i++)
        while ((r = filch_buf_writer_printf(&out, "%d %.*s\n", i, i % 700, pad)) < 0) {
            T_IS(r, -ENOBUFS);
            do
                r = filch_buf_writer_flush(&out, i % 3 ? T_LIMIT : FILCH_NOW);
            while (r == -ETIMEDOUT && (filch_task_yield(), true));
            T_OK(r);
        }
    T_OK(filch_buf_writer_finish(&out, T_LIMIT));
    filch_buf_writer_fini(&out);
    return 0;
}

/* Reads lines until it is cancelled, in a state that its successor goes on with. */
static int read_until_cancelled(void *arg)
{
    void **args = arg;
    filch_buf_reader *in = args[0];
    int *next = args[1];
    filch_line line;
    int r;

    while ((r = filch_buf_reader_line(in, &line, T_LIMIT)) > 0) {
        T_IS(atoi(line.text), *next);
        T_IS(line.bytes, (size_t)snprintf(NULL, 0, "%d ", *next) + (size_t)(*next % 700));
        ++*next;
    }
    return r;
}

static int cancelled_again_and_again(void *arg)
{
    struct tcp_pair pair;
    filch_buf_reader in;
    filch_task *sender;
    int next = 0, cancels = 0, r;
    void *args[] = {&in, &next};

    (void)arg;
    connect_pair(&pair);
    T_OK(filch_buf_reader_init(&in, filch_tcp_reader(pair.server),
                               &(filch_buf_opts){.bytes = 1024}));
    sender = spawn(send_lines, &pair);
    do {
        filch_task *reader = spawn(read_until_cancelled, args);

        for (int i = cancels++ % 50; i > 0; i--)
            filch_task_yield();
        T_OK(filch_task_cancel(reader));
        r = join(reader);
        T_CHECK(r == 0 || r == -ECANCELED);
    } while (r != 0);
    T_IS(next, LINES);
    T_OK(join(sender));
    filch_buf_reader_fini(&in);
    close_pair(&pair);
    return 0;
}

Test(buffered, readers_that_are_cancelled_lose_nothing)
{
    T_OK(run_in_runtime(0, cancelled_again_and_again, NULL));
}
