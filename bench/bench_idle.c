/* Many tasks that do nothing: what a million sleepers cost to make and to keep, and what an idle
 * runtime costs while it keeps tasks parked. */
#include "bench/bench.h"
#include "bench/process.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define PARKED 10000u

/* Sleepers of the mem rows. Static, because they sleep on until the shutdown. */
static struct bench_latch arrived;
static filch_poll (*sleep_poll)(filch_future *self, filch_cx *cx);
static void (*sleep_drop)(filch_future *self);

static filch_time wake_time(void)
{
    return filch_after(600 * FILCH_SECOND);
}

static int sleep_long(void *arg)
{
    (void)arg;
    bench_latch_down(&arrived);
    return filch_sleep(wake_time()); /* -ECANCELED: nobody sleeps to the end */
}

static int spawn_task(void)
{
    return filch_spawn(sleep_long, NULL);
}

static filch_poll poll_and_count(filch_future *self, filch_cx *cx)
{
    self->poll = sleep_poll; /* the first poll only */
    filch_poll poll = sleep_poll(self, cx);
    bench_latch_down(&arrived);
    return poll;
}

static void drop_and_free(filch_future *self)
{
    sleep_drop(self); /* takes it out of the timers */
    free(self);
}

static int spawn_future(void)
{
    filch_sleep_future *future = bench_alloc(sizeof *future);

    filch_sleep_future_init(future, wake_time());
    sleep_poll = future->base.poll;
    sleep_drop = future->base.drop;
    future->base.poll = poll_and_count;
    future->base.drop = drop_and_free;
    return filch_future_spawn(&future->base, NULL, NULL);
}

/* A future that awaits the sleep, as a user writes it. */
struct async_sleeper {
    filch_async async;
    filch_sleep_future nap;
};

static filch_poll async_sleeper_poll(filch_future *self, filch_cx *cx)
{
    struct async_sleeper *sleeper = (struct async_sleeper *)self;

    FILCH_ASYNC_BEGIN(&sleeper->async, cx);
    filch_sleep_future_init(&sleeper->nap, wake_time());
    bench_latch_down(&arrived); /* some of them are a poll away from sleeping */
    FILCH_AWAIT(&sleeper->nap.base);
    FILCH_ASYNC_END;
}

static void async_sleeper_drop(filch_future *self)
{
    filch_async_drop(self);
    free(self);
}

static int spawn_async(void)
{
    struct async_sleeper *sleeper = bench_alloc(sizeof *sleeper);

    filch_async_init(&sleeper->async, async_sleeper_poll);
    sleeper->async.base.drop = async_sleeper_drop;
    return filch_future_spawn(&sleeper->async.base, NULL, NULL);
}

/* Memory is the difference of the process's before and after, all allocators and stacks included.
 */
static bool sleepers(filch_runtime *rt, int (*spawn)(void), double *ret_value)
{
    unsigned n = bench_quick ? 100000 : 1000000;
    struct process_memory before = process_memory(), after;
    filch_time start = filch_now();
    filch_stats stats;

    bench_latch_init(&arrived, n);
    for (unsigned i = 0; i < n; i++)
        BENCH_OK(spawn());
    bench_latch_wait(&arrived);
    *ret_value = (double)(filch_now() - start) / n;
    after = process_memory();
    bench_also("rss", "B/task", ((double)after.rss - (double)before.rss) / n);
    bench_also("page_tables", "B/task",
               ((double)after.page_tables - (double)before.page_tables) / n);
    BENCH_OK(filch_runtime_stats(rt, &stats));
    return stats.tasks_spawned - stats.tasks_finished >= n && after.rss > before.rss;
}

static bool mem_task(filch_runtime *rt, double *ret_value)
{
    return sleepers(rt, spawn_task, ret_value);
}

static bool mem_future(filch_runtime *rt, double *ret_value)
{
    return sleepers(rt, spawn_future, ret_value);
}

static bool mem_async(filch_runtime *rt, double *ret_value)
{
    return sleepers(rt, spawn_async, ret_value);
}

struct parking {
    filch_chan *gate; /* never gets a message: closed at the end */
    _Atomic(uint64_t) parked;
    _Atomic(uint64_t) left;
};

static int park(void *arg)
{
    struct parking *parking = arg;
    char byte;

    atomic_fetch_add(&parking->parked, 1);
    if (filch_chan_recv(parking->gate, &byte, FILCH_NEVER) < 0)
        atomic_fetch_add(&parking->left, 1);
    return 0;
}

static bool idle_cpu(filch_runtime *rt, double *ret_value)
{
    filch_task **tasks = bench_alloc(PARKED * sizeof *tasks);
    struct parking parking = {0};
    unsigned seconds = bench_quick ? 1 : 10;
    uint64_t cpu, switches;
    double per_10_s = 10.0 / seconds;

    BENCH_OK(filch_chan_new(1, 1, &parking.gate));
    for (unsigned i = 0; i < PARKED; i++)
        BENCH_OK(filch_runtime_spawn(rt, park, &parking, NULL, &tasks[i]));
    while (atomic_load(&parking.parked) < PARKED)
        usleep(1000);
    usleep(
        500000); /* what follows activity (spinning, the monitor's last rounds) is not idleness */
    cpu = process_cpu_ns();
    switches = process_switches();
    usleep(seconds * 1000000);
    bench_also("switches", "per-10s", (double)(process_switches() - switches) * per_10_s);
    *ret_value = (double)(process_cpu_ns() - cpu) / 1e6 * per_10_s;
    filch_chan_close(parking.gate);
    for (unsigned i = 0; i < PARKED; i++)
        BENCH_OK(filch_task_join(tasks[i], NULL, FILCH_NEVER));
    filch_chan_unref(parking.gate);
    free(tasks);
    return atomic_load(&parking.left) == PARKED;
}

int main(int argc, char **argv)
{
    static const struct bench benches[] = {
        {"mem_task", "ns/task", mem_task, BENCH_COLD, "create"},
        {"mem_future", "ns/task", mem_future, BENCH_COLD, "create"},
        {"mem_async", "ns/task", mem_async, BENCH_COLD, "create"},
        {"idle_cpu", "CPU-ms/10s", idle_cpu, BENCH_COLD | BENCH_OUTSIDE, "cpu"},
    };

    return bench_main(argc, argv, benches, (int)(sizeof benches / sizeof benches[0]));
}
