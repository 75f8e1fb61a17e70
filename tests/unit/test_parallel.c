/* Description: what <filch/parallel.h> promises, against the same done by one loop: with random
 * sizes and grains, alone and with chaos; errors and cancels that come in the middle; bodies that
 * wait. The seed is printed, and FILCH_TEST_SEED sets it. */
#include <errno.h>
#include <math.h>
#include <signal.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(parallel, .timeout = 60);

#ifdef T_SANITIZED
enum { ROUNDS = 12, MOST = 3000 };
#else
enum { ROUNDS = 30, MOST = 20000 };
#endif

/* With chaos each part is given away at once. */
static void run_in(bool chaos, filch_fn fn, void *arg)
{
    filch_runtime_opts opts = {.workers = test_workers(), .chaos_forks = chaos};
    filch_runtime *rt;
    int result = -1;

    opts.current_thread = test_without_threads();
    rt = test_start(&opts);
    T_OK(filch_runtime_block_on(rt, fn, arg, &result, FILCH_NEVER));
    T_OK(result);
    stop_runtime(rt);
}

static void run_both(filch_fn fn, void *arg)
{
    run_in(false, fn, arg);
    run_in(true, fn, arg);
}

static uint32_t seed(void)
{
    const char *text = getenv("FILCH_TEST_SEED");
    uint32_t number = text ? (uint32_t)strtoul(text, NULL, 10) : (uint32_t)filch_now() | 1;

    fprintf(stderr, "FILCH_TEST_SEED=%u\n", number);
    return number;
}

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* Below @most; often small, at times large. */
static size_t random_size(uint32_t *state, size_t most)
{
    unsigned kind = next_random(state) % 4;
    size_t limit = kind == 0 ? 4 : kind == 1 ? 100 : most;

    return next_random(state) % (limit < most ? limit : most);
}

static filch_parallel_opts random_opts(uint32_t *state)
{
    filch_parallel_opts opts = {.grain = random_size(state, 500)};

    opts.repeatable = next_random(state) % 2;
    return opts;
}

/* ---- for ---- */

struct marks {
    atomic_uchar mark[MOST];
};

FILCH_EACH(add_mark, struct marks *, marks, i)
{
    atomic_fetch_add(&marks->mark[i], 1);
    return 0;
}

static int check_for(void *arg)
{
    struct marks *marks = calloc(1, sizeof *marks);
    uint32_t random = seed();

    (void)arg;
    T_CHECK(marks != NULL);
    for (int round = 1; round <= ROUNDS; round++) {
        size_t begin = random_size(&random, MOST), end = begin + random_size(&random, MOST - begin);
        filch_parallel_opts opts = random_opts(&random);

        memset(marks, 0, sizeof *marks);
        T_OK(filch_parallel_for(begin, end, add_mark, marks, &opts));
        for (size_t i = 0; i < MOST; i++)
            T_IS(marks->mark[i], i >= begin && i < end);
    }
    free(marks);
    return 0;
}

Test(parallel, a_loop_does_each_number_once)
{
    run_both(check_for, NULL);
}

static int count_pieces(void *arg, size_t begin, size_t end)
{
    T_CHECK(end > begin);
    T_CHECK(end - begin <= 7);
    atomic_fetch_add((atomic_int *)arg, (int)(end - begin));
    return 0;
}

static int check_pieces(void *arg)
{
    atomic_int count = 0;

    (void)arg;
    T_OK(filch_parallel_for(0, 1000, count_pieces, &count, &(filch_parallel_opts){.grain = 7}));
    T_IS(count, 1000);
    T_OK(filch_parallel_for(5, 5, count_pieces, &count, NULL));
    T_OK(filch_parallel_for(SIZE_MAX - 3, SIZE_MAX, count_pieces, &count, NULL));
    T_IS(count, 1003);
    return 0;
}

Test(parallel, pieces_have_the_size_that_was_asked_for)
{
    run_both(check_pieces, NULL);
}

FILCH_EACH(nested_row, struct marks *, marks, row)
{
    (void)row;
    return filch_parallel_for(0, 50, add_mark, marks, &(filch_parallel_opts){.grain = 3});
}

static int check_nested(void *arg)
{
    struct marks *marks = calloc(1, sizeof *marks);

    (void)arg;
    T_CHECK(marks != NULL);
    T_OK(filch_parallel_for(0, 40, nested_row, marks, NULL));
    for (int i = 0; i < 50; i++)
        T_IS(marks->mark[i], 40);
    free(marks);
    return 0;
}

Test(parallel, loops_nest)
{
    run_both(check_nested, NULL);
}

FILCH_TASK2(int, fork_loops, int, depth, struct marks *, marks)
{
    FILCH_FORKED(fork_loops) half;

    if (depth == 0)
        return filch_parallel_for(0, 20, add_mark, marks, NULL);
    FILCH_FORK(fork_loops, &half, depth - 1, marks);
    T_OK(FILCH_CALL(fork_loops, depth - 1, marks));
    return FILCH_JOIN(fork_loops, &half);
}

static int check_fork_loops(void *arg)
{
    struct marks *marks = calloc(1, sizeof *marks);

    (void)arg;
    T_CHECK(marks != NULL);
    T_OK(fork_loops(5, marks));
    for (int i = 0; i < 20; i++)
        T_IS(marks->mark[i], 32);
    free(marks);
    return 0;
}

Test(parallel, loops_in_forks)
{
    run_both(check_fork_loops, NULL);
}

static int no_op(void *arg)
{
    (void)arg;
    return 1;
}

/* No place is left for forks: the loop goes on alone. */
static int check_full(void *arg)
{
    enum { FORKS = 1100 };
    filch_forked *forked = calloc(FORKS, sizeof *forked);
    atomic_int count = 0;

    (void)arg;
    T_CHECK(forked != NULL);
    for (int i = 0; i < FORKS; i++)
        T_OK(filch_fork(&forked[i], no_op, NULL));
    T_OK(filch_parallel_for(0, 1000, count_pieces, &count, &(filch_parallel_opts){.grain = 7}));
    T_IS(count, 1000);
    for (int i = FORKS - 1; i >= 0; i--)
        T_IS(filch_join(&forked[i]), 1);
    free(forked);
    return 0;
}

Test(parallel, without_a_place_for_forks)
{
    run_both(check_full, NULL);
}

/* ---- bodies that wait ---- */

/* Each waits until all have begun. */
FILCH_EACH(meet, filch_barrier *, barrier, i)
{
    int r = filch_barrier_wait(barrier, T_LIMIT);

    (void)i;
    return r < 0 ? r : 0;
}

static int check_meeting(void *arg)
{
    filch_barrier barrier = FILCH_BARRIER_INIT(12);

    (void)arg;
    T_OK(filch_parallel_for(0, 12, meet, &barrier, &(filch_parallel_opts){.grain = 1}));
    filch_barrier_fini(&barrier);
    return 0;
}

Test(parallel, a_body_that_waits_lets_the_rest_begin)
{
    run_both(check_meeting, NULL);
}

struct locked {
    filch_mutex mutex;
    long value;
};

FILCH_EACH(add_locked, struct locked *, locked, i)
{
    T_OK(filch_mutex_lock(&locked->mutex, FILCH_NEVER));
    locked->value += (long)i;
    if (i % 13 == 0)
        filch_task_yield();
    if (i % 29 == 0)
        T_OK(filch_sleep(1000));
    return filch_mutex_unlock(&locked->mutex);
}

static int check_locked(void *arg)
{
    struct locked locked = {.value = 0};

    (void)arg;
    filch_mutex_init(&locked.mutex);
    T_OK(filch_parallel_for(0, 300, add_locked, &locked, NULL));
    T_IS(locked.value, 300 * 299 / 2);
    return 0;
}

Test(parallel, bodies_lock_sleep_and_yield)
{
    run_both(check_locked, NULL);
}

/* ---- the end comes early ---- */

struct failing {
    size_t at;
    atomic_size_t done;
    atomic_int running;
};

FILCH_EACH(fail_at, struct failing *, failing, i)
{
    atomic_fetch_add(&failing->running, 1);
    atomic_fetch_add(&failing->done, 1);
    if (i % 16 == 0)
        filch_task_yield();
    atomic_fetch_sub(&failing->running, 1);
    return i == failing->at ? -EILSEQ : 0;
}

static int check_errors(void *arg)
{
    uint32_t random = seed();

    (void)arg;
    for (int round = 0; round < ROUNDS; round++) {
        struct failing failing = {.at = next_random(&random) % 2000};
        filch_parallel_opts opts = {.grain = next_random(&random) % 4};

        T_IS(filch_parallel_for(0, 2000, fail_at, &failing, &opts), -EILSEQ);
        T_IS(failing.running, 0);
        T_CHECK(failing.done <= 2000);
    }
    return 0;
}

Test(parallel, an_error_ends_the_loop_and_nobody_goes_on)
{
    run_both(check_errors, NULL);
}

static int fail_at_once(void *arg, size_t begin, size_t end)
{
    atomic_fetch_add((atomic_size_t *)arg, end - begin);
    return -EILSEQ;
}

static int check_early_error(void *arg)
{
    atomic_size_t done = 0;

    (void)arg;
    T_IS(filch_parallel_for(0, SIZE_MAX, fail_at_once, &done, &(filch_parallel_opts){.grain = 1}),
         -EILSEQ);
    T_CHECK(done < 1000);
    return 0;
}

Test(parallel, what_has_not_begun_is_left_out)
{
    run_both(check_early_error, NULL);
}

struct endless {
    filch_task *task;
    atomic_size_t done;
    atomic_int running;
};

FILCH_EACH(go_on, struct endless *, endless, i)
{
    atomic_fetch_add(&endless->running, 1);
    if (atomic_fetch_add(&endless->done, 1) == 500)
        T_OK(filch_task_cancel(endless->task));
    if (i % 64 == 0)
        filch_task_yield();
    atomic_fetch_sub(&endless->running, 1);
    return 0;
}

static int loop_for_ever(void *arg)
{
    struct endless *endless = arg;

    endless->task = filch_task_self();
    T_IS(filch_parallel_for(0, SIZE_MAX, go_on, endless, NULL), -ECANCELED);
    T_IS(endless->running, 0);
    T_IS(filch_parallel_for(0, 10, go_on, endless, NULL), -ECANCELED);
    FILCH_SHIELD(FILCH_NEVER)
    T_OK(filch_parallel_for(0, 10, add_mark, &(struct marks){0}, NULL));
    return 0;
}

static int check_cancel(void *arg)
{
    struct endless endless = {0};

    (void)arg;
    return join(spawn(loop_for_ever, &endless));
}

Test(parallel, a_cancel_is_seen_between_two_pieces)
{
    run_both(check_cancel, NULL);
}

FILCH_EACH(count_up, atomic_size_t *, count, i)
{
    (void)i;
    atomic_fetch_add(count, 1);
    return 0;
}

static int check_deadline(void *arg)
{
    atomic_size_t count = 0;

    (void)arg;
    FILCH_DEADLINE(filch_after(FILCH_MILLISECOND))
    T_IS(filch_parallel_for(0, SIZE_MAX, count_up, &count, NULL), -ECANCELED);
    return filch_parallel_for(0, 100, count_up, &count, NULL);
}

Test(parallel, a_deadline_ends_a_loop)
{
    run_both(check_deadline, NULL);
}

/* On all workers nothing but a loop: a task that was ready before still has its turn. */
static int set_flag(void *arg)
{
    atomic_store((atomic_bool *)arg, true);
    return 0;
}

FILCH_EACH(until_flag, atomic_bool *, flag, i)
{
    (void)i;
    return atomic_load(flag) ? -EINTR : 0;
}

static int check_serving(void *arg)
{
    atomic_bool flag = false;
    filch_task *task = spawn(set_flag, &flag);

    (void)arg;
    T_IS(filch_parallel_for(0, SIZE_MAX, until_flag, &flag, NULL), -EINTR);
    return join(task);
}

Test(parallel, others_have_their_turn_beside_a_loop)
{
    run_both(check_serving, NULL);
}

/* On one worker, while a loop computes. */
static int sleep_ten_times(void *arg)
{
    for (int i = 0; i < 10; i++)
        T_OK(filch_sleep(filch_after(FILCH_MILLISECOND)));
    return set_flag(arg);
}

static int check_turns(void *arg)
{
    filch_runtime *rt = filch_runtime_self();
    filch_stats before, after;
    atomic_bool flag = false;
    filch_task *task = spawn(sleep_ten_times, &flag);

    (void)arg;
    T_OK(filch_runtime_stats(rt, &before));
    T_IS(filch_parallel_for(0, SIZE_MAX, until_flag, &flag, NULL), -EINTR);
    T_OK(filch_runtime_stats(rt, &after));
    T_IS(after.forks_shared, before.forks_shared);
    /* Two turns to a millisecond, and the sleeper's; not 32 until somebody looks at the time. */
    T_CHECK(after.polls - before.polls < 150);
    return join(task);
}

Test(parallel, a_loop_yields_without_giving_its_pieces_away_and_timers_fire)
{
    /* A spare worker, called in for one that the machine let stand still, would ask for pieces. */
    filch_runtime_opts opts = {.workers = 1, .spare_workers = FILCH_NO_SPARES};
    filch_runtime *rt;
    int result = -1;

    if (test_in_chaos()) /* pieces are given away all the time, and a loop without end fills queues
                          */
        return;
    opts.current_thread = test_without_threads();
    rt = test_start(&opts);
    T_OK(filch_runtime_block_on(rt, check_turns, NULL, &result, FILCH_NEVER));
    T_OK(result);
    stop_runtime(rt);
}

/* ---- reduce ---- */

struct series {
    size_t count;
    uint32_t number[MOST];
};

static struct series *make_series(uint32_t *random, size_t count)
{
    struct series *series = malloc(sizeof *series);

    T_CHECK(series != NULL);
    series->count = count;
    for (size_t i = 0; i < count; i++)
        series->number[i] = next_random(random);
    return series;
}

/* Not commutative: x -> a x + b, one after the other. */
struct affine {
    uint32_t a, b;
};

static void then(struct affine *left, const struct affine *right)
{
    *left = (struct affine){left->a * right->a, left->b * right->a + right->b};
}

static const struct affine identity = {1, 0};

FILCH_FOLD(fold_affine, struct affine, value, const struct series *, series, i)
{
    then(value, &(struct affine){series->number[i], (uint32_t)i});
    return 0;
}

FILCH_COMBINE(combine_affine, struct affine, left, right)
{
    then(left, right);
}

static int check_reduce(void *arg)
{
    uint32_t random = seed();

    (void)arg;
    for (int round = 0; round < ROUNDS; round++) {
        struct series *series = make_series(&random, random_size(&random, MOST));
        filch_parallel_opts opts = random_opts(&random);
        struct affine got = {0, 0}, want = identity;

        T_OK(filch_parallel_reduce(0, series->count, sizeof got, &identity, fold_affine,
                                   combine_affine, series, &opts, &got));
        T_OK(fold_affine(series, 0, series->count, &want));
        T_IS(got.a, want.a);
        T_IS(got.b, want.b);
        free(series);
    }
    return 0;
}

Test(parallel, reductions_keep_the_order)
{
    run_both(check_reduce, NULL);
}

FILCH_FOLD(add_inverse, double, sum, void *, arg, i)
{
    (void)arg;
    *sum += 1.0 / (double)(i + 1);
    return 0;
}

FILCH_COMBINE(add_double, double, left, right)
{
    *left += *right;
}

static double first_sum;

static int check_repeatable(void *arg)
{
    const double zero = 0;
    double sum = -1;

    (void)arg;
    for (int i = 0; i < 5; i++) {
        T_OK(filch_parallel_reduce(0, MOST, sizeof sum, &zero, add_inverse, add_double, NULL,
                                   &(filch_parallel_opts){.repeatable = true}, &sum));
        if (first_sum == 0)
            first_sum = sum;
        T_CHECK(memcmp(&sum, &first_sum, sizeof sum) == 0);
        T_CHECK(fabs(sum - log(MOST)) < 1);
    }
    return 0;
}

Test(parallel, repeatable_sums_are_the_same_to_the_last_bit)
{
    run_both(check_repeatable, NULL);
}

FILCH_FOLD(count_or_fail, int, count, const size_t *, at, i)
{
    ++*count;
    return i == *at ? -EILSEQ : 0;
}

FILCH_COMBINE(add_int, int, left, right)
{
    *left += *right;
}

static int check_reduce_error(void *arg)
{
    filch_parallel_opts opts = {0};
    const int zero = 0;
    size_t at = 100;
    int value = 5;

    (void)arg;
    for (int i = 0; i < 2; i++) {
        opts.repeatable = i;
        T_IS(filch_parallel_reduce(0, 200, sizeof value, &zero, count_or_fail, add_int, &at, &opts,
                                   &value),
             -EILSEQ);
        T_IS(value, 5);
    }
    return 0;
}

Test(parallel, a_value_is_untouched_after_an_error)
{
    run_both(check_reduce_error, NULL);
}

/* ---- scan ---- */

static void scan_alone(const struct affine *in, struct affine *out, size_t count, bool exclusive)
{
    struct affine sum = identity;

    for (size_t i = 0; i < count; i++) {
        if (exclusive)
            out[i] = sum;
        then(&sum, &in[i]);
        if (!exclusive)
            out[i] = sum;
    }
}

static int check_scan(void *arg)
{
    struct affine *in = malloc(MOST * sizeof *in), *want = malloc(MOST * sizeof *in);
    struct affine *got = malloc(MOST * sizeof *in);
    uint32_t random = seed();

    (void)arg;
    T_CHECK(in && want && got);
    for (int round = 0; round < ROUNDS; round++) {
        size_t count = random_size(&random, MOST);
        bool exclusive = round % 2, in_place = round % 4 / 2;
        filch_parallel_opts opts = random_opts(&random);

        for (size_t i = 0; i < count; i++)
            in[i] = (struct affine){next_random(&random), next_random(&random)};
        scan_alone(in, want, count, exclusive);
        if (in_place)
            memcpy(got, in, count * sizeof *in);
        T_OK((exclusive ? filch_parallel_scan_exclusive : filch_parallel_scan)(
            in_place ? got : in, got, count, sizeof *in, &identity, combine_affine, NULL, &opts));
        T_CHECK(memcmp(got, want, count * sizeof *in) == 0);
    }
    free(in);
    free(want);
    free(got);
    return 0;
}

Test(parallel, scans_inclusive_exclusive_and_in_place)
{
    run_both(check_scan, NULL);
}

/* ---- map, invoke ---- */

static int square(void *arg, const void *in, void *out)
{
    uint32_t number;
    uint64_t result;

    memcpy(&number, in, sizeof number);
    result = (uint64_t)number * number;
    memcpy(out, &result, sizeof result);
    return arg && number == *(uint32_t *)arg ? -ERANGE : 0;
}

static int check_map(void *arg)
{
    uint32_t random = seed();

    (void)arg;
    for (int round = 0; round < ROUNDS / 4; round++) {
        size_t count = 1 + random_size(&random, MOST - 1);
        struct series *series = make_series(&random, count);
        filch_parallel_opts opts = random_opts(&random);
        uint64_t *out = calloc(count, sizeof *out);

        T_CHECK(out != NULL);
        T_OK(filch_parallel_map(series->number, 4, out, 8, count, square, NULL, &opts));
        for (size_t i = 0; i < count; i++)
            T_CHECK(out[i] == (uint64_t)series->number[i] * series->number[i]);
        T_IS(filch_parallel_map(series->number, 4, out, 8, count, square,
                                &series->number[count / 2], &opts),
             -ERANGE);
        free(out);
        free(series);
    }
    return 0;
}

Test(parallel, maps_from_one_array_to_another)
{
    run_both(check_map, NULL);
}

static int give_number(void *arg)
{
    *(int *)arg += 1;
    return 3;
}

static int fail(void *arg)
{
    (void)arg;
    return -EDOM;
}

static int send_one(void *arg)
{
    int number = 7;

    return filch_chan_send(arg, &number, T_LIMIT);
}

static int receive_one(void *arg)
{
    int number = 0, r = filch_chan_recv(arg, &number, T_LIMIT);

    return r < 0 ? r : number == 7 ? 0 : -EPROTO;
}

static int check_invoke(void *arg)
{
    int a = 0, b = 0, c = 0;
    filch_chan *chan;

    (void)arg;
    T_OK(FILCH_PARALLEL_INVOKE({give_number, &a}, {give_number, &b}, {give_number, &c}));
    T_IS(a + b + c, 3);
    T_IS(FILCH_PARALLEL_INVOKE({give_number, &a}, {fail, NULL}), -EDOM);
    T_CHECK(a == 2 || a == 1); /* a helper may have failed before the first had begun */
    T_OK(filch_parallel_invoke(NULL, 0));
    /* One waits for another. */
    T_OK(filch_chan_new(sizeof(int), 1, &chan));
    T_OK(FILCH_PARALLEL_INVOKE({receive_one, chan}, {receive_one, chan}, {send_one, chan},
                               {send_one, chan}));
    filch_chan_unref(chan);
    return 0;
}

Test(parallel, functions_run_at_once_and_may_wait_for_each_other)
{
    run_both(check_invoke, NULL);
}

/* ---- sort ---- */

struct item {
    uint32_t key;
    uint32_t place; /* in the beginning */
    char more[24];
};

static int by_key(const void *a, const void *b, void *arg)
{
    uint32_t x, y;

    (void)arg;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

static void fill(struct item *items, size_t count, uint32_t keys, uint32_t *random)
{
    for (size_t i = 0; i < count; i++) {
        items[i] = (struct item){.key = next_random(random) % keys, .place = (uint32_t)i};
        snprintf(items[i].more, sizeof items[i].more, "%u", items[i].key ^ items[i].place);
    }
}

static void check_order(const struct item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char more[24];

        snprintf(more, sizeof more, "%u", items[i].key ^ items[i].place);
        T_CHECK(strcmp(more, items[i].more) == 0);
        if (i == 0)
            continue;
        T_CHECK(items[i - 1].key <= items[i].key);
        T_CHECK(items[i - 1].key < items[i].key || items[i - 1].place < items[i].place);
    }
}

static int check_sort(void *arg)
{
    struct item *items = malloc(MOST * sizeof *items);
    uint32_t random = seed();

    (void)arg;
    T_CHECK(items != NULL);
    for (int round = 0; round < ROUNDS; round++) {
        size_t count = random_size(&random, MOST);
        filch_parallel_opts opts = random_opts(&random);

        fill(items, count, round % 2 ? 10 : UINT32_MAX, &random);
        T_OK(filch_parallel_sort(items, count, sizeof *items, by_key, NULL, &opts));
        check_order(items, count);
        T_OK(filch_parallel_sort(items, count, sizeof *items, by_key, NULL, &opts));
        check_order(items, count);
    }
    free(items);
    return 0;
}

Test(parallel, sorts_and_keeps_equal_items_in_order)
{
    run_both(check_sort, NULL);
}

static int compare_numbers(const void *a, const void *b)
{
    return by_key(a, b, NULL);
}

static int check_sort_numbers(void *arg)
{
    uint32_t random = seed();

    (void)arg;
    for (int round = 0; round < ROUNDS / 4; round++) {
        struct series *series = make_series(&random, MOST), *same = malloc(sizeof *same);

        T_CHECK(same != NULL);
        memcpy(same, series, sizeof *same);
        T_OK(filch_parallel_sort(series->number, MOST, 4, by_key, NULL, NULL));
        qsort(same->number, MOST, 4, compare_numbers);
        T_CHECK(memcmp(series->number, same->number, sizeof same->number) == 0);
        free(same);
        free(series);
    }
    return 0;
}

Test(parallel, sorts_numbers_as_qsort_does)
{
    run_both(check_sort_numbers, NULL);
}

struct sabotage {
    filch_task *task;
    atomic_int left;
};

static int by_key_and_cancel(const void *a, const void *b, void *arg)
{
    struct sabotage *sabotage = arg;

    if (atomic_fetch_sub(&sabotage->left, 1) == 0)
        T_OK(filch_task_cancel(sabotage->task));
    return by_key(a, b, NULL);
}

static int sort_and_be_cancelled(void *arg)
{
    struct item *items = malloc(MOST * sizeof *items);
    atomic_uchar *seen = calloc(MOST, 1);
    uint32_t random = (uint32_t)(uintptr_t)arg;
    struct sabotage sabotage = {.task = filch_task_self(), .left = (int)(random % (MOST * 10))};

    T_CHECK(items && seen);
    fill(items, MOST, 1000, &random);
    T_IS(filch_parallel_sort(items, MOST, sizeof *items, by_key_and_cancel, &sabotage,
                             &(filch_parallel_opts){.grain = 64}),
         -ECANCELED);
    for (size_t i = 0; i < MOST; i++) {
        T_CHECK(items[i].place < MOST);
        T_IS(atomic_fetch_add(&seen[items[i].place], 1), 0);
    }
    free(items);
    free(seen);
    return 0;
}

static int check_sort_cancel(void *arg)
{
    uint32_t random = seed();

    (void)arg;
    for (int round = 0; round < ROUNDS / 2; round++)
        T_OK(join(spawn(sort_and_be_cancelled, (void *)(uintptr_t)(next_random(&random) | 1))));
    return 0;
}

Test(parallel, a_sort_that_is_cancelled_loses_no_item)
{
    run_both(check_sort_cancel, NULL);
}

static int contradict(const void *a, const void *b, void *arg)
{
    (void)a;
    (void)b;
    (void)arg;
    return 1;
}

static int check_contradiction(void *arg)
{
    struct item *items = malloc(MOST * sizeof *items);
    uint32_t random = seed();
    uint64_t sum = 0;

    (void)arg;
    T_CHECK(items != NULL);
    fill(items, MOST, 1000, &random);
    T_OK(filch_parallel_sort(items, MOST, sizeof *items, contradict, NULL, NULL));
    for (size_t i = 0; i < MOST; i++)
        sum += items[i].place;
    T_CHECK(sum == (uint64_t)MOST * (MOST - 1) / 2);
    free(items);
    return 0;
}

Test(parallel, an_order_that_contradicts_itself_does_no_harm)
{
    run_both(check_contradiction, NULL);
}

/* ---- elsewhere ---- */

Test(parallel, from_a_plain_thread_by_block_on)
{
    struct marks *marks = calloc(1, sizeof *marks);

    T_CHECK(marks != NULL);
    T_IS(filch_parallel_for(0, 10, add_mark, marks, NULL), -EPERM);
    run_in(false, check_pieces, NULL);
    T_IS(marks->mark[0], 0);
    free(marks);
}
