/* What the wakers of a plain thread point to: on the heap, because others may keep them longer than
 * the thread waits. Used by filch_await(), and by a select over futures, which must be woken out of
 * its group as well. */
#ifndef FILCH_TASK_PARKER_H
#define FILCH_TASK_PARKER_H

#include <filch/future.h>

#include "runtime/task/waiter.h"

struct filch__parker;

/* With one reference; NULL: no memory. Each waker has one more. */
struct filch__parker *filch__parker_new(void);
void filch__parker_unref(struct filch__parker *parker);

/* A waker without a reference of its own, for the context of a poll. */
filch_waker filch__parker_waker(struct filch__parker *parker);

/* Forgets earlier wakes: before the polls that they were for. */
void filch__parker_reset(struct filch__parker *parker);

/* From now on a wake claims @group with FILCH__GROUP_POLL, and wakes its owner. Return: false: it
 * has been woken since the reset. */
bool filch__parker_attach(struct filch__parker *parker, struct filch__waiter_group *group);

/* Nobody touches the group any more. */
void filch__parker_detach(struct filch__parker *parker);

#endif
