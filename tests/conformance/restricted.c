/* Rings that know nothing but the opcodes that the library asks for at its start: whatever else it
 * staged would be refused by the kernel. Which opcodes these are is found out by taking each away:
 * then another engine is chosen. So the calls that ask and that make a ring are wrapped. */
#include <errno.h>
#include <liburing.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>

#include "tests/conformance/conformance.h"

static bool is_needed[IORING_OP_LAST];
static int taken_away = -1; /* an opcode that is not supported; -1: none */
static bool restricted;     /* rings are made with those that are needed only */

int __real_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *params);
int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *params);
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

static int restrict_ring(struct io_uring *ring)
{
    struct io_uring_restriction allowed[IORING_OP_LAST + IORING_REGISTER_LAST + 1];
    unsigned n = 0;
    int r;

    memset(allowed, 0, sizeof allowed);
    for (unsigned i = 0; i < IORING_OP_LAST; i++)
        if (is_needed[i] || i == IORING_OP_NOP) /* which is tried at the start */
            allowed[n++] = (struct io_uring_restriction){.opcode = IORING_RESTRICTION_SQE_OP,
                                                         .sqe_op = (__u8)i};
    for (unsigned i = 0; i < IORING_REGISTER_LAST; i++)
        allowed[n++] = (struct io_uring_restriction){.opcode = IORING_RESTRICTION_REGISTER_OP,
                                                     .register_op = (__u8)i};
    allowed[n++] = (struct io_uring_restriction){.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
                                                 .sqe_flags = 0xff};
    r = (int)__real_syscall(SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_RESTRICTIONS,
                            allowed, n);
    return r == 0 ? (int)__real_syscall(SYS_io_uring_register, ring->ring_fd,
                                        IORING_REGISTER_ENABLE_RINGS, NULL, 0)
                  : r;
}

int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *params)
{
    int r;

    if (restricted)
        params->flags |= IORING_SETUP_R_DISABLED;
    r = __real_io_uring_queue_init_params(entries, ring, params);
    if (r == 0 && restricted)
        T_OK(restrict_ring(ring));
    return r;
}

long __wrap_syscall(long number, ...)
{
    long arg[6], r;
    va_list args;

    va_start(args, number);
    for (int i = 0; i < 6; i++)
        arg[i] = va_arg(args, long);
    va_end(args);
    r = __real_syscall(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
    if (r == 0 && taken_away >= 0 && number == SYS_io_uring_register &&
        (unsigned)arg[1] == IORING_REGISTER_PROBE) {
        struct io_uring_probe *probe = (struct io_uring_probe *)arg[2];

        for (unsigned i = 0; i < probe->ops_len; i++)
            if (probe->ops[i].op == taken_away)
                probe->ops[i].flags &= (__u16)~IO_URING_OP_SUPPORTED;
    }
    return r;
}

unsigned learn_opcodes(void)
{
    filch_runtime_opts opts = {.workers = 1, .engine = FILCH_ENGINE_AUTO};
    unsigned n = 0;

    unsetenv("FILCH_ENGINE");
    for (taken_away = 0; taken_away < IORING_OP_LAST; taken_away++) {
        filch_runtime *rt = test_start(&opts);

        is_needed[taken_away] = strcmp(filch_engine(rt, NULL), "epoll") == 0;
        n += is_needed[taken_away];
        T_OK(filch_runtime_shutdown(rt, T_LIMIT));
    }
    taken_away = -1;
    return n;
}

void restrict_rings(void)
{
    restricted = true;
}
