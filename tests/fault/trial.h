/* One life of a scenario with one fault, in a process of its own: is all as it should be?
 *
 *     parent: for each scenario and fault
 *         child: arm the fault, run the scenario, compare what is left
 *
 * It ends in time, its shutdown, too; the error that the program sees, if it sees one, is one that
 * the headers name; no descriptor and no allocation is left.
 */
#ifndef FILCH_TESTS_FAULT_TRIAL_H
#define FILCH_TESTS_FAULT_TRIAL_H

#include "tests/fault/scenarios.h"
#include "tests/fault/wrap.h"

struct fault {
    const char *name; /* of what fails */
    unsigned which;
    unsigned nth;
    bool always; /* and all later ones */
    int error;   /* an errno; for an operation also the most bytes, negative */
    void (*arm)(const struct fault *fault);
    bool (*happened)(void);
};

/* Of the last trial. */
struct trial_report {
    unsigned calls[FAULT_N]; /* of what is wrapped */
    unsigned calls_of_start[FAULT_N];
    bool happened;
    int error; /* the first one that the program has seen */
    long leaked_allocations;
    int leaked_descriptors;
    int shutdown;
};

/* Once, before the first. */
void trial_prepare(void);

/* Return: was all as it should be? Else it is said. */
bool trial_run(const struct scenario *scenario, const struct fault *fault);

/* The scenario without a fault: what it calls, and what it leaves, which the trials after this one
 * may leave as well. Return: was all as it should be? */
bool trial_count(const struct scenario *scenario, struct trial_report *ret_counted);

/* Of the last one: did the fault happen? */
bool trial_happened(void);

/* Trials in which a call of the scenario gave an error: the others got round the fault. */
unsigned trial_errors_seen(void);

#endif
