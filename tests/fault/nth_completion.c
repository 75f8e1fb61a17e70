/* Gives the n-th completion of each kind of operation another result, in whole lives of the
 * scenarios, for each n until a life has no n-th any more (trial.h says what must hold). The
 * results are made in the driver (runtime/base/fault.h, io/uring/spoil.h); the other engine has no
 * completions of its own, but system calls: nth_failure.c.
 *
 *     nth_completion [SCENARIO]
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/fault.h"
#include "tests/fault/trial.h"

/* A life that has more is one that goes round in circles. */
#define NTH_MAX 2000

static const struct {
    const char *name;
    enum filch__fault point;
} kinds[] = {
    {"accept", FILCH_FAULT_OP_ACCEPT}, {"connect", FILCH_FAULT_OP_CONNECT},
    {"recv", FILCH_FAULT_OP_RECV},     {"send", FILCH_FAULT_OP_SEND},
    {"poll", FILCH_FAULT_OP_POLL},     {"wake-up", FILCH_FAULT_OP_EVENT},
    {"other", FILCH_FAULT_OP_OTHER},
};
#define KINDS (sizeof kinds / sizeof *kinds)

static const int results[] = {EINTR, EAGAIN, ECANCELED, ENOBUFS, ENOMEM, ETIME, EIO};
#define RESULTS (sizeof results / sizeof *results)

static enum filch__fault armed;

static void arm(const struct fault *fault)
{
    fault_arm(FAULT_N, 0, false, 0); /* for scenario_limit() */
    armed = (enum filch__fault)fault->which;
    filch__fault_arm(armed, fault->nth, 1, -fault->error);
}

static bool happened(void)
{
    return filch__fault_fired(armed) > 0;
}

struct totals {
    unsigned runs, failed;
    unsigned of_kind[KINDS];
};

/* Return: how many there were. */
static unsigned each_nth(const struct scenario *scenario, struct fault *fault,
                         struct totals *totals)
{
    for (fault->nth = 1;; fault->nth++) {
        totals->failed += !trial_run(scenario, fault);
        if (!trial_happened())
            return fault->nth - 1;
        totals->runs++;
        if (fault->nth == NTH_MAX) {
            fprintf(stderr, "FAIL %s: %s has no end\n", scenario->name, fault->name);
            totals->failed++;
            return NTH_MAX;
        }
    }
}

static void each_kind(const struct scenario *scenario, struct totals *totals)
{
    for (unsigned k = 0; k < KINDS; k++)
        for (unsigned i = 0; i < RESULTS; i++) {
            struct fault fault = {
                .name = kinds[k].name,
                .which = kinds[k].point,
                .error = results[i],
                .arm = arm,
                .happened = happened,
            };

            totals->of_kind[k] += each_nth(scenario, &fault, totals);
        }
}

int main(int argc, char **argv)
{
    struct totals totals = {0};
    static struct trial_report counted;
    int r = 0;

    setenv("FILCH_ENGINE", "uring", 1);
    trial_prepare();
    for (unsigned s = 0; s < scenarios_count; s++) {
        unsigned before = totals.runs;

        if (argc > 1 && strcmp(argv[1], scenarios[s].name) != 0)
            continue;
        if (!trial_count(&scenarios[s], &counted))
            return 1;
        each_kind(&scenarios[s], &totals);
        printf("%-14s %u results\n", scenarios[s].name, totals.runs - before);
    }
    for (unsigned k = 0; k < KINDS; k++) {
        printf("%s: %u\n", kinds[k].name, totals.of_kind[k]);
        if (!totals.of_kind[k] && argc == 1)
            r = 1; /* nothing is known of these */
    }
    printf("%u results, %u seen, %u failed\n", totals.runs, trial_errors_seen(), totals.failed);
    return totals.failed || !totals.runs ? 1 : r;
}
