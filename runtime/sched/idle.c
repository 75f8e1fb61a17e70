/* See idle.h for the protocol. */
#include "runtime/sched/idle.h"

#define RUNNING ((uint64_t)1 << 32)
#define SEARCHING ((uint64_t)1)

static unsigned searching_of(uint64_t counts)
{
    return (unsigned)(uint32_t)counts;
}

void filch__idle_init(struct filch__idle *idle, unsigned workers)
{
    filch_atomic_init(&idle->workers, workers);
    filch_atomic_init(&idle->counts, RUNNING * workers);
    for (unsigned i = 0; i < FILCH__WORKERS_MAX / 64; i++)
        filch_atomic_init(&idle->sleepers[i], 0);
}

bool filch__idle_begin_search(struct filch__idle *idle)
{
    uint64_t counts = filch_load_relaxed(&idle->counts);

    /* Two workers at once may pass: the limit is a throttle, not an invariant. */
    if (2 * searching_of(counts) >= filch_load_relaxed(&idle->workers))
        return false;
    filch_fetch_add_seq_cst(&idle->counts, SEARCHING); /* [idle-last] */
    return true;
}

bool filch__idle_end_search(struct filch__idle *idle)
{
    uint64_t counts = filch_fetch_sub_seq_cst(&idle->counts, SEARCHING); /* [idle-last] */

    return searching_of(counts) == 1;
}

void filch__idle_park(struct filch__idle *idle, unsigned worker, bool searching)
{
    filch_fetch_or_seq_cst(&idle->sleepers[worker / 64],
                           (uint64_t)1 << worker % 64);                            /* [idle-park] */
    filch_fetch_sub_seq_cst(&idle->counts, RUNNING + (searching ? SEARCHING : 0)); /* [idle-park] */
}

bool filch__idle_unpark(struct filch__idle *idle, unsigned worker)
{
    uint64_t bit = (uint64_t)1 << worker % 64;
    uint64_t old = filch_fetch_and_seq_cst(&idle->sleepers[worker / 64], ~bit);

    if (!(old & bit))
        return true;
    filch_fetch_add_seq_cst(&idle->counts, RUNNING);
    return false;
}

/* Takes some sleeper out of one word of the bitmap. */
static int claim_sleeper(filch_atomic_u64 *word)
{
    uint64_t sleepers = filch_load_seq_cst(word); /* [idle-park] */

    while (sleepers) {
        int bit = __builtin_ctzll(sleepers);

        if (filch_cas_weak_seq_cst(word, &sleepers, sleepers & ~((uint64_t)1 << bit)))
            return bit;
    }
    return -1;
}

int filch__idle_pick(struct filch__idle *idle)
{
    /* A read-modify-write that changes nothing: a plain load could be satisfied before our work is
     * visible. [idle-park] */
    uint64_t counts = filch_fetch_add_seq_cst(&idle->counts, 0);

    unsigned workers = filch_load_relaxed(&idle->workers);

    if (searching_of(counts) || counts >> 32 >= workers)
        return -1;
    for (unsigned i = 0; i <= (workers - 1) / 64; i++) {
        int bit = claim_sleeper(&idle->sleepers[i]);

        if (bit >= 0) {
            filch_fetch_add_seq_cst(&idle->counts, RUNNING + SEARCHING);
            return (int)i * 64 + bit;
        }
    }
    return -1;
}

bool filch__idle_would_wake(struct filch__idle *idle)
{
    uint64_t counts = filch_load_relaxed(&idle->counts);

    return !searching_of(counts) && counts >> 32 < filch_load_relaxed(&idle->workers);
}

bool filch__idle_claim(struct filch__idle *idle, unsigned worker)
{
    uint64_t bit = (uint64_t)1 << worker % 64;

    if (!(filch_fetch_and_seq_cst(&idle->sleepers[worker / 64], ~bit) & bit)) /* [mailbox-park] */
        return false;
    filch_fetch_add_seq_cst(&idle->counts, RUNNING + SEARCHING);
    return true;
}

void filch__idle_leave(struct filch__idle *idle)
{
    /* relaxed: only one that searched is counted on, and the end of its search is ordered.
     * [seat-leave] */
    filch_fetch_sub_relaxed(&idle->counts, RUNNING);
}

void filch__idle_join(struct filch__idle *idle)
{
    filch_fetch_add_acq_rel(&idle->counts, RUNNING); /* [watch-sleep] */
}

void filch__idle_grow(struct filch__idle *idle)
{
    /* relaxed: the newcomer is no sleeper before it has gone through the words above. */
    filch_fetch_add_relaxed(&idle->workers, 1);
}

bool filch__idle_is_sleeper(struct filch__idle *idle, unsigned worker)
{
    /* relaxed: a waker whose unpark was seen is seen as well, by that. */
    return filch_load_relaxed(&idle->sleepers[worker / 64]) >> worker % 64 & 1;
}

bool filch__idle_sleeps(struct filch__idle *idle)
{
    unsigned workers = filch_load_relaxed(&idle->workers);

    for (unsigned i = 0; i <= (workers - 1) / 64; i++)
        if (filch_load_relaxed(&idle->sleepers[i]))
            return true;
    return false;
}

bool filch__idle_wants(struct filch__idle *idle)
{
    /* Acquire: who searches no more because it parks has set its bit before. [fork-postpone] */
    return searching_of(filch_load_acquire(&idle->counts)) || filch__idle_sleeps(idle);
}

unsigned filch__idle_running_now(struct filch__idle *idle)
{
    return (unsigned)(filch_fetch_add_release(&idle->counts, 0) >> 32); /* [watch-sleep] */
}

unsigned filch__idle_running(struct filch__idle *idle)
{
    return (unsigned)(filch_load_relaxed(&idle->counts) >> 32);
}
