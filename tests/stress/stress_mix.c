/* Everything at once, for a while: tasks that spawn, join, cancel, sleep, talk through channels and
 * over TCP, chosen by a seed.
 *
 *     stress_mix [SECONDS [SEED]]     default: 3 seconds, a seed from the clock; FILCH_TEST_WORKERS
 * sets the workers
 *
 * What must hold at the end, whatever was cancelled: each actor that was spawned has ended; what
 * was sent was received or is still queued, in number and in sum; each connection echoed what it
 * was sent. The seed is printed first: schedules differ between runs, but each actor's choices are
 * the same.
 */
#include <errno.h>
#include <string.h>

#include "tests/runner/tcp_pair.h"

enum { CHANNELS = 4, ACTORS_AT_ONCE = 200 };

struct world {
    filch_chan *chan[CHANNELS];
    struct tcp_pair pair; /* only its listener */
    filch_time end;
    uint64_t seed;
    atomic_ullong spawned, ended;
    atomic_ullong sent, sent_sum;
    atomic_ullong received, received_sum;
    atomic_ullong echoes, cancels, timeouts;
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

static int act(void *arg);

static struct actor child_of(struct actor *actor)
{
    return (struct actor){actor->world, next_random(actor) | 1, actor->depth + 1};
}

/* With a handle: joined, detached, or cancelled and joined. */
static void act_spawn(struct actor *actor)
{
    struct actor child = child_of(actor);
    filch_task_opts opts = {.name = "actor", .copy_bytes = sizeof(child)};
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
        unsigned what = pick(&actor, 16);

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

int main(int argc, char **argv)
{
    static const size_t capacity[CHANNELS] = {1, 3, 128, FILCH_CHAN_UNBOUNDED};
    static struct world world;
    filch_time seconds = argc > 1 ? strtoull(argv[1], NULL, 10) : 3;

    world.seed = argc > 2 ? strtoull(argv[2], NULL, 10) : filch_now();
    printf("seed %llu\n", (unsigned long long)world.seed);
    fflush(stdout);
    for (int i = 0; i < CHANNELS; i++)
        T_OK(filch_chan_new(sizeof(uint64_t), capacity[i], &world.chan[i]));
    world.end = filch_after(seconds * FILCH_SECOND);
    T_OK(run_in_runtime(0, run_world, &world));
    T_IS(world.ended, world.spawned);
    check_messages(&world);
    printf("%llu actors, %llu messages, %llu echoes, %llu cancels, %llu time-outs: all accounted "
           "for\n",
           world.spawned, world.sent, world.echoes, world.cancels, world.timeouts);
    return 0;
}
