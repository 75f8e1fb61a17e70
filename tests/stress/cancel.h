/* What the parts of stress_cancel.c share: the counts of a round, and attempts. */
#ifndef FILCH_TESTS_STRESS_CANCEL_H
#define FILCH_TESTS_STRESS_CANCEL_H

#include "tests/runner/run.h"
#include "tests/runner/temp_dir.h"

/* What is attempted. */
enum what { TRANSFER, MESSAGE, CONNECT, ACCEPT, OPEN, REPLACE, WHATS };

struct tally {
    atomic_ullong cancels;                   /* each attempt has one; it ... */
    atomic_ullong ended, too_late, timeouts; /* ended it; came too late; so did the time limit */
};

struct world {
    uint64_t target; /* cancels of this round */
    uint64_t seed;
    struct temp_dir dir;
    atomic_ullong cancels;
    struct tally tally[WHATS];
    atomic_ullong bytes, messages, descriptors; /* that arrived */
};

extern struct world world;

struct dice {
    uint64_t random;
};

/* Return: 0 to n - 1. */
uint32_t roll(struct dice *dice, uint32_t n);

/* One operation, in a task of its own. The first field of what it is about. */
struct attempt {
    struct dice dice;
    enum what what;
    long (*fn)(struct attempt *attempt);
    filch_time until;
    long result;
};

/* Gives it dice of its own. */
void attempt_init(struct attempt *attempt, enum what what);

/* Runs @fn, which is cancelled at some moment. Return: its result. */
long attempted(struct attempt *attempt, long (*fn)(struct attempt *));

/* Is the result that of a call that did nothing? */
static inline bool is_given_up(long r)
{
    return r == -ECANCELED || r == -ETIMEDOUT;
}

/* Have there been as many cancels as wanted, and some of each? Once true it stays so. */
bool is_over(void);

/* The parts: each is a task that returns when it is over and all is accounted for. */
int streams_part(void *arg);
int messages_part(void *arg);
int accepts_part(void *arg);
int opens_part(void *arg);

#endif
