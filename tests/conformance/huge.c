/* Lengths that no system call takes in one piece, and offsets beyond 2 GiB: see conformance.h. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include <filch/file.h>

#include "tests/conformance/conformance.h"

#ifdef T_SANITIZED
#define HUGE_BYTES ((size_t)64 << 20) /* their shadow would be real */
#else
/* Valgrind looks at each byte of what it is told that a call may fill. */
#define HUGE_BYTES (RUNNING_ON_VALGRIND ? (size_t)64 << 20 : (size_t)3 << 30)
#endif
#define MOST ((long)0x7ffff000) /* that the kernel moves at a time */
#define FAR ((int64_t)5 << 30)

/* Address space that is hardly touched. */
static char *map_huge(void)
{
    char *at = mmap(NULL, HUGE_BYTES, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    T_CHECK(at != MAP_FAILED);
    return at;
}

/* Return: @r. */
static long unmap_huge(char *at, long r)
{
    T_OK(munmap(at, HUGE_BYTES));
    return r;
}

static long huge_read(struct place *p)
{
    char *buf = map_huge();

    client_writes(p, "abc");
    return unmap_huge(buf, filch_tcp_read(p->pair.server, buf, HUGE_BYTES, T_LIMIT));
}

static int huge_read_later(void *arg)
{
    struct place *p = arg;
    char *buf = map_huge();

    return (int)unmap_huge(buf, filch_tcp_read(p->pair.server, buf, HUGE_BYTES, T_LIMIT));
}

static long huge_read_that_waits(struct place *p)
{
    filch_task *task = spawn(huge_read_later, p);

    let_it_wait();
    client_writes(p, "abc");
    return join(task);
}

/* As much as there is room for. */
static long huge_write(struct place *p)
{
    char *buf = map_huge();
    long n = filch_tcp_write(p->pair.server, buf, HUGE_BYTES, T_LIMIT);

    return unmap_huge(buf, n > 0 && n <= MOST);
}

static filch_file *open_file(const char *path, int flags)
{
    filch_file *file;

    T_OK(filch_file_open(path, flags, 0, &file, T_LIMIT));
    return file;
}

static long huge_file_read(struct place *p)
{
    filch_file *file = open_file(p->path, O_RDONLY);
    char *buf = map_huge();
    long r = filch_file_read(file, buf, HUGE_BYTES, T_LIMIT);

    T_OK(filch_file_close(file));
    return unmap_huge(buf, r);
}

static long huge_file_write(struct place *p)
{
    filch_file *file = open_file("/dev/null", O_WRONLY);
    char *buf = map_huge();
    long r = filch_file_write(file, buf, HUGE_BYTES, T_LIMIT);

    (void)p;
    T_OK(filch_file_close(file));
    return unmap_huge(buf, r == ((long)HUGE_BYTES < MOST ? (long)HUGE_BYTES : MOST));
}

static long huge_vector(struct place *p)
{
    filch_file *file = open_file("/dev/null", O_WRONLY);
    char *buf = map_huge();
    struct iovec iov[] = {{buf, HUGE_BYTES / 2}, {buf, HUGE_BYTES / 2}, {buf, HUGE_BYTES / 2}};
    long r = filch_file_writev(file, iov, 3, FILCH_FILE_POSITION, T_LIMIT);

    (void)p;
    T_OK(filch_file_close(file));
    return unmap_huge(buf, r > 0 && r <= MOST);
}

static long far_offset(struct place *p)
{
    filch_file *file = open_file(p->path, O_RDWR);
    filch_file_info info;
    char byte = 0;

    T_IS(filch_file_pwrite(file, "x", 1, FAR, T_LIMIT), 1);
    T_OK(filch_file_stat(file, &info, T_LIMIT));
    T_IS(info.bytes, FAR + 1);
    T_IS(filch_file_pread(file, &byte, 1, FAR, T_LIMIT), 1);
    T_IS(byte, 'x');
    T_OK(filch_file_truncate(file, 10, T_LIMIT));
    byte = (char)filch_file_pread(file, &byte, 1, FAR, T_LIMIT);
    T_OK(filch_file_close(file));
    return byte;
}

const struct conformance_case huge_cases[] = {
    CASE(huge_read, 3),       CASE(huge_read_that_waits, 3),
    CASE(huge_write, 1),      CASE(huge_file_read, 10),
    CASE(huge_file_write, 1), CASE(huge_vector, 1),
    CASE(far_offset, 0),      {0},
};
