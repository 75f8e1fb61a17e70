/* Description: signals as something to wait for (<filch/signal.h>): each listener gets each one,
 * what waits to be taken is one, actions are as before afterwards. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(signal_api, .timeout = 60);

static atomic_int handled;

static void host_handler(int number)
{
    (void)number;
    atomic_fetch_add(&handled, 1);
}

static int wait_body(void *arg)
{
    filch_signal *one, *two;
    filch_chan_stream stream;
    int number = 0;

    (void)arg;
    T_OK(filch_signal_open(SIGUSR1, &one));
    T_OK(filch_signal_open(SIGUSR1, &two));
    T_IS(filch_signal_wait(one, &number, FILCH_NOW), -ETIMEDOUT);
    kill(getpid(), SIGUSR1);
    T_OK(filch_signal_wait(one, &number, T_LIMIT));
    T_IS(number, SIGUSR1);
    T_OK(filch_signal_wait(two, NULL, T_LIMIT));
    number = 0;
    kill(getpid(), SIGUSR1);
    T_IS(FILCH_SELECT(T_LIMIT, filch_case_signal(one, &number)), 0);
    T_IS(number, SIGUSR1);
    T_OK(filch_signal_stream_init(&stream, two));
    T_IS(filch_stream_next(&stream.base, &number, T_LIMIT), 1);
    T_IS(number, SIGUSR1);
    filch_stream_drop(&stream.base);
    filch_signal_close(one);
    filch_signal_close(two);
    return 0;
}

Test(signal_api, each_listener_gets_each_signal)
{
    cr_assert_eq(run_in_runtime(0, wait_body, NULL), 0);
    cr_assert_eq(wait_body(NULL), 0); /* of a plain thread */
}

/* Of many that nobody has taken there is one; and one more for those that come afterwards. */
static int coalesce_body(void *arg)
{
    filch_signal *s, *end;

    (void)arg;
    T_OK(filch_signal_open(SIGUSR2, &s));
    T_OK(filch_signal_open(SIGRTMIN, &end));
    for (int i = 0; i < 100; i++)
        kill(getpid(), SIGUSR2);
    kill(getpid(), SIGRTMIN);
    T_OK(filch_signal_wait(end, NULL, T_LIMIT)); /* the higher number is delivered last */
    T_OK(filch_signal_wait(s, NULL, T_LIMIT));
    T_IS(filch_signal_wait(s, NULL, FILCH_NOW), -ETIMEDOUT);
    kill(getpid(), SIGUSR2);
    T_OK(filch_signal_wait(s, NULL, T_LIMIT));
    filch_task_cancel(filch_task_self());
    T_IS(filch_signal_wait(s, NULL, FILCH_NEVER), -ECANCELED);
    filch_signal_close(s);
    filch_signal_close(end);
    return 0;
}

Test(signal_api, what_waits_to_be_taken_is_one)
{
    cr_assert_eq(run_in_runtime(0, coalesce_body, NULL), 0);
}

Test(signal_api, actions_are_as_before_after_the_last_close)
{
    struct sigaction host = {.sa_handler = host_handler}, now;
    filch_signal *one, *two;

    sigaction(SIGUSR1, &host, NULL);
    cr_assert_eq(filch_signal_open(SIGUSR1, &one), 0);
    cr_assert_eq(filch_signal_open(SIGUSR1, &two), 0);
    filch_signal_close(one);
    raise(SIGUSR1);
    cr_assert_eq(filch_signal_wait(two, NULL, T_LIMIT), 0);
    cr_assert_eq(atomic_load(&handled), 0);
    filch_signal_close(two);
    sigaction(SIGUSR1, NULL, &now);
    cr_assert(now.sa_handler == host_handler);
    raise(SIGUSR1);
    cr_assert_eq(atomic_load(&handled), 1);
}

/* All threads of the program block it, as a daemon's may. */
Test(signal_api, signals_arrive_where_everybody_blocks_them)
{
    filch_signal *s;
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    cr_assert_eq(filch_signal_open(SIGTERM, &s), 0);
    kill(getpid(), SIGTERM);
    cr_assert_eq(filch_signal_wait(s, NULL, T_LIMIT), 0);
    filch_signal_close(s);
}

/* A host that takes a signal by sigwait(3) or signalfd(2) blocks it in all its threads: it must not
 * find its way to ours. */
Test(signal_api, what_the_host_blocks_waits_for_the_host)
{
    const struct timespec at_once = {0, 0};
    filch_signal *term, *usr;
    sigset_t theirs;

    sigemptyset(&theirs);
    sigaddset(&theirs, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &theirs, NULL);
    cr_assert_eq(filch_signal_open(SIGTERM, &term), 0);
    kill(getpid(), SIGTERM);
    cr_assert_eq(filch_signal_wait(term, NULL, T_LIMIT), 0); /* its thread is there */
    kill(getpid(), SIGUSR1);
    cr_assert_eq(sigtimedwait(&theirs, NULL, &at_once), SIGUSR1);
    cr_assert_eq(filch_signal_open(SIGUSR1, &usr), 0);
    kill(getpid(), SIGUSR1);
    cr_assert_eq(filch_signal_wait(usr, NULL, T_LIMIT), 0);
    filch_signal_close(usr);
    kill(getpid(), SIGUSR1);
    cr_assert_eq(sigtimedwait(&theirs, NULL, &at_once), SIGUSR1);
    filch_signal_close(term);
}

static int await_token(void *token)
{
    return filch_token_wait(token, T_LIMIT);
}

/* In a process of its own, which must die of the second one. */
static void be_shut_down(void)
{
    filch_shutdown_signals *shutdown;
    filch_token *token;

    T_OK(filch_token_new(&token));
    T_OK(filch_shutdown_signals_open(token, &shutdown));
    kill(getpid(), SIGTERM);
    T_OK(run_in_runtime(0, await_token, token));
    T_IS(filch_token_cause(token, NULL), -EINTR);
    kill(getpid(), SIGINT);
    for (;;)
        pause();
}

Test(signal_api, the_first_asks_to_end_and_the_second_ends)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        be_shut_down();
        _exit(1);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status));
    cr_assert_eq(WTERMSIG(status), SIGINT);
}

/* What a fork inherits is the handler, and that does what was done before. */
Test(signal_api, in_the_child_of_a_fork_the_old_action_takes_place)
{
    filch_signal *s;
    int status = 0;
    pid_t child;

    if (T_THREAD_SANITIZER)
        cr_skip_test("ThreadSanitizer raises no signal within a handler of a forked child");
    cr_assert_eq(filch_signal_open(SIGTERM, &s), 0);
    child = fork();
    if (child == 0) {
        raise(SIGTERM);
        _exit(1);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status));
    cr_assert_eq(WTERMSIG(status), SIGTERM);
    cr_assert_eq(filch_signal_wait(s, NULL, FILCH_NOW), -ETIMEDOUT);
    filch_signal_close(s);
}

static atomic_bool enough;

static void *send_signals(void *arg)
{
    (void)arg;
    while (!atomic_load(&enough))
        kill(getpid(), SIGUSR1);
    return NULL;
}

/* Opens and closes race with signals that come all the time. */
Test(signal_api, opens_and_closes_in_a_storm)
{
    struct sigaction host = {.sa_handler = host_handler};
    filch_signal *s;
    pthread_t thread;

    sigaction(SIGUSR1, &host, NULL);
    pthread_create(&thread, NULL, send_signals, NULL);
    for (int i = 0; i < 200; i++) {
        cr_assert_eq(filch_signal_open(SIGUSR1, &s), 0);
        cr_assert_eq(filch_signal_wait(s, NULL, T_LIMIT), 0);
        filch_signal_close(s);
    }
    atomic_store(&enough, true);
    pthread_join(thread, NULL);
}
