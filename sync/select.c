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
 * Read first: runtime/task/waiter.h, sync/case.h.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include <filch/select.h>
#include <filch/time.h>

#include "runtime/base/assert.h"
#include "runtime/sched/worker.h"
#include "runtime/task/task.h"
#include "sync/case.h"

#define NONE UINT32_MAX
#define AGAIN INT_MIN /* as a result: begin anew */

/* One select, in its owner's frame. */
struct select {
    filch_case *cases;
    unsigned count;
    unsigned enlisted;     /* of `order` */
    unsigned taken;        /* the case that the owner found ready; or NONE */
    filch_time until;      /* of the caller */
    filch_time first_time; /* the earliest time that is a case; or FILCH_NEVER */
    struct filch__waiter_group group;
    uint8_t order[FILCH_SELECT_MAX];
};

/* ---- times ---- */

static bool time_try(filch_case *c)
{
    if (c->number != FILCH_NOW && (c->number == FILCH_NEVER || c->number > filch_now()))
        return false;
    c->result = 0;
    return true;
}

/* Nobody hands a time over: the owner's wait ends with it. */
static enum filch__enlist time_enlist(filch_case *c, struct filch__waiter *waiter)
{
    (void)c;
    (void)waiter;
    return FILCH__ENLIST_WAITS;
}

static void time_delist(filch_case *c, struct filch__waiter *waiter, bool won)
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
    .enlist = time_enlist,
    .delist = time_delist,
    .when = time_when,
    .reason = FILCH_WAIT_SLEEP,
};

filch_case filch_case_at(filch_time time)
{
    return (filch_case){.ops = &time_ops, .number = time};
}

/* ---- the phases ---- */

/* Not in line: a task's thread changes, and its variables with it. */
__attribute__((noinline)) static uint32_t next_random(void)
{
    static _Thread_local uint32_t state;

    if (!state)
        state = (uint32_t)filch_now() | 1;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

/* In which order the cases are looked at: each is as likely to come before each other. */
static void shuffle(struct select *select, unsigned flags)
{
    for (unsigned i = 0; i < select->count; i++)
        select->order[i] = (uint8_t)i;
    if (flags & FILCH_SELECT_ORDERED)
        return;
    for (unsigned i = select->count; i > 1; i--) {
        unsigned other = (unsigned)(((uint64_t)next_random() * i) >> 32);
        uint8_t here = select->order[i - 1];

        select->order[i - 1] = select->order[other];
        select->order[other] = here;
    }
}

static filch_case *case_of(struct select *select, unsigned place)
{
    return &select->cases[select->order[place]];
}

static bool look(struct select *select)
{
    for (unsigned i = 0; i < select->count; i++) {
        filch_case *c = case_of(select, i);

        if (c->ops->try_now(c)) {
            select->taken = select->order[i];
            return true;
        }
    }
    return false;
}

/* Stops as soon as anybody has won. */
static void enlist(struct select *select)
{
    for (unsigned i = 0; i < select->count; i++) {
        filch_case *c = case_of(select, i);
        struct filch__waiter *waiter = filch__case_waiter(c);

        filch__waiter_init(waiter, c->ops->reason);
        filch__waiter_join_group(waiter, &select->group, select->order[i]);
        switch (c->ops->enlist(c, waiter)) {
        case FILCH__ENLIST_WAITS:
            select->enlisted++;
            if (c->ops->when && c->ops->when(c) < select->first_time)
                select->first_time = c->ops->when(c);
            break;
        case FILCH__ENLIST_TAKEN:
            select->taken = select->order[i];
            return;
        case FILCH__ENLIST_LOST:
            return;
        }
    }
}

/* Out of all lists. Return: the index of the case that has won. */
static unsigned delist(struct select *select, uint32_t winner)
{
    for (unsigned i = 0; i < select->enlisted; i++) {
        filch_case *c = case_of(select, i);
        struct filch__waiter *waiter = filch__case_waiter(c);
        bool won = winner == 1 + (uint32_t)select->order[i];

        if (won)
            filch__waiter_wait_shielded(waiter);
        c->ops->delist(c, waiter, won); /* [no-orphan] */
    }
    return winner - 1;
}

/* A time has come: the caller's, or that of the earliest case. Return: AGAIN: of a case that has to
 * be looked at. */
static int due_case(struct select *select)
{
    for (unsigned i = 0; i < select->count; i++) {
        filch_case *c = case_of(select, i);

        if (c->ops == &time_ops && c->number == select->first_time) {
            c->result = 0;
            return select->order[i];
        }
    }
    return AGAIN;
}

/* Return: an index, an error, or AGAIN. */
static int wait(struct select *select)
{
    filch_time until = select->first_time < select->until ? select->first_time : select->until;
    int r = filch__waiter_group_wait(&select->group, false, until);
    unsigned won;

    if (r < 0 && filch__waiter_group_claim(&select->group, FILCH__GROUP_OWNER)) {
        (void)delist(select, 0);
        if (r == -ETIMEDOUT && select->first_time <= select->until)
            return due_case(select);
        return r;
    }
    won = delist(select, filch_load_relaxed(&select->group.winner)); /* [group-claim] */
    return select->cases[won].result == FILCH__CASE_AGAIN ? AGAIN : (int)won;
}

static bool is_valid(const filch_case *cases, size_t count)
{
    if (!cases || count == 0 || count > FILCH_SELECT_MAX)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!cases[i].ops)
            return false;
    return true;
}

/* Nothing could be done and the caller does not wait. */
static int give_up(void)
{
    struct filch__task *task = filch__task_current();

    filch__coop_inline();
    return task && filch__task_cancelled(task) ? -ECANCELED : -ETIMEDOUT;
}

/* Return: an index, an error, or AGAIN. */
static int select_once(struct select *select)
{
    select->enlisted = 0;
    select->taken = NONE;
    select->first_time = FILCH_NEVER;
    if (look(select)) {
        filch__coop_inline();
        return (int)select->taken;
    }
    if (select->until == FILCH_NOW)
        return give_up();
    filch__waiter_group_init(&select->group);
    enlist(select);
    if (select->taken != NONE) {
        (void)delist(select, 0);
        return (int)select->taken;
    }
    return wait(select);
}

int filch_select(filch_case *cases, size_t count, unsigned flags, filch_time until)
{
    struct select select;
    int r;

    if (!is_valid(cases, count) || flags & ~(unsigned)FILCH_SELECT_ORDERED)
        return -EINVAL;
    select.cases = cases;
    select.count = (unsigned)count;
    select.until = until;
    shuffle(&select, flags);
    do
        r = select_once(&select);
    while (r == AGAIN);
    return r;
}
