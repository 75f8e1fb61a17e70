/* What counts: permits, notifications, rounds, work under way, permits over time. The models are
 * sums that must be the same on both sides at the end, and bounds that hold at each moment, as one
 * side is counted before the call and the other after it. */
#include "tests/property/property.h"

/* ---- semaphore: what is held, what is there, and what was added agree ---- */

enum { LARGEST = 4 };

struct semaphore_world {
    filch_semaphore semaphore;
    atomic_ulong most; /* permits that there were in all, counted before they come */
    atomic_ulong held; /* counted after they were taken, and no more before they go */
    atomic_ulong forgotten;
};

static void *semaphore_begin(unsigned long ops, uint64_t *random)
{
    struct semaphore_world *world = new_world(sizeof(*world));

    (void)ops;
    world->most = LARGEST + random_below(random, 4);
    T_OK(filch_semaphore_init(&world->semaphore, world->most));
    return world;
}

static int semaphore_acquires(struct actor *actor, filch_semaphore *semaphore, uint64_t n,
                              filch_time until)
{
    switch (any(actor, 5)) {
    case 0:
        return filch_semaphore_try_acquire(semaphore, n);
    case 1:
        return select_one(filch_case_acquire(semaphore, n), until);
    case 2:
        return filch_permit_acquire(semaphore, n, until).result;
    default:
        return filch_semaphore_acquire(semaphore, n, until);
    }
}

static void semaphore_gives(struct semaphore_world *world, uint64_t n)
{
    atomic_fetch_add(&world->most, n);
    T_OK(filch_semaphore_release(&world->semaphore, n));
}

static void semaphore_step(struct actor *actor)
{
    struct semaphore_world *world = actor->world;
    uint64_t n = 1 + any(actor, LARGEST);
    filch_time until = soon(actor);

    if (any(actor, 16) == 0) {
        uint64_t gone = filch_semaphore_forget(&world->semaphore, n);

        T_CHECK(gone <= n);
        atomic_fetch_add(&world->forgotten, gone);
        pause_now_and_then(actor);
        semaphore_gives(world, gone);
        actor->done++;
        return;
    }
    if (!did_or(actor, semaphore_acquires(actor, &world->semaphore, n, until), until, -EAGAIN))
        return;
    T_CHECK(atomic_fetch_add(&world->held, n) + n <= atomic_load(&world->most));
    pause_now_and_then(actor);
    atomic_fetch_sub(&world->held, n);
    T_OK(filch_semaphore_release(&world->semaphore, n));
}

static void semaphore_end(void *arg)
{
    struct semaphore_world *world = arg;

    T_IS(world->held, 0);
    T_IS(filch_semaphore_available(&world->semaphore), world->most - world->forgotten);
    T_OK(filch_semaphore_close(&world->semaphore));
    T_IS(filch_semaphore_acquire(&world->semaphore, 1, FILCH_NEVER), -EPIPE);
    filch_semaphore_fini(&world->semaphore);
    free(world);
}

const struct property property_semaphore = {
    .name = "semaphore", .begin = semaphore_begin, .step = semaphore_step, .end = semaphore_end};

/* ---- notify: one thing that all want, and that is announced once each time that it is put back.
 * So one announcement that is lost, or kept by somebody who has no use for it, stops them all ----
 */

struct notify_world {
    filch_notify notify;
    atomic_int there;  /* 1, or 0: somebody has it */
    atomic_ulong ones; /* calls of notify_one(), counted before */
    atomic_ulong alls; /* those that notify_all() has woken */
    atomic_ulong woken;
    bool uses_all;
};

static void *notify_begin(unsigned long ops, uint64_t *random)
{
    struct notify_world *world = new_world(sizeof(*world));

    (void)ops;
    world->there = 1;
    world->uses_all = random_below(random, 4) == 0;
    return world;
}

static bool notify_takes(struct notify_world *world)
{
    int there = 1;

    return atomic_compare_exchange_strong(&world->there, &there, 0);
}

static void notify_announces(struct notify_world *world)
{
    atomic_fetch_add(&world->ones, 1);
    T_OK(filch_notify_one(&world->notify));
}

static void notify_puts_back(struct actor *actor, struct notify_world *world)
{
    for (unsigned i = any(actor, 3); i > 0; i--)
        filch_task_yield();
    T_IS(atomic_exchange(&world->there, 1), 0);
    notify_announces(world);
    actor->done++;
}

/* Wants nothing, and so passes on what it was woken for. */
static void notify_only_waits(struct actor *actor, struct notify_world *world)
{
    filch_time until = soon(actor);
    int r = any(actor, 2) ? filch_notify_wait(&world->notify, until)
                          : select_one(filch_case_notified(&world->notify), until);

    if (!did(actor, r, until))
        return;
    atomic_fetch_add(&world->woken, 1);
    notify_announces(world);
}

/* Prepares and thinks better of it. */
static void notify_abandons(struct actor *actor, struct notify_world *world)
{
    FILCH_NOTIFIED(notified);

    T_OK(filch_notify_prepare(&world->notify, &notified));
    pause_now_and_then(actor);
    actor->done++;
}

static void notify_waits_and_takes(struct actor *actor, struct notify_world *world)
{
    bool patient = any(actor, 2);
    filch_time until = patient ? T_LIMIT : soon(actor);
    FILCH_NOTIFIED(notified);

    for (;;) {
        int r;

        T_OK(filch_notify_prepare(&world->notify, &notified));
        if (notify_takes(world)) {
            notify_puts_back(actor, world);
            return;
        }
        r = filch_notified_wait(&notified, until);
        T_CHECK(r != -ETIMEDOUT || !patient);
        if (!did(actor, r, until))
            return;
        atomic_fetch_add(&world->woken, 1);
    }
}

static void notify_step(struct actor *actor)
{
    struct notify_world *world = actor->world;
    int woken;

    switch (any(actor, 8)) {
    case 0:
        notify_only_waits(actor, world);
        return;
    case 1:
        notify_abandons(actor, world);
        return;
    case 2:
        if (world->uses_all) {
            woken = filch_notify_all(&world->notify);
            T_CHECK(woken >= 0);
            atomic_fetch_add(&world->alls, (unsigned)woken);
        }
        return;
    default:
        notify_waits_and_takes(actor, world);
    }
}

static void notify_end(void *arg)
{
    struct notify_world *world = arg;

    T_IS(world->there, 1);
    if (filch_notify_wait(&world->notify, FILCH_NOW) == 0)
        world->woken++;
    T_IS(filch_notify_wait(&world->notify, FILCH_NOW), -ETIMEDOUT); /* at most one permit */
    T_CHECK(world->woken <= world->ones + world->alls);
    T_IS(filch_notify_all(&world->notify), 0);
    filch_notify_fini(&world->notify);
    free(world);
}

const struct property property_notify = {
    .name = "notify", .begin = notify_begin, .step = notify_step, .end = notify_end};

/* ---- barrier: rounds of so many, each with one leader ---- */

struct barrier_world {
    filch_barrier barrier;
    uint32_t participants;
    atomic_ulong arrived; /* counted before, and no more after one that has failed */
    atomic_ulong passed, leaders;
};

static void *barrier_begin(unsigned long ops, uint64_t *random)
{
    struct barrier_world *world = new_world(sizeof(*world));

    (void)ops;
    world->participants = 1 + random_below(random, 4);
    T_OK(filch_barrier_init(&world->barrier, world->participants));
    return world;
}

static void barrier_step(struct actor *actor)
{
    struct barrier_world *world = actor->world;
    filch_time until = soon(actor);
    unsigned long rounds;
    int r;

    atomic_fetch_add(&world->arrived, 1);
    r = filch_barrier_wait(&world->barrier, until);
    if (!did(actor, r, until)) {
        atomic_fetch_sub(&world->arrived, 1);
        return;
    }
    T_CHECK(r <= 1);
    rounds = atomic_fetch_add(&world->leaders, (unsigned)r) + (unsigned)r;
    atomic_fetch_add(&world->passed, 1);
    T_CHECK(atomic_load(&world->arrived) >= rounds * world->participants);
}

static void barrier_end(void *arg)
{
    struct barrier_world *world = arg;

    T_IS(world->passed, world->leaders * world->participants);
    T_IS(world->arrived, world->passed);
    filch_barrier_fini(&world->barrier);
    free(world);
}

const struct property property_barrier = {
    .name = "barrier", .begin = barrier_begin, .step = barrier_step, .end = barrier_end};

/* ---- wait group: not empty while anybody's work is under way ---- */

struct waitgroup_world {
    filch_waitgroup group;
    atomic_long debts; /* work that anybody may end */
};

static void *waitgroup_begin(unsigned long ops, uint64_t *random)
{
    struct waitgroup_world *world = new_world(sizeof(*world));

    (void)ops, (void)random;
    T_OK(filch_waitgroup_init(&world->group, 0));
    return world;
}

static void waitgroup_works(struct actor *actor, struct waitgroup_world *world)
{
    uint64_t n = 1 + any(actor, 3);
    filch_time until = soon(actor);
    int r;

    T_OK(filch_waitgroup_add(&world->group, n));
    T_CHECK(filch_waitgroup_count(&world->group) >= n);
    r = any(actor, 2) ? filch_waitgroup_wait(&world->group, until)
                      : select_one(filch_case_waitgroup(&world->group), until);
    T_CHECK(r < 0); /* our own work is under way */
    (void)did(actor, r, until);
    for (; n > 0; n--) {
        if (any(actor, 3) == 0)
            atomic_fetch_add(&world->debts, 1);
        else
            T_OK(filch_waitgroup_done(&world->group));
    }
    actor->done++;
}

static void waitgroup_pays(struct waitgroup_world *world)
{
    long debts = atomic_load(&world->debts);

    while (debts > 0)
        if (atomic_compare_exchange_weak(&world->debts, &debts, debts - 1)) {
            T_OK(filch_waitgroup_done(&world->group));
            debts = atomic_load(&world->debts);
        }
}

static void waitgroup_step(struct actor *actor)
{
    struct waitgroup_world *world = actor->world;
    filch_time until = soon(actor);

    switch (any(actor, 4)) {
    case 0:
        waitgroup_pays(world);
        actor->done++;
        break;
    case 1:
        (void)did(actor, filch_waitgroup_wait(&world->group, until), until);
        break;
    default:
        waitgroup_works(actor, world);
    }
}

static void waitgroup_end(void *arg)
{
    struct waitgroup_world *world = arg;

    T_IS(filch_waitgroup_count(&world->group), world->debts);
    waitgroup_pays(world);
    T_OK(filch_waitgroup_wait(&world->group, FILCH_NOW));
    T_OK(filch_waitgroup_close(&world->group));
    T_IS(filch_waitgroup_add(&world->group, 1), -EPIPE);
    filch_waitgroup_fini(&world->group);
    free(world);
}

const struct property property_waitgroup = {
    .name = "waitgroup", .begin = waitgroup_begin, .step = waitgroup_step, .end = waitgroup_end};

/* ---- gates: each is closed once, and then nobody is inside for ever ---- */

enum { VISITS_EACH = 200 };

struct gate_world {
    struct gate_thing {
        filch_gate gate;
        atomic_int inside;
        atomic_bool closing, closed; /* before the first close; after one that returned 0 */
    } * things;
    unsigned long count;
};

static void *gate_begin(unsigned long ops, uint64_t *random)
{
    struct gate_world *world = new_world(sizeof(*world));

    (void)random;
    world->count = ops / VISITS_EACH + 1;
    world->things = calloc(world->count, sizeof(*world->things));
    T_CHECK(world->things);
    for (unsigned long i = 0; i < world->count; i++)
        filch_gate_init(&world->things[i].gate);
    return world;
}

static void gate_visits(struct actor *actor, struct gate_thing *thing)
{
    bool closed = atomic_load(&thing->closed);
    int r = filch_gate_enter(&thing->gate);

    if (r < 0) {
        T_IS(r, -EPIPE);
        T_CHECK(atomic_load(&thing->closing));
        actor->gave_up++;
        return;
    }
    T_CHECK(!closed);
    atomic_fetch_add(&thing->inside, 1);
    pause_now_and_then(actor);
    T_CHECK(!atomic_load(&thing->closed));
    atomic_fetch_sub(&thing->inside, 1);
    T_OK(filch_gate_leave(&thing->gate));
    actor->done++;
}

static void gate_closes(struct actor *actor, struct gate_thing *thing)
{
    filch_time until = soon(actor);

    atomic_store(&thing->closing, true);
    if (!did(actor, filch_gate_close(&thing->gate, until), until))
        return;
    T_IS(atomic_load(&thing->inside), 0);
    atomic_store(&thing->closed, true);
    T_CHECK(filch_gate_is_closed(&thing->gate));
}

static void gate_step(struct actor *actor)
{
    struct gate_world *world = actor->world;
    unsigned long visit = actor->op % VISITS_EACH;
    struct gate_thing *thing = &world->things[actor->op / VISITS_EACH];

    if (visit > VISITS_EACH / 2 && any(actor, 16) == 0)
        gate_closes(actor, thing);
    else
        gate_visits(actor, thing);
}

static void gate_end(void *arg)
{
    struct gate_world *world = arg;

    for (unsigned long i = 0; i < world->count; i++) {
        T_OK(filch_gate_close(&world->things[i].gate, FILCH_NOW));
        T_IS(filch_gate_enter(&world->things[i].gate), -EPIPE);
        filch_gate_fini(&world->things[i].gate);
    }
    free(world->things);
    free(world);
}

const struct property property_gate = {
    .name = "gate", .begin = gate_begin, .step = gate_step, .end = gate_end};

/* ---- rate limiter: never more than burst + rate x time, and nothing lost by those who give up */

struct limiter_world {
    filch_limiter limiter;
    uint64_t per_us; /* permits in each microsecond */
    uint32_t burst;
    filch_time start;
    atomic_ulong taken; /* counted after */
};

static void *limiter_begin(unsigned long ops, uint64_t *random)
{
    struct limiter_world *world = new_world(sizeof(*world));

    (void)ops;
    world->per_us = 1 + random_below(random, 4);
    world->burst = 1 + random_below(random, 12);
    world->start = filch_now();
    T_OK(filch_limiter_init(&world->limiter, world->per_us, FILCH_MICROSECOND, world->burst));
    return world;
}

static void limiter_step(struct actor *actor)
{
    struct limiter_world *world = actor->world;
    uint32_t n = 1 + any(actor, world->burst);
    filch_time until = soon(actor);
    unsigned long taken;
    int r;

    T_CHECK(filch_limiter_delay(&world->limiter, n) != FILCH_NEVER);
    if (any(actor, 4) == 0)
        r = filch_limiter_try_acquire(&world->limiter, n);
    else
        r = filch_limiter_acquire(&world->limiter, n, until);
    if (!did_or(actor, r, until, -EAGAIN))
        return;
    taken = atomic_fetch_add(&world->taken, n) + n;
    T_CHECK(taken <=
            world->burst + (filch_now() - world->start) * world->per_us / FILCH_MICROSECOND);
}

static void limiter_end(void *arg)
{
    struct limiter_world *world = arg;

    /* Nobody waits any more, so the bucket is full after as long as it takes to fill it. */
    T_CHECK(filch_limiter_delay(&world->limiter, world->burst) <=
            world->burst * FILCH_MICROSECOND / world->per_us + 1);
    T_OK(filch_limiter_acquire(&world->limiter, world->burst, T_LIMIT));
    filch_limiter_fini(&world->limiter);
    free(world);
}

const struct property property_limiter = {
    .name = "limiter", .begin = limiter_begin, .step = limiter_step, .end = limiter_end};
