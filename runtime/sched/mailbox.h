/* The mailbox of one worker: pinned tasks that became runnable. Anybody puts in, its worker alone
 * takes out; nobody steals. See mailbox.c for the protocol. */
#ifndef FILCH_SCHED_MAILBOX_H
#define FILCH_SCHED_MAILBOX_H

#include <stdalign.h>

#include <urcu/wfcqueue.h>

#include "runtime/base/atomic.h"

struct filch__task;

struct filch__mailbox {
    alignas(FILCH_CACHELINE) struct __cds_wfcq_head head; /* the worker's */
    alignas(FILCH_CACHELINE) struct cds_wfcq_tail tail;   /* everybody's */
};

void filch__mailbox_init(struct filch__mailbox *mailbox);

/* Puts a pinned task that was made runnable into the mailbox of its worker, and wakes that one if
 * it is parked. Any thread; the caller must not touch the task any more. */
void filch__mailbox_send(struct filch__task *task);

/* The worker itself. The oldest; NULL: empty, or a sender is in the middle of putting. */
struct filch__task *filch__mailbox_take(struct filch__mailbox *mailbox);

/* Exact for the worker, after it has said that it parks. */
bool filch__mailbox_is_empty(struct filch__mailbox *mailbox);

#endif
