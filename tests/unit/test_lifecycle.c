/* Description: the life of runtimes: shutdown that names what does not stop, and what races with
 * it; hooks, names, log; many runtimes, at once and one after the other. */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "runtime/base/valgrind.h"
#include "runtime/task/switch.h"
#include "runtime/task/task.h"
#include "tests/runner/tcp_pair.h"

#if defined(FILCH__ASAN) || defined(FILCH__TSAN)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

TestSuite(lifecycle, .timeout = 100);

static int return_arg(void *arg)
{
    return (int)(intptr_t)arg;
}

/* Messages of a runtime, one after the other. */
struct messages {
    pthread_mutex_t lock;
    char text[16384];
    int count;
    int level; /* of the last one */
};

static void take_message(void *arg, int level, const char *message)
{
    struct messages *messages = arg;
    size_t used;

    pthread_mutex_lock(&messages->lock);
    used = strlen(messages->text);
    snprintf(messages->text + used, sizeof messages->text - used, "%s\n", message);
    messages->count++;
    messages->level = level;
    pthread_mutex_unlock(&messages->lock);
}

static struct messages *new_messages(void)
{
    static struct messages messages;

    memset(&messages, 0, sizeof messages);
    T_OK(pthread_mutex_init(&messages.lock, NULL));
    return &messages;
}

static bool was_said(struct messages *messages, const char *text)
{
    if (strstr(messages->text, text))
        return true;
    fprintf(stderr, "not said: %s\nbut:\n%s", text, messages->text);
    return false;
}

static filch_runtime *start_with(const filch_runtime_opts *with)
{
    filch_runtime_opts opts = *with;
    filch_runtime *rt = NULL;

    if (!opts.workers)
        opts.workers = test_workers();
    T_OK(filch_runtime_start(&opts, &rt));
    return rt;
}

struct gate {
    atomic_int inside;
    sem_t open;
};

static void gate_init(struct gate *gate)
{
    gate->inside = 0;
    T_OK(sem_init(&gate->open, 0, 0));
}

static int wait_at_gate(void *arg)
{
    struct gate *gate = arg;

    atomic_fetch_add(&gate->inside, 1);
    while (sem_wait(&gate->open) < 0)
        T_CHECK(errno == EINTR);
    return 0;
}

struct flag {
    atomic_int running;
    atomic_int end;
};

static int spin_until_told(void *arg)
{
    struct flag *flag = arg;

    atomic_fetch_add(&flag->running, 1);
    while (!atomic_load(&flag->end))
        filch_task_yield();
    return 0;
}

/* Parked in a wait that no cancel ends: the scope's child does not end. */
static int wait_for_child(void *arg)
{
    FILCH_SCOPE(scope);

    T_OK(filch_scope_spawn_opts(&scope, spin_until_told, arg, &(filch_task_opts){.name = "child"}));
    (void)!filch_scope_cancel_join(&scope);
    return 0;
}

struct seen {
    int tasks, futures, jobs;
    bool parent_waits;
    bool job_runs;
};

static void see(void *arg, const filch_live *live)
{
    struct seen *seen = arg;

    switch (live->kind) {
    case FILCH_LIVE_TASK:
        seen->tasks++;
        break;
    case FILCH_LIVE_FUTURE:
        seen->futures++;
        break;
    case FILCH_LIVE_JOB:
        seen->jobs++;
        break;
    }
    if (strcmp(live->name, "parent") == 0 && strcmp(live->doing, "end of a scope") == 0)
        seen->parent_waits = true;
    if (strcmp(live->name, "job") == 0 && strcmp(live->doing, "running") == 0)
        seen->job_runs = true;
}

Test(lifecycle, shutdown_names_what_does_not_stop)
{
    struct messages *messages = new_messages();
    filch_runtime *rt = start_with(&(filch_runtime_opts){.log = take_message, .log_arg = messages});
    struct flag flag = {0};
    struct gate gate;
    struct seen seen = {0};
    filch_task *idle;

    gate_init(&gate);
    T_OK(
        filch_runtime_spawn(rt, wait_for_child, &flag, &(filch_task_opts){.name = "parent"}, NULL));
    T_OK(filch_runtime_blocking_spawn(rt, wait_at_gate, &gate, &(filch_task_opts){.name = "job"},
                                      NULL));
    T_OK(filch_runtime_spawn(rt, sleep_until_cancelled, NULL, &(filch_task_opts){.name = "sleeper"},
                             &idle));
    T_WAIT_UNTIL(atomic_load(&flag.running) == 1 && atomic_load(&gate.inside) == 1);
    do {
        messages->text[0] = 0;
        cr_assert_eq(filch_runtime_shutdown(rt, filch_after(5 * FILCH_MILLISECOND)), -ETIMEDOUT);
    } while (!strstr(messages->text, "waits for task \"parent\": end of a scope"));
    cr_assert(was_said(messages, "shutdown waits for task \"child\": run"));
    cr_assert(was_said(messages, "shutdown waits for blocking job \"job\": running\n"));
    cr_assert_eq(messages->level, FILCH_LOG_WARNING);
    T_OK(filch_task_join(idle, NULL, T_LIMIT)); /* cancelled, and not in anybody's way */
    T_WAIT_UNTIL((memset(&seen, 0, sizeof seen), filch_runtime_visit(rt, see, &seen)) == 3);
    T_WAIT_UNTIL((memset(&seen, 0, sizeof seen), filch_runtime_visit(rt, see, &seen)) == 3 &&
                 seen.parent_waits);
    cr_assert(seen.tasks == 2 && seen.jobs == 1 && seen.futures == 0 && seen.job_runs);
    atomic_store(&flag.end, 1);
    T_OK(sem_post(&gate.open));
    stop_runtime(rt);
}

Test(lifecycle, visit_checks_its_arguments_and_sees_nothing_in_an_idle_runtime)
{
    filch_runtime *rt = start_runtime(0);
    filch_runtime *other = start_runtime(1);
    struct seen seen = {0};

    cr_assert_eq(filch_runtime_visit(NULL, see, &seen), -EINVAL);
    cr_assert_eq(filch_runtime_visit(rt, NULL, NULL), -EINVAL);
    T_OK(filch_runtime_spawn(other, sleep_until_cancelled, NULL, NULL, NULL));
    cr_assert_eq(filch_runtime_visit(rt, see, &seen), 0);
    stop_runtime(rt);
    stop_runtime(other);
}

Test(lifecycle, many_stragglers_are_counted_not_listed)
{
    struct messages *messages = new_messages();
    filch_runtime *rt = start_with(&(filch_runtime_opts){.log = take_message, .log_arg = messages});
    struct flag flag = {0};

    for (int i = 0; i < 100; i++)
        T_OK(filch_runtime_spawn(rt, spin_until_told, &flag, NULL, NULL));
    cr_assert_eq(filch_runtime_shutdown(rt, FILCH_NOW), -ETIMEDOUT);
    cr_assert_eq(messages->count, 33);
    cr_assert(was_said(messages, "shutdown waits for 68 more\n"));
    atomic_store(&flag.end, 1);
    stop_runtime(rt);
}

Test(lifecycle, job_that_never_returns_times_out_every_time_and_frees_nothing)
{
    struct messages *messages = new_messages();
    filch_runtime *rt = start_with(&(filch_runtime_opts){.log = take_message, .log_arg = messages});
    struct gate gate;
    filch_stats stats;

    gate_init(&gate);
    T_OK(filch_runtime_blocking_spawn(rt, wait_at_gate, &gate, &(filch_task_opts){.name = "wedged"},
                                      NULL));
    for (int i = 1; i <= 3; i++) {
        cr_assert_eq(filch_runtime_shutdown(rt, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
        cr_assert_eq(messages->count, i);
        T_OK(filch_runtime_stats(rt, &stats));
        cr_assert_eq(stats.tasks_spawned - stats.tasks_finished, 1);
        cr_assert_eq(filch_runtime_blocking_spawn(rt, wait_at_gate, &gate, NULL, NULL), -ESHUTDOWN);
    }
    cr_assert(was_said(messages, "shutdown waits for blocking job \"wedged\": run"));
    T_OK(sem_post(&gate.open));
    stop_runtime(rt);
}

static void *shut_down(void *rt)
{
    return (void *)(intptr_t)filch_runtime_shutdown(rt, FILCH_NEVER);
}

Test(lifecycle, second_shutdown_is_told_that_there_is_one)
{
    filch_runtime *rt = start_runtime_alone(0);
    struct gate gate;
    pthread_t thread;
    void *result;

    gate_init(&gate);
    T_OK(filch_runtime_blocking_spawn(rt, wait_at_gate, &gate, NULL, NULL));
    T_OK(pthread_create(&thread, NULL, shut_down, rt));
    /* The thread is inside as soon as spawns are refused. */
    T_WAIT_UNTIL(filch_runtime_spawn(rt, return_arg, NULL, NULL, NULL) == -ESHUTDOWN);
    cr_assert_eq(filch_runtime_shutdown(rt, FILCH_NEVER), -EBUSY);
    T_OK(sem_post(&gate.open));
    T_OK(pthread_join(thread, &result));
    cr_assert_null(result);
    cr_assert_eq(filch_runtime_shutdown(rt, FILCH_NEVER), -ESHUTDOWN);
    cr_assert_eq(filch_runtime_spawn(rt, return_arg, NULL, NULL, NULL), -ESHUTDOWN);
    cr_assert_eq(filch_runtime_blocking_spawn(rt, return_arg, NULL, NULL, NULL), -ESHUTDOWN);
}

static int shut_down_from_inside(void *rt)
{
    return filch_runtime_shutdown(rt, FILCH_NEVER);
}

static int run_job(filch_runtime *in, filch_fn fn, void *arg)
{
    filch_task *job;

    T_OK(filch_runtime_blocking_spawn(in, fn, arg, NULL, &job));
    return join(job);
}

Test(lifecycle, shutdown_is_refused_where_it_would_wait_for_its_caller_or_hold_a_worker_up)
{
    filch_runtime *rt = start_runtime(1);
    filch_runtime *other = start_runtime(1);
    int result = 0;

    T_OK(filch_runtime_block_on(rt, shut_down_from_inside, rt, &result, FILCH_NEVER));
    cr_assert_eq(result, -EDEADLK);
    T_OK(filch_runtime_block_on(other, shut_down_from_inside, rt, &result, FILCH_NEVER));
    cr_assert_eq(result, -EDEADLK);
    cr_assert_eq(run_job(rt, shut_down_from_inside, rt), -EDEADLK);
    T_OK(filch_runtime_block_on(rt, return_arg, (void *)5, &result, FILCH_NEVER));
    cr_assert_eq(result, 5);
    test_host_stop(rt);
    cr_assert_eq(run_job(other, shut_down_from_inside, rt), 0);
    stop_runtime(other);
}

struct spawners {
    filch_runtime *rt;
    atomic_long consumed; /* spawns that succeeded */
    atomic_long ran;
    atomic_int started;
};

static int count_run(void *arg)
{
    atomic_fetch_add(&((struct spawners *)arg)->ran, 1);
    return 0;
}

/* Until it is refused, or has had its share: on one CPU it would go on for long. */
static void *spawn_until_refused(void *arg)
{
    struct spawners *spawners = arg;
    int r = 0;

    atomic_fetch_add(&spawners->started, 1);
    for (int i = 0; i < 1000 && r != -ESHUTDOWN; i++) {
        r = i % 8 ? filch_runtime_spawn(spawners->rt, count_run, spawners, NULL, NULL)
                  : filch_runtime_blocking_spawn(spawners->rt, count_run, spawners, NULL, NULL);
        T_CHECK(r == 0 || r == -ESHUTDOWN);
        if (r == 0)
            atomic_fetch_add(&spawners->consumed, 1);
    }
    return NULL;
}

Test(lifecycle, spawn_that_races_with_shutdown_runs_or_is_refused)
{
    const filch_runtime_opts few_threads = {.blocking_threads = 4};

    for (int round = 0; round < (SANITIZED ? 30 : 150); round++) {
        struct spawners spawners = {.rt = start_with(&few_threads)};
        pthread_t thread[3];

        for (int i = 0; i < 3; i++)
            T_OK(pthread_create(&thread[i], NULL, spawn_until_refused, &spawners));
        T_WAIT_UNTIL(atomic_load(&spawners.started) == 3);
        if (round % 2)
            let_others_run();
        T_OK(filch_runtime_shutdown(spawners.rt, FILCH_NEVER));
        for (int i = 0; i < 3; i++)
            T_OK(pthread_join(thread[i], NULL));
        cr_assert_eq(spawners.ran, spawners.consumed);
    }
}

struct bridge {
    filch_chan *to;
    filch_chan *back;
    atomic_long got;
};

static int send_always(void *arg)
{
    struct bridge *bridge = arg;
    int r, n = 0;

    do {
        r = filch_chan_send(bridge->to, &n, FILCH_NEVER);
        if (r == 0)
            r = filch_chan_recv(bridge->back, &n, FILCH_NEVER);
    } while (r == 0);
    return r;
}

static int echo_always(void *arg)
{
    struct bridge *bridge = arg;
    int r, n;

    do {
        r = filch_chan_recv(bridge->to, &n, FILCH_NEVER);
        if (r == 0)
            r = filch_chan_send(bridge->back, &n, FILCH_NEVER);
        if (r == 0)
            atomic_fetch_add(&bridge->got, 1);
    } while (r == 0);
    return r;
}

static void bridge_init(struct bridge *bridge)
{
    bridge->got = 0;
    T_OK(filch_chan_new(sizeof(int), 1, &bridge->to));
    T_OK(filch_chan_new(sizeof(int), 1, &bridge->back));
}

static void bridge_fini(struct bridge *bridge)
{
    filch_chan_unref(bridge->to);
    filch_chan_unref(bridge->back);
}

/* Tasks of one wake tasks of the other until the end. */
Test(lifecycle, runtime_stops_while_another_wakes_its_tasks)
{
    filch_runtime *stays = start_runtime(1);

    for (int round = 0; round < (SANITIZED ? 20 : 100); round++) {
        filch_runtime *goes = start_runtime(1);
        struct bridge bridge;
        filch_task *here;

        bridge_init(&bridge);
        T_OK(filch_runtime_spawn(stays, round % 2 ? send_always : echo_always, &bridge, NULL,
                                 &here));
        T_OK(filch_runtime_spawn(goes, round % 2 ? echo_always : send_always, &bridge, NULL, NULL));
        T_WAIT_UNTIL(atomic_load(&bridge.got) > round % 10);
        stop_runtime(goes);
        cr_assert_not(filch_task_is_finished(here));
        T_OK(filch_task_cancel(here));
        cr_assert_eq(join(here), -ECANCELED);
        bridge_fini(&bridge);
    }
    stop_runtime(stays);
}

/* The wakes between two runtimes are no business of a third. */
Test(lifecycle, runtimes_come_and_go_while_others_talk)
{
    filch_runtime *a = start_runtime(1);
    filch_runtime *b = start_runtime(1);
    struct bridge bridge[2];

    for (int i = 0; i < 2; i++) {
        bridge_init(&bridge[i]);
        T_OK(filch_runtime_spawn(a, i ? send_always : echo_always, &bridge[i], NULL, NULL));
        T_OK(filch_runtime_spawn(b, i ? echo_always : send_always, &bridge[i], NULL, NULL));
    }
    for (int i = 0; i < (SANITIZED ? 10 : 100); i++)
        cr_assert_eq(run_in_runtime(1, return_arg, NULL), 0);
    T_WAIT_UNTIL(atomic_load(&bridge[0].got) > 100 && atomic_load(&bridge[1].got) > 100);
    stop_runtime(a);
    stop_runtime(b);
    for (int i = 0; i < 2; i++)
        bridge_fini(&bridge[i]);
}

struct visitor {
    filch_runtime *rt;
    atomic_int end;
    atomic_long visited;
};

static void check_live(void *arg, const filch_live *live)
{
    struct visitor *visitor = arg;

    if (strncmp(live->name, "name-of-", 8) != 0 && strcmp(live->name, "block_on") != 0) {
        fprintf(stderr, "kind %d, doing \"%s\", name \"%s\"\n", (int)live->kind, live->doing,
                live->name);
        abort();
    }
    T_CHECK(strlen(live->doing) > 0);
    atomic_fetch_add(&visitor->visited, 1);
}

/* Sums over workers that count meanwhile: none goes back. */
static void check_numbers(filch_runtime *rt, filch_stats *last)
{
    filch_stats now;

    T_OK(filch_runtime_stats(rt, &now));
    T_CHECK(now.tasks_spawned >= last->tasks_spawned && now.polls >= last->polls &&
            now.tasks_finished >= last->tasks_finished && now.parks >= last->parks &&
            now.worker_wakes >= last->worker_wakes && now.ring_enters >= last->ring_enters &&
            now.completions >= last->completions && now.timers_fired >= last->timers_fired);
    *last = now;
}

static void *visit_always(void *arg)
{
    struct visitor *visitor = arg;
    filch_stats last = {0};

    while (!atomic_load(&visitor->end)) {
        T_CHECK(filch_runtime_visit(visitor->rt, check_live, visitor) >= 0);
        check_numbers(visitor->rt, &last);
    }
    return NULL;
}

static int name_and_free(void *arg)
{
    (void)arg;
    for (int i = 0; i < 300; i++) {
        char *name = malloc(32);
        filch_task *task;

        T_CHECK(name);
        snprintf(name, 32, "name-of-%d", i);
        T_OK(filch_task_spawn(return_arg, NULL, &(filch_task_opts){.name = name}, &task));
        T_OK(join(task));
        memset(name, '?', 32);
        free(name);
    }
    return 0;
}

/* Names are freed as soon as their task has ended: none is shown later, and none is read. */
Test(lifecycle, looking_at_tasks_is_harmless_to_those_that_come_and_go)
{
    struct visitor visitor = {.rt = start_runtime(0)};
    pthread_t thread;

    T_OK(pthread_create(&thread, NULL, visit_always, &visitor));
    for (int i = 0; i < 20 || atomic_load(&visitor.visited) < 100; i++)
        T_OK(filch_runtime_block_on(visitor.rt, name_and_free, NULL, NULL, FILCH_NEVER));
    atomic_store(&visitor.end, 1);
    T_OK(pthread_join(thread, NULL));
    stop_runtime(visitor.rt);
}

/* Something of everything that can be under way. */
struct flight {
    struct tcp_pair pair;
    filch_chan *chan;
    filch_semaphore semaphore;
    atomic_int begun, ended;
};

static int waits_for_a_child(void)
{
    filch_task *child;
    int r = filch_task_spawn(sleep_until_cancelled, NULL, NULL, &child);

    if (r == -ESHUTDOWN)
        return -ECANCELED; /* too late */
    T_OK(r);
    r = filch_task_join(child, NULL, FILCH_NEVER);
    if (r < 0)
        T_OK(filch_task_detach(child));
    return r < 0 ? r : -ECANCELED; /* the child may have been the first to be told */
}

static int waits_somehow(struct flight *flight, int how)
{
    filch_tcp *conn;
    char byte;

    switch (how % 6) {
    case 0:
        return filch_sleep(filch_after(1000 * FILCH_SECOND));
    case 1:
        return filch_chan_recv(flight->chan, &byte, FILCH_NEVER);
    case 2:
        return filch_semaphore_acquire(&flight->semaphore, 1, FILCH_NEVER);
    case 3:
        return (int)filch_tcp_read(flight->pair.server, &byte, 1, FILCH_NEVER);
    case 4:
        return filch_listener_accept(flight->pair.listener, &conn, FILCH_NEVER);
    default:
        return waits_for_a_child();
    }
}

static int is_in_flight(void *arg)
{
    struct flight *flight = arg;

    T_IS(waits_somehow(flight, atomic_fetch_add(&flight->begun, 1)), -ECANCELED);
    atomic_fetch_add(&flight->ended, 1);
    return 0;
}

static int job_in_flight(void *arg)
{
    struct flight *flight = arg;

    atomic_fetch_add(&flight->begun, 1);
    while (!filch_task_is_cancelled())
        sched_yield();
    atomic_fetch_add(&flight->ended, 1);
    return 0;
}

static int open_flight(void *arg)
{
    connect_pair(&((struct flight *)arg)->pair);
    return 0;
}

Test(lifecycle, shutdown_ends_whatever_is_in_flight)
{
    const int tasks = SANITIZED ? 2000 : 10000, jobs = 20;
    filch_runtime *rt = start_runtime(0);
    struct flight flight = {.begun = 0};

    T_OK(filch_chan_new(1, 1, &flight.chan));
    T_OK(filch_semaphore_init(&flight.semaphore, 0));
    T_OK(filch_runtime_block_on(rt, open_flight, &flight, NULL, FILCH_NEVER));
    for (int i = 0; i < tasks; i++)
        T_OK(filch_runtime_spawn(rt, is_in_flight, &flight, NULL, NULL));
    for (int i = 0; i < jobs; i++)
        T_OK(filch_runtime_blocking_spawn(rt, job_in_flight, &flight, NULL, NULL));
    T_WAIT_UNTIL(atomic_load(&flight.begun) == tasks + jobs);
    stop_runtime(rt);
    cr_assert_eq(flight.ended, tasks + jobs);
    close_pair(&flight.pair);
    filch_semaphore_fini(&flight.semaphore);
    filch_chan_unref(flight.chan);
}

/* The kernel does not have the accept yet, and nobody waits for it any more. */
static int begin_to_accept(void *listener)
{
    filch_tcp *conn;

    T_OK(filch_task_cancel(filch_task_self()));
    T_IS(filch_listener_accept(listener, &conn, T_LIMIT), -ECANCELED);
    return 0;
}

Test(lifecycle, shutdown_ends_what_has_hardly_begun)
{
    for (int i = 0; i < T_MANY(300); i++) {
        filch_listener *listener;

        T_OK(filch_listener_open("127.0.0.1:0", NULL, &listener));
        T_OK(run_in_runtime(1, begin_to_accept, listener));
        T_OK(filch_listener_close(listener)); /* waits for its accept */
    }
}

struct hooks {
    atomic_int starts, stops, parks, unparks;
};

static void on_thread_start(void *arg)
{
    T_CHECK(filch_task_self() == NULL);
    atomic_fetch_add(&((struct hooks *)arg)->starts, 1);
}

static void on_thread_stop(void *arg)
{
    T_CHECK(filch_task_self() == NULL && filch_runtime_self() == NULL);
    atomic_fetch_add(&((struct hooks *)arg)->stops, 1);
}

static void on_park(void *arg)
{
    atomic_fetch_add(&((struct hooks *)arg)->parks, 1);
}

static void on_unpark(void *arg)
{
    atomic_fetch_add(&((struct hooks *)arg)->unparks, 1);
}

Test(lifecycle, hooks_see_each_thread_come_and_go)
{
    struct hooks hooks = {0};
    struct gate gate;
    filch_runtime *rt = start_with(&(filch_runtime_opts){
        .workers = 3,
        .spare_workers = FILCH_NO_SPARES, /* a worker that the machine holds up would have one */
        .on_thread_start = on_thread_start,
        .on_thread_stop = on_thread_stop,
        .on_park = on_park,
        .on_unpark = on_unpark,
        .hook_arg = &hooks});

    gate_init(&gate);
    for (int i = 0; i < 4; i++)
        T_OK(filch_runtime_blocking_spawn(rt, wait_at_gate, &gate, NULL, NULL));
    T_WAIT_UNTIL(atomic_load(&gate.inside) == 4 && atomic_load(&hooks.starts) == 7);
    T_WAIT_UNTIL(atomic_load(&hooks.parks) >= 3); /* nobody has anything to do */
    cr_assert_eq(hooks.stops, 0);
    for (int i = 0; i < 4; i++)
        T_OK(sem_post(&gate.open));
    stop_runtime(rt);
    cr_assert_eq(hooks.starts, 7);
    cr_assert_eq(hooks.stops, 7);
    cr_assert_eq(hooks.parks, hooks.unparks);
}

static void on_park_notifies(void *arg)
{
    T_OK(filch_notify_one(arg));
}

static int waits_for_parks(void *arg)
{
    for (int i = 0; i < 100; i++)
        T_OK(filch_notify_wait(arg, FILCH_NEVER));
    return 0;
}

/* The only worker is about to block when the hook wakes a task there. */
Test(lifecycle, what_a_hook_wakes_before_a_park_runs)
{
    filch_notify notify;
    filch_runtime *rt;
    filch_group *group;
    filch_task *task;
    int result;

    filch_notify_init(&notify);
    rt = start_with(&(filch_runtime_opts){.workers = 1,
                                          .spare_workers = FILCH_NO_SPARES,
                                          .on_park = on_park_notifies,
                                          .hook_arg = &notify});
    T_OK(filch_group_new(rt, NULL, &group));
    for (int i = 0; i < 4; i++) {
        filch_task_opts opts = {.pinned = i % 2, .worker = i % 2, .group = i / 2 ? group : NULL};

        T_OK(filch_runtime_spawn(rt, waits_for_parks, &notify, &opts, &task));
        T_OK(filch_task_join(task, &result, filch_after(30 * FILCH_SECOND)));
    }
    T_OK(filch_group_free(group));
    stop_runtime(rt);
    filch_notify_fini(&notify);
}

static int thread_is_named(void *prefix)
{
    char name[16];

    T_OK(pthread_getname_np(pthread_self(), name, sizeof name));
    return strncmp(name, prefix, strlen(prefix));
}

Test(lifecycle, threads_carry_the_name_that_was_given)
{
    char given[] = "srv";
    filch_runtime *plain = start_runtime_with_threads(1);
    filch_runtime *rt = start_with(&(filch_runtime_opts){.workers = 1, .thread_name = given});
    filch_runtime *cut = start_with(
        &(filch_runtime_opts){.workers = 1, .thread_name = "a-name-that-is-too-long-for-it"});
    int result = -1;

    given[0] = '?'; /* it was copied */
    T_OK(filch_runtime_block_on(plain, thread_is_named, "filch-w0", &result, FILCH_NEVER));
    cr_assert_eq(result, 0);
    cr_assert_eq(run_job(plain, thread_is_named, "filch-b0"), 0);
    T_OK(filch_runtime_block_on(rt, thread_is_named, "srv-w0", &result, FILCH_NEVER));
    cr_assert_eq(result, 0);
    cr_assert_eq(run_job(rt, thread_is_named, "srv-b0"), 0);
    T_OK(filch_runtime_block_on(cut, thread_is_named, "a-name-that--w0", &result, FILCH_NEVER));
    cr_assert_eq(result, 0);
    stop_runtime(plain);
    stop_runtime(rt);
    stop_runtime(cut);
}

Test(lifecycle, messages_go_to_the_runtime_else_to_the_process)
{
    struct messages *messages = new_messages();
    struct messages of_process = {.lock = PTHREAD_MUTEX_INITIALIZER};
    filch_runtime_opts bad = {.workers = 1000, .log = take_message, .log_arg = messages};

    filch_log_set(take_message, &of_process);
    cr_assert_eq(filch_main(return_arg, NULL, &bad), -EINVAL);
    cr_assert(was_said(messages, "cannot start: an argument is NULL or out of range\n"));
    cr_assert_eq(messages->level, FILCH_LOG_ERROR);
    cr_assert_eq(of_process.count, 0);
    bad.log = NULL;
    cr_assert_eq(filch_main(return_arg, NULL, &bad), -EINVAL);
    cr_assert(was_said(&of_process, "cannot start: "));
    cr_assert_eq(messages->count, 1);
    filch_log_set(NULL, NULL);
    cr_assert_eq(filch_main(return_arg, NULL, &bad), -EINVAL); /* to standard error */
    cr_assert_eq(of_process.count, 1);
}

Test(lifecycle, each_error_has_a_sentence)
{
    static const int own[] = {EINVAL, ENOMEM, ETIMEDOUT, ECANCELED, EPIPE, EAGAIN, EBUSY,  EDEADLK,
                              ESRCH,  EBADF,  ESHUTDOWN, ECHILD,    EPERM, EACCES, ENOSYS, EMFILE};

    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        cr_assert(strlen(filch_strerror(-own[i])) > 20);
        cr_assert_neq(strcmp(filch_strerror(-own[i]), strerror(own[i])), 0);
    }
    cr_assert_eq(strcmp(filch_strerror(-ECONNREFUSED), "Connection refused"), 0);
    cr_assert_eq(strcmp(filch_strerror(-54321), "unknown error"), 0);
    cr_assert_eq(strcmp(filch_strerror(0), "no error"), 0);
    cr_assert_eq(strcmp(filch_strerror(3), "no error"), 0);
}

static int spawn_many(void *arg)
{
    filch_task **task = arg;

    for (int i = 0; i < 500; i++)
        task[i] = spawn(return_arg, NULL);
    return 0;
}

static void count_object(void *object, void *count)
{
    (void)object;
    ++*(long *)count;
}

static long count_blocks(void)
{
    long count = 0;

    filch__pool_each(&filch__task_pool, count_object, &count);
    return count;
}

/* Workers take control blocks in bulk; a plain thread that joins gives them back one by one. */
Test(lifecycle, blocks_that_come_back_from_another_thread_are_used_again)
{
    filch_runtime *rt = start_runtime(1);
    long blocks = 0;

    for (int round = 0; round < 60; round++) {
        filch_task *task[500];

        T_OK(filch_runtime_block_on(rt, spawn_many, task, NULL, FILCH_NEVER));
        for (int i = 0; i < 500; i++)
            T_OK(join(task[i]));
        if (round == 9)
            blocks = count_blocks();
    }
    cr_assert_eq(count_blocks(), blocks);
    stop_runtime(rt);
}

struct footprint {
    int fds, threads;
    long resident_kib;
};

static int count_entries(const char *path)
{
    DIR *dir = opendir(path);
    int count = 0;

    T_CHECK(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static struct footprint look_at_process(void)
{
    struct footprint print = {count_entries("/proc/self/fd"), count_entries("/proc/self/task"), 0};
    FILE *file = fopen("/proc/self/statm", "re");
    long total, resident;

    T_CHECK(file && fscanf(file, "%ld %ld", &total, &resident) == 2);
    fclose(file);
    print.resident_kib = resident * (sysconf(_SC_PAGESIZE) / 1024);
    return print;
}

static int breathe(void *arg)
{
    FILCH_SCOPE(scope);

    (void)arg;
    for (int i = 0; i < 3; i++)
        T_OK(filch_scope_spawn(&scope, sleep_until_cancelled, NULL));
    return filch_blocking_spawn(return_arg, NULL, NULL, NULL);
}

/* The whole number only where it is asked for: it takes some seconds. */
Test(lifecycle, ten_thousand_lives_leave_no_trace)
{
    const char *lives = getenv("FILCH_TEST_LIVES");
    int cycles = lives ? atoi(lives) : 300;
    struct footprint before, after;

    for (int i = 0; i < cycles / 10; i++)
        T_OK(run_in_runtime(0, breathe, NULL));
    before = look_at_process();
    for (int i = 0; i < cycles; i++)
        if (i % 10 == 0)
            T_OK(run_in_runtime(0, breathe, NULL));
        else
            stop_runtime(start_runtime(0));
    /* A thread that was joined may be listed for a moment longer. */
    T_WAIT_UNTIL((after = look_at_process()).threads <= before.threads);
    cr_assert_eq(after.fds, before.fds);
    if (!SANITIZED && !RUNNING_ON_VALGRIND) /* they hold freed memory back */
        cr_assert_leq(after.resident_kib, before.resident_kib + before.resident_kib / 10);
}
