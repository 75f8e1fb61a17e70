/* Description: copies that the kernel makes by itself, where one end is a pipe: all bytes in order
 * between ends of every kind, interrupted or not, in both directions, and parts of files; nothing
 * spins while a reader is slow; small pieces are left to copying, and urgent data as well. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include <criterion/criterion.h>

#include "tests/runner/copying.h"
#include "tests/runner/programs.h"

TestSuite(splice, .timeout = 120);

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})

/* ---- all bytes ---- */

static void copies_all(enum line_kind from, enum line_kind to, uint64_t bytes, size_t at_a_time)
{
    struct copying copying;
    struct line_work feeding = {&copying.from, bytes, at_a_time, 0},
                     eating = {&copying.to, UINT64_MAX, at_a_time + 1, 0};
    filch_task *feeder = NULL, *eater = NULL;
    bool by_kernel = kernel_moves(from, to) && bytes > 1 << 20;

    open_copying(&copying, from, to);
    if (from == LINE_FILE)
        T_OK(line_feed(&feeding));
    else
        feeder = spawn(line_feed, &feeding);
    if (to != LINE_FILE)
        eater = spawn(line_eat, &eating);
    if (from == LINE_FILE && by_kernel)
        by_kernel = tells_what_is_cached(copying.from.in);
    T_OK(filch_copy(line_reader(&copying.from), line_writer(&copying.to), NULL, &copying.bytes,
                    T_LIMIT));
    T_IS(copying.bytes, bytes);
    T_CHECK(atomic_load(&moved) > 0 || !by_kernel);
    line_finish(&copying.to);
    if (feeder)
        T_OK(join(feeder));
    T_OK(eater ? join(eater) : line_eat(&eating));
    T_IS(eating.done, bytes);
    if (!kernel_moves(from, to))
        T_IS(atomic_load(&calls), 0);
    close_copying(&copying);
}

static int between_all(void *arg)
{
    static const uint64_t sizes[] = {0, 1, 777, 65536, 65537, (3 << 20) + 5};

    (void)arg;
    for (int from = 0; from < LINE_KINDS; from++)
        for (int to = 0; to < LINE_KINDS; to++)
            for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
                copies_all(from, to, sizes[i], 1 << 16);
    for (int from = LINE_PIPE; from < LINE_KINDS; from++)
        copies_all(from, LINE_PIPE, 300001, 1000);
    return 0;
}

Test(splice, all_bytes_come_between_ends_of_every_kind)
{
    T_OK(run_in_runtime(0, between_all, NULL));
}

Test(splice, plain_threads_copy_too)
{
    static const enum line_kind kinds[] = {LINE_FILE, LINE_PIPE, LINE_UNIX};
    filch_runtime *rt = start_runtime(0);

    for (int i = 0; i < 9; i++) {
        struct copying copying;
        struct line_work eating = {&copying.to, UINT64_MAX, 777, 0};
        bool by_kernel = kernel_moves(kinds[i / 3], kinds[i % 3]);

        open_copying(&copying, kinds[i / 3], kinds[i % 3]);
        put(&copying.from, 50000);
        line_finish(&copying.from);
        if (kinds[i / 3] == LINE_FILE && by_kernel)
            by_kernel = tells_what_is_cached(copying.from.in);
        T_OK(copies(&copying));
        T_IS(copying.bytes, 50000);
        T_IS(atomic_load(&moved) > 0, by_kernel);
        line_finish(&copying.to);
        T_OK(line_eat(&eating));
        T_IS(eating.done, 50000);
        close_copying(&copying);
    }
    stop_runtime(rt);
}

static int through_a_program(void *arg)
{
    struct line from, to;
    struct line_work feeding = {&from, 2 << 20, 1 << 16, 0}, eating = {&to, UINT64_MAX, 1 << 16, 0};
    filch_task *feeder, *eater, *second;
    filch_file *in, *out;
    filch_process *cat;
    struct copying copying;

    (void)arg;
    line_open(&from, LINE_TCP);
    line_open(&to, LINE_UNIX);
    T_OK(filch_process_spawn(ARGV("cat"),
                             &(filch_process_opts){.in = {FILCH_STDIO_PIPE, .ret_pipe = &in},
                                                   .out = {FILCH_STDIO_PIPE, .ret_pipe = &out}},
                             &cat, T_LIMIT));
    copying = (struct copying){.from = {.kind = LINE_PIPE, .in = out}, .to = to};
    copying.copier = (filch_copier){.buffer = copying.buffer, .room = sizeof copying.buffer};
    copying.until = T_LIMIT;
    count_anew();
    feeder = spawn(line_feed, &feeding);
    eater = spawn(line_eat, &eating);
    second = spawn(copies, &copying);
    T_OK(filch_copy(line_reader(&from), filch_file_writer(in), NULL, NULL, T_LIMIT));
    T_OK(filch_file_close(in));
    T_OK(join(feeder));
    T_OK(join(second));
    T_IS(copying.bytes, 2 << 20);
    T_CHECK(atomic_load(&moved) > 0);
    line_finish(&to);
    T_OK(join(eater));
    T_IS(eating.done, 2 << 20);
    T_OK(filch_file_close(out));
    T_OK(filch_process_wait(cat, NULL, T_LIMIT));
    T_OK(filch_process_close(cat));
    line_close(&from);
    line_close(&to);
    return 0;
}

Test(splice, through_a_program, .init = test_starts_programs)
{
    T_OK(run_in_runtime(0, through_a_program, NULL));
}

/* ---- both directions ---- */

static bool is_blocking(filch_unix *conn)
{
    int fd, flags;

    T_OK(filch_unix_release(conn, &fd));
    flags = fcntl(fd, F_GETFL);
    T_OK(close(fd));
    return !(flags & O_NONBLOCK);
}

struct joint {
    filch_io a, b;
    filch_copy_result result;
};

static int joins(void *arg)
{
    struct joint *joint = arg;

    return filch_copy_both(joint->a, joint->b, NULL, &joint->result, T_LIMIT);
}

/* A socket that both directions have non-blocking for their calls, and pipes at the other side. */
static int in_both_directions(void *arg)
{
    const uint64_t bytes = 4 << 20;
    struct line up, down, socket = {.kind = LINE_UNIX};
    struct line client = {.kind = LINE_UNIX};
    struct joint joint;
    struct line_work works[] = {{&client, bytes, 1 << 16, 0},
                                {&up, bytes, 1 << 15, 0},
                                {&down, bytes, 1 << 16, 0},
                                {&client, UINT64_MAX, 1 << 16, 0}};
    filch_task *tasks[4], *joiner;

    (void)arg;
    line_open(&up, LINE_PIPE);
    line_open(&down, LINE_PIPE);
    T_OK(filch_unix_pair(&client.unix_in, &socket.unix_in));
    client.unix_out = client.unix_in;
    joint = (struct joint){
        .a = filch_unix_io(socket.unix_in),
        .b = {filch_file_reader(down.in), filch_file_writer(up.out)},
    };
    count_anew();
    joiner = spawn(joins, &joint);
    tasks[0] = spawn(line_write, &works[0]);
    tasks[1] = spawn(line_eat, &works[1]);
    tasks[2] = spawn(line_feed, &works[2]);
    tasks[3] = spawn(line_eat, &works[3]);
    T_OK(join(tasks[0]));
    T_OK(filch_unix_shutdown_write(client.unix_in));
    for (int i = 1; i < 4; i++)
        T_OK(join(tasks[i]));
    T_OK(join(joiner));
    T_IS(works[1].done, bytes);
    T_IS(works[3].done, bytes);
    T_IS(joint.result.a_to_b.bytes, bytes);
    T_IS(joint.result.b_to_a.bytes, bytes);
    T_CHECK(atomic_load(&moved) > 0);
    T_CHECK(is_blocking(socket.unix_in));
    T_OK(filch_unix_close(client.unix_in));
    line_close(&up);
    line_close(&down);
    return 0;
}

Test(splice, in_both_directions_at_a_time)
{
    T_OK(run_in_runtime(0, in_both_directions, NULL));
}

/* ---- parts of files ---- */

static void sends_part(int64_t offset, uint64_t bytes)
{
    const uint64_t all = 1 << 20, want = bytes == FILCH_TO_END ? all - (uint64_t)offset : bytes;
    struct line from, to;
    struct line_work feeding = {&from, all, 1 << 16, 0},
                     eating = {&to, (uint64_t)offset + want, 1 << 14, (uint64_t)offset};
    filch_task *eater;
    uint64_t done = 0;
    int64_t position;

    line_open(&from, LINE_FILE);
    line_open(&to, LINE_PIPE);
    T_OK(line_feed(&feeding));
    count_anew();
    if (tells_what_is_cached(from.in))
        T_IS(filch_send_file(line_writer(&to), from.in, offset, bytes, &done, FILCH_NOW),
             want > 1 << 16 ? -ETIMEDOUT : 0);
    eater = spawn(line_eat, &eating);
    T_OK(filch_send_file(line_writer(&to), from.in, offset, bytes, &done, T_LIMIT));
    T_IS(done, want);
    T_OK(join(eater));
    T_IS(eating.done, (uint64_t)offset + want);
    T_CHECK(atomic_load(&moved) > 0 || want < 1 << 14 || !tells_what_is_cached(from.in));
    T_OK(filch_file_seek(from.in, 0, SEEK_CUR, &position));
    T_IS(position, 0);
    line_close(&from);
    line_close(&to);
}

static int sends_parts(void *arg)
{
    (void)arg;
    sends_part(0, FILCH_TO_END);
    sends_part(12345, 400001);
    sends_part(7, 20000);
    sends_part(7, 100);
    sends_part(1 << 20, FILCH_TO_END);
    return 0;
}

Test(splice, parts_of_files_go_into_pipes)
{
    T_OK(run_in_runtime(0, sends_parts, NULL));
}

/* ---- interrupted ---- */

/* Who writes and who reads while the copy goes on. */
struct beside {
    struct line_work feeding, eating;
    filch_task *feeder, *eater; /* feeder: NULL for a file, which is there before */
};

static void begin_beside(struct beside *beside, struct copying *copying, uint64_t bytes,
                         size_t at_a_time)
{
    *beside = (struct beside){.feeding = {&copying->from, bytes, at_a_time, 0},
                              .eating = {&copying->to, UINT64_MAX, 1 << 15, 0}};
    if (copying->from.kind == LINE_FILE)
        T_OK(line_feed(&beside->feeding));
    else
        beside->feeder = spawn(line_feed, &beside->feeding);
    beside->eater = spawn(line_eat, &beside->eating);
}

static void end_beside(struct beside *beside, struct copying *copying)
{
    line_finish(&copying->to);
    if (beside->feeder)
        T_OK(join(beside->feeder));
    T_OK(join(beside->eater));
    T_IS(beside->eating.done, beside->feeding.bytes);
    close_copying(copying);
}

static void goes_on(enum line_kind from, enum line_kind to)
{
    const uint64_t bytes = 1 << 20;
    struct copying copying;
    struct beside beside;
    int r, times = 0;

    open_copying(&copying, from, to);
    begin_beside(&beside, &copying, bytes, 1 << 15);
    do {
        copying.until = times++ % 2 ? FILCH_NOW : filch_after(20 * FILCH_MICROSECOND);
        r = copies(&copying);
        T_CHECK(copying.bytes == copying.copier.bytes);
        filch_task_yield();
    } while (r == -ETIMEDOUT);
    T_OK(r);
    T_IS(copying.bytes, bytes);
    T_CHECK(copying.copier.ended);
    end_beside(&beside, &copying);
}

static int all_go_on(void *arg)
{
    (void)arg;
    for (int from = 0; from < LINE_KINDS; from++)
        for (int to = LINE_PIPE; to < LINE_KINDS; to++)
            if (kernel_moves(from, to))
                goes_on(from, to);
    return 0;
}

Test(splice, what_is_interrupted_goes_on)
{
    T_OK(run_in_runtime(0, all_go_on, NULL));
}

/* Cancelled after a number of yields that looks random. */
static void is_cancelled(enum line_kind from, enum line_kind to, unsigned seed)
{
    const uint64_t bytes = 2 << 20;
    struct copying copying;
    struct beside beside;
    int r;

    open_copying(&copying, from, to);
    begin_beside(&beside, &copying, bytes, 1 << 16);
    do {
        filch_task *task = spawn(copies, &copying);

        seed = seed * 1103515245 + 12345;
        for (unsigned i = 0; i < (seed >> 16) % 20; i++)
            filch_task_yield();
        T_OK(filch_task_cancel(task));
        r = join(task);
        T_CHECK(r == 0 || r == -ECANCELED);
    } while (r < 0);
    T_IS(copying.bytes, bytes);
    end_beside(&beside, &copying);
}

static int all_are_cancelled(void *arg)
{
    (void)arg;
    for (int from = 0; from < LINE_KINDS; from++)
        for (int to = LINE_PIPE; to < LINE_KINDS; to++)
            for (unsigned seed = 0; kernel_moves(from, to) && seed < 4; seed++)
                is_cancelled(from, to, seed * 7919 + 1);
    return 0;
}

Test(splice, a_cancel_at_any_moment_loses_nothing)
{
    T_OK(run_in_runtime(0, all_are_cancelled, NULL));
}

/* ---- what it costs ---- */

static bool has_room(filch_file *pipe)
{
    struct pollfd poll_fd = {.fd = filch_file_fd(pipe), .events = POLLOUT};

    return poll(&poll_fd, 1, 0) > 0;
}

/* Calls of splice(2): none while nothing happens, some for each read. */
static void is_held_back(enum line_kind from)
{
    const uint64_t bytes = 1 << 20;
    struct copying copying;
    struct line_work feeding = {&copying.from, bytes, 1 << 16, 0},
                     eating = {&copying.to, 0, 1 << 12, 0};
    filch_task *feeder, *task;
    unsigned before, reads = 0;

    open_copying(&copying, from, LINE_PIPE);
    feeder = spawn(line_feed, &feeding);
    task = spawn(copies, &copying);
    T_WAIT_UNTIL(!has_room(copying.to.out));
    let_others_run();
    before = atomic_load(&calls);
    for (int i = 0; i < 10; i++)
        let_others_run();
    T_CHECK(atomic_load(&calls) - before <= 8);
    for (; eating.done < bytes; reads++) {
        eating.bytes = eating.done + (1 << 12);
        T_OK(line_eat(&eating));
    }
    T_CHECK(atomic_load(&calls) > 0);
    T_CHECK(atomic_load(&calls) <= 8 * reads);
    T_OK(join(feeder));
    T_OK(join(task));
    T_IS(copying.bytes, bytes);
    close_copying(&copying);
}

static int are_held_back(void *arg)
{
    (void)arg;
    for (int from = LINE_PIPE; from < LINE_KINDS; from++)
        is_held_back(from);
    return 0;
}

Test(splice, a_slow_reader_holds_it_back_and_nothing_spins)
{
    T_OK(run_in_runtime(0, are_held_back, NULL));
}

static void says_little(enum line_kind from, enum line_kind to)
{
    struct copying copying;
    struct line_work feeding = {&copying.from, 0, 100, 0}, eating = {&copying.to, 0, 100, 0};
    filch_task *task;

    open_copying(&copying, from, to);
    task = spawn(copies, &copying);
    for (int i = 0; i < 100; i++) {
        feeding.bytes += 100;
        eating.bytes += 100;
        T_OK(line_write(&feeding));
        T_OK(line_eat(&eating));
    }
    T_IS(atomic_load(&calls), 0);
    line_finish(&copying.from);
    T_OK(join(task));
    close_copying(&copying);
}

static int all_say_little(void *arg)
{
    (void)arg;
    for (int from = LINE_PIPE; from < LINE_KINDS; from++)
        for (int to = LINE_PIPE; to < LINE_KINDS; to++)
            says_little(from, to);
    return 0;
}

Test(splice, small_pieces_are_copied)
{
    T_OK(run_in_runtime(0, all_say_little, NULL));
}

/* A splice does not get past its mark, and a read does. With @arg the peer ends before: then a
 * splice calls the mark the end. */
static int says_something_urgent(void *arg)
{
    enum { HALF = 40000 };
    struct copying copying;
    struct line_work eating = {&copying.to, 2 * HALF, 1 << 16, 0};
    filch_task *task;
    char *bytes = malloc(2 * HALF);
    int fd;

    T_CHECK(bytes);
    for (int i = 0; i < 2 * HALF; i++)
        bytes[i] = line_byte((uint64_t)i);
    open_copying(&copying, LINE_TCP, LINE_PIPE);
    T_OK(filch_tcp_release(copying.from.tcp.client, &fd));
    copying.from.tcp.client = NULL;
    T_IS(send(fd, bytes, HALF, 0), HALF);
    T_IS(send(fd, "!", 1, MSG_OOB), 1);
    T_IS(send(fd, bytes + HALF, HALF, 0), HALF);
    T_OK(arg ? close(fd) : 0);
    task = spawn(copies, &copying);
    T_OK(line_eat(&eating));
    T_IS(eating.done, 2 * HALF);
    T_OK(arg ? 0 : close(fd));
    T_OK(join(task));
    T_IS(copying.bytes, 2 * HALF);
    T_CHECK(atomic_load(&moved) > 0);
    T_CHECK(atomic_load(&calls) < 200);
    close_copying(&copying);
    free(bytes);
    return 0;
}

Test(splice, urgent_data_stops_nothing)
{
    char ended;

    T_OK(run_in_runtime(0, says_something_urgent, NULL));
    T_OK(run_in_runtime(0, says_something_urgent, &ended));
}
