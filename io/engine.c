/* Which engine a runtime has, and the driver's table over both.
 *
 * io_uring is chosen by trying it: rings are really set up, every opcode that we use is asked for,
 * and an operation goes through one of them. What the kernel refuses there (a filter of system
 * calls, a sysctl, an old version, memory that may not be locked) leads to epoll, with the reason
 * kept for filch_engine(); unless the program wants io_uring or nothing.
 *
 * A single opcode that is missing leads to epoll as a whole: two ways for the operations of one
 * runtime would be a third engine, which nobody has tested.
 *
 * One table for both, with a branch in each function that every worker always takes the same way,
 * instead of a table for each runtime: a load more in each call of the scheduler.
 */
#include "io/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "io/epoll/lane.h"
#include "io/uring/lane.h"

static struct filch__uring_lane *uring(struct filch__lane *lane)
{
    return filch_container_of(lane, struct filch__uring_lane, base);
}

static struct filch__epoll_lane *epoll(struct filch__lane *lane)
{
    return filch_container_of(lane, struct filch__epoll_lane, base);
}

/* ---- choosing ---- */

/* Another engine can help. */
static bool is_refusal(int error)
{
    return error == -EPERM || error == -EACCES || error == -ENOSYS || error == -ENOMEM;
}

/* What was left open by the program is the environment's to say. Return: 0; -EINVAL. */
static int choose(const filch_runtime_opts *opts, filch_engine_choice *ret_choice,
                  const char **ret_by)
{
    const char *text = getenv("FILCH_ENGINE");

    *ret_choice = opts->engine;
    *ret_by = "the program's options";
    if (opts->engine != FILCH_ENGINE_AUTO || !text || !*text)
        return opts->engine <= FILCH_ENGINE_EPOLL ? 0 : -EINVAL;
    *ret_by = "FILCH_ENGINE in the environment";
    if (strcmp(text, "uring") == 0)
        *ret_choice = FILCH_ENGINE_URING;
    else if (strcmp(text, "epoll") == 0)
        *ret_choice = FILCH_ENGINE_EPOLL;
    else if (strcmp(text, "auto") != 0)
        return -EINVAL;
    return 0;
}

static int engine_open(const filch_runtime_opts *opts, unsigned lanes, unsigned lanes_max,
                       struct filch__driver **ret_driver)
{
    filch_engine_choice choice;
    const char *by, *step = NULL;
    int refused = 0;
    int r = filch__buffers_fit(opts) ? choose(opts, &choice, &by) : -EINVAL;

    if (r < 0)
        return r;
    if (choice != FILCH_ENGINE_EPOLL) {
        r = filch__uring_driver_open(opts, lanes, lanes_max, ret_driver, &step);
        if (r == 0) {
            snprintf((*ret_driver)->reason, sizeof(*ret_driver)->reason, "%s",
                     choice == FILCH_ENGINE_URING ? by : "the kernel allows io_uring");
            return 0;
        }
        if (choice == FILCH_ENGINE_URING || !step || !is_refusal(r))
            return r;
        refused = r;
    }
    r = filch__epoll_driver_open(opts, lanes, lanes_max, ret_driver);
    if (r < 0)
        return r;
    if (refused)
        snprintf((*ret_driver)->reason, sizeof(*ret_driver)->reason, "io_uring: %s: %s", step,
                 strerrordesc_np(-refused));
    else
        snprintf((*ret_driver)->reason, sizeof(*ret_driver)->reason, "%s", by);
    return 0;
}

static const char *engine_name(struct filch__driver *driver, const char **ret_reason)
{
    *ret_reason = driver->reason;
    return driver->epoll ? "epoll" : "io_uring";
}

/* ---- the driver ---- */

static int engine_grow(struct filch__driver *driver, const filch_runtime_opts *opts)
{
    return driver->epoll ? filch__epoll_driver_grow(driver, opts)
                         : filch__uring_driver_grow(driver, opts);
}

static void engine_close(struct filch__driver *driver)
{
    if (driver->epoll)
        filch__epoll_driver_close(driver);
    else
        filch__uring_driver_close(driver);
}

static void engine_forked(struct filch__driver *driver)
{
    if (driver->epoll)
        filch__epoll_driver_forked(driver);
    else
        filch__uring_driver_forked(driver);
}

static struct filch__lane *lane_of(struct filch__driver *driver, unsigned index)
{
    return driver->epoll ? filch__epoll_driver_lane(driver, index)
                         : filch__uring_driver_lane(driver, index);
}

static void engine_stats(struct filch__driver *driver, struct filch__driver_stats *ret_stats)
{
    unsigned lanes =
        driver->epoll ? filch__epoll_driver_lanes(driver) : filch__uring_driver_lanes(driver);

    for (unsigned i = 0; i < lanes; i++) {
        struct filch__lane_stats *from = &lane_of(driver, i)->stats;

        ret_stats->ops_submitted += filch_load_relaxed(&from->submitted);
        ret_stats->ops_direct += filch_load_relaxed(&from->direct);
        ret_stats->enters += filch_load_relaxed(&from->enters);
        ret_stats->completions += filch_load_relaxed(&from->completions);
        ret_stats->reaped_by_others += filch_load_relaxed(&from->reaped_by_others);
        ret_stats->accept_backoffs += filch_load_relaxed(&from->backoffs);
    }
}

/* ---- its lanes ---- */

static void lane_enter_thread(struct filch__lane *lane)
{
    if (lane->epoll)
        prctl(PR_SET_TIMERSLACK, 1ul); /* epoll adds it to each sleep; a ring does not */
    else
        filch__uring_enter_thread(uring(lane));
}

static void lane_leave_thread(struct filch__lane *lane)
{
    if (!lane->epoll)
        filch__uring_leave_thread(uring(lane));
}

/* Whether an epoll has events only a system call tells. */
static bool lane_is_ready(const struct filch__lane *lane)
{
    return !lane->epoll && filch__uring_is_ready(uring((struct filch__lane *)lane));
}

static unsigned lane_staged(const struct filch__lane *lane)
{
    return lane->epoll ? 0 : filch__uring_staged(uring((struct filch__lane *)lane));
}

static bool lane_is_due(const struct filch__lane *lane)
{
    return lane->epoll || lane_is_ready(lane) || lane_staged(lane);
}

unsigned filch__lane_poll(struct filch__lane *lane)
{
    return lane->epoll ? filch__epoll_poll(epoll(lane)) : filch__uring_poll(uring(lane));
}

bool filch__lane_has_buffers(struct filch__lane *lane)
{
    return !lane->epoll && filch__uring_has_buffers(uring(lane));
}

static void lane_park(struct filch__lane *lane, filch_time until)
{
    if (lane->epoll)
        filch__epoll_park(epoll(lane), until);
    else
        filch__uring_park(uring(lane), until);
}

static void lane_unpark(struct filch__lane *lane)
{
    uint64_t one = 1;

    if (!filch__unpark_begin(&lane->unparked))
        return;
    /* Fails only when the counter is full, and then the owner wakes anyway. */
    (void)!write(lane->event_fd, &one, sizeof one);
}

static int lane_watch(struct filch__lane *lane, int epoll_fd)
{
    return lane->epoll ? filch__epoll_watch(epoll(lane), epoll_fd)
                       : filch__uring_watch(uring(lane), epoll_fd);
}

static void lane_answer(struct filch__lane *lane)
{
    if (lane->epoll)
        filch__epoll_answer(epoll(lane));
    else
        filch__uring_answer(uring(lane));
}

unsigned filch__lane_rescue(struct filch__lane *lane)
{
    return lane->epoll ? filch__epoll_rescue(epoll(lane)) : filch__uring_rescue(uring(lane));
}

void filch__op_cancel(struct filch__op *op)
{
    if (op->lane->epoll)
        filch__epoll_op_cancel(op);
    else
        filch__uring_op_cancel(op);
}

const struct filch__driver_ops filch__io_driver = {
    .open = engine_open,
    .close = engine_close,
    .forked = engine_forked,
    .name = engine_name,
    .grow = engine_grow,
    .lane = lane_of,
    .enter_thread = lane_enter_thread,
    .leave_thread = lane_leave_thread,
    .is_ready = lane_is_ready,
    .is_due = lane_is_due,
    .staged = lane_staged,
    .poll = filch__lane_poll,
    .park = lane_park,
    .unpark = lane_unpark,
    .watch = lane_watch,
    .answer = lane_answer,
    .rescue = filch__lane_rescue,
    .stats = engine_stats,
};
