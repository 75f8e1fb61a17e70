/* Description: what splice(2) may say, now or later, comes out as what a copy would say: refusals
 * of every kind, at once and in the middle, ends that are ready and yet are not, signals, and pages
 * that are not in memory: all bytes come, in order, and nothing spins. A wrapper says it. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/uio.h>

#include <criterion/criterion.h>

#include <filch/copy.h>

#include "tests/runner/line.h"
#include "tests/runner/refusals.h"
#include "tests/runner/wrapped_syscall.h"

TestSuite(splice_faults, .timeout = 120);

enum refused { SPLICE = 1, CACHE };

static atomic_uint calls;
static atomic_uint good;    /* so many calls are made before the refusals begin */
static atomic_uint every;   /* else each so manieth is refused; 0: all are */
static atomic_bool signals; /* each call that moves something raises SIGPIPE, too */

WRAPPED(ssize_t, splice,
        (int from, off64_t *from_offset, int to, off64_t *to_offset, size_t bytes, unsigned flags))
{
    unsigned number = atomic_fetch_add(&calls, 1), each = atomic_load(&every);
    ssize_t n;

    if (number >= atomic_load(&good) && (!each || number % each == 0) && refuses(SPLICE))
        return errno ? -1 : 0;
    n = __real_splice(from, from_offset, to, to_offset, bytes, flags);
    if (n > 0 && atomic_load(&signals))
        pthread_kill(pthread_self(), SIGPIPE);
    return n;
}

/* Only reads of one byte: those that ask what is in the page cache. */
static bool refuses_syscall(long number, const long *arg)
{
    return number == SYS_preadv2 && arg[5] == RWF_NOWAIT && arg[2] == 1 &&
           ((const struct iovec *)arg[1])->iov_len == 1 && refuses(CACHE);
}

/* ---- */

struct fault {
    enum refused what;
    int error;
    unsigned good, every, most_calls; /* 0: no limit */
};

static void copies_in_spite_of(enum line_kind from, enum line_kind to, const struct fault *fault)
{
    const uint64_t bytes = (1 << 20) + 1;
    struct line a, b;
    struct line_work feeding = {&a, bytes, 1 << 16, 0}, eating = {&b, UINT64_MAX, 1 << 16, 0};
    filch_task *feeder = NULL, *eater;
    uint64_t done;

    line_open(&a, from);
    line_open(&b, to);
    if (from == LINE_FILE)
        T_OK(line_feed(&feeding));
    else
        feeder = spawn(line_feed, &feeding);
    eater = spawn(line_eat, &eating);
    atomic_store(&calls, 0);
    atomic_store(&good, fault->good);
    atomic_store(&every, fault->every);
    atomic_store(&refusal, fault->error);
    atomic_store(&refused, fault->what);
    T_OK(filch_copy(line_reader(&a), line_writer(&b), NULL, &done, T_LIMIT));
    atomic_store(&refused, 0);
    T_IS(done, bytes);
    if (fault->most_calls)
        T_CHECK(atomic_load(&calls) <= fault->most_calls);
    line_finish(&b);
    if (feeder)
        T_OK(join(feeder));
    T_OK(join(eater));
    T_IS(eating.done, bytes);
    line_close(&a);
    line_close(&b);
}

static void between_all(const struct fault *fault)
{
    for (int from = 0; from < LINE_KINDS; from++) {
        copies_in_spite_of(from, LINE_PIPE, fault);
        if (from == LINE_PIPE)
            copies_in_spite_of(from, LINE_UNIX, fault);
    }
}

/* ---- refusals ---- */

static int is_refused(void *arg)
{
    static const int errors[] = {EINVAL, ENOSYS, EPERM,  EACCES,   EOPNOTSUPP,
                                 EBADF,  ENOMEM, ESPIPE, EOVERFLOW};

    (void)arg;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        for (unsigned calls_before = 0; calls_before < 4; calls_before += 3)
            between_all(&(struct fault){SPLICE, errors[i], calls_before, 0, calls_before + 1});
    return 0;
}

Test(splice_faults, what_is_refused_is_copied)
{
    T_OK(run_in_runtime(0, is_refused, NULL));
}

/* ---- it would wait, it says ---- */

static int is_never_ready(void *arg)
{
    (void)arg;
    between_all(&(struct fault){SPLICE, EAGAIN, 0, 0, 2000});
    between_all(&(struct fault){SPLICE, EAGAIN, 2, 0, 2000});
    between_all(&(struct fault){SPLICE, EAGAIN, 0, 2, 0});
    between_all(&(struct fault){SPLICE, EINTR, 0, 2, 0});
    return 0;
}

Test(splice_faults, ends_that_are_ready_and_are_not)
{
    T_OK(run_in_runtime(0, is_never_ready, NULL));
}

/* ---- it has ended, it says ---- */

static int says_the_end(void *arg)
{
    (void)arg;
    for (int from = LINE_TCP; from <= LINE_UNIX; from++)
        copies_in_spite_of(from, LINE_PIPE, &(struct fault){SPLICE, 0, 1, 3, 0});
    return 0;
}

/* As a socket does before urgent data, when the peer has ended. */
Test(splice_faults, an_end_of_a_socket_that_is_none)
{
    T_OK(run_in_runtime(0, says_the_end, NULL));
}

/* ---- signals ---- */

/* In a plain thread, where it is not blocked. Some bytes went out, and then the peer was gone: the
 * kernel says how many, and raises SIGPIPE. */
Test(splice_faults, a_signal_with_bytes_that_were_moved_ends_nothing)
{
    filch_runtime *rt = start_runtime(0);
    struct line a, b;
    struct line_work feeding = {&a, 50000, 1 << 16, 0}, eating = {&b, UINT64_MAX, 1 << 16, 0};

    line_open(&a, LINE_PIPE);
    line_open(&b, LINE_UNIX);
    T_OK(line_feed(&feeding));
    atomic_store(&signals, true);
    T_OK(filch_copy(line_reader(&a), line_writer(&b), NULL, NULL, T_LIMIT));
    atomic_store(&signals, false);
    T_CHECK(atomic_load(&calls) > 0);
    line_finish(&b);
    T_OK(line_eat(&eating));
    T_IS(eating.done, 50000);
    line_close(&a);
    line_close(&b);
    stop_runtime(rt);
}

/* ---- pages that are not there ---- */

static int is_not_cached(void *arg)
{
    static const int errors[] = {EAGAIN, EOPNOTSUPP};

    (void)arg;
    for (int i = 0; i < 2; i++) {
        /* A splice would wait for the disk with the pipe's lock. */
        copies_in_spite_of(LINE_FILE, LINE_PIPE,
                           &(struct fault){CACHE, errors[i], .most_calls = 0});
        T_IS(atomic_load(&calls), 0);
        copies_in_spite_of(LINE_FILE, LINE_TCP, &(struct fault){CACHE, errors[i]});
    }
    return 0;
}

Test(splice_faults, what_is_not_in_the_page_cache)
{
    T_OK(run_in_runtime(0, is_not_cached, NULL));
}
