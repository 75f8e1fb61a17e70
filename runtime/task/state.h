/* A task's life in one word.
 *
 *     FREE --spawn--> QUEUED --pick--> RUNNING --finish--> DONE --release--> FREE (next generation)
 *                       ^ ^              |  |
 *                       | |            park wake
 *                       | +--wake--+     |  v
 *                       |       PARKED <-+  RUNNING|QUEUED --park or yield--> QUEUED
 *                       +------------------------------------------------------+
 *
 * Bits: RUNNING  a worker is on the task's stack: a lock on everything the task owns.
 *       QUEUED   it is in exactly one queue, or, with RUNNING, will be put into one when it parks.
 *       neither  parked (or DONE).
 *       DONE     the body has returned and `result` is set. Never cleared in this generation.
 *       HANDLE   a handle exists: who joins or detaches releases the block. Without it, finish
 * does. JOINING  `joiner` points to a waiter: finish must wake it. CANCEL   asked to end. Never
 * cleared in this generation. Bits 48-63 are the generation; it grows at each release, so that
 * stale handles and wakers see a different word.
 *
 * One function per edge; each is one read-modify-write, or a loop of one. Who may call:
 *   pick, park, yield, finish   the worker that has RUNNING, or is about to get it by popping the
 * task from a queue wake, cancel                anyone with a generation join_begin/end, detach the
 * owner of the handle
 *
 * Pairings: [task-publish] what a waker wrote before wake() is seen after pick(): wake releases,
 * pick acquires, also through a chain of other read-modify-writes of the word (release sequence).
 * [task-result] finish releases, join_begin and the joiner's wake acquire.
 */
#ifndef FILCH_TASK_STATE_H
#define FILCH_TASK_STATE_H

#include "runtime/base/assert.h"
#include "runtime/base/atomic.h"

#define FILCH_TASK_RUNNING ((uint64_t)1)
#define FILCH_TASK_QUEUED ((uint64_t)2)
#define FILCH_TASK_DONE ((uint64_t)4)
#define FILCH_TASK_HANDLE ((uint64_t)8)
#define FILCH_TASK_JOINING ((uint64_t)16)
#define FILCH_TASK_CANCEL ((uint64_t)32)
#define FILCH_TASK_GENERATION_SHIFT 48

static inline uint64_t filch__state_generation(uint64_t state)
{
    return state >> FILCH_TASK_GENERATION_SHIFT;
}

/* FREE -> QUEUED. The block is ours alone; the queue's publication carries it to the worker. */
static inline void filch__state_spawn(filch_atomic_u64 *state, bool with_handle)
{
    uint64_t free_word = filch_load_relaxed(state);

    filch_store_release(state, (free_word & ~((uint64_t)0xffff)) | FILCH_TASK_QUEUED |
                                   (with_handle ? FILCH_TASK_HANDLE : 0)); /* [task-publish] */
}

/* QUEUED -> RUNNING, by the worker that popped it. */
static inline void filch__state_pick(filch_atomic_u64 *state)
{
    uint64_t old =
        filch_fetch_sub_acq_rel(state, FILCH_TASK_QUEUED - FILCH_TASK_RUNNING); /* [task-publish] */

    filch_assert_state((old & (FILCH_TASK_QUEUED | FILCH_TASK_RUNNING | FILCH_TASK_DONE)) ==
                       FILCH_TASK_QUEUED);
    (void)old;
}

enum filch__park_result { FILCH_PARK_PARKED, FILCH_PARK_REQUEUE };

/* RUNNING -> PARKED, or, woken meanwhile, -> QUEUED: then the caller must put it into a queue. */
static inline enum filch__park_result filch__state_park(filch_atomic_u64 *state)
{
    uint64_t old = filch_fetch_sub_acq_rel(state, FILCH_TASK_RUNNING); /* [task-publish] */

    filch_assert_state(old & FILCH_TASK_RUNNING);
    return old & FILCH_TASK_QUEUED ? FILCH_PARK_REQUEUE : FILCH_PARK_PARKED;
}

/* RUNNING -> QUEUED: the caller must put it into a queue. */
static inline void filch__state_yield(filch_atomic_u64 *state)
{
    uint64_t old = filch_load_relaxed(state);

    while (!filch_cas_weak_acq_rel(state, &old, (old & ~FILCH_TASK_RUNNING) | FILCH_TASK_QUEUED))
        ;
}

/* Forgets a wake that came while RUNNING: the runner is about to look again by itself. Return: was
 * there one? */
static inline bool filch__state_take_wake(filch_atomic_u64 *state)
{
    if (!(filch_load_relaxed(state) & FILCH_TASK_QUEUED))
        return false;
    filch_fetch_and_acq_rel(state, ~FILCH_TASK_QUEUED); /* [task-publish] */
    return true;
}

enum filch__wake_result { FILCH_WAKE_NOTHING, FILCH_WAKE_QUEUE };

/* PARKED -> QUEUED: the caller must put it into a queue. RUNNING: leaves a note. Else nothing, also
 * for another generation. */
static inline enum filch__wake_result filch__state_wake(filch_atomic_u64 *state,
                                                        uint64_t generation)
{
    uint64_t old = filch_load_relaxed(state);

    for (;;) {
        if (filch__state_generation(old) != generation || old & FILCH_TASK_DONE)
            return FILCH_WAKE_NOTHING;
        /* Also when QUEUED is set already: the RMW puts our writes into the chain that pick()
         * acquires. */
        if (filch_cas_weak_acq_rel(state, &old, old | FILCH_TASK_QUEUED)) /* [task-publish] */
            return old & (FILCH_TASK_RUNNING | FILCH_TASK_QUEUED) ? FILCH_WAKE_NOTHING
                                                                  : FILCH_WAKE_QUEUE;
    }
}

enum filch__cancel_result { FILCH_CANCEL_STALE, FILCH_CANCEL_DONE, FILCH_CANCEL_QUEUE };

/* Sets CANCEL and wakes. QUEUE: the caller must put it into a queue. */
static inline enum filch__cancel_result filch__state_cancel(filch_atomic_u64 *state,
                                                            uint64_t generation)
{
    uint64_t old = filch_load_relaxed(state);

    for (;;) {
        if (filch__state_generation(old) != generation)
            return FILCH_CANCEL_STALE;
        if (old & FILCH_TASK_DONE)
            return FILCH_CANCEL_DONE;
        if (filch_cas_weak_acq_rel(state, &old, old | FILCH_TASK_CANCEL | FILCH_TASK_QUEUED))
            return old & (FILCH_TASK_RUNNING | FILCH_TASK_QUEUED) ? FILCH_CANCEL_DONE
                                                                  : FILCH_CANCEL_QUEUE;
    }
}

enum filch__finish_result { FILCH_FINISH_RELEASE, FILCH_FINISH_KEEP, FILCH_FINISH_WAKE_JOINER };

/* RUNNING -> DONE. RELEASE: no handle, the caller owns the block. KEEP: do not touch the block any
 * more. WAKE_JOINER: wake `joiner` (read before this call is not allowed, it is stable after it),
 * then do not touch the block. */
static inline enum filch__finish_result filch__state_finish(filch_atomic_u64 *state)
{
    uint64_t old =
        filch_fetch_add_acq_rel(state, FILCH_TASK_DONE - FILCH_TASK_RUNNING); /* [task-result] */

    filch_assert_state((old & (FILCH_TASK_RUNNING | FILCH_TASK_DONE)) == FILCH_TASK_RUNNING);
    if (!(old & FILCH_TASK_HANDLE))
        return FILCH_FINISH_RELEASE;
    return old & FILCH_TASK_JOINING ? FILCH_FINISH_WAKE_JOINER : FILCH_FINISH_KEEP;
}

enum filch__join_result { FILCH_JOIN_STALE, FILCH_JOIN_BUSY, FILCH_JOIN_DONE, FILCH_JOIN_WAIT };

struct filch__waiter;

/* The owner of the handle looks at a task's end. DONE: the caller owns the block. WAIT: *joiner is
 * set, and finish will wake it. */
static inline enum filch__join_result filch__state_join_begin(filch_atomic_u64 *state,
                                                              uint64_t generation,
                                                              struct filch__waiter **joiner,
                                                              struct filch__waiter *waiter)
{
    uint64_t old = filch_load_acquire(state); /* [task-result] */

    for (;;) {
        if (filch__state_generation(old) != generation || !(old & FILCH_TASK_HANDLE))
            return FILCH_JOIN_STALE;
        if (old & FILCH_TASK_JOINING)
            return FILCH_JOIN_BUSY;
        if (old & FILCH_TASK_DONE)
            return FILCH_JOIN_DONE;
        *joiner = waiter; /* nobody reads it before JOINING is set */
        filch_plain_write(joiner);
        if (filch_cas_weak_acq_rel(state, &old, old | FILCH_TASK_JOINING))
            return FILCH_JOIN_WAIT;
    }
}

/* The joiner gives up. True: nobody will touch its waiter. False: the task is done and the waiter
 * is being woken; wait for that. */
static inline bool filch__state_join_abandon(filch_atomic_u64 *state)
{
    uint64_t old = filch_load_relaxed(state);

    for (;;) {
        if (old & FILCH_TASK_DONE)
            return false;
        if (filch_cas_weak_acq_rel(state, &old, old & ~FILCH_TASK_JOINING))
            return true;
    }
}

enum filch__detach_result {
    FILCH_DETACH_STALE,
    FILCH_DETACH_BUSY,
    FILCH_DETACH_RELEASE,
    FILCH_DETACH_DONE
};

/* Gives the handle up. RELEASE: it had ended, the caller owns the block. */
static inline enum filch__detach_result filch__state_detach(filch_atomic_u64 *state,
                                                            uint64_t generation)
{
    uint64_t old = filch_load_relaxed(state);

    for (;;) {
        if (filch__state_generation(old) != generation || !(old & FILCH_TASK_HANDLE))
            return FILCH_DETACH_STALE;
        if (old & FILCH_TASK_JOINING)
            return FILCH_DETACH_BUSY;
        if (filch_cas_weak_acq_rel(state, &old, old & ~FILCH_TASK_HANDLE)) /* [task-result] */
            return old & FILCH_TASK_DONE ? FILCH_DETACH_RELEASE : FILCH_DETACH_DONE;
    }
}

/* DONE -> FREE of the next generation, by the owner of the block. Late wakers and handles see
 * another generation from here on. */
static inline void filch__state_release(filch_atomic_u64 *state)
{
    uint64_t generation = filch__state_generation(filch_load_relaxed(state));

    filch_store_release(state, ((generation + 1) & 0xffff) << FILCH_TASK_GENERATION_SHIFT |
                                   FILCH_TASK_DONE);
}

#endif
