/* Several things at once, with an end in sight: all of them, the first of them, or the first that
 * succeeds; and one thing with a limit.
 *
 *     r = FILCH_TRY_JOIN({fetch, &a}, {fetch, &b});
 *
 * runs both at the same time; if one fails, the other is cancelled, and when this returns both have
 * ended. So it is with all functions here: each call runs as a task, none outlives the function,
 * and so arguments may be in the caller's frame. Losers are cancelled and waited for; one that
 * ignores the cancel holds the caller up.
 *
 * A call that has not begun when the matter is decided is not begun any more. So arguments are
 * borrowed, and results say which calls have run: -ECANCELED is also the result of one that has
 * not.
 *
 * The calls inherit what children of a scope inherit: task-local values and the deadline. They need
 * a runtime: from tasks and blocking jobs; plain threads get -EPERM.
 */
#ifndef FILCH_JOIN_H
#define FILCH_JOIN_H

#include <filch/base.h>
#include <filch/cancel.h>
#include <filch/task.h>

FILCH_BEGIN_DECLS

/* A function and what it gets. */
typedef struct filch_call {
    filch_fn fn;
    void *arg;
} filch_call;

/**
 * filch_join_all() - wait for several tasks and take their results
 * @tasks:   handles; each that was joined is consumed and set to NULL. NULL ones are skipped, so
 * the call may be repeated after an error
 * @results: element i gets the result of @tasks[i] when that is joined; may be NULL
 * @until:   stop waiting at this time
 *
 * Thread-safety: the owner of the handles; tasks and plain threads. Suspends: yes. Cancellation
 * point: yes. Return: 0: all are joined; otherwise what filch_task_join() says of the first handle
 * that is not NULL: -ETIMEDOUT; -ECANCELED; -EDEADLK; -ESRCH; -EBUSY. -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_join_all(filch_task *tasks[], size_t count, int results[],
                                              filch_time until);

/**
 * filch_run_all() - run several functions at once, each to its end
 * @calls:   borrowed for the call
 * @results: element i gets what call i returned; may be NULL
 * @until:   cancel all calls at this time
 *
 * No result cancels the others. All have ended on return.
 *
 * Suspends: yes, shielded once the calls are cancelled. Cancellation point: yes; the calls are
 * cancelled. Return: 0: all have ended by themselves, or succeeded in spite of a cancel; what they
 * returned is in @results; -ETIMEDOUT; -ECANCELED; -EINVAL (NULL); or why a call could not be
 * started, and then the others were cancelled: -EPERM (a plain thread, a future's poll), -ENOMEM,
 * -ESHUTDOWN.
 */
FILCH_API FILCH_MUST_CHECK int filch_run_all(const filch_call calls[], size_t count, int results[],
                                             filch_time until);

/**
 * filch_try_join() - run several functions at once, all of which must succeed
 * @calls:      borrowed for the call
 * @results:    element i gets what call i returned, whatever this returns; may be NULL
 * @ret_failed: gets the index of the call that failed, when one did; may be NULL
 * @until:      cancel all calls at this time
 *
 * The first call that returns a negative result decides: the others are cancelled, with its error
 * as the cause. All have ended on return.
 *
 * Suspends: yes, shielded once it is decided. Cancellation point: yes; the calls are cancelled.
 * Return: 0: all succeeded, even if the caller was cancelled meanwhile; the error of the first that
 * failed (and *@ret_failed is set); -ETIMEDOUT; -ECANCELED; -EINVAL (NULL); or why a call could not
 * be started: -EPERM (a plain thread, a future's poll), -ENOMEM, -ESHUTDOWN.
 */
FILCH_API FILCH_MUST_CHECK int filch_try_join(const filch_call calls[], size_t count, int results[],
                                              size_t *ret_failed, filch_time until);

enum filch_race_flags {
    /* A call that fails does not decide: the first that succeeds does. */
    FILCH_RACE_OK = 1,
};

/**
 * filch_race() - run several functions at once and take the first
 * @calls:   borrowed for the call; at least one
 * @flags:   enum filch_race_flags; 0: the first that ends wins, whatever it returns
 * @results: element i gets what call i returned; may be NULL
 * @until:   cancel all calls at this time
 *
 * The others are cancelled. All have ended on return. Who ends after @until or after a cancel of
 * the caller cannot win.
 *
 * Suspends: yes, shielded once it is decided. Cancellation point: yes; the calls are cancelled.
 * Return: the index of the winner; with FILCH_RACE_OK, when all have failed, the error of the last
 * one to fail; -ETIMEDOUT; -ECANCELED; -EINVAL (NULL, no call, unknown flags); as filch_try_join()
 * when a call could not be started.
 */
FILCH_API FILCH_MUST_CHECK int filch_race(const filch_call calls[], size_t count, unsigned flags,
                                          int results[], filch_time until);

/**
 * filch_hedge() - the first success, beginning one call after the other
 * @calls:    borrowed for the call; at least one. The first begins at once; the next one when those
 * that run have all failed, or have not succeeded @delay_ns after the last beginning
 * @delay_ns: 0: all begin at once
 * @results:  element i gets what call i returned, -ECANCELED if it did not run; may be NULL
 * @until:    cancel all calls at this time
 *
 * For requests that may be sent twice: the slow tail is cut off at the price of a few more.
 *
 * Suspends and returns: as filch_race() with FILCH_RACE_OK.
 */
FILCH_API FILCH_MUST_CHECK int filch_hedge(const filch_call calls[], size_t count,
                                           filch_time delay_ns, int results[], filch_time until);

/**
 * filch_timeout() - run one function until a time
 * @ret_result: gets what @fn returned, also with -ETIMEDOUT; may be NULL
 * @until:      then @fn is cancelled, with the cause -ETIMEDOUT
 *
 * In a task @fn runs in its place, under a deadline (see FILCH_DEADLINE() in cancel.h); a blocking
 * job runs it as a task and waits. It has ended on return.
 *
 * Suspends: as @fn. Return: 0: @fn returned what is in @ret_result; -ETIMEDOUT: it failed and its
 * time had come; -EINVAL (NULL); -EPERM (a plain thread, a future's poll); -EOVERFLOW (too many
 * deadlines in each other); and from a blocking job -ENOMEM, -ESHUTDOWN.
 */
FILCH_API FILCH_MUST_CHECK int filch_timeout(filch_fn fn, void *arg, int *ret_result,
                                             filch_time until);

/**
 * filch_token_run() - run one function until a token is cancelled
 * @token:      borrowed for the call; cancelled already: @fn is not called
 * @ret_result: gets what @fn returned, -ECANCELED if it was not called, whatever this returns but
 *              -EINVAL and -EPERM; may be NULL
 * @until:      then @fn is cancelled, with the cause -ETIMEDOUT
 *
 * @fn runs as a task, which the token cancels with its cause, and has ended on return. For a future
 * a select does it: filch_case_token() and filch_case_future().
 *
 * Suspends: yes, shielded once @fn is cancelled. Cancellation point: yes; @fn is cancelled.
 * Return: 0: @fn returned what is in @ret_result; -ECANCELED: it failed, or was not called, and the
 * token (filch_token_is_cancelled()) or the caller was cancelled; -ETIMEDOUT: it failed and its
 * time had come; -EINVAL (NULL); -EPERM (a plain thread, a future's poll); or why it could not be
 * started: -ENOMEM, -ESHUTDOWN.
 */
FILCH_API FILCH_MUST_CHECK int filch_token_run(filch_token *token, filch_fn fn, void *arg,
                                               int *ret_result, filch_time until);

#define FILCH__CALL_COUNT(...) (sizeof((filch_call[]){__VA_ARGS__}) / sizeof(filch_call))

/* The same over calls that are written down: {fn, arg}, ... Without a time, until all have ended.
 *
 *     int results[2];
 *     r = FILCH_RUN_ALL(results, {fetch, &a}, {fetch, &b});
 */
#define FILCH_RUN_ALL(results, ...)                                                                \
    filch_run_all((filch_call[]){__VA_ARGS__}, FILCH__CALL_COUNT(__VA_ARGS__), (results),          \
                  FILCH_NEVER)
#define FILCH_TRY_JOIN(...) FILCH_TRY_JOIN_UNTIL(FILCH_NEVER, __VA_ARGS__)
#define FILCH_TRY_JOIN_UNTIL(until, ...)                                                           \
    filch_try_join((filch_call[]){__VA_ARGS__}, FILCH__CALL_COUNT(__VA_ARGS__), NULL, NULL, (until))
#define FILCH_RACE(until, ...)                                                                     \
    filch_race((filch_call[]){__VA_ARGS__}, FILCH__CALL_COUNT(__VA_ARGS__), 0, NULL, (until))
#define FILCH_RACE_FIRST_OK(until, ...)                                                            \
    filch_race((filch_call[]){__VA_ARGS__}, FILCH__CALL_COUNT(__VA_ARGS__), FILCH_RACE_OK, NULL,   \
               (until))

FILCH_END_DECLS

#endif
