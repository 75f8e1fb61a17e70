/* An exhaustive explorer for small concurrent programs: every schedule, within a bound on
 * preemptions, and every value that a load may return.
 *
 * Model code is ordinary code compiled with -DFILCH_MODEL: runtime/base/atomic.h then maps each
 * operation to a step of the explorer. Threads are coroutines. One execution is one path through a
 * tree of choices (who runs next; which of the stores that are still visible a load returns); the
 * tree is walked depth first, by replaying the path up to the last choice that has an alternative.
 *
 * Memory: each location has the history of its stores. A thread has a view, the oldest store of
 * each location that it may still read; release stores carry the writer's view, acquire loads take
 * it over, read-modify-writes read the newest store and continue its release sequence. seq_cst
 * accesses also exchange views through one global view; this is a little stronger than C11 asks.
 * The heavy fence (runtime/base/fence.h) brings all threads' views up to date, but orders no plain
 * memory.
 * Accesses to plain memory that are marked (filch_plain_read, filch_plain_write) are checked for
 * races with vector clocks.
 *
 * Not explored: load buffering, spurious failures of weak CAS, wrap-around of counters.
 */
#ifndef FILCH_TESTS_MODEL_EXPLORE_H
#define FILCH_TESTS_MODEL_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XP_THREADS 4

struct xp_model {
    const char *name;
    int threads;
    void (*body[XP_THREADS])(void);
    void (*reset)(void); /* before each execution */
    void (*check)(void); /* after each one that ended well */
    int preemptions;     /* bound; negative: none */
    bool must_fail;      /* a model that proves that the explorer finds its fault */
};

/* What a site was mutated to, and survived: why that is right. Matched by "function operation ->
 * order", so that each weakening has its own. */
struct xp_excuse {
    const char *site;
    const char *reason;
};

/* Runs the models, and with --mutate [FILE] also with each ordering weakened by one step, unless
 * that is excused; an excuse that nothing needs is a failure, too. What became of each goes into
 * FILE, for tests/check_orders.py. With --mutate-all those that are excused are explored for as
 * long as the others: to see whether the excuse is still needed. Return: exit status. */
int xp_main(int argc, char **argv, const struct xp_model *models, int n,
            const struct xp_excuse *excuses, int excused);

/* For model code. */
void xp_fail(const char *message);
#define xp_assert(cond) ((cond) ? (void)0 : xp_fail(#cond))
int xp_thread(void);
/* Waits until `ready` says yes; only called when memory has changed. It must not use atomics of the
 * model other than through xp_peek(). */
void xp_block_until(bool (*ready)(void *arg), void *arg);

#include "tests/model/explore_atomic.h"

/* The newest value of a location, for checks and conditions. */
uint64_t xp_peek(const struct xp_location *location);

#endif
