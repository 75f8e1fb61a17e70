/* The one loop that all of <filch/parallel.h> but sorting is made of. */
#ifndef FILCH_SYNC_PARALLEL_H
#define FILCH_SYNC_PARALLEL_H

#include <errno.h>
#include <filch/parallel.h>

#include "runtime/base/atomic.h"

/* In the frame of the function that was called. What the caller of filch__loop_run() fills in
 * stays as it is. */
struct filch__loop {
    filch_range_fn range;
    filch_fold_fn fold; /* instead, if value_bytes */
    filch_combine_fn combine;
    const void *identity;
    size_t value_bytes; /* 0: no values */
    void *arg;
    size_t grain;      /* 0: by time */
    size_t chunk_most; /* then */
    /* 0, or the first error as a positive number. Written once by any worker, read by all; relaxed,
     * as it carries nothing, and the joins order the last look. */
    filch_atomic_u32 error;
};

/* Return: as filch_parallel_for(). @ret_value gets value_bytes on success. */
int filch__loop_run(struct filch__loop *loop, size_t begin, size_t end, void *ret_value);

/* The first error counts. */
static inline void filch__loop_fail(filch_atomic_u32 *error, int r)
{
    uint32_t none = 0;

    (void)filch_cas_relaxed(error, &none, (uint32_t)-r);
}

/* Between two pieces: is it over, by an error or because the task is to end? */
bool filch__loop_is_over(filch_atomic_u32 *error);

static inline size_t filch__loop_grain(const filch_parallel_opts *opts)
{
    return opts ? opts->grain : 0;
}

/* Items that a piece of one of so many has, if pieces are not to depend on time. */
static inline size_t filch__loop_block(size_t count, size_t grain, size_t least)
{
    size_t block = count / 256 + (count % 256 != 0);

    if (grain)
        return grain;
    return block < least ? least : block;
}

#endif
