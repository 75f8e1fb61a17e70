/* A task's life in one word.
 *
 *     FREE --spawn--> READY --pop--> running --finish--> DONE --release--> FREE (next generation)
 *                       ^               |
 *                     wake            park, unless NOTIFIED
 *                       |               v
 *                       +----------- PARKED
 *
 * READY and running look the same here: no bit. A ready task is in exactly one queue, and the queue
 * gives it to exactly one worker, whose it is until it parks or ends; so taking it and letting it
 * yield cost no read-modify-write. A whole suspension costs two: park and wake.
 *
 * Bits: PARKED   suspended and in no queue: the next wake queues it. Set by its runner, after it
 * has left the task's stack; cleared by the one wake (or cancel) that queues it. NOTIFIED a wake
 * came while the task was ready or running: its next park is over at once. Set by wakers, cleared
 * by the runner. DONE     the body has returned and `result` is set. Never cleared in this
 * generation. HANDLE   a handle exists: who joins or detaches releases the block. Without it, the
 * runner does, and needs no read-modify-write to end: once gone it never comes back. JOINING
 * `joiner` points to a waiter: finish must wake it. CANCEL   what suspending calls look at: asked
 * to end, or in a block whose deadline has passed, and not shielded from it. ASKED    asked to end.
 * Never cleared in this generation. OVERDUE  it is in a block whose deadline has passed. CLAIMED of
 * a fork: one of the two who may has set about running it (runtime/fork/fork.c). Bits 16-31 are why
 * it was asked: an errno constant, of the first who did. Bits 32-47 are the level of the block that
 * shields it, 0 for none (task/block.c). Bits 48-63 are the generation; it grows at each release,
 * so that stale handles and wakers see a different word.
 *
 * One function per edge; each is at most one read-modify-write, or a loop of one. Who may call:
 *   pick                        the worker that has just popped the task from a queue
 *   park, take_wake, finish     the runner
 *   wake, cancel                anyone with a generation
 *   overdue, unshield           a block's timer
 *   set_blocks                  the runner
 *   join_begin/abandon, detach  the owner of the handle
 *
 * Pairings: [task-publish] what a waker wrote before wake() is seen after pick() or take_wake():
 * wake releases, also through a chain of other read-modify-writes of the word (release sequence),
 * pick and take_wake acquire. The queue orders pick() after the wake that queued the task; a wake
 * that comes later than that leaves NOTIFIED, so nothing is missed. [task-park] what the runner
 * wrote is seen by whoever is given the task next: park releases, wake acquires, and the queue
 * carries it on. [task-result] finish releases, join_begin and the joiner's wake acquire; detach
 * releases, and finish acquires: whoever is left with the block comes after the other.
 */
#ifndef FILCH_TASK_STATE_H
#define FILCH_TASK_STATE_H

#include "runtime/base/assert.h"
#include "runtime/base/atomic.h"

#define FILCH_TASK_PARKED ((uint64_t)1)
#define FILCH_TASK_NOTIFIED ((uint64_t)2)
#define FILCH_TASK_DONE ((uint64_t)4)
#define FILCH_TASK_HANDLE ((uint64_t)8)
#define FILCH_TASK_JOINING ((uint64_t)16)
#define FILCH_TASK_CANCEL ((uint64_t)32)
#define FILCH_TASK_ASKED ((uint64_t)64)
#define FILCH_TASK_OVERDUE ((uint64_t)128)
#define FILCH_TASK_CLAIMED ((uint64_t)256)
#define FILCH_TASK_CAUSE_SHIFT 16
#define FILCH_TASK_SHIELD_SHIFT 32
#define FILCH_TASK_SHIELD ((uint64_t)0xffff << FILCH_TASK_SHIELD_SHIFT)
#define FILCH_TASK_GENERATION_SHIFT 48

static inline uint64_t filch__state_generation(uint64_t state)
{
    return state >> FILCH_TASK_GENERATION_SHIFT;
}

/* FREE -> READY. The block is ours alone; the queue's publication carries it to the worker. */
static inline void filch__state_spawn(filch_atomic_u64 *state, bool with_handle)
{
    uint64_t free_word = filch_load_relaxed(state);

    filch_store_release(state, (free_word & ~((uint64_t)0xffff)) |
                                   (with_handle ? FILCH_TASK_HANDLE : 0)); /* [task-publish] */
}

/* READY -> running, by the worker that popped it. */
static inline void filch__state_pick(filch_atomic_u64 *state)
{
    uint64_t word = filch_load_acquire(state); /* [task-publish] */

    filch_assert_state(!(word & (FILCH_TASK_PARKED | FILCH_TASK_DONE)));
    (void)word;
}

enum filch__park_result { FILCH_PARK_PARKED, FILCH_PARK_REQUEUE };

/* running -> PARKED, or, woken meanwhile, -> READY: then the caller must put it into a queue. */
static inline enum filch__park_result filch__state_park(filch_atomic_u64 *state)
{
    uint64_t old = filch_load_relaxed(state);

    for (;;) {
        bool notified = old & FILCH_TASK_NOTIFIED;

        filch_assert_state(!(old & (FILCH_TASK_PARKED | FILCH_TASK_DONE)));
        if (filch_cas_weak_acq_rel(state, &old, /* [task-park], [task-publish] */
                                   notified ? old & ~FILCH_TASK_NOTIFIED : old | FILCH_TASK_PARKED))
            return notified ? FILCH_PARK_REQUEUE : FILCH_PARK_PARKED;
    }
}

/* Forgets a wake that came while running: the runner is about to look again by itself. Return: was
 * there one? */
static inline bool filch__state_take_wake(filch_atomic_u64 *state)
{
    if (!(filch_load_relaxed(state) & FILCH_TASK_NOTIFIED))
        return false;
    filch_fetch_and_acq_rel(state, ~FILCH_TASK_NOTIFIED); /* [task-publish] */
    return true;
}

/* The word after a wake: a parked task becomes ready, another keeps a note. */
static inline uint64_t filch__state_woken(uint64_t old)
{
    return old & FILCH_TASK_PARKED ? old & ~FILCH_TASK_PARKED : old | FILCH_TASK_NOTIFIED;
}

enum filch__wake_result { FILCH_WAKE_NOTHING, FILCH_WAKE_QUEUE };

/* PARKED -> READY: the caller must put it into a queue. Else leaves a note; nothing for another
 * generation or a task that is done. */
static inline enum filch__wake_result filch__state_wake(filch_atomic_u64 *state,
                                                        uint64_t generation)
{
    uint64_t old = filch_load_relaxed(state);

    for (;;) {
        if (filch__state_generation(old) != generation || old & FILCH_TASK_DONE)
            return FILCH_WAKE_NOTHING;
        /* Also when NOTIFIED is set already: the RMW puts our writes into the chain that the
         * runner acquires. */
        if (filch_cas_weak_acq_rel(state, &old,
                                   filch__state_woken(old))) /* [task-publish], [task-park] */
            return old & FILCH_TASK_PARKED ? FILCH_WAKE_QUEUE : FILCH_WAKE_NOTHING;
    }
}

/* Why it was asked to end: a negative errno constant. */
static inline int filch__state_cause(uint64_t state)
{
    return -(int)(state >> FILCH_TASK_CAUSE_SHIFT & 0xffff);
}

static inline unsigned filch__state_shield(uint64_t state)
{
    return (unsigned)((state & FILCH_TASK_SHIELD) >> FILCH_TASK_SHIELD_SHIFT);
}

enum filch__cancel_result { FILCH_CANCEL_STALE, FILCH_CANCEL_DONE, FILCH_CANCEL_QUEUE };

/* The word after a request to end: the first cause stays, and a shield keeps all else as it is. */
static inline uint64_t filch__state_asked(uint64_t old, int cause)
{
    uint64_t word = old | FILCH_TASK_ASKED;

    if (!(old & FILCH_TASK_ASKED))
        word |= (uint64_t)(uint16_t)-cause << FILCH_TASK_CAUSE_SHIFT;
    return old & FILCH_TASK_SHIELD ? word : filch__state_woken(word) | FILCH_TASK_CANCEL;
}

/* Asks to end and wakes. QUEUE: the caller must put it into a queue. */
static inline enum filch__cancel_result filch__state_cancel(filch_atomic_u64 *state,
                                                            uint64_t generation, int cause)
{
    uint64_t old = filch_load_relaxed(state);

    for (;;) {
        if (filch__state_generation(old) != generation)
            return FILCH_CANCEL_STALE;
        if (old & FILCH_TASK_DONE)
            return FILCH_CANCEL_DONE;
        if (filch_cas_weak_acq_rel(state, &old, filch__state_asked(old, cause))) /* [task-park] */
            return (old & (FILCH_TASK_PARKED | FILCH_TASK_SHIELD)) == FILCH_TASK_PARKED
                       ? FILCH_CANCEL_QUEUE
                       : FILCH_CANCEL_DONE;
    }
}

/* The deadline of the running block with this level has passed: seen at once, unless a block within
 * shields from it. */
static inline enum filch__wake_result filch__state_overdue(filch_atomic_u64 *state,
                                                           uint64_t generation, unsigned level)
{
    uint64_t old = filch_load_relaxed(state);

    for (;;) {
        uint64_t word = old | FILCH_TASK_OVERDUE;
        bool seen = level > filch__state_shield(old);

        if (filch__state_generation(old) != generation || old & FILCH_TASK_DONE)
            return FILCH_WAKE_NOTHING;
        if (seen)
            word = filch__state_woken(word) | FILCH_TASK_CANCEL;
        if (filch_cas_weak_acq_rel(state, &old, word)) /* [task-park], [block-settle] */
            return seen && old & FILCH_TASK_PARKED ? FILCH_WAKE_QUEUE : FILCH_WAKE_NOTHING;
    }
}

/* How the blocks of a task stand at a moment. */
struct filch__standing {
    unsigned shield; /* level of the innermost shield in force; 0: none */
    bool overdue;    /* some deadline has passed */
    bool seen;       /* one of those within the shield */
};

static inline uint64_t filch__state_standing(uint64_t old, const struct filch__standing *standing)
{
    uint64_t word = old & ~(FILCH_TASK_SHIELD | FILCH_TASK_OVERDUE | FILCH_TASK_CANCEL);

    word |= (uint64_t)standing->shield << FILCH_TASK_SHIELD_SHIFT;
    if (standing->overdue)
        word |= FILCH_TASK_OVERDUE;
    if (standing->seen || (!standing->shield && old & FILCH_TASK_ASKED))
        word |= FILCH_TASK_CANCEL;
    return word;
}

/* The runner has entered or left a block. */
static inline void filch__state_set_blocks(filch_atomic_u64 *state,
                                           const struct filch__standing *standing)
{
    uint64_t old = filch_load_relaxed(state);

    /* [block-settle] acquires what a block's timer wrote before; the caller looks at the clock
     * again afterwards. */
    while (!filch_cas_weak_acq_rel(state, &old, filch__state_standing(old, standing)))
        ;
}

/* The time of the shield with this level has passed. Wakes, if it was in force. */
static inline enum filch__wake_result filch__state_unshield(filch_atomic_u64 *state,
                                                            uint64_t generation, unsigned level,
                                                            const struct filch__standing *standing)
{
    uint64_t old = filch_load_relaxed(state);

    for (;;) {
        bool in_force = filch__state_shield(old) == level;
        uint64_t word = old;

        if (filch__state_generation(old) != generation || old & FILCH_TASK_DONE)
            return FILCH_WAKE_NOTHING;
        if (in_force) {
            word = filch__state_woken(filch__state_standing(old, standing));
            word |= old & (FILCH_TASK_OVERDUE | FILCH_TASK_CANCEL); /* of blocks within */
        }
        /* Also when there is nothing to change: the runner, whose store comes after this, or was
         * not seen here, looks at the clock again. */
        if (filch_cas_weak_acq_rel(state, &old, word)) /* [task-park], [block-settle] */
            return in_force && old & FILCH_TASK_PARKED ? FILCH_WAKE_QUEUE : FILCH_WAKE_NOTHING;
    }
}

enum filch__finish_result { FILCH_FINISH_RELEASE, FILCH_FINISH_KEEP, FILCH_FINISH_WAKE_JOINER };

/* running -> DONE. RELEASE: no handle, the caller owns the block; the word is left as it is, and
 * filch__state_release() ends the generation. KEEP: do not touch the block any more. WAKE_JOINER:
 * wake `joiner` (read before this call is not allowed, it is stable after it), then do not touch
 * the block. */
static inline enum filch__finish_result filch__state_finish(filch_atomic_u64 *state)
{
    uint64_t old;

    filch_assert_state(!(filch_load_relaxed(state) & (FILCH_TASK_PARKED | FILCH_TASK_DONE)));
    if (!(filch_load_acquire(state) & FILCH_TASK_HANDLE)) /* [task-result] */
        return FILCH_FINISH_RELEASE;
    old = filch_fetch_or_acq_rel(state, FILCH_TASK_DONE); /* [task-result] */
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

/* A look without joining: DONE means that the caller, the owner of the handle, owns the block. */
static inline enum filch__join_result filch__state_join_look(filch_atomic_u64 *state,
                                                             uint64_t generation)
{
    uint64_t word = filch_load_acquire(state); /* [task-result] */

    if (filch__state_generation(word) != generation || !(word & FILCH_TASK_HANDLE))
        return FILCH_JOIN_STALE;
    if (word & FILCH_TASK_JOINING)
        return FILCH_JOIN_BUSY;
    return word & FILCH_TASK_DONE ? FILCH_JOIN_DONE : FILCH_JOIN_WAIT;
}

/* A joiner that was woken, or gave up too late and has seen its wake, leaves the end to another: a
 * join finds the task done. */
static inline void filch__state_join_undo(filch_atomic_u64 *state)
{
    filch_fetch_and_acq_rel(state, ~FILCH_TASK_JOINING); /* [task-result] */
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

/* A fork, which has a handle, is run by its own task, or by the one that forked it: who sets
 * CLAIMED. Relaxed: what the other one wrote comes through the queue, and the bit only says who.
 * Its task begins. False: there is nothing left to do, and no handle. */
static inline bool filch__state_claim(filch_atomic_u64 *state)
{
    uint64_t old = filch_load_relaxed(state);

    while (!(old & FILCH_TASK_CLAIMED))
        if (filch_cas_weak_relaxed(state, &old, old | FILCH_TASK_CLAIMED))
            return true;
    return false;
}

/* The one that forked it takes it back, and gives up the handle: it must not touch the block any
 * more. False: its task runs or has run, and is to be joined. */
static inline bool filch__state_take_back(filch_atomic_u64 *state)
{
    uint64_t old = filch_load_relaxed(state);

    while (!(old & FILCH_TASK_CLAIMED))
        if (filch_cas_weak_relaxed(state, &old, (old | FILCH_TASK_CLAIMED) & ~FILCH_TASK_HANDLE))
            return true;
    return false;
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
