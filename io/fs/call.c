/* Files: who makes the system call.
 *
 *                                  task                              thread, job, future's poll
 *     read, write                  RWF_NOWAIT, then the ring         directly
 *     read, write of what waits    RWF_NOWAIT, then a poll           RWF_NOWAIT, then poll(2)
 *     open                         the name cache, then the ring     directly
 *     stat, rename, fsync, ...     the ring                          directly
 *     what the ring has not        a blocking thread                 directly
 *
 * Inline comes first because it costs what the call costs: a page that is cached is read in 0.3 us,
 * where a thread of the kernel or of ours must be woken for 10 to 30. RWF_NOWAIT and RESOLVE_CACHED
 * are the kernel's word that it will not wait. The ring's threads come before ours: the op needs no
 * stack, can be cancelled while it is queued, and is staged with others.
 *
 * Why a FIFO is opened without waiting, and waited for then: a thread that waits in open(2) holds
 * one of the few threads, and the one who would open the other side may stand behind it.
 *
 * Pipes are written by direct calls only: the ring raises SIGPIPE in whoever submits. Where the
 * kernel does not give its word for a pipe (before 6.4, for a FIFO, and once it was spliced from or
 * to) an end that is ours alone is non-blocking for the length of the call instead: a thread that
 * writes more than there is room for could not be called back.
 *
 * Close of what waits, which shutdown(2) does not end:
 *
 *     a call                                    the closer
 *     1 stage its op                            1 set CLOSING (fd.c)
 *     2 lock; CLOSING? else into the list       2 lock; cancel all in the list; unlock
 *     3 wait; lock; out of the list             3 again, with pauses, until the list is empty
 *
 *   [file-ops] Both steps 2 hold the lock: a call that was too late for the closer's list sees
 * CLOSING and cancels itself.
 */
#include "io/fs/call.h"

#include <errno.h>
#include <liburing.h>
#include <unistd.h>

#include <filch/blocking.h>
#include <filch/time.h>

#include "io/net/socket.h"
#include "io/lane.h"
#include "runtime/task/switch.h"
#include "runtime/task/task.h"

static int make_directly(const struct filch__fs_call *call)
{
    int r;

    do {
        r = call->direct(call);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : r;
}

static int make_by_ring(const struct filch__fs_call *call, filch_time until)
{
    int r;

    do {
        struct filch__lane *lane;
        struct filch__op op;
        struct io_uring_sqe *sqe = filch__op_begin(&op, &lane);

        call->prep(sqe, call);
        filch__lane_commit(lane, &op);
        r = filch__op_wait(&op, until);
    } while (r == -EINTR);
    return r;
}

static int make_in_job(void *call)
{
    return make_directly(call);
}

int filch__fs_call(const struct filch__fs_call *call, filch_time until)
{
    int r;

    if (!filch__in_stackful_task())
        return make_directly(call);
    r = filch__only_now(until);
    if (r < 0)
        return r;
    return call->prep ? make_by_ring(call, until) : filch__fs_job(make_in_job, (void *)call, until);
}

int filch__fs_job(filch_fn job, void *arg, filch_time until)
{
    int result, r;

    if (!filch__in_stackful_task())
        return job(arg);
    r = filch__only_now(until);
    if (r == 0)
        r = filch_blocking_run(job, arg, NULL, &result, until);
    if (r < 0)
        return r;
    if (result == -ECANCELED && !filch__task_cancelled(filch__task_current()))
        return -ETIMEDOUT;
    return result;
}

/* The op's result, and the descriptor's end, come whatever happens to the caller. */
static int close_by_ring(int fd)
{
    struct filch__lane *lane;
    struct filch__op op;
    struct io_uring_sqe *sqe = filch__op_begin(&op, &lane);

    io_uring_prep_close(sqe, fd);
    filch__lane_commit(lane, &op);
    while (!filch_load_acquire(&op.done)) /* [op-done] */
        filch__park_shielded_until(FILCH_NEVER, FILCH_WAIT_CLOSE);
    return op.res;
}

/* ThreadSanitizer knows descriptors by the calls that make and close them: one that the ring has
 * closed, and another thread gets again, would be a race. */
#ifdef FILCH__TSAN
#define CLOSE_BY_RING false
#else
#define CLOSE_BY_RING true
#endif

int filch__fs_close(int fd, bool slow)
{
    int r = CLOSE_BY_RING && slow && filch__in_stackful_task() ? close_by_ring(fd) : -ECANCELED;

    /* Not begun. */
    if (r == -ECANCELED)
        r = close(fd) < 0 ? -errno : 0;
    return r == -EINTR ? 0 : r; /* it is gone all the same */
}
