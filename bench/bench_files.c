/* Files that the page cache has: 4 KiB at random out of 1 GiB, beside a bare ring and bare pread(2)
 * with as many threads as there are workers; and many small files opened, read and closed, beside a
 * loop that blocks. Files lie in $TMPDIR, without names. */
#include "bench/bench.h"
#include "bench/process.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE 4096u
#define READS 2000000u
#define TASKS 64u
#define SMALL_FILES 10000u
#define SMALL_ROUNDS 5u
#define SMALL_BYTES 1000u

static const char *directory(void)
{
    const char *dir = getenv("TMPDIR");

    return dir && *dir ? dir : "/tmp";
}

static double ns_per(filch_time begin, uint64_t ops)
{
    return (double)(filch_now() - begin) / (double)ops;
}

/* ---- one large file ---- */

static struct {
    int fd;
    uint32_t pages;
    filch_file *file;
    _Atomic(uint32_t) wrong; /* pages whose content was another's */
} large = {.fd = -1};

/* Each page begins with its number. */
static void make_large(void)
{
    const uint32_t chunk = 256;
    unsigned char *buf = bench_alloc((size_t)chunk * PAGE);

    if (large.fd >= 0)
        return;
    large.pages = (bench_quick ? (uint32_t)64 << 20 : (uint32_t)1 << 30) / PAGE;
    large.fd = open(directory(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    BENCH_OK(large.fd < 0 ? -errno : 0);
    memset(buf, 'x', (size_t)chunk * PAGE);
    for (uint32_t page = 0; page < large.pages; page += chunk) {
        for (uint32_t i = 0; i < chunk; i++)
            memcpy(buf + (size_t)i * PAGE, &(uint32_t){page + i}, sizeof page);
        if (write(large.fd, buf, (size_t)chunk * PAGE) != (ssize_t)chunk * PAGE)
            bench_fail("write", -EIO);
    }
    free(buf);
    BENCH_OK(filch_file_adopt(dup(large.fd), &large.file));
}

static uint32_t next_page(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 20) % large.pages;
}

static void check_page(const unsigned char *buf, ssize_t n, uint32_t page)
{
    if (n != PAGE || memcmp(buf, &page, sizeof page) != 0)
        atomic_fetch_add(&large.wrong, 1);
}

static uint64_t seed(unsigned number)
{
    return 0x9e3779b97f4a7c15u * (number + 1);
}

static int read_pages(void *arg)
{
    uint64_t state = seed((unsigned)(uintptr_t)arg);
    unsigned char buf[PAGE];

    for (unsigned i = 0; i < READS / TASKS; i++) {
        uint32_t page = next_page(&state);

        check_page(buf, filch_file_pread(large.file, buf, PAGE, (int64_t)page * PAGE, FILCH_NEVER),
                   page);
    }
    return 0;
}

/* The limits: @arg is the share of one thread, in reads. */
static void *pread_pages(void *arg)
{
    uint64_t state = seed(1);
    unsigned char buf[PAGE];

    for (size_t i = 0; i < (size_t)arg; i++) {
        uint32_t page = next_page(&state);

        check_page(buf, pread(large.fd, buf, PAGE, (off_t)page * PAGE), page);
    }
    return NULL;
}

struct slot {
    uint32_t page;
    unsigned char buf[PAGE];
};

static void begin_read(struct io_uring *ring, struct slot *slot, uint64_t *state)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

    slot->page = next_page(state);
    io_uring_prep_read(sqe, large.fd, slot->buf, PAGE, (uint64_t)slot->page * PAGE);
    io_uring_sqe_set_data(sqe, slot);
}

static void *uring_pages(void *arg)
{
    struct slot *slots = bench_alloc(TASKS * sizeof *slots);
    size_t left = (size_t)arg, flying = 0;
    uint64_t state = seed(1);
    struct io_uring ring;
    int r =
        io_uring_queue_init(TASKS, &ring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);

    BENCH_OK(r);
    for (; flying < TASKS; flying++, left--)
        begin_read(&ring, &slots[flying], &state);
    while (flying) {
        struct io_uring_cqe *cqes[TASKS];
        unsigned n;

        io_uring_submit_and_wait(&ring, 1);
        n = io_uring_peek_batch_cqe(&ring, cqes, TASKS);
        for (unsigned i = 0; i < n; i++) {
            struct slot *slot = io_uring_cqe_get_data(cqes[i]);

            check_page(slot->buf, cqes[i]->res, slot->page);
            if (left) {
                left--;
                begin_read(&ring, slot, &state);
            } else {
                flying--;
            }
        }
        io_uring_cq_advance(&ring, n);
    }
    io_uring_queue_exit(&ring);
    free(slots);
    return NULL;
}

/* As many threads as the runtime has workers. */
static double on_threads(filch_runtime *rt, void *(*body)(void *))
{
    pthread_t threads[64];
    filch_stats stats;
    filch_time begin = filch_now();

    BENCH_OK(filch_runtime_stats(rt, &stats));
    for (unsigned i = 0; i < stats.workers; i++)
        BENCH_OK(-pthread_create(&threads[i], NULL, body, (void *)(size_t)(READS / stats.workers)));
    for (unsigned i = 0; i < stats.workers; i++)
        pthread_join(threads[i], NULL);
    return ns_per(begin, READS);
}

/* A limit, and what it costs: on a machine that has other things to do, time says little. */
static void bench_limit(filch_runtime *rt, const char *name, const char *cpu_name,
                        void *(*body)(void *))
{
    uint64_t cpu = process_cpu_ns();

    bench_also(name, "ns/read", on_threads(rt, body));
    bench_also(cpu_name, "CPU ns/read", (double)(process_cpu_ns() - cpu) / READS);
}

static bool fs_read(filch_runtime *rt, double *ret_value)
{
    FILCH_SCOPE(scope);
    filch_time begin;
    uint64_t cpu;

    make_large();
    atomic_store(&large.wrong, 0);
    begin = filch_now();
    cpu = process_cpu_ns();
    for (uintptr_t i = 0; i < TASKS; i++)
        BENCH_OK(filch_scope_spawn(&scope, read_pages, (void *)i));
    BENCH_OK(filch_scope_join(&scope, FILCH_NEVER));
    *ret_value = ns_per(begin, READS);
    bench_also("cpu", "CPU ns/read", (double)(process_cpu_ns() - cpu) / READS);
    bench_limit(rt, "uring", "uring_cpu", uring_pages);
    bench_limit(rt, "pread", "pread_cpu", pread_pages);
    return atomic_load(&large.wrong) == 0;
}

/* ---- many small files ---- */

static struct {
    char dir[128]; /* empty: they are not there */
    _Atomic(uint32_t) next;
    _Atomic(uint64_t) bytes;
} small;

static void small_path(char *path, size_t room, unsigned number)
{
    snprintf(path, room, "%s/%u", small.dir, number);
}

static void remove_small(void)
{
    char path[160];

    for (unsigned i = 0; i < SMALL_FILES; i++) {
        small_path(path, sizeof path, i);
        unlink(path);
    }
    rmdir(small.dir);
}

static void make_small(void)
{
    char path[160], content[SMALL_BYTES];

    if (small.dir[0])
        return;
    snprintf(small.dir, sizeof small.dir, "%s/filch-bench-XXXXXX", directory());
    if (!mkdtemp(small.dir))
        bench_fail("mkdtemp", -errno);
    atexit(remove_small);
    memset(content, 'x', sizeof content);
    for (unsigned i = 0; i < SMALL_FILES; i++) {
        int fd;

        small_path(path, sizeof path, i);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || write(fd, content, sizeof content) != SMALL_BYTES || close(fd) < 0)
            bench_fail("write", -errno);
    }
}

static int read_small(void *arg)
{
    uint64_t bytes = 0;
    unsigned number;

    (void)arg;
    while ((number = atomic_fetch_add(&small.next, 1)) < SMALL_FILES * SMALL_ROUNDS) {
        char path[160], buf[PAGE];
        filch_file *file;
        ssize_t n;

        small_path(path, sizeof path, number % SMALL_FILES);
        BENCH_OK(filch_file_open(path, O_RDONLY, 0, &file, FILCH_NEVER));
        n = filch_file_read(file, buf, sizeof buf, FILCH_NEVER);
        BENCH_OK(n);
        bytes += (uint64_t)n;
        BENCH_OK(filch_file_close(file));
    }
    atomic_fetch_add(&small.bytes, bytes);
    return 0;
}

/* The same system calls: a read that is full enough does not look for the end. */
static int loop_small(void *arg)
{
    uint64_t bytes = 0;
    unsigned number;

    (void)arg;
    while ((number = atomic_fetch_add(&small.next, 1)) < SMALL_FILES * SMALL_ROUNDS) {
        char path[160], buf[PAGE];
        int fd;
        ssize_t n, all = 0;

        small_path(path, sizeof path, number % SMALL_FILES);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        while ((n = read(fd, buf + all, sizeof buf - (size_t)all)) > 0)
            all += n;
        BENCH_OK(n < 0 ? -errno : 0);
        bytes += (uint64_t)all;
        close(fd);
    }
    atomic_fetch_add(&small.bytes, bytes);
    return 0;
}

/* @tasks: 0: here. Return: ns for a file. */
static double time_small(filch_fn fn, unsigned tasks)
{
    FILCH_SCOPE(scope);
    filch_time begin = filch_now();

    atomic_store(&small.next, 0);
    for (unsigned i = 0; i < tasks; i++)
        BENCH_OK(filch_scope_spawn(&scope, fn, NULL));
    if (tasks)
        BENCH_OK(filch_scope_join(&scope, FILCH_NEVER));
    else
        fn(NULL);
    return ns_per(begin, SMALL_FILES * SMALL_ROUNDS);
}

static bool fs_small(filch_runtime *rt, double *ret_value)
{
    (void)rt;
    make_small();
    atomic_store(&small.bytes, 0);
    *ret_value = time_small(read_small, 1);
    bench_also("tasks_64", "ns/file", time_small(read_small, TASKS));
    bench_also("loop", "ns/file", time_small(loop_small, 0));
    return atomic_load(&small.bytes) == (uint64_t)3 * SMALL_FILES * SMALL_ROUNDS * SMALL_BYTES;
}

int main(int argc, char **argv)
{
    static const struct bench benches[] = {
        {"fs_read", "ns/read", fs_read, 0, "time"},
        {"fs_small", "ns/file", fs_small, 0, "time"},
    };

    return bench_main(argc, argv, benches, sizeof benches / sizeof *benches);
}
