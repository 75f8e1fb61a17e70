/* Description: errors that <filch/runtime.h>, <filch/blocking.h> and <filch/parallel.h> promise and
 * that other tests have no cause to provoke. What the kernel would say only in other circumstances
 * (a filter, a full table of files) a wrapper says, which the linker puts in (--wrap). */
#include <liburing.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <criterion/criterion.h>

#include <filch/parallel.h>

#include "tests/runner/forked.h"
#include "tests/runner/gate.h"
#include "tests/runner/process.h"
#include "tests/runner/refused_memory.h"

TestSuite(errors_runtime, .timeout = 60);

enum refused { RING = REFUSED_NEXT, TIMER, EPOLL, EPOLL_ADD };

WRAPPED(int, io_uring_queue_init_params,
        (unsigned entries, struct io_uring *ring, struct io_uring_params *params))
{
    return refuses(RING) ? -errno : __real_io_uring_queue_init_params(entries, ring, params);
}

WRAPPED(int, timerfd_create, (int clock, int flags))
{
    return refuses(TIMER) ? -1 : __real_timerfd_create(clock, flags);
}

WRAPPED(int, epoll_create1, (int flags))
{
    return refuses(EPOLL) ? -1 : __real_epoll_create1(flags);
}

WRAPPED(int, epoll_ctl, (int epoll, int op, int fd, struct epoll_event *event))
{
    return refuses(EPOLL_ADD) ? -1 : __real_epoll_ctl(epoll, op, fd, event);
}

static int ends(void *arg)
{
    (void)arg;
    return 0;
}

static int must_not_run(void *arg)
{
    (void)arg;
    T_CHECK(!"it runs");
    return 0;
}

/* ---- runtimes ---- */

Test(errors_runtime, of_the_start)
{
    const filch_runtime_opts opts = {.workers = 1};
    const filch_runtime_opts on_rings = {.workers = 1, .engine = FILCH_ENGINE_URING};
    unsigned files = process_descriptors();
    filch_runtime *rt = NULL;

    SAYS(RING, filch_runtime_start(&on_rings, &rt), -EACCES, -EPERM, -ENOSYS);
    SAYS(MEMORY, filch_runtime_start(&opts, &rt), -ENOMEM);
    SAYS(THREAD, filch_runtime_start(&opts, &rt), -EAGAIN);
    T_CHECK(!rt);
    T_IS(process_descriptors(), files);
}

/* The first task of a process: there is none in store. */
Test(errors_runtime, of_the_first_task)
{
    filch_runtime *rt = start_runtime_alone(1);
    filch_tracker *tracker;

    T_OK(filch_tracker_new(&tracker));
    SAYS(MEMORY, filch_runtime_block_on(rt, ends, NULL, NULL, T_LIMIT), -ENOMEM);
    SAYS(MEMORY, filch_runtime_spawn(rt, ends, NULL, NULL, NULL), -ENOMEM);
    SAYS(MEMORY, filch_tracker_spawn_on(tracker, rt, ends, NULL, NULL), -ENOMEM);
    filch_tracker_unref(tracker);
    T_OK(filch_runtime_block_on(rt, ends, NULL, NULL, T_LIMIT));
    stop_runtime(rt);
}

static filch_runtime *hosted;

static void drive_in_child(void)
{
    T_IS(filch_runtime_fd(hosted), -ECHILD);
    T_IS(filch_runtime_turn(hosted, 0, 0, NULL), -ECHILD);
}

Test(errors_runtime, of_a_runtime_that_a_host_drives)
{
    const filch_runtime_opts opts = {.current_thread = true};
    unsigned files;

    T_OK(filch_runtime_start(&opts, &hosted));
    files = process_descriptors();
    SAYS(TIMER, filch_runtime_fd(hosted), -EMFILE, -ENFILE, -ENOMEM);
    SAYS(EPOLL, filch_runtime_fd(hosted), -EMFILE, -ENFILE, -ENOMEM);
    SAYS(EPOLL_ADD, filch_runtime_fd(hosted), -ENOMEM);
    T_IS(process_descriptors(), files); /* what had been made is gone */
    in_child(drive_in_child);
    T_CHECK(filch_runtime_fd(hosted) >= 0);
    T_OK(filch_runtime_shutdown(hosted, T_LIMIT));
    T_IS(filch_runtime_fd(hosted), -ESHUTDOWN);
    T_IS(filch_runtime_turn(hosted, 0, 0, NULL), -ESHUTDOWN);
}

/* ---- blocking jobs ---- */

static struct gate gate = GATE_INIT;

/* One thread, which is held up: what is spawned waits for it. */
static int waits_for_the_thread(void *arg)
{
    filch_tracker *tracker;
    filch_task *job;
    int r = 0;

    (void)arg;
    T_OK(filch_tracker_new(&tracker));
    T_OK(filch_blocking_spawn(pass_gate, &gate, NULL, &job));
    T_WAIT_UNTIL(atomic_load(&gate.inside) == 1);
    T_IS(filch_blocking_run(must_not_run, NULL, NULL, NULL, FILCH_NOW), -ETIMEDOUT);
    atomic_store(&refused, MEMORY); /* there are some control blocks in store */
    for (unsigned n = 0; r == 0 && n < 1000000; n++)
        r = filch_blocking_spawn(ends, NULL, NULL, NULL);
    T_IS(filch_blocking_spawn(ends, NULL, NULL, NULL), -ENOMEM);
    T_IS(filch_tracker_spawn_blocking(tracker, ends, NULL, NULL), -ENOMEM);
    T_IS(filch_tracker_count(tracker), 0);
    T_IS(filch_blocking_run(must_not_run, NULL, NULL, NULL, T_LIMIT), -ENOMEM);
    atomic_store(&refused, 0);
    T_IS(r, -ENOMEM);
    T_OK(filch_task_cancel(filch_task_self()));
    T_IS(filch_blocking_run(must_not_run, NULL, NULL, NULL, T_LIMIT), -ECANCELED);
    filch_tracker_unref(tracker);
    open_gate(&gate);
    FILCH_SHIELD(FILCH_NEVER)
    {
        T_OK(filch_task_join(job, NULL, T_LIMIT));
    }
    return 0;
}

/* No thread, and none can be made; then a queue that is full. */
static int has_no_room(void *arg)
{
    const filch_task_opts of_class = {.blocking_class = arg};
    filch_tracker *tracker;
    filch_task *jobs[2];

    T_OK(filch_tracker_new(&tracker));
    SAYS(THREAD, filch_blocking_spawn(must_not_run, NULL, NULL, NULL), -EAGAIN);
    SAYS(THREAD, filch_blocking_run(must_not_run, NULL, NULL, NULL, T_LIMIT), -EAGAIN);
    T_OK(filch_blocking_spawn(pass_gate, &gate, &of_class, &jobs[0]));
    T_WAIT_UNTIL(atomic_load(&gate.inside) == 1);
    T_OK(filch_blocking_spawn(ends, NULL, &of_class, &jobs[1]));
    T_IS(filch_blocking_spawn(must_not_run, NULL, &of_class, NULL), -EAGAIN);
    T_IS(filch_blocking_run(must_not_run, NULL, &of_class, NULL, T_LIMIT), -EAGAIN);
    T_IS(filch_tracker_spawn_blocking(tracker, must_not_run, NULL, &of_class), -EAGAIN);
    T_IS(filch_tracker_count(tracker), 0); /* what was refused is not tracked */
    filch_tracker_unref(tracker);
    open_gate(&gate);
    T_OK(join(jobs[0]));
    T_OK(join(jobs[1]));
    return 0;
}

Test(errors_runtime, of_jobs_that_wait_for_a_thread)
{
    filch_runtime *rt = test_start(&(filch_runtime_opts){.workers = 1, .blocking_threads = 1});

    T_OK(filch_runtime_block_on(rt, waits_for_the_thread, NULL, NULL, FILCH_NEVER));
    T_OK(filch_runtime_shutdown(rt, T_LIMIT));
}

Test(errors_runtime, of_jobs_without_room)
{
    const filch_blocking_class_opts opts = {.name = "one", .threads_max = 1, .queued_max = 1};
    filch_runtime *rt = test_start(&(filch_runtime_opts){.workers = 1});
    filch_blocking_class *class;

    T_OK(filch_blocking_class_new(rt, &opts, &class));
    T_OK(filch_runtime_block_on(rt, has_no_room, class, NULL, FILCH_NEVER));
    T_OK(filch_runtime_shutdown(rt, T_LIMIT));
}

/* ---- loops ---- */

static int must_not_fold(void *arg, size_t begin, size_t end, void *value)
{
    (void)arg, (void)begin, (void)end, (void)value;
    return must_not_run(NULL);
}

static int must_not_map(void *arg, const void *in, void *out)
{
    (void)arg, (void)in, (void)out;
    return must_not_run(NULL);
}

static void must_not_combine(void *arg, void *left, const void *right)
{
    (void)arg, (void)left, (void)right;
    must_not_run(NULL);
}

static int loops(void *arg)
{
    enum { COUNT = 1000 };
    static int in[COUNT], out[COUNT], sum, zero;
    const filch_parallel_opts repeatable = {.repeatable = true};
    const filch_call calls[] = {{must_not_run, NULL}, {must_not_run, NULL}};

    (void)arg;
    SAYS(MEMORY,
         filch_parallel_reduce(0, COUNT, sizeof(int), &zero, must_not_fold, must_not_combine, NULL,
                               &repeatable, &sum),
         -ENOMEM);
    SAYS(MEMORY,
         filch_parallel_scan(in, out, COUNT, sizeof(int), &zero, must_not_combine, NULL, NULL),
         -ENOMEM);
    T_OK(filch_task_cancel(filch_task_self()));
    T_IS(filch_parallel_reduce(0, COUNT, sizeof(int), &zero, must_not_fold, must_not_combine, NULL,
                               NULL, &sum),
         -ECANCELED);
    T_IS(filch_parallel_reduce(0, COUNT, sizeof(int), &zero, must_not_fold, must_not_combine, NULL,
                               &repeatable, &sum),
         -ECANCELED);
    T_IS(filch_parallel_scan(in, out, COUNT, sizeof(int), &zero, must_not_combine, NULL, NULL),
         -ECANCELED);
    T_IS(filch_parallel_map(in, sizeof(int), out, sizeof(int), COUNT, must_not_map, NULL, NULL),
         -ECANCELED);
    T_IS(filch_parallel_invoke(calls, 2), -ECANCELED);
    return 0;
}

Test(errors_runtime, of_loops)
{
    T_OK(run_in_runtime(1, loops, NULL));
}
