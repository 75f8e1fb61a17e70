/* What a property test of an object is: a world with the object and a simple model of it, a step
 * that does one random operation and compares it with the model, and an end at which all must add
 * up. property.c has actors take the steps, many at a time.
 *
 * Models are kept where the object itself gives the order: in plain memory under a lock that is
 * tested, in the values that are passed on, or in counts of which one was taken before and one
 * after. So they are exact, and need no lock that would hide what they look for. */
#ifndef FILCH_TESTS_PROPERTY_PROPERTY_H
#define FILCH_TESTS_PROPERTY_PROPERTY_H

#include <errno.h>

#include "tests/runner/crowd.h"

/* Actors at a time. Whoever is cancelled is replaced by another one in the same slot. */
#define SLOTS 10

struct life;

struct actor {
    struct life *life;
    void *world;
    unsigned slot;
    bool is_thread;
    unsigned long op; /* of the life: each number is one actor's */
    uint64_t random;
    unsigned long done, gave_up, cancelled; /* operations, by how they ended */
};

struct property {
    const char *name;
    /* Return: the world, for so many operations. */
    void *(*begin)(unsigned long ops, uint64_t *random);
    /* May be NULL. What an actor keeps from step to step it keeps in the world, by its slot. */
    void (*enter)(struct actor *actor);
    void (*step)(struct actor *actor);
    void (*leave)(struct actor *actor);
    /* All actors have gone. Checks, and frees the world. In the runtime, if there is one. */
    void (*end)(void *world);
};

extern const struct property property_mutex, property_rwlock, property_cond, property_once;
extern const struct property property_semaphore, property_notify, property_barrier,
    property_waitgroup, property_gate, property_limiter;
extern const struct property property_oneshot, property_chan, property_broadcast, property_watch;
extern const struct property property_delay_queue, property_token, property_rcu;

static inline unsigned any(struct actor *actor, unsigned limit)
{
    return random_below(&actor->random, limit);
}

/* Now, mostly soon, sometimes later. */
static inline filch_time soon(struct actor *actor)
{
    switch (any(actor, 8)) {
    case 0:
    case 1:
    case 2:
        return FILCH_NOW;
    case 3:
        return filch_after(300 * FILCH_MICROSECOND);
    default:
        return filch_after(any(actor, 40) * FILCH_MICROSECOND);
    }
}

static inline void pause_now_and_then(struct actor *actor)
{
    if (any(actor, 4) == 0)
        filch_task_yield();
}

/* Was an operation done? Those that were not must have a reason: its time has come, the actor was
 * cancelled, or @other. */
static inline bool did_or(struct actor *actor, long long r, filch_time until, int other)
{
    if (r >= 0) {
        actor->done++;
        return true;
    }
    if (r == -ECANCELED) {
        T_CHECK(filch_task_is_cancelled());
        actor->cancelled++;
    } else if (r == -ETIMEDOUT) {
        T_CHECK(until <= filch_now());
        actor->gave_up++;
    } else {
        T_IS(r, other);
        actor->gave_up++;
    }
    return false;
}

static inline bool did(struct actor *actor, long long r, filch_time until)
{
    return did_or(actor, r, until, 0);
}

/* A select of one case. Return: its result, or why it has not won. */
static inline int select_one(filch_case c, filch_time until)
{
    int r = filch_select(&c, 1, 0, until);

    return r < 0 ? r : c.result;
}

static inline void *new_world(size_t bytes)
{
    void *world = calloc(1, bytes);

    T_CHECK(world);
    return world;
}

#endif
