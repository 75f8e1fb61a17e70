/* One call for all who ask the same at the same time.
 *
 *     filch_flights_new(sizeof(struct page), &flights);
 *     ...
 *     r = filch_flight(flights, url, strlen(url), fetch, url, &page, NULL, until);
 *
 * Callers with the same key while a call is under way wait for it and share what it gives. The
 * first one makes the call, in its own place. Nothing is kept afterwards: it is no cache.
 *
 * A caller that is cancelled, or whose time is up, does not spoil it for the others: when the call
 * fails because of that, the one that has waited longest calls anew, and the rest wait on.
 */
#ifndef FILCH_FLIGHT_H
#define FILCH_FLIGHT_H

#include <filch/base.h>

FILCH_BEGIN_DECLS

/* The calls that are under way, by key. */
typedef struct filch_flights filch_flights;

/* What is called. @value: filch_flights_new()'s number of bytes to fill, all zero before; what is
 * in it is shared if the result is 0 or more. */
typedef int (*filch_flight_fn)(void *arg, void *value);

/**
 * filch_flights_new() - a group in which keys are told apart
 * @value_bytes: of a call's value, copied to each caller; 0: the result is all
 * @ret_flights: gets it; ends with filch_flights_free()
 *
 * Thread-safety: any thread. Suspends: no. Return: 0; -ENOMEM; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_flights_new(size_t value_bytes, filch_flights **ret_flights);

/** filch_flights_free() - the end of a group that nobody uses. NULL is allowed. Return: 0; -EBUSY
 * (a call is under way; nothing is freed). */
FILCH_API int filch_flights_free(filch_flights *flights);

/**
 * filch_flight() - make a call, or share the one that is under way
 * @key:        @key_bytes bytes, compared as such; borrowed for the call
 * @fn:         the call, made in the caller's place if there is none
 * @arg:        for @fn
 * @ret_value:  gets the value if the result is 0 or more; may be NULL
 * @ret_shared: was it another caller's call? Set unless the caller stopped waiting; may be NULL
 * @until:      the caller stops waiting at this time; in a task, the call that it makes itself is
 * cancelled then
 *
 * Thread-safety: tasks, blocking jobs and plain threads. Suspends: yes, if there is a call to wait
 * for, and as @fn. Cancellation point: yes; the call goes on for the others.
 * Return: what @fn returned; or, without one: -ETIMEDOUT; -ECANCELED; -ENOMEM; -EDEADLK (@fn asks
 * for its own key); -EINVAL (NULL); -EOVERFLOW (too many deadlines in each other).
 */
FILCH_API FILCH_MUST_CHECK int filch_flight(filch_flights *flights, const void *key,
                                            size_t key_bytes, filch_flight_fn fn, void *arg,
                                            void *ret_value, bool *ret_shared, filch_time until);

/**
 * filch_flight_forget() - from now on callers do not share the call that is under way
 *
 * Those that wait for it already still do. Thread-safety: any thread. Suspends: no. Return: 0;
 * -ENOENT (there is none); -EINVAL (NULL).
 */
FILCH_API int filch_flight_forget(filch_flights *flights, const void *key, size_t key_bytes);

FILCH_END_DECLS

#endif
