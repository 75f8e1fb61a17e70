/* The idle protocol: who is awake, who searches, whom to wake; so that no work waits while
 * everybody sleeps, and no more workers are woken than help.
 *
 * One word counts workers that run (not parked) and, among them, those that search. A bitmap names
 * the parked ones.
 *
 *     a producer                               a worker that goes to park
 *     1 publish the work                       1 set its sleeper bit; running-1, searching-1
 *     2 read searching and sleepers (RMW)      2 was it the last searcher, or is any work left?
 * look at everything again 3 none searches: wake a sleeper            3 found: take back (or wake
 * another); else block in its lane
 *
 *   [idle-park] Both sides write, then read what the other wrote; the read in 2 left is a seq_cst
 * read-modify-write of the word that 1 right writes, so either the producer sees the sleeper, or
 * the sleeper sees the work. After Go's scheduler and Tokio's idle.rs. [idle-last] A searcher that
 * finds work stops searching; if it was the last, it wakes one more before it runs: so the producer
 * that saw it searching and woke nobody is not let down.
 *
 * A waker clears the sleeper's bit and counts it as running and searching on its behalf. At most
 * half of the workers search.
 */
#ifndef FILCH_SCHED_IDLE_H
#define FILCH_SCHED_IDLE_H

#include "runtime/base/atomic.h"

#define FILCH__WORKERS_MAX 256

struct filch__idle {
    filch_atomic_u32 workers; /* all that ever were; grows */
    /* searching in the lower half, running in the upper. Written by everybody, RMW only.
     * [idle-park] [idle-last] */
    filch_atomic_u64 counts;
    /* Bit w: worker w is parked and nobody has been sent to wake it. [idle-park] */
    filch_atomic_u64 sleepers[FILCH__WORKERS_MAX / 64];
};

void filch__idle_init(struct filch__idle *idle, unsigned workers);

/* May the caller search? At most half may. */
bool filch__idle_begin_search(struct filch__idle *idle);

/* The searcher found work. True: it was the last; it must wake one more. [idle-last] */
bool filch__idle_end_search(struct filch__idle *idle);

/* The worker is about to park; @searching says whether it is counted as searching. It must look at
 * all work again after this and before it blocks. */
void filch__idle_park(struct filch__idle *idle, unsigned worker, bool searching);

/* The worker does not park, or was woken. True: a waker took it out and counted it as searching;
 * false: it came by itself and is counted as running only. */
bool filch__idle_unpark(struct filch__idle *idle, unsigned worker);

/* After publishing work: picks a sleeper to be woken, or -1 when none sleeps or somebody searches
 * already. The caller unparks the picked worker. */
int filch__idle_pick(struct filch__idle *idle);

/* Would filch__idle_pick() find somebody to wake? A look that costs nothing, and may be wrong. */
bool filch__idle_would_wake(struct filch__idle *idle);

/* After giving @worker alone something to do: is it parked, so that the caller must unpark it? It
 * is counted as searching then. [mailbox-park] [bound-park] */
bool filch__idle_claim(struct filch__idle *idle, unsigned worker);

/* The worker goes out without being a sleeper that a waker could pick, and comes back. It must look
 * at all work after it has left, and notify. [seat-leave] */
void filch__idle_leave(struct filch__idle *idle);
void filch__idle_join(struct filch__idle *idle);

/* There is a worker more; it has not joined yet. */
void filch__idle_grow(struct filch__idle *idle);

/* The worker, which has been woken while parked, for whatever reason: has no waker taken it out?
 * Then it may sleep on as it is; one that comes later unparks its lane. */
bool filch__idle_is_sleeper(struct filch__idle *idle, unsigned worker);

/* Does anybody search, or sleep? A worker that has begun to search before what the caller has
 * acquired, and has found nothing yet, is seen. [fork-postpone] */
bool filch__idle_wants(struct filch__idle *idle);

/* Is there a sleeper that could be woken? A hint. */
bool filch__idle_sleeps(struct filch__idle *idle);

/* Workers that are not parked, and in order with what the caller wrote before. [watch-sleep] */
unsigned filch__idle_running_now(struct filch__idle *idle);

/* Workers that are not parked. */
unsigned filch__idle_running(struct filch__idle *idle);

#endif
