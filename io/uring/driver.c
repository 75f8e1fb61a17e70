/* The io_uring driver: one object, a lane per worker. Opening probes what is needed, so that what
 * is refused is refused at start, with a reason.
 */
#include "io/engine.h"
#include "io/uring/lane.h"
#include "io/uring/ring.h"
#include "runtime/base/valgrind.h"

#include <errno.h>
#include <signal.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES_DEFAULT 256
#define ENTRIES_MIN 4
#define IO_THREADS_DEFAULT 4
#define BUFFERS_DEFAULT 4096
#define BUFFER_BYTES_DEFAULT 16384
#define PROBED_OPS 256
#define NOP_TRIES 100 /* what is wrong for the moment only passes */

struct filch__uring_driver {
    struct filch__driver base;
    filch_atomic_u32 lanes; /* open; grows by the runtime's watch [lane-new] */
    unsigned entries;       /* of each */
    struct filch__uring_lane *lane;
};

/* All that we stage; but for SEND_ZC, in whose place there is SEND (net/zero_copy.c). */
static const struct {
    int opcode;
    const char *name; /* for people */
} needed[] = {
#define NEEDED(name)                                                                               \
    {                                                                                              \
        IORING_OP_##name, "the opcode " #name " is missing"                                        \
    }
    NEEDED(RECV),     NEEDED(SEND),         NEEDED(RECVMSG), NEEDED(SENDMSG), NEEDED(ACCEPT),
    NEEDED(CONNECT),  NEEDED(READ),         NEEDED(READV),   NEEDED(WRITE),   NEEDED(WRITEV),
    NEEDED(OPENAT),   NEEDED(CLOSE),        NEEDED(STATX),   NEEDED(FSYNC),   NEEDED(FALLOCATE),
    NEEDED(RENAMEAT), NEEDED(UNLINKAT),     NEEDED(MKDIRAT), NEEDED(LINKAT),  NEEDED(SYMLINKAT),
    NEEDED(POLL_ADD), NEEDED(ASYNC_CANCEL),
#undef NEEDED
};

static int probe_opcodes(const struct io_uring *ring, const char **ret_step)
{
    _Alignas(struct io_uring_probe) char
        room[sizeof(struct io_uring_probe) + PROBED_OPS * sizeof(struct io_uring_probe_op)] = {0};
    struct io_uring_probe *probe = (struct io_uring_probe *)room;
    int r = filch__ring_register(ring, IORING_REGISTER_PROBE, probe, PROBED_OPS);

    *ret_step = "asking for the opcodes";
    if (r < 0)
        return r == -EINVAL ? -ENOSYS : r;
    for (unsigned i = 0; i < sizeof needed / sizeof needed[0]; i++)
        if (!io_uring_opcode_supported(probe, needed[i].opcode)) {
            *ret_step = needed[i].name;
            return -ENOSYS;
        }
    return 0;
}

/* Without it an operation could not be ended before its time (Linux 6.0). Nothing is in flight: a
 * kernel that knows the call finds nothing. */
static int probe_cancel(const struct io_uring *ring, const char **ret_step)
{
    struct io_uring_sync_cancel_reg reg = {.fd = -1};
    int r = filch__ring_register(ring, IORING_REGISTER_SYNC_CANCEL, &reg, 1);

    *ret_step = "ending operations (IORING_REGISTER_SYNC_CANCEL)";
    return r == -EINVAL ? -ENOSYS : r == -EPERM || r == -EACCES || r == -ENOSYS ? r : 0;
}

/* One operation goes through: a filter may allow a ring to be made, and not to be used. */
static int probe_nop(struct filch__uring_lane *lane, const char **ret_step)
{
    struct io_uring_cqe *cqe;
    int r = -EAGAIN;

    io_uring_prep_nop(filch__uring_sqe(lane));
    filch__uring_commit(lane, NULL);
    *ret_step = "submitting an operation (io_uring_enter)";
    for (int i = 0; i < NOP_TRIES; i++) {
        r = filch__ring_enter((unsigned)lane->ring.ring_fd, filch__uring_staged(lane), 1,
                              IORING_ENTER_GETEVENTS, NULL, _NSIG / 8);
        if (r != -EINTR && r != -EAGAIN && r != -EBUSY && r != -ENOMEM)
            break;
        sched_yield();
    }
    if (r < 0)
        return r;
    if (io_uring_peek_cqe(&lane->ring, &cqe) < 0 || cqe->res < 0)
        return -ENOSYS;
    io_uring_cqe_seen(&lane->ring, cqe);
    return 0;
}

static int probe(struct filch__uring_lane *lane, const char **ret_step)
{
    int r = probe_opcodes(&lane->ring, ret_step);

    if (r == 0)
        r = probe_cancel(&lane->ring, ret_step);
    return r == 0 ? probe_nop(lane, ret_step) : r;
}

/* The kernel's own threads, for each worker: what a ring cannot do at once and cannot poll. Their
 * number would else follow the load, up to RLIMIT_NPROC. */
static int limit_io_threads(const struct io_uring *ring, const filch_runtime_opts *opts)
{
    unsigned most[2] = {
        opts->io_threads_bounded ? opts->io_threads_bounded : IO_THREADS_DEFAULT,
        opts->io_threads_unbounded ? opts->io_threads_unbounded : IO_THREADS_DEFAULT,
    };
    unsigned none[2] = {0, 0};
    int r = filch__ring_register(ring, IORING_REGISTER_IOWQ_MAX_WORKERS, most, 2);

    /* Out of range, or is the question itself unknown, as before Linux 5.15? */
    if (r == -EINVAL &&
        filch__ring_register(ring, IORING_REGISTER_IOWQ_MAX_WORKERS, none, 2) == -EINVAL)
        return -ENOSYS;
    return r < 0 ? r : 0;
}

/* [lane-new] release of who opens -> acquire: all of them are whole. */
static unsigned lanes_of(const struct filch__uring_driver *driver)
{
    return filch_load_acquire(&driver->lanes);
}

static void close_lanes(struct filch__uring_driver *driver)
{
    for (unsigned i = lanes_of(driver); i-- > 0;)
        filch__uring_close(&driver->lane[i]);
    filch_store_relaxed(&driver->lanes, 0);
}

/* The ring wants a power of two. */
static unsigned buffer_count(const filch_runtime_opts *opts)
{
    unsigned count = 1;

    while (count < (opts->recv_buffers ? opts->recv_buffers : BUFFERS_DEFAULT))
        count *= 2;
    return count;
}

static int open_one_more(struct filch__uring_driver *driver, const filch_runtime_opts *opts)
{
    unsigned n = lanes_of(driver);
    struct filch__uring_lane *lane = &driver->lane[n];
    int r = filch__uring_open(lane, driver->entries, n ? driver->lane[0].ring.ring_fd : -1);

    if (r < 0)
        return r;
    /* Valgrind's one lock stays with a thread in io_uring_enter: 3.19 takes that call for one that
     * does not block. Nobody else would run until it returns. */
    lane->waits_outside = opts->current_thread || RUNNING_ON_VALGRIND;
    lane->buffer_count = buffer_count(opts);
    lane->buffer_bytes = opts->recv_buffer_bytes ? opts->recv_buffer_bytes : BUFFER_BYTES_DEFAULT;
    r = limit_io_threads(&lane->ring, opts);
    if (r < 0) {
        filch__uring_close(lane);
        return r;
    }
    filch_store_release(&driver->lanes, n + 1); /* [lane-new] */
    return 0;
}

/* All of the same size, or none. */
static int open_lanes(struct filch__uring_driver *driver, const filch_runtime_opts *opts,
                      unsigned lanes, unsigned entries)
{
    int r = 0;

    driver->entries = entries;
    while (lanes_of(driver) < lanes && r == 0)
        r = open_one_more(driver, opts);
    if (r < 0)
        close_lanes(driver);
    return r;
}

/* Where little memory may be locked, smaller rings are better than none. (Linux 6.18 counts the
 * rings of all processes of a user without CAP_IPC_LOCK against RLIMIT_MEMLOCK: 2 pages for 4
 * entries, about 150 KiB for 256. Those of a ring that was closed are free a little later.) */
static int open_lanes_that_fit(struct filch__uring_driver *driver, const filch_runtime_opts *opts,
                               unsigned lanes)
{
    unsigned entries = opts->ring_entries ? opts->ring_entries : ENTRIES_DEFAULT;
    const struct timespec pause = {.tv_nsec = 50000000};
    int r;

    while ((r = open_lanes(driver, opts, lanes, entries)) == -ENOMEM &&
           entries / 2 >= ENTRIES_MIN) {
        entries /= 2;
        nanosleep(&pause, NULL);
    }
    return r;
}

static struct filch__uring_driver *of(struct filch__driver *driver)
{
    return filch_container_of(driver, struct filch__uring_driver, base);
}

void filch__uring_driver_close(struct filch__driver *base)
{
    struct filch__uring_driver *driver = of(base);

    close_lanes(driver);
    free(driver->lane);
    free(driver);
}

void filch__uring_driver_forked(struct filch__driver *driver)
{
    for (unsigned i = 0; i < lanes_of(of(driver)); i++)
        filch__uring_forked(&of(driver)->lane[i]);
}

int filch__uring_driver_open(const filch_runtime_opts *opts, unsigned lanes, unsigned lanes_max,
                             struct filch__driver **ret_driver, const char **ret_step)
{
    struct filch__uring_driver *driver = calloc(1, sizeof *driver);
    int r;

    if (!driver)
        return -ENOMEM;
    driver->lane =
        aligned_alloc(FILCH_CACHELINE, lanes_max * ((sizeof *driver->lane + 63) & ~(size_t)63));
    if (!driver->lane) {
        free(driver);
        return -ENOMEM;
    }
    *ret_step = "setting up a ring for each worker (io_uring_setup)";
    r = open_lanes_that_fit(driver, opts, lanes);
    if (r == 0)
        r = probe(&driver->lane[0], ret_step);
    if (r < 0) {
        filch__uring_driver_close(&driver->base);
        return r;
    }
    *ret_driver = &driver->base;
    return 0;
}

int filch__uring_driver_grow(struct filch__driver *driver, const filch_runtime_opts *opts)
{
    return open_one_more(of(driver), opts);
}

struct filch__lane *filch__uring_driver_lane(struct filch__driver *driver, unsigned index)
{
    return &of(driver)->lane[index].base;
}

unsigned filch__uring_driver_lanes(struct filch__driver *driver)
{
    return lanes_of(of(driver));
}
