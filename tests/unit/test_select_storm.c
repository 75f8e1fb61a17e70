/* Description: random selects over four channels and a semaphore by eight tasks and two plain
 * threads, mixed with joins, times, tokens, guards and deadlines, while tasks are cancelled and
 * replaced: every message that was sent is received once, and no other, and no permit is lost.
 * FILCH_TEST_SELECTS sets how many selects; the seed is printed, and FILCH_TEST_SEED sets it. */
#include <errno.h>
#include <pthread.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(select_storm, .timeout = 600);

#define CHANNELS 4
#define TASKS 8
#define THREADS 2
#define CASES_MAX (2 * CHANNELS + 6) /* also two times, a token, a join, permits */
#define PERMITS 3

struct storm {
    filch_chan *chan[CHANNELS];
    filch_semaphore permits;
    unsigned selects; /* to be done in all */
    uint32_t seed;
    atomic_uint done;
    atomic_uint next_message;
    atomic_uint next_player;
    atomic_uchar *sent, *received; /* by message */
    pthread_mutex_t token_lock;
    filch_token *token; /* whose children players wait for; cancelled and replaced */
    _Atomic(filch_task *) player[TASKS];
    atomic_bool over;
};

/* One who selects. */
struct player {
    struct storm *storm;
    uint32_t random;
    filch_task *helper; /* to be joined; NULL: none */
    unsigned helpers;   /* the last one's result */
    filch_token *token;
    bool is_task;
};

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static unsigned choose(struct player *player, unsigned of)
{
    return (unsigned)(((uint64_t)next_random(&player->random) * of) >> 32);
}

static int helps(void *arg)
{
    if ((uintptr_t)arg & 1)
        filch_task_yield();
    return (int)(uintptr_t)arg;
}

enum kind { RECEIVE, SEND, TIME, TOKEN, JOIN, ACQUIRE, RESERVE };

struct attempt {
    filch_case cases[CASES_MAX];
    enum kind kind[CASES_MAX];
    unsigned count;
    unsigned message; /* for whoever sends */
    unsigned got;
    uint64_t acquired;
    filch_chan_permit place;
    int result; /* of the helper */
};

static void add(struct player *player, struct attempt *attempt, enum kind kind, filch_case c)
{
    attempt->kind[attempt->count] = kind;
    attempt->cases[attempt->count++] = filch_case_if(choose(player, 16) != 0, c);
}

static filch_token *grow(struct storm *storm)
{
    filch_token *child;

    pthread_mutex_lock(&storm->token_lock);
    T_OK(filch_token_child(storm->token, &child));
    pthread_mutex_unlock(&storm->token_lock);
    return child;
}

static void prepare(struct player *player, struct attempt *attempt)
{
    struct storm *storm = player->storm;

    unsigned rarity = 2 + choose(player, 8); /* the fewer cases, the more often it waits */

    attempt->count = 0;
    attempt->message = atomic_fetch_add(&storm->next_message, 1);
    for (int i = 0; i < CHANNELS; i++) {
        if (choose(player, rarity) == 0)
            add(player, attempt, RECEIVE, filch_case_recv(storm->chan[i], &attempt->got));
        if (choose(player, rarity) == 0)
            add(player, attempt, SEND, filch_case_send(storm->chan[i], &attempt->message));
    }
    if (choose(player, 4) == 0)
        add(player, attempt, TIME,
            filch_case_at(filch_after(choose(player, 50) * FILCH_MICROSECOND)));
    if (choose(player, 8) == 0) {
        if (!player->token)
            player->token = grow(storm);
        add(player, attempt, TOKEN, filch_case_token(player->token));
    }
    if (player->is_task && choose(player, 8) == 0) {
        if (!player->helper)
            player->helper = spawn(helps, (void *)(uintptr_t)++player->helpers);
        add(player, attempt, JOIN, filch_case_join(player->helper, &attempt->result));
    }
    attempt->acquired = 1 + choose(player, PERMITS);
    if (choose(player, 4) == 0)
        add(player, attempt, ACQUIRE, filch_case_acquire(&storm->permits, attempt->acquired));
    if (choose(player, 4) == 0)
        add(player, attempt, RESERVE,
            filch_case_reserve(storm->chan[choose(player, CHANNELS)], 1, &attempt->place));
    /* At least one that is there, and at least one that comes to an end. */
    attempt->kind[attempt->count] = TIME;
    attempt->cases[attempt->count++] =
        filch_case_at(filch_after(choose(player, 100) * FILCH_MICROSECOND));
}

/* It is held for a while by some. */
static void use_permit(struct player *player, struct attempt *attempt, enum kind kind)
{
    struct storm *storm = player->storm;

    if (choose(player, 4) == 0)
        filch_task_yield();
    if (kind == ACQUIRE)
        T_OK(filch_semaphore_release(&storm->permits, attempt->acquired));
    else if (choose(player, 2) == 0)
        filch_chan_permit_release(&attempt->place);
    else {
        T_OK(filch_chan_permit_send(&attempt->place, &attempt->message));
        T_IS(atomic_fetch_add(&storm->sent[attempt->message], 1), 0);
    }
}

static void take_result(struct player *player, struct attempt *attempt, int winner)
{
    struct storm *storm = player->storm;

    T_OK(attempt->cases[winner].result);
    switch (attempt->kind[winner]) {
    case RECEIVE:
        T_IS(atomic_fetch_add(&storm->received[attempt->got], 1), 0);
        break;
    case SEND:
        T_IS(atomic_fetch_add(&storm->sent[attempt->message], 1), 0);
        break;
    case JOIN:
        T_IS(attempt->result, (int)player->helpers);
        player->helper = NULL;
        break;
    case TOKEN:
        T_CHECK(filch_token_is_cancelled(player->token));
        filch_token_unref(player->token);
        player->token = NULL;
        break;
    case ACQUIRE:
    case RESERVE:
        use_permit(player, attempt, attempt->kind[winner]);
        break;
    case TIME:
        break;
    }
}

/* Return: what the select said. */
static int play_once(struct player *player)
{
    struct attempt attempt;
    unsigned flags = choose(player, 4) ? 0 : FILCH_SELECT_ORDERED;
    filch_time until = choose(player, 4) ? FILCH_NEVER : FILCH_NOW;
    int r = -EINVAL;

    prepare(player, &attempt);
    if (player->is_task && choose(player, 4) == 0)
        FILCH_DEADLINE(filch_after(choose(player, 50) * FILCH_MICROSECOND))
    r = filch_select(attempt.cases, attempt.count, flags, until);
    else r = filch_select(attempt.cases, attempt.count, flags, until);
    T_CHECK(r >= 0 || r == -ETIMEDOUT || (player->is_task && r == -ECANCELED));
    if (r >= 0)
        take_result(player, &attempt, r);
    return r;
}

static void play(struct player *player)
{
    struct storm *storm = player->storm;

    while (atomic_fetch_add(&storm->done, 1) < storm->selects) {
        (void)play_once(player);
        if (filch_task_is_cancelled())
            break;
    }
    if (player->helper)
        FILCH_SHIELD(FILCH_NEVER)
    T_IS(join(player->helper), (int)player->helpers);
    filch_token_unref(player->token);
}

static int plays(void *arg)
{
    struct storm *storm = arg;
    uint32_t seed = storm->seed ^ (atomic_fetch_add(&storm->next_player, 1) * 2654435761u);
    struct player player = {.storm = storm, .random = seed | 1, .is_task = filch_task_self()};

    play(&player);
    return 0;
}

static void *plays_in_thread(void *arg)
{
    T_OK(plays(arg));
    return NULL;
}

/* Cancels players and tokens, as fast as the players get on. */
static int disturbs(void *arg)
{
    struct storm *storm = arg;
    uint32_t random = storm->seed | 1;
    unsigned last = 0;

    while (!atomic_load(&storm->over)) {
        unsigned done = atomic_load(&storm->done);

        if (done - last >= 50) {
            filch_task *victim = atomic_load(&storm->player[next_random(&random) % TASKS]);

            last = done;
            if (victim)
                (void)filch_task_cancel(victim); /* which may have been replaced meanwhile */
        }
        filch_task_yield();
    }
    return 0;
}

static int fells_tokens(void *arg)
{
    struct storm *storm = arg;

    while (!atomic_load(&storm->over)) {
        filch_token *fresh, *old;

        T_OK(filch_sleep(filch_after(200 * FILCH_MICROSECOND)));
        T_OK(filch_token_new(&fresh));
        pthread_mutex_lock(&storm->token_lock);
        old = storm->token;
        storm->token = fresh;
        pthread_mutex_unlock(&storm->token_lock);
        T_OK(filch_token_cancel(old, -ECANCELED, NULL));
        filch_token_unref(old);
    }
    return 0;
}

/* Replaces players that were cancelled, until all is done. */
static void supervise(struct storm *storm)
{
    filch_case cases[TASKS];
    unsigned left = TASKS;

    for (int i = 0; i < TASKS; i++) {
        atomic_store(&storm->player[i], spawn(plays, storm));
        cases[i] = filch_case_join(atomic_load(&storm->player[i]), NULL);
    }
    while (left) {
        int i = filch_select(cases, TASKS, 0, FILCH_NEVER);

        T_CHECK(i >= 0);
        T_OK(cases[i].result);
        if (atomic_load(&storm->done) < storm->selects) {
            atomic_store(&storm->player[i], spawn(plays, storm));
            cases[i] = filch_case_join(atomic_load(&storm->player[i]), NULL);
        } else {
            atomic_store(&storm->player[i], NULL);
            cases[i] = filch_case_if(false, cases[i]);
            left--;
        }
    }
}

static void account(struct storm *storm)
{
    unsigned messages = atomic_load(&storm->next_message);
    unsigned message, moved = 0;

    for (int i = 0; i < CHANNELS; i++) {
        while (filch_chan_recv(storm->chan[i], &message, FILCH_NOW) == 0)
            T_IS(atomic_fetch_add(&storm->received[message], 1), 0);
        filch_chan_unref(storm->chan[i]);
    }
    for (unsigned i = 0; i < messages; i++) {
        T_IS(atomic_load(&storm->received[i]), atomic_load(&storm->sent[i]));
        moved += atomic_load(&storm->sent[i]);
    }
    T_CHECK(moved > storm->selects / 20); /* it was about something */
    T_IS(filch_semaphore_available(&storm->permits), PERMITS);
    filch_semaphore_fini(&storm->permits);
}

static unsigned number_from(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);

    return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static int storms(void *arg)
{
    struct storm *storm = arg;
    filch_task *disturber = spawn(disturbs, storm), *feller = spawn(fells_tokens, storm);
    pthread_t thread[THREADS];

    for (int i = 0; i < THREADS; i++)
        T_OK(pthread_create(&thread[i], NULL, plays_in_thread, storm));
    supervise(storm);
    for (int i = 0; i < THREADS; i++)
        T_OK(pthread_join(thread[i], NULL));
    atomic_store(&storm->over, true);
    T_OK(join(disturber));
    T_OK(join(feller));
    return 0;
}

Test(select_storm, nothing_is_lost_or_doubled)
{
#ifdef T_SANITIZED
    unsigned usual = 5000;
#else
    unsigned usual = T_MANY(1000000);
#endif
    struct storm storm = {
        .token_lock = PTHREAD_MUTEX_INITIALIZER,
        .selects = number_from("FILCH_TEST_SELECTS", usual),
        .seed = number_from("FILCH_TEST_SEED", (unsigned)filch_now()),
    };
    /* Each player may overshoot by one, and takes a number for each select. */
    unsigned most = 2 * storm.selects + 1000;

    fprintf(stderr, "FILCH_TEST_SEED=%u\n", storm.seed);
    storm.sent = calloc(most, 1);
    storm.received = calloc(most, 1);
    T_OK(filch_token_new(&storm.token));
    T_OK(filch_semaphore_init(&storm.permits, PERMITS));
    for (int i = 0; i < CHANNELS; i++)
        T_OK(
            filch_chan_new(sizeof(unsigned), i ? (size_t)i : FILCH_CHAN_UNBOUNDED, &storm.chan[i]));
    T_OK(run_in_runtime(0, storms, &storm));
    account(&storm);
    filch_token_unref(storm.token);
    free(storm.sent);
    free(storm.received);
}
