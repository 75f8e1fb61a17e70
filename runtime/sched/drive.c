/* Driving a runtime from threads of its host (filch_runtime_opts.current_thread).
 *
 * Such a runtime has one worker and no thread for it. A thread that drives takes the seat, becomes
 * the worker (filch__worker_sit), runs its loop, and is a plain thread again (filch__worker_rise).
 * The seat is a flag under a mutex, so what one driver left is visible to the next.
 *
 *     block_on   waits while another thread has the seat, which then runs its task as well; takes
 *                the seat when it is free, and leaves when its own task has ended
 *     turn       takes the seat or gives up; leaves when there is nothing to do or its share is
 * done shutdown   as block_on, until nothing lives
 *
 * While nobody drives, the worker is parked like any other without work (idle.h): its sleeper bit
 * is set. Whoever makes a task runnable from outside finds the bit, takes it away and unparks the
 * lane, which writes to its eventfd. That is readable until the next driver answers. The descriptor
 * of filch_runtime_fd() is an epoll of the eventfd, the ring (readable while it has completions)
 * and a timerfd (readable when the first timer is due), all level-triggered.
 *
 *     a thread that wakes a task               a driver that leaves
 *     --------------------------               --------------------
 *     1 put the task into the inject queue     1 set the sleeper bit (filch__idle_park)
 *     2 take the sleeper bit away              2 look at all queues again
 *     3 it was set: unpark the lane:           3 found something: unpark the lane itself
 *       exchange `unparked` with 1; it was 0:
 *       write the eventfd                      a driver that begins
 *                                              --------------------
 *                                              1 take the sleeper bit back (filch__idle_unpark)
 *                                              2 `unparked`? read the eventfd; that gave
 *                                                something: exchange `unparked` with 0
 *                                              3 look at all queues
 *
 *   [drive-leave] is [idle-park] of idle.h: 1 and 2 on the left against 1 and 2 of the driver that
 *   leaves. Either the waker finds the bit, and the descriptor becomes readable; or the driver
 * finds the task, and makes it readable itself. [drive-answer] `unparked` is cleared only by who
 * has read what was written for it, and before the look at the queues. So a waker that finds it set
 * writes nothing and is still heard: either its exchange came before the driver's, which then sees
 * its task; or the eventfd has not been read, is readable, or is about to be written. And an
 * eventfd that is readable never has `unparked` clear, so each write is answered, once: an idle
 * runtime is not readable.
 *
 * Work that is left in the worker's own queues is announced in the same way, so the descriptor is
 * readable whenever there is something to do: a host may call turn once for each time that it is.
 *
 * Threads. The kernel completes an operation on the thread that submitted it, when that one next
 * enters the kernel or is interrupted. So what a driver has left in flight comes to its successor
 * as soon as it makes a system call or blocks, at the latest at its next timer interrupt (1 to 10
 * ms); and if its thread has ended, as -ECANCELED when the event occurs, upon which it is submitted
 * anew. Wake-ups do not depend on it. Since a flag in the ring may stay set after a thread's end, a
 * worker whose driver has changed spins no more.
 *
 * Rejected: DEFER_TASKRUN, whose rings make a nicer descriptor, but belong to one thread for ever;
 * SQPOLL, which makes ops independent of threads, and is one; handing the seat to a waiting thread
 * by name, which may have been woken for another reason and must then hand it on.
 */
#include "runtime/sched/drive.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "runtime/sched/worker.h"

#define TURN_TASKS 256
#define ENDING_NS FILCH_MILLISECOND

static filch_atomic_u64 last_number;

/* Threads by number: their ids are used again. */
static uint64_t number_of_thread(void)
{
    static __thread uint64_t number;

    if (!number)
        number = filch_fetch_add_relaxed(&last_number, 1) + 1;
    return number;
}

void filch__drive_init(struct filch_runtime *rt)
{
    struct filch__drive *drive = &rt->drive;
    pthread_condattr_t attr;

    pthread_mutex_init(&drive->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&drive->changed, &attr);
    pthread_condattr_destroy(&attr);
    drive->fd = drive->timer_fd = -1;
    drive->armed = FILCH_NEVER;
    filch__idle_park(&rt->idle, 0, false);
}

static void lock(struct filch__drive *drive)
{
    pthread_mutex_lock(&drive->lock);
}

static void unlock(struct filch__drive *drive)
{
    pthread_mutex_unlock(&drive->lock);
}

/* Return: false when @until has passed. */
static bool wait_locked(struct filch__drive *drive, filch_time until)
{
    struct timespec ts = {.tv_sec = (time_t)(until / FILCH_SECOND),
                          .tv_nsec = (long)(until % FILCH_SECOND)};

    if (until == FILCH_NEVER)
        return pthread_cond_wait(&drive->changed, &drive->lock) == 0;
    return pthread_cond_timedwait(&drive->changed, &drive->lock, &ts) != ETIMEDOUT;
}

/* The caller has the seat. */
static struct filch__worker *begin(struct filch_runtime *rt, struct filch__host *host)
{
    struct filch__worker *worker = &rt->worker[0];
    uint64_t number = number_of_thread();

    filch__worker_sit(worker, host);
    filch__log_of_thread(&rt->log);
    if (rt->drive.driver && rt->drive.driver != number)
        worker->spin_off_until = FILCH_NEVER;
    rt->drive.driver = number;
    worker->searching = filch__idle_unpark(&rt->idle, 0);
    worker->woken = worker->searching;
    filch__io_driver.answer(worker->lane); /* [drive-answer] */
    worker->now = filch_now();
    return worker;
}

/* When the runtime wants a turn, though nothing happens. */
static filch_time next_turn(struct filch__worker *worker)
{
    filch_time timer = filch_load_relaxed(&worker->timers.next);
    filch_time trim = filch__worker_trim(worker);

    return timer < trim ? timer : trim;
}

/* Has the timerfd go off at @next. */
static void arm_timer_locked(struct filch__drive *drive, struct filch__worker *worker,
                             filch_time next)
{
    struct itimerspec spec = {.it_value = {.tv_sec = (time_t)(next / FILCH_SECOND),
                                           .tv_nsec = (long)(next % FILCH_SECOND)}};

    /* One that has gone off is readable until it is set again. */
    if (next == drive->armed && worker->now < drive->armed)
        return;
    if (next == FILCH_NEVER && drive->armed == FILCH_NEVER)
        return;
    if (next == FILCH_NEVER)
        spec = (struct itimerspec){0};
    timerfd_settime(drive->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
    drive->armed = next;
}

/* Parks the worker and makes the descriptor say what is to be done. Return: when to drive again at
 * the latest; FILCH_NOW if anything is left that could be done at once. */
static filch_time settle_locked(struct filch_runtime *rt, struct filch__worker *worker)
{
    struct filch__drive *drive = &rt->drive;
    filch_time next;
    bool more;

    filch__idle_park(&rt->idle, 0, worker->searching); /* [drive-leave] */
    worker->searching = false;
    more = worker->handoff || filch__worker_sees_any_work(worker) ||
           filch__io_driver.staged(worker->lane);
    next = next_turn(worker);
    if (drive->fd >= 0) {
        if (more)
            filch__io_driver.unpark(worker->lane);
        arm_timer_locked(drive, worker, next);
    }
    return more ? FILCH_NOW : next;
}

/* Leaves the seat, with the lock, which is still held on return. Return: as settle_locked(). */
static filch_time end_lock(struct filch_runtime *rt, const struct filch__host *host)
{
    struct filch__drive *drive = &rt->drive;
    struct filch__worker *worker = &rt->worker[0];
    filch_time next;

    if (filch__io_driver.staged(worker->lane))
        worker->completions += filch__io_driver.poll(worker->lane);
    if (worker->woken) {
        worker->woken = false;
        filch_counter_add(&worker->stats.wakes_useless, 1);
    }
    lock(drive);
    next = settle_locked(rt, worker);
    filch__log_of_thread(NULL);
    filch__worker_rise(worker, host);
    drive->taken = false;
    pthread_cond_broadcast(&drive->changed);
    return next;
}

static bool is_over(struct filch_runtime *rt, const filch_task *task)
{
    return task ? filch_task_is_finished(task) : filch__runtime_live(rt) == 0;
}

/* With the lock and a free seat: drives until @task has ended (NULL: until nothing lives) or
 * @limit. */
static void drive_locked(struct filch_runtime *rt, const filch_task *task, filch_time limit)
{
    struct filch__worker *worker;
    struct filch__host host;

    rt->drive.taken = true;
    unlock(&rt->drive);
    worker = begin(rt, &host);
    while (!is_over(rt, task) && worker->now < limit) {
        struct filch__task *ready = filch__worker_next(worker);

        if (ready)
            filch__worker_run(worker, ready);
        else if (worker->now < limit)
            filch__worker_idle(worker, limit);
    }
    (void)end_lock(rt, &host);
}

/* What a thread that is in block_on waits for. */
struct root {
    struct filch__drive *drive;
    filch_fn fn;
    void *arg;
    bool ended; /* under the lock: @fn has returned; the root may be gone from then on */
};

static int root_main(void *arg)
{
    struct root *root = arg;
    struct filch__drive *drive = root->drive;
    int result = root->fn(root->arg);

    lock(drive);
    root->ended = true;
    pthread_cond_broadcast(&drive->changed);
    unlock(drive);
    return result;
}

/* May a thread go in? Return: 0; -ECHILD; -ESHUTDOWN (it is over, and the seat is gone). */
static int refusal(struct filch_runtime *rt)
{
    if (filch__runtime_was_forked(rt))
        return -ECHILD;
    return filch_load_acquire(&rt->closing) == FILCH__CLOSE_OVER ? -ESHUTDOWN : 0;
}

/* Has @task run until its body has returned. Return: 0; -ETIMEDOUT (and it was cancelled). */
static int run_root_locked(struct filch_runtime *rt, struct root *root, filch_task *task,
                           filch_time until)
{
    struct filch__drive *drive = &rt->drive;
    int r = 0;

    while (!root->ended) {
        if (!drive->taken)
            drive_locked(rt, task, until);
        else
            wait_locked(drive, until);
        if (r == 0 && !root->ended && filch_now() >= until) {
            r = -ETIMEDOUT;
            until = FILCH_NEVER;
            unlock(drive);
            filch_task_cancel(task);
            lock(drive);
        }
    }
    return r;
}

/* The body has returned, and what it deferred to its end may wait for others. */
static int join_root(struct filch_runtime *rt, filch_task *task)
{
    int result = 0;

    while (filch_task_join(task, &result, filch_after(ENDING_NS)) == -ETIMEDOUT) {
        lock(&rt->drive);
        if (!rt->drive.taken)
            drive_locked(rt, task, FILCH_NEVER);
        unlock(&rt->drive);
    }
    return result;
}

static void enter(struct filch__drive *drive)
{
    lock(drive);
    drive->inside++;
    unlock(drive);
}

static void leave(struct filch__drive *drive)
{
    lock(drive);
    drive->inside--;
    pthread_cond_broadcast(&drive->changed);
    unlock(drive);
}

int filch__drive_block_on(struct filch_runtime *rt, filch_fn fn, void *arg, int *ret_result,
                          filch_time until)
{
    struct filch__drive *drive = &rt->drive;
    struct root root = {.drive = drive, .fn = fn, .arg = arg};
    filch_task_opts opts = {.name = "block_on"};
    filch_task *task;
    int result, r;

    r = filch__worker_self() ? -EDEADLK : refusal(rt);
    if (r < 0)
        return r;
    enter(drive);
    r = filch_runtime_spawn(rt, root_main, &root, &opts, &task);
    if (r == 0) {
        lock(drive);
        r = run_root_locked(rt, &root, task, until);
        unlock(drive);
        result = join_root(rt, task);
        if (ret_result)
            *ret_result = result;
    }
    leave(drive);
    return r;
}

void filch__drive_out(struct filch_runtime *rt, filch_time until)
{
    struct filch__drive *drive = &rt->drive;

    lock(drive);
    while (drive->taken && filch__runtime_live(rt) && wait_locked(drive, until))
        ;
    if (!drive->taken)
        drive_locked(rt, NULL, until);
    unlock(drive);
}

void filch__drive_end(struct filch_runtime *rt)
{
    struct filch__drive *drive = &rt->drive;

    lock(drive);
    while (drive->inside)
        wait_locked(drive, FILCH_NEVER);
    unlock(drive);
    filch__worker_empty(&rt->worker[0]);
    if (drive->fd >= 0) {
        close(drive->fd);
        close(drive->timer_fd);
    }
    pthread_cond_destroy(&drive->changed);
    pthread_mutex_destroy(&drive->lock);
}

/* Runs tasks up to @tasks, or so, or until @limit. */
static void run_some(struct filch__worker *worker, unsigned tasks, filch_time limit)
{
    uint64_t last = filch_load_relaxed(&worker->tick) + tasks;

    do {
        struct filch__task *ready = filch__worker_next(worker);

        if (!ready)
            return;
        filch__worker_run(worker, ready);
    } while (filch_load_relaxed(&worker->tick) < last &&
             (limit == FILCH_NEVER || filch_now() < limit));
}

int filch_runtime_turn(filch_runtime *rt, unsigned max_tasks, filch_time max_ns,
                       filch_time *ret_next)
{
    struct filch__host host;
    filch_time next;
    int r;

    if (!rt || !rt->opts.current_thread)
        return -EINVAL;
    r = filch__worker_self() ? -EDEADLK : refusal(rt);
    if (r < 0)
        return r;
    lock(&rt->drive);
    if (rt->drive.taken) {
        unlock(&rt->drive);
        return -EBUSY;
    }
    rt->drive.taken = true;
    rt->drive.inside++;
    unlock(&rt->drive);
    run_some(begin(rt, &host), max_tasks ? max_tasks : TURN_TASKS,
             max_ns ? filch_after(max_ns) : FILCH_NEVER);
    next = end_lock(rt, &host);
    rt->drive.inside--;
    unlock(&rt->drive);
    if (ret_next)
        *ret_next = next;
    return next == FILCH_NOW;
}

/* Return: 0; -errno, with nothing left behind. */
static int open_fds_locked(struct filch__drive *drive, struct filch__lane *lane)
{
    struct epoll_event event = {.events = EPOLLIN};
    int timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    int fd = epoll_create1(EPOLL_CLOEXEC);
    int r;

    if (timer_fd < 0 || fd < 0 || epoll_ctl(fd, EPOLL_CTL_ADD, timer_fd, &event) < 0)
        r = -errno;
    else
        r = filch__io_driver.watch(lane, fd);
    if (r < 0) {
        if (fd >= 0)
            close(fd);
        if (timer_fd >= 0)
            close(timer_fd);
        return r;
    }
    drive->timer_fd = timer_fd;
    drive->fd = fd;
    return 0;
}

int filch_runtime_fd(filch_runtime *rt)
{
    struct filch__drive *drive;
    int r;

    if (!rt || !rt->opts.current_thread)
        return -EINVAL;
    r = refusal(rt);
    if (r < 0)
        return r;
    drive = &rt->drive;
    lock(drive);
    if (drive->fd < 0) {
        r = open_fds_locked(drive, rt->worker[0].lane);
        /* What has been queued so far was not announced: the first turn looks. */
        if (r == 0)
            filch__io_driver.unpark(rt->worker[0].lane);
    }
    r = r < 0 ? r : drive->fd;
    unlock(drive);
    return r;
}
