/* Sorting: a merge sort on forks, whose merges are divided as well (public contract:
 * include/filch/parallel.h).
 *
 * There are two arrays, the caller's and a buffer of the same size, and each level of the recursion
 * goes from one to the other: both halves are sorted into the array where the result is not to be,
 * and are merged from there. So each level moves each item once.
 *
 *     base    [ 4 1 3 2 ]           sorted in place:
 *     buffer  [ . . . . ]           halves go to the buffer, and are merged back
 *
 * A merge is divided at the middle of the longer run: a binary search in the other one finds what
 * comes before it, and the two merges have nothing to do with each other.
 *
 * Stable: of equal items those of the left run come first, in the merge and in the search.
 *
 * Cancellation: every step is still done, but for its comparisons: what would be sorted or merged
 * is copied as it is. So the array has all its items at any time that the caller can see. An order
 * that contradicts itself gives some order, too, and does no harm.
 *
 * What does not fork, below a grain, is a loop of its own: insertion into short runs, then merges.
 */
#include "sync/parallel.h"

#include <stdlib.h>
#include <string.h>

#include <filch/fork.h>

#include "runtime/fork/fork.h"

#define SORT_GRAIN 1024
#define SHORT_RUN 12

struct sort {
    unsigned char *base, *buffer;
    size_t bytes; /* of an item */
    size_t grain;
    int (*compare)(const void *a, const void *b, void *arg);
    void *arg;
    filch_atomic_u32 error; /* as struct filch__loop's */
};

/* Calls a function with the size of the items as a number that the compiler knows, where it is one
 * that sorting is mostly about. */
#define WITH_SIZE(size, fn, ...)                                                                   \
    do {                                                                                           \
        switch (size) {                                                                            \
        case 4:                                                                                    \
            fn(__VA_ARGS__, 4);                                                                    \
            break;                                                                                 \
        case 8:                                                                                    \
            fn(__VA_ARGS__, 8);                                                                    \
            break;                                                                                 \
        case 16:                                                                                   \
            fn(__VA_ARGS__, 16);                                                                   \
            break;                                                                                 \
        default:                                                                                   \
            fn(__VA_ARGS__, size);                                                                 \
        }                                                                                          \
    } while (0)

#define INLINE static inline __attribute__((always_inline))

static int order_of(const struct sort *sort, const unsigned char *a, const unsigned char *b)
{
    return sort->compare(a, b, sort->arg);
}

/* ---- one after the other ---- */

/* From @from to @run, where each item moves those that come behind it. */
INLINE void insert_all(const struct sort *sort, const unsigned char *from, unsigned char *run,
                       size_t count, size_t bytes)
{
    for (size_t i = 0; i < count; i++) {
        const unsigned char *item = from + i * bytes;
        size_t at = i;

        for (; at > 0 && order_of(sort, run + (at - 1) * bytes, item) > 0; at--)
            memcpy(run + at * bytes, run + (at - 1) * bytes, bytes);
        memcpy(run + at * bytes, item, bytes);
    }
}

/* Until one of the runs is used up. */
INLINE void merge_both(const struct sort *sort, const unsigned char **a, const unsigned char *a_end,
                       const unsigned char **b, const unsigned char *b_end, unsigned char **to,
                       size_t bytes)
{
    const unsigned char *x = *a, *y = *b;
    unsigned char *out = *to;

    while (x < a_end && y < b_end) {
        if (order_of(sort, x, y) <= 0) {
            memcpy(out, x, bytes);
            x += bytes;
        } else {
            memcpy(out, y, bytes);
            y += bytes;
        }
        out += bytes;
    }
    *a = x;
    *b = y;
    *to = out;
}

static void sort_short(const struct sort *sort, size_t begin, size_t count, bool to_buffer)
{
    unsigned char *from = sort->base + begin * sort->bytes;
    unsigned char *run = sort->buffer + begin * sort->bytes;

    WITH_SIZE(sort->bytes, insert_all, sort, from, run, count);
    if (!to_buffer)
        memcpy(from, run, count * sort->bytes);
}

static void merge_runs(const struct sort *sort, const unsigned char *a, size_t a_count,
                       const unsigned char *b, size_t b_count, unsigned char *to)
{
    const unsigned char *a_end = a + a_count * sort->bytes, *b_end = b + b_count * sort->bytes;

    /* Many arrays are partly in order. */
    if (a < a_end && b < b_end && order_of(sort, a_end - sort->bytes, b) > 0)
        WITH_SIZE(sort->bytes, merge_both, sort, &a, a_end, &b, b_end, &to);
    memcpy(to, a, (size_t)(a_end - a));
    memcpy(to + (a_end - a), b, (size_t)(b_end - b));
}

static unsigned char *source(const struct sort *sort, bool to_buffer, size_t begin)
{
    return (to_buffer ? sort->base : sort->buffer) + begin * sort->bytes;
}

static unsigned char *target(const struct sort *sort, bool to_buffer, size_t begin)
{
    return source(sort, !to_buffer, begin);
}

static void sort_alone(const struct sort *sort, size_t begin, size_t count, bool to_buffer)
{
    size_t half = count / 2;

    if (count <= SHORT_RUN) {
        sort_short(sort, begin, count, to_buffer);
        return;
    }
    sort_alone(sort, begin, half, !to_buffer);
    sort_alone(sort, begin + half, count - half, !to_buffer);
    merge_runs(sort, source(sort, to_buffer, begin), half, source(sort, to_buffer, begin + half),
               count - half, target(sort, to_buffer, begin));
}

/* ---- divided ---- */

/* Items of a run that come before @item; equal ones too, if @with_equal. */
static size_t count_before(const struct sort *sort, const unsigned char *run, size_t count,
                           const unsigned char *item, bool with_equal)
{
    size_t low = 0;

    while (count > 0) {
        size_t half = count / 2;
        int order = order_of(sort, run + (low + half) * sort->bytes, item);

        if (order < 0 || (order == 0 && with_equal)) {
            low += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return low;
}

FILCH_TASK6(int, merge, struct sort *, sort, const unsigned char *, a, size_t, a_count,
            const unsigned char *, b, size_t, b_count, unsigned char *, to)
{
    FILCH_FORKED(merge) upper;
    size_t bytes = sort->bytes, a_low, b_low;

    if (filch__loop_is_over(&sort->error)) {
        memcpy(to, a, a_count * bytes);
        memcpy(to + a_count * bytes, b, b_count * bytes);
        return 0;
    }
    if (a_count + b_count <= sort->grain) {
        filch__coop();
        merge_runs(sort, a, a_count, b, b_count, to);
        return 0;
    }
    if (a_count >= b_count) {
        a_low = a_count / 2;
        b_low = count_before(sort, b, b_count, a + a_low * bytes, false);
    } else {
        b_low = b_count / 2;
        a_low = count_before(sort, a, a_count, b + b_low * bytes, true);
    }
    FILCH_FORK(merge, &upper, sort, a + a_low * bytes, a_count - a_low, b + b_low * bytes,
               b_count - b_low, to + (a_low + b_low) * bytes);
    FILCH_CALL(merge, sort, a, a_low, b, b_low, to);
    return FILCH_JOIN(merge, &upper);
}

FILCH_TASK4(int, sort_range, struct sort *, sort, size_t, begin, size_t, count, bool, to_buffer)
{
    FILCH_FORKED(sort_range) upper;
    size_t half = count / 2;

    if (count <= sort->grain) {
        filch__coop();
        if (!filch__loop_is_over(&sort->error))
            sort_alone(sort, begin, count, to_buffer);
        else if (to_buffer)
            memcpy(target(sort, true, begin), source(sort, true, begin), count * sort->bytes);
        return 0;
    }
    FILCH_FORK(sort_range, &upper, sort, begin + half, count - half, !to_buffer);
    FILCH_CALL(sort_range, sort, begin, half, !to_buffer);
    FILCH_JOIN(sort_range, &upper);
    return FILCH_CALL(merge, sort, source(sort, to_buffer, begin), half,
                      source(sort, to_buffer, begin + half), count - half,
                      target(sort, to_buffer, begin));
}

int filch_parallel_sort(void *base, size_t count, size_t item_bytes,
                        int (*compare)(const void *a, const void *b, void *arg), void *arg,
                        const filch_parallel_opts *opts)
{
    size_t grain = filch__loop_grain(opts);
    struct sort sort = {.base = base, .bytes = item_bytes, .compare = compare, .arg = arg};

    if ((!base && count) || !item_bytes || !compare)
        return -EINVAL;
    if (!filch__fork_may())
        return -EPERM;
    if (count < 2)
        return 0;
    sort.grain = grain == 0 ? SORT_GRAIN : grain < 2 ? 2 : grain;
    filch_atomic_init(&sort.error, 0);
    sort.buffer = count <= SIZE_MAX / item_bytes ? malloc(count * item_bytes) : NULL;
    if (!sort.buffer)
        return -ENOMEM;
    sort_range(&sort, 0, count, false);
    free(sort.buffer);
    return -(int)filch_load_relaxed(&sort.error);
}
