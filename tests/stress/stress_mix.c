/* Everything at once, for a while: tasks that spawn, join, cancel, sleep, talk through channels and
 * over TCP, lock, take permits, select, block, are pinned, await futures, read streams, hang on
 * tokens, fork, run loops in parallel, keep their workers by computing and by sleeping in the
 * kernel, and in every other round are in groups, chosen by a seed; and beside them runtimes that
 * start, live and end.
 *
 *     stress_mix [SECONDS [SEED]]     default: 3 seconds, a seed from the clock; FILCH_TEST_WORKERS
 * sets the workers
 *
 * What must hold at the end, whatever was cancelled: each actor that was spawned has ended; what
 * was sent was received or is still queued, in number and in sum; each connection echoed what it
 * was sent; each leaf of a tree of forks, and each number of a loop that was not cancelled, was
 * seen once; each lock and permit is free, each group empty; and after each round, which is a
 * runtime's life, there are as many descriptors and threads as after the first, and hardly more
 * memory. The seed is printed first: schedules differ between runs, but each actor's choices are
 * the same.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "tests/runner/process.h"
#include "tests/runner/tcp_pair.h"

enum {
    CHANNELS = 4,
    GROUPS = 3,
    ACTORS_AT_ONCE = 200,
    PERMITS = 3,
    ROUND_S = 10,
    GROWTH_KB = 32 * 1024
};

struct world {
    filch_chan *chan[CHANNELS];
    struct tcp_pair pair; /* only its listener */
    filch_time end;
    uint64_t seed;
    atomic_ullong spawned, ended;
    atomic_ullong sent, sent_sum;
    atomic_ullong received, received_sum;
    atomic_ullong echoes, cancels, timeouts;
    filch_mutex mutex;
    unsigned long long guarded; /* by the mutex */
    atomic_ullong locked, jobs, runtimes;
    filch_semaphore semaphore;
    atomic_int permits_out;
    filch_rwlock rwlock;
    unsigned long long versions[2]; /* by the rwlock: always the same */
    atomic_ullong written;
    filch_token *token;
    atomic_ullong hung_on, told; /* hooks on tokens that were cancelled */
    atomic_ullong futures, items;
    filch_group *group[GROUPS]; /* of each kind; or NULL: there are none in this round */
    atomic_ullong leaves, leaves_wanted;
    atomic_ullong loops, stuck;
    atomic_ullong stuck_next; /* not before this time */
    atomic_bool over;
};

struct actor {
    struct world *world;
    uint64_t random;
    unsigned depth;
};

/* xorshift64*: each actor has its own. */
static uint64_t next_random(struct actor *actor)
{
    actor->random ^= actor->random >> 12;
    actor->random ^= actor->random << 25;
    actor->random ^= actor->random >> 27;
    return actor->random * 2685821657736338717ull;
}

static unsigned pick(struct actor *actor, unsigned n)
{
    return (unsigned)(next_random(actor) >> 33) % n;
}

/* A deadline that is sometimes none, sometimes past, mostly near. */
static filch_time pick_until(struct actor *actor)
{
    switch (pick(actor, 4)) {
    case 0:
        return FILCH_NOW;
    case 1:
        return filch_after(10 * FILCH_MILLISECOND);
    default:
        return filch_after(pick(actor, 2000) * FILCH_MICROSECOND);
    }
}

static void count_refusal(struct world *world, int r)
{
    T_CHECK(r == -ETIMEDOUT || r == -ECANCELED);
    atomic_fetch_add(r == -ETIMEDOUT ? &world->timeouts : &world->cancels, 1);
}

static void act_send(struct actor *actor)
{
    struct world *world = actor->world;
    uint64_t msg = next_random(actor) >> 40;
    int r = filch_chan_send(world->chan[pick(actor, CHANNELS)], &msg, pick_until(actor));

    if (r < 0) {
        count_refusal(world, r);
        return;
    }
    atomic_fetch_add(&world->sent, 1);
    atomic_fetch_add(&world->sent_sum, msg);
}

static void act_recv(struct actor *actor)
{
    struct world *world = actor->world;
    uint64_t msg;
    int r = filch_chan_recv(world->chan[pick(actor, CHANNELS)], &msg, pick_until(actor));

    if (r < 0) {
        count_refusal(world, r);
        return;
    }
    atomic_fetch_add(&world->received, 1);
    atomic_fetch_add(&world->received_sum, msg);
}

static void act_sleep(struct actor *actor)
{
    filch_time until = filch_after(pick(actor, 3000) * FILCH_MICROSECOND);
    int r = filch_sleep(until);

    if (r < 0)
        count_refusal(actor->world, r);
    else
        T_CHECK(filch_now() >= until);
}

static void act_lock(struct actor *actor)
{
    int r = filch_mutex_lock(&actor->world->mutex, pick_until(actor));

    if (r < 0) {
        count_refusal(actor->world, r);
        return;
    }
    actor->world->guarded++;
    if (pick(actor, 4) == 0)
        filch_task_yield();
    atomic_fetch_add(&actor->world->locked, 1);
    T_OK(filch_mutex_unlock(&actor->world->mutex));
}

static void act_permit(struct actor *actor)
{
    struct world *world = actor->world;
    int n = 1 + (int)pick(actor, PERMITS);
    int r = filch_semaphore_acquire(&world->semaphore, (uint64_t)n, pick_until(actor));

    if (r < 0) {
        count_refusal(world, r);
        return;
    }
    T_CHECK(atomic_fetch_add(&world->permits_out, n) + n <= PERMITS);
    filch_task_yield();
    atomic_fetch_sub(&world->permits_out, n);
    T_OK(filch_semaphore_release(&world->semaphore, (uint64_t)n));
}

static void act_select(struct actor *actor)
{
    struct world *world = actor->world;
    unsigned first = pick(actor, CHANNELS);
    uint64_t in = 0;
    uint64_t out = next_random(actor) >> 40;
    filch_case cases[2];
    int r;

    cases[0] = filch_case_recv(world->chan[first], &in);
    cases[1] = filch_case_send(world->chan[(first + 1) % CHANNELS], &out);
    r = filch_select(cases, 2, 0, pick_until(actor));
    if (r < 0) {
        count_refusal(world, r);
        return;
    }
    T_OK(cases[r].result);
    atomic_fetch_add(r == 0 ? &world->received : &world->sent, 1);
    atomic_fetch_add(r == 0 ? &world->received_sum : &world->sent_sum, r == 0 ? in : out);
}

static int count_job(void *arg)
{
    atomic_fetch_add((atomic_ullong *)arg, 1);
    return 0;
}

static void act_block(struct actor *actor)
{
    filch_task *job;

    T_OK(filch_blocking_spawn(count_job, &actor->world->jobs, NULL, &job));
    T_OK(filch_task_detach(job));
}

static void act_rwlock(struct actor *actor)
{
    struct world *world = actor->world;
    bool writes = pick(actor, 4) == 0;
    int r = writes ? filch_rwlock_write(&world->rwlock, pick_until(actor))
                   : filch_rwlock_read(&world->rwlock, pick_until(actor));

    if (r < 0) {
        count_refusal(world, r);
        return;
    }
    T_IS(world->versions[0], world->versions[1]);
    if (writes) {
        world->versions[0]++;
        filch_task_yield();
        world->versions[1]++;
        atomic_fetch_add(&world->written, 1);
        T_OK(filch_rwlock_unlock(&world->rwlock));
    } else {
        T_OK(filch_rwlock_unlock(&world->rwlock));
    }
}

/* A message as a future, with a deadline: what is dropped leaves it in the channel. */
static void act_future(struct actor *actor)
{
    struct world *world = actor->world;
    filch_chan *chan = world->chan[pick(actor, CHANNELS)];
    filch_timeout_future timeout;
    filch_recv_future recv;
    uint64_t msg = 0;
    int r;

    T_OK(filch_recv_future_init(&recv, chan, &msg));
    T_OK(filch_timeout_future_init(&timeout, &recv.base, pick_until(actor)));
    r = filch_await(&timeout.base, pick_until(actor));
    if (r < 0 && timeout.base.drop)
        timeout.base.drop(&timeout.base);
    if (r < 0) {
        count_refusal(world, r);
        return;
    }
    atomic_fetch_add(&world->futures, 1);
    atomic_fetch_add(&world->received, 1);
    atomic_fetch_add(&world->received_sum, msg);
}

/* The same as a stream, of which the first few are taken. */
static void act_stream(struct actor *actor)
{
    struct world *world = actor->world;
    filch_chan_stream chan;
    filch_take_stream take;
    uint64_t msg;
    int r;

    T_OK(filch_chan_stream_init(&chan, world->chan[pick(actor, CHANNELS)], sizeof msg));
    T_OK(filch_take_stream_init(&take, &chan.base, 1 + pick(actor, 4)));
    while ((r = filch_stream_next(&take.base, &msg, pick_until(actor))) > 0) {
        atomic_fetch_add(&world->items, 1);
        atomic_fetch_add(&world->received, 1);
        atomic_fetch_add(&world->received_sum, msg);
    }
    if (r < 0)
        count_refusal(world, r);
    filch_stream_drop(&take.base);
}

static void count_hook(void *arg)
{
    atomic_fetch_add((atomic_ullong *)arg, 1);
}

static int sleeps_on(void *token)
{
    T_OK(filch_token_bind(token));
    return filch_sleep(FILCH_NEVER);
}

/* A branch of the world's tree, and a task and a hook that hang on it. */
static void act_token(struct actor *actor)
{
    struct world *world = actor->world;
    filch_token *branch, *leaf;
    filch_hook hook;

    T_OK(filch_token_child(world->token, &branch));
    T_OK(filch_token_child(branch, &leaf));
    {
        FILCH_SCOPE(scope);

        T_OK(filch_scope_spawn(&scope, sleeps_on, leaf));
        T_OK(filch_token_hook(leaf, &hook, count_hook, &world->told));
        atomic_fetch_add(&world->hung_on, 1);
        if (pick(actor, 2))
            filch_task_yield();
        T_OK(filch_token_cancel(pick(actor, 2) ? branch : leaf, -ECANCELED, NULL));
        T_CHECK(filch_token_is_cancelled(leaf));
        (void)filch_token_unhook(leaf, &hook);
        (void)!filch_scope_join(&scope, FILCH_NEVER); /* if we are cancelled, its end waits */
    }
    filch_token_unref(leaf);
    filch_token_unref(branch);
}

/* One of its branches suspends, now and then. */
FILCH_TASK3(unsigned, tree, struct world *, world, uint64_t, random, int, height)
{
    FILCH_FORKED(tree) left;
    struct actor here = {world, random | 1, 0};
    unsigned leaves;

    if (pick(&here, 16) == 0)
        filch_task_yield();
    if (height == 0) {
        atomic_fetch_add(&world->leaves, 1);
        return 1;
    }
    FILCH_FORK(tree, &left, world, next_random(&here), height - 1);
    if (pick(&here, 64) == 0)
        (void)!filch_sleep(filch_after(pick(&here, 300) * FILCH_MICROSECOND));
    leaves = FILCH_CALL(tree, world, next_random(&here), height - 1);
    return leaves + FILCH_JOIN(tree, &left);
}

static void act_fork(struct actor *actor)
{
    int height = (int)pick(actor, 7);

    atomic_fetch_add(&actor->world->leaves_wanted, 1ull << height);
    T_IS(tree(actor->world, next_random(actor), height), 1u << height);
}

static int add_numbers(void *sum, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++)
        atomic_fetch_add((atomic_ullong *)sum, i);
    if (begin % 256 == 0)
        filch_task_yield();
    return 0;
}

static void act_loop(struct actor *actor)
{
    filch_parallel_opts opts = {.grain = pick(actor, 3) * 16};
    size_t n = pick(actor, 2000);
    atomic_ullong sum = 0;
    int r = filch_parallel_for(0, n, add_numbers, &sum, &opts);

    if (r < 0) {
        count_refusal(actor->world, r);
        return;
    }
    T_IS(sum, n ? n * (n - 1) / 2 : 0);
    atomic_fetch_add(&actor->world->loops, 1);
}

static int sleeps_in_the_kernel(void *arg)
{
    (void)arg;
    return nanosleep(&(struct timespec){.tv_nsec = 15 * 1000 * 1000}, NULL);
}

/* For longer than it takes until the watch looks: others get on meanwhile. Not all the time, as one
 * worker alone has nobody to help it. */
static void act_stuck(struct actor *actor)
{
    struct world *world = actor->world;
    filch_time now = filch_now(), end = now + 15 * FILCH_MILLISECOND;
    unsigned long long next = atomic_load(&world->stuck_next);

    if (now < next ||
        !atomic_compare_exchange_strong(&world->stuck_next, &next, now + 60 * FILCH_MILLISECOND))
        return;
    switch (pick(actor, 3)) {
    case 0:
        T_OK(sleeps_in_the_kernel(NULL));
        break;
    case 1:
        T_OK(filch_block_in_place(sleeps_in_the_kernel, NULL, NULL));
        break;
    default:
        while (filch_now() < end)
            ;
    }
    atomic_fetch_add(&world->stuck, 1);
}

/* Runtimes that start, live and end while others work: one driven by its host, one with threads. */
static void live_once(struct world *world, bool hosted)
{
    filch_runtime_opts opts = {.current_thread = hosted, .workers = 1};
    filch_runtime *rt = NULL;
    int result = -1;

    T_OK(filch_runtime_start(&opts, &rt));
    T_OK(filch_runtime_block_on(rt, count_job, &world->runtimes, &result, FILCH_NEVER));
    T_OK(result);
    T_OK(filch_runtime_shutdown(rt, T_LIMIT));
}

static void *live_in_thread(void *arg)
{
    struct world *world = arg;

    for (bool hosted = true; !atomic_load(&world->over); hosted = !hosted)
        live_once(world, hosted);
    return NULL;
}

static int act(void *arg);

static struct actor child_of(struct actor *actor)
{
    return (struct actor){actor->world, next_random(actor) | 1, actor->depth + 1};
}

/* With a handle: joined, detached, or cancelled and joined. */
static void act_spawn(struct actor *actor)
{
    struct actor child = child_of(actor);
    filch_task_opts opts = {.name = "actor",
                            .copy_bytes = sizeof(child),
                            .pinned = pick(actor, 8) == 0,
                            .group = actor->world->group[pick(actor, GROUPS)]};
    filch_task *task;
    int r;

    /* Counted first: so the numbers are equal only when nobody is left. */
    atomic_fetch_add(&actor->world->spawned, 1);
    T_OK(filch_task_spawn(act, &child, &opts, &task));
    switch (pick(actor, 3)) {
    case 0:
        T_OK(filch_task_detach(task));
        return;
    case 1:
        T_OK(filch_task_cancel(task));
        break;
    default:
        break;
    }
    r = filch_task_join(task, NULL, pick_until(actor));
    if (r < 0) {
        count_refusal(actor->world, r);
        T_OK(filch_task_detach(task));
    }
}

static void act_scope(struct actor *actor)
{
    FILCH_SCOPE(scope);

    for (unsigned n = pick(actor, 6); n > 0; n--) {
        struct actor child = child_of(actor);
        filch_task_opts opts = {.copy_bytes = sizeof(child)};

        atomic_fetch_add(&actor->world->spawned, 1);
        T_OK(filch_scope_spawn_opts(&scope, act, &child, &opts));
    }
    if (pick(actor, 2)) {
        int r = filch_scope_join(&scope, pick_until(actor));

        if (r < 0)
            count_refusal(actor->world, r);
    }
}

static void act_tcp(struct actor *actor)
{
    char out[512];
    char in[512];
    size_t bytes = 1 + pick(actor, sizeof(out));
    filch_tcp *conn;
    int r = filch_tcp_connect(actor->world->pair.addr, &conn, filch_after(FILCH_SECOND));

    if (r < 0) {
        count_refusal(actor->world, r);
        return;
    }
    memset(out, (int)pick(actor, 256), bytes);
    r = filch_tcp_write_all(conn, out, bytes, NULL, filch_after(FILCH_SECOND));
    if (r == 0)
        r = filch_tcp_read_exact(conn, in, bytes, NULL, filch_after(FILCH_SECOND));
    if (r == 0) {
        T_OK(memcmp(in, out, bytes));
        atomic_fetch_add(&actor->world->echoes, 1);
    } else {
        count_refusal(actor->world, r);
    }
    T_OK(filch_tcp_close(conn));
}

static int act(void *arg)
{
    struct actor actor = *(struct actor *)arg;

    for (unsigned n = 1 + pick(&actor, 8); n > 0; n--) {
        unsigned what = pick(&actor, 27);

        if (what < 5)
            act_send(&actor);
        else if (what < 10)
            act_recv(&actor);
        else if (what < 12)
            act_sleep(&actor);
        else if (what == 12)
            act_tcp(&actor);
        else if (what == 13)
            filch_task_yield();
        else if (what == 16)
            act_lock(&actor);
        else if (what == 17)
            act_permit(&actor);
        else if (what == 18)
            act_select(&actor);
        else if (what == 19)
            act_block(&actor);
        else if (what == 20)
            act_rwlock(&actor);
        else if (what == 21)
            act_future(&actor);
        else if (what == 22)
            act_stream(&actor);
        else if (what == 23)
            act_token(&actor);
        else if (what == 24)
            act_fork(&actor);
        else if (what == 25)
            act_loop(&actor);
        else if (what == 26)
            act_stuck(&actor);
        else if (actor.depth < 4)
            what == 14 ? act_spawn(&actor) : act_scope(&actor);
    }
    atomic_fetch_add(&actor.world->ended, 1);
    return 0;
}

/* A client that was cancelled leaves by an end of stream or a reset: both are its right. */
static int echo(void *arg)
{
    filch_tcp *conn = arg;
    char buffer[256];
    ssize_t n;

    while ((n = filch_tcp_read(conn, buffer, sizeof(buffer), FILCH_NEVER)) > 0) {
        if (filch_tcp_write_all(conn, buffer, (size_t)n, NULL, FILCH_NEVER) < 0)
            break;
    }
    T_OK(filch_tcp_close(conn));
    return 0;
}

static int serve(void *arg)
{
    struct world *world = arg;
    FILCH_SCOPE(conns);
    filch_tcp *conn;

    while (filch_listener_accept(world->pair.listener, &conn, FILCH_NEVER) == 0)
        T_OK(filch_scope_spawn(&conns, echo, conn));
    return 0;
}

static int run_world(void *arg)
{
    struct world *world = arg;
    struct actor root = {world, world->seed | 1, 0};
    filch_task *server;

    for (int i = 0; i < GROUPS && world->seed % 2; i++)
        T_OK(filch_group_new(filch_runtime_self(),
                             &(filch_group_opts){.weight = 100u << i, .kind = (filch_group_kind)i},
                             &world->group[i]));
    listen_any(&world->pair);
    server = spawn(serve, world);
    while (filch_now() < world->end) {
        struct actor child = child_of(&root);
        filch_task_opts opts = {.copy_bytes = sizeof(child)};

        if (atomic_load(&world->spawned) - atomic_load(&world->ended) > ACTORS_AT_ONCE) {
            filch_task_yield();
            continue;
        }
        atomic_fetch_add(&world->spawned, 1);
        T_OK(filch_task_spawn(act, &child, &opts, NULL));
    }
    T_WAIT_UNTIL(atomic_load(&world->spawned) == atomic_load(&world->ended));
    for (int i = 0; i < GROUPS; i++)
        T_WAIT_UNTIL(filch_group_free(world->group[i]) == 0);
    T_OK(filch_task_cancel(server));
    T_OK(join(server));
    T_OK(filch_listener_close(world->pair.listener));
    return 0;
}

static void check_messages(struct world *world)
{
    unsigned long long queued = 0;
    unsigned long long queued_sum = 0;
    uint64_t msg;

    for (int i = 0; i < CHANNELS; i++) {
        while (filch_chan_recv(world->chan[i], &msg, FILCH_NOW) == 0) {
            queued++;
            queued_sum += msg;
        }
        filch_chan_unref(world->chan[i]);
    }
    T_IS(world->received + queued, world->sent);
    T_IS(world->received_sum + queued_sum, world->sent_sum);
}

/* One life of a world. Return: when it has ended and all its numbers agree. */
static void round_of(struct world *world)
{
    static const size_t capacity[CHANNELS] = {1, 3, 128, FILCH_CHAN_UNBOUNDED};
    pthread_t host;

    for (int i = 0; i < CHANNELS; i++)
        T_OK(filch_chan_new(sizeof(uint64_t), capacity[i], &world->chan[i]));
    filch_mutex_init(&world->mutex);
    T_OK(filch_semaphore_init(&world->semaphore, PERMITS));
    filch_rwlock_init(&world->rwlock);
    T_OK(filch_token_new(&world->token));
    T_OK(pthread_create(&host, NULL, live_in_thread, world));
    T_OK(run_in_runtime(0, run_world, world));
    atomic_store(&world->over, true);
    T_OK(pthread_join(host, NULL));
    filch_token_unref(world->token);
    T_IS(world->versions[0], world->written);
    T_IS(world->versions[1], world->written);
    T_IS(world->told, world->hung_on);
    T_CHECK(world->runtimes > 0);
    filch_rwlock_fini(&world->rwlock);
    T_IS(world->ended, world->spawned);
    T_IS(world->leaves, world->leaves_wanted);
    T_IS(world->guarded, world->locked);
    T_IS(filch_semaphore_available(&world->semaphore), PERMITS);
    filch_semaphore_fini(&world->semaphore);
    filch_mutex_fini(&world->mutex);
    check_messages(world);
    printf("%llu actors, %llu messages, %llu by future, %llu by stream, %llu echoes, %llu locks, "
           "%llu writes, %llu tokens, %llu jobs, %llu leaves, %llu loops, %llu times stuck, %llu "
           "runtimes, %llu cancels, %llu time-outs: all accounted for\n",
           world->spawned, world->sent, world->futures, world->items, world->echoes, world->locked,
           world->written, world->told, world->jobs, world->leaves, world->loops, world->stuck,
           world->runtimes, world->cancels, world->timeouts);
}

int main(int argc, char **argv)
{
    static struct world world;
    filch_time seconds = argc > 1 ? strtoull(argv[1], NULL, 10) : 3;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : filch_now();
    filch_time end = filch_after(seconds * FILCH_SECOND);
    unsigned descriptors = 0, threads = 0;
    size_t rss_kb = 0;

    printf("seed %llu\n", (unsigned long long)seed);
    for (unsigned n = 0; n == 0 || filch_now() < end; n++) {
        filch_time until = filch_after((seconds < 4 ? 1 : ROUND_S) * FILCH_SECOND);

        world = (struct world){.seed = seed + n, .end = until < end ? until : end};
        round_of(&world);
        fflush(stdout);
        if (n == 0) {
            descriptors = process_descriptors();
            threads = process_threads();
            rss_kb = memory_kb("VmRSS");
        }
        T_IS(process_descriptors(), descriptors);
        /* A thread that was joined may be listed for a moment longer. */
        T_WAIT_UNTIL(process_threads() <= threads);
#ifndef T_SANITIZED /* quarantines and shadows grow */
        T_CHECK(memory_kb("VmRSS") < rss_kb + GROWTH_KB);
#endif
    }
    printf("%u descriptors, %u threads, %zu kB after the first round, %zu kB now\n", descriptors,
           threads, rss_kb, memory_kb("VmRSS"));
    return 0;
}
