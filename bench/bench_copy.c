/* A proxy: bytes of one connection to another, by filch_copy_both(). What stands on both sides is
 * that of the peers: threads with blocking calls. And a file into a connection, by
 * filch_send_file() and by reads and writes: what the receiving thread costs is left out there. A
 * connection into a pipe, by filch_copy() and by reads and writes, without what both threads cost.
 */
#include "bench/bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/peers/proxy_ends.h"

static double cpu_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static double thread_cpu_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static bool proxy(filch_runtime *rt, double *ret_value)
{
    const uint64_t mib = bench_quick ? 256 : 2048;
    struct proxy_ends ends;
    filch_copy_result result;
    filch_tcp *in, *out;
    filch_time start = filch_now();
    double cpu = cpu_ns();
    bool ok;

    (void)rt;
    if (!proxy_begin(&ends, mib << 20))
        return false;
    BENCH_OK(filch_tcp_adopt(ends.in, &in));
    BENCH_OK(filch_tcp_adopt(ends.out, &out));
    ok = filch_copy_both(filch_tcp_io(in), filch_tcp_io(out), NULL, &result, FILCH_NEVER) == 0;
    ok = proxy_end(&ends) && ok && result.a_to_b.bytes == ends.bytes;
    *ret_value = (double)(filch_now() - start) / 1e3 / (double)mib;
    bench_also("cpu", "CPU us/MiB", (cpu_ns() - cpu) / 1e3 / (double)mib);
    filch_tcp_close(in);
    filch_tcp_close(out);
    return ok;
}

/* ---- a file ---- */

enum { FILE_BYTES = 4 << 20, COPY_BYTES = 64 << 10 };

struct receiver {
    int fd;
    uint64_t bytes;
    bool right;
    double cpu_ns; /* of the thread */
};

/* Byte number n of the stream is the one at n modulo the piece: the file is made of pieces. */
static void *receive(void *arg)
{
    struct receiver *receiver = arg;
    unsigned char *piece = bench_alloc(PROXY_PIECE), *got = bench_alloc(PROXY_PIECE);
    ssize_t n;

    proxy_fill(piece);
    receiver->right = true;
    while ((n = read(receiver->fd, got, PROXY_PIECE - receiver->bytes % PROXY_PIECE)) > 0) {
        if (memcmp(got, piece + receiver->bytes % PROXY_PIECE, (size_t)n) != 0)
            receiver->right = false;
        receiver->bytes += (uint64_t)n;
    }
    receiver->cpu_ns = thread_cpu_ns();
    free(piece);
    free(got);
    return NULL;
}

static filch_file *make_file(void)
{
    unsigned char *piece = bench_alloc(PROXY_PIECE);
    filch_file *file;

    proxy_fill(piece);
    BENCH_OK(filch_file_temp(getenv("TMPDIR"), &file, FILCH_NEVER));
    for (size_t at = 0; at < FILE_BYTES; at += PROXY_PIECE)
        BENCH_OK(filch_file_write_all(file, piece, PROXY_PIECE, NULL, FILCH_NEVER));
    free(piece);
    return file;
}

static int send_by_kernel(filch_tcp *conn, filch_file *file)
{
    return filch_send_file(filch_tcp_writer(conn), file, 0, FILE_BYTES, NULL, FILCH_NEVER);
}

static int send_by_copy(filch_tcp *conn, filch_file *file)
{
    char *buffer = bench_alloc(COPY_BYTES);
    ssize_t n = 1;

    for (int64_t at = 0; at < FILE_BYTES && n > 0; at += n) {
        n = filch_file_pread(file, buffer, COPY_BYTES, at, FILCH_NEVER);
        if (n > 0 && filch_tcp_write_all(conn, buffer, (size_t)n, NULL, FILCH_NEVER) < 0)
            n = -EIO;
    }
    free(buffer);
    return n > 0 ? 0 : -EIO;
}

/* @cpu_name: of the sender's CPU time for a MiB. Return: time for a MiB; 0: it failed. */
static double time_sending(int (*send)(filch_tcp *conn, filch_file *file), const char *cpu_name)
{
    const unsigned files = bench_quick ? 64 : 512, mib = files * (FILE_BYTES >> 20);
    filch_file *file = make_file();
    struct receiver receiver = {0};
    pthread_t thread;
    filch_tcp *conn;
    filch_time start;
    double cpu, ns;
    int fd, r = 0;

    if (!proxy_pair(&fd, &receiver.fd))
        return 0;
    BENCH_OK(filch_tcp_adopt(fd, &conn));
    BENCH_OK(-pthread_create(&thread, NULL, receive, &receiver));
    start = filch_now();
    cpu = cpu_ns();
    for (unsigned i = 0; i < files && r == 0; i++)
        r = send(conn, file);
    filch_tcp_close(conn);
    pthread_join(thread, NULL);
    ns = (double)(filch_now() - start);
    bench_also(cpu_name, "CPU us/MiB", (cpu_ns() - cpu - receiver.cpu_ns) / 1e3 / mib);
    close(receiver.fd);
    BENCH_OK(filch_file_close(file));
    return r == 0 && receiver.right && receiver.bytes == (uint64_t)mib << 20 ? ns / 1e3 / mib : 0;
}

static bool send_file(filch_runtime *rt, double *ret_value)
{
    double copy;

    (void)rt;
    *ret_value = time_sending(send_by_kernel, "cpu");
    copy = time_sending(send_by_copy, "copy_cpu");
    bench_also("copy", "us/MiB", copy);
    return *ret_value > 0 && copy > 0;
}

/* ---- into a pipe ---- */

struct feeder {
    int fd;
    uint64_t bytes;
    double cpu_ns;
};

static void *feed(void *arg)
{
    struct feeder *feeder = arg;
    unsigned char *piece = bench_alloc(PROXY_PIECE);

    proxy_fill(piece);
    for (uint64_t sent = 0; sent < feeder->bytes;) {
        ssize_t n = send(feeder->fd, piece + sent % PROXY_PIECE, PROXY_PIECE - sent % PROXY_PIECE,
                         MSG_NOSIGNAL);

        if (n <= 0)
            break;
        sent += (uint64_t)n;
    }
    shutdown(feeder->fd, SHUT_WR);
    free(piece);
    feeder->cpu_ns = thread_cpu_ns();
    return NULL;
}

static int copy_by_kernel(filch_tcp *conn, filch_file *pipe)
{
    return filch_copy(filch_tcp_reader(conn), filch_file_writer(pipe), NULL, NULL, FILCH_NEVER);
}

static int copy_by_hand(filch_tcp *conn, filch_file *pipe)
{
    char *buffer = bench_alloc(COPY_BYTES);
    ssize_t n = 0;
    int r = 0;

    while (r == 0 && (n = filch_tcp_read(conn, buffer, COPY_BYTES, FILCH_NEVER)) > 0)
        r = filch_file_write_all(pipe, buffer, (size_t)n, NULL, FILCH_NEVER);
    free(buffer);
    return r < 0 ? r : (int)n;
}

/* As time_sending(). */
static double time_copying(int (*copy)(filch_tcp *conn, filch_file *pipe), const char *cpu_name)
{
    const unsigned mib = bench_quick ? 256 : 2048;
    struct feeder feeder = {.bytes = (uint64_t)mib << 20};
    struct receiver receiver = {0};
    filch_file *in, *out;
    pthread_t threads[2];
    filch_tcp *conn;
    filch_time start;
    double cpu, ns;
    int fd, r;

    if (!proxy_pair(&feeder.fd, &fd))
        return 0;
    BENCH_OK(filch_tcp_adopt(fd, &conn));
    BENCH_OK(filch_pipe(0, &in, &out));
    receiver.fd = filch_file_fd(in);
    start = filch_now();
    cpu = cpu_ns();
    BENCH_OK(-pthread_create(&threads[0], NULL, receive, &receiver));
    BENCH_OK(-pthread_create(&threads[1], NULL, feed, &feeder));
    r = copy(conn, out);
    BENCH_OK(filch_file_close(out));
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    ns = (double)(filch_now() - start);
    bench_also(cpu_name, "CPU us/MiB",
               (cpu_ns() - cpu - receiver.cpu_ns - feeder.cpu_ns) / 1e3 / mib);
    filch_tcp_close(conn);
    close(feeder.fd);
    BENCH_OK(filch_file_close(in));
    return r == 0 && receiver.right && receiver.bytes == feeder.bytes ? ns / 1e3 / mib : 0;
}

static bool copy_pipe(filch_runtime *rt, double *ret_value)
{
    double copy;

    (void)rt;
    *ret_value = time_copying(copy_by_kernel, "cpu");
    copy = time_copying(copy_by_hand, "copy_cpu");
    bench_also("copy", "us/MiB", copy);
    return *ret_value > 0 && copy > 0;
}

int main(int argc, char **argv)
{
    static const struct bench benches[] = {
        {"proxy", "us/MiB", proxy, 0, NULL},
        {"send_file", "us/MiB", send_file, 0, "time"},
        {"copy_pipe", "us/MiB", copy_pipe, 0, "time"},
    };

    return bench_main(argc, argv, benches, sizeof benches / sizeof *benches);
}
