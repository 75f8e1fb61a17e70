/* Fails the n-th call of each function that filch depends on, once and for good, in whole life
 * cycles: start, work, shut down. Whatever fails, the process must get an error that the headers
 * name, hang nowhere, and leave no descriptor and no allocation behind.
 *
 *     parent: for each scenario, function, n, mode
 *         child: arm the fault, run the scenario, compare what is left; the exit status is the
 * verdict
 *
 * The scenario is run once without a fault first, to learn how often it calls what.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filch/filch.h>

#include "tests/fault/wrap.h"

#define LIMIT filch_after(3 * FILCH_SECOND)
#define CHILD_SECONDS 60
/* Later calls are more of the same. */
#define CALLS_MAX 40

/* Errors of a scenario are remembered, and it cleans up and goes on as a program would. */
static _Atomic int first_error;

static bool ok(int r)
{
    int none = 0;

    if (r < 0)
        __atomic_compare_exchange_n((int *)&first_error, &none, r, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
    return r >= 0;
}

/* ---- scenarios: bodies of the first task ---- */

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

#define MANY 200

static int spawns(void *arg)
{
    filch_task *task[MANY] = {0};
    filch_task_opts by_copy = {.copy_bytes = sizeof(int)};

    (void)arg;
    for (int i = 0; i < MANY; i++)
        ok(filch_task_spawn(nothing, &i, i % 4 ? NULL : &by_copy, &task[i]));
    for (int i = 0; i < MANY; i++)
        if (task[i])
            ok(filch_task_join(task[i], NULL, FILCH_NEVER));
    return 0;
}

static int in_scope(void *arg)
{
    (void)arg;
    FILCH_SCOPE(scope);
    for (int i = 0; i < MANY; i++)
        ok(filch_scope_spawn(&scope, nothing, NULL));
    ok(filch_scope_join(&scope, FILCH_NEVER));
    return 0;
}

static int sleeps_shortly(void *arg)
{
    (void)arg;
    ok(filch_sleep(FILCH_MILLISECOND));
    return 0;
}

static int sleeps(void *arg)
{
    (void)arg;
    FILCH_SCOPE(scope);
    for (int i = 0; i < 20; i++)
        ok(filch_scope_spawn(&scope, sleeps_shortly, NULL));
    ok(filch_scope_join(&scope, FILCH_NEVER));
    return 0;
}

static int sends(void *arg)
{
    for (long i = 0; i < 300; i++)
        if (!ok(filch_chan_send(arg, &i, FILCH_NEVER)))
            break;
    filch_chan_close(arg);
    return 0;
}

static void through_channel(size_t capacity)
{
    filch_chan *chan;
    long msg;

    if (!ok(filch_chan_new(sizeof msg, capacity, &chan)))
        return;
    FILCH_SCOPE(scope);
    if (!ok(filch_scope_spawn(&scope, sends, chan)))
        filch_chan_close(chan);
    while (filch_chan_recv(chan, &msg, FILCH_NEVER) == 0)
        ;
    ok(filch_scope_join(&scope, FILCH_NEVER));
    filch_chan_unref(chan);
}

static int channels(void *arg)
{
    (void)arg;
    through_channel(4);
    through_channel(FILCH_CHAN_UNBOUNDED);
    return 0;
}

static int blocks(void *arg)
{
    filch_task *job[20] = {0};

    (void)arg;
    for (int i = 0; i < 20; i++)
        ok(filch_blocking_spawn(nothing, NULL, NULL, &job[i]));
    for (int i = 0; i < 20; i++)
        if (job[i])
            ok(filch_task_join(job[i], NULL, FILCH_NEVER));
    return 0;
}

static int echoes(void *arg)
{
    filch_listener *listener = arg;
    filch_tcp *conn;
    char buf[64];
    ssize_t n;

    if (!ok(filch_listener_accept(listener, &conn, LIMIT)))
        return 0;
    while ((n = filch_tcp_read(conn, buf, sizeof buf, LIMIT)) > 0)
        if (!ok(filch_tcp_write_all(conn, buf, (size_t)n, NULL, LIMIT)))
            break;
    ok((int)n);
    filch_tcp_close(conn);
    return 0;
}

static void talk(const char *addr)
{
    filch_tcp *conn;
    char buf[8];

    if (!ok(filch_tcp_connect(addr, &conn, LIMIT)))
        return;
    for (int i = 0; i < 5; i++)
        if (!ok(filch_tcp_write_all(conn, "message", 8, NULL, LIMIT)) ||
            !ok(filch_tcp_read_exact(conn, buf, 8, NULL, LIMIT)))
            break;
    filch_tcp_close(conn);
}

static int tcp(void *arg)
{
    filch_listener *listener;
    char addr[FILCH_ADDR_BYTES];

    (void)arg;
    if (!ok(filch_listener_open("127.0.0.1:0", NULL, &listener)))
        return 0;
    FILCH_SCOPE(scope);
    if (ok(filch_listener_addr(listener, addr)) &&
        ok(filch_scope_spawn(&scope, echoes, listener))) {
        talk(addr);
        /* If connecting failed, the other side waits in accept. */
        if (first_error)
            filch_scope_cancel(&scope);
    }
    ok(filch_scope_join(&scope, FILCH_NEVER));
    filch_listener_close(listener);
    return 0;
}

struct scenario {
    const char *name;
    filch_fn fn;
};

static const struct scenario scenarios[] = {
    {"start", nothing},    {"spawn", spawns},    {"scope", in_scope}, {"sleep", sleeps},
    {"channel", channels}, {"blocking", blocks}, {"tcp", tcp},
};
#define SCENARIOS (sizeof scenarios / sizeof scenarios[0])

/* ---- one run, in a child ---- */

static int count_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n;
}

static int life(filch_fn fn)
{
    filch_runtime_opts opts = {.workers = 2};
    filch_runtime *rt;

    if (!ok(filch_runtime_start(&opts, &rt)))
        return 0;
    ok(filch_runtime_block_on(rt, fn, NULL, NULL, FILCH_NEVER));
    return filch_runtime_shutdown(rt, filch_after(20 * FILCH_SECOND));
}

/* What the headers name for a lack of something; ECANCELED and EPIPE are what the other side of a
 * failed operation sees, ECONNRESET and 0 bytes as well. */
static bool is_documented(int error)
{
    static const int known[] = {0,          ENOMEM,    EMFILE,       ENFILE,       EAGAIN, ENOBUFS,
                                EADDRINUSE, ETIMEDOUT, ECANCELED,    ECONNRESET,   EPIPE,  EPERM,
                                ENOSYS,     EINVAL,    ECONNREFUSED, ECONNABORTED, EIO};

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (error == -known[i])
            return true;
    return false;
}

/* Shared with the parent. */
struct report {
    unsigned calls[FAULT_N];
    bool happened;
    int error;
    long leaked_allocations;
    int leaked_descriptors;
    int shutdown;
};

static struct report *report;

/* What a run without a fault leaves: the pools of the process, which are never given back. */
static long pooled_allocations;

static void child(filch_fn fn)
{
    int descriptors = count_descriptors();
    long allocations = fault_live_allocations();

    alarm(CHILD_SECONDS);
    report->shutdown = life(fn);
    report->error = first_error;
    report->happened = fault_happened();
    report->leaked_allocations = fault_live_allocations() - allocations;
    report->leaked_descriptors = count_descriptors() - descriptors;
    for (int i = 0; i < FAULT_N; i++)
        report->calls[i] = fault_calls(i);
    _exit(0);
}

/* Runs in which a call of the scenario gave an error: the others got round the fault. */
static unsigned errors_seen;

/* Return: was all as it should be? */
static bool run(const struct scenario *scenario, enum fault_function function, unsigned nth,
                bool always, int error)
{
    const char *name = function == FAULT_N ? "nothing" : fault_names[function];
    int status;
    pid_t pid;

    memset(report, 0, sizeof *report);
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        fault_arm(function, nth, always, error);
        child(scenario->fn);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        perror("nth_failure: fork");
        exit(2);
    }
    errors_seen += report->error != 0;
    if (status == 0 && report->shutdown == 0 && report->leaked_allocations <= pooled_allocations &&
        report->leaked_descriptors == 0 && is_documented(report->error) &&
        (report->happened || function == FAULT_N || !report->error))
        return true;
    fprintf(stderr,
            "FAIL %s, %s call %u %s with %s: status %#x, error %d, shutdown %d, left behind %ld "
            "allocations, %d descriptors\n",
            scenario->name, name, nth, always ? "and later" : "once", strerror(error), status,
            report->error, report->shutdown, report->leaked_allocations,
            report->leaked_descriptors);
    return false;
}

/* With which error a function fails. The second one is tried as well. */
static void errors_of(enum fault_function function, int ret_errors[3])
{
    ret_errors[1] = ret_errors[2] = 0;
    switch (function) {
    case FAULT_eventfd:
    case FAULT_socket:
    case FAULT_accept4:
        ret_errors[0] = EMFILE;
        ret_errors[1] = ENOBUFS;
        break;
    case FAULT_pthread_create:
        ret_errors[0] = EAGAIN;
        break;
    case FAULT_bind:
    case FAULT_listen:
        ret_errors[0] = EADDRINUSE;
        break;
    case FAULT_connect:
        ret_errors[0] = ECONNREFUSED;
        break;
    case FAULT_send:
    case FAULT_recv:
        ret_errors[0] = ECONNRESET;
        ret_errors[1] = EINTR;
        ret_errors[2] = EAGAIN;
        break;
    case FAULT_setsockopt:
    case FAULT_getsockname:
        ret_errors[0] = ENOBUFS;
        break;
    case FAULT_io_uring_queue_init_params:
        ret_errors[0] = ENOMEM;
        ret_errors[1] = EMFILE;
        ret_errors[2] = EPERM;
        break;
    case FAULT_io_uring_register_ring_fd:
        ret_errors[0] = EINVAL;
        break;
    case FAULT_io_uring_enter2:
        ret_errors[0] = EINTR;
        ret_errors[1] = EAGAIN;
        ret_errors[2] = EBUSY;
        break;
    default:
        ret_errors[0] = ENOMEM;
        break;
    }
}

static void run_function(const struct scenario *scenario, enum fault_function function,
                         unsigned calls, unsigned *runs, unsigned *failed)
{
    int errors[3];

    errors_of(function, errors);
    if (calls > CALLS_MAX)
        calls = CALLS_MAX;
    for (unsigned nth = 1; nth <= calls; nth++)
        for (int i = 0; i < 3 && errors[i]; i++)
            /* The kernel does not answer EINTR for ever. */
            for (int always = 0;
                 always <= (function != FAULT_io_uring_enter2 && errors[i] != EINTR); always++) {
                ++*runs;
                *failed += !run(scenario, function, nth, always, errors[i]);
            }
}

int main(void)
{
    unsigned runs = 0, failed = 0;

    signal(SIGPIPE, SIG_DFL);
    report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (report == MAP_FAILED)
        return 2;
    for (size_t s = 0; s < SCENARIOS; s++) {
        unsigned calls[FAULT_N], before = runs, before_errors = errors_seen;

        pooled_allocations = LONG_MAX;
        if (!run(&scenarios[s], FAULT_N, 0, false, 0) || report->error)
            return 1;
        pooled_allocations = report->leaked_allocations;
        memcpy(calls, report->calls, sizeof calls);
        for (int f = 0; f < FAULT_N; f++)
            run_function(&scenarios[s], f, calls[f], &runs, &failed);
        printf("%-10s %u faults, %u of them seen by the program\n", scenarios[s].name,
               runs - before, errors_seen - before_errors);
    }
    printf("%u faults, %u seen, %u failed\n", runs, errors_seen, failed);
    if (!errors_seen)
        return 1; /* the wrappers were not linked in */
    return failed ? 1 : 0;
}
