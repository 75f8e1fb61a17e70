/* Each primitive under random operations of many actors at once, against a simple sequential model
 * of it (property.h): tasks and plain threads, with time-outs, deadlines and cancels at any moment.
 *
 *     property [-n OPERATIONS] [-s SEED] [-t] [NAME...]
 *
 * Does so many operations with each primitive, or with those that are named: 20000 of them if
 * nothing else is said, and a seed from the clock, which is printed. -t: plain threads alone,
 * without a runtime; otherwise FILCH_TEST_WORKERS says how many workers there are. Schedules differ
 * between runs, but each actor's choices are the same.
 *
 * An object lives for some thousand operations and is ended then; so its beginning and its end are
 * met often, and its model's sums are compared often. */
#include "tests/property/property.h"

#include <string.h>
#include <unistd.h>

enum { THREADS_BESIDE = 2, OPS_OF_A_LIFE = 8000, CANCEL_IN = 100 };

struct life {
    const struct property *property;
    void *world;
    unsigned long ops;
    uint64_t seed;
    atomic_ulong next_op, next_actor;
    atomic_ulong done, gave_up, cancelled;
    _Atomic(filch_task *) task[SLOTS];
    filch_waitgroup threads;
};

struct place {
    struct life *life;
    unsigned slot;
    bool is_thread;
};

static const struct property *const properties[] = {
    &property_mutex,  &property_rwlock,      &property_cond,      &property_once,
    &property_notify, &property_semaphore,   &property_barrier,   &property_waitgroup,
    &property_gate,   &property_limiter,     &property_oneshot,   &property_chan,
    &property_watch,  &property_delay_queue, &property_broadcast, &property_token,
    &property_rcu,
};

/* ---- actors ---- */

static void cancel_somebody(struct actor *actor)
{
    filch_task *task = atomic_load(&actor->life->task[any(actor, SLOTS)]);
    int r;

    if (!task)
        return;
    r = filch_task_cancel(task); /* it may have been joined meanwhile */
    T_CHECK(r == 0 || r == -ESRCH);
}

static void step(struct actor *actor)
{
    const struct property *property = actor->life->property;

    if (actor->is_thread || any(actor, 8)) {
        property->step(actor);
        return;
    }
    FILCH_DEADLINE(filch_after(any(actor, 30) * FILCH_MICROSECOND))
    property->step(actor);
}

static void act(struct place *place)
{
    struct life *life = place->life;
    uint64_t number = atomic_fetch_add(&life->next_actor, 1);
    struct actor actor = {.life = life,
                          .world = life->world,
                          .slot = place->slot,
                          .is_thread = place->is_thread,
                          .random = life->seed + number * 0x9e3779b97f4a7c15u};

    if (life->property->enter)
        life->property->enter(&actor);
    while ((actor.op = atomic_fetch_add(&life->next_op, 1)) < life->ops) {
        step(&actor);
        if (any(&actor, CANCEL_IN) == 0)
            cancel_somebody(&actor);
        if (filch_task_is_cancelled())
            break;
    }
    if (life->property->leave)
        life->property->leave(&actor);
    atomic_fetch_add(&life->done, actor.done);
    atomic_fetch_add(&life->gave_up, actor.gave_up);
    atomic_fetch_add(&life->cancelled, actor.cancelled);
}

static int act_in_task(void *arg)
{
    act(arg);
    return 0;
}

static void *act_in_thread(void *arg)
{
    struct place *place = arg;

    act(place);
    T_OK(filch_waitgroup_done(&place->life->threads));
    return NULL;
}

/* One actor after the other, in one slot. */
static int keep_acting(void *arg)
{
    struct place *place = arg;
    struct life *life = place->life;

    while (atomic_load(&life->next_op) < life->ops) {
        filch_task *task = spawn(act_in_task, place);
        int result = -1;

        atomic_store(&life->task[place->slot], task);
        T_OK(filch_task_join(task, &result, FILCH_NEVER));
        T_OK(result);
    }
    return 0;
}

/* ---- lives ---- */

static void live(struct life *life, unsigned threads)
{
    pthread_t id[SLOTS];
    struct place place[SLOTS];

    for (unsigned i = 0; i < SLOTS; i++)
        place[i] = (struct place){.life = life, .slot = i, .is_thread = i < threads};
    T_OK(filch_waitgroup_init(&life->threads, 0));
    T_OK(filch_waitgroup_add(&life->threads, threads));
    for (unsigned i = 0; i < threads; i++)
        T_OK(pthread_create(&id[i], NULL, act_in_thread, &place[i]));
    if (threads < SLOTS) {
        FILCH_SCOPE(scope);

        for (unsigned i = threads; i < SLOTS; i++)
            T_OK(filch_scope_spawn(&scope, keep_acting, &place[i]));
        T_OK(filch_scope_join(&scope, FILCH_NEVER));
        /* A join would block the worker, which they may wait for. */
        T_OK(filch_waitgroup_wait(&life->threads, FILCH_NEVER));
    }
    for (unsigned i = 0; i < threads; i++)
        T_OK(pthread_join(id[i], NULL));
    filch_waitgroup_fini(&life->threads);
}

struct run {
    const struct property *property;
    unsigned long ops;
    uint64_t seed;
    unsigned threads; /* of the slots */
};

static int live_again_and_again(void *arg)
{
    struct run *run = arg;
    unsigned long left = run->ops, lives = 0, done = 0, gave_up = 0, cancelled = 0;
    uint64_t random = run->seed;

    for (; left; lives++) {
        struct life life = {.property = run->property,
                            .ops = 1 + random_below(&random, OPS_OF_A_LIFE),
                            .seed = random};

        if (life.ops > left)
            life.ops = left;
        life.world = life.property->begin(life.ops, &random);
        live(&life, run->threads);
        life.property->end(life.world);
        left -= life.ops;
        done += life.done;
        gave_up += life.gave_up;
        cancelled += life.cancelled;
    }
    printf("%-12s %lu operations in %lu lives: %lu calls done, %lu given up, %lu cancelled\n",
           run->property->name, run->ops, lives, done, gave_up, cancelled);
    fflush(stdout);
    /* It was about something, though most may be given up where the machine is slow. */
    T_CHECK(run->ops < 1000 || done > run->ops / 50);
    return 0;
}

static bool is_wanted(const char *name, int count, char **names)
{
    if (count == 0)
        return true;
    for (int i = 0; i < count; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static int usage(void)
{
    fprintf(stderr, "usage: property [-n OPERATIONS] [-s SEED] [-t] [NAME...]\nnames:");
    for (size_t i = 0; i < sizeof(properties) / sizeof(*properties); i++)
        fprintf(stderr, " %s", properties[i]->name);
    fprintf(stderr, "\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct run run = {.ops = 20000, .seed = filch_now(), .threads = THREADS_BESIDE};
    unsigned ran = 0;
    int option;

    while ((option = getopt(argc, argv, "n:s:t")) != -1) {
        switch (option) {
        case 'n':
            run.ops = strtoul(optarg, NULL, 10);
            break;
        case 's':
            run.seed = strtoull(optarg, NULL, 10);
            break;
        case 't':
            run.threads = SLOTS;
            break;
        default:
            return usage();
        }
    }
    printf("seed %llu\n", (unsigned long long)run.seed);
    fflush(stdout);
    for (size_t i = 0; i < sizeof(properties) / sizeof(*properties); i++) {
        run.property = properties[i];
        if (!is_wanted(run.property->name, argc - optind, argv + optind))
            continue;
        ran++;
        if (run.threads == SLOTS)
            T_OK(live_again_and_again(&run));
        else
            T_OK(run_in_runtime(0, live_again_and_again, &run));
    }
    return ran ? 0 : usage();
}
