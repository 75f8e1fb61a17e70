/* Watches: what sending (watch.c), reading (watch_read.c), and selects and futures (watch_future.c)
 * share. */
#ifndef FILCH_SYNC_WATCH_H
#define FILCH_SYNC_WATCH_H

#include <filch/watch.h>

#include "sync/wave.h"

#define FILCH__WATCH_CLOSED ((uint64_t)1)
#define FILCH__WATCH_VERSION ((uint64_t)2) /* one more */
#define FILCH__WATCH_NOT_SEEN UINT64_MAX   /* no version */

struct filch__watch_node {
    uint64_t version; /* as in `state`, without FILCH__WATCH_CLOSED */
    struct filch__watch_node *next;
    _Alignas(16) unsigned char value[];
};

struct filch_watch {
    size_t bytes;
    /* The latest value, a struct filch__watch_node. Written under the lock. [watch-value] release
     * -> acquire: the value is written. */
    filch_atomic_ptr current;
    /* [watch-state] release -> acquire: `current` is at least as new. Written under the lock. */
    filch_atomic_u64 state;

    filch_spinlock lock; /* guards the rest */
    bool reclaims;       /* a call of RCU is under way */
    size_t senders;
    size_t readers;
    size_t pins;                   /* who goes, and is still waking others */
    struct filch__wave changes;    /* readers, for another version or the end */
    struct filch__wave departures; /* senders, for the last reader to go */
    struct filch__watch_node *retired;
    size_t retired_count;
    struct filch__watch_node *dying; /* the call's */
    filch_rcu_head head;
};

static inline uint64_t filch__watch_version(uint64_t state)
{
    return state & ~FILCH__WATCH_CLOSED;
}

/* With the lock held: somebody has gone, who has been counted off; @wave is told, and the last one
 * frees the watch. */
void filch__watch_go_unlock(struct filch_watch *w, struct filch__wave *wave);

/* A copy of the latest value, wherever the caller is. Return: 0; -ENOMEM. */
int filch__watch_copy(struct filch_watch *w, void *value, uint64_t *ret_version);

/* As filch_watch_changed(), at once. Return: 0; -EPIPE; -EAGAIN. */
int filch__watch_changed_now(filch_watch_reader *reader);

/* The same; or puts @waiter down. @self: @waiter, if it is in a select. */
enum filch__enlist filch__watch_enlist(filch_watch_reader *reader, struct filch__waiter *waiter,
                                       struct filch__waiter *self, int *ret_result);

/* Is there no reader? Otherwise puts @waiter down; it may be NULL. @self: as above. */
enum filch__enlist filch__watch_enlist_abandoned(filch_watch *watch, struct filch__waiter *waiter,
                                                 struct filch__waiter *self);

#endif
