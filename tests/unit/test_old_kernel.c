/* Description: older kernels, simulated: what io_uring_setup and io_uring_register did not know
 * then is refused as it was then, with -EINVAL or as an opcode that is not supported. Either the
 * start says that the kernel is too old, and leaves nothing, or all works that the headers promise,
 * cancelling above all; and who does not insist on io_uring gets it by epoll, and is told why. Not
 * simulated: how an older kernel carries out what it does know. */
#include <errno.h>
#include <liburing.h>
#include <linux/membarrier.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>

#include <criterion/criterion.h>

#include "tests/runner/process.h"
#include "tests/runner/tcp_pair.h"

TestSuite(old_kernel, .timeout = 120);

enum { ALL = 64 };

/* What a kernel knows. Flags of setup and opcodes of register by number: those below. */
struct kernel {
    const char *name;
    unsigned setup_flags;
    unsigned register_opcodes;
    bool waits_with_time; /* IORING_FEAT_EXT_ARG */
    bool registers_ring;  /* 5.18: IORING_REGISTER_RING_FDS */
    int lacks_opcode;     /* of an operation; -1: none */
    bool works;
    const char *reason; /* of the other engine, in part */
};

static const struct kernel kernels[] = {
    {"5.10", 7, 13, false, false, -1, false, "io_uring_setup"},
    {"5.11", 7, 17, true, false, -1, false, "io_uring_setup"},
    {"5.15", 7, 20, true, false, -1, false, "SYNC_CANCEL"},
    {"5.18", 8, 22, true, true, -1, false, "SYNC_CANCEL"},
    {"5.19", 12, 24, true, true, -1, false, "SYNC_CANCEL"},
    {"6.0", 13, 25, true, true, -1, true, NULL},
    {"6.1", 14, 26, true, true, -1, true, NULL},
    /* Those of distributions: what is needed was brought back, the rest was not. */
    {"with the oldest flags", 7, ALL, true, false, -1, true, NULL},
    {"without task work in user space", 8, ALL, true, true, -1, true, NULL},
    {"without registered rings", ALL, ALL, true, false, -1, true, NULL},
    {"without connect", ALL, ALL, true, true, IORING_OP_CONNECT, false, "CONNECT"},
    {"without rename", ALL, ALL, true, true, IORING_OP_RENAMEAT, false, "RENAMEAT"},
    {"without cancel", ALL, ALL, true, true, IORING_OP_ASYNC_CANCEL, false, "ASYNC_CANCEL"},
};
#define KERNELS (sizeof kernels / sizeof *kernels)

static const struct kernel *present; /* NULL: the true one */

/* membarrier(2): works, is not known, or is refused by a filter that came later. */
static enum { BARRIER_WORKS, BARRIER_UNKNOWN, BARRIER_FILTERED } barrier;
static unsigned barriers_refused;

int __real_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *params);
int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *params);
int __real_io_uring_register_ring_fd(struct io_uring *ring);
int __wrap_io_uring_register_ring_fd(struct io_uring *ring);
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *params)
{
    int r;

    if (present && present->setup_flags < 32 && params->flags >> present->setup_flags)
        return -EINVAL;
    r = __real_io_uring_queue_init_params(entries, ring, params);
    if (r == 0 && present && !present->waits_with_time)
        params->features &= ~IORING_FEAT_EXT_ARG;
    return r;
}

int __wrap_io_uring_register_ring_fd(struct io_uring *ring)
{
    return present && !present->registers_ring ? -EINVAL : __real_io_uring_register_ring_fd(ring);
}

static void take_opcode_away(struct io_uring_probe *probe, int opcode)
{
    for (unsigned i = 0; i < probe->ops_len; i++)
        if (probe->ops[i].op == opcode)
            probe->ops[i].flags &= (uint16_t)~IO_URING_OP_SUPPORTED;
}

/* All that the library calls by number: at most six arguments, none wider than a register. */
long __wrap_syscall(long number, ...)
{
    long arg[6];
    long r;
    va_list args;

    va_start(args, number);
    for (int i = 0; i < 6; i++)
        arg[i] = va_arg(args, long);
    va_end(args);
    if (number == SYS_membarrier &&
        (barrier == BARRIER_UNKNOWN ||
         (barrier == BARRIER_FILTERED && arg[0] != MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED))) {
        __atomic_fetch_add(&barriers_refused, 1, __ATOMIC_RELAXED);
        errno = barrier == BARRIER_UNKNOWN ? ENOSYS : EPERM;
        return -1;
    }
    if (present && number == SYS_io_uring_register &&
        (unsigned)arg[1] >= present->register_opcodes) {
        errno = EINVAL;
        return -1;
    }
    r = __real_syscall(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
    if (r == 0 && present && number == SYS_io_uring_register &&
        (unsigned)arg[1] == IORING_REGISTER_PROBE && present->lacks_opcode >= 0)
        take_opcode_away((struct io_uring_probe *)arg[2], present->lacks_opcode);
    return r;
}

static int return_seven(void *arg)
{
    (void)arg;
    return 7;
}

static int reads_for_ever(void *conn)
{
    char byte;

    return (int)filch_tcp_read(conn, &byte, 1, FILCH_NEVER);
}

static int accepts_for_ever(void *listener)
{
    filch_tcp *conn;

    return filch_listener_accept(listener, &conn, FILCH_NEVER);
}

/* Something of everything, and each way to end an operation that waits. */
static int life(void *arg)
{
    struct tcp_pair pair;
    filch_task *task;
    char byte = 0;

    (void)arg;
    connect_pair(&pair);
    T_OK(filch_tcp_write_all(pair.client, "x", 1, NULL, T_LIMIT));
    T_OK(filch_tcp_read_exact(pair.server, &byte, 1, NULL, T_LIMIT));
    T_IS(byte, 'x');
    T_IS(filch_tcp_read(pair.server, &byte, 1, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    task = spawn(reads_for_ever, pair.server);
    let_others_run();
    T_OK(filch_task_cancel(task));
    T_IS(join(task), -ECANCELED);
    task = spawn(accepts_for_ever, pair.listener);
    let_others_run();
    T_OK(filch_task_cancel(task));
    T_IS(join(task), -ECANCELED);
    T_OK(filch_sleep(filch_after(FILCH_MILLISECOND)));
    T_OK(filch_blocking_spawn(return_seven, NULL, NULL, &task));
    T_IS(join(task), 7);
    close_pair(&pair);
    return 0;
}

static void expect_refusal(filch_runtime_opts opts)
{
    unsigned descriptors = process_descriptors();
    filch_runtime *rt = NULL;
    int r;

    opts.engine = FILCH_ENGINE_URING;
    r = filch_runtime_start(&opts, &rt);
    T_IS(r, -ENOSYS);
    T_CHECK(strstr(filch_strerror(r), "too old"));
    T_CHECK(!rt);
    T_IS(process_descriptors(), descriptors);
}

static void run_on(const struct kernel *kernel, bool hosted)
{
    filch_runtime_opts opts = {.workers = hosted ? 1 : 2, .current_thread = hosted};
    const char *reason;
    filch_runtime *rt;
    int result = -1;

    fprintf(stderr, "kernel %s%s\n", kernel->name, hosted ? ", on the host's threads" : "");
    present = kernel;
    if (!kernel->works)
        expect_refusal(opts);
    rt = test_start(&opts);
    T_OK(strcmp(filch_engine(rt, &reason), kernel->works ? "io_uring" : "epoll"));
    T_CHECK(kernel->works || strstr(reason, kernel->reason));
    T_OK(filch_runtime_block_on(rt, life, NULL, &result, FILCH_NEVER));
    T_OK(result);
    T_OK(filch_runtime_shutdown(rt, T_LIMIT));
    present = NULL;
}

Test(old_kernel, works_and_says_by_which_engine)
{
    unsetenv("FILCH_ENGINE");
    for (size_t i = 0; i < KERNELS; i++) {
        run_on(&kernels[i], false);
        run_on(&kernels[i], true);
    }
}

/* What io_uring is used for at least, and thus must be asked for at the start. */
static bool is_needed(int opcode)
{
    static const int needed[] = {
        IORING_OP_RECV,         IORING_OP_SEND,      IORING_OP_RECVMSG,   IORING_OP_SENDMSG,
        IORING_OP_ACCEPT,       IORING_OP_CONNECT,   IORING_OP_READ,      IORING_OP_READV,
        IORING_OP_WRITEV,       IORING_OP_OPENAT,    IORING_OP_CLOSE,     IORING_OP_STATX,
        IORING_OP_FSYNC,        IORING_OP_FALLOCATE, IORING_OP_RENAMEAT,  IORING_OP_UNLINKAT,
        IORING_OP_MKDIRAT,      IORING_OP_LINKAT,    IORING_OP_SYMLINKAT, IORING_OP_POLL_ADD,
        IORING_OP_ASYNC_CANCEL,
    };

    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (needed[i] == opcode)
            return true;
    return false;
}

/* Each opcode missing alone: who needs it is served by the other engine as a whole, and told which
 * one it was. */
Test(old_kernel, each_single_opcode_missing)
{
    struct kernel kernel = {"without an opcode", ALL, ALL, true, true, -1, true, NULL};
    unsigned refused = 0;

    unsetenv("FILCH_ENGINE");
    for (kernel.lacks_opcode = 0; kernel.lacks_opcode < IORING_OP_LAST; kernel.lacks_opcode++) {
        const char *reason;
        filch_runtime *rt;
        bool other;

        present = &kernel;
        rt = test_start(&(filch_runtime_opts){.workers = 1});
        other = strcmp(filch_engine(rt, &reason), "epoll") == 0;
        T_CHECK(other || !is_needed(kernel.lacks_opcode));
        T_CHECK(!other || strstr(reason, "the opcode "));
        refused += other;
        T_OK(filch_runtime_shutdown(rt, T_LIMIT));
        if (other)
            expect_refusal((filch_runtime_opts){.workers = 1});
        present = NULL;
    }
    cr_assert(refused >= 21);
    cr_assert(refused < IORING_OP_LAST); /* what is not used is not missed */
}

static int sets(void *arg)
{
    atomic_store((atomic_int *)arg, 1);
    return 0;
}

/* What it has spawned last waits in the slot that only its worker takes from by itself. */
static int computes_until_set(void *arg)
{
    T_OK(filch_spawn(sets, arg));
    for (filch_time limit = T_LIMIT; !atomic_load((atomic_int *)arg);)
        T_CHECK(filch_now() < limit);
    return life(NULL);
}

Test(old_kernel, without_membarrier_stuck_workers_are_helped_all_the_same)
{
    atomic_int set = 0;

    barrier = BARRIER_UNKNOWN;
    T_OK(run_in_runtime(2, computes_until_set, &set));
    cr_assert(barriers_refused > 0);
}

/* Then nobody may look into that slot from outside; all else goes on. */
Test(old_kernel, a_filter_that_comes_later_loses_nothing)
{
    barrier = BARRIER_FILTERED;
    T_OK(run_in_runtime(2, life, NULL));
}

/* The wrappers alone change nothing. */
Test(old_kernel, the_true_one_works)
{
    T_OK(run_in_runtime(0, life, NULL));
}
