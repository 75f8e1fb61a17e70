/* Calling a function again when it fails: with pauses that grow, at random, up to a limit.
 *
 *     filch_retry_policy policy = {.attempts = 5, .attempt_ns = FILCH_SECOND};
 *
 *     r = filch_retry(ask, &question, &policy, NULL, filch_after(10 * FILCH_SECOND));
 */
#ifndef FILCH_RETRY_H
#define FILCH_RETRY_H

#include <filch/base.h>

FILCH_BEGIN_DECLS

/* All zero: again after any error, without a limit but the time, after 10 ms, 20 ms, ... 10 s. */
typedef struct filch_retry_policy {
    /* Most calls; 0: no limit. */
    unsigned attempts;
    /* The first pause; 0: 10 ms. */
    filch_time first_delay_ns;
    /* No pause is longer; 0: 10 s. */
    filch_time max_delay_ns;
    /* Each pause is so many times the one before; 0: 2; other values below 1 count as 1. */
    double factor;
    /* Pauses as computed. Otherwise each is taken from all between 0 and that (full jitter), so
     * that those who failed together do not come back together. */
    bool no_jitter;
    /* More than 0: the same pauses each time, for tests. 0: at random. */
    uint64_t seed;
    /* More than 0: each attempt is cancelled after so long, and counts as -ETIMEDOUT. In tasks
     * only. */
    filch_time attempt_ns;
    /* Is it worth while after this negative result? NULL: after each one. */
    bool (*is_retried)(int error, void *arg);
    /* For is_retried. */
    void *arg;
} filch_retry_policy;

/* What was done. */
typedef struct filch_retry_report {
    unsigned attempts;    /* calls */
    int last_result;      /* of the last of them */
    filch_time paused_ns; /* all pauses that were begun, in full */
} filch_retry_report;

/**
 * filch_retry_delay() - how long a policy pauses
 * @policy:  NULL: the defaults
 * @attempt: how many calls have failed: 1 or more; 0 counts as 1
 * @random:  evenly distributed over all values; unused without jitter
 *
 * A function of its arguments alone. Thread-safety: any thread. Suspends: no. Return: nanoseconds.
 */
FILCH_API filch_time filch_retry_delay(const filch_retry_policy *policy, unsigned attempt,
                                       uint64_t random);

/**
 * filch_retry() - call a function until it succeeds
 * @fn:         called at least once, with @arg, in the caller's place
 * @policy:     borrowed for the call; NULL: the defaults
 * @ret_report: filled in any case but -EINVAL and -EPERM; may be NULL
 * @until:      a call that runs in a task is cancelled then; no pause that would end later is begun
 *
 * It succeeds with a result of 0 or more. Outside of tasks a call is not cancelled by @until.
 *
 * Thread-safety: tasks, blocking jobs and plain threads. Suspends: yes. Cancellation point: yes,
 * the pauses; nothing is called again then. Return: @fn's result when it succeeded, when its error
 * is not to be retried, and when attempts or time are used up; -ETIMEDOUT if the last attempt had
 * run out of time; -ECANCELED (the caller, after an attempt that failed); -EINVAL (NULL); -EPERM
 * (attempt_ns outside of a task); -EOVERFLOW (too many deadlines in each other).
 */
FILCH_API FILCH_MUST_CHECK int filch_retry(filch_fn fn, void *arg, const filch_retry_policy *policy,
                                           filch_retry_report *ret_report, filch_time until);

FILCH_END_DECLS

#endif
