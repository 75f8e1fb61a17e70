/* Description: descriptors by readiness: now or later, several who wait, time, cancel, close under
 * those who wait, in tasks, in plain threads and in selects; nothing is changed or consumed. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(fd, .timeout = 120);

struct pair {
    int ours, theirs;
    filch_fd *fd; /* borrows ours */
    atomic_int waits;
    int result;
};

static void open_pair(struct pair *pair)
{
    int fds[2];

    T_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds));
    *pair = (struct pair){.ours = fds[0], .theirs = fds[1]};
    T_OK(filch_fd_borrow(pair->ours, &pair->fd));
}

static void close_pair(struct pair *pair)
{
    if (pair->fd)
        T_OK(filch_fd_close(pair->fd));
    T_OK(close(pair->ours));
    if (pair->theirs >= 0)
        T_OK(close(pair->theirs));
}

static void drain(int fd)
{
    char bytes[64];

    while (read(fd, bytes, sizeof bytes) > 0)
        ;
}

static int waits_for_byte(void *arg)
{
    struct pair *pair = arg;
    unsigned events = 0;
    int r;

    atomic_fetch_add(&pair->waits, 1);
    r = filch_fd_wait(pair->fd, FILCH_FD_READABLE, &events, T_LIMIT);
    return r < 0 ? r : (int)events;
}

static int writes_later(void *arg)
{
    struct pair *pair = arg;

    T_WAIT_UNTIL(atomic_load(&pair->waits));
    let_others_run();
    return write(pair->theirs, "x", 1) == 1 ? 0 : -EIO;
}

static int ready_now_or_later(void *arg)
{
    struct pair pair;
    unsigned events = 77;
    filch_task *writer;

    (void)arg;
    open_pair(&pair);
    T_IS(filch_fd_number(pair.fd), pair.ours);
    T_IS(filch_fd_wait(pair.fd, FILCH_FD_READABLE, &events, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_fd_wait(pair.fd, FILCH_FD_READABLE, &events, filch_after(FILCH_MILLISECOND)),
         -ETIMEDOUT);
    T_IS(events, 77);
    T_OK(filch_fd_wait(pair.fd, FILCH_FD_READABLE | FILCH_FD_WRITABLE, &events, FILCH_NEVER));
    T_IS(events, FILCH_FD_WRITABLE);
    writer = spawn(writes_later, &pair);
    T_IS(waits_for_byte(&pair), FILCH_FD_READABLE);
    T_OK(join(writer));
    /* It stays ready until it is dealt with, and the descriptor is as it was. */
    T_OK(filch_fd_poll(pair.ours, FILCH_FD_READABLE, NULL, FILCH_NOW));
    T_OK(filch_fd_poll(pair.ours, FILCH_FD_READABLE, &events, FILCH_NEVER));
    T_CHECK(fcntl(pair.ours, F_GETFL) & O_NONBLOCK);
    drain(pair.ours);
    T_IS(filch_fd_poll(pair.ours, FILCH_FD_READABLE, NULL, filch_after(FILCH_MILLISECOND)),
         -ETIMEDOUT);
    T_OK(shutdown(pair.theirs, SHUT_WR));
    T_OK(filch_fd_wait(pair.fd, FILCH_FD_READ_ENDED, &events, FILCH_NEVER));
    T_IS(events, FILCH_FD_READ_ENDED);
    T_OK(close(pair.theirs));
    pair.theirs = -1;
    T_OK(filch_fd_wait(pair.fd, FILCH_FD_URGENT, &events, FILCH_NEVER));
    T_CHECK(events & FILCH_FD_HANGUP);
    close_pair(&pair);
    return 0;
}

Test(fd, ready_now_or_later_in_a_task)
{
    T_OK(run_in_runtime(0, ready_now_or_later, NULL));
}

static void *thread_waits(void *arg)
{
    struct pair *pair = arg;

    pair->result = waits_for_byte(pair);
    return NULL;
}

Test(fd, ready_later_in_a_plain_thread)
{
    struct pair pair;
    pthread_t thread;

    open_pair(&pair);
    T_OK(pthread_create(&thread, NULL, thread_waits, &pair));
    T_OK(writes_later(&pair));
    T_OK(pthread_join(thread, NULL));
    T_IS(pair.result, FILCH_FD_READABLE);
    close_pair(&pair);
}

Test(fd, a_close_ends_the_wait_of_a_plain_thread)
{
    struct pair pair;
    pthread_t thread;

    open_pair(&pair);
    T_OK(pthread_create(&thread, NULL, thread_waits, &pair));
    T_WAIT_UNTIL(atomic_load(&pair.waits));
    T_OK(filch_fd_close(pair.fd));
    T_OK(pthread_join(thread, NULL));
    T_CHECK(pair.result == -ECANCELED || pair.result == -EBADF);
    T_IS(filch_fd_close(pair.fd), -EBADF);
    pair.fd = NULL;
    /* A borrowed socket is not shut down. */
    T_IS(write(pair.theirs, "x", 1), 1);
    close_pair(&pair);
}

static int selects(void *arg)
{
    struct pair *pair = arg;
    int r = -EIO;

    atomic_fetch_add(&pair->waits, 1);
    T_IS(FILCH_SELECT_RESULT(&r, T_LIMIT, filch_case_fd(pair->fd, FILCH_FD_READABLE, NULL)), 0);
    return r;
}

static int closed_under_waiters(void *arg)
{
    for (int i = 0; i < 40; i++) {
        struct pair pair;
        filch_task *tasks[4];

        open_pair(&pair);
        for (int n = 0; n < 4; n++)
            tasks[n] = spawn(n % 2 ? selects : waits_for_byte, &pair);
        T_WAIT_UNTIL(atomic_load(&pair.waits) == 4 || i % 4 == 0);
        if (i % 2)
            let_others_run();
        T_OK(filch_fd_close(pair.fd));
        for (int n = 0; n < 4; n++) {
            int r = join(tasks[n]);

            T_CHECK(r == -ECANCELED || r == -EBADF);
        }
        pair.fd = NULL;
        close_pair(&pair);
    }
    return arg != NULL;
}

Test(fd, a_close_sends_away_all_who_wait)
{
    T_OK(run_in_runtime(0, closed_under_waiters, NULL));
}

static int cancelled(void *arg)
{
    struct pair pair;

    (void)arg;
    open_pair(&pair);
    for (int i = 0; i < 50; i++) {
        filch_task *task = spawn(waits_for_byte, &pair);
        int r;

        if (i % 2)
            let_others_run();
        T_OK(filch_task_cancel(task));
        r = join(task);
        T_IS(r, -ECANCELED);
        FILCH_DEADLINE(filch_after(50 * FILCH_MICROSECOND))
        {
            T_IS(FILCH_SELECT(FILCH_NEVER, filch_case_fd(pair.fd, FILCH_FD_READABLE, NULL)),
                 -ECANCELED);
        }
    }
    /* Nothing was left in it: else the release would be refused. */
    T_OK(filch_fd_release(pair.fd, &pair.ours));
    pair.fd = NULL;
    close_pair(&pair);
    return 0;
}

Test(fd, a_cancel_ends_the_wait_and_leaves_nothing_behind)
{
    T_OK(run_in_runtime(0, cancelled, NULL));
}

static int in_a_select(void *arg)
{
    struct pair a, b;
    unsigned events = 0;
    filch_task *writer;
    int r = -EIO;

    (void)arg;
    open_pair(&a);
    open_pair(&b);
    atomic_store(&b.waits, 1);
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_fd(a.fd, FILCH_FD_READABLE, &events)), -ETIMEDOUT);
    T_IS(events, 0);
    T_IS(FILCH_SELECT_RESULT(&r, FILCH_NEVER, filch_case_fd(a.fd, FILCH_FD_READABLE, NULL),
                             filch_case_fd(b.fd, FILCH_FD_READABLE | FILCH_FD_WRITABLE, &events)),
         1);
    T_OK(r);
    T_IS(events, FILCH_FD_WRITABLE);
    writer = spawn(writes_later, &b);
    T_IS(FILCH_SELECT_RESULT(&r, FILCH_NEVER, filch_case_fd(a.fd, FILCH_FD_READABLE, NULL),
                             filch_case_fd(b.fd, FILCH_FD_READABLE, &events)),
         1);
    T_OK(r);
    T_IS(events, FILCH_FD_READABLE);
    T_OK(join(writer));
    T_IS(filch_fd_close(a.fd), 0);
    a.fd = NULL;
    close_pair(&a);
    close_pair(&b);
    return 0;
}

Test(fd, as_a_case_of_a_select)
{
    T_OK(run_in_runtime(0, in_a_select, NULL));
}

Test(fd, a_plain_thread_can_look)
{
    struct pair pair;
    unsigned events = 0;
    int r = 0;

    open_pair(&pair);
    T_IS(FILCH_SELECT(FILCH_NOW, filch_case_fd(pair.fd, FILCH_FD_READABLE, &events)), -ETIMEDOUT);
    T_IS(FILCH_SELECT_RESULT(&r, FILCH_NEVER, filch_case_fd(pair.fd, FILCH_FD_READABLE, &events)),
         0);
    T_IS(r, -EPERM);
    T_IS(FILCH_SELECT_RESULT(&r, FILCH_NEVER, filch_case_fd(pair.fd, FILCH_FD_WRITABLE, &events)),
         0);
    T_OK(r);
    T_IS(events, FILCH_FD_WRITABLE);
    close_pair(&pair);
}

static int waits_to_release(void *arg)
{
    struct pair *pair = arg;
    filch_fd *fd = NULL;
    int number = eventfd(0, EFD_NONBLOCK); /* not close-on-exec yet */
    filch_task *task;

    T_CHECK(number >= 0);
    T_OK(filch_fd_adopt(number, &fd));
    T_CHECK(fcntl(number, F_GETFD) & FD_CLOEXEC);
    pair->fd = fd;
    task = spawn(waits_for_byte, pair);
    T_WAIT_UNTIL(atomic_load(&pair->waits)); /* one worker: it waits by now */
    T_IS(filch_fd_release(fd, &number), -EBUSY);
    T_OK(eventfd_write(number, 1));
    T_IS(join(task), FILCH_FD_READABLE);
    T_OK(filch_fd_release(fd, &number));
    T_OK(filch_fd_adopt(number, &fd));
    T_OK(filch_fd_close(fd));
    T_CHECK(fcntl(number, F_GETFD) < 0 && errno == EBADF);
    return 0;
}

Test(fd, an_adopted_one_is_given_back_or_closed)
{
    struct pair pair = {.waits = 0};

    T_OK(run_in_runtime(1, waits_to_release, &pair));
}

/* As the event loop of another library does: many descriptors, one of which is written to. */
enum { CROWD = 100 };

static int a_crowd(void *arg)
{
    static struct pair pairs[CROWD];
    filch_case cases[CROWD];

    (void)arg;
    for (int i = 0; i < CROWD; i++) {
        open_pair(&pairs[i]);
        cases[i] = filch_case_fd(pairs[i].fd, FILCH_FD_READABLE, NULL);
        atomic_store(&pairs[i].waits, 1);
    }
    for (int i = 0; i < CROWD; i += 7) {
        filch_task *writer = spawn(writes_later, &pairs[i]);
        int r = -EIO;

        T_IS(filch_select_result(cases, CROWD, 0, &r, T_LIMIT), i);
        T_OK(r);
        T_OK(join(writer));
        drain(pairs[i].ours);
    }
    for (int i = 0; i < CROWD; i++)
        close_pair(&pairs[i]);
    return 0;
}

Test(fd, the_one_of_a_hundred_that_is_ready)
{
    T_OK(run_in_runtime(0, a_crowd, NULL));
}
