/* What the parts of the explorer share: the state of the present execution, and how a step begins.
 *
 *      explorer.c          threads, schedule, the depth-first walk, the report
 *      explorer_memory.c   what loads see, what stores carry, races, locks
 *      explorer_mutate.c   xp_main(): all models, then all mutants
 */
#ifndef FILCH_TESTS_MODEL_EXPLORER_INTERNAL_H
#define FILCH_TESTS_MODEL_EXPLORER_INTERNAL_H

#include "tests/model/explorer.h"

/* The one who runs reset() and check(): in no schedule, but with a view and a clock. */
#define XP_SETUP XP_MAX_THREADS
#define XP_LOCATIONS (XP_VIEW_BYTES - XP_MAX_THREADS - 1)

/* [0, XP_LOCATIONS): indices into histories. The rest: clocks; what thread t did at clock c happened before
 * whoever has clock t >= c in his view. */
typedef uint8_t xp_view[XP_VIEW_BYTES];

enum xp_wait { XP_WAIT_NOTHING, XP_WAIT_LOCK, XP_WAIT_FUTEX, XP_WAIT_STORE };

struct xp_thread {
    xp_view seen;
    xp_view floor;     /* as seen, but by fairness only: a release must not carry it */
    xp_view stale;     /* since the last relax: one above the stale store that was read; 0: none */
    uint8_t rereads[XP_VIEW_BYTES]; /* of the same stale store */
    bool any_stale;
    bool done;
    bool relaxing; /* a switch away from here is no preemption */
    uint32_t stores;           /* of its own */
    uint32_t others_at_relax;  /* stores of others, at its last relax */
    enum xp_wait waits;
    const filch_spinlock *lock;
    const struct xp_cell *futex;
    uint64_t futex_value;
    bool futex_strict, futex_woken;
    void *sp;
};

struct xp_state {
    uint64_t execution; /* never reused: stamps cells and locks */
    int running;
    uint32_t stores; /* of all threads, and unlocks: what can end a spin */
    bool tracing;
    bool pruned;
    struct xp_thread thread[XP_MAX_THREADS + 1];
};

extern struct xp_state xp;

struct xp_result {
    enum xp_outcome outcome;
    uint64_t executions, pruned;
    double seconds;
};

/* --- explorer.c --- */

/* A scheduling point, before each step; returns when it is the caller's turn. */
void xp_schedule(void);
/* Return: one of 0..n-1; all, in the course of the walk. */
int xp_choose(int n);
void xp_fail_execution(const char *message);
/* Cuts this execution off: a bound of the explorer, no fault of the model. */
void xp_prune_execution(void);
/* The model is too big for the explorer's tables: exits. */
void xp_limit(const char *what);
struct xp_result xp_walk(const struct xp_model *m, uint64_t max_executions);
void xp_note_site(struct xp_site *site);
struct xp_site *xp_first_site(void);
const char *xp_basename(const char *path);

/* --- explorer_memory.c --- */

void xp_memory_begin(void);
void xp_join(uint8_t *into, const uint8_t *from);
uint64_t xp_newest(const struct xp_cell *cell);
/* The kernel compares the newest value: by coherence this thread sees nothing older afterwards. */
uint64_t xp_read_newest(const struct xp_cell *cell);
void xp_trace(const struct xp_site *site, const char *format, ...) __attribute__((format(printf, 2, 3)));
extern const char *const xp_order_names[];

#endif
