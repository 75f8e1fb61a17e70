/* Description: the ends of a copy that the kernel makes by itself, found as a read and a write
 * would find them: those that have nothing, are full, end, have gone, or are closed; what a copy
 * says then, and whose failure it was. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/runner/copying.h"

TestSuite(splice_ends, .timeout = 60);

/* ---- ends that have nothing, are full, end ---- */

static void waits_for(struct copying *copying, bool writing)
{
    for (int i = 0; i < 2; i++) {
        copying->until = i ? filch_after(FILCH_MILLISECOND) : FILCH_NOW;
        T_IS(copies(copying), -ETIMEDOUT);
        T_IS(copying->copier.writing, writing);
        T_CHECK(!copying->copier.ended);
    }
}

/* What the writer takes without a reader, and no more. */
static void fill(struct copying *copying)
{
    uint64_t before;

    do {
        before = copying->bytes;
        copying->until = filch_after(FILCH_MILLISECOND);
        T_IS(copies(copying), -ETIMEDOUT);
    } while (copying->bytes > before || !copying->copier.writing);
}

static void times_out(enum line_kind from, enum line_kind to)
{
    struct copying copying;
    struct line_work feeding = {&copying.from, 16 << 20, 1 << 16, 0},
                     eating = {&copying.to, 0, 1 << 16, 0};
    filch_task *feeder, *eater;

    open_copying(&copying, from, to);
    waits_for(&copying, false);
    put(&copying.from, 20000);
    while (copying.bytes < 20000)
        waits_for(&copying, false);
    feeding.done = 20000;
    feeder = spawn(line_feed, &feeding);
    fill(&copying);
    waits_for(&copying, true);
    eating.bytes = feeding.bytes;
    eater = spawn(line_eat, &eating);
    copying.until = T_LIMIT;
    T_OK(copies(&copying));
    T_IS(copying.bytes, feeding.bytes);
    T_OK(join(feeder));
    T_OK(join(eater));
    close_copying(&copying);
}

static int all_time_out(void *arg)
{
    (void)arg;
    for (int from = LINE_PIPE; from < LINE_KINDS; from++)
        for (int to = LINE_PIPE; to < LINE_KINDS; to++)
            if (kernel_moves(from, to))
                times_out(from, to);
    return 0;
}

Test(splice_ends, time_is_told_and_whose_it_was)
{
    T_OK(run_in_runtime(0, all_time_out, NULL));
}

static void ends_before(enum line_kind from, uint64_t bytes)
{
    struct copying copying;
    struct line_work filling = {&copying.to, 1 << 16, 1 << 12, 0};

    open_copying(&copying, from, LINE_PIPE);
    put(&copying.from, bytes);
    line_finish(&copying.from);
    if (!bytes)
        T_OK(line_write(&filling)); /* there is no room, and none is needed */
    T_OK(copies(&copying));
    T_IS(copying.bytes, bytes);
    T_CHECK(copying.copier.ended);
    T_OK(copies(&copying)); /* again */
    close_copying(&copying);
}

static bool files_are_spliced(void)
{
    struct line line;
    struct line_work feeding = {&line, 1 << 12, 1 << 12, 0};
    bool told;

    line_open(&line, LINE_FILE);
    T_OK(line_feed(&feeding));
    told = tells_what_is_cached(line.in);
    line_close(&line);
    return told;
}

static int ends_come_first(void *arg)
{
    (void)arg;
    for (int from = 0; from < LINE_KINDS; from++) {
        ends_before(from, 0);
        ends_before(from, 20000);
    }
    if (files_are_spliced()) /* just what it holds; copies leave gaps */
        ends_before(LINE_FILE, 1 << 16);
    ends_before(LINE_PIPE, 1 << 16);
    return 0;
}

Test(splice_ends, the_end_needs_no_room)
{
    T_OK(run_in_runtime(0, ends_come_first, NULL));
}

/* ---- ends that go ---- */

static void nobody_reads(enum line_kind from)
{
    struct copying copying;
    filch_task *task;

    /* Bytes are there. */
    open_copying(&copying, from, LINE_PIPE);
    put(&copying.from, 20000);
    if (from == LINE_FILE)
        line_finish(&copying.from);
    line_close_reader(&copying.to);
    T_IS(copies(&copying), -EPIPE);
    T_CHECK(copying.copier.writing);
    T_IS(copying.bytes, 0);
    T_IS(copies(&copying), -EPIPE);
    close_copying(&copying);
    if (from == LINE_FILE)
        return;
    /* None are, and then some. */
    open_copying(&copying, from, LINE_PIPE);
    task = start(&copying);
    line_close_reader(&copying.to);
    put(&copying.from, 20000);
    T_IS(join(task), -EPIPE);
    T_CHECK(copying.copier.writing);
    T_IS(copying.bytes, 20000);
    close_copying(&copying);
    /* None are, and then there is the end. */
    open_copying(&copying, from, LINE_PIPE);
    task = start(&copying);
    line_close_reader(&copying.to);
    line_finish(&copying.from);
    T_OK(join(task));
    T_IS(copying.bytes, 20000);
    close_copying(&copying);
}

static int pipes_that_nobody_reads(void *arg)
{
    (void)arg;
    for (int from = 0; from < LINE_KINDS; from++)
        nobody_reads(from);
    return 0;
}

Test(splice_ends, a_pipe_that_nobody_reads)
{
    T_OK(run_in_runtime(0, pipes_that_nobody_reads, NULL));
}

static void reset(filch_tcp **conn)
{
    int fd;

    T_OK(filch_tcp_release(*conn, &fd));
    *conn = NULL;
    raw_reset(fd);
}

static int resets(void *arg)
{
    struct copying copying;
    struct line_work feeding = {&copying.from, 16 << 20, 1 << 16, 0};
    filch_task *task, *feeder;
    int r;

    (void)arg;
    /* The reader's peer. */
    open_copying(&copying, LINE_TCP, LINE_PIPE);
    task = start(&copying);
    reset(&copying.from.tcp.client);
    T_IS(join(task), -ECONNRESET);
    T_CHECK(!copying.copier.writing);
    T_IS(copying.bytes, 20000);
    close_copying(&copying);
    /* The writer's. */
    open_copying(&copying, LINE_PIPE, LINE_UNIX);
    task = start(&copying);
    line_close_reader(&copying.to);
    feeder = spawn(line_write, &feeding);
    r = join(task);
    T_CHECK(r == -ECONNRESET || r == -EPIPE);
    T_CHECK(copying.copier.writing);
    T_IS(copies(&copying), -EPIPE);
    T_CHECK(copying.copier.writing);
    line_close_reader(&copying.from);
    T_IS(join(feeder), -EPIPE);
    close_copying(&copying);
    return 0;
}

Test(splice_ends, peers_that_have_gone)
{
    T_OK(run_in_runtime(0, resets, NULL));
}

/* ---- handles that are closed ---- */

static void reader_is_closed(enum line_kind from, enum line_kind to)
{
    struct copying copying;
    filch_task *task;
    int r;

    open_copying(&copying, from, to);
    task = start(&copying);
    line_close_reader(&copying.from);
    r = join(task);
    T_CHECK(r == -ECANCELED || r == -EBADF);
    T_CHECK(!copying.copier.writing);
    T_IS(copying.bytes, 20000);
    close_copying(&copying);
}

/* While room is waited for: one end or the other. */
static void full_writer_is_closed(enum line_kind from, enum line_kind to, bool close_reader)
{
    struct copying copying;
    struct line_work feeding = {&copying.from, 16 << 20, 1 << 16, 0},
                     eating = {&copying.to, UINT64_MAX, 1 << 16, 0};
    filch_task *task, *feeder;
    int r;

    open_copying(&copying, from, to);
    feeder = spawn(line_write, &feeding);
    fill(&copying);
    copying.until = T_LIMIT;
    atomic_store(&copying.begun, false); /* fill() has set it */
    task = spawn(copies, &copying);
    T_WAIT_UNTIL(atomic_load(&copying.begun));
    let_others_run();
    if (close_reader) {
        filch_task *eater;

        line_close_reader(&copying.from); /* which waits for nobody */
        eater = spawn(line_eat, &eating);
        r = join(task);
        T_CHECK(r == -EBADF || r == -ECANCELED);
        T_CHECK(!copying.copier.writing);
        line_finish(&copying.to);
        T_OK(join(eater));
        T_IS(eating.done, copying.bytes);
    } else {
        line_close_writer(&copying.to);
        r = join(task);
        T_CHECK(r == -ECANCELED || r == -EBADF);
        T_CHECK(copying.copier.writing);
        line_close_reader(&copying.from);
    }
    r = join(feeder);
    T_CHECK(r == -EPIPE || r == -ECONNRESET);
    close_copying(&copying);
}

static int are_closed(void *arg)
{
    (void)arg;
    for (int from = LINE_PIPE; from < LINE_KINDS; from++)
        for (int to = LINE_PIPE; to < LINE_KINDS; to++) {
            if (!kernel_moves(from, to))
                continue;
            reader_is_closed(from, to);
            full_writer_is_closed(from, to, false);
            full_writer_is_closed(from, to, true);
        }
    return 0;
}

Test(splice_ends, handles_that_are_closed_meanwhile)
{
    T_OK(run_in_runtime(0, are_closed, NULL));
}

/* ---- pipes that were spliced ---- */

static int reads_one(void *arg)
{
    char byte;

    return (int)filch_file_read(arg, &byte, 1, T_LIMIT);
}

/* More than there is room for. */
static int writes_much(void *arg)
{
    static const char bytes[100000];

    return filch_file_write_all(arg, bytes, sizeof bytes, NULL, T_LIMIT);
}

static void ends_early(filch_fn fn, filch_file *file, bool by_close)
{
    filch_task *task = spawn(fn, file);
    int r;

    let_others_run();
    T_OK(by_close ? filch_file_close(file) : filch_task_cancel(task));
    r = join(task);
    T_CHECK(r == -ECANCELED || (by_close && r == -EBADF));
}

/* The kernel no longer promises that a read or a write of them will not wait. */
static int work_as_before(void *arg)
{
    struct copying copying;
    char byte;

    (void)arg;
    open_copying(&copying, LINE_PIPE, LINE_PIPE);
    put(&copying.from, 20000);
    copying.until = FILCH_NOW;
    T_IS(copies(&copying), -ETIMEDOUT);
    T_IS(copying.bytes, 20000);
    T_IS(atomic_load(&moved), 20000);
    T_IS(filch_file_read(copying.from.in, &byte, 1, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_file_read(copying.from.in, &byte, 1, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    put(&copying.from, 1);
    T_IS(filch_file_read(copying.from.in, &byte, 1, FILCH_NOW), 1);
    T_IS(byte, line_byte(0));
    ends_early(reads_one, copying.from.in, false);
    ends_early(writes_much, copying.to.out, false);
    ends_early(reads_one, copying.from.in, true);
    ends_early(writes_much, copying.to.out, true);
    copying.from.in = copying.to.out = NULL;
    close_copying(&copying);
    return 0;
}

Test(splice_ends, pipes_that_were_spliced_work_as_before)
{
    T_OK(run_in_runtime(0, work_as_before, NULL));
}
