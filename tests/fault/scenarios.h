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
    /* The calls of the start of its runtime fail as well: in those of others they are the same. */
    bool start_too;
};

/* Of the program: scenarios.c, or scenarios_http.c. */
extern const struct scenario scenarios[];
extern const unsigned scenarios_count;

/* Before the first one, without a fault: what all of them need. */
void scenarios_prepare(void);

/* ---- bodies of scenarios_files.c ---- */

int paths(void *arg);
int contents(void *arg);
int watches(void *arg);
int moves(void *arg);

/* ---- of scenarios_system.c ---- */

int names(void *arg);
int kernel_signals(void *arg);
int sockets(void *arg);
int told_to_end(void *arg);
int visits(void *arg);
int beside_life(const struct scenario *scenario);
int bound_life(const struct scenario *scenario);

/* ---- of life.c: what they have in common ---- */

/* The first error that the scenario has seen; 0. */
int scenario_error(void);

/* Remembers the first error. Return: was there none? */
bool ok(int r);

/* Without a fault nothing is waited for that does not come; with one, not for long. */
filch_time scenario_limit(void);

/* A body that does nothing. */
int nothing(void *arg);

/* Start, the scenario, shutdown. Another life marks its start for wrap.h likewise. */
int life(const struct scenario *scenario);

#endif
