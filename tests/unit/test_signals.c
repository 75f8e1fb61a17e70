/* Description: signals. Ten thousand a second disturb nothing, wherever their handler runs, nor do
 * several at once on all threads; the
 * runtime's threads leave the host's signals alone; a stopped process goes on; nothing raises
 * SIGPIPE. */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include <filch/signal.h>

#include "tests/runner/tcp_pair.h"

#define PERIOD_US 100
#define MESSAGES 300
#define SIGNALS_WANTED 1000

TestSuite(signals, .timeout = 60);

static atomic_long on_host, on_runtime;
static __thread int is_runtime_thread __attribute__((tls_model("initial-exec")));

static void count_signal(int number)
{
    int saved = errno;

    (void)number;
    atomic_fetch_add(is_runtime_thread ? &on_runtime : &on_host, 1);
    errno = saved;
}

static void mark_thread(void *unblock)
{
    sigset_t set;

    is_runtime_thread = 1;
    if (!unblock)
        return;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    T_OK(pthread_sigmask(SIG_UNBLOCK, &set, NULL));
}

static void every(long us)
{
    struct itimerval timer = {{0, us}, {0, us}};

    T_OK(setitimer(ITIMER_REAL, &timer, NULL));
}

static void handle_alarm(void)
{
    struct sigaction action = {.sa_handler = count_signal}; /* no SA_RESTART */

    T_OK(sigaction(SIGALRM, &action, NULL));
}

static filch_runtime *start_marked(bool unblock)
{
    filch_runtime_opts opts = {
        .workers = test_workers(),
        .on_thread_start = mark_thread,
        .hook_arg = unblock ? &on_host : NULL,
    };
    filch_runtime *rt;

    T_OK(filch_runtime_start(&opts, &rt));
    return rt;
}

static int return_arg(void *arg)
{
    return (int)(intptr_t)arg;
}

static int send_all(void *arg)
{
    for (int i = 0; i < MESSAGES; i++)
        T_OK(filch_chan_send(arg, &i, T_LIMIT));
    return 0;
}

static int recv_all(void *arg)
{
    for (int i = 0, got; i < MESSAGES; i++) {
        T_OK(filch_chan_recv(arg, &got, T_LIMIT));
        T_IS(got, i);
    }
    return 0;
}

static int echo(void *arg)
{
    char buf[64];
    ssize_t n;

    while ((n = filch_tcp_read(arg, buf, sizeof buf, T_LIMIT)) > 0)
        T_OK(filch_tcp_write_all(arg, buf, (size_t)n, NULL, T_LIMIT));
    T_IS(n, 0);
    return 0;
}

static void talk(filch_tcp *conn)
{
    for (int i = 0; i < MESSAGES; i++) {
        char sent[16] = {0}, got[16];

        snprintf(sent, sizeof sent, "message %d", i);
        T_OK(filch_tcp_write_all(conn, sent, sizeof sent, NULL, T_LIMIT));
        T_OK(filch_tcp_read_exact(conn, got, sizeof got, NULL, T_LIMIT));
        T_OK(memcmp(sent, got, sizeof sent));
    }
}

static int poll_a_pipe(void *arg)
{
    (void)arg;
    return usleep(1000) < 0 && errno != EINTR ? -errno : 0;
}

/* One round of everything, in a task. */
static int do_everything(void *arg)
{
    struct tcp_pair pair;
    filch_chan *chan;
    filch_task *task[3], *job;

    (void)arg;
    for (intptr_t i = 0; i < MESSAGES; i++)
        T_IS(join(spawn(return_arg, (void *)i)), i);
    T_OK(filch_chan_new(sizeof(int), 2, &chan));
    connect_pair(&pair);
    task[0] = spawn(send_all, chan);
    task[1] = spawn(recv_all, chan);
    task[2] = spawn(echo, pair.server);
    T_OK(filch_blocking_spawn(poll_a_pipe, NULL, NULL, &job));
    talk(pair.client);
    for (int i = 0; i < 5; i++) {
        filch_time until = filch_after(300 * FILCH_MICROSECOND);

        T_OK(filch_sleep(until));
        T_CHECK(filch_now() >= until);
    }
    T_OK(filch_tcp_shutdown_write(pair.client));
    for (int i = 0; i < 3; i++)
        T_OK(join(task[i]));
    T_OK(join(job));
    close_pair(&pair);
    filch_chan_unref(chan);
    return 0;
}

/* The same from a plain thread, which waits in system calls of its own. */
static int listen_and_echo(void *arg)
{
    struct tcp_pair *pair = arg;

    T_OK(filch_listener_accept(pair->listener, &pair->server, T_LIMIT));
    return echo(pair->server);
}

static void do_everything_here(filch_runtime *rt)
{
    struct tcp_pair pair;
    filch_task *task;

    listen_any(&pair);
    T_OK(filch_runtime_spawn(rt, listen_and_echo, &pair, NULL, &task));
    T_OK(filch_tcp_connect(pair.addr, &pair.client, T_LIMIT));
    talk(pair.client);
    T_OK(filch_tcp_shutdown_write(pair.client));
    T_OK(join(task));
    T_OK(filch_sleep(filch_after(FILCH_MILLISECOND)));
    close_pair(&pair);
}

static void storm(bool on_workers)
{
    atomic_long *counter = on_workers ? &on_runtime : &on_host;
    filch_runtime *rt = start_marked(on_workers);
    sigset_t set;
    int result;

    handle_alarm();
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    if (on_workers) /* all of them are for the runtime's threads then */
        T_OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
    every(PERIOD_US);
    do {
        T_OK(filch_runtime_block_on(rt, do_everything, NULL, &result, FILCH_NEVER));
        T_OK(result);
        do_everything_here(rt);
    } while (atomic_load(counter) < SIGNALS_WANTED);
    stop_runtime(rt); /* and its end, too */
    for (int i = 0; i < 10; i++)
        stop_runtime(start_marked(on_workers));
    every(0);
}

Test(signals, ten_thousand_a_second_on_the_hosts_threads)
{
    storm(false);
    cr_assert_eq(on_runtime, 0); /* they never ran there */
}

Test(signals, ten_thousand_a_second_on_the_runtimes_threads)
{
    storm(true);
}

/* ---- several signals at once, to the process and to each of its threads ---- */

static const int storm_signals[] = {SIGTERM, SIGCHLD, SIGUSR1, SIGUSR2};
#define STORM_SIGNALS ((int)(sizeof storm_signals / sizeof *storm_signals))
#define STORM_EACH T_MANY(3000)

static atomic_long storm_seen[STORM_SIGNALS], storm_on_runtime;
static atomic_bool storm_is_over;

static void count_storm(int number)
{
    int saved = errno;

    for (int i = 0; i < STORM_SIGNALS; i++)
        if (number == storm_signals[i])
            atomic_fetch_add(&storm_seen[i], 1);
    if (is_runtime_thread)
        atomic_fetch_add(&storm_on_runtime, 1);
    errno = saved;
}

static void mark_and_unblock_all(void *arg)
{
    sigset_t set;

    (void)arg;
    is_runtime_thread = 1;
    sigemptyset(&set);
    for (int i = 0; i < STORM_SIGNALS; i++)
        sigaddset(&set, storm_signals[i]);
    T_OK(pthread_sigmask(SIG_UNBLOCK, &set, NULL));
}

/* To each thread that there is, and to the process. One that ends meanwhile is no error. */
static void *storms(void *arg)
{
    (void)arg;
    while (!atomic_load(&storm_is_over)) {
        DIR *dir = opendir("/proc/self/task");
        struct dirent *entry;

        T_CHECK(dir != NULL);
        while ((entry = readdir(dir)))
            for (int i = 0; i < STORM_SIGNALS && entry->d_name[0] != '.'; i++)
                syscall(SYS_tgkill, getpid(), atoi(entry->d_name), storm_signals[i]);
        closedir(dir);
        for (int i = 0; i < STORM_SIGNALS; i++)
            T_OK(kill(getpid(), storm_signals[i]));
        sched_yield();
    }
    return NULL;
}

static bool storm_was_seen(void)
{
    for (int i = 0; i < STORM_SIGNALS; i++)
        if (atomic_load(&storm_seen[i]) < STORM_EACH)
            return false;
    return true;
}

/* SIGUSR2 is ours in the middle of it, and the host's again afterwards. */
static void take_one_over(void)
{
    struct sigaction now;
    filch_signal *signal;
    int number;
    long seen;

    T_OK(filch_signal_open(SIGUSR2, &signal));
    for (int i = 0; i < 20; i++) {
        T_OK(filch_signal_wait(signal, &number, T_LIMIT));
        T_IS(number, SIGUSR2);
    }
    filch_signal_close(signal);
    T_OK(sigaction(SIGUSR2, NULL, &now));
    T_CHECK(now.sa_handler == count_storm);
    seen = atomic_load(&storm_seen[STORM_SIGNALS - 1]);
    T_WAIT_UNTIL(atomic_load(&storm_seen[STORM_SIGNALS - 1]) > seen);
}

Test(signals, storms_of_several_signals_on_all_threads)
{
    struct sigaction action = {.sa_handler = count_storm}; /* no SA_RESTART */
    filch_runtime_opts opts = {.workers = test_workers(), .on_thread_start = mark_and_unblock_all};
    filch_runtime *rt;
    pthread_t thread;
    int result;

    for (int i = 0; i < STORM_SIGNALS; i++)
        T_OK(sigaction(storm_signals[i], &action, NULL));
    T_OK(filch_runtime_start(&opts, &rt));
    T_OK(pthread_create(&thread, NULL, storms, NULL));
    do {
        T_OK(filch_runtime_block_on(rt, do_everything, NULL, &result, FILCH_NEVER));
        T_OK(result);
        do_everything_here(rt);
        take_one_over();
    } while (!storm_was_seen());
    stop_runtime(rt);
    atomic_store(&storm_is_over, true);
    T_OK(pthread_join(thread, NULL));
    cr_assert(atomic_load(&storm_on_runtime) > 0);
}

/* A host may cancel its threads where they wait in filch if they have turned that off for the call:
 * the call ends as it would have, and the thread after it. */
static __attribute__((noinline)) void reads_one(struct tcp_pair *pair)
{
    char byte;

    T_OK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL));
    atomic_fetch_add(&on_host, 1);
    T_IS(filch_tcp_read(pair->server, &byte, 1, T_LIMIT), 1);
    T_OK(filch_sleep(filch_after(FILCH_MILLISECOND)));
    T_OK(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL));
}

/* What a cancel unwinds has no variables in memory: clang's AddressSanitizer would go on guarding
 * them. */
static void *reads_and_ends(void *arg)
{
    reads_one(arg);
    pthread_testcancel();
    return NULL;
}

Test(signals, thread_that_is_cancelled_after_its_call)
{
    struct tcp_pair pair;
    pthread_t thread;
    void *ret;

    connect_pair(&pair);
    T_OK(pthread_create(&thread, NULL, reads_and_ends, &pair));
    T_WAIT_UNTIL(atomic_load(&on_host) == 1);
    T_OK(pthread_cancel(thread));
    T_OK(filch_tcp_write_all(pair.client, "x", 1, NULL, T_LIMIT));
    T_OK(pthread_join(thread, &ret));
    cr_assert(ret == PTHREAD_CANCELED);
    close_pair(&pair); /* nobody is in it any more, or this would wait */
}

/* Connections to a listener whose queue is full, so that a further one has to wait. */
#define QUEUED 4

static void fill_queue(int *ret_listener, int *queued, char *ret_addr)
{
    *ret_listener = raw_bind(ret_addr);
    T_OK(listen(*ret_listener, 0));
    for (int i = 0; i < QUEUED; i++) {
        struct sockaddr_in addr = raw_addr(ret_addr);

        queued[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        T_CHECK(queued[i] >= 0);
        T_CHECK(connect(queued[i], (struct sockaddr *)&addr, sizeof addr) == 0 ||
                errno == EINPROGRESS);
    }
}

/* A wait that is interrupted goes on: nothing has been established. */
Test(signals, plain_thread_that_connects_is_not_deceived_by_them)
{
    int listener, queued[QUEUED];
    char addr[FILCH_ADDR_BYTES];
    filch_tcp *conn = NULL;

    fill_queue(&listener, queued, addr);
    handle_alarm();
    every(PERIOD_US);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(filch_tcp_connect(addr, &conn, filch_after(10 * FILCH_MILLISECOND)),
                     -ETIMEDOUT);
    every(0);
    cr_assert(on_host > 0);
    cr_assert_null(conn);
    for (int i = 0; i < QUEUED; i++)
        close(queued[i]);
    close(listener);
}

static int look_at_mask(void *arg)
{
    static const int blocked[] = {SIGTERM, SIGINT,  SIGHUP,  SIGCHLD, SIGALRM,
                                  SIGUSR1, SIGUSR2, SIGPIPE, SIGPROF, SIGURG};
    static const int open[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    sigset_t mask;

    (void)arg;
    T_OK(pthread_sigmask(SIG_SETMASK, NULL, &mask));
    for (size_t i = 0; i < sizeof blocked / sizeof *blocked; i++)
        T_IS(sigismember(&mask, blocked[i]), 1);
    for (size_t i = 0; i < sizeof open / sizeof *open; i++)
        T_IS(sigismember(&mask, open[i]), 0);
    return 0;
}

Test(signals, runtimes_threads_block_all_but_faults_and_their_creator_nothing)
{
    filch_runtime *rt = start_runtime_with_threads(0);
    filch_task *job;
    sigset_t before, after;

    T_OK(pthread_sigmask(SIG_SETMASK, NULL, &before));
    T_OK(filch_runtime_block_on(rt, look_at_mask, NULL, NULL, FILCH_NEVER));
    T_OK(filch_runtime_blocking_spawn(rt, look_at_mask, NULL, NULL, &job));
    T_OK(join(job));
    T_OK(pthread_sigmask(SIG_SETMASK, NULL, &after));
    for (int i = 1; i < SIGRTMAX; i++)
        cr_assert_eq(sigismember(&before, i), sigismember(&after, i));
    stop_runtime(rt);
}

/* Sent to the process while only runtime threads and one host thread are there: the host gets it.
 */
Test(signals, signal_to_the_process_is_handled_on_a_thread_of_the_host)
{
    filch_runtime *rt = start_marked(false);

    handle_alarm();
    for (int i = 0; i < 100; i++) {
        T_OK(kill(getpid(), SIGALRM));
        T_WAIT_UNTIL(atomic_load(&on_host) == i + 1);
    }
    cr_assert_eq(on_runtime, 0);
    stop_runtime(rt);
}

/* Stops its parent for a moment, again and again, until it is told to end. */
static pid_t fork_stopper(void)
{
    pid_t parent = getpid();
    pid_t child = fork();

    T_CHECK(child >= 0);
    if (child)
        return child;
    for (int i = 0; i < 20; i++) {
        kill(parent, SIGSTOP);
        usleep(2000); /* how long it stands still; nothing depends on it */
        kill(parent, SIGCONT);
        usleep(2000);
    }
    _exit(0);
}

Test(signals, process_that_is_stopped_and_continued_goes_on)
{
    pid_t stopper = fork_stopper(); /* before there is any thread */
    filch_runtime *rt = start_runtime(0);
    int status, result;
    pid_t ended;

    do {
        T_OK(filch_runtime_block_on(rt, do_everything, NULL, &result, FILCH_NEVER));
        T_OK(result);
        ended = waitpid(stopper, &status, WNOHANG);
    } while (ended == 0);
    cr_assert_eq(ended, stopper);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    stop_runtime(rt);
}

/* SIGPIPE has its default action, which is to end the process. */
static int write_to_nobody(void *arg)
{
    struct tcp_pair pair;
    char junk[4096] = {0};
    ssize_t n;

    T_CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    connect_pair(&pair);
    T_OK(filch_tcp_close(pair.server));
    do {
        if (arg) /* a busy queue: writes go through the ring */
            for (int i = 0; i < 8; i++)
                T_OK(filch_spawn(return_arg, NULL));
        n = filch_tcp_write(pair.client, junk, sizeof junk, T_LIMIT);
    } while (n > 0);
    T_CHECK(n == -EPIPE || n == -ECONNRESET);
    T_IS(filch_tcp_write(pair.client, junk, sizeof junk, T_LIMIT), -EPIPE);
    T_OK(filch_tcp_close(pair.client));
    T_OK(filch_listener_close(pair.listener));
    return 0;
}

static int unblock_sigpipe_and_write(void *arg)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    T_OK(pthread_sigmask(SIG_UNBLOCK, &set, NULL));
    return write_to_nobody(arg);
}

Test(signals, writing_to_a_closed_connection_is_an_error_not_a_signal)
{
    cr_assert_eq(run_in_runtime(1, unblock_sigpipe_and_write, NULL), 0);
    cr_assert_eq(run_in_runtime(1, unblock_sigpipe_and_write, (void *)1), 0);
    cr_assert_eq(unblock_sigpipe_and_write(NULL), 0); /* from a plain thread */
}
