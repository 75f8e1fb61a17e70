/* Fork and join, and what is made of it; beside each the same program without forks on one thread
 * (metric "serial"), and the CPU time that the forks took, over all workers ("cpu"). For fib also
 * what it takes on one worker, per fork and join ("ns_per_fork"), and how many times faster all of
 * them are ("speedup"). uts is the tree T1L, with --quick T1. */
#include "bench/bench.h"
#include "bench/peers/fork_work.h"

#include <stdlib.h>
#include <time.h>

static double ms_since(filch_time start)
{
    return (double)(filch_now() - start) / 1e6;
}

/* Of the whole process, all workers: beside what it takes serially, what forks cost, whatever else
 * the machine does. */
static double cpu_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

struct measure {
    filch_time start;
    double cpu;
};

static struct measure begin(void)
{
    return (struct measure){filch_now(), cpu_ms()};
}

static double end(const struct measure *since)
{
    double ms = ms_since(since->start);

    bench_also("cpu", "ms", cpu_ms() - since->cpu);
    return ms;
}

/* ---- fib: nothing but calls ---- */

FILCH_TASK1(long, fib, int, n)
{
    FILCH_FORKED(fib) left;
    long right;

    if (n < 2)
        return n;
    FILCH_FORK(fib, &left, n - 1);
    right = FILCH_CALL(fib, n - 2);
    return FILCH_JOIN(fib, &left) + right;
}

__attribute__((noinline)) static long fib_serial(int n)
{
    return n < 2 ? n : fib_serial(n - 1) + fib_serial(n - 2);
}

static int fib_is_right(void *arg)
{
    *(bool *)arg = fib(FIB_N) == FIB_RESULT;
    return 0;
}

static double fib_ms(filch_runtime *rt, bool *ok)
{
    filch_time start = filch_now();
    bool right = false;

    BENCH_OK(filch_runtime_block_on(rt, fib_is_right, &right, NULL, FILCH_NEVER));
    *ok = *ok && right;
    return ms_since(start);
}

/* The same on one worker, where nobody asks: what a fork and its join cost by themselves. */
static double fib_alone_ms(bool *ok)
{
    filch_runtime *rt;
    double ms;

    BENCH_OK(filch_runtime_start(&(filch_runtime_opts){.workers = 1}, &rt));
    ms = fib_ms(rt, ok);
    BENCH_OK(filch_runtime_shutdown(rt, FILCH_NEVER));
    return ms;
}

static bool run_fib(filch_runtime *rt, double *ret_value)
{
    struct measure forked = begin();
    double alone_ms;
    filch_time start;
    bool ok = true;

    (void)fib_ms(rt, &ok);
    *ret_value = end(&forked);
    alone_ms = fib_alone_ms(&ok);
    bench_also("ns_per_fork", "ns", alone_ms * 1e6 / FIB_FORKS);
    bench_also("speedup", "times", alone_ms / *ret_value);
    start = filch_now();
    ok = ok && fib_serial(FIB_N) == FIB_RESULT;
    bench_also("serial", "ms", ms_since(start));
    return ok;
}

/* ---- skynet: a tree of ten million leaves, ten to a node ---- */

FILCH_TASK2(int64_t, skynet, int64_t, number, int64_t, leaves)
{
    FILCH_FORKED(skynet) forks[SKYNET_WAYS];
    int64_t part = leaves / SKYNET_WAYS, sum;

    if (leaves == 1)
        return number;
    for (int i = 1; i < SKYNET_WAYS; i++)
        FILCH_FORK(skynet, &forks[i], number + i * part, part);
    sum = FILCH_CALL(skynet, number, part);
    for (int i = SKYNET_WAYS - 1; i > 0; i--)
        sum += FILCH_JOIN(skynet, &forks[i]);
    return sum;
}

__attribute__((noinline)) static int64_t skynet_serial(int64_t number, int64_t leaves)
{
    int64_t sum = 0;

    if (leaves == 1)
        return number;
    for (int i = 0; i < SKYNET_WAYS; i++)
        sum += skynet_serial(number + i * (leaves / SKYNET_WAYS), leaves / SKYNET_WAYS);
    return sum;
}

static bool run_skynet(filch_runtime *rt, double *ret_value)
{
    struct measure forked = begin();
    filch_time start;
    bool ok = skynet(0, SKYNET_LEAVES) == SKYNET_RESULT;

    (void)rt;
    *ret_value = end(&forked);
    start = filch_now();
    ok = ok && skynet_serial(0, SKYNET_LEAVES) == SKYNET_RESULT;
    bench_also("serial", "ms", ms_since(start));
    return ok;
}

/* ---- nqueens: a fork for each place that is free ---- */

struct board {
    char column[QUEENS];
};

FILCH_TASK2(int, queens, int, row, const struct board *, before)
{
    FILCH_FORKED(queens) forks[QUEENS];
    struct board boards[QUEENS], board = *before;
    int n = 0, found = 0;

    if (row == QUEENS)
        return 1;
    for (int i = 0; i < QUEENS; i++) {
        board.column[row] = (char)i;
        if (queens_fit(row, board.column)) {
            boards[n] = board;
            FILCH_FORK(queens, &forks[n], row + 1, &boards[n]);
            n++;
        }
    }
    while (n)
        found += FILCH_JOIN(queens, &forks[--n]);
    return found;
}

__attribute__((noinline)) static int queens_serial(int row, const struct board *before)
{
    struct board board = *before;
    int found = 0;

    if (row == QUEENS)
        return 1;
    for (int i = 0; i < QUEENS; i++) {
        board.column[row] = (char)i;
        if (queens_fit(row, board.column))
            found += queens_serial(row + 1, &board);
    }
    return found;
}

static bool run_nqueens(filch_runtime *rt, double *ret_value)
{
    struct board board = {{0}};
    struct measure forked = begin();
    filch_time start;
    bool ok = queens(0, &board) == QUEENS_SOLUTIONS;

    (void)rt;
    *ret_value = end(&forked);
    start = filch_now();
    ok = ok && queens_serial(0, &board) == QUEENS_SOLUTIONS;
    bench_also("serial", "ms", ms_since(start));
    return ok;
}

/* ---- matmul: eight products of quarters, four at a time ---- */

FILCH_TASK4(int, matmul, const float *, a, const float *, b, float *, c, int, n)
{
    FILCH_FORKED(matmul) forks[3];
    int h = n / 2;

    if (n == MATMUL_LEAF) {
        matmul_leaf(a, b, c);
        return 0;
    }
    for (int k = 0; k < 2; k++) {
        const float *left = a + k * h, *right = b + k * h * MATMUL_N;

        FILCH_FORK(matmul, &forks[0], left, right, c, h);
        FILCH_FORK(matmul, &forks[1], left, right + h, c + h, h);
        FILCH_FORK(matmul, &forks[2], left + h * MATMUL_N, right, c + h * MATMUL_N, h);
        FILCH_CALL(matmul, left + h * MATMUL_N, right + h, c + h * MATMUL_N + h, h);
        for (int i = 2; i >= 0; i--)
            FILCH_JOIN(matmul, &forks[i]);
    }
    return 0;
}

static void matmul_serial(const float *a, const float *b, float *c, int n)
{
    int h = n / 2;

    if (n == MATMUL_LEAF) {
        matmul_leaf(a, b, c);
        return;
    }
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 2; i++)
            for (int j = 0; j < 2; j++)
                matmul_serial(a + i * h * MATMUL_N + k * h, b + k * h * MATMUL_N + j * h,
                              c + i * h * MATMUL_N + j * h, h);
}

static bool run_matmul(filch_runtime *rt, double *ret_value)
{
    size_t n = (size_t)MATMUL_N * MATMUL_N;
    float *a = bench_alloc(3 * n * sizeof *a), *b = a + n, *c = b + n;
    struct measure forked;
    filch_time start;
    bool ok;

    (void)rt;
    matmul_fill(a, b, c);
    forked = begin();
    matmul(a, b, c, MATMUL_N);
    *ret_value = end(&forked);
    ok = matmul_is_right(a, b, c);
    matmul_fill(a, b, c);
    start = filch_now();
    matmul_serial(a, b, c, MATMUL_N);
    bench_also("serial", "ms", ms_since(start));
    ok = ok && matmul_is_right(a, b, c);
    free(a);
    return ok;
}

/* ---- uts: nobody knows how much is below a node ---- */

FILCH_TASK3(long, uts, const struct uts_tree *, tree, const struct uts_node *, node, int, depth)
{
    FILCH_FORKED(uts) forks[UTS_CHILDREN];
    struct uts_node child[UTS_CHILDREN];
    int n = uts_children(tree, node, depth);
    long sum = 1;

    for (int i = 0; i < n; i++) {
        child[i] = uts_child(node, i);
        FILCH_FORK(uts, &forks[i], tree, &child[i], depth + 1);
    }
    for (int i = n - 1; i >= 0; i--)
        sum += FILCH_JOIN(uts, &forks[i]);
    return sum;
}

static bool run_uts(filch_runtime *rt, double *ret_value)
{
    const struct uts_tree *tree = bench_quick ? &uts_t1 : &uts_t1l;
    struct uts_node root = uts_root(tree);
    struct measure forked = begin();
    filch_time start;
    bool ok = uts(tree, &root, 0) == tree->nodes;

    (void)rt;
    *ret_value = end(&forked);
    start = filch_now();
    ok = ok && uts_serial(tree, &root, 0) == tree->nodes;
    bench_also("serial", "ms", ms_since(start));
    return ok;
}

/* ---- reduce: a loop over numbers, cut into pieces by itself ---- */

static int add_mixed(void *arg, size_t begin, size_t end, void *value)
{
    (void)arg;
    *(uint64_t *)value += mixed_sum(begin, end);
    return 0;
}

FILCH_COMBINE(add_sums, uint64_t, left, right)
{
    *left += *right;
}

static bool run_reduce(filch_runtime *rt, double *ret_value)
{
    uint64_t zero = 0, sum = 1, serial;
    struct measure forked = begin();
    filch_time start;

    (void)rt;
    BENCH_OK(filch_parallel_reduce(0, REDUCE_ITEMS, sizeof sum, &zero, add_mixed, add_sums, NULL,
                                   NULL, &sum));
    *ret_value = end(&forked);
    start = filch_now();
    serial = mixed_sum(0, REDUCE_ITEMS);
    bench_also("serial", "ms", ms_since(start));
    return sum == serial;
}

/* ---- sort ---- */

static int compare_keys(const void *a, const void *b, void *arg)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    (void)arg;
    return (x > y) - (x < y);
}

static int compare_serial(const void *a, const void *b)
{
    return compare_keys(a, b, NULL);
}

static bool run_sort(filch_runtime *rt, double *ret_value)
{
    uint32_t *keys = bench_alloc(2 * SORT_ITEMS * sizeof *keys), *same = keys + SORT_ITEMS;
    struct measure forked;
    filch_time start;
    bool ok;

    (void)rt;
    sort_fill(keys);
    memcpy(same, keys, SORT_ITEMS * sizeof *keys);
    forked = begin();
    BENCH_OK(filch_parallel_sort(keys, SORT_ITEMS, sizeof *keys, compare_keys, NULL, NULL));
    *ret_value = end(&forked);
    start = filch_now();
    qsort(same, SORT_ITEMS, sizeof *same, compare_serial);
    bench_also("serial", "ms", ms_since(start));
    ok = sort_is_right(keys) && memcmp(keys, same, SORT_ITEMS * sizeof *keys) == 0;
    free(keys);
    return ok;
}

int main(int argc, char **argv)
{
    static const struct bench benches[] = {
        {"fib", "ms", run_fib, BENCH_OUTSIDE, NULL}, {"skynet", "ms", run_skynet, 0, NULL},
        {"nqueens", "ms", run_nqueens, 0, NULL},     {"matmul", "ms", run_matmul, 0, NULL},
        {"uts", "ms", run_uts, BENCH_COLD, NULL},    {"reduce", "ms", run_reduce, 0, NULL},
        {"sort", "ms", run_sort, 0, NULL},
    };

    return bench_main(argc, argv, benches, (int)(sizeof benches / sizeof benches[0]));
}
