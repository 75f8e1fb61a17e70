/* For sources whose items come from functions that suspend or block, which a poll must not do: a
 * helper task fetches, one at a time.
 *
 *     IDLE --poll: start--> RUNS --poll: over, its result--> IDLE
 *
 * While it runs, what it works on, in the stream, is the helper's; the join carries it over and
 * back. It goes on when a poll is abandoned, and its result is there for the next one. Before the
 * stream goes it is cancelled and waited for.
 */
#ifndef FILCH_SYNC_STREAM_HELPER_H
#define FILCH_SYNC_STREAM_HELPER_H

#include <errno.h>

#include <filch/cancel.h>
#include <filch/stream_io.h>

static inline void filch__helper_init(struct filch_stream_helper *helper)
{
    helper->task = NULL;
}

/* Starts one, if none runs. Return: 0; as filch_spawn(). */
static inline int filch__helper_start(struct filch_stream_helper *helper, filch_fn fn, void *arg)
{
    filch_task_opts opts = {.name = "stream"};
    int r;

    if (helper->task)
        return 0;
    r = filch_task_spawn(fn, arg, &opts, &helper->task);
    if (r < 0) {
        helper->task = NULL;
        return r;
    }
    return filch_join_task_future_init(&helper->join, helper->task);
}

/* Has it ended? Return: true, with its result; false: the context's waker is kept. */
static inline bool filch__helper_poll(struct filch_stream_helper *helper, filch_cx *cx,
                                      int *ret_result)
{
    if (helper->join.base.poll(&helper->join.base, cx) == FILCH_PENDING)
        return false;
    helper->task = NULL;
    *ret_result = helper->join.base.result;
    return true;
}

/* Ends the helper, if there is one. Suspends. Return: was there one? Then with its result. */
static inline bool filch__helper_stop(struct filch_stream_helper *helper, int *ret_result)
{
    bool ran = helper->task != NULL;

    if (!ran)
        return false;
    helper->join.base.drop(&helper->join.base);
    filch_task_cancel(helper->task);
    *ret_result = -ECANCELED;
    FILCH_SHIELD(FILCH_NEVER)
    (void)!filch_task_join(helper->task, ret_result, FILCH_NEVER);
    helper->task = NULL;
    return true;
}

#endif
