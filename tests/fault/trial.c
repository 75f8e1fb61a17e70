/* See trial.h. */
#include "tests/fault/trial.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_SECONDS 60
#define ORPHAN_SECONDS 5
#define DESCRIPTORS_MAX 1024

/* Shared with the children. */
static struct trial_report *report;

/* What a run without a fault leaves: the pools of the process, which are never given back. */
static long pooled_allocations;

static unsigned errors_seen;

void trial_prepare(void)
{
    scenarios_prepare();
    signal(SIGPIPE, SIG_DFL);
    report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (report == MAP_FAILED) {
        perror("mmap");
        exit(2);
    }
}

/* By numbers: a search of /proc would be calls that are counted. */
static int count_descriptors(void)
{
    int n = 0;

    for (int fd = 0; fd < DESCRIPTORS_MAX; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
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

/* A child process that was given up is collected by a thread that ends by itself. */
static void wait_for_orphans(int descriptors, long allocations)
{
    filch_time limit = filch_after(ORPHAN_SECONDS * FILCH_SECOND);

    while ((count_descriptors() > descriptors ||
            fault_live_allocations() > allocations + pooled_allocations) &&
           filch_now() < limit)
        sched_yield();
}

static void child(const struct scenario *scenario, const struct fault *fault)
{
    int descriptors = count_descriptors();
    long allocations = fault_live_allocations();

    alarm(CHILD_SECONDS);
    if (fault)
        fault->arm(fault);
    report->shutdown = scenario->life(scenario);
    report->error = scenario_error();
    report->happened = fault && fault->happened();
    if (fault)
        wait_for_orphans(descriptors, allocations);
    report->leaked_allocations = fault_live_allocations() - allocations;
    report->leaked_descriptors = count_descriptors() - descriptors;
    for (int i = 0; i < FAULT_N; i++) {
        report->calls[i] = fault_calls(i);
        report->calls_of_start[i] = scenario->start_too ? 0 : fault_calls_of_start(i);
    }
    _exit(0);
}

/* On a loaded machine without any fault, too. */
static bool is_late(int error)
{
    return error == 0 || error == -ETIMEDOUT || error == -ECANCELED;
}

static bool is_good(const struct fault *fault, int status)
{
    int error = report->error;

    return status == 0 && report->shutdown == 0 &&
           report->leaked_allocations <= pooled_allocations && report->leaked_descriptors == 0 &&
           (is_documented(error) || (fault && error == -fault->error)) &&
           (report->happened || !fault || is_late(error));
}

bool trial_run(const struct scenario *scenario, const struct fault *fault)
{
    int status;
    pid_t pid;

    memset(report, 0, sizeof *report);
    fflush(NULL);
    pid = fork();
    if (pid == 0)
        child(scenario, fault);
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        perror("fork");
        exit(2);
    }
    errors_seen += report->error != 0;
    if (is_good(fault, status))
        return true;
    fprintf(stderr,
            "FAIL %s, %s %u %s with %d (%s): status %#x, error %d, shutdown %d, left behind %ld "
            "allocations, %d descriptors\n",
            scenario->name, fault ? fault->name : "nothing", fault ? fault->nth : 0,
            fault && fault->always ? "and later" : "once", fault ? fault->error : 0,
            strerror(fault ? fault->error : 0), status, report->error, report->shutdown,
            report->leaked_allocations, report->leaked_descriptors);
    return false;
}

bool trial_count(const struct scenario *scenario, struct trial_report *ret_counted)
{
    pooled_allocations = LONG_MAX;
    if (!trial_run(scenario, NULL) || report->error) {
        fprintf(stderr, "%s: without a fault: error %d\n", scenario->name, report->error);
        return false;
    }
    pooled_allocations = report->leaked_allocations;
    *ret_counted = *report;
    return true;
}

bool trial_happened(void)
{
    return report->happened;
}

unsigned trial_errors_seen(void)
{
    return errors_seen;
}
