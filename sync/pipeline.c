/* Pipelines: a task for each place, which takes one item after the other through all stages (public
 * contract: include/filch/pipeline.h).
 *
 *     place 0    make 0 | stage 1 | stage 2 | make 2 | ...
 *     place 1             make 1  | stage 1 | (turn of 1 in stage 2) stage 2 | ...
 *
 * Items are numbered as they are made, under a lock. A stage that does one at a time has a
 * semaphore for each place: that of number n is number n modulo the places. It gets its one permit
 * when number n - 1 has left the stage. It cannot be mistaken for n + places, as so many items are
 * never under way: n + places is made after one of them has left the last stage, and a stage is
 * left in order.
 *
 * An item that was used up (NULL) still takes its turns, and does nothing in them.
 *
 * The first error is kept here, and cancels the scope of the tasks when its task returns. Whoever
 * waits for a turn is woken by that.
 */
#include <errno.h>
#include <stdlib.h>

#include <filch/mutex.h>
#include <filch/pipeline.h>
#include <filch/runtime.h>
#include <filch/scope.h>
#include <filch/semaphore.h>

#include "runtime/sched/worker.h"
#include "sync/parallel.h"

#define TOKENS_PER_WORKER 4

struct pipeline {
    const filch_stage *stages;
    size_t count;
    unsigned tokens;
    const filch_pipeline_opts *opts;
    filch_mutex input; /* guards the next three */
    uint64_t made;
    bool is_over;
    filch_semaphore *turn;  /* [stage * tokens + place] */
    filch_atomic_u32 error; /* as struct filch__loop's */
};

static filch_semaphore *turn_of(struct pipeline *p, size_t stage, uint64_t number)
{
    return &p->turn[stage * p->tokens + number % p->tokens];
}

static void drop(struct pipeline *p, void *item)
{
    if (item && p->opts && p->opts->drop)
        p->opts->drop(p->opts->drop_arg, item);
}

/* Return: 1: there is another item; 0: the end; negative. */
static int make(struct pipeline *p, void **ret_item, uint64_t *ret_number)
{
    int r = filch_mutex_lock(&p->input, FILCH_NEVER);

    if (r < 0)
        return r;
    if (filch_task_is_cancelled())
        r = -ECANCELED;
    else if (!p->is_over)
        r = p->stages[0].fn(p->stages[0].arg, ret_item);
    if (r > 0)
        *ret_number = p->made++;
    else
        p->is_over = true;
    filch_mutex_unlock(&p->input);
    return r;
}

static int run_stage(struct pipeline *p, size_t i, void **item)
{
    if (filch_task_is_cancelled())
        return -ECANCELED;
    return *item ? p->stages[i].fn(p->stages[i].arg, item) : 0;
}

static int take_turn(struct pipeline *p, size_t i, uint64_t number, void **item)
{
    int r = filch_semaphore_acquire(turn_of(p, i, number), 1, FILCH_NEVER);

    if (r < 0)
        return r;
    r = run_stage(p, i, item);
    if (r >= 0)
        filch_semaphore_release(turn_of(p, i, number + 1), 1);
    return r;
}

static int run_item(struct pipeline *p, uint64_t number, void **item)
{
    int r = 0;

    for (size_t i = 1; i < p->count && r >= 0; i++)
        r = p->stages[i].parallel ? run_stage(p, i, item) : take_turn(p, i, number, item);
    return r;
}

static int run_place(void *arg)
{
    struct pipeline *p = arg;

    for (;;) {
        void *item = NULL;
        uint64_t number;
        int r = make(p, &item, &number);

        if (r > 0)
            r = run_item(p, number, &item);
        else if (r == 0)
            return 0;
        if (r < 0) {
            filch__loop_fail(&p->error, r);
            drop(p, item);
            return r;
        }
    }
}

static int run_places(struct pipeline *p)
{
    FILCH_TRY_SCOPE(places);
    int r = filch_scope_spawn(&places, run_place, p);

    if (r < 0)
        return r;
    /* Fewer than all will do. */
    for (unsigned i = 1; i < p->tokens && r == 0; i++)
        r = filch_scope_spawn(&places, run_place, p);
    (void)!filch_scope_join(&places, FILCH_NEVER);
    filch_scope_cancel_join(&places);
    return -(int)filch_load_relaxed(&p->error); /* the join orders it */
}

/* Return: 0; -ENOMEM. */
static int make_turns(struct pipeline *p)
{
    p->turn = calloc(p->count * p->tokens, sizeof *p->turn);
    if (!p->turn)
        return -ENOMEM;
    for (size_t i = 0; i < p->count; i++)
        for (unsigned place = 0; place < p->tokens; place++)
            filch_semaphore_init(turn_of(p, i, place), place == 0);
    return 0;
}

static void end_turns(struct pipeline *p)
{
    for (size_t i = 0; i < p->count * p->tokens; i++)
        filch_semaphore_fini(&p->turn[i]);
    free(p->turn);
}

int filch_pipeline_run(const filch_stage stages[], size_t count, const filch_pipeline_opts *opts)
{
    struct pipeline p = {.stages = stages, .count = count, .opts = opts};
    struct filch__task *self = filch__task_current();
    int r;

    if (!stages || !count || stages[0].parallel)
        return -EINVAL;
    for (size_t i = 0; i < count; i++)
        if (!stages[i].fn)
            return -EINVAL;
    if (!filch_runtime_self() || (self && !filch__task_has_stack(self)))
        return -EPERM;
    p.tokens =
        opts && opts->tokens ? opts->tokens : TOKENS_PER_WORKER * filch_runtime_self()->workers;
    filch_mutex_init(&p.input);
    filch_atomic_init(&p.error, 0);
    r = make_turns(&p);
    if (r < 0)
        return r;
    r = run_places(&p);
    end_turns(&p);
    filch_mutex_fini(&p.input);
    return r;
}
