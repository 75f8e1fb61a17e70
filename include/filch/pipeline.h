/* Pipelines: items that go through stages, several of them at a time.
 *
 *     const filch_stage stages[] = {
 *         {read_block, file},
 *         {compress, NULL, .parallel = true},
 *         {write_block, out},
 *     };
 *     r = filch_pipeline_run(stages, 3, NULL);
 *
 * The first stage makes items, one after the other; each goes through the other stages, in their
 * order. A stage does one item at a time, in the order in which they were made; or, if it is
 * `parallel`, any number of them, in any order. An item stays with one task as far as it gets
 * without waiting for its turn, so it is in the cache; and when a stage is slow, the places for
 * items are used up, and the first stage waits.
 *
 * Stages are functions in tasks: they may suspend, sleep, lock, do I/O. The first error cancels the
 * others: what they wait for returns -ECANCELED, and they should return that. Items under way go
 * through no further stage, but to the function that disposes of them.
 */
#ifndef FILCH_PIPELINE_H
#define FILCH_PIPELINE_H

#include <filch/base.h>

FILCH_BEGIN_DECLS

typedef struct filch_stage {
    /* With *@item NULL the first stage returns 1, having set it to an item; or 0: there are no
     * more. Each other stage gets the item, may put another one in its place, or NULL: it has been
     * used up, and goes no further. What the last one leaves there is the program's own affair.
     * Negative: an error, of which a stage that has set *@item to NULL leaves nothing to dispose
     * of. */
    int (*fn)(void *arg, void **item);
    void *arg;
    bool parallel; /* not the first */
} filch_stage;

/* All zero, or a NULL pointer to it, gives the defaults. */
typedef struct filch_pipeline_opts {
    /* Items under way at a time, at most; 0: 4 for each worker. */
    unsigned tokens;
    /* Gets each item that does not reach the end, because of an error or a cancel. May be NULL;
     * must not suspend. */
    void (*drop)(void *arg, void *item);
    void *drop_arg;
} filch_pipeline_opts;

/**
 * filch_pipeline_run() - make items and have them go through stages, until there are no more
 * @stages: borrowed for the call; at least one
 * @opts:   borrowed; NULL for defaults
 *
 * Spawns a task for each place. A join: it takes no time limit and returns when all have ended;
 * FILCH_DEADLINE() limits the time. What a stage does with an item is visible to the next stage,
 * and, if it does one at a time, to itself with the next item.
 *
 * Thread-safety: tasks and blocking jobs. Suspends: yes. Cancellation point: yes; stages are
 * cancelled and waited for. Return: 0: all items went through, even if the caller was cancelled
 * meanwhile; the first error of a stage; -ECANCELED (the caller, or its time was up); -ENOMEM and
 * -ESHUTDOWN (nothing was begun); -EPERM (a plain thread, a future's poll); -EINVAL (NULL, no
 * stage, a first one that is parallel).
 */
FILCH_API FILCH_MUST_CHECK int filch_pipeline_run(const filch_stage stages[], size_t count,
                                                  const filch_pipeline_opts *opts);

FILCH_END_DECLS

#endif
