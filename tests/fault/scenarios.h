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

/* Of the program: scenarios.c, or scenarios_http.c. */
extern const struct scenario scenarios[];
extern const unsigned scenarios_count;

/* Before the first one, without a fault: what all of them need. */
void scenarios_prepare(void);

/* ---- of life.c: what they have in common ---- */

/* The first error that the scenario has seen; 0. */
int scenario_error(void);

/* Remembers the first error. Return: was there none? */
bool ok(int r);

/* A body that does nothing. */
int nothing(void *arg);

/* Start, the scenario, shutdown. */
int life(const struct scenario *scenario);

#endif
