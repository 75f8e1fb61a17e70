/* Locks. The models are plain memory under the lock that is tested: who is inside, what was done
 * there, in which order. ThreadSanitizer sees it, too. */
#include "tests/property/property.h"

/* ---- mutex: one at a time, and what each does is seen by the next ---- */

struct mutex_world {
    filch_mutex mutex;
    /* Under the mutex. */
    unsigned inside; /* 1 + the slot */
    uint64_t entered;
    atomic_ulong done;
};

static void *mutex_begin(unsigned long ops, uint64_t *random)
{
    (void)ops, (void)random;
    return new_world(sizeof(struct mutex_world));
}

static bool mutex_locks(struct actor *actor, filch_mutex *mutex)
{
    filch_time until = soon(actor);

    switch (any(actor, 6)) {
    case 0:
        return did_or(actor, filch_mutex_try_lock(mutex), FILCH_NEVER, -EBUSY);
    case 1:
        return did(actor, select_one(filch_case_lock(mutex), until), until);
    case 2:
        return did(actor, filch_mutex_lock_shielded(mutex), FILCH_NEVER);
    case 3:
        until = FILCH_NEVER;
        break;
    default:
        break;
    }
    return did(actor, filch_mutex_lock(mutex, until), until);
}

static void mutex_step(struct actor *actor)
{
    struct mutex_world *world = actor->world;
    uint64_t entered;

    if (!mutex_locks(actor, &world->mutex))
        return;
    T_IS(world->inside, 0);
    world->inside = 1 + actor->slot;
    entered = ++world->entered;
    pause_now_and_then(actor);
    T_IS(world->inside, 1 + actor->slot);
    T_IS(world->entered, entered);
    world->inside = 0;
    atomic_fetch_add(&world->done, 1);
    T_OK(filch_mutex_unlock(&world->mutex));
}

static void mutex_end(void *arg)
{
    struct mutex_world *world = arg;

    T_IS(world->entered, world->done);
    T_IS(filch_mutex_unlock(&world->mutex), -EPERM);
    filch_mutex_fini(&world->mutex);
    free(world);
}

const struct property property_mutex = {
    .name = "mutex", .begin = mutex_begin, .step = mutex_step, .end = mutex_end};

/* ---- rwlock: a pair of numbers that only a writer sees unequal ---- */

struct rwlock_world {
    filch_rwlock lock;
    uint64_t pair[2]; /* under the lock */
    atomic_int readers, writers;
    atomic_ulong written;
    uint64_t seen[SLOTS]; /* by each slot: never less than before */
};

static void *rwlock_begin(unsigned long ops, uint64_t *random)
{
    (void)ops, (void)random;
    return new_world(sizeof(struct rwlock_world));
}

static void rwlock_looks(struct actor *actor, struct rwlock_world *world)
{
    uint64_t first = world->pair[0];

    T_IS(atomic_load(&world->writers), 0);
    pause_now_and_then(actor);
    T_IS(world->pair[1], first);
    T_CHECK(first >= world->seen[actor->slot]);
    world->seen[actor->slot] = first;
}

static void rwlock_reads(struct actor *actor, struct rwlock_world *world)
{
    filch_time until = soon(actor);
    bool has;

    switch (any(actor, 4)) {
    case 0:
        has = did_or(actor, filch_rwlock_try_read(&world->lock), FILCH_NEVER, -EBUSY);
        break;
    case 1:
        has = did(actor, select_one(filch_case_read_lock(&world->lock), until), until);
        break;
    case 2:
        until = FILCH_NEVER; /* fall through */
    default:
        has = did(actor, filch_rwlock_read(&world->lock, until), until);
    }
    if (!has)
        return;
    atomic_fetch_add(&world->readers, 1);
    rwlock_looks(actor, world);
    atomic_fetch_sub(&world->readers, 1);
    T_OK(filch_rwlock_unlock(&world->lock));
}

static void rwlock_writes(struct actor *actor, struct rwlock_world *world)
{
    filch_time until = soon(actor);
    bool has;

    switch (any(actor, 4)) {
    case 0:
        has = did_or(actor, filch_rwlock_try_write(&world->lock), FILCH_NEVER, -EBUSY);
        break;
    case 1:
        has = did(actor, select_one(filch_case_write_lock(&world->lock), until), until);
        break;
    case 2:
        until = FILCH_NEVER; /* fall through */
    default:
        has = did(actor, filch_rwlock_write(&world->lock, until), until);
    }
    if (!has)
        return;
    T_IS(atomic_load(&world->readers), 0);
    T_IS(atomic_fetch_add(&world->writers, 1), 0);
    atomic_fetch_add(&world->written, 1);
    world->pair[0]++;
    pause_now_and_then(actor);
    world->pair[1]++;
    atomic_fetch_sub(&world->writers, 1);
    if (any(actor, 3) == 0) {
        uint64_t mine = world->pair[1];

        atomic_fetch_add(&world->readers, 1);
        T_OK(filch_rwlock_downgrade(&world->lock));
        rwlock_looks(actor, world);
        T_IS(world->pair[0], mine); /* nobody has written in between */
        atomic_fetch_sub(&world->readers, 1);
    }
    T_OK(filch_rwlock_unlock(&world->lock));
}

static void rwlock_step(struct actor *actor)
{
    if (any(actor, 3))
        rwlock_reads(actor, actor->world);
    else
        rwlock_writes(actor, actor->world);
}

static void rwlock_end(void *arg)
{
    struct rwlock_world *world = arg;

    T_IS(world->pair[0], world->written);
    T_IS(world->pair[1], world->written);
    T_IS(filch_rwlock_unlock(&world->lock), -EPERM);
    filch_rwlock_fini(&world->lock);
    free(world);
}

const struct property property_rwlock = {
    .name = "rwlock", .begin = rwlock_begin, .step = rwlock_step, .end = rwlock_end};

/* ---- condition: a bounded buffer, first in, first out ---- */

enum { ROOM = 3 };

struct item {
    unsigned slot;
    uint64_t number;
};

struct cond_world {
    filch_mutex mutex;
    filch_cond not_empty, not_full;
    /* Under the mutex. */
    unsigned inside;
    struct item ring[ROOM];
    unsigned first, count;
    unsigned waiting[2]; /* for not_empty, not_full; or woken, and not yet inside again */
    uint64_t put[SLOTS], taken[SLOTS];
    uint64_t woken;
    atomic_ulong signalled;
};

static void *cond_begin(unsigned long ops, uint64_t *random)
{
    (void)ops, (void)random;
    return new_world(sizeof(struct cond_world));
}

/* Return: false: it gave up; inside in any case. */
static bool cond_waits(struct actor *actor, struct cond_world *world, bool for_room,
                       filch_time until)
{
    int r;

    world->waiting[for_room]++;
    world->inside = 0;
    r = filch_cond_wait(for_room ? &world->not_full : &world->not_empty, &world->mutex, until);
    T_IS(world->inside, 0);
    world->inside = 1 + actor->slot;
    world->waiting[for_room]--;
    world->woken += r == 0;
    return did(actor, r, until);
}

static void cond_signals(struct actor *actor, struct cond_world *world, bool for_room)
{
    filch_cond *cond = for_room ? &world->not_full : &world->not_empty;
    int r = any(actor, 8) ? filch_cond_signal(cond) : filch_cond_broadcast(cond);

    T_CHECK(r >= 0);
    /* Nobody comes to wait without the mutex; some may leave. */
    if (world->inside == 1 + actor->slot)
        T_CHECK((unsigned)r <= world->waiting[for_room]);
    atomic_fetch_add(&world->signalled, (unsigned)r);
}

static void cond_puts(struct actor *actor, struct cond_world *world)
{
    struct item item = {actor->slot, ++world->put[actor->slot]};

    world->ring[(world->first + world->count++) % ROOM] = item;
    T_CHECK(world->count <= ROOM);
}

static void cond_takes(struct cond_world *world)
{
    struct item item = world->ring[world->first++ % ROOM];

    T_CHECK(world->count-- > 0);
    T_IS(item.number, ++world->taken[item.slot]);
}

static void cond_step(struct actor *actor)
{
    struct cond_world *world = actor->world;
    bool puts = any(actor, 2);
    filch_time until = soon(actor);

    T_OK(filch_mutex_lock_shielded(&world->mutex));
    T_IS(world->inside, 0);
    world->inside = 1 + actor->slot;
    while (world->count == (puts ? ROOM : 0))
        if (!cond_waits(actor, world, puts, until))
            break;
    if (world->count != (puts ? ROOM : 0)) {
        if (puts)
            cond_puts(actor, world);
        else
            cond_takes(world);
        actor->done++;
        cond_signals(actor, world, !puts);
    }
    world->inside = 0;
    T_OK(filch_mutex_unlock(&world->mutex));
    if (any(actor, 16) == 0) /* also without it */
        atomic_fetch_add(&world->signalled, (unsigned)filch_cond_signal(&world->not_full));
}

static void cond_end(void *arg)
{
    struct cond_world *world = arg;

    T_IS(world->woken, world->signalled);
    T_IS(world->waiting[0] + world->waiting[1], 0);
    while (world->count)
        cond_takes(world);
    for (unsigned i = 0; i < SLOTS; i++)
        T_IS(world->taken[i], world->put[i]);
    T_IS(filch_cond_broadcast(&world->not_empty), 0);
    filch_cond_fini(&world->not_empty);
    filch_cond_fini(&world->not_full);
    filch_mutex_fini(&world->mutex);
    free(world);
}

const struct property property_cond = {
    .name = "cond", .begin = cond_begin, .step = cond_step, .end = cond_end};

/* ---- once: one success each, one attempt at a time ---- */

enum { CALLS_EACH = 8 };

struct once_world {
    struct once_thing {
        filch_once once;
        filch_once_cell cell;
        /* Under the once. */
        bool runs;
        unsigned successes;
        uint64_t value;
    } * things;
    unsigned long count;
    atomic_ulong failed, told; /* attempts that have failed, and callers who were told so */
};

struct attempt {
    struct actor *actor;
    struct once_world *world;
    struct once_thing *thing;
    int result;
};

static void *once_begin(unsigned long ops, uint64_t *random)
{
    struct once_world *world = new_world(sizeof(*world));

    (void)random;
    world->count = ops / CALLS_EACH + 1;
    world->things = calloc(world->count, sizeof(*world->things));
    T_CHECK(world->things);
    return world;
}

static int once_attempt(void *arg)
{
    struct attempt *attempt = arg;
    struct once_thing *thing = attempt->thing;

    T_CHECK(!thing->runs);
    thing->runs = true;
    pause_now_and_then(attempt->actor);
    thing->runs = false;
    if (attempt->result == 0) {
        thing->successes++;
        thing->value = 77;
    } else {
        atomic_fetch_add(&attempt->world->failed, 1);
    }
    return attempt->result;
}

static int once_make(void *arg, void **ret_value)
{
    struct attempt *attempt = arg;
    int r = once_attempt(attempt);

    if (r == 0)
        *ret_value = &attempt->thing->value;
    return r;
}

static void once_step(struct actor *actor)
{
    struct once_world *world = actor->world;
    struct once_thing *thing = &world->things[actor->op / CALLS_EACH];
    /* Half of them are cells. */
    bool is_cell = actor->op / CALLS_EACH % 2;
    struct attempt attempt = {actor, world, thing, any(actor, 3) ? 0 : -EIO};
    filch_time until = soon(actor);
    void *value = NULL;
    int r = is_cell ? filch_once_cell_get(&thing->cell, once_make, &attempt, &value, until)
                    : filch_once_do(&thing->once, once_attempt, &attempt, until);

    atomic_fetch_add(&world->told, r == -EIO);
    if (!did_or(actor, r, until, attempt.result))
        return;
    T_IS(r, 0);
    T_IS(thing->successes, 1);
    T_IS(thing->value, 77);
    if (is_cell)
        T_CHECK(value == &thing->value && filch_once_cell_peek(&thing->cell) == value);
    else
        T_CHECK(filch_once_is_done(&thing->once));
}

static void once_end(void *arg)
{
    struct once_world *world = arg;

    T_IS(world->told, world->failed);
    for (unsigned long i = 0; i < world->count; i++) {
        struct once_thing *thing = &world->things[i];
        bool done =
            i % 2 ? filch_once_cell_peek(&thing->cell) != NULL : filch_once_is_done(&thing->once);

        T_IS(thing->successes, done);
        filch_once_fini(&thing->once);
        filch_once_fini(&thing->cell.once);
    }
    free(world->things);
    free(world);
}

const struct property property_once = {
    .name = "once", .begin = once_begin, .step = once_step, .end = once_end};
