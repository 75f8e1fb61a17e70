/* See scenarios.h. */
#include "tests/fault/scenarios.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/fault/wrap.h"

#define LIMIT scenario_limit()

/* ---- scenarios: bodies of the first task ---- */

#define MANY 200

static int spawns(void *arg)
{
    filch_task *task[MANY] = {0};
    filch_task_opts by_copy = {.copy_bytes = sizeof(int)};

    (void)arg;
    for (int i = 0; i < MANY; i++)
        ok(filch_task_spawn(nothing, &i, i % 4 ? NULL : &by_copy, &task[i]));
    for (int i = 0; i < MANY; i++)
        if (task[i])
            ok(filch_task_join(task[i], NULL, FILCH_NEVER));
    return 0;
}

static int in_scope(void *arg)
{
    (void)arg;
    FILCH_SCOPE(scope);
    for (int i = 0; i < MANY; i++)
        ok(filch_scope_spawn(&scope, nothing, NULL));
    ok(filch_scope_join(&scope, FILCH_NEVER));
    return 0;
}

static int sleeps_shortly(void *arg)
{
    (void)arg;
    ok(filch_sleep(FILCH_MILLISECOND));
    return 0;
}

static int sleeps(void *arg)
{
    (void)arg;
    FILCH_SCOPE(scope);
    for (int i = 0; i < 20; i++)
        ok(filch_scope_spawn(&scope, sleeps_shortly, NULL));
    ok(filch_scope_join(&scope, FILCH_NEVER));
    return 0;
}

static int sends(void *arg)
{
    for (long i = 0; i < 300; i++)
        if (!ok(filch_chan_send(arg, &i, FILCH_NEVER)))
            break;
    filch_chan_close(arg);
    return 0;
}

static void through_channel(size_t capacity)
{
    filch_chan *chan;
    long msg;

    if (!ok(filch_chan_new(sizeof msg, capacity, &chan)))
        return;
    FILCH_SCOPE(scope);
    if (!ok(filch_scope_spawn(&scope, sends, chan)))
        filch_chan_close(chan);
    while (filch_chan_recv(chan, &msg, FILCH_NEVER) == 0)
        ;
    ok(filch_scope_join(&scope, FILCH_NEVER));
    filch_chan_unref(chan);
}

/* What could be sent is there, whatever could not. */
static void count_messages(filch_chan *chan, size_t want)
{
    unsigned char msgs[4][600];
    ssize_t n;

    filch_chan_close(chan);
    while ((n = filch_chan_recv_many(chan, msgs, 4, FILCH_NEVER)) > 0)
        want -= (size_t)n;
    if (want != 0)
        abort();
    filch_chan_unref(chan);
}

/* Batches and permits need memory before a message is taken. */
static void through_promises(void)
{
    long msgs[300] = {0};
    filch_chan_permit permit;
    filch_chan *chan;
    size_t sent = 0;

    if (!ok(filch_chan_new(sizeof(long), FILCH_CHAN_UNBOUNDED, &chan)))
        return;
    ok(filch_chan_send_many(chan, msgs, 300, &sent, FILCH_NEVER));
    if (ok(filch_chan_reserve_many(chan, 100, &permit, FILCH_NEVER))) {
        for (int i = 0; i < 100; i++)
            sent += ok(filch_chan_permit_send(&permit, msgs));
        filch_chan_permit_release(&permit);
    }
    count_messages(chan, sent);
}

/* Room for the message that is dropped. */
static void through_overflow(void)
{
    filch_chan_opts opts = {.overflow = FILCH_CHAN_DROP_OLDEST};
    unsigned char msg[600] = {0};
    filch_chan *chan;

    if (!ok(filch_chan_new_opts(sizeof msg, 2, &opts, &chan)))
        return;
    for (int i = 0; i < 5; i++)
        ok(filch_chan_send(chan, msg, FILCH_NEVER));
    count_messages(chan, 2);
}

static int channels(void *arg)
{
    (void)arg;
    through_channel(4);
    through_channel(FILCH_CHAN_UNBOUNDED);
    through_promises();
    through_overflow();
    return 0;
}

static void through_oneshot(void)
{
    filch_oneshot_tx *tx;
    filch_oneshot_rx *rx;
    long value = 1;

    if (!ok(filch_oneshot_new(sizeof value, &tx, &rx)))
        return;
    ok(filch_oneshot_send(tx, &value));
    ok(filch_oneshot_recv(rx, &value, FILCH_NEVER));
}

/* The reader sees what the last send that did not fail has sent. */
static void through_watch(void)
{
    filch_watch_reader reader;
    filch_watch *watch;
    long value = 1, last = 1;

    if (!ok(filch_watch_new(sizeof value, &value, &watch)))
        return;
    if (filch_watch_subscribe(watch, &reader) < 0)
        abort();
    for (value = 2; value < 10; value++)
        if (ok(filch_watch_send(watch, &value)))
            last = value;
    filch_watch_unref(watch);
    while (filch_watch_changed(&reader, FILCH_NEVER) == 0)
        ;
    if (filch_watch_get(&reader, &value) < 0 || value != last)
        abort();
    filch_watch_unsubscribe(&reader);
    ok(filch_rcu_barrier());
}

static void through_broadcast(unsigned flags)
{
    filch_broadcast_receiver receiver;
    filch_broadcast *broadcast;
    long msg = 1;

    if (!ok(filch_broadcast_new(sizeof msg, 2, flags, &broadcast)))
        return;
    if (filch_broadcast_subscribe(broadcast, &receiver) < 0 ||
        filch_broadcast_send(broadcast, &msg, FILCH_NEVER) != 1)
        abort();
    filch_broadcast_unref(broadcast);
    while (filch_broadcast_recv(&receiver, &msg, NULL, FILCH_NEVER) == 0)
        ;
    filch_broadcast_unsubscribe(&receiver);
}

static int signals(void *arg)
{
    (void)arg;
    through_oneshot();
    through_watch();
    through_broadcast(0);
    through_broadcast(FILCH_BROADCAST_KEEP);
    return 0;
}

static int blocks(void *arg)
{
    filch_task *job[20] = {0};

    (void)arg;
    for (int i = 0; i < 20; i++)
        ok(filch_blocking_spawn(nothing, NULL, NULL, &job[i]));
    for (int i = 0; i < 20; i++)
        if (job[i])
            ok(filch_task_join(job[i], NULL, FILCH_NEVER));
    return 0;
}

static int echoes(void *arg)
{
    filch_listener *listener = arg;
    filch_tcp *conn;
    char buf[64];
    ssize_t n;

    if (!ok(filch_listener_accept(listener, &conn, LIMIT)))
        return 0;
    while ((n = filch_tcp_read(conn, buf, sizeof buf, LIMIT)) > 0)
        if (!ok(filch_tcp_write_all(conn, buf, (size_t)n, NULL, LIMIT)))
            break;
    ok((int)n);
    filch_tcp_close(conn);
    return 0;
}

static void talk(const char *addr)
{
    filch_tcp *conn;
    char buf[8];

    if (!ok(filch_tcp_connect(addr, &conn, LIMIT)))
        return;
    for (int i = 0; i < 5; i++)
        if (!ok(filch_tcp_write_all(conn, "message", 8, NULL, LIMIT)) ||
            !ok(filch_tcp_read_exact(conn, buf, 8, NULL, LIMIT)))
            break;
    filch_tcp_close(conn);
}

static int tcp(void *arg)
{
    filch_listener *listener;
    char addr[FILCH_ADDR_BYTES];

    (void)arg;
    if (!ok(filch_listener_open("127.0.0.1:0", NULL, &listener)))
        return 0;
    FILCH_SCOPE(scope);
    if (ok(filch_listener_addr(listener, addr)) &&
        ok(filch_scope_spawn(&scope, echoes, listener))) {
        talk(addr);
        /* If connecting failed, the other side waits in accept. */
        if (scenario_error())
            filch_scope_cancel(&scope);
    }
    ok(filch_scope_join(&scope, FILCH_NEVER));
    filch_listener_close(listener);
    return 0;
}

/* ---- cancellation: a tree of tokens, what hangs on it, deadlines, values of tasks ---- */

static atomic_uint times_called;

static void called(void *arg)
{
    atomic_fetch_add((atomic_uint *)arg, 1);
}

/* What is called at its end finds its frame gone. */
static int waits_for_cancel(void *arg)
{
    ok(filch_task_defer(called, &times_called));
    ok(filch_token_bind(arg));
    return filch_sleep(LIMIT);
}

static void hangs_on(filch_token *token)
{
    filch_block block;
    filch_hook hook;

    FILCH_SCOPE(scope);
    ok(filch_scope_bind(&scope, token));
    for (int i = 0; i < 20; i++)
        ok(filch_scope_spawn(&scope, waits_for_cancel, token));
    if (ok(filch_deadline_begin(&block, LIMIT))) {
        filch_task_yield();
        (void)filch_block_end(&block);
    }
    if (ok(filch_token_hook(token, &hook, called, &times_called))) {
        (void)filch_token_cancel(token, -ECANCELED, NULL);
        (void)filch_token_unhook(token, &hook);
    }
    /* Also if it could not be hung on the token. */
    filch_scope_cancel(&scope);
}

static int tokens(void *arg)
{
    filch_token *root, *child;

    (void)arg;
    if (!ok(filch_token_new(&root)))
        return 0;
    if (ok(filch_token_child(root, &child))) {
        hangs_on(child);
        filch_token_unref(child);
    }
    filch_token_unref(root);
    return 0;
}

/* ---- groups of tasks, calls that are shared, values that are made once ---- */

static void through_join_set(void)
{
    filch_join_set set;
    uint64_t key;

    filch_join_set_init(&set, 0);
    for (uint64_t i = 1; i <= 30; i++)
        ok(filch_join_set_spawn(&set, i, nothing, NULL, NULL));
    while (filch_join_set_next(&set, NULL, &key, FILCH_NEVER) == 0)
        ;
    filch_join_set_fini(&set);
}

static int flies(void *arg, void *value)
{
    (void)arg;
    *(int *)value = 7;
    return 0;
}

static void through_flights(void)
{
    filch_flights *flights;
    int value;

    if (!ok(filch_flights_new(sizeof value, &flights)))
        return;
    for (int i = 0; i < 10; i++)
        ok(filch_flight(flights, &i, sizeof i, flies, NULL, &value, NULL, FILCH_NEVER));
    (void)filch_flights_free(flights);
}

static void through_tracker(void)
{
    filch_tracker *tracker;

    if (!ok(filch_tracker_new(&tracker)))
        return;
    for (int i = 0; i < 10; i++)
        ok(filch_tracker_spawn(tracker, nothing, NULL, NULL));
    ok(filch_tracker_close(tracker));
    ok(filch_tracker_wait(tracker, FILCH_NEVER));
    filch_tracker_unref(tracker);
}

static int all_at_once(void)
{
    filch_call calls[8];
    int results[8];
    size_t failed;

    for (int i = 0; i < 8; i++)
        calls[i] = (filch_call){.fn = nothing};
    ok(filch_try_join(calls, 8, results, &failed, FILCH_NEVER));
    return filch_timeout(nothing, NULL, results, LIMIT);
}

static int groups(void *arg)
{
    (void)arg;
    through_join_set();
    through_flights();
    through_tracker();
    ok(all_at_once());
    return 0;
}

/* ---- streams ---- */

static int doubles(void *context, const void *in, void *out)
{
    (void)context;
    *(int *)out = 2 * *(const int *)in;
    return 0;
}

static int streams(void *arg)
{
    static const int numbers[20] = {1, 2, 3};
    filch_array_stream array;
    filch_concurrent_stream concurrent;
    size_t count;
    int items[21];

    (void)arg;
    ok(filch_array_stream_init(&array, numbers, sizeof *numbers, 20));
    if (!ok(filch_concurrent_stream_init(&concurrent, &array.base, sizeof(int), doubles, NULL, 4,
                                         0))) {
        filch_stream_drop(&array.base);
        return 0;
    }
    ok(filch_stream_collect(&concurrent.base, items, 21, &count, FILCH_NEVER));
    filch_stream_drop(&concurrent.base);
    return 0;
}

/* ---- datagrams, Unix sockets, files, programs ---- */

/* What could be sent is received. A message that was not sent is not waited for. */
static void talk_by_udp(filch_udp *a, filch_udp *b)
{
    filch_addr to;
    char buf[8];

    if (!ok(filch_udp_local_addr(b, &to)))
        return;
    for (int i = 0; i < 5; i++)
        if (ok((int)filch_udp_send(a, "datagram", 8, &to, LIMIT)))
            ok((int)filch_udp_recv(b, buf, sizeof buf, NULL, NULL, LIMIT));
}

static int datagrams(void *arg)
{
    filch_udp *a, *b;

    (void)arg;
    if (!ok(filch_udp_open("127.0.0.1:0", NULL, &a)))
        return 0;
    if (ok(filch_udp_open("127.0.0.1:0", NULL, &b))) {
        talk_by_udp(a, b);
        ok(filch_udp_close(b));
    }
    ok(filch_udp_close(a));
    return 0;
}

/* Bytes and a descriptor there; what came is closed. */
static void pass_through(filch_unix *a, filch_unix *b)
{
    int fd[2], none = 0;
    filch_unix_fds fds = {.fds = fd, .room = 2};
    char buf[8];

    if (ok((int)filch_unix_send_fds(a, "messages", 8, &none, 1, LIMIT)) &&
        ok((int)filch_unix_recv_fds(b, buf, 8, &fds, LIMIT)))
        for (size_t i = 0; i < fds.count; i++)
            close(fd[i]);
    if (ok(filch_unix_write_all(b, "answer", 6, NULL, LIMIT)))
        ok(filch_unix_read_exact(a, buf, 6, NULL, LIMIT));
}

static int local_sockets(void *arg)
{
    filch_unix_dgram *x, *y;
    filch_unix *a, *b;
    char buf[8];

    (void)arg;
    if (ok(filch_unix_pair(&a, &b))) {
        pass_through(a, b);
        ok(filch_unix_close(a));
        ok(filch_unix_close(b));
    }
    if (ok(filch_unix_dgram_pair(&x, &y))) {
        if (ok((int)filch_unix_dgram_send(x, "datagram", 8, NULL, NULL, 0, LIMIT)))
            ok((int)filch_unix_dgram_recv(y, buf, sizeof buf, NULL, NULL, NULL, LIMIT));
        ok(filch_unix_dgram_close(x));
        ok(filch_unix_dgram_close(y));
    }
    return 0;
}

static int pipes_and_files(void *arg)
{
    filch_file *reader, *writer;
    size_t bytes;
    void *data;
    char buf[8];

    (void)arg;
    if (ok(filch_pipe(0, &reader, &writer))) {
        if (ok(filch_file_write_all(writer, "pipeline", 8, NULL, LIMIT)))
            ok((int)filch_file_read(reader, buf, sizeof buf, LIMIT));
        ok(filch_file_close(reader));
        ok(filch_file_close(writer));
    }
    if (ok(filch_read_file("/proc/self/stat", 0, &data, &bytes, LIMIT)))
        free(data);
    return 0;
}

static int programs(void *arg)
{
    static const char *const argv[] = {"cat", NULL};
    filch_process_run_opts opts = {.input = "text", .input_bytes = 4};
    filch_process_output output;

    (void)arg;
    if (ok(filch_process_run(argv, &opts, &output, LIMIT))) {
        if (output.out_bytes != 4 || output.status.code != 0)
            abort();
        free(output.out);
        free(output.err);
    }
    return 0;
}

/* ---- another life ---- */

/* The runtime is driven by us, in turns, as our event loop would. */
static void take_turns(filch_runtime *rt, filch_task *task)
{
    struct pollfd pollfd = {.fd = filch_runtime_fd(rt), .events = POLLIN};

    if (!ok(pollfd.fd))
        return;
    while (!filch_task_is_finished(task)) {
        int r = filch_runtime_turn(rt, 0, 0, NULL);

        if (!ok(r))
            break;
        if (r == 0 && !filch_task_is_finished(task))
            (void)poll(&pollfd, 1, -1);
    }
}

static int hosted_life(const struct scenario *scenario)
{
    filch_runtime_opts opts = {.current_thread = true};
    filch_runtime *rt;
    filch_task *task;

    if (!ok(filch_runtime_start(&opts, &rt)))
        return 0;
    fault_mark_start();
    if (ok(filch_runtime_spawn(rt, scenario->fn, NULL, NULL, &task))) {
        take_turns(rt, task);
        ok(filch_runtime_block_on(rt, nothing, NULL, NULL, FILCH_NEVER));
        (void)filch_task_detach(task);
    }
    return filch_runtime_shutdown(rt, filch_after(20 * FILCH_SECOND));
}

void scenarios_prepare(void)
{
}

const struct scenario scenarios[] = {
    {"start", nothing, life, .start_too = true},
    {"spawn", spawns, life},
    {"scope", in_scope, life},
    {"sleep", sleeps, life},
    {"channel", channels, life},
    {"signals", signals, life},
    {"blocking", blocks, life},
    {"tcp", tcp, life},
    {"token", tokens, life},
    {"group", groups, life},
    {"stream", streams, life},
    {"hosted", sleeps, hosted_life, .start_too = true},
    {"hosted tcp", tcp, hosted_life},
    {"udp", datagrams, life},
    {"unix", local_sockets, life},
    {"files", pipes_and_files, life},
    {"process", programs, life},
    {"paths", paths, life},
    {"contents", contents, life},
    {"watches", watches, life},
    {"moves", moves, life},
    {"names", names, life},
    {"kernel signals", kernel_signals, life},
    {"sockets", sockets, life},
    {"told to end", told_to_end, life},
    {"visits", visits, life},
    {"beside", nothing, beside_life},
    {"bound", nothing, bound_life, .start_too = true},
};
const unsigned scenarios_count = sizeof scenarios / sizeof scenarios[0];
