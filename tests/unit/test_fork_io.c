/* Description: what is forked may do I/O (<filch/fork.h>): connections between forks of one task,
 * of which one waits for bytes that the other has still to write; a tree whose leaves exchange
 * messages, write to a file, sleep and lock; a request to end reaches a fork in a read. */
#include <errno.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"
#include "tests/runner/tcp_pair.h"

TestSuite(fork_io, .timeout = 120);

/* As given, and with every fork given away. */
static void run_both(filch_fn fn)
{
    for (int chaos = 0; chaos < 2; chaos++) {
        filch_runtime_opts opts = {.workers = test_workers(), .chaos_forks = chaos};
        filch_runtime *rt;
        int result = -1;

        opts.current_thread = test_without_threads();
        rt = test_start(&opts);
        T_OK(filch_runtime_block_on(rt, fn, NULL, &result, FILCH_NEVER));
        T_OK(result);
        stop_runtime(rt);
    }
}

/* ---- two forks and their task ---- */

#define LINES 100

/* Each end says one byte, and waits for the other's. */
static int talks(void *arg)
{
    filch_tcp *end = arg;

    for (int i = 0; i < LINES; i++) {
        char byte = (char)i;

        T_OK(filch_tcp_write_all(end, &byte, 1, NULL, T_LIMIT));
        T_IS((int)filch_tcp_read(end, &byte, 1, T_LIMIT), 1);
        T_CHECK(byte == (char)i);
    }
    return LINES;
}

/* The fork that is joined first waits for the other one, which nobody joins yet. */
static int both_ends_are_forks(void *arg)
{
    filch_forked first, second;
    struct tcp_pair pair;

    (void)arg;
    connect_pair(&pair);
    T_OK(filch_fork(&first, talks, pair.server));
    T_OK(filch_fork(&second, talks, pair.client));
    T_IS(filch_join(&second), LINES);
    T_IS(filch_join(&first), LINES);
    close_pair(&pair);
    return 0;
}

/* The task itself waits in a read, with a private fork that has all the bytes. */
static int one_end_is_a_fork(void *arg)
{
    filch_forked fork;
    struct tcp_pair pair;

    (void)arg;
    connect_pair(&pair);
    T_OK(filch_fork(&fork, talks, pair.client));
    T_IS(talks(pair.server), LINES);
    T_IS(filch_join(&fork), LINES);
    close_pair(&pair);
    return 0;
}

Test(fork_io, forks_of_a_task_talk_to_each_other)
{
    run_both(both_ends_are_forks);
}

Test(fork_io, a_task_that_reads_what_its_fork_writes)
{
    run_both(one_end_is_a_fork);
}

/* ---- a tree ---- */

#define LEAVES 32

struct tree {
    struct tcp_pair pair[LEAVES];
    filch_file *file;
    filch_mutex mutex;
    unsigned ended; /* under the mutex */
};

FILCH_TASK2(int, says, filch_tcp *, end, int, what)
{
    T_OK(filch_tcp_write_all(end, &what, sizeof what, NULL, T_LIMIT));
    return 0;
}

FILCH_TASK2(int, leaf, struct tree *, tree, int, i)
{
    FILCH_FORKED(says) said;
    int heard = -1;

    FILCH_FORK(says, &said, tree->pair[i].client, i);
    T_OK(filch_tcp_read_exact(tree->pair[i].server, &heard, sizeof heard, NULL, T_LIMIT));
    T_IS(heard, i);
    T_IS(filch_file_pwrite(tree->file, &heard, sizeof heard, (int64_t)i * (int64_t)sizeof heard,
                           T_LIMIT),
         sizeof heard);
    T_OK(filch_sleep(filch_after(20 * FILCH_MICROSECOND)));
    T_OK(filch_mutex_lock(&tree->mutex, T_LIMIT));
    tree->ended++;
    filch_task_yield(); /* with the lock */
    T_OK(filch_mutex_unlock(&tree->mutex));
    T_OK(FILCH_JOIN(says, &said));
    return heard;
}

FILCH_TASK3(int, branch, struct tree *, tree, int, first, int, n)
{
    FILCH_FORKED(branch) left;
    int sum;

    if (n == 1)
        return FILCH_CALL(leaf, tree, first);
    FILCH_FORK(branch, &left, tree, first, n / 2);
    sum = FILCH_CALL(branch, tree, first + n / 2, n - n / 2);
    return sum + FILCH_JOIN(branch, &left);
}

static int checks_a_tree(void *arg)
{
    struct tree tree = {.ended = 0};
    int written[LEAVES];

    (void)arg;
    filch_mutex_init(&tree.mutex);
    T_OK(filch_file_temp("/tmp", &tree.file, T_LIMIT));
    for (int i = 0; i < LEAVES; i++)
        connect_pair(&tree.pair[i]);
    T_IS(branch(&tree, 0, LEAVES), LEAVES * (LEAVES - 1) / 2);
    T_CHECK(tree.ended == LEAVES);
    T_IS(filch_file_pread(tree.file, written, sizeof written, 0, T_LIMIT), sizeof written);
    for (int i = 0; i < LEAVES; i++) {
        T_IS(written[i], i);
        close_pair(&tree.pair[i]);
    }
    T_OK(filch_file_close(tree.file));
    filch_mutex_fini(&tree.mutex);
    return 0;
}

Test(fork_io, leaves_of_a_tree_do_io_sleep_and_lock)
{
    run_both(checks_a_tree);
}

/* ---- a request to end ---- */

static int reads_for_ever(void *arg)
{
    char byte;

    return (int)filch_tcp_read(arg, &byte, 1, FILCH_NEVER);
}

struct reading {
    struct tcp_pair pair;
    atomic_bool begun;
};

static int joins_a_reader(void *arg)
{
    struct reading *reading = arg;
    filch_forked fork;

    T_OK(filch_fork(&fork, reads_for_ever, reading->pair.server));
    atomic_store(&reading->begun, true);
    T_IS(filch_join(&fork), -ECANCELED);
    return 0;
}

static int cancels_a_reader(void *arg)
{
    struct reading reading = {.begun = false};
    filch_task *task;

    (void)arg;
    connect_pair(&reading.pair);
    task = spawn(joins_a_reader, &reading);
    T_WAIT_UNTIL(atomic_load(&reading.begun));
    T_OK(filch_task_cancel(task));
    T_OK(join(task));
    close_pair(&reading.pair);
    return 0;
}

Test(fork_io, a_request_to_end_reaches_a_fork_in_a_read)
{
    run_both(cancels_a_reader);
}
