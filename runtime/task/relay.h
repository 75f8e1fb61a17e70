/* Wakers for the children of one future: so that it knows which of them to poll.
 *
 * A future with many children gives child i a waker of its own, (relay, i). Waking it puts i into
 * the future's list of woken children, and wakes the future by its own waker if the list was empty.
 * The future's poll takes the list and polls those.
 *
 *     child's waker                       the future's poll
 *     -------------                       -----------------
 *     lock                                listen(its own waker)
 *     another generation? nothing         cursor = take()         -- the list is empty again
 *     append i, unless it is queued       while (next(&i)) poll child i
 *     was it empty? clone the parent
 *     unlock; wake the clone
 *
 * A wake that comes while the list is empty wakes the future; one that finds it not empty comes
 * after such a wake, and before the take() of the poll that follows it. So no wake is lost, also
 * one that comes in the middle of a poll, behind the take().
 *
 * Wakers may outlive the future by any time and are copied freely. So a relay is type-stable (base/
 * pool.h) and has a generation; what it points to, the children, is touched under its lock and only
 * while the generations are the same. Freeing takes the lock and ends the generation.
 *
 * Locks: a relay's lock is taken under a wheel's (time/timers.c), and none is taken under it; the
 * future is woken after the unlock, which may take the lock of the next relay up.
 */
#ifndef FILCH_TASK_RELAY_H
#define FILCH_TASK_RELAY_H

#include <filch/combine.h>
#include <filch/future.h>

#include "runtime/base/atomic.h"

/* In a waker's key. A task's waker has neither. */
#define FILCH__WAKER_THREAD ((uint64_t)1 << 63)
#define FILCH__WAKER_RELAY ((uint64_t)1 << 62)
#define FILCH__WAKER_KINDS (FILCH__WAKER_THREAD | FILCH__WAKER_RELAY)

struct filch__relay;

/* For @children, none of which is queued. Return: NULL when memory is out. */
struct filch__relay *filch__relay_new(filch_child *children);

/* Ends all wakers of children. NULL does nothing. */
void filch__relay_free(struct filch__relay *relay);

/* Child wakes go to @parent (borrowed) from now on. */
void filch__relay_listen(struct filch__relay *relay, const filch_waker *parent);

filch_waker filch__relay_waker(struct filch__relay *relay, size_t index);

/* Takes the list of those that were woken: where filch__relay_next() begins. */
uint32_t filch__relay_take(struct filch__relay *relay);

/* The next one of a list that was taken; it can be woken again from here on. Return: false at the
 * end. */
bool filch__relay_next(struct filch__relay *relay, uint32_t *cursor, size_t *ret_index);

/* A child's waker was called. Any thread. */
void filch__relay_wake(struct filch__relay *relay, uint64_t key);

#endif
