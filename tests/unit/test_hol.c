/* Description: head-of-line blocking: however badly some tasks behave, connections and timers of
 * others go on. On all workers but one, or on all, tasks compute, sit in read(2) or wait for a file
 * lock, and do not end before a thousand round trips over TCP and a hundred ticks are done: so they
 * are counted, not timed. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "runtime/base/valgrind.h"
#include "tests/runner/run.h"
#include "tests/runner/tcp_pair.h"

TestSuite(hol, .timeout = 120);

#define ROUNDS 1000
#define TICKS 100

static atomic_uint stuck, rounds, tick_count, parts;
static atomic_bool over;
static struct tcp_pair pair;

/* ---- ways to be stuck ---- */

static int pipe_fds[2];
static char lock_path[] = "/tmp/filch-hol-XXXXXX";
static int lock_fd;

static int computes(void *arg)
{
    filch_time limit = T_LIMIT;

    (void)arg;
    atomic_fetch_add(&stuck, 1);
    while (!atomic_load(&over))
        T_CHECK(filch_now() < limit);
    return 0;
}

static int reads(void *arg)
{
    char byte;

    (void)arg;
    atomic_fetch_add(&stuck, 1);
    T_IS((int)read(pipe_fds[0], &byte, 1), 1);
    return 0;
}

static int locks(void *arg)
{
    int fd = open(lock_path, O_RDWR | O_CLOEXEC);

    (void)arg;
    T_CHECK(fd >= 0);
    atomic_fetch_add(&stuck, 1);
    T_OK(flock(fd, LOCK_EX));
    close(fd);
    return 0;
}

/* ---- those that must get on ---- */

static int answers(void *arg)
{
    char byte;

    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        T_IS((int)filch_tcp_read(pair.server, &byte, 1, T_LIMIT), 1);
        T_OK(filch_tcp_write_all(pair.server, &byte, 1, NULL, T_LIMIT));
    }
    atomic_fetch_add(&parts, 1);
    return 0;
}

static int asks(void *arg)
{
    char byte = 'x';

    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        T_OK(filch_tcp_write_all(pair.client, &byte, 1, NULL, T_LIMIT));
        T_IS((int)filch_tcp_read(pair.client, &byte, 1, T_LIMIT), 1);
        atomic_fetch_add(&rounds, 1);
    }
    atomic_fetch_add(&parts, 1);
    return 0;
}

static int ticks(void *arg)
{
    (void)arg;
    for (int i = 0; i < TICKS; i++) {
        T_OK(filch_sleep(filch_after(100 * FILCH_MICROSECOND)));
        atomic_fetch_add(&tick_count, 1);
    }
    atomic_fetch_add(&parts, 1);
    return 0;
}

static int opens(void *arg)
{
    (void)arg;
    connect_pair(&pair);
    return 0;
}

static int closes(void *arg)
{
    (void)arg;
    close_pair(&pair);
    return 0;
}

static void prepare(void)
{
    atomic_store(&stuck, 0);
    atomic_store(&rounds, 0);
    atomic_store(&tick_count, 0);
    atomic_store(&parts, 0);
    atomic_store(&over, false);
    T_OK(pipe(pipe_fds));
    lock_fd = mkstemp(lock_path);
    T_CHECK(lock_fd >= 0);
    T_OK(flock(lock_fd, LOCK_EX));
}

static void release(unsigned n)
{
    atomic_store(&over, true);
    for (unsigned i = 0; i < n; i++)
        T_IS((int)write(pipe_fds[1], "x", 1), 1);
    T_OK(flock(lock_fd, LOCK_UN));
}

static void others_get_on(unsigned workers, unsigned n, filch_fn gets_stuck)
{
    filch_runtime *rt = start_runtime_with_threads(workers);

    prepare();
    T_OK(filch_runtime_block_on(rt, opens, NULL, NULL, FILCH_NEVER));
    for (unsigned i = 0; i < n; i++)
        T_OK(filch_runtime_spawn(rt, gets_stuck, NULL, NULL, NULL));
    T_WAIT_UNTIL(atomic_load(&stuck) == n);
    T_OK(filch_runtime_spawn(rt, answers, NULL, NULL, NULL));
    T_OK(filch_runtime_spawn(rt, asks, NULL, NULL, NULL));
    T_OK(filch_runtime_spawn(rt, ticks, NULL, NULL, NULL));
    T_WAIT_UNTIL(atomic_load(&parts) == 3);
    T_CHECK(atomic_load(&rounds) == ROUNDS && atomic_load(&tick_count) == TICKS);
    T_CHECK(!atomic_load(&over));
    release(n);
    T_OK(filch_runtime_block_on(rt, closes, NULL, NULL, FILCH_NEVER));
    stop_runtime(rt);
    unlink(lock_path);
    close(lock_fd);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

Test(hol, all_workers_but_one_compute)
{
    others_get_on(2, 1, computes);
}

Test(hol, seven_of_eight_workers_compute)
{
    if (RUNNING_ON_VALGRIND)
        cr_skip_test("Valgrind runs one thread at a time");
    others_get_on(8, 7, computes);
}

Test(hol, all_workers_compute)
{
    others_get_on(2, 2, computes);
}

Test(hol, all_workers_but_one_are_in_read)
{
    others_get_on(2, 1, reads);
}

Test(hol, all_workers_are_in_read)
{
    others_get_on(2, 2, reads);
}

Test(hol, all_workers_but_one_wait_for_a_file_lock)
{
    others_get_on(2, 1, locks);
}

Test(hol, all_workers_wait_for_a_file_lock)
{
    others_get_on(2, 2, locks);
}
