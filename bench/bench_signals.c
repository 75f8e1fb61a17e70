/* One sender, many who look: the latest value, and messages that everybody gets. The figure is for
 * each look that found something, since slow readers may skip values, and slow receivers lose
 * messages. */
#include "bench/bench.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#define READERS 8
#define VALUES 300000u
#define MESSAGES 1000000u
#define BURST 64 /* messages between two yields of the sender */
#define CAPACITY 128

static _Atomic(uint64_t) looks; /* all readers' */

/* ---- watch ---- */

static int watcher(void *arg)
{
    filch_watch_reader reader;
    uint64_t value, last = 0, n = 0;

    BENCH_OK(filch_watch_subscribe(arg, &reader));
    while (filch_watch_changed(&reader, FILCH_NEVER) == 0) {
        BENCH_OK(filch_watch_get(&reader, &value));
        if (value <= last)
            return -EIO;
        last = value;
        n++;
    }
    filch_watch_unsubscribe(&reader);
    atomic_fetch_add(&looks, n);
    return last == VALUES ? 0 : -EIO;
}

static bool watch(filch_runtime *rt, double *ret_value)
{
    filch_watch *w;
    uint64_t value = 0;
    filch_time start;
    int r;

    (void)rt;
    atomic_store(&looks, 0);
    BENCH_OK(filch_watch_new(sizeof value, &value, &w));
    {
        FILCH_TRY_SCOPE(readers);
        for (int i = 0; i < READERS; i++)
            BENCH_OK(filch_scope_spawn(&readers, watcher, w));
        while (filch_watch_readers(w) < READERS)
            filch_task_yield();
        start = filch_now();
        for (value = 1; value <= VALUES; value++) {
            BENCH_OK(filch_watch_send(w, &value));
            filch_task_yield();
        }
        filch_watch_unref(w);
        r = filch_scope_join(&readers, FILCH_NEVER);
    }
    *ret_value = (double)(filch_now() - start) / (double)atomic_load(&looks);
    return r == 0;
}

/* ---- broadcast ---- */

static int receiver(void *arg)
{
    filch_broadcast_receiver in;
    uint64_t value, lost, last = 0, n = 0, all = 0;
    int r;

    BENCH_OK(filch_broadcast_subscribe(arg, &in));
    while ((r = filch_broadcast_recv(&in, &value, &lost, FILCH_NEVER)) != -EPIPE) {
        if (r == -EOVERFLOW) {
            all += lost;
            continue;
        }
        if (r < 0 || value <= last)
            return -EIO;
        last = value;
        n++;
        all++;
    }
    filch_broadcast_unsubscribe(&in);
    atomic_fetch_add(&looks, n);
    return all == MESSAGES ? 0 : -EIO;
}

static bool run_broadcast(unsigned flags, double *ret_value)
{
    filch_broadcast *b;
    filch_time start;
    int r;

    atomic_store(&looks, 0);
    BENCH_OK(filch_broadcast_new(sizeof(uint64_t), CAPACITY, flags, &b));
    {
        FILCH_TRY_SCOPE(receivers);
        for (int i = 0; i < READERS; i++)
            BENCH_OK(filch_scope_spawn(&receivers, receiver, b));
        while (filch_broadcast_receivers(b) < READERS)
            filch_task_yield();
        start = filch_now();
        for (uint64_t value = 1; value <= MESSAGES; value++) {
            BENCH_OK(filch_broadcast_send(b, &value, FILCH_NEVER));
            if (value % BURST == 0)
                filch_task_yield();
        }
        filch_broadcast_unref(b);
        r = filch_scope_join(&receivers, FILCH_NEVER);
    }
    *ret_value = (double)(filch_now() - start) / (double)atomic_load(&looks);
    return r == 0;
}

static bool broadcast(filch_runtime *rt, double *ret_value)
{
    (void)rt;
    return run_broadcast(0, ret_value);
}

static bool broadcast_keep(filch_runtime *rt, double *ret_value)
{
    (void)rt;
    return run_broadcast(FILCH_BROADCAST_KEEP, ret_value) &&
           atomic_load(&looks) == (uint64_t)READERS * MESSAGES;
}

int main(int argc, char **argv)
{
    static const struct bench benches[] = {
        {"watch", "ns/look", watch, 0, NULL},
        {"broadcast", "ns/look", broadcast, 0, NULL},
        {"broadcast_keep", "ns/look", broadcast_keep, 0, NULL},
    };

    return bench_main(argc, argv, benches, (int)(sizeof benches / sizeof benches[0]));
}
