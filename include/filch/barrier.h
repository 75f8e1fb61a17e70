/* Barriers: a number of tasks or threads wait for each other, again and again.
 *
 * A wait that gives up (time, cancel) takes its participant out: it has not arrived, and the others
 * go on waiting until it comes back or somebody else comes. The barrier does not break, as a POSIX
 * or Java programmer may expect: a wait that fails has done nothing, like every other one here, and
 * those who should not wait for someone who is gone are cancelled with him, by their scope.
 *
 * There is no case for a select: all participants would have to win their selects at the same time.
 */
#ifndef FILCH_BARRIER_H
#define FILCH_BARRIER_H

#include <filch/base.h>

FILCH_BEGIN_DECLS

/* Lives in the caller's memory and must stay where it is. The fields are private. */
typedef struct filch_barrier {
    uint64_t private_words[5];
} filch_barrier;

/* For so many participants, 1 to UINT32_MAX, at compile time. */
#define FILCH_BARRIER_INIT(participants)                                                           \
    {                                                                                              \
        {                                                                                          \
            (uint64_t)(participants), 0, 0, 0, 0                                                   \
        }                                                                                          \
    }

/** filch_barrier_init() - prepare a barrier in the caller's memory. Suspends: no. Return: 0;
 * -EINVAL (NULL, or no participants). */
FILCH_API int filch_barrier_init(filch_barrier *barrier, uint32_t participants);

/** filch_barrier_fini() - the end of a barrier. Nobody may be waiting in it; checked. NULL is
 * allowed. Suspends: no. */
FILCH_API void filch_barrier_fini(filch_barrier *barrier);

/**
 * filch_barrier_wait() - arrive, and wait until all participants have
 * @until: FILCH_NOW succeeds only for the last one
 *
 * The last one to arrive lets all go and is the leader; the barrier is at its next round then. What
 * any participant did before it arrived is visible to all of them after. More tasks than
 * participants are allowed: rounds are made of them as they come. Thread-safety: any task or plain
 * thread. Suspends: yes. Cancellation point: yes; the caller has not arrived then.
 * Return: 1 for the leader, exactly one of a round; 0 for the others; -ETIMEDOUT; -ECANCELED;
 * -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_barrier_wait(filch_barrier *barrier, filch_time until);

FILCH_END_DECLS

#endif
