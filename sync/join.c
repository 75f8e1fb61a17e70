/* Calls that run at once, as children of a scope in the caller's frame.
 *
 * A call's task gets the address of its filch_call and finds everything else through its scope, so
 * nothing is allocated but the tasks. It leaves its result, and may decide the matter:
 *
 *     0 --a call whose result decides--> 1 + its index     (and it cancels the scope)
 *     0 --the owner gives up-----------> OWNER             (and it cancels the scope)
 *
 * each by one compare-and-swap of `winner`, so there is one. Whoever decides cancels; whoever does
 * not has nothing to do. A cancelled scope starts no more calls. The scope itself never sees an
 * error: an error of its join is the owner's own.
 *
 * Memory: [calls-result] what the calls write (`results`, `error`, `last_error`) is read by the
 * owner after the end of the scope, whose lock is taken by each child at its end and by the owner;
 * so the accesses to the atomics are relaxed. The owner that looks earlier takes only `winner` for
 * what it says.
 */
#include <errno.h>
#include <limits.h>

#include <filch/cancel.h>
#include <filch/join.h>
#include <filch/runtime.h>
#include <filch/scope.h>
#include <filch/time.h>

#include "runtime/base/assert.h"
#include "runtime/base/atomic.h"
#include "runtime/task/scope.h"
#include "runtime/task/task.h"

enum decides { DECIDES_ERROR, DECIDES_END, DECIDES_SUCCESS, DECIDES_NOTHING };

#define OWNER UINT32_MAX

struct calls {
    filch_scope scope;
    const filch_call *array;
    size_t count;
    int *results; /* or NULL; element i is written by the child i */
    enum decides decides;
    int error;                   /* of the call that decided; by that call */
    filch_atomic_u32 winner;     /* see above */
    filch_atomic_u32 successes;  /* by the children */
    filch_atomic_u32 last_error; /* the same, as an int */
};

static bool result_decides(const struct calls *calls, int result)
{
    switch (calls->decides) { /* no default: the compiler tells who adds one */
    case DECIDES_ERROR:
        return result < 0;
    case DECIDES_SUCCESS:
        return result >= 0;
    case DECIDES_NOTHING:
        return false;
    case DECIDES_END:
        break;
    }
    return true;
}

static bool claim(struct calls *calls, uint32_t winner)
{
    uint32_t nobody = 0;

    return filch_cas_relaxed(&calls->winner, &nobody, winner); /* [calls-result] */
}

/* The body of each child. */
static int run_call(void *arg)
{
    const filch_call *call = arg;
    int result = call->fn(call->arg);
    struct calls *calls = filch_container_of(filch__scope_of_child(), struct calls, scope);
    size_t index = (size_t)(call - calls->array);

    if (calls->results)
        calls->results[index] = result;
    if (result >= 0)
        filch_fetch_add_relaxed(&calls->successes, 1); /* [calls-result] */
    else
        filch_store_relaxed(&calls->last_error, (uint32_t)result); /* [calls-result] */
    if (result_decides(calls, result) && claim(calls, (uint32_t)index + 1)) {
        calls->error = result;
        filch_scope_cancel_cause(&calls->scope, result < 0 ? result : -ECANCELED);
    }
    return 0;
}

static int begin(struct calls *calls, const filch_call array[], size_t count, int results[],
                 enum decides decides)
{
    struct filch__task *self = filch__task_current();

    if ((!array && count) || count >= INT_MAX)
        return -EINVAL;
    for (size_t i = 0; i < count; i++)
        if (!array[i].fn)
            return -EINVAL;
    if (!filch_runtime_self() || (self && !filch__task_has_stack(self)))
        return -EPERM;
    filch_scope_init(&calls->scope, 0);
    calls->array = array;
    calls->count = count;
    calls->results = results;
    calls->decides = decides;
    calls->error = 0;
    filch_atomic_init(&calls->winner, 0);
    filch_atomic_init(&calls->successes, 0);
    filch_atomic_init(&calls->last_error, 0);
    for (size_t i = 0; results && i < count; i++)
        results[i] = -ECANCELED;
    return 0;
}

static bool is_decided(struct calls *calls)
{
    return filch_load_relaxed(&calls->winner) != 0; /* [calls-result] */
}

static int start(struct calls *calls, size_t index, void *place)
{
    struct filch__task *task;
    int r = filch__scope_child_new(&calls->scope, run_call, (void *)&calls->array[index], NULL,
                                   place, &task);

    return r < 0 ? r : filch__scope_child_start(&calls->scope, task, false, FILCH_NOW);
}

static int start_all(struct calls *calls, void *place)
{
    for (size_t i = 0; i < calls->count && !is_decided(calls); i++) {
        int r = start(calls, i, place);

        if (r < 0)
            return r;
    }
    return 0;
}

/* All calls end. @r: why the owner gives up, or 0. Return: 1 + the index of the call that decided;
 * or 0: none has. */
static size_t end(struct calls *calls, int r)
{
    uint32_t winner;

    if (r < 0 && claim(calls, OWNER))
        filch_scope_cancel_cause(&calls->scope, r);
    (void)filch_scope_cancel_join(&calls->scope);
    winner = filch_load_relaxed(&calls->winner); /* [calls-result] */
    return winner == OWNER ? 0 : winner;
}

int filch_run_all(const filch_call array[], size_t count, int results[], filch_time until)
{
    struct calls calls;
    int r = begin(&calls, array, count, results, DECIDES_NOTHING);

    if (r < 0)
        return r;
    r = start_all(&calls, __builtin_return_address(0));
    if (r == 0)
        r = filch_scope_join(&calls.scope, until);
    (void)end(&calls, r);
    /* In spite of the cancel. */
    return filch_load_relaxed(&calls.successes) == count ? 0 : r; /* [calls-result] */
}

int filch_try_join(const filch_call array[], size_t count, int results[], size_t *ret_failed,
                   filch_time until)
{
    struct calls calls;
    size_t failed;
    int r = begin(&calls, array, count, results, DECIDES_ERROR);

    if (r < 0)
        return r;
    r = start_all(&calls, __builtin_return_address(0));
    if (r == 0)
        r = filch_scope_join(&calls.scope, until);
    failed = end(&calls, r);
    if (failed) {
        if (ret_failed)
            *ret_failed = failed - 1;
        return calls.error;
    }
    /* In spite of the cancel. */
    return filch_load_relaxed(&calls.successes) == count ? 0 : r; /* [calls-result] */
}

/* Who has won, or why nobody has. */
static int end_race(struct calls *calls, int r)
{
    size_t winner = end(calls, r);

    if (winner)
        return (int)(winner - 1);
    return r < 0 ? r : (int)filch_load_relaxed(&calls->last_error); /* [calls-result] */
}

int filch_race(const filch_call array[], size_t count, unsigned flags, int results[],
               filch_time until)
{
    struct calls calls;
    int r;

    if (!count || flags & ~(unsigned)FILCH_RACE_OK)
        return -EINVAL;
    r = begin(&calls, array, count, results, flags ? DECIDES_SUCCESS : DECIDES_END);
    if (r < 0)
        return r;
    r = start_all(&calls, __builtin_return_address(0));
    if (r == 0)
        r = filch_scope_join(&calls.scope, until);
    return end_race(&calls, r);
}

/* Until it is decided, all that have begun have failed, or @delay_ns are over. Return: 0; or why
 * the owner gives up. */
static int wait_for_attempts(struct calls *calls, filch_time delay_ns, filch_time until)
{
    filch_time limit = delay_ns == FILCH_NEVER ? until : filch_after(delay_ns);
    int r;

    if (limit >= until)
        return filch_scope_join(&calls->scope, until);
    r = filch_scope_join(&calls->scope, limit);
    return r == -ETIMEDOUT ? 0 : r;
}

int filch_hedge(const filch_call array[], size_t count, filch_time delay_ns, int results[],
                filch_time until)
{
    struct calls calls;
    int r = count ? begin(&calls, array, count, results, DECIDES_SUCCESS) : -EINVAL;

    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < count && !is_decided(&calls); i++) {
        r = start(&calls, i, __builtin_return_address(0));
        if (r == 0)
            r = wait_for_attempts(&calls, i + 1 < count ? delay_ns : FILCH_NEVER, until);
    }
    return end_race(&calls, r);
}

int filch_join_all(filch_task *tasks[], size_t count, int results[], filch_time until)
{
    if (!tasks && count)
        return -EINVAL;
    for (size_t i = 0; i < count; i++) {
        int r;

        if (!tasks[i])
            continue;
        r = filch_task_join(tasks[i], results ? &results[i] : NULL, until);
        if (r < 0)
            return r;
        tasks[i] = NULL;
    }
    return 0;
}

/* ---- one call with a time limit ---- */

/* In a blocking job, which has no deadlines. */
static int timeout_child(filch_fn fn, void *arg, int *result, filch_time until)
{
    const filch_call call = {.fn = fn, .arg = arg};
    struct calls calls;
    int r = begin(&calls, &call, 1, result, DECIDES_END);

    if (r < 0)
        return r;
    r = start(&calls, 0, __builtin_return_address(0));
    if (r < 0)
        return r;
    r = filch_scope_join(&calls.scope, until);
    return end(&calls, r) ? 0 : r;
}

int filch_timeout(filch_fn fn, void *arg, int *ret_result, filch_time until)
{
    filch_block block;
    int result = 0;
    int r;

    if (!fn)
        return -EINVAL;
    if (filch_runtime_self() && !filch__task_current()) {
        r = timeout_child(fn, arg, &result, until);
        if (r < 0 && r != -ETIMEDOUT)
            return r;
    } else {
        r = filch_deadline_begin(&block, until);
        if (r < 0)
            return r;
        result = fn(arg);
        r = filch_block_end(&block);
    }
    if (ret_result)
        *ret_result = result;
    return r == -ETIMEDOUT && result < 0 ? -ETIMEDOUT : 0;
}

/* ---- one call until a token is cancelled ---- */

int filch_token_run(filch_token *token, filch_fn fn, void *arg, int *ret_result, filch_time until)
{
    const filch_call call = {.fn = fn, .arg = arg};
    struct calls calls;
    int result, r;

    if (!token || !fn)
        return -EINVAL;
    r = begin(&calls, &call, 1, &result, DECIDES_END);
    if (r < 0)
        return r;
    (void)!filch_scope_bind(&calls.scope, token); /* a new scope takes it */
    r = start(&calls, 0, __builtin_return_address(0));
    if (r == 0)
        r = filch_scope_join(&calls.scope, until);
    (void)end(&calls, r);
    if (ret_result)
        *ret_result = result;
    if (result >= 0)
        return 0;
    return filch_token_is_cancelled(token) ? -ECANCELED : r;
}
