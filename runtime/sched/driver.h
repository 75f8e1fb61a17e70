/* What the scheduler asks of the driver. io implements it (runtime never includes io).
 *
 * The driver is one object per runtime with one lane per worker. Each worker polls its own lane
 * between tasks, parks in it when there is nothing to do, and may reap the lane of a worker that is
 * stuck. Completions wake tasks with filch__task_wake_back().
 *
 * In a runtime that is driven by threads of the host (sched/drive.c) the owner of the only lane is
 * whoever drives; owners may change, and one that has left may end.
 */
#ifndef FILCH_SCHED_DRIVER_H
#define FILCH_SCHED_DRIVER_H

#include <filch/runtime.h>

struct filch__worker;
struct filch__driver; /* io's */
struct filch__lane;   /* io's; worker->lane */

struct filch__driver_stats {
    uint64_t ops_submitted, ops_direct, enters, completions, reaped_by_others, accept_backoffs;
};

struct filch__driver_ops {
    /* Makes the driver and a lane for each of @lanes workers; there may be up to @lanes_max. On the
     * starting thread. Return: 0; -errno as filch_runtime_start(). */
    int (*open)(const filch_runtime_opts *opts, unsigned lanes, unsigned lanes_max,
                struct filch__driver **ret_driver);
    /* One lane more, for a worker to come. By one thread at a time. Return: 0; -errno. */
    int (*grow)(struct filch__driver *driver, const filch_runtime_opts *opts);
    /* Frees it. No worker runs any more, nothing is in flight but wake-ups. */
    void (*close)(struct filch__driver *driver);
    /* In the child of a fork, for a driver of the parent's: lets go of what the two share, touching
     * no ring. Nothing else is called for it then. */
    void (*forked)(struct filch__driver *driver);
    /* The engine's name, and why it was chosen; valid as long as the driver. */
    const char *(*name)(struct filch__driver *driver, const char **ret_reason);
    struct filch__lane *(*lane)(struct filch__driver *driver, unsigned index);
    /* On the worker's thread, first and last thing. */
    void (*enter_thread)(struct filch__lane *lane);
    void (*leave_thread)(struct filch__lane *lane);
    /* Owner. Anything to reap or flush? A few loads, no system call. */
    bool (*is_ready)(const struct filch__lane *lane);
    /* Owner, now and then between two tasks: is it time for a poll? */
    bool (*is_due)(const struct filch__lane *lane);
    /* Owner. Operations staged and not yet submitted. */
    unsigned (*staged)(const struct filch__lane *lane);
    /* Owner. Submits what is staged and reaps what is there. Return: completions. */
    unsigned (*poll)(struct filch__lane *lane);
    /* Owner. Submits, then blocks until a completion, an unpark or @until; reaps. May return early.
     */
    void (*park)(struct filch__lane *lane, filch_time until);
    /* Any thread: ends a park, or makes the next one return at once. */
    void (*unpark)(struct filch__lane *lane);
    /* Of a runtime that others drive (opts->current_thread), any thread: puts into an epoll what
     * becomes readable when there are completions, and when the lane was unparked. Return: 0;
     * -errno. */
    int (*watch)(struct filch__lane *lane, int epoll_fd);
    /* The same, owner: takes note of an unpark, so that the next one is noticed again. What was
     * published before the unpark is visible afterwards. */
    void (*answer)(struct filch__lane *lane);
    /* Another worker: takes completions out of a lane whose owner is busy, makes the kernel post
     * those it holds back, and submits what is staged. Return: completions. */
    unsigned (*rescue)(struct filch__lane *lane);
    void (*stats)(struct filch__driver *driver, struct filch__driver_stats *ret_stats);
};

extern const struct filch__driver_ops filch__io_driver;

/* For io: the lane of the calling worker; NULL on other threads. */
struct filch__lane *filch__worker_lane(void);
/* For io: tasks that wait in the calling worker's queue, roughly: how deep a batch is at present. 0
 * elsewhere. */
unsigned filch__worker_backlog(void);

#endif
