/* Calling again: a loop around filch_timeout(), and a pure function for the pauses.
 *
 * Read first: include/filch/retry.h. Nothing here is shared; the random numbers are the call's own.
 */
#include <errno.h>
#include <stddef.h>

#include <filch/join.h>
#include <filch/retry.h>
#include <filch/task.h>
#include <filch/time.h>

#include "runtime/task/task.h"

#define FIRST_DELAY (10 * FILCH_MILLISECOND)
#define MAX_DELAY (10 * FILCH_SECOND)
#define FACTOR 2.0

static const filch_retry_policy defaults;

/* By squaring: the number of steps does not grow with the attempts. */
static double power(double base, unsigned exponent)
{
    double result = 1;

    for (; exponent; exponent >>= 1) {
        if (exponent & 1)
            result *= base;
        base *= base;
    }
    return result;
}

static double factor_of(const filch_retry_policy *policy)
{
    if (policy->factor == 0)
        return FACTOR;
    return policy->factor >= 1 ? policy->factor : 1; /* also for what is not a number */
}

filch_time filch_retry_delay(const filch_retry_policy *policy, unsigned attempt, uint64_t random)
{
    const filch_retry_policy *p = policy ? policy : &defaults;
    filch_time first = p->first_delay_ns ? p->first_delay_ns : FIRST_DELAY;
    filch_time most = p->max_delay_ns ? p->max_delay_ns : MAX_DELAY;
    double grown = (double)first * power(factor_of(p), attempt ? attempt - 1 : 0);
    filch_time delay = grown < (double)most ? (filch_time)grown : most;

    if (delay > most)
        delay = most; /* (double)most may be more */
    if (p->no_jitter)
        return delay;
    return (filch_time)(((unsigned __int128)delay + 1) * random >> 64);
}

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

/* The sum, or never. */
static filch_time later(filch_time time, filch_time span_ns)
{
    return span_ns < FILCH_NEVER - time ? time + span_ns : FILCH_NEVER;
}

/* Return: 0, with *ret_result what @fn says, or that it had no time left; or filch_timeout()'s
 * refusal: @fn was not called. */
static int attempt(filch_fn fn, void *arg, const filch_retry_policy *policy, bool in_task,
                   int *ret_result, filch_time until)
{
    filch_time limit = until;
    int r;

    if (policy->attempt_ns) {
        filch_time end = later(filch_now(), policy->attempt_ns);

        limit = end < until ? end : until;
    }
    if (!in_task || limit == FILCH_NEVER) {
        *ret_result = fn(arg);
        return 0;
    }
    r = filch_timeout(fn, arg, ret_result, limit);
    if (r == -ETIMEDOUT)
        *ret_result = -ETIMEDOUT;
    return r == -ETIMEDOUT ? 0 : r;
}

/* Pauses before the next attempt. Return: 0; -ETIMEDOUT: there is no time for it; -ECANCELED. */
static int pause_before_next(filch_time delay, filch_retry_report *report, filch_time until)
{
    filch_time end = later(filch_now(), delay);

    if (filch_task_is_cancelled())
        return -ECANCELED;
    if (end >= until)
        return -ETIMEDOUT;
    report->paused_ns += delay;
    return filch_sleep(end);
}

static bool is_retried(const filch_retry_policy *policy, const filch_retry_report *report)
{
    if (report->last_result >= 0 || (policy->attempts && report->attempts >= policy->attempts))
        return false;
    return !policy->is_retried || policy->is_retried(report->last_result, policy->arg);
}

static int run(filch_fn fn, void *arg, const filch_retry_policy *policy, bool in_task,
               filch_retry_report *report, filch_time until)
{
    uint64_t random = policy->seed ? policy->seed : filch_now() ^ (uintptr_t)report;
    int r;

    for (;;) {
        r = attempt(fn, arg, policy, in_task, &report->last_result, until);
        if (r < 0)
            return r;
        report->attempts++;
        if (!is_retried(policy, report))
            return report->last_result;
        r = pause_before_next(filch_retry_delay(policy, report->attempts, next_random(&random)),
                              report, until);
        if (r < 0)
            return r == -ETIMEDOUT ? report->last_result : r;
    }
}

int filch_retry(filch_fn fn, void *arg, const filch_retry_policy *policy,
                filch_retry_report *ret_report, filch_time until)
{
    struct filch__task *task = filch__task_current();
    bool in_task = task && filch__task_has_stack(task);
    filch_retry_report report = {0};
    int r;

    if (!fn)
        return -EINVAL;
    if (!policy)
        policy = &defaults;
    if (!in_task && policy->attempt_ns)
        return -EPERM;
    r = run(fn, arg, policy, in_task, &report, until);
    if (ret_report)
        *ret_report = report;
    return r;
}
