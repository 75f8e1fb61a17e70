/* Cancels at any moment: of transfers, accepts, connects and opens. Nothing may be lost by one.
 *
 *     stress_cancel [CANCELS [SEED]]     default: 20000, a seed from the clock; FILCH_TEST_WORKERS
 * sets the workers, FILCH_ENGINE the engine
 *
 * Each operation is an attempt: a task of its own, which is cancelled after a moment that the seed
 * chooses (none, some yields, some microseconds), and joined. Whoever attempts goes on from what
 * was done, and knows what must come:
 *
 *     cancel_streams.c    byte i of a stream is a function of i: one lost, doubled or moved is seen
 *     cancel_messages.c   datagrams, and messages with a descriptor each, are numbered
 *     cancel_accepts.c    each connect that succeeded sends a ticket: all arrive, each once; other
 *                         connections are of connects that were cancelled, not more than those
 *     cancel_opens.c      what was opened is closed; a file that is replaced is the old or the new
 *
 * At the end of a round, of a million cancels at most, there are as many descriptors as before. The
 * seed is printed first: schedules differ between runs, but the choices are the same.
 */
#include <errno.h>

#include "tests/runner/process.h"
#include "tests/stress/cancel.h"

enum { ROUND = 1000000, SOME = 10 };

struct world world;

uint32_t roll(struct dice *dice, uint32_t n)
{
    dice->random = dice->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(dice->random >> 33) % n;
}

void attempt_init(struct attempt *attempt, enum what what)
{
    static atomic_ullong number;

    attempt->dice.random = world.seed + 0x9e3779b97f4a7c15u * atomic_fetch_add(&number, 1);
    (void)roll(&attempt->dice, 2);
    attempt->what = what;
}

static int attempt_main(void *arg)
{
    struct attempt *attempt = arg;

    attempt->result = attempt->fn(attempt);
    return 0;
}

bool is_over(void)
{
    if (atomic_load(&world.cancels) < world.target)
        return false;
    for (int i = 0; i < WHATS; i++)
        if (atomic_load(&world.tally[i].cancels) < SOME)
            return false;
    return true;
}

static void wait_a_moment(struct dice *dice, enum what what)
{
    switch (roll(dice, 8)) {
    case 0:
        break;
    case 1:
        for (volatile uint32_t n = roll(dice, 3000); n; n--)
            ;
        break;
    case 2:
        /* Files go to the disk. */
        (void)filch_sleep(
            filch_after(roll(dice, what == REPLACE ? 20000 : 200) * FILCH_MICROSECOND));
        break;
    default:
        for (uint32_t n = roll(dice, 6); n; n--)
            filch_task_yield();
        break;
    }
}

long attempted(struct attempt *attempt, long (*fn)(struct attempt *))
{
    struct tally *tally = &world.tally[attempt->what];
    struct dice own; /* the task rolls the attempt's meanwhile */
    filch_task *task;

    attempt->fn = fn;
    attempt->until = roll(&attempt->dice, 16)
                         ? FILCH_NEVER
                         : filch_after(roll(&attempt->dice, 100) * FILCH_MICROSECOND);
    attempt->result = -EINPROGRESS;
    own.random = attempt->dice.random ^ 0x9e3779b97f4a7c15u;
    task = spawn(attempt_main, attempt);
    wait_a_moment(&own, attempt->what);
    T_OK(filch_task_cancel(task));
    T_OK(join(task));
    atomic_fetch_add(&world.cancels, 1);
    atomic_fetch_add(&tally->cancels, 1);
    if (attempt->result == -ECANCELED)
        atomic_fetch_add(&tally->ended, 1);
    else if (attempt->result == -ETIMEDOUT)
        atomic_fetch_add(&tally->timeouts, 1);
    else
        atomic_fetch_add(&tally->too_late, 1);
    return attempt->result;
}

static int run_world(void *arg)
{
    FILCH_SCOPE(parts);

    (void)arg;
    T_OK(filch_scope_spawn(&parts, streams_part, NULL));
    T_OK(filch_scope_spawn(&parts, messages_part, NULL));
    T_OK(filch_scope_spawn(&parts, accepts_part, NULL));
    T_OK(filch_scope_spawn(&parts, opens_part, NULL));
    T_OK(filch_scope_join(&parts, FILCH_NEVER));
    return 0;
}

static void print_tally(const char *name, const struct tally *tally)
{
    printf(
        "    %-10s %8llu cancels: %llu ended it, %llu came too late, %llu after the time limit\n",
        name, tally->cancels, tally->ended, tally->too_late, tally->timeouts);
    T_IS(tally->ended + tally->too_late + tally->timeouts, tally->cancels);
    T_CHECK(tally->cancels >= SOME);
}

static void run_round(uint64_t cancels, uint64_t seed)
{
    static const char *const names[WHATS] = {"transfer", "message", "connect",
                                             "accept",   "open",    "replace"};
    unsigned descriptors;
    filch_time begun = filch_now();

    world = (struct world){.target = cancels, .seed = seed};
    temp_dir_make(&world.dir);
    descriptors = process_descriptors();
    T_OK(run_in_runtime(0, run_world, NULL));
    T_IS(process_descriptors(), descriptors);
    temp_dir_remove(&world.dir);
    printf(
        "%llu cancels in %.1f s; %llu bytes, %llu messages, %llu descriptors passed: none lost\n",
        world.cancels, (double)(filch_now() - begun) / FILCH_SECOND, world.bytes, world.messages,
        world.descriptors);
    for (int i = 0; i < WHATS; i++)
        print_tally(names[i], &world.tally[i]);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    uint64_t left = argc > 1 ? strtoull(argv[1], NULL, 10) : 20000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : filch_now();

    printf("seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    while (left) {
        uint64_t cancels = left < ROUND ? left : ROUND;

        run_round(cancels, seed++);
        left -= cancels;
    }
    return 0;
}
