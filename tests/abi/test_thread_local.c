/* Description: errno and thread-local data of tasks that go on on another thread, in functions that
 * use them on both sides.
 *
 * The same source is built in several ways (meson.build here, and tools/test --setup abi): what
 * goes wrong depends on the optimiser keeping an address in a register across a call.
 */
#include <errno.h>
#include <pthread.h>

#include "runtime/sched/worker.h"
#include "tests/abi/programs.h"

#define TASKS 12
#define HOPS 25

/* As the rule in <filch/task.h> says. */

static __thread pid_t owner;

__attribute__((noinline)) static pid_t my_thread(void)
{
    __asm__ volatile("");
    if (!owner)
        owner = gettid();
    return owner;
}

__attribute__((noinline)) static int errno_read(void)
{
    __asm__ volatile("");
    return errno;
}

__attribute__((noinline)) static void errno_write(int value)
{
    __asm__ volatile("");
    errno = value;
}

static void check_worker(void)
{
    struct filch__worker *worker = filch__worker_self();

    T_CHECK(worker != NULL);
    T_CHECK(pthread_equal(worker->thread, pthread_self()));
    T_CHECK(worker->current == filch__task_current());
    T_CHECK(worker->errno_at == &errno); /* nothing suspends in this function */
}

/* All in one function, so that there is something to keep in registers. */
static int hops_and_looks(void *arg)
{
    int number = (int)(intptr_t)arg + 1000;
    filch_task *self = filch_task_self();
    filch_runtime *rt = filch_runtime_self();
    int spoiled;

    T_IS(errno_read(), 0);
    for (int i = 0; i < HOPS; i++) {
        struct filch__worker *before = filch__worker_self();
        pid_t thread = my_thread();

        T_IS(thread, gettid());
        errno_write(number);
        hop_to_another_thread();
        T_IS(errno_read(), number);
        T_CHECK(filch__worker_self() != before);
        T_CHECK(my_thread() != thread);
        T_IS(my_thread(), gettid());
        check_worker();
        T_CHECK(filch_task_self() == self);
        T_CHECK(filch_runtime_self() == rt);
        /* A call that fails, or another task that runs in between. */
        spoiled = -number - i;
        errno_write(spoiled);
        filch_task_yield();
        T_IS(errno_read(), spoiled);
        check_worker();
        T_IS(my_thread(), gettid());
    }
    return 0;
}

/* Functions of filch report by their results. Most of them make system calls, futex and io_uring
 * among them, that fail as a matter of course. */
static int calls_leave_errno_alone(void *arg)
{
    char message = 0;
    filch_chan *chan = NULL;

    (void)arg;
    T_OK(filch_chan_new(1, 1, &chan));
    errno_write(4711);
    T_IS(filch_chan_recv(chan, &message, FILCH_NOW), -ETIMEDOUT);
    T_IS(errno_read(), 4711);
    T_IS(filch_chan_recv(chan, &message, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(errno_read(), 4711);
    T_OK(filch_sleep(filch_after(FILCH_MILLISECOND)));
    T_IS(errno_read(), 4711);
    filch_chan_unref(chan);
    return 0;
}

static int spoils_errno(void *arg)
{
    (void)arg;
    errno_write(99);
    return 0;
}

/* The body after it may run on the same stack, at once. */
static int starts_with_none(void *arg)
{
    (void)arg;
    T_IS(errno_read(), 0);
    errno_write(98);
    return 0;
}

static int all(void *arg)
{
    (void)arg;
    program_fan_out(hops_and_looks, TASKS);
    T_OK(calls_leave_errno_alone(NULL));
    for (int i = 0; i < 20; i++) {
        program_fan_out(spoils_errno, 3);
        program_fan_out(starts_with_none, 3);
    }
    return 0;
}

int main(void)
{
    program_run(2, all, NULL);
    program_run(4, all, NULL);
    printf("thread-local data: all checks hold\n");
    return 0;
}
