/* Waiting for the first of several things.
 *
 *     switch (FILCH_SELECT(FILCH_NEVER, filch_case_recv(jobs, &job), filch_case_recv(quit, &why),
 *                          filch_case_at(deadline))) {
 *     case 0: ...   a job is in `job`
 *     case 1: ...
 *     case 2: ...   it is late
 *     default: ...  -ECANCELED
 *     }
 *
 * A select has two phases: it puts itself down everywhere, and whoever comes first wins. Only the
 * winner takes effect. The others have consumed nothing: no message, no permit, no result is lost,
 * and it makes no difference whether they had been there.
 *
 * Each object's header has its cases: filch_case_recv() and filch_case_send() are in chan.h,
 * filch_case_readable() in tcp.h, filch_case_token() in cancel.h. A case that is refused at once,
 * for a stale handle say, wins with that error.
 */
#ifndef FILCH_SELECT_H
#define FILCH_SELECT_H

#include <filch/base.h>
#include <filch/future.h>

FILCH_BEGIN_DECLS

struct filch__case_ops;

/* One thing to wait for, made by a filch_case_ function. A plain value in the caller's memory that
 * borrows what it names. It may be used for many selects, one after the other. */
typedef struct filch_case {
    /* After a select that this case has won: 0, or the error with which the operation ended, such
     * as -EPIPE for a channel that was closed; in words, what the function of the same name
     * returns. */
    int result;
    /* Private. */
    const struct filch__case_ops *ops;
    void *object;
    void *data;
    uint64_t number;
    uint64_t private_words[9];
} filch_case;

enum filch_select_flags {
    /* The first case that is ready wins, in the order of the array; otherwise one of those that are
     * ready, at random. */
    FILCH_SELECT_ORDERED = 1,
};

/* Most cases of a select. */
#define FILCH_SELECT_MAX 256

/**
 * filch_select() - wait until one of several operations can be done, and do it
 * @cases: borrowed for the call
 * @count: 1 to FILCH_SELECT_MAX
 * @flags: enum filch_select_flags, or 0
 * @until: FILCH_NOW looks once: -ETIMEDOUT is then the "else"
 *
 * Thread-safety: any task or plain thread; the array is the caller's alone meanwhile. Suspends:
 * yes. Cancellation point: yes; no case took effect then. A case that is ready is preferred to a
 * time that has come, and both to a cancel only if the case had won before it.
 * Return: the index of the case that won, whose `result` was set; -ETIMEDOUT; -ECANCELED; -EINVAL
 * (NULL, no case or too many, all of them switched off by filch_case_if(), or a case that no
 * filch_case_ function made, or for a NULL); -ENOMEM (a plain thread with futures only).
 */
FILCH_API FILCH_MUST_CHECK int filch_select(filch_case *cases, size_t count, unsigned flags,
                                            filch_time until);

/**
 * filch_case_at() - a time: wins when it has come
 *
 * FILCH_NEVER is a case that never wins.
 */
FILCH_API filch_case filch_case_at(filch_time time);

/**
 * filch_case_if() - a guard: the case, or one that never wins
 * @enabled: false: @c is not looked at, and may have been made of NULL
 */
FILCH_API filch_case filch_case_if(bool enabled, filch_case c);

/**
 * filch_case_join() - the end of a task or a blocking job
 * @task:       the handle is consumed if the case wins with result 0, else it is still the caller's
 * @ret_result: what the body returned; may be NULL
 *
 * `result`: 0; -EDEADLK, -ESRCH, -EBUSY: see filch_task_join().
 */
FILCH_API filch_case filch_case_join(filch_task *task, int *ret_result);

/**
 * filch_case_future() - a future that becomes ready
 * @future: borrowed; polled at each look, by this task only. Not dropped.
 *
 * It is polled to its end only if it wins. As a loser it is unfinished, may keep wakers of the
 * caller, and may be awaited again. `result`: the future's.
 */
FILCH_API filch_case filch_case_future(filch_future *future);

/* filch_select(), and the winner's `result`, which is untouched when there is none. Suspends: yes.
 */
FILCH_MUST_CHECK static inline int filch_select_result(filch_case *cases, size_t count,
                                                       unsigned flags, int *ret_result,
                                                       filch_time until)
{
    int winner = filch_select(cases, count, flags, until);

    if (winner >= 0 && ret_result)
        *ret_result = cases[winner].result;
    return winner;
}

#define FILCH__SELECT(flags, until, ...)                                                           \
    filch_select((filch_case[]){__VA_ARGS__},                                                      \
                 sizeof((filch_case[]){__VA_ARGS__}) / sizeof(filch_case), (flags), (until))

/* The same over cases that are written down, for those whose result is not asked for beyond who
 * has won. */
#define FILCH_SELECT(until, ...) FILCH__SELECT(0, until, __VA_ARGS__)
#define FILCH_SELECT_FIRST(until, ...) FILCH__SELECT(FILCH_SELECT_ORDERED, until, __VA_ARGS__)

/* The same with the winner's result:
 *
 *     switch (FILCH_SELECT_RESULT(&r, FILCH_NEVER, filch_case_recv(jobs, &job), ...)) {
 *     case 0: if (r == 0) ...
 *
 * Each case is evaluated once, as an operand of sizeof is not. */
#define FILCH_SELECT_RESULT(ret_result, until, ...)                                                \
    filch_select_result((filch_case[]){__VA_ARGS__},                                               \
                        sizeof((filch_case[]){__VA_ARGS__}) / sizeof(filch_case), 0, (ret_result), \
                        (until))

FILCH_END_DECLS

#endif
