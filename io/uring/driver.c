/* The io_uring driver: one object, a lane per worker. Opening probes what is needed, so that what
 * is refused is refused at start, with a reason.
 */
#include "io/uring/lane.h"
#include "io/uring/ring.h"
#include "runtime/base/valgrind.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES_DEFAULT 256
#define ENTRIES_MIN 4
#define IO_THREADS_DEFAULT 4
#define PROBED_OPS 256

struct filch__driver {
    unsigned lanes;
    struct filch__lane *lane;
};

static const int needed_opcodes[] = {
    IORING_OP_RECV,    IORING_OP_SEND, IORING_OP_RECVMSG,  IORING_OP_SENDMSG,      IORING_OP_ACCEPT,
    IORING_OP_CONNECT, IORING_OP_READ, IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL,
};

static int probe_opcodes(const struct io_uring *ring)
{
    _Alignas(struct io_uring_probe) char
        room[sizeof(struct io_uring_probe) + PROBED_OPS * sizeof(struct io_uring_probe_op)] = {0};
    struct io_uring_probe *probe = (struct io_uring_probe *)room;
    int r = filch__ring_register(ring, IORING_REGISTER_PROBE, probe, PROBED_OPS);

    if (r < 0)
        return r == -EINVAL ? -ENOSYS : r;
    for (unsigned i = 0; i < sizeof needed_opcodes / sizeof needed_opcodes[0]; i++)
        if (!io_uring_opcode_supported(probe, needed_opcodes[i]))
            return -ENOSYS;
    return 0;
}

/* The kernel's own threads, for each worker: what a ring cannot do at once and cannot poll. Their
 * number would else follow the load, up to RLIMIT_NPROC. */
static int limit_io_threads(const struct io_uring *ring, const filch_runtime_opts *opts)
{
    unsigned most[2] = {
        opts->io_threads_bounded ? opts->io_threads_bounded : IO_THREADS_DEFAULT,
        opts->io_threads_unbounded ? opts->io_threads_unbounded : IO_THREADS_DEFAULT,
    };
    int r = filch__ring_register(ring, IORING_REGISTER_IOWQ_MAX_WORKERS, most, 2);

    return r < 0 ? r : 0;
}

static void close_lanes(struct filch__driver *driver)
{
    while (driver->lanes)
        filch__lane_close(&driver->lane[--driver->lanes]);
}

/* All of the same size, or none. */
static int open_lanes(struct filch__driver *driver, const filch_runtime_opts *opts, unsigned lanes,
                      unsigned entries)
{
    int r = 0;

    while (driver->lanes < lanes && r == 0) {
        struct filch__lane *lane = &driver->lane[driver->lanes];

        r = filch__lane_open(lane, entries, driver->lanes ? driver->lane[0].ring.ring_fd : -1);
        if (r == 0) {
            driver->lanes++;
            /* Valgrind's one lock stays with a thread in io_uring_enter: 3.19 takes that call for
             * one that does not block. Nobody else would run until it returns. */
            lane->waits_outside = opts->current_thread || RUNNING_ON_VALGRIND;
            r = limit_io_threads(&lane->ring, opts);
        }
    }
    if (r < 0)
        close_lanes(driver);
    return r;
}

/* Where little memory may be locked, smaller rings are better than none. (Linux 6.18 counts the
 * rings of all processes of a user without CAP_IPC_LOCK against RLIMIT_MEMLOCK: 2 pages for 4
 * entries, about 150 KiB for 256. Those of a ring that was closed are free a little later.) */
static int open_lanes_that_fit(struct filch__driver *driver, const filch_runtime_opts *opts,
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

static void driver_close(struct filch__driver *driver)
{
    close_lanes(driver);
    free(driver->lane);
    free(driver);
}

static void driver_forked(struct filch__driver *driver)
{
    for (unsigned i = 0; i < driver->lanes; i++)
        filch__lane_forked(&driver->lane[i]);
}

static int driver_open(const filch_runtime_opts *opts, unsigned lanes,
                       struct filch__driver **ret_driver)
{
    struct filch__driver *driver = calloc(1, sizeof *driver);
    int r;

    if (!driver)
        return -ENOMEM;
    driver->lane =
        aligned_alloc(FILCH_CACHELINE, lanes * ((sizeof *driver->lane + 63) & ~(size_t)63));
    if (!driver->lane) {
        free(driver);
        return -ENOMEM;
    }
    r = open_lanes_that_fit(driver, opts, lanes);
    if (r == 0)
        r = probe_opcodes(&driver->lane[0].ring);
    if (r < 0) {
        driver_close(driver);
        return r;
    }
    syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
    *ret_driver = driver;
    return 0;
}

static struct filch__lane *driver_lane(struct filch__driver *driver, unsigned index)
{
    return &driver->lane[index];
}

static void driver_stats(struct filch__driver *driver, struct filch__driver_stats *ret_stats)
{
    for (unsigned i = 0; i < driver->lanes; i++) {
        struct filch__lane_stats *from = &driver->lane[i].stats;

        ret_stats->ops_submitted += filch_load_relaxed(&from->submitted);
        ret_stats->ops_direct += filch_load_relaxed(&from->direct);
        ret_stats->enters += filch_load_relaxed(&from->enters);
        ret_stats->completions += filch_load_relaxed(&from->completions);
        ret_stats->reaped_by_others += filch_load_relaxed(&from->reaped_by_others);
        ret_stats->accept_backoffs += filch_load_relaxed(&from->backoffs);
    }
}

const struct filch__driver_ops filch__uring_driver = {
    .open = driver_open,
    .close = driver_close,
    .forked = driver_forked,
    .lane = driver_lane,
    .enter_thread = filch__lane_enter_thread,
    .leave_thread = filch__lane_leave_thread,
    .is_ready = filch__lane_is_ready,
    .staged = filch__lane_staged,
    .poll = filch__lane_poll,
    .park = filch__lane_park,
    .unpark = filch__lane_unpark,
    .watch = filch__lane_watch,
    .answer = filch__lane_answer,
    .rescue = filch__lane_rescue,
    .stats = driver_stats,
};
