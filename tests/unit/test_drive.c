/* Description: runtimes without threads (filch_runtime_opts.current_thread): who drives, where
 * tasks run, what stays for the next call, and that the descriptor tells a host's loop of
 * everything. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>

#include <criterion/criterion.h>

#include "runtime/base/valgrind.h"
#include "tests/runner/tcp_pair.h"

TestSuite(drive, .timeout = 120);

static filch_runtime *start_alone(void)
{
    filch_runtime_opts opts = {.current_thread = true};
    filch_runtime *rt = NULL;

    T_OK(filch_runtime_start(&opts, &rt));
    return rt;
}

static void stop_alone(filch_runtime *rt)
{
    T_OK(filch_runtime_shutdown(rt, T_LIMIT));
}

static int block_on(filch_runtime *rt, filch_fn fn, void *arg)
{
    int result = INT_MIN;

    T_OK(filch_runtime_block_on(rt, fn, arg, &result, FILCH_NEVER));
    return result;
}

static bool is_readable(int fd, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    int r = poll(&poll_fd, 1, timeout_ms);

    T_CHECK(r >= 0);
    return r > 0;
}

/* A host's loop with nothing else to do: waits for the descriptor alone, however long it takes, so
 * an event that it does not tell of hangs the test. Return: turns. */
static int host_until(filch_runtime *rt, const atomic_int *word, int at_least)
{
    int fd = filch_runtime_fd(rt);
    int turns = 0;

    T_CHECK(fd >= 0);
    while (atomic_load(word) < at_least) {
        int r;

        T_CHECK(is_readable(fd, 60000));
        r = filch_runtime_turn(rt, 0, 0, NULL);
        T_CHECK(r == 0 || r == 1);
        turns++;
    }
    return turns;
}

/* Turns until there is nothing to do. */
static void settle(filch_runtime *rt)
{
    int r;

    while ((r = filch_runtime_turn(rt, 0, 0, NULL)) == 1)
        ;
    T_OK(r);
}

static int threads_of_process(void)
{
    DIR *dir = opendir("/proc/self/task");
    int count = 0;

    T_CHECK(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static int return_arg(void *arg)
{
    return (int)(intptr_t)arg;
}

static int add_one(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

Test(drive, options_and_arguments)
{
    filch_runtime_opts two = {.current_thread = true, .workers = 2};
    filch_runtime_opts one = {.current_thread = true, .workers = 1};
    filch_runtime_opts threads = {.workers = 1};
    filch_runtime *rt = NULL;
    filch_time next = 77;

    T_IS(filch_runtime_start(&two, &rt), -EINVAL);
    T_CHECK(rt == NULL);
    T_IS(filch_runtime_turn(NULL, 0, 0, &next), -EINVAL);
    T_IS(filch_runtime_fd(NULL), -EINVAL);
    T_OK(filch_runtime_start(&threads, &rt));
    T_IS(filch_runtime_turn(rt, 0, 0, &next), -EINVAL);
    T_IS(filch_runtime_fd(rt), -EINVAL);
    T_CHECK(next == 77);
    stop_alone(rt);
    T_OK(filch_runtime_start(&one, &rt));
    T_OK(filch_runtime_turn(rt, 0, 0, NULL));
    stop_alone(rt);
}

static int thread_is(void *arg)
{
    pthread_t *want = arg;

    T_CHECK(pthread_equal(*want, pthread_self()));
    T_OK(filch_sleep(filch_after(FILCH_MILLISECOND)));
    T_CHECK(pthread_equal(*want, pthread_self()));
    return 5;
}

Test(drive, it_has_no_threads_and_tasks_run_on_the_callers)
{
    int threads = threads_of_process();
    pthread_t self = pthread_self();
    filch_runtime *rt = start_alone();
    char name[16], now[16];

    T_OK(pthread_getname_np(self, name, sizeof(name)));
    T_IS(block_on(rt, thread_is, &self), 5);
    T_IS(threads_of_process(), threads);
    T_OK(pthread_getname_np(self, now, sizeof(now)));
    T_OK(strcmp(name, now));
    stop_alone(rt);
}

static int count_slowly(void *arg)
{
    for (int i = 0; i < 3; i++) {
        atomic_fetch_add((atomic_int *)arg, 1);
        if (filch_sleep(filch_after(FILCH_MILLISECOND)) < 0)
            break;
    }
    return 0;
}

static int spawn_counter(void *arg)
{
    return filch_spawn(count_slowly, arg);
}

static int wait_for_three(void *arg)
{
    T_WAIT_UNTIL(atomic_load((atomic_int *)arg) == 3);
    return 0;
}

Test(drive, other_tasks_stay_for_the_next_call)
{
    filch_runtime *rt = start_alone();
    atomic_int count = 0;
    int before;

    T_OK(block_on(rt, spawn_counter, &count));
    before = atomic_load(&count);
    T_CHECK(before < 3);
    T_OK(filch_sleep(filch_after(5 * FILCH_MILLISECOND)));
    T_IS(atomic_load(&count), before); /* nobody drove */
    T_OK(block_on(rt, wait_for_three, &count));
    stop_alone(rt);
}

struct deadlock {
    filch_runtime *rt, *other;
};

static int drive_inside(void *arg)
{
    struct deadlock *both = arg;
    filch_time next = 99;
    int result = 66;

    T_IS(filch_runtime_block_on(both->rt, return_arg, NULL, &result, FILCH_NEVER), -EDEADLK);
    T_IS(filch_runtime_turn(both->rt, 0, 0, &next), -EDEADLK);
    T_IS(filch_runtime_shutdown(both->rt, FILCH_NEVER), -EDEADLK);
    T_IS(filch_runtime_block_on(both->other, return_arg, NULL, &result, FILCH_NEVER), -EDEADLK);
    T_IS(filch_runtime_turn(both->other, 0, 0, &next), -EDEADLK);
    T_IS(result, 66);
    T_CHECK(next == 99);
    T_CHECK(filch_runtime_self() == both->rt);
    return 0;
}

struct deadlock_future {
    filch_future base;
    struct deadlock both;
};

static filch_poll drive_in_poll(filch_future *self, filch_cx *cx)
{
    (void)cx;
    drive_inside(&((struct deadlock_future *)self)->both);
    self->result = 1;
    return FILCH_READY;
}

static int spawn_and_join_future(void *arg)
{
    filch_task *task;

    T_OK(filch_future_spawn(arg, NULL, &task));
    T_IS(join(task), 1);
    return 0;
}

Test(drive, no_task_and_no_future_drives)
{
    struct deadlock_future future = {.base = {.poll = drive_in_poll}};

    future.both = (struct deadlock){start_alone(), start_alone()};
    T_OK(block_on(future.both.rt, drive_inside, &future.both));
    T_OK(block_on(future.both.rt, spawn_and_join_future, &future));
    T_OK(filch_runtime_spawn(future.both.rt, drive_inside, &future.both, NULL, NULL));
    settle(future.both.rt);
    T_CHECK(filch_runtime_self() == NULL);
    stop_alone(future.both.rt);
    stop_alone(future.both.other);
}

Test(drive, block_on_cancels_at_its_time_and_still_waits)
{
    filch_runtime *rt = start_alone();
    filch_time until = filch_after(3 * FILCH_MILLISECOND);
    int result = 0;

    T_IS(filch_runtime_block_on(rt, sleep_until_cancelled, NULL, &result, until), -ETIMEDOUT);
    T_CHECK(filch_now() >= until);
    T_IS(result, -ECANCELED);
    stop_alone(rt);
}

/* Several threads, one seat. */
struct seat {
    filch_runtime *rt;
    filch_chan *chan; /* what the task in it waits for */
    atomic_int started;
    pthread_t ran_on; /* the task, after its wait */
    int r;
};

static int receive(void *arg)
{
    struct seat *seat = arg;
    int value = 0;

    atomic_fetch_add(&seat->started, 1);
    T_OK(filch_chan_recv(seat->chan, &value, FILCH_NEVER));
    seat->ran_on = pthread_self();
    return value;
}

static void *block_on_receive(void *arg)
{
    struct seat *seat = arg;

    seat->r = block_on(seat->rt, receive, seat);
    return NULL;
}

static void seat_init(struct seat *seat, filch_runtime *rt)
{
    *seat = (struct seat){.rt = rt};
    T_OK(filch_chan_new(sizeof(int), 1, &seat->chan));
}

static void seat_send(struct seat *seat, int value)
{
    T_OK(filch_chan_send(seat->chan, &value, FILCH_NEVER));
}

Test(drive, who_waits_is_served_by_who_drives_and_takes_over_when_it_leaves)
{
    filch_runtime *rt = start_alone();
    pthread_t first, second, third;
    struct seat a, b, c;

    seat_init(&a, rt);
    seat_init(&b, rt);
    seat_init(&c, rt);
    T_OK(pthread_create(&first, NULL, block_on_receive, &a));
    T_WAIT_UNTIL(atomic_load(&a.started)); /* the first thread drives */
    T_OK(pthread_create(&second, NULL, block_on_receive, &b));
    T_WAIT_UNTIL(atomic_load(&b.started)); /* also the second one's task */
    T_IS(filch_runtime_turn(rt, 0, 0, NULL), -EBUSY);
    seat_send(&b, 2);
    T_OK(pthread_join(second, NULL));
    T_IS(b.r, 2);
    T_CHECK(pthread_equal(b.ran_on, first));
    T_OK(pthread_create(&third, NULL, block_on_receive, &c));
    T_WAIT_UNTIL(atomic_load(&c.started));
    seat_send(&a, 1);
    T_OK(pthread_join(first, NULL));
    T_IS(a.r, 1);
    seat_send(&c, 3); /* the first one is gone: the third must have taken over */
    T_OK(pthread_join(third, NULL));
    T_IS(c.r, 3);
    T_CHECK(pthread_equal(c.ran_on, third));
    stop_alone(rt);
    filch_chan_unref(a.chan);
    filch_chan_unref(b.chan);
    filch_chan_unref(c.chan);
}

Test(drive, who_waits_for_the_seat_is_cancelled_at_its_time)
{
    filch_runtime *rt = start_alone();
    pthread_t first;
    struct seat a;
    int result = 0;

    seat_init(&a, rt);
    T_OK(pthread_create(&first, NULL, block_on_receive, &a));
    T_WAIT_UNTIL(atomic_load(&a.started));
    T_IS(filch_runtime_block_on(rt, sleep_until_cancelled, NULL, &result,
                                filch_after(3 * FILCH_MILLISECOND)),
         -ETIMEDOUT);
    T_IS(result, -ECANCELED);
    seat_send(&a, 8);
    T_OK(pthread_join(first, NULL));
    T_IS(a.r, 8);
    stop_alone(rt);
    filch_chan_unref(a.chan);
}

static void *block_on_many(void *arg)
{
    filch_runtime *rt = arg;

    for (intptr_t i = 0; i < 2000; i++)
        T_IS(block_on(rt, return_arg, (void *)i), i);
    return NULL;
}

Test(drive, eight_threads_share_the_seat)
{
    filch_runtime *rt = start_alone();
    pthread_t thread[8];

    for (int i = 0; i < 8; i++)
        T_OK(pthread_create(&thread[i], NULL, block_on_many, rt));
    for (int i = 0; i < 8; i++)
        T_OK(pthread_join(thread[i], NULL));
    stop_alone(rt);
}

/* The end of a task may run what it deferred, and that may suspend. */
static void end_slowly(void *arg)
{
    T_OK(filch_sleep(filch_after(3 * FILCH_MILLISECOND)));
    atomic_fetch_add((atomic_int *)arg, 1);
}

static int defer_a_sleep(void *arg)
{
    T_OK(filch_task_defer(end_slowly, arg));
    return 12;
}

static void *block_on_deferred(void *arg)
{
    struct seat *seat = arg;

    T_IS(block_on(seat->rt, defer_a_sleep, &seat->started), 12);
    T_CHECK(atomic_load(&seat->started) >= 1);
    return NULL;
}

Test(drive, block_on_waits_for_what_its_task_deferred)
{
    struct seat seat = {.rt = start_alone()};
    pthread_t thread[4];

    block_on_deferred(&seat);
    for (int i = 0; i < 4; i++)
        T_OK(pthread_create(&thread[i], NULL, block_on_deferred, &seat));
    for (int i = 0; i < 4; i++)
        T_OK(pthread_join(thread[i], NULL));
    T_IS(atomic_load(&seat.started), 5);
    stop_alone(seat.rt);
}

static int count_cancelled(void *arg)
{
    T_IS(filch_sleep(FILCH_NEVER), -ECANCELED);
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

Test(drive, shutdown_runs_what_never_ran_and_ends_what_waits)
{
    filch_runtime *rt = start_alone();
    atomic_int ended = 0;

    for (int i = 0; i < 500; i++)
        T_OK(filch_runtime_spawn(rt, count_cancelled, &ended, NULL, NULL));
    settle(rt);
    for (int i = 0; i < 500; i++)
        T_OK(filch_runtime_spawn(rt, count_cancelled, &ended, NULL, NULL));
    T_IS(atomic_load(&ended), 0);
    stop_alone(rt);
    T_IS(atomic_load(&ended), 1000);
}

static int yield_until_let_go(void *arg)
{
    while (!atomic_load((atomic_int *)arg))
        filch_task_yield();
    return 0;
}

Test(drive, shutdown_gives_up_at_its_time_and_can_be_repeated)
{
    filch_runtime *rt = start_alone();
    atomic_int go = 0;
    int result;

    T_OK(filch_runtime_spawn(rt, yield_until_let_go, &go, NULL, NULL));
    T_IS(filch_runtime_shutdown(rt, filch_after(2 * FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(filch_runtime_shutdown(rt, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_runtime_block_on(rt, return_arg, NULL, &result, FILCH_NEVER), -ESHUTDOWN);
    T_IS(filch_runtime_turn(rt, 0, 0, NULL), 1); /* the host may go on meanwhile */
    atomic_store(&go, 1);
    stop_alone(rt);
}

Test(drive, shutdown_while_another_thread_drives)
{
    for (int i = 0; i < 50; i++) {
        filch_runtime *rt = start_alone();
        pthread_t thread;
        struct seat seat = {.rt = rt};
        int value = 4;

        T_OK(filch_chan_new(sizeof(int), 1, &seat.chan));
        T_OK(pthread_create(&thread, NULL, block_on_receive, &seat));
        T_WAIT_UNTIL(atomic_load(&seat.started));
        T_OK(filch_chan_send(seat.chan, &value, FILCH_NEVER));
        stop_alone(rt);
        T_OK(pthread_join(thread, NULL));
        T_IS(seat.r, 4);
        filch_chan_unref(seat.chan);
    }
}

static int sleep_in_thread(void *arg)
{
    T_OK(filch_sleep(filch_after(FILCH_MILLISECOND)));
    return (int)(intptr_t)arg;
}

static int run_jobs(void *arg)
{
    (void)arg;
    for (intptr_t i = 0; i < 20; i++) {
        int result = -1;

        T_OK(filch_blocking_run(sleep_in_thread, (void *)i, NULL, &result, FILCH_NEVER));
        T_IS(result, i);
    }
    return 0;
}

Test(drive, blocking_jobs_wake_it_from_their_threads)
{
    filch_runtime *rt = start_alone();

    T_OK(block_on(rt, run_jobs, NULL));
    T_OK(filch_runtime_blocking_spawn(rt, sleep_in_thread, NULL, NULL, NULL));
    stop_alone(rt);
}

Test(drive, descriptor_is_readable_when_there_is_something_to_do)
{
    filch_runtime *rt = start_alone();
    int fd = filch_runtime_fd(rt);
    atomic_int count = 0;
    filch_time next = 5;

    T_CHECK(fd >= 0);
    T_IS(filch_runtime_fd(rt), fd);
    settle(rt);
    T_CHECK(!is_readable(fd, 0));
    T_OK(filch_runtime_turn(rt, 0, 0, &next));
    T_CHECK(next == FILCH_NEVER);
    for (int i = 0; i < 3; i++)
        T_OK(filch_runtime_spawn(rt, add_one, &count, NULL, NULL));
    T_CHECK(is_readable(fd, 0));
    T_IS(atomic_load(&count), 0);
    settle(rt);
    T_IS(atomic_load(&count), 3);
    T_CHECK(!is_readable(fd, 0));
    stop_alone(rt);
}

Test(drive, what_was_spawned_before_the_descriptor_was_made_counts)
{
    filch_runtime *rt = start_alone();
    atomic_int count = 0;

    T_OK(filch_runtime_spawn(rt, add_one, &count, NULL, NULL));
    T_CHECK(is_readable(filch_runtime_fd(rt), 0));
    host_until(rt, &count, 1);
    stop_alone(rt);
}

static int sleep_three(void *arg)
{
    filch_time until = filch_after(3 * FILCH_MILLISECOND);

    T_OK(filch_sleep(until));
    T_CHECK(filch_now() >= until);
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

/* A timer that a block_on left, a completion and a ready task: each is told of. */
static int leave_work(void *arg)
{
    T_OK(filch_spawn(sleep_three, arg));
    for (int i = 0; i < 100; i++)
        T_OK(filch_spawn(add_one, arg));
    return 0;
}

Test(drive, what_block_on_leaves_is_told_of)
{
    filch_runtime *rt = start_alone();
    atomic_int count = 0;

    T_CHECK(filch_runtime_fd(rt) >= 0);
    settle(rt);
    T_OK(block_on(rt, leave_work, &count));
    T_CHECK(atomic_load(&count) < 101);
    host_until(rt, &count, 101);
    stop_alone(rt);
}

static int sleep_in_steps(void *arg)
{
    for (int i = 0; i < 20; i++)
        sleep_three(arg);
    return 0;
}

Test(drive, timers_go_off_by_the_descriptor_and_never_early)
{
    filch_runtime *rt = start_alone();
    atomic_int count = 0;

    for (int i = 0; i < 10; i++)
        T_OK(filch_runtime_spawn(rt, sleep_in_steps, &count, NULL, NULL));
    host_until(rt, &count, 200);
    stop_alone(rt);
}

/* A host that watches no timer but its own, set by what the turns say. */
Test(drive, timers_go_off_by_the_time_that_turns_tell)
{
    filch_runtime *rt = start_alone();
    atomic_int count = 0;

    for (int i = 0; i < 10; i++)
        T_OK(filch_runtime_spawn(rt, sleep_in_steps, &count, NULL, NULL));
    for (;;) {
        filch_time next = 1;
        int r = filch_runtime_turn(rt, 0, 0, &next);

        T_CHECK(r == 1 ? next == FILCH_NOW : next != FILCH_NOW);
        if (atomic_load(&count) == 200)
            break;
        T_CHECK(next < filch_after(FILCH_SECOND));
        T_OK(filch_sleep(next));
    }
    stop_alone(rt);
}

static int sleep_a_while(void *arg)
{
    T_OK(filch_sleep(filch_after(100 * FILCH_MILLISECOND)));
    return add_one(arg);
}

Test(drive, an_idle_runtime_wants_no_turns)
{
    filch_runtime *rt = start_alone();
    atomic_int count = 0;

    T_OK(filch_runtime_spawn(rt, sleep_a_while, &count, NULL, NULL));
    T_CHECK(host_until(rt, &count, 1) < 20);
    settle(rt);
    T_CHECK(!is_readable(filch_runtime_fd(rt), 20));
    stop_alone(rt);
}

static int yield_for_ever(void *arg)
{
    while (!filch_task_is_cancelled()) {
        atomic_fetch_add((atomic_int *)arg, 1);
        filch_task_yield();
    }
    return 0;
}

Test(drive, a_turn_is_bounded_by_tasks)
{
    filch_runtime *rt = start_alone();
    int fd = filch_runtime_fd(rt);
    atomic_int count = 0;

    for (int i = 0; i < 3; i++)
        T_OK(filch_runtime_spawn(rt, yield_for_ever, &count, NULL, NULL));
    for (int i = 0; i < 100; i++) {
        filch_time next = 1;
        int before = atomic_load(&count);

        T_IS(filch_runtime_turn(rt, 50, 0, &next), 1);
        T_CHECK(next == FILCH_NOW);
        T_CHECK(atomic_load(&count) - before >= 50);
        T_CHECK(atomic_load(&count) - before <= 50 + 32);
        T_CHECK(is_readable(fd, 0));
    }
    stop_alone(rt);
}

Test(drive, a_turn_is_bounded_by_time)
{
    filch_runtime *rt = start_alone();
    atomic_int count = 0;

    for (int i = 0; i < 3; i++)
        T_OK(filch_runtime_spawn(rt, yield_for_ever, &count, NULL, NULL));
    /* A limit of tasks that would take hours. */
    T_IS(filch_runtime_turn(rt, UINT_MAX, FILCH_MILLISECOND, NULL), 1);
    T_CHECK(atomic_load(&count) > 0);
    stop_alone(rt);
}

struct flood {
    filch_chan *chan;
    int messages;
};

static void *send_from_thread(void *arg)
{
    struct flood *flood = arg;

    for (int i = 0; i < flood->messages; i++)
        T_OK(filch_chan_send(flood->chan, &i, FILCH_NEVER));
    return NULL;
}

struct sink {
    filch_chan *chan;
    int messages;
    atomic_int done;
};

static int receive_flood(void *arg)
{
    struct sink *sink = arg;

    for (int i = 0, value; i < sink->messages; i++)
        T_OK(filch_chan_recv(sink->chan, &value, FILCH_NEVER));
    atomic_store(&sink->done, 1);
    return 0;
}

/* With room for one message, each one wakes the task, and each look at an empty channel parks it.
 */
static void flood_from_threads(int messages, bool by_turns)
{
    filch_runtime *rt = start_alone();
    struct sink sink = {.messages = 2 * messages};
    struct flood flood = {.messages = messages};
    pthread_t thread[2];

    T_OK(filch_chan_new(sizeof(int), 1, &sink.chan));
    flood.chan = sink.chan;
    if (by_turns)
        T_OK(filch_runtime_spawn(rt, receive_flood, &sink, NULL, NULL));
    for (int i = 0; i < 2; i++)
        T_OK(pthread_create(&thread[i], NULL, send_from_thread, &flood));
    if (by_turns)
        host_until(rt, &sink.done, 1);
    else
        T_OK(block_on(rt, receive_flood, &sink));
    for (int i = 0; i < 2; i++)
        T_OK(pthread_join(thread[i], NULL));
    stop_alone(rt);
    filch_chan_unref(sink.chan);
}

Test(drive, no_wake_from_other_threads_is_lost_between_turns)
{
    flood_from_threads(50000, true);
}

Test(drive, no_wake_from_other_threads_is_lost_in_block_on)
{
    flood_from_threads(50000, false);
}

struct spawner {
    filch_runtime *rt;
    atomic_int *count;
};

static void *spawn_from_thread(void *arg)
{
    struct spawner *spawner = arg;

    for (int i = 0; i < 25000; i++) {
        T_OK(filch_runtime_spawn(spawner->rt, add_one, spawner->count, NULL, NULL));
        if (i % 100 == 0)
            sched_yield();
    }
    return NULL;
}

Test(drive, no_spawn_from_other_threads_is_lost)
{
    atomic_int count = 0;
    struct spawner spawner = {start_alone(), &count};
    pthread_t thread[4];

    for (int i = 0; i < 4; i++)
        T_OK(pthread_create(&thread[i], NULL, spawn_from_thread, &spawner));
    host_until(spawner.rt, &count, 100000);
    for (int i = 0; i < 4; i++)
        T_OK(pthread_join(thread[i], NULL));
    stop_alone(spawner.rt);
}

/* A host's loop with its own pipe beside a server of filch. */
static int echo(void *arg)
{
    char buf[4096];
    ssize_t n;

    while ((n = filch_tcp_read(arg, buf, sizeof(buf), FILCH_NEVER)) > 0)
        T_OK(filch_tcp_write_all(arg, buf, (size_t)n, NULL, FILCH_NEVER));
    T_OK(filch_tcp_close(arg));
    return (int)n;
}

static int serve(void *arg)
{
    struct tcp_pair *pair = arg;
    filch_tcp *conn;
    int r;

    while ((r = filch_listener_accept(pair->listener, &conn, FILCH_NEVER)) == 0)
        T_OK(filch_spawn(echo, conn));
    return r;
}

struct client {
    const char *addr;
    int pipe; /* one byte after each round trip, an end of file at last */
    pthread_t thread;
};

static void *talk(void *arg)
{
    struct client *client = arg;
    int fd = raw_socket();
    char out[1000], in[1000];

    raw_connect(fd, client->addr);
    for (int i = 0; i < 500; i++) {
        memset(out, 'a' + i % 26, sizeof(out));
        T_IS(send(fd, out, sizeof(out), MSG_NOSIGNAL), sizeof(out));
        T_IS(recv(fd, in, sizeof(in), MSG_WAITALL), sizeof(in));
        T_OK(memcmp(in, out, sizeof(in)));
        T_IS(write(client->pipe, "x", 1), 1);
    }
    close(fd);
    close(client->pipe);
    return NULL;
}

/* Return: bytes from the pipe; 0 at its end; -1 if there were none yet. */
static ssize_t take_events(struct pollfd *pipe_fd)
{
    char buf[100];

    return pipe_fd->revents ? read(pipe_fd->fd, buf, sizeof(buf)) : -1;
}

Test(drive, a_poll_loop_serves_its_pipe_and_echoes_at_once)
{
    filch_runtime *rt = start_alone();
    struct tcp_pair pair;
    struct client client[4];
    int fds[2];
    struct pollfd polled[2];
    long events = 0;
    ssize_t n = -1;

    listen_any(&pair);
    T_OK(pipe(fds));
    T_OK(filch_runtime_spawn(rt, serve, &pair, NULL, NULL));
    for (int i = 0; i < 4; i++) {
        client[i] = (struct client){.addr = pair.addr, .pipe = dup(fds[1])};
        T_OK(pthread_create(&client[i].thread, NULL, talk, &client[i]));
    }
    close(fds[1]);
    polled[0] = (struct pollfd){.fd = fds[0], .events = POLLIN};
    polled[1] = (struct pollfd){.fd = filch_runtime_fd(rt), .events = POLLIN};
    while (n != 0) {
        T_CHECK(poll(polled, 2, 60000) > 0);
        if (polled[1].revents)
            T_CHECK(filch_runtime_turn(rt, 0, 0, NULL) >= 0);
        n = take_events(&polled[0]);
        events += n > 0 ? n : 0;
    }
    T_IS(events, 4 * 500);
    for (int i = 0; i < 4; i++)
        T_OK(pthread_join(client[i].thread, NULL));
    stop_alone(rt);
    T_OK(filch_listener_close(pair.listener));
    close(fds[0]);
}

/* The same in epoll_wait, which the kernel interrupts. */
Test(drive, an_epoll_loop_sees_everything_too)
{
    filch_runtime *rt = start_alone();
    struct epoll_event event = {.events = EPOLLIN};
    struct tcp_pair pair;
    struct client client;
    int fds[2];
    struct pollfd end = {.events = POLLIN};
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);

    listen_any(&pair);
    T_OK(pipe(fds));
    T_OK(filch_runtime_spawn(rt, serve, &pair, NULL, NULL));
    client = (struct client){.addr = pair.addr, .pipe = fds[1]};
    T_OK(pthread_create(&client.thread, NULL, talk, &client));
    T_OK(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[0], &event));
    T_OK(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, filch_runtime_fd(rt), &event));
    end.fd = fds[0];
    do {
        int r = epoll_wait(epoll_fd, &event, 1, 60000);

        T_CHECK(r == 1 || (r < 0 && errno == EINTR));
        errno = 4711;
        T_CHECK(filch_runtime_turn(rt, 0, 0, NULL) >= 0);
        T_IS(errno, 4711);
        poll(&end, 1, 0);
    } while (take_events(&end) != 0);
    T_OK(pthread_join(client.thread, NULL));
    stop_alone(rt);
    T_OK(filch_listener_close(pair.listener));
    close(epoll_fd);
    close(fds[0]);
}

/* Threads that come, drive and go, with operations of theirs in flight. */
struct relay {
    filch_runtime *rt;
    struct tcp_pair pair;
    atomic_int got;
};

static int read_some(void *arg)
{
    struct relay *relay = arg;
    char buf[8];
    ssize_t n;

    while ((n = filch_tcp_read(relay->pair.server, buf, sizeof(buf), FILCH_NEVER)) > 0)
        atomic_fetch_add(&relay->got, (int)n);
    return (int)n;
}

static int accept_one(void *arg)
{
    struct relay *relay = arg;

    T_OK(filch_listener_accept(relay->pair.listener, &relay->pair.server, FILCH_NEVER));
    T_OK(filch_spawn(read_some, relay));
    return 0;
}

static void *one_turn(void *arg)
{
    struct relay *relay = arg;

    settle(relay->rt);
    return NULL;
}

static void turn_in_a_thread(struct relay *relay)
{
    pthread_t thread;

    T_OK(pthread_create(&thread, NULL, one_turn, relay));
    T_OK(pthread_join(thread, NULL));
}

Test(drive, operations_outlive_the_thread_that_started_them)
{
    struct relay relay = {.rt = start_alone()};
    int client = raw_socket();

    listen_any(&relay.pair);
    T_OK(filch_runtime_spawn(relay.rt, accept_one, &relay, NULL, NULL));
    turn_in_a_thread(&relay); /* the accept is in flight, and its thread is gone */
    raw_connect(client, relay.pair.addr);
    for (int i = 0; i < 20; i += 2) {
        T_IS(send(client, "x", 1, MSG_NOSIGNAL), 1);
        host_until(relay.rt, &relay.got, i + 1);
        T_IS(send(client, "y", 1, MSG_NOSIGNAL), 1);
        do
            turn_in_a_thread(&relay); /* the next read is now that of a thread which is gone */
        while (atomic_load(&relay.got) < i + 2);
    }
    settle(relay.rt);
    T_CHECK(!is_readable(filch_runtime_fd(relay.rt), 5));
    close(client);
    stop_alone(relay.rt);
    T_OK(filch_tcp_close(relay.pair.server));
    T_OK(filch_listener_close(relay.pair.listener));
}

/* Of the calling thread, by the scheduler's clock: what getrusage() calls a user's share is an
 * estimate that moves by all that the thread has used so far. */
static filch_time cpu_time(void)
{
    struct timespec ts;

    T_OK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts));
    return (filch_time)ts.tv_sec * FILCH_SECOND + (filch_time)ts.tv_nsec;
}

static int join_task(void *task)
{
    return join(task);
}

Test(drive, block_on_sleeps_though_an_earlier_driver_has_gone)
{
    struct relay relay = {.rt = start_alone()};
    int client = raw_socket();
    atomic_int count = 0;
    filch_task *accepts;
    filch_time before;

    listen_any(&relay.pair);
    T_OK(filch_runtime_spawn(relay.rt, accept_one, &relay, NULL, &accepts));
    turn_in_a_thread(&relay);
    raw_connect(client, relay.pair.addr); /* leaves its mark in the ring */
    before = cpu_time();
    T_OK(block_on(relay.rt, sleep_a_while, &count));
    /* Of 100 ms: it did not turn in a circle. */
    T_CHECK(RUNNING_ON_VALGRIND || cpu_time() - before < 50 * FILCH_MILLISECOND);
    T_OK(block_on(relay.rt, join_task, accepts)); /* the kernel may take its time to tell */
    stop_alone(relay.rt);
    close(client);
    T_OK(filch_tcp_close(relay.pair.server));
    T_OK(filch_listener_close(relay.pair.listener));
}

struct hop {
    filch_runtime *other;
    atomic_int done;
};

static int hop_and_back(void *arg)
{
    struct hop *hop = arg;

    for (intptr_t i = 0; i < 100; i++) {
        filch_task *task;

        T_OK(filch_runtime_spawn(hop->other, return_arg, (void *)i, NULL, &task));
        T_IS(join(task), i);
    }
    atomic_store(&hop->done, 1);
    return 0;
}

Test(drive, two_runtimes_in_one_loop)
{
    filch_runtime *a = start_alone();
    struct hop hop = {.other = start_alone()};
    struct pollfd fds[] = {{.fd = filch_runtime_fd(a), .events = POLLIN},
                           {.fd = filch_runtime_fd(hop.other), .events = POLLIN}};

    T_OK(filch_runtime_spawn(a, hop_and_back, &hop, NULL, NULL));
    while (!atomic_load(&hop.done)) {
        T_CHECK(poll(fds, 2, 60000) > 0);
        if (fds[0].revents)
            T_CHECK(filch_runtime_turn(a, 0, 0, NULL) >= 0);
        if (fds[1].revents)
            T_CHECK(filch_runtime_turn(hop.other, 0, 0, NULL) >= 0);
    }
    stop_alone(a);
    stop_alone(hop.other);
}

Test(drive, without_descriptors_left_there_is_an_error_and_no_harm)
{
    filch_runtime *rt = start_alone();
    struct rlimit old, none;
    atomic_int count = 0;

    T_OK(getrlimit(RLIMIT_NOFILE, &old));
    for (unsigned extra = 0; extra < 2; extra++) {
        int lowest = dup(0);

        close(lowest);
        none = (struct rlimit){(rlim_t)lowest + extra, old.rlim_max};
        T_OK(setrlimit(RLIMIT_NOFILE, &none));
        T_IS(filch_runtime_fd(rt), -EMFILE);
        T_OK(setrlimit(RLIMIT_NOFILE, &old));
    }
    T_OK(filch_runtime_spawn(rt, add_one, &count, NULL, NULL));
    host_until(rt, &count, 1);
    stop_alone(rt);
}
