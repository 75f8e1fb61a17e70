/* Description: the driver (io/uring): rings that are too small for what is in flight, the kernel's
 * own threads, descriptors across exec, users who may lock little memory, and buffers that are
 * touched while the kernel writes into them. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <criterion/criterion.h>

#include "io/uring/lane.h"
#include "runtime/task/switch.h"
#include "runtime/task/task.h"
#include "runtime/base/valgrind.h"
#include "tests/runner/tcp_pair.h"

TestSuite(driver, .timeout = 60);

static int run_with(const filch_runtime_opts *opts, filch_fn fn, void *arg)
{
    filch_runtime *rt = NULL;
    int result = -1;

    T_OK(filch_runtime_start(opts, &rt));
    T_OK(filch_runtime_block_on(rt, fn, arg, &result, FILCH_NEVER));
    stop_runtime(rt);
    return result;
}

/* More operations in flight than a ring has room for, in either direction. */

/* More than the largest completion queue here holds; few where each costs much. */
#define READERS_MAX 2000
#define READERS (RUNNING_ON_VALGRIND ? 300 : READERS_MAX)

struct crowd {
    struct tcp_pair pair;
    atomic_int arrived;
    atomic_int seen[READERS_MAX]; /* by the number that arrived */
};

static int read_number(void *arg)
{
    struct crowd *crowd = arg;
    uint32_t number = READERS;

    atomic_fetch_add(&crowd->arrived, 1);
    /* Reads of 4 bytes where all that is written is a multiple of 4: whole numbers. */
    T_IS(filch_tcp_read(crowd->pair.server, &number, sizeof(number), FILCH_NEVER), 4);
    T_CHECK(number < READERS);
    T_IS(atomic_fetch_add(&crowd->seen[number], 1), 0);
    return 0;
}

static struct filch__uring_lane *uring_of_worker(void)
{
    return filch_container_of(filch__worker_lane(), struct filch__uring_lane, base);
}

/* Only a ring can. */
static bool is_overflown(void)
{
    struct filch__uring_lane *lane = uring_of_worker();

    if (lane->base.epoll)
        return true;

    /* A system call that enters the kernel is what lets it post completions. */
    sched_yield();
    return IO_URING_READ_ONCE(*lane->ring.sq.kflags) & IORING_SQ_CQ_OVERFLOW;
}

/* @arg: there is one worker, so all operations are on this lane. */
static int crowd_body(void *arg)
{
    struct crowd *crowd = calloc(1, sizeof(*crowd));
    static uint32_t numbers[READERS_MAX];
    FILCH_SCOPE(scope);

    T_CHECK(crowd);
    connect_pair(&crowd->pair);
    for (int i = 0; i < READERS; i++)
        T_OK(filch_scope_spawn(&scope, read_number, crowd));
    T_WAIT_UNTIL(atomic_load(&crowd->arrived) == READERS);
    let_others_run();
    for (uint32_t i = 0; i < READERS; i++)
        numbers[i] = i;
    /* Directly, in one piece: the completions come while nobody reaps. */
    T_IS(filch_tcp_write(crowd->pair.client, numbers, READERS * sizeof(*numbers), FILCH_NOW),
         READERS * sizeof(*numbers));
    if (arg) {
        filch_time until = T_LIMIT;

        while (!is_overflown())
            T_CHECK(filch_now() < until);
    }
    T_OK(filch_scope_join(&scope, T_LIMIT));
    for (int i = 0; i < READERS; i++)
        T_IS(atomic_load(&crowd->seen[i]), 1);
    close_pair(&crowd->pair);
    free(crowd);
    return 0;
}

Test(driver, completions_beyond_the_ring_are_not_lost)
{
    int one = 1;

    for (unsigned entries = 1; entries <= 8; entries *= 8) {
        filch_runtime_opts opts = {.workers = 1, .ring_entries = entries};

        cr_assert_eq(run_with(&opts, crowd_body, &one), 0);
        opts.workers = 3;
        cr_assert_eq(run_with(&opts, crowd_body, NULL), 0);
    }
}

static int read_until_cancelled(void *arg)
{
    char byte;

    T_IS(filch_tcp_read(arg, &byte, 1, FILCH_NEVER), -ECANCELED);
    return 0;
}

/* Every cancel is a completion as well. */
static int cancelled_crowd_body(void *arg)
{
    struct tcp_pair pair;
    char byte;

    (void)arg;
    connect_pair(&pair);
    {
        FILCH_SCOPE(scope);

        for (int i = 0; i < READERS; i++)
            T_OK(filch_scope_spawn(&scope, read_until_cancelled, pair.server));
        let_others_run();
        T_OK(filch_scope_cancel_join(&scope));
    }
    T_OK(filch_tcp_write_all(pair.client, "!", 1, NULL, T_LIMIT));
    T_IS(filch_tcp_read(pair.server, &byte, 1, T_LIMIT), 1);
    close_pair(&pair);
    return 0;
}

Test(driver, a_crowd_is_cancelled_in_a_tiny_ring)
{
    filch_runtime_opts opts = {.workers = 2, .ring_entries = 1};

    cr_assert_eq(run_with(&opts, cancelled_crowd_body, NULL), 0);
}

/* The kernel's own threads: opening a FIFO blocks until somebody opens the other end, and there is
 * no way to poll it. */

#define OPENERS 12

struct openers {
    char path[64];
    atomic_int arrived;
};

static int open_fifo(void *arg)
{
    struct openers *openers = arg;
    struct filch__lane *lane;
    struct filch__op op;
    struct io_uring_sqe *sqe = filch__op_begin(&op, &lane);
    int fd;

    atomic_fetch_add(&openers->arrived, 1);
    io_uring_prep_openat(sqe, AT_FDCWD, openers->path, O_RDONLY | O_CLOEXEC, 0);
    sqe->flags |= IOSQE_ASYNC; /* else it is tried with O_NONBLOCK, which succeeds */
    filch__lane_commit(lane, &op);
    fd = filch__op_wait(&op, FILCH_NEVER);
    T_CHECK(fd >= 0);
    close(fd);
    return 0;
}

static int count_kernel_threads(void)
{
    DIR *dir = opendir("/proc/self/task");
    struct dirent *entry;
    int n = 0;

    T_CHECK(dir);
    while ((entry = readdir(dir))) {
        char path[300], name[32] = "";
        int fd;

        snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            T_CHECK(read(fd, name, sizeof(name) - 1) >= 0);
            close(fd);
        }
        n += strncmp(name, "iou-wrk", 7) == 0;
    }
    closedir(dir);
    return n;
}

static int io_threads_body(void *arg)
{
    int limit = *(int *)arg;
    struct openers openers = {.arrived = 0};
    char dir[] = "/tmp/filch-test-XXXXXX";
    int writer, most = 0;
    FILCH_SCOPE(scope);

    T_CHECK(mkdtemp(dir));
    snprintf(openers.path, sizeof(openers.path), "%s/fifo", dir);
    T_OK(mkfifo(openers.path, 0600));
    for (int i = 0; i < OPENERS; i++)
        T_OK(filch_scope_spawn(&scope, open_fifo, &openers));
    T_WAIT_UNTIL(atomic_load(&openers.arrived) == OPENERS);
    T_WAIT_UNTIL(count_kernel_threads() >= limit);
    /* Give it every chance to start more. */
    for (int i = 0; i < 20; i++) {
        int n = count_kernel_threads();

        most = n > most ? n : most;
        T_OK(filch_sleep(filch_after(FILCH_MILLISECOND)));
    }
    T_IS(most, limit);
    writer = open(openers.path, O_RDWR | O_CLOEXEC); /* lets everybody in */
    T_CHECK(writer >= 0);
    T_OK(filch_scope_join(&scope, T_LIMIT));
    close(writer);
    T_OK(unlink(openers.path));
    T_OK(rmdir(dir));
    return 0;
}

Test(driver, the_kernels_threads_are_limited)
{
    filch_runtime_opts opts = {.workers = 1,
                               .io_threads_bounded = 2,
                               .io_threads_unbounded = 2,
                               .engine = FILCH_ENGINE_URING};
    int limit = 2;

    cr_assert_eq(run_with(&opts, io_threads_body, &limit), 0);
    opts = (filch_runtime_opts){.workers = 1, .engine = FILCH_ENGINE_URING};
    limit = 4;
    cr_assert_eq(run_with(&opts, io_threads_body, &limit), 0);
}

struct limits {
    atomic_int ready;
    unsigned bounded, unbounded;
};

/* Holds its worker until each has one of these: so every lane is asked. */
static int ask_limit(void *arg)
{
    struct limits *limits = arg;
    unsigned now[2] = {0, 0}; /* 0 asks only */
    filch_time until = T_LIMIT;

    atomic_fetch_add(&limits->ready, 1);
    while (atomic_load(&limits->ready) < 3)
        T_CHECK(filch_now() < until);
    T_OK(io_uring_register_iowq_max_workers(&uring_of_worker()->ring, now));
    T_IS(now[0], limits->bounded);
    T_IS(now[1], limits->unbounded);
    return 0;
}

static int ask_limits_body(void *arg)
{
    FILCH_SCOPE(scope);

    for (int i = 0; i < 3; i++)
        T_OK(filch_scope_spawn(&scope, ask_limit, arg));
    return filch_scope_join(&scope, T_LIMIT);
}

Test(driver, each_workers_ring_has_the_limits_of_the_options)
{
    filch_runtime_opts opts = {.workers = 3,
                               .io_threads_bounded = 3,
                               .io_threads_unbounded = 5,
                               .engine = FILCH_ENGINE_URING};
    struct limits limits = {.bounded = 3, .unbounded = 5};

    cr_assert_eq(run_with(&opts, ask_limits_body, &limits), 0);
}

Test(driver, limits_out_of_range_are_refused)
{
    filch_runtime_opts opts = {
        .workers = 1, .io_threads_bounded = UINT32_MAX, .engine = FILCH_ENGINE_URING};
    filch_runtime *rt = NULL;

    cr_assert_eq(filch_runtime_start(&opts, &rt), -EINVAL);
    cr_assert_null(rt);
}

/* Descriptors across exec. */

/* Return: how many that are not in @marks would survive. */
static int count_survivors(const bool *marks)
{
    int n = 0;

    for (int fd = 0; fd < 1024; fd++) {
        int flags = fcntl(fd, F_GETFD);

        if (flags >= 0 && !marks[fd] && !(flags & FD_CLOEXEC)) {
            fprintf(stderr, "descriptor %d would survive exec\n", fd);
            n++;
        }
    }
    return n;
}

static int cloexec_body(void *arg)
{
    struct tcp_pair pair, thread_pair;

    connect_pair(&pair);
    listen_any(&thread_pair);
    T_OK(filch_tcp_connect(thread_pair.addr, &thread_pair.client, T_LIMIT));
    T_OK(filch_listener_accept(thread_pair.listener, &thread_pair.server, T_LIMIT));
    T_IS(count_survivors(arg), 0);
    close_pair(&pair);
    close_pair(&thread_pair);
    return 0;
}

Test(driver, no_descriptor_survives_exec)
{
    bool marks[1024];

    for (int fd = 0; fd < 1024; fd++)
        marks[fd] = fcntl(fd, F_GETFD) >= 0; /* not ours */
    cr_assert_eq(run_in_runtime(0, cloexec_body, marks), 0);
    cr_assert_eq(cloexec_body(marks), 0); /* those of a plain thread */
}

/* Little memory to lock, for a user without privileges and of its own: the kernel counts the rings
 * of all processes of a user. */

static int become_somebody(rlim_t memlock)
{
    struct rlimit limit = {memlock, memlock};
    uid_t uid = 100000 + (uid_t)getpid();

    T_OK(setrlimit(RLIMIT_MEMLOCK, &limit));
    return setgid(uid) < 0 || setuid(uid) < 0 ? -EPERM : 0;
}

static int echo_body(void *arg)
{
    struct tcp_pair pair;
    char byte;

    (void)arg;
    connect_pair(&pair);
    T_OK(filch_tcp_write_all(pair.client, "!", 1, NULL, T_LIMIT));
    T_IS(filch_tcp_read(pair.server, &byte, 1, T_LIMIT), 1);
    close_pair(&pair);
    return 0;
}

Test(driver, rings_shrink_to_the_memory_that_may_be_locked)
{
    filch_runtime_opts opts = {.workers = 3, .engine = FILCH_ENGINE_URING};

    if (geteuid() != 0)
        cr_skip_test("only root can become a user without rings");
    /* One ring of the default size would fit, but not three. */
    T_OK(become_somebody(256 << 10));
    cr_assert_eq(run_with(&opts, echo_body, NULL), 0);
}

Test(driver, without_memory_to_lock_the_start_says_why)
{
    filch_runtime_opts opts = {.workers = 1, .engine = FILCH_ENGINE_URING};
    filch_runtime *rt = NULL;
    int r;

    if (geteuid() != 0)
        cr_skip_test("only root can become a user without rings");
    T_OK(become_somebody(0));
    r = filch_runtime_start(&opts, &rt);
    if (r == 0) {
        stop_runtime(rt);
        cr_skip_test("this kernel does not count rings as locked memory");
    }
    cr_assert_eq(r, -ENOMEM);
    cr_assert_null(rt);
    cr_assert_not_null(strstr(filch_strerror(r), "RLIMIT_MEMLOCK"));
    /* Who does not insist on rings gets on without. */
    unsetenv("FILCH_ENGINE");
    opts.engine = FILCH_ENGINE_AUTO;
    cr_assert_eq(run_with(&opts, echo_body, NULL), 0);
}

/* Buffers in flight. */

struct victim {
    struct tcp_pair pair;
    char *buf;
    atomic_int arrived;
};

static int read_into(void *arg)
{
    struct victim *victim = arg;

    atomic_store(&victim->arrived, 1);
    T_IS(filch_tcp_read(victim->pair.server, victim->buf, 64, FILCH_NEVER), 1);
    return 0;
}

static int readv_into(void *arg)
{
    struct victim *victim = arg;
    char other[8];
    struct iovec iov[] = {{other, 1}, {victim->buf, 64}};

    atomic_store(&victim->arrived, 1);
    T_IS(filch_tcp_readv(victim->pair.server, iov, 2, FILCH_NEVER), 1);
    return 0;
}

static void begin_read(struct victim *victim, filch_fn fn, filch_task **ret_reader)
{
    victim->buf = malloc(64);
    T_CHECK(victim->buf);
    memset(victim->buf, 0, 64);
    connect_pair(&victim->pair);
    *ret_reader = spawn(fn, victim);
    T_WAIT_UNTIL(atomic_load(&victim->arrived));
    let_others_run(); /* it is in flight now: one worker */
}

static void end_read(struct victim *victim, filch_task *reader)
{
    T_OK(filch_tcp_write_all(victim->pair.client, "!", 1, NULL, T_LIMIT));
    T_OK(join(reader));
    close_pair(&victim->pair);
}

static int untouched_body(void *arg)
{
    struct victim victim = {.arrived = 0};
    filch_task *reader;

    (void)arg;
    begin_read(&victim, read_into, &reader);
    end_read(&victim, reader);
    T_IS(victim.buf[0], '!'); /* ours again */
    victim.buf[63] = 'x';
    free(victim.buf);
    return 0;
}

Test(driver, a_buffer_is_the_callers_again_after_the_read)
{
    cr_assert_eq(run_in_runtime(1, untouched_body, NULL), 0);
}

#ifdef FILCH__ASAN
static int touch_body(void *arg)
{
    struct victim victim = {.arrived = 0};
    filch_task *reader;

    begin_read(&victim, arg ? readv_into : read_into, &reader);
    *(volatile char *)&victim.buf[5] = 'x';
    end_read(&victim, reader);
    free(victim.buf);
    return 0;
}

static int free_body(void *arg)
{
    struct victim victim = {.arrived = 0};
    filch_task *reader;

    (void)arg;
    begin_read(&victim, read_into, &reader);
    free(victim.buf);
    end_read(&victim, reader);
    return 0;
}

/* Return: did the body die with this on its standard error? */
static bool dies_with(filch_fn body, void *arg, const char *text)
{
    char said[16384] = "";
    size_t bytes = 0;
    ssize_t n;
    int out[2], status;
    pid_t child;

    T_OK(pipe(out));
    child = fork();
    T_CHECK(child >= 0);
    if (child == 0) {
        dup2(out[1], STDERR_FILENO);
        close(out[0]);
        close(out[1]);
        _exit(run_in_runtime(1, body, arg) ? 3 : 0);
    }
    close(out[1]);
    while (bytes < sizeof(said) - 1 &&
           (n = read(out[0], said + bytes, sizeof(said) - 1 - bytes)) > 0)
        bytes += (size_t)n;
    close(out[0]); /* of a longer report the rest is not needed */
    T_IS(waitpid(child, &status, 0), child);
    if (status == 0 || !strstr(said, text))
        fprintf(stderr, "status %d, and it said:\n%s\n", status, said);
    return status != 0 && strstr(said, text);
}

Test(driver, a_buffer_touched_in_flight_is_reported)
{
    int several = 1;

    T_CHECK(dies_with(touch_body, NULL, "use-after-poison"));
    T_CHECK(dies_with(touch_body, &several, "use-after-poison"));
}

Test(driver, a_buffer_freed_in_flight_is_reported)
{
    T_CHECK(dies_with(free_body, NULL, "a buffer was freed"));
}
#else
Test(driver, a_buffer_touched_in_flight_is_reported)
{
    (void)readv_into;
    cr_skip_test("only AddressSanitizer sees it");
}
#endif
