/* See ring.h.
 *
 * Flags: COOP_TASKRUN with TASKRUN_FLAG: a completion does not interrupt the owner; a flag tells it
 * to enter. Without SINGLE_ISSUER, so that any thread may enter the ring of an owner that is stuck.
 * Measured against DEFER_TASKRUN the difference on echo is within noise, and DEFER would hold a
 * busy owner's completions until its task ends. The kernel makes ring descriptors close-on-exec.
 */
#include "io/uring/ring.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/base/fault.h"

/* Fewer flags for older kernels; the last one has none. */
static const unsigned flag_ladder[] = {
    IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
    IORING_SETUP_SUBMIT_ALL,
    0,
};

static int open_once(struct io_uring *ring, unsigned entries, struct io_uring_params *params)
{
    int fault = filch__fault_at(FILCH_FAULT_URING_SETUP);

    return fault ? fault : io_uring_queue_init_params(entries, ring, params);
}

int filch__ring_open(struct io_uring *ring, unsigned entries, int attach_fd)
{
    int r = -EINVAL;

    for (unsigned i = 0; i < sizeof flag_ladder / sizeof flag_ladder[0] && r == -EINVAL; i++) {
        struct io_uring_params params = {
            .flags = flag_ladder[i] | IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE,
            .cq_entries = entries * 16,
        };

        if (attach_fd >= 0) {
            params.flags |= IORING_SETUP_ATTACH_WQ;
            params.wq_fd = (unsigned)attach_fd;
        }
        r = open_once(ring, entries, &params);
        if (r == 0 && !(params.features & IORING_FEAT_EXT_ARG)) {
            io_uring_queue_exit(ring);
            return -ENOSYS;
        }
    }
    return r == -EINVAL ? -ENOSYS : r;
}

int filch__ring_enter(unsigned fd, unsigned submit, unsigned wait, unsigned flags, void *arg,
                      size_t arg_bytes)
{
    int fault = filch__fault_at(FILCH_FAULT_URING_ENTER);

    return fault ? fault : io_uring_enter2(fd, submit, wait, flags, arg, arg_bytes);
}

int filch__ring_register(const struct io_uring *ring, unsigned opcode, void *arg, unsigned n)
{
    int fault = filch__fault_at(FILCH_FAULT_URING_REGISTER);
    long r;

    if (fault)
        return fault;
    r = syscall(SYS_io_uring_register, ring->ring_fd, opcode, arg, n);
    return r < 0 ? -errno : (int)r;
}

int filch__ring_register_fd(struct io_uring *ring)
{
    int fault = filch__fault_at(FILCH_FAULT_URING_REGISTER);

    return fault ? fault : io_uring_register_ring_fd(ring);
}
