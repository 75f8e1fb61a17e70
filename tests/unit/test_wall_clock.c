/* Description: no time of ours depends on the wall clock. The linker puts a wrapper before each
 * function by which the library can learn the time or be woken at one (--wrap, in meson.build):
 * CLOCK_REALTIME is somewhere else at each look here, years away, and who waits by it is caught. So
 * this shows more than a clock that is set during a test would: not even a look is taken. */
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <time.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"
#include "tests/runner/wrapped_syscall.h"

TestSuite(wall_clock, .timeout = 60);

static atomic_uint asked_monotonic, asked_other, timers, futexes, conditions;

static bool is_wall(clockid_t clock)
{
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
}

int __real_clock_gettime(clockid_t clock, struct timespec *ret_now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now)
{
    int r = __real_clock_gettime(clock, ret_now);

    if (!is_wall(clock)) {
        atomic_fetch_add(&asked_monotonic, 1);
        return r;
    }
    ret_now->tv_sec += atomic_fetch_add(&asked_other, 1) % 2 ? 100000000 : -100000000;
    return r;
}

int __real_timerfd_create(int clock, int flags);
int __wrap_timerfd_create(int clock, int flags);
int __wrap_timerfd_create(int clock, int flags)
{
    T_IS(clock, CLOCK_MONOTONIC);
    atomic_fetch_add(&timers, 1);
    return __real_timerfd_create(clock, flags);
}

int __real_pthread_condattr_setclock(pthread_condattr_t *attr, clockid_t clock);
int __wrap_pthread_condattr_setclock(pthread_condattr_t *attr, clockid_t clock);
int __wrap_pthread_condattr_setclock(pthread_condattr_t *attr, clockid_t clock)
{
    T_IS(clock, CLOCK_MONOTONIC);
    atomic_fetch_add(&conditions, 1);
    return __real_pthread_condattr_setclock(attr, clock);
}

/* A condition waits by the wall clock unless it was made otherwise. */
int __real_pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attr);
int __wrap_pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attr);
int __wrap_pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attr)
{
    clockid_t clock = CLOCK_REALTIME;

    if (attr)
        T_OK(pthread_condattr_getclock(attr, &clock));
    T_IS(clock, CLOCK_MONOTONIC);
    return __real_pthread_cond_init(cond, attr);
}

static bool refuses_syscall(long number, const long *arg)
{
    if (number != SYS_futex)
        return false;
    T_CHECK(!(arg[1] & FUTEX_CLOCK_REALTIME));
    atomic_fetch_add(&futexes, 1);
    return false;
}

/* ---- everything that waits ---- */

static int never_comes(void *chan)
{
    char message;
    filch_time until = filch_after(2 * FILCH_MILLISECOND);

    T_IS(filch_chan_recv(chan, &message, until), -ETIMEDOUT);
    T_CHECK(filch_now() >= until);
    return 0;
}

static void waits(void)
{
    filch_time until = filch_after(2 * FILCH_MILLISECOND);
    filch_interval interval;
    filch_chan *chan;

    T_OK(filch_sleep(until));
    T_CHECK(filch_now() >= until && filch_now() < until + 30 * FILCH_SECOND);
    T_OK(filch_interval_init(&interval, FILCH_MILLISECOND));
    for (int i = 0; i < 3; i++)
        T_OK(filch_interval_tick(&interval, FILCH_NEVER));
    T_OK(filch_chan_new(1, 1, &chan));
    T_OK(never_comes(chan));
    filch_chan_unref(chan);
}

static int waits_in_job(void *arg)
{
    (void)arg;
    waits();
    return 0;
}

static int waits_for_ever(void *arg)
{
    (void)arg;
    return filch_sleep(FILCH_NEVER);
}

static int waits_in_task(void *arg)
{
    filch_task *job;
    int result = -1;

    (void)arg;
    waits();
    T_IS(filch_timeout(waits_for_ever, NULL, &result, filch_after(2 * FILCH_MILLISECOND)),
         -ETIMEDOUT);
    T_OK(filch_blocking_spawn(waits_in_job, NULL, NULL, &job));
    return filch_task_join(job, &result, T_LIMIT);
}

static void check_no_look(void)
{
    T_IS(atomic_load(&asked_other), 0);
    T_CHECK(atomic_load(&asked_monotonic) > 0);
}

Test(wall_clock, tasks_jobs_and_threads_never_look_at_it)
{
    T_OK(run_in_runtime(0, waits_in_task, NULL));
    waits();
    check_no_look();
    T_CHECK(atomic_load(&futexes) > 0);
}

/* The host's own loop is told by a timer of the kernel, and threads that wait for the seat by a
 * condition. */
Test(wall_clock, a_host_is_woken_by_the_other_clock)
{
    filch_runtime_opts opts = {.current_thread = true};
    struct pollfd pollfd = {.events = POLLIN};
    filch_runtime *rt;
    filch_task *task;

    T_OK(filch_runtime_start(&opts, &rt));
    pollfd.fd = filch_runtime_fd(rt);
    T_CHECK(pollfd.fd >= 0);
    T_OK(filch_runtime_spawn(rt, waits_in_job, NULL, NULL, &task));
    while (!filch_task_is_finished(task))
        if (filch_runtime_turn(rt, 0, 0, NULL) == 0 && !filch_task_is_finished(task))
            T_CHECK(poll(&pollfd, 1, 30000) > 0);
    T_OK(filch_task_detach(task));
    stop_runtime(rt);
    T_CHECK(atomic_load(&timers) > 0);
    T_CHECK(atomic_load(&conditions) > 0);
    check_no_look();
}

/* The wrappers are there: this is what a look would have got. */
Test(wall_clock, it_is_somewhere_else_at_each_look)
{
    struct timespec first, second;

    T_OK(clock_gettime(CLOCK_REALTIME, &first));
    T_OK(clock_gettime(CLOCK_REALTIME, &second));
    T_CHECK(first.tv_sec < second.tv_sec - 100000000);
    T_IS(atomic_load(&asked_other), 2);
}
