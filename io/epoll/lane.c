/* See lane.h.
 *
 * Waking up. The eventfd is registered edge-triggered, so it is never read: each write is an event,
 * and who takes that out has read it in the sense of unpark.h. A rescuer that takes it out by
 * accident writes again, for it is the owner's alone.
 *
 * Several threads may take events out of an epoll at once; each event goes to one of them, and each
 * of them carries out what waits for its events (op.c). So there is no lock here.
 *
 * Time: epoll_pwait2 takes nanoseconds; where it is missing, ppoll waits on the epoll.
 */
#include "io/epoll/lane.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <filch/time.h>

#include "runtime/base/assert.h"
#include "runtime/base/fault.h"
#include "runtime/base/valgrind.h"

#define EVENTS_OWN 128
#define EVENTS_OTHER 16

int filch__epoll_ctl(int epoll_fd, int how, int fd, uint32_t events, void *data)
{
    struct epoll_event event = {.events = events, .data.ptr = data};
    int fault = filch__fault_at(FILCH_FAULT_EPOLL_CTL);

    if (fault)
        return fault;
    return epoll_ctl(epoll_fd, how, fd, &event) < 0 ? -errno : 0;
}

int filch__epoll_open(struct filch__epoll_lane *lane, struct filch__records *records)
{
    int r;

    memset(lane, 0, sizeof *lane);
    lane->base.epoll = true;
    lane->records = records;
    lane->base.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (lane->base.event_fd < 0)
        return -errno;
    lane->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    r = lane->epoll_fd < 0 ? -errno
                           : filch__epoll_ctl(lane->epoll_fd, EPOLL_CTL_ADD, lane->base.event_fd,
                                              EPOLLIN | EPOLLET, NULL);
    if (r == 0)
        return 0;
    if (lane->epoll_fd >= 0)
        close(lane->epoll_fd);
    close(lane->base.event_fd);
    return r;
}

void filch__epoll_close(struct filch__epoll_lane *lane)
{
    close(lane->epoll_fd);
    close(lane->base.event_fd);
}

static void write_event(struct filch__epoll_lane *lane)
{
    uint64_t one = 1;

    (void)!write(lane->base.event_fd, &one, sizeof one);
}

static unsigned handle(struct filch__epoll_lane *lane, const struct epoll_event *events, int n,
                       bool owner)
{
    unsigned ended = 0;

    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr)
            ended += filch__epoll_event(events[i].data.ptr, events[i].events);
        else if (owner)
            filch__unpark_end(&lane->base.unparked);
        else
            write_event(lane);
    }
    return ended;
}

static struct timespec span_until(filch_time until)
{
    filch_time now = filch_now();
    filch_time span = until > now ? until - now : 0;
    struct timespec ts = {.tv_sec = (time_t)(span / FILCH_SECOND),
                          .tv_nsec = (long)(span % FILCH_SECOND)};

    return ts;
}

/* Return: events; -errno. */
static int wait_for_events(struct filch__epoll_lane *lane, struct epoll_event *events, int most,
                           filch_time until)
{
    struct pollfd poll_fd = {.fd = lane->epoll_fd, .events = POLLIN};
    int fault = filch__fault_at(FILCH_FAULT_EPOLL_WAIT);
    struct timespec ts;
    int n;

    if (fault)
        return fault;
    if (until == FILCH_NOW || until == FILCH_NEVER) {
        n = epoll_wait(lane->epoll_fd, events, most, until == FILCH_NOW ? 0 : -1);
        return n < 0 ? -errno : n;
    }
    ts = span_until(until);
    if (!lane->no_pwait2) {
        n = epoll_pwait2(lane->epoll_fd, events, most, &ts, NULL);
        if (n >= 0 || (errno != ENOSYS && errno != EPERM))
            return n < 0 ? -errno : n;
        lane->no_pwait2 = true;
    }
    if (ppoll(&poll_fd, 1, &ts, NULL) <= 0)
        return 0;
    n = epoll_wait(lane->epoll_fd, events, most, 0);
    return n < 0 ? -errno : n;
}

/* The kernel refuses to let us wait. */
static void wait_a_tick(struct filch__epoll_lane *lane)
{
    struct pollfd poll_fd = {.fd = lane->epoll_fd, .events = POLLIN};
    struct timespec tick = {.tv_nsec = FILCH_MILLISECOND};

    (void)ppoll(&poll_fd, 1, &tick, NULL);
}

static unsigned collect(struct filch__epoll_lane *lane, filch_time until)
{
    struct epoll_event events[EVENTS_OWN];
    unsigned ended;
    int n = wait_for_events(lane, events, EVENTS_OWN, until);

    filch_counter_add(&lane->base.stats.enters, 1);
    if (n == -EBADF || n == -EINVAL || n == -EFAULT)
        filch__throw("epoll_wait failed");
    if (n < 0 && n != -EINTR && until != FILCH_NOW)
        wait_a_tick(lane);
    ended = n > 0 ? handle(lane, events, n, true) : 0;
    if (ended)
        filch_counter_add(&lane->base.stats.completions, ended);
    return ended;
}

unsigned filch__epoll_poll(struct filch__epoll_lane *lane)
{
    return collect(lane, FILCH_NOW);
}

void filch__epoll_park(struct filch__epoll_lane *lane, filch_time until)
{
    (void)collect(lane, until);
}

int filch__epoll_watch(struct filch__epoll_lane *lane, int epoll_fd)
{
    return filch__epoll_ctl(epoll_fd, EPOLL_CTL_ADD, lane->epoll_fd, EPOLLIN, NULL);
}

void filch__epoll_answer(struct filch__epoll_lane *lane)
{
    /* Between the exchange and the write of an unpark there is no event yet: then it comes with
     * the write, and is answered later. */
    if (filch_load_relaxed(&lane->base.unparked))
        (void)collect(lane, FILCH_NOW);
}

unsigned filch__epoll_rescue(struct filch__epoll_lane *lane)
{
    struct epoll_event events[EVENTS_OTHER];
    int n = epoll_wait(lane->epoll_fd, events, EVENTS_OTHER, 0);
    unsigned ended = n > 0 ? handle(lane, events, n, false) : 0;

    filch_fetch_add_relaxed(&lane->base.stats.reaped_by_others, ended);
    return ended;
}
