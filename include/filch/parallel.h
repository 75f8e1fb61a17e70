/* Loops, sums, sorting: work on many items that is shared out among the workers.
 *
 *     FILCH_EACH(brighten, struct image *, image, row)
 *     {
 *         for (int x = 0; x < image->width; x++)
 *             image->pixel[row][x] += 10;
 *         return 0;
 *     }
 *     ...
 *     r = filch_parallel_for(0, image->height, brighten, image, NULL);
 *
 * All of it is made of forks (fork.h) and costs nearly nothing while nobody helps: the caller goes
 * through the items in order, piece by piece, and only when a worker has nothing to do half of what
 * is left is given away. Pieces are chosen so that each takes some 10 us, unless
 * filch_parallel_opts.grain says how many items each has. A body may suspend, sleep, do I/O, lock
 * and unlock: then what is left of the loop goes on without it. Loops nest, also with other forks.
 *
 * Errors. A body that returns a negative result ends the loop: pieces that have not begun are left
 * out, the others are waited for, and the first error in time is the result. The same when the
 * calling task is asked to end: it is seen between two pieces, and the result is -ECANCELED. Some
 * pieces have been done then, and others not at all; no piece goes on after the return. What a
 * body waits for is interrupted by a cancel, as it is the task's, but not by an error elsewhere.
 *
 * The functions here are joins: they take no time limit, and wait for pieces that others have begun
 * shielded, cancelled or not. FILCH_DEADLINE() (cancel.h) limits the time. They are for tasks, to
 * which a plain thread gets by filch_runtime_block_on(): plain threads, blocking jobs and futures'
 * polls get -EPERM. A task with a small stack should know that each level of a nested loop takes
 * some KiB.
 *
 * In servers: every 500 us a loop lets others run between two pieces, so that they are served even
 * if all workers compute.
 */
#ifndef FILCH_PARALLEL_H
#define FILCH_PARALLEL_H

#include <filch/base.h>
#include <filch/join.h>

FILCH_BEGIN_DECLS

/* Values of reductions and scans have up to so many bytes, and the alignment of any type. */
#define FILCH_PARALLEL_VALUE_MAX 256

/* All zero, or a NULL pointer to it, gives the defaults. */
typedef struct filch_parallel_opts {
    /* Items in a piece; 0: as many as take some 10 us. For sorting: fewer items are not divided;
     * 0: 1024. */
    size_t grain;
    /* For filch_parallel_reduce(): pieces, and the order in which they are combined, depend on the
     * range and on @grain alone (0: 256 pieces), so that floating-point sums are the same each
     * time, with any number of workers. Needs memory for a value of each piece. */
    bool repeatable;
} filch_parallel_opts;

/* Does the items from @begin on and before @end; calls at the same time get different ones. Return:
 * 0 or more; negative ends the loop. */
typedef int (*filch_range_fn)(void *arg, size_t begin, size_t end);

/* The same, and adds what it finds to *@value, which nobody else has. */
typedef int (*filch_fold_fn)(void *arg, size_t begin, size_t end, void *value);

/* *@left becomes the combination of *@left and *@right. It must be associative, ((a b) c) = (a (b
 * c)), but need not be commutative: @left is of items before those of @right. */
typedef void (*filch_combine_fn)(void *arg, void *left, const void *right);

/**
 * filch_parallel_for() - a loop over numbers
 * @begin: first number; @end: the one after the last
 * @body:  called for pieces of them, with @arg, by several workers at a time
 * @opts:  borrowed; NULL for defaults
 *
 * What was done before the call is visible to each piece, and what these did to the caller.
 *
 * Thread-safety: any task. Suspends: yes, shielded, if others take part. Return: 0; the first error
 * of a body; -ECANCELED (the caller; also before the first piece); -EPERM (no task); -EINVAL (NULL
 * @body, or @begin is beyond @end).
 */
FILCH_API FILCH_MUST_CHECK int filch_parallel_for(size_t begin, size_t end, filch_range_fn body,
                                                  void *arg, const filch_parallel_opts *opts);

/**
 * filch_parallel_reduce() - what many items make together
 * @value_bytes: size of a value, at most FILCH_PARALLEL_VALUE_MAX
 * @identity:    combining with it changes nothing; where each piece may begin; borrowed
 * @body:        adds the items of a piece to a value
 * @combine:     of the values of two neighbours; @arg as well
 * @ret_value:   gets the value of all items; may be @identity
 *
 * Thread-safety, suspends, return: as filch_parallel_for(); -EINVAL also for NULL and a value that
 * is too large; -ENOMEM (opts->repeatable only).
 */
FILCH_API FILCH_MUST_CHECK int filch_parallel_reduce(size_t begin, size_t end, size_t value_bytes,
                                                     const void *identity, filch_fold_fn body,
                                                     filch_combine_fn combine, void *arg,
                                                     const filch_parallel_opts *opts,
                                                     void *ret_value);

/**
 * filch_parallel_scan() - each item combined with all before it (inclusive prefix sums)
 * @in:  @count values of @value_bytes
 * @out: gets as many: number i is the combination of numbers 0 to i of @in. May be @in, else must
 *       not overlap. After an error its content is not defined
 *
 * Results do not depend on the number of workers: pieces have opts->grain items (0: 256 pieces of
 * at least 64). Done in one go where nobody helps, in two where somebody does.
 *
 * Thread-safety, suspends, return: as filch_parallel_reduce(); -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_parallel_scan(const void *in, void *out, size_t count,
                                                   size_t value_bytes, const void *identity,
                                                   filch_combine_fn combine, void *arg,
                                                   const filch_parallel_opts *opts);

/** filch_parallel_scan_exclusive() - the same without the item itself: number 0 is @identity. */
FILCH_API FILCH_MUST_CHECK int filch_parallel_scan_exclusive(const void *in, void *out,
                                                             size_t count, size_t value_bytes,
                                                             const void *identity,
                                                             filch_combine_fn combine, void *arg,
                                                             const filch_parallel_opts *opts);

/**
 * filch_parallel_map() - an array from an array
 * @in:  @count items of @in_bytes
 * @out: room for as many of @out_bytes; may be @in, if the sizes are the same
 * @fn:  makes one of the other; a negative result ends the loop
 *
 * Thread-safety, suspends, return: as filch_parallel_for().
 */
FILCH_API FILCH_MUST_CHECK int filch_parallel_map(const void *in, size_t in_bytes, void *out,
                                                  size_t out_bytes, size_t count,
                                                  int (*fn)(void *arg, const void *in, void *out),
                                                  void *arg, const filch_parallel_opts *opts);

/**
 * filch_parallel_invoke() - several functions at once
 * @calls: borrowed for the call
 *
 * Unlike filch_try_join() it spawns nothing where nobody has the time to help, and does not cancel
 * calls that have begun when one fails; those that have not are left out. Begun in order by one
 * worker, but others that help begin where they are; a call that suspends lets the next begin.
 *
 * Thread-safety, suspends, return: as filch_parallel_for().
 */
FILCH_API FILCH_MUST_CHECK int filch_parallel_invoke(const filch_call calls[], size_t count);

/* r = FILCH_PARALLEL_INVOKE({fn, &a}, {fn, &b}); in C only. */
#define FILCH_PARALLEL_INVOKE(...)                                                                 \
    filch_parallel_invoke((const filch_call[]){__VA_ARGS__},                                       \
                          sizeof((const filch_call[]){__VA_ARGS__}) / sizeof(filch_call))

/**
 * filch_parallel_sort() - sort an array
 * @base:    @count items of @item_bytes
 * @compare: negative, 0 or positive, as for qsort_r(); called with @arg by several workers at a
 *           time
 *
 * Stable: items that are equal stay in order. n log n comparisons at most, about n for what is
 * sorted already. Needs memory for a copy of the array. When the caller is cancelled the array has
 * all its items, in some order.
 *
 * Thread-safety, suspends: as filch_parallel_for(). Return: 0; -ECANCELED; -ENOMEM (nothing was
 * done); -EPERM (no task); -EINVAL (NULL, or items of no bytes).
 */
FILCH_API FILCH_MUST_CHECK int filch_parallel_sort(void *base, size_t count, size_t item_bytes,
                                                   int (*compare)(const void *a, const void *b,
                                                                  void *arg),
                                                   void *arg, const filch_parallel_opts *opts);

/* Bodies with types. FILCH_EACH(name, type, arg, i) { ... } defines a filch_range_fn `name` from
 * what is to be done for one number `i`: with `type arg` (a pointer), returning as a
 * filch_range_fn.
 *
 * FILCH_FOLD(name, value_type, value, type, arg, i) { ... } defines a filch_fold_fn the same way,
 * with `value_type *value`; FILCH_COMBINE(name, value_type, left, right) { ... } a filch_combine_fn
 * that has `value_type *left` and `const value_type *right`, and does without an argument:
 *
 *     FILCH_FOLD(add_length, size_t, sum, char **, words, i)
 *     {
 *         *sum += strlen(words[i]);
 *         return 0;
 *     }
 *     FILCH_COMBINE(add, size_t, left, right)
 *     {
 *         *left += *right;
 *     }
 */
#define FILCH_EACH(name, type, arg, i)                                                             \
    static inline int name##__one(type arg, size_t i);                                             \
    static int name(void *filch__arg, size_t filch__begin, size_t filch__end)                      \
    {                                                                                              \
        for (size_t filch__i = filch__begin; filch__i < filch__end; filch__i++) {                  \
            int filch__r = name##__one((type)filch__arg, filch__i);                                \
            if (filch__r < 0)                                                                      \
                return filch__r;                                                                   \
        }                                                                                          \
        return 0;                                                                                  \
    }                                                                                              \
    static inline int name##__one(type arg, size_t i)

#define FILCH_FOLD(name, value_type, value, type, arg, i)                                          \
    static inline int name##__one(value_type *value, type arg, size_t i);                          \
    static int name(void *filch__arg, size_t filch__begin, size_t filch__end, void *filch__value)  \
    {                                                                                              \
        for (size_t filch__i = filch__begin; filch__i < filch__end; filch__i++) {                  \
            int filch__r = name##__one((value_type *)filch__value, (type)filch__arg, filch__i);    \
            if (filch__r < 0)                                                                      \
                return filch__r;                                                                   \
        }                                                                                          \
        return 0;                                                                                  \
    }                                                                                              \
    static inline int name##__one(value_type *value, type arg, size_t i)

#define FILCH_COMBINE(name, value_type, left, right)                                               \
    static inline void name##__two(value_type *left, const value_type *right);                     \
    static void name(void *filch__arg, void *filch__left, const void *filch__right)                \
    {                                                                                              \
        (void)filch__arg;                                                                          \
        name##__two((value_type *)filch__left, (const value_type *)filch__right);                  \
    }                                                                                              \
    static inline void name##__two(value_type *left, const value_type *right)

FILCH_END_DECLS

#endif
