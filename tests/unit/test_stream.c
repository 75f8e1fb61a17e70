/* Description: streams: each source and stage against plain loops; nothing lost by time-outs,
 * cancels and abandoned futures; ends, errors and drops in the middle; random pipelines. */
#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(stream, .timeout = 120);

static const int ten[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};

static filch_array_stream array_of(const int *items, size_t count)
{
    filch_array_stream stream;

    T_OK(filch_array_stream_init(&stream, items, sizeof(int), count));
    return stream;
}

/* Reads to the end; the items must be these. */
static void check_items(filch_stream *stream, const int *want, size_t count)
{
    int item = 0;

    for (size_t i = 0; i < count; i++) {
        T_IS(filch_stream_next(stream, &item, T_LIMIT), 1);
        T_IS(item, want[i]);
    }
    T_IS(filch_stream_next(stream, &item, T_LIMIT), 0);
    T_IS(filch_stream_next(stream, &item, T_LIMIT), 0);
}

#define CHECK_ITEMS(stream, ...)                                                                   \
    do {                                                                                           \
        static const int want[] = {__VA_ARGS__};                                                   \
        check_items(stream, want, sizeof want / sizeof *want);                                     \
    } while (0)

static bool is_even(void *context, const void *item)
{
    (void)context;
    return *(const int *)item % 2 == 0;
}

static bool is_below(void *context, const void *item)
{
    return *(const int *)item < *(const int *)context;
}

static int triple(void *context, const void *in, void *out)
{
    (void)context;
    *(int *)out = *(const int *)in * 3;
    return 0;
}

static int odd_to_long(void *context, const void *in, void *out)
{
    int item = *(const int *)in;

    (void)context;
    if (item == 5)
        return -EDOM;
    if (item % 2 == 0)
        return 0;
    *(long *)out = item;
    return 1;
}

Test(stream, stages_without_time)
{
    filch_array_stream in = array_of(ten, 10);
    filch_map_stream map;
    filch_filter_stream filter;
    filch_take_stream take, skip;
    int six = 6;

    T_OK(filch_map_stream_init(&map, &in.base, sizeof(int), triple, NULL));
    T_OK(filch_filter_stream_init(&filter, &map.base, is_even, NULL));
    T_OK(filch_skip_stream_init(&skip, &filter.base, 1));
    T_OK(filch_take_stream_init(&take, &skip.base, 3));
    CHECK_ITEMS(&take.base, 12, 18, 24);
    filch_stream_drop(&take.base);
    filch_stream_drop(&take.base);

    in = array_of(ten, 10);
    T_OK(filch_take_while_stream_init(&filter, &in.base, is_below, &six));
    CHECK_ITEMS(&filter.base, 1, 2, 3, 4, 5);
    in = array_of(ten, 10);
    T_OK(filch_skip_while_stream_init(&filter, &in.base, is_below, &six));
    CHECK_ITEMS(&filter.base, 6, 7, 8, 9, 10);
}

Test(stream, an_error_is_not_the_end)
{
    filch_array_stream in = array_of(ten, 7);
    filch_map_stream map;
    long item;

    T_OK(filch_filter_map_stream_init(&map, &in.base, sizeof(long), odd_to_long, NULL));
    T_IS(filch_stream_next(&map.base, &item, T_LIMIT), 1);
    T_IS(item, 1);
    T_IS(filch_stream_next(&map.base, &item, T_LIMIT), 1);
    T_IS(filch_stream_next(&map.base, &item, T_LIMIT), -EDOM);
    T_IS(filch_stream_next(&map.base, &item, T_LIMIT), 1);
    T_IS(item, 7);
    T_IS(filch_stream_next(&map.base, &item, T_LIMIT), 0);
}

/* Up to 6; of the 4 it wants none. */
static int double_below_six(void *context, const void *in, void *out)
{
    int item = *(const int *)in;

    ++*(int *)context;
    if (item == 4)
        return -EDOM;
    if (item == 6)
        return 0;
    *(int *)out = 2 * item;
    return 1;
}

Test(stream, map_while_ends_with_the_first_refusal)
{
    filch_array_stream in = array_of(ten, 10);
    filch_map_stream map;
    int calls = 0, item = 0;

    T_OK(filch_map_while_stream_init(&map, &in.base, sizeof(int), double_below_six, &calls));
    for (int i = 1; i < 4; i++) {
        T_IS(filch_stream_next(&map.base, &item, T_LIMIT), 1);
        T_IS(item, 2 * i);
    }
    T_IS(filch_stream_next(&map.base, &item, T_LIMIT), -EDOM);
    T_IS(filch_stream_next(&map.base, &item, T_LIMIT), 1);
    T_IS(item, 10);
    T_IS(filch_stream_next(&map.base, &item, T_LIMIT), 0);
    T_IS(filch_stream_next(&map.base, &item, T_LIMIT), 0);
    T_IS(calls, 6);
    T_IS(filch_stream_next(&in.base, &item, T_LIMIT), 1); /* the 6 is lost, no more */
    T_IS(item, 7);
}

Test(stream, several_in_one_out)
{
    filch_array_stream a = array_of(ten, 2), b = array_of(ten + 5, 3), none = array_of(NULL, 0);
    filch_stream *all[] = {&a.base, &none.base, &b.base};
    filch_chain_stream chain;
    filch_zip_stream zip;
    int pair[2];

    T_OK(filch_chain_stream_init(&chain, all, 3));
    CHECK_ITEMS(&chain.base, 1, 2, 6, 7, 8);
    a = array_of(ten, 2);
    b = array_of(ten + 5, 3);
    none = array_of(NULL, 0);
    T_OK(filch_merge_stream_init(&chain, all, 3));
    CHECK_ITEMS(&chain.base, 1, 6, 2, 7, 8); /* in turn */
    a = array_of(ten, 2);
    b = array_of(ten + 5, 3);
    T_OK(filch_zip_stream_init(&zip, &a.base, &b.base));
    T_IS(filch_stream_next(&zip.base, pair, T_LIMIT), 1);
    T_CHECK(pair[0] == 1 && pair[1] == 6);
    T_IS(filch_stream_next(&zip.base, pair, T_LIMIT), 1);
    T_CHECK(pair[0] == 2 && pair[1] == 7);
    T_IS(filch_stream_next(&zip.base, pair, T_LIMIT), 0);
}

/* ---- channels: waiting, and nothing lost ---- */

static int send_all(void *arg)
{
    for (int i = 0; i < 10; i++)
        T_OK(filch_chan_send(arg, &ten[i], FILCH_NEVER));
    return filch_chan_close(arg);
}

static int read_channel(void *arg)
{
    filch_chan *chan;
    filch_chan_stream in;
    filch_filter_stream filter;
    filch_task *sender;
    int item;

    (void)arg;
    T_OK(filch_chan_new(sizeof(int), 2, &chan));
    T_OK(filch_chan_stream_init(&in, chan, sizeof(int)));
    T_OK(filch_filter_stream_init(&filter, &in.base, is_even, NULL));
    T_IS(filch_stream_next(&filter.base, &item, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_stream_next(&filter.base, &item, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    sender = spawn(send_all, chan);
    CHECK_ITEMS(&filter.base, 2, 4, 6, 8, 10);
    T_OK(join(sender));
    filch_stream_drop(&filter.base);
    filch_chan_unref(chan);
    return 0;
}

Test(stream, a_channel_to_its_end)
{
    T_OK(run_in_runtime(0, read_channel, NULL));
    filch_runtime *rt = start_runtime(0);
    filch_chan *chan;
    filch_chan_stream in;

    /* Read by a plain thread. */
    T_OK(filch_chan_new(sizeof(int), 2, &chan));
    T_OK(filch_chan_stream_init(&in, chan, sizeof(int)));
    T_OK(filch_runtime_spawn(rt, send_all, chan, NULL, NULL));
    check_items(&in.base, ten, 10);
    filch_stream_drop(&in.base);
    stop_runtime(rt);
    filch_chan_unref(chan);
}

static int reads_until_cancelled(void *arg)
{
    int item, sum = 0, r;

    while ((r = filch_stream_next(arg, &item, FILCH_NEVER)) > 0)
        sum += item;
    return r == -ECANCELED ? sum : -EIO;
}

static int cancel_readers(void *arg)
{
    filch_chan *chan;
    filch_chan_stream in;
    int sum = 0, sent = 0;
    int result;

    (void)arg;
    T_OK(filch_chan_new(sizeof(int), 4, &chan));
    T_OK(filch_chan_stream_init(&in, chan, sizeof(int)));
    for (int i = 1; i < 300; i++) {
        filch_task *reader = spawn(reads_until_cancelled, &in.base);

        if (i % 3)
            let_others_run();
        T_OK(filch_chan_send(chan, &i, FILCH_NEVER));
        sent += i;
        if (i % 5)
            filch_task_yield();
        T_OK(filch_task_cancel(reader));
        T_OK(filch_task_join(reader, &result, T_LIMIT));
        T_CHECK(result >= 0);
        sum += result;
    }
    T_OK(filch_chan_close(chan));
    while (filch_stream_next(&in.base, &result, T_LIMIT) > 0)
        sum += result;
    T_IS(sum, sent);
    filch_stream_drop(&in.base);
    filch_chan_unref(chan);
    return 0;
}

Test(stream, a_cancelled_reader_has_lost_nothing)
{
    T_OK(run_in_runtime(0, cancel_readers, NULL));
}

static int drop_while_waiting(void *arg)
{
    filch_chan *chan;
    filch_chan_stream in, other;
    int item;

    (void)arg;
    T_OK(filch_chan_new(sizeof(int), 4, &chan));
    T_OK(filch_chan_stream_init(&in, chan, sizeof(int)));
    T_OK(filch_chan_stream_init(&other, chan, sizeof(int)));
    T_IS(filch_stream_next(&in.base, &item, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(filch_stream_next(&other.base, &item, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_OK(filch_chan_send(chan, &ten[3], FILCH_NOW)); /* kept for `in` */
    filch_stream_drop(&in.base);
    T_IS(filch_stream_next(&in.base, &item, FILCH_NOW), 0);
    T_IS(filch_stream_next(&other.base, &item, T_LIMIT), 1);
    T_IS(item, 4);
    filch_stream_drop(&other.base);
    filch_chan_unref(chan);
    return 0;
}

Test(stream, dropped_while_it_waits_it_passes_its_item_on)
{
    T_OK(run_in_runtime(0, drop_while_waiting, NULL));
}

/* ---- time ---- */

static int time_stages(void *arg)
{
    filch_interval_stream tick;
    filch_take_stream take;
    filch_gap_stream gap;
    filch_array_stream in;
    filch_time start = filch_now();
    uint64_t n;
    int item;

    (void)arg;
    T_OK(filch_interval_stream_init(&tick, FILCH_MILLISECOND));
    T_OK(filch_take_stream_init(&take, &tick.base, 5));
    for (uint64_t i = 0; i < 5; i++) {
        T_IS(filch_stream_next(&take.base, &n, T_LIMIT), 1);
        T_IS(n, i);
        T_CHECK(filch_now() >= start + (i + 1) * FILCH_MILLISECOND);
    }
    T_IS(filch_stream_next(&take.base, &n, T_LIMIT), 0);
    filch_stream_drop(&take.base);

    in = array_of(ten, 4);
    T_OK(filch_throttle_stream_init(&gap, &in.base, 2 * FILCH_MILLISECOND));
    start = filch_now();
    CHECK_ITEMS(&gap.base, 1, 2, 3, 4);
    T_CHECK(filch_now() >= start + 6 * FILCH_MILLISECOND);
    filch_stream_drop(&gap.base);

    in = array_of(ten, 10);
    T_OK(filch_debounce_stream_init(&gap, &in.base, FILCH_SECOND));
    CHECK_ITEMS(&gap.base, 10); /* the end does not wait */
    filch_stream_drop(&gap.base);

    T_OK(filch_interval_stream_init(&tick, 3600 * FILCH_SECOND));
    T_OK(filch_timeout_stream_init(&gap, &tick.base, FILCH_MILLISECOND));
    T_IS(filch_stream_next(&gap.base, &n, T_LIMIT), -ETIMEDOUT);
    T_IS(filch_stream_next(&gap.base, &n, T_LIMIT), -ETIMEDOUT);
    filch_stream_drop(&gap.base);
    T_IS(filch_stream_next(&gap.base, &item, T_LIMIT), 0);
    return 0;
}

Test(stream, stages_with_time)
{
    T_OK(run_in_runtime(0, time_stages, NULL));
}

static int debounce_in_time(void *arg)
{
    filch_chan *chan;
    filch_chan_stream in;
    filch_gap_stream gap;
    int item;

    (void)arg;
    T_OK(filch_chan_new(sizeof(int), 8, &chan));
    T_OK(filch_chan_stream_init(&in, chan, sizeof(int)));
    T_OK(filch_debounce_stream_init(&gap, &in.base, FILCH_MILLISECOND));
    for (int i = 0; i < 3; i++)
        T_OK(filch_chan_send(chan, &ten[i], FILCH_NOW));
    T_IS(filch_stream_next(&gap.base, &item, T_LIMIT), 1);
    T_IS(item, 3);
    T_OK(filch_chan_send(chan, &ten[6], FILCH_NOW));
    T_IS(filch_stream_next(&gap.base, &item, FILCH_NOW), -ETIMEDOUT); /* it has it, and keeps it */
    T_IS(filch_chan_len(chan), 0);
    T_OK(filch_chan_close(chan));
    T_IS(filch_stream_next(&gap.base, &item, T_LIMIT), 1);
    T_IS(item, 7);
    T_IS(filch_stream_next(&gap.base, &item, T_LIMIT), 0);
    filch_stream_drop(&gap.base);
    filch_chan_unref(chan);
    return 0;
}

Test(stream, debounce_keeps_the_last_one)
{
    T_OK(run_in_runtime(0, debounce_in_time, NULL));
}

/* Each item has its own time, and an item that is there takes none. */
static int timeout_for_each(void *arg)
{
    filch_chan_stream in;
    filch_gap_stream gap;
    filch_chan *chan;
    int item;

    (void)arg;
    T_OK(filch_chan_new(sizeof(int), 8, &chan));
    T_OK(filch_chan_stream_init(&in, chan, sizeof(int)));
    T_OK(filch_timeout_stream_init(&gap, &in.base, FILCH_MILLISECOND));
    for (int i = 0; i < 3; i++) {
        T_OK(filch_chan_send(chan, &ten[i], FILCH_NOW));
        T_IS(filch_stream_next(&gap.base, &item, T_LIMIT), 1);
        T_IS(item, ten[i]);
        T_IS(filch_stream_next(&gap.base, &item, T_LIMIT), -ETIMEDOUT);
    }
    T_OK(filch_chan_close(chan));
    T_IS(filch_stream_next(&gap.base, &item, T_LIMIT), 0);
    filch_stream_drop(&gap.base);
    filch_chan_unref(chan);
    return 0;
}

Test(stream, a_timeout_is_for_each_item)
{
    T_OK(run_in_runtime(0, timeout_for_each, NULL));
}

/* ---- streams that have nothing yet ---- */

enum { SOURCES = 2 };

struct sources {
    filch_chan *chan[SOURCES];
    filch_chan_stream in[SOURCES];
    filch_stream *all[SOURCES];
    int item; /* to be sent */
    int to;
};

static void open_sources(struct sources *sources)
{
    for (int i = 0; i < SOURCES; i++) {
        T_OK(filch_chan_new(sizeof(int), 8, &sources->chan[i]));
        T_OK(filch_chan_stream_init(&sources->in[i], sources->chan[i], sizeof(int)));
        sources->all[i] = &sources->in[i].base;
    }
}

static void close_sources(struct sources *sources, filch_stream *stream)
{
    filch_stream_drop(stream);
    for (int i = 0; i < SOURCES; i++)
        filch_chan_unref(sources->chan[i]);
}

static int sends_one(void *arg)
{
    struct sources *sources = arg;

    let_others_run(); /* to where they wait */
    return filch_chan_send(sources->chan[sources->to], &sources->item, T_LIMIT);
}

/* Waits for an item that is sent meanwhile. */
static int next_that_comes(struct sources *sources, filch_stream *stream, int to, int item,
                           void *ret_item)
{
    filch_task *sender;
    int r;

    sources->to = to;
    sources->item = item;
    sender = spawn(sends_one, sources);
    r = filch_stream_next(stream, ret_item, T_LIMIT);
    T_OK(join(sender));
    return r;
}

static int merge_waits(void *arg)
{
    struct sources sources;
    filch_chain_stream merge;
    int item;

    (void)arg;
    open_sources(&sources);
    T_OK(filch_merge_stream_init(&merge, sources.all, SOURCES));
    for (int i = 0; i < 10; i++) { /* whichever has one */
        T_IS(next_that_comes(&sources, &merge.base, i / 2 % 2, i, &item), 1);
        T_IS(item, i);
        T_IS(filch_stream_next(&merge.base, &item, FILCH_NOW), -ETIMEDOUT);
    }
    T_OK(filch_chan_close(sources.chan[0])); /* the other one goes on */
    T_IS(next_that_comes(&sources, &merge.base, 1, 77, &item), 1);
    T_IS(item, 77);
    T_OK(filch_chan_close(sources.chan[1]));
    T_IS(filch_stream_next(&merge.base, &item, T_LIMIT), 0);
    close_sources(&sources, &merge.base);
    return 0;
}

static int chain_waits(void *arg)
{
    struct sources sources;
    filch_chain_stream chain;
    int item;

    (void)arg;
    open_sources(&sources);
    T_OK(filch_chain_stream_init(&chain, sources.all, SOURCES));
    T_OK(filch_chan_send(sources.chan[1], &ten[4], FILCH_NOW)); /* its turn comes later */
    T_IS(filch_stream_next(&chain.base, &item, FILCH_NOW), -ETIMEDOUT);
    T_IS(next_that_comes(&sources, &chain.base, 0, 1, &item), 1);
    T_IS(item, 1);
    T_OK(filch_chan_close(sources.chan[0]));
    T_IS(filch_stream_next(&chain.base, &item, T_LIMIT), 1);
    T_IS(item, 5);
    T_IS(next_that_comes(&sources, &chain.base, 1, 2, &item), 1);
    T_IS(item, 2);
    T_OK(filch_chan_close(sources.chan[1]));
    T_IS(filch_stream_next(&chain.base, &item, T_LIMIT), 0);
    close_sources(&sources, &chain.base);
    return 0;
}

static int zip_waits(void *arg)
{
    struct sources sources;
    filch_zip_stream zip;
    int pair[2];

    (void)arg;
    open_sources(&sources);
    T_OK(filch_zip_stream_init(&zip, sources.all[0], sources.all[1]));
    for (int first = 0; first < SOURCES; first++) { /* one has an item, which waits for its like */
        T_OK(filch_chan_send(sources.chan[first], &ten[first], FILCH_NOW));
        T_IS(filch_stream_next(&zip.base, pair, FILCH_NOW), -ETIMEDOUT);
        T_IS(next_that_comes(&sources, &zip.base, !first, 50, pair), 1);
        T_IS(pair[first], ten[first]);
        T_IS(pair[!first], 50);
    }
    T_OK(filch_chan_close(sources.chan[1]));
    T_OK(filch_chan_send(sources.chan[0], &ten[0], FILCH_NOW));
    T_IS(filch_stream_next(&zip.base, pair, T_LIMIT), 0);
    close_sources(&sources, &zip.base);
    return 0;
}

Test(stream, several_that_have_nothing_yet)
{
    T_OK(run_in_runtime(0, merge_waits, NULL));
    T_OK(run_in_runtime(0, chain_waits, NULL));
    T_OK(run_in_runtime(0, zip_waits, NULL));
}

static void check_chunk(filch_stream *stream, int first, size_t count)
{
    filch_chunk chunk;

    T_IS(filch_stream_next(stream, &chunk, T_LIMIT), 1);
    T_IS(chunk.count, count);
    for (size_t i = 0; i < count; i++)
        T_IS(((const int *)chunk.items)[i], first + (int)i);
}

static int chunks(void *arg)
{
    filch_array_stream in = array_of(ten, 10);
    filch_chunks_stream stream;
    filch_chan_stream from;
    filch_chan *chan;
    filch_chunk chunk;
    int buffer[4];

    (void)arg;
    T_OK(filch_chunks_stream_init(&stream, &in.base, buffer, 4, FILCH_NEVER));
    check_chunk(&stream.base, 1, 4);
    check_chunk(&stream.base, 5, 4);
    check_chunk(&stream.base, 9, 2);
    T_IS(filch_stream_next(&stream.base, &chunk, T_LIMIT), 0);
    filch_stream_drop(&stream.base);

    /* By time; a call that gives up leaves the items in the stage. */
    T_OK(filch_chan_new(sizeof(int), 8, &chan));
    T_OK(filch_chan_stream_init(&from, chan, sizeof(int)));
    T_OK(filch_chunks_stream_init(&stream, &from.base, buffer, 4, 2 * FILCH_MILLISECOND));
    T_OK(filch_chan_send(chan, &ten[0], FILCH_NOW));
    T_IS(filch_stream_next(&stream.base, &chunk, FILCH_NOW), -ETIMEDOUT);
    T_OK(filch_chan_send(chan, &ten[1], FILCH_NOW));
    check_chunk(&stream.base, 1, 2);
    T_OK(filch_chan_send(chan, &ten[2], FILCH_NOW));
    T_OK(filch_chan_close(chan));
    check_chunk(&stream.base, 3, 1);
    T_IS(filch_stream_next(&stream.base, &chunk, T_LIMIT), 0);
    filch_stream_drop(&stream.base);
    filch_chan_unref(chan);
    return 0;
}

Test(stream, chunks_by_size_and_by_time)
{
    T_OK(run_in_runtime(0, chunks, NULL));
}

/* ---- tasks ---- */

static atomic_int under_way, most_under_way;

static int slow_square(void *context, const void *in, void *out)
{
    int item = *(const int *)in;
    int now = atomic_fetch_add(&under_way, 1) + 1;

    (void)context;
    if (now > atomic_load(&most_under_way))
        atomic_store(&most_under_way, now);
    for (int i = 0; i < (item * 7) % 11; i++)
        filch_task_yield();
    atomic_fetch_sub(&under_way, 1);
    if (item == 4)
        return -EDOM;
    *(long *)out = (long)item * item;
    return 0;
}

static int concurrent(void *arg)
{
    filch_array_stream in = array_of(ten, 10);
    filch_concurrent_stream stream;
    long item, sum = 0;
    int errors = 0, r;

    (void)arg;
    atomic_store(&most_under_way, 0);
    T_OK(filch_concurrent_stream_init(&stream, &in.base, sizeof(long), slow_square, NULL, 3, 0));
    while ((r = filch_stream_next(&stream.base, &item, T_LIMIT)) != 0) {
        if (r < 0) {
            T_IS(r, -EDOM);
            errors++;
        } else {
            sum += item;
        }
    }
    T_IS(errors, 1);
    T_IS(sum, 385 - 16);
    T_CHECK(atomic_load(&most_under_way) <= 3);
    filch_stream_drop(&stream.base);

    in = array_of(ten, 10);
    T_OK(filch_concurrent_stream_init(&stream, &in.base, sizeof(long), slow_square, NULL, 4,
                                      FILCH_CONCURRENT_ORDERED));
    for (int i = 1; i <= 10; i++) {
        r = filch_stream_next(&stream.base, &item, T_LIMIT);
        T_CHECK(i == 4 ? r == -EDOM : r == 1 && item == (long)i * i);
    }
    T_IS(filch_stream_next(&stream.base, &item, T_LIMIT), 0);
    filch_stream_drop(&stream.base);
    return 0;
}

Test(stream, tasks_for_the_items_in_any_order_and_in_theirs)
{
    T_OK(run_in_runtime(0, concurrent, NULL));
}

/* ---- back-pressure ---- */

struct flood {
    filch_chan *in, *out;
    atomic_int sent;
};

static int floods(void *arg)
{
    struct flood *flood = arg;
    int r = 0;

    while ((r = filch_chan_send(flood->in, &ten[3], FILCH_NEVER)) == 0)
        atomic_fetch_add(&flood->sent, 1);
    return r;
}

/* Three stages, one of which has tasks. */
static int forwards_a_flood(void *arg)
{
    struct flood *flood = arg;
    filch_chan_stream in;
    filch_map_stream map;
    filch_concurrent_stream concurrent;
    int r;

    T_OK(filch_chan_stream_init(&in, flood->in, sizeof(int)));
    T_OK(filch_map_stream_init(&map, &in.base, sizeof(int), triple, NULL));
    T_OK(filch_concurrent_stream_init(&concurrent, &map.base, sizeof(long), slow_square, NULL, 3,
                                      0));
    r = filch_stream_forward(&concurrent.base, flood->out, FILCH_NEVER);
    filch_stream_drop(&concurrent.base);
    return r;
}

/* Nobody reads at the end: the source stops. Each item that is read lets one more in. */
static int slow_consumer(void *arg)
{
    enum { ROOM = 2, TASKS = 3, FREE = 5 };
    struct flood flood = {.sent = 0};
    filch_task *flooder, *forwarder;
    int most = ROOM + TASKS + ROOM + 1; /* in the channels, in tasks, and one on its way */
    long item;

    (void)arg;
    T_OK(filch_chan_new(sizeof(int), ROOM, &flood.in));
    T_OK(filch_chan_new(sizeof(long), ROOM, &flood.out));
    forwarder = spawn(forwards_a_flood, &flood);
    flooder = spawn(floods, &flood);
    for (int i = 0; i < FREE; i++) {
        T_OK(filch_chan_recv(flood.out, &item, T_LIMIT));
        T_IS(item, 144);
        let_others_run();
        T_CHECK(atomic_load(&flood.sent) <= i + 1 + most);
    }
    T_OK(filch_chan_close(flood.out));
    T_IS(join(forwarder), -EPIPE);
    T_OK(filch_chan_close(flood.in));
    T_IS(join(flooder), -EPIPE);
    filch_chan_unref(flood.in);
    filch_chan_unref(flood.out);
    return 0;
}

Test(stream, a_slow_consumer_holds_the_source_up_through_all_stages)
{
    T_OK(run_in_runtime(0, slow_consumer, NULL));
}

static int waits_for_ever(void *context, const void *in, void *out)
{
    (void)in;
    (void)out;
    atomic_fetch_add((atomic_int *)context, 1);
    return filch_sleep(FILCH_NEVER);
}

static int drop_concurrent(void *arg)
{
    filch_array_stream in = array_of(ten, 10);
    filch_concurrent_stream stream;
    atomic_int begun = 0;
    long item;

    (void)arg;
    T_OK(filch_concurrent_stream_init(&stream, &in.base, sizeof(long), waits_for_ever, &begun, 4,
                                      0));
    T_IS(filch_stream_next(&stream.base, &item, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    filch_stream_drop(&stream.base); /* cancels and waits: nobody is left in our frame */
    T_IS(atomic_load(&begun), 4);
    T_IS(in.left, 6);
    return 0;
}

Test(stream, tasks_end_with_their_stream)
{
    T_OK(run_in_runtime(0, drop_concurrent, NULL));
}

/* ---- consumers ---- */

static int add(void *context, const void *item)
{
    *(int *)context += *(const int *)item;
    return *(const int *)item == 7 ? -ENOSPC : 0;
}

static int consumers(void *arg)
{
    filch_array_stream in = array_of(ten, 10);
    filch_chan *chan;
    int sum = 0;
    int some[6];
    size_t count;

    (void)arg;
    T_IS(filch_stream_for_each(&in.base, add, &sum, T_LIMIT), -ENOSPC);
    T_IS(sum, 28);
    T_OK(filch_stream_for_each(&in.base, add, &sum, T_LIMIT));
    T_IS(sum, 55);
    in = array_of(ten, 10);
    T_IS(filch_stream_collect(&in.base, some, 6, &count, T_LIMIT), -ENOSPC);
    T_IS(count, 6);
    T_OK(filch_stream_collect(&in.base, some, 6, &count, T_LIMIT));
    T_IS(count, 4);
    T_IS(some[3], 10);
    in = array_of(ten, 3);
    T_OK(filch_chan_new(sizeof(int), 4, &chan));
    T_OK(filch_stream_forward(&in.base, chan, T_LIMIT));
    T_IS(filch_chan_len(chan), 3);
    filch_chan_unref(chan);
    return 0;
}

/* Whoever gives up forwarding has taken no item that he could not send: cancelled, out of time, the
 * channel closed while it is full, or while there is no item. */
static int forwards(void *arg)
{
    void **with = arg;

    return filch_stream_forward(with[0], with[1], FILCH_NEVER);
}

static int forward_gives_up(void *arg)
{
    (void)arg;
    for (int i = 0; i < 80; i++) {
        filch_array_stream in = array_of(ten, 10);
        filch_chan *chan = NULL;
        void *with[2] = {&in.base, NULL};
        filch_task *task;
        int item, next = 1;

        T_OK(filch_chan_new(sizeof(int), 3, &chan));
        with[1] = chan;
        T_IS(filch_stream_forward(&in.base, chan, i % 2 ? FILCH_NOW : filch_after(1000)),
             -ETIMEDOUT);
        T_OK(filch_chan_recv(chan, &item, FILCH_NOW));
        T_IS(item, next++);
        task = spawn(forwards, with);
        if (i % 3)
            let_others_run();
        if (i % 4 < 2)
            T_OK(filch_task_cancel(task));
        else
            T_OK(filch_chan_close(chan));
        T_IS(join(task), i % 4 < 2 ? -ECANCELED : -EPIPE);
        while (filch_chan_recv(chan, &item, FILCH_NOW) == 0)
            T_IS(item, next++);
        while (filch_stream_next(&in.base, &item, FILCH_NOW) > 0)
            T_IS(item, next++);
        T_IS(next, 11);
        filch_chan_unref(chan);
    }
    return 0;
}

static int forward_hears_of_the_close(void *arg)
{
    filch_chan *from = NULL, *to = NULL;
    filch_chan_stream in;
    void *with[2] = {&in.base, NULL};
    filch_task *task;
    int item = 5;

    (void)arg;
    T_OK(filch_chan_new(sizeof(int), 3, &from));
    T_OK(filch_chan_new(sizeof(int), 3, &to));
    T_OK(filch_chan_stream_init(&in, from, sizeof(int)));
    T_IS(filch_chan_stream_init(&in, from, sizeof(short)), -EINVAL);
    with[1] = to;
    task = spawn(forwards, with);
    let_others_run();
    T_OK(filch_chan_close(to)); /* it waits for an item, and holds a place */
    T_IS(join(task), -EPIPE);
    T_IS(filch_chan_recv(to, &item, FILCH_NOW), -EPIPE); /* and has given it back */
    T_OK(filch_chan_send(from, &item, FILCH_NOW));
    T_IS(filch_stream_next(&in.base, &item, T_LIMIT), 1);
    filch_stream_drop(&in.base);
    filch_chan_unref(from);
    filch_chan_unref(to);
    return 0;
}

Test(stream, forwarding_that_ends_early_loses_no_item)
{
    T_OK(run_in_runtime(0, forward_gives_up, NULL));
    T_OK(run_in_runtime(0, forward_hears_of_the_close, NULL));
}

Test(stream, where_items_go)
{
    T_OK(consumers(NULL));
    T_OK(run_in_runtime(0, consumers, NULL));
}

/* ---- looked at, and not taken ---- */

static int peeks(void *arg)
{
    filch_array_stream in = array_of(ten, 3);
    filch_peek_stream peek;
    filch_map_stream map;
    filch_chan_stream late;
    filch_chan *chan;
    int item = 0, calls = 0;

    (void)arg;
    T_OK(filch_peek_stream_init(&peek, &in.base));
    for (int i = 1; i <= 3; i++) {
        T_IS(filch_stream_peek(&peek, &item, T_LIMIT), 1);
        T_IS(item, i);
        T_IS(filch_stream_peek(&peek, &item, FILCH_NOW), 1);
        T_IS(item, i);
        T_IS(filch_stream_next(&peek.base, &item, FILCH_NOW), 1);
        T_IS(item, i);
    }
    T_IS(filch_stream_peek(&peek, &item, T_LIMIT), 0);
    T_IS(filch_stream_next(&peek.base, &item, T_LIMIT), 0);
    T_IS(filch_stream_peek(&peek, &item, T_LIMIT), 0);

    /* An error is told once. */
    in = array_of(ten + 3, 2);
    T_OK(filch_map_while_stream_init(&map, &in.base, sizeof(int), double_below_six, &calls));
    T_OK(filch_peek_stream_init(&peek, &map.base));
    T_IS(filch_stream_peek(&peek, &item, T_LIMIT), -EDOM);
    T_IS(filch_stream_next(&peek.base, &item, T_LIMIT), 1);
    T_IS(item, 10);

    /* A look that is given up has taken nothing; what was looked at may be dropped. */
    T_OK(filch_chan_new(sizeof(int), 2, &chan));
    T_OK(filch_chan_stream_init(&late, chan, sizeof(int)));
    T_OK(filch_peek_stream_init(&peek, &late.base));
    T_IS(filch_stream_peek(&peek, &item, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_stream_peek(&peek, &item, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    for (int i = 1; i <= 2; i++)
        T_OK(filch_chan_send(chan, &i, FILCH_NOW));
    T_IS(filch_stream_peek(&peek, &item, T_LIMIT), 1);
    T_IS(item, 1);
    T_IS(filch_stream_next(&peek.base, &item, T_LIMIT), 1);
    T_IS(item, 1);
    T_IS(filch_stream_peek(&peek, &item, T_LIMIT), 1);
    T_IS(item, 2);
    filch_stream_drop(&peek.base);
    T_IS(filch_stream_peek(&peek, &item, T_LIMIT), 0);
    T_IS(filch_stream_next(&peek.base, &item, T_LIMIT), 0);
    filch_chan_unref(chan);
    return 0;
}

Test(stream, an_item_can_be_looked_at_before_it_is_taken)
{
    T_OK(peeks(NULL));
    T_OK(run_in_runtime(0, peeks, NULL));
}

/* ---- is it true of all, of any? ---- */

static int quantifies(void *arg)
{
    filch_array_stream in = array_of(ten, 10);
    filch_map_stream map;
    filch_chan_stream late;
    filch_chan *chan;
    int four = 4, hundred = 100, item = 0, calls = 0;

    (void)arg;
    T_IS(filch_stream_all(&in.base, is_below, &four, T_LIMIT), 0);
    T_IS(filch_stream_next(&in.base, &item, T_LIMIT), 1); /* the 4 was taken, no more */
    T_IS(item, 5);
    T_IS(filch_stream_any(&in.base, is_even, NULL, T_LIMIT), 1);
    T_IS(filch_stream_next(&in.base, &item, T_LIMIT), 1);
    T_IS(item, 7);
    T_IS(filch_stream_all(&in.base, is_below, &hundred, T_LIMIT), 1);
    T_IS(filch_stream_all(&in.base, is_below, &four, T_LIMIT), 1); /* of none */
    T_IS(filch_stream_any(&in.base, is_even, NULL, T_LIMIT), 0);

    in = array_of(ten, 5);
    T_OK(filch_map_while_stream_init(&map, &in.base, sizeof(int), double_below_six, &calls));
    T_IS(filch_stream_all(&map.base, is_even, NULL, T_LIMIT), -EDOM);
    T_IS(filch_stream_any(&map.base, is_below, &four, T_LIMIT), 0);

    T_OK(filch_chan_new(sizeof(int), 1, &chan));
    T_OK(filch_chan_stream_init(&late, chan, sizeof(int)));
    T_OK(filch_chan_send(chan, &four, FILCH_NOW));
    T_IS(filch_stream_all(&late.base, is_even, NULL, filch_after(FILCH_MILLISECOND)), -ETIMEDOUT);
    T_IS(filch_stream_any(&late.base, is_even, NULL, FILCH_NOW), -ETIMEDOUT);
    filch_stream_drop(&late.base);
    filch_chan_unref(chan);
    return 0;
}

Test(stream, what_is_true_of_all_and_of_any)
{
    T_OK(quantifies(NULL));
    T_OK(run_in_runtime(0, quantifies, NULL));
}

/* ---- stackless ---- */

struct summer {
    filch_future base;
    filch_next_future next;
    filch_stream *stream;
    int item;
    int sum;
    bool asked;
};

static filch_poll sum_poll(filch_future *self, filch_cx *cx)
{
    struct summer *summer = (struct summer *)self;

    for (;;) {
        if (!summer->asked)
            T_OK(filch_next_future_init(&summer->next, summer->stream, &summer->item));
        summer->asked = true;
        if (summer->next.base.poll(&summer->next.base, cx) == FILCH_PENDING)
            return FILCH_PENDING;
        summer->asked = false;
        if (summer->next.base.result <= 0) {
            self->result = summer->sum;
            return FILCH_READY;
        }
        summer->sum += summer->item;
    }
}

static int stackless(void *arg)
{
    struct summer summer = {.base.poll = sum_poll};
    filch_chan *chan;
    filch_chan_stream in;
    filch_task *task, *sender;
    int result;

    (void)arg;
    T_OK(filch_chan_new(sizeof(int), 1, &chan));
    T_OK(filch_chan_stream_init(&in, chan, sizeof(int)));
    summer.stream = &in.base;
    T_OK(filch_future_spawn(&summer.base, NULL, &task));
    sender = spawn(send_all, chan);
    T_OK(filch_task_join(task, &result, T_LIMIT));
    T_IS(result, 55);
    T_OK(join(sender));
    filch_stream_drop(&in.base);
    filch_chan_unref(chan);
    return 0;
}

Test(stream, read_by_a_future)
{
    T_OK(run_in_runtime(0, stackless, NULL));
}

/* ---- streams that come and go, under keys ---- */

struct keyed_item {
    uint64_t key;
    int item;
} __attribute__((packed));

static int keyed(void *arg)
{
    filch_array_stream in[3] = {array_of(ten, 2), array_of(ten + 2, 1), array_of(ten + 5, 3)};
    filch_keyed_entry entry[3], twice;
    filch_keyed_stream stream;
    struct keyed_item item;
    int seen[3] = {0};

    (void)arg;
    T_OK(filch_keyed_stream_init(&stream, sizeof(int)));
    T_IS(stream.base.item_bytes, sizeof item);
    T_IS(filch_stream_next(&stream.base, &item, FILCH_NOW), 0);
    for (unsigned i = 0; i < 3; i++)
        T_OK(filch_keyed_stream_insert(&stream, &entry[i], 100 + i, &in[i].base));
    T_IS(filch_keyed_stream_insert(&stream, &twice, 101, &in[0].base), -EEXIST);
    T_IS(filch_keyed_stream_count(&stream), 3);
    /* In turn. */
    for (unsigned i = 0; i < 3; i++) {
        T_IS(filch_stream_next(&stream.base, &item, T_LIMIT), 1);
        T_IS(item.key, 100 + i);
    }
    /* The middle one has ended, without a word; one is taken out, with what it still has. */
    T_CHECK(filch_keyed_stream_remove(&stream, 102) == &in[2].base);
    T_CHECK(filch_keyed_stream_remove(&stream, 102) == NULL);
    T_IS(filch_stream_next(&stream.base, &item, T_LIMIT), 1);
    T_IS(item.key, 100);
    T_IS(item.item, 2);
    T_IS(filch_stream_next(&stream.base, &item, T_LIMIT), 0);
    T_IS(filch_keyed_stream_count(&stream), 0);
    /* The end is one only until somebody comes. */
    T_OK(filch_keyed_stream_insert(&stream, &entry[2], 7, &in[2].base));
    while (filch_stream_next(&stream.base, &item, T_LIMIT) > 0)
        seen[item.item == 7 ? 0 : item.item == 8 ? 1 : 2]++;
    T_CHECK(seen[0] == 1 && seen[1] == 1 && seen[2] == 0);
    filch_stream_drop(&stream.base);
    T_IS(filch_keyed_stream_insert(&stream, &entry[0], 1, &in[0].base), -EINVAL);
    return 0;
}

struct keyed_channels {
    filch_chan *chan[8];
    filch_chan_stream in[8];
    filch_keyed_entry entry[8];
    filch_keyed_stream stream;
};

static int send_two(void *arg)
{
    filch_chan *chan = arg;

    for (int i = 0; i < 2; i++)
        T_OK(filch_chan_send(chan, &i, T_LIMIT));
    filch_chan_close(chan);
    return 0;
}

/* Whoever waits is woken by any of them. A drop in the middle drops those that are left. */
static int keyed_waits(void *arg)
{
    struct keyed_channels all;
    struct keyed_item item;
    filch_task *sender;
    int sum = 0;

    (void)arg;
    T_OK(filch_keyed_stream_init(&all.stream, sizeof(int)));
    for (unsigned i = 0; i < 8; i++) {
        T_OK(filch_chan_new(sizeof(int), 1, &all.chan[i]));
        T_OK(filch_chan_stream_init(&all.in[i], all.chan[i], sizeof(int)));
        T_OK(filch_keyed_stream_insert(&all.stream, &all.entry[i], i, &all.in[i].base));
    }
    T_IS(filch_stream_next(&all.stream.base, &item, FILCH_NOW), -ETIMEDOUT);
    for (unsigned i = 0; i < 7; i++) {
        sender = spawn(send_two, all.chan[(i * 3) % 8]);
        for (unsigned j = 0; j < 2; j++) {
            T_IS(filch_stream_next(&all.stream.base, &item, T_LIMIT), 1);
            T_IS(item.key, (i * 3) % 8);
            sum += item.item;
        }
        T_OK(join(sender));
    }
    T_IS(sum, 7);
    T_IS(filch_stream_next(&all.stream.base, &item, FILCH_NOW), -ETIMEDOUT);
    T_IS(filch_keyed_stream_count(&all.stream), 1);
    filch_stream_drop(&all.stream.base);
    for (unsigned i = 0; i < 8; i++)
        filch_chan_unref(all.chan[i]);
    return 0;
}

/* An error is told with its key, and is not the end. */
static void keyed_fails(void)
{
    filch_array_stream in[2] = {array_of(ten + 4, 2), array_of(ten, 1)};
    filch_map_stream map[2];
    filch_keyed_entry entry[2];
    filch_keyed_stream stream;
    uint64_t item[2];

    T_OK(filch_keyed_stream_init(&stream, sizeof(long)));
    for (unsigned i = 0; i < 2; i++) {
        T_OK(filch_filter_map_stream_init(&map[i], &in[i].base, sizeof(long), odd_to_long, NULL));
        T_OK(filch_keyed_stream_insert(&stream, &entry[i], 50 + i, &map[i].base));
    }
    T_IS(filch_stream_next(&stream.base, item, T_LIMIT), -EDOM);
    T_IS(stream.failed_key, 50);
    T_IS(filch_stream_next(&stream.base, item, T_LIMIT), 1);
    T_CHECK(item[0] == 51 && item[1] == 1);
    T_IS(filch_stream_next(&stream.base, item, T_LIMIT), 0);
    filch_stream_drop(&stream.base);
}

Test(stream, keyed_streams_come_and_go)
{
    keyed_fails();
    T_OK(keyed(NULL));
    T_OK(run_in_runtime(0, keyed, NULL));
    T_OK(run_in_runtime(0, keyed_waits, NULL));
}

/* ---- random pipelines against loops ---- */

#define STAGES 5
#define ITEMS 40

union stage {
    filch_map_stream map;
    filch_filter_stream filter;
    filch_take_stream take;
    filch_peek_stream peek;
};

static bool is_small(void *context, const void *item)
{
    (void)context;
    return *(const int *)item < 2000;
}

static int half_if_small(void *context, const void *in, void *out)
{
    if (!is_small(context, in))
        return 0;
    *(int *)out = *(const int *)in / 2;
    return 1;
}

/* Looks at the first item, too. */
static filch_stream *peeked(filch_peek_stream *peek, filch_stream *from, const int *items,
                            size_t count)
{
    int item = 0;

    T_OK(filch_peek_stream_init(peek, from));
    T_IS(filch_stream_peek(peek, &item, T_LIMIT), count > 0);
    T_CHECK(count == 0 || item == items[0]);
    return &peek->base;
}

/* Builds one stage, and does the same to the array. */
static filch_stream *random_stage(union stage *stage, filch_stream *from, uint32_t random,
                                  int *items, size_t *count)
{
    size_t n = random / 8 % 20;
    size_t kept = 0;

    switch (random % 6) {
    case 4:
        return peeked(&stage->peek, from, items, *count);
    case 5:
        T_OK(filch_map_while_stream_init(&stage->map, from, sizeof(int), half_if_small, NULL));
        for (; kept < *count && is_small(NULL, &items[kept]); kept++)
            items[kept] /= 2;
        *count = kept;
        return &stage->map.base;
    case 0:
        T_OK(filch_map_stream_init(&stage->map, from, sizeof(int), triple, NULL));
        for (size_t i = 0; i < *count; i++)
            items[i] *= 3;
        return &stage->map.base;
    case 1:
        T_OK(filch_filter_stream_init(&stage->filter, from, is_even, NULL));
        for (size_t i = 0; i < *count; i++)
            if (items[i] % 2 == 0)
                items[kept++] = items[i];
        *count = kept;
        return &stage->filter.base;
    case 2:
        T_OK(filch_take_stream_init(&stage->take, from, n));
        *count = *count < n ? *count : n;
        return &stage->take.base;
    default:
        T_OK(filch_skip_stream_init(&stage->take, from, n / 4));
        n = n / 4 < *count ? n / 4 : *count;
        memmove(items, items + n, (*count - n) * sizeof *items);
        *count -= n;
        return &stage->take.base;
    }
}

static int random_pipelines(void *arg)
{
    uint32_t random = 12345;

    (void)arg;
    for (int round = 0; round < 2000; round++) {
        union stage stages[STAGES];
        filch_array_stream in;
        filch_stream *last = &in.base;
        int source[ITEMS], want[ITEMS];
        size_t count = ITEMS;

        for (int i = 0; i < ITEMS; i++)
            source[i] = want[i] = (int)(random >> (i % 20)) % 1000;
        in = array_of(source, ITEMS);
        for (int i = 0; i < STAGES; i++) {
            random = random * 1664525 + 1013904223;
            last = random_stage(&stages[i], last, random >> 8, want, &count);
        }
        check_items(last, want, count);
        filch_stream_drop(last);
    }
    return 0;
}

Test(stream, random_pipelines_are_as_loops)
{
    T_OK(random_pipelines(NULL));
    T_OK(run_in_runtime(0, random_pipelines, NULL));
}
