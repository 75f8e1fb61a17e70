/* Messages between tasks: the workloads of the "Channels" table, and those of "Tasks" that are made
 * of channels. */
#include "bench/bench.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#define MESSAGES 5000000u

struct pair {
    filch_chan *there;
    filch_chan *back;
    unsigned rounds;
    uint64_t sum;
};

static int pong(void *arg)
{
    struct pair *pair = arg;
    uint64_t value;

    for (unsigned i = 0; i < pair->rounds; i++) {
        BENCH_OK(filch_chan_recv(pair->there, &value, FILCH_NEVER));
        BENCH_OK(filch_chan_send(pair->back, &value, FILCH_NEVER));
    }
    return 0;
}

static int ping(void *arg)
{
    struct pair *pair = arg;
    uint64_t value;

    for (uint64_t i = 0; i < pair->rounds; i++) {
        BENCH_OK(filch_chan_send(pair->there, &i, FILCH_NEVER));
        BENCH_OK(filch_chan_recv(pair->back, &value, FILCH_NEVER));
        pair->sum += value;
    }
    return 0;
}

static bool pingpong(unsigned pairs, unsigned rounds, double *ret_value)
{
    struct pair *pair = calloc(pairs, sizeof *pair);
    uint64_t want = (uint64_t)rounds * (rounds - 1) / 2;
    bool ok = true;
    filch_time start = filch_now();

    {
        FILCH_SCOPE(players);
        for (unsigned i = 0; i < pairs; i++) {
            pair[i].rounds = rounds;
            BENCH_OK(filch_chan_new(8, 1, &pair[i].there));
            BENCH_OK(filch_chan_new(8, 1, &pair[i].back));
            BENCH_OK(filch_scope_spawn(&players, pong, &pair[i]));
            BENCH_OK(filch_scope_spawn(&players, ping, &pair[i]));
        }
        BENCH_OK(filch_scope_join(&players, FILCH_NEVER));
    }
    *ret_value = (double)(filch_now() - start) / ((double)pairs * rounds);
    for (unsigned i = 0; i < pairs; i++) {
        ok = ok && pair[i].sum == want;
        filch_chan_unref(pair[i].there);
        filch_chan_unref(pair[i].back);
    }
    free(pair);
    return ok;
}

static bool pingpong_1(filch_runtime *rt, double *ret_value)
{
    (void)rt;
    return pingpong(1, 300000, ret_value);
}

static bool pingpong_1000(filch_runtime *rt, double *ret_value)
{
    (void)rt;
    return pingpong(1000, 1000, ret_value);
}

struct flow {
    filch_chan *chan;
    uint64_t each; /* messages that a sender sends */
    _Atomic(uint64_t) sum;
    _Atomic(uint64_t) received;
};

static int sender(void *arg)
{
    struct flow *flow = arg;

    for (uint64_t i = 0; i < flow->each; i++)
        BENCH_OK(filch_chan_send(flow->chan, &i, FILCH_NEVER));
    return 0;
}

static int receiver(void *arg)
{
    struct flow *flow = arg;
    uint64_t value, sum = 0, n = 0;

    while (filch_chan_recv(flow->chan, &value, FILCH_NEVER) == 0) {
        sum += value;
        n++;
    }
    atomic_fetch_add(&flow->sum, sum);
    atomic_fetch_add(&flow->received, n);
    return 0;
}

static bool run_flow(unsigned senders, unsigned receivers, size_t capacity, double *ret_value)
{
    struct flow flow = {.each = MESSAGES / senders};
    uint64_t total = flow.each * senders;
    filch_time start = filch_now();

    BENCH_OK(filch_chan_new(8, capacity, &flow.chan));
    {
        FILCH_SCOPE(out);
        for (unsigned i = 0; i < receivers; i++)
            BENCH_OK(filch_scope_spawn(&out, receiver, &flow));
        {
            FILCH_SCOPE(in);
            for (unsigned i = 0; i < senders; i++)
                BENCH_OK(filch_scope_spawn(&in, sender, &flow));
            BENCH_OK(filch_scope_join(&in, FILCH_NEVER));
        }
        filch_chan_close(flow.chan);
        BENCH_OK(filch_scope_join(&out, FILCH_NEVER));
    }
    *ret_value = (double)(filch_now() - start) / (double)total;
    filch_chan_unref(flow.chan);
    return atomic_load(&flow.received) == total &&
           atomic_load(&flow.sum) == senders * (flow.each * (flow.each - 1) / 2);
}

static bool mpsc_1p(filch_runtime *rt, double *ret_value)
{
    (void)rt;
    return run_flow(1, 1, 128, ret_value);
}

static bool mpsc_8p(filch_runtime *rt, double *ret_value)
{
    (void)rt;
    return run_flow(8, 1, 128, ret_value);
}

static bool umpsc_1p(filch_runtime *rt, double *ret_value)
{
    (void)rt;
    return run_flow(1, 1, FILCH_CHAN_UNBOUNDED, ret_value);
}

static bool umpsc_8p(filch_runtime *rt, double *ret_value)
{
    (void)rt;
    return run_flow(8, 1, FILCH_CHAN_UNBOUNDED, ret_value);
}

static bool mpmc_4x4(filch_runtime *rt, double *ret_value)
{
    (void)rt;
    return run_flow(4, 4, 128, ret_value);
}

#define MUTEX_TASKS 4
#define MUTEX_LOCKS 1000000u
#define MUTEX_ROUNDS 30 /* about 50 ns */

static struct {
    filch_mutex mutex;
    filch_rwlock rwlock;
    uint64_t locks;
    uint64_t state;
} shared = {.mutex = FILCH_MUTEX_INIT, .rwlock = FILCH_RWLOCK_INIT};

static uint64_t work(uint64_t x)
{
    for (int i = 0; i < MUTEX_ROUNDS; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    return x;
}

/* What the work alone takes on one CPU: no lock can make mutex_4 faster. */
static void note_work(void)
{
    filch_time start = filch_now();
    uint64_t state = 1;

    for (unsigned i = 0; i < MUTEX_LOCKS; i++)
        state = work(state);
    if (!state)
        bench_fail("work", -EIO);
    bench_also("work", "ns/op", (double)(filch_now() - start) / MUTEX_LOCKS);
}

static bool run_lockers(filch_fn locker, uint64_t want_locks, double *ret_value)
{
    filch_time start = filch_now();

    shared.locks = 0;
    shared.state = 1;
    {
        FILCH_SCOPE(lockers);
        for (int i = 0; i < MUTEX_TASKS; i++)
            BENCH_OK(filch_scope_spawn(&lockers, locker, NULL));
        BENCH_OK(filch_scope_join(&lockers, FILCH_NEVER));
    }
    *ret_value = (double)(filch_now() - start) / (MUTEX_TASKS * (double)MUTEX_LOCKS);
    note_work();
    return shared.locks == want_locks && shared.state != 0;
}

static int mutex_locker(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < MUTEX_LOCKS; i++) {
        BENCH_OK(filch_mutex_lock(&shared.mutex, FILCH_NEVER));
        shared.locks++;
        shared.state = work(shared.state);
        (void)filch_mutex_unlock(&shared.mutex);
    }
    return 0;
}

static bool mutex_4(filch_runtime *rt, double *ret_value)
{
    (void)rt;
    return run_lockers(mutex_locker, MUTEX_TASKS * (uint64_t)MUTEX_LOCKS, ret_value);
}

/* One write in 64; the readers do the same work, each on a copy. */
static int rwlock_locker(void *arg)
{
    uint64_t sum = 0;

    (void)arg;
    for (unsigned i = 0; i < MUTEX_LOCKS; i++) {
        if (i % 64 == 0) {
            BENCH_OK(filch_rwlock_write(&shared.rwlock, FILCH_NEVER));
            shared.locks++;
            shared.state = work(shared.state);
        } else {
            BENCH_OK(filch_rwlock_read(&shared.rwlock, FILCH_NEVER));
            sum |= work(shared.state);
        }
        (void)filch_rwlock_unlock(&shared.rwlock);
    }
    return sum ? 0 : -EIO;
}

static bool rwlock_4(filch_runtime *rt, double *ret_value)
{
    (void)rt;
    return run_lockers(rwlock_locker, MUTEX_TASKS * (uint64_t)(MUTEX_LOCKS / 64), ret_value);
}

#define SELECT_CHANNELS 4
#define SELECT_EACH 1000000u

static int feeder(void *arg)
{
    filch_chan *chan = arg;

    for (uint64_t i = 0; i < SELECT_EACH; i++)
        BENCH_OK(filch_chan_send(chan, &i, FILCH_NEVER));
    filch_chan_close(chan);
    return 0;
}

/* One task takes from four channels, until each of them is closed and empty. */
static bool select_4(filch_runtime *rt, double *ret_value)
{
    filch_chan *chan[SELECT_CHANNELS];
    filch_case cases[SELECT_CHANNELS];
    uint64_t value, sum = 0, n = 0;
    filch_time start = filch_now();
    unsigned open = SELECT_CHANNELS;

    (void)rt;
    {
        FILCH_SCOPE(feeders);
        for (unsigned i = 0; i < SELECT_CHANNELS; i++) {
            BENCH_OK(filch_chan_new(8, 128, &chan[i]));
            BENCH_OK(filch_scope_spawn(&feeders, feeder, chan[i]));
            cases[i] = filch_case_recv(chan[i], &value);
        }
        while (open) {
            int i = filch_select(cases, SELECT_CHANNELS, 0, FILCH_NEVER);

            if (i < 0)
                return false;
            if (cases[i].result < 0) {
                cases[i] = filch_case_if(false, cases[i]);
                open--;
                continue;
            }
            sum += value;
            n++;
        }
        BENCH_OK(filch_scope_join(&feeders, FILCH_NEVER));
    }
    *ret_value = (double)(filch_now() - start) / (double)n;
    for (unsigned i = 0; i < SELECT_CHANNELS; i++)
        filch_chan_unref(chan[i]);
    return n == SELECT_CHANNELS * (uint64_t)SELECT_EACH &&
           sum == SELECT_CHANNELS * ((uint64_t)SELECT_EACH * (SELECT_EACH - 1) / 2);
}

#define STREAM_ITEMS 10000000u
#define STREAM_CHUNK 64
#define STREAM_STAGES 3

static int count_up(void *context, void *item)
{
    uint64_t *next = context;

    *(uint64_t *)item = *next;
    return (*next)++ < STREAM_ITEMS;
}

static int times_three(void *context, const void *in, void *out)
{
    (void)context;
    *(uint64_t *)out = *(const uint64_t *)in * 3;
    return 0;
}

static bool is_odd(void *context, const void *item)
{
    (void)context;
    return *(const uint64_t *)item % 2;
}

static bool stream(filch_runtime *rt, double *ret_value)
{
    filch_time start = filch_now();
    uint64_t next = 0, sum = 0, n = 0;
    uint64_t buffer[STREAM_CHUNK];
    filch_fn_stream source;
    filch_map_stream map;
    filch_filter_stream filter;
    filch_chunks_stream chunks;
    filch_chunk chunk;

    (void)rt;
    BENCH_OK(filch_fn_stream_init(&source, sizeof(uint64_t), count_up, &next));
    BENCH_OK(filch_map_stream_init(&map, &source.base, sizeof(uint64_t), times_three, NULL));
    BENCH_OK(filch_filter_stream_init(&filter, &map.base, is_odd, NULL));
    BENCH_OK(filch_chunks_stream_init(&chunks, &filter.base, buffer, STREAM_CHUNK, FILCH_NEVER));
    while (filch_stream_next(&chunks.base, &chunk, FILCH_NEVER) > 0)
        for (size_t i = 0; i < chunk.count; i++, n++)
            sum += ((const uint64_t *)chunk.items)[i];
    filch_stream_drop(&chunks.base);
    *ret_value = (double)(filch_now() - start) / STREAM_ITEMS / STREAM_STAGES;
    return n == STREAM_ITEMS / 2 && sum == 3 * (uint64_t)(STREAM_ITEMS / 2) * (STREAM_ITEMS / 2);
}

int main(int argc, char **argv)
{
    static const struct bench benches[] = {
        {"pingpong_1", "ns/round-trip", pingpong_1, 0, NULL},
        {"pingpong_1000", "ns/round-trip", pingpong_1000, 0, NULL},
        {"mpsc_1p", "ns/msg", mpsc_1p, 0, NULL},
        {"mpsc_8p", "ns/msg", mpsc_8p, 0, NULL},
        {"umpsc_1p", "ns/msg", umpsc_1p, 0, NULL},
        {"umpsc_8p", "ns/msg", umpsc_8p, 0, NULL},
        {"mpmc_4x4", "ns/msg", mpmc_4x4, 0, NULL},
        {"mutex_4", "ns/op", mutex_4, 0, "time"},
        {"rwlock_4", "ns/op", rwlock_4, 0, "time"},
        {"stream", "ns/item/stage", stream, 0, NULL},
        {"select_4", "ns/msg", select_4, 0, NULL},
    };

    return bench_main(argc, argv, benches, (int)(sizeof benches / sizeof benches[0]));
}
