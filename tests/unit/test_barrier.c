/* Description: barriers: one leader for each round, rounds that do not mix, participants that give
 * up. */
#include <errno.h>

#include <criterion/criterion.h>

#include "tests/runner/crowd.h"

TestSuite(barrier, .timeout = 120);

Test(barrier, of_one_never_waits)
{
    filch_barrier b = FILCH_BARRIER_INIT(1);

    T_IS(filch_barrier_wait(&b, FILCH_NOW), 1);
    T_IS(filch_barrier_wait(&b, FILCH_NEVER), 1);
    filch_barrier_fini(&b);
}

static int waits(void *arg)
{
    return filch_barrier_wait(arg, T_LIMIT);
}

static int gives_up(void *arg)
{
    filch_barrier b;
    filch_task *first;
    int r, result = 0;

    (void)arg;
    T_OK(filch_barrier_init(&b, 2));
    T_IS(filch_barrier_wait(&b, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_barrier_wait(&b, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    first = spawn(waits, &b);
    let_others_run();
    T_OK(filch_task_cancel(first));
    T_OK(filch_task_join(first, &result, T_LIMIT));
    T_IS(result, -ECANCELED);
    /* None of those three counts. */
    first = spawn(waits, &b);
    r = filch_barrier_wait(&b, T_LIMIT);
    T_IS(r + join(first), 1);
    filch_barrier_fini(&b);
    return 0;
}

Test(barrier, who_gives_up_has_not_arrived)
{
    T_OK(run_in_runtime(0, gives_up, NULL));
}

#define PARTIES 7

struct rounds {
    filch_barrier barrier;
    long rounds;
    atomic_long leaders;
    atomic_long arrived;
    atomic_ulong seeds;
};

/* Comes to each round, sometimes after giving up a few times. */
static int goes_round(void *arg)
{
    struct rounds *rounds = arg;
    uint64_t seed = atomic_fetch_add(&rounds->seeds, 1) * 977;

    for (long round = 0; round < rounds->rounds; round++) {
        int r;

        atomic_fetch_add(&rounds->arrived, 1);
        do {
            r = filch_barrier_wait(&rounds->barrier,
                                   random_below(&seed, 4)
                                       ? FILCH_NEVER
                                       : filch_after(random_below(&seed, 60) * FILCH_MICROSECOND));
        } while (r == -ETIMEDOUT);
        T_CHECK(r == 0 || r == 1);
        atomic_fetch_add(&rounds->leaders, r);
        /* All have come to this round, and nobody has left the next one. */
        T_CHECK(atomic_load(&rounds->arrived) >= (round + 1) * PARTIES);
        T_CHECK(atomic_load(&rounds->arrived) <= (round + 2) * PARTIES);
    }
    return 0;
}

static void many_rounds(unsigned workers)
{
    struct rounds rounds = {.barrier = FILCH_BARRIER_INIT(PARTIES)};

    rounds.rounds = (long)test_ops() / 40;
    crowd_run(workers, PARTIES - 2, 2, goes_round, &rounds);
    T_IS(atomic_load(&rounds.leaders), rounds.rounds);
    filch_barrier_fini(&rounds.barrier);
}

Test(barrier, each_round_has_one_leader_and_all_participants)
{
    many_rounds(1);
    many_rounds(2);
    many_rounds(8);
}
