/* Fails the n-th call of each function that filch depends on, once and for good, in whole life
 * cycles: start, work, shut down. Whatever fails, the process must get an error that the headers
 * name, hang nowhere, and leave no descriptor and no allocation behind (trial.h).
 *
 * The scenario is run once without a fault first, to learn how often it calls what.
 *
 *     nth_failure [RUNS [SEED]]     some RUNS of the faults of each scenario, by chance
 *     nth_failure calls             only prints how often the scenarios call what
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fault/trial.h"

/* Later calls are more of the same. */
#define CALLS_MAX 40

static void arm(const struct fault *fault)
{
    fault_arm(fault->which, fault->nth, fault->always, fault->error);
}

static bool run(const struct scenario *scenario, enum fault_function function, unsigned nth,
                bool always, int error)
{
    struct fault fault = {
        .name = fault_kinds[function].name,
        .which = function,
        .nth = nth,
        .always = always,
        .error = error,
        .arm = arm,
        .happened = fault_happened,
    };

    return trial_run(scenario, &fault);
}

/* How many of a thousand faults are tried. */
static unsigned per_mille = 1000;
static unsigned seed;

static bool is_chosen(void)
{
    return per_mille >= 1000 || (unsigned)rand_r(&seed) % 1000 < per_mille;
}

/* Waiting fails now and then: for ever, there is no waiting. */
static bool is_wait(enum fault_function function)
{
    switch (function) {
    case FAULT_io_uring_enter2:
    case FAULT_epoll_wait:
    case FAULT_ppoll:
    case FAULT_CALL_io_uring_register: /* a cancel, for which somebody waits */
    case FAULT_CALL_futex:
        return true;
    default:
        return false;
    }
}

/* EINTR is no answer for ever, and neither is EAGAIN of what was said to be ready. */
static int modes_of(enum fault_function function, int error)
{
    return is_wait(function) || error == EINTR || error == EAGAIN || error == ECONNABORTED ? 1 : 2;
}

/* Which calls of a function fail in a scenario. */
struct range {
    unsigned first, last;
};

static struct range range_of(const struct trial_report *counted, enum fault_function function)
{
    unsigned before = counted->calls_of_start[function];
    unsigned calls = counted->calls[function] - before;

    return (struct range){before + 1, before + (calls < CALLS_MAX ? calls : CALLS_MAX)};
}

/* Of @runs_max faults of the scenario that are wanted. */
static void choose(const struct trial_report *counted, unsigned runs_max)
{
    unsigned long all = 0;

    for (int f = 0; f < FAULT_N; f++) {
        const int *errors = fault_kinds[f].errors;
        struct range range = range_of(counted, f);

        for (int i = 0; i < FAULT_ERRORS && errors[i]; i++)
            all += (range.last + 1 - range.first) * (unsigned)modes_of(f, errors[i]);
    }
    per_mille = all <= runs_max ? 1000 : (unsigned)(1000ul * runs_max / all);
}

static void run_function(const struct scenario *scenario, enum fault_function function,
                         struct range range, unsigned *runs, unsigned *failed)
{
    const int *errors = fault_kinds[function].errors;

    for (unsigned nth = range.first; nth <= range.last; nth++)
        for (int i = 0; i < FAULT_ERRORS && errors[i]; i++)
            for (int always = 0; always < modes_of(function, errors[i]); always++) {
                if (!is_chosen())
                    continue;
                ++*runs;
                *failed += !run(scenario, function, nth, always, errors[i]);
            }
}

/* For check_calls.py. */
static int print_calls(void)
{
    static struct trial_report counted;
    unsigned long calls[FAULT_N] = {0};

    for (unsigned s = 0; s < scenarios_count; s++) {
        if (!trial_count(&scenarios[s], &counted))
            return 1;
        for (int f = 0; f < FAULT_N; f++)
            calls[f] += counted.calls[f];
    }
    for (int f = 0; f < FAULT_N; f++)
        printf("%s %lu\n", fault_kinds[f].name, calls[f]);
    return 0;
}

int main(int argc, char **argv)
{
    unsigned runs_max = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : UINT_MAX;
    unsigned runs = 0, failed = 0;
    static struct trial_report counted;

    seed = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : (unsigned)getpid();
    if (runs_max != UINT_MAX)
        printf("seed %u\n", seed);
    trial_prepare();
    if (argc > 1 && strcmp(argv[1], "calls") == 0)
        return print_calls();
    for (unsigned s = 0; s < scenarios_count; s++) {
        unsigned before = runs, before_errors = trial_errors_seen();

        if (!trial_count(&scenarios[s], &counted))
            return 1;
        choose(&counted, runs_max);
        for (int f = 0; f < FAULT_N; f++)
            run_function(&scenarios[s], f, range_of(&counted, f), &runs, &failed);
        printf("%-10s %u faults, %u of them seen by the program\n", scenarios[s].name,
               runs - before, trial_errors_seen() - before_errors);
    }
    printf("%u faults, %u seen, %u failed\n", runs, trial_errors_seen(), failed);
    if (!trial_errors_seen())
        return 1; /* the wrappers were not linked in */
    return failed ? 1 : 0;
}
