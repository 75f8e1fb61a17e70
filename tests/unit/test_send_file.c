/* Description: parts of files to writers: through the kernel into sockets, through a buffer into
 * anything else; ranges and ends; calls that are interrupted and go on without loss or doubling;
 * peers that go and ends that are closed; a socket that several send to; files as a copy's reader.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/runner/tcp_pair.h"

TestSuite(send_file, .timeout = 120);

enum { SMALL = 5000, LARGE = 3 << 20 };

static char byte_at(uint64_t index)
{
    return (char)(index * 31 + index / 251 + index / 65537);
}

static filch_file *make_file(size_t bytes)
{
    char *content = malloc(bytes + 1);
    filch_file *file;

    T_CHECK(content);
    for (size_t i = 0; i < bytes; i++)
        content[i] = byte_at(i);
    T_OK(filch_file_temp(NULL, &file, T_LIMIT));
    T_OK(filch_file_write_all(file, content, bytes, NULL, T_LIMIT));
    T_OK(filch_file_seek(file, 0, SEEK_SET, NULL));
    free(content);
    return file;
}

/* Reads until the end, which must be bytes @first and following. */
struct eater {
    filch_reader reader;
    uint64_t first;
};

static int eats(void *arg)
{
    struct eater *eater = arg;
    char *bytes = malloc(70000);
    uint64_t at = eater->first;
    ssize_t n;

    T_CHECK(bytes);
    while ((n = eater->reader.read(eater->reader.context, bytes, 70000, T_LIMIT)) > 0)
        for (ssize_t i = 0; i < n; i++, at++)
            T_IS(bytes[i], byte_at(at));
    free(bytes);
    return n < 0 ? (int)n : (int)(at - eater->first);
}

/* ---- all of it, and ranges, to whatever takes bytes ---- */

struct ends {
    filch_writer writer;
    filch_reader reader;
};

static void send_range(struct ends ends, size_t file_bytes, int64_t offset, uint64_t bytes)
{
    struct eater eater = {ends.reader, (uint64_t)offset};
    uint64_t want = bytes == FILCH_TO_END ? file_bytes - (uint64_t)offset : bytes, done = 0;
    filch_file *file = make_file(file_bytes);
    filch_task *task = spawn(eats, &eater);
    int64_t position;

    T_OK(filch_send_file(ends.writer, file, offset, bytes, &done, T_LIMIT));
    T_IS(done, want);
    T_OK(ends.writer.finish(ends.writer.context, T_LIMIT));
    T_IS(join(task), want);
    T_OK(filch_file_seek(file, 0, SEEK_CUR, &position));
    T_IS(position, 0);
    T_OK(filch_file_close(file));
}

static void send_to_tcp(size_t file_bytes, int64_t offset, uint64_t bytes)
{
    struct tcp_pair pair;

    connect_pair(&pair);
    send_range((struct ends){filch_tcp_writer(pair.client), filch_tcp_reader(pair.server)},
               file_bytes, offset, bytes);
    close_pair(&pair);
}

static int sends_to_all(void *arg)
{
    filch_duplex *a, *b;
    filch_unix *left, *right;

    (void)arg;
    send_to_tcp(LARGE, 0, FILCH_TO_END);
    send_to_tcp(LARGE, 12345, LARGE - 20000);
    send_to_tcp(SMALL, 1, SMALL - 2);
    send_to_tcp(SMALL, SMALL, FILCH_TO_END);
    send_to_tcp(SMALL, 7, 0);
    T_OK(filch_unix_pair(&left, &right));
    send_range((struct ends){filch_unix_writer(left), filch_unix_reader(right)}, LARGE, 1,
               LARGE - 1);
    T_OK(filch_unix_close(left));
    T_OK(filch_unix_close(right));
    T_OK(filch_duplex_new(1000, &a, &b));
    send_range((struct ends){filch_duplex_io(a).writer, filch_duplex_io(b).reader}, 200000, 3,
               FILCH_TO_END);
    filch_duplex_free(a);
    filch_duplex_free(b);
    return 0;
}

Test(send_file, the_bytes_of_the_range_arrive)
{
    T_OK(run_in_runtime(0, sends_to_all, NULL));
}

Test(send_file, plain_threads_send_too)
{
    filch_unix *left, *right;
    filch_runtime *rt = start_runtime(0);
    filch_file *file = make_file(100000);
    struct eater eater;
    filch_task *task;
    uint64_t done = 0;

    T_OK(filch_unix_pair(&left, &right));
    eater = (struct eater){filch_unix_reader(right), 0};
    T_IS(filch_send_file(filch_unix_writer(left), file, 0, FILCH_TO_END, &done, FILCH_NOW) ==
                 -ETIMEDOUT ||
             done == 100000,
         true);
    T_OK(filch_runtime_spawn(rt, eats, &eater, NULL, &task));
    T_OK(filch_send_file(filch_unix_writer(left), file, 0, FILCH_TO_END, &done, T_LIMIT));
    T_OK(filch_unix_shutdown_write(left));
    T_IS(join(task), 100000);
    T_OK(filch_unix_close(left));
    T_OK(filch_unix_close(right));
    T_OK(filch_file_close(file));
    stop_runtime(rt);
}

/* ---- interrupted ---- */

/* What the socket takes without a reader, and no more. */
static uint64_t fill(filch_tcp *conn, filch_file *file)
{
    uint64_t done = 0, before;

    do {
        before = done;
        T_IS(filch_send_file(filch_tcp_writer(conn), file, 0, LARGE * 4, &done,
                             filch_after(FILCH_MILLISECOND)),
             -ETIMEDOUT);
    } while (done > before);
    return done;
}

static bool is_blocking(filch_tcp *conn)
{
    int fd, flags;

    T_OK(filch_tcp_release(conn, &fd));
    flags = fcntl(fd, F_GETFL);
    T_OK(close(fd));
    return !(flags & O_NONBLOCK);
}

static int goes_on(void *arg)
{
    const uint64_t bytes = LARGE * 4;
    struct tcp_pair pair;
    struct eater eater;
    filch_task *task;
    filch_file *file = make_file(LARGE * 4);
    uint64_t done;
    int r, times = 0;

    (void)arg;
    connect_pair(&pair);
    done = fill(pair.client, file);
    T_CHECK(done > 0 && done < bytes);
    T_IS(filch_send_file(filch_tcp_writer(pair.client), file, 0, bytes, &done, FILCH_NOW),
         -ETIMEDOUT);
    eater = (struct eater){filch_tcp_reader(pair.server), 0};
    task = spawn(eats, &eater);
    while ((r = filch_send_file(filch_tcp_writer(pair.client), file, 0, bytes, &done,
                                times++ % 2 ? FILCH_NOW : filch_after(20 * FILCH_MICROSECOND))) ==
           -ETIMEDOUT)
        filch_task_yield();
    T_OK(r);
    T_IS(done, bytes);
    T_OK(filch_tcp_shutdown_write(pair.client));
    T_IS(join(task), bytes);
    T_CHECK(is_blocking(pair.client));
    pair.client = NULL;
    close_pair(&pair);
    T_OK(filch_file_close(file));
    return 0;
}

Test(send_file, what_is_interrupted_goes_on)
{
    T_OK(run_in_runtime(0, goes_on, NULL));
}

struct sender {
    filch_writer writer;
    filch_file *file;
    uint64_t bytes, done;
};

static int sends(void *arg)
{
    struct sender *sender = arg;

    return filch_send_file(sender->writer, sender->file, 0, sender->bytes, &sender->done, T_LIMIT);
}

static int is_cancelled(void *arg)
{
    struct tcp_pair pair;
    struct sender sender = {.bytes = LARGE * 4};
    struct eater eater;
    filch_task *task, *second;

    (void)arg;
    connect_pair(&pair);
    sender.file = make_file(LARGE * 4);
    sender.writer = filch_tcp_writer(pair.client);
    sender.done = fill(pair.client, sender.file);
    task = spawn(sends, &sender);
    let_others_run();
    T_OK(filch_task_cancel(task));
    T_IS(join(task), -ECANCELED);
    T_CHECK(sender.done < sender.bytes);
    eater = (struct eater){filch_tcp_reader(pair.server), 0};
    second = spawn(eats, &eater);
    T_OK(sends(&sender));
    T_OK(filch_tcp_shutdown_write(pair.client));
    T_IS(join(second), sender.bytes);
    close_pair(&pair);
    T_OK(filch_file_close(sender.file));
    return 0;
}

Test(send_file, a_cancel_loses_nothing)
{
    T_OK(run_in_runtime(0, is_cancelled, NULL));
}

/* ---- ends that go ---- */

static int is_closed(void *arg)
{
    struct tcp_pair pair;
    struct sender sender = {.bytes = LARGE * 4};
    filch_task *task;
    int fd, r;

    (void)arg;
    sender.file = make_file(LARGE * 4);
    /* The socket, while it is waited for. */
    connect_pair(&pair);
    sender.writer = filch_tcp_writer(pair.client);
    sender.done = fill(pair.client, sender.file);
    task = spawn(sends, &sender);
    let_others_run();
    T_OK(filch_tcp_close(pair.client));
    r = join(task);
    T_CHECK(r == -ECANCELED || r == -EBADF);
    T_IS(sends(&sender), -EBADF);
    pair.client = NULL;
    close_pair(&pair);
    /* The peer: no SIGPIPE, which would end the process. */
    connect_pair(&pair);
    sender.writer = filch_tcp_writer(pair.client);
    sender.done = 0;
    T_OK(filch_tcp_release(pair.server, &fd));
    pair.server = NULL;
    raw_reset(fd);
    r = sends(&sender);
    T_CHECK(r == -ECONNRESET || r == -EPIPE);
    sender.done = 0;
    T_IS(sends(&sender), -EPIPE);
    close_pair(&pair);
    /* The file, while the socket is waited for: nobody waits for the peer. */
    connect_pair(&pair);
    sender.writer = filch_tcp_writer(pair.client);
    sender.done = fill(pair.client, sender.file);
    task = spawn(sends, &sender);
    let_others_run();
    T_OK(filch_file_close(sender.file));
    T_OK(filch_tcp_close(pair.server));
    pair.server = NULL;
    r = join(task);
    T_CHECK(r == -EBADF || r == -ECONNRESET || r == -EPIPE);
    close_pair(&pair);
    return 0;
}

Test(send_file, ends_that_are_closed_meanwhile)
{
    T_OK(run_in_runtime(0, is_closed, NULL));
}

static int ends_early(void *arg)
{
    struct tcp_pair pair;
    struct eater eater;
    filch_file *file = make_file(SMALL), *large = make_file(100000), *in, *out;
    uint64_t done = 0;
    filch_task *task;

    (void)arg;
    connect_pair(&pair);
    eater = (struct eater){filch_tcp_reader(pair.server), 0};
    task = spawn(eats, &eater);
    T_IS(filch_send_file(filch_tcp_writer(pair.client), file, 0, SMALL + 1, &done, T_LIMIT),
         -ENODATA);
    T_IS(done, SMALL);
    done = SMALL;
    T_IS(filch_send_file(filch_tcp_writer(pair.client), large, 0, 100001, &done, T_LIMIT),
         -ENODATA);
    T_IS(done, 100000);
    T_OK(filch_tcp_shutdown_write(pair.client));
    T_IS(join(task), 100000);
    /* No regular file. */
    T_OK(filch_pipe(0, &in, &out));
    T_IS(filch_send_file(filch_tcp_writer(pair.server), in, 0, 100000, NULL, T_LIMIT), -ESPIPE);
    T_OK(filch_file_close(in));
    T_OK(filch_file_close(out));
    T_OK(filch_file_open("/tmp", O_RDONLY, 0, &in, T_LIMIT));
    T_IS(filch_send_file(filch_tcp_writer(pair.server), in, 0, 100000, NULL, T_LIMIT), -EISDIR);
    T_OK(filch_file_close(in));
    T_OK(filch_file_close(file));
    T_OK(filch_file_close(large));
    close_pair(&pair);
    return 0;
}

Test(send_file, a_file_that_is_too_short_is_told)
{
    T_OK(run_in_runtime(0, ends_early, NULL));
}

/* ---- the same socket ---- */

struct mix {
    filch_reader reader;
    uint64_t sum;
};

static int counts(void *arg)
{
    struct mix *mix = arg;
    char *bytes = malloc(70000);
    ssize_t n;
    uint64_t all = 0;

    T_CHECK(bytes);
    while ((n = mix->reader.read(mix->reader.context, bytes, 70000, T_LIMIT)) > 0) {
        all += (uint64_t)n;
        for (ssize_t i = 0; i < n; i++)
            mix->sum += (unsigned char)bytes[i];
    }
    free(bytes);
    return n < 0 ? (int)n : (int)all;
}

/* Both directions are used as well. */
static int several_send(void *arg)
{
    struct tcp_pair pair;
    struct sender senders[3] = {0};
    struct eater eater;
    struct mix mix = {0};
    filch_task *tasks[3], *back, *forth;
    filch_file *file = make_file(LARGE);
    uint64_t sum = 0;

    (void)arg;
    for (uint64_t i = 0; i < LARGE; i++)
        sum += (unsigned char)byte_at(i);
    connect_pair(&pair);
    mix.reader = filch_tcp_reader(pair.server);
    eater = (struct eater){filch_tcp_reader(pair.client), 0};
    forth = spawn(counts, &mix);
    back = spawn(eats, &eater);
    for (int i = 0; i < 3; i++) {
        senders[i] = (struct sender){filch_tcp_writer(pair.client), file, LARGE, 0};
        tasks[i] = spawn(sends, &senders[i]);
    }
    T_OK(filch_send_file(filch_tcp_writer(pair.server), file, 0, LARGE, NULL, T_LIMIT));
    T_OK(filch_tcp_shutdown_write(pair.server));
    for (int i = 0; i < 3; i++)
        T_OK(join(tasks[i]));
    T_OK(filch_tcp_shutdown_write(pair.client));
    T_IS(join(forth), 3 * LARGE);
    T_IS(join(back), LARGE);
    T_IS(mix.sum, 3 * sum);
    T_CHECK(is_blocking(pair.client));
    pair.client = NULL;
    close_pair(&pair);
    T_OK(filch_file_close(file));
    return 0;
}

Test(send_file, several_send_through_one_socket)
{
    T_OK(run_in_runtime(0, several_send, NULL));
}

/* ---- as a copy's reader ---- */

static int copies(void *arg)
{
    struct tcp_pair pair;
    struct eater eater;
    filch_file *file = make_file(LARGE);
    char buffer[100];
    filch_copier copier = {.buffer = buffer, .room = sizeof buffer};
    filch_task *task;
    uint64_t bytes = 0;
    int64_t position;
    int r, fd;

    (void)arg;
    connect_pair(&pair);
    T_OK(filch_file_seek(file, 1000, SEEK_SET, NULL));
    eater = (struct eater){filch_tcp_reader(pair.server), 1000};
    task = spawn(eats, &eater);
    while ((r = filch_copy(filch_file_reader(file), filch_tcp_writer(pair.client), &copier, &bytes,
                           filch_after(20 * FILCH_MICROSECOND))) == -ETIMEDOUT)
        filch_task_yield();
    T_OK(r);
    T_IS(bytes, LARGE - 1000);
    T_OK(filch_file_seek(file, 0, SEEK_CUR, &position));
    T_IS(position, LARGE);
    T_OK(filch_tcp_shutdown_write(pair.client));
    T_IS(join(task), LARGE - 1000);
    close_pair(&pair);
    /* Whose failure it was. */
    connect_pair(&pair);
    T_OK(filch_tcp_release(pair.server, &fd));
    pair.server = NULL;
    raw_reset(fd);
    T_OK(filch_file_seek(file, 0, SEEK_SET, NULL));
    copier = (filch_copier){.buffer = buffer, .room = sizeof buffer};
    r = filch_copy(filch_file_reader(file), filch_tcp_writer(pair.client), &copier, NULL, T_LIMIT);
    T_CHECK(r == -ECONNRESET || r == -EPIPE);
    T_CHECK(copier.writing);
    T_OK(filch_file_close(file));
    copier = (filch_copier){.buffer = buffer, .room = sizeof buffer};
    T_IS(filch_copy(filch_file_reader(file), filch_tcp_writer(pair.client), &copier, NULL, T_LIMIT),
         -EBADF);
    T_CHECK(!copier.writing);
    close_pair(&pair);
    return 0;
}

Test(send_file, a_copy_out_of_a_file_moves_its_position)
{
    T_OK(run_in_runtime(0, copies, NULL));
}
