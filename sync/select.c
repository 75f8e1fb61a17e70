/* Waiting for the first of several things, in two phases.
 *
 *     look      each case, in random order, or in that of the array: one that can be done at once
 *               is done, and that is all
 *     enlist    each case puts its waiter into its object's list, or finds that it can be done now:
 *               then it claims the group first
 *     wait      until somebody has claimed one of the waiters, the time has come, or the task was
 *               cancelled; for the last two the owner claims the group itself
 *     delist    each case that waits is taken out of its object's list, under the object's lock
 *
 * States of the group's word, each edge one compare-and-swap from 0, so there is one winner:
 *
 *     0 --claim by who hands over to case i--> 1 + i   (the waiter is woken, soon)
 *     0 --the owner, who found case i ready--> 1 + i   (the owner knows)
 *     0 --the owner gives up-----------------> FILCH__GROUP_OWNER
 *
 * Invariants:
 *   [one-lock]   no two objects are locked at a time, so there is no order of locks to keep;
 *   [no-orphan]  each case that was enlisted is delisted before the frame goes, and its delist
 * takes the object's lock: so a claim, which happens under that lock, never meets a group that is
 * gone; [two-ends]   an object in which both sides wait (a channel) lets one of them wait only
 * while the other cannot be served from the object itself: who finds an operation ready claims its
 * own group first, and then nothing can keep it from being done, whoever else's claim fails.
 *
 * One object may be in several cases, also with both of its ends: the second one may pop the first
 * one's waiter, whose claim fails, as the group is taken.
 *
 * Polled cases (futures) hand nothing over: they say that it is worth while to poll again. So a
 * wake without a winner, or in a plain thread FILCH__GROUP_POLL, ends the round: the owner claims
 * the group, delists, and begins anew. A future is polled by the look only, when nobody can have
 * won: if it is ready it wins, so it is never finished in vain.
 *
 * The order of a look begins anywhere and goes either way round: of any two cases each comes first
 * as often as the other, without an array to shuffle.
 *
 * Read first: runtime/task/waiter.h, sync/case.h.
 */
#include <errno.h>

#include <filch/select.h>
#include <filch/time.h>

#include "runtime/base/assert.h"
#include "runtime/sched/worker.h"
#include "runtime/task/parker.h"
#include "runtime/task/task.h"
#include "sync/case.h"

/* One select, in its owner's frame. */
struct select {
    filch_case *cases;
    unsigned count;
    unsigned start;               /* the case that is looked at first */
    unsigned step;                /* to the next one, modulo count: 1, or count - 1 */
    unsigned enlisted;            /* how many, in that order */
    bool polled;                  /* some case is a future */
    filch_time until;             /* of the caller */
    filch_time first_time;        /* when a case is to be looked at again; or FILCH_NEVER */
    struct filch__parker *parker; /* of a plain thread with polled cases; else NULL */
    struct filch__waiter_group group;
};

/* ---- times ---- */

static bool time_try(filch_case *c)
{
    if (c->number != FILCH_NOW && (c->number == FILCH_NEVER || c->number > filch_now()))
        return false;
    c->result = 0;
    return true;
}

/* Nobody hands it over: the owner's wait ends with it, or never. */
static enum filch__enlist no_enlist(filch_case *c, struct filch__waiter *waiter)
{
    (void)c;
    (void)waiter;
    return FILCH__ENLIST_WAITS;
}

static void no_delist(filch_case *c, struct filch__waiter *waiter, bool won)
{
    (void)c;
    (void)waiter;
    (void)won;
}

static filch_time time_when(filch_case *c)
{
    return c->number;
}

static const struct filch__case_ops time_ops = {
    .try_now = time_try,
    .enlist = no_enlist,
    .delist = no_delist,
    .when = time_when,
    .reason = FILCH_WAIT_SLEEP,
};

filch_case filch_case_at(filch_time time)
{
    return (filch_case){.ops = &time_ops, .number = time};
}

/* ---- cases that are switched off ---- */

static bool never(filch_case *c)
{
    (void)c;
    return false;
}

static const struct filch__case_ops disabled_ops = {
    .try_now = never,
    .enlist = no_enlist,
    .delist = no_delist,
    .reason = FILCH_WAIT_SELECT,
};

filch_case filch_case_if(bool enabled, filch_case c)
{
    if (!enabled)
        c.ops = &disabled_ops;
    return c;
}

/* ---- futures ---- */

static bool future_try(filch_case *c)
{
    filch_future *future = c->object;
    struct filch__task *task = filch__task_current();
    filch_waker waker = task ? (filch_waker){.target = task, .key = filch__task_generation(task)}
                             : filch__parker_waker(c->data);
    filch_cx cx = {.waker = &waker};

    if (future->poll(future, &cx) != FILCH_READY)
        return false;
    c->result = future->result;
    return true;
}

static const struct filch__case_ops future_ops = {
    .try_now = future_try,
    .enlist = no_enlist,
    .delist = no_delist,
    .reason = FILCH_WAIT_FUTURE,
};

filch_case filch_case_future(filch_future *future)
{
    return (filch_case){.ops = future && future->poll ? &future_ops : NULL, .object = future};
}

/* ---- the phases ---- */

/* Not in line: a task's thread changes, and its variables with it. */
__attribute__((noinline)) static uint32_t *random_of_thread(void)
{
    static _Thread_local uint32_t state;

    if (!state)
        state = (uint32_t)filch_now() | 1;
    return &state;
}

/* Not good, but fair and quick: one multiplication. The upper bits are used. */
static uint32_t next_random(uint32_t *state)
{
    return *state *= 747796405u;
}

/* @worker: the caller's; NULL: a plain thread. */
static void choose_order(struct select *select, struct filch__worker *worker, unsigned flags)
{
    uint32_t random;

    select->start = 0;
    select->step = 1;
    if (flags & FILCH_SELECT_ORDERED)
        return;
    random = next_random(worker ? &worker->random : random_of_thread());
    select->start = (unsigned)(((uint64_t)random * select->count) >> 32);
    if (random & 0x10000)
        select->step = select->count - 1;
}

static unsigned next_index(const struct select *select, unsigned index)
{
    index += select->step;
    return index < select->count ? index : index - select->count;
}

/* Return: the index of a case that was done; -EAGAIN: there is none; -EINVAL: one that is no case.
 */
static int look(const struct select *select)
{
    unsigned index = select->start;

    for (unsigned left = select->count; left; left--) {
        filch_case *c = &select->cases[index];

        if (!c->ops)
            return -EINVAL;
        if (c->ops->try_now(c))
            return (int)index;
        index = next_index(select, index);
    }
    return -EAGAIN;
}

/* Stops as soon as anybody has won. Return: the index of a case that was found ready; -EAGAIN. */
static int enlist(struct select *select)
{
    unsigned index = select->start;

    for (select->enlisted = 0; select->enlisted < select->count; select->enlisted++) {
        filch_case *c = &select->cases[index];
        struct filch__waiter *waiter = filch__case_waiter(c);

        filch__waiter_init(waiter, c->ops->reason);
        filch__waiter_join_group(waiter, &select->group, index);
        switch (c->ops->enlist(c, waiter)) {
        case FILCH__ENLIST_WAITS:
            if (c->ops->when && c->ops->when(c) < select->first_time)
                select->first_time = c->ops->when(c);
            break;
        case FILCH__ENLIST_TAKEN:
            return (int)index;
        case FILCH__ENLIST_LOST:
            return -EAGAIN;
        }
        index = next_index(select, index);
    }
    return -EAGAIN;
}

/* Out of all lists. @winner: the group's word. */
static void delist(struct select *select, uint32_t winner)
{
    unsigned index = select->start;

    for (unsigned left = select->enlisted; left; left--, index = next_index(select, index)) {
        filch_case *c = &select->cases[index];
        struct filch__waiter *waiter = filch__case_waiter(c);
        bool won = winner == 1 + (uint32_t)index;

        if (won)
            filch__waiter_wait_shielded(waiter);
        c->ops->delist(c, waiter, won); /* [no-orphan] */
    }
}

/* The time of a case has come. Return: its index; -EAGAIN: it has to be looked at. */
static int due_case(const struct select *select)
{
    for (unsigned i = 0; i < select->count; i++) {
        filch_case *c = &select->cases[i];

        if (c->ops == &time_ops && c->number == select->first_time) {
            c->result = 0;
            return (int)i;
        }
    }
    return -EAGAIN;
}

/* Nobody has won: @error is why the owner has stopped to wait, 0 for a wake. *ret_again: begin
 * anew. Return: an index, or an error. */
static int give_up(struct select *select, int error, bool *ret_again)
{
    *ret_again = error == 0;
    if (error == -ETIMEDOUT && select->first_time <= select->until) {
        int due = due_case(select);

        *ret_again = due < 0;
        return due;
    }
    /* As filch_await() does: what is ready is preferred. */
    for (unsigned i = 0; error && select->polled && i < select->count; i++) {
        filch_case *c = &select->cases[i];

        if (c->ops == &future_ops && future_try(c))
            return (int)i;
    }
    return error;
}

/* Return: an index, or an error, unless *ret_again. */
static int wait(struct select *select, bool *ret_again)
{
    filch_time until = select->first_time < select->until ? select->first_time : select->until;
    uint32_t winner;
    int r = 0;

    if (!select->parker || filch__parker_attach(select->parker, &select->group))
        r = filch__waiter_group_wait(&select->group, select->polled, until);
    if (select->parker)
        filch__parker_detach(select->parker);
    winner = filch_load_relaxed(&select->group.winner); /* [group-claim] */
    if (winner == 0 && filch__waiter_group_claim(&select->group, FILCH__GROUP_OWNER))
        winner = FILCH__GROUP_OWNER;
    else if (winner == 0)
        winner = filch_load_relaxed(&select->group.winner); /* [group-claim] */
    delist(select, winner);
    if (winner < FILCH__GROUP_POLL) {
        *ret_again = select->cases[winner - 1].result == FILCH__CASE_AGAIN;
        return (int)(winner - 1);
    }
    return give_up(select, winner == FILCH__GROUP_POLL ? 0 : r, ret_again);
}

/* What is there to wait for? Return: 0; -EINVAL: a case that is none, or all are switched off. */
static int survey(struct select *select)
{
    bool enabled = false;

    select->polled = false;
    for (unsigned i = 0; i < select->count; i++) {
        const struct filch__case_ops *ops = select->cases[i].ops;

        if (!ops)
            return -EINVAL;
        enabled |= ops != &disabled_ops;
        select->polled |= ops == &future_ops;
    }
    return enabled ? 0 : -EINVAL;
}

/* Nothing could be done and the caller does not wait. */
static int nothing_now(void)
{
    struct filch__task *task = filch__task_current();

    filch__coop_inline();
    return task && filch__task_cancelled(task) ? -ECANCELED : -ETIMEDOUT;
}

/* Rounds, until somebody has won or the owner gives up. @looked: at all cases, just now. */
static int run(struct select *select, bool looked)
{
    bool again;
    int r;

    do {
        again = false;
        if (select->parker)
            filch__parker_reset(select->parker); /* before the polls: no wake is missed */
        r = looked ? -EAGAIN : look(select);
        looked = false;
        if (r != -EAGAIN)
            return r;
        if (select->until == FILCH_NOW)
            return nothing_now();
        select->first_time = FILCH_NEVER;
        filch__waiter_group_init(&select->group);
        r = enlist(select);
        if (r >= 0)
            delist(select, 0);
        else
            r = wait(select, &again);
        if (again)
            filch__coop_inline(); /* a future that wakes itself in each poll: others have a turn */
    } while (again);
    return r;
}

/* Futures in a plain thread need something that outlives this call for their wakers. */
static int run_in_thread(struct select *select)
{
    int r;

    select->parker = filch__parker_new();
    if (!select->parker)
        return -ENOMEM;
    for (unsigned i = 0; i < select->count; i++)
        if (select->cases[i].ops == &future_ops)
            select->cases[i].data = select->parker;
    r = run(select, false);
    filch__parker_unref(select->parker);
    return r;
}

/* Nothing could be done by a task's first look, or it is no task. */
__attribute__((noinline)) static int select_slowly(struct select *select, bool looked)
{
    if (survey(select) < 0)
        return -EINVAL;
    select->parker = NULL;
    if (select->polled && !filch__task_current())
        return run_in_thread(select);
    return run(select, looked);
}

int filch_select(filch_case *cases, size_t count, unsigned flags, filch_time until)
{
    struct filch__worker *worker = filch__worker_self();
    struct select select;
    int r;

    if (!cases || count == 0 || count > FILCH_SELECT_MAX || flags & ~(unsigned)FILCH_SELECT_ORDERED)
        return -EINVAL;
    select.cases = cases;
    select.count = (unsigned)count;
    select.until = until;
    choose_order(&select, worker, flags);
    if (!worker || !worker->current)
        return select_slowly(&select, false);
    r = look(&select);
    if (r == -EAGAIN)
        return select_slowly(&select, true);
    filch__coop_inline();
    return r;
}
