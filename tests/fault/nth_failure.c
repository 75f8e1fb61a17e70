/* Fails the n-th call of each function that filch depends on, once and for good, in whole life
 * cycles: start, work, shut down. Whatever fails, the process must get an error that the headers
 * name, hang nowhere, and leave no descriptor and no allocation behind.
 *
 *     parent: for each scenario, function, n, mode
 *         child: arm the fault, run the scenario, compare what is left; the exit status is the
 * verdict
 *
 * The scenario is run once without a fault first, to learn how often it calls what.
 *
 *     nth_failure [RUNS [SEED]]     some RUNS of the faults of each scenario, by chance
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

#include "tests/fault/scenarios.h"
#include "tests/fault/wrap.h"

#define CHILD_SECONDS 60
/* Later calls are more of the same. */
#define CALLS_MAX 40

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

/* What the headers name for a lack of something; ECANCELED and EPIPE are what the other side of a
 * failed operation sees, ECONNRESET and 0 bytes as well. */
static bool is_documented(int error)
{
    static const int known[] = {0,          ENOMEM,    EMFILE,       ENFILE,       EAGAIN, ENOBUFS,
                                EADDRINUSE, ETIMEDOUT, ECANCELED,    ECONNRESET,   EPIPE,  EPERM,
                                ENOSYS,     EINVAL,    ECONNREFUSED, ECONNABORTED, EIO,    EPROTO,
                                ESHUTDOWN};

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

static void child(const struct scenario *scenario)
{
    int descriptors = count_descriptors();
    long allocations = fault_live_allocations();

    alarm(CHILD_SECONDS);
    report->shutdown = scenario->life(scenario);
    report->error = scenario_error();
    report->happened = fault_happened();
    report->leaked_allocations = fault_live_allocations() - allocations;
    report->leaked_descriptors = count_descriptors() - descriptors;
    for (int i = 0; i < FAULT_N; i++)
        report->calls[i] = fault_calls(i);
    _exit(0);
}

/* On a loaded machine without any fault, too. */
static bool is_late(int error)
{
    return error == 0 || error == -ETIMEDOUT || error == -ECANCELED;
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
        child(scenario);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        perror("nth_failure: fork");
        exit(2);
    }
    errors_seen += report->error != 0;
    if (status == 0 && report->shutdown == 0 && report->leaked_allocations <= pooled_allocations &&
        report->leaked_descriptors == 0 && is_documented(report->error) &&
        (report->happened || function == FAULT_N || is_late(report->error)))
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
    case FAULT_epoll_create1:
    case FAULT_timerfd_create:
    case FAULT_socket:
    case FAULT_socketpair:
    case FAULT_pipe2:
    case FAULT_accept4:
        ret_errors[0] = EMFILE;
        ret_errors[1] = ENOBUFS;
        break;
    case FAULT_pthread_create:
    case FAULT_posix_spawnp:
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

/* How many of a thousand faults are tried. */
static unsigned per_mille = 1000;
static unsigned seed;

static bool is_chosen(void)
{
    return per_mille >= 1000 || (unsigned)rand_r(&seed) % 1000 < per_mille;
}

/* EINTR is no answer for ever. */
static int modes_of(enum fault_function function, int error)
{
    return function != FAULT_io_uring_enter2 && error != EINTR ? 2 : 1;
}

static unsigned calls_of(unsigned calls)
{
    return calls < CALLS_MAX ? calls : CALLS_MAX;
}

/* Of @runs_max faults of the scenario that are wanted. */
static void choose(const unsigned *calls, unsigned runs_max)
{
    unsigned long all = 0;

    for (int f = 0; f < FAULT_N; f++) {
        int errors[3];

        errors_of(f, errors);
        for (int i = 0; i < 3 && errors[i]; i++)
            all += calls_of(calls[f]) * (unsigned)modes_of(f, errors[i]);
    }
    per_mille = all <= runs_max ? 1000 : (unsigned)(1000ul * runs_max / all);
}

static void run_function(const struct scenario *scenario, enum fault_function function,
                         unsigned calls, unsigned *runs, unsigned *failed)
{
    int errors[3];

    errors_of(function, errors);
    for (unsigned nth = 1; nth <= calls_of(calls); nth++)
        for (int i = 0; i < 3 && errors[i]; i++)
            for (int always = 0; always < modes_of(function, errors[i]); always++) {
                if (!is_chosen())
                    continue;
                ++*runs;
                *failed += !run(scenario, function, nth, always, errors[i]);
            }
}

int main(int argc, char **argv)
{
    unsigned runs_max = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : UINT_MAX;
    unsigned runs = 0, failed = 0;

    seed = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : (unsigned)getpid();
    if (runs_max != UINT_MAX)
        printf("seed %u\n", seed);
    scenarios_prepare();

    signal(SIGPIPE, SIG_DFL);
    report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (report == MAP_FAILED)
        return 2;
    for (unsigned s = 0; s < scenarios_count; s++) {
        unsigned calls[FAULT_N], before = runs, before_errors = errors_seen;

        pooled_allocations = LONG_MAX;
        if (!run(&scenarios[s], FAULT_N, 0, false, 0) || report->error) {
            fprintf(stderr, "%s: without a fault: error %d\n", scenarios[s].name, report->error);
            return 1;
        }
        pooled_allocations = report->leaked_allocations;
        memcpy(calls, report->calls, sizeof calls);
        choose(calls, runs_max);
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
