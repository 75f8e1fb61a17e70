/* An exhaustive explorer of small concurrent programs.
 *
 * Model code is the library's own source compiled with -DFILCH_MODEL: each atomic operation is then a step
 * of the explorer. Threads are coroutines, so an execution is one path through a tree of choices:
 *
 *      which thread takes the next step     within a bound on preemptions
 *      which store a load returns           among those that C11 lets this thread still see
 *
 * The tree is walked depth first, by running the program again along the path up to the last choice that
 * has an alternative. Model code must thus be deterministic: no clock, no addresses compared, no state
 * that reset() does not put back.
 *
 * Memory (explorer_memory.c):
 *   view        a thread knows, for each location, the oldest store it may still read; a release store carries the
 *               view of its writer, an acquire load that reads it takes it over; a read-modify-write reads the
 *               newest store and continues its release sequence.
 *   seq_cst     per location: such a load reads no store older than what any earlier seq_cst access of this location
 *               wrote or read. It is not a fence for other locations, neither in C11: a seq_cst store
 *               followed by a relaxed load of something else is no Dekker, and is not taken for one.
 *   plain       accesses marked by filch_plain_read/write are checked for races with vector clocks.
 *
 * Bounds, so that the tree is finite:
 *   - a spinning thread (filch_cpu_relax) sleeps until another one has stored or unlocked something; what it read
 *     stale since its last relax it does not read again. Other loads repeat a stale value a few times at most;
 *   - XP_STORES stores per location: executions that need more are cut off, counted and reported.
 *
 * Not explored: load buffering (a load never returns a store that comes later in the schedule), stale reads and spurious
 * failures of a CAS, reuse of freed memory.
 */
#ifndef FILCH_TESTS_MODEL_EXPLORER_H
#define FILCH_TESTS_MODEL_EXPLORER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/model/explorer_atomic.h"

struct xp_model {
    const char *name;
    int threads;
    void (*body[XP_MAX_THREADS])(void);
    void (*reset)(void); /* before each execution; happens before all threads; may use atomics; may be NULL */
    void (*check)(void); /* after each execution; all threads happen before it; reads newest values; may be NULL */
    int preemption_bound;    /* negative: none */
    uint64_t max_executions; /* 0: no limit */
};

enum xp_outcome {
    XP_PASSED, /* the tree was exhausted */
    XP_FAILED,
    XP_CUT, /* max_executions were all right */
};

/* A mutant that may survive: "file:function:operation", or "file:function:operation->order" for one mutant only. */
struct xp_survivor {
    const char *site;
    const char *reason;
};

/* Explores one model and prints a line about it, with the steps of the execution that failed. Return: xp_outcome. */
int xp_explore(const struct xp_model *m);

/* Why the last xp_explore() failed. NULL: it did not. */
const char *xp_failure(void);

/* Declares survivors for xp_main(); borrowed for its duration. */
void xp_accept_survivors(const struct xp_survivor *survivors, int n);

/* Explores all models; with --mutate, then weakens each site by one step and expects that a model fails. --cap=N limits the
 * executions per model and mutant. Return: exit status. */
int xp_main(const struct xp_model *models, int n, int argc, char **argv);

/* --- For model code --- */

/* Fails this execution; does not return to a thread. */
void xp_fail(const char *message, const char *file, int line);
#define xp_assert(cond, message) ((cond) ? (void)0 : xp_fail((message), __FILE__, __LINE__))

/* The thread that runs, from 0; XP_MAX_THREADS in reset() and check(). */
int xp_thread_id(void);

/* Sleeps while the newest value of @word is @value, or until xp_futex_wake(). Nobody changes it: "deadlock". */
void xp_wait_while_equal(filch_atomic_u32 *word, uint32_t value);

/* As the kernel does: returns at once if the newest value is another, but once asleep only xp_futex_wake() helps. */
void xp_futex_wait(filch_atomic_u32 *word, uint32_t value);

/* Wakes all who wait on @word. */
void xp_futex_wake(filch_atomic_u32 *word);

#endif
