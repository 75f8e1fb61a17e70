/* What counts: semaphores and notifications. */
#include "bench/bench.h"

#define HOLDERS 4
#define ACQUIRES 1000000u
#define ROUNDS 300000u

static filch_semaphore permits;
static uint64_t total;

static int holder(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < ACQUIRES; i++) {
        BENCH_OK(filch_semaphore_acquire(&permits, 1, FILCH_NEVER));
        BENCH_OK(filch_semaphore_release(&permits, 1));
    }
    __atomic_fetch_add(&total, ACQUIRES, __ATOMIC_RELAXED);
    return 0;
}

static bool run_holders(unsigned holders, uint64_t n, double *ret_value)
{
    filch_time start = filch_now();

    total = 0;
    BENCH_OK(filch_semaphore_init(&permits, n));
    {
        FILCH_SCOPE(scope);
        for (unsigned i = 0; i < holders; i++)
            BENCH_OK(filch_scope_spawn(&scope, holder, NULL));
        BENCH_OK(filch_scope_join(&scope, FILCH_NEVER));
    }
    *ret_value = (double)(filch_now() - start) / ((double)holders * ACQUIRES);
    return total == (uint64_t)holders * ACQUIRES && filch_semaphore_available(&permits) == n;
}

static bool semaphore(filch_runtime *rt, double *ret_value)
{
    (void)rt;
    return run_holders(HOLDERS, 2, ret_value);
}

static bool semaphore_1(filch_runtime *rt, double *ret_value)
{
    (void)rt;
    return run_holders(1, 1, ret_value);
}

struct game {
    filch_notify there;
    filch_notify back;
    uint64_t rounds;
};

static int pong(void *arg)
{
    struct game *game = arg;

    for (unsigned i = 0; i < ROUNDS; i++) {
        BENCH_OK(filch_notify_wait(&game->there, FILCH_NEVER));
        BENCH_OK(filch_notify_one(&game->back));
    }
    return 0;
}

static int ping(void *arg)
{
    struct game *game = arg;

    for (unsigned i = 0; i < ROUNDS; i++) {
        BENCH_OK(filch_notify_one(&game->there));
        BENCH_OK(filch_notify_wait(&game->back, FILCH_NEVER));
        game->rounds++;
    }
    return 0;
}

static bool notify(filch_runtime *rt, double *ret_value)
{
    struct game game = {.there = FILCH_NOTIFY_INIT, .back = FILCH_NOTIFY_INIT};
    filch_time start = filch_now();

    (void)rt;
    {
        FILCH_SCOPE(players);
        BENCH_OK(filch_scope_spawn(&players, pong, &game));
        BENCH_OK(filch_scope_spawn(&players, ping, &game));
        BENCH_OK(filch_scope_join(&players, FILCH_NEVER));
    }
    *ret_value = (double)(filch_now() - start) / ROUNDS;
    return game.rounds == ROUNDS;
}

int main(int argc, char **argv)
{
    static const struct bench benches[] = {
        {"semaphore", "ns/op", semaphore, 0, NULL},
        {"semaphore_1", "ns/op", semaphore_1, 0, NULL},
        {"notify", "ns/round-trip", notify, 0, NULL},
    };

    return bench_main(argc, argv, benches, (int)(sizeof benches / sizeof benches[0]));
}
