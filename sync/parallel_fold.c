/* Reductions and scans, on loops (public contract: include/filch/parallel.h; read first:
 * sync/parallel.c).
 *
 * A plain reduction keeps a value for each part of a loop. A repeatable one cannot, as parts are
 * made when somebody asks: it has a value for each block of a fixed number of items, which are
 * combined in order at the end.
 *
 * A scan knows what comes before a block only when the block before is done. So a block is either
 * done at once, if its neighbour was, or only added up, and done in a second loop when all sums are
 * known:
 *
 *     one worker     done  done  done  done  done  done  done  done      nothing is read twice
 *     two            done  done  done  done | sum   sum   sum   sum      the second half twice
 *
 * For each block one of two words says which, written by who had the block, once, before the end of
 * the first loop. [scan-block] release after the block's value -> acquire by who has the next one.
 */
#include "sync/parallel.h"

#include <stdlib.h>
#include <string.h>

#define SCAN_BLOCK_LEAST 64

static bool is_value(size_t bytes, const void *identity, filch_combine_fn combine)
{
    return bytes > 0 && bytes <= FILCH_PARALLEL_VALUE_MAX && identity && combine;
}

/* ---- reductions ---- */

struct blocks {
    filch_fold_fn fold;
    void *arg;
    size_t begin, end; /* of the items */
    size_t block;      /* items in one */
    size_t bytes;
    const void *identity;
    unsigned char *value;
};

static int fold_blocks(void *arg, size_t begin, size_t end)
{
    struct blocks *all = arg;
    int r = 0;

    for (size_t i = begin; i < end && r >= 0; i++) {
        size_t from = all->begin + i * all->block;
        size_t to = all->end - from > all->block ? from + all->block : all->end;
        unsigned char *value = all->value + i * all->bytes;

        memcpy(value, all->identity, all->bytes);
        r = all->fold(all->arg, from, to, value);
    }
    return r;
}

static int reduce_repeatable(const struct filch__loop *loop, size_t begin, size_t end,
                             void *ret_value)
{
    size_t block = filch__loop_block(end - begin, loop->grain, 1);
    size_t count = (end - begin) / block + ((end - begin) % block != 0);
    struct blocks all = {.fold = loop->fold,
                         .arg = loop->arg,
                         .begin = begin,
                         .end = end,
                         .block = block,
                         .bytes = loop->value_bytes,
                         .identity = loop->identity};
    struct filch__loop outer = {.range = fold_blocks, .arg = &all};
    int r;

    all.value = calloc(count + 1, loop->value_bytes);
    if (!all.value)
        return -ENOMEM;
    r = filch__loop_run(&outer, 0, count, NULL);
    if (r == 0) {
        unsigned char *sum = all.value + count * all.bytes;

        memcpy(sum, loop->identity, all.bytes);
        for (size_t i = 0; i < count; i++)
            loop->combine(loop->arg, sum, all.value + i * all.bytes);
        memcpy(ret_value, sum, all.bytes);
    }
    free(all.value);
    return r;
}

int filch_parallel_reduce(size_t begin, size_t end, size_t value_bytes, const void *identity,
                          filch_fold_fn body, filch_combine_fn combine, void *arg,
                          const filch_parallel_opts *opts, void *ret_value)
{
    struct filch__loop loop = {.fold = body,
                               .combine = combine,
                               .identity = identity,
                               .value_bytes = value_bytes,
                               .arg = arg,
                               .grain = filch__loop_grain(opts)};

    if (!body || !is_value(value_bytes, identity, combine) || !ret_value || begin > end)
        return -EINVAL;
    if (opts && opts->repeatable && end > begin)
        return reduce_repeatable(&loop, begin, end, ret_value);
    return filch__loop_run(&loop, begin, end, ret_value);
}

/* ---- scans ---- */

enum { BLOCK_SUMMED = 1, BLOCK_DONE = 2 };

struct scan {
    const unsigned char *in;
    unsigned char *out;
    size_t count, bytes;
    size_t block; /* items in one */
    filch_combine_fn combine;
    void *arg;
    bool is_exclusive;
    /* For each block: what is known. [scan-block] */
    filch_atomic_u32 *known;
    /* At i: all before block i, if block i - 1 is done; else the sum of block i - 1. At 0: the
     * identity. */
    unsigned char *value;
};

typedef struct value {
    _Alignas(max_align_t) unsigned char bytes[FILCH_PARALLEL_VALUE_MAX];
} value;

static unsigned char *value_at(struct scan *scan, size_t i)
{
    return scan->value + i * scan->bytes;
}

static size_t block_end(const struct scan *scan, size_t i)
{
    size_t begin = i * scan->block;

    return scan->count - begin > scan->block ? begin + scan->block : scan->count;
}

static void sum_block(struct scan *scan, size_t i)
{
    unsigned char *sum = value_at(scan, i + 1);

    memcpy(sum, scan->in + i * scan->block * scan->bytes, scan->bytes);
    for (size_t k = i * scan->block + 1; k < block_end(scan, i); k++)
        scan->combine(scan->arg, sum, scan->in + k * scan->bytes);
    filch_store_release(&scan->known[i], BLOCK_SUMMED); /* [scan-block] */
}

static void do_item(struct scan *scan, size_t k, unsigned char *sum)
{
    value item;

    if (!scan->is_exclusive) {
        scan->combine(scan->arg, sum, scan->in + k * scan->bytes);
        memcpy(scan->out + k * scan->bytes, sum, scan->bytes);
        return;
    }
    memcpy(item.bytes, scan->in + k * scan->bytes, scan->bytes);
    memcpy(scan->out + k * scan->bytes, sum, scan->bytes);
    scan->combine(scan->arg, sum, item.bytes);
}

/* @ret_sum: all up to the end of the block. */
static void do_block(struct scan *scan, size_t i, value *ret_sum)
{
    memcpy(ret_sum->bytes, value_at(scan, i), scan->bytes);
    for (size_t k = i * scan->block; k < block_end(scan, i); k++)
        do_item(scan, k, ret_sum->bytes);
}

static int first_pass(void *arg, size_t begin, size_t end)
{
    struct scan *scan = arg;
    value sum;

    for (size_t i = begin; i < end; i++) {
        if (i > 0 && filch_load_acquire(&scan->known[i - 1]) != BLOCK_DONE) { /* [scan-block] */
            sum_block(scan, i);
            continue;
        }
        do_block(scan, i, &sum);
        memcpy(value_at(scan, i + 1), sum.bytes, scan->bytes);
        filch_store_release(&scan->known[i], BLOCK_DONE); /* [scan-block] */
    }
    return 0;
}

/* From sums to what comes before. Return: is there anything left to do? */
static bool add_up(struct scan *scan, size_t blocks)
{
    bool any = false;

    for (size_t i = 0; i < blocks; i++) {
        value sum;

        if (filch_load_relaxed(&scan->known[i]) == BLOCK_DONE) /* the join orders it */
            continue;
        any = true;
        memcpy(sum.bytes, value_at(scan, i), scan->bytes);
        scan->combine(scan->arg, sum.bytes, value_at(scan, i + 1));
        memcpy(value_at(scan, i + 1), sum.bytes, scan->bytes);
    }
    return any;
}

static int second_pass(void *arg, size_t begin, size_t end)
{
    struct scan *scan = arg;
    value sum;

    for (size_t i = begin; i < end; i++)
        if (filch_load_relaxed(&scan->known[i]) != BLOCK_DONE) /* the fork orders it */
            do_block(scan, i, &sum);
    return 0;
}

static int run_passes(struct scan *scan, size_t blocks)
{
    struct filch__loop first = {.range = first_pass, .arg = scan};
    struct filch__loop second = {.range = second_pass, .arg = scan};
    int r = filch__loop_run(&first, 0, blocks, NULL);

    if (r == 0 && add_up(scan, blocks))
        r = filch__loop_run(&second, 0, blocks, NULL);
    return r;
}

static int run_scan(struct scan *scan, const void *identity, size_t grain)
{
    size_t blocks;
    int r = -ENOMEM;

    scan->block = filch__loop_block(scan->count, grain, SCAN_BLOCK_LEAST);
    blocks = scan->count / scan->block + (scan->count % scan->block != 0);
    scan->known = calloc(blocks + 1, sizeof *scan->known);
    scan->value = calloc(blocks + 1, scan->bytes);
    if (scan->known && scan->value) {
        memcpy(scan->value, identity, scan->bytes);
        r = run_passes(scan, blocks);
    }
    free(scan->value);
    free(scan->known);
    return r;
}

static int scan_with(const void *in, void *out, size_t count, size_t value_bytes,
                     const void *identity, filch_combine_fn combine, void *arg,
                     const filch_parallel_opts *opts, bool is_exclusive)
{
    struct scan scan = {.in = in,
                        .out = out,
                        .count = count,
                        .bytes = value_bytes,
                        .combine = combine,
                        .arg = arg,
                        .is_exclusive = is_exclusive};

    if (!is_value(value_bytes, identity, combine) || (count && (!in || !out)))
        return -EINVAL;
    return run_scan(&scan, identity, filch__loop_grain(opts));
}

int filch_parallel_scan(const void *in, void *out, size_t count, size_t value_bytes,
                        const void *identity, filch_combine_fn combine, void *arg,
                        const filch_parallel_opts *opts)
{
    return scan_with(in, out, count, value_bytes, identity, combine, arg, opts, false);
}

int filch_parallel_scan_exclusive(const void *in, void *out, size_t count, size_t value_bytes,
                                  const void *identity, filch_combine_fn combine, void *arg,
                                  const filch_parallel_opts *opts)
{
    return scan_with(in, out, count, value_bytes, identity, combine, arg, opts, true);
}
