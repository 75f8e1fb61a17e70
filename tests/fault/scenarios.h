/* What nth_failure.c makes fail: whole lives of a runtime, each with a first task that uses one
 * part of the library as a program would: an error is remembered, what was made is given back, and
 * it goes on.
 */
#ifndef FILCH_TESTS_FAULT_SCENARIOS_H
#define FILCH_TESTS_FAULT_SCENARIOS_H

#include <filch/filch.h>

struct scenario {
    const char *name;
    filch_fn fn;
    /* Return: what the shutdown said; 0 if there was none. */
    int (*life)(const struct scenario *scenario);
};

extern const struct scenario scenarios[];
extern const unsigned scenarios_count;

/* The first error that the scenario has seen; 0. */
int scenario_error(void);

#endif
