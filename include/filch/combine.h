/* Futures made of futures: all of them, the first of them, one with a deadline, one after another.
 *
 * No allocation: each is a struct of the caller's, and so are its children, which are borrowed. A
 * child that is ready is not polled again and not dropped: its result stays in it. When the whole
 * is dropped, or decided without some of its children, those that are not ready are dropped, each
 * exactly once, before the whole is ready; also those that were never polled.
 *
 * The struct and its children must stay where they are once polled, until the whole is ready or
 * dropped. A future of this header is polled by one thread at a time, like any other, and may be a
 * child itself. Each may be used again after its init function was called again.
 */
#ifndef FILCH_COMBINE_H
#define FILCH_COMBINE_H

#include <filch/base.h>
#include <filch/future.h>
#include <filch/select.h>

FILCH_BEGIN_DECLS

/* A child of a join or select: the future; the rest is private and set by init. */
typedef struct filch_child {
    filch_future *future;
    uint32_t private_next;
    uint32_t private_done;
} filch_child;

struct filch__relay;

/* What join, try_join and select have in common. */
typedef struct filch_group_future {
    filch_future base;
    /* After a select: the child that was ready first. After a try_join that failed: the child that
     * did. Otherwise the number of children. */
    size_t index;
    /* Private. */
    filch_child *children;
    size_t count;
    size_t left;
    struct filch__relay *relay;
    uint32_t mode;
    uint32_t phase;
} filch_group_future;

typedef filch_group_future filch_join_future;
typedef filch_group_future filch_try_join_future;
typedef filch_group_future filch_select_future;

/**
 * filch_join_future_init() - a future that is ready when all of its children are, with result 0
 * @join:     caller's memory
 * @children: borrowed; `future` of each is set, and each future is in it once
 * @count:    0 is allowed: ready at once
 *
 * Up to 8 children are all polled at each poll. Of more, only those that were woken: with a waker
 * of their own, so that a join of n children costs O(n) polls and not O(n^2). (These wakers need a
 * small block of the runtime's; should there be no memory for one, all children are polled.)
 * Thread-safety: any thread. Suspends: no. Return: 0; -EINVAL (NULL, a child without a future or a
 * future without a poll function, more than INT_MAX), and then nothing was changed.
 */
FILCH_API FILCH_MUST_CHECK int filch_join_future_init(filch_join_future *join,
                                                      filch_child *children, size_t count);

/**
 * filch_try_join_future_init() - the same until a child fails
 *
 * Ready with 0 when all children are ready with 0 or more, or with the first negative result: then
 * the others have been dropped, and `index` tells which one it was.
 * Otherwise as filch_join_future_init().
 */
FILCH_API FILCH_MUST_CHECK int filch_try_join_future_init(filch_try_join_future *join,
                                                          filch_child *children, size_t count);

/**
 * filch_select_future_init() - a future that is ready when the first of its children is
 * @flags: 0: of those that are ready at once, one at random; FILCH_SELECT_ORDERED: the first in the
 *         array (then all are polled at each poll, however many there are)
 *
 * Its result is the index of the child that was ready; the others have been dropped. A future that
 * has done half of something when it is dropped has done it: use those whose drop undoes it, such
 * as filch_recv_future. Return: as filch_join_future_init(); -EINVAL also for a count of 0 and for
 * other flags.
 */
FILCH_API FILCH_MUST_CHECK int filch_select_future_init(filch_select_future *select,
                                                        filch_child *children, size_t count,
                                                        unsigned flags);

/* A future with a deadline. The fields but base are private. */
typedef struct filch_timeout_future {
    filch_future base;
    filch_future *child;
    filch_sleep_future timer;
} filch_timeout_future;

/**
 * filch_timeout_future_init() - a child, until a time
 * @child: borrowed
 * @until: FILCH_NOW: it is polled once
 *
 * The child is polled first, then the clock is looked at: a child that is ready wins in any case.
 * Result: the child's; -ETIMEDOUT, with the child dropped; -EPERM (it would have to wait outside of
 * tasks, see filch_sleep_future_init(); the child was dropped).
 * Thread-safety: any thread. Suspends: no. Return: 0; -EINVAL (NULL, or no poll function).
 */
FILCH_API FILCH_MUST_CHECK int filch_timeout_future_init(filch_timeout_future *timeout,
                                                         filch_future *child, filch_time until);

/* A future whose result passes through a function. The fields but base are private. */
typedef struct filch_map_future {
    filch_future base;
    filch_future *child;
    int (*fn)(int result, void *arg);
    void *arg;
} filch_map_future;

/**
 * filch_map_future_init() - a child, with its result changed by a function
 * @child: borrowed
 * @fn:    called once, in the poll in which the child is ready; must not suspend or block
 *
 * Dropped before that, @fn is not called. Return: as filch_timeout_future_init().
 */
FILCH_API FILCH_MUST_CHECK int filch_map_future_init(filch_map_future *map, filch_future *child,
                                                     int (*fn)(int result, void *arg), void *arg);

/* A future and its continuation. The fields but base are private. */
typedef struct filch_then_future {
    filch_future base;
    filch_future *child; /* whichever is being polled */
    filch_future *(*next)(int result, void *arg);
    void *arg;
} filch_then_future;

/**
 * filch_then_future_init() - a child, and then the future that a function makes of its result
 * @first: borrowed
 * @next:  called once, when @first is ready; must not suspend or block. What it returns is borrowed
 *         too, and polled at once; NULL: there is nothing to follow, and the result is that of
 *         @first.
 *
 * Result: that of the last one. Dropped, it drops the one that is being polled.
 * Return: as filch_timeout_future_init().
 */
FILCH_API FILCH_MUST_CHECK int filch_then_future_init(filch_then_future *then, filch_future *first,
                                                      filch_future *(*next)(int result, void *arg),
                                                      void *arg);

/** filch_ready_future_init() - a future that is ready with @result at its first poll. NULL does
 * nothing. */
FILCH_API void filch_ready_future_init(filch_future *future, int result);

/** filch_pending_future_init() - a future that is never ready and keeps no waker. NULL does
 * nothing. */
FILCH_API void filch_pending_future_init(filch_future *future);

/* A future made of a function. The fields but base are private. */
typedef struct filch_fn_future {
    filch_future base;
    filch_poll (*poll)(void *arg, filch_cx *cx, int *ret_result);
    filch_fn fn;
    void *arg;
} filch_fn_future;

/**
 * filch_poll_fn_future_init() - a future whose polls are calls of a function
 * @poll: as a future's poll, with the argument for a struct; sets *ret_result before FILCH_READY
 *
 * Thread-safety: any thread. Suspends: no. Return: 0; -EINVAL (NULL; @arg may be NULL).
 */
FILCH_API FILCH_MUST_CHECK int
filch_poll_fn_future_init(filch_fn_future *future,
                          filch_poll (*poll)(void *arg, filch_cx *cx, int *ret_result), void *arg);

/**
 * filch_lazy_future_init() - a future that calls @fn at its first poll and is ready with its result
 *
 * Dropped before, @fn is not called. @fn must not suspend or block. Return: 0; -EINVAL.
 */
FILCH_API FILCH_MUST_CHECK int filch_lazy_future_init(filch_fn_future *future, filch_fn fn,
                                                      void *arg);

FILCH_END_DECLS

#endif
